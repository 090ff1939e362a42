//! The built-in model: it answers locally, for a first try without an account.

use std::{
    collections::VecDeque,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body as HttpBody, Frame};
use serde_json::{Value, json};
use tokio::time::{Sleep, sleep};
use ziggurat_core::{Body, BoxError};

use crate::config::Config;

/// A configuration with the built-in model alone.
pub(crate) fn config() -> Config {
    let text = "model_list: [{model_name: demo, litellm_params: {model: openai/demo, api_base: http://127.0.0.1/v1, api_key: none}}]";
    let (config, _) = Config::parse(text, "demo", &|_| None).expect("invariant: a test parses it");
    config
}

/// What to try next.
pub(crate) fn hint(address: SocketAddr) -> String {
    format!(
        r#"
Try it:

  curl -N http://{address}/v1/chat/completions -H 'content-type: application/json' \
    -d '{{"model":"demo","stream":true,"messages":[{{"role":"user","content":"Hello!"}}]}}'

Or with the OpenAI SDK for Python (Anthropic's works as well, with base_url="http://{address}"):

  from openai import OpenAI
  client = OpenAI(base_url="http://{address}/v1", api_key="none")
  for chunk in client.chat.completions.create(
      model="demo", stream=True, messages=[{{"role": "user", "content": "Hello!"}}]
  ):
      print(chunk.choices[0].delta.content or "", end="", flush=True)
"#
    )
}

/// Answers in OpenAI's dialect, as any upstream would.
pub(crate) async fn answer(request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let bytes = request.into_body().collect_within(usize::MAX).await?;
    let asked: Value = serde_json::from_slice(&bytes)?;
    let text = reply(&asked);
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let prompt = asked["messages"].to_string().split_whitespace().count();
    let usage = json!({
        "prompt_tokens": prompt, "completion_tokens": words.len(), "total_tokens": prompt + words.len(),
    });
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let created = now.map_or(0, |since| since.as_secs());
    if asked["stream"] != true {
        let body = json!({
            "id": "chatcmpl-demo", "object": "chat.completion", "created": created, "model": "demo",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": usage,
        });
        return Ok(respond(Body::from(body.to_string()), "application/json"));
    }
    let chunk = |choices: Value| json!({"id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": created, "model": "demo", "choices": choices});
    let mut events: VecDeque<Value> = words
        .iter()
        .map(|word| chunk(json!([{"index": 0, "delta": {"content": word}, "finish_reason": null}])))
        .collect();
    events[0]["choices"][0]["delta"]["role"] = "assistant".into();
    events.push_back(chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}])));
    if asked["stream_options"]["include_usage"] == true {
        let mut last = chunk(json!([]));
        last["usage"] = usage;
        events.push_back(last);
    }
    let mut events: VecDeque<Bytes> =
        events.iter().map(|event| format!("data: {event}\n\n").into()).collect();
    events.push_back("data: [DONE]\n\n".into());
    Ok(respond(Body::new(Paced { events, pause: None }), "text/event-stream"))
}

/// A few words that show that the question arrived.
fn reply(asked: &Value) -> String {
    let last =
        asked["messages"].as_array().and_then(|messages| messages.last()).map(|message| &message["content"]);
    let said = match last {
        Some(Value::String(text)) => text.as_str(),
        Some(Value::Array(parts)) => parts.iter().find_map(|part| part["text"].as_str()).unwrap_or_default(),
        _ => "",
    };
    let said: String = said.chars().take(200).collect();
    format!(
        "You said: {said} \u{2014} and this is Ziggurat's demo model, which runs inside the gateway and knows nothing else. \
         Put your own models into a config.yaml, and the same request reaches them."
    )
}

fn respond(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Gives one event after another, at a reader's pace.
struct Paced {
    events: VecDeque<Bytes>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
        }
        self.pause = Some(Box::pin(sleep(PACE)));
        Poll::Ready(self.events.pop_front().map(|event| Ok(Frame::data(event))))
    }
}

const PACE: Duration = Duration::from_millis(25);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_configuration_has_one_model() {
        assert_eq!(config().model_names(), ["demo"]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_streams_the_question_back() {
        let asked = r#"{"model":"demo","stream":true,"messages":[{"role":"user","content":"Hi there"}]}"#;
        let request =
            Request::post("http://127.0.0.1/v1/chat/completions").body(Body::from(asked)).expect("valid");
        let response = answer(request).await.expect("answers");
        let bytes = response.into_body().collect_within(1 << 20).await.expect("ends");
        let text = String::from_utf8(bytes.to_vec()).expect("is UTF-8");
        assert!(text.contains(r#""content":"Hi ""#) && text.ends_with("data: [DONE]\n\n"), "{text}");
        let (first, others) = text.split_once("\n\n").expect("has events");
        assert!(first.contains(r#""role":"assistant""#) && !others.contains("role"), "{text}");
        assert!(!text.contains(r#""created":0,"#), "{text}");
    }
}

//! The example, against an upstream that replays a small answer in Anthropic's dialect.

use example_outbound_client::Caller;
use http::HeaderName;
use ziggurat_core::Target;
use ziggurat_testkit::{Recording, Recordings, Replay};

const STREAM: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

"#;

async fn ask(fault: &str) -> (Result<(), String>, String, Replay) {
    let recording = Recording::synthetic("hello", 200, [("content-type", "text/event-stream")], STREAM);
    let upstream = Replay::start(Recordings::from_iter([recording])).await.expect("listens");
    let target = Target::anthropic("claude-x", "unused")
        .expect("valid")
        .url(&format!("{}/v1/messages", upstream.url(&format!("hello{fault}"))))
        .expect("valid")
        .key(HeaderName::from_static("x-api-key"), "sk-ant-example")
        .expect("valid");
    let mut text = String::new();
    let asked = Caller::new(target).expect("has roots").ask("Hi", |piece| text.push_str(piece)).await;
    (asked.map_err(|error| error.to_string()), text, upstream)
}

#[tokio::test]
async fn an_openai_shaped_caller_reaches_anthropic() {
    let (asked, text, upstream) = ask("").await;
    assert_eq!((asked, text.as_str()), (Ok(()), "Hello"));
    let exchanges = upstream.exchanges();
    assert_eq!(exchanges.len(), 1);
    assert_eq!(exchanges[0].headers["x-api-key"], "sk-ant-example");
    let body: serde_json::Value = serde_json::from_slice(&exchanges[0].body).expect("is JSON");
    assert_eq!(
        body,
        serde_json::json!({
            "model": "claude-x",
            "max_tokens": 1024,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
            "stream": true,
        })
    );
}

#[tokio::test]
async fn a_cut_answer_is_an_error() {
    let (asked, text, _upstream) = ask(",cut=560").await;
    assert_eq!(asked, Err("the provider's stream ended before the answer was complete".to_owned()));
    assert_eq!(text, "Hel");
}

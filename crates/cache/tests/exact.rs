//! What is asked again is answered again: the same, to the same tenant, in the form that is asked for.

mod support;

use http::{Request, Response};
use serde_json::{Value, json};
use tower::Layer;
use ziggurat_cache::{CacheLayer, MemoryStore, Share};
use ziggurat_core::{Body, Cause, Rejection};

use crate::support::*;

#[tokio::test]
async fn the_second_answer_is_the_first_whatever_the_order_of_keys() {
    let (upstream, time) =
        (Upstream::new(|number| whole(&completion(&format!("no {number}")))), Manual::default());
    let service = cached(&upstream, &time);
    let first = ask(&service, chat(&json!({"temperature": 0.5}))).await;
    assert_eq!((first.status, first.cache), (200, MISS));
    let again = Request::post("/v1/chat/completions")
        .body("{ \"temperature\":0.5,\n\"messages\":[{\"content\":\"H\\u0065llo\", \"role\":\"user\"}],\"model\":\"m\" }".into())
        .expect("is a request");
    time.pass(9);
    let second = ask(&service, again).await;
    assert_eq!((second.status, second.cache, &second.body), (200, HIT, &first.body));
    assert_eq!(second.kind, "application/json");
    assert_eq!(second.lookup.expect("was asked").age.expect("has one").as_secs(), 9);
    assert_eq!(ask(&service, chat(&json!({"temperature": 0.6}))).await.cache, MISS);
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn any_number_of_messages_and_any_parameter_counts() {
    let (upstream, time) = (Upstream::new(|_| whole(&completion("x"))), Manual::default());
    let service = cached(&upstream, &time);
    let messages: Vec<Value> =
        (0..40).map(|number| json!({"role": "user", "content": format!("{number}")})).collect();
    let mut fewer = messages.clone();
    fewer.pop();
    let asked = [
        json!({"messages": messages}),
        json!({"messages": fewer}),
        json!({"messages": messages, "num_ctx": 8192}),
        json!({"messages": messages, "safety_settings": []}),
        json!({"messages": messages, "never_heard_of": null}),
        json!({"messages": messages, "model": "other"}),
        json!({"messages": messages, "user": "u1"}),
    ];
    for (number, fields) in asked.iter().enumerate() {
        assert_eq!(ask(&service, chat(fields)).await.cache, MISS, "{number}");
    }
    for (number, fields) in asked.iter().enumerate() {
        assert_eq!(ask(&service, chat(fields)).await.cache, HIT, "{number}");
    }
    // Who is told of a call changes nothing of its answer.
    assert_eq!(
        ask(&service, chat(&json!({"messages": messages, "metadata": {"tags": ["a"]}}))).await.cache,
        HIT
    );
    // The headers that switch on what is in beta do.
    let mut request = chat(&asked[0]);
    request.headers_mut().insert("anthropic-beta", "x".parse().expect("is a value"));
    assert_eq!(ask(&service, request).await.cache, MISS);
}

#[tokio::test]
async fn a_stream_answers_a_whole_call_and_a_whole_answer_a_stream() {
    let time = Manual::default();
    let upstream = Upstream::new(|_| events(stream(&["Hel", "lo"])));
    let service = cached(&upstream, &time);
    let streamed =
        ask(&service, chat(&json!({"stream": true, "stream_options": {"include_usage": true}}))).await;
    assert_eq!((streamed.cache, &streamed.body), (MISS, &stream(&["Hel", "lo"])));
    let quiet = ask(&service, chat(&json!({"stream": true}))).await;
    // Whoever did not ask for the usage does not get it.
    assert_eq!((quiet.cache, quiet.body), (HIT, stream(&["Hel", "lo"]).replace(CHAT_USAGE, "")));
    let together = ask(&service, chat(&json!({}))).await;
    assert_eq!((together.cache, &*together.kind), (HIT, "application/json"));
    let answer = together.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "Hello");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["completion_tokens"], 5);
    assert_eq!(answer["object"], "chat.completion");

    let upstream = Upstream::new(|_| whole(&completion("Hello")));
    let service = cached(&upstream, &time);
    ask(&service, chat(&json!({}))).await;
    let told = ask(&service, chat(&json!({"stream": true, "stream_options": {"include_usage": true}}))).await;
    assert_eq!((told.cache, &*told.kind), (HIT, "text/event-stream"));
    assert!(told.body.contains(r#""content":"Hello""#) && told.body.contains(r#""completion_tokens":5"#));
    assert!(told.body.ends_with(DONE));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test]
async fn usage_is_asked_for_and_shown_to_those_alone_who_asked() {
    let upstream = Upstream::new(|_| events(stream(&["Hi"])));
    let service = cached(&upstream, &Manual::default());
    let quiet = ask(&service, chat(&json!({"stream": true}))).await;
    assert_eq!((quiet.cache, quiet.body), (MISS, stream(&["Hi"]).replace(CHAT_USAGE, "")));
    assert_eq!(upstream.seen()[0]["stream_options"], json!({"include_usage": true}));
    let told = ask(&service, chat(&json!({"stream": true, "stream_options": {"include_usage": true}}))).await;
    assert_eq!((told.cache, told.body), (HIT, stream(&["Hi"])));
}

#[tokio::test]
async fn every_dialect_is_answered_in_its_own_words() {
    let message = json!({
        "id": "msg", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 2},
    });
    let response = json!({
        "id": "resp_1", "object": "response", "status": "completed", "model": "m",
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    });
    let completion = json!({
        "id": "cmpl", "object": "text_completion", "created": 7, "model": "m",
        "choices": [{"index": 0, "text": "Hi", "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    });
    let content = json!({
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}, "modelVersion": "m",
    });
    let messages = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
    let input = json!({"model": "m", "input": "Hello"});
    let prompt = json!({"model": "m", "prompt": "Hello"});
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]});
    let stream = |body: &Value| {
        let mut body = body.clone();
        merge(&mut body, &json!({"stream": true}));
        body
    };
    let generate = "/v1beta/models/m:generateContent";
    let cases = [
        ("/v1/messages", messages.clone(), "/v1/messages", stream(&messages), message, "\"text_delta\""),
        (
            "/v1/responses",
            input.clone(),
            "/v1/responses",
            stream(&input),
            response,
            "response.output_text.delta",
        ),
        (
            "/v1/completions",
            prompt.clone(),
            "/v1/completions",
            stream(&prompt),
            completion,
            "\"text\":\"Hi\"",
        ),
        (
            generate,
            contents.clone(),
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            contents,
            content,
            "\"text\":\"Hi\"",
        ),
    ];
    for (path, body, stream_path, stream_body, answer, marks) in cases {
        let upstream = Upstream::new({
            let answer = answer.clone();
            move |_| whole(&answer)
        });
        let service = cached(&upstream, &Manual::default());
        assert_eq!(ask(&service, post(path, &body)).await.json(), answer, "{path}");
        let told = ask(&service, post(stream_path, &stream_body)).await;
        assert_eq!((told.cache, &*told.kind), (HIT, "text/event-stream"), "{path}");
        assert!(told.body.contains(marks), "{path}: {}", told.body);

        // And from the stream to the whole.
        let upstream = Upstream::new(move |_| events(told.body.clone()));
        let service = cached(&upstream, &Manual::default());
        assert_eq!(ask(&service, post(stream_path, &stream_body)).await.cache, MISS, "{path}");
        let together = ask(&service, post(path, &body)).await;
        assert_eq!(together.cache, HIT, "{path}");
        let mut expected = answer;
        if path == "/v1/completions" {
            // Nobody asked the stream for its usage.
            expected.as_object_mut().expect("is one").remove("usage");
        }
        assert_eq!(together.json(), expected, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_whole_and_good_is_not_kept() {
    let finish = |reason: &str| {
        let mut answer = completion("x");
        answer["choices"][0]["finish_reason"] = reason.into();
        answer
    };
    let truncated = stream(&["Hi"]).replace(CHAT_FINISH, "").replace(DONE, "");
    let errored =
        format!("{}data: {{\"error\":{{\"message\":\"x\"}}}}\n\n", ziggurat_testkit::samples::chat("Hi"));
    let refusal = {
        let mut answer = completion("");
        answer["choices"][0]["message"]["refusal"] = "No".into();
        answer
    };
    let mut compressed = whole(&completion("x"));
    compressed.headers_mut().insert("content-encoding", "gzip".parse().expect("is a value"));
    let compressed = std::sync::Mutex::new(Some(compressed));
    type Answer = Box<dyn Fn() -> Response<Body> + Send + Sync>;
    let large = completion(&"x".repeat(2 << 20));
    let cases: Vec<(&str, Value, Answer)> = vec![
        ("filtered", json!({}), Box::new(move || whole(&finish("content_filter")))),
        ("cut short", json!({}), Box::new(move || whole(&finish("length")))),
        ("of an unknown end", json!({}), Box::new(move || whole(&finish("eos_or_so")))),
        ("refused", json!({}), Box::new(move || whole(&refusal))),
        ("truncated", json!({"stream": true}), Box::new(move || events(truncated.clone()))),
        ("errored", json!({"stream": true}), Box::new(move || events(errored.clone()))),
        ("no JSON", json!({}), Box::new(|| answer("application/json", "{\"choices\":"))),
        ("an error of success", json!({}), Box::new(|| whole(&json!({"error": {"message": "x"}})))),
        ("without an answer", json!({}), Box::new(|| whole(&json!({"choices": []})))),
        (
            "compressed",
            json!({}),
            Box::new(move || {
                compressed.lock().expect("is sound").take().unwrap_or_else(|| whole(&finish("length")))
            }),
        ),
        ("too large", json!({}), Box::new(move || whole(&large))),
        (
            "a failure",
            json!({}),
            Box::new(|| {
                let mut response = whole(&json!({"error": {"message": "x"}}));
                *response.status_mut() = http::StatusCode::BAD_GATEWAY;
                response
            }),
        ),
        (
            "a refusal of ours",
            json!({}),
            Box::new(|| Rejection::new(Cause::RateLimit, "no").into_response(ziggurat_core::Dialect::OpenAi)),
        ),
    ];
    for (name, fields, answer) in cases {
        let upstream = Upstream::new(move |_| answer());
        let service = cached(&upstream, &Manual::default());
        let first = ask(&service, chat(&fields)).await;
        let second = ask(&service, chat(&fields)).await;
        assert_eq!((first.cache, second.cache, upstream.calls()), (MISS, MISS, 2), "{name}");
    }
}

#[tokio::test]
async fn what_the_caller_bounded_is_whole_at_its_bound() {
    let upstream = Upstream::new(|_| {
        let mut answer = completion("x");
        answer["choices"][0]["finish_reason"] = "length".into();
        whole(&answer)
    });
    let service = cached(&upstream, &Manual::default());
    ask(&service, chat(&json!({"max_tokens": 1}))).await;
    assert_eq!(ask(&service, chat(&json!({"max_tokens": 1}))).await.cache, HIT);
}

#[tokio::test]
async fn whole_calls_of_tools_are_kept() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let mut answer = completion("x");
    answer["choices"][0]["message"]["tool_calls"] = json!([call]);
    answer["choices"][0]["finish_reason"] = "tool_calls".into();
    let upstream = Upstream::new(move |_| whole(&answer));
    let service = cached(&upstream, &Manual::default());
    let first = ask(&service, chat(&json!({}))).await;
    let second = ask(&service, chat(&json!({}))).await;
    assert_eq!((second.cache, second.body), (HIT, first.body));
}

#[tokio::test]
async fn an_answer_of_200_megabytes_passes_and_is_not_kept() {
    let piece = bytes::Bytes::from(vec![b' '; 1 << 20]);
    let upstream = Upstream::new(move |_| {
        let steps = (0..200).map(|_| Step::Data(piece.clone()));
        answer("application/json", Scripted::new(steps))
    });
    let store = MemoryStore::new(64 << 20);
    let service = CacheLayer::new(store.clone()).layer(upstream.service());
    for calls in 1..3 {
        let first = ask(&service, chat(&json!({}))).await;
        assert_eq!((first.status, first.body.len(), first.cache), (200, 200 << 20, MISS));
        assert_eq!((upstream.calls(), store.len()), (calls, 0));
    }
}

#[tokio::test]
async fn an_answer_counts_for_its_time() {
    let (upstream, time) =
        (Upstream::new(|number| whole(&completion(&format!("{number}")))), Manual::default());
    let service = cached(&upstream, &time);
    let text = |answered: &Answered| answered.json()["choices"][0]["message"]["content"].clone();
    ask(&service, chat(&json!({}))).await;
    time.pass(599);
    assert_eq!(ask(&service, chat(&json!({}))).await.cache, HIT);
    time.pass(1);
    let later = ask(&service, chat(&json!({}))).await;
    assert_eq!((later.cache, text(&later)), (MISS, json!("1")));
    // Its caller says for how long, and how old it may be.
    let short = json!({"seed": 1, "cache": {"ttl": 5}});
    ask(&service, chat(&short)).await;
    time.pass(4);
    assert_eq!(ask(&service, chat(&json!({"seed": 1, "cache": {"s-maxage": 4}}))).await.cache, HIT);
    assert_eq!(ask(&service, chat(&json!({"seed": 1, "cache": {"s-maxage": 3}}))).await.cache, MISS);
    time.pass(1);
    assert_eq!(
        ask(&service, chat(&json!({"seed": 1}))).await.cache,
        HIT,
        "it was answered anew a second ago"
    );
}

#[tokio::test]
async fn a_clock_that_is_set_back_leaves_nothing_of_the_future() {
    let (upstream, time, later) =
        (Upstream::new(|_| whole(&completion("x"))), Manual::default(), Manual::default());
    later.pass(100);
    let store = MemoryStore::new(1 << 20);
    let at = |time: &Manual| CacheLayer::new(store.clone()).clock(time.clock()).layer(upstream.service());
    ask(&at(&later), chat(&json!({}))).await;
    assert_eq!(ask(&at(&time), chat(&json!({}))).await.cache, MISS);
    assert_eq!(ask(&at(&time), chat(&json!({}))).await.cache, HIT);
}

#[tokio::test]
async fn controls_are_heeded_and_go_nowhere() {
    let (upstream, time) = (Upstream::new(|_| whole(&completion("x"))), Manual::default());
    let service = cached(&upstream, &time);
    let with = |cache: Value| chat(&json!({"cache": cache}));
    assert_eq!(ask(&service, with(json!({"no-store": true}))).await.cache, MISS);
    assert_eq!(ask(&service, with(json!({}))).await.cache, MISS);
    assert_eq!(ask(&service, with(Value::Null)).await.cache, HIT);
    assert_eq!(ask(&service, with(json!({"no-cache": true}))).await.cache, MISS);
    assert_eq!(ask(&service, with(json!({"namespace": "a"}))).await.cache, MISS);
    assert_eq!(ask(&service, with(json!({"namespace": "a"}))).await.cache, HIT);
    assert!(upstream.seen().iter().all(|body| body.get("cache").is_none()));
    let mut request = chat(&json!({}));
    request.headers_mut().insert("cache-control", "no-transform, No-Cache".parse().expect("is a value"));
    assert_eq!(ask(&service, request).await.cache, MISS);
    for (cache, message) in [
        (json!({"ttl": "soon"}), "the cache control `ttl` must be a number of seconds"),
        (json!({"ttl": -1}), "the cache control `ttl` must be a number of seconds"),
        (json!({"no-cache": 1}), "the cache control `no-cache` must be true or false"),
        (json!({"namespace": ""}), "the cache control `namespace` must be a name of 1 to 256 bytes"),
        (json!([]), "the cache control `cache` must be an object"),
    ] {
        let refused = ask(&service, with(cache)).await;
        assert_eq!(refused.status, 400);
        assert_eq!(
            (&refused.json()["error"]["message"], &refused.json()["error"]["param"]),
            (&json!(message), &json!("cache"))
        );
    }
}

#[tokio::test]
async fn a_key_uses_the_controls_that_it_may() {
    let upstream = Upstream::new(|_| whole(&completion("x")));
    let service = cached(&upstream, &Manual::default());
    let with = |cache: Value| {
        let mut request = by(chat(&json!({"cache": cache})), "t", "k");
        let principal = request.extensions_mut().get_mut::<ziggurat_core::Principal>().expect("is there");
        principal.cache_controls = Some(["no-cache".into()].into());
        request
    };
    assert_eq!(ask(&service, with(json!({"no-cache": true}))).await.status, 200);
    let refused = ask(&service, with(json!({"no-cache": true, "ttl": 5}))).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["error"]["message"], "the key may not use the cache control `ttl`");
}

/// Many a client sends it to whatever caches there are.
#[tokio::test]
async fn a_header_is_not_heard_where_it_may_not_be() {
    let upstream = Upstream::new(|_| whole(&completion("x")));
    let service = cached(&upstream, &Manual::default());
    let with = |line: &str| {
        let mut request = by(chat(&json!({})), "t", "k");
        let principal = request.extensions_mut().get_mut::<ziggurat_core::Principal>().expect("is there");
        principal.cache_controls = Some([].into());
        request.headers_mut().insert("cache-control", line.parse().expect("is a value"));
        request
    };
    assert_eq!(ask(&service, with("no-cache, no-store, namespace=x")).await.cache, MISS);
    assert_eq!(ask(&service, with("no-cache, max-age=soon, ttl=never")).await.cache, HIT);
}

#[tokio::test]
async fn what_it_is_not_used_for_says_nothing_of_it_to_a_provider() {
    let upstream = Upstream::new(|_| whole(&completion("x")));
    let service = layer(&Manual::default())
        .operations([ziggurat_core::Operation::Embeddings])
        .layer(upstream.service());
    let mut request = chat(&json!({"cache": {"ttl": 5}}));
    ziggurat_core::Call::attach(&mut request, &ziggurat_core::Limits::default()).await.expect("is read");
    assert_eq!(ask(&service, request).await.cache, None);
    assert_eq!(upstream.seen()[0].get("cache"), None);
}

#[tokio::test]
async fn a_transcription_that_was_cut_off_is_not_kept() {
    for (answer_text, kept) in
        [("{\"text\":\"abc", false), ("{\"text\":\"abc\"}", true), ("abc", true), ("{\"error\":{}}", false)]
    {
        let upstream = Upstream::new(move |_| answer("application/json", answer_text));
        let service = cached(&upstream, &Manual::default());
        let ask_once = async || {
            let form = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n";
            let request = Request::post("/v1/audio/transcriptions")
                .header("content-type", "multipart/form-data; boundary=b");
            ask(&service, request.body(form.into()).expect("is a request")).await
        };
        assert_eq!(ask_once().await.status, 200);
        assert_eq!(ask_once().await.cache == HIT, kept, "{answer_text}");
    }
}

#[tokio::test]
async fn where_it_is_off_it_is_used_by_those_who_ask() {
    let upstream = Upstream::new(|_| whole(&completion("x")));
    let service = layer(&Manual::default()).opt_in().layer(upstream.service());
    for _ in 0..2 {
        assert_eq!(ask(&service, chat(&json!({}))).await.cache, None);
    }
    assert_eq!(ask(&service, chat(&json!({"cache": {"use-cache": true}}))).await.cache, MISS);
    assert_eq!(ask(&service, chat(&json!({"cache": {"use-cache": true}}))).await.cache, HIT);
    assert_eq!(ask(&service, chat(&json!({}))).await.cache, None);
}

#[tokio::test]
async fn who_shares_is_said_by_the_layer() {
    let callers = [("t1", "a"), ("t1", "b"), ("t2", "c"), ("", "d")];
    for (share, hits) in [
        (Share::Team, [MISS, HIT, MISS, MISS]),
        (Share::Key, [MISS, MISS, MISS, MISS]),
        (Share::Everyone, [MISS, HIT, HIT, HIT]),
    ] {
        let upstream = Upstream::new(|_| whole(&completion("x")));
        let service = layer(&Manual::default()).share(share).layer(upstream.service());
        for ((team, key), hit) in callers.into_iter().zip(hits) {
            assert_eq!(
                ask(&service, by(chat(&json!({})), team, key)).await.cache,
                hit,
                "{share:?} {team} {key}"
            );
        }
    }
}

#[tokio::test]
async fn without_a_principal_credentials_tell_callers_apart() {
    let upstream = Upstream::new(|_| whole(&completion("x")));
    let service = cached(&upstream, &Manual::default());
    let as_who = |name: &'static str, value: &str| {
        let mut request = chat(&json!({}));
        request.headers_mut().insert(name, value.parse().expect("is a value"));
        request
    };
    for (name, value) in
        [("authorization", "Bearer a"), ("authorization", "Bearer b"), ("x-api-key", "a"), ("cookie", "a")]
    {
        assert_eq!(ask(&service, as_who(name, value)).await.cache, MISS, "{name}: {value}");
        assert_eq!(ask(&service, as_who(name, value)).await.cache, HIT, "{name}: {value}");
    }
    let body = json!({"contents": [{"parts": [{"text": "Hello"}]}]});
    let google = |key: &str| post(&format!("/v1beta/models/m:generateContent?key={key}"), &body);
    let upstream = Upstream::new(|_| {
        whole(&json!({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}))
    });
    let service = cached(&upstream, &Manual::default());
    for (key, hit) in [("a", MISS), ("b", MISS), ("a", HIT)] {
        assert_eq!(ask(&service, google(key)).await.cache, hit, "{key}");
    }
}

#[tokio::test]
async fn what_is_about_the_state_of_elsewhere_is_asked_anew() {
    let answer = json!({"id": "resp_1", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]});
    let upstream = Upstream::new(move |_| whole(&answer));
    let service = cached(&upstream, &Manual::default());
    for (fields, cache) in [
        (json!({"background": true}), None),
        (json!({"conversation": "conv_1"}), None),
        (json!({"background": false}), MISS),
    ] {
        let mut body = json!({"model": "m", "input": "Hello"});
        merge(&mut body, &fields);
        assert_eq!(ask(&service, post("/v1/responses", &body)).await.cache, cache, "{fields}");
    }
}

#[tokio::test]
async fn what_is_not_asked_of_a_model_passes() {
    let upstream = Upstream::new(|_| answer("text/plain", "hello"));
    let service = cached(&upstream, &Manual::default());
    let passed = ask(&service, Request::get("/health").body(Body::empty()).expect("is a request")).await;
    assert_eq!((passed.status, &*passed.body, passed.cache), (200, "hello", None));
    let speech = json!({"model": "m", "input": "Hello", "voice": "v"});
    assert_eq!(ask(&service, post("/v1/audio/speech", &speech)).await.cache, None);
}

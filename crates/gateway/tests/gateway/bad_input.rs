//! Requests that are refused: status and body to the letter, and nothing reaches the upstream.

use crate::{
    client::{Raw, post},
    harness::{Gateway, MASTER_KEY, Scene, guarded},
    samples::{Api, CHAT, Error, MESSAGES, ask, invalid},
};

const BOTH: [Api; 2] = [Api::OpenAi, Api::Anthropic];
const BEARER: &str = "authorization: Bearer sk-master-canary";

/// An upstream of each dialect, `gpt` and `claude`, behind a master key.
async fn scene() -> (Scene, Gateway) {
    let scene = Scene::new()
        .await
        .model("gpt", Api::OpenAi.model(), "openai", &[])
        .model("claude", Api::Anthropic.model(), "anthropic", &[])
        .section(&guarded());
    let gateway = scene.start(&["--max-request", "1"]).await;
    (scene, gateway)
}

#[tokio::test]
async fn bodies_that_are_no_request() {
    let (scene, gateway) = scene().await;
    let deep = format!(
        r#"{{"model":"gpt","max_tokens":5,"messages":[{{"role":"user","content":[{{"type":"text","text":{}1{}}}]}}]}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let cases: &[(&str, u16, Error)] = &[
        (
            "{]",
            400,
            invalid("", "", "the request body is not valid JSON: key must be a string at line 1 column 2"),
        ),
        ("", 400, invalid("", "", "the request body is empty: expected a JSON object")),
        ("null", 400, invalid("", "", "the request body must be a JSON object, not null")),
        ("[]", 400, invalid("", "", "the request body must be a JSON object, not an array")),
        ("\"x\"", 400, invalid("", "", "the request body must be a JSON object, not a string")),
        (
            r#"{"model":"gpt","model":"gpt","messages":[{"role":"user","content":"x"}]}"#,
            400,
            invalid("model", "", "the field `model` stands twice in the request body"),
        ),
        (
            r#"{"model":"gpt","messages":[{"role":"user","role":"user","content":"x"}]}"#,
            400,
            invalid("messages[0].role", "", "the field `messages[0].role` stands twice in the request body"),
        ),
        (
            r#"{"messages":[{"role":"user","content":"x"}]}"#,
            400,
            invalid("model", "", "missing required field `model`"),
        ),
        (r#"{"model":"gpt"}"#, 400, invalid("messages", "", "missing required field `messages`")),
        (
            r#"{"model":"gpt","messages":"x"}"#,
            400,
            invalid("messages", "", "`messages` must be an array, not a string"),
        ),
        (
            r#"{"model":"gpt","messages":["hi"]}"#,
            400,
            invalid("messages[0]", "", "`messages[0]` must be an object, not a string"),
        ),
        (
            r#"{"model":"gpt","messages":[{"role":"user","content":5}]}"#,
            400,
            invalid(
                "messages[0].content",
                "",
                "`messages[0].content` must be a string or an array of objects, not a number",
            ),
        ),
        (
            r#"{"model":"gpt","max_tokens":-1,"messages":[{"role":"user","content":"x"}]}"#,
            400,
            invalid("max_tokens", "", "`max_tokens` must be a whole number from 1 to 4294967295, not -1"),
        ),
        (
            r#"{"model":"gpt","temperature":"hot","messages":[{"role":"user","content":"x"}]}"#,
            400,
            invalid("temperature", "", "`temperature` must be a number, not a string"),
        ),
        (
            r#"{"model":"gpt","n":1000000,"messages":[{"role":"user","content":"x"}]}"#,
            400,
            invalid("n", "", "`n` must be a whole number from 1 to 128, not 1000000"),
        ),
        (
            r#"{"model":"gpt","temperature":NaN,"messages":[{"role":"user","content":"x"}]}"#,
            400,
            invalid(
                "temperature",
                "",
                "the request body is not valid JSON in `temperature`: expected value at line 1 column 30",
            ),
        ),
        (
            r#"{"model":"gpt","max_tokens":5,"messages":[{"role":"user","content":"\ud800"}]}"#,
            400,
            invalid("", "", "the request body is refused: lone surrogate in a string at byte 68"),
        ),
        (
            &deep,
            400,
            invalid("", "", "the request body is refused: nested deeper than 127 levels at byte 212"),
        ),
        (
            r#"{"model":"no-such","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#,
            404,
            Error {
                kinds: ["invalid_request_error", "not_found_error"],
                param: "model",
                code: "model_not_found",
                message: "no model answers to the name \\\"no-such\\\"",
            },
        ),
    ];
    for api in BOTH {
        for (body, status, error) in cases {
            let answer = post(gateway.addr, api.path(), &[BEARER], body).await;
            assert_eq!((answer.status, &answer.body), (*status, &api.error(*error)), "{api:?} {body}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let (scene, gateway) = scene().await;
    for api in BOTH {
        let mut raw = gateway.connect().await;
        let head =
            format!("POST {} HTTP/1.1\r\nhost: h\r\n{BEARER}\r\ncontent-length: 13\r\n\r\n", api.path());
        raw.send(head).await;
        raw.send(b"{\"model\":\"\xff\"}").await;
        let error = invalid("", "", "the request body is not valid UTF-8 at byte 10");
        raw.answer().await.is(400, &api.error(error));
    }
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn content_types_and_encodings_that_are_not_read() {
    let (scene, gateway) = scene().await;
    let cases = [
        ("content-type: text/plain", "content-type must be application/json, not \\\"text/plain\\\""),
        (
            "content-encoding: gzip",
            "content-encoding is not supported in requests: send the body uncompressed",
        ),
    ];
    for api in BOTH {
        for (header, message) in cases {
            let mut raw = gateway.connect().await;
            let path = api.path();
            raw.send(format!(
                "POST {path} HTTP/1.1\r\nhost: h\r\n{BEARER}\r\n{header}\r\ncontent-length: 2\r\n\r\n"
            ))
            .await;
            // Refused by the head alone.
            raw.answer().await.is(415, &api.error(invalid("", "unsupported_media_type", message)));
            assert!(raw.is_closed().await);
        }
    }
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn keys_that_are_missing_wrong_or_two() {
    let (scene, gateway) = scene().await;
    let refused = Error {
        kinds: ["invalid_request_error", "authentication_error"],
        param: "",
        code: "invalid_api_key",
        message: "missing or invalid API key",
    };
    let cases: &[&[&str]] = &[
        &[],
        &["authorization: Bearer sk-wrong"],
        &["authorization: Basic sk-master-canary"],
        &["x-api-key: sk-wrong"],
        &["api-key: "],
        &[BEARER, "x-api-key: sk-wrong"],
        &["authorization: Bearer sk-wrong", BEARER],
    ];
    for api in BOTH {
        for headers in cases {
            let answer = post(gateway.addr, api.path(), headers, &ask("gpt", false)).await;
            answer.is(401, &api.error(refused));
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            // The body was not read.
            assert_eq!(answer.header("connection"), Some("close"));
        }
    }
    assert_eq!(scene.asked(), 0);
    for header in ["authorization: bearer", "x-api-key:", "api-key:", "x-litellm-api-key: Bearer"] {
        let header = format!("{header} {MASTER_KEY}");
        assert_eq!(post(gateway.addr, CHAT, &[&header], &ask("gpt", false)).await.status, 200, "{header}");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let (scene, gateway) = scene().await;
    let error = Error {
        kinds: ["invalid_request_error", "request_too_large"],
        param: "",
        code: "request_too_large",
        message: "the request body is larger than 1048576 bytes",
    };
    for api in BOTH {
        // By its word: no byte of the body is sent, nor waited for.
        let mut raw = gateway.connect().await;
        let head = format!("POST {} HTTP/1.1\r\nhost: h\r\n{BEARER}\r\n", api.path());
        raw.send(format!("{head}content-length: 1048577\r\n\r\n")).await;
        let answer = raw.answer().await;
        answer.is(413, &api.error(error));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(raw.is_closed().await);
        // By count: one byte too many.
        let mut raw = gateway.connect().await;
        let body = format!("{{{}", " ".repeat(1_048_576));
        raw.send(format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}", body.len())).await;
        raw.answer().await.is(413, &api.error(error));
        assert!(raw.is_closed().await);
    }
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_read() {
    let (scene, gateway) = scene().await;
    let body = ask("gpt", false);
    let body = format!("{}{body}", " ".repeat(1_048_576 - body.len()));
    assert_eq!(post(gateway.addr, CHAT, &[BEARER], &body).await.status, 200);
    assert_eq!(scene.asked(), 1);
}

/// An answer that comes before the body has been taken must survive that the connection is closed on it.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_everything_first() {
    let (_scene, gateway) = scene().await;
    // More than the kernel takes off the client while nobody reads.
    let body = "x".repeat(24 << 20);
    for headers in [format!("{BEARER}\r\n"), String::new()] {
        let mut raw = gateway.connect().await;
        raw.send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: h\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        ))
        .await;
        raw.send(&body).await;
        let expected = if headers.is_empty() { 401 } else { 413 };
        assert_eq!(raw.answer().await.status, expected);
        assert!(raw.is_closed().await);
    }
}

#[tokio::test]
async fn what_the_other_dialect_cannot_say() {
    let (scene, gateway) = scene().await;
    let cases = [
        (
            Api::OpenAi,
            r#"{"model":"claude","messages":[{"role":"user","content":"x"},{"role":"tool","tool_call_id":"call_1","content":"y"}]}"#,
            invalid(
                "messages[1].tool_call_id",
                "",
                "no earlier assistant message makes the call \\\"call_1\\\" that this result answers",
            ),
        ),
        (
            Api::Anthropic,
            r#"{"model":"gpt","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"nope"}}]}]}"#,
            invalid("", "", "`messages[0].content[0].source.url`: expected an http(s) URL"),
        ),
        (
            Api::Anthropic,
            r#"{"model":"gpt","max_tokens":5,"top_k":5,"messages":[{"role":"user","content":"x"}]}"#,
            invalid(
                "",
                "",
                "this model does not support `top_k`; set `drop_params` to leave out what can be left out, or name it in `allowed_openai_params` to pass it on",
            ),
        ),
        (
            Api::OpenAi,
            r#"{"model":"claude","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"not a url"}}]}]}"#,
            invalid(
                "messages[0].content[0].image_url.url",
                "",
                "`messages[0].content[0].image_url.url`: expected an http(s) URL or a base64 data URL",
            ),
        ),
        (
            Api::OpenAi,
            r#"{"model":"claude","seed":7,"logit_bias":{"1":2},"messages":[{"role":"user","content":"x"}]}"#,
            invalid(
                "seed",
                "unsupported_parameter",
                "this model does not support `seed`, `logit_bias`; set `drop_params` to leave out what can be left out, or name it in `allowed_openai_params` to pass it on",
            ),
        ),
    ];
    for (api, body, error) in cases {
        let answer = post(gateway.addr, api.path(), &[BEARER], body).await;
        assert_eq!((answer.status, &answer.body), (400, &api.error(error)), "{body}");
    }
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn drop_params_leaves_out_what_the_other_dialect_cannot_say() {
    let scene = Scene::new()
        .await
        .model("claude", Api::Anthropic.model(), "anthropic", &[])
        .section("litellm_settings:\n  drop_params: true\n");
    let gateway = scene.start(&[]).await;
    let body = r#"{"model":"claude","max_tokens":5,"seed":7,"messages":[{"role":"user","content":"x"}]}"#;
    assert_eq!(post(gateway.addr, CHAT, &[], body).await.status, 200);
    let sent: serde_json::Value = serde_json::from_slice(&scene.replay.exchanges()[0].body).unwrap();
    assert_eq!(sent["model"], "claude-sonnet-4-5");
    assert_eq!(sent.get("seed"), None);
}

#[tokio::test]
async fn a_name_of_megabytes_is_not_given_back() {
    let (_scene, gateway) = scene().await;
    let answer = post(gateway.addr, MESSAGES, &[BEARER], &ask(&"m".repeat(900_000), false)).await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.len() < 400, "{}", answer.body.len());
}

#[tokio::test]
async fn one_connection_is_good_for_many_refusals() {
    let (_scene, gateway) = scene().await;
    let mut raw: Raw = gateway.connect().await;
    for _ in 0..3 {
        raw.post(CHAT, &[BEARER], "{}").await;
        assert_eq!(raw.answer().await.status, 400);
    }
}

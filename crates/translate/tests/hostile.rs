//! What no caller and no provider should send, as the caller is told of it: in its own dialect.

mod support;

use bytes::Bytes;
use serde_json::{Value, json};
use ziggurat_core::{Body, Dialect, Quirks, Target};

use crate::support::*;

const CALLERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini];

fn ask_of(caller: Dialect, body: &Value, stream: bool) -> http::Request<Body> {
    let path = match (caller, stream) {
        (Dialect::Gemini, true) => "/v1beta/models/alias:streamGenerateContent?alt=sse",
        (Dialect::Gemini, false) => "/v1beta/models/alias:generateContent",
        _ => path(caller),
    };
    let mut body = body.clone();
    if stream && caller != Dialect::Gemini {
        body["stream"] = json!(true);
    }
    http::Request::post(path).body(Body::from(body.to_string())).expect("is a request")
}

/// A plain question, with more members or others.
fn question(caller: Dialect, more: &Value) -> Value {
    let mut body = match caller {
        Dialect::Responses => json!({"model": "alias", "input": "Hello"}),
        Dialect::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}),
        Dialect::Anthropic => {
            json!({"model": "alias", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]})
        }
        _ => json!({"model": "alias", "messages": [{"role": "user", "content": "Hello"}]}),
    };
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

/// The message of an error in a caller's own words.
fn message(caller: Dialect, error: &Value) -> String {
    let (kind, word) = match caller {
        Dialect::Anthropic => (&error["error"]["type"], "invalid_request_error"),
        Dialect::Gemini => (&error["error"]["status"], "INVALID_ARGUMENT"),
        _ => (&error["error"]["type"], "invalid_request_error"),
    };
    assert_eq!(kind, word, "{error}");
    error["error"]["message"].as_str().expect("is told").to_owned()
}

/// What a caller is told of a call that is refused before anybody is asked.
async fn refused(caller: Dialect, target: Target, body: &Value) -> String {
    let exchange = exchange(target, ask_of(caller, body, false), json("{}")).await;
    assert!(exchange.sent.is_none(), "{caller:?} {body}");
    assert_eq!(exchange.status, 400, "{caller:?} {body}");
    message(caller, &exchange.json())
}

/// A target of each caller's that speaks another dialect.
fn other(caller: Dialect) -> Target {
    target(if caller == ANTHROPIC { OPENAI } else { ANTHROPIC })
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let wrong = [
        (Dialect::OpenAi, "messages", json!("Hello")),
        (Dialect::OpenAi, "tools", json!("f")),
        (Dialect::OpenAi, "temperature", json!("warm")),
        (Dialect::OpenAi, "response_format", json!("json")),
        (Dialect::Anthropic, "messages", json!({})),
        (Dialect::Anthropic, "system", json!(7)),
        (Dialect::Anthropic, "tools", json!({})),
        (Dialect::Anthropic, "thinking", json!("much")),
        (Dialect::Responses, "input", json!(7)),
        (Dialect::Responses, "instructions", json!([])),
        (Dialect::Responses, "tools", json!("f")),
        (Dialect::Responses, "text", json!("json")),
        (Dialect::Responses, "reasoning", json!("high")),
        (Dialect::Responses, "max_output_tokens", json!("many")),
        (Dialect::Gemini, "contents", json!(7)),
        (Dialect::Gemini, "systemInstruction", json!(7)),
        (Dialect::Gemini, "tools", json!("f")),
        (Dialect::Gemini, "toolConfig", json!([])),
        (Dialect::Gemini, "generationConfig", json!("cold")),
    ];
    for (caller, name, value) in wrong {
        let told = refused(caller, other(caller), &question(caller, &json!({name: value}))).await;
        // One turn of Google's may stand where its list does.
        assert!(told.starts_with(&format!("`{name}")), "{caller:?} {name}: {told}");
    }
}

#[tokio::test]
async fn a_role_that_nobody_knows_is_named() {
    let said = |role: &str| json!([{"role": role, "content": "x"}]);
    let parts = json!([{"role": "wizard", "parts": [{"text": "x"}]}]);
    for (caller, more, place) in [
        (Dialect::OpenAi, json!({"messages": said("wizard")}), "messages[0].role"),
        (Dialect::Anthropic, json!({"messages": said("wizard")}), "messages[0].role"),
        (Dialect::Responses, json!({"input": said("wizard")}), "input[0].role"),
        (Dialect::Gemini, json!({"contents": parts}), "contents[0].role"),
    ] {
        let told = refused(caller, other(caller), &question(caller, &more)).await;
        assert!(told.contains(&format!("`{place}`")), "{caller:?}: {told}");
    }
}

#[tokio::test]
async fn a_schema_that_is_none_is_named() {
    let function = |schema: &Value| json!({"name": "f", "parameters": schema});
    for schema in [json!(7), json!("object"), json!([])] {
        for (caller, tools, place) in [
            (
                Dialect::OpenAi,
                json!([{"type": "function", "function": function(&schema)}]),
                "tools[0].function.parameters",
            ),
            (Dialect::Anthropic, json!([{"name": "f", "input_schema": schema}]), "tools[0].input_schema"),
            (
                Dialect::Responses,
                json!([{"type": "function", "name": "f", "parameters": schema}]),
                "tools[0].parameters",
            ),
            (
                Dialect::Gemini,
                json!([{"functionDeclarations": [function(&schema)]}]),
                "tools[0].functionDeclarations[0].parameters",
            ),
        ] {
            let told = refused(caller, other(caller), &question(caller, &json!({"tools": tools}))).await;
            assert!(told.contains(&format!("`{place}`")), "{caller:?} {schema}: {told}");
        }
    }
}

/// The history of a call whose arguments were cut, as those have it whose arguments are a string.
fn cut_call(caller: Dialect) -> Value {
    match caller {
        Dialect::Responses => json!({"input": [
            {"role": "user", "content": "x"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\": \"x"},
            {"type": "function_call_output", "call_id": "c", "output": "cut"},
        ]}),
        _ => json!({"messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\": \"x"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "cut"},
        ]}),
    }
}

#[tokio::test]
async fn arguments_that_are_no_json_stand_whole_where_they_are_an_object() {
    for caller in [Dialect::OpenAi, Dialect::Responses] {
        let body = question(caller, &cut_call(caller));
        let exchange =
            exchange(target(ANTHROPIC), ask_of(caller, &body, false), json(answer(ANTHROPIC))).await;
        let sent = exchange.sent().json();
        assert_eq!(sent["messages"][1]["content"][0]["input"], json!({"partial_json": "{\"a\": \"x"}));
    }
}

/// An image of so many bytes, in a caller's words, and its field.
fn image(caller: Dialect, bytes: usize) -> (Value, &'static str) {
    let data = "A".repeat(bytes.div_ceil(3) * 4 - 2) + "==";
    let url = format!("data:image/png;base64,{data}");
    let user = |part: Value| json!([{"role": "user", "content": [part]}]);
    match caller {
        Dialect::Anthropic => {
            let source = json!({"type": "base64", "media_type": "image/png", "data": data});
            (
                json!({"messages": user(json!({"type": "image", "source": source}))}),
                "messages[0].content[0].source.data",
            )
        }
        Dialect::Responses => (
            json!({"input": user(json!({"type": "input_image", "image_url": url}))}),
            "input[0].content[0].image_url",
        ),
        Dialect::Gemini => (
            json!({"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}]}),
            "contents[0].parts[0].inlineData.data",
        ),
        _ => (
            json!({"messages": user(json!({"type": "image_url", "image_url": {"url": url}}))}),
            "messages[0].content[0].image_url.url",
        ),
    }
}

#[tokio::test]
async fn an_image_that_is_too_large_is_named_ahead_of_the_call() {
    let mut quirks = Quirks::default();
    quirks.max_image = Some(3_001);
    for caller in CALLERS {
        let provider = if caller == ANTHROPIC { OPENAI } else { ANTHROPIC };
        let target = target(provider).quirks(quirks.clone());
        // `image` rounds up to threes, and its padding takes two off.
        let (fits, _) = image(caller, 3_003);
        let body = question(caller, &fits);
        let whole = exchange(target.clone(), ask_of(caller, &body, false), json(answer(provider))).await;
        assert_eq!(whole.status, 200, "{caller:?}: {}", whole.body);
        let (large, place) = image(caller, 3_004);
        let told = refused(caller, target, &question(caller, &large)).await;
        assert_eq!(told, format!("`{place}`: this provider takes images of at most 3001 bytes"));
    }
}

/// A mebibyte more often than any limit lets through.
const TIMES: usize = 100;

/// What a caller hears of a stream that begins so and then has no end; how much was held of it.
fn flooded(caller: Dialect, provider: Dialect, kind: &str, begin: Vec<u8>, piece: Vec<u8>) -> (String, u64) {
    let (piece, mut heard) = (Bytes::from(piece), String::new());
    let counted = allocation_counter::measure(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("is built");
        heard = runtime.block_on(async {
            let steps = std::iter::once(Bytes::from(begin)).chain(std::iter::repeat_n(piece, TIMES));
            let body = Scripted::new(steps.map(Step::Data));
            let asked = ask_of(caller, &question(caller, &json!({})), true);
            let target = Target::new("vendor", provider, "m", "https://v.example/x").expect("is a URL");
            exchange(target, asked, answering(200, kind, body)).await.body
        });
    });
    (heard, counted.bytes_max)
}

/// The error in which a stream ends, in its caller's words.
fn last_error(stream: &str) -> String {
    let (_, data) = stream.trim_end().rsplit_once("data: ").expect("has an event");
    let error: Value = serde_json::from_str(data).expect("is JSON");
    let message = &error["error"]["message"];
    message.as_str().unwrap_or_else(|| panic!("is no error: {error}")).to_owned()
}

#[test]
fn a_piece_of_a_stream_without_end_is_bounded_and_told() {
    let mebibyte = || vec![b'a'; 1 << 20];
    let aws = |length: u32| {
        let mut begin = length.to_be_bytes().to_vec();
        begin.extend(0_u32.to_be_bytes());
        begin.extend(crc32fast::hash(&begin).to_be_bytes());
        begin
    };
    let floods = [
        (Dialect::Ollama, "application/x-ndjson", b"{\"message\":{\"content\":\"".to_vec(), 1),
        (
            Dialect::Gemini,
            "application/json",
            b"[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"".to_vec(),
            16,
        ),
        (
            Dialect::Gemini,
            "text/event-stream",
            b"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"".to_vec(),
            16,
        ),
        (Dialect::Converse, "application/vnd.amazon.eventstream", aws(100 << 20), 1),
    ];
    for (provider, kind, begin, limit) in floods {
        for caller in CALLERS.into_iter().filter(|caller| *caller != provider) {
            let (heard, held) = flooded(caller, provider, kind, begin.clone(), mebibyte());
            let told = last_error(&heard);
            assert!(
                told.ends_with(&format!("of more than {} bytes", limit << 20)),
                "{caller:?} {provider:?}: {told}"
            );
            assert!(held <= (3 * limit + 4) << 20, "{caller:?} {provider:?}: {held}");
        }
    }
}

#[tokio::test]
async fn what_is_cut_or_damaged_is_told_to_every_caller() {
    let aws = |payload: &str| {
        let mut message = (16 + payload.len() as u32).to_be_bytes().to_vec();
        message.extend(0_u32.to_be_bytes());
        message.extend(crc32fast::hash(&message).to_be_bytes());
        message.extend(payload.bytes());
        message.extend(crc32fast::hash(&message).to_be_bytes());
        message
    };
    let damaged = |at: usize| {
        let mut message = aws("{}");
        message[at] ^= 1;
        message
    };
    let binary = "application/vnd.amazon.eventstream";
    let cut = "the provider's stream ended before the answer was complete";
    let corrupt = "the provider sent an event that is no JSON of its dialect";
    let cases = [
        (Dialect::Ollama, "application/x-ndjson", b"{\"message\":{\"content\":\"x".to_vec(), cut),
        (Dialect::Gemini, "application/json", b"[{\"candidates\":[{\"content\"".to_vec(), cut),
        (Dialect::Converse, binary, aws("{}")[..14].to_vec(), cut),
        // The length, the checksum of it, the payload, the checksum of all.
        (Dialect::Converse, binary, damaged(3), corrupt),
        (Dialect::Converse, binary, damaged(9), corrupt),
        (Dialect::Converse, binary, damaged(13), corrupt),
        (Dialect::Converse, binary, damaged(15), corrupt),
    ];
    for (provider, kind, stream, expected) in cases {
        for caller in CALLERS.into_iter().filter(|caller| *caller != provider) {
            let asked = ask_of(caller, &question(caller, &json!({})), true);
            let target = Target::new("vendor", provider, "m", "https://v.example/x").expect("is a URL");
            let body = Scripted::new([Step::data(stream.clone())]);
            let heard = exchange(target, asked, answering(200, kind, body)).await.body;
            assert_eq!(last_error(&heard), expected, "{caller:?} {provider:?}");
        }
    }
}

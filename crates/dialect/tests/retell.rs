//! A stream and the whole answer say the same, whichever was there first.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ziggurat_core::Dialect;
use ziggurat_dialect::{
    Arguments, BlockKind, Delta, Event, FinishReason, StreamDecoder, decode_response, sse, stream_of,
    whole_of,
};
use ziggurat_testkit::Recordings;

const NOW: u64 = 1_700_000_000;

/// The data of a stream's events.
fn data_of(stream: &[u8]) -> Vec<String> {
    let mut decoder = sse::Decoder::new(1 << 24);
    decoder.push(bytes::Bytes::copy_from_slice(stream));
    let mut all = Vec::new();
    for frame in &mut decoder {
        if let sse::Frame::Event(event) = frame.expect("is short") {
            all.push(String::from_utf8(event.data.to_vec()).expect("is UTF-8"));
        }
    }
    if let Some(sse::Frame::Event(event)) = decoder.finish() {
        all.push(String::from_utf8(event.data.to_vec()).expect("is UTF-8"));
    }
    all
}

fn whole(dialect: Dialect, stream: &[u8]) -> Result<Value, String> {
    let data = data_of(stream);
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let mut out = Vec::new();
    whole_of(dialect, &data, NOW, &mut out).map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&out).expect("is JSON"))
}

fn stream(dialect: Dialect, whole: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    stream_of(dialect, &whole.to_string(), true, NOW, &mut out).expect("is an answer");
    out
}

/// The text, the reasoning and the arguments of a stream, and how it ends.
fn said_in(dialect: Dialect, stream: &[u8]) -> (String, Vec<FinishReason>) {
    let (mut decoder, mut text, mut finishes) = (StreamDecoder::new(dialect), String::new(), Vec::new());
    let mut ended = false;
    let mut sink = |event: Event<'_>| match event {
        Event::Delta {
            delta: Delta::Text(it) | Delta::Thinking(it) | Delta::Refusal(it) | Delta::Arguments(it),
            ..
        } => text.push_str(&it.decode()),
        Event::Finish { finish, .. } => finishes.push(finish.reason),
        Event::End => ended = true,
        _ => {}
    };
    data_of(stream).iter().for_each(|data| decoder.decode(&data.clone(), &mut sink).expect("is an event"));
    decoder.finish(&mut sink);
    assert!(ended);
    (text, finishes)
}

/// The same of a whole answer.
fn said_by(dialect: Dialect, whole: &Value) -> (String, Vec<FinishReason>) {
    let whole = whole.to_string();
    let response = decode_response(dialect, &whole).expect("is an answer");
    let blocks = response.choices.iter().flat_map(|choice| &choice.content);
    let text = blocks.map(|block| match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Thinking { text, .. } | BlockKind::Refusal(text) => {
            text.decode().into_owned()
        }
        BlockKind::ToolCall(call) => match &call.arguments {
            Arguments::Json(raw) => raw.get().to_owned(),
            Arguments::String(text) => text.decode().into_owned(),
        },
        _ => String::new(),
    });
    let finishes = response.choices.iter().filter_map(|choice| Some(choice.finish.as_ref()?.reason));
    (text.collect(), finishes.collect())
}

#[test]
fn a_chat_completion_is_put_together() {
    let chunk = |members: Value| {
        format!(
            "data: {}\n\n",
            json!({"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [members]})
        )
    };
    let call = |members: Value| chunk(json!({"index": 0, "delta": {"tool_calls": [members]}}));
    let text = [
        chunk(json!({"index": 0, "delta": {"role": "assistant", "content": ""}})),
        chunk(json!({"index": 0, "delta": {"reasoning_content": "Hm"}})),
        chunk(json!({"index": 0, "delta": {"content": "Hel"}, "logprobs": {"content": [{"token": "Hel"}], "refusal": null}})),
        chunk(json!({"index": 1, "delta": {"role": "assistant", "refusal": "No"}})),
        chunk(json!({"index": 0, "delta": {"content": "lo \"\u{e9}\""}, "logprobs": {"content": [{"token": "lo"}], "refusal": null}})),
        chunk(json!({"index": 0, "delta": {"annotations": [{"type": "url_citation"}]}})),
        chunk(json!({"index": 0, "delta": {"annotations": [{"type": "file_citation"}]}})),
        call(json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}})),
        call(json!({"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{\"y\""}})),
        call(json!({"index": 0, "function": {"arguments": "{\"x\":1}"}})),
        call(json!({"index": 1, "function": {"arguments": ":2}"}})),
        chunk(json!({"index": 0, "delta": {}, "finish_reason": "tool_calls"})),
        chunk(json!({"index": 1, "delta": {}, "finish_reason": "stop"})),
        format!("data: {}\n\n", json!({"id": "c1", "choices": [], "system_fingerprint": "fp", "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "x": true}})),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    let function = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let expected = json!({
        "id": "c1", "object": "chat.completion", "created": 5, "model": "m", "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant", "content": "Hello \"\u{e9}\"", "reasoning_content": "Hm",
                    "annotations": [{"type": "url_citation"}, {"type": "file_citation"}],
                    "tool_calls": [function("a", "f", "{\"x\":1}"), function("b", "g", "{\"y\":2}")],
                },
                "logprobs": {"content": [{"token": "Hel"}, {"token": "lo"}], "refusal": null},
                "finish_reason": "tool_calls",
            },
            {"index": 1, "message": {"role": "assistant", "content": null, "refusal": "No"}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "x": true},
    });
    let together = whole(Dialect::OpenAi, text.as_bytes()).expect("is whole");
    assert_eq!(together, expected);
    assert_eq!(whole(Dialect::OpenAi, &stream(Dialect::OpenAi, &together)), Ok(expected));
}

#[test]
fn a_message_is_told_and_put_together_again() {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "sig"},
            {"type": "redacted_thinking", "data": "xx"},
            {"type": "text", "text": "Hi", "citations": [{"type": "char_location", "cited_text": "x"}]},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1]}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": 9, "cache_read_input_tokens": 1, "service_tier": "standard"},
    });
    let told = stream(Dialect::Anthropic, &message);
    assert_eq!(whole(Dialect::Anthropic, &told), Ok(message));
}

#[test]
fn what_is_not_whole_is_not_put_together() {
    let whole = |text: &str| whole(Dialect::OpenAi, text.as_bytes()).expect_err("is none");
    let prefix = "the stream makes up no whole answer: ";
    let begun = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    assert_eq!(whole(begun), format!("{prefix}it ends in an error"));
    assert_eq!(whole("data: {\"error\":{\"message\":\"x\"}}\n\n"), format!("{prefix}it ends in an error"));
    assert_eq!(whole("data: [1\n\n"), format!("{prefix}it holds what is no event"));
    let pieces = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"audio\":{\"data\":\"a\"}},\"finish_reason\":\"stop\"}]}\n\n".repeat(2);
    assert_eq!(
        whole(&format!("{pieces}data: [DONE]\n\n")),
        format!("{prefix}it has pieces of a member that is not known")
    );
    let custom = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"type\":\"custom\"}]},\"finish_reason\":\"stop\"}]}\n\n";
    assert_eq!(
        whole(&format!("{custom}data: [DONE]\n\n")),
        format!("{prefix}it has calls of another kind than functions in pieces")
    );
}

/// Every stream that somebody recorded: put together, told again and put together again, it is the same answer.
#[test]
fn recordings_say_the_same_both_ways() {
    let Some(recordings) = Recordings::shared() else { return };
    let mut failed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for (endpoint, dialect) in [
        ("chat.completions", Dialect::OpenAi),
        ("messages", Dialect::Anthropic),
        ("responses", Dialect::Responses),
        ("generateContent", Dialect::Gemini),
    ] {
        for recording in recordings.filter(None, endpoint) {
            let body = recording.response.body();
            let together = if recording.format == "sse" {
                whole(dialect, body)
            } else if recording.response.status().is_success() {
                let told = stream_of(
                    dialect,
                    std::str::from_utf8(body).expect("is UTF-8"),
                    true,
                    NOW,
                    &mut Vec::new(),
                );
                if told.is_err() {
                    continue;
                }
                whole(dialect, &stream(dialect, &serde_json::from_slice(body).expect("is JSON")))
            } else {
                continue;
            };
            match together {
                Err(error) => failed.entry(error).or_default().push(recording.id.to_string()),
                Ok(answer) => {
                    let told = stream(dialect, &answer);
                    assert_eq!(said_in(dialect, &told), said_by(dialect, &answer), "{}", recording.id);
                    let again = whole(dialect, &told).expect("is whole");
                    assert_eq!(again, answer, "{}", recording.id);
                    *counts.entry(endpoint).or_insert(0) += 1;
                }
            }
        }
    }
    let broken = ["groq-chat-completions-dd3fbfda7a-00", "openrouter-chat-completions-6337514668-00"];
    let reason = "the stream makes up no whole answer: it ends in an error";
    assert_eq!(failed, BTreeMap::from([(reason.to_owned(), broken.map(str::to_owned).to_vec())]));
    assert_eq!(counts.values().sum::<u32>(), 213, "{counts:?}");
}

//! A provider's stream, as an OpenAI caller sees it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use ziggurat_core::Dialect;
use ziggurat_dialect::{
    Event, StreamDecoder, StreamEncoder, event_stream,
    sse::{Decoder, Frame},
};

use crate::{
    Rows, dialect, parse_arguments,
    response::{message, usage},
};

#[test]
fn a_stream_reaches_an_openai_caller_as_litellm_gives_it() {
    let Some(rows) = Rows::load("stream") else { return };
    rows.run(|rows, row| {
        let data = match row["provider_stream_base64"].as_str() {
            Some(bytes) => messages(bytes),
            None => {
                let text = row["provider_stream"].as_str().expect("is text");
                match dialect(row) {
                    Some(Dialect::Ollama) => text.lines().map(str::to_owned).collect(),
                    _ => events(text.as_bytes()),
                }
            }
        };
        let mut chunks = translate(dialect(row).expect("has one"), &data);
        let failed = chunks.last().is_some_and(|chunk| !chunk["error"].is_null());
        if failed {
            chunks.pop();
        }
        let expected = [&row["expected_chunks"], &row["expected_chunks_before_error"]];
        let expected = expected.into_iter().find_map(Value::as_array).expect("has chunks");
        // What the provider did not state, LiteLLM estimates.
        let counted = data.iter().any(|data| data.contains("\"usage"));
        let failure = !row["expected_error"].is_null();
        let expected = json!({ "failed": failure, "answer": assemble(expected, counted && !failure) });
        let ours = json!({ "failed": failed, "answer": assemble(&chunks, counted && !failed) });
        rows.compare(row, &expected, &ours);
    });
}

/// The chunks that an OpenAI caller gets.
fn translate(dialect: Dialect, data: &[String]) -> Vec<Value> {
    let (mut decoder, mut encoder) =
        (StreamDecoder::new(dialect), StreamEncoder::new(Dialect::OpenAi, 7, true));
    let mut out = Vec::new();
    let mut write = |event: Event<'_>| encoder.encode(&event, &mut out);
    for data in data {
        decoder.decode(data, &mut write).expect("reads");
    }
    decoder.finish(&mut write);
    let chunks = events(&out).into_iter().filter(|data| data != "[DONE]");
    chunks.map(|data| serde_json::from_str(&data).expect("is JSON")).collect()
}

/// The data of the messages of AWS's event stream.
fn messages(bytes: &str) -> Vec<String> {
    let mut decoder = event_stream::Decoder::new(1 << 20);
    decoder.push(STANDARD.decode(bytes).expect("is base64").into());
    let data = |frame| match frame {
        Ok(Frame::Event(event)) => String::from_utf8(event.data.to_vec()).expect("is UTF-8"),
        other => panic!("{other:?} is no event"),
    };
    decoder.map(data).collect()
}

fn events(bytes: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(Bytes::copy_from_slice(bytes));
    let mut frames: Vec<Frame> = decoder.by_ref().map(|frame| frame.expect("is not too large")).collect();
    frames.extend(decoder.finish());
    let data = |frame| match frame {
        Frame::Event(event) => Some(String::from_utf8(event.data.to_vec()).expect("is UTF-8")),
        _ => None,
    };
    frames.into_iter().filter_map(data).collect()
}

/// What a client makes of the chunks: the pieces of text and reasoning one by one, the rest put together. Left out: `id`, `created` and
/// `model` (LiteLLM's own; we keep the provider's), empty pieces, and what [`message`] and [`usage`] leave out.
fn assemble(chunks: &[Value], counted: bool) -> Value {
    let mut answer = Map::new();
    let (mut calls, mut thoughts, mut count) = (Vec::<Value>::new(), Vec::<Value>::new(), Value::Null);
    for chunk in chunks {
        if chunk["usage"].is_object() {
            count = chunk["usage"].clone();
        }
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            let delta = &choice["delta"];
            for name in ["content", "reasoning_content", "refusal"] {
                if let Some(piece) = delta[name].as_str().filter(|piece| !piece.is_empty()) {
                    let pieces = answer.entry(name).or_insert_with(|| json!([]));
                    pieces.as_array_mut().expect("is a list").push(piece.into());
                }
            }
            thoughts.extend(delta["thinking_blocks"].as_array().cloned().unwrap_or_default());
            delta["tool_calls"].as_array().into_iter().flatten().for_each(|call| grow(&mut calls, call));
            if !choice["finish_reason"].is_null() {
                answer.insert("finish_reason".into(), choice["finish_reason"].clone());
            }
        }
    }
    answer.insert("tool_calls".into(), calls.into());
    answer.insert("thinking_blocks".into(), thoughts.into());
    if counted {
        usage(&mut count);
        answer.insert("usage".into(), count);
    }
    let mut answer = Value::Object(answer);
    message(&mut answer);
    parse_arguments(&mut answer);
    answer
}

fn grow(calls: &mut Vec<Value>, piece: &Value) {
    let index = piece["index"].as_u64().expect("has an index") as usize;
    if calls.len() <= index {
        calls.resize(index + 1, json!({ "arguments": "" }));
    }
    let (call, function) = (&mut calls[index], &piece["function"]);
    for (name, value) in [("id", &piece["id"]), ("name", &function["name"])] {
        if value.is_string() {
            call[name] = value.clone();
        }
    }
    let so_far = call["arguments"].as_str().expect("is text").to_owned();
    call["arguments"] = (so_far + function["arguments"].as_str().unwrap_or_default()).into();
}

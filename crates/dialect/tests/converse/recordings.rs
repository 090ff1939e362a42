//! Every recording of Converse, through the codecs.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use ziggurat_core::{Cause, Dialect, ParamPolicy};
use ziggurat_dialect::{
    Event, StreamDecoder, StreamEncoder, decode_error_of, decode_request, decode_response, encode_response,
    event_stream::{Decoder, invoked},
    sse::Frame,
};
use ziggurat_testkit::{Recording, Recordings};

use crate::common::{data, dropping, request, strict};

fn recordings(takes: impl Fn(&Recording) -> bool) -> Option<Vec<Arc<Recording>>> {
    let all = Recordings::shared()?;
    let is_ours = |recording: &Recording| recording.endpoint.starts_with("converse");
    let found: Vec<_> =
        all.iter().filter(|recording| is_ours(recording) && takes(recording)).cloned().collect();
    assert!(!found.is_empty(), "there is no such recording");
    Some(found)
}

fn text(recording: &Recording) -> &str {
    std::str::from_utf8(recording.response.body()).expect("is UTF-8")
}

/// The data of a stream's events, its bytes in pieces of this size.
fn events_of(recording: &Recording, size: usize) -> Vec<String> {
    let (mut decoder, mut found) = (Decoder::new(1 << 24), Vec::new());
    for piece in recording.response.body().chunks(size) {
        decoder.push(Bytes::copy_from_slice(piece));
        for frame in decoder.by_ref() {
            let Ok(Frame::Event(event)) = frame else { panic!("{}: {frame:?}", recording.id) };
            found.push(String::from_utf8(event.data.to_vec()).expect("is UTF-8"));
        }
    }
    assert_eq!(decoder.finish(), None, "{}", recording.id);
    found
}

fn translate(to: Dialect, data: &[String]) -> String {
    let (mut decoder, mut encoder) = (StreamDecoder::new(Dialect::Converse), StreamEncoder::new(to, 7, true));
    let mut out = Vec::new();
    let mut write = |event: Event<'_>| encoder.encode(&event, &mut out);
    for data in data {
        decoder.decode(data, &mut write).expect("reads");
    }
    decoder.finish(&mut write);
    String::from_utf8(out).expect("is UTF-8")
}

/// What stands in an answer of Converse's, as (text, names of calls, input, output).
fn truth(answer: &Value) -> (String, Vec<String>, u64, u64) {
    let blocks = answer["output"]["message"]["content"].as_array().expect("has content");
    let text = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
    let is_ours = |call: &&Value| call["name"].is_string() && call["type"] != "server_tool_use";
    let calls = blocks.iter().map(|block| &block["toolUse"]).filter(is_ours);
    let calls = calls.map(|call| call["name"].as_str().expect("has a name").to_owned()).collect();
    let count = |name: &str| answer["usage"][name].as_u64().unwrap_or(0);
    let input = count("inputTokens") + count("cacheReadInputTokens") + count("cacheWriteInputTokens");
    (text, calls, input, count("outputTokens"))
}

#[test]
fn every_answer_reaches_both_callers() {
    let Some(found) = recordings(|r| r.response.status().is_success() && r.format == "json") else { return };
    for recording in &found {
        let answer: Value = serde_json::from_str(text(recording)).expect("is JSON");
        let response = decode_response(Dialect::Converse, text(recording)).expect("reads");
        let write = |to: Dialect| {
            let mut out = Vec::new();
            encode_response(to, &response, 7, &mut out);
            let json = String::from_utf8(out).expect("is UTF-8");
            decode_response(to, &json).unwrap_or_else(|error| panic!("{}: {error}", recording.id));
            strict(&json)
        };
        let (openai, anthropic) = (write(Dialect::OpenAi), write(Dialect::Anthropic));
        let (said, calls, input, output) = truth(&answer);
        let message = &openai["choices"][0]["message"];
        assert_eq!(message["content"].as_str().unwrap_or_default(), said, "{}", recording.id);
        let called = message["tool_calls"].as_array().into_iter().flatten();
        let names: Vec<&str> = called.filter_map(|call| call["function"]["name"].as_str()).collect();
        assert_eq!(names, calls, "{}", recording.id);
        let counts = (&openai["usage"]["prompt_tokens"], &openai["usage"]["completion_tokens"]);
        assert_eq!(counts, (&json!(input), &json!(output)), "{}", recording.id);
        let blocks = anthropic["content"].as_array().expect("has content");
        let text: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        assert_eq!(text, said, "{}", recording.id);
        assert!(anthropic["stop_reason"].is_string() && openai["choices"][0]["finish_reason"].is_string());
    }
    println!("answers: {}", found.len());
}

/// What stands in a stream, in the form of an answer.
fn assembled(events: &[String]) -> Value {
    let (mut content, mut usage, mut kinds) = (Vec::<Value>::new(), Value::Null, Vec::new());
    for event in events {
        let event: Value = serde_json::from_str(event).expect("is JSON");
        if let Some(call) = event["contentBlockStart"]["start"]["toolUse"].as_object() {
            content.push(json!({ "toolUse": call }));
        }
        if let Some(text) = event["contentBlockDelta"]["delta"]["text"].as_str() {
            content.push(json!({ "text": text }));
        }
        if event["metadata"]["usage"].is_object() {
            usage = event["metadata"]["usage"].clone();
        }
        kinds.push(event);
    }
    json!({ "output": { "message": { "content": content } }, "usage": usage })
}

#[test]
fn every_stream_reaches_both_callers_however_it_is_cut() {
    let Some(found) = recordings(|r| r.format == "aws-eventstream") else { return };
    for recording in &found {
        let whole = events_of(recording, usize::MAX);
        for size in [1, 7] {
            assert_eq!(events_of(recording, size), whole, "{}", recording.id);
        }
        let (mut decoder, mut open, mut ends) = (StreamDecoder::new(Dialect::Converse), None, Vec::new());
        let mut check = |event: Event<'_>| match event {
            Event::Open { block, .. } => assert_eq!(open.replace(block), None, "{}", recording.id),
            Event::Delta { block, .. } => assert_eq!(open, Some(block), "{}", recording.id),
            Event::Close { block, .. } => assert_eq!(open.take(), Some(block), "{}", recording.id),
            Event::Finish { .. } => ends.push("finish"),
            Event::End => ends.push("end"),
            Event::Error(_) => ends.push("error"),
            _ => {}
        };
        for data in &whole {
            decoder.decode(data, &mut check).unwrap_or_else(|error| panic!("{}: {error}", recording.id));
        }
        decoder.finish(&mut check);
        assert_eq!(ends, ["finish", "end"], "{}", recording.id);
        let (said, calls, input, output) = truth(&assembled(&whole));
        let openai = data(&translate(Dialect::OpenAi, &whole));
        assert_eq!(openai.last().map(String::as_str), Some("[DONE]"), "{}", recording.id);
        let chunks: Vec<Value> = openai[..openai.len() - 1].iter().map(|data| strict(data)).collect();
        let deltas = || chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]);
        let text: String = deltas().filter_map(|delta| delta["content"].as_str()).collect();
        assert_eq!(text, said, "{}", recording.id);
        let pieces = deltas().filter_map(|delta| delta["tool_calls"].as_array()).flatten();
        let names: Vec<&str> = pieces.filter_map(|call| call["function"]["name"].as_str()).collect();
        assert_eq!(names, calls, "{}", recording.id);
        let usage = chunks.iter().find(|chunk| chunk["usage"].is_object()).expect("has usage");
        let counts = (&usage["usage"]["prompt_tokens"], &usage["usage"]["completion_tokens"]);
        assert_eq!(counts, (&json!(input), &json!(output)), "{}", recording.id);
        let anthropic = data(&translate(Dialect::Anthropic, &whole));
        let types: Vec<Value> = anthropic.iter().map(|data| strict(data)["type"].clone()).collect();
        assert_eq!(types.first(), Some(&json!("message_start")), "{}", recording.id);
        assert_eq!(types.last(), Some(&json!("message_stop")), "{}", recording.id);
        let cut = translate(Dialect::OpenAi, &whole[..whole.len() - 2]);
        assert!(cut.contains("upstream_truncated"), "{}", recording.id);
    }
    println!("streams: {}", found.len());
}

/// Claude's events, in chunks, are Anthropic's; Nova's are Converse's.
#[test]
fn every_stream_of_an_invoked_model_is_read_in_its_own_dialect() {
    let Some(all) = Recordings::shared() else { return };
    let mut count = 0;
    for recording in
        all.iter().filter(|r| r.endpoint == "invoke-with-response-stream" && r.format == "aws-eventstream")
    {
        let is_claude = recording.model.as_ref().is_some_and(|model| model.contains("claude"));
        let mut decoder = StreamDecoder::new(if is_claude { Dialect::Anthropic } else { Dialect::Converse });
        let chunks = events_of(recording, 7);
        let inner = chunks.iter().map(|data| invoked(data).expect("is whole").expect("is a chunk"));
        let inner: Vec<String> = inner.collect();
        let mut kinds = Vec::new();
        let mut keep = |event: Event<'_>| {
            kinds.push(format!("{event:?}").split(['(', ' ']).next().unwrap_or_default().to_owned());
        };
        for data in &inner {
            decoder
                .decode(data, &mut keep)
                .unwrap_or_else(|error| panic!("{}: {error}: {data}", recording.id));
        }
        decoder.finish(&mut keep);
        let finishes = kinds.iter().filter(|kind| *kind == "Finish").count();
        assert_eq!((finishes, kinds.last().map(String::as_str)), (1, Some("End")), "{}", recording.id);
        assert!(kinds.iter().any(|kind| kind == "Usage"), "{}", recording.id);
        count += 1;
    }
    println!("invoked streams: {count}");
    assert!(count > 0);
}

#[test]
fn every_error_is_read_by_its_cause() {
    let Some(found) = recordings(|r| !r.response.status().is_success()) else { return };
    for recording in &found {
        let response = &recording.response;
        let problem = decode_error_of(response.status(), response.headers(), response.body());
        let said = text(recording);
        let expected = match response.status().as_u16() {
            400 if said.contains("identifier is invalid") => Cause::ModelNotFound,
            400 => Cause::InvalidRequest,
            403 => Cause::InvalidKey,
            other => panic!("no recording had the status {other}"),
        };
        assert_eq!(problem.cause, expected, "{}", recording.id);
    }
    println!("errors: {}", found.len());
}

/// A recorded request in the words of an OpenAI caller; `None` when it holds what those have no word for.
fn as_openai(body: &Value) -> Option<Value> {
    let mut messages = Vec::new();
    for block in body["system"].as_array().into_iter().flatten() {
        messages.push(json!({ "role": "system", "content": block["text"].as_str()? }));
    }
    for message in body["messages"].as_array()? {
        let (mut parts, mut calls) = (Vec::new(), Vec::new());
        for block in message["content"].as_array()? {
            let (kind, value) = block.as_object()?.iter().next()?;
            match &**kind {
                "text" => parts.push(json!({ "type": "text", "text": value })),
                "image" => {
                    let bytes = value["source"]["bytes"].as_str()?;
                    let url = format!("data:image/{};base64,{bytes}", value["format"].as_str()?);
                    parts.push(json!({ "type": "image_url", "image_url": { "url": url } }));
                }
                "toolUse" => {
                    let function = json!({ "name": value["name"], "arguments": value["input"].to_string() });
                    calls.push(json!({ "id": value["toolUseId"], "type": "function", "function": function }));
                }
                "toolResult" => {
                    let text = value["content"][0]["text"].as_str()?;
                    messages
                        .push(json!({ "role": "tool", "tool_call_id": value["toolUseId"], "content": text }));
                }
                _ => return None,
            }
        }
        if message["role"] == "assistant" && !calls.is_empty() {
            messages.push(json!({ "role": "assistant", "content": parts, "tool_calls": calls }));
        } else if !parts.is_empty() {
            messages.push(json!({ "role": message["role"], "content": parts }));
        }
    }
    let mut asked = json!({ "model": "m", "messages": messages });
    let config = &body["inferenceConfig"];
    for (name, ours) in [
        ("maxTokens", "max_tokens"),
        ("temperature", "temperature"),
        ("topP", "top_p"),
        ("stopSequences", "stop"),
    ] {
        if !config[name].is_null() {
            asked[ours] = config[name].clone();
        }
    }
    let tools = &body["toolConfig"]["tools"];
    if let Some(tools) = tools.as_array() {
        let mut ours = Vec::new();
        for tool in tools {
            let spec = tool["toolSpec"].as_object()?;
            let mut function = json!({ "name": spec["name"], "parameters": spec["inputSchema"]["json"] });
            if let Some(description) = spec.get("description") {
                function["description"] = description.clone();
            }
            ours.push(json!({ "type": "function", "function": function }));
        }
        asked["tools"] = ours.into();
    }
    match &body["toolConfig"]["toolChoice"] {
        Value::Null => {}
        choice if choice["auto"].is_object() => asked["tool_choice"] = json!("auto"),
        choice if choice["any"].is_object() => asked["tool_choice"] = json!("required"),
        _ => return None,
    }
    let known = ["system", "messages", "inferenceConfig", "toolConfig"];
    for (name, value) in body.as_object()?.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        asked[name] = value.clone();
    }
    Some(asked)
}

/// Left out of the comparison: a result's `status` (its absence says success), lists that hold nothing, and that turns of one side are one.
fn normal(mut body: Value) -> Value {
    let mut turns: Vec<Value> = Vec::new();
    for mut message in body["messages"].as_array().cloned().unwrap_or_default() {
        for block in message["content"].as_array_mut().into_iter().flatten() {
            if let Some(result) = block["toolResult"].as_object_mut() {
                result.remove("status");
            }
            if block["toolResult"].is_null() {
                block.as_object_mut().expect("is an object").remove("toolResult");
            }
        }
        match turns.last_mut() {
            Some(last) if last["role"] == message["role"] => {
                let more = message["content"].as_array().cloned().unwrap_or_default();
                last["content"].as_array_mut().expect("is a list").extend(more);
            }
            _ => turns.push(message),
        }
    }
    body["messages"] = turns.into();
    for name in ["system", "inferenceConfig"] {
        if body[name].as_array().is_some_and(Vec::is_empty) || body[name] == json!({}) {
            body[name].take();
        }
    }
    if body["inferenceConfig"]["stopSequences"] == json!([]) {
        body["inferenceConfig"].as_object_mut().expect("is an object").remove("stopSequences");
    }
    let members = body.as_object_mut().expect("is an object");
    members.retain(|_, value| !value.is_null());
    body
}

#[test]
fn a_recorded_request_is_what_an_openai_caller_who_asks_the_same_sends() {
    let has_request =
        |r: &Recording| r.request.as_ref().is_some_and(|request| request.body().starts_with(b"{"));
    let Some(found) = recordings(has_request) else { return };
    let (mut same, mut with_tools) = (0, 0);
    for recording in &found {
        let body = recording.request.as_ref().expect("has one").body();
        let body: Value = serde_json::from_slice(body).expect("is JSON");
        let Some(asked) = as_openai(&body) else { continue };
        let model = recording.model.as_deref().unwrap_or("m");
        let ours = request(Dialect::OpenAi, Dialect::Converse, model, &ParamPolicy::default(), &asked)
            .unwrap_or_else(|error| panic!("{}: {error}", recording.id));
        assert_eq!(normal(ours), normal(body), "{}", recording.id);
        same += 1;
        with_tools += usize::from(recording.has_tag("tool_results"));
    }
    println!("requests: {same} of {} are the same, {with_tools} with results of tools", found.len());
    assert!(with_tools >= 2);
}

/// Whatever the callers of the other providers asked: written or refused by name, and valid.
#[test]
fn every_callers_request_is_written_or_refused_by_name() {
    let Some(all) = Recordings::shared() else { return };
    let (mut written, mut refused) = (0, 0);
    for recording in all.iter() {
        let dialect = match &*recording.endpoint {
            "chat.completions" => Dialect::OpenAi,
            "messages" => Dialect::Anthropic,
            _ => continue,
        };
        let Some(asked) = &recording.request else { continue };
        let Ok(json) = serde_json::from_slice::<Value>(asked.body()) else { continue };
        if !json.is_object() || decode_request(dialect, &json.to_string()).is_err() {
            continue;
        }
        match request(dialect, Dialect::Converse, "anthropic.claude-sonnet-4-5", &dropping(), &json) {
            Ok(body) => {
                let roles: Vec<&Value> =
                    body["messages"].as_array().expect("is a list").iter().map(|m| &m["role"]).collect();
                assert!(roles.windows(2).all(|pair| pair[0] != pair[1]), "{}", recording.id);
                written += 1;
            }
            Err(_) => refused += 1,
        }
    }
    println!("requests of other dialects: {written} written, {refused} refused");
    assert!(written > 0);
}

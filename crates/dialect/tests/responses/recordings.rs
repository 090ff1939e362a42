//! Every recording of a Responses provider, through the codecs. They are real traffic and stay outside the repository; without them (and
//! outside CI) these tests print that they are skipped.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{
    Encoding, Event, StreamDecoder, StreamEncoder, decode_answer_error, decode_request, decode_response,
    encode_request, encode_response,
    sse::{Decoder, Frame},
};
use ziggurat_testkit::{Recording, Recordings};

use crate::common::{data, dropping, strict};

const OWN: Dialect = Dialect::Responses;
const OTHERS: [Dialect; 2] = [Dialect::OpenAi, Dialect::Anthropic];

/// Runs `check` over the recordings that it takes, and fails with all that did not pass.
fn over(what: &str, takes: impl Fn(&Recording) -> bool, check: impl Fn(&Recording) -> Result<(), String>) {
    let Some(recordings) = Recordings::shared() else { return };
    let (mut counts, mut failures) = (BTreeMap::<String, usize>::new(), Vec::new());
    for recording in recordings.iter().filter(|recording| recording.endpoint == "responses") {
        let recording: &Arc<Recording> = recording;
        if takes(recording) {
            *counts.entry(recording.provider.clone()).or_default() += 1;
            failures.extend(check(recording).err().map(|error| format!("{}: {error}", recording.id)));
        }
    }
    println!("{what}: {counts:?}");
    assert!(!counts.is_empty(), "{what}: there is no such recording");
    assert!(failures.is_empty(), "{what}:\n{}", failures.join("\n"));
}

fn succeeded(recording: &Recording) -> bool {
    recording.response.status().is_success() && decode_answer_error(recording.response.body()).is_none()
}

fn is_answer(recording: &Recording) -> bool {
    succeeded(recording) && recording.format != "sse"
}

fn is_stream(recording: &Recording) -> bool {
    succeeded(recording) && recording.format == "sse"
}

fn text(recording: &Recording) -> &str {
    std::str::from_utf8(recording.response.body()).expect("is UTF-8")
}

fn has_request(recording: &Recording) -> bool {
    recording.request.as_ref().is_some_and(|request| request.body().starts_with(b"{"))
}

fn asked(recording: &Recording) -> &str {
    let request = recording.request.as_ref().expect("has a request");
    std::str::from_utf8(request.body()).expect("is UTF-8")
}

/// What is allowed to change on the way through the codec in its own dialect, all else being equal:
/// - `null` is absent: no member of the API means something else by it;
/// - a whole number is the same with and without a fraction.
fn normal(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(normal);
        }
        Value::Array(items) => items.iter_mut().for_each(normal),
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15) {
                *value = json!(float as i64);
            }
        }
        _ => {}
    }
}

fn same(mut left: Value, mut right: Value) -> Result<(), String> {
    normal(&mut left);
    normal(&mut right);
    match left == right {
        true => Ok(()),
        false => Err(format!("\n  {left}\n  {right}")),
    }
}

/// Of a request, besides:
/// - an `input` that is a string is the user's message;
/// - a message says its type, and a text of an assistant's that it is output;
/// - objects that ask for nothing are absent.
fn normal_request(value: &mut Value) {
    normal(value);
    if let Some(text) = value["input"].as_str() {
        value["input"] = json!([{ "type": "message", "role": "user", "content": text }]);
    }
    for item in value["input"].as_array_mut().into_iter().flatten() {
        if !item["role"].is_null() {
            item["type"] = json!("message");
        }
    }
    for name in ["text", "reasoning"] {
        if value[name] == json!({}) {
            value[name].take();
        }
    }
    normal(value);
}

#[test]
fn a_request_in_its_own_dialect_loses_nothing() {
    over("requests kept", has_request, |recording| {
        let request = decode_request(OWN, asked(recording)).map_err(|error| error.to_string())?;
        let model = request.model.as_ref().map(|model| model.decode().into_owned()).unwrap_or_default();
        let (policy, mut out) = (ParamPolicy::default(), Vec::new());
        encode_request(OWN, &request, &Encoding::new(&model, &policy), &mut out)
            .map_err(|error| format!("{error:?}"))?;
        let mut expected: Value = serde_json::from_str(asked(recording)).expect("is JSON");
        let mut written = strict(std::str::from_utf8(&out).expect("is UTF-8"));
        normal_request(&mut expected);
        normal_request(&mut written);
        if request.model.is_none() {
            written["model"].take();
        }
        same(expected, written)
    });
}

#[test]
fn a_request_crosses_or_is_refused_by_name() {
    over("requests crossed", has_request, |recording| {
        for (target, model) in OTHERS.into_iter().zip(["gpt-4o", "claude-sonnet-4-5"]) {
            let request = decode_request(OWN, asked(recording)).map_err(|error| error.to_string())?;
            let (policy, mut out) = (dropping(), Vec::new());
            match encode_request(target, &request, &Encoding::new(model, &policy), &mut out) {
                Err(refused) => println!("{} -> {target:?}: {refused:?}", recording.id),
                Ok(()) => {
                    let written = String::from_utf8(out).expect("is UTF-8");
                    strict(&written);
                    decode_request(target, &written).map_err(|error| format!("{error}: {written}"))?;
                }
            }
        }
        Ok(())
    });
}

#[test]
fn an_answer_in_its_own_dialect_loses_nothing() {
    over("answers kept", is_answer, |recording| {
        let response = decode_response(OWN, text(recording)).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        encode_response(OWN, &response, 7, &mut out);
        let written = strict(std::str::from_utf8(&out).expect("is UTF-8"));
        same(serde_json::from_str(text(recording)).expect("is JSON"), written)
    });
}

#[test]
fn an_answer_crosses_to_other_callers() {
    over("answers crossed", is_answer, |recording| {
        let read: Value = serde_json::from_str(text(recording)).expect("is JSON");
        let output = read["output"].as_array().expect("has output");
        let said: String = output
            .iter()
            .flat_map(|item| item["content"].as_array().into_iter().flatten())
            .filter(|part| part["type"] == "output_text")
            .filter_map(|part| part["text"].as_str())
            .collect();
        let calls = output.iter().filter(|item| item["type"] == "function_call").count();
        let response = decode_response(OWN, text(recording)).map_err(|error| error.to_string())?;
        for caller in OTHERS {
            let mut out = Vec::new();
            encode_response(caller, &response, 7, &mut out);
            let json = String::from_utf8(out).expect("is UTF-8");
            let written = strict(&json);
            decode_response(caller, &json).map_err(|error| error.to_string())?;
            let (text, made): (String, _) = match caller {
                Dialect::Anthropic => {
                    let blocks = written["content"].as_array().expect("has content");
                    let made = blocks.iter().filter(|block| block["type"] == "tool_use").count();
                    (blocks.iter().filter_map(|block| block["text"].as_str()).collect(), made)
                }
                _ => {
                    let message = &written["choices"][0]["message"];
                    let made = message["tool_calls"].as_array().map_or(0, Vec::len);
                    (message["content"].as_str().unwrap_or_default().to_owned(), made)
                }
            };
            if (&text, made) != (&said, calls) {
                return Err(format!("{caller:?}: {written}"));
            }
            let total = |usage: &Value| usage["total_tokens"].clone();
            if caller == Dialect::OpenAi && total(&written["usage"]) != total(&read["usage"]) {
                return Err(format!("{caller:?}: {}", written["usage"]));
            }
        }
        Ok(())
    });
}

fn events<'a>(dialect: Dialect, data: &'a [String]) -> Result<Vec<Event<'a>>, String> {
    let (mut decoder, mut events) = (StreamDecoder::new(dialect), Vec::new());
    for data in data {
        decoder.decode(data, &mut |event| events.push(event)).map_err(|error| format!("{error}: {data}"))?;
    }
    decoder.finish(&mut |event| events.push(event));
    Ok(events)
}

fn write(dialect: Dialect, events: &[Event<'_>]) -> String {
    let (mut encoder, mut out) = (StreamEncoder::new(dialect, 7, true), Vec::new());
    events.iter().for_each(|event| encoder.encode(event, &mut out));
    String::from_utf8(out).expect("is UTF-8")
}

/// Events are in the order that the model states.
fn check_order(events: &[Event<'_>]) -> Result<(), String> {
    let (mut open, mut next, mut started, mut finished) = (None, 0, false, false);
    for (place, event) in events.iter().enumerate() {
        let fits = match event {
            Event::Start { .. } => !std::mem::replace(&mut started, true),
            Event::Open { block, .. } => {
                let fits = started && open.is_none() && *block == next && !finished;
                (open, next) = (Some(*block), next + 1);
                fits
            }
            Event::Delta { block, .. } => open == Some(*block),
            Event::Close { block, .. } => open.take() == Some(*block),
            Event::Finish { .. } => open.is_none() && !std::mem::replace(&mut finished, true),
            Event::End => finished && place + 1 == events.len(),
            Event::Error(_) => place + 1 == events.len(),
            _ => true,
        };
        if !fits {
            return Err(format!("at {place}: {event:?}"));
        }
    }
    Ok(())
}

/// What an encoder may change: an id gets the prefix that one of Responses has.
fn shown(events: &[Event<'_>]) -> Vec<String> {
    let show = |event: &Event<'_>| match event {
        Event::Start { id, model, created } => {
            let id = id.as_ref().map(|id| id.decode().into_owned()).unwrap_or_default();
            format!("{} {model:?} {created:?}", id.strip_prefix("resp_").unwrap_or(&id))
        }
        event => format!("{event:?}"),
    };
    events.iter().map(show).collect()
}

#[test]
fn a_stream_is_well_formed_and_the_same_in_its_own_words() {
    over("streams kept", is_stream, |recording| {
        let found = data(text(recording));
        let events = events(OWN, &found)?;
        check_order(&events)?;
        if !matches!(events.last(), Some(Event::End)) {
            return Err(format!("ends with {:?}", events.last()));
        }
        let written = write(OWN, &events);
        let read = data(&written);
        for (number, event) in read.iter().enumerate() {
            let event = strict(event);
            if event["sequence_number"] != number {
                return Err(format!("at {number}: {event}"));
            }
        }
        let again = self::events(OWN, &read)?;
        match shown(&events) == shown(&again) {
            true => Ok(()),
            false => Err(format!("\n  {:?}\n  {:?}", shown(&events), shown(&again))),
        }
    });
}

/// A recording whose pieces of text were left out by whoever kept it.
const SHORTENED: &str = "openai-responses-58baf52dad-00";

/// The last event of a stream holds the whole answer: what the events say together is what it says.
#[test]
fn a_stream_says_what_its_answer_says() {
    over(
        "streams and answers",
        |recording| is_stream(recording) && recording.id != SHORTENED,
        |recording| {
            let found = data(text(recording));
            let events = events(OWN, &found)?;
            let last =
                found.iter().rev().find(|data| data.contains("response.completed")).expect("has an end");
            let last: Value = serde_json::from_str(last).expect("is JSON");
            let json = last["response"].to_string();
            let whole = decode_response(OWN, &json).map_err(|error| error.to_string())?;
            for caller in OTHERS {
                let (mut out, mut streamed) = (Vec::new(), String::new());
                encode_response(caller, &whole, 7, &mut out);
                let whole = strict(std::str::from_utf8(&out).expect("is UTF-8"));
                let (mut calls, mut usage) = (Vec::new(), Value::Null);
                for data in data(&write(caller, &events)).iter().filter(|data| *data != "[DONE]") {
                    let data = strict(data);
                    let delta = match caller {
                        Dialect::Anthropic => &data["delta"]["text"],
                        _ => &data["choices"][0]["delta"]["content"],
                    };
                    streamed += delta.as_str().unwrap_or_default();
                    for piece in [
                        &data["delta"]["partial_json"],
                        &data["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"],
                    ] {
                        calls.extend(piece.as_str().map(str::to_owned));
                    }
                    if data["usage"].is_object() {
                        usage = data["usage"].clone();
                    }
                }
                let (text, arguments): (String, String) = match caller {
                    Dialect::Anthropic => {
                        let blocks = whole["content"].as_array().expect("has content");
                        let inputs = blocks.iter().filter(|block| block["type"] == "tool_use");
                        (
                            blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
                            inputs.map(|block| block["input"].to_string()).collect(),
                        )
                    }
                    _ => {
                        let message = &whole["choices"][0]["message"];
                        let calls = message["tool_calls"].as_array().into_iter().flatten();
                        (
                            message["content"].as_str().unwrap_or_default().to_owned(),
                            calls.filter_map(|call| call["function"]["arguments"].as_str()).collect(),
                        )
                    }
                };
                // Backends that leave it out say it in the events alone.
                let says = last["response"]["output"].as_array().is_some_and(|output| !output.is_empty());
                let parse = |json: &str| serde_json::from_str::<Value>(json).unwrap_or_default();
                if says && (text != streamed || parse(&arguments) != parse(&calls.concat())) {
                    return Err(format!("{caller:?}: {text} {arguments} / {streamed} {calls:?}"));
                }
                if usage != whole["usage"] {
                    return Err(format!("{caller:?}: {usage} / {}", whole["usage"]));
                }
            }
            Ok(())
        },
    );
}

#[test]
fn a_stream_says_the_same_however_it_is_cut() {
    over("streams cut", is_stream, |recording| {
        let body = recording.response.body();
        let said = |size: usize| -> Result<Vec<String>, String> {
            let (mut decoder, mut found) = (Decoder::new(1 << 24), Vec::new());
            for start in (0..body.len()).step_by(size) {
                decoder.push(body.slice(start..body.len().min(start + size)));
                found.extend(decoder.by_ref().map(|frame| frame.expect("is not too large")));
            }
            found.extend(decoder.finish());
            let data = |frame: &Frame| match frame {
                Frame::Event(event) => Some(String::from_utf8(event.data.to_vec()).expect("is UTF-8")),
                _ => None,
            };
            let found: Vec<String> = found.iter().filter_map(data).collect();
            Ok(events(OWN, &found)?.iter().map(|event| format!("{event:?}")).collect())
        };
        let whole = said(Bytes::len(body))?;
        match [1, 7, 1000].into_iter().find(|size| said(*size).as_ref() != Ok(&whole)) {
            Some(size) => Err(format!("in pieces of {size}")),
            None => Ok(()),
        }
    });
}

/// Every prefix of a stream that lacks its end is an error, and the only one.
#[test]
fn a_stream_that_is_cut_off_is_an_error() {
    over("streams cut off", is_stream, |recording| {
        let found = data(text(recording));
        let end = found.iter().position(|data| data.contains("\"response.completed\"")).expect("has an end");
        for cut in [0, 1, end / 2, end] {
            let events = events(OWN, &found[..cut])?;
            let ends = events.iter().filter(|event| matches!(event, Event::End | Event::Error(_))).count();
            if ends != 1 || !matches!(events.last(), Some(Event::Error(_))) {
                return Err(format!("cut at {cut}: {:?}", events.last()));
            }
        }
        Ok(())
    });
}

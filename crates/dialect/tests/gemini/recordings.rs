//! Every recording of `generateContent`, of AI Studio and of Vertex AI, through the codecs. Without the recordings these tests print that they are
//! skipped.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use ziggurat_core::{Cause, Dialect};
use ziggurat_dialect::{
    Event, Malformed, StreamDecoder, StreamEncoder, decode_error, decode_response, encode_response,
    json_array,
    sse::{self, EventTooLarge, Frame},
};
use ziggurat_testkit::{Recording, Recordings};

use crate::common::strict;

/// The recordings that `takes` takes, each checked; fails with all that did not pass.
pub(crate) fn over(
    what: &str,
    takes: impl Fn(&Recording) -> bool,
    check: impl Fn(&Recording) -> Result<(), String>,
) {
    let Some(recordings) = Recordings::shared() else { return };
    let is_google = |recording: &&Arc<Recording>| {
        matches!(&*recording.endpoint, "generateContent" | "streamGenerateContent")
    };
    let (mut passed, mut failures) = (0, Vec::new());
    for recording in recordings.iter().filter(is_google).filter(|recording| takes(recording)) {
        match check(recording) {
            Ok(()) => passed += 1,
            Err(error) => failures.push(format!("{}: {error}", recording.id)),
        }
    }
    println!("{what}: {passed} passed, {} failed", failures.len());
    assert!(failures.is_empty(), "{what}:\n{}", failures.join("\n"));
    assert!(passed > 0, "{what}: there is no such recording");
}

fn text(recording: &Recording) -> &str {
    std::str::from_utf8(recording.response.body()).expect("the body is UTF-8")
}

fn is_answer(recording: &Recording) -> bool {
    recording.response.status().is_success() && recording.format == "json"
}

fn is_stream(recording: &Recording) -> bool {
    recording.response.status().is_success() && recording.format != "json"
}

// ===== answers =====

#[test]
fn an_answer_is_valid_for_callers_of_every_dialect() {
    over("answers", is_answer, |recording| {
        let response =
            decode_response(Dialect::Gemini, text(recording)).map_err(|error| error.to_string())?;
        let write = |dialect| {
            let mut out = Vec::new();
            encode_response(dialect, &response, 7, &mut out);
            String::from_utf8(out).expect("is UTF-8")
        };
        let (openai, anthropic, gemini) =
            (write(Dialect::OpenAi), write(Dialect::Anthropic), write(Dialect::Gemini));
        let said: Value = serde_json::from_str(text(recording)).expect("is JSON");
        let texts = |thoughts: bool| {
            let parts = said["candidates"][0]["content"]["parts"].as_array().into_iter().flatten();
            let parts = parts.filter(|part| (part["thought"] == true) == thoughts);
            parts.filter_map(|part| part["text"].as_str()).collect::<String>()
        };
        let message = &strict(&openai)["choices"][0]["message"];
        let same = message["content"].as_str().unwrap_or_default() == texts(false)
            && message["reasoning_content"].as_str().unwrap_or_default() == texts(true);
        let finish = strict(&openai)["choices"][0]["finish_reason"].is_string();
        let again = decode_response(Dialect::Anthropic, &anthropic).is_ok()
            && strict(&anthropic)["type"] == "message";
        let kept = normal_answer(said.clone()) == normal_answer(strict(&gemini));
        match same && finish && again && kept {
            true => Ok(()),
            false => Err(format!(
                "{same} {finish} {again} {kept}\n  {said}\n  {openai}\n  {anthropic}\n  {gemini}"
            )),
        }
    });
}

/// What an answer becomes that is read and written in Google's words: a call without arguments has an empty object; an answer has a role, parts
/// and an index, a call's id may be made.
fn normal_answer(mut answer: Value) -> Value {
    for (position, candidate) in answer["candidates"].as_array_mut().into_iter().flatten().enumerate() {
        if candidate["index"].is_null() {
            candidate["index"] = position.into();
        }
        let content = &mut candidate["content"];
        content["role"] = "model".into();
        if content["parts"].is_null() {
            content["parts"] = json!([]);
        }
        for part in content["parts"].as_array_mut().into_iter().flatten() {
            if let Some(call) = part["functionCall"].as_object_mut() {
                call.entry("args").or_insert_with(|| json!({}));
                if call.get("id").and_then(Value::as_str).is_some_and(|id| id.starts_with("call_")) {
                    call.remove("id");
                }
            }
        }
    }
    without_nulls(&mut answer);
    answer
}

pub(crate) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

// ===== streams =====

/// One of the two framings.
enum Framing {
    Sse(sse::Decoder),
    Array(json_array::Decoder),
}

impl Framing {
    fn push(&mut self, bytes: Bytes) -> Vec<Result<Frame, EventTooLarge>> {
        match self {
            Self::Sse(decoder) => {
                decoder.push(bytes);
                decoder.collect()
            }
            Self::Array(decoder) => {
                decoder.push(bytes);
                decoder.collect()
            }
        }
    }

    fn finish(&mut self) -> Option<Frame> {
        match self {
            Self::Sse(decoder) => decoder.finish(),
            Self::Array(decoder) => decoder.finish(),
        }
    }
}

/// The data of a stream in pieces of `size` bytes; bare JSON is an error, as whoever reads the stream takes it.
fn data(recording: &Recording, size: usize) -> Vec<String> {
    let body = recording.response.body();
    let mut framing = match &*recording.format {
        "json-array" => Framing::Array(json_array::Decoder::new(1 << 24)),
        _ => Framing::Sse(sse::Decoder::new(1 << 24)),
    };
    let mut frames = Vec::new();
    for start in (0..body.len()).step_by(size) {
        let piece = body.slice(start..body.len().min(start + size));
        frames.extend(framing.push(piece).into_iter().map(|frame| frame.expect("is not too large")));
    }
    frames.extend(framing.finish());
    assert_eq!(frames.iter().map(|frame| frame.raw().len()).sum::<usize>(), body.len(), "no byte is lost");
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("is UTF-8");
    let data = frames.iter().filter_map(|frame| match frame {
        Frame::Event(event) => Some(text(&event.data)),
        Frame::Other(raw) => Some(text(raw)),
        Frame::Idle(_) => None,
    });
    data.collect()
}

fn decode(data: &[String]) -> Result<Vec<Event<'_>>, Malformed> {
    let (mut decoder, mut events) = (StreamDecoder::new(Dialect::Gemini), Vec::new());
    for data in data {
        decoder.decode(data, &mut |event| events.push(event))?;
    }
    decoder.finish(&mut |event| events.push(event));
    Ok(events)
}

/// The order that `Event` promises.
fn check_order(events: &[Event<'_>]) -> Result<(), String> {
    let mut open: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
    let mut finished = BTreeMap::new();
    for (position, event) in events.iter().enumerate() {
        let fits = match event {
            Event::Start { .. } => position == 0,
            Event::Open { choice, block, .. } => {
                let before = open.insert(*choice, (*block, true));
                before.map_or(*block == 0, |(last, is_open)| !is_open && *block == last + 1)
            }
            Event::Delta { choice, block, .. } => open.get(choice) == Some(&(*block, true)),
            Event::Close { choice, block } => open.insert(*choice, (*block, false)) == Some((*block, true)),
            Event::Finish { choice, .. } => {
                finished.insert(*choice, ()).is_none() && open.get(choice).is_none_or(|(_, is_open)| !is_open)
            }
            Event::End | Event::Error(_) => position == events.len() - 1,
            _ => true,
        };
        if !fits {
            return Err(format!("out of order at {position}: {event:?}"));
        }
    }
    match events.last() {
        Some(Event::End)
            if open.keys().all(|choice| finished.contains_key(choice)) && !finished.is_empty() =>
        {
            Ok(())
        }
        Some(Event::Error(_)) => Ok(()),
        other => Err(format!("ends with {other:?}")),
    }
}

/// Recorded streams that break off, or fail, and what is said of them.
const FAILED: &[(&str, Cause)] = &[
    ("vertex-streamGenerateContent-1ae1de6714-00", Cause::Upstream),
    ("vertex-streamGenerateContent-adab480762-00", Cause::Upstream),
];

#[test]
fn a_stream_is_a_well_formed_sequence_of_events_however_it_is_cut() {
    over("streams", is_stream, |recording| {
        let whole = data(recording, usize::MAX >> 1);
        let events = decode(&whole).map_err(|error| error.to_string())?;
        check_order(&events)?;
        let expected = FAILED.iter().find(|(id, _)| *id == recording.id).map(|(_, cause)| *cause);
        let found = match events.last() {
            Some(Event::Error(problem)) => Some(problem.cause),
            _ => None,
        };
        if found != expected {
            return Err(format!("{found:?}, not {expected:?}: {:?}", events.last()));
        }
        for size in [1, 7] {
            let cut = data(recording, size);
            let cut = decode(&cut).map_err(|error| error.to_string())?;
            if format!("{events:?}") != format!("{cut:?}") {
                return Err(format!("differs in pieces of {size}"));
            }
        }
        Ok(())
    });
}

/// What a stream says: text, thoughts, calls, why it ended.
fn said(events: &[Event<'_>]) -> Vec<String> {
    use ziggurat_dialect::{Delta, Opening};
    let mut said = vec![String::new(); 4];
    for event in events {
        match event {
            Event::Delta { delta: Delta::Text(text), .. } => said[0] += &text.decode(),
            Event::Delta { delta: Delta::Thinking(text), .. } => said[1] += &text.decode(),
            Event::Open { opening: Opening::ToolCall { name, .. }, .. } => said[2] += &name.decode(),
            Event::Delta { delta: Delta::Arguments(text), .. } => {
                let value: Value = serde_json::from_str(&text.decode()).expect("is JSON");
                said[2] += &value.to_string();
            }
            Event::Finish { finish, .. } => said[3] = format!("{:?}", finish.reason),
            _ => {}
        }
    }
    said
}

#[test]
fn a_stream_reaches_callers_of_every_dialect() {
    over("streams crossed", is_stream, |recording| {
        let whole = data(recording, usize::MAX >> 1);
        let events = decode(&whole).map_err(|error| error.to_string())?;
        let failed = matches!(events.last(), Some(Event::Error(_)));
        let expected = said(&events);
        for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
            let (mut encoder, mut out) = (StreamEncoder::new(dialect, 7, true), Vec::new());
            events.iter().for_each(|event| encoder.encode(event, &mut out));
            let text = String::from_utf8(out).expect("is UTF-8");
            let data = crate::common::data(&text);
            data.iter().filter(|data| *data != "[DONE]").for_each(|data| drop(strict(data)));
            let (mut decoder, mut again) = (StreamDecoder::new(dialect), Vec::new());
            for data in &data {
                decoder.decode(data, &mut |event| again.push(event)).map_err(|error| error.to_string())?;
            }
            decoder.finish(&mut |event| again.push(event));
            again.retain(|event| !matches!(event, Event::Usage(_) | Event::Extra { .. }));
            check_order(&again).map_err(|error| format!("{dialect:?}: {error}"))?;
            if !failed && said(&again) != with_reason(&expected, dialect) {
                return Err(format!("{dialect:?}:\n  {expected:?}\n  {:?}", said(&again)));
            }
        }
        Ok(())
    });
}

/// A reason that nobody knows is a stop elsewhere.
fn with_reason(said: &[String], dialect: Dialect) -> Vec<String> {
    let mut said = said.to_vec();
    if said[3] == "Other" && dialect != Dialect::Gemini {
        said[3] = "Stop".to_owned();
    }
    said
}

// ===== errors =====

#[test]
fn an_error_is_read_by_its_cause() {
    over(
        "errors",
        |recording| !recording.response.status().is_success(),
        |recording| {
            let status = recording.response.status();
            let problem = decode_error(Some(status), recording.response.body());
            let said = text(recording);
            let expected = match status {
                _ if said.contains("API_KEY_INVALID") => Cause::InvalidKey,
                _ if said.contains("exceeds the maximum number of tokens") => Cause::ContextLength,
                StatusCode::BAD_REQUEST if said.contains("\": \"User location") => Cause::PermissionDenied,
                StatusCode::BAD_REQUEST => Cause::InvalidRequest,
                StatusCode::FORBIDDEN => Cause::PermissionDenied,
                StatusCode::NOT_FOUND => Cause::ModelNotFound,
                StatusCode::TOO_MANY_REQUESTS if said.contains("PerDay") => Cause::Quota,
                StatusCode::TOO_MANY_REQUESTS => Cause::RateLimit,
                other => panic!("no recording had the status {other}"),
            };
            match problem.cause == expected {
                true => Ok(()),
                false => Err(format!("{:?}, not {expected:?}: {said}", problem.cause)),
            }
        },
    );
}

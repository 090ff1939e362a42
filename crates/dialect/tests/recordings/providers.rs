//! Providers whose dialect no caller speaks, and Mistral: what they say reaches callers of both dialects.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use ziggurat_core::{Cause, Dialect};
use ziggurat_dialect::{
    Event, decode_answer_error, decode_error, decode_response, encode_response, ndjson, sse::Frame,
};
use ziggurat_testkit::{Recording, Recordings};

use crate::{
    Case,
    cross::{Answer, compare, well_formed},
    data, decode, difference, encode, frames, run,
};

const CALLERS: [Dialect; 2] = [Dialect::OpenAi, Dialect::Anthropic];

fn cases() -> Option<Vec<Case>> {
    let dialect = |recording: &Recording| match &*recording.endpoint {
        "api.chat" => Some(Dialect::Ollama),
        "v2.chat" => Some(Dialect::Cohere),
        "chat.completions" if recording.provider == "mistral" => Some(Dialect::OpenAi),
        _ => None,
    };
    let case = |recording: &Arc<Recording>| {
        Some(Case { recording: Arc::clone(recording), dialect: dialect(recording)? })
    };
    Some(Recordings::shared()?.iter().filter_map(case).collect())
}

fn is_stream(case: &Case) -> bool {
    case.succeeded() && case.recording.format != "json"
}

/// The data of a stream whose bytes come in pieces of a size.
fn pieces(case: &Case, size: usize) -> Vec<String> {
    let body = case.body();
    let starts = (0..body.len()).step_by(size);
    let cut = starts.map(|start| body.slice(start..body.len().min(start + size)));
    let found: Vec<Frame> = match case.dialect {
        Dialect::Ollama => {
            let (mut decoder, mut found) = (ndjson::Decoder::new(1 << 24), Vec::new());
            for piece in cut {
                decoder.push(piece);
                found.extend(decoder.by_ref().map(|frame| frame.expect("is not too large")));
            }
            found.extend(decoder.finish());
            found
        }
        _ if size == usize::MAX => frames(body),
        _ => crate::splits::pieces(cut),
    };
    let bytes: Vec<u8> = found.iter().flat_map(|frame| frame.raw().to_vec()).collect();
    assert_eq!(Bytes::from(bytes), *body, "every byte comes out again");
    data(&found)
}

#[test]
fn a_whole_answer_reaches_both_callers() {
    run(
        "provider answers",
        cases(),
        |case| case.succeeded() && !is_stream(case),
        |case| {
            let response = decode_response(case.dialect, case.text()).map_err(|error| error.to_string())?;
            let expected = Answer::of(response.choices.first(), response.usage.as_ref());
            for caller in CALLERS {
                let mut out = Vec::new();
                encode_response(caller, &response, 7, &mut out);
                let json = String::from_utf8(out).expect("is UTF-8");
                let crossed = decode_response(caller, &json).map_err(|error| format!("{error}: {json}"))?;
                compare(&expected, &Answer::of(crossed.choices.first(), crossed.usage.as_ref()))?;
                if crossed.id.is_none_or(|id| id.is_empty()) {
                    return Err("has no id".to_owned());
                }
            }
            Ok(())
        },
    );
}

#[test]
fn a_stream_is_well_formed_and_reaches_both_callers_however_it_is_cut() {
    run("provider streams", cases(), is_stream, |case| {
        let whole = pieces(case, usize::MAX);
        let events = decode(case.dialect, &whole)?;
        in_order(&events)?;
        for size in [1, 7] {
            difference(&whole, &pieces(case, size)).map_or(Ok(()), Err)?;
        }
        let expected = Answer::streamed(&events);
        for caller in CALLERS {
            let written = encode(caller, &events);
            if caller == Dialect::Anthropic {
                well_formed(&written)?;
            }
            compare(&expected, &Answer::streamed(&decode(caller, &written)?))?;
        }
        Ok(())
    });
}

/// Start, blocks one after another, finish, end; an error ends it at any time.
fn in_order(events: &[Event<'_>]) -> Result<(), String> {
    let (mut open, mut next, mut finished) = (None, 0, false);
    for (position, event) in events.iter().enumerate() {
        let last = position + 1 == events.len();
        let fits = match event {
            Event::Start { .. } => position == 0,
            Event::Open { block, .. } => {
                next += 1;
                *block == next - 1 && open.replace(*block).is_none() && !finished
            }
            Event::Delta { block, .. } => open == Some(*block),
            Event::Close { block, .. } => open.take() == Some(*block),
            Event::Finish { .. } => open.is_none() && !std::mem::replace(&mut finished, true),
            Event::End => open.is_none() && finished && last,
            Event::Error(_) => last,
            _ => position > 0,
        };
        if !fits {
            return Err(format!("out of order: {event:?}"));
        }
    }
    match events {
        [Event::Start { .. }, .., Event::End | Event::Error(_)] => Ok(()),
        _ => Err("has no start or no end".to_owned()),
    }
}

#[test]
fn an_error_is_read_by_its_cause() {
    run(
        "provider errors",
        cases(),
        |case| !case.succeeded(),
        |case| {
            let status = case.recording.response.status();
            let (cause, problem) = match (case.dialect, status) {
                (_, StatusCode::OK) => {
                    (Cause::Upstream, decode_answer_error(case.body()).ok_or("is no error")?)
                }
                (_, StatusCode::UNAUTHORIZED) => (Cause::InvalidKey, decode_error(Some(status), case.body())),
                (Dialect::Ollama, StatusCode::NOT_FOUND) => {
                    (Cause::ModelNotFound, decode_error(Some(status), case.body()))
                }
                other => return Err(format!("is not expected: {other:?}")),
            };
            let json: Value = serde_json::from_slice(&problem.to_json(Dialect::OpenAi)).expect("is JSON");
            match problem.cause == cause && json["error"]["message"].is_string() {
                true => Ok(()),
                false => Err(format!("{:?}: {json}", problem.cause)),
            }
        },
    );
}

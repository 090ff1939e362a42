//! Every recording of a provider that speaks one of the two dialects, through the codecs.
//!
//! The recordings are real traffic and stay outside the repository; without them (and outside CI) these tests print that they are skipped.
//! What each test holds is said where it stands; what is allowed to change on the way through a codec is written down once, with its reason,
//! in `normal.rs`.

mod census;
mod cross;
mod embeddings;
mod errors;
mod leaves;
mod normal;
mod providers;
mod requests;
mod responses;
mod splits;
mod streams;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use bytes::Bytes;
use ziggurat_core::Dialect;
use ziggurat_dialect::{
    Event, SignatureMarks, StreamDecoder, StreamEncoder, decode_answer_error,
    sse::{Decoder, Frame},
};
use ziggurat_testkit::{Recording, Recordings};

/// A recording, and the dialect that its provider speaks in it.
struct Case {
    recording: Arc<Recording>,
    dialect: Dialect,
}

impl Case {
    fn all() -> Option<Vec<Self>> {
        let recordings = Recordings::shared()?;
        let dialect = |recording: &Recording| match &*recording.endpoint {
            "chat.completions" => Some(Dialect::OpenAi),
            "messages" => Some(Dialect::Anthropic),
            _ => None,
        };
        let case = |recording: &Arc<Recording>| {
            Some(Self { recording: Arc::clone(recording), dialect: dialect(recording)? })
        };
        Some(recordings.iter().filter_map(case).collect())
    }

    fn succeeded(&self) -> bool {
        self.recording.response.status().is_success() && decode_answer_error(self.body()).is_none()
    }

    fn is_stream(&self) -> bool {
        self.recording.format == "sse"
    }

    fn body(&self) -> &Bytes {
        self.recording.response.body()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(self.body()).expect("the body is UTF-8")
    }

    fn other_dialect(&self) -> Dialect {
        match self.dialect {
            Dialect::Anthropic => Dialect::OpenAi,
            _ => Dialect::Anthropic,
        }
    }

    /// The data of the stream's events.
    fn events(&self) -> Vec<String> {
        data(&frames(self.body()))
    }
}

/// Runs `check` over the cases that it takes, prints how many passed by provider, and fails with all that did not.
fn over(what: &str, takes: impl Fn(&Case) -> bool, check: impl Fn(&Case) -> Result<(), String>) {
    run(what, Case::all(), takes, check);
}

fn run(
    what: &str,
    cases: Option<Vec<Case>>,
    takes: impl Fn(&Case) -> bool,
    check: impl Fn(&Case) -> Result<(), String>,
) {
    let Some(cases) = cases else { return };
    let (mut counts, mut failures) = (BTreeMap::<String, (usize, usize)>::new(), String::new());
    for case in cases.iter().filter(|case| takes(case)) {
        let (passed, failed) = counts.entry(case.recording.provider.clone()).or_default();
        match check(case) {
            Ok(()) => *passed += 1,
            Err(error) => {
                *failed += 1;
                write!(failures, "\n{}: {error}", case.recording.id).expect("writes");
            }
        }
    }
    for (provider, (passed, failed)) in &counts {
        println!("{what}: {provider}: {passed} passed, {failed} failed");
    }
    assert!(!counts.is_empty(), "{what}: there is no such recording");
    assert!(failures.is_empty(), "{what}:{failures}");
}

fn frames(bytes: &Bytes) -> Vec<Frame> {
    let mut decoder = Decoder::new(1 << 24);
    decoder.push(bytes.clone());
    let mut frames: Vec<Frame> = decoder.by_ref().map(|frame| frame.expect("is not too large")).collect();
    frames.extend(decoder.finish());
    frames
}

fn data(frames: &[Frame]) -> Vec<String> {
    let data = |frame: &Frame| match frame {
        Frame::Event(event) => Some(String::from_utf8(event.data.to_vec()).expect("is UTF-8")),
        _ => None,
    };
    frames.iter().filter_map(data).collect()
}

/// What the stream decoder says of the data of a stream's events.
fn decode<'a>(dialect: Dialect, data: &'a [String]) -> Result<Vec<Event<'a>>, String> {
    let (mut decoder, mut events) = (StreamDecoder::new(dialect), Vec::new());
    for data in data {
        decoder.decode(data, &mut |event| events.push(event)).map_err(|error| format!("{error}: {data}"))?;
    }
    decoder.finish(&mut |event| events.push(event));
    Ok(events)
}

/// The data of the events with which a stream encoder says `events`.
fn encode(dialect: Dialect, events: &[Event<'_>]) -> Vec<String> {
    let (mut encoder, mut out) = (StreamEncoder::new(dialect, 7, true), Vec::new());
    let mut marks = SignatureMarks::new(dialect, dialect);
    events.iter().for_each(|event| encoder.encode(marks.event(event).as_ref().unwrap_or(event), &mut out));
    data(&frames(&Bytes::from(out)))
}

/// The first place where two lists differ.
fn difference<T: PartialEq + std::fmt::Debug>(left: &[T], right: &[T]) -> Option<String> {
    let place = (0..left.len().max(right.len())).find(|place| left.get(*place) != right.get(*place))?;
    Some(format!("at {place}:\n  {:?}\n  {:?}", left.get(place), right.get(place)))
}

//! All recordings, whatever is spoken in them: what there is, and that each is framed the same however it is cut.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::IgnoredAny;
use ziggurat_dialect::{
    event_stream, json_array, ndjson,
    sse::{self, Event, Frame},
};
use ziggurat_testkit::{Recording, Recordings};

/// The events that a decoder makes of pieces.
macro_rules! events {
    ($decoder:expr, $pieces:expr) => {{
        let (mut decoder, mut frames) = ($decoder, Vec::new());
        for piece in $pieces {
            decoder.push(piece);
            for frame in decoder.by_ref() {
                frames.push(frame.map_err(|error| error.to_string())?);
            }
        }
        frames.extend(decoder.finish());
        frames
    }};
}

/// Counts by provider and by tag, printed: `cargo test -p ziggurat-dialect --test recordings census -- --nocapture`.
#[test]
fn all_are_framed_the_same_however_they_are_cut() {
    let Some(recordings) = Recordings::shared() else { return };
    let (mut by_provider, mut by_tag) = (BTreeMap::new(), BTreeMap::new());
    let (mut all, mut failures) = (0, Vec::new());
    for recording in recordings.iter() {
        all += 1;
        let failed = framed(recording).err();
        let failing = usize::from(failed.is_some());
        let count = |counts: &mut BTreeMap<String, (usize, usize)>, name: &str| {
            let (passed, failed) = counts.entry(name.to_owned()).or_default();
            *passed += 1 - failing;
            *failed += failing;
        };
        count(&mut by_provider, &recording.provider);
        recording.tags.iter().for_each(|tag| count(&mut by_tag, tag));
        failures.extend(failed.map(|error| format!("{}: {error}", recording.id)));
    }
    for (of, counts) in [("provider", by_provider), ("tag", by_tag)] {
        for (name, (passed, failed)) in counts {
            println!("{of} {name}: {passed} passed, {failed} failed");
        }
    }
    println!("{all} recordings, {} failed", failures.len());
    assert!(all >= 410, "{all}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn framed(recording: &Recording) -> Result<(), String> {
    let body = recording.response.body();
    if recording.format == "json" {
        // What a proxy in between says of an error is no JSON.
        let read = serde_json::from_slice::<IgnoredAny>(body).map_err(|error| error.to_string());
        return read.map(drop).or_else(|error| match recording.response.status().is_success() {
            true => Err(error),
            false => Ok(()),
        });
    }
    let whole = events(&recording.format, vec![body.clone()])?;
    if whole.is_empty() {
        return Err("there is no event".to_owned());
    }
    for size in [1, 7] {
        let pieces = (0..body.len()).step_by(size).map(|at| body.slice(at..body.len().min(at + size)));
        if events(&recording.format, pieces.collect())? != whole {
            return Err(format!("differs in pieces of {size}"));
        }
    }
    Ok(())
}

fn events(format: &str, pieces: Vec<Bytes>) -> Result<Vec<(Option<Bytes>, Bytes)>, String> {
    let frames: Vec<Frame> = match format {
        "sse" => events!(sse::Decoder::new(LONGEST), pieces),
        "ndjson" => events!(ndjson::Decoder::new(LONGEST), pieces),
        "json-array" => events!(json_array::Decoder::new(LONGEST), pieces),
        "aws-eventstream" => events!(event_stream::Decoder::new(LONGEST), pieces),
        other => return Err(format!("the format {other} is none")),
    };
    let event = |frame| match frame {
        Frame::Event(Event { name, data, .. }) => Some((name, data)),
        Frame::Idle(_) | Frame::Other(_) => None,
    };
    Ok(frames.into_iter().filter_map(event).collect())
}

const LONGEST: usize = 1 << 24;

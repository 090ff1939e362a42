//! The seeds of the fuzz targets through the same checks, and cut: what the targets find belongs here as a seed, or as a test
//! of the codec that was wrong.

mod checks;
mod reworded;

use std::{fs, path::Path};

/// Runs a check on every seed of a kind with each choice of its own, and on every third beginning of it.
fn every_seed(kind: &str, check: fn(&[u8])) {
    each(kind, |mut input| {
        for mode in b'0'..=b'9' {
            input[1] = mode;
            check(&input);
        }
        (0..input.len()).step_by(3).for_each(|length| check(&input[..length]));
    });
}

/// Runs a check on every seed of a kind, cut at every third byte.
fn every_cut(kind: &str, check: fn(&[u8])) {
    each(kind, |mut input| {
        for cut in (0..=input.len() as u16).step_by(3) {
            input[1] = cut as u8;
            input[2..6].copy_from_slice(&[cut.to_be_bytes(), [0, 0]].concat());
            check(&input);
        }
    });
}

fn each(kind: &str, check: impl Fn(Vec<u8>)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(kind);
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("has seeds") {
        check(fs::read(entry.expect("is listed").path()).expect("reads"));
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn frames_are_the_same_however_they_are_cut() {
    every_seed("framings", checks::framing);
    every_cut("framings", checks::framing);
}

#[test]
fn streams_are_the_same_however_they_are_cut() {
    every_seed("streams", checks::stream);
    every_cut("streams", checks::stream);
}

/// What a provider says once is not repeated with everything small that it says after, and what is made of all it said is made once.
#[test]
fn little_is_not_made_much() {
    let long = "x".repeat(20_000);
    let many = |one: &str| vec![one; 120].join(",");
    let choices: Vec<String> = (0..120).map(|index| format!("{{\"index\":{index}}}")).collect();
    let call = r#"{"functionCall":{"name":"f"}}"#;
    let bodies = [
        (
            0,
            format!(
                "data: {{\"id\":\"{}\",\"choices\":[{{\"delta\":{{\"tool_calls\":[{}]}}}}]}}\n\n",
                "x".repeat(256),
                vec![r#"{"id":"a"}"#; 1000].join(",")
            ),
        ),
        (
            0,
            format!(
                "data: {{\"id\":\"{long}\",\"model\":\"{long}\",\"choices\":[{}]}}\n\n",
                choices.join(",")
            ),
        ),
        (
            3,
            format!(
                "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{}]}}}}],\"x\":\"{long}\"}}\n\n",
                many(call)
            ),
        ),
        (
            3,
            format!(
                "data: {{\"responseId\":\"{long}\",\"candidates\":[{{\"content\":{{\"parts\":[{}]}}}}]}}\n\n",
                many(r#"{"text":"a"}"#)
            ),
        ),
        (
            5,
            format!(
                "{{\"created_at\":\"{long}\",\"message\":{{\"tool_calls\":[{}]}}}}\n",
                many(r#"{"function":{"name":"f"}}"#)
            ),
        ),
    ];
    for (provider, body) in bodies {
        for caller in 0..4 {
            checks::stream(format!("{provider}{caller}0123\n{body}").as_bytes());
        }
    }
}

#[test]
fn requests_are_refused_or_written() {
    every_seed("requests", checks::request);
}

#[test]
fn answers_are_refused_or_written() {
    every_seed("answers", checks::answer);
}

#[test]
fn errors_are_told() {
    every_seed("errors", checks::error);
}

#[test]
fn embeddings_rankings_and_images_are_refused_or_written() {
    every_seed("embeddings", reworded::embeddings);
    every_seed("rankings", reworded::ranking);
    every_seed("images", reworded::images);
}

#[test]
fn forms_by_way_of_a_tool_are_answers_of_their_own() {
    each("forms", |input| assert!(reworded::is_form(&input), "{}", String::from_utf8_lossy(&input)));
    every_seed("forms", reworded::form);
}

#[test]
fn invoked_streams_are_the_same_however_they_are_cut() {
    every_seed("invoked", reworded::invoked);
    every_cut("invoked", reworded::invoked);
}

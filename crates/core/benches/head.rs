//! What it costs to read a call, beside serde_json's borrowed head of the same body.
//!
//! `cargo bench -p ziggurat-core --bench head` prints a table; the last figure of a case is (read - scan - utf8) / serde_slice:
//! what reading costs when the two checks that serde's head does not make are set apart (surrogates, depth and shape; UTF-8).
//!
//! To count instructions of one reading: `valgrind --tool=callgrind --toggle-collect='head::steady' <binary> --case
//! read/300KB/mixed --once`.

use std::{
    borrow::Cow,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Uri};
use serde::Deserialize;
use ziggurat_core::{
    Body, Call, Limits,
    json::{Cursor, Fault, key_is},
};

/// The head that serde derives: what a gateway must know, everything else stepped over.
#[derive(Deserialize)]
struct Borrowed<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    n: Option<u64>,
    #[serde(borrow, default)]
    user: Option<Cow<'a, str>>,
}

struct Case {
    size: &'static str,
    text: &'static str,
    body: Bytes,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = arguments.iter().position(|a| a == "--case").and_then(|at| arguments.get(at + 1));
    let once = arguments.iter().any(|a| a == "--once");
    let uri = Uri::from_static("/v1/chat/completions");
    println!("{:<22} {:>9} {:>12} {:>8} {:>10}", "case", "bytes", "best ns", "GB/s", "x serde");
    for case in cases() {
        let body = &case.body;
        let text = std::str::from_utf8(body).expect("is UTF-8");
        let runs: [(&str, &dyn Fn()); 5] = [
            ("serde_slice", &|| check(&serde_json::from_slice(black_box(body)).expect("is a call"))),
            ("serde_str", &|| check(&serde_json::from_str(black_box(text)).expect("is a call"))),
            ("read", &|| read(body, &uri)),
            ("scan", &|| scan(black_box(text)).expect("is a call")),
            ("utf8", &|| {
                black_box(std::str::from_utf8(black_box(body)).is_ok());
            }),
        ];
        let mut measured = Vec::new();
        for (name, run) in runs {
            let name = format!("{name}/{}/{}", case.size, case.text);
            if wanted.is_some_and(|wanted| *wanted != name) {
                continue;
            }
            if once {
                counted(run);
                continue;
            }
            let best = best_of(run).as_secs_f64() * 1e9;
            measured.push(best);
            let ratio = best / measured[0];
            println!(
                "{name:<22} {:>9} {best:>12.0} {:>8.2} {ratio:>10.2}",
                body.len(),
                body.len() as f64 / best
            );
        }
        if let [slice, _, read, scan, utf8] = measured[..] {
            println!("{:<22} the validating scan apart: {:.2}", "", (read - scan - utf8) / slice);
        }
    }
}

/// The second of two runs is what a counter is to see: caches filled, symbols bound. It is called from here and nowhere else.
#[inline(never)]
fn counted(run: &dyn Fn()) {
    run();
    steady(run);
}

#[inline(never)]
fn steady(run: &dyn Fn()) {
    run();
    black_box(());
}

fn check(head: &Borrowed<'_>) {
    assert_eq!((&*head.model, head.stream, head.max_tokens, head.n), ("gpt-4o", Some(true), Some(512), None));
    assert!(head.user.is_some());
}

fn read(body: &Bytes, uri: &Uri) {
    let mut request = Request::new(Body::from(body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    let (_request, call) =
        Call::read(request, &Limits::default()).now_or_never().expect("is whole").expect("is a call");
    assert_eq!(
        (call.model(), call.stream(), call.output_cap(), call.n()),
        (Some("gpt-4o"), true, Some(512), 1)
    );
    assert!(call.field(ziggurat_core::Field::User).is_some());
}

/// The walk that checks surrogates, depth and the shape of messages, apart from the rest.
fn scan(text: &str) -> Result<(), Fault> {
    Cursor::new(text).object(|key, cursor| match key_is(key, "messages") {
        true => cursor.array(|_, cursor| {
            assert_eq!(cursor.peek(), b'{');
            cursor.object(|key, cursor| {
                if key_is(key, "role") || key_is(key, "content") {
                    black_box(cursor.peek());
                }
                Ok(())
            })
        }),
        false => Ok(()),
    })
}

/// The best mean of 30 rounds of about 5 ms.
fn best_of(run: &dyn Fn()) -> Duration {
    let start = Instant::now();
    run();
    let times =
        (Duration::from_millis(5).as_nanos() / start.elapsed().as_nanos().max(1)).clamp(1, 100_000) as u32;
    (0..30)
        .map(|_| {
            let start = Instant::now();
            (0..times).for_each(|_| run());
            start.elapsed() / times
        })
        .min()
        .unwrap_or_default()
}

fn cases() -> Vec<Case> {
    let sizes = [("2KB", 2_000), ("30KB", 30_000), ("300KB", 300_000)];
    let texts = [("mixed", MIXED), ("prose", PROSE), ("cjk", CJK)];
    sizes
        .into_iter()
        .flat_map(|(size, bytes)| {
            texts.map(|(text, paragraph)| Case { size, text, body: chat(bytes, paragraph).into() })
        })
        .collect()
}

/// A conversation of about this many bytes, as SDKs write it.
fn chat(bytes: usize, paragraph: &str) -> String {
    let mut body = String::from(HEAD);
    let content = paragraph.repeat((bytes / 12 / paragraph.len()).max(1));
    let mut role = ["user", "assistant"].into_iter().cycle();
    while body.len() + content.len() < bytes {
        let role = role.next().expect("cycles");
        body.push_str(&format!(r#",{{"role":"{role}","content":"{content}"}}"#));
    }
    body.push_str(
        r#"],"stream":true,"stream_options":{"include_usage":true},"max_tokens":512,"user":"u-1"}"#,
    );
    body
}

const HEAD: &str = r#"{"model":"gpt-4o","temperature":0.7,"tools":[{"type":"function","function":{"name":"search","description":"Searches the web","parameters":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer","minimum":1}},"required":["query"]}}}],"messages":[{"role":"system","content":"You are a helpful assistant.\nAnswer briefly."}"#;
/// Code and prose: an escape about every forty bytes, some letters beyond ASCII.
const MIXED: &str = r#"    let greeting = format_greeting(&person.name, Language::German)?;\n    println!(\"{greeting}, {name}!\");\n}\n\nDas größte Programm der Welt — nun ja. It prints a line and ends, which is all it was ever for; nobody asked more of it.\n"#;
/// English prose: an escape a paragraph.
const PROSE: &str = r"It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife. However little known the feelings or views of such a man may be on his first entering a neighbourhood, this truth is so well fixed in the minds of the surrounding families.\n";
/// Three bytes a letter.
const CJK: &str = r"吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している。\n";

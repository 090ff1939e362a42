//! What it costs to count the input of a call.
//!
//! `cargo bench -p ziggurat-catalog --bench tokens [--features tiktoken]` prints the best mean of 30 rounds for each case.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use http::Request;
use ziggurat_catalog::tokens::{ByLength, CountTokens, count_input};
use ziggurat_core::{Body, Call};

fn main() {
    println!("{:<28} {:>9} {:>12} {:>8} {:>9}", "case", "bytes", "best ns", "GB/s", "tokens");
    for (size, bytes) in [("2KB", 2_000), ("30KB", 30_000), ("300KB", 300_000)] {
        for (text, paragraph) in [("mixed", MIXED), ("prose", PROSE), ("cjk", CJK), ("escaped", ESCAPED)] {
            let call = call(&chat(bytes, paragraph));
            measure(&format!("by_length/{size}/{text}"), &call, &ByLength);
            #[cfg(feature = "tiktoken")]
            measure(&format!("exact/{size}/{text}"), &call, &exact());
        }
    }
    let image = format!(
        r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}]}}"#,
        "A".repeat(1 << 20)
    );
    measure("by_length/1MB/image", &call(&image), &ByLength);
    #[cfg(feature = "tiktoken")]
    worst_cases();
}

fn measure(name: &str, call: &Call, counter: &dyn CountTokens) {
    let best = best_of(&|| {
        black_box(count_input(black_box(call), counter));
    });
    let (bytes, best) = (call.body().len(), best.as_secs_f64() * 1e9);
    let tokens = count_input(call, counter).tokens;
    println!("{name:<28} {bytes:>9} {best:>12.0} {:>8.2} {tokens:>9}", bytes as f64 / best);
}

#[cfg(feature = "tiktoken")]
fn exact() -> ziggurat_catalog::tokens::Exact {
    use ziggurat_catalog::tokens::Exact;
    if !Exact::is_warm() {
        let start = Instant::now();
        Exact::warm();
        println!("{:<28} {:>9} {:>12}", "warm", "", start.elapsed().as_nanos());
    }
    Exact::new()
}

/// Bodies that are made to be slow.
#[cfg(feature = "tiktoken")]
fn worst_cases() {
    let scripts = ["a", "Z", "7", "猫", "😀", " ", "\u{3000}", "\\n", "ж", "!", "\u{a0}", "é"];
    let mut state = 1_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mixed: String = (0..200_000).map(|_| scripts[random() % scripts.len()]).collect();
    let letters: String = (0..200_000).map(|_| char::from(b'a' + (random() % 26) as u8)).collect();
    let cases = [
        ("mixed", mixed),
        ("letters", letters),
        ("spaces", " ".repeat(200_000)),
        ("spaced", " a".repeat(100_000)),
        ("same", "a".repeat(200_000)),
        ("newlines", " \\n".repeat(70_000)),
        ("tiny", "a\",\"".repeat(50_000)),
    ];
    for (name, text) in cases {
        let call = match name {
            "tiny" => Request::post("/v1/embeddings"),
            _ => Request::post("/v1/completions"),
        };
        let mut request = call.body(Body::empty()).expect("valid");
        let body = match name {
            "tiny" => format!(r#"{{"model":"text-embedding-3-small","input":["{text}"]}}"#),
            _ => format!(r#"{{"model":"gpt-4o","prompt":"{text}"}}"#),
        };
        let call = Call::replace(&mut request, body.into()).expect("is a call");
        measure(&format!("exact/worst/{name}"), &call, &exact());
    }
}

fn call(body: &str) -> Call {
    let mut request = Request::post("/v1/chat/completions").body(Body::empty()).expect("valid");
    Call::replace(&mut request, body.to_owned().into()).expect("is a call")
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
/// The same as a client writes it that sends ASCII only.
const ESCAPED: &str =
    r"\u543e\u8f29\u306f\u732b\u3067\u3042\u308b\u3002\u540d\u524d\u306f\u307e\u3060\u7121\u3044\u3002\n";

use http::Request;
use proptest::prelude::*;
use ziggurat_core::{Body, Call};

use super::*;
use crate::tokens::{AtMostBytes, count_input};

fn warm(limit: usize) -> Exact {
    Exact::warm();
    assert!(Exact::is_warm());
    Exact::new().limit(limit)
}

/// Made with tiktoken 0.14.0's `encode_ordinary`: text, o200k_base, cl100k_base.
const KNOWN: [(&str, u64, u64); 20] = [
    ("", 0, 0),
    ("hello world", 2, 2),
    ("Hello, Claude", 3, 3),
    ("You are a scientist", 4, 4),
    ("<|endoftext|>", 7, 7),
    ("tiktoken is great!", 6, 6),
    (
        "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.",
        26,
        26,
    ),
    ("fn main() {\n    println!(\"{greeting}, {name}!\");\n}\n", 15, 15),
    ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", 32, 39),
    ("天地玄黄,宇宙洪荒。日月盈昃,辰宿列张。", 21, 30),
    ("안녕하세요, 세계!", 5, 11),
    ("Das größte Programm der Welt — nun ja.", 9, 10),
    ("Съешь же ещё этих мягких французских булок", 12, 28),
    (
        "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}",
        17,
        27,
    ),
    ("3.14159265358979", 7, 7),
    ("   \t\n\n  x    y", 6, 6),
    ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 35, 35),
    ("नमस्ते दुनिया", 5, 13),
    ("I'LL we've DON'T", 5, 7),
    ("a\u{a0}b\u{3000}c\r\n\r\nd", 7, 7),
];

#[test]
fn agrees_with_tiktoken() {
    let counter = warm(64 << 10);
    for (text, o200k, cl100k) in KNOWN {
        assert_eq!(counter.count("gpt-4o", text), Count::exact(o200k), "{text:?}");
        assert_eq!(counter.count("gpt-4", text), Count::exact(cl100k), "{text:?}");
        let json = serde_json::to_string(text).expect("is a string");
        assert_eq!(counter.count_escaped("gpt-4o", &json[1..json.len() - 1]), Count::exact(o200k), "{json}");
    }
}

#[test]
fn a_chat_of_hi_has_eight_tokens() {
    let mut request = Request::post("/v1/chat/completions").body(Body::empty()).expect("valid");
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#;
    let call = Call::replace(&mut request, body.into()).expect("is a call");
    assert_eq!(count_input(&call, &warm(64 << 10)), Count::exact(8));
}

#[test]
fn text_beyond_the_limit_is_estimated() {
    let counter = warm(12);
    assert_eq!(counter.count("gpt-4o", "hello world"), Count::exact(2));
    assert_eq!(counter.count("gpt-4o", "hello world hello"), Count::estimate(3 + 2));
    // Through no letter: ten bytes, and two letters of three.
    assert_eq!(counter.count("gpt-4o", "helloworldねこ"), Count::estimate(2 + 2));
    assert_eq!(counter.count_escaped("gpt-4o", r"helloworld\u306d\u3053"), Count::estimate(2 + 2));
}

#[test]
fn other_models_are_estimated() {
    let counter = warm(64 << 10);
    for model in ["claude-opus-4-1", "anthropic/claude", "gemini-2.5-pro", "gpt-2", "", "my-gpt-4o"] {
        assert_eq!(counter.count(model, "hello world"), Count::estimate(4), "{model}");
        assert_eq!(counter.count_escaped(model, r"hello\u0020world"), Count::estimate(4), "{model}");
    }
}

proptest! {
    #[test]
    fn a_token_has_at_least_one_byte(text in prop_oneof![any::<String>(), r"[a-c \n猫😀'0-9]{0,200}"], new: bool) {
        let model = if new { "gpt-4o" } else { "gpt-4" };
        let exact = warm(64 << 10).count(model, &text);
        prop_assert!(exact.exact);
        prop_assert!(exact.tokens <= AtMostBytes.count(model, &text).tokens);
        prop_assert_eq!(exact.tokens == 0, text.is_empty());
    }
}

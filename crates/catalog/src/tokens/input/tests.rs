use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use http::Request;
use proptest::prelude::*;
use serde_json::{Value, json};
use ziggurat_core::Body;

use super::*;
use crate::tokens::AtMostBytes;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";
const EMBEDDINGS: &str = "/v1/embeddings";
const COMPLETIONS: &str = "/v1/completions";

/// A token a word, known exactly.
fn words(_: &str, text: &str) -> Count {
    Count::exact(text.split_whitespace().count() as u64)
}

fn count_in(path: &str, body: &Value, counter: &dyn CountTokens) -> Count {
    let mut request = Request::post(path).body(Body::empty()).expect("valid");
    let call = Call::replace(&mut request, body.to_string().into()).expect("is a call");
    count_input(&call, counter)
}

fn words_in(path: &str, body: &Value) -> Count {
    count_in(path, body, &words)
}

/// What a chat of one user message counts beyond its frame of 7.
#[expect(clippy::needless_pass_by_value, reason = "called with what `json!` makes")]
fn content(content: Value) -> u64 {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": content}]});
    let count = words_in(CHAT, &body);
    assert!(!count.exact);
    count.tokens - 7
}

// ===== conversations =====

#[test]
fn a_conversation_of_strings_is_framed_as_openai_says() {
    let body = json!({"model": "openai/gpt-4o", "messages": [
        {"role": "system", "content": "be brief please"}, {"role": "user", "content": "hi"}]});
    assert_eq!(words_in(CHAT, &body), Count::exact((3 + 1 + 3) + (3 + 1 + 1) + 3));
    assert_eq!(count_in(CHAT, &body, &ByLength), Count::estimate((3 + 2 + 5) + (3 + 2 + 1) + 3));
}

#[test]
fn is_exact_only_where_the_frame_is_published() {
    let exact = |extra: Value| {
        let mut body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().expect("is one").extend(extra.as_object().expect("is one").clone());
        words_in(CHAT, &body).exact
    };
    for model in ["gpt-4o", "gpt-4o-mini-2024-07-18", "gpt-4-0613", "azure/gpt-35-turbo", "ft:gpt-4o:org"] {
        assert!(exact(json!({"model": model, "temperature": 0, "max_tokens": 9, "stream": true})), "{model}");
    }
    for model in ["gpt-5", "gpt-4.1", "o1", "claude-opus-4-1", "gpt-4oops", ""] {
        assert!(!exact(json!({"model": model})), "{model}");
    }
    assert!(exact(json!({"tools": null, "response_format": null})));
    assert!(!exact(json!({"tools": [{"type": "function"}]})));
    assert!(!exact(json!({"response_format": {"type": "json_object"}})));
    assert!(!exact(json!({"messages": [{"role": "user", "name": "ann", "content": "hi"}]})));
    assert!(!exact(json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]})));
}

#[test]
fn an_assistants_calls_and_their_results_count_without_their_ids() {
    let body = json!({"model": "m", "messages": [
        {"role": "assistant", "content": null, "refusal": null, "tool_calls": [{"id": "call_1 x y", "type": "function",
            "function": {"name": "search", "arguments": "{\"q\": \"two words\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1 x y", "content": "one two three"}]});
    assert_eq!(words_in(CHAT, &body).tokens, (3 + 1 + 1 + 3) + (3 + 1 + 3) + 3);
}

#[test]
fn tools_and_schemas_count_as_json() {
    let tool = json!({"type": "function", "function": {"name": "f", "parameters":
        {"type": "object", "properties": {"image_url": {"type": "string", "description": "an image's address"}},
        "additionalProperties": false}}});
    let with = |extra: &str, value: Value| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}], extra: value});
        words_in(CHAT, &body).tokens - 8
    };
    // type function function name f parameters type object properties image_url type string description an image's address
    // additionalProperties false
    assert_eq!(with("tools", json!([tool])), 18 + TOKENS_OF_TOOLS);
    assert_eq!(with("tools", json!([])), 0);
    assert_eq!(with("response_format", json!({"type": "json_schema", "n": 1})), 4);
    assert_eq!(with("metadata", json!({"a": "is not shown to the model"})), 0);
}

#[test]
fn anthropics_system_tools_and_blocks_count() {
    let body = json!({"model": "claude", "max_tokens": 9, "system": [{"type": "text", "text": "be brief",
            "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "f", "description": "does it", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "hello there"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm hm", "signature": "not at all"},
                {"type": "tool_use", "id": "toolu 1", "name": "f", "input": {"image_url": "is a text here"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu 1", "content": [
                {"type": "text", "text": "a b c"}]}]}]});
    let (system, tools) = (3 + 1 + 2, 1 + 1 + 1 + 2 + 1 + 2 + TOKENS_OF_CLAUDE_TOOLS);
    let messages = (3 + 1 + 2) + (3 + 1 + 2 + 1 + 1 + 4) + (3 + 1 + 3);
    assert_eq!(words_in(MESSAGES, &body), Count::estimate(system + tools + messages + 3));
    assert_eq!(words_in("/v1/messages/count_tokens", &body).tokens, system + tools + messages + 3);
}

#[test]
fn responses_count_items_and_instructions() {
    let text = json!({"model": "gpt-4o", "input": "hi", "instructions": "be brief"});
    assert_eq!(words_in(RESPONSES, &text), Count::estimate((3 + 1 + 1) + (3 + 1 + 2) + 3));
    let item = |item: Value| words_in(RESPONSES, &json!({"model": "gpt-4o", "input": [item]})).tokens - 3 - 3;
    let parts = json!([{"type": "input_text", "text": "a b"}, {"type": "input_image", "file_id": "f 1"}]);
    assert_eq!(item(json!({"role": "user", "content": parts})), 1 + 2 + IMAGE_TOKENS);
    let summary = json!([{"type": "summary_text", "text": "c"}]);
    assert_eq!(
        item(json!({"type": "reasoning", "id": "rs 1", "summary": summary, "encrypted_content": "d e"})),
        1
    );
    assert_eq!(
        item(json!({"type": "function_call", "call_id": "c 1", "name": "f", "arguments": "{}"})),
        1 + 1 + 1
    );
    assert_eq!(item(json!({"type": "function_call_output", "call_id": "c 1", "output": "g h"})), 2);
    assert_eq!(item(json!({"type": "image_generation_call", "result": "QUFB BBB CCC"})), IMAGE_TOKENS);
    let screenshot = json!({"type": "computer_screenshot", "image_url": "data:image/png;base64,AA"});
    assert_eq!(item(json!({"type": "computer_call_output", "output": screenshot})), IMAGE_TOKENS);
    let prompt = json!({"prompt": {"id": "not this", "variables": {"city": "New York", "map": {"type": "input_image",
        "image_url": "data:image/png;base64,AAAA"}}}});
    assert_eq!(words_in(RESPONSES, &prompt).tokens, 3 + 2 + IMAGE_TOKENS);
}

// ===== prompts =====

#[test]
fn prompts_are_texts_or_tokens() {
    let embed =
        |input: Value| words_in(EMBEDDINGS, &json!({"model": "text-embedding-3-small", "input": input}));
    assert_eq!(embed(json!("a b c")), Count::exact(3));
    assert_eq!(embed(json!(["a b", "c"])), Count::exact(3));
    assert_eq!(embed(json!([1, 20, 300])), Count::exact(3));
    assert_eq!(embed(json!([[1, 20], [3]])), Count::exact(3));
    assert_eq!(embed(json!([])), Count::exact(0));
    let complete = |extra: Value| words_in(COMPLETIONS, &extra);
    assert_eq!(complete(json!({"model": "davinci-002", "prompt": "a b", "user": "u"})), Count::exact(2));
    assert_eq!(complete(json!({"model": "m", "prompt": "a b", "suffix": "c"})), Count::estimate(3));
    let moderated = json!({"input": [{"type": "text", "text": "a b"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]});
    assert_eq!(words_in("/v1/moderations", &moderated), Count::estimate(2 + IMAGE_TOKENS));
}

#[test]
fn of_other_operations_every_string_counts() {
    assert_eq!(words_in("/v1/images/generations", &json!({"prompt": "a cat"})), Count::estimate(2));
    let mut request = Request::post("/v1/files").body(Body::empty()).expect("valid");
    let call = Call::replace(&mut request, "a b c".into()).expect("is a call");
    assert_eq!(count_input(&call, &words), Count::estimate(0));
}

// ===== images, audio, files =====

#[test]
fn images_are_flat_wherever_they_are() {
    let data = "A".repeat(100_000);
    let url = format!("data:image/png;base64,{data}");
    assert_eq!(
        content(json!([{"type": "image_url", "image_url": {"url": url, "detail": "low"}}])),
        IMAGE_TOKENS
    );
    assert_eq!(content(json!([{"type": "image_url", "image_url": "https://a/b.png"}])), IMAGE_TOKENS);
    assert_eq!(content(json!([{"image_url": {"url": url}, "type": "image_url"}])), IMAGE_TOKENS);
    for source in [
        json!({"type": "base64", "media_type": "image/png", "data": data}),
        json!({"data": data, "media_type": "image/png", "type": "base64"}),
        json!({"type": "url", "url": "https://a/b.png"}),
        json!({"type": "file", "file_id": "f"}),
    ] {
        assert_eq!(content(json!([{"type": "image", "source": source}])), IMAGE_TOKENS, "{source}");
        assert_eq!(content(json!([{"source": source, "type": "image"}])), IMAGE_TOKENS, "{source}");
    }
}

#[test]
fn what_a_model_reads_as_text_counts_as_text_whatever_it_looks_like() {
    let url = format!("data:image/png;base64,{}", "A ".repeat(1000));
    assert_eq!(content(json!(url)), 1000);
    assert_eq!(content(json!([{"type": "text", "text": url}])), 1000);
    assert_eq!(
        content(json!([{"type": "document", "title": "t",
        "source": {"type": "text", "media_type": "text/plain", "data": url}}])),
        1 + 1000
    );
    assert_eq!(
        content(json!([{"type": "document", "source": {"type": "content", "content": [
        {"type": "text", "text": "a b"}]}}])),
        2
    );
    assert_eq!(content(json!([{"type": "tool_use", "input": {"source": {"data": "a b"}}}])), 2 + 2);
}

#[test]
fn escaped_names_hide_nothing() {
    let body = r#"{"model":"m","m\u0065ssages":[{"r\u006fle":"user","c\u006fntent":"a b c"}]}"#;
    let count = count(Operation::Chat, Dialect::OpenAi, "m", body, &words);
    assert_eq!(count.tokens, 3 + 3 + 1 + 3);
    let body = r#"{"messages":[{"content":[{"source":{"type":"text","d\u0061ta":"a b c"}}]}]}"#;
    let count = super::count(Operation::Messages, Dialect::Anthropic, "m", body, &words);
    assert_eq!(count.tokens, 3 + 3 + 3);
    let body = r#"{"messages":[{"content":[{"source":{"type":"t\u0065xt","media_type":"image/png","data":"a","data":"b c"}}]}]}"#;
    let count = super::count(Operation::Messages, Dialect::Anthropic, "m", body, &words);
    assert_eq!(count.tokens, 3 + 3 + 3);
    let tokens = |operation, body: &str| super::count(operation, Dialect::Gemini, "m", body, &words).tokens;
    for (operation, body) in [
        (Operation::Generate, r#"{"contents":[{"parts":[{"text":"a b c"}]}]}"#),
        (Operation::Generate, r#"{"systemInstruction":{"parts":[{"text":"a b c"}]}}"#),
        (Operation::Generate, r#"{"generationConfig":{"responseSchema":{"title":"a b c"}}}"#),
        (Operation::EmbedContent, r#"{"content":{"parts":[{"text":"a b c"}]},"title":"d e"}"#),
        (Operation::BatchEmbedContents, r#"{"requests":[{"content":{"parts":[{"text":"a b c"}]}}]}"#),
    ] {
        let plain = tokens(operation, body);
        assert!(plain >= 3, "{body}");
        // The second letter of one name after another.
        let names: Vec<usize> =
            body.match_indices("\":").map(|(end, _)| body[..end].rfind('"').unwrap() + 2).collect();
        for at in names {
            let escaped = format!("{}\\u{:04x}{}", &body[..at], body.as_bytes()[at], &body[at + 1..]);
            assert!(tokens(operation, &escaped) >= plain, "{escaped}");
        }
    }
}

#[test]
fn files_go_by_their_size() {
    let pdf = format!("JVBERi0{}", "A".repeat(3 * PAGE_BYTES as usize));
    let pages = 3 * PAGE_TOKENS;
    assert_eq!(
        content(json!([{"type": "file", "file": {"filename": "a.pdf", "file_data":
        format!("data:application/pdf;base64,{pdf}")}}])),
        1 + pages
    );
    assert_eq!(content(json!([{"type": "input_file", "file_data": pdf}])), pages);
    assert_eq!(
        content(json!([{"type": "document", "source": {"type": "base64", "media_type": "application/pdf",
        "data": pdf}}])),
        pages
    );
    assert_eq!(
        content(json!([{"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}}])),
        PAGE_TOKENS
    );
    assert_eq!(content(json!([{"type": "file", "file": {"file_id": "f"}}])), PAGE_TOKENS);
    // Text, 300 bytes of it.
    let text = format!("data:text/csv;base64,{}", "A".repeat(400));
    assert_eq!(content(json!([{"type": "input_file", "file_data": text}])), 100);
}

#[test]
fn audio_goes_by_its_size() {
    let audio = |bytes: usize| json!([{"type": "input_audio", "input_audio": {"data": "A".repeat(bytes * 4 / 3), "format": "mp3"}}]);
    // Ten seconds of 64 kbit/s, and the JSON around them.
    assert_eq!(content(audio(80_000)), 100);
    assert_eq!(content(audio(0)), 1);
}

// ===== bounds =====

/// Reads at most so many bytes of a request, and counts them.
struct Bounded(usize, Arc<AtomicU64>);

impl CountTokens for Bounded {
    fn count(&self, _: &str, text: &str) -> Count {
        self.1.fetch_add(text.len() as u64, Relaxed);
        Count::exact(text.len() as u64)
    }

    fn byte_limit(&self) -> usize {
        self.0
    }
}

#[test]
fn what_is_beyond_the_counters_limit_is_estimated() {
    let read = Arc::new(AtomicU64::new(0));
    let prompt = |limit, text: &str| {
        let count =
            count_in(COMPLETIONS, &json!({"model": "m", "prompt": text}), &Bounded(limit, Arc::clone(&read)));
        (count, read.swap(0, Relaxed))
    };
    let text = "abc".repeat(100);
    assert_eq!(prompt(316, &text), (Count::exact(300), 300));
    assert_eq!(prompt(315, &text), (Count::estimate(299 + 1), 299));
    assert_eq!(prompt(46, &text), (Count::estimate(30 + 90), 30));
    assert_eq!(prompt(0, &text), (Count::estimate(100), 0));
    let texts = vec!["abc"; 1000];
    let count =
        count_in(EMBEDDINGS, &json!({"model": "m", "input": texts}), &Bounded(100, Arc::clone(&read)));
    assert_eq!((count, read.load(Relaxed)), (Count::estimate(5 * 3 + 995), 15));
}

#[test]
fn what_googles_callers_embed_or_have_counted_is_counted_alike() {
    let google = |verb: &str, body: Value| words_in(&format!("/v1beta/models/m:{verb}"), &body);
    let one =
        json!({"model": "models/m", "content": {"role": "user", "parts": [{"text": "a b"}, {"text": "c"}]}});
    assert_eq!(google("embedContent", one.clone()), Count::exact(3));
    let titled = json!({"content": {"parts": [{"text": "a b"}]}, "title": "t", "taskType": "CLUSTERING"});
    assert_eq!(google("embedContent", titled.clone()), Count::estimate(3));
    assert_eq!(google("batchEmbedContents", json!({"requests": [one, titled]})), Count::estimate(6));
    let asked = json!({"contents": [{"role": "user", "parts": [{"text": "a b c"}]}]});
    let counted = google("generateContent", asked.clone());
    assert_eq!(counted, Count::estimate(3 + 1 + 3 + 3));
    assert_eq!(google("countTokens", asked.clone()), counted);
    assert_eq!(google("countTokens", json!({"generateContentRequest": asked})), counted);
}

#[test]
fn json_that_is_too_deep_counts_by_its_length() {
    let body = format!(r#"{{"messages":{}"#, r#"[{"content":"#.repeat(1000));
    let count = count(Operation::Chat, Dialect::OpenAi, "m", &body, &ByLength);
    assert_eq!(count, Count::estimate(body.len().div_ceil(3) as u64));
}

const OPERATIONS: [Operation; 13] = [
    Operation::Chat,
    Operation::Messages,
    Operation::CountTokens,
    Operation::Responses,
    Operation::Generate,
    Operation::CountContent,
    Operation::EmbedContent,
    Operation::BatchEmbedContents,
    Operation::Completions,
    Operation::Embeddings,
    Operation::Moderation,
    Operation::Rerank,
    Operation::Other,
];

/// JSON made of the names that mean something, in any arrangement.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "messages",
        "contents",
        "parts",
        "requests",
        "generateContentRequest",
        "system",
        "input",
        "instructions",
        "prompt",
        "variables",
        "tools",
        "functions",
        "response_format",
        "text",
        "role",
        "name",
        "content",
        "type",
        "image_url",
        "url",
        "input_audio",
        "file",
        "file_data",
        "file_id",
        "source",
        "data",
        "media_type",
        "result",
        "tool_calls",
        "function",
        "arguments",
        "suffix",
        "input_image_mask",
        "id",
        "x",
    ]);
    let string = prop_oneof![
        any::<String>(),
        "(data:(image/png|application/pdf|text/csv)?(;base64)?,)?[A-Za-z0-9+/]{0,40}",
        prop::sample::select(vec!["text", "image", "base64", "file", "image_generation_call"])
            .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        4 => string.prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(8, 128, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            2 => prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

fn ascii(json: &str) -> String {
    let escape = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    json.chars().map(|c| if c.is_ascii() { c.to_string() } else { escape(c) }).collect()
}

proptest! {
    #[test]
    fn any_json_does_no_harm(value in any_json(), at in 0..OPERATIONS.len(), anthropic: bool) {
        let dialect = if anthropic { Dialect::Anthropic } else { Dialect::OpenAi };
        let body = value.to_string();
        let of = |body: &str, counter: &dyn CountTokens| count(OPERATIONS[at], dialect, "gpt-4o", body, counter);
        let by_length = of(&body, &ByLength);
        // Blanks and escapes change nothing, but where a base64's length is taken for a file's.
        let pretty = serde_json::to_string_pretty(&value).expect("is JSON");
        if !body.contains("_audio") {
            prop_assert_eq!(of(&pretty, &ByLength), by_length);
        }
        if !["_audio", "data"].iter().any(|name| body.contains(name)) {
            prop_assert_eq!(of(&ascii(&body), &ByLength), by_length);
        }
        prop_assert!(of(&body, &AtMostBytes).tokens >= by_length.tokens);
    }

    /// No byte is read twice.
    #[test]
    fn work_is_linear(value in any_json(), at in 0..OPERATIONS.len()) {
        let body = value.to_string();
        let (calls, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counter = {
            let (calls, bytes) = (Arc::clone(&calls), Arc::clone(&bytes));
            move |_: &str, text: &str| {
                calls.fetch_add(1, Relaxed);
                bytes.fetch_add(text.len() as u64, Relaxed);
                Count::estimate(0)
            }
        };
        count(OPERATIONS[at], Dialect::Anthropic, "m", &body, &counter);
        prop_assert!(calls.load(Relaxed) <= body.len() as u64);
        prop_assert!(bytes.load(Relaxed) <= body.len() as u64);
    }

    #[test]
    fn garbage_does_no_harm(
        body in prop_oneof![any::<String>(), r#"([\[\]{}:,"\\ au0]|"messages":|"content":|"source":|"tools":|\\u[d0]8){0,60}"#],
        at in 0..OPERATIONS.len(),
    ) {
        count(OPERATIONS[at], Dialect::Anthropic, "m", &body, &ByLength);
        count(OPERATIONS[at], Dialect::OpenAi, "m", &body, &Bounded(20, Arc::default()));
    }
}

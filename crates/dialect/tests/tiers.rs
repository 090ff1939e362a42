//! The service tier that an answer says it was served at.

use ziggurat_core::{Convention, Dialect, Usage};
use ziggurat_dialect::{Event, StreamDecoder, decode_response};

/// The tier of a whole answer.
fn whole(dialect: Dialect, json: &str) -> Option<String> {
    let usage = decode_response(dialect, json).expect("is an answer").usage?;
    usage.counts.tier.map(|tier| tier.as_str().to_owned())
}

fn openai(members: &str) -> Option<String> {
    whole(Dialect::OpenAi, &format!(r#"{{"id":"c","choices":[]{members}}}"#))
}

fn anthropic(usage: &str) -> Option<String> {
    whole(Dialect::Anthropic, &format!(r#"{{"type":"message","content":[],"usage":{usage}}}"#))
}

/// All that the usages of a stream come to.
fn streamed(dialect: Dialect, events: &[&str]) -> Option<Usage> {
    let mut decoder = StreamDecoder::new(dialect);
    let mut usage: Option<Usage> = None;
    for event in events {
        let mut take = |event: Event<'_>| {
            if let Event::Usage(spent) = event {
                usage.get_or_insert(Usage::new(Convention::OPENAI)).update(&spent.counts);
            }
        };
        decoder.decode(event, &mut take).expect("is an event");
    }
    usage
}

fn tier_of(usage: Option<Usage>) -> Option<String> {
    Some(usage?.tier?.as_str().to_owned())
}

#[test]
fn openai_names_it_beside_the_usage() {
    const USED: &str = r#","usage":{"prompt_tokens":1,"completion_tokens":2}"#;
    for (json, tier) in [
        (r#""flex""#, Some("flex")),
        (r#""default""#, Some("default")),
        (r#""pri\u006frity""#, Some("priority")),
        (r#""one-that-is-new""#, Some("one-that-is-new")),
        // An echo of what was asked says nothing of what was served.
        (r#""auto""#, None),
        (r#""""#, None),
        ("null", None),
        ("7", None),
        (r#"{"flex":1}"#, None),
        (r#""longer than a name of a tier is""#, None),
    ] {
        assert_eq!(openai(&format!(r#","service_tier":{json}{USED}"#)).as_deref(), tier, "{json}");
        assert_eq!(openai(&format!(r#"{USED},"service_tier":{json}"#)).as_deref(), tier, "{json}");
    }
    assert_eq!(openai(USED), None);
    // Some relatives name it within.
    let within = r#","usage":{"prompt_tokens":1,"service_tier":"standard"}"#;
    assert_eq!(openai(within).as_deref(), Some("standard"));
    assert_eq!(openai(&format!(r#"{within},"service_tier":"flex""#)).as_deref(), Some("flex"));
    assert_eq!(openai(&format!(r#"{within},"service_tier":"auto""#)).as_deref(), Some("standard"));
    // Without counts there is no usage.
    assert_eq!(openai(r#","service_tier":"flex""#), None);
    assert_eq!(openai(r#","service_tier":"flex","usage":{"service_tier":"flex"}"#), None);
}

#[test]
fn anthropic_names_it_in_the_usage() {
    let used =
        |tier: &str| anthropic(&format!(r#"{{"input_tokens":1,"output_tokens":2,"service_tier":{tier}}}"#));
    for tier in ["standard", "priority", "batch"] {
        assert_eq!(used(&format!("\"{tier}\"")).as_deref(), Some(tier));
    }
    for none in ["null", "7", "[]", "\"\"", "\"auto\""] {
        assert_eq!(used(none), None, "{none}");
    }
    assert_eq!(anthropic(r#"{"input_tokens":1}"#), None);
}

#[test]
fn a_stream_of_openais_may_name_it_in_any_chunk() {
    let chunk = |members: &str| format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{}}}}]{members}}}"#);
    let used = r#","usage":{"prompt_tokens":1,"completion_tokens":2}"#;
    let tier = |chunks: &[&str]| {
        let chunks: Vec<String> = chunks.iter().map(|members| chunk(members)).collect();
        let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
        tier_of(streamed(Dialect::OpenAi, &chunks))
    };
    let flex = r#","service_tier":"flex""#;
    assert_eq!(tier(&[flex, used]).as_deref(), Some("flex"));
    assert_eq!(tier(&["", &format!("{flex}{used}")]).as_deref(), Some("flex"));
    assert_eq!(tier(&[flex, &format!(r#"{used},"service_tier":null"#)]).as_deref(), Some("flex"));
    // The last word counts, and an echo is none.
    let chunks = [r#","service_tier":"auto""#, flex, r#","service_tier":"default""#, used];
    assert_eq!(tier(&chunks).as_deref(), Some("default"));
    assert_eq!(tier(&[r#","service_tier":"auto""#, used]), None);
    assert_eq!(tier(&["", used]), None);
    assert_eq!(tier(&[flex]), None);
}

#[test]
fn a_stream_of_anthropics_names_it_at_its_start() {
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1,"service_tier":"priority"}}}"#;
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#;
    let usage = streamed(Dialect::Anthropic, &[start, end]).expect("is stated");
    assert_eq!((usage.input, usage.output), (Some(3), Some(9)));
    assert_eq!(tier_of(Some(usage)).as_deref(), Some("priority"));
}

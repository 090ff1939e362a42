//! Names of tools.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Encoding, ToolNames, decode_request, encode_request};

use crate::common::strict;

const PROVIDERS: [(Dialect, usize, &str); 5] = [
    (Dialect::OpenAi, 64, "_-"),
    (Dialect::Responses, 64, "_-"),
    (Dialect::Converse, 64, "_-"),
    (Dialect::Anthropic, 128, "_-"),
    (Dialect::Gemini, 64, "_-.:"),
];

/// A conversation in which each name was called, whose last is to be called.
fn conversation(names: &[String]) -> Value {
    let tool = |name: &String| json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object", "properties": {} } } });
    let call = |name: &String| json!({ "id": "c", "type": "function", "function": { "name": name, "arguments": "{}" } });
    let mut messages = vec![json!({ "role": "user", "content": "a" })];
    for name in names {
        messages.push(json!({ "role": "assistant", "content": null, "tool_calls": [call(name)] }));
        messages.push(json!({ "role": "tool", "tool_call_id": "c", "content": "r" }));
    }
    json!({
        "model": "m", "messages": messages, "tools": names.iter().map(tool).collect::<Value>(),
        "tool_choice": { "type": "function", "function": { "name": names.last().expect("is one") } },
    })
}

/// The names of a body's tools, of its calls, and of the one that is chosen.
fn names_in(dialect: Dialect, body: &Value) -> (Vec<String>, Vec<String>, String) {
    let name = |value: &Value| value.as_str().expect("is a name").to_owned();
    let all = |list: &Value, pointers: &[&str]| -> Vec<String> {
        let items = list.as_array().expect("is a list").iter();
        items.filter_map(|item| pointers.iter().find_map(|at| item.pointer(at))).map(name).collect()
    };
    match dialect {
        Dialect::OpenAi => (
            all(&body["tools"], &["/function/name"]),
            all(&body["messages"], &["/tool_calls/0/function/name"]),
            name(&body["tool_choice"]["function"]["name"]),
        ),
        Dialect::Responses => (
            all(&body["tools"], &["/name"]),
            all(&body["input"], &["/name"]),
            name(&body["tool_choice"]["name"]),
        ),
        Dialect::Converse => (
            all(&body["toolConfig"]["tools"], &["/toolSpec/name"]),
            all(&body["messages"], &["/content/0/toolUse/name"]),
            name(&body["toolConfig"]["toolChoice"]["tool"]["name"]),
        ),
        Dialect::Anthropic => (
            all(&body["tools"], &["/name"]),
            all(&body["messages"], &["/content/0/name"]),
            name(&body["tool_choice"]["name"]),
        ),
        _ => (
            all(&body["tools"][0]["functionDeclarations"], &["/name"]),
            all(&body["contents"], &["/parts/0/functionCall/name"]),
            name(&body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"][0]),
        ),
    }
}

fn sent(dialect: Dialect, names: &[String]) -> (Value, ToolNames) {
    let (json, policy, mut out) = (conversation(names).to_string(), ParamPolicy::default(), Vec::new());
    let request = decode_request(Dialect::OpenAi, &json).expect("reads");
    let encoding = Encoding::new("m", &policy);
    encode_request(dialect, &request, &encoding, &mut out).expect("is not refused");
    (strict(std::str::from_utf8(&out).expect("is UTF-8")), ToolNames::of(dialect, &request))
}

/// What a provider has for each name, which a caller gets back; and what the caller asked by each.
fn check(dialect: Dialect, longest: usize, marks: &str, names: &[String]) -> HashMap<String, String> {
    let (body, back) = sent(dialect, names);
    let (tools, calls, chosen) = names_in(dialect, &body);
    assert_eq!((&tools, &chosen), (&calls, tools.last().expect("is one")), "{dialect:?}");
    assert_eq!(tools.len(), names.len(), "{dialect:?}");
    let takes = |letter: char| letter.is_ascii_alphanumeric() || marks.contains(letter);
    for (name, given) in names.iter().zip(&tools) {
        assert!((1..=longest).contains(&given.len()) && given.chars().all(takes), "{given:?}");
        let begins = given.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        assert!(begins || dialect != Dialect::Gemini, "{given:?}");
        let restored = back.restore(&given.as_str().into());
        assert_eq!(
            restored.map_or_else(|| given.clone(), |own| own.decode().into_owned()),
            *name,
            "{dialect:?}"
        );
    }
    assert_eq!(tools.iter().collect::<HashSet<_>>().len(), names.len(), "{dialect:?}: {tools:?}");
    names.iter().cloned().zip(tools).collect()
}

/// Names, among them such as others are changed to.
fn names() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        "[a-z_.:-]{0,4}",
        "[a-zA-Z0-9_-]{50,140}",
        "[a-z.é]{60,70}",
        any::<String>(),
        Just("a.b".to_owned()),
        Just("a:b".to_owned()),
    ];
    prop::collection::hash_set(name, 1..12).prop_map(|names| {
        let mut names: Vec<String> = names.into_iter().collect();
        for (dialect, ..) in PROVIDERS {
            let (tools, ..) = names_in(dialect, &sent(dialect, &names[..1]).0);
            names.extend(tools.into_iter().filter(|given| !names.contains(given)).collect::<Vec<_>>());
        }
        names
    })
}

proptest! {
    #[test]
    fn any_names_are_valid_and_distinct_and_come_back(names in names()) {
        for (dialect, longest, marks) in PROVIDERS {
            check(dialect, longest, marks, &names);
        }
    }
}

#[test]
fn a_name_is_the_same_whatever_stands_beside_it() {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (names, dialect, given) in [
        (&["ns.tool:x"][..], Dialect::OpenAi, "ns_tool_x_65f6550a"),
        (&["f", "ns.tool:x", "ns_tool_x"], Dialect::Anthropic, "ns_tool_x_65f6550a"),
        (&["ns_tool:x", "ns.tool:x"], Dialect::Converse, "ns_tool_x_65f6550a"),
        (&["g", "ns.tool:x"], Dialect::Gemini, "ns.tool:x"),
        (&["1é", "g"], Dialect::Responses, "1__d0e62b98"),
        (&["1é"], Dialect::Gemini, "_1__d0e62b98"),
        // Unless there is such a tool.
        (&["a.b", "a_b_2e7336dc"], Dialect::OpenAi, "a_b_02280b1a"),
    ] {
        let (_, longest, marks) = PROVIDERS.into_iter().find(|(of, ..)| *of == dialect).expect("is one");
        let names = owned(names);
        let all = check(dialect, longest, marks, &names);
        assert!(all.values().any(|value| value == given), "{all:?}");
        // In another turn, behind other calls.
        let (json, policy, mut out) = (conversation(&names), ParamPolicy::default(), Vec::new());
        let mut later = json;
        later["messages"].as_array_mut().expect("is a list").extend([
            json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "d", "type": "function", "function": { "name": "gone.since", "arguments": "{}" } }] }),
            json!({ "role": "tool", "tool_call_id": "d", "content": "r" }),
        ]);
        let json = later.to_string();
        let request = decode_request(Dialect::OpenAi, &json).expect("reads");
        encode_request(dialect, &request, &Encoding::new("m", &policy), &mut out).expect("is not refused");
        assert!(String::from_utf8(out).expect("is UTF-8").contains(&format!("{given:?}")));
    }
}

#[test]
fn in_their_own_dialect_names_stay() {
    let name = "ns.tool ".repeat(20);
    let bodies = [
        (
            Dialect::Anthropic,
            json!({ "model": "m", "max_tokens": 5, "messages": [], "tools": [{ "name": name, "input_schema": {} }] }),
        ),
        (
            Dialect::Responses,
            json!({ "model": "m", "input": "a", "tools": [{ "type": "function", "name": name, "parameters": {} }] }),
        ),
    ];
    for (dialect, body) in bodies {
        let (json, policy, mut out) = (body.to_string(), ParamPolicy::default(), Vec::new());
        let request = decode_request(dialect, &json).expect("reads");
        encode_request(dialect, &request, &Encoding::new("m", &policy), &mut out).expect("is not refused");
        let sent = strict(std::str::from_utf8(&out).expect("is UTF-8"));
        assert_eq!(sent["tools"][0]["name"], *name);
        assert!(ToolNames::of(dialect, &request).is_empty());
    }
}

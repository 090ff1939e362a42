//! Little that stands for much: what is written is bounded by what came, and what is large is written in a moment. Sizes are such that reading
//! all of a list for each of its elements would not end.

#[path = "common/mod.rs"]
mod common;

use serde_json::{Map, Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::Refused;

use crate::common::*;

const MANY: usize = 10_000;

fn list(item: impl FnMut(usize) -> Value) -> Value {
    (0..MANY).map(item).collect()
}

fn invalid(refused: Result<Value, Refused>) -> (String, String) {
    match refused {
        Err(Refused::Invalid { message, param }) => (message, param),
        other => panic!("is not refused so: {other:?}"),
    }
}

/// The calls of callers of each dialect, with a result.
fn calls(name: &str) -> [(Dialect, &'static str, Value); 4] {
    let function = json!({"name": name, "arguments": "{}"});
    let short = json!({"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    [
        (
            Dialect::OpenAi,
            "messages[1].tool_calls[1].function.name",
            json!({"model": "m", "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a", "tool_calls": [short, {"id": "c", "type": "function", "function": function}]},
                {"role": "tool", "tool_call_id": "c", "content": "r"},
            ]}),
        ),
        (
            Dialect::Anthropic,
            "messages[1].content[1].name",
            json!({"model": "m", "max_tokens": 9, "system": "s", "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c", "name": name, "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
            ]}),
        ),
        (
            Dialect::Responses,
            "input[1].name",
            json!({"model": "m", "instructions": "s", "input": [
                {"role": "user", "content": "q"},
                {"type": "function_call", "call_id": "c", "name": name, "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "r"},
            ]}),
        ),
        (
            Dialect::Gemini,
            "contents[1].parts[0].functionCall.name",
            json!({"contents": [
                {"role": "user", "parts": [{"text": "q"}]},
                {"role": "model", "parts": [{"functionCall": {"id": "c", "name": name, "args": {}}}]},
                {"role": "user", "parts": [{"functionResponse": {"id": "c", "name": name, "response": {}}}]},
            ]}),
        ),
    ]
}

#[test]
fn a_tools_name_that_each_result_repeats_is_not_long() {
    let policy = ParamPolicy::default();
    let to = [(Dialect::Gemini, "gemini-2.5-pro"), (Dialect::Ollama, "llama")];
    for (from, place, call) in calls(&"n".repeat(257)) {
        // Others' names are made shorter for Google.
        for (to, model) in to.into_iter().filter(|(to, _)| *to == Dialect::Ollama || *to == from) {
            let told = invalid(request(from, to, model, &policy, &call));
            assert_eq!(told, ("the name of a tool has at most 256 bytes".to_owned(), place.to_owned()));
        }
        // Where a result has no name but its call's id, a name is as long as it likes.
        request(from, Dialect::Cohere, "command-a", &dropping(), &call).expect("is asked");
    }
    for (from, _, call) in calls(&"n".repeat(256)) {
        for (to, model) in to {
            request(from, to, model, &dropping(), &call).expect("is asked");
        }
    }
}

/// A schema of so many properties that refer to one, of a description of so many bytes.
fn referring(properties: usize, bytes: usize) -> Value {
    let properties: Map<_, _> =
        (0..properties).map(|number| (format!("p{number}"), json!({"$ref": "#/$defs/d"}))).collect();
    json!({
        "$defs": {"d": {"type": "string", "description": "x".repeat(bytes)}},
        "type": "object", "properties": properties,
    })
}

fn with_schemas(tools: &[&Value], format: Option<&Value>) -> Value {
    let tool = |parameters: &&Value| json!({"type": "function", "function": {"name": "f", "parameters": parameters}});
    let tools: Vec<_> = tools.iter().map(tool).collect();
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "q"}], "tools": tools});
    if let Some(schema) = format {
        body["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    }
    body
}

#[test]
fn what_schemas_refer_to_is_copied_within_a_mebibyte_a_request() {
    let ask = |body: &Value| {
        request(Dialect::OpenAi, Dialect::Gemini, "gemini-2.0-flash", &ParamPolicy::default(), body)
    };
    let message = "this model takes no schema that refers to itself, is nested this deep or is this large with all that it refers to in place";
    let parameters = |index: usize| format!("tools[{index}].function.parameters");
    let (hostile, half) = (referring(1_000, 100_000), referring(60, 10_000));
    assert_eq!(invalid(ask(&with_schemas(&[&hostile], None))), (message.to_owned(), parameters(0)));
    let format = "response_format.json_schema.schema".to_owned();
    assert_eq!(invalid(ask(&with_schemas(&[], Some(&hostile)))), (message.to_owned(), format.clone()));
    // All schemas of a request share the room.
    assert_eq!(invalid(ask(&with_schemas(&[&half, &half], None))), (message.to_owned(), parameters(1)));
    assert_eq!(invalid(ask(&with_schemas(&[&half], Some(&half)))), (message.to_owned(), format));
    let asked = ask(&with_schemas(&[&half], None)).expect("is asked");
    let properties = &asked["tools"][0]["functionDeclarations"][0]["parameters"]["properties"];
    assert_eq!(properties["p59"], half["$defs"]["d"]);
    // What refers to nothing is as large as it is.
    let large = json!({"type": "object", "not": {}, "properties": {"p": {"type": "string", "description": "x".repeat(3 << 20)}}});
    ask(&with_schemas(&[&large, &large], Some(&large))).expect("is asked");
}

#[test]
fn documents_of_one_name_are_numbered_on() {
    let file = |name: &str| json!({"type": "file", "file": {"filename": name, "file_data": "data:application/pdf;base64,AA=="}});
    let names = |files: Value| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": files}]});
        let asked = request(Dialect::OpenAi, Dialect::Converse, "amazon.nova-pro-v1:0", &dropping(), &body);
        let asked = asked.expect("is asked");
        let blocks = asked["messages"][0]["content"].as_array().expect("is a list").clone();
        blocks
            .iter()
            .map(|block| block["document"]["name"].as_str().expect("is named").to_owned())
            .collect::<Vec<_>>()
    };
    let given = ["a 2.pdf", "a.pdf", "a.pdf", "b.pdf", "a.pdf", "b.pdf"].map(file);
    assert_eq!(names(json!(given)), ["a 2", "a", "a 3", "b", "a 4", "b 2"]);
    assert_eq!(names(list(|_| file("a.pdf"))).last(), Some(&format!("a {MANY}")));
}

#[test]
fn many_calls_and_their_signatures_are_written_once() {
    let call = |number: usize| json!({"id": format!("c{number}"), "type": "function", "function": {"name": format!("f{number}"), "arguments": "{}"}, "thought_signature": format!("BBBB{number:08}")});
    let thought = |number: usize| json!({"type": "thinking", "thinking": "", "signature": format!("zigguratOfGeminiAAAA{number:08}")});
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "thinking_blocks": list(thought), "tool_calls": list(call)},
    ]});
    let asked = request(Dialect::OpenAi, Dialect::Gemini, "gemini-3-pro", &dropping(), &body);
    let parts = asked.expect("is asked")["contents"][1]["parts"].as_array().expect("is a list").len();
    // Each thought's signature is another than those on the calls, and so gets a part of its own.
    assert_eq!(parts, 2 * MANY);
    let asked = request(Dialect::OpenAi, Dialect::Converse, "amazon.nova-pro-v1:0", &dropping(), &body);
    let tools = asked.expect("is asked")["toolConfig"]["tools"].as_array().expect("is a list").len();
    assert_eq!(tools, MANY);
}

#[test]
fn many_items_of_responses_are_one_turn() {
    let body = json!({"model": "m", "input": list(|_| json!({"role": "assistant", "content": "a"}))});
    let asked = request(Dialect::Responses, Dialect::OpenAi, "gpt-4o", &dropping(), &body);
    let asked = asked.expect("is asked");
    let content = asked["messages"][0]["content"].as_array().expect("is a list");
    assert_eq!((asked["messages"].as_array().map(Vec::len), content.len()), (Some(1), MANY));
}

#[test]
fn many_texts_become_one() {
    let text = "x".repeat(64);
    let part = |kind: &str| json!({"type": kind, "text": text});
    let thought = json!({"type": "reasoning", "summary": list(|_| part("summary_text"))});
    let body = json!({"model": "m", "input": [thought, {"role": "user", "content": "q"}]});
    let asked = request(Dialect::Responses, Dialect::Ollama, "gpt-oss", &dropping(), &body);
    let thinking = asked.expect("is asked")["messages"][0]["thinking"].as_str().map(str::len);
    assert_eq!(thinking, Some(MANY * (64 + 2) - 2));

    let body = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": list(|_| part("text"))}]},
    ]});
    let asked = request(Dialect::Anthropic, Dialect::Gemini, "gemini-3-pro", &dropping(), &body);
    let result = &asked.expect("is asked")["contents"][2]["parts"][0]["functionResponse"]["response"];
    assert_eq!(result["content"].as_str().map(str::len), Some(MANY * 64));

    let message = json!({"role": "assistant", "content": list(|_| part("text"))});
    let whole = json!({"id": "i", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
    let told = answer(Dialect::OpenAi, Dialect::Anthropic, &whole);
    assert_eq!(told["content"][0]["text"].as_str().map(str::len), Some(MANY * 64));
}

#[test]
fn a_page_is_named_again_within_a_quarter_of_a_mebibyte() {
    let grounded = |indices: Value, supports: usize| {
        let support = json!({"segment": {"endIndex": 1, "text": "a"}, "groundingChunkIndices": indices});
        let grounding = json!({
            "groundingChunks": [{"web": {"uri": "u".repeat(9_899), "title": "t"}}],
            "groundingSupports": vec![support; supports],
        });
        let size = grounding.to_string().len();
        let whole = json!({"responseId": "r", "candidates": [
            {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP", "groundingMetadata": grounding},
        ]});
        let told = answer(Dialect::Gemini, Dialect::OpenAi, &whole);
        (told["choices"][0]["message"]["annotations"].as_array().map(Vec::len), size)
    };
    for (indices, supports) in [(json!(vec![0; 1_000]), 1), (json!([0]), 1_000)] {
        let (told, size) = grounded(indices, supports);
        assert_eq!(told, Some((size + (256 << 10)) / 10_000));
    }
    assert_eq!(grounded(json!([0, 0]), 3).0, Some(6));
}

#[test]
fn web_searches_that_are_told_again_count_once() {
    let chunk = |index: usize, queries: &[&str], more: Value| {
        let mut grounding = json!({"webSearchQueries": queries});
        grounding["groundingChunks"] = more;
        let candidate = json!({"index": index, "content": {"parts": [{"text": "a"}]}, "finishReason": "STOP", "groundingMetadata": grounding});
        json!({"candidates": [candidate], "usageMetadata": {"promptTokenCount": 1}, "responseId": "r"})
            .to_string()
    };
    let chunks = [
        chunk(0, &["p"], json!(null)),
        chunk(0, &["p", "q"], json!([])),
        chunk(1, &["p"], json!([])),
        chunk(0, &["p"], json!([{}])),
    ];
    let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
    let told = events(Dialect::Gemini, &chunks);
    let searches: Vec<_> = told
        .iter()
        .filter_map(|event| event.split_once("web_searches: ")?.1.split_once(", search_units"))
        .map(|(count, _)| count)
        .collect();
    assert_eq!(searches, ["Some(1)", "Some(2)", "Some(3)", "Some(3)"]);
}

//! What is allowed to change when a document is read and written in its own dialect: all of it stands here.

use serde_json::{Map, Value, json};

/// What an OpenAI answer becomes, all else being equal:
/// - `null` is absent: no member of the API means something else by it;
/// - `object` and `role` are constants, a call's `type` is `function` where a provider leaves it out (Mistral);
/// - `created` loses a fraction: the API has whole seconds;
/// - `reasoning` is written as `reasoning_content`, once where both say the same: one meaning, two names; an empty one is absent;
/// - a content list of text and thinking is written as a string and `reasoning_content`; Mistral's `closed` says of a thought in a whole
///   answer what is true anyway;
/// - an empty list of tool calls is absent.
pub(crate) fn openai_answer(mut value: Value) -> Value {
    without_nulls(&mut value);
    let created = value["created"].as_f64().map(|seconds| json!(seconds as u64));
    let object = value.as_object_mut().expect("is an object");
    object.insert("object".into(), "chat.completion".into());
    object.extend(created.map(|created| ("created".to_owned(), created)));
    for choice in object["choices"].as_array_mut().expect("is a list") {
        if let Some(message) = choice["message"].as_object_mut() {
            openai_message(message);
        }
    }
    value
}

fn openai_message(message: &mut Map<String, Value>) {
    message.insert("role".into(), "assistant".into());
    if let Some(Value::Array(parts)) = message.get("content") {
        let (mut text, mut thoughts) = (String::new(), String::new());
        for part in parts {
            text += part["text"].as_str().unwrap_or_default();
            let inner = part["thinking"].as_array().into_iter().flatten();
            inner.for_each(|thought| thoughts += thought["text"].as_str().unwrap_or_default());
        }
        message.insert("content".into(), text.into());
        if !thoughts.is_empty() {
            message.insert("reasoning_content".into(), thoughts.into());
        }
    }
    if let Some(reasoning) = message.get("reasoning").cloned()
        && message.get("reasoning_content").is_none_or(|content| *content == reasoning)
    {
        message.remove("reasoning");
        message.insert("reasoning_content".into(), reasoning);
    }
    for name in ["reasoning", "reasoning_content"] {
        if message.get(name).is_some_and(|text| text == "") {
            message.remove(name);
        }
    }
    if message.get("tool_calls").is_some_and(|calls| *calls == json!([])) {
        message.remove("tool_calls");
    }
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten().filter_map(Value::as_object_mut) {
        call.entry("type").or_insert_with(|| "function".into());
    }
}

/// What an Anthropic answer becomes, all else being equal: `null` is absent.
pub(crate) fn anthropic_answer(mut value: Value) -> Value {
    without_nulls(&mut value);
    value
}

/// Members that are `null` are absent, wherever they stand.
pub(crate) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

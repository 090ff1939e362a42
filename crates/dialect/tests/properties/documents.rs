//! Documents of both dialects, made up.

use proptest::{collection::vec, option, prelude::*};
use serde_json::{Map, Value, json};

/// Text with all that is hard about text.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,6}",
        Just(String::new()),
        Just(" \n\t".to_owned()),
        Just("\u{0}\u{1F600}\u{2028}\"\\/\u{7f}é".to_owned()),
        Just("data:image/png;base64,AA".to_owned()),
    ]
}

pub(crate) fn word() -> impl Strategy<Value = String> {
    "[a-z_]{1,5}"
}

/// Members that nobody knows, or that somebody else knows.
fn extra() -> impl Strategy<Value = Map<String, Value>> {
    let names = prop_oneof![
        8 => word(),
        1 => Just("partial_json".to_owned()),
        1 => Just("logprobs".to_owned()),
        1 => Just("x.y".to_owned()),
    ];
    let values =
        prop_oneof![Just(json!(1.50)), Just(json!({ "a": [null] })), Just(json!("b")), Just(json!([]))];
    let prefix = |name: String| format!("q{name}");
    prop_oneof![
        3 => Just(Map::new()),
        1 => vec((names.prop_map(prefix), values), 0..3).prop_map(|members| members.into_iter().collect()),
    ]
}

/// An object with these members, those that are `null` left out, and others that nobody knows.
fn object(members: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (members, extra()).prop_map(|(members, mut extra)| {
        let Value::Object(members) = members else { panic!("is an object") };
        extra.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
        Value::Object(extra)
    })
}

fn hint() -> impl Strategy<Value = Option<Value>> {
    option::weighted(0.2, Just(json!({ "type": "ephemeral" })))
}

/// A schema or arguments: any object.
fn any_object() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!({})), text().prop_map(|text| json!({ "a": { "b": [text, 1e3] } }))]
}

mod openai {
    use super::*;

    fn part() -> impl Strategy<Value = Value> {
        let url = prop_oneof![Just("https://example.com/a"), Just("data:image/png;base64,AA+/")];
        prop_oneof![
            object((text(), hint()).prop_map(|(text, hint)| json!({ "type": "text", "text": text, "cache_control": hint }))),
            object((url, option::of(word())).prop_map(|(url, detail)| {
                let mut image = json!({ "url": url, "detail": detail });
                super::without_nulls(&mut image);
                json!({ "type": "image_url", "image_url": image })
            })),
            object((word(), prop::bool::weighted(0.1)).prop_map(|(name, by_id)| match by_id {
                true => json!({ "type": "file", "file": { "file_id": name } }),
                false => json!({ "type": "file", "file": { "filename": name, "file_data": "data:application/pdf;a=b;base64,AA" } }),
            })),
            object(Just(json!({ "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } }))),
        ]
    }

    fn content() -> impl Strategy<Value = Value> {
        prop_oneof![2 => text().prop_map(Value::from), 2 => vec(part(), 0..4).prop_map(Value::from)]
    }

    fn call() -> impl Strategy<Value = Value> {
        let arguments = prop_oneof![any_object().prop_map(|value| value.to_string()), text()];
        object((word(), word(), arguments, hint()).prop_map(|(id, name, arguments, hint)| {
            json!({ "id": id, "type": "function", "cache_control": hint, "function": { "name": name, "arguments": arguments } })
        }))
    }

    fn thought() -> impl Strategy<Value = Value> {
        prop_oneof![
            object((text(), text()).prop_map(
                |(text, signature)| json!({ "type": "thinking", "thinking": text, "signature": signature })
            )),
            object(text().prop_map(|data| json!({ "type": "redacted_thinking", "data": data }))),
        ]
    }

    fn message() -> impl Strategy<Value = Value> {
        let other = prop_oneof![Just("system"), Just("developer"), Just("user")];
        let assistant = (option::of(content()), option::of(text()), vec(call(), 0..3), vec(thought(), 0..2));
        prop_oneof![
            object((other, content(), option::of(word()), hint()).prop_map(|(role, content, name, hint)| {
                json!({ "role": role, "content": content, "name": name, "cache_control": hint })
            })),
            object(assistant.prop_map(|(content, refusal, calls, thoughts)| json!({
                "role": "assistant", "content": content, "refusal": refusal, "tool_calls": calls, "thinking_blocks": thoughts,
            }))),
            object((word(), content(), hint()).prop_map(|(id, content, hint)| {
                json!({ "role": "tool", "tool_call_id": id, "content": content, "cache_control": hint })
            })),
        ]
    }

    fn tool() -> impl Strategy<Value = Value> {
        let function = object((word(), option::of(text()), option::of(any_object()), option::of(any::<bool>())).prop_map(
            |(name, description, parameters, strict)| json!({ "name": name, "description": description, "parameters": parameters, "strict": strict }),
        ));
        prop_oneof![
            3 => object((function, hint()).prop_map(|(function, hint)| json!({ "type": "function", "function": function, "cache_control": hint }))),
            1 => object(word().prop_map(|name| json!({ "type": "custom", "custom": { "name": name } }))),
        ]
    }

    pub(crate) fn request() -> impl Strategy<Value = Value> {
        let choice = prop_oneof![
            Just(json!("auto")),
            Just(json!("none")),
            Just(json!("required")),
            object(word().prop_map(|name| json!({ "type": "function", "function": { "name": name } }))),
        ];
        let format = prop_oneof![
            Just(json!({ "type": "text" })),
            Just(json!({ "type": "json_object" })),
            object(
                object(
                    (word(), any_object())
                        .prop_map(|(name, schema)| json!({ "name": name, "schema": schema }))
                )
                .prop_map(|schema| json!({ "type": "json_schema", "json_schema": schema }))
            ),
        ];
        let stop = prop_oneof![text().prop_map(Value::from), vec(text(), 1..3).prop_map(Value::from)];
        let of_tools =
            (vec(tool(), 0..3), option::of(choice), option::of(any::<bool>()), option::of(any_object()));
        let of_output =
            (option::of(any::<u32>()), option::of(stop), option::of(format), option::of(any::<u8>()));
        let of_stream = (
            option::of(any::<bool>()),
            option::of(any::<bool>()),
            option::of(word()),
            option::of(Just("high")),
        );
        object((vec(message(), 0..5), of_tools, of_output, of_stream).prop_map(
            |(messages, (tools, choice, parallel, search), (cap, stop, format, n), (stream, usage, user, effort))| {
                let usage = usage.map(|usage| json!({ "include_usage": usage }));
                json!({
                    "model": "m", "messages": messages, "tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel,
                    "web_search_options": search, "max_tokens": cap, "stop": stop, "response_format": format, "n": n,
                    "stream": stream, "stream_options": usage, "user": user, "reasoning_effort": effort,
                    "temperature": cap.map(|cap| f64::from(cap % 20) / 10.0), "top_k": n, "seed": n,
                })
            },
        ))
    }

    pub(crate) fn answer() -> impl Strategy<Value = Value> {
        let word = || {
            prop_oneof![Just("stop"), Just("length"), Just("tool_calls"), Just("content_filter"), Just("odd")]
        };
        let legacy = object(
            (word(), text()).prop_map(|(name, arguments)| json!({ "name": name, "arguments": arguments })),
        );
        let called = (vec(call(), 0..3), option::weighted(0.2, legacy));
        let message = object((option::of(text()), option::of(text()), option::of(text()), called).prop_map(
            |(content, refusal, reasoning, (calls, legacy))| {
                let calls: Vec<Value> = calls.into_iter().map(|mut call| { call["cache_control"].take(); super::without_nulls(&mut call); call }).collect();
                let reasoning = reasoning.filter(|reasoning| !reasoning.is_empty());
                let calls = (!calls.is_empty()).then_some(calls);
                json!({ "role": "assistant", "content": content, "refusal": refusal, "reasoning_content": reasoning, "tool_calls": calls, "function_call": legacy })
            },
        ));
        let choice = object((message, option::of(word()), option::of(any_object())).prop_map(|(message, reason, logprobs)| {
            json!({ "index": 0, "message": message, "finish_reason": reason, "logprobs": logprobs })
        }));
        let usage = object(
            (any::<u16>(), any::<u16>())
                .prop_map(|(input, output)| json!({ "prompt_tokens": input, "completion_tokens": output })),
        );
        object((vec(choice, 0..3), option::of(usage)).prop_map(|(mut choices, usage)| {
            for (index, choice) in choices.iter_mut().enumerate() {
                choice["index"] = json!(index);
            }
            json!({ "id": "c", "object": "chat.completion", "created": 5, "model": "m", "choices": choices, "usage": usage })
        }))
    }
}

mod anthropic {
    use super::*;

    fn source() -> impl Strategy<Value = Value> {
        prop_oneof![
            object(Just(json!({ "type": "base64", "media_type": "a/b", "data": "AA" }))),
            object(Just(json!({ "type": "url", "url": "https://example.com/a" }))),
            object(Just(json!({ "type": "file", "file_id": "f" }))),
        ]
    }

    fn said() -> impl Strategy<Value = Value> {
        prop_oneof![
            object((text(), hint()).prop_map(|(text, hint)| json!({ "type": "text", "text": text, "cache_control": hint }))),
            object((source(), hint()).prop_map(|(source, hint)| json!({ "type": "image", "source": source, "cache_control": hint }))),
            object((source(), option::of(text()), hint()).prop_map(|(source, title, hint)| json!({ "type": "document", "source": source, "title": title, "cache_control": hint }))),
            object(Just(json!({ "type": "search_result", "text": 5, "content": {} }))),
        ]
    }

    fn result() -> impl Strategy<Value = Value> {
        let content = prop_oneof![text().prop_map(Value::from), vec(said(), 0..3).prop_map(Value::from)];
        object((word(), content, option::of(any::<bool>()), hint()).prop_map(|(id, content, error, hint)| {
            json!({ "type": "tool_result", "tool_use_id": id, "content": content, "is_error": error, "cache_control": hint })
        }))
    }

    pub(crate) fn made() -> impl Strategy<Value = Value> {
        let citations = option::weighted(0.2, Just(json!([{ "cited_text": "c" }])));
        prop_oneof![
            object((text(), citations).prop_map(
                |(text, citations)| json!({ "type": "text", "text": text, "citations": citations })
            )),
            object((text(), text()).prop_map(
                |(text, signature)| json!({ "type": "thinking", "thinking": text, "signature": signature })
            )),
            object(text().prop_map(|data| json!({ "type": "redacted_thinking", "data": data }))),
            object((word(), word(), any_object()).prop_map(
                |(id, name, input)| json!({ "type": "tool_use", "id": id, "name": name, "input": input })
            )),
            object(
                word().prop_map(|id| json!({ "type": "server_tool_use", "id": id, "name": 5, "input": {} }))
            ),
        ]
    }

    fn message() -> impl Strategy<Value = Value> {
        let content = |block: BoxedStrategy<Value>| prop_oneof![1 => text().prop_map(Value::from), 3 => vec(block, 0..4).prop_map(Value::from)];
        let user = content(prop_oneof![3 => said(), 2 => result()].boxed());
        prop_oneof![
            object(user.prop_map(|content| json!({ "role": "user", "content": content }))),
            object(
                content(made().boxed())
                    .prop_map(|content| json!({ "role": "assistant", "content": content }))
            ),
        ]
    }

    fn tool() -> impl Strategy<Value = Value> {
        prop_oneof![
            3 => object((word(), option::of(text()), any_object(), option::of(any::<bool>()), hint()).prop_map(
                |(name, description, schema, strict, hint)| json!({ "type": "custom", "name": name, "description": description, "input_schema": schema, "strict": strict, "cache_control": hint }),
            )),
            1 => object(Just(json!({ "type": "bash_20250124", "name": "bash" }))),
            1 => object(Just(json!({ "type": "web_search_20250305", "name": "web_search" }))),
        ]
    }

    pub(crate) fn request() -> impl Strategy<Value = Value> {
        let choice = object((prop_oneof![Just("auto"), Just("any"), Just("tool")], option::of(any::<bool>())).prop_map(|(kind, serial)| {
            json!({ "type": kind, "name": (kind == "tool").then_some("f"), "disable_parallel_tool_use": serial })
        }));
        let system = prop_oneof![text().prop_map(Value::from), vec(said(), 0..3).prop_map(Value::from)];
        let metadata = object(option::of(word()).prop_map(|user| json!({ "user_id": user })));
        let output = object((option::of(word()), option::of(any_object())).prop_map(|(effort, schema)| {
            let format = schema.map(|schema| json!({ "type": "json_schema", "schema": schema }));
            json!({ "effort": effort, "format": format })
        }));
        let of_tools = (vec(tool(), 1..3), option::of(choice));
        let of_output = (option::of(output), option::of(metadata), any::<u32>(), vec(text(), 1..3));
        object((option::of(system), vec(message(), 0..5), of_tools, of_output).prop_map(
            |(system, messages, (tools, choice), (output, metadata, cap, stop))| json!({
                "model": "m", "system": system, "messages": messages, "tools": tools, "tool_choice": choice,
                "output_config": output, "metadata": metadata, "max_tokens": cap, "stop_sequences": stop,
                "temperature": f64::from(cap % 20) / 10.0, "thinking": { "type": "enabled", "budget_tokens": cap }, "stream": cap % 2 == 0,
            }),
        ))
    }

    pub(crate) fn answer() -> impl Strategy<Value = Value> {
        let word = || {
            prop_oneof![Just("end_turn"), Just("max_tokens"), Just("tool_use"), Just("refusal"), Just("odd")]
        };
        let usage = object(
            (any::<u16>(), any::<u16>())
                .prop_map(|(input, output)| json!({ "input_tokens": input, "output_tokens": output })),
        );
        object((vec(made(), 0..5), option::of(word()), option::of(text()), usage).prop_map(
            |(content, reason, stop, usage)| {
                let stop = stop.filter(|_| reason.is_some());
                json!({
                    "id": "m", "type": "message", "role": "assistant", "model": "m", "content": content,
                    "stop_reason": reason, "stop_sequence": stop, "usage": usage,
                })
            },
        ))
    }
}

fn without_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, value| !value.is_null());
        members.values_mut().for_each(without_nulls);
    }
}

pub(crate) use anthropic::{answer as anthropic_answer, request as anthropic_request};
pub(crate) use openai::{answer as openai_answer, request as openai_request};

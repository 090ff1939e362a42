//! What a Google provider is asked by callers of other dialects.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::Refused;

use crate::common::{dropping, request};

const MODEL: &str = "gemini-2.5-flash";
const THIRD: &str = "gemini-3-pro-preview";
const OLD: &str = "gemini-2.0-flash";

fn ask(model: &str, asked: &Value) -> Value {
    request(Dialect::OpenAi, Dialect::Gemini, model, &ParamPolicy::default(), asked).expect("is not refused")
}

fn refused(model: &str, asked: &Value) -> Vec<String> {
    match request(Dialect::OpenAi, Dialect::Gemini, model, &ParamPolicy::default(), asked) {
        Err(Refused::Unsupported(names)) => names,
        other => panic!("{other:?}"),
    }
}

/// A question with these parameters.
fn with(parameters: &Value) -> Value {
    let mut asked = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }] });
    let members = asked.as_object_mut().expect("is an object");
    members.extend(parameters.as_object().expect("is an object").clone());
    asked
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
}

#[test]
fn sides_alternate_and_the_operator_stands_apart() {
    let asked = json!({ "messages": [
        { "role": "system", "content": "A" },
        { "role": "user", "content": "a" },
        { "role": "user", "content": [{ "type": "text", "text": "b" }, { "type": "text", "text": "" }] },
        { "role": "assistant", "content": "c" },
        { "role": "developer", "content": "B" },
        { "role": "user", "content": "" },
    ] });
    let expected = json!({
        "systemInstruction": { "parts": [{ "text": "A" }, { "text": "B" }] },
        "contents": [
            { "role": "user", "parts": [{ "text": "a" }, { "text": "b" }] },
            { "role": "model", "parts": [{ "text": "c" }] },
            { "role": "user", "parts": [{ "text": "." }] },
        ],
    });
    assert_eq!(ask(MODEL, &asked), expected);
}

#[test]
fn results_stand_in_one_turn_in_the_order_of_their_calls() {
    let asked = json!({ "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": null, "tool_calls": [call("1", "f", "{\"x\":1}"), call("2", "g", "")] },
        { "role": "tool", "tool_call_id": "2", "content": "{\"y\": 2}" },
        { "role": "tool", "tool_call_id": "1", "content": "plain" },
        { "role": "user", "content": "go on" },
    ] });
    let turns = |model: &str| ask(model, &asked)["contents"].clone();
    let expected = json!([
        { "role": "user", "parts": [{ "text": "a" }] },
        { "role": "model", "parts": [
            { "functionCall": { "name": "f", "args": { "x": 1 } } },
            { "functionCall": { "name": "g", "args": {} } },
        ] },
        { "role": "user", "parts": [
            { "functionResponse": { "name": "f", "response": { "content": "plain" } } },
            { "functionResponse": { "name": "g", "response": { "y": 2 } } },
            { "text": "go on" },
        ] },
    ]);
    assert_eq!(turns(MODEL), expected);
    let third = turns(THIRD);
    assert_eq!(third[1]["parts"][0]["functionCall"]["id"], "1");
    assert_eq!(third[1]["parts"][0]["thoughtSignature"], "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=");
    // Of a parallel set only the first call is signed.
    assert_eq!(third[1]["parts"][1]["thoughtSignature"], json!(null));
    assert_eq!(third[2]["parts"][1]["functionResponse"]["id"], "2");
}

#[test]
fn a_failed_tool_says_so_and_its_images_follow() {
    let image =
        json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA" } });
    let asked = json!({ "max_tokens": 5, "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "1", "name": "f", "input": {} }] },
        { "role": "user", "content": [
            { "type": "text", "text": "t" },
            { "type": "tool_result", "tool_use_id": "1", "is_error": true, "content": [{ "type": "text", "text": "no" }, image] },
        ] },
    ] });
    let turn = |model: &str| {
        let policy = ParamPolicy::default();
        let body =
            request(Dialect::Anthropic, Dialect::Gemini, model, &policy, &asked).expect("is not refused");
        body["contents"][2]["parts"].clone()
    };
    let blob = json!({ "inlineData": { "mimeType": "image/png", "data": "AA" } });
    let result = json!({ "name": "f", "response": { "error": "no" } });
    assert_eq!(turn(MODEL), json!([{ "functionResponse": result }, blob, { "text": "t" }]));
    let result = json!({ "id": "1", "name": "f", "response": { "error": "no" }, "parts": [blob] });
    assert_eq!(turn(THIRD), json!([{ "functionResponse": result }, { "text": "t" }]));
}

#[test]
fn a_result_without_a_call_is_refused() {
    let asked = json!({ "messages": [{ "role": "tool", "tool_call_id": "x", "content": "r" }] });
    let refused = request(Dialect::OpenAi, Dialect::Gemini, MODEL, &dropping(), &asked);
    assert!(matches!(refused, Err(Refused::Invalid { param, .. }) if param == "messages[0].tool_call_id"));
}

#[test]
fn media_are_bytes_or_places() {
    let parts = json!([
        { "type": "image_url", "image_url": { "url": "data:image/webp;base64,AA", "detail": "low" } },
        { "type": "image_url", "image_url": { "url": "https://e.com/a.JPG?x=1", "detail": "high" } },
        { "type": "file", "file": { "file_data": "BB", "filename": "a.pdf" } },
        { "type": "file", "file": { "file_id": "gs://bucket/a.mp4" } },
        { "type": "input_audio", "input_audio": { "data": "CC", "format": "wav" } },
    ]);
    let asked = json!({ "messages": [{ "role": "user", "content": parts }] });
    let low = json!({ "inlineData": { "mimeType": "image/webp", "data": "AA" } });
    let high = json!({ "fileData": { "mimeType": "image/jpeg", "fileUri": "https://e.com/a.JPG?x=1" } });
    let rest = [
        json!({ "inlineData": { "mimeType": "application/pdf", "data": "BB" } }),
        json!({ "fileData": { "mimeType": "video/mp4", "fileUri": "gs://bucket/a.mp4" } }),
        json!({ "inlineData": { "mimeType": "audio/wav", "data": "CC" } }),
    ];
    let body = ask(MODEL, &asked);
    assert_eq!(body["contents"][0]["parts"], json!([low, high, rest[0], rest[1], rest[2]]));
    assert_eq!(body["generationConfig"], json!({ "mediaResolution": "MEDIA_RESOLUTION_HIGH" }));
    // From 3 on each part has its own.
    let body = ask(THIRD, &asked);
    assert_eq!(
        body["contents"][0]["parts"][0]["mediaResolution"],
        json!({ "level": "MEDIA_RESOLUTION_LOW" })
    );
    assert_eq!(body["generationConfig"], json!(null));
}

#[test]
fn what_google_cannot_be_told_is_refused_by_name() {
    let asked = json!({ "messages": [{ "role": "user", "name": "n", "content": [
        { "type": "file", "file": { "file_id": "file-abc" } }, { "type": "odd" },
    ] }], "logit_bias": { "1": 1 }, "user": "u", "safetySettings": [], "tools": [{ "type": "custom", "custom": {} }] });
    let names = [
        "messages[0].name",
        "messages[0].content[0].file_id",
        "messages[0].content[1]",
        "tools[0] (custom)",
        "logit_bias",
        "safetySettings",
    ];
    assert_eq!(refused(MODEL, &asked), names);
    let parallel = with(
        &json!({ "parallel_tool_calls": false, "tools": [{ "type": "function", "function": { "name": "f" } }] }),
    );
    assert_eq!(refused(MODEL, &parallel), ["parallel_tool_calls"]);
}

#[test]
fn googles_own_parameters_pass_where_the_policy_allows_them() {
    let mut policy = ParamPolicy::default();
    policy.allowed_openai_params = ["safetySettings", "tools"].map(Into::into).into_iter().collect();
    let settings = json!([{ "category": "C", "threshold": "OFF" }]);
    let asked = with(&json!({ "safetySettings": settings, "store": false, "metadata": { "a": "b" } }));
    let body = request(Dialect::OpenAi, Dialect::Gemini, MODEL, &policy, &asked).expect("is not refused");
    assert_eq!(body["safetySettings"], settings);
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(2));
}

#[test]
fn sampling_has_googles_names() {
    let asked = with(&json!({
        "temperature": 0.5, "top_p": 0.9, "top_k": 4, "max_completion_tokens": 7, "stop": ["x"], "n": 2, "seed": 3,
        "presence_penalty": 0.1, "frequency_penalty": 0.2, "logprobs": true, "top_logprobs": 4,
        "modalities": ["text", "image"], "service_tier": "flex",
    }));
    let expected = json!({
        "temperature": 0.5, "topP": 0.9, "topK": 4, "maxOutputTokens": 7, "candidateCount": 2, "stopSequences": ["x"],
        "seed": 3, "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseLogprobs": true, "logprobs": 4,
        "responseModalities": ["TEXT", "IMAGE"],
    });
    let body = ask(MODEL, &asked);
    assert_eq!(body["generationConfig"], expected);
    assert_eq!(body["serviceTier"], "flex");
    // The dearer tier is never ordered unasked.
    assert_eq!(ask(MODEL, &with(&json!({ "service_tier": "auto" })))["serviceTier"], json!(null));
}

#[test]
fn an_effort_is_a_budget_or_a_level() {
    let of = |model: &str, effort: &str| {
        ask(model, &with(&json!({ "reasoning_effort": effort })))["generationConfig"]["thinkingConfig"]
            .clone()
    };
    let budget = |budget: i64| json!({ "thinkingBudget": budget, "includeThoughts": budget != 0 });
    assert_eq!((of(MODEL, "low"), of(MODEL, "high")), (budget(1_024), budget(4_096)));
    assert_eq!((of(MODEL, "none"), of(OLD, "none")), (budget(0), json!(null)));
    assert_eq!(of(THIRD, "medium"), json!({ "thinkingLevel": "high", "includeThoughts": true }));
    assert_eq!(
        of("gemini-3-flash-preview", "medium"),
        json!({ "thinkingLevel": "medium", "includeThoughts": true })
    );
    for (model, effort) in [(THIRD, "none"), ("gemini-2.5-pro", "none"), (OLD, "low")] {
        assert_eq!(
            refused(model, &with(&json!({ "reasoning_effort": effort }))),
            ["reasoning_effort"],
            "{model}"
        );
    }
    let odd = request(
        Dialect::OpenAi,
        Dialect::Gemini,
        MODEL,
        &dropping(),
        &with(&json!({ "reasoning_effort": "loud" })),
    );
    assert!(matches!(odd, Err(Refused::Invalid { param, .. }) if param == "reasoning_effort"));
}

#[test]
fn anthropics_setting_is_a_budget() {
    let of = |model: &str, thinking: &Value| {
        let body = ask(model, &with(&json!({ "thinking": thinking })));
        body["generationConfig"]["thinkingConfig"].clone()
    };
    let enabled = json!({ "type": "enabled", "budget_tokens": 2048 });
    for model in [MODEL, THIRD] {
        assert_eq!(of(model, &enabled), json!({ "thinkingBudget": 2048, "includeThoughts": true }));
    }
    assert_eq!(
        of(MODEL, &json!({ "type": "disabled" })),
        json!({ "thinkingBudget": 0, "includeThoughts": false })
    );
    assert_eq!(
        of(MODEL, &json!({ "type": "adaptive" })),
        json!({ "thinkingBudget": -1, "includeThoughts": true })
    );
    assert_eq!(of(THIRD, &json!({ "type": "adaptive" })), json!({ "includeThoughts": true }));
}

#[test]
fn a_schema_is_in_the_subset_or_goes_where_it_may_be_any() {
    let tool =
        |schema: &Value| json!({ "type": "function", "function": { "name": "f", "parameters": schema } });
    let declared = |model: &str, schema: &Value| {
        ask(model, &with(&json!({ "tools": [tool(schema)] })))["tools"][0]["functionDeclarations"][0].clone()
    };
    let plain = json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] });
    assert_eq!(declared(MODEL, &plain), json!({ "name": "f", "parameters": plain }));
    let rich = json!({ "type": "object", "properties": { "a": { "type": ["string", "null"] } }, "additionalProperties": false });
    assert_eq!(declared(MODEL, &rich), json!({ "name": "f", "parametersJsonSchema": rich }));
    let subset = json!({ "type": "object", "properties": { "a": { "type": "string", "nullable": true } } });
    assert_eq!(declared(OLD, &rich), json!({ "name": "f", "parameters": subset }));
    // An object without properties is refused: there are no parameters then.
    assert_eq!(declared(MODEL, &json!({ "type": "object", "properties": {} })), json!({ "name": "f" }));
    let looped = json!({ "type": "object", "properties": { "a": { "$ref": "#" } } });
    let refused = request(
        Dialect::OpenAi,
        Dialect::Gemini,
        OLD,
        &dropping(),
        &with(&json!({ "tools": [tool(&looped)] })),
    );
    assert!(
        matches!(refused, Err(Refused::Invalid { param, .. }) if param == "tools[0].function.parameters")
    );
}

#[test]
fn a_schema_that_cannot_be_put_in_place_is_told_why() {
    let told = |schema: Value| {
        let tool = json!({ "type": "function", "function": { "name": "f", "parameters": schema } });
        let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema } });
        let places = [
            (json!({ "tools": [tool] }), "tools[0].function.parameters"),
            (json!({ "response_format": format }), "response_format.json_schema.schema"),
        ];
        let [one, other] = places.map(|(asked, place)| {
            let refused = request(Dialect::OpenAi, Dialect::Gemini, OLD, &dropping(), &with(&asked));
            let Err(Refused::Invalid { message, param }) = refused else {
                panic!("is not refused so: {refused:?}")
            };
            assert_eq!(param, place);
            message
        });
        assert_eq!(one, other);
        one
    };
    assert_eq!(
        told(json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/a%20b" } } })),
        "the schema's `$ref` \"#/$defs/a%20b\" points at nothing in it, and this model has to have what it refers to in place"
    );
    assert_eq!(
        told(
            json!({ "type": "object", "properties": { "a": { "allOf": [{ "type": "string" }, { "type": "array" }] } } })
        ),
        "the schema takes nothing: `type` of what has to hold together, as the parts of an `allOf`, has nothing in common"
    );
}

#[test]
fn a_form_has_its_media_type() {
    let of = |model: &str, format: &Value| {
        ask(model, &with(&json!({ "response_format": format })))["generationConfig"].clone()
    };
    let schema = json!({ "type": "object", "properties": { "a": { "const": "x" } } });
    let format =
        json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": schema, "strict": true } });
    assert_eq!(
        of(MODEL, &format),
        json!({ "responseMimeType": "application/json", "responseJsonSchema": schema })
    );
    let subset = json!({ "type": "object", "properties": { "a": { "type": "string", "enum": ["x"] } } });
    assert_eq!(of(OLD, &format), json!({ "responseMimeType": "application/json", "responseSchema": subset }));
    assert_eq!(
        of(MODEL, &json!({ "type": "json_object" })),
        json!({ "responseMimeType": "application/json" })
    );
    assert_eq!(of(MODEL, &json!({ "type": "text" })), json!(null));
}

#[test]
fn a_choice_of_tools_is_a_mode_and_a_search_is_googles() {
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let calling = |choice: &Value| {
        let body = ask(MODEL, &with(&json!({ "tools": tools, "tool_choice": choice })));
        body["toolConfig"]["functionCallingConfig"].clone()
    };
    assert_eq!(calling(&json!("auto")), json!({ "mode": "AUTO" }));
    assert_eq!(calling(&json!("none")), json!({ "mode": "NONE" }));
    assert_eq!(calling(&json!("required")), json!({ "mode": "ANY" }));
    let only = json!({ "type": "function", "function": { "name": "f" } });
    assert_eq!(calling(&only), json!({ "mode": "ANY", "allowedFunctionNames": ["f"] }));
    let body =
        ask(MODEL, &with(&json!({ "tools": tools, "web_search_options": { "search_context_size": "low" } })));
    assert_eq!(body["tools"], json!([{ "functionDeclarations": [{ "name": "f" }] }, { "googleSearch": {} }]));
    let domains =
        json!([{ "type": "web_search_20250305", "name": "web_search", "allowed_domains": ["e.com"] }]);
    let asked =
        json!({ "max_tokens": 5, "messages": [{ "role": "user", "content": "a" }], "tools": domains });
    let refused = request(Dialect::Anthropic, Dialect::Gemini, MODEL, &ParamPolicy::default(), &asked);
    assert_eq!(refused, Err(Refused::Unsupported(vec!["tools[0].allowed_domains".to_owned()])));
}

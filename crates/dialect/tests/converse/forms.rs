//! Forms of answers that Bedrock's models are asked for by way of a tool.

use serde_json::{Value, json};
use ziggurat_core::{Capabilities, Dialect, Feature, ParamPolicy};
use ziggurat_dialect::{
    Encoding, Event, FormEvents, FormTool, Refused, StreamDecoder, StreamEncoder, decode_request,
    decode_response, encode_request, encode_response,
};

#[test]
fn a_form_that_a_model_does_not_know_is_asked_for_by_way_of_a_tool() {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    let formed = |model: &str, format: &Value| {
        let asked = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }], "response_format": format });
        let json = asked.to_string();
        let mut request = decode_request(Dialect::OpenAi, &json).expect("reads");
        let policy = ParamPolicy::default();
        let encoding = Encoding::new(model, &policy);
        let tool = FormTool::ask(Dialect::Converse, &mut request, &encoding);
        let mut out = Vec::new();
        encode_request(Dialect::Converse, &request, &encoding, &mut out).expect("is not refused");
        let body: Value = serde_json::from_slice(&out).expect("is JSON");
        (tool, body)
    };
    let by_schema = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let nova = "amazon.nova-pro-v1:0";
    for (model, format, schema) in [
        (nova, &by_schema, schema.clone()),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", &by_schema, schema),
        (nova, &json!({ "type": "json_object" }), json!({ "type": "object", "additionalProperties": true })),
        (
            "anthropic.claude-opus-5",
            &json!({ "type": "json_object" }),
            json!({ "type": "object", "additionalProperties": true }),
        ),
    ] {
        let (tool, body) = formed(model, format);
        assert!(tool.is_some(), "{model}");
        let spec = &body["toolConfig"]["tools"][0]["toolSpec"];
        assert_eq!(
            (&spec["name"], &spec["inputSchema"]["json"]),
            (&json!("json_tool_call"), &schema),
            "{model}"
        );
        assert_eq!(
            body["toolConfig"]["toolChoice"],
            json!({ "tool": { "name": "json_tool_call" } }),
            "{model}"
        );
        assert_eq!(body["outputConfig"], json!(null), "{model}");
    }
    let (tool, body) = formed("anthropic.claude-sonnet-4-5-20250929-v1:0", &by_schema);
    assert_eq!((tool, &body["toolConfig"]), (None, &json!(null)));
    assert_eq!(body["outputConfig"]["textFormat"]["type"], "json_schema");

    // What Nova says before it answers is no part of the answer.
    let (tool, _) = formed(nova, &by_schema);
    let tool = tool.expect("is there");
    let use_of =
        |input: Value| json!({ "toolUse": { "toolUseId": "t", "name": "json_tool_call", "input": input } });
    let answer = json!({
        "output": { "message": { "role": "assistant", "content": [{ "text": "<thinking>" }, use_of(json!({ "n": 7 }))] } },
        "stopReason": "tool_use", "usage": { "inputTokens": 1, "outputTokens": 2, "totalTokens": 3 },
    });
    let json = answer.to_string();
    for (caller, at, end) in [
        (Dialect::OpenAi, "/choices/0/message/content", ("/choices/0/finish_reason", "stop")),
        (Dialect::Anthropic, "/content/0/text", ("/stop_reason", "end_turn")),
        (Dialect::Gemini, "/candidates/0/content/parts/0/text", ("/candidates/0/finishReason", "STOP")),
        (Dialect::Responses, "/output/0/content/0/text", ("/status", "completed")),
    ] {
        let mut response = decode_response(Dialect::Converse, &json).expect("reads");
        tool.unwrap_all(&mut response);
        let mut out = Vec::new();
        encode_response(caller, &response, 7, &mut out);
        let body: Value = serde_json::from_slice(&out).expect("is JSON");
        assert_eq!(body.pointer(at), Some(&json!("{\"n\":7}")), "{body}");
        assert_eq!(body.pointer(end.0), Some(&json!(end.1)), "{body}");
    }
    let events = [
        json!({ "messageStart": { "role": "assistant" } }),
        json!({ "contentBlockDelta": { "contentBlockIndex": 0, "delta": { "text": "<thinking>" } } }),
        json!({ "contentBlockStop": { "contentBlockIndex": 0 } }),
        json!({ "contentBlockStart": { "contentBlockIndex": 1, "start": { "toolUse": { "toolUseId": "t", "name": "json_tool_call" } } } }),
        json!({ "contentBlockDelta": { "contentBlockIndex": 1, "delta": { "toolUse": { "input": "{\"n\":" } } } }),
        json!({ "contentBlockDelta": { "contentBlockIndex": 1, "delta": { "toolUse": { "input": "7}" } } } }),
        json!({ "contentBlockStop": { "contentBlockIndex": 1 } }),
        json!({ "messageStop": { "stopReason": "tool_use" } }),
        json!({ "metadata": { "usage": { "inputTokens": 1, "outputTokens": 2 } } }),
    ];
    let events: Vec<_> = events.iter().map(Value::to_string).collect();
    for (caller, ended) in [
        (Dialect::OpenAi, "\"finish_reason\":\"stop\""),
        (Dialect::Anthropic, "\"stop_reason\":\"end_turn\""),
        (Dialect::Gemini, "\"finishReason\":\"STOP\""),
        (Dialect::Responses, "response.completed"),
    ] {
        let (mut decoder, mut encoder) =
            (StreamDecoder::new(Dialect::Converse), StreamEncoder::new(caller, 7, false));
        let (mut form, mut out) = (FormEvents::new(tool.clone()), Vec::new());
        for data in &events {
            let mut write =
                |event: Event<'_>| form.event(event.clone(), &mut |event| encoder.encode(&event, &mut out));
            decoder.decode(data, &mut write).expect("reads");
        }
        decoder.finish(&mut |event: Event<'_>| {
            form.event(event.clone(), &mut |event| encoder.encode(&event, &mut out))
        });
        let stream = String::from_utf8(out).expect("is UTF-8");
        assert!(stream.contains(ended), "{stream}");
        assert!(stream.contains("{\\\"n\\\":") && stream.contains("7}"), "{stream}");
        assert!(!stream.contains("thinking") && !stream.contains("json_tool_call"), "{stream}");
    }
}

#[test]
fn a_model_that_is_not_known_to_take_a_forced_tool_is_asked_by_none() {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    let by_schema = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let lacking = Capabilities::default().with(Feature::JsonSchema, false);
    let forced = lacking.with(Feature::ForcedTool, true);
    for (format, known, is_asked) in [
        (&json!({ "type": "json_object" }), Capabilities::default(), false),
        (&json!({ "type": "json_object" }), forced, true),
        (&by_schema, lacking, false),
        (&by_schema, forced, true),
    ] {
        let asked = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }], "response_format": format });
        let json = asked.to_string();
        let ask = |drops: bool| {
            let mut request = decode_request(Dialect::OpenAi, &json).expect("reads");
            let mut policy = ParamPolicy::default();
            policy.drop_params = drops;
            let encoding = Encoding::new("meta.llama3-1-70b-instruct-v1:0", &policy).capabilities(known);
            let tool = FormTool::ask(Dialect::Converse, &mut request, &encoding);
            assert_eq!(tool.is_some(), is_asked, "{format} {known:?}");
            let mut out = Vec::new();
            encode_request(Dialect::Converse, &request, &encoding, &mut out)?;
            Ok(serde_json::from_slice::<Value>(&out).expect("is JSON"))
        };
        if is_asked {
            let choice = &ask(false).expect("is not refused")["toolConfig"]["toolChoice"];
            assert_eq!(*choice, json!({ "tool": { "name": "json_tool_call" } }));
        } else {
            assert_eq!(ask(false), Err(Refused::Unsupported(vec!["response_format".to_owned()])));
            let body = ask(true).expect("drops it");
            assert_eq!((&body["toolConfig"], &body["outputConfig"]), (&json!(null), &json!(null)));
        }
    }
}

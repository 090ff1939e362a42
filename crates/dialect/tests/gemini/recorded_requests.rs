//! The recorded requests of Google's callers.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Encoding, decode_request, encode_request};
use ziggurat_testkit::Recording;

use crate::{
    common::{dropping, strict},
    recordings::{over, without_nulls},
};

fn has_request(recording: &Recording) -> bool {
    recording.request.as_ref().is_some_and(|request| request.body().starts_with(b"{"))
}

/// Recorded bodies that are no valid requests, as their answers say too.
const MALFORMED: &[(&str, &str)] =
    &[("vertex-generateContent-1819be4f12-00", "`contents[0].role`: unknown role \"invalid_role\"")];

#[test]
fn a_request_read_and_written_is_the_same() {
    over("requests", has_request, |recording| {
        let body = recording.request.as_ref().expect("has a request").body();
        let json = std::str::from_utf8(body).expect("is UTF-8");
        let request = match decode_request(Dialect::Gemini, json) {
            Ok(request) => request,
            Err(error) if MALFORMED.contains(&(&*recording.id, &*error.to_string())) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let (policy, mut out) = (ParamPolicy::default(), Vec::new());
        encode_request(Dialect::Gemini, &request, &Encoding::new("gemini-2.5-flash", &policy), &mut out)
            .map_err(|error| format!("{error:?}"))?;
        let written = strict(std::str::from_utf8(&out).expect("is UTF-8"));
        let expected = normal_request(serde_json::from_str(json).expect("is JSON"));
        match expected == normal_request(written.clone()) {
            true => Ok(()),
            false => Err(format!("\n  {expected}\n  {written}")),
        }
    });
}

/// What a request becomes that is read and written in Google's words:
/// - names are in camel case, but for those within schemas, arguments and results;
/// - a list of parts is a list, also where one part stood for it; a turn without a role is the user's, the operator's has none;
/// - functions stand in one entry of `tools`, ahead of the provider's own;
/// - what is empty or `null` is absent.
fn normal_request(mut request: Value) -> Value {
    camel(&mut request);
    if let Some(system) = request["systemInstruction"].as_object_mut() {
        system.remove("role");
        if system["parts"].is_object() {
            system["parts"] = json!([system["parts"]]);
        }
    }
    for content in request["contents"].as_array_mut().into_iter().flatten() {
        if content["role"].is_null() {
            content["role"] = "user".into();
        }
    }
    let tools = request["tools"].take();
    let (mut functions, mut others) = (Vec::new(), Vec::new());
    for tool in tools.as_array().into_iter().flatten().filter_map(Value::as_object) {
        for (name, value) in tool {
            match &**name {
                "functionDeclarations" => functions.extend(value.as_array().cloned().unwrap_or_default()),
                name => others.push(json!({ name: value })),
            }
        }
    }
    if !functions.is_empty() {
        others.insert(0, json!({ "functionDeclarations": functions }));
    }
    if !others.is_empty() {
        request["tools"] = others.into();
    }
    without_nulls(&mut request);
    let is_empty = |value: &Value| *value == json!({}) || *value == json!([]);
    request.as_object_mut().expect("is an object").retain(|_, value| !is_empty(value));
    request
}

const OPAQUE: &[&str] =
    &["args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"];

fn camel(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, mut value) in std::mem::take(members) {
                let mut words = name.split('_');
                let mut camel = words.next().unwrap_or_default().to_owned();
                words.for_each(|word| {
                    camel.push_str(&word[..1].to_uppercase());
                    camel.push_str(&word[1..]);
                });
                if !OPAQUE.contains(&&*camel) {
                    self::camel(&mut value);
                }
                members.insert(camel, value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(camel),
        _ => {}
    }
}

#[test]
fn a_request_crosses_to_the_other_dialects_or_is_refused_by_name() {
    over("requests crossed", has_request, |recording| {
        let body = recording.request.as_ref().expect("has a request").body();
        let json = std::str::from_utf8(body).expect("is UTF-8");
        let Ok(request) = decode_request(Dialect::Gemini, json) else { return Ok(()) };
        for (dialect, model) in [(Dialect::OpenAi, "gpt-4o"), (Dialect::Anthropic, "claude-sonnet-4-5")] {
            let (policy, mut out) = (dropping(), Vec::new());
            match encode_request(dialect, &request, &Encoding::new(model, &policy), &mut out) {
                Err(error) => println!("{}: {dialect:?}: {error}", recording.id),
                Ok(()) => {
                    let written = String::from_utf8(out).expect("is UTF-8");
                    strict(&written);
                    decode_request(dialect, &written).map_err(|error| format!("{error}: {written}"))?;
                }
            }
        }
        Ok(())
    });
}

//! What a request may not say: where it goes, with whose key, and to which other model.
//!
//! A body of the provider's own dialect passes byte for byte, with fields that nobody here knows. Some providers heed fields that choose
//! the model, the address or the key. Whoever may use some models only would get to others by them.

use std::borrow::Cow;

use ziggurat_core::{
    Call, Cause, Dialect, Field, Problem, Rejection,
    json::{Cursor, Fault, find_member},
};

use crate::options;

/// Refuses a call whose body has such a field, whoever makes it. Gives whether it has [`options`].
///
/// # Errors
/// A rejection that names the field.
pub(crate) fn check(call: &Call) -> Result<bool, Rejection> {
    if call.is_form() {
        // Its parts are judged as they come.
        return Ok(false);
    }
    let text = call.text();
    let mut found = None;
    let mut has_options = false;
    // The conversation is most of a body, and was walked when it was read.
    let messages = call.field(Field::Messages).map_or(0, str::len);
    let walked: Result<(), Fault> = Cursor::new(text).object(|key, cursor| {
        let name = name(key);
        if found.is_none() {
            found = refused(&name).or_else(|| refused_of(call.dialect(), &name, cursor));
        }
        has_options |= options::FIELDS.contains(&&*name);
        if name == Field::Messages.name() {
            cursor.skip(messages);
        }
        Ok(())
    });
    // It was well formed when the call was read.
    debug_assert!(walked.is_ok());
    match found {
        Some((message, name)) => Err(Problem::new(Cause::InvalidRequest, message).param(name).into()),
        None => Ok(has_options),
    }
}

/// Refuses a part of a form by its name, as [`check`] does a field. Options are the headers' there.
///
/// # Errors
/// A rejection that names the field.
pub(crate) fn part(name: &str) -> Result<(), Rejection> {
    let option = options::FIELDS.iter().find(|known| **known == fold(name));
    let found = match option {
        Some(option) => Some((format!("`{option}` is not taken from a form"), *option)),
        None => refused(name),
    };
    match found {
        Some((message, name)) => Err(Problem::new(Cause::InvalidRequest, message).param(name).into()),
        None => Ok(()),
    }
}

/// Refuses a call that names tags.
///
/// # Errors
/// A rejection that says so.
pub(crate) fn check_tags(call: &Call) -> Result<(), Rejection> {
    let metadata = call.field(Field::Metadata).unwrap_or_default();
    if find_member(metadata, &["tags"]).is_none() {
        return Ok(());
    }
    let message = "tags are for the key to say here, not for a request";
    Err(Problem::new(Cause::InvalidRequest, message).param("metadata.tags").into())
}

/// What is wrong with a field of one dialect's: what runs on when its caller has left, another model within a tool, and what of the operator's
/// account a provider would read for anybody.
fn refused_of(dialect: Dialect, name: &str, cursor: &Cursor<'_>) -> Option<(String, &'static str)> {
    let mut ahead = *cursor;
    match (dialect, name) {
        (Dialect::Responses, "background") => {
            let asked = ahead.value().is_ok_and(|value| value == "true");
            asked.then(|| {
                (
                    "responses in the background cannot be counted, and are not made here".to_owned(),
                    "background",
                )
            })
        }
        (Dialect::Responses, "tools") => {
            let named = holds(&mut ahead, 1, &|key, _| key == "model");
            named.then(|| {
                (
                    "the model of a tool is for the gateway's operator to say, not for a request".to_owned(),
                    "tools",
                )
            })
        }
        (Dialect::Gemini, "cachedContent" | "cached_content") => Some((
            "what is kept in the operator's account cannot be named in a request".to_owned(),
            "cachedContent",
        )),
        (Dialect::Gemini, "tools") => {
            let stores = |key: &str, _: &str| {
                matches!(
                    key,
                    "fileSearchStoreNames"
                        | "file_search_store_names"
                        | "vertexAiSearch"
                        | "vertex_ai_search"
                        | "vertexRagStore"
                        | "vertex_rag_store"
                )
            };
            let named = holds(&mut ahead, MAX_DEPTH, &stores);
            named.then(|| {
                ("what is kept in the operator's account cannot be named in a request".to_owned(), "tools")
            })
        }
        (Dialect::Gemini, "contents") => {
            let stored = |key: &str, value: &str| {
                matches!(key, "fileUri" | "file_uri")
                    && serde_json::from_str::<Cow<'_, str>>(value)
                        .is_ok_and(|uri| fold(uri.trim()).starts_with("gs:"))
            };
            let named = holds(&mut ahead, MAX_DEPTH, &stored);
            named.then(|| {
                ("a file in the operator's storage cannot be named in a request".to_owned(), "contents")
            })
        }
        _ => None,
    }
}

/// Whether an object within a value, so many levels down at most, has such a member.
fn holds(cursor: &mut Cursor<'_>, depth: usize, is_it: &dyn Fn(&str, &str) -> bool) -> bool {
    let mut found = false;
    let _walked: Result<(), Fault> = match cursor.peek() {
        b'[' => cursor.array(|_, cursor| {
            found |= holds(&mut cursor.clone(), depth, is_it);
            cursor.value().map(drop)
        }),
        b'{' => cursor.object(|key, cursor| {
            let inner = depth > 1 && holds(&mut cursor.clone(), depth - 1, is_it);
            let value = cursor.value()?;
            found |= inner || is_it(&name(key), value);
            Ok(())
        }),
        _ => Ok(()),
    };
    found
}

/// How deep the parts of a conversation are looked into: contents, their parts, results of functions and their parts.
const MAX_DEPTH: usize = 8;

/// What is wrong with a field of this name, if anything.
fn refused(name: &str) -> Option<(String, &'static str)> {
    let read = || READ.iter().chain(&options::FIELDS);
    if read().any(|known| *known == name) {
        return None;
    }
    let folded = fold(name);
    if let Some(known) = read().find(|known| **known == folded) {
        return Some((format!("a field differs from `{known}` in its case alone"), known));
    }
    if let Some(known) = REFUSED.iter().find(|known| **known == folded) {
        return Some((format!("`{known}` is for the gateway's operator to say, not for a request"), known));
    }
    let known = REFUSED_BEGINNINGS.iter().find(|known| folded.starts_with(**known))?;
    Some((
        format!("what begins with `{known}` is for the gateway's operator to say, not for a request"),
        known,
    ))
}

/// A key as it is meant, without its quotes.
fn name(key: &str) -> Cow<'_, str> {
    let plain = key.get(1..key.len().saturating_sub(1)).unwrap_or("");
    match plain.contains('\\') {
        true => serde_json::from_str(key).map_or(Cow::Borrowed(plain), Cow::Owned),
        false => Cow::Borrowed(plain),
    }
}

/// A name without regard to case, as some servers read names: `ſ` is an `s` to them, and the sign for kelvin a `k`.
fn fold(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    match name.bytes().all(is_plain) {
        true => Cow::Borrowed(name),
        false => name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect(),
    }
}

/// What rights, limits and budgets go by.
const READ: [&str; 18] = [
    "model",
    "messages",
    "system",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "user",
    "metadata",
    "service_tier",
    "tools",
    "functions",
    "thinking",
    "reasoning_effort",
    "input",
    "prompt",
];

/// Addresses, keys and headers, as LiteLLM and servers like it read them; other models, as LiteLLM, OpenRouter and Vercel's gateway
/// read them (`plugins` and `preset` may name some too); where vLLM fetches what it has computed elsewhere.
const REFUSED: [&str; 32] = [
    "api_base",
    "base_url",
    "api_key",
    "api_version",
    "api_type",
    "custom_llm_provider",
    "organization",
    "extra_headers",
    "headers",
    "extra_body",
    "extra_query",
    "user_config",
    "model_list",
    "model_info",
    "litellm_params",
    "litellm_credential_name",
    "tenant_id",
    "client_id",
    "client_secret",
    "models",
    "route",
    "preset",
    "plugins",
    "provideroptions",
    "provider_options",
    "fallback_models",
    "default_fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "deployment_id",
    "specific_deployment",
    "kv_transfer_params",
];

/// Whole families of them.
const REFUSED_BEGINNINGS: [&str; 7] = ["aws_", "azure_", "gcp_", "vertex_", "watsonx_", "langfuse_", "mock_"];

#[cfg(test)]
mod tests {
    use http::Request;
    use ziggurat_core::{Body, Limits};

    use super::*;

    async fn said(field: &str) -> Option<(String, Option<String>)> {
        let body = format!(
            r#"{{"model":"m",{field}"messages":[{{"role":"user","content":"api_base"}}],"top_k":1}}"#
        );
        let request = Request::post("/v1/chat/completions").body(Body::from(body)).expect("is one");
        let (_, call) = Call::read(request, &Limits::default()).await.expect("is read");
        check(&call).err().map(|rejection| {
            let problem = rejection.problem();
            (problem.message.to_string(), problem.param.as_ref().map(ToString::to_string))
        })
    }

    #[tokio::test]
    async fn fields_are_refused_by_name_however_they_are_written() {
        for name in REFUSED {
            for written in
                [name.to_owned(), name.to_uppercase(), format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..])]
            {
                let message = format!("`{name}` is for the gateway's operator to say, not for a request");
                let expected = Some((message, Some(name.to_owned())));
                assert_eq!(said(&format!("\"{written}\":null,")).await, expected, "{written}");
            }
        }
        for name in READ {
            let mut other = name.to_owned();
            other[..1].make_ascii_uppercase();
            let message = format!("a field differs from `{name}` in its case alone");
            assert_eq!(said(&format!("\"{other}\":1,")).await, Some((message, Some(name.to_owned()))));
        }
        for written in ["mESSAGES", "me\u{17f}\u{17f}ages", "\\u004dessages"] {
            assert!(said(&format!("\"{written}\":[],")).await.is_some(), "{written}");
        }
        for begins in REFUSED_BEGINNINGS {
            let (_, param) = said(&format!("\"{begins}x\":1,")).await.expect("is refused");
            assert_eq!(param.as_deref(), Some(begins));
        }
    }

    #[test]
    fn parts_of_forms_are_refused_by_name() {
        let said = |name: &str| part(name).err().map(|it| it.problem().message.clone());
        for fine in ["model", "file", "image[]", "timestamp_granularities[]", "language", "x-unknown"] {
            assert_eq!(said(fine), None, "{fine}");
        }
        for (name, message) in [
            ("API_base", "`api_base` is for the gateway's operator to say, not for a request"),
            ("aws_region", "what begins with `aws_` is for the gateway's operator to say, not for a request"),
            ("Prompt", "a field differs from `prompt` in its case alone"),
            ("fallbacks", "`fallbacks` is not taken from a form"),
            ("Timeout", "`timeout` is not taken from a form"),
        ] {
            assert_eq!(said(name).as_deref(), Some(message));
        }
    }

    #[tokio::test]
    async fn what_a_provider_may_be_told_passes() {
        for field in [
            "",
            r#""provider":{"order":["a"]},"#,
            r#""transforms":[],"#,
            r#""modelx":1,"#,
            r#""metadata":{"models":[]},"#,
        ] {
            assert_eq!(said(field).await, None, "{field}");
        }
    }

    #[tokio::test]
    async fn what_dialects_have_of_their_own_is_looked_into() {
        async fn said(path: &str, field: &str) -> Option<String> {
            let body = format!(r#"{{"model":"m",{field}"input":"x"}}"#);
            let request = Request::post(path).body(Body::from(body)).expect("is one");
            let (_, call) = Call::read(request, &Limits::default()).await.expect("is read");
            check(&call).err().and_then(|rejection| Some(rejection.problem().param.as_ref()?.to_string()))
        }
        let responses = "/v1/responses";
        for (field, param) in [
            (r#""background":true,"#, Some("background")),
            (r#""background":false,"previous_response_id":"r","#, None),
            (r#""tools":[{"type":"image_generation","model":"gpt-image-1"}],"#, Some("tools")),
            (r#""tools":[{"type":"function","name":"f","parameters":{"properties":{"model":{}}}}],"#, None),
        ] {
            assert_eq!(said(responses, field).await.as_deref(), param, "{field}");
        }
        let google = "/v1beta/models/m:generateContent";
        for (field, param) in [
            (r#""cachedContent":"c","#, Some("cachedContent")),
            (r#""tools":[{"file_search":{"fileSearchStoreNames":["s"]}}],"#, Some("tools")),
            (r#""tools":[{"googleSearch":{}}],"#, None),
            (r#""contents":[{"parts":[{"text":"gs://x"},{"fileData":{"fileUri":"https://x"}}]}],"#, None),
            (r#""contents":[{"parts":[{"file_data":{"file_uri":"\u0067S://x"}}]}],"#, Some("contents")),
            (r#""contents":{"parts":{"fileData":{"fileUri":" gs://x"}}},"#, Some("contents")),
        ] {
            assert_eq!(said(google, field).await.as_deref(), param, "{field}");
        }
        assert_eq!(
            said("/v1/chat/completions", r#""background":true,"messages":[{"role":"user","content":"x"}],"#)
                .await,
            None
        );
    }
}

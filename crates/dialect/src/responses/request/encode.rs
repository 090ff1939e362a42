//! Writing a Responses request.

mod conversation;
mod params;
mod tools;

use ziggurat_core::Dialect;

use crate::{
    Encoding, Format, Refused, Request,
    anthropic::thinking_effort,
    encode::{Verdicts, check_results},
    gemini::plain_schema,
    read::Extra,
    write::{Object, object},
};

/// Writes a request for a provider of Responses.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    if request.dialect != Dialect::Responses {
        check_results(request)?;
    }
    let mut verdicts = Verdicts::new(encoding.policy);
    object(out, |body| {
        body.str("model", encoding.model);
        conversation::write_conversation(body, request, &mut verdicts);
        body.number_if("max_output_tokens", request.max_output_tokens);
        body.raw_if("temperature", request.temperature);
        body.raw_if("top_p", request.top_p);
        tools::write_tools(body, request, &mut verdicts);
        write_text(body, request, &mut verdicts);
        write_reasoning(body, request, encoding);
        if let Some(stream) = request.stream {
            body.bool("stream", stream);
        }
        body.text_if("user", request.user.as_ref());
        params::write_params(body, request, &mut verdicts);
    });
    verdicts.finish()
}

/// Writes the form of the answer's text.
fn write_text(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let own = request.dialect == Dialect::Responses;
    let mut inner = Extra::new();
    match own {
        true => inner = params::inner(request, super::decode::TEXT),
        false if request.dialect == Dialect::OpenAi => {
            let verbosity =
                request.params.iter().filter(|(name, raw)| name == "verbosity" && raw.get() != "null");
            inner.extend(verbosity.cloned());
        }
        false => {}
    }
    if request.format.is_none() && inner.is_empty() {
        return;
    }
    body.object("text", |text| {
        write_format(text, request, verdicts);
        text.extra(&inner, &[]);
    });
}

fn write_format(text: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let simple = |text: &mut Object<'_>, kind| text.object("format", |format| format.str("type", kind));
    match &request.format {
        None => {}
        Some(Format::Text) => simple(text, "text"),
        Some(Format::JsonObject) => simple(text, "json_object"),
        Some(Format::JsonSchema { name, description, schema, strict }) => text.object("format", |format| {
            format.str("type", "json_schema");
            format.text("name", name.as_ref().unwrap_or(&"structured_output".into()));
            format.text_if("description", description.as_ref());
            if let Some(schema) = schema {
                format.json("schema", &plain_schema(request.dialect, schema));
            }
            if let Some(strict) = strict {
                format.bool("strict", *strict);
            }
        }),
        Some(Format::Native { dialect: Dialect::Responses, raw }) => text.json("format", raw.get()),
        Some(Format::Native { dialect, .. }) => verdicts.impossible(match dialect {
            Dialect::Anthropic => "output_format",
            _ => "response_format",
        }),
    }
}

fn write_reasoning(body: &mut Object<'_>, request: &Request<'_>, encoding: &Encoding<'_>) {
    let own = request.dialect == Dialect::Responses;
    let effort = request.reasoning.as_ref().and_then(|reasoning| match &reasoning.effort {
        Some(effort) => Some(effort.clone()),
        None => reasoning.thinking.and_then(thinking_effort).map(|effort| encoding.nearest(effort).into()),
    });
    let inner = if own { params::inner(request, super::decode::REASONING) } else { Extra::new() };
    if effort.is_none() && inner.is_empty() {
        return;
    }
    body.object("reasoning", |reasoning| {
        reasoning.text_if("effort", effort.as_ref());
        reasoning.extra(&inner, &[]);
    });
}

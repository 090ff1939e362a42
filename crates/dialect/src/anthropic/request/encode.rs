//! Writing a Messages request.

mod conversation;
mod thinking;
mod tools;

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

pub(crate) use self::thinking::{Thinking, cannot_think_on, closed, thinking_effort};
use self::{
    conversation::{write_conversation, write_own_conversation},
    tools::write_tools,
};
use super::super::models::Facts;
use crate::{
    Encoding, Refused, Request, Role,
    encode::{Verdict, Verdicts, check_results},
    gemini::{Standing, standing},
    openai::OPENAI_ONLY,
    write::{Object, object},
};

/// Writes a request for a provider of Anthropic's dialect.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let own = request.dialect == Dialect::Anthropic;
    if !own {
        check_results(request)?;
    }
    let facts = Facts::of(&encoding.capabilities);
    let mut verdicts = Verdicts::new(encoding.policy);
    let thinking = Thinking::of(request, &facts, &mut verdicts)?;
    object(out, |body| {
        body.str("model", encoding.model);
        match own {
            true => write_own_conversation(body, request),
            false => write_conversation(body, request, &facts, &mut verdicts),
        }
        body.number_if("max_tokens", thinking.max_tokens);
        write_sampling(body, request, !own && thinking.is_sent(), &mut verdicts);
        write_tools(body, request, &mut verdicts);
        let has_output = thinking.write(body, request, &mut verdicts);
        let has_metadata = write_metadata(body, request);
        if let Some(stream) = request.stream {
            body.bool("stream", stream);
        }
        write_params(body, request, has_output, has_metadata, &mut verdicts);
    });
    verdicts.finish()
}

/// Writes how to sample. Anthropic's models that think take no temperature but 1, no `top_k` and no `top_p` below 0.95 (its guide to extended
/// thinking, feature compatibility): beside thinking, `thinks`, it is these that lose.
fn write_sampling(body: &mut Object<'_>, request: &Request<'_>, thinks: bool, verdicts: &mut Verdicts<'_>) {
    let number = |raw: &RawValue| raw.get().parse::<f64>().ok();
    let below = |raw: &RawValue, least: f64| number(raw).is_some_and(|number| number < least);
    let mut passes =
        |name: &str, clashes: bool| !(thinks && clashes) || verdicts.unsupported(name) == Verdict::Pass;
    if let Some(raw) = request.temperature
        && passes("temperature", below(raw, 1.0))
    {
        // OpenAI's range ends at 2, Anthropic's at 1.
        let above = request.dialect != Dialect::Anthropic && number(raw).is_some_and(|number| number > 1.0);
        body.json("temperature", if above { "1" } else { raw.get() });
    }
    body.raw_if("top_p", request.top_p.filter(|raw| passes("top_p", below(raw, 0.95))));
    body.raw_if("top_k", request.top_k.filter(|_| passes("top_k", true)));
    if !request.stop.is_empty() {
        body.array("stop_sequences", |list| request.stop.iter().for_each(|stop| list.text(stop)));
    }
}

/// Writes the end user and what else stood beside it; whether there was anything.
fn write_metadata(body: &mut Object<'_>, request: &Request<'_>) -> bool {
    let own = request.dialect == Dialect::Anthropic;
    let rest =
        || request.params.iter().filter_map(|(name, raw)| Some((name.strip_prefix("metadata.")?, raw)));
    let any = request.user.is_some() || (own && rest().next().is_some());
    if any {
        body.object("metadata", |metadata| {
            metadata.text_if("user_id", request.user.as_ref());
            rest().filter(|_| own).for_each(|(name, raw)| metadata.json(name, raw.get()));
        });
    }
    any
}

fn write_params(
    body: &mut Object<'_>,
    request: &Request<'_>,
    has_output: bool,
    has_metadata: bool,
    verdicts: &mut Verdicts<'_>,
) {
    let own = request.dialect == Dialect::Anthropic;
    let is_written = |name: &str| match name {
        "model" | "messages" | "max_tokens" => true,
        "system" => request.messages.iter().any(|m| matches!(m.role, Role::System | Role::Developer)),
        "stop_sequences" => !request.stop.is_empty(),
        "tools" | "tool_choice" | "temperature" | "top_p" | "top_k" | "thinking" | "stream" => true,
        "output_config" => has_output,
        "metadata" => has_metadata,
        _ => false,
    };
    let mut passed = Vec::new();
    for (name, raw) in &request.params {
        let json = raw.get();
        let supported = match &**name {
            // Read by the layers in front, and nobody else's; or a stream's, which is made here.
            "metadata" | "stream_options" if !own => continue,
            name if is_inner(name) || is_written(name) => false,
            _ if own => true,
            // OpenAI's own, with a value that says what Anthropic does anyway.
            "frequency_penalty" | "presence_penalty" if json.parse() == Ok(0.0) => continue,
            "logprobs" | "store" if json == "false" => continue,
            "logit_bias" if json == "{}" => continue,
            "modalities" if json == r#"["text"]"# => continue,
            _ if json == "null" => continue,
            name => match standing(request.dialect, name) {
                Standing::Restated => continue,
                Standing::Own => false,
                Standing::Common => !OPENAI_ONLY.contains(&name),
            },
        };
        let passes = supported
            || (!(own && is_inner(name)) && verdicts.unsupported(name) == Verdict::Pass && !is_written(name));
        if passes {
            passed.push((name.clone(), *raw));
        }
    }
    body.extra(&passed, &[]);
    if request.n.is_some_and(|n| n > 1) && verdicts.unsupported("n") == Verdict::Pass {
        body.number_if("n", request.n);
    }
}

/// Whether a parameter stood within one that is written on its own.
fn is_inner(name: &str) -> bool {
    name.starts_with("output_config.") || name.starts_with("metadata.")
}

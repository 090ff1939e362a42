//! Writing a Chat Completions request.

mod foreign;
mod own;
mod parts;
mod thoughts;
mod tools;

use ziggurat_core::{Dialect, Feature};

pub(in crate::openai) use self::parts::{THOUGHT_PART, is_call, write_call, write_joined, write_part};
pub(crate) use self::{
    parts::{is_thought_part, write_url},
    thoughts::is_told,
};
use super::decode::WireStreamOptions;
use crate::{
    Encoding, Format, Reasoning, Refused, Request,
    anthropic::{ANTHROPIC_ONLY, thinking_effort},
    encode::{Verdict, Verdicts, check_results},
    gemini::{Standing, plain_schema, standing},
    read::document,
    write::{Object, object},
};

/// Writes a request for a provider of the OpenAI dialect.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let own = request.dialect == Dialect::OpenAi;
    if !own {
        check_results(request)?;
    }
    let mut verdicts = Verdicts::new(encoding.policy);
    object(out, |body| {
        body.str("model", encoding.model);
        body.array("messages", |list| match own {
            true => request.messages.iter().for_each(|message| own::write_message(list, message)),
            false => foreign::write_messages(list, request, encoding.thoughts, &mut verdicts),
        });
        write_sampling(body, request, encoding);
        tools::write_tools(body, request, &mut verdicts);
        write_format(body, request.dialect, request.format.as_ref(), &mut verdicts);
        write_reasoning(body, request.reasoning.as_ref(), own, encoding);
        body.text_if("user", request.user.as_ref());
        if let Some(stream) = request.stream {
            body.bool("stream", stream);
        }
        write_stream_options(body, request);
        write_params(body, request, own, &mut verdicts);
    });
    verdicts.finish()
}

fn write_sampling(body: &mut Object<'_>, request: &Request<'_>, encoding: &Encoding<'_>) {
    if let Some(cap) = request.max_output_tokens {
        let is_newer = encoding.capabilities.takes(Feature::MaxCompletionTokens) == Some(true);
        body.number(if is_newer { "max_completion_tokens" } else { "max_tokens" }, cap);
    }
    body.raw_if("temperature", request.temperature);
    body.raw_if("top_p", request.top_p);
    if !request.stop.is_empty() {
        body.array("stop", |list| request.stop.iter().for_each(|stop| list.text(stop)));
    }
    body.number_if("n", request.n);
}

/// Writes how a stream is to end, as asked here, and what else the caller said of it.
fn write_stream_options(body: &mut Object<'_>, request: &Request<'_>) {
    let given = request.params.iter().rfind(|(name, _)| name == STREAM_OPTIONS);
    if request.include_usage.is_none() && given.is_none() {
        return;
    }
    let given: WireStreamOptions<'_> =
        given.and_then(|(_, raw)| document(raw.get()).ok()).unwrap_or_default();
    body.object(STREAM_OPTIONS, |options| {
        if let Some(include) = request.include_usage {
            options.bool("include_usage", include);
        }
        options.extra(&given.extra, &[]);
    });
}

const STREAM_OPTIONS: &str = "stream_options";

fn write_params(body: &mut Object<'_>, request: &Request<'_>, own: bool, verdicts: &mut Verdicts<'_>) {
    let mut passed = Vec::new();
    for (name, raw) in &request.params {
        let unsupported = match &**name {
            STREAM_OPTIONS => continue,
            _ if own => false,
            // Anthropic's tiers; its `auto` is OpenAI's default.
            "service_tier" if raw.get() == r#""standard_only""# => {
                body.str("service_tier", "default");
                continue;
            }
            _ if raw.get() == "null" => continue,
            name if standing(request.dialect, name) == Standing::Restated => continue,
            name => {
                standing(request.dialect, name) == Standing::Own
                    || ANTHROPIC_ONLY.contains(&name)
                    || WRITTEN.contains(&name)
                    || ["metadata.", "output_config."].iter().any(|prefix| name.starts_with(prefix))
            }
        };
        let passes = !unsupported || verdicts.unsupported(name) == Verdict::Pass;
        if passes && (own || !WRITTEN.contains(&&**name)) {
            passed.push((name.clone(), *raw));
        }
    }
    // Not OpenAI's, yet common among its relatives: by policy, like any other that the target may not take.
    if let Some(top_k) = request.top_k
        && (own || verdicts.unsupported("top_k") == Verdict::Pass)
    {
        body.json("top_k", top_k.get());
    }
    body.extra(&passed, &[]);
}

/// Parameters of OpenAI's that are made of what an Anthropic caller says in other words: a caller who uses both says them twice.
const WRITTEN: &[&str] = &[
    "max_completion_tokens",
    "n",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "stop",
    "user",
    "web_search_options",
];

fn write_reasoning(
    body: &mut Object<'_>,
    reasoning: Option<&Reasoning<'_>>,
    own: bool,
    encoding: &Encoding<'_>,
) {
    let Some(reasoning) = reasoning else { return };
    if own {
        body.text_if("reasoning_effort", reasoning.effort.as_ref());
        return body.raw_if("thinking", reasoning.thinking);
    }
    match (&reasoning.effort, reasoning.thinking.and_then(thinking_effort)) {
        (Some(effort), _) => body.text("reasoning_effort", effort),
        (None, Some(effort)) => body.str("reasoning_effort", encoding.nearest(effort)),
        (None, None) => {}
    }
}

fn write_format(
    body: &mut Object<'_>,
    dialect: Dialect,
    format: Option<&Format<'_>>,
    verdicts: &mut Verdicts<'_>,
) {
    match format {
        None => {}
        Some(Format::Text) => body.object("response_format", |format| format.str("type", "text")),
        Some(Format::JsonObject) => {
            body.object("response_format", |format| format.str("type", "json_object"))
        }
        Some(Format::JsonSchema { name, description, schema, strict }) => {
            body.object("response_format", |format| {
                format.str("type", "json_schema");
                format.object("json_schema", |json| {
                    json.text("name", name.as_ref().unwrap_or(&"structured_output".into()));
                    json.text_if("description", description.as_ref());
                    if let Some(schema) = schema {
                        json.json("schema", &plain_schema(dialect, schema));
                    }
                    if let Some(strict) = strict {
                        json.bool("strict", *strict);
                    }
                });
            });
        }
        Some(Format::Native { dialect: Dialect::OpenAi, raw }) => body.json("response_format", raw.get()),
        Some(Format::Native { .. }) => verdicts.impossible("output_format"),
    }
}

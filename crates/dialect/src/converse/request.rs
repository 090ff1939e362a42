//! Requests of Converse.

mod conversation;
mod fields;
mod media;
mod tools;

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Feature};

use self::{
    conversation::write_conversation,
    fields::{write_params, write_tier},
    tools::write_tools,
};
use crate::{
    Encoding, Format, Refused, Request,
    anthropic::{Facts, Thinking, closed},
    encode::{Verdict, Verdicts, check_results},
    gemini::plain_schema,
    write::{Object, object},
};

/// Whose model it is, as far as it matters: by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Claude,
    Nova,
    /// Amazon's Nova of the second generation, which thinks.
    Nova2,
    /// OpenAI's open models.
    GptOss,
    Other,
    /// Behind a name that the operator gave.
    Unnamed,
}

/// Whether a model is Claude, by its name or that of an inference profile; an ARN of a profile of the operator's own does not say.
#[must_use]
pub fn is_claude(model: &str) -> bool {
    Family::of(model) == Family::Claude
}

/// Writes a request. The model's name and whether to stream stand in the URL.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    check_results(request)?;
    let family = Family::of(encoding.model);
    let mut verdicts = Verdicts::new(encoding.policy);
    let thinking = match family {
        Family::Claude => Some(Thinking::of(request, &Facts::of(&encoding.capabilities), &mut verdicts)?),
        _ => None,
    };
    object(out, |body| {
        write_conversation(body, request, family, &mut verdicts);
        write_inference(body, request, thinking.as_ref(), &mut verdicts);
        write_tools(body, request, family, &mut verdicts);
        let has_format = write_format(body, request, encoding, &mut verdicts);
        let has_tier = write_tier(body, request);
        write_params(body, request, family, thinking.as_ref(), (has_format, has_tier), &mut verdicts);
    });
    verdicts.finish()
}

/// Writes how to sample. Claude takes no temperature above 1 and, beside thinking, neither one below it nor a `top_p` below 0.95, as where
/// Anthropic serves it.
fn write_inference(
    body: &mut Object<'_>,
    request: &Request<'_>,
    thinking: Option<&Thinking<'_, '_>>,
    verdicts: &mut Verdicts<'_>,
) {
    let own = request.dialect == Dialect::Anthropic;
    let number = |raw: &RawValue| raw.get().parse::<f64>().ok();
    let thinks = !own && thinking.is_some_and(Thinking::is_sent);
    let mut passes = |name: &str, raw: &RawValue, least: f64| {
        let clashes = thinks && number(raw).is_some_and(|number| number < least);
        !clashes || verdicts.unsupported(name) == Verdict::Pass
    };
    body.object("inferenceConfig", |config| {
        let cap = request.max_output_tokens.or(thinking.and_then(Thinking::budget_cap));
        config.number_if("maxTokens", cap);
        if let Some(raw) = request.temperature.filter(|raw| passes("temperature", raw, 1.0)) {
            let above = thinking.is_some() && !own && number(raw).is_some_and(|number| number > 1.0);
            config.json("temperature", if above { "1" } else { raw.get() });
        }
        config.raw_if("topP", request.top_p.filter(|raw| passes("top_p", raw, 0.95)));
        if !request.stop.is_empty() {
            config.array("stopSequences", |list| request.stop.iter().for_each(|stop| list.text(stop)));
        }
    });
}

/// Writes the form of the answer; whether there is one. Here a schema is JSON in a string.
fn write_format(
    body: &mut Object<'_>,
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    verdicts: &mut Verdicts<'_>,
) -> bool {
    let takes_schema = encoding.capabilities.takes(Feature::JsonSchema) != Some(false);
    match &request.format {
        None | Some(Format::Text) => false,
        Some(Format::JsonSchema { name, description, schema: Some(schema), .. }) if takes_schema => {
            let schema = plain_schema(request.dialect, schema);
            let schema = if Family::of(encoding.model) == Family::Claude { closed(&schema) } else { schema };
            body.object("outputConfig", |config| {
                config.object("textFormat", |format| {
                    format.str("type", "json_schema");
                    format.object("structure", |structure| {
                        structure.object("jsonSchema", |json| {
                            json.str("schema", &schema);
                            json.text_if("name", name.as_ref());
                            json.text_if("description", description.as_ref());
                        });
                    });
                });
            });
            true
        }
        // Converse has no way to ask for just any JSON, which a schema that is not there asks for too.
        Some(Format::JsonObject | Format::JsonSchema { .. }) => {
            verdicts.unsupported("response_format");
            false
        }
        Some(Format::Native { .. }) => {
            verdicts.impossible("output_format");
            false
        }
    }
}

// ===== impl Family =====

impl Family {
    /// By the name of a model or of an inference profile. An ARN of a profile of the operator's own says nothing.
    fn of(model: &str) -> Self {
        let is = |part: &str| model.contains(part);
        match () {
            () if is("anthropic.") || is("claude") => Self::Claude,
            () if is("amazon.nova-2") => Self::Nova2,
            () if is("amazon.nova") => Self::Nova,
            () if is("openai.gpt-oss") => Self::GptOss,
            () if is("arn:") => Self::Unnamed,
            () => Self::Other,
        }
    }

    /// Whether it takes cache hints (the user guide's "Prompt caching", supported models): others refuse a request that holds one, and without
    /// it they answer the same.
    const fn caches(self) -> bool {
        !matches!(self, Self::GptOss | Self::Other)
    }
}

//! How to answer: sampling, thinking, the form.

use ziggurat_core::{Dialect, Effort, ThinkingForm};

use super::super::{
    super::{
        models::Facts,
        schema::{self, Copies},
    },
    decode::{COMMON, GENERATION, RESPONSE_SCHEMA},
};
use crate::{
    BlockKind, Format, Request, Text,
    encode::{Verdict, Verdicts},
    read::{Count, Extra, document, stated, wire_object},
    write::{Object, object},
};

wire_object! {
    struct WireThinking { kind: Text<'a> = "type", budget_tokens: Count = "budget_tokens", }
}

pub(super) fn write_generation(
    body: &mut Object<'_>,
    request: &Request<'_>,
    facts: Facts,
    copies: &mut Copies,
    verdicts: &mut Verdicts<'_>,
) {
    let own = request.dialect == Dialect::Gemini;
    let mut config = Vec::new();
    object(&mut config, |config| {
        config.raw_if("temperature", request.temperature);
        config.raw_if("topP", request.top_p);
        config.raw_if("topK", request.top_k);
        config.number_if("maxOutputTokens", request.max_output_tokens);
        config.number_if("candidateCount", request.n);
        if !request.stop.is_empty() {
            config.array("stopSequences", |list| request.stop.iter().for_each(|stop| list.text(stop)));
        }
        write_format(config, request, facts, copies, verdicts);
        for (google, openai) in COMMON {
            let given = request.params.iter().rfind(|(name, raw)| name == openai && raw.get() != "null");
            config.raw_if(google, given.map(|(_, raw)| *raw));
        }
        if own {
            return config.extra(&inner(&request.params, GENERATION), &[]);
        }
        write_thinking(config, request, facts, verdicts);
        write_modalities(config, request, verdicts);
        if !facts.is_third() {
            write_resolution(config, request);
        }
    });
    if let Ok(json) = std::str::from_utf8(&config)
        && json != "{}"
    {
        body.json("generationConfig", json);
    }
}

/// The members that stood in an inner object; `null` is a mark of ours.
pub(super) fn inner<'a>(params: &Extra<'a>, prefix: &str) -> Extra<'a> {
    let members = params.iter().filter(|(_, raw)| raw.get() != "null");
    members.filter_map(|(name, raw)| Some((name.strip_prefix(prefix)?.to_owned().into(), *raw))).collect()
}

const JSON: &str = "application/json";

fn write_format(
    config: &mut Object<'_>,
    request: &Request<'_>,
    facts: Facts,
    copies: &mut Copies,
    verdicts: &mut Verdicts<'_>,
) {
    let own = request.dialect == Dialect::Gemini;
    match &request.format {
        None => {}
        Some(Format::Text) if own => config.str("responseMimeType", "text/plain"),
        Some(Format::Text) => {}
        Some(Format::JsonObject | Format::JsonSchema { schema: None, .. }) => {
            config.str("responseMimeType", JSON)
        }
        Some(Format::JsonSchema { schema: Some(schema), .. }) => {
            config.str("responseMimeType", JSON);
            let is_subset = own && request.params.iter().any(|(name, _)| name == RESPONSE_SCHEMA);
            match is_subset {
                true => config.json("responseSchema", schema.get()),
                false if own || facts.takes_json_schema() => config.json("responseJsonSchema", schema.get()),
                false => match schema::subset(schema, copies) {
                    Ok(schema) => config.json("responseSchema", &schema.to_string()),
                    Err(unfit) => verdicts.invalid(unfit.to_string(), "response_format.json_schema.schema"),
                },
            }
        }
        Some(Format::Native { .. }) => drop(verdicts.unsupported("response_format")),
    }
}

/// How much to think, in numbers.
enum Amount {
    Effort(Effort),
    Budget(u64),
    /// As much as it likes.
    Adaptive,
    Off,
}

/// Writes how much to think. A budget is what every thinking model takes; from 3 on an effort is a level.
fn write_thinking(config: &mut Object<'_>, request: &Request<'_>, facts: Facts, verdicts: &mut Verdicts<'_>) {
    let Some(reasoning) = &request.reasoning else { return };
    let effort = reasoning.effort.as_ref().map(Text::decode);
    let thinking = reasoning.thinking.map(|raw| document::<WireThinking<'_>>(raw.get()).unwrap_or_default());
    let kind = thinking.as_ref().and_then(|thinking| thinking.kind.as_ref().map(Text::decode));
    let budget = thinking.as_ref().and_then(|thinking| stated(thinking.budget_tokens));
    let effort_name = match request.dialect {
        Dialect::Anthropic => "output_config.effort",
        _ => "reasoning_effort",
    };
    let (name, amount) = match (kind.as_deref(), budget, effort.as_deref()) {
        (Some("enabled"), Some(budget), _) => ("thinking", Amount::Budget(budget)),
        (Some("disabled"), ..) => ("thinking", Amount::Off),
        (_, _, Some("none")) => (effort_name, Amount::Off),
        (_, _, Some(effort)) => match Effort::of_name(effort) {
            Some(effort) => (effort_name, Amount::Effort(effort)),
            None => {
                let words = "none, minimal, low, medium, high, xhigh or max";
                return verdicts
                    .invalid(format!("`{effort_name}` must be {words}, not {effort:?}"), effort_name);
            }
        },
        (Some("enabled" | "adaptive"), ..) => ("thinking", Amount::Adaptive),
        _ => return,
    };
    let thinking = facts.thinking();
    let can = match amount {
        Amount::Off => thinking.form == ThinkingForm::None || thinking.can_rest(),
        _ => thinking.form != ThinkingForm::None,
    };
    if !can {
        // Even where the policy hands it on, Google has no member of this name.
        verdicts.unsupported(name);
        return;
    }
    if thinking.form == ThinkingForm::None {
        return;
    }
    let by_level = thinking.form == ThinkingForm::Level;
    config.object("thinkingConfig", |out| {
        match amount {
            Amount::Off => out.number("thinkingBudget", 0),
            Amount::Effort(effort) if by_level => out.str("thinkingLevel", thinking.nearest(effort).name()),
            Amount::Effort(effort) => out.number("thinkingBudget", thinking.budget_of(effort)),
            Amount::Budget(budget) => out.number("thinkingBudget", thinking.within(budget)),
            Amount::Adaptive if by_level => {}
            Amount::Adaptive => out.json("thinkingBudget", "-1"),
        }
        out.bool("includeThoughts", !matches!(amount, Amount::Off));
    });
}

/// OpenAI's modalities; text alone is what Google gives unasked.
fn write_modalities(config: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let given = request.params.iter().rfind(|(name, raw)| name == "modalities" && raw.get() != "null");
    let Some((name, raw)) = given else { return };
    let words: Vec<Text<'_>> = document(raw.get()).unwrap_or_default();
    let words: Vec<_> = words.iter().map(|word| word.decode().to_ascii_uppercase()).collect();
    if words == ["TEXT"] {
        return;
    }
    match !words.is_empty() && words.iter().all(|word| matches!(&**word, "TEXT" | "IMAGE" | "AUDIO")) {
        true => config.array("responseModalities", |list| {
            words.iter().for_each(|word| list.text(&word.as_str().into()));
        }),
        false => {
            let verdict: Verdict = verdicts.unsupported(name);
            if verdict == Verdict::Pass {
                config.json("responseModalities", raw.get());
            }
        }
    }
}

/// The finest resolution that a part asks for: up to 2.5 there is one for all.
fn write_resolution(config: &mut Object<'_>, request: &Request<'_>) {
    let details =
        request.messages.iter().flat_map(|message| &message.content).filter_map(|block| match &block.kind {
            BlockKind::Image { detail: Some(detail), .. } => resolution(detail),
            _ => None,
        });
    if let Some((_, level)) = details.max_by_key(|(rank, _)| *rank) {
        config.str("mediaResolution", level);
    }
}

/// Google's word for a detail, and its rank; none for what is the model's to say.
pub(super) fn resolution(detail: &Text<'_>) -> Option<(u8, &'static str)> {
    match &*detail.decode() {
        "low" => Some((0, "MEDIA_RESOLUTION_LOW")),
        "medium" => Some((1, "MEDIA_RESOLUTION_MEDIUM")),
        "high" => Some((2, "MEDIA_RESOLUTION_HIGH")),
        _ => None,
    }
}

//! Parameters that Converse has a place for and the model of a conversation does not, and the fields that only one model knows.

use std::{borrow::Cow, collections::HashSet};

use ziggurat_core::Dialect;

use super::Family;
use crate::{
    Reasoning, Request, Text,
    anthropic::{ANTHROPIC_ONLY, Thinking, thinking_effort},
    encode::{Verdict, Verdicts},
    gemini::{Standing, standing},
    openai::OPENAI_ONLY,
    read::{Extra, document, wire_object},
    write::{Object, object},
};

wire_object! {
    struct WireAny { }
    struct WireThinking { kind: Text<'a> = "type", }
}

/// What goes into `additionalModelRequestFields`: names and JSON. Of two with one name the first stays.
#[derive(Default)]
struct Fields<'f> {
    list: Vec<(Cow<'f, str>, Cow<'f, str>)>,
    names: HashSet<Cow<'f, str>>,
}

/// Writes the service tier; whether there is one. The callers' `auto` leaves it to the provider.
pub(super) fn write_tier(body: &mut Object<'_>, request: &Request<'_>) -> bool {
    let tier = request.params.iter().rfind(|(name, _)| name == "service_tier");
    let Some(tier) = tier.and_then(|(_, raw)| Text::from_json(raw.get())) else { return false };
    if tier == *"auto" {
        return false;
    }
    body.object("serviceTier", |out| match tier == *"standard_only" {
        true => out.str("type", "default"),
        false => out.text("type", &tier),
    });
    true
}

/// Writes all other parameters. `written` is whether the form of the answer and the service tier are there already.
pub(super) fn write_params(
    body: &mut Object<'_>,
    request: &Request<'_>,
    family: Family,
    thinking: Option<&Thinking<'_, '_>>,
    (has_format, has_tier): (bool, bool),
    verdicts: &mut Verdicts<'_>,
) {
    let (mut native, mut fields) = (Extra::new(), Fields::default());
    // Behind a name that the operator gave may be Claude.
    let is_claudes = matches!(family, Family::Claude | Family::Unnamed);
    let is_foreign =
        |name: &str| request.dialect == Dialect::Anthropic && !is_claudes && ANTHROPIC_ONLY.contains(&name);
    for (name, raw) in &request.params {
        let json = raw.get();
        match &**name {
            _ if json == "null" => {}
            name if standing(request.dialect, name) == Standing::Restated => {}
            name if standing(request.dialect, name) == Standing::Own => _ = verdicts.unsupported(name),
            // Read by the layers in front, and nobody else's; a stream's; or written already.
            "metadata" | "stream_options" | "service_tier" => {}
            // With a value that says what Converse does anyway.
            "frequency_penalty" | "presence_penalty" if json.parse() == Ok(0.0) => {}
            "logprobs" | "store" if json == "false" => {}
            "logit_bias" if json == "{}" => {}
            "modalities" if json == r#"["text"]"# => {}
            "additionalModelRequestFields" if !json.starts_with('{') => {
                verdicts.invalid("expected an object", "additionalModelRequestFields");
            }
            "additionalModelRequestFields" => fields.members(json),
            "outputConfig" if has_format => _ = verdicts.unsupported(name),
            "serviceTier" if has_tier => _ = verdicts.unsupported(name),
            name if NATIVE.contains(&name) => native.push((name.into(), raw)),
            name if WRITTEN.contains(&name) || name.starts_with("metadata.") => {
                _ = verdicts.unsupported(name);
            }
            name if name.starts_with(OUTPUT) => {
                if family != Family::Claude {
                    verdicts.unsupported(name);
                }
            }
            name if (OPENAI_ONLY.contains(&name) || is_foreign(name))
                && verdicts.unsupported(name) == Verdict::Leave => {}
            // The model may know what Converse does not.
            name => fields.add(name, json),
        }
    }
    // The end user has no place here, and is for a provider's own records: it is left out.
    if let Some(n) = request.n.filter(|n| *n > 1)
        && verdicts.unsupported("n") == Verdict::Pass
    {
        fields.add("n", n.to_string());
    }
    let thinks = request.dialect != Dialect::Anthropic && thinking.is_some_and(Thinking::is_sent);
    if let Some(raw) = request.top_k
        && (!thinks || verdicts.unsupported("top_k") == Verdict::Pass)
    {
        match family {
            Family::Nova | Family::Nova2 => {
                fields.add("inferenceConfig", format!(r#"{{"topK":{}}}"#, raw.get()));
            }
            _ => fields.add("top_k", raw.get()),
        }
    }
    match (thinking, &request.reasoning) {
        (Some(thinking), _) => claude(&mut fields, request, thinking),
        (None, Some(reasoning)) => effort(&mut fields, reasoning, family, verdicts),
        (None, None) => {}
    }
    body.extra(&native, &[]);
    if !fields.list.is_empty() {
        body.object("additionalModelRequestFields", |out| {
            fields.list.iter().for_each(|(name, json)| out.json(name, json));
        });
    }
    let asked = native.iter().any(|(name, _)| name == PATHS);
    if thinking.is_some_and(Thinking::is_sent) && !asked {
        // Converse does not count the reasoning, the model does.
        body.json(PATHS, r#"["/usage/output_tokens_details"]"#);
    }
}

/// What Claude is told beside what every model is.
fn claude(fields: &mut Fields<'_>, request: &Request<'_>, thinking: &Thinking<'_, '_>) {
    let mut json = Vec::new();
    object(&mut json, |out| {
        thinking.write_thinking(out);
        let effort = thinking.effort();
        let inner = |name: &str| name.strip_prefix(OUTPUT).map(str::to_owned);
        let rest: Vec<_> =
            request.params.iter().filter_map(|(name, raw)| Some((inner(name)?, raw))).collect();
        if effort.is_some() || !rest.is_empty() {
            out.object("output_config", |config| {
                config.text_if("effort", effort);
                rest.iter().for_each(|(name, raw)| config.json(name, raw.get()));
            });
        }
    });
    if let Ok(json) = String::from_utf8(json) {
        fields.owned_members(&json);
    }
}

/// How much another model is to think.
fn effort(fields: &mut Fields<'_>, reasoning: &Reasoning<'_>, family: Family, verdicts: &mut Verdicts<'_>) {
    if let Some(raw) = reasoning.thinking {
        let wire: WireThinking<'_> = document(raw.get()).unwrap_or_default();
        let is_off = wire.kind.is_some_and(|kind| kind == *"disabled");
        match (family, thinking_effort(raw)) {
            _ if is_off => {}
            // The effort says it better.
            (Family::GptOss, _) if reasoning.effort.is_some() => {}
            (Family::GptOss, Some(effort)) => fields.add("reasoning_effort", string(effort)),
            _ => _ = verdicts.unsupported("thinking"),
        }
    }
    let Some(effort) = &reasoning.effort else { return };
    match (family, &*effort.decode()) {
        (_, "none") => {}
        (Family::GptOss, word) => fields.add("reasoning_effort", string(word)),
        (Family::Nova2, word @ ("low" | "medium" | "high")) => {
            let config = format!(r#"{{"type":"enabled","maxReasoningEffort":"{word}"}}"#);
            fields.add("reasoningConfig", config);
        }
        _ => _ = verdicts.unsupported("reasoning_effort"),
    }
}

fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

// ===== impl Fields =====

impl<'f> Fields<'f> {
    fn add(&mut self, name: impl Into<Cow<'f, str>>, json: impl Into<Cow<'f, str>>) {
        let name = name.into();
        if self.names.insert(name.clone()) {
            self.list.push((name, json.into()));
        }
    }

    /// Adds the members of an object.
    fn members(&mut self, json: &'f str) {
        let object: WireAny<'f> = document(json).unwrap_or_default();
        object.extra.into_iter().for_each(|(name, raw)| self.add(name, raw.get()));
    }

    fn owned_members(&mut self, json: &str) {
        let object: WireAny<'_> = document(json).unwrap_or_default();
        for (name, raw) in object.extra {
            self.add(name.into_owned(), raw.get().to_owned());
        }
    }
}

/// Parameters of Converse's own.
const NATIVE: &[&str] = &[
    PATHS,
    "guardrailConfig",
    "outputConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "serviceTier",
];

const PATHS: &str = "additionalModelResponseFieldPaths";

/// Stands before the names of what stood in Anthropic's `output_config`.
const OUTPUT: &str = "output_config.";

/// Parameters that are made of what a caller says in other words, or that the URL says.
const WRITTEN: &[&str] = &["inferenceConfig", "modelId", "system", "toolConfig"];

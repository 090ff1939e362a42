//! Parameters of the top level that the model does not know.

use ziggurat_core::Dialect;

use super::super::decode::{REASONING, TEXT};
use crate::{
    Request,
    encode::{Verdict, Verdicts},
    gemini::{Standing, standing},
    read::Extra,
    write::Object,
};

/// The members of an inner object.
pub(super) fn inner<'r>(request: &'r Request<'_>, prefix: &str) -> Extra<'r> {
    let inner =
        request.params.iter().filter_map(|(name, raw)| Some((name.strip_prefix(prefix)?.into(), *raw)));
    inner.collect()
}

pub(super) fn write_params(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    if request.dialect == Dialect::Responses {
        body.raw_if("top_k", request.top_k);
        return body
            .extra_if(&request.params, |name| !name.starts_with(TEXT) && !name.starts_with(REASONING));
    }
    let mut takes = |name: &str| verdicts.unsupported(name) == Verdict::Pass;
    if let Some(top_k) = request.top_k.filter(|_| takes("top_k")) {
        body.json("top_k", top_k.get());
    }
    if !request.stop.is_empty() && takes("stop") {
        body.array("stop", |list| request.stop.iter().for_each(|stop| list.text(stop)));
    }
    if let Some(n) = request.n.filter(|n| *n > 1 && takes("n")) {
        body.number("n", n);
    }
    let mut passed = Vec::new();
    for (name, raw) in &request.params {
        let json = raw.get();
        let supported = match (&**name, request.dialect) {
            _ if json == "null" => continue,
            (name, caller) if standing(caller, name) == Standing::Restated => continue,
            // Written on their own, or a stream's, which always ends with usage here.
            ("verbosity" | "logprobs", Dialect::OpenAi) | ("stream_options", _) => continue,
            // Values that say what happens anyway.
            ("frequency_penalty" | "presence_penalty", _) if json.parse() == Ok(0.0) => continue,
            ("logit_bias", _) if json == "{}" => continue,
            ("modalities", _) if json == r#"["text"]"# => continue,
            // Anthropic's tiers; its `auto` is OpenAI's default.
            ("service_tier", Dialect::Anthropic) if json == r#""standard_only""# => {
                body.str("service_tier", "default");
                continue;
            }
            (name, Dialect::OpenAi) => !CHAT_ONLY.contains(&name),
            ("service_tier", Dialect::Anthropic) => true,
            // What a caller of another dialect says beyond the model has no place here.
            _ => false,
        };
        let supported = supported && !is_written(name);
        if supported || (verdicts.unsupported(name) == Verdict::Pass && !is_written(name)) {
            passed.push((name.clone(), *raw));
        }
    }
    let has = |name: &str| request.params.iter().any(|(known, raw)| known == name && raw.get() != "null");
    if !has("store") {
        // Responses keeps what it answers unless told otherwise, and no caller of another dialect has asked for that.
        body.bool("store", false);
    }
    let logprobs = request.dialect == Dialect::OpenAi
        && request.params.iter().any(|(name, raw)| name == "logprobs" && raw.get() == "true");
    // Reasoning that is not kept can only be sent back where it is handed out. Models that do not reason refuse to be asked.
    let includes = [
        (request.reasoning.is_some() && !has("store"), "reasoning.encrypted_content"),
        (logprobs, "message.output_text.logprobs"),
    ];
    if includes.iter().any(|(is_asked, _)| *is_asked) {
        body.array("include", |list| {
            let asked = includes.iter().filter(|(is_asked, _)| *is_asked);
            asked.for_each(|(_, name)| list.text(&(*name).into()));
        });
    }
    body.extra(&passed, &[]);
}

/// Parameters of another dialect whose name is one that is written here: what they ask for stands in the model.
fn is_written(name: &str) -> bool {
    matches!(
        name,
        "model"
            | "input"
            | "instructions"
            | "max_output_tokens"
            | "temperature"
            | "top_p"
            | "top_k"
            | "tools"
            | "tool_choice"
            | "parallel_tool_calls"
            | "text"
            | "reasoning"
            | "stream"
            | "stop"
            | "n"
            | "user"
            | "include"
    )
}

/// Parameters of Chat Completions that Responses has nothing for; from OpenAI's API reference. Others are handed on: a provider may know
/// more than this list.
const CHAT_ONLY: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "modalities",
    "prediction",
    "presence_penalty",
    "seed",
];

//! `litellm_params.model`: which provider, and which of its models.

use super::aws;
use super::diagnostic::Report;
use super::nearest::nearest;
use super::node::{Node, shown};
use super::provider::{Api, Provider};

/// A provider's model.
#[derive(Debug)]
pub(super) struct Model {
    /// Who has it.
    pub(super) provider: &'static Provider,
    /// Its id there; may be a pattern.
    pub(super) id: String,
}

/// Prefixes that tell LiteLLM how to treat a deployment on Azure and are no part of its name.
const AZURE_HINTS: [&str; 2] = ["o_series/", "gpt5_series/"];

/// How models of other publishers on Vertex AI begin, where LiteLLM's users write them without the publisher.
const OTHER_PUBLISHERS: [&str; 6] = ["mistral", "codestral", "jamba", "llama", "deepseek", "qwen"];

/// Prefixes by which LiteLLM tells other APIs of Bedrock's.
const BEDROCK_LATER: [&str; 5] = ["converse_like/", "agent/", "agentcore/", "async_invoke/", "mantle/"];

/// Reads `model` and `custom_llm_provider`.
pub(super) fn read(params: &Node, alias: Option<&str>, report: &mut Report) -> Option<Model> {
    let text = super::deployment::required_text(params, "model", report)?;
    let node = params.get("model")?;
    let (provider, id) = match params.get("custom_llm_provider").filter(|given| given.text() != Some("")) {
        Some(given) => {
            let name = given.text()?;
            let provider = known(name, given, report)?;
            (provider, text.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&text))
        }
        None => by_prefix(&text, node, report)?,
    };
    let id = AZURE_HINTS
        .iter()
        .find_map(|hint| id.strip_prefix(hint))
        .filter(|_| provider.api == Api::Azure)
        .unwrap_or(id);
    if let Some(fault) = fault(provider, id, alias) {
        report.error(&node.at, &node.path, fault);
        return None;
    }
    Some(Model { provider, id: id.to_owned() })
}

fn by_prefix<'t>(text: &'t str, node: &Node, report: &mut Report) -> Option<(&'static Provider, &'t str)> {
    if let Some((prefix, id)) = text.split_once('/').filter(|(prefix, _)| !prefix.contains('*')) {
        return Some((known(prefix, node, report)?, id));
    }
    let inferred = Provider::of_bare_model(text);
    if inferred.is_none() {
        report.error(&node.at, &node.path, "names no provider: write it as `provider/model`");
    }
    Some((inferred?, text))
}

fn known(id: &str, node: &Node, report: &mut Report) -> Option<&'static Provider> {
    let found = Provider::find(id);
    if found.is_none() {
        report.error(&node.at, &node.path, why_not(id, node.from_env));
    }
    found
}

fn why_not(id: &str, from_env: bool) -> String {
    if Provider::later().any(|known| known == id) {
        return format!("provider `{id}` is known but not supported yet");
    }
    let name = if from_env { "(from the environment)" } else { shown(id) };
    let known = Provider::all().iter().flat_map(Provider::ids).chain(Provider::later());
    let near = nearest(id, known).map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
    format!("unknown provider `{name}`{near}")
}

fn fault(provider: &Provider, id: &str, alias: Option<&str>) -> Option<&'static str> {
    let stars = |text: &str| text.matches('*').count();
    let own = stars(id);
    if id.is_empty() {
        Some("names a provider but no model")
    } else if provider.api == Api::Bedrock && BEDROCK_LATER.iter().any(|prefix| id.starts_with(prefix)) {
        Some(
            "this way to ask Bedrock is known to LiteLLM, not supported yet: models are asked by its Converse API",
        )
    } else if provider.api == Api::Bedrock && id.starts_with(aws::INVOKED) && !id.contains("anthropic.") {
        Some("`invoke/` is for Anthropic's models: leave it out")
    } else if provider.api == Api::Vertex
        && (id.contains('/') || OTHER_PUBLISHERS.iter().any(|it| id.starts_with(it)))
    {
        Some(
            "Vertex AI's models of other publishers than Google and Anthropic are known to LiteLLM, not supported yet",
        )
    } else if id.starts_with("responses/") {
        Some("`responses/` is known to LiteLLM, not supported yet")
    } else if provider.api == Api::AzureAi && id.contains("claude") {
        Some("Anthropic's models on `azure_ai` are known to LiteLLM, not supported yet")
    } else if own > 0 && alias.is_some_and(|alias| stars(alias) != own) {
        Some("must have as many `*` as `model_name`, or none")
    } else {
        None
    }
}

//! What the model of a deployment takes: what its family does, what the catalog knows beside that, and over all what the config says.

use ziggurat_catalog::{Capability, Model};
use ziggurat_core::{Capabilities, Dialect, Effort, Efforts, Feature, Param, Thinking, ThinkingForm};
use ziggurat_dialect::capabilities_at;

use crate::config::Deployment;

/// What a deployment's model takes, `known` being what the catalog knows of it.
pub(crate) fn of(deployment: &Deployment, model: &str, known: Option<&Model>) -> Capabilities {
    let base = deployment.pricing.base_model.as_ref().map(|(name, _)| name.as_str());
    let dialect = deployment.dialect(model);
    let provider = match base {
        // Behind `openai` and another's address stands whatever speaks its dialect.
        None if deployment.provider.is_elsewhere(&deployment.base) => "",
        _ => &*deployment.provider.id,
    };
    let mut takes = capabilities_at(provider, dialect, base.unwrap_or(model));
    if let Some(known) = known {
        takes = with_facts(takes, known, dialect);
    }
    deployment.supports.iter().fold(takes, |takes, (capability, can)| said(takes, *capability, *can, dialect))
}

/// With the catalog's facts, where the family says nothing. What is not among them is not known.
fn with_facts(mut takes: Capabilities, known: &Model, dialect: Dialect) -> Capabilities {
    takes.max_input = known.max_input.or(takes.max_input);
    takes.max_output = known.max_output.or(takes.max_output);
    for (capability, feature) in FEATURES {
        if known.can(*capability) && takes.takes(*feature).is_none() {
            takes = takes.with(*feature, true);
        }
    }
    if known.can(Capability::Reasoning) && takes.thinking.is_none() && dialect == Dialect::OpenAi {
        let mut thinking = Thinking::new(ThinkingForm::Effort);
        let more = EFFORTS.iter().filter(|(capability, _)| known.can(*capability)).map(|(_, effort)| *effort);
        let more: Efforts = more.collect();
        if !more.is_empty() {
            thinking.efforts = more.iter().fold(usual_efforts(), Efforts::with);
        }
        takes.thinking = Some(thinking);
    }
    takes
}

/// With one thing that the config says.
fn said(mut takes: Capabilities, capability: Capability, can: bool, dialect: Dialect) -> Capabilities {
    if let Some((_, feature)) = FEATURES.iter().find(|(known, _)| *known == capability) {
        takes = takes.with(*feature, can);
    }
    if let Some((_, effort)) = EFFORTS.iter().find(|(known, _)| *known == capability)
        && let Some(thinking) = &mut takes.thinking
    {
        let known = if thinking.efforts.is_empty() { usual_efforts() } else { thinking.efforts };
        thinking.efforts = if can { known.with(*effort) } else { known.without(*effort) };
    }
    match (capability, can) {
        // LiteLLM's users say so too of models that are asked for a schema through a tool.
        (Capability::ResponseSchema, true) if takes.takes(Feature::JsonSchema).is_some() => {}
        (Capability::ResponseSchema, can) => takes = takes.with(Feature::JsonSchema, can),
        (Capability::ParallelFunctionCalling, false) => {
            takes.refuses = takes.refuses.with(Param::ParallelToolCalls);
        }
        (Capability::ParallelFunctionCalling, true) => {
            takes.refuses = takes.refuses.without(Param::ParallelToolCalls);
        }
        (Capability::Reasoning, false) => takes.thinking = Some(Thinking::new(ThinkingForm::None)),
        (Capability::Reasoning, true) if takes.thinking.is_none() || takes.cannot_think() => {
            takes.thinking = Some(usual_thinking(dialect));
        }
        (Capability::AdaptiveThinking, true) => {
            takes.thinking = Some(match takes.thinking {
                Some(thinking) if thinking.form == ThinkingForm::Adaptive => thinking,
                _ => Thinking::new(ThinkingForm::Adaptive),
            });
        }
        (Capability::AdaptiveThinking, false) => {
            takes.thinking = match takes.thinking {
                Some(thinking) if thinking.form == ThinkingForm::Adaptive => Some(by_budget()),
                thinking => thinking,
            };
        }
        _ => {}
    }
    takes
}

/// The form in which most models of a dialect are told how much to think.
fn usual_thinking(dialect: Dialect) -> Thinking {
    match dialect {
        Dialect::Anthropic | Dialect::Converse => by_budget(),
        Dialect::Gemini | Dialect::Cohere => Thinking::new(ThinkingForm::Budget),
        _ => Thinking::new(ThinkingForm::Effort),
    }
}

/// Anthropic's budgets, which begin at 1024.
fn by_budget() -> Thinking {
    let mut thinking = Thinking::new(ThinkingForm::Budget);
    thinking.budget = (1_024, u64::MAX);
    thinking
}

/// The efforts that every model knows that knows efforts.
fn usual_efforts() -> Efforts {
    [Effort::Low, Effort::Medium, Effort::High].into_iter().collect()
}

const FEATURES: &[(Capability, Feature)] = &[
    (Capability::FunctionCalling, Feature::Tools),
    (Capability::ForcedToolUse, Feature::ForcedTool),
    (Capability::ParallelFunctionCalling, Feature::ParallelTools),
    (Capability::NativeStructuredOutput, Feature::JsonSchema),
    (Capability::Vision, Feature::Images),
    (Capability::PdfInput, Feature::Pdf),
    (Capability::AudioInput, Feature::Audio),
    (Capability::MidConversationSystem, Feature::SystemAnywhere),
    (Capability::AssistantPrefill, Feature::Prefill),
    (Capability::LegacyThinking, Feature::ThinkingBudget),
];

const EFFORTS: &[(Capability, Effort)] = &[
    (Capability::NoneReasoningEffort, Effort::None),
    (Capability::MinimalReasoningEffort, Effort::Minimal),
    (Capability::XhighReasoningEffort, Effort::Xhigh),
    (Capability::MaxReasoningEffort, Effort::Max),
];

#[cfg(test)]
mod tests {
    use ziggurat_catalog::Catalog;

    use super::*;
    use crate::config::Config;

    fn takes(model: &str, info: &str) -> Capabilities {
        takes_at("https://api.openai.com/v1", model, info)
    }

    fn takes_at(base: &str, model: &str, info: &str) -> Capabilities {
        let entry = format!(
            "model_list:\n- {{model_name: m, litellm_params: {{model: {model}, api_key: k, api_base: '{base}'}}, model_info: {{{info}}}}}\n"
        );
        let (config, _) = Config::parse(&entry, "config.yaml", &|_| None).expect("is one");
        let deployment = &config.deployments[0];
        let known = Catalog::embedded().model(&deployment.provider.id, &deployment.model);
        of(deployment, &deployment.model, known.as_deref())
    }

    fn form(takes: &Capabilities) -> Option<ThinkingForm> {
        takes.thinking.map(|thinking| thinking.form)
    }

    #[test]
    fn the_catalog_knows_what_a_family_does_not_say() {
        let deepseek = takes("deepseek/deepseek-reasoner", "");
        assert_eq!((form(&deepseek), deepseek.takes(Feature::Images)), (Some(ThinkingForm::Effort), None));
        assert!(deepseek.max_output.is_some());
        let gpt = takes("openai/gpt-5.2", "");
        assert_eq!((gpt.max_input, gpt.max_output), (Some(272_000), Some(128_000)));
        // It has a mark for reasoning in the catalog, and does not take a word on it.
        assert_eq!(form(&takes("openai/gpt-5-chat-latest", "")), Some(ThinkingForm::None));
        assert_eq!(takes("openai/not-a-model", ""), Capabilities::default());
    }

    #[test]
    fn a_deployment_of_another_name_is_its_base_model() {
        let named = takes("azure/my-deployment", "base_model: azure/o3-mini");
        assert!(named.refuses_value(Param::Temperature, "0.5", None));
        assert!(!takes("azure/my-deployment", "").refuses_value(Param::Temperature, "0.5", None));
    }

    #[test]
    fn a_server_of_anothers_is_not_openais() {
        let refuses =
            |base, model, info| takes_at(base, model, info).refuses_value(Param::Temperature, "0.5", None);
        for base in [
            "https://eu.api.openai.com/v1",
            "https://r.openai.azure.com/openai/v1",
            "https://r.services.ai.azure.com",
        ] {
            assert!(refuses(base, "openai/o3-mini", ""), "{base}");
        }
        for base in ["http://localhost:8000/v1", "https://x/api.openai.com", "https://notopenai.com/v1"] {
            assert!(!refuses(base, "openai/o3-mini", ""), "{base}");
            assert!(refuses(base, "openai/mine", "base_model: o3-mini"), "{base}");
            assert!(refuses(base, "azure/o3-mini", ""), "{base}");
        }
        let local = takes_at("http://localhost:8080/v1", "openai/gpt-3.5-turbo", "");
        assert_eq!(local.takes(Feature::JsonSchema), None);
        let marco = takes("openai/AIDC-AI/Marco-o1", "");
        assert_eq!((marco.takes(Feature::MaxCompletionTokens), form(&marco)), (None, None));
        assert_eq!(
            form(&takes_at("http://localhost:8000/v1", "openai/gpt-oss-120b", "")),
            Some(ThinkingForm::Effort)
        );
    }

    #[test]
    fn the_config_has_the_last_word() {
        assert_eq!(form(&takes("openai/o3", "supports_reasoning: false")), Some(ThinkingForm::None));
        assert_eq!(form(&takes("openai/gpt-4o", "supports_reasoning: true")), Some(ThinkingForm::Effort));
        assert_eq!(
            form(&takes("anthropic/claude-3-5-haiku-latest", "supports_reasoning: true")),
            Some(ThinkingForm::Budget)
        );
        let adaptive = takes("anthropic/claude-sonnet-4-5", "supports_adaptive_thinking: true");
        assert_eq!(form(&adaptive), Some(ThinkingForm::Adaptive));
        let budget = takes("anthropic/claude-opus-5", "supports_adaptive_thinking: false");
        assert_eq!(budget.thinking, Some(by_budget()));
        let schema = |model, info| takes(model, info).takes(Feature::JsonSchema);
        assert_eq!(schema("openai/gpt-4o", "supports_response_schema: false"), Some(false));
        assert_eq!(schema("openai/mine", "supports_response_schema: true"), Some(true));
        // Said by LiteLLM's users of models that it asks through a tool.
        assert_eq!(
            schema("anthropic/claude-3-5-haiku-latest", "supports_response_schema: true"),
            Some(false)
        );
        let native = "supports_native_structured_output: true";
        assert_eq!(schema("anthropic/claude-3-5-haiku-latest", native), Some(true));
        let tools = takes(
            "openai/gpt-4o",
            "supports_function_calling: false, supports_parallel_function_calling: false",
        );
        assert_eq!(tools.takes(Feature::Tools), Some(false));
        assert!(tools.refuses_value(Param::ParallelToolCalls, "false", None));
        let parallel = takes("openai/o3", "supports_parallel_function_calling: true");
        assert!(!parallel.refuses_value(Param::ParallelToolCalls, "false", None));
        let efforts =
            takes("openai/o3", "supports_none_reasoning_effort: true, supports_xhigh_reasoning_effort: true");
        let thinking = efforts.thinking.expect("thinks");
        assert_eq!(
            thinking.efforts.iter().map(Effort::name).collect::<Vec<_>>(),
            ["none", "low", "medium", "high", "xhigh"]
        );
        assert_eq!(takes("openai/gpt-4o", "max_output_tokens: 7").max_stops, Some(4));
    }
}

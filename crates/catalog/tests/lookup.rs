//! Which model a name finds, and which none does.

use ziggurat_catalog::{Capability, Catalog, Mode, Model, Prices, Rate, Unit};
use ziggurat_core::Target;

fn found(provider: &str, name: &str) -> Option<String> {
    Catalog::embedded().model(provider, name).map(|model| model.id.to_string())
}

#[test]
fn finds_the_names_that_users_write() {
    for (provider, name, id) in [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "openai/gpt-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("azure", "gpt-4o", "azure/gpt-4o"),
        ("azure", "azure/gpt-4o", "azure/gpt-4o"),
        ("azure", "eu/gpt-4o-2024-08-06", "azure/eu/gpt-4o-2024-08-06"),
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("anthropic", "anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("gemini", "gemini-2.5-pro", "gemini/gemini-2.5-pro"),
        ("vertex_ai", "gemini-2.5-pro", "gemini-2.5-pro"),
        ("vertex_ai", "claude-sonnet-4-5", "vertex_ai/claude-sonnet-4-5"),
        ("vertex_ai-anthropic_models", "vertex_ai/claude-sonnet-4-5", "vertex_ai/claude-sonnet-4-5"),
        ("bedrock", "amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("bedrock", "converse/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("bedrock", "bedrock/invoke/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("bedrock", "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0", "amazon.rerank-v1:0"),
        (
            "bedrock",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("groq", "openai/gpt-oss-120b", "groq/openai/gpt-oss-120b"),
        ("cohere", "command-a-03-2025", "command-a-03-2025"),
        ("openai", "ft:gpt-4o-2024-08-06:my-org::id", "ft:gpt-4o-2024-08-06"),
        ("openai", "gpt-3.5-turbo-instruct", "gpt-3.5-turbo-instruct"),
        ("amazon_nova", "amazon-nova/nova-pro-v1", "amazon-nova/nova-pro-v1"),
        ("amazon_nova", "nova-pro-v1", "amazon-nova/nova-pro-v1"),
    ] {
        assert_eq!(found(provider, name).as_deref(), Some(id), "{provider} {name}");
    }
}

#[test]
fn never_guesses() {
    for (provider, name) in [
        ("openai", "gpt-4o-2099-01-01"),
        ("openai", "gpt-4o-"),
        ("openai", "gpt"),
        ("openai", ""),
        ("", "gpt-4o"),
        ("openai", "claude-sonnet-4-5"),
        ("anthropic", "gpt-4o"),
        ("azure", "my-own-name"),
        ("azure_ai", "azure/gpt-4o"),
        ("gemini", "vertex_ai/gemini-2.5-pro"),
        ("bedrock", "mars.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "arn:aws:bedrock:us-east-1:1:inference-profile/x"),
        ("openai", "ft:gpt-nothing:org"),
        ("groq", "llama-3.1-8b-instant"),
        ("openai", "ziggurat-catalog"),
        ("openai", "#"),
    ] {
        assert_eq!(found(provider, name), None, "{provider} {name}");
    }
}

#[test]
fn a_lone_name_is_found_as_the_data_has_it_or_behind_its_provider() {
    let catalog = Catalog::embedded();
    let named = |name: &str| catalog.named(name).map(|model| model.id.to_string());
    assert_eq!(named("gpt-4o").as_deref(), Some("gpt-4o"));
    assert_eq!(named("openai/gpt-4o").as_deref(), Some("gpt-4o"));
    assert_eq!(named("anthropic/claude-sonnet-4-5").as_deref(), Some("claude-sonnet-4-5"));
    assert_eq!(named("bedrock/converse/amazon.nova-pro-v1:0").as_deref(), Some("amazon.nova-pro-v1:0"));
    assert_eq!(named("ft:gpt-4o-2024-08-06:org").as_deref(), Some("ft:gpt-4o-2024-08-06"));
    assert_eq!(named("my-group"), None);
}

#[test]
fn overrides_replace_and_deployments_come_first() {
    let rate = |text: &str| text.parse::<Rate>().unwrap();
    let own =
        |price: &str| Model::new("gpt-4o", "openai").prices(Prices::new().with(Unit::Input, rate(price)));
    let before = Catalog::embedded();
    let catalog = before.clone().with(own("0.5")).deployment("cheap", own("0.25"));
    let target = |id: &str| Target::openai("gpt-4o", "key").unwrap().id(id);
    let input = |model: Option<std::sync::Arc<Model>>| model.unwrap().prices.rate(Unit::Input).unwrap();

    assert_eq!(input(catalog.model("openai", "gpt-4o")), rate("0.5"));
    assert_eq!(input(catalog.for_target(&target("other"))), rate("0.5"));
    assert_eq!(input(catalog.for_target(&target("cheap"))), rate("0.25"));
    assert_eq!(input(before.for_target(&target("cheap"))), rate("0.0000025"), "a clone stays as it was");
    assert_eq!(catalog.models().count(), before.models().count());
    let added = catalog.with(Model::new("mine", "my-provider"));
    assert!(!added.model("my-provider", "mine").unwrap().prices.is_priced());
    assert_eq!(added.models().count(), before.models().count() + 1);
}

#[test]
fn knows_windows_capabilities_and_days() {
    let catalog = Catalog::embedded();
    let model = catalog.named("claude-sonnet-4-5").unwrap();
    assert_eq!((model.mode, model.max_input, model.max_output), (Mode::Chat, Some(200_000), Some(64_000)));
    assert!(model.can(Capability::Vision) && !model.can(Capability::AudioInput));
    assert_eq!(model.deprecated.as_deref(), Some("2026-11-30"));
    assert_eq!(catalog.version().len(), "2026-11-22".len());
}

/// The facts have the price of a thousand tokens for that of one.
#[test]
fn prices_that_the_facts_have_wrong_are_right() {
    let input = |name| Catalog::embedded().named(name).unwrap().prices.rate(Unit::Input);
    assert_eq!(input("embed-multilingual-light-v3.0"), Some("0.0000001".parse().unwrap()));
    assert_eq!(input("embed-multilingual-light-v3.0"), input("embed-multilingual-v3.0"));
}

#[test]
fn an_empty_catalog_knows_nothing() {
    assert_eq!(Catalog::empty().models().count(), 0);
    assert!(Catalog::empty().named("gpt-4o").is_none());
    assert_eq!(Catalog::empty().version(), "");
}

#[test]
fn free_is_a_price_and_unpriced_is_none() {
    let catalog = Catalog::embedded();
    assert!(catalog.named("ollama/llama3.1").unwrap().prices.is_priced());
    let unpriced = Model::new("x", "y").prices;
    assert!(!unpriced.is_priced() && !unpriced.is_priced_for_tokens() && !unpriced.is_priced_by_time());
    let images = catalog.named("1024-x-1024/gpt-image-1.5").unwrap();
    assert!(images.prices.is_priced() && !images.prices.is_priced_for_tokens());
}

//! `ziggurat check`: what is wrong with a file, and what each of its aliases supports.

use std::{path::Path, process::ExitCode, sync::Arc};

use ziggurat_budget::{Uncapped, Unpriced};
use ziggurat_catalog::{Catalog, Mode};
use ziggurat_core::{Dialect, Operation, Usd, Window, Wording};

use crate::{
    cli,
    config::{Config, Deployment, LedgerAt, Rates, Spending},
    groups::Groups,
    prices,
    upstream::Timeouts,
};

/// Prints all findings and, when there is no error, the aliases.
pub(crate) fn run(path: &Path) -> ExitCode {
    let (text, code) = report(path);
    cli::print(&text);
    code
}

fn report(path: &Path) -> (String, ExitCode) {
    let (loaded, findings) = match prices::load(path) {
        Ok((config, catalog, warnings)) => (Some((config, catalog)), warnings),
        Err(findings) => (None, findings),
    };
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let Some((config, catalog)) = loaded else { return (text, ExitCode::FAILURE) };
    let path = path.display();
    let config = Arc::new(config);
    let groups = match Groups::new(&config, &catalog, Timeouts::default(), None) {
        Ok(groups) => groups,
        Err(error) => {
            text += &format!("{path}: error: {error}\n");
            return (text, ExitCode::FAILURE);
        }
    };
    for deployment in &config.deployments {
        let price = price(deployment, &catalog, &groups, &config);
        let limits = limits(&deployment.rates);
        let limits = if limits.is_empty() { limits } else { format!("; {limits}") };
        let budget = deployment.budget.as_ref().map_or_else(String::new, |it| format!("; {}", budget(it)));
        let model = groups.of(deployment).and_then(|target| catalog.for_target(target));
        let mode = model.map(|model| model.mode).unwrap_or_default();
        text += &format!("{}; {price}{limits}{budget}\n", describe(deployment, mode, config.drop_params));
    }
    text += &of_gateway(&config);
    let refuses = config.spending.unpriced == Unpriced::Refuse;
    let guarded = config.deployments.iter().filter(|it| refuses && config.has_budget(it));
    let unpriced = guarded.filter(|it| is_unpriced(it, &catalog, &groups));
    let unpriced: Vec<_> =
        unpriced.map(|it| format!("{path}: warning: {}\n", unpriced_in_words(it))).collect();
    text += &unpriced.concat();
    let key =
        if config.master_key.is_some() { "a master key is set" } else { "no master key: loopback only" };
    let deployments = counted(config.deployments.len(), "deployment");
    text +=
        &format!("{path}: {deployments}, {}, {key}\n", counted(findings.len() + unpriced.len(), "warning"));
    (text, ExitCode::SUCCESS)
}

/// What an operator is told of a deployment without a price, where there is a budget.
pub(crate) fn unpriced_in_words(deployment: &Deployment) -> String {
    format!("no price is known of a deployment of {:?}: it is refused, as a budget applies", deployment.alias)
}

/// Whether it is not known what a deployment's input and output cost; what a wildcard costs is known when it is called.
pub(crate) fn is_unpriced(deployment: &Deployment, catalog: &Catalog, groups: &Groups) -> bool {
    let target = groups.of(deployment);
    target.is_some_and(|target| {
        // Of images, the price may stand under a size.
        let model = catalog.for_target(target).or_else(|| catalog.image(target, None, None));
        !model.is_some_and(|model| match model.mode {
            Mode::Embedding => model.prices.is_priced_for_tokens(),
            Mode::Rerank => model.prices.is_priced_for_tokens() || model.prices.is_priced_by_query(),
            Mode::ImageGeneration | Mode::ImageEdit | Mode::Transcription | Mode::Speech => {
                model.prices.is_priced()
            }
            _ => model.prices.is_priced_for_text(),
        })
    })
}

fn price(deployment: &Deployment, catalog: &Catalog, groups: &Groups, config: &Config) -> String {
    let adjusted = prices::adjusted_in_words(config, &deployment.provider.id);
    let Some(target) = groups.of(deployment) else {
        return format!("priced by the model that is named{adjusted}");
    };
    match (prices::describe(catalog, target), config.spending.unpriced) {
        (Some(price), Unpriced::Refuse) if is_unpriced(deployment, catalog, groups) => {
            format!("{price}{adjusted}, no price of the rest: refused where a budget applies")
        }
        (Some(price), _) => price + &adjusted,
        (None, Unpriced::Allow) => "no price: free of charge".to_owned(),
        (None, _) => "no price: refused where a budget applies".to_owned(),
    }
}

fn limits(rates: &Rates) -> String {
    let Rates { requests, tokens, input_tokens, output_tokens, parallel } = *rates;
    let told = [
        (requests, "requests a minute"),
        (tokens, "tokens a minute"),
        (input_tokens, "input tokens a minute"),
        (output_tokens, "output tokens a minute"),
        (parallel, "requests at the same time"),
    ];
    let told = told.iter().filter_map(|(most, what)| Some(format!("at most {} {what}", (*most)?)));
    told.collect::<Vec<_>>().join("; ")
}

fn budget((cap, window): &(Usd, Window)) -> String {
    format!("budget: ${cap}, window {}", window.name())
}

/// The budgets and the limits of all calls together and of providers, a line for each that there is.
fn of_gateway(config: &Config) -> String {
    let mut text = String::new();
    let Spending { budget: all, providers, uncapped, uncapped_streams, .. } = &config.spending;
    if let Some(all) = all {
        let kept = match config.ledger() {
            LedgerAt::File(path) => format!("kept in {}", path.display()),
            LedgerAt::Memory => "kept in memory, and forgotten with the process".to_owned(),
            LedgerAt::Redis => "kept on Redis".to_owned(),
            LedgerAt::Postgres => "kept in PostgreSQL".to_owned(),
        };
        text += &format!(
            "{}, {kept}; calls without a stated cap: {}, streams: {}\n",
            budget(all),
            policy(*uncapped),
            policy(*uncapped_streams)
        );
    }
    for (provider, own) in providers {
        text += &format!("{provider}: {}\n", budget(own));
    }
    for (whose, rates) in [("all calls", &config.gateway_rates), ("each key", &config.key_rates)] {
        if !rates.is_empty() {
            text += &format!("limits of {whose}: {}\n", limits(rates));
        }
    }
    text
}

fn policy(policy: Uncapped) -> String {
    match policy {
        Uncapped::ReserveModelCap => "the model's cap is set aside".to_owned(),
        Uncapped::Clamp(tokens) => format!("clamped to {tokens} tokens"),
        Uncapped::Extend => "more is set aside as they run".to_owned(),
        _ => "refused".to_owned(),
    }
}

/// A number with its noun.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn describe(deployment: &Deployment, mode: Mode, drop_params: bool) -> String {
    let chats = match deployment.dialect(&deployment.model) {
        Dialect::Anthropic => "Anthropic Messages",
        Dialect::Gemini => "Google's generateContent",
        Dialect::Converse => "Bedrock's Converse",
        Dialect::Ollama => "Ollama's chat",
        Dialect::Cohere => "Cohere's chat",
        _ => "OpenAI Chat Completions",
    };
    let does = match mode {
        Mode::Embedding => does(deployment, Operation::Embeddings),
        Mode::Rerank => does(deployment, Operation::Rerank),
        Mode::ImageGeneration => does(deployment, Operation::Images),
        _ if !deployment.provider.chats => "embeddings and rankings alone".to_owned(),
        _ => format!("by {chats}; chat and messages, whole and streamed, with tools"),
    };
    let key = match (&deployment.api_key, &deployment.aws) {
        (Some(_), _) => "key set",
        (None, Some(_)) => "calls signed",
        (None, None) if deployment.vertex.is_some() || deployment.entra.is_some() => "tokens fetched",
        (None, None) => "no key",
    };
    let unsupported = match deployment.drop_params.unwrap_or(drop_params) {
        true => "dropped",
        false => "refused",
    };
    format!(
        "{}: {}/{} {does}; {key}; parameters it does not take are {unsupported}",
        deployment.alias, deployment.provider.id, deployment.model
    )
}

/// How a model that has no chats is asked for what it does.
fn does(deployment: &Deployment, operation: Operation) -> String {
    let reworded = deployment.reworded(&deployment.model);
    let wording =
        reworded.iter().find(|reworded| reworded.operation == operation).map(|reworded| reworded.wording);
    let by = match (operation, wording) {
        (_, Some(Wording::BatchEmbedContents)) => "Google's batchEmbedContents",
        (_, Some(Wording::EmbedContent)) => "Google's embedContent, a text a call",
        (_, Some(Wording::Predict)) => "Vertex AI's predict",
        (_, Some(Wording::CohereEmbed)) => "Cohere's embed",
        (_, Some(Wording::OllamaEmbed)) => "Ollama's embed",
        (_, Some(Wording::TitanEmbed)) => "Bedrock's InvokeModel, a text a call",
        (_, Some(Wording::GenerateImages)) => "Google's generateContent, an image a call",
        (_, Some(Wording::PredictImages)) => "Google's predict",
        (_, Some(Wording::InvokedStabilityImages)) => "Bedrock's InvokeModel, an image a call",
        (_, Some(Wording::InvokedCohereEmbed | Wording::InvokedRerank | Wording::InvokedAmazonImages)) => {
            "Bedrock's InvokeModel"
        }
        (_, Some(Wording::RankRecords)) => "Google's ranking",
        (Operation::Rerank, Some(_)) => "a rerank API",
        (Operation::Embeddings, _) if serves(deployment, operation) => "OpenAI's embeddings",
        (Operation::Images, _) if serves(deployment, operation) => "OpenAI's images",
        _ => return format!("cannot be asked for {}", operation.noun()),
    };
    format!("by {by}; {}", operation.noun())
}

fn serves(deployment: &Deployment, operation: Operation) -> bool {
    let mut others = deployment.other_urls(&deployment.model).into_iter().map(|(other, _)| other);
    let mut reworded = deployment.reworded(&deployment.model).into_iter().map(|reworded| reworded.operation);
    others.any(|other| other == operation) || reworded.any(|other| other == operation)
}

//! `ziggurat check`: what is wrong with a file, and what each of its aliases supports.

use std::{path::Path, process::ExitCode};

use ziggurat_core::Dialect;

use crate::{
    cli,
    config::{Config, Deployment},
    groups::Groups,
};

/// Prints all findings and, when there is no error, the aliases.
pub(crate) fn run(path: &Path) -> ExitCode {
    let (text, code) = report(path);
    cli::print(&text);
    code
}

fn report(path: &Path) -> (String, ExitCode) {
    let (config, findings) = match Config::load(path) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(findings) => (None, findings),
    };
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let Some(config) = config else { return (text, ExitCode::FAILURE) };
    let path = path.display();
    if let Err(error) = Groups::new(&config) {
        text += &format!("{path}: error: {error}\n");
        return (text, ExitCode::FAILURE);
    }
    for deployment in &config.deployments {
        text += &format!("{}\n", describe(deployment, config.drop_params));
    }
    let key =
        if config.master_key.is_some() { "a master key is set" } else { "no master key: loopback only" };
    let deployments = counted(config.deployments.len(), "deployment");
    text += &format!("{path}: {deployments}, {}, {key}\n", counted(findings.len(), "warning"));
    (text, ExitCode::SUCCESS)
}

/// A number with its noun.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn describe(deployment: &Deployment, drop_params: bool) -> String {
    let dialect = match deployment.provider.dialect() {
        Dialect::Anthropic => "Anthropic Messages",
        _ => "OpenAI Chat Completions",
    };
    let key = if deployment.api_key.is_some() { "key set" } else { "no key" };
    let unsupported = match deployment.drop_params.unwrap_or(drop_params) {
        true => "dropped",
        false => "refused",
    };
    format!(
        "{}: {}/{} by {dialect}; chat and messages, whole and streamed, with tools; {key}; parameters it does not take are {unsupported}",
        deployment.alias, deployment.provider.id, deployment.model
    )
}

//! `ziggurat check`: what is wrong with a file, and what each of its aliases supports.

use std::{path::Path, process::ExitCode};

use ziggurat_core::Dialect;

use crate::{
    config::{Config, Deployment},
    groups::Groups,
};

/// Prints all findings and, when there is no error, the aliases.
pub(crate) fn run(path: &Path) -> ExitCode {
    let (config, findings) = match Config::load(path) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(findings) => (None, findings),
    };
    for finding in &findings {
        println!("{finding}");
    }
    let Some(config) = config else { return ExitCode::FAILURE };
    if let Err(error) = Groups::new(&config) {
        println!("{}: error: {error}", path.display());
        return ExitCode::FAILURE;
    }
    for deployment in &config.deployments {
        println!("{}", describe(deployment, config.drop_params));
    }
    let key =
        if config.master_key.is_some() { "a master key is set" } else { "no master key: loopback only" };
    println!(
        "{}: {} deployments, {} warnings, {key}",
        path.display(),
        config.deployments.len(),
        findings.len()
    );
    ExitCode::SUCCESS
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

//! What a deployment is called with: a key, or a token.

use super::assertion::{Assertion, OIDC};
use super::diagnostic::Report;
use super::entra::Entra;
use super::env::Environment;
use super::node::Node;
use super::provider::{Api, Provider};
use crate::secret::Secret;

/// What a deployment is called with, where that is no cloud's own.
#[derive(Debug)]
pub(super) enum Shown {
    /// A key, or nothing.
    Key(Option<Secret>),
    /// A token in the place of a key, as it is.
    Token(Secret),
    /// Tokens that are fetched.
    Entra(Entra),
}

/// Reads what a deployment is called with; `None`, with an error in the report, where that cannot be known.
pub(super) fn read(
    params: &Node,
    provider: &Provider,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<Shown> {
    let token = params.get("azure_ad_token").filter(|node| node.text() != Some(""));
    let application = Entra::named(params);
    if !matches!(provider.api, Api::Azure | Api::AzureAi) {
        for node in token.into_iter().chain(application) {
            report.warning(&node.at, &node.path, "is for Azure: ignored");
        }
        return Some(Shown::Key(read_key(params, provider, environment, report)));
    }
    if let Some(node) = token {
        // A token goes before a key, as in LiteLLM.
        if let Some(key) = given_key(params) {
            report.warning(&key.at, &key.path, "is not used: `azure_ad_token` is given too");
        }
        return read_token(node.text()?, (node, ""), params, environment, report);
    }
    match (application, given_key(params)) {
        (Some(node), Some(_)) => {
            report.warning(&node.at, &node.path, "is not used: `api_key` is given too");
        }
        (Some(_), None) => return Entra::read(params, None, environment, report).map(Shown::Entra),
        (None, _) => {}
    }
    let has_key =
        given_key(params).is_some() || provider.key_vars.iter().any(|name| environment.get(name).is_some());
    if !has_key {
        if let Some(token) = environment.get(TOKEN_VAR) {
            return read_token(&token, (params, TOKEN_VAR), params, environment, report);
        }
        if let Some(entra) = Entra::of_environment(params, environment, report) {
            return Some(Shown::Entra(entra));
        }
    }
    Some(Shown::Key(read_key(params, provider, environment, report)))
}

/// A token that the file gives, or a variable of the environment; one that LiteLLM's `oidc/` names is exchanged for such.
fn read_token(
    token: &str,
    (place, variable): (&Node, &str),
    params: &Node,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<Shown> {
    let mut fault = |why: &str| {
        let of_variable = || format!("environment variable `{variable}`: {why}");
        let message = if variable.is_empty() { why.to_owned() } else { of_variable() };
        report.error(&place.at, &place.path, message);
    };
    if let Some(name) = token.strip_prefix(OIDC) {
        let assertion = Assertion::named(name, environment).map_err(|why| fault(&why)).ok()?;
        return Entra::read(params, Some(assertion), environment, report).map(Shown::Entra);
    }
    if !is_sendable(token) {
        fault(UNSENDABLE);
    }
    Some(Shown::Token(Secret::new(token)))
}

fn given_key(params: &Node) -> Option<&Node> {
    params.get("api_key").filter(|node| node.text() != Some(""))
}

fn read_key(
    params: &Node,
    provider: &Provider,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<Secret> {
    if let Some(node) = given_key(params) {
        let key = node.text()?;
        if !is_sendable(key) {
            report.error(&node.at, &node.path, UNSENDABLE);
        }
        return Some(Secret::new(key));
    }
    let set = provider.key_vars.iter().find_map(|name| Some((name, environment.get(name)?)));
    let Some((name, key)) = set else {
        if !provider.key_optional {
            let names = provider.key_vars.join("`, `");
            let message = format!("no `api_key`, and no environment variable of `{names}` is set");
            report.error(&params.at, &params.path, message);
        }
        return None;
    };
    let base = params.get("api_base").or_else(|| params.get("base_url"));
    if let Some(base) = base.filter(|_| provider.base.is_some()) {
        let message = format!("no `api_key`: the key in `{name}` is sent to this address");
        report.warning(&base.at, &base.path, message);
    }
    if !is_sendable(&key) {
        let message = format!("environment variable `{name}`: {UNSENDABLE}");
        report.error(&params.at, &params.path, message);
    }
    Some(Secret::new(&key))
}

/// Whether a header can carry it whole.
pub(super) fn is_sendable(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The environment variable that may hold a token for Azure.
const TOKEN_VAR: &str = "AZURE_AD_TOKEN";

pub(super) const UNSENDABLE: &str = "holds a space or a character that a header cannot carry";

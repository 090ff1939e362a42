//! What a deployment is called with: a key, or a token.

use super::diagnostic::Report;
use super::env::Environment;
use super::node::Node;
use super::provider::{Api, Provider};
use crate::secret::Secret;

/// The key, or a token in its place, and whether it is that.
pub(super) fn read(
    params: &Node,
    provider: &Provider,
    environment: &Environment<'_>,
    report: &mut Report,
) -> (Option<Secret>, bool) {
    let given = params.get("azure_ad_token").filter(|node| node.text() != Some(""));
    let on_azure = matches!(provider.api, Api::Azure | Api::AzureAi);
    match given {
        Some(node) if on_azure => (read_token(node, params, report), true),
        Some(node) => {
            report.warning(&node.at, &node.path, "is for Azure: ignored");
            (read_key(params, provider, environment, report), false)
        }
        None => {
            let token =
                if on_azure { token_of_environment(params, provider, environment, report) } else { None };
            match token {
                Some(token) => (Some(token), true),
                None => (read_key(params, provider, environment, report), false),
            }
        }
    }
}

/// A token that the file gives: it goes before a key, as in LiteLLM.
fn read_token(node: &Node, params: &Node, report: &mut Report) -> Option<Secret> {
    let token = node.text()?;
    if token.starts_with("oidc/") {
        report.error(&node.at, &node.path, "tokens of `oidc/` are known to LiteLLM, not supported yet");
    } else if !is_sendable(token) {
        report.error(&node.at, &node.path, UNSENDABLE);
    }
    if let Some(key) = params.get("api_key").filter(|key| key.text() != Some("")) {
        report.warning(&key.at, &key.path, "is not used: `azure_ad_token` is given too");
    }
    Some(Secret::new(token))
}

/// The environment's token, where neither it nor the file has a key.
fn token_of_environment(
    params: &Node,
    provider: &Provider,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<Secret> {
    let has_key = params.get("api_key").is_some_and(|node| node.text() != Some(""))
        || provider.key_vars.iter().any(|name| environment.get(name).is_some());
    let token = environment.get(TOKEN_VAR).filter(|_| !has_key)?;
    if !is_sendable(&token) {
        report.error(&params.at, &params.path, format!("environment variable `{TOKEN_VAR}`: {UNSENDABLE}"));
    }
    Some(Secret::new(&token))
}

fn read_key(
    params: &Node,
    provider: &Provider,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<Secret> {
    if let Some(node) = params.get("api_key").filter(|node| node.text() != Some("")) {
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

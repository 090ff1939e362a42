//! Tokens of Microsoft Entra ID for Azure: who asks for them, and where.

use std::fmt;

use http::Uri;
use ziggurat_oauth::secure_url;

use super::assertion::{Assertion, FEDERATED};
use super::diagnostic::Report;
use super::env::Environment;
use super::node::Node;
use super::provider::encode;
use crate::secret::Secret;

/// An application that gets tokens for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entra {
    /// The token endpoint of its tenant.
    pub(crate) endpoint: Uri,
    /// Its id.
    pub(crate) client_id: String,
    /// What the tokens are for.
    pub(crate) scope: String,
    /// By what it shows who it is.
    pub(crate) proof: Proof,
}

/// By what an application shows who it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Proof {
    /// By its secret.
    Secret(Secret),
    /// By a token that its workload is given.
    Assertion(Assertion),
}

/// Where tokens are asked for, unless the environment says otherwise.
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// The variable that says otherwise, in sovereign clouds say.
const AUTHORITY_VAR: &str = "AZURE_AUTHORITY_HOST";
/// What tokens are for unless another scope is given: LiteLLM's, and Azure OpenAI's.
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// The keys that name an application, and the variables that stand for them.
const TENANT: (&str, &str) = ("tenant_id", "AZURE_TENANT_ID");
const CLIENT: (&str, &str) = ("client_id", "AZURE_CLIENT_ID");
const SECRET: (&str, &str) = ("client_secret", "AZURE_CLIENT_SECRET");

// ===== impl Entra =====

impl Entra {
    /// The first key of a deployment that names an application.
    pub(super) fn named(params: &Node) -> Option<&Node> {
        let given = [TENANT.0, CLIENT.0, SECRET.0].into_iter().filter_map(|key| params.get(key));
        given.into_iter().find(|node| node.text().is_some_and(|text| !text.is_empty()))
    }

    /// The application that the parameters of a deployment name, and the environment where they do not; it shows `assertion`, where there is
    /// one.
    pub(super) fn read(
        params: &Node,
        assertion: Option<Assertion>,
        environment: &Environment<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let tenant = of(TENANT, params, environment);
        let client_id = of(CLIENT, params, environment);
        let proof = match assertion {
            Some(assertion) => Ok(Some(Proof::Assertion(assertion))),
            None => Self::proof(params, environment),
        };
        let proof = proof.map_err(|why| report.error(&params.at, &params.path, why)).ok()?;
        let (Some(tenant), Some(client_id), Some(proof)) = (&tenant, client_id.clone(), proof) else {
            let missing = [(&tenant, TENANT), (&client_id, CLIENT)];
            let missing = missing.into_iter().find(|(value, _)| value.is_none());
            let (key, variable) = missing.map_or(SECRET, |(_, names)| names);
            let message = format!("missing key `{key}`, and no environment variable `{variable}` is set");
            report.error(&params.at, &params.path, message);
            return None;
        };
        let endpoint = endpoint(tenant, params, environment, report)?;
        let scope = of(("azure_scope", "AZURE_SCOPE"), params, environment);
        Some(Self { endpoint, client_id, scope: scope.unwrap_or_else(|| SCOPE.to_owned()), proof })
    }

    /// The application that the environment alone names.
    pub(super) fn of_environment(
        params: &Node,
        environment: &Environment<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        let has = |name: &str| environment.get(name).is_some();
        let is_whole = has(TENANT.1) && has(CLIENT.1) && (has(SECRET.1) || has(FEDERATED));
        if is_whole { Self::read(params, None, environment, report) } else { None }
    }

    /// The secret, or else the token of the workload, where there is one.
    fn proof(params: &Node, environment: &Environment<'_>) -> Result<Option<Proof>, String> {
        if let Some(secret) = of(SECRET, params, environment) {
            return Ok(Some(Proof::Secret(Secret::new(&secret))));
        }
        let Some(path) = environment.get(FEDERATED) else { return Ok(None) };
        let assertion = Assertion::in_file(&path);
        let assertion = assertion.map_err(|why| format!("environment variable `{FEDERATED}`: {why}"))?;
        Ok(Some(Proof::Assertion(assertion)))
    }
}

fn of((key, variable): (&str, &str), params: &Node, environment: &Environment<'_>) -> Option<String> {
    let given = params.get(key).and_then(Node::text).filter(|text| !text.is_empty());
    given.map(str::to_owned).or_else(|| environment.get(variable))
}

fn endpoint(tenant: &str, params: &Node, environment: &Environment<'_>, report: &mut Report) -> Option<Uri> {
    let host = environment.get(AUTHORITY_VAR).unwrap_or_else(|| AUTHORITY.to_owned());
    let host = if host.contains("://") { host } else { format!("https://{host}") };
    let url = format!("{}/{}/oauth2/v2.0/token", host.trim_end_matches('/'), encode(tenant));
    let uri = secure_url(&url);
    if uri.is_none() {
        let message =
            format!("environment variable `{AUTHORITY_VAR}`: must be a URL that begins with https://");
        report.error(&params.at, &params.path, message);
    }
    uri
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("Secret(..)"),
            Self::Assertion(assertion) => f.debug_tuple("Assertion").field(assertion).finish(),
        }
    }
}

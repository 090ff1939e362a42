//! One entry of `model_list`.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use sha2::{Digest, Sha256};
use ziggurat_catalog::Capability;
use ziggurat_core::{Dialect, Operation, Usd, Window};
use ziggurat_dialect::converse;

use super::aws::{self, Aws};
use super::budgets::read_cap_within;
use super::check::{check, find};
use super::credential::{self, Shown, UNSENDABLE, is_sendable};
use super::diagnostic::{Position, Report};
use super::entra::Entra;
use super::env::Environment;
use super::keys::{DEPLOYMENT, LITELLM_PARAMS, MODEL_INFO, Policy};
use super::model::{self, Model};
use super::node::{Node, Value};
use super::price::Pricing;
use super::provider::{Api, Auth, Provider};
use super::reworded::Reworded;
use super::routing::DeploymentRouting;
use super::spending::{Place, Rates};
use super::value::seconds;
use super::vertex::{Publisher, Vertex, ranks};
use crate::secret::Secret;

/// A model at a provider, under the name that callers use.
#[derive(Debug)]
pub(crate) struct Deployment {
    /// `model_name`: what callers ask for; may be a pattern with `*`.
    pub(crate) alias: String,
    /// Who is called.
    pub(crate) provider: &'static Provider,
    /// The model's id at the provider; may contain `*` where the alias does.
    pub(crate) model: String,
    /// `model_info.id`, or a digest of alias, provider, model and address that stays the same between starts.
    pub(crate) id: String,
    /// Whether the file gives the id.
    pub(super) has_own_id: bool,
    /// The provider's key, or the token that stands in for it.
    pub(crate) api_key: Option<Secret>,
    /// Whether that is a token of Entra's, which goes into another header.
    is_token: bool,
    /// Who gets tokens of Entra's for it.
    pub(crate) entra: Option<Entra>,
    /// The address: `api_base`, else the provider's variable, else its public one.
    pub(crate) base: String,
    /// `api_version`; always there for Azure.
    pub(crate) api_version: Option<String>,
    /// What signs its calls, where they are signed.
    pub(crate) aws: Option<Aws>,
    /// Whether it is invoked on Bedrock in Anthropic's words, not by Converse.
    pub(crate) invoked: bool,
    /// What it is called with on Vertex AI.
    pub(crate) vertex: Option<Vertex>,
    /// OpenAI's organisation.
    pub(crate) organization: Option<String>,
    /// Whether to drop parameters that the model does not take; `None` leaves it to the file as a whole.
    pub(crate) drop_params: Option<bool>,
    /// Whether it is asked by chats also for what callers of Responses want.
    chats_only: bool,
    /// Parameters to drop in any case.
    pub(crate) additional_drop_params: Vec<String>,
    /// Parameters to send in any case.
    pub(crate) allowed_openai_params: Vec<String>,
    /// Headers for each call, marked as sensitive.
    pub(crate) extra_headers: HeaderMap,
    /// How long a call may take.
    pub(crate) timeout: Option<Duration>,
    /// How long a stream may take.
    pub(crate) stream_timeout: Option<Duration>,
    /// How calls come to it.
    pub(crate) routing: DeploymentRouting,
    /// What it may be used.
    pub(crate) rates: Rates,
    /// What may be spent there, and the window of that.
    pub(crate) budget: Option<(Usd, Window)>,
    /// What it costs, as far as the file says.
    pub(crate) pricing: Pricing,
    /// What the file says that the model takes, and that it does not.
    pub(crate) supports: Vec<(Capability, bool)>,
    /// Parameters for the provider's request body where the caller gives none.
    pub(crate) extra: Vec<Extra>,
    /// Where it stands in the file.
    pub(crate) position: Position,
}

/// A parameter for the provider's request body.
pub(crate) struct Extra {
    /// Its name.
    pub(crate) key: String,
    /// Its value.
    pub(crate) value: serde_json::Value,
    /// Where it stands in the file.
    pub(crate) position: Position,
}

/// The API version that LiteLLM takes for Azure when none is given.
const AZURE_VERSION: &str = "2025-02-01-preview";

/// Headers that belong to the connection or to the gateway.
const OWN_HEADERS: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade"];

// ===== impl Deployment =====

impl Deployment {
    /// Reads an entry; `None`, with an error in the report, if it cannot be called.
    pub(super) fn read(
        node: &Node,
        zone: Option<&Node>,
        environment: &Environment<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        check(node, &DEPLOYMENT, report);
        if !matches!(node.value, Value::Map(_)) {
            return None;
        }
        let alias = required_text(node, "model_name", report);
        let Some(params) = node.get("litellm_params") else {
            report.error(&node.at, &node.path, "missing key `litellm_params`");
            return None;
        };
        check(params, &LITELLM_PARAMS, report);
        if let Some(info) = node.get("model_info") {
            check(info, &MODEL_INFO, report);
        }
        let model = model::read(params, alias.as_deref(), report);
        let headers = read_headers(params, report);
        let timeouts = ["timeout", "stream_timeout"].map(|key| seconds(params.get(key), report));
        let info = node.get("model_info");
        let rates = Rates::of_deployment(params, info, report);
        let budget = read_cap_within(params.get("max_budget"), params.get("budget_duration"), zone, report);
        let pricing = Pricing::read(params, info, report);
        let routing = DeploymentRouting::read(params, info, report);
        let Model { provider, id: model } = model?;
        let invoked = provider.api == Api::Bedrock && model.starts_with(aws::INVOKED);
        let (region, model) = match provider.api {
            Api::Bedrock => aws::split(&model),
            _ => (None, &*model),
        };
        let base = match provider.api {
            Api::Bedrock => read_endpoint(params, region, environment, report),
            _ => read_base(params, provider, environment, report),
        };
        let (api_key, is_token, entra) = match credential::read(params, provider, environment, report)? {
            Shown::Key(key) => (key, false, None),
            Shown::Token(token) => (Some(token), true, None),
            Shown::Entra(entra) => (None, false, Some(entra)),
        };
        let vertex = match provider.api {
            Api::Vertex => Some(Vertex::read(params, environment, report)?),
            _ => None,
        };
        let aws = Aws::read(params, provider, region, api_key.is_some(), environment, report);
        let model = model.to_owned();
        let (alias, base) = (alias?, base?);
        let id = given_id(node);
        Some(Self {
            has_own_id: id.is_some(),
            id: id.unwrap_or_else(|| digest(&[&alias, &provider.id, &model, &base])),
            alias,
            provider,
            model,
            api_key,
            is_token,
            entra,
            base,
            aws,
            invoked,
            vertex,
            api_version: read_version(params, provider, environment),
            organization: read_organization(params, report),
            drop_params: params.get("drop_params").and_then(Node::flag),
            chats_only: params.get("use_chat_completions_api").and_then(Node::flag).unwrap_or_default(),
            additional_drop_params: read_texts(params, "additional_drop_params"),
            allowed_openai_params: read_texts(params, "allowed_openai_params"),
            extra_headers: headers,
            timeout: timeouts[0],
            stream_timeout: timeouts[1],
            routing,
            rates,
            budget,
            pricing,
            supports: info.map(read_supports).unwrap_or_default(),
            extra: read_extra(params),
            position: node.at.clone(),
        })
    }

    /// Its place in the file, for what is found to be wrong with it later.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.position.clone(), "model_list")
    }

    /// Whether its alias is a pattern.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.alias.contains('*')
    }

    /// The dialect in which a model is asked.
    pub(crate) fn dialect(&self, model: &str) -> Dialect {
        match (&self.vertex, Publisher::of(model)) {
            (Some(_), Publisher::Anthropic) => Dialect::Anthropic,
            _ if self.invoked => Dialect::Anthropic,
            _ => self.provider.dialect(),
        }
    }

    /// Whether a model is one to talk with.
    pub(crate) fn converses(&self, model: &str) -> bool {
        self.provider.chats && !(self.vertex.is_some() && ranks(model))
    }

    /// The URL for a chat with a model, which is [`model`](Self::model) with its `*` filled in.
    pub(crate) fn chat_url(&self, model: &str) -> String {
        if let Some(vertex) = &self.vertex {
            return vertex.url(model, false);
        }
        if self.invoked {
            return format!("{}{}", self.base, converse::path(model, "invoke"));
        }
        self.provider.chat_url(&self.base, model, self.api_version.as_deref())
    }

    /// The URL for a stream of a chat, where that is another.
    pub(crate) fn stream_url(&self, model: &str) -> Option<String> {
        if let Some(vertex) = &self.vertex {
            return Some(vertex.url(model, true));
        }
        if self.invoked {
            return Some(format!("{}{}", self.base, converse::path(model, "invoke-with-response-stream")));
        }
        self.provider.stream_url(&self.base, model)
    }

    /// The URLs of what else the provider does in its callers' own words.
    pub(crate) fn other_urls(&self, model: &str) -> Vec<(Operation, String)> {
        if let Some(vertex) = &self.vertex {
            return vertex.other_urls(model);
        }
        let mut urls = self.provider.other_urls(&self.chat_url(model));
        urls.retain(|(operation, _)| !(self.chats_only && *operation == Operation::Responses));
        urls
    }

    /// What else the provider does in words of its own.
    pub(crate) fn reworded(&self, model: &str) -> Vec<Reworded> {
        match &self.vertex {
            Some(vertex) => vertex.reworded(model),
            None if self.invoked => Vec::new(),
            None => self.provider.reworded(&self.base, &self.chat_url(model), model),
        }
    }

    /// The header that carries the key.
    pub(crate) fn auth(&self) -> Auth {
        if self.is_token { Auth::Bearer } else { self.provider.auth_at(&self.base) }
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extra")
            .field("key", &self.key)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

// ===== reading =====

/// The string under a key that must be there and not be empty.
pub(super) fn required_text(node: &Node, key: &str, report: &mut Report) -> Option<String> {
    match node.get(key) {
        None => report.error(&node.at, &node.path, format!("missing key `{key}`")),
        Some(found) if found.text() == Some("") => report.error(&found.at, &found.path, "is empty"),
        Some(found) => return found.text().map(str::to_owned),
    }
    None
}

fn owned_text(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::text).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn read_texts(node: &Node, key: &str) -> Vec<String> {
    let items = node.get(key).map_or(&[][..], Node::items);
    items.iter().filter_map(Node::text).map(str::to_owned).collect()
}

fn read_version(params: &Node, provider: &Provider, environment: &Environment<'_>) -> Option<String> {
    let given = owned_text(params, "api_version");
    if provider.api != Api::Azure {
        return given;
    }
    given.or_else(|| environment.get("AZURE_API_VERSION")).or_else(|| Some(AZURE_VERSION.to_owned()))
}

fn read_base(
    params: &Node,
    provider: &Provider,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<String> {
    if let (Some(_), Some(twin)) = (params.get("api_base"), params.get("base_url")) {
        report.error(&twin.at, &twin.path, "is another name for `api_base`, which is given too");
    }
    let given = params.get("api_base").or_else(|| params.get("base_url"));
    if let Some(node) = given.filter(|node| node.text() != Some("")) {
        let base = node.text()?;
        return match url_fault(base) {
            None => Some(base.to_owned()),
            Some(fault) => {
                report.error(&node.at, &node.path, fault);
                None
            }
        };
    }
    let set = provider.base_vars.iter().find_map(|name| Some((name, environment.get(name)?)));
    match set {
        Some((name, base)) => match url_fault(&base) {
            None => return Some(base),
            Some(fault) => {
                report.error(&params.at, &params.path, format!("environment variable `{name}`: {fault}"));
            }
        },
        None if provider.base.is_some() => return provider.base.clone(),
        None => {
            let id = &provider.id;
            report.error(
                &params.at,
                &params.path,
                format!("missing key `api_base`: `{id}` has no public address"),
            );
        }
    }
    None
}

/// The address of Bedrock: `aws_bedrock_runtime_endpoint`, as all have it `api_base`, or that of the region.
fn read_endpoint(
    params: &Node,
    region: Option<&str>,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<String> {
    let given = ["aws_bedrock_runtime_endpoint", "api_base", "base_url"]
        .into_iter()
        .find_map(|key| params.get(key).filter(|node| node.text().is_some_and(|text| !text.is_empty())));
    let Some(node) = given else {
        let set = environment.get("AWS_BEDROCK_RUNTIME_ENDPOINT");
        let base = set.unwrap_or_else(|| aws::address(&Aws::region(params, region, environment)));
        return match url_fault(&base) {
            None => Some(base),
            Some(fault) => {
                report.error(&params.at, &params.path, format!("the address of the region: {fault}"));
                None
            }
        };
    };
    let base = node.text()?;
    match url_fault(base) {
        None => Some(base.trim_end_matches('/').to_owned()),
        Some(fault) => {
            report.error(&node.at, &node.path, fault);
            None
        }
    }
}

/// What is wrong with an address, without quoting it: it may hold a password.
fn url_fault(base: &str) -> Option<&'static str> {
    let Ok(uri) = base.parse::<Uri>() else { return Some("is not a URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Some("must begin with http:// or https://");
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Some("holds a user name or password, which belongs in `api_key` or `extra_headers`");
    }
    if uri.host().is_none_or(str::is_empty) {
        return Some("has no host");
    }
    base.contains('#').then_some("holds a fragment")
}

fn read_organization(params: &Node, report: &mut Report) -> Option<String> {
    let organization = owned_text(params, "organization")?;
    if let Some(node) = params.get("organization").filter(|_| !is_sendable(&organization)) {
        report.error(&node.at, &node.path, UNSENDABLE);
    }
    Some(organization)
}

fn read_headers(params: &Node, report: &mut Report) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Of two of one name the later holds, as in LiteLLM.
    let given = ["headers", "extra_headers"].into_iter().filter_map(|key| params.get(key));
    for entry in given.flat_map(Node::entries) {
        let name = HeaderName::from_bytes(entry.key.as_bytes()).ok();
        let Some(name) = name.filter(|name| !OWN_HEADERS.contains(&name.as_str())) else {
            report.error(&entry.at, &entry.node.path, "not the name of a header that can be set");
            continue;
        };
        if matches!(entry.node.value, Value::Null | Value::Missing) {
            continue;
        }
        match entry.node.text().and_then(|text| HeaderValue::from_str(text).ok()) {
            Some(mut value) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            None => {
                report.error(&entry.node.at, &entry.node.path, "expected a string that a header can carry")
            }
        }
    }
    headers
}

fn read_extra(params: &Node) -> Vec<Extra> {
    let body = params.get("extra_body").map_or(&[][..], Node::entries);
    let own = params
        .entries()
        .iter()
        .filter(|entry| find(&LITELLM_PARAMS, &entry.key).is_none_or(|group| group.policy == Policy::Pass));
    let extra = own.chain(body).map(|entry| Extra {
        key: entry.key.clone(),
        value: entry.node.to_json(),
        position: entry.at.clone(),
    });
    extra.collect()
}

/// `supports_*`, as far as anything depends on it.
fn read_supports(info: &Node) -> Vec<(Capability, bool)> {
    let read = info.entries().iter().filter(|entry| {
        entry.key.starts_with(SUPPORTS)
            && find(&MODEL_INFO, &entry.key).is_some_and(|group| group.policy == Policy::Read)
    });
    let said = read.filter_map(|entry| {
        Some((Capability::of_name(entry.key.strip_prefix(SUPPORTS)?)?, entry.node.flag()?))
    });
    said.collect()
}

const SUPPORTS: &str = "supports_";

fn given_id(node: &Node) -> Option<String> {
    match &node.get("model_info")?.get("id")?.value {
        Value::Text(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// The hexadecimal SHA-256 of some texts, each with its length, so that no two lists are alike.
pub(super) fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

//! The providers that this gateway can call, from `data/providers.jsonl`: where they are and how they want to be called.

use std::sync::LazyLock;

use serde::Deserialize;
use ziggurat_core::Dialect;

/// A provider of models.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    /// The id that stands before the slash in `litellm_params.model`.
    pub(crate) id: String,
    /// Its public address, if there is one address for all.
    pub(crate) base: Option<String>,
    /// The shape of its chat API.
    pub(crate) api: Api,
    /// How it wants the key; [`auth_at`](Self::auth_at) knows the exceptions.
    auth: Auth,
    /// The environment variables that may hold its key, first come first.
    pub(crate) key_vars: Vec<String>,
    /// The environment variables that may hold its address.
    pub(crate) base_vars: Vec<String>,
    /// Whether it can be called without a key, as servers on one's own machine can.
    #[serde(default)]
    pub(crate) key_optional: bool,
}

/// The shape of a chat API: its dialect and its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Api {
    /// OpenAI's Chat Completions.
    #[serde(rename = "openai")]
    OpenAi,
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's on Azure, where the path names the deployment and the query the version.
    Azure,
    /// OpenAI's on Azure AI Foundry.
    AzureAi,
}

/// The header that carries the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Auth {
    /// `authorization: Bearer <key>`.
    Bearer,
    /// `x-api-key: <key>`.
    XApiKey,
    /// `api-key: <key>`.
    ApiKey,
}

static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    let rows = include_str!("../../data/providers.jsonl").lines();
    rows.map(|row| serde_json::from_str(row).expect("invariant: a test parses each row")).collect()
});

/// The ids that LiteLLM knows and this gateway does not support yet.
const LATER: &str = include_str!("../../data/providers.later.txt");

// ===== impl Provider =====

impl Provider {
    /// All supported providers.
    pub(crate) fn all() -> &'static [Provider] {
        &PROVIDERS
    }

    /// The provider with an id.
    pub(crate) fn find(id: &str) -> Option<&'static Provider> {
        Self::all().iter().find(|provider| provider.id == id)
    }

    /// The ids that LiteLLM knows and this gateway does not support yet.
    pub(super) fn later() -> impl Iterator<Item = &'static str> {
        LATER.lines()
    }

    /// The provider that a name without prefix can only mean.
    pub(super) fn of_bare_model(model: &str) -> Option<&'static Provider> {
        let begins_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| model.starts_with(prefix));
        let is_numbered =
            ["o1", "o3", "o4"].iter().any(|name| model == *name || model.starts_with(&format!("{name}-")));
        if is_numbered || begins_with(OPENAI_NAMES) {
            Self::find("openai")
        } else if begins_with(&["claude-"]) {
            Self::find("anthropic")
        } else {
            None
        }
    }

    /// The dialect that it speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        match self.api {
            Api::Anthropic => Dialect::Anthropic,
            Api::OpenAi | Api::Azure | Api::AzureAi => Dialect::OpenAi,
        }
    }

    /// How it wants the key at an address.
    pub(crate) fn auth_at(&self, base: &str) -> Auth {
        let on_azure = self.api == Api::AzureAi && AZURE_KEY_HOSTS.iter().any(|host| has_host(base, host));
        if on_azure { Auth::ApiKey } else { self.auth }
    }

    /// The URL for a chat at an address; a path or query that the address already has is not doubled.
    pub(super) fn chat_url(&self, base: &str, model: &str, api_version: Option<&str>) -> String {
        let (path, query) = base.split_once('?').unwrap_or((base, ""));
        let path = path.trim_end_matches('/');
        let version = match self.api {
            Api::OpenAi | Api::Anthropic => None,
            Api::Azure if path.ends_with(AZURE_V1) => None,
            Api::Azure | Api::AzureAi => api_version.filter(|_| !query.contains("api-version=")),
        };
        let path = match self.api {
            Api::OpenAi => ending_in(path, &["/chat/completions"]),
            Api::Anthropic => ending_in(path, &["/v1", "/messages"]),
            Api::Azure => azure_path(path, model),
            Api::AzureAi if has_host(path, FOUNDRY) => ending_in(path, &["/models", "/chat/completions"]),
            Api::AzureAi => ending_in(path, &["/chat/completions"]),
        };
        let version = version.map(|version| format!("api-version={}", encode(version)));
        let query: Vec<&str> =
            [query, version.as_deref().unwrap_or("")].into_iter().filter(|part| !part.is_empty()).collect();
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }
}

// ===== helpers =====

/// Appends the segments of `ending` that the path does not end in yet.
fn ending_in(path: &str, ending: &[&str]) -> String {
    for kept in (1..=ending.len()).rev() {
        if path.ends_with(&ending[..kept].concat()) {
            return format!("{path}{}", ending[kept..].concat());
        }
    }
    format!("{path}{}", ending.concat())
}

fn azure_path(path: &str, model: &str) -> String {
    let names_deployment = path.contains("/openai/deployments/");
    if names_deployment || path.ends_with(AZURE_V1) || path.ends_with("/chat/completions") {
        return ending_in(path, &["/chat/completions"]);
    }
    format!("{path}/openai/deployments/{}/chat/completions", encode(model))
}

/// Percent-encodes all but unreserved characters, so that a name from a caller stays one segment.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'_' | b'~' | b'.' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    // A segment of dots alone would be a way up.
    if encoded.bytes().all(|byte| byte == b'.') { encoded.replace('.', "%2E") } else { encoded }
}

fn has_host(url: &str, suffix: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', ':', '?']).next().unwrap_or_default();
    host.to_ascii_lowercase().ends_with(suffix)
}

const OPENAI_NAMES: &[&str] = &[
    "gpt-",
    "chatgpt-",
    "ft:gpt-",
    "computer-use-",
    "text-embedding-",
    "omni-moderation-",
    "dall-e-",
    "whisper-",
    "tts-",
    "sora-",
];
const AZURE_V1: &str = "/openai/v1";
const FOUNDRY: &str = ".services.ai.azure.com";
const AZURE_KEY_HOSTS: [&str; 2] = [FOUNDRY, ".openai.azure.com"];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_row_is_sound() {
        assert!(Provider::all().len() >= 20);
        let mut ids = HashSet::new();
        for provider in Provider::all() {
            assert!(ids.insert(provider.id.as_str()), "{} twice", provider.id);
            assert!(provider.key_optional || !provider.key_vars.is_empty(), "{}", provider.id);
            assert!(provider.base.is_some() || !provider.base_vars.is_empty() || provider.key_optional);
            let Some(base) = &provider.base else { continue };
            let uri: http::Uri = base.parse().unwrap();
            let is_local = matches!(uri.host(), Some("127.0.0.1" | "localhost"));
            assert!(uri.scheme_str() == Some("https") || is_local, "{base}");
            assert!(!base.ends_with('/') && uri.query().is_none(), "{base}");
        }
        for id in Provider::later() {
            assert!(ids.insert(id), "{id} twice");
            assert!(!id.is_empty() && !id.contains([' ', '/']), "{id}");
        }
    }

    #[test]
    fn chat_urls_double_nothing() {
        let cases = [
            ("openai", "https://h/v1", "https://h/v1/chat/completions"),
            ("openai", "https://h/v1/", "https://h/v1/chat/completions"),
            ("openai", "http://h:1/r/x", "http://h:1/r/x/chat/completions"),
            ("openai", "https://h/v1/chat/completions", "https://h/v1/chat/completions"),
            ("openai", "https://h/v1?a=b", "https://h/v1/chat/completions?a=b"),
            ("anthropic", "https://h", "https://h/v1/messages"),
            ("anthropic", "https://h/v1", "https://h/v1/messages"),
            ("anthropic", "https://h/v1/messages", "https://h/v1/messages"),
            ("anthropic", "http://h/r/x/", "http://h/r/x/v1/messages"),
            ("azure", "https://h", "https://h/openai/deployments/m/chat/completions?api-version=v"),
            (
                "azure",
                "https://h/openai/deployments/d",
                "https://h/openai/deployments/d/chat/completions?api-version=v",
            ),
            (
                "azure",
                "https://h/?api-version=w",
                "https://h/openai/deployments/m/chat/completions?api-version=w",
            ),
            ("azure", "https://h/openai/v1/", "https://h/openai/v1/chat/completions"),
            ("azure_ai", "https://h/x", "https://h/x/chat/completions?api-version=v"),
            (
                "azure_ai",
                "https://r.services.ai.azure.com",
                "https://r.services.ai.azure.com/models/chat/completions?api-version=v",
            ),
            (
                "azure_ai",
                "https://r.services.ai.azure.com/models",
                "https://r.services.ai.azure.com/models/chat/completions?api-version=v",
            ),
        ];
        for (id, base, expected) in cases {
            assert_eq!(Provider::find(id).unwrap().chat_url(base, "m", Some("v")), expected, "{id} {base}");
        }
    }

    #[test]
    fn a_model_name_cannot_leave_its_segment_on_azure() {
        let azure = Provider::find("azure").unwrap();
        for (model, segment) in [("../x?y#z", "..%2Fx%3Fy%23z"), ("..", "%2E%2E"), ("gpt-4.1", "gpt-4.1")] {
            let expected = format!("https://h/openai/deployments/{segment}/chat/completions");
            assert_eq!(azure.chat_url("https://h", model, None), expected);
        }
    }

    #[test]
    fn azure_ai_takes_the_header_of_its_host() {
        let azure_ai = Provider::find("azure_ai").unwrap();
        assert_eq!(azure_ai.auth_at("https://x.services.ai.azure.com/models"), Auth::ApiKey);
        assert_eq!(azure_ai.auth_at("https://x.eastus.models.ai.azure.com"), Auth::Bearer);
        assert_eq!(azure_ai.auth_at("https://evil.example/x.services.ai.azure.com"), Auth::Bearer);
        assert_eq!(Provider::find("anthropic").unwrap().auth_at("https://h"), Auth::XApiKey);
        assert_eq!(Provider::find("azure").unwrap().auth_at("https://h"), Auth::ApiKey);
    }

    #[test]
    fn infers_the_provider_of_well_known_names() {
        let id = |model| Provider::of_bare_model(model).map(|provider| provider.id.as_str());
        for model in ["gpt-4o", "o1", "o3-mini", "o4-mini", "chatgpt-4o-latest"] {
            assert_eq!(id(model), Some("openai"), "{model}");
        }
        assert_eq!(id("claude-sonnet-4-5"), Some("anthropic"));
        for model in ["llama3", "o11", "o1x", "gpt4"] {
            assert_eq!(id(model), None, "{model}");
        }
    }
}

//! The providers that this gateway can call, from `data/providers.jsonl`: where they are and how they want to be called.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer};
use ziggurat_core::{Dialect, Operation, Quirks, Thoughts, percent_encoded};
use ziggurat_dialect::converse;

use super::reworded::Ranks;

/// A provider of models.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    /// The id that stands before the slash in `litellm_params.model`.
    pub(crate) id: String,
    /// Other ids that mean it.
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
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
    /// Whether it serves OpenAI's Responses itself; of others they are asked as chats.
    #[serde(default)]
    pub(crate) responses: bool,
    /// Whether chats can be had with it.
    #[serde(default = "yes")]
    pub(crate) chats: bool,
    /// Whether its embeddings, in OpenAI's shape, have no format but lists of numbers.
    #[serde(default)]
    pub(super) plain_embeddings: bool,
    /// How it ranks, if it does beside OpenAI's API.
    pub(super) ranks: Option<Ranks>,
    /// What of sound and images it serves as OpenAI's API has it.
    #[serde(default)]
    media: Vec<Media>,
    /// What an address that is given without it, as its owner writes it, lacks before `/chat/completions`.
    #[serde(default)]
    chat_prefix: Option<String>,
    /// The parameters that it knows by another name: OpenAI's name, and its own.
    #[serde(default, deserialize_with = "pairs")]
    renames: Arc<[(String, String)]>,
    /// The parameters that it refuses.
    #[serde(default, deserialize_with = "names")]
    drops: Arc<[String]>,
    /// Whether it knows no `stream_options`, and tells at the end of each stream what was used.
    #[serde(default)]
    no_stream_options: bool,
    /// Whether it takes Mistral's form of OpenAI's chats: other words for some parameters, and ids of nine characters.
    #[serde(default)]
    mistral: bool,
    /// How it takes back what its model thought.
    thoughts: Option<Thought>,
    /// The most bytes of an image that it takes.
    max_image: Option<u64>,
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
    /// Google's `generateContent`, where the path names the model.
    Gemini,
    /// Bedrock's Converse, where the path names the model, and calls are signed.
    Bedrock,
    /// Vertex AI, where the path names project, region, publisher and model.
    Vertex,
    /// Ollama's own.
    Ollama,
    /// Cohere's second.
    Cohere,
}

/// How a chat in OpenAI's words has what was thought earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Thought {
    ReasoningContent,
    Reasoning,
    ReasoningDetails,
}

/// What OpenAI's API has beside text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Media {
    Images,
    Edits,
    Variations,
    Speech,
    Transcriptions,
    Translations,
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
    /// `x-goog-api-key: <key>`.
    XGoogApiKey,
    /// `api-subscription-key: <key>`.
    ApiSubscriptionKey,
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

    /// The provider with an id, or with an alias of that name.
    pub(crate) fn find(id: &str) -> Option<&'static Provider> {
        Self::all().iter().find(|provider| provider.ids().any(|known| known == id))
    }

    /// Its id and its aliases.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.id).chain(&self.aliases).map(String::as_str)
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
            Api::Gemini | Api::Vertex => Dialect::Gemini,
            Api::Bedrock => Dialect::Converse,
            Api::Ollama => Dialect::Ollama,
            Api::Cohere => Dialect::Cohere,
        }
    }

    /// In what its requests differ from those of its dialect.
    pub(crate) fn quirks(&self) -> Quirks {
        let mut quirks = Quirks::default();
        quirks.renames = Arc::clone(&self.renames);
        quirks.refuses = Arc::clone(&self.drops);
        quirks.no_stream_options = self.no_stream_options;
        quirks.mistral = self.mistral;
        quirks.thoughts = self.thoughts.map(|form| match form {
            Thought::ReasoningContent => Thoughts::ReasoningContent,
            Thought::Reasoning => Thoughts::Reasoning,
            Thought::ReasoningDetails => Thoughts::ReasoningDetails,
        });
        quirks.max_image = self.max_image;
        quirks
    }

    /// How it wants the key at an address.
    pub(crate) fn auth_at(&self, base: &str) -> Auth {
        let on_azure = self.api == Api::AzureAi && AZURE_KEY_HOSTS.iter().any(|host| has_host(base, host));
        if on_azure { Auth::ApiKey } else { self.auth }
    }

    /// Whether it is OpenAI by its id, at an address that is neither OpenAI's nor Azure's.
    pub(crate) fn is_elsewhere(&self, base: &str) -> bool {
        self.id == "openai" && !OPENAI_HOSTS.iter().any(|host| has_host(base, host))
    }

    /// The URL for a chat that is streamed, where that is another.
    pub(super) fn stream_url(&self, base: &str, model: &str) -> Option<String> {
        let (path, query) = base.split_once('?').unwrap_or((base, ""));
        let path = path.trim_end_matches('/');
        let (path, own) = match self.api {
            Api::Gemini => (format!("{path}/models/{}:streamGenerateContent", encode(model)), "alt=sse"),
            Api::Bedrock => (format!("{path}{}", converse::path(model, "converse-stream")), ""),
            _ => return None,
        };
        let query: Vec<&str> = [query, own].into_iter().filter(|part| !part.is_empty()).collect();
        Some(if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
    }

    /// The URLs of what else it does as OpenAI's API has it, by that of a chat.
    pub(super) fn other_urls(&self, chat: &str) -> Vec<(Operation, String)> {
        let (path, query) = chat.split_once('?').unwrap_or((chat, ""));
        let whole = |path: String| if query.is_empty() { path } else { format!("{path}?{query}") };
        if self.api == Api::Anthropic {
            return vec![(Operation::CountTokens, whole(format!("{path}/count_tokens")))];
        }
        if let (Api::Gemini, Some(model)) = (self.api, path.strip_suffix(":generateContent")) {
            return GOOGLES.iter().map(|(it, verb)| (*it, whole(format!("{model}:{verb}")))).collect();
        }
        let Some(root) = path.strip_suffix("/chat/completions") else { return Vec::new() };
        let served = SAME_ROOT.iter().filter(|(it, _)| self.chats || *it == Operation::Embeddings);
        let mut urls: Vec<_> = served.map(|(it, end)| (*it, whole(format!("{root}{end}")))).collect();
        urls.extend(
            self.media.iter().map(|media| media.at()).map(|(it, end)| (it, whole(format!("{root}{end}")))),
        );
        if self.responses {
            let url = match root.find("/deployments/") {
                // On Azure they stand at the root without versions, and the body names the deployment.
                Some(at) => format!("{}/v1/responses", &root[..at]),
                None => whole(format!("{root}/responses")),
            };
            urls.push((Operation::Responses, url));
        }
        urls
    }

    /// The URL for a chat at an address; a path or query that the address already has is not doubled.
    pub(super) fn chat_url(&self, base: &str, model: &str, api_version: Option<&str>) -> String {
        let (path, query) = base.split_once('?').unwrap_or((base, ""));
        let path = path.trim_end_matches('/');
        let version = match self.api {
            Api::Azure if path.ends_with(AZURE_V1) => None,
            Api::Azure | Api::AzureAi => api_version.filter(|_| !query.contains("api-version=")),
            _ => None,
        };
        let path = match self.api {
            Api::OpenAi if path.ends_with(CHAT) => path.to_owned(),
            Api::OpenAi => ending_in(path, &[self.chat_prefix.as_deref().unwrap_or(""), CHAT]),
            Api::Anthropic => ending_in(path, &["/v1", "/messages"]),
            Api::Azure => azure_path(path, model),
            Api::AzureAi if has_host(path, FOUNDRY) => ending_in(path, &["/models", CHAT]),
            Api::AzureAi => ending_in(path, &[CHAT]),
            Api::Gemini => format!("{path}/models/{}:generateContent", encode(model)),
            Api::Bedrock => format!("{path}{}", converse::path(model, "converse")),
            // It has URLs of its own.
            Api::Vertex => path.to_owned(),
            Api::Ollama => ending_in(path, &["/api", "/chat"]),
            Api::Cohere => ending_in(path, &["/v2", "/chat"]),
        };
        let version = version.map(|version| format!("api-version={}", encode(version)));
        let query: Vec<&str> =
            [query, version.as_deref().unwrap_or("")].into_iter().filter(|part| !part.is_empty()).collect();
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }
}

// ===== impl Media =====

impl Media {
    /// What it is asked for, and at which path behind the root.
    const fn at(self) -> (Operation, &'static str) {
        match self {
            Self::Images => (Operation::Images, "/images/generations"),
            Self::Edits => (Operation::ImageEdit, "/images/edits"),
            Self::Variations => (Operation::ImageVariation, "/images/variations"),
            Self::Speech => (Operation::Speech, "/audio/speech"),
            Self::Transcriptions => (Operation::Transcription, "/audio/transcriptions"),
            Self::Translations => (Operation::Translation, "/audio/translations"),
        }
    }
}

// ===== helpers =====

const fn yes() -> bool {
    true
}

fn pairs<'de, D: Deserializer<'de>>(row: D) -> Result<Arc<[(String, String)]>, D::Error> {
    Ok(BTreeMap::<String, String>::deserialize(row)?.into_iter().collect())
}

fn names<'de, D: Deserializer<'de>>(row: D) -> Result<Arc<[String]>, D::Error> {
    Ok(Vec::<String>::deserialize(row)?.into())
}

/// Appends the segments of `ending` that the path does not end in yet.
pub(super) fn ending_in(path: &str, ending: &[&str]) -> String {
    for kept in (1..=ending.len()).rev() {
        if path.ends_with(&ending[..kept].concat()) {
            return format!("{path}{}", ending[kept..].concat());
        }
    }
    format!("{path}{}", ending.concat())
}

fn azure_path(path: &str, model: &str) -> String {
    let names_deployment = path.contains("/openai/deployments/");
    if names_deployment || path.ends_with(AZURE_V1) || path.ends_with(CHAT) {
        return ending_in(path, &[CHAT]);
    }
    format!("{path}/openai/deployments/{}{CHAT}", encode(model))
}

/// Percent-encodes all but unreserved characters, so that a name from a caller stays one segment.
pub(crate) fn encode(text: &str) -> String {
    let encoded = percent_encoded(text);
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
/// What stands beside chats, at the same root.
const SAME_ROOT: [(Operation, &str); 3] = [
    (Operation::Completions, "/completions"),
    (Operation::Embeddings, "/embeddings"),
    (Operation::Moderation, "/moderations"),
];
/// What stands beside chats with Google's models.
const GOOGLES: [(Operation, &str); 3] = [
    (Operation::CountContent, "countTokens"),
    (Operation::EmbedContent, "embedContent"),
    (Operation::BatchEmbedContents, "batchEmbedContents"),
];
const CHAT: &str = "/chat/completions";
const AZURE_V1: &str = "/openai/v1";
const FOUNDRY: &str = ".services.ai.azure.com";
const AZURE: &str = ".openai.azure.com";
const AZURE_KEY_HOSTS: [&str; 2] = [FOUNDRY, AZURE];
const OPENAI_HOSTS: [&str; 4] = [".openai.com", AZURE, FOUNDRY, ".cognitiveservices.azure.com"];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_row_is_sound() {
        let compatible = Provider::all().iter().filter(|provider| provider.api == Api::OpenAi);
        assert!(compatible.count() >= 80);
        let mut ids = HashSet::new();
        for provider in Provider::all() {
            for id in provider.ids() {
                assert!(ids.insert(id), "{id} twice");
                assert!(!id.is_empty() && !id.contains([' ', '/', '*']), "{id}");
            }
            assert!(provider.key_optional || !provider.key_vars.is_empty(), "{}", provider.id);
            assert!(provider.base.is_some() || !provider.base_vars.is_empty() || provider.key_optional);
            for name in provider.key_vars.iter().chain(&provider.base_vars) {
                let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
                assert!(!name.is_empty() && name.bytes().all(fits), "{name}");
            }
            if let Some(prefix) = &provider.chat_prefix {
                assert!(prefix.starts_with('/') && !prefix.ends_with('/'), "{prefix}");
            }
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
    fn the_readme_counts_the_rows() {
        let chats = Provider::all().iter().filter(|provider| provider.api == Api::OpenAi && provider.chats);
        let compatible = chats.count();
        let count = format!("{} today, {compatible} of which", Provider::all().len());
        assert!(include_str!("../../README.md").contains(&count), "{count}");
    }

    #[test]
    fn no_parameter_of_a_row_has_two_fates() {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        for provider in Provider::all() {
            let quirks = provider.quirks();
            let renames = quirks.renames.iter().flat_map(|(from, to)| [from, to]);
            let mut names = HashSet::new();
            for name in renames.chain(&*quirks.refuses) {
                assert!(is_name(name) && name != "model" && name != "messages", "{}: {name}", provider.id);
                assert!(names.insert(name), "{}: {name} twice", provider.id);
            }
            let differs = !quirks.is_empty() || quirks.thoughts.is_some();
            assert!(!differs || provider.dialect() == Dialect::OpenAi, "{}", provider.id);
        }
    }

    #[test]
    fn a_member_that_no_row_has_is_an_error() {
        let row = r#"{"id": "x", "api": "openai", "auth": "bearer", "key_vars": ["X"], "base_vars": []"#;
        assert!(serde_json::from_str::<Provider>(&format!("{row}}}")).is_ok());
        for member in [
            "\"rename\": {}",
            "\"drop\": []",
            "\"aliases\": \"y\"",
            "\"renames\": [\"a\"]",
            "\"thoughts\": \"some\"",
            "\"max_image\": \"5 MB\"",
        ] {
            assert!(serde_json::from_str::<Provider>(&format!("{row}, {member}}}")).is_err(), "{member}");
        }
    }

    #[test]
    fn rows_say_what_their_providers_take() {
        let renames = |id| Provider::find(id).unwrap().quirks().renames.to_vec();
        let cap = [("max_completion_tokens".to_owned(), "max_tokens".to_owned())];
        for id in ["poe", "chutes", "nebius", "docker_model_runner"] {
            assert_eq!(renames(id), cap, "{id}");
        }
        assert_eq!(renames("openai"), []);
        let groq = Provider::find("groq").unwrap().quirks();
        assert_eq!(*groq.refuses, ["logit_bias", "logprobs", "top_logprobs"]);
        assert!(Provider::find("codestral").unwrap().quirks().no_stream_options);
        let thoughts = |id| Provider::find(id).unwrap().quirks().thoughts;
        assert_eq!((thoughts("openai"), thoughts("mistral")), (None, None));
        assert_eq!(thoughts("deepseek"), Some(Thoughts::ReasoningContent));
        assert_eq!(thoughts("hosted_vllm"), Some(Thoughts::Reasoning));
        assert_eq!(thoughts("openrouter"), Some(Thoughts::ReasoningDetails));
        let images = |id| Provider::find(id).unwrap().quirks().max_image;
        assert_eq!((images("anthropic"), images("bedrock")), (Some(5 << 20), Some(15 << 18)));
        assert_eq!(images("openai"), None);
        assert_eq!(Provider::find("sarvam").unwrap().auth_at("https://h"), Auth::ApiSubscriptionKey);
        for (alias, id) in [("ai21_chat", "ai21"), ("nanogpt", "nano-gpt"), ("venice", "veniceai")] {
            assert_eq!(Provider::find(alias).unwrap().id, id);
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
            ("poe", "https://h/v1/chat/completions/", "https://h/v1/chat/completions"),
            ("perplexity", "https://api.perplexity.ai", "https://api.perplexity.ai/chat/completions"),
            ("docker_model_runner", "http://h/engines/x", "http://h/engines/x/v1/chat/completions"),
            ("docker_model_runner", "http://h/engines/x/v1/", "http://h/engines/x/v1/chat/completions"),
            ("heroku", "https://h", "https://h/v1/chat/completions"),
            ("heroku", "https://h/v1/chat/completions", "https://h/v1/chat/completions"),
            ("cometapi", "https://h/v1", "https://h/v1/chat/completions"),
            ("gradient_ai", "https://h", "https://h/api/v1/chat/completions"),
            ("gradient_ai", "https://h/api/v1", "https://h/api/v1/chat/completions"),
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
            ("gemini", "https://h/v1beta/", "https://h/v1beta/models/m:generateContent"),
            ("bedrock", "https://h", "https://h/model/m/converse"),
            ("ollama", "http://h:11434", "http://h:11434/api/chat"),
            ("ollama_chat", "http://h:11434/api/", "http://h:11434/api/chat"),
            ("cohere", "https://h", "https://h/v2/chat"),
            ("cohere", "https://h/v2", "https://h/v2/chat"),
            ("cohere", "http://h/r/x/v2/chat", "http://h/r/x/v2/chat"),
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
    fn streams_have_urls_of_their_own_where_the_path_says_so() {
        let url = |id: &str, base, model| Provider::find(id).unwrap().stream_url(base, model);
        assert_eq!(
            url("gemini", "https://h/v1beta", "gemini-2.5-flash").unwrap(),
            "https://h/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        );
        assert_eq!(
            url("gemini", "https://h/v1beta?a=b", "m").unwrap(),
            "https://h/v1beta/models/m:streamGenerateContent?a=b&alt=sse"
        );
        assert_eq!(
            url("bedrock", "https://h", "anthropic.claude-v2:1").unwrap(),
            "https://h/model/anthropic.claude-v2%3A1/converse-stream"
        );
        assert_eq!(url("openai", "https://h/v1", "m"), None);
    }

    #[test]
    fn what_else_is_done_stands_beside_the_chat() {
        let urls = |id: &str, chat| Provider::find(id).unwrap().other_urls(chat);
        let of = |urls: &[(Operation, String)], operation| {
            urls.iter().find(|(it, _)| *it == operation).map(|(_, url)| url.clone())
        };
        let openai = urls("openai", "https://h/v1/chat/completions");
        assert_eq!(of(&openai, Operation::Embeddings).unwrap(), "https://h/v1/embeddings");
        assert_eq!(of(&openai, Operation::Responses).unwrap(), "https://h/v1/responses");
        let azure = urls("azure", "https://h/openai/deployments/d/chat/completions?api-version=v");
        assert_eq!(
            of(&azure, Operation::Embeddings).unwrap(),
            "https://h/openai/deployments/d/embeddings?api-version=v"
        );
        assert_eq!(of(&azure, Operation::Responses).unwrap(), "https://h/openai/v1/responses");
        let jina = urls("jina_ai", "https://h/v1/chat/completions");
        assert_eq!(jina, [(Operation::Embeddings, "https://h/v1/embeddings".to_owned())]);
        let groq = urls("groq", "https://h/openai/v1/chat/completions");
        assert_eq!(of(&groq, Operation::Responses), None);
        let anthropic = urls("anthropic", "https://h/v1/messages");
        assert_eq!(anthropic, [(Operation::CountTokens, "https://h/v1/messages/count_tokens".to_owned())]);
        let gemini = urls("gemini", "https://h/v1beta/models/m:generateContent?a=b");
        let verb = |verb: &str| format!("https://h/v1beta/models/m:{verb}?a=b");
        assert_eq!(gemini, GOOGLES.map(|(operation, word)| (operation, verb(word))));
    }

    #[test]
    fn public_addresses_lead_to_a_chat() {
        let public = |id: &str| {
            let provider = Provider::find(id).unwrap();
            provider.chat_url(provider.base.as_deref().unwrap(), "m", None)
        };
        let cases = [
            ("chutes", "https://llm.chutes.ai/v1/chat/completions"),
            ("docker_model_runner", "http://localhost:22088/engines/llama.cpp/v1/chat/completions"),
            ("gradient_ai", "https://inference.do-ai.run/v1/chat/completions"),
            ("helicone", "https://ai-gateway.helicone.ai/chat/completions"),
            ("charity_engine", "https://api.charityengine.services/remotejobs/v2/inference/chat/completions"),
        ];
        for (id, expected) in cases {
            assert_eq!(public(id), expected);
        }
        let compatible = Provider::all().iter().filter(|it| it.api == Api::OpenAi && it.base.is_some());
        for provider in compatible {
            let url = public(&provider.id);
            assert_eq!(url.matches("/chat/completions").count(), 1, "{url}");
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

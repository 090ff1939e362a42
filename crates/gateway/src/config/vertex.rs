//! Where calls of Vertex AI go, and as whom.

use std::{fmt, fs, io};

use http::HeaderValue;
use ziggurat_core::Operation;
use ziggurat_google::AccountFile;

use super::diagnostic::Report;
use super::env::Environment;
use super::node::{Node, Value};
use super::provider::encode;
use crate::secret::Secret;

/// What a deployment on Vertex AI is called with.
#[derive(Debug)]
pub(crate) struct Vertex {
    /// As whom.
    pub(crate) account: Account,
    /// The project that is charged, where the account's file names one.
    pub(crate) quota_project: Option<HeaderValue>,
    /// Up to the publishers of models.
    root: String,
    /// Where documents are ranked.
    ranking: String,
}

/// As whom calls are made.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Account {
    /// As a file of Google's credentials says: a service account, a person, or a workload elsewhere.
    File(Secret),
    /// As the machine is, by its metadata server.
    Machine,
}

/// As whom calls are made, and what else its file says.
struct Found {
    account: Account,
    quota_project: Option<HeaderValue>,
    project: Option<String>,
}

/// Who made a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// Gemini.
    Google,
    /// Claude.
    Anthropic,
}

/// The region that LiteLLM takes when none is given.
const LOCATION: &str = "us-central1";

// ===== impl Vertex =====

impl Vertex {
    /// Reads what the parameters of a deployment say.
    pub(super) fn read(params: &Node, environment: &Environment<'_>, report: &mut Report) -> Option<Self> {
        let text = |key: &str| params.get(key).and_then(Node::text).filter(|text| !text.is_empty());
        let of = |key: &str, names: &[&str]| {
            let given = text(key).map(str::to_owned);
            given.or_else(|| names.iter().find_map(|name| environment.get(name)))
        };
        let Found { account, quota_project, project: named } = Found::read(params, environment, report)?;
        let project = of("vertex_project", &["VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT"]).or(named);
        let Some(project) = project else {
            report.error(&params.at, &params.path, "missing key `vertex_project`");
            return None;
        };
        let location = of("vertex_location", &["VERTEXAI_LOCATION", "GOOGLE_CLOUD_LOCATION"]);
        let location = location.unwrap_or_else(|| LOCATION.to_owned());
        let given = text("api_base").or_else(|| text("base_url")).map(|base| base.trim_end_matches('/'));
        let base = |address: String| given.map_or(address, str::to_owned);
        let project = encode(&project);
        let root = format!(
            "{}/v1/projects/{project}/locations/{}/publishers",
            base(address(&location)),
            encode(&location)
        );
        let (host, place) = ranking(&location);
        let ranking = format!(
            "{}/v1/projects/{project}/locations/{place}/rankingConfigs/default_ranking_config:rank",
            base(format!("https://{host}"))
        );
        Some(Self { account, quota_project, root, ranking })
    }

    /// The URL of a model for answers that come in one piece, or as streams.
    pub(crate) fn url(&self, model: &str, streamed: bool) -> String {
        if ranks(model) {
            return self.ranking.clone();
        }
        self.verb(
            model,
            match (Publisher::of(model), streamed) {
                (Publisher::Google, false) => "generateContent",
                (Publisher::Google, true) => "streamGenerateContent?alt=sse",
                (Publisher::Anthropic, false) => "rawPredict",
                (Publisher::Anthropic, true) => "streamRawPredict",
            },
        )
    }

    /// The URLs of what else a model does in its callers' own words.
    pub(super) fn other_urls(&self, model: &str) -> Vec<(Operation, String)> {
        if Publisher::of(model) == Publisher::Anthropic {
            return Vec::new();
        }
        let embeds =
            embeds_content(model).then(|| (Operation::EmbedContent, self.verb(model, "embedContent")));
        let counts = (Operation::CountContent, self.verb(model, "countTokens"));
        embeds.into_iter().chain([counts]).collect()
    }

    /// The URL at which a model is asked to do something.
    pub(super) fn verb(&self, model: &str, verb: &str) -> String {
        let publisher = match Publisher::of(model) {
            Publisher::Google => "google",
            Publisher::Anthropic => "anthropic",
        };
        format!("{}/{publisher}/models/{}:{verb}", self.root, encode_model(model))
    }
}

/// Whether a model embeds by `:embedContent`; those before it do by `:predict`.
pub(super) fn embeds_content(model: &str) -> bool {
    model.starts_with("gemini-embedding-2")
}

/// Whether a model puts documents in order and does nothing else.
pub(crate) fn ranks(model: &str) -> bool {
    model.starts_with("semantic-ranker")
}

/// The host and the place where Google ranks for a region: there are two that are smaller than the world.
fn ranking(location: &str) -> (&'static str, &'static str) {
    match location {
        "us" => ("us-discoveryengine.googleapis.com", "us"),
        "eu" => ("eu-discoveryengine.googleapis.com", "eu"),
        _ => ("discoveryengine.googleapis.com", "global"),
    }
}

/// A version stands behind an at sign, which is plain in a path.
fn encode_model(model: &str) -> String {
    encode(model).replace("%40", "@")
}

/// The address of Vertex AI in a region.
fn address(location: &str) -> String {
    match location {
        "global" => "https://aiplatform.googleapis.com".to_owned(),
        location => format!("https://{}-aiplatform.googleapis.com", encode(location)),
    }
}

// ===== impl Found =====

impl Found {
    /// By what the parameters name, else the environment, else by what `gcloud` has left; else it is the machine.
    fn read(params: &Node, environment: &Environment<'_>, report: &mut Report) -> Option<Self> {
        let given = params.get("vertex_credentials").or_else(|| params.get("vertex_ai_credentials"));
        let (text, place) = match given {
            Some(node) if matches!(node.value, Value::Map(_)) => {
                return Self::of_file(&node.to_json().to_string(), node, report);
            }
            Some(node) if node.text().is_some_and(|text| !text.is_empty()) => (node.text()?.to_owned(), node),
            _ => match environment.get("GOOGLE_APPLICATION_CREDENTIALS") {
                Some(path) => (path, params),
                None => return Self::at_home(params, environment, report),
            },
        };
        if text.trim_start().starts_with('{') {
            return Self::of_file(&text, place, report);
        }
        match fs::read_to_string(&text) {
            Ok(json) => Self::of_file(&json, place, report),
            Err(error) => {
                unreadable("names a file of credentials", &error, place, report);
                None
            }
        }
    }

    fn at_home(params: &Node, environment: &Environment<'_>, report: &mut Report) -> Option<Self> {
        let machine = Self { account: Account::Machine, quota_project: None, project: None };
        let Some(folder) = gcloud(environment) else { return Some(machine) };
        match fs::read_to_string(format!("{folder}/application_default_credentials.json")) {
            Ok(json) => Self::of_file(&json, params, report),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Some(machine)
            }
            Err(error) => {
                unreadable("`gcloud` has left a file of credentials", &error, params, report);
                None
            }
        }
    }

    fn of_file(json: &str, place: &Node, report: &mut Report) -> Option<Self> {
        let file = match AccountFile::from_json(json, (), |path| fs::read(path)) {
            Ok(file) => file,
            Err(invalid) => {
                report.error(&place.at, &place.path, invalid.to_string());
                return None;
            }
        };
        // It is read each time anew; that there is one is seen at once.
        if let Some(Err(error)) = file.token_file().map(fs::read) {
            unreadable("names a file of a token", &error, place, report);
            return None;
        }
        Some(Self {
            account: Account::File(Secret::new(json)),
            quota_project: file.quota_project().cloned(),
            project: file.project().map(str::to_owned),
        })
    }
}

/// Where `gcloud` keeps what it knows.
fn gcloud(environment: &Environment<'_>) -> Option<String> {
    let in_home = || Some(format!("{}/.config/gcloud", environment.get("HOME")?));
    let in_app_data = || Some(format!("{}/gcloud", environment.get("APPDATA")?));
    environment.get("CLOUDSDK_CONFIG").or_else(|| if cfg!(windows) { in_app_data() } else { in_home() })
}

fn unreadable(what: &str, error: &io::Error, place: &Node, report: &mut Report) {
    let message = format!("{what} that cannot be read: {}", error.kind());
    report.error(&place.at, &place.path, message);
}

// ===== impl Publisher =====

impl Publisher {
    /// By a model's name.
    pub(crate) fn of(model: &str) -> Self {
        if model.starts_with("claude") { Self::Anthropic } else { Self::Google }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File(..)",
            Self::Machine => "Machine",
        })
    }
}

#[cfg(test)]
mod tests {
    use ziggurat_core::Wording;

    use super::*;

    #[test]
    fn urls_name_the_publisher_and_the_version() {
        let vertex = Vertex {
            account: Account::Machine,
            quota_project: None,
            root: "https://h/v1/projects/p/locations/l/publishers".into(),
            ranking: "https://r/v1/projects/p/locations/global/rankingConfigs/x:rank".into(),
        };
        assert_eq!(
            vertex.url("gemini-2.5-flash", true),
            "https://h/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        );
        assert_eq!(
            vertex.url("claude-sonnet-4@20250514", false),
            "https://h/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4@20250514:rawPredict"
        );
        let embeds =
            |model| vertex.reworded(model).into_iter().map(|it| (it.wording, it.url)).collect::<Vec<_>>();
        let google = "https://h/v1/projects/p/locations/l/publishers/google/models";
        assert_eq!(
            embeds("text-embedding-005"),
            [(Wording::Predict, format!("{google}/text-embedding-005:predict"))]
        );
        assert_eq!(
            embeds("gemini-embedding-2"),
            [(Wording::EmbedContent, format!("{google}/gemini-embedding-2:embedContent"))]
        );
        assert_eq!(
            embeds("imagen-4.0-fast-generate-001"),
            [(Wording::PredictImages, format!("{google}/imagen-4.0-fast-generate-001:predict"))]
        );
        assert_eq!(
            embeds("gemini-2.5-flash-image"),
            [(Wording::GenerateImages, format!("{google}/gemini-2.5-flash-image:generateContent"))]
        );
        let ranker = "semantic-ranker-default@latest";
        assert_eq!(vertex.url(ranker, false), vertex.ranking);
        assert_eq!(embeds(ranker), [(Wording::RankRecords, vertex.ranking.clone())]);
        assert_eq!(ranking("europe-west1"), ("discoveryengine.googleapis.com", "global"));
        assert_eq!(ranking("eu"), ("eu-discoveryengine.googleapis.com", "eu"));
        assert_eq!(embeds("claude-sonnet-4@20250514"), []);
        let others = |model| vertex.other_urls(model);
        let verb = |operation, model: &str, verb: &str| (operation, format!("{google}/{model}:{verb}"));
        let count = |model: &str| verb(Operation::CountContent, model, "countTokens");
        let embed = verb(Operation::EmbedContent, "gemini-embedding-2", "embedContent");
        assert_eq!(others("gemini-embedding-2"), [embed, count("gemini-embedding-2")]);
        assert_eq!(others("gemini-2.5-flash"), [count("gemini-2.5-flash")]);
        assert_eq!(others("claude-sonnet-4@20250514"), []);
        assert!(vertex.url("../x?y", false).ends_with("/google/models/..%2Fx%3Fy:generateContent"));
        assert_eq!(address("global"), "https://aiplatform.googleapis.com");
        assert_eq!(address("europe-west1"), "https://europe-west1-aiplatform.googleapis.com");
    }
}

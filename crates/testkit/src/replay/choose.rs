//! Which recording answers a request, and with which faults.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use ziggurat_core::percent_decoded;

use crate::fault::Faults;
use crate::recording::{Recording, Recordings};

/// The recordings, each with the question it answers.
#[derive(Debug)]
pub(super) struct Repertoire {
    recordings: Recordings,
    questions: Vec<(Question, Arc<Recording>)>,
}

/// A recording and what is to go wrong with it.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) recording: Arc<Recording>,
    pub(super) faults: Faults,
}

/// Why no recording answers.
#[derive(Debug)]
pub(super) struct NoChoice {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

/// What tells requests apart where no recording is named.
#[derive(Debug)]
struct Question {
    endpoint: String,
    model: Option<String>,
    stream: bool,
}

#[derive(Deserialize, Default)]
struct BodyKeys {
    model: Option<String>,
    stream: Option<bool>,
}

// ===== impl Repertoire =====

impl Repertoire {
    pub(super) fn new(recordings: Recordings) -> Self {
        let questions =
            recordings.iter().map(|recording| (Question::answered_by(recording), recording.clone()));
        Self { questions: questions.collect(), recordings }
    }

    /// Looks for a recording named in the path, then in the header, then for one of the same endpoint and model.
    pub(super) fn choose(&self, request: &Parts, body: &[u8]) -> Result<Choice, NoChoice> {
        if let Some(rest) = request.uri.path().strip_prefix("/r/") {
            let name = rest.split('/').next().unwrap_or_default();
            return self.named(&percent_decoded(name));
        }
        if let Some(name) = request.headers.get("x-replay") {
            return self.named(&String::from_utf8_lossy(name.as_bytes()));
        }
        self.asked(request, body)
    }

    fn named(&self, name: &str) -> Result<Choice, NoChoice> {
        let (id, faults) = name.split_once(',').unwrap_or((name, ""));
        let recording =
            self.recordings.get(id).ok_or_else(|| NoChoice::not_found(format!("no recording `{id}`")))?;
        let faults = faults.parse::<Faults>();
        let faults = faults
            .map_err(|error| NoChoice { status: StatusCode::BAD_REQUEST, message: error.to_string() })?;
        Ok(Choice { recording: recording.clone(), faults })
    }

    fn asked(&self, request: &Parts, body: &[u8]) -> Result<Choice, NoChoice> {
        let path = request.uri.path();
        let asked = Question::asked(path, body);
        let answers =
            self.questions.iter().filter(|(question, recording)| asked.is_answered_by(question, recording));
        // Providers share endpoints and models: the same path is the best sign of the same provider.
        let best = answers.min_by_key(|(_, recording)| {
            let same_path = recording.request.as_ref().is_some_and(|request| request.uri().path() == path);
            (!same_path, !recording.response.status().is_success())
        });
        let (_, recording) = best.ok_or_else(|| {
            let model = asked.model.as_deref().unwrap_or("none");
            let Question { endpoint, stream, .. } = &asked;
            NoChoice::not_found(format!(
                "no recording of endpoint `{endpoint}`, model `{model}`, stream {stream} ({} {path})",
                request.method
            ))
        })?;
        Ok(Choice { recording: recording.clone(), faults: Faults::default() })
    }
}

// ===== impl NoChoice =====

impl NoChoice {
    fn not_found(message: String) -> Self {
        Self { status: StatusCode::NOT_FOUND, message }
    }

    /// The refusal as the exchange that says so.
    pub(super) fn into_recording(self) -> Recording {
        let error = serde_json::json!({ "error": { "type": "replay_upstream", "message": self.message } });
        let mut recording = Recording::synthetic("", 200, [], error.to_string());
        *recording.response.status_mut() = self.status;
        let json = HeaderMap::from_iter([(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )]);
        *recording.response.headers_mut() = json;
        recording
    }
}

// ===== impl Question =====

impl Question {
    fn asked(path: &str, body: &[u8]) -> Self {
        let endpoint = endpoint_of(path);
        let keys = serde_json::from_slice::<BodyKeys>(body).unwrap_or_default();
        // Ollama alone streams unless told not to.
        let stream = keys.stream.unwrap_or(matches!(&*endpoint, "api.chat" | "api.generate"));
        Self { stream, model: keys.model.or_else(|| model_in(path)), endpoint }
    }

    fn answered_by(recording: &Recording) -> Self {
        let endpoint = recording.endpoint.clone();
        match &recording.request {
            Some(request) => Self { endpoint, ..Self::asked(request.uri().path(), request.body()) },
            None => Self { endpoint, model: None, stream: recording.format != "json" },
        }
    }

    /// The model is the one the recording states or the one its request named: Azure's deployments differ in that.
    fn is_answered_by(&self, question: &Question, recording: &Recording) -> bool {
        self.endpoint == question.endpoint
            && self.stream == question.stream
            && (self.model == recording.model || self.model.is_some() && self.model == question.model)
    }
}

/// The endpoint by the names that recordings use, and for others the path after `/v1/`, its slashes as dots.
fn endpoint_of(path: &str) -> String {
    let known = ENDPOINTS
        .iter()
        .find(|(suffix, _)| path.ends_with(suffix))
        .map(|(_, endpoint)| (*endpoint).to_owned());
    known.unwrap_or_else(|| {
        let last = path.rsplit('/').next().unwrap_or_default();
        if let Some((_, verb)) = last.rsplit_once(':') {
            return verb.to_owned();
        }
        if path.starts_with("/model/") {
            return last.to_owned();
        }
        let path = path.trim_start_matches('/');
        path.strip_prefix("v1/").unwrap_or(path).replace('/', ".")
    })
}

/// The model that Gemini, Vertex, Bedrock and Azure name in the path.
fn model_in(path: &str) -> Option<String> {
    let (marker, rest) =
        ["/models/", "/model/", "/deployments/"].iter().find_map(|at| Some((*at, path.split_once(at)?.1)))?;
    let segment = rest.split('/').next().unwrap_or_default();
    let model = match segment.rsplit_once(':') {
        Some((model, _verb)) if marker == "/models/" => model,
        _ => segment,
    };
    Some(percent_decoded(model).into_owned())
}

const ENDPOINTS: [(&str, &str); 15] = [
    ("/chat/completions", "chat.completions"),
    ("/completions", "completions"),
    ("/responses", "responses"),
    ("/messages/count_tokens", "count_tokens"),
    ("/messages", "messages"),
    ("/api/chat", "api.chat"),
    ("/api/generate", "api.generate"),
    ("/api/embed", "api.embed"),
    ("/api/embeddings", "api.embeddings"),
    ("/embeddings", "embeddings"),
    ("/v1/chat", "v1.chat"),
    ("/v2/chat", "v2.chat"),
    ("/v1/embed", "v1.embed"),
    ("/v2/embed", "v2.embed"),
    ("/models", "models"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_endpoint_and_model_from_the_path() {
        for (path, endpoint, model) in [
            ("/openai/deployments/gpt-4o/chat/completions", "chat.completions", Some("gpt-4o")),
            ("/v1/completions", "completions", None),
            (
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
                "streamGenerateContent",
                Some("gemini-2.5-flash"),
            ),
            ("/model/nova-v1%3A0/converse-stream", "converse-stream", Some("nova-v1:0")),
            ("/model/nova-v1:0/converse", "converse", Some("nova-v1:0")),
            ("/api/embeddings", "api.embeddings", None),
            ("/v1/audio/transcriptions", "audio.transcriptions", None),
        ] {
            assert_eq!((&*endpoint_of(path), model_in(path).as_deref()), (endpoint, model), "{path}");
        }
    }

    #[test]
    fn decodes_only_valid_escapes() {
        assert_eq!(percent_decoded("a%2Cb%3d1%%4%zz%e2%82%ac"), "a,b=1%%4%zz€");
    }
}

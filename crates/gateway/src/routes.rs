//! Which path leads where.

use http::Method;
use ziggurat_core::{Dialect, Operation};

use crate::{admin::Action, cache};

/// What answers at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Whether the process lives.
    Liveness,
    /// Whether it wants new calls.
    Readiness,
    /// How the deployments do.
    Health,
    /// The list of models, or one of them.
    Models,
    /// A model.
    Call,
    /// What manages keys, teams and users.
    Admin(Action),
    /// What manages answers that are kept.
    Cache(cache::Action),
    /// Something, but not to this method.
    WrongMethod {
        /// The methods that it answers to.
        allow: &'static str,
        /// Whether it is the admin API's.
        admin: bool,
    },
    /// Nothing.
    Nothing,
}

// ===== impl Route =====

impl Route {
    /// The route, and the dialect in which its errors are told. A HEAD is a GET, whose body the server leaves out.
    pub(crate) fn of(method: &Method, path: &str) -> (Self, Dialect) {
        let gets = matches!(*method, Method::GET | Method::HEAD);
        let route = match path.strip_suffix('/').unwrap_or(path) {
            "/health/liveliness" | "/health/liveness" => Some(Self::Liveness),
            "/health/readiness" => Some(Self::Readiness),
            "/health" => Some(Self::Health),
            _ => None,
        };
        if let Some(action) = Action::of(method, path) {
            return (
                action.map_or_else(|allow| Self::WrongMethod { allow, admin: true }, Self::Admin),
                Dialect::OpenAi,
            );
        }
        if let Some(action) = cache::Action::of(method, path) {
            let wrong = |allow| Self::WrongMethod { allow, admin: true };
            return (action.map_or_else(wrong, Self::Cache), Dialect::OpenAi);
        }
        if let Some(route) = route {
            return (
                if gets { route } else { Self::WrongMethod { allow: "GET, HEAD", admin: false } },
                Dialect::OpenAi,
            );
        }
        let (got, dialect, named) = Operation::of_path(&Method::GET, path);
        if got == Operation::Models {
            let route = match named {
                _ if gets => Self::Models,
                None => Self::WrongMethod { allow: "GET, HEAD", admin: false },
                Some(_) => Self::Nothing,
            };
            return (route, dialect);
        }
        let (posted, dialect, _) = Operation::of_path(&Method::POST, path);
        let route = match posted {
            Operation::Chat
            | Operation::Messages
            | Operation::CountTokens
            | Operation::Responses
            | Operation::Generate
            | Operation::StreamGenerate
            | Operation::CountContent
            | Operation::EmbedContent
            | Operation::BatchEmbedContents
            | Operation::Completions
            | Operation::Embeddings
            | Operation::Rerank
            | Operation::Images
            | Operation::ImageEdit
            | Operation::ImageVariation
            | Operation::Speech
            | Operation::Transcription
            | Operation::Translation
            | Operation::Moderation => match *method {
                Method::POST => Self::Call,
                _ => Self::WrongMethod { allow: "POST", admin: false },
            },
            _ => Self::Nothing,
        };
        (route, dialect)
    }

    /// Whether only those with a key may come here: not probers, nor those who are lost.
    pub(crate) const fn needs_key(self) -> bool {
        matches!(self, Self::Health | Self::Models | Self::Call | Self::Admin(_) | Self::Cache(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_litellm_has_them() {
        let cases = [
            (Method::GET, "/health/liveliness", Route::Liveness, Dialect::OpenAi),
            (Method::HEAD, "/health/liveness/", Route::Liveness, Dialect::OpenAi),
            (Method::GET, "/health/readiness", Route::Readiness, Dialect::OpenAi),
            (
                Method::POST,
                "/health/readiness",
                Route::WrongMethod { allow: "GET, HEAD", admin: false },
                Dialect::OpenAi,
            ),
            (Method::GET, "/health", Route::Health, Dialect::OpenAi),
            (Method::GET, "/v1/models", Route::Models, Dialect::OpenAi),
            (Method::GET, "/models", Route::Models, Dialect::OpenAi),
            (Method::HEAD, "/v1/models/a/b", Route::Models, Dialect::OpenAi),
            (Method::DELETE, "/v1/models/m", Route::Nothing, Dialect::OpenAi),
            (Method::GET, "/v1beta/models", Route::Models, Dialect::Gemini),
            (Method::GET, "/v1beta/models/m", Route::Models, Dialect::Gemini),
            (Method::POST, "/v1beta/models/m:countTokens", Route::Call, Dialect::Gemini),
            (Method::POST, "/v1beta/models/m:embedContent", Route::Call, Dialect::Gemini),
            (Method::POST, "/v1beta/models/m:batchEmbedContents", Route::Call, Dialect::Gemini),
            (Method::POST, "/v1beta/models/m:predict", Route::Nothing, Dialect::Gemini),
            (
                Method::DELETE,
                "/v1/models",
                Route::WrongMethod { allow: "GET, HEAD", admin: false },
                Dialect::OpenAi,
            ),
            (Method::POST, "/v1/chat/completions", Route::Call, Dialect::OpenAi),
            (Method::POST, "/chat/completions/", Route::Call, Dialect::OpenAi),
            (Method::POST, "/v1/messages", Route::Call, Dialect::Anthropic),
            (
                Method::GET,
                "/v1/messages",
                Route::WrongMethod { allow: "POST", admin: false },
                Dialect::Anthropic,
            ),
            (
                Method::OPTIONS,
                "/v1/chat/completions",
                Route::WrongMethod { allow: "POST", admin: false },
                Dialect::OpenAi,
            ),
            (Method::POST, "/v1/messages/count_tokens", Route::Call, Dialect::Anthropic),
            (Method::POST, "/v1/responses", Route::Call, Dialect::Responses),
            (Method::POST, "/v1beta/models/m:generateContent", Route::Call, Dialect::Gemini),
            (Method::POST, "/v1beta/models/m:streamGenerateContent", Route::Call, Dialect::Gemini),
            (Method::POST, "/v1/embeddings", Route::Call, Dialect::OpenAi),
            (
                Method::GET,
                "/v1/embeddings",
                Route::WrongMethod { allow: "POST", admin: false },
                Dialect::OpenAi,
            ),
            (Method::POST, "/v1/rerank", Route::Call, Dialect::OpenAi),
            (Method::POST, "/v2/rerank", Route::Call, Dialect::OpenAi),
            (Method::POST, "/rerank/", Route::Call, Dialect::OpenAi),
            (Method::GET, "/v2/rerank", Route::WrongMethod { allow: "POST", admin: false }, Dialect::OpenAi),
            (Method::POST, "/v1/images/generations", Route::Call, Dialect::OpenAi),
            (Method::POST, "/images/edits", Route::Call, Dialect::OpenAi),
            (Method::POST, "/v1/images/variations", Route::Call, Dialect::OpenAi),
            (Method::POST, "/v1/audio/speech", Route::Call, Dialect::OpenAi),
            (Method::POST, "/v1/audio/transcriptions", Route::Call, Dialect::OpenAi),
            (Method::POST, "/openai/deployments/m/audio/translations", Route::Call, Dialect::OpenAi),
            (Method::POST, "/v1/images/other", Route::Nothing, Dialect::OpenAi),
            (Method::GET, "/", Route::Nothing, Dialect::OpenAi),
            (Method::OPTIONS, "*", Route::Nothing, Dialect::OpenAi),
            (Method::CONNECT, "", Route::Nothing, Dialect::OpenAi),
        ];
        for (method, path, route, dialect) in cases {
            assert_eq!(Route::of(&method, path), (route, dialect), "{method} {path}");
        }
    }
}

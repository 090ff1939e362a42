//! Which API a caller or a provider speaks, and what a request asks for.

use http::Method;

/// The API shape in which a caller or a provider speaks.
///
/// A host that serves the APIs under paths of its own sets it as a request extension, together with [`Operation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI's Chat Completions API and its siblings; the default, also for error bodies.
    #[default]
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// OpenAI's Responses API.
    Responses,
    /// Google's `generateContent`, on AI Studio and on Vertex AI.
    Gemini,
    /// The Converse API of AWS Bedrock; only providers speak it.
    Converse,
    /// Ollama's own `/api/chat`; only providers speak it.
    Ollama,
    /// Cohere's `/v2/chat`; only providers speak it.
    Cohere,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1beta/models/{model}:generateContent`.
    Generate,
    /// `POST /v1beta/models/{model}:streamGenerateContent`.
    StreamGenerate,
    /// `POST /v1beta/models/{model}:countTokens`.
    CountContent,
    /// `POST /v1beta/models/{model}:embedContent`: one text.
    EmbedContent,
    /// `POST /v1beta/models/{model}:batchEmbedContents`: several.
    BatchEmbedContents,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `POST /v1/images/generations`.
    Images,
    /// `POST /v1/audio/speech`.
    Speech,
    /// `POST /v1/audio/transcriptions`: a form.
    Transcription,
    /// `POST /v1/audio/translations`: a form.
    Translation,
    /// `POST /v1/images/edits`: a form.
    ImageEdit,
    /// `POST /v1/images/variations`: a form.
    ImageVariation,
    /// `POST /v1/rerank`, `/v2/rerank`.
    Rerank,
    /// `POST /v1/moderations`.
    Moderation,
    /// `GET /v1/models`.
    Models,
    /// Anything else: neither buffered nor refused by a lone layer.
    Other,
}

impl Operation {
    /// Whether a model answers with tokens of text, as many as it is allowed.
    #[must_use]
    pub const fn generates_text(self) -> bool {
        self.is_conversation() || matches!(self, Self::Completions)
    }

    /// Whether it is a conversation, which can be told in any dialect.
    #[must_use]
    pub const fn is_conversation(self) -> bool {
        matches!(self, Self::Chat | Self::Messages | Self::Responses | Self::Generate | Self::StreamGenerate)
    }

    /// Whether a provider charges for it.
    #[must_use]
    pub const fn is_billed(self) -> bool {
        !(self.counts_tokens() || matches!(self, Self::Models | Self::Other))
    }

    /// Whether it asks how many tokens an input has.
    #[must_use]
    pub const fn counts_tokens(self) -> bool {
        matches!(self, Self::CountTokens | Self::CountContent)
    }

    /// Whether it asks for embeddings in Google's words.
    #[must_use]
    pub const fn embeds_content(self) -> bool {
        matches!(self, Self::EmbedContent | Self::BatchEmbedContents)
    }

    /// Reads the operation, the dialect and the model named in the path, from method and path.
    ///
    /// Known paths count with and without `/v1`, behind any prefix that ends in it (OpenRouter's `/api/v1`), and under Azure's
    /// `/openai/deployments/{model}` and the older `/engines/{model}` (both name the model in the path, as Gemini's do behind
    /// `/models/`; it is given as it stands there, not percent-decoded). What stands under `/v1beta` is Google's.
    #[must_use]
    pub fn of_path<'p>(method: &Method, path: &'p str) -> (Self, Dialect, Option<&'p str>) {
        // Each layer asks this of each call, and most calls go to these.
        if *method == Method::POST
            && let Some((operation, dialect)) = Self::of_usual_path(path)
        {
            return (operation, dialect, None);
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let gets = matches!(*method, Method::GET | Method::HEAD);
        if let Some((model, operation)) = Self::of_verb(path) {
            let operation = if *method == Method::POST { operation } else { Self::Other };
            return (operation, Dialect::Gemini, Some(model));
        }
        if let Some(rest) = path.strip_prefix("/v1beta/") {
            let model = rest.strip_prefix("models/").filter(|model| !model.is_empty());
            let is_models = gets && (rest == "models" || model.is_some());
            return (if is_models { Self::Models } else { Self::Other }, Dialect::Gemini, model);
        }
        let (path, model) = match Self::model_in_path(path) {
            Some((model, rest)) => (rest, Some(model)),
            // Paths are short, and this is asked often: cheaper than to set up a search.
            None => {
                let at = path.as_bytes().windows(4).rposition(|four| four == b"/v1/");
                (at.map_or(path, |at| &path[at + 3..]), None)
            }
        };
        if gets && let Some(named) = path.strip_prefix("/models/").filter(|named| !named.is_empty()) {
            return (Self::Models, Dialect::OpenAi, Some(named));
        }
        let operation = match (method, path) {
            (&Method::GET | &Method::HEAD, "/models") => Self::Models,
            (&Method::POST, "/chat/completions") => Self::Chat,
            (&Method::POST, "/messages") => Self::Messages,
            (&Method::POST, "/messages/count_tokens") => Self::CountTokens,
            (&Method::POST, "/responses") => Self::Responses,
            (&Method::POST, "/completions") => Self::Completions,
            (&Method::POST, "/embeddings") => Self::Embeddings,
            (&Method::POST, "/images/generations") => Self::Images,
            (&Method::POST, "/audio/speech") => Self::Speech,
            (&Method::POST, "/audio/transcriptions") => Self::Transcription,
            (&Method::POST, "/audio/translations") => Self::Translation,
            (&Method::POST, "/images/edits") => Self::ImageEdit,
            (&Method::POST, "/images/variations") => Self::ImageVariation,
            (&Method::POST, "/rerank" | "/v2/rerank") => Self::Rerank,
            (&Method::POST, "/moderations") => Self::Moderation,
            _ => Self::Other,
        };
        // A wrong method on a path of Anthropic's still deserves an error in Anthropic's shape.
        let dialect = match path.strip_prefix("/messages") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Dialect::Anthropic,
            _ if operation == Self::Responses => Dialect::Responses,
            _ => Dialect::OpenAi,
        };
        (operation, dialect, model)
    }

    /// What is asked for, as one says it to a caller.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Chat => "chat completions",
            Self::Messages => "messages",
            Self::CountTokens | Self::CountContent => "counts of tokens",
            Self::Responses => "responses",
            Self::Generate | Self::StreamGenerate => "content",
            Self::Completions => "text completions",
            Self::Embeddings | Self::EmbedContent | Self::BatchEmbedContents => "embeddings",
            Self::Images => "images",
            Self::Speech => "speech",
            Self::Transcription => "transcriptions",
            Self::Translation => "translations of speech",
            Self::ImageEdit => "edits of images",
            Self::ImageVariation => "variations of images",
            Self::Rerank => "rerankings",
            Self::Moderation => "moderations",
            Self::Models => "lists of models",
            Self::Other => "this",
        }
    }

    /// Whether its body is one JSON object that names a model.
    #[must_use]
    pub const fn takes_json(self) -> bool {
        !(self.takes_form() || matches!(self, Self::Models | Self::Other))
    }

    /// Whether its body is a form (`multipart/form-data`) with a file.
    #[must_use]
    pub const fn takes_form(self) -> bool {
        self.is_heard() || matches!(self, Self::ImageEdit | Self::ImageVariation)
    }

    /// Whether it is sound made into text: a form that is passed on as it comes.
    #[must_use]
    pub const fn is_heard(self) -> bool {
        matches!(self, Self::Transcription | Self::Translation)
    }

    /// Whether it is images made.
    #[must_use]
    pub const fn is_drawn(self) -> bool {
        matches!(self, Self::Images | Self::ImageEdit | Self::ImageVariation)
    }

    /// Whether its body, or its path, must name a model: the others have defaults of the provider's.
    #[must_use]
    pub const fn needs_model(self) -> bool {
        self.is_heard()
            || (self.takes_json() && !matches!(self, Self::Moderation | Self::Images | Self::Responses))
    }

    /// Whether its body must hold `messages`.
    #[must_use]
    pub const fn takes_messages(self) -> bool {
        matches!(self, Self::Chat | Self::Messages | Self::CountTokens)
    }

    /// What the paths that official SDKs post to most ask for, as [`Operation::of_path`] says of them, too.
    fn of_usual_path(path: &str) -> Option<(Self, Dialect)> {
        Some(match path {
            "/v1/chat/completions" => (Self::Chat, Dialect::OpenAi),
            "/v1/messages" => (Self::Messages, Dialect::Anthropic),
            "/v1/responses" => (Self::Responses, Dialect::Responses),
            "/v1/embeddings" => (Self::Embeddings, Dialect::OpenAi),
            _ => return None,
        })
    }

    /// What stands behind a model of Google's.
    fn of_verb(path: &str) -> Option<(&str, Self)> {
        let (path, verb) = path.rsplit_once(':')?;
        let operation = match verb {
            "generateContent" => Self::Generate,
            "streamGenerateContent" => Self::StreamGenerate,
            "countTokens" => Self::CountContent,
            "embedContent" => Self::EmbedContent,
            "batchEmbedContents" => Self::BatchEmbedContents,
            _ => return None,
        };
        let (_, model) = path.split_once("/models/")?;
        (!model.is_empty()).then_some((model, operation))
    }

    fn model_in_path(path: &str) -> Option<(&str, &str)> {
        let rest = path.strip_prefix("/openai/deployments/").or_else(|| path.strip_prefix("/engines/"))?;
        let end = rest.find('/')?;
        let (model, rest) = rest.split_at(end);
        (!model.is_empty()).then_some((model, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_paths_are_read_as_all_others_are() {
        for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"] {
            let usual = Operation::of_usual_path(path).map(|(operation, dialect)| (operation, dialect, None));
            // Behind a prefix, or with a slash at its end, it is read the long way.
            for other in [format!("/x{path}"), format!("{path}/")] {
                assert_eq!(Some(Operation::of_path(&Method::POST, &other)), usual, "{other}");
            }
        }
    }

    #[test]
    fn paths_name_operation_dialect_and_model() {
        let of = |path| Operation::of_path(&Method::POST, path);
        assert_eq!(of("/v1/chat/completions"), (Operation::Chat, Dialect::OpenAi, None));
        assert_eq!(of("/chat/completions/"), (Operation::Chat, Dialect::OpenAi, None));
        assert_eq!(of("/v1/messages"), (Operation::Messages, Dialect::Anthropic, None));
        assert_eq!(of("/messages/count_tokens"), (Operation::CountTokens, Dialect::Anthropic, None));
        assert_eq!(
            of("/openai/deployments/gpt-4o/chat/completions"),
            (Operation::Chat, Dialect::OpenAi, Some("gpt-4o"))
        );
        assert_eq!(of("/engines/m/completions"), (Operation::Completions, Dialect::OpenAi, Some("m")));
        assert_eq!(of("/api/v1/chat/completions"), (Operation::Chat, Dialect::OpenAi, None));
        let gemini = |operation, model| (operation, Dialect::Gemini, Some(model));
        assert_eq!(of("/v1beta/models/m-1:generateContent"), gemini(Operation::Generate, "m-1"));
        assert_eq!(of("/models/a/b:8b:streamGenerateContent"), gemini(Operation::StreamGenerate, "a/b:8b"));
        assert_eq!(of("/v1/models/:generateContent"), (Operation::Other, Dialect::OpenAi, None));
        for path in ["/v1/rerank", "/v2/rerank", "/rerank"] {
            assert_eq!(of(path), (Operation::Rerank, Dialect::OpenAi, None), "{path}");
        }
        assert_eq!(of("/v1/files"), (Operation::Other, Dialect::OpenAi, None));
        assert_eq!(of("/v1/messagesx"), (Operation::Other, Dialect::OpenAi, None));
        let get = |path| Operation::of_path(&Method::GET, path);
        assert_eq!(get("/v1/models"), (Operation::Models, Dialect::OpenAi, None));
        assert_eq!(get("/v1/models/a/b"), (Operation::Models, Dialect::OpenAi, Some("a/b")));
        let head = Operation::of_path(&Method::HEAD, "/v1/models/m");
        assert_eq!(head, (Operation::Models, Dialect::OpenAi, Some("m")));
        assert_eq!(get("/v1/models/"), (Operation::Models, Dialect::OpenAi, None));
        assert_eq!(get("/v1beta/models"), (Operation::Models, Dialect::Gemini, None));
        assert_eq!(get("/v1beta/models/m"), gemini(Operation::Models, "m"));
        assert_eq!(of("/v1beta/models/m:countTokens"), gemini(Operation::CountContent, "m"));
        assert_eq!(of("/v1/models/a/b:embedContent/"), gemini(Operation::EmbedContent, "a/b"));
        assert_eq!(of("/v1beta/models/m:batchEmbedContents"), gemini(Operation::BatchEmbedContents, "m"));
        assert_eq!(of("/v1beta/models/m:predict"), gemini(Operation::Other, "m:predict"));
        assert_eq!(get("/v1beta/files"), (Operation::Other, Dialect::Gemini, None));
        assert_eq!(get("/v1/messages"), (Operation::Other, Dialect::Anthropic, None));
        assert_eq!(get("/v1beta/models/m:generateContent"), gemini(Operation::Other, "m"));
    }
}

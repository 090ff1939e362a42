//! Where providers are asked for embeddings, rankings and images, when their words for them are not the callers'.

use serde::Deserialize;
use ziggurat_core::{Operation, Wording};
use ziggurat_dialect::converse;

use super::{
    provider::{Api, Provider, ending_in},
    vertex::{Publisher, Vertex, embeds_content, ranks},
};

/// An operation that a provider has words of its own for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reworded {
    pub(crate) operation: Operation,
    pub(crate) url: String,
    pub(crate) wording: Wording,
}

/// How a provider of OpenAI's chats, or of none, ranks: what a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ranks {
    /// In Cohere's words.
    Documents,
    /// So, but that the most results are `top_k`.
    TopK,
    /// As Text Embeddings Inference does.
    Texts,
}

// ===== impl Reworded =====

impl Reworded {
    fn embeddings(url: String, wording: Wording) -> Self {
        Self { operation: Operation::Embeddings, url, wording }
    }

    fn rankings(url: String, wording: Wording) -> Self {
        Self { operation: Operation::Rerank, url, wording }
    }

    fn images(url: String, wording: Wording) -> Self {
        Self { operation: Operation::Images, url, wording }
    }
}

// ===== impl Provider =====

impl Provider {
    /// What it does in words of its own at an address, where a chat with the model has this URL.
    pub(super) fn reworded(&self, base: &str, chat: &str, model: &str) -> Vec<Reworded> {
        let (path, query) = chat.split_once('?').unwrap_or((chat, ""));
        let whole = |path: String| if query.is_empty() { path } else { format!("{path}?{query}") };
        // In the place of the last part of a chat's path.
        let instead = |of: &str, it: &str| path.strip_suffix(of).map(|root| whole(format!("{root}{it}")));
        let embeddings = match self.api {
            Api::Gemini => {
                instead(":generateContent", ":batchEmbedContents").zip(Some(Wording::BatchEmbedContents))
            }
            Api::Cohere => instead("/chat", "/embed").zip(Some(Wording::CohereEmbed)),
            Api::Ollama => instead("/chat", "/embed").zip(Some(Wording::OllamaEmbed)),
            Api::Bedrock => Some(format!("{base}{}", converse::path(model, "invoke"))).zip(invoked(model)),
            Api::OpenAi if self.plain_embeddings => {
                instead("/chat/completions", "/embeddings").zip(Some(Wording::PlainEmbed))
            }
            _ => None,
        };
        let rankings = match self.api {
            Api::Cohere => instead("/chat", "/rerank").zip(Some(Wording::Rerank)),
            Api::Bedrock if model.contains(".rerank-") => {
                Some(format!("{base}{}", converse::path(model, "invoke"))).zip(Some(Wording::InvokedRerank))
            }
            // Cohere's models there have Cohere's API beside OpenAI's.
            Api::AzureAi => {
                Some((ending_in(base.trim_end_matches('/'), &["/v1", "/rerank"]), Wording::Rerank))
            }
            Api::OpenAi => instead("/chat/completions", "/rerank").zip(self.ranks.map(Ranks::wording)),
            _ => None,
        };
        let images = match self.api {
            Api::Gemini => drawn(model).and_then(|(verb, wording)| {
                Some((instead(":generateContent", &format!(":{verb}"))?, wording))
            }),
            Api::Bedrock => Some(format!("{base}{}", converse::path(model, "invoke"))).zip(drawing(model)),
            _ => None,
        };
        let embeddings = embeddings.map(|(url, wording)| Reworded::embeddings(url, wording));
        let rankings = rankings.map(|(url, wording)| Reworded::rankings(url, wording));
        let images = images.map(|(url, wording)| Reworded::images(url, wording));
        embeddings.into_iter().chain(rankings).chain(images).collect()
    }
}

/// How a model on Bedrock embeds, by the name of who made it.
fn invoked(model: &str) -> Option<Wording> {
    match model {
        model if model.contains("amazon.titan-embed") => Some(Wording::TitanEmbed),
        model if model.contains("cohere.embed") => Some(Wording::InvokedCohereEmbed),
        _ => None,
    }
}

/// How a model on Bedrock draws, by the name of who made it.
fn drawing(model: &str) -> Option<Wording> {
    let is_one = |names: &[&str]| names.iter().any(|name| model.contains(name));
    if is_one(&["amazon.titan-image", "amazon.nova-canvas"]) {
        Some(Wording::InvokedAmazonImages)
    } else if is_one(&["stability.sd3", "stability.stable-image-core", "stability.stable-image-ultra"]) {
        Some(Wording::InvokedStabilityImages)
    } else {
        None
    }
}

/// How a model of Google's draws: what it is asked to do, and in which words.
fn drawn(model: &str) -> Option<(&'static str, Wording)> {
    match model {
        model if model.starts_with("imagen") => Some(("predict", Wording::PredictImages)),
        model if model.starts_with("gemini") && model.contains("-image") => {
            Some(("generateContent", Wording::GenerateImages))
        }
        _ => None,
    }
}

// ===== impl Ranks =====

impl Ranks {
    const fn wording(self) -> Wording {
        match self {
            Self::Documents => Wording::Rerank,
            Self::TopK => Wording::RerankTopK,
            Self::Texts => Wording::RerankTexts,
        }
    }
}

// ===== impl Vertex =====

impl Vertex {
    /// What Google's models on Vertex AI do in words of their own.
    pub(super) fn reworded(&self, model: &str) -> Vec<Reworded> {
        if ranks(model) {
            return vec![Reworded::rankings(self.url(model, false), Wording::RankRecords)];
        }
        if let Some((verb, wording)) = drawn(model) {
            return vec![Reworded::images(self.verb(model, verb), wording)];
        }
        match Publisher::of(model) {
            Publisher::Google if embeds_content(model) => {
                vec![Reworded::embeddings(self.verb(model, "embedContent"), Wording::EmbedContent)]
            }
            Publisher::Google => vec![Reworded::embeddings(self.verb(model, "predict"), Wording::Predict)],
            Publisher::Anthropic => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reworded(provider: &str, base: &str, model: &str) -> Vec<(Wording, String)> {
        let provider = Provider::find(provider).unwrap();
        let chat = provider.chat_url(base, model, Some("v"));
        provider
            .reworded(base, &chat, model)
            .into_iter()
            .map(|reworded| (reworded.wording, reworded.url))
            .collect()
    }

    #[test]
    fn each_provider_is_asked_where_it_has_it() {
        /// Provider, address and model; and how and where it is asked.
        type Case = (&'static str, &'static str, &'static str, &'static [(Wording, &'static str)]);
        let cases: &[Case] = &[
            (
                "gemini",
                "https://h/v1beta?a=b",
                "text-embedding-004",
                &[(
                    Wording::BatchEmbedContents,
                    "https://h/v1beta/models/text-embedding-004:batchEmbedContents?a=b",
                )],
            ),
            (
                "cohere",
                "https://h",
                "embed-v4.0",
                &[(Wording::CohereEmbed, "https://h/v2/embed"), (Wording::Rerank, "https://h/v2/rerank")],
            ),
            (
                "ollama",
                "http://h:11434",
                "nomic-embed-text",
                &[(Wording::OllamaEmbed, "http://h:11434/api/embed")],
            ),
            (
                "bedrock",
                "https://h",
                "amazon.titan-embed-text-v2:0",
                &[(Wording::TitanEmbed, "https://h/model/amazon.titan-embed-text-v2%3A0/invoke")],
            ),
            (
                "bedrock",
                "https://h",
                "eu.cohere.embed-v4:0",
                &[(Wording::InvokedCohereEmbed, "https://h/model/eu.cohere.embed-v4%3A0/invoke")],
            ),
            (
                "bedrock",
                "https://h",
                "cohere.rerank-v3-5:0",
                &[(Wording::InvokedRerank, "https://h/model/cohere.rerank-v3-5%3A0/invoke")],
            ),
            ("bedrock", "https://h", "anthropic.claude-v2:1", &[]),
            (
                "bedrock",
                "https://h",
                "us.amazon.nova-canvas-v1:0",
                &[(Wording::InvokedAmazonImages, "https://h/model/us.amazon.nova-canvas-v1%3A0/invoke")],
            ),
            (
                "bedrock",
                "https://h",
                "stability.sd3-5-large-v1:0",
                &[(Wording::InvokedStabilityImages, "https://h/model/stability.sd3-5-large-v1%3A0/invoke")],
            ),
            // It changes images.
            ("bedrock", "https://h", "stability.stable-image-inpaint-v1:0", &[]),
            (
                "gemini",
                "https://h/v1beta",
                "gemini-3.1-flash-image",
                &[
                    (
                        Wording::BatchEmbedContents,
                        "https://h/v1beta/models/gemini-3.1-flash-image:batchEmbedContents",
                    ),
                    (
                        Wording::GenerateImages,
                        "https://h/v1beta/models/gemini-3.1-flash-image:generateContent",
                    ),
                ],
            ),
            (
                "gemini",
                "https://h/v1beta",
                "imagen-4.0-generate-001",
                &[
                    (
                        Wording::BatchEmbedContents,
                        "https://h/v1beta/models/imagen-4.0-generate-001:batchEmbedContents",
                    ),
                    (Wording::PredictImages, "https://h/v1beta/models/imagen-4.0-generate-001:predict"),
                ],
            ),
            ("azure_ai", "https://h/", "cohere-rerank-v4.0-pro", &[(Wording::Rerank, "https://h/v1/rerank")]),
            ("azure_ai", "https://h/v1/rerank", "m", &[(Wording::Rerank, "https://h/v1/rerank")]),
            (
                "jina_ai",
                "https://h/v1",
                "jina-embeddings-v3",
                &[(Wording::PlainEmbed, "https://h/v1/embeddings"), (Wording::Rerank, "https://h/v1/rerank")],
            ),
            (
                "voyage",
                "https://h/v1",
                "voyage-3.5",
                &[
                    (Wording::PlainEmbed, "https://h/v1/embeddings"),
                    (Wording::RerankTopK, "https://h/v1/rerank"),
                ],
            ),
            ("huggingface", "http://h:8080", "bge", &[(Wording::RerankTexts, "http://h:8080/rerank")]),
            ("infinity", "http://h:7997", "bge", &[(Wording::Rerank, "http://h:7997/rerank")]),
            ("together_ai", "https://h/v1", "m", &[(Wording::Rerank, "https://h/v1/rerank")]),
            ("openai", "https://h/v1", "m", &[]),
            ("anthropic", "https://h", "m", &[]),
        ];
        for (provider, base, model, expected) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(wording, url)| (*wording, (*url).to_owned())).collect();
            assert_eq!(reworded(provider, base, model), expected, "{provider} {model}");
        }
    }
}

//! The words in which a provider is asked for what is no conversation.

/// In which words a provider is asked for embeddings, rankings or images, where they are not its callers' own.
///
/// Callers speak OpenAI's words for embeddings and images and Cohere's for rankings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wording {
    /// Embeddings by Google's `:batchEmbedContents`, on AI Studio.
    BatchEmbedContents,
    /// Embeddings by Google's `:embedContent`, on Vertex AI: one text a call.
    EmbedContent,
    /// Embeddings by `:predict`, on Vertex AI.
    Predict,
    /// Embeddings by Cohere's `/v2/embed`.
    CohereEmbed,
    /// Embeddings by Ollama's `/api/embed`.
    OllamaEmbed,
    /// Embeddings of Amazon's Titan, invoked on Bedrock: one text a call.
    TitanEmbed,
    /// Embeddings of Cohere's, invoked on Bedrock.
    InvokedCohereEmbed,
    /// Embeddings in OpenAI's words, of texts and as lists of numbers alone: Voyage's, Jina's.
    PlainEmbed,
    /// Rankings in Cohere's words, of plain texts: its own, Jina's, Together's, vLLM's, Infinity's.
    Rerank,
    /// Rankings by Voyage, to which the most results are `top_k`.
    RerankTopK,
    /// Rankings by Text Embeddings Inference, which has `texts` and always ranks all of them.
    RerankTexts,
    /// Rankings of Cohere's and Amazon's, invoked on Bedrock.
    InvokedRerank,
    /// Rankings by Google's `:rank`, beside Vertex AI, which has records.
    RankRecords,
    /// Images of Gemini's models, by `:generateContent`: one a call.
    GenerateImages,
    /// Images of Imagen, by `:predict`, on AI Studio and on Vertex AI: at most four a call.
    PredictImages,
    /// Images of Amazon's Titan and Nova Canvas, invoked on Bedrock: at most five a call.
    InvokedAmazonImages,
    /// Images of Stability's, invoked on Bedrock: one a call.
    InvokedStabilityImages,
}

//! The answers of providers, as their caller is given them.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde_json::value::RawValue;
use ziggurat_core::{Convention, Operation, Usage, Wording};

use super::{Request, encode::pieces, text_tokens};
use crate::{
    Malformed, Text,
    openai::read_input_usage,
    read::{Count, document, is_invalid, stated, wire_object},
    write::{Object, object, write_number},
};

/// The vectors of a request, gathered from one answer or from several.
#[derive(Debug)]
pub struct Vectors {
    wording: Wording,
    /// By what they are asked for.
    operation: Operation,
    base64: bool,
    /// How many each answer that is still to come was asked for, the last first.
    asked: Vec<usize>,
    /// The items of the list that are written.
    items: Vec<u8>,
    count: usize,
    usage: Stated,
    model: Option<String>,
    /// What the input has in tokens, where the provider does not say it.
    estimate: u64,
}

/// The tokens that all answers together state.
#[derive(Clone, Copy, Debug, Default)]
struct Stated {
    tokens: u64,
    /// An answer has not stated its own.
    silent: bool,
    invalid: bool,
}

/// What one answer says.
#[derive(Default)]
struct Answer<'a> {
    vectors: Vec<&'a RawValue>,
    tokens: Option<u64>,
    invalid: bool,
    model: Option<Text<'a>>,
}

wire_object! {
    struct Google {
        embeddings: Vec<GoogleValues<'a>> = "embeddings",
        embedding: GoogleValues<'a> = "embedding",
        usage: GoogleUsage<'a> = "usageMetadata",
        predictions: Vec<Prediction<'a>> = "predictions",
    }
    struct GoogleValues { values: &'a RawValue = "values", statistics: Statistics<'a> = "statistics", }
    struct GoogleUsage { prompt: Count = "promptTokenCount", }
    struct Prediction { embeddings: GoogleValues<'a> = "embeddings", }
    struct Statistics { tokens: Count = "token_count", }
    struct Cohere { embeddings: &'a RawValue = "embeddings", meta: CohereMeta<'a> = "meta", }
    struct ByType { float: Vec<&'a RawValue> = "float", }
    struct CohereMeta { billed: CohereBilled<'a> = "billed_units", }
    struct CohereBilled { tokens: Count = "input_tokens", }
    struct Ollama {
        embeddings: Vec<&'a RawValue> = "embeddings",
        prompt: Count = "prompt_eval_count",
        model: Text<'a> = "model",
    }
    struct Titan { embedding: &'a RawValue = "embedding", tokens: Count = "inputTextTokenCount", }
    struct Plain { data: Vec<PlainItem<'a>> = "data", usage: &'a RawValue = "usage", model: Text<'a> = "model", }
    struct PlainItem { embedding: &'a RawValue = "embedding", index: Count = "index", }
}

// ===== impl Vectors =====

impl Vectors {
    /// For the answers to the bodies of a request to a model, by its name at the provider.
    #[must_use]
    pub fn new(wording: Wording, request: &Request<'_>, model: &str) -> Self {
        let texts = request.input.texts();
        Self {
            wording,
            operation: request.operation,
            base64: request.base64,
            asked: pieces(wording, model, texts).iter().rev().map(|piece| piece.len()).collect(),
            items: Vec::new(),
            count: 0,
            usage: Stated::default(),
            model: None,
            estimate: texts.iter().map(text_tokens).sum(),
        }
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// [`Malformed`], when it is none or has not as many vectors as were asked for.
    pub fn read(&mut self, json: &str, headers: &HeaderMap) -> Result<(), Malformed> {
        let answer = Answer::read(self.wording, json)?;
        let asked = self.asked.last().copied().unwrap_or_default();
        if answer.vectors.len() != asked {
            let message = format!("{} vectors where {asked} were asked for", answer.vectors.len());
            return Err(Malformed::new(message, ""));
        }
        self.asked.pop();
        // A list of fifteen hundred numbers has about as many bytes as this.
        self.items.reserve(json.len().min(answer.vectors.len() * 20_000));
        for vector in answer.vectors {
            self.push(vector)?;
        }
        self.usage.silent |= answer.tokens.is_none() && invoked_tokens(headers).is_none();
        self.usage.invalid |= answer.invalid;
        let tokens = answer.tokens.or_else(|| invoked_tokens(headers)).unwrap_or(0);
        self.usage.tokens = self.usage.tokens.saturating_add(tokens);
        self.model = answer.model.map(|model| model.decode().into_owned()).filter(|model| !model.is_empty());
        Ok(())
    }

    /// What the answers so far state of what was used: nothing, once one of them has stated nothing.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let mut usage = Usage::new(Convention::OPENAI);
        usage.invalid = self.usage.invalid;
        if !self.usage.silent && self.count > 0 {
            // Nothing is written but vectors.
            (usage.input, usage.output) = (Some(self.usage.tokens), Some(0));
        }
        (!usage.is_empty()).then_some(usage)
    }

    /// What its caller is given: OpenAI's list, of the provider's model unless its answer names it, or Google's vectors. Clients of OpenAI's
    /// need to read what was used: what the provider did not state is told as an estimate.
    #[must_use]
    pub fn finish(self, model: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.items.len() + 160);
        object(&mut out, |answer| match self.operation {
            Operation::EmbedContent | Operation::BatchEmbedContents => self.write_googles(answer),
            _ => self.write_list(answer, model),
        });
        out
    }

    fn write_list(&self, list: &mut Object<'_>, model: &str) {
        let tokens = if self.usage.silent { self.estimate } else { self.usage.tokens };
        list.str("object", "list");
        self.write_items(list.key("data"));
        list.str("model", self.model.as_deref().unwrap_or(model));
        list.object("usage", |usage| {
            usage.number("prompt_tokens", tokens);
            usage.number("total_tokens", tokens);
        });
    }

    fn write_googles(&self, answer: &mut Object<'_>) {
        match self.operation {
            Operation::EmbedContent => answer.key("embedding").extend_from_slice(&self.items),
            _ => self.write_items(answer.key("embeddings")),
        }
        if !self.usage.silent {
            answer.object("usageMetadata", |usage| usage.number("promptTokenCount", self.usage.tokens));
        }
    }

    fn write_items(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        out.extend_from_slice(&self.items);
        out.push(b']');
    }

    fn push(&mut self, vector: &RawValue) -> Result<(), Malformed> {
        let numbers: Vec<f32> = document(vector.get())?;
        if numbers.is_empty() || !numbers.iter().all(|number| number.is_finite()) {
            return Err(Malformed::new("expected a list of numbers", ""));
        }
        let out = &mut self.items;
        if self.count > 0 {
            out.push(b',');
        }
        self.count += 1;
        if self.operation.embeds_content() {
            out.extend_from_slice(br#"{"values":"#);
            write_numbers(out, vector);
            out.push(b'}');
            return Ok(());
        }
        out.extend_from_slice(br#"{"object":"embedding","index":"#);
        write_number(out, self.count as u64 - 1);
        out.extend_from_slice(br#","embedding":"#);
        if self.base64 {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        } else {
            write_numbers(out, vector);
        }
        out.push(b'}');
        Ok(())
    }
}

// ===== impl Answer =====

impl<'a> Answer<'a> {
    fn read(wording: Wording, json: &'a str) -> Result<Self, Malformed> {
        match wording {
            Wording::BatchEmbedContents | Wording::EmbedContent | Wording::Predict => {
                Self::google(wording, json)
            }
            Wording::CohereEmbed | Wording::InvokedCohereEmbed => Self::cohere(json),
            Wording::OllamaEmbed => {
                let wire: Ollama<'_> = document(json)?;
                let vectors = wire.embeddings.ok_or_else(none)?;
                Ok(Self { vectors, model: wire.model, ..Self::counted(wire.prompt) })
            }
            Wording::TitanEmbed => {
                let wire: Titan<'_> = document(json)?;
                Ok(Self { vectors: vec![wire.embedding.ok_or_else(none)?], ..Self::counted(wire.tokens) })
            }
            _ => Self::plain(json),
        }
    }

    fn counted(tokens: Option<Count>) -> Self {
        Self { tokens: stated(tokens), invalid: is_invalid(tokens), ..Self::default() }
    }

    fn google(wording: Wording, json: &'a str) -> Result<Self, Malformed> {
        let wire: Google<'_> = document(json)?;
        let answers = match wording {
            Wording::BatchEmbedContents => wire.embeddings,
            Wording::EmbedContent => wire.embedding.map(|one| vec![one]),
            _ => wire.predictions.and_then(|all| all.into_iter().map(|one| one.embeddings).collect()),
        };
        let answers = answers.ok_or_else(none)?;
        let mut each = answers.iter().map(|one| stated(one.statistics.as_ref()?.tokens));
        let (counts, tokens) = match wording {
            // Each vector states its own.
            Wording::Predict => {
                (None, each.try_fold(0, |sum: u64, tokens| Some(sum.saturating_add(tokens?))))
            }
            _ => {
                let count = wire.usage.and_then(|usage| usage.prompt);
                (count, stated(count))
            }
        };
        let vectors = answers.iter().map(|one| one.values).collect::<Option<_>>().ok_or_else(none)?;
        Ok(Self { vectors, tokens, invalid: is_invalid(counts), model: None })
    }

    /// Lists by the kind of their numbers, or of floats alone.
    fn cohere(json: &'a str) -> Result<Self, Malformed> {
        let wire: Cohere<'_> = document(json)?;
        let embeddings = wire.embeddings.ok_or_else(none)?.get();
        let vectors = match embeddings.starts_with('{') {
            true => document::<ByType<'_>>(embeddings)?.float.ok_or_else(none)?,
            false => document(embeddings)?,
        };
        let billed = wire.meta.and_then(|meta| meta.billed).and_then(|billed| billed.tokens);
        Ok(Self { vectors, ..Self::counted(billed) })
    }

    /// In OpenAI's words, in which each vector says whose it is.
    fn plain(json: &'a str) -> Result<Self, Malformed> {
        let wire: Plain<'_> = document(json)?;
        let items = wire.data.ok_or_else(none)?;
        let mut vectors = vec![None; items.len()];
        for (place, item) in items.iter().enumerate() {
            let index = stated(item.index).map_or(Some(place), |index| usize::try_from(index).ok());
            let slot = index.and_then(|index| vectors.get_mut(index)).filter(|slot| slot.is_none());
            *slot.ok_or_else(none)? = Some(item.embedding.ok_or_else(none)?);
        }
        let vectors = vectors.into_iter().collect::<Option<_>>().ok_or_else(none)?;
        let usage = wire.usage.and_then(read_input_usage);
        let (tokens, invalid) = usage.map_or((None, false), |usage| (usage.input, usage.invalid));
        Ok(Self { vectors, tokens, invalid, model: wire.model })
    }
}

/// What an invoked model has read, as Bedrock says beside its answer.
pub(crate) fn invoked_tokens(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-amzn-bedrock-input-token-count")?.to_str().ok()?.parse().ok()
}

/// A list of numbers as they were written.
fn write_numbers(out: &mut Vec<u8>, vector: &RawValue) {
    out.extend(vector.get().bytes().filter(|byte| !byte.is_ascii_whitespace()));
}

fn none() -> Malformed {
    Malformed::new("no vectors", "")
}

#[cfg(test)]
mod tests;

//! The answers of providers, as OpenAI's list.

use serde_json::value::RawValue;
use ziggurat_core::{Convention, Usage, Wording};

use super::{Request, encode::counts};
use crate::{
    FinishReason, Malformed, Text, gemini,
    read::{both, document, wire_object},
    write::object,
};

/// The images of a request, gathered from one answer or from several.
#[derive(Debug)]
pub struct Images {
    wording: Wording,
    /// How many each answer that is still to come was asked for, the last first.
    asked: Vec<usize>,
    /// The items of OpenAI's list that are written.
    items: Vec<u8>,
    count: u64,
    /// What kind of file they are, where a provider says it: in OpenAI's word.
    format: Option<&'static str>,
    /// Whether a content policy kept any back.
    withheld: bool,
    /// The tokens that all answers together state.
    usage: Usage,
    /// An answer has not stated its own.
    silent: bool,
}

/// Why there is no image at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoImage {
    /// A content policy forbids the prompt, or what was drawn.
    Withheld,
    /// The model has drawn none.
    NotDrawn,
}

/// What one answer says.
#[derive(Default)]
struct Answer<'a> {
    images: Vec<Image<'a>>,
    withheld: bool,
    usage: Option<Usage>,
}

struct Image<'a> {
    /// Base64, as it stands.
    data: Text<'a>,
    kind: Option<Text<'a>>,
    /// What was drawn in the prompt's place.
    prompt: Option<Text<'a>>,
}

wire_object! {
    struct Generated {
        candidates: Vec<Candidate<'a>> = "candidates",
        feedback: Feedback<'a> = "promptFeedback",
        usage: &'a RawValue = "usageMetadata",
    }
    struct Feedback { reason: Text<'a> = "blockReason", }
    struct Candidate { content: Content<'a> = "content", reason: Text<'a> = "finishReason", }
    struct Content { parts: Vec<Part<'a>> = "parts", }
    struct Part { data: Inline<'a> = "inlineData", thought: bool = "thought", }
    struct Inline { kind: Text<'a> = "mimeType", data: Text<'a> = "data", }
    struct Predicted { predictions: Vec<Prediction<'a>> = "predictions", error: &'a RawValue = "error", }
    struct Prediction {
        data: Text<'a> = "bytesBase64Encoded",
        kind: Text<'a> = "mimeType",
        prompt: Text<'a> = "prompt",
        reason: Text<'a> = "raiFilteredReason",
    }
    struct Invoked {
        images: Vec<Text<'a>> = "images",
        // Amazon's.
        error: Text<'a> = "error",
        // Stability's.
        reasons: Vec<Option<Text<'a>>> = "finish_reasons",
    }
}

// ===== impl Images =====

impl Images {
    /// For the answers to the bodies of a request.
    #[must_use]
    pub fn new(wording: Wording, request: &Request<'_>) -> Self {
        let mut asked: Vec<usize> = counts(wording, request.n).collect();
        asked.reverse();
        Self {
            wording,
            asked,
            items: Vec::new(),
            count: 0,
            format: None,
            withheld: false,
            usage: Usage::new(Convention::OPENAI),
            silent: false,
        }
    }

    /// Reads the next answer. It may hold fewer images than were asked for, or none: a provider keeps back what its policy forbids.
    ///
    /// # Errors
    /// [`Malformed`], when it is none.
    pub fn read(&mut self, json: &str) -> Result<(), Malformed> {
        let answer = Answer::read(self.wording, json)?;
        let asked = self.asked.pop().unwrap_or_default();
        self.items.reserve(json.len());
        for image in answer.images.into_iter().filter(|image| !image.data.is_empty()).take(asked) {
            self.push(&image);
        }
        self.withheld |= answer.withheld;
        self.silent |= answer.usage.is_none();
        if let Some(usage) = answer.usage {
            self.usage = sum(&self.usage, &usage);
        }
        Ok(())
    }

    /// What the answers so far state of what was used: the images that came, and their tokens where the provider counts them.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = if self.silent { Usage::new(Convention::OPENAI) } else { self.usage };
        usage.images = Some(self.count);
        usage
    }

    /// The list, made at so many seconds of Unix time.
    ///
    /// # Errors
    /// [`NoImage`], where there is nothing to list.
    pub fn finish(self, created: u64) -> Result<Vec<u8>, NoImage> {
        if self.count == 0 {
            return Err(if self.withheld { NoImage::Withheld } else { NoImage::NotDrawn });
        }
        let usage = self.usage();
        let mut out = Vec::with_capacity(self.items.len() + 256);
        object(&mut out, |list| {
            list.number("created", created);
            let data = list.key("data");
            data.push(b'[');
            data.extend_from_slice(&self.items);
            data.push(b']');
            if let Some(format) = self.format {
                list.str("output_format", format);
            }
            if let (Some(input), Some(output)) = (usage.input_total(), usage.output_total()) {
                list.object("usage", |counts| {
                    counts.number("input_tokens", input);
                    counts.object("input_tokens_details", |details| {
                        let images = usage.image_input.unwrap_or(0);
                        details.number("image_tokens", images);
                        details.number("text_tokens", input.saturating_sub(images));
                    });
                    counts.number("output_tokens", output);
                    counts.number("total_tokens", input.saturating_add(output));
                });
            }
        });
        Ok(out)
    }

    fn push(&mut self, image: &Image<'_>) {
        if self.count > 0 {
            self.items.push(b',');
        }
        object(&mut self.items, |item| {
            item.text("b64_json", &image.data);
            item.text_if("revised_prompt", image.prompt.as_ref());
        });
        self.count += 1;
        self.format = match image.kind.as_ref().map(Text::decode).as_deref() {
            Some("image/png") => Some("png"),
            Some("image/jpeg") => Some("jpeg"),
            Some("image/webp") => Some("webp"),
            _ => self.format,
        };
    }
}

/// The tokens of two answers.
fn sum(one: &Usage, other: &Usage) -> Usage {
    let mut sum = Usage::new(other.convention);
    sum.input = both(one.input, other.input);
    sum.output = both(one.output, other.output);
    sum.cached_read = both(one.cached_read, other.cached_read);
    sum.reasoning = both(one.reasoning, other.reasoning);
    sum.image_input = both(one.image_input, other.image_input);
    sum.image_output = both(one.image_output, other.image_output);
    sum.tier = other.tier.or(one.tier);
    sum.invalid = one.invalid || other.invalid;
    sum
}

// ===== impl Answer =====

impl<'a> Answer<'a> {
    fn read(wording: Wording, json: &'a str) -> Result<Self, Malformed> {
        match wording {
            Wording::GenerateImages => Self::generated(json),
            Wording::PredictImages => Self::predicted(json),
            _ => Self::invoked(json),
        }
    }

    /// Of Gemini's models, which may write, and think in images, beside what they draw.
    fn generated(json: &'a str) -> Result<Self, Malformed> {
        let wire: Generated<'_> = document(json)?;
        if wire.candidates.is_none() && wire.feedback.is_none() {
            return Err(none());
        }
        let candidates = wire.candidates.unwrap_or_default();
        let blocked = wire.feedback.is_some_and(|feedback| feedback.reason.is_some());
        let mut ends = candidates.iter().filter_map(|candidate| candidate.reason.clone());
        let withheld =
            blocked || ends.any(|end| gemini::finish(end, false).reason == FinishReason::ContentFilter);
        let parts = candidates.into_iter().filter_map(|candidate| candidate.content?.parts).flatten();
        let drawn = parts.filter(|part| part.thought != Some(true)).filter_map(|part| part.data);
        let images =
            drawn.filter_map(|image| Some(Image { data: image.data?, kind: image.kind, prompt: None }));
        let usage = wire.usage.and_then(gemini::read_usage).map(|spent| {
            let mut usage = spent.counts;
            // Where it does not say which of them are, all are images'.
            usage.image_output = usage.image_output.or(usage.output);
            usage
        });
        Ok(Self { images: images.collect(), withheld, usage })
    }

    /// Of Imagen, which leaves out the list where it keeps all back.
    fn predicted(json: &'a str) -> Result<Self, Malformed> {
        let wire: Predicted<'_> = document(json)?;
        if wire.error.is_some() {
            return Err(none());
        }
        let predictions = wire.predictions.unwrap_or_default();
        let withheld = predictions.is_empty() || predictions.iter().any(|one| one.reason.is_some());
        let image = |one: Prediction<'a>| Some(Image { data: one.data?, kind: one.kind, prompt: one.prompt });
        Ok(Self { images: predictions.into_iter().filter_map(image).collect(), withheld, usage: None })
    }

    /// Of models on Bedrock, which say of each image that is not there why.
    fn invoked(json: &'a str) -> Result<Self, Malformed> {
        let wire: Invoked<'_> = document(json)?;
        if wire.images.is_none() && wire.error.is_none() && wire.reasons.is_none() {
            return Err(none());
        }
        let reasons = wire.reasons.unwrap_or_default();
        let reason = |index: usize| reasons.get(index).and_then(Option::as_ref);
        let filtered = |text: &Text<'_>| text.decode().starts_with("Filter reason");
        let withheld = wire.error.is_some() || reasons.iter().flatten().any(filtered);
        let images = wire.images.unwrap_or_default().into_iter().enumerate();
        let images = images.filter(|(index, _)| reason(*index).is_none());
        let images = images.map(|(_, data)| Image { data, kind: None, prompt: None });
        Ok(Self { images: images.collect(), withheld, usage: None })
    }
}

fn none() -> Malformed {
    Malformed::new("no images", "")
}

#[cfg(test)]
mod tests;

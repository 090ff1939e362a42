//! What is paid for by the piece and not by the text: sound heard, speech, images.

use std::{sync::Arc, time::Duration};

use ziggurat_catalog::{Model, Prices, Quantities, ServiceTier, Unit};
use ziggurat_core::{Attempt, Call, Cause, Convention, Operation, Outcome, Target, Usage, Usd};

use crate::{
    Flags,
    estimate::{drops, member},
    layer::Config,
    policy::UNKNOWN_CAP,
};

/// What a call asks for that is no text, at most.
#[derive(Clone, Debug)]
pub(crate) enum Pieces {
    /// Sound of at most this length is heard.
    Heard(Duration),
    /// So many characters are spoken, which takes about so long.
    Spoken(u64, Duration),
    /// Images are made, each of the size and quality that is asked for, and some are given.
    Drawn { size: Option<Box<str>>, quality: Option<Box<str>>, given: u64 },
}

// ===== impl Pieces =====

impl Pieces {
    /// `None` for a call that is about text.
    pub(crate) fn of(call: &Call) -> Option<Self> {
        let operation = call.operation();
        if operation.is_heard() {
            let bytes = call.length().unwrap_or(UNKNOWN_BYTES);
            return Some(Self::Heard(Duration::from_secs(bytes.div_ceil(HEARD_BYTES))));
        }
        if operation == Operation::Speech {
            let input = said(call, "input").unwrap_or_default();
            let seconds = (input.len() as u64).div_ceil(SPOKEN_BYTES);
            return Some(Self::Spoken(input.chars().count() as u64, Duration::from_secs(seconds)));
        }
        operation.is_drawn().then(|| Self::Drawn {
            size: said(call, "size").map(String::into_boxed_str),
            quality: said(call, "quality").map(String::into_boxed_str),
            given: call.files() as u64,
        })
    }

    /// The model of a target, if it has the prices that such a call needs: of images where those are listed by size and quality, too.
    pub(crate) fn model(&self, config: &Config, target: &Target) -> Option<Arc<Model>> {
        let own = config.catalog.for_target(target);
        own.filter(|model| self.is_priced(&model.prices)).or_else(|| match self {
            Self::Drawn { size, quality, .. } => {
                let listed = config.catalog.image(target, quality.as_deref(), size.as_deref());
                listed.filter(|model| self.is_priced(&model.prices))
            }
            _ => None,
        })
    }

    /// Whether it is known what these pieces cost.
    pub(crate) fn is_priced(&self, prices: &Prices) -> bool {
        let told = |units: &[Unit]| units.iter().any(|&unit| prices.rate(unit).is_some());
        prices.is_priced_for_tokens()
            || match self {
                Self::Heard(_) => prices.is_priced_by_time() || told(&[Unit::AudioSecondInput]),
                Self::Spoken(..) => prices.is_priced_by_time() || told(&[Unit::CharacterInput]),
                Self::Drawn { .. } => {
                    prices.sizes().next().is_some()
                        || told(&[
                            Unit::PerImageOutput,
                            Unit::PerImageInput,
                            Unit::PixelInput,
                            Unit::PixelOutput,
                        ])
                }
            }
    }

    /// The most that they can cost at a target, by its model's prices for tokens, and for pieces.
    pub(crate) fn worst(
        &self,
        target: Option<&Target>,
        model: &Model,
        (input, images): (u64, u64),
        tier: ServiceTier,
    ) -> Usd {
        let by_tokens = |usage: &Usage| match model.prices.is_priced_for_tokens() {
            true => model.prices.cost(usage, tier).total,
            false => Usd::ZERO,
        };
        let by_piece = model.prices.cost_of(&self.quantities(None, images, tier)).total;
        let most = self.tokens(target, model, input, images);
        let thinking = draws_apart(target).then(|| by_tokens(&thinking(most, model, images)));
        by_piece.max(by_tokens(&most)).max(thinking.unwrap_or_default())
    }

    /// What an attempt has come to: by what its answer states, else as much as was set aside.
    pub(crate) fn cost(
        &self,
        model: &Model,
        attempt: &Attempt,
        (input, images): (u64, u64),
        tier: ServiceTier,
        flags: &mut Flags,
    ) -> Usd {
        if is_the_callers(attempt) {
            return Usd::ZERO;
        }
        let target = attempt.target.as_deref();
        // What was drawn ahead of a failure was told, and the rest was not drawn.
        let is_told = attempt.is_whole() || (draws_apart(target) && attempt.outcome == Some(Outcome::Failed));
        let usage = attempt.usage.filter(|usage| !usage.invalid);
        flags.usage_invalid = attempt.usage.is_some_and(|usage| usage.invalid);
        if let Some(usage) = usage {
            let tokens = usage.input.is_some() || usage.output.is_some();
            if tokens && model.prices.is_priced_for_tokens() && is_told {
                return model.prices.cost(&usage, tier).total;
            }
            let pieces = match self {
                Self::Heard(_) => usage.heard.is_some(),
                Self::Spoken(..) => false,
                Self::Drawn { .. } => usage.images.is_some() && is_told,
            };
            if pieces {
                return model.prices.cost_of(&self.quantities(Some(&usage), images, tier)).total;
            }
        }
        // Characters and images that were asked for are what is billed, unless it is by what nobody tells.
        let by_asked = match self {
            Self::Heard(_) => false,
            Self::Spoken(..) => model.prices.rate(Unit::CharacterInput).is_some(),
            Self::Drawn { .. } => !model.prices.is_priced_for_tokens(),
        };
        if !by_asked {
            flags.estimated = true;
            flags.unreconciled = true;
        }
        self.worst(target, model, (input, images), tier)
    }

    /// The tokens that they may be, where a model is priced by tokens. Where images are drawn apart, the prompt may be read for each; and
    /// who is not asked for a quality may draw the best.
    fn tokens(&self, target: Option<&Target>, model: &Model, input: u64, images: u64) -> Usage {
        let mut usage = Usage::new(Convention::OPENAI);
        match self {
            Self::Heard(length) => {
                let audio = length.as_secs().saturating_mul(HEARD_TOKENS);
                usage.audio_input = Some(audio);
                usage.input = Some(input.saturating_add(audio));
                usage.output = Some(model.max_output.unwrap_or(UNKNOWN_CAP));
            }
            Self::Spoken(_, length) => {
                usage.input = Some(input);
                usage.audio_output = Some(length.as_secs().saturating_mul(SPOKEN_TOKENS));
                usage.output = usage.audio_output;
            }
            Self::Drawn { quality, given, .. } => {
                let apart = draws_apart(target);
                let input = if apart { input.saturating_mul(images) } else { input };
                let of_one = match quality.as_deref() {
                    _ if apart || drops(target, "quality") => IMAGE_TOKENS,
                    Some("low") => 408,
                    Some("medium") => 1584,
                    _ => IMAGE_TOKENS,
                };
                usage.image_input = Some(given.saturating_mul(IMAGE_TOKENS));
                usage.input = usage.image_input.map(|given| given.saturating_add(input));
                usage.image_output = Some(images.saturating_mul(of_one));
                usage.output = usage.image_output;
            }
        }
        usage
    }

    /// How many pieces they are: as an answer states it, else as it was asked.
    fn quantities(&self, stated: Option<&Usage>, asked: u64, tier: ServiceTier) -> Quantities {
        let mut used = Quantities { tier, ..Quantities::default() };
        match self {
            Self::Heard(length) => used.time = stated.and_then(|usage| usage.heard).unwrap_or(*length),
            Self::Spoken(characters, length) => (used.characters, used.time) = (*characters, *length),
            Self::Drawn { size, given, .. } => {
                used.images = stated.and_then(|usage| usage.images).unwrap_or(asked);
                used.images_input = *given;
                used.pixels = used.images.saturating_mul(pixels(size.as_deref()));
                used.size.clone_from(size);
            }
        }
        used
    }
}

/// Whether a target is asked for images in words of its own, in a call for each or for some of them.
fn draws_apart(target: Option<&Target>) -> bool {
    target.is_some_and(|target| target.wording_of(Operation::Images).is_some())
}

/// As many tokens as a model writes at the most for each image, if it thinks as long as it can and draws one.
fn thinking(mut usage: Usage, model: &Model, images: u64) -> Usage {
    let of_one = model.max_output.unwrap_or(UNKNOWN_CAP).max(LARGEST_OF_GEMINIS);
    usage.output = Some(images.saturating_mul(of_one));
    usage.image_output = Some(images.saturating_mul(LARGEST_OF_GEMINIS));
    usage
}

/// Whether an attempt failed for what its caller sent or did not send: a provider that never had all of it bills nothing.
fn is_the_callers(attempt: &Attempt) -> bool {
    let cause = attempt.problem.as_ref().map(|problem| problem.cause);
    let own = matches!(cause, Some(Cause::InvalidRequest | Cause::TooLarge | Cause::RequestTimeout));
    own && attempt.status.is_none() && attempt.outcome == Some(Outcome::Failed)
}

/// A member of the body, or a field of the form, that is a string.
fn said(call: &Call, name: &str) -> Option<String> {
    match call.is_form() {
        true => call.form_field(name).map(str::to_owned),
        false => member(call, name).and_then(|json| serde_json::from_str(json).ok()),
    }
}

/// The pixels of an image of a size such as `1024x1536`.
fn pixels(size: Option<&str>) -> u64 {
    let sides = size.and_then(|size| size.split_once('x'));
    let sides = sides.and_then(|(wide, high)| Some((wide.parse::<u32>().ok()?, high.parse::<u32>().ok()?)));
    sides.map_or(UNKNOWN_PIXELS, |(wide, high)| u64::from(wide) * u64::from(high))
}

/// Bytes of a form for a second of its sound, at the least: the lowest bit rate of MP3, 8 kbit/s. Speech is seldom coded below 12.
const HEARD_BYTES: u64 = 1000;
/// Bytes of a form that does not say how long it is: the longest file that OpenAI takes.
const UNKNOWN_BYTES: u64 = 25 << 20;
/// Tokens that a second of sound is heard as: OpenAI's models are priced as if it were 10 to 17.
const HEARD_TOKENS: u64 = 17;
/// Bytes of a text that take a second to be spoken: a slow twelve letters, or four signs of Chinese.
const SPOKEN_BYTES: u64 = 12;
/// Tokens that a second of speech is made of: 0.015 dollars a minute at 12 dollars a million.
const SPOKEN_TOKENS: u64 = 21;
/// Tokens of an image in high quality, at the most (<https://platform.openai.com/docs/guides/image-generation>).
const IMAGE_TOKENS: u64 = 6240;
/// Tokens of the largest image of Gemini's models, of 4,096 pixels (<https://ai.google.dev/gemini-api/docs/image-generation>).
const LARGEST_OF_GEMINIS: u64 = 2520;
/// Of the largest image of OpenAI's that has no size.
const UNKNOWN_PIXELS: u64 = 1024 * 1536;

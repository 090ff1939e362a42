//! Which tokens of a usage are charged as what.

use ziggurat_core::Usage;

use crate::Unit;

/// Where the tokens of a usage are priced. Every token is counted in one place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tokens {
    /// All input: what decides on the level of prices.
    pub(crate) context: u64,
    pub(crate) text_input: u64,
    pub(crate) audio_input: u64,
    pub(crate) image_input: u64,
    pub(crate) cached_read: u64,
    pub(crate) cached_audio_read: u64,
    pub(crate) cached_image_read: u64,
    pub(crate) cached_write: u64,
    pub(crate) cached_write_1h: u64,
    pub(crate) text_output: u64,
    pub(crate) reasoning: u64,
    pub(crate) audio_output: u64,
    pub(crate) image_output: u64,
}

// ===== impl Tokens =====

impl Tokens {
    /// How many are charged as this unit.
    pub(crate) fn of_unit(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Input => self.text_input,
            Unit::CachedRead => self.cached_read,
            Unit::CachedWrite => self.cached_write,
            Unit::CachedWrite1h => self.cached_write_1h,
            Unit::AudioInput => self.audio_input,
            Unit::ImageInput => self.image_input,
            Unit::CachedAudioRead => self.cached_audio_read,
            Unit::CachedImageRead => self.cached_image_read,
            Unit::Output => self.text_output,
            Unit::Reasoning => self.reasoning,
            Unit::AudioOutput => self.audio_output,
            Unit::ImageOutput => self.image_output,
            _ => 0,
        }
    }

    pub(crate) fn of(usage: &Usage) -> Self {
        let said = |count: Option<u64>| count.unwrap_or(0);
        let written_1h = said(usage.cached_write_1h);
        let written = said(usage.cached_write).max(written_1h);
        let read = said(usage.cached_read);
        let (audio, image) = (said(usage.audio_input), said(usage.image_input));
        let cached = read.saturating_add(written);
        let input = match usage.convention.input_includes_cached {
            true => said(usage.input).max(cached),
            false => said(usage.input).saturating_add(cached),
        };
        let context = input.max(audio.saturating_add(image));
        // Images and audio are what is not cached as far as that goes; the rest of them was read from the cache.
        let uncached = context.saturating_sub(cached);
        let image_input = image.min(uncached);
        let audio_input = audio.min(uncached - image_input);
        let cached_image_read = (image - image_input).min(read);
        let cached_audio_read = (audio - audio_input).min(read - cached_image_read);

        let reasoning = said(usage.reasoning);
        let (spoken, drawn) = (said(usage.audio_output), said(usage.image_output));
        let output = match usage.convention.output_includes_reasoning {
            true => said(usage.output).max(reasoning),
            false => said(usage.output).saturating_add(reasoning),
        };
        let output = output.max(spoken.saturating_add(drawn));
        let image_output = drawn.min(output);
        let audio_output = spoken.min(output - image_output);
        let reasoning = reasoning.min(output - image_output - audio_output);
        Self {
            context,
            text_input: uncached - image_input - audio_input,
            audio_input,
            image_input,
            cached_read: read - cached_image_read - cached_audio_read,
            cached_audio_read,
            cached_image_read,
            cached_write: written - written_1h,
            cached_write_1h: written_1h,
            text_output: output - image_output - audio_output - reasoning,
            reasoning,
            audio_output,
            image_output,
        }
    }
}

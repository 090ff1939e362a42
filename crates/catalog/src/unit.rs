//! What is priced, and at which service tier.

use std::{fmt, str::FromStr};

/// Defines an enum whose variants have a code in the data files and a name elsewhere.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code in data files.
            pub(crate) const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What a code of the data files stands for.
            pub(crate) fn of_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The name, as price lists write it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What a name stands for.
            #[must_use]
            pub fn of_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use named;

named! {
    /// What one price is for. Its name is the one of LiteLLM's price map.
    Unit {
        /// A token of input.
        Input "i" "input_cost_per_token",
        /// A token of output.
        Output "o" "output_cost_per_token",
        /// A token of input read from the provider's prompt cache.
        CachedRead "cr" "cache_read_input_token_cost",
        /// A token of input written to the provider's prompt cache for five minutes, or for as long as it pleases.
        CachedWrite "cw" "cache_creation_input_token_cost",
        /// A token of input written to the provider's prompt cache for an hour.
        CachedWrite1h "cw1h" "cache_creation_input_token_cost_above_1hr",
        /// A token of reasoning.
        Reasoning "r" "output_cost_per_reasoning_token",
        /// A token of audio heard.
        AudioInput "ai" "input_cost_per_audio_token",
        /// A token of audio spoken.
        AudioOutput "ao" "output_cost_per_audio_token",
        /// A token of an image seen.
        ImageInput "ii" "input_cost_per_image_token",
        /// A token of an image made.
        ImageOutput "io" "output_cost_per_image_token",
        /// A token of audio read from the provider's prompt cache.
        CachedAudioRead "car" "cache_read_input_audio_token_cost",
        /// A token of audio written to the provider's prompt cache.
        CachedAudioWrite "caw" "cache_creation_input_audio_token_cost",
        /// A token of an image read from the provider's prompt cache.
        CachedImageRead "cir" "cache_read_input_image_token_cost",
        /// A token of a video seen.
        VideoTokenInput "vi" "input_cost_per_video_token",
        /// A token of a video made.
        VideoTokenOutput "vo" "output_cost_per_video_token",
        /// A token of a citation.
        Citation "cit" "citation_cost_per_token",
        /// An image given.
        PerImageInput "img.in" "input_cost_per_image",
        /// An image made.
        PerImageOutput "img" "output_cost_per_image",
        /// A pixel asked for.
        PixelInput "px.in" "input_cost_per_pixel",
        /// A pixel made.
        PixelOutput "px" "output_cost_per_pixel",
        /// A second of input, or of the call.
        SecondInput "s.in" "input_cost_per_second",
        /// A second of output.
        SecondOutput "s.out" "output_cost_per_second",
        /// A second of the call.
        Second "s" "cost_per_second",
        /// A second of audio heard.
        AudioSecondInput "as.in" "input_cost_per_audio_per_second",
        /// A second of video seen.
        VideoSecondInput "vs.in" "input_cost_per_video_per_second",
        /// A second of video made.
        VideoSecondOutput "vs" "output_cost_per_video_per_second",
        /// A character of input.
        CharacterInput "ch.in" "input_cost_per_character",
        /// A character of output.
        CharacterOutput "ch" "output_cost_per_character",
        /// A query: a search, or one of a reranker's.
        Query "q" "input_cost_per_query",
        /// A request, whatever it holds.
        Request "req" "input_cost_per_request",
        /// A page read.
        Page "pg" "ocr_cost_per_page",
        /// A page annotated.
        AnnotatedPage "pga" "annotation_cost_per_page",
        /// A web search with little context.
        WebSearchLow "ws.low" "search_context_size_low",
        /// A web search.
        WebSearch "ws" "search_context_size_medium",
        /// A web search with much context.
        WebSearchHigh "ws.high" "search_context_size_high",
        /// A query to Google Maps.
        MapsQuery "maps" "google_maps_grounding_cost_per_query",
        /// A session of a code interpreter.
        CodeSession "code" "code_interpreter_cost_per_session",
    }
}

named! {
    /// The service tier that a request asked for, or that an answer says it was served at.
    #[derive(Default)]
    ServiceTier {
        /// The usual one, which `auto` and `default` mean as well.
        #[default]
        Standard "std" "default",
        /// Slower and cheaper.
        Flex "flex" "flex",
        /// Faster and dearer.
        Priority "prio" "priority",
        /// In a batch, within a day.
        Batch "batch" "batch",
        /// Between the usual one and flex.
        Balanced "bal" "balanced",
        /// Faster still.
        Ultrafast "ultra" "ultrafast",
    }
}

/// How long what is written to a provider's prompt cache stays there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifetime {
    /// Five minutes, or as long as the provider pleases.
    FiveMinutes,
    /// An hour.
    OneHour,
}

/// How much context a web search brings, which some providers price by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SearchContext {
    /// Little.
    Low,
    /// The usual.
    #[default]
    Medium,
    /// Much.
    High,
}

/// A service tier that nobody has a price for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownTier;

// ===== impl Unit =====

impl Unit {
    /// Whether it is told per token: such prices change with the context's size, and half of them is a batch's.
    #[must_use]
    pub const fn is_token(self) -> bool {
        (self as u8) <= (Self::Citation as u8)
    }
}

// ===== impl ServiceTier =====

/// Reads what requests and answers write in `service_tier`, in any of the providers' words.
impl FromStr for ServiceTier {
    type Err = UnknownTier;

    fn from_str(text: &str) -> Result<Self, UnknownTier> {
        match text {
            "" | "auto" | "standard" | "standard_only" | "on_demand" => Ok(Self::Standard),
            "batches" => Ok(Self::Batch),
            name => Self::of_name(name).ok_or(UnknownTier),
        }
    }
}

impl fmt::Display for ServiceTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// ===== impl UnknownTier =====

impl fmt::Display for UnknownTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a service tier without prices of its own")
    }
}

impl std::error::Error for UnknownTier {}

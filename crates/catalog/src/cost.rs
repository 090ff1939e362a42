//! What a call cost, and what it can cost at most.

use std::time::Duration;

use ziggurat_core::{Usage, Usd};

use crate::{
    Lifetime, Prices, SearchContext, ServiceTier, Unit,
    count::Tokens,
    prices::{Fine, TokenPrices},
    sum::Sum,
};

/// What a call cost. The parts sum to the total exactly: what rounding to a pico-dollar moves, it moves between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// All of it.
    pub total: Usd,
    /// Input that came from no cache and went into none, audio and images included.
    pub input: Usd,
    /// Input read from the provider's prompt cache.
    pub cached_read: Usd,
    /// Input written to the provider's prompt cache.
    pub cached_write: Usd,
    /// Output but for reasoning, audio and images included.
    pub output: Usd,
    /// Reasoning.
    pub reasoning: Usd,
    /// What the provider's tools did: web searches, sessions of a code interpreter.
    pub tools: Usd,
    /// What is not told in tokens: images, seconds, characters, queries, pages.
    pub units: Usd,
    /// The price of a request, whatever it holds.
    pub request: Usd,
    /// What the operator put on top.
    pub margin: Usd,
}

/// What was used that is not told in tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantities {
    /// The tier at which it was served.
    pub tier: ServiceTier,
    /// Images made.
    pub images: u64,
    /// Images given.
    pub images_input: u64,
    /// Pixels of all images made, for models that are priced by them.
    pub pixels: u64,
    /// The size of images or video as the price list names it (`1080p`, `2K`).
    pub size: Option<Box<str>>,
    /// Length of the audio heard or spoken, or of the call where that is what is priced.
    pub time: Duration,
    /// Length of the video seen.
    pub video_input: Duration,
    /// Length of the video made.
    pub video_output: Duration,
    /// Tokens of video seen.
    pub video_input_tokens: u64,
    /// Tokens of video made.
    pub video_output_tokens: u64,
    /// Characters of input.
    pub characters: u64,
    /// Characters of output.
    pub characters_output: u64,
    /// Queries: searches, or a reranker's.
    pub queries: u64,
    /// Results asked for a query, for searches that are priced by them.
    pub results: u64,
    /// Pages read.
    pub pages: u64,
    /// Pages annotated.
    pub annotated_pages: u64,
    /// Tokens of citations.
    pub citations: u64,
    /// Web searches that the provider ran; beside tokens, those are counted that the usage states.
    pub web_searches: u64,
    /// How much context web searches were asked to bring.
    pub search_context: SearchContext,
    /// Queries to Google Maps.
    pub maps_queries: u64,
    /// Sessions of a code interpreter.
    pub code_sessions: u64,
}

/// What a request asks for, as far as it decides what its tokens can cost. The default excludes nothing but cache writes that the
/// provider makes only when asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The tier it asks for.
    pub tier: ServiceTier,
    /// The longest lifetime it asks for in a prompt cache.
    pub cache_write: Option<Lifetime>,
    /// Whether it holds text alone: no audio, no image.
    pub text_input: bool,
    /// Whether it can be answered by text alone: no audio, no image.
    pub text_output: bool,
    /// Most web searches that the provider may run.
    pub web_searches: u64,
    /// How much context they bring.
    pub search_context: SearchContext,
    /// Queries that a reranker is billed for, as far as they can be told ahead.
    pub queries: u64,
}

// ===== impl Prices =====

impl Prices {
    /// What tokens and web searches cost. Counts that were not stated cost nothing: who must not lose them estimates first.
    ///
    /// Counts are taken apart by the usage's convention. Of counts that contradict each other (more cached than input) the larger
    /// one counts. The level of prices is decided by all input, cached or not.
    #[must_use]
    pub fn cost(&self, usage: &Usage, tier: ServiceTier) -> Cost {
        self.cost_of_both(usage, &Quantities { tier, ..Quantities::default() })
    }

    /// What images, seconds, characters, queries, pages and the like cost. Each is charged once, by the most particular price:
    ///
    /// - an image made: by its size, else any size, else its pixels, else the price of an image given;
    /// - [`time`](Quantities::time): the dearest of the prices for a second of input, output, audio or of the call;
    /// - a second of video made: by its size, else any size, else the price for video, else for the call.
    #[must_use]
    pub fn cost_of(&self, quantities: &Quantities) -> Cost {
        let mut sum = Sum::new(self.discount);
        let mut cost = Cost::default();
        self.charge_units(&mut sum, &mut cost, quantities, quantities.web_searches);
        self.finish(&sum, cost)
    }

    /// What one call costs that used tokens and other things. Of the web searches, those in the usage count; of a reranker's queries too,
    /// where it states them.
    #[must_use]
    pub fn cost_of_both(&self, usage: &Usage, quantities: &Quantities) -> Cost {
        if let Some(queries) = usage.search_units.filter(|queries| *queries != quantities.queries) {
            return self.cost_of_both(usage, &Quantities { queries, ..quantities.clone() });
        }
        let tokens = Tokens::of(usage);
        let prices = self.tokens(tokens.context, quantities.tier, |unit| tokens.of_unit(unit) > 0);
        let mut sum = Sum::new(self.discount);
        let mut cost = Cost {
            input: sum.add([
                (tokens.text_input, prices.input),
                (tokens.audio_input, prices.audio_input),
                (tokens.image_input, prices.image_input),
            ]),
            cached_read: sum.add([
                (tokens.cached_read, prices.cached_read),
                (tokens.cached_audio_read, prices.cached_audio_read),
                (tokens.cached_image_read, prices.cached_image_read),
            ]),
            cached_write: sum.add([
                (tokens.cached_write, prices.cached_write),
                (tokens.cached_write_1h, prices.cached_write_1h),
            ]),
            output: sum.add([
                (tokens.text_output, prices.output),
                (tokens.audio_output, prices.audio_output),
                (tokens.image_output, prices.image_output),
            ]),
            reasoning: sum.add([(tokens.reasoning, prices.reasoning)]),
            ..Cost::default()
        };
        self.charge_units(&mut sum, &mut cost, quantities, usage.web_searches.unwrap_or(0));
        self.finish(&sum, cost)
    }

    /// The most that [`cost`](Self::cost) can be for any usage within these bounds: at most `input_tokens` of input, cached or
    /// not, at most `output_tokens` of output, reasoning included, and what the request asks for.
    ///
    /// A model that is priced by time, images or the like costs more than its tokens: that is not in here.
    #[must_use]
    pub fn worst_case(&self, input_tokens: u64, output_tokens: u64, asked: &Asked) -> Usd {
        let (mut input, mut output) = (0, 0);
        for context in self.levels(input_tokens) {
            let prices = self.tokens(context, asked.tier, |unit| self.may_cost(unit, asked));
            input = input.max(prices.dearest_input());
            output = output.max(prices.dearest_output());
        }
        // `cost` alone takes a web search for one of the usual context.
        let search = |context| self.web_search(context, asked.tier);
        let search = match asked.web_searches {
            0 => 0,
            _ => search(asked.search_context).max(search(SearchContext::Medium)),
        };
        let mut sum = Sum::new(self.discount);
        sum.add([(input_tokens, input), (output_tokens, output), (asked.web_searches, search)]);
        let queries = Quantities { tier: asked.tier, queries: asked.queries, ..Quantities::default() };
        let mut cost = Cost::default();
        self.charge_units(&mut sum, &mut cost, &queries, 0);
        self.finish(&sum, cost).total
    }

    /// Whether tokens of this kind can come of a request.
    fn may_cost(&self, unit: Unit, asked: &Asked) -> bool {
        match unit {
            Unit::CachedWrite => asked.cache_write.is_some() || !self.writes_when_asked,
            Unit::CachedWrite1h => asked.cache_write == Some(Lifetime::OneHour),
            Unit::AudioInput | Unit::ImageInput | Unit::CachedAudioRead | Unit::CachedImageRead => {
                !asked.text_input
            }
            Unit::AudioOutput | Unit::ImageOutput => !asked.text_output,
            _ => true,
        }
    }

    /// Charges what is not told in tokens; the order of the parts is the order of rounding.
    fn charge_units(&self, sum: &mut Sum, cost: &mut Cost, used: &Quantities, web_searches: u64) {
        let price = |unit| self.applicable(unit, 0, used.tier).unwrap_or(0);
        let search = if web_searches > 0 { self.web_search(used.search_context, used.tier) } else { 0 };
        cost.request = sum.add([(1, price(Unit::Request))]);
        cost.tools = sum.add([(web_searches, search)]);
        // Most calls use tokens alone: what is not told in them is not looked up.
        if *used
            == (Quantities { tier: used.tier, search_context: used.search_context, ..Quantities::default() })
        {
            return;
        }
        cost.tools += sum.add([
            (used.maps_queries, price(Unit::MapsQuery)),
            (used.code_sessions, price(Unit::CodeSession)),
        ]);
        let before = sum.rounded;
        self.charge_images(sum, used);
        self.charge_time(sum, used);
        let query = self.applicable(Unit::Query, used.results, used.tier).unwrap_or(0);
        sum.add([
            (used.video_input_tokens, self.derived_video(Unit::VideoTokenInput, Unit::Input, used.tier)),
            (used.video_output_tokens, self.derived_video(Unit::VideoTokenOutput, Unit::Output, used.tier)),
            (used.citations, price(Unit::Citation)),
            (used.characters, price(Unit::CharacterInput)),
            (used.characters_output, price(Unit::CharacterOutput)),
            (used.queries, query),
            (used.pages, price(Unit::Page)),
            (used.annotated_pages, price(Unit::AnnotatedPage)),
        ]);
        cost.units = Usd::pico(sum.rounded - before);
    }

    fn charge_images(&self, sum: &mut Sum, used: &Quantities) {
        let price = |unit| self.applicable(unit, 0, used.tier);
        let made = self.applicable_size(Unit::PerImageOutput, used.size.as_deref(), used.tier);
        let given = price(Unit::PerImageInput).unwrap_or(0);
        let pixel = price(Unit::PixelInput).unwrap_or(0) + price(Unit::PixelOutput).unwrap_or(0);
        match made {
            Some(made) => sum.add([(used.images, made), (used.images_input, given)]),
            None if used.pixels > 0 && pixel > 0 => sum.add([(used.pixels, pixel)]),
            None if used.images > 0 => sum.add([(used.images, given)]),
            None => sum.add([(used.images_input, given)]),
        };
    }

    fn charge_time(&self, sum: &mut Sum, used: &Quantities) {
        let price = |unit| self.applicable(unit, 0, used.tier);
        let dearest = |units: &[Unit]| units.iter().filter_map(|&unit| price(unit)).max();
        let time = dearest(&[Unit::SecondInput, Unit::SecondOutput, Unit::Second, Unit::AudioSecondInput]);
        let made = self
            .applicable_size(Unit::SecondOutput, used.size.as_deref(), used.tier)
            .or_else(|| price(Unit::VideoSecondOutput))
            .or_else(|| price(Unit::Second));
        sum.add_time(used.time, time);
        sum.add_time(used.video_input, price(Unit::VideoSecondInput));
        sum.add_time(used.video_output, made);
    }

    fn derived_video(&self, unit: Unit, parent: Unit, tier: ServiceTier) -> Fine {
        self.applicable(unit, 0, tier).or_else(|| self.applicable(parent, 0, tier)).unwrap_or(0)
    }

    /// The price of a web search: that of its context, else the dearest there is.
    fn web_search(&self, context: SearchContext, tier: ServiceTier) -> Fine {
        let price = |unit| self.applicable(unit, 0, tier);
        let dearest =
            || [Unit::WebSearchLow, Unit::WebSearch, Unit::WebSearchHigh].into_iter().filter_map(price).max();
        let own = match context {
            SearchContext::Low => Unit::WebSearchLow,
            SearchContext::Medium => Unit::WebSearch,
            SearchContext::High => Unit::WebSearchHigh,
        };
        price(own).or_else(dearest).unwrap_or(0)
    }

    /// Puts the margin on top.
    fn finish(&self, sum: &Sum, mut cost: Cost) -> Cost {
        let base = Usd::pico(sum.rounded);
        let with_margin = Usd::pico(sum.rounded_with(self.margin));
        cost.margin = with_margin.saturating_sub(base) + self.margin_fixed;
        cost.total = base + cost.margin;
        cost
    }
}

// ===== impl TokenPrices =====

impl TokenPrices {
    fn dearest_input(&self) -> Fine {
        let text = self.input.max(self.cached_read).max(self.cached_write).max(self.cached_write_1h);
        let heard = self.audio_input.max(self.cached_audio_read);
        text.max(heard).max(self.image_input).max(self.cached_image_read)
    }

    fn dearest_output(&self) -> Fine {
        self.output.max(self.reasoning).max(self.audio_output).max(self.image_output)
    }
}

//! The prices of a model or a deployment, and which of them applies.

use std::iter;

use ziggurat_core::Usd;

use crate::{BasisPoints, Rate, ServiceTier, Unit};

/// What a model costs: prices per unit, each with variants by the context's size and by service tier, and what the operator takes
/// off or puts on.
///
/// A price of zero is a price; none is none: [`is_priced`](Self::is_priced) tells them apart.
///
/// ```
/// use ziggurat_catalog::{Prices, Rate, ServiceTier, Unit};
/// use ziggurat_core::{Convention, Usage, Usd};
///
/// let prices = Prices::new()
///     .with(Unit::Input, "0.00000125".parse()?)
///     .with_variant(Unit::Input, 200_000, ServiceTier::Standard, "0.0000025".parse()?)
///     .with(Unit::Output, "0.00001".parse()?);
/// let mut usage = Usage::new(Convention::OPENAI);
/// (usage.input, usage.output) = (Some(200_000), Some(1000));
/// assert_eq!(prices.cost(&usage, ServiceTier::Standard).total, Usd::cents(26));
/// usage.input = Some(200_001); // Over the threshold, the whole request costs the upper price.
/// assert_eq!(prices.cost(&usage, ServiceTier::Standard).input, "0.5000025".parse()?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// Sorted by what they are for, so that a unit's stand together.
    rates: Vec<(Variant, Rate)>,
    /// Prices of images and seconds of a named size (`1080p`), sorted.
    sizes: Vec<(Unit, Box<str>, Rate)>,
    /// By how much all prices are multiplied under a name (`us`, `fast`), sorted.
    multipliers: Vec<(Box<str>, BasisPoints)>,
    factor: BasisPoints,
    pub(crate) reached_switches: bool,
    pub(crate) writes_when_asked: bool,
    pub(crate) discount: BasisPoints,
    pub(crate) margin: BasisPoints,
    pub(crate) margin_fixed: Usd,
}

/// What one price is for: a unit, over a context of so many tokens (0: any), at a service tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Variant {
    pub(crate) unit: Unit,
    pub(crate) over: u64,
    pub(crate) tier: ServiceTier,
}

/// The price of one unit that applies, in 10^-27 USD: fine enough for half a rate and for nanoseconds.
pub(crate) type Fine = u128;

/// The token prices that apply to one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenPrices {
    pub(crate) input: Fine,
    pub(crate) cached_read: Fine,
    pub(crate) cached_write: Fine,
    pub(crate) cached_write_1h: Fine,
    pub(crate) audio_input: Fine,
    pub(crate) image_input: Fine,
    pub(crate) cached_audio_read: Fine,
    pub(crate) cached_image_read: Fine,
    pub(crate) output: Fine,
    pub(crate) reasoning: Fine,
    pub(crate) audio_output: Fine,
    pub(crate) image_output: Fine,
}

// ===== impl Prices =====

impl Prices {
    /// No price at all.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rates: Vec::new(),
            sizes: Vec::new(),
            multipliers: Vec::new(),
            factor: BasisPoints::WHOLE,
            reached_switches: false,
            writes_when_asked: false,
            discount: BasisPoints::default(),
            margin: BasisPoints::default(),
            margin_fixed: Usd::ZERO,
        }
    }

    /// Sets a unit's price: the one for any context at the standard tier.
    #[must_use]
    pub fn with(self, unit: Unit, rate: Rate) -> Self {
        self.with_variant(unit, 0, ServiceTier::Standard, rate)
    }

    /// Sets a unit's price for requests of more than `over` input tokens (for [`Unit::Query`]: more than `over` results) at a tier.
    #[must_use]
    pub fn with_variant(mut self, unit: Unit, over: u64, tier: ServiceTier, rate: Rate) -> Self {
        self.set(Variant { unit, over, tier }, rate);
        self
    }

    /// Sets the price of an image made or a second of output of a named size, as `1080p` or `2K`.
    #[must_use]
    pub fn with_size(mut self, unit: Unit, size: &str, rate: Rate) -> Self {
        self.set_size(unit, size, rate);
        self
    }

    /// Sets by how much all prices are multiplied in a region or at a speed.
    #[must_use]
    pub fn with_multiplier(mut self, name: &str, factor: BasisPoints) -> Self {
        self.set_multiplier(name, factor);
        self
    }

    /// By how much all prices are multiplied in a region or at a speed of this name, as the price list says.
    #[must_use]
    pub fn multiplier(&self, name: &str) -> Option<BasisPoints> {
        self.multipliers.iter().find(|(of, _)| **of == *name).map(|&(_, factor)| factor)
    }

    /// All multipliers that the price list has, by name.
    pub fn multipliers(&self) -> impl Iterator<Item = (&str, BasisPoints)> + '_ {
        self.multipliers.iter().map(|(name, factor)| (&**name, *factor))
    }

    /// Multiplies every price: with what [`multiplier`](Self::multiplier) says for a region, or a factor of the operator's.
    #[must_use]
    pub fn times(mut self, factor: BasisPoints) -> Self {
        self.factor = factor;
        self
    }

    /// Takes a share off every price; the whole or more leaves nothing.
    #[must_use]
    pub fn discount(mut self, discount: BasisPoints) -> Self {
        self.discount = discount;
        self
    }

    /// Puts a share of the discounted cost, and a fixed amount a call, on top of it.
    #[must_use]
    pub fn margin(mut self, margin: BasisPoints, fixed: Usd) -> Self {
        (self.margin, self.margin_fixed) = (margin, fixed);
        self
    }

    /// Switches to a tier's prices when its threshold is reached, not only when it is passed: xAI counts so.
    #[must_use]
    pub fn switch_when_reached(mut self) -> Self {
        self.reached_switches = true;
        self
    }

    /// Says that the provider writes to its prompt cache only when a request asks for it (Anthropic's models): worst cases then
    /// leave writes out where none was asked for.
    #[must_use]
    pub fn cache_writes_when_asked(mut self) -> Self {
        self.writes_when_asked = true;
        self
    }

    /// Whether there is any price, be it zero.
    #[must_use]
    pub fn is_priced(&self) -> bool {
        !self.rates.is_empty() || !self.sizes.is_empty()
    }

    /// Whether tokens of input or output have a price, be it zero: without one the cost of a [`Usage`](ziggurat_core::Usage) is not
    /// known, though that of an image or a second may be.
    #[must_use]
    pub fn is_priced_for_tokens(&self) -> bool {
        let told = |unit| self.variants(unit).next().is_some();
        told(Unit::Input) || told(Unit::Output)
    }

    /// Whether both what a model reads and what it writes have a price, be it zero: with one of them alone, the other would be free.
    #[must_use]
    pub fn is_priced_for_text(&self) -> bool {
        let told = |unit| self.variants(unit).next().is_some();
        told(Unit::Input) && told(Unit::Output)
    }

    /// Whether calls are priced by the time that they take, as custom prices of deployments may be.
    #[must_use]
    pub fn is_priced_by_time(&self) -> bool {
        [Unit::SecondInput, Unit::SecondOutput, Unit::Second]
            .into_iter()
            .any(|unit| self.rate(unit).is_some())
    }

    /// Whether a reranker's queries have a price, be it zero.
    #[must_use]
    pub fn is_priced_by_query(&self) -> bool {
        self.rate(Unit::Query).is_some()
    }

    /// A unit's price for any context at the standard tier.
    #[must_use]
    pub fn rate(&self, unit: Unit) -> Option<Rate> {
        self.variant(unit, 0, ServiceTier::Standard)
    }

    /// A unit's price over a context of so many tokens at a tier, as it is listed: what is not listed falls back on others when a
    /// cost is computed.
    #[must_use]
    pub fn variant(&self, unit: Unit, over: u64, tier: ServiceTier) -> Option<Rate> {
        let variant = Variant { unit, over, tier };
        let found = self.rates.binary_search_by_key(&variant, |(variant, _)| *variant).ok()?;
        Some(self.rates[found].1)
    }

    /// The price of an image made or a second of output of a named size, as it is listed.
    #[must_use]
    pub fn size(&self, unit: Unit, size: &str) -> Option<Rate> {
        self.sizes.iter().find(|(of, name, _)| (*of, &**name) == (unit, size)).map(|&(.., rate)| rate)
    }

    /// All listed prices: unit, threshold, tier, price.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, u64, ServiceTier, Rate)> + '_ {
        self.rates.iter().map(|(variant, rate)| (variant.unit, variant.over, variant.tier, *rate))
    }

    /// All listed prices of named sizes.
    pub fn sizes(&self) -> impl Iterator<Item = (Unit, &str, Rate)> + '_ {
        self.sizes.iter().map(|(unit, size, rate)| (*unit, &**size, *rate))
    }

    pub(crate) fn set(&mut self, variant: Variant, rate: Rate) {
        match self.rates.binary_search_by_key(&variant, |(variant, _)| *variant) {
            Ok(found) => self.rates[found].1 = rate,
            Err(place) => self.rates.insert(place, (variant, rate)),
        }
    }

    pub(crate) fn set_size(&mut self, unit: Unit, size: &str, rate: Rate) {
        match self.sizes.binary_search_by(|(of, name, _)| (*of, &**name).cmp(&(unit, size))) {
            Ok(found) => self.sizes[found].2 = rate,
            Err(place) => self.sizes.insert(place, (unit, size.into(), rate)),
        }
    }

    pub(crate) fn set_multiplier(&mut self, name: &str, factor: BasisPoints) {
        match self.multipliers.binary_search_by(|(of, _)| (**of).cmp(name)) {
            Ok(found) => self.multipliers[found].1 = factor,
            Err(place) => self.multipliers.insert(place, (name.into(), factor)),
        }
    }

    /// Forgets a unit's prices of all contexts, tiers and sizes.
    pub(crate) fn remove(&mut self, unit: Unit) {
        self.rates.retain(|(variant, _)| variant.unit != unit);
        self.sizes.retain(|(of, ..)| *of != unit);
    }

    /// The prices of the tokens of a request with `context` input tokens, of the kinds that are `wanted`; the others are left zero.
    pub(crate) fn tokens(
        &self,
        context: u64,
        tier: ServiceTier,
        wanted: impl Fn(Unit) -> bool,
    ) -> TokenPrices {
        let own = |unit, parent, fallback| match wanted(unit) {
            true => self.derived(unit, parent, fallback, context, tier),
            false => 0,
        };
        let input = self.applicable(Unit::Input, context, tier).unwrap_or(0);
        let output = self.applicable(Unit::Output, context, tier).unwrap_or(0);
        let read = |unit| match wanted(unit) {
            true => {
                let read = self.derived(Unit::CachedRead, Unit::Input, input, context, tier);
                self.derived(unit, Unit::CachedRead, read, context, tier)
            }
            false => 0,
        };
        // An hour is never cheaper than five minutes: lists that leave out its price over a threshold mean no discount.
        let cached_write_1h = match wanted(Unit::CachedWrite1h) {
            true => {
                let write = self.derived(Unit::CachedWrite, Unit::Input, input, context, tier);
                self.derived(Unit::CachedWrite1h, Unit::CachedWrite, write, context, tier).max(write)
            }
            false => 0,
        };
        TokenPrices {
            input,
            cached_read: own(Unit::CachedRead, Unit::Input, input),
            cached_write: own(Unit::CachedWrite, Unit::Input, input),
            cached_write_1h,
            audio_input: own(Unit::AudioInput, Unit::Input, input),
            image_input: own(Unit::ImageInput, Unit::Input, input),
            cached_audio_read: read(Unit::CachedAudioRead),
            cached_image_read: read(Unit::CachedImageRead),
            output,
            reasoning: own(Unit::Reasoning, Unit::Output, output),
            audio_output: own(Unit::AudioOutput, Unit::Output, output),
            image_output: own(Unit::ImageOutput, Unit::Output, output),
        }
    }

    /// The smallest context of every level of prices that a request of at most `most` input tokens can be on.
    pub(crate) fn levels(&self, most: u64) -> impl Iterator<Item = u64> + '_ {
        let thresholds = || self.rates.iter().map(|(v, _)| v).filter(|v| v.unit.is_token()).map(|v| v.over);
        let above = move |level: &u64| thresholds().filter(|over| over > level).min();
        let levels = iter::successors(Some(0), above).take_while(move |&over| self.crosses(most, over));
        levels.map(|over| if over == 0 || self.reached_switches { over } else { over.saturating_add(1) })
    }

    /// The price of a kind of token that may have one of its own and else costs as much as its parent. A price that equals the
    /// parent's and knows neither tiers nor thresholds only repeats it, and follows the parent where that has them.
    fn derived(&self, unit: Unit, parent: Unit, fallback: Fine, context: u64, tier: ServiceTier) -> Fine {
        let mut listed = self.variants(unit);
        let only = match (listed.next(), listed.next()) {
            (None, _) => return fallback,
            (Some((Variant { over: 0, tier: ServiceTier::Standard, .. }, rate)), None) => Some(rate),
            _ => None,
        };
        match only.is_some() && only == self.rate(parent) {
            true => fallback,
            false => self.applicable(unit, context, tier).unwrap_or(fallback),
        }
    }

    /// The price of a unit that applies: the one of the highest threshold that `context` crosses, at the tier. Where that is only
    /// listed at the standard tier, it is the standard one (for a batch's tokens half of it, as LiteLLM has it), and at least what
    /// the tier costs below.
    pub(crate) fn applicable(&self, unit: Unit, context: u64, tier: ServiceTier) -> Option<Fine> {
        let highest = |of: ServiceTier| {
            let crossed = self.variants(unit).filter(|(v, _)| v.tier == of && self.crosses(context, v.over));
            crossed.max_by_key(|(v, _)| v.over).map(|(v, rate)| (v.over, self.fine(rate)))
        };
        let standard = highest(ServiceTier::Standard).map(|(over, fine)| match tier {
            ServiceTier::Batch if unit.is_token() => (over, fine / 2),
            _ => (over, fine),
        });
        let special = if tier == ServiceTier::Standard { None } else { highest(tier) };
        match (special, standard) {
            (Some((special_over, special)), Some((over, _))) if special_over >= over => Some(special),
            (Some((_, special)), Some((_, standard))) => Some(special.max(standard)),
            (special, standard) => special.or(standard).map(|(_, fine)| fine),
        }
    }

    /// The price of a named size, else that of any.
    pub(crate) fn applicable_size(&self, unit: Unit, size: Option<&str>, tier: ServiceTier) -> Option<Fine> {
        let sized = size.and_then(|size| self.size(unit, size)).map(|rate| self.fine(rate));
        sized.or_else(|| self.applicable(unit, 0, tier))
    }

    /// Exact: a rate is at most 10^24, a factor at most 10^6, and a billion is a multiple of the whole.
    fn fine(&self, rate: Rate) -> Fine {
        rate.as_atto()
            * (FINE_PER_ATTO / u128::from(BasisPoints::WHOLE.get()))
            * u128::from(self.factor.get())
    }

    fn variants(&self, unit: Unit) -> impl Iterator<Item = (Variant, Rate)> + '_ {
        let start = self.rates.partition_point(|(variant, _)| variant.unit < unit);
        self.rates[start..].iter().copied().take_while(move |(variant, _)| variant.unit == unit)
    }

    fn crosses(&self, context: u64, over: u64) -> bool {
        over == 0 || context > over || (self.reached_switches && context == over)
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) const FINE_PER_ATTO: u128 = 1_000_000_000;

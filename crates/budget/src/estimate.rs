//! What a call may cost, and what it did.

use std::sync::{Arc, LazyLock};

use http::Request;
use memchr::{memchr_iter, memmem};
use smallvec::{SmallVec, smallvec};
use ziggurat_catalog::{
    Asked, Capability, Lifetime, Model, ServiceTier,
    tokens::{BYTES_PER_TOKEN, Count, count_input},
};
use ziggurat_core::{
    Attempt, Body, Call, Cause, Convention, Dialect, Field, Operation, Outcome, Plan, Problem, Rejection,
    Target, Usage, Usd,
    json::{Cursor, Fault, key_is},
};

use crate::{
    Charge, Flags, Uncapped, Unpriced,
    layer::Config,
    needs::Needs,
    policy::UNKNOWN_CAP,
    searches::{DEFAULT_LONGEST, LONGEST, searches},
};

/// What is known of a call's cost before it is made.
pub(crate) struct Estimate {
    /// The candidates, or what the call names alone.
    models: SmallVec<[Candidate; 1]>,
    pub(crate) input: Count,
    /// Choices asked for.
    choices: u64,
    asked: Asked,
    pub(crate) output: Output,
    pub(crate) streamed: bool,
    needs: Needs,
}

struct Candidate {
    target: Option<Target>,
    /// Absent when it has no price.
    model: Option<Arc<Model>>,
}

/// What is set aside for the output, in tokens a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// The most there can be.
    AtMost(u64),
    /// As much as fits, at most this.
    Clamp(u64),
    /// A little, and more as it runs.
    Extend,
}

// ===== impl Estimate =====

impl Estimate {
    /// What a call may cost at any of its candidates.
    ///
    /// # Errors
    /// A rejection when one has no price, or the output no bound, and policy refuses that.
    pub(crate) fn new(
        config: &Config,
        request: &Request<Body>,
        call: &Call,
        bounded: bool,
    ) -> Result<Self, Rejection> {
        let (streamed, operation) = (call.stream(), call.operation());
        let needs = Needs::of(call);
        let models = candidates(config, request, call, &needs);
        if bounded && config.unpriced == Unpriced::Refuse {
            refuse_unpriced(&models, call)?;
        }
        let targets = || models.iter().map(|candidate| candidate.target.as_ref());
        let mut asked = asked(call);
        asked.tier =
            targets().map(|target| charged_tier(target, call)).max_by_key(dearness).unwrap_or_default();
        if operation == Operation::Rerank {
            let longest = targets().map(|target| longest_document(target, call)).max();
            asked.queries = searches(call.text(), longest.unwrap_or(DEFAULT_LONGEST));
        }
        let input = count_input(call, &*config.counter);
        let model_cap = || {
            let caps = models.iter().map(|candidate| candidate.model.as_ref()?.max_output);
            caps.map(|cap| cap.unwrap_or(UNKNOWN_CAP)).max().unwrap_or(UNKNOWN_CAP)
        };
        // What reasons writes what nobody sees, so that what passes does not tell what it costs.
        let reasons = models
            .iter()
            .any(|candidate| candidate.model.as_ref().is_none_or(|model| model.can(Capability::Reasoning)));
        // Of one candidate without a cap, there is none.
        let cap = targets().map(|target| stated_cap(target, call)).reduce(|one, two| Some(one?.max(two?)));
        let choices = targets().map(|target| stated_choices(target, call)).max().unwrap_or(1);
        let policy = match if streamed { config.streamed } else { config.whole } {
            // Nothing can be refused: what is counted is set aside once, and never waited for again.
            _ if !bounded => Uncapped::ReserveModelCap,
            Uncapped::Extend if reasons || !streamed => Uncapped::ReserveModelCap,
            // A cap that a target takes out again is none.
            // Gemini's cap is none of the fields that are set here.
            Uncapped::Clamp(_) if call.dialect() == Dialect::Gemini => Uncapped::ReserveModelCap,
            Uncapped::Clamp(_) if targets().any(|target| drops(target, call.output_cap_field().name())) => {
                Uncapped::ReserveModelCap
            }
            policy => policy,
        };
        let output = match (cap.flatten(), policy) {
            (Some(cap), _) => Output::AtMost(cap),
            (None, _) if !operation.generates_text() => Output::AtMost(0),
            (None, Uncapped::Extend) => Output::Extend,
            (None, Uncapped::ReserveModelCap) => Output::AtMost(model_cap()),
            (None, Uncapped::Clamp(most)) => Output::Clamp(most.min(model_cap()).max(1)),
            (None, Uncapped::Refuse) => {
                let message = "a cap of the output is needed where a budget applies";
                return Err(Problem::new(Cause::InvalidRequest, message).param("max_tokens").into());
            }
        };
        Ok(Self { models, input, choices, asked, output, streamed, needs })
    }

    /// The most that so many output tokens a choice can cost, at the dearest of these candidates.
    fn worst(&self, of: &dyn Fn(Option<&Target>) -> bool, output: u64) -> Usd {
        let models = self.models.iter().filter(|candidate| of(candidate.target.as_ref()));
        let models = models.filter_map(|it| Some((it.target.as_ref(), it.model.as_deref()?)));
        models.map(|(target, model)| self.worst_of(target, model, output)).max().unwrap_or_default()
    }

    /// As [`Estimate::worst`], at one target.
    pub(crate) fn worst_at(&self, config: &Config, target: Option<&Target>, output: u64) -> Usd {
        match self.model(config, target) {
            Some(model) => self.worst_of(target, &model, output),
            None => Usd::ZERO,
        }
    }

    fn worst_of(&self, target: Option<&Target>, model: &Model, output: u64) -> Usd {
        if let Needs::Pieces(pieces) = &self.needs {
            let asked = (self.input.tokens, self.choices);
            return pieces.worst(target, model, asked, self.asked.tier);
        }
        let tokens = output.saturating_mul(self.choices);
        let worst = |asked: &Asked| model.prices.worst_case(self.input.tokens, tokens, asked);
        match self.asked.tier {
            ServiceTier::Standard => worst(&self.asked),
            // It may be served as the usual one, which has prices of its own.
            _ => worst(&self.asked).max(worst(&Asked { tier: ServiceTier::Standard, ..self.asked })),
        }
    }

    /// The least and the most that is worth setting aside before the first attempt, for attempts at these candidates.
    pub(crate) fn first_claim(&self, of: &dyn Fn(Option<&Target>) -> bool) -> (Usd, Usd) {
        let worst = |output| self.worst(of, output);
        match self.output {
            Output::AtMost(cap) => {
                let worst = worst(cap);
                (worst, worst)
            }
            Output::Clamp(most) => (worst(1), worst(most)),
            Output::Extend => (worst(1), worst(STEP)),
        }
    }

    /// Whether nobody has chosen a target yet, so that it may cost something though what the call names costs nothing.
    pub(crate) fn is_open(&self) -> bool {
        self.models.iter().any(|candidate| candidate.target.is_none())
    }

    /// The most tokens a choice, from 1 to `most`, that `granted` pays for at any of these candidates.
    pub(crate) fn affordable(&self, of: &dyn Fn(Option<&Target>) -> bool, granted: Usd, most: u64) -> u64 {
        let (mut fits, mut over) = (1, most.saturating_add(1));
        while over - fits > 1 {
            let middle = fits + (over - fits) / 2;
            match self.worst(of, middle) <= granted {
                true => fits = middle,
                false => over = middle,
            }
        }
        fits
    }

    /// What an attempt has come to by now, or came to.
    pub(crate) fn charge(&self, config: &Config, attempt: &Attempt) -> Charge {
        let mut flags = Flags::default();
        let answered_badly = attempt.status.is_some_and(|status| !status.is_success());
        let stated = attempt.usage.is_some();
        if !attempt.sent || (answered_badly && !stated && !attempt.content_begun) {
            // Providers bill neither what did not reach them nor what they refuse.
            return Charge::of(Usd::ZERO, flags);
        }
        flags.incomplete = attempt.outcome.is_some() && !attempt.is_whole();
        let model = self.model(config, attempt.target.as_deref());
        if let (Needs::Pieces(pieces), Some(model)) = (&self.needs, &model) {
            let asked = (self.input.tokens, self.choices);
            let cost = pieces.cost(model, attempt, asked, self.asked.tier, &mut flags);
            return Charge::of(cost, flags);
        }
        let by_query = model.as_ref().is_some_and(|model| model.prices.is_priced_by_query());
        let mut usage = self.known_usage(attempt, by_query, &mut flags);
        let Some(model) = model else {
            flags.unpriced = true;
            return Charge::of(Usd::ZERO, flags);
        };
        if self.asked.queries > 0 && usage.search_units.is_none() && by_query {
            flags.estimated = true;
            usage.search_units = Some(self.asked.queries);
        }
        Charge::of(model.prices.cost(&usage, self.tier(&usage, &model)).total, flags)
    }

    /// The tier whose prices are charged: the one at which the answer says that it was served, where it has prices; else the one asked
    /// for, in [`charged_tier`]'s careful way.
    fn tier(&self, usage: &Usage, model: &Model) -> ServiceTier {
        let served = usage.tier.and_then(|tier| tier.as_str().parse().ok());
        let is_priced = |tier: ServiceTier| model.prices.iter().any(|(_, _, of, _)| of == tier);
        served.filter(|&tier| tier == ServiceTier::Standard || is_priced(tier)).unwrap_or(self.asked.tier)
    }

    /// What an attempt would have come to with so many bytes of content more.
    pub(crate) fn cost_with(&self, config: &Config, attempt: &Attempt, bytes: u64) -> Usd {
        let mut with = attempt.clone();
        with.content_bytes = with.content_bytes.saturating_add(bytes);
        self.charge(config, &with).amount
    }

    /// The provider's counts; where it stated none, or not to the end, or what cannot be: estimates.
    fn known_usage(&self, attempt: &Attempt, by_query: bool, flags: &mut Flags) -> Usage {
        let mut usage = attempt.usage.unwrap_or(Usage::new(Convention::OPENAI));
        flags.usage_invalid = usage.invalid;
        if !is_credible(&usage) {
            flags.usage_invalid = true;
            usage = Usage::new(Convention::OPENAI);
        }
        // What is not answered with text has no output to state.
        let output = usage.output_total().or((!matches!(self.needs, Needs::Text)).then_some(0));
        flags.zero_usage = attempt.is_whole()
            && usage.search_units.is_none()
            && (usage.input_total(), output) == (Some(0), Some(0));
        if usage.input.is_none() {
            // What is billed by the search is known without it.
            flags.estimated = !by_query || usage.search_units.is_none();
            usage.input = Some(self.input.tokens);
        }
        let seen = match self.unseen(attempt, &usage) {
            // Nobody has read what was written: it was at most as much as it could be.
            Some(most) => {
                flags.unreconciled = true;
                most
            }
            None => attempt.content_bytes.div_ceil(BYTES_PER_TOKEN),
        };
        match usage.output {
            // Stated at the end, and so for all of it: also when it is zero.
            Some(_) if attempt.is_whole() => {}
            Some(output) if output >= seen => {}
            _ => {
                flags.estimated = true;
                usage.output = Some(seen);
            }
        }
        usage
    }

    /// The most that an attempt can have written, where not a word of it was seen though there may be many: an answer in one piece that
    /// its caller, or we, did not wait for, or one that is whole and could not be read.
    fn unseen(&self, attempt: &Attempt, usage: &Usage) -> Option<u64> {
        let nothing = usage.output.is_none() && attempt.content_bytes == 0;
        let left =
            matches!(attempt.outcome, Some(Outcome::Cancelled | Outcome::Stopped | Outcome::Truncated));
        match self.output {
            Output::AtMost(cap) if nothing && (attempt.is_whole() || (left && !self.streamed)) => {
                Some(cap.saturating_mul(self.choices))
            }
            _ => None,
        }
    }

    /// Whether what an attempt costs at a target is known.
    pub(crate) fn is_priced(&self, config: &Config, target: Option<&Target>) -> bool {
        self.model(config, target).is_some()
    }

    fn model(&self, config: &Config, target: Option<&Target>) -> Option<Arc<Model>> {
        let Some(target) = target else { return self.models.first()?.model.clone() };
        let known = self.models.iter().find(|candidate| {
            candidate.target.as_ref().is_some_and(|known| known.deployment() == target.deployment())
        });
        match known {
            Some(candidate) => candidate.model.clone(),
            None => self.needs.model(config, target),
        }
    }
}

/// The targets a call may go to and their prices, in order; what the call names, when nobody has chosen yet.
fn candidates(
    config: &Config,
    request: &Request<Body>,
    call: &Call,
    needs: &Needs,
) -> SmallVec<[Candidate; 1]> {
    let extensions = request.extensions();
    let planned = extensions.get::<Plan>().map(|plan| &*plan.candidates).unwrap_or_default();
    let targets = match planned {
        [] => extensions.get::<Target>().map(std::slice::from_ref).unwrap_or_default(),
        planned => planned,
    };
    if targets.is_empty() {
        let model = call.model().and_then(|name| config.catalog.named(name));
        return smallvec![Candidate { target: None, model: needs.priced(model) }];
    }
    let candidate =
        |target: &Target| Candidate { target: Some(target.clone()), model: needs.model(config, target) };
    targets.iter().map(candidate).collect()
}

fn refuse_unpriced(models: &[Candidate], call: &Call) -> Result<(), Rejection> {
    if models.iter().all(|candidate| candidate.model.is_some()) {
        return Ok(());
    }
    let name = call.model().unwrap_or_default();
    let message = format!("the model `{name}` has no price, and a budget applies to this call");
    Err(Problem::new(Cause::InvalidRequest, message).param("model").code("model_not_priced").into())
}

/// What a request asks for that has a price of its own. What only looks like a mark sets more aside, never less.
fn asked(call: &Call) -> Asked {
    let body = call.body();
    let mut marks = Marks::default();
    // All but one of them begin with a quote: one pass finds them.
    memchr_iter(b'"', body).for_each(|at| marks.note(&body[at + 1..]));
    Asked {
        cache_write: marks.cache.then_some(if marks.hour {
            Lifetime::OneHour
        } else {
            Lifetime::FiveMinutes
        }),
        text_input: !marks.input,
        text_output: !marks.output,
        web_searches: if may_search(call) { MOST_SEARCHES } else { 0 },
        ..Asked::default()
    }
}

/// Whether a provider may search the web for a call.
fn may_search(call: &Call) -> bool {
    match call.dialect() {
        Dialect::Gemini => GOOGLE.iter().any(|name| name.find(call.body()).is_some()),
        _ => SEARCH.find(call.body()).is_some(),
    }
}

/// The tier that is set aside for, and charged where the answer names none: the one asked for where it is dearer than the usual one,
/// else the usual one, as a provider may ignore what it was asked. A tier that nobody has prices for is priced as the usual one.
fn charged_tier(target: Option<&Target>, call: &Call) -> ServiceTier {
    let asked = match call.dialect() {
        Dialect::Gemini => member(call, "serviceTier").or_else(|| member(call, "service_tier")),
        _ => parameter(target, call, Field::ServiceTier),
    };
    let tier =
        asked.and_then(|json| serde_json::from_str::<String>(json).ok()?.parse().ok()).unwrap_or_default();
    if dearness(&tier) > dearness(&ServiceTier::Standard) { tier } else { ServiceTier::Standard }
}

fn dearness(tier: &ServiceTier) -> u8 {
    match tier {
        ServiceTier::Priority => 2,
        ServiceTier::Ultrafast => 3,
        _ => 1,
    }
}

/// The most tokens a choice that a target is asked for.
fn stated_cap(target: Option<&Target>, call: &Call) -> Option<u64> {
    if call.dialect() == Dialect::Gemini {
        return call.output_cap();
    }
    let fields = match call.output_cap_field() {
        Field::MaxCompletionTokens => &[Field::MaxCompletionTokens, Field::MaxTokens][..],
        Field::MaxOutputTokens => &[Field::MaxOutputTokens],
        _ => &[Field::MaxTokens],
    };
    fields.iter().filter_map(|&field| parameter(target, call, field)?.parse().ok()).max()
}

/// The most tokens that a target reads of a document.
fn longest_document(target: Option<&Target>, call: &Call) -> u64 {
    let stated = as_sent(target, LONGEST, member(call, LONGEST));
    stated.and_then(|json| json.parse().ok()).unwrap_or(DEFAULT_LONGEST)
}

fn stated_choices(target: Option<&Target>, call: &Call) -> u64 {
    match call.dialect() {
        Dialect::Anthropic => 1,
        Dialect::Gemini => call.n(),
        _ if call.operation() == Operation::Completions => call.n().saturating_mul(best_of(call)),
        _ => parameter(target, call, Field::N).and_then(|json| json.parse().ok()).unwrap_or(1),
    }
}

/// How many answers a text completion is chosen from, each of which is charged.
fn best_of(call: &Call) -> u64 {
    member(call, "best_of").and_then(|json| json.parse().ok()).unwrap_or(1).max(1)
}

/// A member of the body that is no field of a `Call`.
pub(crate) fn member<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    let mut found = None;
    let _walked: Result<(), Fault> = Cursor::new(call.text()).object(|key, cursor| {
        let value = cursor.value()?;
        if key_is(key, name) {
            found = Some(value);
        }
        Ok(())
    });
    found
}

/// A parameter as it goes to a target: the caller's, unless it is taken out there, else what is always sent.
fn parameter<'a>(target: Option<&'a Target>, call: &'a Call, field: Field) -> Option<&'a str> {
    as_sent(target, field.name(), call.field(field))
}

fn as_sent<'a>(target: Option<&'a Target>, name: &str, own: Option<&'a str>) -> Option<&'a str> {
    own.filter(|_| !drops(target, name)).or_else(|| {
        let mut defaults = target?.default_params().iter();
        defaults.find(|(given, _)| given == name).map(|(_, json)| json.as_str())
    })
}

/// Whether a target takes a parameter out of every request.
pub(crate) fn drops(target: Option<&Target>, name: &str) -> bool {
    target.is_some_and(|target| target.params().additional_drop_params.iter().any(|dropped| dropped == name))
}

/// What a body may ask for that has a price of its own.
#[derive(Default)]
struct Marks {
    cache: bool,
    hour: bool,
    /// Input that is no text.
    input: bool,
    /// Output that is none.
    output: bool,
}

impl Marks {
    /// Takes note of what stands behind a quote.
    fn note(&mut self, behind: &[u8]) {
        let marks = |mark: &str| behind.starts_with(mark.as_bytes());
        match behind.first() {
            Some(b'1') => self.hour |= marks("1h\""),
            Some(b'a') => {
                self.output |= marks("audio\"");
                self.input |= marks("audio/");
            }
            Some(b'c') => self.cache |= marks("cache_control\""),
            Some(b'd') => self.input |= marks("document\""),
            Some(b'f') => self.input |= marks("file\""),
            Some(b'i') => self.input |= marks("image") || marks("input_audio\""),
            Some(b'm') => self.output |= marks("modalities\""),
            Some(b'r') => self.output |= marks("responseModalities\"") || marks("response_modalities\""),
            Some(b'v') => self.input |= marks("video"),
            _ => {}
        }
    }
}

/// Whether counts can be true: no context holds a billion tokens.
fn is_credible(usage: &Usage) -> bool {
    let parts = [
        usage.input,
        usage.output,
        usage.cached_read,
        usage.cached_write,
        usage.cached_write_1h,
        usage.reasoning,
        usage.audio_input,
        usage.audio_output,
        usage.image_input,
        usage.image_output,
        usage.web_searches,
        usage.search_units,
    ];
    parts.into_iter().flatten().all(|count| count <= MOST_TOKENS)
}

/// Tokens a choice that are set aside at a time while a stream runs.
pub(crate) const STEP: u64 = 256;

/// The names of providers' own searches of the web: OpenAI's and Anthropic's, and Google's.
static SEARCH: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("web_search"));
static GOOGLE: LazyLock<[memmem::Finder<'static>; 2]> =
    LazyLock::new(|| ["googleSearch", "google_search"].map(memmem::Finder::new));

/// Web searches that are set aside for a call that lets its provider search.
const MOST_SEARCHES: u64 = 5;

/// More tokens than this are no count of anything.
const MOST_TOKENS: u64 = 1_000_000_000;

//! What holds for any prices and any usage, however contradictory.

#![expect(clippy::unwrap_used, reason = "clippy does not see that helpers of tests are tests")]

use proptest::{collection::vec, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner};
use ziggurat_catalog::{
    Asked, BasisPoints, Catalog, Cost, Lifetime, Prices, Quantities, Rate, SearchContext, ServiceTier, Unit,
};
use ziggurat_core::{Convention, Usage, Usd};

const MOST_TOKENS: u64 = 1_000_000;
const THRESHOLDS: [u64; 4] = [0, 10, 200_000, 272_000];

fn parts(cost: &Cost) -> Usd {
    let tokens = [cost.input, cost.cached_read, cost.cached_write, cost.output, cost.reasoning];
    let others = [cost.tools, cost.units, cost.request, cost.margin];
    tokens.into_iter().chain(others).sum()
}

fn tier() -> impl Strategy<Value = ServiceTier> {
    select(ServiceTier::ALL)
}

/// Odd numbers of atto-dollars among them, whose half is none.
fn rate() -> impl Strategy<Value = Rate> {
    prop_oneof![Just(0), 1..1_000_u128, 1..100_000_000_000_000_u128].prop_map(Rate::atto)
}

fn unit() -> impl Strategy<Value = Unit> {
    select(Unit::ALL)
}

prop_compose! {
    fn prices()(
        rates in vec((unit(), select(&THRESHOLDS[..]), tier(), rate()), 0..40),
        (reached, when_asked) in any::<(bool, bool)>(),
        (factor, discount, margin) in (1..30_000_u32, 0..=10_000_u32, 0..20_000_u32),
        fixed in 0..1_000_000_u128,
    ) -> Prices {
        let points = |points| BasisPoints::new(points).unwrap();
        let add = |prices: Prices, (unit, over, tier, rate)| prices.with_variant(unit, over, tier, rate);
        let mut prices = rates.into_iter().fold(Prices::new(), add);
        if reached {
            prices = prices.switch_when_reached();
        }
        if when_asked {
            prices = prices.cache_writes_when_asked();
        }
        prices.times(points(factor)).discount(points(discount)).margin(points(margin), Usd::pico(fixed))
    }
}

fn convention() -> impl Strategy<Value = Convention> {
    select(&[Convention::OPENAI, Convention::ANTHROPIC, Convention::XAI][..])
}

fn count(most: u64) -> impl Strategy<Value = Option<u64>> {
    prop_oneof![1 => Just(None), 4 => (0..=most).prop_map(Some), 1 => Just(Some(most))]
}

prop_compose! {
    /// Counts that contradict each other among them.
    fn usage()(
        convention in convention(),
        input in vec(count(MOST_TOKENS), 6),
        output in vec(count(MOST_TOKENS), 4),
        web_searches in count(5),
    ) -> Usage {
        let mut usage = Usage::new(convention);
        usage.input = input[0];
        (usage.cached_read, usage.cached_write, usage.cached_write_1h) = (input[1], input[2], input[3]);
        (usage.audio_input, usage.image_input) = (input[4], input[5]);
        (usage.output, usage.reasoning) = (output[0], output[1]);
        (usage.audio_output, usage.image_output) = (output[2], output[3]);
        usage.web_searches = web_searches;
        usage
    }
}

/// The smallest bounds that a usage keeps.
fn bounds(usage: &Usage) -> (u64, u64) {
    let said = |count: Option<u64>| count.unwrap_or(0);
    let cached = said(usage.cached_read) + said(usage.cached_write).max(said(usage.cached_write_1h));
    let input = match usage.convention.input_includes_cached {
        true => said(usage.input).max(cached),
        false => said(usage.input) + cached,
    };
    let output = match usage.convention.output_includes_reasoning {
        true => said(usage.output).max(said(usage.reasoning)),
        false => said(usage.output) + said(usage.reasoning),
    };
    let (heard, spoken) = (said(usage.audio_input), said(usage.audio_output));
    (input.max(heard + said(usage.image_input)), output.max(spoken + said(usage.image_output)))
}

fn asked_for(usage: &Usage, tier: ServiceTier, prices_tell_writes: bool) -> Asked {
    let said = |count: Option<u64>| count.unwrap_or(0) > 0;
    let cache_write = match (said(usage.cached_write_1h), said(usage.cached_write)) {
        (true, _) => Some(Lifetime::OneHour),
        (false, true) if prices_tell_writes => Some(Lifetime::FiveMinutes),
        _ => None,
    };
    Asked {
        tier,
        cache_write,
        text_input: !said(usage.audio_input) && !said(usage.image_input),
        text_output: !said(usage.audio_output) && !said(usage.image_output),
        web_searches: usage.web_searches.unwrap_or(0),
        search_context: SearchContext::Low,
        queries: usage.search_units.unwrap_or(0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn parts_sum_to_the_total(prices in prices(), usage in usage(), tier in tier(), n in vec(0..1000_u64, 8)) {
        let cost = prices.cost(&usage, tier);
        prop_assert_eq!(parts(&cost), cost.total);
        let time = std::time::Duration::from_nanos(n[0] * 123_456_789);
        let quantities = Quantities {
            tier, time, images: n[1], images_input: n[2], pixels: n[3], characters: n[4], queries: n[5],
            results: n[6], pages: n[7], video_output: time, ..Quantities::default()
        };
        let cost = prices.cost_of(&quantities);
        prop_assert_eq!(parts(&cost), cost.total);
        let cost = prices.cost_of_both(&usage, &quantities);
        prop_assert_eq!(parts(&cost), cost.total);
    }

    #[test]
    fn no_usage_costs_more_than_the_worst_case(
        prices in prices(), usage in usage(), tier in tier(), more in (0..1000_u64, 0..1000_u64),
    ) {
        let (input, output) = bounds(&usage);
        let asked = asked_for(&usage, tier, true);
        let (cost, worst) = (prices.cost(&usage, tier), prices.worst_case(input, output, &asked));
        prop_assert!(cost.total <= worst, "{:?} > {:?}", cost, worst);
        let looser = prices.worst_case(input + more.0, output + more.1, &asked);
        prop_assert!(worst <= looser, "a wider bound is no smaller");
        let dearer = Asked { text_input: false, text_output: false, cache_write: Some(Lifetime::OneHour), ..asked };
        prop_assert!(worst <= prices.worst_case(input, output, &dearer), "asking for less costs no more");
    }

    /// One price for input and one for output: the sum is a product of integers, rounded once.
    #[test]
    fn plain_prices_agree_with_long_multiplication(
        (input_rate, output_rate) in (0..1_000_000_000_000_000_u128, 0..1_000_000_000_000_000_u128),
        (input, output) in (0..=MOST_TOKENS, 0..=MOST_TOKENS),
        discount in 0..=10_000_u32,
    ) {
        let prices = Prices::new()
            .with(Unit::Input, Rate::atto(input_rate))
            .with(Unit::Output, Rate::atto(output_rate))
            .discount(BasisPoints::new(discount).unwrap());
        let mut usage = Usage::new(Convention::OPENAI);
        (usage.input, usage.output) = (Some(input), Some(output));
        let exact = (u128::from(input) * input_rate + u128::from(output) * output_rate) * u128::from(10_000 - discount);
        let pico = (exact + 5_000_000_000) / 10_000_000_000;
        prop_assert_eq!(prices.cost(&usage, ServiceTier::Standard).total, Usd::pico(pico));
    }

    /// Where no threshold makes tokens cheaper and no cache makes them dearer, more tokens never cost less.
    #[test]
    fn more_tokens_never_cost_less(
        rates in vec(rate(), 4), tier in tier(), reached in any::<bool>(),
        counts in vec(0..400_000_u64, 4), more in vec(0..100_000_u64, 4),
    ) {
        let (input, output) = (rates[0].max(rates[1]), rates[2].max(rates[3]));
        let double = |rate: Rate| Rate::atto(rate.as_atto() * 2);
        let mut prices = Prices::new()
            .with(Unit::Input, input)
            .with(Unit::CachedRead, rates[0].min(rates[1]))
            .with(Unit::Output, output)
            .with(Unit::Reasoning, double(output))
            .with_variant(Unit::Input, 200_000, ServiceTier::Standard, double(input))
            .with_variant(Unit::Output, 200_000, ServiceTier::Standard, double(output));
        if reached {
            prices = prices.switch_when_reached();
        }
        for convention in [Convention::OPENAI, Convention::ANTHROPIC, Convention::XAI] {
            let mut usage = Usage::new(convention);
            (usage.input, usage.cached_read) = (Some(counts[0]), Some(counts[1]));
            (usage.output, usage.reasoning) = (Some(counts[2]), Some(counts[3]));
            let before = prices.cost(&usage, tier).total;
            for (slot, more) in [0, 2, 3].into_iter().zip(&more) {
                let mut larger = usage;
                let count = [&mut larger.input, &mut larger.cached_read, &mut larger.output, &mut larger.reasoning];
                *count[slot] = count[slot].map(|count| count + more);
                let after = prices.cost(&larger, tier).total;
                prop_assert!(before <= after, "{:?} {:?}: {} > {}", convention, slot, before, after);
            }
        }
    }

    #[test]
    fn absurd_counts_are_as_much_as_can_be_said(prices in prices(), tier in tier()) {
        let mut usage = Usage::new(Convention::ANTHROPIC);
        for count in [&mut usage.input, &mut usage.cached_read, &mut usage.cached_write, &mut usage.output] {
            *count = Some(u64::MAX);
        }
        (usage.audio_input, usage.reasoning, usage.web_searches) = (Some(u64::MAX), Some(u64::MAX), Some(u64::MAX));
        let cost = prices.cost(&usage, tier);
        prop_assert_eq!(parts(&cost), cost.total);
    }
}

#[test]
fn no_embedded_model_costs_more_than_its_worst_case() {
    let mut runner = TestRunner::deterministic();
    let usages: Vec<Usage> = (0..4).map(|_| usage().new_tree(&mut runner).unwrap().current()).collect();
    let mut priced = 0;
    for model in Catalog::embedded().models() {
        priced += usize::from(model.prices.is_priced());
        for usage in &usages {
            let (input, output) = bounds(usage);
            for tier in [ServiceTier::Standard, ServiceTier::Priority, ServiceTier::Batch] {
                let asked = asked_for(usage, tier, true);
                let (cost, worst) =
                    (model.prices.cost(usage, tier), model.prices.worst_case(input, output, &asked));
                assert!(cost.total <= worst, "{}: {cost:?} > {worst} for {usage:?}", model.id);
                assert_eq!(parts(&cost), cost.total, "{}", model.id);
            }
        }
    }
    assert!(priced > 4000, "{priced}");
}

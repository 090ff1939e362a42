//! Which price applies, and what is rounded when.

use std::time::Duration;

use ziggurat_catalog::{
    Asked, BasisPoints, Catalog, Lifetime, Model, Prices, Quantities, Rate, SearchContext, ServiceTier, Unit,
};
use ziggurat_core::{Convention, Usage, Usd};

use ServiceTier::{Batch, Flex, Priority, Standard};

/// Dollars a million.
fn rate(per_million: u128) -> Rate {
    Rate::atto(per_million * 1_000_000_000_000)
}

fn usage(input: u64, output: u64) -> Usage {
    let mut usage = Usage::new(Convention::OPENAI);
    (usage.input, usage.output) = (Some(input), Some(output));
    usage
}

/// Input and output of a million tokens cost 4 and 8 dollars, over 1000 tokens of input 10 and 20.
fn tiered() -> Prices {
    Prices::new()
        .with(Unit::Input, rate(4))
        .with(Unit::Output, rate(8))
        .with_variant(Unit::Input, 1000, Standard, rate(10))
        .with_variant(Unit::Output, 1000, Standard, rate(20))
}

fn micro(dollars: u128) -> Usd {
    Usd::pico(dollars * 1_000_000)
}

#[test]
fn a_passed_threshold_switches_the_whole_request() {
    assert_eq!(tiered().cost(&usage(1000, 1), Standard).total, micro(4008));
    assert_eq!(tiered().cost(&usage(1001, 1), Standard).total, micro(10_030));
}

#[test]
fn xai_switches_when_the_threshold_is_reached() {
    let model = Model::new("xai/grok", "xai").prices(tiered());
    assert_eq!(model.prices.cost(&usage(999, 1), Standard).total, micro(999 * 4 + 8));
    assert_eq!(model.prices.cost(&usage(1000, 1), Standard).total, micro(10_020));
}

#[test]
fn cached_tokens_count_towards_the_threshold() {
    let mut usage = Usage::new(Convention::ANTHROPIC);
    (usage.input, usage.cached_read, usage.output) = (Some(1), Some(1000), Some(0));
    let prices = tiered().with(Unit::CachedRead, rate(1));
    assert_eq!(prices.cost(&usage, Standard).input, micro(10));
    assert_eq!(prices.cost(&usage, Standard).cached_read, micro(1000), "the one price that is listed");
}

#[test]
fn a_tier_without_a_price_takes_the_standard_one_and_a_batch_half_of_it() {
    let prices =
        tiered().with_variant(Unit::Input, 0, Flex, rate(2)).with_variant(Unit::Input, 0, Priority, rate(12));
    let cost = |input, tier| prices.cost(&usage(input, 100), tier);
    assert_eq!((cost(100, Flex).input, cost(100, Flex).output), (micro(200), micro(800)));
    assert_eq!((cost(100, Batch).input, cost(100, Batch).output), (micro(200), micro(400)));
    // Over the threshold no price of the tier is listed: not cheaper than the standard one there, nor than its own below.
    assert_eq!(cost(1001, Flex).input, micro(10_010));
    assert_eq!(cost(1001, Priority).input, micro(12_012));
    assert_eq!(cost(1001, Batch).input, micro(5005));
}

#[test]
fn half_of_an_odd_rate_is_exact_until_the_sum_is_rounded() {
    let prices = Prices::new().with(Unit::Input, Rate::atto(1_000_001));
    assert_eq!(prices.cost(&usage(999_999, 0), Batch).total, Usd::pico(500_000));
    assert_eq!(prices.cost(&usage(2, 0), Batch).total, Usd::pico(1));
}

#[test]
fn rounds_the_total_half_up_and_not_its_parts() {
    let prices = Prices::new().with(Unit::Input, Rate::atto(500_000)).with(Unit::Output, Rate::atto(500_000));
    assert_eq!(prices.cost(&usage(1, 0), Standard).total, Usd::pico(1));
    let both = prices.cost(&usage(1, 1), Standard);
    assert_eq!((both.total, both.input, both.output), (Usd::pico(1), Usd::pico(1), Usd::ZERO));
}

#[test]
fn kinds_of_tokens_have_their_own_prices_or_their_parents() {
    let mut used = usage(1000, 500);
    (used.cached_read, used.cached_write, used.cached_write_1h) = (Some(200), Some(100), Some(40));
    (used.audio_input, used.image_input) = (Some(50), Some(30));
    (used.reasoning, used.audio_output, used.image_output) = (Some(100), Some(20), Some(10));
    let plain = Prices::new().with(Unit::Input, rate(2)).with(Unit::Output, rate(10));
    assert_eq!(plain.cost(&used, Standard).total, micro(2 * 1000 + 10 * 500));

    let own = plain
        .with(Unit::CachedRead, rate(1))
        .with(Unit::CachedWrite, rate(3))
        .with(Unit::CachedWrite1h, rate(4))
        .with(Unit::AudioInput, rate(20))
        .with(Unit::ImageInput, rate(5))
        .with(Unit::Reasoning, rate(11))
        .with(Unit::AudioOutput, rate(40))
        .with(Unit::ImageOutput, rate(30));
    let cost = own.cost(&used, Standard);
    assert_eq!(cost.input, micro(620 * 2 + 50 * 20 + 30 * 5));
    assert_eq!(cost.cached_read, micro(200));
    assert_eq!(cost.cached_write, micro(60 * 3 + 40 * 4));
    assert_eq!(cost.output, micro(370 * 10 + 20 * 40 + 10 * 30));
    assert_eq!(cost.reasoning, micro(1100));
}

#[test]
fn the_convention_decides_what_is_beside_what() {
    let prices =
        Prices::new().with(Unit::Input, rate(2)).with(Unit::CachedRead, rate(1)).with(Unit::Output, rate(10));
    let mut used = usage(100, 10);
    (used.cached_read, used.reasoning) = (Some(80), Some(4));
    assert_eq!(prices.cost(&used, Standard).total, micro(20 * 2 + 80 + 100));
    used.convention = Convention::ANTHROPIC;
    assert_eq!(prices.cost(&used, Standard).total, micro(100 * 2 + 80 + 100));
    used.convention = Convention::XAI;
    assert_eq!(prices.cost(&used, Standard).total, micro(20 * 2 + 80 + 140));
}

#[test]
fn of_counts_that_contradict_each_other_the_larger_counts() {
    let prices =
        Prices::new().with(Unit::Input, rate(2)).with(Unit::CachedRead, rate(1)).with(Unit::Output, rate(10));
    let mut used = usage(10, 5);
    (used.cached_read, used.reasoning) = (Some(80), Some(9));
    assert_eq!(prices.cost(&used, Standard).total, micro(80 + 90));
    used.input = None;
    assert_eq!(prices.cost(&used, Standard).total, micro(80 + 90));
}

#[test]
fn audio_beyond_what_was_not_cached_was_cached() {
    let prices = Prices::new()
        .with(Unit::Input, rate(2))
        .with(Unit::AudioInput, rate(20))
        .with(Unit::CachedRead, rate(1))
        .with(Unit::CachedAudioRead, rate(7));
    let mut used = usage(100, 0);
    (used.cached_read, used.audio_input) = (Some(60), Some(50));
    let cost = prices.cost(&used, Standard);
    assert_eq!((cost.input, cost.cached_read), (micro(40 * 20), micro(10 * 7 + 50)));
}

#[test]
fn an_hour_in_the_cache_costs_no_less_than_five_minutes() {
    let prices = Prices::new()
        .with(Unit::Input, rate(4))
        .with(Unit::CachedWrite, rate(5))
        .with(Unit::CachedWrite1h, rate(8))
        .with_variant(Unit::CachedWrite, 1000, Standard, rate(10));
    let mut used = usage(1000, 0);
    (used.cached_write, used.cached_write_1h) = (Some(100), Some(100));
    assert_eq!(prices.cost(&used, Standard).cached_write, micro(800));
    used.input = Some(1001);
    assert_eq!(
        prices.cost(&used, Standard).cached_write,
        micro(1000),
        "its price over the threshold is not listed"
    );
}

#[test]
fn reasoning_that_costs_what_output_does_follows_its_tiers() {
    let prices = tiered().with(Unit::Reasoning, rate(8)).with_variant(Unit::Output, 0, Flex, rate(4));
    let mut used = usage(10, 100);
    used.reasoning = Some(100);
    assert_eq!(prices.cost(&used, Flex).reasoning, micro(400));
    used.input = Some(1001);
    assert_eq!(prices.cost(&used, Standard).reasoning, micro(2000));
}

#[test]
fn discount_comes_off_and_margin_goes_on_top() {
    let points = |text: &str| text.parse::<BasisPoints>().unwrap();
    let prices = tiered().discount(points("5%")).margin(points("0.10"), micro(7));
    let cost = prices.cost(&usage(100, 100), Standard);
    assert_eq!((cost.input, cost.output), (micro(380), micro(760)));
    assert_eq!(cost.margin, micro(114 + 7));
    assert_eq!(cost.total, micro(1261));
    assert_eq!(prices.times(points("1.1")).cost(&usage(100, 0), Standard).input, micro(418));
}

#[test]
fn shares_are_read_exactly_or_not() {
    for (text, points) in [("0.05", 500), ("5%", 500), ("7.25%", 725), ("1", 10_000), ("0", 0), ("1e-4", 1)] {
        assert_eq!(text.parse().map(BasisPoints::get), Ok(points), "{text}");
    }
    for text in ["", "-5%", "NaN", "0.00001", "1e9", "101", "%"] {
        assert!(text.parse::<BasisPoints>().is_err(), "{text}");
    }
}

#[test]
fn images_are_charged_by_the_most_particular_price() {
    let dollars = |text: &str| text.parse::<Rate>().unwrap();
    let made = |images, pixels, size: Option<&str>| Quantities {
        images,
        pixels,
        images_input: 1,
        size: size.map(Into::into),
        ..Quantities::default()
    };
    let given = Prices::new().with(Unit::PerImageInput, dollars("0.01"));
    assert_eq!(given.cost_of(&made(3, 0, None)).total, Usd::cents(3), "all there is, once");
    assert_eq!(given.cost_of(&made(0, 0, None)).total, Usd::cents(1));
    let pixels = given.with(Unit::PixelInput, dollars("0.0000001")).with(Unit::PixelOutput, Rate::FREE);
    assert_eq!(pixels.cost_of(&made(3, 1_000_000, None)).total, Usd::cents(10));
    assert_eq!(pixels.cost_of(&made(3, 0, None)).total, Usd::cents(3), "no pixels said");
    let both = pixels.with(Unit::PerImageOutput, dollars("0.05")).with_size(
        Unit::PerImageOutput,
        "4K",
        dollars("0.2"),
    );
    assert_eq!(both.cost_of(&made(3, 1_000_000, None)).total, Usd::cents(16));
    assert_eq!(both.cost_of(&made(3, 0, Some("4K"))).total, Usd::cents(61));
    assert_eq!(both.cost_of(&made(3, 0, Some("9K"))).total, Usd::cents(16));
}

#[test]
fn time_is_charged_once_and_to_the_nanosecond() {
    let prices = Prices::new()
        .with(Unit::SecondInput, "0.0001".parse().unwrap())
        .with(Unit::SecondOutput, "0.0001".parse().unwrap());
    let heard = |time| prices.cost_of(&Quantities { time, ..Quantities::default() }).units;
    assert_eq!(heard(Duration::from_millis(90_500)), "0.00905".parse().unwrap());
    assert_eq!(heard(Duration::from_nanos(8_470_000_267)), "0.000847000027".parse().unwrap());
    let video = Catalog::embedded().named("azure/sora-2").map(|model| model.prices.clone());
    let ten = Duration::from_secs(10);
    let made = |prices: &Prices, size: &str| {
        prices
            .cost_of(&Quantities { video_output: ten, size: Some(size.into()), ..Quantities::default() })
            .units
    };
    let sized = Prices::new().with(Unit::SecondOutput, "0.1".parse().unwrap()).with_size(
        Unit::SecondOutput,
        "1080p",
        "0.5".parse().unwrap(),
    );
    assert_eq!((made(&sized, "1080p"), made(&sized, "720p")), (Usd::dollars(5), Usd::dollars(1)));
    assert!(video.is_none_or(|prices| !made(&prices, "").is_zero()));
}

#[test]
fn searches_are_charged_by_results_and_web_searches_by_context() {
    let exa = Catalog::embedded().named("exa_ai/search").unwrap();
    let search =
        |results| exa.prices.cost_of(&Quantities { queries: 2, results, ..Quantities::default() }).total;
    assert_eq!((search(25), search(26)), (Usd::cents(1), Usd::cents(5)));

    let dollars = |text: &str| text.parse::<Rate>().unwrap();
    let prices =
        Prices::new().with(Unit::WebSearch, dollars("0.01")).with(Unit::WebSearchHigh, dollars("0.03"));
    let mut used = usage(0, 0);
    used.web_searches = Some(2);
    assert_eq!(prices.cost(&used, Standard).tools, Usd::cents(2));
    let with = |search_context| Quantities { search_context, ..Quantities::default() };
    assert_eq!(prices.cost_of_both(&used, &with(SearchContext::High)).tools, Usd::cents(6));
    assert_eq!(
        prices.cost_of_both(&used, &with(SearchContext::Low)).tools,
        Usd::cents(6),
        "unlisted: the dearest"
    );
}

#[test]
fn a_request_and_its_pages_queries_and_characters_are_charged() {
    let prices = [Unit::Request, Unit::Page, Unit::Query, Unit::CharacterInput]
        .into_iter()
        .fold(Prices::new(), |prices, unit| prices.with(unit, "0.01".parse().unwrap()));
    let used = Quantities { pages: 2, queries: 3, characters: 4, ..Quantities::default() };
    let cost = prices.cost_of(&used);
    assert_eq!((cost.units, cost.request, cost.total), (Usd::cents(9), Usd::cents(1), Usd::cents(10)));
    assert_eq!(prices.cost(&usage(5, 5), Standard).total, Usd::cents(1));
}

#[test]
fn the_worst_case_is_the_dearest_that_was_asked_for() {
    let text = Asked { text_input: true, text_output: true, ..Asked::default() };
    let prices = tiered()
        .with(Unit::CachedWrite, rate(5))
        .with(Unit::CachedWrite1h, rate(8))
        .with(Unit::AudioInput, rate(40))
        .with(Unit::Reasoning, rate(9));
    assert_eq!(prices.worst_case(1000, 10, &text), micro(5000 + 90), "writes may happen unasked");
    assert_eq!(prices.worst_case(1001, 10, &text), micro(10_010 + 200));
    assert_eq!(prices.worst_case(1000, 10, &Asked::default()), micro(40_000 + 90));
    let write = |lifetime| Asked { cache_write: Some(lifetime), ..text };
    assert_eq!(prices.worst_case(1000, 0, &write(Lifetime::OneHour)), micro(8000));

    let asked_only = prices.cache_writes_when_asked();
    assert_eq!(asked_only.worst_case(1000, 0, &text), micro(4000));
    assert_eq!(asked_only.worst_case(1000, 0, &write(Lifetime::FiveMinutes)), micro(5000));
    let cheaper_above = tiered().with_variant(Unit::Input, 5000, Standard, rate(1));
    assert_eq!(cheaper_above.worst_case(6000, 0, &text), micro(60_000), "it may stay below the threshold");
}

#[test]
fn claudes_write_to_the_cache_when_asked_only() {
    let catalog = Catalog::embedded();
    let text = Asked { text_input: true, text_output: true, ..Asked::default() };
    let worst = |name: &str| catalog.named(name).unwrap().prices.worst_case(1_000_000, 0, &text);
    assert_eq!(worst("claude-sonnet-4-5"), Usd::dollars(3));
    assert_eq!(worst("anthropic.claude-3-5-haiku-20241022-v1:0"), Usd::cents(80));
}

#[test]
fn tiers_are_read_in_the_providers_words() {
    for (text, tier) in
        [("auto", Standard), ("default", Standard), ("", Standard), ("flex", Flex), ("priority", Priority)]
    {
        assert_eq!(text.parse(), Ok(tier));
    }
    assert!("platinum".parse::<ServiceTier>().is_err());
}

#[test]
fn a_ranking_costs_its_searches_or_its_tokens() {
    let by_search =
        Prices::new().with(Unit::Query, Rate::atto(2_000_000_000_000_000)).with(Unit::Input, rate(0));
    let mut stated = Usage::new(Convention::OPENAI);
    stated.search_units = Some(3);
    let cost = by_search.cost(&stated, Standard);
    assert_eq!((cost.total, cost.units, cost.input), (micro(6000), micro(6000), Usd::ZERO));
    // What the provider states, not what else is known.
    let both = by_search.cost_of_both(&stated, &Quantities { queries: 9, ..Quantities::default() });
    assert_eq!(both.total, micro(6000));
    let known = Quantities { queries: 9, ..Quantities::default() };
    assert_eq!(by_search.cost_of_both(&usage(5, 0), &known).total, micro(18_000));
    assert_eq!(by_search.worst_case(5, 0, &Asked { queries: 2, ..Asked::default() }), micro(4000));
    let by_token = Prices::new().with(Unit::Input, rate(4));
    assert_eq!(by_token.worst_case(5, 0, &Asked { queries: 2, ..Asked::default() }), micro(20));
    assert!(by_search.is_priced_by_query() && !by_token.is_priced_by_query());
}

//! LiteLLM's price map and config: what is read, what is named, what is refused.

#![expect(clippy::unwrap_used, reason = "clippy does not see that helpers of tests are tests")]

use ziggurat_catalog::{BasisPoints, Capability, Catalog, Mode, Model, Prices, Rate, ServiceTier, Unit};

const MAP: &str = r#"{
  "sample_spec": {"max_tokens": "LEGACY parameter", "input_cost_per_token": "not a price"},
  "prov/big": {
    "litellm_provider": "prov", "mode": "chat", "max_tokens": 8192, "max_input_tokens": "128000.0",
    "input_cost_per_token": 2.0000000000000002e-07, "output_cost_per_token": "1e-6",
    "input_cost_per_token_above_200k_tokens": 4E-7, "input_cost_per_token_above_200k_tokens_priority": 8e-7,
    "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 9e-7, "output_cost_per_token_batches": 0.0,
    "input_cost_per_token_cache_hit": 1e-8, "cache_read_input_token_cost": 2e-8,
    "output_cost_per_image_2K": 0.12, "output_cost_per_second_1080p": 0.2,
    "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_medium": 0.02,
      "search_context_size_high": 0.03, "search_context_size_vast": 1},
    "provider_specific_entry": {"us": 1.1, "fast": 6}, "regional_processing_uplift_multiplier_eu": 1.1,
    "supports_vision": true, "supports_reasoning": false, "supports_flying": true, "deprecation_date": "2027-01-01",
    "source": "https://example.com", "supported_endpoints": ["/v1/chat/completions"], "rpm": 5,
    "input_dbu_cost_per_token": 1e-6, "off_peak_pricing": {"start": "16:30"}, "cache_read_input_token_cost_flex": null
  },
  "prov/bands": {
    "litellm_provider": "prov", "mode": "dreaming",
    "tiered_pricing": [
      {"range": [0, 32000.0], "input_cost_per_token": 1e-6, "mystery": 1},
      {"range": [32000.0, 128000.0], "input_cost_per_token": 2e-6}
    ]
  },
  "prov/search": {
    "litellm_provider": "prov", "mode": "search",
    "tiered_pricing": [
      {"max_results_range": [0, 25], "input_cost_per_query": 0.005},
      {"max_results_range": [26, 100], "input_cost_per_query": 0.025}
    ]
  }
}"#;

fn rate(text: &str) -> Option<Rate> {
    Some(text.parse().unwrap())
}

#[test]
fn reads_a_price_map_exactly_and_names_what_it_does_not_understand() {
    let imported = Catalog::import(MAP).unwrap();
    let [bands, big, search] = &imported.models[..] else { panic!("{} models", imported.models.len()) };
    assert_eq!((&*big.id, &*big.provider, big.mode), ("prov/big", "prov", Mode::Chat));
    assert_eq!((big.max_input, big.max_output), (Some(128_000), Some(8192)));
    assert_eq!(big.deprecated.as_deref(), Some("2027-01-01"));
    assert_eq!(big.supports.iter().collect::<Vec<_>>(), [Capability::Vision]);
    let (prices, standard) = (&big.prices, ServiceTier::Standard);
    assert_eq!(prices.rate(Unit::Input), rate("2e-7"));
    assert_eq!(prices.variant(Unit::Input, 200_000, standard), rate("4e-7"));
    assert_eq!(prices.variant(Unit::Input, 200_000, ServiceTier::Priority), rate("8e-7"));
    assert_eq!(prices.variant(Unit::CachedWrite1h, 200_000, standard), rate("9e-7"));
    assert_eq!(prices.variant(Unit::Output, 0, ServiceTier::Batch), Some(Rate::FREE));
    assert_eq!(prices.rate(Unit::CachedRead), rate("2e-8"));
    assert_eq!(prices.size(Unit::PerImageOutput, "2K"), rate("0.12"));
    assert_eq!(prices.size(Unit::SecondOutput, "1080p"), rate("0.2"));
    assert_eq!(prices.rate(Unit::WebSearchHigh), rate("0.03"));
    assert_eq!(prices.multiplier("us").map(BasisPoints::get), Some(11_000));
    assert_eq!(prices.multiplier("fast").map(BasisPoints::get), Some(60_000));
    assert_eq!(prices.multiplier("eu").map(BasisPoints::get), Some(11_000));
    assert_eq!(bands.prices.variant(Unit::Input, 32_000, standard), rate("2e-6"));
    assert_eq!(search.prices.variant(Unit::Query, 25, standard), rate("0.025"));

    let unknown: Vec<_> = imported.unknown.iter().map(|unknown| (&*unknown.model, &*unknown.key)).collect();
    assert_eq!(
        unknown,
        [
            ("prov/bands", "mode: dreaming"),
            ("prov/bands", "tiered_pricing: mystery"),
            ("prov/big", "input_dbu_cost_per_token"),
            ("prov/big", "off_peak_pricing"),
            ("prov/big", "search_context_cost_per_query: search_context_size_vast"),
            ("prov/big", "supports_flying"),
        ]
    );
}

#[test]
fn what_is_written_is_read_again() {
    let imported = Catalog::import(MAP).unwrap();
    let text = imported.to_text("2026-01-02");
    let catalog = Catalog::parse(&text).unwrap();
    assert_eq!(catalog.version(), "2026-01-02");
    for model in &imported.models {
        assert_eq!(*catalog.named(&model.id).unwrap(), *model);
    }
    assert_eq!(catalog.models().count(), imported.models.len());
}

#[test]
fn the_embedded_data_is_as_we_would_write_it() {
    let text = include_str!("../data/models.txt");
    let catalog = Catalog::parse(text).unwrap();
    let mut imported = Catalog::import("{}").unwrap();
    imported.models = catalog.models().map(|model| (*model).clone()).collect();
    assert_eq!(imported.to_text(catalog.version()), text);
}

#[test]
fn refuses_a_bad_value_by_model_and_key() {
    for (map, error) in [
        ("[]", "not an object of models"),
        ("{", "not an object of models"),
        (r#"{"m": 5}"#, "`m`: not an object"),
        (r#"{"m": {"input_cost_per_token": -1}}"#, "`m`: `input_cost_per_token`: not a price"),
        (r#"{"m": {"input_cost_per_token": "NaN"}}"#, "`m`: `input_cost_per_token`: not a price"),
        (r#"{"m": {"input_cost_per_token": true}}"#, "`m`: `input_cost_per_token`: not a price"),
        (r#"{"m": {"output_cost_per_second": [1]}}"#, "`m`: `output_cost_per_second`: not a price"),
        (r#"{"m": {"max_tokens": 1.5}}"#, "`m`: `max_tokens`: not a number of tokens"),
        (r#"{"m": {"max_input_tokens": "many"}}"#, "`m`: `max_input_tokens`: not a number of tokens"),
        (r#"{"m": {"tiered_pricing": [{}]}}"#, "`m`: `tiered_pricing`: not a band with a range"),
        (r#"{"m": {"provider_specific_entry": {"us": -1}}}"#, "`m`: `provider_specific_entry`: not a factor"),
        (r#"{"a b": {}}"#, "`a b`: not a name without blanks"),
        (r##"{"#": {}}"##, "`#`: not a name without blanks"),
    ] {
        assert_eq!(Catalog::import(map).unwrap_err().to_string(), error, "{map}");
    }
}

#[test]
fn bad_data_is_refused_by_line_and_key() {
    for (text, error) in [
        ("", "line 1: `ziggurat-catalog`: not a catalog of version 1"),
        ("ziggurat-catalog 2 2026-01-01", "line 1: `ziggurat-catalog`: not a catalog of version 1"),
        ("ziggurat-catalog 1 d\n\n# x\nm p", "line 4: `m p`: not id, provider and mode"),
        ("ziggurat-catalog 1 d\nm p chit", "line 2: `chit`: not a mode"),
        ("ziggurat-catalog 1 d\nm p chat i", "line 2: `i`: not key=value"),
        ("ziggurat-catalog 1 d\nm p chat ctx=-1", "line 2: `ctx`: not a number of tokens"),
        ("ziggurat-catalog 1 d\nm p chat can=fc,xx", "line 2: `xx`: not a capability"),
        ("ziggurat-catalog 1 d\nm p chat zz=1", "line 2: `zz`: not a unit that has prices"),
        ("ziggurat-catalog 1 d\nm p chat i=-1", "line 2: `i`: not a price"),
        ("ziggurat-catalog 1 d\nm p chat i>lots=1", "line 2: `i>lots`: not a threshold"),
        ("ziggurat-catalog 1 d\nm p chat i/slow=1", "line 2: `i/slow`: not a service tier"),
        ("ziggurat-catalog 1 d\nm p chat x:us=-1", "line 2: `x:us`: not a factor"),
    ] {
        assert_eq!(Catalog::parse(text).unwrap_err().to_string(), error, "{text:?}");
    }
}

#[test]
fn a_deployments_own_prices_replace_the_models() {
    let base = Catalog::embedded().named("gemini/gemini-2.5-pro").unwrap();
    let own = [
        ("input_cost_per_token", "1e-7"),
        ("api_base", "http://example.com"),
        ("cache_read_input_token_cost", ""),
    ];
    let model = Model::custom(Some(&base), own).unwrap();
    assert_eq!(model.prices.rate(Unit::Input), rate("1e-7"));
    assert_eq!(model.prices.variant(Unit::Input, 200_000, ServiceTier::Standard), None, "one price for all");
    assert_eq!(model.prices.rate(Unit::Output), base.prices.rate(Unit::Output));
    assert_eq!(model.prices.rate(Unit::CachedRead), base.prices.rate(Unit::CachedRead));
    assert_eq!(model.max_input, base.max_input);

    let by_time = Model::custom(Some(&base), [("input_cost_per_second", "0.001")]).unwrap();
    assert!(by_time.prices.is_priced_by_time() && !by_time.prices.is_priced_for_tokens());

    let alone = [("output_cost_per_token", "0"), ("max_output_tokens", "4096"), ("mode", "chat")];
    let alone = Model::custom(None, alone).unwrap();
    assert_eq!((alone.max_output, alone.mode), (Some(4096), Mode::Chat));
    assert_eq!(alone.prices, Prices::new().with(Unit::Output, Rate::FREE));
}

#[test]
fn a_bad_price_of_a_deployment_is_refused_by_key() {
    for (key, value, error) in [
        ("input_cost_per_token", "-1", "`input_cost_per_token`: a price cannot be negative"),
        ("input_cost_per_token", "NaN", "`input_cost_per_token`: not a decimal number"),
        ("output_cost_per_second", "inf", "`output_cost_per_second`: not a decimal number"),
        ("output_cost_per_tokens", "1", "`output_cost_per_tokens` is no price that is known"),
        ("max_output_tokens", "many", "`max_output_tokens`: not a decimal number"),
        ("mode", "dreaming", "`mode` is no price that is known"),
    ] {
        assert_eq!(Model::custom(None, [(key, value)]).unwrap_err().to_string(), error);
        assert!(Model::is_price_key(key));
    }
    assert!(!Model::is_price_key("api_key") && !Model::is_price_key("model"));
}

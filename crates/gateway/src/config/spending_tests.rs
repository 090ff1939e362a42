//! What is said about budgets, limits and prices.

use std::path::Path;

use http::StatusCode;
use ziggurat_budget::{Uncapped, Unpriced};
use ziggurat_catalog::Unit;
use ziggurat_core::{Usd, Window};

use super::tests::{env, one, print};
use super::*;

fn parse(text: &str) -> (Config, String) {
    let (config, warnings) =
        Config::parse(text, "config.yaml", &env).unwrap_or_else(|found| panic!("{}", print(&found)));
    (config, print(&warnings))
}

fn findings(text: &str) -> String {
    match Config::parse(text, "config.yaml", &env) {
        Ok((_, warnings)) => print(&warnings),
        Err(found) => print(&found),
    }
}

/// A section below [`one`], whose first key stands on line 7.
fn section(name: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    one(&format!("{name}:\n{lines}"))
}

#[test]
fn a_budget_is_read_exactly_as_it_is_written() {
    let cases = [
        ("100", Usd::dollars(100)),
        ("1.00", Usd::dollars(1)),
        ("0.1", Usd::cents(10)),
        ("1e-2", Usd::cents(1)),
        ("\"2.50\"", Usd::cents(250)),
        ("0.000000000001", Usd::pico(1)),
        // As floats these two would be one.
        ("9007199254740993.000000000001", Usd::pico(9_007_199_254_740_993_000_000_000_001)),
        ("os.environ/TIMEOUT", Usd::cents(250)),
    ];
    for (text, amount) in cases {
        let (config, warnings) = parse(&section("litellm_settings", &[&format!("max_budget: {text}")]));
        assert_eq!(
            (config.spending.budget, warnings.as_str()),
            (Some((amount, Window::Lifetime)), ""),
            "{text}"
        );
    }
}

#[test]
fn a_budget_that_is_none_is_refused() {
    let key = "litellm_settings.max_budget";
    let cases = [
        ("-1", "an amount of money cannot be negative"),
        (".nan", "not a decimal number"),
        (".inf", "not a decimal number"),
        ("-.inf", "not a decimal number"),
        ("ten", "not a decimal number"),
        ("$10", "not a decimal number"),
        ("1e-13", "an amount of money has at most 12 decimals"),
        ("1e19", "an amount of money is at most 10^18 dollars"),
        ("0", "to LiteLLM, 0 is no budget, here it would refuse all calls: leave the key out"),
        ("0.00", "to LiteLLM, 0 is no budget, here it would refuse all calls: leave the key out"),
        ("yes", "expected an amount in dollars, found a boolean"),
        ("[1]", "expected an amount in dollars, found a list"),
    ];
    for (value, message) in cases {
        let text = section("litellm_settings", &[&format!("max_budget: {value}")]);
        assert_eq!(findings(&text), format!("config.yaml:7:15: error: {key}: {message}\n"), "{value}");
    }
}

#[test]
fn a_duration_makes_a_window_in_its_time_zone() {
    let window = |lines: &[&str]| {
        let (config, warnings) = parse(&section("litellm_settings", &[&["max_budget: 1"], lines].concat()));
        assert_eq!(warnings, "");
        config.spending.budget.map(|(_, window)| window.name().to_string())
    };
    let of = |duration, zone| {
        ziggurat_budget::calendar::window(duration, zone).expect("is one").name().to_string()
    };
    assert_eq!(window(&["budget_duration: 30d"]), Some(of("30d", "UTC")));
    assert_eq!(
        window(&["budget_duration: 1mo", "timezone: Europe/Berlin"]),
        Some(of("1mo", "Europe/Berlin"))
    );
    assert_eq!(window(&["budget_duration: daily"]), Some(of("1d", "UTC")));
    assert_eq!(window(&["timezone: Asia/Kolkata"]), Some("lifetime".into()));
    let duration = "a duration is a whole number and a unit, s, m, h, d, w or mo, as in 30s, 1h, 7d and 1mo, or one of hourly, daily, weekly or monthly";
    let cases = [
        ("budget_duration: 1y", format!("8:20: error: litellm_settings.budget_duration: {duration}")),
        ("budget_duration: 1d garbage", format!("8:20: error: litellm_settings.budget_duration: {duration}")),
        ("budget_duration: 0d", "8:20: error: litellm_settings.budget_duration: a duration is longer than nothing".into()),
        (
            "budget_duration: 30",
            "8:20: error: litellm_settings.budget_duration: expected a string, found a number: put it in quotes".into(),
        ),
        (
            "timezone: Mars/Olympus",
            "8:13: error: litellm_settings.timezone: a time zone is a name of the IANA database, as UTC or Europe/Berlin".into(),
        ),
    ];
    for (line, expected) in cases {
        let text = section("litellm_settings", &["max_budget: 1", line]);
        assert_eq!(findings(&text), format!("config.yaml:{expected}\n"), "{line}");
    }
    assert_eq!(
        findings(&section("litellm_settings", &["budget_duration: 1d"])),
        "config.yaml:7:20: warning: litellm_settings.budget_duration: there is no `max_budget` that it is the duration of\n"
    );
}

#[test]
fn a_tag_is_allowed_what_its_entry_says() {
    let tags = |entry: &str| section("litellm_settings", &[&format!("tag_budget_config: {{own: {entry}}}")]);
    let (config, warnings) =
        parse(&tags("{max_budget: 2, soft_budget: 1, rpm_limit: 3, tpm_limit: 4, max_parallel_requests: 5}"));
    assert_eq!(warnings, "");
    let own = &config.spending.tags["own"];
    assert_eq!((own.cap, own.soft), (Some(Usd::dollars(2)), Some(Usd::dollars(1))));
    assert_eq!((own.rates.requests, own.rates.tokens, own.rates.parallel), (Some(3), Some(4), Some(5)));
    let expected = "config.yaml:7:28: error: litellm_settings.tag_budget_config.own: expected `max_budget`, \
                    `soft_budget`, `rpm_limit`, `tpm_limit` or `max_parallel_requests`\n";
    assert_eq!(findings(&tags("{budget_duration: 1d}")), expected);
    assert_eq!(findings(&tags("{}")), expected);
}

#[test]
fn limits_are_whole_numbers_of_their_place() {
    let text = one("      rpm: 30\n      itpm: 7e2\n")
        + "    model_info: {rpm: 99, tpm: 600, otpm: '5'}\n"
        + "general_settings: {global_max_parallel_requests: 9, max_parallel_requests: 8}\n"
        + "router_settings: {default_max_parallel_requests: 5}\n"
        + "ziggurat_settings: {rpm: 1, tpm: 2, itpm: 3, otpm: 4}\n";
    let (config, warnings) = parse(&text);
    assert_eq!(warnings, "");
    let rates = |requests, tokens, input_tokens, output_tokens, parallel| Rates {
        requests,
        tokens,
        input_tokens,
        output_tokens,
        parallel,
    };
    assert_eq!(config.deployments[0].rates, rates(Some(30), Some(600), Some(700), Some(5), Some(5)));
    assert_eq!(config.gateway_rates, rates(Some(1), Some(2), Some(3), Some(4), Some(9)));
    assert_eq!(config.key_rates, rates(None, None, None, None, Some(8)));
    for bad in ["0", "-1", "1.5", "1e30"] {
        assert_eq!(
            findings(&one(&format!("      rpm: {bad}\n"))),
            "config.yaml:6:12: error: model_list[0].litellm_params.rpm: expected a whole number above zero\n"
        );
        assert_eq!(
            findings(&section("general_settings", &[&format!("global_max_parallel_requests: {bad}")])),
            "config.yaml:7:33: error: general_settings.global_max_parallel_requests: expected a whole number above zero\n"
        );
    }
    assert_eq!(
        findings(&section("ziggurat_settings", &["rpm: .nan"])),
        "config.yaml:7:8: error: ziggurat_settings.rpm: expected a number, found a string\n"
    );
    assert_eq!(
        findings(&section("general_settings", &["rpm: 5"])),
        "config.yaml:7:3: error: general_settings.rpm: unknown key here, it belongs into `litellm_params`\n"
    );
}

#[test]
fn prices_of_a_deployment_are_read_from_both_places() {
    let text = one(
        "      input_cost_per_token: 0.00000020000000000000002\n      output_cost_per_token: 2.5e-06\n",
    ) + "    model_info: {input_cost_per_token: 9, cache_read_input_token_cost: 1e-7, base_model: gpt-4o, max_output_tokens: 100}\n";
    let (config, warnings) = parse(&text);
    assert_eq!(warnings, "");
    let pricing = &config.deployments[0].pricing;
    assert_eq!(pricing.base_model.as_ref().map(|(name, _)| name.as_str()), Some("gpt-4o"));
    let model = pricing.over(None).expect("has prices");
    let rate = |unit| model.prices.rate(unit).map(|rate| rate.to_string());
    assert_eq!(rate(Unit::Input).as_deref(), Some("0.0000002"));
    assert_eq!(rate(Unit::Output).as_deref(), Some("0.0000025"));
    assert_eq!(rate(Unit::CachedRead).as_deref(), Some("0.0000001"));
    assert_eq!(model.max_output, Some(100));
    // What is a price goes to no provider.
    assert!(config.deployments[0].extra.is_empty());
}

#[test]
fn prices_that_are_none_are_refused() {
    let at = "model_list[0].litellm_params";
    let cases = [
        ("input_cost_per_token: -1", "6:29", "input_cost_per_token", "a price cannot be negative"),
        ("input_cost_per_token: .nan", "6:29", "input_cost_per_token", "not a decimal number"),
        ("input_cost_per_token: cheap", "6:29", "input_cost_per_token", "not a decimal number"),
        ("input_cost_per_token: [1]", "6:29", "input_cost_per_token", "expected a number, found a list"),
        ("input_cost_per_tokn: 1", "6:28", "input_cost_per_tokn", "is no price that can be counted here"),
    ];
    for (line, place, key, message) in cases {
        let expected = format!("config.yaml:{place}: error: {at}.{key}: {message}\n");
        assert_eq!(findings(&one(&format!("      {line}\n"))), expected, "{line}");
    }
    assert_eq!(
        findings(&one("      tiered_pricing: [{}]\n")),
        format!(
            "config.yaml:6:7: error: {at}.tiered_pricing: known to LiteLLM, not supported yet: refusing to run without it\n"
        )
    );
}

#[test]
fn discounts_and_margins_are_shares() {
    let lines = [
        "cost_discount_config: {openai: 0.05}",
        "cost_margin_config: {openai: 0.1, global: {percentage: 0.08, fixed_amount: 0.0005}, groq: {fixed_amount: 1}}",
        "budget_exceeded_status_code: 422",
        "include_cost_in_streaming_usage: true",
    ];
    let (config, warnings) = parse(&section("litellm_settings", &lines));
    assert_eq!(warnings, "");
    let spending = config.spending;
    assert_eq!(spending.refusal, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(spending.cost_in_streams);
    assert_eq!(spending.discounts["openai"].get(), 500);
    let margins: Vec<_> = spending
        .margins
        .iter()
        .map(|(name, margin)| (name.as_str(), margin.share.get(), margin.fixed))
        .collect();
    let fixed = "0.0005".parse().expect("is an amount");
    assert_eq!(margins, [("global", 800, fixed), ("groq", 0, Usd::dollars(1)), ("openai", 1000, Usd::ZERO)]);
    let share =
        |most| format!("expected a share such as 0.05, between 0 and {most} and with 4 decimals at most");
    let cases = [
        (
            "cost_discount_config: {openai: 1.5}",
            "7:34: error: litellm_settings.cost_discount_config.openai",
            share("1"),
        ),
        (
            "cost_discount_config: {openai: -0.1}",
            "7:34: error: litellm_settings.cost_discount_config.openai",
            share("1"),
        ),
        (
            "cost_margin_config: {openai: 0.00001}",
            "7:32: error: litellm_settings.cost_margin_config.openai",
            share("100"),
        ),
        (
            "cost_margin_config: {openai: {fixed_amount: -1}}",
            "7:47: error: litellm_settings.cost_margin_config.openai.fixed_amount",
            "an amount of money cannot be negative".to_owned(),
        ),
        (
            "cost_margin_config: {openai: {percent: 1}}",
            "7:33: error: litellm_settings.cost_margin_config.openai.percent",
            "unknown key".to_owned(),
        ),
        (
            "budget_exceeded_status_code: 200",
            "7:32: error: litellm_settings.budget_exceeded_status_code",
            "expected the status of a refusal, 400 to 499".to_owned(),
        ),
    ];
    for (line, place, message) in cases {
        let expected = format!("config.yaml:{place}: {message}\n");
        assert_eq!(findings(&section("litellm_settings", &[line])), expected, "{line}");
    }
}

#[test]
fn budgets_of_deployments_and_providers_are_read() {
    let own = one("      max_budget: 0.10\n      budget_duration: 1d\n");
    let providers = "router_settings:
  provider_budget_config:
    openai: {budget_limit: 20, time_period: 1mo}
    azure: {max_budget: 5}
litellm_settings: {timezone: Europe/Berlin}
";
    let (config, warnings) = parse(&format!("{own}{providers}"));
    assert_eq!(warnings, "");
    let of = |duration: &str| ziggurat_budget::calendar::window(duration, "Europe/Berlin").unwrap();
    assert_eq!(config.deployments[0].budget, Some((Usd::cents(10), of("1d"))));
    let expected = [
        ("azure".to_owned(), (Usd::dollars(5), Window::Lifetime)),
        ("openai".to_owned(), (Usd::dollars(20), of("1mo"))),
    ];
    assert_eq!(config.spending.providers, expected.into());

    let param = "model_list[0].litellm_params";
    let zero = "to LiteLLM, 0 is no budget, here it would refuse all calls: leave the key out";
    let entry = "router_settings.provider_budget_config";
    let cases = [
        (one("      max_budget: 0\n"), format!("6:19: error: {param}.max_budget: {zero}")),
        (
            one("      max_budget: -1\n"),
            format!("6:19: error: {param}.max_budget: an amount of money cannot be negative"),
        ),
        (
            one("      budget_duration: 1d\n"),
            format!(
                "6:24: warning: {param}.budget_duration: there is no `max_budget` that it is the duration of"
            ),
        ),
        (
            section("router_settings", &["provider_budget_config: {opnai: {max_budget: 1}}"]),
            format!("7:35: error: {entry}.opnai: no provider has this name"),
        ),
        (
            section(
                "router_settings",
                &["provider_budget_config: {openai: {max_budget: 1, budget_limit: 2}}"],
            ),
            format!("7:66: error: {entry}.openai.budget_limit: is `max_budget`, which is there, too"),
        ),
        (
            section("router_settings", &["provider_budget_config: {openai: {}}"]),
            format!("7:36: error: {entry}.openai: `max_budget` is missing"),
        ),
        (
            section("router_settings", &["provider_budget_config: {openai: {max_budget: 1, tpm_limit: 5}}"]),
            format!(
                "7:52: error: {entry}.openai.tpm_limit: known to LiteLLM, not supported yet: refusing to run without it"
            ),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(findings(&text), format!("config.yaml:{expected}\n"), "{text}");
    }
}

#[test]
fn what_is_told_of_budgets_is_read() {
    let budget = "litellm_settings: {max_budget: 1}\nziggurat_settings:\n  alert_percents: ";
    assert_eq!(parse(&one("")).0.spending.alert_percents, [80, 100]);
    for (text, percents) in [("[50, 95]", &[50, 95][..]), ("[]", &[])] {
        let (config, warnings) = parse(&one(&format!("{budget}{text}\n")));
        assert_eq!((&*config.spending.alert_percents, warnings.as_str()), (percents, ""), "{text}");
    }
    for (text, at, message) in [
        ("80", "8:19", ": expected a list, found a number"),
        ("[0]", "8:20", "[0]: expected a whole number above zero"),
        ("[80, 101]", "8:24", "[1]: expected percents of a budget, 1 to 100"),
        ("[0.8]", "8:20", "[0]: expected a whole number above zero"),
        ("[80 %]", "8:20", "[0]: expected percents of a budget, 1 to 100"),
    ] {
        let expected = format!("config.yaml:{at}: error: ziggurat_settings.alert_percents{message}\n");
        assert_eq!(findings(&one(&format!("{budget}{text}\n"))), expected, "{text}");
    }
}

#[test]
fn a_ledger_that_is_never_away_needs_no_policy() {
    let away = |at: &str| {
        findings(&one(&format!(
            "litellm_settings: {{max_budget: 1}}\nziggurat_settings:\n  on_budgets_away: allow\n  {at}\n"
        )))
    };
    let idle = "config.yaml:8:20: warning: ziggurat_settings.on_budgets_away: does nothing: the ledger is in this process, and never away\n";
    assert_eq!(away("ledger: memory"), idle);
    assert_eq!(away("ledger: spend.db"), idle);
    assert_eq!(away("redis: redis://localhost"), "");
}

#[test]
fn our_own_settings_are_read() {
    let lines = [
        "ledger: spend.db",
        "price_map: /etc/prices.json",
        "uncapped: clamp:500",
        "uncapped_streams: reserve",
        "unpriced: allow",
        "on_disconnect: drain:30",
        "hold_ttl: 2.5",
        "token_counter: at_most_bytes",
    ];
    let (config, warnings) = parse(&section("ziggurat_settings", &lines));
    // Five of them are about budgets, and there is none.
    let idle = "does nothing yet: there is no `litellm_settings.max_budget`";
    assert_eq!(warnings.lines().filter(|line| line.ends_with(idle)).count(), 5, "{warnings}");
    assert_eq!(warnings.lines().count(), 5, "{warnings}");
    let spending = config.spending;
    assert_eq!(spending.ledger, Some(LedgerAt::File("spend.db".into())));
    assert_eq!(spending.price_map.map(|(path, _)| path).as_deref(), Some(Path::new("/etc/prices.json")));
    assert_eq!(spending.uncapped, Uncapped::Clamp(500));
    assert_eq!(spending.uncapped_streams, Uncapped::ReserveModelCap);
    assert_eq!(spending.unpriced, Unpriced::Allow);
    assert_eq!(spending.on_disconnect, OnDisconnect::Drain(Some(Duration::from_secs(30))));
    assert_eq!(spending.hold_ttl, Some(Duration::from_millis(2500)));
    assert_eq!(spending.token_counter, TokenCounter::AtMostBytes);
    let (config, _) = parse(&one(""));
    let spending = config.spending;
    assert_eq!((spending.uncapped, spending.uncapped_streams), (Uncapped::ReserveModelCap, Uncapped::Extend));
    assert_eq!((spending.unpriced, spending.on_disconnect), (Unpriced::Refuse, OnDisconnect::Cancel));
    assert_eq!((spending.refusal, &spending.ledger), (StatusCode::TOO_MANY_REQUESTS, &None));
    assert_eq!(spending.token_counter, TokenCounter::ByLength);
    let (config, _) = parse(&section("ziggurat_settings", &["token_counter: by_length"]));
    assert_eq!(config.spending.token_counter, TokenCounter::ByLength);
}

#[cfg(feature = "tiktoken")]
#[test]
fn tokens_are_counted_by_one_of_three_words() {
    let (config, warnings) = parse(&section("ziggurat_settings", &["token_counter: exact"]));
    assert_eq!((config.spending.token_counter, warnings.as_str()), (TokenCounter::Exact, ""));
    for other in ["bytes", "exact:64", "'by length'", "''"] {
        let text = section("ziggurat_settings", &[&format!("token_counter: {other}")]);
        assert_eq!(
            findings(&text),
            "config.yaml:7:18: error: ziggurat_settings.token_counter: expected `by_length`, `exact` or `at_most_bytes`\n",
            "{other}"
        );
    }
}

#[cfg(not(feature = "tiktoken"))]
#[test]
fn a_build_without_vocabularies_says_so() {
    assert_eq!(
        findings(&section("ziggurat_settings", &["token_counter: exact"])),
        "config.yaml:7:18: error: ziggurat_settings.token_counter: expected `by_length` or `at_most_bytes` (for `exact`, this build lacks the feature `tiktoken`)\n"
    );
}

#[test]
fn our_own_settings_are_checked() {
    let cases = [
        ("uncapped: clamp", "7:13", "uncapped", "expected `reserve`, `clamp:<tokens>` or `refuse`"),
        ("uncapped: clamp:0", "7:13", "uncapped", "expected `reserve`, `clamp:<tokens>` or `refuse`"),
        ("uncapped: extend", "7:13", "uncapped", "expected `reserve`, `clamp:<tokens>` or `refuse`"),
        (
            "uncapped_streams: clamp:-5",
            "7:21",
            "uncapped_streams",
            "expected `extend`, `reserve`, `clamp:<tokens>` or `refuse`",
        ),
        ("unpriced: maybe", "7:13", "unpriced", "expected `refuse` or `allow`"),
        (
            "on_disconnect: drain:0",
            "7:18",
            "on_disconnect",
            "expected `cancel`, `drain` or `drain:<seconds>`",
        ),
        (
            "on_disconnect: drain:1e30",
            "7:18",
            "on_disconnect",
            "expected `cancel`, `drain` or `drain:<seconds>`",
        ),
        ("hold_ttl: 0", "7:13", "hold_ttl", "expected a positive number of seconds"),
        ("ledger: ''", "7:11", "ledger", "is empty"),
        ("token_counter: 7", "7:18", "token_counter", "expected a string, found a number: put it in quotes"),
        ("leger: x", "7:3", "leger", "unknown key, did you mean `ledger`?"),
    ];
    for (line, place, key, message) in cases {
        let expected = format!("config.yaml:{place}: error: ziggurat_settings.{key}: {message}\n");
        assert_eq!(findings(&section("ziggurat_settings", &[line])), expected, "{line}");
    }
}

#[test]
fn files_stand_beside_the_file_that_names_them() {
    let text = section("ziggurat_settings", &["ledger: spend.db"]);
    let (config, _) = Config::parse(&text, "/etc/ziggurat/config.yaml", &env).expect("is valid");
    assert_eq!(config.spending.ledger, Some(LedgerAt::File("/etc/ziggurat/spend.db".into())));
}

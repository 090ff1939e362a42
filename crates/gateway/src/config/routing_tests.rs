//! What is said about retries, cooldowns, fallbacks and what else is about finding the way.

use std::time::Duration;

use ziggurat_catalog::BasisPoints;
use ziggurat_core::{Usd, Window};

use super::routing::{
    Affinity, ByCause, Fallback, RetryBudget, Shadow, Strategy, StrategyArgs, Streams, TagRouting, Timeouts,
};
use super::tests::{env, print};
use super::*;

/// Models `a`, `b`, `c`, `x/y`, `w/*` and the alias `short` of `a`; the first free line is 12.
const MODELS: &str = "model_list:
  - {model_name: a, litellm_params: {model: openai/a, api_key: k}}
  - {model_name: a, litellm_params: {model: openai/a2, api_key: k}, model_info: {id: spare-1}}
  - {model_name: b, litellm_params: {model: openai/b, api_key: k}}
  - {model_name: c, litellm_params: {model: openai/c, api_key: k}}
  - {model_name: x/y, litellm_params: {model: openai/y, api_key: k}}
  - {model_name: 'w/*', litellm_params: {model: 'openai/*', api_key: k}}
  - model_name: long-name
    litellm_params: {model: openai/l, api_key: k}
router_settings:
  model_group_alias: {short: a}
";

/// Lines of `router_settings`, which begin on line 12; what is not indented begins another section.
fn with(lines: &str) -> String {
    format!("{MODELS}{lines}\n")
}

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

fn group(name: &str) -> Fallback {
    Fallback::Group(name.to_owned())
}

const fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn what_is_not_said_is_left_open() {
    let (config, warnings) = parse(MODELS);
    assert_eq!(warnings, "");
    let routing = &config.routing;
    assert_eq!(routing.strategy, Strategy::Shuffle);
    assert_eq!((routing.retries.most, routing.retries.wait), (None, None));
    assert_eq!((routing.cooldowns.time, routing.cooldowns.disabled), (None, false));
    assert_eq!(routing.timeouts, Timeouts::default());
    assert!(routing.fallbacks.general.of.is_empty() && routing.fallbacks.general.others.is_empty());
    assert_eq!(routing.affinity, Affinity::default());
    assert_eq!(routing.tags, TagRouting { enabled: false, all: false });
    let deployment = &config.deployments[0].routing;
    assert_eq!((deployment.weight, deployment.order, deployment.is_probed), (None, None, true));
}

#[test]
fn the_settings_of_the_router_are_read() {
    let text = with(
        "  routing_strategy: latency-based-routing
  routing_strategy_args: {ttl: 60, lowest_latency_buffer: 0.5}
  num_retries: 3
  retry_after: 0
  retry_policy: {RateLimitErrorRetries: 4, DefaultRetries: 1, NotFoundErrorRetries: 0}
  model_group_retry_policy: {short: {TimeoutErrorRetries: 10}, w/*: {BadRequestErrorRetries: 1}}
  allowed_fails: 0
  allowed_fails_policy: {InternalServerErrorAllowedFails: 100, BadGatewayErrorAllowedFails: 7}
  cooldown_time: 0.5
  disable_cooldowns: true
  timeout: os.environ/TIMEOUT
  stream_timeout: 20
  enable_pre_call_checks: true
  optional_pre_call_checks: [prompt_caching, session_affinity, enforce_model_rate_limits]
  enable_tag_filtering: true
  tag_filtering_match_any: false
  enable_weighted_failover: true
  max_fallbacks: 0",
    );
    let (config, warnings) = parse(&text);
    assert_eq!(warnings, "");
    let routing = &config.routing;
    assert_eq!(routing.strategy, Strategy::LowestLatency);
    let args = StrategyArgs { ttl: seconds(60), latency_buffer: Some(0.5) };
    assert_eq!(routing.strategy_args, args);
    assert_eq!((routing.retries.most, routing.retries.wait), (Some(3), seconds(0)));
    let policy = ByCause { rate_limit: Some(4), other: Some(1), not_found: Some(0), ..ByCause::default() };
    assert_eq!(routing.retries.by_cause, policy);
    let groups: Vec<_> = routing.retries.by_group.iter().map(|(name, by)| (name.as_str(), *by)).collect();
    let expected = [
        ("short", ByCause { timeout: Some(10), ..ByCause::default() }),
        ("w/*", ByCause { bad_request: Some(1), ..ByCause::default() }),
    ];
    assert_eq!(groups, expected);
    let cooldowns = &routing.cooldowns;
    assert!(cooldowns.disabled);
    assert_eq!((cooldowns.time, cooldowns.allowed_fails), (Some(Duration::from_millis(500)), Some(0)));
    let policy = ByCause { internal: Some(100), bad_gateway: Some(7), ..ByCause::default() };
    assert_eq!(cooldowns.by_cause, policy);
    let attempt = Some(Duration::from_millis(2500));
    assert_eq!(routing.timeouts, Timeouts { attempt, stream: seconds(20), ..Timeouts::default() });
    assert!(routing.pre_call_checks);
    assert_eq!(routing.affinity, Affinity { prompt: true, session: true, key: false });
    assert_eq!(routing.tags, TagRouting { enabled: true, all: true });
    assert_eq!(routing.fallbacks.most, Some(0));
}

#[test]
fn our_own_settings_are_read() {
    let text = with(
        "ziggurat_settings:
  stream_hold: 0
  continue_streams: false
  first_token_timeout: 10
  idle_timeout: 20
  total_timeout: 30
  hedge_after: {short: 0.25, b: 2}
  retry_budget: {share: 0.2, per_second: 0.5}
  probes: {every: 15}
  shadow:
    - {group: a, to: b, share: 5%}
    - {group: w/*, to: w/z, share: 1, max_budget: 2.50, budget_duration: 1h}",
    );
    let (config, warnings) = parse(&text);
    assert_eq!(warnings, "");
    let routing = &config.routing;
    assert_eq!(routing.streams, Streams { hold: seconds(0), go_on: false });
    let timeouts =
        Timeouts { first_token: seconds(10), idle: seconds(20), total: seconds(30), ..Timeouts::default() };
    assert_eq!(routing.timeouts, timeouts);
    assert_eq!(routing.hedging.all, None);
    let hedged: Vec<_> =
        routing.hedging.of.iter().map(|(name, after)| (name.as_str(), after.as_millis())).collect();
    assert_eq!(hedged, [("b", 2000), ("short", 250)]);
    let share = |points| BasisPoints::new(points).unwrap();
    assert_eq!(
        routing.retries.budget,
        Some(RetryBudget { share: Some(share(2000)), per_second: Some(5000) })
    );
    assert_eq!(routing.probe_every, seconds(15));
    let [first, second] = &routing.shadows[..] else { panic!() };
    let expected = Shadow { group: "a".into(), to: "b".into(), share: share(500), budget: None };
    assert_eq!(*first, expected);
    assert_eq!((second.group.as_str(), second.to.as_str(), second.share), ("w/*", "w/z", share(10_000)));
    let (cap, window) = second.budget.clone().unwrap();
    assert_eq!(cap, Usd::cents(250));
    assert_ne!(window, Window::Lifetime);
    let (config, _) = parse(&with("ziggurat_settings: {hedge_after: 1.5, retry_budget: {}}"));
    assert_eq!(config.routing.hedging.all, Some(Duration::from_millis(1500)));
    assert_eq!(config.routing.retries.budget, Some(RetryBudget { share: None, per_second: None }));
}

#[test]
fn a_deployments_own_settings_are_read() {
    let text = "model_list:
  - model_name: a
    litellm_params:
      model: openai/a
      api_key: k
      weight: 0.5
      order: 2
      tags: [default, 'paid']
      max_retries: 4
      cooldown_time: 9
      allowed_fails: 9
    model_info:
      cooldown_time: 0
      allowed_fails_policy: {RateLimitErrorAllowedFails: 3}
      disable_background_health_check: true
";
    let (config, warnings) = parse(text);
    assert_eq!(warnings, "");
    let read = &config.deployments[0].routing;
    assert_eq!((read.weight, read.order, read.retries), (Some(0.5), Some(2), Some(4)));
    assert_eq!(read.tags, ["default", "paid"]);
    assert_eq!((read.cooldown, read.allowed_fails, read.is_probed), (seconds(0), Some(9), false));
    assert_eq!(read.allowed_fails_by_cause, ByCause { rate_limit: Some(3), ..ByCause::default() });
    // None of it is sent to the provider.
    assert_eq!(config.deployments[0].extra.len(), 0);
    let (config, _) = parse(&text.replace("order: 2", "num_retries: 1"));
    assert_eq!(config.deployments[0].routing.retries, Some(1));
}

#[test]
fn lists_of_fallbacks_are_read() {
    let text = with(
        "  fallbacks: [{a: [b, x/y]}, {short: [w/any]}, {w/other: [spare-1]}, {'w/*': [c]}]
  default_fallbacks: [c]
  context_window_fallbacks: [{b: [a]}, {'*': [c, short]}]
  content_policy_fallbacks: []
litellm_settings:
  max_fallbacks: 3",
    );
    let (config, warnings) = parse(&text);
    let expected = "config.yaml:14:35: warning: router_settings.context_window_fallbacks[0].b[0]: leads in a circle over lists of several causes: a -> b -> a\n";
    assert_eq!(warnings, expected);
    let fallbacks = &config.routing.fallbacks;
    let lists: Vec<_> =
        fallbacks.general.of.iter().map(|(name, list)| (name.as_str(), list.as_slice())).collect();
    let expected = [
        ("a", &[group("b"), group("x/y")][..]),
        ("short", &[group("w/any")]),
        ("w/*", &[group("c")]),
        ("w/other", &[Fallback::Deployment("spare-1".into())]),
    ];
    assert_eq!(lists, expected);
    assert_eq!(fallbacks.general.others, [group("c")]);
    assert_eq!(fallbacks.context_window.of["b"], [group("a")]);
    assert_eq!(fallbacks.context_window.others, [group("c"), group("short")]);
    assert!(fallbacks.content_policy.of.is_empty() && fallbacks.content_policy.others.is_empty());
    assert_eq!(fallbacks.most, Some(3));
}

#[test]
fn an_empty_list_keeps_a_group_from_the_default() {
    let (config, warnings) = parse(&with("  fallbacks: [{a: []}]\n  default_fallbacks: [c]"));
    assert_eq!(warnings, "");
    let general = &config.routing.fallbacks.general;
    assert_eq!((&general.of["a"][..], &general.others[..]), (&[][..], &[group("c")][..]));
}

#[test]
fn the_router_goes_before_litellm() {
    let text = with(
        "  num_retries: 3
  cooldown_time: 7
  fallbacks: []
  context_window_fallbacks: [{a: [b]}]
  default_fallbacks: [b]
litellm_settings:
  num_retries: 5
  cooldown_time: 7
  allowed_fails: 2
  fallbacks: [{a: [c]}, {'*': [a]}]
  context_window_fallbacks: [{a: [c]}]",
    );
    let (config, warnings) = parse(&text);
    let expected = "config.yaml:16:22: warning: router_settings.default_fallbacks: goes before the list of `*` in `fallbacks`
config.yaml:18:16: warning: litellm_settings.num_retries: `router_settings.num_retries` says otherwise, and goes before
config.yaml:22:29: warning: litellm_settings.context_window_fallbacks: `router_settings.context_window_fallbacks` says otherwise, and goes before\n";
    assert_eq!(warnings, expected);
    let routing = &config.routing;
    assert_eq!((routing.retries.most, routing.cooldowns.time), (Some(3), seconds(7)));
    assert_eq!(routing.cooldowns.allowed_fails, Some(2));
    assert_eq!(routing.fallbacks.general.of["a"], [group("c")]);
    assert_eq!(routing.fallbacks.general.others, [group("b")]);
    assert_eq!(routing.fallbacks.context_window.of["a"], [group("b")]);
}

#[test]
fn faults_are_reported_with_place_and_key() {
    let cases = [
        ("  routing_strategy: least-bussy", "12:21: error: router_settings.routing_strategy: unknown strategy, did you mean `least-busy`?"),
        ("  routing_strategy: mine", "12:21: error: router_settings.routing_strategy: unknown strategy"),
        ("  routing_strategy: lar1", "12:21: warning: router_settings.routing_strategy: known to LiteLLM, not supported yet: ignored"),
        ("  routing_strategy_args: {ttl: 5}", "12:32: warning: router_settings.routing_strategy_args.ttl: this `routing_strategy` does not heed it"),
        ("  routing_strategy_args: {tll: 5}", "12:27: error: router_settings.routing_strategy_args.tll: unknown key, did you mean `ttl`?"),
        ("  routing_strategy: usage-based-routing-v2\n  routing_strategy_args: {ttl: 5}", "13:32: warning: router_settings.routing_strategy_args.ttl: this `routing_strategy` does not heed it"),
        ("  routing_strategy: latency-based-routing\n  routing_strategy_args: {ttft_percentile: 0.9}", "13:27: warning: router_settings.routing_strategy_args.ttft_percentile: known to LiteLLM, not supported yet: ignored"),
        ("  routing_strategy: latency-based-routing\n  routing_strategy_args: {max_latency_list_size: 20}", "13:27: warning: router_settings.routing_strategy_args.max_latency_list_size: known to LiteLLM, not supported yet: ignored"),
        ("  deployment_affinity_ttl_seconds: 90", "12:3: warning: router_settings.deployment_affinity_ttl_seconds: known to LiteLLM, not supported yet: ignored"),
        ("  routing_strategy: latency-based-routing\n  routing_strategy_args: {lowest_latency_buffer: -0.1}", "13:50: error: router_settings.routing_strategy_args.lowest_latency_buffer: expected a number, zero or more"),
        ("  num_retries: 11", "12:16: error: router_settings.num_retries: expected a whole number from 0 to 10"),
        ("  num_retries: -1", "12:16: error: router_settings.num_retries: expected a whole number from 0 to 10"),
        ("  num_retries: 1.5", "12:16: error: router_settings.num_retries: expected a whole number from 0 to 10"),
        ("  num_retries: .nan", "12:16: error: router_settings.num_retries: expected a number, found a string"),
        ("  allowed_fails: -1", "12:18: error: router_settings.allowed_fails: expected a whole number, zero or more"),
        ("  max_fallbacks: 0.5", "12:18: error: router_settings.max_fallbacks: expected a whole number, zero or more"),
        ("  cooldown_time: -1", "12:18: error: router_settings.cooldown_time: expected a number of seconds, zero or more"),
        ("  cooldown_time: .inf", "12:18: error: router_settings.cooldown_time: expected a number, found a string"),
        ("  retry_after: -0.1", "12:16: error: router_settings.retry_after: expected a number of seconds, zero or more"),
        ("  timeout: 0", "12:12: error: router_settings.timeout: expected a positive number of seconds"),
        ("  retry_policy: {RateLimitRetries: 1}", "12:18: error: router_settings.retry_policy.RateLimitRetries: unknown key"),
        ("  retry_policy: {RateLimitErrorRetry: 1}", "12:18: error: router_settings.retry_policy.RateLimitErrorRetry: unknown key, did you mean `RateLimitErrorRetries`?"),
        ("  retry_policy: {DefaultRetries: 50}", "12:34: error: router_settings.retry_policy.DefaultRetries: expected a whole number from 0 to 10"),
        ("  retry_policy: 3", "12:17: error: router_settings.retry_policy: expected a mapping, found a number"),
        ("  model_group_retry_policy: {d: {DefaultRetries: 1}}", "12:30: error: router_settings.model_group_retry_policy.d: is no model of `model_list`, and would never apply, did you mean `a`?"),
        ("  model_group_retry_policy: {a: 1}", "12:33: error: router_settings.model_group_retry_policy.a: expected a mapping, found a number"),
        ("  allowed_fails_policy: {TimeoutErrorAllowedFails: -2}", "12:52: error: router_settings.allowed_fails_policy.TimeoutErrorAllowedFails: expected a whole number, zero or more"),
        ("  optional_pre_call_checks: [prompt_cachin]", "12:30: error: router_settings.optional_pre_call_checks[0]: unknown check, did you mean `prompt_caching`?"),
        ("  optional_pre_call_checks: [encrypted_content_affinity]", "12:30: warning: router_settings.optional_pre_call_checks[0]: known to LiteLLM, not supported yet: ignored"),
        ("  optional_pre_call_checks: [router_budget_limiting]", "12:30: error: router_settings.optional_pre_call_checks[0]: known to LiteLLM, not supported yet: refusing to run without it"),
        ("  enable_tag_filtering: 1", "12:25: error: router_settings.enable_tag_filtering: expected a boolean, found a number"),
        ("ziggurat_settings: {stream_hold: -1}", "12:34: error: ziggurat_settings.stream_hold: expected a number of seconds, zero or more"),
        ("ziggurat_settings: {total_timeout: 0}", "12:36: error: ziggurat_settings.total_timeout: expected a positive number of seconds"),
        ("ziggurat_settings: {hedge_after: soon}", "12:34: error: ziggurat_settings.hedge_after: expected a number of seconds, found a string"),
        ("ziggurat_settings: {hedge_after: {a: -1}}", "12:38: error: ziggurat_settings.hedge_after.a: expected a positive number of seconds"),
        ("ziggurat_settings: {hedge_after: {nobody: 1}}", "12:35: error: ziggurat_settings.hedge_after.nobody: is no model of `model_list`, and would never apply"),
        ("ziggurat_settings: {retry_budget: {share: 1.5}}", "12:43: error: ziggurat_settings.retry_budget.share: expected a share such as 0.05, between 0 and 1 and with 4 decimals at most"),
        ("ziggurat_settings: {retry_budget: {per_second: -1}}", "12:48: error: ziggurat_settings.retry_budget.per_second: expected a number, zero or more and with 4 decimals at most"),
        ("ziggurat_settings: {retry_budget: {per_second: 0.00001}}", "12:48: error: ziggurat_settings.retry_budget.per_second: expected a number, zero or more and with 4 decimals at most"),
        ("ziggurat_settings: {retry_budget: {per_second: 1e30}}", "12:48: error: ziggurat_settings.retry_budget.per_second: expected a number, zero or more and with 4 decimals at most"),
        ("ziggurat_settings: {retry_budget: {per_second: often}}", "12:48: error: ziggurat_settings.retry_budget.per_second: expected a number, zero or more and with 4 decimals at most"),
        ("ziggurat_settings: {retry_budget: {per_second: [1]}}", "12:48: error: ziggurat_settings.retry_budget.per_second: expected a number such as 0.5, found a list"),
        ("ziggurat_settings: {retry_budget: {share: 0.00001}}", "12:43: error: ziggurat_settings.retry_budget.share: expected a share such as 0.05, between 0 and 1 and with 4 decimals at most"),
        ("ziggurat_settings: {probes: {every: 0}}", "12:37: error: ziggurat_settings.probes.every: expected a positive number of seconds"),
        ("ziggurat_settings: {probes: 5}", "12:29: error: ziggurat_settings.probes: expected a mapping, found a number"),
        ("ziggurat_settings: {shadow: [5]}", "12:30: error: ziggurat_settings.shadow[0]: expected a mapping, found a number"),
        ("ziggurat_settings: {shadow: [{group: a, to: short, share: 1}]}", "12:45: error: ziggurat_settings.shadow[0].to: is the group that it is the shadow of"),
        ("ziggurat_settings: {shadow: [{group: q, to: spare-1, share: -1}]}", "12:38: error: ziggurat_settings.shadow[0].group: is no model of `model_list`, and would never apply, did you mean `a`?
config.yaml:12:45: error: ziggurat_settings.shadow[0].to: is the id of a deployment, where a model is expected
config.yaml:12:61: error: ziggurat_settings.shadow[0].share: expected a share such as 0.05, between 0 and 1 and with 4 decimals at most"),
        ("ziggurat_settings: {shadow: [{group: a, to: b}]}", "12:30: error: ziggurat_settings.shadow[0]: missing key `share`"),
        ("ziggurat_settings: {shadow: [{group: a, to: b, share: 1, budget_duration: 1d}]}", "12:75: warning: ziggurat_settings.shadow[0].budget_duration: there is no `max_budget` that it is the duration of"),
    ];
    for (lines, expected) in cases {
        assert_eq!(findings(&with(lines)), format!("config.yaml:{expected}\n"), "{lines}");
    }
    let deployment = [
        ("weight: -0.5", "expected a number, zero or more"),
        ("weight: .inf", "expected a number, found a string"),
        ("weight: .nan", "expected a number, found a string"),
        ("order: -1", "expected a whole number, zero or more"),
        ("num_retries: 99", "expected a whole number from 0 to 10"),
        ("max_retries: 99", "expected a whole number from 0 to 10"),
        ("cooldown_time: -1", "expected a number of seconds, zero or more"),
        ("allowed_fails: 1.5", "expected a whole number, zero or more"),
        ("tags: paid", "expected a list, found a string"),
    ];
    for (line, message) in deployment {
        let (key, _) = line.split_once(':').unwrap();
        let text = super::tests::one(&format!("      {line}\n"));
        let place = format!("config.yaml:6:{}: error: model_list[0].litellm_params.{key}", 9 + key.len());
        assert_eq!(findings(&text), format!("{place}: {message}\n"));
    }
}

#[test]
fn fallbacks_that_lead_nowhere_are_reported() {
    let cases = [
        (
            "[{a: [long-nam]}]",
            "12:20: error: router_settings.fallbacks[0].a[0]: leads to no model of `model_list`, did you mean `long-name`?",
        ),
        (
            "[{a: [w/*]}]",
            "12:20: error: router_settings.fallbacks[0].a[0]: is a wildcard: name a model that it matches",
        ),
        (
            "[{long_name: [a]}]",
            "12:16: error: router_settings.fallbacks[0].long_name: is no model of `model_list`, and would never apply, did you mean `long-name`?",
        ),
        (
            "[{\"*\": []}]",
            "12:21: warning: router_settings.fallbacks[0].(name not shown): is empty: there is nothing to fall back to",
        ),
        (
            "[{a: b}]",
            "12:19: error: router_settings.fallbacks[0].a: expected a list of model groups, found a string",
        ),
        (
            "[{a: [1]}]",
            "12:20: error: router_settings.fallbacks[0].a[0]: expected the name of a model group, found a number",
        ),
        (
            "[{a: [{model: b}]}]",
            "12:20: error: router_settings.fallbacks[0].a[0]: expected the name of a model group, found a mapping",
        ),
        (
            "[b, c]",
            "12:15: error: router_settings.fallbacks[0]: expected a mapping of a model group to its fallbacks, found a string\nconfig.yaml:12:18: error: router_settings.fallbacks[1]: expected a mapping of a model group to its fallbacks, found a string",
        ),
        (
            "[{a: [b], b: [c]}]",
            "12:15: error: router_settings.fallbacks[0]: expected one model group with its fallbacks, found 2",
        ),
        ("{a: [b]}", "12:14: error: router_settings.fallbacks: expected a list, found a mapping"),
        (
            "[{a: [b]}, {a: [c]}]",
            "12:26: warning: router_settings.fallbacks[1].a: is never reached: the list on line 12 goes before",
        ),
        ("[{a: [c, a]}]", "12:23: error: router_settings.fallbacks[0].a[1]: leads in a circle: a -> a"),
        ("[{short: [a]}]", "12:24: error: router_settings.fallbacks[0].short[0]: leads in a circle: a -> a"),
        (
            "[{a: [b]}, {b: [x/y]}, {x/y: [c, short]}]",
            "12:47: error: router_settings.fallbacks[2].(name not shown)[1]: leads in a circle: a -> b -> x/y -> a",
        ),
        (
            "[{c: [a]}, {a: [b]}, {b: [a]}]",
            "12:40: error: router_settings.fallbacks[2].b[0]: leads in a circle: a -> b -> a",
        ),
        (
            "[{a: [sk-canary]}, {sk-canary: [a]}]",
            "12:20: error: router_settings.fallbacks[0].a[0]: leads to no model of `model_list`\nconfig.yaml:12:34: error: router_settings.fallbacks[1].(name not shown): is no model of `model_list`, and would never apply",
        ),
    ];
    for (list, expected) in cases {
        let text = with(&format!("  fallbacks: {list}"));
        assert_eq!(findings(&text), format!("config.yaml:{expected}\n"), "{list}");
    }
    let cases = [
        (
            "  context_window_fallbacks: [{a: [b]}, {b: [a]}]",
            "12:45: error: router_settings.context_window_fallbacks[1].b[0]: leads in a circle: a -> b -> a",
        ),
        (
            "litellm_settings: {content_policy_fallbacks: [{a: [d]}]}",
            "12:52: error: litellm_settings.content_policy_fallbacks[0].a[0]: leads to no model of `model_list`, did you mean `a`?",
        ),
        (
            "litellm_settings: {default_fallbacks: [d]}",
            "12:40: error: litellm_settings.default_fallbacks[0]: leads to no model of `model_list`, did you mean `a`?",
        ),
        (
            "litellm_settings: {default_fallbacks: [{a: b}]}",
            "12:39: error: litellm_settings.default_fallbacks: expected a list of strings, found a mapping in it",
        ),
    ];
    for (lines, expected) in cases {
        let found = findings(&with(lines));
        assert!(found.starts_with(&format!("config.yaml:{expected}\n")), "{lines}\n{found}");
    }
}

#[test]
fn a_long_way_of_fallbacks_is_followed_to_its_end() {
    let mut text = "model_list:\n".to_owned();
    for index in 0..500 {
        text += &format!("- {{model_name: m{index}, litellm_params: {{model: openai/m, api_key: k}}}}\n");
    }
    text += "router_settings:\n  fallbacks:\n";
    for index in 0..499 {
        text += &format!("  - m{index}: [m{}]\n", index + 1);
    }
    assert_eq!(parse(&text).0.routing.fallbacks.general.of.len(), 499);
    let found = findings(&format!("{text}  - m499: [m0]\n"));
    assert!(found.starts_with("config.yaml:1003:12: error: router_settings.fallbacks[499].m499[0]: leads in a circle: m0 -> m1 -> m2"));
    assert!(found.ends_with("-> m499 -> m0\n"));
}

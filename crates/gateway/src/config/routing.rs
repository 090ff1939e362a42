//! How calls find their way: strategies, retries, cooldowns, timeouts, fallbacks, and what stands in LiteLLM's `router_settings`.
//!
//! `router_settings` go before `litellm_settings`, as in LiteLLM; where both say something else, that is reported.

mod deployment;
mod fallbacks;
mod keys;
mod ours;
mod strategy;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use self::deployment::DeploymentRouting;
pub(crate) use self::fallbacks::{Fallback, FallbackLists, Fallbacks};
pub(crate) use self::ours::{Hedging, RetryBudget, Shadow, Streams};
pub(crate) use self::strategy::{Strategy, StrategyArgs};

use self::fallbacks::Names;
use self::keys::{ALLOWED_FAILS_POLICY, RETRY_POLICY};
use super::Config;
use super::check::{IGNORED, REFUSED, check};
use super::diagnostic::Report;
use super::keys::{OPEN, Section};
use super::nearest::nearest;
use super::node::{Node, Value};
use super::value::{pause, seconds, up_to};

/// How calls find their way to a deployment, and past those that fail. What is `None` is left to whoever follows it.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// `routing_strategy`: which deployment of a group is called.
    pub(crate) strategy: Strategy,
    /// `routing_strategy_args`.
    pub(crate) strategy_args: StrategyArgs,
    /// What is tried again.
    pub(crate) retries: Retries,
    /// When a deployment is left alone.
    pub(crate) cooldowns: Cooldowns,
    /// How long a call may take.
    pub(crate) timeouts: Timeouts,
    /// Which groups stand in for one that fails.
    pub(crate) fallbacks: Fallbacks,
    /// `enable_pre_call_checks`: whether deployments are left out whose window is too small for the call.
    pub(crate) pre_call_checks: bool,
    /// Whose calls stay at the deployment that they were at.
    pub(crate) affinity: Affinity,
    /// Whether a call's tags choose among the deployments of its group.
    pub(crate) tags: TagRouting,
    /// How streams begin, and go on after a failure.
    pub(crate) streams: Streams,
    /// When a second deployment is asked beside the first.
    pub(crate) hedging: Hedging,
    /// Which calls are also made elsewhere, to compare the answers.
    pub(crate) shadows: Vec<Shadow>,
    /// `ziggurat_settings.probes.every`: how often deployments that cool down are asked whether they are back.
    pub(crate) probe_every: Option<Duration>,
}

/// What is tried again.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    /// `num_retries`: how often, at most; LiteLLM's default is 2.
    pub(crate) most: Option<u32>,
    /// `retry_after`: the shortest wait; LiteLLM's default is none.
    pub(crate) wait: Option<Duration>,
    /// `retry_policy`: how often, by cause; goes before `most`.
    pub(crate) by_cause: ByCause,
    /// `model_group_retry_policy`: the same for single groups, by their name; goes before `by_cause`.
    pub(crate) by_group: BTreeMap<String, ByCause>,
    /// `ziggurat_settings.retry_budget`: how much of the load retries may be.
    pub(crate) budget: Option<RetryBudget>,
}

/// When a deployment is left alone, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Cooldowns {
    /// `disable_cooldowns`.
    pub(crate) disabled: bool,
    /// `cooldown_time`: for how long, where the provider does not say; zero is none. LiteLLM's default is 5 seconds.
    pub(crate) time: Option<Duration>,
    /// `allowed_fails`: how many failures are borne, where the file says so.
    pub(crate) allowed_fails: Option<u32>,
    /// `allowed_fails_policy`: the same by cause; goes before `allowed_fails`.
    pub(crate) by_cause: ByCause,
}

/// A number for each of LiteLLM's kinds of failure, where the file gives one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByCause {
    /// `BadRequestError`: 400, 413, 422.
    pub(crate) bad_request: Option<u32>,
    /// `AuthenticationError`: 401, 403.
    pub(crate) authentication: Option<u32>,
    /// `NotFoundError`: 404.
    pub(crate) not_found: Option<u32>,
    /// `TimeoutError`: 408, 504, and our own deadlines.
    pub(crate) timeout: Option<u32>,
    /// `RateLimitError`: 429.
    pub(crate) rate_limit: Option<u32>,
    /// `ContentPolicyViolationError`.
    pub(crate) content_policy: Option<u32>,
    /// `InternalServerError`: 500.
    pub(crate) internal: Option<u32>,
    /// `ServiceUnavailableError`: 503, 529.
    pub(crate) unavailable: Option<u32>,
    /// `BadGatewayError`: 502; a policy of retries has none.
    pub(crate) bad_gateway: Option<u32>,
    /// `DefaultRetries`: all others; a policy of allowed failures has none.
    pub(crate) other: Option<u32>,
}

/// How long a call may take. A deployment's own go before these; `litellm_settings.request_timeout` comes after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// `router_settings.timeout`: an attempt.
    pub(crate) attempt: Option<Duration>,
    /// `router_settings.stream_timeout`: an attempt at a stream.
    pub(crate) stream: Option<Duration>,
    /// `ziggurat_settings.first_token_timeout`: until the first content.
    pub(crate) first_token: Option<Duration>,
    /// `ziggurat_settings.idle_timeout`: between two events of a stream.
    pub(crate) idle: Option<Duration>,
    /// `ziggurat_settings.total_timeout`: the call with all of its attempts.
    pub(crate) total: Option<Duration>,
}

/// `optional_pre_call_checks`: whose calls stay at the deployment that they were at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// `prompt_caching`: those that begin with the same cached prompt.
    pub(crate) prompt: bool,
    /// `session_affinity`: those of one session.
    pub(crate) session: bool,
    /// `deployment_affinity`: those of one key.
    pub(crate) key: bool,
}

/// Whether a call's tags choose among the deployments of its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TagRouting {
    /// `enable_tag_filtering`.
    pub(crate) enabled: bool,
    /// `tag_filtering_match_any`, the other way round: whether a deployment needs all tags of the call, not one of them.
    pub(crate) all: bool,
}

/// The sections that speak of routing.
struct Settings<'n> {
    root: &'n Node,
}

// ===== impl Routing =====

impl Routing {
    /// Reads it from the whole file, whose deployments and aliases are in `config`.
    pub(super) fn read(root: &Node, config: &Config, report: &mut Report) -> Self {
        let settings = Settings { root };
        let names = Names::new(config);
        let router = |key: &str| settings.of("router_settings", key);
        let flag = |key: &str| router(key).and_then(Node::flag);
        let ours = |key: &str| settings.of("ziggurat_settings", key);
        let strategy = Strategy::read(router("routing_strategy"), report);
        Self {
            strategy,
            strategy_args: StrategyArgs::read(router("routing_strategy_args"), strategy, report),
            retries: Retries::read(&settings, &names, report),
            cooldowns: Cooldowns {
                disabled: flag("disable_cooldowns") == Some(true),
                time: pause(settings.either("cooldown_time", report), report),
                allowed_fails: up_to(u32::MAX, settings.either("allowed_fails", report), report),
                by_cause: ByCause::allowed_fails(router("allowed_fails_policy"), report),
            },
            timeouts: Timeouts {
                attempt: seconds(router("timeout"), report),
                stream: seconds(router("stream_timeout"), report),
                first_token: seconds(ours("first_token_timeout"), report),
                idle: seconds(ours("idle_timeout"), report),
                total: seconds(ours("total_timeout"), report),
            },
            fallbacks: Fallbacks::read(&settings, &names, report),
            pre_call_checks: flag("enable_pre_call_checks") == Some(true),
            affinity: Affinity::read(&settings, report),
            tags: TagRouting {
                enabled: flag("enable_tag_filtering") == Some(true),
                all: flag("tag_filtering_match_any") == Some(false),
            },
            streams: Streams::read(&settings, report),
            hedging: Hedging::read(ours("hedge_after"), &names, report),
            shadows: Shadow::read_all(&settings, &names, report),
            probe_every: ours::read_probes(ours("probes"), report),
        }
    }
}

/// Reports a word that is not known here: LiteLLM's own get a warning.
fn unknown<'w>(
    what: &str,
    node: &Node,
    word: &str,
    known: impl Iterator<Item = &'w str>,
    later: &[&'w str],
    report: &mut Report,
) {
    if later.contains(&word) {
        report.warning(&node.at, &node.path, IGNORED);
        return;
    }
    let near = nearest(word, known.chain(later.iter().copied()));
    let near = near.map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
    report.error(&node.at, &node.path, format!("unknown {what}{near}"));
}

/// A mapping whose keys were held against their table; what is no mapping has been reported.
fn mapping<'n>(node: Option<&'n Node>, section: &Section, report: &mut Report) -> Option<&'n Node> {
    let node = node.filter(|node| matches!(node.value, Value::Map(_)))?;
    check(node, section, report);
    Some(node)
}

// ===== impl Retries =====

impl Retries {
    fn read(settings: &Settings<'_>, names: &Names<'_>, report: &mut Report) -> Self {
        let router = |key: &str| settings.of("router_settings", key);
        let groups = mapping(router("model_group_retry_policy"), &OPEN, report);
        let mut by_group = BTreeMap::new();
        for entry in groups.map_or(&[][..], Node::entries) {
            names.check_group(&entry.key, &entry.at, &entry.node.path, report);
            check(&entry.node, &RETRY_POLICY, report);
            by_group.insert(entry.key.clone(), ByCause::of(&entry.node, "Retries", MOST_RETRIES, report));
        }
        let policy = mapping(router("retry_policy"), &RETRY_POLICY, report);
        Self {
            most: up_to(MOST_RETRIES, settings.either("num_retries", report), report),
            wait: pause(router("retry_after"), report),
            by_cause: policy
                .map_or_else(ByCause::default, |node| ByCause::of(node, "Retries", MOST_RETRIES, report)),
            by_group,
            budget: RetryBudget::read(settings.of("ziggurat_settings", "retry_budget"), report),
        }
    }
}

// ===== impl ByCause =====

impl ByCause {
    /// Reads an `allowed_fails_policy`.
    fn allowed_fails(node: Option<&Node>, report: &mut Report) -> Self {
        let node = mapping(node, &ALLOWED_FAILS_POLICY, report);
        node.map_or_else(Self::default, |node| Self::of(node, "AllowedFails", u32::MAX, report))
    }

    fn of(node: &Node, what: &str, most: u32, report: &mut Report) -> Self {
        let mut of = |cause: &str| up_to(most, node.get(&format!("{cause}{what}")), report);
        Self {
            bad_request: of("BadRequestError"),
            authentication: of("AuthenticationError"),
            not_found: of("NotFoundError"),
            timeout: of("TimeoutError"),
            rate_limit: of("RateLimitError"),
            content_policy: of("ContentPolicyViolationError"),
            internal: of("InternalServerError"),
            unavailable: of("ServiceUnavailableError"),
            bad_gateway: of("BadGatewayError"),
            other: of("Default"),
        }
    }
}

// ===== impl Affinity =====

impl Affinity {
    fn read(settings: &Settings<'_>, report: &mut Report) -> Self {
        let router = |key: &str| settings.of("router_settings", key);
        let mut affinity = Self::default();
        for node in router("optional_pre_call_checks").map_or(&[][..], Node::items) {
            match node.text() {
                Some("prompt_caching") => affinity.prompt = true,
                Some("session_affinity") => affinity.session = true,
                Some("deployment_affinity") => affinity.key = true,
                // A deployment's `rpm` and `tpm` hold in any case.
                Some("enforce_model_rate_limits") | None => {}
                // It would guard a budget.
                Some("router_budget_limiting") => report.error(&node.at, &node.path, REFUSED),
                Some(word) => {
                    unknown("check", node, word, CHECKS.into_iter(), &CHECKS_LATER, report);
                }
            }
        }
        affinity
    }
}

// ===== impl Settings =====

impl<'n> Settings<'n> {
    fn of(&self, section: &str, key: &str) -> Option<&'n Node> {
        self.root.get(section).and_then(|section| section.get(key))
    }

    /// What `router_settings` say, else `litellm_settings`; an empty list says nothing.
    fn either(&self, key: &str, report: &mut Report) -> Option<&'n Node> {
        let says = |node: &&Node| !matches!(&node.value, Value::List(items) if items.is_empty());
        let router = self.of("router_settings", key);
        let litellm = self.of("litellm_settings", key);
        let (Some(own), Some(other)) = (router.filter(says), litellm.filter(says)) else {
            return router.filter(says).or(litellm).or(router);
        };
        if own.to_json() != other.to_json() {
            let message = format!("`router_settings.{key}` says otherwise, and goes before");
            report.warning(&other.at, &other.path, message);
        }
        Some(own)
    }
}

/// LiteLLM's names of checks before a call.
const CHECKS: [&str; 5] = [
    "prompt_caching",
    "session_affinity",
    "deployment_affinity",
    "enforce_model_rate_limits",
    "router_budget_limiting",
];
const CHECKS_LATER: [&str; 3] =
    ["responses_api_deployment_check", "forward_client_headers_by_model_group", "encrypted_content_affinity"];

/// Each retry multiplies the load on what fails: more than these are no patience but an outage.
const MOST_RETRIES: u32 = 10;

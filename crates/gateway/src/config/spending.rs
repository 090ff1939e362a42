//! What may be spent and used, and how it is counted: budgets, limits, discounts, and `ziggurat_settings`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use http::StatusCode;
use ziggurat_budget::{ALERT_PERCENTS, Uncapped, Unpriced};
use ziggurat_catalog::BasisPoints;
use ziggurat_core::{Usd, Window};

use super::budgets::{TagAllowance, read_cap, read_cap_within, read_percents, read_providers, read_tags};
use super::check::check;
use super::diagnostic::{Diagnostic, Position, Report, Severity};
use super::keys::{MARGIN, OPEN, ZIGGURAT_SETTINGS};
use super::node::{Node, Value};
use super::value::{amount, count, decimal, seconds, word};

/// How money is spent and counted.
#[derive(Debug)]
pub(crate) struct Spending {
    /// `litellm_settings.max_budget`, and what `budget_duration` and `timezone` make of its window.
    pub(crate) budget: Option<(Usd, Window)>,
    /// `litellm_settings.max_end_user_budget`: of each end user.
    pub(crate) end_users: Option<Usd>,
    /// `litellm_settings.tag_budget_config`: what each tag may that is named there.
    pub(crate) tags: BTreeMap<String, TagAllowance>,
    /// `router_settings.provider_budget_config`: the budget of each provider that is named there, by its id.
    pub(crate) providers: BTreeMap<String, (Usd, Window)>,
    /// `ziggurat_settings.alert_percents`: how much of a budget is spent when that is told.
    pub(crate) alert_percents: Vec<u8>,
    /// `litellm_settings.timezone`: in which budgets begin their days.
    pub(crate) timezone: String,
    /// `budget_exceeded_status_code`: how a call is refused that does not fit.
    pub(crate) refusal: StatusCode,
    /// `cost_discount_config`: what is taken off the costs of a provider.
    pub(crate) discounts: BTreeMap<String, BasisPoints>,
    /// `cost_margin_config`: what is put on top, by provider or `global`.
    pub(crate) margins: BTreeMap<String, Margin>,
    /// `include_cost_in_streaming_usage`: whether the usage of a stream tells its cost.
    pub(crate) cost_in_streams: bool,
    /// Where the ledger is kept, where the file says so.
    pub(crate) ledger: Option<LedgerAt>,
    /// How long a reservation lives that nobody settles.
    pub(crate) hold_ttl: Option<Duration>,
    /// What is set aside for an answer in one piece without a stated cap.
    pub(crate) uncapped: Uncapped,
    /// What is set aside for a stream without a stated cap.
    pub(crate) uncapped_streams: Uncapped,
    /// What happens to models without a price.
    pub(crate) unpriced: Unpriced,
    /// What becomes of a stream whose caller leaves.
    pub(crate) on_disconnect: OnDisconnect,
    /// How a call's input tokens are counted before its provider has stated them.
    pub(crate) token_counter: TokenCounter,
    /// Prices that go before the built-in ones.
    pub(crate) price_map: Option<(PathBuf, Place)>,
}

/// Where the ledger is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LedgerAt {
    /// In this process's memory.
    Memory,
    /// In a SQLite database of this process.
    File(PathBuf),
    /// On the Redis of the config, which several gateways share.
    Redis,
    /// In its PostgreSQL database, which they share too.
    Postgres,
}

/// What is put on top of a cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Margin {
    /// A share of it.
    pub(crate) share: BasisPoints,
    /// An amount for each call.
    pub(crate) fixed: Usd,
}

/// What becomes of a stream whose caller leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDisconnect {
    /// Its upstream is left too.
    Cancel,
    /// It is read on, for so long at most.
    Drain(Option<Duration>),
}

/// How input tokens are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TokenCounter {
    /// By the length of the text.
    #[default]
    ByLength,
    /// By OpenAI's vocabularies for its models, by length for others.
    #[cfg(feature = "tiktoken")]
    Exact,
    /// A token for each byte.
    AtMostBytes,
}

/// What a scope may use; what is `None` is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    /// `rpm`: calls a minute.
    pub(crate) requests: Option<u64>,
    /// `tpm`: tokens a minute.
    pub(crate) tokens: Option<u64>,
    /// `itpm`: input tokens a minute.
    pub(crate) input_tokens: Option<u64>,
    /// `otpm`: output tokens a minute.
    pub(crate) output_tokens: Option<u64>,
    /// `max_parallel_requests` and the like: calls at the same time.
    pub(crate) parallel: Option<u64>,
}

/// A key of the file, for what is found to be wrong with it later.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    at: Position,
    key: String,
}

// ===== impl Spending =====

impl Spending {
    /// Reads it from the whole file.
    pub(super) fn read(root: &Node, report: &mut Report) -> Self {
        let ours = root.get("ziggurat_settings");
        if let Some(node) = ours {
            check(node, &ZIGGURAT_SETTINGS, report);
        }
        let of = |key: &str| ours.and_then(|ours| ours.get(key));
        let litellm = |key: &str| root.get("litellm_settings").and_then(|settings| settings.get(key));
        let general = |key: &str| root.get("general_settings").and_then(|settings| settings.get(key));
        let status =
            litellm("budget_exceeded_status_code").or_else(|| general("budget_exceeded_status_code"));
        let spending = Self {
            budget: read_cap_within(
                litellm("max_budget"),
                litellm("budget_duration"),
                litellm("timezone"),
                report,
            ),
            end_users: litellm("max_end_user_budget").and_then(|node| read_cap(node, report)),
            tags: read_tags(litellm("tag_budget_config"), litellm("timezone"), report),
            providers: read_providers(root, litellm("timezone"), report),
            alert_percents: of("alert_percents")
                .map_or_else(|| ALERT_PERCENTS.into(), |node| read_percents(node, report)),
            timezone: litellm("timezone").and_then(Node::text).unwrap_or("UTC").to_owned(),
            refusal: read_status(status, report).unwrap_or(StatusCode::TOO_MANY_REQUESTS),
            discounts: read_discounts(litellm("cost_discount_config"), report),
            margins: read_margins(litellm("cost_margin_config"), report),
            cost_in_streams: litellm("include_cost_in_streaming_usage").and_then(Node::flag).unwrap_or(false),
            ledger: of("ledger").and_then(|node| read_ledger(node, report)),
            hold_ttl: seconds(of("hold_ttl"), report),
            uncapped: read_uncapped(of("uncapped"), false, report).unwrap_or(Uncapped::ReserveModelCap),
            uncapped_streams: read_uncapped(of("uncapped_streams"), true, report).unwrap_or(Uncapped::Extend),
            unpriced: read_unpriced(of("unpriced"), report).unwrap_or_default(),
            on_disconnect: read_on_disconnect(of("on_disconnect"), report).unwrap_or(OnDisconnect::Cancel),
            token_counter: read_token_counter(of("token_counter"), report).unwrap_or_default(),
            price_map: of("price_map").and_then(|node| Some((read_path(node, report)?, Place::of(node)))),
        };
        let of_deployments =
            root.get("model_list").map_or(&[][..], Node::items).iter().any(|item| {
                item.get("litellm_params").is_some_and(|params| params.get("max_budget").is_some())
            });
        // With a database, budgets come with keys and teams.
        let elsewhere = spending.end_users.is_some()
            || !spending.tags.is_empty()
            || !spending.providers.is_empty()
            || of_deployments
            || general("database_url").is_some();
        if litellm("max_budget").is_none() && !elsewhere {
            let known =
                ["ledger", "hold_ttl", "uncapped", "uncapped_streams", "unpriced", "alert_percents"].map(of);
            for node in known.into_iter().flatten() {
                if report.blames(&node.path) {
                    continue;
                }
                let message = "does nothing yet: there is no `litellm_settings.max_budget`";
                report.warning(&node.at, &node.path, message);
            }
        }
        spending
    }
}

fn read_status(node: Option<&Node>, report: &mut Report) -> Option<StatusCode> {
    let node = node?;
    let number = node.decimal().and_then(|text| text.parse::<u16>().ok());
    let status = number.and_then(|code| StatusCode::from_u16(code).ok()).filter(StatusCode::is_client_error);
    if status.is_none() {
        report.error(&node.at, &node.path, "expected the status of a refusal, 400 to 499");
    }
    status
}

fn read_discounts(node: Option<&Node>, report: &mut Report) -> BTreeMap<String, BasisPoints> {
    let Some(node) = node else { return BTreeMap::new() };
    check(node, &OPEN, report);
    let entries = node.entries().iter().filter(|entry| !matches!(entry.node.value, Value::Null));
    let read = entries.filter_map(|entry| Some((entry.key.clone(), share(&entry.node, true, report)?)));
    read.collect()
}

fn read_margins(node: Option<&Node>, report: &mut Report) -> BTreeMap<String, Margin> {
    let Some(node) = node else { return BTreeMap::new() };
    check(node, &OPEN, report);
    let entries = node.entries().iter().filter(|entry| !matches!(entry.node.value, Value::Null));
    let read = entries.filter_map(|entry| Some((entry.key.clone(), margin(&entry.node, report)?)));
    read.collect()
}

/// A share alone, or a mapping with a share and an amount.
fn margin(node: &Node, report: &mut Report) -> Option<Margin> {
    if !matches!(node.value, Value::Map(_)) {
        return Some(Margin { share: share(node, false, report)?, fixed: Usd::ZERO });
    }
    check(node, &MARGIN, report);
    let share = match node.get("percentage") {
        Some(node) => share(node, false, report)?,
        None => BasisPoints::default(),
    };
    let fixed = match node.get("fixed_amount") {
        Some(node) => amount(node, report)?,
        None => Usd::ZERO,
    };
    Some(Margin { share, fixed })
}

pub(super) fn share(node: &Node, at_most_all: bool, report: &mut Report) -> Option<BasisPoints> {
    let text = decimal(node, "a share such as 0.05", report)?;
    let share = text.parse::<BasisPoints>().ok().filter(|share| !at_most_all || share.get() <= WHOLE);
    if share.is_none() {
        let most = if at_most_all { "1" } else { "100" };
        let message =
            format!("expected a share such as 0.05, between 0 and {most} and with 4 decimals at most");
        report.error(&node.at, &node.path, message);
    }
    share
}

fn read_uncapped(node: Option<&Node>, streamed: bool, report: &mut Report) -> Option<Uncapped> {
    let expected = match streamed {
        true => "`extend`, `reserve`, `clamp:<tokens>` or `refuse`",
        false => "`reserve`, `clamp:<tokens>` or `refuse`",
    };
    let read = |word: &str, number: Option<&str>| match (word, number) {
        ("extend", None) if streamed => Some(Uncapped::Extend),
        ("reserve", None) => Some(Uncapped::ReserveModelCap),
        ("clamp", Some(tokens)) => tokens.parse().ok().filter(|tokens| *tokens > 0).map(Uncapped::Clamp),
        ("refuse", None) => Some(Uncapped::Refuse),
        _ => None,
    };
    word(node, expected, read, report)
}

fn read_unpriced(node: Option<&Node>, report: &mut Report) -> Option<Unpriced> {
    let read = |word: &str, number: Option<&str>| match (word, number) {
        ("refuse", None) => Some(Unpriced::Refuse),
        ("allow", None) => Some(Unpriced::Allow),
        _ => None,
    };
    word(node, "`refuse` or `allow`", read, report)
}

fn read_on_disconnect(node: Option<&Node>, report: &mut Report) -> Option<OnDisconnect> {
    let read = |word: &str, number: Option<&str>| match (word, number) {
        ("cancel", None) => Some(OnDisconnect::Cancel),
        ("drain", None) => Some(OnDisconnect::Drain(None)),
        ("drain", Some(seconds)) => {
            let bound = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
            // Clocks overflow on what is much longer.
            (!bound.is_zero() && bound <= MAX_DRAIN).then_some(OnDisconnect::Drain(Some(bound)))
        }
        _ => None,
    };
    word(node, "`cancel`, `drain` or `drain:<seconds>`", read, report)
}

/// A word, or a path.
fn read_ledger(node: &Node, report: &mut Report) -> Option<LedgerAt> {
    Some(match node.text()? {
        "memory" => LedgerAt::Memory,
        "redis" => LedgerAt::Redis,
        "postgres" | "postgresql" => LedgerAt::Postgres,
        _ => LedgerAt::File(read_path(node, report)?),
    })
}

fn read_token_counter(node: Option<&Node>, report: &mut Report) -> Option<TokenCounter> {
    let read = |word: &str, number: Option<&str>| match (word, number) {
        ("by_length", None) => Some(TokenCounter::ByLength),
        #[cfg(feature = "tiktoken")]
        ("exact", None) => Some(TokenCounter::Exact),
        ("at_most_bytes", None) => Some(TokenCounter::AtMostBytes),
        _ => None,
    };
    word(node, TOKEN_COUNTERS, read, report)
}

/// A path, beside the file that names it.
fn read_path(node: &Node, report: &mut Report) -> Option<PathBuf> {
    let text = node.text()?;
    if text.is_empty() {
        report.error(&node.at, &node.path, "is empty");
        return None;
    }
    Some(beside(node, text))
}

/// A path that is relative to the file in which it stands.
pub(super) fn beside(node: &Node, path: &str) -> PathBuf {
    Path::new(&*node.at.file).parent().unwrap_or(Path::new("")).join(path)
}

// ===== impl Rates =====

impl Rates {
    /// Whether nothing is limited.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What `ziggurat_settings` and `general_settings` say of all calls together.
    pub(super) fn of_gateway(root: &Node, report: &mut Report) -> Self {
        let ours = root.get("ziggurat_settings");
        let of = |key: &str| ours.and_then(|ours| ours.get(key));
        let general = root.get("general_settings");
        Self {
            requests: count(of("rpm"), report),
            tokens: count(of("tpm"), report),
            input_tokens: count(of("itpm"), report),
            output_tokens: count(of("otpm"), report),
            parallel: count(general.and_then(|it| it.get("global_max_parallel_requests")), report),
        }
    }

    /// What `general_settings` say of each key.
    pub(super) fn of_keys(root: &Node, report: &mut Report) -> Self {
        let general = root.get("general_settings");
        let parallel = count(general.and_then(|it| it.get("max_parallel_requests")), report);
        Self { parallel, ..Self::default() }
    }

    /// What `tag_budget_config` says of a tag.
    pub(super) fn of_tag(node: &Node, report: &mut Report) -> Self {
        let mut of = |key: &str| count(node.get(key), report);
        let (requests, tokens) = (of("rpm_limit"), of("tpm_limit"));
        Self { requests, tokens, parallel: of("max_parallel_requests"), ..Self::default() }
    }

    /// What a deployment says, in `litellm_params`, else in `model_info`.
    pub(super) fn of_deployment(params: &Node, info: Option<&Node>, report: &mut Report) -> Self {
        let mut of = |key: &str| {
            let own = params.get(key).or_else(|| info.and_then(|info| info.get(key)));
            count(own, report)
        };
        Self {
            requests: of("rpm"),
            tokens: of("tpm"),
            input_tokens: of("itpm"),
            output_tokens: of("otpm"),
            parallel: of("max_parallel_requests"),
        }
    }
}

// ===== impl Place =====

impl Place {
    /// A place by its parts.
    pub(super) fn new(at: Position, key: &str) -> Self {
        Self { at, key: key.to_owned() }
    }

    /// Where a node stands.
    pub(super) fn of(node: &Node) -> Self {
        Self { at: node.at.clone(), key: node.path.clone() }
    }

    /// An error in what stands there.
    pub(crate) fn error(&self, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Error, message.into())
    }

    /// A warning of what stands there.
    pub(crate) fn warning(&self, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(Severity::Warning, message.into())
    }

    fn diagnostic(&self, severity: Severity, message: String) -> Diagnostic {
        Diagnostic { severity, at: self.at.clone(), key: self.key.clone(), message }
    }
}

/// All of it, in hundredths of a percent.
const WHOLE: u32 = 10_000;
#[cfg(feature = "tiktoken")]
const TOKEN_COUNTERS: &str = "`by_length`, `exact` or `at_most_bytes`";
#[cfg(not(feature = "tiktoken"))]
const TOKEN_COUNTERS: &str =
    "`by_length` or `at_most_bytes` (for `exact`, this build lacks the feature `tiktoken`)";
const MAX_DRAIN: Duration = Duration::from_secs(24 * 3600);

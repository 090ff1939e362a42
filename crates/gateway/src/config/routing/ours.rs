//! What `ziggurat_settings` say of routing, which LiteLLM has no keys for.

use std::collections::BTreeMap;
use std::time::Duration;

use ziggurat_catalog::BasisPoints;
use ziggurat_core::{Decimal, Usd, Window};

use super::fallbacks::Names;
use super::keys::{PROBES, RETRY_BUDGET, SHADOW};
use super::{Settings, mapping};
use crate::config::budgets::read_cap_within;
use crate::config::check::check;
use crate::config::diagnostic::Report;
use crate::config::node::{Node, Value};
use crate::config::spending::share;
use crate::config::value::{decimal, pause, seconds};

/// How streams begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    /// `stream_hold`: how long the head of an answer waits for the first content.
    pub(crate) hold: Option<Duration>,
    /// `continue_streams`: whether another deployment goes on where one broke off.
    pub(crate) go_on: bool,
}

/// `hedge_after`: after how long without an answer a second deployment is asked beside the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hedging {
    /// For all groups.
    pub(crate) all: Option<Duration>,
    /// For single groups, by what callers name.
    pub(crate) of: BTreeMap<String, Duration>,
}

/// `retry_budget`: how much of a group's load retries may be; what is `None` has the layer's own default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryBudget {
    /// `share`: of the calls, the whole at most.
    pub(crate) share: Option<BasisPoints>,
    /// `per_second`: in any case, in ten-thousandths.
    pub(crate) per_second: Option<u64>,
}

/// An item of `shadow`: a share of one group's calls is also made to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shadow {
    /// `group`: whose calls.
    pub(crate) group: String,
    /// `to`: where they are also made.
    pub(crate) to: String,
    /// `share`: how many of them.
    pub(crate) share: BasisPoints,
    /// `max_budget` and `budget_duration`: what these calls may cost.
    pub(crate) budget: Option<(Usd, Window)>,
}

// ===== impl Streams =====

impl Streams {
    pub(super) fn read(settings: &Settings<'_>, report: &mut Report) -> Self {
        let ours = |key: &str| settings.of("ziggurat_settings", key);
        Self {
            hold: pause(ours("stream_hold"), report),
            go_on: ours("continue_streams").and_then(Node::flag) == Some(true),
        }
    }
}

// ===== impl Hedging =====

impl Hedging {
    /// Reads a number of seconds, or one for each of some groups.
    pub(super) fn read(node: Option<&Node>, names: &Names<'_>, report: &mut Report) -> Self {
        let Some(node) = node else { return Self::default() };
        let mut hedging = Self::default();
        let mut read = |node: &Node| {
            if node.number().is_none() && !matches!(node.value, Value::Null | Value::Missing) {
                report.error(
                    &node.at,
                    &node.path,
                    format!("expected a number of seconds, found {}", node.kind()),
                );
            }
            seconds(Some(node), report)
        };
        if !matches!(node.value, Value::Map(_)) {
            hedging.all = read(node);
            return hedging;
        }
        for entry in node.entries() {
            if let Some(after) = read(&entry.node) {
                hedging.of.insert(entry.key.clone(), after);
            }
        }
        for entry in node.entries() {
            names.check_group(&entry.key, &entry.at, &entry.node.path, report);
        }
        hedging
    }
}

// ===== impl RetryBudget =====

impl RetryBudget {
    pub(super) fn read(node: Option<&Node>, report: &mut Report) -> Option<Self> {
        let node = mapping(node, &RETRY_BUDGET, report)?;
        let share = node.get("share").and_then(|node| share(node, true, report));
        Some(Self { share, per_second: read_per_second(node.get("per_second"), report) })
    }
}

/// A number with four decimals, exactly, in ten-thousandths.
fn read_per_second(node: Option<&Node>, report: &mut Report) -> Option<u64> {
    let node = node?;
    let number = Decimal::read(&decimal(node, "a number such as 0.5", report)?);
    let read = match number.filter(|number| !number.is_negative()).and_then(|number| number.units(4)) {
        Some((units, true)) => u64::try_from(units).ok(),
        _ => None,
    };
    if read.is_none() {
        report.error(&node.at, &node.path, "expected a number, zero or more and with 4 decimals at most");
    }
    read
}

// ===== impl Shadow =====

impl Shadow {
    pub(super) fn read_all(settings: &Settings<'_>, names: &Names<'_>, report: &mut Report) -> Vec<Self> {
        let items = settings.of("ziggurat_settings", "shadow").map_or(&[][..], Node::items);
        let zone = settings.of("litellm_settings", "timezone");
        items.iter().filter_map(|item| Self::read(item, zone, names, report)).collect()
    }

    fn read(node: &Node, zone: Option<&Node>, names: &Names<'_>, report: &mut Report) -> Option<Self> {
        check(node, &SHADOW, report);
        if !matches!(node.value, Value::Map(_)) {
            return None;
        }
        for key in ["group", "to", "share"].into_iter().filter(|key| node.get(key).is_none()) {
            report.error(&node.at, &node.path, format!("missing key `{key}`"));
        }
        let group = node.get("group").and_then(|node| Some((node, node.text()?)));
        if let Some((node, name)) = group {
            names.check_group(name, &node.at, &node.path, report);
        }
        let to = names.read_name(node.get("to"), report);
        let share = node.get("share").and_then(|node| share(node, true, report));
        let budget = read_cap_within(node.get("max_budget"), node.get("budget_duration"), zone, report);
        let (group, to) = (group?.1, to?);
        if names.group(group) == names.group(&to) {
            let at = node.get("to")?;
            report.error(&at.at, &at.path, "is the group that it is the shadow of");
        }
        Some(Self { group: group.to_owned(), to, share: share?, budget })
    }
}

/// `probes.every`.
pub(super) fn read_probes(node: Option<&Node>, report: &mut Report) -> Option<Duration> {
    let node = mapping(node, &PROBES, report)?;
    seconds(node.get("every"), report)
}

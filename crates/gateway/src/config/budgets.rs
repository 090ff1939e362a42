//! What may be spent, and within which window: of everything, of a tag, a provider, a deployment.

use std::collections::BTreeMap;

use ziggurat_budget::calendar::{self, DurationError};
use ziggurat_core::{Usd, Window};

use super::check::check;
use super::diagnostic::Report;
use super::keys::{OPEN, PROVIDER_BUDGET, TAG_BUDGET};
use super::node::{Entry, Node};
use super::provider::Provider;
use super::spending::Rates;
use super::value::{amount, count};

/// What all calls of a tag may together.
#[derive(Clone, Debug)]
pub(crate) struct TagAllowance {
    /// `max_budget`.
    pub(crate) cap: Option<Usd>,
    /// `soft_budget`: the amount that alerts.
    pub(crate) soft: Option<Usd>,
    /// `budget_duration`'s, in `timezone`.
    pub(crate) window: Window,
    /// `rpm_limit`, `tpm_limit` and `max_parallel_requests`.
    pub(crate) rates: Rates,
}

/// A cap, if there is one, and its window.
pub(super) fn read_cap_within(
    cap: Option<&Node>,
    duration: Option<&Node>,
    zone: Option<&Node>,
    report: &mut Report,
) -> Option<(Usd, Window)> {
    let window = read_window(duration, zone, report);
    let Some(node) = cap else {
        if let Some(node) = duration {
            report.warning(&node.at, &node.path, "there is no `max_budget` that it is the duration of");
        }
        return None;
    };
    let amount = read_cap(node, report)?;
    Some((amount, window?))
}

/// A cap, which is more than nothing.
pub(super) fn read_cap(node: &Node, report: &mut Report) -> Option<Usd> {
    let amount = amount(node, report)?;
    if amount.is_zero() {
        let message = "to LiteLLM, 0 is no budget, here it would refuse all calls: leave the key out";
        report.error(&node.at, &node.path, message);
        return None;
    }
    Some(amount)
}

/// `litellm_settings.tag_budget_config`.
pub(super) fn read_tags(
    node: Option<&Node>,
    zone: Option<&Node>,
    report: &mut Report,
) -> BTreeMap<String, TagAllowance> {
    let Some(node) = node else { return BTreeMap::new() };
    check(node, &OPEN, report);
    let mut tags = BTreeMap::new();
    for entry in node.entries() {
        check(&entry.node, &TAG_BUDGET, report);
        let mut sum = |key| read_cap(entry.node.get(key)?, report);
        let (cap, soft) = (sum("max_budget"), sum("soft_budget"));
        let rates = Rates::of_tag(&entry.node, report);
        if entry.node.entries().iter().all(|said| said.key == "budget_duration") {
            let message = "expected `max_budget`, `soft_budget`, `rpm_limit`, `tpm_limit` or \
                           `max_parallel_requests`";
            report.error(&entry.node.at, &entry.node.path, message);
        }
        if let Some(window) = read_window(entry.node.get("budget_duration"), zone, report) {
            tags.insert(entry.key.clone(), TagAllowance { cap, soft, window, rates });
        }
    }
    tags
}

/// `router_settings.provider_budget_config`.
pub(super) fn read_providers(
    root: &Node,
    zone: Option<&Node>,
    report: &mut Report,
) -> BTreeMap<String, (Usd, Window)> {
    let config = root.get("router_settings").and_then(|settings| settings.get("provider_budget_config"));
    let mut providers = BTreeMap::new();
    for Entry { key, node, .. } in config.map_or(&[][..], Node::entries) {
        check(node, &PROVIDER_BUDGET, report);
        let Some(provider) = Provider::find(key) else {
            report.error(&node.at, &node.path, "no provider has this name");
            continue;
        };
        let mut either = |name: &str, other: &str| match (node.get(name), node.get(other)) {
            (Some(_), Some(both)) => {
                report.error(&both.at, &both.path, format!("is `{name}`, which is there, too"));
                None
            }
            (one, other) => one.or(other),
        };
        let cap = either("max_budget", "budget_limit");
        let duration = either("budget_duration", "time_period");
        if cap.is_none() {
            // That there are two has been said.
            if node.get("max_budget").is_none() {
                report.error(&node.at, &node.path, "`max_budget` is missing");
            }
            continue;
        }
        let Some(budget) = read_cap_within(cap, duration, zone, report) else { continue };
        if providers.insert(provider.id.clone(), budget).is_some() {
            report.error(&node.at, &node.path, "another name of a provider that has a budget here");
        }
    }
    providers
}

/// `ziggurat_settings.alert_percents`.
pub(super) fn read_percents(node: &Node, report: &mut Report) -> Vec<u8> {
    let mut percents = Vec::new();
    for item in node.items() {
        let percent = count(Some(item), report).and_then(|it| u8::try_from(it).ok().filter(|it| *it <= 100));
        match percent {
            Some(percent) => percents.push(percent),
            None if report.blames(&item.path) => {}
            None => report.error(&item.at, &item.path, "expected percents of a budget, 1 to 100"),
        }
    }
    percents
}

/// The window of `budget_duration` in `timezone`; without a duration what is spent is never forgotten.
fn read_window(duration: Option<&Node>, zone: Option<&Node>, report: &mut Report) -> Option<Window> {
    let zone_name = zone.map_or(Some("UTC"), Node::text)?;
    let text = duration.map_or(Some("1d"), Node::text)?;
    match (calendar::window(text, zone_name), duration) {
        (Ok(window), Some(_)) => Some(window),
        (Ok(_), None) => Some(Window::Lifetime),
        (Err(error), _) => {
            let node = if error == DurationError::UnknownTimeZone { zone } else { duration };
            // All that is of the calendar has the same zone.
            if let Some(node) = node.filter(|node| !report.blames(&node.path)) {
                report.error(&node.at, &node.path, error.to_string());
            }
            None
        }
    }
}

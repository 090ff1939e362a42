//! Which deployment of a group is called.

use std::time::Duration;

use super::keys::STRATEGY_ARGS;
use super::{mapping, unknown};
use crate::config::diagnostic::Report;
use crate::config::node::Node;
use crate::config::value::{measure, seconds};

/// Which deployment of a group is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// `simple-shuffle`: by chance, in proportion to `weight`, else `rpm`, else `tpm`.
    #[default]
    Shuffle,
    /// `least-busy`: the one with the fewest calls in flight.
    LeastBusy,
    /// `latency-based-routing`: the quickest.
    LowestLatency,
    /// `cost-based-routing`: the cheapest.
    LowestCost,
    /// `usage-based-routing`, `usage-based-routing-v2`: the one that was used least in this minute.
    LowestUsage,
}

/// `routing_strategy_args`; what is `None` has the strategy's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct StrategyArgs {
    /// `ttl`: how long a measurement counts.
    pub(crate) ttl: Option<Duration>,
    /// `lowest_latency_buffer`: how much slower than the quickest one may be, as a share of its latency.
    pub(crate) latency_buffer: Option<f64>,
}

// ===== impl Strategy =====

impl Strategy {
    pub(super) fn read(node: Option<&Node>, report: &mut Report) -> Self {
        let Some((node, word)) = node.and_then(|node| Some((node, node.text()?))) else {
            return Self::default();
        };
        let found = STRATEGIES.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            unknown(
                "strategy",
                node,
                word,
                STRATEGIES.iter().map(|(name, _)| *name),
                &STRATEGIES_LATER,
                report,
            );
        }
        found.map_or_else(Self::default, |(_, strategy)| *strategy)
    }
}

// ===== impl StrategyArgs =====

impl StrategyArgs {
    pub(super) fn read(node: Option<&Node>, strategy: Strategy, report: &mut Report) -> Self {
        let Some(node) = mapping(node, &STRATEGY_ARGS, report) else { return Self::default() };
        for key in ["ttl", "lowest_latency_buffer"] {
            if let Some(node) = node.get(key).filter(|_| strategy != Strategy::LowestLatency) {
                report.warning(&node.at, &node.path, "this `routing_strategy` does not heed it");
            }
        }
        Self {
            ttl: seconds(node.get("ttl"), report),
            latency_buffer: measure(node.get("lowest_latency_buffer"), report),
        }
    }
}

/// LiteLLM's names of strategies.
const STRATEGIES: [(&str, Strategy); 6] = [
    ("simple-shuffle", Strategy::Shuffle),
    ("least-busy", Strategy::LeastBusy),
    ("latency-based-routing", Strategy::LowestLatency),
    ("cost-based-routing", Strategy::LowestCost),
    ("usage-based-routing", Strategy::LowestUsage),
    ("usage-based-routing-v2", Strategy::LowestUsage),
];
const STRATEGIES_LATER: [&str; 2] = ["lar1", "provider-budget-routing"];

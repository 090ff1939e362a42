//! Which deployment of a group is called.

use std::time::Duration;

use super::keys::STRATEGY_ARGS;
use super::{mapping, unknown};
use crate::config::diagnostic::Report;
use crate::config::node::Node;
use crate::config::value::{count, measure, seconds};

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
    /// `max_latency_list_size`: how many measurements count.
    pub(crate) samples: Option<u64>,
    /// `ttft_percentile`: which of a stream's times to the first token counts, above 0 and up to 1; unless set, their mean.
    pub(crate) first_token_percentile: Option<f64>,
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
        let measured = strategy == Strategy::LowestLatency;
        for key in ["ttl", "lowest_latency_buffer", "max_latency_list_size", "ttft_percentile"] {
            let heeded = measured || (key == "ttl" && strategy == Strategy::LowestUsage);
            if let Some(node) = node.get(key).filter(|_| !heeded) {
                report.warning(&node.at, &node.path, "this `routing_strategy` does not heed it");
            }
        }
        Self {
            ttl: seconds(node.get("ttl"), report),
            latency_buffer: measure(node.get("lowest_latency_buffer"), report),
            samples: count(node.get("max_latency_list_size"), report),
            first_token_percentile: read_percentile(node.get("ttft_percentile"), report),
        }
    }
}

fn read_percentile(node: Option<&Node>, report: &mut Report) -> Option<f64> {
    let node = node?;
    let read = node.number()?;
    let fits = read > 0.0 && read <= 1.0;
    if !fits {
        report.error(&node.at, &node.path, "expected a number above 0, 1 at most");
    }
    fits.then_some(read)
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

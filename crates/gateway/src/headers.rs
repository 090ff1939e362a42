//! What a response says of the call in LiteLLM's headers.

use std::fmt::Display;

use http::{HeaderMap, HeaderName, HeaderValue};
use ziggurat_budget::Spending;
use ziggurat_cache::Lookup;
use ziggurat_core::{ScopeKind, Served};

/// Names the model as the caller did.
pub(crate) fn of_model(headers: &mut HeaderMap, model: &str) {
    put(headers, "x-litellm-model-group", model);
}

/// Names the deployment that was asked last, and says what was tried before it.
pub(crate) fn of_served(headers: &mut HeaderMap, served: &Served) {
    if let Some(target) = &served.target {
        put(headers, "x-litellm-model-id", target.deployment());
    }
    put(headers, "x-litellm-attempted-retries", served.retries);
    put(headers, "x-litellm-attempted-fallbacks", served.fallbacks);
}

/// Says what the cache did.
pub(crate) fn of_lookup(headers: &mut HeaderMap, lookup: &Lookup) {
    put(headers, "x-litellm-cache-key", lookup.key);
    let again = lookup.status.is_given_again();
    put(headers, "x-litellm-cache-hit", if again { "True" } else { "False" });
    if again {
        put(headers, "x-litellm-response-cost", 0);
        if let Some(score) = lookup.score {
            put(headers, "x-litellm-semantic-similarity", score);
        }
        if let Some(saved) = lookup.saved {
            put(headers, "x-ziggurat-saved-cost", saved);
        }
    }
}

/// Says what an answer cost, where that is known before its first byte, and where the caller's budget stands.
pub(crate) fn of_spending(headers: &mut HeaderMap, spending: &Spending) {
    let charge = spending.charge.filter(|charge| !charge.flags.unpriced);
    if let Some(charge) = charge {
        put(headers, "x-litellm-response-cost", charge.amount);
    }
    // The key's own where it has one; the master key has the gateway's.
    let of = |kind| spending.budgets.iter().find(|(budget, _)| budget.account.scope.kind == kind);
    if let Some((budget, balance)) = of(ScopeKind::Key).or_else(|| of(ScopeKind::Gateway)) {
        let now = charge.map(|charge| charge.amount).unwrap_or_default();
        put(headers, "x-litellm-key-spend", balance.spent + now);
        if budget.is_capped() {
            put(headers, "x-litellm-key-max-budget", budget.cap);
        }
    }
}

/// Says that a count of tokens is ours, and no provider's.
pub(crate) fn of_estimate(headers: &mut HeaderMap) {
    put(headers, "x-ziggurat-token-count", "estimate");
}

fn put(headers: &mut HeaderMap, name: &'static str, value: impl Display) {
    // What no header can hold (a name in other letters) is left out.
    if let Ok(value) = HeaderValue::try_from(value.to_string()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

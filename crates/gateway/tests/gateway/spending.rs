//! Budgets, limits and what they cost, as callers meet them.

mod fits;
mod leaving;
mod ledger;
mod limits;
mod told;
mod uncapped;

const DOLLAR: &str = "litellm_settings: {max_budget: 1.00}\n";

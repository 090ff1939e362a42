//! The ledger in PostgreSQL, against a real server.
#![cfg(all(feature = "postgres", target_os = "linux"))]

mod decisions;
mod faults;
mod group;
mod load;
mod model;
mod report;
mod schema;
mod times;

use std::{sync::Arc, time::Duration};

use ziggurat_budget::{
    Charge, Claim, Flags, HoldId,
    remote::{Backend, Settlement},
};
use ziggurat_core::{Budget, Scope, Usd, Window};
use ziggurat_sql::postgres::{Options, PostgresLedger, connect};

async fn ledger(url: &str) -> PostgresLedger {
    // Machines that run tests are busy.
    let patient = Duration::from_secs(20);
    let options =
        Options::default().acquire_timeout(patient).statement_timeout(patient).lock_timeout(patient);
    PostgresLedger::new(connect(url, options).await.expect("connects"))
}

/// A dollar, for ever.
fn dollar(tenant: &str) -> Budget {
    Budget::new(Scope::tenant(tenant), Usd::dollars(1), Window::Lifetime)
}

fn claim(id: u128, budgets: &[Budget], amount: Usd) -> Claim {
    Claim::new(HoldId(id), HoldId(id + 1_000_000), budgets.into(), amount, amount)
}

fn settlement(id: u128, budgets: &[Budget], charge: Charge) -> Settlement {
    let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(7);
    Settlement::new(HoldId(id), HoldId(id + 1_000_000), Arc::from(budgets), charge, at)
}

fn unreconciled(amount: Usd) -> Charge {
    let mut flags = Flags::default();
    flags.unreconciled = true;
    Charge::of(amount, flags)
}

/// What is spent and held, in cents.
async fn cents(ledger: &PostgresLedger, budget: &Budget) -> (u128, u128) {
    let balance = ledger.balances(std::slice::from_ref(budget)).await.expect("answers")[0];
    let cents = |amount: Usd| amount.as_pico() / Usd::cents(1).as_pico();
    (cents(balance.spent), cents(balance.held))
}

const TTL: Duration = Duration::from_secs(600);

#![doc = include_str!("../README.md")]

mod alert;
mod applies;
pub mod calendar;
mod drain;
mod estimate;
mod journal;
mod layer;
mod ledger;
mod needs;
mod pieces;
mod policy;
mod refusal;
pub mod remote;
mod searches;
mod service;
mod store;
mod tab;

pub use alert::{ALERT_PERCENTS, Alert, Crossed};
pub use journal::{
    Journal, JournalError, OpenHold, Posting, Recovered, RecoveredAccount, RecoveredHold, Slot,
};
pub use layer::BudgetLayer;
pub use ledger::Ledger;
pub use policy::{CLAMPED, Disconnect, Rest, UNKNOWN_CAP, Uncapped, Unpriced};
pub use service::{Budgeted, Spending};
pub use store::{Balance, Charge, Claim, Flags, Held, Hold, HoldId, Refused, Store};
pub use ziggurat_core::Reply;

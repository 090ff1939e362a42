#![doc = include_str!("../README.md")]

mod answers;
mod budgets;
mod client;
mod cooldowns;
mod limits;
mod link;
mod money;
mod names;
mod options;
mod script;

pub use answers::{Answers, Counts};
pub use budgets::{Budgets, Standing};
pub use client::Redis;
pub use cooldowns::Cooldowns;
pub use limits::Limits;
pub use options::{InvalidOptions, Options};

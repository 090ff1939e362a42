#![doc = include_str!("../README.md")]

mod affinity;
mod deployment;
mod group;
mod health;
mod live;
mod moment;
mod permit;
mod pick;
mod random;
mod retry;
mod retry_budget;
mod shares;
mod strategy;
mod tags;
mod window;

pub use affinity::Affinity;
pub use deployment::Deployment;
pub use group::{Group, GroupBuilder, InvalidGroup};
pub use health::{Cooldown, FailureRate, SharedCooldowns, State};
pub use live::{Failed, Figures, Sample};
pub use permit::Permit;
pub use pick::{Ask, Picked};
pub use random::Random;
pub use retry::{Kind, PerKind, RetryPolicy};
pub use retry_budget::RetryBudget;
pub use strategy::{Among, LeastBusy, LowestCost, LowestLatency, LowestUsage, Ordered, Shuffle, Strategy};
pub use tags::TagRules;

#![doc = include_str!("../README.md")]

mod body;
mod confidential;
mod feed;
mod peek;
mod problem;
mod reader;
mod run;
mod scan;
mod usage;

pub use body::{MeteredBody, Options};
pub use confidential::Confidential;
pub use feed::{feed, feed_error, feed_response, is_unsent};
pub use peek::{Peeked, peek};
pub use problem::{Broken, broke_off, no_answer, not_an_event, too_long, truncated, unreadable};
pub use run::{Reading, carry, read_answer, run};
pub use usage::{asks_for_usage, chunk_with_cost, options_with_usage};

#![doc = include_str!("../README.md")]

mod body;
mod feed;
mod reader;
mod run;

pub use body::{MeteredBody, Options, broke_off, too_long, truncated};
pub use feed::{feed, feed_response};
pub use run::{is_event_stream, run, unreadable};

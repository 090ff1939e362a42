#![doc = include_str!("../README.md")]

mod body;
mod feed;
mod problem;
mod reader;
mod run;
mod scan;

pub use body::{MeteredBody, Options};
pub use feed::{feed, feed_response};
pub use problem::{broke_off, is_presentable, not_an_event, too_long, truncated, unreadable};
pub use run::{is_event_stream, run};

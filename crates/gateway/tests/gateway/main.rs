//! The built binary as its users meet it: over sockets, signals and standard streams, in front of the replay upstream.

#![expect(clippy::unwrap_used, reason = "what these tests rely on is there, or they fail")]

mod admin;
mod bad_input;
mod bad_upstream;
mod cache;
mod client;
mod clouds;
mod config_errors;
mod counting;
mod dawdlers;
mod deadlines;
mod drain;
mod embeddings;
mod framing;
mod google;
mod google_accounts;
mod harness;
mod host;
mod images;
mod invoked;
mod keys;
mod limits;
mod measured;
mod media;
mod memory;
mod operations;
mod paid;
mod prices;
mod remote;
mod routes;
mod routing;
mod rows;
mod samples;
mod scripted;
mod shared;
mod spending;
mod streams;
mod tiers;
mod tls;
mod tokens;
mod vendor;
mod vertex;

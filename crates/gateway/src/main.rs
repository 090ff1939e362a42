//! The ziggurat binary: the layers assembled behind a LiteLLM config.yaml.

mod admin;
mod app;
mod cache;
mod catalog;
mod caught;
mod check;
mod cli;
mod config;
mod credentials;
mod deadline;
mod demo;
mod drain;
mod forbidden;
mod groups;
mod guards;
mod headers;
mod health;
mod jwt;
mod ledger;
mod media;
mod models;
mod options;
mod params;
mod prices;
mod route;
mod routes;
mod secret;
mod server;
mod stores;
mod takes;
mod tokens;
mod upstream;

use std::process::ExitCode;

use clap::Parser;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Arguments::parse())
}

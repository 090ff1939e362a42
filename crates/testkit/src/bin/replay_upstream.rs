//! The replay upstream as a process, for tests in other languages.
//!
//! `replay-upstream --port P [--recordings DIR] [--synthetic FILE.json...]` prints `listening on 127.0.0.1:P`
//! once it does, and serves until it is stopped. See [`Replay`] for what it answers.

use std::error::Error;
use std::future::pending;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use ziggurat_testkit::{Recordings, Replay};

#[derive(Debug, Default)]
struct Options {
    recordings: Option<PathBuf>,
    synthetic: Vec<PathBuf>,
    port: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("replay-upstream: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match serve(options).await {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("replay-upstream: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options) -> Result<std::convert::Infallible, Box<dyn Error>> {
    let mut recordings = options.recordings.map_or_else(|| Ok(Recordings::default()), Recordings::load)?;
    for file in options.synthetic {
        recordings.extend(Recordings::load_array(file)?);
    }
    let replay = Replay::bind((Ipv4Addr::LOCALHOST, options.port).into(), recordings).await?;
    println!("listening on {}", replay.addr());
    pending().await
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            let mut value =
                || args.next_if(|next| !next.starts_with("--")).ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--recordings" => options.recordings = Some(value()?.into()),
                "--port" => options.port = value()?.parse().map_err(|error| format!("--port: {error}"))?,
                "--synthetic" => {
                    options.synthetic.push(value()?.into());
                    while let Ok(file) = value() {
                        options.synthetic.push(file.into());
                    }
                }
                _ => return Err(format!("unknown argument `{arg}`")),
            }
        }
        Ok(options)
    }
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

const USAGE: &str = "usage: replay-upstream --port P [--recordings DIR] [--synthetic FILE.json...]";

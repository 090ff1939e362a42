//! What can be said on the command line.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    app::App,
    check,
    config::{Config, Severity},
    demo,
    groups::Groups,
    server::{self, Settings},
    upstream::{Timeouts, Upstream},
};

/// A gateway for LLM APIs: OpenAI and Anthropic clients on one side, any provider on the other.
///
/// Runs a LiteLLM config.yaml unchanged. Existing SDKs work by changing their base URL:
///
///   ziggurat --demo                               try it, without an account or a key
///   ziggurat --config config.yaml --port 4000     serve the models of a file
///   ziggurat check --config config.yaml           say what is wrong with a file, and what each alias supports
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks a config.yaml and says what each of its aliases supports
    Check {
        /// The LiteLLM config.yaml to check
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// The LiteLLM config.yaml to run
    #[arg(long, short, value_name = "FILE", required_unless_present = "demo", conflicts_with = "demo")]
    config: Option<PathBuf>,
    /// Serves a built-in model that needs no key and no network
    #[arg(long)]
    demo: bool,
    /// The port to listen on; 0 picks a free one
    #[arg(long, short, default_value_t = 4000, env = "PORT")]
    port: u16,
    /// The address to listen on; one that others can reach needs a master key
    #[arg(long, default_value = "127.0.0.1", env = "HOST", value_name = "ADDRESS")]
    host: IpAddr,
    /// How long open calls may go on after SIGTERM, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    drain_timeout: u64,
    /// How long to wait for a connection to a provider, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    connect_timeout: u64,
    /// How long a provider may be silent within an answer, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    idle_timeout: u64,
    /// Longest request body, in MiB
    #[arg(long, default_value_t = 32, value_name = "MIB")]
    max_request: usize,
}

/// Runs what was asked for.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let filter = EnvFilter::try_from_env("ZIGGURAT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false).init();
    let result = match arguments.command {
        Some(Command::Check { config }) => return check::run(&config),
        None => serve(&arguments.serve),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ziggurat: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(serve: &Serve) -> Result<(), String> {
    let config = match &serve.config {
        Some(path) => load(path)?,
        None => demo::config(),
    };
    if !serve.host.is_loopback() && config.master_key.is_none() {
        return Err(format!(
            "refusing to listen on {}, which others can reach, without general_settings.master_key",
            serve.host
        ));
    }
    let timeouts = Timeouts {
        connect: Duration::from_secs(serve.connect_timeout),
        answer: config.request_timeout.unwrap_or(DEFAULT_ANSWER_TIMEOUT),
        idle: Duration::from_secs(serve.idle_timeout),
    };
    let upstream =
        if serve.demo { Upstream::demo() } else { Upstream::http(timeouts).map_err(|e| e.to_string())? };
    let groups = Groups::new(&config).map_err(|error| error.to_string())?;
    let app = App::new(config, groups, upstream, serve.max_request << 20);
    let settings = Settings {
        address: SocketAddr::new(serve.host, serve.port),
        drain: Duration::from_secs(serve.drain_timeout),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let demo = serve.demo;
    runtime
        .block_on(server::serve(Arc::new(app), settings, |address| {
            println!("listening on {address}");
            if demo {
                println!("{}", demo::hint(address));
            }
        }))
        .map_err(|error| format!("cannot listen on {}: {error}", settings.address))
}

/// How long a provider may take to begin its answer, unless `request_timeout` says so: LiteLLM's own default is 6000 seconds, and its users set
/// 600.
const DEFAULT_ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

fn load(path: &Path) -> Result<Config, String> {
    let (result, findings) = match Config::load(path) {
        Ok((config, warnings)) => (Ok(config), warnings),
        Err(findings) => {
            let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
            let plural = if errors == 1 { "" } else { "s" };
            (Err(format!("{} has {errors} error{plural}", path.display())), findings)
        }
    };
    for finding in findings {
        eprintln!("{finding}");
    }
    result
}

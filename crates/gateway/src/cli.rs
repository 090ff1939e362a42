//! What can be said on the command line.

use std::{
    io::{self, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{ArgGroup, Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use ziggurat_budget::Unpriced;
use ziggurat_catalog::Catalog;
use ziggurat_core::Limits;
use ziggurat_sql::directory::Directory;

use crate::{
    app::App,
    catalog, caught,
    check::{self, counted},
    config::{Config, LedgerAt, Severity},
    demo, drain,
    groups::Groups,
    guards::Guards,
    media::Fetcher,
    params::{self, Detail},
    prices,
    server::{self, Deadlines, Settings},
    stores::{self, Stores},
    upstream::{Timeouts, Upstream},
};

/// A gateway for LLM APIs: OpenAI and Anthropic clients on one side, any provider on the other.
///
/// Reads a LiteLLM config.yaml as it is. Existing SDKs work by changing their base URL:
///
///   ziggurat --demo                               try it, without an account or a key
///   ziggurat --config config.yaml --port 4000     serve the models of a file
///   ziggurat check --config config.yaml           what is wrong with a file, what each alias supports and costs
///   ziggurat models --config config.yaml --params what each alias takes of OpenAI's parameters
#[derive(Debug, Parser)]
#[command(name = "ziggurat", version, verbatim_doc_comment, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

const AFTER_HELP: &str = "\
Environment:
  ZIGGURAT_LOG  Sets the filter of the log: `warn`, `debug` or the like [default: info]";

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks a config.yaml and says what each of its aliases supports
    Check {
        /// The LiteLLM config.yaml to check
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Lists the aliases of a config.yaml and the models behind them
    Models {
        /// The LiteLLM config.yaml
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Says which of OpenAI's parameters each takes, how it is told to think, what it reads and how much
        #[arg(long)]
        params: bool,
        /// Says all of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Brings the schema of a config's database up to date, and ends
    Migrate {
        /// The LiteLLM config.yaml that names it
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// What is known of models and their prices
    #[command(subcommand)]
    Catalog(catalog::Command),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("models").args(["config", "demo"]).required(true)))]
struct Serve {
    /// The LiteLLM config.yaml to run
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serves a built-in model that needs no key and no network
    #[arg(long)]
    demo: bool,
    /// The port to listen on; 0 picks a free one
    #[arg(long, short, default_value_t = 4000, env = "ZIGGURAT_PORT")]
    port: u16,
    /// The address to listen on; one that others can reach needs a master key
    #[arg(long, default_value = "127.0.0.1", env = "ZIGGURAT_HOST", value_name = "ADDRESS", value_parser = address)]
    host: IpAddr,
    /// How long open calls may go on after SIGTERM
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    drain_timeout: Duration,
    #[command(flatten)]
    upstream: UpstreamTimeouts,
    #[command(flatten)]
    clients: ClientLimits,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Patience with providers")]
struct UpstreamTimeouts {
    /// To connect, the TLS handshake included
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = seconds_above_zero)]
    connect_timeout: Duration,
    /// Silence within an answer [default: `request_timeout` of the config, else 300]
    #[arg(long, value_name = "SECONDS", value_parser = seconds_above_zero)]
    idle_timeout: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits for clients")]
struct ClientLimits {
    /// Longest request body
    #[arg(long, default_value_t = 32, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=4095))]
    max_request: u16,
    /// Longest form with sound that is passed on as it comes
    #[arg(long, default_value_t = 1024, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    max_upload: u32,
    /// Most that the request bodies of all calls may take together
    #[arg(long, default_value_t = 1024, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: u32,
    /// For the head of a request
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = seconds_above_zero)]
    head_timeout: Duration,
    /// For the body of a request
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds_above_zero)]
    body_timeout: Duration,
    /// Between two requests on a connection
    #[arg(long, default_value = "75", value_name = "SECONDS", value_parser = seconds_above_zero)]
    keep_alive_timeout: Duration,
    /// For a client that takes nothing of its answer
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds_above_zero)]
    write_timeout: Duration,
}

/// Runs what was asked for.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let serve_arguments = match arguments.command {
        Some(Command::Check { config }) => {
            return match is_there(&config) {
                Ok(()) => check::run(&config),
                Err(message) => fail(&message),
            };
        }
        Some(Command::Models { config, params, json }) => {
            let detail = match (json, params) {
                (true, _) => Detail::Json,
                (false, true) => Detail::Params,
                (false, false) => Detail::Models,
            };
            return match is_there(&config) {
                Ok(()) => params::run(&config, detail),
                Err(message) => fail(&message),
            };
        }
        Some(Command::Migrate { config }) => {
            start_log();
            return match is_there(&config).and_then(|()| migrate(&config)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(message) => fail(&message),
            };
        }
        Some(Command::Catalog(command)) => return catalog::run(&command),
        None => arguments.serve,
    };
    start_log();
    caught::log_places_only();
    match serve(&serve_arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    complain(&format!("ziggurat: {message}"));
    ExitCode::FAILURE
}

/// Prints to standard output, if anyone listens.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    // A reader that has left (`| head`) is no reason to fail.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn start_log() {
    let filter = EnvFilter::try_from_env("ZIGGURAT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_target(false)
        // It would be told on standard error, which is what has failed, and panic there.
        .log_internal_errors(false)
        .init();
}

fn serve(serve: &Serve) -> Result<(), String> {
    let (config, catalog) = match &serve.config {
        Some(path) => is_there(path).and_then(|()| load(path))?,
        None => (demo::config(), Catalog::embedded()),
    };
    let config = Arc::new(config);
    if !serve.host.is_loopback() && config.master_key.is_none() {
        return Err(format!(
            "refusing to listen on {}, which others can reach, without general_settings.master_key",
            serve.host
        ));
    }
    let (drainer, drain) = drain::channel();
    let timeouts = serve.upstream.with(config.request_timeout);
    let upstream = match serve.demo {
        true => Upstream::demo(),
        false => Upstream::http(timeouts, drain.clone()).map_err(|error| error.to_string())?,
    };
    let media = config.media.as_ref().map(Fetcher::new).transpose().map_err(|error| error.to_string())?;
    // Without keys to manage there is nothing to serve there.
    let admin_port = config.stores.admin_port.filter(|_| config.stores.database.is_some());
    let settings = serve.settings(admin_port);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let hint = if serve.demo { demo::hint } else { |_| String::new() };
    let served = runtime.block_on(async {
        let stores = Arc::new(Stores::open(&config).await?);
        let groups = Groups::new(&config, &catalog, timeouts, stores.cooldowns());
        let groups = groups.map_err(|error| error.to_string())?;
        say_what_guards(&config, &catalog, &groups);
        let routes = groups.routes().clone();
        let guards = Guards::new(&config, catalog, &stores);
        guards.warm();
        let limits = Limits::default().body(usize::from(serve.clients.max_request) << 20);
        let limits = limits.upload(u64::from(serve.clients.max_upload) << 20);
        let app = App::new(config, groups, guards, Arc::clone(&stores), (upstream, media), limits, drain);
        let app = Arc::new(app);
        let serving = server::serve(Arc::clone(&app), settings, drainer, |address, admin| {
            let admin = admin.map_or_else(String::new, |admin| format!("the admin API is on {admin}\n"));
            print(&format!("listening on {address}\n{admin}{}", hint(address)));
        });
        let served = tokio::select! {
            served = serving => served,
            never = stores.run() => match never {},
            () = stores.share_cooldowns(&routes) => unreachable!("invariant: it works until it is dropped"),
            () = app.probe() => unreachable!("invariant: it works until it is dropped"),
        };
        stores.close().await;
        served
    });
    // What still runs (the lookup of a name, say) is not worth waiting for.
    runtime.shutdown_background();
    served
}

fn migrate(path: &Path) -> Result<(), String> {
    let (config, _) = load(path)?;
    let Some(database) = &config.stores.database else {
        return Err(format!("{} has no general_settings.database_url", path.display()));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let migrated = runtime.block_on(Directory::migrate(&stores::url_of(database)));
    migrated.map_err(|error| stores::unusable(database, &error))?;
    print("the schema is up to date\n");
    Ok(())
}

fn is_there(path: &Path) -> Result<(), String> {
    match path.try_exists() {
        Ok(false) => Err(format!("{}: no such file", path.display())),
        // Why it cannot be looked for is told when it is read.
        _ => Ok(()),
    }
}

fn load(path: &Path) -> Result<(Config, Catalog), String> {
    let (result, findings) = match prices::load(path) {
        Ok((config, catalog, warnings)) => (Ok((config, catalog)), warnings),
        Err(findings) => {
            let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
            (Err(format!("{} has {}", path.display(), counted(errors, "error"))), findings)
        }
    };
    for finding in findings {
        complain(&finding.to_string());
    }
    result
}

/// Says what an operator may not expect of a budget.
fn say_what_guards(config: &Config, catalog: &Catalog, groups: &Groups) {
    if config.spending.budget.is_none() && !config.deployments.iter().any(|it| config.has_budget(it)) {
        return;
    }
    if config.ledger() == LedgerAt::Memory {
        tracing::warn!(
            "what is spent is kept in memory, and forgotten with this process: `ziggurat_settings.ledger` names a file for it"
        );
    }
    if config.spending.unpriced == Unpriced::Refuse {
        let guarded = config.deployments.iter().filter(|it| config.has_budget(it));
        for deployment in guarded.filter(|it| check::is_unpriced(it, catalog, groups)) {
            tracing::warn!("{}", check::unpriced_in_words(deployment));
        }
    }
}

/// An IP address, or the one name that needs no lookup.
fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| "expected an IP address or `localhost`".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // Clocks overflow on what is much longer.
    parsed.filter(|it| *it <= MAX_PATIENCE).ok_or_else(|| "expected a number of seconds".to_owned())
}

fn seconds_above_zero(text: &str) -> Result<Duration, String> {
    let parsed = seconds(text).ok().filter(|it| !it.is_zero());
    parsed.ok_or_else(|| "expected a number of seconds above zero".to_owned())
}

// ===== impl Serve =====

impl Serve {
    fn settings(&self, admin_port: Option<u16>) -> Settings {
        let Self { clients, .. } = self;
        let deadlines = Deadlines {
            head: clients.head_timeout,
            body: clients.body_timeout,
            keep_alive: clients.keep_alive_timeout,
            write: clients.write_timeout,
        };
        Settings {
            address: SocketAddr::new(self.host, self.port),
            admin: admin_port.map(|port| SocketAddr::new(self.host, port)),
            drain: self.drain_timeout,
            deadlines,
            max_in_flight: usize::try_from(u64::from(clients.max_in_flight) << 20).unwrap_or(usize::MAX),
        }
    }
}

// ===== impl UpstreamTimeouts =====

impl UpstreamTimeouts {
    /// With the config's `request_timeout`.
    fn with(&self, request_timeout: Option<Duration>) -> Timeouts {
        let Timeouts { connect: _, answer, idle } = Timeouts::default();
        Timeouts {
            connect: self.connect_timeout,
            answer: request_timeout.unwrap_or(answer),
            idle: self.idle_timeout.or(request_timeout).unwrap_or(idle),
        }
    }
}

const MAX_PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Serve, String> {
        let all = ["ziggurat"].iter().chain(arguments);
        Arguments::try_parse_from(all).map(|parsed| parsed.serve).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_design() {
        let serve = parse(&["--demo"]).expect("is enough");
        let settings = serve.settings(None);
        assert_eq!(settings.deadlines, Deadlines::default());
        assert_eq!(settings.drain, Duration::from_secs(30));
        assert_eq!(settings.max_in_flight, 1 << 30);
        assert_eq!((serve.clients.max_request, serve.clients.max_upload), (32, 1024));
        let timeouts = serve.upstream.with(None);
        assert_eq!(
            [timeouts.connect, timeouts.answer, timeouts.idle],
            [10, 600, 300].map(Duration::from_secs)
        );
        let timeouts = serve.upstream.with(Some(Duration::from_secs(7)));
        assert_eq!([timeouts.connect, timeouts.answer, timeouts.idle], [10, 7, 7].map(Duration::from_secs));
    }

    #[test]
    fn times_are_seconds_with_or_without_a_fraction() {
        let serve = parse(&["--demo", "--drain-timeout", "0", "--head-timeout", "0.25"]).expect("are times");
        assert_eq!(serve.drain_timeout, Duration::ZERO);
        assert_eq!(serve.clients.head_timeout, Duration::from_millis(250));
        for bad in ["0", "-1", "nan", "inf", "1s", "", "1e12"] {
            let error = parse(&["--demo", &format!("--head-timeout={bad}")]).expect_err("is no time");
            assert!(error.contains("expected a number of seconds above zero"), "{bad}: {error}");
        }
    }

    #[test]
    fn what_is_to_be_served_is_asked_for_with_the_demo_at_hand() {
        let error = parse(&[]).expect_err("names nothing");
        assert!(error.contains("--config <FILE>|--demo"), "{error}");
        assert!(parse(&["--demo", "--config", "config.yaml"]).is_err());
        assert!(Arguments::try_parse_from(["ziggurat", "check", "--config", "config.yaml"]).is_ok());
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains("ZIGGURAT_LOG"), "{help}");
    }

    #[test]
    fn a_host_is_an_address() {
        assert_eq!(parse(&["--demo", "--host", "localhost"]).expect("is one").host, Ipv4Addr::LOCALHOST);
        assert!(parse(&["--demo", "--host", "::1"]).expect("is one").host.is_loopback());
        assert!(parse(&["--demo", "--host", "my-laptop"]).is_err());
    }
}

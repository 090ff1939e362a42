//! LiteLLM's `config.yaml`, read into valid types once.
//!
//! Each key is read, or reported with its line and column: see `keys` for what happens to which. No message holds a
//! value of the file, since a mistake may have put a secret anywhere.

mod assertion;
mod aws;
mod budgets;
mod cache;
mod check;
mod credential;
mod deployment;
mod diagnostic;
mod entra;
mod env;
mod include;
mod keys;
mod media;
mod model;
mod nearest;
mod node;
mod pattern;
mod price;
mod provider;
mod resolve;
mod reworded;
pub(crate) mod routing;
mod spending;
mod stores;
mod tokens;
mod value;
mod vertex;
mod yaml;

#[cfg(test)]
mod aws_tests;
#[cfg(test)]
mod canary_tests;
#[cfg(test)]
mod credential_tests;
#[cfg(test)]
mod include_tests;
#[cfg(test)]
mod media_tests;
#[cfg(test)]
mod routing_tests;
#[cfg(test)]
mod spending_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

pub(crate) use self::assertion::{Assertion, token_in_file};
pub(crate) use self::aws::{AssumedBy, AssumedRole, Aws, Keys};
pub(crate) use self::budgets::TagAllowance;
pub(crate) use self::cache::{CachePlace, CacheSettings};
pub(crate) use self::deployment::Deployment;
pub(crate) use self::diagnostic::{Diagnostic, Severity};
pub(crate) use self::entra::{Entra, Proof as EntraProof};
pub(crate) use self::media::MediaSettings;
pub(crate) use self::provider::{Auth, encode};
pub(crate) use self::resolve::{Alias, Resolved};
pub(crate) use self::reworded::Reworded;
pub(crate) use self::spending::{LedgerAt, Margin, OnDisconnect, Place, Rates, Spending, TokenCounter};
pub(crate) use self::stores::{Database, Stores};
pub(crate) use self::tokens::Tokens;
pub(crate) use self::vertex::Account;

use self::check::check;
use self::diagnostic::Report;
use self::env::Environment;
use self::keys::{ALIAS, GENERAL_SETTINGS, LITELLM_SETTINGS, OPEN, ROOT, ROUTER_SETTINGS};
use self::node::{Node, Value};
use self::routing::Routing;
use self::value::{count, seconds};
use crate::secret::Secret;

/// What the file says.
#[derive(Debug)]
pub(crate) struct Config {
    /// `model_list`, in order; those with one alias are a group.
    pub(crate) deployments: Vec<Deployment>,
    /// `router_settings.model_group_alias`.
    pub(crate) aliases: Vec<Alias>,
    /// `general_settings.master_key`, else `LITELLM_MASTER_KEY`; never empty.
    pub(crate) master_key: Option<Secret>,
    /// `litellm_settings.drop_params`: whether to drop parameters that a model does not take.
    pub(crate) drop_params: bool,
    /// `litellm_settings.request_timeout`.
    pub(crate) request_timeout: Option<Duration>,
    /// How calls find their way to a deployment, and past those that fail.
    pub(crate) routing: Routing,
    /// What money may be spent, and how it is counted.
    pub(crate) spending: Spending,
    /// Where keys, limits and budgets are kept.
    pub(crate) stores: Stores,
    /// `general_settings.enable_jwt_auth` and `litellm_jwtauth`: the tokens that are believed.
    pub(crate) tokens: Option<Tokens>,
    /// `general_settings.reject_clientside_metadata_tags`: whether tags are for keys and teams alone to say.
    pub(crate) rejects_tags: bool,
    /// `ziggurat_settings.rpm` and the like, `general_settings.global_max_parallel_requests`: of all calls together.
    pub(crate) gateway_rates: Rates,
    /// `general_settings.max_parallel_requests`: of each key.
    pub(crate) key_rates: Rates,
    /// `ziggurat_settings.media`: what is fetched from URLs of callers'; `None` where nothing is.
    pub(crate) media: Option<MediaSettings>,
    /// `litellm_settings.cache` and `cache_params`: answers that are given again; `None` where none are.
    pub(crate) cache: Option<CacheSettings>,
    /// The deployments of each alias without `*`.
    groups: HashMap<String, Vec<usize>>,
    /// The aliases with `*`, those to try first at the front.
    patterns: Vec<String>,
}

/// A configuration with what deserves a warning, or all that is wrong.
pub(crate) type Outcome = Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>>;

// ===== impl Config =====

impl Config {
    /// Reads a text; `env` looks up environment variables.
    ///
    /// # Errors
    /// All findings, if one of them is an error.
    pub(crate) fn parse(text: &str, file_name: &str, env: &dyn Fn(&str) -> Option<String>) -> Outcome {
        let mut report = Report::default();
        let root = yaml::read(text, file_name, &mut report);
        if let Some(include) = root.as_ref().and_then(|root| root.get("include")) {
            report.error(&include.at, &include.path, "files can be included only by a file");
        }
        Self::from_root(root, env, report)
    }

    /// Reads a file, those that it includes, and the process's environment.
    ///
    /// # Errors
    /// All findings, if one of them is an error.
    pub(crate) fn load(path: &Path) -> Outcome {
        Self::load_with(path, &read_file, &|name| std::env::var(name).ok())
    }

    /// Where the ledger is kept: where the file says, else where what there is of stores lets it be shared, or outlive the process.
    pub(crate) fn ledger(&self) -> LedgerAt {
        let Stores { database, redis, .. } = &self.stores;
        match (&self.spending.ledger, database, redis) {
            (Some(at), _, _) => at.clone(),
            (None, Some(Database::Postgres(_)), _) => LedgerAt::Postgres,
            (None, _, Some(_)) => LedgerAt::Redis,
            (None, Some(Database::Sqlite(path)), None) => LedgerAt::File(path.clone()),
            (None, None, None) => LedgerAt::Memory,
        }
    }

    /// Whether a budget that the file states holds for every call at a deployment.
    pub(crate) fn has_budget(&self, deployment: &Deployment) -> bool {
        let Spending { budget, providers, .. } = &self.spending;
        budget.is_some() || deployment.budget.is_some() || providers.contains_key(&deployment.provider.id)
    }

    fn load_with(path: &Path, reader: include::Reader<'_>, env: &dyn Fn(&str) -> Option<String>) -> Outcome {
        let mut report = Report::default();
        let root = include::read(path, reader, &mut report);
        Self::from_root(root, env, report)
    }

    fn from_root(root: Option<Node>, env: &dyn Fn(&str) -> Option<String>, mut report: Report) -> Outcome {
        let config = root.map(|mut root| {
            let environment = Environment::resolve(&mut root, env, &mut report);
            Self::read(&root, &environment, &mut report)
        });
        report.finish(config)
    }

    fn read(root: &Node, environment: &Environment<'_>, report: &mut Report) -> Self {
        check(root, &ROOT, report);
        let sections = [
            ("general_settings", &GENERAL_SETTINGS),
            ("litellm_settings", &LITELLM_SETTINGS),
            ("router_settings", &ROUTER_SETTINGS),
        ];
        for (name, section) in sections {
            if let Some(node) = root.get(name) {
                check(node, section, report);
            }
        }
        let items = root.get("model_list").map_or(&[][..], Node::items);
        if items.is_empty() {
            report.warning(&root.at, "", "no `model_list`: there is nothing to call");
        }
        let of = |section: &str, key: &str| root.get(section).and_then(|section| section.get(key));
        let zone = of("litellm_settings", "timezone");
        let read = items.iter().filter_map(|item| Deployment::read(item, zone, environment, report));
        let mut deployments: Vec<Deployment> = read.collect();
        let master_key = of("general_settings", "master_key").and_then(Node::text).map(str::to_owned);
        let request_timeout = seconds(of("litellm_settings", "request_timeout"), report);
        let parallel = count(of("router_settings", "default_max_parallel_requests"), report);
        for deployment in &mut deployments {
            deployment.rates.parallel = deployment.rates.parallel.or(parallel);
        }
        let mut config = Self {
            spending: Spending::read(root, report),
            stores: Stores::read(root, environment, report),
            tokens: Tokens::read(root, environment, report),
            rejects_tags: of("general_settings", "reject_clientside_metadata_tags")
                .and_then(Node::flag)
                .unwrap_or(false),
            gateway_rates: Rates::of_gateway(root, report),
            key_rates: Rates::of_keys(root, report),
            aliases: of("router_settings", "model_group_alias")
                .map_or_else(Vec::new, |it| read_aliases(it, report)),
            master_key: master_key
                .filter(|key| !key.is_empty())
                .or_else(|| environment.get("LITELLM_MASTER_KEY"))
                .map(|key| Secret::new(&key)),
            drop_params: of("litellm_settings", "drop_params").and_then(Node::flag).unwrap_or(false),
            request_timeout,
            routing: Routing::default(),
            media: MediaSettings::read(root, report),
            cache: None,
            groups: HashMap::new(),
            patterns: Vec::new(),
            deployments,
        };
        config.index(report);
        config.routing = Routing::read(root, &config, report);
        config.cache = CacheSettings::read(root, config.stores.redis.is_some(), report);
        config.check_stores(root, report);
        config
    }

    /// What needs another setting that is not there.
    fn check_stores(&self, root: &Node, report: &mut Report) {
        let at = |section: &str, key: &str| root.get(section).and_then(|section| section.get(key));
        let missing = match (self.ledger(), &self.stores.database, &self.stores.redis) {
            (LedgerAt::Redis, _, None) => Some("`ziggurat_settings.redis` is missing"),
            (LedgerAt::Postgres, None | Some(Database::Sqlite(_)), _) => {
                Some("`general_settings.database_url` is not PostgreSQL's")
            }
            _ => None,
        };
        if let (Some(missing), Some(node)) = (missing, at("ziggurat_settings", "ledger")) {
            report.error(&node.at, &node.path, missing);
        }
        if let (None, Some(node)) = (&self.master_key, at("general_settings", "database_url")) {
            report.error(
                &node.at,
                &node.path,
                "`master_key` is missing: nobody could make or check the keys",
            );
        }
        if let (None, Some(_), Some(node)) =
            (&self.master_key, &self.tokens, at("general_settings", "enable_jwt_auth"))
        {
            report.error(
                &node.at,
                &node.path,
                "`master_key` is missing: nobody could manage what tokens may spend",
            );
        }
        if let (LedgerAt::Memory | LedgerAt::File(_), Some(node)) =
            (self.ledger(), at("ziggurat_settings", "on_budgets_away"))
        {
            let message = "does nothing: the ledger is in this process, and never away";
            report.warning(&node.at, &node.path, message);
        }
        if let (None, Some(node)) = (&self.stores.database, at("ziggurat_settings", "admin_port")) {
            report.warning(
                &node.at,
                &node.path,
                "does nothing yet: there is no `general_settings.database_url`",
            );
        }
    }
}

// ===== reading =====

fn read_aliases(node: &Node, report: &mut Report) -> Vec<Alias> {
    check(node, &OPEN, report);
    let read = node.entries().iter().filter_map(|entry| {
        let (target, hidden) = match &entry.node.value {
            Value::Text(target) => (target.clone(), false),
            Value::Map(_) => {
                check(&entry.node, &ALIAS, report);
                let target = deployment::required_text(&entry.node, "model", report)?;
                (target, entry.node.get("hidden").and_then(Node::flag).unwrap_or(false))
            }
            Value::Missing => return None,
            _ => {
                let message = format!("expected the name of a model group, found {}", entry.node.kind());
                report.error(&entry.node.at, &entry.node.path, message);
                return None;
            }
        };
        Some(Alias { name: entry.key.clone(), target, hidden, position: entry.node.at.clone() })
    });
    read.collect()
}

/// Reads a file, but no more of it than is needed to see that it is too large.
fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(yaml::FILE_LIMIT as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

//! The stores that a config names: opened before the first call, worked for as long as the process lives.

use std::{convert::Infallible, fmt, future::pending, sync::Arc, time::Duration};

use tokio::time::{interval, timeout};
use ziggurat_auth::{CachePolicy, VirtualKeys};
use ziggurat_budget::Ledger;
use ziggurat_cache::{CacheLayer, MemoryStore};
use ziggurat_core::{Clock, OnAway};
use ziggurat_limit::remote::Remote;
use ziggurat_redis::{Answers, Cooldowns, Limits, Redis};
use ziggurat_route::Routes;
use ziggurat_sql::{
    directory::{Directory, Options},
    postgres::{self, Pool, place},
};

use crate::{
    cache,
    config::{CachePlace, Config, Database, LedgerAt},
    ledger::{Keeper, LAST_WRITES},
    secret::Secret,
};

/// What outlives the process, or is shared with other gateways.
#[derive(Debug)]
pub(crate) struct Stores {
    keeper: Keeper,
    /// Counters of limits on Redis; in this process's memory where there is none.
    limits: Option<Remote<Limits>>,
    keys: Option<VirtualKeys<Directory>>,
    /// Cooldowns of deployments that gateways tell each other, where there is a Redis.
    cooldowns: Option<Cooldowns>,
    /// Where answers are kept that are given again, and those on Redis, for which somebody has to work.
    answers: Option<Arc<dyn ziggurat_cache::Store>>,
    shared_answers: Option<Answers>,
    policies: [OnAway; 2],
}

/// Whether the stores answer, for readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) database: Option<bool>,
    pub(crate) redis: Option<bool>,
    /// Whether calls are refused because of what is away.
    pub(crate) refuses: bool,
}

// ===== impl Stores =====

impl Stores {
    /// Opens what a config names, within the runtime that goes on to work for it.
    ///
    /// # Errors
    /// Says which key of the config names what cannot be used, and why.
    pub(crate) async fn open(config: &Config) -> Result<Self, String> {
        let settings = &config.stores;
        // Of `rediss://`; whoever has installed one before has the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let connect = |url: &Secret| {
            let options = ziggurat_redis::Options::new(url.expose());
            Redis::connect(match settings.deadline {
                Some(deadline) => options.response_timeout(deadline.max(WORK)),
                None => options,
            })
        };
        let redis = settings.redis.as_ref().map(connect).transpose();
        let redis = redis.map_err(|error| format!("the Redis of the config cannot be used: {error}"))?;
        let pool = match (config.ledger(), &settings.database) {
            (LedgerAt::Postgres, Some(database @ Database::Postgres(url))) => {
                Some(connect_database(database, url, config).await?)
            }
            _ => None,
        };
        let keys = match &settings.database {
            Some(database) => Some(open_keys(database, pool.as_ref(), config).await?),
            None => None,
        };
        let cache = config.cache.as_ref();
        let shared_answers = redis.as_ref().filter(|_| cache.is_some_and(|it| it.place == CachePlace::Redis));
        let shared_answers = shared_answers.map(|redis| match settings.deadline {
            Some(deadline) => redis.answers().deadline(deadline),
            None => redis.answers(),
        });
        let answers = cache.map(|cache| -> Arc<dyn ziggurat_cache::Store> {
            match &shared_answers {
                Some(answers) => Arc::new(answers.clone()),
                None => Arc::new(MemoryStore::new(cache.max_bytes)),
            }
        });
        let cooldowns = redis.as_ref().map(Redis::cooldowns);
        let keeper = Keeper::open(config, redis.as_ref(), pool.as_ref())?;
        let limits = redis.map(|redis| {
            let remote = Remote::new(redis.limits()).on_away(settings.on_limits_away).lease(LEASE);
            match settings.deadline {
                Some(deadline) => remote.deadline(deadline),
                None => remote,
            }
        });
        let policies = [settings.on_limits_away, settings.on_budgets_away];
        let stores = Self { keeper, limits, keys, cooldowns, answers, shared_answers, policies };
        // The first callers would else wait for connections longer than for an answer, and find the stores away.
        let connected = async {
            tokio::join!(stores.keys_connected(), stores.keeper.connected());
        };
        let _ = timeout(PATIENCE, connected).await;
        Ok(stores)
    }

    /// Waits until the database of keys answers within the time that a call has for it.
    async fn keys_connected(&self) {
        if let Some(keys) = &self.keys {
            until_it_answers(|| keys.store().ping()).await;
        }
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.keeper.ledger()
    }

    pub(crate) const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// The counters that gateways share, where they do.
    pub(crate) fn limits(&self) -> Option<Remote<Limits>> {
        self.limits.clone()
    }

    /// Where answers are kept that are given again, if they are.
    pub(crate) const fn answers(&self) -> Option<&Arc<dyn ziggurat_cache::Store>> {
        self.answers.as_ref()
    }

    /// The layer that gives answers again, where the config has one.
    pub(crate) fn cache(&self, config: &Config) -> Option<CacheLayer> {
        let (settings, store) = config.cache.as_ref().zip(self.answers.clone())?;
        Some(cache::layer(config, settings, store))
    }

    /// The keys that are kept in a database, where there is one.
    pub(crate) const fn keys(&self) -> Option<&VirtualKeys<Directory>> {
        self.keys.as_ref()
    }

    /// Where gateways tell each other which deployments cool down, if they do.
    pub(crate) const fn cooldowns(&self) -> Option<&Cooldowns> {
        self.cooldowns.as_ref()
    }

    /// Tells other gateways which deployments cool down, and hears of theirs: never ends.
    pub(crate) async fn share_cooldowns(&self, routes: &Routes) {
        match &self.cooldowns {
            Some(cooldowns) => cooldowns.run(routes, Cooldowns::EVERY).await,
            None => pending().await,
        }
    }

    /// Works for the stores: never ends.
    pub(crate) async fn run(&self) -> Infallible {
        let limits = async {
            match &self.limits {
                Some(limits) => limits.run().await,
                None => pending().await,
            }
        };
        let answers = async {
            match &self.shared_answers {
                Some(answers) => answers.run().await,
                None => pending().await,
            }
        };
        tokio::select! {
            never = self.keeper.run() => never,
            () = limits => pending().await,
            () = answers => pending().await,
        }
    }

    /// Writes down what is not written yet. For after the last call.
    pub(crate) async fn close(&self) {
        if let Some(limits) = &self.limits {
            // What is not corrected counts a minute longer.
            let _ = timeout(LAST_WRITES, limits.flush()).await;
        }
        if let Some(answers) = &self.shared_answers {
            // What is not kept is asked for again.
            let _ = timeout(LAST_WRITES, answers.flush()).await;
        }
        self.keeper.close().await;
    }

    /// Whether the stores answer, as far as is known.
    pub(crate) fn health(&self) -> Health {
        let limits = self.limits.as_ref().map(Remote::is_here);
        let (ledger_on_redis, ledger_on_database) = self.keeper.is_here();
        let keys = self.keys.as_ref().map(VirtualKeys::is_store_here);
        let both = |one: Option<bool>, other: Option<bool>| match (one, other) {
            (Some(one), Some(other)) => Some(one && other),
            (one, other) => one.or(other),
        };
        let ledger = ledger_on_redis.or(ledger_on_database);
        let [of_limits, of_budgets] = self.policies;
        let refused = |here: Option<bool>, policy| here == Some(false) && policy == OnAway::Deny;
        Health {
            database: both(keys, ledger_on_database),
            redis: both(limits, ledger_on_redis),
            refuses: refused(limits, of_limits) || refused(ledger, of_budgets),
        }
    }
}

/// Asks a store until it answers, without its failures counting.
pub(crate) async fn until_it_answers<T, E, F>(ask: impl Fn() -> F)
where
    F: Future<Output = Result<T, E>>,
{
    let mut tick = interval(AGAIN);
    loop {
        tick.tick().await;
        if ask().await.is_ok() {
            return;
        }
    }
}

/// How long a start waits for connections to the database, which was there a moment ago; without them it goes on as when it goes away later.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often they are asked meanwhile.
const AGAIN: Duration = Duration::from_millis(20);
/// How long Redis is waited for by what no caller waits for, at least.
const WORK: Duration = Duration::from_millis(500);
/// How long the admin API waits for a statement, and so the connection for it.
const STATEMENT: Duration = Duration::from_secs(5);
/// Connections to a database that has the ledger and the keys.
const MOST_CONNECTIONS: u32 = 24;
/// How long the places of a gateway that was killed stay taken.
const LEASE: Duration = Duration::from_secs(20);

/// Connections for all that is kept in PostgreSQL, the ledger and the keys.
async fn connect_database(database: &Database, url: &Secret, config: &Config) -> Result<Pool, String> {
    let deadline = config.stores.deadline.unwrap_or_default();
    let mut options = postgres::Options::default()
        .max_connections(MOST_CONNECTIONS)
        .statement_timeout(STATEMENT.max(deadline * 2));
    if !deadline.is_zero() {
        // What is waited for longer may take longer.
        options = options.acquire_timeout(deadline).lock_timeout(deadline);
    }
    let connected = postgres::connect(url.expose(), options).await;
    connected.map_err(|error| unusable(database, &error))
}

/// The keys of a database: on the connections of the ledger, where that is in it too.
async fn open_keys(
    database: &Database,
    pool: Option<&Pool>,
    config: &Config,
) -> Result<VirtualKeys<Directory>, String> {
    let settings = &config.stores;
    let mut options =
        Options::default().zone(&config.spending.timezone).access_groups(settings.access_groups.clone());
    if let Some(budget) = &settings.customer_budget {
        options = options.customer_budget(budget);
    }
    let mut policy = CachePolicy::default();
    if let Some(deadline) = settings.deadline {
        policy.deadline = deadline;
        options = options.lookup_deadline(deadline);
    }
    let opened = match pool {
        Some(pool) => Directory::over(pool.clone(), options),
        None => Directory::open(&url_of(database), options).await,
    };
    let directory = opened.map_err(|error| unusable(database, &error))?;
    if let Some(fresh) = settings.key_ttl {
        policy.fresh = fresh;
    }
    Ok(VirtualKeys::with_policy(directory, policy, Clock::system()))
}

/// Says which database cannot be used, and why; never with what password.
pub(crate) fn unusable(database: &Database, error: &dyn fmt::Display) -> String {
    let place = match database {
        Database::Sqlite(path) => Some(format!("SQLite file {}", path.display())),
        Database::Postgres(url) => place(url.expose()),
    };
    match place {
        Some(place) => format!("general_settings.database_url: {place}: {error}"),
        None => format!(
            "general_settings.database_url: {error}: expected postgresql://user:password@host:5432/name, special characters of the \
             password written as %xx"
        ),
    }
}

/// The URL by which the directory opens it.
pub(crate) fn url_of(database: &Database) -> String {
    match database {
        Database::Sqlite(path) => format!("sqlite:{}", path.display()),
        Database::Postgres(url) => url.expose().to_owned(),
    }
}

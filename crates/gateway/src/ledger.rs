//! The ledger of what is spent: where it is kept, its clock, its end.

use std::{
    convert::Infallible,
    future::pending,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval, timeout};
use ziggurat_budget::{
    Alert, Balance, Crossed, Ledger, Recovered,
    remote::{Backend, Remote},
};
use ziggurat_core::{Budget, Scope, Usd, Window};
use ziggurat_redis::{Budgets, Redis};
use ziggurat_sql::{
    Options, SqliteJournal,
    postgres::{Pool, PostgresLedger},
};

use crate::{
    config::{Config, LedgerAt, Spending},
    stores::until_it_answers,
};

/// The ledger, and what is behind it.
#[derive(Debug)]
pub(crate) struct Keeper {
    ledger: Ledger,
    behind: Behind,
}

#[derive(Debug)]
enum Behind {
    /// It is lost with the process.
    Nothing,
    File(Arc<SqliteJournal>),
    Redis {
        remote: Remote<Budgets>,
        budgets: Budgets,
    },
    Postgres {
        remote: Remote<PostgresLedger>,
        ledger: PostgresLedger,
    },
}

// ===== impl Keeper =====

impl Keeper {
    /// Opens the ledger that a config names, with what an earlier process left in it; on these connections where it is on Redis or in
    /// PostgreSQL.
    ///
    /// # Errors
    /// Says what cannot be used, and why.
    pub(crate) fn open(
        config: &Config,
        redis: Option<&Redis>,
        database: Option<&Pool>,
    ) -> Result<Self, String> {
        let (spending, stores) = (&config.spending, &config.stores);
        let policy = stores.on_budgets_away;
        let behind = match config.ledger() {
            LedgerAt::Memory => Behind::Nothing,
            LedgerAt::File(path) => {
                let (journal, recovered) = open_journal(&path)?;
                let ledger = in_memory(spending).journal(Arc::clone(&journal) as _, recovered);
                return Ok(Self { ledger, behind: Behind::File(journal) });
            }
            LedgerAt::Redis => {
                let redis = redis.ok_or("the ledger is to be on Redis, and there is none")?;
                let remote = Remote::new(redis.budgets()).on_away(policy);
                let remote = set_up(remote, stores.deadline, spending);
                let ledger = Ledger::new(remote.clone());
                return Ok(Self { ledger, behind: Behind::Redis { remote, budgets: redis.budgets() } });
            }
            LedgerAt::Postgres => {
                let pool = database.ok_or("the ledger is to be in PostgreSQL, and there is none")?;
                let ledger = PostgresLedger::new(pool.clone());
                let remote = Remote::new(ledger.clone()).on_away(policy).deadline(POSTGRES_DEADLINE);
                let remote = set_up(remote, stores.deadline, spending);
                let behind = Behind::Postgres { remote: remote.clone(), ledger };
                return Ok(Self { ledger: Ledger::new(remote), behind });
            }
        };
        Ok(Self { ledger: in_memory(spending), behind })
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// What the account of a budget stands at, by the latest word; `None` while that cannot be had.
    pub(crate) async fn balance(&self, budget: &Budget) -> Option<Balance> {
        let one = std::slice::from_ref(budget);
        match &self.behind {
            Behind::Nothing | Behind::File(_) => self.ledger.balance(budget),
            Behind::Redis { remote, .. } => remote.balances(one).await.ok()?.pop(),
            Behind::Postgres { remote, .. } => remote.balances(one).await.ok()?.pop(),
        }
    }

    /// Waits until the ledger answers, where it is on another machine.
    pub(crate) async fn connected(&self) {
        let one = [Budget::new(Scope::gateway(), Usd::ZERO, Window::Lifetime)];
        match &self.behind {
            Behind::Nothing | Behind::File(_) => {}
            Behind::Redis { budgets, .. } => {
                let _ = timeout(REDIS_PATIENCE, until_it_answers(|| budgets.balances(&one))).await;
            }
            Behind::Postgres { ledger, .. } => until_it_answers(|| ledger.balances(&one)).await,
        }
    }

    /// Whether the ledger answers, on Redis or in a database, if it is there.
    pub(crate) fn is_here(&self) -> (Option<bool>, Option<bool>) {
        match &self.behind {
            Behind::Nothing | Behind::File(_) => (None, None),
            Behind::Redis { remote, .. } => (Some(remote.is_here()), None),
            Behind::Postgres { remote, .. } => (None, Some(remote.is_here())),
        }
    }

    /// Posts what an earlier process held when its time is over, and deletes what is too old to count, as long as it is polled.
    pub(crate) async fn run(&self) -> Infallible {
        match &self.behind {
            Behind::Nothing | Behind::File(_) => self.tick().await,
            Behind::Redis { remote, .. } => {
                remote.run().await;
                pending().await
            }
            Behind::Postgres { remote, .. } => {
                tokio::select! {
                    () = remote.run() => pending().await,
                    never = self.tick() => never,
                }
            }
        }
    }

    async fn tick(&self) -> Infallible {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut prune_at = self.ledger.now();
        loop {
            tick.tick().await;
            let now = self.ledger.now();
            if now >= prune_at {
                prune_at = now + PRUNE_EVERY;
                self.prune(now).await;
            }
            let expired = self.ledger.expire(now);
            if expired > 0 {
                tracing::warn!("{expired} reservations of an earlier process are posted as unreconciled");
            }
        }
    }

    async fn prune(&self, now: SystemTime) {
        let before = now - Options::default().history;
        let pruned = match &self.behind {
            Behind::Nothing | Behind::Redis { .. } => Ok(()),
            Behind::File(journal) => journal.prune(before).await.map(drop).map_err(|error| error.to_string()),
            Behind::Postgres { ledger, .. } => {
                ledger.prune(before).await.map(drop).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = pruned {
            tracing::warn!(%error, "what is too old to count could not be deleted from the ledger");
        }
    }

    /// Writes down what is not written yet. For after the last call.
    pub(crate) async fn close(&self) {
        let written = match &self.behind {
            Behind::Nothing => return,
            Behind::File(journal) => match timeout(LAST_WRITES, journal.close()).await {
                Ok(Err(error)) => {
                    tracing::error!(%error, "the ledger is not all in its database: the next start reads the rest");
                    return;
                }
                Ok(Ok(())) => true,
                Err(_) => false,
            },
            Behind::Redis { remote, .. } => timeout(LAST_WRITES, remote.flush()).await.is_ok(),
            Behind::Postgres { remote, .. } => timeout(LAST_WRITES, remote.flush()).await.is_ok(),
        };
        match (written, &self.behind) {
            (true, _) => {}
            (false, Behind::File(_)) => {
                tracing::error!(
                    "the ledger was not written in {LAST_WRITES:?}: the next start reads the rest"
                );
            }
            (false, _) => tracing::error!(
                "what calls came to was not posted in {LAST_WRITES:?}: what was held for them will be, as unreconciled; what passed while the ledger was away is lost"
            ),
        }
    }
}

fn in_memory(spending: &Spending) -> Ledger {
    let ledger = Ledger::in_memory().on_alert(spending.alert_percents.iter().copied(), tell);
    match spending.hold_ttl {
        Some(ttl) => ledger.hold_ttl(ttl),
        None => ledger,
    }
}

fn set_up<B: Backend>(remote: Remote<B>, deadline: Option<Duration>, spending: &Spending) -> Remote<B> {
    let mut remote = remote.on_alert(spending.alert_percents.iter().copied(), tell);
    if let Some(deadline) = deadline {
        remote = remote.deadline(deadline);
    }
    match spending.hold_ttl {
        Some(ttl) => remote.hold_ttl(ttl),
        None => remote,
    }
}

fn open_journal(path: &Path) -> Result<(Arc<SqliteJournal>, Recovered), String> {
    SqliteJournal::open(path, Options::default()).map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(String::new, |why| format!(": {why}"));
        format!("ziggurat_settings.ledger: {error}{why}")
    })
}

/// Alerts go to the log. The id of a key is what the admin API calls it by: its hash, which opens nothing.
fn tell(alert: &Alert) {
    let Alert { account, cap, spent, crossed, .. } = alert;
    let models = account.models.as_deref();
    // An end user's name is the caller's to make up, line breaks and all.
    let id: String = account.scope.id.chars().take(MOST_TOLD).collect();
    let id = (!id.is_empty()).then_some(tracing::field::debug(id));
    let (scope, period) = (account.scope.kind, &account.period);
    match crossed {
        Crossed::Percent(percent) => {
            tracing::warn!(%scope, id, models, %period, "{percent} % of the budget of ${cap} are spent: ${spent}");
        }
        Crossed::Soft(soft) => {
            tracing::warn!(%scope, id, models, %period, "the soft budget of ${soft} is spent: ${spent}");
        }
        _ => tracing::warn!(%scope, id, models, %period, "the budget of ${cap} stands at ${spent}"),
    }
}

/// How often is looked for reservations whose time is over.
const EVERY: Duration = Duration::from_secs(1);
/// How long a decision may take on PostgreSQL, which writes each to its disk.
const POSTGRES_DEADLINE: Duration = Duration::from_millis(90);
/// How much of an id is logged.
const MOST_TOLD: usize = 200;
/// How often is looked for what is too old.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// How long a start waits for a Redis that may not be there.
const REDIS_PATIENCE: Duration = Duration::from_secs(2);
/// How long writing may take at a stop.
pub(crate) const LAST_WRITES: Duration = Duration::from_secs(5);

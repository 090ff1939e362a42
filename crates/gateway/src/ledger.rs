//! The ledger of what is spent: where it is kept, its clock, its end.

use std::{
    future::Future,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval, timeout};
use ziggurat_budget::{ALERT_PERCENTS, Alert, Crossed, Ledger, Recovered};
use ziggurat_core::Window;
use ziggurat_sql::{Options, SqliteJournal};

use crate::config::Spending;

/// The ledger, and the file behind it where there is one.
#[derive(Debug)]
pub(crate) struct Keeper {
    ledger: Ledger,
    journal: Option<Arc<SqliteJournal>>,
    /// How old what is posted may be and still count.
    history: Duration,
}

// ===== impl Keeper =====

impl Keeper {
    /// Opens the ledger that a config names, with what an earlier process left in it.
    ///
    /// # Errors
    /// Says which file cannot be used, and why.
    pub(crate) fn open(spending: &Spending) -> Result<Self, String> {
        let mut ledger = Ledger::in_memory().on_alert(ALERT_PERCENTS, tell);
        if let Some(ttl) = spending.hold_ttl {
            ledger = ledger.hold_ttl(ttl);
        }
        let history = history(spending, ledger.now());
        let Some(path) = &spending.ledger else { return Ok(Self { ledger, journal: None, history }) };
        let (journal, recovered) = open_journal(path, history)?;
        let ledger = ledger.journal(Arc::clone(&journal) as _, recovered);
        Ok(Self { ledger, journal: Some(journal), history })
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Posts what an earlier process held when its time is over, and deletes what is too old to count, as long as it is polled.
    pub(crate) fn run(&self) -> impl Future<Output = std::convert::Infallible> + use<> {
        let (ledger, journal, history) = (self.ledger.clone(), self.journal.clone(), self.history);
        async move {
            let mut tick = interval(EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut prune_at = ledger.now();
            loop {
                tick.tick().await;
                if let Some(journal) = &journal
                    && ledger.now() >= prune_at
                {
                    prune_at = ledger.now() + PRUNE_EVERY;
                    if let Err(error) = journal.prune(ledger.now() - history).await {
                        tracing::warn!(%error, "what is too old to count could not be deleted from the ledger");
                    }
                }
                let expired = ledger.expire(ledger.now());
                if expired > 0 {
                    tracing::warn!("{expired} reservations of an earlier process are posted as unreconciled");
                }
            }
        }
    }

    /// Writes down what is not written yet. For after the last call.
    pub(crate) async fn close(self) {
        let Some(journal) = self.journal else { return };
        match timeout(LAST_WRITES, journal.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the ledger is not all in its database: the next start reads the rest");
            }
            Err(_) => tracing::error!(
                "the ledger was not written in {LAST_WRITES:?}: the next start reads the rest"
            ),
        }
    }
}

/// How old what was spent may be and still count.
fn history(spending: &Spending, now: SystemTime) -> Duration {
    let window = match &spending.budget {
        Some((_, Window::Calendar(calendar))) => {
            let period = calendar.period(now);
            period.end.duration_since(period.start).unwrap_or_default()
        }
        Some((_, Window::Rolling(span))) => *span,
        _ => Duration::ZERO,
    };
    // A leap day and the clocks' changes are within the fourth.
    Options::default().history.max(window + window / 4)
}

fn open_journal(path: &Path, history: Duration) -> Result<(Arc<SqliteJournal>, Recovered), String> {
    SqliteJournal::open(path, Options::default().history(history)).map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(String::new, |why| format!(": {why}"));
        format!("ziggurat_settings.ledger: {error}{why}")
    })
}

/// Alerts go to the log. The kind of scope is named, never its id: that may be a key's.
fn tell(alert: &Alert) {
    let Alert { account, cap, spent, crossed, .. } = alert;
    let scope = account.scope.kind;
    match crossed {
        Crossed::Percent(percent) => {
            tracing::warn!(%scope, "{percent} % of the budget of ${cap} are spent: ${spent}");
        }
        Crossed::Soft(soft) => tracing::warn!(%scope, "the soft budget of ${soft} is spent: ${spent}"),
        _ => tracing::warn!(%scope, "the budget of ${cap} stands at ${spent}"),
    }
}

/// How often is looked for reservations whose time is over.
const EVERY: Duration = Duration::from_secs(1);
/// How often is looked for what is too old.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// How long writing may take at a stop.
const LAST_WRITES: Duration = Duration::from_secs(5);

//! The ledger: the store that budgets are counted in, and what goes with it.

mod entry;
mod hold;
mod memory;
mod recovered;
mod unreconciled;

#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ziggurat_core::{Budget, Clock, Patience, Usd};

pub(crate) use self::entry::{oldest_bucket, unix_seconds};
use self::memory::Memory;
use crate::{
    Alert, Balance, Charge, Claim, Held, HoldId, Journal, Recovered, Refused, Reply, Store, alert::Alerts,
    applies::Budgets,
};

/// Where a [`BudgetLayer`](crate::BudgetLayer) counts what is spent and set aside. Clones share it.
///
/// # Example
/// ```
/// use ziggurat_budget::{Charge, Claim, HoldId, Ledger, Refused};
/// use ziggurat_core::{Budget, Scope, Usd, Window};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let ledger = Ledger::in_memory().on_alert([80, 100], |alert| println!("{alert:?}"));
/// let budget = Budget::new(Scope::tenant("acme"), Usd::dollars(1), Window::Lifetime);
/// let claim = |cents| {
///     let (id, amount) = (HoldId::unique(ledger.now()), Usd::cents(cents));
///     Claim::new(id, id, [budget.clone()].into(), amount, amount)
/// };
/// let held = ledger.reserve(claim(60)).wait().await.unwrap();
/// assert!(matches!(ledger.reserve(claim(60)).wait().await, Err(Refused::Exceeded { .. })));
/// held.hold.settle(Charge::new(Usd::cents(5)));
/// assert_eq!(ledger.balance(&budget).unwrap().spent, Usd::cents(5));
/// # });
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// # Limits
/// In memory it keeps at most a million accounts ([`Ledger::capacity`]), of each a fingerprint of 128 bits under keys of its own and no
/// name. An account may be forgotten when nothing is held in it and nothing spent counts any more, and no other: when there is no
/// room for a new one, its call is refused as [`Refused::Unavailable`]. A rolling window is cut into 64 slices, and what was spent in
/// one counts until all of that slice has left the window: a cap holds in any stretch of the window's length, and money may come
/// back up to a 64th of it late. When the wall clock steps back, nothing is forgotten early: a period of the calendar that has
/// begun goes on until its end. What was settled above what was held is posted in full, and nothing fits until it is forgotten.
#[derive(Clone)]
pub struct Ledger(Kind);

#[derive(Clone)]
enum Kind {
    Memory(Arc<Memory>),
    Other { store: Arc<dyn Store>, clock: Clock },
}

// ===== impl Ledger =====

impl Ledger {
    /// A ledger in this process's memory, exact for one process; lost with it, unless it has a [journal](Ledger::journal).
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Kind::Memory(Arc::new(Memory::new())))
    }

    /// A ledger that is kept elsewhere.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self(Kind::Other { store: Arc::new(store), clock: Clock::system() })
    }

    /// Sets the clock; the system's unless set.
    ///
    /// # Panics
    /// When the ledger is in memory and was cloned or used before: its state is made once.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        match &mut self.0 {
            Kind::Other { clock: own, .. } => *own = clock,
            Kind::Memory(_) => self.memory_to_set_up().clock = clock,
        }
        self
    }

    /// Sets how many accounts are kept in memory: one for each budget of each scope. A million unless set; as many more as a
    /// journal hands over.
    ///
    /// # Panics
    /// When the ledger is not in memory, or was cloned or used before.
    #[must_use]
    pub fn capacity(mut self, accounts: usize) -> Self {
        self.memory_to_set_up().capacity = accounts;
        self
    }

    /// Writes down what is held and posted, and starts from what an earlier process left: what it posted is spent, what it held
    /// is held until it expires, and then posted as unreconciled.
    ///
    /// # Panics
    /// When the ledger is not in memory, or was cloned or used before.
    #[must_use]
    pub fn journal(mut self, journal: Arc<dyn Journal>, recovered: Recovered) -> Self {
        let memory = self.memory_to_set_up();
        memory.journal = Some(journal);
        memory.recovered = Mutex::new(recovered);
        self
    }

    /// Sets how long after they were made the holds of a crashed process are posted as unreconciled; 10 minutes unless set. It
    /// should be longer than calls take. The holds of a process that lives do not expire: each is settled or dropped.
    ///
    /// # Panics
    /// When the ledger is not in memory, or was cloned or used before.
    #[must_use]
    pub fn hold_ttl(mut self, after: Duration) -> Self {
        self.memory_to_set_up().hold_ttl = after;
        self
    }

    /// Tells when an account's spending reaches its soft amount, or so many percent of its cap ([`ALERT_PERCENTS`] is usual; at
    /// most 31 of them, 0 is none): once for each in a window, to `deliver`, which is called outside of locks in whatever task
    /// settles, and must neither block nor panic. What an earlier process had reached is not told again. In a rolling window an
    /// amount is told again after the window's length at the earliest. What [`Ledger::expire`] and
    /// [`Ledger::reconcile`] post is told with the account's next call.
    ///
    /// [`ALERT_PERCENTS`]: crate::ALERT_PERCENTS
    ///
    /// # Panics
    /// When the ledger is not in memory, or was cloned or used before.
    #[must_use]
    pub fn on_alert(
        mut self,
        percents: impl IntoIterator<Item = u8>,
        deliver: impl Fn(&Alert) + Send + Sync + 'static,
    ) -> Self {
        self.memory_to_set_up().alerts = Some(Alerts::new(percents, deliver));
        self
    }

    /// The time by its clock.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Kind::Memory(memory) => memory.clock.now(),
            Kind::Other { clock, .. } => clock.now(),
        }
    }

    /// Whether it may be on another machine, so that a call may have to wait for it.
    pub(crate) const fn may_wait(&self) -> bool {
        matches!(self.0, Kind::Other { .. })
    }

    /// Sets aside as much as fits into every account, at most `claim.most` and at least `claim.least`; or nothing anywhere.
    pub fn reserve(&self, claim: Claim) -> Reply<Result<Held, Refused>> {
        match &self.0 {
            Kind::Memory(memory) => {
                let Claim { id, call, budgets, least, most, .. } = claim;
                Reply::Ready(memory.reserve((id, call), budgets.iter().cloned(), least, most))
            }
            Kind::Other { store, .. } => store.reserve(claim),
        }
    }

    /// As [`Ledger::reserve`], for the whole of a call, with budgets that nobody else needs: in memory they are kept without a copy.
    pub(crate) fn reserve_call(
        &self,
        id: HoldId,
        budgets: Budgets,
        (least, most): (Usd, Usd),
        patience: Option<Patience>,
    ) -> Reply<Result<Held, Refused>> {
        match &self.0 {
            Kind::Memory(memory) => Reply::Ready(memory.reserve((id, id), budgets, least, most)),
            Kind::Other { store, .. } => {
                let claim = Claim::new(id, id, budgets.into_iter().collect(), least, most);
                store.reserve(claim.patience(patience))
            }
        }
    }

    /// What is spent and set aside in the account of `budget` now, where that is known without asking another machine.
    #[must_use]
    pub fn balance(&self, budget: &Budget) -> Option<Balance> {
        match &self.0 {
            Kind::Memory(memory) => Some(memory.balance(budget)),
            Kind::Other { store, .. } => store.balance(budget),
        }
    }

    /// Posts the holds of an earlier process that have expired by `now`, as unreconciled. Gives how many there were.
    ///
    /// This also happens whenever the ledger is asked for anything. A host calls it about once a second, so that it is written down
    /// in time where nothing is asked. A hold in an account whose window only the host knows (a [`Calendar`] of its own) stays
    /// held until a budget of that account is looked at.
    ///
    /// [`Calendar`]: ziggurat_core::Calendar
    pub fn expire(&self, now: SystemTime) -> usize {
        match &self.0 {
            Kind::Memory(memory) => memory.expire(now),
            Kind::Other { .. } => 0,
        }
    }

    /// Posts what a hold was charged that nobody had settled: in the place of what was posted when it expired or was dropped, in
    /// the same buckets. Says whether there was such a hold; each can be put right once, and the latest 10 000 of this process.
    pub fn reconcile(&self, id: HoldId, charge: Charge) -> bool {
        match &self.0 {
            Kind::Memory(memory) => memory.reconcile(id, charge),
            Kind::Other { .. } => false,
        }
    }

    fn memory_to_set_up(&mut self) -> &mut Memory {
        let Kind::Memory(memory) = &mut self.0 else { panic!("this option is the ledger's in memory") };
        let memory = Arc::get_mut(memory).filter(|memory| !memory.is_made());
        memory.expect("a ledger is set up before it is cloned or used")
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

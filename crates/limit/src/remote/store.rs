//! The store: what stands between the layer and counters on another machine.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use ziggurat_core::{Asked, Clock, Limit, Link, Measure, OnAway, Patience, Scope, Work};

use super::{Backend, Correction, TakeId, levels::Levels, ticket::RemoteTicket};
use crate::{Ask, Level, MemoryStore, Quota, Refused, Reply, Store, Taken, Ticket, Used};

/// Counts on another machine, that several nodes share: one round trip a decision under a deadline, and none that is waited for when a call
/// ends. Cheap to clone; clones are one.
///
/// The host spawns [`Remote::run`], on tokio with its timer on: without it places are not freed there until their lease runs out, and a
/// machine that was away is not found again.
///
/// # When the machine is away
/// After three calls in a row without an answer it is known to be away, and callers are answered at once by [`Remote::on_away`]; so is the
/// call that ran into the deadline. With [`OnAway::Deny`] they are refused. With [`OnAway::Allow`] they pass, and nothing is counted. With
/// [`OnAway::Local`] they are counted in this process's memory, under each limit divided by so many nodes, rounded up. That store begins
/// empty, and lasts as long as the process: in no stretch of a window's length, however often the machine comes and goes, does it let
/// through more than its share; what the machine itself counted before is not in it.
///
/// # Limits
/// At most [`Remote::capacity`] takes are open or on their way to be corrected; more are refused as [`Refused::Unavailable`]. A take that
/// nobody waited for is corrected as well. Where the last 100,000 limits stand is remembered, for [`Store::level`].
pub struct Remote<B>(Arc<Inner<B>>);

pub(super) struct Inner<B> {
    pub(super) backend: B,
    pub(super) link: Arc<Link<Correction>>,
    pub(super) lease: Duration,
    pub(super) levels: Levels,
    /// What this process counts while the machine is away.
    share: MemoryStore,
    /// Takes that have places there.
    running: Mutex<HashMap<TakeId, Arc<[Ask]>>>,
    /// Begins the ids of this process.
    node: u64,
    takes: AtomicU64,
    /// A place that nobody has, to ask whether the machine is there.
    nobody: [(TakeId, Arc<[Ask]>); 1],
}

/// Of a call that was let through uncounted.
struct Uncounted;

// ===== impl Remote =====

impl<B: Backend> Remote<B> {
    /// A store that counts there.
    #[must_use]
    pub fn new(backend: B) -> Self {
        let place = Ask::new(Limit::concurrency(Scope::gateway(), 0), 0);
        Self(Arc::new(Inner {
            backend,
            link: Arc::new(Link::new("limits")),
            lease: LEASE,
            levels: Levels::new(),
            share: MemoryStore::new(),
            running: Mutex::default(),
            node: RandomState::new().hash_one(()),
            takes: AtomicU64::new(0),
            nobody: [(TakeId(0), [place].into())],
        }))
    }

    /// Sets how long a decision may take; 50 ms unless set.
    ///
    /// # Panics
    /// When the store was cloned or used before, as every option.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.change_link(|link| link.set_deadline(deadline))
    }

    /// Sets what happens to calls while the machine is away; they are refused unless set.
    ///
    /// # Panics
    /// When the store was cloned or used before.
    #[must_use]
    pub fn on_away(self, policy: OnAway) -> Self {
        self.change_link(|link| link.set_on_away(policy))
    }

    /// Sets after what time the places of a process that has crashed are free again; a minute unless set. Those of one that lives are
    /// renewed whenever a third of it has passed.
    ///
    /// # Panics
    /// When the store was cloned or used before.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        self.change(|inner| inner.lease = lease)
    }

    /// Sets how many takes may be open or on their way to be corrected; 65,536 unless set. One that is under limits of concurrency and
    /// under others counts twice.
    ///
    /// # Panics
    /// When the store was cloned or used before.
    #[must_use]
    pub fn capacity(self, takes: usize) -> Self {
        self.change_link(|link| link.set_capacity(takes))
    }

    /// Sets the clock; the system's unless set.
    ///
    /// # Panics
    /// When the store was cloned or used before.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.change_link(|link| link.set_clock(clock))
    }

    /// Whether the machine is there, as far as is known: what a host's readiness tells.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.0.link.is_here()
    }

    /// How many corrections are on their way.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.link.queued()
    }

    /// How much of [`Remote::capacity`] is in use.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.link.taken()
    }

    /// The worker: sends corrections, renews places, and looks for the machine while it is away. Never ends; the host spawns it once, and
    /// drops it when it stops.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<B> {
        let inner = Arc::clone(&self.0);
        async move { inner.link.run(&*inner, inner.lease / 3).await }
    }

    /// Waits until all corrections have arrived, for a clean stop; whether [`Remote::run`] still runs or not. Takes for ever while the
    /// machine is away: the host gives it its own time.
    pub fn flush(&self) -> impl Future<Output = ()> + Send + use<B> {
        let inner = Arc::clone(&self.0);
        async move { inner.link.flush(&*inner).await }
    }

    fn change(mut self, change: impl FnOnce(&mut Inner<B>)) -> Self {
        change(Arc::get_mut(&mut self.0).expect(SET_UP));
        self
    }

    fn change_link(self, change: impl FnOnce(&mut Link<Correction>)) -> Self {
        self.change(|inner| change(Arc::get_mut(&mut inner.link).expect(SET_UP)))
    }
}

impl<B: Backend> Store for Remote<B> {
    fn take(&self, asks: &[Ask], now: SystemTime) -> Reply<Result<Taken, Refused>> {
        self.take_within(asks, now, &Patience::default())
    }

    fn take_within(
        &self,
        asks: &[Ask],
        now: SystemTime,
        patience: &Patience,
    ) -> Reply<Result<Taken, Refused>> {
        let inner = &self.0;
        if !inner.link.is_here() {
            return inner.away(asks, now);
        }
        let Some(ticket) = RemoteTicket::new(inner, asks) else {
            return Reply::Ready(Err(Refused::Unavailable("as many calls as may be are open")));
        };
        Reply::Later(Box::pin(take(Arc::clone(inner), ticket, now, patience.clone())))
    }

    fn may_wait(&self) -> bool {
        true
    }

    fn level(&self, limit: &Limit, now: SystemTime) -> Option<Level> {
        self.0.levels.of(limit, now)
    }
}

impl<B> Clone for Remote<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Remote<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("link", &self.0.link).finish_non_exhaustive()
    }
}

/// Asks the machine. A ticket that is dropped on the way frees what may have been taken.
async fn take<B: Backend>(
    inner: Arc<Inner<B>>,
    mut ticket: RemoteTicket<B>,
    now: SystemTime,
    patience: Patience,
) -> Result<Taken, Refused> {
    let (id, asks) = ticket.asking();
    match inner.link.ask_within(&patience, inner.backend.take(id, &asks, inner.lease)).await {
        Ok(Ok(granted)) => {
            inner.levels.note(&asks, &granted.levels, now);
            let quota: Quota = granted.levels.iter().copied().collect();
            ticket.counted(granted.at);
            Ok(Taken::new(quota, Box::new(ticket)))
        }
        Ok(Err(refused)) => {
            ticket.refused();
            Err(refused)
        }
        Err(_) => {
            drop(ticket);
            inner.away(&asks, now).wait().await
        }
    }
}

// ===== impl Inner =====

impl<B: Backend> Inner<B> {
    pub(super) fn next_id(&self) -> TakeId {
        let number = self.takes.fetch_add(1, Ordering::Relaxed);
        TakeId(u128::from(self.node) << 64 | u128::from(number))
    }

    pub(super) fn running(&self) -> MutexGuard<'_, HashMap<TakeId, Arc<[Ask]>>> {
        // Nothing panics while it is held.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer of the policy.
    fn away(&self, asks: &[Ask], now: SystemTime) -> Reply<Result<Taken, Refused>> {
        let nodes = match self.link.on_away() {
            OnAway::Local(nodes) => u64::from(nodes.get()),
            OnAway::Allow => return Reply::Ready(Ok(Taken::new(Quota::default(), Box::new(Uncounted)))),
            _ => return Reply::Ready(Err(Refused::Unavailable("it is away"))),
        };
        let own = |ask: &Ask| {
            let mut limit = ask.limit.clone();
            limit.most = limit.most.div_ceil(nodes);
            Ask::new(limit, ask.amount)
        };
        let shares: Vec<Ask> = asks.iter().map(own).collect();
        let fits = asks.iter().all(|ask| ask.limit.most > 0 && ask.amount <= ask.limit.most);
        match self.share.take(&shares, now) {
            // It is told to come back, as it fits when the machine is there again.
            Reply::Ready(Err(Refused::Exceeded(exceeded))) if fits && exceeded.retry_after.is_none() => {
                Reply::Ready(Err(Refused::Unavailable("it is away, and this is more than the node's share")))
            }
            answer => answer,
        }
    }
}

impl<B: Backend> Work for Inner<B> {
    type Item = Correction;
    type Open = (TakeId, Arc<[Ask]>);

    fn settle<'a>(&'a self, batch: &'a [Correction]) -> Asked<'a, ()> {
        self.backend.settle(batch)
    }

    fn settled(&self, _batch: &[Correction]) {}

    fn open(&self) -> Vec<Self::Open> {
        self.running().iter().map(|(id, asks)| (*id, Arc::clone(asks))).collect()
    }

    fn renew<'a>(&'a self, batch: &'a [Self::Open]) -> Asked<'a, ()> {
        self.backend.renew(batch, self.lease)
    }

    fn probe(&self) -> Asked<'_, ()> {
        self.backend.renew(&self.nobody, self.lease)
    }
}

// ===== impl Uncounted =====

impl Ticket for Uncounted {
    fn leave(&mut self) {}

    fn settle(self: Box<Self>, _used: Used, _now: SystemTime) {}
}

/// Whether a place is held by who has it.
pub(super) fn is_place(ask: &Ask) -> bool {
    ask.limit.measure == Measure::Concurrency
}

const SET_UP: &str = "a store is set up before it is cloned or used";

/// Unless set.
const LEASE: Duration = Duration::from_secs(60);

//! The store: what stands between the layer and a ledger on another machine.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    join,
    sync::{Mutex as Turn, Notify},
    time::{sleep, timeout},
};
use ziggurat_core::{Asked, Away, Budget, Clock, Link, OnAway, Usd, Work};

use super::{
    Backend, Settlement,
    hold::{Asking, Open, Queued, Summed},
    known::Known,
    overflow::Overflow,
    watch::Watch,
};
use crate::{Alert, Balance, Claim, Held, HoldId, Refused, Reply, Store, alert::Alerts};

/// Keeps holds and postings on another machine, that several nodes share: one round trip a reservation under a deadline, and none that is
/// waited for when a call ends. Cheap to clone; clones are one. For [`Ledger::new`](crate::Ledger::new).
///
/// The host spawns [`Remote::run`], on tokio with its timer on: without it nothing is posted, and a machine that was away is not found
/// again.
///
/// # When the machine is away
/// After three calls in a row without an answer it is known to be away, and callers are answered at once by [`Remote::on_away`]; so is the
/// call that ran into the deadline, and a stream that has to set aside more. When the machine is back it is told first of all what was set
/// aside by this process alone and is still open, and holds that from then on, whatever fits; what has ended meanwhile is posted.
///
/// A reservation whose budgets have no cap is never asked for: its call passes, and is posted at its end.
///
/// With [`OnAway::Deny`] all is refused. With [`OnAway::Allow`] all passes. With [`OnAway::Local`] an account has in this process what was
/// left of it when the machine last spoke of it, divided by so many nodes: once, until the machine speaks of it again. So it does not
/// grow with the number of absences, nor when a window ends meanwhile. An account of which this process has heard nothing has nothing.
///
/// So what is spent and held in an account exceeds its cap by at most what processes gave without the machine: with `Local`, for each of
/// them its part of what was left when it last heard, and all together what was left, where all heard the same. Nothing that the machine
/// decides adds to that once a process has told it, which is before that process, but not before others, asks it again; what is given in
/// the round trip in between is told with the next, within a second. A hold that the machine itself had made and that expired there
/// meanwhile stays posted with what it had then, until it is settled.
///
/// # Limits
/// At most [`Remote::capacity`] reservations are open or on their way to be posted; more are refused as [`Refused::Unavailable`], under
/// every policy: nothing that was spent under a cap is lost as long as the process lives. Those without a cap are not refused: what they
/// come to is summed up by account, and each sum is posted under one id when there is a place for it, within a second or so. That is done
/// for 10,000 accounts; what others come to meanwhile is lost, and [`Remote::uncounted`] tells. Where the last 100,000 accounts stand is
/// remembered.
///
/// # When the process is killed
/// What the machine has set aside, it posts when it expires. Of what it does not know of, nobody posts anything: of what was given while it
/// was away; and of calls without a cap, those that began within about the last second, as it is told of them once a second
/// ([`Backend::adopt`]), and all that was summed up.
pub struct Remote<B: Backend>(Arc<Inner<B>>);

pub(super) struct Inner<B: Backend> {
    pub(super) backend: B,
    pub(super) link: Arc<Link<Queued>>,
    pub(super) hold_ttl: Duration,
    pub(super) known: Known,
    pub(super) overflow: Overflow,
    watch: Option<Watch>,
    /// Something may be to be told.
    reached: Notify,
    /// Whose turn it is to tell: two who ask by the same hold would both tell.
    telling: Turn<()>,
    /// Holds that are, or may be, open there.
    open: Mutex<HashSet<HoldId>>,
    /// Holds of which the machine does not know all that was set aside.
    untold: Mutex<HashMap<HoldId, Weak<Open<B>>>>,
}

// ===== impl Remote =====

impl<B: Backend> Remote<B> {
    /// A store that keeps its holds there.
    #[must_use]
    pub fn new(backend: B) -> Self {
        Self(Arc::new(Inner {
            backend,
            link: Arc::new(Link::new("budgets")),
            hold_ttl: HOLD_TTL,
            known: Known::new(),
            overflow: Overflow::default(),
            watch: None,
            reached: Notify::new(),
            telling: Turn::new(()),
            open: Mutex::default(),
            untold: Mutex::default(),
        }))
    }

    /// Sets how long a reservation may take; 50 ms unless set.
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

    /// Sets after what time the holds of a process that has crashed are posted as unreconciled; 10 minutes unless set. Those of one that
    /// lives are renewed whenever a third of it has passed.
    ///
    /// # Panics
    /// When the store was cloned or used before.
    #[must_use]
    pub fn hold_ttl(self, after: Duration) -> Self {
        self.change(|inner| inner.hold_ttl = after)
    }

    /// Sets how many reservations may be open or on their way to be posted; 65,536 unless set.
    ///
    /// # Panics
    /// When the store was cloned or used before.
    #[must_use]
    pub fn capacity(self, reservations: usize) -> Self {
        self.change_link(|link| link.set_capacity(reservations))
    }

    /// Tells when an account's spending reaches its soft amount, or so many percent of its cap, as [`Ledger::on_alert`] does: once for each
    /// in a window, by the process whose settlement reached it. `deliver` is called by the worker. All that share a ledger tell of the same
    /// percents. What the machine posts itself, as it does with holds that have expired, is told with the account's next settlement. What
    /// was told is not told again in that window when it is reached again; but a cap or a soft amount that was raised since is. Of a
    /// process that dies as it is about to tell, nobody tells.
    ///
    /// [`Ledger::on_alert`]: crate::Ledger::on_alert
    ///
    /// # Panics
    /// When the store was cloned or used before.
    #[must_use]
    pub fn on_alert(
        self,
        percents: impl IntoIterator<Item = u8>,
        deliver: impl Fn(&Alert) + Send + Sync + 'static,
    ) -> Self {
        self.change(|inner| inner.watch = Some(Watch::new(Alerts::new(percents, deliver))))
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

    /// How many settlements are on their way.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.link.queued()
    }

    /// How much of [`Remote::capacity`] is in use.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.link.taken()
    }

    /// How many charges of calls without a cap were lost since the start, as there was no room even for their sums.
    #[must_use]
    pub fn uncounted(&self) -> u64 {
        self.0.overflow.uncounted()
    }

    /// What is spent and set aside in the accounts of these budgets now, as the machine says.
    ///
    /// # Errors
    /// [`Away`] when it does not within the deadline, or is known to be away.
    pub async fn balances(&self, budgets: &[Budget]) -> Result<Vec<Balance>, Away> {
        let Inner { backend, link, known, .. } = &*self.0;
        if !link.is_here() {
            return Err(Away::new("it is known to be away"));
        }
        let balances = link.ask(backend.balances(budgets)).await?;
        known.note(budgets, &balances, link.clock().now());
        Ok(balances)
    }

    /// The worker: sends settlements, renews holds, has those posted that expired, and looks for the machine while it is away. Never ends;
    /// the host spawns it once, and drops it when it stops.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<B> {
        let inner = Arc::clone(&self.0);
        async move {
            join!(inner.link.run(&*inner, inner.hold_ttl / 3), inner.run_telling());
        }
    }

    /// Waits until all settlements have arrived, for a clean stop; whether [`Remote::run`] still runs or not. Takes for ever while the
    /// machine is away, or while open reservations leave no place for what was summed up: the host gives it its own time.
    pub fn flush(&self) -> impl Future<Output = ()> + Send + use<B> {
        let inner = Arc::clone(&self.0);
        async move {
            loop {
                inner.queue_sums();
                inner.link.flush(&*inner).await;
                if inner.overflow.is_empty() && inner.link.queued() == 0 {
                    break;
                }
                sleep(ROOM_EVERY).await;
            }
            inner.tell().await;
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Inner<B>)) -> Self {
        change(Arc::get_mut(&mut self.0).expect(SET_UP));
        self
    }

    fn change_link(self, change: impl FnOnce(&mut Link<Queued>)) -> Self {
        self.change(|inner| change(Arc::get_mut(&mut inner.link).expect(SET_UP)))
    }
}

impl<B: Backend> Store for Remote<B> {
    fn reserve(&self, claim: Claim) -> Reply<Result<Held, Refused>> {
        let inner = &self.0;
        // What can refuse nothing is not asked for, and waits for nobody: it is posted at its end.
        let counts_only = !claim.budgets.iter().any(Budget::is_capped);
        let Some(slot) = inner.link.slot(1) else {
            if counts_only {
                let hold = Summed::new(inner, claim.budgets, claim.most);
                return Reply::Ready(Ok(Held { amount: claim.most, hold: Box::new(hold) }));
            }
            return Reply::Ready(Err(Refused::Unavailable("as many reservations as may be are open")));
        };
        let asking = Asking::new(inner, claim, slot);
        if counts_only {
            let most = asking.claim().most;
            return Reply::Ready(Ok(asking.held(most, Usd::ZERO, true)));
        }
        if inner.link.is_here() {
            Reply::Later(Box::pin(reserve(Arc::clone(inner), asking)))
        } else {
            Reply::Ready(inner.reserve_away(asking))
        }
    }

    fn balance(&self, budget: &Budget) -> Option<Balance> {
        self.0.known.balance(budget, self.0.link.clock().now())
    }
}

impl<B: Backend> Clone for Remote<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> fmt::Debug for Remote<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("link", &self.0.link).finish_non_exhaustive()
    }
}

/// Asks the machine. What is dropped on the way is released there, as it may have been set aside.
async fn reserve<B: Backend>(inner: Arc<Inner<B>>, mut asking: Asking<B>) -> Result<Held, Refused> {
    let claim = asking.sent();
    let patience = claim.patience.clone().unwrap_or_default();
    match inner.link.ask_within(&patience, inner.backend.reserve(&claim, inner.hold_ttl)).await {
        Ok(Ok(granted)) => {
            inner.known.note(&claim.budgets, &granted.balances, inner.link.clock().now());
            Ok(asking.held(granted.amount, Usd::ZERO, false))
        }
        Ok(Err(refused)) => {
            asking.refused();
            inner.note_refusal(&claim.budgets, &refused);
            Err(refused)
        }
        Err(_) => inner.reserve_away(asking),
    }
}

// ===== impl Inner =====

impl<B: Backend> Inner<B> {
    pub(super) fn open(&self) -> MutexGuard<'_, HashSet<HoldId>> {
        // Nothing panics while it is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn untold(&self) -> MutexGuard<'_, HashMap<HoldId, Weak<Open<B>>>> {
        // Nothing panics while it is held.
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the machine hold what was set aside without it.
    async fn adopt(&self) -> Result<(), Away> {
        let untold: Vec<_> = self.untold().values().filter_map(Weak::upgrade).collect();
        for some in untold.chunks(MOST_ADOPTED) {
            let (claims, then): (Vec<_>, Vec<_>) = some.iter().map(|open| open.to_adopt()).unzip();
            self.backend.adopt(&claims, self.hold_ttl).await?;
            some.iter().zip(then).for_each(|(open, then)| open.adopted(then));
        }
        Ok(())
    }

    /// What the policy gives: how much, and whether it is of this process's share.
    pub(super) fn away(&self, budgets: &[Budget], least: Usd, most: Usd) -> Result<(Usd, bool), Refused> {
        match self.link.on_away() {
            _ if !budgets.iter().any(Budget::is_capped) => Ok((most, false)),
            OnAway::Allow => Ok((most, false)),
            OnAway::Local(nodes) => {
                let amount = self.known.take(budgets, nodes, least, most, self.link.clock().now())?;
                Ok((amount, true))
            }
            _ => Err(Refused::Unavailable("it is away")),
        }
    }

    pub(super) fn note_refusal(&self, budgets: &[Budget], refused: &Refused) {
        if let Refused::Exceeded { account, balance, .. } = refused
            && let Some(budget) = budgets.iter().find(|budget| budget.account == **account)
        {
            self.known.note(std::slice::from_ref(budget), &[*balance], self.link.clock().now());
        }
    }

    /// Queues what was summed up, as far as there is room.
    fn queue_sums(&self) {
        for _ in 0..MOST_QUEUED {
            if self.overflow.is_empty() {
                return;
            }
            let Some(mut slot) = self.link.slot(1) else { return };
            self.overflow.hand_over(|budget, charge| {
                let at = self.link.clock().now();
                let id = HoldId::unique(at);
                let settlement = Settlement::new(id, id, [budget].into(), charge, at);
                slot.put(Queued { settlement, of_share: Usd::ZERO });
            });
        }
    }

    /// Tells as soon as something was reached, and what could not be told once a second.
    async fn run_telling(&self) {
        if self.watch.is_none() {
            return;
        }
        loop {
            // Whether it was woken or it is time: what is to be told is looked up.
            let _woken = timeout(TELL_EVERY, self.reached.notified()).await;
            if self.link.is_here() {
                self.tell().await;
            }
        }
    }

    /// Asks the machine what is to be told, and tells it. In a time of its own, and whatever comes of it: neither are settlements sent again
    /// nor is the machine away because of it. What is not told now is told later.
    async fn tell(&self) {
        let Some(watch) = &self.watch else { return };
        let _turn = self.telling.lock().await;
        let marks = watch.due();
        if !marks.is_empty()
            && let Ok(Ok(told)) = timeout(TELL, self.backend.tell(&marks)).await
        {
            watch.answered(marks, &told, self.link.clock().now());
        }
    }

    /// A reservation by the policy. It keeps its id: if the machine has made it after all, it ends with the same settlement.
    fn reserve_away(&self, asking: Asking<B>) -> Result<Held, Refused> {
        let claim = asking.claim();
        let (amount, of_share) = self.away(&claim.budgets, claim.least, claim.most)?;
        Ok(asking.held(amount, if of_share { amount } else { Usd::ZERO }, true))
    }
}

impl<B: Backend> Work for Inner<B> {
    type Item = Queued;
    type Open = HoldId;

    fn settle<'a>(&'a self, batch: &'a [Queued]) -> Asked<'a, ()> {
        Box::pin(async move {
            let batch: Vec<Settlement> = batch.iter().map(|queued| queued.settlement.clone()).collect();
            let spent = self.backend.settle(&batch).await?;
            if let Some(watch) = &self.watch {
                watch.note(&batch, &spent, self.link.clock().now());
                self.reached.notify_one();
            }
            Ok(())
        })
    }

    fn settled(&self, batch: &[Queued]) {
        let now = self.link.clock().now();
        for Queued { settlement, of_share } in batch.iter().filter(|queued| !queued.of_share.is_zero()) {
            self.known.posted(&settlement.budgets, *of_share, now);
        }
    }

    fn open(&self) -> Vec<HoldId> {
        self.open().iter().copied().collect()
    }

    fn renew<'a>(&'a self, batch: &'a [HoldId]) -> Asked<'a, ()> {
        Box::pin(async move {
            // Before anything else is decided there: what it does not know of it would give away again.
            self.adopt().await?;
            self.backend.renew(batch, self.hold_ttl).await
        })
    }

    fn probe(&self) -> Asked<'_, ()> {
        self.backend.renew(&[NOBODY], self.hold_ttl)
    }

    fn keep(&self) -> Asked<'_, ()> {
        self.queue_sums();
        Box::pin(async move {
            self.adopt().await?;
            // What is left for the next second leaves as little room as it did.
            for _ in 0..MOST_EXPIRIES {
                if self.backend.expire().await? == 0 {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// How long the machine has to say what is to be told.
const TELL: Duration = Duration::from_millis(250);

/// How often it is asked again.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Sums that are queued at once: they leave room for others.
const MOST_QUEUED: usize = 1024;

/// How often a stop looks whether there is room for what was summed up.
const ROOM_EVERY: Duration = Duration::from_millis(10);

/// Steps of what expires in a second.
const MOST_EXPIRIES: usize = 4;

/// A hold that nobody has.
const NOBODY: HoldId = HoldId(0);

/// Holds that are adopted in one round trip.
const MOST_ADOPTED: usize = 128;

const SET_UP: &str = "a store is set up before it is cloned or used";

/// Unless set.
const HOLD_TTL: Duration = Duration::from_secs(600);

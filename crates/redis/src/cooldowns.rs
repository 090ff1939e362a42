//! Cooldowns of deployments that several nodes share.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use redis::from_redis_value;
use ziggurat_core::{Asked, Away, Link, OnAway, Work};
use ziggurat_route::{Routes, SharedCooldowns};

use crate::{
    client::Inner,
    script::{script, unexpected},
};

/// The cooldowns that nodes tell each other through a Redis server: what one has found out of a deployment, the others need not.
///
/// Groups tell it ([`GroupBuilder::share`](ziggurat_route::GroupBuilder::share)), and [`Cooldowns::run`] sends that and reads what others
/// have told. That a deployment is well again is not told: each node tries it by itself.
///
/// # Limits
/// While the server is away, or the worker is not run, each node goes by what it finds out itself; as many cooldowns as 1,024 wait for it,
/// what comes beyond that is not told, and counted ([`Cooldowns::dropped`]). Times are the nodes' own: a cooldown is longer or shorter
/// elsewhere by as much as clocks differ, and an hour at most there. The 1,024 that last longest are read.
#[derive(Clone)]
pub struct Cooldowns(Arc<Shared>);

struct Shared {
    redis: Arc<Inner>,
    link: Arc<Link<Cooling>>,
    /// Until when each was left alone that was told or heard of, in milliseconds since the epoch: it is done once, as it may be well again
    /// before that.
    known: Mutex<HashMap<Arc<str>, u64>>,
    dropped: AtomicU64,
}

/// A deployment that is left alone.
#[derive(Clone)]
struct Cooling {
    deployment: Arc<str>,
    /// Until when, in milliseconds since the epoch.
    until: u64,
}

/// What the link asks for.
struct Worker<'a> {
    shared: &'a Shared,
    routes: &'a Routes,
}

script!(TELL = "cooldowns/tell.lua");

// ===== impl Cooldowns =====

impl Cooldowns {
    /// How often to read what others have told, unless there is a reason for another time.
    pub const EVERY: Duration = Duration::from_millis(500);

    pub(crate) fn new(redis: Arc<Inner>) -> Self {
        let mut link = Link::new("cooldowns on redis");
        link.set_capacity(CAPACITY);
        // Calls go on by what this node knows.
        link.set_on_away(OnAway::Allow);
        link.set_clock(redis.clock());
        let (known, dropped) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Shared { redis, link: Arc::new(link), known, dropped }))
    }

    /// Sends what is told, and applies to the routes what other nodes have told: at once, and then as often as `every` says. Never ends:
    /// the host spawns it, and drops it when it stops or has other routes. Where it runs twice, one waits for the other.
    pub async fn run(&self, routes: &Routes, every: Duration) {
        let worker = Worker { shared: &self.0, routes };
        // Who has just started knows nothing yet; where the server is away, the link finds that out.
        let _heard = self.0.link.ask(worker.read()).await;
        self.0.link.run(&worker, every).await;
    }

    /// How many cooldowns were not told, as too many waited already.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Whether the server is there, as far as is known.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.0.link.is_here()
    }
}

impl SharedCooldowns for Cooldowns {
    fn tell(&self, deployment: &str, until: SystemTime) {
        let (deployment, until): (Arc<str>, _) = (deployment.into(), millis(until));
        self.0.is_news(&deployment, until);
        match self.0.link.slot(1) {
            Some(mut slot) => slot.put(Cooling { deployment, until }),
            None => {
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl fmt::Debug for Cooldowns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cooldowns").field("link", &self.0.link).finish_non_exhaustive()
    }
}

// ===== impl Shared =====

impl Shared {
    fn key(&self) -> String {
        self.redis.names.only("cooldowns")
    }

    /// Takes note of a cooldown; whether it was not known for as long.
    fn is_news(&self, deployment: &str, until: u64) -> bool {
        let mut known = self.known();
        match known.get_mut(deployment) {
            Some(before) if *before >= until => false,
            Some(before) => {
                *before = until;
                true
            }
            None => {
                known.insert(deployment.into(), until);
                true
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, u64>> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_tell(&self, batch: &[Cooling]) -> Result<(), Away> {
        let now = millis(self.redis.now());
        let mut call = TELL.call(std::iter::once(self.key()));
        call.arg(now.saturating_sub(SKEW_MILLIS));
        // What has waited until it was over is not told; nothing is told, too: whoever is answered takes it that the server is there.
        for Cooling { deployment, until } in batch.iter().filter(|cooling| cooling.until > now) {
            call.arg(&**deployment).arg(until).arg(until - now);
        }
        call.send(&self.redis.link).await
    }

    async fn is_there(&self) -> Result<(), Away> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.key());
        self.redis.link.send(&exists, |answer| answer.map(drop)).await
    }
}

// ===== impl Worker =====

impl Worker<'_> {
    /// Leaves alone what other nodes have told.
    async fn read(&self) -> Result<(), Away> {
        let Shared { redis, .. } = self.shared;
        let clock = redis.clock();
        let now = clock.now();
        let mut range = redis::cmd("ZREVRANGEBYSCORE");
        range.arg(self.shared.key()).arg("+inf").arg(format!("({}", millis(now))).arg("WITHSCORES");
        range.arg("LIMIT").arg(0).arg(CAPACITY);
        let answer = redis.link.send(&range, |answer| answer).await?;
        let told: Vec<(String, f64)> = from_redis_value(answer).map_err(|_| unexpected())?;
        self.shared.known().retain(|_, until| *until > millis(now));
        for (deployment, until) in told {
            // Milliseconds are exact in it for as long as clocks go.
            let until = until as u64;
            if self.shared.is_news(&deployment, until) {
                let time = Duration::from_millis(until.saturating_sub(millis(now)));
                self.routes.cool(&deployment, now + time.min(LONGEST), &clock);
            }
        }
        Ok(())
    }
}

impl Work for Worker<'_> {
    type Item = Cooling;
    type Open = ();

    fn settle<'a>(&'a self, batch: &'a [Cooling]) -> Asked<'a, ()> {
        Box::pin(self.shared.try_tell(batch))
    }

    fn settled(&self, _: &[Cooling]) {}

    /// What others have told is read as often as something is renewed.
    fn open(&self) -> Vec<()> {
        vec![()]
    }

    fn renew<'a>(&'a self, _: &'a [()]) -> Asked<'a, ()> {
        Box::pin(self.read())
    }

    fn probe(&self) -> Asked<'_, ()> {
        Box::pin(self.shared.is_there())
    }
}

/// The next whole millisecond since the epoch.
fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).min(MOST_MILLIS)
}

/// Cooldowns that wait to be told, and that are read at once.
const CAPACITY: usize = 1024;

/// What a node leaves a deployment alone for at most on another's word: that one's clock may be wrong.
const LONGEST: Duration = Duration::from_secs(3600);

/// By so much clocks may differ before what still counts for one node is forgotten by another's clock.
const SKEW_MILLIS: u64 = 60_000;

/// What a sorted set's score holds exactly.
const MOST_MILLIS: u64 = (1 << 53) - 1;

//! Answers of a cache that several nodes share.

mod mark;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::future::try_join_all;
use redis::{RedisError, RedisResult, Value, from_redis_value};
use ziggurat_cache::{Claim, Entry, Key, Store};
use ziggurat_core::{Asked, Away, Link, OnAway, Reply, Work};

use self::mark::{Mark, Open};
use crate::{client::Inner, link::To, script::unexpected};

/// The answers of a cache that nodes share on a Redis server, for [`CacheLayer::new`](ziggurat_cache::CacheLayer::new). The host spawns
/// [`Answers::run`] once, which sends what is to be kept; without it nothing is.
///
/// # Limits
/// An answer is waited for as long as [`Answers::deadline`] says; when it does not come, that is a miss, and nobody waits for a server that is
/// known to be away. Of what is to be kept, 32 MiB wait for the server, and 65,536 of them: what comes beyond that is lost. Both are counted
/// ([`Answers::counts`]).
#[derive(Clone)]
pub struct Answers(Arc<Shared>);

/// What did not go as it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// How often an answer was asked for that nobody could look for: the server was away, or did not answer in time.
    pub away: u64,
    /// How many answers were not kept, as too many were on their way already, or the server has no memory for them.
    pub lost: u64,
    /// How many answers were found that were none, and removed.
    pub poisoned: u64,
}

struct Shared {
    redis: Arc<Inner>,
    link: Arc<Link<Item>>,
    /// How long a call is marked as made here, unless that is renewed.
    lease: Duration,
    /// The calls that are.
    open: Mutex<Open>,
    /// Bytes of answers that are on their way.
    bytes: Arc<AtomicUsize>,
    /// How often all were forgotten.
    cleared: AtomicU64,
    away: AtomicU64,
    lost: AtomicU64,
    poisoned: AtomicU64,
}

/// What is to be done there, in this order.
#[derive(Clone)]
enum Item {
    Keep(Arc<Keeping>),
    Forget(Key),
    Release(Mark),
}

/// An answer on its way.
struct Keeping {
    key: Key,
    entry: Arc<Entry>,
    /// How often all had been forgotten by then.
    cleared: u64,
    /// Of all that are on their way.
    bytes: Arc<AtomicUsize>,
}

// ===== impl Answers =====

impl Answers {
    pub(crate) fn new(redis: Arc<Inner>) -> Self {
        Self::with(redis, DEADLINE, LEASE)
    }

    fn with(redis: Arc<Inner>, deadline: Duration, lease: Duration) -> Self {
        let mut link = Link::new("answers on redis");
        // Without an answer that is kept, calls are made.
        link.set_on_away(OnAway::Allow);
        link.set_deadline(deadline);
        link.set_clock(redis.clock());
        Self(Arc::new(Shared {
            redis,
            link: Arc::new(link),
            lease,
            open: Mutex::default(),
            bytes: Arc::default(),
            cleared: AtomicU64::new(0),
            away: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            poisoned: AtomicU64::new(0),
        }))
    }

    /// Sets how long the server is waited for; 50 ms unless set. A layer's own [`patience`](ziggurat_cache::CacheLayer::patience), where it is set, is to
    /// be longer. Said before anything else, as it begins anew.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self::with(Arc::clone(&self.0.redis), deadline, self.0.lease)
    }

    /// Sets how long other nodes wait for a call of this one when it has died; 5 s unless set. While it lives, it says so three times in that time.
    /// Said before anything else, as [`Answers::deadline`].
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self::with(Arc::clone(&self.0.redis), self.0.link.deadline(), lease)
    }

    /// Sends what is to be kept, renews what is claimed, and looks for the server while it is away. Never ends: the host spawns it, and drops it when it stops. Where it
    /// runs twice, one waits for the other.
    pub async fn run(&self) {
        self.0.link.run(&*self.0, self.0.lease / 3).await;
    }

    /// Waits until nothing is on its way, for a clean stop. As long as the server is away this takes for ever: the host gives it its own time.
    pub async fn flush(&self) {
        self.0.link.flush(&*self.0).await;
    }

    /// What did not go as it should since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { away: read(&self.0.away), lost: read(&self.0.lost), poisoned: read(&self.0.poisoned) }
    }

    /// Whether the server is there, as far as is known.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.0.link.is_here()
    }

    /// A reply that is waited for, unless the server is known to be away.
    fn reply<T, F>(&self, unless: T, ask: impl FnOnce(Arc<Shared>) -> F) -> Reply<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        match self.is_here() {
            true => Reply::Later(Box::pin(ask(Arc::clone(&self.0)))),
            false => {
                count(&self.0.away);
                Reply::Ready(unless)
            }
        }
    }
}

impl Store for Answers {
    fn get(&self, key: &Key) -> Reply<Option<Arc<Entry>>> {
        let key = *key;
        self.reply(None, |shared| async move { shared.get(key).await })
    }

    /// Hands it to the worker.
    fn put(&self, key: Key, entry: Arc<Entry>) {
        self.0.keep(key, entry);
    }

    /// Whether there was one; `false` also when the server is away.
    fn remove(&self, key: &Key) -> Reply<bool> {
        let key = *key;
        self.reply(false, |shared| async move {
            let forgotten = shared.link.ask(shared.forget(&key)).await;
            shared.heard(forgotten).unwrap_or(false)
        })
    }

    /// Looks through all keys of the server, or of each node of a Cluster, for those of answers of this prefix: as long as that takes. `false`
    /// when the server is away, or does not go on; what it had forgotten by then stays forgotten.
    fn clear(&self) -> Reply<bool> {
        // What is still on its way is forgotten with them.
        self.0.cleared.fetch_add(1, Ordering::Relaxed);
        self.reply(false, |shared| async move {
            let cleared = shared.try_clear().await;
            shared.heard(cleared).is_some()
        })
    }

    fn ping(&self) -> Reply<bool> {
        self.reply(false, |shared| async move {
            let there = shared.link.ask(shared.is_there()).await;
            shared.heard(there).is_some()
        })
    }

    /// Twice the deadline, which ends it before.
    fn patience(&self) -> Duration {
        self.0.link.deadline() * 2
    }

    /// By a mark with a lease.
    fn claim(&self, key: &Key) -> Reply<Claim> {
        let key = *key;
        self.reply(Claim::NotAsked, |shared| mark::claim(shared, key))
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("here", &self.is_here()).finish_non_exhaustive()
    }
}

// ===== impl Shared =====

impl Shared {
    /// What was answered, and counts that nothing was.
    fn heard<T>(&self, answer: Result<T, Away>) -> Option<T> {
        if answer.is_err() {
            count(&self.away);
        }
        answer.ok()
    }

    async fn get(&self, key: Key) -> Option<Arc<Entry>> {
        let mut get = redis::cmd("GET");
        get.arg(self.redis.names.answer(&key));
        let asked = self.redis.link.send(&get, unless("WRONGTYPE"));
        let entry = match self.heard(self.link.ask(asked).await)? {
            Some(Value::Nil) => return None,
            Some(Value::BulkString(bytes)) => Entry::from_bytes(&bytes.into()).ok(),
            _ => None,
        };
        if entry.is_none() {
            count(&self.poisoned);
            self.queue(Item::Forget(key));
        }
        entry.map(Arc::new)
    }

    fn keep(&self, key: Key, entry: Arc<Entry>) {
        let weight = entry.weight();
        let room = |taken: usize| taken.checked_add(weight).filter(|taken| *taken <= MOST_BYTES);
        let kept = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok() && {
            let (bytes, cleared) = (Arc::clone(&self.bytes), self.cleared.load(Ordering::Relaxed));
            self.queue(Item::Keep(Arc::new(Keeping { key, entry, cleared, bytes })))
        };
        if !kept {
            count(&self.lost);
        }
    }

    /// Whether there was room for it.
    fn queue(&self, item: Item) -> bool {
        let slot = self.link.slot(1);
        slot.map(|mut slot| slot.put(item)).is_some()
    }

    async fn send(&self, item: &Item) -> Result<(), Away> {
        match item {
            Item::Forget(key) => self.forget(key).await.map(drop),
            Item::Keep(keeping) => self.try_keep(keeping).await,
            Item::Release(mark) => self.release(mark).await,
        }
    }

    async fn try_keep(&self, keeping: &Keeping) -> Result<(), Away> {
        let Keeping { key, entry, cleared, .. } = keeping;
        let left = millis_left(entry, self.redis.now());
        if left == 0 || *cleared != self.cleared.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut set = redis::cmd("SET");
        set.arg(self.redis.names.answer(key)).arg(entry.to_bytes()).arg("PX").arg(left);
        if self.redis.link.send(&set, unless("OOM")).await?.is_none() {
            count(&self.lost);
        }
        Ok(())
    }

    /// Whether there was one.
    async fn forget(&self, key: &Key) -> Result<bool, Away> {
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(self.redis.names.answer(key));
        let answer = self.redis.link.send(&unlink, |answer| answer).await?;
        from_redis_value(answer).map_err(|_| unexpected())
    }

    async fn try_clear(&self) -> Result<(), Away> {
        let (link, pattern) = (&self.redis.link, self.redis.names.answers());
        let scan = |cursor: &str| {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCANNED_AT_ONCE);
            scan
        };
        let mut scans = match link.send_to(&To::All, &scan("0"), |answer| answer).await? {
            Value::Map(nodes) => {
                nodes.into_iter().map(of_node).collect::<Option<_>>().ok_or_else(unexpected)?
            }
            one => vec![(To::Keys, one)],
        };
        while let Some((node, answer)) = scans.pop() {
            let (cursor, keys): (String, Vec<String>) = from_redis_value(answer).map_err(|_| unexpected())?;
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys);
                link.send(&unlink, |answer| answer).await?;
            }
            if cursor != "0" {
                let answer = link.send_to(&node, &scan(&cursor), |answer| answer).await?;
                scans.push((node, answer));
            }
        }
        Ok(())
    }

    async fn is_there(&self) -> Result<(), Away> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.redis.names.only("clock"));
        self.redis.link.send(&exists, |answer| answer.map(drop)).await
    }
}

impl Work for Shared {
    type Item = Item;
    type Open = Mark;

    fn settle<'a>(&'a self, batch: &'a [Item]) -> Asked<'a, ()> {
        Box::pin(async { try_join_all(batch.iter().map(|item| self.send(item))).await.map(drop) })
    }

    fn settled(&self, _: &[Item]) {}

    fn open(&self) -> Vec<Mark> {
        self.marks().iter().map(|(token, key)| Mark { key: *key, token: *token }).collect()
    }

    fn renew<'a>(&'a self, batch: &'a [Mark]) -> Asked<'a, ()> {
        Box::pin(async { try_join_all(batch.iter().map(|mark| self.renew_mark(mark))).await.map(drop) })
    }

    fn probe(&self) -> Asked<'_, ()> {
        Box::pin(self.is_there())
    }
}

// ===== impl Keeping =====

impl Drop for Keeping {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.entry.weight(), Ordering::Relaxed);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Takes a server's answer; nothing, where it says no in this word: it is there, and does not do it.
fn unless(code: &'static str) -> impl FnOnce(RedisResult<Value>) -> Result<Option<Value>, RedisError> {
    move |answer| match answer {
        Err(error) if error.code() == Some(code) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What is left of an entry's time.
fn millis_left(entry: &Entry, now: SystemTime) -> u64 {
    let left = entry.expires.duration_since(now).unwrap_or_default();
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).min(MOST_MILLIS)
}

/// One node's part of what all have answered.
fn of_node((address, answer): (Value, Value)) -> Option<(To, Value)> {
    let address: String = from_redis_value(address).ok()?;
    let (host, port) = address.rsplit_once(':')?;
    Some((To::Node(host.to_owned(), port.parse().ok()?), answer))
}

const DEADLINE: Duration = Duration::from_millis(50);

/// Bytes of answers on their way: some seconds of a slow server, and no more than it takes at once.
const MOST_BYTES: usize = 32 << 20;

const LEASE: Duration = Duration::from_secs(5);

/// Keys that a server looks at in one go: less than a millisecond.
const SCANNED_AT_ONCE: usize = 1000;

/// About 285,000 years, which the server can add to its time.
const MOST_MILLIS: u64 = (1 << 53) - 1;

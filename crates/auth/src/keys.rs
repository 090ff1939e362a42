//! Keys that are kept in a store, and the master key.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use subtle::ConstantTimeEq;
use tokio::{
    sync::Semaphore,
    time::{Instant, error::Elapsed, timeout_at},
};
use tracing::{info, warn};
use ziggurat_core::{Away, Clock, Presence, Principal, Reply};

use crate::{
    Authenticate, Authenticated, CachePolicy, Credential, CustomerRecord, Denied, Identity, KeyHash,
    KeyRecord, KeyStore, KnownCustomer, Owner,
    cache::{Cache, Key, Known, Landed},
};

/// One key that is known from the start: an administrator's, for all paths and models.
#[derive(Clone)]
pub struct MasterKey {
    hash: KeyHash,
    identity: Identity,
}

/// Keys that are kept in a [`KeyStore`]: `sk-` and 16 to 200 letters, digits, `.`, `_` or `-`. Cheap to clone; clones share what they know.
pub struct VirtualKeys<S>(Arc<Inner<S>>);

struct Inner<S> {
    store: S,
    clock: Clock,
    deadline: Duration,
    presence: Presence,
    /// Milliseconds since the epoch when the log was last told of a look-up that failed while the store was there.
    told_at: AtomicU64,
    /// For those who ask the store at the same time.
    places: Semaphore,
    keys: Cache<Arc<KeyRecord>>,
    customers: Cache<Arc<CustomerRecord>>,
    owners: Cache<Arc<KeyRecord>>,
}

// ===== impl MasterKey =====

impl MasterKey {
    /// This key. Calls with it have a [`Principal`] whose key is `master`, under no budget or limit of its own.
    #[must_use]
    pub fn new(key: impl AsRef<[u8]>) -> Self {
        let mut principal = Principal::default();
        principal.key = Some("master".into());
        Self { hash: KeyHash::of(key.as_ref()), identity: Self::identity(principal) }
    }

    /// Sets who its calls are made by.
    #[must_use]
    pub fn principal(mut self, principal: Principal) -> Self {
        self.identity = Self::identity(principal);
        self
    }

    fn identity(principal: Principal) -> Identity {
        Identity::new(KeyRecord { principal, admin: true, ..KeyRecord::default() })
    }
}

impl Authenticate for MasterKey {
    fn authenticate(&self, credential: &Credential<'_>) -> Reply<Authenticated> {
        // Digests are compared, in constant time, so that neither the length nor a common beginning shows in the time taken.
        let same: bool = self.hash.as_bytes().ct_eq(credential.hash().as_bytes()).into();
        Reply::Ready(Ok(same.then(|| self.identity.clone())))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

// ===== impl VirtualKeys =====

impl<S: KeyStore> VirtualKeys<S> {
    /// The keys of a store, by the usual [`CachePolicy`] and the system's clock.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self::with_policy(store, CachePolicy::default(), Clock::system())
    }

    /// The keys of a store.
    #[must_use]
    pub fn with_policy(store: S, policy: CachePolicy, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            deadline: policy.deadline,
            presence: Presence::new(),
            told_at: AtomicU64::new(0),
            places: Semaphore::new(LOOK_UPS),
            keys: Cache::new(policy, false),
            customers: Cache::new(policy, true),
            owners: Cache::new(policy, false),
        }))
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.0.store
    }

    /// Whether the store answers, as far as is known: for readiness.
    #[must_use]
    pub fn is_store_here(&self) -> bool {
        self.0.presence.is_here()
    }

    /// Refuses a key from now on. To be called when the store has it revoked or blocked; a look-up that began before does not bring it
    /// back, and the store is not asked again for a few seconds ([`CachePolicy::absent`]).
    pub fn revoke(&self, key: &KeyHash) {
        self.0.keys.remove(key.as_bytes(), self.0.clock.now());
    }

    /// Asks the store again for a key that was made or changed. To be called when the store has the change.
    pub fn forget(&self, key: &KeyHash) {
        self.0.keys.forget(key.as_bytes());
    }

    /// Asks the store again for every key, end user, team and user. To be called when something changed that many of them have, as a team.
    pub fn forget_all(&self) {
        self.0.keys.forget_all();
        self.0.customers.forget_all();
        self.0.owners.forget_all();
    }

    /// What the store knows of a team and a user ([`KeyStore::owner`]), kept as long as a key is.
    pub fn owner(&self, owner: Owner) -> Reply<Result<Arc<KeyRecord>, Denied>> {
        let (now, hash) = (self.0.clock.now(), named(&owner));
        let stale = match self.0.owners.known(hash.as_bytes(), now) {
            Known::Fresh(record) => return Reply::Ready(Ok(record.unwrap_or_default())),
            Known::Stale(stale) => stale,
        };
        if !self.0.presence.may_ask(now) {
            return Reply::Ready(stale.map(Option::unwrap_or_default).ok_or(Denied::unavailable()));
        }
        let inner = Arc::clone(&self.0);
        Reply::Later(Box::pin(async move {
            let ask = || {
                let asked = inner.store.owner(&owner);
                async { asked.await.map(Some) }
            };
            inner.look_up(&inner.owners, hash.as_bytes(), ask).await.map(Option::unwrap_or_default)
        }))
    }

    /// Asks the store again for an end user that was made or changed. To be called when the store has the change.
    pub fn forget_customer(&self, id: &str) {
        self.0.customers.forget(KeyHash::of(id.as_bytes()).as_bytes());
    }
}

impl<S: KeyStore> Authenticate for VirtualKeys<S> {
    fn authenticate(&self, credential: &Credential<'_>) -> Reply<Authenticated> {
        if !is_well_formed(credential.expose()) {
            return Reply::Ready(Ok(None));
        }
        let (now, hash) = (self.0.clock.now(), *credential.hash());
        let stale = match self.0.keys.known(hash.as_bytes(), now) {
            Known::Fresh(record) => return Reply::Ready(admit(record, hash, now)),
            Known::Stale(stale) => stale,
        };
        if !self.0.presence.may_ask(now) {
            return Reply::Ready(
                stale.ok_or(Denied::unavailable()).and_then(|record| admit(record, hash, now)),
            );
        }
        let inner = Arc::clone(&self.0);
        Reply::Later(Box::pin(async move {
            let ask = || inner.store.key(&hash);
            let record = inner.look_up(&inner.keys, hash.as_bytes(), ask).await?;
            admit(record, hash, inner.clock.now())
        }))
    }

    fn customer(&self, id: &str) -> Reply<KnownCustomer> {
        let (now, hash) = (self.0.clock.now(), KeyHash::of(id.as_bytes()));
        let stale = match self.0.customers.known(hash.as_bytes(), now) {
            Known::Fresh(record) => return Reply::Ready(Ok(record)),
            Known::Stale(stale) => stale,
        };
        if !self.0.presence.may_ask(now) {
            return Reply::Ready(stale.ok_or(Denied::unavailable()));
        }
        let (inner, id) = (Arc::clone(&self.0), id.to_owned());
        Reply::Later(Box::pin(async move {
            let ask = || inner.store.customer(&id);
            inner.look_up(&inner.customers, hash.as_bytes(), ask).await
        }))
    }
}

impl<S> Clone for VirtualKeys<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for VirtualKeys<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualKeys").field("cache", &self.0.keys).finish_non_exhaustive()
    }
}

// ===== impl Inner =====

impl<S> Inner<S> {
    /// Asks the store, once for all who ask the same; within the deadline, whomever it waits for.
    async fn look_up<R, V, F>(
        &self,
        cache: &Cache<V>,
        key: &Key,
        ask: impl Fn() -> F,
    ) -> Result<Option<V>, Denied>
    where
        F: Future<Output = Result<Option<R>, Away>>,
        V: From<R> + Clone,
    {
        let (until, was_here) = (Instant::now() + self.deadline, self.presence.is_here());
        // Once more when the one who asked left, or when it changed meanwhile; not for ever.
        for _ in 0..2 {
            let landed = match cache.join(key, self.clock.now()) {
                Ok(mut waiting) => match timeout_at(until, waiting.wait_for(Option::is_some)).await {
                    Ok(Ok(landed)) => landed.clone(),
                    Ok(Err(_)) => None,
                    Err(_) => Some(Landed::Away),
                },
                Err(asking) => match self.ask(until, was_here, &ask).await {
                    Ok(answer) => Some(asking.land(answer.map(|answer| answer.map(V::from)))),
                    // Others who wait have longer.
                    Err(_) => {
                        drop(asking);
                        return match cache.known(key, self.clock.now()) {
                            Known::Fresh(answer) => Ok(answer),
                            Known::Stale(stale) => stale.ok_or(Denied::unavailable()),
                        };
                    }
                },
            };
            if let Some(Landed::Answer(answer)) = landed {
                return Ok(answer);
            }
            // What is known by now: it may have been revoked while this waited, or another was answered.
            match (cache.known(key, self.clock.now()), landed) {
                (Known::Fresh(answer), _) => return Ok(answer),
                (Known::Stale(stale), Some(Landed::Away)) => return stale.ok_or(Denied::unavailable()),
                _ => {}
            }
        }
        Err(Denied::unavailable())
    }

    /// Asks the store, as soon as there is a place, until then. `Ok(None)` when it is away; an error, which says nothing of it, when this
    /// comes too late.
    async fn ask<T, F>(
        &self,
        until: Instant,
        was_here: bool,
        ask: impl Fn() -> F,
    ) -> Result<Option<T>, Elapsed>
    where
        F: Future<Output = Result<T, Away>>,
    {
        // Many who ask at once wait for each other here, which says nothing of the store.
        let _place = timeout_at(until, self.places.acquire()).await?;
        // Those before have found it away meanwhile: one of all callers probes it.
        if was_here && !self.presence.is_here() {
            return Ok(None);
        }
        let left = until.saturating_duration_since(Instant::now());
        let answer = match timeout_at(until, ask()).await {
            Ok(answer) => answer,
            // That it did not answer in less than half of its time is not held against it.
            Err(late) if left * 2 < self.deadline => return Err(late),
            Err(_) => Err(Away::new(format!("no answer within {:?}", self.deadline))),
        };
        Ok(self.note(answer))
    }

    /// Whether the log was not told of a single failure for a while.
    fn is_news(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let told = self.told_at.load(Ordering::Relaxed);
        let is_due = told == 0 || now.saturating_sub(told) >= TELL_EVERY.as_millis() as u64;
        is_due && self.told_at.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Notes whether the store answered; one line in the log whenever that changes, and one a while for single failures.
    fn note<T>(&self, answer: Result<T, Away>) -> Option<T> {
        match answer {
            Ok(answer) => {
                if self.presence.answered() {
                    info!("the store of keys answers again");
                }
                Some(answer)
            }
            Err(away) => {
                let now = self.clock.now();
                if self.presence.failed(now) {
                    warn!(%away, "the store of keys does not answer: known keys go on for a while, others are refused");
                } else if self.presence.is_here() && self.is_news(now) {
                    warn!(%away, "a look-up in the store of keys failed: who was not known is refused with 503");
                }
                None
            }
        }
    }
}

/// Whether a key may be one of a store's: nobody is asked for what cannot be.
fn is_well_formed(key: &[u8]) -> bool {
    key.strip_prefix(b"sk-").is_some_and(|rest| {
        LENGTHS.contains(&rest.len())
            && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    })
}

/// What is known of a team and a user is kept under the hash of their names, with the lengths that tell them apart.
fn named(owner: &Owner) -> KeyHash {
    let mut text = Vec::new();
    for name in owner.user.iter().chain(&*owner.teams) {
        text.extend((name.len() as u64).to_be_bytes());
        text.extend(name.as_bytes());
    }
    text.push(owner.user.is_some().into());
    KeyHash::of(&text)
}

/// Whoever a record is of, if the key still counts.
fn admit(record: Option<Arc<KeyRecord>>, hash: KeyHash, now: SystemTime) -> Authenticated {
    let counts = |record: &Arc<KeyRecord>| !record.blocked && record.expires_at.is_none_or(|end| now < end);
    let record = record.filter(counts).ok_or(Denied::Invalid)?;
    Ok(Some(Identity::new(record).with_key(hash)))
}

/// How often single failures are told of.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Look-ups in the store at the same time: fewer than it takes to slow it down.
const LOOK_UPS: usize = 8;

/// Bytes behind `sk-`.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=200;

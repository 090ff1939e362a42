//! The keys that tokens are signed with: given, or fetched and refreshed.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Header,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use serde_json::Value;
use tokio::time::timeout;
use tracing::{info, warn};
use ziggurat_core::{Asked, Away, Clock};

use crate::Denied;

/// Fetches a provider's key set (RFC 7517): the host brings its HTTP client, the URL is from its configuration and never from a token.
pub trait JwksSource: Send + Sync + 'static {
    /// The set as JSON, of 1 MiB at most.
    fn fetch(&self) -> Asked<'_, Vec<u8>>;
}

/// When a [`JwksSource`] is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwksPolicy {
    /// How long a set is used before it is fetched again. 10 min unless set.
    pub refresh: Duration,
    /// How long an unknown key's id does not lead to another fetch, after one. 30 s unless set.
    pub at_most_every: Duration,
    /// How long a set is used while it cannot be fetched. 1 h unless set.
    pub keep: Duration,
    /// How long it is waited for. 1 s unless set.
    pub deadline: Duration,
}

/// Keys that tokens are verified with.
pub struct JwtKeys(Kind);

enum Kind {
    Given(Arc<[Signer]>),
    Fetched(Box<Fetched>),
}

struct Fetched {
    source: Arc<dyn JwksSource>,
    policy: JwksPolicy,
    /// Held by the one who fetches.
    fetching: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    signers: Arc<[Signer]>,
    fetched: Option<SystemTime>,
    tried: Option<SystemTime>,
    /// Whether the last try gave nothing, or nothing yet.
    away: bool,
    /// Whether the log was told so.
    told: bool,
}

struct Signer {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// The keys that may have signed a token.
pub(super) type Candidates = Vec<DecodingKey>;

/// What is known of a token's key.
pub(super) enum Found {
    Keys(Candidates),
    Denied(Denied),
    /// The set is to be fetched; those of the old one may serve if they are there.
    Fetch(Option<Candidates>),
}

/// No keys could be read: says what is wrong with them, and nothing of what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidKeys {
    /// What is wrong.
    pub why: &'static str,
}

// ===== impl JwksPolicy =====

impl Default for JwksPolicy {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(10 * 60),
            at_most_every: Duration::from_secs(30),
            keep: Duration::from_secs(60 * 60),
            deadline: Duration::from_secs(1),
        }
    }
}

// ===== impl JwtKeys =====

impl JwtKeys {
    /// A public key in PEM: RSA, EC or Ed25519.
    ///
    /// # Errors
    /// [`InvalidKeys`] when it is none.
    pub fn pem(pem: &[u8]) -> Result<Self, InvalidKeys> {
        let readers = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
        let key = readers.iter().find_map(|read| read(pem).ok());
        let key = key.ok_or(InvalidKeys { why: "no public key of RSA, EC or Ed25519 in PEM" })?;
        Ok(Self(Kind::Given(Arc::new([Signer { id: None, algorithm: None, key }]))))
    }

    /// A key set (RFC 7517) as JSON. Keys that sign nothing, and secrets, are left out.
    ///
    /// # Errors
    /// [`InvalidKeys`] when it is not one, or holds no key that can be used.
    pub fn jwks(json: &[u8]) -> Result<Self, InvalidKeys> {
        read_set(json).map(|signers| Self(Kind::Given(signers)))
    }

    /// A secret that is shared with the issuer: whoever knows it can make tokens. HS256 unless
    /// [`Jwt::algorithms`](super::Jwt::algorithms) says otherwise.
    ///
    /// # Errors
    /// [`InvalidKeys`] when it is shorter than 32 bytes (RFC 7518, section 3.2).
    pub fn secret(secret: &[u8]) -> Result<Self, InvalidKeys> {
        if secret.len() < 32 {
            return Err(InvalidKeys { why: "a secret of less than 32 bytes" });
        }
        let key = DecodingKey::from_secret(secret);
        Ok(Self(Kind::Given(Arc::new([Signer { id: None, algorithm: None, key }]))))
    }

    /// A key set that is fetched when a token needs it, and refreshed.
    #[must_use]
    pub fn fetched(source: impl JwksSource, policy: JwksPolicy) -> Self {
        Self(Kind::Fetched(Box::new(Fetched {
            source: Arc::new(source),
            policy,
            fetching: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        })))
    }

    /// What is accepted unless the host says otherwise.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        match &self.0 {
            Kind::Given(signers)
                if signers.iter().any(|signer| signer.key.family() == AlgorithmFamily::Hmac) =>
            {
                vec![Algorithm::HS256]
            }
            _ => [AlgorithmFamily::Rsa, AlgorithmFamily::Ec, AlgorithmFamily::Ed]
                .iter()
                .flat_map(|family| family.algorithms())
                .copied()
                .collect(),
        }
    }

    /// The keys for a token, as far as that is known without asking.
    pub(super) fn find(&self, header: &Header, now: SystemTime) -> Found {
        match &self.0 {
            Kind::Given(signers) => match candidates(signers, header) {
                Some(keys) => Found::Keys(keys),
                None => Found::Denied(Denied::Invalid),
            },
            Kind::Fetched(fetched) => fetched.find(header, now),
        }
    }

    /// The keys for a token, with a set that is fetched if it may be.
    pub(super) async fn fetch(
        &self,
        header: &Header,
        old: Option<Candidates>,
        clock: &Clock,
    ) -> Result<Candidates, Denied> {
        match &self.0 {
            Kind::Given(signers) => candidates(signers, header).ok_or(Denied::Invalid),
            Kind::Fetched(fetched) => fetched.fetch(header, old, clock).await,
        }
    }
}

impl fmt::Debug for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtKeys(..)")
    }
}

// ===== impl Fetched =====

impl Fetched {
    fn find(&self, header: &Header, now: SystemTime) -> Found {
        let state = self.state();
        let fetched = |span| state.fetched.is_some_and(|at| within(at, now, span));
        let known = candidates(&state.signers, header).filter(|_| fetched(self.policy.keep));
        // Soon again where nobody gets in without, seldom where that would only be better, or was no use a moment ago.
        let wait = if state.away && known.is_none() { RETRY } else { self.policy.at_most_every };
        let may_try = state.tried.is_none_or(|at| !within(at, now, wait));
        match known {
            Some(keys) if fetched(self.policy.refresh) || !may_try => Found::Keys(keys),
            None if !may_try && state.away => Found::Denied(Denied::unavailable()),
            None if !may_try => Found::Denied(Denied::Invalid),
            known => Found::Fetch(known),
        }
    }

    /// Fetches the set, once for all who need it; who has old keys does not wait for another's fetch.
    async fn fetch(
        &self,
        header: &Header,
        old: Option<Candidates>,
        clock: &Clock,
    ) -> Result<Candidates, Denied> {
        let only = match (self.fetching.try_lock(), old) {
            (Ok(only), _) => Some(only),
            (Err(_), Some(old)) => return Ok(old),
            (Err(_), None) => timeout(self.policy.deadline, self.fetching.lock()).await.ok(),
        };
        // Somebody else may have fetched it meanwhile.
        if only.is_some() && matches!(self.find(header, clock.now()), Found::Fetch(_)) {
            self.ask(clock).await;
        }
        match self.find(header, clock.now()) {
            Found::Keys(keys) => Ok(keys),
            Found::Denied(denied) => Err(denied),
            Found::Fetch(old) => old.ok_or(Denied::unavailable()),
        }
    }

    async fn ask(&self, clock: &Clock) {
        let now = clock.now();
        {
            // Noted first: who leaves while it is fetched has tried.
            let mut state = self.state();
            (state.tried, state.away) = (Some(now), true);
        }
        let set = match timeout(self.policy.deadline, self.source.fetch()).await {
            Ok(set) => set.and_then(|json| read_set(&json).map_err(|invalid| Away::new(invalid.why))),
            Err(_) => Err(Away::new(format!("no answer within {:?}", self.policy.deadline))),
        };
        let mut state = self.state();
        match set {
            Ok(signers) => {
                (state.signers, state.fetched, state.away) = (signers, Some(now), false);
                if std::mem::take(&mut state.told) {
                    info!("the key set of tokens is there again");
                }
            }
            Err(away) => {
                if !std::mem::replace(&mut state.told, true) {
                    warn!(%away, "the key set of tokens cannot be fetched");
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is held while it is locked does not panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Signer =====

impl Signer {
    /// A public key that signs; `None` for anything else, and for what its algorithm is not known of.
    fn read(key: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        let secret = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
        let algorithm = match jwk.common.key_algorithm {
            Some(algorithm) => Some(Algorithm::try_from(algorithm).ok()?),
            None => None,
        };
        let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| signs && !secret)?;
        Some(Self { id: jwk.common.key_id, algorithm, key })
    }

    /// Whether it may have signed a token.
    fn fits(&self, header: &Header) -> bool {
        let named = |id: &String| header.kid.as_ref().is_none_or(|kid| kid == id);
        self.id.as_ref().is_none_or(named)
            && self.algorithm.is_none_or(|algorithm| algorithm == header.alg)
            && self.key.family().algorithms().contains(&header.alg)
    }
}

/// The first keys that may have signed a token; `None` when there is none.
fn candidates(signers: &[Signer], header: &Header) -> Option<Candidates> {
    let fitting = signers.iter().filter(|signer| signer.fits(header)).take(MOST_CANDIDATES);
    let keys: Candidates = fitting.map(|signer| signer.key.clone()).collect();
    (!keys.is_empty()).then_some(keys)
}

fn read_set(json: &[u8]) -> Result<Arc<[Signer]>, InvalidKeys> {
    if json.len() > MOST_BYTES {
        return Err(InvalidKeys { why: "a key set of more than 1 MiB" });
    }
    let set: Value =
        serde_json::from_slice(json).map_err(|_| InvalidKeys { why: "a key set that is no JSON" })?;
    let keys =
        set.get("keys").and_then(Value::as_array).ok_or(InvalidKeys { why: "a key set without keys" })?;
    let signers: Arc<[Signer]> = keys.iter().filter_map(Signer::read).take(MOST_KEYS).collect();
    if signers.is_empty() {
        Err(InvalidKeys { why: "a key set without a key that can be used" })
    } else {
        Ok(signers)
    }
}

fn within(at: SystemTime, now: SystemTime, span: Duration) -> bool {
    now.duration_since(at).is_ok_and(|age| age <= span)
}

impl fmt::Display for InvalidKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no keys for tokens: {}", self.why)
    }
}

impl std::error::Error for InvalidKeys {}

/// How long a set that nobody gets in without is not asked for again after a try.
const RETRY: Duration = Duration::from_secs(1);

/// Keys that are tried for a token that names none.
const MOST_CANDIDATES: usize = 4;

/// Keys of a set.
const MOST_KEYS: usize = 100;

/// Bytes of a set.
const MOST_BYTES: usize = 1 << 20;

//! Tokens that an identity provider signed (JSON Web Tokens, RFC 7519), by the practices of RFC 8725.
//!
//! What a token says of how to check it is not believed: algorithms are pinned, keys are the provider's, and `iss`, `aud` and `exp` are
//! required. Nothing is fetched here: a host gives a [`JwksSource`].

mod claims;
mod keys;
mod owned;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use jsonwebtoken::Algorithm;
use jsonwebtoken::{Header, Validation, dangerous::insecure_decode_claims, decode, decode_header};
use ziggurat_core::{Clock, Reply};

use self::keys::{Candidates, Found};
pub use self::{
    claims::{ClaimNames, Claims, claim, claim_words},
    keys::{InvalidKeys, JwksPolicy, JwksSource, JwtKeys},
    owned::OwnedTokens,
};
use crate::{
    Authenticate, Authenticated, CachePolicy, Credential, Denied, Identity, KeyRecord,
    cache::{Cache, Known},
};

/// Believes tokens of one issuer, for one audience or several. Cheap to clone; clones share what they know.
///
/// A token of another issuer, or what is none, is left to the next of a list.
#[derive(Clone)]
pub struct Jwt {
    config: Arc<Config>,
    keys: Arc<JwtKeys>,
    /// Tokens that were verified, by the hash of all of their bytes, and when they end.
    verified: Arc<Cache<(Identity, SystemTime)>>,
}

#[derive(Clone)]
struct Config {
    issuer: String,
    validation: Validation,
    algorithms: Vec<Algorithm>,
    leeway: Duration,
    map: Arc<MapClaims>,
    clock: Clock,
}

type MapClaims = dyn Fn(&Claims) -> Option<KeyRecord> + Send + Sync;

// ===== impl Jwt =====

impl Jwt {
    /// Tokens that `issuer` (`iss`) signed with one of `keys`, for `audience` (`aud`). The user is the claim `sub`, unless
    /// [`Jwt::claims`] or [`Jwt::map`] say otherwise.
    #[must_use]
    pub fn new(keys: JwtKeys, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        let (issuer, names) = (issuer.into(), ClaimNames::default());
        let algorithms = keys.algorithms();
        // Times are checked here, by this clock.
        let mut validation = Validation { validate_exp: false, ..Validation::default() };
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[audience.into()]);
        let mut policy = CachePolicy::default();
        (policy.fresh, policy.capacity) = (VERIFIED_FOR, VERIFIED);
        Self {
            config: Arc::new(Config {
                issuer,
                validation,
                algorithms,
                leeway: Duration::from_secs(30),
                map: Arc::new(move |claims| names.record(claims)),
                clock: Clock::system(),
            }),
            keys: Arc::new(keys),
            verified: Arc::new(Cache::new(policy, false)),
        }
    }

    /// Accepts tokens for these audiences, in place of the one.
    #[must_use]
    pub fn audiences<A: ToString>(self, audiences: impl IntoIterator<Item = A>) -> Self {
        let audiences: Vec<A> = audiences.into_iter().collect();
        self.change(|config| config.validation.set_audience(&audiences))
    }

    /// Accepts these algorithms only. Unless set these are RS256 to 512, PS256 to 512, ES256, ES384 and EdDSA; with a secret it is HS256. An
    /// algorithm that a key is not for is never accepted, and `none` is none.
    #[must_use]
    pub fn algorithms(self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.change(|config| config.algorithms = algorithms.into_iter().collect())
    }

    /// Sets how far the issuer's clock may be from this one; 30 s unless set.
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        self.change(|config| config.leeway = leeway)
    }

    /// Names the claims that say who it is.
    #[must_use]
    pub fn claims(self, names: ClaimNames) -> Self {
        self.map(move |claims| names.record(claims))
    }

    /// Says who it is by the claims of a token that was verified; `None` refuses it as a wrong one.
    #[must_use]
    pub fn map(self, map: impl Fn(&Claims) -> Option<KeyRecord> + Send + Sync + 'static) -> Self {
        self.change(|config| config.map = Arc::new(map))
    }

    /// Sets the clock.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.change(|config| config.clock = clock)
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }

    /// Verifies a token with the keys that may have signed it, and remembers it.
    fn verify(&self, credential: &Credential<'_>, header: &Header, keys: &Candidates) -> Authenticated {
        let mut validation = self.config.validation.clone();
        validation.algorithms = vec![header.alg];
        let claims = keys
            .iter()
            .find_map(|key| decode::<Claims>(credential.expose(), key, &validation).ok())
            .ok_or(Denied::Invalid)?
            .claims;
        let now = self.config.clock.now();
        let ends = self.config.check_times(&claims, now).ok_or(Denied::Invalid)?;
        let record = (self.config.map)(&claims).ok_or(Denied::Invalid)?;
        if record.blocked || record.expires_at.is_some_and(|end| end <= now) {
            return Err(Denied::Invalid);
        }
        let ends = record.expires_at.map_or(ends, |end| end.min(ends));
        let identity = Identity::new(record);
        self.verified.insert(credential.hash().as_bytes(), (identity.clone(), ends), now);
        Ok(Some(identity))
    }
}

impl Authenticate for Jwt {
    fn authenticate(&self, credential: &Credential<'_>) -> Reply<Authenticated> {
        let token = credential.expose();
        if !credential.is_token() {
            return Reply::Ready(Ok(None));
        }
        let now = self.config.clock.now();
        if let Known::Fresh(Some((identity, ends))) = self.verified.known(credential.hash().as_bytes(), now)
            && now < ends
        {
            return Reply::Ready(Ok(Some(identity)));
        }
        // Not verified yet: it only says who is to verify it.
        let issuer = insecure_decode_claims::<Claims>(token).ok().and_then(|mut claims| claims.remove("iss"));
        if issuer.as_ref().and_then(|issuer| issuer.as_str()) != Some(&self.config.issuer) {
            return Reply::Ready(Ok(None));
        }
        let Some(header) = decode_header(token).ok().filter(|header| self.config.accepts(header)) else {
            return Reply::Ready(Err(Denied::Invalid));
        };
        match self.keys.find(&header, now) {
            Found::Keys(keys) => Reply::Ready(self.verify(credential, &header, &keys)),
            Found::Denied(denied) => Reply::Ready(Err(denied)),
            Found::Fetch(old) => {
                let (this, token) = (self.clone(), token.to_vec());
                Reply::Later(Box::pin(async move {
                    let keys = this.keys.fetch(&header, old, &this.config.clock).await?;
                    this.verify(&Credential::new(&token)?, &header, &keys)
                }))
            }
        }
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("issuer", &self.config.issuer).finish_non_exhaustive()
    }
}

// ===== impl Config =====

impl Config {
    /// Whether a token says that it is signed in a way that is accepted, and asks for nothing that is not known here
    /// (RFC 7515, section 4.1.11).
    fn accepts(&self, header: &Header) -> bool {
        self.algorithms.contains(&header.alg) && header.crit.is_none()
    }

    /// When a token ends that is to be believed now.
    fn check_times(&self, claims: &Claims, now: SystemTime) -> Option<SystemTime> {
        let ends = date(claims, "exp")?;
        let begins = if claims.contains_key("nbf") { date(claims, "nbf")? } else { now };
        let (earliest, latest) = (begins.checked_sub(self.leeway)?, ends.checked_add(self.leeway)?);
        (earliest <= now && now < latest).then_some(ends)
    }
}

/// Seconds since the epoch, which need not be whole (RFC 7519, section 2).
fn date(claims: &Claims, name: &str) -> Option<SystemTime> {
    let seconds = Duration::try_from_secs_f64(claims.get(name)?.as_f64()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(seconds)
}

/// How long a token that was verified is believed, at most: keys that the issuer takes back end by then.
const VERIFIED_FOR: Duration = Duration::from_secs(60);

/// Tokens that are remembered.
const VERIFIED: usize = 1 << 16;

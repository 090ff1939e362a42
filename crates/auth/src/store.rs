//! Where keys are kept: the trait between the layer and its stores.

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use sha2::{Digest, Sha256};
use ziggurat_core::{Asked, Budget, Limit, Principal};

/// Keeps virtual keys. Asked only for what no cache knows; an answer is kept for seconds.
pub trait KeyStore: Send + Sync + 'static {
    /// The key of this hash; `None` when there is none.
    fn key<'a>(&'a self, hash: &'a KeyHash) -> Asked<'a, Option<KeyRecord>>;

    /// What is known of an end user that a call names; `None` when nothing is.
    fn customer<'a>(&'a self, id: &'a str) -> Asked<'a, Option<CustomerRecord>> {
        let _ = id;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What applies to a caller without a key, by the team and the user that a token names. The record's principal names the user, and
    /// the first of the teams, that are known; unless implemented, none is.
    fn owner<'a>(&'a self, owner: &'a Owner) -> Asked<'a, KeyRecord> {
        let _ = owner;
        Box::pin(std::future::ready(Ok(KeyRecord::default())))
    }
}

impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    fn key<'a>(&'a self, hash: &'a KeyHash) -> Asked<'a, Option<KeyRecord>> {
        (**self).key(hash)
    }

    fn customer<'a>(&'a self, id: &'a str) -> Asked<'a, Option<CustomerRecord>> {
        (**self).customer(id)
    }

    fn owner<'a>(&'a self, owner: &'a Owner) -> Asked<'a, KeyRecord> {
        (**self).owner(owner)
    }
}

/// What a key is stored and looked up by: its SHA-256, as LiteLLM stores it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

/// What is known of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRecord {
    /// Whose it is, with the models, limits and budgets that apply, of its team and its user too.
    pub principal: Principal,
    /// The paths it may call: paths, their beginnings with `*`, or names of groups (`llm_api_routes`, `info_routes`,
    /// `management_routes`); `None` allows every path of models, or what
    /// [`AuthLayer::default_routes`](crate::AuthLayer::default_routes) says, and an administrator everything.
    pub routes: Option<Arc<[Arc<str>]>>,
    /// Names of models that stand for others, for this key.
    pub aliases: Arc<BTreeMap<String, String>>,
    /// Whether it may manage keys, teams and users: an administrator's.
    pub admin: bool,
    /// When it ends.
    pub expires_at: Option<SystemTime>,
    /// Whether it, or its team, was blocked.
    pub blocked: bool,
    /// The end user whom it is for: what applies to them applies to all of its calls, whomever else they name.
    pub end_user: Option<Arc<str>>,
    /// The teams that a token is of, the preferred first: the first that is known becomes the principal's.
    pub teams: Arc<[Arc<str>]>,
}

/// The user and the teams that a token names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Owner {
    /// The user.
    pub user: Option<Arc<str>>,
    /// The teams, the preferred first.
    pub teams: Arc<[Arc<str>]>,
}

/// What is known of an end user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomerRecord {
    /// The budgets that apply.
    pub budgets: Arc<[Budget]>,
    /// The limits that apply.
    pub limits: Arc<[Limit]>,
    /// Whether it was blocked.
    pub blocked: bool,
}

// ===== impl Owner =====

impl Owner {
    /// This user, of the first of these teams that is known.
    #[must_use]
    pub fn new(user: Option<Arc<str>>, teams: impl Into<Arc<[Arc<str>]>>) -> Self {
        Self { user, teams: teams.into() }
    }
}

// ===== impl KeyHash =====

impl KeyHash {
    /// The hash of a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits, as LiteLLM shows it.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        let digit = |digit: u8| char::from(digit).to_digit(16);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hexadecimal digits: the id of the key in scopes, stores and the admin API.
impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_litellm_and_reads_back() {
        // `printf sk-1234 | sha256sum`
        let hash = KeyHash::of(b"sk-1234");
        let text = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b";
        assert_eq!(hash.to_string(), text);
        assert_eq!(KeyHash::from_hex(text), Some(hash));
        assert_eq!(KeyHash::from_hex(&text.to_uppercase()), Some(hash));
        for bad in ["", &text[1..], &format!("{}g", &text[1..]), &"é".repeat(32)] {
            assert_eq!(KeyHash::from_hex(bad), None);
        }
    }
}

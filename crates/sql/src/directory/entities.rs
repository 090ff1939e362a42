//! What a directory keeps: keys, teams, users, end users, memberships and templates of budgets.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ziggurat_auth::KeyHash;
use ziggurat_core::Usd;

/// What somebody may spend and use. What is `None` or empty is filled from the template of budgets that its owner names, and else
/// not limited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Allowance {
    /// The most that may be spent in a window.
    #[serde(with = "super::text::usd", skip_serializing_if = "Option::is_none")]
    pub max_budget: Option<Usd>,
    /// What alerts when it is spent, and refuses nothing.
    #[serde(with = "super::text::usd", skip_serializing_if = "Option::is_none")]
    pub soft_budget: Option<Usd>,
    /// The window, as [`calendar`](ziggurat_budget::calendar) reads it: `1d`, `30d`, `1mo`. `None`: what was spent is never forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_duration: Option<String>,
    /// The most tokens in any minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm_limit: Option<u64>,
    /// The most calls in any minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm_limit: Option<u64>,
    /// The most calls at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel_requests: Option<u64>,
    /// Budgets for single models, or for patterns that end in `*`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub model_max_budget: BTreeMap<String, ModelBudget>,
    /// The most tokens in any minute, for single models.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub model_tpm_limit: BTreeMap<String, u64>,
    /// The most calls in any minute, for single models.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub model_rpm_limit: BTreeMap<String, u64>,
    /// What a newer version wrote.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

/// What may be spent on one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelBudget {
    /// The most that may be spent in a window.
    #[serde(with = "super::text::amount")]
    pub max_budget: Usd,
    /// The window; `None`: what was spent is never forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_duration: Option<String>,
    /// What a newer version wrote.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

/// A virtual key. The key itself is nowhere: it is known by its hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Key {
    /// What a call names it by, and what it is found by.
    #[serde(with = "super::text::hash")]
    pub hash: KeyHash,
    /// What its budgets and limits are counted under, in [`ScopeKind::Key`](ziggurat_core::ScopeKind::Key): the hash that it was first
    /// made with, in hexadecimal. It stays when the key is regenerated, and cannot be chosen.
    pub id: String,
    /// How it is shown: `sk-...abcd`.
    pub name: String,
    /// A name for people, which no other key has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Whose it is. The user need not be known: one that becomes known later applies from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The team it belongs to, which must be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The organisation it belongs to; `None` is that of its team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// The template of budgets that fills its allowance, which must be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// What it may spend and use.
    pub allowance: Allowance,
    /// The models it may name: names, patterns that end in `*`, groups of models, `all-team-models`, `all-proxy-models`,
    /// `no-default-models`. Empty allows all that its team (or, without one, its user) may name.
    pub models: Vec<String>,
    /// Names of models that stand for others.
    pub aliases: BTreeMap<String, String>,
    /// The paths it may call; empty allows every path of models.
    pub routes: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What its owner notes.
    pub metadata: Map<String, Value>,
    /// Whether it was made as an administrator's. It is one while its user is too (the role `proxy_admin`) and it is of no team.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// Whether it is refused.
    pub blocked: bool,
    /// When it ends.
    #[serde(with = "super::text::time", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<SystemTime>,
    /// When it was made. The directory sets it.
    #[serde(with = "super::text::time")]
    pub created_at: Option<SystemTime>,
    /// When it was changed last. The directory sets it.
    #[serde(with = "super::text::time")]
    pub updated_at: Option<SystemTime>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// What a newer version wrote.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

/// A team, which has keys and members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Team {
    /// Its id, which never changes.
    pub id: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The organisation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// What all its keys together may spend and use.
    pub allowance: Allowance,
    /// The template of budgets that fills its allowance, which must be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// What each member may spend and use within it, where the membership does not say otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_allowance: Option<Allowance>,
    /// The models its keys may name; empty allows every model.
    pub models: Vec<String>,
    /// Names of models that stand for others, for all its keys.
    pub aliases: BTreeMap<String, String>,
    /// Its tags, which are those of all its keys.
    pub tags: Vec<String>,
    /// What its owner notes.
    pub metadata: Map<String, Value>,
    /// Whether all its keys are refused.
    pub blocked: bool,
    /// When it was made. The directory sets it.
    #[serde(with = "super::text::time")]
    pub created_at: Option<SystemTime>,
    /// When it was changed last. The directory sets it.
    #[serde(with = "super::text::time")]
    pub updated_at: Option<SystemTime>,
    /// What a newer version wrote.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

/// A user within a team.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Member {
    /// The team, which must be known.
    pub team: String,
    /// The user, who need not be known otherwise.
    pub user: String,
    /// What it is there: `admin` or `user`; no more is read into it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What it may spend and use by keys of the team.
    pub allowance: Allowance,
    /// The template of budgets that fills its allowance, which must be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// When it joined. The directory sets it.
    #[serde(with = "super::text::time")]
    pub created_at: Option<SystemTime>,
    /// When it was changed last. The directory sets it.
    #[serde(with = "super::text::time")]
    pub updated_at: Option<SystemTime>,
    /// What a newer version wrote.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

/// A user, who has keys and may be a member of teams.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct User {
    /// Its id, which never changes.
    pub id: String,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What it may do: `proxy_admin` makes its personal keys an administrator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What all its personal keys together may spend and use: those that belong to no team.
    pub allowance: Allowance,
    /// The template of budgets that fills its allowance, which must be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// The models its personal keys may name; empty allows every model.
    pub models: Vec<String>,
    /// What its owner notes.
    pub metadata: Map<String, Value>,
    /// Whether all its keys are refused, those of teams too.
    pub blocked: bool,
    /// When it was made. The directory sets it.
    #[serde(with = "super::text::time")]
    pub created_at: Option<SystemTime>,
    /// When it was changed last. The directory sets it.
    #[serde(with = "super::text::time")]
    pub updated_at: Option<SystemTime>,
    /// What a newer version wrote.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

/// An end user, whom calls name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Customer {
    /// The id that calls name.
    pub id: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What it may spend and use.
    pub allowance: Allowance,
    /// The template of budgets that fills its allowance, which must be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// Whether calls that name it are refused.
    pub blocked: bool,
    /// When it was made. The directory sets it.
    #[serde(with = "super::text::time")]
    pub created_at: Option<SystemTime>,
    /// When it was changed last. The directory sets it.
    #[serde(with = "super::text::time")]
    pub updated_at: Option<SystemTime>,
    /// What a newer version wrote.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

/// A template of budgets, which fills the allowances of those who name it. Each of them has all of it for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BudgetTemplate {
    /// Its id, which never changes.
    pub id: String,
    /// What those who name it may spend and use.
    pub allowance: Allowance,
    /// When it was made. The directory sets it.
    #[serde(with = "super::text::time")]
    pub created_at: Option<SystemTime>,
    /// When it was changed last. The directory sets it.
    #[serde(with = "super::text::time")]
    pub updated_at: Option<SystemTime>,
    /// What a newer version wrote.
    #[serde(flatten)]
    pub(crate) unknown: Map<String, Value>,
}

// ===== constructors =====

impl ModelBudget {
    /// So much in a window; `None`: what was spent is never forgotten.
    #[must_use]
    pub fn new(max_budget: Usd, budget_duration: Option<String>) -> Self {
        Self { max_budget, budget_duration, unknown: Map::new() }
    }
}

impl Key {
    /// A key that may do everything, without limits.
    #[must_use]
    pub fn new(hash: KeyHash) -> Self {
        Self {
            hash,
            id: String::new(),
            name: String::new(),
            alias: None,
            user: None,
            team: None,
            organisation: None,
            budget: None,
            allowance: Allowance::default(),
            models: Vec::new(),
            aliases: BTreeMap::new(),
            routes: Vec::new(),
            tags: Vec::new(),
            metadata: Map::new(),
            admin: false,
            blocked: false,
            expires_at: None,
            created_at: None,
            updated_at: None,
            created_by: None,
            unknown: Map::new(),
        }
    }
}

/// The hash of nothing, which is not stored.
impl Default for Key {
    fn default() -> Self {
        Self::new(KeyHash::of(b""))
    }
}

impl Team {
    /// A team without limits.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }
}

impl Member {
    /// A user in a team, without limits of its own.
    #[must_use]
    pub fn new(team: impl Into<String>, user: impl Into<String>) -> Self {
        Self { team: team.into(), user: user.into(), ..Self::default() }
    }
}

impl User {
    /// A user without limits.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }
}

impl Customer {
    /// An end user without limits.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }
}

impl BudgetTemplate {
    /// A template that says nothing.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }
}

//! What limits and budgets apply to, and what they say.

use std::{
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::Usd;

/// Whom or what an allowance is for: one key, one team, the whole gateway. Ids are opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Scope {
    /// The kind of scope.
    pub kind: ScopeKind,
    /// Which of that kind; empty for [`ScopeKind::Gateway`].
    pub id: Arc<str>,
}

/// The kinds of scope, the most specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ScopeKind {
    /// A virtual key.
    Key,
    /// A user of the caller's, as named in a request: it can only narrow what applies.
    EndUser,
    /// A tag of the key, the team or the request.
    Tag,
    /// A user within a team.
    Member,
    /// A user.
    User,
    /// A team.
    Team,
    /// An organisation.
    Organisation,
    /// A tenant of the host's own making.
    Tenant,
    /// A model, by the name that the caller uses.
    Model,
    /// One deployment of a model.
    Deployment,
    /// A provider.
    Provider,
    /// Everything that passes.
    Gateway,
}

/// What is counted under one name: a scope, for all models or some, within one kind of window. Cheap to clone, and to make for a scope
/// that is at hand: its parts are shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Account {
    /// Whose it is.
    pub scope: Scope,
    /// The models it is for, as the caller names them; a pattern may end in `*`. `None` is all of them.
    pub models: Option<Arc<str>>,
    /// The name of the window or, for a limit, of the measure and the window.
    pub period: Arc<str>,
}

/// An amount of money that a scope may spend within a window.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Where it is counted. Two budgets with one account share what was spent.
    pub account: Account,
    /// The most that may be spent. Zero refuses every call that costs anything.
    pub cap: Usd,
    /// An amount that alerts when it is reached, and refuses nothing.
    pub soft: Option<Usd>,
    /// When what was spent is forgotten.
    pub window: Window,
}

/// How much a scope may use in any stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// Where it is counted.
    pub account: Account,
    /// What is counted.
    pub measure: Measure,
    /// The most of it.
    pub most: u64,
    /// The stretch of time it holds for, sliding; without meaning for [`Measure::Concurrency`].
    pub per: Duration,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Measure {
    /// Calls.
    Requests,
    /// Input and output tokens together.
    Tokens,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Calls that run at the same time, until the last byte of their answers.
    Concurrency,
}

/// When what was spent is forgotten.
#[derive(Clone)]
#[non_exhaustive]
pub enum Window {
    /// Never.
    Lifetime,
    /// After this time, each amount by itself.
    Rolling(Duration),
    /// All of it whenever a period of the calendar ends.
    Calendar(Arc<dyn Calendar>),
}

/// Periods that follow each other without a gap.
pub trait Calendar: Send + Sync + 'static {
    /// The name of such periods, as `1d Europe/Berlin`: equal names are equal calendars.
    fn name(&self) -> &str;

    /// The period that `now` is in, from its first moment to that of the next.
    fn period(&self, now: SystemTime) -> Range<SystemTime>;
}

// ===== impl Scope =====

impl Scope {
    /// A scope of a kind.
    #[must_use]
    pub fn new(kind: ScopeKind, id: impl Into<Arc<str>>) -> Self {
        Self { kind, id: id.into() }
    }

    /// A tenant of the host's own making.
    #[must_use]
    pub fn tenant(id: impl Into<Arc<str>>) -> Self {
        Self::new(ScopeKind::Tenant, id)
    }

    /// Everything that passes.
    #[must_use]
    pub fn gateway() -> Self {
        Self::new(ScopeKind::Gateway, "")
    }
}

/// One scope, where a host's closure names scopes.
impl IntoIterator for Scope {
    type Item = Self;
    type IntoIter = std::iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}

/// For a caller to read: the kind alone, as ids may be keys' hashes.
impl fmt::Display for ScopeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ScopeKind {
    /// Its name in errors, headers and stores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::EndUser => "end_user",
            Self::Tag => "tag",
            Self::Member => "member",
            Self::User => "user",
            Self::Team => "team",
            Self::Organisation => "organisation",
            Self::Tenant => "tenant",
            Self::Model => "model",
            Self::Deployment => "deployment",
            Self::Provider => "provider",
            Self::Gateway => "gateway",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Key,
        Self::EndUser,
        Self::Tag,
        Self::Member,
        Self::User,
        Self::Team,
        Self::Organisation,
        Self::Tenant,
        Self::Model,
        Self::Deployment,
        Self::Provider,
        Self::Gateway,
    ];
}

// ===== impl Account =====

impl Account {
    /// An account by its parts.
    #[must_use]
    pub fn new(scope: Scope, models: Option<Arc<str>>, period: impl Into<Arc<str>>) -> Self {
        Self { scope, models, period: period.into() }
    }

    /// Whether a call that names this model is counted here.
    #[must_use]
    pub fn is_for(&self, model: Option<&str>) -> bool {
        let Some(pattern) = self.models.as_deref() else { return true };
        model.is_some_and(|model| match pattern.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => pattern == model,
        })
    }
}

// ===== impl Budget =====

impl Budget {
    /// A budget for all models.
    #[must_use]
    pub fn new(scope: Scope, cap: Usd, window: Window) -> Self {
        let account = Account::new(scope, None, window.name());
        Self { account, cap, soft: None, window }
    }

    /// A budget that is counted in an account made before.
    #[must_use]
    pub const fn in_account(account: Account, cap: Usd, soft: Option<Usd>, window: Window) -> Self {
        Self { account, cap, soft, window }
    }

    /// What is counted, and refuses nothing: a budget with a cap of [`Budget::UNCAPPED`].
    #[must_use]
    pub fn counted(scope: Scope, window: Window) -> Self {
        Self::new(scope, Self::UNCAPPED, window)
    }

    /// Whether there is an amount that may not be exceeded.
    #[must_use]
    pub fn is_capped(&self) -> bool {
        self.cap < Self::UNCAPPED
    }

    /// The cap of what is counted only: more money than there is, and few enough dollars for a float.
    pub const UNCAPPED: Usd = Usd::dollars(1_000_000_000_000_000);

    /// Counts, and caps, only calls that name this model; a pattern may end in `*`.
    #[must_use]
    pub fn models(mut self, pattern: impl Into<Arc<str>>) -> Self {
        self.account.models = Some(pattern.into());
        self
    }

    /// Sets the amount that alerts, and refuses nothing.
    #[must_use]
    pub const fn soft(mut self, amount: Usd) -> Self {
        self.soft = Some(amount);
        self
    }
}

// ===== impl Limit =====

impl Limit {
    /// A limit for all models, over any stretch of `per`.
    #[must_use]
    pub fn new(scope: Scope, measure: Measure, most: u64, per: Duration) -> Self {
        let account = Account::new(scope, None, limit_period(measure, per));
        Self { account, measure, most, per }
    }

    /// At most this many calls in any minute.
    #[must_use]
    pub fn requests_per_minute(scope: Scope, most: u64) -> Self {
        Self::new(scope, Measure::Requests, most, MINUTE)
    }

    /// At most this many input and output tokens in any minute.
    #[must_use]
    pub fn tokens_per_minute(scope: Scope, most: u64) -> Self {
        Self::new(scope, Measure::Tokens, most, MINUTE)
    }

    /// At most this many calls at the same time.
    #[must_use]
    pub fn concurrency(scope: Scope, most: u64) -> Self {
        Self::new(scope, Measure::Concurrency, most, Duration::ZERO)
    }

    /// Counts, and limits, only calls that name this model; a pattern may end in `*`.
    #[must_use]
    pub fn models(mut self, pattern: impl Into<Arc<str>>) -> Self {
        self.account.models = Some(pattern.into());
        self
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn limit_period(measure: Measure, per: Duration) -> String {
    match measure {
        Measure::Concurrency => measure.name().to_owned(),
        _ => format!("{} {per:?}", measure.name()),
    }
}

impl Measure {
    /// Its name in errors and stores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Concurrency => "concurrency",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// ===== impl Window =====

impl Window {
    /// A name that equal windows share: `lifetime`, `rolling 3600s`, or the calendar's own.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Lifetime => "lifetime".into(),
            Self::Rolling(span) => format!("rolling {span:?}").into(),
            Self::Calendar(calendar) => calendar.name().into(),
        }
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lifetime, Self::Lifetime) => true,
            (Self::Rolling(one), Self::Rolling(two)) => one == two,
            (Self::Calendar(one), Self::Calendar(two)) => one.name() == two.name(),
            _ => false,
        }
    }
}

impl Eq for Window {}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in ScopeKind::ALL {
            assert_eq!(ScopeKind::of_name(kind.name()), Some(kind));
        }
        assert_eq!(ScopeKind::of_name("galaxy"), None);
    }

    #[test]
    fn an_account_is_for_the_models_it_names() {
        let budget = Budget::new(Scope::tenant("a"), Usd::dollars(1), Window::Lifetime);
        assert!(budget.account.is_for(None) && budget.account.is_for(Some("gpt-4o")));
        let narrowed = budget.models("gpt-*");
        assert!(narrowed.account.is_for(Some("gpt-4o")));
        assert!(!narrowed.account.is_for(Some("claude")) && !narrowed.account.is_for(None));
    }

    #[test]
    fn accounts_differ_by_scope_models_and_period() {
        let scope = || Scope::new(ScopeKind::Key, "k");
        let budgets = [
            Budget::new(scope(), Usd::ZERO, Window::Lifetime),
            Budget::new(Scope::new(ScopeKind::Team, "k"), Usd::ZERO, Window::Lifetime),
            Budget::new(scope(), Usd::ZERO, Window::Rolling(Duration::from_secs(60))),
            Budget::new(scope(), Usd::ZERO, Window::Rolling(Duration::from_secs(61))),
            Budget::new(scope(), Usd::ZERO, Window::Lifetime).models("m"),
        ];
        for (at, one) in budgets.iter().enumerate() {
            for other in &budgets[at + 1..] {
                assert_ne!(one.account, other.account);
            }
        }
    }
}

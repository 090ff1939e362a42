//! Where reservations are kept: the trait between the layer and its ledgers.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::SystemTime,
};

use ziggurat_core::{Account, Budget, Patience, Reply, Usd};

/// Keeps what is spent and what is set aside, for every account at once.
///
/// Two-phase, as a ledger's pending, posted and voided transfers: an amount is reserved in all accounts or in none, and each
/// reservation is settled once. Shared, so all methods take `&self`; none may block.
pub trait Store: Send + Sync + 'static {
    /// Sets aside as much as fits into every account, at most `claim.most` and at least `claim.least`; or nothing anywhere.
    fn reserve(&self, claim: Claim) -> Reply<Result<Held, Refused>>;

    /// What is spent and set aside in the account of `budget` now, where that is known without asking another machine.
    fn balance(&self, budget: &Budget) -> Option<Balance>;
}

/// What is asked of a [`Store`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claim {
    /// The id of the reservation: an id is reserved once and settled once, ever.
    pub id: HoldId,
    /// The call that it is part of: the attempts of one call share it.
    pub call: HoldId,
    /// Every budget that applies.
    pub budgets: Arc<[Budget]>,
    /// Less than this is of no use.
    pub least: Usd,
    /// More than this is not needed.
    pub most: Usd,
    /// How long the call waits for stores on other machines.
    pub patience: Option<Patience>,
}

/// The id of a reservation, unique among all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldId(pub u128);

/// A reservation that was made.
pub struct Held {
    /// How much was set aside in every account.
    pub amount: Usd,
    /// Settles it.
    pub hold: Box<dyn Hold>,
}

/// An amount that is set aside. Dropped without being settled, it is posted in full as unreconciled: the provider may have charged.
pub trait Hold: Send + Sync {
    /// Sets aside more, at most `most` and at least `least`, in every account or in none. Gives how much more it was.
    fn extend(&self, least: Usd, most: Usd) -> Reply<Result<Usd, Refused>>;

    /// Posts what was charged and frees the rest; [`Usd::ZERO`] releases it all. Does not block and cannot fail: where it is to be
    /// written down, room was taken for it when it was reserved.
    fn settle(self: Box<Self>, charge: Charge);
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Charge {
    /// The cost, which may be more than was set aside: the money is gone.
    pub amount: Usd,
    /// What is to be known of it.
    pub flags: Flags,
}

/// What is to be known of a posting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flags {
    /// The provider did not state its usage, or not all of it: the amount is an estimate.
    pub estimated: bool,
    /// The provider stated usage that cannot be.
    pub usage_invalid: bool,
    /// The answer did not come to its end.
    pub incomplete: bool,
    /// It came to more than was set aside.
    pub overrun: bool,
    /// Nobody settled it; posted in full until somebody does.
    pub unreconciled: bool,
    /// The model has no price, and was allowed without one.
    pub unpriced: bool,
    /// The provider stated that a whole answer took no tokens, and so nothing was charged.
    pub zero_usage: bool,
}

/// What an account stands at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Balance {
    /// Posted in this window.
    pub spent: Usd,
    /// Set aside now.
    pub held: Usd,
    /// When what is spent is forgotten, wholly or in part; `None` when it never is.
    pub resets_at: Option<SystemTime>,
}

/// Why nothing was set aside.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// An account has no room; the first such in the order of the claim.
    Exceeded {
        /// Which.
        account: Arc<Account>,
        /// The most that may be spent.
        cap: Usd,
        /// What it stood at.
        balance: Balance,
    },
    /// The store can take no more, or cannot be reached: nothing is known, and so nothing is allowed.
    Unavailable(
        /// For the log.
        &'static str,
    ),
}

// ===== impl Claim =====

impl Claim {
    /// A claim for one reservation of a call.
    #[must_use]
    pub const fn new(id: HoldId, call: HoldId, budgets: Arc<[Budget]>, least: Usd, most: Usd) -> Self {
        Self { id, call, budgets, least, most, patience: None }
    }

    /// Waits no longer than the call does for all stores on other machines.
    #[must_use]
    pub fn patience(mut self, patience: Option<Patience>) -> Self {
        self.patience = patience;
        self
    }
}

// ===== impl HoldId =====

impl HoldId {
    /// A new id: of the time, so that ids sort by it, and of chance, so that no other node makes the same.
    #[must_use]
    pub fn unique(now: SystemTime) -> Self {
        let micros = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let chance = || u128::from(RandomState::new().hash_one(()));
        Self((micros << 72) ^ ((chance() << 64 ^ chance()) & (u128::MAX >> 56)))
    }
}

// ===== impl Charge =====

impl Charge {
    /// A charge of an amount that the provider stated.
    #[must_use]
    pub fn new(amount: Usd) -> Self {
        Self::of(amount, Flags::default())
    }

    /// A charge of which something is to be known.
    #[must_use]
    pub const fn of(amount: Usd, flags: Flags) -> Self {
        Self { amount, flags }
    }
}

impl std::ops::Add for Charge {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { amount: self.amount + other.amount, flags: self.flags | other.flags }
    }
}

// ===== impl Flags =====

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            estimated: self.estimated | other.estimated,
            usage_invalid: self.usage_invalid | other.usage_invalid,
            incomplete: self.incomplete | other.incomplete,
            overrun: self.overrun | other.overrun,
            unreconciled: self.unreconciled | other.unreconciled,
            unpriced: self.unpriced | other.unpriced,
            zero_usage: self.zero_usage | other.zero_usage,
        }
    }
}

// ===== impl Refused =====

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exceeded { account, .. } => write!(f, "the budget of the {} is spent", account.scope.kind),
            Self::Unavailable(why) => write!(f, "the ledger is not available: {why}"),
        }
    }
}

impl std::error::Error for Refused {}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("amount", &self.amount).finish_non_exhaustive()
    }
}

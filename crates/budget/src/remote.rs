//! Ledgers on another machine, that several nodes share.

mod hold;
mod known;
mod overflow;
mod store;
mod watch;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use ziggurat_core::{Asked, Budget, Usd};

pub use self::store::Remote;
use crate::{Balance, Charge, Claim, Crossed, HoldId, Refused};

/// A ledger on another machine, as one of its clients sees it: each method is one round trip, and one atomic step there.
///
/// Times are the machine's own, by its clock. A hold is in one of three states there: open; posted as unreconciled, when it expired; ended.
/// An id that has ended stays known for at least a day: whatever is repeated or comes late changes nothing.
pub trait Backend: Send + Sync + 'static {
    /// Sets aside as much as fits into every account, at most `claim.most` and at least `claim.least`, or nothing anywhere; until `ttl`
    /// has passed without a renewal. An id that was settled before, because its caller had stopped waiting, is refused.
    fn reserve<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> Asked<'a, Result<Granted, Refused>>;

    /// Sets aside more under an id that is reserved: at most `claim.most` and at least `claim.least` on top.
    fn extend<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> Asked<'a, Result<Granted, Refused>>;

    /// Holds under each id `claim.most` at least, whatever fits, until `ttl` has passed without a renewal: a process gave it while the machine
    /// was away. One that has ended, or was posted as unreconciled, stays as it is.
    fn adopt<'a>(&'a self, claims: &'a [Claim], ttl: Duration) -> Asked<'a, ()>;

    /// Ends holds: posts what was charged, frees the rest. One that is open or posted as unreconciled ends with this charge in the place
    /// of what was posted; one that has ended stays as it is; one that is not known is posted, and has ended with it. Never fails because of
    /// what is in the batch: it is sent again until it has arrived. Gives what is spent in each account after it, also when it is repeated:
    /// of each settlement in turn, in the order of its budgets.
    fn settle<'a>(&'a self, batch: &'a [Settlement]) -> Asked<'a, Vec<Usd>>;

    /// Says of each mark whether whoever asks is to tell of it, and takes note that it is told: once for each amount of a kind in a window
    /// of the account, whoever asks first; and a greater amount of that kind once more. Whoever asks again by the same hold is told the
    /// same, as it may not have heard.
    fn tell<'a>(&'a self, marks: &'a [Mark]) -> Asked<'a, Vec<Told>>;

    /// Keeps open holds from expiring for another `ttl`. One that is not open stays as it is: this is also asked, of a hold that nobody has,
    /// to see whether the machine answers.
    fn renew<'a>(&'a self, holds: &'a [HoldId], ttl: Duration) -> Asked<'a, ()>;

    /// Posts holds that have expired as unreconciled, in full: as many as the machine posts in a moment. Gives how many; none when there are
    /// none.
    fn expire(&self) -> Asked<'_, usize>;

    /// What is spent and set aside in the accounts of these budgets now.
    fn balances<'a>(&'a self, budgets: &'a [Budget]) -> Asked<'a, Vec<Balance>>;
}

/// What was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// How much, or how much more.
    pub amount: Usd,
    /// What each account of the claim stands at after it, in the order of its budgets.
    pub balances: Vec<Balance>,
}

/// How a hold ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settlement {
    /// The hold.
    pub id: HoldId,
    /// The call it was part of.
    pub call: HoldId,
    /// Where it is to be posted.
    pub budgets: Arc<[Budget]>,
    /// What it came to; zero releases it.
    pub charge: Charge,
    /// When, by this node's clock.
    pub at: SystemTime,
}

/// An amount that an account's spending has reached, as a settlement found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mark {
    /// Whose.
    pub budget: Budget,
    /// What it is. Marks of one kind are one mark: all soft amounts, and all that are so many percent.
    pub crossed: Crossed,
    /// How much it is.
    pub amount: Usd,
    /// The hold that was settled then.
    pub by: HoldId,
}

/// What is to be done about a [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is for whoever asked to tell.
    Now {
        /// What is spent.
        spent: Usd,
        /// When it may be told again; `None` when it never is.
        again_at: Option<SystemTime>,
    },
    /// It was told before.
    Before {
        /// When it may be told again; `None` when it never is.
        again_at: Option<SystemTime>,
    },
    /// It is not reached, or no more.
    Below,
}

// ===== impl Granted =====

impl Granted {
    /// An amount that was set aside, and where the accounts stand after it.
    #[must_use]
    pub const fn new(amount: Usd, balances: Vec<Balance>) -> Self {
        Self { amount, balances }
    }
}

// ===== impl Settlement =====

impl Settlement {
    /// The end of a hold.
    #[must_use]
    pub const fn new(
        id: HoldId,
        call: HoldId,
        budgets: Arc<[Budget]>,
        charge: Charge,
        at: SystemTime,
    ) -> Self {
        Self { id, call, budgets, charge, at }
    }
}

// ===== impl Mark =====

impl Mark {
    /// An amount that was reached.
    #[must_use]
    pub const fn new(budget: Budget, crossed: Crossed, amount: Usd, by: HoldId) -> Self {
        Self { budget, crossed, amount, by }
    }

    /// Its kind, as a number that stays: the percent, and 0 for a soft amount.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self.crossed {
            Crossed::Soft(_) => 0,
            Crossed::Percent(percent) => percent,
        }
    }
}

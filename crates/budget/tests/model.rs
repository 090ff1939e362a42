//! The ledger against a plain list: whatever happens in whatever order, both say the same.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use ziggurat_budget::{
    Balance, Charge, Claim, Flags, Held, HoldId, Journal, JournalError, Ledger, OpenHold, Posting, Recovered,
    RecoveredAccount, RecoveredHold, Refused, Slot, calendar,
};
use ziggurat_core::{Account, Budget, Clock, Scope, ScopeKind, Usd, Window};

use crate::support::at_once;

#[derive(Clone, Debug)]
enum Op {
    Reserve { budgets: Vec<usize>, least: u64, more: u64 },
    Extend { hold: usize, least: u64, more: u64 },
    Settle { hold: usize, amount: u64 },
    Drop { hold: usize },
    Advance { seconds: u64 },
    Cap { budget: usize, cap: u64 },
    Expire,
    Reconcile { hold: usize, amount: u64 },
}

/// How the model keeps an account: every posting by itself.
#[derive(Clone, Default)]
struct Book {
    postings: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    hold: usize,
    at: u64,
    amount: u64,
}

struct OpenInModel {
    accounts: Vec<usize>,
    amount: u64,
    /// Caps as they were claimed, by account.
    caps: Vec<(usize, u64)>,
    state: State,
    /// Of an earlier process: when it expires.
    expires: Option<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Settled,
    Unreconciled,
}

struct Model {
    now: u64,
    books: Vec<Book>,
    /// The account and the cap of each budget.
    budgets: Vec<(usize, u64)>,
    holds: Vec<OpenInModel>,
}

impl Model {
    fn counts(&self, account: usize, at: u64) -> bool {
        match account % 3 {
            0 => true,
            // The second it was posted in must have left the last 64.
            1 => at + 1 + SPAN > self.now,
            _ => at / PERIOD == self.now / PERIOD,
        }
    }

    fn spent(&self, account: usize) -> u64 {
        let postings = self.books[account].postings.iter().filter(|entry| self.counts(account, entry.at));
        postings.map(|entry| entry.amount).sum()
    }

    fn held(&self, account: usize) -> u64 {
        let open =
            self.holds.iter().filter(|hold| hold.state == State::Open && hold.accounts.contains(&account));
        open.map(|hold| hold.amount).sum()
    }

    /// What fits, or the account that refuses.
    fn fit(&self, caps: &[(usize, u64)], least: u64, most: u64) -> Result<u64, (usize, u64)> {
        let room = |account, cap: u64| cap.saturating_sub(self.spent(account) + self.held(account));
        match caps.iter().find(|(account, cap)| room(*account, *cap) < least) {
            Some(refusing) => Err(*refusing),
            None => {
                Ok(caps.iter().map(|(account, cap)| room(*account, *cap)).chain([most]).min().unwrap_or(most))
            }
        }
    }

    /// Each account once, in the order of the budgets, with its smallest cap.
    fn caps(&self, budgets: &[usize]) -> Vec<(usize, u64)> {
        let mut caps: Vec<(usize, u64)> = Vec::new();
        for budget in budgets {
            let (account, cap) = self.budgets[*budget];
            match caps.iter_mut().find(|known| known.0 == account) {
                Some(known) => known.1 = known.1.min(cap),
                None => caps.push((account, cap)),
            }
        }
        caps
    }

    fn post(&mut self, hold: usize, amount: u64, state: State) {
        for account in self.holds[hold].accounts.clone() {
            self.books[account].postings.push(Entry { hold, at: self.now, amount });
        }
        self.holds[hold].state = state;
    }

    fn expire(&mut self) {
        for hold in 0..self.holds.len() {
            let this = &self.holds[hold];
            if this.state == State::Open && this.expires.is_some_and(|at| at <= self.now) {
                self.post(hold, this.amount, State::Unreconciled);
            }
        }
    }

    fn reconcile(&mut self, hold: usize, amount: u64) -> bool {
        let this = &self.holds[hold];
        if this.state == State::Open && this.expires.is_some() {
            self.post(hold, amount, State::Settled);
            return true;
        }
        if this.state != State::Unreconciled {
            return false;
        }
        self.holds[hold].state = State::Settled;
        for account in self.holds[hold].accounts.clone() {
            for entry in self.books[account].postings.iter_mut().filter(|entry| entry.hold == hold) {
                entry.amount = amount;
            }
        }
        true
    }
}

/// The ledger and the model, side by side.
struct Pair {
    ledger: Ledger,
    clock: Arc<AtomicU64>,
    budgets: Vec<Budget>,
    model: Model,
    held: Vec<Option<Held>>,
}

impl Pair {
    fn new(recovered: Vec<(usize, u64, u64)>, holds: Vec<(Vec<usize>, u64, u64)>) -> Self {
        let clock = Arc::new(AtomicU64::new(START));
        let shown = Arc::clone(&clock);
        let show = move || SystemTime::UNIX_EPOCH + Duration::from_secs(shown.load(Relaxed));
        let budgets: Vec<Budget> = (0..BUDGETS).map(|budget| self::budget(budget % ACCOUNTS, 100)).collect();
        let mut books = vec![Book::default(); ACCOUNTS];
        let mut accounts = Vec::new();
        for (account, ago, amount) in recovered {
            let at = START - ago;
            books[account].postings.push(Entry { hold: usize::MAX, at, amount });
            let bucket = match account % 3 {
                0 => 0,
                1 => at,
                _ => at / PERIOD * PERIOD,
            };
            let buckets = vec![(i64::try_from(bucket).expect("is small"), usd(amount))];
            accounts.push(RecoveredAccount::new(budgets[account].account.clone(), buckets));
        }
        let mut lost = Recovered::default();
        lost.accounts = accounts;
        let mut open = Vec::new();
        for (at, (mut accounts, amount, expires)) in holds.into_iter().enumerate() {
            let id = HoldId(at as u128);
            let names: Vec<Account> =
                accounts.iter().map(|account| budgets[*account].account.clone()).collect();
            let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(START + expires);
            lost.holds.push(RecoveredHold::new(id, id, names, usd(amount), expires_at, Slot(at as u64)));
            accounts.sort_unstable();
            accounts.dedup();
            open.push(OpenInModel {
                accounts,
                amount,
                caps: Vec::new(),
                state: State::Open,
                expires: Some(START + expires),
            });
        }
        let journal = Arc::new(Writable);
        let ledger = Ledger::in_memory().journal(journal, lost).clock(Clock::new(show));
        let held = open.iter().map(|_| None).collect();
        let model = Model {
            now: START,
            books,
            budgets: (0..BUDGETS).map(|budget| (budget % ACCOUNTS, 100)).collect(),
            holds: open,
        };
        Self { ledger, clock, budgets, model, held }
    }

    fn run(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Reserve { budgets, least, more } => self.reserve(&budgets, least, least + more)?,
            Op::Extend { hold, least, more } => self.extend(hold, least, least + more)?,
            Op::Settle { hold, amount } => {
                if let Some((hold, held)) = self.take(hold) {
                    held.hold.settle(Charge::new(usd(amount)));
                    self.model.post(hold, amount, State::Settled);
                }
            }
            Op::Drop { hold } => {
                if let Some((hold, held)) = self.take(hold) {
                    drop(held);
                    self.model.post(hold, self.model.holds[hold].amount, State::Unreconciled);
                }
            }
            Op::Advance { seconds } => {
                self.model.now += seconds;
                self.clock.store(self.model.now, Relaxed);
                self.model.expire();
            }
            Op::Cap { budget, cap } => {
                self.budgets[budget].cap = usd(cap);
                self.model.budgets[budget].1 = cap;
            }
            Op::Expire => {
                prop_assert_eq!(
                    self.ledger.expire(self.ledger.now()),
                    0,
                    "all were posted when they were looked at"
                );
            }
            Op::Reconcile { hold, amount } => {
                if !self.model.holds.is_empty() {
                    let hold = hold % self.model.holds.len();
                    let done = self.ledger.reconcile(HoldId(hold as u128), Charge::new(usd(amount)));
                    prop_assert_eq!(done, self.model.reconcile(hold, amount));
                }
            }
        }
        self.compare()
    }

    fn reserve(&mut self, budgets: &[usize], least: u64, most: u64) -> Result<(), TestCaseError> {
        let id = HoldId(self.model.holds.len() as u128);
        let claimed = budgets.iter().map(|budget| self.budgets[*budget].clone()).collect();
        let claim = Claim::new(id, id, claimed, usd(least), usd(most));
        let caps = self.model.caps(budgets);
        let expected = self.model.fit(&caps, least, most);
        match (at_once(self.ledger.reserve(claim)), expected) {
            (Ok(held), Ok(amount)) => {
                prop_assert_eq!(held.amount, usd(amount));
                let accounts = caps.iter().map(|(account, _)| *account).collect();
                self.model.holds.push(OpenInModel {
                    accounts,
                    amount,
                    caps,
                    state: State::Open,
                    expires: None,
                });
                self.held.push(Some(held));
                self.within_caps(self.model.holds.len() - 1, amount)?;
            }
            (Err(refused), Err(refusing)) => self.is_right(&refused, refusing)?,
            (ours, theirs) => prop_assert!(false, "{:?} but {:?}", ours, theirs),
        }
        Ok(())
    }

    fn extend(&mut self, hold: usize, least: u64, most: u64) -> Result<(), TestCaseError> {
        let Some(hold) = self.open(hold) else { return Ok(()) };
        let held = self.held[hold].as_ref().expect("is open");
        let expected = self.model.fit(&self.model.holds[hold].caps, least, most);
        match (at_once(held.hold.extend(usd(least), usd(most))), expected) {
            (Ok(more), Ok(amount)) => {
                prop_assert_eq!(more, usd(amount));
                self.model.holds[hold].amount += amount;
                self.within_caps(hold, amount)?;
            }
            (Err(refused), Err(refusing)) => self.is_right(&refused, refusing)?,
            (ours, theirs) => prop_assert!(false, "{:?} but {:?}", ours, theirs),
        }
        Ok(())
    }

    /// After something was set aside, nothing is above its cap.
    fn within_caps(&self, hold: usize, amount: u64) -> Result<(), TestCaseError> {
        for (account, cap) in &self.model.holds[hold].caps {
            let balance = self.balance(*account);
            prop_assert!(amount == 0 || balance.spent + balance.held <= usd(*cap));
        }
        Ok(())
    }

    fn is_right(&self, refused: &Refused, (account, cap): (usize, u64)) -> Result<(), TestCaseError> {
        let Refused::Exceeded { account: named, cap: told, balance, .. } = refused else {
            return Err(TestCaseError::fail("there is room for accounts"));
        };
        prop_assert_eq!(&**named, &self.budgets[account].account);
        prop_assert_eq!(*told, usd(cap));
        prop_assert_eq!(balance.spent, usd(self.model.spent(account)));
        prop_assert_eq!(balance.held, usd(self.model.held(account)));
        let next = (self.model.now / PERIOD + 1) * PERIOD;
        match account % 3 {
            0 => prop_assert_eq!(balance.resets_at, None),
            1 => prop_assert!(balance.resets_at.is_none_or(|at| at > self.ledger.now())),
            _ => prop_assert_eq!(balance.resets_at, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(next))),
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        for account in 0..ACCOUNTS {
            let balance = self.balance(account);
            prop_assert_eq!(balance.spent, usd(self.model.spent(account)), "spent in {}", account);
            prop_assert_eq!(balance.held, usd(self.model.held(account)), "held in {}", account);
        }
        Ok(())
    }

    fn balance(&self, account: usize) -> Balance {
        self.ledger.balance(&self.budgets[account]).expect("is known")
    }

    fn open(&self, wanted: usize) -> Option<usize> {
        let open: Vec<usize> = (0..self.held.len()).filter(|hold| self.held[*hold].is_some()).collect();
        (!open.is_empty()).then(|| open[wanted % open.len()])
    }

    fn take(&mut self, wanted: usize) -> Option<(usize, Held)> {
        let hold = self.open(wanted)?;
        Some((hold, self.held[hold].take()?))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn agrees_with_a_plain_list(
        recovered in prop::collection::vec((0..ACCOUNTS, 0_u64..200, 0_u64..60), 0..6),
        holds in prop::collection::vec((prop::collection::vec(0..ACCOUNTS, 1..4), 0_u64..40, 0_u64..300), 0..4),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut pair = Pair::new(recovered, holds);
        pair.model.expire();
        pair.compare()?;
        for op in ops {
            pair.run(op)?;
        }
        // In the end everything is settled, and nothing is held.
        while let Some((hold, held)) = pair.take(0) {
            held.hold.settle(Charge::new(Usd::ZERO));
            pair.model.post(hold, 0, State::Settled);
        }
        pair.run(Op::Advance { seconds: 400 })?;
        for account in 0..ACCOUNTS {
            prop_assert_eq!(pair.balance(account).held, Usd::ZERO);
        }
    }

    /// However the wall clock steps: what would count at the latest time it showed counts now.
    #[test]
    fn a_clock_that_steps_back_frees_nothing(steps in prop::collection::vec((-300_i64..300, 0_u64..20), 1..40)) {
        let mut pair = Pair::new(Vec::new(), Vec::new());
        let (mut latest, mut now) = (START, START);
        for (step, amount) in steps {
            now = now.saturating_add_signed(step).max(START / 2);
            latest = latest.max(now);
            pair.clock.store(now, Relaxed);
            for account in 0..ACCOUNTS {
                let before = pair.balance(account).spent;
                let claim = Claim::new(HoldId(0), HoldId(0), [budget(account, u64::MAX)].into(), usd(amount), usd(amount));
                let held = at_once(pair.ledger.reserve(claim)).expect("fits");
                held.hold.settle(Charge::new(usd(amount)));
                prop_assert_eq!(pair.balance(account).spent, before + usd(amount));
                pair.model.books[account].postings.push(Entry { hold: 0, at: now, amount });
                pair.model.now = latest;
                prop_assert!(pair.balance(account).spent >= usd(pair.model.spent(account)));
            }
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (prop::collection::vec(0..BUDGETS, 1..5), 0_u64..40, 0_u64..40)
            .prop_map(|(budgets, least, more)| Op::Reserve { budgets, least, more }),
        2 => (0_usize..50, 0_u64..20, 0_u64..20).prop_map(|(hold, least, more)| Op::Extend { hold, least, more }),
        3 => (0_usize..50, 0_u64..60).prop_map(|(hold, amount)| Op::Settle { hold, amount }),
        1 => (0_usize..50).prop_map(|hold| Op::Settle { hold, amount: 0 }),
        1 => (0_usize..50).prop_map(|hold| Op::Drop { hold }),
        2 => (0_u64..40).prop_map(|seconds| Op::Advance { seconds }),
        1 => (0..BUDGETS, 0_u64..200).prop_map(|(budget, cap)| Op::Cap { budget, cap }),
        1 => Just(Op::Expire),
        1 => (0_usize..50, 0_u64..60).prop_map(|(hold, amount)| Op::Reconcile { hold, amount }),
    ]
}

/// Takes everything and keeps nothing.
struct Writable;

impl Journal for Writable {
    fn open(&self, _: &OpenHold<'_>) -> Result<Slot, JournalError> {
        Ok(Slot(0))
    }

    fn grow(&self, _: &Slot, _: Usd) {}

    fn close(&self, _: Slot, posting: &Posting<'_>) {
        let overrun = Flags::default().overrun || posting.amount > posting.held;
        assert_eq!(posting.flags.overrun, overrun);
    }

    fn correct(&self, _: Usd, _: &Posting<'_>) -> Result<(), JournalError> {
        Ok(())
    }
}

fn budget(account: usize, cap: u64) -> Budget {
    let window = match account % 3 {
        0 => Window::Lifetime,
        1 => Window::Rolling(Duration::from_secs(SPAN)),
        _ => calendar::window("90s", "UTC").expect("is a window"),
    };
    Budget::new(Scope::new(ScopeKind::Key, account.to_string()), usd(cap), window)
}

fn usd(amount: u64) -> Usd {
    Usd::pico(amount.into())
}

const ACCOUNTS: usize = 6;
/// Each account has two, whose caps differ.
const BUDGETS: usize = 2 * ACCOUNTS;
/// Of the rolling windows, in seconds: a slice is one.
const SPAN: u64 = 64;
/// Of the calendar's, in seconds.
const PERIOD: u64 = 90;
const START: u64 = 1_700_000_000;

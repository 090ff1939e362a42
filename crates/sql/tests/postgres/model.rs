//! The ledger in memory is the model: both are asked the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use ziggurat_budget::{
    Charge, Claim, Held, HoldId, Ledger, Refused, Reply, calendar,
    remote::{Backend, Settlement},
};
use ziggurat_core::{Budget, Clock, Scope, ScopeKind, Usd, Window};
use ziggurat_sql::postgres::PostgresLedger;
use ziggurat_testkit::postgres::Postgres;

use super::{ledger, times, unreconciled};

#[derive(Clone, Debug)]
enum Op {
    Reserve { budgets: Vec<usize>, least: u64, more: u64 },
    Extend { hold: usize, least: u64, more: u64 },
    Settle { holds: Vec<(usize, u64)> },
    Drop { hold: usize },
    Renew { hold: usize },
    Advance { seconds: u64 },
    Cap { budget: usize, cap: u64 },
    Reconcile { hold: usize, amount: u64 },
}

/// Both, side by side.
struct Pair {
    theirs: Ledger,
    ours: Arc<PostgresLedger>,
    clock: Arc<AtomicU64>,
    budgets: Vec<Budget>,
    holds: Vec<Open>,
    corrected: bool,
}

struct Open {
    id: HoldId,
    budgets: Arc<[Budget]>,
    held: Option<Held>,
    amount: Usd,
    expires: u64,
}

impl Pair {
    async fn run(&mut self, op: Op) {
        match op {
            Op::Reserve { budgets, least, more } => self.reserve(&budgets, least, more).await,
            Op::Extend { hold, least, more } => self.extend(hold, least, more).await,
            Op::Settle { holds } => self.settle(&holds).await,
            Op::Drop { hold } => {
                let Some(hold) = self.open(hold) else { return };
                let held = self.holds[hold].held.take();
                drop(held);
                self.post(hold, unreconciled(self.holds[hold].amount)).await;
            }
            Op::Renew { hold } => {
                let Some(hold) = self.open(hold) else { return };
                self.holds[hold].expires = self.now() + HOLD;
                let ttl = Duration::from_secs(HOLD);
                self.ours.renew(&[self.holds[hold].id], ttl).await.expect("answers");
            }
            Op::Advance { seconds } => {
                self.clock.fetch_add(seconds, Relaxed);
                let now = self.now();
                let due = self.holds.iter_mut().filter(|hold| hold.held.is_some() && hold.expires <= now);
                let many = due.map(|hold| drop(hold.held.take())).count();
                assert_eq!(self.ours.expire().await.expect("answers"), many);
            }
            Op::Cap { budget, cap } => self.budgets[budget].cap = usd(cap),
            Op::Reconcile { hold, amount } => {
                let ended: Vec<usize> =
                    (0..self.holds.len()).filter(|at| self.holds[*at].held.is_none()).collect();
                if ended.is_empty() {
                    return;
                }
                let hold = ended[hold % ended.len()];
                let charge = Charge::new(usd(amount));
                self.corrected |= self.theirs.reconcile(self.holds[hold].id, charge);
                self.post(hold, charge).await;
            }
        }
        self.compare().await;
    }

    async fn reserve(&mut self, budgets: &[usize], least: u64, more: u64) {
        let id = HoldId(IDS.fetch_add(1, Relaxed).into());
        let budgets: Arc<[Budget]> = budgets.iter().map(|at| self.budgets[*at].clone()).collect();
        let claim = Claim::new(id, id, Arc::clone(&budgets), usd(least), usd(least + more));
        let ours = self.ours.reserve(&claim, Duration::from_secs(HOLD)).await.expect("answers");
        match (answer(self.theirs.reserve(claim)), ours) {
            (Ok(held), Ok(granted)) => {
                assert_eq!(held.amount, granted.amount);
                let balances: Vec<_> =
                    budgets.iter().filter_map(|budget| self.theirs.balance(budget)).collect();
                if !self.corrected {
                    assert_eq!(granted.balances, balances);
                }
                let expires = self.now() + HOLD;
                self.holds.push(Open { id, budgets, amount: held.amount, held: Some(held), expires });
            }
            (Err(theirs), Err(ours)) => self.same(&theirs, &ours),
            (theirs, ours) => panic!("{theirs:?} but {ours:?}"),
        }
    }

    async fn extend(&mut self, hold: usize, least: u64, more: u64) {
        let Some(hold) = self.open(hold) else { return };
        let now = self.now();
        let open = &mut self.holds[hold];
        let claim = Claim::new(open.id, open.id, Arc::clone(&open.budgets), usd(least), usd(least + more));
        let ours = self.ours.extend(&claim, Duration::from_secs(HOLD)).await.expect("answers");
        let held = open.held.as_ref().expect("is open");
        match (answer(held.hold.extend(claim.least, claim.most)), ours) {
            (Ok(amount), Ok(granted)) => {
                assert_eq!(amount, granted.amount);
                open.amount += amount;
                open.expires = now + HOLD;
            }
            (Err(theirs), Err(ours)) => self.same(&theirs, &ours),
            (theirs, ours) => panic!("{theirs:?} but {ours:?}"),
        }
    }

    /// One batch of those that are open, and some that are not.
    async fn settle(&mut self, holds: &[(usize, u64)]) {
        let mut batch = Vec::new();
        for (hold, amount) in holds {
            let Some(hold) = self.open(*hold) else { continue };
            let charge = Charge::new(usd(*amount));
            let open = &mut self.holds[hold];
            open.held.take().expect("is open").hold.settle(charge);
            batch.push(Settlement::new(
                open.id,
                open.id,
                Arc::clone(&open.budgets),
                charge,
                SystemTime::now(),
            ));
        }
        let again: Vec<Settlement> = batch.iter().chain(&batch).cloned().collect();
        self.ours.settle(&again).await.expect("is settled");
        self.ours.settle(&batch).await.expect("is settled");
    }

    async fn post(&self, hold: usize, charge: Charge) {
        let open = &self.holds[hold];
        let settlement =
            Settlement::new(open.id, open.id, Arc::clone(&open.budgets), charge, SystemTime::now());
        self.ours.settle(&[settlement]).await.expect("is settled");
    }

    async fn compare(&self) {
        let ours = self.ours.balances(&self.budgets).await.expect("answers");
        for (budget, ours) in self.budgets.iter().zip(ours) {
            let theirs = self.theirs.balance(budget).expect("is known");
            assert_eq!((ours.spent, ours.held), (theirs.spent, theirs.held), "{:?}", budget.account);
            // The one in memory remembers that a slice was there, after it was corrected to nothing.
            if !self.corrected {
                assert_eq!(ours.resets_at, theirs.resets_at, "{:?}", budget.account);
            }
        }
    }

    fn same(&self, theirs: &Refused, ours: &Refused) {
        match (theirs, ours) {
            (
                Refused::Exceeded { account, cap, balance },
                Refused::Exceeded { account: our_account, cap: our_cap, balance: our_balance },
            ) => {
                assert_eq!((account, cap), (our_account, our_cap));
                assert_eq!((balance.spent, balance.held), (our_balance.spent, our_balance.held));
            }
            other => panic!("{other:?}"),
        }
    }

    fn open(&self, wanted: usize) -> Option<usize> {
        let open: Vec<usize> = (0..self.holds.len()).filter(|at| self.holds[*at].held.is_some()).collect();
        (!open.is_empty()).then(|| open[wanted % open.len()])
    }

    fn now(&self) -> u64 {
        self.clock.load(Relaxed)
    }
}

#[test]
fn agrees_with_the_ledger_in_memory() {
    let Some(server) = Postgres::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    let (clock, seconds) = times::clock();
    let ours = runtime.block_on(ledger(&server.url()));
    let ours = Arc::new(ours.clock(clock.clone()));
    let cases = AtomicU32::new(0);
    let ops = prop::collection::vec(op(), 1..60);
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(ops in ops)| {
        let case = cases.fetch_add(1, Relaxed);
        let theirs = Ledger::in_memory().clock(Clock::clone(&clock));
        let budgets = (0..BUDGETS).map(|budget| self::budget(case, budget % ACCOUNTS)).collect();
        let ours = Arc::clone(&ours);
        let mut pair = Pair { theirs, ours, clock: Arc::clone(&seconds), budgets, holds: Vec::new(), corrected: false };
        runtime.block_on(async {
            // A case that failed has left something behind.
            seconds.fetch_add(1_000, Relaxed);
            pair.ours.expire().await.expect("answers");
            for op in ops {
                pair.run(op).await;
            }
            // In the end everything is settled, and nothing is held.
            let all: Vec<(usize, u64)> = pair.holds.iter().map(|_| (0, 1)).collect();
            pair.settle(&all).await;
            pair.compare().await;
            pair.run(Op::Advance { seconds: 1_000 }).await;
            for balance in pair.ours.balances(&pair.budgets).await.expect("answers") {
                assert_eq!(balance.held, Usd::ZERO);
            }
        });
    });
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (prop::collection::vec(0..BUDGETS, 0..5), 0_u64..40, 0_u64..40)
            .prop_map(|(budgets, least, more)| Op::Reserve { budgets, least, more }),
        2 => (0_usize..50, 0_u64..20, 0_u64..20).prop_map(|(hold, least, more)| Op::Extend { hold, least, more }),
        3 => prop::collection::vec((0_usize..50, 0_u64..60), 1..4).prop_map(|holds| Op::Settle { holds }),
        1 => (0_usize..50).prop_map(|hold| Op::Drop { hold }),
        1 => (0_usize..50).prop_map(|hold| Op::Renew { hold }),
        3 => (0_u64..60).prop_map(|seconds| Op::Advance { seconds }),
        1 => (0..BUDGETS, 0_u64..200).prop_map(|(budget, cap)| Op::Cap { budget, cap }),
        2 => (0_usize..50, 0_u64..60).prop_map(|(hold, amount)| Op::Reconcile { hold, amount }),
    ]
}

fn budget(case: u32, account: usize) -> Budget {
    let window = match account % 3 {
        0 => Window::Lifetime,
        1 => Window::Rolling(Duration::from_secs(64)),
        _ => calendar::window("90s", "UTC").expect("is a window"),
    };
    Budget::new(Scope::new(ScopeKind::Key, format!("{case} {account}")), usd(100), window)
}

fn answer<T>(reply: Reply<T>) -> T {
    match reply {
        Reply::Ready(answer) => answer,
        Reply::Later(_) => panic!("the ledger in memory answers at once"),
    }
}

fn usd(amount: u64) -> Usd {
    Usd::pico(amount.into())
}

/// Ids are new in every case.
static IDS: AtomicU32 = AtomicU32::new(1);
const ACCOUNTS: usize = 6;
/// Each account has two, whose caps differ.
const BUDGETS: usize = 2 * ACCOUNTS;
/// How long holds live, in seconds.
const HOLD: u64 = 100;

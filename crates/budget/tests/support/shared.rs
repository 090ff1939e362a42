//! A ledger on another machine, in memory, that answers by script.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};
use ziggurat_budget::{
    Balance, Charge, Claim, Flags, Held, HoldId, Refused, Store,
    remote::{Backend, Granted, Mark, Remote, Settlement, Told},
};
use ziggurat_core::{Account, Asked, Away, Budget, Scope, Usd, Window};

pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) fn cents(amount: u64) -> Usd {
    Usd::cents(amount)
}

pub(crate) fn of(name: &str, cap: u64) -> Budget {
    Budget::new(Scope::tenant(name), cents(cap), Window::Lifetime)
}

pub(crate) fn claim(budget: &Budget, least: u64, most: u64) -> Claim {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let id = HoldId(NEXT.fetch_add(1, Ordering::SeqCst).into());
    Claim::new(id, id, [budget.clone()].into(), cents(least), cents(most))
}

/// Reserves, and gives how long it took.
pub(crate) async fn reserve(store: &Remote<Machine>, claim: Claim) -> (Result<Held, Refused>, Duration) {
    let start = Instant::now();
    (store.reserve(claim).wait().await, start.elapsed())
}

pub(crate) async fn held(store: &Remote<Machine>, claim: Claim) -> Held {
    reserve(store, claim).await.0.expect("fits")
}

pub(crate) fn is_unavailable<T>(answer: &Result<T, Refused>) -> bool {
    matches!(answer, Err(Refused::Unavailable(_)))
}

/// How the machine behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Answers,
    /// It refuses connections.
    Fails,
    /// Neither requests nor answers arrive.
    Lost,
    /// Requests arrive, answers do not.
    Mute,
    /// Both arrive so much later, also when nobody waits any more.
    Late(Duration),
}

#[derive(Clone)]
pub(crate) struct Machine(pub(crate) Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) mode: Mode,
    /// Round trips that were begun.
    pub(crate) asked: usize,
    pub(crate) renewals: usize,
    /// Settlements that arrived, also again.
    pub(crate) settled: usize,
    /// Whether it says what is to be told, or never answers that.
    pub(crate) tells: bool,
    /// How many steps it would take to post what has expired.
    pub(crate) backlog: usize,
    accounts: HashMap<Account, (Usd, Usd)>,
    holds: HashMap<HoldId, Hold>,
    told: HashMap<(Account, u8), (Usd, HoldId)>,
}

enum Hold {
    Open { amount: Usd, budgets: Arc<[Budget]>, until: Instant },
    Expired { amount: Usd },
    Ended(Charge),
}

impl Machine {
    pub(crate) fn new() -> Self {
        let (accounts, holds, told) = Default::default();
        let state = State {
            mode: Mode::Answers,
            asked: 0,
            renewals: 0,
            settled: 0,
            tells: true,
            backlog: 0,
            accounts,
            holds,
            told,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.0.lock().expect("is sound").mode = mode;
    }

    pub(crate) fn asked(&self) -> usize {
        self.0.lock().expect("is sound").asked
    }

    /// What is spent and held in an account.
    pub(crate) fn account(&self, budget: &Budget) -> (Usd, Usd) {
        self.0.lock().expect("is sound").accounts.get(&budget.account).copied().unwrap_or_default()
    }

    /// How an id ended, if it has.
    pub(crate) fn ended(&self, id: HoldId) -> Option<Charge> {
        match self.0.lock().expect("is sound").holds.get(&id) {
            Some(Hold::Ended(charge)) => Some(*charge),
            _ => None,
        }
    }

    /// Another node spends this much.
    pub(crate) fn spend(&self, budget: &Budget, amount: Usd) {
        self.0.lock().expect("is sound").accounts.entry(budget.account.clone()).or_default().0 += amount;
    }

    fn act<T: Send + 'static>(&self, act: impl FnOnce(&mut State) -> T + Send + 'static) -> Asked<'_, T> {
        let mut state = self.0.lock().expect("is sound");
        state.asked += 1;
        match state.mode {
            Mode::Answers => {
                let answer = act(&mut state);
                Box::pin(async move { Ok(answer) })
            }
            Mode::Fails => Box::pin(async { Err(Away::new("connection refused")) }),
            Mode::Lost => Box::pin(std::future::pending()),
            Mode::Mute => {
                act(&mut state);
                Box::pin(std::future::pending())
            }
            Mode::Late(by) => {
                let (tell, told) = oneshot::channel();
                let machine = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    let _gone = tell.send(act(&mut machine.0.lock().expect("is sound")));
                });
                Box::pin(async move { told.await.map_err(|_| Away::new("closed")) })
            }
        }
    }
}

impl State {
    fn balances(&self, budgets: &[Budget]) -> Vec<Balance> {
        let balance = |budget: &Budget| {
            let mut balance = Balance::default();
            (balance.spent, balance.held) = self.accounts.get(&budget.account).copied().unwrap_or_default();
            balance
        };
        budgets.iter().map(balance).collect()
    }

    fn fit(&mut self, claim: &Claim) -> Result<Usd, Refused> {
        let mut amount = claim.most;
        for (budget, balance) in claim.budgets.iter().zip(self.balances(&claim.budgets)) {
            let left = budget.cap.saturating_sub(balance.spent + balance.held);
            if left < claim.least {
                let account = Arc::new(budget.account.clone());
                return Err(Refused::Exceeded { account, cap: budget.cap, balance });
            }
            amount = amount.min(left);
        }
        for budget in &*claim.budgets {
            self.accounts.entry(budget.account.clone()).or_default().1 += amount;
        }
        Ok(amount)
    }

    fn reserve(&mut self, claim: &Claim, ttl: Duration) -> Result<Granted, Refused> {
        if self.holds.contains_key(&claim.id) {
            return Err(Refused::Unavailable("the id is known"));
        }
        let amount = self.fit(claim)?;
        let (budgets, until) = (Arc::clone(&claim.budgets), Instant::now() + ttl);
        self.holds.insert(claim.id, Hold::Open { amount, budgets, until });
        Ok(Granted::new(amount, self.balances(&claim.budgets)))
    }

    fn extend(&mut self, claim: &Claim) -> Result<Granted, Refused> {
        if !matches!(self.holds.get(&claim.id), Some(Hold::Open { .. })) {
            return Err(Refused::Unavailable("the id is not open"));
        }
        let more = self.fit(claim)?;
        if let Some(Hold::Open { amount, .. }) = self.holds.get_mut(&claim.id) {
            *amount += more;
        }
        Ok(Granted::new(more, self.balances(&claim.budgets)))
    }

    fn adopt(&mut self, claim: &Claim, ttl: Duration) {
        let until = Instant::now() + ttl;
        let had = match self.holds.get(&claim.id) {
            None => Usd::ZERO,
            Some(Hold::Open { amount, .. }) => *amount,
            Some(Hold::Expired { .. } | Hold::Ended(_)) => return,
        };
        let more = claim.most.saturating_sub(had);
        for budget in &*claim.budgets {
            self.accounts.entry(budget.account.clone()).or_default().1 += more;
        }
        let budgets = Arc::clone(&claim.budgets);
        self.holds.insert(claim.id, Hold::Open { amount: had + more, budgets, until });
    }

    fn settle(&mut self, settlement: &Settlement) {
        let (mut free, mut unpost) = (Usd::ZERO, Usd::ZERO);
        match self.holds.get(&settlement.id) {
            Some(Hold::Ended(_)) => return,
            Some(Hold::Open { amount, .. }) => free = *amount,
            Some(Hold::Expired { amount }) => unpost = *amount,
            None => {}
        }
        for budget in &*settlement.budgets {
            let (spent, held) = self.accounts.entry(budget.account.clone()).or_default();
            *held = held.checked_sub(free).expect("was held");
            *spent = spent.checked_sub(unpost).expect("was posted") + settlement.charge.amount;
        }
        self.holds.insert(settlement.id, Hold::Ended(settlement.charge));
    }

    fn tell(&mut self, mark: &Mark) -> Told {
        let spent = self.balances(std::slice::from_ref(&mark.budget))[0].spent;
        if spent < mark.amount {
            return Told::Below;
        }
        let key = (mark.budget.account.clone(), mark.kind());
        match self.told.get(&key) {
            Some((amount, by)) if mark.amount < *amount || (mark.amount == *amount && mark.by != *by) => {
                Told::Before { again_at: None }
            }
            _ => {
                self.told.insert(key, (mark.amount, mark.by));
                Told::Now { spent, again_at: None }
            }
        }
    }

    fn expire(&mut self) -> usize {
        if self.backlog > 0 {
            self.backlog -= 1;
            return 1;
        }
        let (now, mut expired) = (Instant::now(), 0);
        for hold in self.holds.values_mut() {
            let Hold::Open { amount, budgets, until } = hold else { continue };
            if *until > now {
                continue;
            }
            let (amount, budgets) = (*amount, Arc::clone(budgets));
            for budget in &*budgets {
                let (spent, held) = self.accounts.entry(budget.account.clone()).or_default();
                *held = held.checked_sub(amount).expect("was held");
                *spent += amount;
            }
            *hold = Hold::Expired { amount };
            expired += 1;
        }
        expired
    }
}

impl Backend for Machine {
    fn reserve<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> Asked<'a, Result<Granted, Refused>> {
        let claim = claim.clone();
        self.act(move |state| state.reserve(&claim, ttl))
    }

    fn extend<'a>(&'a self, claim: &'a Claim, _ttl: Duration) -> Asked<'a, Result<Granted, Refused>> {
        let claim = claim.clone();
        self.act(move |state| state.extend(&claim))
    }

    fn adopt<'a>(&'a self, claims: &'a [Claim], ttl: Duration) -> Asked<'a, ()> {
        let claims = claims.to_vec();
        self.act(move |state| claims.iter().for_each(|claim| state.adopt(claim, ttl)))
    }

    fn settle<'a>(&'a self, batch: &'a [Settlement]) -> Asked<'a, Vec<Usd>> {
        let batch = batch.to_vec();
        self.act(move |state| {
            state.settled += batch.len();
            batch.iter().for_each(|settlement| state.settle(settlement));
            let budgets = batch.iter().flat_map(|settlement| settlement.budgets.iter().cloned());
            state.balances(&budgets.collect::<Vec<_>>()).iter().map(|balance| balance.spent).collect()
        })
    }

    fn tell<'a>(&'a self, marks: &'a [Mark]) -> Asked<'a, Vec<Told>> {
        let marks = marks.to_vec();
        if !self.0.lock().expect("is sound").tells {
            return Box::pin(std::future::pending());
        }
        self.act(move |state| marks.iter().map(|mark| state.tell(mark)).collect())
    }

    fn renew<'a>(&'a self, holds: &'a [HoldId], ttl: Duration) -> Asked<'a, ()> {
        let holds = holds.to_vec();
        self.act(move |state| {
            state.renewals += 1;
            for id in holds {
                if let Some(Hold::Open { until, .. }) = state.holds.get_mut(&id) {
                    *until = Instant::now() + ttl;
                }
            }
        })
    }

    fn expire(&self) -> Asked<'_, usize> {
        self.act(State::expire)
    }

    fn balances<'a>(&'a self, budgets: &'a [Budget]) -> Asked<'a, Vec<Balance>> {
        let budgets = budgets.to_vec();
        self.act(move |state| state.balances(&budgets))
    }
}

/// Of a hold that nobody settled.
pub(crate) fn unreconciled(amount: Usd) -> Charge {
    let mut flags = Flags::default();
    flags.unreconciled = true;
    Charge::of(amount, flags)
}

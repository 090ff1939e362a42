//! A process that is killed, whenever it is, has lost nothing that was settled and counts nothing twice.

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use ziggurat_budget::{
    Charge, Claim, Flags, Held, HoldId, Journal, JournalError, Ledger, OpenHold, Posting, Recovered,
    RecoveredAccount, RecoveredHold, Refused, Slot, calendar,
};
use ziggurat_core::{Account, Budget, Clock, Scope, ScopeKind, Usd, Window};

use crate::support::at_once;

/// Writes down calls, and can be read up to any of them.
#[derive(Default)]
struct Record {
    calls: Mutex<Vec<Call>>,
    /// Refuses what would be more open holds than this.
    room: Option<usize>,
}

#[derive(Clone)]
enum Call {
    Open { slot: u64, id: HoldId, accounts: Vec<Account>, amount: Usd, expires_at: SystemTime },
    Grow { slot: u64, amount: Usd },
    Close { slot: u64, id: HoldId, lines: Vec<(Account, i64)>, held: Usd, amount: Usd, flags: Flags },
    Correct { id: HoldId, posted: Usd, amount: Usd },
}

/// What a reader makes of the calls, naively.
#[derive(Default)]
struct Read {
    open: BTreeMap<u64, (HoldId, Vec<Account>, Usd, SystemTime)>,
    posted: BTreeMap<HoldId, (Vec<(Account, i64)>, Usd)>,
}

impl Read {
    fn of(calls: &[Call]) -> Self {
        let mut read = Self::default();
        for call in calls.iter().cloned() {
            match call {
                Call::Open { slot, id, accounts, amount, expires_at } => {
                    let before = read.open.insert(slot, (id, accounts, amount, expires_at));
                    assert!(before.is_none(), "a slot is opened once");
                }
                Call::Grow { slot, amount } => {
                    let open = read.open.get_mut(&slot).expect("only what is open grows");
                    assert!(amount >= open.2, "a hold does not shrink");
                    open.2 = amount;
                }
                Call::Close { slot, id, lines, held, amount, flags } => {
                    let (opened, accounts, last, _) =
                        read.open.remove(&slot).expect("only what is open is closed");
                    assert_eq!((opened, last), (id, held));
                    assert_eq!(flags.overrun, amount > held);
                    assert_eq!(
                        lines.iter().map(|(account, _)| account.clone()).collect::<Vec<_>>(),
                        accounts
                    );
                    assert!(read.posted.insert(id, (lines, amount)).is_none(), "an id is posted once");
                }
                Call::Correct { id, posted, amount } => {
                    let known = read.posted.get_mut(&id).expect("only what was posted is corrected");
                    assert_eq!(known.1, posted);
                    known.1 = amount;
                }
            }
        }
        read
    }

    fn recovered(self) -> Recovered {
        let mut recovered = Recovered::default();
        for (lines, amount) in self.posted.into_values() {
            for (account, bucket) in lines {
                recovered.accounts.push(RecoveredAccount::new(account, vec![(bucket, amount)]));
            }
        }
        for (slot, (id, accounts, amount, expires_at)) in self.open {
            recovered.holds.push(RecoveredHold::new(id, id, accounts, amount, expires_at, Slot(slot)));
        }
        recovered
    }

    /// What an account comes to when everything that is open has been posted.
    fn total(&self, account: &Account) -> Usd {
        let posted = self.posted.values().filter(|(lines, _)| lines.iter().any(|(of, _)| of == account));
        let open = self.open.values().filter(|(_, accounts, ..)| accounts.contains(account));
        posted.map(|(_, amount)| *amount).chain(open.map(|(_, _, amount, _)| *amount)).sum()
    }
}

impl Record {
    fn push(&self, call: Call) -> u64 {
        let mut calls = self.calls.lock().expect("nothing panicked");
        calls.push(call);
        calls.len() as u64
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("nothing panicked").clone()
    }
}

impl Journal for Record {
    fn open(&self, hold: &OpenHold<'_>) -> Result<Slot, JournalError> {
        let calls = self.calls();
        if self.room.is_some_and(|room| Read::of(&calls).open.len() >= room) {
            return Err(JournalError::new());
        }
        let slot = calls.len() as u64 + 1;
        let accounts = hold.accounts.iter().map(|account| (**account).clone()).collect();
        self.push(Call::Open {
            slot,
            id: hold.id,
            accounts,
            amount: hold.amount,
            expires_at: hold.expires_at,
        });
        Ok(Slot(slot))
    }

    fn grow(&self, slot: &Slot, amount: Usd) {
        self.push(Call::Grow { slot: slot.0, amount });
    }

    fn close(&self, slot: Slot, posting: &Posting<'_>) {
        let lines = posting.lines.iter().map(|(account, bucket)| ((**account).clone(), *bucket)).collect();
        let Posting { id, held, amount, flags, .. } = *posting;
        self.push(Call::Close { slot: slot.0, id, lines, held, amount, flags });
    }

    fn correct(&self, posted: Usd, posting: &Posting<'_>) -> Result<(), JournalError> {
        self.push(Call::Correct { id: posting.id, posted, amount: posting.amount });
        Ok(())
    }
}

/// A ledger that writes to a record, and what was done with it.
struct Process {
    ledger: Ledger,
    record: Arc<Record>,
    clock: Arc<AtomicU64>,
}

impl Process {
    /// A process that finds these calls.
    fn start(calls: &[Call], clock: &Arc<AtomicU64>) -> Self {
        let record = Arc::new(Record { calls: Mutex::new(calls.to_vec()), room: None });
        let shown = Arc::clone(clock);
        let show = move || SystemTime::UNIX_EPOCH + Duration::from_secs(shown.load(Relaxed));
        let journal = Arc::clone(&record);
        let ledger = Ledger::in_memory()
            .hold_ttl(Duration::from_secs(TTL))
            .journal(journal, Read::of(calls).recovered())
            .clock(Clock::new(show));
        Self { ledger, record, clock: Arc::clone(clock) }
    }

    fn balances(&self) -> Vec<(Usd, Usd)> {
        let balances = (0..ACCOUNTS).map(|account| self.ledger.balance(&budget(account)).expect("is known"));
        balances.map(|balance| (balance.spent, balance.held)).collect()
    }

    /// Kills it now, and starts another that finds what was written.
    fn restart(&self) -> Self {
        Self::start(&self.record.calls(), &self.clock)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn whenever_it_is_killed_the_next_process_knows_the_same(
        steps in prop::collection::vec((0_u8..8, 0_usize..32, 0_u64..50, 0_u64..20), 1..40),
    ) {
        let clock = Arc::new(AtomicU64::new(1_700_000_000));
        let process = Process::start(&[], &clock);
        let mut held: Vec<(HoldId, Held)> = Vec::new();
        let mut dropped = Vec::new();
        for (next, (kind, which, amount, seconds)) in steps.into_iter().enumerate() {
            clock.fetch_add(seconds, Relaxed);
            match kind {
                0..=2 => {
                    let id = HoldId(next as u128);
                    let budgets: Vec<_> = (0..ACCOUNTS).filter(|account| which >> account & 1 == 1).map(budget).collect();
                    let claim = Claim::new(id, id, budgets.into(), usd(amount), usd(amount));
                    held.extend(at_once(process.ledger.reserve(claim)).ok().map(|held| (id, held)));
                }
                3 if !held.is_empty() => {
                    let (_, hold) = &held[which % held.len()];
                    let _refused = at_once(hold.hold.extend(usd(amount), usd(amount)));
                }
                4 | 5 if !held.is_empty() => {
                    let (_, hold) = held.remove(which % held.len());
                    hold.hold.settle(Charge::new(usd(amount)));
                }
                6 if !held.is_empty() => dropped.push(held.remove(which % held.len()).0),
                7 if !dropped.is_empty() => {
                    let id = dropped[which % dropped.len()];
                    process.ledger.reconcile(id, Charge::new(usd(amount)));
                }
                _ => {}
            }
            // Killed between this call and the next.
            prop_assert_eq!(process.restart().balances(), process.balances());
        }
        // Killed after any call, and after any that the next process makes of it.
        let calls = process.record.calls();
        clock.fetch_add(TTL, Relaxed);
        for kept in 0..=calls.len() {
            let second = Process::start(&calls[..kept], &clock);
            let lost = Read::of(&calls[..kept]);
            prop_assert_eq!(second.ledger.expire(second.ledger.now()), lost.open.len());
            prop_assert_eq!(second.ledger.expire(second.ledger.now()), 0);
            let after = second.record.calls();
            for killed in kept..=after.len() {
                let third = Process::start(&after[..killed], &clock);
                third.ledger.expire(third.ledger.now());
                prop_assert_eq!(third.balances(), second.balances());
                prop_assert!(third.balances().iter().all(|(_, held)| held.is_zero()));
                let lifetime = budget(0);
                let spent = third.ledger.balance(&lifetime).expect("is known").spent;
                prop_assert_eq!(spent, lost.total(&lifetime.account));
            }
        }
    }
}

#[test]
fn what_has_no_room_in_the_journal_is_refused_and_held_nowhere() {
    let record = Arc::new(Record { room: Some(1), ..Record::default() });
    let ledger = Ledger::in_memory().journal(Arc::clone(&record) as Arc<dyn Journal>, Recovered::default());
    let claim = |id| Claim::new(HoldId(id), HoldId(id), [budget(0), budget(1)].into(), usd(5), usd(5));
    let held = at_once(ledger.reserve(claim(1))).expect("has room");
    assert!(matches!(at_once(ledger.reserve(claim(2))), Err(Refused::Unavailable(_))));
    assert_eq!(ledger.balance(&budget(0)).unwrap().held, usd(5));
    held.hold.settle(Charge::new(usd(3)));
    assert_eq!(ledger.balance(&budget(1)).unwrap().spent, usd(3));
    at_once(ledger.reserve(claim(3))).expect("has room again").hold.settle(Charge::new(usd(0)));
}

#[test]
fn a_recovered_hold_is_held_until_it_expires_and_then_posted_once() {
    let clock = Arc::new(AtomicU64::new(1000));
    let first = Process::start(&[], &clock);
    let id = HoldId(7);
    let held = at_once(first.ledger.reserve(Claim::new(id, id, [budget(0)].into(), usd(40), usd(40))))
        .expect("fits");
    let second = first.restart();
    // The first process is gone; this one does not know of its hold object.
    std::mem::forget(held);
    clock.fetch_add(TTL - 1, Relaxed);
    assert_eq!(second.ledger.expire(second.ledger.now()), 0);
    assert_eq!(second.balances()[0], (usd(0), usd(40)));
    let too_much = Claim::new(HoldId(8), HoldId(8), [budget(0)].into(), usd(61), usd(61));
    assert!(matches!(at_once(second.ledger.reserve(too_much)), Err(Refused::Exceeded { .. })));
    clock.fetch_add(1, Relaxed);
    // Posted when it is looked at.
    assert_eq!(second.balances()[0], (usd(40), usd(0)));
    assert_eq!(second.ledger.expire(second.ledger.now()), 0);
    let Some(Call::Close { flags, amount, .. }) = second.record.calls().pop() else { panic!("was posted") };
    assert_eq!((flags.unreconciled, flags.overrun, amount), (true, false, usd(40)));
    // Somebody finds out what it came to, once.
    assert!(second.ledger.reconcile(id, Charge::new(usd(15))));
    assert!(!second.ledger.reconcile(id, Charge::new(usd(99))));
    assert_eq!(second.balances()[0], (usd(15), usd(0)));
    assert_eq!(second.restart().balances(), second.balances());
}

#[test]
fn a_hold_that_was_handed_over_twice_is_held_once() {
    let record = Arc::new(Record::default());
    let mut recovered = Recovered::default();
    for slot in [1, 2] {
        let account = budget(0).account;
        let accounts = vec![account.clone(), account];
        recovered.holds.push(RecoveredHold::new(
            HoldId(1),
            HoldId(1),
            accounts,
            usd(10),
            SystemTime::UNIX_EPOCH,
            Slot(slot),
        ));
    }
    let ledger = Ledger::in_memory().journal(record, recovered).clock(Clock::new(|| SystemTime::UNIX_EPOCH));
    let balance = ledger.balance(&budget(0)).expect("is known");
    assert_eq!((balance.spent, balance.held), (usd(10), usd(0)));
}

#[test]
fn a_hold_in_an_unknown_window_stays_held_until_a_budget_is_looked_at() {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let first = Process::start(&[], &clock);
    let account = Account::new(Scope::tenant("t"), None, "by the moon");
    let window = calendar::window("90s", "UTC").expect("is a window");
    let moon = Budget::in_account(account, usd(100), None, window);
    let id = HoldId(7);
    let held = at_once(first.ledger.reserve(Claim::new(id, id, [moon.clone()].into(), usd(40), usd(40))))
        .expect("fits");
    let second = first.restart();
    std::mem::forget(held);
    clock.fetch_add(TTL, Relaxed);
    assert_eq!(second.ledger.expire(second.ledger.now()), 0);
    assert!(!second.ledger.reconcile(id, Charge::new(usd(1))));
    let balance = second.ledger.balance(&moon).expect("is known");
    assert_eq!((balance.spent, balance.held), (usd(40), usd(0)));
    let Some(Call::Close { lines, .. }) = second.record.calls().pop() else { panic!("was posted") };
    let now = i64::try_from(clock.load(Relaxed)).unwrap();
    assert_eq!(lines[0].1, now / 90 * 90);
}

fn budget(account: usize) -> Budget {
    let window = match account {
        0 | 3 => Window::Lifetime,
        1 => Window::Rolling(Duration::from_secs(64)),
        _ => calendar::window("90s", "UTC").expect("is a window"),
    };
    Budget::new(Scope::new(ScopeKind::Key, account.to_string()), usd(100), window)
}

fn usd(amount: u64) -> Usd {
    Usd::pico(amount.into())
}

const ACCOUNTS: usize = 5;
const TTL: u64 = 10_000;

//! Every order in which threads can run, as many as there is time for: run with `RUSTFLAGS="--cfg shuttle"`.

#![cfg(shuttle)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use shuttle::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};
use ziggurat_budget::{Charge, Claim, Held, HoldId, Ledger, Refused};
use ziggurat_core::{Budget, Clock, Scope, Usd, Window};

use crate::support::at_once;

#[test]
fn of_calls_at_once_no_more_fit_than_there_is_room_for() {
    check(|| {
        let ledger = ledger();
        let passed = Arc::new(AtomicUsize::new(0));
        let run = |order: [usize; 2]| {
            let (ledger, passed) = (ledger.clone(), Arc::clone(&passed));
            thread::spawn(move || {
                if let Ok(held) = reserve(&ledger, order, 2) {
                    let balance = ledger.balance(&budget(0)).unwrap();
                    assert!(balance.spent + balance.held <= Usd::cents(5));
                    held.hold.settle(Charge::new(Usd::cents(2)));
                    passed.fetch_add(1, SeqCst);
                }
            })
        };
        // In both orders, so that they could wait for each other.
        let threads = [[0, 1], [1, 0], [0, 1], [1, 0]].map(run);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(passed.load(SeqCst), 2);
        for account in 0..2 {
            let balance = ledger.balance(&budget(account)).unwrap();
            assert_eq!((balance.spent, balance.held), (Usd::cents(4), Usd::ZERO));
        }
    });
}

#[test]
fn a_hold_that_grows_in_two_threads_is_settled_for_all_of_it() {
    check(|| {
        let ledger = ledger();
        let held = Arc::new(reserve(&ledger, [0, 1], 1).unwrap());
        let grow = |held: &Arc<Held>| {
            let held = Arc::clone(held);
            thread::spawn(move || at_once(held.hold.extend(Usd::cents(3), Usd::cents(3))).is_ok())
        };
        let other = {
            let ledger = ledger.clone();
            thread::spawn(move || reserve(&ledger, [1, 0], 1).map(drop).is_ok())
        };
        let grown = [grow(&held), grow(&held)].map(|thread| usize::from(thread.join().unwrap()));
        let dropped = u64::from(other.join().unwrap());
        assert_eq!(grown.iter().sum::<usize>(), 1);
        let held = Arc::into_inner(held).unwrap();
        // Dropped without being settled, the other's is posted.
        assert_eq!(ledger.balance(&budget(0)).unwrap().held, Usd::cents(4));
        held.hold.settle(Charge::new(Usd::cents(4)));
        let balance = ledger.balance(&budget(1)).unwrap();
        assert_eq!((balance.spent, balance.held), (Usd::cents(4 + dropped), Usd::ZERO));
    });
}

#[test]
fn what_nobody_settled_is_put_right_once() {
    check(|| {
        let ledger = ledger();
        drop(reserve(&ledger, [0, 1], 4).unwrap());
        let correct = |cents| {
            let ledger = ledger.clone();
            thread::spawn(move || ledger.reconcile(HoldId(1), Charge::new(Usd::cents(cents))))
        };
        let done = [correct(1), correct(1)].map(|thread| usize::from(thread.join().unwrap()));
        assert_eq!(done.iter().sum::<usize>(), 1);
        assert_eq!(ledger.balance(&budget(0)).unwrap().spent, Usd::cents(1));
    });
}

fn check(run: impl Fn() + Send + Sync + 'static) {
    let run = Arc::new(run);
    let random = Arc::clone(&run);
    shuttle::check_random(move || random(), 3000);
    shuttle::check_pct(move || run(), 3000, 3);
}

/// One that is in use: its state is made under a lock that shuttle does not know.
fn ledger() -> Ledger {
    let ledger = Ledger::in_memory().clock(Clock::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1000)));
    ledger.balance(&budget(0)).expect("is known");
    ledger
}

fn budget(account: usize) -> Budget {
    Budget::new(Scope::tenant(account.to_string()), Usd::cents(5), Window::Lifetime)
}

fn reserve(ledger: &Ledger, accounts: [usize; 2], cents: u64) -> Result<Held, Refused> {
    let (id, amount) = (HoldId(1), Usd::cents(cents));
    at_once(ledger.reserve(Claim::new(id, id, accounts.map(budget).into(), amount, amount)))
}

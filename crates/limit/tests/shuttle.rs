//! Every order in which threads can run, as many as there is time for: run with `RUSTFLAGS="--cfg shuttle"`.

#![cfg(shuttle)]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use shuttle::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};
use ziggurat_core::{Limit, Scope};
use ziggurat_limit::{Ask, MemoryStore, Refused, Reply, Store, Taken, Ticket, Used};

#[test]
fn of_calls_at_once_no_more_fit_than_there_is_room_for() {
    check(|| {
        let store = MemoryStore::new();
        let passed = Arc::new(AtomicUsize::new(0));
        let run = |order: [usize; 2]| {
            let (store, passed) = (store.clone(), Arc::clone(&passed));
            thread::spawn(move || {
                if let Ok(taken) = take(&store, order, 2) {
                    passed.fetch_add(1, SeqCst);
                    taken.ticket.settle(Used::new(1, Some((1, 1))), now());
                }
            })
        };
        // In both orders, so that they could wait for each other.
        let threads = [[0, 1], [1, 0], [0, 1], [1, 0]].map(run);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(passed.load(SeqCst), 2);
        assert_eq!([0, 1].map(|scope| stands(&store, scope)), [(1, 2); 2]);
    });
}

#[test]
fn what_is_settled_beside_others_is_corrected_once() {
    check(|| {
        let store = MemoryStore::new();
        let settle = |order, ticket: Box<dyn Ticket>, used: u64| {
            let store = store.clone();
            thread::spawn(move || {
                ticket.settle(Used::new(1, Some((used, 0))), now());
                assert!(take(&store, order, 1).is_ok());
            })
        };
        let tickets = [[0, 1], [1, 0]].map(|order| (order, take(&store, order, 2).unwrap().ticket));
        let [first, second] = tickets;
        let threads = [settle(first.0, first.1, 1), settle(second.0, second.1, 0)];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // One is used of what was taken first, and each of the two has taken one more.
        assert_eq!([0, 1].map(|scope| stands(&store, scope)), [(2, 2); 2]);
    });
}

#[test]
fn places_among_calls_that_run_are_never_more_than_there_are() {
    check(|| {
        let store = MemoryStore::new();
        let running = Arc::new(AtomicUsize::new(0));
        let run = |order: [usize; 2]| {
            let (store, running) = (store.clone(), Arc::clone(&running));
            thread::spawn(move || {
                let Ok(mut taken) = take(&store, order, 0) else { return };
                assert!(running.fetch_add(1, SeqCst) < 2);
                running.fetch_sub(1, SeqCst);
                taken.ticket.leave();
                drop(taken);
            })
        };
        let threads = [[0, 1], [1, 0], [0, 1]].map(run);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!([0, 1].map(|scope| stands(&store, scope)), [(5, 2); 2]);
    });
}

fn check(run: impl Fn() + Send + Sync + 'static) {
    let run = Arc::new(run);
    let random = Arc::clone(&run);
    shuttle::check_random(move || random(), 3000);
    shuttle::check_pct(move || run(), 3000, 3);
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1000)
}

fn tokens(scope: usize) -> Limit {
    Limit::tokens_per_minute(Scope::tenant(scope.to_string()), 5)
}

fn running(scope: usize) -> Limit {
    Limit::concurrency(Scope::tenant(scope.to_string()), 2)
}

/// Tokens and a place of both scopes.
fn take(store: &MemoryStore, scopes: [usize; 2], amount: u64) -> Result<Taken, Refused> {
    let asks = scopes.map(|scope| [Ask::new(tokens(scope), amount), Ask::new(running(scope), 1)]);
    match store.take(asks.as_flattened(), now()) {
        Reply::Ready(answer) => answer,
        Reply::Later(_) => panic!("the store in memory answers at once"),
    }
}

/// What is left of both limits.
fn stands(store: &MemoryStore, scope: usize) -> (u64, u64) {
    let left = |limit| store.level(&limit, now()).unwrap().remaining;
    (left(tokens(scope)), left(running(scope)))
}

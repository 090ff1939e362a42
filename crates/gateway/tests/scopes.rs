//! What a million scopes take in memory, that they are kept, and that they are forgotten when nothing of them counts any more.
//!
//! ```text
//! cargo test --release -p ziggurat-gateway --test scopes -- --ignored --nocapture --test-threads=1
//! ```
//!
//! Bytes are those allocated and not freed, by an allocator that counts, and those resident. A table doubles when it is seven eighths
//! full: a million scopes in sixteen shards have it less than half full, which is about as bad as it gets.

use std::{
    fs, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use ziggurat_budget::{Charge, Claim, HoldId, Ledger, Refused, Reply, calendar};
use ziggurat_core::{Budget, Clock, Limit, Scope, ScopeKind, Usd, Window};
use ziggurat_limit::{Ask, MemoryStore, Store, Used};

const SCOPES: usize = 1_000_000;

/// As shards are not filled evenly.
const CAPACITY: usize = SCOPES + SCOPES / 10;

/// A full table is searched once an eighth as many new scopes as it has were asked for: so many are refused before it is.
const LATE: usize = CAPACITY / 8 + 16;

/// Bytes a scope may take.
const MOST: f64 = 300.0;

/// A key as long as a hash, of a name that is kept nowhere.
fn key(at: usize) -> Scope {
    Scope::new(ScopeKind::Key, format!("{at:064x}"))
}

/// Runs `fill` for so many scopes, and gives how many bytes each has added: allocated, and resident.
fn bytes_each(name: &str, fill: impl FnMut(usize), scopes: impl ExactSizeIterator<Item = usize>) -> f64 {
    let (before, count) = (resident(), scopes.len() as f64);
    let allocated = allocation_counter::measure(|| scopes.for_each(fill)).bytes_current as f64 / count;
    let resident = (resident() - before) / count;
    println!("{name}: {allocated:.0} bytes a scope allocated, {resident:.0} resident");
    allocated
}

/// Bytes of memory in use by the process.
fn resident() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("is Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u32>().ok()).expect("has pages");
    f64::from(pages) * 4096.0
}

/// Counts one call under these limits, and says whether there was room.
fn take(store: &MemoryStore, limits: &[Limit], now: SystemTime) -> bool {
    let asks: Vec<_> = limits.iter().map(|limit| Ask::new(limit.clone(), 1)).collect();
    let Reply::Ready(answer) = store.take(&asks, now) else { panic!("it is in memory") };
    answer.map(|taken| taken.ticket.settle(Used::new(1, Some((40, 60))), now)).is_ok()
}

#[test]
#[ignore = "takes gigabytes of names and a minute"]
fn a_million_scopes_with_limits() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let one = |at| vec![Limit::requests_per_minute(key(at), 1)];
    let two = |at| vec![Limit::requests_per_minute(key(at), 1), Limit::tokens_per_minute(key(at), 1_000)];
    for (name, limits) in [("one limit", &one as &dyn Fn(usize) -> Vec<Limit>), ("two limits", &two)] {
        let store = MemoryStore::with_capacity(CAPACITY);
        let fill = |at| assert!(take(&store, &limits(at), start));
        assert!(bytes_each(name, fill, 0..SCOPES) <= MOST, "{name}");
        assert_eq!(store.len(), SCOPES);
        // A million others: no room for most of them, and not one of the first is forgotten for it.
        let soon = start + Duration::from_secs(30);
        let others = (SCOPES..SCOPES * 2).filter(|at| take(&store, &limits(*at), soon)).count();
        assert!(others <= CAPACITY + 16 - SCOPES && store.len() == SCOPES + others, "{others}");
        assert_eq!((0..SCOPES).filter(|at| take(&store, &limits(*at), soon)).count(), 0);
        // When their minute is over they make room for these, in the same memory.
        let (later, mut refused) = (start + Duration::from_secs(200), 0);
        let fill = |at| refused += usize::from(!take(&store, &limits(at), later));
        let more = bytes_each(&format!("{name}, a million more later"), fill, SCOPES * 2..SCOPES * 3);
        assert!(more <= MOST / 10.0 && refused <= LATE, "{name}: {refused}");
        assert!(store.len() <= CAPACITY + 16, "{}", store.len());
        // Else the next finds its memory resident already.
        mem::forget(store);
    }
}

/// Spends a little in one budget, and says whether there was room for its account.
fn spend(ledger: &Ledger, budget: Budget, at: usize) -> bool {
    let id = HoldId(at as u128);
    let claim = Claim::new(id, id, [budget].into(), Usd::pico(1), Usd::pico(1));
    let Reply::Ready(held) = ledger.reserve(claim) else { panic!("it is in memory") };
    match held {
        Ok(held) => {
            held.hold.settle(Charge::new(Usd::pico(1)));
            true
        }
        Err(Refused::Unavailable(_)) => false,
        Err(refused) => panic!("{refused}"),
    }
}

#[test]
#[ignore = "takes gigabytes of names and a minute"]
fn a_million_scopes_with_budgets() {
    let day = Duration::from_secs(86_400);
    let windows = [
        ("lifetime budget", Window::Lifetime),
        ("daily budget", calendar::window("1d", "Europe/Berlin").expect("is a window")),
        ("rolling budget", Window::Rolling(day)),
    ];
    for (name, window) in windows {
        let seconds = Arc::new(AtomicU64::new(1_700_000_000));
        let shown = Arc::clone(&seconds);
        let clock =
            Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(shown.load(Ordering::SeqCst)));
        let ledger = Ledger::in_memory().clock(clock).capacity(CAPACITY);
        let budget = |at: usize| Budget::new(key(at), Usd::cents(1), window.clone());
        let fill = |at| assert!(spend(&ledger, budget(at), at));
        assert!(bytes_each(name, fill, 0..SCOPES) <= MOST, "{name}");
        let others = (SCOPES..SCOPES * 2).filter(|at| spend(&ledger, budget(*at), *at)).count();
        assert!(others <= CAPACITY + 16 - SCOPES, "{others}");
        let spent = |at| ledger.balance(&budget(at)).expect("is kept here").spent;
        assert_eq!((0..SCOPES).filter(|at| spent(*at) != Usd::pico(1)).count(), 0);
        if window == Window::Lifetime {
            mem::forget(ledger);
            continue;
        }
        seconds.fetch_add(3 * day.as_secs(), Ordering::SeqCst);
        let mut refused = 0;
        let fill = |at| refused += usize::from(!spend(&ledger, budget(at), at));
        let more = bytes_each(&format!("{name}, a million more later"), fill, SCOPES * 2..SCOPES * 3);
        assert!(more <= MOST / 10.0 && refused <= LATE, "{name}: {refused}");
        mem::forget(ledger);
    }
}

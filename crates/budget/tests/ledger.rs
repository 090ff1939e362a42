//! What the ledger in memory promises, one thing at a time.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime},
};

use ziggurat_budget::{
    ALERT_PERCENTS, Alert, Charge, Claim, Crossed, Held, HoldId, Ledger, Refused, calendar,
};
use ziggurat_core::{Account, Budget, Clock, Scope, ScopeKind, Usd, Window};

use crate::support::at_once;

#[test]
fn of_200_calls_of_2_cents_at_once_exactly_50_fit_into_a_dollar() {
    let ledger = Ledger::in_memory();
    let (key, team) = (lifetime("key", 100), lifetime("team", 500));
    let (passed, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let barrier = std::sync::Barrier::new(200);
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                barrier.wait();
                match reserve(&ledger, &[&team, &key], 2, 2) {
                    Ok(held) => {
                        passed.fetch_add(1, Relaxed);
                        thread::yield_now();
                        let balance = ledger.balance(&key).unwrap();
                        assert!(balance.spent + balance.held <= key.cap, "{balance:?}");
                        held.hold.settle(Charge::new(Usd::cents(2)));
                    }
                    Err(Refused::Exceeded { account, .. }) => {
                        assert_eq!(*account, key.account);
                        refused.fetch_add(1, Relaxed);
                    }
                    Err(other) => panic!("{other}"),
                }
            });
        }
    });
    assert_eq!((passed.into_inner(), refused.into_inner()), (50, 150));
    for budget in [&key, &team] {
        let balance = ledger.balance(budget).unwrap();
        assert_eq!((balance.spent, balance.held), (Usd::dollars(1), Usd::ZERO));
    }
}

#[test]
fn what_was_not_used_is_free_at_once_and_what_was_overrun_blocks() {
    let ledger = Ledger::in_memory();
    let budget = lifetime("a", 10);
    let held = reserve(&ledger, &[&budget], 10, 10).unwrap();
    assert!(reserve(&ledger, &[&budget], 1, 1).is_err());
    held.hold.settle(Charge::new(Usd::cents(3)));
    let held = reserve(&ledger, &[&budget], 1, 99).unwrap();
    assert_eq!(held.amount, Usd::cents(7));
    held.hold.settle(Charge::new(Usd::cents(30)));
    assert_eq!(ledger.balance(&budget).unwrap().spent, Usd::cents(33));
    assert!(reserve(&ledger, &[&budget], 1, 1).is_err());
    assert_eq!(reserve(&ledger, &[&budget], 0, 1).map(|held| held.amount).ok(), Some(Usd::ZERO));
}

#[test]
fn a_cap_of_nothing_refuses_what_costs_anything() {
    let ledger = Ledger::in_memory();
    let budget = lifetime("a", 0);
    assert!(matches!(reserve(&ledger, &[&budget], 1, 1), Err(Refused::Exceeded { cap: Usd::ZERO, .. })));
    assert!(reserve(&ledger, &[&budget], 0, 0).is_ok());
}

#[test]
fn the_first_account_in_order_without_room_is_named_and_nothing_changes() {
    let ledger = Ledger::in_memory();
    let (key, team, user) = (lifetime("key", 100), lifetime("team", 50), lifetime("user", 1000));
    let held = reserve(&ledger, &[&key, &team, &user], 50, 50).unwrap();
    let Err(Refused::Exceeded { account, cap, balance, .. }) = reserve(&ledger, &[&key, &team, &user], 1, 1)
    else {
        panic!("the team has no room")
    };
    assert_eq!((&*account, cap), (&team.account, Usd::cents(50)));
    assert_eq!((balance.spent, balance.held, balance.resets_at), (Usd::ZERO, Usd::cents(50), None));
    for budget in [&key, &team, &user] {
        assert_eq!(ledger.balance(budget).unwrap().held, Usd::cents(50));
    }
    drop(held);
    // Nobody settled it: it is posted in full.
    assert_eq!(ledger.balance(&user).unwrap().spent, Usd::cents(50));
}

#[test]
fn of_two_budgets_in_one_account_the_smaller_caps_and_it_is_counted_once() {
    let ledger = Ledger::in_memory();
    let (small, large) = (lifetime("a", 10), lifetime("a", 100));
    let held = reserve(&ledger, &[&large, &small], 1, 60).unwrap();
    assert_eq!(held.amount, Usd::cents(10));
    assert_eq!(ledger.balance(&large).unwrap().held, Usd::cents(10));
    assert!(reserve(&ledger, &[&large, &small], 1, 1).is_err());
    // Raised, it allows; lowered below what is spent, it refuses.
    assert_eq!(reserve(&ledger, &[&large], 1, 1).unwrap().amount, Usd::cents(1));
    held.hold.settle(Charge::new(Usd::cents(10)));
    assert!(reserve(&ledger, &[&lifetime("a", 5)], 1, 1).is_err());
}

#[test]
fn amounts_saturate_and_free_nothing() {
    let ledger = Ledger::in_memory();
    let mut budget = lifetime("a", 0);
    budget.cap = Usd::MAX;
    let all = Claim::new(HoldId(1), HoldId(1), [budget.clone()].into(), Usd::MAX, Usd::MAX);
    let held = at_once(ledger.reserve(all)).unwrap();
    assert!(matches!(
        at_once(held.hold.extend(Usd::pico(1), Usd::MAX)),
        Err(Refused::Exceeded { .. }) | Ok(Usd::ZERO)
    ));
    assert!(reserve(&ledger, &[&budget], 1, 1).is_err());
    held.hold.settle(Charge::new(Usd::MAX));
    assert!(reserve(&ledger, &[&budget], 1, 1).is_err());
    let held = reserve(&ledger, &[&budget], 0, 0).unwrap();
    held.hold.settle(Charge::new(Usd::MAX));
    assert_eq!(ledger.balance(&budget).unwrap().spent, Usd::MAX);
    // A least above the most is the most.
    let odd = Claim::new(HoldId(1), HoldId(1), [lifetime("b", 5)].into(), Usd::cents(9), Usd::cents(5));
    assert_eq!(at_once(ledger.reserve(odd)).unwrap().amount, Usd::cents(5));
}

#[test]
fn a_calendars_period_forgets_what_is_spent_and_keeps_what_is_held() {
    let (ledger, clock) = at("2026-03-01T23:59:50Z");
    let budget = in_window(calendar::window("1d", "UTC").unwrap(), 10);
    let first = reserve(&ledger, &[&budget], 4, 4).unwrap();
    reserve(&ledger, &[&budget], 6, 6).unwrap().hold.settle(Charge::new(Usd::cents(6)));
    assert!(reserve(&ledger, &[&budget], 1, 1).is_err());
    clock.fetch_add(9, Relaxed);
    assert!(reserve(&ledger, &[&budget], 1, 1).is_err());
    clock.fetch_add(1, Relaxed);
    assert_eq!(reserve(&ledger, &[&budget], 0, 99).unwrap().amount, Usd::cents(6));
    // Settled in the new period, it counts there. The clock stepping back does not change that.
    clock.fetch_sub(5, Relaxed);
    first.hold.settle(Charge::new(Usd::cents(4)));
    let balance = ledger.balance(&budget).unwrap();
    assert_eq!(balance.spent, Usd::cents(10));
    let next = "2026-03-03T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
    assert_eq!(balance.resets_at, Some(next.into()));
}

#[test]
fn a_rolling_window_never_forgets_early_and_at_most_a_64th_late() {
    let (ledger, clock) = at("2026-03-01T00:00:00Z");
    let budget = in_window(Window::Rolling(Duration::from_secs(6400)), 10);
    clock.fetch_add(30, Relaxed);
    reserve(&ledger, &[&budget], 10, 10).unwrap().hold.settle(Charge::new(Usd::cents(10)));
    let resets = ledger.balance(&budget).unwrap().resets_at.unwrap();
    for (seconds, spent) in [(6399, 10), (1, 10), (69, 10), (1, 0)] {
        clock.fetch_add(seconds, Relaxed);
        assert_eq!(ledger.balance(&budget).unwrap().spent, Usd::cents(spent), "{seconds}");
    }
    assert_eq!(ledger.now(), resets);
    assert_eq!(ledger.balance(&budget).unwrap().resets_at, None);
}

#[test]
fn an_account_seen_with_another_window_keeps_what_counts() {
    let (ledger, clock) = at("2026-03-01T00:00:00Z");
    let account = Account::new(Scope::tenant("t"), None, "by hand");
    let budget = |window| Budget::in_account(account.clone(), Usd::cents(10), None, window);
    let daily = budget(calendar::window("1d", "UTC").unwrap());
    let hour = budget(Window::Rolling(Duration::from_secs(3600)));
    reserve(&ledger, &[&daily], 4, 4).unwrap().hold.settle(Charge::new(Usd::cents(4)));
    assert_eq!(ledger.balance(&hour).unwrap().spent, Usd::cents(4));
    assert_eq!(ledger.balance(&budget(Window::Lifetime)).unwrap().spent, Usd::cents(4));
    assert_eq!(ledger.balance(&hour).unwrap().spent, Usd::cents(4));
    clock.fetch_add(3660, Relaxed);
    assert_eq!(ledger.balance(&hour).unwrap().spent, Usd::ZERO);
}

#[test]
fn idle_accounts_make_room_and_no_others() {
    let (ledger, clock) = at("2026-03-01T00:00:00Z");
    let ledger = ledger.capacity(160);
    let daily = calendar::window("1d", "UTC").unwrap();
    let account =
        |n: usize| Budget::new(Scope::new(ScopeKind::EndUser, n.to_string()), Usd::cents(10), daily.clone());
    // Nothing is spent by those that release: any number of them come and go. A full shard looks for idle ones once a second.
    for n in 0..5000 {
        clock.fetch_add(1, Relaxed);
        reserve(&ledger, &[&account(n)], 1, 1).expect("has room").hold.settle(Charge::new(Usd::ZERO));
    }
    let mut known = Vec::new();
    for n in 0..5000 {
        clock.fetch_add(1, Relaxed);
        match reserve(&ledger, &[&account(n)], 1, 1) {
            Ok(held) => {
                held.hold.settle(Charge::new(Usd::cents(1)));
                known.push(n);
            }
            Err(Refused::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(known.len(), 160);
    for n in &known {
        assert_eq!(ledger.balance(&account(*n)).unwrap().spent, Usd::cents(1));
    }
    // A claim that finds no room in one account holds nothing in the others.
    let full = (5000..).map(account).find(|new| reserve(&ledger, &[new], 1, 1).is_err()).unwrap();
    assert!(matches!(reserve(&ledger, &[&account(known[0]), &full], 1, 1), Err(Refused::Unavailable(_))));
    assert_eq!(ledger.balance(&account(known[0])).unwrap().held, Usd::ZERO);
    // The day after, all of them are idle.
    clock.fetch_add(86_400, Relaxed);
    for n in 6000..6010 {
        clock.fetch_add(1, Relaxed);
        reserve(&ledger, &[&account(n)], 1, 1)
            .expect("has room again")
            .hold
            .settle(Charge::new(Usd::cents(1)));
    }
}

#[test]
fn each_amount_alerts_once_a_window_and_account() {
    let (ledger, clock) = at("2026-03-01T12:00:00Z");
    let told: Arc<Mutex<Vec<Alert>>> = Arc::default();
    let (heard, asked) = (Arc::clone(&told), Arc::new(Mutex::new(None::<Ledger>)));
    let again = Arc::clone(&asked);
    let ledger = ledger.on_alert(ALERT_PERCENTS, move |alert| {
        // Outside of locks: the ledger can be asked from here.
        if let Some(ledger) = &*again.lock().unwrap() {
            ledger.balance(&lifetime("other", 1)).unwrap();
        }
        heard.lock().unwrap().push(alert.clone());
    });
    *asked.lock().unwrap() = Some(ledger.clone());
    let budget = in_window(calendar::window("1d", "UTC").unwrap(), 100).soft(Usd::cents(50));
    let spend = |budget: &Budget, cents| {
        reserve(&ledger, &[budget], 0, 0).unwrap().hold.settle(Charge::new(Usd::cents(cents)));
        told.lock().unwrap().drain(..).map(|alert| (alert.crossed, alert.spent)).collect::<Vec<_>>()
    };
    assert_eq!(spend(&budget, 49), []);
    assert_eq!(spend(&budget, 1), [(Crossed::Soft(Usd::cents(50)), Usd::cents(50))]);
    assert_eq!(spend(&budget, 29), []);
    assert_eq!(spend(&budget, 11), [(Crossed::Percent(80), Usd::cents(90))]);
    assert_eq!(spend(&budget, 50), [(Crossed::Percent(100), Usd::cents(140))]);
    assert_eq!(spend(&budget, 50), []);
    // Of a raised cap, four fifths are reached again.
    let mut raised = budget.clone();
    raised.cap = Usd::cents(300);
    assert_eq!(spend(&raised, 10), []);
    assert_eq!(spend(&raised, 50), [(Crossed::Percent(80), Usd::cents(250))]);
    clock.fetch_add(86_400, Relaxed);
    assert_eq!(
        spend(&budget, 85),
        [(Crossed::Soft(Usd::cents(50)), Usd::cents(85)), (Crossed::Percent(80), Usd::cents(85))]
    );
    // Dropped without being settled, it is spent too.
    drop(reserve(&ledger, &[&budget], 15, 15).unwrap());
    assert_eq!(told.lock().unwrap().pop().unwrap().crossed, Crossed::Percent(100));
}

#[test]
fn a_rolling_window_alerts_once_in_its_length() {
    let (ledger, clock) = at("2026-03-01T12:00:00Z");
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let ledger = ledger.on_alert([80], move |_| {
        count.fetch_add(1, Relaxed);
    });
    let budget = in_window(Window::Rolling(Duration::from_secs(64)), 100);
    // It goes above four fifths and below again all the time.
    for _ in 0..64 {
        clock.fetch_add(10, Relaxed);
        let cents = 13;
        reserve(&ledger, &[&budget], 0, 0).unwrap().hold.settle(Charge::new(Usd::cents(cents)));
    }
    assert_eq!(told.load(Relaxed), 9);
}

#[test]
#[should_panic(expected = "set up before it is cloned or used")]
fn a_ledger_that_is_in_use_cannot_be_set_up() {
    let ledger = Ledger::in_memory();
    ledger.balance(&lifetime("a", 1)).unwrap();
    let _ledger = ledger.capacity(1);
}

#[test]
fn options_can_come_in_any_order() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    let one = Ledger::in_memory().clock(Clock::new(move || now)).capacity(1).hold_ttl(Duration::ZERO);
    let other = Ledger::in_memory().hold_ttl(Duration::ZERO).capacity(1).clock(Clock::new(move || now));
    assert_eq!((one.now(), other.now()), (now, now));
}

fn at(now: &str) -> (Ledger, Arc<AtomicU64>) {
    let now: jiff::Timestamp = now.parse().expect("is a moment");
    let clock = Arc::new(AtomicU64::new(now.as_second().unsigned_abs()));
    let shown = Arc::clone(&clock);
    let show = move || SystemTime::UNIX_EPOCH + Duration::from_secs(shown.load(Relaxed));
    (Ledger::in_memory().clock(Clock::new(show)), clock)
}

fn lifetime(name: &str, cents: u64) -> Budget {
    Budget::new(Scope::tenant(name), Usd::cents(cents), Window::Lifetime)
}

fn in_window(window: Window, cents: u64) -> Budget {
    Budget::new(Scope::tenant("acme"), Usd::cents(cents), window)
}

fn reserve(ledger: &Ledger, budgets: &[&Budget], least: u64, most: u64) -> Result<Held, Refused> {
    let id = HoldId::unique(ledger.now());
    let budgets = budgets.iter().map(|budget| (*budget).clone()).collect();
    at_once(ledger.reserve(Claim::new(id, id, budgets, Usd::cents(least), Usd::cents(most))))
}

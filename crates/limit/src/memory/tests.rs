use std::{sync::atomic::AtomicU64, thread, time::Duration};

use proptest::prelude::*;
use ziggurat_core::{Scope, ScopeKind};

use super::*;

const PER: Duration = Duration::from_secs(32);
const SLICE: Duration = Duration::from_secs(1);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000)
}

fn key(id: &str) -> Scope {
    Scope::new(ScopeKind::Key, id)
}

fn take(store: &MemoryStore, asks: &[(&Limit, u64)], now: SystemTime) -> Result<Taken, Refused> {
    let asks: Vec<_> = asks.iter().map(|&(limit, amount)| Ask::new(limit.clone(), amount)).collect();
    match store.take(&asks, now) {
        Reply::Ready(answer) => answer,
        Reply::Later(_) => unreachable!("it is in memory"),
    }
}

fn remaining(store: &MemoryStore, limit: &Limit, now: SystemTime) -> u64 {
    store.level(limit, now).expect("is in memory").remaining
}

#[test]
fn a_refusal_takes_nothing_anywhere() {
    let store = MemoryStore::new();
    let limits = [
        Limit::new(key("a"), Measure::Requests, 10, PER),
        Limit::new(key("a"), Measure::Tokens, 100, PER),
        Limit::concurrency(key("a"), 3),
        Limit::new(Scope::gateway(), Measure::Requests, 2, PER),
    ];
    let asks: Vec<_> = limits.iter().zip([1, 40, 1, 1]).collect();
    let _first = take(&store, &asks, start()).expect("fits");
    let second = take(&store, &asks, start()).expect("fits");
    let stands = || limits.each_ref().map(|limit| remaining(&store, limit, start()));
    assert_eq!(stands(), [8, 20, 1, 0]);
    let Err(Refused::Exceeded(exceeded)) = take(&store, &asks, start()) else { panic!("is one too many") };
    let Exceeded { level, retry_after, quota } = *exceeded;
    // Both tokens and the gateway's requests are full, equally long: the first is named.
    assert_eq!((level.scope, level.measure, level.most), (ScopeKind::Key, Measure::Tokens, 100));
    assert_eq!(retry_after, Some(PER + SLICE));
    assert_eq!(quota.requests.expect("is limited").remaining, 0);
    assert_eq!(stands(), [8, 20, 1, 0]);

    second.ticket.settle(Used::new(0, Some((0, 0))), start());
    assert_eq!(stands(), [9, 60, 2, 1]);
}

#[test]
fn what_never_fits_is_told_from_what_must_wait() {
    let store = MemoryStore::new();
    let requests = Limit::new(key("a"), Measure::Requests, 1, PER);
    let tokens = Limit::new(key("a"), Measure::Tokens, 100, PER);
    drop(take(&store, &[(&requests, 1)], start()).expect("fits"));
    let refused = take(&store, &[(&requests, 1), (&tokens, 101)], start()).expect_err("never fits");
    let Refused::Exceeded(exceeded) = refused else { panic!("{refused:?}") };
    assert_eq!((exceeded.level.measure, exceeded.retry_after), (Measure::Tokens, None));
    assert_eq!(remaining(&store, &tokens, start()), 100);
}

#[test]
fn tokens_are_corrected_both_ways_and_where_they_were_counted() {
    let store = MemoryStore::new();
    let tokens = Limit::new(key("a"), Measure::Tokens, 100, PER);
    let output = Limit::new(key("a"), Measure::OutputTokens, 100, PER);
    let at = |seconds| start() + Duration::from_secs(seconds);
    let first = take(&store, &[(&tokens, 50), (&output, 30)], at(0)).expect("fits");
    let second = take(&store, &[(&tokens, 50), (&output, 30)], at(1)).expect("fits");
    first.ticket.settle(Used::new(1, Some((20, 10))), at(10));
    assert_eq!((remaining(&store, &tokens, at(10)), remaining(&store, &output, at(10))), (20, 60));
    second.ticket.settle(Used::new(1, Some((70, 50))), at(10));
    // Over the limit, as it was used.
    assert_eq!((remaining(&store, &tokens, at(10)), remaining(&store, &output, at(10))), (0, 40));
    // What was estimated leaves with the second of its admission, what came to it with that of its end.
    assert_eq!((remaining(&store, &tokens, at(33)), remaining(&store, &output, at(33))), (0, 50));
    assert_eq!((remaining(&store, &tokens, at(34)), remaining(&store, &output, at(34))), (30, 80));
    assert_eq!((remaining(&store, &tokens, at(43)), remaining(&store, &output, at(43))), (100, 100));
}

#[test]
fn a_call_longer_than_the_window_is_still_counted_for_what_came_to_it() {
    let store = MemoryStore::new();
    let tokens = Limit::new(key("a"), Measure::Tokens, 100, PER);
    let long = take(&store, &[(&tokens, 50)], start()).expect("fits");
    let shorter = take(&store, &[(&tokens, 50)], start()).expect("fits");
    let later = start() + 10 * PER;
    long.ticket.settle(Used::new(1, Some((30, 60))), later);
    shorter.ticket.settle(Used::new(1, Some((0, 1))), later);
    assert_eq!(remaining(&store, &tokens, later), 60);
}

#[test]
fn a_ticket_frees_its_place_once_however_it_ends() {
    let store = MemoryStore::new();
    let limit = Limit::concurrency(key("a"), 5);
    let running = || 5 - remaining(&store, &limit, start());
    let mut tickets: Vec<_> =
        (0..5).map(|_| take(&store, &[(&limit, 1)], start()).expect("is free").ticket).collect();
    let refused = take(&store, &[(&limit, 1)], start()).expect_err("all are taken");
    assert!(matches!(refused, Refused::Exceeded(exceeded) if exceeded.retry_after == Some(SLICE)));
    drop(tickets.pop());
    assert_eq!(running(), 4);
    tickets[0].leave();
    tickets[0].leave();
    assert_eq!(running(), 3);
    tickets.remove(0).settle(Used::new(1, None), start());
    assert_eq!(running(), 3);
    tickets.remove(0).settle(Used::new(1, Some((1, 1))), start());
    assert_eq!(running(), 2);
    tickets.clear();
    assert_eq!(running(), 0);
}

#[test]
fn accounts_are_apart_by_scope_models_measure_and_window() {
    let store = MemoryStore::new();
    let limits = [
        Limit::new(key("a"), Measure::Requests, 1, PER),
        Limit::new(key("b"), Measure::Requests, 1, PER),
        Limit::new(Scope::new(ScopeKind::Team, "a"), Measure::Requests, 1, PER),
        Limit::new(key("a"), Measure::Requests, 1, 2 * PER),
        Limit::new(key("a"), Measure::Requests, 1, PER).models("m"),
        Limit::new(key("a"), Measure::Tokens, 1, PER),
    ];
    for limit in &limits {
        drop(take(&store, &[(limit, 1)], start()).expect("is its own"));
        assert!(take(&store, &[(limit, 1)], start()).is_err());
    }
    // Another limit on the same account shares what was counted.
    let raised = Limit::new(key("a"), Measure::Requests, 2, PER);
    drop(take(&store, &[(&raised, 1)], start()).expect("one more"));
    assert_eq!(remaining(&store, &raised, start()), 0);
    assert_eq!(store.len(), 3);
    assert!(!store.is_empty());
}

#[test]
fn a_full_store_refuses_who_is_new_and_keeps_who_is_known() {
    let store = MemoryStore::with_capacity(160);
    let limits: Vec<_> =
        (0..1000).map(|id| Limit::new(key(&id.to_string()), Measure::Requests, 2, PER)).collect();
    let known: Vec<_> = limits.iter().filter(|limit| take(&store, &[(limit, 1)], start()).is_ok()).collect();
    assert!((120..=160).contains(&known.len()), "{}", known.len());
    assert_eq!(store.len(), known.len());
    let fresh = limits.iter().find(|limit| !known.contains(limit)).expect("some were refused");
    // And takes nothing from who is known.
    let refused = take(&store, &[(known[0], 1), (fresh, 1)], start()).expect_err("has no room");
    assert!(matches!(refused, Refused::Unavailable(_)), "{refused}");
    for limit in &known {
        assert_eq!(remaining(&store, limit, start()), 1, "no other account takes its debt away");
    }
    let later = start() + PER + SLICE;
    for limit in &limits[..10] {
        drop(take(&store, &[(limit, 1)], later).expect("idle ones have made room"));
    }
}

#[test]
fn threads_never_take_more_than_there_is() {
    let store = MemoryStore::new();
    let shared = Limit::new(Scope::gateway(), Measure::Requests, 1000, PER);
    let running = Limit::concurrency(Scope::gateway(), 3);
    let (most_running, now_running) = (AtomicU64::new(0), AtomicU64::new(0));
    let passed = AtomicU64::new(0);
    let relaxed = std::sync::atomic::Ordering::SeqCst;
    thread::scope(|scope| {
        for thread in 0..8 {
            let (store, shared, running) = (&store, &shared, &running);
            let (most_running, now_running, passed) = (&most_running, &now_running, &passed);
            scope.spawn(move || {
                let own = Limit::new(key(&thread.to_string()), Measure::Tokens, 900, PER);
                // Half of the threads name them in another order.
                for turn in 0..1000 {
                    let mut asks = [(shared, 1), (running, 1), (&own, 6)];
                    asks.rotate_left(thread % 3);
                    let Ok(taken) = take(store, &asks, start()) else { continue };
                    passed.fetch_add(1, relaxed);
                    most_running.fetch_max(now_running.fetch_add(1, relaxed) + 1, relaxed);
                    if turn % 7 == 0 {
                        thread::yield_now();
                    }
                    now_running.fetch_sub(1, relaxed);
                    taken.ticket.settle(Used::new(1, Some((2, 4))), start());
                }
            });
        }
    });
    let passed = passed.into_inner();
    assert!(passed <= 1000, "{passed}");
    assert!(most_running.into_inner() <= 3);
    assert_eq!(remaining(&store, &shared, start()), 1000 - passed);
    assert_eq!(remaining(&store, &running, start()), 3);
    let own: u64 = (0..8)
        .map(|thread| Limit::new(key(&thread.to_string()), Measure::Tokens, 900, PER))
        .map(|own| 900 - remaining(&store, &own, start()))
        .sum();
    assert_eq!(own, 6 * passed);
}

/// A plain record of everything, of one limit.
#[derive(Default)]
struct Log {
    used: Vec<(SystemTime, u64)>,
    running: u64,
}

impl Log {
    fn used(&self, length: Duration, now: SystemTime) -> u64 {
        let within = |then: &SystemTime| now.duration_since(*then).expect("is past") < length;
        self.used.iter().filter(|(then, _)| within(then)).map(|(_, amount)| amount).sum()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// Which of the limits, and how many input and output tokens.
    Take(u8, u64, u64),
    Settle(prop::sample::Index, u64, u64),
    /// Refused further in.
    Return(prop::sample::Index),
    Drop(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => (0_u64..4_000_000_000).prop_map(Step::Wait),
        1 => (0_u64..70_000_000_000).prop_map(Step::Wait),
        10 => (1_u8..64, 0_u64..12, 0_u64..12).prop_map(|(mask, i, o)| Step::Take(mask, i, o)),
        5 => (which(), 0_u64..16, 0_u64..16).prop_map(|(which, i, o)| Step::Settle(which, i, o)),
        1 => which().prop_map(Step::Return),
        1 => which().prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 0..150)
}

fn limits() -> [Limit; 6] {
    [
        Limit::new(key("a"), Measure::Requests, 6, PER),
        Limit::new(Scope::gateway(), Measure::Requests, 9, 2 * PER),
        Limit::new(key("a"), Measure::Tokens, 60, PER),
        Limit::new(Scope::tenant("t"), Measure::InputTokens, 40, PER),
        Limit::new(Scope::tenant("t"), Measure::OutputTokens, 40, PER / 2),
        Limit::concurrency(key("a"), 3),
    ]
}

/// A call that runs: its ticket, and for each of its limits how much was taken, under which entry of the log.
type Running = (Box<dyn Ticket>, Vec<(usize, u64, usize)>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn random_calls_agree_with_a_plain_record(steps in steps()) {
        let (store, limits) = (MemoryStore::new(), limits());
        let mut logs: [Log; 6] = Default::default();
        let mut calls: Vec<Running> = Vec::new();
        let mut now = start();
        let stands = |now| limits.each_ref().map(|limit| store.level(limit, now));
        for step in steps {
            match step {
                Step::Wait(nanos) => now += Duration::from_nanos(nanos),
                Step::Take(mask, input, output) => {
                    let used = Used::new(1, Some((input, output)));
                    let wanted: Vec<_> = (0..6)
                        .filter(|at| mask & (1 << at) != 0)
                        .map(|at| (at, used.of(limits[at].measure).unwrap_or(1)))
                        .collect();
                    let asks: Vec<_> = wanted.iter().map(|&(at, amount)| (&limits[at], amount)).collect();
                    let before = stands(now);
                    match take(&store, &asks, now) {
                        Ok(taken) => {
                            let mut entries = Vec::new();
                            for &(at, amount) in &wanted {
                                let (limit, log) = (&limits[at], &mut logs[at]);
                                entries.push((at, amount, log.used.len()));
                                if limit.measure == Measure::Concurrency {
                                    log.running += 1;
                                    prop_assert!(log.running <= limit.most);
                                } else {
                                    log.used.push((now, amount));
                                    prop_assert!(amount == 0 || log.used(limit.per, now) <= limit.most);
                                }
                            }
                            calls.push((taken.ticket, entries));
                        }
                        Err(Refused::Exceeded(exceeded)) => {
                            let level = exceeded.level;
                            let wait = exceeded.retry_after.expect("no amount is more than a limit");
                            prop_assert_eq!(stands(now), before);
                            let right = wanted.iter().any(|&(at, amount)| {
                                let (limit, log) = (&limits[at], &logs[at]);
                                let full = match limit.measure {
                                    Measure::Concurrency => log.running == limit.most,
                                    _ => log.used(limit.per + limit.per / 32, now) + amount > limit.most,
                                };
                                full && limit.measure == level.measure && limit.account.scope.kind == level.scope
                            });
                            prop_assert!(right, "{:?} at {:?}", level, now);
                            let places_are_free = logs[5].running < limits[5].most || mask & 32 == 0;
                            if places_are_free {
                                // The wait is true: a moment earlier it is too early, then not any more.
                                let early = take(&store, &asks, now + wait - Duration::from_nanos(1));
                                prop_assert!(early.is_err());
                                now += wait;
                                let taken = take(&store, &asks, now);
                                prop_assert!(taken.is_ok());
                                if let Ok(taken) = taken {
                                    taken.ticket.settle(Used::new(0, Some((0, 0))), now);
                                }
                            }
                        }
                        Err(other) => prop_assert!(false, "{other:?}"),
                    }
                }
                Step::Settle(which, input, output) => {
                    if calls.is_empty() { continue }
                    let (ticket, entries) = calls.swap_remove(which.index(calls.len()));
                    let used = Used::new(1, Some((input, output)));
                    ticket.settle(used, now);
                    correct(&mut logs, &limits, &entries, used, now);
                }
                Step::Return(which) => {
                    if calls.is_empty() { continue }
                    let (ticket, entries) = calls.swap_remove(which.index(calls.len()));
                    let used = Used::new(0, Some((0, 0)));
                    ticket.settle(used, now);
                    correct(&mut logs, &limits, &entries, used, now);
                }
                Step::Drop(which) => {
                    if calls.is_empty() { continue }
                    let (ticket, entries) = calls.swap_remove(which.index(calls.len()));
                    drop(ticket);
                    correct(&mut logs, &limits, &entries, Used::new(1, None), now);
                }
            }
            for (log, limit) in logs.iter().zip(&limits) {
                let left = remaining(&store, limit, now);
                match limit.measure {
                    Measure::Concurrency => prop_assert_eq!(left, limit.most - log.running),
                    _ => {
                        let (least, most) = (log.used(limit.per, now), log.used(limit.per + limit.per / 32, now));
                        prop_assert!(left <= limit.most.saturating_sub(least));
                        prop_assert!(left >= limit.most.saturating_sub(most));
                    }
                }
            }
        }
        drop(calls);
        let end = now + 3 * PER;
        for limit in &limits {
            prop_assert_eq!(remaining(&store, limit, end), limit.most);
        }
    }
}

fn correct(
    logs: &mut [Log; 6],
    limits: &[Limit; 6],
    entries: &[(usize, u64, usize)],
    used: Used,
    now: SystemTime,
) {
    for &(at, amount, entry) in entries {
        let (limit, log) = (&limits[at], &mut logs[at]);
        if limit.measure == Measure::Concurrency {
            log.running -= 1;
            continue;
        }
        match used.of(limit.measure) {
            Some(actual) if actual < amount => log.used[entry].1 = actual,
            Some(actual) => log.used.push((now, actual - amount)),
            None => {}
        }
    }
}

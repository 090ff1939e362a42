//! Counters on another machine, that may be away.

#[path = "support/shared.rs"]
mod shared;
mod support;

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use proptest::prelude::*;
use tokio::time::{Instant, sleep, timeout};
use ziggurat_core::{Limit, OnAway, Scope};
use ziggurat_limit::{Ask, LimitLayer, Refused, Reply, Store, Taken, Ticket, Used, remote::Remote};

use crate::{
    shared::{Machine, Mode, clock},
    support::{Provider, ask, chat, of, status, used},
};

const MS: Duration = Duration::from_millis(1);

fn requests(most: u64) -> Limit {
    Limit::requests_per_minute(Scope::tenant("t"), most)
}

fn tokens(most: u64) -> Limit {
    Limit::tokens_per_minute(Scope::tenant("t"), most)
}

fn places(most: u64) -> Limit {
    Limit::concurrency(Scope::tenant("t"), most)
}

fn local(nodes: u32) -> OnAway {
    OnAway::Local(NonZeroU32::new(nodes).expect("is not 0"))
}

fn asks(all: &[(&Limit, u64)]) -> Vec<Ask> {
    all.iter().map(|(limit, amount)| Ask::new((*limit).clone(), *amount)).collect()
}

async fn take(store: &Remote<Machine>, all: &[(&Limit, u64)]) -> Result<Taken, Refused> {
    store.take(&asks(all), clock().now()).wait().await
}

fn is_unavailable(answer: &Result<Taken, Refused>) -> bool {
    matches!(answer, Err(Refused::Unavailable(_)))
}

fn settle(ticket: Box<dyn Ticket>, tokens: u64) {
    ticket.settle(Used::new(1, Some((tokens, 0))), clock().now());
}

async fn lose(machine: &Machine, store: &Remote<Machine>) {
    machine.set(Mode::Fails);
    while store.is_here() {
        sleep(50 * MS).await;
    }
}

async fn find(machine: &Machine, store: &Remote<Machine>) {
    machine.set(Mode::Answers);
    sleep(2000 * MS).await;
    assert!(store.is_here());
    store.flush().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_deadline_and_not_at_all_when_it_is_known_to_be_away() {
    for mode in [Mode::Lost, Mode::Mute, Mode::Late(51 * MS), Mode::Fails] {
        let machine = Machine::new();
        let store = Remote::new(machine.clone());
        let _worker = tokio::spawn(store.run());
        let limits = [(&places(5), 1), (&requests(100), 1)];
        machine.set(mode);
        for _ in 0..3 {
            let start = Instant::now();
            assert!(is_unavailable(&take(&store, &limits).await));
            assert!(start.elapsed() <= 50 * MS);
        }
        assert!(!store.is_here());
        let (asked, start) = (machine.asked(), Instant::now());
        for _ in 0..1000 {
            assert!(is_unavailable(&take(&store, &limits).await));
        }
        assert_eq!((machine.asked(), start.elapsed()), (asked, Duration::ZERO));
        sleep(Duration::from_secs(30)).await;
        find(&machine, &store).await;
        sleep(100 * MS).await;
        // What nobody waited for has no place; what has arrived before its correction stays counted.
        assert_eq!(machine.used(limits[0].0), 0);
        let arrived = matches!(mode, Mode::Mute | Mode::Late(_));
        assert_eq!(machine.used(limits[1].0), if arrived { 3 } else { 0 });
        assert_eq!((store.open(), store.queued()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn one_round_trip_a_decision_and_none_for_what_needs_no_correction() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone());
    let taken = take(&store, &[(&requests(3), 1)]).await.expect("fits");
    assert_eq!(taken.quota.requests.map(|level| level.remaining), Some(2));
    assert_eq!(store.level(&requests(3), clock().now()).map(|level| level.remaining), Some(2));
    taken.ticket.settle(Used::new(1, None), clock().now());
    drop(take(&store, &[(&requests(3), 1)]).await);
    store.flush().await;
    assert_eq!((machine.asked(), store.open()), (2, 0));
    // A call that was refused further in gives its request back.
    let taken = take(&store, &[(&requests(3), 1)]).await.expect("fits");
    assert!(matches!(take(&store, &[(&requests(3), 1)]).await, Err(Refused::Exceeded(_))));
    taken.ticket.settle(Used::new(0, None), clock().now());
    assert_eq!((machine.asked(), store.queued()), (4, 1));
    store.flush().await;
    assert_eq!((machine.asked(), machine.used(&requests(3)), store.open()), (5, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn places_are_freed_first_and_the_rest_is_corrected_once() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone());
    let (five, hundred) = (places(5), tokens(100));
    let mut taken = take(&store, &[(&five, 1), (&hundred, 30)]).await.expect("fits");
    assert_eq!((machine.used(&five), machine.used(&hundred)), (1, 30));
    taken.ticket.leave();
    taken.ticket.leave();
    store.flush().await;
    assert_eq!((machine.used(&five), machine.used(&hundred), store.open()), (0, 30, 1));
    settle(taken.ticket, 80);
    store.flush().await;
    assert_eq!((machine.used(&five), machine.used(&hundred), store.open()), (0, 80, 0));

    // An answer that was lost: it is sent again, and counts once.
    let taken = take(&store, &[(&five, 1), (&hundred, 10)]).await.expect("fits");
    machine.set(Mode::Mute);
    settle(taken.ticket, 4);
    let worker = tokio::spawn(store.run());
    assert!(timeout(3000 * MS, store.flush()).await.is_err());
    find(&machine, &store).await;
    worker.abort();
    assert_eq!((machine.used(&five), machine.used(&hundred)), (0, 84));
    assert_eq!(machine.corrections().len(), 2);
    // Dropped, it frees its place and stays as it was estimated.
    drop(take(&store, &[(&five, 1), (&hundred, 10)]).await.expect("fits"));
    store.flush().await;
    assert_eq!((machine.used(&five), machine.used(&hundred), store.open()), (0, 94, 0));
}

#[tokio::test(start_paused = true)]
async fn places_are_kept_as_long_as_the_process_lives() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone()).lease(Duration::from_secs(30));
    let worker = tokio::spawn(store.run());
    let taken = take(&store, &[(&places(1), 1)]).await.expect("fits");
    sleep(Duration::from_secs(300)).await;
    assert!(matches!(take(&store, &[(&places(1), 1)]).await, Err(Refused::Exceeded(_))));
    worker.abort();
    sleep(Duration::from_secs(31)).await;
    let other = take(&store, &[(&places(1), 1)]).await.expect("fits");
    drop((taken, other));
    store.flush().await;
    assert_eq!((machine.used(&places(1)), store.open()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_leaves_nothing() {
    for mode in [Mode::Late(200 * MS), Mode::Late(30 * MS), Mode::Mute, Mode::Lost] {
        let machine = Machine::new();
        let store = Remote::new(machine.clone()).capacity(2);
        let all = asks(&[(&places(5), 1), (&requests(100), 1)]);
        drop(store.take(&all, clock().now()));
        assert_eq!((machine.asked(), store.open()), (0, 0));
        machine.set(mode);
        assert!(timeout(20 * MS, store.take(&all, clock().now()).wait()).await.is_err());
        assert_eq!((store.open(), store.queued()), (1, 1));
        // It counts twice, and there is room for one more.
        assert!(is_unavailable(&store.take(&all, clock().now()).wait().await));
        machine.set(Mode::Answers);
        store.flush().await;
        sleep(1000 * MS).await;
        assert_eq!((machine.used(&places(5)), store.open()), (0, 0), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn policies_while_it_is_away() {
    let all = [(&places(7), 1), (&requests(10), 1)];
    for (policy, passing) in [(OnAway::Deny, 0), (OnAway::Allow, 50), (local(3), 3), (local(2), 4)] {
        let machine = Machine::new();
        let store = Remote::new(machine.clone()).on_away(policy);
        let _worker = tokio::spawn(store.run());
        lose(&machine, &store).await;
        let mut passed = Vec::new();
        for _ in 0..50 {
            passed.extend(take(&store, &all).await);
        }
        assert_eq!(passed.len(), passing, "{policy:?}");
        drop(passed);
        find(&machine, &store).await;
        assert_eq!((store.open(), machine.used(all[0].0), machine.used(all[1].0)), (0, 0, 0));
        take(&store, &all).await.expect("fits");
    }
    // More than the share, but not more than the limit: to be tried again, and no 'never'.
    let machine = Machine::new();
    let store = Remote::new(machine.clone()).on_away(local(4));
    let _worker = tokio::spawn(store.run());
    lose(&machine, &store).await;
    assert!(is_unavailable(&take(&store, &[(&tokens(100), 26)]).await));
    assert!(matches!(take(&store, &[(&tokens(100), 101)]).await, Err(Refused::Exceeded(_))));
    assert!(matches!(take(&store, &[(&tokens(0), 1)]).await, Err(Refused::Exceeded(_))));
    take(&store, &[(&tokens(100), 25)]).await.expect("fits");
}

#[tokio::test(start_paused = true)]
async fn the_layer_counts_there_and_answers_503_when_it_is_away() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone());
    let _worker = tokio::spawn(store.run());
    let (two, many) = (places(2), tokens(10_000));
    let layer = LimitLayer::new().clock(clock()).store(store.clone());
    let layer = layer.fixed(two.clone()).fixed(many.clone());
    let service = of(&layer, Provider::answering([used(5, 7)]));
    let response = ask(&service, chat("")).await;
    assert_eq!((response.status().as_u16(), machine.used(&two)), (200, 1));
    assert!(machine.used(&many) > 12);
    drop(response.into_body().collect_within(1 << 20).await);
    sleep(MS).await;
    assert_eq!((machine.used(&two), machine.used(&many)), (0, 12));

    machine.set(Mode::Lost);
    let start = Instant::now();
    assert_eq!(status(&service, chat("")).await, 503);
    assert_eq!(start.elapsed(), 50 * MS);
}

#[derive(Clone, Debug)]
enum Op {
    Take { tokens: u64, patience: u64 },
    Leave(usize),
    Settle { which: usize, tokens: u64 },
    Drop(usize),
    Machine(Mode),
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let mode = prop_oneof![
        3 => Just(Mode::Answers),
        1 => Just(Mode::Fails),
        1 => Just(Mode::Lost),
        1 => Just(Mode::Mute),
        2 => (1..700_u32).prop_map(|by| Mode::Late(MS * by)),
    ];
    let patience = prop_oneof![Just(1000_u64), 0..60_u64];
    let op = prop_oneof![
        6 => (1..20_u64, patience).prop_map(|(tokens, patience)| Op::Take { tokens, patience }),
        2 => any::<usize>().prop_map(Op::Leave),
        4 => (any::<usize>(), 0..30_u64).prop_map(|(which, tokens)| Op::Settle { which, tokens }),
        1 => any::<usize>().prop_map(Op::Drop),
        2 => mode.prop_map(Op::Machine),
        3 => prop_oneof![0..20_u64, 0..3000_u64].prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..60)
}

/// After it is back, nobody has a place, and each take was corrected once, to what it came to.
async fn check(ops: Vec<Op>, policy: OnAway) {
    let machine = Machine::new();
    let store = Remote::new(machine.clone()).on_away(policy).lease(Duration::from_secs(3));
    let worker = tokio::spawn(store.run());
    let (five, many) = (places(5), tokens(1_000_000));
    let mut open: Vec<(Taken, u64)> = Vec::new();
    let mut ended: Vec<u64> = Vec::new();
    for op in ops {
        match op {
            Op::Take { tokens, patience } => {
                let (start, away) = (Instant::now(), !store.is_here());
                let reply = store.take(&asks(&[(&five, 1), (&many, tokens)]), clock().now());
                let answer = timeout(MS * patience as u32, reply.wait()).await;
                assert!(start.elapsed() <= if away { Duration::ZERO } else { 50 * MS });
                open.extend(answer.into_iter().flatten().map(|taken| (taken, tokens)));
            }
            Op::Leave(which) if !open.is_empty() => {
                let at = which % open.len();
                open[at].0.ticket.leave();
            }
            Op::Settle { which, tokens } if !open.is_empty() => {
                settle(open.swap_remove(which % open.len()).0.ticket, tokens);
                ended.push(tokens);
            }
            Op::Drop(which) if !open.is_empty() => ended.push(open.swap_remove(which % open.len()).1),
            Op::Machine(mode) => machine.set(mode),
            Op::Wait(ms) => sleep(MS * ms as u32).await,
            _ => {}
        }
    }
    machine.set(Mode::Answers);
    sleep(2000 * MS).await;
    assert!(store.is_here());
    for (taken, _) in open {
        settle(taken.ticket, 0);
        ended.push(0);
    }
    store.flush().await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!((store.open(), store.queued(), machine.used(&five)), (0, 0, 0));
    if policy == OnAway::Deny {
        ended.sort_unstable();
        assert_eq!(machine.counted(), ended);
    }
    let corrected = machine.corrections();
    let mut ids: Vec<_> = corrected.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), corrected.len());
    worker.abort();
}

/// What this node lets through by itself is in no minute more than its share, however often the machine goes.
async fn check_share(waits: Vec<(u64, bool)>, most: u64, nodes: u32) {
    let machine = Machine::new();
    let store = Remote::new(machine.clone()).on_away(local(nodes));
    let _worker = tokio::spawn(store.run());
    let limit = requests(most);
    let time = clock();
    let share = most.div_ceil(u64::from(nodes));
    let mut passed: VecDeque<Instant> = VecDeque::new();
    lose(&machine, &store).await;
    for (wait, comes_back) in waits {
        sleep(MS * wait as u32).await;
        if comes_back {
            find(&machine, &store).await;
            lose(&machine, &store).await;
        }
        for _ in 0..3 {
            if let Reply::Ready(Ok(taken)) = store.take(&asks(&[(&limit, 1)]), time.now()) {
                taken.ticket.settle(Used::new(1, None), time.now());
                passed.push_back(Instant::now());
            }
        }
        passed.retain(|at| at.elapsed() < Duration::from_secs(60));
        assert!(passed.len() as u64 <= share, "{} of {share}", passed.len());
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("is built")
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_is_doubled(
        ops in ops(),
        policy in prop_oneof![Just(OnAway::Deny), Just(OnAway::Allow), Just(local(2))],
    ) {
        paused().block_on(check(ops, policy));
    }

    #[test]
    fn a_share_is_never_more_than_its_part_in_any_minute(
        waits in prop::collection::vec((0..15_000_u64, prop::bool::weighted(0.2)), 1..40),
        most in 1..40_u64,
        nodes in 1..5_u32,
    ) {
        paused().block_on(check_share(waits, most, nodes));
    }
}

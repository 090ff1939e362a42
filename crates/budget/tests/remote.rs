//! A ledger on another machine, that may be away.

#[path = "support/shared.rs"]
mod shared;
mod support;

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use ziggurat_budget::{
    Alert, BudgetLayer, Charge, Crossed, Held, HoldId, Ledger, Refused, Reply, Store, remote::Remote,
};
use ziggurat_core::{Budget, OnAway, Scope, Usd, Window};

use crate::{
    shared::*,
    support::{answer, catalog, chat, text, upstream, used},
};

const TWO: OnAway = OnAway::Local(NonZeroU32::new(2).expect("is not 0"));

/// A machine that is known to be away after these claims; and was there before.
async fn lose(machine: &Machine, store: &Remote<Machine>) {
    machine.set(Mode::Fails);
    for _ in 0..3 {
        let _away = store.balances(&[of("other", 1)]).await;
    }
    assert!(!store.is_here());
}

async fn find(machine: &Machine, store: &Remote<Machine>) {
    machine.set(Mode::Answers);
    sleep(2000 * MS).await;
    assert!(store.is_here());
    store.flush().await;
}

#[tokio::test(start_paused = true)]
async fn a_reservation_is_one_round_trip_and_a_settlement_waits_for_none() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone());
    let budget = of("t", 100);
    let hold = held(&store, claim(&budget, 1, 10)).await;
    assert_eq!((machine.asked(), hold.amount), (1, cents(10)));
    assert_eq!(store.balance(&budget).map(|known| known.held), Some(cents(10)));
    assert_eq!(hold.hold.extend(cents(5), cents(5)).wait().await.ok(), Some(cents(5)));
    assert_eq!((machine.asked(), machine.account(&budget).1), (2, cents(15)));
    hold.hold.settle(Charge::new(cents(7)));
    assert_eq!((machine.asked(), store.queued()), (2, 1));
    // There is no worker: who flushes sends it.
    store.flush().await;
    assert_eq!((machine.asked(), machine.account(&budget)), (3, (cents(7), Usd::ZERO)));
    let (answer, _) = reserve(&store, claim(&budget, 94, 94)).await;
    assert!(matches!(answer, Err(Refused::Exceeded { .. })));
    assert_eq!(store.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_posted_in_full_and_what_is_not_waited_for_is_released() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone());
    let _worker = tokio::spawn(store.run());
    let budget = of("t", 100);
    let dropped = claim(&budget, 1, 10);
    let id = dropped.id;
    drop(held(&store, dropped).await);
    store.flush().await;
    assert_eq!(machine.ended(id), Some(unreconciled(cents(10))));

    // It is asked for when it is polled, and not before.
    let asked = machine.asked();
    drop(store.reserve(claim(&budget, 1, 10)));
    assert_eq!((machine.asked(), store.open()), (asked, 0));

    // The caller leaves while it waits; the reservation arrives after its release, or before.
    for mode in [Mode::Late(200 * MS), Mode::Late(30 * MS), Mode::Mute] {
        machine.set(mode);
        let left = claim(&budget, 1, 10);
        let id = left.id;
        assert!(timeout(20 * MS, store.reserve(left).wait()).await.is_err());
        assert_eq!((store.open(), store.queued()), (1, 1));
        machine.set(Mode::Answers);
        sleep(1000 * MS).await;
        assert_eq!(machine.ended(id), Some(Charge::new(Usd::ZERO)), "{mode:?}");
        assert_eq!(machine.account(&budget), (cents(10), Usd::ZERO));
        assert_eq!(store.open(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_are_open_than_there_is_room_to_settle() {
    for policy in [OnAway::Deny, OnAway::Allow] {
        let machine = Machine::new();
        let store = Remote::new(machine.clone()).capacity(2).on_away(policy);
        let budget = of("t", 100);
        let one = held(&store, claim(&budget, 1, 1)).await;
        if policy == OnAway::Allow {
            lose(&machine, &store).await;
        }
        let other = held(&store, claim(&budget, 1, 1)).await;
        assert!(is_unavailable(&reserve(&store, claim(&budget, 1, 1)).await.0));
        one.hold.settle(Charge::new(cents(1)));
        other.hold.settle(Charge::new(cents(1)));
        assert!(is_unavailable(&reserve(&store, claim(&budget, 1, 1)).await.0));
        let _worker = tokio::spawn(store.run());
        find(&machine, &store).await;
        assert_eq!(machine.account(&budget), (cents(2), Usd::ZERO));
        held(&store, claim(&budget, 1, 1)).await.hold.settle(Charge::new(cents(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn holds_of_a_process_that_lives_do_not_expire() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone()).hold_ttl(Duration::from_secs(30));
    let _worker = tokio::spawn(store.run());
    let budget = of("t", 100);
    let hold = held(&store, claim(&budget, 1, 10)).await;
    sleep(Duration::from_secs(300)).await;
    assert_eq!(machine.account(&budget), (Usd::ZERO, cents(10)));
    let renewals = machine.0.lock().expect("is sound").renewals;
    assert!((29..=31).contains(&renewals), "{renewals}");
    hold.hold.settle(Charge::new(cents(3)));
    sleep(100 * MS).await;
    assert_eq!(machine.account(&budget), (cents(3), Usd::ZERO));
}

#[tokio::test(start_paused = true)]
async fn allowed_calls_are_posted_when_it_is_back() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone()).on_away(OnAway::Allow);
    let _worker = tokio::spawn(store.run());
    let budget = of("t", 1);
    let before = held(&store, claim(&budget, 1, 1)).await;
    // The call that finds out passes too, under its own id, whether the machine has made its reservation or not.
    machine.set(Mode::Mute);
    let own = of("own", 100);
    let found_out = held(&store, claim(&own, 5, 5)).await;
    lose(&machine, &store).await;
    let hold = held(&store, claim(&budget, 10, 20)).await;
    assert_eq!(hold.amount, cents(20));
    assert_eq!(hold.hold.extend(cents(1), cents(5)).wait().await.ok(), Some(cents(5)));
    assert_eq!(before.hold.extend(cents(1), cents(5)).wait().await.ok(), Some(cents(5)));
    hold.hold.settle(Charge::new(cents(24)));
    before.hold.settle(Charge::new(cents(4)));
    found_out.hold.settle(Charge::new(cents(3)));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(store.queued(), 3);
    find(&machine, &store).await;
    assert_eq!(machine.account(&budget), (cents(28), Usd::ZERO));
    assert_eq!(machine.account(&own), (cents(3), Usd::ZERO));
    assert_eq!(store.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_local_share_is_what_was_left_divided_and_nothing_where_that_is_not_known() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone()).on_away(TWO);
    let _worker = tokio::spawn(store.run());
    let budget = of("t", 100);
    machine.spend(&budget, cents(50));
    let before = held(&store, claim(&budget, 9, 9)).await;
    // 41 are left, this node's share is 20.5.
    lose(&machine, &store).await;
    assert!(is_unavailable(&reserve(&store, claim(&of("unknown", 100), 1, 1)).await.0));
    assert!(matches!(reserve(&store, claim(&budget, 42, 42)).await.0, Err(Refused::Exceeded { .. })));
    assert!(is_unavailable(&reserve(&store, claim(&budget, 21, 21)).await.0));
    let one = held(&store, claim(&budget, 10, 10)).await;
    assert_eq!(before.hold.extend(cents(5), cents(5)).wait().await.ok(), Some(cents(5)));
    assert!(is_unavailable(&before.hold.extend(cents(6), cents(6)).wait().await));
    let rest = held(&store, claim(&budget, 1, 10)).await;
    assert_eq!(rest.amount, Usd::pico(55_000_000_000));
    one.hold.settle(Charge::new(cents(4)));
    // 14 were set aside, of which 5 by this node: it has spent 3 of those.
    before.hold.settle(Charge::new(cents(12)));
    rest.hold.settle(Charge::new(Usd::ZERO));
    let again = held(&store, claim(&budget, 1, 100)).await;
    assert_eq!(again.amount, Usd::pico(135_000_000_000));
    again.hold.settle(Charge::new(Usd::ZERO));
    find(&machine, &store).await;
    assert_eq!(machine.account(&budget), (cents(66), Usd::ZERO));
    // Nothing was heard of it since: another absence gives no other share.
    lose(&machine, &store).await;
    assert_eq!(held(&store, claim(&budget, 1, 100)).await.amount, Usd::pico(135_000_000_000));
    find(&machine, &store).await;
    assert_eq!(
        store.balances(std::slice::from_ref(&budget)).await.map(|all| all[0].spent),
        Ok(Usd::pico(795_000_000_000))
    );
    lose(&machine, &store).await;
    assert_eq!(held(&store, claim(&budget, 1, 100)).await.amount, Usd::pico(102_500_000_000));
}

/// What nodes have told: which of them, and of what.
type Told = Arc<Mutex<Vec<(usize, Crossed)>>>;

/// Nodes that share a machine and tell of 80 and 100 percent.
fn nodes(machine: &Machine, count: usize) -> (Vec<Remote<Machine>>, Told) {
    let told = Told::default();
    let node = |number| {
        let told = Arc::clone(&told);
        let tell = move |alert: &Alert| told.lock().expect("is sound").push((number, alert.crossed));
        Remote::new(machine.clone()).on_alert([80, 100], tell)
    };
    ((0..count).map(node).collect(), told)
}

async fn spend(store: &Remote<Machine>, budget: &Budget, amount: u64) {
    held(store, claim(budget, amount, amount)).await.hold.settle(Charge::new(cents(amount)));
    store.flush().await;
}

#[tokio::test(start_paused = true)]
async fn an_amount_is_told_once_by_the_node_that_reaches_it() {
    let machine = Machine::new();
    let (nodes, told) = nodes(&machine, 2);
    let budget = of("t", 100).soft(cents(50));
    let told = || std::mem::take(&mut *told.lock().expect("is sound"));
    for (node, amount, expected) in [
        (0, 49, vec![]),
        (1, 1, vec![(1, Crossed::Soft(cents(50)))]),
        (0, 25, vec![]),
        (0, 5, vec![(0, Crossed::Percent(80))]),
        (1, 1, vec![]),
        (1, 19, vec![(1, Crossed::Percent(100))]),
    ] {
        spend(&nodes[node], &budget, amount).await;
        assert_eq!(told(), expected, "after {amount} more at node {node}");
    }
    // What is known to have been told is not asked for again.
    let raised = of("t", 200).soft(cents(50));
    spend(&nodes[1], &raised, 1).await;
    let asked = machine.asked();
    spend(&nodes[1], &raised, 1).await;
    assert_eq!((told(), machine.asked() - asked), (vec![], 2));
    // A cap that was raised is told of again.
    spend(&nodes[0], &raised, 58).await;
    assert_eq!(told(), [(0, Crossed::Percent(80))]);
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_told_is_told_once_whatever_is_lost_on_the_way() {
    for mode in [Mode::Lost, Mode::Mute, Mode::Fails, Mode::Late(600 * MS)] {
        let machine = Machine::new();
        let (nodes, told) = nodes(&machine, 2);
        let workers: Vec<_> = nodes.iter().map(|node| tokio::spawn(node.run())).collect();
        let budget = of("t", 100);
        let mut holds = Vec::new();
        for node in &nodes {
            holds.push(held(node, claim(&budget, 50, 50)).await);
        }
        machine.set(mode);
        holds.drain(..).for_each(|held| held.hold.settle(Charge::new(cents(50))));
        sleep(3000 * MS).await;
        machine.set(Mode::Answers);
        sleep(3000 * MS).await;
        let mut crossed: Vec<_> =
            told.lock().expect("is sound").iter().map(|(_, crossed)| format!("{crossed:?}")).collect();
        crossed.sort();
        assert_eq!(crossed, ["Percent(100)", "Percent(80)"], "{mode:?}");
        workers.iter().for_each(|worker| worker.abort());
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_slow_to_say_what_is_to_be_told_is_not_away_and_is_sent_nothing_twice() {
    let machine = Machine::new();
    let (nodes, told) = nodes(&machine, 1);
    let (store, budget) = (&nodes[0], of("t", 100));
    let _worker = tokio::spawn(store.run());
    machine.0.lock().expect("is sound").tells = false;
    for amount in [90, 1, 1, 1, 1] {
        held(store, claim(&budget, amount, amount)).await.hold.settle(Charge::new(cents(amount)));
        sleep(1500 * MS).await;
        assert!(store.is_here());
        assert_eq!(store.open(), 0);
    }
    assert_eq!(machine.0.lock().expect("is sound").settled, 5);
    assert!(told.lock().expect("is sound").is_empty());
    machine.0.lock().expect("is sound").tells = true;
    sleep(1500 * MS).await;
    assert_eq!(*told.lock().expect("is sound"), [(0, Crossed::Percent(80))]);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_without_the_machine_is_held_there_before_it_decides_again() {
    for policy in [OnAway::Allow, TWO] {
        let machine = Machine::new();
        let store = Remote::new(machine.clone()).on_away(policy);
        let _worker = tokio::spawn(store.run());
        let budget = of("t", 100);
        let before = held(&store, claim(&budget, 10, 10)).await;
        lose(&machine, &store).await;
        let own = held(&store, claim(&budget, 30, 30)).await;
        assert_eq!(before.hold.extend(cents(5), cents(5)).wait().await.ok(), Some(cents(5)));
        assert_eq!(own.hold.extend(cents(5), cents(5)).wait().await.ok(), Some(cents(5)));
        assert_eq!(machine.account(&budget), (Usd::ZERO, cents(10)), "{policy:?}");
        machine.set(Mode::Answers);
        while !store.is_here() {
            sleep(MS).await;
        }
        assert_eq!(machine.account(&budget), (Usd::ZERO, cents(50)), "{policy:?}");
        // Another node finds it there, and what is given from now on is the machine's to give.
        let other = Remote::new(machine.clone());
        assert!(matches!(reserve(&other, claim(&budget, 51, 51)).await.0, Err(Refused::Exceeded { .. })));
        held(&other, claim(&budget, 44, 44)).await.hold.settle(Charge::new(cents(44)));
        other.flush().await;
        assert!(matches!(own.hold.extend(cents(7), cents(9)).wait().await, Err(Refused::Exceeded { .. })));
        assert_eq!(own.hold.extend(cents(1), cents(9)).wait().await.ok(), Some(cents(6)));
        before.hold.settle(Charge::new(cents(1)));
        own.hold.settle(Charge::new(cents(2)));
        store.flush().await;
        assert_eq!(machine.account(&budget), (cents(47), Usd::ZERO), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_call_was_given_without_an_answer_is_held_there_within_a_second() {
    for mode in [Mode::Lost, Mode::Mute, Mode::Late(100 * MS)] {
        let machine = Machine::new();
        let store = Remote::new(machine.clone()).on_away(TWO);
        let _worker = tokio::spawn(store.run());
        let budget = of("t", 100);
        held(&store, claim(&budget, 1, 1)).await.hold.settle(Charge::new(Usd::ZERO));
        store.flush().await;
        machine.set(mode);
        let own = held(&store, claim(&budget, 20, 20)).await;
        machine.set(Mode::Answers);
        sleep(1000 * MS).await;
        assert_eq!(machine.account(&budget), (Usd::ZERO, cents(20)), "{mode:?}");
        own.hold.settle(Charge::new(cents(3)));
        store.flush().await;
        assert_eq!(machine.account(&budget), (cents(3), Usd::ZERO), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_while_more_is_asked_for_makes_up_for_none_of_it() {
    // Whenever it is asked for more, around the time at which it is told what one call was given without its answer.
    for begin in 900..1100 {
        let machine = Machine::new();
        let store = Remote::new(machine.clone()).on_away(TWO);
        let _worker = tokio::spawn(store.run());
        let budget = of("t", 100);
        let own = held(&store, claim(&budget, 10, 10)).await;
        machine.set(Mode::Lost);
        assert_eq!(own.hold.extend(cents(5), cents(5)).wait().await.ok(), Some(cents(5)));
        machine.set(Mode::Answers);
        sleep(begin * MS).await;
        machine.set(Mode::Late(10 * MS));
        let more = own.hold.extend(cents(7), cents(7)).wait();
        let then = async {
            sleep(MS).await;
            machine.set(Mode::Late(4 * MS));
        };
        assert_eq!(tokio::join!(more, then).0.ok(), Some(cents(7)), "{begin}");
        machine.set(Mode::Answers);
        sleep(2000 * MS).await;
        assert_eq!(machine.account(&budget), (Usd::ZERO, cents(22)), "{begin}");
        own.hold.settle(Charge::new(cents(3)));
        store.flush().await;
        assert_eq!(machine.account(&budget), (cents(3), Usd::ZERO), "{begin}");
    }
}

#[tokio::test(start_paused = true)]
async fn whether_it_is_back_is_not_asked_by_posting_all_that_has_expired() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone());
    let _worker = tokio::spawn(store.run());
    let backlog = |set: Option<usize>| {
        let mut state = machine.0.lock().expect("is sound");
        set.map_or(state.backlog, |steps| std::mem::replace(&mut state.backlog, steps))
    };
    lose(&machine, &store).await;
    // Each step takes as long as a caller would wait.
    backlog(Some(100));
    machine.set(Mode::Late(30 * MS));
    while !store.is_here() {
        sleep(MS).await;
    }
    assert_eq!(backlog(None), 100);
    // And then a few in a second.
    sleep(1500 * MS).await;
    assert_eq!(backlog(None), 96);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_or_goes_on_by_policy_when_the_ledger_is_away() {
    for (policy, more) in [(OnAway::Deny, None), (OnAway::Allow, Some(cents(80))), (TWO, Some(cents(45)))] {
        let machine = Machine::new();
        let store = Remote::new(machine.clone()).on_away(policy);
        let budget = of("t", 100);
        let hold = held(&store, claim(&budget, 10, 10)).await;
        machine.set(Mode::Lost);
        let start = Instant::now();
        assert_eq!(hold.hold.extend(cents(5), cents(80)).wait().await.ok(), more, "{policy:?}");
        assert_eq!(start.elapsed(), 50 * MS);
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_counts_there_and_answers_503_when_it_is_away() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone());
    let _worker = tokio::spawn(store.run());
    let budget = of("t", 100);
    let layer = BudgetLayer::new(Ledger::new(store.clone()), catalog()).budget(budget.clone());
    let service = layer.layer(upstream(|_| answer(&used(10, 500))));
    let response = service.clone().oneshot(chat(r#","max_tokens":2000"#)).await.expect("answers");
    assert_eq!(response.status(), 200);
    assert_eq!(machine.account(&budget), (Usd::ZERO, cents(2)));
    drop(text(response).await);
    sleep(MS).await;
    assert_eq!(machine.account(&budget), (Usd::pico(5_000_000_000), Usd::ZERO));

    machine.set(Mode::Lost);
    let start = Instant::now();
    let response = service.clone().oneshot(chat(r#","max_tokens":2000"#)).await.expect("answers");
    assert_eq!((response.status().as_u16(), start.elapsed()), (503, 50 * MS));
    assert!(text(response).await.contains("budget_unavailable"));
}

/// What a process does, and what the machine does.
#[derive(Clone, Debug)]
enum Op {
    Reserve { most: u64, patience: u64 },
    Settle { which: usize, charge: u64 },
    Drop(usize),
    Extend { which: usize, patience: u64 },
    Machine(Mode),
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let patience = || prop_oneof![Just(1000_u64), 0..60_u64];
    let mode = prop_oneof![
        3 => Just(Mode::Answers),
        1 => Just(Mode::Fails),
        1 => Just(Mode::Lost),
        1 => Just(Mode::Mute),
        2 => (1..700_u32).prop_map(|by| Mode::Late(MS * by)),
    ];
    let op = prop_oneof![
        6 => (1..20_u64, patience()).prop_map(|(most, patience)| Op::Reserve { most, patience }),
        4 => (any::<usize>(), 0..30_u64).prop_map(|(which, charge)| Op::Settle { which, charge }),
        1 => any::<usize>().prop_map(Op::Drop),
        2 => (any::<usize>(), patience()).prop_map(|(which, patience)| Op::Extend { which, patience }),
        2 => mode.prop_map(Op::Machine),
        3 => prop_oneof![0..20_u64, 0..3000_u64].prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..60)
}

/// After it is back, the machine's ledger is what was charged: nothing lost, nothing doubled, nothing left.
async fn check(ops: Vec<Op>, policy: OnAway) {
    let machine = Machine::new();
    let store = Remote::new(machine.clone()).on_away(policy).hold_ttl(Duration::from_secs(3));
    let worker = tokio::spawn(store.run());
    let budget = of("t", 300);
    let mut open: Vec<(HoldId, Held)> = Vec::new();
    let mut charged: Vec<(HoldId, Charge)> = Vec::new();
    for op in ops {
        match op {
            Op::Reserve { most, patience } => {
                let claim = claim(&budget, 1, most);
                let id = claim.id;
                let start = Instant::now();
                let away = !store.is_here();
                let answer = timeout(MS * patience as u32, store.reserve(claim).wait()).await;
                assert!(start.elapsed() <= if away { Duration::ZERO } else { 50 * MS });
                if let Ok(Ok(held)) = answer {
                    open.push((id, held));
                }
            }
            Op::Settle { which, charge } if !open.is_empty() => {
                let (id, held) = open.swap_remove(which % open.len());
                let charge = Charge::new(cents(charge));
                held.hold.settle(charge);
                charged.push((id, charge));
            }
            Op::Drop(which) if !open.is_empty() => {
                let (id, held) = open.swap_remove(which % open.len());
                charged.push((id, unreconciled(held.amount)));
            }
            Op::Extend { which, patience } if !open.is_empty() => {
                let at = which % open.len();
                let held = &mut open[at].1;
                let reply = held.hold.extend(cents(1), cents(4));
                if let Ok(Ok(more)) = timeout(MS * patience as u32, reply.wait()).await {
                    held.amount += more;
                }
            }
            Op::Machine(mode) => machine.set(mode),
            Op::Wait(ms) => sleep(MS * ms as u32).await,
            _ => {}
        }
    }
    machine.set(Mode::Answers);
    sleep(2000 * MS).await;
    assert!(store.is_here());
    for (id, held) in open.drain(..) {
        charged.push((id, unreconciled(held.amount)));
    }
    store.flush().await;
    assert_eq!((store.open(), store.queued()), (0, 0));
    // What was late has arrived too.
    sleep(Duration::from_secs(10)).await;
    for (id, charge) in &charged {
        assert_eq!(machine.ended(*id), Some(*charge));
    }
    let sum: Usd = charged.iter().map(|(_, charge)| charge.amount).sum();
    assert_eq!(machine.account(&budget), (sum, Usd::ZERO));
    worker.abort();
}

/// What is given away by this node alone is never more than its part of what was left, however often the machine goes.
async fn check_share(ops: Vec<Op>, spent: u64, nodes: u32) {
    let machine = Machine::new();
    let policy = OnAway::Local(NonZeroU32::new(nodes).expect("is not 0"));
    let store = Remote::new(machine.clone()).on_away(policy);
    let _worker = tokio::spawn(store.run());
    let budget = of("t", 300);
    machine.spend(&budget, cents(spent));
    let _said = store.balances(std::slice::from_ref(&budget)).await;
    let share = Usd::pico(cents(300 - spent).as_pico() / u128::from(nodes));
    lose(&machine, &store).await;
    let (mut open, mut used): (Vec<Held>, Usd) = (Vec::new(), Usd::ZERO);
    for op in ops {
        match op {
            Op::Reserve { most, .. } => {
                if let Reply::Ready(Ok(held)) = store.reserve(claim(&budget, 1, most * 5)) {
                    open.push(held);
                }
            }
            Op::Settle { which, charge } if !open.is_empty() => {
                let held = open.swap_remove(which % open.len());
                let charge = cents(charge).min(held.amount);
                used += charge;
                held.hold.settle(Charge::new(charge));
            }
            Op::Extend { which, .. } if !open.is_empty() => {
                let at = which % open.len();
                if let Reply::Ready(Ok(more)) = open[at].hold.extend(cents(1), cents(40)) {
                    open[at].amount += more;
                }
            }
            Op::Wait(ms) if ms > 1500 => {
                find(&machine, &store).await;
                lose(&machine, &store).await;
            }
            _ => {}
        }
        assert!(used + open.iter().map(|held| held.amount).sum() <= share);
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("is built")
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_is_doubled(
        ops in ops(),
        policy in prop_oneof![Just(OnAway::Deny), Just(OnAway::Allow), Just(TWO)],
    ) {
        paused().block_on(check(ops, policy));
    }

    #[test]
    fn a_share_is_never_more_than_its_part_of_what_was_left(ops in ops(), spent in 0..300_u64, nodes in 1..5_u32) {
        paused().block_on(check_share(ops, spent, nodes));
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_counts_is_never_asked_for_and_waits_for_nobody() {
    let machine = Machine::new();
    let store = Remote::new(machine.clone()).capacity(2);
    let budget = Budget::counted(Scope::tenant("t"), Window::Lifetime);
    let (first, second) =
        (held(&store, claim(&budget, 1, 10)).await, held(&store, claim(&budget, 1, 10)).await);
    assert_eq!((machine.asked(), first.amount), (0, cents(10)));
    // Nor does an attempt more wait for anybody.
    assert_eq!(first.hold.extend(cents(5), cents(5)).wait().await.ok(), Some(cents(5)));
    // It passes where there is no place for it: nothing is to be refused for the sake of counting. It is posted with others like it, once.
    held(&store, claim(&budget, 1, 10)).await.hold.settle(Charge::new(cents(100)));
    let dropped = held(&store, claim(&budget, 1, 10)).await;
    assert_eq!(dropped.hold.extend(cents(1), cents(5)).wait().await.ok(), Some(cents(5)));
    drop(dropped);
    assert_eq!((machine.asked(), store.open(), store.queued()), (0, 2, 0));
    first.hold.settle(Charge::new(cents(7)));
    store.flush().await;
    assert_eq!((machine.asked(), machine.account(&budget)), (2, (cents(7 + 100 + 15), Usd::ZERO)));
    assert_eq!(store.uncounted(), 0);
    // While the machine is away, calls pass and are posted when it is back.
    lose(&machine, &store).await;
    let third = held(&store, claim(&budget, 1, 10)).await;
    third.hold.settle(Charge::new(cents(2)));
    drop(second);
    machine.set(Mode::Answers);
    store.flush().await;
    assert_eq!(machine.account(&budget), (cents(122 + 2 + 10), Usd::ZERO));
    // The worker posts it too, as soon as there is a place.
    let store = Remote::new(machine.clone()).capacity(1);
    let _worker = tokio::spawn(store.run());
    let open = held(&store, claim(&budget, 1, 10)).await;
    held(&store, claim(&budget, 1, 10)).await.hold.settle(Charge::new(cents(3)));
    sleep(3000 * MS).await;
    assert_eq!(machine.account(&budget), (cents(134), cents(10)));
    open.hold.settle(Charge::new(Usd::ZERO));
    sleep(2000 * MS).await;
    assert_eq!((machine.account(&budget), store.open()), ((cents(137), Usd::ZERO), 0));
    // Beside a cap, it has room for everything also where nobody has heard of it.
    let store = Remote::new(machine.clone()).on_away(TWO);
    let capped = of("capped", 100);
    held(&store, claim(&capped, 1, 1)).await.hold.settle(Charge::new(Usd::ZERO));
    lose(&machine, &store).await;
    let mut both = claim(&capped, 1, 10);
    both.budgets = [Budget::counted(Scope::tenant("new"), Window::Lifetime), capped].into();
    assert_eq!(held(&store, both).await.amount, cents(10));
}

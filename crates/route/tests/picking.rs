//! Who can be picked: orders, tags, context windows, room, health, affinity.

mod groups;

use std::{
    collections::HashMap,
    sync::{Arc, Barrier, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use tokio::time::Instant;
use ziggurat_core::{Cause, Clock};
use ziggurat_route::{
    Affinity, Among, Ask, Cooldown, Group, InvalidGroup, LeastBusy, LowestCost, LowestLatency, LowestUsage,
    Ordered, Picked, Random, Sample, SharedCooldowns, Shuffle, State, TagRules,
};

use crate::groups::*;

#[test]
fn a_group_that_makes_no_sense_is_refused() {
    assert!(matches!(Group::new("g").build(), Err(InvalidGroup::NoDeployments { .. })));
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        let built = group(1).deployment(named("bad").weight(weight)).build();
        let Err(InvalidGroup::Weight { deployment, .. }) = &built else { panic!("{built:?}") };
        assert_eq!(&**deployment, "bad");
    }
    let built = group(2).deployment(named("1")).build().expect_err("has two of one id");
    assert_eq!(built.to_string(), r#"the group "g" has two deployments of the id "1""#);
    assert!(group(1).deployment(named("zero").weight(0.0)).build().is_ok());
}

#[test]
fn the_lowest_order_that_can_be_called_is() {
    let orders = [5, 1, 5, 9, 1];
    let deployments = orders.iter().enumerate().map(|(at, order)| deployment(at).order(*order));
    let mut caller = Caller::new(Group::new("g").deployments(deployments));
    near(&caller.shares(1000), &[0.0, 0.5, 0.0, 0.0, 0.5], 0.05);
    caller.cool(1);
    near(&caller.shares(100), &[0.0, 0.0, 0.0, 0.0, 1.0], 0.0);
    caller.cool(4);
    near(&caller.shares(1000), &[0.5, 0.0, 0.5, 0.0, 0.0], 0.05);
    let (index, permit, last_resort) = one(caller.group.pick(&Ask::new(caller.now, 0).tried(&[0, 2])));
    assert_eq!((index, last_resort), (3, false), "not one that cools down");
    drop(permit);
    // Who comes back is tried by one call, and then is what all are for.
    caller.later(30 * SECOND);
    let (trial, permit, _) = caller.pick();
    assert!([1, 4].contains(&trial));
    caller.succeed(permit);
    let (next, permit, _) = caller.pick();
    assert!([1, 4].contains(&next));
    caller.succeed(permit);
}

#[test]
fn an_input_goes_where_it_fits() {
    let windows = [Some(100), None, Some(1000)];
    let group = |known: usize| {
        let deployments =
            windows.iter().enumerate().filter(move |(_, window)| known == 0 || window.is_some());
        Group::new("g").deployments(deployments.map(|(at, window)| match window {
            Some(tokens) => deployment(at).context_window(*tokens),
            None => deployment(at),
        }))
    };
    let caller = Caller::new(group(0));
    let of = |tokens: u64| {
        let picks = (0..200).map(|_| {
            let ask = caller.ask().input_tokens(Some(tokens));
            one(caller.group.pick(&ask)).0
        });
        let mut all: Vec<_> = picks.collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(of(100), [0, 1, 2]);
    assert_eq!(of(101), [1, 2]);
    assert_eq!(of(1001), [1]);
    let known = group(1).build().expect("is a group");
    let ask = Ask::new(Instant::now(), 0).input_tokens(Some(1001));
    assert!(matches!(known.pick(&ask), Picked::TooLongForAll));
    let ask = ask.input_tokens(Some(500)).tried(&[1]);
    assert!(matches!(known.pick(&ask), Picked::AllTried));
}

#[test]
fn tags_choose_whatever_the_health() {
    let deployments = [("eu", 0), ("eu", 1), ("default", 2)].map(|(tag, id)| deployment(id).tags([tag]));
    let caller = Caller::new(Group::new("g").deployments(deployments).tags(TagRules::Any));
    let eu = [Arc::from("eu")];
    let not_default = ["!default", "us"].map(Arc::from);
    for _ in 0..100 {
        let ask = caller.ask();
        assert_eq!(one(caller.group.pick(&ask)).0, 2);
        assert_ne!(one(caller.group.pick(&ask.tags(&eu))).0, 2);
    }
    assert!(matches!(caller.group.pick(&caller.ask().tags(&not_default)), Picked::NoTag));
    let now = caller.now;
    (0..2).for_each(|at| caller.group.deployments()[at].cool_until(now + (2 - at as u32) * SECOND, now));
    let (index, _permit, last_resort) = one(caller.group.pick(&caller.ask().tags(&eu)));
    assert_eq!((index, last_resort), (1, true), "it stays among its tags, at the soonest to return");
}

#[test]
fn a_group_never_cools_down_to_nothing() {
    let mut caller = Caller::new(group(3));
    (0..3).for_each(|index| {
        caller.cool(index);
        caller.later(SECOND);
    });
    let (index, first, last_resort) = caller.pick();
    assert_eq!((index, last_resort), (0, true));
    let (next, _permit, last_resort) = one(caller.group.pick(&Ask::new(caller.now, 3).tried(&[0])));
    assert_eq!((next, last_resort), (1, true));
    assert!(matches!(caller.group.pick(&Ask::new(caller.now, 3).tried(&[2, 0, 1])), Picked::AllTried));
    // What worked although nobody expected it is well.
    caller.succeed(first);
    assert_eq!(caller.group.deployments()[0].figures(caller.now).state, State::Healthy);
    assert_eq!(caller.group.deployments()[1].figures(caller.now).state, State::Cooling(29 * SECOND - SECOND));
}

#[test]
fn of_several_that_return_together_a_random_one_is_the_last_resort() {
    let caller = Caller::new(group(4));
    let until = caller.now + MINUTE;
    caller.group.deployments().iter().for_each(|deployment| deployment.cool_until(until, caller.now));
    let mut shares = [0.0; 4];
    for _ in 0..4000 {
        let (index, _, last_resort) = caller.pick();
        assert!(last_resort);
        shares[index] += 1.0 / 4000.0;
    }
    near(&shares, &[0.25; 4], 0.03);
}

#[test]
fn while_the_only_one_is_tried_others_are_let_through_too_and_told_so() {
    let mut caller = Caller::new(group(1));
    caller.cool(0);
    caller.later(30 * SECOND);
    let (_, trial, last_resort) = caller.pick();
    assert!(!last_resort);
    let (_, other, last_resort) = caller.pick();
    assert!(last_resort);
    assert_eq!(caller.group.deployments()[0].figures(caller.now).in_flight, 2);
    drop((trial, other));
    let figures = caller.group.deployments()[0].figures(caller.now);
    assert_eq!((figures.state, figures.in_flight), (State::Cooled, 0));
}

/// A long stream does not keep others waiting.
#[test]
fn the_first_content_of_a_trial_lets_others_through() {
    let mut caller = Caller::new(group(2));
    caller.cool(0);
    caller.later(30 * SECOND);
    let (_, mut trial, _) = one(caller.group.pick(&Ask::new(caller.now, 0).tried(&[1])));
    let state = |caller: &Caller| caller.group.deployments()[0].figures(caller.now).state;
    assert_eq!(state(&caller), State::Trial);
    trial.answered(caller.now);
    assert_eq!(state(&caller), State::Healthy);
    assert_eq!(trial.failed(Cause::Upstream, None, caller.now), None, "one failure like others");
    let figures = caller.group.deployments()[0].figures(caller.now);
    assert_eq!((figures.failures, figures.last_failure.map(|last| last.cause)), (2, Some(Cause::Upstream)));
}

#[test]
fn what_is_wrong_with_a_request_is_no_failure_of_the_deployment() {
    let caller = Caller::new(group(1));
    for (cause, failures) in [
        (Cause::InvalidRequest, 0),
        (Cause::ContextLength, 0),
        (Cause::ContentPolicy, 0),
        (Cause::InvalidKey, 1),
        (Cause::Upstream, 2),
    ] {
        let (_, permit, _) = one(caller.group.pick(&Ask::new(caller.now, 0)));
        permit.failed(cause, None, caller.now);
        assert_eq!(caller.group.deployments()[0].figures(caller.now).failures, failures, "{cause:?}");
    }
}

#[test]
fn no_more_run_at_once_than_may() {
    let deployments = [deployment(0).max_parallel(3), deployment(1).max_parallel(5)];
    let group = Group::new("g").deployments(deployments).build().expect("is a group");
    let (now, start) = (Instant::now(), Barrier::new(8));
    let (held, busy) = (Mutex::new(Vec::new()), Mutex::new(0));
    thread::scope(|scope| {
        for seed in 0..8 {
            let (group, start, held, busy) = (&group, &start, &held, &busy);
            scope.spawn(move || {
                start.wait();
                for at in 0..4 {
                    match group.pick(&Ask::new(now, seed * 4 + at)) {
                        Picked::One { permit, .. } => held.lock().unwrap().push(permit),
                        Picked::AllBusy => *busy.lock().unwrap() += 1,
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!((held.lock().unwrap().len(), busy.into_inner().unwrap()), (8, 24));
    held.lock().unwrap().clear();
    assert!(matches!(group.pick(&Ask::new(now, 0)), Picked::One { last_resort: false, .. }));
}

#[test]
fn of_many_threads_one_tries_who_has_cooled_down() {
    for round in 0..50 {
        let mut caller = Caller::new(group(2).strategy(Ordered));
        caller.cool(0);
        caller.later(30 * SECOND);
        let (group, now, start) = (&caller.group, caller.now, &Barrier::new(8));
        let picked: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|seed| {
                    scope.spawn(move || {
                        start.wait();
                        one(group.pick(&Ask::new(now, round * 8 + seed)))
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("does not panic")).collect()
        });
        assert_eq!(picked.iter().filter(|(index, ..)| *index == 0).count(), 1);
        assert!(picked.iter().all(|(.., last_resort)| !last_resort));
        drop(picked);
        assert!(group.deployments().iter().all(|deployment| deployment.figures(now).in_flight == 0));
    }
}

#[test]
fn closures_choose_and_what_makes_no_sense_is_not_followed() {
    let last = |among: &Among<'_>| (0..among.len()).rev().find(|index| among.can(*index));
    let caller = Caller::new(group(3).strategy(last));
    assert_eq!(caller.pick().0, 2);
    caller.cool(2);
    assert_eq!(caller.pick().0, 1);
    for bad in [Some(7), Some(0), None] {
        let caller = Caller::new(group(3).strategy(move |_: &Among<'_>| bad));
        caller.cool(0);
        near(&caller.shares(1000), &[0.0, 0.5, 0.5], 0.05);
    }
}

#[test]
fn calls_that_belong_together_go_to_one_place_and_few_move_when_it_is_gone() {
    let weights = [1.0, 2.0, 1.0, 4.0, 0.0];
    let deployments = weights.iter().enumerate().map(|(at, weight)| deployment(at).weight(*weight));
    let mut caller = Caller::new(Group::new("g").deployments(deployments));
    let places = |caller: &Caller| -> Vec<usize> {
        let sessions = (0..8000).map(|session: u32| Affinity::of([session.to_le_bytes()]));
        sessions.map(|affinity| one(caller.group.pick(&caller.ask().affinity(Some(affinity)))).0).collect()
    };
    let before = places(&caller);
    assert_eq!(before, places(&caller));
    let shares: Vec<_> =
        (0..5).map(|at| before.iter().filter(|place| **place == at).count() as f64 / 8000.0).collect();
    near(&shares, &[0.125, 0.25, 0.125, 0.5, 0.0], 0.02);
    caller.cool(1);
    let without = places(&caller);
    for (before, without) in before.iter().zip(&without) {
        assert!(before == without || (*before == 1 && *without != 1));
    }
    caller.later(30 * SECOND);
    let (index, permit, _) = one(caller.group.pick(&caller.ask().tried(&[0, 2, 3, 4])));
    assert_eq!(index, 1);
    caller.succeed(permit);
    assert_eq!(before, places(&caller));
    // All that are left have no share: still one of them.
    (0..4).for_each(|index| caller.cool(index));
    assert!(places(&caller).iter().all(|place| *place == 4));
}

#[test]
fn an_affinity_is_the_same_on_every_node_and_tells_parts_apart() {
    assert_eq!(Affinity::of(["session", "42"]), Affinity(1_223_583_073_198_190_812));
    assert_ne!(Affinity::of(["ab", "c"]), Affinity::of(["a", "bc"]));
}

#[test]
fn the_same_deployment_in_two_groups_and_under_two_names_has_one_health() {
    let shared = named("shared");
    let other = shared.sharing(shared.target().clone().id("other-name"));
    let caller = Caller::new(Group::new("a").deployment(shared.clone()));
    caller.cool(0);
    let now = caller.now;
    for deployment in [shared, other.clone(), other.clone().weight(2.0)] {
        assert_eq!(deployment.figures(now).state, State::Cooling(30 * SECOND));
    }
    let group = Group::new("b").deployment(other).build().expect("is a group");
    assert!(matches!(group.pick(&Ask::new(now, 0)), Picked::One { last_resort: true, .. }));
}

#[derive(Default)]
struct Told(Mutex<Vec<(String, SystemTime)>>);

impl SharedCooldowns for Told {
    fn tell(&self, deployment: &str, until: SystemTime) {
        self.0.lock().expect("is not poisoned").push((deployment.to_owned(), until));
    }
}

#[test]
fn other_nodes_are_told_until_when() {
    let (told, epoch) = (Arc::new(Told::default()), SystemTime::UNIX_EPOCH);
    let clock = Clock::new(move || epoch + 1000 * SECOND);
    let own = named("own").cooldown(Cooldown::allowed_fails(0, 5 * SECOND));
    let caller = Caller::new(group(1).deployment(own).share(told.clone(), clock));
    let fail = |tried: &[usize], hint| {
        let (_, permit, _) = one(caller.group.pick(&caller.ask().tried(tried)));
        permit.failed(Cause::RateLimit, hint, caller.now)
    };
    assert_eq!(fail(&[1], None), None);
    assert_eq!(fail(&[1], Some(7 * SECOND)), Some(7 * SECOND));
    assert_eq!(fail(&[0], None), Some(5 * SECOND), "by its own settings");
    let told = std::mem::take(&mut *told.0.lock().unwrap());
    assert_eq!(told, [("0".to_owned(), epoch + 1007 * SECOND), ("own".to_owned(), epoch + 1005 * SECOND)]);
}

#[test]
fn permits_count_what_is_used() {
    let mut caller = Caller::new(group(1));
    let ask = caller.ask().input_tokens(Some(100));
    let (_, one_, _) = one(caller.group.pick(&ask));
    let (_, two, _) = one(caller.group.pick(&ask));
    let figures = |caller: &Caller| {
        let figures = caller.group.deployments()[0].figures(caller.now);
        (figures.in_flight, figures.requests, figures.tokens, figures.successes)
    };
    assert_eq!(figures(&caller), (2, 2, 200, 0));
    one_.succeeded(&Sample::new(SECOND).tokens(Some(50), Some(140)), caller.now);
    assert_eq!(figures(&caller), (1, 2, 240, 1));
    drop(two);
    assert_eq!(figures(&caller), (0, 2, 240, 1));
    caller.later(71 * SECOND);
    assert_eq!(figures(&caller), (0, 0, 0, 1));
}

proptest! {
    /// Whatever the strategy and the state: what is picked can be called, if any can; it was not tried; and something is picked as long as
    /// something is left.
    #[test]
    fn what_is_picked_can_be_called_if_any_can(
        members in prop::collection::vec((0_u32..3, 0.0_f64..2.0, 0_u64..40), 1..90),
        tried in prop::collection::btree_set(0_usize..90, 0..20),
        strategy in 0_u8..7,
        seed: u64,
        affinity in prop::option::of(any::<u64>()),
    ) {
        let deployments = members.iter().enumerate().map(|(at, (order, weight, _))| {
            deployment(at).order(*order).weight(if *weight < 0.3 { 0.0 } else { *weight })
        });
        let builder = Group::new("g").deployments(deployments);
        let group = match strategy {
            0 => builder.strategy(Shuffle),
            1 => builder.strategy(LeastBusy),
            2 => builder.strategy(LowestCost),
            3 => builder.strategy(LowestUsage),
            4 => builder.strategy(LowestLatency::new()),
            5 => builder.strategy(Ordered),
            _ => builder.strategy(|_: &Among<'_>| None),
        };
        let group = group.build().expect("is a group");
        let begin = Instant::now();
        for (deployment, (_, _, cooling)) in group.deployments().iter().zip(&members) {
            deployment.cool_until(begin + Duration::from_secs(*cooling), begin);
        }
        let now = begin + 20 * SECOND;
        let mut tried: Vec<_> = tried.into_iter().filter(|at| *at < members.len()).collect();
        let mut random = Random::new(seed);
        while tried.len() < members.len() {
            let left = || members.iter().enumerate().filter(|(at, _)| !tried.contains(at));
            let level = left().filter(|(_, (_, _, cooling))| *cooling <= 20).map(|(_, (order, ..))| *order).min();
            let ask = Ask::new(now, random.draw()).tried(&tried).affinity(affinity.map(Affinity));
            let (index, permit, last_resort) = one(group.pick(&ask));
            prop_assert!(!tried.contains(&index));
            match level {
                Some(level) => {
                    prop_assert_eq!(members[index].0, level);
                    prop_assert!(members[index].2 <= 20 && !last_resort);
                }
                None => {
                    let soonest = left().map(|(_, (_, _, cooling))| *cooling).min();
                    prop_assert_eq!(Some(members[index].2), soonest);
                    prop_assert!(last_resort);
                }
            }
            drop(permit);
            tried.push(index);
        }
        prop_assert!(matches!(group.pick(&Ask::new(now, 0).tried(&tried)), Picked::AllTried));
    }
}

#[test]
fn the_same_seed_makes_the_same_choice() {
    let group = group(100).build().expect("is a group");
    let now = Instant::now();
    let mut chosen = HashMap::new();
    for seed in 0..200 {
        let [one, other] = [(); 2].map(|()| one(group.pick(&Ask::new(now, seed))).0);
        assert_eq!(one, other);
        *chosen.entry(one).or_insert(0) += 1;
    }
    assert!(chosen.len() > 70);
}

//! What share of the calls each deployment gets, over thousands of them.

mod groups;

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use ziggurat_core::{Cause, Usd};
use ziggurat_route::{
    Ask, Deployment, Group, LeastBusy, LowestCost, LowestLatency, LowestUsage, Ordered, Permit, Picked,
    Sample, State,
};

use crate::groups::*;

fn of(deployments: impl IntoIterator<Item = Deployment>) -> Caller {
    Caller::new(Group::new("g").deployments(deployments))
}

#[test]
fn shares_are_as_the_weights_and_nobody_starves() {
    type Settings = (Option<f64>, Option<u64>, Option<u64>);
    let (none, w) = ((None, None, None), |weight| (Some(weight), None, None));
    let (rpm, tpm) = (|rpm| (None, Some(rpm), None), |tpm| (None, None, Some(tpm)));
    let cases: [(&[Settings], &[f64]); 10] = [
        (&[none, none, none, none], &[0.25; 4]),
        (&[w(9.0), w(1.0)], &[0.9, 0.1]),
        (&[w(1e300), w(3e300)], &[0.25, 0.75]),
        (&[rpm(900), rpm(100)], &[0.9, 0.1]),
        (&[tpm(10), (None, Some(90), Some(30))], &[0.5, 0.5]),
        (&[w(1.0), none, w(3.0)], &[1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]),
        (&[w(0.0), w(1.0), none], &[0.0, 0.5, 0.5]),
        (&[w(0.0), w(0.0)], &[0.5, 0.5]),
        (&[w(0.0), rpm(10), rpm(30)], &[0.0, 0.25, 0.75]),
        (&[w(0.0), none], &[0.0, 1.0]),
    ];
    for (settings, expected) in cases {
        let caller = of(settings.iter().enumerate().map(|(at, (weight, rpm, tpm))| {
            let mut made = deployment(at);
            if let Some(weight) = weight {
                made = made.weight(*weight);
            }
            if let Some(rpm) = rpm {
                made = made.requests_per_minute(*rpm);
            }
            if let Some(tpm) = tpm {
                made = made.tokens_per_minute(*tpm);
            }
            made
        }));
        near(&caller.shares(20_000), expected, 0.015);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Also where most of them cannot be called, so that draws seldom meet one that can.
    #[test]
    fn those_that_are_left_share_by_their_weights(
        members in prop::collection::vec((0.1_f64..5.0, prop::bool::weighted(0.3)), 2..30)
    ) {
        prop_assume!(members.iter().any(|(_, well)| *well));
        let caller = of(members.iter().enumerate().map(|(at, (weight, _))| deployment(at).weight(*weight)));
        for (deployment, (_, well)) in caller.group.deployments().iter().zip(&members) {
            if !well {
                deployment.cool_until(caller.now + MINUTE, caller.now);
            }
        }
        let total: f64 = members.iter().filter(|(_, well)| *well).map(|(weight, _)| weight).sum();
        let expected: Vec<_> =
            members.iter().map(|(weight, well)| if *well { weight / total } else { 0.0 }).collect();
        near(&caller.shares(10_000), &expected, 0.03);
    }
}

#[test]
fn the_least_busy_is_that_with_the_fewest_in_flight() {
    let caller = Caller::new(group(3).strategy(LeastBusy));
    near(&caller.shares(9000), &[1.0 / 3.0; 3], 0.03);
    // Also where those that are not busy stand side by side.
    let (busy, held, _) = caller.pick();
    let mut expected = [0.5; 3];
    expected[busy] = 0.0;
    near(&caller.shares(9000), &expected, 0.03);
    drop(held);
    let mut held: Vec<(usize, Permit)> =
        (0..300).map(|_| caller.pick()).map(|(at, permit, _)| (at, permit)).collect();
    let running = |caller: &Caller| -> Vec<u64> {
        caller.group.deployments().iter().map(|it| it.figures(caller.now).in_flight).collect()
    };
    assert_eq!(running(&caller), [100, 100, 100]);
    // One that answers more slowly has as many in flight, and so gets fewer.
    held.retain(|(at, _)| *at == 0);
    assert_eq!(running(&caller), [100, 0, 0]);
    let more: Vec<_> = (0..100).map(|_| caller.pick()).collect();
    assert_eq!(running(&caller), [100, 50, 50]);
    drop((more, held));
}

#[test]
fn of_many_the_least_busy_of_some_is_taken() {
    let caller = Caller::new(group(1000).strategy(LeastBusy));
    let held: Vec<_> = (0..5000).map(|_| caller.pick()).collect();
    let most = caller.group.deployments().iter().map(|it| it.figures(caller.now).in_flight).max();
    // Evenly, it would be 5; at random, 15.
    assert!(most.is_some_and(|most| most <= 8), "{most:?}");
    drop(held);
}

/// Calls one after the other, each of which takes as long as `time` says.
fn timed(caller: &mut Caller, calls: usize, time: impl Fn(usize, Duration) -> Option<Duration>) -> Vec<f64> {
    let (mut counts, begin) = (vec![0.0; caller.group.deployments().len()], caller.now);
    for _ in 0..calls {
        let (index, permit, _) = caller.pick();
        counts[index] += 1.0 / calls as f64;
        let taken = time(index, caller.now - begin);
        caller.later(taken.unwrap_or(SECOND / 100));
        match taken {
            Some(taken) => permit.succeeded(&Sample::new(taken), caller.now),
            // Not enough of them in a row to cool down: that is not what is looked at here.
            None => drop(permit.failed(Cause::InvalidRequest, None, caller.now)),
        }
    }
    counts
}

#[test]
fn the_fastest_gets_all_but_what_explores() {
    let millis = [300, 200, 400, 215];
    let time = |index: usize, _| Some(Duration::from_millis(millis[index]));
    let mut caller = Caller::new(group(4).strategy(LowestLatency::new().explore(0.0).buffer(0.0)));
    let first: Vec<_> = (0..4)
        .map(|_| {
            let (index, permit, _) = caller.pick();
            permit.succeeded(&Sample::new(Duration::from_millis(millis[index])), caller.now);
            index
        })
        .collect();
    let mut all = first.clone();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3], "each is tried first, in the order {first:?}");
    near(&timed(&mut caller, 10_000, time), &[0.0, 1.0, 0.0, 0.0], 0.001);
    // Two of them are within 10 %, and a tenth is spread over the four.
    let mut caller = Caller::new(group(4).strategy(LowestLatency::new().explore(0.1)));
    near(&timed(&mut caller, 10_000, time), &[0.025, 0.475, 0.025, 0.475], 0.02);
}

#[test]
fn what_was_slow_is_seen_to_be_fast_again() {
    let mut caller = Caller::new(group(2).strategy(LowestLatency::new()));
    // The first is slow for ten minutes, and then much faster than the other.
    let time = |index: usize, since: Duration| {
        Some(match (index, since < 10 * MINUTE) {
            (0, true) => Duration::from_secs(3),
            (0, false) => Duration::from_millis(100),
            _ => Duration::from_millis(500),
        })
    };
    let while_slow = timed(&mut caller, 1000, time);
    assert!(while_slow[0] < 0.03, "{while_slow:?}");
    caller.later(10 * MINUTE);
    timed(&mut caller, 1000, |index, _| time(index, 11 * MINUTE));
    let when_fast = timed(&mut caller, 1000, |index, _| time(index, 11 * MINUTE));
    assert!(when_fast[0] > 0.95, "{when_fast:?}");
}

#[test]
fn failing_fast_is_not_fast() {
    let mut caller = Caller::new(group(2).strategy(LowestLatency::new()));
    timed(&mut caller, 100, |index, _| Some(if index == 0 { 2 * SECOND } else { SECOND }));
    let before = caller.group.deployments()[0].figures(caller.now);
    let shares = timed(&mut caller, 1000, |index, _| (index == 1).then_some(SECOND));
    assert!(shares[0] < 0.03, "{shares:?}");
    let after = caller.group.deployments()[0].figures(caller.now);
    assert_eq!((before.first_token, before.successes), (after.first_token, after.successes));
    // Nor is what nobody knows as it always fails: it is tried once a minute, and by what explores.
    let mut caller = Caller::new(group(2).strategy(LowestLatency::new()));
    let shares = timed(&mut caller, 1000, |index, _| (index == 1).then_some(SECOND));
    assert!(shares[0] < 0.05, "{shares:?}");
}

#[test]
fn one_call_at_a_time_tries_what_nobody_knows() {
    let caller = Caller::new(group(2).strategy(LowestLatency::new().explore(0.0)));
    let (known, permit, _) = caller.pick();
    caller.succeed(permit);
    let (unknown, permit, _) = caller.pick();
    assert_ne!(unknown, known);
    for _ in 0..100 {
        let (index, other, _) = caller.pick();
        assert_eq!(index, known);
        caller.succeed(other);
    }
    caller.succeed(permit);
}

#[test]
fn the_cheapest_that_can_be_called_is() {
    let prices = [Some(30), Some(5), None, Some(5), Some(0)];
    let deployments = prices.iter().enumerate().map(|(at, price)| match price {
        Some(cents) => deployment(at).price(Usd::cents(*cents)),
        None => deployment(at),
    });
    let caller = Caller::new(Group::new("g").deployments(deployments).strategy(LowestCost));
    for (expected, next) in [
        ([0.0, 0.0, 0.0, 0.0, 1.0], 4),
        ([0.0, 0.5, 0.0, 0.5, 0.0], 1),
        ([0.0, 0.0, 0.0, 1.0, 0.0], 3),
        ([1.0, 0.0, 0.0, 0.0, 0.0], 0),
        ([0.0, 0.0, 1.0, 0.0, 0.0], 2),
    ] {
        near(&caller.shares(4000), &expected, 0.03);
        caller.cool(next);
    }
}

#[test]
fn the_first_that_can_be_called_is() {
    let caller = Caller::new(group(3).strategy(Ordered));
    for at in 0..3 {
        assert_eq!(caller.pick().0, at);
        caller.cool(at);
    }
}

fn spend(caller: &Caller, tokens: u64) -> Option<usize> {
    let Picked::One { index, permit, .. } = caller.group.pick(&caller.ask().input_tokens(Some(tokens / 2)))
    else {
        return None;
    };
    permit.succeeded(&Sample::new(SECOND).tokens(None, Some(tokens)), caller.now);
    Some(index)
}

fn used(caller: &Caller) -> Vec<(u64, u64)> {
    let figures = caller.group.deployments().iter().map(|it| it.figures(caller.now));
    figures.map(|figures| (figures.requests, figures.tokens)).collect()
}

#[test]
fn usage_is_spread_as_the_limits_are() {
    let deployments = [
        deployment(0).tokens_per_minute(10_000),
        deployment(1).tokens_per_minute(30_000),
        // Compared as if it had the mean of the others.
        deployment(2),
    ];
    let caller = Caller::new(Group::new("g").deployments(deployments).strategy(LowestUsage));
    (0..300).for_each(|_| assert!(spend(&caller, 100).is_some()));
    assert_eq!(used(&caller), [(50, 5000), (150, 15_000), (100, 10_000)]);

    let plain = Caller::new(group(3).strategy(LowestUsage));
    (0..300).for_each(|_| assert!(spend(&plain, 100).is_some()));
    assert_eq!(used(&plain), [(100, 10_000); 3], "without limits, the tokens");
}

#[test]
fn nobody_is_called_above_a_limit_while_another_is_below() {
    let deployments = [
        deployment(0).requests_per_minute(20).tokens_per_minute(1_000_000),
        deployment(1).requests_per_minute(1000).tokens_per_minute(5000),
    ];
    let mut caller = Caller::new(Group::new("g").deployments(deployments).strategy(LowestUsage));
    for minute in 0..3 {
        // The limits are 20 calls of the one, and 50 of the other.
        (0..70).for_each(|_| assert!(spend(&caller, 100).is_some()));
        let [(requests, _), (_, tokens)] = used(&caller)[..] else { panic!("there are two") };
        assert_eq!((requests, tokens), (20, 5000), "in minute {minute}");
        assert!(spend(&caller, 100).is_some(), "beyond all limits, still somebody answers");
        caller.later(MINUTE + 11 * SECOND);
    }
}

#[test]
fn who_has_no_limit_is_called_where_the_others_are_at_theirs() {
    let limited = [deployment(0).requests_per_minute(10), deployment(0).tokens_per_minute(1000)];
    for limited in limited {
        let group = Group::new("g").deployment(limited).deployment(deployment(1)).strategy(LowestUsage);
        let caller = Caller::new(group);
        (0..100).for_each(|_| assert!(spend(&caller, 100).is_some()));
        assert_eq!(used(&caller), [(10, 1000), (90, 9000)]);
    }
}

/// A provider that fails is left alone, comes back by one trial, and gets its share again.
#[test]
fn a_provider_that_returns_gets_its_share_again() {
    let mut caller = Caller::new(group(2));
    let mut run = |seconds: u32, fails: bool| {
        let (mut to_first, mut failed, calls) = (0_u32, 0_u32, seconds * 100);
        for _ in 0..calls {
            let (index, permit, last_resort) = caller.pick();
            assert!(!last_resort);
            to_first += u32::from(index == 0);
            if index == 0 && fails {
                failed += 1;
                permit.failed(Cause::Internal, None, caller.now);
            } else {
                caller.succeed(permit);
            }
            caller.later(SECOND / 100);
        }
        (f64::from(to_first) / f64::from(calls), failed)
    };
    assert!((run(10, false).0 - 0.5).abs() < 0.05);
    // 5 calls at once, and then one after 30, 60, 90 seconds more.
    assert_eq!(run(200, true).1, 5 + 3);
    run(120, false);
    assert!((run(10, false).0 - 0.5).abs() < 0.05);
}

/// F9, at 30 %: below the rate nothing is left alone for long, and nobody is let through to a provider that cools down.
#[test]
fn a_provider_that_fails_in_part_keeps_most_of_its_calls() {
    let mut caller = Caller::new(group(2));
    let (mut to_first, mut cooled) = (0, 0);
    for call in 0..20_000 {
        let (index, permit, last_resort) = caller.pick();
        assert!(!last_resort);
        let before = caller.group.deployments()[index].figures(caller.now).state;
        assert!(matches!(before, State::Healthy | State::Trial));
        to_first += u32::from(index == 0);
        if index == 0 && call % 10 < 3 {
            cooled += u32::from(permit.failed(Cause::Internal, None, caller.now).is_some());
        } else {
            caller.succeed(permit);
        }
        caller.later(SECOND / 100);
    }
    assert!(cooled <= 6, "{cooled}");
    assert!(to_first > 4000, "{to_first}");
}

/// F5: while a provider has asked to be left alone it is, by all; then one asks.
#[test]
fn a_provider_that_says_when_is_called_then() {
    let mut caller = Caller::new(group(3));
    let (mut free_at, mut refused) = (caller.now, 0);
    for call in 0..60_000_u32 {
        let (index, permit, last_resort) = caller.pick();
        assert!(!last_resort);
        if index == 0 {
            assert!(caller.now >= free_at, "{:?} early", free_at - caller.now);
            let hint = SECOND * (1 + call % 90);
            assert_eq!(permit.failed(Cause::RateLimit, Some(hint), caller.now), Some(hint.min(MINUTE)));
            (free_at, refused) = (caller.now + hint.min(MINUTE), refused + 1);
        } else {
            caller.succeed(permit);
        }
        caller.later(SECOND / 100);
    }
    assert!((10..100).contains(&refused), "{refused}");
}

/// F1: the client's load is 100 calls a second for a minute, all fail, and each would be tried again twice.
#[test]
fn a_failing_provider_is_given_little_more_than_the_load() {
    for (before, members) in [(0, 1), (10_000, 1), (0, 3)] {
        let mut caller = Caller::new(group(members));
        let group = caller.group.clone();
        for _ in 0..before {
            group.retry_budget().deposit(caller.now);
        }
        let (calls, mut attempts) = (6000, 0);
        for _ in 0..calls {
            let mut tried = Vec::new();
            for done in 0.. {
                let ask = Ask::new(caller.now, caller.random.borrow_mut().draw());
                let Picked::One { index, permit, .. } = group.pick(&ask.tried(&tried)) else { break };
                attempts += 1;
                permit.failed(Cause::Internal, None, caller.now);
                if members > 1 {
                    tried.push(index);
                }
                if !group.retry().should_retry(Cause::Internal, done)
                    || !group.retry_budget().withdraw(caller.now)
                {
                    break;
                }
            }
            caller.later(SECOND / 100);
        }
        assert!(attempts <= calls * 12 / 10 + 600, "{attempts} attempts");
        assert!(
            attempts <= calls + 3 * 60 + 100,
            "{attempts} attempts: what a second adds, and what was kept"
        );
    }
}

#[test]
fn time_is_a_value() {
    let group = group(1).build().expect("is a group");
    let later = Instant::now() + 1_000_000 * MINUTE;
    assert!(matches!(group.pick(&Ask::new(later, 0)), Picked::One { .. }));
}

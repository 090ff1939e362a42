//! The circuit breaker, step by step, under random steps, and under threads.

use std::{
    sync::{Barrier, atomic::AtomicUsize},
    thread,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A deployment at a time of its own.
struct Bench {
    health: Health,
    cooldown: Cooldown,
    now: Moment,
}

impl Bench {
    fn new(cooldown: Cooldown) -> Self {
        Self { health: Health::new(), cooldown, now: Moment::of(Instant::now()) }
    }

    fn later(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn enter(&self) -> Option<Role> {
        self.health.enter(self.now)
    }

    fn fail(&self, role: Role, cause: Cause, hint: Option<Duration>) -> Option<Duration> {
        let until = self.health.failed(role, cause, hint, self.now, &self.cooldown)?;
        assert_eq!(self.state(), State::Cooling(until.since(self.now)));
        Some(until.since(self.now))
    }

    /// A call that fails; for how long it cools down then.
    fn failing(&self, cause: Cause) -> Option<Duration> {
        self.fail(self.enter().expect("may be called"), cause, None)
    }

    fn succeed(&self, role: Role) {
        self.health.succeeded(role, self.now, &self.cooldown);
    }

    fn succeeding(&self) {
        self.succeed(self.enter().expect("may be called"));
    }

    fn state(&self) -> State {
        self.health.state(self.now)
    }
}

fn in_a_row() -> Cooldown {
    Cooldown::default().rate(None)
}

/// F8.
#[test]
fn five_failures_in_a_row_eject_for_30_seconds_each_time_longer() {
    let mut bench = Bench::new(in_a_row());
    for _ in 0..4 {
        assert_eq!(bench.failing(Cause::Internal), None);
    }
    bench.succeeding();
    for _ in 0..4 {
        assert_eq!(bench.failing(Cause::Overloaded), None);
    }
    assert_eq!(bench.failing(Cause::Upstream), Some(30 * SECOND));
    for n in 2..15 {
        let before = 30 * SECOND * (n - 1);
        bench.later(before.min(300 * SECOND) - Duration::from_nanos(1));
        assert_eq!(bench.enter(), None);
        bench.later(Duration::from_nanos(1));
        assert_eq!(bench.state(), State::Cooled);
        assert_eq!(bench.failing(Cause::Timeout), Some((30 * SECOND * n).min(300 * SECOND)));
    }
    bench.later(300 * SECOND);
    bench.succeeding();
    assert_eq!(bench.state(), State::Healthy);
    for _ in 0..4 {
        assert_eq!(bench.failing(Cause::Internal), None);
    }
    assert_eq!(bench.failing(Cause::Internal), Some(30 * SECOND), "what was before is forgiven");
}

/// F9.
#[test]
fn half_of_ten_calls_of_ten_seconds_eject() {
    let mut bench = Bench::new(Cooldown::default().consecutive(None));
    for _ in 0..4 {
        bench.succeeding();
        assert_eq!(bench.failing(Cause::Internal), None);
    }
    bench.succeeding();
    assert_eq!(bench.failing(Cause::Internal), Some(30 * SECOND), "the tenth");
    bench.later(30 * SECOND);
    bench.succeeding();
    // 4 of 10 are not enough, and calls of long ago say nothing.
    for _ in 0..6 {
        bench.succeeding();
    }
    for _ in 0..4 {
        assert_eq!(bench.failing(Cause::Internal), None);
    }
    bench.later(12 * SECOND);
    for _ in 0..9 {
        assert_eq!(bench.failing(Cause::Internal), None);
    }
    assert_eq!(bench.failing(Cause::Internal), Some(30 * SECOND));
}

#[test]
fn what_the_caller_did_wrong_never_counts() {
    let bench = Bench::new(Cooldown::default().allowed_fails_for(Kind::BadRequest, 0));
    for cause in [
        Cause::InvalidRequest,
        Cause::InvalidKey,
        Cause::PermissionDenied,
        Cause::ModelNotFound,
        Cause::NotFound,
        Cause::MethodNotAllowed,
        Cause::Conflict,
        Cause::TooLarge,
        Cause::UnsupportedMediaType,
        Cause::Unprocessable,
        Cause::ContextLength,
        Cause::ContentPolicy,
    ] {
        for _ in 0..100 {
            let role = bench.enter().expect("may be called");
            assert_eq!(bench.fail(role, cause, Some(SECOND)), None, "{cause:?}");
        }
    }
    assert_eq!(bench.state(), State::Healthy);
    assert_eq!(bench.failing(Cause::Internal), None);
}

/// F5.
#[test]
fn a_hint_cools_at_once_for_as_long_as_it_says_up_to_a_minute() {
    for (hint, expected) in [
        (SECOND, Some(SECOND)),
        (60 * SECOND, Some(60 * SECOND)),
        (120 * SECOND, Some(60 * SECOND)),
        (Duration::MAX, Some(60 * SECOND)),
        (Duration::ZERO, None),
    ] {
        for cause in [Cause::RateLimit, Cause::Overloaded] {
            let bench = Bench::new(Cooldown::default());
            let role = bench.enter().expect("may be called");
            assert_eq!(bench.fail(role, cause, Some(hint)), expected, "{hint:?}");
        }
    }
    let bench = Bench::new(Cooldown::default());
    assert_eq!(bench.failing(Cause::RateLimit), None, "without a hint it is a failure like others");
    assert_eq!(bench.failing(Cause::Quota), Some(30 * SECOND), "a quota does not come back by trying");
}

#[test]
fn only_a_hint_makes_a_cooling_down_longer() {
    let mut bench = Bench::new(Cooldown::default());
    let [early, other, third] = [(); 3].map(|()| bench.enter().expect("may be called"));
    assert_eq!(bench.failing(Cause::Quota), Some(30 * SECOND));
    bench.later(10 * SECOND);
    assert_eq!(bench.fail(early, Cause::Internal, None), None);
    assert_eq!(bench.fail(other, Cause::RateLimit, Some(SECOND)), None);
    bench.succeed(third);
    assert_eq!(bench.state(), State::Cooling(20 * SECOND));
    let last = Role::LastResort(bench.health.record().episode);
    assert_eq!(bench.fail(last, Cause::RateLimit, Some(25 * SECOND)), Some(25 * SECOND));
    bench.succeed(last);
    assert_eq!(bench.state(), State::Cooling(25 * SECOND), "it was of the cooling down before");
    let last = bench.health.enter_anyway(bench.now);
    bench.succeed(last);
    assert_eq!(bench.state(), State::Healthy);
}

#[test]
fn one_trial_is_let_through_until_it_is_over() {
    let mut bench = Bench::new(in_a_row());
    bench.failing(Cause::Quota);
    bench.later(30 * SECOND);
    let trial = bench.enter().expect("is the trial");
    assert!(matches!(trial, Role::Trial(_)));
    assert_eq!((bench.enter(), bench.state()), (None, State::Trial));
    bench.health.left(trial);
    assert_eq!(bench.state(), State::Cooled, "who left says nothing");
    let trial = bench.enter().expect("is the next trial");
    assert_eq!(bench.fail(trial, Cause::InvalidRequest, None), None);
    let trial = bench.enter().expect("is the next trial");
    bench.health.cool_until(bench.now, bench.now);
    assert_eq!(bench.state(), State::Trial, "what is over says nothing");
    // Another node knows better in the meantime.
    bench.health.cool_until(bench.now.after(7 * SECOND), bench.now);
    bench.succeed(trial);
    bench.health.left(trial);
    assert_eq!(bench.state(), State::Cooling(7 * SECOND));
    bench.health.cool_until(bench.now.after(SECOND), bench.now);
    assert_eq!(bench.state(), State::Cooling(7 * SECOND), "never shorter");
    bench.health.recovered();
    assert_eq!(bench.state(), State::Healthy);
}

#[test]
fn litellm_counts_the_failures_of_a_minute() {
    let cooldown = Cooldown::allowed_fails(3, 5 * SECOND).allowed_fails_for(Kind::RateLimit, 1);
    let mut bench = Bench::new(cooldown);
    for _ in 0..3 {
        bench.succeeding();
        assert_eq!(bench.failing(Cause::Internal), None);
    }
    assert_eq!(bench.failing(Cause::Timeout), Some(5 * SECOND));
    bench.later(5 * SECOND);
    assert_eq!(
        bench.failing(Cause::Internal),
        Some(5 * SECOND),
        "the trial, and no longer than the first time"
    );
    bench.later(5 * SECOND);
    bench.succeeding();
    assert_eq!(bench.failing(Cause::RateLimit), None);
    assert_eq!(bench.failing(Cause::RateLimit), Some(5 * SECOND));

    let never = Bench::new(Cooldown::allowed_fails(0, Duration::ZERO));
    let disabled = Bench::new(Cooldown::disabled());
    for bench in [never, disabled] {
        for _ in 0..100 {
            assert_eq!(bench.failing(Cause::Internal), None);
            assert_eq!(bench.state(), State::Healthy);
        }
    }
}

#[test]
fn of_many_threads_one_gets_the_trial() {
    let mut bench = Bench::new(in_a_row());
    for _ in 0..50 {
        bench.failing(Cause::Quota);
        bench.later(300 * SECOND);
        let (start, trials) = (Barrier::new(8), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    if bench.enter().is_some() {
                        trials.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(trials.into_inner(), 1);
        let episode = bench.health.record().episode;
        bench.health.left(Role::Trial(episode));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enter,
    Anyway,
    Succeed(prop::sample::Index),
    Fail(prop::sample::Index, Cause, Option<u64>),
    Leave(prop::sample::Index),
    Told(u64),
    Later(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let causes = vec![Cause::Internal, Cause::RateLimit, Cause::Quota, Cause::InvalidRequest, Cause::Timeout];
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => Just(Step::Enter),
        1 => Just(Step::Anyway),
        2 => index().prop_map(Step::Succeed),
        4 => (index(), prop::sample::select(causes), prop::option::of(0_u64..100)).prop_map(|(at, cause, hint)| Step::Fail(at, cause, hint)),
        1 => index().prop_map(Step::Leave),
        1 => (0_u64..100).prop_map(Step::Told),
        3 => (0_u64..40).prop_map(Step::Later),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn whatever_happens_one_trial_runs_and_every_cooling_down_ends(steps in steps()) {
        let mut bench = Bench::new(Cooldown::default());
        let mut running = Vec::new();
        for step in steps {
            let before = bench.state();
            match step {
                Step::Enter => {
                    let can = bench.health.can_call(bench.now);
                    let role = bench.enter();
                    prop_assert_eq!(can, role.is_some());
                    prop_assert_eq!(can, matches!(before, State::Healthy | State::Cooled));
                    prop_assert_eq!(matches!(role, Some(Role::Trial(_))), before == State::Cooled);
                    running.extend(role);
                }
                Step::Anyway => running.push(bench.health.enter_anyway(bench.now)),
                Step::Told(time) => bench.health.cool_until(bench.now.after(SECOND * time as u32), bench.now),
                Step::Later(time) => bench.later(SECOND * time as u32),
                Step::Succeed(at) if !running.is_empty() => bench.succeed(running.swap_remove(at.index(running.len()))),
                Step::Leave(at) if !running.is_empty() => bench.health.left(running.swap_remove(at.index(running.len()))),
                Step::Fail(at, cause, hint) if !running.is_empty() => {
                    let role = running.swap_remove(at.index(running.len()));
                    let cooled = bench.fail(role, cause, hint.map(Duration::from_secs));
                    prop_assert!(cooled.is_none_or(|time| time <= bench.cooldown.longest()));
                }
                _ => {}
            }
            // Who holds the trial that runs is one, and it is there: it never stays open for good.
            let episode = bench.health.record().episode;
            let trials = running.iter().filter(|role| **role == Role::Trial(episode)).count();
            prop_assert_eq!(trials, usize::from(bench.state() == State::Trial));
        }
        running.into_iter().for_each(|role| bench.health.left(role));
        bench.later(bench.cooldown.longest());
        prop_assert!(bench.health.can_call(bench.now));
    }
}

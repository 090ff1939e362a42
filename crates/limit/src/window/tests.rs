use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// 32 slices of a second.
const PER: Duration = Duration::from_secs(32);
const SLICE: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> SystemTime {
    // Beginning with a whole slice.
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(2_000_000.0 + seconds)
}

fn window() -> Window {
    Window::new(PER)
}

fn level(counter: &mut Counter, now: SystemTime) -> (u64, Duration) {
    counter.advance(window(), nanos(now));
    counter.level(window(), nanos(now))
}

fn take(counter: &mut Counter, amount: u64, most: u64, seconds: f64) -> Result<(), Full> {
    counter.take(amount, most, window(), nanos(at(seconds))).map(drop)
}

#[test]
fn an_amount_counts_until_its_slice_has_left_the_window() {
    let mut counter = Counter::default();
    assert_eq!(take(&mut counter, 3, 3, 0.0), Ok(()));
    assert_eq!(take(&mut counter, 1, 3, 0.25), Err(Full::For(Duration::from_secs_f64(32.75))));
    assert_eq!(take(&mut counter, 1, 3, 32.75), Err(Full::For(Duration::from_secs_f64(0.25))));
    assert_eq!(take(&mut counter, 1, 3, 33.0), Ok(()));
    assert_eq!(level(&mut counter, at(33.0)), (1, Duration::from_secs(33)));
}

#[test]
fn the_wait_is_for_as_many_slices_as_must_leave() {
    let mut counter = Counter::default();
    for second in 0..4 {
        assert_eq!(take(&mut counter, 1, 4, f64::from(second)), Ok(()));
    }
    for amount in 1..=4 {
        let wait = Duration::from_secs(29 + amount);
        assert_eq!(take(&mut counter, amount, 4, 3.0), Err(Full::For(wait)));
    }
    assert_eq!(take(&mut counter, 5, 4, 3.0), Err(Full::Ever));
}

#[test]
fn a_limit_of_zero_has_room_for_nothing() {
    let mut counter = Counter::default();
    for amount in [0, 1, u64::MAX] {
        assert_eq!(take(&mut counter, amount, 0, 0.0), Err(Full::Ever));
    }
    assert_eq!(counter.enter(0), Err(Full::Ever));
}

#[test]
fn nothing_fits_even_where_more_was_used_than_the_limit() {
    let mut counter = Counter::default();
    assert_eq!(take(&mut counter, 5, 5, 0.0), Ok(()));
    counter.add(100, window(), nanos(at(1.0)));
    assert_eq!(take(&mut counter, 0, 5, 1.0), Ok(()));
    assert_eq!(take(&mut counter, 1, 5, 1.0), Err(Full::For(Duration::from_secs(33))));
}

#[test]
fn sums_and_times_beyond_all_numbers_stay_full() {
    let mut counter = Counter::default();
    for _ in 0..3 {
        counter.add(u64::MAX, window(), nanos(at(0.0)));
        counter.add(u64::MAX, window(), nanos(at(2.0)));
    }
    assert_eq!(take(&mut counter, 1, u64::MAX, 2.0), Err(Full::For(Duration::from_secs(31))));
    let (forever, instant) = (Window::new(Duration::MAX), Window::new(Duration::ZERO));
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    for now in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH - PER, far] {
        for window in [forever, instant] {
            let mut counter = Counter::default();
            assert!(counter.take(1, 1, window, nanos(now)).is_ok());
            assert!(counter.take(1, 1, window, nanos(now)).is_err());
        }
    }
}

#[test]
fn what_is_given_back_is_free_at_once_and_only_where_it_was_counted() {
    let mut counter = Counter::default();
    let first = counter.take(6, 10, window(), nanos(at(0.0))).expect("fits");
    let second = counter.take(4, 10, window(), nanos(at(5.0))).expect("fits");
    counter.give_back(5, first, window(), nanos(at(6.0)));
    assert_eq!(level(&mut counter, at(6.0)).0, 5);
    // Its slice has left: there is nothing to give back, and the other keeps its own.
    counter.give_back(1, first, window(), nanos(at(33.0)));
    assert_eq!(level(&mut counter, at(33.0)).0, 4);
    counter.give_back(100, second, window(), nanos(at(33.0)));
    assert_eq!(level(&mut counter, at(33.0)), (0, Duration::ZERO));
}

#[test]
fn a_clock_that_goes_back_frees_nothing() {
    for back in [0.5, 1.0, 20.0, 32.0, 33.0, 40.0, 100_000.0, 1_000_000.0] {
        let mut counter = Counter::default();
        assert_eq!(take(&mut counter, 1, 2, 90.0), Ok(()));
        let spot = counter.take(1, 2, window(), nanos(at(100.0))).expect("fits");
        let set = 100.0 - back;
        assert!(take(&mut counter, 1, 2, set).is_err(), "{back}");
        assert!(!counter.is_idle(nanos(at(set))), "{back}");
        // Nothing is late by more than what the clock was set back, and never by more than about a window.
        let late = f64::min(back, 33.0);
        assert_eq!(take(&mut counter, 1, 2, set + 33.0 + late), Ok(()), "{back}");
        counter.give_back(1, spot, window(), nanos(at(set + 33.0 + late)));
        assert_eq!(level(&mut counter, at(set + 33.0 + late)).0, 1, "{back}");
    }
}

#[test]
fn threads_that_read_the_clock_too_early_do_not_stop_time() {
    let mut counter = Counter::default();
    assert_eq!(take(&mut counter, 1, 1, 0.0), Ok(()));
    // At each slice's edge one thread comes a moment late.
    for second in 1..=32 {
        assert!(take(&mut counter, 1, 1, f64::from(second)).is_err());
        assert!(take(&mut counter, 1, 1, f64::from(second) - 0.001).is_err());
    }
    assert_eq!(take(&mut counter, 1, 1, 33.0), Ok(()));
}

#[test]
fn an_idle_counter_is_one_whose_window_has_passed() {
    let mut counter = Counter::default();
    assert!(counter.is_idle(nanos(at(0.0))));
    counter.add(1, window(), nanos(at(0.5)));
    assert!(!counter.is_idle(nanos(at(32.99))));
    assert!(counter.is_idle(nanos(at(33.0))));
    counter.enter(1).expect("is free");
    assert!(!counter.is_idle(nanos(at(33.0))));
    assert_eq!(counter.enter(1), Err(Full::For(Duration::from_secs(1))));
    counter.leave();
    counter.leave();
    assert!(counter.is_idle(nanos(at(33.0))));
    assert_eq!(counter.enter(1), Ok(()));
}

#[test]
fn a_busy_counter_stays_small() {
    let mut counter = Counter::default();
    for tenth in 0..100_000 {
        counter.add(1, window(), nanos(at(f64::from(tenth) / 10.0)));
    }
    assert_eq!(counter.older.len(), 32);
    assert!(counter.older.capacity() <= 64);
    assert!(size_of::<Counter>() <= 64);
}

/// Everything that was used, to the nanosecond.
#[derive(Default)]
struct Log(Vec<(SystemTime, u64)>);

impl Log {
    /// What was used in the stretch of this length that ends now.
    fn used(&self, length: Duration, now: SystemTime) -> u64 {
        self.0
            .iter()
            .filter(|(then, _)| now.duration_since(*then).expect("is past") < length)
            .map(|(_, n)| n)
            .sum()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Take(u64),
    Add(u64),
    /// Which take, and how much of it.
    GiveBack(prop::sample::Index, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u64..3_000_000_000).prop_map(Step::Wait),
        1 => (0_u64..70_000_000_000).prop_map(Step::Wait),
        8 => (0_u64..8).prop_map(Step::Take),
        1 => (0_u64..8).prop_map(Step::Add),
        2 => (any::<prop::sample::Index>(), 0_u64..8).prop_map(|(which, n)| Step::GiveBack(which, n)),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn agrees_with_a_log_of_everything(most in 0_u64..20, start in 0_u64..4_000_000_000, steps in steps()) {
        let (mut counter, mut log) = (Counter::default(), Log::default());
        let mut taken: Vec<(Spot, usize)> = Vec::new();
        let mut now = at(0.0) + Duration::from_nanos(start);
        for step in steps {
            match step {
                Step::Wait(nanos) => now += Duration::from_nanos(nanos),
                Step::Add(amount) => {
                    counter.add(amount, window(), nanos(now));
                    log.0.push((now, amount));
                }
                Step::GiveBack(which, amount) => {
                    if taken.is_empty() { continue }
                    let (spot, entry) = taken[which.index(taken.len())];
                    let given = log.0[entry].1.min(amount);
                    counter.give_back(given, spot, window(), nanos(now));
                    log.0[entry].1 -= given;
                }
                Step::Take(amount) => match counter.take(amount, most, window(), nanos(now)) {
                    Ok(spot) => {
                        taken.push((spot, log.0.len()));
                        log.0.push((now, amount));
                        prop_assert!(amount == 0 || log.used(PER, now) <= most);
                    }
                    Err(Full::Ever) => prop_assert!(amount > most || most == 0),
                    Err(Full::For(wait)) => {
                        // Right, up to one slice.
                        prop_assert!(log.used(PER + SLICE, now) + amount > most);
                        // And the wait is as long as it must be, and no longer.
                        let then = now + wait;
                        prop_assert!(counter.clone().take(amount, most, window(), nanos(then)).is_ok());
                        let too_early = then - Duration::from_nanos(1);
                        prop_assert!(counter.clone().take(amount, most, window(), nanos(too_early)).is_err());
                    }
                },
            }
            let (used, reset) = level(&mut counter, now);
            prop_assert!(log.used(PER, now) <= used && used <= log.used(PER + SLICE, now));
            prop_assert_eq!(level(&mut counter.clone(), now + reset).0, 0);
        }
    }
}

/// 64 clients that ask at random and all the time, for three windows.
#[test]
fn saturation_uses_95_percent_and_never_more_than_all() {
    for (most, gap_millis) in
        [(30, 200), (30, 50_000), (600, 20), (600, 2000), (600, 3000), (1000, 1500), (1000, 1900)]
    {
        let (mut counter, mut log) = (Counter::default(), Log::default());
        let mut random = 88_172_645_463_325_252_u64;
        let mut now = at(0.3);
        let end = now + 3 * PER;
        while now < end {
            // Xorshift: the same clients every time.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            now += Duration::from_micros(random % (2000 * gap_millis / 64 + 1));
            if counter.take(1, most, window(), nanos(now)).is_ok() {
                log.0.push((now, 1));
                assert!(log.used(PER, now) <= most);
            }
        }
        let share = log.0.len() as f64 / (3 * most) as f64;
        assert!((0.95..=1.0).contains(&share), "{most}: {share}");
    }
}

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const STALE: Duration = Duration::from_secs(600);

fn start() -> Moment {
    Moment::of(Instant::now())
}

fn near(latency: &Latency, tokens: f64, expected: f64, now: Moment) {
    let found = latency.expected(tokens, STALE, now).expect("is known");
    assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
}

#[test]
fn a_stream_tells_both_times_and_an_answer_in_one_piece_the_time_per_token() {
    let (now, stream, whole, bare) = (start(), Latency::new(), Latency::new(), Latency::new());
    assert_eq!(stream.expected(1.0, STALE, now), None);
    stream.add(&Sample::new(3 * SECOND).first_token(SECOND).tokens(Some(21), None), SECOND, now);
    near(&stream, 100.0, 1.0 + 100.0 * 0.1, now);
    whole.add(&Sample::new(3 * SECOND).tokens(Some(30), None), SECOND, now);
    near(&whole, 100.0, 100.0 * 0.1, now);
    bare.add(&Sample::new(3 * SECOND), SECOND, now);
    near(&bare, 100.0, 3.0, now);
    // What makes no sense makes no nonsense.
    let odd = Latency::new();
    odd.add(&Sample::new(SECOND).first_token(2 * SECOND).tokens(Some(0), Some(0)), Duration::ZERO, now);
    near(&odd, 100.0, 1.0, now);
    odd.add(&Sample::new(3 * SECOND), Duration::ZERO, now);
    near(&odd, 100.0, 2.0, now);
}

#[test]
fn a_call_counts_half_after_the_half_life_and_not_at_all_when_stale() {
    let (latency, now) = (Latency::new(), start());
    let later = now.after(60 * SECOND);
    latency.add(&Sample::new(4 * SECOND), 60 * SECOND, now);
    latency.add(&Sample::new(SECOND), 60 * SECOND, later);
    near(&latency, 0.0, (4.0 * 0.5 + 1.0) / 1.5, later);
    // One that came in late counts as if it were of now; nothing counts more for it.
    latency.add(&Sample::new(SECOND), 60 * SECOND, now);
    near(&latency, 0.0, (4.0 * 0.5 + 2.0) / 2.5, later);
    assert_eq!(latency.expected(0.0, STALE, later.after(STALE + Duration::from_nanos(1))), None);
}

proptest! {
    #[test]
    fn the_mean_is_that_of_all_samples_by_their_age(
        samples in prop::collection::vec((0_u64..100_000, 1_u64..50_000), 1..60)
    ) {
        let (latency, mut now) = (Latency::new(), start());
        let mut all = Vec::new();
        for (later, millis) in samples {
            now = now.after(Duration::from_millis(later));
            latency.add(&Sample::new(Duration::from_millis(millis)), 60 * SECOND, now);
            all.push((now, millis as f64 / 1000.0));
            let weight = |at: Moment| (-now.since(at).as_secs_f64() / 60.0).exp2();
            let sum: f64 = all.iter().map(|(at, sample)| weight(*at) * sample).sum();
            let expected = sum / all.iter().map(|(at, _)| weight(*at)).sum::<f64>();
            let found = latency.expected(0.0, STALE, now).expect("is known");
            prop_assert!((found - expected).abs() < 1e-6 * expected.max(1.0), "{} for {}", found, expected);
        }
    }
}

#[test]
fn usage_is_that_of_the_last_minute_and_a_little_more() {
    let (usage, now) = (Usage::new(), start());
    let at = |time: Duration| usage.last_minute(Usage::slice(now.after(time)));
    usage.add(1, 100, now);
    usage.add(0, 50, now.after(30 * SECOND));
    assert_eq!(at(30 * SECOND), (1, 150));
    assert_eq!(at(60 * SECOND), (1, 150));
    assert_eq!(at(71 * SECOND), (0, 50));
    assert_eq!(at(101 * SECOND), (0, 0));
}

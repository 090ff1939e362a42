use proptest::prelude::*;

use super::*;

#[test]
fn only_what_may_pass_is_tried_again_unless_the_policy_says_so() {
    let policy = RetryPolicy::new(3);
    for cause in [
        Cause::InvalidRequest,
        Cause::InvalidKey,
        Cause::PermissionDenied,
        Cause::ModelNotFound,
        Cause::TooLarge,
        Cause::Unprocessable,
        Cause::ContextLength,
        Cause::ContentPolicy,
        Cause::Quota,
    ] {
        assert_eq!(policy.retries(cause), 0, "{cause:?}");
    }
    for cause in [
        Cause::RateLimit,
        Cause::Internal,
        Cause::Upstream,
        Cause::Overloaded,
        Cause::Timeout,
        Cause::Conflict,
    ] {
        assert_eq!(policy.retries(cause), 3, "{cause:?}");
        assert!(policy.should_retry(cause, 2) && !policy.should_retry(cause, 3));
    }
    let policy =
        Kind::ALL.into_iter().zip(10..).fold(policy, |policy, (kind, times)| policy.times_for(kind, times));
    let retries = [
        Cause::InvalidRequest,
        Cause::InvalidKey,
        Cause::ModelNotFound,
        Cause::Timeout,
        Cause::RateLimit,
        Cause::ContentPolicy,
        Cause::Internal,
        Cause::Overloaded,
        Cause::Upstream,
        Cause::Quota,
    ];
    assert_eq!(retries.map(|cause| policy.retries(cause)), [10, 11, 12, 13, 14, 15, 16, 17, 18, 0]);
    assert_eq!(policy.most(), 18);
    let policy = policy.times(1);
    assert_eq!(
        (retries.map(|cause| policy.retries(cause)), policy.most()),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 0], 1)
    );
    let policy = RetryPolicy::new(0).times_for(Kind::RateLimit, 9).times(2);
    let causes = [Cause::Internal, Cause::RateLimit, Cause::InvalidRequest, Cause::Quota];
    assert_eq!(causes.map(|cause| policy.retries(cause)), [2, 2, 0, 0]);
    assert_eq!(RetryPolicy::default().times_for(Kind::Internal, 0).retries(Cause::Internal), 0);
}

#[test]
fn a_hint_is_waited_for_up_to_a_minute_and_never_cut_short() {
    let (policy, seconds) = (RetryPolicy::default(), Duration::from_secs);
    assert_eq!(policy.backoff(0, Some(seconds(7)), 0), Some(seconds(7)));
    assert_eq!(policy.backoff(0, Some(seconds(60)), 0), Some(seconds(60)));
    assert_eq!(policy.backoff(0, Some(seconds(61)), 0), None);
    assert_eq!(policy.backoff(0, Some(Duration::MAX), 0), None);
    assert_eq!(
        policy.hint_at_most(Duration::MAX).backoff(0, Some(Duration::MAX), u64::MAX),
        Some(Duration::MAX)
    );
}

proptest! {
    #[test]
    fn the_wait_begins_with_the_hint_and_lasts_up_to_the_doubled_base(
        done in 0_u32..100, hint in prop::option::of(0_u64..60_000), least in 0_u64..5000, random: u64
    ) {
        let policy = RetryPolicy::default().wait_at_least(Duration::from_millis(least));
        let wait = policy.backoff(done, hint.map(Duration::from_millis), random).expect("is waited for");
        let begin = Duration::from_millis(hint.unwrap_or_default().max(least));
        let limit = Duration::from_millis(500 << done.min(4));
        prop_assert!(begin <= wait && wait <= begin + limit);
        prop_assert_eq!(policy.backoff(done, hint.map(Duration::from_millis), u64::MAX), Some(begin + limit));
    }
}

#[test]
fn waits_are_spread_evenly() {
    let (mut random, mut buckets) = (crate::Random::new(7), [0; 10]);
    for _ in 0..10_000 {
        let wait = RetryPolicy::default().backoff(1, None, random.draw()).expect("is waited for");
        buckets[(wait.as_millis() as usize / 100).min(9)] += 1;
    }
    assert!(buckets.iter().all(|count| (900..1100).contains(count)), "{buckets:?}");
}

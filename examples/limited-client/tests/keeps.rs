//! The example, against the provider that it brings.

use example_limited_client::{Caller, provider};

#[tokio::test]
async fn a_job_has_three_calls_and_no_other_job_feels_it() {
    let caller = Caller::new(provider().await.expect("starts"));
    let mut statuses = Vec::new();
    for job in ["index", "index", "index", "index", "mail"] {
        let answer = caller.ask(job).await.expect("is answered");
        statuses.push((answer.status, answer.header("x-ratelimit-remaining-requests").to_owned()));
        assert_eq!(answer.header("retry-after") == "-", answer.status == 200);
        answer.text().await.expect("is whole");
    }
    let expected = [(200, "2"), (200, "1"), (200, "0"), (429, "0"), (200, "2")];
    assert_eq!(statuses, expected.map(|(status, left)| (status, left.to_owned())));
    // Three calls came to 12 tokens each, and the running one is counted by its cap.
    let answer = caller.ask("mail").await.expect("is answered");
    let left: u64 = answer.header("x-ratelimit-remaining-tokens").parse().expect("is a number");
    assert!((840..=852).contains(&left), "{left}");
}

#[tokio::test]
async fn two_calls_run_at_a_time_until_their_answers_are_read_or_dropped() {
    let caller = Caller::new(provider().await.expect("starts"));
    let first = caller.ask("a").await.expect("is answered");
    let second = caller.ask("b").await.expect("is answered");
    assert_eq!(caller.ask("c").await.expect("is answered").status, 429);
    assert!(first.text().await.expect("is whole").contains("Hello."));
    let third = caller.ask("c").await.expect("is answered");
    assert_eq!((second.status, third.status), (200, 200));
    drop(second);
    assert_eq!(caller.ask("c").await.expect("is answered").status, 200);
}

use std::time::Duration;

use ziggurat_core::{Convention, Meter, Scope, Usage};

use super::*;

fn limit(measure: Measure, most: u64) -> Limit {
    Limit::new(Scope::gateway(), measure, most, Duration::from_secs(60))
}

#[test]
fn what_is_stated_is_set_aside_as_it_is() {
    let estimate = Estimate { input: 10, output: Output::Stated(500) };
    let amounts = [
        (Measure::Requests, 1),
        (Measure::Concurrency, 1),
        (Measure::InputTokens, 10),
        (Measure::OutputTokens, 500),
        (Measure::Tokens, 510),
    ];
    for (measure, amount) in amounts {
        for most in [1, 100, 1_000_000] {
            assert_eq!(estimate.amount(&limit(measure, most)), amount, "{measure}");
        }
    }
    let endless = Estimate { input: u64::MAX, output: Output::Stated(u64::MAX) };
    assert_eq!(endless.amount(&limit(Measure::Tokens, 5)), u64::MAX);
}

#[test]
fn a_guess_is_a_quarter_of_the_limit_at_most_and_gives_way() {
    let estimate = Estimate { input: 90, output: Output::Guessed(1024) };
    let cases = [
        (Measure::Tokens, 1_000_000, 90 + 1024),
        (Measure::Tokens, 1000, 90 + 250),
        (Measure::Tokens, 100, 90 + 10),
        (Measure::Tokens, 90, 90),
        // What is known does not fit.
        (Measure::Tokens, 89, 90),
        (Measure::OutputTokens, 1_000_000, 1024),
        (Measure::OutputTokens, 100, 25),
        (Measure::OutputTokens, 3, 0),
    ];
    for (measure, most, amount) in cases {
        assert_eq!(estimate.amount(&limit(measure, most)), amount, "{measure} {most}");
    }
}

/// An attempt that ended so, with bytes of content and usage, where they are known.
fn attempt(outcome: Outcome, content: Option<usize>, stated: Option<(u64, u64)>) -> Attempt {
    let meter = Meter::join(&mut http::Request::new(())).0;
    let mut handle = meter.presume();
    if let Some(bytes) = content {
        handle.content(bytes);
    }
    if let Some((input, output)) = stated {
        let mut usage = Usage::new(Convention::OPENAI);
        (usage.input, usage.output) = (Some(input), Some(output));
        handle.usage(&usage);
    }
    handle.end(outcome);
    handle.attempt().clone()
}

#[test]
fn an_attempt_comes_to_what_was_stated_or_seen() {
    const SOME: Answered = Answered::Somehow;
    let cases = [
        (Outcome::Complete, Some(300), Some((7, 3)), SOME, Some((7, 3))),
        (Outcome::Refused, Some(300), Some((7, 3)), SOME, Some((7, 3))),
        (Outcome::Complete, Some(300), None, SOME, Some((50, 100))),
        (Outcome::Complete, Some(0), None, SOME, Some((50, 0))),
        (Outcome::Complete, Some(301), Some((7, MOST_TOKENS + 1)), SOME, Some((7, 101))),
        // Nobody knows of what it is whole.
        (Outcome::Complete, None, None, SOME, None),
        // What was stated before the end is no more than a beginning.
        (Outcome::Cancelled, Some(300), Some((7, 1)), SOME, Some((7, 100))),
        (Outcome::Stopped, Some(3), Some((7, 9)), SOME, Some((7, 9))),
        (Outcome::Truncated, Some(300), None, SOME, Some((50, 100))),
        (Outcome::Cancelled, None, None, SOME, Some((50, 0))),
        (Outcome::Failed, Some(30), None, SOME, Some((50, 10))),
        (Outcome::Failed, None, None, SOME, Some((0, 0))),
        (Outcome::Failed, None, None, Answered::Whole, None),
        (Outcome::Failed, None, Some((7, 0)), SOME, Some((7, 0))),
    ];
    for (outcome, content, stated, answered, expected) in cases {
        let attempt = attempt(outcome, content, stated);
        let used = used(&[&attempt].into_iter(), 50, answered);
        assert_eq!(used, Used::new(1, expected), "{attempt:?}");
    }
}

#[test]
fn attempts_add_up_and_what_was_not_sent_counts_nothing() {
    let mut unsent = attempt(Outcome::Failed, None, None);
    unsent.sent = false;
    let (failed, cut, whole) = (
        attempt(Outcome::Failed, None, None),
        attempt(Outcome::Truncated, Some(30), None),
        attempt(Outcome::Complete, Some(30), Some((7, 3))),
    );
    assert_eq!(
        used(&[&unsent, &failed, &cut, &whole].into_iter(), 50, Answered::Whole),
        Used::new(1, Some((57, 13)))
    );
    for (answered, requests) in [(Answered::Somehow, 1), (Answered::Whole, 1), (Answered::Refused, 0)] {
        assert_eq!(used(&[&unsent].into_iter(), 50, answered), Used::new(requests, Some((0, 0))));
        assert_eq!(used(&[].into_iter(), 50, answered), Used::new(requests, Some((0, 0))));
    }
    assert_eq!(used(&[&failed].into_iter(), 50, Answered::Refused), Used::new(1, Some((0, 0))));
}

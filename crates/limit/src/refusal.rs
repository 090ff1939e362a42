//! What a caller is told who is refused.

use std::time::Duration;

use ziggurat_core::{Cause, Measure, Problem, Rejection};

use crate::{Level, Refused};

/// The kind of scope is named, never its id: that may be a key's.
pub(crate) fn rejection(refused: &Refused) -> Rejection {
    let problem = match refused {
        Refused::Exceeded(exceeded) => over(&exceeded.level, exceeded.retry_after),
        Refused::Unavailable(_) => {
            let mut problem = Problem::new(Cause::Overloaded, "the rate limits cannot be checked now");
            problem.retry_after = Some(Duration::from_secs(1));
            problem
        }
    };
    problem.into()
}

fn over(level: &Level, retry_after: Option<Duration>) -> Problem {
    let (scope, measure) = (spoken(level.scope.name()), spoken(level.measure.name()));
    let (most, per) = (level.most, level.per);
    let message = match (level.measure, retry_after) {
        (_, None) if most == 0 => format!("the limit of this {scope} allows no {measure}"),
        (Measure::Concurrency, _) => {
            format!(
                "rate limit of this {scope} reached: {most} concurrent requests; try again when one has ended"
            )
        }
        (_, Some(wait)) => {
            let seconds = wait.as_nanos().div_ceil(NANOS_PER_SECOND);
            format!(
                "rate limit of this {scope} reached: {most} {measure} per {per:?}; try again in {seconds}s"
            )
        }
        (_, None) => format!(
            "this request alone is over the rate limit of this {scope}: {most} {measure} per {per:?}; it will never fit, send a smaller one"
        ),
    };
    let mut problem = Problem::new(Cause::RateLimit, message);
    problem.kind = Some(match level.measure {
        Measure::Requests | Measure::Concurrency => "requests".into(),
        _ => "tokens".into(),
    });
    problem.retry_after = retry_after;
    // Clients retry what is a 429, unless they are told.
    problem.should_retry = retry_after.is_none().then_some(false);
    problem
}

fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

//! What goes wrong with a provider's answer on its way, in words for the caller.

use http::Response;
use ziggurat_core::{Body, BoxError, Cause, CollectError, Dialect, Outcome, Problem, Rejection, is_timeout};

/// An answer that ended before its own end: what the caller is told, and how the attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broken {
    /// For the caller.
    pub problem: Problem,
    /// [`Outcome::Stopped`] where a layer of ours ended it.
    pub outcome: Outcome,
}

/// The problem of a stream that ends before its terminator.
#[must_use]
pub fn truncated() -> Problem {
    Problem::new(Cause::Upstream, "the provider's stream ended before the answer was complete")
        .code("upstream_truncated")
}

/// The problem of an event over the limit.
#[must_use]
pub fn too_long(limit: usize) -> Problem {
    Problem::new(Cause::Upstream, format!("the provider sent an event of more than {limit} bytes"))
}

/// The problem of an event that cannot be read.
#[must_use]
pub fn not_an_event() -> Problem {
    Problem::new(Cause::Upstream, "the provider sent an event that is no JSON of its dialect")
}

/// The problem of a success that holds no answer.
#[must_use]
pub fn no_answer() -> Problem {
    Problem::new(Cause::Upstream, "the provider answered with what is no answer")
}

/// The end of a stream whose transport failed.
#[must_use]
pub fn broke_off(error: &BoxError) -> Broken {
    match Rejection::find_in(error.as_ref()) {
        Some(rejection) => rejection.clone().into(),
        None if is_timeout(error.as_ref()) => Broken {
            problem: Problem::new(Cause::Timeout, "the provider's stream stalled"),
            outcome: Outcome::Truncated,
        },
        None => Broken { problem: truncated(), outcome: Outcome::Truncated },
    }
}

/// The end of an answer that could not be collected.
#[must_use]
pub fn unreadable(error: &CollectError) -> Broken {
    let problem = match error {
        CollectError::TooLarge { limit } => {
            Problem::new(Cause::Upstream, format!("the provider's answer is larger than {limit} bytes"))
        }
        CollectError::Failed(source) => match Rejection::find_in(source.as_ref()) {
            Some(rejection) => return rejection.clone().into(),
            None if is_timeout(source.as_ref()) => {
                Problem::new(Cause::Timeout, "the provider's answer did not come in time")
            }
            None => ended_early(),
        },
        _ => ended_early(),
    };
    Broken { problem, outcome: Outcome::Truncated }
}

fn ended_early() -> Problem {
    Problem::new(Cause::Upstream, "the provider's answer ended before it was complete")
}

// ===== impl Broken =====

impl Broken {
    /// As the whole answer, in `dialect`; a refusal of ours stays one, for outer layers to read.
    #[must_use]
    pub fn into_response(self, dialect: Dialect) -> Response<Body> {
        match self.outcome {
            Outcome::Stopped => Rejection::from(self.problem).into_response(dialect),
            _ => self.problem.into_response(dialect),
        }
    }
}

impl From<Problem> for Broken {
    /// What the provider sent cannot be used.
    fn from(problem: Problem) -> Self {
        Self { problem, outcome: Outcome::Failed }
    }
}

impl From<Rejection> for Broken {
    /// A layer of ours ended it, in its own words.
    fn from(rejection: Rejection) -> Self {
        Self { problem: rejection.problem().clone(), outcome: Outcome::Stopped }
    }
}

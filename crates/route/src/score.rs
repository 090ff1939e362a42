//! What an answer comes to for the deployment that gives it.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;
use ziggurat_core::{Attempt, Cause, Outcome, Problem, Target, Usage};

use crate::{
    Event, Group, Permit, Sample, Timeouts, attempt::Asked, layer::Config, timeouts::Fires, watched::Watched,
};

/// The leave to call a deployment, until it is known how that ended.
pub(crate) struct Score {
    permit: Permit,
    group: Arc<Group>,
    index: usize,
    /// How long the stages of the attempt may take, whatever the caller says.
    configured: Timeouts,
    config: Arc<Config>,
    /// Its failures are not told to the deployment.
    is_shadow: bool,
}

// ===== impl Score =====

impl Score {
    pub(crate) fn new(
        permit: Permit,
        group: Arc<Group>,
        index: usize,
        configured: Timeouts,
        asked: &Asked,
    ) -> Self {
        let (config, is_shadow) = (Arc::clone(&asked.config), asked.is_shadow());
        Self { permit, group, index, configured, config, is_shadow }
    }

    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn target(&self) -> &Target {
        self.group.deployments()[self.index].target()
    }

    /// The answer has begun.
    pub(crate) fn answered(&mut self) {
        self.permit.answered(Instant::now());
    }

    /// A timeout has fired: the deployment's failure, unless it was the caller who would not wait.
    pub(crate) fn late(self, fires: &Fires) {
        if !fires.is_callers(&self.configured) {
            self.failed(Cause::Timeout, None);
        }
    }

    /// There is no answer, or no more of it.
    pub(crate) fn failed(self, cause: Cause, retry_after: Option<Duration>) {
        let cools = match self.is_shadow {
            true => None,
            false => self.permit.failed(cause, retry_after, Instant::now()),
        };
        let (group, deployment) = (self.group.name(), self.group.deployments()[self.index].id());
        (self.config.report)(&Event::Failed { group, deployment, cause, cools });
    }

    /// The answer is whole, and nobody has looked into it.
    pub(crate) fn passed(self, watched: &Watched) {
        self.permit.succeeded(&Sample::new(watched.elapsed()), Instant::now());
    }

    /// The answer has ended.
    pub(crate) fn ended(self, attempt: &Attempt, watched: &Watched) {
        match attempt.outcome {
            Some(Outcome::Complete | Outcome::Refused) => {
                self.permit.succeeded(&sample(attempt, watched), Instant::now());
            }
            Some(Outcome::Failed | Outcome::Truncated) => {
                let problem: Option<&Problem> = attempt.problem.as_deref();
                let cause = problem.map_or(Cause::Upstream, |problem| problem.cause);
                self.failed(cause, problem.and_then(|problem| problem.retry_after));
            }
            // We stopped it, or its caller left: the deployment has no part in that.
            _ => {}
        }
    }
}

impl fmt::Debug for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Score").field("permit", &self.permit).finish_non_exhaustive()
    }
}

fn sample(attempt: &Attempt, watched: &Watched) -> Sample {
    let total = watched.elapsed();
    let sample = Sample::new(total);
    let sample = watched.first_token().map_or(sample, |first| sample.first_token(first));
    let usage = attempt.usage.as_ref();
    let output = usage.and_then(Usage::output_total);
    let input = usage.and_then(Usage::input_total);
    sample.tokens(output, output.zip(input).map(|(output, input)| output.saturating_add(input)))
}

//! The stages of a stop, and how everyone learns of them.

use tokio::sync::watch;
use ziggurat_core::{Cause, Problem, Rejection};

/// How far a stop has come. Stages only advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Not at all.
    Serving,
    /// Not ready any more: no new connections, and open ones take no request after the one that they are at.
    Draining,
    /// Connections without a call are closed.
    Closing,
    /// Calls that are still open get an error instead of the rest of their answer.
    Cutting,
}

/// Says how far the stop has come.
#[derive(Debug)]
pub(crate) struct Drainer(watch::Sender<Stage>);

/// Learns how far the stop has come.
#[derive(Clone, Debug)]
pub(crate) struct Drain(watch::Receiver<Stage>);

/// Two ends of one stop.
pub(crate) fn channel() -> (Drainer, Drain) {
    let (sender, receiver) = watch::channel(Stage::Serving);
    (Drainer(sender), Drain(receiver))
}

/// What a call is told that is cut.
pub(crate) fn shutting_down() -> Rejection {
    Problem::new(Cause::Overloaded, "the gateway is shutting down").code("shutting_down").into()
}

// ===== impl Drainer =====

impl Drainer {
    pub(crate) fn advance(&self, stage: Stage) {
        // Those who learn of it may all have gone.
        self.0.send_replace(stage);
    }
}

// ===== impl Drain =====

impl Drain {
    /// Whether the stop has begun.
    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow() > Stage::Serving
    }

    /// Waits until the stop has come so far; for ever when nobody can stop any more.
    pub(crate) async fn reached(mut self, stage: Stage) {
        if self.0.wait_for(|now| *now >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_stage_includes_those_before_and_stays() {
        let (drainer, drain) = channel();
        assert!(!drain.has_begun());
        drainer.advance(Stage::Draining);
        assert!(drain.has_begun());
        let closing = || timeout(Duration::from_secs(9), drain.clone().reached(Stage::Closing));
        assert!(closing().await.is_err());
        drainer.advance(Stage::Cutting);
        assert!(closing().await.is_ok());
        drop(drainer);
        assert!(drain.has_begun());
        assert!(closing().await.is_ok());
    }
}

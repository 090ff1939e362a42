//! Who listens to the meter.

use std::sync::{Arc, Mutex};

use http::Request;
use tower::{ServiceExt, util::BoxCloneSyncService};
use ziggurat_core::{Attempt, Body, Cause, Decision, Outcome, Rejection, Subscriber, Target};

use super::Service;

/// Keeps what it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listener(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    asked: usize,
    /// From which attempt on it says stop.
    stops_at: Option<usize>,
    /// From how many bytes of content on it says stop.
    stops_behind: Option<u64>,
    ends: Vec<Vec<Attempt>>,
}

impl Listener {
    pub(crate) fn stops_attempt(self, at: usize) -> Self {
        self.0.lock().expect("is sound").stops_at = Some(at);
        self
    }

    pub(crate) fn stops_behind(self, bytes: u64) -> Self {
        self.0.lock().expect("is sound").stops_behind = Some(bytes);
        self
    }

    /// How often the end was told.
    pub(crate) fn ends(&self) -> usize {
        self.0.lock().expect("is sound").ends.len()
    }

    /// The attempts of the only call, by deployment, with how they ended.
    pub(crate) fn attempts(&self) -> Vec<(String, Outcome)> {
        let heard = self.0.lock().expect("is sound");
        let [attempts] = &*heard.ends else { panic!("the end is told once: {:?}", heard.ends) };
        let one = |attempt: &Attempt| {
            let target = attempt.target.as_ref().expect("has a target");
            (target.deployment().to_owned(), attempt.outcome.expect("has ended"))
        };
        attempts.iter().map(one).collect()
    }
}

impl Subscriber for Listener {
    fn before_attempt(&self, _: Option<&Target>, _: &[Attempt]) -> Decision {
        let mut heard = self.0.lock().expect("is sound");
        heard.asked += 1;
        match heard.stops_at {
            Some(at) if heard.asked >= at => Decision::Stop(Rejection::new(Cause::Quota, "no more")),
            _ => Decision::Go,
        }
    }

    fn on_progress(&self, attempt: &Attempt) -> Decision {
        match self.0.lock().expect("is sound").stops_behind {
            Some(most) if attempt.content_bytes > most => {
                Decision::Stop(Rejection::new(Cause::Quota, "no more"))
            }
            _ => Decision::Go,
        }
    }

    fn on_end(&self, attempts: &[Attempt]) {
        self.0.lock().expect("is sound").ends.push(attempts.to_vec());
    }
}

/// The service, with somebody who listens outside.
pub(crate) fn heard(service: &Service, listener: &Listener) -> Service {
    let (service, listener) = (service.clone(), listener.clone());
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
        let (mut service, listener) = (service.clone(), Arc::new(listener.clone()));
        async move {
            let ready = service.ready().await?;
            ziggurat_meter::run(ready, request, listener, 1 << 20).await
        }
    }))
}

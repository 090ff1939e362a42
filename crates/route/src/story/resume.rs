//! Who goes on with a stream that has failed in its middle.

use std::{iter, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tokio::time::Instant;
use tower_service::Service;
use ziggurat_core::{Body, BoxError, CallEnd};
use ziggurat_meter::asks_for_usage;

use super::{Answered, Fires, Kind, List, Score, Story, attempt};
use crate::{
    Event, Group,
    body::RoutedBody,
    continued::{Broken, ContinuedBody, GoOn, Options, Prefixed, Resumed},
};

/// Who has answered so far.
pub(super) struct Done {
    group: Arc<Group>,
    /// The id of the deployment that has answered last.
    last: Arc<str>,
    /// The ids of all that were asked since the stream began.
    ids: Vec<Arc<str>>,
    total: Option<Fires>,
}

// ===== impl Done =====

impl Done {
    pub(super) fn of(score: &Score, total: Option<Fires>) -> Self {
        let last: Arc<str> = score.target().deployment().into();
        Self { group: Arc::clone(score.group()), ids: vec![Arc::clone(&last)], last, total }
    }

    /// The deployments of a group that are not asked any more.
    fn tried(&self, group: &Group) -> Vec<usize> {
        let all = group.deployments().iter().enumerate();
        let out = all.filter(|(_, it)| !it.can_prefill() || self.ids.iter().any(|id| **id == *it.id()));
        out.map(|(index, _)| index).collect()
    }
}

// ===== impl Story =====

impl<S, ResBody> Story<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    /// The body of an answer that somebody else may go on with.
    pub(super) fn continued(self, body: RoutedBody, done: Done, end: Option<CallEnd>) -> ContinuedBody {
        let call = &self.asked.call;
        let options = Options { dialect: call.dialect(), include_usage: asks_for_usage(call) };
        ContinuedBody::new(body, options, self.go_on(done), end)
    }

    fn go_on(self, done: Done) -> GoOn {
        GoOn(Box::new(move |broken| Box::pin(self.resume(broken, done))))
    }

    /// Asks one after the other, until one goes on.
    async fn resume(self, broken: Broken, mut done: Done) -> Option<Resumed> {
        if self.max_retries == Some(0) {
            return None;
        }
        let fallbacks = self.course.fallbacks(List::General).to_vec();
        let fallbacks = fallbacks.into_iter().filter(|group| !Arc::ptr_eq(group, &done.group));
        let groups: Vec<_> = iter::once(Arc::clone(&done.group)).chain(fallbacks).collect();
        for group in groups {
            while let Ok(chosen) = self.choose(&group, &done.tried(&group)) {
                // It is load like a retry is.
                if chosen.last_resort || !group.retry_budget().withdraw(Instant::now()) {
                    break;
                }
                let deployment = &group.deployments()[chosen.index];
                let Prefixed { asked, held } = Prefixed::new(&self.asked, deployment, &broken.text)?;
                done.ids.push(deployment.id().into());
                let limits = self.timeouts_of(&group, chosen.index);
                let inner = self.inner.clone();
                match attempt(&asked, inner, &group, chosen, limits, done.total).await {
                    Ok(answered) => return Some(self.resumed(answered, &broken, held, done)),
                    Err(failure) if failure.kind == Kind::Final => return None,
                    Err(_) => {}
                }
            }
        }
        None
    }

    fn resumed(self, answered: Answered, broken: &Broken, held: String, mut done: Done) -> Resumed {
        let Answered { answer, score, idle } = answered;
        let to = score.target().deployment();
        let (group, from) = (score.group().name(), &*done.last);
        self.report(&Event::Continued { group, from, to, cause: broken.cause });
        // It may fail, too.
        (done.group, done.last) = (Arc::clone(score.group()), to.into());
        let (_, body) = RoutedBody::new(answer, score, idle, self.asked.call.dialect(), None);
        Resumed { body, held, go_on: self.go_on(done) }
    }
}

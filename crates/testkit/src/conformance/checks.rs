//! The checks themselves.

use std::{fmt, sync::Arc, task::Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;
use ziggurat_core::Body;

use super::{
    Conformance, Inner,
    inner::{Ending, Script, State, read_all, request_body},
};

type Outcome = Result<(), String>;

impl<L> Conformance<L>
where
    L: Layer<Inner>,
    L::Service: Service<Request<Body>, Response = Response<Body>> + Clone + 'static,
    <L::Service as Service<Request<Body>>>::Error: fmt::Debug,
{
    pub(super) async fn ready_call(&self) -> Outcome {
        let (service, state) = self.service(Script::new((self.response)()), false);
        // Twice on one service, then on a clone of it, which has inherited no readiness.
        let mut used = service.clone();
        for _ in 0..2 {
            let ready = used.ready().await.map_err(debug)?;
            drop(ready.call(whole((self.request)())).await.map_err(debug)?);
        }
        let readied = used.ready().await.map_err(debug)?;
        drop(readied.clone().oneshot(whole((self.request)())).await.map_err(debug)?);
        drop((service, used));
        expect("calls of the inner service", state.calls(), 3)?;
        self.check_idle(&state)
    }

    pub(super) fn readiness(&self) -> Outcome {
        let (service, state) = self.service(Script::new((self.response)()), true);
        let other = state.permit();
        let mut call = tokio_test::task::spawn(service.oneshot(whole((self.request)())));
        if call.poll().is_ready() {
            return Err("it is answered though the inner service is not ready".to_owned());
        }
        expect("calls of the inner service before it was ready", state.calls(), 0)?;
        drop(other);
        if !call.is_woken() {
            return Err("it is not woken when the inner service becomes ready".to_owned());
        }
        for _ in 0..MAX_POLLS {
            if let Poll::Ready(response) = call.poll() {
                drop(response.map_err(debug)?);
                drop(call);
                expect("calls of the inner service", state.calls(), 1)?;
                return self.check_idle(&state);
            }
        }
        Err("it does not end when the inner service is ready".to_owned())
    }

    pub(super) async fn refusal(&self) -> Outcome {
        let refused = self.refused.as_ref().ok_or("no request is given that is refused")?;
        let (mut service, state) = self.service(Script::new((self.response)()), true);
        let answer = service.ready().await.map_err(debug)?.call(whole(refused())).await.map_err(debug)?;
        if answer.status().is_success() {
            return Err(format!("the request that is refused is answered with {}", answer.status()));
        }
        expect("calls of the inner service", state.calls(), 0)?;
        // With the answer and the service still there.
        self.check_idle(&state)?;
        // There is but one permit: it can be had again.
        let next = service.clone().oneshot(whole((self.request)())).await.map_err(debug)?;
        drop((next, answer, service));
        expect("calls of the inner service", state.calls(), 1)?;
        self.check_idle(&state)
    }

    pub(super) async fn inner_error(&self) -> Outcome {
        let mut script = Script::new((self.response)());
        script.ending = Ending::NoAnswer;
        let (service, state) = self.service(script, false);
        if let Ok(answer) = service.oneshot(whole((self.request)())).await {
            if answer.status().is_success() {
                return Err(format!("an error of the inner service is answered with {}", answer.status()));
            }
            read_all(answer.into_body()).await?;
        }
        self.check_idle(&state)
    }

    /// Drops the call after one poll, after two, and so on: with pauses everywhere that is at every point where it waits.
    pub(super) fn cancellation(&self) -> Outcome {
        let request = (self.request)();
        let frame = (request.body().len() / 3).max(1);
        for polls in 0..MAX_POLLS {
            let mut script = Script::new((self.response)());
            script.pauses = true;
            script.frame = (script.response.body().len() / 5).max(1);
            let (service, state) = self.service(script, false);
            let mut call = tokio_test::task::spawn(async {
                let request = (self.request)().map(|bytes| request_body(&bytes, frame, true));
                let body = service.oneshot(request).await.map_err(debug)?.into_body();
                read_all(body).await
            });
            let ended = (0..polls).any(|_| call.poll().is_ready());
            drop(call);
            self.check_idle(&state).map_err(|why| format!("dropped after {polls} polls: {why}"))?;
            if ended {
                return Ok(());
            }
        }
        Err(format!("the call does not end within {MAX_POLLS} polls"))
    }

    pub(super) async fn half_read(&self) -> Outcome {
        let mut script = Script::new((self.response)());
        script.frame = (script.response.body().len() / 2).max(1);
        let (service, state) = self.service(script, false);
        let mut body = service.oneshot(whole((self.request)())).await.map_err(debug)?.into_body();
        if !matches!(body.frame().await, Some(Ok(_))) {
            return Err("the body has no first frame".to_owned());
        }
        drop(body);
        self.check_idle(&state)
    }

    pub(super) async fn body_error(&self) -> Outcome {
        let mut script = Script::new((self.response)());
        script.ending = Ending::HalfWay;
        let (service, state) = self.service(script, false);
        let answer = service.oneshot(whole((self.request)())).await.map_err(debug)?;
        let success = answer.status().is_success();
        let read = read_all(answer.into_body()).await;
        if let Ok((bytes, _)) = &read {
            // Told as an error status or as an event: but told.
            let told = !success || bytes.windows(7).any(|window| window == b"\"error\"");
            if !told {
                return Err("a body that breaks off ends as if it were whole".to_owned());
            }
        }
        self.check_idle(&state)
    }

    pub(super) async fn single_bytes(&self) -> Outcome {
        let (service, state) = self.service(Script::new((self.response)()), false);
        let answer = service.oneshot(whole((self.request)())).await.map_err(debug)?;
        let expected = (answer.status(), read_all(answer.into_body()).await?);
        let mut script = Script::new((self.response)());
        (script.frame, script.pauses) = (1, true);
        let (service, cut) = self.service(script, false);
        let request = (self.request)().map(|bytes| request_body(&bytes, 1, true));
        let answer = service.oneshot(request).await.map_err(debug)?;
        let found = (answer.status(), read_all(answer.into_body()).await?);
        if found != expected {
            return Err(format!("the answer is {found:?}, and {expected:?} when it comes whole"));
        }
        if cut.requests() != state.requests() {
            return Err("the inner service is sent another body when the request comes in pieces".to_owned());
        }
        self.check_idle(&cut)
    }

    pub(super) async fn trailers(&self) -> Outcome {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", HeaderValue::from_static("1"));
        let mut script = Script::new((self.response)());
        script.ending = Ending::Trailers(trailers.clone());
        let (service, _) = self.service(script, false);
        let answer = service.oneshot(self.passing()).await.map_err(debug)?;
        match read_all(answer.into_body()).await? {
            (_, Some(kept)) if kept == trailers => Ok(()),
            (_, kept) => Err(format!("the trailers {trailers:?} become {kept:?}")),
        }
    }

    pub(super) async fn size_hint(&self) -> Outcome {
        let (service, _) = self.service(Script::new((self.response)()), false);
        let answer = service.oneshot(self.passing()).await.map_err(debug)?;
        let hint = answer.body().size_hint().exact();
        expect("exact size", hint, Some((self.response)().body().len() as u64))
    }

    pub(super) async fn shared_state(&self) -> Outcome {
        let knows = self.shared.as_ref().ok_or("no hook is given that tells whether state is shared")?;
        let (first, _) = self.service(Script::new((self.response)()), false);
        let (second, _) = self.service(Script::new((self.response)()), false);
        match knows(first, second).await {
            true => Ok(()),
            false => Err("the second service does not know what the first has seen".to_owned()),
        }
    }

    fn service(&self, script: Script, single: bool) -> (L::Service, Arc<State>) {
        let (inner, state) = Inner::new(script, single);
        (self.layer.layer(inner), state)
    }

    fn passing(&self) -> Request<Body> {
        whole(self.untouched.as_ref().map_or_else(|| (self.request)(), |request| request()))
    }

    fn check_idle(&self, state: &State) -> Outcome {
        state.check_idle()?;
        (self.settled)()
    }
}

fn whole(request: Request<Bytes>) -> Request<Body> {
    request.map(Body::from)
}

fn debug(error: impl fmt::Debug) -> String {
    format!("the call fails: {error:?}")
}

fn expect<T: Copy + PartialEq + fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, not {expected:?}")) }
}

const MAX_POLLS: usize = 10_000;

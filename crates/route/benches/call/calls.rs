//! What is called in each case, and how.

use std::{
    convert::Infallible,
    future::{Future, ready},
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use tower::{Layer, Service, ServiceExt, service_fn};
use ziggurat_core::{Body, BoxError, Call, Dialect, Meter, Principal, Subscriber, Target};
use ziggurat_route::{Deployment, Group, RouteLayer, Routes};
use ziggurat_testkit::samples;
use ziggurat_translate::TranslateLayer;

/// Calls of a round.
pub(crate) const CALLS: usize = 200;

pub(crate) const CASES: [&str; 7] = ["none", "route", "planned", "stream", "streamed", "long", "longed"];

pub(crate) struct Bench {
    layer: RouteLayer,
    target: Target,
    principal: Principal,
    answer: Answer,
    head: bytes::Bytes,
    case: &'static str,
}

/// What the upstream answers.
#[derive(Clone)]
struct Answer {
    kind: &'static str,
    body: bytes::Bytes,
}

/// Somebody who wants to know.
struct Listens;

impl Subscriber for Listens {}

impl Bench {
    pub(crate) fn new(case: &'static str) -> Self {
        let target = |id: &str| {
            let url = "http://upstream.test/v1/chat/completions";
            Target::new("openai", Dialect::OpenAi, "gpt-4o", url).expect("is a target").id(id)
        };
        let deployments = ["a", "b", "c", "d"].map(|id| Deployment::new(target(id)));
        let group = Group::new("gpt-4o").deployments(deployments).build().expect("is a group");
        let routes = Routes::builder().group(group).build().expect("are routes");
        let chunk = samples::chat("Ur");
        let stream = |events: usize| Answer {
            kind: "text/event-stream",
            body: [&*chunk.repeat(events), samples::CHAT_FINISH, samples::DONE].concat().into(),
        };
        let answer = match case {
            "stream" | "streamed" => stream(8),
            "long" | "longed" => stream(400),
            _ => Answer { kind: "application/json", body: samples::CHAT_ANSWER.into() },
        };
        let mut principal = Principal::default();
        principal.key = Some(Arc::from("key"));
        let head =
            bytes::Bytes::from("application/jsonbench/1*/*0123456789abcdef/v1/chat/completions".to_owned());
        drop(head.clone());
        Self { layer: RouteLayer::new(routes), target: target("a"), principal, answer, head, case }
    }

    pub(crate) fn request(&self) -> Request<Body> {
        let stream = if self.answer.kind == "text/event-stream" { r#""stream":true,"# } else { "" };
        let body = format!(
            r#"{{"model":"gpt-4o",{stream}"max_tokens":256,"messages":[{{"role":"system","content":"You are helpful."}},{{"role":"user","content":"How high is a ziggurat?"}}]}}"#
        );
        let path = http::Uri::from_maybe_shared(self.head.slice(42..)).expect("is a path");
        let mut request = Request::post(path)
            .header("content-type", self.value(0..16))
            .header("user-agent", self.value(16..23))
            .header("accept", self.value(23..26))
            .header("x-request-id", self.value(26..42))
            .body(Body::empty())
            .expect("is a request");
        // Shared already, as a server's is, whose buffer it is a piece of.
        let body = bytes::Bytes::from(body);
        drop(body.clone());
        Call::replace(&mut request, body).expect("is a call");
        request.extensions_mut().insert(self.principal.clone());
        match self.case {
            "none" | "stream" | "long" => drop(request.extensions_mut().insert(self.target.clone())),
            "planned" => {
                let course = self.layer.routes().course("gpt-4o", Some(&self.principal)).expect("is known");
                request.extensions_mut().insert(course.plan());
                request.extensions_mut().insert(course);
            }
            _ => {}
        }
        request
    }

    /// A piece of the head, which is one buffer, as a server has read it.
    fn value(&self, at: std::ops::Range<usize>) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.head.slice(at)).expect("is a value")
    }

    pub(crate) fn run(&self, mut request: Request<Body>) {
        // As a budget outside would.
        let (meter, end) = Meter::join(&mut request);
        meter.subscribe(Arc::new(Listens));
        let answer = self.answer.clone();
        let upstream = service_fn(move |request: Request<Body>| {
            drop(request);
            let mut response = Response::new(Body::from(answer.body.clone()));
            response.headers_mut().insert("content-type", HeaderValue::from_static(answer.kind));
            ready(Ok::<_, Infallible>(response))
        });
        let translated = TranslateLayer::new().layer(upstream);
        match self.case {
            "none" | "stream" | "long" => finish(translated, request),
            _ => finish(self.layer.layer(translated), request),
        }
        drop(end);
    }
}

/// Calls, and reads the answer to its end.
fn finish<S>(service: S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<BoxError> + std::fmt::Debug,
{
    let call = pin!(service.oneshot(request));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(mut response)) = call.poll(&mut cx) else { panic!("the model does not wait") };
    assert_eq!(response.status(), 200);
    while let Poll::Ready(Some(frame)) = Pin::new(response.body_mut()).poll_frame(&mut cx) {
        assert!(black_box(frame).is_ok());
    }
}

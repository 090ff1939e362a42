//! Limits of concurrency: places are held to the last byte, and freed however a call ends.

mod support;

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tower::{ServiceExt, service_fn};
use ziggurat_core::{Body, BoxError, Limit, Meter, Scope};
use ziggurat_limit::{LimitLayer, MemoryStore, Store};
use ziggurat_testkit::{Scripted, Step};

use crate::support::*;

fn five() -> Limit {
    Limit::concurrency(Scope::gateway(), 5)
}

/// Layers that hold places, with tokens beside it and without, and how many are taken.
fn layers(time: &Manual) -> Vec<(LimitLayer, impl Fn() -> u64 + use<>)> {
    let tokens = || Limit::tokens_per_minute(Scope::gateway(), 1_000_000_000);
    [false, true]
        .map(|tokens_too| {
            let store = MemoryStore::new();
            let layer = layer(time).store(store.clone()).fixed(five());
            let layer = if tokens_too { layer.fixed(tokens()) } else { layer };
            let clock = time.clock();
            (layer, move || 5 - store.level(&five(), clock.now()).expect("is known").remaining)
        })
        .into()
}

#[tokio::test(start_paused = true)]
async fn never_more_than_five_are_in_flight_and_all_five_places_are_used() {
    for (layer, taken) in layers(&Manual::default()) {
        let (running, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (now_running, most_running) = (Arc::clone(&running), Arc::clone(&most));
        let service = of(
            &layer,
            service_fn(move |_: Request<Body>| {
                let running = Running::new(&now_running, &most_running);
                async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok::<_, Infallible>(Response::new(Body::new(Answer::new(running))))
                }
            }),
        );
        let mut clients = JoinSet::new();
        for client in 0..64 {
            let service = service.clone();
            clients.spawn(async move {
                let mut passed = 0;
                for turn in 0..20 {
                    let fields = if (client + turn) % 2 == 0 { "\"stream\":true," } else { "" };
                    let answer = ask(&service, chat(fields)).await;
                    match answer.status().as_u16() {
                        429 => {
                            assert_eq!(header(&answer, "retry-after"), "1");
                            tokio::time::sleep(Duration::from_millis(7)).await;
                        }
                        status => {
                            assert_eq!(status, 200);
                            let _ended = answer.into_body().collect().await;
                            passed += 1;
                        }
                    }
                }
                passed
            });
        }
        let passed: u64 = clients.join_all().await.iter().sum();
        assert!(passed >= 64, "{passed}");
        assert_eq!(most.load(Ordering::SeqCst), 5);
        assert_eq!((taken(), running.load(Ordering::SeqCst)), (0, 0));
    }
}

/// A call that runs at the provider, until its last byte or until it is dropped.
struct Running(Arc<AtomicU64>);

impl Running {
    fn new(running: &Arc<AtomicU64>, most: &AtomicU64) -> Self {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Self(Arc::clone(running))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A stream of two chunks, a while after each other.
struct Answer {
    running: Option<Running>,
    chunks: VecDeque<String>,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl Answer {
    fn new(running: Running) -> Self {
        Self {
            running: Some(running),
            chunks: [delta("Hel"), delta("lo") + END].into(),
            pause: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.pause.as_mut().poll(cx));
        self.pause = Box::pin(tokio::time::sleep(Duration::from_millis(15)));
        let chunk = self.chunks.pop_front();
        if self.chunks.is_empty() {
            self.running = None;
        }
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk.into()))))
    }
}

fn delta(text: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

const END: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

type Call = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>>>>;

/// A call whose provider does what `answer` says.
fn call(layer: &LimitLayer, answer: impl Fn() -> Answered + Clone + Send + Sync + 'static) -> Call {
    let service = of(layer, service_fn(move |_: Request<Body>| answer()));
    Box::pin(service.oneshot(chat("\"stream\":true,")))
}

type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn scripted(steps: Vec<Step>) -> Answered {
    Box::pin(async { Ok(Response::new(Body::from(Scripted::new(steps)))) })
}

#[tokio::test]
async fn a_place_is_free_when_the_call_is_dropped_before_its_answer() {
    for (layer, taken) in layers(&Manual::default()) {
        let mut call = call(&layer, || Box::pin(std::future::pending()));
        assert_eq!(taken(), 0, "a call that nobody waits for takes nothing");
        assert!(poll(&mut call).is_pending());
        assert_eq!(taken(), 1);
        drop(call);
        assert_eq!(taken(), 0);
    }
}

#[tokio::test]
async fn a_place_is_free_when_the_body_is_dropped_half_way() {
    for (layer, taken) in layers(&Manual::default()) {
        let answer = || scripted(vec![Step::data(delta("Hello")), Step::Stall]);
        let mut body = call(&layer, answer).await.expect("is answered").into_body();
        assert!(matches!(body.frame().await, Some(Ok(_))));
        assert_eq!(taken(), 1);
        drop(body);
        assert_eq!(taken(), 0);
    }
}

#[tokio::test]
async fn a_place_is_free_when_the_answer_fails() {
    for (layer, taken) in layers(&Manual::default()) {
        assert!(call(&layer, || Box::pin(async { Err("unreachable".into()) })).await.is_err());
        assert_eq!(taken(), 0);
        let answer = || scripted(vec![Step::data(delta("Hello")), Step::reset(), Step::Stall]);
        let mut body = call(&layer, answer).await.expect("is answered").into_body();
        assert!(matches!(body.frame().await, Some(Ok(_))));
        assert_eq!(taken(), 1);
        // It ends in an error, or in an event that tells of it.
        while let Some(Ok(_)) = body.frame().await {}
        assert_eq!(taken(), 0, "with the body still there");
    }
}

#[tokio::test]
async fn a_place_is_free_with_the_last_byte() {
    for (layer, taken) in layers(&Manual::default()) {
        let answer = || scripted(vec![Step::data(delta("Hello") + END)]);
        let mut body = call(&layer, answer).await.expect("is answered").into_body();
        assert_eq!(taken(), 1);
        while let Some(frame) = body.frame().await {
            assert!(frame.is_ok());
        }
        assert_eq!(taken(), 0, "with the body still there");
    }
}

#[tokio::test]
async fn a_place_of_a_whole_answer_is_held_until_it_was_read() {
    for (layer, taken) in layers(&Manual::default()) {
        let service = of(&layer, Provider::answering([used(1, 1)]));
        let answer = ask(&service, chat("")).await;
        assert_eq!(taken(), 1);
        text(answer).await;
        assert_eq!(taken(), 0);
        let service = of(&layer, Provider::answering([used(1, 1)]));
        drop(ask(&service, chat("")).await);
        assert_eq!(taken(), 0);
    }
}

#[tokio::test]
async fn a_call_that_an_outer_layer_meters_ends_with_its_body() {
    for (layer, taken) in layers(&Manual::default()) {
        let service = of(&layer, Provider::answering([used(1, 1)]));
        let mut request = chat("");
        let (_meter, _the_call_goes_on) = Meter::join(&mut request);
        let answer = ask(&service, request).await;
        assert_eq!(taken(), 1);
        text(answer).await;
        assert_eq!(taken(), 0);
    }
}

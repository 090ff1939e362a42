//! An upstream by script, and calls to it.
#![allow(dead_code, reason = "each suite uses its own part")]

pub(crate) mod meter;
pub(crate) mod sse;
pub(crate) mod stack;

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
use ziggurat_core::{Body, BoxError, Dialect, Served, Target};
use ziggurat_route::{Deployment, Group, RouteLayer};
use ziggurat_testkit::{Scripted, Step};
use ziggurat_translate::TranslateLayer;

/// What a deployment does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers whole with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Answers with a stream of these chunks, then ends.
    Stream(Vec<String>),
    /// Streams these chunks, then breaks.
    Breaks(Vec<String>),
    /// Streams these chunks, then says nothing any more.
    Stalls(Vec<String>),
    /// Streams these chunks, each after a while, then ends.
    Drips(Duration, Vec<String>),
    /// Does so after a while.
    After(Duration, Box<Act>),
    /// Never answers.
    Hangs,
    /// No connection.
    Refuses,
}

/// Deployments by their ids, with what they do next; the last is done for ever.
#[derive(Clone, Default)]
pub(crate) struct Upstream(
    Arc<Mutex<HashMap<String, VecDeque<Act>>>>,
    Arc<Mutex<Vec<(String, String, Instant)>>>,
    Streams,
);

/// Whether each stream that was begun is let go.
type Streams = Arc<Mutex<Vec<Arc<AtomicBool>>>>;

impl Upstream {
    pub(crate) fn does(&self, deployment: &str, acts: impl IntoIterator<Item = Act>) -> &Self {
        self.0.lock().expect("is sound").insert(deployment.to_owned(), acts.into_iter().collect());
        self
    }

    /// The deployments that were called, in order.
    pub(crate) fn called(&self) -> Vec<String> {
        self.1.lock().expect("is sound").iter().map(|(id, ..)| id.clone()).collect()
    }

    pub(crate) fn times(&self) -> Vec<Instant> {
        self.1.lock().expect("is sound").iter().map(|(.., at)| *at).collect()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.1.lock().expect("is sound").iter().map(|(_, body, _)| body.clone()).collect()
    }

    /// How many streams are still open.
    pub(crate) fn open(&self) -> usize {
        self.2.lock().expect("is sound").iter().filter(|dropped| !dropped.load(Ordering::SeqCst)).count()
    }

    fn next(&self, id: &str) -> Act {
        let mut all = self.0.lock().expect("is sound");
        let acts = all.get_mut(id).unwrap_or_else(|| panic!("nobody said what {id} does"));
        match acts.len() {
            1 => acts[0].clone(),
            _ => acts.pop_front().expect("does something"),
        }
    }

    pub(crate) fn service(&self) -> BoxCloneSyncService<Request<Body>, Response<Body>, BoxError> {
        let this = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move {
                let id = request.extensions().get::<Target>().expect("has a target").deployment().to_owned();
                let body = request.into_body().collect().await.expect("is whole").to_bytes();
                let body = String::from_utf8(body.to_vec()).expect("is UTF-8");
                this.1.lock().expect("is sound").push((id.clone(), body, Instant::now()));
                act(this.next(&id), &this.2).await
            }
        }))
    }
}

/// Becomes true when it is dropped.
#[derive(Default)]
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn act(
    act: Act,
    streams: &Streams,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>> {
    let streams = Arc::clone(streams);
    Box::pin(async move {
        let stream = |chunks: Vec<String>, last: Option<Step>| {
            let steps = chunks.into_iter().map(Step::data).chain(last);
            let body = Scripted::new(steps);
            streams.lock().expect("is sound").push(body.dropped());
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert("content-type", "text/event-stream".parse().expect("is valid"));
            Ok(response)
        };
        match act {
            Act::Answer(status, headers, body) => {
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = StatusCode::from_u16(status).expect("is valid");
                response.headers_mut().insert("content-type", "application/json".parse().expect("is valid"));
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().expect("is valid"));
                }
                Ok(response)
            }
            Act::Stream(chunks) => stream(chunks, None),
            Act::Breaks(chunks) => stream(chunks, Some(Step::reset())),
            Act::Stalls(chunks) => stream(chunks, Some(Step::Stall)),
            Act::Drips(time, chunks) => {
                let dropped = Dropped::default();
                streams.lock().expect("is sound").push(Arc::clone(&dropped.0));
                let drip = move |(mut chunks, held): (std::vec::IntoIter<String>, Dropped)| async move {
                    sleep(time).await;
                    let frame = Frame::data(Bytes::from(chunks.next()?));
                    Some((Ok::<_, BoxError>(frame), (chunks, held)))
                };
                let drips = futures_util::stream::unfold((chunks.into_iter(), dropped), drip);
                let mut response = Response::new(Body::new(StreamBody::new(Box::pin(drips))));
                let kind = HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert("content-type", kind);
                Ok(response)
            }
            Act::After(time, then) => {
                sleep(time).await;
                self::act(*then, &streams).await
            }
            Act::Hangs => std::future::pending().await,
            Act::Refuses => Err(ziggurat_core::Unsent::new("refused").into()),
        }
    })
}

pub(crate) fn ok(text: &str) -> Act {
    Act::Answer(200, vec![], answer(text))
}

pub(crate) fn answer(text: &str) -> String {
    format!(
        r#"{{"id":"c","object":"chat.completion","created":7,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}}}"#
    )
}

pub(crate) fn fails(status: u16) -> Act {
    Act::Answer(status, vec![], r#"{"error":{"message":"no","type":"server_error"}}"#.to_owned())
}

pub(crate) fn fails_with(status: u16, header: (&'static str, &str)) -> Act {
    let body = r#"{"error":{"message":"no","type":"server_error"}}"#.to_owned();
    Act::Answer(status, vec![(header.0, header.1.to_owned())], body)
}

/// A chunk of a stream of OpenAI's.
pub(crate) fn chunk(delta: &str, finish: Option<&str>) -> String {
    let finish = finish.map_or("null".to_owned(), |finish| format!("\"{finish}\""));
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

pub(crate) fn role() -> String {
    chunk(r#"{"role":"assistant","content":""}"#, None)
}

pub(crate) fn says(text: &str) -> String {
    chunk(&format!(r#"{{"content":"{text}"}}"#), None)
}

pub(crate) fn ends() -> Vec<String> {
    vec![chunk("{}", Some("stop")), "data: [DONE]\n\n".to_owned()]
}

/// A whole stream with these words.
pub(crate) fn stream(words: &[&str]) -> Act {
    let words = words.iter().map(|word| says(word));
    Act::Stream([role()].into_iter().chain(words).chain(ends()).collect())
}

pub(crate) fn target(id: &str) -> Target {
    Target::new("openai", Dialect::OpenAi, id, "http://upstream.test/v1/chat/completions")
        .expect("is valid")
        .id(id)
}

/// A target that speaks this dialect.
pub(crate) fn target_in(dialect: Dialect, id: &str) -> Target {
    match dialect {
        Dialect::Anthropic => Target::new("anthropic", dialect, id, "http://upstream.test/v1/messages")
            .expect("is valid")
            .id(id),
        _ => target(id),
    }
}

pub(crate) fn deployment(id: &str) -> Deployment {
    Deployment::new(target(id))
}

pub(crate) fn group(name: &str, ids: &[&str]) -> ziggurat_route::GroupBuilder {
    Group::new(name).deployments(ids.iter().map(|id| deployment(id))).strategy(ziggurat_route::Ordered)
}

pub(crate) fn request(model: &str, stream: bool) -> Request<Body> {
    let body =
        format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    Request::post("/v1/chat/completions").body(Body::from(body)).expect("is valid")
}

/// A request of a caller of this dialect.
pub(crate) fn request_in(dialect: Dialect, model: &str, stream: bool) -> Request<Body> {
    let mut request = request(model, stream);
    if dialect == Dialect::Anthropic {
        let body = format!(
            r#"{{"model":"{model}","stream":{stream},"max_tokens":99,"messages":[{{"role":"user","content":"Hi"}}]}}"#
        );
        *request.uri_mut() = "/v1/messages".parse().expect("is valid");
        *request.body_mut() = Body::from(body);
    }
    request
}

/// What a caller gets.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) served: Option<Served>,
    pub(crate) took: Duration,
    /// Until the head of the response.
    pub(crate) head: Duration,
}

pub(crate) type Service = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The layer around the upstream, with a translation between them.
pub(crate) fn around(layer: &RouteLayer, upstream: &Upstream) -> Service {
    around_at(layer, upstream, Duration::from_secs(7))
}

/// As [`around`], so long after 1970.
pub(crate) fn around_at(layer: &RouteLayer, upstream: &Upstream, since: Duration) -> Service {
    let translate = TranslateLayer::new().clock(move || SystemTime::UNIX_EPOCH + since);
    BoxCloneSyncService::new(layer.layer(translate.layer(upstream.service())))
}

/// The layer around the upstream alone.
pub(crate) fn alone(layer: &RouteLayer, upstream: &Upstream) -> Service {
    BoxCloneSyncService::new(layer.layer(upstream.service()))
}

pub(crate) async fn call(service: &Service, request: Request<Body>) -> Got {
    let start = Instant::now();
    let response = service.clone().oneshot(request).await.expect("is valid");
    let head = start.elapsed();
    let (parts, body) = response.into_parts();
    let bytes: Bytes = body.collect().await.expect("does not fail").to_bytes();
    Got {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(bytes.to_vec()).expect("is valid"),
        served: parts.extensions.get().cloned(),
        took: start.elapsed(),
        head,
    }
}

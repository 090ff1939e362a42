//! The inner service of the checks: it follows a script and keeps count.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower_service::Service;
use ziggurat_core::{Body, BoxError};

/// A service that holds a permit from readiness to the end of the call, as tower's `ConcurrencyLimit` does, and notes when it is
/// called without one.
#[derive(Debug)]
pub struct Inner {
    state: Arc<State>,
    permit: Option<Permit>,
}

/// How the inner service behaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    pub(super) response: Response<Bytes>,
    /// Bytes of the response's body a frame; 0 gives it whole.
    pub(super) frame: usize,
    /// Whether every step is first pending, once.
    pub(super) pauses: bool,
    pub(super) ending: Ending,
}

/// How the answer ends.
#[derive(Clone, Debug, Default)]
pub(super) enum Ending {
    #[default]
    Clean,
    Trailers(HeaderMap),
    /// The call itself fails.
    NoAnswer,
    /// The body fails in its middle.
    HalfWay,
}

#[derive(Debug, Default)]
pub(super) struct State {
    script: Script,
    /// Permits held: reservations and running calls.
    permits: AtomicUsize,
    /// Whether a permit can be had only while none is held.
    pub(super) single: bool,
    /// Response bodies that have not been dropped.
    bodies: AtomicUsize,
    calls: AtomicUsize,
    unready_calls: AtomicUsize,
    /// The bodies of the requests that came.
    requests: Mutex<Vec<Bytes>>,
    waiting: Mutex<Vec<Waker>>,
}

#[derive(Debug)]
pub(super) struct Permit(Arc<State>);

struct CountedBody {
    state: Arc<State>,
    steps: VecDeque<Step>,
    /// What is left, where the hint is to be exact.
    left: Option<u64>,
}

enum Step {
    Pause,
    Frame(Frame<Bytes>),
    Fail,
}

// ===== impl Script =====

impl Script {
    pub(super) fn new(response: Response<Bytes>) -> Self {
        Self { response, ..Self::default() }
    }

    fn body(&self, state: &Arc<State>) -> Body {
        let bytes = self.response.body();
        let mut frames = steps(bytes, self.frame, self.pauses);
        match &self.ending {
            Ending::Trailers(trailers) => frames.push_back(Step::Frame(Frame::trailers(trailers.clone()))),
            Ending::HalfWay => {
                frames = steps(&bytes.slice(..bytes.len() / 2), self.frame, self.pauses);
                frames.push_back(Step::Fail);
            }
            Ending::Clean | Ending::NoAnswer => {}
        }
        state.bodies.fetch_add(1, Ordering::SeqCst);
        let left = matches!(self.ending, Ending::Clean).then_some(bytes.len() as u64);
        Body::new(CountedBody { state: Arc::clone(state), steps: frames, left })
    }
}

/// A request's body in frames of so many bytes, each after a pause if so wanted.
pub(super) fn request_body(bytes: &Bytes, frame: usize, pauses: bool) -> Body {
    let state = Arc::new(State::default());
    state.bodies.fetch_add(1, Ordering::SeqCst);
    Body::new(CountedBody { state, steps: steps(bytes, frame, pauses), left: None })
}

fn steps(bytes: &Bytes, frame: usize, pauses: bool) -> VecDeque<Step> {
    let size = if frame == 0 { bytes.len().max(1) } else { frame };
    let mut steps = VecDeque::new();
    for start in (0..bytes.len()).step_by(size) {
        steps.extend(pauses.then_some(Step::Pause));
        steps.push_back(Step::Frame(Frame::data(bytes.slice(start..bytes.len().min(start + size)))));
    }
    steps.extend(pauses.then_some(Step::Pause));
    steps
}

// ===== impl State =====

impl State {
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(super) fn requests(&self) -> Vec<Bytes> {
        lock(&self.requests).clone()
    }

    /// What is still held, if anything is.
    pub(super) fn check_idle(&self) -> Result<(), String> {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        match (count(&self.unready_calls), count(&self.permits), count(&self.bodies)) {
            (0, 0, 0) => Ok(()),
            (0, permits, bodies) => {
                Err(format!("{permits} permits and {bodies} bodies of the inner service are still held"))
            }
            (unready, ..) => Err(format!("the inner service was called {unready} times without being ready")),
        }
    }

    pub(super) fn permit(self: &Arc<Self>) -> Permit {
        self.permits.fetch_add(1, Ordering::SeqCst);
        Permit(Arc::clone(self))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.permits.fetch_sub(1, Ordering::SeqCst);
        lock(&self.0.waiting).drain(..).for_each(Waker::wake);
    }
}

// ===== impl Inner =====

impl Inner {
    pub(super) fn new(script: Script, single: bool) -> (Self, Arc<State>) {
        let state = Arc::new(State { script, single, ..State::default() });
        (Self { state: Arc::clone(&state), permit: None }, state)
    }
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), permit: None }
    }
}

impl Service<Request<Body>> for Inner {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.permit.is_none() {
            if self.state.single && self.state.permits.load(Ordering::SeqCst) > 0 {
                lock(&self.state.waiting).push(cx.waker().clone());
                return Poll::Pending;
            }
            self.permit = Some(self.state.permit());
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let permit = self.permit.take();
        self.state.calls.fetch_add(1, Ordering::SeqCst);
        if permit.is_none() {
            self.state.unready_calls.fetch_add(1, Ordering::SeqCst);
        }
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            let _held_while_it_runs = permit;
            let bytes = request.into_body().collect_within(MAX_REQUEST).await?;
            lock(&state.requests).push(bytes);
            if state.script.pauses {
                pause().await;
            }
            if let Ending::NoAnswer = state.script.ending {
                return Err("the inner service fails".into());
            }
            let (parts, _) = state.script.response.clone().into_parts();
            Ok(Response::from_parts(parts, state.script.body(&state)))
        })
    }
}

/// Pending once.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

// ===== impl CountedBody =====

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Fail) => Poll::Ready(Some(Err("the inner body breaks off".into()))),
            Some(Step::Pause) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Frame(frame)) => {
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    *left -= data.len() as u64;
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        self.state.bodies.fetch_sub(1, Ordering::SeqCst);
    }
}

/// All of a body's data and its trailers, or the error it ended in; after the end it is polled once more.
pub(super) async fn read_all(mut body: Body) -> Result<(Bytes, Option<HeaderMap>), String> {
    let (mut data, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        let frame = frame.map_err(|error| error.to_string())?;
        match frame.into_data() {
            Ok(_) if trailers.is_some() => return Err("data behind the trailers".to_owned()),
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(other) => trailers = other.into_trailers().ok(),
        }
    }
    match http_body_util::BodyExt::frame(&mut body).await {
        None => Ok((data.freeze(), trailers)),
        Some(_) => Err("a frame behind the end".to_owned()),
    }
}

const MAX_REQUEST: usize = 1 << 20;

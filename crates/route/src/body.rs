//! The body of a stream that has begun, and of one that has to wait for it.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use ziggurat_core::{Body, BoxError, CallEnd, Cause, Dialect, Outcome, Problem};

use crate::{
    attempt::Answer,
    score::Score,
    timeouts::{Fires, Timer},
    watched::Watched,
};

/// A stream behind its first content: it may be silent only so long, and its end is its deployment's score.
pub(crate) struct RoutedBody {
    /// What came ahead of the first content, and that; behind a late piece, the error that ends the stream.
    frames: VecDeque<Frame<Bytes>>,
    /// Absent once it has ended.
    inner: Option<Body>,
    watched: Arc<Watched>,
    /// Absent once it is told.
    score: Option<Score>,
    timer: Option<Running>,
    /// Which of the timeouts has ended it.
    fired: Option<Timer>,
    dialect: Dialect,
    /// Ends the call: dropped last.
    end: Option<CallEnd>,
}

/// The timeouts that still run.
struct Running {
    idle: Option<Duration>,
    whole: Option<Fires>,
    fires: Fires,
    /// Whether a piece is waited for.
    waits: bool,
    sleep: Pin<Box<Sleep>>,
}

// ===== impl RoutedBody =====

impl RoutedBody {
    pub(crate) fn new(
        answer: Answer,
        score: Score,
        idle: Option<Duration>,
        dialect: Dialect,
        end: Option<CallEnd>,
    ) -> (http::response::Parts, Self) {
        let Answer { head, frames, body, watched, whole } = answer;
        let timer = Running::start(idle, whole);
        let (inner, score) = (Some(body), Some(score));
        let mut this = Self { frames, inner, watched, score, timer, fired: None, dialect, end };
        this.settle();
        (head, this)
    }

    /// Tells the deployment how its answer ended, once it has.
    fn settle(&mut self) {
        if self.score.is_some()
            && let Some(attempt) = self.watched.ended()
            && let Some(score) = self.score.take()
        {
            score.ended(&attempt, &self.watched);
        }
    }

    /// Why its provider has failed, if that is how it ended.
    pub(crate) fn failure(&self) -> Option<Cause> {
        match self.fired {
            Some(Timer::Total) => None,
            Some(_) => Some(Cause::Timeout),
            None => {
                let attempt = self.watched.ended()?;
                let failed = matches!(attempt.outcome, Some(Outcome::Failed | Outcome::Truncated));
                failed.then(|| attempt.problem.map_or(Cause::Upstream, |problem| problem.cause))
            }
        }
    }

    fn finish(&mut self) {
        self.inner = None;
        self.timer = None;
        self.settle();
        self.score = None;
        self.end = None;
    }

    fn late(&mut self, fires: &Fires) -> Frame<Bytes> {
        self.fired = Some(fires.timer);
        if let Some(score) = self.score.take() {
            score.late(fires);
        }
        self.finish();
        Frame::data(fires.problem().to_event(self.dialect).into())
    }
}

impl HttpBody for RoutedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(frame) = this.frames.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.settle();
                let fires = this.timer.as_mut().and_then(Running::goes_on);
                if let Some(fires) = fires.filter(|_| this.score.is_some()) {
                    // What is metered is the caller's: the error comes behind it.
                    let error = this.late(&fires);
                    this.frames.push_back(error);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(ended) => {
                this.finish();
                Poll::Ready(ended)
            }
            Poll::Pending => {
                let fired = this.timer.as_mut().map_or(Poll::Pending, |timer| timer.poll(cx));
                match fired {
                    // Nothing is left to say where the answer is whole already.
                    Poll::Ready(_) if this.score.is_none() => {
                        this.finish();
                        Poll::Ready(None)
                    }
                    Poll::Ready(fires) => Poll::Ready(Some(Ok(this.late(&fires)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl fmt::Debug for RoutedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutedBody").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

// ===== impl Running =====

impl Running {
    fn start(idle: Option<Duration>, whole: Option<Fires>) -> Option<Self> {
        let fires = Fires::first(whole, Fires::after(Instant::now(), idle, Timer::Idle))?;
        Some(Self { idle, whole, fires, waits: true, sleep: Box::pin(sleep_until(fires.at)) })
    }

    /// A piece has come: which timeout ends the stream all the same, if its time is over. A stream that never pauses is looked at here
    /// alone.
    fn goes_on(&mut self) -> Option<Fires> {
        self.waits = false;
        self.whole.filter(|whole| whole.at <= Instant::now())
    }

    /// No piece has come: whether one is late. The silence counts from when it is first waited for: as long as a caller does not read,
    /// the provider is not silent.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fires> {
        if !self.waits {
            self.waits = true;
            let idle = Fires::after(Instant::now(), self.idle, Timer::Idle);
            if let Some(fires) = Fires::first(self.whole, idle).filter(|fires| *fires != self.fires) {
                self.fires = fires;
                self.sleep.as_mut().reset(fires.at);
            }
        }
        self.sleep.as_mut().poll(cx).map(|()| self.fires)
    }
}

/// What is answered at the end of all attempts: the response, and what the caller is told where it is a failure.
pub(crate) struct Told {
    pub(crate) response: Response<Body>,
    pub(crate) problem: Option<Problem>,
}

type Attempts = Pin<Box<dyn Future<Output = Told> + Send>>;

/// The body of a stream whose head went out before there was content: it keeps the connection alive with comments while the attempts
/// go on.
pub(crate) struct EarlyBody {
    state: Early,
    comment: Pin<Box<Sleep>>,
    every: Duration,
    dialect: Dialect,
}

enum Early {
    Trying(Attempts),
    Begun(Body),
    Over,
}

// ===== impl EarlyBody =====

impl EarlyBody {
    pub(crate) fn new(attempts: Attempts, every: Duration, dialect: Dialect) -> Self {
        let every = every.max(LEAST_PAUSE);
        // The first comes at once, so that the head is not alone.
        Self { state: Early::Trying(attempts), comment: Box::pin(sleep(Duration::ZERO)), every, dialect }
    }
}

impl HttpBody for EarlyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                Early::Begun(body) => return Pin::new(body).poll_frame(cx),
                Early::Over => return Poll::Ready(None),
                Early::Trying(attempts) => {
                    if let Poll::Ready(told) = attempts.as_mut().poll(cx) {
                        let Some(problem) = told.problem else {
                            this.state = Early::Begun(told.response.into_body());
                            continue;
                        };
                        this.state = Early::Over;
                        let event = problem.to_event(this.dialect);
                        return Poll::Ready(Some(Ok(Frame::data(event.into()))));
                    }
                    // Google's SDKs take each line for a part of an answer.
                    let takes_comments = this.dialect != Dialect::Gemini;
                    if takes_comments && this.comment.as_mut().poll(cx).is_ready() {
                        let next = Instant::now() + this.every;
                        this.comment.as_mut().reset(next);
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(COMMENT)))));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            Early::Trying(_) => false,
            Early::Begun(body) => body.is_end_stream(),
            Early::Over => true,
        }
    }
}

impl fmt::Debug for EarlyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyBody").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

/// Between two comments, however short the hold is.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// What keeps a connection alive and means nothing, in both dialects.
const COMMENT: &[u8] = b": waiting for the provider\n\n";

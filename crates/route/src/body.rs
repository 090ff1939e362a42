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
use ziggurat_core::{Attempt, Body, BoxError, CallEnd, Cause, Dialect, Outcome, Problem, Usage};

use crate::{
    Permit, Sample,
    attempt::Answer,
    timeouts::{Fires, Timer},
    watched::Watched,
};

/// A stream behind its first content: it may be silent only so long, and its end is its deployment's score.
pub(crate) struct RoutedBody {
    /// What came ahead of the first content, and that.
    frames: VecDeque<Frame<Bytes>>,
    /// Absent once it has ended.
    inner: Option<Body>,
    watched: Arc<Watched>,
    permit: Option<Permit>,
    timer: Option<Running>,
    dialect: Dialect,
    /// Ends the call: dropped last.
    end: Option<CallEnd>,
}

/// The timeouts that still run.
struct Running {
    idle: Option<Duration>,
    whole: Option<Fires>,
    fires: Fires,
    sleep: Pin<Box<Sleep>>,
}

// ===== impl RoutedBody =====

impl RoutedBody {
    pub(crate) fn new(
        answer: Answer,
        permit: Permit,
        idle: Option<Duration>,
        dialect: Dialect,
        end: Option<CallEnd>,
    ) -> (http::response::Parts, Self) {
        let Answer { head, frames, body, watched, whole } = answer;
        let timer = Running::start(idle, whole);
        let mut this = Self { frames, inner: Some(body), watched, permit: Some(permit), timer, dialect, end };
        this.settle();
        (head, this)
    }

    /// Tells the deployment how its answer ended, once it has.
    fn settle(&mut self) {
        if self.permit.is_some()
            && let Some(attempt) = self.watched.ended()
            && let Some(permit) = self.permit.take()
        {
            settle(permit, &attempt, &self.watched);
        }
    }

    fn finish(&mut self) {
        self.inner = None;
        self.timer = None;
        self.settle();
        self.permit = None;
        self.end = None;
    }

    fn late(&mut self, fires: &Fires) -> Frame<Bytes> {
        if fires.timer != Timer::Total
            && let Some(permit) = self.permit.take()
        {
            permit.failed(Cause::Timeout, None, Instant::now());
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
                if let Some(timer) = &mut this.timer {
                    timer.reset();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(ended) => {
                this.finish();
                Poll::Ready(ended)
            }
            Poll::Pending => {
                let fired = this.timer.as_mut().is_some_and(|timer| timer.sleep.as_mut().poll(cx).is_ready());
                match this.timer.as_ref().filter(|_| fired).map(|timer| timer.fires) {
                    // Nothing is left to say where the answer is whole already.
                    Some(_) if this.permit.is_none() => {
                        this.finish();
                        Poll::Ready(None)
                    }
                    Some(fires) => Poll::Ready(Some(Ok(this.late(&fires)))),
                    None => Poll::Pending,
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

/// Tells a deployment how its answer ended.
pub(crate) fn settle(permit: Permit, attempt: &Attempt, watched: &Watched) {
    match attempt.outcome {
        Some(Outcome::Complete | Outcome::Refused) => {
            permit.succeeded(&sample(attempt, watched), Instant::now())
        }
        Some(Outcome::Failed | Outcome::Truncated) => {
            let problem = attempt.problem.as_deref();
            let cause = problem.map_or(Cause::Upstream, |problem| problem.cause);
            permit.failed(cause, problem.and_then(|problem| problem.retry_after), Instant::now());
        }
        // We stopped it, or its caller left: the deployment has no part in that.
        _ => drop(permit),
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

// ===== impl Running =====

impl Running {
    fn start(idle: Option<Duration>, whole: Option<Fires>) -> Option<Self> {
        let fires = Fires::first(whole, Fires::after(Instant::now(), idle, Timer::Idle))?;
        Some(Self { idle, whole, fires, sleep: Box::pin(sleep_until(fires.at)) })
    }

    fn reset(&mut self) {
        if let Some(fires) = Fires::first(self.whole, Fires::after(Instant::now(), self.idle, Timer::Idle))
            && fires != self.fires
        {
            self.fires = fires;
            self.sleep.as_mut().reset(fires.at);
        }
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
                    if this.comment.as_mut().poll(cx).is_ready() {
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

/// What keeps a connection alive and means nothing, in both dialects.
const COMMENT: &[u8] = b": waiting for the provider\n\n";

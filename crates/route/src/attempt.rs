//! One attempt to get an answer: from a request to the first content of its answer.

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, request, response};
use http_body::{Body as HttpBody, Frame};
use tokio::time::Instant;
use tower_service::Service;
use ziggurat_core::{
    Attempt, AttemptHandle, Body, BoxError, Call, Meter, Metered, OpenAttempt, Outcome, Problem, Rejection,
    Resend, Target, is_timeout,
};
use ziggurat_dialect::{add_hints, decode_error, decode_error_of};
use ziggurat_meter::{feed_error, read_answer};

use crate::{
    Group, Left, RetryPolicy,
    layer::Config,
    shadow::IsShadow,
    timeouts::{AttemptTimes, Fires, Timeouts, Timer, fired},
    watched::Watched,
};

/// What all attempts of a call share.
pub(crate) struct Asked {
    /// The request's head; what is sent is a copy of it.
    pub(crate) parts: request::Parts,
    pub(crate) body: Resend,
    pub(crate) call: Call,
    pub(crate) meter: Meter,
    pub(crate) config: Arc<Config>,
    /// How many attempts were made.
    pub(crate) made: AtomicU32,
}

/// An answer that is the caller's: nothing is tried after it.
pub(crate) struct Answer {
    pub(crate) head: response::Parts,
    /// What has come of its body already.
    pub(crate) frames: VecDeque<Frame<Bytes>>,
    pub(crate) body: Body,
    pub(crate) watched: Arc<Watched>,
    /// When the attempt is to be over.
    pub(crate) whole: Option<Fires>,
}

/// Why there is no answer.
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) problem: Problem,
    /// The answer that says so, where it came as one.
    pub(crate) response: Option<Response<Body>>,
    /// The timeout that it is, where it is one.
    pub(crate) fired: Option<Fires>,
    /// Whether that was the caller's own.
    pub(crate) impatient: bool,
    /// The deployment that it is the failure of, where one was asked: by its group, and its index there.
    pub(crate) by: Option<(Arc<Group>, usize)>,
}

/// Whose failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The provider's, or that of the way to it.
    Provider,
    /// A layer of ours refused the attempt before anything was sent.
    Refused,
    /// A layer of ours ended the call, or its time is over: nothing more is tried.
    Final,
    /// All deployments of the group cool down, and another group was asked in their place.
    Cooling,
}

// ===== impl Failure =====

impl Failure {
    pub(crate) fn new(kind: Kind, problem: Problem) -> Box<Self> {
        Box::new(Self { kind, problem, response: None, fired: None, impatient: false, by: None })
    }

    pub(crate) fn refused(kind: Kind, rejection: &Rejection) -> Box<Self> {
        Self::new(kind, rejection.problem().clone())
    }

    fn of_error(error: &BoxError) -> Box<Self> {
        match Rejection::find_in(error.as_ref()) {
            // A stop of the host's, say.
            Some(rejection) => Self::refused(Kind::Final, rejection),
            None => Self::new(Kind::Provider, Problem::of_error(error.as_ref())),
        }
    }

    /// How often the call is tried again: as the deployment says that failed, else as its group does.
    pub(crate) fn policy(&self, group: &Group) -> RetryPolicy {
        let own = self.by.as_ref().and_then(|(of, index)| of.deployments()[*index].settings().retries);
        let policy = group.retry().clone();
        match own {
            Some(times) => policy.times(times),
            None => policy,
        }
    }

    fn with(mut self: Box<Self>, response: Response<Body>) -> Box<Self> {
        self.response = Some(response);
        self
    }

    fn late(fires: &Fires) -> Box<Self> {
        let kind = if fires.timer == Timer::Total { Kind::Final } else { Kind::Provider };
        let mut failure = Self::new(kind, fires.problem());
        failure.fired = Some(*fires);
        failure
    }
}

// ===== impl Asked =====

impl Asked {
    /// Asks a target, until there is content to give on, or all of an answer in one piece.
    pub(crate) async fn attempt<S, ResBody>(
        &self,
        inner: S,
        target: &Target,
        timeouts: Timeouts,
        total: Option<Fires>,
    ) -> Result<Answer, Box<Failure>>
    where
        S: Service<Request<Body>, Response = Response<ResBody>>,
        S::Error: Into<BoxError>,
        ResBody: HttpBody<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
    {
        let opened = tokio::select! {
            biased;
            opened = self.meter.attempt(Some(target)) => opened,
            fires = fired(total) => return Err(Failure::late(&fires)),
        };
        let handle = opened.map_err(|rejection| Failure::refused(Kind::Refused, &rejection))?;
        self.made.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let watched = Watched::new(start);
        let open = OpenAttempt::new(handle.watched(Arc::clone(&watched) as _));
        let mut whole = Fires::first(Fires::after(start, timeouts.attempt, Timer::Attempt), total);
        if !self.is_followed() {
            whole = Fires::first(Fires::after(start, timeouts.whole, Timer::Attempt), whole);
        }
        // Content that is late is late without a head, too.
        let token = Fires::after(start, timeouts.first_token, Timer::FirstToken);
        let token = Fires::first(whole, token.filter(|_| self.is_followed()));
        let first_byte = Fires::after(start, timeouts.first_byte, Timer::FirstByte);
        let head = match self.is_followed() {
            true => Fires::first(first_byte, token),
            // The head of an answer in one piece may come with its end.
            false => Fires::first(whole, first_byte),
        };
        let silence = if self.is_followed() { timeouts.idle } else { timeouts.whole.or(timeouts.attempt) };
        let idle = silence.map(|silence| silence.saturating_add(GRACE));
        let times = AttemptTimes { head: head.map(|fires| fires.at), idle };
        let request = self.request(target, times, &open);
        let answered = {
            let mut answering = pin!(self.answer(inner, request, &open, &watched, head));
            tokio::select! {
                biased;
                answered = &mut answering => answered?,
                fires = fired(head) => match fires.timer {
                    // There is a head, whose body a layer inside reads.
                    Timer::FirstByte if self.has_head(target) => tokio::select! {
                        biased;
                        answered = &mut answering => answered?,
                        fires = fired(token) => return Err(late(&fires, &open)),
                    },
                    _ => return Err(late(&fires, &open)),
                },
            }
        };
        let (head, body) = answered.into_parts();
        let mut answer = Answer { head, frames: VecDeque::new(), body, watched, whole };
        if self.is_followed() {
            answer.wait_for_content(token).await?;
        }
        Ok(answer)
    }

    /// How many attempts were made.
    pub(crate) fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    /// Whether the answer is a stream whose content is known.
    pub(crate) fn is_followed(&self) -> bool {
        self.call.stream() && self.is_read()
    }

    /// Whether it is a shadow: nothing that others need is used up for it.
    pub(crate) fn is_shadow(&self) -> bool {
        self.parts.extensions.get::<IsShadow>().is_some()
    }

    /// Whether its caller has left: no attempt is begun for nobody.
    pub(crate) fn has_left(&self) -> bool {
        self.parts.extensions.get().is_some_and(Left::is_said)
    }

    /// Whether the head of the answer of a target, whose attempt is open, is there.
    fn has_head(&self, target: &Target) -> bool {
        let attempts = self.meter.attempts();
        let is_open = |it: &&Attempt| {
            let known = it.target.as_ref().is_some_and(|known| known.deployment() == target.deployment());
            known && it.outcome.is_none()
        };
        attempts.iter().rev().find(is_open).is_some_and(|attempt| attempt.status.is_some())
    }

    fn request(&self, target: &Target, times: AttemptTimes, open: &OpenAttempt) -> Request<Body> {
        let mut parts = self.parts.clone();
        parts.extensions.insert(target.clone());
        parts.extensions.insert(open.clone());
        if times.head.is_some() || times.idle.is_some() {
            parts.extensions.insert(times);
        }
        Request::from_parts(parts, self.body.body())
    }

    /// Whether answers to this operation are read.
    fn is_read(&self) -> bool {
        self.call.operation().is_conversation()
    }

    /// Sends the request, and reads its answer where no layer inside does.
    async fn answer<S, ResBody>(
        &self,
        mut inner: S,
        request: Request<Body>,
        open: &OpenAttempt,
        watched: &Watched,
        head: Option<Fires>,
    ) -> Result<Response<Body>, Box<Failure>>
    where
        S: Service<Request<Body>, Response = Response<ResBody>>,
        S::Error: Into<BoxError>,
        ResBody: HttpBody<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
    {
        let called = async {
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(request).await
        };
        let response = match called.await {
            Ok(response) => response.map(Body::new),
            Err(error) => return Err(failed(&error.into(), open, head)),
        };
        let untaken = open.take();
        if let Some(rejection) = response.extensions().get::<Rejection>() {
            if let Some(handle) = untaken {
                handle.withdraw();
            }
            // One that ended in the middle was made, and counts.
            let kind = if watched.ended().is_some() { Kind::Final } else { Kind::Refused };
            if kind == Kind::Refused {
                self.made.fetch_sub(1, Ordering::Relaxed);
            }
            return Err(Failure::refused(kind, rejection).with(response));
        }
        let response = match untaken {
            Some(handle) if response.extensions().get::<Metered>().is_none() => {
                // In a box: what it takes to read an answer is not carried by calls whose answers are read inside.
                let mut response = Box::pin(self.read(handle, response)).await;
                // A subscriber's stop while it was read.
                if let Some(rejection) = response.extensions().get::<Rejection>() {
                    return Err(Failure::refused(Kind::Final, rejection).with(response));
                }
                if let Some(problem) = no_answer(watched).filter(|_| response.status().is_success()) {
                    return Err(Failure::new(Kind::Provider, problem));
                }
                response.extensions_mut().insert(Metered);
                response
            }
            Some(handle) => {
                handle.withdraw();
                response
            }
            None => response,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let known = watched.ended().and_then(|attempt| attempt.problem);
        let problem = known.map_or_else(|| decode_error(Some(response.status()), b""), |it| (*it).clone());
        Err(Failure::new(Kind::Provider, problem).with(response))
    }

    /// Reads an answer that nobody inside has read.
    async fn read(&self, mut handle: AttemptHandle, response: Response<Body>) -> Response<Body> {
        handle.sent();
        handle.answered(response.status());
        if !response.status().is_success() {
            let (parts, body) = response.into_parts();
            let bytes = body.collect_within(MAX_ERROR).await.unwrap_or_default();
            let mut problem = decode_error_of(parts.status, &parts.headers, &bytes);
            add_hints(&mut problem, &parts.headers, &bytes, self.config.clock.now());
            handle.failed(&problem);
            handle.end(Outcome::Failed);
            return Response::from_parts(parts, Body::from(bytes));
        }
        if !self.is_read() {
            handle.end(Outcome::Complete);
            return response;
        }
        let (call, meter) = (self.call.clone(), self.meter.clone());
        read_answer(response, call, handle, meter, self.config.max_response, None).await
    }
}

async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, BoxError>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// Why what a provider sent is no answer, if it is none.
fn no_answer(watched: &Watched) -> Option<Problem> {
    let attempt = watched.ended()?;
    let failed = matches!(attempt.outcome, Some(Outcome::Failed | Outcome::Truncated));
    attempt.problem.filter(|_| failed).map(|problem| (*problem).clone())
}

/// The failure of an attempt without an answer; where nobody inside has it, its end is recorded here.
fn failed(error: &BoxError, open: &OpenAttempt, head: Option<Fires>) -> Box<Failure> {
    let failure = match head {
        // The client has looked at the same clock.
        Some(fires) if is_timeout(error.as_ref()) && Instant::now() >= fires.at => Failure::late(&fires),
        _ => Failure::of_error(error),
    };
    if let Some(mut handle) = open.take() {
        handle.sent();
        handle.failed(&failure.problem);
        feed_error(&mut handle, error);
    }
    failure
}

/// Gives an attempt up; where nobody inside has it, its end is recorded here.
fn late(fires: &Fires, open: &OpenAttempt) -> Box<Failure> {
    let failure = Failure::late(fires);
    if let Some(mut handle) = open.take() {
        handle.sent();
        handle.failed(&failure.problem);
        handle.end(Outcome::Failed);
    }
    failure
}

// ===== impl Answer =====

impl Answer {
    /// Holds back what comes ahead of the first content: a failure until then is no answer.
    async fn wait_for_content(&mut self, token: Option<Fires>) -> Result<(), Box<Failure>> {
        let mut held = 0;
        let mut late = pin!(fired(token));
        while !self.watched.begun() && held <= MAX_PREAMBLE {
            let frame = tokio::select! {
                biased;
                frame = next(&mut self.body) => frame,
                fires = &mut late => return Err(Failure::late(&fires)),
            };
            match frame {
                Some(Ok(frame)) => {
                    held += mem::size_of_val(&frame) + frame.data_ref().map_or(0, Bytes::len);
                    self.frames.push_back(frame);
                }
                Some(Err(error)) => return Err(Failure::of_error(&error)),
                None => {
                    self.body = Body::empty();
                    break;
                }
            }
        }
        match no_answer(&self.watched) {
            Some(problem) if !self.watched.begun() => Err(Failure::new(Kind::Provider, problem)),
            // An answer without a word, or one that a layer of ours has stopped.
            _ => Ok(()),
        }
    }
}

/// How much longer the HTTP client waits for the next piece of an answer: who knows what for fires first.
const GRACE: Duration = Duration::from_secs(1);
/// Longest error body that is read.
const MAX_ERROR: usize = 1 << 20;
/// Most bytes that are held back of a stream whose first content nobody recognises, with what it takes to hold them.
const MAX_PREAMBLE: usize = 1 << 20;

//! Errors as responses, for hosts that want none.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Body, BoxError, Dialect, Operation, Problem, Rejection};

/// Turns the errors of the services inside into responses in the caller's dialect: axum wants `Error = Infallible`.
///
/// By default a timeout answers 504 and anything else 502, without a word of the error's own: it may name hosts. A
/// [`Rejection`] anywhere in the error's chain of sources answers as itself. See [`Problem::of_error`].
#[derive(Clone)]
pub struct RespondErrorLayer {
    explain: Explain,
}

/// The service of [`RespondErrorLayer`].
pub struct RespondError<S> {
    inner: S,
    explain: Explain,
    /// An error of `poll_ready`, which is answered by the call that follows.
    unready: Option<Answer>,
}

type Explain = Arc<dyn Fn(&(dyn Error + 'static)) -> Answer + Send + Sync>;

/// What an error is answered with; a refusal of ours stays one, for outer layers to read.
enum Answer {
    Rejection(Rejection),
    Problem(Problem),
}

pin_project_lite::pin_project! {
    /// The response future of [`RespondError`].
    #[project = FutureProj]
    #[doc(hidden)]
    pub enum ResponseFuture<F> {
        Calling { #[pin] future: F, explain: Explain, dialect: Dialect },
        Failed { answer: Option<Answer>, dialect: Dialect },
    }
}

// ===== impl RespondErrorLayer =====

impl RespondErrorLayer {
    /// A layer with the standard answers.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Problem::of_error)
    }

    /// Answers an error with what `explain` makes of it; a [`Rejection`] in its chain of sources answers as itself, and
    /// `explain` is not asked.
    #[must_use]
    pub fn with(explain: impl Fn(&(dyn Error + 'static)) -> Problem + Send + Sync + 'static) -> Self {
        Self {
            explain: Arc::new(move |error| match Rejection::find_in(error) {
                Some(rejection) => Answer::Rejection(rejection.clone()),
                None => Answer::Problem(explain(error)),
            }),
        }
    }
}

impl Default for RespondErrorLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RespondErrorLayer {
    type Service = RespondError<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RespondError { inner, explain: Arc::clone(&self.explain), unready: None }
    }
}

impl fmt::Debug for RespondErrorLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespondErrorLayer").finish_non_exhaustive()
    }
}

// ===== impl RespondError =====

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RespondError<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A service that has failed must not be polled again, and the failure waits for its call.
        if self.unready.is_none()
            && let Err(error) = ready!(self.inner.poll_ready(cx))
        {
            self.unready = Some((self.explain)(error.into().as_ref()));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (_, path_dialect, _) = Operation::of_path(request.method(), request.uri().path());
        let dialect = request.extensions().get().copied().unwrap_or(path_dialect);
        match self.unready.take() {
            Some(answer) => ResponseFuture::Failed { answer: Some(answer), dialect },
            None => ResponseFuture::Calling {
                future: self.inner.call(request),
                explain: Arc::clone(&self.explain),
                dialect,
            },
        }
    }
}

impl<S: Clone> Clone for RespondError<S> {
    fn clone(&self) -> Self {
        // Readiness, and so the lack of it, is not inherited.
        Self { inner: self.inner.clone(), explain: Arc::clone(&self.explain), unready: None }
    }
}

impl<S: fmt::Debug> fmt::Debug for RespondError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespondError").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    E: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match self.project() {
            FutureProj::Failed { answer, dialect } => {
                answer.take().expect("a future is not polled after its end").into_response(*dialect)
            }
            FutureProj::Calling { future, explain, dialect } => match ready!(future.poll(cx)) {
                Ok(response) => response.map(Body::new),
                Err(error) => explain(error.into().as_ref()).into_response(*dialect),
            },
        }))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// ===== impl Answer =====

impl Answer {
    fn into_response(self, dialect: Dialect) -> Response<Body> {
        match self {
            Self::Rejection(rejection) => rejection.into_response(dialect),
            Self::Problem(problem) => problem.into_response(dialect),
        }
    }
}

#[cfg(test)]
mod tests;

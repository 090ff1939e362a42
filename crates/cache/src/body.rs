//! What somebody reads of a call that is shared.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use ziggurat_core::{Body, BoxError, Cause, Dialect, Problem, Rejection};

use crate::{
    Form,
    flight::{Next, Present},
};

/// A call of one's own, made when the shared one was ended for another's sake.
pub(crate) type OwnCall = Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send>>;

pub(crate) struct FlightBody {
    present: Option<Present>,
    dialect: Dialect,
    form: Form,
    /// Whether anything was given on.
    begun: bool,
    own: Option<OwnCall>,
    rest: Option<Body>,
}

// ===== impl FlightBody =====

impl FlightBody {
    pub(crate) fn new(present: Present, dialect: Dialect, form: Form, own: Option<OwnCall>) -> Self {
        Self { present: Some(present), dialect, form, begun: false, own, rest: None }
    }

    /// Ends it by saying why, in the way in which its reader can tell.
    fn fail(&mut self, problem: Problem) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        (self.present, self.own) = (None, None);
        Poll::Ready(Some(match self.form {
            Form::Events => Ok(Frame::data(problem.to_event(self.dialect).into())),
            Form::Whole => Err(Rejection::from(problem).into()),
        }))
    }
}

fn lagged() -> Problem {
    Problem::new(Cause::Overloaded, "the answer is shared, and this reader of it fell too far behind")
        .code("shared_answer_lagged")
}

fn stopped() -> Problem {
    Problem::new(Cause::Overloaded, "the answer was shared, and ended for the sake of another caller")
        .code("shared_answer_ended")
}

impl HttpBody for FlightBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some(rest) = &mut this.rest {
                return Pin::new(rest).poll_frame(cx);
            }
            let Some(present) = &mut this.present else {
                let Some(own) = &mut this.own else { return Poll::Ready(None) };
                let answered = ready!(own.as_mut().poll(cx));
                this.own = None;
                match answered {
                    Some(response) if response.status().is_success() => {
                        this.rest = Some(response.into_body())
                    }
                    Some(response) => {
                        let refused = response.extensions().get::<Rejection>();
                        return this.fail(refused.map_or_else(stopped, |refused| refused.problem().clone()));
                    }
                    None => return this.fail(stopped()),
                }
                continue;
            };
            match ready!(present.poll_next(cx)) {
                Next::Frame(frame) => {
                    this.begun = true;
                    return Poll::Ready(Some(Ok(frame)));
                }
                Next::End => {
                    this.present = None;
                    this.own = None;
                    return Poll::Ready(None);
                }
                Next::Broken(error) => {
                    this.present = None;
                    this.own = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Next::Lagged => return this.fail(lagged()),
                // Nothing was given on: one's own answer can be given from its beginning.
                Next::Alone if !this.begun && this.own.is_some() => this.present = None,
                Next::Alone => return this.fail(stopped()),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match (&self.rest, &self.present) {
            (Some(rest), _) => rest.is_end_stream(),
            (None, Some(present)) => present.is_over(),
            (None, None) => self.own.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

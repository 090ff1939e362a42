//! The rest of a form that is passed on as it comes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    Limits,
    form::{FIELDS, MODEL, malformed, twice},
    invalid, refuse_body,
};
use crate::{
    Body, BoxError, CollectError, Rejection,
    form::{Item, Scanner},
};

/// Passes on what comes of a form behind a file's beginning, and fails where it is none: who sends it to a provider does not complete it.
pub(super) struct Passing {
    body: Body,
    scanner: Scanner,
    limits: Limits,
    /// Bytes that may still come.
    left: u64,
    /// Whether the path names the model: then a part that names one is left out, else it would be the second.
    cuts_model: bool,
    cutting: bool,
    ended: bool,
}

// ===== impl Passing =====

impl Passing {
    /// `told` bytes of the form were told already.
    pub(super) fn new(body: Body, scanner: Scanner, limits: &Limits, told: usize, cuts_model: bool) -> Self {
        let left = limits.upload.saturating_sub(told as u64);
        Self { body, scanner, limits: *limits, left, cuts_model, cutting: false, ended: false }
    }

    /// The next bytes to give on of what has come.
    fn next(&mut self) -> Result<Option<Bytes>, Rejection> {
        while let Some(item) = self.scanner.next().map_err(malformed)? {
            self.left = self.left.checked_sub(item.raw().len() as u64).ok_or_else(|| {
                refuse_body(CollectError::TooLarge {
                    limit: usize::try_from(self.limits.upload).unwrap_or(usize::MAX),
                })
            })?;
            match &item {
                Item::Part(_, part) => {
                    self.limits.judge(&part.name)?;
                    self.cutting = self.judge(&part.name)?;
                }
                Item::End(_) => self.cutting = false,
                Item::Content(_) => {}
            }
            if !self.cutting {
                return Ok(Some(item.raw().clone()));
            }
        }
        Ok(None)
    }

    /// What layers go by and comes too late for them is refused; gives whether the part is left out.
    fn judge(&self, name: &str) -> Result<bool, Rejection> {
        if name == MODEL {
            return if self.cuts_model { Ok(true) } else { Err(twice(MODEL)) };
        }
        match FIELDS.iter().map(|field| field.name()).find(|known| *known == name) {
            Some(known) => {
                let message = format!("`{known}` must stand ahead of the file in a form of this size");
                Err(invalid(message, known))
            }
            None => Ok(false),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BoxError>> {
        loop {
            if let Some(bytes) = self.next()? {
                return Poll::Ready(Ok(Some(bytes)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.scanner.push(data);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(refuse_body(CollectError::Failed(error)).into())),
                None => {
                    self.scanner.finish().map_err(malformed)?;
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = ready!(self.poll(cx));
        self.ended = !matches!(polled, Ok(Some(_)));
        Poll::Ready(polled.transpose().map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        let (untold, rest) = (self.scanner.untold() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        if !self.cuts_model {
            hint.set_lower(untold.saturating_add(rest.lower()));
        }
        if let Some(upper) = rest.upper() {
            hint.set_upper(untold.saturating_add(upper));
        }
        hint
    }
}

//! Reading a request: the part that waits.

use std::{future::poll_fn, mem, pin::Pin};

use bytes::Bytes;
use http::{Request, header};
use http_body::Body as HttpBody;

use super::{
    Call, Limits, classify,
    form::{self, Reading},
    headers,
    passing::Passing,
    refuse_body,
};
use crate::{
    Body, BoxError, Cause, CollectError, Operation, Problem, Rejection, body::Segments, form::Scanner,
};

// ===== impl Call =====

impl Call {
    /// Reads the request: classifies it, collects its body under the limit, checks it and attaches the `Call`. A call that is attached and
    /// still counts is taken as it is.
    ///
    /// Of a form with sound ([`Operation::is_heard`]) that is longer than [`Limits::form`], what stands ahead of the file's content is read,
    /// and the rest is passed on as it comes, up to [`Limits::upload`]; unless `model` stands behind the file: then all of it is held, if it
    /// is not longer than [`Limits::body`]. The bodies of unknown paths are neither read nor bounded.
    ///
    /// # Errors
    /// A [`Rejection`] that says what is wrong with the request: its content type, its length, its JSON or its form, its shape.
    pub async fn read<B>(request: Request<B>, limits: &Limits) -> Result<(Request<Body>, Self), Rejection>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut request = request.map(Body::new);
        let call = Self::attach(&mut request, limits).await?;
        Ok((request, call))
    }

    /// As [`Call::read`], in place: what there is of the request stays where it is, as its head does for an answer to one that is refused
    /// ([`Call::dialect_of_request`]).
    ///
    /// # Errors
    /// As [`Call::read`]; the request is then left without a `Call`, and may be without its body.
    pub async fn attach(request: &mut Request<Body>, limits: &Limits) -> Result<Self, Rejection> {
        if let Some(call) = Self::of(request) {
            return Ok(call.clone());
        }
        let operation = Self::operation_of_request(request);
        if operation.takes_json() {
            let bytes = Self::bytes(request, limits).await?;
            return Self::replace(request, bytes);
        }
        let call = match operation.takes_form() {
            // In a box: what it takes to read a form is not carried by calls of JSON.
            true => Box::pin(Self::of_form(request, operation, limits)).await?,
            false => Self::assemble(request, None, None, None)?,
        };
        request.extensions_mut().insert(call.clone());
        Ok(call)
    }

    /// The part of [`Call::read`] that waits: checks the headers and collects a JSON body under the limit, and looks at none of it yet. For
    /// hosts that read large bodies on another thread. A form is read as it comes.
    ///
    /// # Errors
    /// A [`Rejection`] for its content type, its length, or its early end.
    pub async fn collect(mut request: Request<Body>, limits: &Limits) -> Result<Request<Body>, Rejection> {
        let operation = Self::operation_of_request(&request);
        if operation.takes_form() {
            Self::attach(&mut request, limits).await?;
        } else if operation.takes_json() && Self::of(&request).is_none() {
            *request.body_mut() = Self::bytes(&mut request, limits).await?.into();
        }
        Ok(request)
    }

    /// Takes the body out of the request, all of it.
    async fn bytes(request: &mut Request<Body>, limits: &Limits) -> Result<Bytes, Rejection> {
        headers::check_json(request.headers(), limits)?;
        mem::take(request.body_mut()).collect_within(limits.body).await.map_err(refuse_body)
    }

    /// Reads a form, or as much of it as has to be held.
    async fn of_form(
        request: &mut Request<Body>,
        operation: Operation,
        limits: &Limits,
    ) -> Result<Self, Rejection> {
        let boundary = form::boundary(request.headers())?;
        let passes = operation.is_heard();
        let most = if passes { usize::try_from(limits.upload).unwrap_or(usize::MAX) } else { limits.body };
        headers::check_length(request.headers(), most)?;
        let reading = Reading::new(&boundary, limits);
        let mut body = mem::take(request.body_mut());
        if let Some(bytes) = body.as_bytes().cloned() {
            if bytes.len() > limits.body {
                return Err(refuse_body(CollectError::TooLarge { limit: limits.body }));
            }
            let call = Self::assemble(
                request,
                Some(bytes.clone()),
                Some(reading.all(&bytes, false)?),
                Some(bytes.len() as u64),
            );
            *request.body_mut() = body;
            return call;
        }
        let (_, _, path_model) = classify(request.method(), request.uri().path(), request.extensions());
        let in_path = path_model.is_some();
        let announced = headers::announced(request.headers()).or_else(|| body.size_hint().exact());
        let read = beginning(&mut body, reading, limits, |reading, held| {
            let is_long = announced.map_or(held > limits.form, |length| length > limits.form as u64);
            passes && is_long && reading.may_pass(in_path)
        });
        let (mut reading, held) = read.await?;
        let (scanner, told) = (mem::replace(&mut reading.scanner, Scanner::new("")), reading.at);
        let form = reading.finish(&held)?;
        let (whole, cuts_model) = (form.whole, !form.has(form::MODEL));
        let length = if whole { Some(told as u64) } else { announced.filter(|_| !cuts_model) };
        let call = Self::assemble(request, Some(held.clone()), Some(form), length)?;
        if length.is_none() {
            // What is left out of it makes it shorter than was announced.
            request.headers_mut().remove(header::CONTENT_LENGTH);
        }
        *request.body_mut() = match whole {
            true => held.into(),
            false => Body::begun(held, Body::new(Passing::new(body, scanner, limits, told, cuts_model))),
        };
        Ok(call)
    }
}

/// Reads a form to its end, or to where `is_enough` says so; gives the bytes that were told.
async fn beginning(
    body: &mut Body,
    mut reading: Reading,
    limits: &Limits,
    is_enough: impl Fn(&Reading, usize) -> bool,
) -> Result<(Reading, Bytes), Rejection> {
    let expected = body.size_hint().lower().min(limits.body as u64);
    let mut held = Segments::expecting(expected as usize);
    loop {
        while let Some(item) = reading.next()? {
            if item.raw().len() > limits.body - held.len() {
                return Err(too_large(&reading, limits));
            }
            held.push(item.raw());
            if is_enough(&reading, held.len()) {
                return Ok((reading, held.join(Bytes::new())));
            }
        }
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    reading.scanner.push(data);
                }
            }
            Some(Err(error)) => return Err(refuse_body(CollectError::Failed(error))),
            None => {
                reading.scanner.finish().map_err(form::malformed)?;
                return Ok((reading, held.join(Bytes::new())));
            }
        }
    }
}

fn too_large(reading: &Reading, limits: &Limits) -> Rejection {
    let limit = limits.body;
    if reading.form.has(form::MODEL) {
        return refuse_body(CollectError::TooLarge { limit });
    }
    let message = format!("a form that is larger than {limit} bytes must have `model` ahead of its file");
    Problem::new(Cause::TooLarge, message).param(form::MODEL).into()
}

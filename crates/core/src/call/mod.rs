//! The request, read once.

mod asked;
mod edit;
mod form;
mod head;
mod headers;
mod passing;
mod read;
mod shape;

use std::{
    borrow::Cow,
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{Method, Request, header, request::Parts};

pub use self::{edit::Edit, head::Field};
use self::{form::Form, head::Head};
use crate::{Body, Cause, CollectError, Dialect, Operation, Problem, Rejection, percent_decoded};

/// What a request asks for, read once and carried as a request extension: cheap to clone, strings stay in the body's bytes.
///
/// A `Call` counts only while the bytes it was read from are the request's body ([`Call::of`] checks pointer and length): a layer
/// that replaces the body does so through [`Call::replace`], and one that forgot is not believed.
#[derive(Clone)]
pub struct Call(Arc<Inner>);

struct Inner {
    operation: Operation,
    dialect: Dialect,
    /// Absent when the body was not read, as that of an unknown path; of a form that is passed on as it comes, its beginning.
    body: Option<Bytes>,
    head: Head,
    /// Where the body is a form.
    form: Option<Form>,
    /// The length of the body, where that is known.
    length: Option<u64>,
    /// Where the path, not the body, names the model.
    path_model: Option<String>,
    /// How much is asked for, where that stands deeper than a field.
    asked: OnceLock<asked::Asked>,
    /// The input tokens, and by whom they were counted.
    input: OnceLock<(&'static str, (u64, bool))>,
}

/// What method, path and extensions say of a request; the model is the path's, decoded.
type Class<'p> = (Operation, Dialect, Option<Cow<'p, str>>);

/// Refuses a part of a form by its name.
pub type JudgePart = fn(&str) -> Result<(), Rejection>;

/// Bounds for reading a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Longest request body that is held, in bytes; bodies of 4 GiB and above are refused whatever this says.
    pub body: usize,
    /// Longest form in bytes that is held though it could be passed on as it comes: what is held can be sent again.
    pub form: usize,
    /// Longest form in bytes that is passed on as it comes.
    pub upload: u64,
    /// Judges each part of a form by its name, without blanks and brackets around and behind it: also those that are not held.
    pub part: Option<JudgePart>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 32 << 20, form: 1 << 20, upload: 1 << 30, part: None }
    }
}

// ===== impl Limits =====

impl Limits {
    /// Sets the longest request body in bytes.
    #[must_use]
    pub const fn body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// Sets the longest form in bytes that is held whole where it need not be.
    #[must_use]
    pub const fn form(mut self, bytes: usize) -> Self {
        self.form = bytes;
        self
    }

    /// Sets the longest form in bytes that is passed on as it comes.
    #[must_use]
    pub const fn upload(mut self, bytes: u64) -> Self {
        self.upload = bytes;
        self
    }

    /// Sets who judges the parts of forms by their names.
    #[must_use]
    pub const fn part(mut self, judge: JudgePart) -> Self {
        self.part = Some(judge);
        self
    }
}

// ===== impl Call =====

impl Call {
    /// The attached call, when it still counts: when its bytes are the body's own and the request still means the same (a router
    /// that strips a prefix, or a host that says what its path means, may have changed that).
    #[must_use]
    pub fn of(request: &Request<Body>) -> Option<&Self> {
        let call = request.extensions().get::<Self>()?;
        let read_as = (call.operation(), call.dialect(), call.0.path_model.as_deref().map(Cow::Borrowed));
        if classify(request.method(), request.uri().path(), request.extensions()) != read_as {
            return None;
        }
        let same = match (&call.0.body, request.body().held()) {
            (Some(read), Some(now)) => read.as_ptr() == now.as_ptr() && read.len() == now.len(),
            (None, _) => true,
            (Some(_), None) => false,
        };
        same.then_some(call)
    }

    /// Makes `bytes` the body of the request and reads it anew; the only way in which a layer changes a body. Of a form that is passed on as
    /// it comes they are its beginning, in the place of what is held of it.
    ///
    /// # Errors
    /// As [`Call::read`]; the request is then left with the old body and without a `Call`.
    pub fn replace(request: &mut Request<Body>, bytes: Bytes) -> Result<Self, Rejection> {
        let known = Self::of(request).and_then(Self::length);
        request.extensions_mut().remove::<Self>();
        let held = request.body().held().map_or(0, Bytes::len) as u64;
        let is_beginning = request.body().as_bytes().is_none() && request.body().held().is_some();
        let form = Self::operation_of_request(request).takes_form().then(|| {
            let boundary = form::boundary(request.headers())?;
            form::Reading::new(&boundary, &Limits::default()).all(&bytes, is_beginning)
        });
        let length = match is_beginning {
            true => known.map(|all| all.saturating_sub(held) + bytes.len() as u64),
            false => Some(bytes.len() as u64),
        };
        let call = Self::assemble(request, Some(bytes.clone()), form.transpose()?, length)?;
        if request.headers().contains_key(header::CONTENT_LENGTH) {
            match length {
                Some(length) => request.headers_mut().insert(header::CONTENT_LENGTH, length.into()),
                None => request.headers_mut().remove(header::CONTENT_LENGTH),
            };
        }
        request.body_mut().replace_held(bytes);
        request.extensions_mut().insert(call.clone());
        Ok(call)
    }

    /// The dialect in which the sender of this request wants its errors, known before its body is read.
    #[must_use]
    pub fn dialect_of(parts: &Parts) -> Dialect {
        classify(&parts.method, parts.uri.path(), &parts.extensions).1
    }

    /// As [`Call::dialect_of`], of a request.
    #[must_use]
    pub fn dialect_of_request<B>(request: &Request<B>) -> Dialect {
        classify(request.method(), request.uri().path(), request.extensions()).1
    }

    /// What this request asks for, known before its body is read.
    #[must_use]
    pub fn operation_of(parts: &Parts) -> Operation {
        classify(&parts.method, parts.uri.path(), &parts.extensions).0
    }

    /// As [`Call::operation_of`], of a request.
    #[must_use]
    pub fn operation_of_request<B>(request: &Request<B>) -> Operation {
        classify(request.method(), request.uri().path(), request.extensions()).0
    }

    /// What is asked for.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The API shape the caller speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.0.dialect
    }

    /// The model that is asked for: the path's where it names one, as Azure reads it (percent-decoded), else the body's.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.0.path_model.as_deref().or_else(|| self.0.head.model(self.field(Field::Model)))
    }

    /// Whether the answer is to be streamed.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.operation() == Operation::StreamGenerate || self.field(Field::Stream) == Some("true")
    }

    /// The most tokens the caller lets the model write, when it says so: in a field of its own API, as a provider does not read
    /// another's. Of OpenAI's two names the larger counts, as which of them a provider reads depends on the model.
    #[must_use]
    pub fn output_cap(&self) -> Option<u64> {
        if self.dialect() == Dialect::Gemini {
            return self.asked().cap;
        }
        let fields: &[Field] = match (self.dialect(), self.operation()) {
            (Dialect::Anthropic, _) => &[Field::MaxTokens],
            (_, Operation::Responses) => &[Field::MaxOutputTokens],
            _ => &[Field::MaxCompletionTokens, Field::MaxTokens],
        };
        fields.iter().filter_map(|&field| self.field(field)?.parse().ok()).max()
    }

    /// The field in which this call's API takes a cap of the output.
    #[must_use]
    pub fn output_cap_field(&self) -> Field {
        match (self.dialect(), self.operation()) {
            (Dialect::OpenAi, Operation::Chat) => Field::MaxCompletionTokens,
            (_, Operation::Responses) => Field::MaxOutputTokens,
            _ => Field::MaxTokens,
        }
    }

    /// How many answers are asked for: 1 in APIs that know no `n`.
    #[must_use]
    pub fn n(&self) -> u64 {
        match self.dialect() {
            Dialect::Anthropic | Dialect::Responses => 1,
            Dialect::Gemini => self.asked().answers.unwrap_or(1),
            _ => {
                let n = self.field(Field::N).and_then(|n| n.parse().ok()).unwrap_or(1);
                match self.operation() {
                    // Each of several prompts is answered.
                    Operation::Completions => self.asked().answers.unwrap_or(1).saturating_mul(n),
                    _ => n,
                }
            }
        }
    }

    /// The raw JSON of a top-level field; `None` when it is absent or `null`. Of a form: `model`, `stream`, `n` and `user`, as the JSON that
    /// they would be.
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&str> {
        if let Some(form) = &self.0.form {
            return form.field(field);
        }
        // Only these few bytes are checked again, not the whole body.
        let json = std::str::from_utf8(self.body().get(self.span(field)?)?).ok()?;
        (json != "null").then_some(json)
    }

    /// Whether a body of JSON has a top-level field, be it `null`.
    #[must_use]
    pub fn has(&self, field: Field) -> bool {
        self.span(field).is_some()
    }

    /// The end user whom the caller names: Anthropic's `metadata.user_id`; OpenAI's `user`, else `metadata.user_id`. Said by the
    /// client: it can narrow what applies, never open a fresh allowance.
    #[must_use]
    pub fn end_user(&self) -> Option<String> {
        let direct = match self.dialect() {
            Dialect::Anthropic => None,
            _ => self.field(Field::User).and_then(|json| serde_json::from_str(json).ok()),
        };
        // An empty name is none: it hides no other.
        let direct = direct.filter(|user: &String| !user.is_empty());
        direct.or_else(|| self.metadata("user_id").and_then(|json| serde_json::from_str(json).ok()))
    }

    /// The tags the caller names (`metadata.tags`, a list of strings). Said by the client, see [`Call::end_user`].
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.metadata("tags").and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// The session that the caller names (`metadata.session_id`), if it does. Said by the client, see [`Call::end_user`].
    #[must_use]
    pub fn session(&self) -> Option<String> {
        self.metadata("session_id").and_then(|json| serde_json::from_str(json).ok())
    }

    /// What a field of a form says, where it is one of text that is held; of JSON, nothing.
    #[must_use]
    pub fn form_field(&self, name: &str) -> Option<&str> {
        self.0.form.as_ref()?.text(name, self.0.body.as_deref()?)
    }

    /// The fields and files of a form by name and content, where all of it is held.
    #[must_use]
    pub fn form_parts(&self) -> Option<impl Iterator<Item = (&str, &[u8])>> {
        let (form, held) = (self.0.form.as_ref()?, self.0.body.as_deref()?);
        form.whole.then(|| form.parts(held))
    }

    /// How many files of a form have begun in what is held of it.
    #[must_use]
    pub fn files(&self) -> usize {
        self.0.form.as_ref().map_or(0, Form::files)
    }

    /// Whether the body is a form.
    #[must_use]
    pub fn is_form(&self) -> bool {
        self.0.form.is_some()
    }

    /// The length of the body in bytes, where it was read or announced: that of a form which is passed on as it comes may not be known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.0.length
    }

    /// The body as it was read; empty for an operation whose body is not JSON.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.0.body.as_deref().filter(|_| self.is_json()).unwrap_or_default()
    }

    /// The body as text; empty for an operation whose body is not JSON. Walks the body once: keep the result.
    #[must_use]
    pub fn text(&self) -> &str {
        // Checked when the call was read; to check it again is cheaper than a copy kept beside the bytes.
        std::str::from_utf8(self.body()).unwrap_or_default()
    }

    /// How many input tokens the call has and whether that is exact, as `count` says: asked once for all layers that count by the same
    /// `counter`, a name that stands for one way to count. Kept is the count of the first name that comes.
    pub fn input_tokens(&self, counter: &'static str, count: impl FnOnce() -> (u64, bool)) -> (u64, bool) {
        if let Some(&(by, tokens)) = self.0.input.get()
            && by == counter
        {
            return tokens;
        }
        let tokens = count();
        let _kept = self.0.input.set((counter, tokens));
        tokens
    }

    /// Starts a change of top-level fields that leaves every other byte as it is.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(self)
    }

    fn is_json(&self) -> bool {
        self.0.body.is_some() && !self.is_form()
    }

    fn span(&self, field: Field) -> Option<Range<usize>> {
        self.0.head.span(field)
    }

    /// What the body says beyond its top level of how much is asked for: walked once.
    fn asked(&self) -> asked::Asked {
        *self.0.asked.get_or_init(|| asked::Asked::of(self.operation(), self.text()))
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        let mut found = None;
        let mut cursor = crate::json::Cursor::new(self.field(Field::Metadata)?);
        let _walked: Result<(), crate::json::Fault> = cursor.object(|key, cursor| {
            if crate::json::key_is(key, name) {
                found = Some(cursor.value()?);
            }
            Ok(())
        });
        found
    }

    fn assemble(
        request: &Request<Body>,
        body: Option<Bytes>,
        form: Option<Form>,
        length: Option<u64>,
    ) -> Result<Self, Rejection> {
        let (operation, dialect, path_model) =
            classify(request.method(), request.uri().path(), request.extensions());
        let body = body.filter(|_| operation.takes_json() || form.is_some());
        let head = match (&body, &form) {
            (Some(_), Some(form)) => {
                form.check(operation, path_model.is_some())?;
                Head::of_form(form.field(Field::Model))
            }
            (Some(bytes), None) => Self::head_of(operation, bytes, path_model.is_some())?,
            (None, _) => Head::default(),
        };
        let path_model = path_model.map(Cow::into_owned);
        let (asked, input) = (OnceLock::new(), OnceLock::new());
        let inner = Inner { operation, dialect, body, head, form, length, path_model, asked, input };
        Ok(Self(Arc::new(inner)))
    }

    /// Where the fields of a body of JSON are, once it is checked.
    fn head_of(operation: Operation, bytes: &Bytes, model_in_path: bool) -> Result<Head, Rejection> {
        if bytes.len() > head::MAX_BODY {
            return Err(refuse_body(CollectError::TooLarge { limit: head::MAX_BODY }));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            Rejection::new(
                Cause::InvalidRequest,
                format!("the request body is not valid UTF-8 at byte {}", error.valid_up_to()),
            )
        })?;
        let head = Head::read(text)?;
        shape::check(operation, text, &head, model_in_path)?;
        Ok(head)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("operation", &self.operation())
            .field("dialect", &self.dialect())
            .field("model", &self.model())
            .field("stream", &self.stream())
            .finish_non_exhaustive()
    }
}

/// What the host says its own path means, else what the path says.
fn classify<'p>(method: &Method, path: &'p str, extensions: &http::Extensions) -> Class<'p> {
    let (operation, dialect, model) = Operation::of_path(method, path);
    let model = model.map(percent_decoded);
    (extensions.get().copied().unwrap_or(operation), extensions.get().copied().unwrap_or(dialect), model)
}

fn refuse_body(error: CollectError) -> Rejection {
    match error {
        CollectError::TooLarge { limit } => {
            Rejection::new(Cause::TooLarge, format!("the request body is larger than {limit} bytes"))
        }
        CollectError::Failed(source) => match Rejection::find_in(source.as_ref()) {
            Some(rejection) => rejection.clone(),
            None => Rejection::new(Cause::InvalidRequest, "the request body ended before it was complete"),
        },
    }
}

/// A field is to blame.
fn invalid(message: impl Into<String>, param: impl Into<Cow<'static, str>>) -> Rejection {
    Problem::new(Cause::InvalidRequest, message).param(param).into()
}

#[cfg(test)]
mod tests;

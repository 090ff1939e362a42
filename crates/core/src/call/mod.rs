//! The request, read once.

mod asked;
mod edit;
mod head;
mod shape;

use std::{
    borrow::Cow,
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header, request::Parts};
use http_body::Body as HttpBody;

use self::head::Head;
pub use self::{edit::Edit, head::Field};
use crate::{Body, BoxError, Cause, CollectError, Dialect, Operation, Problem, Rejection};

/// What a request asks for, read once and carried as a request extension: cheap to clone, strings stay in the body's bytes.
///
/// A `Call` counts only while the bytes it was read from are the request's body ([`Call::of`] checks pointer and length): a layer
/// that replaces the body does so through [`Call::replace`], and one that forgot is not believed.
#[derive(Clone)]
pub struct Call(Arc<Inner>);

struct Inner {
    operation: Operation,
    dialect: Dialect,
    /// Absent when the body was not read, for an operation without a JSON body.
    body: Option<Bytes>,
    head: Head,
    /// Where the path, not the body, names the model.
    path_model: Option<String>,
    /// How much is asked for, where that stands deeper than a field.
    asked: OnceLock<asked::Asked>,
    /// The input tokens, and by whom they were counted.
    input: OnceLock<(&'static str, (u64, bool))>,
}

/// What method, path and extensions say of a request; the model is the path's, decoded.
type Class<'p> = (Operation, Dialect, Option<Cow<'p, str>>);

/// Bounds for reading a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest request body in bytes; bodies of 4 GiB and above are refused whatever this says.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 32 << 20 }
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
}

// ===== impl Call =====

impl Call {
    /// Reads the request: classifies it, collects a JSON body under the limit, checks it and attaches the `Call`. A call that is
    /// attached and still counts is taken as it is.
    ///
    /// The bodies of operations without JSON (uploads, unknown paths) are neither read nor bounded.
    ///
    /// # Errors
    /// A [`Rejection`] that says what is wrong with the request: its content type, its length, its JSON, its shape.
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
        let (operation, _, _) = classify(request.method(), request.uri().path(), request.extensions());
        if !operation.takes_json() {
            let call = Self::assemble(request, None)?;
            request.extensions_mut().insert(call.clone());
            return Ok(call);
        }
        let bytes = Self::bytes(request, limits).await?;
        Self::replace(request, bytes)
    }

    /// The part of [`Call::read`] that waits: checks the headers and collects a JSON body under the limit, and looks at none of it yet. For
    /// hosts that read large bodies on another thread.
    ///
    /// # Errors
    /// A [`Rejection`] for its content type, its length, or its early end.
    pub async fn collect(mut request: Request<Body>, limits: &Limits) -> Result<Request<Body>, Rejection> {
        let (operation, _, _) = classify(request.method(), request.uri().path(), request.extensions());
        if operation.takes_json() && Self::of(&request).is_none() {
            *request.body_mut() = Self::bytes(&mut request, limits).await?.into();
        }
        Ok(request)
    }

    /// Takes the body out of the request, all of it.
    async fn bytes(request: &mut Request<Body>, limits: &Limits) -> Result<Bytes, Rejection> {
        check_headers(request.headers(), limits)?;
        std::mem::take(request.body_mut()).collect_within(limits.body).await.map_err(refuse_body)
    }

    /// The attached call, when it still counts: when its bytes are the body's own and the request still means the same (a router
    /// that strips a prefix, or a host that says what its path means, may have changed that).
    #[must_use]
    pub fn of(request: &Request<Body>) -> Option<&Self> {
        let call = request.extensions().get::<Self>()?;
        let read_as = (call.operation(), call.dialect(), call.0.path_model.as_deref().map(Cow::Borrowed));
        if classify(request.method(), request.uri().path(), request.extensions()) != read_as {
            return None;
        }
        let same = match (&call.0.body, request.body().as_bytes()) {
            (Some(read), Some(now)) => read.as_ptr() == now.as_ptr() && read.len() == now.len(),
            (None, _) => true,
            (Some(_), None) => false,
        };
        same.then_some(call)
    }

    /// Makes `bytes` the body of the request and reads it anew; the only way in which a layer changes a body.
    ///
    /// # Errors
    /// As [`Call::read`]; the request is then left with the old body and without a `Call`.
    pub fn replace(request: &mut Request<Body>, bytes: Bytes) -> Result<Self, Rejection> {
        request.extensions_mut().remove::<Self>();
        let call = Self::assemble(request, Some(bytes.clone()))?;
        if request.headers().contains_key(header::CONTENT_LENGTH) {
            request.headers_mut().insert(header::CONTENT_LENGTH, bytes.len().into());
        }
        *request.body_mut() = Body::from(bytes);
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

    /// The raw JSON of a top-level field; `None` when it is absent or `null`.
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&str> {
        // Only these few bytes are checked again, not the whole body.
        let json = std::str::from_utf8(self.body().get(self.span(field)?)?).ok()?;
        (json != "null").then_some(json)
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

    /// The body as it was read; empty for an operation whose body is not JSON.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.0.body.as_deref().unwrap_or_default()
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
        self.0.body.is_some()
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

    fn assemble(request: &Request<Body>, body: Option<Bytes>) -> Result<Self, Rejection> {
        let (operation, dialect, path_model) =
            classify(request.method(), request.uri().path(), request.extensions());
        let body = body.filter(|_| operation.takes_json());
        let head = match &body {
            Some(bytes) if bytes.len() > head::MAX_BODY => {
                return Err(refuse_body(CollectError::TooLarge { limit: head::MAX_BODY }));
            }
            Some(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|error| {
                    Rejection::new(
                        Cause::InvalidRequest,
                        format!("the request body is not valid UTF-8 at byte {}", error.valid_up_to()),
                    )
                })?;
                let head = Head::read(text)?;
                shape::check(operation, text, &head, path_model.is_some())?;
                head
            }
            None => Head::default(),
        };
        let path_model = path_model.map(Cow::into_owned);
        let (asked, input) = (OnceLock::new(), OnceLock::new());
        Ok(Self(Arc::new(Inner { operation, dialect, body, head, path_model, asked, input })))
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

/// RFC 3986, section 2.1; what is no valid sequence stays as it is, and so does all of it when it decodes to no UTF-8.
fn percent_decoded(raw: &str) -> Cow<'_, str> {
    if !raw.contains('%') {
        return Cow::Borrowed(raw);
    }
    let hex = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let pair = behind.first_chunk().and_then(|&[high, low]| Some(hex(high)? << 4 | hex(low)?));
        let (next, behind) = match pair.filter(|_| byte == b'%') {
            Some(escaped) => (escaped, &behind[2..]),
            None => (byte, behind),
        };
        decoded.push(next);
        rest = behind;
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(raw), Cow::Owned)
}

fn check_headers(headers: &HeaderMap, limits: &Limits) -> Result<(), Rejection> {
    let unsupported = |message: String| Err(Rejection::new(Cause::UnsupportedMediaType, message));
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    if let Some(kind) = kinds.next() {
        let mut parts = kind.to_str().unwrap_or_default().split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json" && !essence.ends_with("+json") {
            return unsupported(format!("content-type must be application/json, not {essence:?}"));
        }
        if let Some(charset) = parts.filter_map(charset).find(|charset| !is_utf8(charset)) {
            return unsupported(format!("the charset of content-type must be utf-8, not {charset:?}"));
        }
    }
    // One layer would read the first and a provider the last.
    if kinds.next().is_some() {
        return unsupported("content-type stands twice in the request's headers".to_owned());
    }
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if !encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return unsupported(
            "content-encoding is not supported in requests: send the body uncompressed".to_owned(),
        );
    }
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.body as u64) {
        return Err(refuse_body(CollectError::TooLarge { limit: limits.body }));
    }
    Ok(())
}

/// The charset that a parameter of a content type names, in lower case; empty when it names none.
fn charset(parameter: &str) -> Option<String> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    name.trim().eq_ignore_ascii_case("charset").then(|| value.to_ascii_lowercase())
}

/// Both labels are in use (<https://encoding.spec.whatwg.org/#names-and-labels>).
fn is_utf8(charset: &str) -> bool {
    matches!(charset, "utf-8" | "utf8")
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

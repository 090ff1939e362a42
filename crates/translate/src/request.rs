//! The request that goes to the target.

use std::{borrow::Cow, vec};

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Uri, header, request::Parts};
use ziggurat_core::{
    Body, Call, Cause, CredentialError, Dialect, Edit, Field, Meter, Operation, Problem, Rejection, Target,
    Wording,
    json::{Cursor, Fault, find_member, key_is, name_of, without, write_string},
};
use ziggurat_dialect::{
    Encoding, FormTool, Malformed, Refused, ToolNames, decode_request, encode_request, has_signature_mark,
    openai::to_mistral, takes_urls,
};
use ziggurat_meter::{Confidential, asks_for_usage, options_with_usage};

use crate::{
    FetchMedia,
    anthropic::{self, Betas},
    fit,
    media::bring_in,
    reworded::{self, Reading},
    standing::standing,
};

/// A request ready to be sent, and what its answer has to become.
pub(crate) struct Outgoing {
    pub(crate) request: Request<Body>,
    /// What is to be asked once that was answered, where a call is asked in several parts.
    pub(crate) rest: Option<Rest>,
    pub(crate) expected: Expected,
}

/// The parts of a call that are not asked yet.
pub(crate) struct Rest {
    head: Parts,
    bodies: vec::IntoIter<Bytes>,
}

/// How a target is asked for what a call asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'t> {
    /// In which dialect.
    dialect: Dialect,
    /// At which URL.
    uri: &'t Uri,
    /// In words that are not the caller's and tell no conversation.
    wording: Option<Wording>,
}

/// What an answer has to become.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The caller's dialect.
    pub(crate) caller: Dialect,
    /// The provider's.
    pub(crate) provider: Dialect,
    pub(crate) operation: Operation,
    /// Whether the provider's answers are in the caller's words as they stand.
    pub(crate) passes: bool,
    /// The model's name at the provider, for answers that name none.
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// Whether each event of a stream stands in one of AWS's messages.
    pub(crate) wrapped: bool,
    pub(crate) choices: u64,
    /// Whether an OpenAI caller asked for usage at the end of its stream.
    pub(crate) include_usage: bool,
    /// Whether it was asked for by us.
    pub(crate) hide_usage: bool,
    pub(crate) names: ToolNames,
    /// What answers are read into that are no conversations, and not in the caller's words.
    pub(crate) reading: Option<Reading>,
    /// Bytes of the answers that were read into it.
    pub(crate) gathered: usize,
    /// The tool by way of which the form of the answer was asked for.
    pub(crate) form: Option<FormTool>,
    /// What of the provider's words is not the caller's.
    pub(crate) confidential: Confidential,
}

// ===== impl Way =====

impl<'t> Way<'t> {
    /// `None` where the target does not do what the call asks for.
    pub(crate) fn of(call: &Call, target: &'t Target) -> Option<Self> {
        if let Some(uri) = target.uri_of(call.operation()) {
            let wording = target.wording_of(call.operation());
            let dialect = if wording.is_some() { target.dialect() } else { call.dialect() };
            return Some(Self { dialect, uri, wording });
        }
        // Google's callers are given the embeddings of whoever has any.
        if call.operation().embeds_content()
            && let Some(uri) = target.uri_of(Operation::Embeddings)
        {
            let wording = target.wording_of(Operation::Embeddings).or(Some(Wording::PlainEmbed));
            return Some(Self { dialect: target.dialect(), uri, wording });
        }
        let uri = if call.stream() { target.stream_uri() } else { target.uri() };
        let converses = call.operation().is_conversation() && target.converses();
        converses.then_some(Self { dialect: target.dialect(), uri, wording: None })
    }
}

// ===== impl Outgoing =====

impl Outgoing {
    pub(crate) async fn new(
        request: Request<Body>,
        call: &Call,
        target: &Target,
        way: Way<'_>,
        wants_usage: bool,
        media: Option<&dyn FetchMedia>,
    ) -> Result<Self, Rejection> {
        // What an outer layer of ours asked for is for us, not for the caller.
        let hidden = request.extensions().get::<Meter>().is_some_and(Meter::withholds_usage);
        let asked = asks_for_usage(call) && !hidden;
        // Mistral's chats have words of their own in OpenAI's shape.
        let is_mistrals = target.provider_quirks().mistral && call.operation() == Operation::Chat;
        let by_tool = fit::takes_form_by_tool(call, target, way.dialect);
        let passes = call.dialect() == way.dialect && !is_mistrals && !by_tool && way.wording.is_none();
        let mut expected = Expected {
            caller: call.dialect(),
            provider: way.dialect,
            operation: call.operation(),
            passes,
            model: if passes { String::new() } else { target.model().to_owned() },
            stream: call.stream() && call.operation().generates_text(),
            wrapped: target.has_wrapped_events() && way.wording.is_none(),
            choices: call.n(),
            include_usage: asked,
            hide_usage: passes && hidden,
            names: ToolNames::default(),
            reading: None,
            gathered: 0,
            form: None,
            confidential: Confidential::default()
                .host(way.uri.host().unwrap_or_default())
                .model(target.model(), call.model().unwrap_or_default()),
        };
        let (parts, body) = request.into_parts();
        if call.is_form() {
            return Self::form(parts, body, expected, call, target, way).await;
        }
        let mut more = Vec::new().into_iter();
        let fitted = |body| match way.dialect {
            Dialect::OpenAi | Dialect::Responses => fit::fit(body, call.operation(), way.dialect, target),
            _ => Ok(body),
        };
        // A signature that another dialect's provider gave is not its provider's to read.
        let is_mixed = passes && holds_marks(call, way.dialect);
        let betas = Betas::of(&parts.headers, call, target, way.dialect)?;
        let body = match (way.wording, passes && !is_mixed) {
            (Some(wording), _) => {
                let (bodies, reading) = reworded::encode(call, target, wording)?;
                expected.reading = Some(reading);
                more = bodies.into_iter().map(fitted).collect::<Result<Vec<_>, _>>()?.into_iter();
                more.next().unwrap_or_default()
            }
            (None, true) => {
                let asks = wants_usage && !target.provider_quirks().no_stream_options;
                let streams = matches!(expected.operation, Operation::Chat | Operation::Completions);
                let wanted = asks && expected.stream && streams;
                expected.hide_usage |= wanted && !asked;
                splice(call, target, &betas, expected.hide_usage && !hidden)
                    .or_else(|| body.as_bytes().cloned())
                    .unwrap_or_else(|| Bytes::copy_from_slice(call.body()))
            }
            (None, false) => {
                let fetch = media.map(|fetch| (fetch, &parts.extensions));
                translate(call, target, way.dialect, &betas, fetch, &mut expected).await?
            }
        };
        // Bodies of other dialects name the model nowhere, or always.
        let cuts: &[&[&str]] = match target.has_model_in_url() && way.dialect == Dialect::Anthropic {
            true if target.has_wrapped_events() => &[&["model"], &["stream"]],
            true => &[&["model"]],
            false => &[],
        };
        let body = if way.wording.is_some() { body } else { finished(fitted(body)?, target, cuts) };
        let head = head(parts, call, target, way);
        let rest = (more.len() > 0).then(|| Rest { head: head.clone(), bodies: more });
        Ok(Self { request: signed(head, body, target, &mut expected).await?, rest, expected })
    }

    /// A form, of which some parts change and the rest may still be coming.
    async fn form(
        caller: Parts,
        mut body: Body,
        mut expected: Expected,
        call: &Call,
        target: &Target,
        way: Way<'_>,
    ) -> Result<Self, Rejection> {
        if !expected.passes || way.wording.is_some() {
            return Err(unserved(call.operation()));
        }
        if body.as_bytes().is_none() && target.credentials().signs_body() {
            let message = "a form of this size is passed on as it comes, and the deployment signs all of what it is sent";
            return Err(Rejection::new(Cause::TooLarge, message));
        }
        let kind = caller.headers.get(header::CONTENT_TYPE).cloned();
        let mut parts = head(caller, call, target, way);
        if let Some(kind) = kind {
            parts.headers.insert(header::CONTENT_TYPE, kind);
        }
        if let Some(bytes) = splice(call, target, &Betas::default(), false) {
            body.replace_held(bytes);
        }
        let held = body.held().cloned().unwrap_or_default();
        authorize(&mut parts, &held, target, &mut expected).await?;
        Ok(Self { request: Request::from_parts(parts, body), rest: None, expected })
    }
}

/// Puts the credential on a request whose body is final, and keeps it from whoever is answered.
async fn authorize(
    parts: &mut Parts,
    body: &Bytes,
    target: &Target,
    expected: &mut Expected,
) -> Result<(), Rejection> {
    let before = parts.headers.clone();
    target.credentials().apply(parts, body).await.map_err(|error| {
        // What a source of credentials says of its failure is the operator's.
        let why = if error == CredentialError::WrongOrigin { ": it is for another origin" } else { "" };
        Rejection::new(Cause::Internal, format!("the deployment has no usable credential{why}"))
    })?;
    let confidential = std::mem::take(&mut expected.confidential);
    expected.confidential = secrets(&parts.headers, &before)
        .fold(confidential, |confidential, secret| confidential.secret(secret));
    Ok(())
}

/// A target does not do what was asked for.
pub(crate) fn unserved(operation: Operation) -> Rejection {
    let message = format!("the model's provider cannot be asked for {}", operation.noun());
    Rejection::new(Cause::NotFound, message)
}

// ===== impl Rest =====

impl Rest {
    /// The request for the next part.
    pub(crate) async fn next(
        &mut self,
        target: &Target,
        expected: &mut Expected,
    ) -> Result<Request<Body>, Rejection> {
        let body = self.bodies.next().unwrap_or_default();
        signed(self.head.clone(), body, target, expected).await
    }

    /// Whether all parts were asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.bodies.len() == 0
    }
}

/// A request with its credential, whose body is final.
async fn signed(
    mut parts: Parts,
    body: Bytes,
    target: &Target,
    expected: &mut Expected,
) -> Result<Request<Body>, Rejection> {
    authorize(&mut parts, &body, target, expected).await?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// What the credential has put into the head, and what is marked as sensitive there.
fn secrets<'a>(headers: &'a HeaderMap, before: &HeaderMap) -> impl Iterator<Item = &'a str> {
    let added = headers.iter().filter(|(name, value)| {
        value.is_sensitive() || !before.get_all(*name).iter().any(|known| known == *value)
    });
    added.filter_map(|(_, value)| value.to_str().ok())
}

/// Whether a body of the target's own dialect has to be read for signatures that are marked as another's.
fn holds_marks(call: &Call, dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Anthropic | Dialect::Gemini | Dialect::Responses)
        && call.operation().is_conversation()
        && has_signature_mark(call.body())
}

/// The same dialect on both sides: only what must change does, `None` when nothing must.
fn splice(call: &Call, target: &Target, betas: &Betas<'_>, inject_usage: bool) -> Option<Bytes> {
    let mut edit = call.edit();
    // The body's own: where the path names a model too, that one goes no further.
    let own = call.field(Field::Model).and_then(|json| serde_json::from_str::<Cow<'_, str>>(json).ok());
    match target.has_model_in_url() {
        true if own.is_some() => edit = edit.remove(&["model"]),
        false if own.as_deref() != Some(target.model()) => {
            edit = edit.set_string(Field::Model, target.model());
        }
        _ => {}
    }
    // Ahead of what the target always changes, which has the last word.
    if inject_usage {
        edit = edit.set(Field::StreamOptions, options_with_usage(call));
    }
    let edit = named_within(edit, call, target);
    let edit = betas.ask(standing(edit, call, target), call);
    (!edit.is_empty()).then(|| edit.finish())
}

/// Has the parts of a call in Google's words that name a model, too, name the target's.
fn named_within<'a>(edit: Edit<'a>, call: &Call, target: &Target) -> Edit<'a> {
    let mut places = Vec::new();
    let mut cursor = Cursor::new(call.text());
    let mut named = |cursor: &mut Cursor<'_>| {
        cursor.object(|key, cursor| {
            if key_is(key, "model") {
                let end = cursor.offset();
                places.push(end..end + cursor.value()?.len());
            }
            Ok::<(), Fault>(())
        })
    };
    let walked: Result<(), Fault> = match call.operation() {
        Operation::CountContent => cursor.object(|key, cursor| match &*name_of(key) {
            "generateContentRequest" | "generate_content_request" => named(cursor),
            _ => Ok(()),
        }),
        Operation::BatchEmbedContents => cursor.object(|key, cursor| match key_is(key, "requests") {
            true => cursor.array(|_, cursor| named(cursor)),
            false => Ok(()),
        }),
        _ => Ok(()),
    };
    if walked.is_err() || places.is_empty() {
        return edit;
    }
    let mut name = Vec::new();
    write_string(&mut name, &format!("models/{}", target.model()));
    places.into_iter().fold(edit, |edit, place| edit.replace(place, name.clone()))
}

/// What a target wants of every body, whatever was asked.
fn finished(body: Bytes, target: &Target, cuts: &[&[&str]]) -> Bytes {
    if cuts.is_empty() && target.additions().is_empty() {
        return body;
    }
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    let text = text.trim();
    let cut = if cuts.is_empty() { None } else { without(text, cuts) };
    let mut text = cut.unwrap_or_else(|| text.to_owned());
    for (name, json) in target.additions() {
        if find_member(&text, &[name]).is_none() && text.starts_with('{') {
            let separator = if text[1..].trim_start().starts_with('}') { "" } else { "," };
            text.insert_str(1, &format!("{}:{json}{separator}", serde_json::Value::from(name.as_str())));
        }
    }
    text.into()
}

/// Another dialect: the conversation is read and written anew.
async fn translate(
    call: &Call,
    target: &Target,
    dialect: Dialect,
    betas: &Betas<'_>,
    media: Option<(&dyn FetchMedia, &Extensions)>,
    expected: &mut Expected,
) -> Result<Bytes, Rejection> {
    let edit = betas.ask(standing(call.edit(), call, target), call);
    let edited = (!edit.is_empty()).then(|| edit.finish());
    let text = match &edited {
        Some(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        None => call.text(),
    };
    let mut request = decode_request(call.dialect(), text).map_err(malformed)?;
    // On Bedrock nobody fetches, whatever the dialect.
    let media = media.filter(|_| !takes_urls(dialect) || target.has_wrapped_events());
    if let Some((fetch, extensions)) = media {
        bring_in(&mut request, fetch, extensions).await?;
    }
    request.stream = call.stream().then_some(true);
    // Callers of other dialects are always told what was used.
    request.include_usage = (dialect == Dialect::OpenAi && call.stream()).then_some(true);
    let mut out = Vec::with_capacity(text.len() + text.len() / 8 + 256);
    let encoding = Encoding::of(target);
    if dialect == Dialect::OpenAi && target.provider_quirks().mistral {
        to_mistral(&mut request, &encoding).map_err(refuse)?;
    }
    // What passes as it stands is asked for as it stands.
    if !expected.passes {
        expected.form = FormTool::ask(dialect, &mut request, &encoding);
        expected.names = ToolNames::of(dialect, &request);
    }
    encode_request(dialect, &request, &encoding, &mut out).map_err(refuse)?;
    Ok(out.into())
}

pub(crate) fn malformed(error: Malformed) -> Rejection {
    let problem = Problem::new(Cause::InvalidRequest, error.to_string());
    if error.path.is_empty() { problem.into() } else { problem.param(error.path).into() }
}

pub(crate) fn refuse(refused: Refused) -> Rejection {
    match refused {
        Refused::Unsupported(names) => {
            let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let message = format!(
                "this model does not support {list}; set `drop_params` to leave out what can be left out, or name it in \
                 `allowed_openai_params` to pass it on"
            );
            let first = names.into_iter().next().unwrap_or_default();
            Problem::new(Cause::InvalidRequest, message).param(first).code("unsupported_parameter").into()
        }
        Refused::Invalid { message, param } => {
            Problem::new(Cause::InvalidRequest, message).param(param).into()
        }
        other => Rejection::new(Cause::InvalidRequest, other.to_string()),
    }
}

/// The head of the request: nothing of the caller's goes out but what is named here.
fn head(caller: Parts, call: &Call, target: &Target, way: Way<'_>) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::POST;
    parts.uri = way.uri.clone();
    parts.extensions = caller.extensions;
    let streams = call.stream() && call.operation().generates_text();
    let accept = match (way.dialect, streams) {
        _ if is_media(call.operation()) && way.wording.is_none() => "*/*",
        (_, false) => "application/json",
        (_, true) if target.has_wrapped_events() => "application/vnd.amazon.eventstream",
        (Dialect::Converse, true) => "application/vnd.amazon.eventstream",
        (Dialect::Ollama, true) => "application/x-ndjson",
        (_, true) => "text/event-stream",
    };
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    parts.headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    parts.headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("ziggurat/", env!("CARGO_PKG_VERSION"))),
    );
    if way.dialect == Dialect::Anthropic {
        anthropic::headers(&caller.headers, call.dialect(), target, &mut parts.headers);
    }
    for (name, value) in target.headers() {
        parts.headers.insert(name.clone(), value.clone());
    }
    parts
}

/// Whether it is answered with sound, text or images, as the caller's own words have it.
fn is_media(operation: Operation) -> bool {
    operation == Operation::Speech || operation.is_heard() || operation.is_drawn()
}

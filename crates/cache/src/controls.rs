//! What a caller says of the cache.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use ziggurat_core::{Body, Call, Cause, Field, Principal, Problem, Rejection};

/// How one call uses the cache: LiteLLM's `cache` in its body, and the directives of its `cache-control` header, those of
/// [RFC 9111](https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1) and ours beside them (`ttl=60, namespace=x, use-cache`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Controls {
    /// Does not take an answer from the cache.
    pub(crate) no_cache: bool,
    /// Does not leave its answer there.
    pub(crate) no_store: bool,
    /// How long its answer counts.
    pub(crate) ttl: Option<Duration>,
    /// How old an answer may be that it takes.
    pub(crate) max_age: Option<Duration>,
    /// A part of the tenant's cache.
    pub(crate) namespace: Option<Arc<str>>,
    /// Uses the cache where that is off unless asked for.
    pub(crate) use_cache: bool,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, rename = "no-cache")]
    no_cache: Option<&'a RawValue>,
    #[serde(borrow, rename = "no-store")]
    no_store: Option<&'a RawValue>,
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
    #[serde(borrow, rename = "s-maxage", alias = "s-max-age")]
    max_age: Option<&'a RawValue>,
    #[serde(borrow)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow, rename = "use-cache")]
    use_cache: Option<&'a RawValue>,
}

/// The member of a body that says it.
const MEMBER: &str = Field::Cache.name();

/// Longest name of a namespace.
const MAX_NAMESPACE: usize = 256;

// ===== impl Controls =====

impl Controls {
    /// Takes the controls out of a request: no provider is to see them.
    ///
    /// # Errors
    /// A rejection that names what is no control, and what this caller may not use.
    pub(crate) fn take(request: &mut Request<Body>, call: &mut Call) -> Result<Self, Rejection> {
        let mut controls = Self::of_headers(request.headers());
        let allowed = request.extensions().get::<Principal>().and_then(|who| who.cache_controls.clone());
        if let Some(allowed) = &allowed {
            // Many a client sends these to whatever caches there are: what it may not say to this one is not heard.
            controls.keep_only(|name| allowed.iter().any(|allowed| **allowed == *name));
        }
        if call.has(Field::Cache) {
            let said = call.field(Field::Cache).map(Self::of_body).transpose()?.unwrap_or_default();
            controls = Self {
                no_cache: said.no_cache || controls.no_cache,
                no_store: said.no_store || controls.no_store,
                ttl: said.ttl.or(controls.ttl),
                max_age: said.max_age.or(controls.max_age),
                namespace: said.namespace.or(controls.namespace),
                use_cache: said.use_cache || controls.use_cache,
            };
            *call = Call::replace(request, Self::without(call))?;
        }
        if let Some(allowed) = allowed
            && let Some(name) =
                controls.names().find(|name| !allowed.iter().any(|allowed| **allowed == **name))
        {
            let message = format!("the key may not use the cache control `{name}`");
            return Err(Problem::new(Cause::PermissionDenied, message).param(MEMBER).into());
        }
        Ok(controls)
    }

    /// The body of a call without its word of the cache.
    pub(crate) fn without(call: &Call) -> Bytes {
        call.edit().remove(&[MEMBER]).finish()
    }

    /// Forgets those that a caller may not use.
    fn keep_only(&mut self, may: impl Fn(&str) -> bool) {
        let Self { no_cache, no_store, ttl, max_age, namespace, use_cache } = self;
        *no_cache &= may("no-cache");
        *no_store &= may("no-store");
        *use_cache &= may("use-cache");
        *ttl = ttl.filter(|_| may("ttl"));
        *max_age = max_age.filter(|_| may("s-maxage"));
        *namespace = namespace.take().filter(|_| may("namespace"));
    }

    /// The names of those that are used.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.no_cache, "no-cache"),
            (self.no_store, "no-store"),
            (self.ttl.is_some(), "ttl"),
            (self.max_age.is_some(), "s-maxage"),
            (self.namespace.is_some(), "namespace"),
            (self.use_cache, "use-cache"),
        ];
        all.into_iter().filter_map(|(used, name)| used.then_some(name))
    }

    fn of_body(json: &str) -> Result<Self, Rejection> {
        let said: Said<'_> = serde_json::from_str(json).map_err(|_| invalid("cache", "an object"))?;
        let flag = |name: &'static str, json: Option<&RawValue>| match json.map(RawValue::get) {
            None | Some("null" | "false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(invalid(name, "true or false")),
        };
        let seconds = |name: &'static str, json: Option<&RawValue>| {
            json.filter(|json| json.get() != "null").map(|json| seconds(name, json.get())).transpose()
        };
        let namespace = said.namespace.filter(|json| json.get() != "null");
        let namespace = namespace.map(|json| {
            let name: Option<String> = serde_json::from_str(json.get()).ok();
            name.ok_or_else(|| invalid("namespace", A_NAME)).and_then(|name| named(&name))
        });
        Ok(Self {
            no_cache: flag("no-cache", said.no_cache)?,
            no_store: flag("no-store", said.no_store)?,
            ttl: seconds("ttl", said.ttl)?,
            max_age: seconds("s-maxage", said.max_age)?,
            namespace: namespace.transpose()?,
            use_cache: flag("use-cache", said.use_cache)?,
        })
    }

    /// What cannot be read in a header is not heard, as RFC 9111 has it.
    fn of_headers(headers: &HeaderMap) -> Self {
        let mut controls = Self::default();
        let lines = headers.get_all(header::CACHE_CONTROL).iter();
        for directive in lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => controls.no_cache = true,
                "no-store" => controls.no_store = true,
                "max-age" | "s-maxage" | "s-max-age" => controls.max_age = seconds("max-age", value).ok(),
                "ttl" => controls.ttl = seconds("ttl", value).ok(),
                "namespace" => controls.namespace = named(value).ok(),
                "use-cache" => controls.use_cache = true,
                // What else may stand there is for other caches.
                _ => {}
            }
        }
        controls
    }
}

fn seconds(name: &'static str, text: &str) -> Result<Duration, Rejection> {
    let number = text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    number.ok_or_else(|| invalid(name, "a number of seconds"))
}

fn named(name: &str) -> Result<Arc<str>, Rejection> {
    match name.len() {
        1..=MAX_NAMESPACE => Ok(name.into()),
        _ => Err(invalid("namespace", A_NAME)),
    }
}

const A_NAME: &str = "a name of 1 to 256 bytes";

fn invalid(name: &'static str, what: &str) -> Rejection {
    Problem::new(Cause::InvalidRequest, format!("the cache control `{name}` must be {what}"))
        .param(MEMBER)
        .into()
}

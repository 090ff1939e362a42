//! What a call may ask of its own way, as LiteLLM's callers do: where it falls back, how often it is tried again, how long it may take.
//!
//! All of it can only lower what the config allows: other fallbacks than the config's, of models that the caller may use, and no more of
//! them; fewer retries; less time.

use std::time::Duration;

use http::{HeaderMap, Request};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use ziggurat_cache::GoesAlone;
use ziggurat_core::{Body, Call, Cause, Principal, Problem, Rejection};
use ziggurat_route::{Course, MaxRetries, Routes, Timeouts};

use crate::app::beginning;

/// The options of one call.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// `fallbacks`: in place of the config's.
    fallbacks: Option<Vec<String>>,
    /// `disable_fallbacks`.
    disabled: bool,
    /// `num_retries`.
    retries: Option<u32>,
    /// `timeout`.
    timeout: Option<Duration>,
    /// `stream_timeout`.
    stream_timeout: Option<Duration>,
}

/// The options as they stand in a body.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    fallbacks: Option<&'a RawValue>,
    disable_fallbacks: Option<&'a RawValue>,
    num_retries: Option<&'a RawValue>,
    max_retries: Option<&'a RawValue>,
    timeout: Option<&'a RawValue>,
    stream_timeout: Option<&'a RawValue>,
}

/// The top-level fields that are options: read here, and not sent to a provider.
pub(crate) const FIELDS: [&str; 6] =
    ["fallbacks", "disable_fallbacks", "num_retries", "max_retries", "timeout", "stream_timeout"];

// ===== impl Options =====

impl Options {
    /// Takes the options out of a request, where `in_body` says that it has some there.
    ///
    /// # Errors
    /// A rejection that names the field or the header whose value is none.
    pub(crate) fn take(
        request: &mut Request<Body>,
        call: &mut Call,
        in_body: bool,
    ) -> Result<Self, Rejection> {
        let mut options = Self::of_headers(request.headers())?;
        if in_body {
            options = Self::of_body(call)?.or(options);
            let edit = FIELDS.iter().fold(call.edit(), |edit, field| edit.remove(&[field]));
            let bytes = edit.finish();
            *call = Call::replace(request, bytes)?;
        }
        Ok(options)
    }

    /// Where the call may go, written with what it may take into its extensions.
    ///
    /// # Errors
    /// A rejection for a model, its own or that of a fallback, which nothing answers to or which the caller may not use.
    pub(crate) fn route(
        &self,
        routes: &Routes,
        call: &Call,
        request: &mut Request<Body>,
    ) -> Result<(), Rejection> {
        let course = self.course(routes, call.model().unwrap_or_default(), request.extensions().get())?;
        let extensions = request.extensions_mut();
        extensions.insert(course.plan());
        extensions.insert(course);
        if let Some(most) = self.retries {
            extensions.insert(MaxRetries(most));
        }
        let mut timeouts = Timeouts::none();
        match call.stream() {
            true => {
                let timeout = self.stream_timeout.or(self.timeout);
                (timeouts.first_token, timeouts.idle) = (timeout, timeout);
            }
            false => timeouts.total = self.timeout,
        }
        if timeouts != Timeouts::none() {
            extensions.insert(timeouts);
        }
        if *self != Self::default() {
            // What one caller asks for its own call is nothing for others, who would share it.
            extensions.insert(GoesAlone);
        }
        Ok(())
    }

    fn course(
        &self,
        routes: &Routes,
        model: &str,
        principal: Option<&Principal>,
    ) -> Result<Course, Rejection> {
        let unknown =
            |model: &str, param: &'static str| Rejection::from(Problem::unknown_model(model).param(param));
        let none = [];
        let fallbacks = match (&self.fallbacks, self.disabled) {
            (_, true) => &none[..],
            (Some(fallbacks), false) => fallbacks,
            (None, false) => return routes.course(model, principal).ok_or_else(|| unknown(model, "model")),
        };
        if !fallbacks.is_empty() && routes.stays(model) {
            let message = format!("calls of {:?} go nowhere else", beginning(model));
            return Err(Problem::new(Cause::InvalidRequest, message).param("fallbacks").into());
        }
        if fallbacks.len() > routes.max_fallbacks() {
            let message = format!("`fallbacks` may name {} models at most", routes.max_fallbacks());
            return Err(Problem::new(Cause::InvalidRequest, message).param("fallbacks").into());
        }
        for name in fallbacks {
            if principal.is_some_and(|principal| !principal.may_use(name)) {
                let message = format!("the key may not use the model {:?}", beginning(name));
                return Err(Problem::new(Cause::PermissionDenied, message).param("fallbacks").into());
            }
            if routes.course(name, None).is_none() {
                return Err(unknown(name, "fallbacks"));
            }
        }
        // Each may be used by the name that the caller gave, be it an alias.
        routes.course_with(model, fallbacks, None).ok_or_else(|| unknown(model, "model"))
    }

    fn of_body(call: &Call) -> Result<Self, Rejection> {
        fn read<T: DeserializeOwned>(
            name: &'static str,
            json: Option<&RawValue>,
            what: &str,
        ) -> Result<Option<T>, Rejection> {
            json.map(|json| serde_json::from_str(json.get()).map_err(|_| invalid(name, what))).transpose()
        }
        let seconds = |name, json| -> Result<Option<Duration>, Rejection> {
            let number: Option<f64> = read(name, json, SECONDS)?;
            number.map(|number| duration(number).ok_or_else(|| invalid(name, SECONDS))).transpose()
        };
        let said: Said<'_> = serde_json::from_str(call.text()).map_err(|_| {
            Rejection::new(Cause::InvalidRequest, "an option of the call stands twice in its body")
        })?;
        let retries: Option<u32> = read("num_retries", said.num_retries, COUNT)?;
        Ok(Self {
            fallbacks: read("fallbacks", said.fallbacks, "a list of the names of models")?,
            disabled: read("disable_fallbacks", said.disable_fallbacks, "true or false")?.unwrap_or(false),
            retries: retries.or(read("max_retries", said.max_retries, COUNT)?),
            timeout: seconds("timeout", said.timeout)?,
            stream_timeout: seconds("stream_timeout", said.stream_timeout)?,
        })
    }

    fn of_headers(headers: &HeaderMap) -> Result<Self, Rejection> {
        let text = |name: &'static str| headers.get(name).map(|value| (name, value.to_str().unwrap_or("")));
        let seconds = |name: &'static str| {
            let read = |(name, text): (&'static str, &str)| {
                text.parse().ok().and_then(duration).ok_or_else(|| invalid(name, SECONDS))
            };
            text(name).map(read).transpose()
        };
        let retries = text("x-litellm-num-retries")
            .map(|(name, text)| text.parse().map_err(|_| invalid(name, COUNT)))
            .transpose()?;
        Ok(Self {
            retries,
            timeout: seconds("x-litellm-timeout")?,
            stream_timeout: seconds("x-litellm-stream-timeout")?,
            ..Self::default()
        })
    }

    /// These, and where they say nothing, those of `outer`.
    fn or(self, outer: Self) -> Self {
        Self {
            fallbacks: self.fallbacks.or(outer.fallbacks),
            disabled: self.disabled || outer.disabled,
            retries: self.retries.or(outer.retries),
            timeout: self.timeout.or(outer.timeout),
            stream_timeout: self.stream_timeout.or(outer.stream_timeout),
        }
    }
}

/// A time above zero.
fn duration(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero())
}

fn invalid(name: &'static str, what: &str) -> Rejection {
    Problem::new(Cause::InvalidRequest, format!("`{name}` must be {what}")).param(name).into()
}

const SECONDS: &str = "a number of seconds above zero";
const COUNT: &str = "a whole number that is not negative";

//! When a provider says that the same call may work, in every form in which providers say it.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{
    Timestamp,
    fmt::{rfc2822, strtime},
    tz::TimeZone,
};
use serde_json::Value;
use ziggurat_core::Problem;

use crate::error::said;

/// How long a provider asks to wait before the same call is made again, from its error's head and body.
///
/// The first of these that can be read: `retry-after-ms`; `retry-after` (seconds, also with fractions, or a date); what
/// the body says (Gemini's `RetryInfo`, or words such as `try again in 1m30s`); the reset of the rate-limit windows
/// that have nothing left, the longest of them. What is negative or no time at all is passed over. It is not bounded: callers clamp it, at both
/// ends, since Azure sends `retry-after-ms: 0` with a refusal. A moment that has passed is a wait of zero.
#[must_use]
pub fn retry_after(headers: &HeaderMap, body: &[u8], now: SystemTime) -> Option<Duration> {
    let first = |name: &str, read: &dyn Fn(&str) -> Option<Duration>| {
        headers.get_all(name).iter().filter_map(text).find_map(read)
    };
    first("retry-after-ms", &milliseconds)
        .or_else(|| first("retry-after", &|text| wait(text, now)))
        .or_else(|| in_body(body, now))
        .or_else(|| resets(headers, now))
}

/// Adds to a problem what the head and the body of a provider's error say of the same call, made again: when, unless it is hopeless
/// ([`retry_after`]), and whether at all (`x-should-retry`, which OpenAI and Anthropic send, and their SDKs obey).
pub fn add_hints(problem: &mut Problem, headers: &HeaderMap, body: &[u8], now: SystemTime) {
    if problem.cause.is_transient() {
        problem.retry_after = retry_after(headers, body, now);
    }
    problem.should_retry = match headers.get("x-should-retry").map(HeaderValue::as_bytes) {
        Some(b"true") => Some(true),
        Some(b"false") => Some(false),
        _ => None,
    };
}

/// A wait in any form: a number (seconds; beyond 10^9 seconds of the Unix epoch, beyond 10^12 milliseconds of it), Go's durations
/// (`1h2m`, `1.5s`, `250ms`), RFC 3339, or an HTTP date (RFC 9110, 5.6.7).
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if let Some(number) = number(text) {
        return Some(match number {
            number if number > 1e12 => seconds(number / 1e3).saturating_sub(now),
            number if number > 1e9 => seconds(number).saturating_sub(now),
            number => seconds(number),
        });
    }
    if let Some((read, "")) = duration(text) {
        return Some(read);
    }
    // Before 1970 is before now.
    let at = Duration::try_from(moment(text)?.as_duration()).unwrap_or_default();
    Some(at.saturating_sub(now))
}

fn milliseconds(text: &str) -> Option<Duration> {
    number(text.trim()).map(|number| seconds(number / 1e3))
}

/// A decimal number without a sign or an exponent: `inf`, `NaN` and `-5` are none.
fn number(text: &str) -> Option<f64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_decimal)
}

/// What is more than a duration can hold is the longest.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX)
}

/// The duration that a text begins with, and the rest: Go's units, or their names in words (`20 seconds`).
fn duration(text: &str) -> Option<(Duration, &str)> {
    let mut total = None;
    let mut rest = text;
    while let Some((part, after)) = component(rest) {
        total = Some(total.unwrap_or(Duration::ZERO).saturating_add(part));
        rest = after;
    }
    total.map(|total| (total, rest))
}

fn component(text: &str) -> Option<(Duration, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (digits, rest) = text.split_at(end);
    let rest = rest.trim_start_matches(' ');
    let (unit, rest) = rest.split_at(rest.find(|letter: char| !letter.is_alphabetic()).unwrap_or(rest.len()));
    let number = number(digits)?;
    let read = match unit {
        "d" | "day" | "days" => number * 86400.0,
        "h" | "hour" | "hours" => number * 3600.0,
        "m" | "min" | "minute" | "minutes" => number * 60.0,
        "s" | "sec" | "second" | "seconds" => number,
        "ms" | "millisecond" | "milliseconds" => number / 1e3,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => number / 1e6,
        "ns" => number / 1e9,
        _ => return None,
    };
    Some((seconds(read), rest))
}

/// RFC 3339, then the three forms of an HTTP date. A wrong day of the week is no reason to come back too early.
fn moment(text: &str) -> Option<Timestamp> {
    const DATES: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    const OBSOLETE: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let obsolete = |format: &&str| {
        let date = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        TimeZone::UTC.to_timestamp(date).ok()
    };
    let date = || DATES.parse_timestamp(text).ok();
    text.parse().ok().or_else(date).or_else(|| OBSOLETE.iter().find_map(obsolete))
}

// ===== bodies =====

fn in_body(body: &[u8], now: SystemTime) -> Option<Duration> {
    let value: Value = serde_json::from_slice(body).ok()?;
    // Gemini's OpenAI-like API gives a list of one.
    let value = value.get(0).unwrap_or(&value);
    let error = value.get("error").unwrap_or(value);
    let details = error.get("details").and_then(Value::as_array);
    let delay = details.into_iter().flatten().filter_map(|detail| detail.get("retryDelay")?.as_str());
    let metadata = error.get("metadata");
    let raw = || metadata?.get("raw")?.as_str();
    delay
        .filter_map(|delay| wait(delay, now))
        .next()
        .or_else(|| in_words(&said(body)?.message))
        // OpenRouter repeats the words and the headers of who refused there.
        .or_else(|| in_words(raw()?))
        .or_else(|| resets(&headers_of(metadata?.get("headers")?), now))
}

/// `Please try again in 20s`: OpenAI, Groq; `Please retry after 20 seconds`: Azure; `Please retry in 48.9s`: Gemini.
fn in_words(message: &str) -> Option<Duration> {
    const LEADS: [&str; 3] = ["try again in ", "retry after ", "retry in "];
    let message = message.to_ascii_lowercase();
    let behind = LEADS.iter().flat_map(|lead| message.match_indices(lead).map(|(at, lead)| at + lead.len()));
    behind.filter_map(|at| Some(duration(&message[at..])?.0)).next()
}

fn headers_of(value: &Value) -> HeaderMap {
    let members = value.as_object().into_iter().flatten();
    let headers = members.filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = match value {
            Value::String(text) => HeaderValue::from_str(text).ok()?,
            Value::Number(number) => HeaderValue::from_str(&number.to_string()).ok()?,
            _ => return None,
        };
        Some((name, value))
    });
    headers.collect()
}

// ===== rate limits =====

/// The longest wait for a window that has nothing left, or of which nobody says what is left. Its headers differ by one word, wherever it stands:
/// `x-ratelimit-reset-tokens` and `x-ratelimit-remaining-tokens`, `anthropic-ratelimit-tokens-reset`, `ratelimitbysize-reset`.
fn resets(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let waits = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        let is_reset = name.split('-').any(|word| word == "reset")
            && (name.contains("ratelimit") || name.starts_with("anthropic-priority-"));
        let twin = |word: &str| headers.get(name.replace("reset", word)).and_then(text);
        let is_left = twin("remaining").and_then(number).is_some_and(|left| left > 0.0);
        // Anthropic's unified windows say it in a word.
        let is_allowed = twin("status").is_some_and(|status| status.starts_with("allowed"));
        (is_reset && !is_left && !is_allowed).then(|| wait(text(value)?, now))?
    });
    waits.max()
}

/// Units may be written with a micro sign, which `to_str` does not take.
fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

#[cfg(test)]
mod tests;

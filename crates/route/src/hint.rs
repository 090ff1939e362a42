//! When a provider says that the same call may work, in the forms that are no number of a header's.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use ziggurat_core::Problem;

/// Completes what is known of a failure: from the date in `retry-after`, else from its message. Where waiting does not help, nothing is
/// looked for.
pub(crate) fn complete(problem: &mut Problem, headers: &HeaderMap, now: impl FnOnce() -> SystemTime) {
    if problem.retry_after.is_none() && problem.cause.is_transient() {
        problem.retry_after = date(headers, now).or_else(|| said(&problem.message));
    }
}

/// The time until a date (RFC 9110, 10.2.3); one that is over says nothing.
fn date(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    httpdate::parse_http_date(text.trim()).ok()?.duration_since(now()).ok()
}

/// As OpenAI ("Please try again in 6m0s."), Gemini ("Please retry in 34.4s.") and Azure ("Please retry after 6 seconds.") write it.
fn said(message: &str) -> Option<Duration> {
    let behind = |words: &str| message.find(words).map(|at| &message[at + words.len()..]);
    let spelled = || {
        let (number, unit) = behind("retry after ")?.split_once(' ')?;
        Duration::try_from_secs_f64(unit.starts_with("second").then(|| number.parse().ok())??).ok()
    };
    behind("try again in ").or_else(|| behind("retry in ")).and_then(span).or_else(spelled)
}

/// A span of time as Go writes it at the beginning of a text: `1h2m3.5s`, `120ms`.
fn span(mut text: &str) -> Option<Duration> {
    let mut sum = None;
    loop {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, rest) = text.split_at(digits);
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            // A unit may be followed by the next number, but by no other letter.
            _ => return sum,
        };
        let Ok(number) = number.parse::<f64>() else { return sum };
        let more = Duration::try_from_secs_f64(number * seconds).ok()?;
        sum = Some(sum.unwrap_or(Duration::ZERO).saturating_add(more));
        text = &rest[unit..];
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use ziggurat_core::Cause;

    use super::*;

    fn hint(cause: Cause, header: &'static str, message: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(header))]);
        let mut problem = Problem::new(cause, message);
        complete(&mut problem, &headers, || SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        problem.retry_after
    }

    #[test]
    fn dates_are_times_from_now() {
        for (date, expected) in [
            ("Sun, 06 Nov 1994 08:49:57 GMT", Some(Duration::from_secs(20))),
            ("Sunday, 06-Nov-94 08:49:57 GMT", Some(Duration::from_secs(20))),
            ("Sun Nov  6 08:49:57 1994", Some(Duration::from_secs(20))),
            ("Sun, 06 Nov 1994 08:49:36 GMT", None),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(hint(Cause::RateLimit, date, "no"), expected, "{date}");
        }
    }

    #[test]
    fn messages_are_read_as_providers_write_them() {
        for (message, millis) in [
            ("Limit 3, Used 3. Please try again in 20s. Visit", Some(20_000)),
            ("Please try again in 1.5s.", Some(1500)),
            ("Please try again in 6m0s.", Some(360_000)),
            ("Please try again in 1h2m3s", Some(3_723_000)),
            ("Please try again in 120ms.", Some(120)),
            ("Please retry in 34.4s.", Some(34_400)),
            ("Please retry after 6 seconds.", Some(6000)),
            ("Please try again in a while.", None),
            ("Please try again in 5 apples.", None),
            ("Please retry after 6 apples.", None),
            ("Please try again in 99999999999999999999999999s", None),
            ("no", None),
        ] {
            assert_eq!(hint(Cause::RateLimit, "?", message), millis.map(Duration::from_millis), "{message}");
        }
    }

    #[test]
    fn what_does_not_pass_by_itself_is_not_waited_for() {
        assert_eq!(hint(Cause::Quota, "Sun, 06 Nov 1994 08:49:57 GMT", "try again in 20s"), None);
    }
}

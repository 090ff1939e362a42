//! The ways in which the replay upstream misbehaves, written as a comma-separated list.

use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

/// What is wrong with an answer, parsed from a list such as `events,pace=50ms,reset=2000`.
///
/// | fault | effect |
/// |---|---|
/// | `rechunk=N` | the body in HTTP chunks of N bytes, each flushed on its own |
/// | `events` | the body in HTTP chunks of one event each (SSE event, NDJSON line or AWS frame, by content type) |
/// | `pace=50ms` | a pause between chunks, in `us`, `ms` or `s` |
/// | `repeat=N` | the body N times over |
/// | `cut=N` | the body ends after N bytes, and HTTP-wise properly |
/// | `close=N` | after N bytes the connection is closed, the body not ended |
/// | `reset=N` | after N bytes the connection is reset |
/// | `stall=N` | after N bytes nothing more comes, the connection stays open until the peer leaves |
/// | `hang` | no answer at all, the connection stays open until the peer leaves |
/// | `close` | the connection is closed before the first byte of an answer |
/// | `status=429` | another status, the body as recorded |
/// | `retry-after=3`, `retry-after-ms=250` | the header of that name |
/// | `html` | an HTML page instead of the body |
///
/// `N` bytes are of the body as it would be sent without the fault, repetitions included, and at most all of it.
/// Faults combine, but only one of `cut`, `close`, `reset`, `stall` and `hang` can end an answer. A body
/// without a chunking fault goes out in pieces of at most 16 KiB, so `pace` alone changes little.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    pub(crate) chunking: Chunking,
    pub(crate) pace: Option<Duration>,
    pub(crate) repeat: Option<u64>,
    pub(crate) fate: Option<Fate>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) retry_after: Option<HeaderValue>,
    pub(crate) retry_after_ms: Option<HeaderValue>,
    pub(crate) html: bool,
}

/// A fault that does not exist, or whose value makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidFault {
    /// The fault as it was written.
    pub fault: String,
    /// What would have been right.
    pub expected: &'static str,
}

/// Where a body is divided into HTTP chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Chunking {
    #[default]
    Unspecified,
    Size(NonZeroUsize),
    Events,
}

/// How an answer comes to its end, if not in the normal way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Cut(u64),
    Close(u64),
    Reset(u64),
    Stall(u64),
    Hang,
    CloseUnanswered,
}

// ===== impl Faults =====

impl Faults {
    fn add(&mut self, fault: &str) -> Result<(), &'static str> {
        let (name, value) = fault.split_once('=').unwrap_or((fault, ""));
        match name {
            "rechunk" => self.chunking = Chunking::Size(value.parse().map_err(|_| COUNT)?),
            "events" => self.chunking = flag(value, Chunking::Events)?,
            "pace" => self.pace = Some(duration(value).ok_or(DURATION)?),
            "repeat" => self.repeat = Some(value.parse().ok().filter(|times| *times > 0).ok_or(COUNT)?),
            "cut" => self.end(Fate::Cut(bytes(value)?))?,
            "close" if fault == name => self.end(Fate::CloseUnanswered)?,
            "close" => self.end(Fate::Close(bytes(value)?))?,
            "reset" => self.end(Fate::Reset(bytes(value)?))?,
            "stall" => self.end(Fate::Stall(bytes(value)?))?,
            "hang" => self.end(flag(value, Fate::Hang)?)?,
            "status" => self.status = Some(status(value).ok_or(STATUS)?),
            "retry-after" => self.retry_after = Some(value.parse().map_err(|_| HEADER)?),
            "retry-after-ms" => self.retry_after_ms = Some(value.parse().map_err(|_| HEADER)?),
            "html" => self.html = flag(value, true)?,
            _ => return Err(FAULT),
        }
        Ok(())
    }

    fn end(&mut self, fate: Fate) -> Result<(), &'static str> {
        match self.fate.replace(fate) {
            None => Ok(()),
            Some(_) => Err(ONE_FATE),
        }
    }
}

impl FromStr for Faults {
    type Err = InvalidFault;

    /// Parses a comma-separated list; the empty list is no fault.
    fn from_str(list: &str) -> Result<Self, InvalidFault> {
        let mut faults = Self::default();
        for fault in list.split(',').filter(|fault| !fault.is_empty()) {
            faults.add(fault).map_err(|expected| InvalidFault { fault: fault.to_owned(), expected })?;
        }
        Ok(faults)
    }
}

// ===== impl InvalidFault =====

impl fmt::Display for InvalidFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid fault `{}`: expected {}", self.fault, self.expected)
    }
}

impl Error for InvalidFault {}

fn flag<T>(value: &str, set: T) -> Result<T, &'static str> {
    if value.is_empty() { Ok(set) } else { Err(FLAG) }
}

fn bytes(value: &str) -> Result<u64, &'static str> {
    value.parse().map_err(|_| BYTES)
}

fn status(value: &str) -> Option<StatusCode> {
    // hyper does not let a service answer with 1xx.
    value.parse().ok().filter(|status: &StatusCode| (200..600).contains(&status.as_u16()))
}

fn duration(value: &str) -> Option<Duration> {
    let unit = value.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = value.split_at(unit);
    let number = number.parse().ok()?;
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

const FAULT: &str = "one of rechunk=N, events, pace=50ms, repeat=N, cut=N, close=N, reset=N, stall=N, hang, close, \
                     status=429, retry-after=3, retry-after-ms=250, html";
const FLAG: &str = "no value";
const COUNT: &str = "a whole number above zero";
const BYTES: &str = "a number of bytes";
const DURATION: &str = "a duration such as 50ms, in us, ms or s";
const STATUS: &str = "a status from 200 to 599";
const HEADER: &str = "the value of a header";
const ONE_FATE: &str = "only one of cut, close, reset, stall and hang";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(list: &str) -> String {
        list.parse::<Faults>().unwrap_err().to_string()
    }

    #[test]
    fn parses_every_fault() {
        let list = "rechunk=3,pace=50ms,repeat=2,reset=7,status=429,retry-after=3,retry-after-ms=250,html";
        let faults = Faults {
            chunking: Chunking::Size(NonZeroUsize::new(3).unwrap()),
            pace: Some(Duration::from_millis(50)),
            repeat: Some(2),
            fate: Some(Fate::Reset(7)),
            status: Some(StatusCode::TOO_MANY_REQUESTS),
            retry_after: Some(HeaderValue::from_static("3")),
            retry_after_ms: Some(HeaderValue::from_static("250")),
            html: true,
        };
        assert_eq!(list.parse(), Ok(faults));
        assert_eq!("events".parse(), Ok(Faults { chunking: Chunking::Events, ..Faults::default() }));
        for (fault, fate) in [
            ("cut=0", Fate::Cut(0)),
            ("stall=9", Fate::Stall(9)),
            ("hang", Fate::Hang),
            ("close", Fate::CloseUnanswered),
            ("close=4", Fate::Close(4)),
        ] {
            assert_eq!(fault.parse(), Ok(Faults { fate: Some(fate), ..Faults::default() }));
        }
        assert_eq!("".parse(), Ok(Faults::default()));
    }

    #[test]
    fn parses_durations_only_with_their_unit() {
        assert_eq!(duration("250us"), Some(Duration::from_micros(250)));
        assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!([duration("50"), duration("ms"), duration("-1ms"), duration("1m")], [None; 4]);
    }

    #[test]
    fn refuses_what_it_does_not_know_and_says_what_it_expected() {
        assert!(
            refused("rechunk=2,flood")
                .starts_with("invalid fault `flood`: expected one of rechunk=N, events")
        );
        assert_eq!(refused("rechunk=0"), "invalid fault `rechunk=0`: expected a whole number above zero");
        assert_eq!(refused("repeat=0"), "invalid fault `repeat=0`: expected a whole number above zero");
        assert_eq!(refused("cut"), "invalid fault `cut`: expected a number of bytes");
        assert_eq!(refused("close="), "invalid fault `close=`: expected a number of bytes");
        assert_eq!(refused("html=1"), "invalid fault `html=1`: expected no value");
        assert_eq!(refused("status=101"), "invalid fault `status=101`: expected a status from 200 to 599");
        assert_eq!(
            refused("retry-after=\n"),
            "invalid fault `retry-after=\n`: expected the value of a header"
        );
        assert_eq!(
            refused("cut=1,hang"),
            "invalid fault `hang`: expected only one of cut, close, reset, stall and hang"
        );
    }
}

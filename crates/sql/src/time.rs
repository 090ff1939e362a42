//! Times as microseconds since 1970, UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn micros(time: SystemTime) -> i64 {
    let clamp = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => clamp(since),
        // Rounded down, as above.
        Err(before) => -clamp(before.duration() + Duration::from_nanos(999)),
    }
}

pub(crate) fn time_of(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    let time = if micros < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    time.unwrap_or(UNIX_EPOCH)
}

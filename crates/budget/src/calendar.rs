//! Windows by the texts that LiteLLM's `budget_duration` takes: `30d`, `1mo`, `weekly`.
//!
//! | text | a period |
//! |---|---|
//! | `1d`, `24h`, `daily` | from midnight to midnight |
//! | `7d`, `1w`, `weekly` | from Monday to Monday |
//! | `30d`, `1mo`, `monthly` | a month, from its first day |
//! | `Nmo` | N months, counted from January 1970: `3mo` is a quarter, `12mo` a year |
//! | `Nd`, `Nw` | N days from midnight, counted from Monday, 5 January 1970 |
//! | `Ns`, `Nm`, `Nh` up to a minute, an hour, a day | its multiples from the start of the minute, the hour, the day; the last is shorter where they do not divide it |
//! | `Ns`, `Nm`, `Nh` above a day | N/24 days where it is that, else its multiples from 5 January 1970, by the clock on the wall |
//!
//! Everything is by the clock of a time zone: a day has 23 or 25 hours where the clocks change, and a window of six hours one more or
//! one less. Windows of up to an hour are of their length on such days too, as far as their hour goes on. Periods follow each other
//! without a gap. A moment that the clocks skip is the moment at which they do; one that they show twice is the first.
//!
//! # Example
//! ```
//! use ziggurat_budget::calendar;
//! use ziggurat_core::{Budget, Scope, Usd};
//!
//! let daily = calendar::window("1d", "Europe/Berlin")?;
//! assert_eq!(daily, calendar::window("daily", "europe/berlin")?);
//! let budget = Budget::new(Scope::tenant("acme"), Usd::dollars(50), daily);
//! assert_eq!(&*budget.account.period, "1d Europe/Berlin");
//!
//! let refused = calendar::window("1y", "UTC").unwrap_err();
//! assert!(refused.to_string().contains("hourly, daily, weekly or monthly"));
//! # Ok::<_, calendar::DurationError>(())
//! ```

use std::{
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::{
    Span, Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use ziggurat_core::{Calendar, Window};

/// A window of the calendar of a time zone, by the name that the IANA database has for it (`UTC`, `Europe/Berlin`).
///
/// # Errors
/// [`DurationError`] for what is no duration or no time zone.
pub fn window(duration: &str, zone: &str) -> Result<Window, DurationError> {
    let grid = Grid::of(parse(duration)?)?;
    let zone = TimeZone::get(zone).map_err(|_| DurationError::UnknownTimeZone)?;
    let name = format!("{grid} {}", zone.iana_name().unwrap_or("UTC"));
    Ok(Window::Calendar(Arc::new(Periods { grid, zone, name })))
}

/// A rolling window: each amount is forgotten by itself, so long after it was spent.
///
/// # Errors
/// [`DurationError`] for what is no duration.
pub fn rolling(duration: &str) -> Result<Window, DurationError> {
    Ok(Window::Rolling(Duration::from_secs(seconds(duration)?)))
}

/// The number of the oldest bucket that counts at a time in a window of this module's, by its name: what a store has under one before it
/// is forgotten. `None` for a name that is not of this module's making.
#[must_use]
pub fn oldest_bucket(name: &str, now: SystemTime) -> Option<i64> {
    of_name(name).map(|window| crate::ledger::oldest_bucket(&window, now))
}

/// The length of a duration in seconds, where a month is 30 days.
///
/// # Errors
/// [`DurationError`] for what is no duration.
pub fn seconds(duration: &str) -> Result<u64, DurationError> {
    Ok(match parse(duration)? {
        Length::Seconds(seconds) => seconds,
        Length::Days(days) => days * DAY,
        Length::Months(months) => months * 30 * DAY,
    })
}

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationError {
    /// It is neither a number with a unit nor one of the words.
    Unknown,
    /// It is zero.
    Zero,
    /// It is more than a hundred years.
    TooLong,
    /// The time zone is not one of the IANA database.
    UnknownTimeZone,
}

/// A duration as it was written.
#[derive(Clone, Copy)]
enum Length {
    Seconds(u64),
    Days(u64),
    Months(u64),
}

/// Where periods begin.
#[derive(Clone, Copy)]
enum Grid {
    Months(i64),
    Days(i64),
    /// Multiples of so many seconds within each day.
    InDay(i64),
    /// Multiples within each hour or minute, whose length is the second.
    InHour(i64, i64),
    /// Multiples over days.
    OverDays(i64),
}

struct Periods {
    grid: Grid,
    zone: TimeZone,
    name: String,
}

/// The window of that name, if this module gave it.
pub(crate) fn of_name(name: &str) -> Option<Window> {
    let (first, second) = name.split_once(' ')?;
    let window = match first {
        "rolling" => rolling(second).ok()?,
        duration => window(duration, second).ok()?,
    };
    (*window.name() == *name).then_some(window)
}

fn parse(text: &str) -> Result<Length, DurationError> {
    let length = match text {
        "hourly" => Length::Seconds(HOUR),
        "daily" => Length::Days(1),
        "weekly" => Length::Days(7),
        "monthly" => Length::Months(1),
        _ => {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let (number, unit) = text.split_at(digits);
            let scale: fn(u64) -> Length = match unit {
                "s" => Length::Seconds,
                "m" => |n| Length::Seconds(n.saturating_mul(MINUTE)),
                "h" => |n| Length::Seconds(n.saturating_mul(HOUR)),
                "d" => Length::Days,
                "w" => |n| Length::Days(n.saturating_mul(7)),
                "mo" => Length::Months,
                _ => return Err(DurationError::Unknown),
            };
            if number.is_empty() {
                return Err(DurationError::Unknown);
            }
            // Digits alone: the only other way to fail is to be too large.
            scale(number.parse().unwrap_or(u64::MAX))
        }
    };
    match length {
        Length::Seconds(0) | Length::Days(0) | Length::Months(0) => Err(DurationError::Zero),
        Length::Seconds(seconds) if seconds > MOST_DAYS * DAY => Err(DurationError::TooLong),
        Length::Days(days) if days > MOST_DAYS => Err(DurationError::TooLong),
        Length::Months(months) if months > MOST_DAYS / 30 => Err(DurationError::TooLong),
        length => Ok(length),
    }
}

// ===== impl Grid =====

impl Grid {
    fn of(length: Length) -> Result<Self, DurationError> {
        let signed = |number: u64| i64::try_from(number).map_err(|_| DurationError::TooLong);
        Ok(match length {
            Length::Months(months) => Self::Months(signed(months)?),
            Length::Days(30) => Self::Months(1),
            Length::Days(days) => Self::Days(signed(days)?),
            Length::Seconds(seconds @ ..=MINUTE) => Self::InHour(signed(seconds)?, 60),
            Length::Seconds(seconds @ ..=HOUR) => Self::InHour(signed(seconds)?, 3600),
            Length::Seconds(seconds) if seconds % DAY == 0 => Self::Days(signed(seconds / DAY)?),
            Length::Seconds(seconds @ ..=DAY) => Self::InDay(signed(seconds)?),
            Length::Seconds(seconds) => Self::OverDays(signed(seconds)?),
        })
    }

    /// The number of the period that a moment on the wall is in.
    fn number(self, at: DateTime) -> i64 {
        let days = days_of(at.date());
        let second = i64::from(at.hour()) * 3600 + i64::from(at.minute()) * 60 + i64::from(at.second());
        match self {
            Self::Months(months) => {
                ((i64::from(at.year()) - 1970) * 12 + i64::from(at.month()) - 1).div_euclid(months)
            }
            Self::Days(step) => days.div_euclid(step),
            Self::InDay(step) => days * in_day(step) + second / step,
            Self::InHour(step, _) | Self::OverDays(step) => (days * 86_400 + second).div_euclid(step),
        }
    }

    /// The first moment of a period, on the wall.
    fn start(self, number: i64) -> Option<DateTime> {
        let (days, second) = match self {
            Self::Months(months) => {
                let month = number.checked_mul(months)?;
                let year = i16::try_from(month.div_euclid(12) + 1970).ok()?;
                let month = i8::try_from(month.rem_euclid(12) + 1).ok()?;
                return Some(Date::new(year, month, 1).ok()?.at(0, 0, 0, 0));
            }
            Self::Days(step) => (number.checked_mul(step)?, 0),
            Self::InDay(step) => (number.div_euclid(in_day(step)), number.rem_euclid(in_day(step)) * step),
            Self::InHour(step, _) | Self::OverDays(step) => {
                let second = number.checked_mul(step)?;
                (second.div_euclid(86_400), second.rem_euclid(86_400))
            }
        };
        let date = MONDAY.checked_add(Span::new().try_days(days).ok()?).ok()?;
        date.at(0, 0, 0, 0).checked_add(second.seconds()).ok()
    }
}

/// As a text that reads as the same grid.
impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Months(months) => write!(f, "{months}mo"),
            Self::Days(days) => write!(f, "{days}d"),
            Self::InDay(seconds) | Self::InHour(seconds, _) | Self::OverDays(seconds) => {
                match (seconds % 3600, seconds % 60) {
                    (0, _) => write!(f, "{}h", seconds / 3600),
                    (_, 0) => write!(f, "{}m", seconds / 60),
                    _ => write!(f, "{seconds}s"),
                }
            }
        }
    }
}

// ===== impl Periods =====

impl Calendar for Periods {
    fn name(&self) -> &str {
        &self.name
    }

    fn period(&self, now: SystemTime) -> Range<SystemTime> {
        let now = at_second(now);
        let period = match self.grid {
            Grid::InHour(step, whole) => self.within(now, step, whole),
            grid => self.of_grid(grid, now),
        };
        period.start.into()..period.end.into()
    }
}

impl Periods {
    /// The period of a grid that is laid out on the wall.
    fn of_grid(&self, grid: Grid, now: Timestamp) -> Range<Timestamp> {
        let mut number = grid.number(self.zone.to_datetime(now));
        // Where the clocks show a moment twice, its second time belongs to what has begun by then.
        while self.start(grid, number) > now {
            number -= 1;
        }
        while self.start(grid, number + 1) <= now {
            number += 1;
        }
        self.start(grid, number)..self.start(grid, number + 1)
    }

    fn start(&self, grid: Grid, number: i64) -> Timestamp {
        let edge = if number < 0 { Timestamp::MIN } else { Timestamp::MAX };
        grid.start(number).map_or(edge, |wall| self.moment(wall).unwrap_or(edge))
    }

    /// When the clocks show a moment, first; where they skip it, when they do.
    fn moment(&self, wall: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                let after = before.to_timestamp(wall).ok()?;
                Some(self.last_change(after).unwrap_or(after))
            }
        }
    }

    /// A period of `step` seconds within each `whole` of the wall's, ended early when the clocks change.
    fn within(&self, now: Timestamp, step: i64, whole: i64) -> Range<Timestamp> {
        let offset = i64::from(self.zone.to_offset(now).seconds());
        let local = now.as_second() + offset;
        let first = local.div_euclid(whole) * whole;
        let start = first + (local - first) / step * step;
        let at = |local: i64, edge| Timestamp::from_second(local - offset).unwrap_or(edge);
        let (start, end) = (at(start, Timestamp::MIN), at((start + step).min(first + whole), Timestamp::MAX));
        let start = self.last_change(now).map_or(start, |change| change.max(start));
        let end = self.next_change(now).map_or(end, |change| change.min(end));
        start..end
    }

    /// The last change of the offset, at `now` or before.
    fn last_change(&self, now: Timestamp) -> Option<Timestamp> {
        let after = now.checked_add(1.second()).ok()?;
        let mut changes = self.zone.preceding(after).map(|change| change.timestamp());
        changes.find(|at| self.is_change(*at))
    }

    /// The next change of the offset, after `now`.
    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let mut changes = self.zone.following(now).map(|change| change.timestamp());
        changes.find(|at| self.is_change(*at))
    }

    /// Whether the offset changes, and not its name alone.
    fn is_change(&self, at: Timestamp) -> bool {
        let before = at.checked_sub(1.second()).map_or(Offset::UTC, |before| self.zone.to_offset(before));
        before != self.zone.to_offset(at)
    }
}

/// The whole second that a moment is in.
fn at_second(at: SystemTime) -> Timestamp {
    let second = crate::ledger::unix_seconds(at);
    Timestamp::from_second(second).unwrap_or(if second < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Days since the Monday that days are counted from.
fn days_of(date: Date) -> i64 {
    date.duration_since(MONDAY).as_hours() / 24
}

/// How many periods of so many seconds a day has, the last of which may be shorter.
fn in_day(step: i64) -> i64 {
    86_400_i64.div_euclid(step) + i64::from(86_400 % step != 0)
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => {
                "a duration is a whole number and a unit, s, m, h, d, w or mo, as in 30s, 1h, 7d and 1mo, or one of hourly, daily, \
                 weekly or monthly"
            }
            Self::Zero => "a duration is longer than nothing",
            Self::TooLong => "a duration is at most a hundred years",
            Self::UnknownTimeZone => "a time zone is a name of the IANA database, as UTC or Europe/Berlin",
        })
    }
}

impl std::error::Error for DurationError {}

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;
const MOST_DAYS: u64 = 36_525;

/// What days are counted from.
const MONDAY: Date = Date::constant(1970, 1, 5);

//! Windows of the calendar: LiteLLM's texts, days with 23 and 25 hours, and periods without gap or overlap.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, Zoned, tz::TimeZone};
use proptest::prelude::*;
use serde_json::Value;
use ziggurat_budget::calendar::{self, DurationError};
use ziggurat_core::Window;
use ziggurat_testkit::{deviations, vectors};

#[test]
fn what_litellm_does_is_matched_or_deviates_for_a_reason() {
    let Some(rows) = vectors("router.json") else { return };
    let known = deviations(include_str!("duration_deviations.json"));
    let (mut same, mut suspect, mut deviating) = (0, 0, Vec::new());
    for row in &rows {
        let as_expected = match row["fn"].as_str() {
            Some("duration_in_seconds") => seconds_as_expected(row),
            Some("next_reset") => reset_as_expected(row),
            _ => continue,
        };
        match as_expected {
            _ if row.get("suspect").is_some() => suspect += 1,
            true => same += 1,
            false => deviating.push(row["id"].as_str().expect("has an id")),
        }
    }
    println!("router: {same} as expected, {} deviate for a reason, {suspect} suspect", deviating.len());
    assert_eq!(deviating, known);
    assert!(same > 80, "{same} rows are compared");
}

fn seconds_as_expected(row: &Value) -> bool {
    let ours = calendar::seconds(row["duration"].as_str().expect("has a duration"));
    match row["expected"].as_u64() {
        Some(expected) => ours == Ok(expected),
        None => ours.is_err() && row.get("expected_error").is_some(),
    }
}

fn reset_as_expected(row: &Value) -> bool {
    let text = |name: &str| row[name].as_str().expect("is a text").to_owned();
    let now: Timestamp = text("now").parse().expect("is a moment");
    let ours = calendar::window(&text("duration"), &text("timezone"));
    match row["expected"].as_str() {
        Some(expected) => {
            let expected: Timestamp = expected.parse().expect("is a moment");
            ours.is_ok_and(|window| period(&window, now).end == expected)
        }
        None => ours.is_err(),
    }
}

#[test]
fn what_is_no_duration_is_refused_with_what_is_allowed() {
    for text in [
        "",
        "d",
        "mo",
        "5",
        "1y",
        "1D",
        "x",
        "1.5h",
        "-1d",
        "+1d",
        "1d garbage",
        " 1d",
        "1 d",
        "1h30m",
        "٣d",
        "garbage",
    ] {
        assert_eq!(calendar::window(text, "UTC"), Err(DurationError::Unknown), "{text:?}");
        assert_eq!(calendar::seconds(text), Err(DurationError::Unknown), "{text:?}");
        assert_eq!(calendar::rolling(text), Err(DurationError::Unknown), "{text:?}");
    }
    for text in ["0s", "0d", "00mo"] {
        assert_eq!(calendar::window(text, "UTC"), Err(DurationError::Zero), "{text:?}");
    }
    for text in ["36526d", "1218mo", "99999999999999999999s", "18446744073709551615w", "5124095576030432h"] {
        assert_eq!(calendar::window(text, "UTC"), Err(DurationError::TooLong), "{text:?}");
    }
    for zone in ["", "Mars/Olympus", "UTC+1"] {
        assert_eq!(calendar::window("1d", zone), Err(DurationError::UnknownTimeZone), "{zone:?}");
    }
    assert!(DurationError::Unknown.to_string().contains("s, m, h, d, w or mo"));
}

#[test]
fn equal_windows_have_one_name() {
    for (texts, name) in [
        (&["1d", "24h", "daily", "86400s", "1440m"][..], "1d America/New_York"),
        (&["7d", "1w", "weekly", "168h"], "7d America/New_York"),
        (&["30d", "1mo", "monthly"], "1mo America/New_York"),
        (&["1h", "hourly", "60m"], "1h America/New_York"),
        (&["90s"], "90s America/New_York"),
        (&["36h"], "36h America/New_York"),
        (&["3mo"], "3mo America/New_York"),
    ] {
        for text in texts {
            let window = calendar::window(text, "america/new_york").expect("is a window");
            assert_eq!(&*window.name(), name, "{text}");
            let again = calendar::window(name.split(' ').next().expect("a duration"), "America/New_York");
            assert_eq!(again, Ok(window), "{text}");
        }
    }
    assert_eq!(calendar::rolling("1h"), Ok(Window::Rolling(Duration::from_secs(3600))));
}

#[test]
fn days_have_as_many_hours_as_the_clocks_make() {
    let day = |zone, now: &str| {
        let period =
            period(&calendar::window("1d", zone).expect("is a window"), now.parse().expect("is a moment"));
        (period.end - period.start).total(jiff::Unit::Hour).expect("has hours")
    };
    assert!((day("Europe/Berlin", "2026-03-29T10:00:00Z") - 23.0).abs() < 1e-9);
    assert!((day("Europe/Berlin", "2026-10-25T10:00:00Z") - 25.0).abs() < 1e-9);
    assert!((day("Europe/Berlin", "2026-07-01T10:00:00Z") - 24.0).abs() < 1e-9);
    assert!((day("Australia/Lord_Howe", "2026-04-05T01:00:00Z") - 24.5).abs() < 1e-9);
    // Midnight does not exist there on that day, and that of 30 December 2011 is the day after's here.
    assert!((day("Africa/Cairo", "2023-04-28T10:00:00Z") - 23.0).abs() < 1e-9);
    assert!((day("Pacific/Apia", "2011-12-30T09:59:59Z") - 24.0).abs() < 1e-9);
}

#[test]
fn periods_begin_where_they_are_said_to() {
    for (duration, zone, now, start, end) in [
        ("14d", "UTC", "1970-01-20T12:00:00Z", "1970-01-19T00:00:00Z", "1970-02-02T00:00:00Z"),
        ("3mo", "UTC", "2026-05-20T12:00:00Z", "2026-04-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ("12mo", "Asia/Tokyo", "2026-05-20T12:00:00Z", "2025-12-31T15:00:00Z", "2026-12-31T15:00:00Z"),
        ("5h", "UTC", "2026-05-20T23:00:00Z", "2026-05-20T20:00:00Z", "2026-05-21T00:00:00Z"),
        ("45m", "UTC", "2026-05-20T23:50:00Z", "2026-05-20T23:45:00Z", "2026-05-21T00:00:00Z"),
        ("36h", "UTC", "1970-01-06T13:00:00Z", "1970-01-06T12:00:00Z", "1970-01-08T00:00:00Z"),
        // The hour that is shown twice is two hours.
        ("1h", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        ("1h", "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),
        // Six hours by the wall, one of which is skipped, or shown twice.
        ("6h", "Europe/Berlin", "2026-03-29T01:30:00Z", "2026-03-28T23:00:00Z", "2026-03-29T04:00:00Z"),
        ("6h", "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-24T22:00:00Z", "2026-10-25T05:00:00Z"),
        ("30s", "UTC", "2026-01-01T00:00:29.999Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:30Z"),
        ("1d", "UTC", "1969-12-31T23:59:59.5Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"),
    ] {
        let window = calendar::window(duration, zone).expect("is a window");
        let expected: Range<Timestamp> = start.parse().expect("is")..end.parse().expect("is");
        assert_eq!(period(&window, now.parse().expect("is a moment")), expected, "{duration} {zone} {now}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn periods_follow_each_other(zone in zone(), duration in duration(), at in -3_000_000_000_i64..8_000_000_000) {
        follow(zone, &duration, Timestamp::from_second(at).expect("is a moment"))?;
    }

    #[test]
    fn periods_follow_each_other_where_the_clocks_change(
        zone in zone(),
        duration in duration(),
        at in -3_000_000_000_i64..3_000_000_000,
        off in -90_000_i64..90_000,
    ) {
        let at = Timestamp::from_second(at).expect("is a moment");
        let zoned = TimeZone::get(zone).expect("is a zone");
        let change = zoned.following(at).next().map_or(at, |change| change.timestamp());
        follow(zone, &duration, change + jiff::SignedDuration::from_secs(off))?;
    }
}

/// Checks the period of a moment, and those beside it.
fn follow(zone: &str, duration: &str, now: Timestamp) -> Result<(), TestCaseError> {
    let window = calendar::window(duration, zone).expect("is a window");
    let this = period(&window, now);
    prop_assert!(this.start <= now && now < this.end, "{:?} holds {}", this, now);
    let nano = jiff::SignedDuration::from_nanos(1);
    prop_assert_eq!(&period(&window, this.start), &this);
    prop_assert_eq!(&period(&window, this.end - nano), &this);
    prop_assert_eq!(period(&window, this.end).start, this.end);
    prop_assert_eq!(period(&window, this.start - nano).end, this.start);
    if duration == "1d" {
        // A date's first moment, by another way.
        let start = Zoned::new(this.start, TimeZone::get(zone).expect("is a zone"));
        prop_assert_eq!(start.start_of_day().expect("has a start").timestamp(), this.start);
    }
    Ok(())
}

/// What time zones have done to their clocks, at its worst.
fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/St_Johns",
        "America/Sao_Paulo",
        "America/Havana",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Kwajalein",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Asia/Manila",
        "Africa/Cairo",
        "Africa/Monrovia",
        "Africa/Casablanca",
        "Antarctica/Troll",
        "Asia/Gaza",
        "Europe/Dublin",
    ])
}

fn duration() -> impl Strategy<Value = String> {
    let usual = [
        "30s", "7s", "15m", "1h", "2h", "5h", "6h", "24h", "1d", "7d", "30d", "1mo", "3mo", "45m", "90m",
        "36h",
    ];
    prop_oneof![
        prop::sample::select(usual.map(str::to_owned).to_vec()),
        (1_u64..200, prop::sample::select(vec!["s", "m", "h", "d", "w", "mo"]))
            .prop_map(|(n, unit)| format!("{n}{unit}")),
        (1_u64..200_000).prop_map(|n| format!("{n}s")),
    ]
}

fn period(window: &Window, now: Timestamp) -> Range<Timestamp> {
    let Window::Calendar(calendar) = window else { panic!("is a window of the calendar") };
    let period = calendar.period(SystemTime::from(now));
    let at = |at| Timestamp::try_from(at).expect("is in range");
    at(period.start)..at(period.end)
}

//! Numbers of the file, as valid types.

use std::{borrow::Cow, time::Duration};

use ziggurat_core::Usd;

use super::diagnostic::Report;
use super::node::{Node, Value};

/// An amount of dollars, read from its text.
pub(super) fn amount(node: &Node, report: &mut Report) -> Option<Usd> {
    match decimal(node, "an amount in dollars", report)?.parse() {
        Ok(amount) => Some(amount),
        Err(error) => {
            report.error(&node.at, &node.path, error.to_string());
            None
        }
    }
}

/// A number as it was written, which is what `expected` names.
pub(super) fn decimal<'n>(node: &'n Node, expected: &str, report: &mut Report) -> Option<Cow<'n, str>> {
    let decimal = node.decimal();
    if decimal.is_none() && !matches!(node.value, Value::Missing) {
        report.error(&node.at, &node.path, format!("expected {expected}, found {}", node.kind()));
    }
    decimal
}

/// How many of something: a whole number above zero. Values of another kind have been reported.
pub(super) fn count(node: Option<&Node>, report: &mut Report) -> Option<u64> {
    let node = node?;
    let number = node.number()?;
    let whole = (1.0..=MOST).contains(&number) && number.fract() == 0.0;
    if !whole {
        report.error(&node.at, &node.path, "expected a whole number above zero");
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was held against both")]
    Some(number as u64)
}

/// A number of seconds above zero. Values of another kind have been reported.
pub(super) fn seconds(node: Option<&Node>, report: &mut Report) -> Option<Duration> {
    let node = node?;
    let read = Duration::try_from_secs_f64(node.number()?).ok().filter(|read| !read.is_zero());
    if read.is_none() {
        report.error(&node.at, &node.path, "expected a positive number of seconds");
    }
    read
}

/// How many of something, also none: a whole number. Values of another kind have been reported.
pub(super) fn up_to(most: u32, node: Option<&Node>, report: &mut Report) -> Option<u32> {
    let node = node?;
    let number = node.number()?;
    let whole = (0.0..=f64::from(most)).contains(&number) && number.fract() == 0.0;
    if !whole {
        let range = if most == u32::MAX { ", zero or more".to_owned() } else { format!(" from 0 to {most}") };
        report.error(&node.at, &node.path, format!("expected a whole number{range}"));
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was held against both")]
    Some(number as u32)
}

/// A number of seconds, also none. Values of another kind have been reported.
pub(super) fn pause(node: Option<&Node>, report: &mut Report) -> Option<Duration> {
    let node = node?;
    let read = Duration::try_from_secs_f64(node.number()?).ok();
    if read.is_none() {
        report.error(&node.at, &node.path, "expected a number of seconds, zero or more");
    }
    read
}

/// A number that is not negative. Values of another kind have been reported.
pub(super) fn measure(node: Option<&Node>, report: &mut Report) -> Option<f64> {
    let node = node?;
    let number = node.number()?;
    if number < 0.0 {
        report.error(&node.at, &node.path, "expected a number, zero or more");
        return None;
    }
    Some(number)
}

/// One of a few words, each perhaps with a number behind a colon.
pub(super) fn word<T>(
    node: Option<&Node>,
    expected: &str,
    read: impl Fn(&str, Option<&str>) -> Option<T>,
    report: &mut Report,
) -> Option<T> {
    let node = node?;
    let text = node.text()?.trim();
    let (word, number) = match text.split_once(':') {
        Some((word, number)) => (word, Some(number.trim())),
        None => (text, None),
    };
    let found = read(word.trim(), number);
    if found.is_none() {
        report.error(&node.at, &node.path, format!("expected {expected}"));
    }
    found
}

/// Up to here a float holds every whole number.
const MOST: f64 = 9_007_199_254_740_992.0;

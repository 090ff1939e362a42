//! Our own format of facts: a line per model, in the order of their names.
//!
//! ```text
//! ziggurat-catalog 1 2026-11-22
//! # id provider mode [ctx=most input] [max=most output] [end=day it is withdrawn] [can=capabilities] [prices]
//! gpt-4o openai chat ctx=128000 max=16384 can=fc,tc,vi i=2.5 i/prio=4.25 o=10 cr=1.25
//! gemini/gemini-2.5-pro gemini chat i=1.25 i>200k=2.5 o=10 o>200k=15
//! ```
//!
//! A price is `unit[>threshold][/tier]=dollars` or `unit@size=dollars`: for tokens dollars a million, else dollars a unit. `x:us=1.1`
//! says by how much all of them are multiplied in a region or at a speed.

use std::{error::Error, fmt, fmt::Write};

use crate::{Capability, Mode, Model, Rate, ServiceTier, Unit, prices::Variant};

/// What in the data cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataError {
    /// The line, from 1.
    pub line: usize,
    /// What it is about: a field's key or a whole line.
    pub key: String,
    /// What was expected.
    pub expected: &'static str,
}

pub(crate) fn parse(text: &str) -> Result<(&str, Vec<Model>), DataError> {
    let error = |line: usize, (key, expected): (&str, &'static str)| DataError {
        line,
        key: key.to_owned(),
        expected,
    };
    let version = version(text).ok_or_else(|| error(1, ("ziggurat-catalog", "a catalog of version 1")))?;
    let numbered = text.lines().enumerate().skip(1).filter(|(_, line)| is_model(line));
    let models = numbered.map(|(number, line)| model(line).map_err(|at| error(number + 1, at)));
    Ok((version, models.collect::<Result<_, _>>()?))
}

/// The day of the facts.
pub(crate) fn version(text: &str) -> Option<&str> {
    Some(text.lines().next()?.strip_prefix(HEADER)?.trim()).filter(|version| can_hold(version))
}

/// The lines of models.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip(1).filter(|line| is_model(line))
}

fn is_model(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

/// The model's name on a line.
pub(crate) fn id(line: &str) -> &str {
    line.split(' ').next().unwrap_or(line)
}

/// Whether a name can stand on a line.
pub(crate) fn can_hold(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('#')
        && !name.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Reads a line; an error is what it is about and what was expected.
pub(crate) fn model(line: &str) -> Result<Model, (&str, &'static str)> {
    let mut fields = line.split(' ');
    let mut next = || fields.next().filter(|field| !field.is_empty()).ok_or((line, "id, provider and mode"));
    let (id, provider, mode) = (next()?, next()?, next()?);
    let mut model = Model::new(id, if provider == "-" { "" } else { provider });
    model.mode = Mode::of_code(mode).ok_or((mode, "a mode"))?;
    for field in fields {
        let (key, value) = field.split_once('=').ok_or((field, "key=value"))?;
        let count = || value.parse().map(Some).map_err(|_| (key, "a number of tokens"));
        match key {
            "ctx" => model.max_input = count()?,
            "max" => model.max_output = count()?,
            "end" => model.deprecated = Some(value.into()),
            "can" => {
                let capability = |code| Capability::of_code(code).ok_or((code, "a capability"));
                model.supports = value.split(',').map(capability).collect::<Result<_, _>>()?;
            }
            _ => match key.strip_prefix("x:") {
                Some(name) => {
                    let factor = value.parse().map_err(|_| (key, "a factor"))?;
                    model.prices.set_multiplier(name, factor);
                }
                None => price(&mut model, key, value)?,
            },
        }
    }
    Ok(model)
}

fn price<'a>(model: &mut Model, key: &'a str, value: &str) -> Result<(), (&'a str, &'static str)> {
    let unit = |code| Unit::of_code(code).ok_or((key, "a unit that has prices"));
    let rate = |unit: Unit| Rate::per(value, exponent(unit)).map_err(|_| (key, "a price"));
    if let Some((code, size)) = key.split_once('@') {
        let unit = unit(code)?;
        model.prices.set_size(unit, size, rate(unit)?);
        return Ok(());
    }
    let (rest, tier) = match key.split_once('/') {
        Some((rest, tier)) => (rest, ServiceTier::of_code(tier).ok_or((key, "a service tier"))?),
        None => (key, ServiceTier::Standard),
    };
    let (code, over) = match rest.split_once('>') {
        Some((code, over)) => {
            let (digits, thousand) = over.strip_suffix('k').map_or((over, 1), |digits| (digits, 1000));
            let over = digits.parse::<u64>().ok().and_then(|over| over.checked_mul(thousand));
            (code, over.ok_or((key, "a threshold"))?)
        }
        None => (rest, 0),
    };
    let unit = unit(code)?;
    model.prices.set(Variant { unit, over, tier }, rate(unit)?);
    Ok(())
}

pub(crate) fn write(version: &str, models: &[Model]) -> String {
    let mut out = format!("{HEADER}{version}\n{LEGEND}");
    let mut models: Vec<&Model> = models.iter().collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    for model in models {
        write_model(&mut out, model).expect("invariant: a string takes all that is written");
    }
    out
}

fn write_model(out: &mut String, model: &Model) -> fmt::Result {
    let provider = if model.provider.is_empty() { "-" } else { &model.provider };
    write!(out, "{} {provider} {}", model.id, model.mode.code())?;
    if let Some(tokens) = model.max_input {
        write!(out, " ctx={tokens}")?;
    }
    if let Some(tokens) = model.max_output {
        write!(out, " max={tokens}")?;
    }
    if let Some(day) = &model.deprecated {
        write!(out, " end={day}")?;
    }
    let codes: Vec<&str> = model.supports.iter().map(Capability::code).collect();
    if !codes.is_empty() {
        write!(out, " can={}", codes.join(","))?;
    }
    for (unit, over, tier, rate) in model.prices.iter() {
        write!(out, " {}", unit.code())?;
        match over {
            0 => {}
            over if over % 1000 == 0 => write!(out, ">{}k", over / 1000)?,
            over => write!(out, ">{over}")?,
        }
        if tier != ServiceTier::Standard {
            write!(out, "/{}", tier.code())?;
        }
        write!(out, "={}", rate.text_per(exponent(unit) as usize))?;
    }
    for (unit, size, rate) in model.prices.sizes() {
        write!(out, " {}@{size}={rate}", unit.code())?;
    }
    for (name, factor) in model.prices.multipliers() {
        let points = factor.get();
        write!(out, " x:{name}={}.{:04}", points / 10_000, points % 10_000)?;
    }
    out.push('\n');
    Ok(())
}

/// Prices of tokens are told by the million.
fn exponent(unit: Unit) -> i32 {
    if unit.is_token() { 6 } else { 0 }
}

// ===== impl DataError =====

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}`: not {}", self.line, self.key, self.expected)
    }
}

impl Error for DataError {}

const HEADER: &str = "ziggurat-catalog 1 ";

const LEGEND: &str = "\
# Generated: see `examples/embed.rs`. A line per model: id provider mode [ctx=most input] [max=most output] [end=withdrawn]
# [can=capabilities] [unit[>threshold][/tier]=price]: dollars per million tokens, or per unit. Codes: `src/unit.rs`, `src/model.rs`.
";

//! The parameters of a query, each taken once; what is left is refused.

use std::collections::BTreeMap;

use http::Uri;

use super::errors::Refusal;

/// The parameters of a query. An empty one is as good as none.
pub(super) struct Query(BTreeMap<String, String>);

// ===== impl Query =====

impl Query {
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let mut stated = BTreeMap::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let read = |text: &str| decoded(&text.replace('+', " "));
            let (Some(name), Some(value)) = (read(name), read(value)) else {
                return Err(Refusal::malformed("the query is not well encoded"));
            };
            if stated.insert(name.clone(), value).is_some() {
                return Err(Refusal::invalid(name, "is stated twice"));
            }
        }
        stated.retain(|_, value| !value.is_empty());
        Ok(Self(stated))
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(super) fn required(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name).ok_or_else(|| Refusal::missing(name))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.text(name).map(|text| text.to_ascii_lowercase()).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Refusal::wrong_type(name, "true or false")),
        }
    }

    /// A number from 1 to `most`.
    pub(super) fn number(&mut self, name: &str, unless: u32, most: u32) -> Result<u32, Refusal> {
        let Some(text) = self.text(name) else { return Ok(unless) };
        match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(Refusal::wrong_type(name, &format!("a whole number from 1 to {most}"))),
        }
    }

    /// Refuses what is left, except where it asks for nothing.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        let asks = |value: &str| !matches!(value, "false" | "False" | "null" | "None");
        match self.0.into_iter().find(|(_, value)| asks(value)) {
            Some((name, _)) => {
                Err(Refusal::invalid(name, "is not a parameter that is known and supported here"))
            }
            None => Ok(()),
        }
    }
}

/// A text without its percent signs' meaning; `None` when it is not UTF-8, or not well encoded.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

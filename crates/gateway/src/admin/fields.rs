//! The fields of a request's body, each taken once; what is left is refused.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};
use ziggurat_budget::calendar;
use ziggurat_core::Usd;

use super::{errors::Refusal, given::Given};

/// The fields of an object, as they were written: amounts are read from their digits.
pub(super) struct Fields {
    members: BTreeMap<String, Box<RawValue>>,
    /// The path to it, for errors.
    path: String,
}

struct Members {
    members: BTreeMap<String, Box<RawValue>>,
    twice: Option<String>,
}

// ===== impl Fields =====

impl Fields {
    /// Reads a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let members: Members = serde_json::from_slice(body).map_err(|error| match error.is_data() {
            true => Refusal::wrong_type("body", "an object"),
            false => Refusal::malformed(format!("the body is not JSON: {error}")),
        })?;
        Self::once(members, String::new())
    }

    /// Reads an object within a body.
    pub(super) fn nested(raw: &RawValue, path: &str) -> Result<Self, Refusal> {
        let members = serde_json::from_str(raw.get()).map_err(|_| Refusal::wrong_type(path, "an object"))?;
        Self::once(members, format!("{path}."))
    }

    fn once(members: Members, path: String) -> Result<Self, Refusal> {
        match members.twice {
            Some(name) => Err(Refusal::invalid(format!("{path}{name}"), "is stated twice")),
            None => Ok(Self { members: members.members, path }),
        }
    }

    /// The full name of a field.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// All that are left, with their names.
    pub(super) fn into_members(self) -> impl Iterator<Item = (String, Box<RawValue>)> {
        self.members.into_iter()
    }

    /// A field as it was written.
    pub(super) fn raw(&mut self, name: &str) -> Given<Box<RawValue>> {
        match self.members.remove(name) {
            None => Given::Absent,
            Some(raw) if raw.get() == "null" => Given::Null,
            Some(raw) => Given::Value(raw),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Given<String>, Refusal> {
        self.read(name, "a string")
    }

    pub(super) fn required(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.value().ok_or_else(|| Refusal::missing(&self.named(name)))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Given<bool>, Refusal> {
        self.read(name, "true or false")
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Given<Vec<String>>, Refusal> {
        self.read(name, "a list of strings")
    }

    /// Ids, each once; at least one.
    pub(super) fn ids(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        let mut ids = self.texts(name)?.value().ok_or_else(|| Refusal::missing(name))?;
        if ids.is_empty() || ids.len() > MOST_IDS {
            return Err(Refusal::invalid(name, format!("has 1 to {MOST_IDS} entries")));
        }
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        Ok(ids)
    }

    pub(super) fn notes(&mut self, name: &str) -> Result<Given<Map<String, Value>>, Refusal> {
        self.read(name, "an object")
    }

    pub(super) fn one_of(&mut self, name: &str, known: &[&str]) -> Result<Given<String>, Refusal> {
        let named = self.named(name);
        self.text(name)?.map(|text| match known.contains(&text.as_str()) {
            true => Ok(text),
            false => Err(Refusal::wrong_type(named, &format!("one of {}", known.join(", ")))),
        })
    }

    /// An amount of money, exactly as its digits say.
    pub(super) fn amount(&mut self, name: &str) -> Result<Given<Usd>, Refusal> {
        let named = self.named(name);
        match self.raw(name) {
            // LiteLLM's dashboard sends it for an empty input.
            Given::Value(raw) if raw.get() == r#""""# => Ok(Given::Null),
            raw => raw.map(|raw| amount(&raw, &named)),
        }
    }

    pub(super) fn count(&mut self, name: &str) -> Result<Given<u64>, Refusal> {
        let named = self.named(name);
        self.raw(name).map(|raw| count(&raw, &named))
    }

    /// How long a window is.
    pub(super) fn duration(&mut self, name: &str) -> Result<Given<String>, Refusal> {
        let named = self.named(name);
        self.text(name)?.map(|text| match calendar::window(&text, "UTC") {
            Ok(_) => Ok(text),
            Err(error) => Err(Refusal::invalid(named, error)),
        })
    }

    /// What is stated of each model.
    pub(super) fn of_models<T>(
        &mut self,
        name: &str,
        read: impl Fn(&RawValue, &str) -> Result<T, Refusal>,
    ) -> Result<Given<BTreeMap<String, T>>, Refusal> {
        let named = self.named(name);
        self.raw(name).map(|raw| {
            let models = Self::nested(&raw, &named)?.into_members();
            models
                .map(|(model, raw)| {
                    let value = read(&raw, &format!("{named}.{model}"))?;
                    Ok((model, value))
                })
                .collect()
        })
    }

    fn read<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Result<Given<T>, Refusal> {
        let named = self.named(name);
        self.raw(name)
            .map(|raw| serde_json::from_str(raw.get()).map_err(|_| Refusal::wrong_type(named, expected)))
    }

    /// Refuses to set what is spent, also to nothing: that is for those who make something to say.
    pub(super) fn leaves_spend(&self) -> Result<(), Refusal> {
        match self.members.get("spend").is_some_and(|raw| raw.get() != "null") {
            true => Err(Refusal::invalid("spend", "is what the ledger says, and cannot be set")),
            false => Ok(()),
        }
    }

    /// Refuses what is left, except where it asks for nothing.
    pub(super) fn finish(mut self) -> Result<(), Refusal> {
        if let Given::Value(spend) = self.raw("spend")
            && !matches!(spend.get(), "0" | "0.0")
        {
            return Err(Refusal::invalid("spend", "is what the ledger says, and cannot be set"));
        }
        let asks = |raw: &RawValue| {
            let text: String = raw.get().split_ascii_whitespace().collect();
            !matches!(text.as_str(), "null" | "false" | "[]" | "{}" | r#""""#)
        };
        match self.members.iter().find(|(_, raw)| asks(raw)) {
            Some((name, _)) => {
                Err(Refusal::invalid(self.named(name), "is not a field that is known and supported here"))
            }
            None => Ok(()),
        }
    }
}

/// Says the names of fields alone: a value may be a key.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.members.keys()).finish()
    }
}

pub(super) fn amount(raw: &RawValue, named: &str) -> Result<Usd, Refusal> {
    if !is_number(raw) {
        return Err(Refusal::wrong_type(named, "a number"));
    }
    raw.get().parse().map_err(|error| Refusal::invalid(named, error))
}

pub(super) fn count(raw: &RawValue, named: &str) -> Result<u64, Refusal> {
    let text = raw.get();
    if !is_number(raw) || text.contains(['.', 'e', 'E']) {
        return Err(Refusal::wrong_type(named, "a whole number"));
    }
    match text.parse::<u64>() {
        // SQL and JSON readers elsewhere have 63 bits at most.
        Ok(count) if i64::try_from(count).is_ok() => Ok(count),
        _ => Err(Refusal::invalid(named, "is a whole number from 0 to 2^63 - 1")),
    }
}

pub(super) fn is_number(raw: &RawValue) -> bool {
    raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

// ===== impl Members =====

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut found = Members { members: BTreeMap::new(), twice: None };
                while let Some((name, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                    if found.members.insert(name.clone(), raw).is_some() {
                        found.twice = Some(name);
                    }
                }
                Ok(found)
            }
        }

        from.deserialize_map(Object)
    }
}

/// Ids in one list.
const MOST_IDS: usize = 1_000;

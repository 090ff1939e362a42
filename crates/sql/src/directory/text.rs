//! How values are written in documents.

/// An amount: a decimal number of dollars in a string, as JSON's own numbers are floats to many.
pub(crate) mod amount {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ziggurat_core::Usd;

    pub(crate) fn serialize<S: Serializer>(amount: &Usd, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(amount)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Usd, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// An amount, if there is one.
pub(crate) mod usd {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ziggurat_core::Usd;

    pub(crate) fn serialize<S: Serializer>(amount: &Option<Usd>, to: S) -> Result<S::Ok, S::Error> {
        match amount {
            Some(amount) => to.collect_str(amount),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Usd>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// A moment, if there is one: microseconds since 1970, UTC.
pub(crate) mod time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::time::{micros, time_of};

    pub(crate) fn serialize<S: Serializer>(at: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        at.map(micros).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(time_of))
    }
}

/// The hash of a key: 64 hexadecimal digits.
pub(crate) mod hash {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ziggurat_auth::KeyHash;

    pub(crate) fn serialize<S: Serializer>(hash: &KeyHash, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(hash)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<KeyHash, D::Error> {
        KeyHash::from_hex(&String::deserialize(from)?).ok_or_else(|| D::Error::custom("not a hash"))
    }
}

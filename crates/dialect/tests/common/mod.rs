//! What the tests of both callers share.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{
    Encoding, Event, OpenBlocks, Refused, SignatureMarks, StreamDecoder, StreamEncoder, decode_request,
    decode_response, encode_request, encode_response,
    sse::{Decoder, Frame},
};

/// Reads JSON in which no object has a name twice.
pub(crate) fn strict(json: &str) -> Value {
    serde_json::from_str::<Strict>(json).unwrap_or_else(|error| panic!("{error}: {json}")).0
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if members.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format!("{name:?} stands twice")));
            }
        }
        Ok(members.into())
    }
}

/// A request of a caller of one dialect, as a provider of another is asked.
pub(crate) fn request(
    from: Dialect,
    to: Dialect,
    model: &str,
    policy: &ParamPolicy,
    request: &Value,
) -> Result<Value, Refused> {
    let json = request.to_string();
    let request = decode_request(from, &json).expect("reads");
    let mut out = Vec::new();
    encode_request(to, &request, &Encoding::new(model, policy), &mut out)?;
    Ok(strict(std::str::from_utf8(&out).expect("is UTF-8")))
}

/// An answer of a provider of one dialect, as a caller of another gets it.
pub(crate) fn answer(from: Dialect, to: Dialect, answer: &Value) -> Value {
    let json = answer.to_string();
    let answer = decode_response(from, &json).expect("reads");
    let mut out = Vec::new();
    encode_response(to, &answer, 7, &mut out);
    strict(std::str::from_utf8(&out).expect("is UTF-8"))
}

/// A stream of a provider of one dialect, as a caller of another gets it: the bytes.
pub(crate) fn stream(from: Dialect, to: Dialect, data: &[&str]) -> String {
    let (mut decoder, mut encoder) = (StreamDecoder::new(from), StreamEncoder::new(to, 7, true));
    let mut out = Vec::new();
    let (mut marks, mut blocks) = (SignatureMarks::new(from, to), OpenBlocks::new(to));
    let mut write = |event: Event<'_>| {
        blocks.event(&event).expect("comes for a block that is open");
        encoder.encode(marks.event(&event).as_ref().unwrap_or(&event), &mut out);
    };
    for data in data {
        decoder.decode(data, &mut write).expect("reads");
    }
    decoder.finish(&mut write);
    String::from_utf8(out).expect("is UTF-8")
}

/// The data of a stream's events.
pub(crate) fn data(stream: &str) -> Vec<String> {
    let mut decoder = Decoder::new(1 << 24);
    decoder.push(Bytes::copy_from_slice(stream.as_bytes()));
    let mut frames: Vec<Frame> = decoder.by_ref().map(|frame| frame.expect("is not too large")).collect();
    frames.extend(decoder.finish());
    let data = |frame| match frame {
        Frame::Event(event) => Some(String::from_utf8(event.data.to_vec()).expect("is UTF-8")),
        _ => None,
    };
    frames.into_iter().filter_map(data).collect()
}

/// What a decoder says of a stream, as text.
pub(crate) fn events(dialect: Dialect, data: &[&str]) -> Vec<String> {
    let (mut decoder, mut events) = (StreamDecoder::new(dialect), Vec::new());
    for data in data {
        decoder.decode(data, &mut |event| events.push(format!("{event:?}"))).expect("reads");
    }
    decoder.finish(&mut |event| events.push(format!("{event:?}")));
    events
}

/// The policy that leaves out what a model does not take.
pub(crate) fn dropping() -> ParamPolicy {
    let mut policy = ParamPolicy::default();
    policy.drop_params = true;
    policy
}

//! Embeddings, item by item: of a list of inputs only those are asked for that are not known.

use std::{io::Write as _, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Request, Response, StatusCode, header};
use ziggurat_core::{
    Body, CacheStatus, Call, Field, Operation, Rejection, Reply,
    json::{Cursor, Fault, key_is},
};

use crate::{
    Entry, Form, Key,
    flight::Keep,
    layer::Config,
    service::{Lookup, mark},
};

/// The inputs of a call, each with its key.
pub(crate) struct Items {
    /// Where each stands in the body of the call.
    places: Vec<Range<usize>>,
    keys: Vec<Key>,
    known: Vec<Option<Arc<Entry>>>,
    /// The age of the oldest that is known.
    age: Duration,
}

/// What an item is kept as, and what an answer consists of.
#[derive(Default)]
struct Answer<'a> {
    /// Members that are handed on, by their raw keys.
    members: Vec<(&'a str, &'a str)>,
    /// The elements of `data`, by the number of the input: their members but that number.
    data: Vec<(usize, Vec<(&'a str, &'a str)>)>,
    tokens: u64,
}

/// Inputs that one call may have, by OpenAI's API reference; longer lists pass.
const MAX_ITEMS: usize = 2048;

// ===== impl Items =====

impl Items {
    /// The inputs of a call for embeddings in OpenAI's words; `None` for one that is not worth it.
    pub(crate) fn of(call: &Call, base: &Key) -> Option<Self> {
        if call.operation() != Operation::Embeddings {
            return None;
        }
        let input = call.field(Field::Input)?;
        let start = input.as_ptr() as usize - call.text().as_ptr() as usize;
        let mut places = Vec::new();
        // A list of numbers is one input, in tokens.
        if input.starts_with('[') && !is_of_numbers(input) {
            let walked: Result<(), Fault> = Cursor::new(input).array(|_, cursor| {
                let at = start + cursor.offset();
                places.push(at..at + cursor.value()?.len());
                Ok(())
            });
            walked.ok()?;
        } else {
            places.push(start..start + input.len());
        }
        if places.is_empty() || places.len() > MAX_ITEMS {
            return None;
        }
        let keys: Option<Vec<Key>> =
            places.iter().map(|place| base.item(call.text().get(place.clone())?)).collect();
        Some(Self { known: vec![None; places.len()], places, keys: keys?, age: Duration::ZERO })
    }

    /// Looks for all of them.
    pub(crate) async fn find(&mut self, config: &Config, max_age: Option<Duration>) {
        let now = config.clock.now();
        let fits =
            |entry: &Arc<Entry>| entry.is_fresh(now) && max_age.is_none_or(|most| entry.age(now) <= most);
        let mut later = Vec::new();
        for (key, known) in self.keys.iter().zip(&mut self.known) {
            match config.store.get(key) {
                Reply::Ready(found) => *known = found.filter(fits),
                Reply::Later(found) => later.push(async move { *known = found.await.filter(fits) }),
            }
        }
        // All at once, as each is a way to another machine. What was found in that time is known.
        let _late = tokio::time::timeout(config.patience, join_all(later)).await;
        for (key, known) in self.keys.iter().zip(&mut self.known) {
            let is_item = |entry: &Arc<Entry>| {
                std::str::from_utf8(&entry.body).is_ok_and(|text| Answer::read_item(text).is_some())
            };
            if known.as_ref().is_some_and(|entry| !is_item(entry)) {
                *known = None;
                drop(config.store.remove(key));
            }
        }
        self.age = self.known.iter().flatten().map(|entry| entry.age(now)).max().unwrap_or_default();
    }

    pub(crate) fn all_known(&self) -> bool {
        self.known.iter().all(Option::is_some)
    }

    pub(crate) fn any_known(&self) -> bool {
        self.known.iter().any(Option::is_some)
    }

    /// The call for those that are not known, and the key of that.
    pub(crate) fn missing(&self, call: &Call, request: &mut Request<Body>) -> Result<(), Rejection> {
        if !self.any_known() {
            return Ok(());
        }
        let mut list = vec![b'['];
        for (place, _) in self.places.iter().zip(&self.known).filter(|(_, known)| known.is_none()) {
            if list.len() > 1 {
                list.push(b',');
            }
            list.extend_from_slice(call.body().get(place.clone()).unwrap_or_default());
        }
        list.push(b']');
        let bytes = call.edit().set(Field::Input, list).finish();
        Call::replace(request, bytes).map(drop)
    }

    /// One key for all that are not known: who asks for the same shares the call.
    pub(crate) fn key(&self, base: &Key) -> Option<Key> {
        let missing = self.keys.iter().zip(&self.known).filter(|(_, known)| known.is_none());
        let list: Vec<String> = missing.map(|(key, _)| format!("\"{key}\"")).collect();
        base.item(&format!("[{}]", list.join(",")))
    }

    /// Keeps what a whole answer has for each that was asked for.
    pub(crate) fn keep(&self, config: &Config, ttl: Duration, no_store: bool) -> Keep {
        let missing =
            self.places.iter().zip(&self.keys).zip(&self.known).filter(|(_, known)| known.is_none());
        let asked: Vec<(usize, Key)> = missing.map(|((place, key), _)| (place.len(), *key)).collect();
        let (store, clock) = (Arc::clone(&config.store), config.clock.clone());
        Box::new(move |parts, form, body| {
            let plain =
                parts.status == StatusCode::OK && !parts.headers.contains_key(header::CONTENT_ENCODING);
            if !plain || no_store || form != Form::Whole {
                return None;
            }
            let answer =
                Answer::read(std::str::from_utf8(&body).ok()?).filter(|answer| answer.has(asked.len()))?;
            let model = answer
                .members
                .iter()
                .find(|(name, _)| key_is(name, "model"))
                .map_or("null", |(_, json)| json);
            let (all, now) =
                (asked.iter().map(|(length, _)| *length as u64).sum::<u64>().max(1), clock.now());
            // Who counts all of them together is taken at their lengths; the parts add up to the whole.
            let (mut length, mut told) = (0, 0);
            for (position, (bytes, key)) in asked.iter().enumerate() {
                length += *bytes as u64;
                let up_to = (u128::from(answer.tokens) * u128::from(length) / u128::from(all)) as u64;
                let (_, element) = answer.data.get(position)?;
                let mut item =
                    format!("{{\"tokens\":{},\"model\":{model},\"element\":", up_to - told).into_bytes();
                write_object(&mut item, element.iter().copied());
                item.push(b'}');
                told = up_to;
                let kind = HeaderValue::from_static("application/json");
                store.put(*key, Arc::new(Entry::new(Form::Whole, kind, item.into(), now, ttl)));
            }
            None
        })
    }

    /// The answer for all, of what is known and of what was answered for the others; `None` where that is not of the shape in which it can be put
    /// together.
    pub(crate) fn together(&self, answered: Option<&Bytes>) -> Option<Vec<u8>> {
        let answered = match answered {
            Some(bytes) => Some(Answer::read(std::str::from_utf8(bytes).ok()?)?),
            None => None,
        };
        let missing = self.known.iter().filter(|known| known.is_none()).count();
        if !answered.as_ref().map_or(missing == 0, |answer| answer.has(missing)) {
            return None;
        }
        let known: Option<Vec<Option<Answer<'_>>>> = self
            .known
            .iter()
            .map(|known| match known {
                Some(entry) => Answer::read_item(std::str::from_utf8(&entry.body).ok()?).map(Some),
                None => Some(None),
            })
            .collect();
        let known = known?;
        let tokens = known.iter().flatten().chain(&answered).map(|answer| answer.tokens).sum::<u64>();
        let members = answered.iter().chain(known.iter().flatten()).next()?.members.clone();
        let mut out = b"{\"object\":\"list\",\"data\":[".to_vec();
        let mut position = 0;
        for (index, known) in known.iter().enumerate() {
            let element = match (known, &answered) {
                (Some(known), _) => &known.data.first()?.1,
                (None, answered) => {
                    position += 1;
                    &answered.as_ref()?.data.get(position - 1)?.1
                }
            };
            if index > 0 {
                out.push(b',');
            }
            let number = index.to_string();
            write_object(&mut out, element.iter().copied().chain([("\"index\"", &*number)]));
        }
        out.push(b']');
        for (name, json) in members.iter().filter(|(name, _)| !key_is(name, "object")) {
            out.push(b',');
            write_member(&mut out, name, json);
        }
        let _infallible =
            write!(out, ",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}");
        Some(out)
    }

    /// The response where all are known.
    pub(crate) fn response(&self, key: Key) -> Option<Response<Body>> {
        let mut response = Response::new(self.together(None)?.into());
        let (headers, age) = (response.headers_mut(), self.age);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::AGE, age.as_secs().into());
        mark(
            &mut response,
            Lookup { key, status: CacheStatus::Hit, age: Some(age), saved: None, score: None },
        );
        Some(response)
    }
}

fn is_of_numbers(list: &str) -> bool {
    list[1..].trim_ascii_start().starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn write_object<'m>(out: &mut Vec<u8>, members: impl Iterator<Item = (&'m str, &'m str)>) {
    out.push(b'{');
    for (position, (name, json)) in members.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_member(out, name, json);
    }
    out.push(b'}');
}

fn write_member(out: &mut Vec<u8>, name: &str, json: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    out.extend_from_slice(json.as_bytes());
}

// ===== impl Answer =====

impl<'a> Answer<'a> {
    /// Reads a whole answer; `None` where it is none.
    fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str::<&serde_json::value::RawValue>(text).ok()?;
        let (mut answer, mut has_data) = (Self::default(), false);
        for (name, json) in members(text)? {
            match name {
                _ if key_is(name, "error") => return None,
                _ if key_is(name, "usage") => {
                    let tokens = members(json)?.into_iter().find(|(name, _)| key_is(name, "prompt_tokens"));
                    answer.tokens = tokens.and_then(|(_, json)| json.parse().ok()).unwrap_or(0);
                }
                _ if key_is(name, "data") => {
                    has_data = true;
                    let walked: Result<(), Fault> = Cursor::new(json).array(|position, cursor| {
                        answer.data.extend(element(position, cursor.value()?));
                        Ok(())
                    });
                    walked.ok()?;
                }
                _ => answer.members.push((name, json)),
            }
        }
        answer.data.sort_by_key(|(index, _)| *index);
        has_data.then_some(answer)
    }

    /// Reads what one item is kept as.
    fn read_item(text: &'a str) -> Option<Self> {
        let mut answer = Self::default();
        for (name, json) in members(text)? {
            match name {
                "\"tokens\"" => answer.tokens = json.parse().ok()?,
                "\"element\"" => answer.data.extend(element(0, json)),
                _ => answer.members.push((name, json)),
            }
        }
        (answer.data.len() == 1).then_some(answer)
    }

    /// Whether it has so many elements, each with a number of its own.
    fn has(&self, count: usize) -> bool {
        self.data.len() == count && self.data.iter().enumerate().all(|(at, (index, _))| *index == at)
    }
}

/// An element of `data`, by its number or, where it has none, its position.
fn element(position: usize, json: &str) -> Option<(usize, Vec<(&str, &str)>)> {
    let all = members(json)?;
    let index = all.iter().find(|(name, _)| key_is(name, "index")).and_then(|(_, json)| json.parse().ok());
    let rest = all.into_iter().filter(|(name, _)| !key_is(name, "index")).collect();
    Some((index.unwrap_or(position), rest))
}

/// The members of an object, by their raw keys.
fn members(json: &str) -> Option<Vec<(&str, &str)>> {
    let mut all = Vec::new();
    let walked: Result<(), Fault> = Cursor::new(json).object(|name, cursor| {
        all.push((name, cursor.value()?));
        Ok(())
    });
    walked.ok()?;
    json.starts_with('{').then_some(all)
}

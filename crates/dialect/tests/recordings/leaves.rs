//! The leaves of a stream: every value that it says, by where it stands, whatever the pieces in which it comes.
//!
//! Two streams with the same leaves say the same. The rule is generic: a member that nobody has heard of counts. What is left out or put
//! together is listed where it is done.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ziggurat_core::Dialect;

/// By path: each value that was said there, in order; one said again at once counts once, pieces of text are put together.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Leaves(pub(crate) BTreeMap<String, Vec<Value>>, Repeated);

/// The unknown members of chunks and choices as they were said last: many providers repeat them in every chunk, and it is no news.
type Repeated = BTreeMap<String, Value>;

pub(crate) fn of(dialect: Dialect, data: &[String]) -> Leaves {
    let mut leaves = Leaves::default();
    let mut calls = BTreeMap::new();
    // Nothing behind the terminator is read.
    for data in data.iter().take_while(|data| data.trim() != "[DONE]") {
        let event: Value = serde_json::from_str(data).expect("is JSON");
        let is_last = event["type"] == "message_stop";
        match dialect {
            Dialect::Anthropic => leaves.anthropic(event),
            _ => leaves.chunk(event, &mut calls),
        }
        if is_last {
            break;
        }
    }
    leaves.parse_arguments();
    leaves
}

/// Numbers of calls in the order in which they begin, by choice and index.
type Calls = BTreeMap<(u64, u64), usize>;

impl Leaves {
    /// A chunk of OpenAI's. Left out: `object` and `role` (constants), padding (`obfuscation`, Mistral's `p`), every `id`, `model` and
    /// `created` after the first chunk that has a choice (one stream has one), Perplexity's `message` (the deltas so far), all usage but the
    /// last (what is stated replaces what was), a call's `type` (`function`).
    fn chunk(&mut self, chunk: Value, calls: &mut Calls) {
        let Value::Object(members) = chunk else { panic!("is an object") };
        let begun = members.get("choices").is_some_and(|choices| *choices != json!([]));
        for (name, value) in members {
            match &*name {
                "object" | "obfuscation" | "p" => {}
                "id" | "model" | "created" => {
                    let value = value.as_f64().map_or(value.clone(), |seconds| json!(seconds as u64));
                    if begun && value != "" {
                        self.0.entry(name).or_insert_with(|| vec![value]);
                    }
                }
                "usage" => self.replace("usage", value),
                // Groq's: it is the answer's usage too.
                "x_groq" => {
                    self.replace("usage", value["usage"].clone());
                    self.news(&name, value);
                }
                "choices" => {
                    for choice in value.as_array().into_iter().flatten() {
                        self.choice(choice.clone(), calls);
                    }
                }
                _ => self.news(&name, value),
            }
        }
    }

    fn news(&mut self, at: &str, value: Value) {
        if !value.is_null() && self.1.insert(at.to_owned(), value.clone()).as_ref() != Some(&value) {
            self.add(at, value);
        }
    }

    fn choice(&mut self, choice: Value, calls: &mut Calls) {
        let Value::Object(members) = choice else { panic!("is an object") };
        let index = members.get("index").and_then(Value::as_u64).unwrap_or(0);
        let at = format!("choices[{index}]");
        for (name, value) in members {
            match (&*name, value) {
                ("index" | "message", _) => {}
                ("delta", Value::Object(delta)) => {
                    for (name, value) in delta {
                        self.delta(&at, index, &name, value, calls);
                    }
                }
                ("finish_reason", value) if value == "" => {}
                (_, value) => self.news(&format!("{at}.{name}"), value),
            }
        }
    }

    fn delta(&mut self, at: &str, choice: u64, name: &str, value: Value, calls: &mut Calls) {
        match (name, value) {
            ("role", _) => {}
            ("content", Value::String(text)) => self.grow(&format!("{at}.content"), &text),
            ("content", Value::Array(parts)) => {
                for part in parts {
                    self.grow(&format!("{at}.content"), part["text"].as_str().unwrap_or_default());
                    for thought in part["thinking"].as_array().into_iter().flatten() {
                        self.grow(&format!("{at}.reasoning"), thought["text"].as_str().expect("is text"));
                    }
                }
            }
            ("refusal", Value::String(text)) => self.grow(&format!("{at}.refusal"), &text),
            ("reasoning" | "reasoning_content", Value::String(text)) => {
                self.grow(&format!("{at}.reasoning"), &text);
            }
            // What we write beside the reasoning: its text again.
            ("thinking_blocks", Value::Array(_)) => {}
            ("tool_calls", Value::Array(list)) => {
                for call in list {
                    let key = (choice, call["index"].as_u64().unwrap_or(calls.len() as u64));
                    let next = calls.len();
                    let number = *calls.entry(key).or_insert(next);
                    self.call(&format!("{at}.call[{number}]"), call);
                }
            }
            (name, value) => self.add(&format!("{at}.delta.{name}"), value),
        }
    }

    fn call(&mut self, at: &str, call: Value) {
        let Value::Object(members) = call else { panic!("is an object") };
        for (name, value) in members {
            match (&*name, value) {
                ("index" | "type", _) => {}
                ("id", value) if value == "" => {}
                ("function", Value::Object(function)) => {
                    for (name, value) in function {
                        match (&*name, value) {
                            ("arguments", Value::String(text)) => {
                                self.grow(&format!("{at}.arguments"), &text)
                            }
                            ("name", value) if value == "" => {}
                            (name, value) => self.add(&format!("{at}.{name}"), value),
                        }
                    }
                }
                (name, value) => self.add(&format!("{at}.{name}"), value),
            }
        }
    }

    /// An event of Anthropic's. Left out: `ping` and the ends of blocks (no values), `type` and `role` of the message (constants). A member
    /// that the model does not know is found under its name, wherever in the message's frame it stood; usage is what it is in the end.
    fn anthropic(&mut self, event: Value) {
        let Value::Object(mut members) = event else { panic!("is an object") };
        let kind = members.remove("type").expect("has a type");
        let index = members.remove("index");
        let at = format!("block[{}]", index.unwrap_or_default());
        for (name, value) in members {
            match (kind.as_str(), &*name, value) {
                (_, "usage", usage) => self.merge("usage", usage),
                (Some("message_start"), "message", Value::Object(message)) => {
                    for (name, value) in message {
                        match &*name {
                            "usage" => self.merge("usage", value),
                            "type" | "role" | "content" => {}
                            _ => self.add(&name, value),
                        }
                    }
                }
                (Some("message_delta"), "delta", Value::Object(delta)) => {
                    for (name, value) in delta {
                        self.replace(&name, value);
                    }
                }
                (Some("content_block_start"), "content_block", Value::Object(block)) => {
                    for (name, value) in block {
                        self.block(&at, &name, value);
                    }
                }
                (Some("content_block_delta"), "delta", delta) => self.piece(&at, delta),
                (_, name, value) => self.add(name, value),
            }
        }
    }

    /// What a block begins with counts as its first piece; an empty `input` and an empty list of citations say nothing.
    fn block(&mut self, at: &str, name: &str, value: Value) {
        match (name, value) {
            ("text" | "thinking" | "signature", Value::String(text)) => {
                self.grow(&format!("{at}.{name}"), &text)
            }
            ("input", value) if value == json!({}) => {}
            ("citations", value) if value == json!([]) => {}
            ("input", value) => self.grow(&format!("{at}.arguments"), &value.to_string()),
            (name, value) => self.add(&format!("{at}.{name}"), value),
        }
    }

    fn piece(&mut self, at: &str, delta: Value) {
        let Value::Object(members) = delta else { panic!("is an object") };
        for (name, value) in members {
            match (&*name, value) {
                ("type", _) => {}
                ("partial_json", Value::String(text)) => self.grow(&format!("{at}.arguments"), &text),
                ("text" | "thinking" | "signature", Value::String(text)) => {
                    self.grow(&format!("{at}.{name}"), &text);
                }
                (name, value) => self.add(&format!("{at}.{name}"), value),
            }
        }
    }

    /// Adds the leaves of a value; `null` says nothing.
    fn add(&mut self, at: &str, value: Value) {
        match value {
            Value::Null => {}
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    self.add(&format!("{at}.{name}"), value);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                items.into_iter().for_each(|item| self.add(&format!("{at}[]"), item));
            }
            value => {
                let said = self.0.entry(at.to_owned()).or_default();
                if said.last() != Some(&value) {
                    said.push(value);
                }
            }
        }
    }

    fn grow(&mut self, at: &str, piece: &str) {
        if piece.is_empty() {
            return;
        }
        match self.0.get_mut(at).and_then(|said| said.last_mut()) {
            Some(Value::String(text)) => text.push_str(piece),
            _ => self.add(at, piece.into()),
        }
    }

    /// Takes the place of all that was said there.
    fn replace(&mut self, at: &str, value: Value) {
        if !value.is_null() {
            self.0.retain(|path, _| path != at && !path.starts_with(&format!("{at}.")));
            self.add(at, value);
        }
    }

    /// Takes the place of what was said at the same leaves.
    fn merge(&mut self, at: &str, value: Value) {
        let mut later = Self::default();
        later.add(at, value);
        self.0.extend(later.0);
    }

    /// Arguments are compared as the JSON that they are. A call without any has an empty object, or had nothing said of it.
    fn parse_arguments(&mut self) {
        for (_, said) in self.0.iter_mut().filter(|(path, _)| path.ends_with(".arguments")) {
            for value in said.iter_mut() {
                if let Some(parsed) = value.as_str().and_then(|text| serde_json::from_str(text).ok()) {
                    *value = parsed;
                }
            }
        }
        self.0.retain(|path, said| !path.ends_with(".arguments") || *said != [json!({})]);
    }
}

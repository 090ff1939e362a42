//! What of a call is the operator's, and so kept out of the errors that its caller reads.

use std::{collections::HashSet, fmt};

use http::{HeaderMap, StatusCode};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use ziggurat_core::{Dialect, Problem};
use ziggurat_dialect::{Event, StreamDecoder, decode_answer_error, decode_error, decode_error_of, scrub};

use crate::scan::scan;

/// What of one call is known to be the operator's: its credential, the provider's host, the model's name there. They are taken out of a
/// provider's errors by what they are, before [`scrub`] takes out what looks like such a thing.
///
/// Kept for the call only, and shown by no `Debug`. The default knows nothing: then looks alone decide.
#[derive(Clone, Default)]
pub struct Confidential {
    /// Longest first: one may hold another.
    secrets: Vec<Box<str>>,
    host: Option<Box<str>>,
    /// At the provider, and in the caller's words.
    model: Option<(Box<str>, Box<str>)>,
}

// ===== impl Confidential =====

impl Confidential {
    /// A credential, as the value of a header has it: each of its words of 8 bytes and more is shown as `[key]`, wherever it stands.
    #[must_use]
    pub fn secret(mut self, value: &str) -> Self {
        for word in value.split([' ', '\t', ',', ';']) {
            // A scheme's parameter, as `Signature=..`: its value alone is as secret.
            let parameter = word.split_once('=').map_or("", |(_, value)| value);
            let parts = [word, parameter].map(|part| part.trim_matches('"'));
            let secrets = parts.into_iter().filter(|part| part.len() >= MIN_SECRET);
            self.secrets.extend(secrets.map(Box::from));
        }
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.secrets.dedup();
        self
    }

    /// The provider's host, without a port: shown as `[host]`.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.host = (host.len() > 1).then(|| host.into());
        self
    }

    /// The model's name at the provider, and the one that the caller knows it by, which is shown in its place. One of a single letter stays.
    #[must_use]
    pub fn model(mut self, own: &str, asked: &str) -> Self {
        let shown = if asked.is_empty() { "[model]" } else { asked };
        self.model = (own != asked && own.len() > 1).then(|| (own.into(), shown.into()));
        self
    }

    /// Reads a provider's error as [`decode_error`] does, without what is confidential.
    #[must_use]
    pub fn decode_error(&self, status: Option<StatusCode>, body: &[u8]) -> Problem {
        decode_error(status, self.redacted(body).as_deref().unwrap_or(body))
    }

    /// Reads a provider's error as [`decode_error_of`] does, without what is confidential.
    #[must_use]
    pub fn decode_error_of(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Problem {
        decode_error_of(status, headers, self.redacted(body).as_deref().unwrap_or(body))
    }

    /// Reads the error that stands where an answer should, as [`decode_answer_error`] does, without what is confidential.
    #[must_use]
    pub fn decode_answer_error(&self, body: &[u8]) -> Option<Problem> {
        decode_answer_error(self.redacted(body).as_deref().unwrap_or(body))
    }

    /// The problem that a stream's decoder read from `data`, without what is confidential.
    #[must_use]
    pub fn reread(&self, problem: Problem, data: &[u8]) -> Problem {
        let Some(data) = self.redacted(data) else { return problem };
        let mut read = decode_error(None, &data);
        // What it was is known by more than these words.
        read.cause = problem.cause;
        read
    }

    /// The problem that an event of a stream of some dialect tells, without what is confidential.
    #[must_use]
    pub(crate) fn error_of(&self, dialect: Dialect, data: &[u8]) -> Problem {
        let mut told = None;
        if let Ok(text) = std::str::from_utf8(data) {
            let read = StreamDecoder::new(dialect).decode(text, &mut |event| {
                if let Event::Error(problem) = event {
                    told = Some(problem);
                }
            });
            told = told.filter(|_| read.is_ok());
        }
        match told {
            Some(problem) => self.reread(problem, data),
            None => self.decode_error(None, data),
        }
    }

    /// The problem that lines of a stream tell which are no event: some report an error as plain JSON in mid-stream.
    #[must_use]
    pub fn bare_error(&self, lines: &[u8]) -> Option<Problem> {
        let text = std::str::from_utf8(lines).ok()?.trim_ascii();
        // Some give a list of one.
        let one = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let facts = scan(one.trim_ascii(), &mut |_| {})?;
        (facts.error || facts.complains()).then(|| self.decode_error(None, lines))
    }

    /// Whether an error of a provider's may pass as it is to a caller of its dialect: it has the dialect's shape, says nothing twice, and
    /// holds not a word that is the operator's alone.
    #[must_use]
    pub fn is_presentable(&self, error: &[u8], dialect: Dialect) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(error) else { return false };
        let message = value.pointer("/error/message").and_then(Value::as_str);
        let typed = value.get("type").is_some_and(|kind| kind == "error");
        // Google's details name the operator's project.
        dialect != Dialect::Gemini
            && typed == matches!(dialect, Dialect::Anthropic | Dialect::Responses)
            && message.is_some_and(|message| !message.is_empty())
            && self.is_clean(error)
    }

    fn is_clean(&self, json: &[u8]) -> bool {
        // What is no string (a number that is a key) is found in the bytes.
        let bare = std::str::from_utf8(json).is_ok_and(|text| self.without_secrets(text).is_none());
        bare && Clean(self).deserialize(&mut serde_json::Deserializer::from_slice(json)).is_ok()
    }

    pub(crate) fn is_clean_text(&self, text: &str) -> bool {
        self.without_secrets(text).is_none() && self.without_names(text).is_none() && scrub(text) == text
    }

    /// JSON without what is confidential; `None` where it holds nothing of it, or is no JSON.
    fn redacted(&self, json: &[u8]) -> Option<Vec<u8>> {
        let mut value: Value = serde_json::from_slice(json).ok()?;
        let changed = self.redact(&mut value, "");
        changed.then(|| value.to_string().into_bytes())
    }

    fn redact(&self, value: &mut Value, name: &str) -> bool {
        match value {
            Value::String(text) => {
                let secrets = self.without_secrets(text).map(|new| *text = new);
                // Words that have a meaning are not taken for a name.
                let names = match name {
                    "type" | "code" | "param" => None,
                    _ => self.without_names(text).map(|new| *text = new),
                };
                secrets.or(names).is_some()
            }
            Value::Number(number) if self.without_secrets(&number.to_string()).is_some() => {
                *value = Value::Null;
                true
            }
            Value::Array(list) => list.iter_mut().fold(false, |any, item| self.redact(item, name) | any),
            Value::Object(members) => {
                members.iter_mut().fold(false, |any, (name, value)| self.redact(value, name) | any)
            }
            _ => false,
        }
    }

    fn without_secrets(&self, text: &str) -> Option<String> {
        self.secrets.iter().fold(None, |found: Option<String>, secret| {
            let text = found.as_deref().unwrap_or(text);
            text.contains(&**secret).then(|| text.replace(&**secret, "[key]")).or(found)
        })
    }

    fn without_names(&self, text: &str) -> Option<String> {
        // The host first: a name within it is none.
        let without_host = self.host.as_ref().and_then(|host| replace_name(text, host, "[host]", port));
        let left = without_host.as_deref().unwrap_or(text);
        let model = self.model.as_ref();
        model.and_then(|(own, asked)| replace_name(left, own, asked, |_| 0)).or(without_host)
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confidential").finish_non_exhaustive()
    }
}

/// Below that a key is none: `none`, `EMPTY`, `sk-1234`.
const MIN_SECRET: usize = 8;

/// Replaces a name where it stands whole, with as much of what is behind as belongs to it; `None` where it does not. `gpt-4` is whole in
/// `models/gpt-4.`, and not in `gpt-4o` or `gpt-4.1`.
fn replace_name(text: &str, name: &str, shown: &str, belongs: impl Fn(&str) -> usize) -> Option<String> {
    let mut out = String::new();
    let mut taken = 0;
    for (at, _) in text.match_indices(name) {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        if !goes_on(before.chars().rev()) && !goes_on(after.chars()) {
            out += &text[taken..at];
            out += shown;
            taken = at + name.len() + belongs(after);
        }
    }
    (taken > 0).then(|| out + &text[taken..])
}

/// The length of the port behind a host.
fn port(behind: &str) -> usize {
    let digits = behind.strip_prefix(':').unwrap_or_default().bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 { digits + 1 } else { 0 }
}

/// Whether what is next to a name belongs to it: a letter or digit, also behind marks that join.
fn goes_on(mut next: impl Iterator<Item = char>) -> bool {
    next.find(|c| !"-_.".contains(*c)).is_some_and(char::is_alphanumeric)
}

// ===== JSON that may pass =====

/// Takes JSON of which every text is clean and no member stands twice: of two, readers take either.
struct Clean<'a>(&'a Confidential);

impl Clean<'_> {
    fn check<E: de::Error>(&self, text: &str) -> Result<(), E> {
        if self.0.is_clean_text(text) { Ok(()) } else { Err(E::custom("is not clean")) }
    }
}

impl<'de> DeserializeSeed<'de> for Clean<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Clean<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.check(text)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Clean(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            self.check(&name)?;
            if !names.insert(name) {
                return Err(de::Error::custom("stands twice"));
            }
            members.next_value_seed(Clean(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn confidential() -> Confidential {
        Confidential::default().secret(&format!("Bearer {KEY}")).host("vllm.example").model("gpt-4", "my")
    }

    fn said(message: &str) -> String {
        let body = serde_json::json!({ "error": { "message": message } }).to_string();
        confidential().decode_error(None, body.as_bytes()).message
    }

    #[test]
    fn what_is_known_is_taken_out_wherever_it_stands() {
        assert_eq!(said(&format!("key '{KEY}'; x{KEY}y.sk-a")), "key '[key]'; x[key]y.[key]");
        assert_eq!(
            said("vllm.example:8443: no, nor a.vllm.example; ENOTFOUND vllm.example"),
            "[host]: no, nor a.vllm.example; ENOTFOUND [host]"
        );
        for (key, given) in
            [("k:1234567", "k:1234567"), ("AWS4 Credential=a/b, Signature=00ff00ff00", "00ff00ff00")]
        {
            let confidential = Confidential::default().secret(key);
            assert_eq!(confidential.without_secrets(&format!("a{given}b")).as_deref(), Some("a[key]b"));
        }
        let short = Confidential::default().secret("Bearer none");
        assert_eq!(short.without_secrets("Bearer none of these"), None);
        assert!(!format!("{:?}", confidential()).contains("0123"));
    }

    #[test]
    fn a_name_is_replaced_where_it_stands_whole() {
        for (text, shown) in [
            ("gpt-4", Some("my")),
            ("The model `gpt-4` is none; use models/gpt-4.", Some("The model `my` is none; use models/my.")),
            ("gpt-4: gpt-4- gpt-4/x -gpt-4", Some("my: my- my/x -my")),
            ("gpt-4o, gpt-4.1, gpt-4-turbo, gpt-4_x, chatgpt-4, my-gpt-4, é.gpt-4", None),
            ("gpt-4o not gpt-4", Some("gpt-4o not my")),
        ] {
            assert_eq!(replace_name(text, "gpt-4", "my", |_| 0).as_deref(), shown, "{text}");
        }
        let of = |own, asked| Confidential::default().model(own, asked).without_names("m o1 at x");
        assert_eq!(of("m", "x"), None);
        assert_eq!(of("o1", "o1"), None);
        assert_eq!(of("o1", "").as_deref(), Some("m [model] at x"));
    }

    #[test]
    fn only_what_is_clean_passes_as_it_is() {
        let passes = |body: &str| confidential().is_presentable(body.as_bytes(), Dialect::OpenAi);
        assert!(passes(r#"{"error":{"message":"no","code":null,"n":[1,-2,0.5,true,{}]}}"#));
        for body in [
            r#"{"error":{"message":"at https://a.b"},"error":{"message":"no"}}"#,
            r#"{"error":{"message":"no","x":"a","\u0078":"b"}}"#,
            r#"{"error":{"message":"no","sk-abc":1}}"#,
            r#"{"error":{"message":"no","x":["gpt-4"]}}"#,
            r#"{"error":{"message":"no"},"k":"\u00301234567\u00389abcdef0123456789abcdef"}"#,
            r#"{"error":{"message":""}}"#,
            r#"{"type":"error","error":{"message":"no"}}"#,
            "no",
        ] {
            assert!(!passes(body), "{body}");
        }
        let number = Confidential::default().secret("1234567890123");
        let body = br#"{"error":{"message":"no","code":1234567890123}}"#;
        assert!(!number.is_presentable(body, Dialect::OpenAi));
        assert_eq!(number.decode_error(None, body).code, None);
    }

    #[test]
    fn an_error_that_is_no_event_is_found() {
        let found = |text: &str| confidential().bare_error(text.as_bytes()).map(|problem| problem.message);
        assert_eq!(found("{\"detail\":\"no gpt-4\"}\n\n").as_deref(), Some("no my"));
        assert_eq!(found("[{\n\"error\":{\"message\":\"no\"}\n}]\n").as_deref(), Some("no"));
        for none in ["{\"ok\":true}", "{\"error\":null}", "<html>", "[1]", "\u{1}", ""] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}

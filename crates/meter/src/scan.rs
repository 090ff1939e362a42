//! The few facts of an event that decide what becomes of it, found in one pass that allocates nothing.

use std::borrow::Cow;

use ziggurat_core::json::MAX_DEPTH;

/// What the data of one event says of itself. `null` stands for absent everywhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts<'a> {
    /// `type`, as it stands in JSON.
    pub(crate) kind: Option<&'a str>,
    /// Whether it has an `error`.
    pub(crate) error: bool,
    /// Whether it speaks as error bodies do that have no `error`: `message` or `detail`.
    pub(crate) complaint: bool,
    /// Whether it has an `id`.
    pub(crate) id: bool,
    /// Whether it has `usage`.
    pub(crate) usage: bool,
    /// How many `choices` it lists.
    pub(crate) choices: Option<usize>,
}

// ===== impl Facts =====

impl Facts<'_> {
    /// Whether it speaks as error bodies do, and not as a part of an answer.
    pub(crate) const fn complains(&self) -> bool {
        self.complaint && !self.usage && self.choices.is_none()
    }
}

/// Reads one event's data and tells `ended` which choices have a `finish_reason`; `None` when it is no JSON object.
pub(crate) fn scan<'a>(text: &'a str, ended: &mut impl FnMut(u64)) -> Option<Facts<'a>> {
    let mut scanner = Scanner { text, at: 0 };
    let mut facts = Facts::default();
    let mut blocked = false;
    scanner.object(|scanner, name| {
        // `candidates` is Gemini's.
        if matches!(name, "choices" | "candidates") && scanner.peek() == b'[' {
            facts.choices = Some(scanner.choices(ended)?);
            return Some(());
        }
        let value = scanner.value(MAX_DEPTH)?;
        let there = value != "null";
        match name {
            "type" => facts.kind = there.then_some(value),
            "error" => facts.error = there,
            "message" | "detail" => facts.complaint |= there,
            "id" => facts.id = there,
            "usage" => facts.usage = there,
            // Gemini's word for a prompt that it does not answer.
            "promptFeedback" => blocked = value.contains("\"blockReason\""),
            _ => {}
        }
        Some(())
    })?;
    if blocked && facts.choices.is_none() {
        facts.choices = Some(1);
        ended(0);
    }
    (scanner.peek() == 0 && scanner.at == text.len()).then_some(facts)
}

/// A reader of JSON that takes nothing which is none: what it gives `None` for is not well formed, or too deep.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

// ===== impl Scanner =====

impl<'a> Scanner<'a> {
    /// The elements of `choices`; gives how many there are.
    fn choices(&mut self, ended: &mut impl FnMut(u64)) -> Option<usize> {
        let mut count = 0;
        self.array(|scanner| {
            count += 1;
            if scanner.peek() != b'{' {
                return scanner.value(MAX_DEPTH).map(drop);
            }
            let (mut index, mut finish) = (0, false);
            scanner.object(|scanner, name| {
                let value = scanner.value(MAX_DEPTH)?;
                match name {
                    "index" => index = value.parse().unwrap_or(0),
                    "finish_reason" | "finishReason" => finish = value.starts_with('"') && value != "\"\"",
                    _ => {}
                }
                Some(())
            })?;
            if finish {
                ended(index);
            }
            Some(())
        })?;
        Some(count)
    }

    fn value(&mut self, depth: usize) -> Option<&'a str> {
        let first = self.peek();
        let start = self.at;
        match first {
            b'"' => self.string().map(drop)?,
            b'{' => {
                let inner = depth.checked_sub(1)?;
                self.object(|scanner, _| scanner.value(inner).map(drop))?;
            }
            b'[' => {
                let inner = depth.checked_sub(1)?;
                self.array(|scanner| scanner.value(inner).map(drop))?;
            }
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => self.number()?,
        }
        Some(&self.text[start..self.at])
    }

    /// Calls `member` with each name, standing at the value, which it must take.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.list(b'{', b'}', |scanner| {
            scanner.peek();
            let (name, escaped) = scanner.string()?;
            scanner.eat(b':')?;
            match escaped {
                false => member(scanner, &name[1..name.len() - 1]),
                true => member(scanner, &serde_json::from_str::<Cow<'_, str>>(name).unwrap_or_default()),
            }
        })
    }

    fn array(&mut self, element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.list(b'[', b']', element)
    }

    fn list(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.eat(open)?;
        if self.peek() == close {
            self.at += 1;
            return Some(());
        }
        loop {
            item(self)?;
            match self.peek() {
                b',' => self.at += 1,
                next if next == close => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// A string with its quotes, and whether an escape stands in it.
    fn string(&mut self) -> Option<(&'a str, bool)> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        if bytes.get(start) != Some(&b'"') {
            return None;
        }
        let mut escaped = false;
        self.at += 1;
        loop {
            // Names and most texts are short: a step a byte beats a search that has to be set up.
            while !SPECIAL[usize::from(*bytes.get(self.at)?)] {
                self.at += 1;
            }
            let special = bytes[self.at];
            self.at += 1;
            match special {
                b'"' => return Some((&self.text[start..self.at], escaped)),
                b'\\' => {}
                _ => return None,
            }
            escaped = true;
            self.at += match bytes.get(self.at)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 1,
                b'u' if bytes.get(self.at + 1..self.at + 5)?.iter().all(u8::is_ascii_hexdigit) => 5,
                _ => return None,
            };
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.text.as_bytes().get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.digits()? {
            (1, _) | (_, b'1'..=b'9') => {}
            _ => return None,
        }
        if self.text.as_bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.as_bytes().get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.as_bytes().get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// At least one digit: how many, and the first.
    fn digits(&mut self) -> Option<(usize, u8)> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        (count > 0).then(|| (count, rest[0]))
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let there = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        there.then_some(())
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        let there = self.peek() == byte;
        self.at += 1;
        there.then_some(())
    }

    /// The first byte of the next token, 0 at the end.
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }
}

/// What ends a plain stretch of a string: a quote, a backslash, and what may not stand there.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        special[byte] = byte < 0x20 || byte == b'"' as usize || byte == b'\\' as usize;
        byte += 1;
    }
    special
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn facts(text: &str) -> Option<(Facts<'_>, Vec<u64>)> {
        let mut ended = Vec::new();
        let facts = scan(text, &mut |index| ended.push(index))?;
        Some((facts, ended))
    }

    #[test]
    fn finds_what_stands_where_it_means_something() {
        let text = r#" {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":null},{"finish_reason":"stop","index":1}],"usage":null} "#;
        let expected = Facts { id: true, choices: Some(2), ..Facts::default() };
        assert_eq!(facts(text), Some((expected, vec![1])));
        let text = r#"{"choices":[{"delta":{"content":"\"error\": {}, \"finish_reason\":\"stop\" [DONE]"},"index":0,"finish_reason":""}],"error":null,"x":{"error":1,"usage":{},"finish_reason":"stop"}}"#;
        assert_eq!(facts(text), Some((Facts { choices: Some(1), ..Facts::default() }, vec![])));
        let text = r#"{"type":"message_stop","\u0065rror":{},"usage":{"a":1},"choices":[],"detail":"d"}"#;
        let expected = Facts {
            kind: Some("\"message_stop\""),
            error: true,
            complaint: true,
            id: false,
            usage: true,
            choices: Some(0),
        };
        assert_eq!(facts(text), Some((expected, vec![])));
    }

    #[test]
    fn what_is_no_object_says_nothing() {
        for text in [
            "",
            "[DONE]",
            "[]",
            "\"x\"",
            "1",
            "null",
            "{",
            "{}{}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{\"a\"1}",
        ] {
            assert_eq!(facts(text), None, "{text}");
        }
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(facts(&nested(MAX_DEPTH)).is_some());
        assert_eq!(facts(&nested(MAX_DEPTH + 1)), None);
    }

    /// JSON and what is nearly some.
    fn jsonish() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,2})?([eE][+-]?[0-9])?",
            "[-+.0-9eE]{1,6}",
            "\"([a-zé \\\\\"/]|\\\\[\"\\\\/bfnrtu]|\\\\u[0-9a-fA-F]{3,4}|\u{1}){0,6}\"",
            Just("tru".to_owned()),
        ];
        let key = prop_oneof!["\"[a-c]\"", "[a-c\"]{1,2}"];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let member = (key.clone(), inner.clone()).prop_map(|(key, value)| format!("{key} : {value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec(member, 0..4).prop_map(|items| format!("{{{}}}", items.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn takes_what_serde_json_takes(value in jsonish(), cut in 0usize..64, cut_it: bool) {
            let mut text = format!("{{\"a\":{value}}}");
            if cut_it {
                let end = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                text.truncate(end);
            }
            prop_assert_eq!(facts(&text).is_some(), serde_json::from_str::<IgnoredAny>(&text).is_ok());
        }

        #[test]
        fn any_text_is_read_to_some_end(text: String) {
            let as_object = text.trim_start().starts_with('{');
            prop_assert_eq!(facts(&text).is_some(), as_object && serde_json::from_str::<IgnoredAny>(&text).is_ok());
        }
    }
}

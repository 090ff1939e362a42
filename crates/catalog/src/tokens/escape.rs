//! The contents of JSON strings as they stand in a body, between their quotes: their length, a cut through them, their text.

use std::borrow::Cow;

use memchr::memchr;

/// How many bytes the text has that `escaped` stands for; nothing is copied.
pub(super) fn plain_len(escaped: &str) -> usize {
    let bytes = escaped.as_bytes();
    let (mut len, mut at) = (bytes.len(), 0);
    loop {
        // Escapes often come in runs, where a search costs more than it finds.
        if bytes.get(at) != Some(&b'\\') {
            let Some(step) = memchr(b'\\', &bytes[at..]) else { return len };
            at += step;
        }
        let (taken, stands_for) = match bytes.get(at + 1) {
            Some(b'u') => {
                let (taken, stands_for) = unicode_escape(bytes, at);
                (taken, stands_for.len_utf8())
            }
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => (2, 1),
            _ => (1, 1),
        };
        len -= taken - stands_for;
        at += taken;
    }
}

/// The text that `escaped` stands for. What is no escape stays as it is, half of a surrogate pair becomes U+FFFD.
pub(super) fn unescape(escaped: &str) -> Cow<'_, str> {
    let bytes = escaped.as_bytes();
    let mut text = String::new();
    let mut done = 0;
    while let Some(step) = memchr(b'\\', &bytes[done..]) {
        let at = done + step;
        let (taken, stands_for) = escape_at(bytes, at);
        text.push_str(&escaped[done..at]);
        text.push(stands_for);
        done = at + taken;
    }
    if done == 0 {
        return Cow::Borrowed(escaped);
    }
    text.push_str(&escaped[done..]);
    Cow::Owned(text)
}

/// Splits behind at most `bytes` bytes, through no escape and no character.
pub(super) fn split_escaped(escaped: &str, bytes: usize) -> (&str, &str) {
    let (head, _) = split(escaped, bytes);
    let mut at = 0;
    while let Some(step) = memchr(b'\\', &head.as_bytes()[at..]) {
        let (taken, _) = escape_at(escaped.as_bytes(), at + step);
        if at + step + taken > head.len() {
            return escaped.split_at(at + step);
        }
        at += step + taken;
    }
    escaped.split_at(head.len())
}

/// Splits behind at most `bytes` bytes, through no character.
pub(super) fn split(text: &str, bytes: usize) -> (&str, &str) {
    let mut at = bytes.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    text.split_at(at)
}

/// How many bytes the escape takes that starts at `at`, and what it stands for, which is never longer.
fn escape_at(bytes: &[u8], at: usize) -> (usize, char) {
    match bytes.get(at + 1) {
        Some(b'n') => (2, '\n'),
        Some(b't') => (2, '\t'),
        Some(b'r') => (2, '\r'),
        Some(b'b') => (2, '\u{8}'),
        Some(b'f') => (2, '\u{c}'),
        Some(&byte @ (b'"' | b'\\' | b'/')) => (2, char::from(byte)),
        Some(b'u') => unicode_escape(bytes, at),
        _ => (1, '\\'),
    }
}

fn unicode_escape(bytes: &[u8], at: usize) -> (usize, char) {
    let unit = |at: usize| match bytes.get(at..at + 6)? {
        [b'\\', b'u', digits @ ..] => {
            digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
        }
        _ => None,
    };
    match unit(at) {
        None => (1, '\\'),
        Some(high @ 0xD800..0xDC00) => match unit(at + 6) {
            Some(low @ 0xDC00..0xE000) => {
                let scalar = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                (12, char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            _ => (6, char::REPLACEMENT_CHARACTER),
        },
        Some(scalar) => (6, char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_escape_of_rfc_8259() {
        let escaped = r#"a\n\t\r\b\f\"\\\/\u00e4\u4E2D\ud83D\uDE00z"#;
        assert_eq!(unescape(escaped), "a\n\t\r\u{8}\u{c}\"\\/ä中😀z");
        assert!(matches!(unescape("plain, ä"), Cow::Borrowed("plain, ä")));
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescape(r"\q \u12 \uzzzz \ä"), r"\q \u12 \uzzzz \ä");
        assert_eq!(unescape("\\"), "\\");
        assert_eq!(unescape(r"\ud83d\ud83d\u0041"), "\u{fffd}\u{fffd}A");
    }

    #[test]
    fn splits_through_no_escape() {
        let pieces = |bytes| split_escaped(r"a\\b\ud83d\ude00ä", bytes);
        assert_eq!(pieces(2), ("a", r"\\b\ud83d\ude00ä"));
        assert_eq!(pieces(3), (r"a\\", r"b\ud83d\ude00ä"));
        assert_eq!(pieces(15), (r"a\\b", r"\ud83d\ude00ä"));
        assert_eq!(pieces(17), (r"a\\b\ud83d\ude00", "ä"));
        assert_eq!(pieces(99), (r"a\\b\ud83d\ude00ä", ""));
        assert_eq!(pieces(0), ("", r"a\\b\ud83d\ude00ä"));
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_writes(text in any::<String>(), ascii in any::<bool>()) {
            let mut json = serde_json::to_string(&text).expect("is a string");
            if ascii {
                json = json.chars().map(|c| match c.is_ascii() {
                    true => c.to_string(),
                    false => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
                }).collect();
            }
            let escaped = &json[1..json.len() - 1];
            prop_assert_eq!(unescape(escaped), text.as_str());
            prop_assert_eq!(plain_len(escaped), text.len());
        }

        #[test]
        fn agrees_with_itself_on_anything(escaped in r#"(\\[u"\\nä]|\\u[dD][89cC][0-9a-f]{0,3}|[a-f0-9ä中😀\\]){0,20}"#, at in 0usize..80) {
            prop_assert_eq!(plain_len(&escaped), unescape(&escaped).len());
            let (head, tail) = split_escaped(&escaped, at);
            prop_assert!(head.len() <= at);
            prop_assert_eq!(plain_len(head) + plain_len(tail), plain_len(&escaped));
        }
    }
}

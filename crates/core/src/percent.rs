//! Parts of URLs, as RFC 3986 has them.

use std::{borrow::Cow, fmt::Write as _};

/// Decodes a part of a URL (RFC 3986, section 2.1); what is no valid sequence stays as it is, and so does all of it when it decodes to no
/// UTF-8.
#[must_use]
pub fn percent_decoded(raw: &str) -> Cow<'_, str> {
    if !raw.contains('%') {
        return Cow::Borrowed(raw);
    }
    let hex = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let pair = behind.first_chunk().and_then(|&[high, low]| Some(hex(high)? << 4 | hex(low)?));
        let (next, behind) = match pair.filter(|_| byte == b'%') {
            Some(escaped) => (escaped, &behind[2..]),
            None => (byte, behind),
        };
        decoded.push(next);
        rest = behind;
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(raw), Cow::Owned)
}

/// Encodes a text as a part of a URL or of a form (RFC 3986, section 2.1): all but letters, digits, `-`, `.`, `_` and `~`.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            // Writing into a string has no way to fail.
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_to_itself() {
        assert_eq!(percent_encoded("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(percent_encoded("a b/é+%"), "a%20b%2F%C3%A9%2B%25");
        for text in ["", "a b/é+%", "100%", "%41"] {
            assert_eq!(percent_decoded(&percent_encoded(text)), text);
        }
        for odd in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(percent_decoded(odd), odd);
        }
    }
}

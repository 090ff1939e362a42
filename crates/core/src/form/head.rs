//! The head of a part: its name, and whether it is a file.

use super::{Fault, is_blank};

/// What a part's head says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The field's name.
    pub(crate) name: Box<str>,
    /// Whether it has a file's name.
    pub(crate) is_file: bool,
}

// ===== impl Part =====

impl Part {
    /// Reads the rest of a boundary's line and the head behind it, up to and with the blank line.
    pub(super) fn read(raw: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(raw).map_err(|_| Fault("the head of a part is not valid UTF-8"))?;
        let mut lines = text.split("\r\n");
        if !lines.next().is_some_and(|line| is_blank(line.as_bytes())) {
            return Err(Fault("a boundary is followed by something else than the end of its line"));
        }
        let (mut found, mut charset) = (None, None);
        for line in lines.filter(|line| !line.is_empty()) {
            if line.starts_with([' ', '\t']) || line.contains(|it: char| it.is_control() && it != '\t') {
                return Err(Fault("the head of a part has a line that is none"));
            }
            let (name, value) =
                line.split_once(':').ok_or(Fault("the head of a part has a line without a colon"))?;
            if name.trim() != name {
                return Err(Fault("the head of a part has blanks around a name"));
            }
            match name.to_ascii_lowercase().as_str() {
                "content-disposition" => {
                    if found.replace(Self::of(value)?).is_some() {
                        return Err(Fault("a part has more than one content-disposition"));
                    }
                }
                "content-type" => {
                    if charset.replace(has_plain_charset(value)).is_some() {
                        return Err(Fault("a part has more than one content-type"));
                    }
                }
                "content-transfer-encoding" => {
                    let plain =
                        ["binary", "8bit", "7bit"].iter().any(|it| value.trim().eq_ignore_ascii_case(it));
                    if !plain {
                        return Err(Fault("a part has a content-transfer-encoding"));
                    }
                }
                name if HARMLESS.contains(&name) => {}
                _ => return Err(Fault("the head of a part has a line that forms do not have")),
            }
        }
        let found = found.ok_or(Fault("a part has no content-disposition"))?;
        if !found.is_file && charset == Some(false) {
            return Err(Fault("a part of text is in another charset than UTF-8"));
        }
        Ok(found)
    }

    /// Reads a `content-disposition`. Who escapes in it does so in one of several ways, which read differently: of these, browsers' percent
    /// signs alone are nobody's reading of a name as another. Of parameters, forms have no others than these.
    fn of(value: &str) -> Result<Self, Fault> {
        let (kind, mut rest) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(Fault("the content-disposition of a part is not form-data"));
        }
        let (mut name, mut file, mut escaped) = (None, None, None);
        while !rest.trim().is_empty() {
            let (key, behind) = rest
                .split_once('=')
                .ok_or(Fault("the content-disposition of a part has a parameter without a value"))?;
            let (given, behind) = parameter(behind)?;
            rest = behind;
            let found = match key.trim_start().to_ascii_lowercase().as_str() {
                "name" => &mut name,
                "filename" => &mut file,
                "filename*" => &mut escaped,
                key if key.starts_with("name*") => return Err(Fault("a part has its name in escapes")),
                _ => {
                    return Err(Fault(
                        "the content-disposition of a part has a parameter that forms do not have",
                    ));
                }
            };
            if found.replace(given).is_some() {
                return Err(Fault("a part has more than one name"));
            }
        }
        let name = name.ok_or(Fault("a part has no name"))?;
        // The second is RFC 2047's.
        if name.contains('\\') || name.contains("=?") {
            return Err(Fault("a part has its name in escapes"));
        }
        if name.eq_ignore_ascii_case("_charset_") {
            return Err(Fault("a part names the charset of the others"));
        }
        Ok(Self { name: name.into(), is_file: file.or(escaped).is_some() })
    }
}

/// A parameter's value, and what stands behind its semicolon.
fn parameter(text: &str) -> Result<(&str, &str), Fault> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        let value = value.trim_end();
        return match !value.is_empty() && value.bytes().all(is_token) {
            true => Ok((value, rest)),
            false => Err(Fault("the content-disposition of a part has a value that needs quotes")),
        };
    };
    let (value, behind) =
        quoted.split_once('"').ok_or(Fault("the content-disposition of a part has a quote that is open"))?;
    if value.ends_with('\\') {
        return Err(Fault("the content-disposition of a part has a quote in escapes"));
    }
    // Who knows no quotes finds a name in it.
    let names = |piece: &str| {
        let key = piece.split_once('=').map(|(key, _)| key.trim().to_ascii_lowercase());
        key.is_some_and(|key| key.starts_with("name"))
    };
    if value.split(';').skip(1).any(names) {
        return Err(Fault("the content-disposition of a part has a name within another value"));
    }
    match behind.trim_start() {
        "" => Ok((value, "")),
        behind => match behind.strip_prefix(';') {
            Some(rest) => Ok((value, rest)),
            None => Err(Fault("the content-disposition of a part has something behind a quote")),
        },
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a content type names no charset, or one whose letters are UTF-8's.
fn has_plain_charset(kind: &str) -> bool {
    let lower = kind.to_ascii_lowercase();
    lower.split(';').skip(1).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let plain = || matches!(value.trim().trim_matches('"'), "utf-8" | "utf8" | "us-ascii");
        !name.trim().starts_with("charset") || plain()
    })
}

/// Lines that senders of forms put into a part's head beside those that are read, and that nobody reads a part by.
const HARMLESS: [&str; 4] = ["content-length", "content-id", "content-language", "mime-version"];

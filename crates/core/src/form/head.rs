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
        let mut found = None;
        for line in lines.filter(|line| !line.is_empty()) {
            if line.contains(['\r', '\n', '\0']) || line.starts_with([' ', '\t']) {
                return Err(Fault("the head of a part has a line that is none"));
            }
            let (name, value) =
                line.split_once(':').ok_or(Fault("the head of a part has a line without a colon"))?;
            if name.eq_ignore_ascii_case("content-disposition") {
                if found.replace(Self::of(value)?).is_some() {
                    return Err(Fault("a part has more than one content-disposition"));
                }
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
                let plain = ["binary", "8bit", "7bit"].iter().any(|it| value.trim().eq_ignore_ascii_case(it));
                if !plain {
                    return Err(Fault("a part has a content-transfer-encoding"));
                }
            } else if name.trim() != name {
                return Err(Fault("the head of a part has blanks around a name"));
            }
        }
        found.ok_or(Fault("a part has no content-disposition"))
    }

    /// Reads a `content-disposition`. Who escapes in it does so in one of three ways, which read differently: of these, browsers' percent
    /// signs alone are nobody's reading of a name as another.
    fn of(value: &str) -> Result<Self, Fault> {
        let (kind, mut rest) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(Fault("the content-disposition of a part is not form-data"));
        }
        let (mut name, mut is_file) = (None, false);
        while !rest.trim().is_empty() {
            let (key, behind) = rest
                .split_once('=')
                .ok_or(Fault("the content-disposition of a part has a parameter without a value"))?;
            let (given, behind) = parameter(behind.trim_start())?;
            rest = behind;
            if key.trim().contains([' ', '\t', ';', '"', '\\']) {
                return Err(Fault("the content-disposition of a part has a parameter without a value"));
            }
            match key.trim().to_ascii_lowercase().as_str() {
                "name" if name.replace(given).is_some() => {
                    return Err(Fault("a part has more than one name"));
                }
                "name" => {}
                "name*" => return Err(Fault("a part has its name in escapes")),
                "filename" | "filename*" => is_file = true,
                _ => {}
            }
        }
        let name = name.ok_or(Fault("a part has no name"))?;
        if name.contains('\\') {
            return Err(Fault("a part has its name in escapes"));
        }
        Ok(Self { name: name.into(), is_file })
    }
}

/// A parameter's value, and what stands behind its semicolon.
fn parameter(text: &str) -> Result<(&str, &str), Fault> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        let value = value.trim();
        return match value.contains('"') {
            true => Err(Fault("the content-disposition of a part has a quote in its middle")),
            false => Ok((value, rest)),
        };
    };
    let (value, behind) =
        quoted.split_once('"').ok_or(Fault("the content-disposition of a part has a quote that is open"))?;
    if value.ends_with('\\') {
        return Err(Fault("the content-disposition of a part has a quote in escapes"));
    }
    match behind.trim_start() {
        "" => Ok((value, "")),
        behind => match behind.strip_prefix(';') {
            Some(rest) => Ok((value, rest)),
            None => Err(Fault("the content-disposition of a part has something behind a quote")),
        },
    }
}

//! The kinds of media that are fetched, and how their bytes begin.

/// A media type and what tells its bytes from others.
pub(super) type Kind = (&'static str, fn(&[u8]) -> bool);

/// What models take most, as far as its bytes can be told from others: a text could be a page of somebody's own.
const KINDS: [Kind; 5] = [
    ("image/png", |bytes| bytes.starts_with(b"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", |bytes| bytes.starts_with(b"\xff\xd8\xff")),
    ("image/gif", |bytes| bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a")),
    ("image/webp", |bytes| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")),
    ("application/pdf", |bytes| bytes.starts_with(b"%PDF-")),
];

/// All of them, as a request asks for them.
pub(super) const ACCEPT: &str = "image/png, image/jpeg, image/gif, image/webp, application/pdf";

/// The kind that a `content-type` names.
pub(super) fn named(content_type: &str) -> Option<Kind> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    // No registered type, and common.
    let essence = if essence.eq_ignore_ascii_case("image/jpg") { "image/jpeg" } else { essence };
    KINDS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(essence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_in_any_case_and_with_parameters() {
        let cases = [
            ("image/png", Some("image/png")),
            ("Image/JPG; q=1", Some("image/jpeg")),
            ("application/pdf;charset=binary", Some("application/pdf")),
            ("text/html", None),
            ("image/svg+xml", None),
            ("application/octet-stream", None),
            ("", None),
        ];
        for (content_type, expected) in cases {
            assert_eq!(named(content_type).map(|(name, _)| name), expected, "{content_type}");
        }
        assert_eq!(KINDS.map(|(name, _)| name).join(", "), ACCEPT);
    }

    #[test]
    fn bytes_are_told_from_those_of_other_types() {
        let cases: [(&[u8], &[&str]); 8] = [
            (b"\x89PNG\r\n\x1a\n..", &["image/png"]),
            (b"\xff\xd8\xff\xe0", &["image/jpeg"]),
            (b"GIF87a", &["image/gif"]),
            (b"RIFF\0\0\0\0WEBPVP8 ", &["image/webp"]),
            (b"RIFF\0\0\0\0WAVEfmt ", &[]),
            (b"%PDF-1.7", &["application/pdf"]),
            (b"<html>", &[]),
            (b"", &[]),
        ];
        for (bytes, expected) in cases {
            let told: Vec<_> =
                KINDS.iter().filter(|(_, is_it)| is_it(bytes)).map(|(name, _)| *name).collect();
            assert_eq!(told, expected);
        }
    }
}

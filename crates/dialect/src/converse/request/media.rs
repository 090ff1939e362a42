//! Images, documents and videos.

use std::collections::{HashMap, HashSet};

use crate::{
    Block, BlockKind, Source, Text,
    encode::Verdicts,
    write::{Array, Object},
};

/// Writes media, each document under a name of its own: Converse refuses two of one name.
#[derive(Debug, Default)]
pub(super) struct Media {
    names: HashSet<String>,
    /// The last number that was tried behind a name.
    numbers: HashMap<String, usize>,
}

/// A type of bytes that Converse takes: the member it stands under and its word there.
#[derive(Clone, Copy)]
struct Form {
    member: &'static str,
    format: &'static str,
}

/// By media type; from the API reference (`ImageBlock`, `DocumentBlock`, `VideoBlock`).
const FORMS: &[(&str, Form)] = &[
    ("image/png", form("image", "png")),
    ("image/jpeg", form("image", "jpeg")),
    // No registered type, and common.
    ("image/jpg", form("image", "jpeg")),
    ("image/gif", form("image", "gif")),
    ("image/webp", form("image", "webp")),
    ("application/pdf", form("document", "pdf")),
    ("text/csv", form("document", "csv")),
    ("text/html", form("document", "html")),
    ("text/plain", form("document", "txt")),
    ("text/markdown", form("document", "md")),
    ("application/msword", form("document", "doc")),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", form("document", "docx")),
    ("application/vnd.ms-excel", form("document", "xls")),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", form("document", "xlsx")),
    ("video/mp4", form("video", "mp4")),
    ("video/quicktime", form("video", "mov")),
    ("video/x-matroska", form("video", "mkv")),
    ("video/webm", form("video", "webm")),
    ("video/x-flv", form("video", "flv")),
    ("video/mpeg", form("video", "mpeg")),
    ("video/x-ms-wmv", form("video", "wmv")),
    ("video/3gpp", form("video", "three_gp")),
];

const PDF: Form = form("document", "pdf");
const TEXT: Form = form("document", "txt");

const fn form(member: &'static str, format: &'static str) -> Form {
    Form { member, format }
}

// ===== impl Media =====

impl Media {
    /// Writes an image or a file; `own` is whether the caller has Anthropic's members.
    pub(super) fn write(
        &mut self,
        list: &mut Array<'_>,
        block: &Block<'_>,
        source: &Source<'_>,
        place: &str,
        own: bool,
        verdicts: &mut Verdicts<'_>,
    ) {
        let is_image = matches!(block.kind, BlockKind::Image { .. });
        let at = |image: &str, file: &str, other: &str| {
            format!(
                "{place}.{}",
                if own {
                    other
                } else if is_image {
                    image
                } else {
                    file
                }
            )
        };
        let name = match &block.kind {
            BlockKind::File { name, .. } => name.as_ref(),
            _ => None,
        };
        let form = match source {
            Source::Base64 { media_type: Some(media_type), .. } => {
                let Some(form) = Form::of(media_type) else {
                    return verdicts.invalid(
                        format!("this provider takes no {:?}", media_type.decode()),
                        at("image_url.url", "file.file_data", "source.media_type"),
                    );
                };
                form
            }
            Source::Base64 { media_type: None, .. } => name.and_then(Form::of_file).unwrap_or(PDF),
            Source::Text(_) => TEXT,
            Source::Url(_) => {
                return verdicts.invalid(
                    "this provider fetches no URLs: send the bytes, in base64",
                    at("image_url.url", "file.file_data", "source.url"),
                );
            }
            // Another provider's id means nothing to this one.
            Source::File(_) => {
                return verdicts.impossible(at("image_url.url", "file.file_id", "source.file_id"));
            }
        };
        list.object(|out| {
            out.object(form.member, |out| {
                out.str("format", form.format);
                if form.member == PDF.member {
                    out.str("name", &self.name(name));
                }
                out.object("source", |out| write_source(out, source));
                if form.member == PDF.member {
                    let known = |name: &str| matches!(name, "context" | "citations");
                    out.extra_if(&block.extra, known);
                }
            });
        });
    }

    /// A name for a document: the caller's without its ending, in the characters that Converse takes, with a number where it is taken.
    fn name(&mut self, given: Option<&Text<'_>>) -> String {
        let given = given.map(Text::decode).unwrap_or_default();
        let stem = given.rsplit_once('.').map_or(&*given, |(stem, _)| stem);
        let fits = |c: char| c.is_ascii_alphanumeric() || "-()[]".contains(c);
        let plain: String = stem.chars().map(|c| if fits(c) { c } else { ' ' }).collect();
        let words: Vec<&str> = plain.split_ascii_whitespace().collect();
        let mut name = words.join(" ");
        name.truncate(MAX_NAME);
        if name.is_empty() {
            "document".clone_into(&mut name);
        }
        let number = self.numbers.entry(name.clone()).or_insert(1);
        let mut free = name.clone();
        while !self.names.insert(free.clone()) {
            *number += 1;
            free = format!("{name} {number}");
        }
        free
    }
}

/// Longest name that is handed on, in bytes: the API's limit is 200, and a number may follow.
const MAX_NAME: usize = 180;

fn write_source(out: &mut Object<'_>, source: &Source<'_>) {
    match source {
        Source::Base64 { data, .. } => out.text("bytes", data),
        Source::Text(text) => out.text("text", text),
        Source::Url(_) | Source::File(_) => {}
    }
}

// ===== impl Form =====

impl Form {
    /// By the media type, whose case and parameters say nothing more.
    fn of(media_type: &Text<'_>) -> Option<Self> {
        let text = media_type.decode().to_ascii_lowercase();
        let essence = text.split(';').next().unwrap_or_default().trim();
        FORMS.iter().find(|(name, _)| *name == essence).map(|(_, form)| *form)
    }

    /// By the ending of a file's name.
    fn of_file(name: &Text<'_>) -> Option<Self> {
        let text = name.decode().to_ascii_lowercase();
        let (_, ending) = text.rsplit_once('.')?;
        FORMS.iter().find(|(_, form)| form.format == ending).map(|(_, form)| *form)
    }
}

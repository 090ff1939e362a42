//! Media of a request: what stands elsewhere, for whoever may fetch it, and what is too large.

use base64::{Engine, engine::general_purpose::STANDARD};
use ziggurat_core::Dialect;

use crate::{Block, BlockKind, Encoding, Refused, Request, Source, Text};

/// An image or a file of a request that stands at a URL.
#[derive(Debug)]
pub struct RemoteMedia<'r, 'a> {
    /// Its field in the caller's request, as `messages[0].content[1].image_url.url`.
    pub place: String,
    /// Whether it stands where an image does.
    pub is_image: bool,
    url: Text<'a>,
    source: &'r mut Source<'a>,
}

/// Whether providers of a dialect fetch media from URLs themselves.
#[must_use]
pub const fn takes_urls(dialect: Dialect) -> bool {
    !matches!(dialect, Dialect::Converse | Dialect::Ollama)
}

/// The media of a request that stands at URLs, in its order.
#[must_use]
pub fn remote_media<'r, 'a>(request: &'r mut Request<'a>) -> Vec<RemoteMedia<'r, 'a>> {
    let (dialect, apart) = (request.dialect, request.system_apart);
    let mut found = Vec::new();
    for (index, message) in request.messages.iter_mut().enumerate() {
        let message_at = place_of_message(dialect, apart, index);
        for (part, block) in message.content.iter_mut().enumerate() {
            let at = place_of_part(dialect, &message_at, part);
            if !matches!(block.kind, BlockKind::ToolResult { .. }) {
                found.extend(remote(dialect, block, || at));
            } else if let BlockKind::ToolResult { content, .. } = &mut block.kind {
                for (inner, block) in content.iter_mut().enumerate() {
                    found
                        .extend(remote(dialect, block, || place_in_result(dialect, &message_at, &at, inner)));
                }
            }
        }
    }
    found
}

fn remote<'r, 'a>(
    dialect: Dialect,
    block: &'r mut Block<'a>,
    at: impl FnOnce() -> String,
) -> Option<RemoteMedia<'r, 'a>> {
    let is_image = matches!(block.kind, BlockKind::Image { .. });
    let (BlockKind::Image { source, .. } | BlockKind::File { source, .. }) = &mut block.kind else {
        return None;
    };
    let Source::Url(url) = source else { return None };
    let url = url.clone();
    let member = match (dialect, is_image) {
        (Dialect::Anthropic, _) => "source.url",
        (Dialect::Gemini, _) => "fileData.fileUri",
        (Dialect::Responses, true) => "image_url",
        (Dialect::Responses, false) => "file_url",
        (_, true) => "image_url.url",
        (_, false) => "file.file_data",
    };
    Some(RemoteMedia { place: format!("{}.{member}", at()), is_image, url, source })
}

/// Refuses an image that is larger than the provider takes.
///
/// # Errors
/// [`Refused`], with its field.
pub(crate) fn check_images(request: &Request<'_>, encoding: &Encoding<'_>) -> Result<(), Refused> {
    let Some(most) = encoding.max_image else { return Ok(()) };
    let dialect = request.dialect;
    let member = match dialect {
        Dialect::Anthropic => "source.data",
        Dialect::Gemini => "inlineData.data",
        Dialect::Responses => "image_url",
        _ => "image_url.url",
    };
    let check = |block: &Block<'_>, place: &dyn Fn() -> String| match &block.kind {
        BlockKind::Image { source: Source::Base64 { data, .. }, .. } if is_larger(data, most) => {
            let place = format!("{}.{member}", place());
            Err(Refused::invalid(
                format!("`{place}`: this provider takes images of at most {most} bytes"),
                place,
            ))
        }
        _ => Ok(()),
    };
    for (index, message) in request.messages.iter().enumerate() {
        let message_at = || place_of_message(dialect, request.system_apart, index);
        for (part, block) in message.content.iter().enumerate() {
            let at = || place_of_part(dialect, &message_at(), part);
            check(block, &at)?;
            if let BlockKind::ToolResult { content, .. } = &block.kind {
                for (inner, block) in content.iter().enumerate() {
                    check(block, &|| place_in_result(dialect, &message_at(), &at(), inner))?;
                }
            }
        }
    }
    Ok(())
}

/// Whether base64 stands for more bytes than that.
fn is_larger(base64: &Text<'_>, most: u64) -> bool {
    let bytes = |digits: usize| digits as u64 / 4 * 3 + digits as u64 % 4 * 3 / 4;
    // As it stands in JSON it is no shorter than it is.
    bytes(base64.len()) > most && bytes(base64.decode().trim_end_matches('=').len()) > most
}

/// A part of a tool's result.
fn place_in_result(dialect: Dialect, message: &str, result: &str, part: usize) -> String {
    match dialect {
        // The result's content is the message's.
        Dialect::OpenAi => place_of_part(dialect, message, part),
        Dialect::Responses => format!("{message}.output[{part}]"),
        // Its text stands apart, and is no part.
        Dialect::Gemini => format!("{result}.functionResponse.parts"),
        _ => format!("{result}.content[{part}]"),
    }
}

/// A message, in its caller's own words.
pub(crate) fn place_of_message(dialect: Dialect, system_apart: bool, index: usize) -> String {
    let (system, list) = match dialect {
        Dialect::Gemini => ("systemInstruction", "contents"),
        Dialect::Responses => ("instructions", "input"),
        _ => ("system", "messages"),
    };
    match (system_apart, index) {
        (true, 0) => system.to_owned(),
        (true, index) => format!("{list}[{}]", index - 1),
        (false, index) => format!("{list}[{index}]"),
    }
}

/// A part of a message.
pub(crate) fn place_of_part(dialect: Dialect, message: &str, part: usize) -> String {
    match dialect {
        Dialect::Gemini => format!("{message}.parts[{part}]"),
        Dialect::Anthropic if message == "system" => format!("{message}[{part}]"),
        _ => format!("{message}.content[{part}]"),
    }
}

// ===== impl RemoteMedia =====

impl RemoteMedia<'_, '_> {
    /// Where it stands.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.decode().into_owned()
    }

    /// Puts what stands there into the request.
    pub fn bring_in(self, media_type: &str, bytes: &[u8]) {
        let media_type = Some(media_type.to_owned().into());
        *self.source = Source::Base64 { media_type, data: STANDARD.encode(bytes).into() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_request;

    const CALLS: [(Dialect, &str, &[&str]); 4] = [
        (
            Dialect::OpenAi,
            r#"{"model":"m","messages":[
                {"role":"system","content":"s"},
                {"role":"user","content":[{"type":"text","text":"t"},{"type":"image_url","image_url":{"url":"https:\/\/h/1"}}]},
                {"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]},
                {"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
                {"role":"tool","tool_call_id":"c","content":[{"type":"image_url","image_url":{"url":"http://h/2"}}]}]}"#,
            &[
                "messages[1].content[1].image_url.url true https://h/1",
                "messages[4].content[0].image_url.url true http://h/2",
            ],
        ),
        (
            Dialect::Anthropic,
            r#"{"model":"m","max_tokens":9,"system":"s","messages":[
                {"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://h/1"}}]},
                {"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":{}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":[
                    {"type":"text","text":"t"},{"type":"image","source":{"type":"url","url":"https://h/2"}}]}]}]}"#,
            &[
                "messages[0].content[0].source.url false https://h/1",
                "messages[2].content[0].content[1].source.url true https://h/2",
            ],
        ),
        (
            Dialect::Gemini,
            r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[
                {"text":"t"},{"fileData":{"mimeType":"image/png","fileUri":"https://h/1"}},
                {"fileData":{"mimeType":"application/pdf","fileUri":"https://h/2"}},
                {"fileData":{"fileUri":"gs://bucket/3"}}]}]}"#,
            &[
                "contents[0].parts[1].fileData.fileUri true https://h/1",
                "contents[0].parts[2].fileData.fileUri false https://h/2",
            ],
        ),
        (
            Dialect::Responses,
            r#"{"model":"m","instructions":"s","input":[
                {"role":"user","content":[{"type":"input_image","image_url":"https://h/1"},{"type":"input_file","file_url":"https://h/2"}]},
                {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
                {"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"https://h/3"}]}]}"#,
            &[
                "input[0].content[0].image_url true https://h/1",
                "input[0].content[1].file_url false https://h/2",
                "input[2].output[0].image_url true https://h/3",
            ],
        ),
    ];

    #[test]
    fn media_at_urls_is_found_and_named_as_its_caller_wrote_it() {
        for (dialect, call, expected) in CALLS {
            let mut request = decode_request(dialect, call).expect("is a request");
            let found = remote_media(&mut request);
            let found: Vec<_> = found
                .iter()
                .map(|media| format!("{} {} {}", media.place, media.is_image, media.url()))
                .collect();
            assert_eq!(found, expected, "{dialect:?}");
        }
    }

    #[test]
    fn what_was_brought_in_stands_in_base64_and_nowhere_else() {
        let (dialect, call, _) = CALLS[0];
        let mut request = decode_request(dialect, call).expect("is a request");
        remote_media(&mut request).remove(0).bring_in("image/png", b"\x89PNG");
        let BlockKind::Image { source, .. } = &request.messages[1].content[1].kind else {
            panic!("is an image")
        };
        let png = Source::Base64 { media_type: Some("image/png".into()), data: "iVBORw==".into() };
        assert_eq!(*source, png);
        let left: Vec<_> = remote_media(&mut request).iter().map(RemoteMedia::url).collect();
        assert_eq!(left, ["http://h/2"]);
    }
}

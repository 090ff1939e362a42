//! The input tokens of a whole request, in one walk over its JSON.

mod gemini;
mod ranking;

use ziggurat_core::{
    Call, Dialect, Operation,
    json::{Cursor, Fault, key_is, name_of},
};

use super::{ByLength, Count, CountTokens, escape, models};

/// Counts the input tokens of a request as it stands: its texts by `counter`, what frames them, and flat estimates for images,
/// audio and files. 0 where the body is not JSON; all strings of the body where its shape is not one of a conversation, a prompt, an
/// embedding's input or a ranking.
///
/// Tools and schemas are counted as the JSON they are, without its punctuation. Opaque ids, signatures and encrypted reasoning
/// count nothing. What is exact: prompts and embeddings whose texts are; conversations of plain strings with the models whose frame
/// OpenAI has published ([`TOKENS_PER_MESSAGE`]).
///
/// Walks the body once, and for counters that have a [`CountTokens::name`] once a [`Call`]; a counter that reads slowly is asked for its [`CountTokens::byte_limit`] and not more.
///
/// # Example
/// ```
/// use http::Request;
/// use ziggurat_catalog::tokens::{ByLength, count_input};
/// use ziggurat_core::{Body, Call};
///
/// let mut request = Request::post("/v1/chat/completions").body(Body::empty())?;
/// let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello world"}]}"#;
/// let call = Call::replace(&mut request, body.into())?;
/// // 3 for the message, 2 for its role, 4 for its text, 3 for the answer's beginning.
/// assert_eq!(count_input(&call, &ByLength).tokens, 12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn count_input(call: &Call, counter: &dyn CountTokens) -> Count {
    let model = call.model().unwrap_or_default();
    let count = || count(call.operation(), call.dialect(), model, call.text(), counter);
    let Some(name) = counter.name() else { return count() };
    let (tokens, exact) = call.input_tokens(name, || {
        let Count { tokens, exact } = count();
        (tokens, exact)
    });
    Count { tokens, exact }
}

/// As [`count_input`], on any text.
pub(super) fn count(
    operation: Operation,
    dialect: Dialect,
    model: &str,
    body: &str,
    counter: &dyn CountTokens,
) -> Count {
    let mut walk = Walk { counter, model, left: counter.byte_limit(), count: Count::exact(0) };
    match walk.body(operation, dialect, body) {
        Ok(()) => walk.count,
        // No body that core lets pass; the high side, all the same.
        Err(_) => Count::estimate(walk.count.tokens.max(ByLength.count(model, body).tokens)),
    }
}

/// A walk over one body.
struct Walk<'a> {
    counter: &'a dyn CountTokens,
    model: &'a str,
    /// Bytes that the counter is still willing to read.
    left: usize,
    count: Count,
}

/// A part of a message that is no text, as far as its own members tell.
#[derive(Default)]
struct Part<'a> {
    /// Its `type`, raw.
    kind: &'a str,
    /// A `source` or id that names data which is elsewhere.
    elsewhere: bool,
    /// Its `result`, raw: an image's data or text.
    result: &'a str,
}

/// Anthropic's `source`; strings are raw.
#[derive(Default)]
struct Source<'a> {
    kind: &'a str,
    media_type: &'a str,
    data: &'a str,
}

type Walked = Result<(), Fault>;

// ===== impl Walk =====

impl<'a> Walk<'a> {
    fn body(&mut self, operation: Operation, dialect: Dialect, body: &'a str) -> Walked {
        let mut cursor = Cursor::new(body);
        match operation {
            Operation::Chat | Operation::Messages | Operation::CountTokens => {
                let framed = dialect == Dialect::OpenAi && models::frame_is_published(self.model);
                self.estimate(TOKENS_PER_REPLY);
                self.count.exact = framed;
                cursor.object(|key, cursor| self.chat(dialect, key, cursor))
            }
            Operation::Responses => {
                self.estimate(TOKENS_PER_REPLY);
                cursor.object(|key, cursor| self.responses(key, cursor))
            }
            Operation::Generate | Operation::StreamGenerate | Operation::CountContent => {
                self.estimate(TOKENS_PER_REPLY);
                cursor.object(|key, cursor| self.asked_of_google(key, cursor))
            }
            Operation::EmbedContent => cursor.object(|key, cursor| self.embedded(key, cursor)),
            Operation::BatchEmbedContents => cursor.object(|key, cursor| self.batched(key, cursor)),
            Operation::Completions | Operation::Embeddings | Operation::Moderation => {
                cursor.object(|key, cursor| self.prompts(key, cursor))
            }
            Operation::Rerank => self.ranking(&mut cursor),
            _ => self.strings(&mut cursor),
        }
    }

    fn chat(&mut self, dialect: Dialect, key: &str, cursor: &mut Cursor<'a>) -> Walked {
        match &*name_of(key) {
            "messages" => cursor.array(|_, cursor| self.message(cursor)),
            "system" if dialect == Dialect::Anthropic => self.message_of(cursor),
            "tools" | "functions" => self.tools(dialect, cursor),
            "response_format" | "output_format" | "output_config" if cursor.peek() != b'n' => {
                self.json(cursor)
            }
            _ => Ok(()),
        }
    }

    fn responses(&mut self, key: &str, cursor: &mut Cursor<'a>) -> Walked {
        if key_is(key, "input") && cursor.peek() == b'[' {
            cursor.array(|_, cursor| self.message(cursor))
        } else if key_is(key, "input") || key_is(key, "instructions") {
            self.message_of(cursor)
        } else if key_is(key, "tools") {
            self.tools(Dialect::OpenAi, cursor)
        } else if key_is(key, "text") && cursor.peek() == b'{' {
            self.json(cursor)
        } else if key_is(key, "prompt") {
            cursor.object(|key, cursor| match key_is(key, "variables") {
                true => cursor.object(|_, cursor| self.content(cursor)),
                false => Ok(()),
            })
        } else {
            Ok(())
        }
    }

    fn prompts(&mut self, key: &str, cursor: &mut Cursor<'a>) -> Walked {
        if key_is(key, "prompt") || key_is(key, "input") {
            self.prompt(cursor)
        } else if key_is(key, "suffix") && cursor.peek() == b'"' {
            // How it is framed is not published.
            self.count.exact = false;
            self.text(cursor)
        } else {
            Ok(())
        }
    }

    /// A message without an object around it, so without a role.
    fn message_of(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        if cursor.peek() == b'n' {
            return Ok(());
        }
        self.frame(TOKENS_PER_MESSAGE);
        self.estimate(TOKENS_PER_ROLE);
        self.content(cursor)
    }

    fn message(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        self.frame(TOKENS_PER_MESSAGE);
        if cursor.peek() != b'{' {
            return self.content(cursor);
        }
        let mut part = Part::default();
        cursor.object(|key, cursor| match (plain(key), cursor.peek()) {
            ("role" | "content", b'"') => self.text(cursor),
            ("name", b'"') => {
                self.estimate(TOKENS_PER_NAME);
                self.text(cursor)
            }
            _ => self.member(&mut part, key, cursor),
        })?;
        self.settle(&part);
        Ok(())
    }

    /// A text, a part, or a list of them.
    fn content(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        match cursor.peek() {
            b'"' => self.text(cursor),
            b'[' => cursor.array(|_, cursor| self.content(cursor)),
            b'{' => {
                let mut part = Part::default();
                cursor.object(|key, cursor| self.member(&mut part, key, cursor))?;
                self.settle(&part);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A member of a part, or of an item of Responses; how it is framed is not published, so no count with one is exact.
    fn member(&mut self, part: &mut Part<'a>, key: &'a str, cursor: &mut Cursor<'a>) -> Walked {
        if cursor.peek() == b'n' {
            return Ok(());
        }
        self.count.exact = false;
        match plain(key) {
            "type" => part.kind = cursor.value()?,
            "text" | "content" | "output" | "summary" | "thinking" | "refusal" | "title" | "context"
            | "name" | "role" | "filename" | "tool_calls" | "function" | "function_call" => {
                return self.content(cursor);
            }
            "image_url" => {
                cursor.value()?;
                self.estimate(IMAGE_TOKENS);
            }
            "input_audio" => {
                let audio = cursor.value()?;
                self.estimate((decoded_len(audio) / AUDIO_BYTES_PER_TOKEN).max(1));
            }
            "file" => return cursor.object(|key, cursor| self.member(part, key, cursor)),
            "file_data" if cursor.peek() == b'"' => {
                let data = cursor.value()?;
                self.file("", data);
            }
            "source" if cursor.peek() == b'{' => return self.source(part, cursor),
            "file_id" | "file_url" => part.elsewhere = true,
            "result" if cursor.peek() == b'"' => {
                let earlier = std::mem::replace(&mut part.result, cursor.value()?);
                self.string(earlier);
            }
            name if OPAQUE.contains(&name) => {}
            _ => return self.json(cursor),
        }
        Ok(())
    }

    /// Charges for what only a part's `type` tells apart, wherever in the part it stood.
    fn settle(&mut self, part: &Part<'a>) {
        let kind = plain(part.kind);
        match kind {
            "image_generation_call" if !part.result.is_empty() => self.estimate(IMAGE_TOKENS),
            _ if !part.result.is_empty() => self.string(part.result),
            _ => {}
        }
        match kind {
            _ if !part.elsewhere => {}
            "image" | "input_image" | "computer_screenshot" => self.estimate(IMAGE_TOKENS),
            _ => self.estimate(PAGE_TOKENS),
        }
    }

    fn source(&mut self, part: &mut Part<'a>, cursor: &mut Cursor<'a>) -> Walked {
        let mut source = Source::default();
        cursor.object(|key, cursor| match plain(key) {
            "type" => cursor.value().map(|kind| source.kind = kind),
            "media_type" => cursor.value().map(|media_type| source.media_type = media_type),
            // Which of two a provider reads is not known: the earlier counts as text.
            "data" if cursor.peek() == b'"' => {
                let earlier = std::mem::replace(&mut source.data, cursor.value()?);
                self.string(earlier);
                Ok(())
            }
            "url" | "file_id" => {
                part.elsewhere = true;
                Ok(())
            }
            "content" => self.content(cursor),
            _ => self.json(cursor),
        })?;
        match source.data {
            "" => {}
            data if key_is(source.kind, "text") => self.string(data),
            data => self.file(plain(source.media_type), data),
        }
        Ok(())
    }

    /// Charges for a file that the body holds: a data URL, or base64 of the media type that is given.
    fn file(&mut self, media_type: &str, json: &str) {
        let data = plain(json);
        let (media_type, data) = match data.strip_prefix("data:").and_then(|url| url.split_once(',')) {
            Some((media_type, data)) => (media_type, data),
            None => (media_type, data),
        };
        let len = decoded_len(data);
        if media_type.starts_with("image/") {
            self.estimate(IMAGE_TOKENS);
        } else if media_type.starts_with("application/pdf")
            || (data.starts_with(PDF) && !media_type.starts_with("text/"))
        {
            self.estimate(len.div_ceil(PAGE_BYTES).max(1).saturating_mul(PAGE_TOKENS));
        } else {
            // Text, or what a provider makes text of.
            self.estimate(len.div_ceil(3));
        }
    }

    fn tools(&mut self, dialect: Dialect, cursor: &mut Cursor<'a>) -> Walked {
        let mut any = false;
        cursor.array(|_, cursor| {
            any = true;
            cursor.object(|key, cursor| match plain(key) {
                "input_image_mask" => {
                    self.estimate(IMAGE_TOKENS);
                    Ok(())
                }
                "cache_control" => Ok(()),
                _ => {
                    self.string(key);
                    self.json(cursor)
                }
            })
        })?;
        match (any, dialect) {
            (false, _) => {}
            (true, Dialect::Anthropic) => self.estimate(TOKENS_OF_CLAUDE_TOOLS),
            (true, _) => self.estimate(TOKENS_OF_TOOLS),
        }
        Ok(())
    }

    /// A prompt, several, or the tokens they consist of.
    fn prompt(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        match cursor.peek() {
            b'"' => self.text(cursor),
            b'[' => cursor.array(|_, cursor| self.prompt(cursor)),
            b'0'..=b'9' => {
                self.frame(1);
                Ok(())
            }
            b'{' => self.content(cursor),
            _ => Ok(()),
        }
    }

    /// JSON that the model is shown: its names, strings and other values.
    fn json(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        self.count.exact = false;
        match cursor.peek() {
            b'"' => self.text(cursor),
            b'[' => cursor.array(|_, cursor| self.json(cursor)),
            b'{' => cursor.object(|key, cursor| {
                self.string(key);
                self.json(cursor)
            }),
            _ => {
                let scalar = cursor.value()?;
                self.escaped(scalar);
                Ok(())
            }
        }
    }

    /// Every string that is a value.
    fn strings(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        self.count.exact = false;
        match cursor.peek() {
            b'"' => self.text(cursor),
            b'[' => cursor.array(|_, cursor| self.strings(cursor)),
            b'{' => cursor.object(|_, cursor| self.strings(cursor)),
            _ => Ok(()),
        }
    }

    /// The string that comes next; anything else counts nothing.
    fn text(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        if cursor.peek() == b'"' {
            let json = cursor.value()?;
            self.string(json);
        }
        Ok(())
    }

    fn string(&mut self, json: &str) {
        self.escaped(plain(json));
    }

    fn escaped(&mut self, escaped: &str) {
        let cost = escaped.len().saturating_add(BYTES_PER_CALL);
        if cost <= self.left {
            self.left = self.left.saturating_sub(cost);
            self.count += self.counter.count_escaped(self.model, escaped);
            return;
        }
        let (head, tail) = escape::split_escaped(escaped, self.left.saturating_sub(BYTES_PER_CALL));
        self.left = 0;
        if !head.is_empty() {
            self.count += self.counter.count_escaped(self.model, head);
        }
        self.count += ByLength.count_escaped(self.model, tail);
    }

    fn estimate(&mut self, tokens: u64) {
        self.count += Count::estimate(tokens);
    }

    /// Adds what is as exact as the rest.
    fn frame(&mut self, tokens: u64) {
        self.count += Count::exact(tokens);
    }
}

/// A raw string without its quotes; not unescaped.
fn plain(json: &str) -> &str {
    let json = json.strip_prefix('"').unwrap_or(json);
    json.strip_suffix('"').unwrap_or(json)
}

/// How many bytes base64 of this length stands for.
fn decoded_len(base64: &str) -> u64 {
    (base64.len() as u64).saturating_mul(3) / 4
}

/// What a message takes beside its role and content, per OpenAI
/// (<https://github.com/openai/openai-cookbook/blob/main/examples/How_to_count_tokens_with_tiktoken.ipynb>: gpt-3.5-turbo, gpt-4,
/// gpt-4o). Taken for all others too: Anthropic's own example of a system prompt and a message has 14 tokens where this gives 18
/// (<https://platform.claude.com/docs/en/build-with-claude/token-counting>).
pub const TOKENS_PER_MESSAGE: u64 = 3;

/// What a message's `name` takes beside itself (source: as [`TOKENS_PER_MESSAGE`]); not always, so no count with one is exact.
pub const TOKENS_PER_NAME: u64 = 1;

/// What opens the answer (source: as [`TOKENS_PER_MESSAGE`]).
pub const TOKENS_PER_REPLY: u64 = 3;

/// What closes OpenAI's list of tools (source: as [`TOKENS_PER_MESSAGE`]); the rest of its frame is about what JSON's names take.
pub const TOKENS_OF_TOOLS: u64 = 12;

/// The system prompt that Anthropic adds to a request with tools: 346 tokens for most models of Claude 4
/// (<https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview#pricing>).
pub const TOKENS_OF_CLAUDE_TOOLS: u64 = 346;

/// An image of any size, inline or by URL. Claude takes at most about 1,600 up to 1,568 pixels a side, and at most 4,784 with the
/// newest models (<https://platform.claude.com/docs/en/build-with-claude/vision>); gpt-4o 85 to 1,445
/// (<https://platform.openai.com/docs/guides/images-vision>), gpt-4o-mini far more.
pub const IMAGE_TOKENS: u64 = 1_600;

/// A page of a PDF, and any file that is named but not enclosed: 1,500 to 3,000
/// (<https://platform.claude.com/docs/en/build-with-claude/pdf-support>).
pub const PAGE_TOKENS: u64 = 3_000;

/// Bytes of a PDF that are taken for a page: between a page of set text (10 KiB) and a scanned one (100 KiB); our choice.
pub const PAGE_BYTES: u64 = 32 << 10;

/// Bytes of audio for a token: MP3 of 64 kbit/s at ten tokens a second (<https://platform.openai.com/docs/guides/audio>); WAV is
/// overestimated.
pub const AUDIO_BYTES_PER_TOKEN: u64 = 800;

/// A role is one token in every vocabulary.
const TOKENS_PER_ROLE: u64 = 1;

/// What asking a counter costs, in bytes it could have read: many small strings end its limit as a large one does.
const BYTES_PER_CALL: usize = 16;

/// The beginning of every PDF, `%PDF-`, in base64.
const PDF: &str = "JVBERi";

/// Members that no model is shown as text.
const OPAQUE: [&str; 15] = [
    "id",
    "call_id",
    "tool_call_id",
    "tool_use_id",
    "approval_request_id",
    "cache_control",
    "citations",
    "encrypted_content",
    "signature",
    "data",
    "detail",
    "format",
    "status",
    "index",
    "object",
];

#[cfg(test)]
mod tests;

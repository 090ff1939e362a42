//! What Google's callers ask, as far as it has tokens.

use ziggurat_core::{
    Dialect,
    json::{Cursor, key_is, name_of},
};

use super::{PAGE_TOKENS, TOKENS_PER_MESSAGE, TOKENS_PER_ROLE, Walk, Walked, plain};

// ===== impl Walk =====

impl<'a> Walk<'a> {
    /// A member of a request for content, or of one to count it, which may hold the other.
    pub(super) fn asked_of_google(&mut self, key: &'a str, cursor: &mut Cursor<'a>) -> Walked {
        match &*name_of(key) {
            "generateContentRequest" | "generate_content_request" if cursor.peek() == b'{' => {
                cursor.object(|key, cursor| self.generating(key, cursor))
            }
            _ => self.generating(key, cursor),
        }
    }

    fn generating(&mut self, key: &str, cursor: &mut Cursor<'a>) -> Walked {
        match &*name_of(key) {
            "contents" => cursor.array(|_, cursor| self.turn(cursor)),
            "systemInstruction" | "system_instruction" => self.turn(cursor),
            "tools" => self.tools(Dialect::Gemini, cursor),
            "generationConfig" | "generation_config" if cursor.peek() == b'{' => {
                cursor.object(|key, cursor| match name_of(key).contains("chema") {
                    true => self.json(cursor),
                    false => Ok(()),
                })
            }
            _ => Ok(()),
        }
    }

    /// A member of Google's request for several embeddings.
    pub(super) fn batched(&mut self, key: &'a str, cursor: &mut Cursor<'a>) -> Walked {
        match key_is(key, "requests") {
            true => cursor.array(|_, cursor| cursor.object(|key, cursor| self.embedded(key, cursor))),
            false => Ok(()),
        }
    }

    /// A member of Google's request for one embedding.
    pub(super) fn embedded(&mut self, key: &'a str, cursor: &mut Cursor<'a>) -> Walked {
        match (&*name_of(key), cursor.peek()) {
            ("content", b'{') => cursor.object(|key, cursor| self.pieces(key, cursor)),
            ("content", _) => self.content(cursor),
            ("title", b'"') => {
                // How it is framed is not published.
                self.count.exact = false;
                self.text(cursor)
            }
            _ => Ok(()),
        }
    }

    /// One of Gemini's `contents`.
    fn turn(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        self.frame(TOKENS_PER_MESSAGE);
        self.estimate(TOKENS_PER_ROLE);
        if cursor.peek() != b'{' {
            return self.content(cursor);
        }
        cursor.object(|key, cursor| self.pieces(key, cursor))
    }

    /// A member of one of Gemini's contents.
    fn pieces(&mut self, key: &'a str, cursor: &mut Cursor<'a>) -> Walked {
        match (&*name_of(key), cursor.peek()) {
            ("parts", b'[') => cursor.array(|_, cursor| self.piece(cursor)),
            ("parts", _) => self.piece(cursor),
            _ => Ok(()),
        }
    }

    /// One of Gemini's `parts`.
    fn piece(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        if cursor.peek() != b'{' {
            return self.content(cursor);
        }
        cursor.object(|key, cursor| match &*name_of(key) {
            "text" => self.text(cursor),
            "inlineData" | "inline_data" if cursor.peek() == b'{' => {
                let (mut kind, mut data) = ("", "");
                cursor.object(|key, cursor| {
                    match &*name_of(key) {
                        "mimeType" | "mime_type" => kind = cursor.value()?,
                        "data" => data = cursor.value()?,
                        _ => {}
                    }
                    Ok(())
                })?;
                self.file(plain(kind), data);
                Ok(())
            }
            "fileData" | "file_data" => {
                self.estimate(PAGE_TOKENS);
                Ok(())
            }
            "thoughtSignature" | "thought_signature" | "thought" => Ok(()),
            _ => self.json(cursor),
        })
    }
}

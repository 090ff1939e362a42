//! What has passed of a stream.

use ziggurat_core::Dialect;
use ziggurat_dialect::{Delta, Event, Opening, Scope, StreamDecoder};

use super::splice::Splice;

/// Reads a stream as it passes, and keeps its text as long as that is all there is.
#[derive(Debug)]
pub(super) struct Reader {
    dialect: Dialect,
    decoder: StreamDecoder,
    start: Option<Start>,
    /// `None` once it was more than text.
    text: Option<String>,
    /// Blocks of text that this stream has opened.
    opened: u32,
}

/// What the chunks of an answer have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) created: Option<u64>,
}

// ===== impl Reader =====

impl Reader {
    pub(super) fn new(dialect: Dialect) -> Self {
        let (decoder, text) = (StreamDecoder::new(dialect), Some(String::new()));
        Self { dialect, decoder, start: None, text, opened: 0 }
    }

    /// Another stream follows, which goes on with the text.
    pub(super) fn again(&mut self) {
        self.decoder = StreamDecoder::new(self.dialect);
        self.opened = 0;
    }

    /// Reads the data of an event, and writes what it is in the one answer to `out`. Whether it says that the stream has failed.
    pub(super) fn read(&mut self, data: &[u8], splice: Option<&mut Splice>, out: &mut Vec<u8>) -> bool {
        let Self { decoder, start, text, opened, .. } = self;
        let (mut splice, mut failed) = (splice, false);
        let mut take = |mut event: Event<'_>| {
            if let Some(splice) = &mut splice {
                splice.strip(&mut event);
            }
            match &event {
                Event::Start { id, model, created } => {
                    start.get_or_insert_with(|| Start {
                        id: id.as_ref().map(|id| id.decode().into_owned()),
                        model: model.as_ref().map(|model| model.decode().into_owned()),
                        created: *created,
                    });
                }
                Event::Open { choice: 0, opening: Opening::Text, .. } if *opened == 0 => *opened = 1,
                Event::Delta { choice: 0, delta: Delta::Text(more), .. } => match text {
                    Some(known) if known.len() + more.len() <= MAX_TEXT => known.push_str(&more.decode()),
                    _ => *text = None,
                },
                Event::Error(_) => failed = true,
                Event::Extra { scope: Scope::Answer | Scope::Choice, .. } => {}
                Event::Usage(_) | Event::Ping | Event::Logprobs { .. } => {}
                // A block that is whole, or an answer, has nothing to be gone on with; and what else there is goes on by its own rules.
                _ => *text = None,
            }
            if !failed && let Some(splice) = &mut splice {
                splice.write(&event, out);
            }
        };
        let Ok(data) = std::str::from_utf8(data) else {
            self.give_up();
            return false;
        };
        if decoder.decode(data, &mut take).is_err() {
            self.give_up();
        }
        failed
    }

    /// The text so far, if another deployment can go on with it.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref().filter(|text| !text.is_empty())
    }

    pub(super) fn start(&self) -> Start {
        self.start.clone().unwrap_or_default()
    }

    pub(super) fn give_up(&mut self) {
        self.text = None;
    }
}

/// Longest text in bytes that is kept.
const MAX_TEXT: usize = 1 << 20;

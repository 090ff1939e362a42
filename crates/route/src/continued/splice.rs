//! One answer of two.

use ziggurat_dialect::{Delta, Event, Opening, StreamEncoder, Text};

use super::{Options, reader::Start};

/// Writes the rest of an answer as that of the one before it: by its id, in its block.
#[derive(Debug)]
pub(super) struct Splice {
    encoder: StreamEncoder,
    start: Start,
    /// White space that the text before ends with, and the rest may repeat.
    held: String,
    /// Whether the encoder knows of what has been written before.
    primed: bool,
}

// ===== impl Splice =====

impl Splice {
    pub(super) fn new(options: Options, start: Start, held: String) -> Self {
        let encoder = StreamEncoder::new(options.dialect, 0, options.include_usage);
        Self { encoder, start, held, primed: false }
    }

    /// Takes from a piece of text what was there already.
    pub(super) fn strip(&mut self, event: &mut Event<'_>) {
        let Event::Delta { delta: Delta::Text(text), .. } = event else { return };
        if self.held.is_empty() || text.is_empty() {
            return;
        }
        let decoded = text.decode().into_owned();
        let same = self.held.chars().zip(decoded.chars()).take_while(|(held, new)| held == new);
        let same: usize = same.map(|(held, _)| held.len_utf8()).sum();
        self.held.drain(..same);
        if same < decoded.len() {
            self.held.clear();
        }
        *text = Text::from(decoded[same..].to_owned());
    }

    /// Writes an event, without what the answer has already.
    pub(super) fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            // The first one's are the answer's; what stands beside it is nobody's in particular.
            Event::Start { .. } | Event::Extra { choice: None, .. } | Event::Error(_) => {}
            Event::Delta { delta: Delta::Text(text), .. } if text.is_empty() => {}
            Event::Open { block, opening: Opening::Text, .. } if !self.primed => self.prime(*block),
            Event::Open { .. } | Event::Finish { .. } | Event::End if !self.primed => {
                // It has no more text: the block is whole.
                self.prime(NO_BLOCK);
                self.encoder.encode(&Event::Close { choice: 0, block: NO_BLOCK }, out);
                self.encoder.encode(event, out);
            }
            event => self.encoder.encode(event, out),
        }
    }

    /// Tells the encoder what the caller has had, as if it had written that.
    fn prime(&mut self, block: u64) {
        self.primed = true;
        let Start { id, model, created } = self.start.clone();
        let mut had = Vec::new();
        let (id, model) = (id.map(Text::from), model.map(Text::from));
        let begins = [
            Event::Start { id, model, created },
            Event::Open { choice: 0, block, opening: Opening::Text },
            Event::Delta { choice: 0, block, delta: Delta::Text("".into()) },
        ];
        begins.iter().for_each(|event| self.encoder.encode(event, &mut had));
    }
}

/// No provider counts so far.
const NO_BLOCK: u64 = u64::MAX;

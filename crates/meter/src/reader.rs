//! What a passing event means, read as cheaply as the question allows.

use ziggurat_core::{AttemptHandle, Convention, Dialect, Outcome, Usage};
use ziggurat_dialect::StreamDecoder;
use ziggurat_dialect::openai::{correct_usage, read_event_usage};

use crate::{
    chunk_with_cost, feed,
    feed::whole,
    scan::{Facts, scan},
};

/// Reads the events of a stream that passes through unchanged.
///
/// Each is checked to be JSON, in one pass that allocates nothing and finds what decides its fate. Only for a listener it is decoded
/// too, which changes nothing of what passes.
#[derive(Debug)]
pub(crate) struct Reader {
    dialect: Dialect,
    /// Decodes for a listener.
    decoder: Option<StreamDecoder>,
    /// Whether it is no chat: sound, what was heard, images.
    media: bool,
    refused: bool,
    /// Whether anything of an answer was seen.
    begun: bool,
    /// How many answers must end.
    choices: u64,
    /// Which have.
    finished: Vec<u64>,
    pub(crate) state: State,
}

/// How far the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// The terminator was seen.
    Done,
    /// An error was seen.
    Failed,
}

/// What is to be done with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Forward,
    /// This goes in place of its data: a number was put right.
    Correct(String),
    /// It stays here: the usage that was asked for by us, or a terminator behind an error.
    Withhold,
    /// The bytes are no event.
    Broken,
    /// A terminator with no answer ahead of it.
    Empty,
}

// ===== impl Reader =====

impl Reader {
    pub(crate) fn new(dialect: Dialect, listened: bool, choices: u64) -> Self {
        Self {
            dialect,
            decoder: listened.then(|| StreamDecoder::new(dialect)),
            media: false,
            refused: false,
            begun: false,
            choices: choices.clamp(1, MAX_CHOICES),
            finished: Vec::new(),
            state: State::Running,
        }
    }

    /// Reads events of media, if it is `media`.
    pub(crate) fn of_media(mut self, media: bool) -> Self {
        self.media = media;
        self
    }

    /// Reads one event's data.
    pub(crate) fn event(
        &mut self,
        data: &[u8],
        hide_usage: bool,
        mut handle: Option<&mut AttemptHandle>,
    ) -> Verdict {
        // By the standard an event without data is none.
        if data.trim_ascii().is_empty() {
            return Verdict::Forward;
        }
        if self.dialect == Dialect::OpenAi && data.trim_ascii() == b"[DONE]" {
            return self.terminator();
        }
        let finished = &mut self.finished;
        let known = finished.len();
        let read = std::str::from_utf8(data).ok().and_then(|text| {
            let facts = scan(text, &mut |index| {
                if !finished.contains(&index) && (finished.len() as u64) < MAX_CHOICES {
                    finished.push(index);
                }
            })?;
            Some((text, facts))
        });
        let Some((text, facts)) = read else {
            // What a half says does not count.
            self.finished.truncate(known);
            return Verdict::Broken;
        };
        if self.media {
            return self.media(&facts, text, handle);
        }
        if let Some(handle) = &mut handle {
            self.feed(text, handle);
        }
        match self.dialect {
            Dialect::Anthropic => self.anthropic(&facts),
            Dialect::Responses => self.responses(&facts),
            Dialect::Gemini => self.openai(&facts, false),
            _ => match self.openai(&facts, hide_usage) {
                Verdict::Forward if facts.usage => {
                    let corrected = correct_usage(text);
                    let text = corrected.as_deref().unwrap_or(text);
                    let cost = handle.and_then(|handle| handle.cost());
                    let told = cost.and_then(|cost| chunk_with_cost(text, cost));
                    told.or(corrected).map_or(Verdict::Forward, Verdict::Correct)
                }
                verdict => verdict,
            },
        }
    }

    /// Whether all that was asked for has ended, though the terminator is missing.
    pub(crate) fn all_finished(&self) -> bool {
        match self.media {
            true => !self.finished.is_empty(),
            false => {
                matches!(self.dialect, Dialect::OpenAi | Dialect::Gemini)
                    && self.finished.len() as u64 >= self.choices
            }
        }
    }

    /// How an answer ends that is whole.
    pub(crate) const fn whole(&self) -> Outcome {
        whole(self.refused)
    }

    /// The bytes have ended: a dialect without a terminator says only now how its answers did.
    pub(crate) fn finish(&mut self, handle: Option<&mut AttemptHandle>) {
        if let (Dialect::Gemini, Some(decoder), Some(handle)) = (self.dialect, &mut self.decoder, handle) {
            let refused = &mut self.refused;
            decoder.finish(&mut |event| {
                let _read_by_state = feed(handle, &event, refused);
            });
        }
    }

    fn feed(&mut self, text: &str, handle: &mut AttemptHandle) {
        let Some(decoder) = &mut self.decoder else { return };
        let refused = &mut self.refused;
        let read = decoder.decode(text, &mut |event| {
            // How it ends is read from the terminator itself.
            let _read_by_state = feed(handle, &event, refused);
        });
        if read.is_err() {
            // JSON in a shape that is not known passes like any other; as nobody can say what it holds, it counts as content.
            handle.content(text.len());
        }
    }

    /// An event of a transcription, of speech or of images: its last one tells what was used.
    fn media(&mut self, facts: &Facts<'_>, text: &str, handle: Option<&mut AttemptHandle>) -> Verdict {
        if facts.error || facts.kind == Some("\"error\"") {
            self.state = State::Failed;
            return Verdict::Forward;
        }
        self.begun = true;
        let is_last = facts.kind.is_some_and(|kind| LAST.contains(&kind));
        if is_last {
            self.finished.push(self.finished.len() as u64);
        }
        if let Some(handle) = handle {
            handle.content(0);
            let is_drawn = facts.kind.is_some_and(|kind| kind.starts_with("\"image"));
            let mut usage = facts.usage.then(|| read_event_usage(text)).flatten();
            if is_drawn && is_last {
                let said = usage.get_or_insert(Usage::new(Convention::OPENAI));
                said.images = Some(self.finished.len() as u64);
                // Each image has a usage of its own.
                if let Some(earlier) = handle.attempt().usage {
                    add(said, &earlier);
                }
            }
            if let Some(usage) = usage {
                handle.usage(&usage);
            }
        }
        Verdict::Forward
    }

    fn terminator(&mut self) -> Verdict {
        if self.state == State::Failed {
            return Verdict::Withhold;
        }
        if !self.begun {
            return Verdict::Empty;
        }
        self.state = State::Done;
        Verdict::Forward
    }

    fn anthropic(&mut self, facts: &Facts<'_>) -> Verdict {
        match facts.kind {
            Some("\"message_stop\"") => return self.terminator(),
            Some("\"error\"") => self.state = State::Failed,
            None if facts.error || facts.complains() => self.state = State::Failed,
            Some("\"ping\"") => {}
            _ => self.begun = true,
        }
        Verdict::Forward
    }

    fn responses(&mut self, facts: &Facts<'_>) -> Verdict {
        match facts.kind {
            Some("\"response.completed\"" | "\"response.incomplete\"") => {
                self.begun = true;
                return self.terminator();
            }
            Some("\"response.failed\"" | "\"error\"") => self.state = State::Failed,
            None if facts.error || facts.complains() => self.state = State::Failed,
            _ => self.begun = true,
        }
        Verdict::Forward
    }

    fn openai(&mut self, facts: &Facts<'_>, hide_usage: bool) -> Verdict {
        if facts.error || facts.complains() {
            self.state = State::Failed;
            return Verdict::Forward;
        }
        self.begun |= facts.choices.unwrap_or(0) > 0;
        match hide_usage && facts.usage && facts.choices.unwrap_or(0) == 0 {
            true => Verdict::Withhold,
            false => Verdict::Forward,
        }
    }
}

fn add(usage: &mut Usage, earlier: &Usage) {
    let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    };
    usage.input = sum(usage.input, earlier.input);
    usage.output = sum(usage.output, earlier.output);
    usage.image_input = sum(usage.image_input, earlier.image_input);
    usage.image_output = sum(usage.image_output, earlier.image_output);
}

/// The events that say that a piece of media is whole.
const LAST: [&str; 4] = [
    "\"transcript.text.done\"",
    "\"speech.audio.done\"",
    "\"image_generation.completed\"",
    "\"image_edit.completed\"",
];

/// Most answers that can be asked for.
const MAX_CHOICES: u64 = 128;

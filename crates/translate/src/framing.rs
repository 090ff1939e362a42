//! How a provider's stream is cut into what its decoder reads.

use bytes::Bytes;
use ziggurat_core::Dialect;
use ziggurat_dialect::{event_stream, json_array, ndjson, sse};

/// What cuts it.
pub(crate) enum Frames {
    /// Server-sent events.
    Events(sse::Decoder),
    /// Lines of JSON.
    Lines(ndjson::Decoder),
    /// AWS's binary messages.
    Messages(event_stream::Decoder),
    /// The elements of one array.
    Elements(json_array::Decoder),
}

/// Why it cannot be cut any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A piece is too long.
    TooLong,
    /// The bytes are not what they say they are.
    Corrupt,
}

// ===== impl Frames =====

impl Frames {
    /// For a stream of a provider of some dialect, none of whose pieces is longer than `max_event` bytes.
    pub(crate) fn new(dialect: Dialect, max_event: usize) -> Self {
        match dialect {
            Dialect::Converse => Self::Messages(event_stream::Decoder::new(max_event)),
            Dialect::Ollama => Self::Lines(ndjson::Decoder::new(max_event)),
            _ => Self::Events(sse::Decoder::new(max_event)),
        }
    }

    /// For a stream of Gemini's that comes as an array.
    pub(crate) fn array(max_event: usize) -> Self {
        Self::Elements(json_array::Decoder::new(max_event))
    }

    /// Whether a stream of some dialect is one of server-sent events.
    pub(crate) const fn are_events(dialect: Dialect) -> bool {
        !matches!(dialect, Dialect::Converse | Dialect::Ollama)
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        match self {
            Self::Events(decoder) => decoder.push(chunk),
            Self::Lines(decoder) => decoder.push(chunk),
            Self::Messages(decoder) => decoder.push(chunk),
            Self::Elements(decoder) => decoder.push(chunk),
        }
    }

    pub(crate) fn next(&mut self) -> Option<Result<sse::Frame, Fault>> {
        Some(match self {
            Self::Events(decoder) => decoder.next()?.map_err(|_| Fault::TooLong),
            Self::Lines(decoder) => decoder.next()?.map_err(|_| Fault::TooLong),
            Self::Elements(decoder) => decoder.next()?.map_err(|_| Fault::TooLong),
            Self::Messages(decoder) => decoder.next()?.map_err(|error| match error {
                event_stream::Error::TooLarge { .. } => Fault::TooLong,
                _ => Fault::Corrupt,
            }),
        })
    }

    /// What is left over at the end of the bytes.
    pub(crate) fn finish(&mut self) -> Option<sse::Frame> {
        match self {
            Self::Events(decoder) => decoder.finish(),
            Self::Lines(decoder) => decoder.finish(),
            Self::Messages(decoder) => decoder.finish(),
            Self::Elements(decoder) => decoder.finish(),
        }
    }
}

//! How the bytes of a body are divided into chunks: pure, so that the borders are exact.

use bytes::{Bytes, BytesMut};

use crate::fault::Chunking;

/// What one event of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Up to and with the blank line after it. Also what stands in for formats without events: one event.
    Sse,
    /// A line.
    Ndjson,
    /// A frame that begins with its own length, 32 bits, big-endian.
    AwsEventStream,
}

/// The chunks of a body that is repeated, up to a total of bytes.
#[derive(Debug)]
pub(super) struct Chunks {
    body: Bytes,
    chunking: Chunking,
    framing: Framing,
    position: u64,
    total: u64,
}

// ===== impl Framing =====

impl Framing {
    pub(super) fn of(content_type: &str) -> Self {
        match content_type {
            "application/x-ndjson" | "application/stream+json" => Self::Ndjson,
            "application/vnd.amazon.eventstream" => Self::AwsEventStream,
            _ => Self::Sse,
        }
    }

    /// Where the first event of these bytes ends; what is incomplete ends with the bytes.
    fn event_end(self, bytes: &[u8]) -> usize {
        let end = match self {
            Self::Sse => sse_event_end(bytes),
            Self::Ndjson => bytes.iter().position(|byte| *byte == b'\n').map(|newline| newline + 1),
            Self::AwsEventStream => bytes
                .first_chunk()
                .map(|length| u32::from_be_bytes(*length) as usize)
                .filter(|length| *length > 0),
        };
        end.unwrap_or(bytes.len()).min(bytes.len())
    }
}

/// Blank lines before an event count as its own, so that no chunk is without content.
fn sse_event_end(bytes: &[u8]) -> Option<usize> {
    let (mut line, mut content) = (0, false);
    loop {
        let end = line + bytes.get(line..)?.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
        let blank = end == line;
        line = if bytes[end..].starts_with(b"\r\n") { end + 2 } else { end + 1 };
        if blank && content {
            return Some(line);
        }
        content |= !blank;
    }
}

// ===== impl Chunks =====

impl Chunks {
    pub(super) fn new(body: Bytes, repeat: u64, chunking: Chunking, framing: Framing) -> Self {
        let total = (body.len() as u64).saturating_mul(repeat);
        Self { body, chunking, framing, position: 0, total }
    }

    /// The bytes that all chunks have together.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn truncate(&mut self, total: u64) {
        self.total = self.total.min(total);
    }

    pub(super) fn is_done(&self) -> bool {
        self.position == self.total
    }

    fn take(&mut self, length: usize) -> Bytes {
        let offset = self.offset();
        if offset + length <= self.body.len() {
            self.position += length as u64;
            return self.body.slice(offset..offset + length);
        }
        // Only a chunk that reaches over the seam of two repetitions is copied.
        let mut chunk = BytesMut::with_capacity(length);
        while chunk.len() < length {
            let offset = self.offset();
            let piece = (length - chunk.len()).min(self.body.len() - offset);
            chunk.extend_from_slice(&self.body[offset..offset + piece]);
            self.position += piece as u64;
        }
        chunk.freeze()
    }

    /// Where in the body the next chunk begins.
    fn offset(&self) -> usize {
        (self.position % self.body.len() as u64) as usize
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.is_done() {
            return None;
        }
        let rest = &self.body[self.offset()..];
        let length = match self.chunking {
            Chunking::Unspecified => rest.len().min(UNSPECIFIED_BYTES),
            Chunking::Size(bytes) => bytes.get(),
            Chunking::Events => self.framing.event_end(rest),
        };
        let left = usize::try_from(self.total - self.position).unwrap_or(usize::MAX);
        Some(self.take(length.min(left)))
    }
}

/// Small enough that what the log says was written follows closely what was.
const UNSPECIFIED_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn chunks(body: &'static [u8], repeat: u64, chunking: Chunking, framing: Framing) -> Vec<Bytes> {
        Chunks::new(Bytes::from_static(body), repeat, chunking, framing).collect()
    }

    fn size(bytes: usize) -> Chunking {
        Chunking::Size(NonZeroUsize::new(bytes).unwrap())
    }

    #[test]
    fn divides_by_size_across_repetitions() {
        assert_eq!(chunks(b"abcde", 2, size(3), Framing::Sse), ["abc", "dea", "bcd", "e"]);
        assert_eq!(chunks(b"ab", 4, size(7), Framing::Sse), ["abababa", "b"]);
        assert_eq!(chunks(b"abc", 1, size(usize::MAX), Framing::Sse), ["abc"]);
        assert_eq!(chunks(b"", 9, size(2), Framing::Sse), [""; 0]);
    }

    #[test]
    fn divides_at_most_by_sixteen_kibibytes_where_nothing_is_specified() {
        static BODY: [u8; 20_000] = [b'x'; 20_000];
        let lengths =
            chunks(&BODY, 2, Chunking::Unspecified, Framing::Sse).iter().map(Bytes::len).collect::<Vec<_>>();
        assert_eq!(lengths, [16_384, 3_616, 16_384, 3_616]);
    }

    #[test]
    fn divides_server_sent_events_whatever_their_line_ends() {
        let body = b": hi\n\n\ndata: 1\r\ndata: 2\r\n\r\ndata: 3\r\rdata: 4";
        let events = [": hi\n\n", "\ndata: 1\r\ndata: 2\r\n\r\n", "data: 3\r\r", "data: 4"];
        assert_eq!(chunks(body, 1, Chunking::Events, Framing::Sse), events);
    }

    #[test]
    fn divides_lines_and_frames() {
        assert_eq!(chunks(b"{}\n[]\n1", 1, Chunking::Events, Framing::Ndjson), ["{}\n", "[]\n", "1"]);
        let frames =
            chunks(b"\0\0\0\x06ab\0\0\0\x05c\0\0\0\xffd", 1, Chunking::Events, Framing::AwsEventStream);
        assert_eq!(frames, [&b"\0\0\0\x06ab"[..], b"\0\0\0\x05c", b"\0\0\0\xffd"]);
        assert_eq!(chunks(b"\0\0\0\0", 1, Chunking::Events, Framing::AwsEventStream), ["\0\0\0\0"]);
    }

    #[test]
    fn stops_at_the_total_it_is_truncated_to() {
        let mut chunks = Chunks::new(Bytes::from_static(b"abc"), u64::MAX, size(2), Framing::Sse);
        chunks.truncate(5);
        assert_eq!(chunks.total(), 5);
        assert_eq!(chunks.by_ref().collect::<Vec<_>>(), ["ab", "ca", "b"]);
        assert!(chunks.is_done());
    }
}

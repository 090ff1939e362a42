//! What the codecs promise of any bytes, as checks that the fuzz targets (`fuzz/`) share with the test beside this file.
//!
//! Nothing panics; what is written is JSON; a stream reads the same wherever it is cut, and ends once; and what is allocated, from first to
//! last and not only at one time, is at most a multiple of the input ([`MULTIPLE`]), which bounds the time too. An input begins with a line
//! of its own ([`Head`]) that chooses.

use std::{str, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use ziggurat_core::{Cause, Dialect, ParamPolicy, Problem};
use ziggurat_dialect::{
    Encoding, Event, StreamDecoder, StreamEncoder, add_hints, anthropic, cohere, converse,
    decode_answer_error, decode_error, decode_error_of, decode_request, decode_response, encode_request,
    encode_response, event_stream, gemini, json_array, ndjson, ollama, openai, responses, scrub,
    sse::{self, Frame},
};

/// Who asks.
pub(crate) const CALLERS: [Dialect; 4] =
    [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini];

/// Who answers.
pub(crate) const PROVIDERS: [Dialect; 7] = [
    Dialect::OpenAi,
    Dialect::Anthropic,
    Dialect::Responses,
    Dialect::Gemini,
    Dialect::Converse,
    Dialect::Ollama,
    Dialect::Cohere,
];

/// Bytes that one step may allocate in all for each byte of its input, and whatever the input.
const MULTIPLE: u64 = 512;
const FLOOR: u64 = 16 << 10;

/// The first bytes of an input: which dialect or framing, a choice of its own for each check, where the rest is cut twice, and a byte that is
/// passed over (a line end, where a person wrote it).
pub(crate) struct Head {
    pub(crate) which: usize,
    pub(crate) mode: usize,
    cuts: [usize; 2],
}

impl Head {
    pub(crate) const LENGTH: usize = 7;

    pub(crate) fn read(input: &[u8]) -> Option<(Self, &[u8])> {
        let ([which, mode, a, b, c, d, _], rest) = input.split_first_chunk::<{ Self::LENGTH }>()?;
        let digit = |byte: &u8| usize::from(byte.wrapping_sub(b'0'));
        let cut = |high, low| usize::from(u16::from_be_bytes([high, low]));
        Some((Self { which: digit(which), mode: digit(mode), cuts: [cut(*a, *b), cut(*c, *d)] }, rest))
    }

    /// The bytes in pieces: cut at the two places, and where they are the same, into single bytes.
    pub(crate) fn pieces(&self, bytes: &Bytes) -> Vec<Bytes> {
        let [a, b] = self.cuts.map(|cut| cut % (bytes.len() + 1));
        if a == b {
            return (0..bytes.len()).map(|at| bytes.slice(at..=at)).collect();
        }
        let (a, b) = (a.min(b), a.max(b));
        vec![bytes.slice(..a), bytes.slice(a..b), bytes.slice(b..)]
    }
}

/// Runs one step, and holds it to its memory.
pub(crate) fn measured<T>(what: &str, input: usize, run: impl FnOnce() -> T) -> T {
    measured_within(what, input, FLOOR, run)
}

/// Runs one step, which may allocate so many bytes whatever the input.
pub(crate) fn measured_within<T>(what: &str, input: usize, floor: u64, run: impl FnOnce() -> T) -> T {
    let mut given = None;
    let counted = allocation_counter::measure(|| given = Some(run()));
    let limit = MULTIPLE * input as u64 + floor;
    let total = counted.bytes_total;
    assert!(total <= limit, "{what}: {total} bytes allocated for {input}, {limit} are the most");
    given.expect("has run")
}

pub(crate) fn is_json(what: &str, out: &[u8]) {
    let read = serde_json::from_slice::<IgnoredAny>(out);
    assert!(read.is_ok() && str::from_utf8(out).is_ok(), "{what}: {}", String::from_utf8_lossy(out));
}

// ===== framings =====

/// A decoder of frames, whichever.
pub(crate) trait Framing {
    fn push(&mut self, piece: Bytes);
    fn next(&mut self) -> Option<Result<Frame, String>>;
    fn finish(&mut self) -> Option<Frame>;
}

macro_rules! framing {
    ($($decoder:ty),+) => {$(
        impl Framing for $decoder {
            fn push(&mut self, piece: Bytes) {
                self.push(piece);
            }

            fn next(&mut self) -> Option<Result<Frame, String>> {
                Iterator::next(self).map(|frame| frame.map_err(|error| error.to_string()))
            }

            fn finish(&mut self) -> Option<Frame> {
                self.finish()
            }
        }
    )+};
}

framing!(sse::Decoder, ndjson::Decoder, json_array::Decoder, event_stream::Decoder);

fn framing_of(which: usize, limit: usize) -> Box<dyn Framing> {
    match which {
        0 => Box::new(sse::Decoder::new(limit)),
        1 => Box::new(ndjson::Decoder::new(limit)),
        2 => Box::new(json_array::Decoder::new(limit)),
        _ => Box::new(event_stream::Decoder::new(limit)),
    }
}

/// What one framing gives for these pieces, and what it fails with.
fn cut(mut decoder: Box<dyn Framing>, pieces: Vec<Bytes>) -> (Vec<Frame>, Option<String>) {
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(frame) = decoder.next() {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(error) => {
                    assert!(decoder.next().is_none() && decoder.finish().is_none(), "goes on behind {error}");
                    return (frames, Some(error));
                }
            }
        }
    }
    frames.extend(decoder.finish());
    (frames, None)
}

/// What of a frame no cut may change: all but how signs of life are grouped, and whose a last LF is.
fn meaning(frame: &Frame) -> Option<(bool, &[u8], &[u8])> {
    match frame {
        Frame::Event(event) => Some((true, event.name.as_deref().unwrap_or_default(), &event.data)),
        Frame::Other(raw) if raw.ends_with(b"\r\n") => Some((false, &[], &raw[..raw.len() - 1])),
        Frame::Other(raw) => Some((false, &[], raw)),
        Frame::Idle(_) => None,
    }
}

/// Cuts bytes into frames. Of the five choices the last two are AWS's messages: bytes as they are, and lines that are put into messages.
pub(crate) fn framing(input: &[u8]) {
    let Some((head, rest)) = Head::read(input) else { return };
    let which = head.which % 5;
    let limit = [1 << 24, 100, 16][head.mode % 3];
    let bytes = if which == 4 { messages(rest).into() } else { Bytes::copy_from_slice(rest) };
    let run = |pieces| measured("framing", bytes.len(), || cut(framing_of(which, limit), pieces));
    let (whole, error) = run(vec![bytes.clone()]);
    let (pieces, pieces_error) = run(head.pieces(&bytes));
    assert_eq!(error, pieces_error, "an error is not the same when cut");
    assert!(
        whole.iter().filter_map(meaning).eq(pieces.iter().filter_map(meaning)),
        "{whole:?} becomes {pieces:?}"
    );
    for frames in [&whole, &pieces] {
        let raw = frames.iter().flat_map(|frame| frame.raw().iter());
        let kept = raw.eq(bytes.iter().take(frames.iter().map(|frame| frame.raw().len()).sum()));
        let length: usize = frames.iter().map(|frame| frame.raw().len()).sum();
        assert!(kept && (error.is_some() || length == bytes.len()), "bytes are lost");
    }
}

/// Lines, `name payload` each, as AWS's messages: their checksums are what no random bytes have. A name that begins with `!` is an error's
/// code, one with `?` an exception's; without a name the line is the message's headers.
pub(crate) fn messages(lines: &[u8]) -> Vec<u8> {
    let text = |name: &[u8], value: &[u8]| {
        let value = &value[..value.len().min(1000)];
        [&[name.len() as u8][..], name, &[7], &(value.len() as u16).to_be_bytes(), value].concat()
    };
    let mut out = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (name, payload) = (&line[..space], line.get(space + 1..).unwrap_or_default());
        let (headers, payload) = match name {
            [] => (payload.to_vec(), &payload[..0]),
            [b'!', code @ ..] => {
                let kind = text(b":message-type", b"error");
                ([kind, text(b":error-code", code), text(b":error-message", payload)].concat(), &[][..])
            }
            [b'?', name @ ..] => {
                ([text(b":message-type", b"exception"), text(b":exception-type", name)].concat(), payload)
            }
            name => ([text(b":message-type", b"event"), text(b":event-type", name)].concat(), payload),
        };
        let start = out.len();
        out.extend(((headers.len() + payload.len() + 16) as u32).to_be_bytes());
        out.extend((headers.len() as u32).to_be_bytes());
        out.extend(crc32fast::hash(&out[start..]).to_be_bytes());
        out.extend_from_slice(&headers);
        out.extend_from_slice(payload);
        out.extend(crc32fast::hash(&out[start..]).to_be_bytes());
    }
    out
}

// ===== streams =====

/// A stream of a provider, as a caller gets it, who is this check's own choice. Of the eight choices of provider the last is Google's, as an
/// array.
pub(crate) fn stream(input: &[u8]) {
    let Some((head, rest)) = Head::read(input) else { return };
    let which = head.which % 8;
    let provider = *PROVIDERS.get(which).unwrap_or(&Dialect::Gemini);
    let caller = CALLERS[head.mode % CALLERS.len()];
    let framing = match (which, provider) {
        (7, _) => 2,
        (_, Dialect::Converse) => 3,
        (_, Dialect::Ollama) => 1,
        _ => 0,
    };
    let bytes: Bytes = match provider {
        Dialect::Converse => messages(rest).into(),
        _ => Bytes::copy_from_slice(rest),
    };
    let run = |pieces| {
        measured("stream", bytes.len(), || translate(provider, framing_of(framing, 1 << 24), pieces, caller))
    };
    let out = run(vec![bytes.clone()]);
    let cut = run(head.pieces(&bytes));
    assert_eq!(text(&out), text(&cut), "{provider:?} to {caller:?}, whole and cut");
    is_stream(provider, caller, out);
}

/// What is written is a stream of JSON.
pub(crate) fn is_stream(provider: Dialect, caller: Dialect, out: Vec<u8>) {
    let (frames, error) = cut_whole(out);
    assert_eq!(error, None);
    for frame in frames {
        match frame {
            Frame::Event(event) if &event.data[..] != b"[DONE]" => is_json("a stream", &event.data),
            // A terminator, or a sign of life, which OpenAI's callers are given as a comment.
            Frame::Event(_) | Frame::Idle(_) => {}
            frame => panic!("{provider:?} to {caller:?} has {frame:?}"),
        }
    }
}

fn cut_whole(bytes: Vec<u8>) -> (Vec<Frame>, Option<String>) {
    cut(framing_of(0, 1 << 30), vec![bytes.into()])
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("is UTF-8")
}

/// One direction, as the layer goes it.
pub(crate) fn translate(
    provider: Dialect,
    mut frames: Box<dyn Framing>,
    pieces: Vec<Bytes>,
    caller: Dialect,
) -> Vec<u8> {
    let (mut decoder, mut encoder) = (StreamDecoder::new(provider), StreamEncoder::new(caller, 7, true));
    let (mut out, mut ends) = (Vec::new(), 0);
    let mut event = |frame: Option<Frame>, is_last: bool| {
        let mut write = |event: Event<'_>| {
            assert_eq!(ends, 0, "{event:?} behind the end");
            ends += usize::from(matches!(event, Event::End | Event::Error(_)));
            encoder.encode(&event, &mut out);
        };
        if let Some(Frame::Event(event)) = &frame
            && !event.data.trim_ascii().is_empty()
        {
            let read =
                str::from_utf8(&event.data).ok().and_then(|data| decoder.decode(data, &mut write).ok());
            if read.is_none() {
                return true;
            }
        }
        if is_last {
            decoder.finish(&mut write);
            assert_eq!(ends, 1, "a stream has one end");
        }
        false
    };
    let mut failed = false;
    'pieces: for piece in pieces {
        frames.push(piece);
        while let Some(frame) = frames.next() {
            failed = frame.map_or(true, |frame| event(Some(frame), false));
            if failed {
                break 'pieces;
            }
        }
    }
    if !failed {
        let is_whole = |data: &[u8]| {
            data.trim_ascii() == b"[DONE]" || serde_json::from_slice::<IgnoredAny>(data).is_ok()
        };
        let left = frames.finish().filter(|frame| match frame {
            Frame::Event(event) => is_whole(&event.data),
            _ => false,
        });
        failed = event(left, true);
    }
    if failed {
        encoder.encode(&Event::Error(Problem::new(Cause::Upstream, "no event")), &mut out);
    }
    out
}

// ===== documents =====

/// A request of a caller, as each provider is asked.
pub(crate) fn request(input: &[u8]) {
    let Some((head, rest)) = Head::read(input) else { return };
    let Ok(json) = str::from_utf8(rest) else { return };
    let caller = CALLERS[head.which % CALLERS.len()];
    let mut policy = ParamPolicy::default();
    policy.drop_params = head.mode % 2 == 1;
    let models = ["claude-sonnet-4-5", "gpt-5", "gemini-2.5-pro", "us.anthropic.claude-opus-4-7", "m"];
    let encoding = Encoding::new(models[head.mode / 2 % models.len()], &policy);
    // Most inputs are no requests: the rest is not worth their time.
    if measured("request", json.len(), || decode_request(caller, json).is_err()) {
        return;
    }
    let write = |json: &str, provider| {
        measured("request", json.len(), || {
            let mut out = Vec::new();
            let request = decode_request(caller, json).ok()?;
            encode_request(provider, &request, &encoding, &mut out).ok().map(|()| out)
        })
    };
    for provider in PROVIDERS {
        let Some(out) = write(json, provider) else { continue };
        is_json("a request", &out);
        if provider == caller {
            write(text(&out), provider).expect("reads what it wrote");
        }
    }
    let mistral = measured("request", json.len(), || {
        let mut out = Vec::new();
        let mut request = decode_request(caller, json).ok()?;
        openai::to_mistral(&mut request, &encoding).ok()?;
        encode_request(Dialect::OpenAi, &request, &encoding, &mut out).ok().map(|()| out)
    });
    mistral.iter().for_each(|out| is_json("a request", out));
}

/// An answer of a provider, as each caller gets it.
pub(crate) fn answer(input: &[u8]) {
    let Some((head, rest)) = Head::read(input) else { return };
    let Ok(json) = str::from_utf8(rest) else { return };
    let provider = PROVIDERS[head.which % PROVIDERS.len()];
    let write = |json: &str, caller| {
        measured("answer", json.len(), || {
            let mut out = Vec::new();
            encode_response(caller, &decode_response(provider, json).ok()?, 7, &mut out);
            Some(out)
        })
    };
    for caller in CALLERS {
        let Some(out) = write(json, caller) else { continue };
        is_json("an answer", &out);
        if provider == caller {
            write(text(&out), caller).expect("reads what it wrote");
        }
    }
    measured("usage", json.len(), || {
        let Ok(raw) = serde_json::from_str::<&RawValue>(json) else { return };
        let _counts = [
            openai::read_usage(raw),
            anthropic::read_usage(raw),
            responses::read_usage(raw),
            gemini::read_usage(raw),
            converse::read_usage(raw),
            ollama::read_usage(raw),
            cohere::read_usage(raw),
        ];
    });
    let corrected = measured("usage", json.len(), || openai::correct_usage(json));
    if serde_json::from_str::<IgnoredAny>(json).is_ok() {
        corrected.iter().for_each(|json| is_json("an answer", json.as_bytes()));
    }
    drop(measured("chunk", json.len(), || event_stream::invoked(json)));
}

/// An error of a provider, as each caller is told. Lines in front, `name: value` each up to an empty one, are its head.
pub(crate) fn error(input: &[u8]) {
    let Some((head, rest)) = Head::read(input) else { return };
    let (mut headers, mut body) = (HeaderMap::new(), rest);
    while let Some(end) = body.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&body[..end], &body[end + 1..]);
        body = after;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    let statuses = [400, 401, 404, 429, 500, 529];
    let status = StatusCode::from_u16(statuses[head.mode % statuses.len()]).expect("is a status");
    let problems = measured("error", rest.len(), || {
        let mut problem = decode_error_of(status, &headers, body);
        add_hints(&mut problem, &headers, body, SystemTime::UNIX_EPOCH);
        let exception = str::from_utf8(body).ok().and_then(converse::exception);
        [Some(problem), Some(decode_error(None, body)), decode_answer_error(body), exception]
    });
    for problem in problems.iter().flatten() {
        for caller in CALLERS {
            is_json("an error", &measured("error", rest.len(), || problem.to_json(caller)));
            let event = measured("error", rest.len(), || problem.to_event(caller));
            let (frames, error) = cut_whole(event.to_vec());
            let [Frame::Event(event)] = &frames[..] else { panic!("{frames:?}") };
            assert_eq!(error, None);
            is_json("an error", &event.data);
        }
    }
    if let Ok(text) = str::from_utf8(body) {
        drop(measured("scrub", text.len(), || scrub(text)));
    }
}

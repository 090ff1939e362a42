//! The codecs, chosen by dialect.

use ziggurat_core::Dialect;

use crate::{
    Encoding, Event, Malformed, Refused, Request, Response, anthropic, cohere, converse,
    encode::check_names,
    fitted::fitted,
    gemini,
    names::named,
    ollama, openai,
    remote::check_images,
    responses,
    signature::{own_signatures, with_marks},
};

/// Reads a request of a caller of `dialect`.
///
/// # Errors
/// [`Malformed`], with the field that is to blame.
pub fn decode_request(dialect: Dialect, json: &str) -> Result<Request<'_>, Malformed> {
    match dialect {
        Dialect::Anthropic => anthropic::decode_request(json),
        Dialect::Responses => responses::decode_request(json),
        Dialect::Gemini => gemini::decode_request(json),
        _ => openai::decode_request(json),
    }
}

/// Writes a request for a provider of `dialect`.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    dialect: Dialect,
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let request = &*named(dialect, request);
    if matches!(dialect, Dialect::Gemini | Dialect::Ollama) {
        check_names(request)?;
    }
    check_images(request, encoding)?;
    let request = &*own_signatures(dialect, encoding.thoughts, request);
    let request = &*gemini::put_together(dialect, request);
    if request.dialect == Dialect::Responses && dialect != Dialect::Responses {
        return responses::encode_elsewhere(dialect, request, encoding, |chat| {
            write_request(dialect, chat, encoding, out)
        });
    }
    write_request(dialect, request, encoding, out)
}

fn write_request(
    dialect: Dialect,
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let (request, fits) = fitted(dialect, request, encoding);
    let request = &*request;
    let written = match dialect {
        Dialect::Anthropic => anthropic::encode_request(request, encoding, out),
        Dialect::Responses => responses::encode_request(request, encoding, out),
        Dialect::Gemini => gemini::encode_request(request, encoding, out),
        Dialect::Converse => converse::encode_request(request, encoding, out),
        Dialect::Ollama => ollama::encode_request(request, encoding, out),
        Dialect::Cohere => cohere::encode_request(request, encoding, out),
        _ => openai::encode_request(request, encoding, out),
    };
    match (fits, written) {
        // All names are told at once.
        (Err(Refused::Unsupported(names)), Err(Refused::Unsupported(more))) => {
            Err(Refused::Unsupported(names.into_iter().chain(more).collect()))
        }
        (fits, written) => written.and(fits),
    }
}

/// Reads an answer of a provider of `dialect`.
///
/// # Errors
/// [`Malformed`], when it is not one.
pub fn decode_response(dialect: Dialect, json: &str) -> Result<Response<'_>, Malformed> {
    match dialect {
        Dialect::Anthropic => anthropic::decode_response(json),
        Dialect::Responses => responses::decode_response(json),
        Dialect::Gemini => gemini::decode_response(json),
        Dialect::Converse => converse::decode_response(json),
        Dialect::Ollama => ollama::decode_response(json),
        Dialect::Cohere => cohere::decode_response(json),
        _ => openai::decode_response(json),
    }
}

/// Writes an answer for a caller of `dialect`. `now`, in seconds of the Unix epoch, stands in where the provider gave no time.
pub fn encode_response(dialect: Dialect, response: &Response<'_>, now: u64, out: &mut Vec<u8>) {
    let response = &*with_marks(dialect, response);
    if response.dialect == Dialect::Responses && dialect != Dialect::Responses {
        return responses::answer_elsewhere(response, |plain| write_response(dialect, plain, now, out));
    }
    write_response(dialect, response, now, out);
}

fn write_response(dialect: Dialect, response: &Response<'_>, now: u64, out: &mut Vec<u8>) {
    match dialect {
        Dialect::Anthropic => anthropic::encode_response(response, out),
        Dialect::Responses => responses::encode_response(response, now, out),
        Dialect::Gemini => gemini::encode_response(response, now, out),
        _ => openai::encode_response(response, now, out),
    }
}

/// Reads the stream of a provider of some dialect.
#[derive(Debug)]
pub enum StreamDecoder {
    /// Anthropic's.
    Anthropic(anthropic::StreamDecoder),
    /// OpenAI's.
    OpenAi(openai::StreamDecoder),
    /// That of OpenAI's Responses.
    Responses(responses::StreamDecoder),
    /// Google's.
    Gemini(gemini::StreamDecoder),
    /// That of Bedrock's Converse.
    Converse(converse::StreamDecoder),
    /// Ollama's.
    Ollama(ollama::StreamDecoder),
    /// Cohere's.
    Cohere(cohere::StreamDecoder),
}

/// Writes a stream for a caller of some dialect.
#[derive(Debug)]
pub enum StreamEncoder {
    /// Anthropic's.
    Anthropic(anthropic::StreamEncoder),
    /// OpenAI's.
    OpenAi(openai::StreamEncoder),
    /// That of OpenAI's Responses.
    Responses(responses::StreamEncoder),
    /// Google's.
    Gemini(gemini::StreamEncoder),
}

// ===== impl StreamDecoder =====

impl StreamDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Anthropic => Self::Anthropic(anthropic::StreamDecoder::default()),
            Dialect::Responses => Self::Responses(responses::StreamDecoder::default()),
            Dialect::Gemini => Self::Gemini(gemini::StreamDecoder::default()),
            Dialect::Converse => Self::Converse(converse::StreamDecoder::default()),
            Dialect::Ollama => Self::Ollama(ollama::StreamDecoder::default()),
            Dialect::Cohere => Self::Cohere(cohere::StreamDecoder::default()),
            _ => Self::OpenAi(openai::StreamDecoder::default()),
        }
    }

    /// Reads the data of one event and gives what it says to `sink`.
    ///
    /// # Errors
    /// [`Malformed`], when it is not one.
    pub fn decode<'a>(&mut self, data: &'a str, sink: &mut impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        match self {
            Self::Anthropic(decoder) => decoder.decode(data, sink),
            Self::OpenAi(decoder) => decoder.decode(data, sink),
            Self::Responses(decoder) => decoder.decode(data, sink),
            Self::Gemini(decoder) => decoder.decode(data, sink),
            Self::Converse(decoder) => decoder.decode(data, sink),
            Self::Ollama(decoder) => decoder.decode(data, sink),
            Self::Cohere(decoder) => decoder.decode(data, sink),
        }
    }

    /// Ends the stream where the provider's bytes end: with [`Event::End`] or [`Event::Error`], unless one of them has been given.
    pub fn finish<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        match self {
            Self::Anthropic(decoder) => decoder.finish(sink),
            Self::OpenAi(decoder) => decoder.finish(sink),
            Self::Responses(decoder) => decoder.finish(sink),
            Self::Gemini(decoder) => decoder.finish(sink),
            Self::Converse(decoder) => decoder.finish(sink),
            Self::Ollama(decoder) => decoder.finish(sink),
            Self::Cohere(decoder) => decoder.finish(sink),
        }
    }
}

// ===== impl StreamEncoder =====

impl StreamEncoder {
    /// An encoder at the start of a stream; `now` as for [`encode_response`], `include_usage` is what an OpenAI caller asked for.
    #[must_use]
    pub fn new(dialect: Dialect, now: u64, include_usage: bool) -> Self {
        match dialect {
            Dialect::Anthropic => Self::Anthropic(anthropic::StreamEncoder::new()),
            Dialect::Responses => Self::Responses(responses::StreamEncoder::new(now)),
            Dialect::Gemini => Self::Gemini(gemini::StreamEncoder::new(now)),
            _ => Self::OpenAi(openai::StreamEncoder::new(now, include_usage)),
        }
    }

    /// Appends the bytes of one event.
    pub fn encode(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Anthropic(encoder) => encoder.encode(event, out),
            Self::OpenAi(encoder) => encoder.encode(event, out),
            Self::Responses(encoder) => encoder.encode(event, out),
            Self::Gemini(encoder) => encoder.encode(event, out),
        }
    }
}

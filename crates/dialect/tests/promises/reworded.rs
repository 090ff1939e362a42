//! The same promises of what is told in other words: vectors, rankings and images, a form by way of a tool, events within AWS's messages.
//! An input is a head as elsewhere, then a line that asks, and lines that answer.

use std::str;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderMap;
use ziggurat_core::{Dialect, Operation, ParamPolicy, Wording};
use ziggurat_dialect::{
    Encoding, Event, FormEvents, FormTool, StreamDecoder, StreamEncoder, converse, decode_request,
    decode_response, embeddings as vectors, encode_request, encode_response, event_stream, images as drawn,
    rerank,
    sse::{self, Frame},
};

use crate::checks::{
    CALLERS, Framing, Head, is_json, is_stream, measured, measured_within, messages, text, translate,
};

const EMBEDDINGS: [Wording; 8] = [
    Wording::BatchEmbedContents,
    Wording::EmbedContent,
    Wording::Predict,
    Wording::CohereEmbed,
    Wording::OllamaEmbed,
    Wording::TitanEmbed,
    Wording::InvokedCohereEmbed,
    Wording::PlainEmbed,
];
const RANKINGS: [Wording; 5] = [
    Wording::Rerank,
    Wording::RerankTopK,
    Wording::RerankTexts,
    Wording::InvokedRerank,
    Wording::RankRecords,
];
const IMAGES: [Wording; 4] = [
    Wording::GenerateImages,
    Wording::PredictImages,
    Wording::InvokedAmazonImages,
    Wording::InvokedStabilityImages,
];

/// What is said again in each of several bodies may be so much in all, whatever the input (the codecs' own bound), twice as it is written.
const REPEATED: u64 = 32 << 20;

/// The head, the line that asks, and those that answer.
fn lines(input: &[u8]) -> Option<(Head, &str, impl Iterator<Item = &str>)> {
    let (head, rest) = Head::read(input)?;
    let mut lines = str::from_utf8(rest).ok()?.split('\n');
    Some((head, lines.next()?, lines))
}

fn policy(head: &Head) -> ParamPolicy {
    let mut policy = ParamPolicy::default();
    policy.drop_params = head.mode % 2 == 1;
    policy
}

/// A request for vectors, in the words of OpenAI or Google (`which` below 3), in each provider's, and answers to it.
pub(crate) fn embeddings(input: &[u8]) {
    let Some((head, asked, answers)) = lines(input) else { return };
    let answers: Vec<&str> = answers.collect();
    let policy = policy(&head);
    let request = measured("embeddings", asked.len(), || match head.which % 3 {
        0 => vectors::decode_request(asked),
        1 => vectors::decode_content(Operation::EmbedContent, asked),
        _ => vectors::decode_content(Operation::BatchEmbedContents, asked),
    });
    let Ok(request) = request else { return };
    for wording in EMBEDDINGS {
        let encoding = Encoding::new("m", &policy);
        let bodies = measured_within("embeddings", asked.len(), REPEATED, || {
            vectors::encode_request(wording, &request, &encoding)
        });
        let Ok(bodies) = bodies else { continue };
        bodies.iter().for_each(|body| is_json("embeddings", body));
        measured("vectors", input.len(), || {
            let mut read = vectors::Vectors::new(wording, &request, "m");
            // Of each body an answer is read ahead of the end.
            let Some(answers) = answers.get(..bodies.len()) else { return };
            if answers.iter().try_for_each(|answer| read.read(answer, &HeaderMap::new())).is_ok() {
                let _usage = read.usage();
                is_json("vectors", &read.finish("m"));
            }
        });
    }
}

/// A request for a ranking, in each reranker's words, and an answer to it.
pub(crate) fn ranking(input: &[u8]) {
    let Some((head, asked, answers)) = lines(input) else { return };
    let answers: Vec<&str> = answers.collect();
    let policy = policy(&head);
    let Ok(request) = measured("ranking", asked.len(), || rerank::decode_request(asked)) else { return };
    for wording in RANKINGS {
        let encoding = Encoding::new("m", &policy);
        let body = measured("ranking", asked.len(), || rerank::encode_request(wording, &request, &encoding));
        let Ok(body) = body else { continue };
        is_json("ranking", &body);
        measured("ranking", input.len(), || {
            let mut read = rerank::Ranking::new(&request);
            if answers.iter().take(1).try_for_each(|answer| read.read(answer, &HeaderMap::new())).is_ok() {
                let _usage = read.usage();
                is_json("ranking", &read.finish("i"));
            }
        });
    }
}

/// A request for images, in each provider's words, and answers to it.
pub(crate) fn images(input: &[u8]) {
    let Some((head, asked, answers)) = lines(input) else { return };
    let answers: Vec<&str> = answers.collect();
    let policy = policy(&head);
    let Ok(request) = measured("images", asked.len(), || drawn::decode_request(asked)) else { return };
    for wording in IMAGES {
        let encoding = Encoding::new("m", &policy);
        let bodies = measured_within("images", asked.len(), REPEATED, || {
            drawn::encode_request(wording, &request, &encoding)
        });
        let Ok(bodies) = bodies else { continue };
        bodies.iter().for_each(|body| is_json("images", body));
        measured("images", input.len(), || {
            let mut read = drawn::Images::new(wording, &request);
            if answers.iter().take(bodies.len()).try_for_each(|answer| read.read(answer)).is_ok() {
                let _usage = read.usage();
                read.finish(7).iter().for_each(|list| is_json("images", list));
            }
        });
    }
}

/// A call that asks for a form which the model is asked for by way of a tool: the first of the answers whole, all of them as a stream's events.
pub(crate) fn form(input: &[u8]) {
    let Some((head, asked, answers)) = lines(input) else { return };
    let answers: Vec<&str> = answers.collect();
    let (provider, caller) = sides(&head);
    let Some(tool) = measured("form", asked.len(), || ask(&head, asked)) else { return };
    measured("a form", input.len(), || {
        let whole = answers.first().and_then(|whole| decode_response(provider, whole).ok());
        if let Some(mut whole) = whole {
            tool.unwrap_all(&mut whole);
            let mut out = Vec::new();
            encode_response(caller, &whole, 7, &mut out);
            is_json("a form", &out);
        }
    });
    let out = measured("a form", input.len(), || {
        let (mut decoder, mut encoder) = (StreamDecoder::new(provider), StreamEncoder::new(caller, 7, true));
        let (mut form, mut out, mut ends) = (FormEvents::new(tool), Vec::new(), 0);
        let mut write = |event: Event<'_>| {
            assert_eq!(ends, 0, "{event:?} behind the end");
            ends += usize::from(matches!(event, Event::End | Event::Error(_)));
            encoder.encode(&event, &mut out);
        };
        for answer in &answers {
            if decoder.decode(answer, &mut |event| form.event(event, &mut write)).is_err() {
                return None;
            }
        }
        decoder.finish(&mut |event| form.event(event, &mut write));
        assert_eq!(ends, 1, "a stream has one end");
        Some(out)
    });
    out.into_iter().for_each(|out| is_stream(provider, caller, out));
}

/// Whether an input asks for a form that the model is asked for by way of a tool.
pub(crate) fn is_form(input: &[u8]) -> bool {
    lines(input).is_some_and(|(head, asked, _)| ask(&head, asked).is_some())
}

fn sides(head: &Head) -> (Dialect, Dialect) {
    let provider = [Dialect::Anthropic, Dialect::Converse][head.which % 2];
    (provider, CALLERS[head.mode / 2 % CALLERS.len()])
}

fn ask(head: &Head, asked: &str) -> Option<FormTool> {
    let policy = policy(head);
    let (provider, caller) = sides(head);
    let encoding = Encoding::new("claude-sonnet-4-0", &policy);
    let mut request = decode_request(caller, asked).ok()?;
    let tool = FormTool::ask(provider, &mut request, &encoding)?;
    let mut out = Vec::new();
    if encode_request(provider, &request, &encoding, &mut out).is_ok() {
        is_json("a form", &out);
    }
    Some(tool)
}

/// Claude's events within AWS's messages, as they are without those.
struct Invoked {
    messages: event_stream::Decoder,
    is_over: bool,
}

impl Framing for Invoked {
    fn push(&mut self, piece: Bytes) {
        Framing::push(&mut self.messages, piece);
    }

    fn next(&mut self) -> Option<Result<Frame, String>> {
        while !self.is_over {
            let frame = match Framing::next(&mut self.messages)? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error)),
            };
            let Frame::Event(message) = frame else { continue };
            let Ok(json) = str::from_utf8(&message.data) else { return Some(Err("no text".to_owned())) };
            let data = match converse::exception(json) {
                Some(problem) => {
                    self.is_over = true;
                    Some(problem.to_json(Dialect::Anthropic).into())
                }
                None => match event_stream::invoked(json) {
                    Ok(event) => event.map(Bytes::from),
                    Err(error) => return Some(Err(error.to_string())),
                },
            };
            if let Some(data) = data {
                return Some(Ok(Frame::Event(sse::Event { raw: message.raw, name: None, data })));
            }
        }
        None
    }

    fn finish(&mut self) -> Option<Frame> {
        Framing::finish(&mut self.messages)
    }
}

/// A stream of Claude's, invoked on Bedrock: an event a line. A line that begins with `!` or `?` is an error's message or an exception's, and one
/// with `=` is a message as it stands.
pub(crate) fn invoked(input: &[u8]) {
    let Some((head, rest)) = Head::read(input) else { return };
    let caller = CALLERS[head.mode % CALLERS.len()];
    let mut wrapped = Vec::new();
    for line in rest.split(|byte| *byte == b'\n') {
        match line {
            [b'!' | b'?', ..] => wrapped.extend_from_slice(line),
            [b'=', message @ ..] => wrapped.extend_from_slice(message),
            event => {
                wrapped.extend_from_slice(b"chunk {\"bytes\":\"");
                wrapped.extend_from_slice(STANDARD.encode(event).as_bytes());
                wrapped.extend_from_slice(b"\",\"p\":\"abc\"}");
            }
        }
        wrapped.push(b'\n');
    }
    wrapped.pop();
    let bytes = Bytes::from(messages(&wrapped));
    let framing = || Box::new(Invoked { messages: event_stream::Decoder::new(1 << 24), is_over: false });
    let run = |pieces| {
        measured("invoked", bytes.len(), || translate(Dialect::Anthropic, framing(), pieces, caller))
    };
    let out = run(vec![bytes.clone()]);
    assert_eq!(text(&out), text(&run(head.pieces(&bytes))), "to {caller:?}, whole and cut");
    is_stream(Dialect::Anthropic, caller, out);
}

//! Server-sent events: exact cases, each under every way to cut it in two, and properties against a slow reference.

use std::mem;

use bytes::Bytes;
use proptest::prelude::*;
use ziggurat_dialect::sse::{DONE, Decoder, Event, EventTooLarge, Frame, encode};

const LIMIT: usize = 1 << 20;

/// What a decoder gave for an input: its frames, and what was left over at the end.
#[derive(Debug, PartialEq)]
struct Outcome {
    frames: Vec<Frame>,
    error: Option<EventTooLarge>,
    left: Option<Frame>,
}

// ===== cases =====

#[test]
fn decodes_openai_style() {
    check(
        b"data: {\"a\":1}\n\ndata: {\"a\":2}\n\ndata: [DONE]\n\n",
        &[
            event("data: {\"a\":1}\n\n", "{\"a\":1}"),
            event("data: {\"a\":2}\n\n", "{\"a\":2}"),
            event("data: [DONE]\n\n", "[DONE]"),
        ],
    );
    check(DONE, &[event("data: [DONE]\n\n", "[DONE]")]);
}

#[test]
fn decodes_anthropic_style_with_names() {
    check(
        b"event: ping\ndata: {\"type\": \"ping\"}   \n\nevent: message_stop\ndata: {}\n\n",
        &[
            named("event: ping\ndata: {\"type\": \"ping\"}   \n\n", "ping", "{\"type\": \"ping\"}   "),
            named("event: message_stop\ndata: {}\n\n", "message_stop", "{}"),
        ],
    );
}

#[test]
fn knows_all_line_ends() {
    check(b"data: x\r\n\r\ndata: y\r\n\r\n", &[event("data: x\r\n\r\n", "x"), event("data: y\r\n\r\n", "y")]);
    check(b"data: x\r\rdata: y\r\r", &[event("data: x\r\r", "x"), event("data: y\r\r", "y")]);
    check(b"data: x\n\r\ndata: y\r\n\n", &[event("data: x\n\r\n", "x"), event("data: y\r\n\n", "y")]);
    check(b"data: x\r\n\rdata: y\n\r", &[event("data: x\r\n\r", "x"), event("data: y\n\r", "y")]);
    check(b"data: x\r\ndata: y\rdata: z\n\n", &[event("data: x\r\ndata: y\rdata: z\n\n", "x\ny\nz")]);
    check(b"data: x\n\n\r\n", &[event("data: x\n\n", "x"), idle("\r\n")]);
}

#[test]
fn line_separators_of_unicode_are_no_line_ends() {
    let data = "a\u{2028}b\u{2029}c\u{85}d\u{b}e\u{c}f\0g";
    let raw = format!("data: {data}\n\n");
    check(raw.as_bytes(), &[event(&raw, data)]);
}

#[test]
fn gives_bytes_between_events_as_idle() {
    check(
        b": OPENROUTER PROCESSING\n\n: \n\n\n:\ndata: x\n\n\n\n: late\r\n\r\ndata: y\n\n",
        &[
            idle(": OPENROUTER PROCESSING\n\n: \n\n\n:\n"),
            event("data: x\n\n", "x"),
            idle("\n\n: late\r\n\r\n"),
            event("data: y\n\n", "y"),
        ],
    );
}

#[test]
fn keeps_comments_within_an_event_in_its_raw() {
    check(b"event: e\n: c\ndata: x\n:d\n\n", &[named("event: e\n: c\ndata: x\n:d\n\n", "e", "x")]);
}

#[test]
fn reads_fields_as_the_standard_says() {
    check(
        b"data:x\n\ndata:  y\n\ndata\n\ndata:\n\ndata: \n\ndata:: z\n\n",
        &[
            event("data:x\n\n", "x"),
            event("data:  y\n\n", " y"),
            event("data\n\n", ""),
            event("data:\n\n", ""),
            event("data: \n\n", ""),
            event("data:: z\n\n", ": z"),
        ],
    );
    check(b"data\ndata\n\n", &[event("data\ndata\n\n", "\n")]);
    check(b"data\ndata:b\ndata\n\n", &[event("data\ndata:b\ndata\n\n", "\nb\n")]);
    check(
        b"data: YHOO\ndata: +2\ndata:  10\n\n",
        &[event("data: YHOO\ndata: +2\ndata:  10\n\n", "YHOO\n+2\n 10")],
    );
    check(
        b"id: 7\nretry: 10\ndata: x\nDATA: y\n data: z\ndatas: w\n\n",
        &[event("id: 7\nretry: 10\ndata: x\nDATA: y\n data: z\ndatas: w\n\n", "x")],
    );
}

#[test]
fn takes_the_last_name_unless_it_is_empty() {
    check(b"event: a\nevent:b\ndata: x\n\n", &[named("event: a\nevent:b\ndata: x\n\n", "b", "x")]);
    check(b"event: a\ndata: x\nevent\n\n", &[event("event: a\ndata: x\nevent\n\n", "x")]);
    check(b"event: a\n\ndata: x\n\n", &[other("event: a\n\n"), event("data: x\n\n", "x")]);
}

#[test]
fn gives_blocks_without_data_as_other() {
    check(
        b"id: 1\nretry: 5\n\ndata: x\n\nnonsense\n\n",
        &[other("id: 1\nretry: 5\n\n"), event("data: x\n\n", "x"), other("nonsense\n\n")],
    );
}

#[test]
fn gives_bare_json_at_the_end_as_other() {
    let error = "{\r\n  \"error\": {\r\n    \"code\": 499\r\n  }\r\n}\r\n";
    let input = format!("data: {{}}\r\n\r\n{error}");
    check_left(input.as_bytes(), &[event("data: {}\r\n\r\n", "{}")], other(error));
    check_left(b"{\"error\":{}}", &[], other("{\"error\":{}}"));
    check(b"{\n  \"error\": {}\n}\n\n", &[other("{\n  \"error\": {}\n}\n\n")]);
}

#[test]
fn ignores_one_byte_order_mark_at_the_start() {
    check(b"\xEF\xBB\xBFdata: x\n\n", &[idle_bytes(b"\xEF\xBB\xBF"), event("data: x\n\n", "x")]);
    check(b"\xEF\xBB\xBF: c\n\n", &[idle_bytes(b"\xEF\xBB\xBF: c\n\n")]);
    check(
        b"\xEF\xBB\xBF\xEF\xBB\xBFdata: x\n\n",
        &[idle_bytes(b"\xEF\xBB\xBF"), Frame::Other(Bytes::from_static(b"\xEF\xBB\xBFdata: x\n\n"))],
    );
    check(b"\xEF\xBBdata: x\n\n", &[Frame::Other(Bytes::from_static(b"\xEF\xBBdata: x\n\n"))]);
    check_left(b"\xEF\xBB", &[], Frame::Other(Bytes::from_static(b"\xEF\xBB")));
}

#[test]
fn leaves_invalid_utf8_to_the_caller() {
    let raw = Bytes::from_static(b"event: \xC0\ndata: \xFF\xFE\n\n");
    let (name, data) = (raw.slice(7..8), raw.slice(15..17));
    check(&raw, &[Frame::Event(Event { raw: raw.clone(), name: Some(name), data })]);
}

#[test]
fn gives_an_unterminated_event_at_the_end() {
    check_left(b"data: x\n\ndata: [DONE]\n", &[event("data: x\n\n", "x")], event("data: [DONE]\n", "[DONE]"));
    check_left(b"data: x\n\ndata: [DONE]", &[event("data: x\n\n", "x")], event("data: [DONE]", "[DONE]"));
    check_left(b"event: e\r\ndata: {\"a\r", &[], named("event: e\r\ndata: {\"a\r", "e", "{\"a"));
    check_left(b"data: a\ndata: b", &[], event("data: a\ndata: b", "a\nb"));
    check_left(b"data", &[], event("data", ""));
    check_left(b"dat", &[], other("dat"));
    check_left(b"event: e\n", &[], other("event: e\n"));
    check_left(b"data: x\n\n: pi", &[event("data: x\n\n", "x")], idle(": pi"));
    check(b"", &[]);
}

// ===== when frames are given =====

#[test]
fn keep_alives_do_not_wait() {
    let mut decoder = Decoder::new(LIMIT);
    for comment in [": a\n", "\n", ":\n\n", ": b\r"] {
        assert_eq!(push(&mut decoder, comment), [idle(comment)]);
    }
    assert_eq!(push(&mut decoder, ": c"), []);
    assert_eq!(push(&mut decoder, "c\n"), [idle(": cc\n")]);
}

#[test]
fn an_event_that_ends_in_cr_does_not_wait_and_the_lf_makes_no_event() {
    let mut decoder = Decoder::new(LIMIT);
    assert_eq!(push(&mut decoder, "data: x\r\n\r"), [event("data: x\r\n\r", "x")]);
    assert_eq!(push(&mut decoder, "\n"), [idle("\n")]);
    assert_eq!(push(&mut decoder, "data: y\r"), []);
    assert_eq!(push(&mut decoder, "\n"), []);
    assert_eq!(push(&mut decoder, "\r\n"), [event("data: y\r\n\r\n", "y")]);
    assert_eq!(decoder.finish(), None);
}

#[test]
fn slices_the_chunk_instead_of_copying() {
    let chunk = Bytes::from("event: e\ndata: x\n\ndata: y\n\n: c\n\nid: 1\n\n");
    let within = |bytes: &Bytes| chunk.as_ptr_range().contains(&bytes.as_ptr());
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(chunk.clone());
    let frames: Vec<_> = decoder.by_ref().map(Result::unwrap).collect();
    assert_eq!(frames.len(), 4);
    for frame in &frames {
        assert!(within(frame.raw()));
        if let Frame::Event(event) = frame {
            assert!(within(&event.data));
            assert!(event.name.as_ref().is_none_or(within));
        }
    }
}

#[test]
fn takes_chunks_pushed_before_the_frames_are_taken() {
    let mut decoder = Decoder::new(LIMIT);
    for chunk in ["data: x\n", "\nda", "", "ta: y\n\n"] {
        decoder.push(Bytes::from(chunk));
    }
    let frames: Vec<_> = decoder.by_ref().map(Result::unwrap).collect();
    assert_eq!(frames, [event("data: x\n\n", "x"), event("data: y\n\n", "y")]);
}

#[test]
fn gives_frames_not_taken_before_the_end_as_other() {
    let mut decoder = Decoder::new(LIMIT);
    assert_eq!(push(&mut decoder, "data: "), []);
    decoder.push(Bytes::from("x\n\ndata: y\n\n"));
    assert_eq!(decoder.finish(), Some(other("data: x\n\ndata: y\n\n")));
    assert_eq!(decoder.finish(), None);
    assert_eq!(push(&mut decoder, "data: z\n\n"), []);
}

// ===== limits =====

#[test]
fn fails_once_and_for_good_when_an_event_is_too_large() {
    let input = b"data: 1\n\ndata: 12\n\ndata: 3\n\n";
    for chunks in cuts(input) {
        let mut decoder = Decoder::new(9);
        let outcome = run(&mut decoder, chunks);
        assert_eq!(outcome.frames, [event("data: 1\n\n", "1")]);
        assert_eq!(outcome.error.map(|error| error.limit), Some(9));
        assert_eq!(outcome.left, None);
        assert_eq!(push(&mut decoder, "data: 4\n\n"), []);
    }
}

#[test]
fn the_limit_is_the_same_however_the_input_is_cut() {
    let lengths = [
        ("data: 1\n\n", 9),
        ("data: 1\r\n\r\n", 10),
        ("data: 1\r\r", 9),
        ("data: 1", 7),
        (": 45\n", 5),
        (": 45\r\n", 5),
        (": 4", 3),
        ("id: 1\n\n", 7),
    ];
    for (input, length) in lengths {
        for chunks in cuts(input.as_bytes()) {
            assert_eq!(run(&mut Decoder::new(length), chunks.clone()).error, None, "{input:?}");
            let error = run(&mut Decoder::new(length - 1), chunks).error;
            assert_eq!(error.map(|error| error.limit), Some(length - 1), "{input:?}");
        }
    }
}

#[test]
fn buffers_no_more_than_the_limit() {
    let mut decoder = Decoder::new(100);
    for _ in 0..100 {
        assert_eq!(push(&mut decoder, "x"), []);
    }
    decoder.push(Bytes::from("x"));
    let error = decoder.next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "a server-sent event is longer than 100 bytes");
    assert_eq!(decoder.finish(), None);
}

#[test]
fn a_flood_of_keep_alives_is_no_event_and_never_too_large() {
    let mut decoder = Decoder::new(16);
    for flood in ["\n", "\r\n", ": keep-alive\n\n", "\r"] {
        let flood = flood.repeat(10_000);
        assert_eq!(push(&mut decoder, &flood), [idle(&flood)]);
    }
    assert_eq!(decoder.finish(), None);
}

/// Would not end for a long time if what is buffered were read again at each push.
#[test]
fn a_large_event_in_one_byte_chunks_is_read_in_linear_time() {
    let data = "x".repeat(1 << 20);
    for line_end in ["\n", "\r\n"] {
        let input = Bytes::from(format!("data: {data}{line_end}{line_end}"));
        let mut decoder = Decoder::new(2 << 20);
        let outcome = run(&mut decoder, (0..input.len()).map(|at| input.slice(at..=at)).collect());
        let Frame::Event(event) = &outcome.frames[0] else { panic!("no event") };
        assert_eq!(event.data, data);
        assert_eq!(outcome.left, None);
    }
}

// ===== encode =====

#[test]
fn encodes_events() {
    assert_eq!(encoded(None, b"{}"), b"data: {}\n\n");
    assert_eq!(encoded(Some("ping"), b"{}"), b"event: ping\ndata: {}\n\n");
    assert_eq!(encoded(None, b""), b"data: \n\n");
    assert_eq!(encoded(None, b" a\nb\r\nc\rd\n"), b"data:  a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
    assert_eq!(encoded(Some("a\r\ndata: b"), b"x"), b"event: adata: b\ndata: x\n\n");
    assert_eq!(encoded(None, b"[DONE]"), DONE);
}

// ===== properties =====

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_cut_of_any_stream_gives_what_the_reference_gives((input, cuts) in cut_stream(pieces())) {
        let outcome = run(&mut Decoder::new(LIMIT), split(&input, &cuts));
        prop_assert_eq!(raw(&outcome), &input[..]);
        prop_assert_eq!(normal(outcome), reference(&input));
    }

    #[test]
    fn any_cut_of_any_bytes_gives_what_the_reference_gives(
        (input, cuts) in cut_stream(proptest::collection::vec(any::<u8>(), 0..200))
    ) {
        let outcome = run(&mut Decoder::new(LIMIT), split(&input, &cuts));
        prop_assert_eq!(raw(&outcome), &input[..]);
        prop_assert_eq!(normal(outcome), reference(&input));
    }

    #[test]
    fn fails_at_the_same_event_however_the_input_is_cut((input, cuts) in cut_stream(pieces()), limit in 0_usize..40) {
        let whole = run(&mut Decoder::new(limit), vec![Bytes::from(input.clone())]);
        let cut = run(&mut Decoder::new(limit), split(&input, &cuts));
        prop_assert_eq!(normal(cut), normal(whole));
    }

    #[test]
    fn what_is_encoded_is_decoded(name in "[a-z_.]{1,12}", data in "[a-z:{}\" \r\n]{0,40}") {
        let input = encoded(Some(&name), data.as_bytes());
        let outcome = run(&mut Decoder::new(LIMIT), vec![Bytes::from(input.clone())]);
        let data = data.replace("\r\n", "\n").replace('\r', "\n");
        let raw = String::from_utf8(input).unwrap();
        prop_assert_eq!(outcome.frames, [named(&raw, &name, &data)]);
    }
}

/// Streams of everything that could go wrong.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "data: {\"a\":1}",
        "data:x",
        "data:",
        "data",
        "data: ",
        "data:  y",
        "data : z",
        "event: ping",
        "event:",
        "event",
        "event: \u{e9}",
        "id: 1",
        "retry: 5",
        ": comment",
        ":",
        "{",
        "  \"error\": 1",
        "}",
        "\u{feff}",
        "\u{1f600}",
        "\u{2028}",
        " ",
        "\0",
        "\n",
        "\n",
        "\n",
        "\n\n",
        "\n\n",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\r\r",
        "d",
        "[DONE]",
    ]);
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A stream, and where to cut it: everywhere, nowhere, or here and there.
fn cut_stream(stream: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    stream.prop_flat_map(|input| {
        let length = input.len();
        let cuts = proptest::collection::vec(0..=length, 0..10).prop_map(|mut cuts| {
            cuts.sort_unstable();
            cuts
        });
        (Just(input), prop_oneof![1 => Just((0..=length).collect()), 1 => Just(vec![]), 8 => cuts])
    })
}

// ===== the reference: line by line over the whole input =====

fn reference(input: &[u8]) -> Outcome {
    let (mut frames, mut block) = (Vec::new(), Vec::new());
    let mut rest = input;
    if let Some(after) = rest.strip_prefix(b"\xEF\xBB\xBF") {
        frames.push(idle_bytes(b"\xEF\xBB\xBF"));
        rest = after;
    }
    while let Some(content) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let end = if rest[content..].starts_with(b"\r\n") { content + 2 } else { content + 1 };
        let idle = block.is_empty() && (content == 0 || rest[0] == b':');
        block.push((&rest[..content], &rest[..end]));
        rest = &rest[end..];
        if idle || content == 0 {
            frames.push(reference_frame(&mem::take(&mut block)));
        }
    }
    if !rest.is_empty() {
        block.push((rest, rest));
    }
    let left = (!block.is_empty()).then(|| reference_frame(&block));
    normal(Outcome { frames, error: None, left })
}

/// Makes a frame of lines, each without and with its end.
fn reference_frame(lines: &[(&[u8], &[u8])]) -> Frame {
    let raw = Bytes::from(lines.iter().flat_map(|(_, line)| line.iter().copied()).collect::<Vec<u8>>());
    if lines[0].0.is_empty() || lines[0].0[0] == b':' {
        return Frame::Idle(raw);
    }
    let (mut name, mut data) = (Vec::new(), Vec::<&[u8]>::new());
    for (line, _) in lines {
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = value.to_vec(),
            b"data" => data.push(value),
            _ => {}
        }
    }
    if data.is_empty() {
        return Frame::Other(raw);
    }
    let name = (!name.is_empty()).then(|| Bytes::from(name));
    Frame::Event(Event { raw, name, data: Bytes::from(data.join(&b'\n')) })
}

// ===== helpers =====

/// Checks an input that ends with a blank line.
#[track_caller]
fn check(input: &[u8], frames: &[Frame]) {
    check_all(input, &Outcome { frames: frames.to_vec(), error: None, left: None });
}

/// Checks an input that does not end with a blank line.
#[track_caller]
fn check_left(input: &[u8], frames: &[Frame], left: Frame) {
    check_all(input, &Outcome { frames: frames.to_vec(), error: None, left: Some(left) });
}

/// Checks whole, byte by byte and cut in two at every place; and the reference, so that it can be trusted.
#[track_caller]
fn check_all(input: &[u8], expected: &Outcome) {
    assert_eq!(&reference(input), expected, "reference");
    for chunks in cuts(input) {
        let lengths: Vec<_> = chunks.iter().map(Bytes::len).collect();
        let outcome = run(&mut Decoder::new(LIMIT), chunks);
        assert_eq!(raw(&outcome), input, "chunks of {lengths:?}");
        assert_eq!(&normal(outcome), expected, "chunks of {lengths:?}");
    }
}

fn cuts(input: &[u8]) -> Vec<Vec<Bytes>> {
    let bytewise: Vec<usize> = (0..input.len()).collect();
    let in_two = (0..=input.len()).map(|at| split(input, &[at]));
    in_two.chain([split(input, &[]), split(input, &bytewise)]).collect()
}

fn split(input: &[u8], cuts: &[usize]) -> Vec<Bytes> {
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([input.len()]);
    starts.zip(ends).map(|(start, end)| Bytes::copy_from_slice(&input[start..end])).collect()
}

fn run(decoder: &mut Decoder, chunks: Vec<Bytes>) -> Outcome {
    let (mut frames, mut error) = (Vec::new(), None);
    for chunk in chunks {
        decoder.push(chunk);
        for frame in decoder.by_ref() {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(first) => assert_eq!(error.replace(first), None, "a second error"),
            }
        }
    }
    Outcome { frames, error, left: decoder.finish() }
}

fn raw(outcome: &Outcome) -> Vec<u8> {
    outcome.frames.iter().chain(&outcome.left).flat_map(Frame::raw).copied().collect()
}

/// Undoes what may depend on the chunks: gives an event the LF that came after it, and puts idle frames together.
fn normal(outcome: Outcome) -> Outcome {
    let mut frames: Vec<Frame> = Vec::new();
    for frame in outcome.frames {
        let Frame::Idle(mut idle) = frame else {
            frames.push(frame);
            continue;
        };
        match frames.last_mut() {
            Some(Frame::Event(Event { raw, .. }) | Frame::Other(raw))
                if raw.ends_with(b"\r") && idle[0] == b'\n' =>
            {
                *raw = [&raw[..], b"\n"].concat().into();
                let _lf = idle.split_to(1);
                if !idle.is_empty() {
                    frames.push(Frame::Idle(idle));
                }
            }
            Some(Frame::Idle(raw)) => *raw = [&raw[..], &idle[..]].concat().into(),
            _ => frames.push(Frame::Idle(idle)),
        }
    }
    Outcome { frames, ..outcome }
}

fn push(decoder: &mut Decoder, chunk: &str) -> Vec<Frame> {
    decoder.push(Bytes::copy_from_slice(chunk.as_bytes()));
    decoder.by_ref().map(Result::unwrap).collect()
}

fn encoded(name: Option<&str>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, name, data);
    out
}

fn event(raw: &str, data: &str) -> Frame {
    Frame::Event(Event { raw: raw.to_owned().into(), name: None, data: data.to_owned().into() })
}

fn named(raw: &str, name: &str, data: &str) -> Frame {
    let name = Some(Bytes::from(name.to_owned()));
    Frame::Event(Event { raw: raw.to_owned().into(), name, data: data.to_owned().into() })
}

fn other(raw: &str) -> Frame {
    Frame::Other(raw.to_owned().into())
}

fn idle(raw: &str) -> Frame {
    idle_bytes(raw.as_bytes())
}

fn idle_bytes(raw: &[u8]) -> Frame {
    Frame::Idle(Bytes::copy_from_slice(raw))
}

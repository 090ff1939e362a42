//! AWS's event stream: what is whole comes out the same however it is cut, and what is not is an error and nothing worse.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use proptest::prelude::*;
use ziggurat_dialect::{
    event_stream::{Decoder, Error, invoked},
    sse::Frame,
};
use ziggurat_testkit::Recordings;

const TEXT: u8 = 7;

/// A message with headers of text.
fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.extend(header(
            name,
            TEXT,
            &[&(value.len() as u16).to_be_bytes()[..], value.as_bytes()].concat(),
        ));
    }
    sealed(&bytes, payload)
}

fn header(name: &str, kind: u8, value: &[u8]) -> Vec<u8> {
    [&[name.len() as u8][..], name.as_bytes(), &[kind], value].concat()
}

fn sealed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = prelude((headers.len() + payload.len() + 16) as u32, headers.len() as u32);
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

fn prelude(total: u32, headers: u32) -> Vec<u8> {
    let mut out = [total.to_be_bytes(), headers.to_be_bytes()].concat();
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

fn event(name: &str, payload: &str) -> Vec<u8> {
    let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
    message(&headers, payload.as_bytes())
}

/// What a decoder gives for these pieces, and what it fails with.
fn decode(pieces: &[&[u8]]) -> (Vec<Frame>, Option<Error>) {
    let (mut decoder, mut frames) = (Decoder::new(1 << 20), Vec::new());
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        for frame in decoder.by_ref() {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    frames.extend(decoder.finish());
    (frames, None)
}

fn data(frame: &Frame) -> (&str, &str) {
    let Frame::Event(event) = frame else { panic!("{frame:?} is no event") };
    let name = event.name.as_ref().expect("has a name");
    (std::str::from_utf8(name).expect("is UTF-8"), std::str::from_utf8(&event.data).expect("is UTF-8"))
}

#[test]
fn a_message_is_wrapped_by_its_type() {
    let bytes = event("messageStop", r#"{"stopReason":"end_turn"}"#);
    let (frames, error) = decode(&[&bytes]);
    assert_eq!(error, None);
    assert_eq!(data(&frames[0]), ("messageStop", r#"{"messageStop":{"stopReason":"end_turn"}}"#));
    assert_eq!(frames[0].raw(), &bytes);
}

#[test]
fn an_exception_is_wrapped_by_its_name_and_an_error_made_one() {
    let headers = [(":message-type", "exception"), (":exception-type", "throttlingException")];
    let (frames, _) = decode(&[&message(&headers, br#"{"message":"slow"}"#)]);
    assert_eq!(data(&frames[0]).1, r#"{"throttlingException":{"message":"slow"}}"#);
    let headers = [(":message-type", "error"), (":error-code", "Internal"), (":error-message", "a \"b\"")];
    let (frames, _) = decode(&[&message(&headers, b"")]);
    assert_eq!(data(&frames[0]), ("Internal", r#"{"InternalException":{"message":"a \"b\""}}"#));
}

#[test]
fn headers_of_every_type_are_passed_over() {
    let values: &[(u8, &[u8])] = &[
        (0, b""),
        (1, b""),
        (2, b"1"),
        (3, b"12"),
        (4, b"1234"),
        (5, b"12345678"),
        (6, b"\0\x03abc"),
        (7, b"\0\0"),
        (8, b"12345678"),
        (9, b"0123456789abcdef"),
    ];
    let mut headers: Vec<u8> = values.iter().flat_map(|(kind, value)| header("x", *kind, value)).collect();
    headers.extend(header(":event-type", TEXT, b"\0\x04ping"));
    let (frames, error) = decode(&[&sealed(&headers, b"")]);
    assert_eq!((data(&frames[0]).1, error), (r#"{"ping":{}}"#, None));
    for (kind, value) in [(10, &b""[..]), (7, b"\0\x09a"), (9, b"1"), (6, b"\0")] {
        let (frames, error) = decode(&[&sealed(&header("x", kind, value), b"")]);
        assert!(frames.is_empty() && matches!(error, Some(Error::Corrupt(_))), "{kind}");
    }
}

#[test]
fn a_message_without_a_name_is_kept_as_it_is() {
    let bytes = message(&[("x", "y")], b"z");
    assert_eq!(decode(&[&bytes]), (vec![Frame::Other(Bytes::from(bytes.clone()))], None));
}

#[test]
fn a_message_that_says_it_is_too_long_is_refused_before_it_is_kept() {
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(prelude(u32::MAX, 0).into());
    let limit = 1 << 20;
    assert_eq!(decoder.next(), Some(Err(Error::TooLarge { declared: u32::MAX as usize, limit })));
    decoder.push(event("ping", "{}").into());
    assert_eq!((decoder.next(), decoder.finish()), (None, None));
    let whole = event("ping", "{}");
    let mut exact = Decoder::new(whole.len());
    exact.push(whole.clone().into());
    assert!(matches!(exact.next(), Some(Ok(_))));
    let mut short = Decoder::new(whole.len() - 1);
    short.push(whole.into());
    assert!(matches!(short.next(), Some(Err(Error::TooLarge { .. }))));
}

#[test]
fn lengths_that_do_not_fit_are_corrupt() {
    for (total, headers) in [(0, 0), (15, 0), (16, 1), (1 << 19, (128 << 10) + 1), (20, u32::MAX)] {
        let (_, error) = decode(&[&prelude(total, headers)]);
        assert!(matches!(error, Some(Error::Corrupt(_))), "{total} {headers}");
    }
}

#[test]
fn what_is_left_over_is_shown() {
    let bytes = event("ping", "{}");
    for cut in [1, 11, 12, bytes.len() - 1] {
        let (frames, error) = decode(&[&bytes, &bytes[..cut]]);
        assert_eq!((frames.len(), error), (2, None));
        assert_eq!(frames[1], Frame::Other(Bytes::copy_from_slice(&bytes[..cut])));
    }
}

#[test]
fn a_chunk_holds_the_models_own_event() {
    let inner = STANDARD.encode(r#"{"type":"ping"}"#);
    for data in
        [format!(r#"{{"chunk":{{"bytes":"{inner}","p":"ab"}}}}"#), format!(r#"{{"bytes":"{inner}"}}"#)]
    {
        assert_eq!(invoked(&data), Ok(Some(r#"{"type":"ping"}"#.to_owned())));
    }
    assert_eq!(invoked(r#"{"throttlingException":{"message":"x"}}"#), Ok(None));
    for data in [r#"{"chunk":{"bytes":"*"}}"#, r#"{"chunk":{"bytes":"/w=="}}"#, "[]", ""] {
        assert!(invoked(data).is_err(), "{data}");
    }
}

fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let one = ("[a-zA-Z]{1,20}", "[ -~é]{0,60}")
        .prop_map(|(name, text)| event(&name, &serde_json::json!({ "text": text }).to_string()));
    proptest::collection::vec(one, 1..5)
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(messages in messages(), cuts in proptest::collection::vec(0.0..1.0, 0..12)) {
        let whole = messages.concat();
        let mut places: Vec<usize> = cuts.iter().map(|cut: &f64| (cut * whole.len() as f64) as usize).collect();
        places.extend([0, whole.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
        let expected = decode(&[&whole]);
        prop_assert_eq!(&decode(&pieces), &expected);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        prop_assert_eq!(&decode(&bytes), &expected);
        let raw: Vec<u8> = expected.0.iter().flat_map(|frame| frame.raw().to_vec()).collect();
        prop_assert_eq!((expected.0.len(), raw, expected.1), (messages.len(), whole, None));
    }

    #[test]
    fn a_flipped_bit_is_an_error(messages in messages(), place in 0.0..1.0, bit in 0..8u8) {
        let mut whole = messages.concat();
        let place = (place * whole.len() as f64) as usize;
        whole[place] ^= 1 << bit;
        let before = messages.iter().scan(0, |end, message| { *end += message.len(); Some(*end) });
        let whole_before = before.take_while(|end| *end <= place).count();
        let (frames, error) = decode(&[&whole]);
        prop_assert_eq!(frames.len(), whole_before);
        prop_assert!(matches!(error, Some(Error::Corrupt(_))));
    }

    #[test]
    fn garbage_does_no_harm(bytes: Vec<u8>, headers: Vec<u8>) {
        decode(&[&bytes]);
        decode(&[&sealed(&headers, &bytes)]);
        invoked(&String::from_utf8_lossy(&bytes)).ok();
    }
}

/// Every recorded body, whole and in pieces.
#[test]
fn every_recorded_stream_is_read_whole() {
    let Some(recordings) = Recordings::shared() else { return };
    let (mut bodies, mut count, mut inner) = (0, 0, 0);
    for recording in recordings.iter().filter(|recording| recording.format == "aws-eventstream") {
        let body = recording.response.body();
        let (frames, error) = decode(&[body]);
        assert_eq!(error, None, "{}", recording.id);
        for size in [1, 7] {
            let pieces: Vec<&[u8]> = body.chunks(size).collect();
            assert_eq!(decode(&pieces), (frames.clone(), None), "{}", recording.id);
        }
        for frame in &frames {
            let (name, data) = data(frame);
            let json: serde_json::Value = serde_json::from_str(data).expect("is JSON");
            assert!(json[name].is_object(), "{}: {data}", recording.id);
            if recording.endpoint == "invoke-with-response-stream" {
                let event = invoked(data).expect("is whole").expect("is a chunk");
                serde_json::from_str::<serde_json::Value>(&event).expect("is JSON");
                inner += 1;
            }
        }
        bodies += 1;
        count += frames.len();
    }
    println!("event streams: {bodies} bodies, {count} messages, {inner} chunks");
    assert!(bodies > 0 && inner > 0);
}

//! Newline-delimited JSON as lines.

use bytes::Bytes;
use proptest::prelude::*;
use ziggurat_dialect::{
    ndjson::Decoder,
    sse::{EventTooLarge, Frame},
};

fn decode<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, bool) {
    let (mut decoder, mut frames) = (Decoder::new(limit), Vec::new());
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        for frame in &mut decoder {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(_) => return (frames, true),
            }
        }
    }
    frames.extend(decoder.finish());
    (frames, false)
}

fn lines(frames: &[Frame]) -> Vec<String> {
    let data = |frame: &Frame| match frame {
        Frame::Event(event) => Some(String::from_utf8_lossy(&event.data).into_owned()),
        _ => None,
    };
    frames.iter().filter_map(data).collect()
}

fn raw(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.raw().to_vec()).collect()
}

#[test]
fn lines_are_events_and_blank_lines_are_signs_of_life() {
    let input = b"\n\r\n{\"a\":1}\n  \n{\"b\":2}\r\n\n{\"c\"";
    let (frames, failed) = decode(100, [&input[..]]);
    assert!(!failed);
    assert_eq!(lines(&frames), [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c""#]);
    assert_eq!(raw(&frames), input);
    let idle = frames.iter().filter(|frame| matches!(frame, Frame::Idle(_))).count();
    assert_eq!((idle, frames.len()), (3, 6));
}

#[test]
fn a_byte_order_mark_is_no_data() {
    let (frames, _) = decode(100, [&b"\xEF\xBB\xBF{}\n"[..]]);
    assert_eq!(lines(&frames), ["{}"]);
    assert_eq!(raw(&frames), b"\xEF\xBB\xBF{}\n");
}

#[test]
fn a_line_is_a_slice_of_its_chunk() {
    let chunk = Bytes::from_static(b"{\"a\":1}\n{\"b\":2}\n");
    let mut decoder = Decoder::new(100);
    decoder.push(chunk.clone());
    let Some(Ok(Frame::Event(first))) = decoder.next() else { panic!("is a line") };
    assert_eq!(first.data.as_ptr(), chunk.as_ptr());
}

#[test]
fn what_is_not_taken_is_not_lost() {
    let mut decoder = Decoder::new(100);
    decoder.push(Bytes::from_static(b"{}\n"));
    decoder.push(Bytes::from_static(b"[]\n"));
    assert_eq!(decoder.finish(), Some(Frame::Other(Bytes::from_static(b"{}\n[]\n"))));
    decoder.push(Bytes::from_static(b"{}\n"));
    assert_eq!(decoder.next(), None);
}

#[test]
fn a_line_over_the_limit_fails_once_and_for_good() {
    let mut decoder = Decoder::new(8);
    decoder.push(Bytes::from_static(b"1234567\n12345678\n1\n"));
    assert!(matches!(decoder.next(), Some(Ok(Frame::Event(_)))));
    assert!(matches!(decoder.next(), Some(Err(EventTooLarge { limit: 8, .. }))));
    decoder.push(Bytes::from_static(b"1\n"));
    assert_eq!((decoder.next(), decoder.finish()), (None, None));
}

fn pieces(input: &[u8], cuts: Vec<usize>) -> Vec<&[u8]> {
    let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (input.len() + 1)).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect()
}

proptest! {
    #[test]
    fn any_split_gives_the_same_lines(
        input in "([{}:a-c0-9\" é]|\n|\r\n|\r){0,60}",
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        limit in 1_usize..40,
    ) {
        let input = input.as_bytes();
        let (whole, failed) = decode(limit, [input]);
        for cut in [pieces(input, cuts), input.chunks(1).collect(), input.chunks(7).collect()] {
            let (found, fails) = decode(limit, cut);
            prop_assert_eq!(fails, failed);
            prop_assert_eq!(lines(&found), lines(&whole));
            if !failed {
                prop_assert_eq!(raw(&found), input);
            }
        }
    }
}

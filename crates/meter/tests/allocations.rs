//! What passing costs in memory: nothing, for chunks of whole events that nobody listens to.

mod support;

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use ziggurat_core::{Body, Dialect};
use ziggurat_meter::{MeteredBody, Options};

use crate::support::*;

/// As hyper gives them: parts of one read buffer.
fn as_read(chunks: impl IntoIterator<Item = String>) -> Vec<Bytes> {
    let chunks: Vec<String> = chunks.into_iter().collect();
    let mut buffer = BytesMut::from(chunks.concat().as_bytes());
    chunks.iter().map(|chunk| buffer.split_to(chunk.len()).freeze()).collect()
}

fn allocations(dialect: Dialect, chunks: Vec<Bytes>) -> u64 {
    let count = chunks.len();
    let scripted = Scripted::new(chunks.into_iter().map(Step::Data));
    let mut body = MeteredBody::new(Body::new(scripted), Options::new(dialect), None);
    let mut cx = Context::from_waker(Waker::noop());
    let mut pass = |frames: usize| {
        for _ in 0..frames {
            let frame = Pin::new(&mut body).poll_frame(&mut cx);
            assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
        }
    };
    // The first makes the queue.
    pass(1);
    allocation_counter::measure(|| pass(count - 1)).count_total
}

#[test]
fn a_chunk_of_whole_events_costs_no_allocation() {
    let escapes = r#"so \"said\" he:\n\u00e9 \\ {\"error\":1}"#;
    for events in [1, 2, 40] {
        let chunk = (0..events).map(|_| chat(escapes)).collect::<String>();
        assert_eq!(allocations(Dialect::OpenAi, as_read(vec![chunk; 100])), 0, "{events} events a chunk");
        let chunk = (0..events).map(|_| MESSAGE_TEXT.replace("Hi", escapes)).collect::<String>();
        assert_eq!(allocations(Dialect::Anthropic, as_read(vec![chunk; 100])), 0, "{events} events a chunk");
    }
}

#[test]
fn a_chunk_that_ends_within_an_event_costs_one_for_each_part_that_is_kept() {
    let text = chat("Hi").repeat(100);
    let chunks = text.as_bytes().chunks(chat("Hi").len() + 1);
    let chunks = as_read(chunks.map(|chunk| String::from_utf8(chunk.to_vec()).unwrap()));
    let count = chunks.len() as u64;
    // The part is put together in memory of its own, which then is a frame of its own.
    let counted = allocations(Dialect::OpenAi, chunks[..chunks.len() - 1].to_vec());
    assert!(counted <= 3 * count, "{counted} allocations in {count} chunks");
}

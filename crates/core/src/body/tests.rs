use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody};

use super::*;

fn chunks(parts: &[&'static str]) -> Body {
    let frames: Vec<_> = parts.iter().map(|p| Ok::<_, BoxError>(Frame::data(Bytes::from(*p)))).collect();
    Body::new(StreamBody::new(stream::iter(frames)))
}

#[tokio::test]
async fn a_body_of_a_body_is_the_same_body() {
    let whole = Bytes::from("abc");
    let pointer = whole.as_ptr();
    let body = Body::new(Body::new(Body::from(whole)));
    assert_eq!(body.as_bytes().map(|b| b.as_ptr()), Some(pointer));
    assert_eq!(body.size_hint().exact(), Some(3));
}

#[tokio::test]
async fn collects_exactly_up_to_the_limit() {
    assert_eq!(chunks(&["ab", "", "cd"]).collect_within(4).await.expect("fits"), "abcd");
    assert!(matches!(
        chunks(&["ab", "cde"]).collect_within(4).await,
        Err(CollectError::TooLarge { limit: 4 })
    ));
    let full = Body::new(Full::new(Bytes::from("abcde")));
    assert!(matches!(full.collect_within(4).await, Err(CollectError::TooLarge { limit: 4 })));
    assert!(matches!(Body::from("abcde").collect_within(4).await, Err(CollectError::TooLarge { limit: 4 })));
}

#[tokio::test]
async fn one_chunk_is_not_copied() {
    let whole = Bytes::from("abc");
    let pointer = whole.as_ptr();
    let body = Body::new(StreamBody::new(stream::iter([Ok::<_, BoxError>(Frame::data(whole))])));
    assert_eq!(body.collect_within(9).await.expect("fits").as_ptr(), pointer);
}

/// A chunk of these bytes that tells when it is freed.
fn told(bytes: Vec<u8>, freed: &Arc<AtomicBool>) -> Bytes {
    struct Owner(Vec<u8>, Arc<AtomicBool>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.1.store(true, Ordering::Relaxed);
        }
    }
    Bytes::from_owner(Owner(bytes, Arc::clone(freed)))
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn any_split_gives_the_same_bytes() {
    for len in [0, 1, 1023, 1024, 1025, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES + 7] {
        let whole = Bytes::from(pattern(len));
        for size in [1, 7, 1000, 4096, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1] {
            let parts: Vec<_> = (0..len).step_by(size).map(|at| at..len.min(at + size)).collect();
            let frames = parts.into_iter().map(|part| Ok::<_, BoxError>(Frame::data(whole.slice(part))));
            let frames: Vec<_> = frames.collect();
            let body = Body::new(StreamBody::new(stream::iter(frames)));
            assert_eq!(body.collect_within(len).await.expect("fits"), whole, "{len} by {size}");
        }
    }
}

#[test]
fn segments_reserve_no_more_than_there_is_and_are_never_grown() {
    let mut segments = Segments::default();
    for _ in 0..5 * SEGMENT_BYTES / 3 {
        segments.push(b"abc");
        let reserved: usize = segments.list.iter().map(Vec::capacity).sum();
        let spare = segments.len.clamp(MIN_SEGMENT_BYTES, SEGMENT_BYTES);
        assert!(reserved <= segments.len + spare, "{reserved} for {}", segments.len);
    }
    let sizes: Vec<_> = segments.list.iter().map(|segment| segment.capacity() >> 10).collect();
    assert_eq!(sizes, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256]);
    let joined = segments.join(Bytes::new());
    assert_eq!(joined.len(), 5 * SEGMENT_BYTES / 3 * 3);
}

#[test]
fn an_expected_length_is_reserved_at_once_and_not_copied_again() {
    let mut segments = Segments { expected: 3000, ..Segments::default() };
    segments.push(&[1; 2000]);
    segments.push(&[2; 1000]);
    assert_eq!(segments.list.iter().map(Vec::capacity).collect::<Vec<_>>(), [3000]);
    let pointer = segments.list[0].as_ptr();
    assert_eq!(segments.join(Bytes::new()).as_ptr(), pointer);
}

#[tokio::test]
async fn small_chunks_are_freed_as_they_come_and_a_large_first_one_is_not_copied_before_the_end() {
    for (len, freed_early) in [(1, true), (SEGMENT_BYTES - 1, true), (SEGMENT_BYTES, false)] {
        let freed = Arc::new(AtomicBool::new(false));
        let first = told(pattern(len), &freed);
        let seen = Arc::clone(&freed);
        let mut chunks = [first, Bytes::from("x"), Bytes::from("y")].into_iter().enumerate();
        let frames = stream::iter(std::iter::from_fn(move || {
            let (at, chunk) = chunks.next()?;
            assert_eq!(seen.load(Ordering::Relaxed), freed_early && at == 2, "{len} at {at}");
            Some(Ok::<_, BoxError>(Frame::data(chunk)))
        }));
        let body = Body::new(StreamBody::new(frames));
        let all = body.collect_within(len + 2).await.expect("fits");
        assert_eq!(all, [&pattern(len)[..], b"xy"].concat());
        assert!(freed.load(Ordering::Relaxed));
    }
}

#[tokio::test]
async fn trailers_pass_through() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x", http::HeaderValue::from_static("1"));
    let frames = [Ok::<_, BoxError>(Frame::data(Bytes::from("a"))), Ok(Frame::trailers(trailers.clone()))];
    let collected = Body::new(StreamBody::new(stream::iter(frames))).collect().await.expect("ends");
    assert_eq!(collected.trailers(), Some(&trailers));
}

/// A body of these frames under a guard; the guard's strong count is 1 once it was dropped.
fn guarded(frames: Vec<Result<Frame<Bytes>, BoxError>>) -> (Body, Arc<()>) {
    let guard = Arc::new(());
    (Body::new(StreamBody::new(stream::iter(frames))).guarded(Arc::clone(&guard)), guard)
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from(text)))
}

#[tokio::test]
async fn a_guard_is_kept_until_the_end_and_changes_nothing() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x", http::HeaderValue::from_static("1"));
    let (mut body, guard) = guarded(vec![data("a"), data(""), Ok(Frame::trailers(trailers.clone()))]);
    for text in ["a", ""] {
        assert_eq!(
            body.frame().await.expect("goes on").expect("is fine").into_data().ok().as_deref(),
            Some(text.as_bytes())
        );
        assert_eq!(Arc::strong_count(&guard), 2);
    }
    let last = body.frame().await.expect("goes on").expect("is fine");
    assert_eq!(last.into_trailers().ok(), Some(trailers));
    assert_eq!(Arc::strong_count(&guard), 2);
    assert!(body.frame().await.is_none());
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[tokio::test]
async fn a_guard_goes_with_an_error() {
    let (mut body, guard) = guarded(vec![data("a"), Err("reset".into())]);
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    assert_eq!(Arc::strong_count(&guard), 2);
    assert!(body.frame().await.is_some_and(|frame| frame.is_err()));
    assert_eq!(Arc::strong_count(&guard), 1);
}

#[tokio::test]
async fn a_guard_goes_with_the_frame_behind_which_the_body_says_it_has_ended() {
    let guard = Arc::new(());
    let mut body = Body::from("four").guarded(Arc::clone(&guard));
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(4), false));
    assert_eq!(Arc::strong_count(&guard), 2);
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    assert_eq!((Arc::strong_count(&guard), body.is_end_stream()), (1, true));
    // One that is empty has ended before it is asked.
    let body = Body::empty().guarded(Arc::clone(&guard));
    assert_eq!((Arc::strong_count(&guard), body.is_end_stream()), (1, true));
}

#[tokio::test]
async fn a_guard_goes_with_a_body_that_is_dropped_and_after_its_source() {
    struct Source(#[expect(dead_code, reason = "counted")] Arc<()>);
    impl HttpBody for Source {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Pending
        }
    }
    struct Guard(Arc<()>, Arc<AtomicBool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.1.store(Arc::strong_count(&self.0) == 2, Ordering::Relaxed);
        }
    }
    let (source, gone_before) = (Arc::new(()), Arc::new(AtomicBool::new(false)));
    let guard = Guard(Arc::clone(&source), Arc::clone(&gone_before));
    let mut body = Body::new(Source(Arc::clone(&source))).guarded(guard);
    assert!(futures_util::FutureExt::now_or_never(body.frame()).is_none());
    assert_eq!(Arc::strong_count(&source), 3);
    drop(body);
    assert_eq!((Arc::strong_count(&source), gone_before.load(Ordering::Relaxed)), (1, true));
}

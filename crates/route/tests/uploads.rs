//! Forms that pass as they come: who may be asked again.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tower::{Layer, ServiceExt};
use ziggurat_core::{Body, BoxError, Limits, Unsent};
use ziggurat_route::{Cooldown, RetryPolicy, RouteLayer, Routes};

use crate::support::*;

fn form(sound: usize) -> String {
    let part = |head: &str, content: &str| {
        format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    let file = part("name=\"file\"; filename=\"a.mp3\"", &"s".repeat(sound));
    format!("{}{file}--b--\r\n", part("name=\"model\"", "g"))
}

fn request(form: &str) -> Request<Body> {
    let pieces: Vec<_> = form.as_bytes().chunks(500).map(Bytes::copy_from_slice).collect();
    let frames = stream::iter(pieces).map(|piece| Ok::<_, BoxError>(Frame::data(piece)));
    let request =
        Request::post("/v1/audio/transcriptions").header("content-type", "multipart/form-data; boundary=b");
    request.body(Body::new(StreamBody::new(frames))).expect("is a request")
}

/// Asks three deployments of which the first does not connect and the second fails; gives how often each was asked, the status, and what
/// the last was sent.
async fn ask(sound: usize) -> (usize, u16, String) {
    let group = group("g", &["a", "b", "c"]).retry(RetryPolicy::new(5)).cooldown(Cooldown::disabled());
    let routes = Routes::builder().group(group.build().expect("is a group")).build().expect("are routes");
    let layer = RouteLayer::new(routes).random(|| 0).limits(Limits::default().form(1000));
    let asked = Arc::new(AtomicUsize::new(0));
    let sent = Arc::new(std::sync::Mutex::new(String::new()));
    let (count, keep) = (Arc::clone(&asked), Arc::clone(&sent));
    let upstream = tower::service_fn(move |request: Request<Body>| {
        let (number, keep) = (count.fetch_add(1, Ordering::SeqCst), Arc::clone(&keep));
        async move {
            if number == 0 {
                return Err::<Response<Body>, BoxError>(Unsent::new("refused").into());
            }
            let bytes = request.into_body().collect().await?.to_bytes();
            *keep.lock().expect("is sound") = String::from_utf8(bytes.to_vec()).expect("is UTF-8");
            let status = if number == 1 { 500 } else { 200 };
            Ok(Response::builder().status(status).body(Body::from("{}")).expect("is an answer"))
        }
    });
    let response = layer.layer(upstream).oneshot(request(&form(sound))).await.expect("is infallible");
    let sent = sent.lock().expect("is sound").clone();
    (asked.load(Ordering::SeqCst), response.status().as_u16(), sent)
}

#[tokio::test(start_paused = true)]
async fn a_form_that_is_held_is_sent_again() {
    assert_eq!(ask(100).await, (3, 200, form(100)));
}

#[tokio::test(start_paused = true)]
async fn a_form_that_passes_is_sent_again_until_it_has_passed() {
    assert_eq!(ask(20_000).await, (2, 500, form(20_000)));
}

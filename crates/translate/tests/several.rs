//! Calls that are made in several, as one text is embedded in each.

mod support;

use std::{
    collections::VecDeque,
    future::ready,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_core::{Body, BoxError, Dialect, Operation, Outcome, Target, Unsent, Wording};
use ziggurat_testkit::read_body;
use ziggurat_translate::TranslateLayer;

use crate::support::*;

/// Two texts, at a provider that takes one a call and gives these answers: what its caller hears, and how the attempt ended.
async fn two(
    answers: [Result<Response<Body>, BoxError>; 2],
    most: usize,
) -> (Option<(u16, String)>, Outcome) {
    let target = Target::new("p", Dialect::Converse, "amazon.titan-embed-text-v1", "https://p.example/chat");
    let target = target
        .and_then(|target| {
            target.serves_as(Operation::Embeddings, "https://p.example/embed", Wording::TitanEmbed)
        })
        .expect("is a URL");
    let recorder: Arc<Recorder> = Arc::default();
    let body = r#"{"model":"alias","input":["a","b"]}"#;
    let mut asked = Request::post("/v1/embeddings").body(Body::from(body)).expect("is a request");
    let (_meter, end) = recorder.join(&mut asked);
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let upstream =
        service_fn(move |_| ready(answers.lock().expect("is sound").pop_front().expect("has one left")));
    let layer = TranslateLayer::new().target(target).max_response(most);
    let heard = match layer.layer(upstream).oneshot(asked).await {
        Ok(response) => {
            let status = response.status().as_u16();
            Some((status, read_body(response.into_body()).await.0))
        }
        Err(_) => None,
    };
    drop(end);
    (heard, recorder.outcomes()[0][0].expect("has ended"))
}

fn vector() -> Response<Body> {
    json(r#"{"embedding":[1]}"#)
}

#[tokio::test]
async fn a_later_call_that_is_lost_is_told_apart_from_one_that_was_not_sent() {
    let unsent = Unsent::new("refused").into();
    for (error, outcome) in [("reset".into(), Outcome::Truncated), (unsent, Outcome::Failed)] {
        assert_eq!(two([Ok(vector()), Err(error)], 1000).await, (None, outcome));
    }
}

#[tokio::test]
async fn all_answers_together_are_as_long_as_one_may_be() {
    let length = r#"{"embedding":[1]}"#.len();
    let (heard, outcome) = two([Ok(vector()), Ok(vector())], 2 * length).await;
    assert_eq!((heard.expect("is answered").0, outcome), (200, Outcome::Complete));
    let (heard, outcome) = two([Ok(vector()), Ok(vector())], 2 * length - 1).await;
    let (status, body) = heard.expect("is answered");
    assert_eq!((status, outcome), (502, Outcome::Truncated), "{body}");
}

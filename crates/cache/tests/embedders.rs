//! Whatever an embedder does, the call goes on; one that is a service is asked as OpenAI's is.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Extensions, Request, Response};
use serde_json::{Value, json};
use tower::service_fn;
use ziggurat_cache::{Embedder, EmbedderService, Embedding, SemanticCounts, Trigrams};
use ziggurat_core::{Body, BoxError, Principal};

use crate::support::*;

/// Does as it is told.
struct Faulty(fn() -> Embedding);

impl Embedder for Faulty {
    fn name(&self) -> &str {
        "faulty"
    }

    fn embed(&self, _: &str, _: &Extensions) -> Embedding {
        (self.0)()
    }
}

#[tokio::test(start_paused = true)]
async fn an_embedder_that_fails_is_a_miss_and_the_call_goes_on() {
    let cases: [fn() -> Embedding; 5] = [
        || Box::pin(async { Err("it is away".into()) }),
        || Box::pin(async { Ok(vec![f32::NAN, 1.0]) }),
        || Box::pin(async { Ok(vec![0.0, 0.0]) }),
        || Box::pin(async { Ok(vec![]) }),
        || Box::pin(async { Ok(vec![f32::INFINITY, 0.0]) }),
    ];
    for case in cases {
        let (upstream, semantic) = (numbered(), semantic(Faulty(case)));
        let service = with(&upstream, &semantic);
        for text in ["a", "b"] {
            let answered = ask(&service, chat(&user(text))).await;
            assert_eq!((answered.status, answered.cache), (200, MISS));
        }
        // The same words need none.
        assert_eq!(ask(&service, chat(&user("a"))).await.cache, HIT);
        let mut counts = SemanticCounts::default();
        (counts.asked, counts.failed) = (2, 2);
        assert_eq!((semantic.counts(), upstream.calls()), (counts, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_embedder_that_hangs_is_waited_for_so_long() {
    for (patience, waited) in [(None, 200), (Some(50), 50)] {
        let mut semantic = semantic(Faulty(|| Box::pin(std::future::pending())));
        if let Some(millis) = patience {
            semantic = semantic.patience(Duration::from_millis(millis));
        }
        let (upstream, began) = (numbered(), tokio::time::Instant::now());
        let answered = ask(&with(&upstream, &semantic), chat(&user("a"))).await;
        assert_eq!((answered.status, answered.cache), (200, MISS));
        // tokio's timers fire at the millisecond after the one that is asked for.
        let took = began.elapsed().as_millis();
        assert!((waited..=waited + 1).contains(&took), "{took} ms");
        let mut counts = SemanticCounts::default();
        (counts.asked, counts.late) = (1, 1);
        assert_eq!((semantic.counts(), upstream.calls()), (counts, 1));
    }
}

#[tokio::test]
async fn another_number_of_dimensions_is_a_miss() {
    struct Growing(AtomicUsize);
    impl Embedder for Growing {
        fn name(&self) -> &str {
            "growing"
        }

        fn embed(&self, _: &str, _: &Extensions) -> Embedding {
            let more = self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { Ok(vec![1.0; 2 + more]) })
        }
    }
    let service = with(&numbered(), &semantic(Growing(AtomicUsize::new(0))));
    for text in ["a", "b", "c"] {
        let answered = ask(&service, chat(&user(text))).await;
        assert_eq!((answered.status, answered.cache), (200, MISS));
    }
}

/// Where something was asked, for whom, and what.
type Seen = (String, Option<Principal>, Value);

#[tokio::test]
async fn a_service_embeds_for_the_caller() {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let stack = service_fn(move |request: Request<Body>| {
        let noted = Arc::clone(&noted);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_within(1 << 20).await?;
            let body: Value = serde_json::from_slice(&body)?;
            let vector = Trigrams::new(64).vector(body["input"].as_str().expect("is a text"));
            let answer = json!({"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": vector}]});
            let principal = parts.extensions.get::<Principal>().cloned();
            noted.lock().expect("is sound").push((
                format!("{} {}", parts.method, parts.uri),
                principal,
                body,
            ));
            Ok::<_, BoxError>(Response::new(Body::from(answer.to_string())))
        }
    });
    let service = with(&numbered(), &semantic(EmbedderService::new(stack, "e")));
    ask(&service, by(chat(&user(CAPITAL)), "t", "k")).await;
    assert_eq!(ask(&service, by(chat(&user(CAPITAL_TOO)), "t", "k2")).await.cache, HIT);
    let seen = seen.lock().expect("is sound");
    let keys: Vec<_> =
        seen.iter().map(|(_, principal, _)| principal.as_ref().and_then(|who| who.key.as_deref())).collect();
    assert_eq!(keys, [Some("k"), Some("k2")]);
    assert_eq!(seen[0].0, "POST /v1/embeddings");
    assert_eq!(seen[0].2, json!({"model": "e", "input": CAPITAL, "encoding_format": "float"}));
}

#[tokio::test]
async fn a_service_that_refuses_or_answers_nonsense_is_a_miss() {
    for (status, body) in [
        (429, r#"{"error":{"message":"spent"}}"#),
        (200, "{}"),
        (200, r#"{"data":[]}"#),
        (200, r#"{"data":[{"embedding":["x"]}]}"#),
        (200, r#"{"data":[{"embedding":"AAAA"}]}"#),
        (200, r#"{"data":[{"embedding":[1e99]}]}"#),
        (200, "not JSON"),
    ] {
        let stack = service_fn(move |_: Request<Body>| async move {
            Ok::<_, BoxError>(Response::builder().status(status).body(Body::from(body)).expect("is one"))
        });
        let semantic = semantic(EmbedderService::new(stack, "e"));
        let answered = ask(&with(&numbered(), &semantic), chat(&user("a"))).await;
        assert_eq!((answered.status, answered.cache, semantic.counts().failed), (200, MISS, 1), "{body}");
    }
}

//! What is mirrored, what the caller notices of it (nothing), and what is compared.

mod support;

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use ziggurat_core::{
    Body, BoxError, Call, Cause, Meter, OpenAttempt, Plan, Principal, Problem, Rejection, Target,
};
use ziggurat_route::{
    Cooldown, Course, End, Mirrored, PlanLayer, Random, RetryBudget, RouteLayer, Routes, ShadowLayer, State,
};
use ziggurat_testkit::{
    Scripted, Step,
    conformance::{Check, Conformance, axum_takes, client_takes},
};

use crate::support::*;

fn principal(key: &str) -> Principal {
    let mut principal = Principal::default();
    principal.key = Some(key.into());
    principal
}

/// A layer that mirrors everything to `h`, and what it compares.
fn shadow() -> (ShadowLayer, UnboundedReceiver<Mirrored>) {
    let (sender, compared) = unbounded_channel();
    let compare = move |mirrored| sender.send(mirrored).expect("somebody listens");
    let layer = ShadowLayer::new("h", principal("shadow"), compare, |mirror| {
        tokio::spawn(mirror);
    });
    (layer, compared)
}

fn routes() -> RouteLayer {
    let groups = [("g", "a"), ("h", "b")].map(|(name, id)| group(name, &[id]).build().expect("is a group"));
    RouteLayer::new(
        groups
            .into_iter()
            .fold(Routes::builder(), |all, group| all.group(group))
            .build()
            .expect("are routes"),
    )
}

fn over(layer: &ShadowLayer, upstream: &Upstream) -> Service {
    BoxCloneSyncService::new(
        layer.layer(PlanLayer::new(routes().routes().clone()).layer(alone(&routes(), upstream))),
    )
}

/// The layer around a service that answers so.
fn around_answer(
    layer: &ShadowLayer,
    answer: impl Fn(&Request<Body>) -> Result<Response<Body>, BoxError> + Clone + Send + Sync + 'static,
) -> BoxCloneSyncService<Request<Body>, Response<Body>, BoxError> {
    BoxCloneSyncService::new(layer.layer(service_fn(move |request: Request<Body>| {
        let answer = answer(&request);
        async move { answer }
    })))
}

fn model(request: &Request<Body>) -> String {
    Call::of(request).and_then(Call::model).unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn both_answers_are_compared_and_the_caller_gets_its_own_at_once() {
    for stream in [false, true] {
        let upstream = Upstream::default();
        let act = |text| if stream { support::stream(&[text]) } else { ok(text) };
        let slow = Act::After(Duration::from_secs(3), Box::new(act("there")));
        upstream.does("a", [act("Hello")]).does("b", [slow]);
        let (layer, mut compared) = shadow();
        let got = call(&over(&layer, &upstream), request("g", stream)).await;
        let body = |text| match stream {
            true => [role(), says(text)].concat() + &ends().concat(),
            false => answer(text),
        };
        assert_eq!((got.status, got.body, got.took), (200, body("Hello"), Duration::ZERO));
        assert_eq!(got.served.unwrap().target.unwrap().deployment(), "a");

        let Mirrored { call, original, shadow, .. } = compared.recv().await.unwrap();
        assert_eq!(call.model(), Some("g"));
        assert_eq!((&*original.model, &*shadow.model), ("g", "h"));
        assert_eq!([original.status, shadow.status], [Some(StatusCode::OK); 2]);
        assert_eq!([&original.body, &shadow.body], [body("Hello").as_bytes(), body("there").as_bytes()]);
        assert_eq!([original.elapsed, shadow.elapsed], [0, 3].map(Duration::from_secs));
        assert_eq!([original.first_byte, shadow.first_byte], [0, 3].map(|s| Some(Duration::from_secs(s))));
        assert!(matches!((&original.end, &shadow.end), (End::Whole, End::Whole)));
        assert!(!original.truncated && !shadow.truncated);
        let by = [&original, &shadow].map(|seen| {
            let served = seen.served.clone().unwrap();
            (served.target.unwrap().deployment().to_owned(), served.group.unwrap().to_string())
        });
        assert_eq!(by, [("a", "g"), ("b", "h")].map(|(id, group)| (id.to_owned(), group.to_owned())));
        assert_eq!((layer.counts().mirrored, layer.counts().skipped), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shadow_that_fails_uses_up_nothing_that_others_need() {
    for stream in [false, true] {
        let upstream = Upstream::default();
        let fails = if stream { Act::Breaks(vec![role(), says("Hel")]) } else { fails(500) };
        upstream.does("a", [ok("Hello")]).does("b", [fails]).does("c", [ok("no")]);
        let cooldown = Cooldown::default().consecutive(Some(1));
        let h = group("h", &["b", "c"]).cooldown(cooldown).hedge_after(Duration::ZERO);
        let h = h.retry_budget(RetryBudget::new(0, 0).keep(2)).continue_streams(true).build().unwrap();
        let (g, left) = (group("g", &["a"]).build().unwrap(), h.retry_budget().left(Instant::now()));
        let routes = Routes::builder().group(g).group(Arc::clone(&h)).build().unwrap();
        let (layer, mut compared) = shadow();
        let service = layer.layer(alone(&RouteLayer::new(routes), &upstream));
        let got = call(&BoxCloneSyncService::new(service), request("g", stream)).await;
        assert_eq!(got.status, 200, "{}", got.body);
        let _told = compared.recv().await.unwrap();
        assert_eq!(upstream.called(), ["a", "b"]);
        let figures = h.deployments()[0].figures(Instant::now());
        assert_eq!((figures.state, figures.failures, figures.in_flight), (State::Healthy, 0, 0));
        assert_eq!(h.retry_budget().left(Instant::now()), left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shadow_that_fails_is_told_of_and_the_caller_does_not_notice() {
    for (act, status) in [
        (fails(500), Some(500)),
        (Act::Refuses, Some(502)),
        (Act::Hangs, None),
        (Act::Breaks(vec![role(), says("Hel")]), Some(200)),
    ] {
        let upstream = Upstream::default();
        upstream.does("a", [stream(&["Hello"])]).does("b", [act.clone()]);
        let (layer, mut compared) = shadow();
        let layer = layer.timeout(Duration::from_secs(4));
        let got = call(&over(&layer, &upstream), request("g", true)).await;
        assert_eq!((got.status, got.took), (200, Duration::ZERO), "{act:?}");
        assert_eq!(got.body, [role(), says("Hello")].concat() + &ends().concat());
        let Mirrored { original, shadow, .. } = compared.recv().await.unwrap();
        assert_eq!(
            (original.status, shadow.status.map(|it| it.as_u16())),
            (Some(StatusCode::OK), status),
            "{act:?}"
        );
        match (&act, &shadow.end) {
            (Act::Hangs, End::Failed(problem)) => {
                assert_eq!((problem.cause, shadow.elapsed), (Cause::Timeout, Duration::from_secs(4)));
            }
            (Act::Breaks(_), End::Whole) => {
                let body = String::from_utf8(shadow.body.to_vec()).unwrap();
                assert!(body.contains("Hel") && body.contains("\"error\""), "{body}");
            }
            (_, End::Whole) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_inner_service_is_the_shadows_own() {
    let (layer, mut compared) = shadow();
    let service = around_answer(&layer, |request| match &*model(request) {
        "g" => Ok(Response::new("Hello".into())),
        _ => Err("no".into()),
    });
    let response = service.oneshot(request("g", false)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "Hello");
    let Mirrored { original, shadow, .. } = compared.recv().await.unwrap();
    assert!(matches!(original.end, End::Whole));
    assert!(matches!(&shadow.end, End::Failed(problem) if problem.cause == Cause::Upstream), "{shadow:?}");
    assert_eq!((shadow.status, &*shadow.body), (None, &b""[..]));
}

#[tokio::test]
async fn the_shadow_is_asked_as_one_of_its_own() {
    let (layer, mut compared) = shadow();
    let layer = layer.leave_out(["fallbacks"]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let service = around_answer(&layer, move |request| {
        let extensions = request.extensions();
        let own = [
            extensions.get::<Meter>().is_some(),
            extensions.get::<Plan>().is_some(),
            extensions.get::<Course>().is_some(),
            extensions.get::<Target>().is_some(),
            extensions.get::<OpenAttempt>().is_some(),
            extensions.get::<u8>().is_some(),
        ];
        let body = String::from_utf8(request.body().as_bytes().unwrap().to_vec()).unwrap();
        let key = extensions.get::<Principal>().and_then(|it| it.key.clone()).unwrap();
        let length = request.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap();
        assert_eq!(length, body.len());
        noted.lock().unwrap().push((body, key.to_string(), own));
        Ok(Response::new("Hello".into()))
    });
    let body = r#"{"model":"g","user":"u","fallbacks":["x"],"n":1,"metadata":{"tags":["t"]},"messages":[{"role":"user","content":"Hi"}]}"#;
    let mut request = Request::post("/v1/chat/completions")
        .header("content-length", body.len())
        .body(Body::from(body))
        .unwrap();
    let course = routes().routes().course("g", None).unwrap();
    let (_meter, _end) = Meter::join(&mut request);
    let extensions = request.extensions_mut();
    extensions.insert(principal("caller"));
    extensions.insert(course.plan());
    extensions.insert(course);
    extensions.insert(target("a"));
    extensions.insert(7_u8);
    let response = service.oneshot(request).await.unwrap();
    drop(response);
    compared.recv().await.unwrap();
    let seen = seen.lock().unwrap();
    let own = [true, true, true, true, false, true];
    assert_eq!(seen[0], (body.to_owned(), "caller".to_owned(), own));
    let shadow = r#"{"model":"h","n":1,"messages":[{"role":"user","content":"Hi"}]}"#;
    assert_eq!(seen[1], (shadow.to_owned(), "shadow".to_owned(), [false; 6]));
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_shadow_has_no_shadow() {
    let (layer, mut compared) = shadow();
    let inner = ShadowLayer::new(
        "i",
        principal("other"),
        |_| {},
        |mirror| {
            tokio::spawn(mirror);
        },
    );
    let models = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&models);
    let answer = service_fn(move |request: Request<Body>| {
        noted.lock().unwrap().push(model(&request));
        async { Ok::<_, BoxError>(Response::new(Body::from("Hello"))) }
    });
    layer.layer(inner.layer(answer)).oneshot(request("g", false)).await.unwrap();
    compared.recv().await.unwrap();
    tokio::task::yield_now().await;
    models.lock().unwrap().sort_unstable();
    assert_eq!(*models.lock().unwrap(), ["g", "h", "i"]);
    assert_eq!((layer.counts().mirrored, inner.counts().mirrored), (1, 1));
}

#[tokio::test]
async fn what_is_refused_or_is_no_such_call_is_not_mirrored() {
    let (layer, _compared) = shadow();
    let layer = layer.when(|call| call.model() != Some("not this"));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = around_answer(&layer, move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        if model(request) == "refused" {
            return Ok(Rejection::new(Cause::RateLimit, "no").into_response(ziggurat_core::Dialect::OpenAi));
        }
        Ok(Response::new("Hello".into()))
    });
    let azure = r#"{"messages":[{"role":"user","content":"Hi"}]}"#;
    for request in [
        request("refused", false),
        request("not this", false),
        request("h", false),
        Request::get("/v1/models").body(Body::empty()).unwrap(),
        Request::post("/v1/audio/transcriptions")
            .header("content-type", "multipart/form-data; boundary=b")
            .body(Body::from("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--"))
            .unwrap(),
        Request::post("/openai/deployments/g/chat/completions").body(Body::from(azure)).unwrap(),
        Request::post("/elsewhere").body(Body::from("?")).unwrap(),
    ] {
        let path = request.uri().clone();
        service.clone().oneshot(request).await.unwrap();
        assert_eq!(layer.counts(), Default::default(), "{path}");
    }
    tokio::task::yield_now().await;
    assert_eq!(calls.load(Ordering::SeqCst), 7);
}

#[tokio::test]
async fn the_share_is_what_is_said_and_repeats_with_the_seed() {
    for (share, mirrored) in [(0.0, 0), (0.1, 98), (0.5, 525), (1.0, 1000), (f64::NAN, 0)] {
        let random = Mutex::new(Random::new(7));
        let layer = ShadowLayer::new("h", Principal::default(), |_| {}, drop)
            .share(share)
            .random(move || random.lock().unwrap().draw());
        let service = around_answer(&layer, |_| Ok(Response::new("Hello".into())));
        for _ in 0..1000 {
            service.clone().oneshot(request("g", false)).await.unwrap();
        }
        assert_eq!((layer.counts().mirrored, layer.counts().skipped), (mirrored, 0), "{share}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_run_than_may_and_the_rest_is_counted() {
    let upstream = Upstream::default();
    upstream.does("a", [ok("Hello")]).does("b", [Act::After(Duration::from_secs(9), Box::new(ok("there")))]);
    let (layer, mut compared) = shadow();
    let layer = layer.most(2);
    let service = over(&layer, &upstream);
    for _ in 0..5 {
        assert_eq!(call(&service, request("g", false)).await.took, Duration::ZERO);
    }
    assert_eq!((layer.counts().mirrored, layer.counts().skipped), (2, 3));
    for _ in 0..2 {
        compared.recv().await.unwrap();
    }
    tokio::task::yield_now().await;
    call(&service, request("g", false)).await;
    assert_eq!((layer.counts().mirrored, layer.counts().skipped), (3, 3));
}

#[tokio::test]
async fn as_many_bytes_are_kept_as_may_and_all_are_given_on() {
    let (layer, mut compared) = shadow();
    let layer = layer.max_body(10);
    for (length, size) in [(9, 1), (10, 1), (10, 10), (11, 1), (11, 7), (11, 64), (5000, 7)] {
        let bytes = Bytes::from(vec![b'x'; length]);
        let dropped = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&dropped);
        let given = bytes.clone();
        let service = around_answer(&layer, move |_| {
            let body = Scripted::chunked(&given, size);
            noted.lock().unwrap().push(body.dropped());
            Ok(Response::new(body.into()))
        });
        let response = service.oneshot(request("g", false)).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), bytes);
        let Mirrored { original, shadow, .. } = compared.recv().await.unwrap();
        for seen in [&original, &shadow] {
            assert_eq!(
                (seen.body.len(), seen.truncated),
                (length.min(10), length > 10),
                "{length} by {size}"
            );
        }
        assert!(matches!(original.end, End::Whole));
        assert_eq!(matches!(shadow.end, End::Left), length > 10, "{length} by {size}");
        assert!(dropped.lock().unwrap().iter().all(|it| it.load(Ordering::SeqCst)));
    }
}

#[tokio::test]
async fn each_way_in_which_the_callers_answer_ends_is_told() {
    #[derive(Debug)]
    enum Ends {
        Read,
        Breaks,
        Left,
        Unread,
    }
    for ends in [Ends::Read, Ends::Breaks, Ends::Left, Ends::Unread] {
        let (layer, mut compared) = shadow();
        let last = matches!(ends, Ends::Breaks);
        let service = around_answer(&layer, move |request| {
            let steps = [Step::data("Hel"), Step::data("lo")].into_iter();
            let breaks = last && model(request) == "g";
            Ok(Response::new(Scripted::new(steps.chain(breaks.then(Step::reset))).into()))
        });
        let mut body = service.oneshot(request("g", true)).await.unwrap().into_body();
        let read = match ends {
            Ends::Read => body.collect().await.map(|it| it.to_bytes().len()).ok(),
            Ends::Breaks => body.collect().await.map(|it| it.to_bytes().len()).ok(),
            Ends::Left => {
                let read = body.frame().await.map(|it| it.unwrap().into_data().unwrap().len());
                drop(body);
                read
            }
            Ends::Unread => {
                drop(body);
                Some(0)
            }
        };
        let Mirrored { original, shadow, .. } = compared.recv().await.unwrap();
        assert_eq!((&*shadow.body, matches!(shadow.end, End::Whole)), (&b"Hello"[..], true), "{ends:?}");
        match (ends, &original.end) {
            (Ends::Read, End::Whole) => assert_eq!((read, original.body.len()), (Some(5), 5)),
            (Ends::Breaks, End::Failed(Problem { cause: Cause::Upstream, .. })) => {
                assert_eq!((read, original.body.len()), (None, 5));
            }
            (Ends::Left, End::Left) => assert_eq!((read, original.body.len()), (Some(3), 3)),
            (Ends::Unread, End::Left) => assert_eq!((original.body.len(), original.first_byte), (0, None)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_mirror_that_the_host_drops_changes_nothing() {
    let layer = ShadowLayer::new("h", Principal::default(), |_| panic!("nothing is compared"), drop);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = around_answer(&layer, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(Scripted::new([Step::data("Hel"), Step::data("lo")]).into()))
    });
    for _ in 0..100 {
        let response = service.clone().oneshot(request("g", true)).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "Hello");
    }
    assert_eq!((calls.load(Ordering::SeqCst), layer.counts().mirrored), (100, 100));
}

fn bytes_request(fields: &str) -> Request<Bytes> {
    let body = format!(r#"{{"model":"g",{fields}"messages":[{{"role":"user","content":"Hello"}}]}}"#);
    Request::post("/v1/chat/completions").body(body.into()).expect("is a request")
}

#[tokio::test]
async fn conforms_whether_it_mirrors_or_not_and_whole_and_streamed() {
    for (share, fields) in [(0.0, ""), (1.0, ""), (1.0, "\"stream\":true,")] {
        // The mirror that is dropped: the inner service is called as often as the layer is.
        let layer = ShadowLayer::new("h", Principal::default(), |_| {}, drop).share(share).most(1);
        let counts = layer.clone();
        let mut conformance = Conformance::new(layer)
            .request(move || bytes_request(fields))
            .response(|| Response::new(Bytes::from("some answer")))
            .refused(|| Request::post("/v1/chat/completions").body("{".into()).unwrap())
            .shared(move |first, second| {
                let counts = counts.clone();
                async move {
                    let before = counts.counts().mirrored;
                    for service in [first, second] {
                        service.oneshot(bytes_request(fields).map(Body::from)).await.expect("is answered");
                    }
                    counts.counts().mirrored == before + 2
                }
            });
        if share == 0.0 {
            conformance = conformance
                .without(Check::Refusal, "what is not mirrored is not read")
                .without(Check::SharedState, "there is none");
        }
        let report = conformance.run().await;
        report.assert();
        assert_eq!(report.passed().len(), if share == 0.0 { 9 } else { 11 });
    }
}

#[tokio::test]
async fn fits_axum_and_hypers_client() {
    let layer = || ShadowLayer::new("h", Principal::default(), |_| {}, drop);
    let _router = axum_takes(layer());
    let _client = client_takes(layer());
    let service = layer()
        .layer(service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) }));
    assert!(format!("{service:?}").starts_with("Shadow"));
}

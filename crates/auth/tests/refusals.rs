//! Who is not let in, and what is told to them.

mod support;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request};
use ziggurat_auth::{AuthLayer, Authenticate, MasterKey};
use ziggurat_core::{Body, Cause, Operation, Principal, Rejection};

use crate::support::*;

fn with(headers: &[(&'static str, &[u8])]) -> Request<Body> {
    let mut request = call("m");
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_bytes(value).expect("is a value"));
    }
    request
}

fn bearer(key: &[u8]) -> Request<Body> {
    with(&[("authorization", &[b"Bearer ", key].concat())])
}

#[tokio::test]
async fn every_kind_of_wrong_key_gets_the_same_401_and_what_cannot_be_a_key_no_query() {
    let (store, time, model) = (Store::default(), Manual::default(), Model::default());
    store.set("sk-blocked-0123456789", record(|record| record.blocked = true));
    store.set("sk-expired-0123456789", record(|record| record.expires_at = Some(start())));
    store.set(KEY, record(|_| {}));
    let auth: Vec<Arc<dyn Authenticate>> =
        vec![Arc::new(MasterKey::new("sk-m")), Arc::new(keys(&store, &time))];
    let layer = AuthLayer::new(auth);
    let long = vec![b'k'; 100 << 10];
    let malformed = [
        with(&[]),
        bearer(b""),
        bearer(b"x' OR 1=1; --"),
        bearer(b"sk-' OR 1=1; --------------"),
        bearer(b"sk-0123456789abcde"),
        bearer(b"SK-0123456789abcdef"),
        bearer("sk-0123456789abcdé".as_bytes()),
        bearer(&[b"sk-", &long[..201]].concat()),
        bearer(&long),
        bearer(&[b"sk-", &long[..]].concat()),
        with(&[("authorization", KEY.as_bytes())]),
        with(&[("authorization", b"Basic c2stMDEyMzQ1Njc4OWFiY2RlZg==")]),
        with(&[("authorization", b"Bearer sk-0123456789abcdef"), ("x-api-key", b"sk-0123456789abcdeF")]),
        with(&[("x-api-key", b"sk-0123456789abcdef"), ("x-api-key", b"sk-m")]),
        with(&[("x-api-key", b"sk-0123456789abcdef,sk-m")]),
    ];
    let wrong = [
        bearer(b"sk-of-nobody-that-is-known"),
        bearer(b"sk-blocked-0123456789"),
        bearer(b"sk-expired-0123456789"),
        bearer(b"sk-0123456789abcdeF"),
    ];
    let queries = wrong.len();
    let mut told = Vec::new();
    for (at, request) in malformed.into_iter().chain(wrong).enumerate() {
        let response = ask(&layer, &model, request).await;
        assert_eq!(response.status(), 401, "{at}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        let cause = response.extensions().get::<Rejection>().map(|rejection| rejection.problem().cause);
        assert_eq!(cause, Some(Cause::InvalidKey));
        told.push((response.headers().clone(), text(response)));
    }
    assert!(told.iter().all(|one| *one == told[0]));
    let body = r#"{"error":{"message":"missing or invalid API key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;
    assert_eq!(told[0].1, body);
    assert_eq!((model.calls(), store.asked()), (0, queries));
    // The one that is right, in each place, and the same in all of them.
    for name in ["x-api-key", "api-key", "x-goog-api-key", "x-litellm-api-key"] {
        assert_eq!(ask(&layer, &model, with(&[(name, KEY.as_bytes())])).await.status(), 200);
    }
    let both = with(&[("authorization", b"Bearer sk-0123456789abcdef"), ("api-key", KEY.as_bytes())]);
    assert_eq!(ask(&layer, &model, both).await.status(), 200);
    assert_eq!(store.asked(), queries + 1);
}

#[tokio::test]
async fn a_key_in_the_query_counts_at_googles_paths_and_goes_no_further() {
    let layer = AuthLayer::new(MasterKey::new("sk-m"));
    let model = Model::default();
    let asked = async |uri: &str, header: Option<&'static str>| {
        let mut request = call("m");
        *request.uri_mut() = uri.parse().expect("is a path");
        if let Some(header) = header {
            request.headers_mut().insert("x-goog-api-key", HeaderValue::from_static(header));
        }
        let response = ask(&layer, &model, request).await;
        response.status().as_u16()
    };
    let seen = || {
        let request = model.last();
        assert!(!request.headers().contains_key("x-goog-api-key"));
        request.uri().to_string()
    };
    let google = "/v1beta/models/m:generateContent";
    assert_eq!(asked(&format!("{google}?key=sk-m&alt=sse"), None).await, 200);
    assert_eq!(seen(), format!("{google}?alt=sse"));
    assert_eq!(asked(&format!("{google}?key=sk-m"), Some("sk-m")).await, 200);
    assert_eq!(seen(), google);
    assert_eq!(asked(&format!("{google}?key=sk-m"), Some("sk-other")).await, 401);
    assert_eq!(asked(&format!("{google}?key=sk-other"), Some("sk-m")).await, 401);
    assert_eq!(asked(&format!("{google}?key=sk-other"), None).await, 401);
    // Elsewhere it is no credential: the admin API names keys so.
    assert_eq!(asked("/v1/chat/completions?key=sk-m", None).await, 401);
    assert_eq!(asked("/v1/chat/completions?key=sk-other", Some("sk-m")).await, 200);
    assert_eq!(seen(), "/v1/chat/completions?key=sk-other");
    assert_eq!(model.calls(), 0);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_callers_dialect() {
    let layer = AuthLayer::new(MasterKey::new("sk-m"));
    let mut request = call("m");
    *request.uri_mut() = "/v1/messages".parse().expect("is a path");
    let response = ask(&layer, &Model::default(), request).await;
    assert_eq!(response.status(), 401);
    let body =
        r#"{"type":"error","error":{"type":"authentication_error","message":"missing or invalid API key"}}"#;
    assert_eq!(text(response), body);
}

#[tokio::test]
async fn nothing_of_a_body_is_read_before_the_key_is_known() {
    struct Untouched;
    impl http_body::Body for Untouched {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            panic!("the body is read")
        }
    }
    let layer = AuthLayer::new(keys(&Store::default(), &Manual::default()));
    let request = bearer(b"sk-of-nobody-that-is-known").map(|_| Body::new(Untouched));
    assert_eq!(ask(&layer, &Model::default(), request).await.status(), 401);
}

#[tokio::test]
async fn a_key_ends_when_it_says_though_it_is_known() {
    let (time, model) = (Manual::default(), Model::default());
    let store = Store::with(KEY, record(|record| record.expires_at = Some(start() + Duration::from_secs(2))));
    let layer = AuthLayer::new(keys(&store, &time));
    assert_eq!(ask(&layer, &model, keyed(call("m"), KEY)).await.status(), 200);
    time.seconds(1.999);
    assert_eq!(ask(&layer, &model, keyed(call("m"), KEY)).await.status(), 200);
    time.seconds(0.001);
    assert_eq!(ask(&layer, &model, keyed(call("m"), KEY)).await.status(), 401);
    assert_eq!((store.asked(), model.calls()), (1, 2));
}

#[tokio::test]
async fn a_key_calls_the_paths_that_it_may() {
    let (store, time, model) = (Store::default(), Manual::default(), Model::default());
    let of = |routes: &[&str]| {
        let routes = routes.iter().map(|route| Arc::from(*route)).collect();
        record(move |record| record.routes = Some(routes))
    };
    store.set("sk-usual-0123456789", record(|_| {}));
    store.set("sk-info-0123456789a", of(&["info_routes", "/v1/models"]));
    store.set("sk-any-01234567890a", of(&["*"]));
    store.set("sk-admin-0123456789", record(|record| record.admin = true));
    let layer = AuthLayer::new(keys(&store, &time));
    let paths = [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("GET", "/key/info"),
        ("POST", "/key/generate"),
        ("GET", "/own/path"),
        ("POST", "/v1/../key/generate"),
    ];
    let expected = [
        ("sk-usual-0123456789", [200, 200, 403, 403, 403, 403]),
        ("sk-info-0123456789a", [403, 200, 200, 403, 403, 403]),
        ("sk-any-01234567890a", [200, 200, 403, 403, 200, 403]),
        ("sk-admin-0123456789", [200; 6]),
    ];
    for (key, statuses) in expected {
        for ((method, path), status) in paths.into_iter().zip(statuses) {
            let mut request = keyed(at(method, path), key);
            if path == "/v1/chat/completions" {
                request = keyed(call("m"), key);
            }
            let response = ask(&layer, &model, request).await;
            assert_eq!(response.status(), status, "{key} {method} {path}");
        }
    }
    let refused = ask(&layer, &model, keyed(at("POST", "/key/generate"), "sk-usual-0123456789")).await;
    let body = r#"{"error":{"message":"this key may not call this path","type":"invalid_request_error","param":null,"code":"permission_denied"}}"#;
    assert_eq!(text(refused), body);
    // A HEAD is a GET.
    assert_eq!(
        ask(&layer, &model, keyed(at("HEAD", "/v1/models"), "sk-usual-0123456789")).await.status(),
        200
    );
    // A host's own paths: named, or said to be of a model.
    let host = layer.clone().default_routes(["/own/*"]);
    let own = || keyed(at("GET", "/own/path"), "sk-usual-0123456789");
    assert_eq!(ask(&host, &model, own()).await.status(), 200);
    assert_eq!(ask(&host, &model, keyed(at("GET", "/v1/models"), "sk-usual-0123456789")).await.status(), 403);
    let mut said = own();
    said.extensions_mut().insert(Operation::Models);
    assert_eq!(ask(&layer, &model, said).await.status(), 200);
}

#[tokio::test]
async fn what_is_open_needs_no_key_and_has_nobody() {
    let model = Model::default();
    let layer = AuthLayer::new(MasterKey::new("sk-m")).open(|parts| parts.uri.path() == "/health/liveliness");
    let mut request = at("GET", "/health/liveliness");
    request.extensions_mut().insert(Principal::default());
    assert_eq!(ask(&layer, &model, request).await.status(), 200);
    assert!(model.last().extensions().get::<Principal>().is_none());
    assert_eq!(ask(&layer, &model, at("GET", "/health/liveliness/x")).await.status(), 401);
}

#[tokio::test]
async fn no_secret_is_shown() {
    let master = MasterKey::new("sk-canary");
    let store = Store::with(KEY, record(|_| {}));
    let keys = keys(&store, &Manual::default());
    let layer = AuthLayer::new(keys.clone());
    let shown = format!("{master:?} {keys:?} {layer:?}");
    assert!(!shown.contains("canary") && !shown.contains("0123456789abcdef"), "{shown}");
    let kept = Model::default();
    let mut request = keyed(call("m"), KEY);
    request.headers_mut().insert("x-api-key", HeaderValue::from_static(KEY));
    assert_eq!(ask(&layer.clone().keep_credentials(), &kept, request).await.status(), 200);
    let headers: HeaderMap = kept.last().headers().clone();
    assert_eq!(headers["x-api-key"], KEY);
    assert!(!format!("{headers:?}").contains(KEY), "{headers:?}");
    assert_eq!(ask(&layer, &kept, keyed(call("m"), KEY)).await.status(), 200);
    assert!(kept.last().headers().is_empty());
}

//! Errors of providers, as their callers see them.

mod support;

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, request::Parts};
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_core::{
    Body, BoxError, Cause, Credential, CredentialError, Dialect, Metered, Outcome, Problem, Rejection,
    Served, Target, Unsent,
};
use ziggurat_translate::TranslateLayer;

use crate::support::*;

/// The one attempt of a call whose upstream fails.
async fn unanswered(error: impl Into<BoxError>) -> (bool, Option<Outcome>) {
    let recorder: Arc<Recorder> = Default::default();
    let mut request = post(OPENAI, hello(OPENAI, false));
    let (_meter, end) = recorder.join(&mut request);
    let error = Arc::new(Mutex::new(Some(error.into())));
    let upstream = service_fn(move |_: Request<Body>| {
        ready(Err::<Response<Body>, BoxError>(
            error.lock().expect("is sound").take().expect("is called once"),
        ))
    });
    let service = TranslateLayer::new().target(target(OPENAI)).layer(upstream);
    assert!(service.oneshot(request).await.is_err());
    drop(end);
    let ends = recorder.ends();
    (ends[0][0].sent, ends[0][0].outcome)
}

#[tokio::test]
async fn what_did_not_reach_the_provider_is_an_attempt_that_was_not_sent() {
    assert_eq!(unanswered("reset").await, (true, Some(Outcome::Failed)));
    assert_eq!(unanswered(Unsent::new("refused")).await, (false, Some(Outcome::Failed)));
    let around = std::io::Error::other(Unsent::new("refused"));
    assert_eq!(unanswered(around).await, (false, Some(Outcome::Failed)));
    assert_eq!(
        unanswered(Rejection::new(Cause::Overloaded, "closing")).await,
        (true, Some(Outcome::Stopped))
    );
}

#[tokio::test]
async fn a_whole_answer_that_a_layer_of_ours_ends_is_told_in_its_words() {
    for (caller, provider) in DIRECTIONS {
        let refusal = Rejection::new(Cause::Overloaded, "closing");
        let recorder: Arc<Recorder> = Default::default();
        let mut request = post(caller, hello(caller, false));
        let (_meter, end) = recorder.join(&mut request);
        let steps = [Step::data("{"), Step::Fail(refusal.clone().into())];
        let reply = answering(200, "application/json", Scripted::new(steps));
        let exchange = exchange(target(provider), request, reply).await;
        drop(end);
        assert_eq!(exchange.body.as_bytes(), refusal.problem().to_json(caller));
        assert_eq!(exchange.extensions.get::<Rejection>(), Some(&refusal));
        assert_eq!(recorder.outcomes(), [[Some(Outcome::Stopped)]]);
    }
}

async fn fail(caller: Dialect, provider: Dialect, reply: Response<Body>) -> Exchange {
    exchange(target(provider), post(caller, hello(caller, false)), reply).await
}

const OPENAI_ERROR: &str = "{ \"error\": {\"message\":\"too many\",\"type\":\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\", \"x\":1} }\n";
const ANTHROPIC_ERROR: &str = "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"too many\"},\"request_id\":\"req_1\"}";

#[tokio::test]
async fn one_of_the_callers_dialect_passes_as_it_is_and_others_are_mapped() {
    for (caller, provider) in DIRECTIONS {
        let words = if provider == ANTHROPIC { ANTHROPIC_ERROR } else { OPENAI_ERROR };
        let exchange = fail(caller, provider, answering(429, "application/json", words)).await;
        assert_eq!(exchange.status, 429);
        assert_eq!(exchange.header("content-type"), Some("application/json"));
        let expected = match (caller, provider) {
            (OPENAI, ANTHROPIC) => {
                r#"{"error":{"message":"too many","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}"#
            }
            (ANTHROPIC, OPENAI) => {
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"too many"}}"#
            }
            _ => words,
        };
        assert_eq!(exchange.body, expected, "{caller:?} {provider:?}");
        assert!(exchange.extensions.get::<Rejection>().is_none());
        assert!(exchange.extensions.get::<Served>().is_some_and(|served| served.attempts == 1));
    }
}

#[tokio::test]
async fn overload_has_the_status_that_each_client_knows() {
    for (caller, provider) in DIRECTIONS {
        let (status, words) = match provider {
            ANTHROPIC => (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"later"}}"#),
            _ => (503, r#"{"error":{"message":"later","type":"server_error","param":null,"code":null}}"#),
        };
        let exchange = fail(caller, provider, answering(status, "application/json", words)).await;
        assert_eq!(
            exchange.status.as_u16(),
            if caller == ANTHROPIC { 529 } else { 503 },
            "{caller:?} {provider:?}"
        );
        assert_eq!(exchange.json()["error"]["message"], "later");
    }
}

#[tokio::test]
async fn words_that_are_the_operators_are_cleaned_wherever_they_stand() {
    for words in [
        r#"{"error":{"message":"Incorrect API key provided: sk-abc123. See https://internal.example/x.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        r#"{"error":{"message":"no","metadata":{"raw":"at https://internal.example/x with sk-abc123"}}}"#,
        r#"{"error":{"message":"no"},"trace":["Bearer-abc https://internal.example"]}"#,
    ] {
        for caller in DIALECTS {
            let exchange = fail(caller, OPENAI, answering(401, "application/json", words)).await;
            assert_eq!(exchange.status, 401);
            let body = &exchange.body;
            assert!(!body.contains("internal.example") && !body.contains("sk-abc123"), "{body}");
        }
    }
}

/// A key that looks like nothing in particular, as Azure's and Mistral's do.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// One that is put on as code of the host's does.
struct Token;

impl Credential for Token {
    fn apply<'a>(
        &'a self,
        parts: &'a mut Parts,
        _body: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<(), CredentialError>> + Send + 'a>> {
        parts
            .headers
            .insert("authorization", HeaderValue::from_static("Token 0123456789abcdef0123456789abcdef"));
        Box::pin(ready(Ok(())))
    }
}

#[tokio::test]
async fn what_is_the_deployments_is_told_in_no_error() {
    let words = format!("no {KEY} for gpt-4 at llm.example; is it x{KEY}, gpt-4o? See 'gpt-4'.");
    let told = "no [key] for alias at [host]; is it x[key], gpt-4o? See 'alias'.";
    for (caller, provider) in DIRECTIONS {
        let problem = Problem::new(Cause::Internal, words.clone());
        let json = String::from_utf8(problem.to_json(provider)).expect("is UTF-8");
        // As it may be written too.
        let escaped = json.replace('0', "\\u0030");
        let event = String::from_utf8(problem.to_event(provider)).expect("is UTF-8");
        let start = if provider == ANTHROPIC { MESSAGE_START.to_owned() } else { chat("Hi") };
        for (status, stream, body) in [
            (500, false, json.clone()),
            (500, true, escaped.clone()),
            (200, false, json.clone()),
            (200, false, escaped.clone()),
            (200, true, json.clone()),
            (200, true, format!("{start}{event}")),
            (200, true, format!("{start}data: {escaped}\n\n")),
            (200, true, format!("{start}{}", event.trim_end())),
            (200, true, format!("{start}{json}\n\n")),
            (200, true, format!("{start}{{\"detail\":\"{words}\"}}\n")),
        ] {
            let uri = "https://llm.example/v1";
            let target = Target::new("p", provider, "gpt-4", uri).expect("is a URL");
            let fixed = target.clone().key(HeaderName::from_static("api-key"), KEY).expect("is a key");
            for target in [fixed, target.credential(Token)] {
                let request = post(caller, hello(caller, stream));
                let exchange =
                    exchange(target, request, answering(status, "application/json", body.clone())).await;
                let case = format!("{caller:?} {provider:?} {status} {stream} {body}: {}", exchange.body);
                assert!(exchange.body.contains(&format!("\"message\":\"{told}\"")), "{case}");
                assert!(!exchange.body.contains(&KEY[1..]) && !exchange.body.contains("gpt-4 "), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_member_that_stands_twice_does_not_pass() {
    let words = r#"{"error":{"message":"at https://internal.example/x","message":"no","type":"t"}}"#;
    let exchange = fail(OPENAI, OPENAI, answering(500, "application/json", words)).await;
    assert_eq!(exchange.json()["error"]["message"], "no");
    assert!(!exchange.body.contains("internal.example"), "{}", exchange.body);
}

#[tokio::test]
async fn bodies_that_are_no_error_objects_are_told_by_their_status() {
    for (caller, provider) in DIRECTIONS {
        for (status, body, told) in [
            (502, "<html>bad gateway</html>", 502),
            (500, "", 500),
            (503, "busy", if caller == ANTHROPIC { 529 } else { 503 }),
            (404, "{}", 404),
            (418, "[]", 400),
        ] {
            let exchange = fail(caller, provider, answering(status, "text/html", body)).await;
            assert_eq!(exchange.status, told, "{caller:?} {provider:?} {status}");
            assert!(
                exchange.json()["error"]["message"]
                    .to_string()
                    .contains(&format!("the provider answered {status} with")),
                "{}",
                exchange.body
            );
        }
    }
}

#[tokio::test]
async fn redirects_are_not_followed_nor_passed_on() {
    for (caller, provider) in DIRECTIONS {
        for body in ["", "<a href=\"https://evil.example\">", OPENAI_ERROR] {
            let mut reply = answering(302, "text/html", body);
            reply.headers_mut().insert("location", HeaderValue::from_static("https://evil.example/"));
            let exchange = fail(caller, provider, reply).await;
            assert_eq!(exchange.status, 502);
            assert!(exchange.header("location").is_none() && !exchange.body.contains("evil"));
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_encoded_is_not_read() {
    for (caller, provider) in DIRECTIONS {
        for (encoding, status, told) in [
            ("gzip", 200, 502),
            ("GZIP", 200, 502),
            ("identity, br", 200, 502),
            ("Identity", 200, 200),
            ("gzip", 429, 429),
        ] {
            for stream in [false, true] {
                let body = if stream { support::stream(provider) } else { answer(provider).to_owned() };
                let mut reply = answering(status, "application/json", body);
                reply.headers_mut().insert("content-encoding", HeaderValue::from_static(encoding));
                let exchange = exchange(target(provider), post(caller, hello(caller, stream)), reply).await;
                assert_eq!(exchange.status, told, "{encoding} {status}");
                assert!(exchange.header("content-encoding").is_none());
                if (status, told) == (200, 502) {
                    assert_eq!(
                        exchange.json()["error"]["message"],
                        "the provider answered in a content-encoding that was not asked for"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn when_to_come_back_is_told_if_it_can_be_read() {
    for (caller, provider) in DIRECTIONS {
        for (name, value, told) in [
            ("retry-after", "30", Some("30")),
            ("retry-after", "1.5", Some("1.5")),
            ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", Some("Fri, 31 Dec 1999 23:59:59 GMT")),
            ("retry-after", "-5", None),
            ("retry-after", "soon", None),
            ("retry-after-ms", "250", Some("250")),
            ("x-should-retry", "false", Some("false")),
            ("x-should-retry", "true", Some("true")),
            ("x-should-retry", "maybe", None),
        ] {
            let words = if provider == ANTHROPIC { ANTHROPIC_ERROR } else { OPENAI_ERROR };
            let mut reply = answering(429, "application/json", words);
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
            let exchange = fail(caller, provider, reply).await;
            assert_eq!(exchange.header(name), told, "{caller:?} {provider:?} {name}: {value}");
        }
    }
}

#[tokio::test]
async fn when_to_come_back_is_read_from_the_words_and_the_windows_too() {
    const WAIT: &str = r#"{"error":{"message":"Please try again in 1m30.5s.","type":"requests"}}"#;
    const QUOTA: &str = r#"{"error":{"message":"Please try again in 20s.","code":"insufficient_quota"}}"#;
    for (status, words, name, value, told) in [
        (429, WAIT, "x-other", "", Some("91")),
        (429, "{}", "x-ratelimit-reset-tokens", "6m0s", Some("360")),
        // The clock stands at 1 000 000 s.
        (503, "{}", "anthropic-ratelimit-requests-reset", "1970-01-12T13:46:42.5Z", Some("3")),
        (429, QUOTA, "x-ratelimit-reset-tokens", "6m0s", None),
        (429, QUOTA, "retry-after", "7", None),
        (402, "{}", "retry-after-ms", "7", None),
        (400, "{}", "retry-after", "7", None),
    ] {
        for (caller, provider) in DIRECTIONS {
            let mut reply = answering(status, "application/json", words);
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
            let exchange = fail(caller, provider, reply).await;
            assert_eq!(exchange.header("retry-after"), told, "{caller:?} {provider:?} {words} {name}");
            assert_eq!(exchange.header("retry-after-ms"), None);
        }
    }
}

#[tokio::test]
async fn an_error_body_without_end_is_not_read_to_its_end() {
    let flood = std::iter::repeat_with(|| Step::data(&[b' '; 1 << 16][..])).take(1000);
    let exchange = fail(OPENAI, OPENAI, answering(500, "application/json", Scripted::new(flood))).await;
    assert_eq!(exchange.status, 500);
    assert_eq!(
        exchange.json()["error"]["message"],
        "the provider answered 500 with an empty body instead of an error object"
    );
}

#[tokio::test]
async fn a_refusal_of_an_inner_layer_is_told_in_the_callers_dialect_and_stays_one() {
    for (caller, provider) in DIRECTIONS {
        let refusal = Rejection::new(Cause::Overloaded, "no room");
        let exchange = fail(caller, provider, refusal.clone().into_response(provider)).await;
        assert_eq!(exchange.status.as_u16(), if caller == ANTHROPIC { 529 } else { 503 });
        assert_eq!(exchange.json().get("type").is_some(), caller == ANTHROPIC);
        assert_eq!(exchange.extensions.get::<Rejection>(), Some(&refusal));
        assert!(exchange.extensions.get::<Served>().is_none());
    }
}

#[tokio::test]
async fn what_inner_services_say_of_an_answer_stays_with_it() {
    #[derive(Clone, PartialEq, Debug)]
    struct Connection(u8);
    for (status, stream) in [(200, false), (200, true), (500, false)] {
        let body = if stream { support::stream(OPENAI) } else { CHAT_ANSWER.to_owned() };
        let mut reply = answering(status, "application/json", body);
        reply.extensions_mut().insert(Connection(7));
        reply.extensions_mut().insert(Served::by(target(ANTHROPIC), 3));
        let exchange = exchange(target(OPENAI), post(ANTHROPIC, hello(ANTHROPIC, stream)), reply).await;
        assert_eq!(exchange.extensions.get::<Connection>(), Some(&Connection(7)));
        assert_eq!(exchange.extensions.get::<Served>().map(|served| served.attempts), Some(3));
    }
}

#[tokio::test]
async fn every_answer_of_a_listened_call_is_metered_and_its_attempt_has_its_end() {
    for (reply, outcome) in [
        (answering(200, "application/json", CHAT_ANSWER), Outcome::Complete),
        (answering(200, "application/json", "<html>"), Outcome::Failed),
        (
            answering(200, "application/json", Scripted::new([Step::data("{"), Step::reset()])),
            Outcome::Truncated,
        ),
        (answering(500, "application/json", "{}"), Outcome::Failed),
        (
            answering(200, "application/json", CHAT_ANSWER.replace("\"stop\"", "\"content_filter\"")),
            Outcome::Refused,
        ),
    ] {
        let recorder: std::sync::Arc<Recorder> = Default::default();
        let mut request = post(OPENAI, hello(OPENAI, false));
        let (_meter, end) = recorder.join(&mut request);
        let exchange = exchange(target(OPENAI), request, reply).await;
        assert!(exchange.extensions.get::<Metered>().is_some());
        drop(end);
        assert_eq!(recorder.outcomes(), [[Some(outcome)]]);
    }
}

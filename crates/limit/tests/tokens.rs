//! Limits of tokens: what is set aside, and what it is corrected to.

mod support;

use http::{Request, Response};
use proptest::prelude::*;
use tokio::task::JoinSet;
use tower::ServiceExt;
use ziggurat_core::{Body, BoxError, Limit, Measure, Scope, ScopeKind, Unsent};
use ziggurat_limit::{LimitLayer, MemoryStore, Store};
use ziggurat_testkit::{Scripted, Step};

use crate::support::*;

const MOST: u64 = 1000;

fn limit(measure: Measure) -> Limit {
    Limit::new(Scope::gateway(), measure, MOST, MINUTE)
}

/// A layer that limits all three measures of tokens, and how much of each is used.
fn watched(time: &Manual) -> (LimitLayer, impl Fn() -> [u64; 3] + Clone + use<>) {
    let measures = [Measure::Tokens, Measure::InputTokens, Measure::OutputTokens];
    let store = MemoryStore::new();
    let layer = measures
        .into_iter()
        .fold(layer(time).store(store.clone()), |layer, measure| layer.fixed(limit(measure)));
    let clock = time.clock();
    let used = move || {
        measures.map(|measure| MOST - store.level(&limit(measure), clock.now()).expect("known").remaining)
    };
    (layer, used)
}

fn stream(text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    response.headers_mut().insert("content-type", "text/event-stream".parse().expect("is a value"));
    response
}

fn delta(text: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// R3.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_calls_of_30_tokens_exactly_20_fit_600() {
    let (time, provider) = (Manual::default(), Provider::answering((0..200).map(|_| used(INPUT, 20))));
    let service = of(&layer(&time).fixed(Limit::tokens_per_minute(Scope::gateway(), 600)), provider.clone());
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let service = service.clone();
        clients.spawn(async move {
            let mut passed = 0;
            for _ in 0..3 {
                passed += usize::from(status(&service, chat("\"max_tokens\":20,")).await == 200);
            }
            passed
        });
    }
    assert_eq!(clients.join_all().await.iter().sum::<usize>(), 20);
    assert_eq!(provider.calls(), 20);
}

#[tokio::test]
async fn a_cap_times_its_answers_is_set_aside_and_a_guess_where_there_is_none() {
    let cases = [
        ("\"max_tokens\":100,", [INPUT + 100, INPUT, 100]),
        ("\"max_completion_tokens\":50,\"n\":3,", [INPUT + 150, INPUT, 150]),
        ("\"max_tokens\":1,", [INPUT + 1, INPUT, 1]),
        // A quarter of the limit.
        ("", [INPUT + 250, INPUT, 250]),
    ];
    for (fields, expected) in cases {
        let time = Manual::default();
        let (layer, counted) = watched(&time);
        let during = counted.clone();
        let service = of(
            &layer,
            tower::service_fn(move |_: Request<Body>| {
                let during = during.clone();
                async move {
                    assert_eq!(during(), expected);
                    Ok::<_, std::convert::Infallible>(used(4, 5))
                }
            }),
        );
        assert_eq!(status(&service, chat(fields)).await, 200);
        assert_eq!(counted(), [9, 4, 5], "{fields}");
    }
    let time = Manual::default();
    let (layer, counted) = watched(&time);
    let service = of(&layer.output_guess(17), Provider::answering([images()]));
    assert_eq!(status(&service, chat("")).await, 200);
    assert_eq!(counted(), [INPUT + 17, INPUT, 17], "of what cannot be read, the estimate stays");
}

/// An answer that says nothing of what it is.
fn images() -> Response<Body> {
    Response::builder().header("content-encoding", "br").body(Body::from("?")).expect("is a response")
}

#[tokio::test]
async fn less_is_given_back_and_more_is_counted() {
    let time = Manual::default();
    let (layer, counted) = watched(&time);
    let service = of(&layer, Provider::answering([used(3, 4), used(500, 600), used(1, 1)]));
    assert_eq!(status(&service, chat("\"max_tokens\":900,")).await, 200);
    assert_eq!(counted(), [7, 3, 4]);
    assert_eq!(status(&service, chat("\"max_tokens\":900,")).await, 200);
    // 1107 of 1000: later calls wait for it.
    assert_eq!(counted(), [1000, 503, 604]);
    let refused = ask(&service, chat("\"max_tokens\":1,")).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "62"));
    assert!(text(refused).await.contains("\"type\":\"tokens\""));
    time.seconds(62.0);
    assert_eq!(status(&service, chat("\"max_tokens\":1,")).await, 200);
    assert_eq!(counted(), [2, 1, 1]);
}

#[tokio::test]
async fn the_request_is_sent_as_it_came() {
    let (time, provider) = (Manual::default(), Provider::new());
    let service = of(&watched(&time).0, provider.clone());
    status(&service, chat("")).await;
    let sent = String::from_utf8(provider.bodies.lock().expect("is sound")[0].clone()).expect("is text");
    assert_eq!(sent, r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#);
}

#[tokio::test]
async fn what_never_fits_is_told_so_and_a_guess_gives_way() {
    let time = Manual::default();
    let with =
        |most| of(&layer(&time).fixed(Limit::tokens_per_minute(Scope::gateway(), most)), Provider::new());
    for (most, fields) in
        [(INPUT - 1, ""), (INPUT + 9, "\"max_tokens\":10,"), (100, "\"max_tokens\":50,\"n\":2,")]
    {
        let refused = ask(&with(most), chat(fields)).await;
        assert_eq!(refused.status(), 429);
        assert_eq!((header(&refused, "retry-after"), header(&refused, "x-should-retry")), ("", "false"));
        let body = text(refused).await;
        assert!(body.contains("it will never fit") && body.contains("\"type\":\"tokens\""), "{body}");
    }
    for (most, fields) in [(INPUT, ""), (INPUT + 1, ""), (INPUT + 10, "\"max_tokens\":10,")] {
        assert_eq!(status(&with(most), chat(fields)).await, 200, "{most} {fields}");
    }
}

#[tokio::test]
async fn a_whole_answer_is_counted_by_its_usage_or_by_its_length() {
    let content = "x".repeat(31);
    let choices = format!(
        r#""choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}"}},"finish_reason":"stop"}}]"#
    );
    let seen = 31_u64.div_ceil(3);
    let cases = [
        (format!("{{{choices}}}"), (INPUT, seen)),
        (format!(r#"{{{choices},"usage":null}}"#), (INPUT, seen)),
        (format!(r#"{{{choices},"usage":{{"prompt_tokens":-5,"completion_tokens":-7}}}}"#), (INPUT, seen)),
        (format!(r#"{{{choices},"usage":{{"prompt_tokens":"3","completion_tokens":1e30}}}}"#), (INPUT, seen)),
        (
            format!(r#"{{{choices},"usage":{{"prompt_tokens":1000000000001,"completion_tokens":2}}}}"#),
            (INPUT, 2),
        ),
        (format!(r#"{{{choices},"usage":{{"prompt_tokens":0,"completion_tokens":0}}}}"#), (0, 0)),
        // Nobody can read it: it was answered all the same.
        ("{}".to_owned(), (INPUT, 100)),
        ("a poem".to_owned(), (INPUT, 100)),
    ];
    for (answer, (input, output)) in cases {
        let time = Manual::default();
        let (layer, counted) = watched(&time);
        let service = of(&layer, Provider::answering([whole(&answer)]));
        assert_eq!(status(&service, chat("\"max_tokens\":100,")).await, 200);
        assert_eq!(counted(), [input + output, input, output], "{answer}");
    }
}

#[tokio::test]
async fn a_stream_is_counted_by_its_usage_or_by_what_was_seen() {
    let body = delta("Hello").repeat(6);
    let cases = [
        (format!("{body}{FINISH}{USAGE}{DONE}"), [10, 7, 3]),
        (format!("{body}{FINISH}{DONE}"), [INPUT + 10, INPUT, 10]),
        // Cut.
        (body.clone(), [INPUT + 10, INPUT, 10]),
        (format!("{body}data: {{\"error\":{{\"message\":\"oops\"}}}}\n\n"), [INPUT + 10, INPUT, 10]),
        // Before it began.
        ("data: {\"error\":{\"message\":\"oops\"}}\n\n".to_owned(), [0, 0, 0]),
    ];
    for (answer, expected) in cases {
        let time = Manual::default();
        let (layer, counted) = watched(&time);
        let service = of(&layer, Provider::answering([stream(&answer)]));
        text(ask(&service, chat("\"stream\":true,\"max_tokens\":100,")).await).await;
        assert_eq!(counted(), expected, "{answer}");
    }
}

#[tokio::test]
async fn a_caller_who_leaves_is_counted_for_what_was_seen() {
    use http_body_util::BodyExt;
    let time = Manual::default();
    let (layer, counted) = watched(&time);
    let steps = [delta("Hello"), delta(" world")].map(Step::data).into_iter().chain([Step::Stall]);
    let answer = Response::new(Body::from(Scripted::new(steps)));
    let service = of(&layer, Provider::answering([answer]));
    let mut body = ask(&service, chat("\"stream\":true,\"max_tokens\":100,")).await.into_body();
    assert_eq!(counted(), [INPUT + 100, INPUT, 100]);
    for _ in 0..2 {
        assert!(matches!(body.frame().await, Some(Ok(_))));
    }
    drop(body);
    assert_eq!(counted(), [INPUT + 4, INPUT, 4]);

    // Before there was an answer: the provider has the prompt.
    let stalled = of(
        &layer,
        tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>()),
    );
    let mut call = tokio_test_spawn(stalled.oneshot(chat("\"max_tokens\":100,")));
    assert!(futures_poll(&mut call).is_pending());
    assert_eq!(counted(), [2 * INPUT + 104, 2 * INPUT, 104]);
    drop(call);
    assert_eq!(counted(), [2 * INPUT + 4, 2 * INPUT, 4]);
}

fn tokio_test_spawn<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
    Box::pin(future)
}

fn futures_poll<F: Future + ?Sized>(future: &mut std::pin::Pin<Box<F>>) -> std::task::Poll<F::Output> {
    future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn a_provider_that_fails_before_it_begins_costs_no_tokens() {
    let time = Manual::default();
    let (layer, counted) = watched(&time);
    let layer = layer.fixed(limit(Measure::Requests));
    let mut failure = whole(r#"{"error":{"message":"overloaded"}}"#);
    *failure.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    let service = of(&layer, Provider::answering([failure]));
    let answer = ask(&service, chat("\"max_tokens\":100,")).await;
    assert_eq!(header(&answer, "x-ratelimit-remaining-requests"), "999");
    text(answer).await;
    assert_eq!(counted(), [0, 0, 0]);
    for error in [BoxError::from("reset"), Unsent::new("refused").into()] {
        let error = std::sync::Mutex::new(Some(error));
        let error = std::sync::Arc::new(error);
        let service = of(
            &layer,
            tower::service_fn(move |_: Request<Body>| {
                let error = error.lock().expect("is sound").take().expect("is asked once");
                async move { Err::<Response<Body>, _>(error) }
            }),
        );
        assert!(service.oneshot(chat("\"max_tokens\":100,")).await.is_err());
        assert_eq!(counted(), [0, 0, 0]);
    }
}

#[tokio::test]
async fn embeddings_have_no_output_and_counting_costs_nothing() {
    let post =
        |path: &str, json: &'static str| Request::post(path).body(Body::from(json)).expect("is a request");
    let embed = || post("/v1/embeddings", r#"{"model":"m","input":"Hello world, how are you?"}"#);
    let count =
        || post("/v1/messages/count_tokens", r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#);
    let time = Manual::default();
    let (layer, counted) = watched(&time);
    let service = of(&layer, Provider::new());
    assert_eq!(status(&service, count()).await, 200);
    assert_eq!(counted(), [0, 0, 0]);
    assert_eq!(status(&service, embed()).await, 200);
    let [all, input, output] = counted();
    assert!(input > 3 && all == input && output == 0, "{all} {input} {output}");
}

#[tokio::test]
async fn input_and_output_have_headers_of_their_kind() {
    let time = Manual::default();
    let layer = layer(&time).fixed(limit(Measure::OutputTokens)).limit(
        ScopeKind::Gateway,
        Measure::Requests,
        9,
        MINUTE,
    );
    let service = of(&layer, Provider::new());
    let answer = ask(&service, chat("\"max_tokens\":400,")).await;
    assert_eq!(header(&answer, "x-ratelimit-limit-tokens"), "1000");
    assert_eq!(header(&answer, "x-ratelimit-remaining-tokens"), "600");
    assert_eq!(header(&answer, "x-ratelimit-remaining-requests"), "8");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a provider states and callers ask: what was set aside never is more than the limit, and the end is what was used.
    #[test]
    fn many_calls_come_to_what_they_used(calls in prop::collection::vec((1_u64..300, 0_u64..300, 0_u64..300), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
        runtime.block_on(async {
            let time = Manual::default();
            let (layer, counted) = watched(&time);
            let (mut input, mut output) = (0, 0);
            for (cap, stated_input, stated_output) in calls {
                let service = of(&layer, Provider::answering([used(stated_input, stated_output)]));
                let fits = input + output + INPUT + cap <= MOST && input + INPUT <= MOST && output + cap <= MOST;
                let status = status(&service, chat(&format!("\"max_tokens\":{cap},"))).await;
                assert_eq!(status == 200, fits);
                if fits {
                    (input, output) = (input + stated_input, output + stated_output);
                }
                assert_eq!(counted(), [(input + output).min(MOST), input.min(MOST), output.min(MOST)]);
            }
        });
    }
}

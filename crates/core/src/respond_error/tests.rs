use std::{io, sync::Mutex};

use futures_util::future::{Ready, ready};
use tower::{ServiceExt, service_fn};

use super::*;
use crate::Cause;

/// A service whose readiness fails as it is told to, and that counts how often it was polled and called.
#[derive(Clone, Default)]
struct Unready(Arc<Mutex<(Option<BoxError>, usize, usize)>>);

impl Service<Request<()>> for Unready {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut state = self.0.lock().expect("is sound");
        state.1 += 1;
        Poll::Ready(state.0.take().map_or(Ok(()), Err))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.0.lock().expect("is sound").2 += 1;
        ready(Ok(Response::new(Body::from("called"))))
    }
}

/// An error around another.
#[derive(Debug)]
struct Around(BoxError);

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("to 10.0.0.1 with key sk-1")
    }
}

impl Error for Around {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// As tower and tokio name theirs.
#[derive(Debug)]
struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(()) = self;
        f.write_str("request timed out")
    }
}

impl Error for Elapsed {}

fn post(path: &str) -> Request<()> {
    Request::post(path).body(()).expect("valid")
}

async fn text(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect_within(1 << 10).await.expect("is whole");
    (status, String::from_utf8(body.to_vec()).expect("is UTF-8"))
}

async fn answer(layer: RespondErrorLayer, request: Request<()>, error: impl Into<BoxError>) -> (u16, String) {
    let error = Mutex::new(Some(error.into()));
    let failing = service_fn(move |_: Request<()>| {
        ready(Err::<Response<Body>, _>(error.lock().expect("is sound").take().expect("is called once")))
    });
    let Ok(response) = layer.layer(failing).oneshot(request).await;
    text(response).await
}

async fn standard_answer(error: impl Into<BoxError>) -> (u16, String) {
    answer(RespondErrorLayer::default(), post("/v1/chat/completions"), error).await
}

const UNREACHED: &str = r#"{"error":{"message":"the upstream could not be reached or closed without an answer","type":"server_error","param":null,"code":"upstream_error"}}"#;
const LATE: &str = r#"{"error":{"message":"the upstream did not answer in time","type":"server_error","param":null,"code":"timeout"}}"#;

#[tokio::test]
async fn an_error_is_a_502_without_its_own_words() {
    assert_eq!(standard_answer(Around("no route to host".into())).await, (502, UNREACHED.to_owned()));
    assert_eq!(standard_answer(io::Error::other("Elapsed")).await, (502, UNREACHED.to_owned()));
}

#[tokio::test]
async fn a_timeout_anywhere_in_the_chain_is_a_504() {
    let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
    assert_eq!(standard_answer(timed_out()).await, (504, LATE.to_owned()));
    assert_eq!(standard_answer(Around(timed_out().into())).await, (504, LATE.to_owned()));
    assert_eq!(standard_answer(Elapsed(())).await, (504, LATE.to_owned()));
    assert_eq!(standard_answer(Around(Elapsed(()).into())).await, (504, LATE.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_timeouts_of_tower_and_tokio_are_504s() {
    let timeout = tower::timeout::Timeout::new(
        service_fn(|_: Request<()>| std::future::pending::<Result<Response<Body>, BoxError>>()),
        std::time::Duration::from_secs(1),
    );
    let Ok(response) = RespondErrorLayer::new().layer(timeout).oneshot(post("/v1/chat/completions")).await;
    assert_eq!(text(response).await, (504, LATE.to_owned()));
    let elapsed = tokio::time::timeout(std::time::Duration::ZERO, std::future::pending::<()>()).await;
    assert_eq!(standard_answer(elapsed.expect_err("is over")).await, (504, LATE.to_owned()));
}

#[tokio::test]
async fn a_rejection_anywhere_in_the_chain_answers_as_itself() {
    let spent = || Rejection::new(Cause::Quota, "spent");
    let body = r#"{"error":{"message":"spent","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
    assert_eq!(standard_answer(spent()).await, (429, body.to_owned()));
    assert_eq!(standard_answer(Around(Around(spent().into()).into())).await, (429, body.to_owned()));
}

#[tokio::test]
async fn a_rejection_is_there_for_outer_layers_to_read() {
    let spent = Rejection::new(Cause::Quota, "spent");
    let failing =
        service_fn(move |_: Request<()>| ready(Err::<Response<Body>, _>(Around(spent.clone().into()))));
    let Ok(response) = RespondErrorLayer::new().layer(failing).oneshot(post("/v1/chat/completions")).await;
    let found = response.extensions().get::<Rejection>();
    assert_eq!(found, Some(&Rejection::new(Cause::Quota, "spent")));
}

#[tokio::test]
async fn the_dialect_is_that_of_the_path_or_of_the_host() {
    let anthropic = r#"{"type":"error","error":{"type":"timeout_error","message":"the upstream did not answer in time"}}"#;
    let layer = RespondErrorLayer::new;
    assert_eq!(answer(layer(), post("/v1/messages"), Elapsed(())).await, (504, anthropic.to_owned()));
    assert_eq!(answer(layer(), post("/ask"), Elapsed(())).await, (504, LATE.to_owned()));
    let mut request = post("/ask");
    request.extensions_mut().insert(Dialect::Anthropic);
    assert_eq!(answer(layer(), request, Elapsed(())).await, (504, anthropic.to_owned()));
    let mut request = post("/v1/messages");
    request.extensions_mut().insert(Dialect::OpenAi);
    assert_eq!(answer(layer(), request, Elapsed(())).await, (504, LATE.to_owned()));
}

#[tokio::test]
async fn a_host_explains_its_errors_itself() {
    let layer = RespondErrorLayer::with(|error| Problem::new(Cause::Overloaded, error.to_string()));
    let body = r#"{"error":{"message":"full","type":"server_error","param":null,"code":"overloaded"}}"#;
    assert_eq!(answer(layer, post("/v1/chat/completions"), "full").await, (503, body.to_owned()));
}

#[tokio::test]
async fn a_rejection_answers_as_itself_before_the_host_is_asked() {
    let spent = Rejection::new(Cause::Quota, "spent");
    let failing = {
        let spent = spent.clone();
        service_fn(move |_: Request<()>| ready(Err::<Response<Body>, _>(Around(spent.clone().into()))))
    };
    let layer = RespondErrorLayer::with(|_| panic!("the host was asked"));
    let Ok(response) = layer.layer(failing).oneshot(post("/v1/chat/completions")).await;
    assert_eq!(response.extensions().get::<Rejection>(), Some(&spent));
    let body = r#"{"error":{"message":"spent","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
    assert_eq!(text(response).await, (429, body.to_owned()));
}

#[tokio::test]
async fn a_readiness_error_answers_the_call_that_follows() {
    let inner = Unready::default();
    inner.0.lock().expect("is sound").0 = Some(io::Error::from(io::ErrorKind::TimedOut).into());
    let mut service = RespondErrorLayer::new().layer(inner.clone());
    let Ok(ready) = service.ready().await;
    // A service that failed is not polled again for the same call.
    let Ok(ready) = ready.ready().await;
    let mut fresh = ready.clone();
    let Ok(response) = ready.call(post("/v1/messages")).await;
    assert_eq!(
        text(response).await,
        (504, r#"{"type":"error","error":{"type":"timeout_error","message":"the upstream did not answer in time"}}"#.to_owned())
    );
    {
        let state = inner.0.lock().expect("is sound");
        assert_eq!((state.1, state.2), (1, 0));
    }
    // Neither the next call nor a clone inherits the failure.
    for service in [&mut fresh, &mut service] {
        let Ok(ready) = service.ready().await;
        let Ok(response) = ready.call(post("/v1/messages")).await;
        assert_eq!(text(response).await, (200, "called".to_owned()));
    }
}

#[tokio::test]
async fn an_answer_passes_as_it_is() {
    let answering = service_fn(|_: Request<()>| {
        let mut response = Response::new(Body::from("fine"));
        *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
        ready(Ok::<_, Infallible>(response))
    });
    let Ok(response) = RespondErrorLayer::new().layer(answering).oneshot(post("/v1/messages")).await;
    assert_eq!(text(response).await, (418, "fine".to_owned()));
}

//! The kit finds what is wrong: one layer for each fault, and one without.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;
use ziggurat_core::{Body, BoxError, RespondErrorLayer};
use ziggurat_testkit::conformance::{Check, Conformance, Inner, Report};

/// What a layer does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    CallsTheCloneThatIsNotReady,
    IsReadyBeforeInnerIs,
    KeepsTheReservationWhenItRefuses,
    AnswersErrorsWithSuccess,
    KeepsPermitsOfCancelledCalls,
    KeepsBodiesThatAreDropped,
    EndsBrokenBodiesAsIfWhole,
    LosesBytesOfSmallFrames,
    LosesTrailers,
    LosesTheSizeHint,
    MakesStatePerService,
}

/// Counts calls, refuses those with `x-refuse`, and misbehaves.
#[derive(Clone)]
struct Faulty {
    fault: Fault,
    count: Arc<AtomicUsize>,
    kept: Arc<Mutex<Vec<Box<dyn std::any::Any + Send>>>>,
}

#[derive(Clone)]
struct FaultyService {
    inner: Inner,
    layer: Faulty,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self { fault, count: Arc::default(), kept: Arc::default() }
    }

    fn keep(&self, it: impl std::any::Any + Send) {
        self.kept.lock().expect("is sound").push(Box::new(it));
    }
}

impl Layer<Inner> for Faulty {
    type Service = FaultyService;

    fn layer(&self, inner: Inner) -> FaultyService {
        let mut layer = self.clone();
        if layer.fault == Fault::MakesStatePerService {
            layer.count = Arc::default();
        }
        FaultyService { inner, layer }
    }
}

impl Service<Request<Body>> for FaultyService {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.layer.fault {
            Fault::IsReadyBeforeInnerIs => Poll::Ready(Ok(())),
            _ => self.inner.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = match self.layer.fault {
            Fault::CallsTheCloneThatIsNotReady => clone,
            _ => mem::replace(&mut self.inner, clone),
        };
        let layer = self.layer.clone();
        layer.count.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if request.headers().contains_key("x-refuse") {
                if layer.fault == Fault::KeepsTheReservationWhenItRefuses {
                    layer.keep(inner);
                }
                let mut refusal = Response::new(Body::empty());
                *refusal.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                return Ok(refusal);
            }
            let mut call = inner.call(request);
            if layer.fault == Fault::KeepsPermitsOfCancelledCalls {
                // Whoever drops this future does not drop that one.
                if let Poll::Ready(done) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return done;
                }
                let kept = Arc::new(Mutex::new(call));
                layer.keep(Arc::clone(&kept));
                let done = std::future::poll_fn(|cx| kept.lock().expect("is sound").as_mut().poll(cx)).await;
                layer.kept.lock().expect("is sound").clear();
                return done;
            }
            let response = match call.await {
                Err(_) if layer.fault == Fault::AnswersErrorsWithSuccess => Response::new(Body::empty()),
                done => done?,
            };
            Ok(match layer.fault {
                Fault::EndsBrokenBodiesAsIfWhole
                | Fault::LosesBytesOfSmallFrames
                | Fault::LosesTrailers
                | Fault::LosesTheSizeHint
                | Fault::KeepsBodiesThatAreDropped => {
                    response.map(|body| Body::new(FaultyBody { body: Some(body), layer }))
                }
                _ => response,
            })
        })
    }
}

struct FaultyBody {
    body: Option<Body>,
    layer: Faulty,
}

impl HttpBody for FaultyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let fault = self.layer.fault;
        let frame = Pin::new(self.body.as_mut().expect("is sound")).poll_frame(cx);
        match frame {
            Poll::Ready(Some(Err(_))) if fault == Fault::EndsBrokenBodiesAsIfWhole => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) if fault == Fault::LosesTrailers && frame.is_trailers() => {
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame)))
                if fault == Fault::LosesBytesOfSmallFrames
                    && frame.data_ref().is_some_and(|data| data.len() == 1) =>
            {
                self.poll_frame(cx)
            }
            frame => frame,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.layer.fault {
            Fault::LosesTheSizeHint => http_body::SizeHint::default(),
            _ => self.body.as_ref().expect("is sound").size_hint(),
        }
    }
}

impl Drop for FaultyBody {
    fn drop(&mut self) {
        if self.layer.fault == Fault::KeepsBodiesThatAreDropped {
            self.layer.keep(self.body.take());
        }
    }
}

fn request() -> Request<Bytes> {
    Request::new(Bytes::from_static(b"a request"))
}

async fn report(fault: Fault) -> Report {
    let layer = Faulty::new(fault);
    let count = Arc::clone(&layer.count);
    Conformance::new(layer)
        .request(request)
        .response(|| Response::new(Bytes::from_static(b"an answer")))
        .refused(|| {
            let mut request = request();
            request.headers_mut().insert("x-refuse", http::HeaderValue::from_static("1"));
            request
        })
        .shared(move |first, second| {
            let count = Arc::clone(&count);
            async move {
                let before = count.load(Ordering::SeqCst);
                for service in [first, second] {
                    service.oneshot(request().map(Body::from)).await.expect("is sound");
                }
                count.load(Ordering::SeqCst) == before + 2
            }
        })
        .run()
        .await
}

#[tokio::test]
async fn a_sound_layer_passes_every_check() {
    let report = report(Fault::None).await;
    report.assert();
    assert_eq!(report.passed().len(), 11);
    assert_eq!(report.skipped(), []);
}

#[tokio::test]
async fn every_fault_is_found_by_its_check() {
    for (fault, check) in [
        (Fault::CallsTheCloneThatIsNotReady, Check::ReadyCall),
        (Fault::IsReadyBeforeInnerIs, Check::Readiness),
        (Fault::KeepsTheReservationWhenItRefuses, Check::Refusal),
        (Fault::AnswersErrorsWithSuccess, Check::InnerError),
        (Fault::KeepsPermitsOfCancelledCalls, Check::Cancellation),
        (Fault::KeepsBodiesThatAreDropped, Check::HalfRead),
        (Fault::EndsBrokenBodiesAsIfWhole, Check::BodyError),
        (Fault::LosesBytesOfSmallFrames, Check::SingleBytes),
        (Fault::LosesTrailers, Check::Trailers),
        (Fault::LosesTheSizeHint, Check::SizeHint),
        (Fault::MakesStatePerService, Check::SharedState),
    ] {
        let report = report(fault).await;
        let failed: Vec<Check> = report.failed().iter().map(|(check, _)| *check).collect();
        assert!(failed.contains(&check), "{fault:?}: {:?}", report.failed());
    }
}

#[tokio::test]
async fn what_is_left_out_is_said_with_its_reason() {
    let conformance = Conformance::new(RespondErrorLayer::new())
        .request(request)
        .response(|| Response::new(Bytes::from_static(b"an answer")))
        .without(Check::SharedState, "it has none");
    let report = conformance.run().await;
    assert_eq!(report.skipped(), [(Check::SharedState, "it has none")]);
    let failed: Vec<Check> = report.failed().iter().map(|(check, _)| *check).collect();
    assert_eq!(failed, [Check::Refusal]);
    assert_eq!(report.failed()[0].1, "no request is given that is refused");
}

#[tokio::test]
async fn respond_error_conforms() {
    let report = Conformance::new(RespondErrorLayer::new())
        .request(request)
        .response(|| Response::new(Bytes::from_static(b"an answer")))
        .without(Check::Refusal, "it refuses nothing")
        .without(Check::SharedState, "it has no state")
        .run()
        .await;
    report.assert();
    assert_eq!(report.passed().len(), 9);
}

//! The checks that every layer passes: what a `tower::Layer` over bodies owes to the services around it, as code.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use ziggurat_core::RespondErrorLayer;
//! use ziggurat_testkit::conformance::{Check, Conformance};
//!
//! # tokio_test::block_on(async {
//! let report = Conformance::new(RespondErrorLayer::new())
//!     .request(|| http::Request::post("/v1/chat/completions").body(Bytes::from("{}")).unwrap())
//!     .response(|| http::Response::new(Bytes::from("data: [DONE]\n\n")))
//!     .without(Check::Refusal, "it refuses nothing")
//!     .without(Check::SharedState, "it has no state")
//!     .run()
//!     .await;
//! report.assert();
//! assert!(report.passed().contains(&Check::Trailers));
//! # });
//! ```

mod checks;
mod hosts;
mod inner;

use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;
use ziggurat_core::Body;

pub use self::{
    hosts::{axum_takes, client_takes},
    inner::Inner,
};

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// The inner service is called only when it was ready, once a call, whether the layer's service is used again or cloned.
    ReadyCall,
    /// An inner service that is not ready yet makes the call wait, and the wait ends when it is.
    Readiness,
    /// A refused request does not reach the inner service and gives its reservation back.
    Refusal,
    /// An error of the inner service ends the call and leaves nothing behind.
    InnerError,
    /// The call dropped after any number of polls leaves nothing behind.
    Cancellation,
    /// The response's body dropped half-way drops the inner one.
    HalfRead,
    /// An inner body that fails in the middle ends the outer one.
    BodyError,
    /// Bodies cut into single bytes, each after a pause, say the same.
    SingleBytes,
    /// Trailers of a body that passes untouched are kept.
    Trailers,
    /// `size_hint` of a body that passes untouched is kept.
    SizeHint,
    /// Two services of one layer share its state.
    SharedState,
}

/// A layer with what it needs to be checked.
pub struct Conformance<L: Layer<Inner>> {
    layer: L,
    request: Box<dyn Fn() -> Request<Bytes>>,
    response: Box<dyn Fn() -> Response<Bytes>>,
    refused: Option<Box<dyn Fn() -> Request<Bytes>>>,
    untouched: Option<Box<dyn Fn() -> Request<Bytes>>>,
    shared: Option<SharedHook<L::Service>>,
    settled: Box<dyn Fn() -> Result<(), String>>,
    without: Vec<(Check, &'static str)>,
}

type SharedHook<S> = Box<dyn Fn(S, S) -> Pin<Box<dyn Future<Output = bool>>>>;

/// What came of the checks.
#[derive(Debug, Default)]
pub struct Report {
    passed: Vec<Check>,
    skipped: Vec<(Check, &'static str)>,
    failed: Vec<(Check, String)>,
}

// ===== impl Check =====

impl Check {
    const ALL: [Self; 11] = [
        Self::ReadyCall,
        Self::Readiness,
        Self::Refusal,
        Self::InnerError,
        Self::Cancellation,
        Self::HalfRead,
        Self::BodyError,
        Self::SingleBytes,
        Self::Trailers,
        Self::SizeHint,
        Self::SharedState,
    ];
}

// ===== impl Conformance =====

impl<L> Conformance<L>
where
    L: Layer<Inner>,
    L::Service: Service<Request<Body>, Response = Response<Body>> + Clone + 'static,
    <L::Service as Service<Request<Body>>>::Error: fmt::Debug,
{
    /// Checks `layer`, with an empty request and an empty response unless others are given.
    pub fn new(layer: L) -> Self {
        Self {
            layer,
            request: Box::new(|| Request::new(Bytes::new())),
            response: Box::new(|| Response::new(Bytes::new())),
            refused: None,
            untouched: None,
            shared: None,
            settled: Box::new(|| Ok(())),
            without: Vec::new(),
        }
    }

    /// A request that reaches the inner service.
    #[must_use]
    pub fn request(mut self, request: impl Fn() -> Request<Bytes> + 'static) -> Self {
        self.request = Box::new(request);
        self
    }

    /// What the inner service answers; of more than one byte, as it is to be read half-way.
    #[must_use]
    pub fn response(mut self, response: impl Fn() -> Response<Bytes> + 'static) -> Self {
        self.response = Box::new(response);
        self
    }

    /// A request that the layer refuses by itself.
    #[must_use]
    pub fn refused(mut self, request: impl Fn() -> Request<Bytes> + 'static) -> Self {
        self.refused = Some(Box::new(request));
        self
    }

    /// A request whose answer passes untouched; the usual one, unless given.
    #[must_use]
    pub fn untouched(mut self, request: impl Fn() -> Request<Bytes> + 'static) -> Self {
        self.untouched = Some(Box::new(request));
        self
    }

    /// Uses the first service and tells whether the second knows.
    #[must_use]
    pub fn shared<F>(mut self, knows: impl Fn(L::Service, L::Service) -> F + 'static) -> Self
    where
        F: Future<Output = bool> + 'static,
    {
        self.shared = Some(Box::new(move |first, second| Box::pin(knows(first, second))));
        self
    }

    /// Asked after each call that was ended in whatever way: says what is still held, if anything is.
    #[must_use]
    pub fn settled(mut self, settled: impl Fn() -> Result<(), String> + 'static) -> Self {
        self.settled = Box::new(settled);
        self
    }

    /// Leaves a check out that does not apply, for a stated reason.
    #[must_use]
    pub fn without(mut self, check: Check, reason: &'static str) -> Self {
        self.without.push((check, reason));
        self
    }

    /// Runs the checks, each over an inner service of its own.
    pub async fn run(&self) -> Report {
        let mut report = Report::default();
        for check in Check::ALL {
            if let Some(skipped) = self.without.iter().find(|(without, _)| *without == check) {
                report.skipped.push(*skipped);
                continue;
            }
            let result = match check {
                Check::ReadyCall => self.ready_call().await,
                Check::Readiness => self.readiness(),
                Check::Refusal => self.refusal().await,
                Check::InnerError => self.inner_error().await,
                Check::Cancellation => self.cancellation(),
                Check::HalfRead => self.half_read().await,
                Check::BodyError => self.body_error().await,
                Check::SingleBytes => self.single_bytes().await,
                Check::Trailers => self.trailers().await,
                Check::SizeHint => self.size_hint().await,
                Check::SharedState => self.shared_state().await,
            };
            match result {
                Ok(()) => report.passed.push(check),
                Err(why) => report.failed.push((check, why)),
            }
        }
        report
    }
}

impl<L: Layer<Inner>> fmt::Debug for Conformance<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conformance").field("without", &self.without).finish_non_exhaustive()
    }
}

// ===== impl Report =====

impl Report {
    /// The checks that passed.
    pub fn passed(&self) -> &[Check] {
        &self.passed
    }

    /// The checks that were left out, and why.
    pub fn skipped(&self) -> &[(Check, &'static str)] {
        &self.skipped
    }

    /// The checks that failed, and what was seen.
    pub fn failed(&self) -> &[(Check, String)] {
        &self.failed
    }

    /// Insists that none failed.
    ///
    /// # Panics
    /// When one has, with all of them.
    #[track_caller]
    pub fn assert(&self) {
        let lines: Vec<_> = self.failed.iter().map(|(check, why)| format!("{check:?}: {why}")).collect();
        assert!(lines.is_empty(), "the layer does not conform:\n{}", lines.join("\n"));
    }
}

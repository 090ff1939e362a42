//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::sync::Arc;

use http::Request;
use ziggurat_core::{Attempt, AttemptHandle, Body, CallEnd};
use ziggurat_meter::{MeteredBody, Options};
pub use ziggurat_testkit::{Recorder, Scripted, Step, read_body, samples::*};

/// Passes steps through without a listener.
pub async fn pass(options: Options, steps: impl IntoIterator<Item = Step>) -> String {
    read_body(MeteredBody::new(Scripted::new(steps).into(), options, None)).await.0
}

/// Passes steps through with a listener; gives what came out and the attempt as it ended.
pub async fn pass_listened(options: Options, steps: impl IntoIterator<Item = Step>) -> (String, Attempt) {
    let call = Listened::new(Arc::default());
    let body = MeteredBody::new(Scripted::new(steps).into(), options, Some(call.handle));
    let (out, _) = read_body(body.ends(call.end)).await;
    let mut ends = call.recorder.ends();
    assert_eq!(ends.len(), 1, "told the end once");
    assert_eq!(ends[0].len(), 1, "one attempt");
    (out, ends.remove(0).remove(0))
}

/// A call with a subscriber and one attempt.
pub struct Listened {
    pub recorder: Arc<Recorder>,
    pub handle: AttemptHandle,
    pub end: CallEnd,
}

impl Listened {
    pub fn new(recorder: Arc<Recorder>) -> Self {
        let (meter, end) = recorder.join(&mut Request::new(()));
        Self { recorder, handle: meter.presume(), end: end.expect("is made here") }
    }

    /// The call's body.
    pub fn body(self, scripted: Scripted, options: Options) -> MeteredBody {
        MeteredBody::new(Body::from(scripted), options, Some(self.handle)).ends(self.end)
    }
}

use std::{collections::VecDeque, task::Waker};

use futures_util::FutureExt;

use super::*;
use crate::{Cause, Convention, Dialect};

mod model;

/// What a subscriber was asked and told, and what it is to answer next.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Vec<Seen>>,
    answers: Mutex<VecDeque<Decision>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Before(Option<String>, Vec<Attempt>),
    Progress(Box<Attempt>),
    End(Vec<Attempt>),
}

impl Recorder {
    fn see(&self, seen: Seen) {
        self.seen.lock().expect("is sound").push(seen);
    }

    fn answer(&self) -> Decision {
        self.answers.lock().expect("is sound").pop_front().unwrap_or(Decision::Go)
    }

    fn next(&self, decision: Decision) {
        self.answers.lock().expect("is sound").push_back(decision);
    }

    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("is sound"))
    }
}

impl Subscriber for Recorder {
    fn before_attempt(&self, target: Option<&Target>, earlier: &[Attempt]) -> Decision {
        self.see(Seen::Before(target.map(|target| target.deployment().to_owned()), earlier.to_vec()));
        self.answer()
    }

    fn on_progress(&self, attempt: &Attempt) -> Decision {
        self.see(Seen::Progress(attempt.clone().into()));
        self.answer()
    }

    fn on_end(&self, attempts: &[Attempt]) {
        self.see(Seen::End(attempts.to_vec()));
    }
}

/// An answer that comes when it is told to.
#[derive(Default)]
struct Gate {
    answer: Mutex<Option<Result<(), Rejection>>>,
    waker: Mutex<Option<Waker>>,
}

impl Gate {
    fn open(&self, answer: Result<(), Rejection>) {
        *self.answer.lock().expect("is sound") = Some(answer);
        if let Some(waker) = self.waker.lock().expect("is sound").take() {
            waker.wake();
        }
    }

    fn wait(self: &Arc<Self>) -> Decision {
        let gate = Arc::clone(self);
        Decision::Wait(Box::pin(async move {
            poll_fn(|cx| {
                *gate.waker.lock().expect("is sound") = Some(cx.waker().clone());
                gate.answer.lock().expect("is sound").take().map_or(Poll::Pending, Poll::Ready)
            })
            .await
        }))
    }
}

fn call() -> (Meter, CallEnd, Arc<Recorder>) {
    let mut request = Request::new(());
    let (meter, end) = Meter::join(&mut request);
    let recorder = Arc::new(Recorder::default());
    meter.subscribe(Arc::clone(&recorder) as Arc<dyn Subscriber>);
    (meter, end.expect("made here"), recorder)
}

fn target(model: &str) -> Target {
    Target::new("p", Dialect::OpenAi, model, "https://example.com/v1").expect("valid")
}

fn stop() -> Rejection {
    Rejection::new(Cause::Quota, "spent")
}

fn usage(output: u64) -> Usage {
    let mut usage = Usage::new(Convention::OPENAI);
    usage.output = Some(output);
    usage
}

fn open(meter: &Meter, target: Option<&Target>) -> AttemptHandle {
    meter.attempt(target).now_or_never().expect("does not wait").expect("goes")
}

fn progress(handle: &mut AttemptHandle) -> Poll<Result<(), Rejection>> {
    handle.poll_progress(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_first_to_join_makes_the_meter_and_keeps_the_end() {
    let mut request = Request::new(());
    let (first, end) = Meter::join(&mut request);
    let (second, no_end) = Meter::join(&mut request);
    assert!(end.is_some() && no_end.is_none());
    assert!(!first.has_subscribers());
    second.subscribe(Arc::new(Recorder::default()));
    assert!(first.has_subscribers());
    assert!(request.extensions().get::<Meter>().is_some_and(Meter::has_subscribers));
}

#[test]
fn subscribers_are_asked_before_each_attempt_with_the_earlier_ones() {
    let (meter, end, recorder) = call();
    let mut first = open(&meter, Some(&target("a")));
    assert_eq!(recorder.take(), [Seen::Before(Some("p/a".to_owned()), vec![])]);
    first.sent();
    first.usage(&usage(3));
    first.end(Outcome::Failed);
    let failed = Attempt {
        target: Some(TargetId(target("a"))),
        sent: true,
        usage: Some(usage(3)),
        outcome: Some(Outcome::Failed),
        ..Attempt::default()
    };
    let second = open(&meter, None);
    assert_eq!(recorder.take(), [Seen::Before(None, vec![failed.clone()])]);
    drop(second);
    drop(end);
    let cancelled = Attempt { outcome: Some(Outcome::Cancelled), ..Attempt::default() };
    assert_eq!(recorder.take(), [Seen::End(vec![failed, cancelled])]);
}

#[test]
fn what_did_not_reach_the_provider_was_not_sent() {
    let (meter, end, recorder) = call();
    for mut handle in [open(&meter, None), meter.presume()] {
        handle.sent();
        assert!(meter.attempts().iter().all(|attempt| attempt.sent || attempt.outcome.is_some()));
        handle.unsent();
        handle.end(Outcome::Failed);
    }
    recorder.take();
    drop(end);
    let unsent = Attempt { outcome: Some(Outcome::Failed), ..Attempt::default() };
    assert_eq!(recorder.take(), [Seen::End(vec![unsent.clone(), unsent])]);
}

#[test]
fn a_stopped_attempt_is_not_made() {
    let (meter, end, recorder) = call();
    recorder.next(Decision::Stop(stop()));
    let refused = meter.attempt(None).now_or_never().expect("does not wait").expect_err("is stopped");
    assert_eq!(refused, stop());
    assert_eq!(meter.attempts(), []);
    drop(end);
    assert_eq!(recorder.take(), [Seen::Before(None, vec![]), Seen::End(vec![])]);
}

#[test]
fn after_a_stop_nobody_else_is_asked() {
    let (meter, _end, first) = call();
    let second = Arc::new(Recorder::default());
    meter.subscribe(Arc::clone(&second) as Arc<dyn Subscriber>);
    first.next(Decision::Stop(stop()));
    assert!(meter.attempt(None).now_or_never().expect("does not wait").is_err());
    assert_eq!((first.take().len(), second.take().len()), (1, 0));
    let mut handle = open(&meter, None);
    second.take();
    handle.content(1);
    first.next(Decision::Stop(stop()));
    assert_eq!(progress(&mut handle), Poll::Ready(Err(stop())));
    assert_eq!(second.take(), []);
}

#[test]
fn an_attempt_waits_for_the_answer() {
    let (meter, _end, recorder) = call();
    let gate = Arc::new(Gate::default());
    recorder.next(gate.wait());
    let mut attempt = Box::pin(meter.attempt(None));
    assert!(attempt.as_mut().now_or_never().is_none());
    assert_eq!(meter.attempts(), []);
    gate.open(Ok(()));
    assert!(attempt.now_or_never().expect("was answered").is_ok());
    recorder.next(gate.wait());
    gate.open(Err(stop()));
    let refused = meter.attempt(None).now_or_never().expect("was answered").expect_err("is stopped");
    assert_eq!(refused, stop());
}

#[test]
fn an_attempt_that_is_dropped_while_it_waits_was_not_made() {
    let (meter, end, recorder) = call();
    recorder.next(Arc::new(Gate::default()).wait());
    assert!(meter.attempt(None).now_or_never().is_none());
    drop(end);
    assert_eq!(recorder.take(), [Seen::Before(None, vec![]), Seen::End(vec![])]);
}

#[test]
fn progress_waits_for_every_answer() {
    let (meter, _end, first) = call();
    let second = Arc::new(Recorder::default());
    meter.subscribe(Arc::clone(&second) as Arc<dyn Subscriber>);
    let mut handle = open(&meter, None);
    let (one, two) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    first.next(one.wait());
    second.next(two.wait());
    handle.content(4);
    assert_eq!(progress(&mut handle), Poll::Pending);
    two.open(Ok(()));
    assert_eq!(progress(&mut handle), Poll::Pending);
    assert_eq!(progress(&mut handle), Poll::Pending);
    one.open(Ok(()));
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
    // Asked once each, however often they were polled.
    assert_eq!((first.take().len(), second.take().len()), (2, 2));
}

#[tokio::test]
async fn an_awaited_progress_is_woken_by_the_answer() {
    let (meter, _end, recorder) = call();
    let mut handle = open(&meter, None);
    let gate = Arc::new(Gate::default());
    recorder.next(gate.wait());
    handle.content(1);
    let answered = async {
        tokio::task::yield_now().await;
        gate.open(Err(stop()));
    };
    let (stopped, ()) = futures_util::future::join(handle.progress(), answered).await;
    assert_eq!(stopped, Err(stop()));
    // The answer is spent: polling on is harmless.
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
}

#[test]
fn a_stop_forgets_what_was_waited_for() {
    let (meter, _end, first) = call();
    let second = Arc::new(Recorder::default());
    meter.subscribe(Arc::clone(&second) as Arc<dyn Subscriber>);
    let mut handle = open(&meter, None);
    handle.content(1);
    first.next(Arc::new(Gate::default()).wait());
    second.next(Decision::Stop(stop()));
    assert_eq!(progress(&mut handle), Poll::Ready(Err(stop())));
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
}

#[test]
fn progress_is_asked_only_when_something_changed() {
    let (meter, _end, recorder) = call();
    let mut handle = open(&meter, None);
    recorder.take();
    handle.sent();
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
    assert_eq!(recorder.take(), []);
    handle.content(0);
    handle.content(5);
    handle.content(2);
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
    let begun = Attempt { sent: true, content_begun: true, content_bytes: 7, ..Attempt::default() };
    assert_eq!(recorder.take(), [Seen::Progress(begun.clone().into())]);
    assert_eq!(meter.attempts(), std::slice::from_ref(&begun));
    handle.usage(&usage(9));
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
    assert_eq!(recorder.take(), [Seen::Progress(Attempt { usage: Some(usage(9)), ..begun }.into())]);
}

#[test]
fn later_usage_replaces_what_it_states_and_keeps_the_rest() {
    let (meter, end, recorder) = call();
    let mut handle = open(&meter, None);
    let mut start = Usage::new(Convention::ANTHROPIC);
    (start.input, start.output) = (Some(100), Some(1));
    handle.usage(&start);
    let mut delta = Usage::new(Convention::ANTHROPIC);
    delta.output = Some(42);
    handle.usage(&delta);
    handle.end(Outcome::Complete);
    start.output = Some(42);
    assert_eq!(handle.attempt().usage, Some(start));
    recorder.take();
    drop(end);
    let told = Attempt { usage: Some(start), outcome: Some(Outcome::Complete), ..Attempt::default() };
    assert_eq!(recorder.take(), [Seen::End(vec![told])]);
}

#[test]
fn the_first_outcome_stands() {
    let (meter, _end, _) = call();
    let mut handle = open(&meter, None);
    handle.end(Outcome::Stopped);
    handle.end(Outcome::Complete);
    drop(handle);
    assert_eq!(meter.attempts()[0].outcome, Some(Outcome::Stopped));
}

#[test]
fn the_end_comes_once_with_the_last_open_attempt() {
    let (meter, end, recorder) = call();
    let mut done = open(&meter, None);
    done.end(Outcome::Complete);
    let mut running = open(&meter, None);
    running.content(3);
    drop(end);
    // Somebody reads the answer on, though the caller has left.
    assert_eq!(progress(&mut running), Poll::Ready(Ok(())));
    let complete = Attempt { outcome: Some(Outcome::Complete), ..Attempt::default() };
    let mut cancelled = Attempt { content_begun: true, content_bytes: 3, ..Attempt::default() };
    let seen = recorder.take();
    assert_eq!(seen.last(), Some(&Seen::Progress(cancelled.clone().into())));
    drop(running);
    cancelled.outcome = Some(Outcome::Cancelled);
    let told = vec![complete, cancelled];
    assert_eq!(recorder.take(), [Seen::End(told.clone())]);
    // Nothing is asked, told or put on record after the end.
    done.content(4);
    assert_eq!(progress(&mut done), Poll::Ready(Ok(())));
    drop(done);
    assert_eq!(recorder.take(), []);
    assert_eq!(meter.attempts(), told);
}

#[test]
fn one_who_comes_after_the_end_is_told_at_once() {
    let (meter, end, _) = call();
    open(&meter, None).end(Outcome::Complete);
    drop(end);
    let late = Arc::new(Recorder::default());
    meter.subscribe(Arc::clone(&late) as Arc<dyn Subscriber>);
    let told = Attempt { outcome: Some(Outcome::Complete), ..Attempt::default() };
    assert_eq!(late.take(), [Seen::End(vec![told])]);
}

#[test]
fn one_who_joins_during_an_attempt_is_asked_from_then_on() {
    let (meter, _end, _) = call();
    let mut handle = open(&meter, None);
    handle.content(1);
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
    let late = Arc::new(Recorder::default());
    meter.subscribe(Arc::clone(&late) as Arc<dyn Subscriber>);
    handle.content(1);
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
    let seen = Attempt { content_begun: true, content_bytes: 2, ..Attempt::default() };
    assert_eq!(late.take(), [Seen::Progress(seen.into())]);
}

#[test]
fn a_presumed_attempt_stands_when_no_real_one_comes() {
    let (meter, end, recorder) = call();
    let mut presumed = meter.presume();
    assert_eq!(recorder.take(), []);
    presumed.content(2);
    assert_eq!(progress(&mut presumed), Poll::Ready(Ok(())));
    presumed.end(Outcome::Complete);
    let mut told = Attempt { sent: true, content_begun: true, content_bytes: 2, ..Attempt::default() };
    assert_eq!(recorder.take(), [Seen::Progress(told.clone().into())]);
    drop(end);
    told.outcome = Some(Outcome::Complete);
    assert_eq!(recorder.take(), [Seen::End(vec![told])]);
}

#[test]
fn a_real_attempt_takes_the_place_of_a_presumed_one() {
    let (meter, end, recorder) = call();
    let mut presumed = meter.presume();
    let mut real = open(&meter, Some(&target("a")));
    assert_eq!(recorder.take(), [Seen::Before(Some("p/a".to_owned()), vec![])]);
    // What the presumed one says now is not put on the real one's record, nor is anybody asked about it.
    presumed.content(9);
    assert_eq!(progress(&mut presumed), Poll::Ready(Ok(())));
    drop(presumed);
    assert_eq!(recorder.take(), []);
    real.usage(&usage(1));
    real.end(Outcome::Complete);
    drop(real);
    let second = open(&meter, Some(&target("b")));
    drop((second, end));
    let attempt = |model, usage, outcome| Attempt {
        target: Some(TargetId(target(model))),
        usage,
        outcome: Some(outcome),
        ..Attempt::default()
    };
    let first = attempt("a", Some(usage(1)), Outcome::Complete);
    assert_eq!(
        recorder.take(),
        [
            Seen::Before(Some("p/b".to_owned()), vec![first.clone()]),
            Seen::End(vec![first, attempt("b", None, Outcome::Cancelled)]),
        ]
    );
}

#[test]
fn a_presumed_attempt_is_gone_when_the_real_one_was_stopped() {
    let (meter, end, recorder) = call();
    let presumed = meter.presume();
    recorder.next(Decision::Stop(stop()));
    assert!(meter.attempt(None).now_or_never().expect("does not wait").is_err());
    drop((presumed, end));
    assert_eq!(recorder.take(), [Seen::Before(None, vec![]), Seen::End(vec![])]);
}

#[test]
fn a_subscriber_may_look_at_the_meter_while_it_is_asked() {
    struct Looks(Meter, Mutex<Vec<usize>>);
    impl Looks {
        fn look(&self) {
            self.1.lock().expect("is sound").push(self.0.attempts().len());
        }
    }
    impl Subscriber for Looks {
        fn before_attempt(&self, _: Option<&Target>, _: &[Attempt]) -> Decision {
            self.look();
            Decision::Go
        }
        fn on_progress(&self, _: &Attempt) -> Decision {
            self.look();
            Decision::Go
        }
        fn on_end(&self, _: &[Attempt]) {
            self.look();
        }
    }
    let (meter, end, _) = call();
    let looks = Arc::new(Looks(meter.clone(), Mutex::default()));
    meter.subscribe(Arc::clone(&looks) as Arc<dyn Subscriber>);
    let mut handle = open(&meter, None);
    handle.content(1);
    assert_eq!(progress(&mut handle), Poll::Ready(Ok(())));
    drop((handle, end));
    assert_eq!(*looks.1.lock().expect("is sound"), [0, 1, 1]);
}

#[test]
fn who_follows_an_attempt_is_told_of_content_before_it_is_given_on_and_of_the_end() {
    #[derive(Default)]
    struct Follows(Mutex<Vec<Attempt>>);
    impl Watch for Follows {
        fn changed(&self, attempt: &Attempt) {
            self.0.lock().expect("is not poisoned").push(attempt.clone());
        }
    }
    let (meter, _end) = Meter::join(&mut Request::new(()));
    let follows = Arc::<Follows>::default();
    let mut attempt = meter.attempt(None).now_or_never().expect("nobody waits").expect("nobody objects");
    attempt = attempt.watched(Arc::clone(&follows) as _);
    attempt.content(3);
    assert_eq!(attempt.progress().now_or_never(), Some(Ok(())));
    attempt.failed(&Problem::new(Cause::Overloaded, "first"));
    attempt.failed(&Problem::new(Cause::Internal, "second"));
    attempt.end(Outcome::Failed);
    let begun = Attempt { content_begun: true, content_bytes: 3, ..Attempt::default() };
    let failed = Attempt {
        problem: Some(Arc::new(Problem::new(Cause::Overloaded, "first"))),
        outcome: Some(Outcome::Failed),
        ..begun.clone()
    };
    assert_eq!(*follows.0.lock().expect("is not poisoned"), [begun, failed]);
    let withdrawn = meter.attempt(None).now_or_never().expect("nobody waits").expect("nobody objects");
    withdrawn.watched(Arc::clone(&follows) as _).withdraw();
    assert_eq!(follows.0.lock().expect("is not poisoned").len(), 2);
}

#[test]
fn an_open_attempt_is_taken_once() {
    let (meter, _end) = Meter::join(&mut Request::new(()));
    let open =
        OpenAttempt::new(meter.attempt(None).now_or_never().expect("nobody waits").expect("nobody objects"));
    let other = open.clone();
    assert!(open.take().is_some());
    assert!(other.take().is_none());
}

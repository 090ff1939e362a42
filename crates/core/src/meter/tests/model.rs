//! Random interleavings of attempts, against what anybody would write down.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Presume,
    Open,
    OpenStopped,
    Sent(usize),
    Unsent(usize),
    Content(usize, usize),
    Usage(usize, u64),
    Progress(usize),
    ProgressStopped(usize),
    End(usize, Outcome),
    Drop(usize),
    EndCall,
}

/// One attempt as the model sees it: what its handle has recorded, and what of it is on the meter's record.
#[derive(Debug)]
struct Entry {
    handle: Option<AttemptHandle>,
    known: Attempt,
    /// `None` when it was presumed and a real one took its place.
    record: Option<Attempt>,
    presumed: bool,
    changed: bool,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    closing: bool,
    ended: bool,
    expected: Vec<Seen>,
}

impl Model {
    fn records(&self) -> Vec<Attempt> {
        self.entries.iter().filter_map(|entry| entry.record.clone()).collect()
    }

    /// The attempt that a step speaks of, when its handle still lives.
    fn entry(&mut self, at: usize) -> Option<&mut Entry> {
        let count = self.entries.len();
        if count == 0 {
            return None;
        }
        Some(&mut self.entries[at % count]).filter(|entry| entry.handle.is_some())
    }

    fn publish(&mut self, at: usize) -> bool {
        let ended = self.ended;
        let Some(entry) = self.entry(at) else { return false };
        let counts = !ended && entry.record.is_some();
        if counts {
            entry.record = Some(entry.known.clone());
        }
        counts
    }

    fn before(&mut self) {
        for entry in &mut self.entries {
            if entry.presumed {
                entry.record = None;
            }
        }
        if !self.ended {
            let earlier = self.records();
            self.expected.push(Seen::Before(None, earlier));
        }
    }

    fn push(&mut self, handle: AttemptHandle, presumed: bool) {
        let known = Attempt { sent: presumed, ..Attempt::default() };
        let record = Some(known.clone());
        self.entries.push(Entry { handle: Some(handle), known, record, presumed, changed: false });
    }

    fn finish(&mut self, at: usize, outcome: Outcome) {
        let Some(entry) = self.entry(at) else { return };
        if entry.known.outcome.is_none() {
            entry.known.outcome = Some(outcome);
            self.publish(at);
            self.end_if_over();
        }
    }

    fn end_if_over(&mut self) {
        let records = self.records();
        if self.closing && !self.ended && records.iter().all(|record| record.outcome.is_some()) {
            self.ended = true;
            self.expected.push(Seen::End(records));
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0..4_usize;
    let outcome = prop::sample::select(vec![Outcome::Complete, Outcome::Failed, Outcome::Truncated]);
    prop::collection::vec(
        prop_oneof![
            1 => Just(Step::Presume),
            3 => Just(Step::Open),
            1 => Just(Step::OpenStopped),
            2 => at().prop_map(Step::Sent),
            1 => at().prop_map(Step::Unsent),
            4 => (at(), 0..100_usize).prop_map(|(at, bytes)| Step::Content(at, bytes)),
            3 => (at(), 0..100_u64).prop_map(|(at, tokens)| Step::Usage(at, tokens)),
            5 => at().prop_map(Step::Progress),
            1 => at().prop_map(Step::ProgressStopped),
            2 => (at(), outcome).prop_map(|(at, outcome)| Step::End(at, outcome)),
            2 => at().prop_map(Step::Drop),
            1 => Just(Step::EndCall),
        ],
        0..30,
    )
}

fn run(meter: &Meter, end: &mut Option<CallEnd>, recorder: &Recorder, model: &mut Model, step: &Step) {
    match *step {
        Step::Presume => {
            let handle = meter.presume();
            model.push(handle, true);
        }
        Step::Open => {
            model.before();
            let handle = open(meter, None);
            model.push(handle, false);
        }
        Step::OpenStopped if model.ended => {}
        Step::OpenStopped => {
            model.before();
            recorder.next(Decision::Stop(stop()));
            let refused = meter.attempt(None).now_or_never().expect("does not wait");
            assert_eq!(refused.expect_err("is stopped"), stop());
        }
        Step::Sent(at) => {
            if let Some(Entry { handle: Some(handle), known, .. }) = model.entry(at) {
                handle.sent();
                known.sent = true;
                model.publish(at);
            }
        }
        Step::Unsent(at) => {
            if let Some(Entry { handle: Some(handle), known, .. }) = model.entry(at) {
                handle.unsent();
                known.sent = false;
                model.publish(at);
            }
        }
        Step::Content(at, bytes) => {
            if let Some(Entry { handle: Some(handle), known, changed, .. }) = model.entry(at) {
                handle.content(bytes);
                known.content_begun = true;
                known.content_bytes += bytes as u64;
                *changed = true;
            }
        }
        Step::Usage(at, tokens) => {
            if let Some(Entry { handle: Some(handle), known, changed, .. }) = model.entry(at) {
                handle.usage(&usage(tokens));
                known.usage = Some(usage(tokens));
                *changed = true;
            }
        }
        Step::Progress(at) => ask(recorder, model, at, None),
        Step::ProgressStopped(at) => ask(recorder, model, at, Some(stop())),
        Step::End(at, outcome) => {
            if let Some(Entry { handle: Some(handle), .. }) = model.entry(at) {
                handle.end(outcome);
                model.finish(at, outcome);
            }
        }
        Step::Drop(at) => {
            model.finish(at, Outcome::Cancelled);
            if let Some(entry) = model.entry(at) {
                entry.handle = None;
            }
        }
        Step::EndCall => {
            if end.take().is_some() {
                model.closing = true;
                model.end_if_over();
            }
        }
    }
}

fn ask(recorder: &Recorder, model: &mut Model, at: usize, stop: Option<Rejection>) {
    let Some(entry) = model.entry(at) else { return };
    let changed = std::mem::take(&mut entry.changed);
    let known = entry.known.clone();
    let asked = changed && model.publish(at);
    if asked {
        model.expected.push(Seen::Progress(known.into()));
    }
    let answer = stop.filter(|_| asked);
    if let Some(rejection) = &answer {
        recorder.next(Decision::Stop(rejection.clone()));
    }
    if let Some(Entry { handle: Some(handle), .. }) = model.entry(at) {
        assert_eq!(progress(handle), Poll::Ready(answer.map_or(Ok(()), Err)));
    }
}

proptest! {
    #[test]
    fn any_interleaving_is_recorded_and_told_as_it_was(steps in steps()) {
        let (meter, end, recorder) = call();
        let (mut end, mut model) = (Some(end), Model::default());
        for step in steps.iter().chain([&Step::EndCall]) {
            run(&meter, &mut end, &recorder, &mut model, step);
            prop_assert_eq!(meter.attempts(), model.records());
        }
        for at in 0..model.entries.len() {
            run(&meter, &mut end, &recorder, &mut model, &Step::Drop(at));
        }
        let seen = recorder.take();
        prop_assert_eq!(seen.iter().filter(|seen| matches!(seen, Seen::End(_))).count(), 1);
        prop_assert_eq!(seen, model.expected);
    }
}

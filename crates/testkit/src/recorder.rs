//! A subscriber that keeps what it is asked and told.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::Request;
use ziggurat_core::{Attempt, CallEnd, Decision, Meter, Outcome, Subscriber, Target};

/// Keeps what it is asked and told, and goes on unless a closure decides otherwise.
#[derive(Default)]
pub struct Recorder {
    before: Mutex<Vec<Option<String>>>,
    progress: Mutex<Vec<Attempt>>,
    ends: Mutex<Vec<Vec<Attempt>>>,
    on_attempt: Option<Decide<[Attempt]>>,
    on_progress: Option<Decide<Attempt>>,
}

type Decide<T> = Box<dyn Fn(&T) -> Decision + Send + Sync>;

// ===== impl Recorder =====

impl Recorder {
    /// One that decides on progress.
    pub fn on_progress(decide: impl Fn(&Attempt) -> Decision + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { on_progress: Some(Box::new(decide)), ..Self::default() })
    }

    /// One that decides on attempts, given the earlier ones.
    pub fn on_attempt(decide: impl Fn(&[Attempt]) -> Decision + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { on_attempt: Some(Box::new(decide)), ..Self::default() })
    }

    /// Subscribes to the meter of a call, which is made when there is none.
    pub fn join<B>(self: &Arc<Self>, request: &mut Request<B>) -> (Meter, Option<CallEnd>) {
        let (meter, end) = Meter::join(request);
        meter.subscribe(Arc::clone(self) as Arc<dyn Subscriber>);
        (meter, end)
    }

    /// The deployments it was asked about before each attempt.
    pub fn before(&self) -> Vec<Option<String>> {
        lock(&self.before).clone()
    }

    /// The attempts as they stood when it was asked whether to go on.
    pub fn progress(&self) -> Vec<Attempt> {
        lock(&self.progress).clone()
    }

    /// What it was told at the end, each time it was.
    pub fn ends(&self) -> Vec<Vec<Attempt>> {
        lock(&self.ends).clone()
    }

    /// How the attempts ended, each time it was told.
    pub fn outcomes(&self) -> Vec<Vec<Option<Outcome>>> {
        let outcomes = |attempts: &Vec<Attempt>| attempts.iter().map(|attempt| attempt.outcome).collect();
        lock(&self.ends).iter().map(outcomes).collect()
    }
}

impl Subscriber for Recorder {
    fn before_attempt(&self, target: Option<&Target>, earlier: &[Attempt]) -> Decision {
        lock(&self.before).push(target.map(|target| target.deployment().to_owned()));
        self.on_attempt.as_ref().map_or(Decision::Go, |decide| decide(earlier))
    }

    fn on_progress(&self, attempt: &Attempt) -> Decision {
        lock(&self.progress).push(attempt.clone());
        self.on_progress.as_ref().map_or(Decision::Go, |decide| decide(attempt))
    }

    fn on_end(&self, attempts: &[Attempt]) {
        lock(&self.ends).push(attempts.to_vec());
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("ends", &self.ends()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

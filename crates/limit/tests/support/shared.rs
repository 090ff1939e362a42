//! Counters on another machine, in memory, that answer by script.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::{sync::oneshot, time::Instant};
use ziggurat_core::{Account, Asked, Away, Clock, Limit, Measure};
use ziggurat_limit::{
    Ask, Exceeded, Level, Refused,
    remote::{Backend, Correction, Granted, TakeId},
};

/// How the machine behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Answers,
    Fails,
    /// Neither requests nor answers arrive.
    Lost,
    /// Requests arrive, answers do not.
    Mute,
    /// Both arrive so much later, also when nobody waits any more.
    Late(Duration),
}

/// Its windows never end.
#[derive(Clone)]
pub(crate) struct Machine(pub(crate) Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) mode: Mode,
    pub(crate) asked: usize,
    counts: HashMap<Account, u64>,
    places: HashMap<Account, HashMap<TakeId, Instant>>,
    ended: HashSet<TakeId>,
    /// What each take came to, unless its caller got no answer.
    pub(crate) counted: HashMap<TakeId, u64>,
    pub(crate) corrections: Vec<(TakeId, u64)>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            mode: Mode::Answers,
            asked: 0,
            counts: HashMap::new(),
            places: HashMap::new(),
            ended: HashSet::new(),
            counted: HashMap::new(),
            corrections: Vec::new(),
        })))
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.0.lock().expect("is sound").mode = mode;
    }

    pub(crate) fn asked(&self) -> usize {
        self.0.lock().expect("is sound").asked
    }

    /// What is used of a limit.
    pub(crate) fn used(&self, limit: &Limit) -> u64 {
        self.0.lock().expect("is sound").used(limit)
    }

    /// Which takes were corrected, and by which amounts.
    pub(crate) fn corrections(&self) -> Vec<(TakeId, u64)> {
        self.0.lock().expect("is sound").corrections.clone()
    }

    /// What the takes that were answered came to.
    pub(crate) fn counted(&self) -> Vec<u64> {
        let mut counted: Vec<u64> = self.0.lock().expect("is sound").counted.values().copied().collect();
        counted.sort_unstable();
        counted
    }

    fn act<T: Send + 'static>(&self, act: impl FnOnce(&mut State) -> T + Send + 'static) -> Asked<'_, T> {
        let mut state = self.0.lock().expect("is sound");
        state.asked += 1;
        match state.mode {
            Mode::Answers => {
                let answer = act(&mut state);
                Box::pin(async move { Ok(answer) })
            }
            Mode::Fails => Box::pin(async { Err(Away::new("connection refused")) }),
            Mode::Lost => Box::pin(std::future::pending()),
            Mode::Mute => {
                act(&mut state);
                Box::pin(std::future::pending())
            }
            Mode::Late(by) => {
                let (tell, told) = oneshot::channel();
                let machine = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    let _gone = tell.send(act(&mut machine.0.lock().expect("is sound")));
                });
                Box::pin(async move { told.await.map_err(|_| Away::new("closed")) })
            }
        }
    }
}

impl State {
    fn used(&self, limit: &Limit) -> u64 {
        if limit.measure != Measure::Concurrency {
            return self.counts.get(&limit.account).copied().unwrap_or_default();
        }
        let (now, places) = (Instant::now(), self.places.get(&limit.account));
        places.map_or(0, |places| places.values().filter(|until| **until > now).count() as u64)
    }

    fn level(&self, limit: &Limit) -> Level {
        let reset = if limit.measure == Measure::Concurrency { Duration::ZERO } else { limit.per };
        Level::new(limit, limit.most.saturating_sub(self.used(limit)), reset)
    }

    fn take(&mut self, id: TakeId, asks: &[Ask], lease: Duration) -> Result<Granted, Refused> {
        if self.ended.contains(&id) {
            return Err(Refused::Unavailable("it has ended"));
        }
        for ask in asks {
            if self.used(&ask.limit) + ask.amount > ask.limit.most {
                let level = self.level(&ask.limit);
                let exceeded =
                    Exceeded::new(level, Some(Duration::from_secs(1)), [level].into_iter().collect());
                return Err(Refused::Exceeded(Box::new(exceeded)));
            }
        }
        for Ask { limit, amount, .. } in asks {
            if limit.measure == Measure::Concurrency {
                let until = Instant::now() + lease;
                self.places.entry(limit.account.clone()).or_default().insert(id, until);
            } else {
                *self.counts.entry(limit.account.clone()).or_default() += amount;
                self.counted.insert(id, *amount);
            }
        }
        Ok(Granted::new(asks.iter().map(|ask| self.level(&ask.limit)).collect(), 7))
    }

    fn correct(&mut self, correction: &Correction) {
        let Correction { id, asks, at, used, .. } = correction;
        for ask in &**asks {
            if let Some(places) = self.places.get_mut(&ask.limit.account) {
                places.remove(id);
            }
        }
        if at.is_none() {
            self.ended.insert(*id);
            self.counted.remove(id);
        }
        let (Some(7), Some(used)) = (at, used) else { return };
        if !self.ended.insert(*id) {
            return;
        }
        for Ask { limit, amount, .. } in &**asks {
            if let Some(actual) = used.of(limit.measure) {
                let count = self.counts.entry(limit.account.clone()).or_default();
                *count = (*count + actual).checked_sub(*amount).expect("was counted");
                self.corrections.push((*id, actual));
                self.counted.insert(*id, actual);
            }
        }
    }
}

impl Backend for Machine {
    fn take<'a>(
        &'a self,
        id: TakeId,
        asks: &'a [Ask],
        lease: Duration,
    ) -> Asked<'a, Result<Granted, Refused>> {
        let asks = asks.to_vec();
        self.act(move |state| state.take(id, &asks, lease))
    }

    fn settle<'a>(&'a self, batch: &'a [Correction]) -> Asked<'a, ()> {
        let batch = batch.to_vec();
        self.act(move |state| batch.iter().for_each(|correction| state.correct(correction)))
    }

    fn renew<'a>(&'a self, running: &'a [(TakeId, Arc<[Ask]>)], lease: Duration) -> Asked<'a, ()> {
        let running = running.to_vec();
        self.act(move |state| {
            for (id, asks) in &running {
                for ask in &**asks {
                    let places = state.places.entry(ask.limit.account.clone()).or_default();
                    if let Some(until) = places.get_mut(id) {
                        *until = Instant::now() + lease;
                    }
                }
            }
        })
    }
}

/// A clock that goes with tokio's paused time.
pub(crate) fn clock() -> Clock {
    let start = Instant::now();
    Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000) + start.elapsed())
}

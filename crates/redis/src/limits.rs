//! Limits that several nodes share.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use ziggurat_core::{Asked, Away, Limit, Measure};
use ziggurat_limit::{
    Ask, Exceeded, Level, Refused,
    remote::{Backend, Correction, Granted, TakeId},
};

use crate::{
    client::{Inner, micros},
    money::TOP,
    script::{Call, script, unexpected},
};

/// The counters of limits on a Redis server: sliding windows in 32 slices, as [`MemoryStore`](ziggurat_limit::MemoryStore) has them.
///
/// # Limits
/// Limits and amounts above 2^53 - 1 count as that. Windows are in whole microseconds, and at most 285 years long. A counter forgets
/// itself a second after its window has passed.
#[derive(Clone)]
pub struct Limits(pub(crate) Arc<Inner>);

script!(TAKE = "limits/clock.lua", "limits/window.lua", "limits/take.lua");
script!(SETTLE = "limits/clock.lua", "limits/window.lua", "limits/settle.lua");
script!(RENEW = "limits/clock.lua", "limits/renew.lua");

// ===== impl Limits =====

impl Limits {
    async fn try_take(
        &self,
        id: TakeId,
        asks: &[Ask],
        lease: Duration,
    ) -> Result<Result<Granted, Refused>, Away> {
        let keys = std::iter::once(self.0.names.only("clock"))
            .chain(asks.iter().map(|ask| self.counter(&ask.limit)));
        let mut call = TAKE.call(keys.collect::<Vec<_>>().into_iter());
        call.arg(self.0.given_time()).arg(&id.0.to_be_bytes()).arg(micros(lease));
        for Ask { limit, amount, .. } in asks {
            call.arg(slice_of(limit)).arg((*amount).min(TOP)).arg(limit.most.min(TOP));
        }
        let answer: Vec<i64> = call.send(&self.0.link).await?;
        read_taken(&answer, asks).ok_or_else(unexpected)
    }

    async fn try_settle(&self, batch: &[Correction]) -> Result<(), Away> {
        for batch in batch.chunks(BATCH) {
            let mut keys = Keys::new(self);
            let mut changes = Vec::new();
            for correction in batch {
                self.changes(correction, &mut keys, &mut changes);
            }
            // Nothing to change is sent too: whoever is answered takes it that the server is there.
            let mut call = keys.call(&SETTLE);
            call.arg(self.0.given_time()).arg(REMEMBER.as_millis().to_string());
            changes.iter().for_each(|change| change.write(&mut call));
            call.send::<()>(&self.0.link).await?;
        }
        Ok(())
    }

    async fn try_renew(&self, running: &[(TakeId, Arc<[Ask]>)], lease: Duration) -> Result<(), Away> {
        for running in running.chunks(BATCH) {
            let mut keys = Keys::new(self);
            let mut places = Vec::new();
            for (id, asks) in running {
                let own = asks.iter().filter(|ask| ask.limit.measure == Measure::Concurrency);
                places.extend(own.map(|ask| (keys.place(self.counter(&ask.limit)), id)));
            }
            let mut call = keys.call(&RENEW);
            call.arg(self.0.given_time()).arg(micros(lease));
            for (key, id) in places {
                call.arg(key).arg(&id.0.to_be_bytes());
            }
            call.send::<()>(&self.0.link).await?;
        }
        Ok(())
    }

    fn changes(&self, correction: &Correction, keys: &mut Keys, changes: &mut Vec<Change>) {
        let id = correction.id;
        let mut began = false;
        for Ask { limit, amount, .. } in &*correction.asks {
            if limit.measure == Measure::Concurrency {
                changes.push(Change::Free { key: keys.place(self.counter(limit)), id });
                continue;
            }
            let (Some(at), Some(used)) = (correction.at, correction.used) else { continue };
            let Some(actual) = used.of(limit.measure).filter(|actual| actual != amount) else { continue };
            if !began {
                let name = self.0.names.of("d", &(at / REMEMBER_MICROS).to_string());
                changes.push(Change::Once { key: keys.place(name), id });
                began = true;
            }
            let (key, slice) = (keys.place(self.counter(limit)), slice_of(limit));
            let (amount, actual) = ((*amount).min(TOP), actual.min(TOP));
            changes.push(match actual < amount {
                true => Change::GiveBack { key, slice, at, amount: amount - actual },
                false => Change::Add { key, slice, amount: actual - amount },
            });
        }
    }

    fn counter(&self, limit: &Limit) -> String {
        self.0.names.counter(limit, slice_of(limit))
    }
}

impl Backend for Limits {
    fn take<'a>(
        &'a self,
        id: TakeId,
        asks: &'a [Ask],
        lease: Duration,
    ) -> Asked<'a, Result<Granted, Refused>> {
        Box::pin(self.try_take(id, asks, lease))
    }

    fn settle<'a>(&'a self, batch: &'a [Correction]) -> Asked<'a, ()> {
        Box::pin(self.try_settle(batch))
    }

    fn renew<'a>(&'a self, running: &'a [(TakeId, Arc<[Ask]>)], lease: Duration) -> Asked<'a, ()> {
        Box::pin(self.try_renew(running, lease))
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

/// The keys of a call, each once.
struct Keys {
    list: Vec<String>,
    places: HashMap<String, usize>,
}

/// What a settlement changes; keys by their place.
enum Change {
    Free { key: usize, id: TakeId },
    Once { key: usize, id: TakeId },
    GiveBack { key: usize, slice: u64, at: u64, amount: u64 },
    Add { key: usize, slice: u64, amount: u64 },
}

// ===== impl Keys =====

impl Keys {
    fn new(limits: &Limits) -> Self {
        Self { list: vec![limits.0.names.only("clock")], places: HashMap::new() }
    }

    /// The place of a key, counted from 1.
    fn place(&mut self, name: String) -> usize {
        let list = &mut self.list;
        *self.places.entry(name).or_insert_with_key(|name| {
            list.push(name.clone());
            list.len()
        })
    }

    fn call(self, script: &'static crate::script::Script) -> Call {
        script.call(self.list.into_iter())
    }
}

// ===== impl Change =====

impl Change {
    fn write(&self, call: &mut Call) {
        match self {
            Self::Free { key, id } => call.arg("f").arg(key).arg(&id.0.to_be_bytes()),
            Self::Once { key, id } => call.arg("o").arg(key).arg(&id.0.to_be_bytes()),
            Self::GiveBack { key, slice, at, amount } => {
                call.arg("g").arg(key).arg(slice).arg(at).arg(amount)
            }
            Self::Add { key, slice, amount } => call.arg("a").arg(key).arg(slice).arg(amount),
        };
    }
}

/// The length of a limit's slices in microseconds, rounded up: they must not be shorter than the window. 0 for places among calls.
fn slice_of(limit: &Limit) -> u64 {
    match limit.measure {
        Measure::Concurrency => 0,
        _ => micros(limit.per).div_ceil(SLICES).max(1),
    }
}

fn read_taken(answer: &[i64], asks: &[Ask]) -> Option<Result<Granted, Refused>> {
    let number = |number: &i64| u64::try_from(*number).ok();
    let (granted, rest) = answer.split_first()?;
    let (head, levels) = rest.split_at_checked(if *granted == 1 { 1 } else { 2 })?;
    if levels.len() != 2 * asks.len() {
        return None;
    }
    let level = |(level, ask): (&[i64], &Ask)| {
        let (used, reset) = (number(&level[0])?, number(&level[1])?);
        Some(Level::new(&ask.limit, ask.limit.most.saturating_sub(used), Duration::from_micros(reset)))
    };
    let levels: Vec<Level> = levels.chunks(2).zip(asks).map(level).collect::<Option<_>>()?;
    if *granted == 1 {
        return Some(Ok(Granted::new(levels, number(&head[0])?)));
    }
    let worst = *levels.get(usize::try_from(head[0]).ok()?)?;
    let retry_after = number(&head[1]).map(Duration::from_micros);
    Some(Err(Refused::Exceeded(Box::new(Exceeded::new(worst, retry_after, levels.into_iter().collect())))))
}

/// As a window in memory has.
const SLICES: u64 = 32;

/// Calls that are settled or renewed in one step of the server's: others wait for it, so it is about a millisecond long.
const BATCH: usize = 32;

/// How long a call is known to be corrected, at least: a batch of which no answer came is sent again.
const REMEMBER: Duration = Duration::from_secs(900);
const REMEMBER_MICROS: u64 = 300_000_000;

//! What one call was counted with there.

use std::{mem, sync::Arc, time::SystemTime};

use ziggurat_core::Slot;

use super::{
    Backend, Correction, TakeId,
    store::{Inner, is_place},
};
use crate::{Ask, Ticket, Used};

/// A take, from before it is asked for until it is corrected: however it ends, what the machine may have counted is not left there.
pub(super) struct RemoteTicket<B: Backend> {
    inner: Arc<Inner<B>>,
    id: TakeId,
    asks: Arc<[Ask]>,
    slot: Slot<Correction>,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Nothing of it is there.
    Nowhere,
    /// It may be there.
    Asked,
    /// It was counted then, and may have places.
    Counted { at: u64, places: bool },
}

// ===== impl RemoteTicket =====

impl<B: Backend> RemoteTicket<B> {
    /// A take with room for all that will have to be said of it, if there is any.
    pub(super) fn new(inner: &Arc<Inner<B>>, asks: &[Ask]) -> Option<Self> {
        // Places may be freed before the rest is corrected.
        let both = asks.iter().any(is_place) && !asks.iter().all(is_place);
        let slot = inner.link.slot(1 + usize::from(both))?;
        let id = inner.next_id();
        Some(Self { inner: Arc::clone(inner), id, asks: asks.into(), slot, stage: Stage::Nowhere })
    }

    /// Is asked for now: from here on it may be there.
    pub(super) fn asking(&mut self) -> (TakeId, Arc<[Ask]>) {
        self.stage = Stage::Asked;
        (self.id, Arc::clone(&self.asks))
    }

    /// Was counted.
    pub(super) fn counted(&mut self, at: u64) {
        let places = self.asks.iter().any(is_place);
        self.stage = Stage::Counted { at, places };
        if places {
            self.inner.running().insert(self.id, Arc::clone(&self.asks));
        }
    }

    /// Was not counted.
    pub(super) fn refused(&mut self) {
        self.stage = Stage::Nowhere;
    }

    fn correct(&mut self, at: Option<u64>, used: Option<Used>) {
        self.slot.put(Correction::new(self.id, Arc::clone(&self.asks), at, used));
    }
}

impl<B: Backend> Ticket for RemoteTicket<B> {
    fn leave(&mut self) {
        if let Stage::Counted { at, places: true } = self.stage {
            self.stage = Stage::Counted { at, places: false };
            self.inner.running().remove(&self.id);
            self.correct(Some(at), None);
        }
    }

    fn settle(mut self: Box<Self>, used: Used, _now: SystemTime) {
        let differs = |ask: &Ask| used.of(ask.limit.measure).is_some_and(|actual| actual != ask.amount);
        if !self.asks.iter().any(differs) {
            return self.leave();
        }
        if let Stage::Counted { at, places } = mem::replace(&mut self.stage, Stage::Nowhere) {
            if places {
                self.inner.running().remove(&self.id);
            }
            self.correct(Some(at), Some(used));
        }
    }
}

impl<B: Backend> Drop for RemoteTicket<B> {
    fn drop(&mut self) {
        match self.stage {
            Stage::Nowhere => {}
            Stage::Asked => self.correct(None, None),
            Stage::Counted { .. } => self.leave(),
        }
    }
}

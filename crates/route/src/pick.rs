//! Picking a deployment of a group for an attempt.

use std::{cell::RefCell, sync::Arc};

use tokio::time::Instant;

use crate::{
    affinity::Affinity,
    group::{Group, Member},
    moment::Moment,
    permit::Permit,
    random::{Random, index},
    strategy::Among,
    tags::Pool,
};

/// What a deployment is picked for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ask<'a> {
    /// The deployments that were tried for this call, by their indices.
    pub tried: &'a [usize],
    /// The tags of the call.
    pub tags: &'a [Arc<str>],
    /// The tags that the call itself names: they narrow what those of its caller leave.
    pub named: &'a [Arc<str>],
    /// How many tokens its input has, if that is known.
    pub input_tokens: Option<u64>,
    /// What it has in common with others that should go to the same deployment.
    pub affinity: Option<Affinity>,
    /// The time.
    pub now: Instant,
    /// What its random choices come from.
    pub seed: u64,
}

/// The deployment that was picked, or why there is none.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Picked {
    /// This.
    One {
        /// Which of the group's deployments.
        index: usize,
        /// The leave to call it.
        permit: Permit,
        /// It cools down, as all do that are left.
        last_resort: bool,
    },
    /// The input is too long for all that the call is for.
    TooLongForAll,
    /// There is none for the tags of the call.
    NoTag,
    /// All were tried.
    AllTried,
    /// All that are left run as many calls as they may.
    AllBusy,
}

/// How often another is chosen when somebody else was faster, before all are looked at.
const RACES: usize = 16;

// ===== impl Ask =====

impl<'a> Ask<'a> {
    /// For a first attempt of which nothing is known.
    #[must_use]
    pub const fn new(now: Instant, seed: u64) -> Self {
        Self { tried: &[], tags: &[], named: &[], input_tokens: None, affinity: None, now, seed }
    }

    /// Sets the deployments that were tried.
    #[must_use]
    pub const fn tried(mut self, tried: &'a [usize]) -> Self {
        self.tried = tried;
        self
    }

    /// Sets the tags.
    #[must_use]
    pub const fn tags(mut self, tags: &'a [Arc<str>]) -> Self {
        self.tags = tags;
        self
    }

    /// Sets the tags that the call itself names.
    #[must_use]
    pub const fn named(mut self, tags: &'a [Arc<str>]) -> Self {
        self.named = tags;
        self
    }

    /// Sets how many tokens the input has.
    #[must_use]
    pub const fn input_tokens(mut self, tokens: Option<u64>) -> Self {
        self.input_tokens = tokens;
        self
    }

    /// Sets what it has in common with others.
    #[must_use]
    pub const fn affinity(mut self, affinity: Option<Affinity>) -> Self {
        self.affinity = affinity;
        self
    }
}

// ===== impl Group =====

impl Group {
    /// Picks a deployment: of those of the lowest order that can be called, that of the affinity, else that of the strategy. Where all
    /// that are left cool down, that which returns soonest. Allocates nothing.
    pub fn pick(&self, ask: &Ask<'_>) -> Picked {
        let empty = |pool: &Pool<'_>| !self.members.iter().any(|member| pool.has(&member.tags));
        let Some(pool) = Pool::new(self.tag_rules(), ask.tags, ask.named, empty) else {
            return Picked::NoTag;
        };
        let (moment, mut random) = (Moment::of(ask.now), Random::new(ask.seed));
        for level in &self.levels {
            let random = RefCell::new(Random::new(random.draw()));
            let among = Among { group: self, level, ask, pool, moment, random };
            // Between the choice and the call, another call can take the trial or the room that there was.
            for _ in 0..RACES {
                let Some(index) = self.choose(&among) else { break };
                if let Some(permit) = self.enter(index, false, &among) {
                    return Picked::One { index, permit, last_resort: false };
                }
            }
        }
        let random = RefCell::new(random);
        self.last_resort(&Among { group: self, level: &self.levels[0], ask, pool, moment, random })
    }

    fn choose(&self, among: &Among<'_>) -> Option<usize> {
        let chosen = match among.ask.affinity {
            Some(affinity) => affinity.choose(among),
            None => self.strategy().choose(among).filter(|index| among.can(*index)),
        };
        chosen.or_else(|| among.weighted())
    }

    fn enter(&self, index: usize, anyway: bool, among: &Among<'_>) -> Option<Permit> {
        let tokens = among.ask.input_tokens.unwrap_or_default();
        Permit::new(&self.members[index].hold, anyway, tokens, among.moment)
    }

    /// The least bad of all, or why there is none.
    fn last_resort(&self, among: &Among<'_>) -> Picked {
        let fits = |member: &Member| {
            among.pool.has(&member.tags)
                && among.ask.input_tokens.is_none_or(|tokens| tokens <= member.context_window)
        };
        if !self.members.iter().any(fits) {
            return Picked::TooLongForAll;
        }
        let begin = index(among.random(), self.members.len());
        let all = (begin..self.members.len()).chain(0..begin);
        let left = all.filter(|index| among.eligible(*index, &self.members[*index]));
        if left.clone().next().is_none() {
            return Picked::AllTried;
        }
        loop {
            let room = left.clone().filter(|index| {
                let member = &self.members[*index];
                member.live.in_flight() < member.max_parallel
            });
            let Some(index) = room.min_by_key(|index| self.members[*index].live.health.returns()) else {
                return Picked::AllBusy;
            };
            // Without room any more: another has it, and there is one less to choose from.
            if let Some(permit) = self.enter(index, true, among) {
                let last_resort = permit.is_last_resort();
                return Picked::One { index, permit, last_resort };
            }
        }
    }
}

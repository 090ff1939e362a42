//! What a strategy chooses among.

use std::{cell::RefCell, cmp::Ordering, fmt, time::Duration};

use tokio::time::Instant;

use crate::{
    deployment::Deployment,
    group::{Group, Level, Member},
    live::Usage,
    moment::Moment,
    pick::Ask,
    random::{Random, index, unit},
    tags::Pool,
};

/// The deployments of a group at the moment of a call, some of which can be called.
pub struct Among<'a> {
    pub(crate) group: &'a Group,
    pub(crate) level: &'a Level,
    pub(crate) ask: &'a Ask<'a>,
    pub(crate) pool: Pool<'a>,
    pub(crate) moment: Moment,
    pub(crate) random: RefCell<Random>,
}

/// How many draws by weight are made before all are looked at.
const DRAWS: usize = 8;

// ===== impl Among =====

impl Among<'_> {
    /// How many [`Among::sample`] gives at most.
    pub const SAMPLE: usize = 64;

    /// How many deployments the group has, whether they can be called or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.group.members.len()
    }

    /// Never: a group has deployments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.group.members.is_empty()
    }

    /// The deployment at an index.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn deployment(&self, index: usize) -> &Deployment {
        &self.group.deployments()[index]
    }

    /// Whether it can be called: it does not cool down, has room for one more call, takes an input so long, was not tried for this call
    /// yet, and is of its tags and of the lowest order for which there is any.
    #[must_use]
    pub fn can(&self, index: usize) -> bool {
        self.group
            .members
            .get(index)
            .is_some_and(|member| member.order == self.level.order && self.able(index, member))
    }

    /// A random number; the same for the same seed.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.random.borrow_mut().draw()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.ask.now
    }

    /// How many tokens the input has, if that is known.
    #[must_use]
    pub fn input_tokens(&self) -> Option<u64> {
        self.ask.input_tokens
    }

    /// Those that can be called; where there are more than [`Among::SAMPLE`], so many that stand together in the list, from a random
    /// place on.
    pub fn sample(&self) -> impl Iterator<Item = usize> + '_ {
        let members = &*self.level.members;
        let (before, after) = members.split_at(index(self.random(), members.len()));
        let all = after.iter().chain(before).map(|member| *member as usize);
        all.filter(|index| self.able(*index, &self.group.members[*index])).take(Self::SAMPLE)
    }

    /// That of the sample with the least key; of several, a random one.
    pub fn least<K: PartialOrd>(&self, key: impl Fn(usize) -> K) -> Option<usize> {
        let mut sample = self.sample();
        let first = sample.next()?;
        let (mut best, mut least, mut same) = (first, key(first), 1);
        for member in sample {
            let key = key(member);
            match key.partial_cmp(&least) {
                Some(Ordering::Less) => (best, least, same) = (member, key, 1),
                Some(Ordering::Equal) => {
                    same += 1;
                    if index(self.random(), same) == 0 {
                        best = member;
                    }
                }
                _ => {}
            }
        }
        Some(best)
    }

    /// A random one that can be called, each as often as [`Shuffle`](super::Shuffle) says.
    #[must_use]
    pub fn weighted(&self) -> Option<usize> {
        let drawn = (0..DRAWS).map(|_| self.level.members[self.level.shares.draw(self.random())] as usize);
        drawn
            .into_iter()
            .find(|index| self.able(*index, &self.group.members[*index]))
            .or_else(|| self.weighted_walk())
    }

    /// The first of the list that can be called.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        self.level
            .members
            .iter()
            .map(|member| *member as usize)
            .find(|index| self.able(*index, &self.group.members[*index]))
    }

    /// A random one of the cheapest that can be called.
    #[must_use]
    pub fn cheapest(&self) -> Option<usize> {
        self.level.by_price.iter().find_map(|same| {
            let (before, after) = same.split_at(index(self.random(), same.len()));
            let mut all = after.iter().chain(before).map(|member| *member as usize);
            all.find(|index| self.able(*index, &self.group.members[*index]))
        })
    }

    /// How many calls run at the deployment of an index.
    #[must_use]
    pub fn in_flight(&self, index: usize) -> u64 {
        self.group.members[index].live.in_flight()
    }

    /// Seconds to the end of an answer of so many tokens; `None` if that is not known, or was not for so long.
    pub(crate) fn expected_latency(&self, index: usize, tokens: f64, stale: Duration) -> Option<f64> {
        self.group.members[index].live.latency.expected(tokens, stale, self.moment)
    }

    /// How often a deployment was called in the last minute.
    pub(crate) fn requests(&self, index: usize, slice: u64) -> u64 {
        self.group.members[index].live.usage.last_minute(slice).0
    }

    /// The slice of [`Among::load`] and [`Among::requests`]: the same for all.
    pub(crate) fn slice(&self) -> u64 {
        Usage::slice(self.moment)
    }

    /// How much a deployment is used: whether it is at its limit, the share of it, tokens, requests.
    pub(crate) fn load(&self, index: usize, slice: u64) -> (bool, f64, u64, u64) {
        let member = &self.group.members[index];
        let (requests, tokens) = member.live.usage.last_minute(slice);
        let limits = &member.limits;
        let share = (requests as f64 * limits.per_request).max(tokens as f64 * limits.per_token);
        let input = self.ask.input_tokens.unwrap_or(1);
        let full = requests >= limits.requests || tokens.saturating_add(input) > limits.tokens;
        (full, share, tokens, requests)
    }

    /// Index, hash and weight of all of the level.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (usize, u64, f64)> {
        let all = self.level.members.iter().zip(&self.level.keys).zip(self.level.shares.weights());
        all.map(|((index, key), weight)| (*index as usize, *key, *weight))
    }

    pub(crate) fn weight_at(&self, position: usize) -> f64 {
        self.level.shares.weight(position)
    }

    /// As [`Among::can`], for one of the level.
    fn able(&self, index: usize, member: &Member) -> bool {
        member.live.health.can_call(self.moment)
            && member.live.in_flight() < member.max_parallel
            && self.eligible(index, member)
    }

    /// Whether it could be called if it were well and had room.
    pub(crate) fn eligible(&self, index: usize, member: &Member) -> bool {
        !self.ask.tried.contains(&index)
            && self.ask.input_tokens.is_none_or(|tokens| tokens <= member.context_window)
            && self.pool.has(&member.tags)
    }

    /// As [`Among::weighted`], by looking at all: where most cannot be called, draws would seldom meet one that can.
    fn weighted_walk(&self) -> Option<usize> {
        let (mut total, mut chosen, mut drained, mut seen) = (0.0, None, None, 0);
        for (position, member) in self.level.members.iter().enumerate() {
            let at = *member as usize;
            if !self.able(at, &self.group.members[at]) {
                continue;
            }
            let weight = self.weight_at(position);
            if weight > 0.0 {
                total += weight;
                // Replaces what was chosen with the chance of its share so far.
                if unit(self.random()) * total < weight {
                    chosen = Some(at);
                }
            } else {
                seen += 1;
                if index(self.random(), seen) == 0 {
                    drained = Some(at);
                }
            }
        }
        chosen.or(drained)
    }
}

impl fmt::Debug for Among<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Among")
            .field("group", &self.group.name())
            .field("ask", &self.ask)
            .finish_non_exhaustive()
    }
}

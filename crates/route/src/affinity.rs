//! The same deployment for calls that belong together, without a table of them.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

use crate::{
    random::{mix, unit},
    strategy::Among,
};

/// What calls that belong together have in common: a session, or the beginning of a prompt that a provider has cached.
///
/// Such calls go to the same deployment as long as it can be called, and else to one that is the same for all of them: by weighted
/// rendezvous hashing (Thaler and Ravishankar 1998; <https://datatracker.ietf.org/doc/draft-ietf-bess-weighted-hrw/>). It keeps no state, so
/// that all nodes agree, and only the calls of a deployment that goes away change places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Affinity(pub u64);

// ===== impl Affinity =====

impl Affinity {
    /// That of calls which have these parts in common, in this order. The same on all nodes.
    #[must_use]
    pub fn of<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Self {
        let mut hasher = SipHasher13::new();
        for part in parts {
            let part = part.as_ref();
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        Self(hasher.finish())
    }

    /// The first choice for it that can be called.
    pub(crate) fn choose(self, among: &Among<'_>) -> Option<usize> {
        self.best(among, |position| among.weight_at(position)).or_else(|| self.best(among, |_| 1.0))
    }

    /// The one of the least `-ln(u) / weight`, where `u` is a random number of the deployment's and the affinity's.
    fn best(self, among: &Among<'_>, weight: impl Fn(usize) -> f64) -> Option<usize> {
        let mut best = (f64::INFINITY, None);
        for (position, index, key) in among.keys() {
            let (weight, random) = (weight(position), unit(mix(mix(key ^ self.0).wrapping_add(self.0))));
            // `1 - u` is at most `-ln(u)`: most need no logarithm.
            if weight > 0.0 && (1.0 - random) < best.0 * weight {
                let score = -random.ln() / weight;
                if score < best.0 && among.can(index) {
                    best = (score, Some(index));
                }
            }
        }
        best.1
    }
}

//! The same deployment for calls that belong together, without a table of them.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

use crate::{
    random::{FRACTIONS, fraction, mix, unit},
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
        self.best(among, |weight| weight).or_else(|| self.best(among, |_| 1.0))
    }

    /// The one of the least `-ln(1 - u) / weight`, where `u` is a random number of the deployment's and the affinity's.
    fn best(self, among: &Among<'_>, weight: impl Fn(f64) -> f64) -> Option<usize> {
        let (mut least, mut bound, mut best) = (f64::INFINITY, f64::INFINITY, None);
        for (index, key, own) in among.keys() {
            let (weight, random) = (weight(own), mix(key ^ self.0));
            // `u` is at most `-ln(1 - u)`: most need no logarithm. A weight of zero is below no bound.
            if fraction(random) < bound * weight {
                let score = -(1.0 - unit(random)).ln() / weight;
                if score < least && among.can(index) {
                    (least, bound, best) = (score, score * FRACTIONS, Some(index));
                }
            }
        }
        best
    }
}

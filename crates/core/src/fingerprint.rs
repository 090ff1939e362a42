//! Names of any length, told apart by 128 bits.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
};

use siphasher::sip128::{Hasher128, SipHasher13};

/// What stands for a name, under keys of the process's own: two names never share it, short of 2^-64 of luck.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(u128);

/// Makes fingerprints, of names that callers may choose: with random keys, so that nobody can look for two that are the same.
#[derive(Clone)]
pub struct Fingerprints(SipHasher13);

// ===== impl Fingerprints =====

impl Fingerprints {
    /// With keys that no other has.
    #[must_use]
    pub fn new() -> Self {
        let key = || RandomState::new().hash_one(0);
        Self(SipHasher13::new_with_keys(key(), key()))
    }

    /// Those of names that begin with this.
    #[must_use]
    pub fn beginning(&self, with: impl Hash) -> Self {
        let mut hasher = self.0;
        with.hash(&mut hasher);
        Self(hasher)
    }

    /// The fingerprint of a name; of its end, where this makes those of names that begin the same.
    #[must_use]
    pub fn of(&self, name: impl Hash) -> Fingerprint {
        Fingerprint(self.beginning(name).0.finish128().into())
    }
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self::new()
    }
}

/// Its keys stay its own.
impl fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprints").finish_non_exhaustive()
    }
}

// ===== impl Fingerprint =====

impl Fingerprint {
    /// A number that is evenly spread, and does not depend on the [`Hash`].
    pub(crate) const fn spread(self) -> usize {
        (self.0 >> 64) as usize
    }
}

/// Half of it is as good a hash as can be had.
impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 as u64);
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:032x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_makers_too() {
        let (one, other) = (Fingerprints::new(), Fingerprints::new());
        assert_eq!(one.of(("ab", "c")), one.of(("ab", "c")));
        assert_ne!(one.of(("ab", "c")), one.of(("a", "bc")));
        assert_ne!(one.of("ab"), other.of("ab"));
        assert_eq!(one.beginning("ab").of("c"), one.of(("ab", "c")));
    }
}

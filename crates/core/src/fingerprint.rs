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

/// The parts of a name, hashed together: each by itself would cost as much as all of a usual one.
struct Gathered {
    into: SipHasher13,
    bytes: [u8; GATHERED],
    len: usize,
}

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
        let mut gathered = Gathered { into: self.0, bytes: [0; GATHERED], len: 0 };
        with.hash(&mut gathered);
        gathered.flush();
        Self(gathered.into)
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

// ===== impl Gathered =====

impl Gathered {
    fn flush(&mut self) {
        self.into.write(&self.bytes[..self.len]);
        self.len = 0;
    }
}

impl Hasher for Gathered {
    fn write(&mut self, part: &[u8]) {
        if part.len() > GATHERED - self.len {
            self.flush();
        }
        match self.bytes.get_mut(self.len..self.len + part.len()) {
            Some(room) => {
                room.copy_from_slice(part);
                self.len += part.len();
            }
            None => self.into.write(part),
        }
    }

    /// Not asked for: what is wanted has twice as many bits.
    fn finish(&self) -> u64 {
        self.into.finish()
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

/// Bytes of a name that are hashed at once.
const GATHERED: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_any_length_are_told_as_the_bytes_that_they_are() {
        let all = Fingerprints::new();
        let letters = "abc".repeat(200);
        for cut in 0..letters.len() {
            let (one, two) = letters.split_at(cut);
            // A text ends in a byte that no text holds.
            let mut bytes = [one.as_bytes(), &[0xff], two.as_bytes(), &[0xff]].concat();
            let mut plain = all.0;
            plain.write(&std::mem::take(&mut bytes));
            assert_eq!(all.of((one, two)), Fingerprint(plain.finish128().into()), "{cut}");
        }
    }

    #[test]
    fn names_are_told_apart_and_makers_too() {
        let (one, other) = (Fingerprints::new(), Fingerprints::new());
        assert_eq!(one.of(("ab", "c")), one.of(("ab", "c")));
        assert_ne!(one.of(("ab", "c")), one.of(("a", "bc")));
        assert_ne!(one.of("ab"), other.of("ab"));
        assert_eq!(one.beginning("ab").of("c"), one.of(("ab", "c")));
    }
}

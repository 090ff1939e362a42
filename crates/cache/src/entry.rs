//! A stored answer, and its form on a wire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes};
use http::HeaderValue;
use sha2::{Digest, Sha256};
use ziggurat_core::Usd;

/// A whole answer, in the dialect of the caller whose call it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Whether it is a stream's events or one document.
    pub form: Form,
    /// Its media type.
    pub content_type: HeaderValue,
    /// The bytes of its body.
    pub body: Bytes,
    /// When it was stored.
    pub stored: SystemTime,
    /// From when on it counts no more.
    pub expires: SystemTime,
    /// What the call cost that it answered, where that is known.
    pub cost: Option<Usd>,
}

/// How an answer is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One document.
    Whole,
    /// Server-sent events.
    Events,
}

/// Bytes that are no entry: cut off, changed, or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Poisoned;

// ===== impl Entry =====

impl Entry {
    /// An entry of which nothing is known but what it holds.
    #[must_use]
    pub fn new(
        form: Form,
        content_type: HeaderValue,
        body: Bytes,
        stored: SystemTime,
        ttl: Duration,
    ) -> Self {
        let expires = stored.checked_add(ttl).unwrap_or(stored);
        Self { form, content_type, body, stored, expires, cost: None }
    }

    /// Whether it counts at `now`: neither expired nor, where a clock was set back, of a time that has not come.
    #[must_use]
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.stored <= now && now < self.expires
    }

    /// How long ago it was stored.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.stored).unwrap_or_default()
    }

    /// Bytes that it takes, its key included.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.len() + self.content_type.len() + OVERHEAD
    }

    /// Its form on a wire: what [`Entry::from_bytes`] reads, with a checksum.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + self.content_type.len() + 96);
        out.put_slice(MAGIC);
        out.put_u8(match self.form {
            Form::Whole => 0,
            Form::Events => 1,
        });
        for time in [self.stored, self.expires] {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            out.put_u64(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        }
        out.put_u8(u8::from(self.cost.is_some()));
        out.put_u128(self.cost.unwrap_or_default().as_pico());
        out.put_u16(self.content_type.len() as u16);
        out.put_slice(self.content_type.as_bytes());
        out.put_slice(&self.body);
        let sum = Sha256::digest(&out);
        out.put_slice(&sum[..SUM]);
        out
    }

    /// Reads what [`Entry::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Poisoned`], when it is anything else.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, Poisoned> {
        let at = bytes.len().checked_sub(SUM).ok_or(Poisoned)?;
        if Sha256::digest(&bytes[..at])[..SUM] != bytes[at..] {
            return Err(Poisoned);
        }
        let rest = bytes.slice(..at);
        let mut rest = rest.strip_prefix(MAGIC).map(|rest| bytes.slice_ref(rest)).ok_or(Poisoned)?;
        let mut take = |length: usize| (length <= rest.len()).then(|| rest.split_to(length)).ok_or(Poisoned);
        let form = match take(1)?[0] {
            0 => Form::Whole,
            1 => Form::Events,
            _ => return Err(Poisoned),
        };
        let mut time = || {
            let millis = take(8)?.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| Poisoned)?;
            UNIX_EPOCH.checked_add(Duration::from_millis(millis)).ok_or(Poisoned)
        };
        let (stored, expires) = (time()?, time()?);
        let has_cost = take(1)?[0] == 1;
        let cost = take(16)?.as_ref().try_into().map(u128::from_be_bytes).map_err(|_| Poisoned)?;
        let length = take(2)?.as_ref().try_into().map(u16::from_be_bytes).map_err(|_| Poisoned)?;
        let content_type = HeaderValue::from_bytes(&take(length.into())?).map_err(|_| Poisoned)?;
        Ok(Self { form, content_type, body: rest, stored, expires, cost: has_cost.then(|| Usd::pico(cost)) })
    }
}

/// What a store needs for an entry beside its bytes: the key, the times, and its own bookkeeping.
const OVERHEAD: usize = 280;

const MAGIC: &[u8] = b"zgc1";

/// Bytes of the checksum: what changed by accident is found.
const SUM: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(body: Vec<u8>, cost: Option<u128>) -> Entry {
        let stored = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let content_type = HeaderValue::from_static("text/event-stream");
        let entry = Entry::new(Form::Events, content_type, body.into(), stored, Duration::from_secs(60));
        Entry { cost: cost.map(Usd::pico), ..entry }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(body: Vec<u8>, cost: Option<u64>) {
            let entry = entry(body, cost.map(u128::from));
            prop_assert_eq!(Entry::from_bytes(&entry.to_bytes().into()), Ok(entry));
        }

        #[test]
        fn what_was_changed_or_cut_is_not(body: Vec<u8>, at: prop::sample::Index, bit in 0..8) {
            let whole = entry(body, None).to_bytes();
            let at = at.index(whole.len());
            let mut changed = whole.clone();
            changed[at] ^= 1_u8 << bit;
            prop_assert_eq!(Entry::from_bytes(&changed.into()), Err(Poisoned));
            prop_assert_eq!(Entry::from_bytes(&whole[..at].to_vec().into()), Err(Poisoned));
        }
    }

    #[test]
    fn an_entry_of_the_future_counts_no_more_than_one_of_the_past() {
        let entry = entry(b"x".to_vec(), None);
        let after = |seconds| entry.stored + Duration::from_secs(seconds);
        assert!(entry.is_fresh(entry.stored) && entry.is_fresh(after(59)));
        assert!(!entry.is_fresh(after(60)) && !entry.is_fresh(entry.stored - Duration::from_millis(1)));
        assert_eq!(entry.age(after(7)), Duration::from_secs(7));
        assert_eq!(entry.age(entry.stored - Duration::from_secs(9)), Duration::ZERO);
    }
}

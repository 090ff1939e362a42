//! How long one call waits for stores on other machines, all of them together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Extensions;

/// How long a call has waited for stores on other machines so far: it waits 100 ms for all of them together, or as long as one of them was
/// given where that is longer. What is left is the deadline of the next.
///
/// A request extension, made by the first layer that asks such a store; clones are one.
#[derive(Clone, Debug, Default)]
pub struct Patience(Arc<AtomicU64>);

// ===== impl Patience =====

impl Patience {
    /// That of a call, by its request's extensions; made where there is none.
    pub fn of(extensions: &mut Extensions) -> Self {
        extensions.get_or_insert_default::<Self>().clone()
    }

    /// How long it may still wait for a store that is given so long.
    #[must_use]
    pub fn left(&self, deadline: Duration) -> Duration {
        let waited = Duration::from_micros(self.0.load(Ordering::Relaxed));
        ALL.max(deadline).saturating_sub(waited).min(deadline)
    }

    /// Has waited.
    pub fn waited(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let add = |waited: u64| Some(waited.saturating_add(micros));
        // It always has a value to give.
        let _waited = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

/// For all stores, unless one of them is given longer.
const ALL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_store_took_the_next_has_not() {
        let ms = Duration::from_millis;
        let mut extensions = Extensions::new();
        let patience = Patience::of(&mut extensions);
        assert_eq!(patience.left(ms(50)), ms(50));
        patience.waited(ms(50));
        assert_eq!(Patience::of(&mut extensions).left(ms(90)), ms(50));
        patience.waited(ms(40));
        assert_eq!([50, 5, 300].map(|deadline| patience.left(ms(deadline))), [10, 5, 210].map(ms));
        patience.waited(Duration::MAX);
        assert_eq!(patience.left(ms(50)), Duration::ZERO);
    }
}

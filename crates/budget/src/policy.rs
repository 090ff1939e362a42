//! What the layer does where the answer is not given by arithmetic.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ziggurat_core::Body;

use crate::drain;

/// What is set aside for a call that states no cap of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Uncapped {
    /// As much as the model can write, [`UNKNOWN_CAP`] tokens where that is not known.
    ReserveModelCap,
    /// As much as fits, at most so many tokens a choice, which is then written into the request as its cap; the response says so in
    /// the header [`CLAMPED`].
    Clamp(u64),
    /// A little at first, and more as the answer runs; a stream that cannot get more ends with the budget's error. An answer that is
    /// not streamed, or that a model may reason about unseen, is as [`Uncapped::ReserveModelCap`].
    Extend,
    /// Nothing: the call is refused.
    Refuse,
}

/// What happens to calls to a model without a price, where a budget applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unpriced {
    /// They are refused.
    #[default]
    Refuse,
    /// They pass, cost nothing, and are marked in the ledger.
    Allow,
}

/// What becomes of a stream whose caller has left.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Disconnect {
    /// The upstream is left at once, and what is known to have been produced is charged.
    #[default]
    Cancel,
    /// The rest is read to learn its exact usage, by whoever is given here: it drives the [`Rest`], and may bound it by dropping it.
    Drain(Arc<dyn Fn(Rest) + Send + Sync>),
}

/// The rest of an answer whose caller has left: reads it to its end. Dropped earlier, it cancels the upstream, and what was produced
/// until then is charged.
#[must_use = "it reads only while it is polled"]
pub struct Rest(pub(crate) Body);

/// Tokens set aside for an output that nobody bounds, neither the call nor what is known of the model.
pub const UNKNOWN_CAP: u64 = 8192;

/// The response header that tells a caller the cap that [`Uncapped::Clamp`] wrote into its request, in tokens.
pub const CLAMPED: &str = "x-ziggurat-clamped-max-tokens";

// ===== impl Disconnect =====

impl Disconnect {
    /// Hands the rest of an answer to `drive`, which bounds it as it likes:
    /// `|rest| { tokio::spawn(tokio::time::timeout(BOUND, rest)); }`.
    #[must_use]
    pub fn drain(drive: impl Fn(Rest) + Send + Sync + 'static) -> Self {
        Self::Drain(Arc::new(drive))
    }
}

impl fmt::Debug for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => "Cancel",
            Self::Drain(_) => "Drain",
        })
    }
}

// ===== impl Rest =====

impl Future for Rest {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        drain::poll_rest(&mut self.0, cx)
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").finish_non_exhaustive()
    }
}

//! Who of those that can be called is.

mod among;
mod least_busy;
mod lowest_cost;
mod lowest_latency;
mod lowest_usage;

pub use self::{
    among::Among, least_busy::LeastBusy, lowest_cost::LowestCost, lowest_latency::LowestLatency,
    lowest_usage::LowestUsage,
};

/// Chooses among the deployments of a group. Closures do, too.
///
/// What it says is checked: where it names none, or one that cannot be called, the choice is [`Shuffle`]'s.
pub trait Strategy: Send + Sync + 'static {
    /// The index of a deployment for which [`Among::can`] holds.
    fn choose(&self, among: &Among<'_>) -> Option<usize>;
}

/// Random, each as often as its weight says: the first of weight, requests and tokens a minute that any has. A deployment that lacks it
/// gets a fair share, the mean of those that have it. One of weight 0 gets none, unless there is no other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shuffle;

/// The first of the list that can be called.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ordered;

impl<F> Strategy for F
where
    F: Fn(&Among<'_>) -> Option<usize> + Send + Sync + 'static,
{
    fn choose(&self, among: &Among<'_>) -> Option<usize> {
        self(among)
    }
}

impl Strategy for Shuffle {
    fn choose(&self, among: &Among<'_>) -> Option<usize> {
        among.weighted()
    }
}

impl Strategy for Ordered {
    fn choose(&self, among: &Among<'_>) -> Option<usize> {
        among.first()
    }
}

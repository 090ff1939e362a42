use super::{Among, Strategy};

/// That of which the smallest share of its requests or tokens a minute, whichever is larger, was used in the last minute. Without such
/// figures, that of the fewest tokens. One that is at its limit is called only where all are.
///
/// Where some have a figure and others not, these are compared as if they had the mean of those. Of several a random one, of more than 64
/// among 64 that stand together somewhere. The input tokens of calls in flight count as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct LowestUsage;

impl Strategy for LowestUsage {
    fn choose(&self, among: &Among<'_>) -> Option<usize> {
        let slice = among.slice();
        among.least(|index| among.load(index, slice))
    }
}

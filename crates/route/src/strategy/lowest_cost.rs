use super::{Among, Strategy};

/// That of the lowest price; of several, a random one. Those without a price come last.
#[derive(Clone, Copy, Debug, Default)]
pub struct LowestCost;

impl Strategy for LowestCost {
    fn choose(&self, among: &Among<'_>) -> Option<usize> {
        among.cheapest()
    }
}

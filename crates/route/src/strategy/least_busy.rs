use super::{Among, Strategy};

/// That with the fewest calls in flight; of several, a random one. Of more than 64, among 64 that stand together somewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastBusy;

impl Strategy for LeastBusy {
    fn choose(&self, among: &Among<'_>) -> Option<usize> {
        among.least(|index| among.in_flight(index))
    }
}

//! What share of the calls each member of a level gets.

use crate::{deployment::Settings, random::unit};

/// Weights, and their sums from the first on.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    weights: Box<[f64]>,
    sums: Box<[f64]>,
    /// The last with a weight.
    last: usize,
}

// ===== impl Shares =====

impl Shares {
    /// By the first of weight, requests and tokens a minute that any of them has. Who lacks it gets the mean of those that have; a
    /// weight of 0 is none. Where all have none, all have the same.
    pub(crate) fn new<'a>(settings: impl Iterator<Item = &'a Settings> + Clone) -> Self {
        let positive = |weight: &f64| *weight > 0.0;
        let metrics: [fn(&Settings) -> Option<f64>; 3] = [
            |settings| settings.weight,
            |settings| settings.requests_per_minute.map(|requests| requests as f64),
            |settings| settings.tokens_per_minute.map(|tokens| tokens as f64),
        ];
        let chosen =
            metrics.into_iter().find(|metric| settings.clone().filter_map(metric).any(|it| positive(&it)));
        let mut weights: Box<[f64]> = match chosen {
            Some(metric) => {
                let known: Vec<f64> = settings.clone().filter_map(metric).filter(positive).collect();
                // Each divided first: the sum could be more than there is.
                let mean = known.iter().map(|weight| weight / known.len() as f64).sum();
                settings.clone().map(|settings| metric(settings).unwrap_or(mean)).collect()
            }
            None => settings.clone().map(|_| 1.0).collect(),
        };
        for (weight, settings) in weights.iter_mut().zip(settings) {
            if settings.weight == Some(0.0) {
                *weight = 0.0;
            }
        }
        if !weights.iter().any(positive) {
            weights.fill(1.0);
        }
        // The largest is 1, so that sums stay finite.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        weights.iter_mut().for_each(|weight| *weight /= largest);
        let sums = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        let sums = sums.collect();
        let last = weights.iter().rposition(positive).unwrap_or_default();
        Self { weights, sums, last }
    }

    /// The weights of all, in their order.
    pub(crate) const fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The weight of the one at this position.
    pub(crate) fn weight(&self, position: usize) -> f64 {
        self.weights[position]
    }

    /// A position, each as often as its weight says.
    pub(crate) fn draw(&self, random: u64) -> usize {
        let point = unit(random) * self.sums[self.last];
        self.sums.partition_point(|sum| *sum <= point).min(self.last)
    }
}

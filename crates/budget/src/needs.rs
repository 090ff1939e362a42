//! What has to have a price for a call to be counted.

use std::sync::Arc;

use ziggurat_catalog::Model;
use ziggurat_core::{Call, Operation, Target};

use crate::{layer::Config, pieces::Pieces};

/// What has to have a price.
pub(crate) enum Needs {
    /// What is read, and what is written.
    Text,
    /// What is read: it is not answered with text.
    Input,
    /// What is read, or the searches of a ranking.
    Ranking,
    Pieces(Pieces),
}

// ===== impl Needs =====

impl Needs {
    pub(crate) fn of(call: &Call) -> Self {
        match Pieces::of(call) {
            Some(pieces) => Self::Pieces(pieces),
            None if call.operation().generates_text() => Self::Text,
            None if call.operation() == Operation::Rerank => Self::Ranking,
            None => Self::Input,
        }
    }

    /// The model of a target, if it has the prices that the call needs.
    pub(crate) fn model(&self, config: &Config, target: &Target) -> Option<Arc<Model>> {
        match self {
            Self::Pieces(pieces) => pieces.model(config, target),
            _ => self.priced(config.catalog.for_target(target)),
        }
    }

    pub(crate) fn priced(&self, model: Option<Arc<Model>>) -> Option<Arc<Model>> {
        model.filter(|model| match self {
            Self::Text => model.prices.is_priced_for_text(),
            Self::Input => model.prices.is_priced_for_tokens(),
            Self::Ranking => model.prices.is_priced_by_query() || model.prices.is_priced_for_tokens(),
            Self::Pieces(pieces) => pieces.is_priced(&model.prices),
        })
    }
}

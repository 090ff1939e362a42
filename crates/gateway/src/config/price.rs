//! What a deployment costs: LiteLLM's `*_cost_*` keys, and `base_model`.

use ziggurat_catalog::{InvalidPrice, Model};

use super::check::find;
use super::diagnostic::Report;
use super::keys::{LITELLM_PARAMS, Policy};
use super::node::{Node, Value};
use super::spending::Place;

/// What the file says of a deployment's prices.
#[derive(Debug, Default)]
pub(crate) struct Pricing {
    /// Names of keys, with their values as they are written.
    entries: Vec<(String, String)>,
    /// `base_model`: the catalog's model that it is, whatever its name at the provider.
    pub(crate) base_model: Option<(String, Place)>,
}

// ===== impl Pricing =====

impl Pricing {
    /// Reads it from `litellm_params`, which go before, and `model_info`.
    pub(super) fn read(params: &Node, info: Option<&Node>, report: &mut Report) -> Self {
        let mut pricing = Self::default();
        for (section, node) in [Some((false, params)), info.map(|info| (true, info))].into_iter().flatten() {
            for entry in node.entries() {
                // In `litellm_params`, `max_tokens` is a parameter of the request.
                let passed = || find(&LITELLM_PARAMS, &entry.key).is_some_and(|it| it.policy == Policy::Pass);
                let is_price = Model::is_price_key(&entry.key) && entry.key != "mode";
                if is_price && (section || !passed()) {
                    pricing.add(&entry.key, &entry.node, report);
                }
            }
        }
        let base = info.and_then(|info| info.get("base_model")).or_else(|| params.get("base_model"));
        pricing.base_model = base.and_then(|node| Some((node.text()?.to_owned(), Place::of(node))));
        pricing
    }

    fn add(&mut self, key: &str, node: &Node, report: &mut Report) {
        if matches!(node.value, Value::Null | Value::Missing)
            || self.entries.iter().any(|(own, _)| own == key)
        {
            return;
        }
        let Some(value) = node.decimal() else {
            report.error(&node.at, &node.path, format!("expected a number, found {}", node.kind()));
            return;
        };
        match Model::custom(None, [(key, &*value)]) {
            Ok(_) => self.entries.push((key.to_owned(), value.into_owned())),
            Err(InvalidPrice { why: Some(why), .. }) => report.error(&node.at, &node.path, why.to_string()),
            Err(_) => report.error(&node.at, &node.path, "is no price that can be counted here"),
        }
    }

    /// Whether the file says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.base_model.is_none()
    }

    /// These prices, over those of what it is otherwise.
    ///
    /// # Errors
    /// For a key that cannot be used; each has been tried when it was read.
    pub(crate) fn over(&self, base: Option<&Model>) -> Result<Model, InvalidPrice> {
        Model::custom(base, self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

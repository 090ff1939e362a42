//! What models cost, by the config: the built-in prices, a map of the operator's, and those of single deployments.

use std::{collections::HashMap, fs, io::Read, path::Path, sync::Arc};

use ziggurat_catalog::{BasisPoints, Catalog, Model, Prices, Unit};
use ziggurat_core::{Target, Usd};

use crate::config::{Config, Deployment, Diagnostic, Margin, Place};

/// What an operator takes off the costs of a provider, and puts on top.
#[derive(Clone, Copy)]
struct Adjustment {
    discount: BasisPoints,
    margin: Margin,
}

/// Reads a config and makes its catalog, with what deserves a warning.
///
/// # Errors
/// All findings, if one of them is an error.
pub(crate) fn load(path: &Path) -> Result<(Config, Catalog, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (config, mut findings) = Config::load(path)?;
    match catalog(&config) {
        Ok((catalog, warnings)) => {
            findings.extend(warnings);
            Ok((config, catalog, findings))
        }
        Err(errors) => Err(findings.into_iter().chain(errors).collect()),
    }
}

/// Makes the catalog that a config describes, with what deserves a warning.
///
/// # Errors
/// What is wrong with its price map and its base models, with their place in the file.
pub(crate) fn catalog(config: &Config) -> Result<(Catalog, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut warnings = Vec::new();
    let mut plain = Catalog::embedded();
    if let Some((path, place)) = &config.spending.price_map {
        let (models, unknown) = read_map(path).map_err(|why| vec![place.error(why)])?;
        if unknown > 0 {
            let message =
                format!("{unknown} of its keys are not understood: `ziggurat catalog import` names them");
            warnings.push(place.warning(message));
        }
        plain = plain.with_all(models);
    }
    let mut catalog = adjust_wildcards(config, &plain);
    let mut errors = Vec::new();
    for deployment in &config.deployments {
        match own_model(config, deployment, &plain) {
            Ok(Some(model)) => catalog = catalog.deployment(&deployment.id, model),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok((catalog, warnings)) } else { Err(errors) }
}

/// What is known of a deployment and differs from what is known of its provider's model.
fn own_model(config: &Config, deployment: &Deployment, plain: &Catalog) -> Result<Option<Model>, Diagnostic> {
    let (provider, pricing) = (deployment.provider.id.as_str(), &deployment.pricing);
    let adjustment = Adjustment::of(config, provider);
    if pricing.is_empty() && (adjustment.is_none() || deployment.is_wildcard()) {
        return Ok(None);
    }
    let base = match &pricing.base_model {
        Some((name, place)) => Some(base_model(plain, provider, name, place)?),
        None => plain.model(provider, &deployment.model),
    };
    if base.is_none() && pricing.is_empty() {
        return Ok(None);
    }
    let model = pricing.over(base.as_deref()).map_err(|error| deployment.place().error(error.to_string()))?;
    Ok(Some(match adjustment {
        Some(adjustment) => adjustment.of_model(model),
        None => model,
    }))
}

fn base_model(plain: &Catalog, provider: &str, name: &str, place: &Place) -> Result<Arc<Model>, Diagnostic> {
    let found = plain.model(provider, name).or_else(|| plain.named(name));
    found.ok_or_else(|| place.error("names no model whose prices are known"))
}

/// Wildcards stand for any model of their provider, so that all of these are adjusted.
fn adjust_wildcards(config: &Config, plain: &Catalog) -> Catalog {
    let mut catalog = plain.clone();
    let mut seen = HashMap::new();
    for deployment in config.deployments.iter().filter(|deployment| deployment.is_wildcard()) {
        let provider = deployment.provider.id.as_str();
        let Some(adjustment) = Adjustment::of(config, provider) else { continue };
        if seen.insert(provider, ()).is_some() {
            continue;
        }
        let own = plain
            .models()
            .filter(|model| plain.model(provider, &model.id).is_some_and(|it| it.id == model.id));
        catalog = catalog.with_all(own.map(|model| adjustment.of_model((*model).clone())));
    }
    catalog
}

// ===== impl Adjustment =====

impl Adjustment {
    fn of(config: &Config, provider: &str) -> Option<Self> {
        let discount = config.spending.discounts.get(provider).copied();
        let margins = &config.spending.margins;
        let margin = margins.get(provider).or_else(|| margins.get("global")).copied();
        (discount.is_some() || margin.is_some())
            .then(|| Self { discount: discount.unwrap_or_default(), margin: margin.unwrap_or_default() })
    }

    fn of_model(&self, mut model: Model) -> Model {
        let Margin { share, fixed } = self.margin;
        model.prices = model.prices.discount(self.discount).margin(share, fixed);
        model
    }
}

// ===== price maps =====

/// Reads LiteLLM's price map, or what `ziggurat catalog import` made of it; with how many keys were not understood.
pub(crate) fn read_map(path: &Path) -> Result<(Vec<Model>, usize), String> {
    let text = read_text(path)?;
    if text.trim_start().starts_with('{') {
        let imported = Catalog::import(&text).map_err(|error| format!("is no price map: {error}"))?;
        return Ok((imported.models, imported.unknown.len()));
    }
    let catalog = Catalog::parse(&text).map_err(|error| format!("is no price map: {error}"))?;
    Ok((catalog.models().map(|model| (*model).clone()).collect(), 0))
}

/// Reads a file, but no more of it than is needed to see that it is too large.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot read the file: {}", error.kind());
    let mut text = String::new();
    let mut file = fs::File::open(path).map_err(unreadable)?.take(MAP_LIMIT + 1);
    file.read_to_string(&mut text).map_err(unreadable)?;
    match text.len() as u64 > MAP_LIMIT {
        true => Err("the file is larger than 64 MiB".to_owned()),
        false => Ok(text),
    }
}

/// LiteLLM's own has 2 MB.
const MAP_LIMIT: u64 = 64 << 20;

// ===== in words =====

/// What a deployment's model costs, in one line; `None` where nothing is known.
pub(crate) fn describe(catalog: &Catalog, target: &Target) -> Option<String> {
    in_words(&catalog.for_target(target)?.prices)
}

/// Prices in one line: those of tokens by the million, those of time by the second.
pub(crate) fn in_words(prices: &Prices) -> Option<String> {
    let of = |unit: Unit| prices.rate(unit);
    let tokens = [
        (Unit::Input, "input"),
        (Unit::CachedRead, "cached input"),
        (Unit::CachedWrite, "cache writes"),
        (Unit::Output, "output"),
    ];
    // A price of a token in 10^-18 dollars is one of a million tokens in 10^-12.
    let told =
        tokens.iter().filter_map(|(unit, name)| Some(format!("{name} ${}", Usd::pico(of(*unit)?.as_atto()))));
    let tokens: Vec<String> = told.collect();
    let seconds = [(Unit::SecondInput, "input"), (Unit::SecondOutput, "output"), (Unit::Second, "time")];
    let seconds = seconds.iter().filter_map(|(unit, name)| Some(format!("{name} ${} a second", of(*unit)?)));
    let search = of(Unit::Query).map(|rate| format!("${rate} a search"));
    let mut all: Vec<String> = seconds.chain(search).collect();
    if !tokens.is_empty() {
        all.insert(0, format!("{} per million tokens", tokens.join(", ")));
    }
    match all.is_empty() {
        true => prices.is_priced().then(|| "priced by other units than tokens".to_owned()),
        false => Some(all.join(", ")),
    }
}

/// What is taken off a provider's costs and put on top, with a comma before it; nothing where it is nothing.
pub(crate) fn adjusted_in_words(config: &Config, provider: &str) -> String {
    let Some(Adjustment { discount, margin }) = Adjustment::of(config, provider) else {
        return String::new();
    };
    let share = |share: BasisPoints, word: &str| match share.get() {
        0 => String::new(),
        points => format!(", {word} {} %", percent(points)),
    };
    let fixed = match margin.fixed.is_zero() {
        true => String::new(),
        false => format!(", plus ${} a call", margin.fixed),
    };
    share(discount, "less") + &share(margin.share, "plus") + &fixed
}

/// Hundredths of a percent, in percent.
fn percent(points: u32) -> String {
    match (points / 100, points % 100) {
        (whole, 0) => whole.to_string(),
        (whole, rest) if rest % 10 == 0 => format!("{whole}.{}", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_told_in_as_many_decimals_as_it_takes() {
        assert_eq!([500, 1250, 7, 10_000].map(percent), ["5", "12.5", "0.07", "100"]);
    }
}

//! `ziggurat catalog`: what is known of models and their prices.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use jiff::Timestamp;
use ziggurat_catalog::{Catalog, Model, ServiceTier, Unit};

use crate::{
    check::counted,
    cli::{complain, print},
    prices::{read_map, read_text},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turns LiteLLM's price map into a file for `ziggurat_settings.price_map`, and names what of it is not understood
    Import {
        /// LiteLLM's model_prices_and_context_window.json
        #[arg(value_name = "FILE")]
        map: PathBuf,
        /// Where to write it [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Shows what is known of a model: its windows, its prices, and from where they are
    Show {
        /// The model, as `gpt-4o` or `azure/gpt-4o`
        #[arg(value_name = "MODEL")]
        model: String,
        /// A price map that goes before the built-in prices
        #[arg(long, value_name = "FILE")]
        price_map: Option<PathBuf>,
    },
}

/// Does what was asked for; fails when there is nothing to write or to show.
pub(crate) fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Import { map, output } => import(map, output.as_deref()),
        Command::Show { model, price_map } => show(model, price_map.as_deref()),
    };
    match done {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(message) => {
            complain(&format!("ziggurat: {message}"));
            ExitCode::FAILURE
        }
    }
}

fn import(map: &Path, output: Option<&Path>) -> Result<String, String> {
    let of_map = |why: String| format!("{}: {why}", map.display());
    let text = read_text(map).map_err(of_map)?;
    let imported = Catalog::import(&text).map_err(|error| of_map(format!("is no price map: {error}")))?;
    for unknown in &imported.unknown {
        complain(&format!("{}: not understood: {}: {}", map.display(), unknown.model, unknown.key));
    }
    let today = Timestamp::now().strftime("%Y-%m-%d").to_string();
    let (text, models) = (imported.to_text(&today), counted(imported.models.len(), "model"));
    let missed = counted(imported.unknown.len(), "key");
    match output {
        None => {
            complain(&format!("{}: {models}; {missed} not understood", map.display()));
            Ok(text)
        }
        Some(path) => {
            fs::write(path, text)
                .map_err(|error| format!("{}: cannot write the file: {}", path.display(), error.kind()))?;
            Ok(format!("{}: {models}; {missed} not understood\n", path.display()))
        }
    }
}

fn show(name: &str, price_map: Option<&Path>) -> Result<String, String> {
    let embedded = Catalog::embedded();
    let mut from = format!("built in, of {}", embedded.version());
    let mut catalog = embedded;
    if let Some(path) = price_map {
        let (models, _) = read_map(path).map_err(|why| format!("{}: {why}", path.display()))?;
        let own = Catalog::empty().with_all(models.clone());
        if own.named(name).is_some() {
            from = path.display().to_string();
        }
        catalog = catalog.with_all(models);
    }
    let Some(model) = catalog.named(name) else { return Err(not_found(&catalog, name)) };
    Ok(describe(&model, &from))
}

fn not_found(catalog: &Catalog, name: &str) -> String {
    let mut similar: Vec<Box<str>> =
        catalog.models().map(|model| model.id.clone()).filter(|id| id.contains(name)).collect();
    similar.sort_by_key(|id| (id.len(), id.clone()));
    similar.truncate(MOST_SIMILAR);
    match similar.is_empty() {
        true => format!("no model {name:?} is known"),
        false => format!("no model {name:?} is known; there are {}", similar.join(", ")),
    }
}

fn describe(model: &Model, from: &str) -> String {
    let tokens = |most: Option<u64>| most.map_or_else(|| "unknown".to_owned(), |most| most.to_string());
    let mut text = format!(
        "{}\n  provider: {}\n  mode: {}\n  input tokens: {}\n  output tokens: {}\n",
        model.id,
        model.provider,
        model.mode.name(),
        tokens(model.max_input),
        tokens(model.max_output),
    );
    if let Some(day) = &model.deprecated {
        let _ = writeln!(text, "  withdrawn: {day}");
    }
    let _ = writeln!(text, "  prices: {from}");
    for (unit, over, tier, rate) in model.prices.iter() {
        let _ = writeln!(text, "    {}{}{}: ${rate}", unit.name(), above(unit, over), at(tier));
    }
    for (unit, size, rate) in model.prices.sizes() {
        let _ = writeln!(text, "    {}_{size}: ${rate}", unit.name());
    }
    if !model.prices.is_priced() {
        text += "    none\n";
    }
    text
}

fn above(unit: Unit, over: u64) -> String {
    match over {
        0 => String::new(),
        _ if unit == Unit::Query => format!(" over {over} results"),
        _ => format!(" over {over} tokens"),
    }
}

fn at(tier: ServiceTier) -> String {
    if tier == ServiceTier::Standard { String::new() } else { format!(" at {}", tier.name()) }
}

const MOST_SIMILAR: usize = 5;

//! How long the facts take to load, a model to be found, and a cost to be computed.
//!
//! ```text
//! cargo bench -p ziggurat-catalog --bench catalog
//! ```
//!
//! The facts are indexed once a process: the bench starts itself again for each sample of that, and takes the best. The others
//! are the best of many runs of 1000 calls.

use std::{
    env,
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

use ziggurat_catalog::{Asked, Catalog, ServiceTier};
use ziggurat_core::{Convention, Usage};

const PROCESSES: usize = 20;
const RUNS: usize = 300;
const CALLS: u32 = 1000;

fn main() {
    if env::args().any(|argument| argument == "--load") {
        let start = Instant::now();
        let model = black_box(Catalog::embedded()).model("openai", "gpt-4o");
        let taken = start.elapsed();
        assert!(model.is_some(), "the model is known");
        println!("{}", taken.as_nanos());
        return;
    }
    let loads = (0..PROCESSES).filter_map(|_| load());
    println!("load and first model: {:?} (best of {PROCESSES} processes)", loads.min().unwrap_or_default());

    let start = Instant::now();
    let models = Catalog::embedded().models().count();
    println!("reading all {models} models: {:?}", start.elapsed());

    let catalog = Catalog::embedded();
    report("find by provider and name", || drop(black_box(catalog.model("openai", black_box("gpt-4o")))));
    report("find by name", || drop(black_box(catalog.named(black_box("gpt-4o")))));
    let mut usage = Usage::new(Convention::OPENAI);
    (usage.input, usage.cached_read) = (Some(250_000), Some(200_000));
    (usage.output, usage.reasoning) = (Some(1000), Some(300));
    for (provider, name) in [("openai", "gpt-4o"), ("gemini", "gemini-2.5-pro"), ("openai", "gpt-6-luna")] {
        let model = catalog.model(provider, name).expect("the model is known");
        let prices = &model.prices;
        report(&format!("{name}: cost"), || {
            black_box(prices.cost(black_box(&usage), ServiceTier::Priority));
        });
        report(&format!("{name}: worst case"), || {
            black_box(prices.worst_case(black_box(250_000), 1000, &Asked::default()));
        });
    }
}

/// Loads the facts in a process of its own.
fn load() -> Option<Duration> {
    let output = Command::new(env::current_exe().ok()?).arg("--load").output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok().map(Duration::from_nanos)
}

fn report(name: &str, mut call: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        best = best.min(start.elapsed());
    }
    println!("{name}: {:.0} ns", best.as_nanos() as f64 / f64::from(CALLS));
}

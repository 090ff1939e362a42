//! What a known key costs a call: nanoseconds, best of many runs, one core.
//!
//! ```text
//! cargo bench -p ziggurat-auth --bench known_key
//! cargo bench -p ziggurat-auth --bench known_key_allocations
//! ```
//!
//! 100,000 keys are known, each with 20 models, two budgets and two limits. `plain` is a service that reads the call, which some layer does in
//! any case; `auth` is the same behind the layer, which reads it then. What the layer costs is the difference: of keys that take turns, so
//! that each is cold in the processor's caches, and in `again` of a few that come again and again. `key` is a look-up alone, and `wrong` one of
//! a key that is known to be none.
//!
//! The allocator is the gateway's; what counts allocations is one of its own, and so they are counted in a process of their own.
//!
//! Instruction counts, which repeat: `valgrind --tool=callgrind --toggle-collect='*counted_call*' <binary> --case <name>`.

use std::{
    env,
    time::{Duration, Instant},
};

mod calls;

use calls::{Case, KEYS, cases};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUNS: usize = 20_000;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let only =
        arguments.iter().position(|argument| argument == "--case").and_then(|at| arguments.get(at + 1));
    println!("{:<16} {:>9}", "case", "ns/call");
    for (name, case) in &cases() {
        match only {
            None => measure(name, case),
            Some(only) if only == name => {
                // Symbols are bound, and pools filled, by calls that are not counted.
                (0..100).for_each(case);
                counted_call(case, 50);
            }
            Some(_) => {}
        }
    }
}

fn measure(name: &str, case: &Case) {
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for run in 0..RUNS {
            case(run * 7 % KEYS);
        }
        best = best.min(start.elapsed());
    }
    println!("{name:<16} {:>9.0}", best.as_nanos() as f64 / RUNS as f64);
}

/// Not inlined, so that callgrind can be told to count only this.
#[inline(never)]
fn counted_call(case: &Case, key: usize) {
    case(key);
}

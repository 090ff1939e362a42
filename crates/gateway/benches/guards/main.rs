//! What limits and budgets cost a call: nanoseconds, best of many runs, one core.
//!
//! ```text
//! cargo bench -p ziggurat-gateway --bench guards
//! cargo bench -p ziggurat-gateway --bench guards_allocations
//! ```
//!
//! 100,000 keys are known, and five scopes are in play in each call: key, team, user, organisation and the gateway, each with a limit of
//! tokens (`limit x5`), or of requests, of tokens and of concurrency (`limit x15`), and a budget. The upstream is in memory and answers at
//! once. `read` is the same call with a subscriber that always goes on: the request is read and so is the answer, which the guards share
//! with whoever else listens. What the guards cost is the difference. The allocator is the gateway's; what counts allocations is one of its
//! own, and so they are counted in a process of their own.
//!
//! One case alone: `cargo bench -p ziggurat-gateway --bench guards -- '<name>'`.
//! Instruction counts, which repeat: `valgrind --tool=callgrind --toggle-collect='*counted_call*' <binary> --case <name>`.

use std::{
    env,
    time::{Duration, Instant},
};

mod calls;

use calls::{CASES, KEYS, Service, one_call};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUNS: usize = 20_000;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let only = arguments.iter().find(|argument| !argument.starts_with("--"));
    let counted = arguments.iter().any(|argument| argument == "--case");
    println!("{:<16} {:>9}", "case", "ns/call");
    for (name, service) in CASES {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let service = service();
        if counted {
            // Symbols are bound, and pools filled, by calls that are not counted.
            (0..100).for_each(|key| one_call(&service, key));
            counted_call(&service, 50);
        } else {
            measure(name, &service);
        }
    }
}

fn measure(name: &str, service: &Service) {
    for key in 0..KEYS {
        one_call(service, key);
    }
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for run in 0..RUNS {
            one_call(service, run * 7 % KEYS);
        }
        best = best.min(start.elapsed());
    }
    println!("{name:<16} {:>9.0}", best.as_nanos() as f64 / RUNS as f64);
}

/// Not inlined, so that callgrind can be told to count only this.
#[inline(never)]
fn counted_call(service: &Service, key: usize) {
    one_call(service, key);
}

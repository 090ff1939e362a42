//! What a call that succeeds at once costs on its way through the layer.
//!
//! ```text
//! cargo bench -p ziggurat-route --bench call
//! cargo bench -p ziggurat-route --bench call_allocations
//! ```
//!
//! `none` is the translate layer around an upstream in memory, with a meter to which somebody listens, the principal, and the target in
//! the request. `route` is the same with the layer around it, which chooses the target among the deployments of a group: what both
//! differ by is what it costs. `planned` has the course in the request already, as a plan layer puts it there; `stream` and `streamed`
//! are without and with the layer where a stream is asked for, read to its end; `long` and `longed` one of 400 events.
//!
//! The allocator is the gateway's; what counts allocations is one of its own, and so they are counted in a process of their own.
//!
//! Times on a shared machine vary; instruction counts do not. To count those of one call of a case:
//!
//! ```text
//! cargo bench -p ziggurat-route --bench call --no-run
//! valgrind --tool=callgrind --toggle-collect='*counted_call*' target/release/deps/call-HASH --instructions route
//! ```

use std::{
    env,
    time::{Duration, Instant},
};

use http::Request;
use ziggurat_core::Body;

mod calls;

use calls::{Bench, CALLS, CASES};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
    // Timers need it; nobody waits for one.
    let _entered = runtime.enter();
    let arguments: Vec<String> = env::args().collect();
    if let Some(flag) = arguments.iter().position(|argument| argument == "--instructions") {
        let name = arguments.get(flag + 1).map_or("", String::as_str);
        let Some(case) = CASES.into_iter().find(|case| *case == name) else {
            panic!("no case {name:?}; there are {CASES:?}")
        };
        let bench = Bench::new(case);
        // Caches filled and symbols bound by calls that are not counted.
        (0..100).for_each(|_| bench.run(bench.request()));
        counted_call(&bench, bench.request());
        return;
    }
    println!("{:<10} {:>9}", "case", "ns/call");
    CASES.into_iter().for_each(|case| measure(case, &Bench::new(case)));
}

/// The measured part; not inlined, so that callgrind can be told to count only this.
#[inline(never)]
fn counted_call(bench: &Bench, request: Request<Body>) {
    bench.run(request);
}

fn measure(case: &str, bench: &Bench) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let requests: Vec<_> = (0..CALLS).map(|_| bench.request()).collect();
        let start = Instant::now();
        requests.into_iter().for_each(|request| bench.run(request));
        best = best.min(start.elapsed());
    }
    println!("{case:<10} {:>9.0}", best.as_nanos() as f64 / CALLS as f64);
}

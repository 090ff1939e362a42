//! How often, and how much, a call that succeeds at once allocates. What is counted stands in the bench `call`.

mod calls;

use calls::{Bench, CALLS, CASES};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
    let _entered = runtime.enter();
    println!("{:<10} {:>12} {:>12}", "case", "allocs/call", "bytes/call");
    for case in CASES {
        let bench = Bench::new(case);
        (0..100).for_each(|_| bench.run(bench.request()));
        let requests: Vec<_> = (0..CALLS).map(|_| bench.request()).collect();
        let counted =
            allocation_counter::measure(|| requests.into_iter().for_each(|request| bench.run(request)));
        let per = |total: u64| total as f64 / CALLS as f64;
        println!("{case:<10} {:>12.1} {:>12.0}", per(counted.count_total), per(counted.bytes_total));
    }
}

//! How often, and how much, limits and budgets allocate in a call. What is counted stands in the bench `guards`.

mod calls;

use calls::{CASES, KEYS, one_call};

/// Calls whose allocations are counted.
const COUNTED: usize = 1_000;

fn main() {
    println!("{:<16} {:>9} {:>9}", "case", "allocs", "bytes");
    for (name, service) in CASES {
        let service = service();
        (0..KEYS).for_each(|key| one_call(&service, key));
        // Of many: where a new slice of a window begins, a counter makes room for it.
        let counted =
            allocation_counter::measure(|| (0..COUNTED).for_each(|run| one_call(&service, run * 7)));
        let per_call = |count: u64| count as f64 / COUNTED as f64;
        println!("{name:<16} {:>9.2} {:>9.0}", per_call(counted.count_total), per_call(counted.bytes_total));
    }
}

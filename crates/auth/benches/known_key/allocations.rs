//! How often, and how much, a known key allocates. What is counted stands in the bench `known_key`.

mod calls;

use calls::{KEYS, cases};

fn main() {
    println!("{:<16} {:>9} {:>9}", "case", "allocs", "bytes");
    for (name, case) in &cases() {
        (0..KEYS).for_each(case);
        let counted = allocation_counter::measure(|| case(7));
        println!("{name:<16} {:>9} {:>9}", counted.count_total, counted.bytes_total);
    }
}

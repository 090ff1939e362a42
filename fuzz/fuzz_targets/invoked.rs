#![no_main]

#[allow(dead_code, reason = "each target runs one of the checks")]
#[path = "../../crates/dialect/tests/promises/checks.rs"]
mod checks;
#[allow(dead_code, reason = "each target runs one of the checks")]
#[path = "../../crates/dialect/tests/promises/reworded.rs"]
mod reworded;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reworded::invoked(input));

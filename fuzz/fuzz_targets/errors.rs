#![no_main]

#[allow(dead_code, reason = "each target runs one of the checks")]
#[path = "../../crates/dialect/tests/promises/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::error(input));

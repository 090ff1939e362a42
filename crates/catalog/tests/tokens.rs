//! Its own process, as vocabularies are loaded once for all.
#![cfg(feature = "tiktoken")]

use ziggurat_catalog::tokens::{Count, CountTokens, Exact};

#[test]
fn tokens_are_estimated_until_the_vocabulary_is_loaded() {
    let counter = Exact::new();
    let count =
        || (Exact::is_warm(), counter.count("gpt-4o", "hello world"), counter.count("gpt-4", "hello"));
    assert_eq!(count(), (false, Count::estimate(4), Count::estimate(2)));
    Exact::warm();
    assert_eq!(count(), (true, Count::exact(2), Count::exact(1)));
}

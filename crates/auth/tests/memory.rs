//! Many keys that nobody has: 200,000 of them, or as many as `ZIGGURAT_KEYS` says.
//!
//! ```text
//! ZIGGURAT_KEYS=1000000 cargo test --release -p ziggurat-auth --test memory -- --nocapture
//! ```

mod support;

use std::time::Duration;

use ziggurat_auth::{Authenticate, CachePolicy, Credential, Denied, VirtualKeys};
use ziggurat_core::{Clock, Reply};

use crate::support::*;

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("is Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("tells what is resident");
    let kib: usize = line.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("is a number");
    kib << 10
}

#[tokio::test]
async fn random_keys_take_bounded_memory_and_malformed_ones_no_query() {
    let count = std::env::var("ZIGGURAT_KEYS").map_or(200_000, |count| count.parse().expect("is a number"));
    let store = Store::default();
    let keys = VirtualKeys::with_policy(store.clone(), CachePolicy::default(), Clock::system());
    let before = resident();
    for number in 0..count {
        let key = format!("sk-{:032x}", number as u128 * 0x9E37_79B9_7F4A_7C15);
        let answer = keys.authenticate(&Credential::new(key.as_bytes()).expect("is one"));
        assert_eq!(answer.wait().await, Err(Denied::Invalid));
    }
    assert_eq!(store.asked(), count);
    let grown = resident().saturating_sub(before);
    println!("{count} random keys: {} KiB more resident", grown >> 10);
    assert!(grown < 64 << 20, "{grown}");
    for number in 0..100_000 {
        let malformed = format!("sk-{number:015}");
        let answer = keys.authenticate(&Credential::new(malformed.as_bytes()).expect("is one"));
        assert!(matches!(answer, Reply::Ready(Ok(None))));
    }
    assert_eq!(store.asked(), count);
}

/// How long a key takes that is there, and one that is known not to be: the medians are alike. What `cargo bench` measures is exact; this
/// is the bound of the acceptance list.
#[tokio::test]
async fn a_hit_takes_as_long_as_a_miss() {
    let store = Store::with(KEY, record(|_| {}));
    let keys = VirtualKeys::with_policy(store, CachePolicy::default(), Clock::system());
    let median = async |key: &str| {
        let credential = || Credential::new(key.as_bytes()).expect("is one");
        let _known = keys.authenticate(&credential()).wait().await;
        let mut times: Vec<Duration> = (0..5001)
            .map(|_| {
                let began = std::time::Instant::now();
                assert!(matches!(keys.authenticate(&credential()), Reply::Ready(_)));
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (hit, miss) = (median(KEY).await, median("sk-of-nobody-that-is-known").await);
    println!("a hit takes {hit:?}, a miss {miss:?}");
    assert!(hit.abs_diff(miss) < Duration::from_micros(20), "{hit:?} {miss:?}");
}

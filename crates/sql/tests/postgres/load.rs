//! How many decisions a second there are. Run by hand: `cargo test --release --features postgres --test postgres -- --ignored --nocapture load`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ziggurat_budget::{Charge, remote::Backend};
use ziggurat_core::{Budget, Scope, Usd, Window};
use ziggurat_testkit::postgres::Postgres;

use super::{TTL, claim, ledger, settlement};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures, and checks nothing"]
async fn load() {
    for (name, settings) in [
        ("fsync on", &[][..]),
        ("synchronous_commit off", &["synchronous_commit=off"]),
        ("fsync off", &["fsync=off"]),
    ] {
        let Some(server) = Postgres::start_with(settings) else { return };
        for (clients, shared) in [(1, true), (32, true), (32, false)] {
            let ledger = Arc::new(ledger(&server.url()).await);
            let until = Instant::now() + Duration::from_secs(3);
            let tasks: Vec<_> = (0..clients)
                .map(|client: u128| {
                    let ledger = Arc::clone(&ledger);
                    tokio::spawn(async move {
                        let scopes = if shared { vec![Scope::gateway()] } else { Vec::new() };
                        let own = ["key", "team"].map(|kind| Scope::tenant(format!("{kind} {client}")));
                        let budgets: Vec<Budget> = scopes
                            .into_iter()
                            .chain(own)
                            .map(|scope| Budget::new(scope, Usd::dollars(1_000_000), Window::Lifetime))
                            .collect();
                        let start = HOLDS.fetch_add(10_000_000, std::sync::atomic::Ordering::Relaxed);
                        let (mut id, mut times, mut ends) = (u128::from(start), Vec::new(), Vec::new());
                        while Instant::now() < until {
                            id += 1;
                            let since = Instant::now();
                            let granted = ledger.reserve(&claim(id, &budgets, Usd::pico(5)), TTL).await;
                            granted.expect("answers").expect("fits");
                            times.push(since.elapsed());
                            ends.push(settlement(id, &budgets, Charge::new(Usd::pico(3))));
                            if ends.len() == 100 {
                                ledger.settle(&ends).await.expect("is settled");
                                ends.clear();
                            }
                        }
                        times
                    })
                })
                .collect();
            let mut times = Vec::new();
            for task in tasks {
                times.extend(task.await.expect("ends"));
            }
            times.sort_unstable();
            let at = |part: usize| times[(times.len() - 1) * part / 100];
            println!(
                "{name}, {clients} clients, shared account: {shared}: {} decisions/s, p50 {:?}, p99 {:?}",
                times.len() / 3,
                at(50),
                at(99)
            );
        }
    }
}

static HOLDS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

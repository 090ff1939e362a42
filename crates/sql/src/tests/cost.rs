//! What the path costs.

use std::{
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ziggurat_core::{Account, ScopeKind};

use crate::{Options, SqliteJournal, record::Record, tests::account};

fn five() -> Vec<Arc<Account>> {
    let id = "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b";
    ScopeKind::ALL[..5].iter().map(|&kind| account(kind, id)).collect()
}

#[test]
fn a_hold_and_its_posting_allocate_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = SqliteJournal::open(dir.path().join("db"), Options::default().slots(4)).unwrap();
    let accounts = five();
    let lines: Vec<_> = accounts.iter().map(|account| (Arc::clone(account), 3)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for id in 0..8 {
        let slot = journal.hold(id, 5, &accounts);
        journal.settle(&slot, id, 5, &lines);
        runtime.block_on(journal.flush()).unwrap();
    }
    let counted = allocation_counter::measure(|| {
        let slot = journal.hold(9, 5, &accounts);
        journal.settle(&slot, 9, 5, &lines);
    });
    assert_eq!(counted.count_total, 0);
}

/// `cargo test --release -p ziggurat-sql -- --ignored --nocapture cost`
#[test]
#[ignore = "prints times, on a quiet machine and with --release"]
fn what_it_takes() {
    for (threads, pause) in [(1, 0), (2, 0), (1, 100)] {
        let dir = tempfile::tempdir_in(std::env::var("ZIGGURAT_SQL_DIR").unwrap_or("/tmp".into())).unwrap();
        let (journal, _) = SqliteJournal::open(dir.path().join("db"), Options::default()).unwrap();
        let begun = Instant::now();
        let mut times: Vec<Duration> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|at| {
                    scope.spawn({
                        let journal = &journal;
                        move || measure(journal, at << 64, pause)
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let settled = begun.elapsed();
        runtime.block_on(journal.flush()).unwrap();
        println!(
            "{threads} threads, {pause} us between: {} open+close in {settled:?} (saved after {:?}); p50 {:?} p90 {:?} p99 {:?} p99.9 {:?} p99.99 {:?} max {:?}",
            times.len(),
            begun.elapsed(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(0.9999),
            at(1.0),
        );
    }
}

fn measure(journal: &SqliteJournal, first: u128, pause: u64) -> Vec<Duration> {
    let accounts = five();
    let lines: Vec<_> = accounts.iter().map(|account| (Arc::clone(account), 3)).collect();
    let begun = Instant::now();
    let mut times = Vec::with_capacity(1 << 20);
    let mut id = first;
    while begun.elapsed() < Duration::from_secs(8) && times.len() < 400_000 {
        id += 1;
        let record = Record { id, call: id, amount: 5, held: 5, at: 5, ..Record::default() };
        let from = Instant::now();
        let Ok(slot) = journal.take(record, black_box(&accounts)) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        journal.post(&slot, record, &lines);
        times.push(from.elapsed());
        let until = Instant::now() + Duration::from_micros(pause);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
    times
}

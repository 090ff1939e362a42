//! What callers and the log see of a ledger that goes and comes back. The log is the whole process's: this test has it alone.

#[path = "support/shared.rs"]
mod shared;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::sleep;
use ziggurat_budget::{Charge, remote::Remote};
use ziggurat_core::Usd;

use crate::shared::*;

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("is sound").clone();
        String::from_utf8(bytes).expect("is UTF-8").lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("is sound").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_deadline_and_not_at_all_when_it_is_known_to_be_away() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).expect("is the first");
    for mode in [Mode::Lost, Mode::Mute, Mode::Late(51 * MS), Mode::Fails] {
        let machine = Machine::new();
        let store = Remote::new(machine.clone());
        let worker = tokio::spawn(store.run());
        let budget = of("t", 100);
        held(&store, claim(&budget, 1, 1)).await.hold.settle(Charge::new(cents(1)));
        store.flush().await;
        let before = log.lines().len();
        machine.set(mode);
        for _ in 0..3 {
            let (answer, took) = reserve(&store, claim(&budget, 1, 1)).await;
            assert!(is_unavailable(&answer) && took <= 50 * MS, "{mode:?} took {took:?}");
        }
        assert!(!store.is_here());
        let asked = machine.asked();
        for _ in 0..1000 {
            let (answer, took) = reserve(&store, claim(&budget, 1, 1)).await;
            assert!(is_unavailable(&answer) && took.is_zero());
        }
        assert_eq!(machine.asked(), asked);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(log.lines().len() - before, 1, "{mode:?}: {:?}", log.lines());
        let away = log.lines()[before].clone();
        assert!(away.contains("the store is away") && away.contains("budgets") && away.contains("deny"));

        machine.set(Mode::Answers);
        sleep(2000 * MS).await;
        assert!(store.is_here());
        let lines = log.lines().split_off(before + 1);
        assert!(lines.len() == 1 && lines[0].contains("the store is back"), "{lines:?}");
        // What nobody waited for is released.
        store.flush().await;
        assert_eq!(machine.account(&budget), (cents(1), Usd::ZERO));
        assert_eq!((store.open(), store.queued()), (0, 0));
        worker.abort();
    }
}

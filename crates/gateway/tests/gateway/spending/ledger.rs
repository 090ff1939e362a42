//! What a process leaves to the next.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::DOLLAR;
use crate::{
    harness::{Gateway, run, until},
    paid::{Gate, Paid, begin, body, call, calls, finish, key, spent, statuses},
    samples::CHAT,
};

/// A file of one test's own, that outlives a gateway.
struct Ledger(PathBuf);

impl Ledger {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("ledger-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn setting(&self) -> String {
        format!("  ledger: {}\n", self.0.join("spend.db").display())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing() {
    let ledger = Ledger::new();
    let upstream = Paid::start(Gate::Open).await;
    let settings = format!(
        "litellm_settings: {{max_budget: 0.06}}\nziggurat_settings:\n  hold_ttl: 4\n{}",
        ledger.setting()
    );
    let config = upstream.config(&[], &settings);
    let gateway = Gateway::start(&config, &[], &[]).await;
    assert_eq!(call(gateway.addr, &body("paid", false, Some(100))).await.status, 200);
    assert_eq!(spent(&gateway).await, "0.02");
    upstream.open(Gate::Shut);
    let mut raw = gateway.connect().await;
    raw.post(CHAT, &[&key()], &body("paid", false, Some(100))).await;
    until(|| upstream.now() == 1).await;
    gateway.signal("KILL");
    gateway.ended().await;
    upstream.open(Gate::Open);

    let gateway = Gateway::start(&config, &[], &[]).await;
    // Spent is what was settled, and what was held is held still.
    assert_eq!(spent(&gateway).await, "0.02");
    let answers = calls(gateway.addr, 5, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 1), (429, 4)]);
    assert_eq!(spent(&gateway).await, "0.04");
    // Its time over, it is posted, though nobody asks.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(spent(&gateway).await, "0.06");
    let ended = gateway.stop().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("posted as unreconciled"), "{}", ended.stderr);
    let gateway = Gateway::start(&config, &[], &[]).await;
    assert_eq!(spent(&gateway).await, "0.06");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_writes_everything() {
    let ledger = Ledger::new();
    let upstream = Paid::start(Gate::HALF).await;
    let settings = format!("{DOLLAR}ziggurat_settings:\n  on_disconnect: drain\n{}", ledger.setting());
    let config = upstream.config(&[], &settings);
    let gateway = Gateway::start(&config, &[], &[]).await;
    let mut begun = begin(gateway.addr, 10, 1, &body("paid", true, Some(100))).await;
    // One whose caller has left, and nine whose callers have not.
    drop(begun.pop());
    gateway.signal("TERM");
    until(|| std::net::TcpStream::connect(gateway.addr).is_err()).await;
    upstream.open(Gate::Open);
    for raw in begun {
        assert!(raw.rest().await.contains("[DONE]"));
    }
    assert_eq!(gateway.ended().await.code, Some(0));
    until(|| upstream.served() == 10).await;
    let gateway = Gateway::start(&config, &[], &[]).await;
    assert_eq!(spent(&gateway).await, "0.20");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_cuts_streams_writes_what_they_came_to() {
    let ledger = Ledger::new();
    let upstream = Paid::start(Gate::HALF).await;
    let settings = format!("{DOLLAR}ziggurat_settings:\n{}", ledger.setting());
    let config = upstream.config(&[], &settings);
    let gateway = Gateway::start(&config, &["--drain-timeout", "0.5"], &[]).await;
    let begun = begin(gateway.addr, 40, 5, &body("paid", true, Some(100))).await;
    let ended = gateway.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for raw in begun {
        assert!(finish(raw).await.contains("shutting_down"));
    }
    upstream.open(Gate::Open);
    let gateway = Gateway::start(&config, &[], &[]).await;
    // Half of each, and nothing is held.
    assert_eq!((upstream.pieces(), spent(&gateway).await.as_str()), (200, "0.40"));
    let answers = calls(gateway.addr, 60, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 30), (429, 30)]);
}

#[tokio::test]
async fn a_budget_in_memory_is_said_at_the_start() {
    let upstream = Paid::start(Gate::Open).await;
    let said = |sections: String| {
        let config = upstream.config(&[], &sections);
        async move { Gateway::start(&config, &[], &[]).await.stop().await.stderr }
    };
    let in_memory = "what is spent is kept in memory";
    assert!(said(DOLLAR.to_owned()).await.contains(in_memory));
    let ledger = Ledger::new();
    assert!(!said(format!("{DOLLAR}ziggurat_settings:\n{}", ledger.setting())).await.contains(in_memory));
    assert!(!said(String::new()).await.contains(in_memory));
}

#[tokio::test]
async fn a_ledger_that_cannot_be_kept_is_no_start() {
    let upstream = Paid::start(Gate::Open).await;
    let ledger = Ledger::new();
    let config = upstream.config(&[], &format!("{DOLLAR}ziggurat_settings:\n{}", ledger.setting()));
    let _gateway = Gateway::start(&config, &[], &[]).await;
    // Another process has it.
    let ended = run(&config, &["--config", "config.yaml", "--port", "0"], &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("ziggurat_settings.ledger: ") && ended.stderr.contains("is open already"),
        "{}",
        ended.stderr
    );
    let nowhere = upstream.config(&[], "ziggurat_settings: {ledger: /nowhere/spend.db}\n");
    let ended = run(&nowhere, &["--config", "config.yaml", "--port", "0"], &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("ziggurat_settings.ledger: /nowhere/spend.db cannot be"),
        "{}",
        ended.stderr
    );
}

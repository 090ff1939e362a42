//! A process that is killed with SIGKILL has lost nothing that it acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use ziggurat_budget::Slot;
use ziggurat_core::{Account, ScopeKind, Usd};

use crate::{
    SqliteJournal,
    record::Record,
    tests::{all, balances, sums},
};

const THREADS: u128 = 4;

fn accounts(id: u128) -> Vec<Arc<Account>> {
    let id = id as usize;
    (0..5).map(|at| super::account(ScopeKind::ALL[at], &format!("{at}-{}", id % (at + 1)))).collect()
}

fn amount(id: u128) -> u128 {
    (id % 1_000) * 1_000_000_007
}

/// What the killed process does: holds, grows, settles, and says what it has done.
#[test]
#[ignore = "the process that the next test kills"]
fn child() {
    let Ok(path) = env::var("ZIGGURAT_SQL_KILL") else { return };
    let round: u128 = env::var("ZIGGURAT_SQL_ROUND").unwrap().parse().unwrap();
    let (journal, _) = SqliteJournal::open(path, crate::Options::default().slots(2_048)).unwrap();
    // Behind what the test's harness has begun to say.
    println!();
    thread::scope(|scope| {
        for worker in 0..THREADS {
            let journal = &journal;
            scope.spawn(move || work(journal, (round * THREADS + worker) << 32));
        }
    });
}

fn work(journal: &SqliteJournal, first: u128) {
    let say = |what: &str, id: u128| writeln!(std::io::stdout().lock(), "{what} {id}").unwrap();
    for id in first.. {
        let accounts = accounts(id);
        let hold = Record { id, amount: 1, at: 9, ..Record::default() };
        let Ok(slot) = journal.take(hold, &accounts) else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        say("held", id);
        if id % 3 == 0 {
            ziggurat_budget::Journal::grow(journal, &slot, Usd::pico(amount(id)));
            say("grown", id);
        }
        // Some are still held when the process dies.
        if id % 200 != 7 {
            let lines: Vec<_> = accounts.into_iter().map(|account| (account, (id % 3) as i64)).collect();
            journal.settle(&slot, id, amount(id), &lines);
            say("settled", id);
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (mut settled, mut posted_here) = (BTreeSet::new(), BTreeSet::new());
    for (round, millis) in [15, 90, 205, 260, 410, 333].into_iter().enumerate() {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "tests::kill::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env("ZIGGURAT_SQL_KILL", &path)
            .env("ZIGGURAT_SQL_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let (mut said, mut line) = (BTreeMap::<u128, &str>::new(), Vec::new());
        let mut killer = None;
        while lines.read_until(b'\n', &mut line).unwrap() > 0 {
            let words =
                std::str::from_utf8(&line).unwrap().strip_suffix('\n').and_then(|line| line.split_once(' '));
            if let Some((what, Ok(id))) = words.map(|(what, id)| (what, id.parse())) {
                let what = ["held", "grown", "settled"].into_iter().find(|known| *known == what);
                said.extend(what.map(|what| (id, what)));
            }
            line.clear();
            if killer.is_none() && !said.is_empty() {
                let pid = child.id().to_string();
                killer = Some(thread::spawn(move || {
                    thread::sleep(Duration::from_millis(millis));
                    Command::new("kill").args(["-9", &pid]).status().unwrap();
                }));
            }
        }
        killer.expect("it said something").join().unwrap();
        assert!(!child.wait().unwrap().success());

        let (journal, recovered) =
            SqliteJournal::open(&path, crate::Options::default().slots(2_048).history(Duration::MAX))
                .unwrap();
        let found = all(&journal).await;
        assert_eq!(balances(&recovered), sums(found.values()), "round {round}");
        let held: BTreeMap<_, _> =
            recovered.holds.iter().map(|hold| (hold.id.0, hold.amount.as_pico())).collect();
        assert_eq!(held.len(), recovered.holds.len());
        for (&id, &what) in &said {
            match (what, found.get(&id), held.get(&id)) {
                // An acknowledgement may have been lost with the process, what it was for may not.
                (_, Some(posting), None) => assert_eq!(posting.amount.as_pico(), amount(id)),
                ("held", None, Some(&amount_held)) => assert!(amount_held == 1 || amount_held == amount(id)),
                ("grown", None, Some(&amount_held)) => assert_eq!(amount_held, amount(id)),
                (what, posting, held) => panic!("{id} was {what}: {posting:?} {held:?}"),
            }
        }
        // Nothing is there that was never asked for: at most one a thread was not acknowledged.
        settled.extend(said.iter().filter(|(_, what)| **what == "settled").map(|(&id, _)| id));
        let unsaid = found.keys().filter(|id| !settled.contains(id) && !posted_here.contains(*id));
        assert!(unsaid.clone().count() <= THREADS as usize, "{unsaid:?}");
        settled.extend(unsaid.copied().collect::<Vec<_>>());

        // As the ledger does with what nobody settles.
        for hold in &recovered.holds {
            let lines: Vec<_> = hold.accounts.iter().map(|account| (Arc::new(account.clone()), 0)).collect();
            let id = hold.id.0;
            let posting = Record { id, amount: amount(id), flags: 16, ..Record::default() };
            journal.post(&Slot(hold.slot.0), posting, &lines);
            posted_here.insert(id);
        }
        let after = all(&journal).await;
        assert_eq!(after.len(), found.len() + held.len());
        assert!(
            after
                .values()
                .filter(|posting| posting.flags.unreconciled)
                .all(|posting| posted_here.contains(&posting.id.0))
        );
        assert_eq!(journal.free_slots(), 2_048);
        println!("round {round}: {} settled, {} held", said.len(), held.len());
    }
}

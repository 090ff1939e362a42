//! The journal as a whole.

mod cost;
mod crash;
mod faults;
mod kill;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ziggurat_budget::{Charge, Claim, HoldId, Journal, Ledger, Recovered, Slot};
use ziggurat_core::{Account, Budget, Scope, ScopeKind, Usd, Window};

use crate::{Options, SavedPosting, SqliteJournal, record::Record, time::time_of};

pub(crate) fn account(kind: ScopeKind, id: &str) -> Arc<Account> {
    Arc::new(Account::new(Scope::new(kind, id), None, "lifetime"))
}

pub(crate) fn small() -> Options {
    Options::default().slots(64)
}

pub(crate) fn open(path: &Path) -> (Arc<SqliteJournal>, Recovered) {
    SqliteJournal::open(path, small()).unwrap()
}

impl SqliteJournal {
    fn hold(&self, id: u128, amount: u128, accounts: &[Arc<Account>]) -> Slot {
        self.take(Record { id, call: id + 1, amount, at: 5, ..Record::default() }, accounts).unwrap()
    }

    fn settle(&self, slot: &Slot, id: u128, amount: u128, lines: &[(Arc<Account>, i64)]) {
        let at = 1_000_000 * id as i64;
        self.post(slot, Record { id, call: id + 1, amount, held: amount, at, ..Record::default() }, lines);
    }
}

/// All postings, by id.
pub(crate) async fn all(journal: &SqliteJournal) -> BTreeMap<u128, SavedPosting> {
    let (mut found, mut since) = (BTreeMap::new(), UNIX_EPOCH);
    loop {
        let page = journal.postings(since, 1_000).await.unwrap();
        let last = page.last().map(|posting| posting.at);
        let new =
            page.into_iter().filter(|posting| found.insert(posting.id.0, posting.clone()).is_none()).count();
        match last {
            Some(last) if new > 0 => since = last,
            _ => return found,
        }
    }
}

/// What was recovered, by account and bucket.
pub(crate) fn balances(recovered: &Recovered) -> BTreeMap<(String, i64), Usd> {
    let mut found = BTreeMap::new();
    for account in &recovered.accounts {
        for &(bucket, amount) in &account.buckets {
            let name = format!("{:?}", account.account);
            assert!(found.insert((name, bucket), amount).is_none());
        }
    }
    found
}

/// What postings sum up to.
pub(crate) fn sums<'a>(postings: impl IntoIterator<Item = &'a SavedPosting>) -> BTreeMap<(String, i64), Usd> {
    let mut sums = BTreeMap::new();
    for posting in postings {
        for (account, bucket) in &posting.lines {
            *sums.entry((format!("{account:?}"), *bucket)).or_insert(Usd::ZERO) += posting.amount;
        }
    }
    sums.retain(|_, sum| !sum.is_zero());
    sums
}

#[tokio::test]
async fn keeps_what_is_posted_and_gives_back_what_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (key, team) = (account(ScopeKind::Key, "k"), account(ScopeKind::Team, "t"));
    {
        let (journal, recovered) = open(&path);
        assert!(recovered.accounts.is_empty() && recovered.holds.is_empty());
        let slot = journal.hold(1, 100, &[Arc::clone(&key), Arc::clone(&team)]);
        journal.settle(&slot, 1, 70, &[(Arc::clone(&key), 0), (Arc::clone(&team), 19_000)]);
        let kept = journal.hold(2, 40, &[Arc::clone(&team)]);
        journal.grow(&kept, Usd::pico(45));
        journal.flush().await.unwrap();
        assert_eq!(journal.total(&key).await.unwrap(), Usd::pico(70));
        assert_eq!(journal.total(&account(ScopeKind::Key, "other")).await.unwrap(), Usd::ZERO);
        assert_eq!(journal.free_slots(), 63);
        journal.close().await.unwrap();
        assert!(journal.take(Record::default(), &[]).is_err());
        assert!(matches!(journal.flush().await, Err(crate::StoreError::Closed)));
    }
    let (journal, recovered) = SqliteJournal::open(&path, small().history(Duration::MAX)).unwrap();
    let holds: Vec<_> =
        recovered.holds.iter().map(|hold| (hold.id.0, hold.call.0, hold.amount, &hold.accounts)).collect();
    assert_eq!(holds, [(2, 3, Usd::pico(45), &vec![Account::clone(&team)])]);
    assert_eq!(recovered.holds[0].expires_at, UNIX_EPOCH + Duration::from_micros(5));
    let postings = journal.postings(UNIX_EPOCH, 10).await.unwrap();
    assert_eq!(postings.len(), 1);
    let lines = [(Account::clone(&key), 0), (Account::clone(&team), 19_000)];
    assert_eq!((postings[0].amount, &postings[0].lines[..]), (Usd::pico(70), &lines[..]));
    assert_eq!(balances(&recovered), sums(&postings));

    // The room of a recovered hold is settled like any other.
    let slot = Slot(recovered.holds[0].slot.0);
    journal.settle(&slot, 2, 45, &[(Arc::clone(&team), 19_000)]);
    assert_eq!(journal.total(&team).await.unwrap(), Usd::pico(115));
    assert_eq!(journal.free_slots(), 64);
}

#[tokio::test]
async fn amounts_of_any_size_add_up_exactly_and_stop_at_the_top() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (journal, _) = open(&path);
    let one = account(ScopeKind::Key, "k");
    let mut sum = Usd::ZERO;
    for (id, amount) in [1, 999_999_999_999, 10_u128.pow(12), 10_u128.pow(30) - 1, 123_456_789_012_345_678]
        .into_iter()
        .enumerate()
    {
        for (at, bucket) in [0, i64::MIN, i64::MAX].into_iter().enumerate() {
            let id = (10 * id + at) as u128;
            let slot = journal.hold(id, amount, &[Arc::clone(&one)]);
            journal.settle(&slot, id, amount, &[(Arc::clone(&one), bucket)]);
            sum += Usd::pico(amount);
        }
    }
    assert_eq!(journal.total(&one).await.unwrap(), sum);
    let top = Usd::dollars(i64::MAX as u64) + Usd::pico(999_999_999_999);
    for id in 900..902 {
        let slot = journal.hold(id, u128::MAX, &[Arc::clone(&one)]);
        journal.settle(&slot, id, u128::MAX, &[(Arc::clone(&one), 7)]);
        journal.flush().await.unwrap();
    }
    drop(journal);
    let (_journal, recovered) = SqliteJournal::open(&path, small().history(Duration::MAX)).unwrap();
    let buckets = &recovered.accounts[0].buckets;
    assert_eq!(buckets.iter().map(|(bucket, _)| *bucket).collect::<Vec<_>>(), [i64::MIN, 0, 7, i64::MAX]);
    assert_eq!(buckets[2].1, top);
}

#[tokio::test]
async fn an_id_is_posted_once() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir.path().join("ledger.db"));
    let one = account(ScopeKind::Key, "k");
    for (flush, amount) in [(false, 1), (false, 2), (true, 4), (true, 8)] {
        let slot = journal.hold(7, 1, &[Arc::clone(&one)]);
        journal.settle(&slot, 7, amount, &[(Arc::clone(&one), 0)]);
        if flush {
            journal.flush().await.unwrap();
        }
    }
    assert_eq!(journal.total(&one).await.unwrap(), Usd::pico(1));
    assert_eq!((journal.free_slots(), all(&journal).await.len()), (64, 1));
}

#[tokio::test]
async fn a_posting_is_corrected_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (journal, _) = open(&path);
    let (key, team) = (account(ScopeKind::Key, "k"), account(ScopeKind::Team, "t"));
    let lines = [(Arc::clone(&key), 0), (Arc::clone(&team), 3)];
    for (id, flush) in [(1, false), (2, true)] {
        let slot = journal.hold(id, 100, &[Arc::clone(&key), Arc::clone(&team)]);
        let posting = Record { id, amount: 100, held: 100, at: 7, flags: 16, ..Record::default() };
        journal.post(&slot, posting, &lines);
        if flush {
            journal.flush().await.unwrap();
        }
        let right = Record { id, amount: 30 + id, posted: 100, at: 9, flags: 1, ..Record::default() };
        journal.put_right(right, &lines).unwrap();
    }
    assert_eq!(journal.total(&key).await.unwrap(), Usd::pico(63));
    assert_eq!(journal.total(&team).await.unwrap(), Usd::pico(63));
    let found = all(&journal).await;
    assert_eq!(found.len(), 2);
    let posting = &found[&2];
    assert!(posting.flags.estimated && !posting.flags.unreconciled);
    assert_eq!(
        (posting.amount, posting.held, posting.at),
        (Usd::pico(32), Usd::pico(100), UNIX_EPOCH + Duration::from_micros(7))
    );
    assert_eq!(journal.free_slots(), 64);
}

#[tokio::test]
async fn a_posting_that_was_pruned_is_corrected_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (key, team) = (account(ScopeKind::Key, "k"), account(ScopeKind::Team, "t"));
    let user = account(ScopeKind::User, "u");
    let accounts = [Arc::clone(&key), Arc::clone(&team), Arc::clone(&user)];
    let lines = [(Arc::clone(&key), 0), (Arc::clone(&team), 3), (Arc::clone(&user), 4)];
    let before = UNIX_EPOCH + Duration::from_secs(1_000);
    {
        let (journal, _) = open(&path);
        for id in 1..=3 {
            let slot = journal.hold(id, 100, &accounts);
            journal.settle(&slot, id, 100, &lines);
        }
        // The team's sum is of today, and stays; the user's is forgotten.
        let slot = journal.hold(2_000, 7, &[Arc::clone(&team)]);
        journal.settle(&slot, 2_000, 7, &lines[1..2]);
        journal.flush().await.unwrap();
        // Three postings with three lines each, the user's sum, the user.
        assert_eq!(journal.prune(before).await.unwrap(), 3 + 9 + 1 + 1);
        for (id, amount) in [(1, 40), (2, 250)] {
            let right =
                Record { id, call: id + 1, amount, posted: 100, held: 100, flags: 1, ..Record::default() };
            journal.put_right(Record { at: 3_000_000_000, ..right }, &lines).unwrap();
        }
        assert_eq!(journal.total(&key).await.unwrap(), Usd::pico(300 - 60 + 150));
        assert_eq!(journal.total(&team).await.unwrap(), Usd::pico(307 - 60 + 150));
        assert_eq!(journal.total(&user).await.unwrap(), Usd::ZERO);
        assert_eq!(journal.free_slots(), 64);
    }
    let (journal, recovered) = SqliteJournal::open(&path, small().history(Duration::MAX)).unwrap();
    let name = |account: &Arc<Account>, bucket| (format!("{account:?}"), bucket);
    let wanted = [(name(&key, 0), Usd::pico(390)), (name(&team, 3), Usd::pico(397))];
    assert_eq!(balances(&recovered), wanted.into());
    let found = all(&journal).await;
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 2, 2_000]);
    let posting = &found[&2];
    assert_eq!(
        (posting.call.0, posting.amount, posting.held, posting.at),
        (3, Usd::pico(250), Usd::pico(100), before + Duration::from_secs(2_000))
    );
    assert!(posting.flags.estimated);
    assert_eq!(posting.lines, lines.map(|(account, bucket)| (Account::clone(&account), bucket)));
    // It is forgotten as any other is, and stays counted.
    journal.prune(before + Duration::from_secs(9_000)).await.unwrap();
    assert_eq!(journal.total(&key).await.unwrap(), Usd::pico(390));
}

#[tokio::test]
async fn a_ledger_corrects_what_was_pruned_also_for_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let budget = Budget::new(Scope::tenant("acme"), Usd::dollars(5), Window::Lifetime);
    for spent in [0, 7] {
        let (journal, recovered) = open(&path);
        let ledger = Ledger::in_memory().journal(Arc::clone(&journal) as _, recovered);
        assert_eq!(ledger.balance(&budget).unwrap().spent, Usd::cents(spent));
        if spent == 0 {
            let (id, most) = (HoldId::unique(ledger.now()), Usd::cents(10));
            drop(
                ledger.reserve(Claim::new(id, id, [budget.clone()].into(), most, most)).wait().await.unwrap(),
            );
            assert_eq!(ledger.balance(&budget).unwrap().spent, Usd::cents(10));
            journal.flush().await.unwrap();
            assert_eq!(journal.prune(ledger.now() + Duration::from_secs(1)).await.unwrap(), 1 + 1);
            assert!(ledger.reconcile(id, Charge::new(Usd::cents(7))));
            assert!(!ledger.reconcile(id, Charge::new(Usd::cents(3))));
            assert_eq!(ledger.balance(&budget).unwrap().spent, Usd::cents(7));
        }
        assert_eq!(journal.total(&budget.account).await.unwrap(), Usd::cents(7));
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn whatever_can_be_held_can_be_corrected() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir.path().join("ledger.db"));
    let many: Vec<_> = (0..24).map(|id| account(ScopeKind::Tag, &id.to_string())).collect();
    let longest = |len: usize| vec![account(ScopeKind::Key, &"x".repeat(len))];
    let len = (1_000..1_500).rev().find(|&len| match journal.take(Record::default(), &longest(len)) {
        Ok(slot) => {
            journal.post(&slot, Record::default(), &[]);
            true
        }
        Err(_) => false,
    });
    assert_eq!(len, Some(1_373));
    for accounts in [many, longest(1_373)] {
        let lines: Vec<_> = accounts.into_iter().map(|account| (account, i64::MIN)).collect();
        let right = Record { id: 9, amount: 1, posted: u128::MAX, ..Record::default() };
        journal.put_right(right, &lines).unwrap();
    }
}

#[tokio::test]
async fn unusual_ids_come_back_or_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a 'quoted\" näme?.db");
    let ids =
        ["'; DROP TABLE account; --", "\"", "\0", "a\0b", "a\0c", "", "🦀\u{202e}ü", &"x".repeat(1_300)];
    let (journal, _) = open(&path);
    let mut given: Vec<Account> = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        for models in [None, Some(""), Some("a'\0*")] {
            given.push(Account::new(
                Scope::new(ScopeKind::EndUser, *id),
                models.map(Arc::from),
                "rolling 60s",
            ));
            let account = Arc::new(given.last().unwrap().clone());
            let number = given.len() as u128;
            let slot = journal.hold(number, 1, &[Arc::clone(&account)]);
            journal.settle(&slot, number, 1 + at as u128, &[(account, 0)]);
        }
    }
    let long = account(ScopeKind::EndUser, &"x".repeat(10_240));
    let refused = journal.take(Record::default(), &[long]);
    assert!(matches!(refused, Err(crate::holds::NoRoom::TooLong)), "{refused:?}");
    let many: Vec<_> = (0..25).map(|id| account(ScopeKind::Tag, &id.to_string())).collect();
    assert!(matches!(journal.take(Record::default(), &many), Err(crate::holds::NoRoom::TooLong)));
    let slot = journal.take(Record::default(), &many[..24]).unwrap();
    let lines: Vec<_> = many[..24].iter().map(|account| (Arc::clone(account), 1)).collect();
    journal.post(&slot, Record::default(), &lines);
    drop(journal);

    let (journal, recovered) = SqliteJournal::open(&path, small().history(Duration::MAX)).unwrap();
    let mut found: Vec<_> = recovered.accounts.into_iter().map(|account| account.account).collect();
    assert_eq!(found.len(), given.len());
    found.sort_by_key(|account| format!("{account:?}"));
    given.sort_by_key(|account| format!("{account:?}"));
    assert_eq!(found, given);
    for (at, id) in ids.iter().enumerate() {
        let account = Account::new(Scope::new(ScopeKind::EndUser, *id), None, "rolling 60s");
        assert_eq!(journal.total(&account).await.unwrap(), Usd::pico(1 + at as u128));
    }
    assert_eq!(journal.postings(UNIX_EPOCH, 1).await.unwrap()[0].lines.len(), 24);
}

#[tokio::test]
async fn prunes_what_is_old_and_keeps_what_counts_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (journal, _) = open(&path);
    let accounts: Vec<_> = (0..10).map(|at| account(ScopeKind::EndUser, &format!("u{at}"))).collect();
    for id in 1..=100_u128 {
        let one = &accounts[(id as usize - 1) / 10];
        let slot = journal.hold(id, 1, &[Arc::clone(one)]);
        // The first account counts for ever, the others by period.
        let bucket = if id <= 10 { 0 } else { id as i64 };
        journal.settle(&slot, id, 1, &[(Arc::clone(one), bucket)]);
        if id % 50 == 0 {
            journal.flush().await.unwrap();
        }
    }
    let before = UNIX_EPOCH + Duration::from_secs(56);
    // 55 postings and their lines, 45 sums, the four accounts that have nothing left.
    assert_eq!(journal.prune(before).await.unwrap(), 55 + 55 + 45 + 4);
    assert_eq!(journal.prune(before).await.unwrap(), 0);
    let left = all(&journal).await;
    assert_eq!(left.keys().copied().collect::<Vec<_>>(), (56..=100).collect::<Vec<_>>());
    let totals = [10, 0, 0, 0, 0, 5, 10, 10, 10, 10];
    for (account, total) in accounts.iter().zip(totals) {
        assert_eq!(journal.total(account).await.unwrap(), Usd::pico(total));
    }
    // An account that was forgotten is made again.
    let slot = journal.hold(200, 1, &[Arc::clone(&accounts[1])]);
    journal.settle(&slot, 200, 3, &[(Arc::clone(&accounts[1]), 1)]);
    assert_eq!(journal.total(&accounts[1]).await.unwrap(), Usd::pico(3));
}

#[tokio::test]
async fn recovers_as_far_back_as_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let (journal, _) = open(&path);
    let one = account(ScopeKind::Key, "k");
    let now = crate::time::micros(SystemTime::now());
    for (id, days, bucket) in [(1, 0, 11), (2, 29, 12), (3, 31, 13), (4, 500, 0)] {
        let slot = journal.hold(id, 1, &[Arc::clone(&one)]);
        let at = now - days * 86_400_000_000;
        journal.post(&slot, Record { id, amount: 1, at, ..Record::default() }, &[(Arc::clone(&one), bucket)]);
    }
    drop(journal);
    let (_journal, recovered) =
        SqliteJournal::open(&path, small().history(Duration::from_secs(30 * 86_400))).unwrap();
    let buckets: Vec<_> = recovered.accounts[0].buckets.iter().map(|(bucket, _)| *bucket).collect();
    assert_eq!(buckets, [0, 11, 12]);
}

/// What was spent early in two years counts until they are over, however long nothing is spent after it.
#[tokio::test]
async fn what_counts_in_a_long_window_is_neither_pruned_nor_left_out() {
    const DAY: i64 = 86_400;
    // The first of January 2024, with which two years begin; and a day in a window of 640 days, whose slices are ten days each.
    let (start, slice) = (1_704_067_200, 1_971);
    assert_eq!(start / (10 * DAY), slice + 1);
    let of = |id: &str, models: Option<&str>, period: &str| {
        Arc::new(Account::new(Scope::new(ScopeKind::Key, id), models.map(Arc::from), period))
    };
    let counted = [
        (of("two years", None, "24mo UTC"), start),
        (of("two years", Some("gpt-4o"), "24mo UTC"), start),
        (of("rolling", None, "rolling 55296000s"), slice),
        (of("for ever", None, "lifetime"), 0),
    ];
    let forgotten = [
        (of("two years", None, "24mo UTC"), start - 731 * DAY),
        (of("a day", None, "1d UTC"), start),
        (of("a host's", None, "fiscal year"), start),
    ];
    // 600 days on, of which 400 are history.
    let now = start + 600 * DAY;
    let before = time_of((now - 400 * DAY) * 1_000_000);
    for prune in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let lines: Vec<_> = counted.iter().chain(&forgotten).cloned().collect();
        let accounts: Vec<_> = lines.iter().map(|(account, _)| Arc::clone(account)).collect();
        let (journal, _) = open(&path);
        let slot = journal.hold(1, 5, &accounts);
        let posted = Record { id: 1, call: 2, amount: 5, at: start * 1_000_000, ..Record::default() };
        journal.post(&slot, posted, &lines);
        journal.flush().await.unwrap();
        if prune {
            // The posting, its lines and three sums; two accounts.
            assert_eq!(journal.prune(before).await.unwrap(), 1 + 7 + 3 + 2);
            assert_eq!(journal.prune(before).await.unwrap(), 0);
        }
        drop(journal);
        let history = SystemTime::now().duration_since(before).unwrap();
        let (_journal, recovered) = SqliteJournal::open(&path, small().history(history)).unwrap();
        let wanted =
            counted.iter().map(|(account, bucket)| ((format!("{account:?}"), *bucket), Usd::pico(5)));
        assert_eq!(balances(&recovered), wanted.collect());
    }
}

#[tokio::test]
async fn saves_by_itself_soon() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir.path().join("ledger.db"));
    let one = account(ScopeKind::Key, "k");
    let slot = journal.hold(1, 1, &[Arc::clone(&one)]);
    journal.settle(&slot, 1, 1, &[(one, 0)]);
    assert_eq!(journal.free_slots(), 63);
    // Real time, as a thread and a disk are at work.
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while journal.free_slots() < 64 {
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
}

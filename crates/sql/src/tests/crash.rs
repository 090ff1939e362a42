//! A process that dies between any two steps has lost nothing that was written down, and counts nothing twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use proptest::{prelude::*, test_runner::Config};
use ziggurat_core::{Account, ScopeKind, Usd};

use crate::{
    db::{At, Db},
    holds::{Entry, Holds, Locked},
    record::{Kind, Record},
    tests::{account, all, balances, open, sums},
};

#[derive(Clone, Debug)]
enum Op {
    /// Opens a hold, of so much, in these accounts.
    Open(u128, u8),
    /// Lets one of the holds grow.
    Grow(prop::sample::Index, u128),
    /// Settles one of the holds for so much, in this bucket.
    Close(prop::sample::Index, u128, i64),
    /// Corrects one of the postings.
    Correct(prop::sample::Index, u128),
    /// Saves some of what is closed.
    Save(u8),
    /// Does the same, but for the commit.
    SaveHalf(u8),
    /// Saves once more what is saved and not freed yet, as after a crash.
    SaveAgain,
    /// Frees one slot of a posting that is saved.
    Free,
    /// Prunes what is older than this, behind freeing what is saved.
    Prune(prop::sample::Index),
    /// Goes on from the files, as a new process.
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let amount = prop_oneof![0..1_000_u128, Just(10_u128.pow(12) - 1), Just(10_u128.pow(29))];
    let index = any::<prop::sample::Index>;
    let op = prop_oneof![
        4 => (amount.clone(), 1..8_u8).prop_map(|(amount, accounts)| Op::Open(amount, accounts)),
        2 => (index(), amount.clone()).prop_map(|(which, amount)| Op::Grow(which, amount)),
        1 => (index(), amount.clone()).prop_map(|(which, amount)| Op::Correct(which, amount)),
        4 => (index(), amount, -1..3_i64).prop_map(|(which, amount, bucket)| Op::Close(which, amount, bucket)),
        2 => (1..4_u8).prop_map(Op::Save),
        1 => (1..4_u8).prop_map(Op::SaveHalf),
        1 => Just(Op::SaveAgain),
        2 => Just(Op::Free),
        1 => index().prop_map(Op::Prune),
        1 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 1..24)
}

/// The parts of a journal without its thread, and what should be in them.
struct World {
    dir: tempfile::TempDir,
    holds: Holds,
    db: Db,
    closed: Vec<u32>,
    saved: Vec<Entry>,
    next: u128,
    /// By id: the slot, the amount, the accounts.
    held: BTreeMap<u128, (u32, u128, Vec<Arc<Account>>)>,
    /// By id: the amount, the bucket, the accounts.
    posted: BTreeMap<u128, (u128, i64, Vec<Arc<Account>>)>,
    corrected: BTreeSet<u128>,
    /// Those that are in the database, and as of when.
    known: BTreeMap<u128, i64>,
    pruned: bool,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (holds, db) = parts(dir.path()).await;
        let (held, posted) = (BTreeMap::new(), BTreeMap::new());
        Self {
            dir,
            holds,
            db,
            closed: Vec::new(),
            saved: Vec::new(),
            next: 1,
            held,
            posted,
            corrected: BTreeSet::new(),
            known: BTreeMap::new(),
            pruned: false,
        }
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Open(amount, which) => {
                let names = (0..3).filter(|bit| which & (1 << bit) != 0);
                let accounts: Vec<_> = names.map(|at| account(ScopeKind::ALL[at], "it's")).collect();
                let hold = Record { id: self.next, amount, ..Record::default() };
                match self.holds.take(hold, &accounts) {
                    Ok(slot) => {
                        self.held.insert(self.next, (slot, amount, accounts));
                        self.next += 1;
                    }
                    Err(_) => {
                        assert_eq!(self.held.len() + self.closed.len() + self.saved.len(), SLOTS as usize)
                    }
                }
            }
            Op::Grow(which, amount) if !self.held.is_empty() => {
                let which = which.index(self.held.len());
                let (_, hold) = self.held.iter_mut().nth(which).unwrap();
                hold.1 = hold.1.max(amount);
                self.holds.grow(hold.0.into(), Usd::pico(hold.1));
            }
            Op::Close(which, amount, bucket) if !self.held.is_empty() => {
                let id = *self.held.keys().nth(which.index(self.held.len())).unwrap();
                let (slot, held, accounts) = self.held.remove(&id).unwrap();
                let lines: Vec<_> = accounts.iter().map(|account| (Arc::clone(account), bucket)).collect();
                let posting = Record { id, amount, held, at: id as i64, ..Record::default() };
                self.closed.push(self.holds.post(slot.into(), posting, &lines).unwrap());
                self.posted.insert(id, (amount, bucket, accounts));
            }
            Op::Correct(which, amount) if !self.posted.is_empty() => {
                let which = which.index(self.posted.len());
                let (&id, posting) = self.posted.iter_mut().nth(which).unwrap();
                let (posted, bucket) = (posting.0, posting.1);
                let lines: Vec<_> = posting.2.iter().map(|account| (Arc::clone(account), bucket)).collect();
                let right = Record { id, amount, posted, at: LATER, flags: 1, ..Record::default() };
                // Each can be corrected once.
                if self.corrected.insert(id)
                    && let Ok(slot) = self.holds.correct(right, &lines)
                {
                    posting.0 = amount;
                    self.closed.push(slot);
                }
            }
            Op::Save(many) => {
                let many = usize::from(many).min(self.closed.len());
                let entries: Vec<_> = self.closed.drain(..many).map(|slot| self.holds.entry(slot)).collect();
                assert_eq!(self.db.save(&entries).await.unwrap(), 0);
                self.know(&entries);
                self.saved.extend(entries);
            }
            Op::SaveHalf(many) => {
                let some = self.closed.iter().take(many.into());
                let entries: Vec<_> = some.map(|&slot| self.holds.entry(slot)).collect();
                self.db.try_save(&entries, false).await.unwrap();
                // As behind a failure.
                self.db = at(self.dir.path()).connect().await.unwrap();
            }
            Op::SaveAgain => assert_eq!(
                self.db.save(&self.saved).await.unwrap(),
                self.saved.iter().filter(|entry| entry.record.kind == Kind::Posting).count()
            ),
            Op::Free => {
                if let Some(entry) = self.saved.pop() {
                    self.holds.release(entry.slot).unwrap();
                }
            }
            Op::Prune(before) => {
                for entry in self.saved.drain(..) {
                    self.holds.release(entry.slot).unwrap();
                }
                let before = before.index(self.next as usize + 1) as i64;
                while self.db.prune(before).await.unwrap() > 0 {}
                self.known.retain(|_, at| *at >= before);
                self.pruned = true;
            }
            _ => {}
        }
    }

    /// Takes note of what the database has: postings come first, and a correction makes one where there is none.
    fn know(&mut self, entries: &[Entry]) {
        let (corrections, postings): (Vec<_>, Vec<_>) =
            entries.iter().map(|entry| entry.record).partition(|record| record.kind == Kind::Correction);
        for record in postings.into_iter().chain(corrections) {
            self.known.entry(record.id).or_insert(record.at);
        }
    }

    fn closed(&self) -> Vec<Entry> {
        self.closed.iter().map(|&slot| self.holds.entry(slot)).collect()
    }

    /// What a new process finds in the files as they are now.
    async fn check(&self) {
        let copy = tempfile::tempdir().unwrap();
        copy_files(self.dir.path(), copy.path());
        let (journal, recovered) = open(&copy.path().join("db"));
        let held: BTreeMap<_, _> = recovered
            .holds
            .iter()
            .map(|hold| (hold.id.0, (hold.slot.0 as u32, hold.amount.as_pico(), hold.accounts.clone())))
            .collect();
        let wanted =
            self.held.iter().map(|(&id, (slot, amount, accounts))| (id, (*slot, *amount, plain(accounts))));
        assert_eq!(held, wanted.collect());
        let found = all(&journal).await;
        let lines = |posting: &crate::SavedPosting| posting.lines.clone();
        let read: BTreeMap<_, _> =
            found.iter().map(|(&id, posting)| (id, (posting.amount.as_pico(), lines(posting)))).collect();
        let closed: BTreeSet<_> = self.closed().iter().map(|entry| entry.record.id).collect();
        let left = self.posted.iter().filter(|(id, _)| self.known.contains_key(id) || closed.contains(id));
        let wanted = left.map(|(&id, (amount, bucket, accounts))| {
            (id, (*amount, plain(accounts).into_iter().map(|account| (account, *bucket)).collect()))
        });
        assert_eq!(read, wanted.collect());
        let all_time = crate::SqliteJournal::open(copy.path().join("db"), crate::tests::small());
        assert!(matches!(all_time, Err(crate::OpenError::Locked { .. })));
        drop(journal);
        let options = crate::tests::small().history(Duration::MAX);
        let (_journal, again) = crate::SqliteJournal::open(copy.path().join("db"), options).unwrap();
        let mut recovered = balances(&again);
        if !self.pruned {
            assert_eq!(recovered, sums(found.values()));
        }
        // What counts for ever is all that was ever posted.
        let mut wanted = BTreeMap::new();
        for (amount, _, accounts) in self.posted.values().filter(|(_, bucket, _)| *bucket == 0) {
            for account in accounts {
                *wanted.entry((format!("{account:?}"), 0)).or_insert(Usd::ZERO) += Usd::pico(*amount);
            }
        }
        wanted.retain(|_, sum| !sum.is_zero());
        recovered.retain(|(_, bucket), _| *bucket == 0);
        assert_eq!(recovered, wanted);
        assert_eq!(again.holds.len(), held.len());
    }

    /// Leaves everything as it is, and starts again from the files.
    async fn restart(mut self) -> Self {
        self.know(&self.closed());
        let dir = tempfile::tempdir().unwrap();
        copy_files(self.dir.path(), dir.path());
        drop(open(&dir.path().join("db")));
        let (holds, db) = parts(dir.path()).await;
        Self { dir, holds, db, closed: Vec::new(), saved: Vec::new(), ..self }
    }
}

const SLOTS: u32 = 64;

/// When corrections are made.
const LATER: i64 = 1 << 40;

fn at(dir: &Path) -> At {
    At { path: dir.join("db"), busy_timeout: Duration::from_secs(5), most_pages: None }
}

async fn parts(dir: &Path) -> (Holds, Db) {
    let locked = Locked::open(&dir.join("db-holds")).unwrap();
    let mut db = Db::open(&at(dir)).await.unwrap();
    let pair = db.pair(locked.pair).await.unwrap();
    let (holds, posted) = locked.into_holds(pair, SLOTS).unwrap();
    assert!(posted.is_empty());
    (holds, db)
}

fn plain(accounts: &[Arc<Account>]) -> Vec<Account> {
    accounts.iter().map(|account| Account::clone(account)).collect()
}

fn copy_files(from: &Path, to: &Path) {
    for name in ["db", "db-wal", "db-holds"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_counted_twice_wherever_it_dies(ops in ops()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let mut world = World::new().await;
            for op in ops {
                if matches!(op, Op::Restart) {
                    world = world.restart().await;
                } else {
                    world.step(op).await;
                }
                world.check().await;
            }
        });
    }
}

fn which_first() -> prop::sample::Index {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    any::<prop::sample::Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current()
}

#[tokio::test]
async fn a_hold_whose_posting_is_saved_is_not_given_back() {
    let mut world = World::new().await;
    let index = which_first();
    world.step(Op::Open(5, 1)).await;
    let before = fs::read(world.dir.path().join("db-holds")).unwrap();
    world.step(Op::Close(index, 4, 0)).await;
    world.step(Op::Save(1)).await;
    // The machine failed: the database was on the disk, the slot was not.
    fs::write(world.dir.path().join("db-holds"), before).unwrap();
    world.check().await;
}

#[tokio::test]
async fn a_correction_without_its_posting_ends_the_hold() {
    let mut world = World::new().await;
    let index = which_first();
    world.step(Op::Open(5, 1)).await;
    let slot = world.held[&1].0;
    let place = 4096 + slot as usize * crate::record::SLOT..4096 + (slot as usize + 1) * crate::record::SLOT;
    let before = fs::read(world.dir.path().join("db-holds")).unwrap()[place.clone()].to_vec();
    world.step(Op::Close(index, 5, 0)).await;
    world.step(Op::Correct(index, 3)).await;
    // The machine failed: the posting's slot was not on the disk, its correction was.
    let mut all = fs::read(world.dir.path().join("db-holds")).unwrap();
    all[place].copy_from_slice(&before);
    fs::write(world.dir.path().join("db-holds"), all).unwrap();
    world.check().await;
}

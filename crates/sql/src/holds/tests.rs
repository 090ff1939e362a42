//! A write that was torn leaves the state before it, or the one behind it.

use proptest::prelude::*;
use ziggurat_core::{Scope, ScopeKind};

use super::*;
use crate::record::POSTED;

const PAIR: [u8; 16] = [7; 16];

fn account(id: &str) -> Arc<Account> {
    Arc::new(Account::new(Scope::new(ScopeKind::Key, id), Some("gpt-*".into()), "1d UTC"))
}

fn fresh(slots: u32) -> (tempfile::TempDir, Holds) {
    let dir = tempfile::tempdir().unwrap();
    let locked = Locked::open(&dir.path().join("holds")).unwrap();
    let (holds, posted) = locked.into_holds(PAIR, slots).unwrap();
    assert!(posted.is_empty());
    (dir, holds)
}

fn slot_bytes(holds: &Holds, number: u32) -> Vec<u8> {
    let mut bytes = vec![0; SLOT];
    holds.file.read_exact_at(&mut bytes, offset(number)).unwrap();
    bytes
}

/// What counts of a slot: nothing of one that is free.
fn meaning(bytes: &[u8]) -> Option<Stored> {
    let stored = record::decode(bytes).expect("no write may leave a slot unreadable");
    (stored.record.kind != Kind::Free).then_some(Stored { both_free: false, ..stored })
}

/// Every image of slot 0 that was on the disk between two writes, in a life of three holds and their corrections.
fn lives() -> Vec<Vec<u8>> {
    let (_dir, holds) = fresh(1);
    let mut images = vec![slot_bytes(&holds, 0)];
    for (id, grown) in [(1, 2), (2, 3), (3, 0)] {
        let accounts: Vec<_> = (0..=id).map(|at| account(&format!("key {at} of {id}"))).collect();
        let hold = Record { id, call: 9, amount: 100, at: 55, ..Record::default() };
        let number = holds.take(hold, &accounts).unwrap();
        images.push(slot_bytes(&holds, number));
        for grow in 1..=grown {
            holds.grow(number.into(), Usd::pico(100 + grow));
            images.push(slot_bytes(&holds, number));
        }
        let lines: Vec<_> = accounts.iter().map(|account| (Arc::clone(account), -3)).collect();
        let posting = Record { id, call: 9, amount: 70, held: 100, at: 60, flags: 5, ..Record::default() };
        assert_eq!(holds.post(number.into(), posting, &lines), Some(number));
        images.push(slot_bytes(&holds, number));
        free(&holds, number, &mut images);
        let right = Record { amount: 30, posted: 70, ..posting };
        assert_eq!(holds.correct(right, &lines), Ok(number));
        images.push(slot_bytes(&holds, number));
        free(&holds, number, &mut images);
    }
    images
}

fn free(holds: &Holds, number: u32, images: &mut Vec<Vec<u8>>) {
    for _ in 0..2 {
        let mut room = holds.room(number);
        holds.write_other(number, &mut room, Record::default(), &[]).unwrap();
        images.push(slot_bytes(holds, number));
    }
    holds.release(number).unwrap();
    images.push(slot_bytes(holds, number));
}

#[test]
fn every_prefix_of_a_write_is_the_state_before_or_behind() {
    let images = lives();
    let mut torn = 0;
    for pair in images.windows(2) {
        let [before, behind] = pair else { unreachable!() };
        let wanted = [meaning(before), meaning(behind)];
        for cut in 0..=SLOT {
            let image = [&behind[..cut], &before[cut..]].concat();
            let found = meaning(&image);
            assert!(wanted.contains(&found), "cut at {cut}: {found:?} is none of {wanted:?}");
            torn += usize::from(image != *before && image != *behind);
        }
    }
    assert!(torn > 1_000, "{torn}");
}

/// A disk may write the parts of a page in any order.
#[test]
fn any_sectors_of_a_write_are_the_state_before_or_behind() {
    for pair in lives().windows(2) {
        let [before, behind] = pair else { unreachable!() };
        let wanted = [meaning(before), meaning(behind)];
        for written in 0..1_u32 << (SLOT / SECTOR) {
            let mut image = before.clone();
            for sector in (0..SLOT / SECTOR).filter(|sector| written & (1 << sector) != 0) {
                let at = sector * SECTOR..(sector + 1) * SECTOR;
                image[at.clone()].copy_from_slice(&behind[at]);
            }
            assert!(wanted.contains(&meaning(&image)), "sectors {written:b}");
        }
    }
}

const SECTOR: usize = 512;

#[test]
fn a_torn_write_is_cleaned_up_and_the_slot_used_again() {
    let images = lives();
    for pair in images.windows(2) {
        for cut in [0, 8, 100, RECORD, RECORD + 50, TEXT_AT, TEXT_AT + 20, SLOT] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("holds");
            drop(Locked::open(&path).unwrap().into_holds(PAIR, 1).unwrap());
            let image = [&pair[1][..cut], &pair[0][cut..]].concat();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&image, offset(0)).unwrap();

            let (holds, _) = Locked::open(&path).unwrap().into_holds(PAIR, 1).unwrap();
            if holds.free() == 0 {
                holds.release(0).unwrap();
            }
            let before = slot_bytes(&holds, 0);
            assert!(record::decode(&before).unwrap().both_free);
            let hold = Record { id: 77, ..Record::default() };
            holds.take(hold, &[account("new")]).unwrap();
            let behind = slot_bytes(&holds, 0);
            assert_eq!(meaning(&behind).unwrap().record.id, 77);
            for cut in 0..=SLOT {
                let image = [&behind[..cut], &before[cut..]].concat();
                assert!([None, meaning(&behind)].contains(&meaning(&image)));
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holds");
    let (holds, _) = Locked::open(&path).unwrap().into_holds(PAIR, 3).unwrap();
    for id in 1..=2 {
        let slot = holds.take(Record { id, ..Record::default() }, &[account("a")]).unwrap();
        holds.grow(slot.into(), Usd::pico(5));
    }
    drop(holds);
    let whole = std::fs::read(&path).unwrap();
    let text = |bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        Locked::open(&path).unwrap_err().to_string()
    };
    let mut both = whole.clone();
    both[offset(1) as usize + 20] ^= 1;
    both[offset(1) as usize + RECORD + 20] ^= 1;
    assert!(text(both).ends_with("holds is damaged: slot 1 cannot be read"));
    let mut accounts = whole.clone();
    accounts[offset(0) as usize + TEXT_AT + 4] ^= 1;
    assert!(text(accounts).ends_with("holds is damaged: slot 0 cannot be read"));
    let mut header = whole.clone();
    header[13] ^= 1;
    assert!(text(header).ends_with("holds is damaged: its header cannot be read"));
    assert!(text(b"SQLite format 3".to_vec()).ends_with("holds is damaged: not a file of holds"));
    assert!(text(whole[..whole.len() - 1].to_vec()).ends_with("where 3 slots need 10240"));
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(Locked::open(&path).unwrap().into_holds(PAIR, 3).unwrap().0.open_holds().count(), 2);
}

#[test]
fn making_the_file_can_be_cut_short_and_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holds");
    for len in [0, 1, HEADER - 1, HEADER, HEADER + 700] {
        std::fs::write(&path, vec![0; len]).unwrap();
        let (holds, _) = Locked::open(&path).unwrap().into_holds(PAIR, 4).unwrap();
        assert_eq!(holds.free(), 4);
    }
}

#[test]
fn the_number_of_slots_can_change_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holds");
    let open = |slots| Locked::open(&path).unwrap().into_holds(PAIR, slots).unwrap().0;
    let holds = open(4);
    for id in 0..4 {
        holds.take(Record { id, ..Record::default() }, &[account("a")]).unwrap();
    }
    assert_eq!(holds.take(Record::default(), &[]), Err(NoRoom::Full));
    drop(holds);
    let fewer = open(2);
    assert_eq!((fewer.open_holds().count(), fewer.free()), (4, 0));
    fewer.release(3).unwrap();
    assert_eq!((fewer.open_holds().count(), fewer.free()), (3, 0));
    fewer.release(0).unwrap();
    assert_eq!((fewer.open_holds().count(), fewer.free()), (2, 1));
    drop(fewer);
    let more = open(600);
    assert_eq!((more.open_holds().count(), more.free()), (2, 598));
}

#[test]
fn what_cannot_be_written_is_refused_and_what_is_held_is_kept_in_memory() {
    let (dir, mut holds) = fresh(2);
    let held = holds.take(Record { id: 1, ..Record::default() }, &[account("a")]).unwrap();
    let writable = std::mem::replace(&mut holds.file, File::open(dir.path().join("holds")).unwrap());
    assert_eq!(holds.take(Record { id: 2, ..Record::default() }, &[account("a")]), Err(NoRoom::Broken));
    assert_eq!(holds.state.load(Ordering::Relaxed), BROKEN);
    holds.grow(held.into(), Usd::pico(9));
    let posting = Record { id: 1, amount: 9, ..Record::default() };
    assert_eq!(holds.post(held.into(), posting, &[(account("a"), 4)]), Some(held));
    let entry = holds.entry(held);
    assert_eq!((entry.record.kind, entry.record.amount, entry.lines.len()), (Kind::Posting, 9, 1));
    assert!(holds.release(held).is_err());
    holds.file = writable;
    holds.release(held).unwrap();
    assert_eq!(holds.free(), 2);
    for id in 3..5 {
        holds.take(Record { id, ..Record::default() }, &[account("b")]).unwrap();
    }
    assert_eq!(holds.state.load(Ordering::Relaxed), FINE);
    for slot in 0..2 {
        assert!(meaning(&slot_bytes(&holds, slot)).unwrap().record.id >= 3);
    }
}

#[test]
fn misuse_of_a_slot_changes_nothing() {
    let (_dir, holds) = fresh(2);
    let held = holds.take(Record { id: 1, ..Record::default() }, &[account("a")]).unwrap();
    let before = slot_bytes(&holds, held);
    for slot in [1 - u64::from(held), 2, u64::MAX] {
        holds.grow(slot, Usd::pico(1));
        assert_eq!(holds.post(slot, Record { id: 1, ..Record::default() }, &[]), None);
    }
    assert_eq!(holds.post(held.into(), Record { id: 2, ..Record::default() }, &[]), None);
    assert_eq!(slot_bytes(&holds, held), before);
}

#[test]
fn a_posting_to_accounts_that_were_not_held_is_kept_in_memory_and_the_hold_on_disk() {
    let (_dir, holds) = fresh(1);
    let held = holds.take(Record { id: 1, ..Record::default() }, &[account("a")]).unwrap();
    let before = meaning(&slot_bytes(&holds, held));
    assert_eq!(
        holds.post(held.into(), Record { id: 1, ..Record::default() }, &[(account("b"), 1)]),
        Some(held)
    );
    assert_eq!(holds.entry(held).lines, [(account("b"), 1)]);
    assert_eq!(meaning(&slot_bytes(&holds, held)), before);
    holds.release(held).unwrap();
    assert_eq!(meaning(&slot_bytes(&holds, held)), None);
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,40}", "[\0'\"\\\\a-z]{0,40}", Just(String::new()), "x{300,400}"]
}

fn accounts() -> impl Strategy<Value = Vec<Arc<Account>>> {
    let kinds = prop::sample::select(ScopeKind::ALL.to_vec());
    let one = (kinds, texts(), prop::option::of(texts()), texts()).prop_map(|(kind, id, models, period)| {
        Arc::new(Account::new(Scope::new(kind, id), models.map(Arc::from), period))
    });
    prop::collection::vec(one, 0..8)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        accounts in accounts(),
        numbers in any::<(u128, u128, u128, u128)>(),
        at in any::<i64>(),
        flags in 0_u16..128,
        buckets in prop::collection::vec(any::<i64>(), 8),
    ) {
        let (_dir, holds) = fresh(2);
        let (id, call, amount, held) = numbers;
        let hold = Record { id, call, amount: held, at, ..Record::default() };
        let Ok(slot) = holds.take(hold, &accounts) else {
            let long: usize = accounts.iter().map(|a| {
                a.scope.kind.name().len() + a.scope.id.len() + a.models.as_ref().map_or(0, |m| m.len()) + a.period.len() + 8
            }).sum();
            prop_assert!(long > MOST_TEXT - POSTED);
            return Ok(());
        };
        let plain: Vec<_> = accounts.iter().map(|a| Account::clone(a)).collect();
        let stored = meaning(&slot_bytes(&holds, slot)).unwrap();
        prop_assert_eq!(&stored.accounts, &plain);
        prop_assert_eq!((stored.record.id, stored.record.call, stored.record.amount, stored.record.at), (id, call, held, at));

        let lines: Vec<_> = accounts.iter().cloned().zip(buckets).collect();
        let posting = Record { id, call, amount, held, at, flags, ..Record::default() };
        holds.post(slot.into(), posting, &lines).unwrap();
        let stored = meaning(&slot_bytes(&holds, slot)).unwrap();
        let read: Vec<_> = stored.lines.iter().map(|&(at, bucket)| (stored.accounts[usize::from(at)].clone(), bucket)).collect();
        let given: Vec<_> = lines.iter().map(|(a, bucket)| (Account::clone(a), *bucket)).collect();
        prop_assert_eq!(read, given);
        prop_assert_eq!((stored.record.amount, stored.record.held, stored.record.flags), (amount, held, flags));
        prop_assert_eq!(record::bits_of(record::flags_of(flags)), flags);

        let right = Record { posted: call, ..posting };
        let slot = holds.correct(right, &lines).unwrap();
        let read = meaning(&slot_bytes(&holds, slot)).unwrap();
        prop_assert_eq!((read.record.kind, read.record.posted), (Kind::Correction, call));
        prop_assert_eq!(read.accounts, lines.iter().map(|(a, _)| Account::clone(a)).collect::<Vec<_>>());
        prop_assert_eq!(read.lines, (0..).zip(&lines).map(|(at, (_, bucket))| (at, *bucket)).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), SLOT), lines in 0_u8..=255, kind in 0_u8..5) {
        for half in [0, RECORD] {
            (bytes[half + 4], bytes[half + 6]) = (kind, lines);
            let len = 96 + usize::from(lines) * 9;
            if len <= RECORD {
                let crc = crc32fast::hash(&bytes[half + 4..half + len]);
                bytes[half..half + 4].copy_from_slice(&crc.to_le_bytes());
            }
        }
        let _ = record::decode(&bytes);
    }
}

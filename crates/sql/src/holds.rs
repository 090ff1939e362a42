//! The file of holds: slots of a fixed size, written in place through the system's page cache.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use ziggurat_core::{Account, Usd};

use crate::{
    error::OpenError,
    record::{self, Kind, MOST_LINES, MOST_TEXT, RECORD, Record, SLOT, Stored, TEXT_AT},
};

/// A file of holds that is locked and read, before anything is changed.
#[derive(Debug)]
pub(crate) struct Locked {
    path: PathBuf,
    file: File,
    /// The database it belongs to; `None` when it is new.
    pub(crate) pair: Option<[u8; 16]>,
    stored: Vec<Stored>,
}

/// The slots, and what is in them.
#[derive(Debug)]
pub(crate) struct Holds {
    path: PathBuf,
    file: File,
    rooms: Box<[Mutex<Room>]>,
    /// The last one freed is the first one taken, so that few pages are in use.
    free: Mutex<Vec<u32>>,
    /// Slots from here on were made under a larger setting and are not taken again.
    usable: usize,
    state: AtomicU8,
    said_too_long: AtomicBool,
}

/// A slot, as last written.
#[derive(Debug, Default)]
struct Room {
    record: Record,
    half: usize,
    accounts: Vec<Arc<Account>>,
    lines: Vec<(Arc<Account>, i64)>,
}

/// A posting on its way to the database.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    pub(crate) record: Record,
    pub(crate) lines: Vec<(Arc<Account>, i64)>,
}

/// Why a hold was not written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// All slots are in use.
    Full,
    /// Its accounts are too many, or their names too long, for a slot.
    TooLong,
    /// The file cannot be written.
    Broken,
}

// ===== impl Locked =====

impl Locked {
    /// Locks the file, which is made if it is not there, and reads it whole (so that it is in memory).
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let corrupt = |what: String| OpenError::Corrupt { path: path.to_owned(), what };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked { path: path.to_owned() },
            TryLockError::Error(source) => io(source),
        })?;

        let len = file.metadata().map_err(io)?.len();
        let mut header = [0; HEADER];
        let known = usize::try_from(len).unwrap_or(usize::MAX).min(HEADER);
        file.read_exact_at(&mut header[..known], 0).map_err(io)?;
        let mut locked = Self { path: path.to_owned(), file, pair: None, stored: Vec::new() };
        if header.iter().all(|&byte| byte == 0) {
            // New, or its making was cut short: the header comes last.
            return Ok(locked);
        }
        let (pair, slots) = decode_header(&header).map_err(|what| corrupt(what.to_owned()))?;
        if len < offset(slots) {
            return Err(corrupt(format!("{len} bytes, where {slots} slots need {}", offset(slots))));
        }
        let mut chunk = vec![0; CHUNK * SLOT];
        for first in (0..slots).step_by(CHUNK) {
            let many = (slots - first).min(CHUNK as u32) as usize;
            let bytes = &mut chunk[..many * SLOT];
            locked.file.read_exact_at(bytes, offset(first)).map_err(io)?;
            for (number, slot) in (first..).zip(bytes.chunks_exact(SLOT)) {
                let stored = record::decode(slot);
                locked.stored.push(stored.map_err(|_| corrupt(format!("slot {number} cannot be read")))?);
            }
        }
        locked.pair = Some(pair);
        Ok(locked)
    }

    /// For a database that says otherwise.
    pub(crate) fn mismatched(self) -> OpenError {
        OpenError::Mismatched { path: self.path }
    }

    /// Makes the slots ready for use: what was held is held, what was posted is given back, the rest is free.
    pub(crate) fn into_holds(self, pair: [u8; 16], slots: u32) -> Result<(Holds, Vec<Entry>), OpenError> {
        let Self { path, file, pair: known, stored } = self;
        let io = |source| OpenError::Io { path: path.clone(), source };
        let have = stored.len() as u32;
        if known.is_none() || have < slots {
            let slots = slots.max(have);
            (|| {
                fill(&file, if known.is_some() { have } else { 0 }, slots)?;
                file.sync_all()?;
                file.write_all_at(&encode_header(pair, slots), 0)?;
                file.sync_all()?;
                sync_parent(&path)
            })()
            .map_err(io)?;
        }

        let (mut rooms, mut free, mut posted, mut torn) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (number, stored) in
            (0..slots.max(have)).zip(stored.into_iter().chain(std::iter::repeat_with(blank)))
        {
            let room = Room::of(stored.record, stored.half, stored.accounts, &stored.lines);
            match stored.record.kind {
                Kind::Hold => {}
                Kind::Posting | Kind::Correction => posted.push(room.entry(number)),
                Kind::Free => {
                    if !stored.both_free {
                        torn.push(number);
                    }
                    if number < slots {
                        free.push(number);
                    }
                }
            }
            rooms.push(Mutex::new(room));
        }
        free.reverse();
        // Slots know no order.
        posted.sort_by_key(|entry| entry.record.kind == Kind::Correction);
        let holds = Holds {
            file,
            rooms: rooms.into(),
            free: Mutex::new(free),
            usable: slots as usize,
            state: AtomicU8::new(FINE),
            said_too_long: AtomicBool::new(false),
            path: path.clone(),
        };
        for number in torn {
            let mut room = holds.room(number);
            holds.write_free(number, &mut room).map_err(io)?;
        }
        Ok((holds, posted))
    }
}

// ===== impl Holds =====

impl Holds {
    /// Takes a slot and writes a hold into it.
    pub(crate) fn take(&self, hold: Record, accounts: &[Arc<Account>]) -> Result<u32, NoRoom> {
        self.begin(Record { kind: Kind::Hold, held: 0, flags: 0, ..hold }, accounts, &[])
    }

    /// Takes a slot and writes a correction into it, for the database. Each account has one line.
    pub(crate) fn correct(&self, correction: Record, lines: &[(Arc<Account>, i64)]) -> Result<u32, NoRoom> {
        let accounts: Vec<_> = lines.iter().map(|(account, _)| Arc::clone(account)).collect();
        self.begin(Record { kind: Kind::Correction, ..correction }, &accounts, lines)
    }

    fn begin(
        &self,
        record: Record,
        accounts: &[Arc<Account>],
        lines: &[(Arc<Account>, i64)],
    ) -> Result<u32, NoRoom> {
        let (number, left) = {
            let mut free = lock(&self.free);
            (free.pop(), free.len())
        };
        let Some(number) = number else {
            self.turn(FULL);
            return Err(NoRoom::Full);
        };
        let written = self.write_first(number, record, accounts, lines);
        match written {
            Ok(()) if self.state.load(Ordering::Relaxed) != FULL || left * 8 >= self.usable => {
                self.turn(FINE)
            }
            Ok(()) => {}
            Err(why) => {
                lock(&self.free).push(number);
                match why {
                    NoRoom::TooLong => self.say_too_long(),
                    _ => self.turn(BROKEN),
                }
            }
        }
        written.map(|()| number)
    }

    /// Writes what a slot begins with: the second record, and the text. The lines are of the accounts, in their order.
    fn write_first(
        &self,
        number: u32,
        record: Record,
        accounts: &[Arc<Account>],
        lines: &[(Arc<Account>, i64)],
    ) -> Result<(), NoRoom> {
        let mut room = self.room(number);
        let mut bytes = [0; SLOT - RECORD];
        let (second, text) = bytes.split_at_mut(TEXT_AT - RECORD);
        let text: &mut [u8; MOST_TEXT] = text.try_into().expect("invariant: it ends with the slot");
        let posted = (record.kind == Kind::Correction).then_some(record.posted);
        let text = record::encode_text(accounts, posted, text).ok_or(NoRoom::TooLong)?;
        let generation = room.record.generation + 1;
        let record = Record { generation, text, ..record };
        let short: Vec<_> = (0..).zip(lines).map(|(at, (_, bucket))| (at, *bucket)).collect();
        record.encode(&short, second);
        let len = TEXT_AT - RECORD + text.len();
        // The first record says that the slot is free, should this be torn.
        let done = self.file.write_all_at(&bytes[..len], offset(number) + RECORD as u64);
        room.record.generation = generation;
        if done.is_err() {
            // Whole as it may look after all: nothing may be left of it.
            room.half = 0;
            let _ = self.write_free(number, &mut room);
            return Err(NoRoom::Broken);
        }
        room.record = record;
        room.half = 1;
        room.accounts.extend(accounts.iter().map(Arc::clone));
        room.lines.extend(lines.iter().cloned());
        Ok(())
    }

    /// Writes down that a hold has grown.
    pub(crate) fn grow(&self, number: u64, amount: Usd) {
        let Some((number, mut room)) = self.held(number) else { return };
        let record = Record { amount: amount.as_pico(), ..room.record };
        if self.write_other(number, &mut room, record, &[]).is_err() {
            room.record.amount = amount.as_pico();
            self.turn(BROKEN);
        }
    }

    /// Writes a posting over its hold, and gives the number of the slot for the database.
    pub(crate) fn post(&self, number: u64, posting: Record, lines: &[(Arc<Account>, i64)]) -> Option<u32> {
        let (number, mut room) = self.held(number)?;
        if room.record.id != posting.id {
            tracing::error!(
                slot = number,
                "a posting was given for another hold's slot, and is not written down"
            );
            return None;
        }
        room.lines.extend(lines.iter().map(|(account, bucket)| (Arc::clone(account), *bucket)));
        let record = Record { kind: Kind::Posting, text: room.record.text, ..posting };
        let mut short = [(0, 0); MOST_LINES];
        let written = match room.shorten(&mut short) {
            Some(short) => self.write_other(number, &mut room, record, short).is_ok(),
            // It goes to the database as it is; should the process be killed before, it is posted as its hold says.
            None => {
                tracing::error!(slot = number, "a posting names accounts that were not held");
                true
            }
        };
        let generation = room.record.generation;
        room.record = Record { generation, ..record };
        if !written {
            self.turn(BROKEN);
        }
        Some(number)
    }

    /// What is posted in a slot.
    pub(crate) fn entry(&self, number: u32) -> Entry {
        self.room(number).entry(number)
    }

    /// Frees the slot of an entry that the database has, or that is not to be posted.
    ///
    /// # Errors
    /// The slot is not free, and this is to be tried again.
    pub(crate) fn release(&self, number: u32) -> io::Result<()> {
        let mut room = self.room(number);
        self.write_free(number, &mut room)?;
        room.accounts.clear();
        room.lines.clear();
        drop(room);
        if (number as usize) < self.usable {
            lock(&self.free).push(number);
        }
        Ok(())
    }

    /// What is still held, with the accounts.
    pub(crate) fn open_holds(&self) -> impl Iterator<Item = (u32, Record, Vec<Account>)> {
        (0..).zip(&self.rooms).filter_map(|(number, room)| {
            let room = lock(room);
            let accounts = || room.accounts.iter().map(|account| Account::clone(account)).collect();
            (room.record.kind == Kind::Hold).then(|| (number, room.record, accounts()))
        })
    }

    /// How many slots are free.
    pub(crate) fn free(&self) -> usize {
        lock(&self.free).len()
    }

    /// Says that a slot is free in both records: first in the one that does not count now.
    fn write_free(&self, number: u32, room: &mut Room) -> io::Result<()> {
        let free = Record::default();
        self.write_other(number, room, free, &[])?;
        self.write_other(number, room, free, &[])
    }

    /// Writes a record over the one that does not count.
    fn write_other(
        &self,
        number: u32,
        room: &mut Room,
        record: Record,
        lines: &[(u8, i64)],
    ) -> io::Result<()> {
        let generation = room.record.generation + 1;
        let half = 1 - room.half;
        let record = Record { generation, ..record };
        let mut bytes = [0; RECORD];
        let len = record.encode(lines, &mut bytes);
        let done = self.file.write_all_at(&bytes[..len], offset(number) + (half * RECORD) as u64);
        room.record.generation = generation;
        done?;
        room.record = record;
        room.half = half;
        Ok(())
    }

    fn room(&self, number: u32) -> MutexGuard<'_, Room> {
        lock(&self.rooms[number as usize])
    }

    /// The slot of that number, if a hold is in it.
    fn held(&self, number: u64) -> Option<(u32, MutexGuard<'_, Room>)> {
        let number = u32::try_from(number).ok().filter(|&number| (number as usize) < self.rooms.len());
        let held = number
            .map(|number| (number, self.room(number)))
            .filter(|(_, room)| room.record.kind == Kind::Hold);
        if held.is_none() {
            tracing::error!(slot = number, "a slot was named that holds nothing");
        }
        held
    }

    /// Logs a change of state, once.
    fn turn(&self, to: u8) {
        if self.state.load(Ordering::Relaxed) == to || self.state.swap(to, Ordering::Relaxed) == to {
            return;
        }
        let path = self.path.display();
        match to {
            FULL => {
                tracing::error!(%path, "the journal is full: calls with a budget are refused until it is saved")
            }
            BROKEN => {
                tracing::error!(%path, "the journal cannot be written: calls with a budget are refused")
            }
            _ => tracing::info!(%path, "the journal has room again"),
        }
    }

    fn say_too_long(&self) {
        if !self.said_too_long.swap(true, Ordering::Relaxed) {
            let path = self.path.display();
            tracing::warn!(%path, "a call was refused as its accounts do not fit into a slot (said once)");
        }
    }
}

// ===== impl Room =====

impl Room {
    fn of(record: Record, half: usize, accounts: Vec<Account>, lines: &[(u8, i64)]) -> Self {
        let accounts: Vec<_> = accounts.into_iter().map(Arc::new).collect();
        let line = |&(account, bucket): &(u8, i64)| (Arc::clone(&accounts[usize::from(account)]), bucket);
        let lines = lines.iter().map(line).collect();
        Self { record, half, accounts, lines }
    }

    fn entry(&self, slot: u32) -> Entry {
        Entry { slot, record: self.record, lines: self.lines.clone() }
    }

    /// The lines with accounts by their place in the text; `None` when one is not there, or they are too many.
    fn shorten<'a>(&self, out: &'a mut [(u8, i64); MOST_LINES]) -> Option<&'a [(u8, i64)]> {
        for (at, (account, bucket)) in self.lines.iter().enumerate() {
            let same = self.accounts.iter().position(|held| Arc::ptr_eq(held, account));
            let place = same.or_else(|| self.accounts.iter().position(|held| held == account))?;
            *out.get_mut(at)? = (place as u8, *bucket);
        }
        Some(&out[..self.lines.len()])
    }
}

// ===== the file =====

fn blank() -> Stored {
    Stored { both_free: true, ..Stored::default() }
}

/// Where a slot starts.
fn offset(number: u32) -> u64 {
    HEADER as u64 + u64::from(number) * SLOT as u64
}

/// Writes zeros, as room that is only promised may be missing when it is needed.
fn fill(file: &File, from: u32, to: u32) -> io::Result<()> {
    let zeros = vec![0; CHUNK * SLOT];
    let (mut at, end) = (if from == 0 { 0 } else { offset(from) }, offset(to));
    while at < end {
        let many = (end - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..many as usize], at)?;
        at += many;
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn encode_header(pair: [u8; 16], slots: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&slots.to_le_bytes());
    header[16..32].copy_from_slice(&pair);
    let crc = crc32fast::hash(&header[..32]);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    header
}

fn decode_header(header: &[u8; HEADER]) -> Result<([u8; 16], u32), &'static str> {
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
    if &header[..8] != MAGIC {
        return Err("not a file of holds");
    }
    if number(32) != crc32fast::hash(&header[..32]) {
        return Err("its header cannot be read");
    }
    if number(8) != VERSION {
        return Err("its format is of another version");
    }
    Ok((std::array::from_fn(|byte| header[16 + byte]), number(12)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAGIC: &[u8; 8] = b"zigholds";
const VERSION: u32 = 1;

/// Bytes before the first slot: a page, so that slots do not cross one.
const HEADER: usize = 4096;

/// Slots read or made at a time.
const CHUNK: usize = 256;

const FINE: u8 = 0;
const FULL: u8 = 1;
const BROKEN: u8 = 2;

#[cfg(test)]
mod tests;

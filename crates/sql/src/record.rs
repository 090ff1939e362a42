//! A slot of the journal of holds, as bytes.
//!
//! A slot is two records and the text of the accounts. A record says what the slot holds, under a generation and a checksum; the
//! valid one of the highest generation counts. Whatever is of value is never overwritten: a hold grows, and is closed, by writing the
//! *other* record. So a write that was torn anywhere leaves the state before it. The text is written by `open` alone, in one write
//! with the second record, while the first says that the slot is free.
//!
//! A slot lies within one page of memory: a process that is killed has written all of it or nothing.

use std::sync::Arc;

use ziggurat_budget::{Flags, HoldId};
use ziggurat_core::{Account, Scope, ScopeKind, Usd};

/// What a record says, without its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) generation: u64,
    pub(crate) kind: Kind,
    pub(crate) id: u128,
    pub(crate) call: u128,
    /// What is held; of a posting, what was charged.
    pub(crate) amount: u128,
    /// Of a posting: what was held.
    pub(crate) held: u128,
    /// Of a correction: what was posted before. It stands behind the text, as the record has no room for it.
    pub(crate) posted: u128,
    /// When the hold expires, or was posted: microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) flags: u16,
    pub(crate) text: Text,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Free,
    Hold,
    Posting,
    /// Another amount and other flags for a posting.
    Correction,
}

/// The accounts of a slot, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    accounts: u8,
    len: u16,
    crc: u32,
}

/// What a slot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    /// Which of the two records it is.
    pub(crate) half: usize,
    /// Whether the other record says `Free`, or nothing, as well.
    pub(crate) both_free: bool,
    pub(crate) accounts: Vec<Account>,
    /// Of a posting and a correction: the account and the bucket.
    pub(crate) lines: Vec<(u8, i64)>,
}

/// Neither record can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

// ===== writing =====

impl Record {
    /// Writes the record, and gives how many bytes it takes. At most [`MOST_LINES`] lines.
    pub(crate) fn encode(&self, lines: &[(u8, i64)], out: &mut [u8]) -> usize {
        let len = FIXED + lines.len() * LINE;
        out[4] = match self.kind {
            Kind::Free => 1,
            Kind::Hold => 2,
            Kind::Posting => 3,
            Kind::Correction => 4,
        };
        out[5] = self.text.accounts;
        out[6] = u8::try_from(lines.len()).expect("invariant: at most MOST_LINES lines");
        out[7] = 0;
        out[8..16].copy_from_slice(&self.generation.to_le_bytes());
        out[16..32].copy_from_slice(&self.id.to_le_bytes());
        out[32..48].copy_from_slice(&self.call.to_le_bytes());
        out[48..64].copy_from_slice(&self.amount.to_le_bytes());
        out[64..80].copy_from_slice(&self.held.to_le_bytes());
        out[80..88].copy_from_slice(&self.at.to_le_bytes());
        out[88..90].copy_from_slice(&self.text.len.to_le_bytes());
        out[90..92].copy_from_slice(&self.flags.to_le_bytes());
        out[92..96].copy_from_slice(&self.text.crc.to_le_bytes());
        for (&(account, bucket), out) in lines.iter().zip(out[FIXED..len].chunks_exact_mut(LINE)) {
            out[0] = account;
            out[1..].copy_from_slice(&bucket.to_le_bytes());
        }
        let crc = crc32fast::hash(&out[4..len]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        len
    }
}

/// Writes the accounts, and behind them what a correction says was posted; `None` when they do not fit. What fits as a hold fits
/// as its correction.
pub(crate) fn encode_text(
    accounts: &[Arc<Account>],
    posted: Option<u128>,
    out: &mut [u8; MOST_TEXT],
) -> Option<Text> {
    if accounts.len() > MOST_LINES {
        return None;
    }
    let names = &mut out[..MOST_TEXT - POSTED];
    let mut at = 0;
    let mut put = |text: Option<&str>| {
        let len = match text {
            Some(text) => u16::try_from(text.len()).ok().filter(|&len| len < NONE)?,
            None => NONE,
        };
        names.get_mut(at..at + 2)?.copy_from_slice(&len.to_le_bytes());
        at += 2;
        let text = text.unwrap_or_default();
        names.get_mut(at..at + text.len())?.copy_from_slice(text.as_bytes());
        at += text.len();
        Some(())
    };
    for account in accounts {
        put(Some(account.scope.kind.name()))?;
        put(Some(&account.scope.id))?;
        put(account.models.as_deref())?;
        put(Some(&account.period))?;
    }
    if let Some(posted) = posted {
        out[at..at + POSTED].copy_from_slice(&posted.to_le_bytes());
        at += POSTED;
    }
    let (accounts, len) = (accounts.len() as u8, u16::try_from(at).ok()?);
    Some(Text { accounts, len, crc: crc32fast::hash(&out[..at]) })
}

impl Text {
    pub(crate) fn len(self) -> usize {
        usize::from(self.len)
    }
}

// ===== reading =====

/// Reads a slot of [`SLOT`] bytes.
pub(crate) fn decode(slot: &[u8]) -> Result<Stored, Damaged> {
    let halves = [0, 1].map(|half| decode_record(&slot[half * RECORD..][..RECORD]));
    let is_free =
        |half: &Option<(Record, Vec<_>)>| matches!(half, Some((record, _)) if record.kind == Kind::Free);
    let both_free = halves.iter().all(is_free);
    let readable = halves.into_iter().enumerate().filter_map(|(half, read)| {
        let (mut record, lines) = read?;
        let (accounts, behind) = match record.kind {
            Kind::Free => (Vec::new(), &[][..]),
            _ => decode_text(record.text, &slot[TEXT_AT..])?,
        };
        record.posted = behind.first_chunk().map_or(0, |posted| u128::from_le_bytes(*posted));
        let whole = lines.iter().all(|&(account, _)| usize::from(account) < accounts.len());
        whole.then_some(Stored { record, half, both_free, accounts, lines })
    });
    readable.max_by_key(|stored| stored.record.generation).ok_or(Damaged)
}

fn decode_record(bytes: &[u8]) -> Option<(Record, Vec<(u8, i64)>)> {
    if bytes[..FIXED].iter().all(|&byte| byte == 0) {
        // Never written.
        return Some((Record::default(), Vec::new()));
    }
    let lines = usize::from(bytes[6]);
    let len = FIXED + lines * LINE;
    if lines > MOST_LINES || crc32fast::hash(&bytes[4..len]) != u32::from_le_bytes(array(bytes)) {
        return None;
    }
    let kind = match bytes[4] {
        1 => Kind::Free,
        2 => Kind::Hold,
        3 => Kind::Posting,
        4 => Kind::Correction,
        _ => return None,
    };
    let record = Record {
        generation: u64::from_le_bytes(array(&bytes[8..])),
        kind,
        id: u128::from_le_bytes(array(&bytes[16..])),
        call: u128::from_le_bytes(array(&bytes[32..])),
        amount: u128::from_le_bytes(array(&bytes[48..])),
        held: u128::from_le_bytes(array(&bytes[64..])),
        posted: 0,
        at: i64::from_le_bytes(array(&bytes[80..])),
        flags: u16::from_le_bytes(array(&bytes[90..])),
        text: Text {
            accounts: bytes[5],
            len: u16::from_le_bytes(array(&bytes[88..])),
            crc: u32::from_le_bytes(array(&bytes[92..])),
        },
    };
    let lines =
        bytes[FIXED..len].chunks_exact(LINE).map(|line| (line[0], i64::from_le_bytes(array(&line[1..]))));
    Some((record, lines.collect()))
}

/// Reads the accounts, and gives what stands behind them.
fn decode_text(text: Text, bytes: &[u8]) -> Option<(Vec<Account>, &[u8])> {
    let mut rest = bytes.get(..text.len())?;
    if crc32fast::hash(rest) != text.crc {
        return None;
    }
    let mut next = || {
        let len = u16::from_le_bytes(array(rest.get(..2)?));
        rest = &rest[2..];
        if len == NONE {
            return Some(None);
        }
        let (text, behind) = rest.split_at_checked(usize::from(len))?;
        rest = behind;
        std::str::from_utf8(text).ok().map(Some)
    };
    let mut account = || {
        let kind = ScopeKind::of_name(next()??)?;
        let scope = Scope::new(kind, next()??);
        let models = next()?.map(Arc::from);
        Some(Account::new(scope, models, next()??))
    };
    let accounts = (0..text.accounts).map(|_| account()).collect::<Option<_>>()?;
    Some((accounts, rest))
}

/// The first bytes of a slice that has as many.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("invariant: N bytes")
}

// ===== what the stores have in common =====

/// Flags as one number.
pub(crate) fn bits_of(flags: Flags) -> u16 {
    let all = [
        flags.estimated,
        flags.usage_invalid,
        flags.incomplete,
        flags.overrun,
        flags.unreconciled,
        flags.unpriced,
        flags.zero_usage,
    ];
    all.into_iter().enumerate().map(|(bit, set)| u16::from(set) << bit).sum()
}

/// Flags from a number.
pub(crate) fn flags_of(bits: u16) -> Flags {
    let is = |bit: u16| bits & (1 << bit) != 0;
    let mut flags = Flags::default();
    flags.estimated = is(0);
    flags.usage_invalid = is(1);
    flags.incomplete = is(2);
    flags.overrun = is(3);
    flags.unreconciled = is(4);
    flags.unpriced = is(5);
    flags.zero_usage = is(6);
    flags
}

impl Record {
    pub(crate) fn id(&self) -> HoldId {
        HoldId(self.id)
    }

    pub(crate) fn call(&self) -> HoldId {
        HoldId(self.call)
    }

    pub(crate) fn amount(&self) -> Usd {
        Usd::pico(self.amount)
    }

    pub(crate) fn held(&self) -> Usd {
        Usd::pico(self.held)
    }
}

/// Bytes of a slot: a power of two, at most a page.
pub(crate) const SLOT: usize = 2048;

/// Bytes of a record; there are two at the start of a slot.
pub(crate) const RECORD: usize = 320;

/// Where the text is in a slot.
pub(crate) const TEXT_AT: usize = 2 * RECORD;

/// Most bytes of text.
pub(crate) const MOST_TEXT: usize = SLOT - TEXT_AT;

/// Bytes at its end, for what a correction says was posted.
pub(crate) const POSTED: usize = 16;

/// Most accounts of a hold, and most lines of a posting.
pub(crate) const MOST_LINES: usize = (RECORD - FIXED) / LINE;

const FIXED: usize = 96;
const LINE: usize = 9;

/// The length of a text that is not there.
const NONE: u16 = u16::MAX;

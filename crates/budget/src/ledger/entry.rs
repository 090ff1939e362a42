//! What is spent and held in one account: pure, and told the time.

use std::{
    mem,
    time::{Duration, SystemTime},
};

use ziggurat_core::{Idle, Usd, Window};

use crate::{Balance, alert::Told};

/// The state of one account.
#[derive(Default)]
pub(super) struct Entry {
    held: Usd,
    /// What is posted and counts in the current window.
    spent: Usd,
    /// Holds that are open here, also of nothing: an account with any is not forgotten.
    holds: u32,
    told: Told,
    kind: Kind,
}

/// How spending is forgotten here.
#[derive(Default)]
enum Kind {
    /// No budget has been looked at yet.
    #[default]
    New,
    Lifetime,
    /// The latest period there was: its first moment in unix seconds, and its end.
    Calendar {
        start: i64,
        end: SystemTime,
    },
    Rolling(Box<Slices>),
    /// Buckets of an earlier process, of a window that is not known yet.
    Recovered(Box<[(i64, Usd)]>),
}

/// Spending by slice of time, the oldest first.
struct Slices {
    /// Of one slice, in nanoseconds.
    length: u64,
    list: Vec<(i64, Usd)>,
    /// The slice in which the first alert of this window was told.
    told_in: i64,
}

/// What looking at an account found out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing that was not known.
    Known,
    /// What an earlier process has spent.
    Recovered,
}

// ===== impl Entry =====

impl Entry {
    /// An account with what an earlier process posted to it.
    pub(super) fn recover(&mut self, buckets: Vec<(i64, Usd)>) {
        let mut all = match mem::take(&mut self.kind) {
            Kind::Recovered(known) => known.into_vec(),
            _ => Vec::new(),
        };
        all.extend(buckets);
        self.spent = all.iter().map(|(_, amount)| *amount).sum();
        self.kind = Kind::Recovered(all.into_boxed_slice());
    }

    /// Forgets what does not count any more at `now`. To be called first, whenever an account is looked at.
    pub(super) fn advance(&mut self, window: &Window, now: SystemTime) -> Seen {
        match (&mut self.kind, window) {
            (Kind::Lifetime, Window::Lifetime) => Seen::Known,
            (Kind::Calendar { start, end }, Window::Calendar(calendar)) => {
                // Time that steps back stays in the later period.
                if now >= *end {
                    let period = calendar.period(now);
                    if period.end > *end {
                        (*start, *end) = (unix_seconds(period.start), period.end);
                        (self.spent, self.told) = (Usd::ZERO, 0);
                    }
                }
                Seen::Known
            }
            (Kind::Rolling(slices), Window::Rolling(span)) if slices.length == slice_length(*span) => {
                let current = slices.current(now);
                if slices.forget(current) {
                    self.spent = slices.sum();
                }
                if current >= slices.told_in.saturating_add(SLICES) {
                    self.told = 0;
                }
                Seen::Known
            }
            _ => self.begin(window, now),
        }
    }

    /// Starts to count by a window, with what counts in it of what is known.
    fn begin(&mut self, window: &Window, now: SystemTime) -> Seen {
        let (seen, buckets) = match mem::take(&mut self.kind) {
            Kind::New => (Seen::Known, Box::default()),
            Kind::Recovered(buckets) => (Seen::Recovered, buckets),
            // Somebody counts in one account by two windows: nothing that counts is lost.
            _ => (Seen::Known, [(bucket_of(window, now), self.spent)].into()),
        };
        let counted = |least: i64| {
            let counts = buckets.iter().filter(move |(number, _)| *number >= least);
            counts.map(|(_, amount)| *amount).sum()
        };
        (self.spent, self.kind) = match window {
            Window::Rolling(span) => {
                let slices = Slices::new(*span, &buckets, now);
                (slices.sum(), Kind::Rolling(Box::new(slices)))
            }
            Window::Calendar(calendar) => {
                let mut period = calendar.period(now);
                let latest = buckets.iter().map(|(number, _)| *number).max();
                // The clock was ahead when the earlier process posted: as if it had stepped back since.
                if let Some(latest) = latest.and_then(at_unix_seconds).filter(|at| *at >= period.end) {
                    period = calendar.period(latest);
                }
                let start = unix_seconds(period.start);
                (counted(start), Kind::Calendar { start, end: period.end })
            }
            _ => (counted(i64::MIN), Kind::Lifetime),
        };
        seen
    }

    /// What is left of a cap.
    pub(super) fn room(&self, cap: Usd) -> Usd {
        cap.saturating_sub(self.spent + self.held)
    }

    /// Opens a hold.
    pub(super) fn open(&mut self, amount: Usd) {
        self.holds += 1;
        self.held += amount;
    }

    /// Sets more aside for an open hold.
    pub(super) fn grow(&mut self, amount: Usd) {
        self.held += amount;
    }

    /// Closes a hold, as if it had not been.
    pub(super) fn free(&mut self, held: Usd) {
        self.holds -= 1;
        self.held = self.held.saturating_sub(held);
    }

    /// Closes a hold and posts what was charged. Gives the number of the bucket it was posted under.
    pub(super) fn close(&mut self, held: Usd, charged: Usd, now: SystemTime) -> i64 {
        self.free(held);
        self.spent += charged;
        match &mut self.kind {
            Kind::Calendar { start, .. } => *start,
            Kind::Rolling(slices) => {
                let current = slices.current(now);
                slices.post(current, charged);
                current
            }
            _ => 0,
        }
    }

    /// Puts another amount in the place of one that was posted under a bucket, if it still counts.
    pub(super) fn correct(&mut self, bucket: i64, posted: Usd, charged: Usd, now: SystemTime) {
        match &mut self.kind {
            Kind::Rolling(slices) => {
                slices.correct(bucket, posted, charged, now);
                self.spent = slices.sum();
            }
            Kind::Calendar { start, .. } if *start != bucket => {}
            _ => replace(&mut self.spent, posted, charged),
        }
    }

    /// Marks these amounts as told, and gives those that were not. One that is no longer reached may be told again, unless that
    /// is because time has passed.
    pub(super) fn tell(&mut self, reached: Told, now: SystemTime) -> Told {
        let news = reached & !self.told;
        if let Kind::Rolling(slices) = &mut self.kind {
            if self.told == 0 && news != 0 {
                slices.told_in = slices.current(now);
            }
            self.told |= news;
        } else {
            self.told = reached;
        }
        news
    }

    pub(super) fn spent(&self) -> Usd {
        self.spent
    }

    pub(super) fn balance(&self) -> Balance {
        let resets_at = match &self.kind {
            Kind::Calendar { end, .. } => Some(*end),
            Kind::Rolling(slices) => slices.resets_at(),
            _ => None,
        };
        Balance { spent: self.spent, held: self.held, resets_at }
    }
}

impl Idle for Entry {
    fn is_idle(&self, now: SystemTime) -> bool {
        let forgotten = match &self.kind {
            Kind::Calendar { end, .. } => now >= *end,
            Kind::Rolling(slices) => {
                let least = slices.current(now).saturating_sub(SLICES);
                slices.list.last().is_none_or(|(last, _)| *last < least)
            }
            Kind::New | Kind::Lifetime | Kind::Recovered(_) => false,
        };
        self.holds == 0 && (forgotten || self.spent.is_zero())
    }
}

// ===== impl Slices =====

impl Slices {
    fn new(span: Duration, buckets: &[(i64, Usd)], now: SystemTime) -> Self {
        let mut slices = Self { length: slice_length(span), list: Vec::new(), told_in: i64::MAX };
        for (number, amount) in buckets {
            slices.post(*number, *amount);
        }
        let current = slices.current(now);
        slices.forget(current);
        slices
    }

    fn current(&self, now: SystemTime) -> i64 {
        slice_of(now, self.length)
    }

    /// Forgets the slices that have left the window wholly. Says whether there were any.
    fn forget(&mut self, current: i64) -> bool {
        let least = current.saturating_sub(SLICES);
        if self.list.first().is_none_or(|(first, _)| *first >= least) {
            return false;
        }
        self.list.retain(|(number, _)| *number >= least);
        true
    }

    fn post(&mut self, slice: i64, amount: Usd) {
        if amount.is_zero() {
            return;
        }
        // Time may step back.
        match self.list.binary_search_by_key(&slice, |(number, _)| *number) {
            Ok(at) => self.list[at].1 += amount,
            Err(at) => {
                // Most accounts see one call in a slice, and few slices in a window.
                self.list.reserve_exact(usize::from(self.list.is_empty()));
                self.list.insert(at, (slice, amount));
            }
        }
    }

    fn correct(&mut self, slice: i64, posted: Usd, charged: Usd, now: SystemTime) {
        match self.list.binary_search_by_key(&slice, |(number, _)| *number) {
            Ok(at) => replace(&mut self.list[at].1, posted, charged),
            // Nothing was posted there, or it is forgotten.
            Err(_) if slice >= self.current(now).saturating_sub(SLICES) => self.post(slice, charged),
            Err(_) => {}
        }
    }

    fn sum(&self) -> Usd {
        self.list.iter().map(|(_, amount)| *amount).sum()
    }

    /// When the oldest slice is forgotten.
    fn resets_at(&self) -> Option<SystemTime> {
        let (oldest, _) = self.list.first()?;
        let after = i128::from(*oldest) + i128::from(SLICES) + 1;
        at_nanoseconds(after.saturating_mul(i128::from(self.length)))
    }
}

/// The number of the bucket that an amount posted now goes under.
pub(super) fn bucket_of(window: &Window, now: SystemTime) -> i64 {
    match window {
        Window::Rolling(span) => slice_of(now, slice_length(*span)),
        Window::Calendar(calendar) => unix_seconds(calendar.period(now).start),
        _ => 0,
    }
}

/// The number of the oldest bucket that counts.
pub(crate) fn oldest_bucket(window: &Window, now: SystemTime) -> i64 {
    let current = bucket_of(window, now);
    match window {
        Window::Rolling(_) => current.saturating_sub(SLICES),
        _ => current,
    }
}

fn replace(amount: &mut Usd, posted: Usd, charged: Usd) {
    // More money than there is stays that.
    if *amount < Usd::MAX {
        *amount = amount.saturating_sub(posted) + charged;
    }
}

fn slice_length(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(SLICES.unsigned_abs().into())).unwrap_or(u64::MAX).max(1)
}

fn slice_of(at: SystemTime, length: u64) -> i64 {
    let nanos = nanoseconds(at);
    match (i64::try_from(nanos), i64::try_from(length)) {
        // Division of narrow numbers is ten times as fast.
        (Ok(nanos), Ok(length)) => nanos.div_euclid(length),
        _ => number(nanos.div_euclid(i128::from(length))),
    }
}

fn nanoseconds(at: SystemTime) -> i128 {
    let nanos = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => nanos(since),
        Err(before) => -nanos(before.duration()),
    }
}

pub(crate) fn unix_seconds(at: SystemTime) -> i64 {
    number(nanoseconds(at).div_euclid(1_000_000_000))
}

fn at_unix_seconds(seconds: i64) -> Option<SystemTime> {
    at_nanoseconds(i128::from(seconds) * 1_000_000_000)
}

fn at_nanoseconds(nanos: i128) -> Option<SystemTime> {
    let span = nanos.unsigned_abs();
    let seconds = u64::try_from(span / 1_000_000_000).ok()?;
    let span = Duration::new(seconds, u32::try_from(span % 1_000_000_000).ok()?);
    match nanos < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(span),
        false => SystemTime::UNIX_EPOCH.checked_add(span),
    }
}

fn number(wide: i128) -> i64 {
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

/// Into how many slices a rolling window is cut.
const SLICES: i64 = 64;

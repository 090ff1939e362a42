//! A ledger in a PostgreSQL database.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use sqlx::{Row, postgres::PgRow, query};
use ziggurat_budget::{
    Balance, Claim, HoldId, Refused,
    remote::{Backend, Granted, Mark, Settlement, Told},
};
use ziggurat_core::{Asked, Away, Budget, Clock, Usd};

use super::{
    Pool,
    accounts::{Accounts, pico, usd},
    decide::{How, Question},
    group::Group,
    statement::{Repeat, away},
};
use crate::{
    record::bits_of,
    time::{micros, time_of},
};

/// A ledger that several nodes share, in a PostgreSQL database.
///
/// Decisions are made by a function there, which locks the accounts in a fixed order, counts, and sets aside or refuses. So a cap
/// holds whatever the nodes do at the same time, nobody waits in a circle, and what was settled is posted once. While one statement decides
/// on an account, whoever needs that account waits, and the next statement decides on all of them, one after the other. Clones share the
/// pool and the wait.
#[derive(Clone, Debug)]
pub struct PostgresLedger {
    pub(super) pool: Pool,
    /// Tests tell the time; else the server does.
    clock: Option<Clock>,
    group: Group,
    /// By how many microseconds the server's clock was ahead of ours, when that mattered last.
    ahead: Arc<AtomicI64>,
}

/// What the database makes of a question.
enum Verdict {
    /// It is answered.
    Answered(PgRow),
    /// Some accounts are new.
    Accounts,
    /// This is the time there.
    Clock(i64),
}

// ===== impl PostgresLedger =====

impl PostgresLedger {
    /// A ledger in a database. Pools of one database share it.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self { pool, clock: None, group: Group::default(), ahead: Arc::default() }
    }

    /// Goes by this clock in the place of the server's: for tests, as clocks of nodes differ.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The time that the server is told; it has its own unless this is a test.
    pub(super) fn told(&self) -> Option<i64> {
        self.clock.as_ref().map(|clock| micros(clock.now()))
    }

    /// How long a statement waits for a lock.
    pub(super) fn lock_millis(&self) -> i32 {
        i32::try_from(self.pool.lock_timeout().as_millis()).unwrap_or(i32::MAX).max(1)
    }

    /// What the time there may be.
    fn guess(&self) -> i64 {
        self.told()
            .unwrap_or_else(|| micros(SystemTime::now()).saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    /// Asks until it is answered: once, unless accounts are new or our clock is in another period than the server's.
    pub(super) async fn ask<F>(
        &self,
        accounts: &Accounts<'_>,
        ask: impl Fn(Vec<i64>) -> F,
    ) -> Result<PgRow, Away>
    where
        F: Future<Output = Result<PgRow, Away>>,
    {
        let mut at = self.guess();
        for _ in 0..ROUNDS {
            match verdict(ask(accounts.periods(at)).await?)? {
                Verdict::Answered(row) => return Ok(row),
                Verdict::Accounts => self.make(accounts).await?,
                Verdict::Clock(there) => {
                    self.ahead.store(there.saturating_sub(micros(SystemTime::now())), Ordering::Relaxed);
                    at = there;
                }
            }
        }
        Err(Away::new("PostgreSQL: its clock runs away"))
    }

    async fn make(&self, accounts: &Accounts<'_>) -> Result<(), Away> {
        self.pool.row(Repeat::Same, || accounts.make()).await.map(drop)
    }

    async fn settle_some(&self, batch: &[Settlement]) -> Result<Vec<Usd>, Away> {
        let mut accounts = Accounts::default();
        let mut rows = Rows::default();
        let mut seen = HashSet::new();
        for settlement in batch.iter().filter(|settlement| seen.insert(settlement.id)) {
            rows.push(settlement, &mut accounts);
        }
        let budgets = batch.iter().flat_map(|settlement| &*settlement.budgets);
        let places: Vec<usize> = budgets.map(|budget| accounts.add(budget)).collect();
        let row = self.ask(&accounts, async |periods| {
            let statement = || {
                query(SETTLE)
                    .bind(&accounts.keys)
                    .bind(&periods)
                    .bind(&rows.ids)
                    .bind(&rows.calls)
                    .bind(&rows.amounts)
                    .bind(&rows.flags)
                    .bind(&rows.ats)
                    .bind(&rows.line_of)
                    .bind(&rows.line_key)
                    .bind(self.told())
            };
            self.pool.row(Repeat::Same, statement).await
        });
        let spent: Option<Vec<String>> = row.await?.try_get(2).map_err(|error| away(&error))?;
        let spent = spent.unwrap_or_default();
        let of = |place: usize| spent.get(place).map_or(Usd::ZERO, |digits| usd(digits));
        Ok(places.into_iter().map(of).collect())
    }

    async fn tell_some(&self, marks: &[Mark]) -> Result<Vec<Told>, Away> {
        let mut accounts = Accounts::default();
        let places: Vec<i64> = marks.iter().map(|mark| accounts.add(&mark.budget) as i64 + 1).collect();
        let kinds: Vec<i32> = marks.iter().map(|mark| mark.kind().into()).collect();
        let amounts: Vec<String> = marks.iter().map(|mark| pico(mark.amount)).collect();
        let holds: Vec<Vec<u8>> = marks.iter().map(|mark| bytes(mark.by).to_vec()).collect();
        let row = self.ask(&accounts, async |periods| {
            let statement = || {
                query(TELL)
                    .bind(&accounts.keys)
                    .bind(&periods)
                    .bind(&places)
                    .bind(&kinds)
                    .bind(&amounts)
                    .bind(&holds)
                    .bind(self.told())
                    .bind(self.lock_millis())
            };
            self.pool.row(Repeat::Same, statement).await
        });
        told(&row.await?).map_err(|error| away(&error))
    }
}

impl Backend for PostgresLedger {
    fn reserve<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> Asked<'a, Result<Granted, Refused>> {
        Box::pin(self.group.decide(self, Question::new(claim, ttl, How::Reserve)))
    }

    fn extend<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> Asked<'a, Result<Granted, Refused>> {
        Box::pin(self.group.decide(self, Question::new(claim, ttl, How::Extend)))
    }

    fn adopt<'a>(&'a self, claims: &'a [Claim], ttl: Duration) -> Asked<'a, ()> {
        Box::pin(async move {
            let questions: Vec<_> =
                claims.iter().map(|claim| Question::new(claim, ttl, How::Adopt)).collect();
            self.decide(&questions).await.map(drop)
        })
    }

    fn settle<'a>(&'a self, batch: &'a [Settlement]) -> Asked<'a, Vec<Usd>> {
        Box::pin(async move {
            let mut spent = Vec::new();
            for some in batch.chunks(PORTION) {
                spent.append(&mut self.settle_some(some).await?);
            }
            Ok(spent)
        })
    }

    fn tell<'a>(&'a self, marks: &'a [Mark]) -> Asked<'a, Vec<Told>> {
        Box::pin(self.tell_some(marks))
    }

    fn renew<'a>(&'a self, holds: &'a [HoldId], ttl: Duration) -> Asked<'a, ()> {
        Box::pin(async move {
            let ids: Vec<Vec<u8>> = holds.iter().map(|id| bytes(*id).to_vec()).collect();
            let statement = || {
                query("SELECT 1 FROM ziggurat_renew($1, $2, $3)").bind(&ids).bind(span(ttl)).bind(self.told())
            };
            self.pool.row(Repeat::Same, statement).await.map(drop)
        })
    }

    fn expire(&self) -> Asked<'_, usize> {
        Box::pin(async move {
            let statement = || query("SELECT ziggurat_expire($1, $2)").bind(EXPIRED).bind(self.told());
            let row = self.pool.row(Repeat::Same, statement).await?;
            let many: i32 = row.try_get(0).map_err(|error| away(&error))?;
            Ok(usize::try_from(many).unwrap_or_default())
        })
    }

    fn balances<'a>(&'a self, budgets: &'a [Budget]) -> Asked<'a, Vec<Balance>> {
        Box::pin(async move {
            let mut accounts = Accounts::default();
            let places: Vec<usize> = budgets.iter().map(|budget| accounts.add(budget)).collect();
            let row = self
                .ask(&accounts, async |periods| {
                    let statement = || query(BALANCES).bind(&accounts.keys).bind(&periods).bind(self.told());
                    self.pool.row(Repeat::Same, statement).await
                })
                .await?;
            let standing = standing(&row).map_err(|error| away(&error))?;
            Ok(in_order(&standing, &places))
        })
    }
}

/// Settlements, column by column.
#[derive(Default)]
struct Rows {
    ids: Vec<Vec<u8>>,
    calls: Vec<Vec<u8>>,
    amounts: Vec<String>,
    flags: Vec<i32>,
    ats: Vec<i64>,
    line_of: Vec<i64>,
    line_key: Vec<i64>,
}

// ===== impl Rows =====

impl Rows {
    fn push<'a>(&mut self, settlement: &'a Settlement, accounts: &mut Accounts<'a>) {
        self.ids.push(bytes(settlement.id).to_vec());
        self.calls.push(bytes(settlement.call).to_vec());
        self.amounts.push(pico(settlement.charge.amount));
        self.flags.push(bits_of(settlement.charge.flags).into());
        self.ats.push(micros(settlement.at));
        let mut places: Vec<usize> = settlement.budgets.iter().map(|budget| accounts.add(budget)).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            self.line_of.push(self.ids.len() as i64);
            self.line_key.push(place as i64 + 1);
        }
    }
}

/// A row that begins with the verdict and the time.
fn verdict(row: PgRow) -> Result<Verdict, Away> {
    let read = || -> Result<_, sqlx::Error> {
        Ok(match row.try_get::<&str, _>(0)? {
            "accounts" => Verdict::Accounts,
            "clock" => Verdict::Clock(row.try_get(1)?),
            _ => return Ok(None),
        }
        .into())
    };
    match read() {
        Ok(Some(verdict)) => Ok(verdict),
        Ok(None) => Ok(Verdict::Answered(row)),
        Err(error) => Err(away(&error)),
    }
}

/// What accounts stand at, from the columns behind the verdict and the time.
fn standing(row: &PgRow) -> Result<Vec<Balance>, sqlx::Error> {
    let spent: Option<Vec<String>> = row.try_get(2)?;
    let held: Option<Vec<String>> = row.try_get(3)?;
    let resets: Option<Vec<Option<i64>>> = row.try_get(4)?;
    let rows = spent.iter().flatten().zip(held.iter().flatten()).zip(resets.iter().flatten());
    let balance = |((spent, held), resets): ((&String, &String), &Option<i64>)| {
        let mut balance = Balance::default();
        (balance.spent, balance.held, balance.resets_at) = (usd(spent), usd(held), resets.map(time_of));
        balance
    };
    Ok(rows.map(balance).collect())
}

fn told(row: &PgRow) -> Result<Vec<Told>, sqlx::Error> {
    let tells: Option<Vec<i32>> = row.try_get(2)?;
    let spent: Option<Vec<String>> = row.try_get(3)?;
    let again: Option<Vec<Option<i64>>> = row.try_get(4)?;
    let rows = tells.iter().flatten().zip(spent.iter().flatten()).zip(again.iter().flatten());
    let told = |((tell, spent), again): ((&i32, &String), &Option<i64>)| match tell {
        1 => Told::Now { spent: usd(spent), again_at: again.map(time_of) },
        0 => Told::Before { again_at: again.map(time_of) },
        _ => Told::Below,
    };
    Ok(rows.map(told).collect())
}

fn in_order(standing: &[Balance], places: &[usize]) -> Vec<Balance> {
    places.iter().map(|place| standing.get(*place).copied().unwrap_or_default()).collect()
}

pub(super) fn bytes(id: HoldId) -> [u8; 16] {
    id.0.to_be_bytes()
}

pub(super) fn span(time: Duration) -> i64 {
    // As long as it is, it ends before the numbers do.
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX).min(CENTURY)
}

const SETTLE: &str = "SELECT verdict, clock, spents::text[] \
     FROM ziggurat_settle($1, $2, $3, $4, $5::text[]::numeric[], $6, $7, $8, $9, $10)";

// The time goes through what sets the timeout, so that this is set first.
const TELL: &str = "SELECT verdict, clock, tells, spents::text[], again \
     FROM (SELECT set_config('lock_timeout', $8::integer::text, true) AS patience OFFSET 0) AS first, \
         LATERAL ziggurat_tell($1, $2, $3, $4, $5::text[]::numeric[], $6, CASE WHEN patience IS NOT NULL THEN $7::bigint END)";

const BALANCES: &str =
    "SELECT verdict, clock, spents::text[], helds::text[], resets FROM ziggurat_balances($1, $2, $3)";

/// How often a question is asked.
const ROUNDS: usize = 5;

/// How many holds one statement ends.
const PORTION: usize = 500;

/// How many holds one statement posts that have expired.
const EXPIRED: i32 = 250;

/// In microseconds.
const CENTURY: i64 = 3_155_760_000_000_000;

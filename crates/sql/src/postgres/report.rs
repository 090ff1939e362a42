//! What is read for reports, and deleted when it is old.

use std::time::SystemTime;

use sqlx::{Row, postgres::PgRow, query};
use ziggurat_budget::{Flags, HoldId};
use ziggurat_core::{Account, Usd};

use super::{
    PostgresLedger,
    accounts::{account, key, usd},
    statement::Repeat,
};
use crate::{
    StoreError,
    error::BoxError,
    record::flags_of,
    time::{micros, time_of},
};

/// A posting, as it is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedPosting {
    /// Its number: later ones have higher numbers, but for those that were posted at the same moment.
    pub number: i64,
    /// The hold that ended.
    pub id: HoldId,
    /// The call it was part of.
    pub call: HoldId,
    /// When, by the clock of the node that settled it.
    pub at: SystemTime,
    /// When, by the database's clock.
    pub posted_at: SystemTime,
    /// How much was set aside at last.
    pub held: Usd,
    /// How much was charged.
    pub amount: Usd,
    /// What is to be known of it.
    pub flags: Flags,
    /// What had been posted as unreconciled, before somebody settled it.
    pub unreconciled: Option<Usd>,
    /// When that was, by the database's clock.
    pub corrected_at: Option<SystemTime>,
    /// Where it was posted, and under which bucket of the account's window.
    pub lines: Vec<(Account, i64)>,
}

/// What was ever posted to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Total {
    /// Its number.
    pub number: i64,
    /// Which.
    pub account: Account,
    /// How much, in all windows there were.
    pub amount: Usd,
    /// How much of it nobody has settled.
    pub unreconciled: Usd,
    /// How much is set aside now.
    pub held: Usd,
}

// ===== impl PostgresLedger =====

impl PostgresLedger {
    /// Postings with a number above `after`, from the lowest; at most so many. With an account, those to it alone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn postings(
        &self,
        account: Option<&Account>,
        after: i64,
        most: u32,
    ) -> Result<Vec<SavedPosting>, StoreError> {
        let key = account.map(key);
        let statement = || query(POSTINGS).bind(after).bind(i64::from(most)).bind(&key);
        let rows = self.pool.rows(Repeat::Same, statement).await.map_err(failed)?;
        let mut found = Vec::<SavedPosting>::new();
        for row in &rows {
            let number = row.try_get(0).map_err(failed)?;
            if found.last().is_none_or(|last| last.number != number) {
                found.push(posting(row, number).map_err(StoreError::Database)?);
            }
            if let (Some(line), Some(posting)) = (line(row).map_err(failed)?, found.last_mut()) {
                posting.lines.push(line);
            }
        }
        Ok(found)
    }

    /// What was ever posted to accounts with a number above `after`, from the lowest; at most so many.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn totals(&self, after: i64, most: u32) -> Result<Vec<Total>, StoreError> {
        self.read_totals(None, after, most).await
    }

    /// What was ever posted to an account; `None` when it is not known.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn total(&self, account: &Account) -> Result<Option<Total>, StoreError> {
        Ok(self.read_totals(Some(key(account)), 0, 1).await?.pop())
    }

    async fn read_totals(
        &self,
        key: Option<Vec<u8>>,
        after: i64,
        most: u32,
    ) -> Result<Vec<Total>, StoreError> {
        let statement = || query(TOTALS).bind(after).bind(i64::from(most)).bind(&key);
        let rows = self.pool.rows(Repeat::Same, statement).await.map_err(failed)?;
        rows.iter().filter_map(|row| total(row).map_err(failed).transpose()).collect()
    }

    /// Deletes postings that are older, and buckets that count no more; what they sum up to stays with their accounts. Then accounts of which
    /// nothing is left and that nobody has asked for since, with their sums: those of windows that have passed, as an end user's that did
    /// not come back. The postings of the last day stay, as repeated ids are known by them. Gives how many rows there were.
    ///
    /// # Errors
    /// [`StoreError::Database`]: some may be deleted.
    pub async fn prune(&self, older_than: SystemTime) -> Result<u64, StoreError> {
        let mut pruned = 0;
        for function in ["SELECT ziggurat_prune($1, $2, $3)", "SELECT ziggurat_prune_accounts($1, $2, $3)"] {
            loop {
                let statement = || query(function).bind(micros(older_than)).bind(PORTION).bind(self.told());
                let rows = self.pool.rows(Repeat::Same, statement).await.map_err(failed)?;
                let many: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(failed)?;
                if many == 0 {
                    break;
                }
                pruned += many.unsigned_abs();
            }
        }
        Ok(pruned)
    }
}

fn posting(row: &PgRow, number: i64) -> Result<SavedPosting, BoxError> {
    let unreconciled: Option<&str> = row.try_get(8)?;
    let corrected_at: Option<i64> = row.try_get(9)?;
    Ok(SavedPosting {
        number,
        id: hold(row, 1)?,
        call: hold(row, 2)?,
        at: time_of(row.try_get(3)?),
        posted_at: time_of(row.try_get(4)?),
        held: usd(row.try_get(5)?),
        amount: usd(row.try_get(6)?),
        flags: flags_of(u16::try_from(row.try_get::<i32, _>(7)?)?),
        unreconciled: unreconciled.map(usd),
        corrected_at: corrected_at.map(time_of),
        lines: Vec::new(),
    })
}

fn hold(row: &PgRow, column: usize) -> Result<HoldId, BoxError> {
    Ok(HoldId(u128::from_be_bytes(row.try_get::<&[u8], _>(column)?.try_into()?)))
}

/// The line of a row that has one. What a newer version counts by is left out.
fn line(row: &PgRow) -> Result<Option<(Account, i64)>, sqlx::Error> {
    let Some(bucket) = row.try_get(10)? else { return Ok(None) };
    let account = account(row.try_get(11)?, row.try_get(12)?, row.try_get(13)?, row.try_get(14)?);
    Ok(account.map(|account| (account, bucket)))
}

fn total(row: &PgRow) -> Result<Option<Total>, sqlx::Error> {
    let (number, amount, unreconciled) = (row.try_get(0)?, usd(row.try_get(1)?), usd(row.try_get(2)?));
    let held = usd(row.try_get(3)?);
    let account = account(row.try_get(4)?, row.try_get(5)?, row.try_get(6)?, row.try_get(7)?);
    Ok(account.map(|account| Total { number, account, amount, unreconciled, held }))
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::Database(error.into())
}

const POSTINGS: &str = "SELECT p.id, p.hold, p.call, p.at, p.posted_at, p.held::text, p.amount::text, p.flags, \
         p.unreconciled::text, p.corrected_at, l.bucket, a.kind, a.scope, a.models, a.period \
     FROM ( \
         SELECT p.* FROM posting p \
         WHERE p.id > $1 AND ($3 IS NULL OR EXISTS ( \
             SELECT 1 FROM posting_line l JOIN account a ON a.id = l.account WHERE l.posting = p.id AND a.key = $3 \
         )) \
         ORDER BY p.id LIMIT $2 \
     ) p \
     LEFT JOIN posting_line l ON l.posting = p.id LEFT JOIN account a ON a.id = l.account \
     ORDER BY p.id, l.account";

const TOTALS: &str = "SELECT a.id, (a.past + s.amount)::text, (a.past_unreconciled + s.unreconciled)::text, a.held::text, \
         a.kind, a.scope, a.models, a.period \
     FROM account a \
     CROSS JOIN LATERAL ( \
         SELECT coalesce(sum(amount), 0) AS amount, coalesce(sum(unreconciled), 0) AS unreconciled \
         FROM spent WHERE account = a.id \
     ) s \
     WHERE a.id > $1 AND ($3 IS NULL OR a.key = $3) \
     ORDER BY a.id LIMIT $2";

/// How many rows one statement deletes.
const PORTION: i32 = 1_000;

//! What is forgotten: postings by their time, sums when they count in no window any more.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sqlx::{Connection, Row, SqliteConnection};
use ziggurat_budget::calendar;

use crate::{
    db::{Db, JsonRows},
    time::time_of,
};

/// Which buckets counted at one time.
pub(crate) struct Windows {
    at: i64,
    /// The first that did, by the name of the period; `None` where the name does not say.
    oldest: HashMap<String, Option<i64>>,
}

// ===== impl Windows =====

impl Windows {
    pub(crate) fn at(at: i64) -> Self {
        Self { at, oldest: HashMap::new() }
    }

    /// Whether a bucket counted in a window of that name, or counts for ever.
    pub(crate) fn have(&mut self, period: &str, bucket: i64) -> bool {
        if bucket == 0 {
            return true;
        }
        let oldest = match self.oldest.get(period) {
            Some(oldest) => *oldest,
            None => {
                let oldest = calendar::oldest_bucket(period, time_of(self.at));
                self.oldest.insert(period.to_owned(), oldest);
                oldest
            }
        };
        oldest.is_some_and(|oldest| bucket >= oldest)
    }
}

// ===== pruning =====

impl Db {
    /// Deletes some of what is older; gives how much it was, which is nothing when all of it is gone.
    pub(crate) async fn prune(&mut self, before: i64) -> Result<u64, sqlx::Error> {
        let mut tx = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut deleted = prune_sums(&mut tx, before).await?;
        for sql in PRUNE {
            let query = sqlx::query(sql).bind(before).bind(PRUNED_AT_ONCE);
            deleted += query.execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        self.numbers.clear();
        Ok(deleted)
    }
}

/// Deletes sums into which nothing was posted since, and that did not count then: windows only go on.
async fn prune_sums(tx: &mut SqliteConnection, before: i64) -> Result<u64, sqlx::Error> {
    let mut rows = sqlx::query(
        "SELECT s.account, s.bucket, a.period FROM spent s JOIN account a ON a.id = s.account
         WHERE s.at < ?1 AND s.bucket != 0",
    )
    .bind(before)
    .fetch(&mut *tx);
    let (mut windows, mut gone, mut left) = (Windows::at(before), JsonRows::default(), PRUNED_AT_ONCE);
    while left > 0
        && let Some(row) = rows.try_next().await?
    {
        let (account, bucket) = (row.try_get(0)?, row.try_get(1)?);
        if !windows.have(row.try_get(2)?, bucket) {
            gone.push(&[account, bucket]);
            left -= 1;
        }
    }
    drop(rows);
    let deleted = sqlx::query(
        "DELETE FROM spent WHERE (account, bucket) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))",
    )
    .bind(gone.finish())
    .execute(tx)
    .await?;
    Ok(deleted.rows_affected())
}

/// In this order, as lines refer to postings, and both to accounts.
const PRUNE: [&str; 3] = [
    "DELETE FROM posting_line WHERE posting IN (SELECT id FROM posting WHERE at < ?1 ORDER BY at, id LIMIT ?2)",
    "DELETE FROM posting WHERE id IN (SELECT id FROM posting WHERE at < ?1 ORDER BY at, id LIMIT ?2)",
    "DELETE FROM account WHERE ?1 = ?1 AND id IN
       (SELECT id FROM account a WHERE NOT EXISTS (SELECT 1 FROM spent WHERE account = a.id)
          AND NOT EXISTS (SELECT 1 FROM posting_line WHERE account = a.id) LIMIT ?2)",
];
const PRUNED_AT_ONCE: u32 = 2_000;

//! The database: schema, batches of postings, balances.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::TryStreamExt;
use sqlx::{
    Connection, Row, SqliteConnection,
    migrate::MigrateError,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};
use ziggurat_budget::{HoldId, RecoveredAccount};
use ziggurat_core::{Account, Scope, ScopeKind, Usd};

use crate::{
    error::{BoxError, OpenError},
    holds::Entry,
    journal::SavedPosting,
    prune::Windows,
    record::{self, Kind},
    schema,
    time::{micros, time_of},
};

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Db {
    pub(crate) connection: SqliteConnection,
    /// Accounts that have a number.
    pub(crate) numbers: HashMap<Arc<Account>, i64>,
}

/// Where a database is, and how it is opened.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    /// For tests: how many pages it may have.
    pub(crate) most_pages: Option<u32>,
}

// ===== opening =====

impl At {
    pub(crate) async fn connect(&self) -> Result<Db, sqlx::Error> {
        let mut options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A slot is freed behind a commit, which therefore must be on the disk.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(self.busy_timeout)
            .foreign_keys(true);
        if let Some(pages) = self.most_pages {
            options = options.pragma("max_page_count", pages.to_string());
        }
        let connection = SqliteConnection::connect_with(&options).await?;
        Ok(Db { connection, numbers: HashMap::new() })
    }
}

impl Db {
    /// Opens a database and brings its schema up to date.
    pub(crate) async fn open(at: &At) -> Result<Self, OpenError> {
        let mut db = at.connect().await.map_err(|error| unusable(&at.path, error))?;
        match schema::migrate(&mut db.connection).await {
            Ok(()) => Ok(db),
            Err(MigrateError::VersionMissing(found)) => {
                Err(OpenError::Newer { path: at.path.clone(), found, known: schema::KNOWN })
            }
            Err(MigrateError::VersionMismatch(version)) => Err(OpenError::Corrupt {
                path: at.path.clone(),
                what: format!("its schema version {version} is not the one of this name"),
            }),
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                Err(unusable(&at.path, error))
            }
            Err(error) => Err(OpenError::Database { path: at.path.clone(), source: error.into() }),
        }
    }

    /// The mark that the file of holds shares: the database's own, else `theirs`, else a new one.
    pub(crate) async fn pair(&mut self, theirs: Option<[u8; 16]>) -> Result<[u8; 16], BoxError> {
        let known: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT pair FROM journal").fetch_optional(&mut self.connection).await?;
        let pair = match known {
            Some(known) => known,
            None => {
                sqlx::query_scalar(
                    "INSERT INTO journal (pair) VALUES (coalesce(?1, randomblob(16))) RETURNING pair",
                )
                .bind(theirs.map(Vec::from))
                .fetch_one(&mut self.connection)
                .await?
            }
        };
        pair.try_into().map_err(|_| "the mark of the journal is not 16 bytes".into())
    }

    /// What was posted in buckets that counted for their accounts at that time, or into which something was posted since.
    pub(crate) async fn balances(&mut self, since: i64) -> Result<Vec<RecoveredAccount>, BoxError> {
        let mut rows = sqlx::query(
            "SELECT s.account, s.bucket, s.dollars, s.pico, a.kind, a.scope, a.models, a.period, s.at
             FROM spent s JOIN account a ON a.id = s.account
             WHERE s.dollars != 0 OR s.pico != 0 ORDER BY s.account, s.bucket",
        )
        .fetch(&mut self.connection);
        let (mut found, mut last) = (Vec::<RecoveredAccount>::new(), None);
        let mut windows = Windows::at(since);
        while let Some(row) = rows.try_next().await? {
            let number: i64 = row.try_get(0)?;
            let bucket = (row.try_get(1)?, amount(&row, 2)?);
            if row.try_get::<i64, _>(8)? < since && !windows.have(row.try_get(7)?, bucket.0) {
                continue;
            }
            match found.last_mut().filter(|_| last == Some(number)) {
                Some(account) => account.buckets.push(bucket),
                None => found.push(RecoveredAccount::new(account(&row, 4)?, vec![bucket])),
            }
            last = Some(number);
        }
        Ok(found)
    }

    /// Whether a hold was posted.
    pub(crate) async fn has(&mut self, hold: HoldId) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM posting WHERE hold = ?1)")
            .bind(blob(hold))
            .fetch_one(&mut self.connection)
            .await
    }
}

// ===== saving =====

impl Db {
    /// Saves postings, each of them once however often it is given, in one transaction. Gives how many were there before.
    pub(crate) async fn save(&mut self, entries: &[Entry]) -> Result<usize, sqlx::Error> {
        let saved = self.try_save(entries, true).await;
        if saved.is_err() {
            // Some may be of rows that are no more.
            self.numbers.clear();
        }
        saved
    }

    /// For tests, all but the commit can be done.
    pub(crate) async fn try_save(&mut self, entries: &[Entry], commit: bool) -> Result<usize, sqlx::Error> {
        let Self { connection, numbers } = self;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let (corrections, entries): (Vec<_>, Vec<_>) =
            entries.iter().partition(|entry| entry.record.kind == Kind::Correction);
        let new = insert_postings(&mut tx, &entries).await?;
        if numbers.len() > MOST_NUMBERS {
            numbers.clear();
        }
        let mut lines = JsonRows::default();
        let mut sums = BTreeMap::<(i64, i64), (Usd, i64)>::new();
        for entry in &entries {
            // The second of two that are equal is as one that was there before.
            let Some(&posting) = new.get(&entry.record.id) else { continue };
            if posting.1 != entry.slot {
                continue;
            }
            for (line, (account, bucket)) in entry.lines.iter().enumerate() {
                let number = number_of(&mut tx, numbers, account).await?;
                lines.push(&[posting.0, line as i64, number, *bucket]);
                let sum = sums.entry((number, *bucket)).or_insert((Usd::ZERO, i64::MIN));
                *sum = (sum.0 + entry.record.amount(), sum.1.max(entry.record.at));
            }
        }
        insert_lines(&mut tx, lines).await?;
        add_sums(&mut tx, sums).await?;
        for entry in corrections {
            correct(&mut tx, numbers, entry).await?;
        }
        if commit {
            tx.commit().await?;
        }
        Ok(entries.len() - new.len())
    }
}

/// Inserts those that are not there yet; gives their numbers, and the slot each was taken from.
async fn insert_postings(
    tx: &mut SqliteConnection,
    entries: &[&Entry],
) -> Result<HashMap<u128, (i64, u32)>, sqlx::Error> {
    let mut rows = String::from("[");
    let mut slots = HashMap::new();
    for Entry { slot, record, .. } in entries {
        if slots.contains_key(&record.id) {
            continue;
        }
        slots.insert(record.id, *slot);
        let (held, amount) = (halves(record.held()), halves(record.amount()));
        let comma = if rows.len() > 1 { "," } else { "" };
        let _ = write!(
            rows,
            "{comma}[\"{:032x}\",\"{:032x}\",{},{},{},{},{},{}]",
            record.id, record.call, record.at, held.0, held.1, amount.0, amount.1, record.flags
        );
    }
    rows.push(']');
    let inserted = sqlx::query(
        "INSERT INTO posting (hold, call, at, held_dollars, held_pico, dollars, pico, flags)
         SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                value ->> 6, value ->> 7
         FROM json_each(?1) WHERE true ON CONFLICT (hold) DO NOTHING RETURNING id, hold",
    )
    .bind(rows)
    .fetch_all(tx)
    .await?;
    inserted
        .iter()
        .map(|row| {
            let hold = hold(row, 1)?.0;
            Ok((hold, (row.try_get(0)?, slots.get(&hold).copied().unwrap_or(u32::MAX))))
        })
        .collect()
}

/// Puts another amount, and other flags, in the place of those that were posted. Once or twice is the same.
async fn correct(
    tx: &mut SqliteConnection,
    numbers: &mut HashMap<Arc<Account>, i64>,
    entry: &Entry,
) -> Result<(), sqlx::Error> {
    let correction = &entry.record;
    let posting = sqlx::query("SELECT id, dollars, pico FROM posting WHERE hold = ?1")
        .bind(blob(correction.id()))
        .fetch_optional(&mut *tx)
        .await?;
    let (number, posted) = match posting {
        Some(posting) => (posting.try_get(0)?, amount(&posting, 1)?),
        None => (insert_pruned(tx, numbers, entry).await?, Usd::pico(correction.posted)),
    };
    let lines = sqlx::query(
        "SELECT s.account, s.bucket, s.dollars, s.pico FROM posting_line l
         JOIN spent s ON s.account = l.account AND s.bucket = l.bucket WHERE l.posting = ?1",
    )
    .bind(number)
    .fetch_all(&mut *tx)
    .await?;
    for line in &lines {
        let (dollars, pico) = halves(amount(line, 2)?.saturating_sub(posted) + correction.amount());
        sqlx::query("UPDATE spent SET dollars = ?1, pico = ?2 WHERE account = ?3 AND bucket = ?4")
            .bind(dollars)
            .bind(pico)
            .bind(line.try_get::<i64, _>(0)?)
            .bind(line.try_get::<i64, _>(1)?)
            .execute(&mut *tx)
            .await?;
    }
    let (dollars, pico) = halves(correction.amount());
    sqlx::query("UPDATE posting SET dollars = ?1, pico = ?2, flags = ?3 WHERE id = ?4")
        .bind(dollars)
        .bind(pico)
        .bind(i64::from(correction.flags))
        .bind(number)
        .execute(tx)
        .await?;
    Ok(())
}

/// Inserts a posting that was pruned once more, as of its correction, and gives its number. Sums that were not pruned know it still.
async fn insert_pruned(
    tx: &mut SqliteConnection,
    numbers: &mut HashMap<Arc<Account>, i64>,
    entry: &Entry,
) -> Result<i64, sqlx::Error> {
    let inserted = insert_postings(&mut *tx, &[entry]).await?;
    let (number, _) = inserted.get(&entry.record.id).copied().ok_or(sqlx::Error::RowNotFound)?;
    let mut lines = JsonRows::default();
    for (line, (account, bucket)) in entry.lines.iter().enumerate() {
        lines.push(&[number, line as i64, number_of(&mut *tx, numbers, account).await?, *bucket]);
    }
    insert_lines(tx, lines).await?;
    Ok(number)
}

async fn insert_lines(tx: &mut SqliteConnection, lines: JsonRows) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO posting_line (posting, line, account, bucket)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)",
    )
    .bind(lines.finish())
    .execute(tx)
    .await?;
    Ok(())
}

/// The number of an account, which it gets if it has none.
async fn number_of(
    tx: &mut SqliteConnection,
    numbers: &mut HashMap<Arc<Account>, i64>,
    account: &Arc<Account>,
) -> Result<i64, sqlx::Error> {
    if let Some(&number) = numbers.get(account) {
        return Ok(number);
    }
    let number = match find_account(tx, account).await? {
        Some(number) => number,
        None => {
            sqlx::query_scalar(
                "INSERT INTO account (kind, scope, models, period) VALUES (?1, ?2, ?3, ?4) RETURNING id",
            )
            .bind(account.scope.kind.name())
            .bind(&*account.scope.id)
            .bind(account.models.as_deref())
            .bind(&*account.period)
            .fetch_one(tx)
            .await?
        }
    };
    numbers.insert(Arc::clone(account), number);
    Ok(number)
}

async fn find_account(tx: &mut SqliteConnection, account: &Account) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM account WHERE kind = ?1 AND scope = ?2 AND models IS ?3 AND period = ?4",
    )
    .bind(account.scope.kind.name())
    .bind(&*account.scope.id)
    .bind(account.models.as_deref())
    .bind(&*account.period)
    .fetch_optional(tx)
    .await
}

/// Adds to the buckets. The sums are made here, as SQL's turn into floats where they overflow.
async fn add_sums(
    tx: &mut SqliteConnection,
    mut sums: BTreeMap<(i64, i64), (Usd, i64)>,
) -> Result<(), sqlx::Error> {
    let mut keys = JsonRows::default();
    sums.keys().for_each(|&(account, bucket)| keys.push(&[account, bucket]));
    let known = sqlx::query(
        "SELECT s.account, s.bucket, s.dollars, s.pico, s.at FROM json_each(?1) j
         CROSS JOIN spent s ON s.account = j.value ->> 0 AND s.bucket = j.value ->> 1",
    )
    .bind(keys.finish())
    .fetch_all(&mut *tx)
    .await?;
    for row in &known {
        if let Some(sum) = sums.get_mut(&(row.try_get(0)?, row.try_get(1)?)) {
            *sum = (sum.0 + amount(row, 2)?, sum.1.max(row.try_get(4)?));
        }
    }
    let mut rows = JsonRows::default();
    for ((account, bucket), (sum, at)) in sums {
        let (dollars, pico) = halves(sum);
        rows.push(&[account, bucket, dollars, pico, at]);
    }
    sqlx::query(
        "INSERT INTO spent (account, bucket, dollars, pico, at)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1) WHERE true
         ON CONFLICT DO UPDATE SET dollars = excluded.dollars, pico = excluded.pico, at = excluded.at",
    )
    .bind(rows.finish())
    .execute(tx)
    .await?;
    Ok(())
}

// ===== reading =====

impl Db {
    pub(crate) async fn postings(&mut self, since: i64, most: u32) -> Result<Vec<SavedPosting>, BoxError> {
        let mut rows = sqlx::query(
            "SELECT p.id, p.hold, p.call, p.at, p.held_dollars, p.held_pico, p.dollars, p.pico, p.flags,
                    l.bucket, a.kind, a.scope, a.models, a.period
             FROM (SELECT * FROM posting WHERE at >= ?1 ORDER BY at, id LIMIT ?2) p
             LEFT JOIN posting_line l ON l.posting = p.id LEFT JOIN account a ON a.id = l.account
             ORDER BY p.at, p.id, l.line",
        )
        .bind(since)
        .bind(most)
        .fetch(&mut self.connection);
        let (mut found, mut last) = (Vec::<SavedPosting>::new(), None);
        while let Some(row) = rows.try_next().await? {
            let number: i64 = row.try_get(0)?;
            if last != Some(number) {
                found.push(SavedPosting {
                    id: hold(&row, 1)?,
                    call: hold(&row, 2)?,
                    at: time_of(row.try_get(3)?),
                    held: amount(&row, 4)?,
                    amount: amount(&row, 6)?,
                    flags: record::flags_of(u16::try_from(row.try_get::<i64, _>(8)?)?),
                    lines: Vec::new(),
                });
                last = Some(number);
            }
            if let (Some(bucket), Some(posting)) = (row.try_get(9)?, found.last_mut()) {
                posting.lines.push((account(&row, 10)?, bucket));
            }
        }
        Ok(found)
    }

    pub(crate) async fn total(&mut self, account: &Account) -> Result<Usd, BoxError> {
        let Some(number) = find_account(&mut self.connection, account).await? else { return Ok(Usd::ZERO) };
        let mut rows = sqlx::query("SELECT dollars, pico FROM spent WHERE account = ?1")
            .bind(number)
            .fetch(&mut self.connection);
        let mut sum = Usd::ZERO;
        while let Some(row) = rows.try_next().await? {
            sum += amount(&row, 0)?;
        }
        Ok(sum)
    }

    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }
}

// ===== values =====

/// Rows of integers, for SQL to read.
#[derive(Default)]
pub(crate) struct JsonRows(String);

impl JsonRows {
    pub(crate) fn push(&mut self, row: &[i64]) {
        self.0.push_str(if self.0.is_empty() { "[[" } else { ",[" });
        for (at, number) in row.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(self.0, "{comma}{number}");
        }
        self.0.push(']');
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "[]" } else { "]" });
        self.0
    }
}

/// Whole dollars and the rest. There are not as many dollars as do not fit.
fn halves(amount: Usd) -> (i64, i64) {
    let (dollars, pico) = (amount.as_pico() / PICO_PER_DOLLAR, amount.as_pico() % PICO_PER_DOLLAR);
    match i64::try_from(dollars) {
        Ok(dollars) => (dollars, pico as i64),
        Err(_) => (i64::MAX, PICO_PER_DOLLAR as i64 - 1),
    }
}

fn amount(row: &SqliteRow, at: usize) -> Result<Usd, sqlx::Error> {
    let (dollars, pico): (i64, i64) = (row.try_get(at)?, row.try_get(at + 1)?);
    match (u64::try_from(dollars), u64::try_from(pico)) {
        (Ok(dollars), Ok(pico)) => Ok(Usd::dollars(dollars) + Usd::pico(pico.into())),
        _ => Err(sqlx::Error::Decode("an amount is below zero".into())),
    }
}

fn account(row: &SqliteRow, at: usize) -> Result<Account, BoxError> {
    let kind: &str = row.try_get(at)?;
    let kind = ScopeKind::of_name(kind).ok_or_else(|| format!("there is no kind of scope {kind:?}"))?;
    let (scope, models, period): (&str, Option<&str>, &str) =
        (row.try_get(at + 1)?, row.try_get(at + 2)?, row.try_get(at + 3)?);
    Ok(Account::new(Scope::new(kind, scope), models.map(Arc::from), period))
}

fn hold(row: &SqliteRow, at: usize) -> Result<HoldId, sqlx::Error> {
    let bytes: &[u8] = row.try_get(at)?;
    let bytes = bytes.try_into().map_err(|_| sqlx::Error::Decode("an id is not 16 bytes".into()))?;
    Ok(HoldId(u128::from_be_bytes(bytes)))
}

fn blob(hold: HoldId) -> Vec<u8> {
    hold.0.to_be_bytes().into()
}

/// Tells a damaged file from one that cannot be reached.
pub(crate) fn unusable(path: &Path, error: sqlx::Error) -> OpenError {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    match code.as_ref() {
        // SQLITE_CORRUPT and its kinds, SQLITE_NOTADB.
        "11" | "26" | "267" | "523" | "779" => {
            OpenError::Corrupt { path: path.to_owned(), what: error.to_string() }
        }
        _ => OpenError::Database { path: path.to_owned(), source: error.into() },
    }
}

pub(crate) fn since(now: std::time::SystemTime, back: Duration) -> i64 {
    micros(now).saturating_sub(i64::try_from(back.as_micros()).unwrap_or(i64::MAX))
}

/// Accounts whose number is remembered.
const MOST_NUMBERS: usize = 65_536;

const PICO_PER_DOLLAR: u128 = 1_000_000_000_000;

//! What is done with every entity alike.

use std::time::SystemTime;

use super::{
    Directory, DirectoryError, Key, Listed, Page,
    store::{Tx, Value, within},
    stored::{Stored, prepare, read, texts, unreadable, write},
};
use crate::time::micros;

impl Directory {
    pub(super) async fn insert<T: Stored>(&self, mut entity: T) -> Result<T, DirectoryError> {
        let now = self.now();
        prepare(&mut entity, now, now)?;
        let document = write(&entity)?;
        self.in_time(async {
            let mut tx = self.0.store.begin().await?;
            let inserted = insert(&mut tx, &entity, now, &document).await;
            tx.end(inserted).await
        })
        .await?;
        Ok(entity)
    }

    pub(super) async fn get<T: Stored>(&self, ids: &[&str]) -> Result<T, DirectoryError> {
        self.one(T::SQL.get, ids).await
    }

    /// The document that a statement finds.
    pub(super) async fn one<T: Stored>(&self, sql: &'static str, ids: &[&str]) -> Result<T, DirectoryError> {
        let values = values(ids)?;
        let rows = self.in_time(self.0.store.rows(sql, &values)).await?;
        let row = rows.first().ok_or(DirectoryError::NotFound)?;
        read(row, 0)?.ok_or_else(unreadable)
    }

    /// Changes what is stored, under a lock of its row.
    pub(super) async fn update<T: Stored>(
        &self,
        ids: &[&str],
        change: impl FnOnce(&mut T) -> Result<(), DirectoryError> + Send,
    ) -> Result<T, DirectoryError> {
        let values = values(ids)?;
        self.in_time(async {
            let mut tx = self.0.store.begin().await?;
            let updated = update(&mut tx, &values, self.now(), change).await;
            tx.end(updated).await
        })
        .await
    }

    /// Deletes what is stored, and what the statements before find by the same ids.
    pub(super) async fn delete<T: Stored>(
        &self,
        ids: &[&str],
        before: &[&'static str],
    ) -> Result<(), DirectoryError> {
        let values = values(ids)?;
        self.in_time(async {
            let mut tx = self.0.store.begin().await?;
            let deleted = delete::<T>(&mut tx, &values, before).await;
            tx.end(deleted).await
        })
        .await
    }

    /// A part of what is stored, as far as it is what is stated.
    pub(super) async fn list<T: Stored>(
        &self,
        [list, count]: [&'static str; 2],
        filter: &[Option<&str>],
        page: Page,
    ) -> Result<Listed<T>, DirectoryError> {
        // What cannot be stored is not there, and PostgreSQL cannot even be asked for it.
        if filter.iter().flatten().any(|text| text.contains('\0')) {
            return Ok(Listed { items: Vec::new(), total: 0 });
        }
        let mut values: Vec<_> = filter.iter().map(|text| Value::Text(*text)).collect();
        let part = async {
            let counted = self.0.store.rows(count, &values).await?;
            values.push(Value::Number(page.limit.min(MOST_LISTED).into()));
            values.push(Value::Number(i64::try_from(page.offset).unwrap_or(i64::MAX)));
            let rows = self.0.store.rows(list, &values).await?;
            Ok((counted, rows))
        };
        let (counted, rows) = self.in_time(part).await?;
        let total = counted.first().ok_or_else(unreadable)?.number(0)?;
        let items = rows.iter().map(|row| read(row, 0)?.ok_or_else(unreadable)).collect::<Result<_, _>>()?;
        Ok(Listed { items, total: u64::try_from(total).unwrap_or(0) })
    }

    /// Gives a key another hash, with what else is changed of it.
    pub(super) async fn rehash(
        &self,
        old: &str,
        change: impl FnOnce(&mut Key) -> Result<(), DirectoryError> + Send,
    ) -> Result<Key, DirectoryError> {
        self.in_time(async {
            let mut tx = self.0.store.begin().await?;
            let changed = rehash(&mut tx, old, self.now(), change).await;
            tx.end(changed).await
        })
        .await
    }

    fn now(&self) -> SystemTime {
        self.0.options.clock.now()
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, DirectoryError>>,
    ) -> Result<T, DirectoryError> {
        within(self.0.options.admin_deadline, answer).await
    }
}

async fn insert<T: Stored>(
    tx: &mut Tx,
    entity: &T,
    now: SystemTime,
    document: &str,
) -> Result<(), DirectoryError> {
    known(tx, entity).await?;
    let columns = entity.columns();
    let mut values = texts(&columns);
    values.extend([Value::Number(micros(now)), Value::Text(Some(document))]);
    tx.run(T::SQL.insert, &values).await?;
    Ok(())
}

async fn update<T: Stored>(
    tx: &mut Tx,
    ids: &[Value<'_>],
    now: SystemTime,
    change: impl FnOnce(&mut T) -> Result<(), DirectoryError> + Send,
) -> Result<T, DirectoryError> {
    let row = tx.row(T::SQL.lock, ids).await?.ok_or(DirectoryError::NotFound)?;
    let mut before: T = read(&row, 0)?.ok_or_else(unreadable)?;
    let made = before.times().0.unwrap_or(now);
    let mut entity: T = read(&row, 0)?.ok_or_else(unreadable)?;
    change(&mut entity)?;
    if !entity.is_same(&before) {
        return Err(DirectoryError::invalid("id", "cannot be changed"));
    }
    prepare(&mut entity, made, now)?;
    known(tx, &entity).await?;
    let document = write(&entity)?;
    let columns = entity.columns();
    let mut values = texts(&columns);
    values.push(Value::Text(Some(&document)));
    tx.run(T::SQL.update, &values).await?;
    Ok(entity)
}

async fn delete<T: Stored>(
    tx: &mut Tx,
    ids: &[Value<'_>],
    before: &[&'static str],
) -> Result<(), DirectoryError> {
    for sql in before {
        tx.run(sql, ids).await?;
    }
    match tx.run(T::SQL.delete, ids).await? {
        0 => Err(DirectoryError::NotFound),
        _ => Ok(()),
    }
}

async fn rehash(
    tx: &mut Tx,
    old: &str,
    now: SystemTime,
    change: impl FnOnce(&mut Key) -> Result<(), DirectoryError> + Send,
) -> Result<Key, DirectoryError> {
    let old = Value::Text(Some(old));
    let row = tx.row(Key::SQL.lock, &[old]).await?.ok_or(DirectoryError::NotFound)?;
    let mut key: Key = read(&row, 0)?.ok_or_else(unreadable)?;
    let (id, made) = (key.id.clone(), key.created_at.unwrap_or(now));
    change(&mut key)?;
    if key.id != id {
        return Err(DirectoryError::invalid("id", "cannot be changed"));
    }
    prepare(&mut key, made, now)?;
    known(tx, &key).await?;
    let (hash, document) = (key.hash.to_string(), write(&key)?);
    // A secret that was another key's once is not to be one again.
    let taken = [Value::Text(Some(&hash)), Value::Text(Some(&key.id))];
    if tx.row(TAKEN, &taken).await?.is_some() {
        return Err(DirectoryError::Conflict("key"));
    }
    tx.run(REHASH, &[old, Value::Text(Some(&hash))]).await?;
    let columns = key.columns();
    let mut values = texts(&columns);
    values.push(Value::Text(Some(&document)));
    tx.run(Key::SQL.update, &values).await?;
    Ok(key)
}

/// Sees to it that what an entity names is there.
async fn known<T: Stored>(tx: &mut Tx, entity: &T) -> Result<(), DirectoryError> {
    let (budget, team) = entity.names();
    for (field, id, sql) in [
        ("budget", budget, "SELECT 1 FROM budget_template WHERE id = $1"),
        ("team", team, "SELECT 1 FROM team WHERE id = $1"),
    ] {
        if id.is_some() && tx.row(sql, &[Value::Text(id)]).await?.is_none() {
            return Err(DirectoryError::invalid(field, "is not known"));
        }
    }
    Ok(())
}

/// Ids as they are bound. What cannot be stored is not there, and PostgreSQL cannot even be asked for it.
fn values<'a>(ids: &[&'a str]) -> Result<Vec<Value<'a>>, DirectoryError> {
    match ids.iter().any(|id| id.contains('\0')) {
        true => Err(DirectoryError::NotFound),
        false => Ok(ids.iter().map(|id| Value::Text(Some(id))).collect()),
    }
}

const TAKEN: &str = "SELECT 1 FROM api_key WHERE id = $1 AND id != $2";
const REHASH: &str = "UPDATE api_key SET hash = $2 WHERE hash = $1";
const MOST_LISTED: u32 = 1_000;

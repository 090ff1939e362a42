//! Keys: added, changed, regenerated, listed.

use ziggurat_auth::KeyHash;

use super::{Directory, DirectoryError, Key, KeyFilter, Listed, Page, stored};

impl Directory {
    /// Adds a key, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already of its hash or alias, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_key(&self, mut key: Key) -> Result<Key, DirectoryError> {
        key.id = key.hash.to_string();
        key.expires_at = key.expires_at.map(stored::kept);
        self.insert(key).await
    }

    /// The key of that hash.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_key(&self, hash: &KeyHash) -> Result<Key, DirectoryError> {
        self.get(&[&hash.to_string()]).await
    }

    /// The key of that alias.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_key_by_alias(&self, alias: &str) -> Result<Key, DirectoryError> {
        self.one("SELECT document FROM api_key WHERE alias = $1", &[alias]).await
    }

    /// Reads a key, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_key<F>(&self, hash: &KeyHash, change: F) -> Result<Key, DirectoryError>
    where
        F: FnOnce(&mut Key) -> Result<(), DirectoryError> + Send,
    {
        self.update(&[&hash.to_string()], |key: &mut Key| {
            change(key)?;
            key.expires_at = key.expires_at.map(stored::kept);
            Ok(())
        })
        .await
    }

    /// Deletes a key. Its account in the ledger stays.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn delete_key(&self, hash: &KeyHash) -> Result<(), DirectoryError> {
        self.delete::<Key>(&[&hash.to_string()], &[]).await
    }

    /// Lists keys.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list_keys(&self, filter: &KeyFilter, page: Page) -> Result<Listed<Key>, DirectoryError> {
        self.list(
            KEYS,
            &[
                filter.user.as_deref(),
                filter.team.as_deref(),
                filter.organisation.as_deref(),
                filter.alias.as_deref(),
                filter.budget.as_deref(),
            ],
            page,
        )
        .await
    }

    /// Blocks a key, or lets it in again.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn set_key_blocked(&self, hash: &KeyHash, blocked: bool) -> Result<Key, DirectoryError> {
        self.update(&[&hash.to_string()], |key: &mut Key| {
            key.blocked = blocked;
            Ok(())
        })
        .await
    }

    /// Puts another secret in the place of a key's, in one step: the old one is no more, and all else stays, its [`Key::id`] and so what it spent too.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, [`DirectoryError::Conflict`] when the new one is or was another's.
    pub async fn regenerate(&self, old: &KeyHash, new: KeyHash, name: &str) -> Result<Key, DirectoryError> {
        self.regenerate_with(old, new, name, |_| Ok(())).await
    }

    /// The same, and changes the key in the same step: both are done, or neither.
    ///
    /// # Errors
    /// As [`Directory::regenerate`], and as when a key is changed.
    pub async fn regenerate_with<F>(
        &self,
        old: &KeyHash,
        new: KeyHash,
        name: &str,
        change: F,
    ) -> Result<Key, DirectoryError>
    where
        F: FnOnce(&mut Key) -> Result<(), DirectoryError> + Send,
    {
        self.rehash(&old.to_string(), |key| {
            change(key)?;
            key.expires_at = key.expires_at.map(stored::kept);
            key.hash = new;
            name.clone_into(&mut key.name);
            Ok(())
        })
        .await
    }
}

const KEYS: [&str; 2] = [
    "SELECT document FROM api_key WHERE (user_id = $1 OR $1 IS NULL)
       AND (team_id = $2 OR $2 IS NULL)
       AND (organisation = $3 OR $3 IS NULL)
       AND (alias = $4 OR $4 IS NULL)
       AND (budget_id = $5 OR $5 IS NULL)
     ORDER BY created_at, hash LIMIT $6 OFFSET $7",
    "SELECT count(*) FROM api_key WHERE (user_id = $1 OR $1 IS NULL)
       AND (team_id = $2 OR $2 IS NULL)
       AND (organisation = $3 OR $3 IS NULL)
       AND (alias = $4 OR $4 IS NULL)
       AND (budget_id = $5 OR $5 IS NULL)",
];

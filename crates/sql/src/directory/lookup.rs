//! What the path of a call asks: one query each, under a deadline.

use ziggurat_auth::{CustomerRecord, KeyHash, KeyRecord, KeyStore, Owner};
use ziggurat_core::{Asked, Away};

use super::{
    Directory, DirectoryError, Key, check, resolve,
    store::{Value, within},
    stored::read,
};

/// Keys, and the end users that calls name. A team, a user and templates that change apply with the next look-up.
impl KeyStore for Directory {
    fn key<'a>(&'a self, hash: &'a KeyHash) -> Asked<'a, Option<KeyRecord>> {
        Box::pin(async move { self.find_key(hash).await.map_err(away) })
    }

    fn customer<'a>(&'a self, id: &'a str) -> Asked<'a, Option<CustomerRecord>> {
        Box::pin(async move { self.find_customer(id).await.map_err(away) })
    }

    fn owner<'a>(&'a self, owner: &'a Owner) -> Asked<'a, KeyRecord> {
        let found = within(self.0.options.lookup_deadline, self.find_owner(owner));
        Box::pin(async move { found.await.map_err(away) })
    }
}

impl Directory {
    async fn find_key(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, DirectoryError> {
        let options = &self.0.options;
        let hash = hash.to_string();
        let values = [Value::Text(Some(&hash))];
        let rows = within(options.lookup_deadline, self.0.store.rows(KEY, &values)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(key) = read(row, 0)? else { return Ok(None) };
        let found = resolve::Found {
            key,
            team: read(row, 1)?,
            user: read(row, 2)?,
            member: read(row, 3)?,
            key_budget: read(row, 4)?,
            team_budget: read(row, 5)?,
            user_budget: read(row, 6)?,
            member_budget: read(row, 7)?,
        };
        resolve::key(found, options).map(Some)
    }

    /// One query for each team, until one is known.
    async fn find_owner(&self, owner: &Owner) -> Result<KeyRecord, DirectoryError> {
        // What cannot be stored is not known.
        let can_be = |id: &&str| check::text("id", id).is_ok();
        let user = owner.user.as_deref().filter(can_be);
        let teams = owner.teams.iter().map(|team| Some(&**team).filter(can_be));
        let mut found = resolve::Found::default();
        for team in teams.chain([None]) {
            let values = [Value::Text(team), Value::Text(user)];
            let rows = self.0.store.rows(OWNER, &values).await?;
            let Some(row) = rows.first() else { continue };
            let key = Key { user: user.map(str::to_owned), team: team.map(str::to_owned), ..Key::default() };
            found = resolve::Found {
                key,
                team: read(row, 0)?,
                user: read(row, 1)?,
                member: read(row, 2)?,
                key_budget: None,
                team_budget: read(row, 3)?,
                user_budget: read(row, 4)?,
                member_budget: read(row, 5)?,
            };
            if found.team.is_some() {
                break;
            }
        }
        resolve::owner(found, &self.0.options)
    }

    async fn find_customer(&self, id: &str) -> Result<Option<CustomerRecord>, DirectoryError> {
        let options = &self.0.options;
        if check::text("id", id).is_err() {
            // Nobody of that id can be known. Where all have a budget, nobody gets by without one.
            let mut record = CustomerRecord::default();
            record.blocked = true;
            return Ok(options.customer_budget.as_ref().map(|_| record));
        }
        let values = [Value::Text(Some(id)), Value::Text(options.customer_budget.as_deref())];
        let rows = within(options.lookup_deadline, self.0.store.rows(CUSTOMER, &values)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        resolve::customer(id, read(row, 0)?, read(row, 1)?, read(row, 2)?, options)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "stands behind `map_err`")]
fn away(error: DirectoryError) -> Away {
    Away::new(error.to_string())
}

const KEY: &str = "
    SELECT k.document, t.document, u.document, m.document, kb.document, tb.document, ub.document, mb.document
    FROM api_key k
    LEFT JOIN team t ON t.id = k.team_id
    LEFT JOIN app_user u ON u.id = k.user_id
    LEFT JOIN team_member m ON m.team_id = k.team_id AND m.user_id = k.user_id
    LEFT JOIN budget_template kb ON kb.id = k.budget_id
    LEFT JOIN budget_template tb ON tb.id = t.budget_id
    LEFT JOIN budget_template ub ON ub.id = u.budget_id
    LEFT JOIN budget_template mb ON mb.id = m.budget_id
    WHERE k.hash = $1";

const OWNER: &str = "
    SELECT t.document, u.document, m.document, tb.document, ub.document, mb.document
    FROM (SELECT CAST($1 AS TEXT) AS team_id, CAST($2 AS TEXT) AS user_id) named
    LEFT JOIN team t ON t.id = named.team_id
    LEFT JOIN app_user u ON u.id = named.user_id
    LEFT JOIN team_member m ON m.team_id = named.team_id AND m.user_id = named.user_id
    LEFT JOIN budget_template tb ON tb.id = t.budget_id
    LEFT JOIN budget_template ub ON ub.id = u.budget_id
    LEFT JOIN budget_template mb ON mb.id = m.budget_id";

const CUSTOMER: &str = "
    SELECT c.document, own.document, every.document
    FROM (SELECT CAST($1 AS TEXT) AS id) named
    LEFT JOIN customer c ON c.id = named.id
    LEFT JOIN budget_template own ON own.id = c.budget_id
    LEFT JOIN budget_template every ON every.id = $2";

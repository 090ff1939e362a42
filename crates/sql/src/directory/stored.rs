//! How each entity is stored: its statements, and the columns beside its document.

use std::{borrow::Cow, time::SystemTime};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    BudgetTemplate, Customer, DirectoryError, Key, Member, Team, User,
    check::Checked,
    store::{Row, Value},
};
use crate::time::{micros, time_of};

/// Something that has a table.
pub(super) trait Stored: Serialize + DeserializeOwned + Checked + Send + Sized {
    /// Its statements.
    const SQL: Statements;

    /// What it is found by, then its other columns, as `INSERT` and `UPDATE` take them.
    fn columns(&self) -> Columns<'_>;

    /// The template and the team that it names, which must be there.
    fn names(&self) -> (Option<&str>, Option<&str>);

    /// When it was made, and changed last.
    fn times(&mut self) -> (&mut Option<SystemTime>, &mut Option<SystemTime>);

    /// Whether both are of one identity, which no change may touch.
    fn is_same(&self, other: &Self) -> bool;
}

/// The columns of a row; `None` is NULL.
pub(super) type Columns<'a> = Vec<Option<Cow<'a, str>>>;

/// The statements of a table. Ids come first, other columns then; a document last.
pub(super) struct Statements {
    pub(super) insert: &'static str,
    pub(super) get: &'static str,
    /// Locks a row until the changes are made, and gives its document.
    pub(super) lock: &'static str,
    pub(super) update: &'static str,
    pub(super) delete: &'static str,
}

/// The document of an entity, read.
pub(super) fn read<T: DeserializeOwned>(row: &Row, at: usize) -> Result<Option<T>, DirectoryError> {
    let document = row.text(at)?;
    document.map(|text| serde_json::from_str(&text).map_err(|_| unreadable())).transpose()
}

/// The document of an entity, to be written.
pub(super) fn write<T: Serialize>(entity: &T) -> Result<String, DirectoryError> {
    serde_json::to_string(entity)
        .map_err(|_| DirectoryError::Other("a document cannot be written".to_owned()))
}

/// Checks what is to be stored, and cuts its times to what is kept of them.
pub(super) fn prepare<T: Stored>(
    entity: &mut T,
    made: SystemTime,
    now: SystemTime,
) -> Result<(), DirectoryError> {
    entity.check()?;
    let (made_at, changed_at) = entity.times();
    (*made_at, *changed_at) = (Some(kept(made)), Some(kept(now)));
    Ok(())
}

/// A time, to the microsecond.
pub(super) fn kept(at: SystemTime) -> SystemTime {
    time_of(micros(at))
}

pub(super) fn texts<'a>(columns: &'a [Option<Cow<'_, str>>]) -> Vec<Value<'a>> {
    columns.iter().map(|text| Value::Text(text.as_deref())).collect()
}

fn column(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(text))
}

fn maybe(text: Option<&String>) -> Option<Cow<'_, str>> {
    text.map(|text| Cow::Borrowed(text.as_str()))
}

pub(super) fn unreadable() -> DirectoryError {
    DirectoryError::Other("a stored document cannot be read".to_owned())
}

// ===== the entities =====

impl Stored for Key {
    const SQL: Statements = Statements {
        insert: "INSERT INTO api_key (hash, id, alias, user_id, team_id, organisation, budget_id, created_at, document, version)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)",
        get: "SELECT document FROM api_key WHERE hash = $1",
        lock: "UPDATE api_key SET version = version + 1 WHERE hash = $1 RETURNING document",
        update: "UPDATE api_key SET id = $2, alias = $3, user_id = $4, team_id = $5, organisation = $6, budget_id = $7,
                   document = $8 WHERE hash = $1",
        delete: "DELETE FROM api_key WHERE hash = $1",
    };

    fn columns(&self) -> Columns<'_> {
        vec![
            Some(self.hash.to_string().into()),
            column(&self.id),
            maybe(self.alias.as_ref()),
            maybe(self.user.as_ref()),
            maybe(self.team.as_ref()),
            maybe(self.organisation.as_ref()),
            maybe(self.budget.as_ref()),
        ]
    }

    fn names(&self) -> (Option<&str>, Option<&str>) {
        (self.budget.as_deref(), self.team.as_deref())
    }

    fn times(&mut self) -> (&mut Option<SystemTime>, &mut Option<SystemTime>) {
        (&mut self.created_at, &mut self.updated_at)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.hash == other.hash && self.id == other.id
    }
}

impl Stored for Team {
    const SQL: Statements = Statements {
        insert: "INSERT INTO team (id, alias, organisation, budget_id, created_at, document, version)
                 VALUES ($1, $2, $3, $4, $5, $6, 1)",
        get: "SELECT document FROM team WHERE id = $1",
        lock: "UPDATE team SET version = version + 1 WHERE id = $1 RETURNING document",
        update: "UPDATE team SET alias = $2, organisation = $3, budget_id = $4, document = $5 WHERE id = $1",
        delete: "DELETE FROM team WHERE id = $1",
    };

    fn columns(&self) -> Columns<'_> {
        vec![
            column(&self.id),
            maybe(self.alias.as_ref()),
            maybe(self.organisation.as_ref()),
            maybe(self.budget.as_ref()),
        ]
    }

    fn names(&self) -> (Option<&str>, Option<&str>) {
        (self.budget.as_deref(), None)
    }

    fn times(&mut self) -> (&mut Option<SystemTime>, &mut Option<SystemTime>) {
        (&mut self.created_at, &mut self.updated_at)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Stored for Member {
    const SQL: Statements = Statements {
        insert: "INSERT INTO team_member (team_id, user_id, budget_id, created_at, document, version)
                 VALUES ($1, $2, $3, $4, $5, 1)",
        get: "SELECT document FROM team_member WHERE team_id = $1 AND user_id = $2",
        lock: "UPDATE team_member SET version = version + 1 WHERE team_id = $1 AND user_id = $2 RETURNING document",
        update: "UPDATE team_member SET budget_id = $3, document = $4 WHERE team_id = $1 AND user_id = $2",
        delete: "DELETE FROM team_member WHERE team_id = $1 AND user_id = $2",
    };

    fn columns(&self) -> Columns<'_> {
        vec![column(&self.team), column(&self.user), maybe(self.budget.as_ref())]
    }

    fn names(&self) -> (Option<&str>, Option<&str>) {
        (self.budget.as_deref(), Some(&self.team))
    }

    fn times(&mut self) -> (&mut Option<SystemTime>, &mut Option<SystemTime>) {
        (&mut self.created_at, &mut self.updated_at)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.team == other.team && self.user == other.user
    }
}

impl Stored for User {
    const SQL: Statements = Statements {
        insert: "INSERT INTO app_user (id, email, role, budget_id, created_at, document, version)
                 VALUES ($1, $2, $3, $4, $5, $6, 1)",
        get: "SELECT document FROM app_user WHERE id = $1",
        lock: "UPDATE app_user SET version = version + 1 WHERE id = $1 RETURNING document",
        update: "UPDATE app_user SET email = $2, role = $3, budget_id = $4, document = $5 WHERE id = $1",
        delete: "DELETE FROM app_user WHERE id = $1",
    };

    fn columns(&self) -> Columns<'_> {
        vec![
            column(&self.id),
            maybe(self.email.as_ref()),
            maybe(self.role.as_ref()),
            maybe(self.budget.as_ref()),
        ]
    }

    fn names(&self) -> (Option<&str>, Option<&str>) {
        (self.budget.as_deref(), None)
    }

    fn times(&mut self) -> (&mut Option<SystemTime>, &mut Option<SystemTime>) {
        (&mut self.created_at, &mut self.updated_at)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Stored for Customer {
    const SQL: Statements = Statements {
        insert: "INSERT INTO customer (id, alias, budget_id, created_at, document, version)
                 VALUES ($1, $2, $3, $4, $5, 1)",
        get: "SELECT document FROM customer WHERE id = $1",
        lock: "UPDATE customer SET version = version + 1 WHERE id = $1 RETURNING document",
        update: "UPDATE customer SET alias = $2, budget_id = $3, document = $4 WHERE id = $1",
        delete: "DELETE FROM customer WHERE id = $1",
    };

    fn columns(&self) -> Columns<'_> {
        vec![column(&self.id), maybe(self.alias.as_ref()), maybe(self.budget.as_ref())]
    }

    fn names(&self) -> (Option<&str>, Option<&str>) {
        (self.budget.as_deref(), None)
    }

    fn times(&mut self) -> (&mut Option<SystemTime>, &mut Option<SystemTime>) {
        (&mut self.created_at, &mut self.updated_at)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Stored for BudgetTemplate {
    const SQL: Statements = Statements {
        insert: "INSERT INTO budget_template (id, created_at, document, version)
                 VALUES ($1, $2, $3, 1)",
        get: "SELECT document FROM budget_template WHERE id = $1",
        lock: "UPDATE budget_template SET version = version + 1 WHERE id = $1 RETURNING document",
        update: "UPDATE budget_template SET document = $2 WHERE id = $1",
        delete: "DELETE FROM budget_template WHERE id = $1",
    };

    fn columns(&self) -> Columns<'_> {
        vec![column(&self.id)]
    }

    fn names(&self) -> (Option<&str>, Option<&str>) {
        (None, None)
    }

    fn times(&mut self) -> (&mut Option<SystemTime>, &mut Option<SystemTime>) {
        (&mut self.created_at, &mut self.updated_at)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

//! Why a directory did not do what it was asked.

use std::{error::Error, fmt};

/// Why a directory did not do what it was asked; nothing was changed. No text of it holds a secret or what was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The database did not answer in time, or cannot be reached. Whether a change was made is not known when it was asked for one.
    Away(String),
    /// There is no such key, team, user, membership, end user or template.
    NotFound,
    /// There is one already, or others need it. Says what of it: `key`, `key_alias`, `team`, `user`, `member`, `customer`,
    /// `budget`, `budget in use`.
    Conflict(&'static str),
    /// A value cannot be.
    Invalid {
        /// Which: the path of the field, as `allowance.budget_duration`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The database was made by a newer version of this crate.
    Newer {
        /// The version of its schema.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// The database failed, or holds what cannot be read.
    Other(String),
}

impl DirectoryError {
    /// A value that cannot be.
    #[must_use]
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), why: why.into() }
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => write!(f, "the directory is away: {why}"),
            Self::NotFound => f.write_str("there is none of that name"),
            Self::Conflict(what) => write!(f, "conflict: {what}"),
            Self::Invalid { field, why } => write!(f, "{field}: {why}"),
            Self::Newer { found, known } => write!(
                f,
                "the directory has schema version {found}, made by a newer version; this one knows {known}"
            ),
            Self::Other(why) => write!(f, "the directory failed: {why}"),
        }
    }
}

impl Error for DirectoryError {}

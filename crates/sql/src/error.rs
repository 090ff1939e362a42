//! Why a journal cannot be opened, or its database not be used.

use std::{error::Error, fmt, io, path::PathBuf};

/// Why a journal could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another journal of this one, has it open.
    Locked {
        /// The file of holds.
        path: PathBuf,
    },
    /// The database was made by a newer version of this crate.
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// A file is not what it should be. Nothing was changed.
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The database and the file of holds beside it do not belong together.
    Mismatched {
        /// The file of holds.
        path: PathBuf,
    },
    /// A file could not be made, read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database could not be opened, migrated or read.
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        source: BoxError,
    },
}

/// Why something was not saved, read or deleted.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The journal was closed.
    Closed,
    /// The database failed. What is not saved yet stays in the journal and is tried again.
    Database(BoxError),
}

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => write!(f, "{} is open already", path.display()),
            Self::Newer { path, found, known } => write!(
                f,
                "{} has schema version {found}, made by a newer version; this one knows {known}",
                path.display()
            ),
            Self::Corrupt { path, what } => write!(f, "{} is damaged: {what}", path.display()),
            Self::Mismatched { path } => {
                write!(f, "{} belongs to another database than the one beside it", path.display())
            }
            Self::Io { path, .. } => write!(f, "{} cannot be read or written", path.display()),
            Self::Database { path, .. } => write!(f, "the database {} cannot be used", path.display()),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Database { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the journal is closed",
            Self::Database(_) => "the database failed",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed => None,
            Self::Database(source) => Some(&**source),
        }
    }
}

/// What a code of PostgreSQL's means to who has given a wrong URL.
pub(crate) fn refusal(code: &str) -> Option<&'static str> {
    match code {
        "28P01" | "28000" => Some("it refuses the user or the password"),
        "3D000" => Some("it has no database of that name"),
        "42501" => Some("the user may not do what is needed"),
        _ => None,
    }
}

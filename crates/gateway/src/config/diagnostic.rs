//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

/// A place in a configuration file; line and column count from 1, and line 0 means the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The file's name as it was given.
    pub(crate) file: Arc<str>,
    /// The line.
    pub(crate) line: u64,
    /// The column, in characters.
    pub(crate) column: u64,
}

/// Whether a configuration can be run in spite of what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// It cannot be run.
    Error,
    /// It can be run, but does not do all that it says.
    Warning,
}

/// One finding: never holds a value of the file, which may be a secret, only names of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Where it is.
    pub(crate) at: Position,
    /// The dotted path of the key, as in `model_list[0].litellm_params.rpm`; empty for a fault of syntax.
    pub(crate) key: String,
    /// What is wrong, lower-case, without full stop.
    pub(crate) message: String,
}

/// Collects findings.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Diagnostic>);

// ===== impl Position =====

impl Position {
    /// The file as a whole.
    pub(super) fn whole(file: &str) -> Self {
        Self { file: Arc::from(file), line: 0, column: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

// ===== impl Diagnostic =====

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: ", self.at)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

// ===== impl Report =====

impl Report {
    /// Adds an error.
    pub(super) fn error(&mut self, at: &Position, key: &str, message: impl Into<String>) {
        self.add(Severity::Error, at, key, message.into());
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, at: &Position, key: &str, message: impl Into<String>) {
        self.add(Severity::Warning, at, key, message.into());
    }

    /// Whether something was found to be wrong with what a key has.
    pub(super) fn blames(&self, key: &str) -> bool {
        self.0.iter().any(|known| known.key == key)
    }

    fn add(&mut self, severity: Severity, at: &Position, key: &str, message: String) {
        self.0.push(Diagnostic { severity, at: at.clone(), key: key.to_owned(), message });
    }

    /// Gives the value with the warnings if nothing was an error, else all findings; both in the order of the file.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
        self.0.sort_by(|a, b| a.at.cmp(&b.at));
        match value {
            Some(value) if self.0.iter().all(|found| found.severity == Severity::Warning) => {
                Ok((value, self.0))
            }
            _ => Err(self.0),
        }
    }
}

//! Tokens that a workload is given to show who it is: as LiteLLM's `oidc/` names them.

use std::fmt;
use std::fs;
use std::io;

use super::env::Environment;

/// Where a token of another's stands, by which a cloud is shown who calls.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Assertion {
    /// In a file, which whoever gives it renews.
    File(String),
    /// In the environment, or in the config itself.
    Text(String),
}

/// What LiteLLM's names for such tokens begin with.
pub(super) const OIDC: &str = "oidc/";

// ===== impl Assertion =====

impl Assertion {
    /// What a name in LiteLLM's form stands for, without the `oidc/` ahead of it; what is wrong with it is said without its words.
    pub(super) fn named(name: &str, environment: &Environment<'_>) -> Result<Self, String> {
        let (kind, rest) = name.split_once('/').unwrap_or((name, ""));
        let of = |name: &str| {
            let value = environment.get(name).filter(|_| !name.is_empty());
            value.ok_or_else(|| "names a variable of the environment that is not set or empty".to_owned())
        };
        let assertion = match kind {
            "file" if !rest.is_empty() => Self::File(rest.to_owned()),
            "env" => Self::Text(of(rest)?),
            "env_path" => Self::File(of(rest)?),
            "azure" => Self::File(of(FEDERATED)?),
            "circleci" => Self::Text(of("CIRCLE_OIDC_TOKEN")?),
            "circleci_v2" => Self::Text(of("CIRCLE_OIDC_TOKEN_V2")?),
            "github" | "google" => {
                return Err(format!("tokens of `oidc/{kind}` are known to LiteLLM, not supported yet"));
            }
            _ => {
                return Err("`oidc/` must be followed by `file/`, `env/`, `env_path/` or `azure/`".to_owned());
            }
        };
        assertion.checked()
    }

    /// The token in a file that another's tools name.
    pub(super) fn in_file(path: &str) -> Result<Self, String> {
        Self::File(path.to_owned()).checked()
    }

    fn checked(self) -> Result<Self, String> {
        match self.read() {
            Ok(_) => Ok(self),
            Err(error) => Err(format!("names a file of a token that cannot be read: {}", error.kind())),
        }
    }

    /// The token as it is now.
    pub(crate) fn read(&self) -> io::Result<String> {
        match self {
            Self::File(path) => Ok(fs::read_to_string(path)?.trim().to_owned()),
            Self::Text(token) => Ok(token.clone()),
        }
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text(..)"),
        }
    }
}

/// The variable in which Azure's workload identity names its file.
pub(super) const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";

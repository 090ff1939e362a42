//! Tokens that a workload is given to show who it is: as LiteLLM's `oidc/` names them.

use std::fmt;
use std::fs;
use std::io;

use ziggurat_oauth::WorkloadToken;

use super::env::Environment;
use crate::secret::Secret;

/// Where a token of another's stands, by which a cloud is shown who calls.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Assertion {
    /// In a file, which whoever gives it renews.
    File(String),
    /// In the environment, or in the config itself.
    Text(String),
    /// With Google's metadata server, for an audience.
    Google { audience: String },
    /// With GitHub, for an audience, by what a job has in its environment.
    Github { url: String, bearer: Secret, audience: String },
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
            "github" | "google" if rest.is_empty() => {
                return Err(format!("`oidc/{kind}/` must be followed by an audience"));
            }
            "google" => Self::Google { audience: rest.to_owned() },
            "github" => return Self::of_github_job(rest, environment),
            _ => {
                let known = "`file/`, `env/`, `env_path/`, `azure/`, `google/` or `github/`";
                return Err(format!("`oidc/` must be followed by {known}"));
            }
        };
        assertion.checked()
    }

    fn of_github_job(audience: &str, environment: &Environment<'_>) -> Result<Self, String> {
        let of = |name: &str| {
            let value = environment.get(name);
            value.ok_or_else(|| format!("no environment variable `{name}` is set, as in jobs of GitHub's"))
        };
        let (url, bearer) = (of(GITHUB_URL)?, of(GITHUB_TOKEN)?);
        match WorkloadToken::of_github_job(&url, &bearer, audience) {
            Some(_) => Ok(Self::Github { url, bearer: Secret::new(&bearer), audience: audience.to_owned() }),
            None => Err(format!("environment variable `{GITHUB_URL}` or `{GITHUB_TOKEN}` cannot be used")),
        }
    }

    /// The token in a file that another's tools name.
    pub(super) fn in_file(path: &str) -> Result<Self, String> {
        Self::File(path.to_owned()).checked()
    }

    /// A file that is not there is told at once; nobody is asked for anything yet.
    fn checked(self) -> Result<Self, String> {
        if let Self::File(path) = &self
            && let Err(error) = token_in_file(path)
        {
            return Err(format!("names a file of a token that cannot be read: {}", error.kind()));
        }
        Ok(self)
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text(..)"),
            Self::Google { audience } => f.debug_tuple("Google").field(audience).finish(),
            Self::Github { audience, .. } => f.debug_tuple("Github").field(audience).finish(),
        }
    }
}

/// The token in a file, as it is now.
pub(crate) fn token_in_file(path: &str) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

/// Where a job of GitHub's may ask for its token, and with what.
const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// The variable in which Azure's workload identity names its file.
pub(super) const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";

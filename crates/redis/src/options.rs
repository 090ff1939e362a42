//! Where the server is, and how it is used.

use std::{fmt, time::Duration};

use ziggurat_core::Clock;

/// Where the server is, and how it is used. Shows no address: it may hold a password.
#[derive(Clone)]
pub struct Options {
    pub(crate) servers: Servers,
    pub(crate) prefix: String,
    pub(crate) response_timeout: Duration,
    pub(crate) remember: Duration,
    pub(crate) clock: Option<Clock>,
}

#[derive(Clone)]
pub(crate) enum Servers {
    One(String),
    Cluster(Vec<String>),
}

/// Why options are none. Says nothing of the address, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidOptions {
    /// An address is not one: `redis://`, `rediss://` or `unix://` is expected. For a Cluster, no `unix://`, and the same credentials
    /// for all.
    Address,
    /// There is no address.
    NoAddress,
    /// `rediss://` needs a provider of cryptography, which the host installs for the process
    /// (`rustls::crypto::CryptoProvider::install_default`).
    NoTls,
    /// It is used outside of a Tokio runtime.
    NoRuntime,
}

// ===== impl Options =====

impl Options {
    /// For one server: `redis://[user:password@]host[:port][/db]`, `rediss://` over TLS, or `unix:///path`.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self::of(Servers::One(address.into()))
    }

    /// For a Cluster, by some of its nodes.
    #[must_use]
    pub fn cluster<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Self::of(Servers::Cluster(addresses.into_iter().map(Into::into).collect()))
    }

    fn of(servers: Servers) -> Self {
        Self {
            servers,
            prefix: "{ziggurat}".to_owned(),
            response_timeout: RESPONSE_TIMEOUT,
            remember: REMEMBER,
            clock: None,
        }
    }

    /// Sets what the names of all keys begin with; `{ziggurat}` unless set. What stands in braces decides on the slot of a Cluster, and
    /// everything that one decision looks at must be in one: a prefix without braces is put into them. Nodes that share state use the
    /// same prefix; others use another.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        self.prefix = if tag_of(&prefix).is_some() {
            prefix
        } else {
            format!("{{{}}}", prefix.replace(['{', '}'], ""))
        };
        self
    }

    /// Sets how long an answer is waited for; 500 ms unless set. Callers wait as long as their own deadline says, if that is shorter. A
    /// connection that is silent for so long, and 800 ms at least, is given up.
    #[must_use]
    pub const fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Sets how long the ids of ended holds are known, and the holds that were posted as unreconciled can be corrected; 25 hours unless
    /// set, and at least a day. An ended hold takes about 70 bytes for so long.
    #[must_use]
    pub fn remember(mut self, span: Duration) -> Self {
        self.remember = span.max(DAY);
        self
    }

    /// Takes the time from this clock and not from the server: for tests, and for nothing else. All that share state must share it.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }
}

/// One server's.
impl From<&str> for Options {
    fn from(address: &str) -> Self {
        Self::new(address)
    }
}

/// One server's.
impl From<String> for Options {
    fn from(address: String) -> Self {
        Self::new(address)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What of a key's name decides on its slot, where that is not all of it
/// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>).
pub(crate) fn tag_of(name: &str) -> Option<&str> {
    let (tag, _) = name.split_once('{')?.1.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

// ===== impl InvalidOptions =====

impl fmt::Display for InvalidOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "an address of Redis is redis://, rediss:// or unix://, and all of a Cluster have the same credentials",
            Self::NoAddress => "a Cluster has at least one address",
            Self::NoTls => "rediss:// needs a provider of cryptography that is installed for the process",
            Self::NoRuntime => "Redis is connected to within a Tokio runtime",
        })
    }
}

impl std::error::Error for InvalidOptions {}

const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
const DAY: Duration = Duration::from_secs(24 * 3600);
const REMEMBER: Duration = Duration::from_secs(25 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_makes_one_slot() {
        for (prefix, is) in [("{a}", "{a}"), ("a", "{a}"), ("x{a}y", "x{a}y"), ("{}a", "{a}"), ("a{", "{a}")]
        {
            let prefix = Options::new("redis://localhost").prefix(prefix).prefix;
            assert_eq!(prefix, is);
        }
    }

    #[test]
    fn no_password_is_shown() {
        let options = Options::cluster(["redis://user:hunter2@localhost"]);
        assert_eq!(format!("{options:?}"), r#"Options { prefix: "{ziggurat}", .. }"#);
    }
}

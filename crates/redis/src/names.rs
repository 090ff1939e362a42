//! Names of keys: of hashes, so that nothing that a caller chose stands in them.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use ziggurat_cache::Key;
use ziggurat_core::{Account, Limit, Measure};

/// The prefix of all names.
pub(crate) struct Names(pub(crate) String);

impl Names {
    /// A key of a kind, by what tells it from others.
    pub(crate) fn of(&self, kind: &str, rest: &str) -> String {
        let mut name = String::with_capacity(self.0.len() + kind.len() + rest.len() + 2);
        for part in [&self.0, ":", kind, ":", rest] {
            name.push_str(part);
        }
        name
    }

    /// A key of which there is one.
    pub(crate) fn only(&self, kind: &str) -> String {
        format!("{}:{kind}", self.0)
    }

    /// An answer of a cache. It stands by itself, so it may be on any node of a Cluster: there are no braces that would say which.
    pub(crate) fn answer(&self, key: &Key) -> String {
        format!("{}:answer:{key}", self.without_braces())
    }

    /// The mark of who makes a call, on the node of its answer or another.
    pub(crate) fn mark(&self, key: &Key) -> String {
        format!("{}:mark:{key}", self.without_braces())
    }

    /// What matches the names of all answers.
    pub(crate) fn answers(&self) -> String {
        let mut pattern = String::new();
        for letter in self.without_braces().chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '^' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern + ":answer:*"
    }

    fn without_braces(&self) -> String {
        self.0.replace('{', "(").replace('}', ")")
    }

    /// The counter of a limit whose slices are of that length in microseconds.
    pub(crate) fn counter(&self, limit: &Limit, slice: u64) -> String {
        let mut hasher = hasher_of(&limit.account);
        add(&mut hasher, limit.measure.name().as_bytes());
        add(&mut hasher, &slice.to_be_bytes());
        let kind = if limit.measure == Measure::Concurrency { "c" } else { "w" };
        self.of(kind, &hex(hasher))
    }
}

/// What an account is called.
pub(crate) fn account(account: &Account) -> String {
    hex(hasher_of(account))
}

fn hasher_of(account: &Account) -> Sha256 {
    let mut hasher = Sha256::new();
    add(&mut hasher, account.scope.kind.name().as_bytes());
    add(&mut hasher, account.scope.id.as_bytes());
    match &account.models {
        Some(models) => add(&mut hasher, models.as_bytes()),
        None => hasher.update([0xff]),
    }
    add(&mut hasher, account.period.as_bytes());
    hasher
}

/// Adds a part so that where it ends is known.
fn add(hasher: &mut Sha256, part: &[u8]) {
    hasher.update(part.len().to_le_bytes());
    hasher.update(part);
}

/// 128 bits of it: two names never share them, short of 2^-64 of luck.
fn hex(hasher: Sha256) -> String {
    let mut hex = String::with_capacity(32);
    for byte in &hasher.finalize()[..16] {
        // A string can always be written to.
        let _written = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use ziggurat_core::{Budget, Scope, ScopeKind, Usd, Window};

    use super::*;

    #[test]
    fn accounts_are_told_apart_and_not_named() {
        let of = |kind, id: &str| {
            let budget = Budget::new(Scope::new(kind, id), Usd::ZERO, Window::Lifetime);
            [account(&budget.account), account(&budget.models("m").account)]
        };
        let mut all = [
            of(ScopeKind::Key, "a"),
            of(ScopeKind::Team, "a"),
            of(ScopeKind::Key, "am"),
            of(ScopeKind::Key, "\0\n "),
        ]
        .concat();
        assert!(all.iter().all(|name| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn answers_are_on_all_nodes_and_matched_by_their_prefix_alone() {
        let key: Key = "0f".repeat(32).parse().expect("is a key");
        let names = Names("x{a*}[1]".to_owned());
        assert_eq!(names.answer(&key), format!("x(a*)[1]:answer:{}", "0f".repeat(32)));
        assert_eq!(names.answers(), r"x(a\*)\[1\]:answer:*");
    }

    #[test]
    fn names_are_the_same_on_every_node_and_in_every_version() {
        let budget = Budget::new(Scope::tenant("acme"), Usd::ZERO, Window::Lifetime);
        assert_eq!(account(&budget.account), "8c4abc75e367a2d23b17ddc9f6aec98d");
    }
}

//! Accounts as the functions of the database take them.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use sqlx::{Postgres, postgres::PgArguments, query, query::Query};
use ziggurat_core::{Account, Budget, Scope, ScopeKind, Usd, Window};

use crate::time::{micros, time_of};

/// The accounts of some budgets, each once, in their order.
#[derive(Default)]
pub(super) struct Accounts<'a> {
    pub(super) keys: Vec<Vec<u8>>,
    budgets: Vec<&'a Budget>,
    numbers: HashMap<&'a Account, usize>,
}

// ===== impl Accounts =====

impl<'a> Accounts<'a> {
    /// Adds the account of a budget. Gives its place.
    pub(super) fn add(&mut self, budget: &'a Budget) -> usize {
        let number = *self.numbers.entry(&budget.account).or_insert(self.keys.len());
        if number == self.keys.len() {
            self.keys.push(key(&budget.account));
            self.budgets.push(budget);
        }
        number
    }

    /// The periods that are current at a time and next, three times for each account; nothing when none has any.
    pub(super) fn periods(&self, at: i64) -> Vec<i64> {
        if !self.budgets.iter().any(|budget| matches!(budget.window, Window::Calendar(_))) {
            return Vec::new();
        }
        let of = |budget: &&Budget| match &budget.window {
            Window::Calendar(calendar) => {
                let current = calendar.period(time_of(at));
                let next = calendar.period(current.end);
                [micros(current.start), micros(current.end), micros(next.end)]
            }
            _ => [0; 3],
        };
        self.budgets.iter().flat_map(of).collect()
    }

    /// The statement that makes them where they are not there.
    pub(super) fn make(&self) -> Query<'_, Postgres, PgArguments> {
        let accounts = || self.budgets.iter().map(|budget| &budget.account);
        let kinds: Vec<&str> = accounts().map(|account| account.scope.kind.name()).collect();
        let scopes: Vec<String> = accounts().map(|account| escape(&account.scope.id)).collect();
        let models: Vec<Option<String>> =
            accounts().map(|account| account.models.as_deref().map(escape)).collect();
        let periods: Vec<String> = accounts().map(|account| escape(&account.period)).collect();
        // Nanoseconds of a slice, of rolling windows.
        let slices: Vec<Option<i64>> = self.budgets.iter().map(|budget| slice(&budget.window)).collect();
        query("SELECT 1 FROM ziggurat_accounts($1, $2, $3, $4, $5, $6)")
            .bind(&self.keys)
            .bind(kinds)
            .bind(scopes)
            .bind(models)
            .bind(periods)
            .bind(slices)
    }
}

impl<'a> FromIterator<&'a Budget> for Accounts<'a> {
    fn from_iter<I: IntoIterator<Item = &'a Budget>>(budgets: I) -> Self {
        let mut accounts = Self::default();
        for budget in budgets {
            accounts.add(budget);
        }
        accounts
    }
}

/// What an account is found by: of a fixed length, however long its names are.
pub(super) fn key(account: &Account) -> Vec<u8> {
    let mut hash = Sha256::new();
    let models = account.models.as_deref();
    for part in [account.scope.kind.name(), &*account.scope.id, models.unwrap_or_default(), &*account.period]
    {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.update([u8::from(models.is_some())]);
    hash.finalize().to_vec()
}

/// An account from its columns; `None` when its kind is not known.
pub(super) fn account(kind: &str, scope: &str, models: Option<&str>, period: &str) -> Option<Account> {
    let scope = Scope::new(ScopeKind::of_name(kind)?, unescape(scope));
    Some(Account::new(scope, models.map(|models| unescape(models).into()), unescape(period)))
}

/// Nanoseconds of one of the 64 slices of a rolling window, as the ledger in memory cuts it.
fn slice(window: &Window) -> Option<i64> {
    let Window::Rolling(span) = window else { return None };
    Some(i64::try_from(span.as_nanos().div_ceil(64)).unwrap_or(i64::MAX).max(1))
}

/// PostgreSQL's texts have no NUL.
fn escape(text: &str) -> String {
    match text.contains(['\\', '\0']) {
        true => text.replace('\\', "\\\\").replace('\0', "\\0"),
        false => text.to_owned(),
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => {
                if chars.next() == Some('0') {
                    '\0'
                } else {
                    '\\'
                }
            }
            other => other,
        });
    }
    plain
}

/// An amount as the digits of a NUMERIC.
pub(super) fn pico(amount: Usd) -> String {
    amount.as_pico().to_string()
}

/// An amount from the digits of a NUMERIC: what is more than can be said is the most.
pub(super) fn usd(digits: &str) -> Usd {
    digits.parse().map_or(Usd::MAX, Usd::pico)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_were() {
        for text in ["", "plain", "\0", "\\0", "\\", "a\\\0b\\\\0", "ümläut'; DROP TABLE x; --"] {
            assert!(!escape(text).contains('\0'));
            assert_eq!(unescape(&escape(text)), text);
        }
        let account = |models: Option<&str>| {
            Account::new(Scope::tenant("a\0"), models.map(Into::into), "1d Europe/Berlin")
        };
        assert_ne!(key(&account(None)), key(&account(Some(""))));
        let named = account(Some("gpt-*"));
        assert_eq!(super::account("tenant", "a\\0", Some("gpt-*"), "1d Europe/Berlin"), Some(named));
        assert_eq!(super::account("planet", "", None, ""), None);
    }

    #[test]
    fn amounts_keep_every_digit() {
        for amount in [0, 1, u128::MAX] {
            assert_eq!(usd(&pico(Usd::pico(amount))), Usd::pico(amount));
        }
        assert_eq!(usd("999999999999999999999999999999999999999"), Usd::MAX);
    }
}

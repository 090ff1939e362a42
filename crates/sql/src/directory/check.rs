//! What may be stored.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use ziggurat_auth::KeyHash;
use ziggurat_budget::calendar;
use ziggurat_core::Usd;

use super::{Allowance, BudgetTemplate, Customer, DirectoryError, Key, Member, Team, User};

/// Something whose values are checked before it is stored.
pub(super) trait Checked {
    fn check(&self) -> Checks;
}

pub(super) type Checks = Result<(), DirectoryError>;

// ===== the entities =====

impl Checked for Key {
    fn check(&self) -> Checks {
        if self.hash == KeyHash::of(b"") {
            return refused("key", "is empty");
        }
        for (field, shown) in [("name", Some(&self.name)), ("alias", self.alias.as_ref())] {
            if shown.is_some_and(|shown| KeyHash::of(shown.as_bytes()) == self.hash) {
                return refused(field, "is the key itself");
            }
        }
        if !self.name.is_empty() {
            text("name", &self.name)?;
        }
        maybe("alias", self.alias.as_ref())?;
        maybe("user", self.user.as_ref())?;
        maybe("team", self.team.as_ref())?;
        maybe("organisation", self.organisation.as_ref())?;
        maybe("budget", self.budget.as_ref())?;
        maybe("created_by", self.created_by.as_ref())?;
        allowance("allowance", &self.allowance)?;
        models("models", &self.models)?;
        aliases(&self.aliases)?;
        texts("routes", &self.routes)?;
        texts("tags", &self.tags)?;
        notes("metadata", &self.metadata)?;
        notes("other fields", &self.unknown)
    }
}

impl Checked for Team {
    fn check(&self) -> Checks {
        text("id", &self.id)?;
        maybe("alias", self.alias.as_ref())?;
        maybe("organisation", self.organisation.as_ref())?;
        maybe("budget", self.budget.as_ref())?;
        allowance("allowance", &self.allowance)?;
        if let Some(members) = &self.member_allowance {
            allowance("member_allowance", members)?;
        }
        models("models", &self.models)?;
        aliases(&self.aliases)?;
        texts("tags", &self.tags)?;
        notes("metadata", &self.metadata)?;
        notes("other fields", &self.unknown)
    }
}

impl Checked for Member {
    fn check(&self) -> Checks {
        text("team", &self.team)?;
        text("user", &self.user)?;
        maybe("role", self.role.as_ref())?;
        maybe("budget", self.budget.as_ref())?;
        allowance("allowance", &self.allowance)?;
        notes("other fields", &self.unknown)
    }
}

impl Checked for User {
    fn check(&self) -> Checks {
        text("id", &self.id)?;
        maybe("email", self.email.as_ref())?;
        maybe("alias", self.alias.as_ref())?;
        maybe("role", self.role.as_ref())?;
        maybe("budget", self.budget.as_ref())?;
        allowance("allowance", &self.allowance)?;
        models("models", &self.models)?;
        notes("metadata", &self.metadata)?;
        notes("other fields", &self.unknown)
    }
}

impl Checked for Customer {
    fn check(&self) -> Checks {
        text("id", &self.id)?;
        maybe("alias", self.alias.as_ref())?;
        maybe("budget", self.budget.as_ref())?;
        allowance("allowance", &self.allowance)?;
        notes("other fields", &self.unknown)
    }
}

impl Checked for BudgetTemplate {
    fn check(&self) -> Checks {
        text("id", &self.id)?;
        allowance("allowance", &self.allowance)?;
        notes("other fields", &self.unknown)
    }
}

// ===== their values =====

/// A text that may be looked up by: neither empty nor long, and shown as it is.
pub(super) fn text(field: &str, text: &str) -> Checks {
    if text.is_empty() {
        return refused(field, "is empty");
    }
    if text.len() > MOST_BYTES {
        return refused(field, format!("has more than {MOST_BYTES} bytes"));
    }
    match text.chars().any(char::is_control) {
        true => refused(field, "has a control character"),
        false => Ok(()),
    }
}

fn maybe(field: &str, given: Option<&String>) -> Checks {
    given.map_or(Ok(()), |given| text(field, given))
}

fn texts(field: &str, list: &[String]) -> Checks {
    most(field, list.len())?;
    list.iter().try_for_each(|entry| text(field, entry))
}

fn models(field: &str, list: &[String]) -> Checks {
    most(field, list.len())?;
    list.iter().try_for_each(|entry| model(field, entry))
}

/// A model's name, or a pattern of names.
fn model(field: &str, name: &str) -> Checks {
    text(field, name)?;
    match name.strip_suffix('*').unwrap_or(name).contains('*') {
        true => refused(field, "has a * that is not at the end"),
        false => Ok(()),
    }
}

fn aliases(aliases: &BTreeMap<String, String>) -> Checks {
    most("aliases", aliases.len())?;
    aliases.iter().try_for_each(|(alias, name)| {
        text("aliases", alias)?;
        text("aliases", name)
    })
}

fn allowance(field: &str, given: &Allowance) -> Checks {
    let within = |name: &str| format!("{field}.{name}");
    amount(&within("max_budget"), given.max_budget)?;
    amount(&within("soft_budget"), given.soft_budget)?;
    duration(&within("budget_duration"), given.budget_duration.as_deref())?;
    let of_models = within("model_max_budget");
    most(&of_models, given.model_max_budget.len())?;
    for (name, budget) in &given.model_max_budget {
        model(&of_models, name)?;
        amount(&of_models, Some(budget.max_budget))?;
        duration(&of_models, budget.budget_duration.as_deref())?;
        notes(&of_models, &budget.unknown)?;
    }
    for (name, limits) in
        [("model_tpm_limit", &given.model_tpm_limit), ("model_rpm_limit", &given.model_rpm_limit)]
    {
        let field = within(name);
        most(&field, limits.len())?;
        limits.keys().try_for_each(|name| model(&field, name))?;
    }
    notes(field, &given.unknown)
}

/// An amount that is read again as it is written.
fn amount(field: &str, amount: Option<Usd>) -> Checks {
    match amount.map(|amount| amount.to_string().parse::<Usd>()) {
        Some(Err(error)) => refused(field, error.to_string()),
        _ => Ok(()),
    }
}

fn duration(field: &str, duration: Option<&str>) -> Checks {
    match duration.map(|duration| calendar::window(duration, "UTC")) {
        Some(Err(error)) => refused(field, error.to_string()),
        _ => Ok(()),
    }
}

fn most(field: &str, entries: usize) -> Checks {
    match entries > MOST_ENTRIES {
        true => refused(field, format!("has more than {MOST_ENTRIES} entries")),
        false => Ok(()),
    }
}

/// What is kept and not looked into, as far as it can be read again.
fn notes(field: &str, notes: &Map<String, Value>) -> Checks {
    if notes.is_empty() {
        return Ok(());
    }
    for (name, value) in notes {
        plain(field, name)?;
        walk(field, value, MOST_DEPTH)?;
    }
    let bytes = serde_json::to_vec(notes).map_or(usize::MAX, |json| json.len());
    match bytes > MOST_NOTES {
        true => refused(field, format!("has more than {MOST_NOTES} bytes")),
        false => Ok(()),
    }
}

fn walk(field: &str, value: &Value, depth: usize) -> Checks {
    let Some(below) = depth.checked_sub(1) else { return refused(field, "is nested too deeply") };
    match value {
        Value::String(text) => plain(field, text),
        Value::Array(values) => values.iter().try_for_each(|value| walk(field, value, below)),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            plain(field, name)?;
            walk(field, value, below)
        }),
        _ => Ok(()),
    }
}

fn plain(field: &str, text: &str) -> Checks {
    match text.contains('\0') {
        true => refused(field, "has a NUL"),
        false => Ok(()),
    }
}

fn refused(field: &str, why: impl Into<String>) -> Checks {
    Err(DirectoryError::invalid(field, why))
}

const MOST_BYTES: usize = 256;
const MOST_ENTRIES: usize = 1_000;
const MOST_NOTES: usize = 64 * 1024;

/// Levels of what is kept. JSON is read down to 128 of them, some of which are ours.
const MOST_DEPTH: usize = 32;

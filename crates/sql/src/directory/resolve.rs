//! What applies to a key, and to an end user: their own, their templates', and what theirs belong to.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use ziggurat_auth::{CustomerRecord, KeyRecord};
use ziggurat_budget::calendar;
use ziggurat_core::{Budget, Limit, Principal, Scope, ScopeKind, Window};

use super::{Allowance, BudgetTemplate, Customer, DirectoryError, Key, Member, Options, Team, User};

/// A key, and what it belongs to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) team: Option<Team>,
    pub(super) user: Option<User>,
    pub(super) member: Option<Member>,
    /// The templates that each of them names.
    pub(super) key_budget: Option<BudgetTemplate>,
    pub(super) team_budget: Option<BudgetTemplate>,
    pub(super) user_budget: Option<BudgetTemplate>,
    pub(super) member_budget: Option<BudgetTemplate>,
}

/// Budgets and limits as they are gathered, the most specific first.
struct Rules<'a> {
    zone: &'a str,
    budgets: Vec<Budget>,
    limits: Vec<Limit>,
}

/// The record of a key.
pub(super) fn key(found: Found, options: &Options) -> Result<KeyRecord, DirectoryError> {
    if found.key.team.is_some() && found.team.is_none() {
        return Err(missing("team"));
    }
    let mut rules = Rules { zone: &options.zone, budgets: Vec::new(), limits: Vec::new() };
    let own = found.key.allowance.filled_by(template(&found.key.budget, &found.key_budget)?);
    let id: Arc<str> = found.key.id.as_str().into();
    rules.add(&Scope::new(ScopeKind::Key, Arc::clone(&id)), &own)?;
    let is_admin = |user: &User| user.role.as_deref() == Some(ADMIN);
    let admin = found.key.admin && found.key.team.is_none() && found.user.as_ref().is_some_and(is_admin);
    let mut record = owned(found, rules, options)?;
    record.principal.key = Some(id);
    record.admin = admin;
    Ok(record)
}

/// The record of a caller without a key, by what is known of its team and its user.
pub(super) fn owner(found: Found, options: &Options) -> Result<KeyRecord, DirectoryError> {
    let known = (found.user.is_some(), found.team.is_some());
    let rules = Rules { zone: &options.zone, budgets: Vec::new(), limits: Vec::new() };
    let mut record = owned(found, rules, options)?;
    record.principal.user.take_if(|_| !known.0);
    record.principal.team.take_if(|_| !known.1);
    Ok(record)
}

/// What a key's owners add to its rules, or all that there are.
fn owned(found: Found, mut rules: Rules<'_>, options: &Options) -> Result<KeyRecord, DirectoryError> {
    let Found { key, team, user, member, team_budget, user_budget, member_budget, .. } = found;
    match &team {
        Some(team) => {
            if let Some(user) = &key.user {
                let (stated, named) =
                    member.map(|member| (member.allowance, member.budget)).unwrap_or_default();
                let theirs = stated
                    .filled_by(template(&named, &member_budget)?)
                    .filled_by(team.member_allowance.as_ref());
                // The lengths tell `a b` in `c` from `a` in `b c`.
                let id = format!("{} {} {user}", team.id.len(), team.id);
                rules.add(&Scope::new(ScopeKind::Member, id), &theirs)?;
            }
            let all = team.allowance.filled_by(template(&team.budget, &team_budget)?);
            rules.add(&Scope::new(ScopeKind::Team, team.id.as_str()), &all)?;
        }
        None => {
            if let Some(user) = &user {
                let all = user.allowance.filled_by(template(&user.budget, &user_budget)?);
                rules.add(&Scope::new(ScopeKind::User, user.id.as_str()), &all)?;
            }
        }
    }

    let groups = &options.access_groups;
    let outer = match (&team, &user) {
        (Some(team), _) => models(&team.models, groups, false),
        (None, Some(user)) => models(&user.models, groups, false),
        (None, None) => None,
    };
    let mut aliases = team.as_ref().map(|team| team.aliases.clone()).unwrap_or_default();
    aliases.extend(key.aliases);
    let mut tags = Vec::<Arc<str>>::new();
    for tag in key.tags.iter().chain(team.iter().flat_map(|team| &team.tags)) {
        if !tags.iter().any(|known| **known == **tag) {
            tags.push(tag.as_str().into());
        }
    }

    let mut principal = Principal::default();
    principal.organisation = key.organisation.or_else(|| team.as_ref()?.organisation.clone()).map(Arc::from);
    principal.tags = tags.into();
    principal.models = models(&key.models, groups, team.is_some());
    principal.narrow_models(outer.as_deref());
    principal.budgets = rules.budgets.into();
    principal.limits = rules.limits.into();
    principal.user = key.user.map(Arc::from);
    principal.team = key.team.map(Arc::from);

    let mut record = KeyRecord::default();
    record.principal = principal;
    record.blocked = key.blocked
        || team.as_ref().is_some_and(|team| team.blocked)
        || user.as_ref().is_some_and(|user| user.blocked);
    record.routes =
        (!key.routes.is_empty()).then(|| key.routes.iter().map(|route| route.as_str().into()).collect());
    record.aliases = Arc::new(aliases);
    record.expires_at = key.expires_at;
    Ok(record)
}

/// The template that is named, which must be there.
fn template<'f>(
    named: &Option<String>,
    found: &'f Option<BudgetTemplate>,
) -> Result<Option<&'f Allowance>, DirectoryError> {
    match (named, found) {
        (Some(_), None) => Err(missing("template of budgets")),
        (_, found) => Ok(found.as_ref().map(|found| &found.allowance)),
    }
}

/// The record of an end user: what it has of its own, else of the template for all of them. `None` where nobody says anything.
pub(super) fn customer(
    id: &str,
    known: Option<Customer>,
    own: Option<BudgetTemplate>,
    all: Option<BudgetTemplate>,
    options: &Options,
) -> Result<Option<CustomerRecord>, DirectoryError> {
    let is_known = known.is_some();
    let known = known.unwrap_or_default();
    let allowance = match (&known.budget, own) {
        (Some(_), None) => return Err(missing("template of budgets")),
        (_, Some(own)) => known.allowance.filled_by(Some(&own.allowance)),
        (None, None) if known.allowance != Allowance::default() => known.allowance,
        // It has nothing of its own.
        (None, None) => match (&options.customer_budget, all) {
            (Some(_), None) => return Err(missing("template of budgets for end users")),
            (_, Some(all)) => all.allowance,
            (None, None) if !is_known => return Ok(None),
            (None, None) => Allowance::default(),
        },
    };
    let mut rules = Rules { zone: &options.zone, budgets: Vec::new(), limits: Vec::new() };
    rules.add(&Scope::new(ScopeKind::EndUser, id), &allowance)?;
    let mut record = CustomerRecord::default();
    record.budgets = rules.budgets.into();
    record.limits = rules.limits.into();
    record.blocked = known.blocked;
    Ok(Some(record))
}

// ===== budgets and limits =====

impl Allowance {
    /// What is stated here, and for the rest what is stated there. A cap comes with its own window, also if that is for ever.
    fn filled_by(&self, other: Option<&Self>) -> Self {
        let Some(other) = other else { return self.clone() };
        let mut filled = self.clone();
        if filled.max_budget.is_none() {
            filled.max_budget = other.max_budget;
            filled.budget_duration = filled.budget_duration.or_else(|| other.budget_duration.clone());
        }
        filled.soft_budget = filled.soft_budget.or(other.soft_budget);
        filled.tpm_limit = filled.tpm_limit.or(other.tpm_limit);
        filled.rpm_limit = filled.rpm_limit.or(other.rpm_limit);
        filled.max_parallel_requests = filled.max_parallel_requests.or(other.max_parallel_requests);
        for (model, budget) in &other.model_max_budget {
            filled.model_max_budget.entry(model.clone()).or_insert_with(|| budget.clone());
        }
        for (model, limit) in &other.model_tpm_limit {
            filled.model_tpm_limit.entry(model.clone()).or_insert(*limit);
        }
        for (model, limit) in &other.model_rpm_limit {
            filled.model_rpm_limit.entry(model.clone()).or_insert(*limit);
        }
        filled
    }
}

impl Rules<'_> {
    fn add(&mut self, scope: &Scope, allowance: &Allowance) -> Result<(), DirectoryError> {
        // Without a cap it is counted all the same: what is spent is shown of everybody.
        let window = self.window(allowance.budget_duration.as_deref())?;
        let mut budget = Budget::new(scope.clone(), allowance.max_budget.unwrap_or(Budget::UNCAPPED), window);
        budget.soft = allowance.soft_budget;
        self.budgets.push(budget);
        for (model, of_model) in &allowance.model_max_budget {
            let window = self.window(of_model.budget_duration.as_deref())?;
            let budget = Budget::new(scope.clone(), of_model.max_budget, window);
            self.budgets.push(budget.models(model.as_str()));
        }
        let of_all = [
            allowance.rpm_limit.map(|most| Limit::requests_per_minute(scope.clone(), most)),
            allowance.tpm_limit.map(|most| Limit::tokens_per_minute(scope.clone(), most)),
            allowance.max_parallel_requests.map(|most| Limit::concurrency(scope.clone(), most)),
        ];
        self.limits.extend(of_all.into_iter().flatten());
        for (model, most) in &allowance.model_rpm_limit {
            self.limits.push(Limit::requests_per_minute(scope.clone(), *most).models(model.as_str()));
        }
        for (model, most) in &allowance.model_tpm_limit {
            self.limits.push(Limit::tokens_per_minute(scope.clone(), *most).models(model.as_str()));
        }
        Ok(())
    }

    fn window(&self, duration: Option<&str>) -> Result<Window, DirectoryError> {
        let Some(duration) = duration else { return Ok(Window::Lifetime) };
        calendar::window(duration, self.zone)
            .map_err(|_| DirectoryError::Other("a stored duration cannot be read".to_owned()))
    }
}

// ===== models =====

/// The models of a list, each once; `None` is all of them.
fn models(list: &[String], groups: &BTreeMap<String, Vec<String>>, in_team: bool) -> Option<Arc<[Arc<str>]>> {
    if list.is_empty() {
        return None;
    }
    let mut kept = HashSet::new();
    let mut allowed = Vec::new();
    for entry in list {
        let one = std::slice::from_ref(entry);
        for model in groups.get(entry).map_or(one, Vec::as_slice) {
            match model.as_str() {
                "all-proxy-models" | "*" => return None,
                // Those of the team, with which they are compared next. Without a team, none.
                "all-team-models" if in_team => return None,
                "all-team-models" | "no-default-models" => {}
                model if kept.insert(model) => allowed.push(model.into()),
                _ => {}
            }
        }
    }
    Some(allowed.into())
}

fn missing(what: &str) -> DirectoryError {
    DirectoryError::Other(format!("a {what} is named and not there"))
}

/// The role of an administrator.
const ADMIN: &str = "proxy_admin";

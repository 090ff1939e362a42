//! Which budgets apply to a call.

use std::{cmp::Reverse, mem, sync::Arc};

use http::Request;
use smallvec::SmallVec;
use ziggurat_core::{
    Account, Body, Budget, Call, Cause, Plan, Principal, Rejection, Scope, ScopeKind, Target,
};

use crate::layer::{Cap, Config};

/// In place for as many as most calls have.
pub(crate) type Budgets = SmallVec<[Budget; 5]>;

/// Where a call may go, or goes, as far as that is known.
pub(crate) type Way<'r> = (Option<&'r Plan>, Option<&'r Target>);

/// The budgets of one call.
#[derive(Default)]
pub(crate) struct Applying {
    /// Those of the call, whichever target answers it; the most specific first.
    pub(crate) call: Budgets,
    /// Those for the model that the call names, where another may answer in its place, which they are not for; the most specific last.
    pub(crate) named: Vec<Budget>,
    /// Those that depend on the target: of the principal's, by deployment, by provider, or for another model than the call names.
    pub(crate) targets: Vec<Budget>,
}

impl Applying {
    /// Adds a budget, if it applies wherever such a call may go.
    fn add(&mut self, budget: &Budget, model: Option<&str>, (plan, target): Way<'_>) {
        let account = &budget.account;
        let may_be_for = |target: &Target| account.is_for(target.model_group());
        // Whom nobody has chosen yet may be anybody.
        let may_be_at = || match (plan.map(|plan| &*plan.candidates), target) {
            (Some(candidates), _) if !candidates.is_empty() => {
                candidates.iter().any(|target| is_of(&account.scope, target))
            }
            (_, Some(target)) => is_of(&account.scope, target),
            _ => true,
        };
        let leaves = |plan: &Plan| {
            plan.candidates.iter().any(|target| plan.is_stand_in(target) && !may_be_for(target))
        };
        let budget = || budget.clone();
        match (by_target(account.scope.kind), account.is_for(model)) {
            (true, true) if may_be_at() => self.targets.push(budget()),
            (true, true) => {}
            (false, true) if account.models.is_some() && plan.is_some_and(leaves) => {
                self.named.push(budget())
            }
            (false, true) => self.call.push(budget()),
            // For another model, which may answer in the place of this one, or is what its name stands for.
            (_, false) => {
                let candidates = plan.map(|plan| &*plan.candidates).unwrap_or_default();
                if candidates.iter().chain(target).any(may_be_for) {
                    self.targets.push(budget());
                }
            }
        }
    }

    /// Those that apply to the call as it is named.
    pub(crate) fn of_call(&self) -> impl Iterator<Item = &Budget> {
        self.named.iter().chain(&self.call)
    }

    /// Whether something that applies, wherever the call goes, is there to refuse or to alert, and not to count alone.
    pub(crate) fn is_bounded(&self, config: &Config) -> bool {
        let bounds = |budget: &Budget| budget.is_capped() || budget.soft.is_some();
        self.of_call().chain(&self.targets).any(bounds) || config.caps.iter().any(|cap| by_target(cap.kind))
    }

    /// Whether no budget applies, wherever the call goes.
    pub(crate) fn is_empty(&self, config: &Config) -> bool {
        let by_target = config.caps.iter().any(|cap| by_target(cap.kind));
        self.call.is_empty() && self.named.is_empty() && self.targets.is_empty() && !by_target
    }
}

impl Config {
    /// The scopes that the host names, from the head alone.
    pub(crate) fn named_scopes(&self, request: &mut Request<Body>) -> Result<Option<Vec<Scope>>, Rejection> {
        let Some(name) = &self.scopes else { return Ok(None) };
        let (parts, body) = mem::take(request).into_parts();
        let scopes = name(&parts);
        *request = Request::from_parts(parts, body);
        match scopes.is_empty() && !self.caps.is_empty() {
            true => Err(unnamed()),
            false => Ok(Some(scopes)),
        }
    }

    /// The budgets that apply to a call.
    pub(crate) fn applying(
        &self,
        named: Option<&[Scope]>,
        principal: Option<&Principal>,
        way: Way<'_>,
        call: &Call,
    ) -> Result<Applying, Rejection> {
        let model = call.model();
        let mut applying = Applying::default();
        for budget in principal.map(|principal| &*principal.budgets).unwrap_or_default() {
            applying.add(budget, model, way);
        }
        let Applying { call: budgets, named: of_model, .. } = &mut applying;
        if !self.caps.is_empty() {
            match named {
                Some(scopes) => {
                    for scope in scopes {
                        budgets.extend(self.caps_of(scope.kind, || Arc::clone(&scope.id)));
                    }
                }
                None => {
                    let ids = principal.into_iter().flat_map(|principal| {
                        principal.ids().chain(principal.tags.iter().map(|tag| (ScopeKind::Tag, tag)))
                    });
                    for (kind, id) in ids {
                        budgets.extend(self.caps_of(kind, || Arc::clone(id)));
                    }
                }
            }
            // Nobody escapes the caps of those who call by being nobody.
            let callers = |kind| !matches!(kind, ScopeKind::EndUser) && !by_call(kind);
            if self.caps.iter().any(|cap| callers(cap.kind))
                && !budgets.iter().chain(&*of_model).any(|budget| callers(budget.account.scope.kind))
            {
                return Err(unnamed());
            }
            if let Some(user) = call.end_user() {
                // The user of one owner is not another's of the same name.
                let owner = owner(named, principal);
                let id = || match &owner {
                    Some(owner) => format!("{} {owner} {user}", owner.len()).into(),
                    None => user.as_str().into(),
                };
                budgets.extend(self.caps_of(ScopeKind::EndUser, id));
            }
            if let Some(model) = model {
                budgets.extend(self.caps_of(ScopeKind::Model, || model.into()));
            }
            budgets.extend(self.caps_of(ScopeKind::Gateway, || "".into()));
        }
        for budget in &*self.fixed {
            applying.add(budget, model, way);
        }
        applying.call.sort_by_key(|budget| budget.account.scope.kind);
        applying.named.sort_by_key(|budget| Reverse(budget.account.scope.kind));
        Ok(applying)
    }

    /// What a scope may spend by the caps of its kind; its id is made only where there is one.
    fn caps_of(&self, kind: ScopeKind, id: impl Fn() -> Arc<str>) -> impl Iterator<Item = Budget> {
        let caps = self.caps.iter().filter(move |cap| cap.kind == kind);
        caps.map(move |cap| cap.of(Scope::new(kind, id())))
    }

    /// The budgets that apply to an attempt because of where it goes: those of its deployment and its provider, and those for its model,
    /// where that is another than the one that the call names.
    pub(crate) fn by_target(&self, principals: &[Budget], target: &Target) -> Vec<Budget> {
        let applies = |budget: &&Budget| {
            let Account { scope, .. } = &budget.account;
            match by_target(scope.kind) {
                true => is_of(scope, target),
                false => budget.account.is_for(target.model_group()),
            }
        };
        let own = principals.iter().filter(applies).cloned();
        let caps = self.caps.iter().filter(|cap| by_target(cap.kind));
        own.chain(caps.map(|cap| cap.of(Scope::new(cap.kind, id_of(cap.kind, target))))).collect()
    }
}

impl Cap {
    fn of(&self, scope: Scope) -> Budget {
        let account = Account::new(scope, None, Arc::clone(&self.period));
        Budget::in_account(account, self.cap, self.soft, self.window.clone())
    }
}

fn unnamed() -> Rejection {
    Rejection::new(Cause::PermissionDenied, "the call names none of the scopes that budgets are kept for")
}

/// Who answers for the end users of a call.
fn owner(named: Option<&[Scope]>, principal: Option<&Principal>) -> Option<Arc<str>> {
    match named {
        Some(scopes) => scopes.first().map(|scope| Arc::clone(&scope.id)),
        None => {
            let principal = principal?;
            let ids = [&principal.organisation, &principal.team, &principal.user, &principal.key];
            ids.into_iter().find_map(Clone::clone)
        }
    }
}

/// Whether every call has a scope of a kind, whoever makes it.
const fn by_call(kind: ScopeKind) -> bool {
    by_target(kind) || matches!(kind, ScopeKind::Model | ScopeKind::Gateway)
}

/// Whether a scope is the deployment of a target, or its provider.
fn is_of(scope: &Scope, target: &Target) -> bool {
    *scope.id == *id_of(scope.kind, target)
}

fn id_of(kind: ScopeKind, target: &Target) -> &str {
    match kind {
        ScopeKind::Deployment => target.deployment(),
        _ => target.provider(),
    }
}

/// Whether scopes of a kind are known only when the target is.
const fn by_target(kind: ScopeKind) -> bool {
    matches!(kind, ScopeKind::Deployment | ScopeKind::Provider)
}

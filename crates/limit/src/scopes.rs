//! Which limits a call is under.

use std::{mem, sync::Arc};

use http::{Extensions, Request, request::Parts};
use smallvec::SmallVec;
use ziggurat_core::{Body, Call, Limit, Plan, Principal, Scope, ScopeKind, Target};

use crate::{Ask, layer::Config};

/// The asks of one call, in place for as many as most calls have; filled where they stay, as they are not small.
pub(crate) type Asks = SmallVec<[Ask; 16]>;

/// Names the scopes of a request that is not read yet.
pub(crate) type ScopesOf = Arc<dyn Fn(&Parts, &mut Vec<Scope>) + Send + Sync>;

/// Names the limits of a target.
pub(crate) type LimitsOf = Arc<dyn Fn(&Target) -> Arc<[Limit]> + Send + Sync>;

/// The asks of one call, as they are gathered; amounts are put in later.
struct Gathered<'a> {
    config: &'a Config,
    /// Whose own limits stand in place of the rules'.
    principal: Option<&'a Principal>,
    model: Option<&'a str>,
    /// The group that this name stands for, where that is known: another name of it is no other allowance.
    group: Option<&'a str>,
    asks: &'a mut Asks,
}

// ===== impl Config =====

impl Config {
    /// The scopes that the host's closures name.
    pub(crate) fn scopes_of(&self, request: &mut Request<Body>) -> Vec<Scope> {
        let mut scopes = Vec::new();
        if !self.scopes.is_empty() {
            let (parts, body) = mem::take(request).into_parts();
            for name in &self.scopes {
                name(&parts, &mut scopes);
            }
            *request = Request::from_parts(parts, body);
        }
        scopes
    }

    /// What a call asks for: limits of the scopes that closures name, those of the principal, those of all calls, those of its target.
    pub(crate) fn asks(&self, extensions: &Extensions, call: &Call, named: &[Scope], asks: &mut Asks) {
        let principal = extensions.get::<Principal>().filter(|_| !self.per_attempt);
        let group = extensions.get::<Plan>().and_then(|plan| plan.group.as_deref());
        let mut gathered = Gathered { config: self, principal, model: call.model(), group, asks };
        let owner = if self.knows_clients() { owner(principal, named) } else { String::new() };
        for scope in named {
            gathered.rules(scope.kind, &scope.id);
        }
        if let Some(principal) = principal {
            gathered.of_principal(principal);
        }
        if !self.per_attempt {
            gathered.of_client(call, &owner);
        }
        gathered.of_all();
        if let Some(target) = extensions.get::<Target>() {
            gathered.of_target(target);
        }
    }

    fn has_rule(&self, kind: ScopeKind) -> bool {
        self.rules.iter().any(|rule| rule.account.scope.kind == kind)
    }

    fn knows_clients(&self) -> bool {
        !self.per_attempt && (self.has_rule(ScopeKind::EndUser) || self.has_rule(ScopeKind::Tag))
    }
}

// ===== impl Gathered =====

impl Gathered<'_> {
    fn of_principal(&mut self, principal: &Principal) {
        for (kind, id) in principal.ids() {
            self.rules_for(kind, || Arc::clone(id));
        }
        if let (Some(team), Some(user)) = (&principal.team, &principal.user) {
            self.rules_for(ScopeKind::Member, || joined(team, user));
        }
        for tag in principal.tags.iter() {
            self.rules_for(ScopeKind::Tag, || Arc::clone(tag));
        }
        for limit in principal.limits.iter() {
            self.push(limit.clone());
        }
    }

    /// What the client says of itself. It is counted beside its key's limits, and under the name of who it belongs to: no client reaches
    /// into the counts of another's users.
    fn of_client(&mut self, call: &Call, owner: &str) {
        if self.config.has_rule(ScopeKind::EndUser)
            && let Some(user) = call.end_user()
        {
            self.rules_for(ScopeKind::EndUser, || joined(owner, &user));
        }
        if self.config.has_rule(ScopeKind::Tag) {
            let known = self.principal.map_or(&[][..], |principal| &principal.tags);
            for tag in call.tags().iter().take(MAX_CLIENT_TAGS) {
                if !known.iter().any(|known| **known == **tag) {
                    self.rules_for(ScopeKind::Tag, || joined(owner, tag));
                }
            }
        }
    }

    fn of_all(&mut self) {
        if let Some(model) = self.model {
            self.rules_for(ScopeKind::Model, || model.into());
        }
        self.rules_for(ScopeKind::Gateway, || "".into());
        for limit in &self.config.fixed {
            self.push(limit.clone());
        }
    }

    fn of_target(&mut self, target: &Target) {
        self.rules_for(ScopeKind::Deployment, || target.deployment().into());
        self.rules_for(ScopeKind::Provider, || target.provider().into());
        if let Some(limits) = &self.config.targets {
            for limit in limits(target).iter() {
                self.push(limit.clone());
            }
        }
    }

    fn rules_for(&mut self, kind: ScopeKind, id: impl FnOnce() -> Arc<str>) {
        if self.config.has_rule(kind) {
            self.rules(kind, &id());
        }
    }

    /// Adds what the rules say of a scope; a limit of its own, of the same measure, stands in place of a rule.
    fn rules(&mut self, kind: ScopeKind, id: &Arc<str>) {
        let config = self.config;
        for rule in config.rules.iter().filter(|rule| rule.account.scope.kind == kind) {
            if !self.has_own(kind, id, rule) {
                let mut limit = rule.clone();
                limit.account.scope.id = Arc::clone(id);
                self.push(limit);
            }
        }
    }

    fn has_own(&self, kind: ScopeKind, id: &str, rule: &Limit) -> bool {
        self.principal.is_some_and(|principal| {
            principal.limits.iter().any(|own| {
                let theirs = &own.account.scope;
                // A call has one end user, whatever its id is made of.
                let same = theirs.kind == kind && (kind == ScopeKind::EndUser || *theirs.id == *id);
                same && own.measure == rule.measure
            })
        })
    }

    /// Adds a limit if it is for this model; an account that is there already counts once, under the smaller limit.
    fn push(&mut self, limit: Limit) {
        // Without a name it is for all models, so that a group that is not known is none of its own.
        if ![self.model, self.group].into_iter().any(|model| limit.account.is_for(model)) {
            return;
        }
        let same = |ask: &&mut Ask| {
            let known = &ask.limit;
            known.measure == limit.measure && known.per == limit.per && known.account == limit.account
        };
        match self.asks.iter_mut().find(same) {
            Some(ask) => ask.limit.most = ask.limit.most.min(limit.most),
            None => self.asks.push(Ask::new(limit, 0)),
        }
    }
}

/// To whom a name that a client gives belongs: to the widest that is known of it.
fn owner(principal: Option<&Principal>, named: &[Scope]) -> String {
    let known = principal.and_then(|principal| {
        principal
            .organisation
            .as_ref()
            .or(principal.team.as_ref())
            .or(principal.user.as_ref())
            .or(principal.key.as_ref())
    });
    let id = known.or_else(|| named.first().map(|scope| &scope.id));
    id.map_or_else(String::new, |id| id.to_string())
}

fn joined(owner: &str, name: &str) -> Arc<str> {
    // The length keeps `a` + `bc` apart from `ab` + `c`.
    format!("{}:{owner}/{name}", owner.len()).into()
}

/// Tags that are read of a call: those of its principal are not bounded by this.
const MAX_CLIENT_TAGS: usize = 16;

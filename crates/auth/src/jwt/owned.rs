//! Tokens of teams and users that a store knows.

use std::{fmt, sync::Arc};

use ziggurat_core::{Profile, Reply};

use super::Jwt;
use crate::{
    Authenticate, Authenticated, Credential, Denied, Identity, KeyRecord, KeyStore, KnownCustomer, Owner,
    VirtualKeys,
};

/// Tokens, with what a store says of the team and the user that they name: budgets, limits, models, blocking. Cheap to clone.
///
/// A token whose team or user the store does not know is refused as a wrong one, unless told otherwise: one that was deleted would else
/// have no budget any more. An administrator's is not. That a token is an administrator's is for the token alone to say.
pub struct OwnedTokens<S> {
    jwt: Jwt,
    keys: VirtualKeys<S>,
    unknown_users: bool,
    unknown_teams: bool,
}

// ===== impl OwnedTokens =====

impl<S: KeyStore> OwnedTokens<S> {
    /// Tokens of teams and users in the store of these keys.
    #[must_use]
    pub fn new(jwt: Jwt, keys: VirtualKeys<S>) -> Self {
        Self { jwt, keys, unknown_users: false, unknown_teams: false }
    }

    /// Lets in, with nothing but their names, users whom the store does not know.
    #[must_use]
    pub fn unknown_users(mut self, let_in: bool) -> Self {
        self.unknown_users = let_in;
        self
    }

    /// Lets in, with nothing but their names, teams that the store does not know.
    #[must_use]
    pub fn unknown_teams(mut self, let_in: bool) -> Self {
        self.unknown_teams = let_in;
        self
    }

    /// Whoever a token is of, with what is known of their team and user.
    fn admit(&self, token: &Identity, known: &KeyRecord) -> Authenticated {
        let mut record = token.record().clone();
        let own = &mut *record.principal;
        let is_unknown = |named: bool, known: &Option<Arc<str>>| named && known.is_none();
        let user_is_unknown = is_unknown(own.user.is_some(), &known.principal.user);
        let team_is_unknown = is_unknown(!record.teams.is_empty(), &known.principal.team);
        let may_be_unknown = |let_in: bool| let_in || record.admin;
        if known.blocked
            || user_is_unknown && !may_be_unknown(self.unknown_users)
            || team_is_unknown && !may_be_unknown(self.unknown_teams)
        {
            return Err(Denied::Invalid);
        }
        let Profile { team, organisation, tags, models, budgets, limits, .. } = &*known.principal;
        own.team = team.clone().or(own.team.take());
        own.organisation = own.organisation.take().or_else(|| organisation.clone());
        let more = tags.iter().filter(|tag| !own.tags.contains(tag));
        own.tags = own.tags.iter().chain(more).cloned().collect();
        own.budgets = own.budgets.iter().chain(&**budgets).cloned().collect();
        own.limits = own.limits.iter().chain(&**limits).cloned().collect();
        own.narrow_models(models.as_deref());
        record.aliases = Arc::clone(&known.aliases);
        record.teams = Arc::default();
        Ok(Some(Identity::new(record)))
    }

    fn owner(&self, token: &Identity) -> Reply<Authenticated> {
        let record = token.record();
        let owner = Owner::new(record.principal.user.clone(), Arc::clone(&record.teams));
        match self.keys.owner(owner) {
            Reply::Ready(known) => Reply::Ready(known.and_then(|known| self.admit(token, &known))),
            Reply::Later(known) => {
                let (this, token) = (self.clone(), token.clone());
                Reply::Later(Box::pin(async move { this.admit(&token, &*known.await?) }))
            }
        }
    }
}

impl<S: KeyStore> Authenticate for OwnedTokens<S> {
    fn authenticate(&self, credential: &Credential<'_>) -> Reply<Authenticated> {
        match self.jwt.authenticate(credential) {
            Reply::Ready(Ok(Some(token))) => self.owner(&token),
            Reply::Ready(other) => Reply::Ready(other),
            Reply::Later(verified) => {
                let this = self.clone();
                Reply::Later(Box::pin(async move {
                    match verified.await? {
                        Some(token) => this.owner(&token).wait().await,
                        None => Ok(None),
                    }
                }))
            }
        }
    }

    fn customer(&self, id: &str) -> Reply<KnownCustomer> {
        self.keys.customer(id)
    }
}

impl<S> Clone for OwnedTokens<S> {
    fn clone(&self) -> Self {
        let Self { jwt, keys, unknown_users, unknown_teams } = self;
        let (unknown_users, unknown_teams) = (*unknown_users, *unknown_teams);
        Self { jwt: jwt.clone(), keys: keys.clone(), unknown_users, unknown_teams }
    }
}

impl<S> fmt::Debug for OwnedTokens<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedTokens").field("jwt", &self.jwt).finish_non_exhaustive()
    }
}

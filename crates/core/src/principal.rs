//! Who makes a call.

use std::sync::Arc;

use crate::{Budget, Limit, ScopeKind};

/// Who makes the call, and what they may use: written as a request extension by `auth`, or by the host that authenticated the
/// caller itself. Ids are opaque; `None` means not known, never 'everyone'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// The id of the key that was presented; never the key.
    pub key: Option<Arc<str>>,
    /// The team the key belongs to.
    pub team: Option<Arc<str>>,
    /// The user the key belongs to.
    pub user: Option<Arc<str>>,
    /// The organisation of the team.
    pub organisation: Option<Arc<str>>,
    /// Tags of the key and the team.
    pub tags: Arc<[Arc<str>]>,
    /// The models the caller may name; `None` allows every model. An entry may end in `*`.
    pub models: Option<Arc<[Arc<str>]>>,
    /// The budgets that apply, the most specific first.
    pub budgets: Arc<[Budget]>,
    /// The limits that apply, the most specific first.
    pub limits: Arc<[Limit]>,
}

impl Principal {
    /// The ids of the caller's own that are known, with the kind of scope that each names; tags apart.
    pub fn ids(&self) -> impl Iterator<Item = (ScopeKind, &Arc<str>)> {
        let ids = [
            (ScopeKind::Key, &self.key),
            (ScopeKind::User, &self.user),
            (ScopeKind::Team, &self.team),
            (ScopeKind::Organisation, &self.organisation),
        ];
        ids.into_iter().filter_map(|(kind, id)| Some((kind, id.as_ref()?)))
    }

    /// Whether the caller may use the model it names.
    #[must_use]
    pub fn may_use(&self, model: &str) -> bool {
        self.models.as_deref().is_none_or(|allowed| {
            allowed.iter().any(|entry| match entry.strip_suffix('*') {
                Some(prefix) => model.starts_with(prefix),
                None => **entry == *model,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn may_use_what_is_listed_and_nothing_else() {
        let mut principal = Principal::default();
        assert!(principal.may_use("gpt-4o"));
        principal.models = Some(["gpt-4o".into(), "claude-*".into()].into());
        assert!(principal.may_use("gpt-4o") && principal.may_use("claude-sonnet"));
        assert!(!principal.may_use("gpt-4o-mini") && !principal.may_use("o3"));
        principal.models = Some(Arc::new([]));
        assert!(!principal.may_use("gpt-4o"));
    }
}

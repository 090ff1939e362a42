//! Who makes a call.

use std::{
    collections::HashSet,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use crate::{Budget, Limit, ScopeKind};

/// Who makes the call, and what they may use: written as a request extension by `auth`, or by the host that authenticated the
/// caller itself.
///
/// One shared handle of a [`Profile`], whose fields are read and written through it: a copy costs one count, which is what each call of
/// a known key takes, and what changes in a copy changes there alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal(Arc<Profile>);

/// What a [`Principal`] says. Ids are opaque; `None` means not known, never 'everyone'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
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
    /// The controls of a cache that the caller may use (`no-cache`, `ttl`, ...); `None` allows all.
    pub cache_controls: Option<Arc<[Arc<str>]>>,
    /// The budgets that apply, the most specific first.
    pub budgets: Arc<[Budget]>,
    /// The limits that apply, the most specific first.
    pub limits: Arc<[Limit]>,
}

// ===== impl Principal =====

impl Deref for Principal {
    type Target = Profile;

    fn deref(&self) -> &Profile {
        &self.0
    }
}

impl DerefMut for Principal {
    fn deref_mut(&mut self) -> &mut Profile {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Profile> for Principal {
    fn from(profile: Profile) -> Self {
        Self(Arc::new(profile))
    }
}

// ===== impl Profile =====

impl Profile {
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
            // Names first: those of another length are not even looked at.
            allowed.iter().any(|entry| **entry == *model)
                || allowed
                    .iter()
                    .any(|entry| entry.strip_suffix('*').is_some_and(|prefix| model.starts_with(prefix)))
        })
    }

    /// Takes away the models that are not in `allowed` too, as where a key's list meets its team's; `None` allows every model, and
    /// so changes nothing.
    pub fn narrow_models(&mut self, allowed: Option<&[Arc<str>]>) {
        self.models = match (self.models.take(), allowed) {
            (Some(own), Some(allowed)) => Some(both(&own, allowed)),
            (own, allowed) => own.or_else(|| allowed.map(Arc::from)),
        };
    }
}

/// What is in both lists. What two entries share is the one of them that the other covers, or nothing: the list has no more entries
/// than both have.
fn both(one: &[Arc<str>], other: &[Arc<str>]) -> Arc<[Arc<str>]> {
    let (by_one, by_other) = (Covered::by(one), Covered::by(other));
    let ours = one.iter().filter(|entry| by_other.has(entry));
    // An entry that is in both lists is there already.
    let own: HashSet<&str> = one.iter().map(|entry| &**entry).collect();
    let theirs = other.iter().filter(|entry| by_one.has(entry) && !own.contains(&***entry));
    ours.chain(theirs).cloned().collect()
}

/// What a list names, so that asking takes no longer for a longer list.
struct Covered<'l> {
    names: HashSet<&'l str>,
    /// The beginnings of its patterns in order, none of which begins another.
    beginnings: Vec<&'l str>,
}

// ===== impl Covered =====

impl<'l> Covered<'l> {
    fn by(list: &'l [Arc<str>]) -> Self {
        let names = list.iter().map(|entry| &**entry).filter(|entry| !entry.ends_with('*')).collect();
        let mut beginnings: Vec<&str> = list.iter().filter_map(|entry| entry.strip_suffix('*')).collect();
        beginnings.sort_unstable();
        beginnings.dedup_by(|next, kept| next.starts_with(*kept));
        Self { names, beginnings }
    }

    /// Whether all models that an entry names are named here.
    fn has(&self, entry: &str) -> bool {
        let start = entry.strip_suffix('*').unwrap_or(entry);
        // Between a beginning and what begins with it stand only others that begin with it.
        let behind = self.beginnings.partition_point(|beginning| *beginning <= start);
        let begins = behind.checked_sub(1).is_some_and(|at| start.starts_with(self.beginnings[at]));
        begins || self.names.contains(entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(entries: &[&str]) -> Vec<Arc<str>> {
        entries.iter().map(|entry| Arc::from(*entry)).collect()
    }

    fn narrowed(own: Option<&[&str]>, allowed: Option<&[&str]>) -> Option<Vec<String>> {
        let mut profile = Profile { models: own.map(|own| list(own).into()), ..Profile::default() };
        profile.narrow_models(allowed.map(list).as_deref());
        profile.models.map(|models| models.iter().map(|model| model.to_string()).collect())
    }

    #[test]
    fn a_narrower_list_holds_what_both_hold() {
        let some = |entries: &[&str]| Some(entries.iter().map(|entry| entry.to_string()).collect());
        assert_eq!(narrowed(None, None), None);
        assert_eq!(narrowed(Some(&["a"]), None), some(&["a"]));
        assert_eq!(narrowed(None, Some(&["a"])), some(&["a"]));
        assert_eq!(narrowed(Some(&["a", "b"]), Some(&["b", "c"])), some(&["b"]));
        assert_eq!(narrowed(Some(&["gpt-*"]), Some(&["gpt-4o", "claude"])), some(&["gpt-4o"]));
        assert_eq!(narrowed(Some(&["gpt-4*"]), Some(&["gpt-*", "o*"])), some(&["gpt-4*"]));
        assert_eq!(narrowed(Some(&["*", "a"]), Some(&["a", "b*"])), some(&["a", "b*"]));
        assert_eq!(narrowed(Some(&["a*"]), Some(&["b*"])), some(&[]));
        // Without a `*` it is a name, whatever begins like it.
        assert_eq!(narrowed(Some(&["a"]), Some(&["a*b"])), some(&[]));
    }

    #[test]
    fn long_lists_of_patterns_are_compared_in_a_moment() {
        // One by one these would be 40 thousand million comparisons.
        let list = |letter: &str| -> Vec<Arc<str>> {
            (0..200_000).map(|number| format!("{letter}{number:06}-*").into()).collect()
        };
        let mut principal = Profile { models: Some(list("a").into()), ..Profile::default() };
        principal.narrow_models(Some(&list("b")));
        assert_eq!(principal.models.as_deref(), Some(&[][..]));
        principal.models = Some(list("b").into());
        principal.narrow_models(Some(&list("b")));
        assert_eq!(principal.models.as_deref(), Some(&*list("b")));
    }

    proptest! {
        #[test]
        fn what_a_narrowed_list_allows_both_allow(
            own in proptest::collection::vec("[ab]{0,3}\\*?", 0..5),
            allowed in proptest::collection::vec("[ab]{0,3}\\*?", 0..5),
            model in "[ab]{0,4}\\*?",
        ) {
            let principal = |entries: &[String]| {
                let models = Some(entries.iter().map(|entry| entry.as_str().into()).collect());
                Profile { models, ..Profile::default() }
            };
            let (one, other) = (principal(&own), principal(&allowed));
            let mut narrow = one.clone();
            narrow.narrow_models(other.models.as_deref());
            prop_assert_eq!(narrow.may_use(&model), one.may_use(&model) && other.may_use(&model));
            prop_assert!(narrow.models.is_some_and(|models| models.len() <= own.len() + allowed.len()));
        }
    }

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

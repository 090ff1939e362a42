//! Which deployments the tags of a call leave.

use std::sync::Arc;

use ziggurat_core::{Call, Principal};

/// What the tags of a call do.
///
/// A call's tags choose among the deployments by theirs. `!tag` leaves out those that have it, and `&tag` those that do not, whatever else
/// there is. A call without other tags is for the deployments tagged `default`; where there is none, for all. One whose tags nobody has is for
/// those tagged `default`, too, and else for none. Health has no say in this: a call goes to no other deployments because those that its
/// tags name are down.
///
/// The tags of who calls, where there are any, choose first; those that the call itself names can then only narrow what these leave, to
/// none at all where it has no such deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagRules {
    /// Nothing.
    #[default]
    Ignore,
    /// A deployment must have any of them.
    Any,
    /// A deployment must have all of them.
    All,
}

/// What a call's tags leave of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool<'a> {
    rules: TagRules,
    wanted: &'a [Arc<str>],
    kind: PoolKind,
    /// What must be so besides: tags that leave no others than these name.
    narrowed: &'a [Arc<str>],
}

/// The tags of a call.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// Those of who calls.
    pub(crate) own: Vec<Arc<str>>,
    /// Those that the call itself names.
    pub(crate) named: Vec<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PoolKind {
    /// Those that the tags name.
    Named,
    /// Those tagged so.
    Default,
    /// All that are not left out.
    All,
}

const DEFAULT: &str = "default";

// ===== impl Tags =====

impl Tags {
    pub(crate) fn of(principal: Option<&Principal>, call: &Call) -> Self {
        let own = principal.map(|principal| principal.tags.to_vec()).unwrap_or_default();
        Self { own, named: call.tags().into_iter().map(Arc::from).collect() }
    }
}

// ===== impl Pool =====

impl<'a> Pool<'a> {
    /// The first pool for a caller with these tags that is not `empty`, narrowed by the tags that the call names; the pool for these
    /// where the caller has none.
    pub(crate) fn new(
        rules: TagRules,
        own: &'a [Arc<str>],
        named: &'a [Arc<str>],
        empty: impl Fn(&Self) -> bool,
    ) -> Option<Self> {
        let none: &[Arc<str>] = &[];
        let (wanted, narrowed) = if own.is_empty() { (named, none) } else { (own, named) };
        if rules == TagRules::Ignore {
            return Some(Self { rules, wanted, kind: PoolKind::All, narrowed });
        }
        let names = wanted.iter().any(|tag| !tag.starts_with('!'));
        let kinds =
            if names { [PoolKind::Named, PoolKind::Default] } else { [PoolKind::Default, PoolKind::All] };
        let mut pools = kinds.into_iter().map(|kind| Self { rules, wanted, kind, narrowed: none });
        // It is final: what narrows it opens no other.
        let pool = Self { narrowed, ..pools.find(|pool| !empty(pool))? };
        (narrowed.is_empty() || !empty(&pool)).then_some(pool)
    }

    /// Whether a deployment with these tags is in it.
    pub(crate) fn has(&self, tags: &[Arc<str>]) -> bool {
        self.rules == TagRules::Ignore
            || (self.leaves(self.kind, self.wanted, tags)
                && (self.narrowed.is_empty() || self.leaves(PoolKind::Named, self.narrowed, tags)))
    }

    /// Whether what is wanted leaves a deployment with these tags.
    fn leaves(&self, kind: PoolKind, wanted: &[Arc<str>], tags: &[Arc<str>]) -> bool {
        let tagged = |tag: &str| tags.iter().any(|own| **own == *tag);
        let (mut plain, mut found) = (0, 0);
        for tag in wanted {
            match tag.split_at_checked(1) {
                Some(("!", tag)) if tagged(tag) => return false,
                Some(("&", tag)) if !tagged(tag) => return false,
                Some(("!" | "&", _)) => {}
                _ => {
                    plain += 1;
                    found += usize::from(tagged(tag));
                }
            }
        }
        match kind {
            PoolKind::All => true,
            PoolKind::Default => tagged(DEFAULT),
            PoolKind::Named => plain == 0 || found == plain || (found > 0 && self.rules == TagRules::Any),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these deployments a call with these tags is for.
    fn left(rules: TagRules, deployments: &[&[&str]], wanted: &[&str]) -> Vec<usize> {
        let left = |own: &[&str], named: &[&str]| narrowed(rules, deployments, own, named);
        let own = left(wanted, &[]);
        assert_eq!(own, left(&[], wanted), "whoever names them");
        own
    }

    /// Which of these deployments a call that names tags is for, of a caller with tags.
    fn narrowed(rules: TagRules, deployments: &[&[&str]], own: &[&str], named: &[&str]) -> Vec<usize> {
        let tags = |tags: &[&str]| -> Vec<Arc<str>> { tags.iter().map(|tag| Arc::from(*tag)).collect() };
        let deployments: Vec<_> = deployments.iter().copied().map(tags).collect();
        let (own, named) = (tags(own), tags(named));
        let empty = |pool: &Pool<'_>| !deployments.iter().any(|tags| pool.has(tags));
        let Some(pool) = Pool::new(rules, &own, &named, empty) else { return Vec::new() };
        (0..deployments.len()).filter(|at| pool.has(&deployments[*at])).collect()
    }

    #[test]
    fn any_tag_is_enough_or_all_are_needed() {
        let deployments: &[&[&str]] = &[&["free"], &["paid"], &["paid", "eu"], &["default"], &[]];
        for (wanted, any, all) in [
            (&["free"][..], &[0][..], &[0][..]),
            (&["paid"], &[1, 2], &[1, 2]),
            (&["free", "eu"], &[0, 2], &[3]),
            (&["paid", "eu"], &[1, 2], &[2]),
            (&[], &[3], &[3]),
            (&["unknown"], &[3], &[3]),
            (&["paid", "!eu"], &[1], &[1]),
            (&["paid", "&eu"], &[2], &[2]),
            (&["&eu"], &[2], &[2]),
            (&["free", "&eu"], &[], &[]),
            (&["!default"], &[0, 1, 2, 4], &[0, 1, 2, 4]),
            (&["unknown", "!default"], &[], &[]),
        ] {
            assert_eq!(left(TagRules::Any, deployments, wanted), any, "any of {wanted:?}");
            assert_eq!(left(TagRules::All, deployments, wanted), all, "all of {wanted:?}");
            assert_eq!(left(TagRules::Ignore, deployments, wanted), [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn what_a_call_names_only_narrows_what_its_callers_tags_leave() {
        let deployments: &[&[&str]] =
            &[&["free"], &["paid"], &["paid", "eu"], &["free", "eu"], &["default"], &["default", "eu"]];
        for (own, named, any, all) in [
            (&["free"][..], &["paid"][..], &[][..], &[][..]),
            (&["free"], &["eu"], &[3], &[3]),
            (&["free"], &["eu", "paid"], &[3], &[]),
            (&["free"], &["!eu"], &[0], &[0]),
            (&["free"], &["&eu"], &[3], &[3]),
            (&["free"], &["!free"], &[], &[]),
            (&["free"], &["unknown"], &[], &[]),
            (&["free"], &["default"], &[], &[]),
            (&["!paid"], &["paid"], &[], &[]),
            (&["!paid"], &["!eu"], &[4], &[4]),
            (&["free", "!eu"], &["eu"], &[], &[]),
            (&["unknown"], &["eu"], &[5], &[5]),
            (&["unknown"], &["free"], &[], &[]),
        ] {
            assert_eq!(narrowed(TagRules::Any, deployments, own, named), any, "any of {own:?}, {named:?}");
            assert_eq!(narrowed(TagRules::All, deployments, own, named), all, "all of {own:?}, {named:?}");
            assert_eq!(narrowed(TagRules::Ignore, deployments, own, named), [0, 1, 2, 3, 4, 5]);
        }
    }

    #[test]
    fn without_a_default_pool_untagged_calls_are_for_all() {
        let deployments: &[&[&str]] = &[&["free"], &[]];
        assert_eq!(left(TagRules::Any, deployments, &[]), [0, 1]);
        assert_eq!(left(TagRules::Any, deployments, &["!free"]), [1]);
        assert_eq!(left(TagRules::Any, deployments, &["paid"]), [0; 0]);
    }
}

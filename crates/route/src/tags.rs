//! Which deployments the tags of a call leave.

use std::sync::Arc;

/// What the tags of a call do.
///
/// A call's tags choose among the deployments by theirs. `!tag` leaves out those that have it, and `&tag` those that do not, whatever else
/// there is. A call without other tags is for the deployments tagged `default`; where there is none, for all. One whose tags nobody has is for
/// those tagged `default`, too, and else for none. Health has no say in this: a call goes to no other deployments because those that its
/// tags name are down.
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

// ===== impl Pool =====

impl<'a> Pool<'a> {
    /// The first pool for a call with these tags that is not `empty`.
    pub(crate) fn new(
        rules: TagRules,
        wanted: &'a [Arc<str>],
        empty: impl Fn(&Self) -> bool,
    ) -> Option<Self> {
        if rules == TagRules::Ignore {
            return Some(Self { rules, wanted, kind: PoolKind::All });
        }
        let names = wanted.iter().any(|tag| !tag.starts_with('!'));
        let kinds =
            if names { [PoolKind::Named, PoolKind::Default] } else { [PoolKind::Default, PoolKind::All] };
        let pools = kinds.into_iter().map(|kind| Self { rules, wanted, kind });
        pools.into_iter().find(|pool| !empty(pool))
    }

    /// Whether a deployment with these tags is in it.
    pub(crate) fn has(&self, tags: &[Arc<str>]) -> bool {
        if self.rules == TagRules::Ignore {
            return true;
        }
        let tagged = |tag: &str| tags.iter().any(|own| **own == *tag);
        let (mut plain, mut found) = (0, 0);
        for tag in self.wanted {
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
        match self.kind {
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
        let tags = |tags: &[&str]| -> Vec<Arc<str>> { tags.iter().map(|tag| Arc::from(*tag)).collect() };
        let deployments: Vec<_> = deployments.iter().copied().map(tags).collect();
        let wanted = tags(wanted);
        let empty = |pool: &Pool<'_>| !deployments.iter().any(|tags| pool.has(tags));
        let Some(pool) = Pool::new(rules, &wanted, empty) else { return Vec::new() };
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
    fn without_a_default_pool_untagged_calls_are_for_all() {
        let deployments: &[&[&str]] = &[&["free"], &[]];
        assert_eq!(left(TagRules::Any, deployments, &[]), [0, 1]);
        assert_eq!(left(TagRules::Any, deployments, &["!free"]), [1]);
        assert_eq!(left(TagRules::Any, deployments, &["paid"]), [0; 0]);
    }
}

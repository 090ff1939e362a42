//! Which models a key may name, by what its team or its user may.

use std::collections::BTreeMap;

use ziggurat_auth::KeyRecord;

use super::{super::resolve, *};

fn record(key_models: &[&str], team: Option<&[&str]>, user: Option<&[&str]>) -> KeyRecord {
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let groups = BTreeMap::from([
        ("cheap".to_owned(), texts(&["mini", "nano-*"])),
        ("open".to_owned(), texts(&["*"])),
    ]);
    let mut found = resolve::Found { key: key("sk-1"), ..resolve::Found::default() };
    found.key.models = texts(key_models);
    if let Some(models) = team {
        found.key.team = some("t");
        let mut team = Team::new("t");
        team.models = texts(models);
        found.team = Some(team);
    }
    if let Some(models) = user {
        found.key.user = some("u");
        let mut user = User::new("u");
        user.models = texts(models);
        found.user = Some(user);
    }
    resolve::key(found, &Options::default().access_groups(groups)).unwrap()
}

#[test]
fn a_key_may_name_what_is_in_its_list_and_in_its_owners() {
    type Case<'a> = (&'a [&'a str], Option<&'a [&'a str]>, Option<&'a [&'a str]>, Option<&'a [&'a str]>);
    let cases: [Case<'_>; 28] = [
        // Its own list, its team's, its user's; what it may name.
        (&[], None, None, None),
        (&["a"], None, None, Some(&["a"])),
        (&["*"], None, None, None),
        (&["all-proxy-models"], None, None, None),
        (&["no-default-models"], None, None, Some(&[])),
        (&["no-default-models", "a"], None, None, Some(&["a"])),
        (&["all-team-models"], None, None, Some(&[])),
        (&["cheap"], None, None, Some(&["mini", "nano-*"])),
        (&["open"], None, None, None),
        (&["cheap", "mini", "cheap"], None, None, Some(&["mini", "nano-*"])),
        // A pattern is what it begins with, stars too.
        (&["ab"], Some(&["a**"]), None, Some(&[])),
        (&[], Some(&[]), None, None),
        (&[], Some(&["a", "b"]), None, Some(&["a", "b"])),
        (&["a", "c"], Some(&["a", "b"]), None, Some(&["a"])),
        (&["all-team-models"], Some(&["a", "b"]), None, Some(&["a", "b"])),
        (&["all-team-models", "c"], Some(&["a", "b"]), None, Some(&["a", "b"])),
        (&["all-proxy-models"], Some(&["a"]), None, Some(&["a"])),
        (&["c"], Some(&["a"]), None, Some(&[])),
        (&["a"], Some(&["all-proxy-models"]), None, Some(&["a"])),
        (&["a"], Some(&["no-default-models"]), None, Some(&[])),
        (&["nano-1", "x"], Some(&["cheap"]), None, Some(&["nano-1"])),
        (&["gpt-*"], Some(&["gpt-4", "gpt-4*", "claude"]), None, Some(&["gpt-4", "gpt-4*"])),
        (&["gpt-4*"], Some(&["gpt-*"]), None, Some(&["gpt-4*"])),
        (&["gpt-4*", "gpt-4"], Some(&["gpt-4*"]), None, Some(&["gpt-4*", "gpt-4"])),
        (&["gpt-4*"], Some(&["gpt-4"]), None, Some(&["gpt-4"])),
        (&[], None, Some(&["a"]), Some(&["a"])),
        (&["a", "b"], None, Some(&["b", "c"]), Some(&["b"])),
        (&["a", "b"], Some(&["a"]), Some(&["b"]), Some(&["a"])),
    ];
    for (own, team, user, expected) in cases {
        let record = record(own, team, user);
        let models = record.principal.models.as_deref();
        let models = models.map(|models| models.iter().map(|model| &**model).collect::<Vec<_>>());
        assert_eq!(models.as_deref(), expected, "{own:?} {team:?} {user:?}");
    }
}

#[test]
fn what_is_named_and_not_there_is_an_error() {
    let mut found = resolve::Found { key: key("sk-1"), ..resolve::Found::default() };
    found.key.budget = some("b");
    assert!(resolve::key(found, &Options::default()).is_err());
    let mut found = resolve::Found { key: key("sk-1"), ..resolve::Found::default() };
    found.key.team = some("t");
    assert!(resolve::key(found, &Options::default()).is_err());
}

proptest::proptest! {
    /// What is allowed is what both lists allow.
    #[test]
    fn two_lists_allow_what_each_of_them_does(
        one in proptest::collection::vec("[ab]{0,3}\\*?", 1..6),
        other in proptest::collection::vec("[ab]{0,3}\\*?", 1..6),
        model in "[ab]{0,4}",
    ) {
        let (own, theirs): (Vec<_>, Vec<_>) =
            (one.iter().map(String::as_str).collect(), other.iter().map(String::as_str).collect());
        let both = record(&own, Some(&theirs), None).principal.may_use(&model);
        let each = record(&own, None, None).principal.may_use(&model) && record(&theirs, None, None).principal.may_use(&model);
        proptest::prop_assert_eq!(both, each);
    }
}

//! What is stored is found again, as it is.

use super::*;

pub(super) async fn what_is_added_is_found_changed_and_deleted(directory: &Directory) {
    let mut template = BudgetTemplate::new("small");
    template.allowance.max_budget = Some(Usd::pico(1_500_000_000_001));
    let template = directory.insert_budget(template).await.unwrap();
    assert_eq!(template.created_at, Some(now()));
    assert_eq!(directory.get_budget("small").await.unwrap(), template);

    let mut team = Team::new("acme");
    team.alias = some("Acme");
    team.organisation = some("org");
    team.budget = some("small");
    team.models = vec!["gpt-*".to_owned()];
    team.metadata.insert("note".to_owned(), json!({ "a": [1, 2.5, null, "\n"] }));
    let mut theirs = team.allowance.clone();
    theirs.rpm_limit = Some(u64::MAX);
    team.member_allowance = Some(theirs);
    let team = directory.insert_team(team).await.unwrap();
    assert_eq!(directory.get_team("acme").await.unwrap(), team);

    let mut user = User::new("ada");
    user.email = some("ada@example.org");
    user.role = some("proxy_admin");
    let user = directory.insert_user(user).await.unwrap();
    assert_eq!(directory.get_user("ada").await.unwrap(), user);

    let mut member = Member::new("acme", "ada");
    member.role = some("admin");
    let member = directory.add_member(member).await.unwrap();
    assert_eq!(directory.get_member("acme", "ada").await.unwrap(), member);

    let mut customer = Customer::new("c");
    customer.allowance.budget_duration = some("1d");
    let customer = directory.insert_customer(customer).await.unwrap();
    assert_eq!(directory.get_customer("c").await.unwrap(), customer);

    let mut key = key("sk-1");
    key.name = "sk-...k-1".to_owned();
    key.alias = some("first");
    key.user = some("ada");
    key.team = some("acme");
    key.budget = some("small");
    key.expires_at = Some(now() + Duration::from_nanos(1_999));
    key.aliases.insert("smart".to_owned(), "gpt-4o".to_owned());
    key.allowance.model_rpm_limit.insert("gpt-4o".to_owned(), 0);
    let key = directory.insert_key(key).await.unwrap();
    assert_eq!(key.id, hash("sk-1").to_string());
    assert_eq!(key.expires_at, Some(now() + Duration::from_micros(1)));
    assert_eq!(directory.get_key(&key.hash).await.unwrap(), key);
    assert_eq!(directory.get_key_by_alias("first").await.unwrap(), key);

    let changed = directory.update_key(&key.hash, |key| {
        key.alias = None;
        key.tags.push("t".to_owned());
        Ok(())
    });
    let changed = changed.await.unwrap();
    assert_eq!(directory.get_key(&key.hash).await.unwrap(), changed);
    assert_eq!(directory.get_key_by_alias("first").await, Err(DirectoryError::NotFound));
    assert!(directory.set_key_blocked(&key.hash, true).await.unwrap().blocked);
    assert!(directory.set_team_blocked("acme", true).await.unwrap().blocked);
    assert!(directory.set_user_blocked("ada", true).await.unwrap().blocked);
    assert!(directory.set_customer_blocked("c", true).await.unwrap().blocked);
    assert!(directory.get_customer("c").await.unwrap().blocked);
    directory.update_member("acme", "ada", set(|member: &mut Member| member.role = None)).await.unwrap();
    directory.update_user("ada", set(|user: &mut User| user.email = some("a@b"))).await.unwrap();
    directory.update_team("acme", set(|team: &mut Team| team.budget = None)).await.unwrap();
    directory.update_customer("c", set(|customer: &mut Customer| customer.alias = some("C"))).await.unwrap();

    let in_use = directory.delete_budget("small").await;
    assert_eq!(in_use, Err(DirectoryError::Conflict("budget in use")));
    directory.delete_key(&key.hash).await.unwrap();
    directory.delete_budget("small").await.unwrap();
    directory.remove_member("acme", "ada").await.unwrap();
    directory.delete_customer("c").await.unwrap();
    directory.delete_team("acme").await.unwrap();
    directory.delete_user("ada").await.unwrap();
    let gone = [
        directory.delete_key(&key.hash).await,
        directory.delete_budget("small").await,
        directory.remove_member("acme", "ada").await,
        directory.delete_customer("c").await,
        directory.delete_team("acme").await,
        directory.delete_user("ada").await,
        directory.get_key(&key.hash).await.map(drop),
        directory.update_team("acme", |_| Ok(())).await.map(drop),
    ];
    assert_eq!(gone, [const { Err(DirectoryError::NotFound) }; 8]);
}

pub(super) async fn what_a_newer_version_wrote_is_kept(directory: &Directory) {
    let mut team = Team::new("t");
    team.unknown.insert("colour".to_owned(), json!("red"));
    team.allowance.unknown.insert("tpd_limit".to_owned(), json!(5));
    directory.insert_team(team).await.unwrap();
    directory.set_team_blocked("t", true).await.unwrap();
    let team = directory.get_team("t").await.unwrap();
    assert_eq!(team.unknown.get("colour"), Some(&json!("red")));
    assert_eq!(team.allowance.unknown.get("tpd_limit"), Some(&json!(5)));
}

pub(super) async fn ids_and_aliases_are_unique(directory: &Directory) {
    directory.insert_team(Team::new("x")).await.unwrap();
    directory.insert_user(User::new("x")).await.unwrap();
    directory.insert_customer(Customer::new("x")).await.unwrap();
    directory.insert_budget(BudgetTemplate::new("x")).await.unwrap();
    directory.add_member(Member::new("x", "x")).await.unwrap();
    let mut first = key("sk-1");
    first.alias = some("x");
    directory.insert_key(first.clone()).await.unwrap();
    let mut same_alias = key("sk-2");
    same_alias.alias = some("x");
    first.alias = None;
    let twice = [
        directory.insert_team(Team::new("x")).await.map(drop),
        directory.insert_user(User::new("x")).await.map(drop),
        directory.insert_customer(Customer::new("x")).await.map(drop),
        directory.insert_budget(BudgetTemplate::new("x")).await.map(drop),
        directory.add_member(Member::new("x", "x")).await.map(drop),
        directory.insert_key(first).await.map(drop),
        directory.insert_key(same_alias).await.map(drop),
    ];
    let expected = ["team", "user", "customer", "budget", "member", "key", "key_alias"];
    assert_eq!(twice, expected.map(|what| Err(DirectoryError::Conflict(what))));
    directory.insert_key(key("sk-3")).await.unwrap();
    let taken = directory.update_key(&hash("sk-3"), set(|key: &mut Key| key.alias = some("x"))).await;
    assert_eq!(taken, Err(DirectoryError::Conflict("key_alias")));
    assert_eq!(directory.list_keys(&KeyFilter::default(), Page::default()).await.unwrap().total, 2);
}

pub(super) async fn what_is_named_is_there(directory: &Directory) {
    let unknown = |field: &str| Err(DirectoryError::invalid(field, "is not known"));
    let mut of_team = key("sk-1");
    of_team.team = some("nowhere");
    assert_eq!(directory.insert_key(of_team).await, unknown("team").map(|()| key("")));
    let mut budgeted = User::new("u");
    budgeted.budget = some("nothing");
    assert_eq!(directory.insert_user(budgeted).await.map(drop), unknown("budget"));
    assert_eq!(directory.add_member(Member::new("nowhere", "u")).await.map(drop), unknown("team"));
    directory.insert_team(Team::new("t")).await.unwrap();
    let changed = directory.update_team("t", set(|team: &mut Team| team.budget = some("nothing"))).await;
    assert_eq!(changed.map(drop), unknown("budget"));
    assert_eq!(directory.get_team("t").await.unwrap().budget, None);
    assert_eq!(directory.get_user("u").await, Err(DirectoryError::NotFound));
}

pub(super) async fn identities_and_the_time_of_making_stay(directory: &Directory) {
    let fixed = || Err(DirectoryError::invalid("id", "cannot be changed"));
    directory.insert_team(Team::new("t")).await.unwrap();
    directory.insert_key(key("sk-1")).await.unwrap();
    let renamed = directory.update_team("t", set(|team: &mut Team| team.id = "u".to_owned())).await;
    assert_eq!(renamed.map(drop), fixed());
    let moved = directory.update_key(&hash("sk-1"), set(|key: &mut Key| key.id = "mine".to_owned())).await;
    assert_eq!(moved.map(drop), fixed());
    let rehashed = directory.update_key(&hash("sk-1"), set(|key: &mut Key| key.hash = hash("sk-2"))).await;
    assert_eq!(rehashed.map(drop), fixed());
    let backdated =
        directory.update_team("t", set(|team: &mut Team| team.created_at = Some(UNIX_EPOCH))).await.unwrap();
    assert_eq!((backdated.created_at, backdated.updated_at), (Some(now()), Some(now())));
    let mut chosen = key("sk-3");
    chosen.id = "chosen".to_owned();
    assert_eq!(directory.insert_key(chosen).await.unwrap().id, hash("sk-3").to_string());
}

pub(super) async fn lists_filter_and_page(directory: &Directory) {
    for team in ["a", "b"] {
        let mut team = Team::new(team);
        team.organisation = some("org");
        directory.insert_team(team).await.unwrap();
    }
    let mut user = User::new("u");
    user.email = some("u@example.org");
    directory.insert_user(user).await.unwrap();
    directory.insert_user(User::new("v")).await.unwrap();
    directory.add_member(Member::new("a", "u")).await.unwrap();
    for number in 0..5 {
        let mut key = key(&format!("sk-{number}"));
        key.team = some(if number < 3 { "a" } else { "b" });
        key.user = (number % 2 == 0).then(|| "u".to_owned());
        directory.insert_key(key).await.unwrap();
    }
    let mut filter = KeyFilter::default();
    let all = directory.list_keys(&filter, Page::default()).await.unwrap();
    assert_eq!((all.items.len(), all.total), (5, 5));
    let part = directory.list_keys(&filter, Page::new(3, 1)).await.unwrap();
    assert_eq!((part.items.as_slice(), part.total), (&all.items[3..4], 5));
    let past = directory.list_keys(&filter, Page::new(u64::MAX, u32::MAX)).await.unwrap();
    assert_eq!((past.items.len(), past.total), (0, 5));
    filter.team = some("a");
    assert_eq!(directory.list_keys(&filter, Page::default()).await.unwrap().total, 3);
    filter.user = some("u");
    assert_eq!(directory.list_keys(&filter, Page::default()).await.unwrap().total, 2);
    filter.alias = some("none");
    assert_eq!(directory.list_keys(&filter, Page::default()).await.unwrap().total, 0);

    let teams = TeamFilter { member: some("u"), organisation: some("org"), ..TeamFilter::default() };
    let teams = directory.list_teams(&teams, Page::default()).await.unwrap();
    assert_eq!(teams.items.iter().map(|team| &*team.id).collect::<Vec<_>>(), ["a"]);
    let users = UserFilter { team: some("a"), ..UserFilter::default() };
    assert_eq!(directory.list_users(&users, Page::default()).await.unwrap().items[0].id, "u");
    let users = UserFilter { email: some("u@example.org"), ..UserFilter::default() };
    assert_eq!(directory.list_users(&users, Page::default()).await.unwrap().total, 1);
    let members = MemberFilter { team: some("a"), user: some("v") };
    assert_eq!(directory.list_members(&members, Page::default()).await.unwrap().total, 0);
    assert_eq!(directory.list_members(&MemberFilter::default(), Page::default()).await.unwrap().total, 1);
    assert_eq!(directory.list_customers(Page::default()).await.unwrap().total, 0);
    assert_eq!(directory.list_budgets(Page::default()).await.unwrap().total, 0);
}

pub(super) async fn a_team_goes_with_its_keys_and_members(directory: &Directory) {
    for team in ["gone", "stays"] {
        directory.insert_team(Team::new(team)).await.unwrap();
        directory.add_member(Member::new(team, "u")).await.unwrap();
        let mut key = key(&format!("sk-{team}"));
        key.team = some(team);
        directory.insert_key(key).await.unwrap();
    }
    directory.delete_team("gone").await.unwrap();
    assert!(directory.key(&hash("sk-gone")).await.unwrap().is_none());
    assert!(directory.key(&hash("sk-stays")).await.unwrap().is_some());
    let left = directory.list_members(&MemberFilter::default(), Page::default()).await.unwrap();
    assert_eq!(left.items.iter().map(|member| &*member.team).collect::<Vec<_>>(), ["stays"]);
}

pub(super) async fn a_user_goes_with_its_keys_and_memberships(directory: &Directory) {
    directory.insert_team(Team::new("t")).await.unwrap();
    for user in ["gone", "stays"] {
        directory.insert_user(User::new(user)).await.unwrap();
        directory.add_member(Member::new("t", user)).await.unwrap();
        for team in [None, some("t")] {
            let mut key = key(&format!("sk-{user}-{}", team.is_some()));
            (key.user, key.team) = (some(user), team);
            directory.insert_key(key).await.unwrap();
        }
    }
    directory.delete_user("gone").await.unwrap();
    assert_eq!(directory.list_keys(&KeyFilter::default(), Page::default()).await.unwrap().total, 2);
    assert!(directory.key(&hash("sk-stays-true")).await.unwrap().is_some());
    assert_eq!(directory.get_member("t", "gone").await, Err(DirectoryError::NotFound));
    // One that is not there takes nothing with it.
    let mut orphan = key("sk-orphan");
    orphan.user = some("nobody");
    directory.insert_key(orphan).await.unwrap();
    assert_eq!(directory.delete_user("nobody").await, Err(DirectoryError::NotFound));
    assert!(directory.key(&hash("sk-orphan")).await.unwrap().is_some());
}

pub(super) async fn concurrent_changes_lose_nothing(directory: &Directory) {
    directory.insert_team(Team::new("t")).await.unwrap();
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let directory = directory.clone();
            tokio::spawn(async move {
                directory
                    .update_team("t", move |team| {
                        team.tags.push(format!("{number}"));
                        team.allowance.rpm_limit = Some(team.allowance.rpm_limit.unwrap_or(0) + 1);
                        Ok(())
                    })
                    .await
                    .unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let team = directory.get_team("t").await.unwrap();
    assert_eq!((team.tags.len(), team.allowance.rpm_limit), (40, Some(40)));
}

pub(super) async fn a_change_that_fails_changes_nothing(directory: &Directory) {
    directory.insert_team(Team::new("t")).await.unwrap();
    let before = directory.get_team("t").await.unwrap();
    let refused = directory
        .update_team("t", |team| {
            team.blocked = true;
            Err(DirectoryError::invalid("x", "no"))
        })
        .await;
    assert_eq!(refused, Err(DirectoryError::invalid("x", "no")));
    let refused =
        directory.update_team("t", set(|team: &mut Team| team.allowance.budget_duration = some("1y"))).await;
    assert!(
        matches!(refused, Err(DirectoryError::Invalid { field, .. }) if field == "allowance.budget_duration")
    );
    assert_eq!(directory.get_team("t").await.unwrap(), before);
}

pub(super) async fn a_regenerated_key_keeps_its_account(directory: &Directory) {
    let mut old = key("sk-old");
    old.alias = some("a");
    old.allowance.max_budget = Some(Usd::dollars(1));
    let old = directory.insert_key(old).await.unwrap();
    let before = directory.key(&old.hash).await.unwrap().unwrap();
    directory.insert_key(key("sk-other")).await.unwrap();
    let taken = directory.regenerate(&old.hash, hash("sk-other"), "sk-...").await;
    assert_eq!(taken, Err(DirectoryError::Conflict("key")));

    // What is changed with it is changed with it or not at all.
    let both = directory.regenerate_with(&old.hash, hash("sk-both"), "sk-...", |key| {
        (key.alias, key.team) = (some("changed"), some("nowhere"));
        Ok(())
    });
    assert!(matches!(both.await, Err(DirectoryError::Invalid { field, .. }) if field == "team"));
    assert_eq!(directory.get_key(&old.hash).await.unwrap().alias, old.alias);
    assert_eq!(directory.get_key(&hash("sk-both")).await, Err(DirectoryError::NotFound));
    let both = directory.regenerate_with(
        &old.hash,
        hash("sk-both"),
        "sk-...",
        set(|key: &mut Key| key.user = some("v")),
    );
    assert_eq!(both.await.unwrap().user, some("v"));
    let filter = KeyFilter { user: some("v"), ..KeyFilter::default() };
    assert_eq!(directory.list_keys(&filter, Page::default()).await.unwrap().total, 1);
    directory
        .regenerate_with(&hash("sk-both"), old.hash, &old.name, set(|key: &mut Key| key.user = None))
        .await
        .unwrap();
    let new = directory.regenerate(&old.hash, hash("sk-new"), "sk-...-new").await.unwrap();
    assert_eq!(
        (new.hash, &*new.name, &new.id, &new.alias),
        (hash("sk-new"), "sk-...-new", &old.id, &old.alias)
    );
    assert!(directory.key(&old.hash).await.unwrap().is_none());
    let after = directory.key(&new.hash).await.unwrap().unwrap();
    assert_eq!(after, before);
    assert_eq!(&*after.principal.budgets[0].account.scope.id, old.id);

    let again = directory.regenerate(&old.hash, hash("sk-x"), "sk-...").await;
    assert_eq!(again, Err(DirectoryError::NotFound));
    // What was revoked is not given out again, to anybody.
    assert_eq!(directory.insert_key(key("sk-old")).await, Err(DirectoryError::Conflict("key")));
    let other = directory.regenerate(&hash("sk-other"), old.hash, "sk-...").await;
    assert_eq!(other, Err(DirectoryError::Conflict("key")));
    assert_eq!(directory.regenerate(&new.hash, old.hash, "sk-...").await.unwrap().id, old.id);
}

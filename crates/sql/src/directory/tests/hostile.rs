//! What admins, and whoever calls in their name, may send.

use super::*;

/// What a change makes of a field, which is named.
type Named<F> = (&'static str, F);
type SetTo = fn(&mut Key, &str);

const SQL: [&str; 6] = [
    "'; DROP TABLE api_key; --",
    "\" OR 1=1 --",
    "$1",
    "?1; DELETE FROM team",
    "x') ON CONFLICT DO NOTHING; --",
    "%_\\'",
];

pub(super) async fn sql_is_text(directory: &Directory) {
    for text in SQL {
        let mut template = BudgetTemplate::new(text);
        template.allowance.model_rpm_limit.insert(text.to_owned(), 1);
        directory.insert_budget(template).await.unwrap();
        let mut team = Team::new(text);
        (team.alias, team.organisation, team.budget) = (some(text), some(text), some(text));
        (team.models, team.tags) = (vec![text.to_owned()], vec![text.to_owned()]);
        team.aliases.insert(text.to_owned(), text.to_owned());
        team.metadata.insert(text.to_owned(), json!(text));
        directory.insert_team(team).await.unwrap();
        let mut user = User::new(text);
        (user.alias, user.email, user.role, user.budget) = (some(text), some(text), some(text), some(text));
        directory.insert_user(user).await.unwrap();
        let mut member = Member::new(text, text);
        (member.role, member.budget) = (some(text), some(text));
        directory.add_member(member).await.unwrap();
        let mut customer = Customer::new(text);
        (customer.alias, customer.budget) = (some(text), some(text));
        directory.insert_customer(customer).await.unwrap();
        let mut key = key(text);
        (key.alias, key.user, key.team, key.organisation, key.budget, key.created_by) =
            (some(&format!("{text} ")), some(text), some(text), some(text), some(text), some(text));
        key.name = format!("{text} ");
        (key.routes, key.tags) = (vec![text.to_owned()], vec![text.to_owned()]);
        directory.insert_key(key).await.unwrap();
    }
    for text in SQL {
        let found = directory.get_key_by_alias(&format!("{text} ")).await.unwrap();
        assert_eq!((found.hash, found.team.as_deref()), (hash(text), Some(text)));
        let filter = KeyFilter {
            user: some(text),
            team: some(text),
            organisation: some(text),
            alias: found.alias,
            budget: some(text),
        };
        assert_eq!(directory.list_keys(&filter, Page::default()).await.unwrap().total, 1);
        let record = directory.key(&hash(text)).await.unwrap().unwrap();
        assert_eq!(record.principal.team.as_deref(), Some(text));
        assert_eq!(directory.customer(text).await.unwrap().unwrap().limits.len(), 1);
        assert_eq!(directory.get_member(text, text).await.unwrap().role.as_deref(), Some(text));
        assert_eq!(directory.get_user(text).await.unwrap().email.as_deref(), Some(text));
    }
    let filter = KeyFilter { alias: some("' OR '1'='1"), ..KeyFilter::default() };
    assert_eq!(directory.list_keys(&filter, Page::default()).await.unwrap().total, 0);
    assert_eq!(
        directory.list_keys(&KeyFilter::default(), Page::default()).await.unwrap().total,
        SQL.len() as u64
    );
}

pub(super) async fn what_cannot_be_is_refused_by_name_and_changes_nothing(directory: &Directory) {
    let (long, many) = ("x".repeat(257), vec!["m".to_owned(); 1_001]);
    let mut seen = 0;
    for bad in ["", "a\0b", "a\nb", "\u{7f}", "\u{85}", &long] {
        let change: [Named<SetTo>; 9] = [
            ("alias", |key, bad| key.alias = some(bad)),
            ("user", |key, bad| key.user = some(bad)),
            ("team", |key, bad| key.team = some(bad)),
            ("organisation", |key, bad| key.organisation = some(bad)),
            ("budget", |key, bad| key.budget = some(bad)),
            ("created_by", |key, bad| key.created_by = some(bad)),
            ("models", |key, bad| key.models = vec![bad.to_owned()]),
            ("routes", |key, bad| key.routes = vec![bad.to_owned()]),
            ("tags", |key, bad| key.tags = vec!["fine".to_owned(), bad.to_owned()]),
        ];
        for (field, set) in change {
            let mut key = key("sk-1");
            set(&mut key, bad);
            refused(directory.insert_key(key).await, field);
            seen += 1;
        }
        refused(directory.insert_team(Team::new(bad)).await, "id");
        refused(directory.insert_user(User::new(bad)).await, "id");
        refused(directory.insert_customer(Customer::new(bad)).await, "id");
        refused(directory.insert_budget(BudgetTemplate::new(bad)).await, "id");
        refused(directory.add_member(Member::new(bad, "u")).await, "team");
        refused(directory.add_member(Member::new("t", bad)).await, "user");
        let mut user = User::new("u");
        user.email = some(bad);
        refused(directory.insert_user(user).await, "email");
        let mut team = Team::new("t");
        team.aliases.insert("fine".to_owned(), bad.to_owned());
        refused(directory.insert_team(team).await, "aliases");
    }
    assert_eq!(seen, 54);

    let change: [Named<fn(&mut Key)>; 13] = [
        ("allowance.budget_duration", |key| key.allowance.budget_duration = some("1y")),
        ("allowance.budget_duration", |key| key.allowance.budget_duration = some("0d")),
        ("allowance.budget_duration", |key| key.allowance.budget_duration = some("-1d")),
        ("allowance.budget_duration", |key| key.allowance.budget_duration = some("1d; DROP TABLE team")),
        ("allowance.budget_duration", |key| key.allowance.budget_duration = some("99999999999999999999d")),
        ("allowance.max_budget", |key| key.allowance.max_budget = Some(Usd::MAX)),
        ("allowance.soft_budget", |key| key.allowance.soft_budget = Some(Usd::MAX)),
        ("allowance.model_max_budget", |key| {
            let budget = super::super::ModelBudget::new(Usd::ZERO, some("sometimes"));
            key.allowance.model_max_budget.insert("m".to_owned(), budget);
        }),
        ("allowance.model_tpm_limit", |key| {
            key.allowance.model_tpm_limit.insert("a*b".to_owned(), 1);
        }),
        ("models", |key| key.models = vec!["*a".to_owned()]),
        ("name", |key| key.name = "sk-1".to_owned()),
        ("alias", |key| key.alias = some("sk-1")),
        ("key", |key| key.hash = hash("")),
    ];
    for (field, set) in change {
        let mut key = key("sk-1");
        set(&mut key);
        refused(directory.insert_key(key).await, field);
    }
    let mut team = Team::new("t");
    team.models = many;
    refused(directory.insert_team(team).await, "models");

    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    for (name, value) in
        [("big", json!("x".repeat(65_536))), ("nul", json!(["\0"])), ("n\0l", json!(1)), ("deep", deep)]
    {
        let mut user = User::new("u");
        user.metadata.insert(name.to_owned(), value);
        refused(directory.insert_user(user).await, "metadata");
    }
    assert_eq!(directory.list_keys(&KeyFilter::default(), Page::default()).await.unwrap().total, 0);
    assert_eq!(directory.list_teams(&TeamFilter::default(), Page::default()).await.unwrap().total, 0);
    assert_eq!(directory.list_users(&UserFilter::default(), Page::default()).await.unwrap().total, 0);
}

fn refused<T: std::fmt::Debug>(result: Result<T, DirectoryError>, named: &str) {
    match result {
        Err(DirectoryError::Invalid { field, .. }) if field == named => {}
        other => panic!("{named}: {other:?}"),
    }
}

pub(super) async fn what_cannot_be_stored_is_not_found(directory: &Directory) {
    let long = "x".repeat(100_000);
    for id in ["", "a\0b", &long] {
        assert_eq!(directory.get_team(id).await, Err(DirectoryError::NotFound));
        assert_eq!(directory.get_member("t", id).await, Err(DirectoryError::NotFound));
        assert_eq!(directory.delete_user(id).await, Err(DirectoryError::NotFound));
        assert_eq!(directory.get_key_by_alias(id).await, Err(DirectoryError::NotFound));
        let filter = KeyFilter { alias: some(id), ..KeyFilter::default() };
        assert_eq!(directory.list_keys(&filter, Page::default()).await.unwrap().total, 0);
        // Nobody gets by the budget of all end users by an id that has none.
        assert!(directory.customer(id).await.unwrap().unwrap().blocked);
    }
}

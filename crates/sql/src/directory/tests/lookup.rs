//! What a look-up gives: budgets and limits, the most specific first.

use ziggurat_core::{Budget, Limit, Measure, Scope, ScopeKind, Window};

use super::{
    super::{Allowance, ModelBudget},
    *,
};

/// Those that refuse or alert; what is counted only is for a test of its own.
fn budgets(budgets: &[Budget]) -> Vec<String> {
    let one = |budget: &Budget| {
        let account = &budget.account;
        let models = account.models.as_deref().map(|models| format!(" {models}")).unwrap_or_default();
        let soft = budget.soft.map(|soft| format!(" soft {soft}")).unwrap_or_default();
        let id = short(&account.scope);
        format!("{} {id}{models}: {}{soft} in {}", account.scope.kind, budget.cap, account.period)
    };
    budgets.iter().filter(|budget| budget.is_capped() || budget.soft.is_some()).map(one).collect()
}

fn counted(budgets: &[Budget]) -> Vec<String> {
    let one = |budget: &Budget| {
        let account = &budget.account;
        format!("{} {} in {}", account.scope.kind, short(&account.scope), account.period)
    };
    budgets.iter().filter(|budget| !budget.is_capped()).map(one).collect()
}

fn limits(limits: &[Limit]) -> Vec<String> {
    let one = |limit: &Limit| {
        let models = limit.account.models.as_deref().map(|models| format!(" {models}")).unwrap_or_default();
        let scope = &limit.account.scope;
        if limit.measure != Measure::Concurrency {
            assert_eq!(limit.per, Duration::from_secs(60));
        }
        format!("{} {}{models}: {} {}", scope.kind, short(scope), limit.most, limit.measure)
    };
    limits.iter().map(one).collect()
}

fn short(scope: &Scope) -> &str {
    if scope.kind == ScopeKind::Key { &scope.id[..4] } else { &scope.id }
}

pub(super) async fn a_key_comes_with_what_it_belongs_to(directory: &Directory) {
    assert!(directory.key(&hash("sk-1")).await.unwrap().is_none());
    let mut team = Team::new("acme");
    team.organisation = some("org");
    team.tags = vec!["both".to_owned(), "team".to_owned()];
    team.models = vec!["gpt-*".to_owned(), "claude-4".to_owned()];
    team.aliases.insert("smart".to_owned(), "gpt-4".to_owned());
    team.aliases.insert("fast".to_owned(), "gpt-mini".to_owned());
    team.allowance.max_budget = Some(Usd::dollars(50));
    team.allowance.budget_duration = some("30d");
    team.allowance.tpm_limit = Some(9_000);
    directory.insert_team(team).await.unwrap();
    let mut member = Member::new("acme", "ada lovelace");
    member.allowance.max_budget = Some(Usd::dollars(9));
    member.allowance.rpm_limit = Some(7);
    directory.add_member(member).await.unwrap();
    let mut key = key("sk-1");
    (key.user, key.team) = (some("ada lovelace"), some("acme"));
    key.tags = vec!["key".to_owned(), "both".to_owned()];
    key.models = vec!["gpt-4".to_owned(), "claude-*".to_owned(), "o3".to_owned()];
    key.aliases.insert("smart".to_owned(), "claude-4".to_owned());
    key.routes = vec!["/v1/chat/*".to_owned()];
    key.expires_at = Some(now());
    key.allowance.max_budget = Some(Usd::cents(150));
    key.allowance.soft_budget = Some(Usd::dollars(1));
    key.allowance.budget_duration = some("1d");
    key.allowance.rpm_limit = Some(60);
    key.allowance.tpm_limit = Some(1_000);
    key.allowance.max_parallel_requests = Some(3);
    key.allowance
        .model_max_budget
        .insert("gpt-4".to_owned(), ModelBudget::new(Usd::cents(5), some("weekly")));
    key.allowance.model_max_budget.insert("o*".to_owned(), ModelBudget::new(Usd::ZERO, None));
    key.allowance.model_rpm_limit.insert("gpt-4".to_owned(), 2);
    key.allowance.model_tpm_limit.insert("gpt-4".to_owned(), 500);
    let key = directory.insert_key(key).await.unwrap();

    let record = directory.key(&key.hash).await.unwrap().unwrap();
    let principal = &record.principal;
    assert_eq!(principal.key.as_deref(), Some(&*key.id));
    assert_eq!(principal.team.as_deref(), Some("acme"));
    assert_eq!(principal.user.as_deref(), Some("ada lovelace"));
    assert_eq!(principal.organisation.as_deref(), Some("org"));
    assert_eq!(*principal.tags, ["key", "both", "team"].map(Into::into));
    assert_eq!(principal.models.as_deref(), Some(&["gpt-4", "claude-4"].map(Into::into)[..]));
    let id = &key.id[..4];
    assert_eq!(
        budgets(&principal.budgets),
        [
            format!("key {id}: 1.50 soft 1 in 1d Europe/Berlin"),
            format!("key {id} gpt-4: 0.05 in 7d Europe/Berlin"),
            format!("key {id} o*: 0 in lifetime"),
            "member 4 acme ada lovelace: 9 in lifetime".to_owned(),
            "team acme: 50 in 1mo Europe/Berlin".to_owned(),
        ]
    );
    assert_eq!(
        limits(&principal.limits),
        [
            format!("key {id}: 60 requests"),
            format!("key {id}: 1000 tokens"),
            format!("key {id}: 3 concurrency"),
            format!("key {id} gpt-4: 2 requests"),
            format!("key {id} gpt-4: 500 tokens"),
            "member 4 acme ada lovelace: 7 requests".to_owned(),
            "team acme: 9000 tokens".to_owned(),
        ]
    );
    assert_eq!(record.routes.as_deref(), Some(&["/v1/chat/*".into()][..]));
    assert_eq!(record.aliases.get("smart").map(String::as_str), Some("claude-4"));
    assert_eq!(record.aliases.get("fast").map(String::as_str), Some("gpt-mini"));
    assert_eq!(record.expires_at, Some(now()));
    assert!(!record.blocked && !record.admin);
}

pub(super) async fn whoever_is_blocked_blocks_the_key(directory: &Directory) {
    directory.insert_team(Team::new("t")).await.unwrap();
    directory.insert_user(User::new("u")).await.unwrap();
    let mut key = key("sk-1");
    (key.user, key.team) = (some("u"), some("t"));
    directory.insert_key(key).await.unwrap();
    let blocked = async || directory.key(&hash("sk-1")).await.unwrap().unwrap().blocked;
    assert!(!blocked().await);
    directory.set_key_blocked(&hash("sk-1"), true).await.unwrap();
    assert!(blocked().await);
    directory.set_key_blocked(&hash("sk-1"), false).await.unwrap();
    directory.set_team_blocked("t", true).await.unwrap();
    assert!(blocked().await);
    directory.set_team_blocked("t", false).await.unwrap();
    directory.set_user_blocked("u", true).await.unwrap();
    assert!(blocked().await);
    directory.set_user_blocked("u", false).await.unwrap();
    assert!(!blocked().await);
}

pub(super) async fn templates_fill_what_is_not_stated(directory: &Directory) {
    for (name, dollars) in [("for-keys", 1), ("for-members", 2), ("for-teams", 3)] {
        let mut template = BudgetTemplate::new(name);
        template.allowance.max_budget = Some(Usd::dollars(dollars));
        template.allowance.budget_duration = some("1d");
        template.allowance.rpm_limit = Some(dollars);
        template.allowance.model_rpm_limit.insert("m".to_owned(), dollars);
        directory.insert_budget(template).await.unwrap();
    }
    let mut team = Team::new("t");
    team.budget = some("for-teams");
    team.allowance.rpm_limit = Some(30);
    let mut theirs = team.allowance.clone();
    theirs.rpm_limit = Some(20);
    theirs.max_parallel_requests = Some(5);
    team.member_allowance = Some(theirs);
    directory.insert_team(team).await.unwrap();
    let mut key = key("sk-1");
    (key.user, key.team, key.budget) = (some("u"), some("t"), some("for-keys"));
    // A cap of its own comes with its own window, which is for ever here.
    key.allowance.max_budget = Some(Usd::dollars(10));
    key.allowance.model_rpm_limit.insert("m".to_owned(), 11);
    let key = directory.insert_key(key).await.unwrap();
    let id = &key.id[..4];

    // Not a member, as far as is known: what members have, it has.
    let record = directory.key(&key.hash).await.unwrap().unwrap();
    assert_eq!(
        budgets(&record.principal.budgets),
        [format!("key {id}: 10 in lifetime"), "team t: 3 in 1d Europe/Berlin".to_owned()]
    );
    assert_eq!(
        limits(&record.principal.limits),
        [
            format!("key {id}: 1 requests"),
            format!("key {id} m: 11 requests"),
            "member 1 t u: 20 requests".to_owned(),
            "member 1 t u: 5 concurrency".to_owned(),
            "team t: 30 requests".to_owned(),
            "team t m: 3 requests".to_owned(),
        ]
    );

    // Its own, its template's, its team's, in this order.
    let mut member = Member::new("t", "u");
    member.budget = some("for-members");
    member.allowance.budget_duration = some("7d");
    directory.add_member(member).await.unwrap();
    let record = directory.key(&key.hash).await.unwrap().unwrap();
    assert_eq!(budgets(&record.principal.budgets)[1], "member 1 t u: 2 in 7d Europe/Berlin");
    assert_eq!(
        limits(&record.principal.limits)[2..5],
        ["member 1 t u: 2 requests", "member 1 t u: 5 concurrency", "member 1 t u m: 2 requests"]
    );

    // A soft budget alone alerts, and refuses nothing.
    directory
        .update_key(&key.hash, |key| {
            key.allowance = super::super::Allowance::default();
            key.budget = None;
            key.allowance.soft_budget = Some(Usd::dollars(4));
            Ok(())
        })
        .await
        .unwrap();
    let record = directory.key(&key.hash).await.unwrap().unwrap();
    assert_eq!(
        budgets(&record.principal.budgets)[0],
        format!("key {id}: 1000000000000000 soft 4 in lifetime")
    );
    assert_eq!(record.principal.budgets[0].window, Window::Lifetime);
}

pub(super) async fn a_personal_key_has_its_users_rules_and_a_team_key_has_not(directory: &Directory) {
    let mut user = User::new("u");
    user.role = some("proxy_admin");
    user.models = vec!["gpt-4".to_owned()];
    user.allowance.max_budget = Some(Usd::dollars(5));
    user.allowance.rpm_limit = Some(5);
    directory.insert_user(user).await.unwrap();
    directory.insert_team(Team::new("t")).await.unwrap();
    let mut personal = key("sk-personal");
    (personal.user, personal.admin) = (some("u"), true);
    directory.insert_key(personal).await.unwrap();
    // One that was made as any other's is any other's, whatever its user becomes.
    let mut plain = key("sk-plain");
    plain.user = some("u");
    directory.insert_key(plain).await.unwrap();
    assert!(!directory.key(&hash("sk-plain")).await.unwrap().unwrap().admin);
    let mut shared = key("sk-team");
    (shared.user, shared.team, shared.admin) = (some("u"), some("t"), true);
    directory.insert_key(shared).await.unwrap();

    let personal = directory.key(&hash("sk-personal")).await.unwrap().unwrap();
    assert_eq!(budgets(&personal.principal.budgets), ["user u: 5 in lifetime"]);
    assert_eq!(limits(&personal.principal.limits), ["user u: 5 requests"]);
    assert_eq!(personal.principal.models.as_deref(), Some(&["gpt-4".into()][..]));
    assert!(personal.admin);
    let shared = directory.key(&hash("sk-team")).await.unwrap().unwrap();
    assert_eq!((budgets(&shared.principal.budgets).len(), &*shared.principal.limits), (0, &[][..]));
    assert_eq!(shared.principal.models, None);
    assert!(!shared.admin);
    // Nor is one any longer whose user is none.
    directory.update_user("u", set(|user: &mut User| user.role = some("internal_user"))).await.unwrap();
    assert!(!directory.key(&hash("sk-personal")).await.unwrap().unwrap().admin);
}

pub(super) async fn whoever_is_no_member_is_held_to_what_members_are(directory: &Directory) {
    let mut team = Team::new("t");
    team.member_allowance = Some(Allowance { max_budget: Some(Usd::dollars(2)), ..Allowance::default() });
    directory.insert_team(team).await.unwrap();
    let mut key = key("sk-1");
    (key.user, key.team) = (some("u"), some("t"));
    directory.insert_key(key).await.unwrap();
    let found = async || budgets(&directory.key(&hash("sk-1")).await.unwrap().unwrap().principal.budgets);
    assert_eq!(found().await, ["member 1 t u: 2 in lifetime"]);
    // What is said of a membership holds from then on, and is counted in the same account.
    let mut member = Member::new("t", "u");
    member.allowance.max_budget = Some(Usd::dollars(1));
    directory.add_member(member).await.unwrap();
    assert_eq!(found().await, ["member 1 t u: 1 in lifetime"]);
}

pub(super) async fn end_users_have_their_own_or_everybodys(directory: &Directory) {
    // The template is configured, and not there: nobody gets by without it.
    assert!(directory.customer("nobody").await.is_err());
    let mut everybody = BudgetTemplate::new("everybody");
    everybody.allowance.max_budget = Some(Usd::dollars(1));
    everybody.allowance.budget_duration = some("1d");
    directory.insert_budget(everybody).await.unwrap();
    let mut plan = BudgetTemplate::new("plan");
    plan.allowance.max_budget = Some(Usd::dollars(20));
    directory.insert_budget(plan).await.unwrap();
    directory.insert_customer(Customer::new("bare")).await.unwrap();
    let mut own = Customer::new("own");
    own.allowance.rpm_limit = Some(3);
    directory.insert_customer(own).await.unwrap();
    let mut planned = Customer::new("planned");
    planned.budget = some("plan");
    directory.insert_customer(planned).await.unwrap();
    directory.set_customer_blocked("bare", true).await.unwrap();

    let found = async |id: &str| directory.customer(id).await.unwrap().unwrap();
    assert_eq!(budgets(&found("nobody").await.budgets), ["end_user nobody: 1 in 1d Europe/Berlin"]);
    assert_eq!(budgets(&found("bare").await.budgets), ["end_user bare: 1 in 1d Europe/Berlin"]);
    assert_eq!(budgets(&found("planned").await.budgets), ["end_user planned: 20 in lifetime"]);
    let own = found("own").await;
    assert_eq!(
        (budgets(&own.budgets).len(), limits(&own.limits)),
        (0, vec!["end_user own: 3 requests".to_owned()])
    );
    assert!(found("bare").await.blocked && !found("nobody").await.blocked);
}

pub(super) async fn a_window_that_nobody_can_read_does_not_open_the_gate(directory: &Directory) {
    let mut template = BudgetTemplate::new("everybody");
    template.allowance.max_budget = Some(Usd::dollars(1));
    template.allowance.budget_duration = some("1d");
    directory.insert_budget(template).await.unwrap();
    let mut key = key("sk-1");
    key.budget = some("everybody");
    directory.insert_key(key).await.unwrap();
    assert!(directory.key(&hash("sk-1")).await.is_ok() && directory.customer("c").await.is_ok());
    for (what, becomes) in [("\"1d\"", "\"1y\""), ("\"1y\"", "7"), ("{", "[")] {
        let mut tx = directory.0.store.begin().await.unwrap();
        let done = tx
            .run(
                "UPDATE budget_template SET document = replace(document, $1, $2)",
                &[
                    crate::directory::store::Value::Text(Some(what)),
                    crate::directory::store::Value::Text(Some(becomes)),
                ],
            )
            .await;
        assert_eq!(tx.end(done).await, Ok(1));
        let refused = directory.key(&hash("sk-1")).await.unwrap_err().to_string();
        assert!(refused.ends_with("cannot be read"), "{refused}");
        assert!(directory.customer("c").await.is_err());
        assert!(matches!(directory.get_budget("everybody").await, Ok(_) | Err(DirectoryError::Other(_))));
    }
}

pub(super) async fn whoever_a_token_names_has_the_rules_of_its_team_or_its_own(directory: &Directory) {
    let of = |user: Option<&str>, teams: &[&str]| {
        let teams: Vec<_> = teams.iter().map(|team| (*team).into()).collect();
        Owner::new(user.map(Into::into), teams)
    };
    let nobody = directory.owner(&of(Some("ada"), &["acme", "other", "a\0b"])).await.unwrap();
    assert_eq!(nobody, ziggurat_auth::KeyRecord::default());

    let mut team = Team::new("acme");
    team.organisation = some("org");
    team.models = vec!["gpt-*".to_owned()];
    team.allowance.max_budget = Some(Usd::dollars(50));
    team.member_allowance = Some(Allowance::default());
    team.member_allowance.as_mut().unwrap().max_budget = Some(Usd::dollars(2));
    directory.insert_team(team).await.unwrap();
    let mut user = User::new("ada");
    (user.role, user.models) = (some("proxy_admin"), vec!["o3".to_owned()]);
    user.allowance.rpm_limit = Some(3);
    directory.insert_user(user).await.unwrap();

    // In a team, it is a member, also one whom nobody has added; the first team that is known counts.
    let record = directory.owner(&of(Some("ada"), &["unknown", "acme"])).await.unwrap();
    let who = &record.principal;
    assert_eq!(
        (who.user.as_deref(), who.team.as_deref(), who.key.as_deref()),
        (Some("ada"), Some("acme"), None)
    );
    assert_eq!(budgets(&who.budgets), ["member 4 acme ada: 2 in lifetime", "team acme: 50 in lifetime"]);
    assert_eq!(limits(&who.limits), [""; 0]);
    assert_eq!((who.may_use("gpt-4"), who.may_use("o3")), (true, false));
    assert_eq!(who.organisation.as_deref(), Some("org"));
    // Whether a token is an administrator's is not the directory's to say.
    assert!(!record.admin && !record.blocked);
    // Who is not known is not named.
    let who = directory.owner(&of(Some("eve"), &["acme"])).await.unwrap().principal;
    assert_eq!((who.user.clone(), who.team.as_deref()), (None, Some("acme")));
    assert_eq!(budgets(&who.budgets), ["member 4 acme eve: 2 in lifetime", "team acme: 50 in lifetime"]);
    // Without a team that is known, it is itself.
    for teams in [&[][..], &["unknown"]] {
        let who = directory.owner(&of(Some("ada"), teams)).await.unwrap().principal;
        assert_eq!((who.user.as_deref(), who.team.as_deref()), (Some("ada"), None));
        assert_eq!(limits(&who.limits), ["user ada: 3 requests"]);
        assert_eq!((who.may_use("gpt-4"), who.may_use("o3")), (false, true));
    }
    directory.update_user("ada", set(|user: &mut User| user.blocked = true)).await.unwrap();
    assert!(directory.owner(&of(Some("ada"), &["acme"])).await.unwrap().blocked);
}

pub(super) async fn what_has_no_cap_is_counted(directory: &Directory) {
    let mut team = Team::new("t");
    team.allowance.budget_duration = some("30d");
    directory.insert_team(team).await.unwrap();
    directory.insert_user(User::new("u")).await.unwrap();
    directory.insert_customer(Customer::new("c")).await.unwrap();
    directory.insert_budget(BudgetTemplate::new("everybody")).await.unwrap();
    let id = |secret: &str| hash(secret).to_string()[..4].to_owned();
    let (lone, personal, shared) = (key("sk-lone"), key("sk-personal"), key("sk-shared"));
    directory.insert_key(lone).await.unwrap();
    directory.insert_key(Key { user: some("u"), ..personal }).await.unwrap();
    directory.insert_key(Key { user: some("u"), team: some("t"), ..shared }).await.unwrap();
    let of =
        async |secret: &str| directory.key(&hash(secret)).await.unwrap().unwrap().principal.budgets.clone();
    let key = |secret: &str| format!("key {} in lifetime", id(secret));
    assert_eq!(counted(&of("sk-lone").await), [key("sk-lone")]);
    assert_eq!(counted(&of("sk-personal").await), [key("sk-personal"), "user u in lifetime".to_owned()]);
    assert_eq!(
        counted(&of("sk-shared").await),
        [key("sk-shared"), "member 1 t u in lifetime".to_owned(), "team t in 1mo Europe/Berlin".to_owned()]
    );
    // A token has no key to be counted by; an end user is who is known.
    let owner = Owner::new(Some("u".into()), vec!["t".into()]);
    let owner = directory.owner(&owner).await.unwrap().principal;
    assert_eq!(counted(&owner.budgets), ["member 1 t u in lifetime", "team t in 1mo Europe/Berlin"]);
    let customer = directory.customer("c").await.unwrap().unwrap();
    assert_eq!(counted(&customer.budgets), ["end_user c in lifetime"]);
    // A cap comes in its place.
    directory
        .update_team("t", set(|team: &mut Team| team.allowance.max_budget = Some(Usd::ZERO)))
        .await
        .unwrap();
    assert_eq!(counted(&of("sk-shared").await).len(), 2);
    assert_eq!(budgets(&of("sk-shared").await), ["team t: 0 in 1mo Europe/Berlin"]);
}

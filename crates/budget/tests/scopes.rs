//! Whose budgets apply to a call.

mod support;

use tower::{Layer, ServiceExt};
use ziggurat_budget::{BudgetLayer, Ledger};
use ziggurat_core::{Budget, Principal, Scope, ScopeKind, Usd, Window};

use crate::support::*;

#[tokio::test]
async fn scopes_are_the_hosts_or_the_principals_and_the_smallest_cap_rules() {
    let cap = |layer: BudgetLayer, kind, amount| layer.cap(kind, Usd::cents(amount), Window::Lifetime);
    let ledger = Ledger::in_memory();
    let base = BudgetLayer::new(ledger.clone(), catalog());
    let layer = cap(cap(cap(base, ScopeKind::Key, 100), ScopeKind::Team, 4), ScopeKind::User, 1000);
    let service = layer.layer(upstream(|_| answer(&used(1, 2000))));
    let mut principal = Principal::default();
    (principal.key, principal.team, principal.user) = (Some("k".into()), Some("t".into()), Some("u".into()));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let mut request = chat(r#","max_tokens":2000"#);
        request.extensions_mut().insert(principal.clone());
        let response = service.clone().oneshot(request).await.expect("answers");
        statuses.push(response.status().as_u16());
        drop(text(response).await);
    }
    assert_eq!(statuses, [200, 200, 429]);
    let stands = |kind, id: &str| {
        let budget = Budget::new(Scope::new(kind, id), Usd::ZERO, Window::Lifetime);
        spent(&ledger, &budget)
    };
    for (kind, id) in [(ScopeKind::Key, "k"), (ScopeKind::Team, "t"), (ScopeKind::User, "u")] {
        assert_eq!(stands(kind, id), (Usd::cents(4), Usd::ZERO), "{kind}");
    }
}

#[tokio::test]
async fn users_that_a_client_names_never_open_a_fresh_allowance() {
    let ledger = Ledger::in_memory();
    let layer = BudgetLayer::new(ledger.clone(), catalog())
        .cap(ScopeKind::EndUser, Usd::cents(10), Window::Lifetime)
        .cap(ScopeKind::Key, Usd::dollars(1), Window::Lifetime);
    let service = layer.layer(upstream(|_| answer(&used(1, 2000))));
    let mut principal = Principal::default();
    principal.key = Some("k".into());
    let mut passed = 0;
    for user in 0..1000 {
        let mut request = chat(&format!(r#","max_tokens":2000,"user":"u{user}""#));
        request.extensions_mut().insert(principal.clone());
        let response = service.clone().oneshot(request).await.expect("answers");
        passed += u32::from(response.status() == 200);
        drop(text(response).await);
    }
    assert_eq!(passed, 50);
}

#[tokio::test]
async fn who_names_no_scope_gets_nothing() {
    let layer = BudgetLayer::new(Ledger::in_memory(), catalog())
        .scope(|parts| Some(Scope::tenant(parts.headers.get("x-tenant")?.to_str().ok()?)))
        .cap(ScopeKind::Tenant, Usd::dollars(1), Window::Lifetime);
    let service = layer.layer(upstream(|_| answer(&used(1, 1))));
    let refused = service.clone().oneshot(chat("")).await.expect("answers");
    assert_eq!(refused.status(), 403);
    let mut request = chat("");
    request.headers_mut().insert("x-tenant", "a".parse().expect("is a value"));
    assert_eq!(service.oneshot(request).await.expect("answers").status(), 200);
}

#[tokio::test]
async fn caps_of_providers_hold_without_an_inner_layer() {
    let ledger = Ledger::in_memory();
    let layer = BudgetLayer::new(ledger, catalog()).cap(ScopeKind::Provider, Usd::cents(4), Window::Lifetime);
    let service = layer.layer(upstream(|_| answer(&used(1, 2000))));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let target = ziggurat_core::Target::new("openai", ziggurat_core::Dialect::OpenAi, "m", "http://x/v1");
        let mut request = chat(r#","max_tokens":2000"#);
        request.extensions_mut().insert(target.expect("is one"));
        let response = service.clone().oneshot(request).await.expect("answers");
        statuses.push(response.status().as_u16());
        drop(text(response).await);
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn end_users_of_one_name_are_two_when_their_owners_are() {
    let ledger = Ledger::in_memory();
    let layer = BudgetLayer::new(ledger, catalog()).cap(ScopeKind::EndUser, Usd::cents(2), Window::Lifetime);
    let service = layer.layer(upstream(|_| answer(&used(1, 2000))));
    let mut statuses = Vec::new();
    for key in ["one", "one", "two"] {
        let mut principal = Principal::default();
        principal.key = Some(key.into());
        let mut request = chat(r#","max_tokens":2000,"user":"bob""#);
        request.extensions_mut().insert(principal);
        let response = service.clone().oneshot(request).await.expect("answers");
        statuses.push(response.status().as_u16());
        drop(text(response).await);
    }
    assert_eq!(statuses, [200, 429, 200]);
}

#[tokio::test]
async fn a_cap_of_a_kind_that_nobody_is_of_lets_nobody_pass() {
    for kind in [ScopeKind::Key, ScopeKind::Team, ScopeKind::Member, ScopeKind::Tenant] {
        let layer =
            BudgetLayer::new(Ledger::in_memory(), catalog()).cap(kind, Usd::dollars(1), Window::Lifetime);
        let service = layer.layer(upstream(|_| answer(&used(1, 1))));
        assert_eq!(service.oneshot(chat("")).await.expect("answers").status(), 403, "{kind}");
    }
}

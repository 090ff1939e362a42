//! Whose budgets apply to a call.

mod support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::Request;
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_budget::{
    BudgetLayer, Flags, Journal, JournalError, Ledger, OpenHold, Posting, Recovered, Slot,
};
use ziggurat_core::{
    Body, Budget, Convention, Dialect, Meter, Outcome, Principal, Scope, ScopeKind, Target, Usage, Usd,
    Window,
};

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
        let mut request = chat(r#","max_tokens":2000"#);
        request.extensions_mut().insert(target());
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

fn target() -> Target {
    Target::new("openai", Dialect::OpenAi, "m", "http://x/v1").expect("is one")
}

/// Remembers what was posted, and with which flags.
#[derive(Default)]
struct Postings(Mutex<Vec<(Usd, Usd, Flags)>>);

impl Journal for Postings {
    fn open(&self, _: &OpenHold<'_>) -> Result<Slot, JournalError> {
        Ok(Slot(0))
    }

    fn grow(&self, _: &Slot, _: Usd) {}

    fn close(&self, _: Slot, posting: &Posting<'_>) {
        self.0.lock().expect("is sound").push((posting.held, posting.amount, posting.flags));
    }
}

#[tokio::test]
async fn attempts_at_one_deployment_are_each_paid_for_by_what_was_set_aside_for_them() {
    let postings = Arc::new(Postings::default());
    let journal = Arc::clone(&postings) as Arc<dyn Journal>;
    let ledger = Ledger::in_memory().journal(journal, Recovered::default());
    let layer =
        BudgetLayer::new(ledger, catalog()).cap(ScopeKind::Provider, Usd::dollars(1), Window::Lifetime);
    let service = layer.layer(service_fn(|mut request: Request<Body>| async move {
        let (meter, _) = Meter::join(&mut request);
        // One that broke off and one that answered, of a cent and two.
        for tokens in [1000, 2000] {
            let mut handle = meter.attempt(Some(&target())).await.expect("fits");
            handle.sent();
            let mut usage = Usage::new(Convention::OPENAI);
            (usage.input, usage.output) = (Some(1), Some(tokens));
            handle.usage(&usage);
            handle.end(Outcome::Complete);
        }
        let mut response = answer("");
        response.extensions_mut().insert(ziggurat_core::Metered);
        Ok::<_, Infallible>(response)
    }));
    let response = service.oneshot(chat(r#","max_tokens":2000"#)).await.expect("answers");
    drop(text(response).await);
    let posted = postings.0.lock().expect("is sound").clone();
    let expected = [1, 2].map(|cents| (Usd::cents(2), Usd::cents(cents), Flags::default()));
    assert_eq!(posted, expected);
}

#[tokio::test]
async fn a_target_without_a_plan_is_under_the_budgets_of_what_callers_call_it() {
    let ledger = Ledger::in_memory();
    let service = BudgetLayer::new(ledger.clone(), catalog()).layer(upstream(|_| answer(&used(1, 2000))));
    let budget =
        Budget::new(Scope::new(ScopeKind::Key, "k"), Usd::cents(2), Window::Lifetime).models("group");
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let mut principal = Principal::default();
        principal.key = Some("k".into());
        principal.budgets = [budget.clone()].into();
        let mut request = chat(r#","max_tokens":2000"#);
        request.extensions_mut().insert(principal);
        request.extensions_mut().insert(target().group("group"));
        let response = service.clone().oneshot(request).await.expect("answers");
        statuses.push(response.status().as_u16());
        drop(text(response).await);
    }
    assert_eq!((statuses, spent(&ledger, &budget)), (vec![200, 429], (Usd::cents(2), Usd::ZERO)));
}

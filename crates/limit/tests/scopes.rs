//! Which limits a call is under.

mod support;

use std::{sync::Arc, time::Duration};

use http::{Request, request::Parts};
use ziggurat_core::{Body, Dialect, Limit, Measure, Principal, Scope, ScopeKind, Target};
use ziggurat_limit::{LimitLayer, Quota};

use crate::support::*;

const REQUESTS: Measure = Measure::Requests;

fn principal(change: impl FnOnce(&mut Principal)) -> Principal {
    let mut principal = Principal::default();
    principal.key = Some("k".into());
    change(&mut principal);
    principal
}

fn by(principal: &Principal, fields: &str) -> Request<Body> {
    let mut request = chat(fields);
    request.extensions_mut().insert(principal.clone());
    request
}

fn target(id: &str) -> Target {
    Target::new("prov", Dialect::OpenAi, "real", "https://p.example/v1").expect("is a target").id(id)
}

/// How many of many such requests pass.
async fn passing(layer: &LimitLayer, request: impl Fn() -> Request<Body>) -> usize {
    let service = of(layer, Provider::new());
    let mut passed = 0;
    for _ in 0..20 {
        passed += usize::from(status(&service, request()).await == 200);
    }
    passed
}

#[tokio::test]
async fn closures_name_scopes_and_each_has_its_own_count() {
    fn tenants(parts: &Parts) -> Vec<Scope> {
        let values = parts.headers.get_all("x-tenant").iter();
        values.filter_map(|value| value.to_str().ok()).map(Scope::tenant).collect()
    }
    let layer = layer(&Manual::default())
        .scope(tenants)
        .scope(|parts: &Parts| parts.uri.query().map(|query| Scope::new(ScopeKind::User, query)))
        .limit(ScopeKind::Tenant, REQUESTS, 3, MINUTE)
        .limit(ScopeKind::User, REQUESTS, 5, MINUTE);
    let of_tenants = |tenants: &'static [&'static str]| {
        move || {
            let mut request = chat("");
            for tenant in tenants {
                request.headers_mut().append("x-tenant", tenant.parse().expect("is a value"));
            }
            request
        }
    };
    assert_eq!(passing(&layer, of_tenants(&["a"])).await, 3);
    assert_eq!(passing(&layer, of_tenants(&["b", "c"])).await, 3);
    assert_eq!(passing(&layer, of_tenants(&["d", "a"])).await, 0);
    // The refusals by `a` took nothing from `d`; one scope that is named twice counts once.
    assert_eq!(passing(&layer, of_tenants(&["d", "d"])).await, 3);
    assert_eq!(passing(&layer, of_tenants(&[])).await, 20);
    let user = || {
        let mut request = chat("");
        *request.uri_mut() = "/v1/chat/completions?u".parse().expect("is a URI");
        request
    };
    assert_eq!(passing(&layer, user).await, 5);
}

#[tokio::test]
async fn a_principals_own_limits_apply_and_stand_in_place_of_a_rule() {
    let key = || Scope::new(ScopeKind::Key, "k");
    let layer = || layer(&Manual::default()).limit(ScopeKind::Key, REQUESTS, 4, MINUTE);
    let without = principal(|_| {});
    assert_eq!(passing(&layer(), || by(&without, "")).await, 4);
    let wider = principal(|p| p.limits = [Limit::requests_per_minute(key(), 9)].into());
    assert_eq!(passing(&layer(), || by(&wider, "")).await, 9);
    let other = principal(|p| p.limits = [Limit::tokens_per_minute(key(), 1_000_000)].into());
    assert_eq!(passing(&layer(), || by(&other, "")).await, 4);
    let team = principal(|p| {
        p.team = Some("t".into());
        p.limits = [Limit::requests_per_minute(Scope::new(ScopeKind::Team, "t"), 2)].into();
    });
    assert_eq!(passing(&layer(), || by(&team, "")).await, 2);
    // Nobody is known: a limit of keys limits nobody.
    assert_eq!(passing(&layer(), || chat("")).await, 20);
}

#[tokio::test]
async fn rules_are_for_whatever_a_principal_has() {
    let whole = principal(|p| {
        p.user = Some("u".into());
        p.team = Some("t".into());
        p.organisation = Some("o".into());
        p.tags = ["x".into(), "y".into()].into();
    });
    let kinds = [
        ScopeKind::Key,
        ScopeKind::Tag,
        ScopeKind::Member,
        ScopeKind::User,
        ScopeKind::Team,
        ScopeKind::Organisation,
        ScopeKind::Model,
        ScopeKind::Gateway,
    ];
    for kind in kinds {
        let layer = layer(&Manual::default()).limit(kind, REQUESTS, 1, MINUTE);
        assert_eq!(passing(&layer, || by(&whole, "")).await, 1, "{kind}");
        // What both share is used up, and nothing else.
        let mut other = whole.clone();
        (other.key, other.user) = (Some("k2".into()), Some("u2".into()));
        let shared = !matches!(kind, ScopeKind::Key | ScopeKind::User | ScopeKind::Member);
        assert_eq!(passing(&layer, || by(&other, "")).await, usize::from(!shared), "{kind}");
    }
}

#[tokio::test]
async fn an_end_user_only_narrows() {
    let layer = layer(&Manual::default()).limit(ScopeKind::EndUser, REQUESTS, 2, MINUTE);
    let key = |id: &str, most| {
        let limits = [Limit::requests_per_minute(Scope::new(ScopeKind::Key, id), most)];
        principal(|p| (p.key, p.limits) = (Some(id.into()), limits.into()))
    };
    let (one, two) = (key("one", 7), key("two", 7));
    assert_eq!(passing(&layer, || by(&one, "\"user\":\"ann\",")).await, 2);
    assert_eq!(passing(&layer, || by(&one, "\"user\":\"ben\",")).await, 2);
    // Another key's user of the same name is another.
    assert_eq!(passing(&layer, || by(&two, "\"user\":\"ann\",")).await, 2);
    // A name a request: the key's own limit holds.
    let count = std::cell::Cell::new(0);
    let fresh = || {
        count.set(count.get() + 1);
        by(&one, &format!("\"user\":\"{}\",", count.get()))
    };
    assert_eq!(passing(&layer, fresh).await, 3);
    // An end user with a limit of its own, and the key's beside it.
    let own = [
        Limit::requests_per_minute(Scope::new(ScopeKind::EndUser, "vip"), 4),
        Limit::requests_per_minute(Scope::new(ScopeKind::Key, "three"), 6),
    ];
    let vip = principal(|p| (p.key, p.limits) = (Some("three".into()), own.into()));
    assert_eq!(passing(&layer, || by(&vip, "\"user\":\"vip\",")).await, 4);
    // Without a principal, apart by what the host's closure names.
    let hosted = support::layer(&Manual::default())
        .scope(|parts: &Parts| parts.uri.query().map(Scope::tenant))
        .limit(ScopeKind::EndUser, REQUESTS, 2, MINUTE);
    for tenant in ["a", "b"] {
        let request =
            || post(&format!("/v1/messages?{tenant}"), "\"max_tokens\":1,\"metadata\":{\"user_id\":\"x\"},");
        assert_eq!(passing(&hosted, request).await, 2, "{tenant}");
    }
}

#[tokio::test]
async fn a_clients_tags_narrow_and_are_bounded() {
    let layer = layer(&Manual::default()).limit(ScopeKind::Tag, REQUESTS, 2, MINUTE);
    let principal = principal(|p| p.tags = ["team-tag".into()].into());
    let tagged = |tags: &str| by(&principal, &format!("\"metadata\":{{\"tags\":{tags}}},"));
    assert_eq!(passing(&layer, || tagged(r#"["team-tag","job"]"#)).await, 2);
    let nobodys = Principal::default();
    let many: Vec<_> = (0..1000).map(|tag| format!("\"{tag}\"")).collect();
    let many = format!("\"metadata\":{{\"tags\":[{}]}},", many.join(","));
    assert_eq!(passing(&layer, || by(&nobodys, &many)).await, 2);
}

#[tokio::test]
async fn a_limit_for_a_model_counts_calls_that_name_it() {
    let limits = || [Limit::requests_per_minute(Scope::new(ScopeKind::Key, "k"), 3).models("gpt-*")];
    let layer = layer(&Manual::default());
    let principal = principal(|p| p.limits = limits().into());
    let model = |name: &str| {
        let body = format!(r#"{{"model":"{name}","messages":[{{"role":"user","content":"Hi"}}]}}"#);
        let mut request = Request::post("/v1/chat/completions").body(Body::from(body)).expect("is a request");
        request.extensions_mut().insert(principal.clone());
        request
    };
    assert_eq!(passing(&layer, || model("gpt-4o")).await, 3);
    assert_eq!(passing(&layer, || model("gpt-4o-mini")).await, 0);
    assert_eq!(passing(&layer, || model("claude")).await, 20);
}

#[tokio::test]
async fn an_account_that_two_name_counts_once_under_the_smaller_limit() {
    let gateway = |most| Limit::requests_per_minute(Scope::gateway(), most);
    let layer = layer(&Manual::default()).fixed(gateway(9)).fixed(gateway(4)).limit(
        ScopeKind::Gateway,
        REQUESTS,
        6,
        MINUTE,
    );
    assert_eq!(passing(&layer, || chat("")).await, 4);
}

#[tokio::test]
async fn a_target_has_limits_of_its_own() {
    let limits = |target: &Target| -> Arc<[Limit]> {
        let scope = Scope::new(ScopeKind::Deployment, target.deployment());
        match target.deployment() {
            "east" => [Limit::requests_per_minute(scope, 2)].into(),
            _ => [].into(),
        }
    };
    let to = |id: &'static str| {
        move || {
            let mut request =
                by(&principal(|p| p.limits = [Limit::requests_per_minute(Scope::gateway(), 1)].into()), "");
            request.extensions_mut().insert(target(id));
            request
        }
    };
    // The principal's limits are counted further out.
    let layer = LimitLayer::per_attempt().clock(Manual::default().clock()).targets(limits);
    assert_eq!(passing(&layer, to("east")).await, 2);
    assert_eq!(passing(&layer, to("west")).await, 20);
    let by_kind = LimitLayer::per_attempt()
        .clock(Manual::default().clock())
        .limit(ScopeKind::Deployment, REQUESTS, 3, MINUTE)
        .limit(ScopeKind::Provider, REQUESTS, 4, MINUTE);
    assert_eq!(passing(&by_kind, to("east")).await, 3);
    assert_eq!(passing(&by_kind, to("west")).await, 1);
    let whole = support::layer(&Manual::default()).targets(limits);
    assert_eq!(passing(&whole, to("east")).await, 1);
}

#[tokio::test]
async fn windows_of_any_length_stand_beside_each_other() {
    let time = Manual::default();
    let layer = layer(&time).limit(ScopeKind::Gateway, REQUESTS, 3, Duration::from_secs(1)).limit(
        ScopeKind::Gateway,
        REQUESTS,
        5,
        Duration::from_secs(86_400),
    );
    assert_eq!(passing(&layer, || chat("")).await, 3);
    time.seconds(2.0);
    assert_eq!(passing(&layer, || chat("")).await, 2);
    let refused = ask(&of(&layer, Provider::new()), chat("")).await;
    assert_eq!(header(&refused, "retry-after"), "87598");
    let tightest = refused.extensions().get::<Quota>().and_then(|quota| quota.requests).expect("is told");
    assert_eq!((tightest.most, tightest.per), (5, Duration::from_secs(86_400)));
    assert_eq!(header(&refused, "x-ratelimit-reset-requests"), "24h19m58s");
}

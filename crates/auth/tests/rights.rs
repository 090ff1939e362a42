//! What those may do who are known.

mod support;

use std::{collections::BTreeMap, sync::Arc};

use http::Request;
use ziggurat_auth::{AuthLayer, CustomerRecord, Identity, KeyHash, MasterKey};
use ziggurat_core::{Body, Budget, Call, Limit, Limits, Principal, Scope, ScopeKind, Usd, Window};

use crate::support::*;

fn layer(store: &Store) -> AuthLayer {
    AuthLayer::new(keys(store, &Manual::default()))
}

fn models(list: &[&str]) -> Option<Arc<[Arc<str>]>> {
    Some(list.iter().map(|model| Arc::from(*model)).collect())
}

fn aliases(list: &[(&str, &str)]) -> Arc<BTreeMap<String, String>> {
    Arc::new(list.iter().map(|(name, model)| ((*name).to_owned(), (*model).to_owned())).collect())
}

#[tokio::test]
async fn the_layers_behind_it_know_who_calls_and_nobody_else_says_so() {
    let model = Model::default();
    let store = Store::with(KEY, record(|record| record.principal.team = Some("red".into())));
    let mut request = keyed(call("m"), KEY);
    let mut forged = Principal::default();
    forged.user = Some("mallory".into());
    request.extensions_mut().insert(forged.clone());
    request.extensions_mut().insert(Identity::from(forged));
    assert_eq!(ask(&layer(&store), &model, request).await.status(), 200);
    let reached = model.last();
    let principal = reached.extensions().get::<Principal>().expect("is there");
    assert_eq!((principal.user.as_deref(), principal.team.as_deref()), (Some("ada"), Some("red")));
    assert!(reached.extensions().get::<Identity>().is_none());
    assert_eq!(Call::of(&reached).and_then(Call::model), Some("m"));
    // Where no model is called there is more.
    let mut request = keyed(at("GET", "/v1/models"), KEY);
    request.extensions_mut().insert(Identity::from(Principal::default()));
    assert_eq!(ask(&layer(&store), &model, request).await.status(), 200);
    let reached = model.last();
    let identity = reached.extensions().get::<Identity>().expect("is there");
    assert_eq!((identity.key(), identity.is_admin()), (Some(&KeyHash::of(KEY.as_bytes())), false));
    assert_eq!(Some(identity.principal()), reached.extensions().get::<Principal>());
}

#[tokio::test]
async fn the_master_key_may_all() {
    let model = Model::default();
    let layer = AuthLayer::new(MasterKey::new("sk-m"));
    assert_eq!(ask(&layer, &model, keyed(at("POST", "/key/generate"), "sk-m")).await.status(), 200);
    let reached = model.last();
    assert!(reached.extensions().get::<Identity>().is_some_and(Identity::is_admin));
    assert_eq!(reached.extensions().get::<Principal>().and_then(|who| who.key.as_deref()), Some("master"));
    for wrong in ["sk-", "sk-mm", "sk-M"] {
        assert_eq!(ask(&layer, &model, keyed(call("m"), wrong)).await.status(), 401);
    }
}

#[tokio::test]
async fn a_model_that_is_not_listed_is_refused_by_the_name_that_was_asked_for() {
    let model = Model::default();
    let store = Store::with(
        KEY,
        record(|record| {
            record.principal.models = models(&["gpt-4o", "claude-*"]);
            record.aliases = aliases(&[("fast", "claude-haiku"), ("secret-alias", "o3"), ("gpt-4o", "o3")]);
        }),
    );
    let layer = layer(&store);
    for (asked, status) in [
        ("claude-sonnet", 200),
        ("fast", 200),
        ("o3", 403),
        ("secret-alias", 403),
        ("gpt-4o", 403),
        ("", 403),
    ] {
        let response = ask(&layer, &model, keyed(call(asked), KEY)).await;
        assert_eq!(response.status(), status, "{asked}");
        if status == 403 {
            let message = format!(
                r#"{{"error":{{"message":"this key may not use the model '{asked}'","type":"invalid_request_error","param":"model","code":"permission_denied"}}}}"#
            );
            assert_eq!(text(response), message);
        }
    }
    assert_eq!(model.calls(), 2);
    let fast = model.last();
    let body = r#"{"model":"claude-haiku","messages":[{"role":"user","content":"Hello"}]}"#;
    assert_eq!(fast.body().as_bytes().expect("is whole"), body);
    assert_eq!(Call::of(&fast).and_then(Call::model), Some("claude-haiku"));
    let long = ask(&layer, &model, keyed(call(&"x".repeat(5000)), KEY)).await;
    assert!(text(long).len() < 400);
}

#[tokio::test]
async fn models_in_paths_count_and_those_that_cannot_be_read_do_not_pass() {
    let model = Model::default();
    let store = Store::with(
        KEY,
        record(|record| {
            record.principal.models = models(&["gpt-4o", "azure/*"]);
            record.aliases = aliases(&[("fast", "azure/gpt 4")]);
        }),
    );
    store.set("sk-all-of-them-0123", record(|record| record.principal.models = models(&["*"])));
    let layer = layer(&store);
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}"#;
    let azure = |name: &str| {
        let path = format!("/openai/deployments/{name}/chat/completions?api-version=1");
        keyed(Request::post(path).body(Body::from(body)).expect("is a request"), KEY)
    };
    assert_eq!(ask(&layer, &model, azure("gpt-4o")).await.status(), 200);
    assert_eq!(ask(&layer, &model, azure("o3")).await.status(), 403);
    assert_eq!(ask(&layer, &model, azure("fast")).await.status(), 200);
    let reached = model.last();
    let path = "/openai/deployments/azure%2Fgpt%204/chat/completions?api-version=1";
    assert_eq!(reached.uri().to_string(), path);
    assert_eq!(Call::of(&reached).and_then(Call::model), Some("azure/gpt 4"));
    assert_eq!(reached.body().as_bytes().expect("is whole"), body);
    for key in [KEY, "sk-all-of-them-0123"] {
        let status = if key == KEY { 403 } else { 200 };
        let nameless = r#"{"input":"x"}"#;
        let nameless = Request::post("/v1/moderations").body(Body::from(nameless)).expect("is a request");
        assert_eq!(ask(&layer, &model, keyed(nameless, key)).await.status(), status);
    }
}

#[tokio::test]
async fn the_model_of_a_form_is_the_one_that_counts() {
    let model = Model::default();
    let store = Store::with(
        KEY,
        record(|record| {
            record.principal.models = models(&["whisper-1"]);
            record.aliases = aliases(&[("ear", "whisper-1")]);
        }),
    );
    let layer = layer(&store);
    let form = |model: &str| {
        let body =
            format!("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b--\r\n");
        let request = Request::post("/v1/audio/transcriptions")
            .header("content-type", "multipart/form-data; boundary=b");
        keyed(request.body(Body::from(body)).expect("is a request"), KEY)
    };
    assert_eq!(ask(&layer, &model, form("gpt-4o-transcribe")).await.status(), 403);
    assert_eq!(ask(&layer, &model, form("ear")).await.status(), 200);
    let reached = model.last();
    assert_eq!(Call::of(&reached).and_then(Call::model), Some("whisper-1"));
    let (_, expected) = form("whisper-1").into_parts();
    assert_eq!(reached.body().as_bytes(), expected.as_bytes());
    let no_form = Request::post("/v1/audio/transcriptions").body(Body::from("a form")).expect("is a request");
    assert_eq!(ask(&layer, &model, keyed(no_form, KEY)).await.status(), 415);
}

#[tokio::test]
async fn a_call_is_read_under_its_limit() {
    let (model, store) = (Model::default(), Store::with(KEY, record(|_| {})));
    let layer = layer(&store).limits(Limits::default().body(100));
    assert_eq!(ask(&layer, &model, keyed(call(&"m".repeat(100)), KEY)).await.status(), 413);
    let twice = r#"{"model":"a","model":"b","messages":[]}"#;
    let twice = Request::post("/v1/chat/completions").body(Body::from(twice)).expect("is a request");
    assert_eq!(ask(&layer, &model, keyed(twice, KEY)).await.status(), 400);
    assert_eq!(model.calls(), 0);
}

fn budget(kind: ScopeKind, dollars: u64) -> Budget {
    Budget::new(Scope::new(kind, "x"), Usd::dollars(dollars), Window::Lifetime)
}

fn limit(kind: ScopeKind) -> Limit {
    Limit::requests_per_minute(Scope::new(kind, "x"), 1)
}

fn of_user(user: &serde_json::Value) -> Request<Body> {
    let body =
        serde_json::json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }], "user": user });
    keyed(
        Request::post("/v1/chat/completions").body(Body::from(body.to_string())).expect("is a request"),
        KEY,
    )
}

#[tokio::test]
async fn an_end_user_adds_budgets_and_limits_and_takes_none_away() {
    let model = Model::default();
    let store = Store::with(
        KEY,
        record(|record| {
            record.principal.budgets = [budget(ScopeKind::Key, 1), budget(ScopeKind::Team, 2)].into();
            record.principal.limits = [limit(ScopeKind::Key)].into();
        }),
    );
    let mut customer = CustomerRecord::default();
    customer.budgets = [budget(ScopeKind::EndUser, 3)].into();
    customer.limits = [limit(ScopeKind::EndUser)].into();
    store.set_customer("bob", customer.clone());
    customer.blocked = true;
    store.set_customer("eve", customer);
    let layer = layer(&store);
    let reached = async |user: serde_json::Value| {
        assert_eq!(ask(&layer, &model, of_user(&user)).await.status(), 200);
        let principal = model.last().extensions().get::<Principal>().expect("is there").clone();
        let kinds = |scopes: Vec<&Scope>| scopes.iter().map(|scope| scope.kind).collect::<Vec<_>>();
        (
            kinds(principal.budgets.iter().map(|budget| &budget.account.scope).collect()),
            kinds(principal.limits.iter().map(|limit| &limit.account.scope).collect()),
        )
    };
    use ScopeKind::{EndUser, Key, Team};
    assert_eq!(reached("bob".into()).await, (vec![Key, EndUser, Team], vec![Key, EndUser]));
    for nobody in ["alice".into(), "".into(), serde_json::Value::Null] {
        assert_eq!(reached(nobody).await, (vec![Key, Team], vec![Key]));
    }
    // One for the key, one for each name, each asked for once.
    assert_eq!(reached("bob".into()).await.0.len(), 3);
    assert_eq!(store.asked(), 3);
    assert_eq!(ask(&layer, &model, of_user(&"eve".into())).await.status(), 403);
    assert_eq!(store.asked(), 4);
    for odd in ["a\0b".to_owned(), "x".repeat(1025)] {
        assert_eq!(ask(&layer, &model, of_user(&odd.into())).await.status(), 400);
    }
    assert_eq!((store.asked(), model.calls()), (4, 0));
}

#[tokio::test]
async fn a_host_that_is_trusted_says_who_calls() {
    let (model, store) = (Model::default(), Store::with(KEY, record(|_| {})));
    let layer = layer(&store).trust_principal();
    let introduced = |models| {
        let mut principal = Principal::default();
        principal.user = Some("of-the-host".into());
        principal.models = models;
        let mut request = call("m");
        request.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer the-hosts"));
        request.extensions_mut().insert(principal);
        request
    };
    assert_eq!(ask(&layer, &model, introduced(None)).await.status(), 200);
    let reached = model.last();
    assert_eq!(
        reached.extensions().get::<Principal>().and_then(|who| who.user.as_deref()),
        Some("of-the-host")
    );
    assert_eq!(reached.headers()["authorization"], "Bearer the-hosts");
    assert_eq!(ask(&layer, &model, introduced(models(&["n"]))).await.status(), 403);
    let mut listing = at("GET", "/v1/models");
    listing.extensions_mut().insert(Principal::default());
    assert_eq!(ask(&layer, &model, listing).await.status(), 200);
    assert!(!model.last().extensions().get::<Identity>().expect("is there").is_admin());
    // Whom the host has not named presents a key.
    assert_eq!(ask(&layer, &model, call("m")).await.status(), 401);
    assert_eq!(ask(&layer, &model, keyed(call("m"), KEY)).await.status(), 200);
    assert_eq!(store.asked(), 1);
}

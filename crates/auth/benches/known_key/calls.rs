//! The services that are asked, and how.

use std::{
    convert::Infallible,
    future::{Future, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use ziggurat_auth::{
    AuthLayer, Authenticate, CachePolicy, Credential, KeyHash, KeyRecord, KeyStore, MasterKey, VirtualKeys,
};
use ziggurat_core::{
    Asked, Body, Budget, Call, Clock, Limit, Limits, Principal, Reply, Scope, ScopeKind, Usd, Window,
};

/// Keys that are known.
pub(crate) const KEYS: usize = 100_000;
/// Keys that come again and again.
const FEW: usize = 100;
const CALL: &str =
    r#"{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"Say hello, please."}]}"#;

type Service = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
/// Asks once, with the key of a number.
pub(crate) type Case = Box<dyn Fn(usize)>;

/// Knows every key.
struct Everybody;

impl KeyStore for Everybody {
    fn key<'a>(&'a self, hash: &'a KeyHash) -> Asked<'a, Option<KeyRecord>> {
        let (mut record, id) = (KeyRecord::default(), Arc::<str>::from(hash.to_string()));
        let scopes = [ScopeKind::Key, ScopeKind::Team].map(|kind| Scope::new(kind, Arc::clone(&id)));
        record.principal.key = Some(id);
        record.principal.team = Some("team".into());
        record.principal.models = Some(
            (0..20)
                .map(|n| Arc::from(format!("gpt-4o{:.*}", 20 - n, "-")))
                .chain(["gpt-4o".into()])
                .collect(),
        );
        record.principal.budgets = scopes
            .iter()
            .map(|scope| Budget::new(scope.clone(), Usd::dollars(1), Window::Lifetime))
            .collect();
        record.principal.limits =
            scopes.iter().map(|scope| Limit::requests_per_minute(scope.clone(), 1)).collect();
        Box::pin(ready(Ok(Some(record))))
    }
}

/// The cases, each with its name.
pub(crate) fn cases() -> [(&'static str, Case); 5] {
    let mut policy = CachePolicy::default();
    (policy.fresh, policy.absent) = (Duration::from_secs(3600), Duration::from_secs(3600));
    let keys = VirtualKeys::with_policy(Everybody, policy, Clock::system());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
    let texts: Arc<[String]> = (0..KEYS).map(|key| format!("sk-{key:032x}")).collect();
    runtime.block_on(async {
        for text in texts.iter() {
            let answer = keys.authenticate(&Credential::new(text.as_bytes()).expect("is one"));
            assert!(answer.wait().await.is_ok_and(|known| known.is_some()));
        }
    });
    keys.revoke(&KeyHash::of(WRONG));
    let layer = AuthLayer::new(vec![
        Arc::new(MasterKey::new("sk-master")) as Arc<dyn Authenticate>,
        Arc::new(keys.clone()),
    ]);
    let (by_plain, by_auth, by_few) = (Arc::clone(&texts), Arc::clone(&texts), Arc::clone(&texts));
    let (of_key, of_wrong) = (keys.clone(), keys);
    let (plain, auth) = (plain(), BoxCloneSyncService::new(layer.layer(answers())));
    let again = auth.clone();
    [
        ("plain", Box::new(move |key| one_call(&plain, &by_plain[key]))),
        ("auth", Box::new(move |key| one_call(&auth, &by_auth[key]))),
        ("again", Box::new(move |key| one_call(&again, &by_few[key % FEW]))),
        ("key", Box::new(move |key| one_look_up(&of_key, texts[key].as_bytes(), true))),
        ("wrong", Box::new(move |_| one_look_up(&of_wrong, WRONG, false))),
    ]
}

const WRONG: &[u8] = b"sk-of-nobody-that-is-known";

fn one_call(service: &Service, key: &str) {
    let request = Request::post("/v1/chat/completions").header("authorization", format!("Bearer {key}"));
    let request = request.body(Body::from(CALL)).expect("is a request");
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(service.clone().oneshot(request)).poll(&mut cx) else {
        panic!("answers at once")
    };
    assert_eq!(black_box(response).status(), 200);
}

fn one_look_up(keys: &VirtualKeys<Everybody>, key: &[u8], known: bool) {
    let credential = Credential::new(black_box(key)).expect("is one");
    let Reply::Ready(answer) = keys.authenticate(&credential) else { panic!("answers at once") };
    assert_eq!(black_box(answer).is_ok(), known);
}

fn answers() -> Service {
    BoxCloneSyncService::new(service_fn(|request: Request<Body>| {
        black_box(request.extensions().get::<Principal>());
        ready(Ok::<_, Infallible>(Response::new(Body::from("{}"))))
    }))
}

fn plain() -> Service {
    let answers = answers();
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let answers = answers.clone();
        async move {
            let (request, _) = Call::read(request, &Limits::default()).await.expect("is a call");
            answers.oneshot(request).await
        }
    }))
}

//! Stores that answer nothing add no more than 100 ms to a call, all of them together.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_auth::{AuthLayer, Authenticate, Authenticated, Credential, Identity, KeyRecord};
use ziggurat_budget::{
    Balance, BudgetLayer, Claim, HoldId, Ledger, Refused,
    remote::{Backend as Budgets, Granted, Mark, Remote as RemoteLedger, Settlement, Told},
};
use ziggurat_catalog::Catalog;
use ziggurat_core::{Asked, Body, Budget, Limit, OnAway, Reply, Scope, Usd, Window};
use ziggurat_limit::{
    Ask, LimitLayer,
    remote::{Backend as Limits, Correction, Granted as Counted, Remote as RemoteLimits, TakeId},
};

/// A machine that takes questions and answers none.
struct Frozen;

fn never<'a, T: 'a>() -> Asked<'a, T> {
    Box::pin(std::future::pending())
}

impl Budgets for Frozen {
    fn reserve<'a>(&'a self, _: &'a Claim, _: Duration) -> Asked<'a, Result<Granted, Refused>> {
        never()
    }

    fn extend<'a>(&'a self, _: &'a Claim, _: Duration) -> Asked<'a, Result<Granted, Refused>> {
        never()
    }

    fn adopt<'a>(&'a self, _: &'a [Claim], _: Duration) -> Asked<'a, ()> {
        never()
    }

    fn settle<'a>(&'a self, _: &'a [Settlement]) -> Asked<'a, Vec<Usd>> {
        never()
    }

    fn tell<'a>(&'a self, _: &'a [Mark]) -> Asked<'a, Vec<Told>> {
        never()
    }

    fn renew<'a>(&'a self, _: &'a [HoldId], _: Duration) -> Asked<'a, ()> {
        never()
    }

    fn expire(&self) -> Asked<'_, usize> {
        never()
    }

    fn balances<'a>(&'a self, _: &'a [Budget]) -> Asked<'a, Vec<Balance>> {
        never()
    }
}

impl Limits for Frozen {
    fn take<'a>(
        &'a self,
        _: TakeId,
        _: &'a [Ask],
        _: Duration,
    ) -> Asked<'a, Result<Counted, ziggurat_limit::Refused>> {
        never()
    }

    fn settle<'a>(&'a self, _: &'a [Correction]) -> Asked<'a, ()> {
        never()
    }

    fn renew<'a>(&'a self, _: &'a [(TakeId, Arc<[Ask]>)], _: Duration) -> Asked<'a, ()> {
        never()
    }
}

/// Knows a key by what it knew before, once its store has let its time pass.
struct Stale;

impl Authenticate for Stale {
    fn authenticate(&self, _: &Credential<'_>) -> Reply<Authenticated> {
        Reply::Later(Box::pin(async {
            sleep(Duration::from_millis(50)).await;
            Ok(Some(Identity::new(KeyRecord::default())))
        }))
    }
}

/// How long each of some calls takes, in milliseconds.
async fn calls<const N: usize>(keys: Option<Stale>) -> [u128; N] {
    let limits = RemoteLimits::new(Frozen).on_away(OnAway::Allow);
    let ledger = RemoteLedger::new(Frozen).on_away(OnAway::Allow).deadline(Duration::from_millis(90));
    let limit = LimitLayer::new().fixed(Limit::requests_per_minute(Scope::gateway(), 1)).store(limits);
    let budget = Budget::new(Scope::gateway(), Usd::dollars(1), Window::Lifetime);
    let budget = BudgetLayer::new(Ledger::new(ledger), Catalog::embedded()).budget(budget);
    let upstream = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Body::from(r#"{"object":"chat.completion","choices":[]}"#)))
    });
    let guarded = limit.layer(budget.layer(upstream));
    let mut took = [0; N];
    for took in &mut took {
        let body = r#"{"model":"gpt-4o","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
        let request = Request::post("/v1/chat/completions")
            .header("authorization", "Bearer sk-made-up")
            .header("content-type", "application/json")
            .body(Body::from(body))
            .expect("is a request");
        let start = Instant::now();
        let answer = match &keys {
            Some(_) => AuthLayer::new(Stale).layer(guarded.clone()).oneshot(request).await,
            None => guarded.clone().oneshot(request).await,
        };
        assert_eq!(answer.expect("answers").status(), 200);
        *took = start.elapsed().as_millis();
    }
    took
}

#[tokio::test(start_paused = true)]
async fn frozen_stores_add_a_tenth_of_a_second_together() {
    // Limits take 50 ms, and leave the ledger 50 of its 90; after three calls both are known to be away.
    assert_eq!(calls(None).await, [100, 100, 100, 0]);
    // Behind a directory of keys that does not answer either nothing is left for the ledger, which is not held against it: it is found to be
    // away when limits are not asked any more.
    assert_eq!(calls(Some(Stale)).await, [100, 100, 100, 100, 100, 100, 50]);
}

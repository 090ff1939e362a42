//! Plan, limits, budgets, route and translation, as they stand together.

use std::time::Duration;

use http::Request;
use tokio::time::Instant;
use tower::{Layer, util::BoxCloneSyncService};
use ziggurat_budget::{BudgetLayer, Ledger};
use ziggurat_catalog::{Catalog, Model, Prices, Unit};
use ziggurat_core::{Body, Budget, Clock, Dialect, Limit, Scope, Target, Usd, Window};
use ziggurat_limit::{LimitLayer, MemoryStore, Store};
use ziggurat_route::{
    Cooldown, Deployment, Group, GroupBuilder, List, Ordered, PlanLayer, RouteLayer, Routes,
};

use super::{Act, Service, Upstream, around};

/// The whole stack, with what it counts in.
pub(crate) struct Stack {
    pub(crate) service: Service,
    pub(crate) upstream: Upstream,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) ledger: Ledger,
    pub(crate) budget: Budget,
    store: MemoryStore,
}

/// What a token of output costs, in pico-dollars.
const TOKEN: u128 = 10_000_000;

/// In what a token of output costs.
fn tokens(amount: Usd) -> u64 {
    u64::try_from(amount.as_pico() / TOKEN).expect("is small")
}

fn calls() -> Limit {
    Limit::requests_per_minute(Scope::gateway(), 100)
}

pub(crate) fn stack(cap: u64, change: impl Fn(GroupBuilder) -> GroupBuilder) -> Stack {
    let url = "http://upstream.test/v1/chat/completions";
    let target = |id: &str| Target::new("openai", Dialect::OpenAi, "m", url).expect("is a target").id(id);
    let deployments = ["a", "b", "c"].map(|id| Deployment::new(target(id)));
    let group = |name: &str, members: &[Deployment]| {
        let group = Group::new(name).deployments(members.iter().cloned()).strategy(Ordered);
        change(group.cooldown(Cooldown::disabled())).build().expect("is a group")
    };
    let routes = Routes::builder()
        .group(group("g", &deployments[..2]))
        .group(group("h", &deployments[2..]))
        .fall_back(List::General, "g", ["h"])
        .build()
        .expect("are routes");
    let prices = Prices::new()
        .with(Unit::Input, "0".parse().expect("is a price"))
        .with(Unit::Output, "0.00001".parse().expect("is a price"));
    let catalog = Catalog::empty().with(Model::new("m", "openai").prices(prices).window(100_000, 4000));
    let cap = Usd::pico(TOKEN * u128::from(cap));
    let (ledger, store) = (Ledger::in_memory(), MemoryStore::new());
    let budget = Budget::new(Scope::tenant("t"), cap, Window::Lifetime);
    let upstream = Upstream::default();
    let routed = around(&RouteLayer::new(routes.clone()).random(|| 1 << 63), &upstream);
    let budgeted = BudgetLayer::new(ledger.clone(), catalog).budget(budget.clone()).layer(routed);
    let limits = LimitLayer::new().store(store.clone()).clock(clock()).fixed(calls());
    let service = BoxCloneSyncService::new(PlanLayer::new(routes).layer(limits.layer(budgeted)));
    Stack { service, upstream, deployments: deployments.into(), ledger, budget, store }
}

fn clock() -> Clock {
    Clock::new(|| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
}

/// A call for ten tokens at most.
pub(crate) fn ten(stream: bool) -> Request<Body> {
    asks(&format!(r#""max_tokens":10,"stream":{stream}"#))
}

pub(crate) fn asks(members: &str) -> Request<Body> {
    let body = format!(r#"{{"model":"g",{members},"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    Request::post("/v1/chat/completions").body(Body::from(body)).expect("is a request")
}

/// An answer that was begun, and paid for, and broke off.
pub(crate) fn breaks() -> Act {
    Act::Breaks(vec![r#"{"id":"c","#.to_owned()])
}

impl Stack {
    pub(crate) fn spent(&self) -> u64 {
        tokens(self.ledger.balance(&self.budget).expect("is kept here").spent)
    }

    /// Nothing is set aside or in flight any more, and the calls are counted as so many.
    #[track_caller]
    pub(crate) fn is_settled(&self, calls_made: u64) {
        assert_eq!(self.ledger.balance(&self.budget).expect("is kept here").held, Usd::ZERO);
        for deployment in &self.deployments {
            assert_eq!(deployment.figures(Instant::now()).in_flight, 0, "{}", deployment.id());
        }
        let level = self.store.level(&calls(), clock().now()).expect("is kept here");
        assert_eq!(level.remaining, 100 - calls_made);
    }
}

//! What calls are charged, by usage that may be anything and prices that may be missing.

mod support;

use std::convert::Infallible;

use http::{Request, Response};
use tower::{Layer, ServiceExt};
use ziggurat_budget::{BudgetLayer, Charge, Ledger, Spending, Uncapped, Unpriced};
use ziggurat_catalog::{Catalog, Model, Prices, ServiceTier, Unit};
use ziggurat_core::{
    Body, Budget, Convention, Dialect, Meter, Metered, Outcome, ParamPolicy, Target, Usage, Usd, Window,
};

use crate::support::*;

/// What one answer with these counts is charged, and whether as an estimate and as impossible.
async fn charged(usage: &str) -> (Usd, bool, bool) {
    let Charge { amount, flags, .. } = charge(usage).await;
    (amount, flags.estimated, flags.usage_invalid)
}

async fn charge(usage: &str) -> Charge {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    let service = layer.report().layer(upstream({
        let usage = usage.to_owned();
        move |_| answer(&usage)
    }));
    let response = service.oneshot(chat(r#","max_tokens":1000"#)).await.expect("answers");
    assert_eq!(response.status(), 200);
    let spending = response.extensions().get::<Spending>().expect("is attached").clone();
    let charge = spending.charge.expect("the answer is whole");
    drop(text(response).await);
    assert_eq!(spent(&ledger, &budget), (charge.amount, Usd::ZERO), "{usage}");
    charge
}

/// B9: what is stated as nothing costs nothing, and can be found.
#[tokio::test]
async fn a_stated_zero_is_charged_as_zero_and_marked() {
    let marked = |usage: String| async move { charge(&usage).await.flags.zero_usage };
    assert!(marked(used(0, 0)).await);
    let flags = charge(&used(0, 0)).await.flags;
    assert_eq!((flags.estimated, flags.usage_invalid), (false, false));
    for usage in
        ["", r#","usage":null"#, r#","usage":{"prompt_tokens":0}"#, r#","usage":{"completion_tokens":0}"#]
    {
        assert!(!marked(usage.to_owned()).await, "{usage}");
    }
    for (input, output) in [(0, 7), (10, 0), (10, 7)] {
        assert!(!marked(used(input, output)).await, "{input} {output}");
    }
    assert!(!marked(r#","usage":{"prompt_tokens":0,"completion_tokens":-1}"#.to_owned()).await);
}

#[tokio::test]
async fn usage_is_untrusted() {
    let token = Usd::pico(10_000_000);
    // "Hello you": nine bytes, which count as three tokens.
    let estimate = (token * 3, true, false);
    assert_eq!(charged(&used(10, 7)).await, (token * 7, false, false));
    assert_eq!(charged(&used(0, 0)).await, (Usd::ZERO, false, false));
    assert_eq!(charged("").await, estimate);
    assert_eq!(charged(r#","usage":null"#).await, estimate);
    assert_eq!(charged(r#","usage":{"prompt_tokens":5}"#).await, estimate);
    let invalid = (token * 3, true, true);
    assert_eq!(charged(r#","usage":{"prompt_tokens":-5,"completion_tokens":-2000}"#).await, invalid);
    assert_eq!(charged(r#","usage":{"prompt_tokens":"5","completion_tokens":"many"}"#).await, invalid);
    assert_eq!(charged(r#","usage":{"prompt_tokens":null,"completion_tokens":null}"#).await, estimate);
    assert_eq!(
        charged(r#","usage":{"prompt_tokens":1,"completion_tokens":1000000000000}"#).await,
        (token * 3, true, true)
    );
    assert_eq!(charged(r#","usage":{"prompt_tokens":1,"completion_tokens":1e30}"#).await, invalid);
    assert_eq!(charged(r#","usage":{"prompt_tokens":1,"completion_tokens":1.5}"#).await.0, token * 2);
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_unless_it_is_allowed() {
    let budget = cents(100);
    let ledger = Ledger::in_memory();
    let layer = BudgetLayer::new(ledger.clone(), Catalog::empty()).budget(budget.clone());
    let service = |layer: &BudgetLayer| layer.layer(upstream(|_| answer(&used(1, 1))));
    let refused = service(&layer).oneshot(chat("")).await.expect("answers");
    assert_eq!(refused.status(), 400);
    assert_eq!(
        text(refused).await,
        r#"{"error":{"message":"the model `m` has no price, and a budget applies to this call","type":"invalid_request_error","param":"model","code":"model_not_priced"}}"#
    );
    let allowed = layer.unpriced(Unpriced::Allow).report();
    let response = service(&allowed).oneshot(chat("")).await.expect("answers");
    let charge = response.extensions().get::<Spending>().expect("is attached").charge.expect("is whole");
    assert!(charge.flags.unpriced && charge.amount.is_zero());
    assert_eq!(spent(&ledger, &budget), (Usd::ZERO, Usd::ZERO));
}

#[tokio::test]
async fn what_the_deployment_changes_is_what_is_counted() {
    let target = || Target::new("openai", Dialect::OpenAi, "m", "http://x/v1").expect("is one");
    let drops = || {
        let mut policy = ParamPolicy::default();
        policy.additional_drop_params = ["max_tokens".to_owned(), "max_completion_tokens".to_owned()].into();
        target().policy(policy)
    };
    let gives = |name: &str, json: &str| target().defaults([(name.to_owned(), json.to_owned())]);
    let held = |target: Target, members: &'static str, policy: Uncapped| async move {
        let budget = cents(100);
        let (layer, ledger) = layer(&budget);
        let service = layer.uncapped(policy).layer(upstream(|_| answer(&used(1, 1))));
        let mut request = chat(members);
        request.extensions_mut().insert(target);
        let response = service.oneshot(request).await.expect("answers");
        assert_eq!(response.status(), 200);
        let held = spent(&ledger, &budget).1;
        drop(response);
        held
    };
    let reserve = Uncapped::ReserveModelCap;
    assert_eq!(held(target(), r#","max_tokens":1000"#, reserve).await, Usd::cents(1));
    assert_eq!(held(drops(), r#","max_tokens":1000"#, reserve).await, Usd::cents(4));
    assert_eq!(held(drops(), "", Uncapped::Clamp(100)).await, Usd::cents(4));
    assert_eq!(held(gives("max_tokens", "500"), "", reserve).await, Usd::pico(5_000_000_000));
    assert_eq!(held(gives("max_tokens", "500"), r#","max_tokens":1000"#, reserve).await, Usd::cents(1));
    assert_eq!(held(gives("n", "4"), r#","max_tokens":1000"#, reserve).await, Usd::cents(4));
}

#[tokio::test]
async fn a_tier_that_is_asked_for_is_never_cheaper_than_the_usual_one() {
    let rate = |text: &str| text.parse().expect("is a price");
    let prices = Prices::new()
        .with(Unit::Input, rate("0"))
        .with(Unit::Output, rate("0.00001"))
        .with_variant(Unit::Output, 0, ServiceTier::Flex, rate("0.000005"))
        .with_variant(Unit::Output, 0, ServiceTier::Priority, rate("0.00002"));
    let catalog = Catalog::empty().with(Model::new("m", "openai").prices(prices));
    for (tier, cents) in
        [("default", 1), ("flex", 1), ("batch", 1), ("batches", 1), ("unheard", 1), ("priority", 2)]
    {
        let budget = Budget::new(tenant(), Usd::dollars(1), Window::Lifetime);
        let ledger = Ledger::in_memory();
        let layer = BudgetLayer::new(ledger.clone(), catalog.clone()).budget(budget.clone());
        let service = layer.layer(upstream(|_| answer(&used(1, 1000))));
        let call = chat(&format!(r#","max_tokens":1000,"service_tier":"{tier}""#));
        drop(text(service.oneshot(call).await.expect("answers")).await);
        assert_eq!(spent(&ledger, &budget).0, Usd::cents(cents), "{tier}");
    }
}

#[tokio::test]
async fn a_model_whose_output_has_no_price_has_none() {
    let prices = Prices::new().with(Unit::Input, "0.000003".parse().expect("is a price"));
    let catalog = Catalog::empty().with(Model::new("m", "openai").prices(prices));
    let layer = BudgetLayer::new(Ledger::in_memory(), catalog).budget(cents(100));
    let refused = layer.layer(upstream(|_| answer(&used(1, 1)))).oneshot(chat("")).await.expect("answers");
    assert_eq!(refused.status(), 400);
}

#[tokio::test]
async fn searches_are_no_count_of_tokens() {
    let rate = |text: &str| text.parse().expect("is a price");
    let charged = |prices: Prices| async move {
        let catalog = Catalog::empty().with(Model::new("m", "cohere").prices(prices));
        let layer = BudgetLayer::new(Ledger::in_memory(), catalog).budget(cents(100)).report();
        let service = layer.layer(tower::service_fn(async |request: Request<Body>| {
            let meter = request.extensions().get::<Meter>().expect("is metered");
            let mut attempt = meter.attempt(request.extensions().get()).await.expect("may go");
            attempt.sent();
            let mut usage = Usage::new(Convention::OPENAI);
            (usage.output, usage.search_units) = (Some(0), Some(2));
            attempt.usage(&usage);
            attempt.progress().await.expect("may go on");
            attempt.end(Outcome::Complete);
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Metered);
            Ok::<_, Infallible>(response)
        }));
        let call = r#"{"model":"m","query":"abc","documents":["abcdef"]}"#;
        let call = Request::post("/v1/rerank").body(Body::from(call)).expect("is a request");
        let response = service.oneshot(call).await.expect("answers");
        let charge = response.extensions().get::<Spending>().expect("is attached").charge.expect("is whole");
        (charge.amount, charge.flags.estimated)
    };
    let by_search = Prices::new().with(Unit::Query, rate("0.002")).with(Unit::Input, rate("0"));
    assert_eq!(charged(by_search).await, (Usd::pico(4_000_000_000), false));
    // Three tokens that nobody has stated.
    let by_token = Prices::new().with(Unit::Input, rate("0.00001"));
    assert_eq!(charged(by_token).await, (Usd::pico(30_000_000), true));
}

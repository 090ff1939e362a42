//! What a call costs, and counts as, whatever it takes to answer it: with limits and budgets outside.

mod support;

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::ServiceExt;
use ziggurat_core::{Body, Budget, Principal, Scope, ScopeKind, Usd, Window};
use ziggurat_route::{GroupBuilder, RetryPolicy, Timeouts};

use crate::support::{
    stack::{asks, breaks, stack, ten},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn all_attempts_that_may_have_been_billed_are_paid_for_and_counted_as_one_call() {
    let stack = stack(100, |group| group.retry(RetryPolicy::new(1)));
    stack.upstream.does("a", [breaks()]).does("b", [breaks()]).does("c", [ok("Hello")]);
    let got = call(&stack.service, ten(false)).await;
    assert_eq!((got.status, stack.upstream.called()), (200, vec!["a".into(), "b".into(), "c".into()]));
    // Two of which nobody knows what was written, and one that says so.
    assert_eq!(stack.spent(), 10 + 10 + 2);
    stack.is_settled(1);
}

#[tokio::test(start_paused = true)]
async fn what_providers_refuse_costs_nothing_and_needs_no_more_than_one_reservation() {
    let stack = stack(10, |group| group.retry(RetryPolicy::new(1)));
    stack.upstream.does("a", [fails(500)]).does("b", [Act::Refuses]).does("c", [ok("Hello")]);
    assert_eq!(call(&stack.service, ten(false)).await.status, 200);
    assert_eq!((stack.upstream.called().len(), stack.spent()), (3, 2));
    stack.is_settled(1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_does_not_fit_the_budget_is_not_made() {
    for (cap, called, spent) in [(19, &["a"][..], 10), (29, &["a", "b"], 20)] {
        let stack = stack(cap, |group| group);
        stack.upstream.does("a", [breaks()]).does("b", [breaks()]).does("c", [ok("Hello")]);
        let got = call(&stack.service, ten(false)).await;
        // The provider's failure is told, not that there was no money to ask another.
        assert_eq!(
            (got.status, stack.upstream.called()),
            (502, called.iter().map(|it| (*it).into()).collect())
        );
        let served = got.served.expect("was asked");
        assert_eq!(served.attempts as usize, called.len());
        assert_eq!(served.target.expect("is known").deployment(), *called.last().expect("one was called"));
        assert_eq!(stack.spent(), spent);
        stack.is_settled(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_fit_is_not_made_at_all() {
    let stack = stack(9, |group| group);
    let got = call(&stack.service, ten(false)).await;
    assert_eq!((got.status, stack.upstream.called().len(), stack.spent()), (429, 0, 0));
    assert!(got.body.contains("insufficient_quota"), "{}", got.body);
    assert_eq!(stack.ledger.balance(&stack.budget).expect("is kept here").held, Usd::ZERO);
}

#[tokio::test(start_paused = true)]
async fn both_of_a_hedge_are_paid_for() {
    let late = |time: u32, act: Act| Act::After(time * SECOND, Box::new(act));
    for (cap, expected, spent, took) in [(100, "b", 10 + 2, 2), (19, "a", 2, 5)] {
        let stack = stack(cap, |group| group.hedge_after(SECOND));
        stack.upstream.does("a", [late(5, ok("a"))]).does("b", [late(1, ok("b"))]);
        let got = call(&stack.service, ten(false)).await;
        assert_eq!((got.status, got.body, got.took), (200, answer(expected), took * SECOND));
        assert_eq!(stack.spent(), spent);
        stack.is_settled(1);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_stays_set_aside_however_a_call_ends() {
    let total = |group: GroupBuilder| group.timeouts(Timeouts::none().total(9 * SECOND));
    let begun = vec![role(), says("Hel")];
    for act in [
        fails(400),
        fails(500),
        fails_with(429, ("retry-after", "3")),
        breaks(),
        Act::Refuses,
        Act::Hangs,
        ok("Hello"),
        stream(&["Hel", "lo"]),
        Act::Breaks(begun.clone()),
        Act::Stalls(begun),
    ] {
        for streams in [false, true] {
            let stack = stack(1000, |group| total(group).retry(RetryPolicy::new(1)));
            for id in ["a", "b", "c"] {
                stack.upstream.does(id, [act.clone()]);
            }
            call(&stack.service, ten(streams)).await;
            stack.is_settled(1);
            assert_eq!(stack.upstream.open(), 0, "{act:?}");
            // A caller who leaves after six seconds.
            let left = tokio::time::timeout(6 * SECOND, call(&stack.service, ten(streams))).await;
            drop(left);
            stack.is_settled(2);
            assert_eq!(stack.upstream.open(), 0, "{act:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_budget_stops_is_asked_of_nobody_else() {
    let stack = stack(60, |group| group);
    let words = (0..100).map(|_| says("abcdef"));
    stack.upstream.does("a", [Act::Stream([role()].into_iter().chain(words).chain(ends()).collect())]);
    let response = stack.service.clone().oneshot(asks(r#""stream":true"#)).await.expect("answers");
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.expect("does not fail").to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("is UTF-8");
    assert!(body.contains("abcdef") && body.contains("insufficient_quota"), "{body}");
    assert!(!body.contains("[DONE]") && body.matches("\"error\"").count() == 1, "{body}");
    assert_eq!(stack.upstream.called(), ["a"]);
    assert!((1..=60).contains(&stack.spent()));
    stack.is_settled(1);
    // It was no fault of the deployment's.
    assert_eq!(stack.deployments[0].figures(Instant::now()).failures, 0);
}

#[tokio::test(start_paused = true)]
async fn who_answers_for_another_model_is_held_to_what_may_be_spent_on_its_own() {
    for (on_h, called, status, spent_on_h) in [(9, &["a", "b"][..], 500, 0), (10, &["a", "b", "c"], 200, 2)] {
        let stack = stack(100, |group| group.retry(RetryPolicy::new(1)));
        stack.upstream.does("a", [fails(500)]).does("b", [fails(500)]).does("c", [ok("Hello")]);
        let (of_g, of_h, of_others) = (of_model("g", 10), of_model("h", on_h), of_model("elsewhere", 0));
        let request = held_to(ten(false), [of_g.clone(), of_h.clone(), of_others]);
        let got = call(&stack.service, request).await;
        let called: Vec<String> = called.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!((got.status, stack.upstream.called()), (status, called));
        let balance = |budget: &Budget| stack.ledger.balance(budget).unwrap_or_default();
        assert_eq!((balance(&of_g).spent, balance(&of_h).spent), (Usd::ZERO, TOKEN * spent_on_h));
        assert_eq!((balance(&of_g).held, balance(&of_h).held), (Usd::ZERO, Usd::ZERO));
        stack.is_settled(1);
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_charged_to_the_budget_of_its_own_model() {
    let (of_g, of_h, of_all) = (of_model("g", 100), of_model("h", 100), of_model("*", 100));
    for streams in [false, true] {
        let stack = stack(100, |group| group.retry(RetryPolicy::new(1)));
        // Ten tokens that nobody saw, where the answer comes in one piece, then two of another model.
        stack.upstream.does("a", [breaks()]).does("b", [fails(500)]);
        stack.upstream.does("c", [if streams { stream(&["Hel", "lo"]) } else { ok("Hello") }]);
        let got =
            call(&stack.service, held_to(ten(streams), [of_g.clone(), of_h.clone(), of_all.clone()])).await;
        assert_eq!((got.status, stack.upstream.called().len()), (200, 3));
        let first = if streams { 0 } else { 10 };
        let spent = |budget: &Budget| stack.ledger.balance(budget).unwrap_or_default();
        for (budget, tokens) in [(&of_g, first), (&of_h, 2), (&of_all, first + 2)] {
            let balance = spent(budget);
            assert_eq!((balance.spent, balance.held), (TOKEN * tokens, Usd::ZERO), "{budget:?}");
        }
        assert_eq!(stack.spent(), first + 2);
        stack.is_settled(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_has_spent_its_budget_is_refused_and_not_stood_in_for() {
    let stack = stack(100, |group| group);
    let got = call(&stack.service, held_to(ten(false), [of_model("g", 9), of_model("h", 100)])).await;
    assert_eq!((got.status, stack.upstream.called().len(), stack.spent()), (429, 0, 0));
    let free = |budget: &Budget| stack.ledger.balance(budget).unwrap_or_default().held;
    assert_eq!([free(&of_model("g", 9)), free(&stack.budget)], [Usd::ZERO; 2]);
}

#[tokio::test(start_paused = true)]
async fn what_is_set_aside_for_the_model_is_free_again_when_the_call_does_not_fit() {
    let stack = stack(9, |group| group);
    let of_g = of_model("g", 10);
    let got = call(&stack.service, held_to(ten(false), [of_g.clone()])).await;
    assert_eq!((got.status, stack.upstream.called().len()), (429, 0));
    let balance = stack.ledger.balance(&of_g).unwrap_or_default();
    assert_eq!((balance.spent, balance.held), (Usd::ZERO, Usd::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_cap_ends_with_the_budget_of_the_model_that_writes_it() {
    for (on_g, on_h, writes) in [(60, 1000, "a"), (1000, 60, "c")] {
        let stack = stack(1000, |group| group);
        let words = (0..100).map(|_| says("abcdef"));
        let long = Act::Stream([role()].into_iter().chain(words).chain(ends()).collect());
        for id in ["a", "b", "c"] {
            stack.upstream.does(id, [if id == writes { long.clone() } else { fails(500) }]);
        }
        let (of_g, of_h) = (of_model("g", on_g), of_model("h", on_h));
        let request = held_to(asks(r#""stream":true"#), [of_g.clone(), of_h.clone()]);
        let got = call(&stack.service, request).await;
        assert!(got.body.contains("insufficient_quota") && got.body.contains("abcdef"), "{}", got.body);
        let balance = |budget: &Budget| stack.ledger.balance(budget).unwrap_or_default();
        let (its, others) = if writes == "a" { (&of_g, &of_h) } else { (&of_h, &of_g) };
        assert!(!balance(its).spent.is_zero() && balance(its).spent <= TOKEN * 60);
        assert_eq!(
            (balance(others).spent, balance(its).held, balance(others).held),
            (Usd::ZERO, Usd::ZERO, Usd::ZERO)
        );
        stack.is_settled(1);
    }
}

/// What a token of output costs.
const TOKEN: Usd = Usd::pico(10_000_000);

fn of_model(model: &str, tokens: u64) -> Budget {
    Budget::new(Scope::new(ScopeKind::Key, "k"), TOKEN * tokens, Window::Lifetime).models(model)
}

fn held_to<const N: usize>(mut request: Request<Body>, budgets: [Budget; N]) -> Request<Body> {
    let mut principal = Principal::default();
    principal.key = Some("k".into());
    principal.budgets = budgets.into();
    request.extensions_mut().insert(principal);
    request
}

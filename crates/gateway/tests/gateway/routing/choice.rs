//! Which deployment of a group is called.

use serde_json::json;

use super::{bearer, call, call_with, new_key, router, start};
use crate::{
    client::{Answer, post},
    harness::Gateway,
    paid::key,
    samples::CHAT,
    vendor::{Says, Vendor},
};

/// A group of three, each with its own lines.
async fn three(params: [&[&str]; 3], lines: &[&str]) -> ([Vendor; 3], Gateway) {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let each = vendors.iter().zip(params);
    let entries: Vec<_> =
        each.map(|(vendor, params)| vendor.entry("m", "openai/gpt-4o", params, &[])).collect();
    let gateway = start(&entries, &router(lines)).await;
    (vendors, gateway)
}

async fn ask(gateway: &Gateway, calls: usize) {
    for _ in 0..calls {
        let answer = call(gateway.addr, "m").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

fn asked(vendors: &[Vendor; 3]) -> [usize; 3] {
    vendors.each_ref().map(Vendor::asked)
}

#[tokio::test]
async fn a_weight_of_zero_is_never_called_and_others_share() {
    let (vendors, gateway) = three([&["weight: 0"], &["weight: 1"], &["weight: 1"]], &[]).await;
    ask(&gateway, 60).await;
    let [one, two, three] = asked(&vendors);
    assert_eq!((one, two + three), (0, 60));
    // One in 10^9 runs has fewer.
    assert!(two.min(three) >= 8, "{two} {three}");
}

#[tokio::test]
async fn one_without_a_weight_gets_its_share_beside_those_with_one() {
    let (vendors, gateway) = three([&[], &["weight: 1"], &["weight: 1"]], &[]).await;
    ask(&gateway, 90).await;
    assert!(asked(&vendors).into_iter().all(|calls| calls >= 8), "{:?}", asked(&vendors));
}

#[tokio::test]
async fn the_order_goes_before_the_weight() {
    let params: [&[&str]; 3] = [&["order: 2", "weight: 100"], &["order: 1"], &["order: 3"]];
    let (vendors, gateway) = three(params, &["allowed_fails: 0", "cooldown_time: 600"]).await;
    ask(&gateway, 5).await;
    assert_eq!(asked(&vendors), [0, 5, 0]);
    vendors[1].fails();
    assert_eq!(call(gateway.addr, "m").await.status, 500);
    ask(&gateway, 5).await;
    assert_eq!(asked(&vendors), [5, 6, 0]);
}

#[tokio::test]
async fn tags_choose_where_they_are_enabled() {
    let params: [&[&str]; 3] = [&["tags: [free]"], &["tags: [paid, fast]"], &["tags: [default]"]];
    let tagged = async |gateway: &Gateway, tags: serde_json::Value| -> Answer {
        call_with(gateway.addr, "m", json!({"metadata": {"tags": tags}})).await
    };
    let (vendors, gateway) = three(params, &["enable_tag_filtering: true"]).await;
    for (tags, answers) in [
        (json!(["free"]), 0),
        (json!(["paid"]), 1),
        (json!(["fast", "none"]), 1),
        (json!([]), 2),
        (json!(["none"]), 2),
    ] {
        for _ in 0..3 {
            assert_eq!(tagged(&gateway, tags.clone()).await.says(), vendors[answers].hello(), "{tags}");
        }
    }
    ask(&gateway, 3).await;
    assert_eq!(asked(&vendors), [3, 6, 9]);
    // All of the tags.
    let lines = ["enable_tag_filtering: true", "tag_filtering_match_any: false"];
    let (vendors, gateway) = three(params, &lines).await;
    assert_eq!(tagged(&gateway, json!(["paid", "fast"])).await.says(), vendors[1].hello());
    assert_eq!(tagged(&gateway, json!(["paid", "free"])).await.says(), vendors[2].hello());
    // Nobody is for these.
    let params: [&[&str]; 3] = [&["tags: [free]"], &["tags: [free]"], &["tags: [free]"]];
    let (vendors, gateway) = three(params, &["enable_tag_filtering: true"]).await;
    let answer = tagged(&gateway, json!(["paid"])).await;
    assert_eq!((answer.status, &*answer.says()), (403, "permission_denied"));
    assert_eq!(asked(&vendors), [0, 0, 0]);
}

#[tokio::test]
async fn every_strategy_starts_and_routes() {
    for strategy in [
        "simple-shuffle",
        "least-busy",
        "latency-based-routing",
        "cost-based-routing",
        "usage-based-routing",
        "usage-based-routing-v2",
    ] {
        let line = format!("routing_strategy: {strategy}");
        let (vendors, gateway) = three([&[], &[], &[]], &[&line]).await;
        ask(&gateway, 9).await;
        assert_eq!(asked(&vendors).into_iter().sum::<usize>(), 9, "{strategy}");
    }
}

#[tokio::test]
async fn the_cheapest_is_called_while_it_works() {
    let price = |cost: &str| format!("output_cost_per_token: {cost}");
    let prices = [price("0.03"), price("0.01"), price("0.02")];
    let zero = "input_cost_per_token: 0";
    let params = prices.each_ref().map(|price| [zero, price.as_str()]);
    let lines = ["routing_strategy: cost-based-routing", "allowed_fails: 0", "cooldown_time: 600"];
    let (vendors, gateway) = three(params.each_ref().map(|params| &params[..]), &lines).await;
    ask(&gateway, 4).await;
    assert_eq!(asked(&vendors), [0, 4, 0]);
    vendors[1].fails();
    assert_eq!(call(gateway.addr, "m").await.status, 500);
    ask(&gateway, 4).await;
    assert_eq!(asked(&vendors), [0, 5, 4]);
}

#[tokio::test]
async fn the_least_used_and_the_least_busy_take_turns() {
    let (vendors, gateway) = three([&[], &[], &[]], &["routing_strategy: usage-based-routing-v2"]).await;
    ask(&gateway, 9).await;
    assert_eq!(asked(&vendors), [3, 3, 3]);
    let (vendors, gateway) = three([&[], &[], &[]], &["routing_strategy: least-busy"]).await;
    for vendor in &vendors {
        vendor.says(Says::Nothing);
    }
    let mut calls = Vec::new();
    for so_far in 1..=6 {
        let addr = gateway.addr;
        calls.push(tokio::spawn(async move { call(addr, "m").await.status }));
        crate::harness::until(|| asked(&vendors).into_iter().sum::<usize>() == so_far).await;
    }
    assert_eq!(asked(&vendors), [2, 2, 2]);
    for vendor in &vendors {
        vendor.says(Says::Hello);
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn where_one_has_all_it_may_the_next_is_called() {
    let params: [&[&str]; 3] = [&["order: 1", "rpm: 2"], &["order: 2", "rpm: 3"], &["order: 3"]];
    let (vendors, gateway) = three(params, &[]).await;
    ask(&gateway, 8).await;
    assert_eq!(asked(&vendors), [2, 3, 3]);
    // Nobody has failed.
    for id in ["m@one", "m@two"] {
        let health = super::health(gateway.addr, id).await;
        assert_eq!((&health["state"], &health["failures"]), (&json!("healthy"), &json!(0)), "{health}");
    }
    // At a time, too.
    let params: [&[&str]; 3] = [&["order: 1", "max_parallel_requests: 1"], &["order: 2"], &["order: 3"]];
    let (vendors, gateway) = three(params, &[]).await;
    vendors[0].says(Says::Nothing);
    let first = {
        let addr = gateway.addr;
        tokio::spawn(async move { call(addr, "m").await.says() })
    };
    crate::harness::until(|| vendors[0].asked() == 1).await;
    assert_eq!(call(gateway.addr, "m").await.says(), vendors[1].hello());
    vendors[0].says(Says::Hello);
    assert_eq!(first.await.unwrap(), vendors[0].hello());
}

#[tokio::test]
async fn a_limit_that_all_have_reached_is_told_or_falls_back() {
    let [one, two] = Vendor::several(["one", "two"]).await;
    let entries =
        [one.entry("m", "openai/gpt-4o", &["rpm: 1"], &[]), two.entry("other", "openai/gpt-4o", &[], &[])];
    let gateway = start(&entries, &router(&[])).await;
    assert_eq!(call(gateway.addr, "m").await.status, 200);
    let refused = call(gateway.addr, "m").await;
    assert_eq!((refused.status, &*refused.says()), (429, "rate_limit_exceeded"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=62).contains(&wait), "{wait}");
    let gateway = start(&entries, &router(&["fallbacks: [{m: [other]}]"])).await;
    assert_eq!(call(gateway.addr, "m").await.says(), one.hello());
    assert_eq!(call(gateway.addr, "m").await.says(), two.hello());
    assert_eq!((one.asked(), two.asked()), (2, 1));
}

/// Who answers four calls that belong together, each with its own end: one and the same.
async fn together(gateway: &Gateway, header: &str, beginning: &str) -> String {
    let mut answers = Vec::new();
    for end in 0..4 {
        let content = format!("{beginning}{end}");
        let body = json!({"model": "m", "messages": [{"role": "user", "content": content}]}).to_string();
        answers.push(post(gateway.addr, CHAT, &[&key(), header], &body).await.says());
    }
    let first = answers.swap_remove(0);
    assert!(answers.iter().all(|answer| *answer == first), "{header}: {first} {answers:?}");
    first
}

#[tokio::test]
async fn calls_of_a_session_stay_together() {
    let (vendors, gateway) = three([&[]; 3], &["optional_pre_call_checks: [session_affinity]"]).await;
    for session in 0..20 {
        together(&gateway, &format!("x-litellm-session-id: {session}"), "Hi").await;
    }
    assert!(asked(&vendors).into_iter().all(|calls| calls > 0), "{:?}", asked(&vendors));
}

#[tokio::test]
async fn calls_that_begin_alike_stay_together() {
    let (vendors, gateway) = three([&[]; 3], &["optional_pre_call_checks: [prompt_caching]"]).await;
    for prompt in 0..20 {
        let beginning = format!("{prompt} {}", "x".repeat(5000));
        together(&gateway, "accept: */*", &beginning).await;
    }
    assert!(asked(&vendors).into_iter().all(|calls| calls > 0), "{:?}", asked(&vendors));
}

#[tokio::test]
async fn calls_of_a_key_stay_together() {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let entries = vendors.each_ref().map(|vendor| vendor.entry("m", "openai/gpt-4o", &[], &[])).concat();
    let config = format!(
        "model_list:\n{entries}{}general_settings: {{master_key: sk-master-canary, database_url: 'sqlite:keys.db'}}\n",
        router(&["optional_pre_call_checks: [deployment_affinity]"])
    );
    let gateway = Gateway::start(&config, &[], &[]).await;
    for _ in 0..20 {
        let own = bearer(&new_key(gateway.addr, json!({})).await);
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(post(gateway.addr, CHAT, &[&own], &super::ask("m", &json!({}))).await.says());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
    // One in 10^3 runs asks two of the three alone, and one in 10^9 only one.
    assert!(asked(&vendors).into_iter().filter(|calls| *calls > 0).count() > 1, "{:?}", asked(&vendors));
}

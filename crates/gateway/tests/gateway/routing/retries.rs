//! What is tried again, and who is left alone after failures.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{call, call_with, entries, health, router, start};
use crate::{
    harness::{SOON, until},
    samples::Api,
    vendor::{Says, Vendor},
};

/// One group of these.
fn group(vendors: &[Vendor], params: &[&[&str]]) -> Vec<String> {
    let each = vendors.iter().zip(params);
    each.map(|(vendor, params)| vendor.entry("m", "openai/gpt-4o", params, &[])).collect()
}

#[tokio::test]
async fn so_many_retries_as_the_config_says() {
    let [one] = Vendor::several(["one"]).await;
    one.fails();
    let own = ["num_retries: 2"];
    for (params, sections, asked) in [
        (&[][..], "", 3),
        (&[], "router_settings: {num_retries: 0}\n", 1),
        (&[], "router_settings: {num_retries: 1}\n", 2),
        (&[], "litellm_settings: {num_retries: 1}\n", 2),
        (&own, "router_settings: {num_retries: 0}\n", 3),
        (&[], "router_settings: {num_retries: 2, retry_policy: {InternalServerErrorRetries: 0}}\n", 1),
        (&[], "router_settings: {num_retries: 0, retry_policy: {InternalServerErrorRetries: 1}}\n", 2),
        (&[], "router_settings: {num_retries: 0, retry_policy: {ServiceUnavailableErrorRetries: 1}}\n", 1),
        (&[], "router_settings: {num_retries: 0, retry_policy: {DefaultRetries: 1}}\n", 2),
        (
            &[],
            "router_settings: {num_retries: 0, model_group_retry_policy: {m: {InternalServerErrorRetries: 1}}}\n",
            2,
        ),
        (&[], "ziggurat_settings: {retry_budget: {share: 0, per_second: 0}}\n", 1),
    ] {
        let before = one.asked();
        let gateway = start(&[one.entry("m", "openai/gpt-4o", params, &[])], sections).await;
        let answer = call(gateway.addr, "m").await;
        assert_eq!((answer.status, one.asked() - before), (500, asked), "{params:?} {sections}");
        assert_eq!(answer.way()[1], (asked - 1).to_string());
    }
}

#[tokio::test]
async fn each_deployments_own_count_is_for_its_own_failures() {
    let vendors = Vendor::several(["one", "two"]).await;
    vendors.iter().for_each(Vendor::fails);
    for (params, asked) in [
        ([&["order: 1"][..], &["order: 2"]], [1, 1]),
        ([&["order: 1"], &["order: 2", "num_retries: 5"]], [2, 1]),
        ([&["order: 1", "num_retries: 5"], &["order: 2"]], [1, 1]),
        ([&["order: 1", "max_retries: 0"], &["order: 2"]], [1, 0]),
    ] {
        let before = vendors.each_ref().map(Vendor::asked);
        let sections = "router_settings: {num_retries: 1, disable_cooldowns: true}\n";
        let gateway = start(&group(&vendors, &params), sections).await;
        assert_eq!(call(gateway.addr, "m").await.status, 500);
        let after = vendors.each_ref().map(Vendor::asked);
        assert_eq!([after[0] - before[0], after[1] - before[1]], asked, "{params:?}");
    }
}

#[tokio::test]
async fn what_no_retry_helps_is_asked_once_and_cools_nobody() {
    let [one] = Vendor::several(["one"]).await;
    let entries = [one.entry("m", "openai/gpt-4o", &[], &[])];
    let gateway = start(&entries, "router_settings: {num_retries: 2, allowed_fails: 0}\n").await;
    for (status, code) in [
        (400, "invalid_value"),
        (401, "invalid_api_key"),
        (403, "permission_denied"),
        (404, "model_not_found"),
        (413, "too_large"),
        (422, "unprocessable"),
    ] {
        one.says(Says::failure(Api::OpenAi, status, code, "no"));
        let before = one.asked();
        let answer = call(gateway.addr, "m").await;
        assert_eq!((answer.status, one.asked() - before), (status, 1), "{code}: {}", answer.body);
    }
    let health = health(gateway.addr, "m@one").await;
    assert_eq!(health["state"], "healthy", "{health}");
    // Operators learn of keys that do not work.
    let ended = gateway.stop().await;
    let alert = "ERROR the provider does not accept the key of a deployment";
    assert_eq!(ended.stderr.matches(alert).count(), 2, "{}", ended.stderr);
}

#[tokio::test]
async fn a_wait_that_a_provider_asks_for_is_kept_or_passed_on() {
    let [one, two] = Vendor::several(["one", "two"]).await;
    let entries = [one.entry("m", "openai/gpt-4o", &[], &[]), two.entry("other", "openai/gpt-4o", &[], &[])];
    let alone = "router_settings: {num_retries: 1}\n";
    let gateway = start(&entries, alone).await;
    one.says(Says::busy(Api::OpenAi, "1"));
    let started = Instant::now();
    let answer = call(gateway.addr, "m").await;
    assert_eq!((answer.status, answer.header("retry-after"), one.asked()), (429, Some("1"), 2));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    // What is longer than anybody waits is the caller's to wait.
    for (asked, told) in [("120", Some("120")), ("soon", None), ("-5", None)] {
        let gateway = start(&entries, "router_settings: {num_retries: 0}\n").await;
        one.says(Says::busy(Api::OpenAi, asked));
        let answer = call(gateway.addr, "m").await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, told), "{asked}");
    }
    let gateway = start(&entries, alone).await;
    one.says(Says::busy(Api::OpenAi, "120"));
    let before = one.asked();
    assert_eq!((call(gateway.addr, "m").await.status, one.asked() - before), (429, 1));
    // Where another can be asked, nobody waits.
    let gateway = start(&entries, "router_settings: {fallbacks: [{m: [other]}]}\n").await;
    one.says(Says::busy(Api::OpenAi, "30"));
    let started = Instant::now();
    let answer = call(gateway.addr, "m").await;
    assert_eq!((answer.says(), answer.way()), (two.hello(), ["other@two", "0", "1"]));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // It said for how long: until then it is left alone.
    let health = health(gateway.addr, "m@one").await;
    let seconds = health["cooldown_seconds"].as_f64().unwrap();
    assert!(health["state"] == "cooling" && (1.0..=30.0).contains(&seconds), "{health}");
}

#[tokio::test]
async fn a_quota_is_not_tried_again_and_falls_back() {
    let vendors = Vendor::several(["one", "two"]).await;
    let lines = "router_settings: {num_retries: 2, fallbacks: [{one: [two]}]}\n";
    let gateway = start(&entries(&vendors, ["one", "two"]), lines).await;
    let [one, two] = &vendors;
    one.says(Says::failure(Api::OpenAi, 429, "insufficient_quota", "you have run out of credits"));
    assert_eq!(call(gateway.addr, "one").await.says(), two.hello());
    assert_eq!(one.asked(), 1);
}

#[tokio::test]
async fn a_deployment_that_fails_too_often_is_left_alone_for_its_time() {
    let vendors = Vendor::several(["one", "two"]).await;
    let [one, two] = &vendors;
    // The first is always asked first.
    let all = group(&vendors, &[&["order: 1"], &["order: 2"]]);
    let gateway = start(&all, &router(&["allowed_fails: 2", "cooldown_time: 600"])).await;
    one.fails();
    for failures in 1..=3 {
        // Without a retry within the group, nobody else is asked for this call.
        assert_eq!(call(gateway.addr, "m").await.status, 500);
        assert_eq!(health(gateway.addr, "m@one").await["failures"], failures);
    }
    let told = health(gateway.addr, "m@one").await;
    let seconds = told["cooldown_seconds"].as_f64().unwrap();
    assert!(told["state"] == "cooling" && (500.0..=600.0).contains(&seconds), "{told}");
    assert_eq!(told["last_failure"]["cause"], "server_error");
    one.says(Says::Hello);
    for _ in 0..5 {
        assert_eq!(call(gateway.addr, "m").await.says(), two.hello());
    }
    assert_eq!((one.asked(), two.asked()), (3, 5));
}

#[tokio::test]
async fn a_deployment_returns_with_the_first_call_that_works() {
    let vendors = Vendor::several(["one", "two"]).await;
    let [one, two] = &vendors;
    let all = group(&vendors, &[&["order: 1", "cooldown_time: 1"], &["order: 2"]]);
    let gateway = start(&all, &router(&["allowed_fails: 0"])).await;
    one.fails();
    assert_eq!(call(gateway.addr, "m").await.status, 500);
    one.says(Says::Hello);
    // Whoever calls meanwhile gets an answer.
    let deadline = Instant::now() + SOON;
    while call(gateway.addr, "m").await.says() != one.hello() {
        assert!(Instant::now() < deadline, "never tried again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((health(gateway.addr, "m@one").await["state"].as_str(), one.asked()), (Some("healthy"), 2));
    assert!(two.asked() > 0);
}

#[tokio::test]
async fn cooldowns_can_be_off() {
    let vendors = Vendor::several(["one"]).await;
    let one = &vendors[0];
    for line in ["disable_cooldowns: true", "cooldown_time: 0"] {
        let gateway = start(&entries(&vendors, ["m"]), &router(&["allowed_fails: 0", line])).await;
        one.says(Says::busy(Api::OpenAi, "60"));
        for _ in 0..3 {
            assert_eq!(call(gateway.addr, "m").await.status, 429);
        }
        assert_eq!(health(gateway.addr, "m@one").await["state"], "healthy", "{line}");
    }
}

#[tokio::test]
async fn the_last_deployment_is_tried_even_while_it_cools_down() {
    let vendors = Vendor::several(["one"]).await;
    let one = &vendors[0];
    let gateway =
        start(&entries(&vendors, ["m"]), &router(&["allowed_fails: 0", "cooldown_time: 600"])).await;
    one.fails();
    assert_eq!(call(gateway.addr, "m").await.status, 500);
    assert_eq!(health(gateway.addr, "m@one").await["state"], "cooling");
    one.says(Says::Hello);
    assert_eq!(call(gateway.addr, "m").await.says(), one.hello());
    let ended = gateway.stop().await;
    let said = "all deployments cool down: the least bad is called";
    assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
}

#[tokio::test]
async fn within_a_group_the_next_deployment_is_asked_at_once() {
    let vendors = Vendor::several(["one", "two"]).await;
    let [one, two] = &vendors;
    one.fails();
    let all = group(&vendors, &[&["order: 1"], &["order: 2"]]);
    let gateway = start(&all, "router_settings: {num_retries: 1}\n").await;
    let answer = call(gateway.addr, "m").await;
    assert_eq!((answer.says(), answer.way()), (two.hello(), ["m@two", "1", "0"]));
    // The key of one deployment says nothing of the other's; it is another attempt all the same.
    one.says(Says::failure(Api::OpenAi, 401, "invalid_api_key", "no"));
    assert_eq!(call(gateway.addr, "m").await.says(), two.hello());
    until(|| two.asked() == 2).await;
    assert_eq!(call_with(gateway.addr, "m", json!({"num_retries": 0})).await.status, 401);
}

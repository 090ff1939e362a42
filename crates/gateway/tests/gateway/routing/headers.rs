//! What a response tells of its call, and what it does not.

use serde_json::json;

use super::{ask, call, call_with, config, entries, router, start};
use crate::{
    client::{Answer, post},
    harness::{Gateway, PROVIDER_KEY},
    paid::key,
    samples::{Api, DIRECTIONS},
    vendor::{Says, Vendor},
};

/// What of an upstream no caller may see, whatever it says of itself.
fn no_leak(answer: &Answer, vendors: &[&Vendor]) {
    let all = format!("{answer:?}");
    for secret in [PROVIDER_KEY, "127.0.0.1", "internal.example", "x-secret", "server: vendor"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    for vendor in vendors {
        let port = format!(":{}", vendor.addr.port());
        assert!(!all.contains(&port), "{port}: {all}");
    }
}

fn is_a_call_id(answer: &Answer) {
    let id = answer.header("x-litellm-call-id").unwrap();
    assert_eq!(Some(id), answer.header("x-request-id"));
    assert!(id.starts_with("req_") && id.len() >= 20, "{id}");
}

#[tokio::test]
async fn the_headers_tell_the_way_of_an_answer() {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let [one, two, three] = &vendors;
    let lines = ["fallbacks: [{first: [second, third]}]"];
    let gateway = start(&entries(&vendors, ["first", "second", "third"]), &router(&lines)).await;
    let mut ids = Vec::new();
    for (says, way) in [
        ([false, false], ["first@one", "0", "0"]),
        ([true, false], ["second@two", "0", "1"]),
        ([true, true], ["third@three", "0", "2"]),
    ] {
        for (vendor, fails) in [one, two].into_iter().zip(says) {
            if fails {
                vendor.fails();
            }
        }
        for stream in [false, true] {
            let answer = call_with(gateway.addr, "first", json!({"stream": stream})).await;
            assert_eq!((answer.status, answer.way()), (200, way));
            assert_eq!(answer.header("x-litellm-model-group"), Some("first"));
            is_a_call_id(&answer);
            no_leak(&answer, &[one, two, three]);
            ids.push(answer.header("x-litellm-call-id").unwrap().to_owned());
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn the_headers_tell_the_way_of_a_failure() {
    for (caller, provider) in DIRECTIONS {
        let [one, two] = [Vendor::start(provider, "one").await, Vendor::start(provider, "two").await];
        let entries = [("first", &one), ("second", &two)]
            .map(|(alias, vendor)| vendor.entry(alias, provider.model(), &[], &[]));
        let lines = ["fallbacks: [{first: [second]}]"];
        let gateway = Gateway::start(&config(&entries, &router(&lines)), &[], &[]).await;
        one.fails();
        let leak = format!("http://{} with {PROVIDER_KEY} at https://internal.example/v1 broke", two.addr);
        two.says(Says::failure(provider, 500, "x", &leak).header("server", "vendor").header("x-secret", "s"));
        for stream in [false, true] {
            let body = ask("first", &json!({"stream": stream}));
            let answer = post(gateway.addr, caller.path(), &[&key()], &body).await;
            assert_eq!((answer.status, answer.way()), (500, ["second@two", "0", "1"]), "{caller:?} {stream}");
            assert_eq!(answer.header("x-litellm-model-group"), Some("first"));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            is_a_call_id(&answer);
            no_leak(&answer, &[&one, &two]);
        }
    }
}

#[tokio::test]
async fn retries_are_told_too() {
    let [one] = Vendor::several(["one"]).await;
    let entries = [one.entry("m", "openai/gpt-4o", &[], &[])];
    let gateway = start(&entries, "router_settings: {num_retries: 1}\n").await;
    one.fails();
    let answer = call(gateway.addr, "m").await;
    assert_eq!((answer.status, answer.way(), one.asked()), (500, ["m@one", "1", "0"], 2));
    assert_eq!(answer.header("x-litellm-model-group"), Some("m"));
}

#[tokio::test]
async fn nobody_who_can_be_reached_is_told_without_an_address() {
    let mut one = Vendor::start(Api::OpenAi, "one").await;
    one.leaves().await;
    let gateway = start(&[one.entry("m", "openai/gpt-4o", &[], &[])], &router(&[])).await;
    for api in [Api::OpenAi, Api::Anthropic] {
        for stream in [false, true] {
            let answer =
                post(gateway.addr, api.path(), &[&key()], &ask("m", &json!({"stream": stream}))).await;
            assert_eq!((answer.status, answer.way()), (502, ["m@one", "0", "0"]));
            no_leak(&answer, &[&one]);
        }
    }
}

//! What a call says of its own way.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ask, call_with, entries, router, start};
use crate::{
    client::post,
    harness::Gateway,
    paid::key,
    samples::{Api, CHAT},
    vendor::{Says, Vendor},
};

async fn two(lines: &[&str]) -> ([Vendor; 2], Gateway) {
    let vendors = Vendor::several(["one", "two"]).await;
    let gateway = start(&entries(&vendors, ["one", "two"]), &router(lines)).await;
    (vendors, gateway)
}

#[tokio::test]
async fn a_call_names_its_fallbacks_or_wants_none() {
    let ([one, two], gateway) = two(&[]).await;
    one.fails();
    for (more, status, fallbacks) in [
        (json!({}), 500, "0"),
        (json!({"fallbacks": ["two"]}), 200, "1"),
        (json!({"fallbacks": ["two"], "disable_fallbacks": false}), 200, "1"),
        (json!({"fallbacks": ["two"], "disable_fallbacks": true}), 500, "0"),
        (json!({"fallbacks": null}), 500, "0"),
        (json!({"fallbacks": []}), 500, "0"),
        (json!({"fallbacks": ["one"]}), 500, "0"),
        (json!({"fallbacks": ["one", "two", "two"]}), 200, "1"),
    ] {
        for stream in [false, true] {
            let mut more = more.clone();
            more["stream"] = stream.into();
            let answer = call_with(gateway.addr, "one", more.clone()).await;
            assert_eq!((answer.status, answer.way()[2]), (status, fallbacks), "{more}");
        }
    }
    let unknown = call_with(gateway.addr, "one", json!({"fallbacks": ["two", "three"]})).await;
    unknown.is(
        404,
        r#"{"error":{"message":"no model answers to the name \"three\"","type":"invalid_request_error","param":"fallbacks","code":"model_not_found"}}"#,
    );
    assert_eq!(two.asked(), 6);
}

#[tokio::test]
async fn no_more_fallbacks_are_named_than_may_be() {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let gateway = start(&entries(&vendors, ["one", "two", "three"]), &router(&["max_fallbacks: 1"])).await;
    for vendor in &vendors {
        vendor.fails();
    }
    let answer = call_with(gateway.addr, "one", json!({"fallbacks": ["two", "three"]})).await;
    answer.is(
        400,
        r#"{"error":{"message":"`fallbacks` may name 1 models at most","type":"invalid_request_error","param":"fallbacks","code":null}}"#,
    );
    assert_eq!(vendors.each_ref().map(Vendor::asked), [0, 0, 0]);
    let answer = call_with(gateway.addr, "one", json!({"fallbacks": ["two"]})).await;
    assert_eq!((answer.status, answer.way()), (500, ["two@two", "0", "1"]));
    assert_eq!(vendors.each_ref().map(Vendor::asked), [1, 1, 0]);
}

#[tokio::test]
async fn the_configs_fallbacks_can_be_declined() {
    let ([one, two], gateway) = two(&["fallbacks: [{one: [two]}]"]).await;
    one.fails();
    assert_eq!(call_with(gateway.addr, "one", json!({})).await.status, 200);
    assert_eq!(call_with(gateway.addr, "one", json!({"disable_fallbacks": true})).await.status, 500);
    assert_eq!(two.asked(), 1);
}

#[tokio::test]
async fn retries_are_lowered_and_never_raised() {
    let [one] = Vendor::several(["one"]).await;
    let entries = [one.entry("m", "openai/gpt-4o", &[], &[])];
    one.fails();
    let retries = "router_settings: {num_retries: 1, disable_cooldowns: true}\n";
    let gateway = start(&entries, retries).await;
    let header = |name: &str, value: &str| format!("{name}: {value}");
    for (headers, more, asked) in [
        (vec![], json!({}), 2),
        (vec![], json!({"num_retries": 20}), 2),
        (vec![], json!({"max_retries": 20}), 2),
        (vec![header("x-litellm-num-retries", "20")], json!({}), 2),
        (vec![], json!({"num_retries": 0}), 1),
        (vec![], json!({"max_retries": 0}), 1),
        (vec![], json!({"num_retries": 0, "max_retries": 5}), 1),
        (vec![header("x-litellm-num-retries", "0")], json!({}), 1),
        // The body goes before the header.
        (vec![header("x-litellm-num-retries", "0")], json!({"num_retries": 1}), 2),
    ] {
        let before = one.asked();
        let key = key();
        let lines: Vec<&str> = headers.iter().chain([&key]).map(String::as_str).collect();
        let answer = post(gateway.addr, CHAT, &lines, &ask("m", &more)).await;
        assert_eq!((answer.status, one.asked() - before), (500, asked), "{headers:?} {more}");
        assert_eq!(answer.way()[1], (asked - 1).to_string());
    }
}

#[tokio::test]
async fn less_time_is_given_and_never_more() {
    let (vendors, gateway) = two(&["timeout: 0.3", "stream_timeout: 0.3"]).await;
    vendors[0].says(Says::Nothing);
    for (headers, more, stream) in [
        ("x-none: 1", json!({}), false),
        ("x-none: 1", json!({}), true),
        ("x-none: 1", json!({"timeout": 30}), false),
        ("x-none: 1", json!({"timeout": 30, "stream_timeout": 40.5}), true),
        ("x-litellm-timeout: 30", json!({}), false),
        ("x-litellm-stream-timeout: 30", json!({}), true),
    ] {
        let mut more = more.clone();
        more["stream"] = stream.into();
        let started = Instant::now();
        let answer = post(gateway.addr, CHAT, &[&key(), headers], &ask("one", &more)).await;
        assert_eq!(answer.status, 504, "{headers} {more}: {}", answer.body);
        assert!(started.elapsed() < Duration::from_secs(20), "{headers} {more}");
    }
    // Less than the config gives, and what is left of it is nobody else's.
    let gateway = start(&entries(&vendors, ["one", "two"]), &router(&["fallbacks: [{one: [two]}]"])).await;
    for (headers, more, code) in [
        ("x-none: 1", json!({"timeout": 0.2}), "total_timeout"),
        ("x-litellm-timeout: 0.2", json!({}), "total_timeout"),
    ] {
        let answer = post(gateway.addr, CHAT, &[&key(), headers], &ask("one", &more)).await;
        assert_eq!((answer.status, &*answer.says()), (504, code), "{more}");
    }
    for (headers, more) in [
        ("x-none: 1", json!({"timeout": 0.2, "stream": true})),
        ("x-litellm-timeout: 0.2", json!({"stream": true})),
        ("x-litellm-stream-timeout: 0.2", json!({"stream": true})),
    ] {
        // Of a stream it bounds the first token: another one may have it.
        let answer = post(gateway.addr, CHAT, &[&key(), headers], &ask("one", &more)).await;
        assert_eq!((answer.status, answer.says()), (200, "Hello from two".to_owned()), "{more}");
    }
}

#[tokio::test]
async fn a_bad_value_is_refused_by_the_name_of_its_field() {
    let ([one, _two], gateway) = two(&[]).await;
    let seconds = "a number of seconds above zero";
    let count = "a whole number that is not negative";
    let refused = |name: &str, what: &str| {
        format!(
            r#"{{"error":{{"message":"`{name}` must be {what}","type":"invalid_request_error","param":"{name}","code":null}}}}"#
        )
    };
    let bad: [(&str, &[Value], &str); 6] = [
        ("num_retries", &[json!(-1), json!(1.5), json!("2"), json!(1e12), json!([])], count),
        ("max_retries", &[json!(-1), json!(true)], count),
        ("timeout", &[json!(0), json!(-1), json!("5"), json!(1e300), json!({"connect": 1})], seconds),
        ("stream_timeout", &[json!(0), json!([1])], seconds),
        ("fallbacks", &[json!("two"), json!([{"two": []}]), json!([1])], "a list of the names of models"),
        ("disable_fallbacks", &[json!(1), json!("yes")], "true or false"),
    ];
    for (name, values, what) in bad {
        for value in values {
            call_with(gateway.addr, "one", json!({name: value})).await.is(400, &refused(name, what));
        }
    }
    for (name, values, what) in [
        ("x-litellm-num-retries", ["-1", "1.5", "x"], count),
        ("x-litellm-timeout", ["0", "inf", "soon"], seconds),
        ("x-litellm-stream-timeout", ["-2", "nan", ""], seconds),
    ] {
        for value in values {
            let header = format!("{name}: {value}");
            let answer = post(gateway.addr, CHAT, &[&key(), &header], &ask("one", &json!({}))).await;
            answer.is(400, &refused(name, what));
        }
    }
    assert_eq!(one.asked(), 0);
}

#[tokio::test]
async fn no_provider_sees_what_a_call_says_of_its_way() {
    let all = json!({
        "fallbacks": ["two"], "disable_fallbacks": false, "num_retries": 0, "max_retries": 0, "timeout": 30,
        "stream_timeout": 30,
    });
    for api in [Api::OpenAi, Api::Anthropic] {
        let [one, two] = [Vendor::start(api, "one").await, Vendor::start(Api::OpenAi, "two").await];
        let entries = [one.entry("one", api.model(), &[], &[]), two.entry("two", "openai/gpt-4o", &[], &[])];
        let gateway = start(&entries, &router(&[])).await;
        one.fails();
        for caller in [Api::OpenAi, Api::Anthropic] {
            let headers = [&key(), "x-litellm-timeout: 30", "x-litellm-num-retries: 0"];
            let answer = post(gateway.addr, caller.path(), &headers, &ask("one", &all)).await;
            assert_eq!((answer.status, answer.text(caller)), (200, two.hello()));
        }
        for seen in one.seen().into_iter().chain(two.seen()) {
            let mut names: Vec<_> = seen.body.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["max_tokens", "messages", "model"], "{:?}", seen.body);
            assert!(!seen.head.contains("x-litellm"), "{}", seen.head);
            assert!(!seen.head.contains("sk-master-canary"), "{}", seen.head);
        }
    }
}

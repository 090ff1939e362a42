//! What `ziggurat_settings` say of routing.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{ask, bearer, call, call_with, entries, health, new_key, router, start};
use crate::{
    client::{get, post},
    harness::{Gateway, SOON, until},
    paid::key,
    samples::{Api, CHAT, Error, OPENAI_WHOLE},
    scripted::Scripted,
    vendor::{Says, Then, Vendor},
};

/// Two deployments of one group, the first of which is asked first.
fn ordered([one, two]: &[Vendor; 2], params: &[&str]) -> [String; 2] {
    let entry = |vendor: &Vendor, order: &str| {
        vendor.entry("m", "openai/my-model", &[&[order], params].concat(), &[])
    };
    [entry(one, "order: 1"), entry(two, "order: 2")]
}

#[tokio::test]
async fn another_deployment_is_asked_beside_one_that_takes_long() {
    let vendors = Vendor::several(["one", "two"]).await;
    let [one, two] = &vendors;
    for hedge in ["0.2", "{m: 0.2}"] {
        let sections = router(&[]) + &format!("ziggurat_settings: {{hedge_after: {hedge}}}\n");
        let gateway = start(&ordered(&vendors, &[]), &sections).await;
        for stream in [false, true] {
            one.says(Says::Nothing);
            let answer = call_with(gateway.addr, "m", json!({"stream": stream})).await;
            assert_eq!((answer.status, answer.says()), (200, two.hello()));
            assert_eq!(answer.way()[0], "m@two");
            // The first is left, and has not failed.
            until(|| one.open() == 0).await;
            one.says(Says::Hello);
        }
        assert_eq!(health(gateway.addr, "m@one").await["state"], "healthy");
    }
    // Whoever answers first answers, and a failure waits for the other.
    let sections = router(&[]) + "ziggurat_settings: {hedge_after: 0.2}\n";
    let gateway = start(&ordered(&vendors, &[]), &sections).await;
    one.says(Says::Nothing);
    two.fails();
    let before = two.asked();
    let addr = gateway.addr;
    let waiting = tokio::spawn(async move { call(addr, "m").await });
    until(|| two.asked() > before).await;
    one.says(Says::Hello);
    let answer = waiting.await.unwrap();
    assert_eq!((answer.says(), answer.way()[0]), (one.hello(), "m@one"));
    // No other deployment, no hedge.
    let gateway = start(&[one.entry("m", "openai/my-model", &[], &[])], &sections).await;
    assert_eq!(call(gateway.addr, "m").await.says(), one.hello());
}

#[tokio::test]
async fn nobody_else_is_asked_when_the_caller_has_left() {
    let vendors = Vendor::several(["one", "two"]).await;
    let [one, two] = &vendors;
    let sections = router(&[]) + "ziggurat_settings: {on_disconnect: drain}\n";
    let gateway = start(&ordered(&vendors, &[]), &sections).await;
    one.says(Says::Nothing);
    let mut raw = gateway.connect().await;
    raw.post(CHAT, &[&key()], &ask("m", &json!({}))).await;
    until(|| one.asked() == 1).await;
    drop(raw);
    // Nothing tells when the gateway has seen that its caller has left.
    tokio::time::sleep(Duration::from_millis(300)).await;
    one.says(Says::down(Api::OpenAi));
    let ended = gateway.stop().await;
    assert_eq!((one.asked(), two.asked()), (1, 0), "{}", ended.stderr);
}

/// A config with prices, keys and a database: an answer costs a dollar.
async fn with_shadow(vendors: &[Vendor; 3], shadow: &str) -> Gateway {
    with_shadow_and(vendors, shadow, "").await
}

/// With a line more of `ziggurat_settings`.
async fn with_shadow_and([one, two, three]: &[Vendor; 3], shadow: &str, more: &str) -> Gateway {
    let price = ["input_cost_per_token: 0", "output_cost_per_token: 0.01"];
    let config = [
        "model_list:\n",
        &one.entry("m", "openai/my-model", &[], &price),
        &two.entry("other", "openai/my-model", &[], &price),
        &three.entry("third", "openai/my-model", &[], &price),
        &router(&[]),
        "general_settings: {master_key: sk-master-canary, database_url: 'sqlite:keys.db'}\nziggurat_settings:\n  shadow:\n",
        &format!("    - {{group: m, to: other, {shadow}}}\n"),
        more,
    ]
    .concat();
    Gateway::start(&config, &[], &[("ZIGGURAT_LOG", "info")]).await
}

/// What is told of each mirrored call: the statuses of the caller's answer and of the shadow's.
fn compared(stderr: &str) -> Vec<[String; 2]> {
    let told = stderr.lines().filter(|line| line.contains("a mirrored call"));
    let each = told.map(|line| {
        let mut statuses =
            line.split("status=").skip(1).map(|rest| rest.split(' ').next().unwrap().to_owned());
        [statuses.next().unwrap(), statuses.next().unwrap()]
    });
    each.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_asked_too_and_its_caller_notices_nothing() {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let [one, two, three] = &vendors;
    let gateway = with_shadow(&vendors, "share: 1").await;
    let secret = new_key(gateway.addr, json!({"max_budget": 3, "models": ["m", "third"]})).await;
    // Whether it hangs or fails is all the same.
    for (says, stream) in [(Says::Nothing, false), (Says::Nothing, true), (Says::down(Api::OpenAi), false)] {
        let before = two.asked();
        two.says(says);
        let more = json!({
            "stream": stream, "user": "somebody", "metadata": {"a": "b"}, "fallbacks": ["third"], "num_retries": 0,
        });
        let answer = post(gateway.addr, CHAT, &[&bearer(&secret)], &ask("m", &more)).await;
        assert_eq!((answer.status, answer.says()), (200, one.hello()));
        assert_eq!(answer.way(), ["m@one", "0", "0"]);
        assert_eq!(answer.header("x-litellm-model-group"), Some("m"));
        until(|| two.asked() > before).await;
    }
    // It was asked the same, by nobody in particular; and a caller's way is not its own.
    for seen in two.seen() {
        let mut names: Vec<_> = seen.body.as_object().unwrap().keys().map(String::as_str).collect();
        names.retain(|name| !name.starts_with("stream"));
        names.sort_unstable();
        assert_eq!(names, ["max_tokens", "messages", "model"], "{:?}", seen.body);
        assert!(!seen.head.contains(&secret) && !seen.head.contains("x-litellm"), "{}", seen.head);
    }
    let told = get(gateway.addr, &format!("/key/info?key={secret}"), &[&key()]).await;
    let told: serde_json::Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(told["info"]["spend"], 3.0);
    // The key has spent all it has, and what it is refused is not mirrored.
    assert_eq!(post(gateway.addr, CHAT, &[&bearer(&secret)], &ask("m", &json!({}))).await.status, 429);
    // Calls of others are not, either.
    assert_eq!(call(gateway.addr, "third").await.status, 200);
    let ended = gateway.stop().await;
    // Those that hung have met the failure, too.
    let pair = ["Some(200)", "Some(500)"].map(str::to_owned);
    assert_eq!(compared(&ended.stderr), [pair.clone(), pair.clone(), pair], "{}", ended.stderr);
    assert_eq!((one.asked(), two.asked(), three.asked()), (3, 3, 1));
    assert!(!ended.stderr.contains("Hello from"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_has_a_budget_of_its_own() {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let [one, two, _] = &vendors;
    let gateway = with_shadow(&vendors, "share: 1, max_budget: 2, budget_duration: 30d").await;
    for calls in 1..=4 {
        let answer = call(gateway.addr, "m").await;
        assert_eq!((answer.status, answer.header("x-litellm-response-cost")), (200, Some("1")));
        // Two calls may hold, and then spend, all there is.
        until(|| two.asked() == calls.min(2) && two.open() == 0).await;
    }
    let ended = gateway.stop().await;
    let mut told: Vec<_> = compared(&ended.stderr).into_iter().map(|[_, shadow]| shadow).collect();
    told.sort();
    assert_eq!(told, ["Some(200)", "Some(200)", "Some(429)", "Some(429)"]);
    assert_eq!((one.asked(), two.asked()), (4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_uses_up_no_limit_of_its_callers() {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let [one, two, _] = &vendors;
    let gateway = with_shadow_and(&vendors, "share: 1", "  rpm: 2\n").await;
    two.fails();
    for calls in 1..=2 {
        assert_eq!(call(gateway.addr, "m").await.status, 200);
        until(|| two.asked() == calls && two.open() == 0).await;
    }
    assert_eq!(call(gateway.addr, "m").await.status, 429);
    let ended = gateway.stop().await;
    // It is not tried again, either.
    assert_eq!((one.asked(), two.asked()), (2, 2), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_share_is_no_shadow() {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let gateway = with_shadow(&vendors, "share: 0").await;
    for _ in 0..20 {
        assert_eq!(call(gateway.addr, "m").await.status, 200);
    }
    assert_eq!(compared(&gateway.stop().await.stderr), [] as [[String; 2]; 0]);
    assert_eq!(vendors[1].asked(), 0);
}

#[tokio::test]
async fn a_probe_finds_out_who_is_back() {
    let vendors = Vendor::several(["one", "two"]).await;
    let [one, two] = &vendors;
    let sections =
        router(&["allowed_fails: 0", "cooldown_time: 600"]) + "ziggurat_settings: {probes: {every: 0.1}}\n";
    let gateway = start(&ordered(&vendors, &[]), &sections).await;
    one.fails();
    assert_eq!(call(gateway.addr, "m").await.status, 500);
    // It is asked again and again, and is not well.
    until(|| one.asked() >= 4).await;
    assert_eq!(call(gateway.addr, "m").await.says(), two.hello());
    one.says(Says::Hello);
    let deadline = Instant::now() + SOON;
    while health(gateway.addr, "m@one").await["state"] != "healthy" {
        assert!(Instant::now() < deadline, "never found");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(call(gateway.addr, "m").await.says(), one.hello());
    let seen = one.seen();
    let ping =
        json!({"model": "my-model", "max_tokens": 1, "messages": [{"role": "user", "content": "ping"}]});
    assert!(seen[1..seen.len() - 1].iter().all(|seen| seen.body == ping), "{seen:?}");
    assert_eq!(two.asked(), 1);
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over() {
    let vendors = Vendor::several(["one", "two"]).await;
    let [one, two] = &vendors;
    let sections =
        router(&["fallbacks: [{one: [two]}]"]) + "ziggurat_settings: {total_timeout: 0.5, stream_hold: 60}\n";
    let gateway = start(&entries(&vendors, ["one", "two"]), &sections).await;
    let error = Error {
        kinds: ["server_error", "timeout_error"],
        param: "",
        code: "total_timeout",
        message: "the call did not come to its end within 500ms",
    };
    for api in [Api::OpenAi, Api::Anthropic] {
        one.says(Says::Nothing);
        for stream in [false, true] {
            let started = Instant::now();
            let body = ask("one", &json!({"stream": stream}));
            let answer = post(gateway.addr, api.path(), &[&key()], &body).await;
            answer.is(504, &api.error(error));
            assert_eq!(answer.way(), ["one@one", "0", "0"]);
            assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
            until(|| one.open() == 0).await;
        }
        // Behind its first content a stream is ended by an event.
        let begun = Api::OpenAi.opening().to_owned() + &Api::OpenAi.piece("Half");
        one.says(Says::Stream(begun, Then::Hangs));
        let body = ask("one", &json!({"stream": true}));
        let answer = post(gateway.addr, api.path(), &[&key()], &body).await;
        assert_eq!((answer.status, api.text_of(&answer.body)), (200, "Half".to_owned()));
        assert!(answer.body.ends_with(&api.error_event(error)), "{}", answer.body);
        assert!(!answer.body.contains("[DONE]") && !answer.body.contains("message_stop"), "{}", answer.body);
        until(|| one.open() == 0).await;
    }
    // Its time over, nobody else is asked.
    assert_eq!(two.asked(), 0);
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over_though_something_still_comes() {
    let upstream = Scripted::bind().await;
    let sections = "ziggurat_settings: {total_timeout: 0.5}\n";
    let gateway = Gateway::start(&(upstream.config() + sections), &[], &[]).await;
    let error = Error {
        kinds: ["server_error", "timeout_error"],
        param: "",
        code: "total_timeout",
        message: "the call did not come to its end within 500ms",
    };
    let bytes = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        OPENAI_WHOLE.len()
    );
    let whole = [vec![head.clone()], bytes(OPENAI_WHOLE)].concat();
    // Each would take seconds: a head that drips, a body that does.
    for (pieces, stream) in [(bytes(&head), false), (bytes(&head), true), (whole, false)] {
        let started = Instant::now();
        let body = crate::samples::ask("gpt", stream);
        let (answer, ()) = tokio::join!(post(gateway.addr, CHAT, &[], &body), async {
            upstream.accept().await.drip(pieces).await;
        });
        answer.is(504, &Api::OpenAi.error(error));
        assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
    }
    // A stream that drips for ever is ended by an event.
    let body = crate::samples::ask("gpt", true);
    let (answer, ()) = tokio::join!(post(gateway.addr, CHAT, &[], &body), async {
        let mut call = upstream.accept().await;
        call.begin().await;
        call.chunk(Api::OpenAi.opening()).await;
        let piece = Api::OpenAi.piece("x");
        call.drip((0..1000).map(|_| format!("{:x}\r\n{piece}\r\n", piece.len()))).await;
    });
    assert_eq!(answer.status, 200);
    assert!(Api::OpenAi.text_of(&answer.body).starts_with("xx"), "{}", answer.body);
    assert!(answer.body.ends_with(&Api::OpenAi.error_event(error)), "{}", answer.body);
}

#[tokio::test]
async fn a_deployment_that_is_silent_is_left_for_another() {
    let vendors = Vendor::several(["one", "two"]).await;
    let [one, two] = &vendors;
    let fallbacks = router(&["fallbacks: [{one: [two]}]"]);
    one.says(Says::Nothing);
    let opening = Says::Stream(Api::OpenAi.opening().to_owned(), Then::Hangs);
    for (setting, says, stream) in [
        ("first_token_timeout: 0.3", Says::Nothing, true),
        ("first_token_timeout: 0.3", opening.clone(), true),
    ] {
        let sections = fallbacks.clone() + &format!("ziggurat_settings: {{{setting}}}\n");
        let gateway = start(&entries(&vendors, ["one", "two"]), &sections).await;
        one.says(says);
        let answer = call_with(gateway.addr, "one", json!({"stream": stream})).await;
        assert_eq!((answer.says(), answer.way()), (two.hello(), ["two@two", "0", "1"]), "{setting}");
    }
    let sections = fallbacks + "ziggurat_settings: {idle_timeout: 0.3}\n";
    let gateway = start(&entries(&vendors, ["one", "two"]), &sections).await;
    let begun = Api::OpenAi.opening().to_owned() + &Api::OpenAi.piece("Half");
    one.says(Says::Stream(begun, Then::Hangs));
    let answer = call_with(gateway.addr, "one", json!({"stream": true})).await;
    assert_eq!(Api::OpenAi.text_of(&answer.body), "Half");
    let error = Error {
        kinds: ["server_error", ""],
        param: "",
        code: "idle_timeout",
        message: "the provider's stream was silent for 300ms",
    };
    assert!(answer.body.ends_with(&Api::OpenAi.error_event(error)), "{}", answer.body);
}

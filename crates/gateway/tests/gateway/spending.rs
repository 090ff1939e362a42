//! Budgets, limits and what they cost, as callers meet them.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    client::post,
    harness::{Gateway, run, soon, until},
    paid::{Gate, Paid, begin, body, call, calls, finish, key, spent, statuses},
    samples::{CHAT, MESSAGES},
};

const DOLLAR: &str = "litellm_settings: {max_budget: 1.00}\n";

/// A file of one test's own, that outlives a gateway.
struct Ledger(PathBuf);

impl Ledger {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("ledger-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn setting(&self) -> String {
        format!("  ledger: {}\n", self.0.join("spend.db").display())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// 200 calls at once of $0.02 against $1.00.
async fn two_hundred(info: &[&str], sections: &str, body: &str) -> (Paid, Gateway) {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(info, sections), &[], &[]).await;
    let answers = calls(gateway.addr, 200, body).await;
    assert_eq!(statuses(&answers), [(200, 50), (429, 150)]);
    until(|| upstream.served() == 50).await;
    assert_eq!(spent(&gateway).await, "1");
    (upstream, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_with_a_stated_cap() {
    two_hundred(&[], DOLLAR, &body("paid", false, Some(100))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_streams_fit_with_a_stated_cap() {
    two_hundred(&[], DOLLAR, &body("paid", true, Some(100))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_where_the_models_cap_is_set_aside() {
    two_hundred(&["max_output_tokens: 100"], DOLLAR, &body("paid", false, None)).await;
    let streams = format!("{DOLLAR}ziggurat_settings: {{uncapped_streams: reserve}}\n");
    two_hundred(&["max_output_tokens: 100"], &streams, &body("paid", true, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_where_they_are_clamped() {
    let clamp = format!("{DOLLAR}ziggurat_settings: {{uncapped: clamp:100, uncapped_streams: clamp:100}}\n");
    let (upstream, _gateway) = two_hundred(&[], &clamp, &body("paid", false, None)).await;
    let paid = upstream.bodies().into_iter().filter(|body| body.contains("my-paid")).collect::<Vec<_>>();
    assert!(paid.iter().all(|body| body.contains("100")), "{paid:?}");
    let gateway = Gateway::start(&upstream.config(&[], &clamp), &[], &[]).await;
    let answer = call(gateway.addr, &body("paid", false, None)).await;
    assert_eq!((answer.status, answer.header("x-ziggurat-clamped-max-tokens")), (200, Some("100")));
    two_hundred(&[], &clamp, &body("paid", true, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_cap_are_refused_where_policy_says_so() {
    let upstream = Paid::start(Gate::Open).await;
    let refuse = format!("{DOLLAR}ziggurat_settings: {{uncapped: refuse, uncapped_streams: refuse}}\n");
    let gateway = Gateway::start(&upstream.config(&[], &refuse), &[], &[]).await;
    for stream in [false, true] {
        let answers = calls(gateway.addr, 20, &body("paid", stream, None)).await;
        assert_eq!(statuses(&answers), [(400, 20)], "{}", answers[0].body);
    }
    assert_eq!(upstream.begun(), 0);
    assert_eq!(spent(&gateway).await, "0");
    assert_eq!(call(gateway.addr, &body("paid", false, Some(100))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_a_cap_are_stopped_where_the_budget_ends() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(&[], DOLLAR), &[], &[]).await;
    let answers = calls(gateway.addr, 200, &body("paid", true, None)).await;
    let whole = answers.iter().filter(|it| it.body.ends_with("data: [DONE]\n\n")).count();
    let stopped =
        answers.iter().filter(|it| it.status == 200 && it.body.contains("insufficient_quota")).count();
    let refused = answers.iter().filter(|it| it.status == 429).count();
    assert_eq!(whole + stopped + refused, 200);
    assert!(whole <= 50 && refused > 0, "{whole} {stopped} {refused}");
    let spent = spent(&gateway).await.parse::<f64>().unwrap();
    assert!(spent > 0.0 && spent <= 1.0, "{spent}");
    drop(answers);
    until(|| upstream.now() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_whose_callers_leave_are_read_on_where_policy_says_so() {
    let upstream = Paid::start(Gate::Half).await;
    let drain = format!("{DOLLAR}ziggurat_settings: {{on_disconnect: drain:20}}\n");
    let gateway = Gateway::start(&upstream.config(&[], &drain), &[], &[]).await;
    let mut begun = begin(gateway.addr, 40, &body("paid", true, Some(100))).await;
    let stayed = begun.split_off(20);
    drop(begun);
    upstream.open(Gate::Open);
    for raw in stayed {
        assert!(finish(raw).await.ends_with("data: [DONE]\n\n"));
    }
    until(|| upstream.served() == 40).await;
    // What was spent is what was served; nothing else is held.
    assert_eq!(spent(&gateway).await, "0.80");
    let answers = calls(gateway.addr, 30, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 10), (429, 20)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_whose_callers_leave_cost_what_was_produced() {
    let upstream = Paid::start(Gate::Half).await;
    let gateway = Gateway::start(&upstream.config(&[], DOLLAR), &[], &[]).await;
    let mut begun = begin(gateway.addr, 50, &body("paid", true, Some(100))).await;
    let refused = call(gateway.addr, &body("paid", true, Some(100))).await;
    assert_eq!(refused.status, 429);
    let stayed = begun.split_off(25);
    drop(begun);
    until(|| upstream.now() == 25).await;
    upstream.open(Gate::Open);
    for raw in stayed {
        assert!(finish(raw).await.ends_with("data: [DONE]\n\n"));
    }
    until(|| upstream.served() == 25).await;
    let cents = |spent: &str| (spent.parse::<f64>().unwrap() * 1e6).round() / 1e4;
    let so_far = cents(&spent(&gateway).await);
    // 25 whole ones, and of the others half as much, more or less.
    assert!(so_far > 50.0 && so_far < 100.0, "{so_far}");
    // Nothing is held any more: all that is left can be spent.
    let fit = ((100.0 - so_far) / 2.0).floor() as usize;
    let answers = calls(gateway.addr, 50, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, fit), (429, 50 - fit)]);
}

/// 25 calls whose callers leave before there is an answer, and 60 after it: how many of these pass.
async fn passed_after_leaving(policy: &str) -> (Gateway, usize) {
    let upstream = Paid::start(Gate::Shut).await;
    let sections = format!("{DOLLAR}ziggurat_settings: {{on_disconnect: {policy}}}\n");
    let gateway = Gateway::start(&upstream.config(&[], &sections), &[], &[]).await;
    let mut left = Vec::new();
    for _ in 0..25 {
        let mut raw = gateway.connect().await;
        raw.post(CHAT, &[&key()], &body("paid", false, Some(100))).await;
        left.push(raw);
    }
    until(|| upstream.begun() == 25).await;
    drop(left);
    if policy == "cancel" {
        until(|| upstream.now() == 0).await;
    } else {
        // Nothing tells when the gateway has seen that they have left.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(upstream.now(), 25);
    }
    upstream.open(Gate::Open);
    until(|| upstream.now() == 0).await;
    let served = upstream.served();
    assert_eq!(served, if policy == "cancel" { 0 } else { 25 });
    let answers = calls(gateway.addr, 60, &body("paid", false, Some(100))).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(statuses(&answers), [(200, passed), (429, 60 - passed)]);
    (gateway, passed)
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_answers_whose_callers_leave_are_read_where_policy_says_so() {
    let (gateway, passed) = passed_after_leaving("drain").await;
    assert_eq!((passed, spent(&gateway).await.as_str()), (25, "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_answers_whose_callers_leave_cost_what_they_can_have_come_to() {
    // Nobody knows what the upstream had written when it was left: it counts as all that was set aside.
    let (gateway, passed) = passed_after_leaving("cancel").await;
    assert_eq!((passed, spent(&gateway).await.as_str()), (25, "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_requests_a_minute_are_thirty() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(&[], "ziggurat_settings: {rpm: 30}\n"), &[], &[]).await;
    let (addr, clients) = (gateway.addr, Arc::new(Semaphore::new(64)));
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let clients = Arc::clone(&clients);
            tokio::spawn(async move {
                let _client = clients.acquire().await.unwrap();
                call(addr, &body("paid", false, Some(100))).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(soon(call).await.unwrap());
    }
    assert_eq!(statuses(&answers), [(200, 30), (429, 170)]);
    until(|| upstream.served() == 30).await;
    let mut remaining: Vec<u64> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| {
            assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("30"));
            answer.header("x-ratelimit-remaining-requests").unwrap().parse().unwrap()
        })
        .collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..30).collect::<Vec<_>>());
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    // A slice of the window may be counted a little longer than a minute.
    assert!((1..=62).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_a_minute_are_counted_by_what_answers_come_to() {
    for (info, sections, told) in [
        (&["tpm: 600"][..], "", None),
        (&[], "ziggurat_settings: {tpm: 600}\n", Some("600")),
        (&["otpm: 599"], "", None),
    ] {
        let upstream = Paid::start(Gate::Open).await;
        let gateway = Gateway::start(&upstream.config(info, sections), &[], &[]).await;
        let answers = calls(gateway.addr, 40, &body("paid", false, Some(100))).await;
        // 110 each, 100 of them output.
        assert_eq!(statuses(&answers), [(200, 5), (429, 35)], "{info:?} {sections}");
        assert_eq!(answers.iter().find_map(|it| it.header("x-ratelimit-limit-tokens")), told);
        assert!(answers.iter().all(|it| it.status == 200 || it.header("retry-after").is_some()));
    }
}

#[tokio::test]
async fn what_comes_to_more_than_was_set_aside_is_counted_in_full() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway =
        Gateway::start(&upstream.config(&[], "litellm_settings: {max_budget: 0.03}\n"), &[], &[]).await;
    // The upstream writes 100 tokens whatever it is told.
    for expected in [(200, "0.02"), (200, "0.04"), (429, "0.04")] {
        let answer = call(gateway.addr, &body("paid", false, Some(10))).await;
        assert_eq!((answer.status, spent(&gateway).await.as_str()), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_at_a_time_are_five_upstream() {
    for (info, sections) in [
        (&["max_parallel_requests: 5"][..], ""),
        (&[], "router_settings: {default_max_parallel_requests: 5}\n"),
    ] {
        for stream in [false, true] {
            let upstream = Paid::start(Gate::Shut).await;
            let gateway = Gateway::start(&upstream.config(info, sections), &[], &[]).await;
            let addr = gateway.addr;
            let waiting =
                tokio::spawn(async move { calls(addr, 64, &body("paid", stream, Some(100))).await });
            until(|| upstream.now() == 5).await;
            // The others are refused while these five wait.
            tokio::time::sleep(Duration::from_millis(200)).await;
            upstream.open(Gate::Open);
            let answers = soon(waiting).await.unwrap();
            let passed = answers.iter().filter(|answer| answer.status == 200).count();
            assert_eq!(statuses(&answers), [(200, passed), (429, 64 - passed)]);
            until(|| upstream.served() == passed).await;
            assert_eq!(upstream.most_at_once(), 5);
            // Each place is free again.
            assert_eq!(call(addr, &body("paid", stream, Some(100))).await.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployments_refusal_costs_nothing() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(&["rpm: 10"], DOLLAR), &[], &[]).await;
    let answers = calls(gateway.addr, 40, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 10), (429, 30)]);
    assert_eq!(spent(&gateway).await, "0.20");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_no_provider_costs_nothing() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(&[], DOLLAR);
    let (paid, rest) = config.split_once("  - model_name: free").unwrap();
    let gone = paid.strip_prefix("model_list:\n").unwrap().replace("paid", "gone");
    let gone = gone.replace(&upstream.addr.to_string(), "127.0.0.1:9");
    let gateway = Gateway::start(&format!("{paid}{gone}  - model_name: free{rest}"), &[], &[]).await;
    for stream in [false, true] {
        let answers = calls(gateway.addr, 40, &body("gone", stream, Some(100))).await;
        assert_eq!(statuses(&answers), [(502, 40)]);
    }
    assert_eq!(spent(&gateway).await, "0");
    let answers = calls(gateway.addr, 60, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 50), (429, 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_calls_together_are_bounded() {
    let upstream = Paid::start(Gate::Shut).await;
    let config = upstream.config(&[], "").replace(
        "general_settings:\n",
        "general_settings:\n  global_max_parallel_requests: 7\n  max_parallel_requests: 3\n",
    );
    let gateway = Gateway::start(&config, &[], &[]).await;
    let addr = gateway.addr;
    let waiting = tokio::spawn(async move { calls(addr, 20, &body("paid", false, Some(100))).await });
    until(|| upstream.now() == 3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    upstream.open(Gate::Open);
    soon(waiting).await.unwrap();
    assert_eq!(upstream.most_at_once(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing() {
    let ledger = Ledger::new();
    let upstream = Paid::start(Gate::Open).await;
    let settings = format!(
        "litellm_settings: {{max_budget: 0.06}}\nziggurat_settings:\n  hold_ttl: 4\n{}",
        ledger.setting()
    );
    let config = upstream.config(&[], &settings);
    let gateway = Gateway::start(&config, &[], &[]).await;
    assert_eq!(call(gateway.addr, &body("paid", false, Some(100))).await.status, 200);
    assert_eq!(spent(&gateway).await, "0.02");
    upstream.open(Gate::Shut);
    let mut raw = gateway.connect().await;
    raw.post(CHAT, &[&key()], &body("paid", false, Some(100))).await;
    until(|| upstream.now() == 1).await;
    gateway.signal("KILL");
    gateway.ended().await;
    upstream.open(Gate::Open);

    let gateway = Gateway::start(&config, &[], &[]).await;
    // Spent is what was settled, and what was held is held still.
    assert_eq!(spent(&gateway).await, "0.02");
    let answers = calls(gateway.addr, 5, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 1), (429, 4)]);
    assert_eq!(spent(&gateway).await, "0.04");
    // Its time over, it is posted, though nobody asks.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(spent(&gateway).await, "0.06");
    let ended = gateway.stop().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("posted as unreconciled"), "{}", ended.stderr);
    let gateway = Gateway::start(&config, &[], &[]).await;
    assert_eq!(spent(&gateway).await, "0.06");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_writes_everything() {
    let ledger = Ledger::new();
    let upstream = Paid::start(Gate::Half).await;
    let settings = format!("{DOLLAR}ziggurat_settings:\n  on_disconnect: drain\n{}", ledger.setting());
    let config = upstream.config(&[], &settings);
    let gateway = Gateway::start(&config, &[], &[]).await;
    let mut begun = begin(gateway.addr, 10, &body("paid", true, Some(100))).await;
    // One whose caller has left, and nine whose callers have not.
    drop(begun.pop());
    gateway.signal("TERM");
    until(|| std::net::TcpStream::connect(gateway.addr).is_err()).await;
    upstream.open(Gate::Open);
    for raw in begun {
        assert!(raw.rest().await.contains("[DONE]"));
    }
    assert_eq!(gateway.ended().await.code, Some(0));
    until(|| upstream.served() == 10).await;
    let gateway = Gateway::start(&config, &[], &[]).await;
    assert_eq!(spent(&gateway).await, "0.20");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_cuts_streams_writes_what_they_came_to() {
    let ledger = Ledger::new();
    let upstream = Paid::start(Gate::Half).await;
    let settings = format!("{DOLLAR}ziggurat_settings:\n{}", ledger.setting());
    let config = upstream.config(&[], &settings);
    let gateway = Gateway::start(&config, &["--drain-timeout", "0.5"], &[]).await;
    let begun = begin(gateway.addr, 40, &body("paid", true, Some(100))).await;
    let ended = gateway.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for raw in begun {
        assert!(finish(raw).await.contains("shutting_down"));
    }
    upstream.open(Gate::Open);
    let gateway = Gateway::start(&config, &[], &[]).await;
    let so_far = spent(&gateway).await.parse::<f64>().unwrap();
    // Half of each, more or less, and nothing is held.
    assert!(so_far > 0.1 && so_far < 0.8, "{so_far}");
    let fit = ((1.0 - so_far) / 0.02).floor() as usize;
    let answers = calls(gateway.addr, 60, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, fit), (429, 60 - fit)]);
}

#[tokio::test]
async fn a_stream_that_is_stopped_says_why_in_its_callers_dialect() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(&[], "litellm_settings: {max_budget: 0.01}\n");
    let message = "the budget of the gateway is too small for this call: 0 of 0.01 USD are spent and 0.01 set aside for calls that run";
    let expected = [
        (
            CHAT,
            format!(
                "data: {{\"error\":{{\"message\":\"{message}\",\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"budget_exceeded\"}}}}\n\n"
            ),
        ),
        (
            MESSAGES,
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"rate_limit_error\",\"message\":\"{message}\"}}}}\n\n"
            ),
        ),
    ];
    for (path, expected) in expected {
        let gateway = Gateway::start(&config, &[], &[]).await;
        let answer = post(gateway.addr, path, &[&key()], &body("paid", true, None)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.contains("ten tokens") && answer.body.ends_with(&expected), "{}", answer.body);
        // Not one byte more is asked of the provider.
        until(|| upstream.now() == 0).await;
    }
}

#[tokio::test]
async fn an_answer_says_what_it_cost() {
    let upstream = Paid::start(Gate::Open).await;
    let sections = "litellm_settings:\n  max_budget: 10\n  cost_discount_config: {openai: 0.05}\n";
    let config = upstream
        .config(&[], sections)
        .replace("input_cost_per_token: 0\n", "input_cost_per_token: 0.00000000125\n");
    let gateway = Gateway::start(&config, &[], &[]).await;
    let answer = call(gateway.addr, &body("paid", false, Some(100))).await;
    // (10 * 0.00000000125 + 100 * 0.0002) * 0.95
    assert_eq!(answer.header("x-litellm-response-cost"), Some("0.019000011875"));
    assert_eq!(answer.header("x-litellm-key-spend"), Some("0.019000011875"));
    assert_eq!(answer.header("x-litellm-key-max-budget"), Some("10"));
    assert_eq!(answer.header("x-litellm-model-group"), Some("paid"));
    assert_eq!(answer.header("x-litellm-model-id"), Some("id-paid"));
    let stream = call(gateway.addr, &body("paid", true, Some(100))).await;
    assert_eq!(stream.header("x-litellm-response-cost"), None);
    assert_eq!(stream.header("x-litellm-key-spend"), Some("0.019000011875"));
    assert_eq!(spent(&gateway).await, "0.038000035625");
}

#[tokio::test]
async fn the_usage_of_a_stream_tells_its_cost_where_that_is_wanted() {
    let upstream = Paid::start(Gate::Open).await;
    let asked = body("paid", true, Some(100))
        .replace(r#""stream":"#, r#""stream_options":{"include_usage":true},"stream":"#);
    for (sections, cost) in
        [("litellm_settings: {include_cost_in_streaming_usage: true}\n", Some("0.02")), ("", None)]
    {
        let gateway = Gateway::start(&upstream.config(&[], sections), &[], &[]).await;
        let answer = call(gateway.addr, &asked).await;
        let usage = answer.body.lines().find(|line| line.contains(r#""usage":{"#)).unwrap();
        let event: serde_json::Value = serde_json::from_str(usage.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event["usage"]["completion_tokens"], 100);
        assert_eq!(event["usage"].get("cost").map(ToString::to_string).as_deref(), cost);
    }
}

#[tokio::test]
async fn refusals_say_what_callers_need_and_no_more() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(
        &upstream.config(&[], "litellm_settings: {max_budget: 0.01}\nziggurat_settings: {rpm: 3}\n"),
        &[],
        &[],
    )
    .await;
    let paid = body("paid", false, Some(100));
    let openai = call(gateway.addr, &paid).await;
    let message = "the budget of the gateway is too small for this call: 0 of 0.01 USD are spent";
    openai.is(
        429,
        &format!(
            r#"{{"error":{{"message":"{message}","type":"insufficient_quota","param":null,"code":"budget_exceeded"}}}}"#
        ),
    );
    assert_eq!(openai.header("x-should-retry"), Some("false"));
    let anthropic = post(gateway.addr, MESSAGES, &[&key()], &paid).await;
    let error = |message: &str| {
        format!(r#"{{"type":"error","error":{{"type":"rate_limit_error","message":"{message}"}}}}"#)
    };
    anthropic.is(429, &error(message));
    // A call that the budget refuses has used none of the limit.
    for _ in 0..3 {
        assert_eq!(call(gateway.addr, &body("free", false, Some(1))).await.status, 200);
    }
    let openai = call(gateway.addr, &body("free", false, Some(1))).await;
    let wait = openai.header("retry-after").unwrap();
    let message = format!("rate limit of this gateway reached: 3 requests per 60s; try again in {wait}s");
    openai.is(
        429,
        &format!(r#"{{"error":{{"message":"{message}","type":"requests","param":null,"code":"rate_limit_exceeded"}}}}"#),
    );
    let anthropic = post(gateway.addr, MESSAGES, &[&key()], &body("free", false, Some(1))).await;
    let wait = anthropic.header("retry-after").unwrap();
    anthropic.is(
        429,
        &error(&format!("rate limit of this gateway reached: 3 requests per 60s; try again in {wait}s")),
    );
    for answer in [openai, anthropic] {
        assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
    }
}

#[tokio::test]
async fn the_status_of_a_refusal_is_the_operators() {
    let upstream = Paid::start(Gate::Open).await;
    let sections = "litellm_settings: {max_budget: 0.01, budget_exceeded_status_code: 422}\n";
    let gateway = Gateway::start(&upstream.config(&[], sections), &[], &[]).await;
    assert_eq!(call(gateway.addr, &body("paid", false, Some(100))).await.status, 422);
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_where_a_budget_applies() {
    let upstream = Paid::start(Gate::Open).await;
    let unpriced = |sections: &str| {
        let lines = upstream.config(&[], sections);
        lines
            .lines()
            .filter(|line| !line.contains("_cost_per_"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let gateway = Gateway::start(&unpriced(DOLLAR), &[], &[]).await;
    let answer = call(gateway.addr, &body("paid", false, Some(100))).await;
    answer.is(
        400,
        r#"{"error":{"message":"the model `paid` has no price, and a budget applies to this call","type":"invalid_request_error","param":"model","code":"model_not_priced"}}"#,
    );
    let ended = gateway.stop().await;
    assert!(ended.stderr.contains("no price is known of a deployment of \"paid\""), "{}", ended.stderr);
    let allow = format!("{DOLLAR}ziggurat_settings: {{unpriced: allow}}\n");
    let gateway = Gateway::start(&unpriced(&allow), &[], &[]).await;
    let answer = call(gateway.addr, &body("paid", false, Some(100))).await;
    assert_eq!((answer.status, answer.header("x-litellm-response-cost")), (200, None));
    // Without a budget there is nothing to guard.
    let gateway = Gateway::start(&unpriced(""), &[], &[]).await;
    assert_eq!(call(gateway.addr, &body("paid", false, Some(100))).await.status, 200);
}

#[tokio::test]
async fn a_budget_in_memory_is_said_at_the_start() {
    let upstream = Paid::start(Gate::Open).await;
    let said = |sections: String| {
        let config = upstream.config(&[], &sections);
        async move { Gateway::start(&config, &[], &[]).await.stop().await.stderr }
    };
    let in_memory = "what is spent is kept in memory";
    assert!(said(DOLLAR.to_owned()).await.contains(in_memory));
    let ledger = Ledger::new();
    assert!(!said(format!("{DOLLAR}ziggurat_settings:\n{}", ledger.setting())).await.contains(in_memory));
    assert!(!said(String::new()).await.contains(in_memory));
}

#[tokio::test]
async fn a_ledger_that_cannot_be_kept_is_no_start() {
    let upstream = Paid::start(Gate::Open).await;
    let ledger = Ledger::new();
    let config = upstream.config(&[], &format!("{DOLLAR}ziggurat_settings:\n{}", ledger.setting()));
    let _gateway = Gateway::start(&config, &[], &[]).await;
    // Another process has it.
    let ended = run(&config, &["--config", "config.yaml", "--port", "0"], &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("ziggurat_settings.ledger: ") && ended.stderr.contains("is open already"),
        "{}",
        ended.stderr
    );
    let nowhere = upstream.config(&[], "ziggurat_settings: {ledger: /nowhere/spend.db}\n");
    let ended = run(&nowhere, &["--config", "config.yaml", "--port", "0"], &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("ziggurat_settings.ledger: /nowhere/spend.db cannot be"),
        "{}",
        ended.stderr
    );
}

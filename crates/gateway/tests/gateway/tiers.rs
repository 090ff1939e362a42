//! What a call is charged goes by the service tier that its answer names.

use crate::{
    client::post,
    harness::Gateway,
    paid::{Gate, Paid, key, spent},
    samples::{CHAT, MESSAGES},
};

/// A gateway where a call costs $0.02 at the usual tier, half of it at flex, and twice as much at priority.
async fn gateway(upstream: &Paid) -> Gateway {
    let tiers = ["output_cost_per_token_flex: 0.0001", "output_cost_per_token_priority: 0.0004"];
    let config = upstream.config(&tiers, "litellm_settings: {max_budget: 1.00}\n");
    Gateway::start(&config, &[], &[]).await
}

/// Makes a call, and gives what is spent after it.
async fn call(gateway: &Gateway, path: &str, stream: bool, asked: Option<&str>) -> String {
    let asked = asked.map_or_else(String::new, |tier| format!(r#","service_tier":"{tier}""#));
    let body = format!(
        r#"{{"model":"paid","max_tokens":100,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]{asked}}}"#
    );
    let answer = post(gateway.addr, path, &[&key()], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    spent(gateway).await
}

#[tokio::test]
async fn the_tier_that_was_served_is_charged_whatever_was_asked() {
    let upstream = Paid::start(Gate::Open).await;
    for stream in [false, true] {
        let gateway = gateway(&upstream).await;
        for (asked, served, so_far) in [
            (Some("flex"), Some("flex"), "0.01"),
            (Some("flex"), Some("default"), "0.03"),
            (None, Some("flex"), "0.04"),
            (Some("flex"), None, "0.06"),
            (Some("flex"), Some("unheard"), "0.08"),
            (Some("priority"), Some("priority"), "0.12"),
            (Some("priority"), Some("default"), "0.14"),
            (Some("priority"), None, "0.18"),
        ] {
            upstream.serve_at(served);
            let told = call(&gateway, CHAT, stream, asked).await;
            assert_eq!(told, so_far, "{stream} {asked:?} {served:?}");
        }
    }
}

#[tokio::test]
async fn the_tier_of_a_translated_answer_is_charged() {
    let upstream = Paid::start(Gate::Open).await;
    for stream in [false, true] {
        let gateway = gateway(&upstream).await;
        for (served, so_far) in [("flex", "0.01"), ("default", "0.03"), ("priority", "0.07")] {
            upstream.serve_at(Some(served));
            assert_eq!(call(&gateway, MESSAGES, stream, None).await, so_far, "{stream} {served}");
        }
    }
}

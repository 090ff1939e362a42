//! What LiteLLM's router does, and where this one differs for a reason.

mod groups;

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;
use ziggurat_core::Cause;
use ziggurat_route::{Cooldown, Deployment, Group, RetryPolicy};
use ziggurat_testkit::{deviations, vectors};

use crate::groups::*;

#[test]
fn what_litellm_does_is_matched_or_deviates_for_a_reason() {
    let Some(rows) = vectors("router.json") else { return };
    let known = deviations(include_str!("router_deviations.json"));
    let (mut same, mut suspect, mut deviating) = (0, 0, Vec::new());
    for row in &rows {
        let check = match row["fn"].as_str() {
            Some("should_retry") => retried_as_expected,
            Some("is_cooldown_required") => cooled_as_expected,
            Some("calculate_retry_after") => waits_as_expected,
            Some("simple_shuffle_share") => shared_as_expected,
            // What a config's names lead to is the gateway's, and spans are those of budgets.
            Some(
                "get_fallback_model_group"
                | "wildcard_route"
                | "alias_route"
                | "next_reset"
                | "duration_in_seconds",
            ) => continue,
            other => panic!("nobody compares {other:?}"),
        };
        match check(row) {
            // Not what anybody wants: cooling down by words of a message, retrying earlier than the provider asked, starving those
            // without a weight.
            _ if row.get("suspect").is_some() => suspect += 1,
            true => same += 1,
            false => deviating.push(row["id"].as_str().expect("has an id")),
        }
    }
    println!("router: {same} as expected, {} deviate for a reason, {suspect} suspect", deviating.len());
    assert_eq!(deviating, known);
    assert!(same >= 30, "{same} rows are compared");
}

fn status(row: &Value) -> Option<StatusCode> {
    StatusCode::from_u16(u16::try_from(row["status"].as_u64()?).ok()?).ok()
}

fn retried_as_expected(row: &Value) -> bool {
    let status = status(row).expect("is a status");
    row["expected"] == RetryPolicy::is_retryable(status)
}

/// As the provider's answer of this status is understood.
fn cooled_as_expected(row: &Value) -> bool {
    let cause = match status(row) {
        Some(status) => ziggurat_dialect::decode_error(Some(status), br#"{"error":{"message":"no"}}"#).cause,
        // No status at all is no failure of a provider's; one that is none is an answer that cannot be used.
        None if row["status"] == "" => return row["expected"] == false,
        None => Cause::Upstream,
    };
    row["expected"] == Cooldown::default().counts(cause)
}

fn waits_as_expected(row: &Value) -> bool {
    let number = |name: &str| row[name].as_f64().expect("is a number");
    let done = (number("max_retries") - number("remaining_retries")) as u32;
    let mut headers = HeaderMap::new();
    if let Some(header) = row["retry_after_header"].as_str() {
        headers.insert("retry-after", header.parse().expect("is a header"));
    }
    let policy = RetryPolicy::default().wait_at_least(Duration::from_secs_f64(number("min_timeout")));
    let random = if number("random") == 0.0 { 0 } else { u64::MAX };
    let wait = policy.backoff(
        done,
        ziggurat_dialect::retry_after(&headers, b"", std::time::SystemTime::UNIX_EPOCH),
        random,
    );
    wait.is_some_and(|wait| wait.as_secs_f64() == number("expected_seconds"))
}

fn shared_as_expected(row: &Value) -> bool {
    let models = row["model_list"].as_array().expect("is a list");
    let deployments = models.iter().map(|model| {
        let (id, params) = (&model["model_info"]["id"], &model["litellm_params"]);
        let set = |deployment: Deployment, name: &str, set: fn(Deployment, f64) -> Deployment| match params
            [name]
            .as_f64()
        {
            Some(value) => set(deployment, value),
            None => deployment,
        };
        let made = named(id.as_str().expect("is an id"));
        let made = set(made, "weight", Deployment::weight);
        let made = set(made, "rpm", |made, rpm| made.requests_per_minute(rpm as u64));
        set(made, "tpm", |made, tpm| made.tokens_per_minute(tpm as u64))
    });
    let caller = Caller::new(Group::new("g").deployments(deployments));
    let shares = caller.shares(10_000);
    let group = caller.group;
    group.deployments().iter().zip(shares).all(|(deployment, share)| {
        let expected = row["expected_share"][deployment.id()].as_f64().unwrap_or_default();
        (share - expected).abs() <= row["tolerance"].as_f64().expect("is a number")
    })
}

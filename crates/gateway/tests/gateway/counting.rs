//! How input tokens are counted, as the callers of a limit meet it.

#[cfg(feature = "tiktoken")]
use tokio::time::Instant;

#[cfg(feature = "tiktoken")]
use crate::harness::{SOON, run};
use crate::{
    client::Answer,
    harness::Gateway,
    paid::{Gate, Paid, call},
};

/// 300 bytes, which OpenAI's vocabularies make some 60 tokens of.
fn prompt() -> String {
    "the quick brown fox jumps over the lazy dog today ".repeat(6)
}

async fn gateway(upstream: &Paid, counter: &str, input: u64) -> Gateway {
    let sections = format!("ziggurat_settings: {{itpm: {input}, token_counter: {counter}}}\n");
    // The alias says nothing of what model it is: this does.
    Gateway::start(&upstream.config(&["base_model: gpt-4o"], &sections), &[], &[]).await
}

async fn ask(gateway: &Gateway) -> Answer {
    let prompt = prompt();
    let body =
        format!(r#"{{"model":"paid","max_tokens":1,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#);
    call(gateway.addr, &body).await
}

#[tokio::test]
async fn the_counter_decides_whether_an_input_fits() {
    let upstream = Paid::start(Gate::Open).await;
    // About 100 tokens by length, some 60 in truth, and 300 at most; a message has 9 more.
    for (counter, input, status) in [
        ("by_length", 90, 429),
        ("by_length", 120, 200),
        ("at_most_bytes", 290, 429),
        ("at_most_bytes", 320, 200),
    ] {
        let gateway = gateway(&upstream, counter, input).await;
        assert_eq!(ask(&gateway).await.status, status, "{counter} {input}");
    }
}

#[cfg(feature = "tiktoken")]
#[tokio::test]
async fn counts_are_exact_once_the_vocabularies_are_loaded() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = gateway(&upstream, "exact", 90).await;
    // Until then they are by length, and the call is refused; a refusal takes nothing.
    let deadline = Instant::now() + SOON;
    while ask(&gateway).await.status != 200 {
        assert!(Instant::now() < deadline, "never exact");
    }
}

#[cfg(feature = "tiktoken")]
#[tokio::test]
async fn an_unknown_counter_is_an_error_with_its_place() {
    let config = "model_list: []\nziggurat_settings:\n  token_counter: guess\n";
    let ended = run(config, &["--config", "config.yaml"], &[]).await;
    assert_eq!(ended.code, Some(1));
    let error = "config.yaml:3:18: error: ziggurat_settings.token_counter: expected `by_length`, `exact` or `at_most_bytes`\n";
    assert!(ended.stderr.contains(error), "{}", ended.stderr);
}

//! Files that cannot be run: where the fault is, to the letter, and nothing of what may be a secret.

use crate::{
    harness::{Gateway, PROVIDER_KEY, deployment, run},
    samples::Api,
};

/// A good entry, on lines 2 to 6.
fn one() -> String {
    format!("model_list:\n{}", deployment("gpt", "openai/gpt-4o", "http://127.0.0.1:9", &[]))
}

async fn refused(config: &str, expected: &str) {
    let errors = expected.matches(": error: ").count();
    let plural = if errors == 1 { "" } else { "s" };
    let expected = format!("{expected}ziggurat: config.yaml has {errors} error{plural}\n");
    let ended = run(config, &["--config", "config.yaml"], &[]).await;
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr), (Some(1), "", expected), "{config}");
    // `check` says the same, where one looks for it.
    let checked = run(config, &["check", "--config", "config.yaml"], &[]).await;
    let said = expected_findings(&checked.stdout);
    assert_eq!((checked.code, checked.stderr.as_str(), said), (Some(1), "", errors), "{config}");
}

fn expected_findings(text: &str) -> usize {
    text.matches(": error: ").count()
}

#[tokio::test]
async fn faults_are_reported_with_line_and_column() {
    let at = "model_list[0].litellm_params";
    refused(
        &one().replace("openai/", "opnai/"),
        &format!("config.yaml:4:14: error: {at}.model: unknown provider `opnai`, did you mean `openai`?\n"),
    )
    .await;
    refused(
        &one().replace("openai/", "replicate/"),
        &format!(
            "config.yaml:4:14: error: {at}.model: provider `replicate` is known but not supported yet\n"
        ),
    )
    .await;
    refused(
        &(one() + "      api_bse: http://sk-canary\n"),
        &format!("config.yaml:7:7: error: {at}.api_bse: unknown key, did you mean `api_base`?\n"),
    )
    .await;
    refused(
        &(one() + "general_setings:\n  master_key: sk-canary\n"),
        "config.yaml:7:1: error: general_setings: unknown key, did you mean `general_settings`?\n",
    )
    .await;
    refused(
        &one().replace(PROVIDER_KEY, "os.environ/NOT_THERE"),
        &format!(
            "config.yaml:6:16: error: {at}.api_key: environment variable `NOT_THERE` is not set or empty\n"
        ),
    )
    .await;
    refused(
        &(one() + "general_settings:\n  master_key: os.environ/NO_KEY\n"),
        "config.yaml:8:15: error: general_settings.master_key: environment variable `NO_KEY` is not set or empty\n",
    )
    .await;
    refused("a: [sk-canary,\n", "config.yaml:1:4: error: invalid YAML: unclosed bracket '['\n").await;
    refused(
        "model_list:\n\t- sk-canary\n",
        "config.yaml:2:2: error: invalid YAML: tabs disallowed within this context (block indentation)\n",
    )
    .await;
    refused(
        &(one() + "      api_key: sk-canary\n      tpm: sk-canary\n"),
        &format!(
            "config.yaml:7:7: error: {at}.api_key: duplicate key, also on line 6\n\
             config.yaml:8:12: error: {at}.tpm: expected a number, found a string\n"
        ),
    )
    .await;
}

#[tokio::test]
async fn files_that_are_not_there() {
    let ended = run("", &["--config", "none.yaml"], &[]).await;
    let expected = "ziggurat: none.yaml: no such file\n";
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(1), "", expected));
    let ended = run("", &["check", "--config", "none.yaml"], &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), expected));
    let ended = run("", &["--config", "."], &[]).await;
    assert_eq!(ended.code, Some(1));
}

#[tokio::test]
async fn warnings_are_said_once_and_do_not_hold_up_the_start() {
    let config = one() + "      keepalive_seconds: 5\nlitellm_settings:\n  caching: true\n";
    let ended = Gateway::start(&config, &[], &[]).await.stop().await;
    assert_eq!(ended.code, Some(0));
    let warnings: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("warning")).collect();
    let ignored = "known to LiteLLM, not supported yet: ignored";
    assert_eq!(
        warnings,
        [
            format!("config.yaml:7:7: warning: model_list[0].litellm_params.keepalive_seconds: {ignored}"),
            format!("config.yaml:9:3: warning: litellm_settings.caching: {ignored}"),
        ]
    );
}

/// The most talkative log, and calls that go wrong in all ways: no key is in it, nor in any answer.
#[tokio::test]
async fn no_secret_is_logged_or_answered() {
    use crate::{client::post, harness::Scene, samples::ask};
    let scene = Scene::new()
        .await
        .model("works", Api::OpenAi.model(), "openai-stream", &["extra_headers: {x-token: sk-header-canary}"])
        .model("closes", Api::Anthropic.model(), "anthropic,close", &[])
        .section(&deployment("gone", "openai/gpt-4o", "http://127.0.0.1:9/sk-base-canary", &[]))
        .section(&crate::harness::guarded());
    let gateway = scene.start_with(&[], &[("ZIGGURAT_LOG", "trace")]).await;
    let key = format!("authorization: Bearer {}", crate::harness::MASTER_KEY);
    let mut said = String::new();
    for alias in ["works", "closes", "gone", "none"] {
        for api in [Api::OpenAi, Api::Anthropic] {
            for headers in [&[key.as_str()][..], &["authorization: Bearer sk-guess-canary"]] {
                let body = ask(alias, true).replace("Hi", "word-canary");
                said += &post(gateway.addr, api.path(), headers, &body).await.body;
            }
        }
    }
    let ended = gateway.stop().await;
    assert!(ended.stderr.contains("DEBUG"), "{}", ended.stderr);
    for text in [&said, &ended.stderr] {
        assert!(!text.contains("canary"), "{text}");
    }
}

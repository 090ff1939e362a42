//! No message and no `Debug` text may hold a value of the file.

use proptest::prelude::*;

use super::*;

const CANARY: &str = "sk-canary";

/// A valid file in which each value is a secret, with one line to damage it. In mappings of one line they are quoted: a comma within
/// them would make a key of the rest, and keys are shown that look like names.
fn text_with(line: &str) -> String {
    format!(
        "environment_variables:
  SOME_KEY: sk-canary-env
model_list:
  - model_name: sk-canary-name
    litellm_params:
      model: openai/sk-canary-model
      api_key: sk-canary-key
      api_base: https://sk-canary-host
      extra_headers: {{authorization: 'sk-canary-header'}}
      my_secret: sk-canary-extra
      extra_body: {{token: 'sk-canary-body'}}
{line}
    model_info: {{id: 'sk-canary-id'}}
general_settings:
  master_key: sk-canary-master
"
    )
}

fn everything_said(text: &str) -> String {
    let env = |name: &str| (name == "SECRET").then(|| "sk-canary-variable".to_owned());
    match Config::parse(text, "config.yaml", &env) {
        Ok((_, warnings)) => format!("{warnings:?}"),
        Err(found) => found.iter().map(|it| format!("{it}\n{it:?}\n")).collect(),
    }
}

#[test]
fn no_error_tells_a_secret() {
    let lines = [
        "      rpm: sk-canary",
        "      rpm: [sk-canary",
        "      rpm: {sk-canary",
        "      rpm: \"sk-canary",
        "      rpm: 'sk-canary",
        "      rpm: sk-canary: sk-canary",
        "      rpm: *sk-canary",
        "      rpm: !sk-canary sk-canary",
        "      rpm: !!int sk-canary",
        "      rpm: !!binary sk-canary",
        "      rpm: !!float sk-canary",
        "      rpm: !!bool sk-canary",
        "      rpm: !e!sk-canary x",
        "      rpm: \"\\qsk-canary\"",
        "      rpm: &sk-canary {a: *sk-canary}",
        "      rpm: @sk-canary",
        "      rpm: `sk-canary`",
        "      rpm: %sk-canary",
        "      sk-canary",
        "      sk-canary: 1",
        "      ? sk-canary",
        "      ? [sk-canary]",
        "      <<: sk-canary",
        "      api_key:sk-canary",
        "      api_key:sk-canary: x",
        "      api_key: [sk-canary]",
        "      api_key: {sk-canary: sk-canary}",
        "      timeout: {api_key:sk-canary}",
        "      rpm: {api_key:sk-canary}",
        "      api_key: sk-canary",
        "      api_key: sk-canary\n      api_key: sk-canary",
        "      apikey: sk-canary",
        "      drop_params: sk-canary",
        "      timeout: sk-canary",
        "      stream_timeout: -1",
        "      custom_llm_provider: sk-canary",
        "      custom_llm_provider: os.environ/SECRET",
        "      organization: os.environ/sk-canary",
        "      organization: os.environ/",
        "      organization: 'sk-canary sk-canary'",
        "      azure_ad_token: [sk-canary]",
        "      azure_ad_token: sk-canary",
        "      azure_ad_token: oidc/sk-canary",
        "      tenant_id: sk-canary",
        "  - {model_name: x, litellm_params: {model: bedrock/x, aws_role_name: sk-canary}}",
        "  - {model_name: x, litellm_params: {model: bedrock/x, aws_role_name: 'arn:x', aws_session_name: 'sk-canary x'}}",
        "  - {model_name: x, litellm_params: {model: bedrock/x, aws_role_name: 'arn:x', aws_sts_endpoint: 'http://sk-canary'}}",
        "  - {model_name: x, litellm_params: {model: bedrock/x, aws_role_name: 'arn:x', aws_web_identity_token: oidc/sk-canary}}",
        "  - {model_name: x, litellm_params: {model: bedrock/x, aws_web_identity_token: sk-canary}}",
        "      client_secret: [sk-canary]",
        "      headers: {'sk-canary x': sk-canary}",
        "      headers: {x: \"sk-canary\\n\"}",
        "      additional_drop_params: sk-canary",
        "      allowed_openai_params: [[sk-canary]]",
        "      base_url: https://sk-canary:sk-canary@h",
        "      base_url: sk-canary://h",
        "      base_url: sk-canary",
        "\tsk-canary: x",
        "   sk-canary: x",
        "---\nsk-canary: [",
        "  - sk-canary",
        "  - {model_name: {sk-canary: 1}, litellm_params: sk-canary}",
        "  - {model_name: sk-canary, litellm_params: {model: sk-canary}}",
        "  - {model_name: sk-canary, litellm_params: {model: sk-canary/x}}",
        "  - {model_name: sk-canary, litellm_params: {model: os.environ/SECRET}}",
        "  - {model_name: x, litellm_params: {model: openai/x, api_key: 'sk-canary sk-canary'}}",
        "  - {model_name: x, litellm_params: {model: openai/x, api_key: \"sk-canary\\n\"}}",
        "  - {model_name: x, litellm_params: {model: openai/x, api_key: 1e999}}",
        "  - {model_name: x, litellm_params: {model: openai/x, extra_headers: {'sk-canary x': y}}}",
        "  - {model_name: x, litellm_params: {model: openai/x, extra_headers: {x: \"sk-canary\\n\"}}}",
        "  - {model_name: x, litellm_params: {model: openai/*}, model_info: {id: sk-canary-id}}",
        "router_settings: {model_group_alias: {sk-canary: sk-canary, x: [sk-canary]}}",
        "litellm_settings: {callbacks: [sk-canary, sk-canary.sk-canary]}",
        "litellm_settings: {max_budget: sk-canary}",
        "litellm_settings: {max_budget: 1, budget_duration: sk-canary}",
        "litellm_settings: {max_budget: 1, timezone: sk-canary}",
        "litellm_settings: {cost_discount_config: {openai: sk-canary}}",
        "litellm_settings: {cost_margin_config: {openai: {percentage: sk-canary, fixed_amount: sk-canary}}}",
        "litellm_settings: {budget_exceeded_status_code: sk-canary}",
        "ziggurat_settings: {uncapped: sk-canary, uncapped_streams: sk-canary, unpriced: sk-canary}",
        "ziggurat_settings: {on_disconnect: 'drain:sk-canary', hold_ttl: sk-canary, token_counter: sk-canary}",
        "ziggurat_settings: sk-canary",
        "      input_cost_per_token: sk-canary",
        "      max_parallel_requests: sk-canary",
        "include: sk-canary",
        "sk-canary: sk-canary",
        "guardrails: sk-canary",
    ];
    for line in lines {
        let said = everything_said(&text_with(line));
        assert!(!said.contains("canary"), "{line}\n{said}");
    }
    // Most of these lines must be errors, else this test shows nothing.
    let failed = lines.iter().filter(|line| everything_said(&text_with(line)).contains("error"));
    assert!(failed.count() > 45);
}

#[test]
fn debug_hides_secrets_and_extra_parameters() {
    let (config, _) = Config::parse(&text_with(""), "config.yaml", &|_| None).unwrap();
    let debug = format!("{config:#?}");
    for hidden in ["key", "header", "extra", "body", "master", "env"] {
        assert!(!debug.contains(&format!("{CANARY}-{hidden}")), "{hidden}\n{debug}");
    }
}

proptest! {
    #[test]
    fn no_cut_or_damaged_file_tells_a_secret(at in 0usize..600, damage in "[\\[\\]{}:,'\"*&!%@`|>#?\\-\t \n]{0,4}") {
        let mut text = text_with("      timeout: 5");
        let at = at.min(text.len());
        text.insert_str(at, &damage);
        let said = everything_said(&text);
        prop_assert!(!said.contains("canary"), "{said}");
        let said = everything_said(&text[..at]);
        prop_assert!(!said.contains("canary"), "{said}");
    }

    #[test]
    fn any_text_is_read_without_panic(text in "[a-z:\\-\\[\\]{}&*<!|>'\"# \n]{0,80}") {
        let _ = everything_said(&text);
    }
}

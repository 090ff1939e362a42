//! What is said about good and bad files; includes and secrets have files of their own.

use std::time::Duration;

use super::*;

/// The environment of all tests.
pub(super) fn env(name: &str) -> Option<String> {
    let value = match name {
        "OPENAI_API_KEY" => "sk-from-env",
        "BASE" => "https://env.example/v1",
        "TIMEOUT" => "2.5",
        "TYPO" => "opnai/secret-model",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(text: &str) -> (Config, Vec<Diagnostic>) {
    Config::parse(text, "config.yaml", &env).unwrap_or_else(|found| panic!("{}", print(&found)))
}

pub(super) fn print(found: &[Diagnostic]) -> String {
    found.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

/// All findings of a text, printed.
fn findings(text: &str) -> String {
    match Config::parse(text, "config.yaml", &env) {
        Ok((_, warnings)) => print(&warnings),
        Err(found) => print(&found),
    }
}

/// A list with one deployment, with more lines for its `litellm_params`.
pub(super) fn one(params: &str) -> String {
    format!(
        "model_list:\n  - model_name: a\n    litellm_params:\n      model: openai/m\n      api_key: k\n{params}"
    )
}

#[test]
fn bad_files_are_reported_with_place_and_key() {
    let cases = [
        ("a: [1,\n", "config.yaml:1:4: error: invalid YAML: unclosed bracket '['\n"),
        (
            "a: b: c\n",
            "config.yaml:1:5: error: invalid YAML: mapping values are not allowed in this context\n",
        ),
        ("a: *b\n", "config.yaml:1:4: error: invalid YAML: an alias to an anchor that is not defined\n"),
        ("a: 1\n---\nb: 2\n", "config.yaml:3:1: error: more than one YAML document\n"),
        (
            "[1]\n",
            "config.yaml:1:1: error: expected a mapping, found a list\nconfig.yaml:1:1: warning: no `model_list`: there is nothing to call\n",
        ),
        (
            &one("      rpm: six\n"),
            "config.yaml:6:12: error: model_list[0].litellm_params.rpm: expected a number, found a string\n",
        ),
        (
            &one("      api_version: 7\n"),
            "config.yaml:6:20: error: model_list[0].litellm_params.api_version: expected a string, found a number: put it in quotes\n",
        ),
        (
            &one("      timeout: 0\n"),
            "config.yaml:6:16: error: model_list[0].litellm_params.timeout: expected a positive number of seconds\n",
        ),
        (
            &one("      api_key: l\n"),
            "config.yaml:6:7: error: model_list[0].litellm_params.api_key: duplicate key, also on line 5\n",
        ),
        (
            &one("      api_bse: l\n"),
            "config.yaml:6:7: error: model_list[0].litellm_params.api_bse: unknown key, did you mean `api_base`?\n",
        ),
        (
            &one("      api_base: example.com\n"),
            "config.yaml:6:17: error: model_list[0].litellm_params.api_base: must begin with http:// or https://\n",
        ),
        (
            &one("      api_base: https://u:p@h\n"),
            "config.yaml:6:17: error: model_list[0].litellm_params.api_base: holds a user name or password, which belongs in `api_key` or `extra_headers`\n",
        ),
        (
            &one("      mock_response: hi\n"),
            "config.yaml:6:7: error: model_list[0].litellm_params.mock_response: known to LiteLLM, not supported yet: refusing to run without it\n",
        ),
        (
            &one("      extra_headers: {host: h}\n"),
            "config.yaml:6:23: error: model_list[0].litellm_params.extra_headers.host: not the name of a header that can be set\n",
        ),
        (
            &one("      allowed_openai_params: [x, 1]\n"),
            "config.yaml:6:30: error: model_list[0].litellm_params.allowed_openai_params: expected a list of strings, found a number in it\n",
        ),
        (
            &one("general_setings:\n  master_key: k\n"),
            "config.yaml:6:1: error: general_setings: unknown key, did you mean `general_settings`?\n",
        ),
        (
            &one("litellm_settings:\n  master_key: k\n"),
            "config.yaml:7:3: error: litellm_settings.master_key: unknown key here, it belongs into `general_settings`\n",
        ),
        (
            &one("litellm_settings:\n  frobnicate: k\n"),
            "config.yaml:7:3: error: litellm_settings.frobnicate: unknown key\n",
        ),
        (
            &one("general_settings:\n  enable_oauth2_auth: yes\n"),
            "config.yaml:7:3: error: general_settings.enable_oauth2_auth: known to LiteLLM, not supported yet: refusing to run without it\n",
        ),
        (
            &one("guardrails: [{}]\n"),
            "config.yaml:6:1: error: guardrails: known to LiteLLM, not supported yet: refusing to run without it\n",
        ),
        (
            &one("include: [b.yaml]\n"),
            "config.yaml:6:10: error: include: files can be included only by a file\n",
        ),
        (
            &one("router_settings:\n  model_group_alias: {b: c}\n"),
            "config.yaml:7:26: error: router_settings.model_group_alias.b: leads to no model of `model_list`\n",
        ),
        (
            &one("router_settings:\n  model_group_alias: {b: c, c: b, d: e, e: a, f: f}\n"),
            "config.yaml:7:26: error: router_settings.model_group_alias.b: leads in a circle of aliases
config.yaml:7:32: error: router_settings.model_group_alias.c: leads in a circle of aliases
config.yaml:7:38: error: router_settings.model_group_alias.d: leads to another alias: name the model that it stands for
config.yaml:7:50: error: router_settings.model_group_alias.f: leads in a circle of aliases\n",
        ),
        (
            "model_list: [{}, 1]\n",
            "config.yaml:1:14: error: model_list[0]: missing key `model_name`\nconfig.yaml:1:14: error: model_list[0]: missing key `litellm_params`\nconfig.yaml:1:18: error: model_list[1]: expected a mapping, found a number\n",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(findings(text), expected, "{text}");
    }
}

#[test]
fn providers_that_cannot_be_called_are_named() {
    let cases = [
        ("replicate/g", "provider `replicate` is known but not supported yet"),
        ("opnai/m", "unknown provider `opnai`, did you mean `openai`?"),
        ("meta-llama/Llama-3", "unknown provider `meta-llama`, did you mean `meta_llama`?"),
        ("os.environ/TYPO", "unknown provider `(from the environment)`, did you mean `openai`?"),
        ("llama3", "names no provider: write it as `provider/model`"),
        ("'*'", "names no provider: write it as `provider/model`"),
        ("openai/", "names a provider but no model"),
        ("openai/*", "must have as many `*` as `model_name`, or none"),
        ("openai/responses/m", "`responses/` is known to LiteLLM, not supported yet"),
        ("azure_ai/claude-x", "Anthropic's models on `azure_ai` are known to LiteLLM, not supported yet"),
    ];
    for (model, message) in cases {
        let text = one("").replace("openai/m", model);
        let expected = format!("config.yaml:4:14: error: model_list[0].litellm_params.model: {message}\n");
        assert_eq!(findings(&text), expected, "{model}");
    }
    let text = one("      custom_llm_provider: databricks\n");
    let expected = "config.yaml:6:28: error: model_list[0].litellm_params.custom_llm_provider: provider `databricks` is known but not supported yet\n";
    assert_eq!(findings(&text), expected);
}

#[test]
fn keys_that_are_ignored_get_a_warning_unless_they_change_nothing() {
    let text = one(
        "      keepalive_seconds: 6\n      region_name: null\n      input_cost: 0.1\n      my_param: 1\n",
    ) + "    model_info: {mode: chat, discoverable: 1, my_note: n}\n"
        + "litellm_settings:\n  num_retries_per_request: 0\n  cache: true\n  set_verbose: false\n  callbacks: [langfuse]\n"
        + "router_settings:\n  max_retries: 0\n  client_ttl: null\n";
    let ignored = "known to LiteLLM, not supported yet: ignored";
    let expected = [
        format!("6:7: warning: model_list[0].litellm_params.keepalive_seconds: {ignored}"),
        format!("8:7: warning: model_list[0].litellm_params.input_cost: {ignored}"),
        "9:7: warning: model_list[0].litellm_params.my_param: not a parameter of LiteLLM's: sent to the provider as it is".into(),
        format!("10:30: warning: model_list[0].model_info.discoverable: {ignored}"),
        "10:47: warning: model_list[0].model_info.my_note: unknown key: ignored".into(),
        format!("15:15: warning: litellm_settings.callbacks[0]: {ignored}"),
    ];
    assert_eq!(findings(&text), expected.map(|line| format!("config.yaml:{line}\n")).concat());
    let guard = one("litellm_settings:\n  callbacks: [langfuse, my_module.guard]\n");
    assert!(findings(&guard).contains(
        "7:25: error: litellm_settings.callbacks[1]: known to LiteLLM, not supported yet: refusing"
    ));
    for off in ["max_budget: null", "max_user_budget: null", "guardrails: []", "blocked_user_list: ''"] {
        assert_eq!(findings(&one(&format!("litellm_settings:\n  {off}\n"))), "", "{off}");
    }
}

#[test]
fn a_whole_deployment_is_read() {
    let text = "
model_list:
  - model_name: big
    litellm_params:
      model: azure/gpt5_series/my-gpt
      api_key: azure-key
      api_base: https://r.openai.azure.com/
      organization: org
      drop_params: on
      additional_drop_params: [seed]
      allowed_openai_params: ['tools']
      extra_headers: {X-Team: blue}
      extra_body: {deep: {er: [1, null, 'x']}}
      timeout: os.environ/TIMEOUT
      stream_timeout: 60
      temperature: 0.5
    model_info: {id: 7}
general_settings: {master_key: sk-master}
litellm_settings: {drop_params: yes, request_timeout: 30}
";
    let (config, warnings) = parse(text);
    assert_eq!(print(&warnings), "");
    assert_eq!(config.master_key.unwrap().expose(), "sk-master");
    assert!(config.drop_params);
    assert_eq!(config.request_timeout, Some(Duration::from_secs(30)));
    let [deployment] = &config.deployments[..] else { panic!() };
    assert_eq!(
        (deployment.alias.as_str(), deployment.model.as_str(), deployment.id.as_str()),
        ("big", "my-gpt", "7")
    );
    assert_eq!(deployment.api_key.as_ref().unwrap().expose(), "azure-key");
    assert_eq!(deployment.organization.as_deref(), Some("org"));
    assert_eq!(deployment.drop_params, Some(true));
    assert_eq!(deployment.additional_drop_params, ["seed"]);
    assert_eq!(deployment.allowed_openai_params, ["tools"]);
    assert_eq!(deployment.extra_headers["x-team"], "blue");
    assert_eq!(deployment.timeout, Some(Duration::from_millis(2500)));
    assert_eq!(deployment.stream_timeout, Some(Duration::from_secs(60)));
    assert_eq!(deployment.auth(), Auth::ApiKey);
    assert_eq!(deployment.position.to_string(), "config.yaml:3:5");
    let extra: Vec<_> =
        deployment.extra.iter().map(|it| (it.key.as_str(), it.value.to_string(), it.position.line)).collect();
    assert_eq!(extra, [("temperature", "0.5".into(), 16), ("deep", r#"{"er":[1,null,"x"]}"#.into(), 13)]);
    assert_eq!(
        deployment.chat_url(&deployment.model),
        "https://r.openai.azure.com/openai/deployments/my-gpt/chat/completions?api-version=2025-02-01-preview"
    );
}

#[test]
fn anchors_and_merge_keys_work_and_are_reported_where_they_were_written() {
    let text = "
model_list:
  - model_name: a
    litellm_params: &shared {model: openai/m, api_key: k, rpm: x}
  - model_name: b
    litellm_params:
      <<: *shared
      rpm: 5
      input_cost: 5
      model: groq/n
";
    let expected =
        "config.yaml:4:64: error: model_list[0].litellm_params.rpm: expected a number, found a string
config.yaml:9:7: warning: model_list[1].litellm_params.input_cost: known to LiteLLM, not supported yet: ignored\n";
    assert_eq!(findings(text), expected);
    let (config, _) = parse(&text.replace("rpm: x", "seed: 1"));
    assert_eq!(config.deployments[1].provider.id, "groq");
    assert_eq!(config.deployments[1].api_key.as_ref().unwrap().expose(), "k");
    assert_eq!(config.deployments[1].extra[0].key, "seed");
}

#[test]
fn variables_are_resolved_anywhere_and_the_files_own_come_first() {
    let text = "
environment_variables: {OWN: https://own.example, OPENAI_API_KEY: os.environ/FIRST, FIRST: late}
model_list:
  - model_name: a
    litellm_params: {model: openai/m, api_key: os.environ/OPENAI_API_KEY, api_base: os.environ/BASE}
  - model_name: b
    litellm_params: {model: anthropic/m, api_key: k, api_base: os.environ/OWN, stop: [os.environ/OWN]}
";
    let expected = "config.yaml:2:67: error: environment_variables.OPENAI_API_KEY: environment variable `FIRST` is not set or empty\n";
    assert_eq!(findings(text), expected);
    let (config, _) = parse(&text.replace("os.environ/FIRST", "own-key"));
    assert_eq!(config.deployments[0].api_key.as_ref().unwrap().expose(), "own-key");
    assert_eq!(config.deployments[0].base, "https://env.example/v1");
    assert_eq!(config.deployments[1].chat_url("m"), "https://own.example/v1/messages");
    assert_eq!(config.deployments[1].extra[0].value, serde_json::json!(["https://own.example"]));
    let missing = one("").replace("api_key: k", "api_key: os.environ/NOT_THERE");
    let expected = "config.yaml:5:16: error: model_list[0].litellm_params.api_key: environment variable `NOT_THERE` is not set or empty\n";
    assert_eq!(findings(&missing), expected);
    assert_eq!(findings(&missing.replace("NOT_THERE", "EMPTY")), expected.replace("NOT_THERE", "EMPTY"));
}

#[test]
fn a_missing_key_comes_from_the_providers_variable() {
    let text = "model_list:\n  - model_name: a\n    litellm_params:\n      model: gpt-4o\n";
    let (config, warnings) = parse(text);
    assert_eq!(config.deployments[0].api_key.as_ref().unwrap().expose(), "sk-from-env");
    assert_eq!(print(&warnings), "");
    let expected = "config.yaml:5:17: warning: model_list[0].litellm_params.api_base: no `api_key`: the key in `OPENAI_API_KEY` is sent to this address\n";
    assert_eq!(findings(&format!("{text}      api_base: http://localhost:1\n")), expected);
    let expected = "config.yaml:4:7: error: model_list[0].litellm_params: no `api_key`, and no environment variable of `ANTHROPIC_API_KEY` is set\n";
    assert_eq!(findings(&text.replace("gpt-4o", "claude-x")), expected);
    let expected = "config.yaml:4:7: error: model_list[0].litellm_params: missing key `api_base`: `hosted_vllm` has no public address\n";
    assert_eq!(findings(&text.replace("gpt-4o", "hosted_vllm/m")), expected);
}

#[test]
fn ids_are_stable_and_do_not_depend_on_keys() {
    let two = |first: &str, second: &str| {
        let item = |key: &str| {
            format!("  - model_name: a\n    litellm_params: {{model: openai/m, api_key: {key}}}\n")
        };
        let (config, _) = parse(&format!("model_list:\n{}{}", item(first), item(second)));
        [config.deployments[0].id.clone(), config.deployments[1].id.clone()]
    };
    assert_eq!(two("k1", "k2"), two("k3", "k4"));
    assert_ne!(two("k1", "k2")[0], two("k1", "k2")[1]);
    assert_eq!(two("k1", "k2")[0].len(), 64);
    let info = "    model_info: {id: x}\n";
    let text = one(info) + "  - model_name: b\n    litellm_params: {model: openai/n, api_key: k}\n" + info;
    assert_eq!(
        findings(&text),
        "config.yaml:7:5: error: model_list: `model_info.id` is that of another deployment\n"
    );
}

#[test]
fn resolves_like_litellm() {
    let item = |(name, model): (&str, &str)| {
        format!("  - model_name: '{name}'\n    litellm_params: {{model: '{model}', api_key: k}}\n")
    };
    let items = [
        ("openai/*", "openai/*"),
        ("openai/gpt-4*", "groq/gpt-4*"),
        ("*", "openrouter/*"),
        ("exact", "openai/gpt-4o"),
        ("exact", "groq/llama"),
        ("le/*::*", "custom_openai/*-*"),
        ("openai/fixed", "openai/f"),
    ];
    let mut text = format!("model_list:\n{}", items.map(item).concat());
    text += "router_settings: {model_group_alias: {short: exact, long: {model: openai/x, hidden: true}}}\n";
    let text = text.replace("custom_openai/*-*', api_key: k", "custom_openai/*-*', api_base: 'http://h'");
    let (config, warnings) = parse(&text);
    assert_eq!(print(&warnings), "");
    let resolve = |model: &str| {
        let resolved = config.resolve(model).unwrap_or_else(|| panic!("{model}"));
        let candidates = resolved.candidates.iter();
        let models =
            candidates.map(|it| format!("{}/{}", it.deployment.provider.id, it.model)).collect::<Vec<_>>();
        (resolved.candidates[0].deployment.alias.clone(), models.join(" "))
    };
    let cases = [
        ("openai/gpt-4o", "openai/gpt-4*", "groq/gpt-4o"),
        ("openai/o3", "openai/*", "openai/o3"),
        ("openai/", "openai/*", "openai/"),
        ("anthropic/claude", "*", "openrouter/anthropic/claude"),
        ("exact", "exact", "openai/gpt-4o groq/llama"),
        ("short", "exact", "openai/gpt-4o groq/llama"),
        ("long", "openai/*", "openai/x"),
        ("le/a::b", "le/*::*", "custom_openai/a-b"),
        ("openai/fixed", "openai/fixed", "openai/f"),
        ("gpt-4o", "*", "openrouter/gpt-4o"),
    ];
    for (model, group, models) in cases {
        assert_eq!(resolve(model), (group.into(), models.into()), "{model}");
    }
    assert!(config.resolve("openai/*").is_none());
    assert_eq!(config.model_names(), ["exact", "openai/fixed", "short"]);
    let (config, _) = parse(&format!("model_list:\n{}", item(("openai/*", "openai/*"))));
    let resolved = config.resolve("gpt-4o").unwrap();
    assert_eq!(resolved.candidates[0].model, "gpt-4o");
    assert_eq!(
        resolved.candidates[0].deployment.chat_url(&resolved.candidates[0].model),
        "https://api.openai.com/v1/chat/completions"
    );
    assert!(config.resolve("claude-x").is_none() && config.resolve("").is_none());
}

#[test]
fn bombs_and_depth_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..8 {
        let references = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{references}]\n");
    }
    let deep = format!("a: {}{}\n", "[".repeat(100), "]".repeat(100));
    for text in [bomb, deep] {
        assert!(
            findings(&text).ends_with("error: too many or too deeply nested values\n"),
            "{}",
            findings(&text)
        );
    }
    let large = "#".repeat(yaml::FILE_LIMIT + 1);
    assert_eq!(findings(&large), "config.yaml: error: the file is larger than 4 MiB\n");
}

#[test]
fn an_empty_file_is_a_warning() {
    for text in ["", "# nothing\n", "model_list: []\n"] {
        assert!(findings(text).ends_with("warning: no `model_list`: there is nothing to call\n"), "{text}");
    }
}

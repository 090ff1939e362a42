//! What a deployment is called with, and what is said where it cannot be.

use super::tests::print;
use super::*;

const HEAD: &str = "model_list:\n  - model_name: a\n    litellm_params:\n";

/// One deployment on Azure, with an environment.
fn azure(model: &str, params: &str, env: &[(&str, &str)]) -> Result<(Config, String), String> {
    let text = format!("{HEAD}      model: {model}\n      api_base: https://h\n{params}");
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    match Config::parse(&text, "config.yaml", &env) {
        Ok((config, warnings)) => Ok((config, print(&warnings))),
        Err(found) => Err(print(&found)),
    }
}

fn credential(model: &str, params: &str, env: &[(&str, &str)]) -> (String, Auth, String) {
    let (config, warnings) = azure(model, params, env).unwrap_or_else(|found| panic!("{found}"));
    let deployment = &config.deployments[0];
    (deployment.api_key.as_ref().unwrap().expose().to_owned(), deployment.auth(), warnings)
}

#[test]
fn a_token_of_entras_is_a_bearer_token() {
    for model in ["azure/m", "azure_ai/m"] {
        let (token, auth, warnings) = credential(model, "      azure_ad_token: t\n", &[]);
        assert_eq!((token.as_str(), auth, warnings.as_str()), ("t", Auth::Bearer, ""), "{model}");
    }
    let named = credential("azure/m", "      azure_ad_token: os.environ/MINE\n", &[("MINE", "t")]);
    assert_eq!((named.0.as_str(), named.1), ("t", Auth::Bearer));
    let of_environment = credential("azure/m", "", &[("AZURE_AD_TOKEN", "t")]);
    assert_eq!((of_environment.0.as_str(), of_environment.1), ("t", Auth::Bearer));
}

#[test]
fn the_file_goes_before_the_environment_and_a_token_before_a_key() {
    let both = [("AZURE_AD_TOKEN", "env-token"), ("AZURE_API_KEY", "env-key")];
    let (key, auth, _) = credential("azure/m", "", &both);
    assert_eq!((key.as_str(), auth), ("env-key", Auth::ApiKey));
    let (key, auth, _) = credential("azure/m", "      api_key: k\n", &both);
    assert_eq!((key.as_str(), auth), ("k", Auth::ApiKey));
    let (token, auth, _) = credential("azure/m", "      azure_ad_token: t\n", &both);
    assert_eq!((token.as_str(), auth), ("t", Auth::Bearer));
    let (token, auth, warnings) =
        credential("azure/m", "      azure_ad_token: t\n      api_key: sk-canary\n", &[]);
    assert_eq!((token.as_str(), auth), ("t", Auth::Bearer));
    assert_eq!(
        warnings,
        "config.yaml:7:16: warning: model_list[0].litellm_params.api_key: is not used: `azure_ad_token` is given too\n"
    );
}

#[test]
fn no_token_goes_to_another_provider_than_azure() {
    let (key, auth, warnings) = credential(
        "poe/m",
        "      api_key: k\n      azure_ad_token: t\n",
        &[("AZURE_AD_TOKEN", "env-token")],
    );
    assert_eq!((key.as_str(), auth), ("k", Auth::Bearer));
    assert_eq!(
        warnings,
        "config.yaml:7:23: warning: model_list[0].litellm_params.azure_ad_token: is for Azure: ignored\n"
    );
    let found = azure("poe/m", "", &[("AZURE_AD_TOKEN", "env-token")]).unwrap_err();
    let expected = "config.yaml:4:7: error: model_list[0].litellm_params: no `api_key`, and no environment variable of `POE_API_KEY` is set\n";
    assert_eq!(found, expected);
}

#[test]
fn what_cannot_be_sent_is_said_with_its_place_and_without_its_value() {
    let at = "model_list[0].litellm_params";
    let unsendable = "holds a space or a character that a header cannot carry";
    let cases = [
        (
            "azure_ad_token: 'sk canary'",
            format!("config.yaml:6:23: error: {at}.azure_ad_token: {unsendable}\n"),
        ),
        (
            "azure_ad_token: oidc/canary",
            format!(
                "config.yaml:6:23: error: {at}.azure_ad_token: tokens of `oidc/` are known to LiteLLM, not supported yet\n"
            ),
        ),
        (
            "azure_ad_token: os.environ/NOT_THERE",
            format!(
                "config.yaml:6:23: error: {at}.azure_ad_token: environment variable `NOT_THERE` is not set or empty\n"
            ),
        ),
        (
            "azure_ad_token: 7",
            format!(
                "config.yaml:6:23: error: {at}.azure_ad_token: expected a string, found a number: put it in quotes\n"
            ),
        ),
        (
            "api_key: k\n      organization: 'canary org'",
            format!("config.yaml:7:21: error: {at}.organization: {unsendable}\n"),
        ),
    ];
    for (line, expected) in cases {
        let found = azure("azure/m", &format!("      {line}\n"), &[]).unwrap_err();
        assert_eq!(found, expected, "{line}");
    }
    let found = azure("azure/m", "", &[("AZURE_AD_TOKEN", "sk canary")]).unwrap_err();
    let expected =
        format!("config.yaml:4:7: error: {at}: environment variable `AZURE_AD_TOKEN`: {unsendable}\n");
    assert_eq!(found, expected);
}

#[test]
fn headers_may_be_given_under_both_names() {
    let params =
        "      api_key: k\n      headers: {X-Team: red, x-other: o}\n      extra_headers: {x-team: blue}\n";
    let (config, warnings) = azure("poe/m", params, &[]).unwrap();
    let headers = &config.deployments[0].extra_headers;
    assert_eq!(
        (&headers["x-team"], &headers["x-other"], headers.len()),
        (&"blue".parse().unwrap(), &"o".parse().unwrap(), 2)
    );
    assert!(headers.values().all(http::HeaderValue::is_sensitive));
    assert_eq!(warnings, "");
    let found = azure("poe/m", "      api_key: k\n      headers: {host: canary}\n", &[]).unwrap_err();
    let expected = "config.yaml:7:17: error: model_list[0].litellm_params.headers.host: not the name of a header that can be set\n";
    assert_eq!(found, expected);
}

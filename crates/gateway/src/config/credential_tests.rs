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
                "config.yaml:6:23: error: {at}.azure_ad_token: `oidc/` must be followed by `file/`, `env/`, `env_path/`, `azure/`, `google/` or `github/`\n"
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

/// Who gets tokens for a deployment, and what was warned of.
fn application(params: &str, env: &[(&str, &str)]) -> (Entra, String) {
    let (config, warnings) = azure("azure/m", params, env).unwrap_or_else(|found| panic!("{found}"));
    let deployment = config.deployments.into_iter().next().unwrap();
    assert!(deployment.api_key.is_none());
    (deployment.entra.unwrap(), warnings)
}

const APP: &str = "      tenant_id: t/1\n      client_id: app\n      client_secret: sk-canary\n";
const APP_VARS: [(&str, &str); 3] =
    [("AZURE_TENANT_ID", "env-t"), ("AZURE_CLIENT_ID", "env-app"), ("AZURE_CLIENT_SECRET", "env-s")];

#[test]
fn an_application_gets_tokens_of_its_own() {
    let (entra, warnings) = application(APP, &[("AZURE_API_KEY", "k"), ("AZURE_AD_TOKEN", "t")]);
    assert_eq!(entra.endpoint, "https://login.microsoftonline.com/t%2F1/oauth2/v2.0/token");
    let told = (entra.client_id.as_str(), entra.scope.as_str(), warnings.as_str());
    assert_eq!(told, ("app", "https://cognitiveservices.azure.com/.default", ""));
    assert!(matches!(&entra.proof, EntraProof::Secret(secret) if secret.expose() == "sk-canary"));
    assert!(!format!("{entra:?}").contains("canary"));
    let env =
        [&APP_VARS[..], &[("AZURE_SCOPE", "env-scope"), ("AZURE_AUTHORITY_HOST", "login.test/")]].concat();
    let (entra, _) = application("", &env);
    assert_eq!(entra.endpoint, "https://login.test/env-t/oauth2/v2.0/token");
    assert_eq!((entra.client_id.as_str(), entra.scope.as_str()), ("env-app", "env-scope"));
    // Where the file names some of it, the environment stands in for the rest.
    let (entra, _) = application("      client_id: app\n      azure_scope: own\n", &env);
    assert_eq!((entra.client_id.as_str(), entra.scope.as_str()), ("app", "own"));
    assert!(matches!(&entra.proof, EntraProof::Secret(secret) if secret.expose() == "env-s"));
}

#[test]
fn a_workload_shows_the_token_that_it_is_given() {
    let path = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    let file = [APP_VARS[0], APP_VARS[1], ("AZURE_FEDERATED_TOKEN_FILE", &*path)];
    let named = |name: &str| format!("      azure_ad_token: oidc/{name}\n");
    let in_file = [
        (String::new(), &file[..]),
        (named("azure/x"), &file),
        (named(&format!("file/{path}")), &file[..2]),
        (named("env_path/AZURE_FEDERATED_TOKEN_FILE"), &file),
    ];
    for (params, env) in in_file {
        let (entra, _) = application(&params, env);
        assert!(
            matches!(&entra.proof, EntraProof::Assertion(Assertion::File(it)) if *it == path),
            "{params}"
        );
    }
    let vars = [APP_VARS[0], APP_VARS[1], ("MINE", "jwt"), ("CIRCLE_OIDC_TOKEN_V2", "jwt")];
    for name in ["env/MINE", "circleci_v2/"] {
        let (entra, _) = application(&named(name), &vars);
        assert!(matches!(&entra.proof, EntraProof::Assertion(Assertion::Text(it)) if it == "jwt"), "{name}");
        assert!(!format!("{entra:?}").contains("jwt"));
    }
    let (entra, _) = application(&named("google/api://a/b"), &vars);
    let expected = Assertion::Google { audience: "api://a/b".to_owned() };
    assert!(matches!(&entra.proof, EntraProof::Assertion(it) if *it == expected));
    let job =
        [("ACTIONS_ID_TOKEN_REQUEST_URL", "https://h/?v=1"), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary")];
    let (entra, _) = application(&named("github/api://a/b"), &[&vars[..2], &job].concat());
    assert!(
        matches!(&entra.proof, EntraProof::Assertion(Assertion::Github { audience, .. }) if audience == "api://a/b")
    );
    assert!(!format!("{entra:?}").contains("canary"));
    let token = [APP_VARS[0], APP_VARS[1], ("AZURE_AD_TOKEN", "oidc/env/MINE"), ("MINE", "jwt")];
    assert!(matches!(application("", &token).0.proof, EntraProof::Assertion(Assertion::Text(_))));
}

#[test]
fn a_key_goes_before_an_application_and_no_other_provider_has_one() {
    let (key, auth, warnings) = credential("azure/m", &format!("{APP}      api_key: k\n"), &[]);
    assert_eq!((key.as_str(), auth), ("k", Auth::ApiKey));
    let at = "model_list[0].litellm_params";
    assert_eq!(
        warnings,
        format!("config.yaml:6:18: warning: {at}.tenant_id: is not used: `api_key` is given too\n")
    );
    let (key, _, _) = credential("azure/m", "", &[&APP_VARS[..], &[("AZURE_API_KEY", "k")]].concat());
    assert_eq!(key, "k");
    let (key, _, warnings) = credential("poe/m", &format!("{APP}      api_key: k\n"), &APP_VARS);
    assert_eq!(key, "k");
    assert_eq!(warnings, format!("config.yaml:6:18: warning: {at}.tenant_id: is for Azure: ignored\n"));
}

#[test]
fn what_is_missing_of_an_application_is_said_with_its_place() {
    let at = "model_list[0].litellm_params";
    let missing = |key: &str, variable: &str| {
        format!(
            "config.yaml:4:7: error: {at}: missing key `{key}`, and no environment variable `{variable}` is set\n"
        )
    };
    /// Lines, an environment, and what is said.
    type Case = (&'static str, &'static [(&'static str, &'static str)], String);
    let cases: [Case; 10] = [
        ("client_secret: sk-canary", &[], missing("tenant_id", "AZURE_TENANT_ID")),
        ("tenant_id: t", &[], missing("client_id", "AZURE_CLIENT_ID")),
        ("tenant_id: t\n      client_id: c", &[], missing("client_secret", "AZURE_CLIENT_SECRET")),
        (
            "tenant_id: t\n      client_id: c",
            &[("AZURE_FEDERATED_TOKEN_FILE", "/canary/none")],
            format!(
                "config.yaml:4:7: error: {at}: environment variable `AZURE_FEDERATED_TOKEN_FILE`: names a file of a token that cannot be read: entity not found\n"
            ),
        ),
        (
            "tenant_id: t\n      client_id: c\n      client_secret: s",
            &[("AZURE_AUTHORITY_HOST", "http://canary.test")],
            format!(
                "config.yaml:4:7: error: {at}: environment variable `AZURE_AUTHORITY_HOST`: must be a URL that begins with https://\n"
            ),
        ),
        (
            "azure_ad_token: oidc/env/NOT_THERE",
            &APP_VARS,
            format!(
                "config.yaml:6:23: error: {at}.azure_ad_token: names a variable of the environment that is not set or empty\n"
            ),
        ),
        (
            "azure_ad_token: oidc/google/",
            &APP_VARS,
            format!(
                "config.yaml:6:23: error: {at}.azure_ad_token: `oidc/google/` must be followed by an audience\n"
            ),
        ),
        (
            "azure_ad_token: oidc/github",
            &APP_VARS,
            format!(
                "config.yaml:6:23: error: {at}.azure_ad_token: `oidc/github/` must be followed by an audience\n"
            ),
        ),
        (
            "azure_ad_token: oidc/github/canary",
            &[("ACTIONS_ID_TOKEN_REQUEST_URL", "https://h/")],
            format!(
                "config.yaml:6:23: error: {at}.azure_ad_token: no environment variable `ACTIONS_ID_TOKEN_REQUEST_TOKEN` is set, as in jobs of GitHub's\n"
            ),
        ),
        (
            "azure_ad_token: oidc/github/canary",
            &[
                ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://canary/"),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary"),
            ],
            format!(
                "config.yaml:6:23: error: {at}.azure_ad_token: environment variable `ACTIONS_ID_TOKEN_REQUEST_URL` or `ACTIONS_ID_TOKEN_REQUEST_TOKEN` cannot be used\n"
            ),
        ),
    ];
    for (lines, env, expected) in cases {
        let found = azure("azure/m", &format!("      {lines}\n"), env).unwrap_err();
        assert_eq!(found, expected, "{lines}");
    }
}

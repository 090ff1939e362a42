//! Credentials that are fetched from clouds: tokens of Entra's for Azure, keys of roles on AWS.

use ziggurat_testkit::{Exchange, Recording};

use crate::{
    client::{Answer, post},
    harness::{Dir, Gateway, Scene},
    samples::{CHAT, ask, recordings},
};

const EMBEDDINGS: &str = "/v1/embeddings";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const TOKEN: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"eyJ.token-canary"}"#;
const REFUSED: &str = r#"{"error":"invalid_client","error_description":"secret-canary is wrong"}"#;

const STS: &str = "<R><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s-canary</SecretAccessKey><SessionToken>t-canary==</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></R>";
const DENIED: &str = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>canary may not</Message></Error></ErrorResponse>";

async fn scene() -> Scene {
    let mut all = recordings();
    all.extend([
        Recording::synthetic("entra", 200, JSON, TOKEN),
        Recording::synthetic("refusing", 401, JSON, REFUSED),
        Recording::synthetic("titan", 200, JSON, r#"{"embedding":[0.5],"inputTextTokenCount":5}"#),
        Recording::synthetic("sts", 200, [("content-type", "text/xml")], STS),
        Recording::synthetic("github", 200, JSON, r#"{"count":1,"value":"eyJ.job-canary"}"#),
        Recording::synthetic("denying", 403, [("content-type", "text/xml")], DENIED),
    ]);
    Scene::with(all).await
}

/// A deployment on Azure without a key.
fn on_azure(scene: Scene, alias: &str, params: &str) -> Scene {
    let base = scene.replay.url("openai");
    scene.section(&format!(
        "  - model_name: {alias}\n    litellm_params: {{model: azure/gpt, api_base: '{base}', num_retries: 0, {params}}}\n"
    ))
}

const APP: &str = "tenant_id: t, client_id: app, client_secret: secret-canary";

#[tokio::test]
async fn deployments_of_an_application_on_azure_share_its_token() {
    let scene = on_azure(on_azure(scene().await, "one", APP), "other", APP);
    let gateway = scene.start_with(&[], &[("AZURE_AUTHORITY_HOST", &scene.replay.url("entra"))]).await;
    for alias in ["one", "other", "one"] {
        assert_eq!(post(gateway.addr, CHAT, &[], &ask(alias, false)).await.status, 200, "{alias}");
    }
    let exchanges = scene.exchanges();
    let [token, calls @ ..] = &exchanges[..] else { panic!("nothing was asked") };
    assert_eq!(token.path, "/r/entra/t/oauth2/v2.0/token");
    assert_eq!(
        token.body,
        "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default&client_secret=secret-canary"
    );
    assert_eq!(calls.len(), 3);
    for call in calls {
        assert_eq!(call.headers["authorization"], "Bearer eyJ.token-canary");
        assert!(call.headers.get("api-key").is_none() && call.path.contains("/openai/deployments/gpt/"));
    }
    let ended = gateway.stop().await;
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_workloads_token_is_read_when_it_is_shown() {
    let dir = Dir::new("");
    let file = dir.file("token", "workload.1\n");
    let scene = on_azure(scene().await, "one", "azure_scope: 'https://own/.default'");
    let env = [
        ("AZURE_AUTHORITY_HOST", &*scene.replay.url("entra")),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_FEDERATED_TOKEN_FILE", &file),
    ];
    let gateway = scene.start_with(&[], &env).await;
    dir.file("token", "workload.2\n");
    assert_eq!(post(gateway.addr, CHAT, &[], &ask("one", false)).await.status, 200);
    assert_eq!(
        scene.exchanges()[0].body,
        "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fown%2F.default&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=workload.2"
    );
}

#[tokio::test]
async fn a_refusal_of_entras_is_the_operators_to_know() {
    let scene = on_azure(scene().await, "one", APP);
    let gateway = scene.start_with(&[], &[("AZURE_AUTHORITY_HOST", &scene.replay.url("refusing"))]).await;
    let answer = post(gateway.addr, CHAT, &[], &ask("one", false)).await;
    answer.is(
        500,
        r#"{"error":{"message":"the deployment has no usable credential","type":"server_error","param":null,"code":"server_error"}}"#,
    );
    let ended = gateway.stop().await;
    assert!(
        ended.stderr.contains("an access token cannot be fetched: it answers with 401"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

/// A deployment on Bedrock without keys.
fn on_aws(scene: Scene, alias: &str, sts: &str, params: &str) -> Scene {
    let (base, sts) = (scene.replay.url("titan"), scene.replay.url(sts));
    scene.section(&format!(
        "  - model_name: {alias}\n    litellm_params: {{model: bedrock/amazon.titan-embed-text-v2:0, aws_region_name: eu-west-1, \
         aws_bedrock_runtime_endpoint: '{base}', aws_sts_endpoint: '{sts}', num_retries: 0{params}}}\n"
    ))
}

async fn embed(gateway: &Gateway, alias: &str) -> Answer {
    post(gateway.addr, EMBEDDINGS, &[], &format!(r#"{{"model":"{alias}","input":"a"}}"#)).await
}

/// Who signed a request, for what, and with which session.
fn signer(exchange: &Exchange) -> (String, Option<String>) {
    let text = |name: &str| exchange.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let signed = text("authorization").unwrap_or_default();
    let signed = signed.strip_prefix("AWS4-HMAC-SHA256 Credential=").unwrap_or_default();
    let parts: Vec<&str> = signed.split(['/', ',']).collect();
    let who = if parts.len() > 3 { format!("{} {} {}", parts[0], parts[2], parts[3]) } else { String::new() };
    (who, text("x-amz-security-token"))
}

fn told(who: &str, session: Option<&str>) -> (String, Option<String>) {
    (who.to_owned(), session.map(str::to_owned))
}

const ROLE: &str = "arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr";
const OF_ROLE: (&str, Option<&str>) = ("ASIAROLE eu-west-1 bedrock", Some("t-canary=="));

#[tokio::test]
async fn deployments_of_a_role_on_aws_share_its_keys() {
    let params = ", aws_role_name: 'arn:aws:iam::1:role/r', aws_session_name: me, aws_external_id: x, \
                  aws_access_key_id: AKIAOWN, aws_secret_access_key: secret-canary";
    let scene = on_aws(on_aws(scene().await, "one", "sts", params), "other", "sts", params);
    let gateway = scene.start(&[]).await;
    for alias in ["one", "other", "one"] {
        assert_eq!(embed(&gateway, alias).await.status, 200, "{alias}");
    }
    let exchanges = scene.exchanges();
    let [assumed, calls @ ..] = &exchanges[..] else { panic!("nothing was asked") };
    assert_eq!(assumed.path, "/r/sts");
    let form = format!("Action=AssumeRole&Version=2011-06-15&RoleArn={ROLE}&RoleSessionName=me&ExternalId=x");
    assert_eq!((&assumed.body[..], signer(assumed)), (form.as_bytes(), told("AKIAOWN eu-west-1 sts", None)));
    assert_eq!(calls.len(), 3);
    for call in calls {
        assert_eq!(signer(call), told(OF_ROLE.0, OF_ROLE.1));
    }
    let ended = gateway.stop().await;
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_pods_token_assumes_its_role_and_that_another() {
    let dir = Dir::new("");
    let file = dir.file("token", "web.1\n");
    let env = [("AWS_WEB_IDENTITY_TOKEN_FILE", &*file), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")];
    let scene = on_aws(scene().await, "own", "sts", "");
    let scene = on_aws(scene, "same", "sts", ", aws_role_name: 'arn:aws:iam::1:role/r'");
    let scene = on_aws(scene, "next", "sts", ", aws_role_name: 'arn:aws:iam::2:role/n'");
    let scene = on_aws(
        scene,
        "other",
        "sts",
        &format!(", aws_role_name: 'arn:aws:iam::2:role/n', aws_web_identity_token: oidc/file/{file}"),
    );
    let gateway = scene.start_with(&[], &env).await;
    let web = |role: &str, token: &str| {
        format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={role}&RoleSessionName=ziggurat&WebIdentityToken={token}"
        )
    };
    let next = "arn%3Aaws%3Aiam%3A%3A2%3Arole%2Fn";
    dir.file("token", "web.2");
    for alias in ["own", "same"] {
        assert_eq!(embed(&gateway, alias).await.status, 200, "{alias}");
    }
    assert_eq!(embed(&gateway, "next").await.status, 200);
    assert_eq!(embed(&gateway, "other").await.status, 200);
    let exchanges = scene.exchanges();
    let asked: Vec<_> = exchanges.iter().filter(|it| it.path == "/r/sts").collect();
    let forms: Vec<_> = asked.iter().map(|it| String::from_utf8(it.body.to_vec()).unwrap()).collect();
    let chained = format!("Action=AssumeRole&Version=2011-06-15&RoleArn={next}&RoleSessionName=ziggurat");
    assert_eq!(forms, [web(ROLE, "web.2"), chained, web(next, "web.2")]);
    assert_eq!(signer(asked[0]), told("", None));
    assert_eq!(signer(asked[1]), told("ASIAROLE eu-west-1 sts", Some("t-canary==")));
    for call in exchanges.iter().filter(|it| it.path != "/r/sts") {
        assert_eq!(signer(call), told(OF_ROLE.0, OF_ROLE.1));
    }
}

#[tokio::test]
async fn a_job_of_githubs_is_who_it_is_on_aws_and_on_azure() {
    let scene =
        on_azure(scene().await, "azure", "tenant_id: t, client_id: app, azure_ad_token: oidc/github/api://a");
    let scene = on_aws(
        scene,
        "aws",
        "sts",
        ", aws_role_name: 'arn:aws:iam::1:role/r', aws_web_identity_token: oidc/github/sts.amazonaws.com",
    );
    let env = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", &*format!("{}/token?api-version=2.0", scene.replay.url("github"))),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "bearer-canary"),
        ("AZURE_AUTHORITY_HOST", &scene.replay.url("entra")),
    ];
    let gateway = scene.start_with(&[], &env).await;
    assert_eq!(scene.asked(), 0);
    assert_eq!(embed(&gateway, "aws").await.status, 200);
    assert_eq!(post(gateway.addr, CHAT, &[], &ask("azure", false)).await.status, 200);
    let exchanges = scene.exchanges();
    assert_eq!(exchanges[0].path, "/r/github/token?api-version=2.0&audience=sts.amazonaws.com");
    assert_eq!(exchanges[0].headers["authorization"], "Bearer bearer-canary");
    let form = |at: usize| String::from_utf8(exchanges[at].body.to_vec()).unwrap();
    assert!(form(1).ends_with("&WebIdentityToken=eyJ.job-canary"), "{}", form(1));
    assert_eq!(exchanges[3].path, "/r/github/token?api-version=2.0&audience=api%3A%2F%2Fa");
    assert!(form(4).ends_with("&client_assertion=eyJ.job-canary"), "{}", form(4));
    assert_eq!(exchanges.len(), 6);
    let ended = gateway.stop().await;
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[tokio::test]
async fn what_keeps_a_job_from_its_token_is_the_operators_to_know() {
    let scene = on_aws(
        scene().await,
        "aws",
        "sts",
        ", aws_role_name: 'arn:aws:iam::1:role/r', aws_web_identity_token: oidc/github/a",
    );
    let env = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", &*scene.replay.url("refusing")),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "bearer-canary"),
    ];
    let gateway = scene.start_with(&[], &env).await;
    assert_eq!(embed(&gateway, "aws").await.status, 500);
    let ended = gateway.stop().await;
    assert!(ended.stderr.contains("the workload's token: it answers with 401"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[tokio::test]
async fn the_role_of_a_profile_is_assumed_with_the_keys_of_its_source() {
    let dir = Dir::new("");
    let config = dir.file(
        "config",
        "[profile work]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\nrole_session_name = me\nexternal_id = x\n",
    );
    let keys =
        dir.file("credentials", "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = s-canary\n");
    let env = [("AWS_CONFIG_FILE", &*config), ("AWS_SHARED_CREDENTIALS_FILE", &*keys)];
    let scene = on_aws(scene().await, "one", "sts", ", aws_profile_name: work");
    let gateway = scene.start_with(&[], &env).await;
    assert_eq!(embed(&gateway, "one").await.status, 200);
    let exchanges = scene.exchanges();
    let form = format!("Action=AssumeRole&Version=2011-06-15&RoleArn={ROLE}&RoleSessionName=me&ExternalId=x");
    assert_eq!(
        (&exchanges[0].body[..], signer(&exchanges[0])),
        (form.as_bytes(), told("AKIABASE eu-west-1 sts", None))
    );
    assert_eq!(signer(&exchanges[1]), told(OF_ROLE.0, OF_ROLE.1));
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_the_operators_to_know() {
    let params =
        ", aws_role_name: 'arn:aws:iam::1:role/r', aws_access_key_id: AKIAOWN, aws_secret_access_key: canary";
    let scene = on_aws(scene().await, "one", "denying", params);
    let gateway = scene.start(&[]).await;
    embed(&gateway, "one").await.is(
        500,
        r#"{"error":{"message":"the deployment has no usable credential","type":"server_error","param":null,"code":"server_error"}}"#,
    );
    let ended = gateway.stop().await;
    let why = "no AWS keys: AWS's security token service answered 403 (AccessDenied)";
    assert!(ended.stderr.contains(why), "{}", ended.stderr);
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

//! The routes beside the models' own, and which model answers.

use http::Method;

use crate::{
    client::{Answer, Raw, get, post},
    harness::{Gateway, Scene, guarded},
    samples::{ANTHROPIC_WHOLE, Api, CHAT, MESSAGES, OPENAI_WHOLE, ask},
};

const BEARER: &str = "authorization: Bearer sk-master-canary";

async fn call(gateway: &Gateway, method: Method, path: &str, headers: &str) -> Answer {
    let mut raw: Raw = gateway.connect().await;
    raw.send(format!("{method} {path} HTTP/1.1\r\nhost: h\r\n{headers}content-length: 0\r\n\r\n")).await;
    if method == Method::HEAD { raw.head().await } else { raw.answer().await }
}

#[tokio::test]
async fn health_is_for_everyone() {
    let scene = Scene::new().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    for path in ["/health/liveliness", "/health/liveness", "/health/liveliness/"] {
        let answer = call(&gateway, Method::GET, path, "").await;
        answer.is(200, r#""I'm alive!""#);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let ready = r#"{"status":"healthy","db":"Not connected"}"#;
    call(&gateway, Method::GET, "/health/readiness", "").await.is(200, ready);
    let head = call(&gateway, Method::HEAD, "/health/readiness", "").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("41")));
}

#[tokio::test]
async fn models_are_listed_in_both_shapes() {
    let scene = Scene::new()
        .await
        .model("gpt", Api::OpenAi.model(), "openai", &[])
        .model("gpt", "openai/gpt-4o-mini", "openai", &[])
        .model("any/*", "openai/*", "openai", &[])
        .model("claude", Api::Anthropic.model(), "anthropic", &[])
        .section("router_settings:\n  model_group_alias: {short: gpt, secret: {model: gpt, hidden: true}}\n")
        .section(&guarded());
    let gateway = scene.start(&[]).await;
    let openai = r#"{"object":"list","data":[{"id":"gpt","object":"model","created":0,"owned_by":"ziggurat"},{"id":"claude","object":"model","created":0,"owned_by":"ziggurat"},{"id":"short","object":"model","created":0,"owned_by":"ziggurat"}]}"#;
    let anthropic = r#"{"data":[{"type":"model","id":"gpt","display_name":"gpt","created_at":"1970-01-01T00:00:00Z"},{"type":"model","id":"claude","display_name":"claude","created_at":"1970-01-01T00:00:00Z"},{"type":"model","id":"short","display_name":"short","created_at":"1970-01-01T00:00:00Z"}],"first_id":"gpt","last_id":"short","has_more":false}"#;
    for path in ["/v1/models", "/models", "/v1/models?limit=1000"] {
        get(gateway.addr, path, &[BEARER]).await.is(200, openai);
        let headers = ["x-api-key: sk-master-canary", "anthropic-version: 2023-06-01"];
        get(gateway.addr, path, &headers).await.is(200, anthropic);
        assert_eq!(get(gateway.addr, path, &[]).await.status, 401);
    }
    let google = r#"{"models":[{"name":"models/gpt","displayName":"gpt"},{"name":"models/claude","displayName":"claude"},{"name":"models/short","displayName":"short"}]}"#;
    get(gateway.addr, "/v1beta/models?pageSize=50", &["x-goog-api-key: sk-master-canary"])
        .await
        .is(200, google);
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn a_model_is_told_of_where_something_answers_to_its_name() {
    let scene = Scene::new()
        .await
        .model("a b", Api::OpenAi.model(), "openai", &[])
        .model("any/*", "openai/*", "openai", &[])
        .section(&guarded());
    let gateway = scene.start(&[]).await;
    let anthropic = ["x-api-key: sk-master-canary", "anthropic-version: 2023-06-01"];
    let named = r#"{"id":"a b","object":"model","created":0,"owned_by":"ziggurat"}"#;
    get(gateway.addr, "/v1/models/a%20b", &[BEARER]).await.is(200, named);
    let any = r#"{"id":"any/x","object":"model","created":0,"owned_by":"ziggurat"}"#;
    get(gateway.addr, "/models/any/x", &[BEARER]).await.is(200, any);
    let any = r#"{"type":"model","id":"any/x","display_name":"any/x","created_at":"1970-01-01T00:00:00Z"}"#;
    get(gateway.addr, "/v1/models/any%2Fx", &anthropic).await.is(200, any);
    let google = r#"{"name":"models/a b","displayName":"a b"}"#;
    get(gateway.addr, "/v1beta/models/a%20b", &[BEARER]).await.is(200, google);
    let missing = get(gateway.addr, "/v1/models/nobody", &[BEARER]).await;
    let error = r#"{"error":{"message":"no model answers to the name \"nobody\"","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
    missing.is(404, error);
    let head = call(&gateway, Method::HEAD, "/v1/models/nobody", &format!("{BEARER}\r\n")).await;
    assert_eq!(head.status, 404);
    let missing = get(gateway.addr, "/v1/models/nobody", &anthropic).await;
    assert_eq!((missing.status, missing.body.contains("not_found_error")), (404, true), "{}", missing.body);
    let missing = get(gateway.addr, "/v1beta/models/nobody", &[BEARER]).await;
    assert_eq!((missing.status, missing.body.contains("NOT_FOUND")), (404, true), "{}", missing.body);
    // What Google's paths do not have here is told in Google's shape.
    let missing = post(gateway.addr, "/v1beta/models/a:predict", &[BEARER], "{}").await;
    assert_eq!((missing.status, missing.body.contains("NOT_FOUND")), (404, true), "{}", missing.body);
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn wrong_methods_and_unknown_paths() {
    let scene = Scene::new().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    let bearer = format!("{BEARER}\r\n");
    let openai = |message: &str, code: &str| {
        format!(
            r#"{{"error":{{"message":"{message}","type":"invalid_request_error","param":null,"code":"{code}"}}}}"#
        )
    };
    for (method, path, allow) in [
        (Method::GET, CHAT, "POST"),
        (Method::OPTIONS, CHAT, "POST"),
        (Method::DELETE, "/v1/models", "GET, HEAD"),
        (Method::POST, "/health/liveliness", "GET, HEAD"),
    ] {
        let answer = call(&gateway, method, path, &bearer).await;
        answer.is(405, &openai(&format!("{path} answers to {allow} only"), "method_not_allowed"));
        assert_eq!(answer.header("allow"), Some(allow));
    }
    let answer = call(&gateway, Method::PUT, MESSAGES, &bearer).await;
    answer.is(405, r#"{"type":"error","error":{"type":"invalid_request_error","message":"/v1/messages answers to POST only"}}"#);
    for (method, path) in [(Method::GET, "/"), (Method::POST, "/v1/files"), (Method::OPTIONS, "/x")] {
        let answer = call(&gateway, method.clone(), path, &bearer).await;
        answer.is(404, &openai(&format!("nothing answers at {method} {path}"), "not_found"));
        // Who is lost is not asked for a key.
        assert_eq!(call(&gateway, method, path, "").await.status, 404);
    }
}

#[tokio::test]
async fn requests_have_ids() {
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]);
    let gateway = scene.start(&[]).await;
    let mut seen = std::collections::HashSet::new();
    for path in [CHAT, MESSAGES, "/nowhere"] {
        let answer = post(gateway.addr, path, &["x-request-id: mine"], &ask("gpt", false)).await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(id.starts_with("req_") && id.len() == 28, "{id}");
        assert_eq!(answer.header("x-litellm-call-id"), Some(id.as_str()));
        assert!(seen.insert(id));
    }
}

#[tokio::test]
async fn the_upstream_gets_one_credential_and_nothing_else_of_the_caller() {
    let scene = Scene::new()
        .await
        .model("gpt", Api::OpenAi.model(), "openai", &["extra_headers: {x-team: blue}"])
        .model("claude", Api::Anthropic.model(), "anthropic", &[])
        .section(&guarded());
    let gateway = scene.start(&[]).await;
    let mine = [
        BEARER,
        "cookie: canary",
        "x-forwarded-for: canary",
        "forwarded: for=canary",
        "openai-organization: canary",
        "x-stainless-lang: canary",
        "user-agent: canary",
        "accept-encoding: gzip",
        "baggage: canary",
        "x-replay: canary",
        "connection: x-canary",
        "x-canary: canary",
        "te: trailers",
    ];
    for (alias, path) in [("gpt", CHAT), ("gpt", MESSAGES), ("claude", CHAT), ("claude", MESSAGES)] {
        let body = ask(alias, false).replacen('{', r#"{"user":"u-1","#, usize::from(path == CHAT));
        // What a client may try to choose for itself.
        let path = format!("{path}?api_base=http://canary&api_key=canary");
        assert_eq!(post(gateway.addr, &path, &mine, &body).await.status, 200, "{alias} {path}");
    }
    let bare = |expected: &[&str], headers: &http::HeaderMap| {
        let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(headers.len(), headers.keys_len());
    };
    for exchange in scene.replay.exchanges() {
        let headers = &exchange.headers;
        if exchange.recording.as_deref() == Some("openai") {
            bare(
                &[
                    "accept",
                    "authorization",
                    "content-length",
                    "content-type",
                    "host",
                    "user-agent",
                    "x-team",
                ],
                headers,
            );
            assert_eq!(headers["authorization"], "Bearer sk-provider-canary");
            assert_eq!(headers["x-team"], "blue");
            assert_eq!(exchange.path, "/r/openai/v1/chat/completions");
        } else {
            bare(
                &[
                    "accept",
                    "anthropic-version",
                    "content-length",
                    "content-type",
                    "host",
                    "user-agent",
                    "x-api-key",
                ],
                headers,
            );
            assert_eq!(headers["x-api-key"], "sk-provider-canary");
            assert_eq!(exchange.path, "/r/anthropic/v1/messages");
        }
        assert_eq!(headers["host"], scene.replay.addr().to_string());
        assert!(headers["user-agent"].to_str().unwrap().starts_with("ziggurat/"));
        let sent = String::from_utf8(exchange.body.to_vec()).unwrap();
        assert!(!sent.contains("canary"), "{sent}");
    }
    assert_eq!(scene.asked(), 4);
}

#[tokio::test]
async fn what_names_an_address_in_a_body_leads_nowhere() {
    let scene = Scene::new()
        .await
        .model("gpt", Api::OpenAi.model(), "openai", &[])
        .model("claude", Api::Anthropic.model(), "anthropic", &[])
        .section(&format!("{}  database_url: 'sqlite:keys.db'\n", guarded()));
    let gateway = scene.start(&[]).await;
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", elsewhere.local_addr().unwrap());
    let named = [
        ("api_base", format!("\"{url}\"")),
        ("base_url", format!("\"{url}\"")),
        ("api_key", "\"canary\"".to_owned()),
        ("extra_headers", r#"{"authorization":"Bearer canary"}"#.to_owned()),
        ("extra_body", format!(r#"{{"api_base":"{url}"}}"#)),
        ("custom_llm_provider", "\"azure\"".to_owned()),
    ];
    // As whoever has the master key, and as whoever has any other.
    let virtual_key = post(gateway.addr, "/key/generate", &[BEARER], "{}").await;
    let virtual_key: serde_json::Value = serde_json::from_str(&virtual_key.body).unwrap();
    let low = format!("authorization: Bearer {}", virtual_key["key"].as_str().unwrap());
    for (name, value) in named {
        for (alias, path) in [("gpt", CHAT), ("claude", CHAT), ("claude", MESSAGES), ("gpt", MESSAGES)] {
            let body = ask(alias, false).replacen('{', &format!("{{\"{name}\":{value},"), 1);
            for key in [BEARER, &*low] {
                let answer = post(gateway.addr, path, &[key], &body).await;
                let message = format!("`{name}` is for the gateway's operator to say, not for a request");
                let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!(
                    (answer.status, &said["error"]["message"]),
                    (400, &message.into()),
                    "{name} {path}"
                );
            }
        }
    }
    assert_eq!(scene.asked(), 0);
    let image = format!(
        r#"{{"model":"claude","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{url}/x.png"}}}}]}}]}}"#
    );
    assert_eq!(post(gateway.addr, CHAT, &[&low], &image).await.status, 200);
    for exchange in scene.replay.exchanges() {
        assert_eq!(exchange.headers["host"], scene.replay.addr().to_string());
        let keys = ["authorization", "x-api-key"].map(|name| exchange.headers.get_all(name).iter().count());
        assert_eq!(keys.iter().sum::<usize>(), 1);
    }
    assert!(tokio::time::timeout(std::time::Duration::ZERO, elsewhere.accept()).await.is_err());
}

#[tokio::test]
async fn no_field_of_a_body_leads_to_a_model_that_its_key_may_not_use() {
    let scene = Scene::new()
        .await
        .model("gpt", "openrouter/cheap", "openai", &[])
        .model("dear", "openrouter/dear", "openai", &[])
        .section(&format!("{}  database_url: 'sqlite:keys.db'\n", guarded()));
    let gateway = scene.start(&[]).await;
    let key = post(gateway.addr, "/key/generate", &[BEARER], r#"{"models":["gpt"]}"#).await;
    let key: serde_json::Value = serde_json::from_str(&key.body).unwrap();
    let key = format!("authorization: Bearer {}", key["key"].as_str().unwrap());
    for field in [
        r#""models":["openrouter/dear"]"#,
        r#""route":"fallback""#,
        r#""context_window_fallbacks":[{"gpt":["dear"]}]"#,
        r#""Model":"openrouter/dear""#,
        r#""MODEL":"openrouter/dear""#,
        r#""\u004dodel":"openrouter/dear""#,
        r#""preset":"dear""#,
        r#""plugins":[{"id":"x","models":["dear"]}]"#,
        r#""providerOptions":{"gateway":{"models":["dear"]}}"#,
        // Twice, one of them with an escape.
        r#""mode\u006c":"openrouter/dear""#,
    ] {
        for path in [CHAT, MESSAGES] {
            let body = ask("gpt", false);
            for body in [
                body.replacen('{', &format!("{{{field},"), 1),
                format!("{},{field}}}", body.strip_suffix('}').unwrap()),
            ] {
                let answer = post(gateway.addr, path, &[&key], &body).await;
                // Who may use it may fall back to it.
                let status = if field.starts_with(r#""fallbacks""#) { 403 } else { 400 };
                assert_eq!(answer.status, status, "{field} {path}: {}", answer.body);
            }
        }
    }
    // This one names models, and is for those that the key may use.
    for path in [CHAT, MESSAGES] {
        let body = ask("gpt", false).replacen('{', r#"{"fallbacks":["dear"],"#, 1);
        assert_eq!(post(gateway.addr, path, &[&key], &body).await.status, 403);
    }
    assert_eq!(scene.asked(), 0);
    // Where the path names the model, its word is what counts, and what goes upstream.
    let path = |model: &str| format!("/openai/deployments/{model}/chat/completions");
    assert_eq!(post(gateway.addr, &path("dear"), &[&key], &ask("gpt", false)).await.status, 403);
    assert_eq!(post(gateway.addr, &path("gpt"), &[&key], &ask("dear", false)).await.status, 200);
    let sent: serde_json::Value = serde_json::from_slice(&scene.replay.exchanges()[0].body).unwrap();
    assert_eq!((&sent["model"], scene.asked()), (&"cheap".into(), 1));
}

#[tokio::test]
async fn all_of_a_group_are_called_and_wildcards_pass_names_on() {
    let scene = Scene::new()
        .await
        .model("pool", "openai/first", "openai", &[])
        .model("pool", "openai/second", "openai", &[])
        .model("other", "openai/other", "openai", &[])
        .model("\"any/*\"", "openai/*", "openai", &[]);
    let gateway = scene.start(&[]).await;
    for alias in ["other", "any/gpt-5"].into_iter().chain(["pool"; 30]) {
        assert_eq!(post(gateway.addr, CHAT, &[], &ask(alias, false)).await.status, 200);
    }
    let mut models: Vec<String> = scene
        .replay
        .exchanges()
        .iter()
        .map(|exchange| {
            let body: serde_json::Value = serde_json::from_slice(&exchange.body).unwrap();
            body["model"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(models[..2], ["other", "gpt-5"]);
    // By chance, each as often: one of them is left out once in 5 * 10^8 times.
    models.sort_unstable();
    models.dedup();
    assert_eq!(models, ["first", "gpt-5", "other", "second"]);
}

#[tokio::test]
async fn all_four_directions_answer_whole() {
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]).model(
        "claude",
        Api::Anthropic.model(),
        "anthropic",
        &[],
    );
    let gateway = scene.start(&[]).await;
    post(gateway.addr, CHAT, &[], &ask("gpt", false)).await.is(200, OPENAI_WHOLE);
    post(gateway.addr, MESSAGES, &[], &ask("claude", false)).await.is(200, ANTHROPIC_WHOLE);
    let openai: serde_json::Value =
        serde_json::from_str(&post(gateway.addr, CHAT, &[], &ask("claude", false)).await.body).unwrap();
    assert_eq!(openai["choices"][0]["message"]["content"], "Hello");
    let anthropic: serde_json::Value =
        serde_json::from_str(&post(gateway.addr, MESSAGES, &[], &ask("gpt", false)).await.body).unwrap();
    assert_eq!(anthropic["content"][0]["text"], "Hello");
}

use super::*;

/// What is made first, and what is asked for in vain.
async fn set_up() -> (Bench, String) {
    let bench = Bench::new().await;
    bench
        .done("/team/new", json!({"team_id": "t", "members_with_roles": [{"role": "user", "user_id": "m"}]}))
        .await;
    bench.done("/user/new", json!({"user_id": "u", "auto_create_key": false})).await;
    bench.done("/customer/new", json!({"user_id": "c"})).await;
    bench.done("/budget/new", json!({"budget_id": "b"})).await;
    let (_, token) = bench.key(json!({"key_alias": "k"})).await;
    (bench, token)
}

/// The paths that take allowances, each with what else it needs.
fn writers(token: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("/key/generate", json!({})),
        ("/key/update", json!({"key": token})),
        ("/key/regenerate", json!({"key": token})),
        ("/team/new", json!({})),
        ("/team/update", json!({"team_id": "t"})),
        ("/user/new", json!({})),
        ("/user/update", json!({"user_id": "u"})),
        ("/customer/new", json!({"user_id": "c2"})),
        ("/customer/update", json!({"user_id": "c"})),
        ("/budget/new", json!({})),
        ("/budget/update", json!({"budget_id": "b"})),
    ]
}

fn with(needed: &Value, field: &str, raw: &str) -> String {
    let needed = needed.to_string();
    let comma = if needed == "{}" { "" } else { "," };
    format!("{{{}{comma}{}:{raw}}}", &needed[1..needed.len() - 1], Value::from(field))
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_name_and_changes_nothing() {
    let (bench, token) = set_up().await;
    let before = bench.everything().await;
    let cases = [
        ("max_budget", "-1", 400),
        ("max_budget", "-0.000000000001", 400),
        ("max_budget", "1e30", 400),
        ("max_budget", "1000000000000000000000000000000", 400),
        ("max_budget", "1e400", 400),
        ("max_budget", "1e99999", 400),
        ("max_budget", "0.0000000000001", 400),
        ("max_budget", r#""5""#, 422),
        ("max_budget", r#""NaN""#, 422),
        ("max_budget", r#""Infinity""#, 422),
        ("max_budget", "true", 422),
        ("max_budget", "[1]", 422),
        ("max_budget", r#"{"a":1}"#, 422),
        ("soft_budget", "-5", 400),
        ("soft_budget", r#""x""#, 422),
        ("budget_duration", r#""1y""#, 400),
        ("budget_duration", r#""0d""#, 400),
        ("budget_duration", r#""30d; DROP TABLE api_key""#, 400),
        ("budget_duration", r#""""#, 400),
        ("budget_duration", "30", 422),
        ("tpm_limit", "-1", 400),
        ("tpm_limit", "1.5", 422),
        ("tpm_limit", "1e3", 422),
        ("tpm_limit", "9223372036854775808", 400),
        ("tpm_limit", "99999999999999999999999", 400),
        ("rpm_limit", r#""10""#, 422),
        ("max_parallel_requests", "false", 422),
        ("model_max_budget", "5", 422),
        ("model_max_budget", r#"{"m":-1}"#, 400),
        ("model_max_budget", r#"{"m":{"max_budget":-1}}"#, 400),
        ("model_max_budget", r#"{"m":{"budget_limit":1,"time_period":"1y"}}"#, 400),
        ("model_max_budget", r#"{"m":{"budget_limit":1,"max_budget":2}}"#, 400),
        ("model_max_budget", r#"{"m":{"time_period":"1d"}}"#, 422),
        ("model_max_budget", r#"{"m":{"max_budget":1,"tpm_limit":5}}"#, 400),
        ("model_max_budget", r#"{"m":1,"m":2}"#, 400),
        ("model_max_budget", r#"{"a*b":1}"#, 400),
        ("model_max_budget", r#"{"":1}"#, 400),
        ("model_rpm_limit", r#"{"m":-1}"#, 400),
        ("model_tpm_limit", r#"{"m":"1"}"#, 422),
        ("spend", "5", 400),
        ("spend", "-5", 400),
        ("budget_limits", r#"[{"max_budget":1}]"#, 400),
        ("object_permission", r#"{"mcp_servers":["s"]}"#, 400),
        ("budget_reset_at", r#""2030-01-01""#, 400),
        ("nonsense", "1", 400),
        ("nonsense", "0", 400),
        ("", "1", 400),
    ];
    for (path, needed) in writers(&token) {
        for (field, raw, status) in cases {
            let body = with(&needed, field, raw);
            let answer = bench.ask("POST", path, body.as_str()).await;
            let (got, _, param, _) = refusal(&answer);
            assert_eq!(got, status, "{path} {body}: {}", answer.1);
            assert!(param.unwrap().starts_with(field), "{path} {body}: {}", answer.1);
        }
    }
    assert_eq!(bench.everything().await, before);
}

#[tokio::test]
async fn what_asks_for_nothing_is_let_pass_wherever_it_is_said() {
    let (bench, token) = set_up().await;
    let nothing = json!({
        "guardrails": [], "permissions": {}, "budget_limits": null, "object_permission": {}, "enforced_params": null,
        "auto_rotate": false, "send_invite_email": false, "spend": 0, "config": {}, "some_day": "", "policies": null,
    });
    for (path, mut needed) in writers(&token) {
        needed.as_object_mut().unwrap().extend(nothing.as_object().unwrap().clone());
        if path.ends_with("/update") {
            // There it would ask to forget what was spent.
            let (status, answer) = bench.ask("POST", path, needed.to_string()).await;
            assert_eq!((status, answer["error"]["param"].as_str()), (400, Some("spend")), "{path}");
            needed.as_object_mut().unwrap().remove("spend");
        }
        bench.done(path, needed).await;
    }
}

#[tokio::test]
async fn texts_are_stored_as_they_are_or_refused() {
    let (bench, token) = set_up().await;
    let texts: &[(&str, &[&str])] = &[
        ("/key/update", &["key_alias", "user_id", "organization_id"]),
        ("/team/update", &["team_alias", "organization_id"]),
        ("/user/update", &["user_alias", "user_email"]),
        ("/customer/update", &["alias"]),
    ];
    let needed: BTreeMap<_, _> = writers(&token).into_iter().collect();
    for (path, fields) in texts {
        for field in *fields {
            for text in ["'; DROP TABLE api_key; --", "\" OR 1=1", "é漢字🎉", "%s{}$1"] {
                let body = with(&needed[path], field, &Value::from(text).to_string());
                let (status, answer) = bench.ask("POST", path, body).await;
                assert_eq!(status, 200, "{answer}");
                let told = answer.get("data").unwrap_or(&answer);
                assert_eq!(told[*field], text, "{path} {field}");
            }
            for text in [json!("a\u{0}b"), json!("a\nb"), json!(""), json!("x".repeat(257))] {
                let answer = bench.ask("POST", path, with(&needed[path], field, &text.to_string())).await;
                assert_eq!(
                    (refusal(&answer).0, refusal(&answer).2),
                    (400, Some(*field)),
                    "{path} {field} {text}"
                );
            }
            for raw in ["1", "true", "[]", "{}", r#"["a"]"#, r#""\ud800""#] {
                let answer = bench.ask("POST", path, with(&needed[path], field, raw)).await;
                assert_eq!(
                    (refusal(&answer).0, refusal(&answer).2),
                    (422, Some(*field)),
                    "{path} {field} {raw}"
                );
            }
        }
    }
}

#[tokio::test]
async fn ids_that_cannot_be_are_nobody_s() {
    let bench = Bench::new().await;
    for (path, id, list) in [
        ("/team/new", "team_id", None),
        ("/user/new", "user_id", None),
        ("/customer/new", "user_id", None),
        ("/budget/new", "budget_id", None),
        ("/team/delete", "team_ids", Some(())),
        ("/user/delete", "user_ids", Some(())),
        ("/customer/delete", "user_ids", Some(())),
        ("/customer/block", "user_ids", Some(())),
    ] {
        let said = json!("a\u{0}'; --");
        let said = if list.is_some() { json!([said]) } else { said };
        let answer = bench.post(path, json!({id: said})).await;
        assert!(matches!(refusal(&answer).0, 400 | 404), "{path}: {}", answer.1);
    }
    for path in [
        "/team/info?team_id=%00",
        "/user/info?user_id=a%00",
        "/customer/info?end_user_id=%00",
        "/key/info?key=%00",
    ] {
        assert_eq!(refusal(&bench.get(path).await).0, 404, "{path}");
    }
    assert_eq!(bench.everything().await[0]["total_count"], 0);
}

#[tokio::test]
async fn lists_notes_and_flags_are_what_they_are_said_to_be() {
    let (bench, token) = set_up().await;
    for (field, raw, status) in [
        ("models", r#""gpt-4o""#, 422),
        ("models", "[1]", 422),
        ("models", r#"["a*b"]"#, 400),
        ("models", r#"["\u0000"]"#, 400),
        ("tags", r#"{"a":1}"#, 422),
        ("tags", r#"["\u0000"]"#, 400),
        ("aliases", r#"["a"]"#, 422),
        ("aliases", r#"{"a":1}"#, 422),
        ("aliases", r#"{"a":"\u0000"}"#, 400),
        ("allowed_routes", r#""/v1""#, 422),
        ("allowed_routes", r#"["\u0000"]"#, 400),
        ("metadata", r#""x""#, 422),
        ("metadata", r#"{"a":"\u0000"}"#, 400),
        ("metadata", r#"{"tags":"x"}"#, 422),
        ("metadata", r#"{"model_rpm_limit":{"m":1}}"#, 400),
        ("metadata", r#"{"guardrails":["g"]}"#, 400),
        ("blocked", r#""yes""#, 422),
        ("blocked", "1", 422),
        ("duration", r#""soon""#, 400),
        ("duration", r#""-5d""#, 400),
        ("duration", "30", 422),
        ("duration", r#""999999999d""#, 400),
        ("key_type", r#""management""#, 400),
        ("team_id", r#""nowhere""#, 400),
        ("budget_id", r#""nothing""#, 400),
    ] {
        let answer = bench.ask("POST", "/key/update", with(&json!({"key": token}), field, raw)).await;
        assert_eq!(refusal(&answer).0, status, "{field} {raw}: {}", answer.1);
        assert!(refusal(&answer).2.unwrap().starts_with(field), "{field} {raw}: {}", answer.1);
    }
    let deep = format!(r#"{{"key":"{token}","metadata":{{"a":{}1{}}}}}"#, "[".repeat(400), "]".repeat(400));
    assert!(matches!(bench.ask("POST", "/key/update", deep).await.0, 400 | 422));
}

#[tokio::test]
async fn a_body_that_is_none_is_refused_on_every_path() {
    let (bench, _) = set_up().await;
    let before = bench.everything().await;
    let large = format!(r#"{{"key_alias":"{}"}}"#, "x".repeat(1 << 20));
    for path in super::rights::POSTS {
        for (body, status) in [
            ("", 400),
            ("{", 400),
            ("nonsense", 400),
            (r#"{"max_budget":NaN}"#, 400),
            (r#"{"max_budget":Infinity}"#, 400),
            (r#"{"max_budget":01}"#, 400),
            (r#"{"a":1}}"#, 400),
            (r#"{"key":"a","key":"b"}"#, 400),
            ("[]", 422),
            ("null", 422),
            ("\"x\"", 422),
            (large.as_str(), 413),
        ] {
            let answer = bench.ask("POST", path, body).await;
            assert_eq!(refusal(&answer).0, status, "{path} {:.40}: {}", body, answer.1);
        }
        let answer = bench.ask("POST", path, b"{\"\xff\":1}".to_vec()).await;
        assert_eq!(refusal(&answer).0, 400, "{path}");
        let answer = bench.ask("POST", &format!("{path}?team_id=t"), "{}").await;
        assert_eq!((refusal(&answer).0, refusal(&answer).2), (400, Some("team_id")), "{path}");
    }
    assert_eq!(bench.everything().await, before);
}

#[test]
fn a_name_in_an_error_is_short_and_plain() {
    let name = format!("{}\u{1b}[2J", "x".repeat(500));
    let answer = super::super::errors::Refusal::invalid(name, "is wrong").into_response();
    let bytes = answer.body().as_bytes().unwrap();
    let body: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(body["error"]["param"], "x".repeat(100));
}

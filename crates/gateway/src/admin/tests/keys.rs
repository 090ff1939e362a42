use ziggurat_sql::directory::Key;

use super::*;

#[tokio::test]
async fn a_key_is_told_once_and_known_by_its_hash() {
    let bench = Bench::new().await;
    bench.done("/team/new", json!({"team_id": "acme"})).await;
    bench.done("/budget/new", json!({"budget_id": "b", "max_budget": 5})).await;
    bench.told();
    let body = r#"{"key_alias":"prod","duration":"30d","models":["gpt-4o","claude-*"],"aliases":{"fast":"gpt-4o"},
        "allowed_routes":["/v1/chat/completions"],"tags":["t1"],"metadata":{"owner":"me","tags":["t1","t2"]},
        "max_budget":0.30000000001,"soft_budget":1e-1,"budget_duration":"1mo","tpm_limit":100,"rpm_limit":10,
        "max_parallel_requests":3,"model_max_budget":{"gpt-4o":{"budget_limit":"x","time_period":"1d"}},
        "user_id":"u","team_id":"acme","organization_id":"org","budget_id":"b","key_type":"default",
        "send_invite_email":false,"guardrails":[],"permissions":{},"spend":0,"auto_rotate":null}"#;
    let answer = bench.ask("POST", "/key/generate", body).await;
    assert_eq!(
        refusal(&answer),
        (
            422,
            "validation_error",
            Some("model_max_budget.gpt-4o.budget_limit"),
            "model_max_budget.gpt-4o.budget_limit: is not a number"
        )
    );
    let body = body.replace(r#""x""#, "2.5").replace(
        r#""model_max_budget":{"#,
        r#""model_rpm_limit":{"m":1},"model_tpm_limit":{"m":2},"model_max_budget":{"a":7,"b*":{"max_budget":1,"budget_duration":"7d"},"#,
    );
    let (status, made) = bench.ask("POST", "/key/generate/", body).await;
    assert_eq!(status, 200, "{made}");
    let secret = made["key"].as_str().unwrap();
    let token = KeyHash::of(secret.as_bytes()).to_string();
    let name = format!("sk-...{}", &secret[secret.len() - 4..]);
    let mut expected = json!({
        "token": token, "key_name": name, "key_alias": "prod", "spend": 0, "budget_reset_at": "2023-11-14T23:13:20.000000Z",
        "expires": "2023-12-14T22:13:20.000000Z", "models": ["gpt-4o", "claude-*"], "aliases": {"fast": "gpt-4o"},
        "config": {}, "permissions": {}, "user_id": "u", "team_id": "acme", "organization_id": "org",
        "metadata": {"owner": "me", "tags": ["t1", "t2"]}, "tags": ["t1", "t2"],
        "allowed_routes": ["/v1/chat/completions"], "blocked": false,
        "max_budget": 0.300_000_000_01, "soft_budget": 0.1, "budget_duration": "1mo",
        "tpm_limit": 100, "rpm_limit": 10, "max_parallel_requests": 3,
        "model_max_budget": {
            "a": {"max_budget": 7, "budget_duration": null},
            "b*": {"max_budget": 1, "budget_duration": "7d"},
            "gpt-4o": {"max_budget": 2.5, "budget_duration": "1d"},
        },
        "model_tpm_limit": {"m": 2}, "model_rpm_limit": {"m": 1},
        "budget_id": "b", "litellm_budget_table": made["litellm_budget_table"],
        "created_at": "2023-11-14T22:13:20.000000Z", "created_by": "default_user_id",
        "updated_at": "2023-11-14T22:13:20.000000Z",
    });
    assert_eq!(made["litellm_budget_table"]["max_budget"], 5);
    for by in [secret, &token] {
        let info = bench.got(&format!("/key/info?key={by}")).await;
        assert_eq!(info, json!({"key": token, "info": expected}));
    }
    expected["key"] = secret.into();
    expected["token_id"] = token.as_str().into();
    assert_eq!(made, expected);
    assert_eq!(bench.told().last(), Some(&Changed::Key(hash(&token))));
    let stored = bench.directory.get_key(&hash(&token)).await.unwrap();
    assert_eq!(stored.allowance.max_budget, Some(Usd::pico(300_000_000_010)));
}

#[tokio::test]
async fn amounts_are_read_and_told_in_all_their_digits() {
    let bench = Bench::new().await;
    for (text, told) in [
        ("0", "0.0"),
        ("0.000000000001", "0.000000000001"),
        ("123456789012345.678901234567", "123456789012345.678901234567"),
        ("1e3", "1000.0"),
        ("2.5E-6", "0.0000025"),
        ("-0", "0.0"),
    ] {
        let body = format!(r#"{{"max_budget":{text}}}"#);
        let request = Request::builder().method("POST").uri("/budget/new").body(Body::from(body)).unwrap();
        let action = Action::of(&Method::POST, "/budget/new").unwrap().unwrap();
        let response = bench.admin.answer(action, &master(), request).await;
        let bytes = response.into_body().collect_within(1 << 20).await.unwrap();
        let answer = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(answer.contains(&format!(r#""max_budget":{told},"#)), "{answer}");
    }
}

#[tokio::test]
async fn an_update_leaves_what_it_does_not_name_and_clears_what_is_null() {
    let bench = Bench::new().await;
    let (secret, token) = bench
        .key(json!({"key_alias": "a", "max_budget": 1, "models": ["m"], "tags": ["t"], "duration": "1h"}))
        .await;
    bench.told();
    let updated = bench.done("/key/update", json!({"key": secret, "rpm_limit": 5})).await;
    assert_eq!(updated["key"], token);
    let kept = |answer: &Value| {
        json!([
            answer["key_alias"],
            answer["max_budget"],
            answer["models"],
            answer["tags"],
            answer["rpm_limit"],
            answer["expires"]
        ])
    };
    assert_eq!(kept(&updated), json!(["a", 1, ["m"], ["t"], 5, "2023-11-14T23:13:20.000000Z"]));
    assert_eq!(bench.told(), [Changed::Key(hash(&token))]);
    let cleared = json!({"key": token, "max_budget": null, "models": null, "tags": [], "rpm_limit": null, "duration": "-1"});
    assert_eq!(kept(&bench.done("/key/update", cleared).await), json!(["a", null, [], [], null, null]));
    // By its alias, which then stays.
    let updated = bench.done("/key/update", json!({"key_alias": "a", "max_budget": ""})).await;
    assert_eq!(kept(&updated), json!(["a", null, [], [], null, null]));
    let renamed = bench.done("/key/update", json!({"key": token, "key_alias": "b"})).await;
    assert_eq!(renamed["key_alias"], "b");
    let answer = bench.post("/key/update", json!({"key_alias": "a", "rpm_limit": 5})).await;
    assert_eq!(refusal(&answer), (404, "not_found_error", Some("key"), "there is no such key"));
    let answer = bench.post("/key/update", json!({"key": token, "team_id": "nobody"})).await;
    assert_eq!(refusal(&answer), (400, "bad_request_error", Some("team_id"), "team_id: is not known"));
}

#[tokio::test]
async fn blocking_regenerating_and_deleting_are_told_at_once() {
    let bench = Bench::new().await;
    let (secret, token) = bench.key(json!({"max_budget": 5, "budget_duration": "1d"})).await;
    bench.spend(format!("key {token} 1d Europe/Berlin"), "1.25");
    bench.told();
    assert_eq!(bench.done("/key/block", json!({"key": secret})).await["blocked"], true);
    assert_eq!(bench.done("/key/unblock", json!({"key": token})).await["blocked"], false);
    assert_eq!(bench.told(), vec![Changed::Key(hash(&token)); 2]);

    // The account stays, and with it what was spent.
    let made = bench.done(&format!("/key/{secret}/regenerate"), json!({"rpm_limit": 9})).await;
    let (second, second_token) = (made["key"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert_ne!(second, secret);
    assert_eq!(
        (&made["spend"], &made["rpm_limit"], &made["max_budget"]),
        (&json!(1.25), &json!(9), &json!(5))
    );
    assert!(bench.told().contains(&Changed::Key(hash(&token))));
    assert_eq!(bench.get(&format!("/key/info?key={token}")).await.0, 404);

    let custom = "sk-custom.0123456789_ABCDEF";
    let made = bench.done("/key/regenerate", json!({"key": second_token, "new_key": custom})).await;
    assert_eq!(made["key"], custom);
    let custom_token = KeyHash::of(custom.as_bytes()).to_string();
    let answer = bench.post("/key/regenerate", json!({"key": custom, "new_key": custom})).await;
    assert_eq!(refusal(&answer).2, Some("new_key"));
    // A secret that was another's once is none again.
    let (_, other) = bench.key(json!({"rpm_limit": 1})).await;
    let answer =
        bench.post("/key/regenerate", json!({"key": other, "new_key": secret, "rpm_limit": 7})).await;
    assert_eq!((refusal(&answer).0, refusal(&answer).2), (400, Some("key")));
    // Nor is anything changed with it.
    assert_eq!(bench.got(&format!("/key/info?key={other}")).await["info"]["rpm_limit"], 1);

    bench.told();
    let deleted = bench.done("/key/delete", json!({"keys": [custom, other]})).await;
    assert_eq!(deleted, json!({"deleted_keys": [custom_token, other]}));
    let mut told = bench.told();
    told.sort_by_key(|change| format!("{change:?}"));
    let mut both = vec![Changed::Key(hash(&custom_token)), Changed::Key(hash(&other))];
    both.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(told, both);
    assert_eq!(bench.got("/key/list").await["total_count"], 0);
}

#[tokio::test]
async fn a_list_of_keys_is_deleted_whole_or_not_at_all() {
    let bench = Bench::new().await;
    let (secret, token) = bench.key(json!({"key_alias": "one"})).await;
    let answer = bench.post("/key/delete", json!({"keys": [secret, "sk-of-nobody"]})).await;
    let message = "no such key, and so none is deleted: keys[1]";
    assert_eq!(refusal(&answer), (404, "not_found_error", Some("keys"), message));
    let answer = bench.post("/key/delete", json!({"keys": [secret], "key_aliases": ["one", "two"]})).await;
    assert_eq!(refusal(&answer).3, "no such key, and so none is deleted: key_aliases[1]");
    assert_eq!(bench.got("/key/list").await["keys"], json!([token]));
    for nothing in [json!({}), json!({"keys": null})] {
        assert_eq!(refusal(&bench.post("/key/delete", nothing).await).0, 422);
    }
    assert_eq!(refusal(&bench.post("/key/delete", json!({"keys": []})).await).0, 400);
    let deleted = bench.done("/key/delete", json!({"key_aliases": ["one"], "keys": [secret]})).await;
    assert_eq!(deleted, json!({"deleted_keys": [token, "one"]}));
}

#[tokio::test]
async fn keys_are_listed_by_the_page() {
    let bench = Bench::new().await;
    bench.done("/team/new", json!({"team_id": "t"})).await;
    for at in 0..12 {
        let team = (at % 2 == 0).then_some("t");
        bench
            .key(json!({"key_alias": format!("k{at}"), "team_id": team, "user_id": format!("u{}", at % 3)}))
            .await;
    }
    let list = bench.got("/key/list").await;
    assert_eq!((list["keys"].as_array().unwrap().len(), &list["total_count"]), (10, &json!(12)));
    assert_eq!((&list["current_page"], &list["total_pages"]), (&json!(1), &json!(2)));
    let rest = bench.got("/key/list?page=2&size=10&return_full_object=True").await;
    assert_eq!(rest["keys"].as_array().unwrap().len(), 2);
    assert!(rest["keys"][0].get("key").is_none() && rest["keys"][0]["token"].is_string());
    for (query, total) in [
        ("team_id=t", 6),
        ("user_id=u1", 4),
        ("team_id=t&user_id=u1", 2),
        ("key_alias=k%33", 1),
        ("user_id=%00", 0),
    ] {
        assert_eq!(bench.got(&format!("/key/list?{query}")).await["total_count"], total, "{query}");
    }
    for (query, status) in [
        ("size=101", 422),
        ("size=0", 422),
        ("page=0", 422),
        ("page=x", 422),
        ("expand=user", 400),
        ("team_id=%zz", 400),
        ("team_id=a&team_id=b", 400),
        ("return_full_object=2", 422),
    ] {
        assert_eq!(refusal(&bench.get(&format!("/key/list?{query}")).await).0, status, "{query}");
    }
    assert_eq!(bench.got("/key/list?include_team_keys=false&sort_by=").await["total_count"], 12);
}

#[tokio::test]
async fn only_what_looks_like_a_key_becomes_one() {
    let bench = Bench::new().await;
    for key in [
        "",
        "sk-",
        "sk-short",
        "pk-0123456789abcdef",
        "sk-0123456789abcde ",
        "sk-0123456789abcdeé",
        &"k".repeat(64),
    ] {
        let answer = bench.post("/key/generate", json!({"key": key})).await;
        assert_eq!((refusal(&answer).0, refusal(&answer).2), (400, Some("key")), "{key}");
    }
    let longest = format!("sk-{}", "a".repeat(200));
    assert_eq!(bench.done("/key/generate", json!({"key": longest})).await["key_name"], "sk-...aaaa");
    let answer = bench.post("/key/generate", json!({"key": longest})).await;
    assert_eq!((refusal(&answer).0, refusal(&answer).2), (400, Some("key")));
    assert_eq!(bench.post("/key/generate", json!({"key": format!("{longest}a")})).await.0, 400);
    // Nor is it shown by another name.
    let answer = bench
        .post("/key/generate", json!({"key": "sk-0123456789abcdef", "key_alias": "sk-0123456789abcdef"}))
        .await;
    assert_eq!((refusal(&answer).0, refusal(&answer).2), (400, Some("key_alias")));
    let known = Key::new(KeyHash::of(b"x"));
    assert_eq!(known.alias, None);
}

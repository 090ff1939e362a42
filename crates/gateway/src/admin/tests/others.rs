use super::*;

#[tokio::test]
async fn a_user_is_made_with_a_key_and_its_teams() {
    let bench = Bench::new().await;
    bench.done("/team/new", json!({"team_id": "a"})).await;
    bench.done("/team/new", json!({"team_id": "b"})).await;
    let body = json!({
        "user_id": "u", "user_email": "u@x.y", "user_alias": "U", "user_role": "internal_user", "max_budget": 9,
        "budget_duration": "7d", "models": ["m"], "metadata": {"a": {"b": 1}}, "key_alias": "first", "duration": "1d",
        "teams": ["a", {"team_id": "b", "max_budget_in_team": 2, "user_role": "admin"}],
    });
    let made = bench.done("/user/new", body).await;
    let secret = made["key"].as_str().unwrap();
    let token = KeyHash::of(secret.as_bytes()).to_string();
    assert_eq!(
        (&made["token"], &made["user_id"], &made["teams"]),
        (&json!(token), &json!("u"), &json!(["a", "b"]))
    );
    assert_eq!((&made["max_budget"], &made["spend"]), (&json!(9), &json!(0)));
    bench.spend("user u 7d Europe/Berlin", "1");
    let info = bench.got("/user/info?user_id=u").await;
    assert_eq!((&info["user_id"], &info["user_info"]["spend"]), (&json!("u"), &json!(1)));
    assert_eq!(
        (&info["user_info"]["metadata"], &info["user_info"]["user_role"]),
        (&json!({"a": {"b": 1}}), &json!("internal_user"))
    );
    let key = &info["keys"][0];
    assert_eq!(
        json!([key["key_alias"], key["user_id"], key["models"], key["max_budget"]]),
        json!(["first", "u", ["m"], null])
    );
    assert_eq!(info["teams"][1]["members_with_roles"], json!([{"user_id": "u", "role": "admin"}]));

    let made = bench.done("/user/new", json!({"auto_create_key": false})).await;
    assert!(made.get("key").is_none());
    assert_eq!(made["user_id"].as_str().unwrap().len(), 36);
    let list = bench.got("/user/list?page_size=1&page=2").await;
    assert_eq!(
        json!([list["total"], list["page"], list["page_size"], list["total_pages"]]),
        json!([2, 2, 1, 2])
    );
}

#[tokio::test]
async fn a_user_that_cannot_be_leaves_nothing_behind() {
    let bench = Bench::new().await;
    bench.done("/team/new", json!({"team_id": "a"})).await;
    bench.done("/user/new", json!({"user_id": "u", "user_email": "u@x.y", "key_alias": "taken"})).await;
    // A key may name a user before it is known, and keeps on being there.
    bench.key(json!({"user_id": "new"})).await;
    let before = bench.everything().await;
    for (body, status, param) in [
        (json!({"user_id": "u"}), 409, "user_id"),
        (json!({"user_id": "new", "user_email": "u@x.y"}), 409, "user_email"),
        (json!({"user_id": "new", "teams": ["a"], "key_alias": "taken"}), 409, "key_alias"),
        (json!({"user_id": "new", "teams": ["a", "nowhere"]}), 400, "team_id"),
        (json!({"user_id": "new", "teams": ["a"], "budget_id": "nothing"}), 400, "budget_id"),
        (json!({"user_id": "new", "teams": ["a"], "user_role": "proxy_admin_viewer"}), 400, "user_role"),
        (json!({"user_id": "new", "teams": ["a"], "user_role": "god"}), 422, "user_role"),
        (json!({"user_id": "new", "teams": ["a", "a"]}), 400, "teams[1]"),
        (json!({"user_id": "new", "organizations": ["o"]}), 400, "organizations"),
        (json!({"user_id": "new", "password": "p"}), 400, "password"),
        (json!({"user_id": "new", "send_invite_email": true}), 400, "send_invite_email"),
    ] {
        let answer = bench.post("/user/new", body.clone()).await;
        assert_eq!((refusal(&answer).0, refusal(&answer).2), (status, Some(param)), "{body}: {}", answer.1);
        assert_eq!(bench.everything().await, before, "{body}");
    }
}

#[tokio::test]
async fn users_are_updated_and_deleted() {
    let bench = Bench::new().await;
    bench.done("/user/new", json!({"user_id": "u", "user_email": "u@x.y", "max_budget": 3})).await;
    bench.done("/user/new", json!({"user_id": "v", "user_email": "v@x.y"})).await;
    bench.told();
    let updated = bench
        .done("/user/update", json!({"user_email": "u@x.y", "max_budget": null, "user_role": "proxy_admin"}))
        .await;
    assert_eq!((&updated["user_id"], &updated["data"]["max_budget"]), (&json!("u"), &json!(null)));
    assert_eq!(updated["data"]["user_email"], "u@x.y");
    assert_eq!(bench.told(), [Changed::All]);
    let answer = bench.post("/user/update", json!({"user_id": "u", "user_email": "v@x.y"})).await;
    assert_eq!((refusal(&answer).0, refusal(&answer).2), (409, Some("user_email")));
    assert_eq!(bench.post("/user/update", json!({"user_id": "nobody"})).await.0, 404);
    assert_eq!(bench.post("/user/update", json!({"max_budget": 1})).await.0, 422);
    let answer = bench.post("/user/delete", json!({"user_ids": ["u", "w"]})).await;
    assert_eq!(refusal(&answer).3, "no such user, and so none is deleted: user_ids[1]");
    assert_eq!(bench.done("/user/delete", json!({"user_ids": ["u", "v"]})).await, 2);
    assert_eq!(bench.got("/key/list").await["total_count"], 0);
}

#[tokio::test]
async fn customers_have_a_budget_of_their_own_or_that_of_all() {
    let bench = Bench::with(Options::default().customer_budget("all")).await;
    bench.done("/budget/new", json!({"budget_id": "all", "max_budget": 1, "budget_duration": "1d"})).await;
    bench.done("/budget/new", json!({"budget_id": "paid", "max_budget": 20})).await;
    bench.told();
    let made = bench.done("/customer/new", json!({"user_id": "c", "alias": "C", "budget_id": "paid"})).await;
    assert_eq!(
        json!([
            made["user_id"],
            made["alias"],
            made["blocked"],
            made["spend"],
            made["litellm_budget_table"]["max_budget"]
        ]),
        json!(["c", "C", false, 0, 20])
    );
    assert_eq!(bench.told(), [Changed::Customer("c".to_owned())]);
    bench.spend("end_user c lifetime", "4");
    bench.spend("end_user d 1d Europe/Berlin", "0.5");
    assert_eq!(bench.got("/end_user/info?end_user_id=c").await["spend"], 4);
    let blocked = bench.done("/customer/block", json!({"user_ids": ["c", "d"]})).await;
    let seen = blocked["blocked_users"].as_array().unwrap();
    assert_eq!(json!([seen[0]["blocked"], seen[1]["blocked"], seen[1]["spend"]]), json!([true, true, 0.5]));
    let answer = bench.post("/end_user/unblock", json!({"user_ids": ["c", "e"]})).await;
    assert_eq!(refusal(&answer).3, "no such customer, and so none is unblocked: user_ids[1]");
    let answer = bench.post("/customer/block", json!({"user_ids": ["f", "a\nb"]})).await;
    assert_eq!((refusal(&answer).0, refusal(&answer).2), (400, Some("user_ids")));
    bench.done("/customer/unblock", json!({"user_ids": ["c"]})).await;
    let updated =
        bench.done("/customer/update", json!({"user_id": "c", "budget_id": null, "max_budget": 7})).await;
    assert_eq!(
        json!([updated["budget_id"], updated["litellm_budget_table"]["max_budget"]]),
        json!([null, 7])
    );
    assert_eq!(bench.got("/customer/list").await.as_array().unwrap().len(), 2);
    let deleted = bench.done("/customer/delete", json!({"user_ids": ["c", "d"]})).await;
    assert_eq!(
        deleted,
        json!({"deleted_customers": 2, "message": "Successfully deleted customers with ids: c, d"})
    );
    let answer = bench.get("/customer/info?end_user_id=c").await;
    assert_eq!(refusal(&answer), (404, "not_found_error", Some("user_id"), "there is no such customer"));
    for body in
        [json!({"user_id": "x", "default_model": "m"}), json!({"user_id": "x", "allowed_model_region": "eu"})]
    {
        assert_eq!(bench.post("/customer/new", body).await.0, 400);
    }
    assert_eq!(bench.post("/customer/new", json!({"alias": "x"})).await.0, 422);
}

#[tokio::test]
async fn templates_of_budgets_are_kept_while_they_are_named() {
    let bench = Bench::new().await;
    let made = bench
        .done(
            "/budget/new",
            json!({"budget_id": "b", "max_budget": 3, "budget_duration": "1d", "rpm_limit": 2}),
        )
        .await;
    assert_eq!(json!([made["budget_id"], made["max_budget"], made["rpm_limit"]]), json!(["b", 3, 2]));
    assert_eq!(refusal(&bench.post("/budget/new", json!({"budget_id": "b"})).await).0, 400);
    let (_, token) = bench.key(json!({"budget_id": "b"})).await;
    bench.spend(format!("key {token} 1d Europe/Berlin"), "2.75");
    assert_eq!(bench.got(&format!("/key/info?key={token}")).await["info"]["spend"], 2.75);
    let answer = bench.post("/budget/delete", json!({"id": "b"})).await;
    assert_eq!(refusal(&answer), (400, "bad_request_error", Some("budget_id"), "the budget is in use"));
    assert_eq!(
        bench.done("/budget/update", json!({"budget_id": "b", "max_budget": 4})).await["max_budget"],
        4
    );
    assert_eq!(bench.done("/budget/info", json!({"budgets": ["b", "c"]})).await.as_array().unwrap().len(), 1);
    bench.done("/key/delete", json!({"keys": [token]})).await;
    assert_eq!(bench.done("/budget/delete", json!({"id": "b"})).await["budget_id"], "b");
    assert_eq!(bench.got("/budget/list").await, json!([]));
    assert_eq!(bench.post("/budget/delete", json!({"id": "b"})).await.0, 404);
    assert_eq!(bench.post("/budget/update", json!({"budget_id": "b"})).await.0, 404);
}

#[tokio::test]
async fn without_a_database_all_is_refused_by_name() {
    let admin = Admin::new(
        None,
        Arc::new(|_| {}),
        Arc::new(|_| Box::pin(std::future::ready(None))),
        "UTC".to_owned(),
        Clock::system(),
    );
    let action = Action::of(&Method::GET, "/key/list").unwrap().unwrap();
    let response = admin.answer(action, &master(), Request::new(Body::empty())).await;
    assert_eq!(response.status(), 400);
    let bytes = response.into_body().collect_within(1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let message = "no database is connected: the admin API needs general_settings.database_url";
    assert_eq!(
        body,
        json!({"error": {"message": message, "type": "no_db_connection", "param": null, "code": "400"}})
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_told_as_such_and_copies_are_dropped() {
    let bench = Bench::new().await;
    bench.key(json!({})).await;
    bench.told();
    bench.directory.close().await;
    let answer = bench.get("/key/list").await;
    assert_eq!((refusal(&answer).0, refusal(&answer).1), (503, "internal_server_error"));
    let answer = bench.post("/key/block", json!({"key": "sk-some-key-or-other"})).await;
    assert_eq!(refusal(&answer).0, 503);
    assert_eq!(bench.told(), [Changed::Key(KeyHash::of(b"sk-some-key-or-other"))]);
}

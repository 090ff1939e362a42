use super::*;

#[tokio::test]
async fn a_team_has_what_it_was_made_with() {
    let bench = Bench::new().await;
    let body = json!({
        "team_id": "acme", "team_alias": "Acme", "organization_id": "org", "max_budget": 50, "soft_budget": 40,
        "budget_duration": "30d", "tpm_limit": 1000, "rpm_limit": 100, "models": ["gpt-4o"], "model_aliases": {"a": "b"},
        "tags": ["x"], "metadata": {"note": 1}, "model_rpm_limit": {"gpt-4o": 7}, "team_member_budget": 5,
        "team_member_budget_duration": "1d", "team_member_rpm_limit": 3, "guardrails": null, "admins": [],
        "members_with_roles": [{"role": "admin", "user_id": "boss"}, {"role": "user", "user_email": "a@b.c"}],
    });
    let made = bench.done("/team/new", body.clone()).await;
    for (name, value) in body.as_object().unwrap() {
        let told = &made[name];
        match name.as_str() {
            "members_with_roles" => assert_eq!(told.as_array().unwrap().len(), 2),
            "metadata" => assert_eq!(told, &json!({"note": 1, "tags": ["x"]})),
            "guardrails" => {}
            name if name.starts_with("team_member_") => {
                let name = if name == "team_member_budget" { "max_budget" } else { &name[12..] };
                assert_eq!(&made["team_member_budget_table"][name], value);
            }
            _ => assert_eq!(told, value, "{name}"),
        }
    }
    bench.spend("team acme 1mo Europe/Berlin", "12.5");
    bench.spend("member 4 acme boss 1d Europe/Berlin", "2");
    let (_, token) = bench.key(json!({"team_id": "acme", "user_id": "boss"})).await;
    let info = bench.got("/team/info?team_id=acme").await;
    assert_eq!(info["team_id"], "acme");
    assert_eq!((&info["team_info"]["spend"], &info["keys"][0]["token"]), (&json!(12.5), &json!(token)));
    let memberships = info["team_memberships"].as_array().unwrap();
    let of_boss = memberships.iter().find(|member| member["user_id"] == "boss").unwrap();
    assert_eq!(of_boss["spend"], 2);
    assert_eq!(of_boss["budget_reset_at"], "2023-11-14T23:13:20.000000Z");
    // Who is named and not known becomes known.
    let boss = bench.got("/user/info?user_id=boss").await;
    assert_eq!((&boss["user_info"]["teams"], &boss["keys"][0]["token"]), (&json!(["acme"]), &json!(token)));
    assert_eq!(bench.got("/user/list?user_email=a%40b.c").await["total"], 1);
    let list = bench.got("/team/list?user_id=boss").await;
    assert_eq!((list.as_array().unwrap().len(), &list[0]["keys"][0]["token"]), (1, &json!(token)));
    assert_eq!(bench.got("/team/list?user_id=nobody").await, json!([]));
}

#[tokio::test]
async fn an_update_of_a_team_holds_for_all_its_keys_at_once() {
    let bench = Bench::new().await;
    bench
        .done(
            "/team/new",
            json!({"team_id": "t", "max_budget": 1, "team_member_budget": 1, "team_alias": "x"}),
        )
        .await;
    bench.told();
    let updated = bench
        .done("/team/update", json!({"team_id": "t", "max_budget": null, "team_member_budget": null}))
        .await;
    assert_eq!(updated["team_id"], "t");
    let data = &updated["data"];
    assert_eq!(
        json!([data["max_budget"], data["team_member_budget_table"], data["team_alias"]]),
        json!([null, null, "x"])
    );
    assert_eq!(bench.done("/team/block", json!({"team_id": "t"})).await["blocked"], true);
    assert_eq!(bench.done("/team/unblock", json!({"team_id": "t"})).await["blocked"], false);
    assert_eq!(bench.told(), vec![Changed::All; 3]);
    let answer = bench.post("/team/update", json!({"team_id": "u"})).await;
    assert_eq!(refusal(&answer), (404, "not_found_error", Some("team_id"), "there is no such team"));
    let answer = bench.post("/team/new", json!({"team_id": "t"})).await;
    assert_eq!((refusal(&answer).0, refusal(&answer).2), (400, Some("team_id")));
    assert_eq!(refusal(&bench.post("/team/update", json!({"max_budget": 1})).await).0, 422);
}

#[tokio::test]
async fn members_come_and_go() {
    let bench = Bench::new().await;
    bench.done("/team/new", json!({"team_id": "t"})).await;
    let added = bench
        .done(
            "/team/member_add",
            json!({"team_id": "t", "member": {"role": "user", "user_id": "u"}, "max_budget_in_team": 3}),
        )
        .await;
    assert_eq!(added["members_with_roles"], json!([{"user_id": "u", "role": "user"}]));
    assert_eq!(added["updated_users"][0]["user_id"], "u");
    assert_eq!(added["updated_team_memberships"][0]["litellm_budget_table"]["max_budget"], 3);

    // All of a list or none of it.
    let list = json!([{"role": "user", "user_id": "v"}, {"role": "user", "user_id": "u"}]);
    let answer = bench.post("/team/member_add", json!({"team_id": "t", "member": list})).await;
    assert_eq!((refusal(&answer).0, refusal(&answer).2), (400, Some("user_id")));
    assert_eq!(bench.get("/user/info?user_id=v").await.0, 404);
    let list = json!([{"role": "user", "user_id": "v"}, {"role": "admin", "user_email": "w@x.y"}]);
    let added = bench.done("/team/member_add", json!({"team_id": "t", "member": list})).await;
    assert_eq!(added["members_with_roles"].as_array().unwrap().len(), 3);

    let body =
        json!({"team_id": "t", "user_id": "u", "max_budget_in_team": 4.5, "role": "admin", "tpm_limit": 8});
    assert_eq!(
        bench.done("/team/member_update", body).await,
        json!({"team_id": "t", "user_id": "u", "user_email": null, "role": "admin", "max_budget_in_team": 4.5,
            "budget_duration": null, "tpm_limit": 8, "rpm_limit": null})
    );
    let left = bench.done("/team/member_delete", json!({"team_id": "t", "user_email": "w@x.y"})).await;
    assert_eq!(left["members_with_roles"].as_array().unwrap().len(), 2);
    // An address beside an id is that of the same user.
    let both = json!({"role": "user", "user_id": "n", "user_email": "n@x.y"});
    bench.done("/team/member_add", json!({"team_id": "t", "member": both})).await;
    // Who is out has no keys of the team; other keys of the user, and of the team, stay.
    for body in [json!({"team_id": "t", "user_id": "n"}), json!({"user_id": "n"}), json!({"team_id": "t"})] {
        bench.done("/key/generate", body).await;
    }
    bench.done("/team/member_delete", json!({"team_id": "t", "user_id": "n", "user_email": "n@x.y"})).await;
    let keys = bench.directory.list_keys(&Default::default(), Default::default()).await.unwrap().items;
    let mut left: Vec<_> = keys.iter().map(|key| (key.user.as_deref(), key.team.as_deref())).collect();
    left.sort_unstable();
    assert_eq!(left, [(None, Some("t")), (Some("n"), None)]);
    bench.done("/team/member_add", json!({"team_id": "t", "member": both})).await;
    for (path, body, status) in [
        ("/team/member_delete", json!({"team_id": "t", "user_id": "n", "user_email": "w@x.y"}), 400),
        ("/team/member_delete", json!({"team_id": "t", "user_id": "u", "user_email": "u@x.y"}), 400),
        ("/team/member_delete", json!({"team_id": "t", "user_id": "w"}), 400),
        ("/team/member_delete", json!({"team_id": "no", "user_id": "u"}), 404),
        ("/team/member_delete", json!({"team_id": "t", "user_email": "no@x.y"}), 404),
        ("/team/member_delete", json!({"team_id": "t"}), 422),
        ("/team/member_update", json!({"team_id": "t", "user_id": "w"}), 400),
        ("/team/member_add", json!({"team_id": "no", "member": {"role": "user", "user_id": "u"}}), 404),
        ("/team/member_add", json!({"team_id": "t", "member": {"role": "owner", "user_id": "z"}}), 422),
        ("/team/member_add", json!({"team_id": "t", "member": {"role": "user"}}), 422),
        ("/team/member_add", json!({"team_id": "t", "member": {"user_id": "z"}}), 422),
        (
            "/team/member_add",
            json!({"team_id": "t", "member": {"role": "user", "user_id": "z", "x": 1}}),
            400,
        ),
        ("/team/member_add", json!({"team_id": "t", "member": []}), 422),
        ("/team/member_add", json!({"team_id": "t", "member": "u"}), 422),
    ] {
        assert_eq!(refusal(&bench.post(path, body.clone()).await).0, status, "{path} {body}");
    }
}

#[tokio::test]
async fn a_team_whose_members_cannot_be_is_not_made() {
    let bench = Bench::new().await;
    let before = bench.everything().await;
    for list in [
        json!([{"role": "user", "user_id": "u"}, {"role": "user", "user_id": "u"}]),
        json!([{"role": "user", "user_id": "u"}, {"role": "user", "user_id": "\u{0}"}]),
    ] {
        let answer = bench.post("/team/new", json!({"team_id": "t", "members_with_roles": list})).await;
        assert_eq!((refusal(&answer).0, refusal(&answer).2), (400, Some("user_id")), "{}", answer.1);
    }
    assert_eq!(bench.everything().await, before);
}

#[tokio::test]
async fn teams_are_deleted_with_their_keys_all_or_none() {
    let bench = Bench::new().await;
    bench.done("/team/new", json!({"team_id": "a"})).await;
    bench.done("/team/new", json!({"team_id": "b"})).await;
    bench.key(json!({"team_id": "a"})).await;
    let answer = bench.post("/team/delete", json!({"team_ids": ["a", "c", "b"]})).await;
    assert_eq!(refusal(&answer).3, "no such team, and so none is deleted: team_ids[1]");
    assert_eq!(bench.got("/team/list").await.as_array().unwrap().len(), 2);
    bench.told();
    let deleted = bench.done("/team/delete", json!({"team_ids": ["a", "b", "a"]})).await;
    assert_eq!(deleted, json!({"deleted_teams": ["a", "b"]}));
    assert_eq!(bench.told(), vec![Changed::All; 2]);
    assert_eq!(bench.got("/key/list").await["total_count"], 0);
}

use super::*;

/// Every path that is posted to.
pub(super) const POSTS: [&str; 29] = [
    "/key/generate",
    "/key/update",
    "/key/delete",
    "/key/block",
    "/key/unblock",
    "/key/regenerate",
    "/key/sk-some-key/regenerate",
    "/team/new",
    "/team/update",
    "/team/delete",
    "/team/member_add",
    "/team/member_delete",
    "/team/member_update",
    "/team/block",
    "/team/unblock",
    "/user/new",
    "/user/update",
    "/user/delete",
    "/customer/new",
    "/customer/update",
    "/customer/delete",
    "/customer/block",
    "/customer/unblock",
    "/end_user/new",
    "/end_user/block",
    "/budget/new",
    "/budget/update",
    "/budget/info",
    "/budget/delete",
];

const GETS: [&str; 10] = [
    "/key/info",
    "/key/list",
    "/team/info",
    "/team/list",
    "/user/info",
    "/user/list",
    "/customer/info",
    "/customer/list",
    "/end_user/list",
    "/budget/list",
];

#[test]
fn paths_are_those_of_litellm() {
    for path in POSTS {
        for path in [path.to_owned(), format!("{path}/")] {
            assert!(matches!(Action::of(&Method::POST, &path), Some(Ok(_))), "{path}");
            assert_eq!(Action::of(&Method::GET, &path), Some(Err("POST")), "{path}");
        }
    }
    for path in GETS {
        for path in [path.to_owned(), format!("{path}/")] {
            assert!(matches!(Action::of(&Method::GET, &path), Some(Ok(_))), "{path}");
            assert_eq!(Action::of(&Method::DELETE, &path), Some(Err("GET")), "{path}");
        }
    }
    for path in [
        "",
        "/",
        "/key",
        "/key/",
        "/key/nothing",
        "/keys/list",
        "//key/list",
        "/key//regenerate",
        "/key/a/b/regenerate",
        "/key/info/x",
        "/team/a/regenerate",
        "/v1/key/list",
        "/key/list//",
        "/KEY/LIST",
        "/model/new",
        "/user/block",
    ] {
        assert_eq!(Action::of(&Method::GET, path), None, "{path}");
        assert_eq!(Action::of(&Method::POST, path), None, "{path}");
    }
}

#[tokio::test]
async fn a_plain_key_may_look_at_its_own_and_nothing_else() {
    let bench = Bench::new().await;
    bench
        .done(
            "/team/new",
            json!({"team_id": "t", "members_with_roles": [
        {"role": "user", "user_id": "u"}, {"role": "user", "user_id": "v"}]}),
        )
        .await;
    bench.done("/team/new", json!({"team_id": "other"})).await;
    let (own, token) = bench.key(json!({"user_id": "u", "team_id": "t"})).await;
    let (_, foreign) = bench.key(json!({"user_id": "v", "team_id": "t"})).await;
    let before = bench.everything().await;
    let who = plain(&token, Some("u"), Some("t"));
    for path in POSTS {
        for body in ["{}", "nonsense", ""] {
            let answer = bench.ask_as(&who, "POST", path, body).await;
            assert_eq!((refusal(&answer).0, refusal(&answer).1), (403, "permission_error"), "{path}");
        }
    }
    for path in GETS.into_iter().filter(|path| !path.ends_with("/info") || path.starts_with("/customer")) {
        assert_eq!(refusal(&bench.ask_as(&who, "GET", path, "").await).0, 403, "{path}");
    }
    for path in [
        format!("/key/info?key={foreign}"),
        "/key/info?key=sk-of-nobody".to_owned(),
        "/team/info?team_id=other".to_owned(),
        "/team/info?team_id=nowhere".to_owned(),
        "/user/info?user_id=v".to_owned(),
        "/user/info?user_id=nobody".to_owned(),
    ] {
        assert_eq!(refusal(&bench.ask_as(&who, "GET", &path, "").await).0, 403, "{path}");
    }
    for path in ["/key/info".to_owned(), format!("/key/info?key={own}"), format!("/key/info?key={token}")] {
        let (status, info) = bench.ask_as(&who, "GET", &path, "").await;
        assert_eq!((status, &info["info"]["token"]), (200, &json!(token)));
    }
    for path in ["/team/info", "/team/info?team_id=t"] {
        let (status, info) = bench.ask_as(&who, "GET", path, "").await;
        assert_eq!((status, &info["team_id"]), (200, &json!("t")));
        // Of the others in the team nothing is told.
        assert!(!info.to_string().contains(&foreign) && !info.to_string().contains("\"v\""), "{info}");
        assert_eq!(info["keys"][0]["token"], token);
        assert_eq!(info["team_memberships"][0]["user_id"], "u");
    }
    for path in ["/user/info", "/user/info?user_id=u"] {
        let (status, info) = bench.ask_as(&who, "GET", path, "").await;
        assert_eq!((status, &info["user_id"]), (200, &json!("u")));
    }
    // Without a user or a team, there is nothing of its own to look at.
    let lone = plain(&token, None, None);
    for path in ["/team/info", "/team/info?team_id=t", "/user/info", "/user/info?user_id=u"] {
        assert_eq!(refusal(&bench.ask_as(&lone, "GET", path, "").await).0, 403, "{path}");
    }
    // Nobody at all.
    for path in ["/key/info", "/team/info", "/user/info"] {
        let answer = bench.ask_as(&Caller::default(), "GET", path, "").await;
        assert_eq!(refusal(&answer).0, 403, "{path}");
    }
    assert_eq!(bench.everything().await, before);
}

#[tokio::test]
async fn nobody_promotes_themselves() {
    let bench = Bench::new().await;
    bench.done("/team/new", json!({"team_id": "t", "max_budget": 1})).await;
    bench.done("/user/new", json!({"user_id": "u", "auto_create_key": false, "max_budget": 1})).await;
    let (own, token) = bench.key(json!({"user_id": "u", "team_id": "t", "max_budget": 1})).await;
    let before = bench.everything().await;
    let who = plain(&token, Some("u"), Some("t"));
    for (path, body) in [
        ("/user/update", json!({"user_id": "u", "user_role": "proxy_admin"})),
        ("/user/update/", json!({"user_id": "u", "max_budget": null})),
        ("/key/update", json!({"key": own, "max_budget": 1000})),
        ("/key/update", json!({"key": own, "allowed_routes": ["management_routes"]})),
        ("/key/update", json!({"key": own, "team_id": null})),
        ("/key/update", json!({"key": own, "models": []})),
        ("/key/generate", json!({"user_id": "u"})),
        ("/key/regenerate", json!({"key": own, "max_budget": null})),
        ("/key/unblock", json!({"key": own})),
        ("/team/update", json!({"team_id": "t", "max_budget": null})),
        ("/team/member_update", json!({"team_id": "t", "user_id": "u", "role": "admin"})),
        ("/team/member_add", json!({"team_id": "t", "member": {"role": "admin", "user_id": "u"}})),
        ("/user/new", json!({"user_role": "proxy_admin"})),
        ("/budget/new", json!({"max_budget": 1_000_000})),
        ("/customer/update", json!({"user_id": "c", "max_budget": null})),
    ] {
        let answer = bench.ask_as(&who, "POST", path, body.clone()).await;
        assert_eq!((refusal(&answer).0, refusal(&answer).1), (403, "permission_error"), "{path} {body}");
    }
    // A field that says who asks is a field like any other.
    let body = json!({"key": own, "user_role": "proxy_admin"});
    assert_eq!(refusal(&bench.post("/key/update", body).await).2, Some("user_role"));
    assert_eq!(bench.everything().await, before);
}

#[tokio::test]
async fn the_key_of_an_administrator_makes_no_administrators_by_chance() {
    let bench = Bench::new().await;
    let made = bench.done("/user/new", json!({"user_id": "root", "user_role": "proxy_admin"})).await;
    let who = Caller { admin: true, ..plain(made["token"].as_str().unwrap(), Some("root"), None) };
    let (status, made) = bench.ask_as(&who, "POST", "/key/generate", "{}").await;
    assert_eq!((status, &made["user_id"], &made["created_by"]), (200, &json!(null), &json!("root")));
    let (status, info) = bench.ask_as(&who, "GET", "/key/info", "").await;
    assert_eq!((status, &info["info"]["user_id"]), (200, &json!("root")));
}

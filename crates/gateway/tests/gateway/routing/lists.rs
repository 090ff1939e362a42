//! Which models stand in, by why the first does not answer, and for whom.

use serde_json::json;

use super::{admin, ask, bearer, call, call_with, entries, new_key, router, start};
use crate::{
    client::post,
    harness::Gateway,
    samples::{Api, CHAT},
    vendor::{Says, Vendor},
};

fn too_long(api: Api) -> Says {
    match api {
        Api::OpenAi => Says::failure(api, 400, "context_length_exceeded", "maximum context length is 8"),
        Api::Anthropic => {
            Says::failure(api, 400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum")
        }
    }
}

fn forbidden(api: Api) -> Says {
    Says::failure(api, 400, "content_policy_violation", "the content policy forbids it")
}

#[tokio::test]
async fn the_cause_of_a_failure_decides_where_its_call_goes() {
    let vendors = Vendor::several(["one", "any", "long", "bold"]).await;
    let lines = [
        "fallbacks: [{m: [any]}]",
        "context_window_fallbacks: [{m: [long]}]",
        "content_policy_fallbacks: [{m: [bold]}]",
    ];
    let gateway = start(&entries(&vendors, ["m", "any", "long", "bold"]), &router(&lines)).await;
    let [one, any, long, bold] = &vendors;
    for (says, answers) in
        [(Says::down(Api::OpenAi), any), (too_long(Api::OpenAi), long), (forbidden(Api::OpenAi), bold)]
    {
        one.says(says);
        for stream in [false, true] {
            let answer = call_with(gateway.addr, "m", json!({"stream": stream})).await;
            assert_eq!((answer.status, answer.says()), (200, answers.hello()));
            assert_eq!(answer.way()[2], "1");
        }
    }
    // What is wrong with a request is wrong everywhere.
    one.says(Says::failure(Api::OpenAi, 400, "invalid_value", "no such temperature"));
    let answer = call(gateway.addr, "m").await;
    assert_eq!((answer.status, &*answer.says(), answer.way()), (400, "invalid_value", ["m@one", "0", "0"]));
    assert_eq!([any, long, bold].map(Vendor::asked), [2, 2, 2]);
}

#[tokio::test]
async fn a_prompt_that_is_too_long_for_anthropic_goes_on_too() {
    let one = Vendor::start(Api::Anthropic, "one").await;
    let [long] = Vendor::several(["long"]).await;
    let entries = [
        one.entry("m", "anthropic/claude-sonnet-4-5", &[], &[]),
        long.entry("long", "openai/gpt-4o", &[], &[]),
    ];
    let lines = ["context_window_fallbacks: [{'*': [long]}]"];
    let gateway = start(&entries, &router(&lines)).await;
    one.says(too_long(Api::Anthropic));
    let answer = call(gateway.addr, "m").await;
    assert_eq!((answer.status, answer.says()), (200, long.hello()));
    // That is for long prompts alone.
    one.fails();
    assert_eq!(call(gateway.addr, "m").await.status, 500);
    assert_eq!(long.asked(), 1);
}

#[tokio::test]
async fn a_known_window_sends_a_prompt_on_before_it_is_sent() {
    let [short, long] = Vendor::several(["short", "long"]).await;
    let entries = [
        short.entry("m", "openai/my-short", &[], &["max_input_tokens: 20"]),
        long.entry("long", "openai/my-long", &[], &["max_input_tokens: 100000"]),
    ];
    let lines = ["enable_pre_call_checks: true", "context_window_fallbacks: [{m: [long]}]"];
    let gateway = start(&entries, &router(&lines)).await;
    let prompt = "word ".repeat(100);
    let messages = json!({"messages": [{"role": "user", "content": prompt}]});
    let answer = call_with(gateway.addr, "m", messages).await;
    assert_eq!((answer.status, answer.says(), answer.way()[2]), (200, long.hello(), "1"));
    assert_eq!(call(gateway.addr, "m").await.says(), short.hello());
    assert_eq!((short.asked(), long.asked()), (1, 1));
}

#[tokio::test]
async fn defaults_stand_in_for_those_without_a_list_of_their_own() {
    let vendors = Vendor::several(["one", "two", "three", "four"]).await;
    let [one, two, three, four] = &vendors;
    let lines = ["fallbacks: [{one: [two]}, {two: []}]", "default_fallbacks: [four]"];
    let names = ["one", "two", "three", "four"];
    let gateway = start(&entries(&vendors, names), &router(&lines)).await;
    for vendor in [one, two, three] {
        vendor.fails();
    }
    let mut told = Vec::new();
    for name in names {
        let answer = call(gateway.addr, name).await;
        told.push((answer.status, answer.way().map(str::to_owned)));
    }
    let way = |id: &str, fallbacks: &str| [id, "0", fallbacks].map(str::to_owned);
    assert_eq!(
        told,
        [
            (500, way("two@two", "1")),
            (500, way("two@two", "0")),
            (200, way("four@four", "1")),
            (200, way("four@four", "0")),
        ]
    );
    assert_eq!(four.asked(), 2);
}

#[tokio::test]
async fn there_are_no_more_fallbacks_than_may_be_and_each_is_asked_once() {
    let vendors = Vendor::several(["one", "two", "three", "four"]).await;
    for vendor in &vendors {
        vendor.fails();
    }
    let names = ["one", "two", "three", "four"];
    let all = entries(&vendors, names);
    for (most, asked) in [(0, [1, 0, 0, 0]), (2, [1, 1, 1, 0]), (9, [1, 1, 1, 1])] {
        let before: Vec<_> = vendors.iter().map(Vendor::asked).collect();
        let most_line = format!("max_fallbacks: {most}");
        let lines = ["fallbacks: [{one: [two, three]}, {two: [three, four]}]", &most_line];
        let gateway = start(&all, &router(&lines)).await;
        let answer = call(gateway.addr, "one").await;
        let fallbacks: usize = asked.iter().sum::<usize>() - 1;
        assert_eq!((answer.status, answer.way()[2]), (500, &*fallbacks.to_string()));
        let now = vendors.iter().zip(before).map(|(vendor, before)| vendor.asked() - before);
        assert_eq!(now.collect::<Vec<_>>(), asked);
    }
}

#[tokio::test]
async fn aliases_and_wildcards_fall_back_too() {
    let vendors = Vendor::several(["one", "any", "two", "three"]).await;
    let [one, any, two, three] = &vendors;
    let lines = [
        "model_group_alias: {nick: m, other: two}",
        "fallbacks: [{nick: [other]}, {'any/*': [two]}]",
        "context_window_fallbacks: [{'any/*': [three]}]",
    ];
    let mut all = entries(&vendors, ["m", "'any/*'", "two", "three"]);
    all[1] = any.entry("'any/*'", "openai/*", &[], &[]);
    let gateway = start(&all, &router(&lines)).await;
    one.fails();
    for name in ["m", "nick"] {
        let answer = call(gateway.addr, name).await;
        assert_eq!((answer.says(), answer.header("x-litellm-model-group")), (two.hello(), Some(name)));
        assert_eq!(answer.way()[2], "1");
    }
    assert_eq!(call(gateway.addr, "any/thing").await.says(), any.hello());
    assert_eq!(any.seen()[0].body["model"], "thing");
    any.fails();
    assert_eq!(call(gateway.addr, "any/thing").await.says(), two.hello());
    any.says(too_long(Api::OpenAi));
    assert_eq!(call(gateway.addr, "any/other").await.says(), three.hello());
    // One alias may stand in for another name, and a model that only a wildcard finds for any.
    let answer = call_with(gateway.addr, "m", json!({"fallbacks": ["any/more", "other"]})).await;
    assert_eq!((answer.says(), answer.way()[2]), (two.hello(), "2"));
    assert_eq!(any.seen().last().unwrap().body["model"], "more");
}

#[tokio::test]
async fn what_falls_back_has_to_lead_somewhere_and_not_around() {
    let [one, two] = Vendor::several(["one", "two"]).await;
    let entries = [one.entry("one", "openai/gpt-4o", &[], &[]), two.entry("two", "openai/gpt-4o", &[], &[])];
    for (line, error) in [
        ("fallbacks: [{one: [two]}, {two: [one]}]", "leads in a circle: one -> two -> one"),
        ("fallbacks: [{one: [three]}]", "leads to no model of `model_list`"),
    ] {
        let config = super::config(&entries, &router(&[line]));
        let ended = crate::harness::run(&config, &["--config", "config.yaml"], &[]).await;
        assert_eq!(ended.code, Some(1));
        let told = ended.stderr.lines().find(|line| line.contains(error));
        assert!(told.is_some_and(|line| line.starts_with("config.yaml:2")), "{}", ended.stderr);
    }
}

async fn with_keys(vendors: &[Vendor; 3], lines: &[&str]) -> Gateway {
    let config = super::config(&entries(vendors, ["one", "two", "three"]), &router(lines));
    let config = config.replace("general_settings:\n", "general_settings:\n  database_url: 'sqlite:k.db'\n");
    Gateway::start(&config, &[], &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_falls_back_to_what_it_may_use_alone() {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let [one, two, three] = &vendors;
    let gateway = with_keys(&vendors, &["fallbacks: [{one: [two, three]}]"]).await;
    let addr = gateway.addr;
    one.fails();
    admin(addr, "/team/new", json!({"team_id": "t", "models": ["one"]})).await;
    for (rights, status, says, way) in [
        (json!({"models": ["one", "two"]}), 200, two.hello(), ["two@two", "0", "1"]),
        (json!({"models": ["one", "three"]}), 200, three.hello(), ["three@three", "0", "1"]),
        // What the first one says, and no word of others.
        (json!({"models": ["one"]}), 500, "server_error".to_owned(), ["one@one", "0", "0"]),
        (json!({"team_id": "t"}), 500, "server_error".to_owned(), ["one@one", "0", "0"]),
    ] {
        let secret = new_key(addr, rights.clone()).await;
        for stream in [false, true] {
            let answer = post(addr, CHAT, &[&bearer(&secret)], &ask("one", &json!({"stream": stream}))).await;
            assert_eq!((answer.status, answer.says(), answer.way()), (status, says.clone(), way), "{rights}");
        }
    }
    assert_eq!((one.asked(), two.asked(), three.asked()), (8, 2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_fallbacks_that_it_may_use_alone() {
    let vendors = Vendor::several(["one", "two", "three"]).await;
    let [one, two, three] = &vendors;
    let gateway = with_keys(&vendors, &["fallbacks: [{one: [two]}]"]).await;
    let addr = gateway.addr;
    one.fails();
    let secret = bearer(&new_key(addr, json!({"models": ["one", "three"]})).await);
    let asked = async |fallbacks: serde_json::Value| {
        post(addr, CHAT, &[&secret], &ask("one", &json!({"fallbacks": fallbacks}))).await
    };
    assert_eq!(asked(json!(["three"])).await.says(), three.hello());
    for fallbacks in [json!(["two"]), json!(["three", "two"])] {
        asked(fallbacks).await.is(
            403,
            r#"{"error":{"message":"the key may not use the model \"two\"","type":"invalid_request_error","param":"fallbacks","code":"permission_denied"}}"#,
        );
    }
    // Nor does it learn by this which models there are.
    assert_eq!(asked(json!(["no-such-model"])).await.status, 403);
    assert_eq!((one.asked(), two.asked(), three.asked()), (1, 0, 1));
}

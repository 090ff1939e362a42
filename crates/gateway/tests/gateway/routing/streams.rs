//! Streams whose vendor fails: ahead of their first content, behind it, and while their head is held.

use serde_json::{Value, json};

use super::{ask, entries, router, start};
use crate::{
    client::{Answer, Raw, post},
    harness::{Gateway, soon},
    paid::key,
    samples::{Api, DIRECTIONS, Error, failed},
    vendor::{Says, Then, Vendor},
};

/// `m` at a vendor of this dialect, which falls back to `other` at another vendor of the other dialect.
async fn pair(api: Api, sections: &str) -> (Vendor, Vendor, Gateway) {
    let other = if api == Api::OpenAi { Api::Anthropic } else { Api::OpenAi };
    let (one, two) = (Vendor::start(api, "one").await, Vendor::start(other, "two").await);
    let entries = [one.entry("m", api.model(), &[], &[]), two.entry("other", other.model(), &[], &[])];
    let sections = router(&["fallbacks: [{m: [other]}]"]) + sections;
    let gateway = start(&entries, &sections).await;
    (one, two, gateway)
}

async fn stream(gateway: &Gateway, caller: Api) -> Answer {
    post(gateway.addr, caller.path(), &[&key()], &ask("m", &json!({"stream": true}))).await
}

/// An error event of a provider's.
fn error_event(api: Api) -> String {
    api.error_event(failed("overloaded_error", "", "overloaded by far"))
}

/// Whether no event is there that may come once, twice.
fn nothing_twice(api: Api, events: &str) {
    let once = match api {
        Api::OpenAi => ["\"role\":\"assistant\"", "\"finish_reason\":\"stop\"", "data: [DONE]"],
        Api::Anthropic => ["event: message_start", "event: content_block_start", "event: message_stop"],
    };
    for text in once {
        assert_eq!(events.matches(text).count(), 1, "{text}: {events}");
    }
}

#[tokio::test]
async fn what_fails_ahead_of_its_first_content_fails_over() {
    for (caller, provider) in DIRECTIONS {
        let (one, two, gateway) = pair(provider, "").await;
        let opening = provider.opening();
        let first = opening.find("\n\n").unwrap() + 2;
        for says in [
            Says::down(provider),
            Says::Stream(String::new(), Then::Breaks),
            Says::Stream(String::new(), Then::Ends),
            Says::Stream(opening[..first].to_owned(), Then::Breaks),
            Says::Stream(opening.to_owned(), Then::Breaks),
            Says::Stream(opening.to_owned(), Then::Ends),
            Says::Stream(error_event(provider), Then::Ends),
            Says::Stream(opening.to_owned() + &error_event(provider), Then::Ends),
            Says::Stream("data: {oh no\n\n".to_owned(), Then::Ends),
        ] {
            one.says(says.clone());
            let answer = stream(&gateway, caller).await;
            assert_eq!(answer.status, 200, "{caller:?} {provider:?} {says:?}: {}", answer.body);
            assert_eq!(answer.text(caller), two.hello(), "{caller:?} {provider:?} {says:?}");
            nothing_twice(caller, &answer.body);
            assert_eq!(answer.way()[2], "1");
        }
    }
}

#[tokio::test]
async fn what_fails_behind_its_first_content_is_told_and_ended() {
    for (caller, provider) in DIRECTIONS {
        let (one, two, gateway) = pair(provider, "").await;
        let begun = provider.opening().to_owned() + &provider.piece("Half");
        for (then, tail) in
            [(Then::Breaks, String::new()), (Then::Ends, String::new()), (Then::Ends, error_event(provider))]
        {
            one.says(Says::Stream(begun.clone() + &tail, then));
            let answer = stream(&gateway, caller).await;
            assert_eq!((answer.status, answer.way()), (200, ["m@one", "0", "0"]));
            let told = &answer.body;
            assert_eq!(caller.text_of(told), "Half", "{caller:?} {provider:?} {then:?}");
            assert!(!told.contains("[DONE]") && !told.contains("message_stop"), "{told}");
            // The last event is the error, and the only one.
            let last = told.trim_end().rsplit("\n\n").next().unwrap();
            let data = last.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let event: Value = serde_json::from_str(data).unwrap();
            assert!(event["error"]["message"].is_string(), "{last}");
            let anthropic = caller == Api::Anthropic;
            assert_eq!(event["type"] == "error" && last.starts_with("event: error\n"), anthropic, "{last}");
            assert_eq!(told.matches("\"error\":").count(), 1, "{told}");
        }
        assert_eq!(two.asked(), 0);
    }
}

#[tokio::test]
async fn a_head_is_held_only_so_long_and_comments_follow() {
    for (caller, provider) in DIRECTIONS {
        let (one, two, gateway) = pair(provider, "ziggurat_settings: {stream_hold: 0.2}\n").await;
        for fails in [false, true] {
            // The opening has come, and is held with the head.
            one.says(Says::Stream(provider.opening().to_owned(), Then::Hangs));
            two.says(Says::Nothing);
            let mut raw = Raw::connect(gateway.addr).await;
            raw.post(caller.path(), &[&key()], &ask("m", &json!({"stream": true}))).await;
            let head = soon(raw.head()).await;
            assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
            // Who will answer nobody knows yet.
            assert_eq!(head.way(), ["none"; 3]);
            assert_eq!(head.header("x-litellm-model-group"), Some("m"));
            assert_eq!(raw.chunk().await.as_deref(), Some(WAITING));
            // It breaks off now, and the other one is asked.
            one.fails();
            assert_eq!(raw.chunk().await.as_deref(), Some(WAITING));
            match fails {
                true => two.fails(),
                false => two.says(Says::Hello),
            }
            let mut rest = String::new();
            while let Some(chunk) = raw.chunk().await {
                rest += &chunk;
            }
            let rest = rest.replace(WAITING, "");
            if fails {
                let error = Error {
                    kinds: ["server_error", "api_error"],
                    param: "",
                    code: "server_error",
                    message: "out of order",
                };
                assert_eq!(rest, caller.error_event(error), "{caller:?} {provider:?}");
            } else {
                assert_eq!(caller.text_of(&rest), two.hello());
                nothing_twice(caller, &rest);
            }
        }
    }
}

#[tokio::test]
async fn a_stream_without_a_hold_waits_for_no_content() {
    let vendors = Vendor::several(["one"]).await;
    let sections = router(&[]) + "ziggurat_settings: {stream_hold: 0}\n";
    let gateway = start(&entries(&vendors, ["m"]), &sections).await;
    vendors[0].says(Says::Nothing);
    let mut raw = Raw::connect(gateway.addr).await;
    raw.post(Api::OpenAi.path(), &[&key()], &ask("m", &json!({"stream": true}))).await;
    assert_eq!(soon(raw.head()).await.status, 200);
    vendors[0].fails();
    let mut rest = String::new();
    while let Some(chunk) = raw.chunk().await {
        rest += &chunk;
    }
    let rest = rest.replace(WAITING, "");
    let error =
        Error { kinds: ["server_error", ""], param: "", code: "server_error", message: "out of order" };
    assert_eq!(rest, Api::OpenAi.error_event(error));
}

const WAITING: &str = ": waiting for the provider\n\n";

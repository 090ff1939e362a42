//! What the callers of upstreams that fail are told.

use tokio::{io::AsyncReadExt, net::TcpListener};
use ziggurat_testkit::{Ending, Recording};

use crate::{
    client::post,
    harness::{Gateway, PROVIDER_KEY, SOON, Scene, deployment, soon},
    samples::{Api, DIRECTIONS, Error, ask, failed, recordings, stream},
};

/// An upstream's error in its own words, and its status.
fn said(api: Api, status: u16) -> Recording {
    let (openai, code, anthropic) = match status {
        401 => ("invalid_request_error", "\"invalid_api_key\"", "authentication_error"),
        404 => ("invalid_request_error", "\"model_not_found\"", "not_found_error"),
        429 => ("requests", "\"rate_limit_exceeded\"", "rate_limit_error"),
        529 => ("server_error", "null", "overloaded_error"),
        _ => ("server_error", "null", "api_error"),
    };
    let body = match api {
        Api::OpenAi => format!(
            r#"{{"error":{{"message":"the model says no","type":"{openai}","param":null,"code":{code}}}}}"#
        ),
        Api::Anthropic => {
            format!(r#"{{"type":"error","error":{{"type":"{anthropic}","message":"the model says no"}}}}"#)
        }
    };
    Recording::synthetic(
        format!("{}-{status}", api.alias()),
        status,
        [("content-type", "application/json")],
        body,
    )
}

/// What a caller of the other dialect reads instead; of the same dialect: the upstream's own body.
fn told(caller: Api, status: u16) -> (u16, String) {
    let error = |kinds, code| caller.error(Error { kinds, param: "", code, message: "the model says no" });
    let (seen, error) = match status {
        401 => (401, error(["invalid_request_error", "authentication_error"], "invalid_api_key")),
        404 => (404, error(["invalid_request_error", "not_found_error"], "model_not_found")),
        429 => (429, error(["rate_limit_error", "rate_limit_error"], "rate_limit_exceeded")),
        500 => (500, error(["server_error", "api_error"], "server_error")),
        529 => (
            if caller == Api::OpenAi { 503 } else { 529 },
            error(["server_error", "overloaded_error"], "overloaded"),
        ),
        other => panic!("{other}"),
    };
    (seen, error)
}

#[tokio::test]
async fn errors_of_the_upstream() {
    let mut known = recordings();
    let statuses = [401, 404, 429, 500, 529];
    for api in [Api::OpenAi, Api::Anthropic] {
        known.extend(statuses.map(|status| said(api, status)));
    }
    let mut scene = Scene::with(known).await;
    for api in [Api::OpenAi, Api::Anthropic] {
        for status in statuses {
            let id = format!("{}-{status}", api.alias());
            let faulty = if status == 429 { format!("{id},retry-after=7") } else { id.clone() };
            scene = scene.model(&id, api.model(), &faulty, &[]);
        }
    }
    let gateway = scene.start(&[]).await;
    for (caller, provider) in DIRECTIONS {
        for status in statuses {
            for streams in [false, true] {
                let id = format!("{}-{status}", provider.alias());
                let answer = post(gateway.addr, caller.path(), &[], &ask(&id, streams)).await;
                let own = String::from_utf8(said(caller, status).response.into_body().to_vec()).unwrap();
                let expected = if caller == provider { (status, own) } else { told(caller, status) };
                assert_eq!(
                    (answer.status, answer.body.clone()),
                    expected,
                    "{caller:?} {provider:?} {status}"
                );
                assert_eq!(answer.header("content-type"), Some("application/json"));
                assert_eq!(answer.header("retry-after"), (status == 429).then_some("7"));
            }
        }
    }
    let ended = gateway.stop().await;
    assert!(!ended.stderr.contains(PROVIDER_KEY), "{}", ended.stderr);
}

#[tokio::test]
async fn html_instead_of_json() {
    let scene = Scene::new().await;
    let mut scene = scene;
    let cases = [
        (
            "html,status=403",
            Error {
                kinds: ["invalid_request_error", "permission_error"],
                param: "",
                code: "permission_denied",
                message: "the provider answered 403 with HTML instead of an error object",
            },
            [403, 403],
        ),
        (
            "html,status=502",
            failed(
                "api_error",
                "upstream_error",
                "the provider answered 502 with HTML instead of an error object",
            ),
            [502, 502],
        ),
        (
            "html,status=503",
            failed(
                "overloaded_error",
                "overloaded",
                "the provider answered 503 with HTML instead of an error object",
            ),
            [503, 529],
        ),
        ("html", failed("api_error", "upstream_error", "the provider answered with HTML"), [502, 502]),
    ];
    for api in [Api::OpenAi, Api::Anthropic] {
        for (number, (faults, _, _)) in cases.iter().enumerate() {
            let recording = format!("{},{faults}", api.stream_id());
            scene = scene.model(&format!("{}-{number}", api.alias()), api.model(), &recording, &[]);
        }
    }
    let gateway = scene.start(&[]).await;
    for (caller, provider) in DIRECTIONS {
        for (number, (faults, error, statuses)) in cases.iter().enumerate() {
            for streams in [false, true] {
                let alias = format!("{}-{number}", provider.alias());
                let answer = post(gateway.addr, caller.path(), &[], &ask(&alias, streams)).await;
                let status = if caller == Api::OpenAi { statuses[0] } else { statuses[1] };
                assert_eq!(
                    (answer.status, answer.body),
                    (status, caller.error(*error)),
                    "{caller:?} {faults}"
                );
            }
        }
    }
}

const UNREACHABLE: Error =
    failed("api_error", "upstream_error", "the upstream could not be reached or closed without an answer");

#[tokio::test]
async fn upstreams_that_close_or_are_not_there() {
    let mut scene = Scene::new().await;
    // A port that was free a moment ago.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for api in [Api::OpenAi, Api::Anthropic] {
        scene = scene.model(
            &format!("{}-closes", api.alias()),
            api.model(),
            &format!("{},close", api.stream_id()),
            &[],
        );
        let alias = format!("{}-gone", api.alias());
        scene = scene.section(&deployment(&alias, api.model(), &format!("http://{gone}"), &[]));
    }
    let gateway = scene.start(&[]).await;
    for (caller, provider) in DIRECTIONS {
        for what in ["closes", "gone"] {
            for streams in [false, true] {
                let alias = format!("{}-{what}", provider.alias());
                let answer = post(gateway.addr, caller.path(), &[], &ask(&alias, streams)).await;
                answer.is(502, &caller.error(UNREACHABLE));
            }
        }
    }
    let ended = gateway.stop().await;
    for provider in [Api::OpenAi, Api::Anthropic] {
        let said = format!(" model=\"{}-gone\" request_id=\"req_", provider.alias());
        let of_it = |line: &str| {
            line.contains("WARN the upstream did not answer deployment=") && line.contains(&said)
        };
        assert!(ended.stderr.lines().any(of_it), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains('\u{1b}'), "colours where no terminal is: {}", ended.stderr);
}

#[tokio::test]
async fn upstreams_that_hang() {
    let mut scene = Scene::new().await;
    for api in [Api::OpenAi, Api::Anthropic] {
        let hangs = format!("{},hang", api.stream_id());
        scene = scene.model(&format!("{}-own", api.alias()), api.model(), &hangs, &["timeout: 0.2"]);
        scene = scene.model(&format!("{}-global", api.alias()), api.model(), &hangs, &[]);
    }
    let scene = scene.section("litellm_settings:\n  request_timeout: 0.3\n");
    let gateway = scene.start(&[]).await;
    for (caller, provider) in DIRECTIONS {
        for (which, message) in [
            ("own", "the provider did not begin to answer within 200ms"),
            ("global", "the provider did not begin to answer within 300ms"),
        ] {
            let alias = format!("{}-{which}", provider.alias());
            let answer = post(gateway.addr, caller.path(), &[], &ask(&alias, true)).await;
            answer.is(504, &caller.error(failed("timeout_error", "first_byte_timeout", message)));
        }
    }
    // Each was given up, not left behind.
    let log = soon(scene.replay.wait_for(|log| log.in_flight() == 0)).await;
    let left = Some(Ending::PeerClosed { after_bytes: 0 });
    assert_eq!(log.exchanges().len(), 8);
    assert!(log.exchanges().iter().all(|exchange| exchange.ending == left));
}

#[tokio::test]
async fn a_connection_that_never_comes_about_is_bounded_too() {
    // Accepts, and never says a word of TLS.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", silent.local_addr().unwrap());
    let config = format!("model_list:\n{}", deployment("gpt", "openai/gpt-4o", &base, &["num_retries: 0"]));
    let gateway = Gateway::start(&config, &["--connect-timeout", "0.2"], &[]).await;
    let answer = post(gateway.addr, Api::OpenAi.path(), &[], &ask("gpt", false)).await;
    let late = failed("timeout_error", "connect_timeout", "the upstream could not be reached in time");
    answer.is(504, &Api::OpenAi.error(late));
    let (mut accepted, _) = soon(silent.accept()).await.unwrap();
    let mut hello = Vec::new();
    // Given up: the bytes end after the client's first message.
    soon(accepted.read_to_end(&mut hello)).await.unwrap();
    assert_eq!(hello.first(), Some(&0x16));
}

const TRUNCATED: Error =
    failed("api_error", "upstream_truncated", "the provider's stream ended before the answer was complete");
const STALLED: Error = failed("timeout_error", "idle_timeout", "the provider's stream was silent for 300ms");

#[tokio::test]
async fn streams_that_break_off_end_with_one_error_event() {
    let mut scene = Scene::new().await;
    let faults = ["cut", "close", "reset", "stall"];
    for api in [Api::OpenAi, Api::Anthropic] {
        // Two pieces, and a bit of the third event.
        let whole = [api.opening(), &api.piece("One"), &api.piece("Two")].concat().len() + 30;
        for fault in faults {
            let recording = format!("{},{fault}={whole}", api.stream_id());
            scene = scene.model(&format!("{}-{fault}", api.alias()), api.model(), &recording, &[]);
        }
    }
    let gateway = scene.start(&["--idle-timeout", "0.3"]).await;
    for (caller, provider) in DIRECTIONS {
        for fault in faults {
            let alias = format!("{}-{fault}", provider.alias());
            let answer = post(gateway.addr, caller.path(), &[], &ask(&alias, true)).await;
            let error = caller.error_event(if fault == "stall" { STALLED } else { TRUNCATED });
            let events = answer.body.strip_suffix(&error);
            let events = events.unwrap_or_else(|| panic!("{caller:?} {provider:?} {fault}: {}", answer.body));
            assert_eq!((answer.status, caller.text_of(events).as_str()), (200, "OneTwo"), "{fault}");
            assert!(
                !events.contains("[DONE]") && !events.contains("message_stop") && !events.contains("error")
            );
        }
    }
}

#[tokio::test]
async fn whole_answers_that_stall_or_break_off() {
    let scene = Scene::new()
        .await
        .model("stall", Api::OpenAi.model(), "openai,stall=20", &["timeout: 0.2"])
        .model("close", Api::OpenAi.model(), "openai,close=20", &[]);
    let gateway = scene.start(&[]).await;
    let answer = post(gateway.addr, Api::OpenAi.path(), &[], &ask("stall", false)).await;
    let message = "the provider did not come to the end of its answer within 200ms";
    let late = failed("timeout_error", "attempt_timeout", message);
    answer.is(504, &Api::OpenAi.error(late));
    let answer = post(gateway.addr, Api::OpenAi.path(), &[], &ask("close", false)).await;
    let broken = failed("api_error", "upstream_error", "the provider's answer ended before it was complete");
    answer.is(502, &Api::OpenAi.error(broken));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let mut known = recordings();
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("http://{}/v1/chat/completions", elsewhere.local_addr().unwrap());
    for status in [302, 307, 308] {
        let id = format!("moved-{status}");
        known.extend([Recording::synthetic(id, status, [("location", location.as_str())], "")]);
    }
    let mut scene = Scene::with(known).await;
    for status in [302, 307, 308] {
        let id = format!("moved-{status}");
        scene = scene.model(&id, Api::OpenAi.model(), &id, &[]);
    }
    let gateway = scene.start(&[]).await;
    for status in [302, 307, 308] {
        for api in [Api::OpenAi, Api::Anthropic] {
            let answer = post(gateway.addr, api.path(), &[], &ask(&format!("moved-{status}"), false)).await;
            assert_eq!(answer.status, 502, "{}", answer.body);
            assert_eq!(answer.header("location"), None);
            assert!(!answer.body.contains("127.0.0.1"), "{}", answer.body);
        }
    }
    let nobody = tokio::time::timeout(std::time::Duration::ZERO, elsewhere.accept()).await;
    assert!(nobody.is_err());
}

#[tokio::test]
async fn an_event_without_an_end_is_not_collected_for_ever() {
    let mut known = recordings();
    let endless = format!("{}data: {}", Api::OpenAi.opening(), "x".repeat(3 << 20));
    known.extend([stream("endless", endless)]);
    let scene = Scene::with(known).await.model("endless", Api::OpenAi.model(), "endless,stall=3145728", &[]);
    let gateway = scene.start(&[]).await;
    let answer =
        tokio::time::timeout(SOON, post(gateway.addr, Api::OpenAi.path(), &[], &ask("endless", true)))
            .await
            .unwrap();
    let error =
        failed("api_error", "upstream_error", "the provider sent an event of more than 1048576 bytes");
    // No word of the answer has gone out: it is an error like any other.
    answer.is(502, &Api::OpenAi.error(error));
}

//! Over a real connection: it is used again behind a stream's end, and closed when the caller leaves.

mod support;

use http_body_util::BodyExt;
use tower::{Service, ServiceExt};
use ziggurat_core::Target;
use ziggurat_testkit::{Ending, Recording, Recordings, Replay, conformance::client_takes};
use ziggurat_translate::TranslateLayer;

use crate::support::*;

async fn replay(faults: &str) -> (Replay, impl Fn(ziggurat_core::Dialect) -> Target + use<>) {
    let streams = DIALECTS.map(|dialect| {
        let id = if dialect == ANTHROPIC { "a" } else { "o" };
        Recording::synthetic(id, 200, [("content-type", "text/event-stream")], stream(dialect))
    });
    let replay = Replay::start(Recordings::from_iter(streams)).await.expect("starts");
    let urls = ["a", "o"].map(|id| replay.url(&format!("{id}{faults}")) + "/v1/x");
    let target = move |dialect| {
        let url = if dialect == ANTHROPIC { &urls[0] } else { &urls[1] };
        Target::new("p", dialect, "m", url).expect("is a URL")
    };
    (replay, target)
}

#[tokio::test]
async fn the_connection_is_used_again_behind_the_end_of_a_stream() {
    for chunks in [",events", ",rechunk=7"] {
        let (replay, target) = replay(chunks).await;
        let mut client = client_takes(TranslateLayer::new());
        for (calls, (caller, provider)) in DIRECTIONS.into_iter().cycle().take(12).enumerate() {
            let mut request = post(caller, hello(caller, true));
            request.extensions_mut().insert(target(provider));
            let response = client.ready().await.map_err(drop).expect("is ready").call(request).await;
            let body = read_body(response.map_err(drop).expect("answers").into_body()).await.0;
            assert!(body.contains("Hi") && !body.contains("\"error\":"), "{body}");
            let log = replay.wait_for(|log| log.in_flight() == 0).await;
            assert_eq!((log.exchanges().len(), log.connections()), (calls + 1, 1), "{caller:?} {provider:?}");
        }
    }
}

#[tokio::test]
async fn the_connection_is_closed_when_the_caller_leaves() {
    for (caller, provider) in DIRECTIONS {
        // In the middle of an event, behind the text.
        let text = stream(provider).find("Hi").expect("has text");
        let (replay, target) = replay(&format!(",stall={}", text + 60)).await;
        let client = client_takes(TranslateLayer::new().target(target(provider)));
        let response =
            client.oneshot(post(caller, hello(caller, true))).await.map_err(drop).expect("answers");
        let mut body = response.into_body();
        let frame = body.frame().await.expect("goes on").expect("does not fail");
        assert!(frame.is_data());
        assert_eq!(replay.wait_for(|log| log.in_flight() == 1).await.open_connections(), 1);
        drop(body);
        let log = replay.wait_for(|log| log.in_flight() == 0 && log.open_connections() == 0).await;
        assert!(
            matches!(log.exchanges()[0].ending, Some(Ending::PeerClosed { .. })),
            "{caller:?} {provider:?}"
        );
    }
}

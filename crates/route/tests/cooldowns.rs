//! What another node found out of a deployment.

mod support;

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, advance};
use ziggurat_core::Clock;
use ziggurat_route::{Routes, State};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn deployments_are_left_alone_by_their_id_until_then() {
    let groups = [("g", ["a", "b"]), ("h", ["b", "c"])].map(|(name, ids)| group(name, &ids).build().unwrap());
    // One of a group that is made when it is asked for.
    let made_later = deployment("w");
    let builder = groups.into_iter().fold(Routes::builder(), |all, group| all.group(group));
    let routes = builder.deployment(made_later.clone()).build().unwrap();
    let states = || {
        let all = routes.groups().iter().flat_map(|group| group.deployments());
        all.map(|deployment| deployment.figures(Instant::now()).state).collect::<Vec<_>>()
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_920_000_000);
    let clock = Clock::new(move || now);
    let minute = Duration::from_secs(60);
    assert!(routes.cool("b", now + minute, &clock));
    let cooling = State::Cooling(minute);
    assert_eq!(states(), [State::Healthy, cooling, cooling, State::Healthy]);
    assert!(routes.cool("w", now + minute, &clock));
    assert_eq!(made_later.sharing(target("w")).figures(Instant::now()).state, cooling);
    // Less changes nothing, nor does what is over, or is of nobody.
    assert!(routes.cool("b", now + minute / 2, &clock) && routes.cool("a", now - minute, &clock));
    assert!(!routes.cool("d", now + minute, &clock));
    assert_eq!(states(), [State::Healthy, cooling, cooling, State::Healthy]);
    advance(minute).await;
    assert_eq!(states(), [State::Healthy, State::Cooled, State::Cooled, State::Healthy]);
}

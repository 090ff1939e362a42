//! A call that is dropped, wherever it waits, leaves nothing behind.

mod support;

use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration,
};

use ziggurat_route::{GroupBuilder, Random, RetryPolicy, Timeouts};

use crate::support::{
    stack::{Stack, breaks, stack, ten},
    *,
};

const MILLI: Duration = Duration::from_millis(1);

/// One of so many, and a time of up to four seconds.
fn draw(random: &mut Random, below: u64) -> (u64, u32) {
    (random.draw() % below, (random.draw() % 4000) as u32)
}

fn any(random: &mut Random) -> Act {
    let (which, time) = draw(random, 12);
    let words = [role()].into_iter().chain(["Hel", "lo"].map(says));
    match which {
        0 => fails(500),
        1 => fails_with(429, ("retry-after", "1")),
        2 => Act::Refuses,
        3 => Act::Hangs,
        4 => breaks(),
        5 => ok("Hello"),
        6 => Act::Drips(time / 9 * MILLI, words.chain(ends()).collect()),
        7 => Act::Drips(time / 9 * MILLI, words.collect()),
        8 => Act::Stalls(words.take(1 + time as usize % 3).collect()),
        9 => Act::Breaks(words.take(1 + time as usize % 3).collect()),
        _ => Act::After(time * MILLI, Box::new(any(random))),
    }
}

/// A call of a kind that the seed says, of which the time between two polls is up to four seconds.
fn scene(seed: u64) -> (Stack, Random, bool) {
    let mut random = Random::new(seed);
    let (hedges, after) = draw(&mut random, 2);
    let (deadline, _) = draw(&mut random, 2);
    let stack = stack(1000, |group: GroupBuilder| {
        let timeouts = Timeouts::none().first_token(7000 * MILLI).idle(3000 * MILLI);
        let timeouts = if deadline == 0 { timeouts } else { timeouts.total(15_000 * MILLI) };
        let group = group.timeouts(timeouts.attempt(20_000 * MILLI)).retry(RetryPolicy::new(1));
        if hedges == 0 { group } else { group.hedge_after(after * MILLI) }
    });
    for id in ["a", "b", "c"] {
        let acts: Vec<_> = (0..3).map(|_| any(&mut random)).collect();
        stack.upstream.does(id, acts);
    }
    let stream = draw(&mut random, 3).0 > 0;
    (stack, random, stream)
}

#[tokio::test(start_paused = true)]
async fn whenever_it_is_dropped() {
    let seeds = std::env::var("ZIGGURAT_CASES").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1000);
    let (mut most, mut ended) = (0, 0);
    for seed in 0..seeds {
        for polls in 0.. {
            let (stack, mut random, stream) = scene(seed);
            let mut call = Box::pin(call(&stack.service, ten(stream)));
            let mut over = false;
            for _ in 0..polls {
                over = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
                if over {
                    break;
                }
                tokio::time::advance(draw(&mut random, 1).1 * MILLI).await;
            }
            drop(call);
            stack.is_settled(u64::from(polls > 0));
            assert_eq!(stack.upstream.open(), 0, "seed {seed}, {polls} polls");
            most = most.max(polls);
            if over {
                ended += 1;
                break;
            }
            assert!(polls < 1000, "seed {seed}: it ends");
        }
    }
    assert_eq!(ended, seeds);
    assert!(most >= 10, "{most}");
}

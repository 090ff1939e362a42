//! Identical calls under way are one call, whoever comes, lags or leaves.

mod support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use ziggurat_budget::{BudgetLayer, Ledger};
use ziggurat_cache::{CacheLayer, Cached, Lookup, MemoryStore};
use ziggurat_catalog::Catalog;
use ziggurat_core::{Body, Budget, Cause, Dialect, Meter, Outcome, Problem, Rejection, Scope, Usd, Window};

use crate::support::*;

const CALLERS: usize = 100;

fn streamed() -> Request<Body> {
    chat(&json!({"stream": true, "stream_options": {"include_usage": true}}))
}

fn pieces() -> Vec<String> {
    let text = stream(&["Once", " upon", " a", " time"]);
    text.split_inclusive("\n\n").map(str::to_owned).collect()
}

/// A provider of a stream whose pieces come when they are sent.
fn piped() -> (Piped, Upstream) {
    let pipe = Piped::default();
    let upstream = Upstream::new({
        let pipe = pipe.clone();
        move |_| answer("text/event-stream", pipe.body())
    });
    (pipe, upstream)
}

/// Sends a stream of more than a kilobyte, to its end.
fn long(pipe: &Piped) -> String {
    let text = stream(&vec!["a few words to fill it"; 40]);
    text.split_inclusive("\n\n").for_each(|piece| pipe.send(piece.to_owned()));
    pipe.end();
    text
}

async fn open(service: &Cached<Boxed>, request: Request<Body>) -> Response<Body> {
    let Ok(response) = service.clone().oneshot(request).await;
    response
}

/// As many as there are wait for what the provider says, as tasks of their own.
fn callers(service: &Cached<Boxed>, count: usize) -> Vec<tokio::task::JoinHandle<Answered>> {
    (0..count)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { ask(&service, streamed()).await })
        })
        .collect()
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hundred_callers_of_a_stream_are_one_call() {
    let (pipe, upstream) = piped();
    let service = cached(&upstream, &Manual::default());
    let mut tasks = callers(&service, CALLERS / 2);
    let pieces = pieces();
    for (number, piece) in pieces.iter().enumerate() {
        settle().await;
        pipe.send(piece.clone());
        if number == 2 {
            // Those who come late have it from its beginning.
            tasks.extend(callers(&service, CALLERS / 2));
        }
    }
    pipe.end();
    let mut counts = [0, 0];
    for task in tasks {
        let answered = task.await.expect("is answered");
        assert_eq!((answered.status, answered.body), (200, pieces.concat()));
        counts[usize::from(answered.cache == SHARED)] += 1;
    }
    assert_eq!((counts, upstream.calls()), ([1, CALLERS - 1], 1));
    assert_eq!(ask(&service, streamed()).await.cache, HIT);
}

#[tokio::test]
async fn on_many_threads_too() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().expect("starts");
    runtime
        .spawn(async {
            for _ in 0..20 {
                let upstream = Upstream::new(|_| {
                    let steps = pieces().into_iter().map(|piece| Step::Data(piece.into()));
                    answer("text/event-stream", Scripted::new(steps))
                });
                let service = cached(&upstream, &Manual::default());
                for task in callers(&service, CALLERS) {
                    let answered = task.await.expect("is answered");
                    assert_eq!((answered.status, answered.body), (200, pieces().concat()));
                }
                assert_eq!(upstream.calls(), 1);
            }
        })
        .await
        .expect("is fine");
    runtime.shutdown_background();
}

/// What the counts in [`CHAT_USAGE`] cost at gpt-4o's price: $2.50 and $10 for a million tokens.
fn paid() -> Usd {
    let usage: Value = serde_json::from_str(CHAT_USAGE.trim().trim_start_matches("data: ")).expect("is JSON");
    let count = |name: &str| u128::from(usage["usage"][name].as_u64().expect("is a count"));
    Usd::pico(count("prompt_tokens") * 2_500_000 + count("completion_tokens") * 10_000_000)
}

/// Whoever began the call leaves after any number of pieces: the others have all of it, the provider was asked once, and once is paid.
#[tokio::test]
async fn the_one_who_began_may_leave_at_any_event() {
    let pieces = pieces();
    for leaves_after in 0..=pieces.len() {
        let (pipe, upstream) = piped();
        let ledger = Ledger::in_memory();
        let budget = BudgetLayer::new(ledger.clone(), Catalog::embedded()).budget(Budget::new(
            Scope::gateway(),
            Usd::dollars(1),
            Window::Lifetime,
        ));
        let inner = BoxCloneSyncService::new(budget.layer(upstream.service()));
        let service = layer(&Manual::default()).layer(inner);
        let priced =
            || chat(&json!({"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": true}}));
        // The head comes with the first piece.
        pipe.send(pieces[0].clone());
        let (mut leader, follower) = tokio::join!(open(&service, priced()), open(&service, priced()));
        assert_eq!(upstream.calls(), 1);
        let reads = tokio::spawn(async move { read_body(follower.into_body()).await.0 });
        let mut leader = Some(leader.body_mut());
        let mut kept = None;
        for (number, piece) in pieces.iter().enumerate() {
            if number == leaves_after {
                leader = None;
            }
            if number > 0 {
                pipe.send(piece.clone());
            }
            if let Some(body) = &mut leader {
                kept = Some(body.frame().await.expect("goes on").expect("is fine"));
            }
            settle().await;
        }
        drop(kept);
        pipe.end();
        assert_eq!(reads.await.expect("is read"), pieces.concat(), "left after {leaves_after}");
        assert_eq!(upstream.calls(), 1);
        let budget = Budget::new(Scope::gateway(), Usd::dollars(1), Window::Lifetime);
        let balance = ledger.balance(&budget).expect("is in memory");
        // The provider's counts at gpt-4o's price, once.
        assert_eq!((balance.spent, balance.held), (paid(), Usd::default()), "left after {leaves_after}");
    }
}

#[tokio::test]
async fn the_one_who_began_may_leave_before_the_head() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = BoxCloneSyncService::new(service_fn({
        let (gate, calls) = (Arc::clone(&gate), Arc::clone(&calls));
        move |_: Request<Body>| {
            let gate = Arc::clone(&gate);
            calls.fetch_add(1, Ordering::SeqCst);
            async move {
                gate.notified().await;
                Ok::<_, Infallible>(events(pieces().concat()))
            }
        }
    }));
    let service = layer(&Manual::default()).layer(inner);
    let mut leader = Box::pin(open(&service, streamed()));
    assert!(poll_once(&mut leader).is_none());
    let follower = callers(&service, 3);
    settle().await;
    drop(leader);
    settle().await;
    gate.notify_waiters();
    for task in follower {
        let answered = task.await.expect("is answered");
        assert_eq!((answered.body, answered.cache), (pieces().concat(), SHARED));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_last_to_leave_ends_the_call() {
    let (pipe, upstream) = piped();
    let store = MemoryStore::new(1 << 20);
    let service = CacheLayer::new(store.clone()).layer(upstream.service());
    let (leader, follower) = tokio::join!(open(&service, streamed()), open(&service, streamed()));
    drop(leader);
    assert!(!pipe.is_dropped());
    drop(follower);
    assert!(pipe.is_dropped() && store.is_empty());
    // And who comes then begins another.
    drop(open(&service, streamed()).await);
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn what_is_refused_to_one_is_not_refused_to_others() {
    let upstream = Upstream::new(|number| match number {
        0 => Rejection::new(Cause::RateLimit, "your budget is spent").into_response(Dialect::OpenAi),
        _ => events(pieces().concat()),
    });
    let service = cached(&upstream, &Manual::default());
    let tasks = callers(&service, 10);
    let mut refused = 0;
    for task in tasks {
        let answered = task.await.expect("is answered");
        match answered.status {
            200 => assert_eq!(answered.body, pieces().concat()),
            _ => {
                refused += 1;
                assert_eq!(answered.json()["error"]["message"], "your budget is spent");
            }
        }
    }
    assert_eq!((refused, upstream.calls()), (1, 2));
}

/// Whoever was refused holds what it was told, and reads none of it.
#[tokio::test]
async fn a_refusal_that_nobody_reads_holds_nobody_up() {
    let upstream = Upstream::new(|number| match number {
        0 => {
            let mut response = Rejection::new(Cause::RateLimit, "no").into_response(Dialect::OpenAi);
            *response.body_mut() = Piped::default().body();
            response
        }
        _ => events(pieces().concat()),
    });
    let service = cached(&upstream, &Manual::default());
    let mut first = Box::pin(open(&service, streamed()));
    let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(open(&service, streamed()))).collect();
    let refused = first.as_mut().await;
    assert_eq!(refused.status(), 429);
    for call in &mut waiting {
        assert_eq!(read_body(call.as_mut().await.into_body()).await.0, pieces().concat());
    }
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn an_answer_of_another_model_is_for_the_one_who_began() {
    let upstream = Upstream::new(|number| {
        let mut response = events(pieces().concat());
        let mut served = ziggurat_core::Served::default();
        served.fallbacks = u32::from(number == 0);
        response.extensions_mut().insert(served);
        response
    });
    let service = cached(&upstream, &Manual::default());
    let (one, two) = tokio::join!(ask(&service, streamed()), ask(&service, streamed()));
    assert_eq!((one.cache, two.cache, upstream.calls()), (MISS, MISS, 2));
    // That of the second is kept.
    assert_eq!(ask(&service, streamed()).await.cache, HIT);
}

#[tokio::test]
async fn a_call_that_panics_is_whole_for_nobody() {
    let service = BoxCloneSyncService::new(service_fn(|_: Request<Body>| async {
        let mut left = 1;
        let body = Piped::default();
        body.send(pieces()[0].clone());
        body.send("x");
        let body = body.body().map_frame(move |frame| {
            assert!(left > 0, "panics, as it is to");
            left -= 1;
            frame
        });
        Ok(answer("text/event-stream", Body::new(body)))
    }));
    let service = layer(&Manual::default()).layer(service);
    let (leader, follower) = tokio::join!(open(&service, streamed()), open(&service, streamed()));
    let mut leader = leader.into_body();
    leader.frame().await.expect("goes on").expect("is fine");
    let panicked = tokio::spawn(async move { read_body(follower.into_body()).await.0 }).await;
    assert!(panicked.is_err());
    let error = leader.frame().await.expect("goes on").expect_err("is told");
    assert_eq!(error.to_string(), "the call has panicked");
}

/// Who is quick waits for the one who began, who pays: beyond the bound that one is not cut off.
#[tokio::test]
async fn the_one_who_began_is_never_too_slow() {
    let (pipe, upstream) = piped();
    let service = layer(&Manual::default()).max_entry(1 << 10).layer(upstream.service());
    let (slow, quick) = tokio::join!(open(&service, streamed()), open(&service, streamed()));
    let text = long(&pipe);
    let quick = tokio::spawn(async move { read_body(quick.into_body()).await.0 });
    let (mut slow, mut read) = (slow.into_body(), Vec::new());
    settle().await;
    while let Some(frame) = slow.frame().await {
        read.extend_from_slice(&frame.expect("is fine").into_data().expect("is data"));
        settle().await;
    }
    assert_eq!(read, text.as_bytes());
    assert_eq!(quick.await.expect("is read"), text);
}

/// It is told so too when its reader goes, be it in the middle of waiting for room.
#[tokio::test]
async fn who_waits_for_the_one_who_began_goes_on_when_that_leaves() {
    let (pipe, upstream) = piped();
    let service = layer(&Manual::default()).max_entry(1 << 10).layer(upstream.service());
    let (slow, quick) = tokio::join!(open(&service, streamed()), open(&service, streamed()));
    let text = long(&pipe);
    let quick = tokio::spawn(async move { read_body(quick.into_body()).await.0 });
    settle().await;
    assert!(!quick.is_finished());
    drop(slow);
    assert_eq!(quick.await.expect("is read"), text);
}

#[tokio::test]
async fn what_a_provider_refuses_it_refuses_to_all() {
    let pipe = Piped::default();
    let upstream = Upstream::new({
        let pipe = pipe.clone();
        move |_| {
            let mut response = answer("application/json", pipe.body());
            *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
            response.headers_mut().insert("retry-after", "7".parse().expect("is a value"));
            response.headers_mut().insert("x-of-the-first", "1".parse().expect("is a value"));
            response
        }
    });
    let service = cached(&upstream, &Manual::default());
    let (first, second) = tokio::join!(open(&service, streamed()), open(&service, chat(&json!({}))));
    pipe.send("{\"error\":{}}");
    pipe.end();
    for (response, began) in [(first, true), (second, false)] {
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"7".parse().expect("is a value"))
        );
        assert_eq!(response.headers().contains_key("x-of-the-first"), began);
        assert_eq!(read_body(response.into_body()).await.0, "{\"error\":{}}");
    }
    assert_eq!(upstream.calls(), 1);
}

/// A stream of a provider's that a layer of ours stops for the first caller, after so many pieces.
fn stopping(after: usize) -> (Boxed, Arc<AtomicUsize>, Piped) {
    let (calls, pipe) = (Arc::new(AtomicUsize::new(0)), Piped::default());
    let service = service_fn({
        let (calls, pipe) = (Arc::clone(&calls), pipe.clone());
        move |request: Request<Body>| {
            let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
            let meter = request.extensions().get::<Meter>().cloned();
            let pipe = pipe.clone();
            async move {
                if !first {
                    return Ok(events(pieces().concat()));
                }
                let mut handle = meter.map(|meter| meter.presume());
                let mut left = after;
                let body = pipe.body().map_frame(move |frame| {
                    if left == 0
                        && let Some(mut handle) = handle.take()
                    {
                        handle.end(Outcome::Stopped);
                    }
                    left = left.saturating_sub(1);
                    frame
                });
                Ok(answer("text/event-stream", Body::new(body)))
            }
        }
    });
    (BoxCloneSyncService::new(service), calls, pipe)
}

#[tokio::test]
async fn a_stop_for_one_ends_nothing_for_those_who_have_nothing_yet() {
    let (inner, calls, pipe) = stopping(0);
    let service = layer(&Manual::default()).layer(inner);
    let (leader, follower) = tokio::join!(open(&service, streamed()), open(&service, streamed()));
    let told = Problem::new(Cause::RateLimit, "your budget is spent").to_event(Dialect::OpenAi);
    pipe.send(told.clone());
    pipe.end();
    let (leader, follower) = tokio::join!(read_body(leader.into_body()), read_body(follower.into_body()));
    assert_eq!(leader.0.as_bytes(), &told[..]);
    assert_eq!((follower.0, calls.load(Ordering::SeqCst)), (pieces().concat(), 2));
}

#[tokio::test]
async fn a_stop_for_one_is_told_to_others_as_what_it_is_for_them() {
    let (inner, _, pipe) = stopping(1);
    let service = layer(&Manual::default()).layer(inner);
    let (leader, follower) = tokio::join!(open(&service, streamed()), open(&service, streamed()));
    let told = Problem::new(Cause::RateLimit, "your budget is spent").to_event(Dialect::OpenAi);
    pipe.send(pieces()[0].clone());
    pipe.send(told.clone());
    pipe.end();
    let (leader, follower) = tokio::join!(read_body(leader.into_body()), read_body(follower.into_body()));
    assert_eq!(leader.0.as_bytes(), [pieces()[0].as_bytes(), &told[..]].concat());
    assert!(follower.0.starts_with(&pieces()[0]) && !follower.0.contains("budget"), "{}", follower.0);
    assert!(follower.0.contains("shared_answer_ended"), "{}", follower.0);
}

#[tokio::test]
async fn who_lags_beyond_the_bound_is_told_so() {
    let (pipe, upstream) = piped();
    let service = layer(&Manual::default()).max_entry(1 << 10).layer(upstream.service());
    let (quick, slow) = tokio::join!(open(&service, streamed()), open(&service, streamed()));
    let text = long(&pipe);
    let mut slow = slow.into_body();
    slow.frame().await.expect("goes on").expect("is fine");
    assert_eq!(read_body(quick.into_body()).await.0, text);
    let slow = read_body(slow).await.0;
    assert!(slow.contains("shared_answer_lagged") && slow.len() < 1 << 10, "{slow}");
    // It was longer than what is kept, and who comes now is asked for anew.
    drop(open(&service, streamed()).await);
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn a_whole_call_and_a_stream_share_one_call() {
    for begins_streamed in [true, false] {
        let pipe = Piped::default();
        let upstream = Upstream::new({
            let pipe = pipe.clone();
            move |_| {
                answer(if begins_streamed { "text/event-stream" } else { "application/json" }, pipe.body())
            }
        });
        let service = cached(&upstream, &Manual::default());
        let requests = [streamed(), chat(&json!({}))];
        let [first, second] = if begins_streamed {
            requests
        } else {
            requests.map(Some).into_iter().rev().flatten().collect::<Vec<_>>().try_into().expect("two")
        };
        let (one, two) = (service.clone(), service.clone());
        let first = tokio::spawn(async move { ask(&one, first).await });
        settle().await;
        let second = tokio::spawn(async move { ask(&two, second).await });
        settle().await;
        match begins_streamed {
            true => pieces().into_iter().for_each(|piece| pipe.send(piece)),
            false => pipe.send(completion("Once upon a time").to_string()),
        }
        pipe.end();
        let (first, second) = (first.await.expect("is answered"), second.await.expect("is answered"));
        assert_eq!((first.cache, second.cache, upstream.calls()), (MISS, SHARED, 1));
        let whole: Value = if begins_streamed { second.json() } else { first.json() };
        assert_eq!(whole["choices"][0]["message"]["content"], "Once upon a time");
        let streamed = if begins_streamed { first } else { second };
        assert_eq!(streamed.kind, "text/event-stream");
        assert!(streamed.body.ends_with(DONE));
    }
}

#[tokio::test]
async fn an_error_is_for_the_one_who_began() {
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = service_fn({
        let calls = Arc::clone(&calls);
        move |_: Request<Body>| {
            let number = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                match number {
                    0 => Err("the line is dead"),
                    _ => Ok(events(pieces().concat())),
                }
            }
        }
    });
    let service = layer(&Manual::default()).layer(inner);
    let (first, second) =
        tokio::join!(service.clone().oneshot(streamed()), service.clone().oneshot(streamed()));
    assert_eq!(first.expect_err("has failed"), "the line is dead");
    let second = second.expect("is answered");
    assert_eq!(second.extensions().get::<Lookup>().map(|lookup| lookup.status), MISS);
    assert_eq!(read_body(second.into_body()).await.0, pieces().concat());
}

#[tokio::test]
async fn a_body_that_breaks_breaks_for_all_and_is_not_kept() {
    let pipe = Piped::default();
    let upstream = Upstream::new(move |number| match number {
        0 => {
            let steps = [Step::Data(pieces()[0].clone().into()), Step::Fail("torn".into())];
            answer("text/event-stream", Scripted::new(steps))
        }
        _ => answer("text/event-stream", pipe.body()),
    });
    let service = cached(&upstream, &Manual::default());
    let (one, two) = tokio::join!(open(&service, streamed()), open(&service, streamed()));
    for response in [one, two] {
        let mut body = response.into_body();
        body.frame().await.expect("goes on").expect("is fine");
        let error = body.frame().await.expect("goes on").expect_err("breaks");
        assert_eq!(error.to_string(), "torn");
        assert!(body.frame().await.is_none());
    }
    drop(open(&service, streamed()).await);
    assert_eq!(upstream.calls(), 2);
}

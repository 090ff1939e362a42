//! Streams that state no cap, and are stopped where the budget ends.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ziggurat_core::Usd;

use super::DOLLAR;
use crate::{
    client::{Raw, post},
    harness::{Gateway, soon, until},
    paid::{Gate, PIECE, PIECES, Paid, body, call, key, spent},
    samples::{CHAT, MESSAGES},
};

/// How a stream without a cap went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    Whole,
    /// Its caller got so many pieces, and the error in the place of the next. This much of the budget was free then.
    Cut(usize, Usd),
    /// With this much free.
    Refused(Usd),
}

/// What callers have seen so far.
#[derive(Default)]
struct Seen {
    /// By the number of pieces: how many callers have as many, or have come to their end.
    reached: [AtomicUsize; PIECES + 1],
    /// Streams that have come to their end.
    ended: AtomicUsize,
    refused: AtomicUsize,
}

/// A stream without a cap in a caller's dialect, to its end; it must be one that there can be.
async fn stream(addr: SocketAddr, path: &str, piece: &str, seen: &Seen) -> Went {
    let mut raw = Raw::connect(addr).await;
    raw.post(path, &[&key()], &body("paid", true, None)).await;
    let head = raw.head().await;
    if head.status != 200 {
        seen.refused.fetch_add(1, Ordering::SeqCst);
        let answer = raw.body(head).await;
        let (error, free) = told(&answer.body, path, false);
        answer.is(429, &error);
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        return Went::Refused(free);
    }
    let (mut read, mut pieces) = (String::new(), 0);
    while let Some(chunk) = raw.chunk().await {
        read += &chunk;
        let now = read.matches(piece).count();
        seen.reached[pieces + 1..=now].iter().for_each(|at| _ = at.fetch_add(1, Ordering::SeqCst));
        pieces = now;
    }
    seen.ended.fetch_add(1, Ordering::SeqCst);
    seen.reached[pieces + 1..].iter().for_each(|at| _ = at.fetch_add(1, Ordering::SeqCst));
    let end = if path == CHAT {
        "data: [DONE]\n\n"
    } else {
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    };
    if pieces == PIECES && read.ends_with(end) {
        assert!(!read.contains("error"), "{read}");
        return Went::Whole;
    }
    let (error, free) = told(&read, path, true);
    assert!(read.ends_with(&error) && !read.contains(end), "{read}");
    Went::Cut(pieces, free)
}

/// The one error of an answer as it must stand there, and how much of the budget it says was free.
fn told(answer: &str, path: &str, streamed: bool) -> (String, Usd) {
    let start = "the budget of the gateway is ";
    assert_eq!(answer.matches(start).count(), 1, "{answer}");
    let (_, message) = answer.split_once(start).unwrap();
    let message = message.split('"').next().unwrap();
    let amounts: Vec<Usd> = message.split(' ').filter_map(|word| word.parse().ok()).collect();
    let (spent, held) = (amounts[0], amounts.get(2).copied().unwrap_or_default());
    assert_eq!(amounts[1], Usd::dollars(1));
    let expected = if held.is_zero() && spent == Usd::dollars(1) {
        "spent: 1 of 1 USD".to_owned()
    } else if held.is_zero() {
        format!("too small for this call: {spent} of 1 USD are spent")
    } else {
        format!("too small for this call: {spent} of 1 USD are spent and {held} set aside for calls that run")
    };
    assert_eq!(message, expected);
    let error = match path {
        CHAT => format!(
            r#"{{"error":{{"message":"{start}{message}","type":"insufficient_quota","param":null,"code":"budget_exceeded"}}}}"#
        ),
        _ => format!(
            r#"{{"type":"error","error":{{"type":"rate_limit_error","message":"{start}{message}"}}}}"#
        ),
    };
    let error = match (streamed, path) {
        (false, _) => error,
        (true, CHAT) => format!("data: {error}\n\n"),
        (true, _) => format!("event: error\ndata: {error}\n\n"),
    };
    (error, Usd::dollars(1).saturating_sub(spent + held))
}

/// Streams that begin at once, every other one of an Anthropic caller.
fn at_once(
    gateway: &Gateway,
    upstream: &Paid,
    count: usize,
) -> (Arc<Seen>, Vec<tokio::task::JoinHandle<Went>>) {
    let (addr, seen) = (gateway.addr, Arc::<Seen>::default());
    let streams = (0..count).map(|at| {
        let (piece, seen) = (upstream.piece(), Arc::clone(&seen));
        let path = if at % 2 == 0 { CHAT } else { MESSAGES };
        tokio::spawn(async move { stream(addr, path, &piece, &seen).await })
    });
    let streams = streams.collect();
    (seen, streams)
}

async fn ended(streams: Vec<tokio::task::JoinHandle<Went>>) -> Vec<Went> {
    let mut all = Vec::new();
    for stream in streams {
        all.push(soon(stream).await.unwrap());
    }
    all
}

/// What streams came to: of one that was cut, the piece that the error stands for is paid for too.
fn cost(all: &[Went]) -> Usd {
    let pieces = all.iter().map(|went| match went {
        Went::Whole => PIECES,
        Went::Cut(pieces, _) => pieces + 1,
        Went::Refused(_) => 0,
    });
    PIECE * pieces.sum::<usize>() as u64
}

fn count(all: &[Went], of: impl Fn(&Went) -> bool) -> usize {
    all.iter().filter(|went| of(went)).count()
}

fn is_whole(went: &Went) -> bool {
    *went == Went::Whole
}

fn is_cut(went: &Went) -> bool {
    matches!(went, Went::Cut(..))
}

/// No stream was stopped or refused while there was money for what it needed next.
fn none_was_stopped_early(all: &[Went], token: Usd) {
    for went in all {
        match *went {
            Went::Whole => {}
            // It had set aside for what came, and wanted as much again.
            Went::Cut(1.., free) => assert!(free < PIECE, "{went:?}"),
            // Begun on the last that was there, which may have been a token's worth: it wanted two pieces' worth.
            Went::Cut(0, free) => assert!(free < PIECE * 2, "{went:?}"),
            Went::Refused(free) => assert!(free < token, "{went:?}"),
        }
    }
}

/// Begins one stream after another until one is refused.
async fn spend_the_rest(gateway: &Gateway, upstream: &Paid) -> Vec<Went> {
    let mut all = Vec::new();
    while !matches!(all.last(), Some(Went::Refused(_))) {
        let path = if all.len() % 2 == 0 { MESSAGES } else { CHAT };
        all.push(stream(gateway.addr, path, &upstream.piece(), &Seen::default()).await);
    }
    all
}

async fn spent_usd(gateway: &Gateway) -> Usd {
    spent(gateway).await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_after_another_fifty_begin_and_the_last_ends_with_the_error() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(&[], DOLLAR), &[], &[]).await;
    let all = spend_the_rest(&gateway, &upstream).await;
    // The 50th would fit to its last piece: nobody knows that it is the last, and there is no money for another.
    let mut expected = vec![Went::Whole; 49];
    expected.extend([Went::Cut(9, Usd::ZERO), Went::Refused(Usd::ZERO)]);
    assert_eq!(all, expected);
    assert_eq!((upstream.pieces(), spent(&gateway).await.as_str()), (500, "1"));
    until(|| upstream.now() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_spend_what_is_served_and_never_more_than_there_is() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(&[], DOLLAR), &[], &[]).await;
    let (_, streams) = at_once(&gateway, &upstream, 200);
    let all = ended(streams).await;
    let whole = count(&all, is_whole);
    // More is set aside for each at first than it comes to: how many pass depends on how many have ended before others begin.
    assert!((19..=50).contains(&whole), "{whole}");
    none_was_stopped_early(&all, Usd::pico(200_000_000));
    until(|| upstream.now() == 0).await;
    assert_eq!(spent_usd(&gateway).await, cost(&all));
    assert!(cost(&all) <= Usd::dollars(1));
    // Nothing is held any more, and the last cent can be spent.
    let rest = spend_the_rest(&gateway, &upstream).await;
    assert_eq!(cost(&all) + cost(&rest), Usd::dollars(1));
    assert_eq!(spent(&gateway).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_that_outgrow_what_was_set_aside_are_cut_within_a_piece_of_the_budgets_end() {
    // As dear, and ten times as long: what is set aside at first is a fourth of it.
    let upstream = Paid::with(100, Gate::Pieces(0)).await;
    let gateway = Gateway::start(&upstream.config(&[], DOLLAR), &[], &[]).await;
    let (seen, streams) = at_once(&gateway, &upstream, 200);
    until(|| upstream.begun() + seen.refused.load(Ordering::SeqCst) == 200).await;
    let begun = upstream.begun();
    // 256 tokens for each of 195, and the rest for one.
    assert_eq!(begun, 196);
    for pieces in 1..=PIECES {
        // Not one more is written before every caller has seen these, or its end.
        upstream.open(Gate::Pieces(pieces));
        until(|| seen.reached[pieces].load(Ordering::SeqCst) == begun).await;
        // Nor before the upstream knows of those that were cut: what it writes into the void nobody is charged for.
        until(|| upstream.now() + seen.ended.load(Ordering::SeqCst) == begun).await;
    }
    upstream.open(Gate::Open);
    let all = ended(streams).await;
    until(|| upstream.now() == 0).await;
    let (whole, cut) = (count(&all, is_whole), count(&all, is_cut));
    assert!(whole + cut == begun && whole <= 50 && cut >= 150, "{whole} {cut}");
    assert_eq!(upstream.served(), whole);
    none_was_stopped_early(&all, Usd::pico(20_000_000));
    let served = PIECE * upstream.pieces() as u64;
    assert_eq!((spent_usd(&gateway).await, cost(&all)), (served, served));
    assert!(served <= Usd::dollars(1), "{served}");
    // What is left is what those that are whole had set aside and did not need: each a step of 256 tokens and a piece at most. And the last
    // of those that were cut may have ended a piece early.
    let left = Usd::dollars(1).saturating_sub(served);
    assert!(left <= (Usd::pico(20_000_000) * 256 + PIECE) * whole as u64 + PIECE, "{left} {whole}");
    let rest = spend_the_rest(&gateway, &upstream).await;
    assert_eq!(cost(&rest), left);
    assert_eq!(spent(&gateway).await, "1");
}

#[tokio::test]
async fn a_stream_that_is_stopped_says_why_in_its_callers_dialect() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(&[], "litellm_settings: {max_budget: 0.01}\n");
    let message = "the budget of the gateway is too small for this call: 0 of 0.01 USD are spent and 0.01 set aside for calls that run";
    let expected = [
        (
            CHAT,
            format!(
                "data: {{\"error\":{{\"message\":\"{message}\",\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"budget_exceeded\"}}}}\n\n"
            ),
        ),
        (
            MESSAGES,
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"rate_limit_error\",\"message\":\"{message}\"}}}}\n\n"
            ),
        ),
    ];
    for (path, expected) in expected {
        let gateway = Gateway::start(&config, &[], &[]).await;
        let answer = post(gateway.addr, path, &[&key()], &body("paid", true, None)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        // Five are paid for, and the fifth gives its place to the error.
        assert_eq!(answer.body.matches(&upstream.piece()).count(), 4);
        assert!(answer.body.ends_with(&expected), "{}", answer.body);
        // Not one byte more is asked of the provider.
        until(|| upstream.now() == 0).await;
        assert_eq!(spent(&gateway).await, "0.01");
    }
}

#[tokio::test]
async fn a_stream_that_begins_on_less_than_its_first_piece_costs_that_piece() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(&[], "litellm_settings: {max_budget: 0.003}\n");
    let gateway = Gateway::start(&config, &[], &[]).await;
    // A piece and a half: the half lets another begin, whose first piece nobody could foresee. It is all that is spent too much.
    for (status, pieces, so_far) in [(200, 0, "0.002"), (200, 0, "0.004"), (429, 0, "0.004")] {
        let answer = call(gateway.addr, &body("paid", true, None)).await;
        assert_eq!((answer.status, answer.body.matches(&upstream.piece()).count()), (status, pieces));
        assert_eq!(answer.body.matches("budget_exceeded").count(), 1);
        assert_eq!(spent(&gateway).await, so_far);
    }
}

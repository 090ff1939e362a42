//! Expiry, correction and windows, by a clock that the test moves.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ziggurat_budget::{
    Charge, Crossed, HoldId, calendar,
    remote::{Backend, Mark, Told},
};
use ziggurat_core::{Budget, Calendar, Clock, Scope, Usd, Window};
use ziggurat_sql::postgres::PostgresLedger;
use ziggurat_testkit::postgres::Postgres;

use super::{TTL, cents, claim, dollar, ledger, settlement};

/// Ledgers go by it.
pub(super) fn clock() -> (Clock, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(START));
    let shown = Arc::clone(&seconds);
    (Clock::new(move || UNIX_EPOCH + Duration::from_secs(shown.load(Relaxed))), seconds)
}

async fn timed(server: &Postgres) -> (PostgresLedger, Arc<AtomicU64>) {
    let (clock, seconds) = clock();
    (ledger(&server.url()).await.clock(clock), seconds)
}

#[tokio::test]
async fn what_was_given_elsewhere_is_held_whatever_fits() {
    let Some(server) = Postgres::start() else { return };
    let (ledger, seconds) = timed(&server).await;
    let budgets = [dollar("a"), dollar("b")];
    let of = |id, amount| claim(id, &budgets, Usd::cents(amount));
    ledger.reserve(&of(1, 60), TTL).await.expect("answers").expect("fits");
    ledger.settle(&[settlement(4, &budgets, Charge::new(Usd::ZERO))]).await.expect("answers");
    for _ in 0..2 {
        // One that is there, two that are not, and one that has ended.
        ledger.adopt(&[of(1, 70), of(2, 50), of(3, 0), of(4, 9), of(1, 10)], TTL).await.expect("answers");
        for budget in &budgets {
            assert_eq!(cents(&ledger, budget).await, (0, 120));
        }
    }
    assert!(ledger.reserve(&of(5, 1), TTL).await.expect("answers").is_err());
    ledger.settle(&[settlement(1, &budgets, Charge::new(Usd::cents(30)))]).await.expect("answers");
    ledger.settle(&[settlement(3, &budgets, Charge::new(Usd::cents(1)))]).await.expect("answers");
    seconds.fetch_add(601, Relaxed);
    assert_eq!(ledger.expire().await.expect("answers"), 1);
    // Posted as unreconciled, it stays as it is.
    ledger.adopt(&[of(2, 90)], TTL).await.expect("answers");
    for budget in &budgets {
        assert_eq!(cents(&ledger, budget).await, (81, 0));
    }
}

/// Of each of some marks (80 percent of that many cents, by that hold) what is to be done.
async fn tell(ledger: &PostgresLedger, budget: &Budget, marks: &[(u64, u128)]) -> Vec<Told> {
    let mark = |(cents, by): &(u64, u128)| {
        Mark::new(budget.clone(), Crossed::Percent(80), Usd::cents(*cents), HoldId(*by))
    };
    ledger.tell(&marks.iter().map(mark).collect::<Vec<_>>()).await.expect("answers")
}

#[tokio::test]
async fn an_amount_is_told_once_in_a_window_and_again_to_who_asks_again() {
    let Some(server) = Postgres::start() else { return };
    let (ledger, seconds) = timed(&server).await;
    let at = |after| Some(UNIX_EPOCH + Duration::from_secs(after));
    let day = 86_400;
    let midnight = START / day * day;
    let calendar = calendar::window("1d", "UTC").expect("is one");
    // Slices of 100 s.
    let (slice, rolling) = (START / 100 * 100, Window::Rolling(Duration::from_secs(6400)));
    for (number, (window, again_at, next)) in [
        (Window::Lifetime, None, None),
        (calendar, at(midnight + day), Some((midnight + day, at(midnight + 2 * day)))),
        (rolling, at(slice + 6400), Some((slice + 6400, at(slice + 12_900)))),
    ]
    .into_iter()
    .enumerate()
    {
        seconds.store(START, Relaxed);
        let budget = Budget::new(Scope::tenant(format!("t{number}")), Usd::dollars(1), window);
        let spend = async |id, cents| {
            let settlement = settlement(
                id + 10 * number as u128,
                std::slice::from_ref(&budget),
                Charge::new(Usd::cents(cents)),
            );
            ledger.settle(&[settlement]).await.expect("answers")
        };
        assert_eq!(spend(1, 80).await, [Usd::cents(80)]);
        assert_eq!(spend(1, 7).await, [Usd::cents(80)]);
        let now = Told::Now { spent: Usd::cents(80), again_at };
        let before = Told::Before { again_at };
        assert_eq!(
            tell(&ledger, &budget, &[(81, 1), (80, 1), (80, 2), (80, 1), (79, 1)]).await,
            [Told::Below, now, before, now, before]
        );
        // Of another kind, and then of a cap that was raised.
        let soft = Mark::new(budget.clone(), Crossed::Soft(Usd::cents(1)), Usd::cents(1), HoldId(3));
        assert_eq!(ledger.tell(&[soft]).await, Ok(vec![now]));
        spend(2, 20).await;
        let now = Told::Now { spent: Usd::dollars(1), again_at };
        assert_eq!(tell(&ledger, &budget, &[(99, 4), (80, 1), (99, 5)]).await, [now, before, before]);
        let Some((next, again_at)) = next else { continue };
        seconds.store(next - 1, Relaxed);
        assert_eq!(tell(&ledger, &budget, &[(99, 6)]).await, [before]);
        seconds.store(next + 100, Relaxed);
        assert_eq!(tell(&ledger, &budget, &[(80, 6)]).await, [Told::Below]);
        spend(3, 80).await;
        assert_eq!(
            tell(&ledger, &budget, &[(80, 7), (80, 8)]).await,
            [Told::Now { spent: Usd::cents(80), again_at }, Told::Before { again_at }]
        );
    }
}

#[tokio::test]
async fn what_expires_is_posted_and_can_be_put_right_once() {
    let Some(server) = Postgres::start() else { return };
    let (ledger, seconds) = timed(&server).await;
    let rolling = Budget::new(Scope::tenant("r"), Usd::dollars(1), Window::Rolling(Duration::from_secs(64)));
    let budgets = [dollar("a"), rolling];
    for id in 1..=3 {
        ledger.reserve(&claim(id, &budgets, Usd::cents(20)), TTL).await.expect("answers").expect("fits");
    }
    seconds.fetch_add(599, Relaxed);
    assert_eq!(ledger.expire().await.expect("answers"), 0);
    ledger.renew(&[HoldId(2), HoldId(99)], TTL).await.expect("answers");
    seconds.fetch_add(1, Relaxed);
    assert_eq!(ledger.expire().await.expect("answers"), 2);
    assert_eq!(ledger.expire().await.expect("answers"), 0);
    for budget in &budgets {
        assert_eq!(cents(&ledger, budget).await, (40, 20));
    }
    // Renewed late, it stays posted.
    ledger.renew(&[HoldId(1)], TTL).await.expect("answers");

    // Put right in the bucket it was posted in, which is then forgotten when that is.
    seconds.fetch_add(60, Relaxed);
    ledger.settle(&[settlement(1, &budgets, Charge::new(Usd::cents(5)))]).await.expect("is settled");
    ledger.settle(&[settlement(1, &budgets, Charge::new(Usd::cents(9)))]).await.expect("is settled");
    for budget in &budgets {
        assert_eq!(cents(&ledger, budget).await, (25, 20));
    }
    let total = ledger.total(&budgets[0].account).await.expect("answers").expect("is known");
    assert_eq!(
        (total.amount, total.unreconciled, total.held),
        (Usd::cents(25), Usd::cents(20), Usd::cents(20))
    );
    seconds.fetch_add(5, Relaxed);
    assert_eq!((cents(&ledger, &budgets[0]).await, cents(&ledger, &budgets[1]).await), ((25, 20), (0, 20)));

    // Both facts are there.
    let postings = ledger.postings(None, 0, 10).await.expect("answers");
    assert_eq!(postings.iter().map(|posting| posting.id.0).collect::<Vec<_>>(), [1, 3]);
    let (corrected, lost) = (&postings[0], &postings[1]);
    assert_eq!((corrected.amount, corrected.unreconciled), (Usd::cents(5), Some(Usd::cents(20))));
    assert_eq!(corrected.corrected_at, Some(UNIX_EPOCH + Duration::from_secs(START + 660)));
    assert_eq!((lost.amount, lost.unreconciled, lost.corrected_at), (Usd::cents(20), None, None));
    assert!(lost.flags.unreconciled && !corrected.flags.unreconciled);
    assert_eq!(lost.lines.len(), 2);
}

#[tokio::test]
async fn periods_of_the_calendar_are_those_of_the_servers_time() {
    let Some(server) = Postgres::start() else { return };
    let (ledger, seconds) = timed(&server).await;
    let window = calendar::window("1h", "UTC").expect("is a window");
    let budget = [Budget::new(Scope::tenant("h"), Usd::dollars(1), window)];
    seconds.store(HOUR + 3_599, Relaxed);
    ledger.settle(&[settlement(1, &budget, Charge::new(Usd::cents(90)))]).await.expect("is settled");
    let full = ledger.reserve(&claim(2, &budget, Usd::cents(11)), TTL).await.expect("answers");
    let Err(ziggurat_budget::Refused::Exceeded { balance, .. }) = full else { panic!("{full:?}") };
    assert_eq!(balance.resets_at, Some(UNIX_EPOCH + Duration::from_secs(HOUR + 3_600)));
    ledger.reserve(&claim(2, &budget, Usd::cents(10)), TTL).await.expect("answers").expect("fits");
    seconds.store(HOUR + 3_600, Relaxed);
    assert_eq!(cents(&ledger, &budget[0]).await, (0, 10));

    // A hold that ends long after any period that was told counts in the one after those, and is there for good.
    seconds.store(HOUR + 10 * 3_600, Relaxed);
    assert_eq!(ledger.expire().await.expect("answers"), 1);
    let total = ledger.total(&budget[0].account).await.expect("answers").expect("is known");
    assert_eq!((total.amount, total.unreconciled), (Usd::dollars(1), Usd::cents(10)));
    assert_eq!(cents(&ledger, &budget[0]).await, (0, 0));
    ledger.settle(&[settlement(3, &budget, Charge::new(Usd::cents(7)))]).await.expect("is settled");
    assert_eq!(cents(&ledger, &budget[0]).await, (7, 0));

    // Time that steps back frees nothing.
    seconds.store(HOUR + 9 * 3_600, Relaxed);
    assert_eq!(cents(&ledger, &budget[0]).await, (7, 0));
}

/// A node whose clock is years off asks with the wrong period, learns the server's time, and asks again.
#[tokio::test]
async fn a_node_with_a_wrong_clock_counts_in_the_right_period() {
    let Some(server) = Postgres::start() else { return };
    let ledger = ledger(&server.url()).await;
    let asked = Arc::new(AtomicU64::new(0));
    let window = Window::Calendar(Arc::new(Minutes(Arc::clone(&asked))));
    let budget = [Budget::new(Scope::tenant("w"), Usd::dollars(1), window)];
    let before = SystemTime::now();
    let granted =
        ledger.reserve(&claim(1, &budget, Usd::cents(1)), TTL).await.expect("answers").expect("fits");
    let resets = granted.balances[0].resets_at.expect("resets");
    assert!(resets > before && resets <= SystemTime::now() + Duration::from_secs(60));
    // The account was made, then the clock was put right.
    assert_eq!(asked.load(Relaxed), 6);
    assert_eq!(cents(&ledger, &budget[0]).await, (0, 1));
    assert_eq!(asked.load(Relaxed), 8);
}

/// Minutes, of which the first that are asked for are those of decades later.
struct Minutes(Arc<AtomicU64>);

impl Calendar for Minutes {
    fn name(&self) -> &str {
        "minutes"
    }

    fn period(&self, now: SystemTime) -> Range<SystemTime> {
        let off = if self.0.fetch_add(1, Relaxed) < 4 { 1_000_000_020 } else { 0 };
        let minute = now.duration_since(UNIX_EPOCH).expect("is later").as_secs() / 60 * 60 + off;
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        at(minute)..at(minute + 60)
    }
}

const START: u64 = 1_700_000_000;
/// A whole one.
const HOUR: u64 = START / 3_600 * 3_600;

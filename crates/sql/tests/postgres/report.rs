//! What is read, and what stays when old things are deleted.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, UNIX_EPOCH},
};

use sqlx::{Connection, PgConnection, query, query_scalar};
use ziggurat_budget::{Charge, calendar, remote::Backend};
use ziggurat_core::{Budget, Scope, Usd, Window};
use ziggurat_testkit::postgres::Postgres;

use super::{TTL, cents, claim, dollar, ledger, settlement, times, unreconciled};

#[tokio::test]
async fn sums_stay_when_postings_are_pruned() {
    let Some(server) = Postgres::start() else { return };
    let (clock, seconds) = times::clock();
    let ledger = ledger(&server.url()).await.clock(clock);
    let days = |days: u64| Window::Rolling(Duration::from_secs(days * 86_400));
    let daily = calendar::window("1d", "UTC").expect("is a window");
    let budgets = [
        dollar("for ever"),
        Budget::new(Scope::tenant("rolling"), Usd::dollars(1), days(1)),
        Budget::new(Scope::tenant("long"), Usd::dollars(1), days(100)),
        Budget::new(Scope::tenant("daily"), Usd::dollars(1), daily),
    ];
    ledger.settle(&[settlement(1, &budgets, Charge::new(Usd::cents(3)))]).await.expect("is settled");
    ledger.settle(&[settlement(2, &budgets, unreconciled(Usd::cents(4)))]).await.expect("is settled");
    let start = seconds.load(Relaxed);
    let now = || UNIX_EPOCH + Duration::from_secs(seconds.load(Relaxed));
    // Nothing is older than a day: repeated ids are still known.
    assert_eq!(ledger.prune(now()).await.expect("prunes"), 0);
    seconds.store(start + 10 * 86_400, Relaxed);
    ledger.settle(&[settlement(3, &budgets, Charge::new(Usd::cents(5)))]).await.expect("is settled");
    ledger.reserve(&claim(4, &budgets, Usd::cents(1)), TTL).await.expect("answers").expect("fits");

    // Two postings, and the buckets of two accounts.
    assert_eq!(ledger.prune(now()).await.expect("prunes"), 4);
    assert_eq!(ledger.prune(now()).await.expect("prunes"), 0);
    let postings = ledger.postings(None, 0, 10).await.expect("answers");
    assert_eq!(postings.iter().map(|posting| posting.id.0).collect::<Vec<_>>(), [3]);
    let totals = ledger.totals(0, 10).await.expect("answers");
    assert_eq!(totals.len(), 4);
    for total in totals {
        assert_eq!(
            (total.amount, total.unreconciled, total.held),
            (Usd::cents(12), Usd::cents(4), Usd::cents(1)),
            "{:?}",
            total.account
        );
    }
    let spent = [12, 5, 12, 5];
    for (budget, spent) in budgets.iter().zip(spent) {
        assert_eq!(cents(&ledger, budget).await, (spent, 1));
    }
}

/// An account that nothing is left of is forgotten, once nobody has asked for it for as long as postings are kept; and no other.
#[tokio::test]
async fn accounts_that_nothing_is_left_of_are_pruned() {
    let Some(server) = Postgres::start() else { return };
    let (clock, seconds) = times::clock();
    let ledger = ledger(&server.url()).await.clock(clock);
    let day = |name: &str| {
        Budget::new(Scope::tenant(name), Usd::cents(9), Window::Rolling(Duration::from_secs(86_400)))
    };
    let now = || UNIX_EPOCH + Duration::from_secs(seconds.load(Relaxed));
    // Spent, and passed; refused; spent for ever; held, of nothing.
    let [spent, refused, lasting, held] = [day("spent"), day("refused"), dollar("lasting"), day("held")];
    ledger
        .settle(&[settlement(1, &[spent.clone(), lasting.clone()], Charge::new(Usd::cents(3)))])
        .await
        .expect("settles");
    assert!(
        ledger
            .reserve(&claim(2, std::slice::from_ref(&refused), Usd::dollars(1)), TTL)
            .await
            .expect("answers")
            .is_err()
    );
    let long = Duration::from_secs(100 * 86_400);
    ledger
        .reserve(&claim(3, std::slice::from_ref(&held), Usd::ZERO), long)
        .await
        .expect("answers")
        .expect("fits");
    let names = || server.psql("postgres", "SELECT string_agg(scope, ' ' ORDER BY scope) FROM account");
    assert_eq!(ledger.prune(now()).await.expect("prunes"), 0);
    assert_eq!(names(), "held lasting refused spent");
    seconds.fetch_add(10 * 86_400, Relaxed);
    // One posting, one bucket, two accounts.
    assert_eq!(ledger.prune(now()).await.expect("prunes"), 4);
    assert_eq!(names(), "held lasting");
    // It is as new.
    ledger
        .reserve(&claim(4, std::slice::from_ref(&spent), Usd::cents(9)), TTL)
        .await
        .expect("answers")
        .expect("fits");
    assert_eq!((cents(&ledger, &spent).await, cents(&ledger, &lasting).await), ((0, 9), (3, 0)));
    assert_eq!(ledger.prune(now()).await.expect("prunes"), 0);
}

#[tokio::test]
async fn an_account_that_is_deleted_while_it_is_asked_for_is_made_again() {
    let Some(server) = Postgres::start() else { return };
    let ledger = ledger(&server.url()).await;
    let budget = [dollar("a")];
    ledger.settle(&[settlement(1, &budget, Charge::new(Usd::ZERO))]).await.expect("settles");
    let mut other = PgConnection::connect(&server.url()).await.expect("connects");
    query("BEGIN").execute(&mut other).await.expect("begins");
    query("DELETE FROM account").execute(&mut other).await.expect("deletes");
    let asked = {
        let (ledger, claim) = (ledger.clone(), claim(2, &budget, Usd::cents(7)));
        tokio::spawn(async move { ledger.reserve(&claim, TTL).await })
    };
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while query_scalar::<_, i64>(waiting).fetch_one(&mut other).await.expect("answers") == 0 {
        tokio::task::yield_now().await;
    }
    query("COMMIT").execute(&mut other).await.expect("commits");
    asked.await.expect("ends").expect("answers").expect("fits");
    assert_eq!(cents(&ledger, &budget[0]).await, (0, 7));
}

#[tokio::test]
async fn postings_are_read_page_by_page_and_by_account() {
    let Some(server) = Postgres::start() else { return };
    let ledger = ledger(&server.url()).await;
    let (key, team) = (dollar("key"), dollar("team"));
    let all: Vec<_> = (0..1_201)
        .map(|id| {
            let both = [key.clone(), team.clone()];
            let budgets = if id % 3 == 0 { &both[..] } else { &both[1..] };
            settlement(id, budgets, Charge::new(Usd::pico(id)))
        })
        .collect();
    ledger.settle(&all).await.expect("is settled");
    let (mut ids, mut after) = (Vec::new(), 0);
    loop {
        let page = ledger.postings(None, after, 500).await.expect("answers");
        let Some(last) = page.last() else { break };
        after = last.number;
        ids.extend(page.iter().map(|posting| posting.id.0));
    }
    assert_eq!(ids, (0..1_201).collect::<Vec<_>>());

    let of_key = ledger.postings(Some(&key.account), 0, 1_000).await.expect("answers");
    assert_eq!(of_key.len(), 401);
    let first = &of_key[1];
    assert_eq!((first.id.0, first.call.0, first.amount, first.held), (3, 1_000_003, Usd::pico(3), Usd::ZERO));
    assert_eq!(first.at, UNIX_EPOCH + Duration::from_secs(7));
    assert!(first.flags.overrun);
    let lines: Vec<_> = first.lines.iter().map(|(account, bucket)| (account, *bucket)).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.contains(&(&key.account, 0)) && lines.contains(&(&team.account, 0)));
    assert_eq!(ledger.postings(Some(&dollar("other").account), 0, 9).await.expect("answers"), []);
    assert_eq!(ledger.total(&dollar("other").account).await.expect("answers"), None);
}

//! What is decided, one thing after another and many at once.

use ziggurat_budget::{Charge, Refused, remote::Backend};
use ziggurat_core::{Account, Budget, Scope, ScopeKind, Usd, Window};
use ziggurat_testkit::postgres::Postgres;

use super::{TTL, cents, claim, dollar, ledger, settlement, unreconciled};

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_holds_between_two_nodes() {
    let Some(server) = Postgres::start() else { return };
    let (one, other) = (ledger(&server.url()).await, ledger(&server.url()).await);
    let (key, team) = (dollar("key"), dollar("team"));
    let claimed = [key.clone(), team.clone()];
    let asked = (0..200_u128).map(|id| {
        let (node, claimed) = if id % 2 == 0 { (&one, &claimed) } else { (&other, &claimed) };
        async move {
            let claim = claim(id, claimed, Usd::cents(2));
            match node.reserve(&claim, TTL).await.expect("answers") {
                Ok(granted) => {
                    assert_eq!((granted.amount, granted.balances.len()), (Usd::cents(2), 2));
                    true
                }
                Err(Refused::Exceeded { account, cap, balance }) => {
                    assert_eq!((&*account, cap), (&claimed[0].account, Usd::dollars(1)));
                    assert_eq!(balance.spent + balance.held, Usd::dollars(1));
                    false
                }
                Err(refused) => panic!("{refused}"),
            }
        }
    });
    let granted = futures_util::future::join_all(asked).await;
    assert_eq!(granted.iter().filter(|granted| **granted).count(), 50);
    assert_eq!(cents(&one, &key).await, (0, 100));
    let ended: Vec<_> = (0..200)
        .filter(|id| granted[*id as usize])
        .map(|id| settlement(id, &claimed, Charge::new(Usd::cents(1))))
        .collect();
    one.settle(&ended).await.expect("is settled");
    assert_eq!((cents(&other, &key).await, cents(&other, &team).await), ((50, 0), (50, 0)));
}

#[tokio::test]
async fn what_comes_again_or_late_changes_nothing() {
    let Some(server) = Postgres::start() else { return };
    let ledger = ledger(&server.url()).await;
    let budget = [dollar("a"), dollar("b")];
    let claim = claim(1, &budget, Usd::cents(40));

    // The same question twice is one reservation.
    for _ in 0..2 {
        let granted = ledger.reserve(&claim, TTL).await.expect("answers").expect("fits");
        assert_eq!((granted.amount, granted.balances[1].held), (Usd::cents(40), Usd::cents(40)));
    }
    let more = ledger.extend(&super::claim(1, &budget, Usd::cents(20)), TTL).await.expect("answers");
    let more = more.expect("fits");
    assert_eq!((more.amount, more.balances[0].held), (Usd::cents(20), Usd::cents(60)));
    let too_much = ledger.extend(&super::claim(1, &budget, Usd::cents(41)), TTL).await.expect("answers");
    assert!(matches!(too_much, Err(Refused::Exceeded { .. })));

    // In a batch and again: the first counts.
    let (once, again) = (
        settlement(1, &budget, Charge::new(Usd::cents(70))),
        settlement(1, &budget, Charge::new(Usd::cents(3))),
    );
    ledger.settle(&[once, again.clone()]).await.expect("is settled");
    ledger.settle(&[again]).await.expect("is settled");
    assert_eq!(cents(&ledger, &budget[0]).await, (70, 0));

    // Who comes late is refused, and so is who asks for more.
    for ended in [ledger.reserve(&claim, TTL).await, ledger.extend(&claim, TTL).await] {
        assert!(matches!(ended.expect("answers"), Err(Refused::Unavailable(_))));
    }
    // Settled before it was reserved, as its caller had stopped waiting: released for ever.
    ledger.settle(&[settlement(2, &budget, Charge::new(Usd::ZERO))]).await.expect("is settled");
    let late = ledger.reserve(&super::claim(2, &budget, Usd::cents(1)), TTL).await.expect("answers");
    assert!(matches!(late, Err(Refused::Unavailable(_))));
    // What is not known is posted, also to accounts that are new.
    let new = [dollar("c"), dollar("b")];
    ledger.settle(&[settlement(3, &new, Charge::new(Usd::cents(5)))]).await.expect("is settled");
    assert_eq!((cents(&ledger, &new[0]).await, cents(&ledger, &new[1]).await), ((5, 0), (75, 0)));
    // An extension of what is not known is not made.
    let none = ledger.extend(&super::claim(4, &budget, Usd::cents(1)), TTL).await.expect("answers");
    assert!(matches!(none, Err(Refused::Unavailable(_))));
    // A batch of nothing, and a claim on nothing.
    ledger.settle(&[]).await.expect("is settled");
    let free =
        ledger.reserve(&super::claim(5, &[], Usd::cents(9)), TTL).await.expect("answers").expect("fits");
    assert_eq!((free.amount, free.balances.len()), (Usd::cents(9), 0));
    ledger.settle(&[settlement(5, &[], Charge::new(Usd::cents(9)))]).await.expect("is settled");
}

#[tokio::test]
async fn as_much_as_fits_is_set_aside_in_all_accounts_or_none() {
    let Some(server) = Postgres::start() else { return };
    let ledger = ledger(&server.url()).await;
    let (wide, narrow) =
        (dollar("wide"), Budget::new(Scope::tenant("narrow"), Usd::cents(30), Window::Lifetime));
    let mut claim = claim(1, &[wide.clone(), narrow.clone()], Usd::cents(50));
    let refused = ledger.reserve(&claim, TTL).await.expect("answers");
    let Err(Refused::Exceeded { account, cap, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((&*account, cap), (&narrow.account, Usd::cents(30)));
    assert_eq!(cents(&ledger, &wide).await, (0, 0));
    claim.least = Usd::cents(10);
    let granted = ledger.reserve(&claim, TTL).await.expect("answers").expect("fits");
    assert_eq!(granted.amount, Usd::cents(30));
    assert_eq!(cents(&ledger, &wide).await, (0, 30));

    // Two budgets of one account: the smaller cap counts, and both are told.
    let mut small = wide.clone();
    small.cap = Usd::cents(40);
    let twice = [wide.clone(), small];
    let refused = ledger.reserve(&super::claim(2, &twice, Usd::cents(11)), TTL).await.expect("answers");
    assert!(matches!(refused, Err(Refused::Exceeded { cap, .. }) if cap == Usd::cents(40)));
    let granted =
        ledger.reserve(&super::claim(2, &twice, Usd::cents(10)), TTL).await.expect("answers").expect("fits");
    assert_eq!(granted.balances.iter().map(|balance| balance.held).collect::<Vec<_>>(), [Usd::cents(40); 2]);
}

#[tokio::test]
async fn every_digit_and_every_name_is_kept() {
    let Some(server) = Postgres::start() else { return };
    let ledger = ledger(&server.url()).await;
    let long = "x".repeat(100_000);
    for (at, name) in
        ["", "NUL\0", "\\0", "'; DROP TABLE account; --", "ümläut", &long].into_iter().enumerate()
    {
        let at = at as u128 * 10;
        let scope = Scope::new(ScopeKind::EndUser, name);
        let account = Account::new(scope, Some("gpt-*".into()), "lifetime");
        let budget = [Budget::in_account(account.clone(), Usd::MAX, None, Window::Lifetime)];
        let odd = Usd::pico(123_456_789_012_345_678_901_234_567);
        ledger.settle(&[settlement(at, &budget, Charge::new(odd))]).await.expect("is settled");
        let total = ledger.total(&account).await.expect("answers").expect("is known");
        assert_eq!((total.account, total.amount), (account.clone(), odd));

        // More money than there is.
        let granted = ledger.reserve(&claim(at + 1, &budget, Usd::pico(1)), TTL).await.expect("answers");
        assert_eq!(granted.expect("fits").balances[0].spent, odd);
        ledger.settle(&[settlement(at + 2, &budget, Charge::new(Usd::MAX))]).await.expect("is settled");
        ledger.settle(&[settlement(at + 3, &budget, unreconciled(Usd::MAX))]).await.expect("is settled");
        assert_eq!(ledger.balances(&budget).await.expect("answers")[0].spent, Usd::MAX);
        ledger.settle(&[settlement(at + 3, &budget, Charge::new(Usd::ZERO))]).await.expect("is settled");
        assert_eq!(ledger.balances(&budget).await.expect("answers")[0].spent, Usd::MAX);
        let full = ledger.reserve(&claim(at + 4, &budget, Usd::pico(1)), TTL).await.expect("answers");
        assert!(matches!(full, Err(Refused::Exceeded { .. })));
    }
}

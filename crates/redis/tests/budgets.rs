//! The ledger on Redis against the one in memory, and what only the one on Redis must do.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
use ziggurat_budget::{
    Charge, Claim, Crossed, Flags, Held, Hold, HoldId, Ledger, Refused, Reply,
    remote::{Backend, Granted, Mark, Settlement, Told},
};
use ziggurat_core::{Budget, Calendar, Clock, Scope, Usd, Window};
use ziggurat_redis::{Budgets, Options, Redis};
use ziggurat_testkit::redis::RedisServer;

const TTL: Duration = Duration::from_secs(600);

/// A clock that tests set, in seconds since a whole hour long ago.
#[derive(Clone, Default)]
struct Script(Arc<AtomicU64>);

impl Script {
    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    fn now(&self) -> SystemTime {
        start() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn clock(&self) -> Clock {
        let script = self.clone();
        Clock::new(move || script.now())
    }
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_920_002_400)
}

/// Hours.
struct Hourly;

impl Calendar for Hourly {
    fn name(&self) -> &str {
        "1h UTC"
    }

    fn period(&self, now: SystemTime) -> Range<SystemTime> {
        let hours = now.duration_since(SystemTime::UNIX_EPOCH).expect("after the epoch").as_secs() / 3600;
        let at = |hours| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600);
        at(hours)..at(hours + 1)
    }
}

fn connect(server: &RedisServer, prefix: &str, script: &Script) -> Budgets {
    let options = Options::new(server.url()).prefix(prefix).clock(script.clock());
    Redis::connect(options.response_timeout(Duration::from_secs(5))).expect("valid options").budgets()
}

fn lifetime(name: &str, cap: Usd) -> Budget {
    Budget::new(Scope::tenant(name), cap, Window::Lifetime)
}

fn hourly(name: &str, cap: Usd) -> Budget {
    Budget::new(Scope::tenant(name), cap, Window::Calendar(Arc::new(Hourly)))
}

fn rolling(name: &str, cap: Usd) -> Budget {
    // Slices of 100 s.
    Budget::new(Scope::tenant(name), cap, Window::Rolling(Duration::from_secs(6400)))
}

fn claim(id: u128, budgets: &[Budget], least: Usd, most: Usd) -> Claim {
    Claim::new(HoldId(id), HoldId(id), budgets.into(), least, most)
}

async fn reserve(ledger: &Budgets, claim: &Claim) -> Result<Granted, Refused> {
    ledger.reserve(claim, TTL).await.expect("the server is there")
}

async fn settle(ledger: &Budgets, claim: &Claim, charge: Charge) {
    let settlement = Settlement::new(claim.id, claim.call, Arc::clone(&claim.budgets), charge, start());
    ledger.settle(&[settlement]).await.expect("the server is there");
}

/// Spent, held and unreconciled, in cents.
async fn cents(ledger: &Budgets, budget: &Budget) -> (u128, u128, u128) {
    let standings = ledger.standings(std::slice::from_ref(budget)).await.expect("the server is there");
    let in_cents = |amount: Usd| {
        assert_eq!(amount.as_pico() % 10_000_000_000, 0, "{amount}");
        amount.as_pico() / 10_000_000_000
    };
    let [standing] = standings[..] else { panic!("one for each budget") };
    (in_cents(standing.balance.spent), in_cents(standing.balance.held), in_cents(standing.unreconciled))
}

fn unreconciled(amount: Usd) -> Charge {
    let mut flags = Flags::default();
    flags.unreconciled = true;
    Charge::of(amount, flags)
}

/// What was set aside, or the refusal in words that both ledgers share.
fn told(result: Result<Usd, Refused>) -> Result<Usd, String> {
    result.map_err(|refused| format!("{refused:?}"))
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Reserve(Vec<bool>, Usd, Usd),
    Extend(Index, Usd, Usd),
    Settle(Index, Usd),
    /// Nobody settles it: it is posted as unreconciled, and may be corrected.
    Abandon(Index, bool),
    Correct(Index, Usd),
}

fn amounts() -> impl Strategy<Value = Usd> {
    prop_oneof![
        2 => (0..40_u64).prop_map(Usd::cents),
        2 => (0..400_000_000_000_u128).prop_map(Usd::pico),
        1 => Just(Usd::ZERO),
        1 => (0..2_000_u64).prop_map(Usd::dollars),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![0..90_u64, 100..1000_u64, 1000..9000_u64];
    let among = proptest::collection::vec(any::<bool>(), 6);
    let step = prop_oneof![
        2 => wait.prop_map(Step::Wait),
        5 => (among, amounts(), amounts()).prop_map(|(among, least, most)| Step::Reserve(among, least, most)),
        2 => (any::<Index>(), amounts(), amounts()).prop_map(|(at, least, most)| Step::Extend(at, least, most)),
        3 => (any::<Index>(), amounts()).prop_map(|(at, amount)| Step::Settle(at, amount)),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(at, expires)| Step::Abandon(at, expires)),
        1 => (any::<Index>(), amounts()).prop_map(|(at, amount)| Step::Correct(at, amount)),
    ];
    proptest::collection::vec(step, 1..50)
}

fn budgets_under_test() -> [Budget; 6] {
    [
        lifetime("a", Usd::dollars(3)),
        hourly("a", Usd::dollars(2)),
        rolling("a", Usd::dollars(1)),
        lifetime("b", Usd::MAX),
        // The same account as the first, by another cap.
        lifetime("a", Usd::dollars(2)),
        rolling("b", Usd::dollars(5000)).models("m"),
    ]
}

fn ready<T>(reply: Reply<T>) -> T {
    match reply {
        Reply::Ready(answer) => answer,
        Reply::Later(_) => unreachable!("memory answers at once"),
    }
}

async fn run(ledger: &Budgets, script: &Script, steps: Vec<Step>) {
    let model = Ledger::in_memory().clock(script.clock());
    let all = budgets_under_test();
    script.set(0);
    let (mut seconds, mut next) = (0, 0);
    let mut open: Vec<(Claim, Box<dyn Hold>)> = Vec::new();
    let mut abandoned: Vec<Claim> = Vec::new();
    let mut ended: Vec<Claim> = Vec::new();
    let renew = async |open: &[(Claim, Box<dyn Hold>)]| {
        let ids: Vec<HoldId> = open.iter().map(|(claim, _)| claim.id).collect();
        ledger.renew(&ids, Duration::from_secs(1_000_000)).await.expect("the server is there");
    };
    for step in steps {
        match step {
            Step::Wait(more) => {
                seconds += more;
                script.set(seconds);
                assert_eq!(ledger.expire().await, Ok(0));
            }
            Step::Reserve(among, least, most) => {
                let chosen = all.iter().zip(among).filter(|(_, is)| *is);
                let budgets: Vec<_> = chosen.map(|(budget, _)| budget.clone()).collect();
                next += 1;
                let claim = claim(next, &budgets, least, most);
                let ours = reserve(ledger, &claim).await;
                match (ours, ready(model.reserve(claim.clone()))) {
                    (Ok(granted), Ok(Held { amount, hold, .. })) => {
                        assert_eq!(granted.amount, amount);
                        let theirs: Vec<_> =
                            budgets.iter().map(|budget| model.balance(budget).expect("is known")).collect();
                        assert_eq!(granted.balances, theirs);
                        // It is repeated, and told again.
                        assert_eq!(reserve(ledger, &claim).await.expect("is reserved"), granted);
                        open.push((claim, hold));
                        renew(&open).await;
                    }
                    (ours, theirs) => {
                        assert_eq!(
                            told(ours.map(|granted| granted.amount)),
                            told(theirs.map(|held| held.amount))
                        );
                    }
                }
            }
            Step::Extend(at, least, most) if !open.is_empty() => {
                let (claimed, hold) = &open[at.index(open.len())];
                let more = Claim::new(claimed.id, claimed.call, Arc::clone(&claimed.budgets), least, most);
                let ours =
                    ledger.extend(&more, Duration::from_secs(1_000_000)).await.expect("the server is there");
                assert_eq!(told(ours.map(|granted| granted.amount)), told(ready(hold.extend(least, most))));
            }
            Step::Settle(at, amount) if !open.is_empty() => {
                let (claim, hold) = open.remove(at.index(open.len()));
                hold.settle(Charge::new(amount));
                // What comes again changes nothing, whatever it says.
                settle(ledger, &claim, Charge::new(amount)).await;
                settle(ledger, &claim, Charge::new(Usd::dollars(9))).await;
                settle(ledger, &claim, unreconciled(Usd::dollars(9))).await;
                assert!(matches!(reserve(ledger, &claim).await, Err(Refused::Unavailable(_))));
                ended.push(claim);
            }
            Step::Abandon(at, expires) if !open.is_empty() => {
                let (claim, hold) = open.remove(at.index(open.len()));
                if expires {
                    ledger.renew(&[claim.id], Duration::ZERO).await.expect("the server is there");
                    assert_eq!(ledger.expire().await, Ok(1));
                    assert_eq!(ledger.expire().await, Ok(0));
                } else {
                    let held = held_of(ledger, &claim).await;
                    settle(ledger, &claim, unreconciled(held)).await;
                }
                drop(hold);
                assert!(matches!(reserve(ledger, &claim).await, Err(Refused::Unavailable(_))));
                abandoned.push(claim);
            }
            Step::Correct(at, amount) if !abandoned.is_empty() => {
                let claim = abandoned.remove(at.index(abandoned.len()));
                assert!(model.reconcile(claim.id, Charge::new(amount)));
                settle(ledger, &claim, Charge::new(amount)).await;
                settle(ledger, &claim, Charge::new(amount)).await;
            }
            _ => {}
        }
        let ours = ledger.balances(&all).await.expect("the server is there");
        let theirs: Vec<_> = all.iter().map(|budget| model.balance(budget).expect("is known")).collect();
        assert_eq!(ours, theirs);
    }
    if abandoned.is_empty() {
        let standings = ledger.standings(&all).await.expect("the server is there");
        assert!(standings.iter().all(|standing| standing.unreconciled.is_zero()), "{standings:?}");
    }
}

#[tokio::test]
async fn what_was_given_elsewhere_is_held_whatever_fits() {
    let Some(server) = RedisServer::start() else { return };
    let script = Script::default();
    let ledger = connect(&server, "t", &script);
    let budgets = [lifetime("a", Usd::dollars(1)), hourly("b", Usd::dollars(1))];
    let of = |id, amount| claim(id, &budgets, Usd::cents(amount), Usd::cents(amount));
    reserve(&ledger, &of(1, 60)).await.expect("fits");
    settle(&ledger, &of(4, 0), Charge::new(Usd::ZERO)).await;
    for _ in 0..2 {
        // One that is there, two that are not, and one that has ended.
        let all = [of(1, 70), of(2, 50), of(3, 0), of(4, 9), of(1, 10)];
        ledger.adopt(&all, TTL).await.expect("the server is there");
        for budget in &budgets {
            assert_eq!(cents(&ledger, budget).await, (0, 120, 0));
        }
    }
    assert!(matches!(reserve(&ledger, &of(5, 1)).await, Err(Refused::Exceeded { .. })));
    settle(&ledger, &of(1, 70), Charge::new(Usd::cents(30))).await;
    settle(&ledger, &of(3, 0), Charge::new(Usd::cents(1))).await;
    script.set(601);
    assert_eq!(ledger.expire().await, Ok(1));
    // Posted as unreconciled, it stays as it is.
    ledger.adopt(&[of(2, 90)], TTL).await.expect("the server is there");
    for budget in &budgets {
        assert_eq!(cents(&ledger, budget).await, (81, 0, 50));
    }
}

/// Of each of some marks (80 percent of that many cents, by that hold) what is to be done.
async fn tell(ledger: &Budgets, budget: &Budget, marks: &[(u64, u128)]) -> Vec<Told> {
    let mark = |(cents, by): &(u64, u128)| {
        Mark::new(budget.clone(), Crossed::Percent(80), Usd::cents(*cents), HoldId(*by))
    };
    ledger.tell(&marks.iter().map(mark).collect::<Vec<_>>()).await.expect("the server is there")
}

#[tokio::test]
async fn an_amount_is_told_once_in_a_window_and_again_to_who_asks_again() {
    let Some(server) = RedisServer::start() else { return };
    let script = Script::default();
    script.set(10);
    let ledger = connect(&server, "t", &script);
    let at = |seconds| Some(start() + Duration::from_secs(seconds));
    // The window of a slice of 100 s has passed after 64 of them.
    for (number, (budget, again_at, next)) in [
        (lifetime("l", Usd::dollars(1)), None, None),
        (hourly("h", Usd::dollars(1)), at(3600), Some((3600, at(7200)))),
        (rolling("r", Usd::dollars(1)), at(6400), Some((6400, at(12_900)))),
    ]
    .into_iter()
    .enumerate()
    {
        script.set(10);
        let held = |id| {
            claim(id + 10 * number as u128, std::slice::from_ref(&budget), Usd::cents(80), Usd::cents(80))
        };
        let spent = settle_spent(&ledger, &held(1), Usd::cents(80)).await;
        assert_eq!(spent, [Usd::cents(80)]);
        assert_eq!(settle_spent(&ledger, &held(1), Usd::cents(7)).await, spent);
        let now = Told::Now { spent: Usd::cents(80), again_at };
        let before = Told::Before { again_at };
        assert_eq!(
            tell(&ledger, &budget, &[(81, 1), (80, 1), (80, 2), (80, 1), (79, 1)]).await,
            [Told::Below, now, before, now, before]
        );
        // Of another kind, and then of a cap that was raised.
        let soft = Mark::new(budget.clone(), Crossed::Soft(Usd::cents(1)), Usd::cents(1), HoldId(3));
        assert_eq!(ledger.tell(&[soft]).await, Ok(vec![now]));
        settle_spent(&ledger, &held(2), Usd::cents(20)).await;
        let now = Told::Now { spent: Usd::dollars(1), again_at };
        assert_eq!(tell(&ledger, &budget, &[(99, 4), (80, 1), (99, 5)]).await, [now, before, before]);
        let Some((seconds, again_at)) = next else { continue };
        script.set(seconds - 1);
        assert_eq!(tell(&ledger, &budget, &[(99, 6)]).await, [before]);
        script.set(seconds + 100);
        assert_eq!(tell(&ledger, &budget, &[(80, 6)]).await, [Told::Below]);
        settle_spent(&ledger, &held(3), Usd::cents(80)).await;
        assert_eq!(
            tell(&ledger, &budget, &[(80, 7), (80, 8)]).await,
            [Told::Now { spent: Usd::cents(80), again_at }, Told::Before { again_at }]
        );
    }
}

async fn settle_spent(ledger: &Budgets, claim: &Claim, amount: Usd) -> Vec<Usd> {
    let charge = Charge::new(amount);
    let settlement = Settlement::new(claim.id, claim.call, Arc::clone(&claim.budgets), charge, start());
    ledger.settle(&[settlement]).await.expect("the server is there")
}

/// What a hold has: a repeated reserve tells it.
async fn held_of(ledger: &Budgets, claim: &Claim) -> Usd {
    let all = Claim::new(claim.id, claim.call, Arc::clone(&claim.budgets), Usd::ZERO, Usd::MAX);
    reserve(ledger, &all).await.expect("is reserved").amount
}

#[test]
fn counts_as_the_ledger_in_memory_does() {
    let Some(server) = RedisServer::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let script = Script::default();
    let number = AtomicU64::new(0);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&steps(), |steps| {
            let prefix = format!("{{{}}}", number.fetch_add(1, Ordering::Relaxed));
            runtime.block_on(async { run(&connect(&server, &prefix, &script), &script, steps).await });
            Ok(())
        })
        .expect("both agree");
}

#[tokio::test]
async fn of_200_concurrent_reservations_on_two_nodes_exactly_50_fit() {
    let Some(server) = RedisServer::start() else { return };
    let options = || Options::new(server.url()).response_timeout(Duration::from_secs(10));
    let nodes = [(); 2].map(|()| Redis::connect(options()).expect("valid").budgets());
    let budgets =
        [lifetime("a", Usd::dollars(1)), hourly("team", Usd::dollars(5)), rolling("user", Usd::dollars(20))];
    let mut calls = tokio::task::JoinSet::new();
    for id in 0..200 {
        let (node, claim) =
            (nodes[(id % 2) as usize].clone(), claim(id, &budgets, Usd::cents(2), Usd::cents(2)));
        calls.spawn(async move { reserve(&node, &claim).await.map(|granted| (claim, granted.amount)) });
    }
    let mut held = Vec::new();
    while let Some(ended) = calls.join_next().await {
        match ended.expect("does not panic") {
            Ok((claim, amount)) => {
                assert_eq!(amount, Usd::cents(2));
                held.push(claim);
            }
            Err(Refused::Exceeded { account, cap, balance, .. }) => {
                assert_eq!((account.scope.clone(), cap), (Scope::tenant("a"), Usd::dollars(1)));
                assert_eq!(balance.spent + balance.held, Usd::dollars(1));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(held.len(), 50);
    for budget in &budgets {
        assert_eq!(cents(&nodes[0], budget).await, (0, 100, 0));
    }
    // The nodes settle all of them, both of them, together.
    let settlement = |claim: &Claim| {
        let charge = Charge::new(Usd::cents(1));
        Settlement::new(claim.id, claim.call, Arc::clone(&claim.budgets), charge, SystemTime::now())
    };
    let batch: Vec<_> = held.iter().map(settlement).collect();
    let (one, other) = tokio::join!(nodes[0].settle(&batch), nodes[1].settle(&batch));
    // Whoever comes last to a hold says all that is spent.
    for spent in [one, other].map(|spent| spent.expect("the server is there")) {
        assert_eq!((spent.len(), spent.last()), (150, Some(&Usd::cents(50))));
    }
    for budget in &budgets {
        assert_eq!(cents(&nodes[1], budget).await, (50, 0, 0));
    }
}

#[tokio::test]
async fn a_crashed_nodes_holds_are_posted_and_can_be_corrected() {
    let Some(server) = RedisServer::start() else { return };
    let script = Script::default();
    let (crashed, other) = (connect(&server, "crash", &script), connect(&server, "crash", &script));
    let budget = lifetime("a", Usd::dollars(10));
    let claims: Vec<_> =
        (0..250).map(|id| claim(id, std::slice::from_ref(&budget), Usd::cents(1), Usd::cents(4))).collect();
    for claim in &claims {
        assert_eq!(reserve(&crashed, claim).await.expect("fits").amount, Usd::cents(4));
    }
    assert_eq!(cents(&other, &budget).await, (0, 1000, 0));
    settle(&crashed, &claims[0], Charge::new(Usd::cents(3))).await;
    script.set(599);
    assert_eq!(other.expire().await, Ok(0));
    other.renew(&[claims[1].id], TTL).await.expect("the server is there");
    script.set(600);
    assert_eq!(other.expire().await, Ok(248));
    assert_eq!(cents(&other, &budget).await, (3 + 248 * 4, 4, 248 * 4));
    // It was alive after all, and settles late: twice, as no answer came.
    for _ in 0..2 {
        settle(&crashed, &claims[2], Charge::new(Usd::cents(1))).await;
        settle(&crashed, &claims[3], Charge::new(Usd::cents(9))).await;
        settle(&crashed, &claims[4], Charge::new(Usd::ZERO)).await;
    }
    assert_eq!(cents(&other, &budget).await, (3 + 245 * 4 + 10, 4, 245 * 4));
    let late = other.extend(&claims[5], TTL).await.expect("the server is there");
    assert!(matches!(late, Err(Refused::Unavailable("the reservation has expired"))));
    script.set(1199);
    assert_eq!(other.expire().await, Ok(1));
    assert_eq!(cents(&other, &budget).await, (3 + 246 * 4 + 10, 0, 246 * 4));
}

#[tokio::test]
async fn an_id_that_ended_before_it_was_reserved_is_refused() {
    let Some(server) = RedisServer::start() else { return };
    let ledger = Redis::connect(server.url()).expect("valid").budgets();
    let budget = lifetime("a", Usd::dollars(1));
    let id = HoldId::unique(SystemTime::now());
    let gone = claim(id.0, std::slice::from_ref(&budget), Usd::cents(1), Usd::cents(1));
    // Its caller had stopped waiting.
    settle(&ledger, &gone, Charge::new(Usd::ZERO)).await;
    assert!(matches!(
        reserve(&ledger, &gone).await,
        Err(Refused::Unavailable("the reservation has ended before"))
    ));
    assert_eq!(cents(&ledger, &budget).await, (0, 0, 0));
    // What is not known is posted, once.
    let lost = claim(1, std::slice::from_ref(&budget), Usd::cents(1), Usd::cents(1));
    settle(&ledger, &lost, Charge::new(Usd::cents(7))).await;
    settle(&ledger, &lost, Charge::new(Usd::cents(7))).await;
    assert_eq!(cents(&ledger, &budget).await, (7, 0, 0));
    // It is known for a day at least.
    let second = (gone.id.0 >> 72) / 1_000_000;
    let ttl = server.command(&["TTL", &format!("{{ziggurat}}:e:{second}")]);
    let ttl: u64 = ttl[1..].lines().next().expect("a line").parse().expect("a number");
    assert!(ttl > 24 * 3600, "{ttl}");
}

/// What is forgotten at once is what one second ended, at 100 calls a second no more than 100.
#[tokio::test]
async fn ended_ids_are_forgotten_a_few_at_a_time() {
    let Some(server) = RedisServer::start() else { return };
    let ledger = connect(&server, "p", &Script::default());
    let budgets: Arc<[Budget]> = [lifetime("a", Usd::dollars(1))].into();
    let ended = |number: u32| {
        let id = HoldId::unique(start() + Duration::from_millis(10) * number);
        Settlement::new(id, id, Arc::clone(&budgets), Charge::new(Usd::ZERO), start())
    };
    ledger.settle(&(0..1000).map(ended).collect::<Vec<_>>()).await.expect("the server is there");
    let keys = server.command(&["KEYS", "{p}:e:*"]);
    let keys: Vec<_> = keys.lines().filter(|line| line.starts_with("{p}")).collect();
    assert_eq!(keys.len(), 10);
    for key in keys {
        assert!(server.command(&["SCARD", key]).starts_with(":100\r\n"), "{key}");
    }
}

#[tokio::test]
async fn an_overrun_is_posted_in_full_and_stops_the_next() {
    let Some(server) = RedisServer::start() else { return };
    let script = Script::default();
    let ledger = connect(&server, "overrun", &script);
    let budget = hourly("a", Usd::dollars(1));
    let first = claim(1, std::slice::from_ref(&budget), Usd::cents(10), Usd::cents(10));
    reserve(&ledger, &first).await.expect("fits");
    settle(&ledger, &first, Charge::new(Usd::cents(250))).await;
    let second = claim(2, std::slice::from_ref(&budget), Usd::pico(1), Usd::cents(1));
    let Err(Refused::Exceeded { cap, balance, .. }) = reserve(&ledger, &second).await else {
        panic!("does not fit")
    };
    assert_eq!((cap, balance.spent, balance.held), (Usd::dollars(1), Usd::cents(250), Usd::ZERO));
    assert_eq!(balance.resets_at, Some(start() + Duration::from_secs(3600)));
    script.set(3599);
    assert!(reserve(&ledger, &second).await.is_err());
    script.set(3600);
    assert_eq!(reserve(&ledger, &second).await.expect("a new hour").amount, Usd::cents(1));
    // A clock that is set back does not bring the old hour back, nor begins it anew.
    script.set(3000);
    assert_eq!(cents(&ledger, &budget).await, (0, 1, 0));
}

#[tokio::test]
async fn a_clock_that_goes_back_forgets_nothing_early() {
    let Some(server) = RedisServer::start() else { return };
    let script = Script::default();
    let ledger = connect(&server, "back", &script);
    let budget = rolling("a", Usd::dollars(1));
    for (id, at, spent) in
        [(1, 3000, 10), (2, 0, 20), (3, 6450, 30), (4, 6600, 30), (5, 9400, 40), (6, 9500, 40)]
    {
        script.set(at);
        let claim = claim(id, std::slice::from_ref(&budget), Usd::cents(10), Usd::cents(10));
        reserve(&ledger, &claim).await.expect("fits");
        settle(&ledger, &claim, Charge::new(Usd::cents(10))).await;
        assert_eq!(cents(&ledger, &budget).await, (spent, 0, 0), "at {at}");
    }
}

#[tokio::test]
async fn amounts_are_exact_at_the_edges_of_numbers_and_saturate() {
    let Some(server) = RedisServer::start() else { return };
    let ledger = Redis::connect(server.url()).expect("valid").budgets();
    let dollar = 1_000_000_000_000_u128;
    let edges = [
        1,
        dollar - 1,
        dollar,
        dollar + 1,
        (1 << 53) - 1,
        1 << 53,
        (1 << 53) + 1,
        ((1 << 53) - 2) * dollar + dollar - 1,
    ];
    let mut spent: HashMap<&str, u128> = HashMap::new();
    let budget = lifetime("edges", Usd::MAX);
    let mut id = 0;
    for edge in edges {
        for pico in [edge - 1, edge] {
            id += 1;
            let claim = claim(id, &[lifetime(&id.to_string(), Usd::pico(pico))], Usd::pico(pico), Usd::MAX);
            let granted = reserve(&ledger, &claim).await.expect("fits");
            assert_eq!((granted.amount, granted.balances[0].held), (Usd::pico(pico), Usd::pico(pico)));
            settle(&ledger, &claim, Charge::new(Usd::pico(pico / 3))).await;
            let rest =
                Claim::new(HoldId(1 << 20 | id), claim.call, Arc::clone(&claim.budgets), Usd::ZERO, Usd::MAX);
            assert_eq!(reserve(&ledger, &rest).await.expect("fits").amount, Usd::pico(pico - pico / 3));
            if pico < 1 << 60 {
                *spent.entry("all").or_default() += pico;
                let posted = Claim::new(
                    HoldId(2 << 20 | id),
                    claim.call,
                    [budget.clone()].into(),
                    Usd::ZERO,
                    Usd::ZERO,
                );
                settle(&ledger, &posted, Charge::new(Usd::pico(pico))).await;
            }
        }
    }
    let standing = ledger.balances(std::slice::from_ref(&budget)).await.expect("there")[0];
    assert_eq!(standing.spent, Usd::pico(spent["all"]));
    // More than there is stays that, and nothing fits any more.
    for id in [1 << 40, 2 << 40] {
        let most = claim(id, std::slice::from_ref(&budget), Usd::ZERO, Usd::MAX);
        settle(&ledger, &most, Charge::new(Usd::MAX)).await;
        assert_eq!(ledger.balances(std::slice::from_ref(&budget)).await.expect("there")[0].spent, Usd::MAX);
    }
    assert!(reserve(&ledger, &claim(3 << 40, &[budget], Usd::pico(1), Usd::pico(1))).await.is_err());
}

#[tokio::test]
async fn accounts_and_holds_forget_themselves() {
    let Some(server) = RedisServer::start() else { return };
    let ledger = Redis::connect(Options::new(server.url()).prefix("{p}")).expect("valid").budgets();
    let budgets =
        [lifetime("a", Usd::dollars(1)), hourly("a", Usd::dollars(1)), rolling("a", Usd::dollars(1))];
    let ttls = || {
        let keys = server.command(&["KEYS", "{p}:a:*"]);
        let ttl = |name: &str| -> i64 {
            server.command(&["TTL", name])[1..].lines().next().expect("a line").parse().expect("a number")
        };
        let mut ttls: Vec<i64> = keys.lines().filter(|line| line.starts_with("{p}")).map(ttl).collect();
        ttls.sort_unstable();
        ttls
    };
    let first = claim(1, &budgets, Usd::cents(1), Usd::cents(1));
    reserve(&ledger, &first).await.expect("fits");
    assert_eq!(ttls(), [-1, -1, -1]);
    settle(&ledger, &first, Charge::new(Usd::cents(1))).await;
    let settled = ttls();
    assert_eq!(settled[0], -1);
    assert!(
        (3599..=7200).contains(&settled[1]) && (10_000..=6500 + 3601).contains(&settled[2]),
        "{settled:?}"
    );
    reserve(&ledger, &claim(2, &budgets, Usd::cents(1), Usd::cents(1))).await.expect("fits");
    assert_eq!(ttls(), [-1, -1, -1]);
    // What was released without a trace leaves none.
    let other = claim(3, &[lifetime("b", Usd::dollars(1))], Usd::cents(1), Usd::cents(1));
    reserve(&ledger, &other).await.expect("fits");
    settle(&ledger, &other, Charge::new(Usd::ZERO)).await;
    assert_eq!(ttls().len(), 3);
}

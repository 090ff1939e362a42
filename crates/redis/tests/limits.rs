//! The counters on Redis against those in memory, and what only those on Redis must do.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use proptest::{prelude::*, test_runner::TestRunner};
use ziggurat_core::{Clock, Limit, Measure, Scope};
use ziggurat_limit::{
    Ask, Exceeded, Level, MemoryStore, Quota, Refused, Reply, Store, Taken, Ticket, Used,
    remote::{Backend, Correction, Granted, TakeId},
};
use ziggurat_redis::{Limits, Options, Redis};
use ziggurat_testkit::redis::RedisServer;

const MINUTE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(30);

/// A clock that tests set, in milliseconds since a whole slice long ago.
#[derive(Clone, Default)]
struct Script(Arc<AtomicU64>);

impl Script {
    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::Relaxed);
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
            + Duration::from_secs(1_920_037_500)
            + Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn clock(&self) -> Clock {
        let script = self.clone();
        Clock::new(move || script.now())
    }
}

fn connect(server: &RedisServer, prefix: &str, script: &Script) -> Limits {
    let options = Options::new(server.url()).prefix(prefix).clock(script.clock());
    Redis::connect(options.response_timeout(Duration::from_secs(5))).expect("valid options").limits()
}

fn scope(name: &str) -> Scope {
    Scope::tenant(name)
}

async fn take(limits: &Limits, id: u128, asks: &[Ask]) -> Result<Granted, Refused> {
    limits.take(TakeId(id), asks, LEASE).await.expect("the server is there")
}

fn exceeded(result: Result<Granted, Refused>) -> Exceeded {
    match result {
        Err(Refused::Exceeded(exceeded)) => *exceeded,
        other => panic!("not exceeded: {other:?}"),
    }
}

async fn settle(limits: &Limits, id: u128, asks: &Arc<[Ask]>, at: Option<u64>, used: Option<Used>) {
    let correction = Correction::new(TakeId(id), Arc::clone(asks), at, used);
    limits.settle(&[correction]).await.expect("the server is there");
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// Amounts for each limit; those of 0 are not asked for under the odd ones.
    Take(Vec<Option<u64>>),
    /// Of those that are open, and what it came to.
    Settle(usize, u64, Option<(u64, u64)>),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![0..500_u64, 1000..5000_u64, 10_000..90_000_u64];
    let amount = proptest::option::weighted(0.7, prop_oneof![Just(0), 1..5_u64, 5..40_u64]);
    let used = proptest::option::of((0..30_u64, 0..30_u64));
    let step = prop_oneof![
        2 => wait.prop_map(Step::Wait),
        5 => proptest::collection::vec(amount, 5).prop_map(Step::Take),
        2 => (any::<proptest::sample::Index>(), 0..2_u64, used).prop_map(|(at, requests, used)| Step::Settle(at.index(64), requests, used)),
        1 => any::<proptest::sample::Index>().prop_map(|at| Step::Leave(at.index(64))),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Windows whose slices are of whole microseconds, so that both cut alike.
fn limits_under_test() -> [Limit; 5] {
    [
        Limit::new(scope("a"), Measure::Requests, 12, MINUTE),
        Limit::new(scope("a"), Measure::Tokens, 60, MINUTE),
        Limit::new(scope("a"), Measure::OutputTokens, 50, Duration::from_secs(16)),
        Limit::new(scope("b"), Measure::InputTokens, 25, Duration::from_secs(3200)).models("gpt-*"),
        Limit::concurrency(scope("a"), 3),
    ]
}

struct Open {
    id: u128,
    at: u64,
    asks: Arc<[Ask]>,
    ticket: Option<Box<dyn Ticket>>,
}

fn model_take(model: &MemoryStore, asks: &[Ask], now: SystemTime) -> Result<Taken, Refused> {
    match model.take(asks, now) {
        Reply::Ready(answer) => answer,
        Reply::Later(_) => unreachable!("memory answers at once"),
    }
}

fn quota(levels: &[Level]) -> Quota {
    levels.iter().copied().collect()
}

async fn run(limits: &Limits, script: &Script, steps: Vec<Step>) {
    let model = MemoryStore::new();
    let under = limits_under_test();
    let (mut millis, mut next) = (0, 0);
    let mut open: Vec<Open> = Vec::new();
    script.set(0);
    for step in steps {
        match step {
            Step::Wait(more) => {
                millis += more;
                script.set(millis);
                // Places are kept as long as their calls run.
                let running: Vec<_> =
                    open.iter().map(|open| (TakeId(open.id), Arc::clone(&open.asks))).collect();
                limits.renew(&running, Duration::from_secs(100_000)).await.expect("the server is there");
            }
            Step::Take(amounts) => {
                let asks = under.iter().zip(amounts).filter_map(|(limit, amount)| {
                    let amount =
                        if limit.measure == Measure::Concurrency { amount.map(|_| 1) } else { amount };
                    Some(Ask::new(limit.clone(), amount?))
                });
                let asks: Arc<[Ask]> = asks.collect();
                next += 1;
                let ours = limits.take(TakeId(next), &asks, Duration::from_secs(100_000)).await;
                match (ours.expect("the server is there"), model_take(&model, &asks, script.now())) {
                    (Ok(granted), Ok(taken)) => {
                        assert_eq!(quota(&granted.levels), taken.quota, "{asks:?}");
                        for (level, ask) in granted.levels.iter().zip(&*asks) {
                            assert_eq!(Some(*level), model.level(&ask.limit, script.now()));
                        }
                        open.push(Open { id: next, at: granted.at, asks, ticket: Some(taken.ticket) });
                    }
                    (Err(Refused::Exceeded(ours)), Err(Refused::Exceeded(theirs))) => {
                        assert_eq!(ours, theirs)
                    }
                    (ours, theirs) => panic!("{ours:?} is not {theirs:?}: {asks:?}"),
                }
            }
            Step::Settle(at, requests, tokens) if !open.is_empty() => {
                let mut ended = open.remove(at % open.len());
                let used = Used::new(requests, tokens);
                if let Some(ticket) = ended.ticket.take() {
                    ticket.settle(used, script.now());
                }
                // What is repeated changes nothing.
                for _ in 0..2 {
                    settle(limits, ended.id, &ended.asks, Some(ended.at), Some(used)).await;
                }
            }
            Step::Leave(at) if !open.is_empty() => {
                let at = at % open.len();
                let left = open.remove(at);
                drop(left.ticket);
                settle(limits, left.id, &left.asks, None, None).await;
            }
            Step::Settle(..) | Step::Leave(_) => {}
        }
    }
}

#[test]
fn counts_as_the_store_in_memory_does() {
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
async fn a_refusal_counts_nothing_anywhere_and_waits_for_the_longest() {
    let Some(server) = RedisServer::start() else { return };
    let script = Script::default();
    let limits = connect(&server, "refusal", &script);
    let minute = Limit::requests_per_minute(scope("a"), 5);
    let hour = Limit::new(scope("b"), Measure::Tokens, 10, Duration::from_secs(3600));
    let place = Limit::concurrency(scope("a"), 2);
    let asks =
        |tokens| [Ask::new(minute.clone(), 1), Ask::new(hour.clone(), tokens), Ask::new(place.clone(), 1)];
    let granted = take(&limits, 1, &asks(8)).await.expect("fits");
    let left = |levels: &[Level]| levels.iter().map(|level| level.remaining).collect::<Vec<_>>();
    assert_eq!(left(&granted.levels), [4, 2, 1]);
    let refused = exceeded(take(&limits, 2, &asks(3)).await);
    assert_eq!((refused.level.measure, refused.level.remaining), (Measure::Tokens, 2));
    assert_eq!(refused.retry_after, Some(Duration::from_millis(33 * 112_500)));
    assert_eq!(exceeded(take(&limits, 3, &asks(11)).await).retry_after, None);
    // An amount of nothing fits where something is left of the limit's kind.
    let granted = take(&limits, 4, &asks(2)).await.expect("fits: nothing was counted");
    assert_eq!(left(&granted.levels), [3, 0, 0]);
    let refused = exceeded(take(&limits, 5, &asks(0)).await);
    assert_eq!(
        (refused.level.measure, refused.retry_after),
        (Measure::Concurrency, Some(Duration::from_secs(1)))
    );
    let nothing = [Ask::new(Limit::requests_per_minute(scope("zero"), 0), 0)];
    assert_eq!(exceeded(take(&limits, 6, &nothing).await).retry_after, None);
}

#[tokio::test]
async fn a_place_is_free_when_its_lease_is_over_and_kept_when_it_is_renewed() {
    let Some(server) = RedisServer::start() else { return };
    let script = Script::default();
    let limits = connect(&server, "lease", &script);
    let asks: Arc<[Ask]> = [Ask::new(Limit::concurrency(scope("a"), 2), 1)].into();
    take(&limits, 1, &asks).await.expect("fits");
    take(&limits, 2, &asks).await.expect("fits");
    exceeded(take(&limits, 3, &asks).await);
    script.set(29_000);
    limits.renew(&[(TakeId(2), Arc::clone(&asks))], LEASE).await.expect("the server is there");
    script.set(30_000);
    // The first node is gone; what it renews too late is not its own any more.
    assert_eq!(take(&limits, 3, &asks).await.expect("fits").levels[0].remaining, 0);
    limits.renew(&[(TakeId(1), Arc::clone(&asks))], LEASE).await.expect("the server is there");
    exceeded(take(&limits, 4, &asks).await);
    settle(&limits, 2, &asks, None, None).await;
    settle(&limits, 2, &asks, None, None).await;
    take(&limits, 5, &asks).await.expect("fits");
    exceeded(take(&limits, 6, &asks).await);
}

#[tokio::test]
async fn a_clock_that_goes_back_frees_nothing_and_stops_nothing() {
    let Some(server) = RedisServer::start() else { return };
    for (number, back) in [50, 1000, 20_000, 70_000, 86_400_000].into_iter().enumerate() {
        let script = Script::default();
        let limits = connect(&server, &format!("back{number}"), &script);
        let start = 100_000_000;
        let asks = [Ask::new(Limit::requests_per_minute(scope("a"), 2), 1)];
        script.set(start);
        take(&limits, 1, &asks).await.expect("fits");
        script.set(start + 30_000);
        take(&limits, 2, &asks).await.expect("fits");
        let set = start + 30_000 - back;
        script.set(set);
        exceeded(take(&limits, 3, &asks).await);
        script.set(set + 29_000);
        exceeded(take(&limits, 4, &asks).await);
        // The window goes on from where it was.
        script.set(set + 32_000);
        take(&limits, 5, &asks).await.expect("the first has left");
        exceeded(take(&limits, 6, &asks).await);
        script.set(set + 62_000);
        take(&limits, 7, &asks).await.expect("the second has left");
    }
}

#[tokio::test]
async fn three_nodes_under_uneven_load_use_a_limit_and_never_more() {
    const MOST: u64 = 300;
    const MINUTES: u64 = 15;
    let Some(server) = RedisServer::start() else { return };
    let script = Script::default();
    let nodes = [(); 3].map(|()| connect(&server, "uneven", &script));
    let asks = [Ask::new(Limit::requests_per_minute(scope("a"), MOST), 1)];
    let mut granted: Vec<u64> = Vec::new();
    let mut id = 0;
    // Twelve calls a second for fifteen minutes: nine in ten at the first node.
    for tick in 0..MINUTES * 60 * 12 {
        let at = tick * 1000 / 12 + 437;
        script.set(at);
        let node = match tick % 20 {
            0 => 1,
            1 => 2,
            _ => 0,
        };
        id += 1;
        if take(&nodes[node], id, &asks).await.is_ok() {
            granted.push(at);
        }
    }
    let within =
        |end: u64| granted.iter().filter(|at| (end.saturating_sub(60_000)..end).contains(*at)).count() as u64;
    for end in &granted {
        assert!(within(end + 1) <= MOST, "{} before {end}", within(end + 1));
    }
    let average = granted.len() as u64 / MINUTES;
    assert!((285..=MOST).contains(&average), "{average}");
    println!("rpm {MOST} on three nodes: {average} a minute were used");
}

#[tokio::test]
async fn concurrent_nodes_never_take_more_than_a_limit() {
    let Some(server) = RedisServer::start() else { return };
    let options = || Options::new(server.url()).response_timeout(Duration::from_secs(10));
    let nodes = [(); 2].map(|()| Redis::connect(options()).expect("valid").limits());
    let asks: Arc<[Ask]> = [
        Ask::new(Limit::new(scope("a"), Measure::Requests, 50, Duration::from_secs(3600)), 1),
        Ask::new(Limit::concurrency(scope("a"), 30), 1),
    ]
    .into();
    let granted = Arc::new(Mutex::new(Vec::new()));
    let mut calls = tokio::task::JoinSet::new();
    for id in 0..200_u128 {
        let (node, asks, granted) =
            (nodes[(id % 2) as usize].clone(), Arc::clone(&asks), Arc::clone(&granted));
        calls.spawn(async move {
            if let Ok(taken) = take(&node, id, &asks).await {
                granted.lock().expect("not poisoned").push((id, taken.at));
            }
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.expect("does not panic");
    }
    let granted = granted.lock().expect("not poisoned").clone();
    assert_eq!(granted.len(), 30);
    for (id, at) in granted {
        settle(&nodes[0], id, &asks, Some(at), Some(Used::new(1, None))).await;
    }
    let mut more = 0;
    for id in 1000..1100 {
        let taken = take(&nodes[1], id, &asks).await;
        more += u32::from(taken.is_ok());
        settle(&nodes[1], id, &asks, None, None).await;
    }
    assert_eq!(more, 20);
}

#[tokio::test]
async fn keys_forget_themselves() {
    let Some(server) = RedisServer::start() else { return };
    let limits = Redis::connect(Options::new(server.url()).prefix("{p}")).expect("valid").limits();
    let asks: Arc<[Ask]> = [
        Ask::new(Limit::new(scope("a"), Measure::Tokens, 50, Duration::from_millis(100)), 5),
        Ask::new(Limit::concurrency(scope("a"), 30), 1),
    ]
    .into();
    let taken =
        limits.take(TakeId(7), &asks, Duration::from_millis(100)).await.expect("there").expect("fits");
    settle(&limits, 7, &asks, Some(taken.at), Some(Used::new(1, Some((9, 9))))).await;
    let again =
        limits.take(TakeId(8), &asks, Duration::from_millis(100)).await.expect("there").expect("fits");
    assert_eq!(again.levels[0].remaining, 50 - 18 - 5);
    let keys = server.command(&["KEYS", "*"]);
    let names: Vec<&str> = keys.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(names.len(), 4, "{keys}");
    for name in names.into_iter().filter(|name| *name != "{p}:clock") {
        let ttl: i64 =
            server.command(&["PTTL", name])[1..].lines().next().expect("a line").parse().expect("a number");
        let most = if name.starts_with("{p}:d:") { 900_000 } else { 1200 };
        assert!((1..=most).contains(&ttl), "{name}: {ttl}");
    }
}

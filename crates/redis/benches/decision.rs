//! What a decision costs: round trips, the server's time, and the client's. `cargo bench -p ziggurat-redis`.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{runtime::Runtime, task::JoinSet};
use ziggurat_budget::{
    Charge, Claim, HoldId, calendar,
    remote::{Backend as _, Settlement},
};
use ziggurat_core::{Budget, Limit, Measure, Scope, ScopeKind, Usd, Window};
use ziggurat_limit::{
    Ask, Used,
    remote::{Backend as _, Correction, TakeId},
};
use ziggurat_redis::{Options, Redis};
use ziggurat_testkit::redis::RedisServer;

/// Decisions that are measured, and tasks that make them at the same time.
const DECISIONS: u32 = 20_000;
const TASKS: u32 = 32;

/// Different callers.
const CALLERS: u32 = 500;

fn main() {
    let Some(server) = RedisServer::start() else { return };
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let options = Options::new(server.url()).response_timeout(Duration::from_secs(10));
        let redis = Redis::connect(options).expect("valid options");
        println!("| what | round trips | commands | server's CPU | a second of a core | p50 of one at a time | {TASKS} tasks |");
        println!("|---|---|---|---|---|---|---|");
        bench(&server, "take, 1 limit", take(&redis, 1)).await;
        bench(&server, "take, 5 limits", take(&redis, 5)).await;
        bench(&server, "take, 5 limits, all refused", refused(&redis)).await;
        bench(&server, "settle a take of 5 limits", settle_take(&redis)).await;
        bench(&server, "reserve, 1 budget", reserve(&redis, 1)).await;
        bench(&server, "reserve, 5 budgets", reserve(&redis, 5)).await;
        bench(&server, "settle 5 budgets", settle(&redis)).await;
    });
}

/// One decision, by its number.
type Decide = Arc<dyn Fn(u32) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

async fn bench(server: &RedisServer, name: &str, decide: Decide) {
    // The script is known by then, and accounts are there.
    for number in 0..CALLERS {
        decide(number).await;
    }
    assert!(server.command(&["CONFIG", "RESETSTAT"]).starts_with("+OK"));
    let cpu = || -> f64 {
        let info = server.command(&["INFO", "cpu"]);
        let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok());
        of("used_cpu_user:").unwrap_or_default() + of("used_cpu_sys:").unwrap_or_default()
    };
    let before = cpu();
    let mut times = Vec::new();
    for number in 0..2000 {
        let began = Instant::now();
        decide(CALLERS + number).await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let decide = Arc::clone(&decide);
        tasks.spawn(async move {
            for number in (0..DECISIONS).skip(task as usize).step_by(TASKS as usize) {
                decide(CALLERS + 2000 + number).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("does not panic");
    }
    let rate = f64::from(DECISIONS) / began.elapsed().as_secs_f64();
    let decisions = f64::from(DECISIONS + 2000);
    let stats = server.command(&["INFO", "commandstats"]);
    let of = |command: &str, field: &str| -> f64 {
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap_or("");
        let value = line.split([':', ',']).find_map(|part| part.strip_prefix(&format!("{field}=")));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    };
    let all: f64 = stats
        .lines()
        .filter_map(|line| line.split("calls=").nth(1)?.split(',').next()?.parse::<f64>().ok())
        .sum();
    let trips = of("evalsha", "calls") + of("eval", "calls");
    // Of everything that the server does: the time that a script takes says more of what else the machine does.
    let server_time = (cpu() - before) / decisions * 1e6;
    println!(
        "| {name} | {:.4} | {:.1} | {server_time:.1} us | {:.0} | {:?} | {rate:.0}/s |",
        trips / decisions,
        (all - trips) / decisions,
        1e6 / server_time,
        times[times.len() / 2],
    );
}

fn scopes(caller: u32) -> [Scope; 5] {
    let caller = caller % CALLERS;
    [
        Scope::new(ScopeKind::Key, caller.to_string()),
        Scope::new(ScopeKind::User, (caller / 2).to_string()),
        Scope::new(ScopeKind::Team, (caller / 10).to_string()),
        Scope::new(ScopeKind::Organisation, (caller / 100).to_string()),
        Scope::gateway(),
    ]
}

fn asks(caller: u32, limits: usize, most: u64) -> Arc<[Ask]> {
    let minute = Duration::from_secs(60);
    let measures =
        [Measure::Requests, Measure::Tokens, Measure::Requests, Measure::Tokens, Measure::Concurrency];
    let limit = |(scope, measure)| match measure {
        Measure::Concurrency => Ask::new(Limit::concurrency(scope, most), 1),
        Measure::Requests => Ask::new(Limit::new(scope, measure, most, minute), 1),
        _ => Ask::new(Limit::new(scope, measure, most, minute), 500),
    };
    scopes(caller).into_iter().zip(measures).map(limit).take(limits).collect()
}

fn take(redis: &Redis, limits: usize) -> Decide {
    let store = redis.limits();
    Arc::new(move |number| {
        let (store, asks) = (store.clone(), asks(number, limits, 1 << 40));
        // A place that is taken again by the same id is the same place: there are a few hundred.
        let id = TakeId(u128::from(number % CALLERS));
        Box::pin(async move {
            let taken = store.take(id, &asks, Duration::from_secs(30)).await.expect("is there");
            assert!(taken.is_ok());
        })
    })
}

fn refused(redis: &Redis) -> Decide {
    let store = redis.limits();
    Arc::new(move |number| {
        let (store, asks) = (store.clone(), asks(number, 5, 1));
        Box::pin(async move {
            let taken = store
                .take(TakeId(u128::from(number)), &asks, Duration::from_secs(30))
                .await
                .expect("is there");
            assert!(taken.is_err());
        })
    })
}

fn settle_take(redis: &Redis) -> Decide {
    let store = redis.limits();
    Arc::new(move |number| {
        let store = store.clone();
        let at =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after the epoch").as_micros();
        let used = Some(Used::new(1, Some((200, 200))));
        let asks = asks(number, 5, 1 << 40);
        let correction = Correction::new(TakeId(number.into()), asks, u64::try_from(at).ok(), used);
        Box::pin(async move { store.settle(&[correction]).await.expect("is there") })
    })
}

fn budgets(caller: u32, budgets: usize) -> Arc<[Budget]> {
    let day = || calendar::window("1d", "UTC").expect("a window");
    let windows = [day(), Window::Rolling(Duration::from_secs(86_400)), day(), Window::Lifetime, day()];
    let budget = |(scope, window)| Budget::new(scope, Usd::dollars(1 << 40), window);
    scopes(caller).into_iter().zip(windows).map(budget).take(budgets).collect()
}

fn reserve(redis: &Redis, number_of: usize) -> Decide {
    let ledger = redis.budgets();
    Arc::new(move |number| {
        let id = HoldId::unique(SystemTime::now());
        let claim = Claim::new(id, id, budgets(number, number_of), Usd::cents(1), Usd::cents(1));
        let ledger = ledger.clone();
        Box::pin(async move {
            let held = ledger.reserve(&claim, Duration::from_secs(600)).await.expect("is there");
            assert!(held.is_ok());
        })
    })
}

fn settle(redis: &Redis) -> Decide {
    let ledger = redis.budgets();
    Arc::new(move |number| {
        let (ledger, now) = (ledger.clone(), SystemTime::now());
        let id = HoldId::unique(now);
        let settlement = Settlement::new(id, id, budgets(number, 5), Charge::new(Usd::cents(1)), now);
        Box::pin(async move { drop(ledger.settle(&[settlement]).await.expect("is there")) })
    })
}

//! What it costs to reserve and settle in five accounts when 100 000 are known: time and allocations a call, and bytes an account.
//!
//! Run with `cargo bench -p ziggurat-budget --bench ledger`. Instructions: `perf stat -e instructions:u`, or
//! `valgrind --tool=callgrind --toggle-collect='*ledger::turn*'`, over the binary with the number of turns as its argument.

use std::{
    env,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use ziggurat_budget::{
    Charge, Claim, HoldId, Journal, JournalError, Ledger, OpenHold, Posting, Recovered, Reply, Slot, calendar,
};
use ziggurat_core::{Budget, Scope, ScopeKind, Usd, Window};

fn main() {
    let turns = env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(200_000_u32);
    let lifetime = || Window::Lifetime;
    let daily = || calendar::window("1d", "Europe/Berlin").expect("is a window");
    let rolling = || Window::Rolling(Duration::from_secs(86_400));
    for (name, window) in [("lifetime", lifetime as fn() -> Window), ("daily", daily), ("rolling", rolling)] {
        let mut ledger = None;
        let memory = allocation_counter::measure(|| ledger = Some(known(Ledger::in_memory(), &window())));
        let ledger = ledger.expect("was made");
        let bytes = memory.bytes_current / i64::from(KNOWN);
        println!("{name}: {bytes} bytes an account of {KNOWN}");
        measure(name, &ledger, &budgets(&window()), turns);
    }
    let ledger = known(Ledger::in_memory().journal(Arc::new(Nothing), Recovered::default()), &lifetime());
    measure("lifetime, journal", &ledger, &budgets(&lifetime()), turns);
    let mixed: Vec<_> = [lifetime(), daily(), rolling(), daily(), lifetime()]
        .into_iter()
        .zip(0_u32..)
        .map(|(window, at)| budget(at * 7919 % KNOWN, &window))
        .collect();
    let ledger = known(Ledger::in_memory(), &lifetime()).on_threads(&mixed.into(), turns);
    drop(ledger);
}

trait OnThreads {
    fn on_threads(self, budgets: &Arc<[Budget]>, turns: u32) -> Self;
}

impl OnThreads for Ledger {
    /// All threads in the same five accounts: the worst case.
    fn on_threads(self, budgets: &Arc<[Budget]>, turns: u32) -> Self {
        measure("mixed", &self, budgets, turns);
        for threads in [2, 4] {
            let started = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..turns).for_each(|at| turn(&self, budgets, at)));
                }
            });
            let each = started.elapsed() / (turns * threads);
            println!("mixed: {each:?} a call with {threads} threads in the same accounts");
        }
        self
    }
}

fn measure(name: &str, ledger: &Ledger, budgets: &Arc<[Budget]>, turns: u32) {
    (0..turns / 10).for_each(|at| turn(ledger, budgets, at));
    let allocated = allocation_counter::measure(|| turn(ledger, budgets, 0)).count_total;
    let started = Instant::now();
    (0..turns).for_each(|at| turn(ledger, budgets, at));
    println!("{name}: {:?} and {allocated} allocations a call", started.elapsed() / turns);
}

/// One call: reserved in all five accounts, and settled.
#[inline(never)]
fn turn(ledger: &Ledger, budgets: &Arc<[Budget]>, at: u32) {
    let id = HoldId(at.into());
    let claim = Claim::new(id, id, Arc::clone(budgets), Usd::pico(1000), Usd::pico(2000));
    let Reply::Ready(held) = ledger.reserve(black_box(claim)) else { panic!("answers at once") };
    held.expect("has room").hold.settle(Charge::new(Usd::pico(1500)));
}

/// Spends a little in every account.
fn known(ledger: Ledger, window: &Window) -> Ledger {
    for at in 0..KNOWN {
        turn(&ledger, &[budget(at, window)].into(), at);
    }
    ledger
}

fn budgets(window: &Window) -> Arc<[Budget]> {
    (0..5).map(|at| budget(at * 7919 % KNOWN, window)).collect()
}

fn budget(at: u32, window: &Window) -> Budget {
    let kind = ScopeKind::ALL[(at % 6) as usize];
    Budget::new(
        Scope::new(kind, format!("7f83b1657ff1fc53b92dc18148a1d65d{at}")),
        Usd::dollars(1_000_000),
        window.clone(),
    )
}

/// A journal that costs nothing, so that what is measured is the ledger's part.
struct Nothing;

impl Journal for Nothing {
    fn open(&self, hold: &OpenHold<'_>) -> Result<Slot, JournalError> {
        black_box(hold);
        Ok(Slot(0))
    }

    fn grow(&self, _: &Slot, _: Usd) {}

    fn close(&self, _: Slot, posting: &Posting<'_>) {
        black_box((posting, SystemTime::UNIX_EPOCH));
    }
}

const KNOWN: u32 = 100_000;

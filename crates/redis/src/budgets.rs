//! The ledger that several nodes share.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ziggurat_budget::{
    Balance, Charge, Claim, HoldId, Refused,
    remote::{Backend, Granted, Mark, Settlement, Told},
};
use ziggurat_core::{Asked, Away, Budget, Usd, Window};

use crate::{
    client::{Inner, micros, micros_since_epoch},
    money::{amount, parts},
    names,
    script::{Call, script, unexpected},
};

/// The ledger on a Redis server.
///
/// A hold that has expired is posted in full as unreconciled, which leaves as much room as it did: so nobody waits for
/// [`Backend::expire`]. It is one number of dollars and one of pico-dollars, exact up to 2^53 dollars; more than that is as much as can be
/// said.
///
/// # Limits
/// A rolling window is cut into 64 slices of whole microseconds, and is at most 142 years long. Of the calendar two periods are named
/// by the node that asks, and the server's clock says which it is. An account forgets itself an hour after nothing is held and nothing
/// that was spent counts; one that never forgets what was spent stays.
#[derive(Clone)]
pub struct Budgets(pub(crate) Arc<Inner>);

/// What an account stands at, and how much of it nobody has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// What is spent and set aside.
    pub balance: Balance,
    /// How much of what is spent was posted as unreconciled, and not corrected since.
    pub unreconciled: Usd,
}

script!(RESERVE = "budgets/money.lua", "budgets/account.lua", "budgets/reserve.lua");
script!(ADOPT = "budgets/money.lua", "budgets/account.lua", "budgets/adopt.lua");
script!(SETTLE = "budgets/money.lua", "budgets/account.lua", "budgets/settle.lua");
script!(TELL = "budgets/money.lua", "budgets/account.lua", "budgets/tell.lua");
script!(DUE = "budgets/money.lua", "budgets/due.lua");
script!(LINES = "budgets/lines.lua");
script!(EXPIRE = "budgets/money.lua", "budgets/account.lua", "budgets/expire.lua");
script!(BALANCES = "budgets/money.lua", "budgets/account.lua", "budgets/balances.lua");
script!(RENEW = "budgets/money.lua", "budgets/renew.lua");

// ===== impl Budgets =====

impl Budgets {
    /// What the accounts of these budgets stand at now, in their order, with what nobody has settled.
    pub fn standings<'a>(&'a self, budgets: &'a [Budget]) -> Asked<'a, Vec<Standing>> {
        Box::pin(self.try_standings(budgets))
    }

    async fn try_reserve(
        &self,
        claim: &Claim,
        ttl: Duration,
        how: &str,
    ) -> Result<Result<Granted, Refused>, Away> {
        let lines = Lines::new(&claim.budgets, self.0.now());
        let keys = [self.expiries(), self.hold(claim.id), self.ended(claim.id)];
        let accounts = lines.list.iter().map(|line| self.account(line));
        let mut call = RESERVE.call(keys.into_iter().chain(accounts).collect::<Vec<_>>().into_iter());
        call.arg(self.0.given_time())
            .arg(how)
            .arg(hex(claim.id))
            .arg(&claim.id.0.to_be_bytes())
            .arg(micros(ttl));
        let (least, most) = (parts(claim.least.min(claim.most)), parts(claim.most));
        call.arg(least.0).arg(least.1).arg(most.0).arg(most.1);
        for line in &lines.list {
            let (dollars, pico) = parts(line.cap);
            call.arg(dollars).arg(pico);
        }
        lines.write(&mut call);
        let answer: Vec<i64> = call.send(&self.0.link).await?;
        read_reserved(&answer, claim, &lines).ok_or_else(unexpected)
    }

    async fn try_adopt(&self, claims: &[Claim], ttl: Duration) -> Result<(), Away> {
        let now = self.0.now();
        for claims in claims.chunks(BATCH) {
            let lines: Vec<_> = claims.iter().map(|claim| Lines::new(&claim.budgets, now)).collect();
            let mut keys = vec![self.expiries()];
            for (claim, lines) in claims.iter().zip(&lines) {
                keys.extend([self.hold(claim.id), self.ended(claim.id)]);
                keys.extend(lines.list.iter().map(|line| self.account(line)));
            }
            let mut call = ADOPT.call(keys.into_iter());
            call.arg(self.0.given_time()).arg(micros(ttl));
            for (claim, lines) in claims.iter().zip(&lines) {
                let (dollars, pico) = parts(claim.most);
                call.arg(hex(claim.id)).arg(&claim.id.0.to_be_bytes()).arg(dollars).arg(pico);
                call.arg(lines.list.len());
                lines.write(&mut call);
            }
            call.send::<()>(&self.0.link).await?;
        }
        Ok(())
    }

    async fn try_settle(&self, batch: &[Settlement]) -> Result<Vec<Usd>, Away> {
        let now = self.0.now();
        let mut spent = Vec::new();
        for batch in batch.chunks(BATCH) {
            let lines: Vec<_> = batch.iter().map(|settlement| Lines::new(&settlement.budgets, now)).collect();
            let mut keys = vec![self.expiries()];
            for (settlement, lines) in batch.iter().zip(&lines) {
                keys.extend([self.hold(settlement.id), self.ended(settlement.id)]);
                keys.extend(lines.list.iter().map(|line| self.account(line)));
            }
            let mut call = SETTLE.call(keys.into_iter());
            call.arg(self.0.given_time()).arg(self.remember()).arg(self.0.names.of("a", ""));
            for (Settlement { id, charge: Charge { amount, flags, .. }, .. }, lines) in
                batch.iter().zip(&lines)
            {
                let (dollars, pico) = parts(*amount);
                call.arg(hex(*id)).arg(&id.0.to_be_bytes()).arg(u8::from(flags.unreconciled));
                call.arg(dollars).arg(pico).arg(lines.list.len());
                lines.write(&mut call);
            }
            let answer: Vec<i64> = call.send(&self.0.link).await?;
            let mut amounts = answer.chunks(2).map(read_amount);
            for lines in &lines {
                let of_line: Option<Vec<_>> = amounts.by_ref().take(lines.list.len()).collect();
                let of_line = of_line.filter(|all| all.len() == lines.list.len()).ok_or_else(unexpected)?;
                spent.extend(lines.of_budget.iter().map(|at| of_line[*at]));
            }
        }
        Ok(spent)
    }

    async fn try_tell(&self, marks: &[Mark]) -> Result<Vec<Told>, Away> {
        let now = self.0.now();
        let accounts = marks.iter().map(|mark| self.0.names.of("a", &names::account(&mark.budget.account)));
        let mut call = TELL.call(accounts.collect::<Vec<_>>().into_iter());
        call.arg(self.0.given_time());
        for mark in marks {
            write_window(&window(&mark.budget.window, now), &mut call);
            let (dollars, pico) = parts(mark.amount);
            call.arg(mark.kind()).arg(dollars).arg(pico).arg(hex(mark.by));
        }
        let answer: Vec<i64> = call.send(&self.0.link).await?;
        let told: Option<Vec<_>> = answer.chunks(4).map(read_told).collect();
        told.filter(|told| told.len() == marks.len()).ok_or_else(unexpected)
    }

    async fn try_renew(&self, holds: &[HoldId], ttl: Duration) -> Result<(), Away> {
        for holds in holds.chunks(RENEW_BATCH) {
            let mut call = RENEW.call([self.expiries()].into_iter());
            call.arg(self.0.given_time()).arg(micros(ttl));
            holds.iter().for_each(|id| _ = call.arg(hex(*id)));
            call.send::<()>(&self.0.link).await?;
        }
        Ok(())
    }

    /// Asks first what is due and where it is: a script names all keys that it looks at, so that it does all or nothing while a Cluster moves
    /// them.
    async fn try_expire(&self) -> Result<usize, Away> {
        let mut all = 0;
        for _ in 0..MOST_PORTIONS {
            let mut call = DUE.call([self.expiries()].into_iter());
            let due: Vec<String> = call.arg(self.0.given_time()).arg(PORTION).send(&self.0.link).await?;
            if due.is_empty() {
                break;
            }
            all += self.expire_some(&due).await?;
            if due.len() < PORTION {
                break;
            }
        }
        Ok(all)
    }

    async fn expire_some(&self, due: &[String]) -> Result<usize, Away> {
        let holds: Vec<String> = due.iter().map(|hex| self.0.names.of("h", hex)).collect();
        let lines: Vec<String> = LINES.call(holds.iter()).send(&self.0.link).await?;
        if lines.len() != due.len() {
            return Err(unexpected());
        }
        let mut keys = vec![self.expiries()];
        for (hold, lines) in holds.into_iter().zip(&lines) {
            keys.push(hold);
            keys.extend(lines.split_whitespace().step_by(6).map(|name| self.0.names.of("a", name)));
        }
        let mut call = EXPIRE.call(keys.into_iter());
        call.arg(self.0.given_time()).arg(self.remember());
        due.iter().zip(&lines).for_each(|(hex, lines)| _ = call.arg(hex).arg(lines));
        call.send(&self.0.link).await
    }

    async fn try_standings(&self, budgets: &[Budget]) -> Result<Vec<Standing>, Away> {
        if budgets.is_empty() {
            return Ok(Vec::new());
        }
        let lines = Lines::new(budgets, self.0.now());
        let keys: Vec<_> = lines.list.iter().map(|line| self.account(line)).collect();
        let mut call = BALANCES.call(keys.into_iter());
        call.arg(self.0.given_time());
        lines.write(&mut call);
        let answer: Vec<i64> = call.send(&self.0.link).await?;
        let standing = |values: &[i64]| {
            let [spent, held, unreconciled] = [0, 2, 4].map(|at| read_amount(values.get(at..at + 2)?));
            let balance = balance(spent?, held?, *values.get(6)?);
            Some(Standing { balance, unreconciled: unreconciled? })
        };
        let standings: Option<Vec<_>> = answer.chunks(7).map(standing).collect();
        let standings =
            standings.filter(|standings| standings.len() == lines.list.len()).ok_or_else(unexpected)?;
        Ok(lines.of_budget.iter().map(|at| standings[*at]).collect())
    }

    /// The open holds, by when they expire.
    fn expiries(&self) -> String {
        self.0.names.only("holds")
    }

    fn hold(&self, id: HoldId) -> String {
        self.0.names.of("h", &hex(id))
    }

    /// The ids that have ended, of those that were made in the same second: all of them are forgotten at once, and the server does nothing
    /// else meanwhile.
    fn ended(&self, id: HoldId) -> String {
        self.0.names.of("e", &((id.0 >> 72) / MICROS_PER_SECOND).to_string())
    }

    fn account(&self, line: &Line) -> String {
        self.0.names.of("a", &line.name)
    }

    fn remember(&self) -> String {
        self.0.remember.as_millis().to_string()
    }
}

impl Backend for Budgets {
    fn reserve<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> Asked<'a, Result<Granted, Refused>> {
        Box::pin(self.try_reserve(claim, ttl, "reserve"))
    }

    fn extend<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> Asked<'a, Result<Granted, Refused>> {
        Box::pin(self.try_reserve(claim, ttl, "extend"))
    }

    fn adopt<'a>(&'a self, claims: &'a [Claim], ttl: Duration) -> Asked<'a, ()> {
        Box::pin(self.try_adopt(claims, ttl))
    }

    fn settle<'a>(&'a self, batch: &'a [Settlement]) -> Asked<'a, Vec<Usd>> {
        Box::pin(self.try_settle(batch))
    }

    fn tell<'a>(&'a self, marks: &'a [Mark]) -> Asked<'a, Vec<Told>> {
        Box::pin(self.try_tell(marks))
    }

    fn renew<'a>(&'a self, holds: &'a [HoldId], ttl: Duration) -> Asked<'a, ()> {
        Box::pin(self.try_renew(holds, ttl))
    }

    fn expire(&self) -> Asked<'_, usize> {
        Box::pin(self.try_expire())
    }

    fn balances<'a>(&'a self, budgets: &'a [Budget]) -> Asked<'a, Vec<Balance>> {
        Box::pin(async move {
            let standings = self.try_standings(budgets).await?;
            Ok(standings.into_iter().map(|standing| standing.balance).collect())
        })
    }
}

impl fmt::Debug for Budgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgets").finish_non_exhaustive()
    }
}

/// The accounts of some budgets, each once, in their order.
struct Lines {
    list: Vec<Line>,
    /// The line of each budget.
    of_budget: Vec<usize>,
}

struct Line {
    name: String,
    /// The smallest, of the budgets that are counted there.
    cap: Usd,
    /// The first of them.
    budget: usize,
    window: WindowArgs,
}

/// How spending is forgotten, as the scripts read it.
type WindowArgs = (&'static str, [i64; 4]);

// ===== impl Lines =====

impl Lines {
    fn new(budgets: &[Budget], now: SystemTime) -> Self {
        let mut list = Vec::<Line>::with_capacity(budgets.len());
        let mut of_budget = Vec::with_capacity(budgets.len());
        for (at, budget) in budgets.iter().enumerate() {
            let name = names::account(&budget.account);
            let known = list.iter().position(|line| line.name == name);
            of_budget.push(known.unwrap_or(list.len()));
            match known {
                Some(known) => list[known].cap = list[known].cap.min(budget.cap),
                None => {
                    list.push(Line { name, cap: budget.cap, budget: at, window: window(&budget.window, now) })
                }
            }
        }
        Self { list, of_budget }
    }

    fn write(&self, call: &mut Call) {
        for line in &self.list {
            call.arg(&line.name);
            write_window(&line.window, call);
        }
    }
}

fn write_window((kind, numbers): &WindowArgs, call: &mut Call) {
    call.arg(*kind);
    numbers.iter().for_each(|number| _ = call.arg(*number));
}

fn window(window: &Window, now: SystemTime) -> WindowArgs {
    match window {
        Window::Rolling(span) => {
            let slice = micros(*span).div_ceil(SLICES).clamp(1, LONGEST_SLICE);
            ("r", [slice.cast_signed(), 0, 0, 0])
        }
        Window::Calendar(calendar) => {
            let (this, next) = (calendar.period(now), calendar.period(calendar.period(now).end));
            let start = |at| micros_since_epoch(at).div_euclid(1_000_000);
            (
                "c",
                [
                    start(this.start),
                    micros_since_epoch(this.end),
                    start(next.start),
                    micros_since_epoch(next.end),
                ],
            )
        }
        _ => ("l", [0; 4]),
    }
}

fn read_reserved(answer: &[i64], claim: &Claim, lines: &Lines) -> Option<Result<Granted, Refused>> {
    let (result, rest) = answer.split_first()?;
    Some(match result {
        1 => {
            let (granted, balances) = rest.split_at_checked(2)?;
            // At the top a number stands for more than it says.
            let granted = read_amount(granted)?.min(claim.most);
            let balances: Vec<Balance> = balances.chunks(5).map(read_balance).collect::<Option<_>>()?;
            if balances.len() != lines.list.len() {
                return None;
            }
            Ok(Granted::new(granted, lines.of_budget.iter().map(|at| balances[*at]).collect()))
        }
        0 => {
            let (line, values) = rest.split_first()?;
            let line = lines.list.get(usize::try_from(*line).ok()?)?;
            let account = Arc::new(claim.budgets[line.budget].account.clone());
            Err(Refused::Exceeded { account, cap: line.cap, balance: read_balance(values)? })
        }
        -1 => Err(Refused::Unavailable("the reservation has ended before")),
        -2 => Err(Refused::Unavailable("the reservation has expired")),
        -3 => Err(Refused::Unavailable("the reservation is in other accounts")),
        _ => return None,
    })
}

fn read_balance(values: &[i64]) -> Option<Balance> {
    Some(balance(read_amount(values.get(..2)?)?, read_amount(values.get(2..4)?)?, *values.get(4)?))
}

fn read_amount(values: &[i64]) -> Option<Usd> {
    let [dollars, pico] = values else { return None };
    Some(amount(u64::try_from(*dollars).ok()?, u64::try_from(*pico).ok()?))
}

fn read_told(values: &[i64]) -> Option<Told> {
    let (spent, again_at) = (read_amount(values.get(1..3)?)?, read_time(*values.get(3)?));
    Some(match values[0] {
        1 => Told::Now { spent, again_at },
        0 => Told::Before { again_at },
        _ => Told::Below,
    })
}

fn balance(spent: Usd, held: Usd, resets_at: i64) -> Balance {
    let mut balance = Balance::default();
    (balance.spent, balance.held, balance.resets_at) = (spent, held, read_time(resets_at));
    balance
}

/// No window ends before the epoch: it is how the scripts say that none does.
fn read_time(at: i64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(u64::try_from(at).ok()?))
}

fn hex(id: HoldId) -> String {
    format!("{:032x}", id.0)
}

/// As a rolling window in memory has.
const SLICES: u64 = 64;

/// In microseconds: the time and a window's length together stay below 2^53.
const LONGEST_SLICE: u64 = 70_000_000_000_000;

const MICROS_PER_SECOND: u128 = 1_000_000;

/// Holds that are settled in one step of the server's, which is about a millisecond long, and the same for what takes less of it.
const BATCH: usize = 32;
const RENEW_BATCH: usize = 512;

/// Holds that expire in one step, and the most steps in one call.
const PORTION: usize = 32;
const MOST_PORTIONS: usize = 8;

//! Decisions: the statement that sets aside, for many claims at once.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use sqlx::{
    Connection, PgConnection, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query,
    query::Query,
};
use ziggurat_budget::{Balance, Claim, HoldId, Refused, remote::Granted};
use ziggurat_core::{Away, Budget, Scope, Usd, Window};

use super::{
    PostgresLedger,
    accounts::{Accounts, pico, usd},
    ledger::{bytes, span},
    statement::{Repeat, away},
};
use crate::time::time_of;

/// A claim that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) claim: Claim,
    ttl: Duration,
    how: How,
}

/// What is asked of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// To set aside under a new id.
    Reserve = 0,
    /// To set aside more under one that is open. To do it twice is not to do it once.
    Extend = 1,
    /// To hold what was set aside elsewhere.
    Adopt = 2,
}

pub(super) type Decision = Result<Granted, Refused>;

// ===== impl Question =====

impl Question {
    pub(super) fn new(claim: &Claim, ttl: Duration, how: How) -> Self {
        Self { claim: claim.clone(), ttl, how }
    }

    /// Whether to decide on it again, when nobody knows whether that was done, is to decide on it once.
    pub(super) fn may_repeat(&self) -> bool {
        self.how != How::Extend
    }
}

// ===== impl PostgresLedger =====

impl PostgresLedger {
    /// Decides on some claims in their order, in one statement. Gives a decision for each.
    pub(super) async fn decide(&self, questions: &[Question]) -> Result<Vec<Decision>, Away> {
        let mut accounts = Accounts::default();
        let mut columns = Columns::default();
        let mut lines = Vec::with_capacity(questions.len());
        for question in questions {
            let claim = Lines::new(&question.claim, &mut accounts);
            columns.push(question, &claim);
            lines.push(claim);
        }
        let patience = self.lock_millis();
        let repeat = if questions.iter().all(Question::may_repeat) { Repeat::Same } else { Repeat::Never };
        let row = self
            .ask(&accounts, async |periods| {
                let statement = || columns.bind(&accounts, &periods, patience).bind(self.told());
                self.pool.row(repeat, statement).await
            })
            .await?;
        let answers = Answers::read(&row).map_err(|error| away(&error))?;
        let decided = questions.iter().zip(&lines).zip(&columns.ends).enumerate();
        decided.map(|(at, ((question, lines), end))| answers.of(at, &question.claim, lines, *end)).collect()
    }
}

/// Makes a connection ready: the first decision on it would take many times as long as the next, as its plans are made then. Leaves nothing.
pub(super) async fn warm(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let id = HoldId::unique(SystemTime::now());
    let budget = Budget::new(Scope::tenant(format!("{:032x}", id.0)), Usd::ZERO, Window::Lifetime);
    let question = Question::new(
        &Claim::new(id, id, [budget].into(), Usd::ZERO, Usd::ZERO),
        Duration::from_secs(60),
        How::Reserve,
    );
    let (mut accounts, mut columns) = (Accounts::default(), Columns::default());
    let lines = Lines::new(&question.claim, &mut accounts);
    columns.push(&question, &lines);
    let mut undone = connection.begin().await?;
    accounts.make().fetch_all(&mut *undone).await?;
    columns.bind(&accounts, &[], 1000).bind(None::<i64>).fetch_all(&mut *undone).await?;
    undone.rollback().await
}

/// The accounts of a claim, each once.
struct Lines {
    /// The place of the account, and the smallest of its caps.
    list: Vec<(usize, Usd)>,
    /// The line of each budget.
    of_budget: Vec<usize>,
}

impl Lines {
    fn new<'a>(claim: &'a Claim, accounts: &mut Accounts<'a>) -> Self {
        let mut lines = Self { list: Vec::new(), of_budget: Vec::with_capacity(claim.budgets.len()) };
        for budget in &*claim.budgets {
            let place = accounts.add(budget);
            let known = lines.list.iter().position(|(known, _)| *known == place);
            match known.and_then(|line| lines.list.get_mut(line)) {
                Some((_, cap)) => *cap = (*cap).min(budget.cap),
                None => lines.list.push((place, budget.cap)),
            }
            lines.of_budget.push(known.unwrap_or(lines.list.len() - 1));
        }
        lines
    }
}

/// Claims, column by column.
#[derive(Default)]
struct Columns {
    ids: Vec<Vec<u8>>,
    calls: Vec<Vec<u8>>,
    leasts: Vec<String>,
    mosts: Vec<String>,
    ttls: Vec<i64>,
    hows: Vec<i32>,
    /// The number of the last line of each.
    ends: Vec<i64>,
    line_keys: Vec<i64>,
    line_caps: Vec<String>,
}

impl Columns {
    fn push(&mut self, question: &Question, lines: &Lines) {
        let Question { claim, ttl, how } = question;
        self.ids.push(bytes(claim.id).to_vec());
        self.calls.push(bytes(claim.call).to_vec());
        self.leasts.push(pico(claim.least));
        self.mosts.push(pico(claim.most));
        self.ttls.push(span(*ttl));
        self.hows.push(*how as i32);
        for (place, cap) in &lines.list {
            self.line_keys.push(*place as i64 + 1);
            self.line_caps.push(pico(*cap));
        }
        self.ends.push(self.line_keys.len() as i64);
    }

    /// The statement, but for the time.
    fn bind<'q>(
        &'q self,
        accounts: &'q Accounts<'_>,
        periods: &'q [i64],
        patience: i32,
    ) -> Query<'q, Postgres, PgArguments> {
        query(DECIDE)
            .bind(&accounts.keys)
            .bind(periods)
            .bind(&self.ids)
            .bind(&self.calls)
            .bind(&self.leasts)
            .bind(&self.mosts)
            .bind(&self.ttls)
            .bind(&self.hows)
            .bind(&self.ends)
            .bind(&self.line_keys)
            .bind(&self.line_caps)
            .bind(patience)
    }
}

/// What the database said, of each claim and of each line.
struct Answers {
    verdicts: Vec<String>,
    granted: Vec<Option<String>>,
    refused: Vec<Option<i64>>,
    standing: Vec<Balance>,
}

// ===== impl Answers =====

impl Answers {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (spents, helds): (Vec<String>, Vec<String>) = (row.try_get(5)?, row.try_get(6)?);
        let resets: Vec<Option<i64>> = row.try_get(7)?;
        let balance = |((spent, held), resets): ((&String, &String), &Option<i64>)| {
            let mut balance = Balance::default();
            (balance.spent, balance.held, balance.resets_at) = (usd(spent), usd(held), resets.map(time_of));
            balance
        };
        let standing = spents.iter().zip(&helds).zip(&resets).map(balance).collect();
        let (verdicts, granted, refused) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        Ok(Self { verdicts, granted, refused, standing })
    }

    /// The decision on one claim, whose last line is `end`.
    fn of(&self, at: usize, claim: &Claim, lines: &Lines, end: i64) -> Result<Decision, Away> {
        let unexpected = || Away::new("PostgreSQL: a decision is not as it should be");
        let last = usize::try_from(end).map_err(|_| unexpected())?;
        let first = last.checked_sub(lines.list.len()).ok_or_else(unexpected)?;
        let standing = self.standing.get(first..last).ok_or_else(unexpected)?;
        match self.verdicts.get(at).map(String::as_str) {
            Some("ok") => {
                let granted = self.granted.get(at).and_then(Option::as_deref).ok_or_else(unexpected)?;
                let balances = lines.of_budget.iter().map(|line| standing[*line]).collect();
                Ok(Ok(Granted::new(usd(granted), balances)))
            }
            Some("exceeded") => {
                let line =
                    self.refused.get(at).copied().flatten().and_then(|line| usize::try_from(line).ok());
                let line = line.and_then(|line| line.checked_sub(1)).ok_or_else(unexpected)?;
                let budget = lines.of_budget.iter().position(|of| *of == line);
                let budget = budget.and_then(|budget| claim.budgets.get(budget)).ok_or_else(unexpected)?;
                let account = Arc::new(budget.account.clone());
                Ok(Err(Refused::Exceeded { account, cap: lines.list[line].1, balance: standing[line] }))
            }
            Some("ended") => Ok(Err(Refused::Unavailable("the reservation has ended"))),
            _ => Err(unexpected()),
        }
    }
}

const DECIDE: &str = "SELECT verdict, clock, verdicts, granted::text[], refused, spents::text[], helds::text[], resets \
     FROM ziggurat_decide($1, $2, $3, $4, $5::text[]::numeric[], $6::text[]::numeric[], $7, $8, $9, $10, \
         $11::text[]::numeric[], $12, $13)";

//! Who waits for the same account is decided in one statement.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use ziggurat_core::{Account, Away};

use super::{
    PostgresLedger,
    decide::{Decision, Question},
};

/// Claims that wait for a statement, and the accounts that statements under way decide on. Clones share them.
///
/// A claim goes into a statement as soon as none under way is about one of its accounts: those that came meanwhile go together, in their
/// order. So nobody of this process waits for a lock of this process, and an account that everybody shares costs one commit for all who wait.
/// Those that must not be done twice are not in a statement with those that may: it is not repeated when the connection was lost.
#[derive(Clone, Default)]
pub(super) struct Group(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Accounts that are being decided on.
    busy: HashSet<Account>,
    /// Statements under way.
    under_way: usize,
}

struct Waiting {
    question: Question,
    answer: oneshot::Sender<Result<Decision, Away>>,
}

/// The claims of a statement, and their accounts.
type Together = (Vec<Waiting>, HashSet<Account>);

/// Claims that are decided on now. Dropped, their accounts are free again.
struct Lane {
    group: Group,
    /// `None` between two statements.
    accounts: Option<HashSet<Account>>,
}

// ===== impl Group =====

impl Group {
    /// Waits for a decision. Whoever leaves before it is asked for is not asked for.
    pub(super) async fn decide(&self, ledger: &PostgresLedger, question: Question) -> Result<Decision, Away> {
        let (answer, answered) = oneshot::channel();
        let starts = {
            let mut state = self.state();
            if state.waiting.len() >= MOST_WAITING {
                state.waiting.retain(|waiting| !waiting.answer.is_closed());
            }
            if state.waiting.len() >= MOST_WAITING {
                return Err(Away::new("PostgreSQL: as many decisions as may wait"));
            }
            state.waiting.push_back(Waiting { question, answer });
            state.start()
        };
        if let Some(starts) = starts {
            self.spawn(ledger, starts);
        }
        answered.await.unwrap_or_else(|_| Err(Away::new("PostgreSQL: a decision was given up")))
    }

    fn spawn(&self, ledger: &PostgresLedger, (together, accounts): Together) {
        let lane = Lane { group: self.clone(), accounts: Some(accounts) };
        // Owned by those who wait: when all of them have left it ends.
        tokio::spawn(run(ledger.clone(), lane, together));
    }

    /// Starts all that need not wait.
    fn start_others(&self, ledger: &PostgresLedger) {
        loop {
            let starts = self.state().start();
            let Some(starts) = starts else { return };
            self.spawn(ledger, starts);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("waiting", &self.state().waiting.len()).finish_non_exhaustive()
    }
}

/// Decides on these, and then on those that came meanwhile, until nobody waits that need not.
async fn run(ledger: PostgresLedger, mut lane: Lane, mut together: Vec<Waiting>) {
    loop {
        let (questions, mut answers): (Vec<_>, Vec<_>) =
            together.into_iter().map(|waiting| (waiting.question, waiting.answer)).unzip();
        let left = async {
            for answer in &mut answers {
                answer.closed().await;
            }
        };
        let decided = tokio::select! {
            decided = ledger.decide(&questions) => Some(decided),
            // What is being asked may be done all the same: those who left see to it.
            () = left => None,
        };
        match decided {
            Some(Ok(decisions)) => {
                for (answer, decision) in answers.into_iter().zip(decisions) {
                    // Who left meanwhile sees to it too.
                    let _left = answer.send(Ok(decision));
                }
            }
            Some(Err(away)) => answers.into_iter().for_each(|answer| _ = answer.send(Err(away.clone()))),
            None => {}
        }
        match lane.next() {
            Some(next) => {
                together = next;
                lane.group.start_others(&ledger);
            }
            None => return,
        }
    }
}

// ===== impl Lane =====

impl Lane {
    /// Those to decide on next.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let group = self.group.clone();
        let mut state = group.state();
        self.free(&mut state);
        let (together, accounts) = state.start()?;
        self.accounts = Some(accounts);
        Some(together)
    }

    fn free(&mut self, state: &mut State) {
        let Some(accounts) = self.accounts.take() else { return };
        state.under_way -= 1;
        for account in &accounts {
            state.busy.remove(account);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let group = self.group.clone();
        self.free(&mut group.state());
    }
}

// ===== impl State =====

impl State {
    /// The claims of the next statement, if one can be asked, and their accounts. Whoever came first at an account is first.
    fn start(&mut self) -> Option<Together> {
        if self.under_way >= MOST_UNDER_WAY {
            return None;
        }
        let (mut together, mut accounts) = (Vec::<Waiting>::new(), HashSet::new());
        let mut passed = HashSet::new();
        let mut later = VecDeque::with_capacity(self.waiting.len());
        for waiting in self.waiting.drain(..) {
            if waiting.answer.is_closed() {
                continue;
            }
            let own = || waiting.question.claim.budgets.iter().map(|budget| &budget.account);
            let may_repeat = waiting.question.may_repeat();
            let waits = together.len() >= MOST_TOGETHER
                || together.first().is_some_and(|first| first.question.may_repeat() != may_repeat)
                || own().any(|account| self.busy.contains(account) || passed.contains(account));
            if waits {
                passed.extend(own().cloned());
                later.push_back(waiting);
            } else {
                accounts.extend(own().cloned());
                together.push(waiting);
            }
        }
        self.waiting = later;
        if together.is_empty() {
            return None;
        }
        self.busy.extend(accounts.iter().cloned());
        self.under_way += 1;
        Some((together, accounts))
    }
}

/// Claims in one statement: it locks their accounts for some milliseconds.
const MOST_TOGETHER: usize = 128;

/// Claims that wait.
const MOST_WAITING: usize = 4096;

/// Statements under way, of which no two are about one account.
const MOST_UNDER_WAY: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ziggurat_budget::{Claim, HoldId};
    use ziggurat_core::{Budget, Scope, Usd, Window};

    use super::*;
    use crate::postgres::decide::How;

    /// The ids of the next statement.
    fn ids(state: &mut State) -> Vec<u128> {
        let (together, _) = state.start().unwrap_or_default();
        together.iter().map(|waiting| waiting.question.claim.id.0).collect()
    }

    #[test]
    fn what_must_not_be_done_twice_is_in_a_statement_of_its_own() {
        let (mut state, mut answers) = (State::default(), Vec::new());
        let asked = [
            (1, "a", How::Reserve),
            (2, "b", How::Extend),
            (3, "c", How::Reserve),
            // Waits for the one before it at its account.
            (4, "b", How::Reserve),
            (5, "d", How::Extend),
            (6, "a", How::Extend),
        ];
        for (id, account, how) in asked {
            let budget = Budget::new(Scope::tenant(account), Usd::cents(1), Window::Lifetime);
            let claim = Claim::new(HoldId(id), HoldId(id), [budget].into(), Usd::ZERO, Usd::ZERO);
            let (answer, answered) = oneshot::channel();
            answers.push(answered);
            let question = Question::new(&claim, Duration::from_secs(1), how);
            state.waiting.push_back(Waiting { question, answer });
        }
        assert_eq!(ids(&mut state), [1, 3]);
        assert_eq!(ids(&mut state), [2, 5]);
        assert_eq!(ids(&mut state), []);
        state.busy.clear();
        assert_eq!(ids(&mut state), [4]);
        assert_eq!(ids(&mut state), [6]);
    }
}

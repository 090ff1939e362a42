//! What a caller is told when there is no money left.

use std::{fmt::Write, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use ziggurat_core::{Cause, Problem, Rejection, Usd};

use crate::{Refused, store::Balance};

/// The refusal of a call, or the end of a stream: the scope's kind, its cap, what was spent and when it resets, and no id.
pub(crate) fn rejection(refused: &Refused, status: StatusCode) -> Rejection {
    match refused {
        Refused::Exceeded { account, cap, balance } => {
            let mut message = format!("the budget of the {} is {}", account.scope.kind, state(*cap, balance));
            if let Some(models) = &account.models {
                let _infallible = write!(message, " for {models}");
            }
            if let Some(resets) = balance.resets_at.and_then(|at| Timestamp::try_from(at).ok()) {
                let _infallible = write!(message, "; it resets at {}", resets.strftime("%Y-%m-%dT%H:%M:%SZ"));
            }
            let mut problem = Problem::new(Cause::Quota, message).code("budget_exceeded");
            problem.status = Some(status);
            problem.should_retry = Some(false);
            problem.into()
        }
        Refused::Unavailable(_) => {
            let mut problem = Problem::new(Cause::Overloaded, "budgets cannot be checked at the moment");
            problem.code = Some("budget_unavailable".into());
            problem.retry_after = Some(Duration::from_secs(1));
            problem.into()
        }
    }
}

fn state(cap: Usd, balance: &Balance) -> String {
    match balance.held.is_zero() {
        true if balance.spent >= cap => format!("spent: {} of {cap} USD", balance.spent),
        true => format!("too small for this call: {} of {cap} USD are spent", balance.spent),
        false => {
            let (spent, held) = (balance.spent, balance.held);
            format!(
                "too small for this call: {spent} of {cap} USD are spent and {held} set aside for calls that run"
            )
        }
    }
}

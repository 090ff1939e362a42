//! Who makes a call that several nodes are asked for.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use ziggurat_core::{Meter, Reply};

use crate::{
    Claim, Held, Key,
    asked::Asked,
    flight::{Calling, Keep},
    layer::Config,
    service::Asking,
};

/// A call that is made when it is this node's turn, and not at all when another node has answered it meanwhile: then it ends without an answer,
/// and those who wait for it find the other's.
pub(crate) fn claimed(
    config: &Arc<Config>,
    asking: &Asking,
    (calling, meter, keep): (Calling, Meter, Keep),
) -> (Calling, Meter, Keep) {
    // What is kept of a list of inputs is each by itself: there is no one answer to wait for.
    let Some(longest) = config.in_flight.filter(|_| asking.items.is_none()) else {
        return (calling, meter, keep);
    };
    let wanted = Wanted { key: asking.key, asked: asking.asked, max_age: asking.controls.max_age };
    let config = Arc::clone(config);
    let calling = Box::pin(async move {
        let Turn::Ours(held) = wanted.turn(&config, longest).await else { return None };
        let (response, _) = calling.await?;
        Some((response, held))
    });
    (calling, meter, keep)
}

/// The answer that is waited for.
struct Wanted {
    key: Key,
    asked: Asked,
    max_age: Option<Duration>,
}

enum Turn {
    /// The call is to be made, and others kept from it where that is possible.
    Ours(Option<Held>),
    /// There is an answer now.
    Answered,
}

// ===== impl Wanted =====

impl Wanted {
    /// Waits while others make the call, and until there is an answer.
    async fn turn(&self, config: &Config, longest: Duration) -> Turn {
        let began = Instant::now();
        let (mut pause, mut last, mut owners) = (SHORTEST_PAUSE, None, 0);
        loop {
            let owner = match self.claim(config).await {
                // The other may have ended since there was no answer.
                Claim::Ours(held) if !self.is_answered(config).await => return Turn::Ours(Some(held)),
                Claim::Ours(_) => return Turn::Answered,
                Claim::NotAsked => return Turn::Ours(None),
                Claim::Theirs(owner) => owner,
            };
            if last.replace(owner) != Some(owner) {
                owners += 1;
            }
            let left = longest.saturating_sub(began.elapsed());
            if owners > MOST_OWNERS || left.is_zero() {
                return Turn::Ours(None);
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if self.is_answered(config).await {
                return Turn::Answered;
            }
        }
    }

    async fn claim(&self, config: &Config) -> Claim {
        match config.store.claim(&self.key) {
            Reply::Ready(claim) => claim,
            later => timeout(config.patience, later.wait()).await.unwrap_or(Claim::NotAsked),
        }
    }

    async fn is_answered(&self, config: &Config) -> bool {
        let found = config.fetch(&self.key).await;
        found.is_some_and(|entry| config.serves(&entry, &self.asked, self.max_age))
    }
}

/// How many nodes are waited for, one after the other. When the second has left no answer either, there will be none that can be kept, and all
/// who wait make their calls at once.
const MOST_OWNERS: usize = 2;

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

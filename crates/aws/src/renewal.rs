//! Keys that end, and are renewed ahead of that by a task.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};
use ziggurat_core::Clock;

use crate::{Keys, NoKeys};

/// Gives keys that end.
pub(crate) trait Fetch: Send + 'static {
    /// What is said of who gives them.
    fn name(&self) -> &'static str;

    /// New keys, at a time.
    fn fetch<'a>(
        &'a mut self,
        clock: &'a Clock,
    ) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + 'a>>;
}

/// Keys that a task renews five minutes before they end. It starts with the first who wants them, within tokio, and ends with this value. Where
/// it fails it tries again after a second, then after two, up to a minute.
pub(crate) struct Renewal {
    state: watch::Receiver<State>,
    /// Wakes the task where the keys have ended in its sleep.
    ended: Arc<Notify>,
    clock: Clock,
    task: Mutex<Task>,
}

/// What the task knows.
#[derive(Clone, Default)]
struct State {
    keys: Option<Keys>,
    /// Why the last try failed, if it did.
    failed: Option<NoKeys>,
}

enum Task {
    Waiting(Box<dyn FnOnce(Clock) -> Running + Send>),
    Running(AbortHandle),
    /// Between the two.
    Starting,
}

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long before their end keys are renewed.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// The shortest and the longest time between two renewals.
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How long one try may take, and the pauses after those that failed.
const TRY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

// ===== impl Renewal =====

impl Renewal {
    pub(crate) fn new(fetcher: impl Fetch) -> Self {
        let (sender, state) = watch::channel(State::default());
        let ended = Arc::new(Notify::new());
        let wake = Arc::clone(&ended);
        let start = move |clock| -> Running { Box::pin(renew(fetcher, sender, wake, clock)) };
        let task = Mutex::new(Task::Waiting(Box::new(start)));
        Self { state, ended, clock: Clock::default(), task }
    }

    /// Tells the time by another clock.
    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn start(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*task, Task::Running(_)) {
            return;
        }
        if let Task::Waiting(start) = std::mem::replace(&mut *task, Task::Starting) {
            *task = Task::Running(tokio::spawn(start(self.clock.clone())).abort_handle());
        }
    }

    /// The keys that hold now.
    pub(crate) async fn keys(&self) -> Result<Keys, NoKeys> {
        self.start();
        let mut state = self.state.clone();
        loop {
            let State { keys, failed } = state.borrow_and_update().clone();
            match (keys, failed) {
                (Some(keys), _) if keys.expires().is_none_or(|end| self.clock.now() < end) => {
                    return Ok(keys);
                }
                (_, Some(failed)) => return Err(failed),
                (Some(_), None) => self.ended.notify_one(),
                (None, None) => {}
            }
            if state.changed().await.is_err() {
                return Err(NoKeys::new("the task that renews the keys has ended"));
            }
        }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        if let Task::Running(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// Fetches keys for ever, each time before the last ones end.
async fn renew(mut fetcher: impl Fetch, state: watch::Sender<State>, ended: Arc<Notify>, clock: Clock) {
    let mut pause = FIRST_PAUSE;
    loop {
        let name = fetcher.name();
        let late = |_| Err(NoKeys::new(format!("{name} did not answer in time")));
        let found = timeout(TRY, fetcher.fetch(&clock)).await.unwrap_or_else(late).and_then(|keys| {
            // Else whoever waits for better ones would have them fetched without a pause.
            let ended = keys.expires().is_some_and(|end| end <= clock.now());
            match ended {
                true => Err(NoKeys::new(format!("{name} gave keys that have ended: a clock may be wrong"))),
                false => Ok(keys),
            }
        });
        match found {
            Ok(keys) => {
                let left = keys.expires().map(|end| end.duration_since(clock.now()).unwrap_or_default());
                let wait = left.map_or(LONGEST, |left| left.saturating_sub(AHEAD)).clamp(SHORTEST, LONGEST);
                state.send_replace(State { keys: Some(keys), failed: None });
                pause = FIRST_PAUSE;
                tokio::select! {
                    () = sleep(wait) => {}
                    () = ended.notified() => {}
                }
            }
            Err(failed) => {
                // Those who call are not told why.
                tracing::warn!("{failed}");
                state.send_modify(|state| state.failed = Some(failed));
                sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

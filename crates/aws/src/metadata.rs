//! Keys of the container or the instance that this process runs in.

mod fetch;

use std::{
    env,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};
use tower_service::Service;
use ziggurat_core::{Body, Clock};

use self::fetch::{Fetcher, Place};
use crate::{KeySource, Keys, NoKeys};

/// Keys that the platform gives to what runs on it: a container of ECS or EKS, or an instance of EC2 (`IMDSv2`). Every request shares them.
///
/// The first request waits for them. From then on a task renews them five minutes before they end, off every request's path; it starts with the
/// first request, within tokio, and ends with this value. Where it fails it tries again after a second, then after two, up to a minute, while
/// the keys before still hold; once they do not, requests are told what failed.
pub struct Metadata {
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
    Waiting(Box<dyn FnOnce(Clock) -> Renewal + Send>),
    Running(AbortHandle),
    /// Between the two.
    Starting,
}

type Renewal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long before their end keys are renewed.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// The shortest and the longest time between two renewals.
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How long one try may take, and the pauses after those that failed.
const TRY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

// ===== impl Metadata =====

impl Metadata {
    /// Those of the container that the environment of this process names (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`, or
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` with `AWS_CONTAINER_AUTHORIZATION_TOKEN` or `.._TOKEN_FILE`), over an HTTP client.
    ///
    /// # Errors
    /// [`NoKeys`], when it names none, or one that keys must not come from.
    pub fn container<S>(client: S) -> Result<Self, NoKeys>
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        Self::container_from_variables(client, |name| env::var(name).ok())
    }

    /// Those of the container that such variables name.
    ///
    /// # Errors
    /// [`NoKeys`], when they name none, or one that keys must not come from.
    pub fn container_from_variables<S>(
        client: S,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, NoKeys>
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        Ok(Self::new(client, Place::container(get)?))
    }

    /// Those of the instance's role, over an HTTP client.
    #[must_use]
    pub fn instance<S>(client: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        Self::new(client, Place::Instance)
    }

    /// Tells the time by another clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn new<S>(client: S, place: Place) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        let (sender, state) = watch::channel(State::default());
        let ended = Arc::new(Notify::new());
        let wake = Arc::clone(&ended);
        let start =
            move |clock| -> Renewal { Box::pin(renew(Fetcher { client, place }, sender, wake, clock)) };
        let task = Mutex::new(Task::Waiting(Box::new(start)));
        Self { state, ended, clock: Clock::default(), task }
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
}

impl KeySource for Metadata {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + '_>> {
        Box::pin(async {
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
        })
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        if let Task::Running(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").finish_non_exhaustive()
    }
}

/// Fetches keys for ever, each time before the last ones end.
async fn renew<S>(mut fetcher: Fetcher<S>, state: watch::Sender<State>, ended: Arc<Notify>, clock: Clock)
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let name = fetcher.place.name();
        let late = |_| Err(NoKeys::new(format!("{name} did not answer in time")));
        let found = timeout(TRY, fetcher.fetch()).await.unwrap_or_else(late).and_then(|keys| {
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
                state.send_modify(|state| state.failed = Some(failed));
                sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

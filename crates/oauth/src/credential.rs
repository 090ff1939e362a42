//! The credential: a token that is kept, and fetched anew ahead of its end.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, header, request::Parts, uri::Authority};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use ziggurat_core::{Away, Credential, CredentialError};

use crate::{Token, TokenSource};

/// Puts an access token on calls to one origin.
///
/// Calls share the token. What fetches it is a task that ends with this credential.
pub struct AccessToken {
    authority: Authority,
    shared: Arc<Shared>,
}

struct Shared {
    source: Box<dyn TokenSource>,
    state: Mutex<State>,
    /// Changes whenever a fetch has ended.
    ended: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    token: Option<Kept>,
    /// What fetches.
    fetching: Option<AbortHandle>,
    /// Why there is none, and until when nobody asks again.
    failed: Option<(String, Instant)>,
}

struct Kept {
    value: HeaderValue,
    /// From then on another is fetched.
    fresh: Instant,
    until: Instant,
}

/// A fetch that runs; whoever waits is told when it is gone, however it ended.
struct Fetching(Arc<Shared>);

// ===== impl AccessToken =====

impl AccessToken {
    /// Tokens of `source`, for requests to `authority` only.
    #[must_use]
    pub fn new(authority: Authority, source: impl TokenSource) -> Self {
        let source = Box::new(source);
        Self {
            authority,
            shared: Arc::new(Shared { source, state: Mutex::default(), ended: watch::Sender::new(()) }),
        }
    }

    /// The origin that it is for.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// As this one, for another origin: what is fetched for one is for both.
    #[must_use]
    pub fn also_for(&self, authority: Authority) -> Self {
        Self { authority, shared: Arc::clone(&self.shared) }
    }
}

impl Credential for AccessToken {
    fn apply<'a>(
        &'a self,
        parts: &'a mut Parts,
        _body: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<(), CredentialError>> + Send + 'a>> {
        Box::pin(async {
            if parts.uri.authority() != Some(&self.authority) {
                return Err(CredentialError::WrongOrigin);
            }
            let value = self.shared.value().await.map_err(CredentialError::Unavailable)?;
            parts.headers.insert(header::AUTHORIZATION, value);
            Ok(())
        })
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("authority", &self.authority).finish_non_exhaustive()
    }
}

// ===== impl Shared =====

impl Shared {
    /// The token that is there, or the one that comes.
    async fn value(self: &Arc<Self>) -> Result<HeaderValue, String> {
        let mut ended = self.ended.subscribe();
        loop {
            {
                let now = Instant::now();
                let mut state = self.state();
                let known = state.token.as_ref().filter(|kept| now < kept.until);
                let is_fresh = known.is_some_and(|kept| now < kept.fresh);
                let value = known.map(|kept| kept.value.clone());
                let rests = state.failed.as_ref().filter(|(_, until)| now < *until);
                match (&value, rests) {
                    (None, Some((why, _))) => return Err(why.clone()),
                    (_, None) if !is_fresh && state.fetching.is_none() => self.begin(&mut state),
                    _ => {}
                }
                if let Some(value) = value {
                    return Ok(value);
                }
            }
            // Who fetches is held by what this is of, and tells when it has ended.
            if ended.changed().await.is_err() {
                return Err("what fetches the token has ended".to_owned());
            }
        }
    }

    fn begin(self: &Arc<Self>, state: &mut State) {
        // It must not keep alive what ends it.
        let shared = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            let Some(this) = shared.upgrade().map(Fetching) else { return };
            let fetched = this.0.fetch().await;
            this.0.keep(fetched);
        });
        state.fetching = Some(task.abort_handle());
    }

    async fn fetch(&self) -> Result<Token, Away> {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match self.once().await {
                Ok(token) => return Ok(token),
                Err(away) => tracing::warn!("an access token cannot be fetched: {away}"),
            }
            sleep(wait).await;
            wait *= 4;
        }
        self.once().await
    }

    async fn once(&self) -> Result<Token, Away> {
        let fetched = timeout(PATIENCE, self.source.fetch()).await;
        fetched.unwrap_or_else(|_| Err(Away::new("it does not answer")))
    }

    fn keep(&self, fetched: Result<Token, Away>) {
        let now = Instant::now();
        let made = fetched.and_then(|token| {
            let value = token.bearer()?;
            let until = now.checked_add(token.lasts).ok_or_else(|| Away::new("it lasts for ever"))?;
            Ok(Kept { value, fresh: until - AHEAD.min(token.lasts / 2), until })
        });
        let mut state = self.state();
        match made {
            Ok(kept) => {
                state.token = Some(kept);
                state.failed = None;
            }
            Err(why) => {
                let why = format!("an access token cannot be fetched: {why}");
                tracing::error!("{why}");
                state.failed = Some((why, now + REST));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.fetching = None;
        let now = Instant::now();
        if state.token.as_ref().is_none_or(|kept| kept.until <= now) && state.failed.is_none() {
            state.failed = Some(("what fetches the access token has failed".to_owned(), now + REST));
        }
        drop(state);
        self.0.ended.send_replace(());
    }
}

impl Drop for AccessToken {
    fn drop(&mut self) {
        // The last who holds it: besides, at most the task itself.
        if Arc::strong_count(&self.shared) <= 2
            && let Some(task) = self.shared.state().fetching.take()
        {
            task.abort();
        }
    }
}

/// How long before its end a token is fetched anew.
const AHEAD: Duration = Duration::from_secs(300);
/// How long one fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How long nobody asks again after a failure.
const REST: Duration = Duration::from_secs(1);

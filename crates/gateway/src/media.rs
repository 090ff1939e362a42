//! Fetches images and files that callers name by URL, and never from the gateway's own network.
//!
//! A URL is held against the rules as it is written, and each address that its name resolves to before a connection is made to that same
//! address: a name that resolves otherwise the next time leads nowhere else. Each redirect is held against them anew. Nothing of the caller's
//! goes out but the URL; no proxy is asked, and no connection is kept.

mod address;
mod kinds;
mod rules;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http::{Extensions, Request, Response, Uri, header};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{
            HttpConnector,
            dns::{GaiResolver, Name},
        },
    },
    rt::TokioExecutor,
};
use tokio::time::{Instant, timeout_at};
use tower::{Service, ServiceExt, util::BoxCloneSyncService};
use ziggurat_core::{Body, BoxError, Cause, CollectError, Principal, Rejection};
use ziggurat_translate::{FetchMedia, Fetched, Fetching, NotFetched, Wanted};

pub(crate) use self::rules::{is_name, normal};
use self::{
    kinds::ACCEPT,
    rules::{Reason, Rules},
    turns::{Turns, Who},
};
use crate::{config::MediaSettings, server::Passage, upstream::connector_with};

/// Fetches media.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client<HttpsConnector<HttpConnector<Guarded>>, Body>,
    rules: Arc<Rules>,
    /// Of all media of a call.
    max_bytes: usize,
    /// For all media of a call.
    timeout: Duration,
    turns: Turns,
}

type Resolver = BoxCloneSyncService<Name, Vec<SocketAddr>, BoxError>;

/// Resolves names, and gives no address that the rules do not admit. Hosts that are addresses never come here: they are held against the rules
/// with their URL.
#[derive(Clone)]
struct Guarded {
    resolver: Resolver,
    rules: Arc<Rules>,
}

/// A name has an address at which it may not be asked.
#[derive(Debug)]
struct Forbidden;

// ===== impl Fetcher =====

impl Fetcher {
    /// # Errors
    /// When the crypto provider cannot do what TLS asks of it.
    pub(crate) fn new(settings: &MediaSettings) -> io::Result<Self> {
        let system = GaiResolver::new().map_response(Iterator::collect).map_err(BoxError::from);
        Self::with_resolver(settings, BoxCloneSyncService::new(system))
    }

    fn with_resolver(settings: &MediaSettings, resolver: Resolver) -> io::Result<Self> {
        let rules = Arc::new(Rules::new(settings));
        let connector = connector_with(Guarded { resolver, rules: Arc::clone(&rules) })?;
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(MAX_BUFFER)
            .build(connector);
        let (max_bytes, timeout) = (settings.max_bytes, settings.timeout);
        Ok(Self(Arc::new(Inner { client, rules, max_bytes, timeout, turns: Turns::new() })))
    }
}

impl FetchMedia for Fetcher {
    fn fetch(&self, wanted: Vec<Wanted>, call: &Extensions) -> Fetching {
        let inner = Arc::clone(&self.0);
        let who = call.get::<Principal>().and_then(|principal| principal.ids().next());
        let who = who.map(|(kind, id)| (kind, Arc::clone(id)));
        let passage = call.get::<Passage>().cloned().unwrap_or_default();
        Box::pin(async move { inner.all(&wanted, who, &passage).await })
    }
}

// ===== impl Inner =====

impl Inner {
    /// One after the other: no call opens more than one connection at a time to where its caller likes.
    /// What is fetched counts as often as it is written, here and among the bytes of all calls, there in base64.
    async fn all(
        &self,
        wanted: &[Wanted],
        who: Option<Who>,
        passage: &Passage,
    ) -> Result<Vec<Fetched>, NotFetched> {
        let deadline = Instant::now() + self.timeout;
        let late = |_| Reason::from(LATE);
        let turn = timeout_at(deadline, self.turns.take(who)).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        let mut left = self.max_bytes;
        let mut fetched = Vec::with_capacity(wanted.len());
        for (index, Wanted { url, times }) in wanted.iter().enumerate() {
            let times = (*times).max(1);
            let one = timeout_at(deadline, self.one(url, left / times)).await.map_err(late).flatten();
            let one = one.map_err(|reason| NotFetched::Useless { index, reason })?;
            left -= one.bytes.len() * times;
            passage.hold_fetched(in_base64(self.max_bytes - left)).map_err(NotFetched::Refused)?;
            fetched.push(one);
        }
        Ok(fetched)
    }

    /// Fetches what is no larger than what is left to the call.
    async fn one(&self, url: &str, left: usize) -> Result<Fetched, Reason> {
        let mut uri = self.rules.admit(url)?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.ask(uri.clone()).await?;
            match redirect(&uri, &answer) {
                Some(next) => uri = self.rules.admit(&next)?,
                None => return self.read(answer, left).await,
            }
        }
        Err(format!("it is redirected more than {MAX_REDIRECTS} times").into())
    }

    /// Whatever fails on the way is told alike: what there is in our own network is nobody's business.
    async fn ask(&self, uri: Uri) -> Result<Response<Body>, Reason> {
        let host = uri.host().unwrap_or_default().to_owned();
        let request = Request::get(uri)
            .header(header::ACCEPT, ACCEPT)
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::USER_AGENT, concat!("ziggurat/", env!("CARGO_PKG_VERSION")))
            .body(Body::default());
        let answer = self.client.request(request.map_err(|_| UNREACHABLE)?).await.map_err(|error| {
            let error: &dyn Error = &error;
            tracing::info!(host, error, "media was not fetched");
            UNREACHABLE
        })?;
        Ok(answer.map(Body::new))
    }

    async fn read(&self, answer: Response<Body>, left: usize) -> Result<Fetched, Reason> {
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            return Err(UNREACHABLE.into());
        }
        let value = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !matches!(value(header::CONTENT_ENCODING), "" | "identity") {
            return Err("what stands there comes compressed".into());
        }
        let Some((media_type, is_it)) = kinds::named(value(header::CONTENT_TYPE)) else {
            return Err(format!("the type of what stands there is none of {ACCEPT}").into());
        };
        let bytes = body.collect_within(left).await.map_err(|error| match error {
            CollectError::TooLarge { .. } => {
                let most = self.max_bytes;
                format!("no more than {most} bytes are fetched for one call, each as often as it is named")
                    .into()
            }
            _ => Reason::from(UNREACHABLE),
        })?;
        match is_it(&bytes) {
            true => Ok(Fetched { media_type: media_type.to_owned(), bytes }),
            false => Err(format!("what stands there is not {media_type}, as is said of it").into()),
        }
    }
}

/// The same call may find a turn later.
fn busy() -> NotFetched {
    let message = "images and files are fetched for as many calls as can be at once";
    NotFetched::Refused(Rejection::new(Cause::Overloaded, message))
}

const fn in_base64(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}

/// Where an answer leads, if it leads elsewhere (RFC 3986, section 5.2; dots in a path are left to who is asked).
fn redirect(from: &Uri, answer: &Response<Body>) -> Option<String> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let to = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let is_absolute = to.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':'));
    Some(match to {
        _ if is_absolute => to.to_owned(),
        _ if to.starts_with("//") => format!("{scheme}:{to}"),
        _ if to.starts_with('/') => format!("{scheme}://{authority}{to}"),
        _ if to.starts_with('?') => format!("{scheme}://{authority}{}{to}", from.path()),
        _ => {
            let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{folder}/{to}")
        }
    })
}

// ===== impl Guarded =====

impl Service<Name> for Guarded {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.resolver.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolved = self.resolver.call(name.clone());
        let rules = Arc::clone(&self.rules);
        Box::pin(async move {
            let addresses = resolved.await?;
            // One that is not admitted speaks against all: an honest name has no such address.
            match addresses.iter().all(|address| rules.admits_address(name.as_str(), address.ip())) {
                true => Ok(addresses.into_iter()),
                false => Err(Forbidden.into()),
            }
        })
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("rules", &self.rules).finish_non_exhaustive()
    }
}

// ===== impl Forbidden =====

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has an address that nothing is fetched from")
    }
}

impl Error for Forbidden {}

const UNREACHABLE: &str = "nothing could be fetched from it";
const LATE: &str = "it was not fetched in time";
const MAX_REDIRECTS: usize = 3;
/// Bytes of an answer that wait to be taken; also the longest head of one.
const MAX_BUFFER: usize = 32 << 10;

//! How those who give keys are asked.

use std::{error::Error, future::poll_fn};

use http::{Request, Response, StatusCode, Uri, uri::Scheme};
use tower_service::Service;
use ziggurat_core::Body;

use crate::NoKeys;

/// Asks `client`, which is to reach who is called `name`, and reads the answer as text.
pub(crate) async fn ask<S>(
    mut client: S,
    name: &str,
    request: Request<Body>,
) -> Result<(StatusCode, String), NoKeys>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let failed = |what: &str| NoKeys::new(format!("{name} {what}"));
    // What a client says of its failure holds addresses.
    poll_fn(|context| client.poll_ready(context)).await.map_err(|_| failed("cannot be reached"))?;
    let response = client.call(request).await.map_err(|_| failed("cannot be reached"))?;
    let status = response.status();
    let body = response.into_body().collect_within(MAX_BODY).await;
    let body = body.map_err(|_| failed("broke off or answered too much"))?;
    let text = String::from_utf8(body.to_vec()).map_err(|_| failed("answered no text"))?;
    Ok((status, text))
}

/// Whether nobody between hears what is asked at a URL: over TLS, or on this machine.
pub(crate) fn is_secure(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let is_loopback = || {
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    };
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => is_loopback(),
        _ => false,
    }
}

/// Most bytes of an answer.
const MAX_BODY: usize = 64 << 10;

//! An outbound hyper client that keeps to limits of its own. See `README.md`.

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, routing::post};
use http::{HeaderMap, Request};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::json;
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};
use ziggurat_core::{Body, BoxError, Limit, Measure, Scope, ScopeKind};
use ziggurat_limit::{LimitLayer, Limited};

/// A caller of one provider, for several jobs of one program.
#[derive(Clone, Debug)]
pub struct Caller {
    service: Limited<Client<HttpConnector, Body>>,
    url: String,
}

/// An answer whose body is not read yet: its place among the calls in flight is held until it is, or until it is dropped.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What its headers say: how much is left, how long to wait.
    pub headers: HeaderMap,
    body: Body,
}

impl Caller {
    /// Reaches the provider at `addr`: with 3 calls a minute for each job, 1,000 tokens a minute and 2 calls at a time for all of them.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        let minute = Duration::from_secs(60);
        let limits = LimitLayer::new()
            .scope(|parts| parts.headers.get("x-job")?.to_str().ok().map(Scope::tenant))
            .limit(ScopeKind::Tenant, Measure::Requests, 3, minute)
            .fixed(Limit::tokens_per_minute(Scope::gateway(), 1_000))
            .fixed(Limit::concurrency(Scope::gateway(), 2));
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
        Self { service: limits.layer(client), url: format!("http://{addr}/v1/chat/completions") }
    }

    /// Asks for a job, for at most 100 tokens.
    ///
    /// # Errors
    /// When the provider cannot be reached.
    pub async fn ask(&self, job: &'static str) -> Result<Answer, BoxError> {
        let body = json!({
            "model": "any",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "Say hello."}],
        });
        let request = Request::post(&self.url).header("x-job", job).body(Body::from(body.to_string()))?;
        let (parts, body) = self.service.clone().oneshot(request).await?.into_parts();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl Answer {
    /// A header's text, or a dash.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-")
    }

    /// Reads the answer to its end.
    ///
    /// # Errors
    /// When the provider breaks off, or does not end within a MiB.
    pub async fn text(self) -> Result<String, BoxError> {
        let bytes = self.body.collect_within(1 << 20).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Starts a provider on this machine that says hello, and that it took 12 tokens.
///
/// # Errors
/// When no port can be had.
pub async fn provider() -> io::Result<SocketAddr> {
    let answer = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    });
    let app = Router::new().route("/v1/chat/completions", post(move || async move { answer.to_string() }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(addr)
}

//! The service: a call, told from top to bottom.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;
use ziggurat_core::{Body, BoxError, Call, Cause, Dialect, Operation, Principal, Problem, Rejection};

use crate::{
    Credential, Denied, Identity, KeyRecord, credential,
    layer::{Config, Part},
    rights::{alias, may_use, waited, with_customers},
    routes::Route,
};

/// The service of [`AuthLayer`](crate::AuthLayer).
#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    config: Arc<Config>,
}

// ===== impl Auth =====

impl<S> Auth<S> {
    pub(crate) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Auth<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: 'static,
    ReqBody: HttpBody<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The ready service goes into the future; a clone that is not ready stays.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        Box::pin(run(inner, request.map(Body::new), Arc::clone(&self.config)))
    }
}

impl<S: fmt::Debug> fmt::Debug for Auth<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[expect(clippy::manual_async_fn, reason = "a block keeps what it captures once, an `async fn` twice")]
fn run<S, ResBody>(
    mut inner: S,
    mut request: Request<Body>,
    config: Arc<Config>,
) -> impl Future<Output = Result<Response<Body>, S::Error>>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    async move {
        let known = match config.part {
            Part::Rights => known_already(&mut request),
            Part::Whole | Part::Head => match config.identify(&mut request).await {
                Ok(known) => known,
                Err(rejection) => return Ok(rejection.into_response(Call::dialect_of_request(&request))),
            },
        };
        if let Some((identity, principal)) = known {
            if config.part == Part::Head {
                request.extensions_mut().insert(principal);
                request.extensions_mut().insert(identity);
            } else if let Err(rejection) = config.admit(&mut request, identity, principal).await {
                return Ok(rejection.into_response(Call::dialect_of_request(&request)));
            }
        }
        Ok(inner.call(request).await?.map(Body::new))
    }
}

/// Who the other half of the layer has found; `None` for what is open to all.
fn known_already(request: &mut Request<Body>) -> Option<(Identity, Principal)> {
    Some((request.extensions_mut().remove()?, request.extensions_mut().remove()?))
}

// ===== impl Config =====

impl Config {
    /// Who makes the request, by its head alone, if it may call that path; `None` for what is open to all.
    async fn identify(
        &self,
        request: &mut Request<Body>,
    ) -> Result<Option<(Identity, Principal)>, Rejection> {
        // What stands there from outside is nobody's word, unless the host says that it is its own.
        let given = request.extensions_mut().remove::<Principal>();
        let identity = request.extensions_mut().remove::<Identity>();
        let known = match given.filter(|_| self.trusts_principal) {
            Some(principal) => (identity.unwrap_or_else(|| Identity::from(principal.clone())), principal),
            None if self.is_open(request) => return Ok(None),
            None => {
                let identity = self.believe(request).await.map_err(refusal)?;
                let principal = identity.principal().clone();
                (identity, principal)
            }
        };
        self.check_route(request, known.0.record())?;
        Ok(Some(known))
    }

    /// Whether anybody may make the request.
    fn is_open(&self, request: &mut Request<Body>) -> bool {
        let Some(open) = &self.open else { return false };
        let (parts, body) = mem::take(request).into_parts();
        let is_open = open(&parts);
        *request = Request::from_parts(parts, body);
        is_open
    }

    /// Who presents the credential of a request.
    async fn believe(&self, request: &mut Request<Body>) -> Result<Identity, Denied> {
        if Call::dialect_of_request(request) == Dialect::Gemini {
            credential::out_of_query(request)?;
        }
        let (reply, most) = {
            let credential = Credential::read(request.headers())?;
            // Where the keys of tokens are fetched it takes longer, once, and that is not the stores' behind to pay.
            let most = if credential.is_token() { TOKEN } else { Duration::MAX };
            (self.auth.authenticate(&credential), most)
        };
        let identity = waited(request.extensions_mut(), reply, most).await?.ok_or(Denied::Invalid)?;
        let headers = request.headers_mut();
        if self.keeps_credentials {
            credential::hide(headers);
        } else {
            credential::strip(headers);
        }
        Ok(identity)
    }

    fn check_route(&self, request: &Request<Body>, record: &KeyRecord) -> Result<(), Rejection> {
        let path = request.uri().path();
        let operation = match Call::operation_of_request(request) {
            // As a GET, whose body the server leaves out.
            Operation::Other if request.method() == Method::HEAD => Operation::of_path(&Method::GET, path).0,
            operation => operation,
        };
        let route = Route::new(operation, path);
        let allowed = match &record.routes {
            Some(routes) => route.is_allowed(routes, record.admin),
            None => record.admin || route.is_allowed(&self.routes, false),
        };
        if allowed {
            return Ok(());
        }
        Err(Rejection::new(Cause::PermissionDenied, "this key may not call this path"))
    }

    /// Reads a call of a model, sees to it that the caller may make it, and says who that is.
    async fn admit(
        &self,
        request: &mut Request<Body>,
        identity: Identity,
        mut principal: Principal,
    ) -> Result<(), Rejection> {
        let call = Call::attach(request, &self.request).await?;
        if matches!(call.operation(), Operation::Models | Operation::Other) {
            request.extensions_mut().insert(identity);
        } else {
            let aliased = alias(request, &call, &identity.record().aliases)?;
            may_use(&principal, aliased.as_ref().unwrap_or(&call), &call)?;
            let extensions = request.extensions_mut();
            with_customers(extensions, &mut principal, identity.record(), &call, &*self.auth).await?;
        }
        request.extensions_mut().insert(principal);
        Ok(())
    }
}

/// What a caller is told. All kinds of wrong are told in the same words.
pub(crate) fn refusal(denied: Denied) -> Rejection {
    let mut problem = Problem::new(Cause::InvalidKey, denied.to_string());
    if let Denied::Unavailable { retry_after } = denied {
        problem.cause = Cause::Overloaded;
        // The same in all dialects: it is not the model that has no capacity.
        problem.status = Some(http::StatusCode::SERVICE_UNAVAILABLE);
        problem.retry_after = Some(retry_after);
    }
    problem.into()
}

/// The most that believing a token takes of a call's patience.
const TOKEN: Duration = Duration::from_millis(50);

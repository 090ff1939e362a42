//! How the platform is asked.

use std::{error::Error, fs, future::Future, pin::Pin};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header::AUTHORIZATION, uri::Scheme};
use jiff::Timestamp;
use serde::Deserialize;
use tower_service::Service;
use ziggurat_core::{Body, Clock};

use crate::{
    Keys, NoKeys,
    ask::{ask, is_secure},
    renewal::Fetch,
};

/// Where the keys are.
pub(super) enum Place {
    Container {
        uri: Uri,
        token: Token,
    },
    /// The metadata service of the instance, second version.
    Instance,
}

/// What the container's service wants to see.
pub(super) enum Token {
    None,
    Given(String),
    /// Read anew each time: it is renewed too.
    File(String),
}

/// Asks for keys, over a client.
pub(super) struct Fetcher<S> {
    pub(super) client: S,
    pub(super) place: Place,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    code: Option<String>,
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// From "Container credential provider" in AWS's SDK reference.
const CONTAINER: &str = "http://169.254.170.2";

/// The hosts that may give keys without TLS, beside loopback, by the same page: the container services of ECS and EKS.
const PLAIN: &[&str] = &["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// From "Access instance metadata" in the EC2 user guide.
const INSTANCE: &str = "http://169.254.169.254/latest/";
const ROLES: &str = "meta-data/iam/security-credentials/";
const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_SECONDS: &str = "x-aws-ec2-metadata-token-ttl-seconds";

// ===== impl Place =====

impl Place {
    pub(super) fn container(get: impl Fn(&str) -> Option<String>) -> Result<Self, NoKeys> {
        let given = |name: &str| get(name).filter(|value| !value.is_empty());
        let relative =
            given("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER}{path}"));
        let uri = relative.or_else(|| given("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
        let uri = uri.ok_or_else(|| NoKeys::new("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set"))?;
        let uri: Uri =
            uri.parse().map_err(|_| NoKeys::new("the container's credentials have no valid URI"))?;
        if !may_give_keys(&uri) {
            return Err(NoKeys::new(
                "the container's credentials may come over https or from this machine alone",
            ));
        }
        let token = match (
            given("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            given("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        ) {
            (Some(path), _) => Token::File(path),
            (None, Some(token)) => Token::Given(token),
            (None, None) => Token::None,
        };
        Ok(Self::Container { uri, token })
    }

    /// What is said of it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Container { .. } => "the container's credential service",
            Self::Instance => "the instance's metadata service",
        }
    }
}

fn may_give_keys(uri: &Uri) -> bool {
    let is_platform = || PLAIN.contains(&uri.host().unwrap_or_default());
    is_secure(uri) || (uri.scheme() == Some(&Scheme::HTTP) && is_platform())
}

// ===== impl Fetcher =====

impl<S> Fetch for Fetcher<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
{
    fn name(&self) -> &'static str {
        self.place.name()
    }

    fn fetch<'a>(
        &'a mut self,
        _clock: &'a Clock,
    ) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + 'a>> {
        Box::pin(self.found())
    }
}

impl<S> Fetcher<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
{
    async fn found(&mut self) -> Result<Keys, NoKeys> {
        let body = match &self.place {
            Place::Container { uri, token } => {
                let mut request = Request::new(Body::empty());
                *request.uri_mut() = uri.clone();
                if let Some(token) = token.read()? {
                    request.headers_mut().insert(AUTHORIZATION, token);
                }
                self.ask(request).await?
            }
            Place::Instance => {
                let token = self.ask(instance(Method::PUT, "api/token", (TOKEN_SECONDS, "21600"))?).await?;
                let list = self.ask(instance(Method::GET, ROLES, (TOKEN, token.trim()))?).await?;
                let role = list.lines().next().map(str::trim).filter(|role| !role.is_empty());
                let role = role.ok_or_else(|| NoKeys::new("the instance has no role"))?;
                self.ask(instance(Method::GET, &format!("{ROLES}{role}"), (TOKEN, token.trim()))?).await?
            }
        };
        keys(&body).map_err(|why| NoKeys::new(format!("{} {why}", self.place.name())))
    }

    async fn ask(&mut self, request: Request<Body>) -> Result<String, NoKeys> {
        let name = self.place.name();
        match ask(self.client.clone(), name, request).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(NoKeys::new(format!("{name} answered {}", status.as_u16()))),
        }
    }
}

fn instance(
    method: Method,
    path: &str,
    (name, value): (&'static str, &str),
) -> Result<Request<Body>, NoKeys> {
    let invalid = || NoKeys::new("the instance's metadata service answered what cannot be asked for");
    let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
    value.set_sensitive(true);
    let request = Request::builder().method(method).uri(format!("{INSTANCE}{path}")).header(name, value);
    request.body(Body::empty()).map_err(|_| invalid())
}

fn keys(json: &str) -> Result<Keys, &'static str> {
    let answer: Answer = serde_json::from_str(json).map_err(|_| "answered no keys")?;
    if answer.code.is_some_and(|code| code != "Success") {
        return Err("answered that it has no keys");
    }
    let expires = match answer.expiration.map(|time| time.parse::<Timestamp>()) {
        Some(Ok(time)) => Some(time.into()),
        Some(Err(_)) => return Err("answered keys without a valid end"),
        None => None,
    };
    Keys::of(answer.access_key_id, answer.secret_access_key, answer.token.as_deref(), expires)
        .map_err(|_| "answered no valid token")
}

// ===== impl Token =====

impl Token {
    fn read(&self) -> Result<Option<HeaderValue>, NoKeys> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Given(token) => token.clone(),
            Self::File(path) => fs::read_to_string(path)
                .map_err(|error| NoKeys::new(format!("the container's token file: {}", error.kind())))?,
        };
        let mut value = HeaderValue::from_str(text.trim())
            .map_err(|_| NoKeys::new("the container's token is no header value"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

//! Tokens for a workload that somebody else than Google vouches for.

use std::{
    collections::HashMap,
    fmt, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body::Body as HttpBody;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tower_service::Service;
use ziggurat_core::{Asked, Away, Body, BoxError, Clock, percent_encoded};
use ziggurat_oauth::{Token, TokenSource, WorkloadToken, answer, ask, post, secure_url, workload_token};

use crate::file::{InvalidAccount, SCOPE, invalid};

/// A workload outside of Google Cloud, by the token of its own platform, which is exchanged for one of Google's
/// ([workload identity federation](https://google.aip.dev/auth/4117), [RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)), and that, where the
/// file says so, for one of a service account.
pub struct ExternalAccount<S> {
    source: Source,
    token_url: Uri,
    /// All of the exchange but the token.
    form: String,
    /// By which the client itself shows who it is, where it has to.
    basic: Option<HeaderValue>,
    impersonation: Option<Impersonation>,
    client: S,
    clock: Clock,
}

/// Where the token of the platform stands.
enum Source {
    File { path: String, member: Option<String>, read: ReadFile },
    Url(WorkloadToken),
}

/// As which service account calls are made.
struct Impersonation {
    url: Uri,
    lifetime: u64,
}

/// Reads a file, for a crate that opens none.
pub(crate) type ReadFile = Arc<dyn Fn(&str) -> io::Result<Vec<u8>> + Send + Sync>;

#[derive(Deserialize)]
struct ExternalFile {
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: CredentialSource,
    service_account_impersonation_url: Option<String>,
    service_account_impersonation: Option<Lifetime>,
    client_id: Option<String>,
    client_secret: Option<String>,
    workforce_pool_user_project: Option<String>,
}

#[derive(Deserialize)]
struct CredentialSource {
    environment_id: Option<String>,
    file: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: HashMap<String, String>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    #[serde(rename = "type")]
    kind: Option<String>,
    subject_token_field_name: Option<String>,
}

#[derive(Deserialize)]
struct Lifetime {
    token_lifetime_seconds: Option<u64>,
}

/// What the service account's token comes in.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: String,
}

/// Seconds that a service account's token lasts, unless the file says otherwise.
const LIFETIME: u64 = 3600;

// ===== impl ExternalAccount =====

impl<S> ExternalAccount<S> {
    /// Reads a file of credentials, whose token stands in a file, which `read` reads, or at a URL; `client` makes all requests.
    ///
    /// # Errors
    /// [`InvalidAccount`] when it is none, or names another source.
    pub fn from_json(
        json: &str,
        client: S,
        read: impl Fn(&str) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Self, InvalidAccount> {
        let file: ExternalFile =
            serde_json::from_str(json).map_err(|_| invalid("it is no file of an external account"))?;
        let token_url = secure_url(&file.token_url)
            .ok_or_else(|| invalid("its `token_url` is no URL that begins with https://"))?;
        let impersonation = match &file.service_account_impersonation_url {
            None => None,
            Some(url) => {
                let url = secure_url(url).ok_or_else(|| {
                    invalid("its `service_account_impersonation_url` is no URL that begins with https://")
                })?;
                let lifetime = file.service_account_impersonation.as_ref();
                let lifetime = lifetime.and_then(|it| it.token_lifetime_seconds).unwrap_or(LIFETIME);
                Some(Impersonation { url, lifetime })
            }
        };
        let basic = file.client_id.as_deref().map(|id| {
            let pair = format!("{id}:{}", file.client_secret.as_deref().unwrap_or_default());
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        });
        let basic = basic.transpose().map_err(|_| invalid("its `client_id` cannot be sent"))?;
        let form = form(&file);
        let source = Source::of(file.credential_source, Arc::new(read))?;
        Ok(Self { source, token_url, form, basic, impersonation, client, clock: Clock::system() })
    }

    /// Sets the clock by which it is told how long a token lasts.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The file in which the token of the platform stands.
    #[must_use]
    pub fn token_file(&self) -> Option<&str> {
        match &self.source {
            Source::File { path, .. } => Some(path),
            Source::Url(_) => None,
        }
    }
    fn exchange(&self, subject: &str) -> Request<Body> {
        let form = format!("{}&subject_token={}", self.form, percent_encoded(subject));
        let mut request = post(self.token_url.clone(), form);
        if let Some(basic) = &self.basic {
            let mut basic = basic.clone();
            basic.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, basic);
        }
        request
    }
}

impl<S, ResBody> ExternalAccount<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    async fn token(&self) -> Result<Token, Away> {
        let subject = self.source.read(self.client.clone()).await?;
        let exchanged = ask(self.client.clone(), self.exchange(&subject)).await;
        let exchanged = exchanged.map_err(|away| named("the exchange of the workload's token", &away))?;
        let Some(impersonation) = &self.impersonation else { return Ok(exchanged) };
        let answered = answer(self.client.clone(), impersonation.request(&exchanged)?).await;
        let answered = answered.and_then(|json| self.impersonated(&json));
        answered.map_err(|away| named("the token of the service account", &away))
    }

    fn impersonated(&self, json: &[u8]) -> Result<Token, Away> {
        let none = || Away::new("its answer holds no token");
        let answer: Impersonated = serde_json::from_slice(json).map_err(|_| none())?;
        let until: Timestamp = answer.expire_time.parse().map_err(|_| none())?;
        let until = SystemTime::from(until);
        let lasts = until.duration_since(self.clock.now()).unwrap_or(Duration::ZERO);
        if lasts.is_zero() {
            return Err(Away::new("its answer holds a token that has ended"));
        }
        Ok(Token::new(answer.access_token, lasts))
    }
}

impl<S, ResBody> TokenSource for ExternalAccount<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn fetch(&self) -> Asked<'_, Token> {
        Box::pin(self.token())
    }
}

impl<S> fmt::Debug for ExternalAccount<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount").field("token_url", &self.token_url).finish_non_exhaustive()
    }
}

/// All of the form of an exchange but the token.
fn form(file: &ExternalFile) -> String {
    let mut form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&audience={}&scope={}\
         &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&subject_token_type={}",
        percent_encoded(&file.audience),
        percent_encoded(SCOPE),
        percent_encoded(&file.subject_token_type)
    );
    // Of people in a workforce pool, whose client does not say whose project is charged.
    if let (Some(project), None) = (&file.workforce_pool_user_project, &file.client_id) {
        let options = json!({ "userProject": project }).to_string();
        form.push_str(&format!("&options={}", percent_encoded(&options)));
    }
    form
}

fn named(what: &str, away: &Away) -> Away {
    Away::new(format!("{what}: {away}"))
}

// ===== impl Source =====

impl Source {
    fn of(source: CredentialSource, read: ReadFile) -> Result<Self, InvalidAccount> {
        let format = source.format;
        let member = match format.as_ref().map(|format| format.kind.as_deref().unwrap_or("text")) {
            None | Some("text") => None,
            Some("json") => {
                let name = format.and_then(|format| format.subject_token_field_name);
                Some(name.ok_or_else(|| invalid("its `format` names no `subject_token_field_name`"))?)
            }
            Some(_) => return Err(invalid("its `format` is neither `text` nor `json`")),
        };
        match (source.environment_id, source.file, source.url) {
            (None, Some(path), None) => Ok(Self::File { path, member, read }),
            (None, None, Some(url)) => {
                let uri: Option<Uri> = url.parse().ok();
                // Platforms give tokens over plain HTTP, within the machine or beside it.
                let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
                let uri = uri.ok_or_else(|| invalid("its `credential_source.url` is no URL"))?;
                let mut token = WorkloadToken::at(uri);
                for (name, value) in source.headers {
                    let header = (HeaderName::try_from(name), HeaderValue::try_from(value));
                    let (Ok(name), Ok(value)) = header else {
                        return Err(invalid("its `credential_source.headers` cannot be sent"));
                    };
                    token = token.header(name, value);
                }
                Ok(Self::Url(member.into_iter().fold(token, WorkloadToken::member)))
            }
            _ => Err(invalid("its `credential_source` is neither a `file` nor a `url`")),
        }
    }

    async fn read<S, ResBody>(&self, client: S) -> Result<String, Away>
    where
        S: Service<Request<Body>, Response = Response<ResBody>>,
        ResBody: HttpBody<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
    {
        match self {
            Self::File { path, member, read } => {
                let bytes = read(path).map_err(|error| Away::new(format!("its file: {}", error.kind())));
                let token = bytes.and_then(|bytes| workload_token(&bytes, member.as_deref()));
                token.map_err(|away| named("the workload's token", &away))
            }
            Self::Url(token) => token.read(client).await,
        }
    }
}

// ===== impl Impersonation =====

impl Impersonation {
    /// Asks for a token of the service account, as whom the exchanged token is of.
    fn request(&self, exchanged: &Token) -> Result<Request<Body>, Away> {
        let body = json!({ "scope": [SCOPE], "lifetime": format!("{}s", self.lifetime) });
        let mut request = Request::new(Body::from(body.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::AUTHORIZATION, exchanged.bearer()?);
        Ok(request)
    }
}

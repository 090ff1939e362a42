//! Keys of a role, assumed at AWS's Security Token Service.

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header::CONTENT_TYPE};
use jiff::Timestamp;
use tower_service::Service;
use ziggurat_core::{Asked, Body, Clock, Credential, CredentialError, percent_encoded};

use crate::{
    KeySource, Keys, NoKeys, SigV4,
    ask::{ask, is_secure},
    renewal::{Fetch, Renewal},
};

/// A role, and where it is assumed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    endpoint: Uri,
    region: String,
    arn: String,
    session: String,
    external_id: Option<String>,
}

/// Keys of a [`Role`]. Every request shares them, and a task renews them ahead of their end as it does those of the platform.
pub struct AssumedRole(Renewal);

struct Fetcher<S> {
    client: S,
    role: Role,
    by: By,
}

/// By what it is shown who assumes the role.
enum By {
    Keys(Arc<dyn KeySource>),
    Token(Box<dyn Fn() -> Asked<'static, String> + Send + Sync>),
}

/// What is said of the service.
const NAME: &str = "AWS's security token service";

/// From "AssumeRole" in the STS API reference.
const VERSION: &str = "2011-06-15";

// ===== impl Role =====

impl Role {
    /// A role by its ARN, in sessions of this name, assumed at the service of a region.
    #[must_use]
    pub fn new(arn: impl Into<String>, session: impl Into<String>, region: impl Into<String>) -> Self {
        let region = region.into();
        let end = if region.starts_with("cn-") { ".cn" } else { "" };
        let endpoint = format!("https://sts.{region}.amazonaws.com{end}/").parse().unwrap_or_default();
        Self { endpoint, region, arn: arn.into(), session: session.into(), external_id: None }
    }

    /// Says what its owner asks of those who assume it for others.
    #[must_use]
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// Assumes it elsewhere: over TLS or on this machine. A region that the host names is signed for.
    ///
    /// # Errors
    /// [`NoKeys`], when that is no such URL.
    pub fn endpoint(mut self, uri: &str) -> Result<Self, NoKeys> {
        let uri: Option<Uri> = uri.parse().ok();
        let uri =
            uri.filter(|uri| is_secure(uri) && !uri.authority().is_some_and(|it| it.as_str().contains('@')));
        self.endpoint = uri.ok_or_else(|| {
            NoKeys::new("the address of the security token service must begin with https://")
        })?;
        if let Some(region) = region_of(self.endpoint.host().unwrap_or_default()) {
            self.region = region.to_owned();
        }
        Ok(self)
    }

    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    fn form(&self, action: &str) -> String {
        let mut form = format!(
            "Action={action}&Version={VERSION}&RoleArn={}&RoleSessionName={}",
            percent_encoded(&self.arn),
            percent_encoded(&self.session)
        );
        if let Some(id) = &self.external_id {
            form.push_str(&format!("&ExternalId={}", percent_encoded(id)));
        }
        form
    }
}

/// The region in the name of one of AWS's own hosts; the one without is of `us-east-1`.
fn region_of(host: &str) -> Option<&str> {
    let name = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    match name.split_once('.') {
        None => (name == "sts").then_some("us-east-1"),
        Some((service, region)) => {
            (matches!(service, "sts" | "sts-fips") && !region.contains('.')).then_some(region)
        }
    }
}

// ===== impl AssumedRole =====

impl AssumedRole {
    /// Assumed by whom these keys belong to, over an HTTP client.
    #[must_use]
    pub fn with_keys<S>(client: S, role: Role, keys: impl KeySource) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        Self(Renewal::new(Fetcher { client, role, by: By::Keys(Arc::new(keys)) }))
    }

    /// Assumed by whom an identity provider's token names, which is asked for anew each time, over an HTTP client. It has no external id.
    #[must_use]
    pub fn with_web_identity<S>(
        client: S,
        role: Role,
        token: impl Fn() -> Asked<'static, String> + Send + Sync + 'static,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        let role = Role { external_id: None, ..role };
        Self(Renewal::new(Fetcher { client, role, by: By::Token(Box::new(token)) }))
    }

    /// Tells the time by another clock.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self(self.0.clock(clock))
    }
}

impl KeySource for AssumedRole {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + '_>> {
        Box::pin(self.0.keys())
    }
}

impl fmt::Debug for AssumedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumedRole").finish_non_exhaustive()
    }
}

// ===== impl Fetcher =====

impl<S> Fetch for Fetcher<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
{
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch<'a>(
        &'a mut self,
        clock: &'a Clock,
    ) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + 'a>> {
        Box::pin(async {
            let request = self.request(clock).await?;
            let (status, body) = ask(self.client.clone(), NAME, request).await?;
            if status != StatusCode::OK {
                // Its message names who asked and for what.
                let code =
                    element(&body, "Code").filter(|code| code.bytes().all(|b| b.is_ascii_alphanumeric()));
                let code = code.map_or_else(String::new, |code| format!(" ({code})"));
                return Err(NoKeys::new(format!("{NAME} answered {}{code}", status.as_u16())));
            }
            keys(&body).map_err(|why| NoKeys::new(format!("{NAME} {why}")))
        })
    }
}

impl<S> Fetcher<S> {
    async fn request(&self, clock: &Clock) -> Result<Request<Body>, NoKeys> {
        let form = match &self.by {
            By::Keys(_) => self.role.form("AssumeRole"),
            By::Token(token) => {
                let token = token().await.map_err(|away| NoKeys::new(away.to_string()))?;
                let token = percent_encoded(&token);
                format!("{}&WebIdentityToken={token}", self.role.form("AssumeRoleWithWebIdentity"))
            }
        };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::POST;
        parts.uri = self.role.endpoint.clone();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        parts.headers.insert(CONTENT_TYPE, kind);
        let body = Bytes::from(form);
        if let (By::Keys(keys), Some(authority)) = (&self.by, parts.uri.authority().cloned()) {
            let signer = SigV4::new(authority, self.role.region.as_str(), Arc::clone(keys));
            let signed = signer.service("sts").clock(clock.clone()).apply(&mut parts, &body).await;
            signed.map_err(|error| match error {
                CredentialError::Unavailable(why) => NoKeys::new(why),
                _ => NoKeys::new("what is asked of the security token service cannot be signed"),
            })?;
        }
        Ok(Request::from_parts(parts, Body::from(body)))
    }
}

/// The keys in an answer.
fn keys(xml: &str) -> Result<Keys, &'static str> {
    let found = element(xml, "Credentials").ok_or("answered no keys")?;
    let text =
        |name: &str| element(found, name).filter(|text| !text.contains(['<', '&'])).ok_or("answered no keys");
    let end: Timestamp = text("Expiration")?.parse().map_err(|_| "answered keys without a valid end")?;
    let (id, secret, token) = (text("AccessKeyId")?, text("SecretAccessKey")?, text("SessionToken")?);
    Keys::of(id.to_owned(), secret.to_owned(), Some(token), Some(end.into()))
        .map_err(|_| "answered no valid token")
}

/// What stands in the first element of a name; AWS writes these without attributes.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_of_a_host_is_signed_for() {
        for (host, region) in [
            ("sts.amazonaws.com", Some("us-east-1")),
            ("sts.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("sts-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("sts.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("vpce-1.sts.eu-west-1.vpce.amazonaws.com", None),
            ("s3.eu-west-1.amazonaws.com", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
        assert_eq!(Role::new("a", "s", "eu-west-1").endpoint, "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(Role::new("a", "s", "cn-north-1").endpoint, "https://sts.cn-north-1.amazonaws.com.cn/");
        for bad in ["http://sts.test/", "https://a:b@sts.test/", "sts", "ftp://127.0.0.1"] {
            assert!(Role::new("a", "s", "r").endpoint(bad).is_err(), "{bad}");
        }
    }
}

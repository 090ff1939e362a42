//! Files of credentials, whoever they are of.

use std::{fmt, io};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use serde::Deserialize;
use tower_service::Service;
use ziggurat_core::{Asked, Body, BoxError};
use ziggurat_oauth::{Token, TokenSource};

use crate::{AuthorizedUser, ExternalAccount, ServiceAccount};

/// A file in which Google's tools keep credentials, by its `type`: `service_account`, `authorized_user` or `external_account`
/// ([application default credentials](https://google.aip.dev/auth/4110)).
pub struct AccountFile<S> {
    kind: Kind<S>,
    quota_project: Option<HeaderValue>,
}

enum Kind<S> {
    Service(ServiceAccount<S>),
    User(AuthorizedUser<S>),
    External(Box<ExternalAccount<S>>),
}

/// A file of credentials that cannot be used. Says nothing of what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidAccount {
    /// What is wrong.
    pub why: &'static str,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: Option<String>,
    quota_project_id: Option<String>,
}

/// What a token may be used for: all of Google Cloud that the account may use.
pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
pub(crate) const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

// ===== impl AccountFile =====

impl<S> AccountFile<S> {
    /// Reads a file of credentials; `client` makes all requests, and `read` reads the file in which the token of an external account stands.
    ///
    /// # Errors
    /// [`InvalidAccount`] when it is none.
    pub fn from_json(
        json: &str,
        client: S,
        read: impl Fn(&str) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Self, InvalidAccount> {
        let head: Head =
            serde_json::from_str(json).map_err(|_| invalid("it is no JSON object of such a file"))?;
        let kind = match head.kind.as_deref() {
            None | Some("service_account") => Kind::Service(ServiceAccount::from_json(json, client)?),
            Some("authorized_user") => Kind::User(AuthorizedUser::from_json(json, client)?),
            Some("external_account") => {
                Kind::External(Box::new(ExternalAccount::from_json(json, client, read)?))
            }
            Some(_) => {
                return Err(invalid(
                    "its `type` is none of `service_account`, `authorized_user` and `external_account`",
                ));
            }
        };
        let quota_project = head.quota_project_id.map(HeaderValue::try_from).transpose();
        let quota_project = quota_project.map_err(|_| invalid("its `quota_project_id` cannot be sent"))?;
        Ok(Self { kind, quota_project })
    }

    /// The project that the file names: that of a service account, else the one that is charged.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        let own = match &self.kind {
            Kind::Service(account) => account.project(),
            Kind::User(_) | Kind::External(_) => None,
        };
        own.or_else(|| self.quota_project.as_ref()?.to_str().ok())
    }

    /// The project that calls are charged to, if the file names one: for the header `x-goog-user-project`.
    #[must_use]
    pub const fn quota_project(&self) -> Option<&HeaderValue> {
        self.quota_project.as_ref()
    }

    /// The file in which the token of an external account stands.
    #[must_use]
    pub fn token_file(&self) -> Option<&str> {
        match &self.kind {
            Kind::External(account) => account.token_file(),
            Kind::Service(_) | Kind::User(_) => None,
        }
    }
}

impl<S, ResBody> TokenSource for AccountFile<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn fetch(&self) -> Asked<'_, Token> {
        match &self.kind {
            Kind::Service(account) => account.fetch(),
            Kind::User(account) => account.fetch(),
            Kind::External(account) => account.fetch(),
        }
    }
}

impl<S> fmt::Debug for AccountFile<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind: &dyn fmt::Debug = match &self.kind {
            Kind::Service(account) => account,
            Kind::User(account) => account,
            Kind::External(account) => &**account,
        };
        f.debug_tuple("AccountFile").field(kind).finish()
    }
}

impl fmt::Display for InvalidAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a file of Google's credentials: {}", self.why)
    }
}

impl std::error::Error for InvalidAccount {}

pub(crate) const fn invalid(why: &'static str) -> InvalidAccount {
    InvalidAccount { why }
}

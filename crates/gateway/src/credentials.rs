//! What calls of clouds are made with: tokens that are fetched, for all deployments of one account at once.

use std::{
    collections::HashMap,
    env, fmt, fs,
    hash::Hash,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use http::{Response, uri::Authority};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{ServiceExt, util::MapResponse};
use ziggurat_aws::{Chain, KeySource, Metadata, SharedFile, SigV4};
use ziggurat_core::{Asked, Away, Body, TargetError};
use ziggurat_google::{AccountFile, MetadataServer};
use ziggurat_oauth::{AccessToken, ClientCredentials, Proof, WorkloadToken};

use crate::{
    config::{Account, Assertion, AssumedBy, AssumedRole, Aws, Entra, EntraProof, Keys, token_in_file},
    upstream::connector,
};

/// Makes them, and keeps what deployments share.
#[derive(Default)]
pub(crate) struct Credentials {
    client: OnceLock<Option<Http>>,
    google: Mutex<HashMap<Account, AccessToken>>,
    entra: Mutex<HashMap<Entra, AccessToken>>,
    aws: Mutex<HashMap<Keys, Arc<dyn KeySource>>>,
}

type Http = Client<HttpsConnector<HttpConnector>, Body>;
type Asking = MapResponse<Http, fn(Response<Incoming>) -> Response<Body>>;

// ===== impl Credentials =====

impl Credentials {
    /// Tokens of a Google account for calls of one origin.
    pub(crate) fn google(&self, account: &Account, authority: Authority) -> Result<AccessToken, TargetError> {
        shared(&self.google, account, authority, |authority| {
            let client = self.client()?;
            Ok(match account {
                Account::File(file) => {
                    let account = AccountFile::from_json(file.expose(), client, |path| fs::read(path));
                    AccessToken::new(authority, account.map_err(|_| TargetError::Key)?)
                }
                Account::Machine => AccessToken::new(authority, MetadataServer::new(client)),
            })
        })
    }

    /// Tokens of an application at Entra for calls of one origin.
    pub(crate) fn entra(&self, entra: &Entra, authority: Authority) -> Result<AccessToken, TargetError> {
        shared(&self.entra, entra, authority, |authority| {
            let Entra { endpoint, client_id, scope, proof } = entra;
            let proof = match proof {
                EntraProof::Secret(secret) => Proof::Secret(secret.expose().to_owned()),
                EntraProof::Assertion(assertion) => {
                    Proof::Assertion(asserted(assertion.clone(), self.client()?))
                }
            };
            let client = ClientCredentials::new(endpoint.clone(), client_id, scope, proof, self.client()?);
            Ok(AccessToken::new(authority, client))
        })
    }

    /// What signs calls of one origin on AWS.
    pub(crate) fn aws(&self, aws: &Aws, authority: Authority) -> Result<SigV4, TargetError> {
        Ok(SigV4::new(authority, aws.region.as_str(), self.keys(&aws.keys)?))
    }

    /// Keys for AWS, which all share that take them from the same place.
    fn keys(&self, keys: &Keys) -> Result<Arc<dyn KeySource>, TargetError> {
        // Nothing panics while it is held.
        if let Some(known) = self.aws.lock().unwrap_or_else(PoisonError::into_inner).get(keys) {
            return Ok(Arc::clone(known));
        }
        let made: Arc<dyn KeySource> = match keys {
            Keys::Given { id, secret, token: None } => {
                Arc::new(ziggurat_aws::Keys::new(id.as_str(), secret.expose()))
            }
            Keys::Given { id, secret, token: Some(token) } => {
                let keys = ziggurat_aws::Keys::session(id.as_str(), secret.expose(), token.expose(), None);
                Arc::new(keys.map_err(|_| TargetError::Key)?)
            }
            Keys::Profile(name) => Arc::new(self.profile(name.as_deref())?),
            Keys::Container => {
                let container =
                    Metadata::container_from_variables(self.asking()?, |name| env::var(name).ok());
                Arc::new(container.map_err(|_| TargetError::Key)?)
            }
            Keys::Instance => Arc::new(Metadata::instance(self.asking()?)),
            Keys::Role(role) => Arc::new(self.role(role)?),
        };
        let mut known = self.aws.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(keys.clone()).or_insert(made)))
    }

    /// Keys of a role, by those of whoever assumes it.
    fn role(&self, assumed: &AssumedRole) -> Result<ziggurat_aws::AssumedRole, TargetError> {
        let (client, role) = (self.asking()?, assumed.role.clone());
        Ok(match &assumed.by {
            AssumedBy::Keys(keys) => ziggurat_aws::AssumedRole::with_keys(client, role, self.keys(keys)?),
            AssumedBy::Token(token) => {
                let token = asserted(token.clone(), self.client()?);
                ziggurat_aws::AssumedRole::with_web_identity(client, role, token)
            }
        })
    }

    /// Keys of a profile of the shared file; where none is named, also those of the container or of the instance.
    fn profile(&self, name: Option<&str>) -> Result<Chain, TargetError> {
        let variable = |variable: &str| match (variable, name) {
            ("AWS_PROFILE", Some(name)) => Some(name.to_owned()),
            _ => env::var(variable).ok(),
        };
        let mut chain = Chain::new();
        if let Ok(file) = SharedFile::from_variables(variable) {
            chain = chain.then(file);
        }
        if name.is_some() {
            return Ok(chain);
        }
        Ok(match Metadata::container_from_variables(self.asking()?, variable) {
            Ok(container) => chain.then(container),
            Err(_) => chain.then(Metadata::instance(self.asking()?)),
        })
    }

    /// What asks for keys.
    fn asking(&self) -> Result<Asking, TargetError> {
        Ok(self.client()?.map_response(|response| response.map(Body::new)))
    }

    fn client(&self) -> Result<Http, TargetError> {
        // Without a connector the way to the providers would not have been made either.
        let made =
            || connector().ok().map(|connector| Client::builder(TokioExecutor::new()).build(connector));
        self.client.get_or_init(made).clone().ok_or(TargetError::Key)
    }
}

/// Tokens for calls of one origin: those that are known of whose they are, or new ones.
fn shared<K: Clone + Eq + Hash>(
    known: &Mutex<HashMap<K, AccessToken>>,
    whose: &K,
    authority: Authority,
    make: impl FnOnce(Authority) -> Result<AccessToken, TargetError>,
) -> Result<AccessToken, TargetError> {
    // Nothing panics while it is held.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(token) = known.get(whose) {
        return Ok(token.also_for(authority));
    }
    let token = make(authority)?;
    let own = token.also_for(token.authority().clone());
    known.insert(whose.clone(), token);
    Ok(own)
}

/// What reads the token of a workload, or asks for it, each time that it is to be shown.
fn asserted(assertion: Assertion, client: Http) -> Box<dyn Fn() -> Asked<'static, String> + Send + Sync> {
    let away = |why: &dyn fmt::Display| Away::new(format!("the workload's token: {why}"));
    Box::new(move || {
        let (assertion, client) = (assertion.clone(), client.clone());
        Box::pin(async move {
            match assertion {
                Assertion::File(path) => {
                    token_in_file(&path).map_err(|error| away(&format_args!("its file: {}", error.kind())))
                }
                Assertion::Text(token) => Ok(token),
                Assertion::Google { audience } => MetadataServer::new(client).identity(&audience).await,
                Assertion::Github { url, bearer, audience } => {
                    let token = WorkloadToken::of_github_job(&url, bearer.expose(), &audience);
                    token.ok_or_else(|| away(&"it cannot be asked for"))?.read(client).await
                }
            }
        })
    })
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

//! What calls of clouds are made with: tokens that are fetched, for all deployments of one account at once.

use std::{
    collections::HashMap,
    env, fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use http::uri::Authority;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::ServiceExt;
use ziggurat_aws::{Chain, KeySource, Metadata, SharedFile, SigV4};
use ziggurat_core::{Away, Body, TargetError};
use ziggurat_google::{MetadataServer, ServiceAccount};
use ziggurat_oauth::{AccessToken, ClientCredentials, Proof};

use crate::{
    config::{Account, Assertion, Aws, Entra, EntraProof, Keys},
    upstream::connector,
};

/// Makes them, and keeps what deployments share.
#[derive(Default)]
pub(crate) struct Credentials {
    client: OnceLock<Option<Http>>,
    /// By key file; that of the machine under no text.
    google: Mutex<HashMap<String, AccessToken>>,
    /// By endpoint, application, scope and proof.
    entra: Mutex<HashMap<[String; 4], AccessToken>>,
    /// By profile; what has none under no text.
    aws: Mutex<HashMap<String, Arc<Chain>>>,
}

type Http = Client<HttpsConnector<HttpConnector>, Body>;

// ===== impl Credentials =====

impl Credentials {
    /// Tokens of a Google account for calls of one origin.
    pub(crate) fn google(&self, account: &Account, authority: Authority) -> Result<AccessToken, TargetError> {
        let file = match account {
            Account::KeyFile(file) => file.expose(),
            Account::Machine => "",
        };
        // Nothing panics while it is held.
        let mut known = self.google.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = known.get(file) {
            return Ok(token.also_for(authority));
        }
        let client = self.client()?;
        let token = match account {
            Account::KeyFile(_) => {
                let account = ServiceAccount::from_json(file, client).map_err(|_| TargetError::Key)?;
                AccessToken::new(authority, account)
            }
            Account::Machine => AccessToken::new(authority, MetadataServer::new(client)),
        };
        let own = token.also_for(token.authority().clone());
        known.insert(file.to_owned(), token);
        Ok(own)
    }

    /// Tokens of an application at Entra for calls of one origin.
    pub(crate) fn entra(&self, entra: &Entra, authority: Authority) -> Result<AccessToken, TargetError> {
        let Entra { endpoint, client_id, scope, proof } = entra;
        let shown = match proof {
            EntraProof::Secret(secret) => format!("secret {}", secret.expose()),
            EntraProof::Assertion(Assertion::File(path)) => format!("file {path}"),
            EntraProof::Assertion(Assertion::Text(token)) => format!("text {token}"),
        };
        let name = [endpoint.to_string(), client_id.clone(), scope.clone(), shown];
        // Nothing panics while it is held.
        let mut known = self.entra.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = known.get(&name) {
            return Ok(token.also_for(authority));
        }
        let proof = match proof {
            EntraProof::Secret(secret) => Proof::Secret(secret.expose().to_owned()),
            EntraProof::Assertion(assertion) => Proof::Assertion(asserted(assertion.clone())),
        };
        let client = ClientCredentials::new(endpoint.clone(), client_id, scope, proof, self.client()?);
        let token = AccessToken::new(authority, client);
        let own = token.also_for(token.authority().clone());
        known.insert(name, token);
        Ok(own)
    }

    /// What signs calls of one origin on AWS.
    pub(crate) fn aws(&self, aws: &Aws, authority: Authority) -> Result<SigV4, TargetError> {
        let region = aws.region.as_str();
        Ok(match &aws.keys {
            Keys::Given { id, secret, token: None } => {
                let keys = ziggurat_aws::Keys::new(id.as_str(), secret.expose());
                SigV4::new(authority, region, keys)
            }
            Keys::Given { id, secret, token: Some(token) } => {
                let keys = ziggurat_aws::Keys::session(id.as_str(), secret.expose(), token.expose(), None);
                SigV4::new(authority, region, keys.map_err(|_| TargetError::Key)?)
            }
            Keys::Profile(name) => SigV4::new(authority, region, self.profile(name.as_deref())?),
        })
    }

    /// Keys of a profile of the shared file; where none is named, also those of the container or of the instance.
    fn profile(&self, name: Option<&str>) -> Result<Arc<dyn KeySource>, TargetError> {
        let client = self.client()?;
        // Nothing panics while it is held.
        let mut known = self.aws.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chain) = known.get(name.unwrap_or_default()) {
            return Ok(Arc::clone(chain) as _);
        }
        let variable = |variable: &str| match (variable, name) {
            ("AWS_PROFILE", Some(name)) => Some(name.to_owned()),
            _ => env::var(variable).ok(),
        };
        let mut chain = Chain::new();
        if let Ok(file) = SharedFile::from_variables(variable) {
            chain = chain.then(file);
        }
        if name.is_none() {
            let client = client.map_response(|response: http::Response<_>| response.map(Body::new));
            chain = match Metadata::container_from_variables(client.clone(), variable) {
                Ok(container) => chain.then(container),
                Err(_) => chain.then(Metadata::instance(client)),
            };
        }
        let chain = Arc::new(chain);
        known.insert(name.unwrap_or_default().to_owned(), Arc::clone(&chain));
        Ok(chain)
    }

    fn client(&self) -> Result<Http, TargetError> {
        // Without a connector the way to the providers would not have been made either.
        let made =
            || connector().ok().map(|connector| Client::builder(TokioExecutor::new()).build(connector));
        self.client.get_or_init(made).clone().ok_or(TargetError::Key)
    }
}

/// What reads the token of a workload when it is asked for.
fn asserted(assertion: Assertion) -> Box<dyn Fn() -> Result<String, Away> + Send + Sync> {
    let away = |error: std::io::Error| {
        Away::new(format!("the file of the workload's token cannot be read: {}", error.kind()))
    };
    Box::new(move || assertion.read().map_err(away))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

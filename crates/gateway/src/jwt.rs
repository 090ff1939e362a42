//! Tokens of an identity provider, by a key set that is fetched from it.

use std::sync::Arc;

use http::{StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ziggurat_auth::KeyRecord;
use ziggurat_auth::{
    Authenticate,
    jwt::{Claims, JwksPolicy, JwksSource, Jwt, JwtKeys, OwnedTokens},
};
use ziggurat_core::{Asked, Away, Body};

use crate::{config::Tokens, stores::Stores, upstream::connector};

/// Believes the tokens of a config, and knows their teams and users where there is a database.
pub(crate) fn authenticate(tokens: &Tokens, stores: &Stores) -> Arc<dyn Authenticate> {
    let mut policy = JwksPolicy::default();
    if let Some(refresh) = tokens.refresh {
        policy.refresh = refresh;
        policy.keep = policy.keep.max(refresh);
    }
    let keys = JwtKeys::fetched(KeySet::new(tokens.key_set.clone()), policy);
    let of = tokens.clone();
    let jwt = Jwt::new(keys, &*tokens.issuer, "")
        .audiences(&tokens.audiences)
        .map(move |claims| record(&of, claims));
    match stores.keys() {
        Some(keys) => Arc::new(
            OwnedTokens::new(jwt, keys.clone())
                .unknown_users(tokens.unknown_users)
                .unknown_teams(tokens.unknown_teams),
        ),
        None => Arc::new(jwt),
    }
}

/// Whose a token is, if it says what it must.
fn record(tokens: &Tokens, claims: &Claims) -> Option<KeyRecord> {
    let mut record = tokens.names.record(claims).filter(|_| tokens.demands.are_met(claims))?;
    if let (true, Some(team)) = (record.teams.is_empty(), &tokens.demands.team) {
        record.teams = Arc::new([team.as_str().into()]);
        record.principal.team = record.teams.first().cloned();
    }
    // What each key is held to, each caller without one is held to as well.
    let caller = record.principal.ids().next().map(|(kind, id)| format!("token of {} {id}", kind.name()));
    record.principal.key = caller.map(Arc::from);
    let lacks_team = tokens.demands.needs_team && record.teams.is_empty();
    (record.admin || !lacks_team).then_some(record)
}

/// Where a provider has its keys.
struct KeySet {
    at: Uri,
    client: Option<Client<HttpsConnector<HttpConnector>, Body>>,
}

// ===== impl KeySet =====

impl KeySet {
    fn new(at: Uri) -> Self {
        // Without a connector the way to the providers would not have been made either.
        let client = connector().ok().map(|connector| Client::builder(TokioExecutor::new()).build(connector));
        Self { at, client }
    }
}

impl JwksSource for KeySet {
    /// One GET; what leads elsewhere is not followed.
    fn fetch(&self) -> Asked<'_, Vec<u8>> {
        Box::pin(async {
            let client = self.client.as_ref().ok_or_else(|| Away::new("there is no TLS"))?;
            let answer = client.get(self.at.clone()).await;
            // Its own words may hold the URL.
            let answer = answer.map_err(|error| {
                Away::new(if error.is_connect() { "no connection" } else { "the connection failed" })
            })?;
            if answer.status() != StatusCode::OK {
                return Err(Away::new(format!("it answers with {}", answer.status().as_u16())));
            }
            let body = Body::new(answer.into_body()).collect_within(MOST_BYTES).await;
            body.map(|bytes| bytes.to_vec()).map_err(|_| Away::new("its answer is too long, or broke off"))
        })
    }
}

/// Bytes of a key set.
const MOST_BYTES: usize = 1 << 20;

//! The credential.

use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;
use http::{
    HeaderValue,
    header::{AUTHORIZATION, HOST},
    request::Parts,
    uri::{Authority, Scheme},
};
use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};
use ziggurat_core::{Clock, Credential, CredentialError};

use crate::{
    KeySource, Keys,
    sign::{Signing, hex},
};

/// Signs requests to one origin with AWS's Signature Version 4, for Bedrock unless told otherwise.
pub struct SigV4 {
    authority: Authority,
    region: String,
    service: String,
    keys: Box<dyn KeySource>,
    clock: Clock,
}

const DATE: &str = "x-amz-date";
const CONTENT: &str = "x-amz-content-sha256";
const TOKEN: &str = "x-amz-security-token";

// ===== impl SigV4 =====

impl SigV4 {
    /// For requests to `authority` only, which is in this region.
    #[must_use]
    pub fn new(authority: Authority, region: impl Into<String>, keys: impl KeySource) -> Self {
        Self {
            authority,
            region: region.into(),
            service: "bedrock".to_owned(),
            keys: Box::new(keys),
            clock: Clock::default(),
        }
    }

    /// Signs for another service.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = service.into();
        self
    }

    /// Tells the time by another clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The host that the request will name; an error where that is another's.
    fn host(&self, parts: &Parts) -> Result<String, CredentialError> {
        let authority = parts.uri.authority().filter(|authority| **authority == self.authority);
        let authority = authority.ok_or(CredentialError::WrongOrigin)?;
        // Clients leave out the port that the scheme implies.
        let implied = match parts.uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => 80,
            _ => 443,
        };
        let host = match authority.port_u16().filter(|port| *port != implied) {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        match parts.headers.get(HOST) {
            None => Ok(host),
            Some(named) if named.as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
                // As it will be sent.
                Ok(String::from_utf8_lossy(named.as_bytes()).into_owned())
            }
            Some(_) => Err(CredentialError::WrongOrigin),
        }
    }

    fn sign(&self, parts: &mut Parts, body: &Bytes, host: &str, keys: &Keys) -> Result<(), CredentialError> {
        let unavailable = |what: &str| CredentialError::Unavailable(what.to_owned());
        let now =
            Timestamp::try_from(self.clock.now()).map_err(|_| unavailable("the clock is out of range"))?;
        let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let content = hex(&Sha256::digest(body));
        let mut headers = vec![("host", host), (CONTENT, &content), (DATE, &time)];
        parts.headers.remove(TOKEN);
        if let Some(token) = keys.token() {
            headers.push((TOKEN, token.to_str().map_err(|_| unavailable("the session token is no text"))?));
        }
        let signing = Signing {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &headers,
            body: &content,
            region: &self.region,
            service: &self.service,
            time: &time,
        };
        let value =
            |text: &str| HeaderValue::from_str(text).map_err(|_| unavailable("a key is no header value"));
        let mut authorization = value(&signing.authorization(keys))?;
        authorization.set_sensitive(true);
        let (time, content) = (value(&time)?, value(&content)?);
        parts.headers.insert(AUTHORIZATION, authorization);
        parts.headers.insert(DATE, time);
        parts.headers.insert(CONTENT, content);
        if let Some(token) = keys.token() {
            parts.headers.insert(TOKEN, token.clone());
        }
        Ok(())
    }
}

impl Credential for SigV4 {
    fn apply<'a>(
        &'a self,
        parts: &'a mut Parts,
        body: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<(), CredentialError>> + Send + 'a>> {
        Box::pin(async move {
            let host = self.host(parts)?;
            let keys = self.keys.keys().await.map_err(|none| CredentialError::Unavailable(none.why))?;
            self.sign(parts, body, &host, &keys)
        })
    }

    fn signs_body(&self) -> bool {
        true
    }
}

impl fmt::Debug for SigV4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigV4")
            .field("authority", &self.authority)
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

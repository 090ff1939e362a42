//! Who a credential is: the trait that a host implements, and what it answers.

use std::{fmt, sync::Arc, time::Duration};

use ziggurat_core::{Principal, Reply};

use crate::{Credential, CustomerRecord, KeyHash, KeyRecord};

/// Tells who presents a credential.
///
/// Closures `Fn(&Credential) -> Result<Option<Identity>, Denied>` are such, and so are lists: of `Vec<Arc<dyn Authenticate>>` the first that
/// knows a credential answers.
pub trait Authenticate: Send + Sync + 'static {
    /// Who this is: `None` when the credential is none of this one's kind, and the next is to be asked. What is known already is answered
    /// [`Reply::Ready`], and nothing may keep a caller waiting for more than a moment.
    fn authenticate(&self, credential: &Credential<'_>) -> Reply<Authenticated>;

    /// What is known of an end user that a call names; nothing, unless implemented. The id is not empty, and holds no control characters
    /// and at most 1,024 bytes.
    fn customer(&self, id: &str) -> Reply<KnownCustomer> {
        let _ = id;
        Reply::Ready(Ok(None))
    }
}

/// What is answered to a credential.
pub type Authenticated = Result<Option<Identity>, Denied>;

/// What is answered to the name of an end user.
pub type KnownCustomer = Result<Option<Arc<CustomerRecord>>, Denied>;

/// Who makes a request, and what they may do here. Cheap to clone.
///
/// A request extension beside the [`Principal`], written by the layer where no model is called: for what manages keys. Calls of models have
/// the [`Principal`] alone, which is all that they need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    record: Arc<KeyRecord>,
    key: Option<KeyHash>,
}

/// Why a credential is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// It is wrong, in whatever way: unknown, malformed, expired, blocked. The caller is not told which: 401.
    Invalid,
    /// Nobody can tell now, and so nobody is let in: 503, never 401.
    Unavailable {
        /// When to ask again.
        retry_after: Duration,
    },
}

// ===== impl Identity =====

impl Identity {
    /// Somebody of this record. That it is neither blocked nor expired is for the one to check who says this.
    #[must_use]
    pub fn new(record: impl Into<Arc<KeyRecord>>) -> Self {
        Self { record: record.into(), key: None }
    }

    /// Notes the hash of the key that was presented.
    #[must_use]
    pub const fn with_key(mut self, key: KeyHash) -> Self {
        self.key = Some(key);
        self
    }

    /// The hash of the key that was presented; `None` for tokens, and for a principal of the host's.
    #[must_use]
    pub const fn key(&self) -> Option<&KeyHash> {
        self.key.as_ref()
    }

    /// Whether it may manage keys, teams and users.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.record.admin
    }

    /// Who it is, for the layers.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.record.principal
    }

    /// All that is known of it.
    #[must_use]
    pub fn record(&self) -> &KeyRecord {
        &self.record
    }
}

impl From<Principal> for Identity {
    fn from(principal: Principal) -> Self {
        Self::new(KeyRecord { principal, ..KeyRecord::default() })
    }
}

// ===== impl Denied =====

impl Denied {
    /// Nobody can tell now; the caller may ask again in a second.
    #[must_use]
    pub const fn unavailable() -> Self {
        Self::Unavailable { retry_after: Duration::from_secs(1) }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "missing or invalid API key",
            Self::Unavailable { .. } => "who makes this call cannot be checked now",
        })
    }
}

impl std::error::Error for Denied {}

// ===== impl Authenticate =====

impl<F> Authenticate for F
where
    F: Fn(&Credential<'_>) -> Authenticated + Send + Sync + 'static,
{
    fn authenticate(&self, credential: &Credential<'_>) -> Reply<Authenticated> {
        Reply::Ready(self(credential))
    }
}

impl<A: Authenticate + ?Sized> Authenticate for Arc<A> {
    fn authenticate(&self, credential: &Credential<'_>) -> Reply<Authenticated> {
        (**self).authenticate(credential)
    }

    fn customer(&self, id: &str) -> Reply<KnownCustomer> {
        (**self).customer(id)
    }
}

/// Asked one after the other, until one knows. Where one must be waited for, the rest is asked behind it.
impl Authenticate for Vec<Arc<dyn Authenticate>> {
    fn authenticate(&self, credential: &Credential<'_>) -> Reply<Authenticated> {
        for (at, one) in self.iter().enumerate() {
            match one.authenticate(credential) {
                Reply::Ready(Ok(None)) => {}
                Reply::Ready(known) => return Reply::Ready(known),
                Reply::Later(answer) => {
                    // A copy of the credential is kept only here.
                    let (rest, bytes) = (self[at + 1..].to_vec(), credential.expose().to_vec());
                    return Reply::Later(Box::pin(async move {
                        if let known @ (Ok(Some(_)) | Err(_)) = answer.await {
                            return known;
                        }
                        let reply = rest.authenticate(&Credential::new(&bytes)?);
                        reply.wait().await
                    }));
                }
            }
        }
        Reply::Ready(Ok(None))
    }

    fn customer(&self, id: &str) -> Reply<KnownCustomer> {
        for (at, one) in self.iter().enumerate() {
            match one.customer(id) {
                Reply::Ready(Ok(None)) => {}
                Reply::Ready(known) => return Reply::Ready(known),
                Reply::Later(answer) => {
                    let (rest, id) = (self[at + 1..].to_vec(), id.to_owned());
                    return Reply::Later(Box::pin(async move {
                        if let known @ (Ok(Some(_)) | Err(_)) = answer.await {
                            return known;
                        }
                        rest.customer(&id).wait().await
                    }));
                }
            }
        }
        Reply::Ready(Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &'static [u8], later: bool) -> Arc<dyn Authenticate> {
        struct One(&'static [u8], bool);
        impl Authenticate for One {
            fn authenticate(&self, credential: &Credential<'_>) -> Reply<Authenticated> {
                let known = (credential.expose() == self.0).then(|| Identity::from(Principal::default()));
                let known = known.map(|known| known.with_key(*credential.hash()));
                if self.1 {
                    Reply::Later(Box::pin(std::future::ready(Ok(known))))
                } else {
                    Reply::Ready(Ok(known))
                }
            }

            fn customer(&self, id: &str) -> Reply<KnownCustomer> {
                let known = (id.as_bytes() == self.0).then(Arc::default);
                if self.1 {
                    Reply::Later(Box::pin(std::future::ready(Ok(known))))
                } else {
                    Reply::Ready(Ok(known))
                }
            }
        }
        Arc::new(One(key, later))
    }

    #[tokio::test]
    async fn a_list_is_asked_until_one_knows() {
        let deny = |credential: &Credential<'_>| match credential.expose() {
            b"bad" => Err(Denied::Invalid),
            _ => Ok(None),
        };
        let list = vec![one(b"a", false), one(b"b", true), Arc::new(deny), one(b"c", true), one(b"d", false)];
        for key in [&b"a"[..], b"b", b"c", b"d"] {
            let credential = Credential::new(key).expect("is one");
            let known = list.authenticate(&credential).wait().await.expect("is no error");
            assert_eq!(known.expect("is known").key(), Some(credential.hash()));
            let id = str::from_utf8(key).expect("is text");
            assert!(list.customer(id).wait().await.expect("is no error").is_some());
        }
        let of = |key| list.authenticate(&Credential::new(key).expect("is one")).wait();
        assert_eq!(of(b"bad").await, Err(Denied::Invalid));
        assert_eq!(of(b"other").await, Ok(None));
        assert_eq!(list.customer("other").wait().await, Ok(None));
        // Those before the first that must be waited for answer at once.
        assert!(matches!(
            list.authenticate(&Credential::new(b"a").expect("is one")),
            Reply::Ready(Ok(Some(_)))
        ));
    }
}

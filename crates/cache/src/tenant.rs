//! Who shares answers with whom.

use http::{HeaderName, header, request::Parts};
use sha2::{Digest, Sha256};
use ziggurat_core::Principal;

/// Who shares answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Share {
    /// The holder of a key, with nobody.
    Key,
    /// All keys of a user.
    User,
    /// All of a team; who is in none is on their own.
    #[default]
    Team,
    /// All of an organisation; who is in none shares with their team.
    Organisation,
    /// Everybody: whoever asks the same gets the same.
    Everyone,
}

/// The name of the tenant: whatever two callers share, they have one.
pub(crate) fn tenant(share: Share, parts: &Parts) -> Vec<u8> {
    if share == Share::Everyone {
        return b"*".to_vec();
    }
    let Some(principal) = parts.extensions.get::<Principal>() else { return by_credential(parts) };
    let of_team = principal.team.as_ref().map(|id| ("team", id));
    let of_user = principal.user.as_ref().map(|id| ("user", id));
    let of_key = principal.key.as_ref().map(|id| ("key", id));
    let named = match share {
        Share::Organisation => {
            principal.organisation.as_ref().map(|id| ("organisation", id)).or(of_team).or(of_key)
        }
        Share::Team => of_team.or(of_key),
        Share::User => of_user.or(of_key),
        Share::Key | Share::Everyone => of_key,
    };
    // Whoever is known, but by none of these, is on their own as far as can be told.
    match named.or(of_key).or(of_user).or(of_team) {
        Some((kind, id)) => [kind.as_bytes(), b"\0", id.as_bytes()].concat(),
        None => by_credential(parts),
    }
}

/// Where nobody says who calls, those who show the same credentials share.
fn by_credential(Parts { headers, uri, .. }: &Parts) -> Vec<u8> {
    let mut hash = Sha256::new();
    for name in CREDENTIALS {
        for value in headers.get_all(&name) {
            hash.update(name.as_str());
            hash.update((value.len() as u64).to_le_bytes());
            hash.update(value);
        }
    }
    // Google's callers may show it there.
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| pair.starts_with("key=")) {
        hash.update(pair);
    }
    [b"credential\0", hash.finalize().as_slice()].concat()
}

const CREDENTIALS: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

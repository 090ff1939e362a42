//! What an answer is found by.

use std::{fmt, str::FromStr};

use http::{HeaderMap, Uri};
use sha2::{Digest, Sha256};
use ziggurat_core::{Call, Dialect, Operation};

use crate::canonical;

/// What decides an answer, as SHA-256 of all of it: the tenant, the namespace, what is asked of which model, with every parameter.
///
/// Equal for bodies that differ in the order of keys, in white space and in escapes alone. All 256 bits are compared: that two questions
/// share a key is as unlikely as that somebody breaks the hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

/// Text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoKey;

/// Whose a key is: what is asked under another of these is never the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Realm<'r> {
    pub(crate) tenant: &'r [u8],
    pub(crate) namespace: &'r str,
    pub(crate) salt: &'r str,
}

/// Hashes parts, each with its length, so that none runs into the next.
#[derive(Clone)]
struct Parts(Sha256);

// ===== impl Key =====

impl Key {
    /// The key of a call; `None` for one that is not worth it. `vary` names headers of the request that decide the answer.
    pub(crate) fn of(
        realm: Realm<'_>,
        call: &Call,
        (headers, uri): (&HeaderMap, &Uri),
        vary: &[http::HeaderName],
    ) -> Option<Self> {
        let mut parts = Parts::begin(realm, call, (headers, uri), vary);
        if call.is_form() {
            let mut fields: Vec<(&str, &[u8])> = call.form_parts()?.collect();
            // Which of several of one name counts is a provider's business.
            fields.sort_by_key(|(name, _)| *name);
            for (name, content) in fields {
                parts.add(name.as_bytes()).add(content);
            }
        } else {
            parts.add(&canonical::object(call.text(), decides_nothing)?);
        }
        Some(parts.finish())
    }

    /// The key of what a list of inputs has in common, for [`Key::item`].
    pub(crate) fn of_items(
        realm: Realm<'_>,
        call: &Call,
        head: (&HeaderMap, &Uri),
        vary: &[http::HeaderName],
    ) -> Option<Self> {
        let mut parts = Parts::begin(realm, call, head, vary);
        let skips = |name: &str| name == "input" || decides_nothing(name);
        parts.add(b"items").add(&canonical::object(call.text(), skips)?);
        Some(parts.finish())
    }

    /// The key of one input.
    pub(crate) fn item(&self, json: &str) -> Option<Self> {
        let mut parts = Parts(Sha256::new());
        parts.add(&self.0).add(&canonical::value(json)?);
        Some(parts.finish())
    }

    /// The key of what questions have in common that are compared by their meaning: `rest`, the body without what they say, and whatever else
    /// has to be equal.
    pub(crate) fn of_partition(
        realm: Realm<'_>,
        call: &Call,
        head: (&HeaderMap, &Uri),
        vary: &[http::HeaderName],
        (rest, common): (&str, &[String]),
    ) -> Option<Self> {
        let mut parts = Parts::begin(realm, call, head, vary);
        parts.add(b"similar").add(&canonical::object(rest, decides_nothing)?);
        for part in common {
            parts.add(part.as_bytes());
        }
        Some(parts.finish())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In hexadecimal.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl FromStr for Key {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoKey);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NoKey)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NoKey)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of the cache has 64 hexadecimal digits")
    }
}

impl std::error::Error for NoKey {}

/// Members of a body that change nothing of its answer: how it is handed over, how the cache is used, and who is told of it. All others
/// count, also those that nobody here knows.
fn decides_nothing(name: &str) -> bool {
    matches!(
        name,
        "stream" | "stream_options" | "cache" | "metadata" | "litellm_metadata" | "num_retries" | "timeout"
    )
}

// ===== impl Parts =====

impl Parts {
    fn begin(
        realm: Realm<'_>,
        call: &Call,
        (headers, uri): (&HeaderMap, &Uri),
        vary: &[http::HeaderName],
    ) -> Self {
        let mut parts = Self(Sha256::new());
        parts.add(VERSION).add(realm.salt.as_bytes()).add(realm.tenant).add(realm.namespace.as_bytes());
        parts.add(&[kind(call.operation()), dialect(call.dialect())]);
        parts.add(call.model().unwrap_or_default().as_bytes());
        for name in vary {
            headers.get_all(name).iter().for_each(|value| {
                parts.add(name.as_str().as_bytes()).add(value.as_bytes());
            });
        }
        // A key of Google's API stands there, and whether it streams.
        let query = uri.query().unwrap_or_default().split('&');
        for pair in
            query.filter(|pair| !pair.is_empty() && !matches!(pair.split('=').next(), Some("key" | "alt")))
        {
            parts.add(b"?").add(pair.as_bytes());
        }
        parts.add(b"body");
        parts
    }

    fn add(&mut self, part: &[u8]) -> &mut Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    fn finish(self) -> Key {
        Key(self.0.finalize().into())
    }
}

/// Changes when keys are made in another way, so that no stored answer is found by a key that means something else now.
const VERSION: &[u8] = b"ziggurat cache 1";

/// One letter for what is asked; a stream of Google's is asked by another operation and answers the same.
const fn kind(operation: Operation) -> u8 {
    match operation {
        Operation::Chat => b'c',
        Operation::Messages => b'm',
        Operation::Responses => b'r',
        Operation::Generate | Operation::StreamGenerate => b'g',
        Operation::Completions => b't',
        Operation::Embeddings => b'e',
        Operation::EmbedContent => b'f',
        Operation::BatchEmbedContents => b'b',
        Operation::Rerank => b'k',
        Operation::Transcription => b'a',
        Operation::Translation => b'l',
        _ => b'?',
    }
}

const fn dialect(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::OpenAi => b'o',
        Dialect::Anthropic => b'a',
        Dialect::Responses => b'r',
        Dialect::Gemini => b'g',
        _ => b'?',
    }
}

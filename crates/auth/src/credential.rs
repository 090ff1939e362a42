//! What a caller presents, read from the head of its request.

use std::{cell::OnceCell, fmt};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header, uri::PathAndQuery};
use ziggurat_core::percent_decoded;

use crate::{Denied, KeyHash};

/// What a caller presents: a key or a token, not believed yet. Its bytes are visible ASCII, 1 to 16,384 of them. `Debug` hides it.
#[derive(Clone)]
pub struct Credential<'a> {
    bytes: &'a [u8],
    /// Computed once, for all that look it up.
    hash: OnceCell<KeyHash>,
}

// ===== impl Credential =====

impl<'a> Credential<'a> {
    /// A credential of these bytes.
    ///
    /// # Errors
    /// [`Denied::Invalid`] when they are none, too many, or not visible ASCII.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Denied> {
        let fits = !bytes.is_empty() && bytes.len() <= MAX_BYTES && bytes.iter().all(u8::is_ascii_graphic);
        if fits { Ok(Self { bytes, hash: OnceCell::new() }) } else { Err(Denied::Invalid) }
    }

    /// Reads the credential of a request: that of `Authorization: Bearer`, `x-api-key`, `api-key`, `x-goog-api-key` or
    /// `x-litellm-api-key`, the latter four with or without `Bearer`. The same in several places is one.
    ///
    /// # Errors
    /// [`Denied::Invalid`] when there is none, when two differ, and when one of them is malformed or of another scheme: nobody may choose
    /// which of two a server believes.
    pub fn read(headers: &'a HeaderMap) -> Result<Self, Denied> {
        let mut found = None;
        // A look at each is cheaper than to hash the names.
        for (name, value) in headers.iter().filter(|(name, _)| HEADERS.contains(name)) {
            let value = value.as_bytes();
            let key = match (bearer(value), name == header::AUTHORIZATION) {
                (Some(key), _) => key,
                (None, false) => value,
                (None, true) => return Err(Denied::Invalid),
            };
            if found.replace(key).is_some_and(|other| other != key) {
                return Err(Denied::Invalid);
            }
        }
        Self::new(found.ok_or(Denied::Invalid)?)
    }

    /// The bytes of it. Secret: never to be logged or told.
    #[must_use]
    pub const fn expose(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it has the form of a signed token: three parts, the first of which begins like the JSON of a header.
    pub(crate) fn is_token(&self) -> bool {
        self.bytes.starts_with(b"ey") && self.bytes.iter().filter(|byte| **byte == b'.').count() == 2
    }

    /// Its SHA-256.
    #[must_use]
    pub fn hash(&self) -> &KeyHash {
        self.hash.get_or_init(|| KeyHash::of(self.bytes))
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// Moves the key in the query of a URL (`?key=`), where some of Google's SDKs put it, to the header where the others do: from there it is
/// read, held against any other and taken out like all of them, and no URL has it that may be shown.
///
/// # Errors
/// [`Denied::Invalid`] when it holds what no header can.
pub(crate) fn out_of_query<B>(request: &mut Request<B>) -> Result<(), Denied> {
    let uri = request.uri();
    let Some(query) = uri.query().filter(|query| query.split('&').any(|pair| key_in(pair).is_some())) else {
        return Ok(());
    };
    let (keys, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| key_in(pair).is_some());
    let keys: Vec<_> = keys.into_iter().filter_map(key_in).map(percent_decoded).collect();
    let keys: Result<Vec<_>, _> = keys.iter().map(|key| HeaderValue::from_str(key)).collect();
    let mut path = uri.path().to_owned();
    if !others.is_empty() {
        path.push('?');
        path.push_str(&others.join("&"));
    }
    let mut parts = uri.clone().into_parts();
    // A part of what was one is one.
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    for mut key in keys.map_err(|_| Denied::Invalid)? {
        key.set_sensitive(true);
        request.headers_mut().append(GOOGLES, key);
    }
    Ok(())
}

/// The key in a parameter of a query.
fn key_in(pair: &str) -> Option<&str> {
    pair.strip_prefix("key=")
}

/// As `contains_key`, which hashes the name: a look at each of the few that there are is cheaper.
fn is_in(name: &HeaderName, headers: &HeaderMap) -> bool {
    headers.keys().any(|known| known == name)
}

/// Takes out of a head what may hold a credential.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in &HEADERS {
        if is_in(name, headers) {
            headers.remove(name);
        }
    }
}

/// Marks what may hold a credential in a head: `Debug` hides it then.
pub(crate) fn hide(headers: &mut HeaderMap) {
    for name in &HEADERS {
        if let header::Entry::Occupied(mut entry) = headers.entry(name) {
            entry.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}

/// What stands behind `Bearer`, in any case (RFC 9110, section 11.1), and spaces.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| rest.trim_ascii())
}

const SCHEME: &[u8] = b"bearer ";

/// Longest credential in bytes: JWTs with many claims take a few thousand.
const MAX_BYTES: usize = 16 << 10;

const GOOGLES: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Where callers put a credential: OpenAI's SDKs, Anthropic's, Azure's, Google's, LiteLLM's own.
static HEADERS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    GOOGLES,
    HeaderName::from_static("x-litellm-api-key"),
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("is a value"));
        }
        let credential = Credential::read(&map).ok()?;
        assert_eq!(*credential.hash(), KeyHash::of(credential.expose()));
        Some(String::from_utf8(credential.expose().to_vec()).expect("is ASCII"))
    }

    #[test]
    fn is_read_where_sdks_put_it() {
        for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-litellm-api-key"] {
            assert_eq!(read(&[(name, "Bearer sk-1")]).as_deref(), Some("sk-1"), "{name}");
            assert_eq!(read(&[(name, "bEARER   sk-1 ")]).as_deref(), Some("sk-1"), "{name}");
            let bare = read(&[(name, "sk-1")]);
            assert_eq!(bare.as_deref(), (name != "authorization").then_some("sk-1"), "{name}");
        }
    }

    #[test]
    fn the_same_several_times_is_one_and_two_are_none() {
        assert_eq!(
            read(&[("authorization", "Bearer a"), ("x-api-key", "a"), ("api-key", "a")]).as_deref(),
            Some("a")
        );
        assert_eq!(read(&[("authorization", "Bearer a"), ("x-api-key", "b")]), None);
        assert_eq!(read(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]), None);
        assert_eq!(read(&[("x-api-key", "a"), ("x-api-key", "b")]), None);
        assert_eq!(read(&[("authorization", "Basic a"), ("x-api-key", "a")]), None);
        assert_eq!(read(&[("authorization", "Bearer a"), ("x-api-key", "")]), None);
    }

    #[test]
    fn what_is_malformed_is_none() {
        assert_eq!(read(&[]), None);
        for bad in
            ["", "Bearer", "Bearer ", "Basic c2s=", "Bearer a b", "Bearer \u{e9}", "Bearer a\tb", "sk-1"]
        {
            assert_eq!(read(&[("authorization", bad)]), None, "{bad:?}");
        }
        assert_eq!(read(&[("x-api-key", "a b")]), None);
        let longest = "k".repeat(MAX_BYTES);
        assert_eq!(read(&[("api-key", &longest)]).as_ref(), Some(&longest));
        assert_eq!(read(&[("api-key", &format!("{longest}k"))]), None);
    }

    /// The URL and the key that are left of a URL with a key.
    fn moved(uri: &str) -> (String, Option<String>) {
        let mut request = Request::get(uri).body(()).expect("is a URL");
        let moved = out_of_query(&mut request);
        let key = moved.and_then(|()| Ok(Credential::read(request.headers())?.expose().to_vec()));
        (request.uri().to_string(), key.ok().map(|key| String::from_utf8(key).expect("is ASCII")))
    }

    #[test]
    fn a_key_in_the_query_moves_to_the_head() {
        let is = |uri: &str, key: Option<&str>| (uri.to_owned(), key.map(str::to_owned));
        assert_eq!(moved("/v1beta/models?key=sk-1"), is("/v1beta/models", Some("sk-1")));
        assert_eq!(moved("/m:x?alt=sse&key=sk%2D1%2B&a=b"), is("/m:x?alt=sse&a=b", Some("sk-1+")));
        assert_eq!(moved("http://h/m?key=a&key=a"), is("http://h/m", Some("a")));
        assert_eq!(moved("/m?key=a&key=b"), is("/m", None));
        assert_eq!(moved("/m?key="), is("/m", None));
        assert_eq!(moved("/m?key=a%0Ab&a=b"), is("/m?a=b", None));
        for other in ["/m", "/m?", "/m?keys=a", "/m?a=key=b", "/m?key", "/m?api_key=a"] {
            assert_eq!(moved(other), is(other, None), "{other}");
        }
    }

    #[test]
    fn debug_hides_it_and_strip_takes_it_out() {
        assert_eq!(format!("{:?}", Credential::new(b"sk-canary").expect("is one")), "Credential(..)");
        let mut map = HeaderMap::new();
        map.append("x-api-key", HeaderValue::from_static("a"));
        map.append("x-api-key", HeaderValue::from_static("a"));
        map.append("authorization", HeaderValue::from_static("Bearer a"));
        map.append("accept", HeaderValue::from_static("*/*"));
        hide(&mut map);
        assert!(map.iter().all(|(name, value)| value.is_sensitive() == (name != "accept")));
        strip(&mut map);
        assert_eq!(map.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["accept"]);
    }
}

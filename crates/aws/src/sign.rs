//! AWS Signature Version 4: pure, of a request's parts and a time.
//!
//! From AWS's reference, "Signature Version 4 for API requests", steps 1 to 4.

use std::fmt::Write as _;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::Keys;

/// A request as it is signed.
pub(crate) struct Signing<'s> {
    pub(crate) method: &'s str,
    /// As it is sent.
    pub(crate) path: &'s str,
    /// As it is sent.
    pub(crate) query: &'s str,
    /// In order, their names in small letters.
    pub(crate) headers: &'s [(&'s str, &'s str)],
    /// SHA-256 of the body, in hexadecimal.
    pub(crate) body: &'s str,
    pub(crate) region: &'s str,
    pub(crate) service: &'s str,
    /// `20150830T123600Z`.
    pub(crate) time: &'s str,
}

// ===== impl Signing =====

impl Signing<'_> {
    /// The value of the `authorization` header.
    pub(crate) fn authorization(&self, keys: &Keys) -> String {
        let (scope, names) = (self.scope(), self.names());
        let signature = self.signature(keys, &scope);
        format!("{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", keys.id())
    }

    fn signature(&self, keys: &Keys, scope: &str) -> String {
        let request = hex(&Sha256::digest(self.canonical_request().as_bytes()));
        let text = format!("{ALGORITHM}\n{}\n{scope}\n{request}", self.time);
        let first = [b"AWS4", keys.secret().as_bytes()].concat();
        let parts = [self.day(), self.region, self.service, TERMINATOR];
        let key = parts.iter().fold(first, |key, part| hmac(&key, part));
        hex(&hmac(&key, &text))
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.day(), self.region, self.service)
    }

    fn day(&self) -> &str {
        self.time.split('T').next().unwrap_or_default()
    }

    fn names(&self) -> String {
        self.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
    }

    fn canonical_request(&self) -> String {
        let mut out = format!("{}\n{}\n{}\n", self.method, path(self.path), query(self.query));
        for (name, value) in self.headers {
            out.push_str(name);
            out.push(':');
            out.push_str(&value.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
            out.push('\n');
        }
        out.push('\n');
        out.push_str(&self.names());
        out.push('\n');
        out.push_str(self.body);
        out
    }
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";

/// The path without relative and empty segments, each segment encoded once more.
fn path(sent: &str) -> String {
    let mut segments = Vec::new();
    for segment in sent.split('/') {
        match segment {
            "" | "." => {}
            ".." => _ = segments.pop(),
            segment => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(sent.len() + 16);
    for segment in &segments {
        out.push('/');
        encode(segment.as_bytes(), &mut out);
    }
    if out.is_empty() || sent.ends_with(['/']) {
        out.push('/');
    }
    out
}

/// The query's parameters in order, each encoded in the one way that counts.
fn query(sent: &str) -> String {
    let encoded = |text: &str| {
        let mut out = String::new();
        encode(&decode(text), &mut out);
        out
    };
    let pairs = sent.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn encode(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte))
            }
            // Writing into a string has no way to fail.
            byte => _ = write!(out, "%{byte:02X}"),
        }
    }
}

/// The bytes behind percent signs; what is no escape stands for itself.
fn decode(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let [first, tail @ ..] = rest {
        if let (b'%', [a, b, tail @ ..]) = (first, tail)
            && let (Some(a), Some(b)) = (digit(*a), digit(*b))
        {
            out.push(a << 4 | b);
            rest = tail;
            continue;
        }
        out.push(*first);
        rest = tail;
    }
    out
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("invariant: HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a string has no way to fail.
        _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");

    fn signature(method: &str, path: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let signing = Signing {
            method,
            path,
            query,
            headers,
            body: &hex(&Sha256::digest(body)),
            region: "us-east-1",
            service: "service",
            time: DATE.1,
        };
        let keys = Keys::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let authorization = signing.authorization(&keys);
        let (rest, signature) = authorization.rsplit_once("Signature=").expect("has a signature");
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        assert!(rest.starts_with(scope), "{rest}");
        signature.to_owned()
    }

    /// The requests of AWS's published test suite; their signatures computed anew with another HMAC.
    #[test]
    fn the_published_requests_have_their_signatures() {
        let get = |path: &str, query: &str| signature("GET", path, query, &[HOST, DATE], b"");
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        for path in ["/", "", "//", "/.", "/example/..", "/a/../b/.."] {
            assert_eq!(get(path, ""), vanilla, "{path}");
        }
        let ordered = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
        for query in
            ["Param1=value1&Param2=value2", "Param2=value2&Param1=value1", "Param1=%76alue1&&Param2=value2"]
        {
            assert_eq!(get("/", query), ordered, "{query}");
        }
        assert_eq!(
            get("/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", ""),
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"
        );
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(
            signature("POST", "/", "", &[form, HOST, DATE], b"Param1=value1"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
        let spaced = [HOST, ("my-header1", " value1"), ("my-header2", " \"a   b   c\""), DATE];
        assert_eq!(
            signature("GET", "/", "", &spaced, b""),
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"
        );
    }

    #[test]
    fn a_path_is_encoded_once_more() {
        for (sent, signed) in [
            ("/model/a.b-v1%3A0/converse", "/model/a.b-v1%253A0/converse"),
            ("/model/a.b-v1:0/converse", "/model/a.b-v1%3A0/converse"),
            ("/a%2Fb/", "/a%252Fb/"),
            ("/a//b/./c", "/a/b/c"),
            ("/..", "/"),
        ] {
            assert_eq!(path(sent), signed);
        }
    }

    #[test]
    fn a_query_has_one_form() {
        assert_eq!(query("b&a=%e1%88%b4+%zz%"), "a=%E1%88%B4%2B%25zz%25&b=");
        assert_eq!(query(""), "");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes: Vec<u8>) {
            let mut out = String::new();
            encode(&bytes, &mut out);
            prop_assert_eq!(decode(&out), bytes);
        }

        #[test]
        fn any_path_and_query_are_signed(sent: String, asked: String) {
            prop_assert!(path(&sent).starts_with('/'));
            query(&asked);
        }
    }
}

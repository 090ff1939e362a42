//! Which URLs may be asked.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

use super::address::is_public;
use crate::config::MediaSettings;

/// Why something is not fetched, in words for its caller: they tell nothing of what stands in the gateway's own network.
pub(super) type Reason = Cow<'static, str>;

/// Whose media is fetched.
#[derive(Debug)]
pub(super) struct Rules {
    /// These hosts' alone, where there are any.
    hosts: Vec<String>,
    /// Also these hosts', wherever they are, at any port and without TLS.
    private_hosts: Vec<String>,
}

// ===== impl Rules =====

impl Rules {
    pub(super) fn new(settings: &MediaSettings) -> Self {
        Self { hosts: settings.hosts.clone(), private_hosts: settings.private_hosts.clone() }
    }

    /// What to ask for a URL. What its name resolves to is held against the rules once it is known: see [`Self::admits_address`].
    pub(super) fn admit(&self, url: &str) -> Result<Uri, Reason> {
        let uri: Uri = url.parse().map_err(|_| MALFORMED)?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(MALFORMED.into());
        };
        if authority.as_str().contains('@') {
            return Err(CREDENTIALS.into());
        }
        let host = normal(authority.host());
        let is_private = self.is_private(&host);
        if *scheme != Scheme::HTTPS && !(is_private && *scheme == Scheme::HTTP) {
            return Err(SCHEME.into());
        }
        if is_private {
            return Ok(uri);
        }
        if !has_standard_port(authority) {
            return Err(PORT.into());
        }
        let is_listed = self.hosts.is_empty() || self.hosts.iter().any(|listed| covers(listed, &host));
        if is_listed && is_internets(&host) { Ok(uri) } else { Err(HOST.into()) }
    }

    /// Whether a host may be asked at this address.
    pub(super) fn admits_address(&self, host: &str, address: IpAddr) -> bool {
        is_public(address) || self.is_private(&normal(host))
    }

    fn is_private(&self, host: &str) -> bool {
        self.private_hosts.iter().any(|private| private == host)
    }
}

/// A port that is there and is no number is none of ours.
fn has_standard_port(authority: &Authority) -> bool {
    let behind_host = authority.as_str().rsplit(']').next().unwrap_or_default();
    !behind_host.contains(':') || authority.port_u16() == Some(443)
}

/// A host as the rules have it: in small letters, without the brackets of an address and the dot of the root.
pub(crate) fn normal(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether an entry of a list, `*.` at its front for all names below one, is for a host.
fn covers(listed: &str, host: &str) -> bool {
    match listed.strip_prefix('*') {
        Some(above) => host.strip_suffix(above).is_some_and(|below| !below.is_empty()),
        None => listed == host,
    }
}

/// Whether a host is an address of the internet, or a name that may have one.
fn is_internets(host: &str) -> bool {
    if let Ok(address) = host.parse() {
        return is_public(address);
    }
    let is_own = OWN_NAMES.iter().any(|own| host.strip_suffix(own).is_some_and(|rest| rest.ends_with('.')));
    is_name(host) && host.contains('.') && !is_own
}

/// Whether a text is a name in letters, digits and `-_`, and no other way to write an IPv4 address than four numbers (WHATWG's URL standard has a
/// host that ends in a number for an address).
pub(crate) fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let ends_in_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    let is_name = host.len() <= 253 && host.split('.').all(is_label);
    is_name && (!ends_in_number || host.parse::<Ipv4Addr>().is_ok())
}

const MALFORMED: &str = "it is no absolute URL";
const CREDENTIALS: &str = "it holds a user's name or a password";
const SCHEME: &str = "it is no https URL";
const PORT: &str = "its port is not 443";
const HOST: &str = "its host is none that anything is fetched from";

/// What names end in that mean something in one network alone (IANA's registry of special-use names, and `internal`).
const OWN_NAMES: [&str; 6] = ["localhost", "local", "internal", "home.arpa", "onion", "test"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(hosts: &[&str], private_hosts: &[&str]) -> Rules {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Rules { hosts: list(hosts), private_hosts: list(private_hosts) }
    }

    #[test]
    fn urls_of_the_internet_alone_are_asked() {
        let cases = [
            ("https://example.com/a.png?b=c", None),
            ("HTTPS://EXAMPLE.COM./a", None),
            ("https://example.com:443/", None),
            ("https://xn--bcher-kva.example/", None),
            ("https://1.1.1.1/a", None),
            ("https://[2606:4700:4700::1111]/a", None),
            ("http://example.com/", Some(SCHEME)),
            ("ftp://example.com/", Some(SCHEME)),
            ("file:///etc/passwd", Some(MALFORMED)),
            ("//example.com/", Some(MALFORMED)),
            ("/a.png", Some(MALFORMED)),
            ("", Some(MALFORMED)),
            ("https://", Some(MALFORMED)),
            ("https://b\u{fc}cher.example/", Some(MALFORMED)),
            ("https://\u{ff11}27.0.0.1/", Some(MALFORMED)),
            ("https://127\u{3002}0.0.1/", Some(MALFORMED)),
            ("https://example.com\\@127.0.0.1/", Some(MALFORMED)),
            ("https://exa mple.com/", Some(MALFORMED)),
            ("https://user@example.com/", Some(CREDENTIALS)),
            ("https://user:pass@example.com/", Some(CREDENTIALS)),
            ("https://example.com@127.0.0.1/", Some(CREDENTIALS)),
            ("https://example.com:80/", Some(PORT)),
            ("https://example.com:/", Some(PORT)),
            ("https://[2606:4700:4700::1111]:22/", Some(PORT)),
            ("https://localhost/", Some(HOST)),
            ("https://localhost./", Some(HOST)),
            ("https://LOCALHOST/", Some(HOST)),
            ("https://a.localhost/", Some(HOST)),
            ("https://intranet/", Some(HOST)),
            ("https://printer.local/", Some(HOST)),
            ("https://metadata.google.internal/", Some(HOST)),
            ("https://metadata.google.internal./", Some(HOST)),
            ("https://127.0.0.1/", Some(HOST)),
            ("https://127.0.0.1./", Some(HOST)),
            ("https://127.1/", Some(HOST)),
            ("https://2130706433/", Some(HOST)),
            ("https://017700000001/", Some(HOST)),
            ("https://0177.0.0.1/", Some(HOST)),
            ("https://0x7f000001/", Some(HOST)),
            ("https://0x7f.0.0.0x1/", Some(HOST)),
            ("https://0X7F.0.0.0X1/", Some(HOST)),
            ("https://1.1.1.1.1/", Some(HOST)),
            ("https://256.1.1.1/", Some(HOST)),
            ("https://127%2e0%2e0%2e1/", Some(MALFORMED)),
            ("https://example..com/", Some(HOST)),
            ("https://.example.com/", Some(HOST)),
            ("https://169.254.169.254/latest/meta-data", Some(HOST)),
            ("https://[::1]/", Some(HOST)),
            ("https://[::ffff:127.0.0.1]/", Some(HOST)),
            ("https://[::ffff:7f00:1]/", Some(HOST)),
            ("https://[64:ff9b::169.254.169.254]/", Some(HOST)),
            ("https://[fd00:ec2::254]/", Some(HOST)),
        ];
        let rules = rules(&[], &[]);
        let told = cases.map(|(url, _)| (url, rules.admit(url).err()));
        assert_eq!(told, cases.map(|(url, expected)| (url, expected.map(Reason::from))));
    }

    #[test]
    fn a_list_of_hosts_leaves_no_others_and_makes_no_address_public() {
        let rules = rules(&["images.example", "*.cdn.example", "127.0.0.1", "localhost"], &[]);
        let cases = [
            ("https://images.example/", true),
            ("https://Images.Example./", true),
            ("https://a.b.cdn.example/", true),
            ("https://cdn.example/", false),
            ("https://.cdn.example/", false),
            ("https://evilcdn.example/", false),
            ("https://a.images.example/", false),
            ("https://127.0.0.1/", false),
            ("https://localhost/", false),
        ];
        for (url, expected) in cases {
            assert_eq!(rules.admit(url).is_ok(), expected, "{url}");
        }
        assert!(!rules.admits_address("images.example", IpAddr::from([10, 0, 0, 1])));
    }

    #[test]
    fn private_hosts_are_asked_wherever_they_are_and_no_others() {
        let rules = rules(&["images.example"], &["10.0.0.1", "::1", "store.internal"]);
        let cases = [
            ("http://10.0.0.1:9000/a", true),
            ("https://[::1]:9000/a", true),
            ("http://store.internal./a", true),
            ("http://user@10.0.0.1/", false),
            ("ftp://10.0.0.1/", false),
            ("https://10.0.0.2/", false),
            ("https://a.store.internal/", false),
        ];
        for (url, expected) in cases {
            assert_eq!(rules.admit(url).is_ok(), expected, "{url}");
        }
        let own = IpAddr::from([10, 0, 0, 9]);
        assert!(rules.admits_address("Store.Internal", own));
        assert!(!rules.admits_address("images.example", own));
    }
}

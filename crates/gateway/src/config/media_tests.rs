//! What is said about images and files at URLs.

use super::tests::{env, print};
use super::*;

fn read(line: &str) -> (Option<MediaSettings>, String) {
    match Config::parse(&format!("model_list: []\nziggurat_settings: {{media: {line}}}\n"), "c", &env) {
        Ok((config, warnings)) => (config.media, print(&warnings)),
        Err(found) => (None, print(&found)),
    }
}

const NO_MODELS: &str = "c:1:1: warning: no `model_list`: there is nothing to call\n";

#[test]
fn nothing_is_fetched_unless_the_file_says_so() {
    assert_eq!(read("{fetch: false, max_bytes: 5}"), (None, NO_MODELS.to_owned()));
    let silent =
        format!("{NO_MODELS}c:2:28: warning: ziggurat_settings.media: does nothing: `fetch` is not set\n");
    assert_eq!(read("{max_bytes: 5}"), (None, silent));
}

#[test]
fn bounds_and_hosts_are_read() {
    let default = MediaSettings {
        max_bytes: 20 << 20,
        timeout: Duration::from_secs(10),
        hosts: Vec::new(),
        private_hosts: Vec::new(),
    };
    assert_eq!(read("{fetch: true}"), (Some(default), NO_MODELS.to_owned()));
    let said = "{fetch: true, max_bytes: 1000, timeout: 2.5, hosts: [Images.Example., '*.cdn.example'], \
                private_hosts: ['10.0.0.1', '[::1]', store]}";
    let expected = MediaSettings {
        max_bytes: 1000,
        timeout: Duration::from_millis(2500),
        hosts: vec!["images.example".to_owned(), "*.cdn.example".to_owned()],
        private_hosts: vec!["10.0.0.1".to_owned(), "::1".to_owned(), "store".to_owned()],
    };
    assert_eq!(read(said), (Some(expected), NO_MODELS.to_owned()));
}

#[test]
fn faults_are_reported_with_place_and_key() {
    let host = "expected the name or address of a host, without scheme, port and path";
    let cases = [
        ("true", "28: error: ziggurat_settings.media: expected a mapping, found a boolean".to_owned()),
        (
            "{fetch: x}",
            "36: error: ziggurat_settings.media.fetch: expected a boolean, found a string".to_owned(),
        ),
        (
            "{fetch: true, max_byte: 1}",
            "42: error: ziggurat_settings.media.max_byte: unknown key, did you mean `max_bytes`?".to_owned(),
        ),
        (
            "{fetch: true, max_bytes: 0}",
            "53: error: ziggurat_settings.media.max_bytes: expected a whole number above zero".to_owned(),
        ),
        (
            "{fetch: true, timeout: 0}",
            "51: error: ziggurat_settings.media.timeout: expected a positive number of seconds".to_owned(),
        ),
        (
            "{fetch: true, hosts: []}",
            "49: error: ziggurat_settings.media.hosts: is empty: leave it out to admit all hosts".to_owned(),
        ),
        (
            "{fetch: true, hosts: ['https://a']}",
            format!("50: error: ziggurat_settings.media.hosts[0]: {host}"),
        ),
        ("{fetch: true, hosts: ['*']}", format!("50: error: ziggurat_settings.media.hosts[0]: {host}")),
        (
            "{fetch: true, private_hosts: ['a:80']}",
            format!("58: error: ziggurat_settings.media.private_hosts[0]: {host}"),
        ),
        (
            "{fetch: true, private_hosts: ['*.a']}",
            format!("58: error: ziggurat_settings.media.private_hosts[0]: {host}"),
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(read(line), (None, format!("{NO_MODELS}c:2:{expected}\n")), "{line}");
    }
}

//! `ziggurat_settings.media`: images and files that callers name by URL.

use std::net::IpAddr;
use std::time::Duration;

use super::check::check;
use super::diagnostic::Report;
use super::keys::{
    Kind::{Flag, Number, Texts},
    Policy::Read,
    Section, Unknown, group,
};
use super::node::{Node, Value};
use super::value::{count, seconds};
use crate::media::{is_name, normal};

/// What is fetched for callers whose provider does not fetch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaSettings {
    /// `max_bytes`: all media of a call together, each as often as it is named; 20 MiB unless set.
    pub(crate) max_bytes: usize,
    /// `timeout`: for all media of a call; 10 seconds unless set.
    pub(crate) timeout: Duration,
    /// `hosts`: the only ones that are asked, if there are any; `*.` at the front of one stands for all names below it.
    pub(crate) hosts: Vec<String>,
    /// `private_hosts`: also asked at private addresses, at any port, and without TLS.
    pub(crate) private_hosts: Vec<String>,
}

// ===== impl MediaSettings =====

impl MediaSettings {
    /// `None` where nothing is fetched, which is the default.
    pub(super) fn read(root: &Node, report: &mut Report) -> Option<Self> {
        let node = root.get("ziggurat_settings").and_then(|ours| ours.get("media"))?;
        if !matches!(node.value, Value::Map(_)) {
            return None;
        }
        check(node, &MEDIA, report);
        let max_bytes = count(node.get("max_bytes"), report);
        let read = Self {
            max_bytes: max_bytes.map_or(20 << 20, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            timeout: seconds(node.get("timeout"), report).unwrap_or(Duration::from_secs(10)),
            hosts: hosts(node.get("hosts"), true, report),
            private_hosts: hosts(node.get("private_hosts"), false, report),
        };
        if node.get("fetch").is_none() {
            report.warning(&node.at, &node.path, "does nothing: `fetch` is not set");
        }
        (node.get("fetch").and_then(Node::flag) == Some(true)).then_some(read)
    }
}

/// `ziggurat_settings.media`.
const MEDIA: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[
        group(Read, Flag, "fetch"),
        group(Read, Number, "max_bytes timeout"),
        group(Read, Texts, "hosts private_hosts"),
    ],
};

/// Names and addresses of hosts.
fn hosts(node: Option<&Node>, patterns: bool, report: &mut Report) -> Vec<String> {
    let Some(node) = node else { return Vec::new() };
    if patterns && matches!(&node.value, Value::List(items) if items.is_empty()) {
        report.error(&node.at, &node.path, "is empty: leave it out to admit all hosts");
    }
    let mut read = Vec::new();
    for item in node.items() {
        let Some(text) = item.text() else { continue };
        let host = normal(text);
        let name = host.strip_prefix("*.").filter(|_| patterns).unwrap_or(&host);
        if is_name(name) || host.parse::<IpAddr>().is_ok() {
            read.push(host);
        } else {
            let expected = "expected the name or address of a host, without scheme, port and path";
            report.error(&item.at, &item.path, expected);
        }
    }
    read
}

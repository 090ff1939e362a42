//! Holds a mapping of the file against its table in [`keys`](super::keys).

use super::diagnostic::Report;
use super::keys::{
    ALREADY_SO, GENERAL_SETTINGS, Group, Kind, LITELLM_PARAMS, LITELLM_SETTINGS, LOGGERS, Policy,
    ROUTER_SETTINGS, Section, Unknown, ZIGGURAT_SETTINGS,
};
use super::nearest::nearest;
use super::node::{Entry, Node, Value, join};
use super::pattern::Pattern;

/// Reports unknown keys, keys that are not supported, and values of the wrong kind.
///
/// What reads the section afterwards may take a value of another kind for absent: it has been reported.
pub(super) fn check(node: &Node, section: &Section, report: &mut Report) {
    if !matches!(node.value, Value::Map(_) | Value::Null | Value::Missing) {
        let message = format!("expected a mapping, found {}", node.kind());
        report.error(&node.at, &node.path, message);
    }
    for entry in node.entries() {
        match find(section, &entry.key) {
            Some(group) => check_known(entry, &join(&node.path, &entry.key), group, report),
            None => report_unknown(entry, &join(&node.path, &entry.key), section, report),
        }
    }
}

/// The group that a key stands in; its own name goes before a pattern.
pub(super) fn find(section: &Section, key: &str) -> Option<&'static Group> {
    let exact = section.names().find(|(name, _)| *name == key);
    let found = exact.or_else(|| {
        section.names().find(|(name, _)| name.contains('*') && Pattern::new(name).captures(key).is_some())
    });
    found.map(|(_, group)| group)
}

fn check_known(entry: &Entry, path: &str, group: &Group, report: &mut Report) {
    if let Some(message) = mismatch(&entry.node, group.kind) {
        report.error(&entry.node.at, path, message);
        return;
    }
    match group.policy {
        Policy::Read | Policy::Pass => {}
        _ if is_already_so(entry) => {}
        Policy::Ignore => report.warning(&entry.at, path, IGNORED),
        Policy::Refuse => report.error(&entry.at, path, REFUSED),
        Policy::Callbacks => check_callbacks(&entry.node, report),
    }
}

fn report_unknown(entry: &Entry, path: &str, section: &Section, report: &mut Report) {
    let mut homes = HOMES.iter().filter(|_| section.unknown == Unknown::Refuse);
    if let Some((name, _)) = homes.find(|(_, other)| find(other, &entry.key).is_some()) {
        report.error(&entry.at, path, format!("unknown key here, it belongs into `{name}`"));
        return;
    }
    let known = section.names().filter(|(name, _)| !name.contains('*'));
    let near = match section.unknown {
        Unknown::Accept => return,
        // Only these: a provider's own parameter may well be near another name (`models`, `model`).
        Unknown::Forward => nearest(&entry.key, ["api_key", "api_base", "api_version"].into_iter()),
        _ => nearest(&entry.key, known.map(|(name, _)| name)),
    };
    match (near, section.unknown) {
        (Some(near), _) => report.error(&entry.at, path, format!("unknown key, did you mean `{near}`?")),
        (None, Unknown::Forward) => {
            report.warning(&entry.at, path, "not a parameter of LiteLLM's: sent to the provider as it is");
        }
        (None, Unknown::Note) => report.warning(&entry.at, path, "unknown key: ignored"),
        (None, _) => report.error(&entry.at, path, "unknown key"),
    }
}

/// What is wrong with the kind of a value, if anything.
fn mismatch(node: &Node, kind: Kind) -> Option<String> {
    if matches!(node.value, Value::Null | Value::Missing) {
        return None;
    }
    let is_text = node.text().is_some();
    let (expected, fits) = match kind {
        Kind::Any => return None,
        Kind::Text => ("a string", is_text),
        Kind::Name => ("a string or a number", is_text || matches!(node.value, Value::Number(_))),
        Kind::Flag => ("a boolean", node.flag().is_some()),
        Kind::Number => ("a number", node.number().is_some()),
        Kind::List | Kind::Texts => ("a list", matches!(node.value, Value::List(_))),
        Kind::Map => ("a mapping", matches!(node.value, Value::Map(_))),
    };
    let quotes = kind == Kind::Text && matches!(node.value, Value::Flag(_) | Value::Number(_));
    let hint = if quotes { ": put it in quotes" } else { "" };
    if !fits {
        return Some(format!("expected {expected}, found {}{hint}", node.kind()));
    }
    let odd = node.items().iter().find(|item| kind == Kind::Texts && item.text().is_none())?;
    Some(format!("expected a list of strings, found {} in it", odd.kind()))
}

/// Whether the value asks for nothing, or for what happens anyway.
fn is_already_so(entry: &Entry) -> bool {
    let as_text = match &entry.node.value {
        Value::Null | Value::Missing => return true,
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(items) => return items.is_empty(),
        Value::Map(entries) => return entries.is_empty(),
    };
    let mut usual =
        ALREADY_SO.iter().filter(|(key, _)| *key == entry.key).map(|(_, value)| *value).peekable();
    as_text.is_empty() || usual.peek().is_none() && as_text == "false" || usual.any(|value| value == as_text)
}

fn check_callbacks(node: &Node, report: &mut Report) {
    let one = std::slice::from_ref(node);
    let callbacks = if node.text().is_some() { one } else { node.items() };
    for callback in callbacks {
        let only_logs = callback.text().is_some_and(|name| LOGGERS.split_whitespace().any(|it| it == name));
        if only_logs {
            report.warning(&callback.at, &callback.path, IGNORED);
        } else {
            report.error(&callback.at, &callback.path, REFUSED);
        }
    }
}

/// Where a key may belong that was found elsewhere.
const HOMES: [(&str, &Section); 5] = [
    ("general_settings", &GENERAL_SETTINGS),
    ("litellm_settings", &LITELLM_SETTINGS),
    ("router_settings", &ROUTER_SETTINGS),
    ("litellm_params", &LITELLM_PARAMS),
    ("ziggurat_settings", &ZIGGURAT_SETTINGS),
];

pub(super) const IGNORED: &str = "known to LiteLLM, not supported yet: ignored";
pub(super) const REFUSED: &str = "known to LiteLLM, not supported yet: refusing to run without it";

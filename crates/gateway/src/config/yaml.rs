//! Text to tree: serde-saphyr under a small budget, with messages that quote nothing of the file.

use std::collections::HashMap;
use std::sync::Arc;

use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy};
use serde_saphyr::{Error, NonFiniteFloatPolicy, Options};

use super::diagnostic::{Position, Report};
use super::node::{Node, Value, join};

/// The largest file that is read, in bytes.
pub(super) const FILE_LIMIT: usize = 4 * 1024 * 1024;
/// The most nodes that a file may have after its aliases were expanded: thousands of deployments.
const NODE_LIMIT: usize = 100_000;

/// Parses one file; nothing but an error in the report if it is not YAML.
pub(super) fn read(text: &str, file: &str, report: &mut Report) -> Option<Node> {
    if text.len() > FILE_LIMIT {
        report.error(&Position::whole(file), "", "the file is larger than 4 MiB");
        return None;
    }
    match serde_saphyr::from_str_with_options::<Option<Node>>(text, options()) {
        Ok(root) => {
            let mut root = root.unwrap_or_else(|| Node::empty(file));
            root.stamp(&Arc::from(file), String::new());
            root.keep_numbers(text);
            report_duplicates(&root, report);
            Some(root)
        }
        Err(error) => {
            let at = error.location().map_or(Position::whole(file), |found| Position {
                line: found.line(),
                column: found.column(),
                ..Position::whole(file)
            });
            report.error(&at, "", describe(&error));
            None
        }
    }
}

/// Snippets would print the lines around an error, and with them secrets. Duplicate keys pass, to be reported with their path.
fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_events: 4 * NODE_LIMIT,
        max_nodes: NODE_LIMIT,
        max_depth: 32,
        max_total_scalar_bytes: 2 * FILE_LIMIT,
        max_recorded_anchor_events: NODE_LIMIT,
        enforce_alias_anchor_ratio: false,
    };
    let mut alias_limits = AliasLimits::default();
    alias_limits.max_total_replayed_events = NODE_LIMIT;
    serde_saphyr::options! {
        budget: budget,
        alias_limits: alias_limits,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        leading_zero_numbers_as_strings: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

fn describe(error: &Error) -> String {
    match error.without_snippet() {
        Error::AliasError { error, .. } => describe(error),
        Error::ExternalMessage { msg, .. } if !msg.starts_with("unexpected character") => {
            format!("invalid YAML: {msg}")
        }
        Error::UnknownAnchor { .. } => "invalid YAML: an alias to an anchor that is not defined".into(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an alias to what it stands in".into(),
        Error::MultipleDocuments { .. } => "more than one YAML document".into(),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => "`<<` takes a mapping or a list of mappings".into(),
        Error::NullIntoString { .. } | Error::Unexpected { .. } => "a key must be a plain name".into(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "too many or too deeply nested values".into(),
        Error::Eof { .. } => "invalid YAML: unexpected end of the file".into(),
        _ => "invalid YAML".into(),
    }
}

fn report_duplicates(node: &Node, report: &mut Report) {
    node.items().iter().for_each(|item| report_duplicates(item, report));
    let Value::Map(entries) = &node.value else { return };
    let mut first = HashMap::new();
    for entry in entries {
        if let Some(line) = first.insert(entry.key.as_str(), entry.at.line) {
            let message = format!("duplicate key, also on line {line}");
            report.error(&entry.at, &join(&node.path, &entry.key), message);
        }
        report_duplicates(&entry.node, report);
    }
}

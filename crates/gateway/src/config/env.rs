//! `os.environ/NAME` references, and `environment_variables`, which come before the real environment.

use std::collections::HashMap;

use super::diagnostic::Report;
use super::node::{Node, Value};

/// The environment as the configuration sees it; nothing is exported into the process.
pub(super) struct Environment<'a> {
    outer: &'a dyn Fn(&str) -> Option<String>,
    declared: HashMap<String, String>,
}

/// What a string that refers to a variable begins with.
const REFERENCE: &str = "os.environ/";

// ===== impl Environment =====

impl<'a> Environment<'a> {
    /// Takes up the file's own `environment_variables`, in their order, then resolves all references in the tree.
    pub(super) fn resolve(
        root: &mut Node,
        outer: &'a dyn Fn(&str) -> Option<String>,
        report: &mut Report,
    ) -> Self {
        let mut environment = Self { outer, declared: HashMap::new() };
        let Value::Map(entries) = &mut root.value else { return environment };
        let variables = |key: &str| key == "environment_variables";
        for entry in entries.iter_mut().filter(|entry| variables(&entry.key)) {
            environment.declare(&mut entry.node, report);
        }
        for entry in entries.iter_mut().filter(|entry| !variables(&entry.key)) {
            environment.resolve_node(&mut entry.node, report);
        }
        environment
    }

    /// The value of a variable; an empty one counts as not set.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let value = self.declared.get(name).cloned().or_else(|| (self.outer)(name));
        value.filter(|value| !value.is_empty())
    }

    fn declare(&mut self, variables: &mut Node, report: &mut Report) {
        let Value::Map(entries) = &mut variables.value else { return };
        for entry in entries {
            self.resolve_node(&mut entry.node, report);
            let value = match &entry.node.value {
                Value::Text(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Flag(flag) => if *flag { "True" } else { "False" }.to_owned(),
                Value::Null | Value::Missing => continue,
                Value::List(_) | Value::Map(_) => {
                    let message = format!("expected a string, found {}", entry.node.kind());
                    report.error(&entry.node.at, &entry.node.path, message);
                    continue;
                }
            };
            self.declared.insert(entry.key.clone(), value);
        }
    }

    fn resolve_node(&self, node: &mut Node, report: &mut Report) {
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.resolve_node(item, report)),
            Value::Map(entries) => {
                entries.iter_mut().for_each(|entry| self.resolve_node(&mut entry.node, report));
            }
            Value::Text(text) => {
                let Some(name) = text.strip_prefix(REFERENCE) else { return };
                let value = self.get(name);
                if value.is_none() {
                    let message = if is_name(name) {
                        format!("environment variable `{name}` is not set or empty")
                    } else {
                        format!("`{REFERENCE}` must be followed by the name of a variable")
                    };
                    report.error(&node.at, &node.path, message);
                }
                node.value = value.map_or(Value::Missing, Value::Text);
                node.from_env = true;
            }
            _ => {}
        }
    }
}

/// Whether this can be the name of a variable, and not a value that was put in its place.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

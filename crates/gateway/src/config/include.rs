//! `include: [other.yaml]`: a configuration in several files.

use std::io;
use std::path::{Path, PathBuf};

use super::diagnostic::{Position, Report};
use super::node::{Entry, Node, Value};
use super::yaml;

/// Reads a file's text; a parameter so that tests need no disk.
pub(super) type Reader<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// How many files deep includes may go.
const DEPTH_LIMIT: usize = 8;

/// Reads a file and what it includes into one tree, by LiteLLM's rules: lists are appended, anything else is replaced by
/// what is included; a path is next to the file that names it, else next to the first file.
pub(super) fn read(path: &Path, reader: Reader<'_>, report: &mut Report) -> Option<Node> {
    let file = path.display().to_string();
    let text = match reader(path) {
        Ok(text) => text,
        Err(error) => {
            report.error(&Position::whole(&file), "", format!("cannot read the file: {}", error.kind()));
            return None;
        }
    };
    let mut root = yaml::read(&text, &file, report)?;
    let mut open = vec![path.to_owned()];
    add_includes(&mut root, &mut open, reader, report);
    Some(root)
}

fn add_includes(root: &mut Node, open: &mut Vec<PathBuf>, reader: Reader<'_>, report: &mut Report) {
    let Value::Map(entries) = &mut root.value else { return };
    let Some(index) = entries.iter().position(|entry| entry.key == "include") else { return };
    let include = entries.remove(index).node;
    if !matches!(include.value, Value::List(_) | Value::Null) {
        let message = format!("expected a list of files, found {}", include.kind());
        report.error(&include.at, &include.path, message);
    }
    for item in include.items() {
        let Some(mut included) = read_included(item, open, reader, report) else { continue };
        add_includes(&mut included, open, reader, report);
        open.pop();
        merge(entries, included, report);
    }
}

/// Reads one included file and, if that went well, leaves it on the stack of open files.
fn read_included(
    item: &Node,
    open: &mut Vec<PathBuf>,
    reader: Reader<'_>,
    report: &mut Report,
) -> Option<Node> {
    let Some(name) = item.text() else {
        report.error(&item.at, &item.path, format!("expected the path of a file, found {}", item.kind()));
        return None;
    };
    let beside = |file: &PathBuf| file.parent().unwrap_or(Path::new("")).join(name);
    let candidates: Vec<PathBuf> = [open.last(), open.first()].into_iter().flatten().map(beside).collect();
    if open.len() >= DEPTH_LIMIT || candidates.iter().any(|path| open.contains(path)) {
        report.error(&item.at, &item.path, "includes itself, or more than 8 files deep");
        return None;
    }
    let mut failure = None;
    for path in candidates {
        match reader(&path) {
            Ok(text) => {
                let included = yaml::read(&text, &path.display().to_string(), report)?;
                open.push(path);
                return Some(included);
            }
            Err(error) => failure = failure.or(Some(error.kind())),
        }
    }
    let reason = failure.map_or_else(String::new, |kind| format!(": {kind}"));
    report.error(&item.at, &item.path, format!("cannot read the included file{reason}"));
    None
}

fn merge(entries: &mut Vec<Entry>, included: Node, report: &mut Report) {
    let added = match included.value {
        Value::Map(added) => added,
        Value::Null => return,
        _ => {
            report.error(&included.at, "", format!("expected a mapping, found {}", included.kind()));
            return;
        }
    };
    for entry in added {
        let Some(own) = entries.iter_mut().find(|own| own.key == entry.key) else {
            entries.push(entry);
            continue;
        };
        match (&mut own.node.value, entry.node.value) {
            (Value::List(items), Value::List(more)) => items.extend(more),
            (_, value) => {
                let message = format!("replaced as a whole by the included {}", entry.at);
                report.warning(&own.at, &own.node.path, message);
                *own = Entry { node: Node { value, ..entry.node }, ..entry };
            }
        }
    }
}

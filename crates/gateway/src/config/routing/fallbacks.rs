//! Which groups stand in for one that fails: read, and held against the groups that there are.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::iter;

use super::Settings;
use crate::config::Config;
use crate::config::diagnostic::{Position, Report};
use crate::config::nearest::nearest;
use crate::config::node::{Entry, Node, Value, shown};
use crate::config::value::up_to;

/// Which groups stand in for one that fails, by why it failed.
#[derive(Debug, Default)]
pub(crate) struct Fallbacks {
    /// `fallbacks` and `default_fallbacks`: after any failure.
    pub(crate) general: FallbackLists,
    /// `context_window_fallbacks`: for a prompt that is too long.
    pub(crate) context_window: FallbackLists,
    /// `content_policy_fallbacks`: for what a provider's filter blocked.
    pub(crate) content_policy: FallbackLists,
    /// `max_fallbacks`: how many are tried, at most; LiteLLM's default is 5.
    pub(crate) most: Option<u32>,
}

/// Lists of fallbacks.
#[derive(Debug, Default)]
pub(crate) struct FallbackLists {
    /// By what callers name: a group, an alias, a model that a wildcard matches, or a wildcard group itself.
    /// Nothing stands in where the list is empty, `others` neither; of the general one, nor what a call names itself.
    pub(crate) of: BTreeMap<String, Vec<Fallback>>,
    /// `*`: of all others.
    pub(crate) others: Vec<Fallback>,
}

/// What stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// What callers could name too; [`Config::resolve`] finds it.
    Group(String),
    /// One deployment, by the `model_info.id` that the file gives it.
    Deployment(String),
}

/// The names that callers can use.
pub(super) struct Names<'c> {
    config: &'c Config,
}

/// A group that falls back to another: one step of a path.
struct Edge<'n> {
    from: &'n str,
    to: &'n str,
    node: &'n Node,
}

// ===== impl Fallbacks =====

impl Fallbacks {
    pub(super) fn read(settings: &Settings<'_>, names: &Names<'_>, report: &mut Report) -> Self {
        let mut edges = Vec::new();
        let mut circles = 0;
        let mut read = |key: &str, report: &mut Report| {
            let node = settings.either(key, report);
            let (lists, own) = FallbackLists::read(node, names, key == "fallbacks", report);
            for (edge, path) in paths_back(&own) {
                report.error(&edge.node.at, &edge.node.path, format!("leads in a circle: {path}"));
                circles += 1;
            }
            edges.extend(own);
            lists
        };
        let mut general = read("fallbacks", report);
        let context_window = read("context_window_fallbacks", report);
        let content_policy = read("content_policy_fallbacks", report);
        if let Some(node) = settings.either("default_fallbacks", report) {
            if !general.others.is_empty() {
                report.warning(&node.at, &node.path, "goes before the list of `*` in `fallbacks`");
            }
            general.others = names.read_list(node, report);
        }
        // A long prompt that goes to another model, whose outage leads back, is sound: nothing is tried twice in one call.
        for (edge, path) in paths_back(&edges).into_iter().filter(|_| circles == 0) {
            let message = format!("leads in a circle over lists of several causes: {path}");
            report.warning(&edge.node.at, &edge.node.path, message);
        }
        let most = up_to(u32::MAX, settings.either("max_fallbacks", report), report);
        Self { general, context_window, content_policy, most }
    }
}

// ===== impl FallbackLists =====

impl FallbackLists {
    /// Where lists `keep`, an empty one is a group's way to say that its calls go nowhere else.
    fn read<'n>(
        node: Option<&'n Node>,
        names: &Names<'n>,
        keep: bool,
        report: &mut Report,
    ) -> (Self, Vec<Edge<'n>>) {
        let mut lists = Self::default();
        let mut edges = Vec::new();
        let mut lines = BTreeMap::new();
        for item in node.map_or(&[][..], Node::items) {
            let Some(entry) = read_item(item, report) else { continue };
            let (from, list) = (entry.key.as_str(), &entry.node);
            match lines.entry(from) {
                btree_map::Entry::Vacant(line) => _ = line.insert(entry.at.line),
                btree_map::Entry::Occupied(line) => {
                    let message = format!("is never reached: the list on line {} goes before", line.get());
                    report.warning(&entry.at, &list.path, message);
                    continue;
                }
            }
            let is_empty = matches!(&list.value, Value::List(items) if items.is_empty());
            let targets = match is_empty && keep && from != "*" {
                true => Vec::new(),
                false => names.read_list(list, report),
            };
            if from == "*" {
                lists.others = targets;
                continue;
            }
            names.check_group(from, &entry.at, &list.path, report);
            let to = list.items().iter().filter_map(|node| Some((node, node.text()?)));
            let to = to.filter(|(_, to)| names.config.resolve(to).is_some());
            edges.extend(to.map(|(node, to)| Edge { from: names.group(from), to: names.group(to), node }));
            lists.of.insert(from.to_owned(), targets);
        }
        (lists, edges)
    }
}

/// The one entry of an item of a list of fallbacks.
fn read_item<'n>(item: &'n Node, report: &mut Report) -> Option<&'n Entry> {
    let message = match &item.value {
        Value::Map(entries) => match &entries[..] {
            [entry] => return Some(entry),
            entries => format!("expected one model group with its fallbacks, found {}", entries.len()),
        },
        Value::Missing => return None,
        _ => format!("expected a mapping of a model group to its fallbacks, found {}", item.kind()),
    };
    report.error(&item.at, &item.path, message);
    None
}

/// The steps that lead back to where a path has been, with that part of the path.
fn paths_back<'e, 'n>(edges: &'e [Edge<'n>]) -> Vec<(&'e Edge<'n>, String)> {
    let mut from: HashMap<&str, Vec<&'e Edge<'n>>> = HashMap::new();
    for edge in edges {
        from.entry(edge.from).or_default().push(edge);
    }
    let steps = |name: &str| from.get(name).cloned().unwrap_or_default().into_iter();
    let mut found = Vec::new();
    // Whether a name is on the path still.
    let mut seen: HashMap<&str, bool> = HashMap::new();
    for start in edges.iter().map(|edge| edge.from) {
        if seen.contains_key(start) {
            continue;
        }
        seen.insert(start, true);
        let mut path = vec![(start, steps(start))];
        while let Some((name, rest)) = path.last_mut() {
            let Some(edge) = rest.next() else {
                seen.insert(name, false);
                path.pop();
                continue;
            };
            match seen.get(edge.to) {
                Some(true) => {
                    let circle = path.iter().map(|(name, _)| *name).skip_while(|name| *name != edge.to);
                    let names: Vec<_> = circle.chain(iter::once(edge.to)).map(named).collect();
                    found.push((edge, names.join(" -> ")));
                }
                Some(false) => {}
                None => {
                    seen.insert(edge.to, true);
                    path.push((edge.to, steps(edge.to)));
                }
            }
        }
    }
    found
}

// ===== impl Names =====

impl<'c> Names<'c> {
    pub(super) const fn new(config: &'c Config) -> Self {
        Self { config }
    }

    /// Reports a key that no call's model can be.
    pub(super) fn check_group(&self, name: &str, at: &Position, path: &str, report: &mut Report) {
        if self.config.resolve(name).is_none() && !self.is_wildcard(name) {
            let near = self.near(name);
            report.error(at, path, format!("is no model of `model_list`, and would never apply{near}"));
        }
    }

    /// A list of names that can be called.
    fn read_list(&self, node: &Node, report: &mut Report) -> Vec<Fallback> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                report.warning(&node.at, &node.path, "is empty: there is nothing to fall back to");
            }
            Value::List(_) | Value::Missing => {}
            _ => {
                let message = format!("expected a list of model groups, found {}", node.kind());
                report.error(&node.at, &node.path, message);
            }
        }
        node.items().iter().filter_map(|item| self.read_fallback(item, report)).collect()
    }

    fn read_fallback(&self, node: &Node, report: &mut Report) -> Option<Fallback> {
        let Some(name) = node.text() else {
            if !matches!(node.value, Value::Missing) {
                let message = format!("expected the name of a model group, found {}", node.kind());
                report.error(&node.at, &node.path, message);
            }
            return None;
        };
        if self.config.resolve(name).is_some() {
            return Some(Fallback::Group(name.to_owned()));
        }
        if self.config.deployments.iter().any(|it| it.has_own_id && it.id == name && !it.is_wildcard()) {
            return Some(Fallback::Deployment(name.to_owned()));
        }
        let message = match self.is_wildcard(name) {
            true => "is a wildcard: name a model that it matches".to_owned(),
            false => format!("leads to no model of `model_list`{}", self.near(name)),
        };
        report.error(&node.at, &node.path, message);
        None
    }

    /// The name of a group that can be called.
    pub(super) fn read_name(&self, node: Option<&Node>, report: &mut Report) -> Option<String> {
        match self.read_fallback(node?, report)? {
            Fallback::Group(name) => Some(name),
            Fallback::Deployment(_) => {
                let node = node?;
                report.error(&node.at, &node.path, "is the id of a deployment, where a model is expected");
                None
            }
        }
    }

    /// What an alias stands for, else the name itself.
    pub(super) fn group<'n>(&self, name: &'n str) -> &'n str
    where
        'c: 'n,
    {
        self.config.aliased(name).unwrap_or(name)
    }

    fn is_wildcard(&self, name: &str) -> bool {
        self.config.patterns.iter().any(|pattern| pattern == name)
    }

    /// A hint at the name that may be meant.
    fn near(&self, name: &str) -> String {
        let groups = self.config.deployments.iter().map(|it| it.alias.as_str());
        let known = groups.chain(self.config.aliases.iter().map(|alias| alias.name.as_str()));
        match nearest(name, known.filter(|name| named(name) == *name && !name.contains('*'))) {
            Some(near) => format!(", did you mean `{near}`?"),
            None => String::new(),
        }
    }
}

/// The name of a group, if it looks like one and not like a secret.
fn named(name: &str) -> &str {
    let is_shown = |part: &str| part == "*" || shown(part) == part;
    if name.split('/').all(is_shown) { name } else { shown("") }
}

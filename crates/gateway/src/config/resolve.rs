//! From the model that a caller names to the deployments that can answer.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::iter;

use super::Config;
use super::deployment::{Deployment, digest};
use super::diagnostic::{Position, Report};
use super::node::join;
use super::pattern::{Pattern, fill};
use super::provider::Provider;

/// Another name for a model group.
#[derive(Debug)]
pub(crate) struct Alias {
    /// The name that callers use.
    pub(crate) name: String,
    /// The group that it stands for.
    pub(crate) target: String,
    /// Whether it is left out of the list of models.
    pub(crate) hidden: bool,
    /// Where it stands in the file.
    pub(crate) position: Position,
}

/// The deployments for a model.
#[derive(Debug)]
pub(crate) struct Resolved<'a> {
    /// The name in full, with the provider's prefix where it was found by that.
    pub(crate) name: Cow<'a, str>,
    /// The deployments in the order of the file; at least one.
    pub(crate) candidates: Vec<Candidate<'a>>,
}

/// A deployment with the model that it is asked for.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// The deployment.
    pub(crate) deployment: &'a Deployment,
    /// The model's id at the provider, without `*`.
    pub(crate) model: Cow<'a, str>,
}

// ===== impl Config =====

impl Config {
    /// The deployments for the model that a caller names: an exact name before a pattern, the longest pattern first.
    ///
    /// A well-known name without prefix (`gpt-4o`) also finds its provider's pattern (`openai/*`), as in LiteLLM.
    pub(crate) fn resolve<'a>(&'a self, model: &'a str) -> Option<Resolved<'a>> {
        self.find(self.aliased(model).unwrap_or(model))
    }

    /// The group that an alias of `model_group_alias` stands for.
    pub(crate) fn aliased(&self, model: &str) -> Option<&str> {
        let alias = self.aliases.iter().find(|alias| alias.name == model);
        alias.map(|alias| alias.target.as_str())
    }

    fn find<'a>(&'a self, model: &'a str) -> Option<Resolved<'a>> {
        if model.contains('*') {
            return None;
        }
        if let Some(members) = self.groups.get(model) {
            let candidate = |index: &usize| {
                let deployment = &self.deployments[*index];
                Candidate { deployment, model: Cow::Borrowed(&deployment.model) }
            };
            let candidates = members.iter().map(candidate).collect();
            return Some(Resolved { name: model.into(), candidates });
        }
        if let Some(candidates) = self.match_patterns(model) {
            return Some(Resolved { name: model.into(), candidates });
        }
        let provider = Provider::of_bare_model(model).filter(|_| !model.contains('/'))?;
        let name = format!("{}/{model}", provider.id);
        let candidates = self.match_patterns(&name)?;
        Some(Resolved { name: name.into(), candidates })
    }

    /// The names to list: those of groups without `*`, then the aliases that are not hidden; each once.
    pub(crate) fn model_names(&self) -> Vec<&str> {
        let groups = self.deployments.iter().filter(|it| !it.is_wildcard()).map(|it| it.alias.as_str());
        let aliases = self.aliases.iter().filter(|alias| !alias.hidden).map(|alias| alias.name.as_str());
        let mut names = Vec::new();
        for name in groups.chain(aliases) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn match_patterns(&self, model: &str) -> Option<Vec<Candidate<'_>>> {
        let mut patterns = self.patterns.iter();
        let (group, captures) =
            patterns.find_map(|group| Some((group, Pattern::new(group).captures(model)?)))?;
        let members = self.deployments.iter().filter(|deployment| deployment.alias == *group);
        let candidates = members.map(|deployment| Candidate {
            deployment,
            model: Cow::Owned(fill(&deployment.model, &captures)),
        });
        Some(candidates.collect())
    }

    /// Groups the deployments, orders the patterns, tells equal ids apart, and checks that aliases lead somewhere.
    pub(super) fn index(&mut self, report: &mut Report) {
        for (index, deployment) in self.deployments.iter().enumerate() {
            let alias = &deployment.alias;
            if !deployment.is_wildcard() {
                self.groups.entry(alias.clone()).or_default().push(index);
            } else if !self.patterns.contains(alias) {
                self.patterns.push(alias.clone());
            }
        }
        self.patterns.sort_by_key(|pattern| Reverse(Pattern::new(pattern).specificity()));
        self.number_equal_ids(report);
        for alias in self.aliases.iter().filter(|alias| self.find(&alias.target).is_none()) {
            let key = join("router_settings.model_group_alias", &alias.name);
            let message = match self.aliased(&alias.target) {
                Some(_) if self.leads_back(alias) => "leads in a circle of aliases",
                Some(_) => "leads to another alias: name the model that it stands for",
                None => "leads to no model of `model_list`",
            };
            report.error(&alias.position, &key, message);
        }
    }

    /// Whether an alias stands for itself in the end.
    fn leads_back(&self, alias: &Alias) -> bool {
        let steps = iter::successors(Some(alias.target.as_str()), |name| self.aliased(name));
        steps.take(self.aliases.len()).any(|name| name == alias.name)
    }

    /// Deployments that differ in their keys only get ids by their order; ids that the file gives must differ.
    fn number_equal_ids(&mut self, report: &mut Report) {
        let mut seen: HashMap<String, u32> = HashMap::new();
        for deployment in &mut self.deployments {
            let count = seen.entry(deployment.id.clone()).or_default();
            *count += 1;
            if *count == 1 {
                continue;
            }
            if deployment.has_own_id {
                report.error(
                    &deployment.position,
                    "model_list",
                    "`model_info.id` is that of another deployment",
                );
            } else {
                deployment.id = digest(&[&deployment.id, &count.to_string()]);
            }
        }
    }
}

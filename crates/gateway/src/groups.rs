//! From the model that a caller names to a target.

use std::{
    collections::HashMap,
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::{HeaderName, HeaderValue, header};
use ziggurat_core::{ParamPolicy, Target, TargetError};

use crate::config::{Auth, Candidate, Config, Deployment};

/// The deployments as targets. Those of one group take turns.
#[derive(Debug)]
pub(crate) struct Groups {
    /// By deployment id; wildcards are made per call, since the caller names their model.
    fixed: HashMap<String, Target>,
    /// By the group's name: each has a turn of its own, since calls of another group in between would have the same member called again
    /// and again.
    turns: HashMap<String, AtomicUsize>,
}

/// A deployment that cannot be called.
#[derive(Debug)]
pub(crate) struct Unusable {
    alias: String,
    source: TargetError,
}

// ===== impl Groups =====

impl Groups {
    pub(crate) fn new(config: &Config) -> Result<Self, Unusable> {
        let mut fixed = HashMap::new();
        for deployment in config.deployments.iter().filter(|deployment| !deployment.is_wildcard()) {
            let unusable = |source| Unusable { alias: deployment.alias.clone(), source };
            let target = target(deployment, &deployment.model, config.drop_params).map_err(unusable)?;
            fixed.insert(deployment.id.clone(), target);
        }
        let turns = config.deployments.iter().map(|it| (it.alias.clone(), AtomicUsize::new(0))).collect();
        Ok(Self { fixed, turns })
    }

    /// The target of a deployment, unless it is a wildcard.
    pub(crate) fn of(&self, deployment: &Deployment) -> Option<&Target> {
        self.fixed.get(&deployment.id)
    }

    /// The target for the model that a caller names, with its own timeout where it has one; `None` when nothing answers to that name.
    pub(crate) fn target(
        &self,
        config: &Config,
        model: &str,
        stream: bool,
    ) -> Option<(Target, Option<Duration>)> {
        let candidates = config.resolve(model)?.candidates;
        let group = &candidates.first()?.deployment.alias;
        let turn = self.turns.get(group).map_or(0, |turn| turn.fetch_add(1, Ordering::Relaxed));
        let Candidate { deployment, model } = &candidates[turn % candidates.len()];
        let target = match self.fixed.get(&deployment.id) {
            Some(target) => target.clone(),
            None => target(deployment, model, config.drop_params).ok()?,
        };
        let timeout = deployment.stream_timeout.filter(|_| stream).or(deployment.timeout);
        Some((target, timeout))
    }
}

fn target(deployment: &Deployment, model: &str, drop_params: bool) -> Result<Target, TargetError> {
    let provider = deployment.provider;
    let mut policy = ParamPolicy::default();
    policy.drop_params = deployment.drop_params.unwrap_or(drop_params);
    policy.additional_drop_params = deployment.additional_drop_params.clone().into();
    policy.allowed_openai_params = deployment.allowed_openai_params.clone().into();
    let defaults = deployment.extra.iter().map(|extra| (extra.key.clone(), extra.value.to_string()));
    let mut target = Target::new(&provider.id, provider.dialect(), model, &deployment.chat_url(model))?
        .id(&deployment.id)
        .policy(policy)
        .defaults(defaults);
    for (name, value) in &deployment.extra_headers {
        target = target.header(name.clone(), value.clone());
    }
    if let Some(organization) = &deployment.organization {
        let value = HeaderValue::from_str(organization).map_err(|_| TargetError::Key)?;
        target = target.header(HeaderName::from_static("openai-organization"), value);
    }
    let Some(key) = &deployment.api_key else { return Ok(target) };
    match deployment.auth() {
        Auth::Bearer => target.key(header::AUTHORIZATION, &format!("Bearer {}", key.expose())),
        Auth::XApiKey => target.key(HeaderName::from_static("x-api-key"), key.expose()),
        Auth::ApiKey => target.key(HeaderName::from_static("api-key"), key.expose()),
    }
}

// ===== impl Unusable =====

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the deployment of {:?} cannot be called: {}", self.alias, self.source)
    }
}

impl std::error::Error for Unusable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_group_take_turns_whatever_is_called_in_between() {
        let item = |alias: &str, model: &str| {
            format!(
                "  - {{model_name: '{alias}', litellm_params: {{model: 'openai/{model}', api_key: k}}}}\n"
            )
        };
        let items = [item("a", "a1"), item("a", "a2"), item("b", "b1"), item("b", "b2"), item("w-*", "w-*")];
        let text = format!("model_list:\n{}", items.concat());
        let (config, _) = Config::parse(&text, "config.yaml", &|_| None).expect("is valid");
        let groups = Groups::new(&config).expect("can be called");
        let called: Vec<_> = ["a", "b", "w-1", "a", "b", "w-2", "a"]
            .iter()
            .map(|name| groups.target(&config, name, false).expect("is known").0.model().to_owned())
            .collect();
        assert_eq!(called, ["a1", "b1", "w-1", "a2", "b2", "w-2", "a1"]);
        assert!(groups.target(&config, "c", false).is_none());
    }

    #[test]
    fn a_stream_has_a_timeout_of_its_own() {
        let text = "model_list: [{model_name: a, litellm_params: {model: openai/m, api_key: k, timeout: 5, stream_timeout: 7}}]";
        let (config, _) = Config::parse(text, "config.yaml", &|_| None).expect("is valid");
        let groups = Groups::new(&config).expect("can be called");
        let timeout = |stream| groups.target(&config, "a", stream).expect("is known").1;
        assert_eq!([timeout(false), timeout(true)], [5, 7].map(|seconds| Some(Duration::from_secs(seconds))));
    }
}

//! What a deployment says of how calls come to it.

use std::time::Duration;

use super::{ByCause, MOST_RETRIES};
use crate::config::diagnostic::Report;
use crate::config::node::Node;
use crate::config::value::{measure, pause, up_to};

/// How calls come to a deployment; what is `None` is left to the file as a whole.
#[derive(Debug)]
pub(crate) struct DeploymentRouting {
    /// `weight`: its share of its group's calls, beside those of the others.
    pub(crate) weight: Option<f64>,
    /// `order`: those of the lowest are called while there are any.
    pub(crate) order: Option<u32>,
    /// `tags`: of the calls that it is for; `default` is those without.
    pub(crate) tags: Vec<String>,
    /// `num_retries`, else `max_retries`.
    pub(crate) retries: Option<u32>,
    /// `cooldown_time`; zero is none.
    pub(crate) cooldown: Option<Duration>,
    /// `allowed_fails`: how many failures are borne.
    pub(crate) allowed_fails: Option<u32>,
    /// `allowed_fails_policy`: the same by cause.
    pub(crate) allowed_fails_by_cause: ByCause,
    /// `disable_background_health_check`, the other way round: whether it is probed.
    pub(crate) is_probed: bool,
}

// ===== impl DeploymentRouting =====

impl DeploymentRouting {
    /// Reads it from `litellm_params` and `model_info`; where both have a key, that goes before which does in LiteLLM, which is `model_info`.
    pub(in crate::config) fn read(params: &Node, info: Option<&Node>, report: &mut Report) -> Self {
        let either = |key: &str| info.and_then(|info| info.get(key)).or_else(|| params.get(key));
        let retries = ["num_retries", "max_retries"].map(|key| up_to(MOST_RETRIES, params.get(key), report));
        let tags = params.get("tags").map_or(&[][..], Node::items);
        let unprobed = info.and_then(|info| info.get("disable_background_health_check"));
        Self {
            weight: measure(params.get("weight"), report),
            order: up_to(u32::MAX, params.get("order"), report),
            tags: tags.iter().filter_map(Node::text).map(str::to_owned).collect(),
            retries: retries[0].or(retries[1]),
            cooldown: pause(either("cooldown_time"), report),
            allowed_fails: up_to(u32::MAX, either("allowed_fails"), report),
            allowed_fails_by_cause: ByCause::allowed_fails(either("allowed_fails_policy"), report),
            is_probed: unprobed.and_then(Node::flag) != Some(true),
        }
    }
}

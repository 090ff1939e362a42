//! The keys of the mappings within the settings of routing.

use super::super::keys::{
    Kind::{Any, Number, Text},
    Policy::{Ignore, Read},
    Section, Unknown, group,
};

/// `router_settings.retry_policy`, and each of `model_group_retry_policy`.
pub(super) const RETRY_POLICY: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[group(
        Read,
        Number,
        "BadRequestErrorRetries AuthenticationErrorRetries NotFoundErrorRetries TimeoutErrorRetries
         RateLimitErrorRetries ContentPolicyViolationErrorRetries InternalServerErrorRetries
         ServiceUnavailableErrorRetries DefaultRetries",
    )],
};

/// `allowed_fails_policy`, of the router and of a deployment.
pub(super) const ALLOWED_FAILS_POLICY: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[group(
        Read,
        Number,
        "BadRequestErrorAllowedFails AuthenticationErrorAllowedFails NotFoundErrorAllowedFails
         TimeoutErrorAllowedFails RateLimitErrorAllowedFails ContentPolicyViolationErrorAllowedFails
         InternalServerErrorAllowedFails ServiceUnavailableErrorAllowedFails BadGatewayErrorAllowedFails",
    )],
};

/// `router_settings.routing_strategy_args`.
pub(super) const STRATEGY_ARGS: Section = Section {
    unknown: Unknown::Note,
    groups: &[
        group(Read, Number, "ttl lowest_latency_buffer"),
        group(Ignore, Number, "max_latency_list_size ttft_percentile"),
    ],
};

/// `ziggurat_settings.shadow[]`.
pub(super) const SHADOW: Section = Section {
    unknown: Unknown::Refuse,
    groups: &[group(Read, Text, "group to budget_duration"), group(Read, Any, "share max_budget")],
};

/// `ziggurat_settings.retry_budget`.
pub(super) const RETRY_BUDGET: Section =
    Section { unknown: Unknown::Refuse, groups: &[group(Read, Any, "share per_second")] };

/// `ziggurat_settings.probes`.
pub(super) const PROBES: Section =
    Section { unknown: Unknown::Refuse, groups: &[group(Read, Number, "every")] };

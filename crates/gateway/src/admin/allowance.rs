//! What a request says somebody may spend and use, and what they are to be tagged with.

use std::collections::BTreeMap;

use serde_json::{Map, Value, value::RawValue};
use ziggurat_core::Usd;
use ziggurat_sql::directory::{Allowance, ModelBudget};

use super::{
    errors::Refusal,
    fields::{self, Fields},
    given::Given,
};

/// What a request says somebody may spend and use.
#[derive(Debug, Default)]
pub(super) struct AllowanceFields {
    max_budget: Given<Usd>,
    soft_budget: Given<Usd>,
    budget_duration: Given<String>,
    tpm_limit: Given<u64>,
    rpm_limit: Given<u64>,
    max_parallel_requests: Given<u64>,
    model_max_budget: Given<BTreeMap<String, ModelBudget>>,
    model_tpm_limit: Given<BTreeMap<String, u64>>,
    model_rpm_limit: Given<BTreeMap<String, u64>>,
}

/// What is noted of somebody, and its tags, which LiteLLM keeps among the notes.
#[derive(Debug)]
pub(super) struct Notes {
    metadata: Given<Map<String, Value>>,
    tags: Given<Vec<String>>,
}

// ===== impl AllowanceFields =====

impl AllowanceFields {
    pub(super) fn read(from: &mut Fields) -> Result<Self, Refusal> {
        Ok(Self {
            max_budget: from.amount("max_budget")?,
            soft_budget: from.amount("soft_budget")?,
            budget_duration: from.duration("budget_duration")?,
            tpm_limit: from.count("tpm_limit")?,
            rpm_limit: from.count("rpm_limit")?,
            max_parallel_requests: from.count("max_parallel_requests")?,
            model_max_budget: from.of_models("model_max_budget", model_budget)?,
            model_tpm_limit: from.of_models("model_tpm_limit", fields::count)?,
            model_rpm_limit: from.of_models("model_rpm_limit", fields::count)?,
        })
    }

    /// What one member may spend and use.
    pub(super) fn of_member(from: &mut Fields) -> Result<Self, Refusal> {
        Ok(Self {
            max_budget: from.amount("max_budget_in_team")?,
            budget_duration: from.duration("budget_duration")?,
            tpm_limit: from.count("tpm_limit")?,
            rpm_limit: from.count("rpm_limit")?,
            ..Self::default()
        })
    }

    /// What each member may spend and use, as a team says it.
    pub(super) fn of_members(from: &mut Fields) -> Result<Self, Refusal> {
        Ok(Self {
            max_budget: from.amount("team_member_budget")?,
            budget_duration: from.duration("team_member_budget_duration")?,
            tpm_limit: from.count("team_member_tpm_limit")?,
            rpm_limit: from.count("team_member_rpm_limit")?,
            ..Self::default()
        })
    }

    pub(super) fn put(self, to: &mut Allowance) {
        self.max_budget.put(&mut to.max_budget);
        self.soft_budget.put(&mut to.soft_budget);
        self.budget_duration.put(&mut to.budget_duration);
        self.tpm_limit.put(&mut to.tpm_limit);
        self.rpm_limit.put(&mut to.rpm_limit);
        self.max_parallel_requests.put(&mut to.max_parallel_requests);
        self.model_max_budget.put_in(&mut to.model_max_budget);
        self.model_tpm_limit.put_in(&mut to.model_tpm_limit);
        self.model_rpm_limit.put_in(&mut to.model_rpm_limit);
    }

    /// Changes an allowance that is not there where it says nothing.
    pub(super) fn put_in(self, to: &mut Option<Allowance>) {
        let mut changed = to.take().unwrap_or_default();
        self.put(&mut changed);
        *to = (changed != Allowance::default()).then_some(changed);
    }
}

/// A model's budget, in any of the forms that LiteLLM reads.
fn model_budget(raw: &RawValue, path: &str) -> Result<ModelBudget, Refusal> {
    if fields::is_number(raw) {
        return Ok(ModelBudget::new(fields::amount(raw, path)?, None));
    }
    let mut stated = Fields::nested(raw, path)?;
    let either = |stated: &Fields, one, other| if stated.has(one) { one } else { other };
    let amount = either(&stated, "budget_limit", "max_budget");
    let duration = either(&stated, "time_period", "budget_duration");
    let named = stated.named(amount);
    let max_budget = stated.amount(amount)?.value().ok_or_else(|| Refusal::missing(&named))?;
    let budget_duration = stated.duration(duration)?.value();
    stated.finish()?;
    Ok(ModelBudget::new(max_budget, budget_duration))
}

// ===== impl Notes =====

impl Notes {
    /// Reads `metadata` and, where they may be stated, `tags`, which may stand in `metadata` too.
    pub(super) fn read(from: &mut Fields, with_tags: bool) -> Result<Self, Refusal> {
        let mut metadata = from.notes("metadata")?;
        let mut tags = if with_tags { from.texts("tags")? } else { Given::Absent };
        if let Given::Value(notes) = &mut metadata {
            // LiteLLM heeds them there. To keep them as a note would be to drop them silently.
            if let Some(name) = HEEDED.iter().find(|name| notes.contains_key(**name)) {
                let why = "is only heeded outside of metadata, if it is";
                return Err(Refusal::invalid(format!("metadata.{name}"), why));
            }
            if with_tags && let Some(within) = notes.remove("tags") {
                let within: Option<Vec<String>> = serde_json::from_value(within)
                    .map_err(|_| Refusal::wrong_type("metadata.tags", "a list of strings"))?;
                tags = match (tags, within) {
                    (Given::Value(mut tags), within) => {
                        let more = within.unwrap_or_default().into_iter();
                        let more: Vec<_> = more.filter(|tag| !tags.contains(tag)).collect();
                        tags.extend(more);
                        Given::Value(tags)
                    }
                    (Given::Absent, Some(within)) => Given::Value(within),
                    (tags, _) => tags,
                };
            }
        }
        Ok(Self { metadata, tags })
    }

    pub(super) fn put(self, metadata: &mut Map<String, Value>, tags: &mut Vec<String>) {
        self.metadata.put_in(metadata);
        self.tags.put_in(tags);
    }

    pub(super) fn put_metadata(self, metadata: &mut Map<String, Value>) {
        self.metadata.put_in(metadata);
    }
}

/// What LiteLLM heeds in `metadata`, and here has a field of its own or none.
const HEEDED: [&str; 14] = [
    "model_rpm_limit",
    "model_tpm_limit",
    "tag_rpm_limit",
    "tag_tpm_limit",
    "mcp_rpm_limit",
    "rpm_limit_type",
    "tpm_limit_type",
    "guardrails",
    "policies",
    "prompts",
    "logging",
    "enforced_params",
    "soft_budget",
    "allowed_passthrough_routes",
];

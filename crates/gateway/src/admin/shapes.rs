//! Answers, in LiteLLM's shapes.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Serialize, Serializer, ser::Error};
use serde_json::{Map, Value, value::RawValue};
use ziggurat_budget::Balance;
use ziggurat_core::Usd;
use ziggurat_sql::directory::{Allowance, BudgetTemplate, Customer, Key, Member, Team, User};

/// An amount, in all its digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Money(Usd);

/// A moment: ISO 8601, UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(SystemTime);

/// What was spent in the window, `null` when nobody can tell, and when that is forgotten.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Stands {
    spend: Option<Money>,
    budget_reset_at: Option<Moment>,
}

#[derive(Debug, Serialize)]
pub(super) struct Allowed {
    max_budget: Option<Money>,
    soft_budget: Option<Money>,
    budget_duration: Option<String>,
    tpm_limit: Option<u64>,
    rpm_limit: Option<u64>,
    max_parallel_requests: Option<u64>,
    model_max_budget: BTreeMap<String, OfModel>,
    model_tpm_limit: BTreeMap<String, u64>,
    model_rpm_limit: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct OfModel {
    max_budget: Money,
    budget_duration: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct KeyShape {
    token: String,
    key_name: String,
    key_alias: Option<String>,
    #[serde(flatten)]
    stands: Stands,
    expires: Option<Moment>,
    models: Vec<String>,
    aliases: BTreeMap<String, String>,
    config: Map<String, Value>,
    permissions: Map<String, Value>,
    user_id: Option<String>,
    team_id: Option<String>,
    organization_id: Option<String>,
    metadata: Map<String, Value>,
    tags: Vec<String>,
    allowed_routes: Vec<String>,
    blocked: bool,
    #[serde(flatten)]
    allowed: Allowed,
    budget_id: Option<String>,
    litellm_budget_table: Option<BudgetShape>,
    created_at: Option<Moment>,
    created_by: Option<String>,
    updated_at: Option<Moment>,
}

#[derive(Debug, Serialize)]
pub(super) struct TeamShape {
    team_id: String,
    team_alias: Option<String>,
    organization_id: Option<String>,
    admins: Vec<String>,
    members: Vec<String>,
    members_with_roles: Vec<RoleShape>,
    metadata: Map<String, Value>,
    tags: Vec<String>,
    #[serde(flatten)]
    stands: Stands,
    models: Vec<String>,
    model_aliases: BTreeMap<String, String>,
    blocked: bool,
    #[serde(flatten)]
    allowed: Allowed,
    budget_id: Option<String>,
    litellm_budget_table: Option<BudgetShape>,
    team_member_budget_table: Option<Allowed>,
    created_at: Option<Moment>,
    updated_at: Option<Moment>,
}

#[derive(Debug, Serialize)]
struct RoleShape {
    user_id: String,
    role: String,
}

#[derive(Debug, Serialize)]
pub(super) struct MemberShape {
    user_id: String,
    team_id: String,
    role: String,
    #[serde(flatten)]
    stands: Stands,
    budget_id: Option<String>,
    /// What holds for the member itself.
    litellm_budget_table: Option<Allowed>,
    created_at: Option<Moment>,
}

#[derive(Debug, Serialize)]
pub(super) struct UserShape {
    user_id: String,
    user_email: Option<String>,
    user_alias: Option<String>,
    user_role: Option<String>,
    teams: Vec<String>,
    models: Vec<String>,
    metadata: Map<String, Value>,
    #[serde(flatten)]
    stands: Stands,
    blocked: bool,
    #[serde(flatten)]
    allowed: Allowed,
    budget_id: Option<String>,
    created_at: Option<Moment>,
    updated_at: Option<Moment>,
}

#[derive(Debug, Serialize)]
pub(super) struct CustomerShape {
    user_id: String,
    alias: Option<String>,
    blocked: bool,
    #[serde(flatten)]
    stands: Stands,
    allowed_model_region: Option<String>,
    default_model: Option<String>,
    budget_id: Option<String>,
    litellm_budget_table: Option<BudgetShape>,
    created_at: Option<Moment>,
    updated_at: Option<Moment>,
}

#[derive(Debug, Serialize)]
pub(super) struct BudgetShape {
    budget_id: Option<String>,
    #[serde(flatten)]
    allowed: Allowed,
    created_at: Option<Moment>,
    updated_at: Option<Moment>,
}

// ===== constructors =====

impl Stands {
    /// Nothing is counted, and so nothing is spent.
    pub(super) fn uncounted() -> Self {
        Self { spend: Some(Money(Usd::ZERO)), budget_reset_at: None }
    }

    pub(super) fn of(balance: Option<Balance>) -> Self {
        Self {
            spend: balance.map(|balance| Money(balance.spent)),
            budget_reset_at: balance.and_then(|balance| balance.resets_at).map(Moment),
        }
    }
}

impl Allowed {
    pub(super) fn of(allowance: &Allowance) -> Self {
        let of_model = |budget: &ziggurat_sql::directory::ModelBudget| OfModel {
            max_budget: Money(budget.max_budget),
            budget_duration: budget.budget_duration.clone(),
        };
        let models = allowance.model_max_budget.iter();
        Self {
            max_budget: allowance.max_budget.map(Money),
            soft_budget: allowance.soft_budget.map(Money),
            budget_duration: allowance.budget_duration.clone(),
            tpm_limit: allowance.tpm_limit,
            rpm_limit: allowance.rpm_limit,
            max_parallel_requests: allowance.max_parallel_requests,
            model_max_budget: models.map(|(model, budget)| (model.clone(), of_model(budget))).collect(),
            model_tpm_limit: allowance.model_tpm_limit.clone(),
            model_rpm_limit: allowance.model_rpm_limit.clone(),
        }
    }
}

impl KeyShape {
    pub(super) fn of(key: Key, template: Option<BudgetTemplate>, stands: Stands) -> Self {
        Self {
            token: key.hash.to_string(),
            key_name: key.name,
            key_alias: key.alias,
            stands,
            expires: key.expires_at.map(Moment),
            models: key.models,
            aliases: key.aliases,
            config: Map::new(),
            permissions: Map::new(),
            user_id: key.user,
            team_id: key.team,
            organization_id: key.organisation,
            metadata: with_tags(key.metadata, &key.tags),
            tags: key.tags,
            allowed_routes: key.routes,
            blocked: key.blocked,
            allowed: Allowed::of(&key.allowance),
            budget_id: key.budget,
            litellm_budget_table: template.map(BudgetShape::of),
            created_at: key.created_at.map(Moment),
            created_by: key.created_by,
            updated_at: key.updated_at.map(Moment),
        }
    }
}

impl TeamShape {
    pub(super) fn of(
        team: Team,
        template: Option<BudgetTemplate>,
        members: &[Member],
        stands: Stands,
    ) -> Self {
        let role = |member: &Member| RoleShape { user_id: member.user.clone(), role: role(member) };
        Self {
            team_id: team.id,
            team_alias: team.alias,
            organization_id: team.organisation,
            admins: Vec::new(),
            members: Vec::new(),
            members_with_roles: members.iter().map(role).collect(),
            metadata: with_tags(team.metadata, &team.tags),
            tags: team.tags,
            stands,
            models: team.models,
            model_aliases: team.aliases,
            blocked: team.blocked,
            allowed: Allowed::of(&team.allowance),
            budget_id: team.budget,
            litellm_budget_table: template.map(BudgetShape::of),
            team_member_budget_table: team.member_allowance.as_ref().map(Allowed::of),
            created_at: team.created_at.map(Moment),
            updated_at: team.updated_at.map(Moment),
        }
    }
}

impl MemberShape {
    pub(super) fn of(member: Member, stands: Stands) -> Self {
        let is_limited = member.allowance != Allowance::default();
        Self {
            role: role(&member),
            user_id: member.user,
            team_id: member.team,
            stands,
            budget_id: member.budget,
            litellm_budget_table: is_limited.then(|| Allowed::of(&member.allowance)),
            created_at: member.created_at.map(Moment),
        }
    }
}

impl UserShape {
    pub(super) fn of(user: User, teams: Vec<String>, stands: Stands) -> Self {
        Self {
            user_id: user.id,
            user_email: user.email,
            user_alias: user.alias,
            user_role: user.role,
            teams,
            models: user.models,
            metadata: user.metadata,
            stands,
            blocked: user.blocked,
            allowed: Allowed::of(&user.allowance),
            budget_id: user.budget,
            created_at: user.created_at.map(Moment),
            updated_at: user.updated_at.map(Moment),
        }
    }
}

impl CustomerShape {
    pub(super) fn of(customer: Customer, template: Option<BudgetTemplate>, stands: Stands) -> Self {
        let own = (customer.allowance != Allowance::default()).then(|| BudgetShape {
            budget_id: None,
            allowed: Allowed::of(&customer.allowance),
            created_at: None,
            updated_at: None,
        });
        Self {
            user_id: customer.id,
            alias: customer.alias,
            blocked: customer.blocked,
            stands,
            allowed_model_region: None,
            default_model: None,
            budget_id: customer.budget,
            litellm_budget_table: own.or_else(|| template.map(BudgetShape::of)),
            created_at: customer.created_at.map(Moment),
            updated_at: customer.updated_at.map(Moment),
        }
    }
}

impl BudgetShape {
    pub(super) fn of(template: BudgetTemplate) -> Self {
        Self {
            budget_id: Some(template.id),
            allowed: Allowed::of(&template.allowance),
            created_at: template.created_at.map(Moment),
            updated_at: template.updated_at.map(Moment),
        }
    }
}

/// LiteLLM shows tags among the notes.
fn with_tags(mut metadata: Map<String, Value>, tags: &[String]) -> Map<String, Value> {
    if !tags.is_empty() {
        metadata.insert("tags".to_owned(), tags.into());
    }
    metadata
}

fn role(member: &Member) -> String {
    member.role.clone().unwrap_or_else(|| "user".to_owned())
}

// ===== values =====

impl From<Usd> for Money {
    fn from(amount: Usd) -> Self {
        Self(amount)
    }
}

impl From<SystemTime> for Moment {
    fn from(at: SystemTime) -> Self {
        Self(at)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut digits = self.0.to_string();
        if !digits.contains('.') {
            // As LiteLLM's, for clients that tell apart what is whole and what is not.
            digits += ".0";
        }
        RawValue::from_string(digits).map_err(S::Error::custom)?.serialize(to)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let at = jiff::Timestamp::try_from(self.0).map_err(S::Error::custom)?;
        to.serialize_str(&format!("{at:.6}"))
    }
}

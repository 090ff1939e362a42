//! Where somebody's own budget stands, counted where the directory says that it is.

use ziggurat_auth::KeyStore;
use ziggurat_budget::calendar;
use ziggurat_core::{Budget, Scope, ScopeKind, Usd, Window};
use ziggurat_sql::directory::{Allowance, BudgetTemplate, Customer, DirectoryError, Key, Member, Team, User};

use super::{
    Context,
    errors::Refusal,
    shapes::{CustomerShape, KeyShape, MemberShape, Stands, TeamShape, UserShape},
};

impl Context<'_> {
    pub(super) async fn show_key(&self, key: Key) -> Result<KeyShape, Refusal> {
        let template = self.template(key.budget.as_deref()).await?;
        let scope = Scope::new(ScopeKind::Key, key.id.as_str());
        let stands = self.stands(scope, &[Some(&key.allowance), of(template.as_ref())]).await;
        Ok(KeyShape::of(key, template, stands))
    }

    pub(super) async fn show_team(&self, team: Team, members: &[Member]) -> Result<TeamShape, Refusal> {
        let template = self.template(team.budget.as_deref()).await?;
        let scope = Scope::new(ScopeKind::Team, team.id.as_str());
        let stands = self.stands(scope, &[Some(&team.allowance), of(template.as_ref())]).await;
        Ok(TeamShape::of(team, template, members, stands))
    }

    pub(super) async fn show_member(&self, member: Member, team: &Team) -> Result<MemberShape, Refusal> {
        let template = self.template(member.budget.as_deref()).await?;
        // As the directory names it.
        let id = format!("{} {} {}", member.team.len(), member.team, member.user);
        let filled = [Some(&member.allowance), of(template.as_ref()), team.member_allowance.as_ref()];
        let stands = self.stands(Scope::new(ScopeKind::Member, id), &filled).await;
        Ok(MemberShape::of(member, stands))
    }

    pub(super) async fn show_user(&self, user: User, teams: Vec<String>) -> Result<UserShape, Refusal> {
        let template = self.template(user.budget.as_deref()).await?;
        let scope = Scope::new(ScopeKind::User, user.id.as_str());
        let stands = self.stands(scope, &[Some(&user.allowance), of(template.as_ref())]).await;
        Ok(UserShape::of(user, teams, stands))
    }

    pub(super) async fn show_customer(&self, customer: Customer) -> Result<CustomerShape, Refusal> {
        let template = self.template(customer.budget.as_deref()).await?;
        // The directory alone knows of a template for all of them.
        let stands = match self.directory.customer(&customer.id).await {
            Ok(Some(record)) => match record.budgets.iter().find(|of| of.account.models.is_none()) {
                Some(budget) => Stands::of((self.admin.balance)(budget).await),
                None => Stands::uncounted(),
            },
            Ok(None) => Stands::uncounted(),
            Err(_) => Stands::default(),
        };
        Ok(CustomerShape::of(customer, template, stands))
    }

    pub(super) async fn template(&self, id: Option<&str>) -> Result<Option<BudgetTemplate>, Refusal> {
        let Some(id) = id else { return Ok(None) };
        found(self.directory.get_budget(id).await).map_err(|error| self.refuse(error))
    }

    /// Where the budget of a scope stands, by the first allowances that say what it is.
    async fn stands(&self, scope: Scope, allowances: &[Option<&Allowance>]) -> Stands {
        let (mut has_cap, mut duration) = (false, None);
        for allowance in allowances.iter().flatten() {
            // A cap comes with its own window, also if that is for ever.
            if !has_cap {
                has_cap = allowance.max_budget.is_some();
                duration = duration.or(allowance.budget_duration.as_deref());
            }
        }
        let window = match duration.map(|duration| calendar::window(duration, &self.admin.zone)) {
            None => Window::Lifetime,
            Some(Ok(window)) => window,
            Some(Err(_)) => return Stands::default(),
        };
        Stands::of((self.admin.balance)(&Budget::new(scope, Usd::ZERO, window)).await)
    }
}

fn of(template: Option<&BudgetTemplate>) -> Option<&Allowance> {
    template.map(|template| &template.allowance)
}

/// What is there, if it is.
pub(super) fn found<T>(looked_up: Result<T, DirectoryError>) -> Result<Option<T>, DirectoryError> {
    match looked_up {
        Ok(found) => Ok(Some(found)),
        Err(DirectoryError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

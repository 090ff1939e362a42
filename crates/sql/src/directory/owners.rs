//! Whom keys and budgets belong to: teams, their members, users, end users, and templates of budgets.

use super::{
    BudgetTemplate, Customer, Directory, DirectoryError, Listed, Member, MemberFilter, Page, Team,
    TeamFilter, User, UserFilter,
};

/// Teams.
impl Directory {
    /// Adds a team, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_team(&self, team: Team) -> Result<Team, DirectoryError> {
        self.insert(team).await
    }

    /// The team of that id.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_team(&self, id: &str) -> Result<Team, DirectoryError> {
        self.get(&[id]).await
    }

    /// Reads a team, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_team<F>(&self, id: &str, change: F) -> Result<Team, DirectoryError>
    where
        F: FnOnce(&mut Team) -> Result<(), DirectoryError> + Send,
    {
        self.update(&[id], change).await
    }

    /// Deletes a team, its keys and its memberships.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn delete_team(&self, id: &str) -> Result<(), DirectoryError> {
        self.delete::<Team>(&[id], &[]).await
    }

    /// Lists teams.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list_teams(&self, filter: &TeamFilter, page: Page) -> Result<Listed<Team>, DirectoryError> {
        self.list(
            TEAMS,
            &[filter.alias.as_deref(), filter.organisation.as_deref(), filter.member.as_deref()],
            page,
        )
        .await
    }

    /// Blocks a team, or lets it in again.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn set_team_blocked(&self, id: &str, blocked: bool) -> Result<Team, DirectoryError> {
        self.update(&[id], |team: &mut Team| {
            team.blocked = blocked;
            Ok(())
        })
        .await
    }
}

/// Users.
impl Directory {
    /// Adds a user, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_user(&self, user: User) -> Result<User, DirectoryError> {
        self.insert(user).await
    }

    /// The user of that id.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_user(&self, id: &str) -> Result<User, DirectoryError> {
        self.get(&[id]).await
    }

    /// Reads a user, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_user<F>(&self, id: &str, change: F) -> Result<User, DirectoryError>
    where
        F: FnOnce(&mut User) -> Result<(), DirectoryError> + Send,
    {
        self.update(&[id], change).await
    }

    /// Deletes a user, its keys (those of teams too) and its memberships.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn delete_user(&self, id: &str) -> Result<(), DirectoryError> {
        self.delete::<User>(
            &[id],
            &["DELETE FROM api_key WHERE user_id = $1", "DELETE FROM team_member WHERE user_id = $1"],
        )
        .await
    }

    /// Lists users.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list_users(&self, filter: &UserFilter, page: Page) -> Result<Listed<User>, DirectoryError> {
        self.list(USERS, &[filter.email.as_deref(), filter.role.as_deref(), filter.team.as_deref()], page)
            .await
    }

    /// Blocks a user, or lets it in again.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn set_user_blocked(&self, id: &str, blocked: bool) -> Result<User, DirectoryError> {
        self.update(&[id], |user: &mut User| {
            user.blocked = blocked;
            Ok(())
        })
        .await
    }
}

/// End users.
impl Directory {
    /// Adds an end user, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_customer(&self, customer: Customer) -> Result<Customer, DirectoryError> {
        self.insert(customer).await
    }

    /// The end user of that id.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_customer(&self, id: &str) -> Result<Customer, DirectoryError> {
        self.get(&[id]).await
    }

    /// Reads an end user, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_customer<F>(&self, id: &str, change: F) -> Result<Customer, DirectoryError>
    where
        F: FnOnce(&mut Customer) -> Result<(), DirectoryError> + Send,
    {
        self.update(&[id], change).await
    }

    /// Deletes an end user.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn delete_customer(&self, id: &str) -> Result<(), DirectoryError> {
        self.delete::<Customer>(&[id], &[]).await
    }

    /// Lists end users.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list_customers(&self, page: Page) -> Result<Listed<Customer>, DirectoryError> {
        self.list(CUSTOMERS, &[], page).await
    }

    /// Blocks an end user, or lets it in again.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn set_customer_blocked(&self, id: &str, blocked: bool) -> Result<Customer, DirectoryError> {
        self.update(&[id], |customer: &mut Customer| {
            customer.blocked = blocked;
            Ok(())
        })
        .await
    }
}

/// Templates of budgets.
impl Directory {
    /// Adds a template of budgets, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_budget(&self, budget: BudgetTemplate) -> Result<BudgetTemplate, DirectoryError> {
        self.insert(budget).await
    }

    /// The template of budgets of that id.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_budget(&self, id: &str) -> Result<BudgetTemplate, DirectoryError> {
        self.get(&[id]).await
    }

    /// Reads a template of budgets, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_budget<F>(&self, id: &str, change: F) -> Result<BudgetTemplate, DirectoryError>
    where
        F: FnOnce(&mut BudgetTemplate) -> Result<(), DirectoryError> + Send,
    {
        self.update(&[id], change).await
    }

    /// Deletes a template of budgets.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, [`DirectoryError::Conflict`] while something names it.
    pub async fn delete_budget(&self, id: &str) -> Result<(), DirectoryError> {
        self.delete::<BudgetTemplate>(&[id], &[]).await
    }

    /// Lists templates of budgets.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list_budgets(&self, page: Page) -> Result<Listed<BudgetTemplate>, DirectoryError> {
        self.list(BUDGETS, &[], page).await
    }
}

/// Memberships.
impl Directory {
    /// Adds a user to a team.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when it is there already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn add_member(&self, member: Member) -> Result<Member, DirectoryError> {
        self.insert(member).await
    }

    /// The membership of a user in a team.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_member(&self, team: &str, user: &str) -> Result<Member, DirectoryError> {
        self.get(&[team, user]).await
    }

    /// Reads a membership, changes it and stores it, in one step.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_member<F>(&self, team: &str, user: &str, change: F) -> Result<Member, DirectoryError>
    where
        F: FnOnce(&mut Member) -> Result<(), DirectoryError> + Send,
    {
        self.update(&[team, user], change).await
    }

    /// Takes a user out of a team. Its keys of that team stay.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when it is not in it.
    pub async fn remove_member(&self, team: &str, user: &str) -> Result<(), DirectoryError> {
        self.delete::<Member>(&[team, user], &[]).await
    }

    /// Lists memberships.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list_members(
        &self,
        filter: &MemberFilter,
        page: Page,
    ) -> Result<Listed<Member>, DirectoryError> {
        self.list(MEMBERS, &[filter.team.as_deref(), filter.user.as_deref()], page).await
    }
}

const TEAMS: [&str; 2] = [
    "SELECT document FROM team WHERE (alias = $1 OR $1 IS NULL)
       AND (organisation = $2 OR $2 IS NULL)
       AND (id IN (SELECT team_id FROM team_member WHERE user_id = $3) OR $3 IS NULL)
     ORDER BY created_at, id LIMIT $4 OFFSET $5",
    "SELECT count(*) FROM team WHERE (alias = $1 OR $1 IS NULL)
       AND (organisation = $2 OR $2 IS NULL)
       AND (id IN (SELECT team_id FROM team_member WHERE user_id = $3) OR $3 IS NULL)",
];

const USERS: [&str; 2] = [
    "SELECT document FROM app_user WHERE (email = $1 OR $1 IS NULL)
       AND (role = $2 OR $2 IS NULL)
       AND (id IN (SELECT user_id FROM team_member WHERE team_id = $3) OR $3 IS NULL)
     ORDER BY created_at, id LIMIT $4 OFFSET $5",
    "SELECT count(*) FROM app_user WHERE (email = $1 OR $1 IS NULL)
       AND (role = $2 OR $2 IS NULL)
       AND (id IN (SELECT user_id FROM team_member WHERE team_id = $3) OR $3 IS NULL)",
];

const CUSTOMERS: [&str; 2] = [
    "SELECT document FROM customer
     ORDER BY created_at, id LIMIT $1 OFFSET $2",
    "SELECT count(*) FROM customer",
];

const BUDGETS: [&str; 2] = [
    "SELECT document FROM budget_template
     ORDER BY created_at, id LIMIT $1 OFFSET $2",
    "SELECT count(*) FROM budget_template",
];

const MEMBERS: [&str; 2] = [
    "SELECT document FROM team_member WHERE (team_id = $1 OR $1 IS NULL)
       AND (user_id = $2 OR $2 IS NULL)
     ORDER BY created_at, team_id, user_id LIMIT $3 OFFSET $4",
    "SELECT count(*) FROM team_member WHERE (team_id = $1 OR $1 IS NULL)
       AND (user_id = $2 OR $2 IS NULL)",
];

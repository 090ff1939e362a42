//! `/team/member_...`

use std::collections::HashSet;

use serde::Serialize;
use serde_json::value::RawValue;
use ziggurat_sql::directory::{Allowance, DirectoryError, KeyFilter, Member, Page, User, UserFilter};

use super::{
    Answer, Changed, Context,
    action::Entity,
    allowance::AllowanceFields,
    errors::Refusal,
    fields::Fields,
    given::Given,
    json, new_id,
    shapes::{MemberShape, Money, TeamShape, UserShape},
    standing::found,
};

/// Somebody who is to join a team.
pub(super) struct Joiner {
    user: Named,
    role: String,
}

/// A user, by what a request names it with: at least one of them.
struct Named {
    id: Option<String>,
    email: Option<String>,
}

#[derive(Serialize)]
struct Added {
    #[serde(flatten)]
    team: TeamShape,
    updated_users: Vec<UserShape>,
    updated_team_memberships: Vec<MemberShape>,
}

#[derive(Serialize)]
struct Updated {
    team_id: String,
    user_id: String,
    user_email: Option<String>,
    role: String,
    max_budget_in_team: Option<Money>,
    budget_duration: Option<String>,
    tpm_limit: Option<u64>,
    rpm_limit: Option<u64>,
}

impl Context<'_> {
    pub(super) async fn add_members(&self, mut fields: Fields) -> Answer {
        let id = fields.required("team_id")?;
        let joiners = Joiner::list(&mut fields, "member")?;
        if joiners.is_empty() {
            return Err(Refusal::missing("member"));
        }
        let stated = AllowanceFields::of_member(&mut fields)?;
        fields.finish()?;
        let team = self.directory.get_team(&id).await.map_err(|error| self.refuse(error))?;
        let mut allowance = Allowance::default();
        stated.put(&mut allowance);
        let joined = self.join(&id, joiners, &allowance).await?;
        let (mut updated_users, mut updated_team_memberships) = (Vec::new(), Vec::new());
        for member in joined {
            if let Some(user) = self.known(self.directory.get_user(&member.user).await)? {
                updated_users.push(self.show_whole_user(user).await?);
            }
            updated_team_memberships.push(self.show_member(member, &team).await?);
        }
        let members = self.members(Some(&id), None).await?;
        let team = self.show_team(team, &members).await?;
        json(&Added { team, updated_users, updated_team_memberships })
    }

    pub(super) async fn update_member(&self, mut fields: Fields) -> Answer {
        let team_id = fields.required("team_id")?;
        let user_id = self.one_user(&mut fields).await?;
        let role = fields.one_of("role", &ROLES)?;
        let stated = AllowanceFields::of_member(&mut fields)?;
        fields.finish()?;
        let change = |member: &mut Member| {
            role.put(&mut member.role);
            stated.put(&mut member.allowance);
            Ok(())
        };
        let done = self.directory.update_member(&team_id, &user_id, change).await;
        let member = self.settle_member(done)?;
        let user = self.known(self.directory.get_user(&user_id).await)?;
        let Member { role, allowance, .. } = member;
        json(&Updated {
            team_id,
            user_id,
            user_email: user.and_then(|user| user.email),
            role: role.unwrap_or_else(|| "user".to_owned()),
            max_budget_in_team: allowance.max_budget.map(Money::from),
            budget_duration: allowance.budget_duration,
            tpm_limit: allowance.tpm_limit,
            rpm_limit: allowance.rpm_limit,
        })
    }

    /// Takes a user out of a team, and deletes its keys of the team, as LiteLLM does.
    pub(super) async fn delete_member(&self, mut fields: Fields) -> Answer {
        let id = fields.required("team_id")?;
        let user = self.one_user(&mut fields).await?;
        fields.finish()?;
        let team = self.directory.get_team(&id).await.map_err(|error| self.refuse(error))?;
        self.settle_member(self.directory.get_member(&id, &user).await.map(drop))?;
        // Its cap goes last: what is cut short leaves no key without one, and can be asked again.
        self.delete_keys_of(&id, user.clone()).await?;
        self.settle_member(self.directory.remove_member(&id, &user).await)?;
        let members = self.members(Some(&id), None).await?;
        json(&self.show_team(team, &members).await?)
    }

    /// Deletes the keys of a team that were one user's: who is out has none.
    async fn delete_keys_of(&self, team: &str, user: String) -> Result<(), Refusal> {
        let mut filter = KeyFilter::default();
        (filter.team, filter.user) = (Some(team.to_owned()), Some(user));
        loop {
            let listed = self.directory.list_keys(&filter, Page::default()).await;
            let keys = listed.map_err(|error| self.refuse(error))?.items;
            if keys.is_empty() {
                return Ok(());
            }
            for key in keys {
                match self.directory.delete_key(&key.hash).await {
                    Err(DirectoryError::NotFound) => {}
                    deleted => self.settle(&Changed::Key(key.hash), deleted)?,
                }
            }
        }
    }

    /// Adds all of them to a team or none, and makes users of those who are not known.
    pub(super) async fn join(
        &self,
        team: &str,
        joiners: Vec<Joiner>,
        allowance: &Allowance,
    ) -> Result<Vec<Member>, Refusal> {
        let (mut members, mut users, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for joiner in joiners {
            let (id, made) = self.find_or_make(joiner.user).await?;
            let is_in = self.known(self.directory.get_member(team, &id).await)?.is_some();
            if is_in || !seen.insert(id.clone()) {
                let message = "a user that is named is in the team already, or named twice";
                return Err(Refusal::conflict(Entity::Team, "user_id", message));
            }
            let mut member = Member::new(team, id);
            member.role = Some(joiner.role);
            member.allowance = allowance.clone();
            members.push(member);
            users.extend(made);
        }
        let mut joined: Vec<Member> = Vec::new();
        let added = async {
            for member in members {
                joined.push(self.settle(&Changed::All, self.directory.add_member(member).await)?);
            }
            // Last, as they cannot be taken back: a key may name a user before it is known.
            for user in users {
                match self.directory.insert_user(user).await {
                    Err(DirectoryError::Conflict(_)) => {}
                    made => drop(self.settle(&Changed::All, made)?),
                }
            }
            Ok(())
        }
        .await;
        if let Err(refusal) = added {
            for member in &joined {
                let _ = self.settle(&Changed::All, self.directory.remove_member(team, &member.user).await);
            }
            return Err(refusal);
        }
        Ok(joined)
    }

    /// The id of a user, and the user where it is to be made.
    async fn find_or_make(&self, named: Named) -> Result<(String, Option<User>), Refusal> {
        if let Some(user) = self.find(&named).await? {
            return Ok((user.id, None));
        }
        let id = match named.id {
            Some(id) => id,
            None => new_id().map_err(|error| self.refuse(error))?,
        };
        let mut user = User::new(&*id);
        user.email = named.email;
        user.role = Some("internal_user".to_owned());
        Ok((id, Some(user)))
    }

    /// The user that is named, if it is known. Who is named twice is one and the same.
    async fn find(&self, named: &Named) -> Result<Option<User>, Refusal> {
        let by_email = match &named.email {
            Some(email) => self.user_of(email).await?,
            None => None,
        };
        let Some(id) = &named.id else { return Ok(by_email) };
        let by_id = self.known(self.directory.get_user(id).await)?;
        let is_of_another = by_email.is_some_and(|user| user.id != *id);
        let has_another = |user: &User| named.email.is_some() && user.email != named.email;
        match is_of_another || by_id.as_ref().is_some_and(has_another) {
            true => Err(Refusal::invalid("user_email", "is not that of the user of that user_id")),
            false => Ok(by_id),
        }
    }

    /// The user of an address.
    pub(super) async fn user_of(&self, email: &str) -> Result<Option<User>, Refusal> {
        let mut filter = UserFilter::default();
        filter.email = Some(email.to_owned());
        let listed = self.directory.list_users(&filter, Page::new(0, 1)).await;
        Ok(listed.map_err(|error| self.refuse(error))?.items.into_iter().next())
    }

    /// The id of the one user that a request names.
    pub(super) async fn one_user(&self, fields: &mut Fields) -> Result<String, Refusal> {
        let named = Named::read(fields)?;
        match (self.find(&named).await?, named.id) {
            (Some(user), _) => Ok(user.id),
            // A membership may be older than what is known of the user.
            (None, Some(id)) => Ok(id),
            (None, None) => Err(Refusal::not_found("user_email", "there is no user of that address")),
        }
    }

    pub(super) fn known<T>(&self, looked_up: Result<T, DirectoryError>) -> Result<Option<T>, Refusal> {
        found(looked_up).map_err(|error| self.refuse(error))
    }

    /// Who is not in the team is LiteLLM's 400.
    fn settle_member<T>(&self, done: Result<T, DirectoryError>) -> Result<T, Refusal> {
        match done {
            Err(DirectoryError::NotFound) => {
                Err(Refusal::invalid("user_id", "there is no such member in that team"))
            }
            done => self.settle(&Changed::All, done),
        }
    }
}

// ===== impl Joiner =====

impl Joiner {
    /// Reads one, or a list of them.
    pub(super) fn list(fields: &mut Fields, name: &str) -> Result<Vec<Self>, Refusal> {
        let Given::Value(raw) = fields.raw(name) else { return Ok(Vec::new()) };
        if !raw.get().starts_with('[') {
            return Ok(vec![Self::read(&raw, name)?]);
        }
        let list: Vec<Box<RawValue>> = serde_json::from_str(raw.get())
            .map_err(|_| Refusal::wrong_type(name, "a member or a list of them"))?;
        if list.len() > MOST_AT_ONCE {
            return Err(Refusal::invalid(name, format!("has at most {MOST_AT_ONCE} entries")));
        }
        list.iter().enumerate().map(|(at, raw)| Self::read(raw, &format!("{name}[{at}]"))).collect()
    }

    fn read(raw: &RawValue, path: &str) -> Result<Self, Refusal> {
        let mut fields = Fields::nested(raw, path)?;
        let user = Named::read(&mut fields)?;
        let role = fields.one_of("role", &ROLES)?.value();
        let role = role.ok_or_else(|| Refusal::missing(&fields.named("role")))?;
        fields.finish()?;
        Ok(Self { user, role })
    }
}

impl Named {
    fn read(fields: &mut Fields) -> Result<Self, Refusal> {
        let named = Self { id: fields.text("user_id")?.value(), email: fields.text("user_email")?.value() };
        match (&named.id, &named.email) {
            (None, None) => Err(Refusal::missing(&fields.named("user_id"))),
            _ => Ok(named),
        }
    }
}

const ROLES: [&str; 2] = ["admin", "user"];

/// Members in one request.
const MOST_AT_ONCE: usize = 1_000;

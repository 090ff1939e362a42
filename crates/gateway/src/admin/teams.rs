//! `/team/...`, members apart.

use std::collections::BTreeMap;

use serde::Serialize;
use ziggurat_sql::directory::{Allowance, KeyFilter, Member, MemberFilter, Page, Team, TeamFilter};

use super::{
    Answer, Changed, Context,
    allowance::{AllowanceFields, Notes},
    errors::Refusal,
    fields::Fields,
    given::Given,
    json,
    members::Joiner,
    new_id,
    query::Query,
    shapes::{KeyShape, MemberShape, TeamShape},
};

/// What a request says of a team.
struct TeamFields {
    alias: Given<String>,
    organisation: Given<String>,
    budget: Given<String>,
    allowance: AllowanceFields,
    members: AllowanceFields,
    models: Given<Vec<String>>,
    aliases: Given<BTreeMap<String, String>>,
    notes: Notes,
    blocked: Given<bool>,
}

#[derive(Serialize)]
struct Updated {
    team_id: String,
    data: TeamShape,
}

#[derive(Serialize)]
struct Info {
    team_id: String,
    team_info: TeamShape,
    keys: Vec<KeyShape>,
    team_memberships: Vec<MemberShape>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    team: TeamShape,
    keys: Vec<KeyShape>,
    team_memberships: Vec<MemberShape>,
}

#[derive(Serialize)]
struct Deleted {
    deleted_teams: Vec<String>,
}

impl Context<'_> {
    pub(super) async fn new_team(&self, mut fields: Fields) -> Answer {
        let id = match fields.text("team_id")?.value() {
            Some(id) => id,
            None => new_id().map_err(|error| self.refuse(error))?,
        };
        let joiners = Joiner::list(&mut fields, "members_with_roles")?;
        let stated = TeamFields::read(&mut fields)?;
        fields.finish()?;
        let mut team = Team::new(id);
        stated.put(&mut team);
        let team = self.settle(&Changed::All, self.directory.insert_team(team).await)?;
        let joined = self.join(&team.id, joiners, &Allowance::default()).await;
        if let Err(refusal) = joined {
            // Without those it was to have it is not what was asked for.
            let undone = self.settle(&Changed::All, self.directory.delete_team(&team.id).await);
            return Err(match undone {
                Ok(()) => refusal,
                Err(_) => refusal.and_so("the team was made, and could not be deleted again"),
            });
        }
        let members = self.members(Some(&team.id), None).await?;
        json(&self.show_team(team, &members).await?)
    }

    pub(super) async fn update_team(&self, mut fields: Fields) -> Answer {
        let id = fields.required("team_id")?;
        let stated = TeamFields::read(&mut fields)?;
        fields.finish()?;
        let change = |team: &mut Team| {
            stated.put(team);
            Ok(())
        };
        let team = self.settle(&Changed::All, self.directory.update_team(&id, change).await)?;
        let members = self.members(Some(&id), None).await?;
        json(&Updated { team_id: id, data: self.show_team(team, &members).await? })
    }

    pub(super) async fn block_team(&self, mut fields: Fields, blocked: bool) -> Answer {
        let id = fields.required("team_id")?;
        fields.finish()?;
        let team = self.settle(&Changed::All, self.directory.set_team_blocked(&id, blocked).await)?;
        let members = self.members(Some(&id), None).await?;
        json(&self.show_team(team, &members).await?)
    }

    /// Deletes teams with their keys and memberships.
    pub(super) async fn delete_teams(&self, mut fields: Fields) -> Answer {
        let ids = fields.ids("team_ids")?;
        fields.finish()?;
        let mut unknown = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            if self.known(self.directory.get_team(id).await)?.is_none() {
                unknown.push(format!("team_ids[{at}]"));
            }
        }
        if !unknown.is_empty() {
            let message = format!("no such team, and so none is deleted: {}", unknown.join(", "));
            return Err(Refusal::not_found("team_ids", message));
        }
        self.delete_all(&ids).await?;
        json(&Deleted { deleted_teams: ids })
    }

    pub(super) async fn team_info(&self, mut query: Query) -> Answer {
        let own = self.who.team.as_deref().map(ToOwned::to_owned);
        let asked = query.text("team_id");
        query.finish()?;
        if !self.who.admin && (own.is_none() || asked.is_some() && asked != own) {
            return Err(Refusal::forbidden(self.action));
        }
        let id = asked.or(own).ok_or_else(|| Refusal::missing("team_id"))?;
        let team = self.directory.get_team(&id).await.map_err(|error| self.refuse(error))?;
        let Listed { team, keys, team_memberships } = self.show_whole_team(team).await?;
        json(&Info { team_id: id, team_info: team, keys, team_memberships })
    }

    pub(super) async fn list_teams(&self, mut query: Query) -> Answer {
        let mut filter = TeamFilter::default();
        filter.member = query.text("user_id");
        filter.organisation = query.text("organization_id");
        filter.alias = query.text("team_alias");
        query.finish()?;
        let mut shown = Vec::new();
        let mut offset = 0;
        loop {
            let page = Page::new(offset, AT_ONCE);
            let listed =
                self.directory.list_teams(&filter, page).await.map_err(|error| self.refuse(error))?;
            offset += u64::from(AT_ONCE);
            for team in listed.items {
                shown.push(self.show_whole_team(team).await?);
            }
            if offset >= listed.total {
                return json(&shown);
            }
        }
    }

    /// A team with its members and keys; those who are no administrators see of these what is their own.
    async fn show_whole_team(&self, team: Team) -> Result<Listed, Refusal> {
        let mut members = self.members(Some(&team.id), None).await?;
        members.retain(|member| self.who.admin || self.who.user.as_deref() == Some(&*member.user));
        let mut team_memberships = Vec::with_capacity(members.len());
        for member in &members {
            team_memberships.push(self.show_member(member.clone(), &team).await?);
        }
        let mut filter = KeyFilter::default();
        filter.team = Some(team.id.clone());
        let keys = self.show_keys(&filter, |key| self.who.admin || self.who.key == Some(key.hash)).await?;
        let team = self.show_team(team, &members).await?;
        Ok(Listed { team, keys, team_memberships })
    }

    /// All memberships of a team or a user.
    pub(super) async fn members(
        &self,
        team: Option<&str>,
        user: Option<&str>,
    ) -> Result<Vec<Member>, Refusal> {
        let mut filter = MemberFilter::default();
        filter.team = team.map(ToOwned::to_owned);
        filter.user = user.map(ToOwned::to_owned);
        let mut members = Vec::new();
        loop {
            let page = Page::new(members.len() as u64, AT_ONCE);
            let listed = self.directory.list_members(&filter, page).await;
            let listed = listed.map_err(|error| self.refuse(error))?;
            let is_last = listed.items.len() < AT_ONCE as usize;
            members.extend(listed.items);
            if is_last {
                return Ok(members);
            }
        }
    }
}

// ===== impl TeamFields =====

impl TeamFields {
    fn read(from: &mut Fields) -> Result<Self, Refusal> {
        Ok(Self {
            alias: from.text("team_alias")?,
            organisation: from.text("organization_id")?,
            budget: from.text("budget_id")?,
            allowance: AllowanceFields::read(from)?,
            members: AllowanceFields::of_members(from)?,
            models: from.texts("models")?,
            aliases: from.of_models("model_aliases", |raw, path| {
                serde_json::from_str(raw.get()).map_err(|_| Refusal::wrong_type(path, "a string"))
            })?,
            notes: Notes::read(from, true)?,
            blocked: from.flag("blocked")?,
        })
    }

    fn put(self, team: &mut Team) {
        self.alias.put(&mut team.alias);
        self.organisation.put(&mut team.organisation);
        self.budget.put(&mut team.budget);
        self.allowance.put(&mut team.allowance);
        self.members.put_in(&mut team.member_allowance);
        self.models.put_in(&mut team.models);
        self.aliases.put_in(&mut team.aliases);
        self.notes.put(&mut team.metadata, &mut team.tags);
        self.blocked.put_in(&mut team.blocked);
    }
}

/// How many are read at a time.
const AT_ONCE: u32 = 1_000;

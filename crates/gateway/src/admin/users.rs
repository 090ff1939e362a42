//! `/user/...`

use serde::Serialize;
use serde_json::value::RawValue;
use ziggurat_sql::directory::{Allowance, Directory, Key, KeyFilter, Member, Page, User, UserFilter};

use super::{
    Answer, Changed, Context,
    action::Entity,
    allowance::{AllowanceFields, Notes},
    errors::Refusal,
    fields::Fields,
    given::Given,
    json,
    keys::{expires, finish},
    new_id,
    query::Query,
    shapes::{KeyShape, Moment, TeamShape, UserShape},
};

/// What a request says of a user.
struct UserFields {
    email: Given<String>,
    alias: Given<String>,
    role: Given<String>,
    budget: Given<String>,
    allowance: AllowanceFields,
    models: Given<Vec<String>>,
    notes: Notes,
    blocked: Given<bool>,
}

#[derive(Serialize)]
struct New {
    #[serde(flatten)]
    user: UserShape,
    #[serde(flatten)]
    key: Option<FirstKey>,
}

/// What is told of the key of a new user: what it has of its own.
#[derive(Serialize)]
struct FirstKey {
    key: String,
    token: String,
    token_id: String,
    key_name: String,
    key_alias: Option<String>,
    expires: Option<Moment>,
    created_by: Option<String>,
}

#[derive(Serialize)]
struct Updated {
    user_id: String,
    data: UserShape,
}

#[derive(Serialize)]
struct Info {
    user_id: String,
    user_info: UserShape,
    keys: Vec<KeyShape>,
    teams: Vec<TeamShape>,
}

#[derive(Serialize)]
struct List {
    users: Vec<UserShape>,
    total: u64,
    page: u32,
    page_size: u32,
    total_pages: u64,
}

impl Context<'_> {
    /// Makes a user, its memberships and, unless told otherwise, a key.
    pub(super) async fn new_user(&self, mut fields: Fields) -> Answer {
        let id = match fields.text("user_id")?.value() {
            Some(id) => id,
            None => new_id().map_err(|error| self.refuse(error))?,
        };
        let with_key = fields.flag("auto_create_key")?.value().unwrap_or(true);
        let mut key = match with_key {
            true => Some(self.first_key(&id, &mut fields)?),
            false => None,
        };
        let memberships = memberships(&mut fields, &id)?;
        let stated = UserFields::read(&mut fields)?;
        finish(fields)?;
        let mut user = User::new(&*id);
        stated.put(&mut user);
        user.role.get_or_insert_with(|| "internal_user".to_owned());
        if let Some((_, key)) = &mut key {
            key.models.clone_from(&user.models);
            key.admin = is_admin(&user);
        }
        self.is_free(&user).await?;
        let mut joined = Vec::new();
        for member in memberships {
            match self.known(self.directory.get_member(&member.team, &id).await)? {
                Some(_) => {}
                None => joined.push(member),
            }
        }
        let (user, made) = self.make_user(user, joined, key).await?;
        let teams = self.teams_of(&id).await?;
        let key = made.map(|(secret, key)| FirstKey {
            key: secret,
            token: key.hash.to_string(),
            token_id: key.hash.to_string(),
            key_name: key.name,
            key_alias: key.alias,
            expires: key.expires_at.map(Moment::from),
            created_by: key.created_by,
        });
        json(&New { user: self.show_user(user, teams).await?, key })
    }

    pub(super) async fn update_user(&self, mut fields: Fields) -> Answer {
        let id = match fields.text("user_id")?.value() {
            Some(id) => id,
            // Then the address says which, and stays.
            None => self.one_user(&mut fields).await?,
        };
        let stated = UserFields::read(&mut fields)?;
        fields.finish()?;
        if let Given::Value(email) = &stated.email
            && self.user_of(email).await?.is_some_and(|other| other.id != id)
        {
            return Err(Refusal::conflict(Entity::User, "user_email", "another user has that address"));
        }
        let change = |user: &mut User| {
            stated.put(user);
            Ok(())
        };
        let user = self.settle(&Changed::All, self.directory.update_user(&id, change).await)?;
        json(&Updated { user_id: id, data: self.show_whole_user(user).await? })
    }

    /// Deletes users with their keys, those of teams too, and their memberships. LiteLLM answers with how many they were.
    pub(super) async fn delete_users(&self, mut fields: Fields) -> Answer {
        let ids = fields.ids("user_ids")?;
        fields.finish()?;
        let mut unknown = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            if self.known(self.directory.get_user(id).await)?.is_none() {
                unknown.push(format!("user_ids[{at}]"));
            }
        }
        if !unknown.is_empty() {
            let message = format!("no such user, and so none is deleted: {}", unknown.join(", "));
            return Err(Refusal::not_found("user_ids", message));
        }
        self.delete_all(&ids).await?;
        json(&ids.len())
    }

    pub(super) async fn user_info(&self, mut query: Query) -> Answer {
        let own = self.who.user.as_deref().map(ToOwned::to_owned);
        let asked = query.text("user_id");
        query.finish()?;
        if !self.who.admin && (own.is_none() || asked.is_some() && asked != own) {
            return Err(Refusal::forbidden(self.action));
        }
        let id = asked.or(own).ok_or_else(|| Refusal::missing("user_id"))?;
        let user = self.directory.get_user(&id).await.map_err(|error| self.refuse(error))?;
        let mut filter = KeyFilter::default();
        filter.user = Some(id.clone());
        let keys = self.show_keys(&filter, |_| true).await?;
        let mut teams = Vec::new();
        for member in self.members(None, Some(&id)).await? {
            if let Some(team) = self.known(self.directory.get_team(&member.team).await)? {
                teams.push(self.show_team(team, &[member]).await?);
            }
        }
        json(&Info { user_id: id, user_info: self.show_whole_user(user).await?, keys, teams })
    }

    pub(super) async fn list_users(&self, mut query: Query) -> Answer {
        let page = query.number("page", 1, u32::MAX)?;
        let page_size = query.number("page_size", 25, 100)?;
        let mut filter = UserFilter::default();
        filter.email = query.text("user_email");
        filter.role = query.text("role");
        filter.team = query.text("team");
        query.finish()?;
        let part = Page::new(u64::from(page - 1) * u64::from(page_size), page_size);
        let listed = self.directory.list_users(&filter, part).await.map_err(|error| self.refuse(error))?;
        let mut users = Vec::with_capacity(listed.items.len());
        for user in listed.items {
            users.push(self.show_whole_user(user).await?);
        }
        let total_pages = listed.total.div_ceil(u64::from(page_size));
        json(&List { users, total: listed.total, page, page_size, total_pages })
    }

    pub(super) async fn show_whole_user(&self, user: User) -> Result<UserShape, Refusal> {
        let teams = self.teams_of(&user.id).await?;
        self.show_user(user, teams).await
    }

    async fn teams_of(&self, user: &str) -> Result<Vec<String>, Refusal> {
        Ok(self.members(None, Some(user)).await?.into_iter().map(|member| member.team).collect())
    }

    /// The key that a new user is given.
    fn first_key(&self, user: &str, fields: &mut Fields) -> Result<(String, Key), Refusal> {
        let (secret, hash) = Directory::new_key().map_err(|error| self.refuse(error))?;
        let mut key = Key::new(hash);
        key.name = Directory::masked(&secret);
        key.user = Some(user.to_owned());
        key.created_by = Some(self.made_by());
        fields.text("key_alias")?.put(&mut key.alias);
        expires(fields, self.admin.clock.now())?.put(&mut key.expires_at);
        Ok((secret, key))
    }

    async fn is_free(&self, user: &User) -> Result<(), Refusal> {
        if self.known(self.directory.get_user(&user.id).await)?.is_some() {
            let message = "there is a user of that id already";
            return Err(Refusal::conflict(Entity::User, "user_id", message));
        }
        if let Some(email) = &user.email
            && self.user_of(email).await?.is_some()
        {
            return Err(Refusal::conflict(Entity::User, "user_email", "a user has that address already"));
        }
        Ok(())
    }

    /// Stores all of it or nothing. The user comes last, as it cannot be taken back: other keys may have been named its before.
    async fn make_user(
        &self,
        user: User,
        memberships: Vec<Member>,
        key: Option<(String, Key)>,
    ) -> Result<(User, Option<(String, Key)>), Refusal> {
        let id = user.id.clone();
        let hash = key.as_ref().map(|(_, key)| key.hash);
        let mut joined = Vec::new();
        let made = async {
            for member in memberships {
                let member = self.settle(&Changed::All, self.directory.add_member(member).await)?;
                joined.push(member.team);
            }
            let key = match key {
                Some((secret, key)) => {
                    let changed = Changed::Key(key.hash);
                    Some((secret, self.settle(&changed, self.directory.insert_key(key).await)?))
                }
                None => None,
            };
            let user = self.settle(&Changed::All, self.directory.insert_user(user).await)?;
            Ok((user, key))
        }
        .await;
        if made.is_err() {
            for team in &joined {
                let _ = self.settle(&Changed::All, self.directory.remove_member(team, &id).await);
            }
            if let Some(hash) = hash {
                // It may not be there: then there is nothing to take back.
                let _ = self.settle(&Changed::Key(hash), self.directory.delete_key(&hash).await);
            }
        }
        made
    }
}

// ===== impl UserFields =====

impl UserFields {
    fn read(from: &mut Fields) -> Result<Self, Refusal> {
        let role = from.one_of("user_role", &ROLES)?;
        if role == Given::Value("proxy_admin_viewer".to_owned()) {
            return Err(Refusal::invalid("user_role", "proxy_admin_viewer is not supported here"));
        }
        Ok(Self {
            email: from.text("user_email")?,
            alias: from.text("user_alias")?,
            role,
            budget: from.text("budget_id")?,
            allowance: AllowanceFields::read(from)?,
            models: from.texts("models")?,
            notes: Notes::read(from, false)?,
            blocked: from.flag("blocked")?,
        })
    }

    fn put(self, user: &mut User) {
        self.email.put(&mut user.email);
        self.alias.put(&mut user.alias);
        self.role.put(&mut user.role);
        self.budget.put(&mut user.budget);
        self.allowance.put(&mut user.allowance);
        self.models.put_in(&mut user.models);
        self.notes.put_metadata(&mut user.metadata);
        self.blocked.put_in(&mut user.blocked);
    }
}

/// The teams that a new user is to join: ids, or objects that say more.
fn memberships(from: &mut Fields, user: &str) -> Result<Vec<Member>, Refusal> {
    let Given::Value(raw) = from.raw("teams") else { return Ok(Vec::new()) };
    let list: Vec<Box<RawValue>> =
        serde_json::from_str(raw.get()).map_err(|_| Refusal::wrong_type("teams", "a list"))?;
    if list.len() > MOST_TEAMS {
        return Err(Refusal::invalid("teams", format!("has at most {MOST_TEAMS} entries")));
    }
    let mut members: Vec<Member> = Vec::with_capacity(list.len());
    for (at, raw) in list.iter().enumerate() {
        let member = membership(raw, &format!("teams[{at}]"), user)?;
        if members.iter().any(|other| other.team == member.team) {
            return Err(Refusal::invalid(format!("teams[{at}]"), "is stated twice"));
        }
        members.push(member);
    }
    Ok(members)
}

fn membership(raw: &RawValue, path: &str, user: &str) -> Result<Member, Refusal> {
    if raw.get().starts_with('"') {
        let team: String =
            serde_json::from_str(raw.get()).map_err(|_| Refusal::wrong_type(path, "a string"))?;
        let mut member = Member::new(team, user);
        member.role = Some("user".to_owned());
        return Ok(member);
    }
    let mut stated = Fields::nested(raw, path)?;
    let mut member = Member::new(stated.required("team_id")?, user);
    let role = stated.one_of("user_role", &["user", "admin"])?.value();
    member.role = Some(role.unwrap_or_else(|| "user".to_owned()));
    let mut allowance = Allowance::default();
    stated.amount("max_budget_in_team")?.put(&mut allowance.max_budget);
    member.allowance = allowance;
    stated.finish()?;
    Ok(member)
}

/// Whether it manages keys, teams and users.
pub(super) fn is_admin(user: &User) -> bool {
    user.role.as_deref() == Some("proxy_admin")
}

/// Roles that LiteLLM has.
const ROLES: [&str; 4] = ["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"];

/// Teams of one request.
const MOST_TEAMS: usize = 1_000;

//! The admin API: keys, teams, users, end users and templates of budgets, at LiteLLM's paths and in its shapes.
//!
//! # Position
//! Behind the layer that tells who calls. It writes the [`Directory`], and tells who keeps copies of it what has changed.
//!
//! # Limits
//! Bodies of at most 1 MiB. What a request states and nobody would heed is refused, and what is refused changes nothing. A list of ids
//! is looked up before the first of them is touched.

mod action;
mod allowance;
mod budgets;
mod customers;
mod errors;
mod fields;
mod given;
mod keys;
mod members;
mod query;
mod shapes;
mod standing;
mod teams;
mod users;

#[cfg(test)]
mod tests;

use std::{fmt, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, request::Parts};
use serde::Serialize;
use ziggurat_auth::KeyHash;
use ziggurat_budget::Balance;
use ziggurat_core::{Body, Budget, Clock, CollectError};
use ziggurat_sql::directory::{Directory, DirectoryError};

pub(crate) use self::action::Action;
use self::{
    action::{Entity, Verb},
    errors::Refusal,
    fields::Fields,
    query::Query,
};

/// Manages keys, teams, users, end users and templates of budgets.
pub(crate) struct Admin {
    directory: Option<Directory>,
    revoke: Revoke,
    balance: BalanceOf,
    zone: String,
    clock: Clock,
}

/// Whose copies are out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Those of one key.
    Key(KeyHash),
    /// Those of one end user.
    Customer(String),
    /// Any: a team, a user or a template has changed, and with it whoever belongs to it.
    All,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Whether they may do everything: by the master key, or an administrator's.
    pub(crate) admin: bool,
    /// Whether they have the master key.
    pub(crate) master: bool,
    /// Their key; `None` for the master key, and for tokens.
    pub(crate) key: Option<KeyHash>,
    /// The user the key belongs to.
    pub(crate) user: Option<Arc<str>>,
    /// The team the key belongs to.
    pub(crate) team: Option<Arc<str>>,
}

/// Is told what has changed, before the change is answered.
pub(crate) type Revoke = Arc<dyn Fn(&Changed) + Send + Sync>;

/// Says where a budget stands; `None` when nobody can tell.
pub(crate) type BalanceOf = Arc<dyn Fn(&Budget) -> Standing + Send + Sync>;

/// The answer to where a budget stands.
pub(crate) type Standing = Pin<Box<dyn Future<Output = Option<Balance>> + Send>>;

/// One request, and what it is done with.
struct Context<'a> {
    action: Action,
    who: &'a Caller,
    admin: &'a Admin,
    directory: &'a Directory,
}

type Answer = Result<Response<Body>, Refusal>;

type Handled<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

// ===== impl Admin =====

impl Admin {
    /// Manages what is in a directory; without one, everything is refused. Windows are those of a time zone.
    pub(crate) fn new(
        directory: Option<Directory>,
        revoke: Revoke,
        balance: BalanceOf,
        zone: String,
        clock: Clock,
    ) -> Self {
        Self { directory, revoke, balance, zone, clock }
    }

    /// Does what is asked, if who asks may.
    pub(crate) async fn answer(
        &self,
        action: Action,
        who: &Caller,
        request: Request<Body>,
    ) -> Response<Body> {
        self.run(action, who, request).await.unwrap_or_else(Refusal::into_response)
    }

    async fn run(&self, action: Action, who: &Caller, request: Request<Body>) -> Answer {
        if !who.admin && !action.is_for_all() {
            return Err(Refusal::forbidden(action));
        }
        let directory = self.directory.as_ref().ok_or_else(Refusal::no_database)?;
        let context = Context { action, who, admin: self, directory };
        let (Parts { uri, .. }, body) = request.into_parts();
        if action.is_post() {
            // What a body could say is not looked for in the query: it would go unheard.
            Query::of(&uri)?.finish()?;
            let body = body.collect_within(MAX_BODY).await.map_err(|error| unreadable(&error))?;
            let fields = Fields::parse(&body)?;
            if action.verb == Verb::Update {
                fields.leaves_spend()?;
            }
            return context.post(&uri, fields).await;
        }
        context.get(Query::of(&uri)?).await
    }
}

fn unreadable(error: &CollectError) -> Refusal {
    match error {
        CollectError::TooLarge { limit } => Refusal::too_large(*limit),
        _ => Refusal::malformed("the body did not arrive whole"),
    }
}

/// Says nothing of whom it knows.
impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("zone", &self.zone).finish_non_exhaustive()
    }
}

// ===== impl Context =====

impl Context<'_> {
    /// What handles a POST: boxed one by one, as each is large and the stack is not.
    fn post<'b>(&'b self, uri: &'b Uri, fields: Fields) -> Handled<'b> {
        match self.action.entity {
            Entity::Key => self.post_key(uri, fields),
            Entity::Team => self.post_team(fields),
            Entity::User => self.post_user(fields),
            Entity::Customer => self.post_customer(fields),
            Entity::Budget => self.post_budget(fields),
        }
    }

    fn post_key<'b>(&'b self, uri: &'b Uri, fields: Fields) -> Handled<'b> {
        match self.action.verb {
            Verb::New => Box::pin(self.new_key(fields)),
            Verb::Update => Box::pin(self.update_key(fields)),
            Verb::Regenerate => Box::pin(self.regenerate(uri, fields)),
            Verb::Block => Box::pin(self.block_key(fields, true)),
            Verb::Unblock => Box::pin(self.block_key(fields, false)),
            _ => Box::pin(self.delete_keys(fields)),
        }
    }

    fn post_team(&self, fields: Fields) -> Handled<'_> {
        match self.action.verb {
            Verb::New => Box::pin(self.new_team(fields)),
            Verb::Update => Box::pin(self.update_team(fields)),
            Verb::Block => Box::pin(self.block_team(fields, true)),
            Verb::Unblock => Box::pin(self.block_team(fields, false)),
            Verb::MemberAdd => Box::pin(self.add_members(fields)),
            Verb::MemberUpdate => Box::pin(self.update_member(fields)),
            Verb::MemberDelete => Box::pin(self.delete_member(fields)),
            _ => Box::pin(self.delete_teams(fields)),
        }
    }

    fn post_user(&self, fields: Fields) -> Handled<'_> {
        match self.action.verb {
            Verb::New => Box::pin(self.new_user(fields)),
            Verb::Update => Box::pin(self.update_user(fields)),
            _ => Box::pin(self.delete_users(fields)),
        }
    }

    fn post_customer(&self, fields: Fields) -> Handled<'_> {
        match self.action.verb {
            Verb::New => Box::pin(self.new_customer(fields)),
            Verb::Update => Box::pin(self.update_customer(fields)),
            Verb::Block => Box::pin(self.block_customers(fields)),
            Verb::Unblock => Box::pin(self.unblock_customers(fields)),
            _ => Box::pin(self.delete_customers(fields)),
        }
    }

    fn post_budget(&self, fields: Fields) -> Handled<'_> {
        match self.action.verb {
            Verb::New => Box::pin(self.new_budget(fields)),
            Verb::Update => Box::pin(self.update_budget(fields)),
            Verb::Info => Box::pin(self.budgets_info(fields)),
            _ => Box::pin(self.delete_budget(fields)),
        }
    }

    fn get(&self, query: Query) -> Handled<'_> {
        let Action { entity, verb } = self.action;
        match (entity, verb) {
            (Entity::Key, Verb::Info) => Box::pin(self.key_info(query)),
            (Entity::Key, _) => Box::pin(self.list_keys(query)),
            (Entity::Team, Verb::Info) => Box::pin(self.team_info(query)),
            (Entity::Team, _) => Box::pin(self.list_teams(query)),
            (Entity::User, Verb::Info) => Box::pin(self.user_info(query)),
            (Entity::User, _) => Box::pin(self.list_users(query)),
            (Entity::Customer, Verb::Info) => Box::pin(self.customer_info(query)),
            (Entity::Customer, _) => Box::pin(self.list_customers(query)),
            (Entity::Budget, _) => Box::pin(self.list_budgets(query)),
        }
    }

    /// Sees to it that a change holds at once on this node, and is on record. One whose end is not known may have been made.
    fn settle<T>(&self, changed: &Changed, result: Result<T, DirectoryError>) -> Result<T, Refusal> {
        (self.admin.revoke)(changed);
        let by = match (self.who.master, self.who.key) {
            (true, _) => "master key",
            (_, Some(_)) => "key of an administrator",
            (_, None) => "token of an administrator",
        };
        let action = self.action;
        match &result {
            Ok(_) => tracing::info!(%action, entity = action.entity.name(), by, "changed by the admin API"),
            Err(DirectoryError::Away(_)) => {
                tracing::warn!(%action, entity = action.entity.name(), by, "not known to be changed");
            }
            Err(_) => {}
        }
        result.map_err(|error| self.refuse(error))
    }

    fn refuse(&self, error: DirectoryError) -> Refusal {
        Refusal::of(error, self.action.entity)
    }

    /// Who made something, as LiteLLM names it.
    fn made_by(&self) -> String {
        self.who.user.as_deref().unwrap_or("default_user_id").to_owned()
    }

    /// Deletes all of a list, every one of which was there a moment ago. What is gone by now is as it should be.
    async fn delete_all(&self, ids: &[String]) -> Result<(), Refusal> {
        for (done, id) in ids.iter().enumerate() {
            let (deleted, changed) = self.delete_one(id).await;
            match deleted {
                Err(DirectoryError::NotFound) => (self.admin.revoke)(&changed),
                deleted => self.settle(&changed, deleted).map_err(|refusal| match done {
                    0 => refusal,
                    _ => refusal.and_so(&format!("the first {done} of the list are deleted")),
                })?,
            }
        }
        Ok(())
    }

    async fn delete_one(&self, id: &str) -> (Result<(), DirectoryError>, Changed) {
        let directory = self.directory;
        match self.action.entity {
            Entity::Key => match KeyHash::from_hex(id) {
                Some(hash) => (directory.delete_key(&hash).await, Changed::Key(hash)),
                None => (Err(DirectoryError::NotFound), Changed::All),
            },
            Entity::Team => (directory.delete_team(id).await, Changed::All),
            Entity::User => (directory.delete_user(id).await, Changed::All),
            Entity::Customer => (directory.delete_customer(id).await, Changed::Customer(id.to_owned())),
            Entity::Budget => (directory.delete_budget(id).await, Changed::All),
        }
    }
}

fn json(answer: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(answer).map_err(|_| Refusal::failed())?;
    let mut response = Response::new(Body::from(Bytes::from(body)));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A new id, in the form of a random UUID, of as much chance as a key has.
fn new_id() -> Result<String, DirectoryError> {
    let (_, chance) = Directory::new_key()?;
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&chance.as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// Bytes of a request.
const MAX_BODY: usize = 1 << 20;

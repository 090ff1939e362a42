//! Which path does what.

use std::fmt;

use http::Method;

/// What is done with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(super) entity: Entity,
    pub(super) verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entity {
    Key,
    Team,
    User,
    Customer,
    Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    New,
    Update,
    Delete,
    Block,
    Unblock,
    Regenerate,
    MemberAdd,
    MemberUpdate,
    MemberDelete,
    Info,
    List,
}

// ===== impl Action =====

impl Action {
    /// What is done at a path, or the method that it answers to; `None` where it is none of the admin API's.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Result<Self, &'static str>> {
        let path = path.strip_suffix('/').unwrap_or(path).strip_prefix('/')?;
        let (first, rest) = path.split_once('/')?;
        let (entity, verbs) = match first {
            "key" => (Entity::Key, KEY),
            "team" => (Entity::Team, TEAM),
            "user" => (Entity::User, USER),
            "customer" | "end_user" => (Entity::Customer, CUSTOMER),
            "budget" => (Entity::Budget, BUDGET),
            _ => return None,
        };
        let verb = match rest.split_once('/') {
            // A key in the path, which is read when it is used.
            Some((key, "regenerate")) if entity == Entity::Key && !key.is_empty() => Verb::Regenerate,
            _ => verbs.iter().find(|(name, _)| *name == rest)?.1,
        };
        let action = Self { entity, verb };
        let allow = if action.is_post() { "POST" } else { "GET" };
        Some(if method.as_str() == allow { Ok(action) } else { Err(allow) })
    }

    /// Whether it is posted; else it is a GET.
    pub(super) fn is_post(self) -> bool {
        match self.verb {
            Verb::Info => self.entity == Entity::Budget,
            Verb::List => false,
            _ => true,
        }
    }

    /// Whether those who are no administrators may do it with what is their own.
    pub(super) fn is_for_all(self) -> bool {
        self.verb == Verb::Info && matches!(self.entity, Entity::Key | Entity::Team | Entity::User)
    }
}

/// The path, in its usual form.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match (self.entity, self.verb) {
            (Entity::Key, Verb::New) => "generate",
            (_, Verb::New) => "new",
            (_, Verb::Update) => "update",
            (_, Verb::Delete) => "delete",
            (_, Verb::Block) => "block",
            (_, Verb::Unblock) => "unblock",
            (_, Verb::Regenerate) => "regenerate",
            (_, Verb::MemberAdd) => "member_add",
            (_, Verb::MemberUpdate) => "member_update",
            (_, Verb::MemberDelete) => "member_delete",
            (_, Verb::Info) => "info",
            (_, Verb::List) => "list",
        };
        write!(f, "/{}/{verb}", self.entity.name())
    }
}

// ===== impl Entity =====

impl Entity {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Team => "team",
            Self::User => "user",
            Self::Customer => "customer",
            Self::Budget => "budget",
        }
    }
}

type Verbs = &'static [(&'static str, Verb)];

const KEY: Verbs = &[
    ("generate", Verb::New),
    ("update", Verb::Update),
    ("delete", Verb::Delete),
    ("block", Verb::Block),
    ("unblock", Verb::Unblock),
    ("regenerate", Verb::Regenerate),
    ("info", Verb::Info),
    ("list", Verb::List),
];
const TEAM: Verbs = &[
    ("new", Verb::New),
    ("update", Verb::Update),
    ("delete", Verb::Delete),
    ("member_add", Verb::MemberAdd),
    ("member_update", Verb::MemberUpdate),
    ("member_delete", Verb::MemberDelete),
    ("block", Verb::Block),
    ("unblock", Verb::Unblock),
    ("info", Verb::Info),
    ("list", Verb::List),
];
const USER: Verbs = &[
    ("new", Verb::New),
    ("update", Verb::Update),
    ("delete", Verb::Delete),
    ("info", Verb::Info),
    ("list", Verb::List),
];
const CUSTOMER: Verbs = &[
    ("new", Verb::New),
    ("update", Verb::Update),
    ("delete", Verb::Delete),
    ("block", Verb::Block),
    ("unblock", Verb::Unblock),
    ("info", Verb::Info),
    ("list", Verb::List),
];
const BUDGET: Verbs = &[
    ("new", Verb::New),
    ("update", Verb::Update),
    ("delete", Verb::Delete),
    ("info", Verb::Info),
    ("list", Verb::List),
];

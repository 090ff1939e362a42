//! Why a request is refused, told as LiteLLM tells it.

use std::fmt::Display;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use ziggurat_core::Body;
use ziggurat_sql::directory::DirectoryError;

use super::action::{Action, Entity};

/// Why a request is refused. Nothing it says is a secret or was stored by another.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// The field that is to blame.
    param: Option<String>,
}

#[derive(Serialize)]
struct Told<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

// ===== impl Refusal =====

impl Refusal {
    /// A value of the right type that cannot be, or a field that nobody heeds.
    pub(super) fn invalid(param: impl Into<String>, why: impl Display) -> Self {
        let param = shown(param.into());
        let message = format!("{param}: {why}");
        Self::new(StatusCode::BAD_REQUEST, "bad_request_error", message).param(param)
    }

    /// A value of the wrong type.
    pub(super) fn wrong_type(param: impl Into<String>, expected: &str) -> Self {
        let param = shown(param.into());
        let message = format!("{param}: is not {expected}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", message).param(param)
    }

    /// A field that is needed and not stated.
    pub(super) fn missing(param: &str) -> Self {
        let message = format!("{param}: is required");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", message).param(param)
    }

    /// A body or query that cannot be read at all.
    pub(super) fn malformed(why: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request_error", why.to_string())
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_request_error", message)
    }

    pub(super) fn not_found(param: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found_error", message).param(param)
    }

    /// Something that is there already, or in use: LiteLLM's status for it is 400, and 409 for users.
    pub(super) fn conflict(entity: Entity, param: &str, message: impl Into<String>) -> Self {
        let status = if entity == Entity::User { StatusCode::CONFLICT } else { StatusCode::BAD_REQUEST };
        Self::new(status, "bad_request_error", message).param(param)
    }

    pub(super) fn forbidden(action: Action) -> Self {
        let message =
            format!("only an administrator may call {action}, or ask it for others than themselves");
        Self::new(StatusCode::FORBIDDEN, "permission_error", message)
    }

    pub(super) fn no_database() -> Self {
        let message = "no database is connected: the admin API needs general_settings.database_url";
        Self::new(StatusCode::BAD_REQUEST, "no_db_connection", message)
    }

    pub(super) fn failed() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", "the directory failed")
    }

    /// Why a directory did not do it.
    pub(super) fn of(error: DirectoryError, entity: Entity) -> Self {
        match error {
            DirectoryError::Away(why) => {
                tracing::warn!(%why, "the directory is away from the admin API");
                let message = "the database cannot be reached: a change may have been made or not";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "internal_server_error", message)
            }
            DirectoryError::NotFound => {
                let name = entity.name();
                Self::not_found(id_of(entity), format!("there is no such {name}"))
            }
            DirectoryError::Conflict("budget in use") => {
                Self::conflict(entity, id_of(entity), "the budget is in use")
            }
            DirectoryError::Conflict(what) => {
                let (param, name) = match what {
                    "key_alias" => ("key_alias", "key of that alias"),
                    "team" => ("team_id", "team of that id"),
                    "user" => ("user_id", "user of that id"),
                    "member" => ("user_id", "member of that id in the team"),
                    "customer" => ("user_id", "customer of that id"),
                    "budget" => ("budget_id", "budget of that id"),
                    _ => ("key", "such key"),
                };
                Self::conflict(entity, param, format!("there is one {name} already, or there was"))
            }
            DirectoryError::Invalid { field, why } => Self::invalid(field_of(&field, entity), why),
            error => {
                tracing::error!(%error, "the directory failed the admin API");
                Self::failed()
            }
        }
    }

    /// Says also what has been done before.
    #[must_use]
    pub(super) fn and_so(mut self, more: &str) -> Self {
        self.message = format!("{}; {more}", self.message);
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let error = Error {
            message: &self.message,
            r#type: self.kind,
            param: self.param.as_deref(),
            code: self.status.as_str(),
        };
        let body = serde_json::to_vec(&Told { error }).unwrap_or_default();
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None }
    }

    fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }
}

/// As much of a name as anyone wants to read, without what would move a terminal's cursor.
fn shown(name: String) -> String {
    let fits = name.chars().count() <= MAX_NAME && !name.chars().any(char::is_control);
    if fits { name } else { name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect() }
}

/// What an entity is named by in requests.
fn id_of(entity: Entity) -> &'static str {
    match entity {
        Entity::Key => "key",
        Entity::Team => "team_id",
        Entity::User | Entity::Customer => "user_id",
        Entity::Budget => "budget_id",
    }
}

/// The field of a request, by that of the directory.
fn field_of(field: &str, entity: Entity) -> String {
    if let Some(name) = field.strip_prefix("member_allowance.") {
        let name = name.strip_prefix("max_").unwrap_or(name);
        return format!("team_member_{name}");
    }
    let field = field.strip_prefix("allowance.").unwrap_or(field);
    let name = match (field, entity) {
        ("id", _) => id_of(entity),
        ("alias", Entity::Key) => "key_alias",
        ("alias", Entity::Team) => "team_alias",
        ("alias", Entity::User) => "user_alias",
        ("aliases", Entity::Team) => "model_aliases",
        ("user", _) => "user_id",
        ("team", _) => "team_id",
        ("organisation", _) => "organization_id",
        ("budget", _) => "budget_id",
        ("email", _) => "user_email",
        ("routes", _) => "allowed_routes",
        _ => field,
    };
    name.to_owned()
}

/// Characters of a field's name that are shown.
const MAX_NAME: usize = 100;

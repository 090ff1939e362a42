//! What a token says of its owner.

use std::sync::Arc;

use serde_json::Value;
use ziggurat_core::Principal;

use crate::KeyRecord;

/// The claims of a token.
pub type Claims = serde_json::Map<String, Value>;

/// The names of the claims that say who it is. A name with dots is a path into objects, unless there is a claim of that very name.
///
/// ```
/// let mut names = ziggurat_auth::jwt::ClaimNames::default();
/// names.team = Some("resource.team".into());
/// names.admin_scope = Some("gateway-admin".into());
/// let claims = serde_json::json!({ "sub": "ada", "resource": { "team": "red" }, "scope": "openid gateway-admin" });
/// let record = names.record(claims.as_object().unwrap()).unwrap();
/// assert_eq!((record.principal.user.as_deref(), record.principal.team.as_deref()), (Some("ada"), Some("red")));
/// assert!(record.admin);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimNames {
    /// The user's id; `sub` unless set.
    pub user: Option<String>,
    /// The team's id.
    pub team: Option<String>,
    /// Ids of teams, a list or words, the preferred first; one in `team` goes before them.
    pub teams: Option<String>,
    /// The organisation's id.
    pub organisation: Option<String>,
    /// Tags: a list, or words.
    pub tags: Option<String>,
    /// The models that may be used: a list, or words. Once it is set, a token without it may use none.
    pub models: Option<String>,
    /// The id of the end user whom its calls are for.
    pub end_user: Option<String>,
    /// The word in `scope` that makes an administrator; nobody is one unless it is set.
    pub admin_scope: Option<String>,
}

// ===== impl ClaimNames =====

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            user: Some("sub".to_owned()),
            team: None,
            teams: None,
            organisation: None,
            tags: None,
            models: None,
            end_user: None,
            admin_scope: None,
        }
    }
}

impl ClaimNames {
    /// Who it is by these claims; `None` when they name no user, team or organisation.
    #[must_use]
    pub fn record(&self, claims: &Claims) -> Option<KeyRecord> {
        let id = |name: &Option<String>| id(claim(claims, name.as_deref()?)?);
        let listed = |name: &str| claim(claims, name).map(claim_words).unwrap_or_default();
        let mut principal = Principal::default();
        principal.user = id(&self.user);
        let mut teams: Vec<Arc<str>> = id(&self.team).into_iter().collect();
        teams.extend(self.teams.as_deref().map(listed).into_iter().flatten().take(MOST_TEAMS));
        principal.team = teams.first().cloned();
        principal.organisation = id(&self.organisation);
        principal.ids().next()?;
        if let Some(tags) = &self.tags {
            principal.tags = listed(tags).into();
        }
        principal.models = self.models.as_deref().map(|models| listed(models).into());
        let admin = self
            .admin_scope
            .as_ref()
            .is_some_and(|admin| listed("scope").iter().any(|word| **word == **admin));
        let end_user = id(&self.end_user);
        Some(KeyRecord { principal, admin, end_user, teams: teams.into(), ..KeyRecord::default() })
    }
}

/// The claim of a name; one with dots is a path into objects, unless there is a claim of that very name.
#[must_use]
pub fn claim<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        claim(claims.get(first)?.as_object()?, rest)
    })
}

fn id(claim: &Value) -> Option<Arc<str>> {
    match claim {
        Value::String(text) if !text.is_empty() => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    }
}

/// The texts of a claim that is a list, or its words.
#[must_use]
pub fn claim_words(claim: &Value) -> Vec<Arc<str>> {
    match claim {
        Value::String(text) => text.split_ascii_whitespace().map(Into::into).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(Into::into).collect(),
        _ => Vec::new(),
    }
}

/// Teams of a list that are looked at.
const MOST_TEAMS: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(names: &ClaimNames, claims: &Value) -> Option<KeyRecord> {
        names.record(claims.as_object().expect("is an object"))
    }

    #[test]
    fn claims_name_who_it_is() {
        let names = ClaimNames {
            team: Some("a.b.team".to_owned()),
            organisation: Some("https://example.com/org".to_owned()),
            tags: Some("groups".to_owned()),
            models: Some("models".to_owned()),
            ..ClaimNames::default()
        };
        let claims = json!({
            "sub": 7, "a": { "b": { "team": "t" } }, "https://example.com/org": "o", "groups": ["x", 3, "y"],
            "models": "gpt-* o3", "scope": "admin"
        });
        let known = record(&names, &claims).expect("is somebody");
        let principal = known.principal;
        assert_eq!(principal.ids().map(|(_, id)| &**id).collect::<Vec<_>>(), ["7", "t", "o"]);
        assert_eq!(*principal.tags, ["x".into(), "y".into()]);
        assert!(principal.may_use("gpt-4o") && principal.may_use("o3") && !principal.may_use("claude"));
        assert!(!known.admin);
    }

    #[test]
    fn teams_may_be_a_list_of_which_so_many_are_looked_at() {
        let mut names = ClaimNames { teams: Some("groups".to_owned()), ..ClaimNames::default() };
        names.end_user = Some("customer".to_owned());
        let many: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
        let known = record(&names, &json!({ "groups": many, "customer": "c" })).expect("is of a team");
        assert_eq!(known.principal.team.as_deref(), Some("t0"));
        assert_eq!((known.teams.len(), &*known.teams[31]), (32, "t31"));
        assert_eq!(known.end_user.as_deref(), Some("c"));
        names.team = Some("team".to_owned());
        let known = record(&names, &json!({ "team": "own", "groups": "a b" })).expect("is of a team");
        assert_eq!(*known.teams, ["own".into(), "a".into(), "b".into()]);
        assert_eq!((known.principal.team.as_deref(), known.end_user), (Some("own"), None));
    }

    #[test]
    fn what_is_missing_is_not_allowed() {
        let mut names = ClaimNames::default();
        for nobody in [json!({}), json!({ "sub": "" }), json!({ "sub": ["a"] }), json!({ "sub": null })] {
            assert_eq!(record(&names, &nobody), None, "{nobody}");
        }
        let known = |names: &ClaimNames| {
            record(names, &json!({ "sub": "a", "scope": ["admin"] })).expect("is somebody")
        };
        assert_eq!(known(&names).principal.models, None);
        (names.models, names.admin_scope) = (Some("models".to_owned()), Some("admin".to_owned()));
        assert_eq!(known(&names).principal.models.as_deref(), Some(&[][..]));
        assert!(known(&names).admin);
        names.admin_scope = Some("adm".to_owned());
        assert!(!known(&names).admin);
    }
}

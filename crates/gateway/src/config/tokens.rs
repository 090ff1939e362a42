//! Tokens of an identity provider: LiteLLM's `enable_jwt_auth`.

use std::{net::IpAddr, time::Duration};

use http::Uri;
use ziggurat_auth::jwt::{ClaimNames, Claims, claim, claim_words};

use super::check::check;
use super::diagnostic::Report;
use super::env::Environment;
use super::keys::JWT_AUTH;
use super::node::Node;
use super::value::seconds;

/// Which tokens are believed, and what of them.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    /// `JWT_PUBLIC_KEY_URL`: where the provider has its key set.
    pub(crate) key_set: Uri,
    /// `JWT_ISSUER`.
    pub(crate) issuer: String,
    /// `JWT_AUDIENCE`: one of these, which commas part.
    pub(crate) audiences: Vec<String>,
    /// Which claims say who it is.
    pub(crate) names: ClaimNames,
    /// What else a token must say.
    pub(crate) demands: Demands,
    /// `public_key_ttl`: how long the key set is used before it is fetched again.
    pub(crate) refresh: Option<Duration>,
    /// Whether users may call whom the database does not know.
    pub(crate) unknown_users: bool,
    /// Whether teams may call that the database does not know.
    pub(crate) unknown_teams: bool,
}

/// What a token must say beside who it is, administrators' too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands {
    /// `user_email_jwt_field` and `user_allowed_email_domain`.
    email: Option<(String, String)>,
    /// `user_roles_jwt_field` and `user_allowed_roles`.
    roles: Option<(String, Vec<String>)>,
    /// `team_id_default`: the team of tokens that name none.
    pub(crate) team: Option<String>,
    /// `enforce_team_based_model_access`: whether those are refused.
    pub(crate) needs_team: bool,
}

// ===== impl Tokens =====

impl Tokens {
    /// Reads them from the whole file and the environment; `None` where none are believed.
    pub(super) fn read(root: &Node, environment: &Environment<'_>, report: &mut Report) -> Option<Self> {
        let general = root.get("general_settings")?;
        let settings = general.get("litellm_jwtauth");
        if let Some(settings) = settings {
            check(settings, &JWT_AUTH, report);
        }
        let enabled = general.get("enable_jwt_auth").filter(|node| node.flag() == Some(true));
        let Some(enabled) = enabled else {
            if let Some(settings) = settings {
                report.warning(&settings.at, &settings.path, "does nothing without `enable_jwt_auth: true`");
            }
            return None;
        };
        let of = |key: &str| settings.and_then(|settings| settings.get(key));
        let text =
            |key: &str| of(key).and_then(Node::text).filter(|text| !text.is_empty()).map(str::to_owned);
        let flag = |key: &str| of(key).and_then(Node::flag).unwrap_or(false);

        let mut names = ClaimNames::default();
        let user = text("user_id_jwt_field");
        let names_user = user.is_some();
        names.user = user.or(names.user);
        names.team = text("team_id_jwt_field");
        names.teams = text("team_ids_jwt_field");
        names.organisation = text("org_id_jwt_field");
        names.end_user = text("end_user_id_jwt_field");
        names.admin_scope = Some(text("admin_jwt_scope").unwrap_or_else(|| ADMIN_SCOPE.to_owned()));

        let both = [
            ("user_email_jwt_field", "user_allowed_email_domain"),
            ("user_roles_jwt_field", "user_allowed_roles"),
        ];
        for (one, other) in both.into_iter().flat_map(|(one, other)| [(one, other), (other, one)]) {
            if let (Some(node), None) = (of(one), of(other)) {
                report.error(&node.at, &node.path, format!("says nothing without `{other}`"));
            }
        }
        let roles = of("user_allowed_roles").map_or(&[][..], Node::items).iter().filter_map(Node::text);
        let demands = Demands {
            email: text("user_email_jwt_field").zip(text("user_allowed_email_domain")),
            roles: text("user_roles_jwt_field").zip(Some(roles.map(str::to_owned).collect())),
            team: text("team_id_default"),
            needs_team: flag("enforce_team_based_model_access"),
        };
        let default_cap = root.get("litellm_settings").and_then(|section| section.get("max_end_user_budget"));
        if let (Some(node), Some(_)) = (of("end_user_id_jwt_field"), default_cap) {
            let message = "cannot stand beside `litellm_settings.max_end_user_budget` yet, which is for end users whom a \
                           request names; `max_end_user_budget_id` is for both";
            report.error(&node.at, &node.path, message);
        }

        let mut variable = |name: &str, what: &str| {
            let value = environment.get(name);
            if value.is_none() {
                let message = format!("the environment variable `{name}` is not set or empty: {what}");
                report.error(&enabled.at, &enabled.path, message);
            }
            value
        };
        let key_set = variable("JWT_PUBLIC_KEY_URL", "nobody knows where the keys of tokens are");
        let issuer = variable("JWT_ISSUER", "tokens of any issuer would be believed");
        let audience = variable("JWT_AUDIENCE", "tokens that were made for others would be believed");
        let key_set = key_set.and_then(|url| {
            let read = read_url(&url);
            if read.is_none() {
                let message =
                    "the environment variable `JWT_PUBLIC_KEY_URL` is no single URL of http or https";
                report.error(&enabled.at, &enabled.path, message);
            }
            if read.as_ref().is_some_and(|uri| !is_private(uri)) {
                let message = "the environment variable `JWT_PUBLIC_KEY_URL` is plain http: whoever stands in between could \
                               make tokens; https is needed but for this machine itself";
                report.error(&enabled.at, &enabled.path, message);
            }
            read
        });
        let audiences = audience.map(|audience| words(&audience));
        Some(Self {
            key_set: key_set?,
            issuer: issuer?,
            audiences: audiences?,
            names,
            demands,
            refresh: seconds(of("public_key_ttl"), report),
            unknown_users: flag("user_id_upsert") || !names_user,
            unknown_teams: flag("team_id_upsert"),
        })
    }
}

fn words(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn read_url(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok().filter(|_| !url.contains(','))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_http && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

/// Whether nobody in between can change what is fetched: by https, or from this machine itself.
fn is_private(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    uri.scheme_str() == Some("https")
        || host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

// ===== impl Demands =====

impl Demands {
    /// Whether a token says what it must.
    pub(crate) fn are_met(&self, claims: &Claims) -> bool {
        let email = self.email.as_ref().is_none_or(|(field, domain)| {
            let email = claim(claims, field).and_then(|email| email.as_str());
            // An address that its provider has not seen to may be anybody's.
            let verified = claims.get("email_verified").is_none_or(|verified| {
                // Amazon Cognito, for one, says it in a text.
                verified.as_bool() == Some(true) || verified.as_str() == Some("true")
            });
            let of = email.and_then(|email| email.rsplit_once('@'));
            verified && of.is_some_and(|(_, of)| of.eq_ignore_ascii_case(domain.trim_start_matches('@')))
        });
        let roles = self.roles.as_ref().is_none_or(|(field, allowed)| {
            let has = claim(claims, field).map(claim_words).unwrap_or_default();
            has.iter().any(|role| allowed.iter().any(|allowed| **role == **allowed))
        });
        email && roles
    }
}

/// LiteLLM's, unless told otherwise.
const ADMIN_SCOPE: &str = "litellm_proxy_admin";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Config;
    use super::super::tests::{one, print};
    use super::*;

    const LINE: &str = "config.yaml:7:20: error: general_settings.enable_jwt_auth: ";

    fn read(lines: &[&str], env: &[(&str, &str)]) -> Result<(Tokens, String), String> {
        let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        let text = one(&format!("general_settings:\n  enable_jwt_auth: true\n{lines}"));
        let get = |name: &str| {
            let set = env.iter().find(|(known, _)| *known == name);
            set.map(|(_, value)| (*value).to_owned())
        };
        match Config::parse(&text, "config.yaml", &get) {
            Ok((config, warnings)) => Ok((config.tokens.expect("are believed"), print(&warnings))),
            Err(found) => Err(print(&found)),
        }
    }

    const ENV: [(&str, &str); 3] = [
        ("JWT_PUBLIC_KEY_URL", "https://idp.example/keys"),
        ("JWT_ISSUER", "https://idp.example"),
        ("JWT_AUDIENCE", "gateway, other"),
    ];

    #[test]
    fn what_a_token_says_is_named_as_in_litellm() {
        let (tokens, warnings) = read(&["master_key: sk-m"], &ENV).expect("is valid");
        assert_eq!(warnings, "");
        let mut names = ClaimNames::default();
        names.admin_scope = Some("litellm_proxy_admin".to_owned());
        assert_eq!((tokens.names, tokens.refresh), (names.clone(), None));
        assert_eq!((tokens.unknown_users, tokens.unknown_teams), (true, false));
        assert_eq!(
            (tokens.issuer.as_str(), &tokens.audiences[..]),
            ("https://idp.example", &["gateway".to_owned(), "other".to_owned()][..])
        );
        let lines = [
            "master_key: sk-m",
            "litellm_jwtauth:",
            "  admin_jwt_scope: boss",
            "  user_id_jwt_field: uid",
            "  team_id_jwt_field: a.team",
            "  team_ids_jwt_field: groups",
            "  org_id_jwt_field: org",
            "  end_user_id_jwt_field: customer",
            "  team_id_default: everybody",
            "  team_id_upsert: true",
            "  public_key_ttl: 60",
        ];
        let (tokens, warnings) = read(&lines, &ENV).expect("is valid");
        assert_eq!(warnings, "");
        let some = |text: &str| Some(text.to_owned());
        (names.user, names.team, names.teams) = (some("uid"), some("a.team"), some("groups"));
        (names.organisation, names.end_user, names.admin_scope) =
            (some("org"), some("customer"), some("boss"));
        assert_eq!((tokens.names, tokens.refresh), (names, Some(Duration::from_secs(60))));
        assert_eq!((tokens.unknown_users, tokens.unknown_teams), (false, true));
        assert_eq!(tokens.demands.team.as_deref(), Some("everybody"));
    }

    #[test]
    fn what_is_missing_or_not_supported_is_named() {
        let key = ["master_key: sk-m"];
        for (at, (name, what)) in [
            ("JWT_PUBLIC_KEY_URL", "nobody knows where the keys of tokens are"),
            ("JWT_ISSUER", "tokens of any issuer would be believed"),
            ("JWT_AUDIENCE", "tokens that were made for others would be believed"),
        ]
        .into_iter()
        .enumerate()
        {
            let mut env = ENV.to_vec();
            env[at].1 = "";
            let said = format!("{LINE}the environment variable `{name}` is not set or empty: {what}\n");
            assert_eq!(read(&key, &env).expect_err("is refused"), said);
        }
        for url in ["ftp://h/k", "idp.example/keys", "https://a/k,https://b/k"] {
            let mut env = ENV.to_vec();
            env[0].1 = url;
            let why = "the environment variable `JWT_PUBLIC_KEY_URL` is no single URL of http or https";
            assert_eq!(read(&key, &env).expect_err("is refused"), format!("{LINE}{why}\n"));
        }
        let with_url = |url| [("JWT_PUBLIC_KEY_URL", url), ENV[1], ENV[2]];
        for url in [
            "http://idp.example/keys",
            "http://10.0.0.1/keys",
            "http://localhost.example/k",
            "http://127.0.0.1@h/k",
        ] {
            let why = "the environment variable `JWT_PUBLIC_KEY_URL` is plain http: whoever stands in between could make \
                       tokens; https is needed but for this machine itself";
            assert_eq!(
                read(&key, &with_url(url)).expect_err("is refused"),
                format!("{LINE}{why}\n"),
                "{url}"
            );
        }
        for url in
            ["http://localhost:8080/k", "http://127.0.0.1/k", "http://[::1]:80/k", "HTTPS://idp.example/k"]
        {
            assert!(read(&key, &with_url(url)).is_ok(), "{url}");
        }
        assert_eq!(
            read(&[], &ENV).expect_err("is refused"),
            format!("{LINE}`master_key` is missing: nobody could manage what tokens may spend\n")
        );
        let at = |line: u32, key: &str, why: &str| {
            format!("config.yaml:{line}: error: general_settings.litellm_jwtauth.{key}: {why}\n")
        };
        let why = "known to LiteLLM, not supported yet: refusing to run without it";
        for (line, said) in [
            ("enforce_rbac: true", at(10, "enforce_rbac", why).replace(":10:", ":10:5:")),
            ("user_id_field: x", at(10, "user_id_field", "unknown key").replace(":10:", ":10:5:")),
            (
                "user_allowed_email_domain: a.b",
                at(10, "user_allowed_email_domain", "says nothing without `user_email_jwt_field`")
                    .replace(":10:", ":10:32:"),
            ),
            (
                "user_roles_jwt_field: roles",
                at(10, "user_roles_jwt_field", "says nothing without `user_allowed_roles`")
                    .replace(":10:", ":10:27:"),
            ),
        ] {
            let said_now = read(&[key[0], "litellm_jwtauth:", &format!("  {line}")], &ENV);
            assert_eq!(said_now.expect_err("is refused"), said, "{line}");
        }
    }

    #[test]
    fn a_token_must_say_what_is_demanded() {
        let demands = Demands {
            email: Some(("email".to_owned(), "a.example".to_owned())),
            roles: Some(("r.roles".to_owned(), vec!["one".to_owned(), "two".to_owned()])),
            ..Demands::default()
        };
        let met = |claims: serde_json::Value| demands.are_met(claims.as_object().expect("is an object"));
        assert!(met(json!({ "email": "x@a.example", "r": { "roles": ["two", "three"] } })));
        for verified in [json!(true), json!("true")] {
            let claims =
                json!({ "email": "x@A.Example", "email_verified": verified, "r": { "roles": "one" } });
            assert!(met(claims));
        }
        for unverified in
            [json!("false"), json!(0), json!(1), json!(null), json!(""), json!("True"), json!([true])]
        {
            let claims =
                json!({ "email": "x@a.example", "email_verified": unverified, "r": { "roles": "one" } });
            assert!(!met(claims.clone()), "{claims}");
        }
        for refused in [
            json!({ "email": "x@a.example" }),
            json!({ "email": "x@a.example", "r": { "roles": ["three"] } }),
            json!({ "r": { "roles": ["one"] } }),
            json!({ "email": "x@b.example", "r": { "roles": ["one"] } }),
            json!({ "email": "x@a.example@b.example", "r": { "roles": ["one"] } }),
            json!({ "email": "x@sub.a.example", "r": { "roles": ["one"] } }),
            json!({ "email": "x@a.example", "email_verified": false, "r": { "roles": ["one"] } }),
        ] {
            assert!(!met(refused.clone()), "{refused}");
        }
    }
}

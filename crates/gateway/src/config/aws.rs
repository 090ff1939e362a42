//! Where calls of Bedrock go, and with which keys they are signed.

use std::fmt;

use ziggurat_aws::{ProfileRole, Role, RoleSource};

use super::assertion::{Assertion, OIDC};
use super::credential::is_sendable;
use super::diagnostic::Report;
use super::env::Environment;
use super::node::Node;
use super::provider::{Api, Provider};
use crate::secret::Secret;

/// What signs the calls of a deployment on AWS.
#[derive(Debug)]
pub(crate) struct Aws {
    /// The region in which it is called.
    pub(crate) region: String,
    /// Who signs.
    pub(crate) keys: Keys,
}

/// Where the keys come from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Keys {
    /// The file, or the environment at the start.
    Given {
        /// The id of the access key.
        id: String,
        /// The access key.
        secret: Secret,
        /// The token of a session.
        token: Option<Secret>,
    },
    /// A profile of the file of credentials that AWS's own tools share; theirs of that name unless one is given, and else the platform.
    Profile(Option<String>),
    /// The container that this process runs in.
    Container,
    /// The instance that it runs on.
    Instance,
    /// A role that is assumed.
    Role(Box<AssumedRole>),
}

/// A role, and who assumes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AssumedRole {
    pub(crate) role: Role,
    pub(crate) by: AssumedBy,
}

/// Who assumes a role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AssumedBy {
    /// Whom these keys belong to.
    Keys(Keys),
    /// Whom a token of an identity provider's names.
    Token(Assertion),
}

/// What reads them.
struct Reader<'r> {
    params: &'r Node,
    /// The region of the deployment.
    region: &'r str,
    environment: &'r Environment<'r>,
}

/// A place in the file, and what is wrong there.
type Fault<'r> = (&'r Node, String);

/// The region that LiteLLM takes when none is given.
const REGION: &str = "us-west-2";

/// What stands in front of a model that is invoked in its own words, not by Converse.
pub(super) const INVOKED: &str = "invoke/";

/// What stands for a region in front of a model's id.
const REGION_PREFIXES: [&str; 9] = ["us-", "eu-", "ap-", "ca-", "sa-", "me-", "af-", "il-", "mx-"];

// ===== impl Aws =====

impl Aws {
    /// Reads what the parameters of a deployment say; `None` where it is not on AWS, or is called with a key of Bedrock's own.
    pub(super) fn read(
        params: &Node,
        provider: &Provider,
        region: Option<&str>,
        has_key: bool,
        environment: &Environment<'_>,
        report: &mut Report,
    ) -> Option<Self> {
        if provider.api != Api::Bedrock {
            return None;
        }
        let region = Self::region(params, region, environment);
        if has_key {
            if let Some(role) = given(params, ROLE) {
                report.warning(&role.at, &role.path, "is not used: a key of Bedrock's own is sent");
            }
            return None;
        }
        let reader = Reader { params, region: &region, environment };
        match reader.keys() {
            Ok(keys) => Some(Self { region, keys }),
            Err((place, why)) => {
                report.error(&place.at, &place.path, why);
                None
            }
        }
    }

    /// The region in which a deployment is called.
    pub(super) fn region(params: &Node, own: Option<&str>, environment: &Environment<'_>) -> String {
        let given = params.get("aws_region_name").and_then(Node::text).filter(|text| !text.is_empty());
        let of_environment = || {
            let names = ["AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"];
            names.into_iter().find_map(|name| environment.get(name))
        };
        let given = own.or(given).map(str::to_owned);
        given.or_else(of_environment).unwrap_or_else(|| REGION.to_owned())
    }
}

// ===== impl Reader =====

impl<'r> Reader<'r> {
    fn keys(&self) -> Result<Keys, Fault<'r>> {
        let Some(node) = given(self.params, ROLE) else {
            for key in [TOKEN, "aws_external_id"] {
                if let Some(node) = given(self.params, key) {
                    return Err((node, format!("is for a role: missing key `{ROLE}`")));
                }
            }
            return self.own();
        };
        let (arn, external_id) = (node.text().unwrap_or_default(), given(self.params, "aws_external_id"));
        let mut role = self.role((arn, node), self.text("aws_session_name").as_deref())?;
        if let Some(id) = external_id.and_then(Node::text) {
            role = role.external_id(id);
        }
        let by = match given(self.params, TOKEN) {
            Some(node) => AssumedBy::Token(self.token(node)?),
            None => match self.own()? {
                // What the platform has assumed for us is not assumed once more.
                Keys::Role(own) if own.role.arn() == arn => return Ok(Keys::Role(own)),
                keys => AssumedBy::Keys(keys),
            },
        };
        Ok(Keys::Role(Box::new(AssumedRole { role, by })))
    }

    /// The keys of the deployment itself, or those that AWS's own tools would find.
    fn own(&self) -> Result<Keys, Fault<'r>> {
        match (self.text("aws_access_key_id"), self.text("aws_secret_access_key")) {
            (Some(id), Some(secret)) => {
                let token = self.text("aws_session_token").map(|token| Secret::new(&token));
                Ok(Keys::Given { id, secret: Secret::new(&secret), token })
            }
            (None, None) => match given(self.params, "aws_profile_name") {
                Some(node) => self.profile(node.text().unwrap_or_default(), node, &mut Vec::new()),
                None => self.found(),
            },
            (id, _) => {
                let missing = if id.is_some() { "aws_secret_access_key" } else { "aws_access_key_id" };
                Err((self.params, format!("missing key `{missing}`")))
            }
        }
    }

    /// Those that AWS's own tools find where nothing is said.
    fn found(&self) -> Result<Keys, Fault<'r>> {
        if let Some(keys) = self.of_environment() {
            return Ok(keys);
        }
        if let Some(name) = self.environment.get("AWS_PROFILE") {
            return self.profile(&name, self.params, &mut Vec::new());
        }
        let web = (self.environment.get(WEB_ROLE), self.environment.get(WEB_TOKEN));
        if let (Some(arn), Some(path)) = web {
            let session = self.environment.get("AWS_ROLE_SESSION_NAME");
            let role = self.role((&arn, self.params), session.as_deref())?;
            let token = Assertion::in_file(&path);
            let token =
                token.map_err(|why| (self.params, format!("environment variable `{WEB_TOKEN}`: {why}")))?;
            return Ok(Keys::Role(Box::new(AssumedRole { role, by: AssumedBy::Token(token) })));
        }
        match self.profile("default", self.params, &mut Vec::new())? {
            Keys::Profile(_) => Ok(Keys::Profile(None)),
            role => Ok(role),
        }
    }

    fn of_environment(&self) -> Option<Keys> {
        let (id, secret) =
            (self.environment.get("AWS_ACCESS_KEY_ID")?, self.environment.get("AWS_SECRET_ACCESS_KEY")?);
        let token = self.environment.get("AWS_SESSION_TOKEN").map(|token| Secret::new(&token));
        Some(Keys::Given { id, secret: Secret::new(&secret), token })
    }

    /// The keys of a profile, or the role that it names. A profile that `before` holds leads here.
    fn profile(&self, name: &str, place: &'r Node, before: &mut Vec<String>) -> Result<Keys, Fault<'r>> {
        let get = |variable: &str| self.environment.get(variable);
        let role = ProfileRole::from_variables(name, get).map_err(|none| (place, none.why))?;
        let Some(ProfileRole { arn, session, external_id, source, .. }) = role else {
            return Ok(Keys::Profile(Some(name.to_owned())));
        };
        let mut role = self.role((&arn, place), session.as_deref())?;
        if let Some(id) = external_id {
            role = role.external_id(id);
        }
        before.push(name.to_owned());
        let by = match source {
            // By its own name, its own keys.
            RoleSource::Profile(other) if other == name => AssumedBy::Keys(Keys::Profile(Some(other))),
            RoleSource::Profile(other) if before.contains(&other) => {
                return Err((place, format!("the source_profile of {name:?} leads in a circle")));
            }
            RoleSource::Profile(other) => AssumedBy::Keys(self.profile(&other, place, before)?),
            RoleSource::Environment => AssumedBy::Keys(self.of_environment().ok_or_else(|| {
                let why = format!("the profile {name:?} takes its keys from the environment, which has none");
                (place, why)
            })?),
            RoleSource::Container => AssumedBy::Keys(Keys::Container),
            RoleSource::Instance => AssumedBy::Keys(Keys::Instance),
            RoleSource::WebIdentity(path) => {
                let token = Assertion::in_file(&path.to_string_lossy());
                AssumedBy::Token(token.map_err(|why| (place, format!("the profile {name:?} {why}")))?)
            }
            _ => {
                return Err((
                    place,
                    format!("the role of the profile {name:?} is assumed in a way that is not known"),
                ));
            }
        };
        Ok(Keys::Role(Box::new(AssumedRole { role, by })))
    }

    /// A role by its ARN, which stands at a place.
    fn role(&self, (arn, place): (&str, &'r Node), session: Option<&str>) -> Result<Role, Fault<'r>> {
        if !(arn.starts_with("arn:") && is_sendable(arn)) {
            return Err((place, "must be the ARN of a role".to_owned()));
        }
        let session = session.unwrap_or(SESSION);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if !((2..=64).contains(&session.len()) && session.bytes().all(fits)) {
            let place = given(self.params, "aws_session_name").unwrap_or(place);
            let why = "the name of a session is 2 to 64 letters, digits and `_+=,.@-`";
            return Err((place, why.to_owned()));
        }
        let role = Role::new(arn, session, self.region);
        let Some(node) = given(self.params, "aws_sts_endpoint") else { return Ok(role) };
        role.endpoint(node.text().unwrap_or_default()).map_err(|none| (node, none.why))
    }

    /// A token as LiteLLM names it, the path of one, or itself.
    fn token(&self, node: &'r Node) -> Result<Assertion, Fault<'r>> {
        let text = node.text().unwrap_or_default();
        let token = match text.strip_prefix(OIDC) {
            Some(name) => Assertion::named(name, self.environment),
            None if text.starts_with('/') => Assertion::in_file(text),
            None => Ok(Assertion::Text(text.to_owned())),
        };
        token.map_err(|why| (node, why))
    }

    fn text(&self, key: &str) -> Option<String> {
        given(self.params, key).and_then(Node::text).map(str::to_owned)
    }
}

/// What is given under a key, unless that is empty.
fn given<'n>(params: &'n Node, key: &str) -> Option<&'n Node> {
    params.get(key).filter(|node| node.text().is_some_and(|text| !text.is_empty()))
}

const ROLE: &str = "aws_role_name";
const TOKEN: &str = "aws_web_identity_token";
/// What sessions of roles are called where nobody says otherwise.
const SESSION: &str = "ziggurat";
/// Where EKS says which role its token is for, and where that is.
const WEB_ROLE: &str = "AWS_ROLE_ARN";
const WEB_TOKEN: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";

/// The region that stands in front of a model's id, and the rest; what says to LiteLLM by which API it is asked is passed over.
pub(super) fn split(id: &str) -> (Option<&str>, &str) {
    let id = id.strip_prefix("converse/").or_else(|| id.strip_prefix(INVOKED)).unwrap_or(id);
    match id.split_once('/') {
        Some((first, rest))
            if REGION_PREFIXES.iter().any(|prefix| first.starts_with(prefix)) && !first.contains('.') =>
        {
            (Some(first), rest)
        }
        _ => (None, id),
    }
}

/// The address of Bedrock in a region.
pub(super) fn address(region: &str) -> String {
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://bedrock-runtime.{region}.amazonaws.com{end}")
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given { .. } => f.write_str("Given(..)"),
            Self::Profile(name) => f.debug_tuple("Profile").field(name).finish(),
            Self::Container => f.write_str("Container"),
            Self::Instance => f.write_str("Instance"),
            Self::Role(role) => role.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_may_stand_in_front_of_a_model() {
        let cases = [
            ("anthropic.claude-v2:1", (None, "anthropic.claude-v2:1")),
            ("us.anthropic.claude-v2:1", (None, "us.anthropic.claude-v2:1")),
            ("us-east-1/meta.llama3", (Some("us-east-1"), "meta.llama3")),
            ("converse/eu-west-1/m", (Some("eu-west-1"), "m")),
            ("converse/m", (None, "m")),
            ("invoke/eu-west-1/m", (Some("eu-west-1"), "m")),
            (
                "arn:aws:bedrock:us-east-1:1:inference-profile/x",
                (None, "arn:aws:bedrock:us-east-1:1:inference-profile/x"),
            ),
        ];
        for (id, expected) in cases {
            assert_eq!(split(id), expected, "{id}");
        }
    }

    #[test]
    fn each_region_has_its_address() {
        assert_eq!(address("eu-west-1"), "https://bedrock-runtime.eu-west-1.amazonaws.com");
        assert_eq!(address("cn-north-1"), "https://bedrock-runtime.cn-north-1.amazonaws.com.cn");
    }
}

//! Where calls of Bedrock go, and with which keys they are signed.

use std::fmt;

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
    /// A profile of the file of credentials that AWS's own tools share; theirs of that name unless one is given.
    Profile(Option<String>),
}

/// The region that LiteLLM takes when none is given.
const REGION: &str = "us-west-2";

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
            return None;
        }
        let text = |key: &str| params.get(key).and_then(Node::text).filter(|text| !text.is_empty());
        let (id, secret) = (text("aws_access_key_id"), text("aws_secret_access_key"));
        let token = text("aws_session_token");
        let keys = match (id, secret) {
            (Some(id), Some(secret)) => {
                Keys::Given { id: id.to_owned(), secret: Secret::new(secret), token: token.map(Secret::new) }
            }
            (None, None) => match text("aws_profile_name") {
                Some(name) => Keys::Profile(Some(name.to_owned())),
                None => Self::keys_of(environment),
            },
            (Some(_), None) | (None, Some(_)) => {
                let missing = if id.is_some() { "aws_secret_access_key" } else { "aws_access_key_id" };
                report.error(&params.at, &params.path, format!("missing key `{missing}`"));
                return None;
            }
        };
        Some(Self { region, keys })
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

    fn keys_of(environment: &Environment<'_>) -> Keys {
        let (id, secret) = (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY"));
        match (id, secret) {
            (Some(id), Some(secret)) => {
                let token = environment.get("AWS_SESSION_TOKEN").map(|token| Secret::new(&token));
                Keys::Given { id, secret: Secret::new(&secret), token }
            }
            _ => Keys::Profile(environment.get("AWS_PROFILE")),
        }
    }
}

/// The region that stands in front of a model's id, and the rest; what says to LiteLLM by which API it is asked is passed over.
pub(super) fn split(id: &str) -> (Option<&str>, &str) {
    let id = id.strip_prefix("converse/").unwrap_or(id);
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

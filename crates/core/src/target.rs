//! Where an attempt goes, and the ordered candidates of a call.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::{Capabilities, Credential, Dialect, HeaderKey, NoCredential, Operation, Wording};

/// A deployment: a model at a provider, and how to reach it. Cheap to clone; written as a request extension per attempt.
#[derive(Clone)]
pub struct Target(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    id: Arc<str>,
    provider: Arc<str>,
    dialect: Dialect,
    model: Arc<str>,
    group: Option<Arc<str>>,
    uri: Uri,
    stream_uri: Option<Uri>,
    model_in_url: bool,
    wraps_events: bool,
    additions: Arc<[(String, String)]>,
    others: Arc<[Other]>,
    converses: bool,
    policy: ParamPolicy,
    quirks: Quirks,
    capabilities: Option<Capabilities>,
    headers: HeaderMap,
    defaults: Arc<[(String, String)]>,
    credential: Arc<dyn Credential>,
}

/// An operation beside the target's own.
#[derive(Clone)]
struct Other {
    operation: Operation,
    uri: Uri,
    wording: Option<Wording>,
}

/// What happens to request parameters that the model does not take. The default refuses them by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParamPolicy {
    /// Leaves out what the model does not take.
    pub drop_params: bool,
    /// Leaves out these, whatever the model takes; `a.b` names a member of a member.
    pub additional_drop_params: Arc<[String]>,
    /// Passes these on, whatever is known of the model.
    pub allowed_openai_params: Arc<[String]>,
}

/// In what a provider's requests differ from those of its dialect. The default: in nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quirks {
    /// Top-level parameters that it knows by another name: the dialect's name, then the provider's.
    pub renames: Arc<[(String, String)]>,
    /// Top-level parameters that it refuses, by the dialect's name: what becomes of them is the [`ParamPolicy`]'s to say.
    pub refuses: Arc<[String]>,
    /// Whether it knows no `stream_options`, and tells at the end of each stream what was used.
    pub no_stream_options: bool,
    /// Whether what it takes is Mistral's form of OpenAI's chats, so that no body passes as it is.
    pub mistral: bool,
    /// How it takes back what its model thought, in OpenAI's chats; `None`: not at all.
    pub thoughts: Option<Thoughts>,
    /// The most bytes of an image that it takes, where that is known.
    pub max_image: Option<u64>,
}

/// The members of an assistant's message in OpenAI's chats in which a provider takes back what its model thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Thoughts {
    /// The words, in `reasoning_content`; where there are tool calls it must not be missing.
    ReasoningContent,
    /// The words, in `reasoning`.
    Reasoning,
    /// The words in `reasoning`, and in `reasoning_details` what the provider has signed.
    ReasoningDetails,
}

/// The ordered candidates for a call, the caller's rights already checked: a request extension written ahead of the layers that
/// reserve for the dearest of them. Absent: the model that the call names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// First choice first.
    pub candidates: Arc<[Target]>,
    /// The group ([`Target::model_group`]) that the model's name in the call stands for, where that is known: candidates of others stand in
    /// for it.
    pub group: Option<Arc<str>>,
}

/// Why a target cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// The URL is not an absolute http or https URL.
    Url(String),
    /// The key has bytes that no header can hold.
    Key,
}

// ===== impl Plan =====

impl Plan {
    /// A plan of these candidates, all of which answer to the model's name in the call.
    #[must_use]
    pub fn new(candidates: impl Into<Arc<[Target]>>) -> Self {
        Self { candidates: candidates.into(), group: None }
    }

    /// Says which group the model's name in the call stands for.
    #[must_use]
    pub fn group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Whether a target would answer in the place of the model that the call names.
    #[must_use]
    pub fn is_stand_in(&self, target: &Target) -> bool {
        self.group.as_deref().is_some_and(|group| target.model_group() != Some(group))
    }
}

// ===== impl Target =====

impl Target {
    /// A model at `uri`, the whole URL that is posted to, which must be absolute and http or https.
    ///
    /// # Errors
    /// [`TargetError::Url`] when it is not.
    pub fn new(provider: &str, dialect: Dialect, model: &str, uri: &str) -> Result<Self, TargetError> {
        let parsed = checked(uri)?;
        Ok(Self(Arc::new(Inner {
            id: format!("{provider}/{model}").into(),
            provider: provider.into(),
            dialect,
            model: model.into(),
            group: None,
            uri: parsed,
            stream_uri: None,
            model_in_url: false,
            wraps_events: false,
            additions: Arc::new([]),
            others: Arc::new([]),
            converses: true,
            policy: ParamPolicy::default(),
            quirks: Quirks::default(),
            capabilities: None,
            headers: HeaderMap::new(),
            defaults: Arc::new([]),
            credential: Arc::new(NoCredential),
        })))
    }

    /// A model of OpenAI's, with an API key.
    ///
    /// # Errors
    /// [`TargetError::Key`] when no header can hold the key.
    pub fn openai(model: &str, key: &str) -> Result<Self, TargetError> {
        Self::new("openai", Dialect::OpenAi, model, "https://api.openai.com/v1/chat/completions")?
            .key(header::AUTHORIZATION, &format!("Bearer {key}"))
    }

    /// A model of Anthropic's, with an API key.
    ///
    /// # Errors
    /// [`TargetError::Key`] when no header can hold the key.
    pub fn anthropic(model: &str, key: &str) -> Result<Self, TargetError> {
        Self::new("anthropic", Dialect::Anthropic, model, "https://api.anthropic.com/v1/messages")?
            .key(HeaderName::from_static("x-api-key"), key)
    }

    /// Sends a fixed key in a header, to this target's origin only.
    ///
    /// # Errors
    /// [`TargetError::Key`] when no header can hold it.
    pub fn key(self, name: HeaderName, value: &str) -> Result<Self, TargetError> {
        let value = HeaderValue::from_str(value).map_err(|_| TargetError::Key)?;
        let authority =
            self.0.uri.authority().cloned().ok_or_else(|| TargetError::Url(self.0.uri.to_string()))?;
        Ok(self.credential(HeaderKey::new(authority, name, value)))
    }

    /// Sets the credential.
    #[must_use]
    pub fn credential(self, credential: impl Credential) -> Self {
        self.change(|inner| inner.credential = Arc::new(credential))
    }

    /// Sets the id under which this deployment is known to health, limits and logs.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.change(|inner| inner.id = id.into())
    }

    /// Sets the name by which callers know it, where that is not the provider's: the model group's.
    #[must_use]
    pub fn group(self, name: impl Into<Arc<str>>) -> Self {
        self.change(|inner| inner.group = Some(name.into()))
    }

    /// Posts to another URL, given whole. A key stays bound to the origin it was given for: set it again for a new one.
    ///
    /// # Errors
    /// [`TargetError::Url`] when it is not an absolute http or https URL.
    pub fn url(self, uri: &str) -> Result<Self, TargetError> {
        let uri = checked(uri)?;
        Ok(self.change(|inner| inner.uri = uri))
    }

    /// Posts to another URL where a stream is asked for, as Gemini and Bedrock have it.
    ///
    /// # Errors
    /// As [`Target::url`].
    pub fn stream_url(self, uri: &str) -> Result<Self, TargetError> {
        let uri = checked(uri)?;
        Ok(self.change(|inner| inner.stream_uri = Some(uri)))
    }

    /// Leaves the model out of bodies: the URL names it.
    #[must_use]
    pub fn names_model_in_url(self) -> Self {
        self.change(|inner| inner.model_in_url = true)
    }

    /// Says that it answers a stream with AWS's binary messages, each of which holds an event of its dialect, as models invoked on Bedrock do,
    /// and that its URL says that one is wanted, so that bodies do not.
    #[must_use]
    pub fn wraps_events(self) -> Self {
        self.change(|inner| inner.wraps_events = true)
    }

    /// Adds these top-level members, name and JSON, to every body, in the words of its own dialect, where it has none of that name.
    #[must_use]
    pub fn adds(self, members: impl IntoIterator<Item = (String, String)>) -> Self {
        self.change(|inner| inner.additions = members.into_iter().collect())
    }

    /// Serves `operation` too, at a URL of its own, in the dialect in which callers ask for it: such calls are passed on as they are.
    ///
    /// # Errors
    /// As [`Target::url`].
    pub fn serves(self, operation: Operation, uri: &str) -> Result<Self, TargetError> {
        self.serves_by(operation, uri, None)
    }

    /// Serves `operation` too, at a URL of its own and in other words than its callers'.
    ///
    /// # Errors
    /// As [`Target::url`].
    pub fn serves_as(self, operation: Operation, uri: &str, wording: Wording) -> Result<Self, TargetError> {
        self.serves_by(operation, uri, Some(wording))
    }

    fn serves_by(
        self,
        operation: Operation,
        uri: &str,
        wording: Option<Wording>,
    ) -> Result<Self, TargetError> {
        let other = Other { operation, uri: checked(uri)?, wording };
        Ok(self.change(|inner| {
            let others = inner.others.iter().filter(|known| known.operation != operation).cloned();
            inner.others = others.chain([other]).collect();
        }))
    }

    /// Says that no conversation can be had with it: it does what it [serves](Target::serves), and nothing else.
    #[must_use]
    pub fn without_conversations(self) -> Self {
        self.change(|inner| inner.converses = false)
    }

    /// Sets the parameter policy.
    #[must_use]
    pub fn policy(self, policy: ParamPolicy) -> Self {
        self.change(|inner| inner.policy = policy)
    }

    /// Sets in what the provider's requests differ from those of its dialect.
    #[must_use]
    pub fn quirks(self, quirks: Quirks) -> Self {
        self.change(|inner| inner.quirks = quirks)
    }

    /// Says what the model takes, where more is known of it than the facts of its family.
    #[must_use]
    pub fn capabilities(self, capabilities: Capabilities) -> Self {
        self.change(|inner| inner.capabilities = Some(capabilities))
    }

    /// Adds a header to every request (an API version, an organisation).
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.change(|inner| {
            inner.headers.insert(name, value);
        })
    }

    /// Sends these top-level parameters, name and JSON, where the caller gives none of that name.
    #[must_use]
    pub fn defaults(self, defaults: impl IntoIterator<Item = (String, String)>) -> Self {
        self.change(|inner| inner.defaults = defaults.into_iter().collect())
    }

    /// The top-level parameters that are sent where the caller gives none, name and JSON.
    #[must_use]
    pub fn default_params(&self) -> &[(String, String)] {
        &self.0.defaults
    }

    /// The id under which this deployment is known.
    #[must_use]
    pub fn deployment(&self) -> &str {
        &self.0.id
    }

    /// The provider's name, as in `provider/model`.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.0.provider
    }

    /// The API shape the provider speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.0.dialect
    }

    /// The model's name at the provider.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.0.model
    }

    /// The name by which callers know it, where that is known.
    #[must_use]
    pub fn model_group(&self) -> Option<&str> {
        self.0.group.as_deref()
    }

    /// The URL that is posted to.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// Whether bodies name no model, as the URL does.
    #[must_use]
    pub fn has_model_in_url(&self) -> bool {
        self.0.model_in_url
    }

    /// Whether each event of a stream stands in one of AWS's messages.
    #[must_use]
    pub fn has_wrapped_events(&self) -> bool {
        self.0.wraps_events
    }

    /// Members that every body has, name and JSON.
    #[must_use]
    pub fn additions(&self) -> &[(String, String)] {
        &self.0.additions
    }

    /// The URL that is posted to for a stream.
    #[must_use]
    pub fn stream_uri(&self) -> &Uri {
        self.0.stream_uri.as_ref().unwrap_or(&self.0.uri)
    }

    /// The URL at which it serves an operation, beside what is posted to [`Target::uri`].
    #[must_use]
    pub fn uri_of(&self, operation: Operation) -> Option<&Uri> {
        Some(&self.other(operation)?.uri)
    }

    /// The words in which it serves an operation, where they are not its callers'.
    #[must_use]
    pub fn wording_of(&self, operation: Operation) -> Option<Wording> {
        self.other(operation)?.wording
    }

    /// Whether conversations can be had with it.
    #[must_use]
    pub fn converses(&self) -> bool {
        self.0.converses
    }

    fn other(&self, operation: Operation) -> Option<&Other> {
        self.0.others.iter().find(|other| other.operation == operation)
    }

    /// What happens to parameters the model does not take.
    #[must_use]
    pub fn params(&self) -> &ParamPolicy {
        &self.0.policy
    }

    /// In what the provider's requests differ from those of its dialect.
    #[must_use]
    pub fn provider_quirks(&self) -> &Quirks {
        &self.0.quirks
    }

    /// What the model takes, where that was said.
    #[must_use]
    pub fn model_capabilities(&self) -> Option<&Capabilities> {
        self.0.capabilities.as_ref()
    }

    /// Headers that go with every request.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// Puts the credential on a request whose body is final.
    #[must_use]
    pub fn credentials(&self) -> &dyn Credential {
        &*self.0.credential
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// A whole URL that can be posted to.
fn checked(uri: &str) -> Result<Uri, TargetError> {
    let parsed: Uri = uri.parse().map_err(|_| TargetError::Url(uri.to_owned()))?;
    let web = matches!(parsed.scheme_str(), Some("http" | "https")) && parsed.authority().is_some();
    // User info in a URL would end up in logs: credentials have their own place.
    if !web || parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(TargetError::Url(uri.to_owned()));
    }
    Ok(parsed)
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("id", &self.0.id)
            .field("provider", &self.0.provider)
            .field("model", &self.0.model)
            .finish_non_exhaustive()
    }
}

// ===== impl Quirks =====

impl Quirks {
    /// Whether the parameters that it takes differ in nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.renames.is_empty() && self.refuses.is_empty() && !self.no_stream_options
    }

    /// The other names of a parameter: the provider's for the dialect's, and the dialect's for the provider's.
    pub fn other_names<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.renames.iter().filter_map(move |(from, to)| match name {
            _ if name == from => Some(to.as_str()),
            _ if name == to => Some(from.as_str()),
            _ => None,
        })
    }
}

// ===== impl TargetError =====

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => f.write_str("not an absolute http or https URL without user info"),
            Self::Key => f.write_str("the key holds bytes that no header can hold"),
        }
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_has_its_other_name_in_both_directions() {
        let quirks =
            Quirks { renames: [("seed".to_owned(), "random_seed".to_owned())].into(), ..Quirks::default() };
        let others = |name| quirks.other_names(name).collect::<Vec<_>>();
        assert_eq!((others("seed"), others("random_seed")), (vec!["random_seed"], vec!["seed"]));
        assert!(others("user").is_empty());
        assert!(!quirks.is_empty() && Quirks::default().is_empty());
    }
}

//! What of an Anthropic caller's head goes on: the version of the API, and the betas that it asks for.

use std::{borrow::Cow, collections::HashSet, ops::Range};

use http::{HeaderMap, HeaderName, HeaderValue};
use ziggurat_core::{
    Call, Cause, Dialect, Edit, Problem, Rejection, Target,
    json::{Cursor, Fault, key_is},
};
use ziggurat_dialect::converse;

/// The betas of a header, for a target that is asked for them in the body.
#[derive(Debug, Default)]
pub(crate) struct Betas<'h>(Vec<&'h str>);

const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// What stands in bodies in the place of the headers.
const VERSION_IN_BODY: &str = "anthropic_version";
const BETAS_IN_BODY: &str = "anthropic_beta";

/// Anthropic wants a version; a caller of its own dialect chooses it, and the betas. Where the body names a version, it is of another API,
/// whose versions are others.
pub(crate) fn headers(caller: &HeaderMap, dialect: Dialect, target: &Target, out: &mut HeaderMap) {
    let has_version = target.additions().iter().any(|(name, _)| name == VERSION_IN_BODY);
    let names = [(!has_version).then_some(VERSION), (!target.has_wrapped_events()).then_some(BETA)];
    if !has_version {
        out.insert(VERSION, HeaderValue::from_static("2023-06-01"));
    }
    if dialect != Dialect::Anthropic {
        return;
    }
    for name in names.into_iter().flatten() {
        let mut values = caller.get_all(&name).iter();
        if let Some(first) = values.next() {
            out.insert(name.clone(), first.clone());
        }
        for more in values {
            out.append(name.clone(), more.clone());
        }
    }
}

/// Whether it is Claude on Bedrock, where no header reaches it.
fn is_asked_in_body(target: &Target, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Anthropic => target.has_wrapped_events(),
        Dialect::Converse => converse::is_claude(target.model()),
        _ => false,
    }
}

// ===== impl Betas =====

impl<'h> Betas<'h> {
    /// What the header has for a body of the target's; nothing for a target that takes the header, or none.
    ///
    /// # Errors
    /// A [`Rejection`], when a header is no text.
    pub(crate) fn of(
        headers: &'h HeaderMap,
        call: &Call,
        target: &Target,
        dialect: Dialect,
    ) -> Result<Self, Rejection> {
        let policy = target.params();
        let names = |list: &[String]| list.iter().any(|name| name == BETAS_IN_BODY);
        if call.dialect() != Dialect::Anthropic
            || !call.operation().is_conversation()
            || !is_asked_in_body(target, dialect)
            || names(&policy.additional_drop_params)
        {
            return Ok(Self::default());
        }
        let fits = policy.drop_params && !names(&policy.allowed_openai_params);
        let mut betas = Vec::new();
        for value in headers.get_all(BETA) {
            let value = value.to_str().map_err(|_| no_text())?;
            let listed = value.split(',').map(str::trim).filter(|beta| !beta.is_empty());
            betas.extend(listed.filter(|beta| !fits || ON_BEDROCK.contains(beta)));
        }
        Ok(Self(betas))
    }

    /// Asks for them beside those that the body asks for. A body that has something else there than a list is the provider's to refuse.
    pub(crate) fn ask<'a>(&self, edit: Edit<'a>, call: &Call) -> Edit<'a> {
        if self.0.is_empty() {
            return edit;
        }
        let own = own(call);
        let listed = own.as_ref().map(|(_, json)| serde_json::from_str::<Option<Vec<Cow<'_, str>>>>(json));
        let Ok(listed) = listed.transpose() else { return edit };
        let mut all = listed.flatten().unwrap_or_default();
        let (asked, mut known) = (all.len(), all.iter().cloned().collect::<HashSet<_>>());
        all.extend(self.0.iter().map(|beta| Cow::Borrowed(*beta)).filter(|beta| known.insert(beta.clone())));
        if all.len() == asked {
            return edit;
        }
        let json = serde_json::Value::from_iter(all).to_string();
        match own {
            Some((place, _)) => edit.replace(place, json.into_bytes()),
            None => edit.add_missing(BETAS_IN_BODY, &json),
        }
    }
}

/// Where the body's own list stands: of several the last, which is the one that counts.
fn own(call: &Call) -> Option<(Range<usize>, &str)> {
    let mut own = None;
    let walked: Result<(), Fault> = Cursor::new(call.text()).object(|key, cursor| {
        if key_is(key, BETAS_IN_BODY) {
            let start = cursor.offset();
            let json = cursor.value()?;
            own = Some((start..start + json.len(), json));
        }
        Ok(())
    });
    walked.ok().and(own)
}

fn no_text() -> Rejection {
    Problem::new(Cause::InvalidRequest, "`anthropic-beta` is not a list of names")
        .param("anthropic-beta")
        .into()
}

/// Betas that the user guide of Bedrock knows ("Anthropic Claude Messages API"), though not for every model: one that a model does not know
/// makes it refuse the call.
const ON_BEDROCK: &[&str] = &[
    "compact-2026-01-12",
    "computer-use-2024-10-22",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dev-full-thinking-2025-05-14",
    "effort-2025-11-24",
    "interleaved-thinking-2025-05-14",
    "output-128k-2025-02-19",
    "token-efficient-tools-2025-02-19",
    "tool-examples-2025-10-29",
    "tool-search-tool-2025-10-19",
];

//! Tool names that had to be shortened, and back again.

use sha2::{Digest, Sha256};

use crate::{BlockKind, Request, Response, Text, Tool, openai::shorten_tool_name};

/// The long names behind the short ones that a provider was given: its answer is put right with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolNames(Vec<(String, String)>);

// ===== impl ToolNames =====

impl ToolNames {
    /// The names of a request's tools that OpenAI's limit makes shorter.
    #[must_use]
    pub fn of(request: &Request<'_>) -> Self {
        let names = request.tools.iter().filter_map(|tool| match tool {
            Tool::Function { name, .. } => {
                let short = shorten_tool_name(name);
                (short != *name).then(|| (short.decode().into_owned(), name.decode().into_owned()))
            }
            _ => None,
        });
        Self(names.collect())
    }

    /// Whether no name was shortened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The long name behind a short one.
    #[must_use]
    pub fn restore(&self, name: &Text<'_>) -> Option<Text<'static>> {
        self.0.iter().find(|(short, _)| *name == **short).map(|(_, long)| long.clone().into())
    }

    /// Puts the long names back into an answer.
    pub fn restore_all(&self, response: &mut Response<'_>) {
        if self.is_empty() {
            return;
        }
        for block in response.choices.iter_mut().flat_map(|choice| &mut choice.content) {
            if let BlockKind::ToolCall(call) = &mut block.kind
                && let Some(long) = self.restore(&call.name)
            {
                call.name = long;
            }
        }
    }
}

/// Eight hexadecimal digits that keep two names apart.
pub(crate) fn short_hash(name: &str) -> String {
    short(Sha256::new_with_prefix(name.as_bytes()))
}

/// The first eight digits of a hash.
pub(crate) fn short(hash: Sha256) -> String {
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// An answer's id or model as it stands in every chunk of a stream: one that is longer than any that was seen is told by its hash, so that no
/// provider makes much out of little.
pub(crate) fn repeated<'t>(name: &Text<'t>) -> Text<'t> {
    if name.len() > LONGEST { short_hash(&name.decode()).into() } else { name.clone() }
}

const LONGEST: usize = 256;

//! Which calls go to the same deployment.

use http::request::Parts;
use ziggurat_core::{Call, Field};

use crate::Affinity;

/// Which calls go to the same deployment of their group, while it can be called: on all nodes the same, and without memory
/// ([`Affinity`]). None by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Pins {
    sessions: bool,
    prompts: bool,
}

// ===== impl Pins =====

impl Pins {
    /// None.
    pub const fn none() -> Self {
        Self { sessions: false, prompts: false }
    }

    /// Those of a session: by the header `x-litellm-session-id`, else by `metadata.session_id`.
    pub const fn sessions(mut self) -> Self {
        self.sessions = true;
        self
    }

    /// Those whose prompt begins with the same 4 KiB, about the least that providers cache: where the beginning was read before, it is
    /// cheap to read again.
    pub const fn prompts(mut self) -> Self {
        self.prompts = true;
        self
    }

    pub(crate) fn of(self, parts: &Parts, call: &Call) -> Option<Affinity> {
        let session = || {
            let header = parts.headers.get("x-litellm-session-id").map(|id| id.as_bytes().to_vec());
            header.or_else(|| call.session().map(String::into_bytes))
        };
        let session = self.sessions.then(session).flatten().filter(|id| !id.is_empty());
        session.map(|id| Affinity::of([id])).or_else(|| self.prompts.then(|| prompt(call)).flatten())
    }
}

/// What the beginning of a long prompt has in common with others.
fn prompt(call: &Call) -> Option<Affinity> {
    let parts =
        [Field::System, Field::Messages].map(|field| call.field(field).unwrap_or_default().as_bytes());
    let long = parts.iter().map(|part| part.len()).sum::<usize>() >= BEGINNING;
    let [system, messages] = parts;
    let system = &system[..system.len().min(BEGINNING)];
    let messages = &messages[..messages.len().min(BEGINNING - system.len())];
    long.then(|| Affinity::of([system, messages]))
}

/// Bytes of a prompt that must be the same: 1024 tokens and more, below which no provider caches.
const BEGINNING: usize = 4096;

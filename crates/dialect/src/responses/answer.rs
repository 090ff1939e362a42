//! The object that a whole answer is, and that the first and the last events of a stream hold.

use crate::{Text, names::short_hash, write::Object};

/// What an answer begins with.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) id: Text<'a>,
    pub(super) created: u64,
    pub(super) model: Text<'a>,
}

impl<'a> Head<'a> {
    /// `id` is the provider's, under which the answer is the same whenever it is written.
    pub(super) fn new(id: Option<&Text<'a>>, model: Option<&Text<'a>>, created: u64) -> Self {
        let model = model.cloned().unwrap_or_else(|| "".into());
        let id = match id.filter(|id| !id.is_empty()) {
            Some(id) if id.decode().starts_with(RESPONSE) => id.clone(),
            Some(id) => format!("{RESPONSE}{}", id.decode()).into(),
            None => format!("{RESPONSE}{}", short_hash(&format!("{}/{created}", model.decode()))).into(),
        };
        Self { id, created, model }
    }

    /// The id of an item, the same whenever the answer is written. OpenAI takes none back that is longer than 64 bytes.
    pub(super) fn item_id(&self, prefix: &str, index: usize) -> String {
        let id = self.id.decode();
        match id.strip_prefix(RESPONSE).unwrap_or(&id) {
            long if long.len() > LONGEST => format!("{prefix}_{}_{index}", short_hash(long)),
            short => format!("{prefix}_{short}_{index}"),
        }
    }

    /// Writes the members up to the output.
    pub(super) fn write(&self, out: &mut Object<'_>, status: &Text<'_>, incomplete: Option<&Text<'_>>) {
        out.text("id", &self.id);
        out.str("object", "response");
        out.number("created_at", self.created);
        write_status(out, Some(status), incomplete);
        out.text("model", &self.model);
    }
}

pub(super) fn write_status(out: &mut Object<'_>, status: Option<&Text<'_>>, incomplete: Option<&Text<'_>>) {
    out.text_if("status", status);
    match incomplete {
        Some(reason) => out.object("incomplete_details", |details| details.text("reason", reason)),
        None => out.json("incomplete_details", "null"),
    }
}

/// Writes the members that repeat the request: an encoder does not know it, and OpenAI's SDKs require some of them. What may be unknown is.
pub(super) fn write_echo(out: &mut Object<'_>) {
    for (name, json) in ECHO {
        out.json(name, json);
    }
}

/// The service tier that another dialect named, where it is a word of OpenAI's: others its SDKs may refuse.
pub(super) fn tier(json: &str) -> Option<&str> {
    let is_ours = |tier: &str| matches!(tier, "auto" | "default" | "flex" | "scale" | "priority");
    is_ours(json.trim_matches('"')).then_some(json)
}

const RESPONSE: &str = "resp_";

/// How many bytes of an answer's id stand in those of its items.
const LONGEST: usize = 48;

const ECHO: &[(&str, &str)] = &[
    ("background", "false"),
    ("error", "null"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("store", "false"),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_p", "null"),
    ("truncation", r#""disabled""#),
    ("user", "null"),
];

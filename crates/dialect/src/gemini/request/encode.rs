//! Writing a `generateContent` request.

mod config;
mod contents;
mod tools;

use ziggurat_core::Dialect;

use self::{
    config::write_generation,
    contents::{write_contents, write_own_contents},
    tools::write_tools,
};
use super::{
    super::{models::Facts, schema::Copies},
    decode::{COMMON, GENERATION, TOOLS},
};
use crate::{
    Encoding, Refused, Request, Text,
    encode::{Verdict, Verdicts, check_results},
    write::{Object, object},
};

/// Writes a request for a provider of Google's dialect; its path names the model and says whether to stream.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let own = request.dialect == Dialect::Gemini;
    if !own {
        check_results(request)?;
    }
    let facts = Facts::of(&encoding.capabilities);
    let mut verdicts = Verdicts::new(encoding.policy);
    object(out, |body| {
        match own {
            true => write_own_contents(body, request, facts),
            false => write_contents(body, request, facts, &mut verdicts),
        }
        let mut copies = Copies::default();
        write_tools(body, request, facts, &mut copies, &mut verdicts);
        write_generation(body, request, facts, &mut copies, &mut verdicts);
        write_params(body, request, &mut verdicts);
    });
    verdicts.finish()
}

/// Writes the parameters of the top level.
fn write_params(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let own = request.dialect == Dialect::Gemini;
    let mut passed = Vec::new();
    for (name, raw) in &request.params {
        let json = raw.get();
        let supported = match &**name {
            name if COMMON.iter().any(|(_, openai)| *openai == name) => continue,
            name if own && (name.starts_with(GENERATION) || name.starts_with(TOOLS)) => continue,
            _ if own => true,
            _ if json == "null" => continue,
            // Read by the layers in front, and nobody else's; or a stream's, which is made here.
            "metadata" | "stream_options" => continue,
            // With a value that says what Google does anyway.
            "store" if json == "false" => continue,
            "logit_bias" if json == "{}" => continue,
            "service_tier" if tier(json).is_some() => {
                if let Some(Some(tier)) = tier(json) {
                    body.str("serviceTier", tier);
                }
                continue;
            }
            "modalities" => continue,
            _ => false,
        };
        if supported || (verdicts.unsupported(name) == Verdict::Pass && !WRITTEN.contains(&&**name)) {
            passed.push((name.clone(), *raw));
        }
    }
    body.extra(&passed, &[]);
    // The end user has no place here, and is for a provider's own records: it is left out.
    if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
        verdicts.unsupported("parallel_tool_calls");
    }
}

/// Google's word for a service tier, none for what it does unasked: `auto` is no order of a dearer one.
fn tier(json: &str) -> Option<Option<&'static str>> {
    match &*Text::from_json(json)?.decode() {
        "auto" => Some(None),
        "default" | "standard_only" => Some(Some("standard")),
        "flex" => Some(Some("flex")),
        "priority" => Some(Some("priority")),
        _ => None,
    }
}

/// Members that are made of what the caller says in other words: none is passed beside them.
const WRITTEN: &[&str] = &["contents", "generationConfig", "systemInstruction", "toolConfig", "tools"];

//! What a target always changes, whatever is asked of it.

use ziggurat_core::{Call, Edit, Operation, Target};

use crate::fit;

/// What the target always changes: parameters that it drops, and those that it gives where the caller does not.
pub(crate) fn standing<'a>(edit: Edit<'a>, call: &Call, target: &Target) -> Edit<'a> {
    let defaults =
        target.default_params().iter().filter(|(name, _)| !fit::is_given_otherwise(call, target, name));
    let defaults = defaults.filter_map(|(name, json)| Some((in_words_of(call, name)?, json)));
    let edit = defaults.fold(edit, |edit, (name, json)| edit.add_missing(name, json));
    let dropped = target.params().additional_drop_params.iter();
    dropped.fold(edit, |edit, path| edit.remove(&path.split('.').collect::<Vec<_>>()))
}

/// What callers of an API call a parameter that an operator gives a default for, in the words of OpenAI's chats; `None` where theirs has no
/// such parameter at the top of its body.
fn in_words_of<'n>(call: &Call, name: &'n str) -> Option<&'n str> {
    match (call.operation(), name) {
        (Operation::Chat | Operation::Messages | Operation::Completions, name) => Some(name),
        (Operation::Responses, "max_tokens" | "max_completion_tokens") => Some("max_output_tokens"),
        (Operation::Responses, name) => (!CHATS_ONLY.contains(&name)).then_some(name),
        (Operation::Embeddings, name) => EMBEDDINGS.contains(&name).then_some(name),
        (Operation::Rerank, name) => RANKINGS.contains(&name).then_some(name),
        _ => None,
    }
}

/// What an operator gives for embeddings where the caller does not, name and JSON.
pub(crate) fn embedding_defaults(target: &Target) -> impl Iterator<Item = (&str, &str)> {
    let defaults = target.default_params().iter().filter(|(name, _)| EMBEDDINGS.contains(&name.as_str()));
    defaults.map(|(name, json)| (name.as_str(), json.as_str()))
}

/// Parameters of embeddings, OpenAI's and those that LiteLLM's users know.
const EMBEDDINGS: [&str; 10] = [
    "dimensions",
    "encoding_format",
    "user",
    "input_type",
    "task_type",
    "title",
    "truncate",
    "truncation",
    "auto_truncate",
    "normalize",
];

/// Parameters of rankings.
const RANKINGS: [&str; 6] =
    ["top_n", "return_documents", "rank_fields", "max_tokens_per_doc", "max_chunks_per_doc", "truncation"];

/// Parameters that Responses has in other places, or not at all.
const CHATS_ONLY: [&str; 14] = [
    "n",
    "stop",
    "seed",
    "response_format",
    "reasoning_effort",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "stream_options",
];

//! A Responses caller in front of a provider of another dialect: its items become the turns of a chat, and what only Responses has is refused
//! by the name that the caller knows.

use std::collections::HashSet;

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Thoughts};

use super::decode::{REASONING, TEXT};
use crate::{
    Block, BlockKind, Encoding, Format, Message, Refused, Request, Role, Source, Text, Tool, ToolChoice,
    encode::{Verdict, Verdicts},
    openai::{is_thought_part, is_told},
    read::{document, wire_object},
    write::object,
};

wire_object! {
    struct WireSearch {
        kind: Text<'a> = "type",
        search_context_size: &'a RawValue = "search_context_size",
        user_location: WireLocation<'a> = "user_location",
    }
    struct WireLocation { kind: Text<'a> = "type", }
}

/// Writes a Responses caller's request for a provider of `target`, another dialect; `encode` writes the chat that it becomes.
pub(crate) fn encode_elsewhere(
    target: Dialect,
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    encode: impl FnOnce(&Request<'_>) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut verdicts = Verdicts::new(encoding.policy);
    let searches: Vec<_> = request.tools.iter().map(search_options).collect();
    let mut chat = Chat::new(request, target, encoding.thoughts);
    chat.params(request, &mut verdicts);
    chat.tools(request, &searches, &mut verdicts);
    for (index, message) in request.messages.iter().enumerate() {
        chat.message(message, Place { request, index }, &mut verdicts);
    }
    verdicts.finish()?;
    // Behind the rest: what is stored elsewhere may hold the call.
    if let Some(orphan) = chat.orphan {
        return Err(orphan);
    }
    if request.messages.len() == usize::from(request.system_apart) {
        return Err(Refused::invalid("`input` says nothing", "input"));
    }
    encode(&chat.request).map_err(|refused| chat.in_our_words(refused))
}

/// The chat that a request becomes.
struct Chat<'r> {
    request: Request<'r>,
    /// Where each of its messages stood.
    places: Vec<String>,
    /// How many texts the last of them has.
    texts: usize,
    calls: HashSet<String>,
    /// What is said of the first output that answers no call.
    orphan: Option<Refused>,
    target: Dialect,
    thoughts: Option<Thoughts>,
}

/// Where a message stands in the caller's own words.
#[derive(Clone, Copy)]
struct Place<'r, 'a> {
    request: &'r Request<'a>,
    index: usize,
}

impl std::fmt::Display for Place<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.request.system_apart, self.index) {
            (true, 0) => f.write_str("instructions"),
            (true, index) => write!(f, "input[{}]", index - 1),
            (false, index) => write!(f, "input[{index}]"),
        }
    }
}

impl<'r> Chat<'r> {
    fn new(request: &'r Request<'_>, target: Dialect, thoughts: Option<Thoughts>) -> Self {
        let request = Request {
            // OpenAI's own encoder takes a caller of its own at its word, also where a relative of OpenAI's would not: reasoning, media in
            // results, the developer's role. The others know a chat as OpenAI's callers ask for it.
            dialect: if target == Dialect::OpenAi { Dialect::Responses } else { Dialect::OpenAi },
            model: request.model.clone(),
            parallel_tool_calls: request.parallel_tool_calls,
            max_output_tokens: request.max_output_tokens,
            temperature: request.temperature,
            top_p: request.top_p,
            top_k: request.top_k,
            reasoning: request.reasoning.clone(),
            stream: request.stream,
            // A Responses stream always ends with usage.
            include_usage: request.stream.filter(|stream| *stream),
            user: request.user.clone(),
            ..Request::default()
        };
        Self { request, places: Vec::new(), texts: 0, calls: HashSet::new(), orphan: None, target, thoughts }
    }

    fn params(&mut self, request: &'r Request<'_>, verdicts: &mut Verdicts<'_>) {
        let mut logprobs = false;
        for (name, raw) in request.params.iter().filter(|(_, raw)| raw.get() != "null") {
            let name = &**name;
            let sent = match fate(name, raw.get()) {
                Fate::Sent(chat) => chat,
                Fate::Left => continue,
                Fate::Impossible => {
                    verdicts.impossible(name);
                    continue;
                }
                Fate::OpenAi if self.target == Dialect::OpenAi => name,
                Fate::OpenAi => continue,
                Fate::Unsupported if verdicts.unsupported(name) == Verdict::Pass => name,
                Fate::Unsupported => continue,
                Fate::Said => {
                    verdicts.unsupported(name);
                    continue;
                }
            };
            logprobs |= sent == "top_logprobs";
            self.request.params.push((sent.to_owned().into(), raw));
        }
        let asked = |list: &str| list.contains("\"message.output_text.logprobs\"");
        logprobs |= request.params.iter().any(|(name, raw)| name == "include" && asked(raw.get()));
        if let Some(raw) = serde_json::from_str(TRUE).ok().filter(|_| logprobs) {
            self.request.params.push(("logprobs".into(), raw));
        }
    }

    fn tools(
        &mut self,
        request: &'r Request<'_>,
        searches: &'r [Option<Box<RawValue>>],
        verdicts: &mut Verdicts<'_>,
    ) {
        for (index, (tool, search)) in request.tools.iter().zip(searches).enumerate() {
            let tool = match (tool, search) {
                (Tool::Function { name, description, schema, strict, extra, .. }, _) => {
                    verdicts.tool_members(index, extra, |_| false);
                    let (name, description) = (name.clone(), description.clone());
                    let (schema, strict) = (*schema, *strict);
                    Tool::Function { name, description, schema, strict, cache: None, extra: Vec::new() }
                }
                (Tool::WebSearch { raw, .. }, Some(options)) => {
                    let wire: WireSearch<'_> = document(raw.get()).unwrap_or_default();
                    for (member, _) in wire.extra.iter().filter(|(_, raw)| raw.get() != "null") {
                        verdicts.unsupported(&format!("tools[{index}].{member}"));
                    }
                    Tool::WebSearch { dialect: Dialect::OpenAi, raw: options }
                }
                (Tool::Native { kind, .. }, _) => {
                    verdicts.impossible(format!("tools[{index}] ({})", kind.decode()));
                    continue;
                }
                _ => continue,
            };
            self.request.tools.push(tool);
        }
        match &request.tool_choice {
            Some(ToolChoice::Native { .. }) => verdicts.impossible("tool_choice"),
            choice => self.request.tool_choice.clone_from(choice),
        }
        match &request.format {
            Some(Format::Native { .. }) => verdicts.impossible("text.format"),
            format => self.request.format.clone_from(format),
        }
    }

    /// Adds a message: what the model said in several items that follow each other is one turn, as calls of one turn have to stand together.
    fn message(&mut self, message: &'r Message<'_>, place: Place<'_, '_>, verdicts: &mut Verdicts<'_>) {
        let answer = message.role == Role::Assistant;
        if !answer {
            check_members(&message.extra, || place.to_string(), verdicts);
        }
        let mut content = Vec::with_capacity(message.content.len());
        for (part, block) in message.content.iter().enumerate() {
            match &block.kind {
                BlockKind::Native { kind, .. } if kind.decode().starts_with(super::super::items::PART) => {
                    verdicts.impossible(format!("{place}.content[{part}]"));
                }
                BlockKind::Native { kind, .. } if *kind == *"item_reference" => {
                    let what =
                        "an `item_reference` names an item that another provider holds: send the item itself";
                    verdicts.invalid(what, place.to_string());
                }
                BlockKind::Native { kind, .. } => verdicts.impossible(format!("{place} ({})", kind.decode())),
                BlockKind::ToolCall(call) => {
                    self.calls.insert(call.id.decode().into_owned());
                }
                BlockKind::ToolResult { id, .. } if !self.calls.contains(&*id.decode()) => {
                    let what = "no earlier function call of `input` makes the call";
                    self.orphan.get_or_insert_with(|| {
                        let message = format!("{what} {:?} that this output answers", id.decode());
                        Refused::invalid(message, format!("{place}.call_id"))
                    });
                }
                BlockKind::ToolResult { content, .. } => {
                    for (inner, block) in content.iter().enumerate() {
                        let at = || format!("{place}.output[{inner}]");
                        match &block.kind {
                            BlockKind::Native { .. } => verdicts.impossible(at()),
                            kind if is_stored(kind) => verdicts.impossible(format!("{}.file_id", at())),
                            _ => check_members(&block.extra, at, verdicts),
                        }
                    }
                }
                kind if is_stored(kind) => verdicts.impossible(format!("{place}.content[{part}].file_id")),
                _ if !answer => {
                    check_members(&block.extra, || format!("{place}.content[{part}]"), verdicts);
                }
                _ => {}
            }
            content.extend(self.plain(block));
        }
        if content.is_empty() && !message.content.is_empty() {
            return;
        }
        let is_text = |block: &&Block<'_>| matches!(block.kind, BlockKind::Text { .. });
        let texts = content.iter().filter(is_text).count();
        match self.request.messages.last_mut() {
            Some(last) if answer && last.role == Role::Assistant => {
                self.texts += texts;
                last.plain = (last.plain || message.plain) && self.texts < 2;
                last.content.append(&mut content);
            }
            _ => {
                self.texts = texts;
                let (role, plain) = (message.role, message.plain);
                self.request.messages.push(Message { role, content, plain, name: None, extra: Vec::new() });
                self.places.push(place.to_string());
            }
        }
    }

    /// A block without what only Responses says of it; `None` for one that the target takes from nobody.
    fn plain(&self, block: &'r Block<'_>) -> Option<Block<'r>> {
        let kind = match &block.kind {
            _ if self.target == Dialect::OpenAi && !is_told(block, self.thoughts) => return None,
            // What says how the target has it is no member of an item's.
            BlockKind::Thinking { .. } if is_thought_part(block) => return Some(block.clone()),
            BlockKind::Native { .. } => return None,
            BlockKind::ToolResult { id, content, plain, error } => BlockKind::ToolResult {
                id: id.clone(),
                content: content.iter().filter_map(|block| self.plain(block)).collect(),
                plain: *plain,
                error: *error,
            },
            kind => kind.clone(),
        };
        Some(Block::new(kind))
    }

    /// A refusal of the chat, in the words of the request that it was made of.
    fn in_our_words(&self, refused: Refused) -> Refused {
        let name = |name: String| {
            if let Some((index, rest)) = name.strip_prefix("messages[").and_then(|name| name.split_once(']'))
                && let Ok(index) = index.parse::<usize>()
                && let Some(place) = self.places.get(index)
            {
                // An output's parts, and what the chat nests.
                let is_output =
                    self.request.messages.get(index).is_some_and(|message| message.role == Role::Tool);
                let rest = match is_output {
                    true => rest.replacen(".content[0].content[", ".content[", 1).replacen(
                        ".content[",
                        ".output[",
                        1,
                    ),
                    false => rest.to_owned(),
                };
                let rest = rest.replace(".file.", ".").replace(".image_url.url", ".image_url");
                return format!("{place}{rest}");
            }
            match &*name {
                "max_tokens" | "max_completion_tokens" => "max_output_tokens".to_owned(),
                "reasoning_effort" => "reasoning.effort".to_owned(),
                "response_format" => "text.format".to_owned(),
                "verbosity" => "text.verbosity".to_owned(),
                _ => name,
            }
        };
        match refused {
            Refused::Unsupported(names) => Refused::Unsupported(names.into_iter().map(name).collect()),
            Refused::Invalid { message, param } => Refused::Invalid { message, param: name(param) },
        }
    }
}

/// Whether a block is an image that is stored: no chat takes one by its id.
const fn is_stored(kind: &BlockKind<'_>) -> bool {
    matches!(kind, BlockKind::Image { source: Source::File(_), .. })
}

/// Names the members that the model does not know, those aside that only say which item it was.
fn check_members(extra: &crate::Extra<'_>, at: impl Fn() -> String, verdicts: &mut Verdicts<'_>) {
    for (name, raw) in extra {
        if raw.get() != "null" && !matches!(&**name, "id" | "status" | "type" | "annotations" | "logprobs") {
            verdicts.unsupported(&format!("{}.{name}", at()));
        }
    }
}

/// What becomes of a parameter.
enum Fate<'n> {
    /// It is handed on, under this name.
    Sent(&'n str),
    /// It is handed on to OpenAI's chat, which has it too, and changes nothing of what others are asked.
    OpenAi,
    /// It changes nothing of what is asked.
    Left,
    /// By policy, like any other that the target does not take.
    Unsupported,
    /// Like those, and never handed on: under its name the chat says something already, or it stood within another.
    Said,
    /// Leaving it out would change what is asked.
    Impossible,
}

/// The parameters of Responses, from OpenAI's API reference. Others are handed on: a provider may know more than this list.
fn fate<'n>(name: &'n str, json: &str) -> Fate<'n> {
    match name {
        // Their input is a stored one, which no other provider has.
        "previous_response_id" | "conversation" | "prompt" => Fate::Impossible,
        // The answer would have to be fetched later, from where it was stored.
        "background" if json != "false" => Fate::Impossible,
        "background" => Fate::Left,
        // Of an answer that is stored: nothing is, as the answer's `store` says.
        "store" | "metadata" => Fate::Left,
        // More in the answer: what the other provider has is given anyway, log probabilities are asked for by name.
        "include" => Fate::Left,
        // How a stream is padded.
        "stream_options" => Fate::Left,
        // Whether old input may be cut: no chat does.
        "truncation" if json == r#""disabled""# => Fate::Left,
        // Hints of who asks and of what to cache.
        "prompt_cache_key" | "prompt_cache_retention" | "prompt_cache_options" | "safety_identifier" => {
            Fate::OpenAi
        }
        // The default's names.
        "service_tier" if matches!(json, r#""auto""# | r#""default""#) => Fate::OpenAi,
        "top_logprobs" if json == "0" => Fate::Left,
        "text.verbosity" => Fate::Sent("verbosity"),
        // How much of the reasoning is shown: as much as the other provider shows.
        "reasoning.summary" | "reasoning.generate_summary" => Fate::Left,
        // They limit or change what only Responses has: tools that the provider runs, context that it keeps.
        "truncation" | "max_tool_calls" | "moderation" | "context_management" => Fate::Unsupported,
        name if name.starts_with(TEXT) || name.starts_with(REASONING) || CHAT.contains(&name) => Fate::Said,
        name => Fate::Sent(name),
    }
}

/// What a chat is made of: a caller who says such a thing says it in Responses' words.
const CHAT: &[&str] = &[
    "function_call",
    "functions",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "n",
    "reasoning_effort",
    "response_format",
    "stop",
    "stop_sequences",
    "system",
    "thinking",
    "verbosity",
    "web_search_options",
];

const TRUE: &str = "true";

/// The options of a web search as OpenAI's chat has them.
fn search_options(tool: &Tool<'_>) -> Option<Box<RawValue>> {
    let Tool::WebSearch { raw, .. } = tool else { return None };
    let wire: WireSearch<'_> = document(raw.get()).unwrap_or_default();
    let mut out = Vec::new();
    object(&mut out, |options| {
        options.raw_if("search_context_size", wire.search_context_size);
        if let Some(location) = wire.user_location {
            options.object("user_location", |out| {
                out.str("type", "approximate");
                out.object("approximate", |place| place.extra(&location.extra, &[]));
            });
        }
    });
    RawValue::from_string(String::from_utf8(out).ok()?).ok()
}

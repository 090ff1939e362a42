//! The messages of a request, in the turns that Google wants.

use std::{borrow::Cow, collections::HashMap};

use ziggurat_core::Dialect;

use super::{
    super::super::{
        models::Facts,
        part::{RESULT, RESULT_NAME},
        write::{Manner, as_object, has_id, write_inner, write_media, write_model_parts, write_part},
    },
    config::resolution,
};
use crate::{
    Block, BlockKind, Message, Request, Role, Source, Text,
    encode::{Place, Verdicts},
    model::CALL,
    read::{document, wire_object},
    write::{Array, Object},
};

wire_object! {
    struct WireAudioPart { audio: WireAudio<'a> = "input_audio", kind: Text<'a> = "type", }
    struct WireAudio { data: Text<'a> = "data", format: Text<'a> = "format", }
}

/// The calls of a conversation, by id: name and number.
type Calls<'r, 'a> = HashMap<Cow<'r, str>, (&'r Text<'a>, usize)>;

fn calls<'r, 'a>(request: &'r Request<'a>) -> Calls<'r, 'a> {
    let blocks = request.messages.iter().flat_map(|message| &message.content);
    let calls = blocks.filter_map(|block| match &block.kind {
        BlockKind::ToolCall(call) => Some(call),
        _ => None,
    });
    calls.enumerate().map(|(number, call)| (call.id.decode(), (&call.name, number))).collect()
}

/// Writes a conversation that came in Google's words, turn by turn as it came.
pub(super) fn write_own_contents(body: &mut Object<'_>, request: &Request<'_>, facts: Facts) {
    let mut messages = &request.messages[..];
    if let [first, rest @ ..] = messages
        && request.system_apart
    {
        messages = rest;
        body.object("systemInstruction", |out| {
            out.array("parts", |list| {
                first.content.iter().for_each(|block| write_part(list, block, None, true))
            });
            out.extra(&first.extra, &[]);
        });
    }
    let calls = calls(request);
    let manner = Manner { own: true, ids: true, excuse: facts.is_third() };
    body.array("contents", |list| {
        for message in messages {
            list.object(|out| {
                out.str("role", if message.role == Role::Assistant { "model" } else { "user" });
                out.array("parts", |list| {
                    for run in message.content.chunk_by(|one, next| is_result(one) == is_result(next)) {
                        match run.iter().all(is_result) {
                            true => run.iter().for_each(|block| write_result(list, block, &calls, Form::Own)),
                            false => write_model_parts(list, &run.iter().collect::<Vec<_>>(), manner),
                        }
                    }
                });
                out.extra(&message.extra, &[]);
            });
        }
    });
}

const fn is_result(block: &Block<'_>) -> bool {
    matches!(block.kind, BlockKind::ToolResult { .. })
}

/// A block, and where it stands in the caller's request: message and part.
type Placed<'r, 'a> = (&'r Block<'a>, (usize, usize));

/// A turn as Google wants it: consecutive messages of one side are one, results first and in the order of their calls.
struct Turn<'r, 'a> {
    is_model: bool,
    blocks: Vec<Placed<'r, 'a>>,
}

/// Writes a conversation that came in other words.
pub(super) fn write_contents(
    body: &mut Object<'_>,
    request: &Request<'_>,
    facts: Facts,
    verdicts: &mut Verdicts<'_>,
) {
    let (system, mut turns) = turns(request, verdicts);
    let calls = calls(request);
    let says_something = |(block, _): &Placed<'_, '_>| !is_silent(block);
    if system.iter().any(says_something) {
        body.object("systemInstruction", |out| {
            out.array("parts", |list| {
                for (block, place) in system.iter().filter(|placed| says_something(placed)) {
                    write_block(list, block, Place::of(request, place.0).part(place.1), facts, verdicts);
                }
            });
        });
    }
    if turns.is_empty() {
        turns.push(Turn { is_model: false, blocks: Vec::new() });
    }
    body.array("contents", |list| {
        for turn in &mut turns {
            let silent = !turn.blocks.iter().any(says_something);
            if silent && turn.is_model {
                continue;
            }
            let order = |block: &Block<'_>| match &block.kind {
                BlockKind::ToolResult { id, .. } => calls.get(&id.decode()).map_or(0, |(_, number)| *number),
                _ => usize::MAX,
            };
            turn.blocks.sort_by_key(|(block, _)| order(block));
            list.object(|out| {
                out.str("role", if turn.is_model { "model" } else { "user" });
                out.array("parts", |list| match (turn.is_model, silent) {
                    (true, _) => write_model(list, turn, request, facts, verdicts),
                    (false, true) => list.object(|part| part.str("text", EMPTY)),
                    (false, false) => write_user(list, turn, request, &calls, facts, verdicts),
                });
            });
        }
    });
}

/// What a user's turn says that says nothing: Google refuses an empty text and a conversation without a turn. LiteLLM puts it there too.
const EMPTY: &str = ".";

/// Whether Google has to be told nothing of a block: it refuses empty text, and what only another model can read says nothing to it.
fn is_silent(block: &Block<'_>) -> bool {
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal(text) => text.is_empty(),
        BlockKind::Thinking { text, signature } => {
            text.is_empty() && signature.as_ref().is_none_or(Text::is_empty)
        }
        BlockKind::RedactedThinking { .. } => true,
        _ => false,
    }
}

fn turns<'r, 'a>(
    request: &'r Request<'a>,
    verdicts: &mut Verdicts<'_>,
) -> (Vec<Placed<'r, 'a>>, Vec<Turn<'r, 'a>>) {
    let mut system = Vec::new();
    let mut turns: Vec<Turn<'r, 'a>> = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        check_members(message, Place::of(request, index), verdicts);
        let blocks = message.content.iter().enumerate().map(|(part, block)| (block, (index, part)));
        // Google takes system messages ahead of all others alone: later ones join them there, as their rank matters more than their place.
        if matches!(message.role, Role::System | Role::Developer) {
            system.extend(blocks);
            continue;
        }
        let is_model = message.role == Role::Assistant;
        match turns.last_mut() {
            Some(turn) if turn.is_model == is_model => turn.blocks.extend(blocks),
            _ => turns.push(Turn { is_model, blocks: blocks.collect() }),
        }
    }
    (system, turns)
}

/// Members of a message that Google has no place for. An assistant's are left: they came with an answer and go back with it.
fn check_members(message: &Message<'_>, place: Place, verdicts: &mut Verdicts<'_>) {
    let is_given = |name: &str| message.extra.iter().any(|(own, raw)| own == name && raw.get() != "null");
    match message.role {
        Role::Assistant if is_given("function_call") => verdicts.impossible(place.member("function_call")),
        // A result's name is its call's.
        Role::Assistant | Role::Tool => {}
        Role::User | Role::System | Role::Developer => {
            let names = message.extra.iter().filter(|(_, raw)| raw.get() != "null").map(|(name, _)| &**name);
            for name in names.chain(message.name.is_some().then_some("name")) {
                verdicts.unsupported(&place.member(name));
            }
        }
    }
}

fn write_model(
    list: &mut Array<'_>,
    turn: &Turn<'_, '_>,
    request: &Request<'_>,
    facts: Facts,
    verdicts: &mut Verdicts<'_>,
) {
    for (block, (message, part)) in &turn.blocks {
        let place = Place::of(request, *message);
        match &block.kind {
            BlockKind::Native { dialect, kind, .. } if *dialect != Dialect::Gemini => {
                let is_call = kind.decode().starts_with(CALL);
                verdicts.impossible(if is_call { place.member("tool_calls") } else { place.part(*part) });
            }
            BlockKind::Image { source, .. } | BlockKind::File { source, .. } => {
                check_source(source, &place.part(*part), verdicts);
            }
            _ => {}
        }
    }
    let blocks: Vec<_> = turn.blocks.iter().map(|(block, _)| *block).collect();
    let third = facts.is_third();
    write_model_parts(list, &blocks, Manner { own: false, ids: third, excuse: third });
}

fn write_user(
    list: &mut Array<'_>,
    turn: &Turn<'_, '_>,
    request: &Request<'_>,
    calls: &Calls<'_, '_>,
    facts: Facts,
    verdicts: &mut Verdicts<'_>,
) {
    let form = if facts.is_third() { Form::Third } else { Form::Earlier };
    let mut rest = Vec::new();
    for (block, (message, part)) in &turn.blocks {
        let at = Place::of(request, *message).part(*part);
        let BlockKind::ToolResult { content, .. } = &block.kind else {
            rest.push((*block, at));
            continue;
        };
        check_extra(block, &at, verdicts);
        write_result(list, block, calls, form);
        for (inner, block) in content.iter().enumerate().filter(|(_, block)| !is_text(block)) {
            let at = format!("{at}.content[{inner}]");
            match (&block.kind, form) {
                // Stands within the result.
                (BlockKind::Image { source, .. } | BlockKind::File { source, .. }, Form::Third) => {
                    check_source(source, &at, verdicts);
                }
                // What else the tool gave follows as the user's.
                _ => rest.push((block, at)),
            }
        }
    }
    for (block, at) in rest.into_iter().filter(|(block, _)| !is_silent(block)) {
        write_block(list, block, at, facts, verdicts);
    }
}

const fn is_text(block: &Block<'_>) -> bool {
    matches!(block.kind, BlockKind::Text { .. })
}

/// Writes a block that is neither the model's nor a result, or names what it holds that Google has no place for. Cache hints are left: Google
/// caches by itself.
fn write_block(
    list: &mut Array<'_>,
    block: &Block<'_>,
    at: String,
    facts: Facts,
    verdicts: &mut Verdicts<'_>,
) {
    check_extra(block, &at, verdicts);
    match &block.kind {
        BlockKind::Text { .. } | BlockKind::Refusal(_) => write_part(list, block, None, false),
        BlockKind::Image { source, detail } => {
            check_source(source, &at, verdicts);
            let level = detail.as_ref().and_then(resolution).filter(|_| facts.is_third());
            list.object(|part| {
                write_media(part, block, source);
                if let Some((_, level)) = level {
                    part.object("mediaResolution", |out| out.str("level", level));
                }
            });
        }
        BlockKind::File { source, .. } => {
            check_source(source, &at, verdicts);
            write_part(list, block, None, false);
        }
        BlockKind::Native { dialect: Dialect::OpenAi, kind, raw } if *kind == *"input_audio" => {
            let part: WireAudioPart<'_> = document(raw.get()).unwrap_or_default();
            match part.audio.map(|audio| (audio.data, audio.format)) {
                Some((Some(data), Some(format))) => list.object(|part| {
                    part.object("inlineData", |blob| {
                        blob.str("mimeType", &format!("audio/{}", format.decode()));
                        blob.text("data", &data);
                    });
                }),
                _ => verdicts.invalid("expected `data` and `format`", format!("{at}.input_audio")),
            }
        }
        _ => verdicts.impossible(at),
    }
}

fn check_extra(block: &Block<'_>, at: &str, verdicts: &mut Verdicts<'_>) {
    for (name, _) in block.extra.iter().filter(|(_, raw)| raw.get() != "null") {
        verdicts.unsupported(&format!("{at}.{name}"));
    }
}

/// Another provider's id means nothing to Google; a URI does.
fn check_source(source: &Source<'_>, at: &str, verdicts: &mut Verdicts<'_>) {
    if let Source::File(id) = source
        && !id.decode().contains(['/', ':'])
    {
        verdicts.impossible(format!("{at}.file_id"));
    }
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As a Google caller wrote it.
    Own,
    /// For generation 3: with its id, and media within.
    Third,
    /// For those before.
    Earlier,
}

fn write_result(list: &mut Array<'_>, block: &Block<'_>, calls: &Calls<'_, '_>, form: Form) {
    let BlockKind::ToolResult { id, content, plain, error } = &block.kind else { return };
    list.object(|part| {
        part.object("functionResponse", |out| {
            if form != Form::Earlier && has_id(&block.extra) && !id.is_empty() {
                out.text("id", id);
            }
            // Only a Google caller's own history may answer what it does not hold.
            let given = block.extra.iter().find_map(|(name, _)| name.strip_prefix(RESULT_NAME));
            match (calls.get(&id.decode()), given) {
                (_, Some(name)) => out.str("name", name),
                (Some((name, _)), None) => out.text("name", name),
                (None, None) => out.text("name", id),
            }
            write_response(out, content, *error, form);
            let media = content.iter().filter(|block| !is_text(block));
            let has_media = media.clone().any(|block| !matches!(block.kind, BlockKind::Native { .. }));
            if form == Form::Own && !plain || form == Form::Third && has_media {
                out.array("parts", |list| {
                    media.for_each(|block| write_part(list, block, None, form == Form::Own))
                });
            }
            if form == Form::Own {
                write_inner(out, &block.extra, RESULT);
            }
        });
        if form == Form::Own {
            part.extra_if(&block.extra, |name| name != "id" && !name.starts_with(RESULT));
        }
    });
}

/// Writes what a tool said as the object that Google wants: one as it is, all else under `content`, and what a tool that failed said under
/// `error` (Google's reference of `FunctionResponse`).
fn write_response(out: &mut Object<'_>, content: &[Block<'_>], error: Option<bool>, form: Form) {
    let texts = content.iter().filter_map(|block| match &block.kind {
        BlockKind::Text { text, .. } => Some(text.clone()),
        _ => None,
    });
    let text = match Text::joined(texts, "") {
        None if form == Form::Own => return,
        text => text.unwrap_or_else(|| "".into()),
    };
    // Most results are prose, and long: only what may be an object is decoded.
    let plain = if matches!(text.first(), Some(b'{' | b'\\')) { text.decode() } else { "".into() };
    match (as_object(&plain), error == Some(true)) {
        (Some(object), false) => out.json("response", object),
        (object, failed) => out.object("response", |out| {
            let name = if failed { "error" } else { "content" };
            match object {
                Some(object) => out.json(name, object),
                None => out.text(name, &text),
            }
        }),
    }
}

//! Writing a stream of Chat Completions chunks.

use std::collections::{BTreeMap, HashSet};

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Usage};

use super::super::{
    legacy,
    request::write_part,
    response::{REFERENCES, is_reference, write_finish},
    usage::write_usage,
};
use crate::{
    Delta, Event, Opening, Scope, Spent, gemini,
    names::repeated,
    sse,
    write::{Object, join_lines, object},
};

/// Turns [`Event`]s into the bytes of a stream for a caller of the OpenAI dialect: every chunk with the same id, model and time.
#[derive(Debug)]
pub struct StreamEncoder {
    /// What every chunk begins with, up to its choices.
    head: Vec<u8>,
    now: u64,
    include_usage: bool,
    choices: Vec<ChoiceState>,
    /// Members of the block that opens next: which choice's, name and JSON.
    block_extra: Vec<(u64, String, String)>,
    usage: Option<Counted>,
}

#[derive(Debug)]
struct ChoiceState {
    index: u64,
    /// The blocks that are tool calls: their numbers, and whether arguments have come.
    calls: BTreeMap<u64, (u64, bool)>,
    next_call: u64,
    /// The blocks that are reasoning, and their numbers.
    thoughts: BTreeMap<u64, u64>,
    /// The block that is a legacy call.
    legacy: Option<u64>,
}

#[derive(Debug)]
struct Counted {
    counts: Usage,
    /// As the provider stated it, where its form is OpenAI's.
    raw: Option<String>,
}

// ===== impl StreamEncoder =====

impl StreamEncoder {
    /// `now`, in seconds of the Unix epoch, stands in where the provider gives no time; `include_usage` is what the caller asked for.
    #[must_use]
    pub const fn new(now: u64, include_usage: bool) -> Self {
        Self {
            head: Vec::new(),
            now,
            include_usage,
            choices: Vec::new(),
            block_extra: Vec::new(),
            usage: None,
        }
    }

    /// Appends the bytes of one event, none for most of what only the provider's dialect has.
    pub fn encode(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, created } => {
                self.head.clear();
                object(&mut self.head, |head| {
                    head.text("id", &id.as_ref().map_or("".into(), repeated));
                    head.str("object", "chat.completion.chunk");
                    head.number("created", created.unwrap_or(self.now));
                    head.text("model", &model.as_ref().map_or("".into(), repeated));
                });
                self.head.pop();
            }
            Event::Open { choice, block, opening } => self.open(*choice, *block, opening, out),
            Event::Delta { choice, block, delta } => self.delta(*choice, *block, delta, out),
            Event::Close { choice, block } => self.close(*choice, *block, out),
            Event::Logprobs { choice, raw } => {
                self.choice(*choice, out, |_| {}, |choice| choice.json("logprobs", raw.get()));
            }
            Event::Finish { choice, finish } => {
                self.state(*choice, out);
                self.write_choice(*choice, out, |_| {}, |choice| write_finish(choice, Some(finish)));
            }
            Event::Usage(spent) => self.count(spent),
            Event::Extra { choice, scope, name, raw } => {
                self.extra(*choice, *scope, &name.decode(), raw, out);
            }
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Error(problem) => out.extend_from_slice(&problem.to_event(Dialect::OpenAi)),
            Event::End => self.end(out),
        }
    }

    fn extra(&mut self, choice: Option<u64>, scope: Scope, name: &str, raw: &RawValue, out: &mut Vec<u8>) {
        match (scope, choice) {
            (Scope::Choice, Some(choice)) if !matches!(name, "index" | "delta" | "finish_reason") => {
                self.choice(choice, out, |_| {}, |choice| choice.json(name, raw.get()));
            }
            (Scope::Delta, Some(choice)) => {
                let write = |delta: &mut Object<'_>| match name.strip_suffix("[]") {
                    Some(list) => delta.array(list, |list| list.json(raw.get())),
                    None => delta.json(name, raw.get()),
                };
                self.choice(choice, out, write, |_| {});
            }
            (Scope::Block, Some(choice)) => {
                self.block_extra.push((choice, name.to_owned(), raw.get().to_owned()));
            }
            (Scope::Answer, None) if !HEAD.contains(&name) => self.chunk(out, |chunk| {
                chunk.array("choices", |_| {});
                chunk.json(name, raw.get());
            }),
            _ => {}
        }
    }

    fn open(&mut self, choice: u64, block: u64, opening: &Opening<'_>, out: &mut Vec<u8>) {
        let extra: Vec<_> = self.block_extra.extract_if(.., |(of, ..)| *of == choice).collect();
        match opening {
            Opening::ToolCall { name, .. } if extra.iter().any(|(_, member, _)| member == legacy::MARK) => {
                self.state(choice, out).legacy = Some(block);
                self.function_call(choice, out, |function| {
                    function.text("name", name);
                    function.str("arguments", "");
                });
            }
            Opening::ToolCall { id, name } => {
                let state = self.state(choice, out);
                let index = state.next_call;
                state.next_call += 1;
                state.calls.insert(block, (index, false));
                self.choice(
                    choice,
                    out,
                    |delta| {
                        delta.array("tool_calls", |list| {
                            list.object(|call| {
                                call.number("index", index);
                                call.text("id", id);
                                call.str("type", "function");
                                call.object("function", |function| {
                                    function.text("name", name);
                                    function.str("arguments", "");
                                });
                                write_members(call, &extra);
                            });
                        });
                    },
                    |_| {},
                );
            }
            Opening::RedactedThinking { data } => {
                let index = self.thought(choice, block, out);
                let write = |delta: &mut Object<'_>| {
                    write_thought(delta, index, "redacted_thinking", |block| block.text("data", data));
                };
                self.choice(choice, out, write, |_| {});
            }
            Opening::Native { dialect: Dialect::OpenAi, raw } => {
                let member = if is_reference(raw) { REFERENCES } else { "content" };
                self.choice(choice, out, |delta| delta.array(member, |list| list.json(raw.get())), |_| {})
            }
            // A model's image, where OpenRouter and LiteLLM have it.
            Opening::Native { dialect: Dialect::Gemini, raw } => {
                if let Some(image) = gemini::image(raw) {
                    let write = |delta: &mut Object<'_>| {
                        delta.array("images", |list| write_part(list, &image, false));
                    };
                    self.choice(choice, out, write, |_| {});
                }
            }
            Opening::Text | Opening::Refusal | Opening::Thinking | Opening::Native { .. } => {}
        }
    }

    fn function_call(&mut self, choice: u64, out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
        self.choice(choice, out, |delta| delta.object(legacy::MEMBER, members), |_| {});
    }

    fn delta(&mut self, choice: u64, block: u64, delta: &Delta<'_>, out: &mut Vec<u8>) {
        if matches!(delta, Delta::Signature(signature) if signature.is_empty()) {
            return;
        }
        if let Delta::Arguments(text) = delta
            && self.state(choice, out).legacy == Some(block)
        {
            return self.function_call(choice, out, |function| function.text("arguments", text));
        }
        let index = match delta {
            Delta::Arguments(_) => match self.call(choice, block, out) {
                Some(call) => call,
                None => return,
            },
            Delta::Thinking(_) | Delta::Signature(_) => self.thought(choice, block, out),
            _ => 0,
        };
        let write = |out: &mut Object<'_>| match delta {
            Delta::Text(text) => out.text("content", text),
            Delta::Refusal(text) => out.text("refusal", text),
            Delta::Thinking(text) => {
                out.text("reasoning_content", text);
                write_thought(out, index, "thinking", |block| block.text("thinking", text));
            }
            Delta::Signature(signature) => write_thought(out, index, "thinking", |block| {
                block.str("thinking", "");
                block.text("signature", signature);
            }),
            Delta::Arguments(text) => {
                write_arguments(out, index, |function| function.text("arguments", text))
            }
            Delta::Citation(raw) => {
                out.object("provider_specific_fields", |fields| fields.json("citation", raw.get()));
            }
            Delta::Native { .. } => {}
        };
        if !matches!(delta, Delta::Native { .. }) {
            self.choice(choice, out, write, |_| {});
        }
    }

    /// A call of a tool without arguments has none in its deltas, and its arguments are still an object.
    fn close(&mut self, choice: u64, block: u64, out: &mut Vec<u8>) {
        let state = self.state(choice, out);
        if let Some((call, begun @ false)) = state.calls.get_mut(&block) {
            *begun = true;
            let call = *call;
            let write = |delta: &mut Object<'_>| {
                write_arguments(delta, call, |function| function.str("arguments", "{}"));
            };
            self.choice(choice, out, write, |_| {});
        }
    }

    /// The number of the call that a block is; its arguments have begun.
    fn call(&mut self, choice: u64, block: u64, out: &mut Vec<u8>) -> Option<u64> {
        let state = self.state(choice, out);
        let (call, begun) = state.calls.get_mut(&block)?;
        *begun = true;
        Some(*call)
    }

    /// The number of the reasoning block that a block is.
    fn thought(&mut self, choice: u64, block: u64, out: &mut Vec<u8>) -> u64 {
        let thoughts = &mut self.state(choice, out).thoughts;
        let next = thoughts.len() as u64;
        *thoughts.entry(block).or_insert(next)
    }

    fn count(&mut self, spent: &Spent<'_>) {
        let raw = (spent.dialect == Dialect::OpenAi).then(|| spent.raw.get().to_owned());
        match &mut self.usage {
            Some(counted) => {
                counted.counts.update(&spent.counts);
                counted.raw = raw;
            }
            None => self.usage = Some(Counted { counts: spent.counts, raw }),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(counted) = self.usage.take().filter(|_| self.include_usage) {
            self.chunk(out, |chunk| {
                chunk.array("choices", |_| {});
                match &counted.raw {
                    Some(raw) => chunk.json("usage", raw),
                    None => chunk.object("usage", |usage| write_usage(usage, &counted.counts)),
                }
            });
        }
        out.extend_from_slice(sse::DONE);
    }

    /// The state of a choice; its first chunk, which names the role, is written when it is new.
    fn state(&mut self, index: u64, out: &mut Vec<u8>) -> &mut ChoiceState {
        let position = match self.choices.iter().position(|choice| choice.index == index) {
            Some(position) => position,
            None => {
                self.choices.push(ChoiceState {
                    index,
                    calls: BTreeMap::new(),
                    next_call: 0,
                    thoughts: BTreeMap::new(),
                    legacy: None,
                });
                self.write_choice(
                    index,
                    out,
                    |delta| {
                        delta.str("role", "assistant");
                        delta.str("content", "");
                    },
                    |choice| write_finish(choice, None),
                );
                self.choices.len() - 1
            }
        };
        &mut self.choices[position]
    }

    /// Writes a chunk of a choice that goes on: strict clients want to be told that it has no reason to end.
    fn choice(
        &mut self,
        index: u64,
        out: &mut Vec<u8>,
        delta: impl FnOnce(&mut Object<'_>),
        members: impl FnOnce(&mut Object<'_>),
    ) {
        self.state(index, out);
        self.write_choice(index, out, delta, |choice| {
            write_finish(choice, None);
            members(choice);
        });
    }

    fn write_choice(
        &self,
        index: u64,
        out: &mut Vec<u8>,
        delta: impl FnOnce(&mut Object<'_>),
        members: impl FnOnce(&mut Object<'_>),
    ) {
        self.chunk(out, |chunk| {
            chunk.array("choices", |list| {
                list.object(|choice| {
                    choice.number("index", index);
                    choice.object("delta", delta);
                    members(choice);
                });
            });
        });
    }

    fn chunk(&self, out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(b"data: ");
        let start = out.len();
        match self.head.is_empty() {
            true => object(out, members),
            false => {
                out.extend_from_slice(&self.head);
                Object::resume(out, members);
            }
        }
        join_lines(out, start);
        out.extend_from_slice(b"\n\n");
    }
}

/// Writes members of a call that the model does not know, each name once, as it was said last, and none of ours.
fn write_members(call: &mut Object<'_>, extra: &[(u64, String, String)]) {
    let mut written = HashSet::from(["index", "id", "type", "function"]);
    for (_, name, json) in extra.iter().rev().filter(|(_, name, _)| written.insert(name)) {
        call.json(name, json);
    }
}

/// What every chunk begins with.
const HEAD: &[&str] = &["id", "object", "created", "model", "choices", "usage"];

/// Writes a piece of a reasoning block. Its number lets OpenAI's own SDKs put the pieces together again: they refuse lists whose entries have
/// none.
fn write_thought(delta: &mut Object<'_>, index: u64, kind: &str, members: impl FnOnce(&mut Object<'_>)) {
    delta.array("thinking_blocks", |list| {
        list.object(|block| {
            block.number("index", index);
            block.str("type", kind);
            members(block);
        });
    });
}

fn write_arguments(delta: &mut Object<'_>, call: u64, arguments: impl FnOnce(&mut Object<'_>)) {
    delta.array("tool_calls", |list| {
        list.object(|out| {
            out.number("index", call);
            out.object("function", arguments);
        });
    });
}

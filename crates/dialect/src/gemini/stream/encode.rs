//! Writing a stream of `streamGenerateContent` chunks.

use std::collections::{BTreeMap, VecDeque};

use serde_json::value::RawValue;
use ziggurat_core::{Convention, Dialect, Usage};

use super::super::{
    part::SIGNATURE,
    response::write_finish,
    usage::write_usage,
    write::{write_args, write_signed},
};
use crate::{
    Arguments, Delta, Event, Finish, Opening, Scope, Spent, Text,
    names::repeated,
    signature::for_google,
    write::{Array, Object, join_lines, object},
};

/// Turns [`Event`]s into the bytes of a stream for a caller of Google's dialect, as server-sent events. A call comes whole, in one chunk; why
/// each answer ended and what it used, in the last.
#[derive(Debug)]
pub struct StreamEncoder {
    id: Option<Text<'static>>,
    model: Option<Text<'static>>,
    choices: BTreeMap<u64, ChoiceState>,
    usage: Usage,
    /// As the provider stated it last, where its form is Google's.
    raw_usage: Option<String>,
    /// Members of the answer, and of answers, as they come in Google's words.
    extra: Vec<(Option<u64>, String, String)>,
}

#[derive(Debug, Default)]
struct ChoiceState {
    calls: Calls,
    /// A thought's signature, for the part that follows.
    signature: String,
    /// The signature that the call which opens next has of its own.
    own_signature: Option<String>,
    finish: Option<Finish<'static>>,
}

/// Calls that are not whole yet, and those behind them, in the order in which they began.
#[derive(Debug, Default)]
struct Calls {
    list: VecDeque<Call>,
    /// How many were taken from its front.
    taken: usize,
    /// The number of the call that each block is, counting those that were taken.
    numbers: BTreeMap<u64, usize>,
}

#[derive(Debug)]
struct Call {
    id: Text<'static>,
    name: Text<'static>,
    signature: Option<Text<'static>>,
    arguments: String,
    is_whole: bool,
}

// ===== impl ChoiceState =====

impl ChoiceState {
    /// Takes the signature that waits for a part.
    fn pending(&mut self) -> Option<Text<'static>> {
        let signature = std::mem::take(&mut self.signature);
        (!signature.is_empty()).then(|| for_google(signature.into()))
    }
}

// ===== impl Calls =====

impl Calls {
    /// A call begins. One that the block has been is whole.
    fn begin(&mut self, block: u64, call: Call) {
        self.end(block);
        self.numbers.insert(block, self.taken + self.list.len());
        self.list.push_back(call);
    }

    fn get_mut(&mut self, block: u64) -> Option<&mut Call> {
        self.list.get_mut(self.numbers.get(&block)?.checked_sub(self.taken)?)
    }

    fn end(&mut self, block: u64) {
        if let Some(call) = self.get_mut(block) {
            call.is_whole = true;
        }
        self.numbers.remove(&block);
    }

    /// Takes the first call, where nothing more of it comes.
    fn next_whole(&mut self) -> Option<Call> {
        self.list.front().filter(|call| call.is_whole)?;
        self.taken += 1;
        self.list.pop_front()
    }
}

// ===== impl StreamEncoder =====

impl StreamEncoder {
    /// At the start of a stream. `now`, in seconds of the Unix epoch, has no place in it.
    #[must_use]
    pub const fn new(_now: u64) -> Self {
        Self {
            id: None,
            model: None,
            choices: BTreeMap::new(),
            usage: Usage::new(Convention::OPENAI),
            raw_usage: None,
            extra: Vec::new(),
        }
    }

    /// Appends the bytes of one event, none for what only another dialect has, and none for what is not whole yet. Google's SDKs take every line
    /// for data: a sign of life has none.
    pub fn encode(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, .. } => {
                self.id = id.as_ref().map(|id| repeated(id).into_owned());
                self.model = model.as_ref().map(|model| repeated(model).into_owned());
            }
            Event::Open { choice, block, opening } => self.open(*choice, *block, opening, out),
            Event::Delta { choice, block, delta } => self.delta(*choice, *block, delta, out),
            Event::Close { choice, block } => self.close(*choice, *block, out),
            Event::Finish { choice, finish } => {
                let finish = Finish {
                    reason: finish.reason,
                    native: finish.native.clone().into_owned(),
                    dialect: finish.dialect,
                    stop_sequence: None,
                };
                self.choices.entry(*choice).or_default().finish = Some(finish);
            }
            Event::Usage(spent) => self.count(spent),
            Event::Extra { choice, scope, name, raw } => self.extra(*choice, *scope, name, raw),
            Event::Error(problem) => out.extend_from_slice(&problem.to_event(Dialect::Gemini)),
            Event::End => self.end(out),
            Event::Logprobs { .. } | Event::Ping => {}
        }
    }

    fn extra(&mut self, choice: Option<u64>, scope: Scope, name: &Text<'_>, raw: &RawValue) {
        let name = name.decode();
        match (scope, choice) {
            (Scope::Block, Some(choice)) if name == SIGNATURE => {
                let signature = Text::from_json(raw.get()).map(|text| text.decode().into_owned());
                self.choices.entry(choice).or_default().own_signature = signature;
            }
            (Scope::Answer, _) | (Scope::Choice, Some(_)) => {
                self.extra.retain(|(of, known, _)| *of != choice || *known != name);
                // A provider that invents names is not remembered for ever.
                if self.extra.len() < MAX_EXTRAS {
                    self.extra.push((choice, name.into_owned(), raw.get().to_owned()));
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, choice: u64, block: u64, opening: &Opening<'_>, out: &mut Vec<u8>) {
        let state = self.choices.entry(choice).or_default();
        match opening {
            Opening::ToolCall { id, name } => {
                let pending = state.pending();
                let signature = state.own_signature.take().map(Text::from).or(pending);
                let call = Call {
                    id: id.clone().into_owned(),
                    name: name.clone().into_owned(),
                    signature,
                    arguments: String::new(),
                    is_whole: false,
                };
                state.calls.begin(block, call);
            }
            // A thought before this one has its signature on a part of its own.
            Opening::Thinking => {
                if let Some(signature) = state.pending() {
                    self.part(choice, out, |list| write_signed(list, &signature));
                }
            }
            Opening::Native { dialect: Dialect::Gemini, raw } => {
                self.part(choice, out, |list| list.json(raw.get()));
            }
            _ => {}
        }
    }

    fn delta(&mut self, choice: u64, block: u64, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let state = self.choices.entry(choice).or_default();
        match delta {
            Delta::Text(text) | Delta::Refusal(text) => {
                let signature = state.pending();
                self.part(choice, out, |list| {
                    list.object(|part| {
                        part.text("text", text);
                        part.text_if(SIGNATURE, signature.as_ref());
                    });
                });
            }
            Delta::Thinking(text) => self.part(choice, out, |list| {
                list.object(|part| {
                    part.text("text", text);
                    part.bool("thought", true);
                });
            }),
            Delta::Signature(signature) => state.signature.push_str(&signature.decode()),
            Delta::Arguments(text) => {
                if let Some(call) = state.calls.get_mut(block) {
                    call.arguments.push_str(&text.decode());
                }
            }
            Delta::Citation(_) | Delta::Native { .. } => {}
        }
    }

    fn close(&mut self, choice: u64, block: u64, out: &mut Vec<u8>) {
        self.choices.entry(choice).or_default().calls.end(block);
        // In their order.
        while let Some(call) = self.choices.get_mut(&choice).and_then(|state| state.calls.next_whole()) {
            self.call(choice, call, out);
        }
    }

    fn call(&self, choice: u64, call: Call, out: &mut Vec<u8>) {
        self.part(choice, out, |list| {
            list.object(|part| {
                part.object("functionCall", |function| {
                    function.text_if("id", Some(&call.id).filter(|id| !id.is_empty()));
                    function.text("name", &call.name);
                    write_args(function, &Arguments::String(call.arguments.into()));
                });
                part.text_if(SIGNATURE, call.signature.as_ref());
            });
        });
    }

    fn count(&mut self, spent: &Spent<'_>) {
        self.usage.convention = spent.counts.convention;
        self.usage.update(&spent.counts);
        self.raw_usage = (spent.dialect == Dialect::Gemini).then(|| spent.raw.get().to_owned());
    }

    /// The last chunk: without it, Google's clients see an answer that was cut.
    fn end(&mut self, out: &mut Vec<u8>) {
        let mut choices = std::mem::take(&mut self.choices);
        for (choice, state) in &mut choices {
            for call in state.calls.list.drain(..) {
                self.call(*choice, call, out);
            }
        }
        self.chunk(out, |chunk| {
            chunk.array("candidates", |list| {
                for (index, state) in &mut choices {
                    list.object(|candidate| self.write_end(candidate, *index, state));
                }
            });
            match &self.raw_usage {
                Some(raw) => chunk.json("usageMetadata", raw),
                None if self.usage.is_empty() => {}
                None => chunk.object("usageMetadata", |usage| write_usage(usage, &self.usage)),
            }
            self.write_extra(chunk, None, &choices);
        });
    }

    fn write_end(&self, candidate: &mut Object<'_>, index: u64, state: &mut ChoiceState) {
        candidate.object("content", |content| {
            content.array("parts", |list| {
                if let Some(signature) = state.pending() {
                    write_signed(list, &signature);
                }
            });
            content.str("role", "model");
        });
        write_finish(candidate, state.finish.as_ref());
        candidate.number("index", index);
        let is_own = state.finish.as_ref().is_some_and(|finish| finish.dialect == Dialect::Gemini);
        for (_, name, json) in self.extra.iter().filter(|(of, ..)| is_own && *of == Some(index)) {
            if !matches!(&**name, "content" | "finishReason" | "index") {
                candidate.json(name, json);
            }
        }
    }

    fn write_extra(&self, chunk: &mut Object<'_>, of: Option<u64>, choices: &BTreeMap<u64, ChoiceState>) {
        let is_own = |state: &ChoiceState| {
            state.finish.as_ref().is_some_and(|finish| finish.dialect == Dialect::Gemini)
        };
        if choices.values().any(is_own) {
            for (_, name, json) in
                self.extra.iter().filter(|(own, name, _)| *own == of && !HEAD.contains(&&**name))
            {
                chunk.json(name, json);
            }
        }
    }

    fn part(&self, choice: u64, out: &mut Vec<u8>, part: impl FnOnce(&mut Array<'_>)) {
        self.chunk(out, |chunk| {
            chunk.array("candidates", |list| {
                list.object(|candidate| {
                    candidate.object("content", |content| {
                        content.array("parts", part);
                        content.str("role", "model");
                    });
                    candidate.number("index", choice);
                });
            });
        });
    }

    fn chunk(&self, out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(b"data: ");
        let start = out.len();
        object(out, |chunk| {
            members(chunk);
            chunk.text_if("modelVersion", self.model.as_ref());
            chunk.text_if("responseId", self.id.as_ref());
        });
        join_lines(out, start);
        out.extend_from_slice(b"\n\n");
    }
}

/// How many unknown members are remembered.
const MAX_EXTRAS: usize = 64;

/// The members that every chunk may have.
const HEAD: &[&str] = &["candidates", "usageMetadata", "modelVersion", "responseId"];

//! The checks that need no codec: types of top-level fields and the shape of messages, named by field.

use super::{
    head::{Field, Head},
    invalid,
};
use crate::{
    Cause, Operation, Problem, Rejection,
    json::{Cursor, Fault, key_is},
};

/// What a field must be; `null` stands for absent everywhere.
#[derive(Clone, Copy)]
enum Expect {
    Anything,
    Bool,
    Number,
    Integer,
    /// A whole number from 1 to the bound.
    Count(u64),
    String,
    Object,
    Array,
    StringOrArray,
    StringOrObject,
}

enum Bad {
    Fault(Fault),
    Rejected(Rejection),
}

impl From<Fault> for Bad {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Checks a body that is known to be one JSON object.
pub(super) fn check(
    operation: Operation,
    text: &str,
    head: &Head,
    model_in_path: bool,
) -> Result<(), Rejection> {
    for &field in Field::ALL {
        if let Some(span) = head.span(field) {
            check_type(operation, field, &text[span])?;
        }
    }
    let missing = |field: Field| invalid(format!("missing required field `{}`", field.name()), field.name());
    let has = |field: Field| head.span(field).is_some_and(|span| &text[span] != "null");
    if operation.needs_model() && !model_in_path && !has(Field::Model) {
        return Err(missing(Field::Model));
    }
    if operation.takes_messages() && !has(Field::Messages) {
        return Err(missing(Field::Messages));
    }
    scan(operation, text).map_err(|bad| match bad {
        Bad::Rejected(rejection) => rejection,
        Bad::Fault(fault) => {
            Rejection::new(Cause::InvalidRequest, format!("the request body is refused: {fault}"))
        }
    })
}

/// Checks the type of a field's value.
pub(super) fn check_type(operation: Operation, field: Field, json: &str) -> Result<(), Rejection> {
    let expect = match field {
        Field::Model => Expect::String,
        Field::Stream | Field::ParallelToolCalls => Expect::Bool,
        // Legacy completions take a number there.
        Field::Logprobs if operation == Operation::Completions => Expect::Integer,
        Field::Logprobs => Expect::Bool,
        // The kind of file that images and speech come as.
        Field::ResponseFormat if matches!(operation, Operation::Images | Operation::Speech) => Expect::String,
        Field::StreamOptions | Field::ResponseFormat | Field::Thinking | Field::Metadata => Expect::Object,
        Field::Messages | Field::StopSequences | Field::Tools => Expect::Array,
        Field::MaxTokens | Field::MaxCompletionTokens | Field::MaxOutputTokens => {
            Expect::Count(u32::MAX as u64)
        }
        Field::N => Expect::Count(MAX_N),
        Field::Temperature | Field::TopP | Field::PresencePenalty | Field::FrequencyPenalty => Expect::Number,
        Field::TopK | Field::Seed | Field::TopLogprobs => Expect::Integer,
        Field::ReasoningEffort | Field::User | Field::ServiceTier => Expect::String,
        Field::System | Field::Stop => Expect::StringOrArray,
        Field::ToolChoice => Expect::StringOrObject,
        Field::Input | Field::Prompt | Field::Cache => Expect::Anything,
    };
    let first = json.as_bytes()[0];
    let number = matches!(first, b'-' | b'0'..=b'9');
    let (right, wanted) = match expect {
        Expect::Anything => (true, ""),
        Expect::Bool => (matches!(first, b't' | b'f'), "true or false"),
        Expect::Number => (number, "a number"),
        Expect::Integer => (json.parse::<i64>().is_ok(), "a whole number"),
        Expect::Count(most) => {
            let fits = json.parse::<u64>().is_ok_and(|count| (1..=most).contains(&count));
            (
                fits,
                if most == MAX_N {
                    "a whole number from 1 to 128"
                } else {
                    "a whole number from 1 to 4294967295"
                },
            )
        }
        Expect::String => (first == b'"', "a string"),
        Expect::Object => (first == b'{', "an object"),
        Expect::Array => (first == b'[', "an array"),
        Expect::StringOrArray => (matches!(first, b'"' | b'['), "a string or an array"),
        Expect::StringOrObject => (matches!(first, b'"' | b'{'), "a string or an object"),
    };
    if right || json == "null" {
        return Ok(());
    }
    let name = field.name();
    let found = match number && matches!(expect, Expect::Integer | Expect::Count(_)) && json.len() <= 24 {
        true => json,
        false => kind(first),
    };
    Err(invalid(format!("`{name}` must be {wanted}, not {found}"), name))
}

/// One walk over the body: surrogates and depth everywhere, the shape of messages where there are some.
fn scan(operation: Operation, text: &str) -> Result<(), Bad> {
    Cursor::new(text).object(|key, cursor| match operation.takes_messages() && key_is(key, "messages") {
        true => messages(cursor),
        false => Ok(()),
    })
}

fn messages(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    let mut any = false;
    cursor.array(|index, cursor| {
        any = true;
        let first = cursor.peek();
        if first != b'{' {
            return blame(format!("messages[{index}]"), "an object", first);
        }
        let mut seen = [false; MEMBERS.len()];
        cursor.object(|key, cursor| {
            let Some(member) = MEMBERS.iter().position(|name| key_is(key, name)) else { return Ok(()) };
            once(&mut seen[member], index, MEMBERS[member])?;
            match member {
                ROLE => match cursor.peek() {
                    b'"' => Ok(()),
                    first => blame(format!("messages[{index}].role"), "a string", first),
                },
                CONTENT => check_content(index, cursor),
                _ => Ok(()),
            }
        })?;
        match seen[ROLE] {
            true => Ok(()),
            false => {
                let param = format!("messages[{index}].role");
                Err(Bad::Rejected(invalid(format!("missing required field `{param}`"), param)))
            }
        }
    })?;
    match any {
        true => Ok(()),
        false => Err(Bad::Rejected(invalid("`messages` must hold at least one message", "messages"))),
    }
}

/// As at the top level, two of them would let one layer read the one and a provider the other.
fn once(seen: &mut bool, index: usize, name: &str) -> Result<(), Bad> {
    match std::mem::replace(seen, true) {
        false => Ok(()),
        true => {
            let param = format!("messages[{index}].{name}");
            let message = format!("the field `{param}` stands twice in the request body");
            Err(Bad::Rejected(invalid(message, param)))
        }
    }
}

fn check_content(index: usize, cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    match cursor.peek() {
        b'"' | b'n' => Ok(()),
        b'[' => cursor.array(|part, cursor| match cursor.peek() {
            b'{' => Ok(()),
            first => blame(format!("messages[{index}].content[{part}]"), "an object", first),
        }),
        first => blame(format!("messages[{index}].content"), "a string or an array of objects", first),
    }
}

fn blame(param: String, wanted: &str, first: u8) -> Result<(), Bad> {
    let message = format!("`{param}` must be {wanted}, not {}", kind(first));
    Err(Bad::Rejected(Problem::new(Cause::InvalidRequest, message).param(param).into()))
}

const fn kind(first: u8) -> &'static str {
    match first {
        b'{' => "an object",
        b'[' => "an array",
        b'"' => "a string",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    }
}

/// The members of a message that carry meaning: each may stand once in it.
const MEMBERS: [&str; 7] =
    ["role", "content", "tool_calls", "tool_call_id", "name", "function_call", "refusal"];
const ROLE: usize = 0;
const CONTENT: usize = 1;

/// OpenAI's bound of `n`.
const MAX_N: u64 = 128;

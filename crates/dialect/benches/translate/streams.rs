//! Streams of each provider: an answer of text, of thoughts, or of calls of tools.

use ziggurat_core::Dialect;

use crate::{MISTRAL, Side, WORDS};

/// Events between what stands ahead of an answer and behind it.
const EVENTS: usize = 2000;

/// What an answer has.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    Text,
    Thoughts,
    Calls,
}

/// An answer's events, in templates: a `WORD` changes from one to the next, a `NUMBER` counts the rounds.
struct Answer {
    ahead: Vec<String>,
    /// What comes round after round.
    round: Vec<String>,
    behind: Vec<String>,
}

/// The arguments of a call, piece by piece, as they stand in the JSON around them.
const PIECES: [&str; 8] = ["", r#"{\"city\""#, r":", r#" \"Ur"#, " in", " Su", r#"mer\""#, "}"];

// ===== impl Says =====

impl Says {
    pub(crate) const ALL: [Self; 3] = [Self::Text, Self::Thoughts, Self::Calls];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Thoughts => "thoughts",
            Self::Calls => "calls",
        }
    }
}

pub(crate) fn events(provider: Side, says: Says) -> Vec<String> {
    let Answer { ahead, round, behind } = answer(provider, says);
    let count = EVENTS / round.len();
    let rounds = (0..count).flat_map(|number| {
        let told = round.iter().map(move |event| event.replace("NUMBER", &number.to_string()));
        told.map(move |event| event.replace("WORD", WORDS[number % WORDS.len()]))
    });
    ahead.into_iter().chain(rounds).chain(behind).collect()
}

fn answer(provider: Side, says: Says) -> Answer {
    match provider.dialect {
        Dialect::OpenAi => openai(provider.name == MISTRAL, says),
        Dialect::Responses => responses(says),
        Dialect::Anthropic => anthropic(says),
        Dialect::Gemini => gemini(says),
        Dialect::Converse => converse(says),
        Dialect::Ollama => ollama(says),
        Dialect::Cohere => cohere(says),
        other => unreachable!("{other:?} is nobody's here"),
    }
}

fn owned<const N: usize>(events: [&str; N]) -> Vec<String> {
    events.map(str::to_owned).into()
}

/// A call in pieces: its beginning, one event for each piece of its arguments, its end where it has one.
fn call<const N: usize>(open: &str, piece: &str, close: [&str; N]) -> Vec<String> {
    let pieces = PIECES.into_iter().map(|arguments| piece.replace("PIECE", arguments));
    std::iter::once(open.to_owned()).chain(pieces).chain(owned(close)).collect()
}

fn openai(is_mistral: bool, says: Says) -> Answer {
    let head = match is_mistral {
        true => {
            r#""id":"cmpl-e5cc70bb28c444948073e77776eb30ef","object":"chat.completion.chunk","created":1750000000,"model":"mistral-large-2411","p":"abcdefghijk""#
        }
        false => {
            r#""id":"chatcmpl-BXa1b2c3d4e5f6g7h8i9j0k1l2m3n","object":"chat.completion.chunk","created":1750000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_0123456789","usage":null,"obfuscation":"abcdefg""#
        }
    };
    let chunk = |delta: &str, finish: &str| {
        format!(
            r#"{{{head},"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]}}"#
        )
    };
    let deltas = match (says, is_mistral) {
        (Says::Text, _) => owned([r#"{"content":"WORD"}"#]),
        (Says::Thoughts, true) => {
            owned([r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"WORD"}]}]}"#])
        }
        (Says::Thoughts, false) => owned([r#"{"content":null,"reasoning_content":"WORD"}"#]),
        (Says::Calls, true) => owned([
            r#"{"content":"","tool_calls":[{"id":"D681PNUMBER","function":{"name":"weather","arguments":"{\"city\": \"Ur\"}"},"index":NUMBER}]}"#,
        ]),
        (Says::Calls, false) => call(
            r#"{"tool_calls":[{"index":NUMBER,"id":"call_0123456789abcdefNUMBER","type":"function","function":{"name":"weather","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":NUMBER,"function":{"arguments":"PIECE"}}]}"#,
            [],
        ),
    };
    let end = if matches!(says, Says::Calls) { "\"tool_calls\"" } else { "\"stop\"" };
    Answer {
        ahead: vec![chunk(r#"{"role":"assistant","content":""}"#, "null")],
        round: deltas.iter().map(|delta| chunk(delta, "null")).collect(),
        behind: vec![chunk("{}", end), "[DONE]".to_owned()],
    }
}

fn responses(says: Says) -> Answer {
    let mut ahead = owned([
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_0123456789abcdef","object":"response","created_at":1750000000,"status":"in_progress","model":"gpt-4o-2024-08-06","output":[]}}"#,
    ]);
    let mut behind = Vec::new();
    let round = match says {
        Says::Text => {
            ahead.extend(owned([
                r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"msg_0123456789abcdef","type":"message","status":"in_progress","role":"assistant","content":[]}}"#,
                r#"{"type":"response.content_part.added","sequence_number":2,"item_id":"msg_0123456789abcdef","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"text":""}}"#,
            ]));
            behind.extend(owned([
                r#"{"type":"response.output_item.done","sequence_number":4,"output_index":0,"item":{"id":"msg_0123456789abcdef","type":"message","status":"completed","role":"assistant","content":[]}}"#,
            ]));
            owned([
                r#"{"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_0123456789abcdef","output_index":0,"content_index":0,"delta":"WORD","logprobs":[],"obfuscation":"abcdefg"}"#,
            ])
        }
        Says::Thoughts => {
            ahead.extend(owned([
                r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"rs_0123456789abcdef","type":"reasoning","summary":[]}}"#,
                r#"{"type":"response.reasoning_summary_part.added","sequence_number":2,"item_id":"rs_0123456789abcdef","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}"#,
            ]));
            behind.extend(owned([
                r#"{"type":"response.output_item.done","sequence_number":4,"output_index":0,"item":{"id":"rs_0123456789abcdef","type":"reasoning","summary":[],"encrypted_content":"gAAAAABo"}}"#,
            ]));
            owned([
                r#"{"type":"response.reasoning_summary_text.delta","sequence_number":3,"item_id":"rs_0123456789abcdef","output_index":0,"summary_index":0,"delta":"WORD","obfuscation":"abcdefg"}"#,
            ])
        }
        Says::Calls => call(
            r#"{"type":"response.output_item.added","sequence_number":1,"output_index":NUMBER,"item":{"id":"fc_0123456789abcdefNUMBER","type":"function_call","status":"in_progress","arguments":"","call_id":"call_0123456789abcdefNUMBER","name":"weather"}}"#,
            r#"{"type":"response.function_call_arguments.delta","sequence_number":2,"item_id":"fc_0123456789abcdefNUMBER","output_index":NUMBER,"delta":"PIECE","obfuscation":"abcdefg"}"#,
            [
                r#"{"type":"response.output_item.done","sequence_number":3,"output_index":NUMBER,"item":{"id":"fc_0123456789abcdefNUMBER","type":"function_call","status":"completed","arguments":"{\"city\": \"Ur in Sumer\"}","call_id":"call_0123456789abcdefNUMBER","name":"weather"}}"#,
            ],
        ),
    };
    behind.extend(owned([
        r#"{"type":"response.completed","sequence_number":5,"response":{"id":"resp_0123456789abcdef","status":"completed","model":"gpt-4o-2024-08-06","output":[],"usage":{"input_tokens":10,"output_tokens":2000,"total_tokens":2010}}}"#,
    ]));
    Answer { ahead, round, behind }
}

fn anthropic(says: Says) -> Answer {
    let mut ahead = owned([
        r#"{"type":"message_start","message":{"id":"msg_01ABCDEFGHIJKLMNOPQRSTUV","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":1}}}"#,
    ]);
    let mut behind = Vec::new();
    let round = match says {
        Says::Text => {
            ahead.extend(owned([
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            ]));
            behind.extend(owned([r#"{"type":"content_block_stop","index":0}"#]));
            owned([
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"WORD"}      }"#,
            ])
        }
        Says::Thoughts => {
            ahead.extend(owned([
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            ]));
            behind.extend(owned([
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3h"}}"#,
                r#"{"type":"content_block_stop","index":0}"#,
            ]));
            owned([
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"WORD"}     }"#,
            ])
        }
        Says::Calls => call(
            r#"{"type":"content_block_start","index":NUMBER,"content_block":{"type":"tool_use","id":"toolu_01ABCDEFGHIJKLMNOPNUMBER","name":"weather","input":{}}}"#,
            r#"{"type":"content_block_delta","index":NUMBER,"delta":{"type":"input_json_delta","partial_json":"PIECE"}  }"#,
            [r#"{"type":"content_block_stop","index":NUMBER}"#],
        ),
    };
    behind.extend(owned([
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2000}}"#,
        r#"{"type":"message_stop"}"#,
    ]));
    Answer { ahead, round, behind }
}

fn gemini(says: Says) -> Answer {
    let chunk = |part: &str, finish: &str| {
        format!(
            r#"{{"candidates": [{{"content": {{"parts": [{part}],"role": "model"}},{finish}"index": 0}}],"usageMetadata": {{"promptTokenCount": 10,"candidatesTokenCount": 20,"totalTokenCount": 30,"promptTokensDetails": [{{"modality": "TEXT","tokenCount": 10}}]}},"modelVersion": "gemini-2.5-pro","responseId": "abcdefghijklmnopqrstuv"}}"#
        )
    };
    let part = match says {
        Says::Text => r#"{"text": "WORD"}"#,
        Says::Thoughts => r#"{"text": "WORD","thought": true}"#,
        Says::Calls => r#"{"functionCall": {"name": "weather","args": {"city": "Ur in Sumer"}}}"#,
    };
    Answer {
        ahead: Vec::new(),
        round: vec![chunk(part, "")],
        behind: vec![chunk(r#"{"text": ""}"#, r#""finishReason": "STOP","#)],
    }
}

fn converse(says: Says) -> Answer {
    let round = match says {
        Says::Text => owned([
            r#"{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"text":"WORD"},"p":"abcdefghijklmnop"}}"#,
        ]),
        Says::Thoughts => owned([
            r#"{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"WORD"}},"p":"abcdefghijklmnop"}}"#,
        ]),
        Says::Calls => call(
            r#"{"contentBlockStart":{"contentBlockIndex":NUMBER,"p":"abcdefgh","start":{"toolUse":{"name":"weather","toolUseId":"tooluse_0123456789abcdefNUMBER"}}}}"#,
            r#"{"contentBlockDelta":{"contentBlockIndex":NUMBER,"delta":{"toolUse":{"input":"PIECE"}},"p":"abcdefghijklmnop"}}"#,
            [r#"{"contentBlockStop":{"contentBlockIndex":NUMBER,"p":"abcdefgh"}}"#],
        ),
    };
    Answer {
        ahead: owned([r#"{"messageStart":{"p":"abcdefghij","role":"assistant"}}"#]),
        round,
        behind: owned([
            r#"{"contentBlockStop":{"contentBlockIndex":0,"p":"abcdefgh"}}"#,
            r#"{"messageStop":{"p":"abc","stopReason":"end_turn"}}"#,
            r#"{"metadata":{"metrics":{"latencyMs":1500},"p":"abc","usage":{"inputTokens":10,"outputTokens":2000,"totalTokens":2010}}}"#,
        ]),
    }
}

fn ollama(says: Says) -> Answer {
    let members = match says {
        Says::Text => r#""content":"WORD""#,
        Says::Thoughts => r#""content":"","thinking":"WORD""#,
        Says::Calls => {
            r#""content":"","tool_calls":[{"function":{"name":"weather","arguments":{"city":"Ur in Sumer"}}}]"#
        }
    };
    let line = format!(
        r#"{{"model":"llama3","created_at":"2026-08-07T06:08:11.017589Z","message":{{"role":"assistant",{members}}},"done":false}}"#
    );
    Answer {
        ahead: Vec::new(),
        round: vec![line],
        behind: owned([
            r#"{"model":"llama3","created_at":"2026-08-07T06:08:12.017589Z","message":{"role":"assistant","content":""},"done_reason":"stop","done":true,"total_duration":5191566416,"prompt_eval_count":10,"eval_count":2000}"#,
        ]),
    }
}

fn cohere(says: Says) -> Answer {
    let mut ahead = owned([
        r#"{"id":"29f14a5a-11de-4cae-9800-25e4747408ea","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
    ]);
    let mut behind = Vec::new();
    let content = match says {
        Says::Text => Some(("text", r#""text":"""#, r#""text":"WORD""#)),
        Says::Thoughts => Some(("thinking", r#""thinking":"""#, r#""thinking":"WORD""#)),
        Says::Calls => None,
    };
    let round = match content {
        Some((kind, empty, word)) => {
            ahead.push(format!(r#"{{"type":"content-start","index":0,"delta":{{"message":{{"content":{{"type":"{kind}",{empty}}}}}}}}}"#));
            behind.extend(owned([r#"{"type":"content-end","index":0}"#]));
            vec![format!(
                r#"{{"type":"content-delta","index":0,"delta":{{"message":{{"content":{{{word}}}}}}}}}"#
            )]
        }
        None => call(
            r#"{"type":"tool-call-start","index":NUMBER,"delta":{"message":{"tool_calls":{"id":"weather_0123456789abNUMBER","type":"function","function":{"name":"weather","arguments":""}}}}}"#,
            r#"{"type":"tool-call-delta","index":NUMBER,"delta":{"message":{"tool_calls":{"function":{"arguments":"PIECE"}}}}}"#,
            [r#"{"type":"tool-call-end","index":NUMBER}"#],
        ),
    };
    behind.extend(owned([
        r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":10,"output_tokens":2000},"tokens":{"input_tokens":10,"output_tokens":2000}}}}"#,
    ]));
    Answer { ahead, round, behind }
}

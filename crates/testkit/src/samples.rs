//! Small streams written by hand, of both dialects, that say `Hi`, `stop` and 3 tokens in, 5 out.

use ziggurat_core::Dialect;

/// A chunk of text; `content` as it stands in JSON.
#[must_use]
pub fn chat(content: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// The chunk that ends the answer.
pub const CHAT_FINISH: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
/// The usage chunk.
pub const CHAT_USAGE: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}\n\n";
/// The terminator.
pub const DONE: &str = "data: [DONE]\n\n";

/// The start of a message.
pub const MESSAGE_START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n";
/// The text.
pub const MESSAGE_TEXT: &str = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
/// The end of the text, why it ended, and the usage.
pub const MESSAGE_END: &str = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n";
/// The terminator.
pub const MESSAGE_STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// A whole stream of a dialect.
#[must_use]
pub fn stream(dialect: Dialect) -> String {
    match dialect {
        Dialect::Anthropic => [MESSAGE_START, MESSAGE_TEXT, MESSAGE_END, MESSAGE_STOP].concat(),
        _ => [&*chat("Hi"), CHAT_FINISH, CHAT_USAGE, DONE].concat(),
    }
}

/// What OpenAI's dialect calls a whole answer.
pub const CHAT_ANSWER: &str = "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}";
/// What Anthropic's does.
pub const MESSAGE_ANSWER: &str = "{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}";

/// A whole answer of a dialect.
#[must_use]
pub const fn answer(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => MESSAGE_ANSWER,
        _ => CHAT_ANSWER,
    }
}

/// The event in which a dialect says that a stream was cut.
#[must_use]
pub fn truncated(dialect: Dialect) -> String {
    const SAID: &str = "the provider's stream ended before the answer was complete";
    match dialect {
        Dialect::Anthropic => format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"api_error\",\"message\":\"{SAID}\"}}}}\n\n"
        ),
        _ => format!(
            "data: {{\"error\":{{\"message\":\"{SAID}\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_truncated\"}}}}\n\n"
        ),
    }
}

/// Both dialects.
pub const DIALECTS: [Dialect; 2] = [Dialect::OpenAi, Dialect::Anthropic];

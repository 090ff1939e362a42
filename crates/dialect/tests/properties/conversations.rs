//! Requests and answers.

use proptest::prelude::*;
use serde_json::Value;
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{
    Encoding, decode_request, decode_response, encode_request, encode_response, openai::to_mistral,
};

use crate::{
    common::{dropping, strict},
    documents::{anthropic_answer, anthropic_request, openai_answer, openai_request},
};

const BOTH: [Dialect; 2] = [Dialect::OpenAi, Dialect::Anthropic];

/// Written in its own dialect it is the same request; in the other one it is refused or well formed, and no name stands twice.
fn check_request(dialect: Dialect, asked: &Value) -> Result<(), TestCaseError> {
    let json = asked.to_string();
    let request = decode_request(dialect, &json).expect("reads");
    for target in BOTH {
        for (policy, model) in
            [(ParamPolicy::default(), "m"), (dropping(), "claude-opus-5"), (dropping(), "o3")]
        {
            let mut out = Vec::new();
            let model = if target == dialect { "m" } else { model };
            let written = encode_request(target, &request, &Encoding::new(model, &policy), &mut out);
            if let Err(refused) = written {
                prop_assert_ne!(target, dialect, "{} refused", refused);
                continue;
            }
            let text = String::from_utf8(out).expect("is UTF-8");
            strict(&text);
            let again = decode_request(target, &text).expect("reads again");
            if target == dialect {
                prop_assert_eq!(format!("{request:?}"), format!("{again:?}"), "{}", text);
            }
        }
    }
    Ok(())
}

/// To providers whose dialect no caller speaks, and to Mistral, it is refused or well formed, and no name stands twice.
fn check_provider_request(dialect: Dialect, asked: &Value) -> Result<(), TestCaseError> {
    let json = asked.to_string();
    let (policy, mut allowing) = (dropping(), dropping());
    allowing.allowed_openai_params = ALLOWED.iter().map(|name| (*name).to_owned()).collect();
    for policy in [&policy, &allowing] {
        let mut request = decode_request(dialect, &json).expect("reads");
        for (target, model) in [
            (Dialect::Ollama, "gpt-oss"),
            (Dialect::Cohere, "command-a-plus"),
            (Dialect::OpenAi, "mistral-small"),
        ] {
            let (encoding, mut out) = (Encoding::new(model, policy), Vec::new());
            let reshaped =
                if target == Dialect::OpenAi { to_mistral(&mut request, &encoding) } else { Ok(()) };
            if reshaped.and_then(|()| encode_request(target, &request, &encoding, &mut out)).is_ok() {
                strict(std::str::from_utf8(&out).expect("is UTF-8"));
            }
        }
    }
    Ok(())
}

/// Parameters that a policy hands on.
const ALLOWED: &[&str] = &[
    "n",
    "user",
    "tool_choice",
    "thinking",
    "reasoning_effort",
    "think",
    "format",
    "options",
    "p",
    "k",
    "seed",
];

fn check_answer(dialect: Dialect, given: &Value) -> Result<(), TestCaseError> {
    let json = given.to_string();
    let answer = decode_response(dialect, &json).expect("reads");
    for target in BOTH {
        let mut out = Vec::new();
        encode_response(target, &answer, 5, &mut out);
        let text = String::from_utf8(out).expect("is UTF-8");
        strict(&text);
        let again = decode_response(target, &text).expect("reads again");
        if target == dialect {
            prop_assert_eq!(format!("{answer:?}"), format!("{again:?}"), "{}", text);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn an_openai_request_is_the_same_when_it_is_written_and_read_again(asked in openai_request()) {
        check_request(Dialect::OpenAi, &asked)?;
        check_provider_request(Dialect::OpenAi, &asked)?;
    }

    #[test]
    fn an_anthropic_request_is_the_same_when_it_is_written_and_read_again(asked in anthropic_request()) {
        check_request(Dialect::Anthropic, &asked)?;
        check_provider_request(Dialect::Anthropic, &asked)?;
    }

    #[test]
    fn an_openai_answer_is_the_same_when_it_is_written_and_read_again(given in openai_answer()) {
        check_answer(Dialect::OpenAi, &given)?;
    }

    #[test]
    fn an_anthropic_answer_is_the_same_when_it_is_written_and_read_again(given in anthropic_answer()) {
        check_answer(Dialect::Anthropic, &given)?;
    }
}

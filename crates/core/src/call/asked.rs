//! How much a call asks for, where that is no field of the top level.

use crate::{
    Operation,
    json::{Cursor, Fault, key_is},
};

/// What was found; of several values the largest, as which of them a provider reads is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The most tokens of an answer.
    pub(super) cap: Option<u64>,
    /// How many answers.
    pub(super) answers: Option<u64>,
}

impl Asked {
    /// Of Gemini's `generationConfig`, in both spellings of its names, and of the `prompt` of text completions.
    pub(super) fn of(operation: Operation, body: &str) -> Self {
        let mut asked = Self::default();
        let _walked: Result<(), Fault> = Cursor::new(body).object(|key, cursor| match operation {
            Operation::Generate | Operation::StreamGenerate
                if is_one(key, ["generationConfig", "generation_config"]) && cursor.peek() == b'{' =>
            {
                cursor.object(|key, cursor| {
                    let number = number(cursor.value()?);
                    if is_one(key, ["maxOutputTokens", "max_output_tokens"]) {
                        asked.cap = asked.cap.max(number);
                    } else if is_one(key, ["candidateCount", "candidate_count"]) {
                        asked.answers = asked.answers.max(number);
                    }
                    Ok(())
                })
            }
            Operation::Completions if key_is(key, "prompt") && cursor.peek() == b'[' => {
                let mut prompts = 0;
                cursor.array(|_, cursor| {
                    // The tokens of one prompt are numbers.
                    prompts += u64::from(!cursor.peek().is_ascii_digit());
                    cursor.value().map(drop)
                })?;
                asked.answers = asked.answers.max(Some(prompts.max(1)));
                Ok(())
            }
            _ => cursor.value().map(drop),
        });
        asked
    }
}

fn is_one(key: &str, names: [&str; 2]) -> bool {
    names.iter().any(|name| key_is(key, name))
}

/// A number, which proto's JSON may have in quotes.
fn number(json: &str) -> Option<u64> {
    let plain = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json);
    plain.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_and_quotes_are_read_and_the_larger_counts() {
        let asked = |body: &str| Asked::of(Operation::Generate, body);
        let of = |cap, answers| Asked { cap, answers };
        assert_eq!(
            asked(r#"{"generationConfig":{"maxOutputTokens":10,"candidateCount":8}}"#),
            of(Some(10), Some(8))
        );
        assert_eq!(
            asked(r#"{"generation_config":{"max_output_tokens":"77","candidate_count":2}}"#),
            of(Some(77), Some(2))
        );
        assert_eq!(
            asked(r#"{"generationConfig":{"maxOutputTokens":1},"generation_config":{"maxOutputTokens":9}}"#),
            of(Some(9), None)
        );
        assert_eq!(asked(r#"{"max_tokens":1,"n":2,"generationConfig":null}"#), of(None, None));
    }

    #[test]
    fn each_prompt_of_a_completion_is_answered() {
        let answers = |body: &str| Asked::of(Operation::Completions, body).answers;
        assert_eq!(answers(r#"{"prompt":["a","b"]}"#), Some(2));
        assert_eq!(answers(r#"{"prompt":[[1,2],[3]]}"#), Some(2));
        assert_eq!(answers(r#"{"prompt":[1,2,3]}"#), Some(1));
        assert_eq!(answers(r#"{"prompt":"a"}"#), None);
    }
}

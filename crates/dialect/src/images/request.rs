//! The request, in OpenAI's words.

use serde_json::value::RawValue;

use crate::{
    Malformed, Text,
    read::{Extra, document, wire_object},
};

/// A request for images.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// What is to be drawn.
    pub prompt: Text<'a>,
    /// How many images, from 1 to 10.
    pub n: usize,
    /// All else but the model.
    pub extra: Extra<'a>,
}

wire_object! {
    struct Wire { model: &'a RawValue = "model", prompt: Text<'a> = "prompt", n: &'a RawValue = "n", }
}

/// Reads a request.
///
/// # Errors
/// [`Malformed`], with the field that is to blame.
pub fn decode_request(json: &str) -> Result<Request<'_>, Malformed> {
    let wire: Wire<'_> = document(json)?;
    let prompt = wire.prompt.filter(|prompt| !prompt.is_empty());
    let Some(prompt) = prompt else { return Err(Malformed::new("missing required field", "prompt")) };
    // As it is counted ahead by whoever sets money aside: written as a whole number.
    let n = wire.n.map_or(Some(1), |raw| raw.get().parse().ok().filter(|n| (1..=MOST_IMAGES).contains(n)));
    let Some(n) = n else {
        return Err(Malformed::new(format!("expected a whole number from 1 to {MOST_IMAGES}"), "n"));
    };
    Ok(Request { prompt, n, extra: wire.extra })
}

/// As OpenAI's API has it.
const MOST_IMAGES: usize = 10;

// ===== impl Request =====

impl<'a> Request<'a> {
    /// The last member of this name that asks for something.
    pub(super) fn member(&self, name: &str) -> Option<&'a RawValue> {
        let mut members = self.extra.iter().rev();
        members.find(|(own, _)| own == name).map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_and_a_number_are_read_and_the_rest_is_kept() {
        let request = decode_request(
            r#"{"model":"m","prompt":"a\n","n":3,"size":"auto","size":"1x1","x":[1],"user":null}"#,
        )
        .expect("reads");
        assert_eq!((request.prompt.clone(), request.n, request.extra.len()), ("a\n".into(), 3, 4));
        assert_eq!(request.member("size").map(RawValue::get), Some("\"1x1\""));
        assert!(request.member("user").is_none() && request.member("model").is_none());
        assert_eq!(decode_request(r#"{"prompt":"a","n":null}"#).expect("reads").n, 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let number = "expected a whole number from 1 to 10";
        let cases = [
            ("{}", "prompt", "missing required field"),
            (r#"{"prompt":""}"#, "prompt", "missing required field"),
            (r#"{"prompt":null}"#, "prompt", "missing required field"),
            (r#"{"prompt":["a"]}"#, "prompt", "expected a string, not a list"),
            (r#"{"prompt":"a","n":0}"#, "n", number),
            (r#"{"prompt":"a","n":11}"#, "n", number),
            (r#"{"prompt":"a","n":2.0}"#, "n", number),
            (r#"{"prompt":"a","n":"2"}"#, "n", number),
            (r#"{"prompt":"a","n":-1}"#, "n", number),
        ];
        for (json, path, message) in cases {
            let error = decode_request(json).expect_err(json);
            assert_eq!((&*error.path, &*error.message), (path, message), "{json}");
        }
    }
}

//! The request: what callers say, and how OpenAI's say it.

use serde_json::value::RawValue;
use ziggurat_core::Operation;

use super::google;
use crate::{
    Malformed, Text,
    read::{Extra, Whole, document, wire_object},
};

/// A request for embeddings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// By what it is asked for: whose words it is in.
    pub operation: Operation,
    /// What is to be embedded.
    pub input: Input<'a>,
    /// How many numbers a vector is to have.
    pub dimensions: Option<u64>,
    /// Whether vectors are wanted in base64, else as lists of numbers.
    pub base64: bool,
    /// All else but the model.
    pub extra: Extra<'a>,
    /// How many of those the caller gives: what stands behind them is the operator's.
    pub(crate) given: usize,
}

/// What is to be embedded.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<'a> {
    /// Texts, at least one.
    Texts(Vec<Text<'a>>),
    /// Tokens of texts, by their ids.
    Tokens,
}

wire_object! {
    struct Wire {
        model: &'a RawValue = "model",
        input: &'a RawValue = "input",
        dimensions: Whole = "dimensions",
        encoding_format: Text<'a> = "encoding_format",
    }
}

/// Reads a request.
///
/// # Errors
/// [`Malformed`], with the field that is to blame.
pub fn decode_request(json: &str) -> Result<Request<'_>, Malformed> {
    let wire: Wire<'_> = document(json)?;
    let Some(input) = wire.input else { return Err(Malformed::new("missing required field", "input")) };
    let dimensions = wire.dimensions.map(|dimensions| dimensions.0);
    if dimensions == Some(0) {
        return Err(Malformed::new("expected a whole number of at least 1", "dimensions"));
    }
    let base64 = match wire.encoding_format.as_ref().map(Text::decode).as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Malformed::new("expected `float` or `base64`", "encoding_format")),
    };
    let (operation, given) = (Operation::Embeddings, wire.extra.len());
    Ok(Request { operation, input: Input::read(input.get())?, dimensions, base64, extra: wire.extra, given })
}

// ===== impl Input =====

impl<'a> Input<'a> {
    fn read(json: &'a str) -> Result<Self, Malformed> {
        if let Some(text) = Text::from_json(json) {
            return Ok(Self::Texts(vec![text]));
        }
        if !json.starts_with('[') {
            return Err(Malformed::new("expected a string or a list", "input"));
        }
        let items: Vec<&'a RawValue> = document(json).map_err(|error| error.within("input"))?;
        match items.first().map(|item| item.get().as_bytes()) {
            None => Err(Malformed::new("expected at least one text", "input")),
            Some([b'"', ..]) => {
                let texts = items.iter().enumerate().map(|(index, item)| {
                    Text::from_json(item.get())
                        .ok_or_else(|| Malformed::new("expected a string", format!("input[{index}]")))
                });
                texts.collect::<Result<_, _>>().map(Self::Texts)
            }
            Some([b'[', ..]) => {
                let mut lists = items.iter().enumerate();
                lists.try_for_each(|(index, item)| tokens(item.get(), &format!("input[{index}]")))?;
                Ok(Self::Tokens)
            }
            Some(_) => tokens(json, "input").map(|()| Self::Tokens),
        }
    }

    /// How many vectors are asked for, where that is of texts.
    #[must_use]
    pub fn texts(&self) -> &[Text<'a>] {
        match self {
            Self::Texts(texts) => texts,
            Self::Tokens => &[],
        }
    }
}

/// How many numbers a vector is to have, in OpenAI's words.
const DIMENSIONS: &str = "dimensions";

/// What vectors are for, in the words of several.
pub(super) const TASK: &[&str] = &["input_type", "task_type", "taskType"];

/// Checks a list of token ids.
fn tokens(json: &str, path: &str) -> Result<(), Malformed> {
    if !json.starts_with('[') {
        return Err(Malformed::new("expected a list of token ids", path));
    }
    let ids: Vec<&RawValue> = document(json).map_err(|error| error.within(path))?;
    if ids.is_empty() {
        return Err(Malformed::new("expected at least one token id", path));
    }
    match ids.iter().position(|id| id.get().parse::<u32>().is_err()) {
        None => Ok(()),
        Some(index) => Err(Malformed::new("expected a token id", format!("{path}[{index}]"))),
    }
}

// ===== impl Request =====

impl<'a> Request<'a> {
    /// Gives a parameter that the caller does not give, by its name in OpenAI's words or LiteLLM's; one that no such request has is left out.
    pub fn add_missing(&mut self, name: &'a str, json: &'a str) {
        match name {
            DIMENSIONS => self.dimensions = self.dimensions.or_else(|| json.parse().ok()),
            // Callers of other words say nothing of these.
            "encoding_format" | "user" => {}
            name => {
                let names = if TASK.contains(&name) { TASK } else { &[name] };
                if let (None, Ok(raw)) = (self.member(names), serde_json::from_str(json)) {
                    self.extra.push((name.into(), raw));
                }
            }
        }
    }

    /// Takes a parameter out, by its name in OpenAI's words or LiteLLM's.
    pub fn remove(&mut self, name: &str) {
        let names = if TASK.contains(&name) { TASK } else { &[name] };
        if name == DIMENSIONS {
            self.dimensions = None;
        }
        self.extra.retain(|(name, _)| !names.contains(&&**name));
        self.given = self.given.min(self.extra.len());
    }

    /// How its caller says how many numbers a vector is to have.
    pub(super) const fn dimensions_name(&self) -> &'static str {
        if self.operation.embeds_content() { google::DIMENSIONS } else { DIMENSIONS }
    }

    /// Where its caller says what is to be embedded.
    pub(super) const fn input_name(&self) -> &'static str {
        match self.operation {
            Operation::EmbedContent => "content",
            Operation::BatchEmbedContents => "requests",
            _ => "input",
        }
    }

    /// The last member that is known by one of these names and asks for something, with its name.
    pub(super) fn member(&self, names: &[&str]) -> Option<(&str, &'a RawValue)> {
        let mut members = self.extra.iter().rev();
        let (name, raw) = members.find(|(name, raw)| names.contains(&&**name) && raw.get() != "null")?;
        Some((name, *raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> (String, String) {
        let error = decode_request(json).expect_err(json);
        (error.path, error.message)
    }

    #[test]
    fn one_text_or_several_are_read_and_the_rest_is_kept() {
        let request = decode_request(
            r#"{"model":"m","input":"a\n","dimensions":7.0,"encoding_format":"base64","user":"u","x":[1]}"#,
        )
        .expect("reads");
        assert_eq!(request.input, Input::Texts(vec!["a\n".into()]));
        assert_eq!((request.dimensions, request.base64), (Some(7), true));
        let extra: Vec<_> = request.extra.iter().map(|(name, raw)| (&**name, raw.get())).collect();
        assert_eq!(extra, [("user", r#""u""#), ("x", "[1]")]);
        let several = decode_request(r#"{"input":["a", "b"],"dimensions":null,"encoding_format":null}"#);
        let several = several.expect("reads");
        assert_eq!(several.input, Input::Texts(vec!["a".into(), "b".into()]));
        assert_eq!((several.dimensions, several.base64), (None, false));
    }

    #[test]
    fn tokens_are_told_from_texts() {
        for input in ["[1,2]", "[[1],[2,3]]"] {
            let json = format!(r#"{{"input":{input}}}"#);
            assert_eq!(decode_request(&json).expect("reads").input, Input::Tokens, "{input}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases = [
            ("{}", "input", "missing required field"),
            (r#"{"input":null}"#, "input", "missing required field"),
            (r#"{"input":7}"#, "input", "expected a string or a list"),
            (r#"{"input":{"text":"a"}}"#, "input", "expected a string or a list"),
            (r#"{"input":[]}"#, "input", "expected at least one text"),
            (r#"{"input":["a",7]}"#, "input[1]", "expected a string"),
            (r#"{"input":["a",["b"]]}"#, "input[1]", "expected a string"),
            (r#"{"input":[1,"b"]}"#, "input[1]", "expected a token id"),
            (r#"{"input":[1,-1]}"#, "input[1]", "expected a token id"),
            (r#"{"input":[{"text":"a"}]}"#, "input[0]", "expected a token id"),
            (r#"{"input":[[1],"b"]}"#, "input[1]", "expected a list of token ids"),
            (r#"{"input":[[1],[2,"b"]]}"#, "input[1][1]", "expected a token id"),
            (r#"{"input":[[1],[]]}"#, "input[1]", "expected at least one token id"),
            (r#"{"input":[["a"]]}"#, "input[0][0]", "expected a token id"),
            (r#"{"input":"a","dimensions":0}"#, "dimensions", "expected a whole number of at least 1"),
            (r#"{"input":"a","dimensions":-1}"#, "dimensions", "expected a whole number of at least 0"),
            (r#"{"input":"a","encoding_format":"int8"}"#, "encoding_format", "expected `float` or `base64`"),
            (r#"{"input":"a","encoding_format":1}"#, "encoding_format", "expected a string"),
        ];
        for (json, path, message) in cases {
            assert_eq!(error(json), (path.to_owned(), message.to_owned()), "{json}");
        }
    }
}

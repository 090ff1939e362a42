//! The request, in Cohere's words.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde_json::value::RawValue;

use crate::{
    Malformed, Text,
    read::{Extra, Whole, document, wire_object},
};

/// A request to put documents in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// What they are compared with.
    pub query: Text<'a>,
    /// The documents, at least one.
    pub documents: Vec<Document<'a>>,
    /// How many of the best are wanted; all of them unless said.
    pub top_n: Option<u64>,
    /// Whether the documents are to be given back.
    pub return_documents: bool,
    /// All else but the model.
    pub extra: Extra<'a>,
}

/// A document.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Document<'a> {
    /// What is read of it.
    pub text: Text<'a>,
    /// Itself, where it is an object.
    pub object: Option<&'a RawValue>,
}

/// The fields of documents that are to be read, each with its place among them.
type Places<'f> = HashMap<Cow<'f, str>, usize>;

wire_object! {
    struct Wire {
        model: &'a RawValue = "model",
        query: Text<'a> = "query",
        documents: Vec<&'a RawValue> = "documents",
        top_n: Whole = "top_n",
        return_documents: bool = "return_documents",
        rank_fields: Vec<Text<'a>> = "rank_fields",
    }
    struct Members {}
}

/// Reads a request.
///
/// # Errors
/// [`Malformed`], with the field that is to blame.
pub fn decode_request(json: &str) -> Result<Request<'_>, Malformed> {
    let wire: Wire<'_> = document(json)?;
    let missing = |name: &str| Malformed::new("missing required field", name);
    let query = wire.query.ok_or_else(|| missing("query"))?;
    let documents = wire.documents.ok_or_else(|| missing("documents"))?;
    if documents.is_empty() {
        return Err(Malformed::new("expected at least one document", "documents"));
    }
    let top_n = wire.top_n.map(|top| top.0);
    if top_n == Some(0) {
        return Err(Malformed::new("expected a whole number of at least 1", "top_n"));
    }
    let fields = wire.rank_fields.unwrap_or_default();
    let places = places(&fields)?;
    let documents = documents.iter().enumerate().map(|(index, json)| {
        Document::read(json, &places).map_err(|error| error.within(&format!("documents[{index}]")))
    });
    Ok(Request {
        query,
        documents: documents.collect::<Result<_, _>>()?,
        top_n,
        return_documents: wire.return_documents.unwrap_or(false),
        extra: wire.extra,
    })
}

/// A field that is named twice would be written twice, of every document.
fn places<'f>(fields: &'f [Text<'_>]) -> Result<Places<'f>, Malformed> {
    let mut places = HashMap::with_capacity(fields.len());
    for (place, field) in fields.iter().enumerate() {
        if places.insert(field.decode(), place).is_some() {
            return Err(Malformed::new("the field is named twice", format!("rank_fields[{place}]")));
        }
    }
    Ok(places)
}

// ===== impl Document =====

impl<'a> Document<'a> {
    fn read(json: &'a RawValue, places: &Places<'_>) -> Result<Self, Malformed> {
        if let Some(text) = Text::from_json(json.get()) {
            return Ok(Self { text, object: None });
        }
        if !json.get().starts_with('{') {
            return Err(Malformed::new("expected a string or an object", ""));
        }
        let members: Members<'_> = document(json.get())?;
        let text = match places.is_empty() {
            true => members.text()?,
            false => members.lines(places)?.into(),
        };
        Ok(Self { text, object: Some(json) })
    }
}

// ===== impl Members =====

impl<'a> Members<'a> {
    fn text(&self) -> Result<Text<'a>, Malformed> {
        let text = self.extra.iter().rev().find_map(|(name, raw)| (*name == "text").then_some(*raw));
        let text = text.ok_or_else(|| Malformed::new("missing required field", "text"))?;
        Text::from_json(text.get()).ok_or_else(|| Malformed::new("expected a string", "text"))
    }

    /// The fields that the document has of those that are named, in their order. Each stands there once, and so they are no longer than the
    /// document.
    fn lines(&self, places: &Places<'_>) -> Result<String, Malformed> {
        let mut named = BTreeMap::new();
        // Of several of one name the last is meant.
        named.extend(self.extra.iter().filter_map(|(name, raw)| Some((*places.get(name)?, (&**name, raw)))));
        let lines = named.into_values().map(|(name, raw)| line(name, raw.get()));
        Ok(lines.collect::<Result<Vec<_>, _>>()?.join("\n"))
    }
}

/// A field with its name, as the lines of YAML are written that Cohere recommends.
fn line(name: &str, raw: &str) -> Result<String, Malformed> {
    match (Text::from_json(raw), raw.as_bytes().first()) {
        (Some(text), _) => Ok(format!("{name}: {}", text.decode())),
        (None, Some(b'{' | b'[')) => Err(Malformed::new("expected a string or a number", name)),
        (None, _) => Ok(format!("{name}: {raw}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str) -> Vec<String> {
        let request = decode_request(json).expect(json);
        request.documents.iter().map(|document| document.text.decode().into_owned()).collect()
    }

    #[test]
    fn documents_are_texts_or_have_one() {
        let json = r#"{"model":"m","query":"q","documents":["a\n",{"id":7,"text":"b"}],"top_n":2,"return_documents":true,"x":1}"#;
        let request = decode_request(json).expect("reads");
        assert_eq!(texts(json), ["a\n", "b"]);
        assert_eq!((request.query, request.top_n, request.return_documents), ("q".into(), Some(2), true));
        assert_eq!(request.documents[1].object.map(RawValue::get), Some(r#"{"id":7,"text":"b"}"#));
        assert_eq!(request.extra.len(), 1);
    }

    #[test]
    fn fields_that_are_named_are_read_as_lines() {
        let json = r#"{"query":"q","documents":["a",{"body":"b\tc","n":7,"title":"t"},{"x":1}],"rank_fields":["title","body","n"]}"#;
        assert_eq!(texts(json), ["a", "title: t\nbody: b\tc\nn: 7", ""]);
    }

    #[test]
    fn of_a_field_that_stands_twice_in_a_document_the_last_is_meant() {
        let json = r#"{"query":"q","documents":[{"a":1,"b":2,"\u0061":3}],"rank_fields":["b","a"]}"#;
        assert_eq!(texts(json), ["b: 2\na: 3"]);
    }

    /// This would take hours if each field were looked for in each document.
    #[test]
    fn fields_times_documents_are_no_work_and_no_memory() {
        let fields: Vec<_> = (0..50_000).map(|n| format!("\"{n}\"")).collect();
        let one =
            format!("{{{}}}", fields.iter().map(|name| format!("{name}:0")).collect::<Vec<_>>().join(","));
        let documents = format!("{one}{}", ",{\"7\":\"a\"}".repeat(50_000));
        let json =
            format!(r#"{{"query":"q","documents":[{documents}],"rank_fields":[{}]}}"#, fields.join(","));
        let texts = texts(&json);
        assert_eq!((texts.len(), &*texts[50_000]), (50_001, "7: a"));
        assert!(texts[0].starts_with("0: 0\n1: 0\n") && texts[0].len() < one.len());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases = [
            (r#"{"documents":["a"]}"#, "query", "missing required field"),
            (r#"{"query":7,"documents":["a"]}"#, "query", "expected a string"),
            (r#"{"query":"q"}"#, "documents", "missing required field"),
            (r#"{"query":"q","documents":[]}"#, "documents", "expected at least one document"),
            (
                r#"{"query":"q","documents":"a"}"#,
                "documents",
                r#"invalid type: string "a", expected a sequence"#,
            ),
            (r#"{"query":"q","documents":["a",7]}"#, "documents[1]", "expected a string or an object"),
            (r#"{"query":"q","documents":[["a"]]}"#, "documents[0]", "expected a string or an object"),
            (r#"{"query":"q","documents":[{"x":"a"}]}"#, "documents[0].text", "missing required field"),
            (r#"{"query":"q","documents":[{"text":1}]}"#, "documents[0].text", "expected a string"),
            (
                r#"{"query":"q","documents":[{"x":[1]}],"rank_fields":["x"]}"#,
                "documents[0].x",
                "expected a string or a number",
            ),
            (
                r#"{"query":"q","documents":["a"],"rank_fields":["x","y","\u0078"]}"#,
                "rank_fields[2]",
                "the field is named twice",
            ),
            (
                r#"{"query":"q","documents":["a"],"top_n":0}"#,
                "top_n",
                "expected a whole number of at least 1",
            ),
            (
                r#"{"query":"q","documents":["a"],"top_n":"1"}"#,
                "top_n",
                "expected a whole number of at least 0",
            ),
        ];
        for (json, path, message) in cases {
            let error = decode_request(json).expect_err(json);
            assert_eq!((&*error.path, &*error.message), (path, message), "{json}");
        }
    }
}

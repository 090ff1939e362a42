//! What becomes of schemas.

use serde_json::json;

use super::*;

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("is JSON")
}

#[test]
fn references_are_put_in_place_and_null_is_nullable() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "$defs": { "B": { "type": ["integer", "null"] } },
        "properties": {
            "a": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
            "b": { "$ref": "#/$defs/B" },
            "c": { "const": "x" },
            "d": { "type": "string", "format": "uri", "enum": ["p"] },
        },
    });
    assert!(!fits(&raw(&schema)));
    let expected = json!({
        "type": "object",
        "properties": {
            "a": { "type": "string", "nullable": true },
            "b": { "type": "integer", "nullable": true },
            "c": { "type": "string", "enum": ["x"] },
            "d": { "type": "string", "enum": ["p"] },
        },
    });
    assert_eq!(subset(&raw(&schema), &mut Copies::default()), Ok(expected.clone()));
    assert!(fits(&raw(&expected)));
}

fn of(schema: &Value) -> Result<Value, Unfit> {
    subset(&raw(schema), &mut Copies::default())
}

#[test]
fn parts_that_hold_together_are_one() {
    let text = || json!({ "type": "string" });
    let schema = json!({
        "$defs": { "named": { "type": "object", "title": "N", "properties": { "name": text(), "age": { "type": "number", "minimum": 1, "maximum": 9 } }, "required": ["name"] } },
        "allOf": [
            { "$ref": "#/$defs/named" },
            { "properties": { "age": { "type": "integer", "minimum": 3, "maximum": 10, "description": "years" }, "b": text() }, "required": ["name", "b"] },
        ],
        "type": "object", "description": "own", "required": ["own"], "properties": { "own": text() },
    });
    assert_eq!(
        of(&schema),
        Ok(json!({
            "type": "object", "title": "N", "description": "own", "required": ["own", "name", "b"],
            "properties": {
                "own": text(), "name": text(), "b": text(),
                "age": { "type": "integer", "minimum": 3, "maximum": 9, "description": "years" },
            },
        }))
    );
    let each = |parts: Value| of(&json!({ "allOf": parts }));
    let word = |words: Value| json!({ "type": "string", "enum": words });
    assert_eq!(
        each(json!([word(json!(["a", "b", "c"])), word(json!(["c", "b"]))])),
        Ok(word(json!(["b", "c"])))
    );
    let list = |items: Value, least: u64| json!({ "type": "array", "items": items, "minItems": least });
    let merged = list(json!({ "type": "string", "maxLength": 5 }), 2);
    let parts = json!([list(text(), 1), list(json!({ "type": "string", "maxLength": 5 }), 2)]);
    assert_eq!(each(parts), Ok(merged));
    // Of what has no word for both, one is told.
    let parts = json!([{ "type": "string", "pattern": "a" }, { "pattern": "b" }]);
    assert_eq!(each(parts), Ok(json!({ "type": "string", "pattern": "a" })));
    assert_eq!(each(json!([])), Ok(json!({})));
    // What stands beside a reference, and beside options, holds too.
    let schema = json!({ "$defs": { "a": text() }, "properties": {
        "b": { "$ref": "#/$defs/a", "description": "d" },
        "c": { "properties": { "x": text() }, "anyOf": [{ "properties": { "y": text() } }] },
    } });
    let c = json!({ "properties": { "x": text(), "y": text() } });
    let b = json!({ "type": "string", "description": "d" });
    assert_eq!(of(&schema), Ok(json!({ "properties": { "b": b, "c": c } })));
}

#[test]
fn parts_that_nothing_fits_are_refused() {
    let each = |parts: Value| of(&json!({ "properties": { "a": { "allOf": parts } } }));
    assert_eq!(each(json!([{ "type": "string" }, { "type": "integer" }])), Err(Unfit::Apart("type")));
    assert_eq!(each(json!([{ "enum": ["a"] }, { "enum": ["b"] }])), Err(Unfit::Apart("enum")));
    let nested = json!([{ "properties": { "x": { "type": "string" } } }, { "properties": { "x": { "type": "object" } } }]);
    assert_eq!(each(nested), Err(Unfit::Apart("type")));
    let told = "the schema takes nothing: `type` of what has to hold together, as the parts of an `allOf`, has nothing in common";
    assert_eq!(Unfit::Apart("type").to_string(), told);
}

#[test]
fn null_is_taken_where_each_part_takes_it() {
    let each = |parts: Value| of(&json!({ "allOf": parts }));
    let nullable = json!({ "type": "string", "nullable": true });
    let either = json!({ "type": ["string", "null"] });
    assert_eq!(
        each(json!([either, { "maxLength": 5 }])),
        Ok(json!({ "type": "string", "nullable": true, "maxLength": 5 }))
    );
    assert_eq!(each(json!([either, { "type": "string" }])), Ok(json!({ "type": "string" })));
    assert_eq!(each(json!([either, either])), Ok(nullable));
    let options = json!({ "description": "d", "anyOf": [{ "type": "string" }, { "type": "null" }] });
    assert_eq!(of(&options), Ok(json!({ "description": "d", "type": "string", "nullable": true })));
}

#[test]
fn null_alone_is_a_type() {
    let null = || Ok(json!({ "type": "null" }));
    assert_eq!(of(&json!({ "type": ["null"] })), null());
    assert_eq!(of(&json!({ "type": ["null", "null"] })), null());
    assert_eq!(of(&json!({ "anyOf": [{ "type": "null" }, { "type": ["null"] }] })), null());
    assert_eq!(of(&json!({ "type": [] })), Ok(json!({})));
    assert_eq!(of(&json!({ "anyOf": [] })), Ok(json!({})));
    let either = json!({ "anyOf": [{ "type": "integer" }, { "type": ["null"] }] });
    assert_eq!(of(&either), Ok(json!({ "type": "integer", "nullable": true })));
    let several = json!({ "type": ["integer", "null", "string"] });
    let expected = json!({ "anyOf": [{ "type": "integer", "nullable": true }, { "type": "string" }] });
    assert_eq!(of(&several), Ok(expected));
}

#[test]
fn options_stand_alone() {
    let options = json!([{ "type": "integer" }, { "type": "string", "title": "Own" }]);
    assert!(fits(&raw(&json!({ "properties": { "id": { "anyOf": options } } }))));
    for beside in [json!({ "title": "Id" }), json!({ "nullable": true }), json!({ "type": "object" })] {
        let mut schema = beside;
        schema["anyOf"] = options.clone();
        assert!(!fits(&raw(&json!({ "properties": { "id": schema } }))), "{schema}");
    }
    let of = |schema: Value| of(&json!({ "items": schema })).map(|mut list| list["items"].take());
    let pydantic = json!({ "title": "Id", "description": "d", "anyOf": [
        { "type": "integer" }, { "type": "string", "title": "Own" }, { "type": "null" },
    ] });
    assert_eq!(
        of(pydantic),
        Ok(json!({ "anyOf": [
            { "type": "integer", "title": "Id", "description": "d", "nullable": true },
            { "type": "string", "title": "Own", "description": "d" },
        ] }))
    );
    // Options within options are options.
    let nested = json!({ "title": "T", "anyOf": [
        { "anyOf": [{ "type": "integer" }, { "type": "string" }] }, { "type": "boolean" },
    ] });
    let kinds = ["integer", "string", "boolean"].map(|kind| json!({ "type": kind, "title": "T" }));
    assert_eq!(of(nested), Ok(json!({ "anyOf": kinds })));
    // What is ruled out is no option, and where all are, the schema takes nothing.
    let ruled_out = json!({ "type": "string", "anyOf": [{ "type": "integer" }, { "maxLength": 3 }] });
    assert_eq!(of(ruled_out), Ok(json!({ "type": "string", "maxLength": 3 })));
    let nothing = json!({ "type": "string", "anyOf": [{ "type": "integer" }, { "type": "boolean" }] });
    assert_eq!(of(nothing), Err(Unfit::Apart("type")));
    // Parts of an `allOf` hold in each option of a property, too.
    let parts = json!({ "allOf": [
        { "properties": { "a": { "anyOf": [{ "type": "integer" }, { "type": "number" }] } } },
        { "properties": { "a": { "maximum": 9 } } },
    ] });
    let a = ["integer", "number"].map(|kind| json!({ "type": kind, "maximum": 9 }));
    assert_eq!(of(parts), Ok(json!({ "properties": { "a": { "anyOf": a } } })));
}

#[test]
fn what_is_said_in_each_option_is_counted() {
    let mut schema = json!({ "type": "string", "description": "x".repeat(1_000) });
    for _ in 0..14 {
        schema = json!({ "properties": { "a": schema }, "anyOf": [{ "required": ["a"] }, { "title": "b" }] });
    }
    assert_eq!(of(&schema), Err(Unfit::TooLarge));
}

#[test]
fn references_are_pointers_in_a_fragment() {
    let schema = |reference: &str| {
        json!({
            "$defs": { "a b": { "type": "string" }, "c/d": { "type": "integer" }, "e~f": { "type": "boolean" }, "é%": { "type": "number" }, "": { "type": "array" } },
            "properties": { "p": { "$ref": reference } },
        })
    };
    for (reference, kind) in [
        ("#/$defs/a%20b", "string"),
        ("#/%24defs/a%20b", "string"),
        ("#/$defs/a b", "string"),
        ("#/$defs/c~1d", "integer"),
        ("#/$defs/c%7e1d", "integer"),
        ("#/$defs/e~0f", "boolean"),
        ("#/$defs/%C3%A9%25", "number"),
        ("#/$defs/é%", "number"),
        ("#/$defs/", "array"),
    ] {
        let expected = json!({ "properties": { "p": { "type": kind } } });
        assert_eq!(of(&schema(reference)), Ok(expected), "{reference}");
    }
    for reference in [
        "#/$defs/none",
        "#/$defs/c/d",
        "#name",
        "other.json#/$defs/a",
        "https://e.example/s",
        "#/$defs/%zz",
        "",
    ] {
        assert_eq!(of(&schema(reference)), Err(Unfit::Unresolved(reference.to_owned())), "{reference}");
    }
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let schema = json!({ "$defs": { "T": { "type": "array", "items": { "$ref": "#/$defs/T" } } }, "$ref": "#/$defs/T" });
    assert_eq!(subset(&raw(&schema), &mut Copies::default()), Err(Unfit::TooLarge));
    let bomb = json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }, { "$ref": "#" }] });
    assert_eq!(subset(&raw(&bomb), &mut Copies::default()), Err(Unfit::TooLarge));
}

#[test]
fn types_in_capitals_become_small_and_names_stay() {
    let schema = json!({ "type": "OBJECT", "properties": { "type": { "type": "STRING", "enum": ["A"] } } });
    let expected = json!({ "type": "object", "properties": { "type": { "type": "string", "enum": ["A"] } } });
    let raw = raw(&schema);
    let plain: Value = serde_json::from_str(&plain_schema(Dialect::Gemini, &raw)).expect("is JSON");
    assert_eq!(plain, expected);
    assert_eq!(plain_schema(Dialect::OpenAi, &raw), raw.get());
}

#[test]
fn words_of_openapi_become_those_of_json_schemas() {
    let schema = json!({
        "type": "OBJECT", "propertyOrdering": ["min_items", "b"], "required": ["b"],
        "properties": {
            "min_items": { "type": "ARRAY", "min_items": "2", "items": { "type": "STRING" } },
            "b": { "type": "STRING", "nullable": true, "enum": ["x"] },
            "c": { "any_of": [{ "type": "STRING" }], "nullable": true },
            "d": { "type": "STRING", "nullable": false },
            "e": { "type": "OBJECT", "anyOf": [{ "type": "INTEGER" }, { "type": "STRING" }], "nullable": true },
            "f": { "$ref": "#/$defs/X", "nullable": true },
            "g": { "type": ["string", "number"], "nullable": true },
        },
        "nullable": true,
    });
    let expected = json!({
        "type": "object", "required": ["b"],
        "properties": {
            "min_items": { "type": "array", "minItems": 2, "items": { "type": "string" } },
            "b": { "type": ["string", "null"], "enum": ["x", null] },
            "c": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
            "d": { "type": "string" },
            "e": { "anyOf": [{ "type": "integer" }, { "type": "string" }, { "type": "null" }] },
            "f": { "anyOf": [{ "$ref": "#/$defs/X" }, { "type": "null" }] },
            "g": { "type": ["string", "number", "null"] },
        },
    });
    let plain: Value = serde_json::from_str(&plain_schema(Dialect::Gemini, &raw(&schema))).expect("is JSON");
    assert_eq!(plain, expected);
}

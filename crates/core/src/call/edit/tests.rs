use futures_util::FutureExt;
use http::Request;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::{Body, Limits};

/// A call of an operation that asks for no messages.
fn call(body: &str) -> Call {
    let request = Request::post("/v1/embeddings").body(Body::from(body.to_owned())).expect("valid");
    Call::read(request, &Limits::default()).now_or_never().expect("is whole").expect("reads").1
}

fn edited(body: &str, change: impl for<'a> FnOnce(Edit<'a>) -> Edit<'a>) -> String {
    let call = call(body);
    String::from_utf8(change(call.edit()).finish().to_vec()).expect("is UTF-8")
}

#[test]
fn sets_in_place_and_adds_behind_the_last() {
    let body = r#" { "model" : "m" , "n" : 1 } "#;
    assert_eq!(edited(body, |e| e.set(Field::N, &b"2"[..])), r#" { "model" : "m" , "n" : 2 } "#);
    assert_eq!(
        edited(body, |e| e.set_string(Field::User, "a\"b").set(Field::Stream, &b"true"[..])),
        r#" { "model" : "m" , "n" : 1,"user":"a\"b","stream":true } "#
    );
}

#[test]
fn the_later_change_of_a_field_counts() {
    let body = r#"{"model":"m","n":1}"#;
    assert_eq!(
        edited(body, |e| e.set(Field::N, &b"2"[..]).set(Field::N, &b"3"[..])),
        r#"{"model":"m","n":3}"#
    );
    assert_eq!(
        edited(body, |e| e.set(Field::Seed, &b"2"[..]).set(Field::Seed, &b"3"[..])),
        r#"{"model":"m","n":1,"seed":3}"#
    );
    assert_eq!(edited(body, |e| e.set(Field::N, &b"2"[..]).remove(&["n"])), r#"{"model":"m"}"#);
    assert_eq!(edited(body, |e| e.remove(&["n"]).set(Field::N, &b"2"[..])), r#"{"model":"m","n":2}"#);
    assert_eq!(edited(body, |e| e.set(Field::Seed, &b"2"[..]).remove(&["seed"])), body);
}

#[test]
fn neighbours_are_removed_together() {
    let body = r#"{"model":"m", "a":1, "b":2, "c":3}"#;
    assert_eq!(edited(body, |e| e.remove(&["model"]).remove(&["a"])), r#"{"b":2, "c":3}"#);
    assert_eq!(edited(body, |e| e.remove(&["b"]).remove(&["c"])), r#"{"model":"m", "a":1}"#);
    assert_eq!(edited(body, |e| e.remove(&["c"]).remove(&["a"])), r#"{"model":"m", "b":2}"#);
    assert_eq!(
        edited(body, |e| e.remove(&["a"]).remove(&["a"]).remove(&["a"])),
        r#"{"model":"m", "b":2, "c":3}"#
    );
    let all = |e: Edit<'_>| e.remove(&["b"]).remove(&["model"]).remove(&["c"]).remove(&["a"]).is_empty();
    assert!(!all(call(body).edit()));
    assert_eq!(edited(body, |e| e.remove(&["b"]).remove(&["model"]).remove(&["c"]).remove(&["a"])), "{}");
}

#[test]
fn an_addition_to_what_was_emptied_has_no_comma() {
    let body = r#"{ "model":"m" }"#;
    assert_eq!(edited(body, |e| e.remove(&["model"]).set(Field::N, &b"2"[..])), r#"{ "n":2 }"#);
    assert_eq!(
        edited(body, |e| e.set(Field::N, &b"2"[..]).remove(&["model"]).set(Field::Seed, &b"3"[..])),
        r#"{ "n":2,"seed":3 }"#
    );
}

#[test]
fn members_of_members_are_removed() {
    let body = r#"{"model":"m","o":{"a":{"x":1},"b":2},"n":1}"#;
    assert_eq!(edited(body, |e| e.remove(&["o", "a", "x"])), r#"{"model":"m","o":{"a":{},"b":2},"n":1}"#);
    assert_eq!(edited(body, |e| e.remove(&["o", "a"]).remove(&["o", "b"])), r#"{"model":"m","o":{},"n":1}"#);
    assert_eq!(edited(body, |e| e.remove(&["o", "a", "x"]).remove(&["o"])), r#"{"model":"m","n":1}"#);
    assert_eq!(edited(body, |e| e.remove(&["o"]).remove(&["o", "a"]).remove(&["n"])), r#"{"model":"m"}"#);
    assert_eq!(edited(body, |e| e.remove(&["o", "y"]).remove(&["n", "x"]).remove(&[])), body);
}

#[test]
fn a_member_of_a_value_that_was_set_is_removed_too() {
    let body = r#"{"model":"m","stream_options":{"a":1}}"#;
    let options = &br#"{"a":2,"include_usage":true}"#[..];
    assert_eq!(
        edited(body, |e| e.set(Field::StreamOptions, options).remove(&["stream_options", "include_usage"])),
        r#"{"model":"m","stream_options":{"a":2}}"#
    );
    assert_eq!(
        edited(body, |e| e.remove(&["stream_options", "a"]).set(Field::StreamOptions, options)),
        r#"{"model":"m","stream_options":{"a":2,"include_usage":true}}"#
    );
}

#[test]
fn an_unknown_field_that_stands_twice_is_removed_twice() {
    let body = r#"{"x":1,"model":"m","\u0078":2,"o":{"y":1,"z":2,"y":3}}"#;
    assert_eq!(edited(body, |e| e.remove(&["x"]).remove(&["o", "y"])), r#"{"model":"m","o":{"z":2}}"#);
}

#[test]
fn own_ranges_are_replaced_and_put_in_front() {
    let body = r#"{"model":"m","n":1}"#;
    assert_eq!(edited(body, |e| e.replace(10..11, &b"abc"[..])), r#"{"model":"abc","n":1}"#);
    assert_eq!(
        edited(body, |e| e.set_string(Field::Model, "x").replace(9..9, &b" "[..])),
        r#"{"model": "x","n":1}"#
    );
    assert_eq!(
        edited(body, |e| e.replace(10..11, &b"inner"[..]).set_string(Field::Model, "outer")),
        r#"{"model":"outer","n":1}"#
    );
}

#[test]
fn nothing_changed_is_the_body() {
    let body = r#" {"model":"m", "x":1e0 } "#;
    assert!(call(body).edit().remove(&["absent"]).is_empty());
    assert_eq!(edited(body, |e| e), body);
}

#[derive(Clone, Debug)]
enum Change {
    Set(Field, Value),
    Remove(Vec<&'static str>),
}

const NAMES: &[&str] = &["model", "n", "seed", "stream_options", "x", "y\"z", "größe"];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i32>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        prop::collection::vec(".{0,3}", 0..3).prop_map(Value::from),
    ]
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    let member = prop::sample::select(NAMES).prop_map(str::to_owned);
    let value = prop_oneof![
        value(),
        prop::collection::btree_map(member.clone(), value(), 0..4)
            .prop_map(|m| Value::Object(m.into_iter().collect())),
    ];
    prop::collection::btree_map(member, value, 0..6).prop_map(|members| members.into_iter().collect())
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let field = prop::sample::select(vec![Field::Input, Field::Prompt]);
    let name = || prop::sample::select(NAMES);
    prop::collection::vec(
        prop_oneof![
            (field, value()).prop_map(|(field, value)| Change::Set(field, value)),
            prop::collection::vec(name(), 1..3).prop_map(Change::Remove),
            prop::sample::select(vec!["input", "prompt"]).prop_map(|name| Change::Remove(vec![name])),
        ],
        0..8,
    )
}

fn apply(map: &mut Map<String, Value>, change: &Change) {
    match change {
        Change::Set(field, value) => {
            map.insert(field.name().to_owned(), value.clone());
        }
        Change::Remove(path) => match path[..] {
            [name] => {
                map.remove(name);
            }
            [name, inner] => {
                if let Some(Value::Object(members)) = map.get_mut(name) {
                    members.remove(inner);
                }
            }
            _ => unreachable!("paths have one or two names"),
        },
    }
}

/// The types of these are checked when a call is read.
fn fits_checks(map: &Map<String, Value>) -> Map<String, Value> {
    let rename = |name: &String| match &**name {
        "model" | "n" | "seed" | "stream_options" => format!("{name}_"),
        _ => name.clone(),
    };
    map.iter().map(|(name, value)| (rename(name), value.clone())).collect()
}

proptest! {
    #[test]
    fn equals_the_same_changes_of_a_map(
        map in object(),
        first in value(),
        has_input: bool,
        changes in changes(),
        pretty: bool,
    ) {
        let mut map = fits_checks(&map);
        if has_input {
            map.insert("input".to_owned(), first);
        }
        map.insert("model".to_owned(), "m".into());
        let text = if pretty { serde_json::to_string_pretty(&map) } else { serde_json::to_string(&map) };
        let call = call(&text.expect("serialises"));
        let mut edit = call.edit();
        for change in &changes {
            apply(&mut map, change);
            edit = match change {
                Change::Set(field, value) => edit.set(*field, serde_json::to_vec(value).expect("serialises")),
                Change::Remove(path) => edit.remove(path),
            };
        }
        let out = edit.finish();
        prop_assert_eq!(serde_json::from_slice::<Map<String, Value>>(&out).expect("is JSON"), map);
    }

    #[test]
    fn leaves_every_other_byte_as_it_is(
        names in prop::collection::vec("[a-z\"]{1,4}", 1..8),
        gaps in prop::collection::vec("[ \n\t]{0,2}", 40),
        removed in prop::collection::btree_set(0..9_usize, 0..9),
    ) {
        // Each member's bytes are unique, so what is left can be told apart from what went.
        let mut gap = gaps.iter().cycle();
        let mut space = || gap.next().expect("cycles").clone();
        let mut members = vec![(r#""model""#.to_owned(), r#""m""#.to_owned())];
        members.extend(names.iter().enumerate().map(|(at, name)| {
            (serde_json::to_string(&format!("{name}{at}")).expect("serialises"), format!("[{at} , \"\\u00e4\"]"))
        }));
        let members: Vec<String> =
            members.iter().map(|(key, value)| format!("{key}{}:{}{value}", space(), space())).collect();
        let (open, close) = (space(), space());
        let call = call(&format!("{open}{{{}}}{close}", members.join(",")));
        let mut edit = call.edit();
        for at in &removed {
            let name = match at {
                0 => "model".to_owned(),
                _ => names.get(at - 1).map(|name| format!("{name}{}", at - 1)).unwrap_or_default(),
            };
            edit = edit.remove(&[&name]);
        }
        let kept: Vec<&str> = members
            .iter()
            .enumerate()
            .filter(|(at, _)| !removed.contains(at))
            .map(|(_, member)| &**member)
            .collect();
        let expected = format!("{open}{{{}}}{close}", kept.join(","));
        prop_assert_eq!(edit.finish(), expected);
    }
}

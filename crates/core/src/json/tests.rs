use proptest::prelude::*;

use super::*;

fn walk(text: &str) -> Result<&str, Fault> {
    Cursor::new(text).value()
}

#[test]
fn steps_over_any_value() {
    for value in ["1", "-1.5e3", "true", "null", r#""a\"b\\""#, "[]", "{}", r#"{"a":[1,{"b":"}"}],"c":"]"}"#]
    {
        assert_eq!(walk(&format!(" {value} , x")), Ok(value));
    }
}

#[test]
fn lone_surrogates_are_found_and_pairs_are_not() {
    assert_eq!(walk(r#"["\ud83d\ude00"]"#), Ok(r#"["\ud83d\ude00"]"#));
    assert_eq!(walk(r#"["\ud83d"]"#), Err(Fault::LoneSurrogate { offset: 2 }));
    assert_eq!(walk(r#"["\ude00x"]"#), Err(Fault::LoneSurrogate { offset: 2 }));
    assert_eq!(walk(r#"["\ud83d\u0041"]"#), Err(Fault::LoneSurrogate { offset: 2 }));
    assert_eq!(walk(r#""\\ud83d""#), Ok(r#""\\ud83d""#));
}

#[test]
fn depth_is_bounded() {
    let fits = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
    assert_eq!(walk(&fits), Ok(&*fits));
    assert_eq!(walk(&"[".repeat(100_000)), Err(Fault::TooDeep { offset: MAX_DEPTH }));
}

#[test]
fn members_are_cut_with_one_comma() {
    let cut = |text: &str, path: &[&str]| {
        let mut text = text.to_owned();
        let range = find_member(&text, path)?;
        text.replace_range(range, "");
        Some(text)
    };
    assert_eq!(cut(r#"{"a":1,"b":2}"#, &["a"]).as_deref(), Some(r#"{"b":2}"#));
    assert_eq!(cut(r#"{"a":1, "b" : [2] ,"c":3}"#, &["b"]).as_deref(), Some(r#"{"a":1 ,"c":3}"#));
    assert_eq!(cut(r#"{ "a":1 }"#, &["a"]).as_deref(), Some("{  }"));
    assert_eq!(cut(r#"{"a":{"x":1,"y":2}}"#, &["a", "y"]).as_deref(), Some(r#"{"a":{"x":1}}"#));
    assert_eq!(cut(r#"{"\u0061":1,"b":2}"#, &["a"]).as_deref(), Some(r#"{"b":2}"#));
    assert_eq!(cut(r#"{"a":1}"#, &["b"]), None);
    assert_eq!(cut(r#"{"a":1}"#, &["a", "b"]), None);
}

#[test]
fn depth_counts_what_was_stepped_into() {
    let deepest = |levels: usize| format!(r#"{{"a":[{}{}]}}"#, "[".repeat(levels), "]".repeat(levels));
    let walk =
        |text: &str| Cursor::new(text).object(|_, cursor| cursor.array(|_, cursor| cursor.value().map(drop)));
    assert_eq!(walk(&deepest(MAX_DEPTH - 2)), Ok(()));
    assert_eq!(walk(&deepest(MAX_DEPTH - 1)), Err(Fault::TooDeep { offset: 6 + MAX_DEPTH - 2 }));
    // Stepping out again makes room.
    let beside = format!("[{0},{0},{0}]", "[".repeat(MAX_DEPTH - 1) + &"]".repeat(MAX_DEPTH - 1));
    let mut elements = 0;
    let counted: Result<(), Fault> = Cursor::new(&beside).array(|_, cursor| {
        elements += 1;
        cursor.array(|_, _| Ok(()))
    });
    assert_eq!((counted, elements), (Ok(()), 3));
    fn into(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        cursor.array(|_, cursor| into(cursor))
    }
    assert_eq!(into(&mut Cursor::new(&"[".repeat(100_000))), Err(Fault::TooDeep { offset: MAX_DEPTH }));
}

#[test]
fn the_bound_of_depth_is_that_of_serde_json() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(serde_json::from_str::<serde_json::Value>(&nested(MAX_DEPTH)).is_ok());
    assert!(serde_json::from_str::<serde_json::Value>(&nested(MAX_DEPTH + 1)).is_err());
}

#[test]
fn a_walk_sees_each_member_and_steps_over_what_is_left_alone() {
    let text = r#" { "a" : [1, 2] , "b":{"c":null}, "d" : "x" } , 5"#;
    let mut cursor = Cursor::new(text);
    let mut seen = Vec::new();
    let walked: Result<(), Fault> = cursor.object(|key, cursor| {
        match key {
            r#""a""# => cursor.array(|index, cursor| {
                seen.push(format!("{index}={}", cursor.value()?));
                Ok(())
            })?,
            r#""b""# => {}
            _ => seen.push(format!("{key}={}", cursor.value()?)),
        }
        Ok(())
    });
    assert_eq!((walked, seen), (Ok(()), vec!["0=1".to_owned(), "1=2".to_owned(), "\"d\"=\"x\"".to_owned()]));
    assert_eq!(cursor.peek(), b',');
    assert_eq!(cursor.offset(), text.len() - 3);
}

#[test]
fn nothing_happens_where_no_container_comes_next() {
    let mut cursor = Cursor::new(" 5");
    let none: Result<(), Fault> = cursor.object(|_, _| panic!("is no object"));
    assert_eq!(none, Ok(()));
    let none: Result<(), Fault> = cursor.array(|_, _| panic!("is no array"));
    assert_eq!((none, cursor.value()), (Ok(()), Ok("5")));
    assert_eq!((cursor.value(), cursor.peek(), cursor.offset()), (Ok(""), 0, 2));
}

#[test]
fn the_error_of_a_member_ends_the_walk() {
    let mut seen = 0;
    let stopped = Cursor::new("[1,2,3]").array(|index, _| {
        seen += 1;
        if index == 1 { Err(Fault::TooDeep { offset: 9 }) } else { Ok(()) }
    });
    assert_eq!((stopped, seen), (Err(Fault::TooDeep { offset: 9 }), 2));
}

#[test]
fn faults_in_keys_are_found() {
    assert_eq!(walk(r#"{"\ud800":1}"#), Err(Fault::LoneSurrogate { offset: 2 }));
    let walked: Result<(), Fault> = Cursor::new(r#"{"\ud800":1}"#).object(|_, _| Ok(()));
    assert_eq!(walked, Err(Fault::LoneSurrogate { offset: 2 }));
}

#[test]
fn keys_are_compared_as_they_are_read() {
    assert!(
        key_is(r#""model""#, "model") && key_is(r#""mod\u0065l""#, "model") && key_is(r#""a\"b""#, "a\"b")
    );
    assert!(key_is(r#""\\""#, "\\") && !key_is(r#""\\""#, "\\\\"));
    assert!(!key_is(r#""Model""#, "model") && !key_is(r#""mod\\u0065l""#, "model") && !key_is("\"", "model"));
}

#[test]
fn several_cuts_share_no_comma() {
    let cut = |text: &str, paths: &[&[&str]]| without(text, paths).expect("has one of them");
    let text = r#"{"a":1, "b":{"x":1,"y":2}, "c":3}"#;
    assert_eq!(cut(text, &[&["a"], &["b"]]), r#"{"c":3}"#);
    assert_eq!(cut(text, &[&["c"], &["b"]]), r#"{"a":1}"#);
    assert_eq!(cut(text, &[&["a"], &["c"]]), r#"{"b":{"x":1,"y":2}}"#);
    assert_eq!(cut(text, &[&["b", "x"], &["a"], &["b", "y"]]), r#"{"b":{}, "c":3}"#);
    assert_eq!(cut(text, &[&["b", "x"], &["b"], &["c"], &["b", "y"], &["a"]]), "{}");
    assert_eq!(cut(r#"{"a":1,"a":2,"b":3,"a":4}"#, &[&["a"], &["a"]]), r#"{"b":3}"#);
    assert_eq!([without(text, &[&["x"], &["b", "z"]]), without("[1]", &[&["a"]])], [None, None]);
}

/// These would run for hours, or run out of stack, if a step were more than constant work or each level a call.
#[test]
fn megabytes_of_anything_are_walked_in_a_line() {
    const WHOLE: usize = 32 << 20;
    assert_eq!(walk(&"[".repeat(WHOLE)), Err(Fault::TooDeep { offset: MAX_DEPTH }));
    assert_eq!(walk(&"]".repeat(WHOLE)), Ok("]"));
    assert_eq!(walk(&"\"".repeat(WHOLE)), Ok("\"\""));
    // A step for each few bytes: fewer of them, as this is not optimised where tests run.
    const STEPS: usize = 1 << 20;
    let escapes = format!("\"{}", "\\".repeat(STEPS));
    assert_eq!(walk(&escapes).map(str::len), Ok(STEPS + 1));
    let quotes = "\"".repeat(STEPS);
    let mut cursor = Cursor::new(&quotes);
    let mut values = 0;
    while !cursor.value().expect("has no fault").is_empty() {
        values += 1;
    }
    assert_eq!(values, STEPS / 2);
    let mut elements = 0;
    let walked: Result<(), Fault> = Cursor::new(&format!("[{quotes}")).array(|_, _| {
        elements += 1;
        Ok(())
    });
    assert_eq!((walked, elements), (Ok(()), STEPS / 2));
    assert_eq!(find_member(&format!("{{{quotes}"), &["a"]), None);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-d\"\\\\]{0,3}", inner, 0..4)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn walks_whatever_serde_json_writes(value in json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("serialises");
        prop_assert_eq!(walk(&text), Ok(&*text));
    }

    #[test]
    fn a_cut_removes_exactly_that_member(value in json(), pretty: bool) {
        let serde_json::Value::Object(mut map) = value else { return Ok(()) };
        let text = if pretty { serde_json::to_string_pretty(&map) } else { serde_json::to_string(&map) };
        let text = text.expect("serialises");
        for key in map.clone().keys() {
            let mut rest = text.clone();
            rest.replace_range(find_member(&text, &[key]).expect("is there"), "");
            let removed = map.remove(key).expect("was there");
            prop_assert_eq!(serde_json::from_str::<serde_json::Map<_, _>>(&rest).expect("is JSON"), map.clone());
            map.insert(key.clone(), removed);
        }
    }

    #[test]
    fn never_panics_nor_hangs_on_other_text(text in "\\PC{0,60}|[\\[\\]{}\":,\\\\u0-9d ]{0,60}") {
        let _ = walk(&text);
        let _ = find_member(&text, &["a"]);
    }
}

#[test]
fn a_value_of_known_length_is_not_looked_at() {
    let text = r#"{"a": [1, {"b": "}"}], "c": "é"}"#;
    let mut seen = Vec::new();
    let walked: Result<(), Fault> = Cursor::new(text).object(|key, cursor| {
        if key == r#""a""# {
            cursor.skip(r#"[1, {"b": "}"}]"#.len());
        }
        seen.push(key);
        Ok(())
    });
    assert_eq!((walked, seen), (Ok(()), vec![r#""a""#, r#""c""#]));
    // Neither into a character nor beyond the end.
    let mut cursor = Cursor::new("é");
    cursor.skip(1);
    assert_eq!(cursor.offset(), 0);
    cursor.skip(9);
    assert_eq!(cursor.offset(), 2);
}

#[test]
fn a_name_is_a_key_without_quotes_and_escapes() {
    for (raw, name) in [
        (r#""tools""#, "tools"),
        (r#""to\u006fls""#, "tools"),
        (r#""a\"b""#, "a\"b"),
        (r#""""#, ""),
        ("", ""),
    ] {
        assert_eq!(name_of(raw), name, "{raw}");
        assert!(raw.is_empty() || key_is(raw, name), "{raw}");
    }
}

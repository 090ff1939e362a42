//! JSON in a form that is the same for what means the same: whatever the order of its keys, its white space and its escapes.
//!
//! Every value begins with a letter for its kind and, where it is a string or a number, its length: no two values share a form. A long
//! string stands as its SHA-256, so that no prompt is copied. Numbers stand as they are written: `1` and `1.0` are two.

use std::{borrow::Cow, ops::Range};

use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use ziggurat_core::json::{Cursor, Fault, name_of};

/// The canonical form of an object without the members of its top level that `skips` names; `None` for one that is nested too deep, or has
/// too many members to be worth it.
pub(crate) fn object(json: &str, skips: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let mut canon =
        Canon { out: Vec::with_capacity(json.len().min(LONG) + 256), sorted: Vec::new(), members: 0 };
    canon.object(&mut Cursor::new(json), skips).ok()?;
    Some(canon.out)
}

/// The canonical form of a value.
pub(crate) fn value(json: &str) -> Option<Vec<u8>> {
    let mut canon = Canon { out: Vec::new(), sorted: Vec::new(), members: 0 };
    canon.value(&mut Cursor::new(json)).ok()?;
    Some(canon.out)
}

struct Canon {
    out: Vec<u8>,
    /// What is put in order.
    sorted: Vec<u8>,
    /// Members of objects so far.
    members: usize,
}

/// It is not worth a form.
struct TooMuch;

impl From<Fault> for TooMuch {
    fn from(_: Fault) -> Self {
        Self
    }
}

/// Strings from so many bytes on stand as their hash.
const LONG: usize = 1 << 10;

const MAX_MEMBERS: usize = 1 << 16;

// ===== impl Canon =====

impl Canon {
    fn value(&mut self, cursor: &mut Cursor<'_>) -> Result<(), TooMuch> {
        match cursor.peek() {
            b'{' => self.object(cursor, |_| false)?,
            b'[' => {
                self.out.push(b'[');
                cursor.array(|_, cursor| self.value(cursor))?;
                self.out.push(b']');
            }
            b'"' => {
                let text = name_of(cursor.value()?);
                self.string(&text);
            }
            _ => {
                let text = cursor.value()?;
                self.sized(b'n', text.as_bytes());
            }
        }
        Ok(())
    }

    fn object(&mut self, cursor: &mut Cursor<'_>, skips: impl Fn(&str) -> bool) -> Result<(), TooMuch> {
        self.out.push(b'{');
        let start = self.out.len();
        let mut members: SmallVec<[(Cow<'_, str>, Range<usize>); 16]> = SmallVec::new();
        let mut in_order = true;
        cursor.object::<TooMuch>(|key, cursor| {
            let name = name_of(key);
            if skips(&name) {
                return Ok(());
            }
            self.members += 1;
            if self.members > MAX_MEMBERS {
                return Err(TooMuch);
            }
            let from = self.out.len();
            self.string(&name);
            self.value(cursor)?;
            in_order &= members.last().is_none_or(|(last, _)| *last <= name);
            members.push((name, from..self.out.len()));
            Ok(())
        })?;
        if !in_order {
            // Members of one name stay in their order: which of them counts is a provider's business.
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            self.sorted.clear();
            members.iter().for_each(|(_, range)| self.sorted.extend_from_slice(&self.out[range.clone()]));
            self.out.truncate(start);
            self.out.extend_from_slice(&self.sorted);
        }
        self.out.push(b'}');
        Ok(())
    }

    fn string(&mut self, text: &str) {
        match text.len() {
            LONG.. => {
                self.out.push(b'h');
                self.out.extend_from_slice(&Sha256::digest(text.as_bytes()));
            }
            _ => self.sized(b's', text.as_bytes()),
        }
    }

    fn sized(&mut self, kind: u8, bytes: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c\"\\\\\u{e9}\n]{0,4}".prop_map(Value::from),
            Just(Value::from("long ".repeat(300))),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a-d]{0,3}", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same value with its keys in another order.
    fn shuffled(value: &Value, by: u64) -> Value {
        match value {
            Value::Array(list) => list.iter().map(|value| shuffled(value, by)).collect(),
            Value::Object(members) => {
                let mut members: Vec<_> =
                    members.iter().map(|(name, value)| (name.clone(), shuffled(value, by))).collect();
                let turn = usize::try_from(by).unwrap_or(0).checked_rem(members.len()).unwrap_or(0);
                members.rotate_left(turn);
                members.reverse();
                Value::Object(members.into_iter().collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    fn of(text: &str) -> Vec<u8> {
        value(text).expect("is short")
    }

    proptest! {
        #[test]
        fn the_order_of_keys_and_white_space_change_nothing(value in json(), by: u64) {
            let form = of(&value.to_string());
            let other = shuffled(&value, by);
            prop_assert_eq!(&of(&other.to_string()), &form);
            prop_assert_eq!(&of(&serde_json::to_string_pretty(&other).expect("is JSON")), &form);
        }

        #[test]
        fn other_values_have_other_forms(one in json(), other in json()) {
            prop_assert_eq!(of(&one.to_string()) == of(&other.to_string()), one == other);
        }

        #[test]
        fn a_value_that_changes_anywhere_has_another_form(value in json(), at: prop::sample::Index, with in json()) {
            let mut changed = value.clone();
            let count = leaves(&mut changed, &mut |_, _| {});
            let at = at.index(count);
            leaves(&mut changed, &mut |number, leaf| if number == at { *leaf = with.clone() });
            prop_assert_eq!(of(&changed.to_string()) == of(&value.to_string()), changed == value);
        }

        #[test]
        fn escapes_change_nothing(text in "[a\u{e9}\u{1F600}\"/]{0,6}") {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            prop_assert_eq!(of(&format!("\"{escaped}\"")), of(&Value::from(text).to_string()));
        }
    }

    /// Visits every value that holds no other, and counts them.
    fn leaves(value: &mut Value, visit: &mut impl FnMut(usize, &mut Value)) -> usize {
        fn walk(value: &mut Value, count: &mut usize, visit: &mut impl FnMut(usize, &mut Value)) {
            match value {
                Value::Array(list) if !list.is_empty() => {
                    list.iter_mut().for_each(|value| walk(value, count, visit))
                }
                Value::Object(members) if !members.is_empty() => {
                    members.values_mut().for_each(|value| walk(value, count, visit));
                }
                leaf => {
                    visit(*count, leaf);
                    *count += 1;
                }
            }
        }
        let mut count = 0;
        walk(value, &mut count, visit);
        count
    }

    #[test]
    fn what_is_left_out_changes_nothing() {
        let skips = |name: &str| name == "stream";
        let of = |text: &str| object(text, skips).expect("is short");
        assert_eq!(of(r#"{"a":1,"stream":true}"#), of(r#"{"str\u0065am":false,"a":1}"#));
        assert_ne!(of(r#"{"a":{"stream":true}}"#), of(r#"{"a":{"stream":false}}"#));
        assert_ne!(of(r#"{"a":1,"a":2}"#), of(r#"{"a":2,"a":1}"#));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":1.0}"#));
    }

    #[test]
    fn what_is_too_much_has_none() {
        assert_eq!(value(&format!("{}{}", "[".repeat(200), "]".repeat(200))), None);
        let wide: Vec<String> = (0..=MAX_MEMBERS).map(|number| format!("\"{number}\":0")).collect();
        assert_eq!(value(&format!("{{{}}}", wide.join(","))), None);
    }
}

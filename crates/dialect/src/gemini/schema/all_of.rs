//! Schemas that hold together, as one.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Left, Unfit, weight};

type Members = Map<String, Value>;

/// One schema of Google's subset for what all of these take. Of what has two values and no word for both (a pattern, options), the first stays:
/// the model is told less than the schemas say.
pub(super) fn all_of(mut schemas: Vec<Members>, left: &mut Left<'_>) -> Result<Members, Unfit> {
    schemas.retain(|schema| !schema.is_empty());
    if schemas.len() < 2 {
        return alone(schemas.pop().unwrap_or_default(), left);
    }
    let is_nullable = schemas.iter().all(may_be_null) && schemas.iter().any(is_said_nullable);
    let mut one = Members::new();
    for (name, values) in by_name(schemas) {
        let value = match &*name {
            NULLABLE => continue,
            "type" => values.into_iter().try_fold(None, narrower)?,
            "properties" => {
                let properties = by_name(values.into_iter().filter_map(members).collect());
                let each = properties.into_iter().map(|(name, schemas)| Ok((name, both(schemas, left)?)));
                Some(Value::Object(each.collect::<Result<_, _>>()?))
            }
            "items" => Some(both(values, left)?),
            "required" | "propertyOrdering" => Some(united(values)),
            "enum" => Some(common(values)?),
            "minimum" | "minItems" | "minLength" => {
                values.into_iter().reduce(|a, b| if number(&b) > number(&a) { b } else { a })
            }
            "maximum" | "maxItems" | "maxLength" => {
                values.into_iter().reduce(|a, b| if number(&b) < number(&a) { b } else { a })
            }
            _ => values.into_iter().next(),
        };
        one.extend(value.map(|value| (name, value)));
    }
    if is_nullable {
        one.insert(NULLABLE.into(), true.into());
    }
    alone(one, left)
}

/// The schema with its options as all that it says, as Google has them: what stands beside them is said in each, and `null` is taken by the
/// first. An option that what stands beside it rules out is none.
fn alone(mut schema: Members, left: &mut Left<'_>) -> Result<Members, Unfit> {
    if schema.len() < 2 || !schema.contains_key(ANY_OF) {
        return Ok(schema);
    }
    let options = schema.shift_remove(ANY_OF).map(list).unwrap_or_default();
    let is_nullable = schema.shift_remove(NULLABLE) == Some(Value::Bool(true));
    let bytes = schema.iter().map(|(name, value)| name.len() + weight(value)).sum();
    let (mut each, mut apart) = (Vec::new(), None);
    for option in options.into_iter().flat_map(flat).filter_map(members) {
        left.take(bytes)?;
        match all_of(vec![option, schema.clone()], left) {
            Ok(option) => each.push(option),
            Err(Unfit::Apart(member)) => apart = Some(Unfit::Apart(member)),
            Err(unfit) => return Err(unfit),
        }
    }
    if let (true, Some(error)) = (each.is_empty(), apart) {
        return Err(error);
    }
    if let (true, Some(first)) = (is_nullable, each.first_mut()) {
        first.insert(NULLABLE.into(), true.into());
    }
    match each.pop() {
        Some(one) if each.is_empty() => Ok(one),
        last => {
            let each = each.into_iter().chain(last).map(Value::Object);
            Ok(Members::from_iter([(ANY_OF.into(), each.collect())]))
        }
    }
}

/// Options that are options of their own, as those; they stand alone already.
fn flat(option: Value) -> Vec<Value> {
    match option {
        Value::Object(mut members) if members.contains_key(ANY_OF) => {
            members.shift_remove(ANY_OF).map(list).unwrap_or_default()
        }
        option => vec![option],
    }
}

const ANY_OF: &str = "anyOf";
pub(super) const NULLABLE: &str = "nullable";

fn both(schemas: Vec<Value>, left: &mut Left<'_>) -> Result<Value, Unfit> {
    all_of(schemas.into_iter().filter_map(members).collect(), left).map(Value::Object)
}

/// What objects say under each name, in the order in which names are first said.
fn by_name(objects: Vec<Members>) -> Vec<(String, Vec<Value>)> {
    let mut all = Members::new();
    for (name, value) in objects.into_iter().flatten() {
        if let Value::Array(values) = all.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            values.push(value);
        }
    }
    all.into_iter().map(|(name, values)| (name, list(values))).collect()
}

fn members(value: Value) -> Option<Members> {
    if let Value::Object(members) = value { Some(members) } else { None }
}

fn list(value: Value) -> Vec<Value> {
    if let Value::Array(values) = value { values } else { Vec::new() }
}

fn is_said_nullable(schema: &Members) -> bool {
    schema.get(NULLABLE) == Some(&Value::Bool(true))
}

/// Whether a schema takes `null`: one that says so, or that says nothing of what it is.
fn may_be_null(schema: &Members) -> bool {
    is_said_nullable(schema) || !["type", "enum", "anyOf"].iter().any(|name| schema.contains_key(*name))
}

/// The type of what is of both types.
fn narrower(known: Option<Value>, next: Value) -> Result<Option<Value>, Unfit> {
    let Some(known) = known else { return Ok(Some(next)) };
    let is = |value: &Value, word: &str| value.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case(word));
    let is_same = known == next || next.as_str().is_some_and(|word| is(&known, word));
    match is_same || (is(&known, "integer") && is(&next, "number")) {
        true => Ok(Some(known)),
        false if is(&known, "number") && is(&next, "integer") => Ok(Some(next)),
        false => Err(Unfit::Apart("type")),
    }
}

/// All that stands in lists, each once.
fn united(lists: Vec<Value>) -> Value {
    let mut seen = HashSet::new();
    lists.into_iter().flat_map(list).filter(|value| seen.insert(value.to_string())).collect()
}

/// What stands in each of some lists.
fn common(lists: Vec<Value>) -> Result<Value, Unfit> {
    let mut lists = lists.into_iter().map(list);
    let mut words = lists.next().unwrap_or_default();
    for list in lists {
        let known: HashSet<_> = list.iter().filter_map(Value::as_str).collect();
        words.retain(|word| word.as_str().is_some_and(|word| known.contains(word)));
    }
    if words.is_empty() { Err(Unfit::Apart("enum")) } else { Ok(words.into()) }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

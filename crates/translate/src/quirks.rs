//! The body that goes out, fitted to what its provider takes of the dialect.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use ziggurat_core::{
    Call, Quirks, Rejection, Target,
    json::{Cursor, Fault, find_member, key_is, name_of, write_string},
};
use ziggurat_dialect::Refused;

use crate::request::refuse;

/// A top-level member of which the quirks say something.
struct Met<'a> {
    name: Cow<'a, str>,
    value: &'a str,
}

/// What to do with a body.
#[derive(Default)]
struct Changes<'a> {
    /// Members to leave out, by name.
    gone: Vec<&'a str>,
    /// Members to rename, from and to.
    renamed: Vec<(&'a str, &'a str)>,
}

const STREAM_OPTIONS: &str = "stream_options";

/// Gives parameters the provider's names, and leaves out or refuses, by the policy, those that it refuses; all else stays byte for byte.
pub(crate) fn fit(body: Bytes, target: &Target) -> Result<Bytes, Rejection> {
    let quirks = target.provider_quirks();
    if quirks.is_empty() {
        return Ok(body);
    }
    let Ok(text) = std::str::from_utf8(&body) else { return Ok(body) };
    let changes = Changes::of(&met(text, quirks), target).map_err(refuse)?;
    if changes.gone.is_empty() && changes.renamed.is_empty() {
        return Ok(body);
    }
    Ok(changes.apply(text).into())
}

/// Whether the caller gives a parameter under its other name at this provider.
pub(crate) fn is_given_otherwise(call: &Call, target: &Target, name: &str) -> bool {
    target.provider_quirks().other_names(name).any(|other| find_member(call.text(), &[other]).is_some())
}

fn met<'a>(text: &'a str, quirks: &Quirks) -> Vec<Met<'a>> {
    let of_interest = |name: &str| {
        quirks.other_names(name).next().is_some()
            || quirks.refuses.iter().any(|refused| refused == name)
            || (quirks.no_stream_options && name == STREAM_OPTIONS)
    };
    let mut found = Vec::new();
    let _walked: Result<(), Fault> = Cursor::new(text).object(|key, cursor| {
        let name = name_of(key);
        if of_interest(&name) {
            found.push(Met { name, value: cursor.value()? });
        }
        Ok(())
    });
    found
}

// ===== impl Changes =====

impl<'a> Changes<'a> {
    fn of(met: &[Met<'_>], target: &'a Target) -> Result<Self, Refused> {
        let (quirks, policy) = (target.provider_quirks(), target.params());
        let value = |name: &str| met.iter().rfind(|member| member.name == name).map(|member| member.value);
        let passes = |name: &str| policy.allowed_openai_params.iter().any(|allowed| allowed == name);
        let mut changes = Self::default();
        let mut refused = Vec::new();
        for name in quirks.refuses.iter().filter(|name| !passes(name)) {
            match value(name) {
                None => {}
                // What is null asks for nothing.
                Some(value) if value == "null" || policy.drop_params => changes.gone.push(name),
                Some(_) => refused.push(name.clone()),
            }
        }
        if quirks.no_stream_options && value(STREAM_OPTIONS).is_some() && !passes(STREAM_OPTIONS) {
            // Nothing is lost: usage comes unasked.
            changes.gone.push(STREAM_OPTIONS);
        }
        if !refused.is_empty() {
            return Err(Refused::Unsupported(refused));
        }
        for (from, to) in &*quirks.renames {
            match (value(from), value(to)) {
                (None, _) => {}
                (Some(ours), Some(theirs)) if ours == "null" || ours == theirs => changes.gone.push(from),
                (Some(_), Some(theirs)) if theirs != "null" => return Err(twice(from, to)),
                (Some(_), theirs) => {
                    changes.gone.extend(theirs.map(|_| to.as_str()));
                    changes.renamed.push((from, to));
                }
            }
        }
        Ok(changes)
    }

    fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for name in &self.gone {
            while let Some(cut) = find_member(&text, &[name]) {
                text.drain(cut);
            }
        }
        for (from, to) in &self.renamed {
            let mut key = Vec::with_capacity(to.len() + 2);
            write_string(&mut key, to);
            // From the last to the first, so that the places of those before stay true.
            for place in keys(&text, from).into_iter().rev() {
                text.replace_range(place, &String::from_utf8_lossy(&key));
            }
        }
        text
    }
}

/// Where the keys of this name stand, quotes included.
fn keys(text: &str, name: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let _walked: Result<(), Fault> = Cursor::new(text).object(|key, _| {
        if key_is(key, name) {
            let start = key.as_ptr() as usize - text.as_ptr() as usize;
            found.push(start..start + key.len());
        }
        Ok(())
    });
    found
}

fn twice(from: &str, to: &str) -> Refused {
    Refused::Invalid {
        message: format!("`{from}` and `{to}` are one parameter to this provider: give one of them"),
        param: from.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::subsequence};
    use serde_json::{Map, Value};
    use ziggurat_core::{Dialect, ParamPolicy};

    use super::*;

    fn target(drop_params: bool) -> Target {
        let mut quirks = Quirks::default();
        quirks.renames = [("from".to_owned(), "to".to_owned())].into();
        quirks.refuses = ["bad".to_owned(), "worse".to_owned()].into();
        quirks.no_stream_options = true;
        let mut policy = ParamPolicy::default();
        policy.drop_params = drop_params;
        let target = Target::new("p", Dialect::OpenAi, "m", "https://h.example").expect("is a URL");
        target.quirks(quirks).policy(policy)
    }

    #[test]
    fn a_body_with_nothing_to_change_is_handed_on_as_it_is() {
        for text in [r#"{"model":"m","to":1,"x":{"from":1,"bad":2}}"#, "{}", "[1]", "no JSON"] {
            let body = Bytes::from_static(text.as_bytes());
            let fitted = fit(body.clone(), &target(false)).expect("is taken");
            assert_eq!((fitted.as_ptr(), fitted.len()), (body.as_ptr(), body.len()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_where_the_rest_stays(
            members in subsequence(
                vec![
                    r#""a":"from""#, r#""bad" : {"from":[1,"}"]}"#, r#""from":7"#, r#""b": [ {"bad":1} ]"#,
                    r#""wors\u0065":"x""#, r#""stream_options":{}"#, r#""c":null"#,
                ],
                0..=7,
            ).prop_shuffle(),
            (before, after) in ("[ \n\t]{0,2}", "[ \r]{0,2}"),
        ) {
            let text = format!("{{{before}{}{after}}}", members.join(&format!("{after},{before}")));
            let fitted = fit(Bytes::from(text.clone()), &target(true)).expect("is taken");
            let fitted: Map<String, Value> = serde_json::from_slice(&fitted).expect("is JSON");
            let mut expected: Map<String, Value> = serde_json::from_str(&text).expect("is JSON");
            expected.retain(|name, _| !["bad", "worse", "stream_options"].contains(&name.as_str()));
            if let Some(value) = expected.remove("from") {
                expected.insert("to".to_owned(), value);
            }
            prop_assert_eq!(fitted, expected);

            let refused = fit(Bytes::from(text), &target(false)).is_err();
            let names_bad = members.iter().any(|it| it.starts_with("\"bad") || it.starts_with("\"wors"));
            prop_assert_eq!(refused, names_bad);
        }
    }
}

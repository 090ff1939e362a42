//! The body that goes out, fitted to what its provider takes of the dialect.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;
use ziggurat_core::{
    Call, Capabilities, Dialect, Effort, Feature, Operation, Param, Quirks, Rejection, Target,
    json::{Cursor, Fault, find_member, key_is, name_of, without, write_string},
};
use ziggurat_dialect::{Encoding, FormTool, Refused, decode_request};

use crate::request::refuse;

/// A top-level member of which something is known.
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
    /// Members that neither the policy drops nor the target takes.
    refused: Vec<String>,
}

/// What a target takes of the bodies of one operation.
struct Taken<'t> {
    target: &'t Target,
    /// In what the provider differs.
    quirks: Option<&'t Quirks>,
    /// What the model takes, in conversations.
    model: Option<Capabilities>,
}

const STREAM_OPTIONS: &str = "stream_options";
const CAP: (&str, &str) = ("max_tokens", "max_completion_tokens");
const TOOLS: [&str; 5] = ["tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"];

/// Gives parameters the names that the provider and the model know, and leaves out or refuses, by the policy, those that they do not take;
/// all else stays byte for byte.
pub(crate) fn fit(
    body: Bytes,
    operation: Operation,
    dialect: Dialect,
    target: &Target,
) -> Result<Bytes, Rejection> {
    let taken = Taken::of(operation, dialect, target);
    if taken.is_all() {
        return Ok(body);
    }
    let Ok(text) = std::str::from_utf8(&body) else { return Ok(body) };
    let changes = Changes::of(&taken.met(text), &taken).map_err(refuse)?;
    if changes.gone.is_empty() && changes.renamed.is_empty() {
        return Ok(body);
    }
    Ok(changes.apply(text).into())
}

/// Whether the caller gives a parameter under its other name at this provider, or for this model.
pub(crate) fn is_given_otherwise(call: &Call, target: &Target, name: &str) -> bool {
    let cap = match name {
        _ if name == CAP.0 => Some(CAP.1),
        _ if name == CAP.1 => Some(CAP.0),
        _ => None,
    };
    let cap = cap.filter(|_| takes_newer_cap(&Encoding::of(target).capabilities));
    let mut others = target.provider_quirks().other_names(name).chain(cap);
    others.any(|other| find_member(call.text(), &[other]).is_some())
}

fn takes_newer_cap(model: &Capabilities) -> bool {
    model.takes(Feature::MaxCompletionTokens) == Some(true)
}

/// Whether a chat asks for a form of its answer that the model can only be asked for by way of a tool.
pub(crate) fn takes_form_by_tool(call: &Call, target: &Target, dialect: Dialect) -> bool {
    let known = Encoding::of(target).capabilities;
    let lacks = |feature| known.takes(feature) == Some(false);
    if dialect != Dialect::OpenAi
        || call.operation() != Operation::Chat
        || !(lacks(Feature::JsonSchema) || lacks(Feature::JsonObject))
    {
        return false;
    }
    let Some(place) = find_member(call.text(), &["response_format"]) else { return false };
    // The place is the member's, with the commas around it.
    let asked =
        format!("{{{}}}", call.text()[place].trim_matches(|c: char| c == ',' || c.is_ascii_whitespace()));
    let format = decode_request(Dialect::OpenAi, &asked).ok().and_then(|request| request.format);
    format.is_some_and(|format| FormTool::is_wanted(dialect, &format, &known))
}

// ===== impl Taken =====

impl<'t> Taken<'t> {
    fn of(operation: Operation, dialect: Dialect, target: &'t Target) -> Self {
        let quirks = Some(target.provider_quirks()).filter(|_| dialect == Dialect::OpenAi);
        let model = operation.is_conversation().then(|| Encoding::of(target).capabilities);
        Self { target, quirks: quirks.filter(|quirks| !quirks.is_empty()), model }
    }

    fn is_all(&self) -> bool {
        let is_known = |model: &Capabilities| {
            !model.refuses.is_empty()
                || !model.refuses_thinking.is_empty()
                || model.cannot_think()
                || model.takes(Feature::Tools) == Some(false)
                || takes_newer_cap(model)
        };
        self.quirks.is_none() && !self.model.as_ref().is_some_and(is_known)
    }

    fn met<'a>(&self, text: &'a str) -> Vec<Met<'a>> {
        let is_quirk = |quirks: &Quirks, name: &str| {
            quirks.other_names(name).next().is_some()
                || quirks.refuses.iter().any(|refused| refused == name)
                || (quirks.no_stream_options && name == STREAM_OPTIONS)
        };
        let is_param = |name: &str| {
            Param::of_name(name).is_some()
                || name == REASONING
                || name == CAP.0
                || name == CAP.1
                || TOOLS.contains(&name)
        };
        let mut found = Vec::new();
        let _walked: Result<(), Fault> = Cursor::new(text).object(|key, cursor| {
            let name = name_of(key);
            if self.quirks.is_some_and(|quirks| is_quirk(quirks, &name))
                || (self.model.is_some() && is_param(&name))
            {
                found.push(Met { name, value: cursor.value()? });
            }
            Ok(())
        });
        found
    }
}

/// Where Responses says how much to think.
const REASONING: &str = "reasoning";

// ===== impl Changes =====

impl<'a> Changes<'a> {
    fn of(met: &[Met<'_>], taken: &Taken<'a>) -> Result<Self, Refused> {
        let mut changes = Self::default();
        let value = |name: &str| met.iter().rfind(|member| member.name == name).map(|member| member.value);
        if let Some(quirks) = taken.quirks {
            changes.fit_provider(&value, quirks, taken.target);
        }
        if let Some(model) = &taken.model {
            changes.fit_model(&value, model, taken.target);
        }
        if !changes.refused.is_empty() {
            return Err(Refused::Unsupported(changes.refused));
        }
        let renames = taken.quirks.map(|quirks| &*quirks.renames).unwrap_or_default();
        for (from, to) in renames {
            changes.rename(&value, from, to)?;
        }
        let is_renamed =
            renames.iter().any(|(from, to)| [CAP.0, CAP.1].iter().any(|it| from == it || to == it));
        if taken.model.as_ref().is_some_and(takes_newer_cap) && !is_renamed {
            changes.rename(&value, CAP.0, CAP.1)?;
        }
        Ok(changes)
    }

    /// What the provider does not take.
    fn fit_provider<'m>(
        &mut self,
        value: &impl Fn(&str) -> Option<&'m str>,
        quirks: &'a Quirks,
        target: &Target,
    ) {
        for name in &*quirks.refuses {
            if let Some(value) = value(name) {
                // What is null asks for nothing.
                self.leave(name, value == "null", target);
            }
        }
        if quirks.no_stream_options && value(STREAM_OPTIONS).is_some() && !passes(target, STREAM_OPTIONS) {
            // Nothing is lost: usage comes unasked.
            self.gone.push(STREAM_OPTIONS);
        }
    }

    /// What the model does not take.
    fn fit_model<'m>(
        &mut self,
        value: &impl Fn(&str) -> Option<&'m str>,
        model: &Capabilities,
        target: &Target,
    ) {
        let read = |name: &str| value(name).and_then(|json| serde_json::from_str::<Value>(json).ok());
        let (effort, reasoning) = (read(Param::ReasoningEffort.name()), read(REASONING));
        let effort = effort.as_ref().and_then(Value::as_str);
        let effort = effort.or_else(|| reasoning.as_ref()?.get("effort")?.as_str());
        for param in Param::ALL {
            let Some(json) = value(param.name()) else { continue };
            if model.refuses_value(*param, json, effort) {
                self.leave(param.name(), false, target);
            }
        }
        if model.cannot_think() {
            let is_off = effort.is_none_or(|effort| effort == Effort::None.name());
            // To be told not to think is an unknown word, too.
            if is_off && value(Param::ReasoningEffort.name()).is_some() {
                self.leave(Param::ReasoningEffort.name(), true, target);
            }
            if let Some(reasoning) = &reasoning {
                self.leave(REASONING, asks_for_none(reasoning), target);
            }
        }
        let asks = |name: &str| value(name).is_some_and(|json| !matches!(json, "null" | "[]"));
        if model.takes(Feature::Tools) == Some(false) && (asks(TOOLS[0]) || asks(TOOLS[3])) {
            for name in TOOLS.into_iter().filter(|name| value(name).is_some()) {
                // Of the choice among them nothing is left to say.
                self.leave(name, !matches!(name, "tools" | "functions"), target);
            }
        }
    }

    /// Leaves a member out where the policy says so or it asks for nothing, and refuses it otherwise.
    fn leave(&mut self, name: &'a str, asks_for_nothing: bool, target: &Target) {
        match passes(target, name) {
            true => {}
            false if asks_for_nothing || target.params().drop_params => self.gone.push(name),
            false => self.refused.push(name.to_owned()),
        }
    }

    fn rename<'m>(
        &mut self,
        value: &impl Fn(&str) -> Option<&'m str>,
        from: &'a str,
        to: &'a str,
    ) -> Result<(), Refused> {
        match (value(from), value(to)) {
            (None, _) => {}
            (Some(ours), Some(theirs)) if ours == "null" || ours == theirs => self.gone.push(from),
            (Some(_), Some(theirs)) if theirs != "null" => return Err(twice(from, to)),
            (Some(_), theirs) => {
                self.gone.extend(theirs.map(|_| to));
                self.renamed.push((from, to));
            }
        }
        Ok(())
    }

    fn apply(&self, text: &str) -> String {
        let gone: Vec<&[&str]> = self.gone.iter().map(std::slice::from_ref).collect();
        let rest = without(text, &gone).unwrap_or_else(|| text.to_owned());
        self.renamed.iter().fold(rest, |text, (from, to)| renamed(&text, from, to))
    }
}

/// Whether a `reasoning` asks for none: a budget, or a word on what is told of the thoughts, asks for some.
fn asks_for_none(reasoning: &Value) -> bool {
    match reasoning {
        Value::Null => true,
        Value::Object(members) => {
            reasoning["effort"] == Effort::None.name() || members.values().all(Value::is_null)
        }
        _ => false,
    }
}

/// Whether the policy hands a parameter on, whatever is known.
fn passes(target: &Target, name: &str) -> bool {
    target.params().allowed_openai_params.iter().any(|allowed| allowed == name)
}

/// An object whose members of one name have another.
fn renamed(object: &str, from: &str, to: &str) -> String {
    let mut name = Vec::with_capacity(to.len() + 2);
    write_string(&mut name, to);
    let name = String::from_utf8_lossy(&name);
    let (mut out, mut done) = (String::with_capacity(object.len() + name.len()), 0);
    let _walked: Result<(), Fault> = Cursor::new(object).object(|key, _| {
        if key_is(key, from) {
            let start = key.as_ptr() as usize - object.as_ptr() as usize;
            out.push_str(&object[done..start]);
            out.push_str(&name);
            done = start + key.len();
        }
        Ok(())
    });
    out.push_str(&object[done..]);
    out
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
    use serde_json::Map;
    use ziggurat_core::ParamPolicy;

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
            let fitted =
                fit(body.clone(), Operation::Chat, Dialect::OpenAi, &target(false)).expect("is taken");
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
            let fitted = fit(Bytes::from(text.clone()), Operation::Chat, Dialect::OpenAi, &target(true)).expect("is taken");
            let fitted: Map<String, Value> = serde_json::from_slice(&fitted).expect("is JSON");
            let mut expected: Map<String, Value> = serde_json::from_str(&text).expect("is JSON");
            expected.retain(|name, _| !["bad", "worse", "stream_options"].contains(&name.as_str()));
            if let Some(value) = expected.remove("from") {
                expected.insert("to".to_owned(), value);
            }
            prop_assert_eq!(fitted, expected);

            let refused = fit(Bytes::from(text), Operation::Chat, Dialect::OpenAi, &target(false)).is_err();
            let names_bad = members.iter().any(|it| it.starts_with("\"bad") || it.starts_with("\"wors"));
            prop_assert_eq!(refused, names_bad);
        }
    }
}

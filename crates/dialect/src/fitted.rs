//! A request without what its model does not take, whatever the dialect.

use std::borrow::Cow;

use ziggurat_core::{Dialect, Effort, Feature, Param, Params};

use crate::{
    Encoding, Reasoning, Refused, Request,
    anthropic::thinking_effort,
    encode::{Verdict, Verdicts},
};

/// The request as its model can be asked in a dialect: what it does not take is left out, and refused where the policy says so.
pub(crate) fn fitted<'r, 'a>(
    dialect: Dialect,
    request: &'r Request<'a>,
    encoding: &Encoding<'_>,
) -> (Cow<'r, Request<'a>>, Result<(), Refused>) {
    let known = &encoding.capabilities;
    let effort = request.reasoning.as_ref().and_then(effort);
    let mut verdicts = Verdicts::new(encoding.policy);
    let mut fitted = Cow::Borrowed(request);
    let refused = said(request)
        .into_iter()
        .filter(|(param, json)| known.refuses_value(*param, json, effort.as_deref()));
    let gone: Params = refused
        .filter(|(param, _)| verdicts.unsupported(param.name()) == Verdict::Leave)
        .map(|(param, _)| param)
        .collect();
    if !gone.is_empty() {
        leave_out(fitted.to_mut(), gone);
    }
    // In the dialects of others the words are other ones, and their encoders see to them.
    if matches!(dialect, Dialect::OpenAi | Dialect::Responses)
        && known.cannot_think()
        && let Some(reasoning) = &request.reasoning
    {
        let asks = effort.as_deref().is_some_and(|effort| effort != Effort::None.name());
        let name = match (&reasoning.effort, request.dialect) {
            (None, _) => "thinking",
            (Some(_), Dialect::Anthropic) => "output_config.effort",
            (Some(_), _) => Param::ReasoningEffort.name(),
        };
        if !asks || verdicts.unsupported(name) == Verdict::Leave {
            fitted.to_mut().reasoning = None;
        }
    }
    if known.takes(Feature::Tools) == Some(false)
        && !request.tools.is_empty()
        && verdicts.unsupported("tools") == Verdict::Leave
    {
        let fitted = fitted.to_mut();
        fitted.tools.clear();
        (fitted.tool_choice, fitted.parallel_tool_calls) = (None, None);
    }
    let most = known.max_stops.and_then(|most| usize::try_from(most).ok());
    if let Some(most) = most.filter(|most| fitted.stop.len() > *most) {
        match encoding.policy.drop_params {
            true => fitted.to_mut().stop.truncate(most),
            false => verdicts.invalid(format!("this model takes at most {most} strings in `stop`"), "stop"),
        }
    }
    (fitted, verdicts.finish())
}

/// What the request says of parameters that not every model takes, in JSON.
fn said<'r>(request: &'r Request<'_>) -> Vec<(Param, Cow<'r, str>)> {
    let raw = |raw: Option<&'r serde_json::value::RawValue>| raw.map(|raw| Cow::Borrowed(raw.get()));
    let own = [
        (Param::Temperature, raw(request.temperature)),
        (Param::TopP, raw(request.top_p)),
        (Param::N, request.n.map(|n| n.to_string().into())),
        // A list that is not empty.
        (Param::Stop, (!request.stop.is_empty()).then_some("[_]".into())),
        (Param::ParallelToolCalls, request.parallel_tool_calls.map(|parallel| parallel.to_string().into())),
    ];
    let others = request
        .params
        .iter()
        .filter_map(|(name, json)| Some((Param::of_name(name)?, Cow::Borrowed(json.get()))));
    own.into_iter().filter_map(|(param, json)| Some((param, json?))).chain(others).collect()
}

fn leave_out(request: &mut Request<'_>, gone: Params) {
    if gone.has(Param::Temperature) {
        request.temperature = None;
    }
    if gone.has(Param::TopP) {
        request.top_p = None;
    }
    if gone.has(Param::N) {
        request.n = None;
    }
    if gone.has(Param::Stop) {
        request.stop.clear();
    }
    if gone.has(Param::ParallelToolCalls) {
        request.parallel_tool_calls = None;
    }
    request.params.retain(|(name, _)| !Param::of_name(name).is_some_and(|param| gone.has(param)));
}

/// OpenAI's word for how much is to be thought.
fn effort<'a>(reasoning: &Reasoning<'a>) -> Option<Cow<'a, str>> {
    match &reasoning.effort {
        Some(effort) => Some(effort.decode()),
        None => thinking_effort(reasoning.thinking?).map(Cow::Borrowed),
    }
}

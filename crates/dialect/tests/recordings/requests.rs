//! What callers asked.

use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Encoding, decode_request, encode_request};

use crate::{Case, over};

/// Recorded bodies that are no valid requests, as their answers say too, and what we say of them.
const MALFORMED: &[(&str, &str)] = &[(
    "anthropic-messages-39b2f10393-00",
    "`messages[0]`: invalid type: string \"Invalid content\", expected an object",
)];

fn has_request(case: &Case) -> bool {
    let body = case.recording.request.as_ref().map(|request| request.body());
    // Where a recorder kept something else than the body, it is no object.
    body.is_some_and(|body| body.starts_with(b"{"))
}

#[test]
fn a_request_read_written_and_read_again_is_the_same() {
    over("requests stable", has_request, |case| {
        let body = case.recording.request.as_ref().expect("has a request").body();
        let json = std::str::from_utf8(body).expect("is UTF-8");
        let expected = MALFORMED.iter().find(|(id, _)| *id == case.recording.id);
        let request = match (decode_request(case.dialect, json), expected) {
            (Err(error), Some((_, message))) if error.to_string() == *message => return Ok(()),
            (Err(error), _) => return Err(error.to_string()),
            (Ok(_), Some(_)) => return Err("is read after all".to_owned()),
            (Ok(request), None) => request,
        };
        let model = request.model.as_ref().map(|model| model.decode().into_owned()).unwrap_or_default();
        let (policy, mut out) = (ParamPolicy::default(), Vec::new());
        encode_request(case.dialect, &request, &Encoding::new(&model, &policy), &mut out)
            .map_err(|error| format!("{error:?}"))?;
        let written = String::from_utf8(out).expect("is UTF-8");
        let again = decode_request(case.dialect, &written).map_err(|error| error.to_string())?;
        let (mut left, mut right) = (format!("{request:?}"), format!("{again:?}"));
        if request.model.is_none() {
            // The path named the model.
            left = left.replace("model: None", "");
            right = right.replace("model: Some(\"\")", "");
        }
        match left == right {
            true => Ok(()),
            false => Err(format!("\n  {left}\n  {right}")),
        }
    });
}

#[test]
fn a_request_crosses_to_the_other_dialect_or_is_refused_by_name() {
    let drop = {
        let mut policy = ParamPolicy::default();
        policy.drop_params = true;
        policy
    };
    over("requests crossed", has_request, |case| {
        let body = case.recording.request.as_ref().expect("has a request").body();
        let json = std::str::from_utf8(body).expect("is UTF-8");
        let Ok(request) = decode_request(case.dialect, json) else { return Ok(()) };
        let model = match case.other_dialect() {
            Dialect::Anthropic => "claude-sonnet-4-5",
            _ => "gpt-4o",
        };
        let mut out = Vec::new();
        match encode_request(case.other_dialect(), &request, &Encoding::new(model, &drop), &mut out) {
            Err(_) => Ok(()),
            Ok(()) => {
                let written = String::from_utf8(out).expect("is UTF-8");
                let crossed = decode_request(case.other_dialect(), &written);
                crossed.map(|_| ()).map_err(|error| format!("{error}: {written}"))
            }
        }
    });
}

//! Whole answers.

use serde_json::Value;
use ziggurat_core::Dialect;
use ziggurat_dialect::{decode_response, encode_response};

use crate::{Case, normal, over};

fn is_answer(case: &Case) -> bool {
    case.succeeded() && !case.is_stream()
}

fn recode(dialect: Dialect, json: &str) -> Result<(String, String), String> {
    let response = decode_response(dialect, json).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    encode_response(dialect, &response, 7, &mut out);
    Ok((format!("{response:?}"), String::from_utf8(out).expect("is UTF-8")))
}

#[test]
fn an_answer_in_its_own_dialect_loses_nothing() {
    over("answers kept", is_answer, |case| {
        let (_, written) = recode(case.dialect, case.text())?;
        let read = |json: &str| serde_json::from_str::<Value>(json).expect("is JSON");
        let (expected, mut written) = match case.dialect {
            Dialect::Anthropic => (normal::anthropic_answer(read(case.text())), read(&written)),
            _ => (normal::openai_answer(read(case.text())), read(&written)),
        };
        normal::without_nulls(&mut written);
        match expected == written {
            true => Ok(()),
            false => Err(format!("\n  {expected}\n  {written}")),
        }
    });
}

#[test]
fn an_answer_read_written_and_read_again_is_the_same() {
    over("answers stable", is_answer, |case| {
        let (model, written) = recode(case.dialect, case.text())?;
        let (again, _) = recode(case.dialect, &written)?;
        match model == again {
            true => Ok(()),
            false => Err(format!("\n  {model}\n  {again}")),
        }
    });
}

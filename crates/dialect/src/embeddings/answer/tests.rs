use http::HeaderValue;

use super::*;
use crate::embeddings::{decode_content, decode_request};

fn vectors(wording: Wording, request: &str) -> Vectors {
    let model = "m";
    Vectors::new(wording, &decode_request(request).expect("reads"), model)
}

/// The list for one answer to `n` texts of three bytes each.
fn list(wording: Wording, n: usize, answer: &str) -> Result<String, String> {
    let request = format!(r#"{{"input":[{}]}}"#, vec![r#""abc""#; n].join(","));
    let mut vectors = vectors(wording, &request);
    vectors.read(answer, &HeaderMap::new()).map_err(|error| error.message)?;
    Ok(String::from_utf8(vectors.finish("m")).expect("is UTF-8"))
}

fn told(items: &[&str], model: &str, tokens: u64) -> Result<String, String> {
    let item = |(index, vector): (usize, &&str)| {
        format!(r#"{{"object":"embedding","index":{index},"embedding":{vector}}}"#)
    };
    let items: Vec<_> = items.iter().enumerate().map(item).collect();
    Ok(format!(
        r#"{{"object":"list","data":[{}],"model":"{model}","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#,
        items.join(",")
    ))
}

const BOTH: [&str; 2] = ["[0.5,-1e-3]", "[1,2.0]"];

#[test]
fn each_form_is_read_and_numbers_stay_as_they_are() {
    let cases = [
        (
            Wording::BatchEmbedContents,
            "{\"embeddings\":[{\"values\":[\n 0.5,\n -1e-3\n]},{\"values\":[1, 2.0]}]}",
            // Nothing was stated: an estimate.
            ("m", 2),
        ),
        (
            Wording::BatchEmbedContents,
            r#"{"embeddings":[{"values":[0.5,-1e-3]},{"values":[1,2.0]}],"usageMetadata":{"promptTokenCount":9}}"#,
            ("m", 9),
        ),
        (
            Wording::Predict,
            r#"{"predictions":[{"embeddings":{"values":[0.5,-1e-3],"statistics":{"token_count":4,"truncated":false}}},{"embeddings":{"values":[1,2.0],"statistics":{"token_count":3}}}],"metadata":{"billableCharacterCount":6}}"#,
            ("m", 7),
        ),
        (
            Wording::CohereEmbed,
            r#"{"id":"i","texts":["abc"],"embeddings":{"float":[[0.5,-1e-3],[1,2.0]]},"meta":{"billed_units":{"input_tokens":5}},"response_type":"embeddings_by_type"}"#,
            ("m", 5),
        ),
        (Wording::InvokedCohereEmbed, r#"{"embeddings":[[0.5,-1e-3],[1,2.0]]}"#, ("m", 2)),
        (
            Wording::OllamaEmbed,
            r#"{"model":"nomic","embeddings":[[0.5,-1e-3],[1,2.0]],"prompt_eval_count":6}"#,
            ("nomic", 6),
        ),
        (
            Wording::PlainEmbed,
            r#"{"data":[{"index":1,"embedding":[1,2.0]},{"index":0,"embedding":[0.5,-1e-3]}],"model":"v","usage":{"total_tokens":8}}"#,
            ("v", 8),
        ),
    ];
    for (wording, answer, (model, tokens)) in cases {
        assert_eq!(list(wording, 2, answer), told(&BOTH, model, tokens), "{answer}");
    }
    let one = [
        (Wording::EmbedContent, r#"{"embedding":{"values":[7]},"usageMetadata":{"promptTokenCount":3}}"#),
        (Wording::TitanEmbed, r#"{"embedding":[7],"inputTextTokenCount":3}"#),
    ];
    for (wording, answer) in one {
        assert_eq!(list(wording, 1, answer), told(&["[7]"], "m", 3), "{answer}");
    }
}

#[test]
fn several_answers_are_one_list_and_count_together() {
    let mut vectors = vectors(Wording::TitanEmbed, r#"{"input":["a","b"],"encoding_format":"base64"}"#);
    assert_eq!(vectors.usage(), None);
    for answer in [
        r#"{"embedding":[1,-2.5],"inputTextTokenCount":3}"#,
        r#"{"embedding":[0,0.1],"inputTextTokenCount":4}"#,
    ] {
        vectors.read(answer, &HeaderMap::new()).expect("reads");
    }
    assert_eq!(vectors.usage().map(|usage| (usage.input, usage.output)), Some((Some(7), Some(0))));
    // 1.0, -2.5 and 0.0, 0.1 as 32-bit floats, the lowest byte first.
    assert_eq!(
        Ok(String::from_utf8(vectors.finish("m")).expect("is UTF-8")),
        told(&[r#""AACAPwAAIMA=""#, r#""AAAAAM3MzD0=""#], "m", 7)
    );
}

#[test]
fn each_answer_has_as_many_as_its_body_asked_for() {
    let request = format!(r#"{{"input":[{}]}}"#, vec![r#""abc""#; 97].join(","));
    let answer = |n: usize| {
        format!(
            r#"{{"embeddings":[{}],"meta":{{"billed_units":{{"input_tokens":{n}}}}}}}"#,
            vec!["[1]"; n].join(",")
        )
    };
    let mut vectors = vectors(Wording::CohereEmbed, &request);
    for wrong in [97, 95] {
        vectors.read(&answer(wrong), &HeaderMap::new()).expect_err("is not what was asked for");
    }
    vectors.read(&answer(96), &HeaderMap::new()).expect("reads");
    vectors.read(&answer(96), &HeaderMap::new()).expect_err("one is left");
    vectors.read(&answer(1), &HeaderMap::new()).expect("reads");
    let told_of_all = told(&["[1]"; 97], "m", 97);
    assert_eq!(Ok(String::from_utf8(vectors.finish("m")).expect("is UTF-8")), told_of_all);
}

#[test]
fn what_was_not_stated_by_all_is_not_stated() {
    let mut vectors = vectors(Wording::TitanEmbed, r#"{"input":["abc","abcdef"]}"#);
    vectors.read(r#"{"embedding":[1],"inputTextTokenCount":3}"#, &HeaderMap::new()).expect("reads");
    vectors.read(r#"{"embedding":[1]}"#, &HeaderMap::new()).expect("reads");
    assert_eq!(vectors.usage(), None);
    assert_eq!(Ok(String::from_utf8(vectors.finish("m")).expect("is UTF-8")), told(&["[1]", "[1]"], "m", 3));
}

#[test]
fn a_count_that_is_none_is_marked() {
    let mut vectors = vectors(Wording::OllamaEmbed, r#"{"input":"abc"}"#);
    vectors.read(r#"{"embeddings":[[1]],"prompt_eval_count":-4}"#, &HeaderMap::new()).expect("reads");
    let usage = vectors.usage().expect("something was stated");
    assert_eq!((usage.input, usage.invalid), (None, true));
}

#[test]
fn bedrock_states_what_was_read_beside_the_answer() {
    let mut headers = HeaderMap::new();
    headers.insert("x-amzn-bedrock-input-token-count", HeaderValue::from_static("12"));
    let mut vectors = vectors(Wording::InvokedCohereEmbed, r#"{"input":"abc"}"#);
    vectors.read(r#"{"embeddings":[[1]]}"#, &headers).expect("reads");
    assert_eq!(vectors.usage().and_then(|usage| usage.input), Some(12));
}

#[test]
fn what_is_no_answer_or_a_shorter_one_is_an_error() {
    let cases = [
        (Wording::OllamaEmbed, r#"{"embeddings":[[1]]}"#, "1 vectors where 2 were asked for"),
        (Wording::OllamaEmbed, r#"{"embeddings":[[1],[2],[3]]}"#, "3 vectors where 2 were asked for"),
        (Wording::OllamaEmbed, r#"{"embeddings":[[1],[]]}"#, "expected a list of numbers"),
        (Wording::OllamaEmbed, r#"{"embeddings":[[1],[1e300]]}"#, "expected a list of numbers"),
        (Wording::OllamaEmbed, r#"{"error":"no"}"#, "no vectors"),
        (Wording::BatchEmbedContents, r#"{"embedding":{"values":[1]}}"#, "no vectors"),
        (Wording::BatchEmbedContents, r#"{"embeddings":[{"values":[1]},{}]}"#, "no vectors"),
        (Wording::Predict, r#"{"predictions":[{"embeddings":{"values":[1]}},{}]}"#, "no vectors"),
        (Wording::CohereEmbed, r#"{"embeddings":{"int8":[[1],[2]]}}"#, "no vectors"),
        (
            Wording::PlainEmbed,
            r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}"#,
            "no vectors",
        ),
        (
            Wording::PlainEmbed,
            r#"{"data":[{"index":0,"embedding":[1]},{"index":5,"embedding":[2]}]}"#,
            "no vectors",
        ),
    ];
    for (wording, answer, message) in cases {
        assert_eq!(list(wording, 2, answer), Err(message.to_owned()), "{answer}");
    }
    for vector in [r#"["x"]"#, r#""AACAPw==""#, "[[1]]", "null", "[null]", "7"] {
        let answer = format!(r#"{{"embeddings":[[1],{vector}]}}"#);
        assert!(list(Wording::OllamaEmbed, 2, &answer).is_err(), "{vector}");
    }
}

#[test]
fn googles_callers_are_given_googles_vectors() {
    let one = r#"{"content":{"parts":[{"text":"abc"}]}}"#;
    let told = |operation, request: &str, answer: &str| {
        let request = decode_content(operation, request).expect("reads");
        let mut vectors = Vectors::new(Wording::PlainEmbed, &request, "m");
        vectors.read(answer, &HeaderMap::new()).expect("reads");
        String::from_utf8(vectors.finish("m")).expect("is UTF-8")
    };
    let answer = r#"{"data":[{"index":0,"embedding":[0.5, -1e-3]}],"usage":{"prompt_tokens":3}}"#;
    assert_eq!(
        told(Operation::EmbedContent, one, answer),
        r#"{"embedding":{"values":[0.5,-1e-3]},"usageMetadata":{"promptTokenCount":3}}"#
    );
    let answer = r#"{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}]}"#;
    assert_eq!(
        told(Operation::BatchEmbedContents, &format!(r#"{{"requests":[{one},{one}]}}"#), answer),
        r#"{"embeddings":[{"values":[1]},{"values":[2]}]}"#
    );
}

#[test]
fn counts_that_no_number_holds_are_as_many_as_one_can_be() {
    let answer = format!(
        r#"{{"predictions":[{{"embeddings":{{"values":[1],"statistics":{{"token_count":{}}}}}}},{{"embeddings":{{"values":[1],"statistics":{{"token_count":5}}}}}}]}}"#,
        u64::MAX
    );
    let mut vectors = vectors(Wording::Predict, r#"{"input":["a","b"]}"#);
    vectors.read(&answer, &HeaderMap::new()).expect("reads");
    assert_eq!(vectors.usage().and_then(|usage| usage.input), Some(u64::MAX));
}

use ziggurat_core::{Operation, ParamPolicy};

use super::*;
use crate::embeddings::{decode_content, decode_request};

fn encoded(wording: Wording, model: &str, policy: &ParamPolicy, json: &str) -> Result<Vec<String>, Refused> {
    let request = decode_request(json).expect("reads");
    let bodies = encode_request(wording, &request, &Encoding::new(model, policy))?;
    Ok(bodies.into_iter().map(|body| String::from_utf8(body).expect("is UTF-8")).collect())
}

#[track_caller]
fn sends(wording: Wording, model: &str, json: &str, expected: &[&str]) {
    assert_eq!(encoded(wording, model, &ParamPolicy::default(), json).expect("is taken"), expected);
}

fn refused(wording: Wording, model: &str, json: &str) -> Refused {
    encoded(wording, model, &ParamPolicy::default(), json).expect_err("is refused")
}

fn unsupported(names: &[&str]) -> Refused {
    Refused::Unsupported(names.iter().map(|name| (*name).to_owned()).collect())
}

const TWO: &str = r#"{"model":"alias","input":["a\n","b"],"dimensions":8,"user":"u","metadata":{}}"#;

#[test]
fn google_is_asked_for_a_batch() {
    sends(
        Wording::BatchEmbedContents,
        "text-embedding-004",
        TWO,
        &[concat!(
            r#"{"requests":[{"model":"models/text-embedding-004","content":{"parts":[{"text":"a\n"}]},"outputDimensionality":8},"#,
            r#"{"model":"models/text-embedding-004","content":{"parts":[{"text":"b"}]},"outputDimensionality":8}]}"#
        )],
    );
    sends(
        Wording::BatchEmbedContents,
        "m",
        r#"{"input":"a","input_type":"search_query","title":"t","new":[1]}"#,
        &[
            r#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY","title":"t","new":[1]}]}"#,
        ],
    );
}

#[test]
fn vertex_is_asked_to_predict() {
    sends(
        Wording::Predict,
        "text-embedding-005",
        TWO,
        &[r#"{"instances":[{"content":"a\n"},{"content":"b"}],"parameters":{"outputDimensionality":8}}"#],
    );
    sends(
        Wording::Predict,
        "text-embedding-005",
        r#"{"input":"a","task_type":"CLUSTERING","title":"t","auto_truncate":true}"#,
        &[
            r#"{"instances":[{"content":"a","task_type":"CLUSTERING","title":"t"}],"parameters":{"autoTruncate":true}}"#,
        ],
    );
    sends(Wording::Predict, "m", r#"{"input":"a"}"#, &[r#"{"instances":[{"content":"a"}]}"#]);
}

#[test]
fn models_that_take_one_text_are_asked_once_for_each() {
    let one = |text: &str| format!(r#"{{"instances":[{{"content":"{text}"}}]}}"#);
    sends(Wording::Predict, "gemini-embedding-001", r#"{"input":["a","b"]}"#, &[&one("a"), &one("b")]);
    sends(
        Wording::EmbedContent,
        "gemini-embedding-2",
        TWO,
        &[
            r#"{"content":{"parts":[{"text":"a\n"}]},"outputDimensionality":8}"#,
            r#"{"content":{"parts":[{"text":"b"}]},"outputDimensionality":8}"#,
        ],
    );
}

#[test]
fn no_more_texts_go_out_at_once_than_a_provider_takes() {
    let many = |n: usize| {
        let texts: Vec<_> = (0..n).map(|n| format!("\"{n}.\"")).collect();
        format!(r#"{{"input":[{}]}}"#, texts.join(","))
    };
    let cases = [
        (Wording::CohereEmbed, "embed-v4.0", 96),
        (Wording::InvokedCohereEmbed, "cohere.embed-english-v3", 96),
        (Wording::BatchEmbedContents, "text-embedding-004", 100),
        (Wording::Predict, "text-embedding-005", 250),
        (Wording::Predict, "gemini-embedding-001", 1),
        (Wording::EmbedContent, "gemini-embedding-2", 1),
        (Wording::TitanEmbed, "amazon.titan-embed-text-v1", 1),
        (Wording::OllamaEmbed, "m", 2048),
        (Wording::PlainEmbed, "m", 2048),
    ];
    for (wording, model, most) in cases {
        let bodies = encoded(wording, model, &ParamPolicy::default(), &many(2048)).expect("is taken");
        assert_eq!(bodies.len(), 2048_usize.div_ceil(most), "{wording:?} {model}");
        for (place, body) in bodies.iter().enumerate() {
            let (first, end) = (place * most, 2048.min((place + 1) * most));
            let at: Vec<_> = (first..end).map(|n| body.find(&format!("\"{n}.\"")).expect("has it")).collect();
            assert!(at.is_sorted(), "{body}");
            assert_eq!(body.matches(".\"").count(), end - first, "{body}");
        }
        let too_many = refused(wording, model, &many(2049));
        assert!(matches!(too_many, Refused::Invalid { param, .. } if param == "input"), "{wording:?}");
    }
}

/// This would take minutes if each were compared with all behind it.
#[test]
fn of_members_that_stand_a_hundred_thousand_times_the_last_is_meant() {
    let json = format!(r#"{{"input":"a",{}"new":2}}"#, r#""new":1,"#.repeat(100_000));
    sends(Wording::OllamaEmbed, "m", &json, &[r#"{"model":"m","input":["a"],"new":2}"#]);
    let names: String = (0..100_000).map(|n| format!(r#","x{n}":1"#)).collect();
    let json = format!(r#"{{"input":"a"{names}}}"#);
    sends(Wording::OllamaEmbed, "m", &json, &[&format!(r#"{{"model":"m","input":["a"]{names}}}"#)]);
}

#[test]
fn cohere_is_told_what_the_texts_are_for() {
    sends(
        Wording::CohereEmbed,
        "embed-v4.0",
        TWO,
        &[
            r#"{"model":"embed-v4.0","texts":["a\n","b"],"input_type":"search_document","embedding_types":["float"],"output_dimension":8}"#,
        ],
    );
    sends(
        Wording::CohereEmbed,
        "embed-v4.0",
        r#"{"input":"a","task_type":"RETRIEVAL_QUERY","truncate":"END"}"#,
        &[
            r#"{"model":"embed-v4.0","texts":["a"],"input_type":"search_query","embedding_types":["float"],"truncate":"END"}"#,
        ],
    );
}

#[test]
fn cohere_on_bedrock_is_named_by_the_url() {
    sends(
        Wording::InvokedCohereEmbed,
        "cohere.embed-english-v3",
        r#"{"input":["a","b"],"input_type":"clustering"}"#,
        &[r#"{"texts":["a","b"],"input_type":"clustering"}"#],
    );
    sends(
        Wording::InvokedCohereEmbed,
        "us.cohere.embed-v4:0",
        r#"{"input":"a","dimensions":256}"#,
        &[
            r#"{"texts":["a"],"input_type":"search_document","embedding_types":["float"],"output_dimension":256}"#,
        ],
    );
    let third =
        refused(Wording::InvokedCohereEmbed, "cohere.embed-english-v3", r#"{"input":"a","dimensions":2}"#);
    assert_eq!(third, unsupported(&["dimensions"]));
}

#[test]
fn ollama_takes_its_own_options() {
    sends(
        Wording::OllamaEmbed,
        "nomic-embed-text",
        r#"{"input":["a"],"dimensions":8,"keep_alive":"5m","options":{"num_ctx":9},"truncate":false}"#,
        &[
            r#"{"model":"nomic-embed-text","input":["a"],"dimensions":8,"keep_alive":"5m","options":{"num_ctx":9},"truncate":false}"#,
        ],
    );
}

#[test]
fn titan_has_three_forms() {
    sends(
        Wording::TitanEmbed,
        "amazon.titan-embed-text-v2:0",
        r#"{"input":["a","b"],"dimensions":256,"normalize":true}"#,
        &[
            r#"{"inputText":"a","dimensions":256,"normalize":true}"#,
            r#"{"inputText":"b","dimensions":256,"normalize":true}"#,
        ],
    );
    sends(Wording::TitanEmbed, "amazon.titan-embed-text-v1", r#"{"input":"a"}"#, &[r#"{"inputText":"a"}"#]);
    sends(
        Wording::TitanEmbed,
        "amazon.titan-embed-image-v1",
        r#"{"input":"a","dimensions":256}"#,
        &[r#"{"inputText":"a","embeddingConfig":{"outputEmbeddingLength":256}}"#],
    );
    let first = refused(Wording::TitanEmbed, "amazon.titan-embed-text-v1", r#"{"input":"a","dimensions":8}"#);
    assert_eq!(first, unsupported(&["dimensions"]));
}

#[test]
fn plain_vectors_are_asked_for_in_openais_words_but_without_a_format() {
    sends(
        Wording::PlainEmbed,
        "voyage-3.5",
        r#"{"model":"alias","input":"a","encoding_format":"base64","dimensions":8,"user":"u","input_type":"query","late_chunking":true}"#,
        &[r#"{"model":"voyage-3.5","input":["a"],"dimensions":8,"input_type":"query","late_chunking":true}"#],
    );
}

#[test]
fn what_has_no_place_is_refused_by_name_or_dropped() {
    let json = r#"{"input":"a","input_type":"query","title":"t","stream":null,"user":"u"}"#;
    assert_eq!(refused(Wording::OllamaEmbed, "m", json), unsupported(&["input_type", "title"]));
    let mut policy = ParamPolicy::default();
    policy.drop_params = true;
    let dropped = encoded(Wording::OllamaEmbed, "m", &policy, json);
    assert_eq!(dropped, Ok(vec![r#"{"model":"m","input":["a"]}"#.to_owned()]));
    policy.allowed_openai_params = ["title".to_owned(), "user".to_owned()].into();
    let allowed = encoded(Wording::OllamaEmbed, "m", &policy, json);
    assert_eq!(allowed, Ok(vec![r#"{"model":"m","input":["a"],"title":"t","user":"u"}"#.to_owned()]));
}

#[test]
fn what_would_stand_in_a_place_of_ours_is_never_written() {
    for (wording, name) in [
        (Wording::BatchEmbedContents, "requests"),
        (Wording::BatchEmbedContents, "content"),
        (Wording::CohereEmbed, "texts"),
        (Wording::CohereEmbed, "embedding_types"),
        (Wording::InvokedCohereEmbed, "output_dimension"),
        (Wording::TitanEmbed, "inputText"),
        (Wording::EmbedContent, "content"),
        (Wording::Predict, "outputDimensionality"),
    ] {
        let json = format!(r#"{{"input":"a","{name}":["b"]}}"#);
        assert_eq!(refused(wording, "m", &json), unsupported(&[name]), "{wording:?}");
    }
    sends(
        Wording::OllamaEmbed,
        "m",
        r#"{"input":"a","x":1,"x":2}"#,
        &[r#"{"model":"m","input":["a"],"x":2}"#],
    );
}

#[test]
fn tokens_and_other_operations_are_refused() {
    let tokens = refused(Wording::CohereEmbed, "m", r#"{"input":[1,2]}"#);
    assert_eq!(
        tokens,
        Refused::Invalid {
            message: "this model's provider takes texts, not token ids".to_owned(),
            param: "input".to_owned()
        }
    );
    assert!(matches!(refused(Wording::Rerank, "m", r#"{"input":"a"}"#), Refused::Invalid { .. }));
    let task = refused(Wording::CohereEmbed, "m", r#"{"input":"a","input_type":["x"]}"#);
    assert!(matches!(task, Refused::Invalid { param, .. } if param == "input_type"));
}

#[test]
fn little_is_not_made_much() {
    let long = "x".repeat(20_000);
    let texts = vec![r#""a""#; 1000].join(",");
    let json = format!(r#"{{"input":[{texts}],"title":"{long}","x":"{long}"}}"#);
    for wording in [Wording::BatchEmbedContents, Wording::Predict, Wording::TitanEmbed] {
        let mut policy = ParamPolicy::default();
        policy.drop_params = true;
        let refused = encoded(wording, "m", &policy, &json).expect_err("is refused");
        assert!(matches!(refused, Refused::Invalid { param, .. } if param == "input"), "{wording:?}");
    }
    let once = format!(r#"{{"input":["a"],"title":"{long}"}}"#);
    assert!(encoded(Wording::BatchEmbedContents, "m", &ParamPolicy::default(), &once).is_ok());
}

/// What a batch in Google's words becomes.
fn batch(wording: Wording, more: &str, policy: &ParamPolicy) -> Result<Vec<String>, Refused> {
    let one = |text: &str| {
        format!(r#"{{"content":{{"parts":[{{"text":"{text}"}}]}},"outputDimensionality":8{more}}}"#)
    };
    let json = format!(r#"{{"requests":[{},{}]}}"#, one("a"), one("b"));
    let mut request = decode_content(Operation::BatchEmbedContents, &json).expect("reads");
    request.add_missing("dimensions", "7");
    request.add_missing("normalize", "true");
    let bodies = encode_request(wording, &request, &Encoding::new("m", policy))?;
    Ok(bodies.into_iter().map(|body| String::from_utf8(body).expect("is UTF-8")).collect())
}

#[test]
fn googles_callers_are_understood_by_all() {
    let taken = |wording, more: &str| batch(wording, more, &ParamPolicy::default());
    let sent = |body: &str| Ok(vec![body.to_owned()]);
    let plain = r#"{"model":"m","input":["a","b"],"dimensions":8,"normalize":true}"#;
    assert_eq!(taken(Wording::PlainEmbed, ""), sent(plain));
    assert_eq!(taken(Wording::OllamaEmbed, ""), sent(plain));
    assert_eq!(
        taken(Wording::CohereEmbed, r#","taskType":"RETRIEVAL_QUERY""#),
        sent(
            r#"{"model":"m","texts":["a","b"],"input_type":"search_query","embedding_types":["float"],"output_dimension":8,"normalize":true}"#
        )
    );
    assert_eq!(
        taken(Wording::Predict, r#","taskType":"CLUSTERING","title":"t","autoTruncate":true"#),
        sent(
            r#"{"instances":[{"content":"a","task_type":"CLUSTERING","title":"t"},{"content":"b","task_type":"CLUSTERING","title":"t"}],"parameters":{"outputDimensionality":8,"autoTruncate":true,"normalize":true}}"#
        )
    );
}

#[test]
fn what_only_google_knows_is_dropped_or_refused_by_its_name() {
    let more = r#","taskType":"CLUSTERING","title":"t","newer":[1]"#;
    for wording in [Wording::PlainEmbed, Wording::OllamaEmbed] {
        let refused = batch(wording, more, &ParamPolicy::default());
        assert_eq!(refused, Err(unsupported(&["taskType", "title", "newer"])));
        let mut policy = ParamPolicy::default();
        policy.drop_params = true;
        assert_eq!(batch(wording, more, &policy), batch(wording, "", &ParamPolicy::default()));
        let mut policy = ParamPolicy::default();
        policy.allowed_openai_params = ["taskType".to_owned(), "title".to_owned(), "newer".to_owned()].into();
        let passed = r#"{"model":"m","input":["a","b"],"dimensions":8,"taskType":"CLUSTERING","title":"t","newer":[1],"normalize":true}"#;
        assert_eq!(batch(wording, more, &policy), Ok(vec![passed.to_owned()]));
    }
    assert_eq!(
        batch(Wording::TitanEmbed, "", &ParamPolicy::default()),
        Err(unsupported(&["outputDimensionality"]))
    );
}

/// Vertex AI takes 20,000 tokens in a call, whatever the number of texts.
#[test]
fn texts_that_are_long_together_are_several_calls() {
    let sizes = |wording, model: &str, lengths: &[usize]| {
        let texts: Vec<_> = lengths.iter().map(|tokens| Text::from("a".repeat(tokens * 3))).collect();
        pieces(wording, model, &texts).iter().map(|piece| piece.len()).collect::<Vec<_>>()
    };
    let predict = |lengths: &[usize]| sizes(Wording::Predict, "text-embedding-005", lengths);
    assert_eq!(predict(&[10_000, 10_000]), [2]);
    assert_eq!(predict(&[10_000, 10_001, 9999, 1]), [1, 2, 1]);
    // What is too long by itself is nobody else's to bear.
    assert_eq!(predict(&[1, 30_000, 1]), [1, 1, 1]);
    assert_eq!(predict(&[1; 251]), [250, 1]);
    assert_eq!(sizes(Wording::BatchEmbedContents, "m", &[30_000, 30_000]), [2]);
    let json = format!(r#"{{"input":["{0}","{0}"]}}"#, "a".repeat(45_000));
    let bodies = encoded(Wording::Predict, "m", &ParamPolicy::default(), &json).expect("is taken");
    assert_eq!(bodies.len(), 2);
    let mut vectors =
        crate::embeddings::Vectors::new(Wording::Predict, &decode_request(&json).expect("reads"), "m");
    for _ in 0..2 {
        let answer = r#"{"predictions":[{"embeddings":{"values":[1],"statistics":{"token_count":7}}}]}"#;
        vectors.read(answer, &http::HeaderMap::new()).expect("reads");
    }
    assert_eq!(vectors.usage().and_then(|usage| usage.input), Some(14));
}

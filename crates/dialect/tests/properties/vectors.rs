//! Broken embeddings, rankings and images: whatever the bytes, nothing panics, what is written is JSON, and nothing is missing in it.

use http::HeaderMap;
use serde::{Deserialize, de::IgnoredAny};
use ziggurat_core::Wording;
use ziggurat_dialect::{Encoding, embeddings, images, rerank};

use crate::{
    common::dropping,
    garbage::{Random, broken, is_json},
};

const EMBEDDINGS: [Wording; 8] = [
    Wording::BatchEmbedContents,
    Wording::EmbedContent,
    Wording::Predict,
    Wording::CohereEmbed,
    Wording::OllamaEmbed,
    Wording::TitanEmbed,
    Wording::InvokedCohereEmbed,
    Wording::PlainEmbed,
];
const RANKINGS: [Wording; 5] = [
    Wording::Rerank,
    Wording::RerankTopK,
    Wording::RerankTexts,
    Wording::InvokedRerank,
    Wording::RankRecords,
];

const IMAGES: [Wording; 4] = [
    Wording::GenerateImages,
    Wording::PredictImages,
    Wording::InvokedAmazonImages,
    Wording::InvokedStabilityImages,
];

const REQUESTS: &[&str] = &[
    r#"{"model":"m","input":["a\u00e9","b"],"dimensions":8,"encoding_format":"base64","user":"u","input_type":"query","title":"t","x":[1]}"#,
    r#"{"model":"m","input":[[1,2],[3]],"encoding_format":"float"}"#,
    r#"{"model":"m","query":"q","documents":["a\n",{"text":"b","n":1}],"top_n":1,"return_documents":true,"rank_fields":["text"],"x":{}}"#,
    r#"{"model":"m","query":"q","documents":[{"text":"\u00e9\n\u0001","n":1,"n":2},{"n":"\"\\"},{}],"rank_fields":["n","text","none"],"top_n":1}"#,
    r#"{"model":"m","prompt":"a\n\u00e9","n":2,"size":"1536x1024","quality":"high","output_format":"jpeg","output_compression":9,"seed":1,"style":"x"}"#,
];

const ANSWERS: &[&str] = &[
    r#"{"embeddings":[{"values":[0.5, 1e-3]},{"values":[1]}],"usageMetadata":{"promptTokenCount":3}}"#,
    r#"{"embedding":{"values":[0.5]},"usageMetadata":{"promptTokenCount":3}}"#,
    r#"{"predictions":[{"embeddings":{"values":[1],"statistics":{"token_count":2}}},{"embeddings":{"values":[1]}}]}"#,
    r#"{"embeddings":{"float":[[1],[2]]},"meta":{"billed_units":{"input_tokens":5}}}"#,
    r#"{"model":"m","embeddings":[[1],[2]],"prompt_eval_count":6}"#,
    r#"{"embedding":[1],"inputTextTokenCount":3}"#,
    r#"{"data":[{"index":1,"embedding":[1]},{"index":0,"embedding":[2]}],"usage":{"total_tokens":8}}"#,
    r#"{"id":"c","results":[{"index":1,"relevance_score":0.9},{"index":0,"relevance_score":0.1}],"meta":{"billed_units":{"search_units":1}}}"#,
    r#"[{"index":1,"score":0.9},{"index":0,"score":0.1}]"#,
    r#"{"records":[{"id":"1","score":0.9},{"id":"0","score":0.1}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"t"},{"inlineData":{"mimeType":"image/png","data":"AA=="}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":9}}"#,
    r#"{"predictions":[{"bytesBase64Encoded":"AA==","mimeType":"image/png","prompt":"p\n"},{"raiFilteredReason":"r"}]}"#,
    r#"{"images":["AA==","AQ=="],"finish_reasons":[null,"Filter reason: prompt"],"error":null}"#,
];

/// The members of an answer's list.
fn told_of(out: &[u8]) -> usize {
    #[derive(Deserialize)]
    struct Told {
        #[serde(alias = "results")]
        data: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Told>(out).expect("is JSON").data.len()
}

#[test]
fn broken_vectors_rankings_and_images_do_no_harm() {
    let (drop, mut random) = (dropping(), Random(0x9E37_79B9_7F4A_7C15));
    let embedding = embeddings::decode_request(REQUESTS[0]).expect("reads");
    let ranking = rerank::decode_request(REQUESTS[2]).expect("reads");
    let drawing = images::decode_request(REQUESTS[4]).expect("reads");
    let (mut written, mut told) = (0, 0);
    for _ in 0..20_000 {
        let request = broken(&mut random, REQUESTS);
        let answer = broken(&mut random, ANSWERS);
        let encoding = Encoding::new("amazon.titan-embed-text-v2", &drop);
        for wording in EMBEDDINGS {
            let read = embeddings::decode_request(&request).ok();
            let bodies = read.and_then(|read| embeddings::encode_request(wording, &read, &encoding).ok());
            for body in bodies.into_iter().flatten() {
                is_json(&body);
                written += 1;
            }
            let mut vectors = embeddings::Vectors::new(wording, &embedding, "m");
            if vectors.read(&answer, &HeaderMap::new()).is_ok() {
                // Two texts, or the first of two.
                let apart = matches!(wording, Wording::EmbedContent | Wording::TitanEmbed);
                assert_eq!(told_of(&vectors.finish("m")), if apart { 1 } else { 2 }, "{answer}");
                told += 1;
            }
        }
        for wording in RANKINGS {
            let read = rerank::decode_request(&request).ok();
            if let Some(body) = read.and_then(|read| rerank::encode_request(wording, &read, &encoding).ok()) {
                is_json(&body);
                // The model's name, what the writer itself says, and the names of two records.
                assert!(body.len() <= request.len() + 176, "{request}");
                written += 1;
            }
        }
        for wording in IMAGES {
            let read = images::decode_request(&request).ok();
            let bodies = read.and_then(|read| images::encode_request(wording, &read, &encoding).ok());
            for body in bodies.into_iter().flatten() {
                is_json(&body);
                written += 1;
            }
            let mut drawn = images::Images::new(wording, &drawing);
            if drawn.read(&answer).is_ok() {
                let count = drawn.usage().images;
                if let Ok(list) = drawn.finish(7) {
                    assert_eq!(Some(told_of(&list) as u64), count, "{answer}");
                    told += 1;
                }
            }
        }
        let mut ranked = rerank::Ranking::new(&ranking);
        if ranked.read(&answer, &HeaderMap::new()).is_ok() {
            assert_eq!(told_of(&ranked.finish("id")), 1, "{answer}");
            told += 1;
        }
    }
    assert!(written > 1000 && told > 1000, "{written} {told}");
}

//! Recorded vectors: their providers are asked with the same words, and callers of OpenAI's are told the same numbers.

use http::HeaderMap;
use serde_json::{Value, json};
use ziggurat_core::{ParamPolicy, Wording};
use ziggurat_dialect::{Encoding, embeddings};
use ziggurat_testkit::{Recording, Recordings};

/// How a provider was asked in a recording, and where its texts and vectors stand.
fn wording_of(recording: &Recording) -> Option<Wording> {
    Some(match &*recording.endpoint {
        "batchEmbedContents" => Wording::BatchEmbedContents,
        "embedContent" => Wording::EmbedContent,
        "v2.embed" => Wording::CohereEmbed,
        "api.embed" => Wording::OllamaEmbed,
        "embeddings" => Wording::PlainEmbed,
        _ => return None,
    })
}

fn text_of_content(request: &Value) -> Value {
    request["content"]["parts"][0]["text"].clone()
}

/// Takes out images that stand beside a text: callers of OpenAI's embeddings have none.
fn leave_text_alone(request: &mut Value) {
    let requests = request.get_mut("requests").and_then(Value::as_array_mut).into_iter().flatten();
    for parts in requests.filter_map(|request| request["content"]["parts"].as_array_mut()) {
        parts.retain(|part| part.get("text").is_some());
    }
}

/// The texts of a recorded request, and the dimensions.
fn asked(wording: Wording, body: &Value) -> (Value, Value) {
    match wording {
        Wording::BatchEmbedContents => {
            let requests = body["requests"].as_array().expect("is a list");
            let texts: Vec<Value> = requests.iter().map(text_of_content).collect();
            (texts.into(), requests[0]["outputDimensionality"].clone())
        }
        Wording::EmbedContent => (text_of_content(body), body["outputDimensionality"].clone()),
        Wording::CohereEmbed => (body["texts"].clone(), body["output_dimension"].clone()),
        _ => (body["input"].clone(), body["dimensions"].clone()),
    }
}

/// The vectors of a recorded answer, and the tokens that it states.
fn answered(wording: Wording, body: &Value) -> (Vec<Value>, Value) {
    let list = |list: &Value, member: &str| -> Vec<Value> {
        list.as_array().expect("is a list").iter().map(|item| item[member].clone()).collect()
    };
    match wording {
        Wording::BatchEmbedContents => {
            (list(&body["embeddings"], "values"), body["usageMetadata"]["promptTokenCount"].clone())
        }
        Wording::EmbedContent => {
            (vec![body["embedding"]["values"].clone()], body["usageMetadata"]["promptTokenCount"].clone())
        }
        Wording::CohereEmbed => (
            body["embeddings"]["float"].as_array().expect("is a list").clone(),
            body["meta"]["billed_units"]["input_tokens"].clone(),
        ),
        Wording::OllamaEmbed => {
            (body["embeddings"].as_array().expect("is a list").clone(), body["prompt_eval_count"].clone())
        }
        _ => (list(&body["data"], "embedding"), body["usage"]["prompt_tokens"].clone()),
    }
}

#[test]
fn recorded_vectors_reach_callers_number_for_number() {
    let Some(recordings) = Recordings::shared() else { return };
    let policy = ParamPolicy::default();
    let mut seen = Vec::new();
    for recording in recordings.iter().filter(|it| it.response.status().is_success()) {
        let (Some(wording), Some(request)) = (wording_of(recording), &recording.request) else { continue };
        let answer = std::str::from_utf8(recording.response.body()).expect("is UTF-8");
        let theirs: Value = serde_json::from_str(answer).expect("is JSON");
        let (vectors, tokens) = answered(wording, &theirs);
        if vectors.iter().any(Value::is_string) {
            // Asked for in base64, which passes as it is.
            continue;
        }
        let mut sent: Value = serde_json::from_slice(request.body()).expect("is JSON");
        leave_text_alone(&mut sent);
        let (input, dimensions) = asked(wording, &sent);
        let ours = json!({"model": "alias", "input": input, "dimensions": dimensions}).to_string();
        let ours = embeddings::decode_request(&ours).expect("reads");
        let model = recording.model.as_deref().expect("names a model");
        let bodies =
            embeddings::encode_request(wording, &ours, &Encoding::new(model, &policy)).expect("is taken");
        if !matches!(wording, Wording::OllamaEmbed | Wording::PlainEmbed) {
            // These have one way to be asked; the others' callers have given options of their own, or a text that is no list.
            let bodies: Vec<Value> =
                bodies.iter().map(|body| serde_json::from_slice(body).expect("is JSON")).collect();
            assert_eq!(bodies, [sent], "{}", recording.id);
        }
        let mut read = embeddings::Vectors::new(wording, &ours, model);
        read.read(answer, &HeaderMap::new()).unwrap_or_else(|error| panic!("{}: {error}", recording.id));
        let stated = read.usage().and_then(|usage| usage.input);
        assert_eq!(stated, tokens.as_u64(), "{}", recording.id);
        let told: Value = serde_json::from_slice(&read.finish(model)).expect("is JSON");
        let told = told["data"].as_array().expect("is a list");
        let told: Vec<Value> = told.iter().map(|item| item["embedding"].clone()).collect();
        assert_eq!(told, vectors, "{}", recording.id);
        seen.push(wording);
    }
    for wording in [
        Wording::BatchEmbedContents,
        Wording::EmbedContent,
        Wording::CohereEmbed,
        Wording::OllamaEmbed,
        Wording::PlainEmbed,
    ] {
        assert!(seen.contains(&wording), "there is no such recording: {wording:?}");
    }
}

//! The request, in the words of rerankers.

use ziggurat_core::Wording;

use super::Request;
use crate::{
    Encoding, Refused,
    encode::{Fate, UNHEARD, Verdicts},
    read::Extra,
    write::object,
};

/// Writes a request for a reranker.
///
/// # Errors
/// [`Refused`], when it holds what such a reranker cannot be asked.
pub fn encode_request(
    wording: Wording,
    request: &Request<'_>,
    encoding: &Encoding<'_>,
) -> Result<Vec<u8>, Refused> {
    if wording == Wording::RankRecords {
        return records(request, encoding);
    }
    let (documents, top) = match wording {
        Wording::Rerank | Wording::InvokedRerank => ("documents", "top_n"),
        Wording::RerankTopK => ("documents", "top_k"),
        Wording::RerankTexts => ("texts", ""),
        _ => return Err(Refused::invalid("this model's provider gives no rankings", "model")),
    };
    // Where the URL has the model, or the server has one alone, the body has none.
    let named = matches!(wording, Wording::Rerank | Wording::RerankTopK);
    let ours = ["model", "query", documents, top, "api_version"];
    let extra = passed(request, encoding, &ours, &OF_COHERES_FIRST)?;
    let length: usize = request.documents.iter().map(|document| document.text.len() + 8).sum();
    let mut body = Vec::with_capacity(length + request.query.len() + 128);
    object(&mut body, |body| {
        if named {
            body.str("model", encoding.model);
        }
        body.text("query", &request.query);
        body.array(documents, |list| request.documents.iter().for_each(|document| list.text(&document.text)));
        if !top.is_empty() {
            body.number_if(top, request.top_n);
        }
        if wording == Wording::InvokedRerank && encoding.model.contains("cohere.") {
            body.number("api_version", 2);
        }
        body.extra(&extra, &[]);
    });
    Ok(body)
}

/// For Google's ranking, which knows documents by names and says no more of them than that
/// (<https://cloud.google.com/generative-ai-app-builder/docs/ranking>).
fn records(request: &Request<'_>, encoding: &Encoding<'_>) -> Result<Vec<u8>, Refused> {
    if request.documents.len() > MOST_RECORDS {
        let message = format!("this model's provider ranks at most {MOST_RECORDS} documents");
        return Err(Refused::invalid(message, "documents"));
    }
    let ours = ["model", "query", "records", "topN", "ignoreRecordDetailsInResponse"];
    let lacks = [&OF_COHERES_FIRST[..], &["max_tokens_per_doc", "truncation"]].concat();
    let extra = passed(request, encoding, &ours, &lacks)?;
    let length: usize = request.documents.iter().map(|document| document.text.len() + 32).sum();
    let mut body = Vec::with_capacity(length + request.query.len() + 160);
    object(&mut body, |body| {
        body.str("model", encoding.model);
        body.text("query", &request.query);
        body.array("records", |records| {
            for (id, document) in request.documents.iter().enumerate() {
                records.object(|record| {
                    record.str("id", &id.to_string());
                    record.text("content", &document.text);
                });
            }
        });
        body.number_if("topN", request.top_n);
        body.bool("ignoreRecordDetailsInResponse", true);
        body.extra(&extra, &[]);
    });
    Ok(body)
}

/// The members that go as they are; of those that a reranker `lacks`, and that would stand where one of `ours` does, the policy says what
/// becomes.
fn passed<'r>(
    request: &'r Request<'_>,
    encoding: &Encoding<'_>,
    ours: &[&str],
    lacks: &[&str],
) -> Result<Extra<'r>, Refused> {
    let mut verdicts = Verdicts::new(encoding.policy);
    let extra = verdicts.passing(&request.extra, |name, _| match name {
        _ if UNHEARD.contains(&name) => Fate::Unheard,
        _ if ours.contains(&name) => Fate::Ours,
        _ if lacks.contains(&name) => Fate::Unsupported,
        _ => Fate::Passed,
    });
    verdicts.finish()?;
    Ok(extra)
}

/// What Cohere's first API had, and what nobody ranks in.
const OF_COHERES_FIRST: [&str; 2] = ["max_chunks_per_doc", "stream"];

const MOST_RECORDS: usize = 200;

#[cfg(test)]
mod tests {
    use ziggurat_core::ParamPolicy;

    use super::*;
    use crate::rerank::decode_request;

    fn encoded(wording: Wording, model: &str, policy: &ParamPolicy, json: &str) -> Result<String, Refused> {
        let request = decode_request(json).expect("reads");
        let body = encode_request(wording, &request, &Encoding::new(model, policy))?;
        Ok(String::from_utf8(body).expect("is UTF-8"))
    }

    #[test]
    fn each_reranker_is_asked_in_its_words() {
        let json = r#"{"model":"alias","query":"q\n","documents":["a",{"text":"b","id":1}],"top_n":1,"return_documents":true,"max_tokens_per_doc":9,"user":"u"}"#;
        let cases = [
            (
                Wording::Rerank,
                "rerank-v3.5",
                r#"{"model":"rerank-v3.5","query":"q\n","documents":["a","b"],"top_n":1,"max_tokens_per_doc":9}"#,
            ),
            (
                Wording::RerankTopK,
                "rerank-2.5",
                r#"{"model":"rerank-2.5","query":"q\n","documents":["a","b"],"top_k":1,"max_tokens_per_doc":9}"#,
            ),
            (Wording::RerankTexts, "bge", r#"{"query":"q\n","texts":["a","b"],"max_tokens_per_doc":9}"#),
            (
                Wording::InvokedRerank,
                "cohere.rerank-v3-5:0",
                r#"{"query":"q\n","documents":["a","b"],"top_n":1,"api_version":2,"max_tokens_per_doc":9}"#,
            ),
            (
                Wording::RankRecords,
                "semantic-ranker-default@latest",
                r#"{"model":"semantic-ranker-default@latest","query":"q\n","records":[{"id":"0","content":"a"},{"id":"1","content":"b"}],"topN":1,"ignoreRecordDetailsInResponse":true}"#,
            ),
            (
                Wording::InvokedRerank,
                "amazon.rerank-v1:0",
                r#"{"query":"q\n","documents":["a","b"],"top_n":1,"max_tokens_per_doc":9}"#,
            ),
        ];
        let mut dropping = ParamPolicy::default();
        dropping.drop_params = true;
        for (wording, model, expected) in cases {
            // Google's has no bound of a document.
            let policy = if wording == Wording::RankRecords { &dropping } else { &ParamPolicy::default() };
            assert_eq!(encoded(wording, model, policy, json).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn google_ranks_two_hundred_documents_and_reads_them_as_far_as_it_likes() {
        let of = |count: usize, more: &str| {
            let json = format!(r#"{{"query":"q","documents":[{}]{more}}}"#, vec![r#""a""#; count].join(","));
            encoded(Wording::RankRecords, "m", &ParamPolicy::default(), &json)
        };
        assert!(of(200, "").is_ok());
        let message = "this model's provider ranks at most 200 documents";
        assert_eq!(of(201, ""), Err(Refused::invalid(message, "documents")));
        let refused = of(1, r#","max_tokens_per_doc":9,"records":[]"#);
        let names = ["max_tokens_per_doc", "records"].map(str::to_owned).to_vec();
        assert_eq!(refused, Err(Refused::Unsupported(names)));
    }

    #[test]
    fn what_has_no_place_is_refused_by_name_or_dropped() {
        let unsupported =
            |names: &[&str]| Err(Refused::Unsupported(names.iter().map(|name| (*name).to_owned()).collect()));
        let json = r#"{"query":"q","documents":["a"],"max_chunks_per_doc":9,"truncation":true,"x":null}"#;
        let mut policy = ParamPolicy::default();
        assert_eq!(encoded(Wording::Rerank, "m", &policy, json), unsupported(&["max_chunks_per_doc"]));
        policy.drop_params = true;
        let dropped = encoded(Wording::Rerank, "m", &policy, json);
        assert_eq!(
            dropped.as_deref(),
            Ok(r#"{"model":"m","query":"q","documents":["a"],"truncation":true}"#)
        );
        // What would stand where ours does, no policy drops.
        let ours = r#"{"query":"q","documents":["a"],"top_k":9}"#;
        assert_eq!(encoded(Wording::RerankTopK, "m", &policy, ours), unsupported(&["top_k"]));
        assert!(matches!(encoded(Wording::OllamaEmbed, "m", &policy, json), Err(Refused::Invalid { .. })));
    }
}

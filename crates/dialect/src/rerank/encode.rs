//! The request, in the words of rerankers.

use ziggurat_core::Wording;

use super::Request;
use crate::{
    Encoding, Refused,
    encode::{Fate, UNHEARD, Verdicts},
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
    let (documents, top) = match wording {
        Wording::Rerank | Wording::InvokedRerank => ("documents", "top_n"),
        Wording::RerankTopK => ("documents", "top_k"),
        Wording::RerankTexts => ("texts", ""),
        _ => return Err(Refused::invalid("this model's provider gives no rankings", "model")),
    };
    // Where the URL has the model, or the server has one alone, the body has none.
    let named = matches!(wording, Wording::Rerank | Wording::RerankTopK);
    let mut verdicts = Verdicts::new(encoding.policy);
    let ours = ["model", "query", documents, top, "api_version"];
    let extra = verdicts.passing(&request.extra, |name, _| match name {
        _ if UNHEARD.contains(&name) => Fate::Unheard,
        _ if ours.contains(&name) => Fate::Ours,
        // Of Cohere's first API.
        "max_chunks_per_doc" | "stream" => Fate::Unsupported,
        _ => Fate::Passed,
    });
    verdicts.finish()?;
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
                Wording::InvokedRerank,
                "amazon.rerank-v1:0",
                r#"{"query":"q\n","documents":["a","b"],"top_n":1,"max_tokens_per_doc":9}"#,
            ),
        ];
        for (wording, model, expected) in cases {
            assert_eq!(encoded(wording, model, &ParamPolicy::default(), json).as_deref(), Ok(expected));
        }
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

//! What vectors are for, in the words of several providers.

/// What texts are embedded for, in Google's word: callers may say it in Cohere's, or in Voyage's. What is none of theirs stays.
pub(super) fn to_google(word: &str) -> &str {
    match word {
        "search_query" | "query" => "RETRIEVAL_QUERY",
        "search_document" | "document" => "RETRIEVAL_DOCUMENT",
        "classification" => "CLASSIFICATION",
        "clustering" => "CLUSTERING",
        word => word,
    }
}

/// As [`to_google`], in Cohere's word.
pub(super) fn to_cohere(word: &str) -> &str {
    match word {
        "RETRIEVAL_QUERY" | "query" => "search_query",
        "RETRIEVAL_DOCUMENT" | "document" => "search_document",
        "CLASSIFICATION" => "classification",
        "CLUSTERING" => "clustering",
        word => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_there_and_back() {
        for cohere in ["search_query", "search_document", "classification", "clustering"] {
            assert_eq!(to_cohere(to_google(cohere)), cohere);
        }
        assert_eq!((to_google("query"), to_cohere("document")), ("RETRIEVAL_QUERY", "search_document"));
        assert_eq!(
            (to_google("CODE_RETRIEVAL_QUERY"), to_cohere("image")),
            ("CODE_RETRIEVAL_QUERY", "image")
        );
    }
}

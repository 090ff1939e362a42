//! The answers of rerankers, as Cohere's list.

use http::HeaderMap;
use serde_json::value::RawValue;
use ziggurat_core::{Convention, Usage};

use super::Request;
use crate::{
    Malformed, Text,
    embeddings::invoked_tokens,
    openai::read_input_usage,
    read::{Count, document, is_invalid, stated, wire_object},
    write::{Object, object, write_number},
};

/// The ranking that a request asks for.
#[derive(Debug)]
pub struct Ranking {
    /// How many documents there are.
    documents: usize,
    /// How many results are wanted.
    wanted: usize,
    /// The documents, where they are to be given back: each as an object.
    given: Vec<Vec<u8>>,
    results: Vec<Ranked>,
    id: Option<String>,
    /// What Cohere says beside its results, as it stands.
    meta: Option<String>,
    usage: Usage,
}

/// One result: which document, and its score as the provider has written it.
#[derive(Debug)]
struct Ranked {
    index: usize,
    score: String,
}

wire_object! {
    struct Answer {
        id: Text<'a> = "id",
        results: Vec<Item<'a>> = "results",
        // Voyage's and Fireworks'.
        data: Vec<Item<'a>> = "data",
        // Google's.
        records: Vec<Record<'a>> = "records",
        meta: &'a RawValue = "meta",
        usage: &'a RawValue = "usage",
    }
    struct Item {
        index: Count = "index",
        relevance_score: &'a RawValue = "relevance_score",
        // That of Text Embeddings Inference.
        score: &'a RawValue = "score",
    }
    struct Record { id: Text<'a> = "id", score: &'a RawValue = "score", }
    struct Meta { billed: Billed<'a> = "billed_units", tokens: Tokens<'a> = "tokens", }
    struct Billed { searches: Count = "search_units", }
    struct Tokens { input: Count = "input_tokens", }
}

// ===== impl Ranking =====

impl Ranking {
    /// For the answer to a request.
    #[must_use]
    pub fn new(request: &Request<'_>) -> Self {
        let documents = request.documents.len();
        let wanted = request
            .top_n
            .and_then(|top| usize::try_from(top).ok())
            .map_or(documents, |top| top.min(documents));
        let given = request.documents.iter().filter(|_| request.return_documents).map(|document| {
            let mut out = Vec::new();
            match document.object {
                Some(raw) => out.extend_from_slice(raw.get().as_bytes()),
                None => object(&mut out, |out| out.text("text", &document.text)),
            }
            out
        });
        Self {
            documents,
            wanted,
            given: given.collect(),
            results: Vec::new(),
            id: None,
            meta: None,
            usage: Usage::new(Convention::OPENAI),
        }
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// [`Malformed`], when it is none, speaks of documents that there are not, or ranks fewer than were asked for.
    pub fn read(&mut self, json: &str, headers: &HeaderMap) -> Result<(), Malformed> {
        // Text Embeddings Inference answers with the list alone.
        let answer = match json.trim_start().starts_with('[') {
            true => Answer { results: Some(document(json)?), ..Answer::default() },
            false => document(json)?,
        };
        let by_record = answer.records.is_some();
        let named = answer.records.map(|records| records.into_iter().map(Record::ranked).collect());
        let placed =
            answer.results.or(answer.data).map(|items| items.into_iter().map(Item::ranked).collect());
        let ranked: Vec<(Option<usize>, Option<&str>)> =
            named.or(placed).ok_or_else(|| Malformed::new("no results", ""))?;
        let mut seen = vec![false; self.documents];
        for (index, score) in ranked {
            let unseen = index.and_then(|index| Some((index, seen.get_mut(index).filter(|seen| !**seen)?)));
            let Some((index, seen)) = unseen else {
                return Err(Malformed::new("a result of no document, or of one that has one already", ""));
            };
            *seen = true;
            let is_number = |score: &&str| score.parse::<f64>().is_ok_and(f64::is_finite);
            let Some(score) = score.filter(is_number) else {
                return Err(Malformed::new("a result without a score", ""));
            };
            self.results.push(Ranked { index, score: score.to_owned() });
        }
        if self.results.len() < self.wanted {
            let message = format!("{} results where {} were asked for", self.results.len(), self.wanted);
            return Err(Malformed::new(message, ""));
        }
        self.results.truncate(self.wanted);
        self.id = answer.id.map(|id| id.decode().into_owned()).filter(|id| !id.is_empty());
        self.meta = answer.meta.map(|meta| meta.get().to_owned()).filter(|meta| meta.starts_with('{'));
        self.usage = used(answer.meta, answer.usage, headers);
        if by_record {
            // Of a hundred documents each, as its price list has it: it does not say so itself.
            self.usage.search_units = Some(self.documents.div_ceil(RECORDS_PER_SEARCH) as u64);
        }
        Ok(())
    }

    /// What the provider states of what was used.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        (!self.usage.is_empty()).then_some(self.usage)
    }

    /// The list, under `id` unless the provider gives one.
    #[must_use]
    pub fn finish(self, id: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.results.len() * 64 + 160);
        object(&mut out, |list| {
            list.str("id", self.id.as_deref().unwrap_or(id));
            list.array("results", |results| {
                for Ranked { index, score } in &self.results {
                    results.object(|result| {
                        write_number(result.key("index"), *index as u64);
                        result.json("relevance_score", score);
                        if let Some(document) = self.given.get(*index) {
                            result.key("document").extend_from_slice(document);
                        }
                    });
                }
            });
            self.write_meta(list);
        });
        out
    }

    fn write_meta(&self, list: &mut Object<'_>) {
        if let Some(meta) = &self.meta {
            return list.json("meta", meta);
        }
        let Some(tokens) = self.usage.input else { return };
        // As LiteLLM tells the tokens of rerankers that are billed by them.
        list.object("meta", |meta| {
            meta.object("billed_units", |billed| billed.number("total_tokens", tokens));
            meta.object("tokens", |told| told.number("input_tokens", tokens));
        });
    }
}

/// <https://cloud.google.com/generative-ai-app-builder/pricing>
const RECORDS_PER_SEARCH: usize = 100;

// ===== impl Item, impl Record =====

impl<'a> Item<'a> {
    /// Which document, and its score.
    fn ranked(self) -> (Option<usize>, Option<&'a str>) {
        let index = stated(self.index).and_then(|index| usize::try_from(index).ok());
        (index, self.relevance_score.or(self.score).map(RawValue::get))
    }
}

impl<'a> Record<'a> {
    /// As [`Item::ranked`]; a score of zero is left out.
    fn ranked(self) -> (Option<usize>, Option<&'a str>) {
        let index = self.id.and_then(|id| id.decode().parse().ok());
        (index, Some(self.score.map_or("0", RawValue::get)))
    }
}

fn used(meta: Option<&RawValue>, usage: Option<&RawValue>, headers: &HeaderMap) -> Usage {
    let mut counts = usage.and_then(read_input_usage).unwrap_or(Usage::new(Convention::OPENAI));
    let meta = meta.and_then(|meta| document::<Meta<'_>>(meta.get()).ok()).unwrap_or_default();
    let searches = meta.billed.and_then(|billed| billed.searches);
    let tokens = meta.tokens.and_then(|tokens| tokens.input);
    counts.search_units = stated(searches);
    counts.input = counts.input.or(stated(tokens)).or_else(|| invoked_tokens(headers));
    counts.invalid |= is_invalid(searches) || is_invalid(tokens);
    if !counts.is_empty() {
        // Nothing is written but scores.
        counts.output = Some(0);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rerank::decode_request;

    fn ranked(request: &str, answer: &str) -> Result<(String, Option<Usage>), String> {
        let mut ranking = Ranking::new(&decode_request(request).expect("reads"));
        ranking.read(answer, &HeaderMap::new()).map_err(|error| error.message)?;
        let usage = ranking.usage();
        Ok((String::from_utf8(ranking.finish("own")).expect("is UTF-8"), usage))
    }

    #[test]
    fn googles_records_are_a_search_for_each_hundred() {
        let of = |count: usize| {
            let request =
                format!(r#"{{"query":"q","documents":[{}],"top_n":1}}"#, vec![r#""a""#; count].join(","));
            let usage = ranked(&request, r#"{"records":[{"id":"0"}]}"#).expect("is one").1;
            usage.and_then(|usage| usage.search_units)
        };
        assert_eq!([of(1), of(100), of(101)], [Some(1), Some(1), Some(2)]);
        for none in [
            r#"{"records":[{"id":"3","score":1}]}"#,
            r#"{"records":[{"id":"x","score":1}]}"#,
            r#"{"records":[{"score":1}]}"#,
            r#"{"records":[{"id":"0","score":"high"}]}"#,
            r#"{"records":[{"id":"0"},{"id":"0"}]}"#,
        ] {
            assert!(ranked(THREE, none).is_err(), "{none}");
        }
    }

    const THREE: &str = r#"{"query":"q","documents":["a","b","c"],"top_n":2}"#;

    #[test]
    fn each_answer_is_told_in_coheres_words_and_scores_stay_as_they_are() {
        let tokens = r#","meta":{"billed_units":{"total_tokens":9},"tokens":{"input_tokens":9}}"#;
        let meta = r#","meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}"#;
        let cases = [
            (
                r#"{"id":"c","results":[{"index":2,"relevance_score":0.90},{"index":0,"relevance_score":1e-5}],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}}"#,
                "c",
                meta,
            ),
            (
                r#"{"model":"j","results":[{"index":2,"relevance_score":0.90,"document":{"text":"c"}},{"index":0,"relevance_score":1e-5}],"usage":{"total_tokens":9}}"#,
                "own",
                tokens,
            ),
            (
                r#"{"object":"list","data":[{"index":2,"relevance_score":0.90},{"index":0,"relevance_score":1e-5}],"usage":{"total_tokens":9}}"#,
                "own",
                tokens,
            ),
            (r#"[{"index":2,"score":0.90},{"index":0,"score":1e-5},{"index":1,"score":1e-6}]"#, "own", ""),
            (r#"{"records":[{"id":"2","score":0.90},{"id":"0","score":1e-5}]}"#, "own", ""),
        ];
        for (answer, id, end) in cases {
            let expected = format!(
                r#"{{"id":"{id}","results":[{{"index":2,"relevance_score":0.90}},{{"index":0,"relevance_score":1e-5}}]{end}}}"#
            );
            assert_eq!(ranked(THREE, answer).map(|told| told.0), Ok(expected), "{answer}");
        }
    }

    #[test]
    fn documents_are_given_back_where_they_are_wanted() {
        let request = r#"{"query":"q","documents":["a\n",{"text":"b","id":7}],"return_documents":true}"#;
        let answer = r#"{"results":[{"index":1,"relevance_score":1},{"index":0,"relevance_score":0}]}"#;
        assert_eq!(
            ranked(request, answer).map(|told| told.0).as_deref(),
            Ok(concat!(
                r#"{"id":"own","results":[{"index":1,"relevance_score":1,"document":{"text":"b","id":7}},"#,
                r#"{"index":0,"relevance_score":0,"document":{"text":"a\n"}}]}"#
            ))
        );
    }

    #[test]
    fn what_was_used_is_read_where_it_is_stated() {
        let usage = |beside: &str| {
            let answer = format!(
                r#"{{"results":[{{"index":0,"relevance_score":1}},{{"index":1,"relevance_score":1}}]{beside}}}"#
            );
            let usage = ranked(THREE, &answer).expect("reads").1?;
            Some((usage.input, usage.search_units, usage.output, usage.invalid))
        };
        let cases = [
            ("", None),
            (r#","meta":{"billed_units":{"search_units":3}}"#, Some((None, Some(3), Some(0), false))),
            (
                r#","meta":{"billed_units":{"search_units":1},"tokens":{"input_tokens":5}}"#,
                Some((Some(5), Some(1), Some(0), false)),
            ),
            (r#","usage":{"total_tokens":7,"prompt_tokens":6}"#, Some((Some(6), None, Some(0), false))),
            (r#","meta":{"billed_units":{"search_units":-1}}"#, Some((None, None, Some(0), true))),
        ];
        for (beside, expected) in cases {
            assert_eq!(usage(beside), expected, "{beside}");
        }
    }

    #[test]
    fn what_is_no_ranking_of_the_documents_is_an_error() {
        let one = |result: &str| format!(r#"{{"results":[{{"index":0,"relevance_score":1}},{result}]}}"#);
        let no_document = "a result of no document, or of one that has one already";
        let cases = [
            (r#"{"message":"no"}"#.to_owned(), "no results"),
            (
                r#"{"results":[{"index":0,"relevance_score":1}]}"#.to_owned(),
                "1 results where 2 were asked for",
            ),
            ("[]".to_owned(), "0 results where 2 were asked for"),
            (one(r#"{"index":0,"relevance_score":1}"#), no_document),
            (one(r#"{"index":3,"relevance_score":1}"#), no_document),
            (one(r#"{"relevance_score":1}"#), no_document),
            (one(r#"{"index":1}"#), "a result without a score"),
            (one(r#"{"index":1,"relevance_score":"high"}"#), "a result without a score"),
        ];
        for (answer, message) in cases {
            assert_eq!(ranked(THREE, &answer), Err(message.to_owned()), "{answer}");
        }
    }
}

//! What is asked in other words is answered again: within the partition, above the threshold, and never beyond.

mod support;

use std::sync::{Arc, Mutex};

use http::{Extensions, Response};
use serde_json::{Value, json};
use tower::Layer;
use ziggurat_cache::{CacheLayer, Embedder, Embedding, Semantic, SemanticCounts, Share, Trigrams};
use ziggurat_core::Body;

use crate::support::*;

#[tokio::test]
async fn a_question_in_other_words_gets_the_same_answer_and_is_embedded_once() {
    let (upstream, embedder) = (numbered(), Counting::default());
    let semantic = semantic(embedder.clone());
    let service = with(&upstream, &semantic);
    let first = ask(&service, chat(&user(CAPITAL))).await;
    assert_eq!((first.cache, embedder.calls()), (MISS, 1));
    let found = ask(&service, chat(&user(CAPITAL_TOO))).await;
    assert_eq!((found.cache, &found.body, embedder.calls()), (HIT, &first.body, 2));
    let (first, found) = (first.lookup.expect("was asked"), found.lookup.expect("was asked"));
    let score = found.score.expect("is another's");
    assert!((0.7..0.95).contains(&score), "{score}");
    assert_eq!((first.score, found.key), (None, first.key));
    // The same words need no embedding.
    let again = ask(&service, chat(&user(CAPITAL))).await;
    assert_eq!((again.cache, again.lookup.expect("was asked").score, embedder.calls()), (HIT, None, 2));
    assert_eq!(ask(&service, chat(&user(EGG))).await.cache, MISS);
    assert_eq!((upstream.calls(), embedder.calls()), (2, 3));
    let mut counts = SemanticCounts::default();
    (counts.asked, counts.hits) = (3, 1);
    assert_eq!(semantic.counts(), counts);
}

#[tokio::test]
async fn it_says_that_the_answer_is_to_another_question() {
    let service = with(&numbered(), &semantic(Trigrams::new(384)));
    ask(&service, chat(&user(CAPITAL))).await;
    let Ok(response) = tower::ServiceExt::oneshot(service, chat(&user(CAPITAL_TOO))).await;
    assert_eq!(response.headers()["cache-status"], "ziggurat; hit; detail=similar");
    assert_eq!(response.headers()["age"], "0");
}

#[test]
fn a_threshold_is_a_cosine() {
    for threshold in [-0.1, 1.01, f32::NAN, f32::INFINITY] {
        let refused = Semantic::new(Same, threshold).expect_err("is none");
        assert_eq!(refused.to_string(), format!("a threshold of similarity is from 0 to 1, not {threshold}"));
    }
    assert!(Semantic::new(Same, 0.0).is_ok() && Semantic::new(Same, 1.0).is_ok());
}

/// With an embedder that says that all texts are equal.
#[tokio::test]
async fn whatever_else_differs_is_another_partition() {
    let image = |data: &str| {
        json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}},
        ]}]})
    };
    let turns = |system: &str, before: &str, answer: &str, last: &str| {
        json!({"messages": [
            {"role": "system", "content": system}, {"role": "user", "content": before},
            {"role": "assistant", "content": answer}, {"role": "user", "content": last},
        ]})
    };
    let and = |mut fields: Value, more: Value| {
        merge(&mut fields, &more);
        fields
    };
    let tool = |name: &str| json!({"tools": [{"type": "function", "function": {"name": name}}]});
    let cases = [
        user("a"),
        and(user("a"), json!({"model": "other"})),
        and(user("a"), json!({"temperature": 0.5})),
        and(user("a"), json!({"temperature": 0.6})),
        and(user("a"), json!({"never_heard_of": 1})),
        and(user("a"), json!({"user": "u"})),
        and(user("a"), json!({"response_format": {"type": "json_object"}})),
        and(user("a"), json!({"cache": {"namespace": "n"}})),
        and(user("a"), tool("f")),
        and(user("a"), tool("g")),
        image("AAAA"),
        image("BBBB"),
        turns("s", "b", "c", "a"),
        turns("t", "b", "c", "a"),
        turns("s", "d", "c", "a"),
        turns("s", "b", "d", "a"),
        json!({"messages": [{"role": "user", "content": "a", "name": "me"}]}),
        json!({"messages": [{"role": "user", "content": "a"}, {"role": "developer", "content": "x"}]}),
        json!({"messages": [{"role": "user", "content": "a"}, {"role": "developer", "content": "y"}]}),
        user("route 66"),
        user("route 67"),
        user("not"),
    ];
    let upstream = numbered();
    let service = with(&upstream, &semantic(Same));
    for (number, fields) in cases.iter().enumerate() {
        let answered = ask(&service, by(chat(fields), "t", "k")).await;
        assert_eq!((answered.cache, said(&answered)), (MISS, format!("no {number}")), "{fields}");
    }
    // In other words each finds its own.
    for (number, fields) in cases.iter().enumerate() {
        let asked = fields
            .to_string()
            .replace("\"a\"", "\"something else\"")
            .replace("route", "road")
            .replace("not", "I never did");
        let fields: Value = serde_json::from_str(&asked).expect("is JSON");
        let answered = ask(&service, by(chat(&fields), "t", "k")).await;
        assert_eq!((answered.cache, said(&answered)), (HIT, format!("no {number}")), "{fields}");
        assert_eq!(answered.lookup.expect("was asked").score, Some(1.0));
    }
    // A header that decides, another team, another version.
    let mut request = by(chat(&user("b")), "t", "k");
    request.headers_mut().insert("openai-beta", "x".parse().expect("is a value"));
    assert_eq!(ask(&service, request).await.cache, MISS);
    assert_eq!(ask(&service, by(chat(&user("b")), "u", "k")).await.cache, MISS);
}

#[tokio::test]
async fn layers_that_share_an_index_are_apart_by_version_and_embedder() {
    let (upstream, semantic) = (numbered(), semantic(Same));
    let store = Arc::new(ziggurat_cache::MemoryStore::new(1 << 20));
    let index = Arc::new(ziggurat_cache::FlatIndex::new(1 << 20));
    let layer = |version: &'static str, semantic: &Semantic| {
        let semantic = semantic.clone().index(Arc::clone(&index));
        let layer = CacheLayer::new(Arc::clone(&store)).clock(Manual::default().clock()).version(version);
        layer.semantic(semantic).layer(upstream.service())
    };
    assert_eq!(ask(&layer("1", &semantic), chat(&user("a"))).await.cache, MISS);
    assert_eq!(ask(&layer("2", &semantic), chat(&user("b"))).await.cache, MISS);
    assert_eq!(ask(&layer("1", &semantic), chat(&user("c"))).await.cache, HIT);
    struct Renamed;
    impl Embedder for Renamed {
        fn name(&self) -> &str {
            "renamed"
        }

        fn embed(&self, text: &str, call: &Extensions) -> Embedding {
            Same.embed(text, call)
        }
    }
    let renamed = Semantic::new(Renamed, 0.7).expect("is a threshold");
    assert_eq!(ask(&layer("1", &renamed), chat(&user("d"))).await.cache, MISS);
}

#[tokio::test]
async fn earlier_turns_are_compared_by_meaning_where_it_is_said() {
    let turns = |before: &str, answer: &str, last: &str| {
        json!({"messages": [
            {"role": "user", "content": before}, {"role": "assistant", "content": answer}, {"role": "user", "content": last},
        ]})
    };
    let first =
        turns("Tell me about the city of Paris", "Paris is in France.", "How many people live there?");
    let reworded =
        turns("tell me about Paris, the city", "Paris is in France!", "how many people live there");
    let lyon = turns("Quick question for a school project", "Go on.", "How many people live there?");
    let upstream = numbered();
    let (exact, digest) = (semantic(Trigrams::new(384)), semantic(Trigrams::new(384)).earlier_turns());
    for (semantic, cache) in [(&exact, MISS), (&digest, HIT)] {
        let service = with(&upstream, semantic);
        ask(&service, chat(&first)).await;
        assert_eq!(ask(&service, chat(&reworded)).await.cache, cache);
        assert_eq!(ask(&service, chat(&lyon)).await.cache, MISS);
    }
    // What there is no room for has to be equal.
    let short = semantic(Trigrams::new(384)).earlier_turns().max_text(80);
    let service = with(&upstream, &short);
    ask(&service, chat(&first)).await;
    assert_eq!(ask(&service, chat(&reworded)).await.cache, MISS);
    let same_before =
        turns("Tell me about the city of Paris", "Paris is in France!", "How many people live there?");
    assert_eq!(ask(&service, chat(&same_before)).await.cache, HIT);
}

/// What the embedder is given, of conversations that would be one if their roles were left out.
#[tokio::test]
async fn the_digest_says_who_said_what() {
    #[derive(Clone, Default)]
    struct Noting(Arc<Mutex<Vec<String>>>);
    impl Embedder for Noting {
        fn name(&self) -> &str {
            "noting"
        }

        fn embed(&self, text: &str, call: &Extensions) -> Embedding {
            self.0.lock().expect("is sound").push(text.to_owned());
            Same.embed(text, call)
        }
    }
    let noting = Noting::default();
    let service = with(&numbered(), &semantic(noting.clone()).earlier_turns());
    let one = json!({"messages": [
        {"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b\"\n"},
        {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]},
    ]});
    let other = json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a\nassistant: b\"\n\nuser: c\nd"}]});
    ask(&service, chat(&one)).await;
    assert_eq!(ask(&service, chat(&other)).await.cache, MISS);
    assert_eq!(
        *noting.0.lock().expect("is sound"),
        ["user: a\nassistant: b\"\n\nuser: c\nd", "a\nassistant: b\"\n\nuser: c\nd"]
    );
}

#[tokio::test]
async fn every_dialect_of_conversations_is_looked_up_and_nothing_else() {
    let message = json!({
        "id": "msg", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 2},
    });
    let response = json!({
        "id": "resp_1", "object": "response", "status": "completed", "model": "m",
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    });
    let content = json!({
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}, "modelVersion": "m",
    });
    let text_completion = json!({
        "id": "cmpl", "object": "text_completion", "created": 7, "model": "m",
        "choices": [{"index": 0, "text": "Hi", "logprobs": null, "finish_reason": "stop"}],
    });
    type Make = fn(&str, &str) -> Value;
    let messages: Make = |system, text| json!({"model": "m", "max_tokens": 9, "system": system, "messages": [{"role": "user", "content": text}]});
    let input: Make = |system, text| json!({"model": "m", "instructions": system, "input": text});
    let items: Make = |system, text| {
        json!({"model": "m", "input": [
            {"role": "developer", "content": system}, {"role": "user", "content": [{"type": "input_text", "text": text}]},
        ]})
    };
    let contents: Make = |system, text| json!({"systemInstruction": {"parts": [{"text": system}]}, "contents": [{"role": "user", "parts": [{"text": text}]}]});
    let prompt: Make = |_, text| json!({"model": "m", "prompt": text});
    let cases = [
        ("/v1/messages", messages, &message, HIT),
        ("/v1/responses", input, &response, HIT),
        ("/v1/responses", items, &response, HIT),
        ("/v1beta/models/m:generateContent", contents, &content, HIT),
        ("/v1/completions", prompt, &text_completion, MISS),
    ];
    for (path, body, answer, cache) in cases {
        let (answer, embedder) = (answer.clone(), Counting::default());
        let upstream = Upstream::new(move |_| whole(&answer));
        let service = with(&upstream, &semantic(embedder.clone()));
        assert_eq!(ask(&service, post(path, &body("s", CAPITAL))).await.cache, MISS, "{path}");
        assert_eq!(ask(&service, post(path, &body("s", CAPITAL_TOO))).await.cache, cache, "{path}");
        assert_eq!(
            ask(&service, post(path, &body("t", CAPITAL_TOO))).await.cache,
            if cache == HIT { MISS } else { HIT }
        );
        assert_eq!(embedder.calls(), if cache == HIT { 3 } else { 0 }, "{path}");
    }
}

#[tokio::test]
async fn what_says_nothing_in_words_or_too_much_is_not_looked_up() {
    let embedder = Counting::default();
    let service = with(&numbered(), &semantic(embedder.clone()).max_text(20));
    let call = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    for fields in [
        json!({"messages": [{"role": "user", "content": "a"}, call, {"role": "tool", "tool_call_id": "c", "content": "12"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}]}),
        json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
        json!({"messages": [{"role": "system", "content": "a"}]}),
        user(" \n"),
        user("twenty-one characters"),
    ] {
        assert_eq!(ask(&service, chat(&fields)).await.cache, MISS, "{fields}");
        assert_eq!(ask(&service, chat(&fields)).await.cache, HIT, "{fields}");
    }
    let results = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "12"}]}]});
    ask(&service, post("/v1/messages", &results)).await;
    assert_eq!(embedder.calls(), 0);
    ask(&service, chat(&user("twenty characters ok"))).await;
    assert_eq!(embedder.calls(), 1);
}

#[tokio::test]
async fn a_stream_gives_what_a_whole_answer_stored_and_the_other_way_round() {
    let streamed = |text: &str| {
        let mut fields = user(text);
        merge(&mut fields, &json!({"stream": true}));
        chat(&fields)
    };
    let service = with(&Upstream::new(|_| whole(&completion("Paris"))), &semantic(Trigrams::new(384)));
    ask(&service, chat(&user(CAPITAL))).await;
    let told = ask(&service, streamed(CAPITAL_TOO)).await;
    assert_eq!((told.cache, &*told.kind), (HIT, "text/event-stream"));
    assert!(told.body.contains(r#""content":"Paris""#) && told.body.ends_with(DONE));
    assert!(!told.body.contains("completion_tokens"), "nobody asked for its usage");

    let service = with(&Upstream::new(|_| events(stream(&["Par", "is"]))), &semantic(Trigrams::new(384)));
    assert_eq!(ask(&service, streamed(CAPITAL)).await.cache, MISS);
    let together = ask(&service, chat(&user(CAPITAL_TOO))).await;
    assert_eq!((together.cache, said(&together)), (HIT, "Paris".to_owned()));
}

fn calls_a_tool() -> Value {
    let mut answer = completion("");
    answer["choices"][0]["message"]["tool_calls"] =
        json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    answer["choices"][0]["finish_reason"] = "tool_calls".into();
    answer
}

#[tokio::test]
async fn calls_of_tools_are_given_to_the_same_question_alone() {
    let service = with(&Upstream::new(|_| whole(&calls_a_tool())), &semantic(Same));
    for text in ["a", "b"] {
        assert_eq!(ask(&service, chat(&user(text))).await.cache, MISS);
        assert_eq!(ask(&service, chat(&user(text))).await.cache, HIT);
    }
    // Also where the question was answered in words before.
    let upstream = Upstream::new(|number| whole(&if number == 0 { completion("x") } else { calls_a_tool() }));
    let service = with(&upstream, &semantic(Same));
    assert_eq!(ask(&service, chat(&user("a"))).await.cache, MISS);
    let mut anew = user("a");
    merge(&mut anew, &json!({"cache": {"no-cache": true}}));
    assert_eq!(ask(&service, chat(&anew)).await.cache, MISS);
    assert_eq!(ask(&service, chat(&user("b"))).await.cache, MISS);
}

#[tokio::test]
async fn what_exact_does_not_keep_is_not_found() {
    let mut cut = completion("x");
    cut["choices"][0]["finish_reason"] = "length".into();
    let service = with(&Upstream::new(move |_| whole(&cut)), &semantic(Same));
    for text in ["a", "b"] {
        assert_eq!(ask(&service, chat(&user(text))).await.cache, MISS);
    }
    let refused = Upstream::new(|_| Response::builder().status(500).body(Body::from("{}")).expect("is one"));
    let service = with(&refused, &semantic(Same));
    for text in ["a", "b"] {
        assert_eq!(ask(&service, chat(&user(text))).await.status, 500);
    }
    assert_eq!(refused.calls(), 2);
}

#[tokio::test]
async fn controls_hold() {
    let (upstream, time, embedder) = (numbered(), Manual::default(), Counting::default());
    let semantic = semantic(embedder.clone());
    let service = layer(&time).semantic(semantic).layer(upstream.service());
    let said = |text: &str, cache: Value| {
        let mut fields = user(text);
        merge(&mut fields, &json!({"cache": cache}));
        chat(&fields)
    };
    assert_eq!(ask(&service, said(CAPITAL, json!({"no-store": true}))).await.cache, MISS);
    assert_eq!(ask(&service, said(CAPITAL_TOO, json!({"ttl": 30}))).await.cache, MISS, "nothing was left");
    time.pass(20);
    assert_eq!(ask(&service, said(CAPITAL, json!({"s-maxage": 19}))).await.cache, MISS);
    assert_eq!(embedder.calls(), 3);
    let aged = ask(&service, said("The capital of France, what is it?", json!({"s-maxage": 20}))).await;
    assert_eq!(aged.cache, HIT);
    let unasked = said(CAPITAL_TOO, json!({"no-cache": true, "no-store": true}));
    assert_eq!((ask(&service, unasked).await.cache, embedder.calls()), (MISS, 4));
    let anew = ask(&service, said("what is the capital of France", json!({"no-cache": true}))).await;
    assert_eq!((anew.cache, anew.lookup.expect("was asked").score), (MISS, None));
    // It left its own.
    time.pass(590);
    let found = ask(&service, said("and what is the capital of France", json!({}))).await;
    assert_eq!(found.cache, HIT);
    time.pass(11);
    assert_eq!(
        ask(&service, said("but what is the capital of France", json!({}))).await.cache,
        MISS,
        "all have expired"
    );
}

#[tokio::test]
async fn an_answer_that_is_gone_is_a_miss_and_its_question_goes() {
    use ziggurat_cache::{FlatIndex, MemoryStore, Store};
    let (store, index) = (Arc::new(MemoryStore::new(1 << 20)), Arc::new(FlatIndex::new(1 << 20)));
    let semantic = semantic(Same).index(Arc::clone(&index));
    let layer = CacheLayer::new(Arc::clone(&store)).clock(Manual::default().clock()).semantic(semantic);
    let service = layer.layer(numbered().service());
    ask(&service, chat(&user("a"))).await;
    assert_eq!(index.len(), 1);
    drop(store.clear());
    assert_eq!(
        ask(
            &service,
            chat(&{
                let mut fields = user("b");
                merge(&mut fields, &json!({"cache": {"no-store": true}}));
                fields
            })
        )
        .await
        .cache,
        MISS
    );
    assert_eq!(index.len(), 0);
}

#[tokio::test]
async fn those_who_ask_the_same_at_once_share_one_call() {
    let (piped, embedder) = (Piped::default(), Counting::default());
    let body = piped.clone();
    let upstream = Upstream::new(move |_| Response::new(body.body()));
    let service = with(&upstream, &semantic(embedder.clone()));
    let asked = || tower::ServiceExt::oneshot(service.clone(), chat(&user(CAPITAL)));
    let Ok(first) = asked().await;
    let Ok(second) = asked().await;
    piped.send(completion("Paris").to_string());
    piped.end();
    let (first, second) = (read_body(first.into_body()).await.0, read_body(second.into_body()).await.0);
    assert_eq!(first, second);
    assert_eq!((upstream.calls(), embedder.calls()), (1, 1));
    assert_eq!(ask(&service, chat(&user(CAPITAL_TOO))).await.cache, HIT);
}

mod apart {
    use proptest::prelude::*;

    use super::*;

    /// A caller: who it is, and what it makes up.
    #[derive(Clone, Debug)]
    struct Caller {
        team: usize,
        key: usize,
        namespace: Option<usize>,
        forged: Value,
        words: usize,
    }

    fn callers() -> impl Strategy<Value = Vec<Caller>> {
        let forged = prop_oneof![
            Just(json!({})),
            Just(json!({"metadata": {"user_api_key_team_id": "team 0", "team": "team 0"}})),
            Just(json!({"user": "team 0"})),
            Just(json!({"litellm_metadata": {"user_api_key": "key 0", "namespace": "n0"}})),
            Just(json!({"cache_key": "x", "tenant": "team 0"})),
        ];
        let caller = (0..3_usize, 0..3_usize, prop::option::of(0..2_usize), forged, 0..4_usize)
            .prop_map(|(team, key, namespace, forged, words)| Caller { team, key, namespace, forged, words });
        prop::collection::vec(caller, 2..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// An answer says for whom it was made: nobody else of another tenant or namespace gets it, by whatever words.
        #[test]
        fn no_tenant_gets_anothers_answer(callers in callers(), by_team: bool) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runs");
            runtime.block_on(async {
                let answer = Arc::new(Mutex::new(String::new()));
                let told = Arc::clone(&answer);
                let upstream = Upstream::new(move |_| whole(&completion(&told.lock().expect("is sound"))));
                let share = if by_team { Share::Team } else { Share::Key };
                let layer = layer(&Manual::default()).share(share).semantic(semantic(Same));
                let service = layer.layer(upstream.service());
                for caller in &callers {
                    let tenant = if by_team { caller.team } else { caller.key };
                    let own = format!("of {tenant} in {:?} with {}", caller.namespace, caller.forged);
                    answer.lock().expect("is sound").clone_from(&own);
                    let mut fields = user(["a", "b", "c", "d"][caller.words]);
                    merge(&mut fields, &caller.forged);
                    if let Some(namespace) = caller.namespace {
                        merge(&mut fields, &json!({"cache": {"namespace": format!("n{namespace}"), "team": "team 0"}}));
                    }
                    let request = by(chat(&fields), &format!("team {}", caller.team), &format!("key {}", caller.key));
                    let answered = ask(&service, request).await;
                    let said = said(&answered);
                    prop_assert!(
                        said.starts_with(&format!("of {tenant} in {:?} ", caller.namespace)),
                        "{said} was given to {own}"
                    );
                }
                Ok(())
            })?;
        }
    }
}

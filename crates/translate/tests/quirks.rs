//! Providers whose requests differ from those of their dialect.

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use ziggurat_core::{Dialect, Outcome, ParamPolicy, Quirks, Target, Thoughts};

use crate::support::*;

const CAP: (&str, &str) = ("max_completion_tokens", "max_tokens");

fn differing(renames: &[(&str, &str)], refuses: &[&str]) -> Target {
    let mut quirks = Quirks::default();
    quirks.renames = renames.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    quirks.refuses = refuses.iter().map(|name| (*name).to_owned()).collect();
    target(OPENAI).quirks(quirks)
}

fn policy(drop_params: bool, allowed: &[&str], dropped: &[&str]) -> ParamPolicy {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut policy = ParamPolicy::default();
    policy.drop_params = drop_params;
    policy.allowed_openai_params = owned(allowed);
    policy.additional_drop_params = owned(dropped);
    policy
}

fn chat(members: &str) -> String {
    format!(
        "{{ \"model\" : \"gpt\",{members}\"messages\" : [ {{\"role\":\"user\",\"content\":\"seed, \\u00e9 max_tokens\"}} ] }}"
    )
}

async fn ask(target: Target, members: &str) -> Exchange {
    exchange(target, post(OPENAI, chat(members)), support::json(answer(OPENAI))).await
}

async fn sent(target: Target, members: &str) -> String {
    ask(target, members).await.sent().body.clone()
}

#[tokio::test]
async fn a_renamed_parameter_changes_its_name_and_nothing_else() {
    let cases = [
        ("\n\"max_completion_tokens\" : 9 ,", "\n\"max_tokens\" : 9 ,"),
        (
            r#" "x":{"max_completion_tokens":1}, "max_completion_tokens":2,"#,
            r#" "x":{"max_completion_tokens":1}, "max_tokens":2,"#,
        ),
        (r#""max_completion\u005ftokens":2,"#, r#""max_tokens":2,"#),
        (r#""max_completion_tokens":null,"#, r#""max_tokens":null,"#),
        (r#""max_tokens":3,"seed":1,"#, r#""max_tokens":3,"seed":1,"#),
        (r#""seed":1,"max_completion_tokensx":3,"#, r#""seed":1,"max_completion_tokensx":3,"#),
    ];
    for (members, expected) in cases {
        assert_eq!(sent(differing(&[CAP], &[]), members).await, chat(expected), "{members}");
    }
}

#[tokio::test]
async fn several_renames_go_to_their_own_places() {
    let target = differing(&[CAP, ("seed", "random_seed"), ("user", "\"u\"")], &[]);
    let members = r#""user":"a","seed":1,"max_completion_tokens":2,"#;
    assert_eq!(sent(target, members).await, chat(r#""\"u\"":"a","random_seed":1,"max_tokens":2,"#));
    // What the gateway does not know may stand twice.
    let twice = differing(&[("x", "longer")], &[]);
    assert_eq!(sent(twice, r#""x":1,"x":2,"#).await, chat(r#""longer":1,"longer":2,"#));
}

/// These would take minutes if each cost a walk of the body.
#[tokio::test]
async fn a_name_that_stands_a_hundred_thousand_times_goes_in_one_pass() {
    let many = |name: &str| format!("\"{name}\":null,").repeat(100_000);
    let dropping = differing(&[], &["bad"]).policy(policy(true, &[], &[]));
    assert_eq!(sent(dropping, &many("bad")).await, chat(""));
    assert_eq!(sent(differing(&[("x", "longer")], &[]), &many("x")).await, chat(&many("longer")));
    let with_options = format!(r#""stream":true,"stream_options":{{{}"x":1}},"#, many("include_usage"));
    let dropping = target(OPENAI).policy(policy(false, &[], &["stream_options.include_usage"]));
    let expected = chat(r#""stream":true,"stream_options":{"x":1},"#);
    assert_eq!(sent(dropping, &with_options).await, expected);
}

#[tokio::test]
async fn both_names_of_one_parameter_must_not_contradict_each_other() {
    let refused = ask(differing(&[CAP], &[]), r#""max_tokens":3,"max_completion_tokens":4,"#).await;
    assert!(refused.sent.is_none());
    let error = &refused.json()["error"];
    assert_eq!((refused.status.as_u16(), &error["param"]), (400, &json!("max_completion_tokens")));
    assert_eq!(
        error["message"],
        "`max_completion_tokens` and `max_tokens` are one parameter to this provider: give one of them"
    );
    let cases = [
        (r#""max_tokens":3,"max_completion_tokens":3,"#, r#""max_tokens":3,"#),
        (r#""max_tokens":3,"max_completion_tokens":null,"#, r#""max_tokens":3,"#),
        (r#""max_tokens":null,"max_completion_tokens":3,"#, r#""max_tokens":3,"#),
    ];
    for (members, expected) in cases {
        assert_eq!(sent(differing(&[CAP], &[]), members).await, chat(expected), "{members}");
    }
}

#[tokio::test]
async fn a_default_does_not_stand_beside_the_callers_other_name() {
    for name in ["max_tokens", "max_completion_tokens"] {
        let target = || differing(&[CAP], &[]).defaults([(name.to_owned(), "100".to_owned())]);
        for given in ["max_tokens", "max_completion_tokens"] {
            let body = sent(target(), &format!("\"{given}\":7,")).await;
            assert_eq!(body, chat(r#""max_tokens":7,"#), "{name} {given}");
        }
        let body = sent(target(), "").await;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["max_tokens"], 100, "{body}");
        assert!(!body.contains("max_completion_tokens"), "{body}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_refused_is_named_in_a_400() {
    let exchange = ask(
        differing(&[CAP], &["logprobs", "top_logprobs", "seed"]),
        r#""top_logprobs":2,"logprobs":true,"max_completion_tokens":1,"#,
    )
    .await;
    assert!(exchange.sent.is_none());
    let error = &exchange.json()["error"];
    assert_eq!(
        (exchange.status.as_u16(), &error["param"], &error["code"]),
        (400, &json!("logprobs"), &json!("unsupported_parameter"))
    );
    assert_eq!(
        error["message"],
        "this model does not support `logprobs`, `top_logprobs`; set `drop_params` to leave out what can be left out, or name it in `allowed_openai_params` to pass it on"
    );
}

#[tokio::test]
async fn drop_params_leaves_it_out_and_allowed_openai_params_passes_it_on() {
    let target = |policy| differing(&[CAP], &["logprobs", "seed"]).policy(policy);
    let members = r#" "seed":7 , "logprobs":true,"max_completion_tokens":1, "x" : [ ],"#;
    let dropped = sent(target(policy(true, &[], &[])), members).await;
    assert_eq!(dropped, chat(r#""max_tokens":1, "x" : [ ],"#));
    let passed = sent(target(policy(true, &["seed"], &[])), members).await;
    assert_eq!(passed, chat(r#" "seed":7,"max_tokens":1, "x" : [ ],"#));
    let passed = sent(target(policy(false, &["seed", "logprobs"], &[])), members).await;
    assert_eq!(passed, chat(&members.replace("max_completion_tokens", "max_tokens")));
    // What goes in any case is not asked for.
    let gone = sent(target(policy(false, &[], &["seed", "logprobs"])), members).await;
    assert!(!gone.contains("\"seed\"") && !gone.contains("logprobs"), "{gone}");
    // What is null asks for nothing; what stands within others is theirs.
    let untouched = r#""metadata":{"seed":1},"#;
    assert_eq!(
        sent(target(policy(false, &[], &[])), &format!(r#""seed":null,{untouched}"#)).await,
        chat(untouched)
    );
}

#[tokio::test]
async fn the_translated_body_is_fitted_too() {
    let from_anthropic = async |target: Target, members: &str| {
        let body = format!(
            r#"{{"model":"alias","max_tokens":9,{members}"messages":[{{"role":"user","content":"Hi"}}]}}"#
        );
        exchange(target, post(ANTHROPIC, body), support::json(answer(OPENAI))).await
    };
    let target = || differing(&[("max_tokens", "cap"), ("stop", "ends")], &["user", "seed"]);
    let sent = from_anthropic(target(), r#""stop_sequences":["x"],"#).await.sent().json();
    assert_eq!((&sent["cap"], &sent["ends"]), (&json!(9), &json!(["x"])));
    assert_eq!((sent.get("max_tokens"), sent.get("stop")), (None, None));

    let members = r#""metadata":{"user_id":"u"},"#;
    let refused = from_anthropic(target(), members).await;
    assert!(refused.sent.is_none());
    assert_eq!((refused.status.as_u16(), &refused.json()["type"]), (400, &json!("error")));
    assert!(refused.json()["error"]["message"].to_string().contains("does not support `user`"));
    let sent = from_anthropic(target().policy(policy(true, &[], &[])), members).await.sent().json();
    assert_eq!((sent.get("user"), &sent["cap"]), (None, &json!(9)));
    let sent = from_anthropic(target().policy(policy(true, &["user"], &[])), members).await.sent().json();
    assert_eq!((&sent["user"], &sent["cap"]), (&json!("u"), &json!(9)));
}

#[tokio::test]
async fn usage_is_not_asked_for_where_it_comes_unasked() {
    let mut quirks = Quirks::default();
    quirks.no_stream_options = true;
    let target = || target(OPENAI).quirks(quirks.clone());
    for (caller, members) in
        [(OPENAI, ""), (OPENAI, r#""stream_options":{"include_usage":true},"#), (ANTHROPIC, "")]
    {
        let hello = hello(caller, true).replacen('{', &format!("{{{members}"), 1);
        let mut request = post(caller, hello.clone());
        let recorder: Arc<Recorder> = Default::default();
        let end = recorder.join(&mut request);
        let exchange = exchange(target(), request, events([Step::data(stream(OPENAI))])).await;
        drop(end);
        let sent = &exchange.sent().body;
        assert!(!sent.contains("stream_options") && sent.contains(r#""stream":true"#), "{sent}");
        assert_eq!(recorder.ends()[0][0].usage.and_then(|usage| usage.output), Some(5));
        if caller == OPENAI {
            assert_eq!(*sent, hello.replacen(members, "", 1).replace("alias", "gpt"));
            assert_eq!(exchange.body, stream(OPENAI));
        }
    }
    let asked = target().policy(policy(false, &["stream_options"], &[]));
    let request = post(OPENAI, chat(r#""stream":true,"stream_options":{"include_usage":true},"#));
    let exchange = exchange(asked, request, events([Step::data(stream(OPENAI))])).await;
    assert!(exchange.sent().body.contains("stream_options"));
}

#[tokio::test]
async fn mistrals_answers_are_told_in_openais_words() {
    let mut quirks = Quirks::default();
    quirks.mistral = true;
    let target = || target(OPENAI).quirks(quirks.clone());
    let content = json!([
        { "type": "thinking", "thinking": [{ "type": "text", "text": "so" }] },
        { "type": "text", "text": "Hi" },
    ]);
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8 });
    let whole = json!({
        "id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": content }, "finish_reason": "stop" }],
    });
    let told = exchange(target(), post(OPENAI, hello(OPENAI, false)), support::json(whole.to_string())).await;
    let message = &told.json()["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("Hi"), &json!("so")));

    let call = json!({ "id": "c", "function": { "name": "f", "arguments": "{}" }, "index": 0 });
    let chunk = json!({
        "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "usage": usage,
        "choices": [{ "index": 0, "delta": { "content": content, "tool_calls": [call], "new": 1 }, "finish_reason": "tool_calls" }],
    });
    let stream = format!("data: {chunk}\n\ndata: [DONE]\n\n");
    let told = exchange(target(), post(OPENAI, hello(OPENAI, true)), events([Step::data(stream)])).await;
    let body = told.body.strip_suffix("data: [DONE]\n\n").expect("ends well");
    let chunks =
        body.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").expect("is an event"));
    let chunks: Vec<Value> = chunks.map(|chunk| serde_json::from_str(chunk).expect("is JSON")).collect();
    let of = |name: &str| {
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][name].as_str()).collect::<String>()
    };
    assert_eq!((&*of("content"), &*of("reasoning_content")), ("Hi", "so"));
    let mut calls = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"].get("tool_calls"));
    assert_eq!(calls.next().expect("is told")[0]["type"], "function");
    assert!(chunks.iter().any(|chunk| chunk["choices"][0]["delta"]["new"] == 1), "{}", told.body);
    // Nobody asked for usage.
    assert!(!told.body.contains("usage"), "{}", told.body);
}

#[tokio::test]
async fn an_answer_of_mistrals_that_failed_is_no_answer() {
    let mut quirks = Quirks::default();
    quirks.mistral = true;
    let recorder: Arc<Recorder> = Arc::default();
    let mut asked = post(OPENAI, hello(OPENAI, false));
    let (_meter, end) = recorder.join(&mut asked);
    let failed = CHAT_ANSWER.replace("\"stop\"", "\"error\"");
    let told = exchange(target(OPENAI).quirks(quirks), asked, support::json(failed)).await;
    drop(end);
    let message = "the provider ended the answer with an error";
    assert_eq!((told.status.as_u16(), &told.json()["error"]["message"]), (502, &json!(message)));
    let attempt = &recorder.ends()[0][0];
    assert_eq!(
        (attempt.outcome, attempt.usage.and_then(|usage| usage.output)),
        (Some(Outcome::Failed), Some(5))
    );
}

#[tokio::test]
async fn an_answer_for_which_deepseek_lacked_capacity_is_no_answer() {
    let word = "insufficient_system_resource";
    let failed = CHAT_ANSWER.replace("\"stop\"", &format!("\"{word}\""));
    let asked = post(ANTHROPIC, hello(ANTHROPIC, false));
    assert_eq!(exchange(target(OPENAI), asked, support::json(failed)).await.status, 502);
    let stream = format!(
        "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"Hi\"}}}}]}}\n\ndata: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"{word}\"}}]}}\n\ndata: [DONE]\n\n"
    );
    let asked = post(ANTHROPIC, hello(ANTHROPIC, true));
    let told = exchange(target(OPENAI), asked, events([Step::data(stream)])).await;
    assert!(told.body.contains("Hi") && told.body.contains("event: error"), "{}", told.body);
    assert!(!told.body.contains("message_stop"), "{}", told.body);
}

#[tokio::test]
async fn a_long_name_of_a_tool_comes_back_from_mistral_as_it_was_offered() {
    let mut quirks = Quirks::default();
    quirks.mistral = true;
    let target = || target(OPENAI).quirks(quirks.clone());
    let long = "very_long_".repeat(7);
    let tools =
        json!([{ "type": "function", "function": { "name": long, "parameters": { "type": "object" } } }]);
    let ask = |stream: bool| {
        let body = json!({ "model": "alias", "stream": stream, "tools": tools, "messages": [{ "role": "user", "content": "Hi" }] });
        post(OPENAI, body.to_string())
    };
    let sent = exchange(target(), ask(false), support::json(CHAT_ANSWER)).await.sent().json();
    let short = sent["tools"][0]["function"]["name"].as_str().expect("is a name").to_owned();
    assert!(short.len() <= 64, "{short}");
    let call = json!({ "index": 0, "id": "abcdefghi", "type": "function", "function": { "name": short, "arguments": "{}" } });
    let choice = |of: &str| json!({ "index": 0, of: { "role": "assistant", "content": null, "tool_calls": [call] }, "finish_reason": "tool_calls" });
    let whole = json!({ "id": "c", "choices": [choice("message")] }).to_string();
    let told = exchange(target(), ask(false), support::json(whole)).await;
    assert_eq!(
        told.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
        *long,
        "{}",
        told.body
    );
    let streamed = format!("data: {}\n\n{DONE}", json!({ "id": "c", "choices": [choice("delta")] }));
    let told = exchange(target(), ask(true), events([Step::data(streamed)])).await;
    assert!(
        told.body.contains(&format!("\"name\":\"{long}\"")) && !told.body.contains(&short),
        "{}",
        told.body
    );
}

/// A turn that thought and called a tool, and the tool's result: in Anthropic's words, in those of Responses, and as a provider is asked.
#[tokio::test]
async fn a_provider_that_wants_thoughts_back_has_them_from_callers_of_every_dialect() {
    let mut quirks = Quirks::default();
    quirks.thoughts = Some(Thoughts::ReasoningContent);
    let target = || target(OPENAI).quirks(quirks.clone());
    let thinks = r#"{"role":"assistant","content":null,"reasoning_content":"so","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
    let messages = format!(
        r#"[{{"role":"user","content":"a"}},{thinks},{{"role":"tool","tool_call_id":"c","content":"r"}}]"#
    );
    let own = format!(r#"{{ "model":"gpt", "messages" : {messages} }}"#);
    let passed = exchange(target(), post(OPENAI, own.clone()), support::json(answer(OPENAI))).await;
    assert_eq!(passed.sent().body, own);
    let anthropic = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"so","signature":""},{"type":"tool_use","id":"c","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"r"}]}]}"#;
    let told = exchange(target(), post(ANTHROPIC, anthropic), support::json(answer(OPENAI))).await;
    assert_eq!(told.sent().body, format!(r#"{{"model":"gpt","messages":{messages},"max_tokens":5}}"#));
    let responses = r#"{"model":"m","input":[{"role":"user","content":"a"},{"type":"reasoning","id":"rs","summary":[{"type":"summary_text","text":"so"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"r"}]}"#;
    let told = exchange(target(), post(Dialect::Responses, responses), support::json(answer(OPENAI))).await;
    assert_eq!(told.sent().body, format!(r#"{{"model":"gpt","messages":{messages}}}"#));
}

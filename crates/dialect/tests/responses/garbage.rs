//! Broken documents: whatever the bytes, nothing panics, and what is written is JSON that says no name twice.

use ziggurat_core::Dialect;
use ziggurat_dialect::{
    Encoding, StreamDecoder, StreamEncoder, decode_request, decode_response, encode_request, encode_response,
};

use crate::common::{data, dropping, strict};

const ALL: [Dialect; 3] = [Dialect::Responses, Dialect::OpenAi, Dialect::Anthropic];

const SEEDS: &[&str] = &[
    r#"{"model":"m","instructions":"s","input":[{"role":"user","content":[{"type":"input_text","text":"a\u00e9"},{"type":"input_image","image_url":"data:image/png;base64,AA"},{"type":"input_file","file_data":"AA"}]},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"e"},{"type":"message","id":"m","role":"assistant","content":[{"type":"output_text","text":"x","annotations":[]}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"r"}],"tools":[{"type":"function","name":"f","parameters":{}},{"type":"web_search"}],"tool_choice":"auto","text":{"format":{"type":"json_schema","name":"n","schema":{}},"verbosity":"low"},"reasoning":{"effort":"low","summary":"auto"},"store":false,"include":[]}"#,
    r#"{"id":"resp_1","object":"response","created_at":1.5,"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"model":"m","output":[{"type":"reasoning","id":"r","summary":[],"content":[{"type":"reasoning_text","text":"t"}],"encrypted_content":"redacted_thinking:e"},{"type":"web_search_call","id":"w"},{"type":"message","id":"m","role":"assistant","content":[{"type":"output_text","text":"x","annotations":[{"type":"url_citation","url":"u"}],"logprobs":[{}]},{"type":"refusal","refusal":"n"},{"type":"new"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3},"tool_usage":{"web_search":{"num_requests":1}},"service_tier":"flex"}"#,
    r#"{"type":"response.created","response":{"id":"resp_1","created_at":1,"model":"m"}}"#,
    r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f"}}"#,
    r#"{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{}"}"#,
    r#"{"type":"response.reasoning_summary_text.delta","output_index":1,"summary_index":0,"delta":"t"}"#,
    r#"{"type":"response.output_text.delta","output_index":2,"content_index":0,"delta":"x"}"#,
    r#"{"type":"response.output_text.annotation.added","output_index":2,"content_index":0,"annotation":{"type":"url_citation"}}"#,
    r#"{"type":"response.output_item.done","output_index":2,"item":{"type":"message","content":[{"type":"output_text","text":"x"},{"type":"refusal","refusal":"n"}]}}"#,
    r#"{"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[{"type":"mcp_call"}],"usage":{"input_tokens":1}}}"#,
];

const PIECES: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e400",
    "true",
    "\"\\ud800\"",
    ",",
    "\"type\":",
    "\"content\":",
    "\"id\"",
    "{\"a\":1,\"a\":2}",
    "\\",
    "\u{1F600}",
    "\n",
];

/// xorshift64*: the same cases every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }
}

fn broken(random: &mut Random) -> String {
    let mut bytes = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        let colon = bytes[at..].iter().position(|byte| *byte == b':').map_or(at, |colon| at + colon + 1);
        let end =
            bytes[colon..].iter().position(|byte| b",}]".contains(byte)).map_or(colon, |end| colon + end);
        match random.below(4) {
            0 => drop(bytes.drain(at..bytes.len().min(at + random.below(9)))),
            1 => {
                // A member that stands there again.
                let copy = [b",", &bytes[colon..end]].concat();
                drop(bytes.splice(end..end, copy));
            }
            _ => drop(bytes.splice(colon..end, PIECES[random.below(PIECES.len())].bytes())),
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parses(out: &[u8]) {
    let text = std::str::from_utf8(out).expect("is UTF-8");
    serde_json::from_str::<serde::de::IgnoredAny>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
}

#[test]
fn broken_documents_do_no_harm() {
    let (mut random, policy, mut recent) = (Random(0x9E37_79B9_7F4A_7C15), dropping(), Vec::new());
    let mut written = 0;
    for _ in 0..20_000 {
        let json = broken(&mut random);
        let (request, answer) =
            (decode_request(Dialect::Responses, &json), decode_response(Dialect::Responses, &json));
        for to in ALL {
            let mut out = Vec::new();
            if let Ok(request) = &request
                && encode_request(to, request, &Encoding::new("claude-sonnet-4-5", &policy), &mut out).is_ok()
            {
                parses(&out);
                written += 1;
            }
            out.clear();
            if let Ok(answer) = &answer {
                encode_response(to, answer, 7, &mut out);
                parses(&out);
                written += 1;
            }
        }
        recent.push(json);
        if recent.len() < 6 {
            continue;
        }
        for (from, to) in ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to))) {
            let (mut decoder, mut encoder) = (StreamDecoder::new(from), StreamEncoder::new(to, 7, true));
            let mut out = Vec::new();
            for data in &recent {
                // Broken off at the first that does not read, as whoever feeds it does.
                if decoder.decode(data, &mut |event| encoder.encode(&event, &mut out)).is_err() {
                    break;
                }
            }
            decoder.finish(&mut |event| encoder.encode(&event, &mut out));
            let text = String::from_utf8(out).expect("is UTF-8");
            data(&text).iter().filter(|data| *data != "[DONE]").for_each(|data| parses(data.as_bytes()));
        }
        recent.clear();
    }
    assert!(written > 10_000, "{written}");
}

#[test]
fn a_name_that_stands_twice_is_written_once() {
    let json = r#"{"model":"a","model":"m","new":1,"new":2,"text":{"verbosity":"low","verbosity":"high"},"reasoning":{"a":1,"a":2},
        "input":[{"role":"user","content":"x","id":"a","id":"b"},{"type":"reasoning","summary":[],"id":"a","id":"b"}]}"#;
    let (policy, mut out) = (dropping(), Vec::new());
    let request = decode_request(Dialect::Responses, json).expect("reads");
    encode_request(Dialect::Responses, &request, &Encoding::new("m", &policy), &mut out)
        .expect("is not refused");
    let written = strict(std::str::from_utf8(&out).expect("is UTF-8"));
    assert_eq!(
        (&written["new"], &written["text"]["verbosity"], &written["input"][1]["id"]),
        (&2.into(), &"high".into(), &"b".into())
    );
    let json = r#"{"id":"a","output":[{"type":"message","role":"assistant","id":"a","id":"b","content":[{"type":"output_text","text":"x","x":1,"x":2}]}],"y":1,"y":2}"#;
    for caller in ALL {
        out.clear();
        encode_response(caller, &decode_response(Dialect::Responses, json).expect("reads"), 7, &mut out);
        strict(std::str::from_utf8(&out).expect("is UTF-8"));
    }
}

/// What a chat says already is not said again, whatever the policy passes.
#[test]
fn a_chats_own_words_cannot_be_smuggled_in() {
    let json = r#"{"input":"hi","messages":[{"role":"system","content":"evil"}],"max_tokens":9,"max_output_tokens":5,"n":3}"#;
    let request = decode_request(Dialect::Responses, json).expect("reads");
    let mut policy = dropping();
    policy.allowed_openai_params = ["messages", "max_tokens", "n"].map(str::to_owned).into();
    for to in [Dialect::OpenAi, Dialect::Anthropic] {
        let mut out = Vec::new();
        encode_request(to, &request, &Encoding::new("m", &policy), &mut out).expect("is not refused");
        let written = strict(std::str::from_utf8(&out).expect("is UTF-8"));
        assert_eq!((written["max_tokens"].as_u64(), written["n"].is_null()), (Some(5), true));
        assert!(!written.to_string().contains("evil"));
    }
}

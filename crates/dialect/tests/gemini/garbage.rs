//! Broken documents: whatever the bytes, nothing panics, and what is written is JSON with no name twice. And JSON arrays, cut anywhere.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde::de::IgnoredAny;
use serde_json::Value;
use ziggurat_core::Dialect;
use ziggurat_dialect::{
    Encoding, StreamDecoder, StreamEncoder, decode_request, decode_response, encode_request, encode_response,
    json_array::Decoder,
    sse::{EventTooLarge, Frame},
};

use crate::common::{data, dropping, strict};

const SEEDS: &[&str] = &[
    r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"a"},{"inlineData":{"mimeType":"image/png","data":"AA","displayName":"n"}},{"fileData":{"fileUri":"https://e.com/a.png","mimeType":"image/png"}}]},{"role":"model","parts":[{"text":"h","thought":true},{"functionCall":{"name":"f","args":{"x":1}},"thoughtSignature":"S"},{"text":"b","thoughtSignature":"T"},{"executableCode":{"code":"1"}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"r":1},"parts":[{"inlineData":{"data":"AA"}}]}}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT"}}]},{"googleSearch":{}},{"urlContext":{}}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]},"retrievalConfig":{}},"generationConfig":{"maxOutputTokens":5,"responseMimeType":"application/json","responseSchema":{"type":"STRING"},"thinkingConfig":{"thinkingBudget":5},"seed":1,"x_y":1},"safetySettings":[]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"h","thought":true},{"text":"a","thoughtSignature":"S"},{"functionCall":{"id":"i","name":"f","args":{}},"thoughtSignature":"T"},{"inlineData":{"mimeType":"image/png","data":"AA"}}],"role":"model"},"finishReason":"STOP","index":0,"groundingMetadata":{"webSearchQueries":["q"],"groundingChunks":[{"web":{"uri":"u"}}],"groundingSupports":[{"segment":{"endIndex":1,"text":"a"},"groundingChunkIndices":[0]}]}}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":-2,"totalTokenCount":3},"promptFeedback":{"blockReason":"X"},"responseId":"r","modelVersion":"m","createTime":"2026-01-01T00:00:00Z"}"#,
    r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#,
];

const PIECES: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e400",
    "0.5",
    "true",
    "\"\\ud800\"",
    ",",
    "}",
    "]",
    "\"text\":",
    "\"parts\":",
    "\"args\":",
    "\"thoughtSignature\":",
    "\"functionCall\":",
    "\"name\":\"x\",",
    "{\"a\":1,\"a\":2}",
    "\\",
    "\"",
    "\u{1F600}",
    "\n\n",
];

const ALL: [Dialect; 3] = [Dialect::Gemini, Dialect::OpenAi, Dialect::Anthropic];

fn check(json: &str) {
    if let Ok(request) = decode_request(Dialect::Gemini, json) {
        for dialect in ALL {
            for model in ["gemini-2.0-flash", "gemini-3-pro"] {
                let (policy, mut out) = (dropping(), Vec::new());
                if encode_request(dialect, &request, &Encoding::new(model, &policy), &mut out).is_ok() {
                    serde_json::from_slice::<IgnoredAny>(&out).expect("a request is JSON");
                }
            }
        }
    }
    if let Ok(response) = decode_response(Dialect::Gemini, json) {
        for dialect in ALL {
            let mut out = Vec::new();
            encode_response(dialect, &response, 7, &mut out);
            serde_json::from_slice::<IgnoredAny>(&out).expect("an answer is JSON");
        }
    }
    for dialect in ALL {
        let (mut decoder, mut encoder) =
            (StreamDecoder::new(Dialect::Gemini), StreamEncoder::new(dialect, 7, true));
        let mut out = Vec::new();
        let _malformed = decoder.decode(json, &mut |event| encoder.encode(&event, &mut out));
        decoder.finish(&mut |event| encoder.encode(&event, &mut out));
        for data in data(std::str::from_utf8(&out).expect("is UTF-8")).iter().filter(|data| *data != "[DONE]")
        {
            serde_json::from_str::<IgnoredAny>(data).expect("an event is JSON");
        }
    }
}

fn decode(pieces: &[&[u8]], limit: usize) -> (Vec<Frame>, Option<EventTooLarge>) {
    let (mut decoder, mut frames, mut error) = (Decoder::new(limit), Vec::new(), None);
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        for frame in &mut decoder {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(too_large) => error = Some(too_large),
            }
        }
    }
    frames.extend(decoder.finish());
    (frames, error)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a\\[\\]{}\",\\\\\n\u{e9}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(("[a\\]}\"]{0,3}", inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_breaks_the_codecs(
        seed in 0..SEEDS.len(),
        edits in vec((any::<Index>(), 0..PIECES.len(), 0..12_usize), 0..4),
    ) {
        let mut json = SEEDS[seed].to_owned();
        for (at, piece, removed) in edits {
            let mut start = at.index(json.len() + 1);
            while !json.is_char_boundary(start) {
                start -= 1;
            }
            let mut end = (start + removed).min(json.len());
            while !json.is_char_boundary(end) {
                end += 1;
            }
            json.replace_range(start..end, PIECES[piece]);
        }
        check(&json);
    }

    #[test]
    fn an_array_says_the_same_however_it_is_cut(
        values in vec(value(), 0..5),
        pretty in any::<bool>(),
        separator in prop_oneof![Just(","), Just("\n,\r\n"), Just(" , ")],
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let write = |value: &Value| match pretty {
            true => serde_json::to_string_pretty(value).expect("is JSON"),
            false => value.to_string(),
        };
        let elements: Vec<String> = values.iter().map(write).collect();
        let input = format!("[{}]\n", elements.join(separator));
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        places.extend([0, input.len()]);
        places.sort_unstable();
        let cut: Vec<&[u8]> = places.windows(2).map(|pair| &input.as_bytes()[pair[0]..pair[1]]).collect();
        let single: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        let whole = decode(&[input.as_bytes()], 1 << 20);
        for pieces in [cut, single] {
            let (frames, error) = decode(&pieces, 1 << 20);
            prop_assert_eq!(error, None);
            let raw: Vec<u8> = frames.iter().flat_map(|frame| frame.raw().to_vec()).collect();
            prop_assert_eq!(&raw[..], input.as_bytes());
            prop_assert_eq!(&frames[..], &whole.0[..]);
            let data: Vec<_> = frames
                .iter()
                .filter_map(|frame| match frame {
                    Frame::Event(event) => Some(String::from_utf8(event.data.to_vec()).expect("is UTF-8")),
                    _ => None,
                })
                .collect();
            prop_assert_eq!(&data, &elements);
        }
    }
}

#[test]
fn seeds_are_whole_and_have_no_name_twice() {
    for seed in SEEDS {
        strict(seed);
        check(seed);
    }
}

#[test]
fn an_element_is_bounded_and_what_was_cut_off_is_shown() {
    let input = br#"[{"a":1},{"b":"too long"}]"#;
    let (frames, error) = decode(&[input], 10);
    assert_eq!((frames.len(), error.map(|error| error.limit)), (1, Some(10)));
    let pieces: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(decode(&pieces, 10), decode(&[input], 10));
    let last = |input: &str| decode(&[input.as_bytes()], 99).0.pop();
    assert!(matches!(last(r#"[{"a":1},{"b""#), Some(Frame::Event(event)) if event.data == r#"{"b""#));
    assert!(matches!(last("[1, "), Some(Frame::Idle(raw)) if raw == " "|| raw == ", "));
    // An error that stands in place of the array.
    assert!(matches!(last("{\n \"error\": {}\n}"), Some(Frame::Event(event)) if event.data.ends_with(b"}")));
    assert_eq!(last(""), None);
}

//! Sound, what is heard, and images.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use ziggurat_testkit::{Recording, Recordings};

use crate::{
    client::{Answer, Raw, post},
    harness::{Gateway, PROVIDER_KEY, Scene, guarded, soon},
    samples::recordings,
};

const BEARER: &str = "authorization: Bearer sk-master-canary";
const KIND: &str = "content-type: multipart/form-data; boundary=b0undary";
const HEARD: &str = r#"{"text":"Hi","usage":{"type":"duration","seconds":12.5}}"#;
const DRAWN: &str = r#"{"created":7,"data":[{"b64_json":"AA=="},{"b64_json":"AA=="}],"usage":{"input_tokens":10,"input_tokens_details":{"image_tokens":0,"text_tokens":10},"output_tokens":544,"total_tokens":554}}"#;
const LOUD: &str = r#"{"error":{"message":"Invalid file format.","type":"invalid_request_error","param":"file","code":null}}"#;

fn all() -> Recordings {
    let json = [("content-type", "application/json")];
    let mut all = recordings();
    all.extend([
        Recording::synthetic("heard", 200, json, HEARD),
        Recording::synthetic("loud", 400, json, LOUD),
        Recording::synthetic("broken", 500, json, r#"{"error":{"message":"oops"}}"#),
        Recording::synthetic("drawn", 200, json, DRAWN),
        Recording::synthetic("text", 200, [("content-type", "text/plain; charset=utf-8")], "Hi there\n"),
        Recording::synthetic("spoken", 200, [("content-type", "audio/mpeg")], "ID3\u{1}sound"),
    ]);
    all
}

async fn scene() -> Scene {
    Scene::with(all())
        .await
        .model("ear", "openai/whisper-1", "heard", &[])
        .model("fast-ear", "groq/whisper-large-v3", "text", &[])
        .model("loud", "openai/whisper-1", "loud", &[])
        .model("twice", "openai/whisper-1", "broken", &["num_retries: 2"])
        .model("painter", "openai/gpt-image-1", "drawn", &[])
        .model("mouth", "openai/tts-1", "spoken", &[])
        .model("claude", "anthropic/claude-sonnet-4-5", "heard", &[])
        .section(&guarded())
}

fn part(head: &str, content: &str) -> String {
    format!("--b0undary\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

fn form(model: &str, sound: &str) -> String {
    let file = part("name=\"file\"; filename=\"a b.mp3\"", sound);
    format!("{}{}{file}--b0undary--\r\n", part("name=\"model\"", model), part("name=\"x-unknown\"", "1"))
}

async fn hear(gateway: &Gateway, body: &str) -> Answer {
    let mut raw = gateway.connect().await;
    raw.send(head("/v1/audio/transcriptions", body.len())).await;
    raw.send(body).await;
    raw.answer().await
}

fn head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\n{BEARER}\r\n{KIND}\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_transcription_passes_with_its_model_alone_changed_and_costs_its_seconds() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let answer = hear(&gateway, &form("ear", "sound")).await;
    answer.is(200, HEARD);
    assert_eq!(answer.header("x-litellm-response-cost"), Some("0.00125"));
    assert_eq!(answer.header("x-litellm-model-group"), Some("ear"));
    let sent = &scene.exchanges()[0];
    assert_eq!(sent.path, "/r/heard/v1/audio/transcriptions");
    assert_eq!(sent.headers["authorization"], format!("Bearer {PROVIDER_KEY}"));
    assert_eq!(sent.headers["content-type"], KIND.strip_prefix("content-type: ").unwrap());
    assert_eq!(sent.body, form("whisper-1", "sound"));

    let text = hear(&gateway, &form("fast-ear", "sound")).await;
    text.is(200, "Hi there\n");
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(scene.exchanges()[1].body, form("whisper-large-v3", "sound"));
}

#[tokio::test]
async fn forms_that_are_none_and_models_that_do_not_hear_are_refused_in_openais_words() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let told = |answer: Answer| {
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        (answer.status, body["error"]["message"].as_str().unwrap().to_owned(), body["error"]["param"].clone())
    };
    for (body, status, message, param) in [
        (
            form("ear", "x").replace("--b0undary--", ""),
            400,
            "the form is malformed: it ends before its last boundary",
            None,
        ),
        (
            part("name=\"file\"; filename=\"a\"", "x") + "--b0undary--",
            400,
            "missing required field `model`",
            Some("model"),
        ),
        (
            part("name=\"model\"", "ear") + &form("ear", "x"),
            400,
            "the field `model` stands twice in the form",
            Some("model"),
        ),
        (
            part("name=\"api_base\"", "http://x") + &form("ear", "x"),
            400,
            "`api_base` is for the gateway's operator to say, not for a request",
            Some("api_base"),
        ),
        (form("nobody", "x"), 404, "", None),
        (form("claude", "x"), 404, "the model's provider cannot be asked for transcriptions", None),
    ] {
        let (got, said, blamed) = told(hear(&gateway, &body).await);
        assert_eq!(got, status, "{said}");
        if !message.is_empty() {
            assert_eq!((said.as_str(), blamed.as_str()), (message, param));
        }
    }
    assert_eq!(scene.asked(), 0);
    let no_form = post(gateway.addr, "/v1/audio/transcriptions", &[BEARER], r#"{"model":"ear"}"#).await;
    assert_eq!(told(no_form).0, 415);
    // What the provider says of the sound is the caller's to read.
    hear(&gateway, &form("loud", "x")).await.is(400, LOUD);
}

#[tokio::test]
async fn a_form_that_is_held_is_tried_again_and_one_that_has_passed_is_not() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    assert_eq!(hear(&gateway, &form("twice", "x")).await.status, 500);
    assert_eq!(scene.asked(), 3);
    assert_eq!(hear(&gateway, &form("twice", &"x".repeat(2 << 20))).await.status, 500);
    assert_eq!(scene.asked(), 4);
}

#[tokio::test]
async fn a_form_that_turns_out_to_be_none_is_told_so_in_its_middle() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let long = form("ear", &"x".repeat(2 << 20));
    let twice = long.replace("--b0undary--", &form("other", "y"));
    let answer = hear(&gateway, &twice).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.body.contains("the field `model` stands twice in the form"), "{}", answer.body);
}

#[tokio::test]
async fn the_path_may_name_the_model_as_azures_do() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let file = part("name=\"file\"; filename=\"a\"", "x");
    let body = file.clone() + "--b0undary--";
    let mut raw = gateway.connect().await;
    raw.send(head("/openai/deployments/ear/audio/translations?api-version=1", body.len())).await;
    raw.send(&body).await;
    raw.answer().await.is(200, HEARD);
    let sent = &scene.exchanges()[0];
    assert_eq!(sent.path, "/r/heard/v1/audio/translations");
    assert_eq!(sent.body, part("name=\"model\"", "whisper-1") + &file + "--b0undary--");
}

#[tokio::test]
async fn images_and_speech_pass_and_cost_what_they_cost() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let ask = async |path: &str, body: &str| post(gateway.addr, path, &[BEARER], body).await;
    let drawn =
        ask("/v1/images/generations", r#"{"model":"painter","prompt":"a cat","n":2,"quality":"low"}"#).await;
    drawn.is(200, DRAWN);
    assert_eq!(drawn.header("x-litellm-response-cost"), Some("0.02181"));
    let spoken = ask("/v1/audio/speech", r#"{"model":"mouth","voice":"alloy","input":"Hello"}"#).await;
    spoken.is(200, "ID3\u{1}sound");
    assert_eq!(spoken.header("content-type"), Some("audio/mpeg"));
    assert_eq!(spoken.header("x-litellm-response-cost"), Some("0.000075"));
    let paths: Vec<_> = scene.exchanges().into_iter().map(|exchange| exchange.path).collect();
    assert_eq!(paths, ["/r/drawn/v1/images/generations", "/r/spoken/v1/audio/speech"]);
    assert_eq!(scene.exchanges()[1].body, r#"{"model":"tts-1","voice":"alloy","input":"Hello"}"#);
    let edit = form("painter", "image").replace("\"file\"", "\"image[]\"");
    let mut raw = gateway.connect().await;
    raw.send(head("/v1/images/edits", edit.len())).await;
    raw.send(&edit).await;
    raw.answer().await.is(200, DRAWN);
    assert_eq!(scene.exchanges()[2].body, edit.replace("painter", "gpt-image-1"));
}

/// An upstream that reads what comes and keeps nothing of it: gives how many bytes a body had.
async fn sink() -> (std::net::SocketAddr, tokio::task::JoinHandle<usize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let reading = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut read, mut piece, mut last) = (0, vec![0; 64 << 10], Vec::new());
        while !last.ends_with(b"--b0undary--\r\n") {
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "ended after {read} bytes");
            read += length;
            last.extend_from_slice(&piece[..length]);
            last.drain(..last.len().saturating_sub(100));
        }
        let mut answer = String::new();
        let kind = "content-type: application/json";
        write!(answer, "HTTP/1.1 200 OK\r\n{kind}\r\ncontent-length: {}\r\n\r\n{HEARD}", HEARD.len())
            .unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        read
    });
    (addr, reading)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_200_megabytes_costs_the_gateway_a_few() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 200;
    let (addr, reading) = sink().await;
    let config = format!(
        "model_list:\n  - model_name: ear\n    litellm_params:\n      model: openai/whisper-1\n      api_base: http://{addr}/v1\n      api_key: k\n{}",
        guarded()
    );
    // Less than the upload, for all calls together.
    let gateway = Gateway::start(&config, &["--max-in-flight", "64"], &[]).await;
    let body = form("ear", "");
    let (ahead, behind) = body.split_at(body.find("\r\n--b0undary--").unwrap());
    let mut raw = Raw::connect(gateway.addr).await;
    raw.send(head("/v1/audio/transcriptions", body.len() + PIECE * PIECES)).await;
    raw.send(ahead).await;
    let piece = vec![b's'; PIECE];
    // So far that all buffers on the way are full, and what is loaded once is there.
    for _ in 0..PIECES / 10 {
        raw.send(&piece).await;
    }
    let (_, before) = gateway.memory();
    for _ in PIECES / 10..PIECES {
        raw.send(&piece).await;
    }
    raw.send(behind).await;
    raw.answer().await.is(200, HEARD);
    let read = soon(reading).await.unwrap();
    assert!(read > PIECE * PIECES && read < PIECE * PIECES + 4096, "{read}");
    let (_, highest) = gateway.memory();
    // The kernel counts what is resident and its highest apart, each a little late.
    let more = highest.saturating_sub(before);
    println!("{PIECES} MiB passed: {} KiB more than the first tenth of it took", more >> 10);
    assert!(more < 6 << 20, "{before} {highest}");
}

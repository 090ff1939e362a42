//! What passes is what came, however it is cut, and whether or not somebody listens.

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use ziggurat_core::{Body, Dialect, Outcome};
use ziggurat_dialect::openai::correct_usage;
use ziggurat_meter::{MeteredBody, Options};
use ziggurat_testkit::{Recording, Recordings};

use crate::support::*;

/// The streams among the recordings whose bytes are good for equality.
fn exact_streams() -> Vec<(Dialect, std::sync::Arc<Recording>)> {
    let Some(recordings) = Recordings::shared() else { return Vec::new() };
    let of = |endpoint, dialect| {
        let of_endpoint = recordings.filter(None, endpoint).cloned().collect::<Vec<_>>().into_iter();
        of_endpoint.map(move |recording| (dialect, recording))
    };
    of("chat.completions", Dialect::OpenAi)
        .chain(of("messages", Dialect::Anthropic))
        .filter(|(_, recording)| recording.format == "sse" && recording.fidelity == "exact")
        .collect()
}

/// Those that hold an error event.
const FAILED: [&str; 2] =
    ["groq-chat-completions-dd3fbfda7a-00", "openrouter-chat-completions-6337514668-00"];

/// Those with an event behind the terminator, which stays here: OpenCode's price.
const BEHIND: [(&str, &str); 1] = [(
    "openai_compatible-opencode-messages-ba95144b07-00",
    "event: ping\ndata: {\"type\":\"ping\",\"cost\":\"0\"}\n\n",
)];

/// With the completion tokens put right.
fn corrected(stream: &str) -> String {
    let line = |line: &str| {
        let data = line.strip_prefix("data: ").and_then(correct_usage);
        data.map_or_else(|| line.to_owned(), |data| format!("data: {data}"))
    };
    stream.split_inclusive('\n').map(line).collect()
}

/// What comes out of a recording: itself, but for what its provider left out, and for what is behind an error or a terminator.
fn completed(dialect: Dialect, recording: &Recording) -> String {
    let recorded = std::str::from_utf8(recording.response.body()).expect("is UTF-8");
    let corrected = corrected(recorded);
    // xAI leaves reasoning out of its completion tokens, as no other provider does.
    assert_eq!(corrected != recorded, recording.provider == "xai", "{}", recording.id);
    let behind = BEHIND.iter().find(|(id, _)| *id == recording.id).map_or("", |(_, behind)| *behind);
    let recorded = corrected.strip_suffix(behind).expect("ends so");
    if FAILED.contains(&&*recording.id) {
        return recorded.strip_suffix(DONE).unwrap_or(recorded).to_owned();
    }
    let blank = if recorded.ends_with("\n\n") || recorded.ends_with("\r\n\r\n") { "" } else { "\n\n" };
    let unterminated = dialect == Dialect::OpenAi && !recorded.contains("data: [DONE]");
    [recorded, blank, if unterminated { DONE } else { "" }].concat()
}

#[tokio::test]
async fn recordings_pass_byte_for_byte_at_any_chunking() {
    let streams = exact_streams();
    for (dialect, recording) in &streams {
        let bytes = recording.response.body();
        let expected = completed(*dialect, recording);
        for size in [1, 7, 1460, usize::MAX] {
            let body = MeteredBody::new(Scripted::chunked(bytes, size).into(), Options::new(*dialect), None);
            assert!(read_body(body).await.0 == expected, "{} in chunks of {size}", recording.id);
        }
    }
    if !streams.is_empty() {
        println!("{} streams", streams.len());
        assert!(streams.len() >= 80);
    }
}

#[tokio::test]
async fn a_listener_changes_nothing_and_learns_the_end_of_every_recording() {
    for (dialect, recording) in exact_streams() {
        let bytes = recording.response.body();
        let alone =
            read_body(MeteredBody::new(Scripted::chunked(bytes, 1460).into(), Options::new(dialect), None))
                .await
                .0;
        let (listened, attempt) = pass_listened(Options::new(dialect), [Step::data(bytes.clone())]).await;
        assert!(alone == listened, "{}", recording.id);
        let filtered = recording.has_tag("finish:content_filter") || recording.has_tag("finish:refusal");
        let expected = match () {
            () if FAILED.contains(&&*recording.id) => Outcome::Failed,
            () if filtered => Outcome::Refused,
            () => Outcome::Complete,
        };
        assert_eq!(attempt.outcome, Some(expected), "{}: {:?}", recording.id, recording.tags);
        assert!(attempt.content_begun || attempt.usage.is_some(), "{}", recording.id);
    }
}

#[tokio::test]
async fn words_that_mean_something_elsewhere_mean_nothing_in_a_text() {
    for word in [
        r#"\"finish_reason\":\"stop\""#,
        r#"\"error\":{\"message\":\"x\"}"#,
        r#"{\"usage\":{\"prompt_tokens\":1},\"choices\":[]}"#,
        r"[DONE]",
        r"data: [DONE]\n\n",
        r#"{\"type\":\"message_stop\"}"#,
        r#"\\\"error\\\": \\u0022"#,
    ] {
        let mut options = Options::new(Dialect::OpenAi);
        options.hide_usage = true;
        let text = chat(word);
        let (out, attempt) = pass_listened(options, [Step::data(text.clone())]).await;
        assert_eq!(out, text.clone() + &truncated(Dialect::OpenAi), "{word}");
        assert_eq!((attempt.outcome, attempt.usage), (Some(Outcome::Truncated), None), "{word}");
        assert_eq!(pass(options, [Step::data(text)]).await, out, "{word}");

        let text = MESSAGE_TEXT.replace("Hi", word);
        let (out, attempt) =
            pass_listened(Options::new(Dialect::Anthropic), [Step::data(text.clone())]).await;
        assert_eq!(out, text + &truncated(Dialect::Anthropic), "{word}");
        assert_eq!(attempt.outcome, Some(Outcome::Truncated), "{word}");
    }
    // Under other names, in other places.
    let elsewhere = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"finish_reason\":\"stop\",\"error\":1}}],\"x\":{\"error\":{},\"usage\":{}}}\n\n";
    assert_eq!(
        pass(Options::new(Dialect::OpenAi), [Step::data(elsewhere)]).await,
        elsewhere.to_owned() + &truncated(Dialect::OpenAi)
    );
}

#[tokio::test]
async fn what_is_no_event_passes_as_it_came() {
    let text = [
        "\u{feff}: hello\n\n\n",
        "retry: 10\n\n",
        "data:\n\n",
        "event: nothing\ndata: \n\n",
        &chat("Hi"),
        "id: 7\nevent: x\n\n",
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":null,\ndata: \"finish_reason\":\"stop\"}]}\r\n\r\n",
        ": bye\n\n",
        DONE,
        ": end",
    ]
    .concat();
    let bytes = Bytes::from(text.clone());
    for size in 1..40 {
        let body =
            MeteredBody::new(Scripted::chunked(&bytes, size).into(), Options::new(Dialect::OpenAi), None);
        assert_eq!(read_body(body).await.0, text, "in chunks of {size}");
    }
    let (out, attempt) = pass_listened(Options::new(Dialect::OpenAi), [Step::data(bytes)]).await;
    assert_eq!((out, attempt.outcome), (text, Some(Outcome::Complete)));
}

#[tokio::test]
async fn the_usage_that_was_asked_for_by_us_stays_here() {
    let mut options = Options::new(Dialect::OpenAi);
    options.hide_usage = true;
    let text = [&*chat("Hi"), CHAT_FINISH, CHAT_USAGE, DONE].concat();
    let hidden = [&*chat("Hi"), CHAT_FINISH, DONE].concat();
    for size in 1..text.len() {
        let bytes = Bytes::from(text.clone());
        let body = MeteredBody::new(Scripted::chunked(&bytes, size).into(), options, None);
        assert_eq!(read_body(body).await.0, hidden, "in chunks of {size}");
    }
    let (out, attempt) = pass_listened(options, [Step::data(text)]).await;
    assert_eq!(out, hidden);
    assert_eq!(attempt.usage.and_then(|usage| usage.output), Some(5));
    // Beside content it is no extra chunk; and `null` is no usage.
    for kept in [
        CHAT_FINISH.replace("}]}", "}],\"usage\":{\"prompt_tokens\":3}}"),
        CHAT_FINISH.replace("}]}", "}],\"usage\":null}"),
        "data: {\"id\":\"\",\"choices\":[],\"usage\":null,\"prompt_filter_results\":[]}\n\n".to_owned()
            + CHAT_FINISH,
    ] {
        assert_eq!(pass(options, [Step::data(kept.clone() + DONE)]).await, kept + DONE);
    }
}

/// Its last line feed may come with the next chunk.
#[tokio::test]
async fn of_an_event_that_stays_here_no_line_end_passes() {
    let mut options = Options::new(Dialect::OpenAi);
    options.hide_usage = true;
    let text =
        [&*chat("Hi"), CHAT_FINISH, CHAT_USAGE, DONE, "data: behind\n\n"].concat().replace('\n', "\r\n");
    let hidden = [&*chat("Hi"), CHAT_FINISH, DONE].concat().replace('\n', "\r\n");
    for at in 1..text.len() {
        let steps = [&text[..at], &text[at..]].map(|half| Step::data(half.to_owned()));
        assert_eq!(pass(options, steps).await, hidden, "cut at {at}");
    }
    let (out, _) = pass_listened(options, text.chars().map(|byte| Step::data(byte.to_string()))).await;
    assert_eq!(out, hidden);
}

#[tokio::test]
async fn a_chunk_of_whole_events_is_handed_on_as_it_is() {
    use http_body_util::BodyExt;
    let chunk = Bytes::from([&*chat("a"), ": ping\n\n", &chat("b")].concat());
    let half = Bytes::from(format!("{}data: {{\"id\":", chat("c")));
    let rest = Bytes::from([" \"c\"}\n\n", CHAT_FINISH, &chat("d")].concat());
    let steps = [Step::data(chunk.clone()), Step::data(half.clone()), Step::data(rest.clone())];
    let mut body = MeteredBody::new(Body::new(Scripted::new(steps)), Options::new(Dialect::OpenAi), None);
    let mut next =
        async || body.frame().await.expect("goes on").expect("does not fail").into_data().expect("is data");
    let first = next().await;
    assert_eq!((first.as_ptr(), first.len()), (chunk.as_ptr(), chunk.len()));
    let second = next().await;
    assert_eq!((second.as_ptr(), second.len()), (half.as_ptr(), chat("c").len()));
    assert_eq!(next().await, "data: {\"id\": \"c\"}\n\n");
    let last = next().await;
    assert_eq!(last.as_ptr(), rest[" \"c\"}\n\n".len()..].as_ptr());
    assert_eq!(last, [CHAT_FINISH, &chat("d")].concat());
}

proptest! {
    #[test]
    fn any_cut_gives_the_same(
        cuts in prop::collection::vec(1usize..90, 1..20),
        events in prop::collection::vec(0usize..10, 0..8),
        hide_usage: bool,
    ) {
        let usage = CHAT_USAGE.replace('\n', "\r\n");
        let lines = chat("Hi").replace("{\"index\"", "\r\ndata: {\"index\"").replace("\n\n", "\r\n\r\n");
        let pool = [
            &*chat("Hi"),
            CHAT_FINISH,
            CHAT_USAGE,
            DONE,
            ": ping\r\n\r\n",
            "data: {\"error\":{}}\n\n",
            "data: {oops\n\n",
            "da",
            &usage,
            &lines,
        ];
        let text = Bytes::from(events.iter().map(|event| pool[*event]).collect::<String>());
        let mut options = Options::new(Dialect::OpenAi);
        options.hide_usage = hide_usage;
        let mut at = 0;
        let steps = cuts.iter().cycle().map_while(|cut| {
            let start = at;
            at = text.len().min(at + cut);
            (start < text.len()).then(|| Step::data(text.slice(start..at)))
        });
        let steps: Vec<_> = steps.collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
        let (cut, whole, listened) = runtime.block_on(async {
            let whole = pass(options, [Step::data(text.clone())]).await;
            (pass(options, steps).await, whole, pass_listened(options, [Step::data(text.clone())]).await.0)
        });
        prop_assert_eq!(&cut, &whole);
        prop_assert_eq!(&listened, &whole);
    }
}

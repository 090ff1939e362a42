//! Each way to be wrong, with the exact status and body in both dialects.

use futures_util::stream;
use http_body_util::StreamBody;

use super::*;

async fn refuse<B>(request: Request<B>, limits: Limits) -> (u16, String)
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let dialect = Operation::of_path(request.method(), request.uri().path()).1;
    let rejection = Call::read(request, &limits).await.expect_err("is refused");
    let response = rejection.clone().into_response(dialect);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.extensions().get::<Rejection>(), Some(&rejection));
    let status = response.status().as_u16();
    let body = response.into_body().collect_within(1 << 20).await.expect("is whole");
    (status, String::from_utf8(body.to_vec()).expect("is UTF-8"))
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("serialises")
}

/// A 400 in both dialects, with this message and this field to blame.
async fn is_400(body: impl AsRef<[u8]>, message: &str, param: Option<&str>) {
    let body = Bytes::copy_from_slice(body.as_ref());
    let param = param.map_or("null".to_owned(), json);
    let message = json(message);
    let openai = format!(
        r#"{{"error":{{"message":{message},"type":"invalid_request_error","param":{param},"code":null}}}}"#
    );
    assert_eq!(refuse(post(CHAT, body.clone()), Limits::default()).await, (400, openai));
    let anthropic =
        format!(r#"{{"type":"error","error":{{"type":"invalid_request_error","message":{message}}}}}"#);
    assert_eq!(refuse(post(MESSAGES, body), Limits::default()).await, (400, anthropic));
}

/// A chat body with these further fields.
fn with(fields: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{fields}}}"#)
}

/// A chat body with these messages.
fn saying(messages: &str) -> String {
    format!(r#"{{"model":"m","messages":{messages}}}"#)
}

fn nested(levels: usize) -> String {
    format!(r#"{{"model":"m","x":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels))
}

#[tokio::test]
async fn the_whole_error_as_it_goes_out() {
    assert_eq!(
        refuse(post(CHAT, with(r#""max_tokens":-1"#)), Limits::default()).await,
        (400, r#"{"error":{"message":"`max_tokens` must be a whole number from 1 to 4294967295, not -1","type":"invalid_request_error","param":"max_tokens","code":null}}"#.to_owned())
    );
    assert_eq!(
        refuse(post(MESSAGES, ""), Limits::default()).await,
        (400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"the request body is empty: expected a JSON object"}}"#.to_owned())
    );
}

#[tokio::test]
async fn no_body_and_no_json() {
    let empty = "the request body is empty: expected a JSON object";
    is_400("", empty, None).await;
    is_400(" \r\n\t", empty, None).await;
    let bad = |what| format!("the request body is not valid JSON: {what}");
    is_400("hello", &bad("expected value at line 1 column 1"), None).await;
    is_400("NaN", &bad("expected value at line 1 column 1"), None).await;
    is_400("\u{feff}{}", &bad("expected value at line 1 column 1"), None).await;
    is_400("{", &bad("EOF while parsing an object at line 1 column 1"), None).await;
    is_400(r#"{"a":1,}"#, &bad("trailing comma at line 1 column 8"), None).await;
    is_400(r#"{"a":"x"#, &bad("EOF while parsing a string at line 1 column 7"), None).await;
    is_400(r#"{'a':1}"#, &bad("key must be a string at line 1 column 2"), None).await;
    is_400(format!("{} x", saying("[]")), &bad("trailing characters at line 1 column 29"), None).await;
    is_400(format!("{0}{0}", saying("[]")), &bad("trailing characters at line 1 column 28"), None).await;
}

#[tokio::test]
async fn no_object() {
    let must = |what| format!("the request body must be a JSON object, not {what}");
    is_400("[]", &must("an array"), None).await;
    is_400(r#"[{"model":"m"}]"#, &must("an array"), None).await;
    is_400(r#""hi""#, &must("a string"), None).await;
    is_400(r#""duplicate field `model`""#, &must("a string"), None).await;
    is_400("null", &must("null"), None).await;
    is_400(" true", &must("a boolean"), None).await;
    is_400("-1.5", &must("a number"), None).await;
}

#[tokio::test]
async fn bad_json_within_a_field_names_it() {
    let bad = |field, what| format!("the request body is not valid JSON in `{field}`: {what}");
    is_400(
        r#"{"temperature":NaN}"#,
        &bad("temperature", "expected value at line 1 column 16"),
        Some("temperature"),
    )
    .await;
    is_400(
        r#"{"messages":[{"role":"us"#,
        &bad("messages", "EOF while parsing a string at line 1 column 24"),
        Some("messages"),
    )
    .await;
    is_400(
        "{\"model\":\"a\nb\"}",
        &bad("model", "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 11"),
        Some("model"),
    )
    .await;
}

#[tokio::test]
async fn bytes_that_are_not_utf_8() {
    let body = [br#"{"model":""#, &[0xC3, 0x28][..], br#"","messages":[]}"#].concat();
    is_400(&body, "the request body is not valid UTF-8 at byte 10", None).await;
    is_400([0xFF, 0xFE, b'{', 0], "the request body is not valid UTF-8 at byte 0", None).await;
}

#[tokio::test]
async fn lone_surrogates_anywhere() {
    for body in [
        saying(r#"[{"role":"user","content":"a\ud83d"}]"#),
        saying(r#"[{"role":"user","content":"\ude00\ud83d"}]"#),
        with(r#""x":{"\udc00":1}"#),
        with(r#""x":["\ud83d\u0041"]"#),
        r#"{"model":"\ud800","messages":[{"role":"user"}]}"#.to_owned(),
    ] {
        let at = body.find('\\').expect("has an escape");
        let message = format!("the request body is refused: lone surrogate in a string at byte {at}");
        is_400(body, &message, None).await;
    }
    // A key of the top level is decoded, and refused on the way.
    let message = "the request body is not valid JSON: unexpected end of hex escape at line 1 column 9";
    is_400(r#"{"\ud800":1}"#, message, None).await;
}

#[tokio::test]
async fn nesting_that_is_too_deep() {
    let deep = |at| format!("the request body is refused: nested deeper than 127 levels at byte {at}");
    let at = r#"{"model":"m","messages":[{"role":"user"}],"x":"#.len() + 126;
    let body = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"x":{open}1{close}}}"#)
    };
    is_400(body(200), &deep(at), None).await;
    is_400(body(100_000), &deep(at), None).await;
    is_400(body(127), &deep(at), None).await;
    // Brackets that nothing closes are no JSON at all.
    let open = format!(r#"{{"model":"m","messages":{}"#, "[".repeat(100_000));
    let eof =
        "the request body is not valid JSON in `messages`: EOF while parsing a list at line 1 column 100024";
    is_400(open, eof, Some("messages")).await;
    is_400("[".repeat(100_000), "the request body must be a JSON object, not an array", None).await;
    is_400(
        r#"{"a":"#.repeat(100_000),
        "the request body is not valid JSON: EOF while parsing a value at line 1 column 500000",
        None,
    )
    .await;
    // What passes here can be built: no codec refuses it for its depth.
    let fits = body(126);
    assert_eq!(read(post(CHAT, fits.clone())).await.1.text(), fits);
    assert!(serde_json::from_str::<serde_json::Value>(&fits).is_ok());
    assert!(serde_json::from_str::<serde_json::Value>(&body(127)).is_err());
    let within = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        saying(&format!(r#"[{{"role":"user","content":[{{"x":{open}{close}}}]}}]"#))
    };
    assert!(Call::read(post(CHAT, within(122)), &Limits::default()).await.is_ok());
    is_400(within(123), &deep(56 + 122), None).await;
    is_400(nested(1), "missing required field `messages`", Some("messages")).await;
}

#[tokio::test]
async fn fields_that_stand_twice() {
    let twice = |field: &str| format!("the field `{field}` stands twice in the request body");
    let messages = r#""messages":[{"role":"user"}]"#;
    is_400(format!(r#"{{"model":"a","model":"b",{messages}}}"#), &twice("model"), Some("model")).await;
    is_400(format!(r#"{{"model":"a","mod\u0065l":"b",{messages}}}"#), &twice("model"), Some("model")).await;
    is_400(format!(r#"{{"\u006dodel":"a","model":"a",{messages}}}"#), &twice("model"), Some("model")).await;
    is_400(format!(r#"{{"model":"a",{messages},{messages}}}"#), &twice("messages"), Some("messages")).await;
    is_400(with(r#""stream":true,"n":1,"stream":false"#), &twice("stream"), Some("stream")).await;
    is_400(
        saying(r#"[{"role":"user"},{"role":"user","r\u006fle":"system"}]"#),
        &twice("messages[1].role"),
        Some("messages[1].role"),
    )
    .await;
    is_400(
        saying(r#"[{"content":"a","role":"user","content":"b"}]"#),
        &twice("messages[0].content"),
        Some("messages[0].content"),
    )
    .await;
    for (member, escaped) in [
        ("tool_calls", r"tool\u005fcalls"),
        ("tool_call_id", r"tool_call_i\u0064"),
        ("name", r"\u006eame"),
        ("function_call", r"function\u005fcall"),
        ("refusal", r"refus\u0061l"),
    ] {
        let field = format!("messages[1].{member}");
        for again in [member, escaped] {
            let second = format!(r#"{{"{member}":null,"role":"assistant","x":1,"x":2,"{again}":null}}"#);
            is_400(saying(&format!(r#"[{{"role":"user"}},{second}]"#)), &twice(&field), Some(&field)).await;
        }
    }
}

#[tokio::test]
async fn a_missing_model() {
    let missing = "missing required field `model`";
    is_400("{}", missing, Some("model")).await;
    is_400(r#"{"messages":[{"role":"user"}]}"#, missing, Some("model")).await;
    is_400(r#"{"model":null,"messages":[{"role":"user"}]}"#, missing, Some("model")).await;
    is_400(r#"{"Model":"m","messages":[{"role":"user"}]}"#, missing, Some("model")).await;
    for (model, kind) in [("5", "a number"), ("[]", "an array"), ("{}", "an object"), ("true", "a boolean")] {
        let body = format!(r#"{{"model":{model},"messages":[{{"role":"user"}}]}}"#);
        is_400(body, &format!("`model` must be a string, not {kind}"), Some("model")).await;
    }
}

#[tokio::test]
async fn missing_and_misshapen_messages() {
    is_400(r#"{"model":"m"}"#, "missing required field `messages`", Some("messages")).await;
    is_400(saying("null"), "missing required field `messages`", Some("messages")).await;
    is_400(saying("[]"), "`messages` must hold at least one message", Some("messages")).await;
    is_400(saying(r#""x""#), "`messages` must be an array, not a string", Some("messages")).await;
    is_400(saying("{}"), "`messages` must be an array, not an object", Some("messages")).await;
    is_400(saying(r#"["hi"]"#), "`messages[0]` must be an object, not a string", Some("messages[0]")).await;
    is_400(
        saying(r#"[{"role":"user"},null]"#),
        "`messages[1]` must be an object, not null",
        Some("messages[1]"),
    )
    .await;
    let missing = "missing required field `messages[0].role`";
    is_400(saying("[{}]"), missing, Some("messages[0].role")).await;
    is_400(saying(r#"[{"content":"x"}]"#), missing, Some("messages[0].role")).await;
    for (role, kind) in [("5", "a number"), ("null", "null"), ("[]", "an array")] {
        let message = format!("`messages[0].role` must be a string, not {kind}");
        is_400(saying(&format!(r#"[{{"role":{role}}}]"#)), &message, Some("messages[0].role")).await;
    }
    for (content, kind) in [("5", "a number"), ("{}", "an object"), ("true", "a boolean")] {
        let message = format!("`messages[0].content` must be a string or an array of objects, not {kind}");
        let body = saying(&format!(r#"[{{"role":"user","content":{content}}}]"#));
        is_400(body, &message, Some("messages[0].content")).await;
    }
    for (part, kind) in [("5", "a number"), (r#""hi""#, "a string"), ("null", "null"), ("[]", "an array")] {
        let message = format!("`messages[0].content[1]` must be an object, not {kind}");
        let body = saying(&format!(r#"[{{"role":"user","content":[{{}},{part}]}}]"#));
        is_400(body, &message, Some("messages[0].content[1]")).await;
    }
}

#[tokio::test]
async fn fields_of_the_wrong_type() {
    let cap = "`max_tokens` must be a whole number from 1 to 4294967295, not ";
    for (value, found) in [
        ("-1", "-1"),
        ("0", "0"),
        ("1.5", "1.5"),
        ("1e3", "1e3"),
        ("4294967296", "4294967296"),
        (r#""7""#, "a string"),
        ("true", "a boolean"),
        ("99999999999999999999999999", "a number"),
    ] {
        is_400(with(&format!(r#""max_tokens":{value}"#)), &format!("{cap}{found}"), Some("max_tokens")).await;
    }
    for (field, value, message) in [
        ("n", "1000000", "`n` must be a whole number from 1 to 128, not 1000000"),
        ("n", "129", "`n` must be a whole number from 1 to 128, not 129"),
        ("n", "0", "`n` must be a whole number from 1 to 128, not 0"),
        ("temperature", r#""hot""#, "`temperature` must be a number, not a string"),
        ("top_p", "[]", "`top_p` must be a number, not an array"),
        ("stream", r#""true""#, "`stream` must be true or false, not a string"),
        ("stream", "1", "`stream` must be true or false, not a number"),
        ("stream_options", "true", "`stream_options` must be an object, not a boolean"),
        ("seed", "1.5", "`seed` must be a whole number, not 1.5"),
        ("user", "7", "`user` must be a string, not a number"),
        ("stop", "{}", "`stop` must be a string or an array, not an object"),
        ("tools", "{}", "`tools` must be an array, not an object"),
        ("tool_choice", "true", "`tool_choice` must be a string or an object, not a boolean"),
        ("logprobs", "5", "`logprobs` must be true or false, not a number"),
        ("metadata", r#""x""#, "`metadata` must be an object, not a string"),
        ("system", "1", "`system` must be a string or an array, not a number"),
    ] {
        is_400(with(&format!(r#""{field}":{value}"#)), message, Some(field)).await;
    }
}

#[tokio::test]
async fn a_response_format_is_an_object_in_chats_and_a_kind_of_file_elsewhere() {
    for (path, body) in [
        ("/v1/images/generations", r#"{"prompt":"a","response_format":"b64_json"}"#),
        ("/v1/audio/speech", r#"{"model":"m","input":"a","response_format":"opus"}"#),
        (
            CHAT,
            r#"{"model":"m","messages":[{"role":"user","content":"a"}],"response_format":{"type":"text"}}"#,
        ),
    ] {
        assert!(Call::read(post(path, body), &Limits::default()).await.is_ok(), "{path}");
        let wrong = if path == CHAT { r#""text""# } else { "{}" };
        let wrong = format!(
            r#"{},"response_format":{wrong}}}"#,
            &body[..body.find(r#","response"#).expect("has one")]
        );
        let (status, told) = refuse(post(path, wrong), Limits::default()).await;
        assert!(status == 400 && told.contains(r#""param":"response_format""#), "{told}");
    }
}

fn with_header(name: &'static str, value: &'static str) -> Request<Untouchable> {
    Request::post(CHAT).header(name, value).body(Untouchable).expect("valid")
}

#[tokio::test]
async fn another_content_type_is_refused_before_the_body_is_read() {
    let body = |kind: &str| {
        let message = json(&format!("content-type must be application/json, not {kind:?}"));
        format!(
            r#"{{"error":{{"message":{message},"type":"invalid_request_error","param":null,"code":"unsupported_media_type"}}}}"#
        )
    };
    for (value, shown) in [
        ("text/plain", "text/plain"),
        ("Text/HTML; charset=utf-8", "text/html"),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        ("", ""),
    ] {
        let refused = refuse(with_header("content-type", value), Limits::default()).await;
        assert_eq!(refused, (415, body(shown)));
    }
    let request =
        Request::post(MESSAGES).header("content-type", "text/plain").body(Untouchable).expect("valid");
    assert_eq!(
        refuse(request, Limits::default()).await,
        (415, r#"{"type":"error","error":{"type":"invalid_request_error","message":"content-type must be application/json, not \"text/plain\""}}"#.to_owned())
    );
}

#[tokio::test]
async fn another_charset_is_refused_before_the_body_is_read() {
    let body = |shown: &str| {
        let message = json(&format!("the charset of content-type must be utf-8, not {shown:?}"));
        format!(
            r#"{{"error":{{"message":{message},"type":"invalid_request_error","param":null,"code":"unsupported_media_type"}}}}"#
        )
    };
    for (value, shown) in [
        ("application/json; charset=utf-16", "utf-16"),
        ("application/json;CHARSET=\"ISO-8859-1\"", "iso-8859-1"),
        ("application/json; x=y; charset = utf-7", "utf-7"),
        ("application/json; charset=utf-8; charset=utf-16", "utf-16"),
        ("application/problem+json; charset=", ""),
        ("application/json; charset", ""),
    ] {
        let refused = refuse(with_header("content-type", value), Limits::default()).await;
        assert_eq!(refused, (415, body(shown)), "{value}");
    }
    let kind = "application/json; charset=utf-16";
    let request = Request::post(MESSAGES).header("content-type", kind).body(Untouchable).expect("valid");
    assert_eq!(
        refuse(request, Limits::default()).await,
        (415, r#"{"type":"error","error":{"type":"invalid_request_error","message":"the charset of content-type must be utf-8, not \"utf-16\""}}"#.to_owned())
    );
}

#[tokio::test]
async fn several_content_types_are_refused_even_when_they_agree() {
    let body = r#"{"error":{"message":"content-type stands twice in the request's headers","type":"invalid_request_error","param":null,"code":"unsupported_media_type"}}"#;
    for second in ["application/json", "text/plain"] {
        let mut request = with_header("content-type", "application/json");
        request.headers_mut().append("content-type", second.parse().expect("valid"));
        assert_eq!(refuse(request, Limits::default()).await, (415, body.to_owned()));
    }
}

#[tokio::test]
async fn compressed_bodies_are_refused_before_they_are_read() {
    let body = r#"{"error":{"message":"content-encoding is not supported in requests: send the body uncompressed","type":"invalid_request_error","param":null,"code":"unsupported_media_type"}}"#;
    for encoding in ["gzip", "br", "identity, gzip", "GZIP"] {
        let refused = refuse(with_header("content-encoding", encoding), Limits::default()).await;
        assert_eq!(refused, (415, body.to_owned()));
    }
    let mut two = with_header("content-encoding", "identity");
    two.headers_mut().append("content-encoding", "gzip".parse().expect("valid"));
    assert_eq!(refuse(two, Limits::default()).await, (415, body.to_owned()));
    let mut request = with_header("content-encoding", "gzip");
    *request.uri_mut() = MESSAGES.parse().expect("valid");
    assert_eq!(
        refuse(request, Limits::default()).await,
        (415, r#"{"type":"error","error":{"type":"invalid_request_error","message":"content-encoding is not supported in requests: send the body uncompressed"}}"#.to_owned())
    );
}

#[tokio::test]
async fn an_announced_length_over_the_limit_is_refused_before_the_body_is_read() {
    let refused = refuse(with_header("content-length", "33554433"), Limits::default()).await;
    assert_eq!(
        refused,
        (413, r#"{"error":{"message":"the request body is larger than 33554432 bytes","type":"invalid_request_error","param":null,"code":"request_too_large"}}"#.to_owned())
    );
    let mut request = with_header("content-length", "11");
    *request.uri_mut() = MESSAGES.parse().expect("valid");
    assert_eq!(
        refuse(request, Limits::default().body(10)).await,
        (413, r#"{"type":"error","error":{"type":"request_too_large","message":"the request body is larger than 10 bytes"}}"#.to_owned())
    );
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_refused_where_it_passes_it() {
    let chunks = || {
        let good = [r#"{"model":"#, r#""m""#, ",x"].map(|part| Ok(Frame::data(Bytes::from(part))));
        // One byte over the limit with the third chunk: the fourth is not asked for.
        let rest = stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            panic!("read on behind the limit")
        });
        StreamBody::new(stream::StreamExt::chain(stream::iter(good), rest))
    };
    let request = Request::post(CHAT).body(chunks()).expect("valid");
    assert_eq!(
        refuse(request, Limits::default().body(13)).await,
        (413, r#"{"error":{"message":"the request body is larger than 13 bytes","type":"invalid_request_error","param":null,"code":"request_too_large"}}"#.to_owned())
    );
}

fn failing(error: BoxError) -> Request<Body> {
    let frames = [Ok(Frame::data(Bytes::from(r#"{"model"#))), Err(error)];
    post(CHAT, Body::empty()).map(|_| Body::new(StreamBody::new(stream::iter(frames))))
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    assert_eq!(
        refuse(failing("connection reset by 10.0.0.1".into()), Limits::default()).await,
        (400, r#"{"error":{"message":"the request body ended before it was complete","type":"invalid_request_error","param":null,"code":null}}"#.to_owned())
    );
}

#[tokio::test]
async fn a_body_that_fails_with_a_refusal_of_its_own() {
    #[derive(Debug)]
    struct Late(Rejection);
    impl fmt::Display for Late {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("late")
        }
    }
    impl std::error::Error for Late {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let late = Rejection::new(Cause::RequestTimeout, "the request took too long");
    assert_eq!(
        refuse(failing(Box::new(Late(late))), Limits::default()).await,
        (408, r#"{"error":{"message":"the request took too long","type":"invalid_request_error","param":null,"code":"request_timeout"}}"#.to_owned())
    );
}

//! Calls whose body is a form.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};

use super::*;
use crate::Resend;

const PATH: &str = "/v1/audio/transcriptions";
const KIND: &str = "multipart/form-data; boundary=b0";

fn field(name: &str, value: &str) -> String {
    format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn file(content: &str) -> String {
    format!(
        "--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \u{e9}.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n{content}\r\n"
    )
}

fn form(parts: &[String]) -> String {
    format!("{}--b0--\r\n", parts.concat())
}

fn request(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", KIND).body(body.into()).expect("valid")
}

/// A form that comes in pieces of this size; counts those that were taken.
fn coming(form: &str, size: usize) -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let pieces: Vec<_> = form.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
    let frames = stream::iter(pieces).map(move |piece| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, BoxError>(Frame::data(piece))
    });
    (Body::new(StreamBody::new(frames)), taken)
}

async fn refused(request: Request<Body>, limits: &Limits) -> (Cause, String, Option<String>) {
    let rejection = Call::read(request, limits).await.expect_err("is refused");
    let problem = rejection.problem();
    (problem.cause, problem.message.clone(), problem.param.as_deref().map(str::to_owned))
}

async fn text(body: Body) -> String {
    String::from_utf8(body.collect().await.expect("is whole").to_bytes().to_vec()).expect("is UTF-8")
}

#[tokio::test]
async fn a_small_form_is_held_and_its_fields_are_read() {
    let body = form(&[
        field("model", "whisper \"1\""),
        field("stream", "true"),
        field("user", "ann"),
        file("sound"),
        field("language", "de"),
    ]);
    for size in [1, 7, 1000] {
        let (request, call) = read(request(PATH, coming(&body, size).0)).await;
        assert_eq!((call.operation(), call.model()), (Operation::Transcription, Some("whisper \"1\"")));
        assert_eq!((call.stream(), call.end_user().as_deref(), call.n()), (true, Some("ann"), 1));
        assert_eq!(
            (call.form_field("language"), call.form_field("file"), call.files()),
            (Some("de"), None, 1)
        );
        assert_eq!((call.text(), call.is_form(), call.length()), ("", true, Some(body.len() as u64)));
        assert_eq!(request.body().as_bytes().map(|bytes| &bytes[..]), Some(body.as_bytes()));
        assert!(Call::of(&request).is_some());
    }
}

#[tokio::test]
async fn a_long_form_passes_as_it_comes_once_its_file_begins() {
    let body = form(&[field("model", "m"), file(&"\r\n--b".repeat(10_000)), field("language", "de")]);
    let mut asked = request(PATH, coming(&body, 100).0);
    asked.headers_mut().insert("content-length", body.len().into());
    let (body_of, taken) = coming(&body, 100);
    *asked.body_mut() = body_of;
    let (asked, call) = Call::read(asked, &Limits::default().form(1000)).await.expect("reads");
    assert_eq!((call.model(), call.files(), call.length()), (Some("m"), 1, Some(body.len() as u64)));
    assert_eq!(taken.load(Ordering::SeqCst), 2, "what holds the heads");
    assert_eq!(call.form_field("language"), None, "is not there yet");
    let held = asked.body().held().expect("is begun").clone();
    assert!(body.as_bytes().starts_with(&held) && asked.body().as_bytes().is_none());
    assert!(held.len() < 300 && Call::of(&asked).is_some());
    assert_eq!(text(asked.into_body()).await, body);
    assert_eq!(taken.load(Ordering::SeqCst), body.len().div_ceil(100));

    // Where the length is not announced, it shows.
    let (asked, call) =
        Call::read(request(PATH, coming(&body, 100).0), &Limits::default().form(1000)).await.expect("reads");
    assert!(asked.body().held().is_some_and(|held| (1000..1200).contains(&held.len())));
    assert_eq!(call.length(), None);
    assert_eq!(text(asked.into_body()).await, body);
}

#[tokio::test]
async fn the_model_behind_the_file_is_read_up_to_the_limit_of_bodies() {
    let behind = form(&[file(&"x".repeat(5000)), field("model", "m")]);
    let limits = Limits::default().form(1000).body(6000);
    let (asked, call) = Call::read(request(PATH, coming(&behind, 100).0), &limits).await.expect("reads");
    assert_eq!((call.model(), call.length()), (Some("m"), Some(behind.len() as u64)));
    assert_eq!(asked.body().as_bytes().map(|bytes| &bytes[..]), Some(behind.as_bytes()));
    assert_eq!(
        refused(request(PATH, coming(&behind, 100).0), &limits.body(4000)).await,
        (
            Cause::TooLarge,
            "a form that is larger than 4000 bytes must have `model` ahead of its file".to_owned(),
            Some("model".to_owned())
        )
    );
    // Edits of images are held: what they cost may stand behind the images.
    let edit = form(&[field("model", "m"), file(&"x".repeat(5000)), field("n", "3")]);
    let (asked, call) =
        Call::read(request("/v1/images/edits", coming(&edit, 100).0), &limits).await.expect("reads");
    assert_eq!((call.operation(), call.n(), call.field(Field::N)), (Operation::ImageEdit, 3, Some("3")));
    assert!(asked.body().as_bytes().is_some());
    let too_long = request("/v1/images/edits", coming(&edit, 100).0);
    assert_eq!(refused(too_long, &limits.body(4000)).await.0, Cause::TooLarge);
}

#[tokio::test]
async fn a_model_in_the_path_counts_and_one_that_comes_later_is_left_out() {
    let path = "/openai/deployments/gpt-4o-transcribe/audio/transcriptions";
    let sound = file(&"x".repeat(5000));
    let body = form(&[sound.clone(), field("model", "m"), field("language", "de")]);
    let mut asked = request(path, coming(&body, 100).0);
    asked.headers_mut().insert("content-length", body.len().into());
    let (asked, call) = Call::read(asked, &Limits::default().form(1000)).await.expect("reads");
    assert_eq!((call.model(), call.length()), (Some("gpt-4o-transcribe"), None));
    assert_eq!(asked.headers().get("content-length"), None, "it may be shorter");
    assert_eq!(asked.body().size_hint().exact(), None);
    assert_eq!(text(asked.into_body()).await, form(&[sound, field("language", "de")]));
}

#[tokio::test]
async fn what_is_no_form_is_refused_by_name() {
    let good = form(&[field("model", "m"), file("x")]);
    let of_kind = |kind: &str| {
        let request = Request::post(PATH).header("content-type", kind).body(Body::from(good.clone()));
        request.expect("valid")
    };
    let limits = Limits::default();
    for (kind, cause, message) in [
        ("application/json", Cause::UnsupportedMediaType, "content-type must be multipart/form-data"),
        ("multipart/form-data", Cause::InvalidRequest, "content-type names no boundary"),
        ("multipart/form-data; boundary=", Cause::InvalidRequest, "content-type names no boundary"),
        (
            "multipart/form-data; boundary=a{b",
            Cause::InvalidRequest,
            "content-type names a boundary that is none",
        ),
        (
            "multipart/form-data; boundary=b0; Boundary=b1",
            Cause::InvalidRequest,
            "content-type names more than one boundary",
        ),
        (
            "multipart/form-data; boundary=b0; boundary*=utf-8''b1",
            Cause::InvalidRequest,
            "content-type has a parameter that is neither `boundary` nor `charset`",
        ),
        (
            "multipart/form-data; boundary=b0,b1",
            Cause::InvalidRequest,
            "content-type names a boundary that is none",
        ),
        (
            "multipart/form-data; boundary=b0; charset=utf-7",
            Cause::UnsupportedMediaType,
            "the charset of content-type must be utf-8",
        ),
        (
            "multipart/form-data; boundary=b1",
            Cause::InvalidRequest,
            "the form is malformed: it does not begin with its boundary",
        ),
    ] {
        assert_eq!(refused(of_kind(kind), &limits).await, (cause, message.to_owned(), None), "{kind}");
    }
    let mut twice = of_kind(KIND);
    twice.headers_mut().append("content-type", "multipart/form-data; boundary=b1".parse().expect("is one"));
    assert_eq!(refused(twice, &limits).await.1, "content-type stands twice in the request's headers");
    assert!(Call::read(of_kind("Multipart/Form-Data;charset=utf-8; boundary=\"b0\""), &limits).await.is_ok());

    let model = Some("model".to_owned());
    for (parts, message, param) in [
        (vec![file("x")], "missing required field `model`", model.clone()),
        (vec![field("model", "")], "missing required field `model`", model.clone()),
        (
            vec![field("model", "a"), file("x"), field("model", "b")],
            "the field `model` stands twice in the form",
            model.clone(),
        ),
        (
            vec![field("Model", "m")],
            "a field differs from `model` in its case, blanks or brackets alone",
            model.clone(),
        ),
        (
            vec![field("model", "m"), field("model[]", "n")],
            "a field differs from `model` in its case, blanks or brackets alone",
            model.clone(),
        ),
        (
            vec![field("model", "m"), field(" Model", "n")],
            "a field differs from `model` in its case, blanks or brackets alone",
            model.clone(),
        ),
        (
            vec![field("model", "m"), field("[n][0]", "9")],
            "a field differs from `n` in its case, blanks or brackets alone",
            Some("n".to_owned()),
        ),
        (
            vec![file("x").replace("\"file\"", "\"model\"")],
            "`model` must be a field of text, not a file",
            model.clone(),
        ),
        (
            vec![field("model", "m"), field("stream", "yes")],
            "`stream` must be true or false, not a string",
            Some("stream".to_owned()),
        ),
        (
            vec![field("model", "m"), field("n", "0")],
            "`n` must be a whole number from 1 to 128, not 0",
            Some("n".to_owned()),
        ),
    ] {
        let expected = (Cause::InvalidRequest, message.to_owned(), param);
        assert_eq!(refused(request(PATH, form(&parts)), &limits).await, expected);
    }
    let cut = good.replace("--b0--", "");
    let message = "the form is malformed: it ends before its last boundary";
    assert_eq!(refused(request(PATH, cut.clone()), &limits).await.1, message);
    assert_eq!(refused(request(PATH, coming(&cut, 9).0), &limits).await.1, message);
    assert_eq!(refused(request(PATH, good.clone()), &limits.body(9)).await.0, Cause::TooLarge);
    let judged = limits.part(|name| match name {
        "file" => Err(invalid("no files", "file")),
        _ => Ok(()),
    });
    assert_eq!(refused(request(PATH, good), &judged).await.1, "no files");
    let listed = form(&[field("model", "m"), file("x").replace("\"file\"", "\" file[]\"")]);
    assert_eq!(refused(request(PATH, listed), &judged).await.1, "no files");
}

#[tokio::test]
async fn what_is_wrong_behind_the_beginning_of_a_file_fails_the_body() {
    let limits = Limits::default().form(100).upload(3000).part(|name| match name {
        "api_base" => Err(invalid("not for callers", "api_base")),
        _ => Ok(()),
    });
    let whole = |last: &str| format!("{}{}{last}", field("model", "m"), file(&"x".repeat(2000)));
    for (body, message) in [
        (whole(&form(&[field("model", "n")])), "the field `model` stands twice in the form"),
        (whole(&form(&[field("api_base", "n")])), "not for callers"),
        (whole(&form(&[field("user", "n")])), "`user` must stand ahead of the file in a form of this size"),
        (
            whole(&form(&[field("stream", "true")])),
            "`stream` must stand ahead of the file in a form of this size",
        ),
        (whole(&form(&[field("n", "9")])), "`n` must stand ahead of the file in a form of this size"),
        (whole(""), "the form is malformed: it ends before its last boundary"),
        (whole("--b0--x"), "the form is malformed: something stands behind its last boundary"),
        (whole(&form(&[field("prompt", &"x".repeat(2000))])), "the request body is larger than 3000 bytes"),
    ] {
        let (asked, _) = Call::read(request(PATH, coming(&body, 50).0), &limits).await.expect("begins");
        let error = asked.into_body().collect().await.expect_err("fails");
        let rejection = Rejection::find_in(&*error).expect("is ours");
        assert_eq!(rejection.problem().message, message);
    }
    let mut announced = request(PATH, coming(&whole("--b0--"), 50).0);
    announced.headers_mut().insert("content-length", 3001.into());
    assert_eq!(refused(announced, &limits).await.0, Cause::TooLarge);
}

#[tokio::test]
async fn parts_are_changed_and_all_others_stay() {
    let sound = file("sound");
    let body = form(&[field("model", "m"), field("timeout", "3"), sound.clone(), field("language", "de")]);
    let (mut asked, call) = read(request(PATH, body.clone())).await;
    assert!(
        call.edit().remove(&["nothing"]).is_empty() && call.edit().add_missing("language", "1").is_empty()
    );
    assert!(!call.edit().remove(&["timeout"]).is_empty());
    let edit =
        call.edit().set_string(Field::Model, "w \"1\"").remove(&["timeout"]).add_missing("prompt", "\"a\"");
    let edited = edit.add_missing("temperature", "0.5").remove(&["file"]).finish();
    let expected = form(&[
        field("prompt", "a"),
        field("temperature", "0.5"),
        field("model", "w \"1\""),
        sound.clone(),
        field("language", "de"),
    ]);
    assert_eq!(std::str::from_utf8(&edited), Ok(&*expected));
    let call = Call::replace(&mut asked, edited).expect("is a form");
    assert_eq!((call.model(), call.form_field("prompt")), (Some("w \"1\""), Some("a")));
    // The first parts go, and the last.
    let edited = call.edit().remove(&["prompt"]).remove(&["temperature"]).remove(&["language"]).finish();
    assert_eq!(std::str::from_utf8(&edited), Ok(&*form(&[field("model", "w \"1\""), sound.clone()])));
    let call = Call::replace(&mut asked, edited).expect("is a form");
    assert!(Call::replace(&mut asked, call.edit().remove(&["model"]).finish()).is_err(), "needs one");
}

#[tokio::test]
async fn the_beginning_of_a_form_is_changed_and_its_rest_follows() {
    let sound = file(&"x".repeat(5000));
    let body = form(&[field("model", "m"), sound.clone(), field("language", "de")]);
    let mut asked = request(PATH, coming(&body, 100).0);
    asked.headers_mut().insert("content-length", body.len().into());
    let (mut asked, call) = Call::read(asked, &Limits::default().form(1000)).await.expect("reads");
    let edited = call.edit().set_string(Field::Model, "whisper-1").finish();
    let call = Call::replace(&mut asked, edited).expect("is a beginning");
    let expected = form(&[field("model", "whisper-1"), sound, field("language", "de")]);
    assert_eq!((call.model(), call.length()), (Some("whisper-1"), Some(expected.len() as u64)));
    assert_eq!(asked.headers()["content-length"], expected.len().to_string());
    assert_eq!(Call::of(&asked).and_then(Call::model), Some("whisper-1"));
    assert_eq!(text(asked.into_body()).await, expected);
}

#[tokio::test]
async fn a_form_can_be_sent_again_until_bytes_behind_its_beginning_are_taken() {
    let body = form(&[field("model", "m"), file(&"x".repeat(5000))]);
    let (asked, _) =
        Call::read(request(PATH, coming(&body, 100).0), &Limits::default().form(1000)).await.expect("reads");
    let again = Resend::new(asked.into_body(), 10).await.expect("is not collected");
    assert!(!again.is_whole() && again.may_repeat());
    let mut first = again.body();
    assert!(first.held().is_some());
    let beginning = first.frame().await.expect("is there").expect("is held").into_data().expect("are bytes");
    assert!(again.may_repeat(), "only what is held was taken");
    let second = again.body();
    let late = first.frame().await.expect("is asked").expect_err("is another's");
    assert_eq!(late.to_string(), "another attempt sends the body");
    let sent = text(second).await;
    assert!(sent.as_bytes().starts_with(&beginning));
    assert_eq!(sent, body);
    assert!(!again.may_repeat());

    let whole = Resend::new(Body::from("abc"), 3).await.expect("fits");
    assert_eq!((text(whole.body()).await, text(whole.body()).await), ("abc".to_owned(), "abc".to_owned()));
    assert!(whole.is_whole() && whole.may_repeat());
    assert!(Resend::new(Body::from("abcd"), 3).await.is_err());
}

//! What sound and images are charged: by the piece, by tokens, by the characters.

mod support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use tower::{Layer, ServiceExt};
use ziggurat_budget::{BudgetLayer, Ledger, Unpriced};
use ziggurat_catalog::{Catalog, Model, Prices, Unit};
use ziggurat_core::{
    Body, Convention, Dialect, Meter, Metered, Operation, Outcome, ParamPolicy, Target, Usage, Usd, Wording,
};

use crate::support::{cents, spent, text};

fn prices(rates: &[(Unit, &str)]) -> Prices {
    rates
        .iter()
        .fold(Prices::new(), |prices, (unit, rate)| prices.with(*unit, rate.parse().expect("is a price")))
}

fn catalog() -> Catalog {
    let model = |id: &str, rates: &[(Unit, &str)]| {
        Model::new(id, "openai").prices(prices(rates)).window(16_000, 2000)
    };
    Catalog::empty().with_all([
        model("by-second", &[(Unit::SecondInput, "0.0001"), (Unit::SecondOutput, "0.0001")]),
        model(
            "by-token",
            &[(Unit::Input, "0.0000025"), (Unit::Output, "0.00001"), (Unit::AudioInput, "0.000006")],
        ),
        model("by-character", &[(Unit::CharacterInput, "0.000015")]),
        model("by-image", &[(Unit::PerImageOutput, "0.04")]),
        model(
            "by-image-token",
            &[(Unit::Input, "0.000005"), (Unit::ImageInput, "0.00001"), (Unit::ImageOutput, "0.00004")],
        ),
        model("hd/1024-x-1792/listed", &[(Unit::PixelInput, "0.00000007")]),
        model("standard/1024-x-1024/listed", &[(Unit::PerImageInput, "0.05")]),
        model("flat", &[(Unit::Input, "0.000001"), (Unit::Output, "0.00001")]).window(16_000, 16_000),
        model("by-nothing", &[]),
    ])
}

/// What is set aside for a call, what it cost, and the status: the provider answers with this status and states this usage, and the budget
/// is of so many cents.
async fn ask(
    of_cents: u64,
    mut request: Request<Body>,
    model: &str,
    answer: (u16, Option<Usage>),
) -> (Usd, Usd, u16) {
    request.extensions_mut().insert(target(model));
    ask_at(of_cents, request, model, answer).await
}

/// As [`ask`], where images are asked for in other words than OpenAI's, and this is how it ends.
async fn ask_reworded(body: &str, model: &str, usage: Usage, outcome: Outcome) -> (Usd, Usd) {
    let url = "https://o.example/draw";
    let target = target(model).serves_as(Operation::Images, url, Wording::GenerateImages).expect("is a URL");
    let mut request = json("/v1/images/generations", body);
    request.extensions_mut().insert(target.clone());
    let (set_aside, spent, _) = ask_of(1000, request, target, (200, Some(usage)), outcome).await;
    (set_aside, spent)
}

fn target(model: &str) -> Target {
    Target::new("openai", Dialect::OpenAi, model, "https://o.example/v1/x").expect("is a target")
}

/// As [`ask`], where the target is chosen behind the layer, which lets calls pass that have no price.
async fn ask_at(
    of_cents: u64,
    request: Request<Body>,
    model: &str,
    answer: (u16, Option<Usage>),
) -> (Usd, Usd, u16) {
    let outcome = if answer.0 == 200 { Outcome::Complete } else { Outcome::Failed };
    ask_of(of_cents, request, target(model), answer, outcome).await
}

async fn ask_of(
    of_cents: u64,
    request: Request<Body>,
    chosen: Target,
    answer: (u16, Option<Usage>),
    outcome: Outcome,
) -> (Usd, Usd, u16) {
    let (ledger, budget) = (Ledger::in_memory(), cents(of_cents));
    let unpriced = match request.extensions().get::<Target>() {
        Some(_) => Unpriced::Refuse,
        None => Unpriced::Allow,
    };
    let set_aside = Arc::new(Mutex::new(Usd::ZERO));
    let (keep, watched, of) = (Arc::clone(&set_aside), ledger.clone(), budget.clone());
    let upstream = tower::service_fn(move |request: Request<Body>| {
        let (keep, watched, of, chosen) = (Arc::clone(&keep), watched.clone(), of.clone(), chosen.clone());
        async move {
            let (status, usage) = answer;
            let meter = request.extensions().get::<Meter>().expect("is metered");
            let mut attempt = match meter.attempt(Some(&chosen)).await {
                Ok(attempt) => attempt,
                Err(rejection) => return Ok(rejection.into_response(Dialect::OpenAi)),
            };
            *keep.lock().expect("is sound") = spent(&watched, &of).1;
            attempt.sent();
            let mut response =
                Response::builder().status(status).body(Body::from("{}")).expect("is an answer");
            attempt.answered(response.status());
            if let Some(usage) = usage {
                attempt.usage(&usage);
            }
            attempt.end(outcome);
            response.extensions_mut().insert(Metered);
            Ok::<_, Infallible>(response)
        }
    });
    let layer = BudgetLayer::new(ledger.clone(), catalog()).budget(budget.clone()).unpriced(unpriced);
    let response = layer.layer(upstream).oneshot(request).await.expect("does not fail");
    let status = response.status().as_u16();
    text(response).await;
    let set_aside = *set_aside.lock().expect("is sound");
    let spent = ledger.balance(&budget).map_or(Usd::ZERO, |balance| balance.spent);
    (set_aside, spent, status)
}

fn used(change: impl FnOnce(&mut Usage)) -> (u16, Option<Usage>) {
    let mut usage = Usage::new(Convention::OPENAI);
    change(&mut usage);
    (200, Some(usage))
}

fn part(head: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

fn form(path: &str, parts: &[String]) -> Request<Body> {
    let request = Request::post(path).header("content-type", "multipart/form-data; boundary=b");
    request.body(Body::from(parts.concat() + "--b--")).expect("is a request")
}

/// A form of so many bytes.
fn with_sound(path: &str, bytes: usize) -> Request<Body> {
    let parts = |sound: &str| [part("name=\"model\"", "m"), part("name=\"file\"; filename=\"a\"", sound)];
    let frame = parts("").concat().len() + "--b--".len();
    form(path, &parts(&"s".repeat(bytes - frame)))
}

fn heard(bytes: usize) -> Request<Body> {
    with_sound("/v1/audio/transcriptions", bytes)
}

fn translated(bytes: usize) -> Request<Body> {
    with_sound("/v1/audio/translations", bytes)
}

fn edited(bytes: usize) -> Request<Body> {
    let image = part("name=\"image\"; filename=\"a\"", &"i".repeat(bytes));
    form("/v1/images/edits", &[part("name=\"model\"", "m"), image, part("name=\"prompt\"", "a")])
}

fn json(path: &str, body: &str) -> Request<Body> {
    Request::post(path).body(Body::from(body.to_owned())).expect("is a request")
}

fn usd(amount: &str) -> Usd {
    amount.parse().expect("is an amount")
}

#[tokio::test]
async fn sound_is_charged_by_the_seconds_that_were_heard() {
    // A second for a thousand bytes is set aside.
    let said = used(|usage| usage.heard = Some(Duration::from_millis(7500)));
    assert_eq!(ask(100, heard(60_000), "by-second", said).await, (usd("0.006"), usd("0.00075"), 200));
    // Text says nothing of it: then as much as was set aside.
    assert_eq!(ask(100, heard(60_000), "by-second", (200, None)).await, (usd("0.006"), usd("0.006"), 200));
    assert_eq!(ask(100, heard(60_000), "by-second", (500, None)).await, (usd("0.006"), Usd::ZERO, 500));
}

#[tokio::test]
async fn sound_is_charged_by_its_tokens_where_those_are_stated() {
    let said = used(|usage| {
        (usage.input, usage.audio_input, usage.output) = (Some(110), Some(100), Some(5));
    });
    // 60 s of 17 tokens, and the longest text.
    let (set_aside, cost, _) = ask(100, heard(60_000), "by-token", said).await;
    assert_eq!((set_aside, cost), (usd("0.02612"), usd("0.000675")));
}

#[tokio::test]
async fn speech_is_charged_by_its_characters() {
    let asked = json("/v1/audio/speech", r#"{"model":"m","voice":"v","input":"Gr\u00fc\u00dfe \"du\""}"#);
    assert_eq!(ask(100, asked, "by-character", (200, None)).await, (usd("0.00015"), usd("0.00015"), 200));
    let asked = json("/v1/audio/speech", r#"{"model":"m","voice":"v","input":"Hi"}"#);
    assert_eq!(ask(100, asked, "by-character", (400, None)).await, (usd("0.00003"), Usd::ZERO, 400));
}

#[tokio::test]
async fn images_are_charged_by_how_many_were_made() {
    let asked = || json("/v1/images/generations", r#"{"model":"m","prompt":"a","n":3}"#);
    let two = used(|usage| usage.images = Some(2));
    assert_eq!(ask(100, asked(), "by-image", two).await, (usd("0.12"), usd("0.08"), 200));
    assert_eq!(ask(11, asked(), "by-image", two).await, (Usd::ZERO, Usd::ZERO, 429));
    let asked = json("/v1/images/generations", r#"{"model":"m","size":"1024x1792","quality":"hd"}"#);
    let one = used(|usage| usage.images = Some(1));
    let cost = usd("0.12845056");
    assert_eq!(ask(100, asked, "listed", one).await, (cost, cost, 200));
    let asked = json("/v1/images/generations", r#"{"model":"m","prompt":"a","size":"auto"}"#);
    assert_eq!(ask(100, asked, "listed", one).await, (usd("0.05"), usd("0.05"), 200));
}

#[tokio::test]
async fn images_are_charged_by_their_tokens() {
    let asked = json("/v1/images/generations", r#"{"model":"m","prompt":"a","n":2,"quality":"low"}"#);
    let said = used(|usage| {
        (usage.input, usage.output, usage.image_output, usage.images) =
            (Some(10), Some(544), Some(544), Some(2));
    });
    let (set_aside, cost, _) = ask(100, asked, "by-image-token", said).await;
    assert_eq!(cost, usd("0.02181"));
    assert!(set_aside >= usd("0.03264") && set_aside < usd("0.0328"), "{set_aside}");
}

#[tokio::test]
async fn a_quality_that_is_taken_out_is_not_counted_on() {
    let mut policy = ParamPolicy::default();
    policy.additional_drop_params = ["quality".to_owned()].into();
    let target = target("by-image-token").policy(policy);
    let mut asked = json("/v1/images/generations", r#"{"model":"m","prompt":"a","quality":"low"}"#);
    asked.extensions_mut().insert(target.clone());
    let said = used(|usage| (usage.output, usage.image_output) = (Some(4160), Some(4160)));
    let (set_aside, cost, _) = ask_of(100, asked, target, said, Outcome::Complete).await;
    assert_eq!(cost, usd("0.1664"));
    // 6,240 tokens, and the prompt.
    assert!(set_aside >= usd("0.2496") && set_aside < usd("0.25"), "{set_aside}");
}

/// Whatever the caller says of the quality; and each call reads the prompt, and may think for as long as the model can write.
#[tokio::test]
async fn images_that_are_drawn_apart_are_set_aside_for_apart() {
    let asked = format!(r#"{{"prompt":"{}","n":2,"quality":"low"}}"#, "a".repeat(3000));
    let mut usage = Usage::new(Convention::XAI);
    (usage.input, usage.images) = (Some(2000), Some(2));
    (usage.output, usage.image_output) = (Some(2580), Some(2580));
    let (set_aside, cost) = ask_reworded(&asked, "by-image-token", usage, Outcome::Complete).await;
    assert_eq!(cost, usd("0.1132"));
    // The prompt twice, and twice 6,240 tokens.
    assert!(set_aside >= usd("0.5092") && set_aside < usd("0.51"), "{set_aside}");
    // Where an image costs no more than text, the most that is written decides: 16,000 tokens.
    (usage.output, usage.reasoning) = (Some(1120), Some(14_000));
    (usage.images, usage.image_output) = (Some(1), Some(1120));
    let thought = ask_reworded(r#"{"prompt":"a"}"#, "flat", usage, Outcome::Complete).await;
    assert_eq!(thought.1, usd("0.1512") + usd("0.002"));
    assert!(thought.0 >= usd("0.16") && thought.0 < usd("0.1601"), "{}", thought.0);
}

#[tokio::test]
async fn what_was_drawn_ahead_of_a_failure_is_charged_and_no_more() {
    let asked = r#"{"prompt":"a","n":3}"#;
    let mut usage = Usage::new(Convention::OPENAI);
    usage.images = Some(1);
    let drawn = ask_reworded(asked, "by-image", usage, Outcome::Failed).await;
    assert_eq!(drawn, (usd("0.12"), usd("0.04")));
    usage.images = Some(0);
    assert_eq!(ask_reworded(asked, "by-image", usage, Outcome::Failed).await.1, Usd::ZERO);
    // Who left does not know what came of the rest.
    usage.images = Some(1);
    assert_eq!(ask_reworded(asked, "by-image", usage, Outcome::Cancelled).await.1, usd("0.12"));
    // Nor does who was not given all of a later answer.
    assert_eq!(ask_reworded(asked, "by-image", usage, Outcome::Truncated).await.1, usd("0.12"));
}

#[tokio::test]
async fn what_has_no_price_is_refused() {
    for (request, model) in [
        (heard(1000), "by-nothing"),
        (heard(1000), "by-character"),
        (json("/v1/audio/speech", r#"{"model":"m","input":"a"}"#), "by-image"),
        (json("/v1/images/generations", r#"{"model":"m","prompt":"a"}"#), "by-second"),
        (json("/v1/images/generations", r#"{"model":"m","prompt":"a","size":"9x9"}"#), "listed"),
    ] {
        let (_, cost, status) = ask(100, request, model, (200, None)).await;
        assert_eq!((cost, status), (Usd::ZERO, 400), "{model}");
    }
}

#[tokio::test]
async fn an_exhausted_budget_refuses_forms() {
    let said = used(|usage| {
        (usage.heard, usage.images) = (Some(Duration::from_secs(1)), Some(1));
        (usage.output, usage.image_output) = (Some(10), Some(10));
    });
    for (request, model, cost) in [
        (heard as fn(usize) -> Request<Body>, "by-second", "0.0001"),
        (heard, "by-token", "0.0001"),
        (translated, "by-second", "0.0001"),
        (translated, "by-token", "0.0001"),
        (edited, "by-image", "0.04"),
        (edited, "by-image-token", "0.0004"),
    ] {
        assert_eq!(ask(0, request(1000), model, said).await, (Usd::ZERO, Usd::ZERO, 429), "{model}");
        let (_, charged, status) = ask(1000, request(1000), model, said).await;
        assert_eq!((charged, status), (usd(cost), 200), "{model}");
    }
}

#[tokio::test]
async fn what_turns_out_to_have_a_price_is_set_aside_for_and_charged() {
    let said = used(|usage| usage.heard = Some(Duration::from_millis(7500)));
    let known = ask_at(100, heard(60_000), "by-second", said).await;
    assert_eq!(known, (usd("0.006"), usd("0.00075"), 200));
    assert_eq!(ask_at(0, heard(60_000), "by-second", said).await, (Usd::ZERO, Usd::ZERO, 429));
    assert_eq!(ask_at(0, heard(60_000), "by-nothing", said).await, (Usd::ZERO, Usd::ZERO, 200));
}

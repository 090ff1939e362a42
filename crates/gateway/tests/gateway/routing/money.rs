//! What calls with several attempts cost, and who pays.

use serde_json::json;

use super::{admin, ask, bearer, new_key};
use crate::{
    client::{Answer, get, post},
    harness::{Gateway, until},
    paid::key,
    samples::{Api, CHAT},
    vendor::{Says, Then, Vendor},
};

/// Hundred tokens are a dollar, and three bytes a token.
const PRICE: [&str; 2] = ["input_cost_per_token: 0", "output_cost_per_token: 0.01"];
/// A hundred are two.
const DEARER: [&str; 2] = ["input_cost_per_token: 0", "output_cost_per_token: 0.02"];

struct Paying {
    one: Vendor,
    two: Vendor,
    three: Vendor,
    gateway: Gateway,
    secret: String,
}

impl Paying {
    /// `m` at the first, `m2` at the second, which is twice as dear, and `m3` at the third; a key with so many dollars.
    async fn start(budget: f64) -> Self {
        let [one, two, three] = Vendor::several(["one", "two", "three"]).await;
        let config = [
            "model_list:\n",
            &one.entry("m", "openai/my-cheap", &[], &PRICE),
            &two.entry("m2", "openai/my-dear", &[], &DEARER),
            &three.entry("m3", "openai/my-cheap", &[], &PRICE),
            "router_settings: {num_retries: 0, fallbacks: [{m: [m2, m3]}]}
general_settings: {master_key: sk-master-canary, database_url: 'sqlite:keys.db'}
",
        ]
        .concat();
        let gateway = Gateway::start(&config, &[], &[]).await;
        let secret = new_key(gateway.addr, json!({"max_budget": budget})).await;
        Self { one, two, three, gateway, secret }
    }

    async fn ask(&self, stream: bool) -> Answer {
        let body = ask("m", &json!({"stream": stream}));
        post(self.gateway.addr, CHAT, &[&bearer(&self.secret)], &body).await
    }

    async fn spent(&self) -> f64 {
        let path = format!("/key/info?key={}", self.secret);
        let told = get(self.gateway.addr, &path, &[&key()]).await;
        let told: serde_json::Value = serde_json::from_str(&told.body).unwrap();
        told["info"]["spend"].as_f64().unwrap_or_else(|| panic!("{told}"))
    }
}

/// What a stream of 30 tokens comes to, which breaks off with its connection ahead of its first content or behind it.
fn broken(text: &str) -> Says {
    let piece = if text.is_empty() { String::new() } else { Api::OpenAi.piece(text) };
    Says::Stream(Api::OpenAi.opening().to_owned() + &piece, Then::Breaks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_costs_nothing_and_an_answer_its_own_price() {
    let paying = Paying::start(100.0).await;
    paying.one.fails();
    for (stream, spent) in [(false, 2.0), (true, 4.0)] {
        let answer = paying.ask(stream).await;
        assert_eq!((answer.status, answer.says()), (200, paying.two.hello()));
        if !stream {
            assert_eq!(answer.header("x-litellm-response-cost"), Some("2"));
            assert_eq!(answer.header("x-litellm-key-spend"), Some("2"));
        }
        assert!((paying.spent().await - spent).abs() < 1e-9, "{} {spent}", paying.spent().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dearest_that_may_answer_has_to_fit_and_nothing_is_set_aside_twice() {
    // One dollar at the first; two at the second, which would not fit.
    let paying = Paying::start(1.5).await;
    assert_eq!(paying.ask(false).await.status, 429);
    assert_eq!(paying.one.asked() + paying.two.asked() + paying.three.asked(), 0);
    // Two, and no more than that, are set aside for all three.
    let paying = Paying::start(2.0).await;
    paying.one.fails();
    assert_eq!(paying.ask(false).await.status, 200);
    assert!((paying.spent().await - 2.0).abs() < 1e-9);
    let refused = paying.ask(false).await;
    assert_eq!((refused.status, &*refused.says()), (429, "budget_exceeded"));
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert_eq!((paying.one.asked(), paying.two.asked(), paying.three.asked()), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_for_one_model_pays_for_that_model_alone() {
    let mut paying = Paying::start(100.0).await;
    // One call of a dollar, though what may stand in for it is dearer; and two at what stands in.
    let budgets = json!({"model_max_budget": {"m": 1.0, "m2": 4.0}});
    paying.secret = new_key(paying.gateway.addr, budgets).await;
    paying.one.fails();
    assert_eq!(paying.ask(false).await.says(), paying.two.hello());
    assert_eq!(paying.ask(true).await.says(), paying.two.hello());
    // Nothing is left for the second, and the third has no budget of its own.
    assert_eq!(paying.ask(false).await.says(), paying.three.hello());
    paying.one.says(Says::Hello);
    assert_eq!(paying.ask(false).await.says(), paying.one.hello());
    let refused = paying.ask(false).await;
    assert_eq!((refused.status, &*refused.says()), (429, "budget_exceeded"));
    let asked = [paying.one.asked(), paying.two.asked(), paying.three.asked()];
    assert_eq!((asked, paying.spent().await), ([4, 2, 1], 6.0));
}

/// What is spent of a deployment, or of its provider, makes the next one answer; the caller is refused where there is none.
#[tokio::test(flavor = "multi_thread")]
async fn the_budget_of_a_deployment_or_a_provider_passes_calls_on() {
    let own = |order: &'static str, budget: &'static [&'static str]| [&[order][..], budget].concat();
    for stream in [false, true] {
        let [one, two, three] = Vendor::several(["one", "two", "three"]).await;
        let config = [
            "model_list:\n",
            &one.entry("m", "openai/my-cheap", &own("order: 1", &["max_budget: 2.5", "budget_duration: 1mo"]), &PRICE),
            &two.entry("m", "groq/my-cheap", &own("order: 2", &[]), &PRICE),
            &three.entry("free", "groq/my-free", &[], &["input_cost_per_token: 0", "output_cost_per_token: 0"]),
            &three.entry("unpriced", "openai/my-unknown", &[], &[]),
            "router_settings: {num_retries: 0, provider_budget_config: {groq: {budget_limit: 1, time_period: 1mo}}}
general_settings: {master_key: sk-master-canary}
",
        ]
        .concat();
        let gateway = Gateway::start(&config, &[], &[]).await;
        let asked = async |model: &str| {
            let body = ask(model, &json!({"stream": stream}));
            post(gateway.addr, CHAT, &[&key()], &body).await
        };
        // A dollar each: two at the first, which has half a dollar left then; one at the second.
        for vendor in [&one, &one, &two] {
            let answer = asked("m").await;
            assert_eq!((answer.status, answer.says()), (200, vendor.hello()), "{stream}");
        }
        let refused = asked("m").await;
        assert_eq!((refused.status, &*refused.says()), (429, "budget_exceeded"), "{stream}");
        // What costs nothing fits; and no budget is for the deployment of what has no price.
        for model in ["free", "unpriced"] {
            assert_eq!(asked(model).await.says(), three.hello(), "{model} {stream}");
        }
        assert_eq!([one.asked(), two.asked(), three.asked()], [2, 1, 2], "{stream}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_billed_is_charged_with_what_answers() {
    let paying = Paying::start(100.0).await;
    // A thinking model, say: tokens that are no content, and are billed.
    let billed = |tokens: u32| {
        let usage = format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{{\"prompt_tokens\":10,\"completion_tokens\":{tokens},\"total_tokens\":{}}}}}\n\n",
            tokens + 10
        );
        Says::Stream(Api::OpenAi.opening().to_owned() + &usage, Then::Breaks)
    };
    paying.one.says(billed(30));
    paying.two.says(billed(50));
    let answer = paying.ask(true).await;
    assert_eq!((answer.status, answer.says()), (200, paying.three.hello()));
    // 30 at a cent, 50 at two, and 100 at a cent.
    assert!((paying.spent().await - 2.3).abs() < 1e-9, "{}", paying.spent().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_does_not_fit_any_more_is_not_made() {
    // Two dollars are set aside: the first attempt takes 0.9 of them, and the second may take two.
    let paying = Paying::start(2.5).await;
    let usage = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":90,\"total_tokens\":100}}\n\n";
    paying.one.says(Says::Stream(Api::OpenAi.opening().to_owned() + usage, Then::Breaks));
    let answer = paying.ask(true).await;
    assert_eq!((answer.status, answer.says()), (200, paying.three.hello()));
    assert_eq!((paying.two.asked(), paying.three.asked()), (0, 1));
    assert!((paying.spent().await - 1.9).abs() < 1e-9, "{}", paying.spent().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_is_charged_for_what_it_gave() {
    let paying = Paying::start(100.0).await;
    paying.one.says(broken(&"abc".repeat(30)));
    let answer = paying.ask(true).await;
    assert_eq!((answer.status, answer.way()), (200, ["m@one", "0", "0"]));
    let spent = paying.spent().await;
    assert!((0.2..0.5).contains(&spent), "{spent}");
    assert_eq!(paying.two.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_that_fall_back_keep_to_the_budget() {
    let paying = Paying::start(10.0).await;
    paying.one.fails();
    // Nobody answers until all that fit have come: five of two dollars.
    paying.two.says(Says::Nothing);
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let (addr, key) = (paying.gateway.addr, bearer(&paying.secret));
            tokio::spawn(async move { post(addr, CHAT, &[&key], &ask("m", &json!({}))).await.status })
        })
        .collect();
    until(|| paying.two.asked() == 5).await;
    paying.two.says(Says::Hello);
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 5].as_slice(), &[429; 7]].concat());
    assert!((paying.spent().await - 10.0).abs() < 1e-9);
    assert_eq!((paying.two.asked(), paying.three.asked()), (5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_is_one_request_to_the_limit_of_a_key() {
    let paying = Paying::start(100.0).await;
    paying.one.fails();
    let secret = new_key(paying.gateway.addr, json!({"rpm_limit": 2})).await;
    for status in [200, 200, 429] {
        let answer = post(paying.gateway.addr, CHAT, &[&bearer(&secret)], &ask("m", &json!({}))).await;
        assert_eq!(answer.status, status);
    }
    admin(paying.gateway.addr, "/key/delete", json!({"keys": [secret]})).await;
    assert_eq!((paying.one.asked(), paying.two.asked()), (2, 2));
}

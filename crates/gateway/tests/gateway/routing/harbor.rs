//! Three models of a harbour office, in two teams, while their vendors go down.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::json;

use super::{admin, ask, bearer, call_with, health, new_key};
use crate::{
    client::{Answer, post},
    harness::{Gateway, until},
    samples::Api,
    vendor::{Says, Vendor},
};

struct Harbor {
    openai: Vendor,
    anthropic: Vendor,
    ollama: Vendor,
    gateway: Gateway,
    /// One of each team.
    keys: [String; 2],
}

/// Every answer costs a cent: 100 tokens of output.
const PRICE: [&str; 2] = ["input_cost_per_token: 0", "output_cost_per_token: 0.0001"];

const MODELS: [&str; 3] = ["harbor-fast", "harbor-quality", "harbor-local"];

impl Harbor {
    async fn start() -> Self {
        let openai = Vendor::start(Api::OpenAi, "openai").await;
        let anthropic = Vendor::start(Api::Anthropic, "anthropic").await;
        let ollama = Vendor::start(Api::OpenAi, "ollama").await;
        let config = [
            "model_list:\n",
            &openai.entry("harbor-fast", "openai/gpt-4o-mini", &[], &PRICE),
            &anthropic.entry("haiku", "anthropic/claude-haiku-4-5", &[], &PRICE),
            &anthropic.entry("harbor-quality", "anthropic/claude-sonnet-4-5", &[], &PRICE),
            &openai.entry("gpt-4o", "openai/gpt-4o", &[], &PRICE),
            &ollama.entry("harbor-local", "openai/llama3.2", &[], &PRICE),
            "router_settings:
  fallbacks:
    - harbor-fast: [haiku]
    - harbor-quality: [gpt-4o]
    - harbor-local: []
  context_window_fallbacks:
    - '*': [gpt-4o]
  default_fallbacks: [gpt-4o]
general_settings:
  master_key: sk-master-canary
  database_url: 'sqlite:keys.db'
",
        ]
        .concat();
        let gateway = Gateway::start(&config, &[], &[]).await;
        let mut keys = Vec::new();
        for team in ["pilots", "tugs"] {
            let models = [&MODELS[..], &["haiku", "gpt-4o"]].concat();
            let team_of =
                json!({"team_id": team, "max_budget": 50, "budget_duration": "1d", "models": models});
            admin(gateway.addr, "/team/new", team_of).await;
            keys.push(new_key(gateway.addr, json!({"team_id": team})).await);
        }
        Self { openai, anthropic, ollama, gateway, keys: keys.try_into().unwrap() }
    }

    async fn ask(&self, team: usize, api: Api, model: &str, stream: bool) -> Answer {
        let body = ask(model, &json!({"stream": stream}));
        post(self.gateway.addr, api.path(), &[&bearer(&self.keys[team])], &body).await
    }

    /// What a team has spent of its fifty dollars.
    async fn spend(&self, team: &str) -> f64 {
        let path = format!("/team/info?team_id={team}");
        let told = crate::client::get(self.gateway.addr, &path, &[&crate::paid::key()]).await;
        let told: serde_json::Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!(told["team_info"]["max_budget"], 50.0, "{told}");
        told["team_info"]["spend"].as_f64().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_notice_nothing_while_a_vendor_goes_down() {
    let mut harbor = Harbor::start().await;
    let (done, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = Vec::new();
    for (team, key) in harbor.keys.clone().into_iter().enumerate() {
        for (api, stream) in
            [(Api::OpenAi, false), (Api::OpenAi, true), (Api::Anthropic, false), (Api::Anthropic, true)]
        {
            let (done, over, addr) = (Arc::clone(&done), Arc::clone(&over), harbor.gateway.addr);
            let key = bearer(&key);
            callers.push(tokio::spawn(async move {
                let mut told = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    for model in ["harbor-fast", "harbor-quality"] {
                        let body = ask(model, &json!({"stream": stream}));
                        let answer = post(addr, api.path(), &[&key], &body).await;
                        assert_eq!(answer.status, 200, "{api:?} {stream}: {}", answer.body);
                        told.push((model, answer.text(api)));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
                (team, told)
            }));
        }
    }
    let more = async |calls: usize| {
        let so_far = done.load(Ordering::Relaxed);
        until(|| done.load(Ordering::Relaxed) >= so_far + calls).await;
    };
    more(40).await;
    harbor.openai.fails();
    more(80).await;
    harbor.openai.leaves().await;
    more(40).await;
    over.store(true, Ordering::Relaxed);

    let (hello, other) = (harbor.openai.hello(), harbor.anthropic.hello());
    let mut counts = [0_u32; 2];
    for caller in callers {
        let (team, told) = caller.await.unwrap();
        counts[team] += u32::try_from(told.len()).unwrap();
        let shifts: Vec<_> = told.iter().filter(|(model, _)| *model == "harbor-fast").collect();
        assert_eq!((&shifts[0].1, &shifts.last().unwrap().1), (&hello, &other));
        assert!(shifts.iter().all(|(_, text)| *text == hello || *text == other));
        assert!(told.iter().all(|(model, text)| *model == "harbor-fast" || *text == other));
    }
    // What failed cost nothing, and what answered a cent, whoever it was.
    for (team, count) in [("pilots", counts[0]), ("tugs", counts[1])] {
        assert!((harbor.spend(team).await - f64::from(count) / 100.0).abs() < 1e-9, "{team} {count}");
    }

    let answer = harbor.ask(0, Api::OpenAi, "harbor-fast", false).await;
    assert_eq!(answer.way(), ["haiku@anthropic", "0", "1"]);
    assert_eq!(answer.header("x-litellm-model-group"), Some("harbor-fast"));
    let health = health(harbor.gateway.addr, "harbor-fast@openai").await;
    assert!(matches!(health["state"].as_str(), Some("cooling" | "cooled")), "{health}");
    assert_eq!(health["model"], "openai/gpt-4o-mini");
    assert!(health["failures"].as_u64() >= Some(5), "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_vendor_may_go_down_too() {
    let harbor = Harbor::start().await;
    harbor.anthropic.fails();
    for (api, stream) in
        [(Api::OpenAi, false), (Api::OpenAi, true), (Api::Anthropic, false), (Api::Anthropic, true)]
    {
        let answer = harbor.ask(1, api, "harbor-quality", stream).await;
        assert_eq!((answer.status, answer.text(api)), (200, harbor.openai.hello()));
        assert_eq!((answer.way()[0], answer.way()[2]), ("gpt-4o@openai", "1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_local_leaves_by_no_way() {
    let mut harbor = Harbor::start().await;
    let addr = harbor.gateway.addr;
    let answer = harbor.ask(0, Api::Anthropic, "harbor-local", true).await;
    assert_eq!((answer.status, answer.text(Api::Anthropic)), (200, harbor.ollama.hello()));
    assert_eq!(answer.way(), ["harbor-local@ollama", "0", "0"]);
    let long =
        Says::failure(Api::OpenAi, 400, "context_length_exceeded", "maximum context length is 8 tokens");
    harbor.ollama.says(long);
    let answer = harbor.ask(0, Api::OpenAi, "harbor-local", false).await;
    assert_eq!((answer.status, &*answer.says()), (400, "context_length_exceeded"));
    harbor.ollama.fails();
    for stream in [false, true] {
        let answer = harbor.ask(0, Api::OpenAi, "harbor-local", stream).await;
        assert_eq!((answer.status, &*answer.says()), (500, "server_error"));
        assert_eq!(answer.way()[2], "0");
    }
    harbor.ollama.leaves().await;
    assert_eq!(harbor.ask(0, Api::OpenAi, "harbor-local", false).await.status, 502);
    let asked = harbor.ollama.asked();
    let answer = call_with(addr, "harbor-local", json!({"fallbacks": ["haiku"]})).await;
    answer.is(
        400,
        r#"{"error":{"message":"calls of \"harbor-local\" go nowhere else","type":"invalid_request_error","param":"fallbacks","code":null}}"#,
    );
    // An empty list asks for what is so anyway.
    assert_eq!(call_with(addr, "harbor-local", json!({"fallbacks": []})).await.status, 502);
    let (openai, anthropic) = (harbor.openai.asked(), harbor.anthropic.asked());
    assert_eq!((openai, anthropic, harbor.ollama.asked()), (0, 0, asked));
}

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
    vendor::{Says, Vendor, Words},
};

struct Harbor {
    openai: Vendor,
    anthropic: Vendor,
    ollama: Vendor,
    gateway: Gateway,
    /// One of each team.
    keys: [String; 2],
}

/// An answer, of 100 tokens of output, costs a cent, or ten dollars.
const CENT: &str = "output_cost_per_token: 0.0001";
const TEN_DOLLARS: &str = "output_cost_per_token: 0.1";

const MODELS: [&str; 3] = ["harbor-fast", "harbor-quality", "harbor-local"];

impl Harbor {
    async fn start(price: &str) -> Self {
        let price = ["input_cost_per_token: 0", price];
        let openai = Vendor::start(Api::OpenAi, "openai").await;
        let anthropic = Vendor::start(Api::Anthropic, "anthropic").await;
        let ollama = Vendor::start(Words::Ollama, "ollama").await;
        let config = [
            "model_list:\n",
            &openai.entry("harbor-fast", "openai/gpt-4o-mini", &[], &price),
            &anthropic.entry("haiku", "anthropic/claude-haiku-4-5", &[], &price),
            &anthropic.entry("harbor-quality", "anthropic/claude-sonnet-4-5", &[], &price),
            &openai.entry("gpt-4o", "openai/gpt-4o", &[], &price),
            &ollama.entry("harbor-local", "ollama/llama3.2", &[], &price),
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
        let gateway = Gateway::start(&config, &[], &[("ZIGGURAT_LOG", "info")]).await;
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
    let mut harbor = Harbor::start(CENT).await;
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
async fn a_team_that_has_spent_its_fifty_dollars_waits_for_tomorrow() {
    let harbor = Harbor::start(TEN_DOLLARS).await;
    let addr = harbor.gateway.addr;
    // Whoever answers, in whatever words: the primary, what stands in for it, and what is local.
    let fast = harbor.ask(0, Api::OpenAi, "harbor-fast", false).await;
    assert_eq!((fast.says(), fast.way()), (harbor.openai.hello(), ["harbor-fast@openai", "0", "0"]));
    harbor.openai.fails();
    let mut spent = 10;
    for (api, model, stream, way) in [
        (Api::Anthropic, "harbor-fast", true, ["haiku@anthropic", "0", "1"]),
        (Api::OpenAi, "harbor-fast", false, ["haiku@anthropic", "0", "1"]),
        (Api::OpenAi, "harbor-quality", false, ["harbor-quality@anthropic", "0", "0"]),
        (Api::OpenAi, "harbor-local", false, ["harbor-local@ollama", "0", "0"]),
    ] {
        let answer = harbor.ask(0, api, model, stream).await;
        spent += 10;
        assert_eq!((answer.status, answer.way(), harbor.spend("pilots").await), (200, way, f64::from(spent)));
    }
    let asked = || [&harbor.openai, &harbor.anthropic, &harbor.ollama].map(Vendor::asked);
    let before = asked();
    for model in MODELS {
        for stream in [false, true] {
            let refused = harbor.ask(0, Api::OpenAi, model, stream).await;
            assert_eq!((refused.status, &*refused.says()), (429, "budget_exceeded"));
            let start =
                "{\"error\":{\"message\":\"the budget of the team is spent: 50 of 50 USD; it resets at ";
            assert!(refused.body.starts_with(start), "{}", refused.body);
            assert_eq!((refused.header("x-should-retry"), refused.way()), (Some("false"), ["none"; 3]));
        }
    }
    // Nobody was asked, and the other team has its own fifty.
    assert_eq!((asked(), harbor.spend("pilots").await), (before, 50.0));
    let answer = harbor.ask(1, Api::OpenAi, "harbor-fast", false).await;
    assert_eq!((answer.status, answer.says()), (200, harbor.anthropic.hello()));
    assert_eq!((harbor.spend("pilots").await, harbor.spend("tugs").await), (50.0, 10.0));
    // The record of the shift: five attempts that failed, with which the primary is left alone, and where the calls went.
    let health = health(addr, "harbor-fast@openai").await;
    assert_eq!((&health["successes"], &health["failures"]), (&json!(1), &json!(5)), "{health}");
    assert!(matches!(health["state"].as_str(), Some("cooling" | "cooled")), "{health}");
    assert_eq!(health["last_failure"]["cause"], "server_error", "{health}");
    let log = harbor.gateway.stop().await.stderr;
    let of = "group=\"harbor-fast\" deployment=\"harbor-fast@openai\" cause=Internal";
    for (line, times) in [
        (format!("INFO an attempt has failed {of}"), 4),
        (format!("WARN a deployment is left alone after failures {of}"), 1),
        ("INFO falls back from=\"harbor-fast\" to=\"haiku\" cause=Internal".to_owned(), 2),
        ("INFO falls back from=\"harbor-fast\" to=\"haiku\" cause=Overloaded".to_owned(), 1),
    ] {
        assert_eq!(log.matches(&line).count(), times, "{line}\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_vendor_may_go_down_too() {
    let harbor = Harbor::start(CENT).await;
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
    let mut harbor = Harbor::start(CENT).await;
    let addr = harbor.gateway.addr;
    let answer = harbor.ask(0, Api::Anthropic, "harbor-local", true).await;
    assert_eq!((answer.status, answer.text(Api::Anthropic)), (200, harbor.ollama.hello()));
    assert_eq!(answer.way(), ["harbor-local@ollama", "0", "0"]);
    let seen = harbor.ollama.seen();
    assert!(seen[0].head.starts_with("post /api/chat "), "{}", seen[0].head);
    assert_eq!(
        (&seen[0].body["model"], &seen[0].body["options"]["num_predict"]),
        (&json!("llama3.2"), &json!(100))
    );
    let answer = harbor.ask(0, Api::OpenAi, "harbor-local", false).await;
    assert_eq!((answer.status, answer.says()), (200, harbor.ollama.hello()));
    let message = "the input length exceeds the context length";
    harbor.ollama.says(Says::failure(Words::Ollama, 400, "", message));
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

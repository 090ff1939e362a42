//! Where calls go, and past what: groups, fallbacks, retries and all that a config says of them, in front of vendors that fail.

mod choice;
mod harbor;
mod headers;
mod lists;
mod money;
mod options;
mod ours;
mod retries;
mod streams;

use std::{fmt::Write as _, net::SocketAddr};

use serde_json::{Value, json};

use crate::{
    client::{Answer, get, post},
    harness::{Gateway, guarded},
    paid::key,
    samples::{Api, CHAT},
    vendor::Vendor,
};

/// A config of these entries, guarded by the master key, and more sections.
fn config(entries: &[String], sections: &str) -> String {
    format!("model_list:\n{}{}{sections}", entries.concat(), guarded())
}

async fn start(entries: &[String], sections: &str) -> Gateway {
    Gateway::start(&config(entries, sections), &[], &[]).await
}

/// Entries of OpenAI's dialect, each alias at the vendor of its name.
fn entries<const N: usize>(vendors: &[Vendor; N], aliases: [&str; N]) -> Vec<String> {
    let each = vendors.iter().zip(aliases);
    each.map(|(vendor, alias)| vendor.entry(alias, "openai/gpt-4o", &[], &[])).collect()
}

/// `router_settings` in which nothing is tried again, with more lines.
fn router(lines: &[&str]) -> String {
    let mut text = "router_settings:\n  num_retries: 0\n".to_owned();
    for line in lines {
        writeln!(text, "  {line}").unwrap();
    }
    text
}

/// What is asked, with more members.
fn ask(model: &str, more: &Value) -> String {
    let mut body =
        json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

/// A whole answer to the master key, in OpenAI's dialect.
async fn call(addr: SocketAddr, model: &str) -> Answer {
    call_with(addr, model, json!({})).await
}

async fn call_with(addr: SocketAddr, model: &str, more: Value) -> Answer {
    post(addr, CHAT, &[&key()], &ask(model, &more)).await
}

fn bearer(secret: &str) -> String {
    format!("authorization: Bearer {secret}")
}

/// What the admin API answers.
async fn admin(addr: SocketAddr, path: &str, body: Value) -> Value {
    let answer = post(addr, path, &[&key()], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn new_key(addr: SocketAddr, body: Value) -> String {
    admin(addr, "/key/generate", body).await["key"].as_str().unwrap().to_owned()
}

/// What `/health` tells of a deployment.
async fn health(addr: SocketAddr, id: &str) -> Value {
    let answer = get(addr, "/health", &[&key()]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let health: Value = serde_json::from_str(&answer.body).unwrap();
    let all = ["healthy_endpoints", "unhealthy_endpoints"].map(|name| health[name].as_array().unwrap());
    let mut found = all.into_iter().flatten().filter(|endpoint| endpoint["model_id"] == id);
    found.next().unwrap_or_else(|| panic!("{id}: {health}")).clone()
}

impl Answer {
    /// The text of a whole answer, or of a stream, in a dialect; of an error its code.
    fn text(&self, api: Api) -> String {
        if self.header("content-type") == Some("text/event-stream") {
            assert!(self.body.ends_with(api.terminator()), "{}", self.body);
            return api.text_of(&self.body);
        }
        let body: Value = serde_json::from_str(&self.body).unwrap();
        let text = match (self.status, api) {
            (200, Api::OpenAi) => &body["choices"][0]["message"]["content"],
            (200, Api::Anthropic) => &body["content"][0]["text"],
            (_, Api::OpenAi) => &body["error"]["code"],
            (_, Api::Anthropic) => &body["error"]["type"],
        };
        text.as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }

    /// The text of a whole answer of OpenAI's dialect, or an error's code.
    fn says(&self) -> String {
        self.text(Api::OpenAi)
    }

    /// The deployment that answered or failed last, and how many retries and fallbacks there were.
    fn way(&self) -> [&str; 3] {
        ["x-litellm-model-id", "x-litellm-attempted-retries", "x-litellm-attempted-fallbacks"]
            .map(|name| self.header(name).unwrap_or("none"))
    }
}

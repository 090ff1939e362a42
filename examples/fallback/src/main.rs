//! Asks OpenAI, and Claude where OpenAI fails. See `README.md`.

use std::env;

use example_fallback::{ask, caller};
use serde_json::Value;
use ziggurat_core::{BoxError, Served, Target};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let key = |name: &str| env::var(name).map_err(|_| format!("set {name}"));
    let caller = caller([
        Target::openai("gpt-4o-mini", &key("OPENAI_API_KEY")?)?,
        Target::anthropic("claude-haiku-4-5", &key("ANTHROPIC_API_KEY")?)?,
    ])?;
    let prompt = env::args().nth(1).unwrap_or_else(|| "Say hello in one sentence.".to_owned());
    let response = ask(&caller, &prompt).await?;
    if let Some(served) = response.extensions().get::<Served>() {
        let model = served.target.as_ref().map_or("nobody", Target::model);
        println!("answered by {model} at attempt {}", served.attempts);
    }
    let bytes = response.into_body().collect_within(1 << 20).await?;
    let answer: Value = serde_json::from_slice(&bytes)?;
    println!("{}", answer["choices"][0]["message"]["content"].as_str().unwrap_or("no answer"));
    Ok(())
}

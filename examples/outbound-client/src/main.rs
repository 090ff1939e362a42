//! Asks Claude in OpenAI's shape. See `README.md`.

use std::{env, io::Write};

use example_outbound_client::Caller;
use ziggurat_core::{BoxError, Target};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let key = env::var("ANTHROPIC_API_KEY").map_err(|_| "set ANTHROPIC_API_KEY")?;
    let mut target = Target::anthropic("claude-sonnet-4-5", &key)?;
    if let Ok(base) = env::var("ANTHROPIC_BASE_URL") {
        target = target.url(&format!("{}/v1/messages", base.trim_end_matches('/')))?;
        // A credential belongs to one origin: the new one needs its own.
        target = target.key(http::HeaderName::from_static("x-api-key"), &key)?;
    }
    let prompt = env::args().nth(1).unwrap_or_else(|| "Say hello in one sentence.".to_owned());
    Caller::new(target)?
        .ask(&prompt, |text| {
            print!("{text}");
            // A prompt that cannot be flushed is shown late, nothing worse.
            let _late = std::io::stdout().flush();
        })
        .await?;
    println!();
    Ok(())
}

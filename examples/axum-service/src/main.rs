//! Serves one OpenAI model under both APIs. See `README.md`.

use std::env;

use ziggurat_core::{BoxError, Target};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let key = env::var("OPENAI_API_KEY").map_err(|_| "set OPENAI_API_KEY")?;
    let app = example_axum_service::app(Target::openai("gpt-4o-mini", &key)?)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

//! Runs it. See `README.md`.

use std::env;

use ziggurat_core::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let own = "http://127.0.0.1:3000/v1/embeddings".to_owned();
    let embeddings = env::var("ZIGGURAT_EMBEDDINGS").unwrap_or(own).parse()?;
    let model = env::var("ZIGGURAT_EMBEDDINGS_MODEL").unwrap_or("letters".to_owned());
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, example_semantic_cache::app(embeddings, model, 0.75)?).await?;
    Ok(())
}

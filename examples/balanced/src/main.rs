//! Runs it, with a deployment that is up and one that is down. See `README.md`.

use example_balanced::{app, deployment};
use ziggurat_core::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let app = app(deployment(true).await?, deployment(false).await?)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

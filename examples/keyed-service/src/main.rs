//! Runs it, and closes the file at Ctrl-C. See `README.md`.

use std::path::Path;

use example_keyed_service::{Kept, app};
use ziggurat_core::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let kept = Kept::open(Path::new("keys.db")).await?;
    if let Some(key) = kept.first_key().await? {
        println!("the first key, shown this once: {key}");
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app(&kept))
        .with_graceful_shutdown(async {
            let _stop = tokio::signal::ctrl_c().await;
        })
        .await?;
    kept.close().await
}

//! Runs it, and closes the ledger at Ctrl-C. See `README.md`.

use std::path::Path;

use ziggurat_core::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (app, journal) = example_guarded_service::app(Path::new("spend.db"))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _stop = tokio::signal::ctrl_c().await;
        })
        .await?;
    journal.close().await?;
    Ok(())
}

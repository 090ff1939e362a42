//! Runs it, and prints a token for each of two users. See `README.md`.

use example_own_identity::{app, token};
use ziggurat_budget::Ledger;
use ziggurat_core::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // A host has a secret of its own, and keeps it elsewhere.
    let secret = b"a secret of this example, and of nothing else";
    for user in ["ann", "bob"] {
        println!("{user}={}", token(secret, user, "red")?);
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app(secret, Ledger::in_memory())?).await?;
    Ok(())
}

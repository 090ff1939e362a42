//! Runs one instance, on the port that is its argument. See `README.md`.

use std::{env, time::Duration};

use example_shared_limits::{app, shared};
use tokio::time::timeout;
use ziggurat_core::BoxError;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = env::args().skip(1);
    let port: u16 = arguments.next().as_deref().unwrap_or("3000").parse()?;
    let redis = arguments.next().unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());

    let counters = shared(&redis)?;
    let worker = tokio::spawn(counters.run());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app(&counters))
        .with_graceful_shutdown(async {
            let _stop = tokio::signal::ctrl_c().await;
        })
        .await?;
    // What ended calls still have to tell Redis, if it is there.
    let _told = timeout(Duration::from_secs(1), counters.flush()).await;
    worker.abort();
    Ok(())
}

//! Shows what an outbound client does at its limits. See `README.md`.

use example_limited_client::{Answer, Caller, provider};
use ziggurat_core::BoxError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let caller = Caller::new(provider().await?);

    println!("3 calls a minute for each job:");
    for job in ["index", "index", "index", "index", "mail"] {
        let answer = caller.ask(job).await?;
        show(job, &answer);
        let refused = answer.status == 429;
        let text = answer.text().await?;
        if refused {
            println!("         {text}");
        }
    }

    println!("\n2 calls at a time for all jobs, each until its answer is read:");
    let (first, second) = (caller.ask("mail").await?, caller.ask("chat").await?);
    let third = caller.ask("chat").await?;
    show("mail", &first);
    show("chat", &second);
    show("chat", &third);
    first.text().await?;
    println!("  (the first is read now)");
    show("chat", &caller.ask("chat").await?);
    drop(second);
    Ok(())
}

fn show(job: &str, answer: &Answer) {
    println!(
        "  {job:<6} {}   requests left {:>2}   tokens left {:>5}   retry after {:>2}",
        answer.status,
        answer.header("x-ratelimit-remaining-requests"),
        answer.header("x-ratelimit-remaining-tokens"),
        answer.header("retry-after"),
    );
}

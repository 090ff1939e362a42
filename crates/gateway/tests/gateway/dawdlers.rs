//! Clients that begin a request and hardly go on.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    client::Raw,
    harness::{Gateway, soon, until},
    samples::CHAT,
};

/// Many connections that are slow, until the gateway has had enough of them.
pub(crate) struct Dawdlers {
    tasks: JoinSet<(Slow, String)>,
    over: watch::Receiver<()>,
}

/// What comes slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    /// The head, a byte a second.
    Head,
    /// The body, a byte a second.
    Body,
    /// All of the body but its beginning, which never comes.
    Rest,
}

// ===== impl Dawdlers =====

impl Dawdlers {
    /// Opens so many, equally of each kind, which are all open when this returns.
    pub(crate) async fn begin(gateway: &Gateway, count: usize) -> Self {
        let before = gateway.descriptors();
        let mut raws = Vec::with_capacity(count);
        for number in 0..count {
            let slow = [Slow::Head, Slow::Body, Slow::Rest][number % 3];
            let mut raw = gateway.connect().await;
            raw.send(slow.beginning()).await;
            raws.push((slow, raw));
        }
        // Accepted, too, and not just in the kernel's queue.
        until(|| gateway.descriptors() >= before + count).await;
        let (running, over) = watch::channel(());
        let mut tasks = JoinSet::new();
        for (number, (slow, raw)) in raws.into_iter().enumerate() {
            let running = running.clone();
            // Spread over the second, as nobody waits for the others.
            let first = SECOND * u32::try_from(number).unwrap() / u32::try_from(count).unwrap();
            tasks.spawn(async move {
                sleep(first).await;
                let said = match slow {
                    Slow::Head => trickle(raw, "y", SECOND).await,
                    Slow::Body => trickle(raw, " ", SECOND).await,
                    Slow::Rest => raw.rest().await,
                };
                drop(running);
                (slow, said)
            });
        }
        Self { tasks, over }
    }

    /// Whether the gateway has ended every one.
    pub(crate) fn have_ended(&self) -> bool {
        // An error says that no task is left that could tell.
        self.over.has_changed().is_err()
    }

    /// What the gateway said to each, once it has ended all.
    pub(crate) async fn said(self) -> Vec<(Slow, String)> {
        soon(self.tasks.join_all()).await
    }
}

// ===== impl Slow =====

impl Slow {
    fn beginning(self) -> String {
        match self {
            Self::Head => format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\nx: "),
            Self::Body | Self::Rest => {
                format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: 5000\r\n\r\n{{")
            }
        }
    }
}

/// Sends a byte now and then until the other side has had enough, and gives what it says.
pub(crate) async fn trickle(mut raw: Raw, byte: &str, pause: Duration) -> String {
    while timeout(pause, raw.peek()).await.is_err() {
        if !raw.try_send(byte).await {
            break;
        }
    }
    raw.rest().await
}

const SECOND: Duration = Duration::from_secs(1);

//! What is measured and not asserted: `cargo test --release -p ziggurat-gateway measured -- --ignored --nocapture --test-threads=1`.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use crate::{
    client::Raw,
    dawdlers::Dawdlers,
    harness::{Scene, room_for, until},
    samples::{Api, CHAT, DIRECTIONS, OPENAI_WHOLE, ask},
    scripted::Scripted,
};

/// Durations, from the shortest to the longest.
struct Sorted(Vec<Duration>);

const STREAMS: usize = 40;
const PIECES: usize = 20;
const PACE: Duration = Duration::from_millis(50);

/// With the deadlines as they are: the first of the slow clients are given up 10 s after they came.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measured_calls_beside_a_thousand_slow_clients() {
    let count = room_for(1000);
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]);
    let gateway = scene.start(&[]).await;
    let mut raw = gateway.connect().await;
    for _ in 0..3 {
        println!("alone:                     {}", calls(&mut raw).await);
        let started = Instant::now();
        let dawdlers = Dawdlers::begin(&gateway, count).await;
        println!("beside {count} slow clients: {}", calls(&mut raw).await);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(10), "the slow ones left before the calls had ended: {took:?}");
        drop(dawdlers);
        until(|| gateway.descriptors() < count).await;
    }
}

/// As many as one client makes in some seconds, in which slow ones do what they do.
async fn calls(raw: &mut Raw) -> Sorted {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        let started = Instant::now();
        raw.post(CHAT, &[], &ask("gpt", false)).await;
        let answer = raw.answer().await;
        all.push(started.elapsed());
        answer.is(200, OPENAI_WHOLE);
    }
    Sorted::new(all)
}

/// From the moment an upstream writes a piece to the moment a client has read it; without a gateway first, for what the machine and
/// this test add.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measured_pieces_of_streams_on_their_way() {
    let upstream = Arc::new(Scripted::bind().await);
    let gateway = upstream.start(&[]).await;
    for api in [Api::OpenAi, Api::Anthropic] {
        println!("{api:?}, no gateway: {}", pieces(&upstream, upstream.addr, api, api).await);
    }
    for (caller, provider) in DIRECTIONS {
        let took = pieces(&upstream, gateway.addr, caller, provider).await;
        println!("{caller:?} from {provider:?}: {took}");
    }
}

async fn pieces(upstream: &Arc<Scripted>, addr: std::net::SocketAddr, caller: Api, provider: Api) -> Sorted {
    let origin = Instant::now();
    let mut clients = JoinSet::new();
    let mut answers = JoinSet::new();
    for number in 0..STREAMS {
        let upstream = Arc::clone(upstream);
        answers.spawn(async move {
            let mut call = upstream.accept().await;
            call.begin().await;
            call.chunk(provider.opening()).await;
            let mut clock = interval(PACE);
            for _ in 0..PIECES {
                clock.tick().await;
                call.chunk(&provider.piece(&format!("{} ", origin.elapsed().as_nanos()))).await;
            }
            call.chunk(provider.closing()).await;
            call.finish().await;
        });
        clients.spawn(async move {
            // All over the time of a piece, as calls come.
            sleep(PACE * u32::try_from(number).unwrap() / u32::try_from(STREAMS).unwrap()).await;
            let mut raw = Raw::connect(addr).await;
            raw.post(caller.path(), &[], &ask(provider.alias(), true)).await;
            raw.head().await;
            let mut took = Vec::with_capacity(PIECES);
            while let Some(chunk) = raw.chunk().await {
                let now = origin.elapsed();
                let sent = caller.text_of(&chunk);
                let sent = sent.split_whitespace().map(|nanos| Duration::from_nanos(nanos.parse().unwrap()));
                took.extend(sent.map(|sent| now - sent));
            }
            assert_eq!(took.len(), PIECES);
            took
        });
    }
    let took = clients.join_all().await.concat();
    answers.join_all().await;
    Sorted::new(took)
}

// ===== impl Sorted =====

impl Sorted {
    fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// What so many of a hundred do not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent).div_ceil(100).saturating_sub(1)]
    }
}

impl fmt::Display for Sorted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, most] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "{} of them, p50 {p50:.2?}, p99 {p99:.2?}, at most {most:.2?}", self.0.len())
    }
}

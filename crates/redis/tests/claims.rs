//! One call of what several nodes are asked at once.

use std::{
    convert::Infallible,
    env,
    future::Future,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Request, Response};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinHandle},
};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use ziggurat_cache::{CacheLayer, Cached, Claim, Held, Key, Store};
use ziggurat_core::{Body, CacheStatus};
use ziggurat_redis::{Answers, Counts, Options, Redis};
use ziggurat_testkit::redis::{RedisCluster, RedisServer};

/// Longer than in use, as the machine may be busy; and a lease that is shorter, as tests wait for it.
const DEADLINE: Duration = Duration::from_millis(400);
const LEASE: Duration = Duration::from_millis(900);

const ANSWER: &str =
    r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}"#;

/// What a child process is told to share calls through.
const CHILD: &str = "ZIGGURAT_TEST_CLAIM_FROM";

/// A provider that answers when it is let.
#[derive(Clone)]
struct Provider {
    calls: Arc<AtomicUsize>,
    answers: watch::Sender<bool>,
}

/// A process with a cache.
struct Node {
    answers: Answers,
    service: Cached<BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>>,
    worker: AbortHandle,
}

impl Provider {
    fn new() -> Self {
        Self { calls: Arc::default(), answers: watch::Sender::new(false) }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Node {
    fn new(options: Options, provider: &Provider) -> Self {
        let redis = Redis::connect(options.response_timeout(Duration::from_secs(2))).expect("valid options");
        let answers = redis.answers().deadline(DEADLINE).lease(LEASE);
        let own = answers.clone();
        let worker = tokio::spawn(async move { own.run().await }).abort_handle();
        let provider = provider.clone();
        let model = service_fn(move |_: Request<Body>| {
            let provider = provider.clone();
            provider.calls.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut answers = provider.answers.subscribe();
                answers.wait_for(|answers| *answers).await.expect("goes on");
                Ok::<_, Infallible>(Response::new(Body::from(ANSWER)))
            }
        });
        let layer = CacheLayer::new(answers.clone())
            .share_in_flight(Duration::from_secs(60))
            .layer(BoxCloneSyncService::new(model));
        Self { answers, service: layer, worker }
    }

    async fn claim(&self, number: u32) -> Claim {
        self.answers.claim(&key(number)).wait().await
    }

    async fn held(&self, number: u32) -> Held {
        let Claim::Ours(held) = self.claim(number).await else { panic!("nobody else has it") };
        held
    }

    /// Asks so often at once; each says what the cache did.
    fn ask(&self, count: usize) -> Vec<JoinHandle<CacheStatus>> {
        (0..count).map(|_| tokio::spawn(ask(self.service.clone()))).collect()
    }
}

async fn ask<S>(service: S) -> CacheStatus
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    let request = Request::post("/v1/chat/completions").body(Body::from(body)).expect("is a request");
    let Ok(response) = service.oneshot(request).await;
    let status = response.extensions().get::<ziggurat_cache::Lookup>().expect("is told").status;
    assert_eq!(response.into_body().collect_within(1 << 20).await.expect("is short"), ANSWER);
    status
}

impl Drop for Node {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

fn key(number: u32) -> Key {
    format!("{number:064x}").parse().expect("is a key")
}

fn name(number: u32) -> String {
    format!("(acme):mark:{number:064x}")
}

fn options(server: &RedisServer) -> Options {
    Options::new(server.url()).prefix("acme")
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many claims and renewals a server has seen.
fn scripts(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().expect("is a number"))
}

fn exists(server: &RedisServer, name: &str) -> bool {
    server.command(&["EXISTS", name]).starts_with(":1")
}

async fn statuses(tasks: Vec<JoinHandle<CacheStatus>>) -> [usize; 3] {
    let mut counts = [0; 3];
    for task in tasks {
        match task.await.expect("is answered") {
            CacheStatus::Miss => counts[0] += 1,
            CacheStatus::Shared => counts[1] += 1,
            CacheStatus::Hit => counts[2] += 1,
            other => panic!("{other:?}"),
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_on_two_nodes_are_one_call() {
    let Some(server) = RedisServer::start() else { return };
    let provider = Provider::new();
    let nodes = [(); 2].map(|()| Node::new(options(&server), &provider));
    let tasks: Vec<_> = nodes.iter().flat_map(|node| node.ask(50)).collect();
    // The other has asked again and again.
    until("both wait", async || scripts(&server) >= 6).await;
    assert_eq!(provider.calls(), 1);
    provider.answers.send_replace(true);
    assert_eq!(statuses(tasks).await, [1, 49, 50]);
    assert_eq!(provider.calls(), 1);
    for node in &nodes {
        node.answers.flush().await;
        assert_eq!(node.answers.counts(), Counts::default());
    }
    // What is left is the answer.
    assert_eq!(server.command(&["KEYS", "*:mark:*"]), "*0\r\n+OK\r\n");
    assert_eq!(server.command(&["DBSIZE"]).lines().next(), Some(":1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_process_is_killed_exactly_one_other_goes_on_after_its_lease() {
    let Some(server) = RedisServer::start() else { return };
    let mut child = Command::new(env::current_exe().expect("is a program"))
        .args(["--exact", "is_killed", "--nocapture"])
        .env(CHILD, server.url())
        .stdout(Stdio::piped())
        .spawn()
        .expect("can be run");
    let mut said = BufReader::new(child.stdout.take().expect("is piped")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("the provider is called")));
    let provider = Provider::new();
    let nodes = [(); 4].map(|()| Node::new(options(&server), &provider));
    let tasks: Vec<_> = nodes.iter().flat_map(|node| node.ask(5)).collect();
    let before = scripts(&server);
    until("all wait", async || scripts(&server) >= before + 16).await;
    assert_eq!(provider.calls(), 0);
    child.kill().expect("is killed");
    child.wait().expect("has ended");
    until("one goes on", async || provider.calls() > 0).await;
    // The others have asked since.
    let before = scripts(&server);
    until("the others wait", async || scripts(&server) >= before + 16).await;
    assert_eq!(provider.calls(), 1);
    provider.answers.send_replace(true);
    assert_eq!(statuses(tasks).await, [1, 4, 15]);
    assert_eq!(provider.calls(), 1);
}

/// The process of the test above: it makes a call that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn is_killed() {
    let Ok(url) = env::var(CHILD) else { return };
    let provider = Provider::new();
    let node = Node::new(Options::new(url).prefix("acme"), &provider);
    let tasks = node.ask(1);
    until("it is called", async || provider.calls() == 1).await;
    println!("the provider is called");
    statuses(tasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_lasts_as_long_as_the_call_and_is_its_owners_alone() {
    let Some(server) = RedisServer::start() else { return };
    let provider = Provider::new();
    let [one, two] = [(); 2].map(|()| Node::new(options(&server), &provider));
    let held = one.held(1).await;
    let token = server.command(&["GET", &name(1)]);
    let Claim::Theirs(owner) = two.claim(1).await else { panic!("is another's") };
    assert!(matches!(two.claim(1).await, Claim::Theirs(again) if again == owner));
    assert!(matches!(one.claim(1).await, Claim::Theirs(again) if again == owner));
    let ttl = server.command(&["PTTL", &name(1)]);
    let ttl: u128 = ttl.lines().next().expect("a line")[1..].parse().expect("a number");
    assert!(ttl <= LEASE.as_millis(), "{ttl}");
    // Some leases later.
    let before = scripts(&server);
    until("it is renewed", async || scripts(&server) >= before + 8).await;
    assert_eq!(server.command(&["GET", &name(1)]), token);
    drop(held);
    one.answers.flush().await;
    let held = two.held(1).await;
    // By chance another's, as after a lease that was over.
    let _set = server.command(&["SET", &name(1), "somebody else's"]);
    drop(held);
    two.answers.flush().await;
    assert!(server.command(&["GET", &name(1)]).contains("somebody else's"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_the_mark_is_told_again() {
    let Some(mut server) = RedisServer::start() else { return };
    let node = Node::new(options(&server), &Provider::new());
    let held = node.held(1).await;
    server.restart();
    until("it is there again", async || exists(&server, &name(1))).await;
    drop(held);
    until("and gone", async || !exists(&server, &name(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_nobody_heard_of_is_given_back() {
    let Some(server) = RedisServer::start() else { return };
    let node = Node::new(options(&server), &Provider::new());
    drop(node.held(1).await);
    node.answers.flush().await;
    server.stop();
    let began = Instant::now();
    assert!(matches!(node.claim(2).await, Claim::NotAsked));
    assert!(began.elapsed() < DEADLINE * 2, "{:?}", began.elapsed());
    assert_eq!(node.answers.counts().away, 1);
    // It was sent, and so it is done.
    let before = Instant::now();
    server.cont();
    node.answers.flush().await;
    assert!(!exists(&server, &name(2)));
    // By the lease alone it might be there still.
    assert!(before.elapsed() < LEASE, "{:?}", before.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_when_the_server_dies_makes_the_call() {
    let Some(mut server) = RedisServer::start() else { return };
    let provider = Provider::new();
    let nodes = [(); 2].map(|()| Node::new(options(&server), &provider));
    let mut tasks = nodes[0].ask(3);
    until("one is called", async || provider.calls() == 1).await;
    tasks.extend(nodes[1].ask(3));
    let before = scripts(&server);
    until("the other waits", async || scripts(&server) >= before + 4).await;
    server.kill();
    until("the other is called", async || provider.calls() == 2).await;
    provider.answers.send_replace(true);
    assert_eq!(statuses(tasks).await, [2, 4, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_tells_them_too() {
    let Some(cluster) = RedisCluster::start() else { return };
    let provider = Provider::new();
    let nodes = [(); 2].map(|()| Node::new(Options::cluster(cluster.urls()), &provider));
    for node in &nodes {
        until("it is there", async || node.answers.ping().wait().await).await;
    }
    let tasks: Vec<_> = nodes.iter().flat_map(|node| node.ask(5)).collect();
    let seen = || cluster.servers().iter().map(scripts).sum::<u64>();
    until("both wait", async || seen() >= 6).await;
    provider.answers.send_replace(true);
    assert_eq!(statuses(tasks).await, [1, 4, 5]);
    assert_eq!(provider.calls(), 1);
}

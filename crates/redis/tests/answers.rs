//! Answers of a cache that several nodes share.

use std::{
    collections::HashSet,
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use tokio::task::AbortHandle;
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_cache::{CacheLayer, Entry, Form, Key, Store};
use ziggurat_core::{Body, Limit, Scope};
use ziggurat_limit::{
    Ask,
    remote::{Backend as _, TakeId},
};
use ziggurat_redis::{Answers, Counts, Options, Redis};
use ziggurat_testkit::redis::{RedisCluster, RedisServer};

/// Longer than in use: the machine may be busy.
const DEADLINE: Duration = Duration::from_millis(400);

const WHOLE: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;

const ANSWER: &str =
    r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}"#;

/// A process with a cache.
struct Node {
    redis: Redis,
    answers: Answers,
    worker: AbortHandle,
}

impl Node {
    fn new(options: Options) -> Self {
        let redis = Redis::connect(options.response_timeout(Duration::from_secs(2))).expect("valid options");
        let answers = redis.answers().deadline(DEADLINE);
        let own = answers.clone();
        let worker = tokio::spawn(async move { own.run().await }).abort_handle();
        Self { redis, answers, worker }
    }

    /// Puts a call through this node's layer.
    async fn ask(&self, calls: &Arc<AtomicUsize>, body: &'static str) -> (Option<HeaderValue>, Bytes) {
        let calls = Arc::clone(calls);
        let model = service_fn(move |_: Request<Body>| {
            calls.fetch_add(1, Ordering::SeqCst);
            async { Ok::<_, Infallible>(Response::new(Body::from(ANSWER))) }
        });
        let layer = CacheLayer::new(self.answers.clone());
        let request = Request::post("/v1/chat/completions").body(Body::from(body)).expect("is a request");
        let Ok(response) = layer.layer(model).oneshot(request).await;
        let kind = response.headers().get("cache-status").cloned();
        (kind, response.into_body().collect_within(1 << 20).await.expect("is short"))
    }

    async fn get(&self, number: u32) -> Option<Arc<Entry>> {
        self.answers.get(&key(number)).wait().await
    }

    /// Until it finds what is there, as after a server is back.
    async fn finds(&self, number: u32) {
        until("it finds it", async || self.get(number).await.is_some()).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

fn key(number: u32) -> Key {
    format!("{number:064x}").parse().expect("is a key")
}

fn entry(body: impl Into<Bytes>) -> Arc<Entry> {
    lasting(body, Duration::from_secs(60))
}

fn lasting(body: impl Into<Bytes>, time: Duration) -> Arc<Entry> {
    let kind = HeaderValue::from_static("application/json");
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("is later");
    // In whole milliseconds, as they come back.
    let stored = SystemTime::UNIX_EPOCH + Duration::from_millis(since.as_millis() as u64);
    Arc::new(Entry::new(Form::Whole, kind, body.into(), stored, time))
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn options(server: &RedisServer) -> Options {
    Options::new(server.url()).prefix("acme")
}

/// What a server calls the answer under a key.
fn name(number: u32) -> String {
    format!("(acme):answer:{number:064x}")
}

fn counts(away: u64, lost: u64, poisoned: u64) -> Counts {
    let mut counts = Counts::default();
    (counts.away, counts.lost, counts.poisoned) = (away, lost, poisoned);
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_was_answered_another_answers_in_both_forms() {
    let Some(server) = RedisServer::start() else { return };
    let (nodes, calls) = ([Node::new(options(&server)), Node::new(options(&server))], Arc::default());
    let streamed = r#"{"stream":true,"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    let (status, body) = nodes[0].ask(&calls, WHOLE).await;
    assert_eq!(
        (status.expect("is told"), body),
        (HeaderValue::from_static("ziggurat; fwd=uri-miss"), ANSWER.into())
    );
    nodes[0].answers.flush().await;
    let (status, body) = nodes[1].ask(&calls, WHOLE).await;
    assert_eq!((status.expect("is told"), body), (HeaderValue::from_static("ziggurat; hit"), ANSWER.into()));
    let (status, body) = nodes[1].ask(&calls, streamed).await;
    assert_eq!(status.expect("is told"), "ziggurat; hit");
    assert!(body.starts_with(b"data: ") && body.ends_with(b"data: [DONE]\n\n"), "{body:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(nodes[1].answers.counts(), Counts::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_what_was_put_until_it_is_removed_or_its_time_is_over() {
    let Some(server) = RedisServer::start() else { return };
    let nodes = [Node::new(options(&server)), Node::new(options(&server))];
    assert!(nodes[0].answers.ping().wait().await);
    let first = entry("1");
    nodes[0].answers.put(key(1), Arc::clone(&first));
    // Any other takes its place.
    let second = entry(vec![0xff; 1 << 20]);
    nodes[0].answers.put(key(2), Arc::clone(&first));
    nodes[0].answers.put(key(2), Arc::clone(&second));
    // And what is over already is not sent.
    nodes[0].answers.put(key(3), lasting("3", Duration::ZERO));
    nodes[0].answers.flush().await;
    assert_eq!(nodes[1].get(1).await, Some(Arc::clone(&first)));
    assert_eq!(nodes[1].get(2).await, Some(second));
    assert_eq!(nodes[1].get(3).await, None);
    let ttl = server.command(&["PTTL", &name(1)]);
    let ttl: u64 = ttl.lines().next().expect("a line")[1..].parse().expect("a number");
    assert!((40_000..=60_000).contains(&ttl), "{ttl}");

    assert!(nodes[1].answers.remove(&key(1)).wait().await);
    assert!(!nodes[1].answers.remove(&key(1)).wait().await);
    assert_eq!(nodes[0].get(1).await, None);

    let brief = lasting("1", Duration::from_millis(300));
    nodes[0].answers.put(key(1), Arc::clone(&brief));
    nodes[0].answers.flush().await;
    until("it is forgotten", async || nodes[1].get(1).await.is_none()).await;
    assert!(SystemTime::now() >= brief.expires - Duration::from_millis(2));
    assert_eq!(server.command(&["EXISTS", &name(1)]).lines().next(), Some(":0"));
    assert_eq!(nodes.each_ref().map(|node| node.answers.counts()), [Counts::default(); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_a_miss_and_removed() {
    let Some(server) = RedisServer::start() else { return };
    let node = Node::new(options(&server));
    for number in 1..=2 {
        node.answers.put(key(number), entry("kept"));
    }
    node.answers.flush().await;
    let _set = server.command(&["SETRANGE", &name(1), "40", "?"]);
    let _set = server.command(&["SET", &name(3), ""]);
    let _set = server.command(&["LPUSH", &name(4), "zgc1"]);
    for number in [1, 3, 4] {
        assert_eq!(node.get(number).await, None, "{number}");
    }
    node.answers.flush().await;
    assert_eq!(server.command(&["DBSIZE"]).lines().next(), Some(":1"));
    assert!(node.get(2).await.is_some());
    assert_eq!(node.answers.counts(), counts(0, 0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_or_frozen_is_a_miss_and_found_again() {
    let Some(mut server) = RedisServer::start() else { return };
    let (node, calls) = (Node::new(options(&server)), Arc::default());
    for frozen in [true, false] {
        node.answers.put(key(1), entry("kept"));
        node.finds(1).await;
        let before = node.answers.counts().away;
        if frozen {
            server.stop();
        } else {
            server.kill();
        }
        // Many at once, until it is known to be away.
        while node.answers.is_here() {
            let began = Instant::now();
            let asking = (0..50).map(|_| node.get(1));
            assert!(futures_util::future::join_all(asking).await.iter().all(Option::is_none));
            assert!(began.elapsed() < DEADLINE * 2, "{:?}", began.elapsed());
        }
        assert_eq!(node.answers.counts().away % 50, before % 50);
        // Then nobody waits: each of these alone would take as long as the deadline, together.
        let began = Instant::now();
        for _ in 0..1000 {
            assert_eq!(node.get(1).await, None);
        }
        assert!(!node.answers.remove(&key(1)).wait().await);
        assert!(!node.answers.clear().wait().await);
        assert!(!node.answers.ping().wait().await);
        assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
        assert!(node.answers.counts().away >= before + 1053);
        // A call is made.
        let (status, body) = node.ask(&calls, WHOLE).await;
        assert_eq!(
            (status.expect("is told"), body),
            (HeaderValue::from_static("ziggurat; fwd=uri-miss"), ANSWER.into())
        );
        node.answers.put(key(2), entry("later"));
        if frozen {
            server.cont();
        } else {
            server.restart();
        }
        // What came meanwhile is there.
        node.finds(2).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(node.answers.counts().lost, 0);
}

/// A layer waits as long as the store says, so that what is not answered counts.
#[tokio::test(flavor = "multi_thread")]
async fn calls_alone_find_out_that_a_frozen_server_is_away() {
    let Some(server) = RedisServer::start() else { return };
    let (node, calls) = (Node::new(options(&server)), Arc::default());
    until("it is there", async || node.answers.ping().wait().await).await;
    server.stop();
    // The third at the latest: what it sends of its own does not arrive either.
    for _ in 0..3 {
        node.ask(&calls, WHOLE).await;
    }
    assert!(!node.answers.is_here());
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(node.answers.counts().away >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_forgotten_and_nothing_else() {
    let Some(server) = RedisServer::start() else { return };
    // Of the others one's prefix would match, if it were a pattern.
    let [node, other, pattern] =
        ["acme", "acme2", "ac?e"].map(|prefix| Node::new(Options::new(server.url()).prefix(prefix)));
    let asks = [Ask::new(Limit::requests_per_minute(Scope::tenant("a"), 1), 1)];
    let lease = Duration::from_secs(30);
    assert!(node.redis.limits().take(TakeId(1), &asks, lease).await.expect("is there").is_ok());
    for each in [&node, &other, &pattern] {
        for number in 0..2500 {
            each.answers.put(key(number), entry("kept"));
        }
        each.answers.flush().await;
    }
    let before = server.command(&["KEYS", "{acme}:*"]);
    assert!(before.starts_with("*2\r\n"), "{before}");
    assert!(pattern.answers.clear().wait().await);
    assert!(node.get(0).await.is_some() && pattern.get(0).await.is_none());
    // What is on its way too.
    node.worker.abort();
    node.answers.put(key(9999), entry("late"));
    assert!(node.answers.clear().wait().await);
    node.answers.flush().await;
    assert_eq!(server.command(&["KEYS", "(acme):*"]), "*0\r\n+OK\r\n");
    assert_eq!(server.command(&["KEYS", "{acme}:*"]), before);
    assert_eq!(server.command(&["DBSIZE"]).lines().next(), Some(":2502"));
    assert!(other.get(2499).await.is_some());
    assert!(node.redis.limits().take(TakeId(2), &asks, lease).await.expect("is there").is_err());
    // What comes later is kept.
    node.answers.put(key(9999), entry("new"));
    node.answers.flush().await;
    assert!(node.get(9999).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_on_the_way_is_lost_and_counted() {
    let Some(mut server) = RedisServer::start() else { return };
    server.kill();
    let node = Node::new(options(&server));
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    for number in 0..40 {
        node.answers.put(key(number), entry(large.clone()));
    }
    // One of 32 MiB is for what each takes beside its bytes.
    assert_eq!(node.answers.counts().lost, 40 - 31);
    node.answers.put(key(40), entry("small"));
    assert_eq!(node.answers.counts().lost, 9);
    server.restart();
    node.finds(40).await;
    node.answers.flush().await;
    assert_eq!(server.command(&["DBSIZE"]).lines().next(), Some(":32"));
    // There is room for as much again.
    let largest = entry(vec![b'x'; 31 << 20]);
    until("there is room", async || {
        let before = node.answers.counts().lost;
        node.answers.put(key(50), Arc::clone(&largest));
        node.answers.counts().lost == before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_memory_is_not_away() {
    let Some(server) = RedisServer::start() else { return };
    let node = Node::new(options(&server));
    node.answers.put(key(0), entry("kept"));
    node.answers.flush().await;
    assert!(server.command(&["CONFIG", "SET", "maxmemory", "1"]).starts_with("+OK"));
    for number in 1..=10 {
        node.answers.put(key(number), entry("no room"));
    }
    node.answers.flush().await;
    assert_eq!(node.answers.counts(), counts(0, 10, 0));
    assert!(node.answers.is_here());
    assert!(node.get(0).await.is_some() && node.get(1).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_them_on_all_its_nodes_and_forgets_them_there() {
    let Some(cluster) = RedisCluster::start() else { return };
    let nodes = [Node::new(Options::cluster(cluster.urls())), Node::new(Options::cluster(cluster.urls()))];
    until("it is there", async || nodes[0].answers.ping().wait().await).await;
    for number in 0..300 {
        nodes[0].answers.put(key(number), entry("kept"));
    }
    nodes[0].answers.flush().await;
    let sizes = || cluster.servers().iter().map(|server| server.command(&["DBSIZE"])).collect::<Vec<_>>();
    assert!(sizes().iter().all(|size| !size.starts_with(":0")), "{:?}", sizes());
    assert!(nodes[1].get(0).await.is_some() && nodes[1].get(299).await.is_some());
    assert!(nodes[1].answers.clear().wait().await);
    assert_eq!(sizes().into_iter().collect::<HashSet<_>>(), HashSet::from([":0\r\n+OK\r\n".to_owned()]));
}

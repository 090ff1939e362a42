//! What one node finds out of a deployment, on another node.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::task::AbortHandle;
use ziggurat_core::{Cause, Clock, Dialect, Target};
use ziggurat_redis::{Cooldowns, Options, Redis};
use ziggurat_route::{Ask, Deployment, Group, Picked, Routes, SharedCooldowns, State};
use ziggurat_testkit::redis::{RedisCluster, RedisServer};

/// Shorter than in use, as tests wait for it.
const EVERY: Duration = Duration::from_millis(20);

/// A process with one group of two deployments.
struct Node {
    cooldowns: Cooldowns,
    routes: Routes,
    worker: AbortHandle,
}

impl Node {
    fn new(options: Options) -> Self {
        let cooldowns = Redis::connect(options).expect("valid options").cooldowns();
        let deployment = |id: &str| {
            let target = Target::new("openai", Dialect::OpenAi, "m", "http://upstream.test/").expect("a URL");
            Deployment::new(target.id(id))
        };
        let group = Group::new("g").deployments(["a", "b"].map(deployment));
        let group = group.share(Arc::new(cooldowns.clone()), Clock::system()).build().expect("is a group");
        let routes = Routes::builder().group(group).build().expect("are routes");
        let (own, known) = (cooldowns.clone(), routes.clone());
        let worker = tokio::spawn(async move { own.run(&known, EVERY).await }).abort_handle();
        Self { cooldowns, routes, worker }
    }

    fn deployment(&self, id: &str) -> &Deployment {
        let deployments = self.routes.groups()[0].deployments();
        deployments.iter().find(|deployment| deployment.id() == id).expect("is there")
    }

    fn state(&self, id: &str) -> State {
        self.deployment(id).figures(tokio::time::Instant::now()).state
    }

    /// How much longer it is left alone.
    async fn cools(&self, id: &str) -> Duration {
        let began = Instant::now();
        loop {
            if let State::Cooling(time) = self.state(id) {
                return time;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{id} cools down");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A call of which the provider says when to come again. Returns of which deployment.
    fn fails(&self, hint: Duration) -> String {
        let (group, now) = (&self.routes.groups()[0], tokio::time::Instant::now());
        let Picked::One { index, permit, .. } = group.pick(&Ask::new(now, 7)) else { panic!("one is left") };
        permit.failed(Cause::RateLimit, Some(hint), now).expect("cools down");
        group.deployments()[index].id().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

fn options(server: &RedisServer) -> Options {
    Options::new(server.url()).prefix("acme").response_timeout(Duration::from_millis(200))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cools_down_on_one_node_does_on_all_and_is_done_once() {
    let Some(server) = RedisServer::start() else { return };
    let nodes = [Node::new(options(&server)), Node::new(options(&server))];
    let hint = Duration::from_secs(30);
    let id = nodes[0].fails(hint);
    let other = if id == "a" { "b" } else { "a" };
    let here = nodes[0].cools(&id).await;
    let there = nodes[1].cools(&id).await;
    assert!(here <= hint && there <= hint && there > hint - Duration::from_secs(12), "{here:?} {there:?}");
    assert_eq!([nodes[0].state(other), nodes[1].state(other)], [State::Healthy; 2]);
    // One key of the prefix's slot, that lasts as long as the cooldown does.
    assert_eq!(server.command(&["DBSIZE"]).lines().next(), Some(":1"));
    let ttl = server.command(&["PTTL", "{acme}:cooldowns"]);
    let ttl: u64 = ttl.lines().next().expect("a line")[1..].parse().expect("a number");
    assert!((18_000..=30_001).contains(&ttl), "{ttl}");
    // Who finds out that it is well again is believed, here and there.
    for node in &nodes {
        node.deployment(&id).recovered();
    }
    // A node that starts is told at once, which shows that the others have read it again meanwhile.
    let third = Node::new(options(&server));
    third.cools(&id).await;
    tokio::time::sleep(EVERY * 5).await;
    assert_eq!([nodes[0].state(&id), nodes[1].state(&id)], [State::Healthy; 2]);
    // What is longer is news.
    nodes[0].cooldowns.tell(&id, SystemTime::now() + Duration::from_secs(50));
    assert!(nodes[1].cools(&id).await > hint);
    // And what is shorter is none.
    third.cooldowns.tell(&id, SystemTime::now() + Duration::from_secs(1));
    tokio::time::sleep(EVERY * 5).await;
    assert!(nodes[1].cools(&id).await > hint);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_itself_and_what_is_not_known_or_cannot_be_is_no_harm() {
    let Some(server) = RedisServer::start() else { return };
    let nodes = [Node::new(options(&server)), Node::new(options(&server))];
    let now = SystemTime::now();
    nodes[0].cooldowns.tell("nobody's", now + Duration::from_secs(20));
    // A clock that is a year ahead, and one that is behind.
    nodes[0].cooldowns.tell("a", now + Duration::from_secs(365 * 86_400));
    nodes[0].cooldowns.tell("b", now - Duration::from_secs(1));
    let time = nodes[1].cools("a").await;
    assert!(time <= Duration::from_secs(3600) && time > Duration::from_secs(3590), "{time:?}");
    assert_eq!(nodes[1].state("b"), State::Healthy);
    nodes[0].cooldowns.tell("b", SystemTime::now() + Duration::from_millis(1500));
    assert!(nodes[1].cools("b").await <= Duration::from_millis(1501));
    until("it ends", || nodes[1].state("b") == State::Cooled).await;
    assert_eq!(nodes[0].cooldowns.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_each_node_goes_by_itself() {
    let Some(mut server) = RedisServer::start() else { return };
    server.kill();
    let nodes = [Node::new(options(&server)), Node::new(options(&server))];
    let id = nodes[0].fails(Duration::from_secs(30));
    // Nobody waits, and no more is kept than may be.
    let began = Instant::now();
    for number in 0..2000 {
        nodes[0].cooldowns.tell(&number.to_string(), SystemTime::now() + Duration::from_millis(1));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(nodes[0].cooldowns.dropped(), 2001 - 1024);
    until("it is away", || !nodes[0].cooldowns.is_here() && !nodes[1].cooldowns.is_here()).await;
    assert!(matches!(nodes[0].state(&id), State::Cooling(_)));
    assert_eq!(nodes[1].state(&id), State::Healthy);
    server.restart();
    nodes[1].cools(&id).await;
    // What was over by then was not told.
    until("all is told", || server.command(&["ZCARD", "{acme}:cooldowns"]).starts_with(":1\r")).await;
    // A server that lost its data is told what is new.
    server.restart();
    let other = nodes[1].fails(Duration::from_secs(30));
    nodes[0].cools(&other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_shares_them_too() {
    let Some(cluster) = RedisCluster::start() else { return };
    let options = || Options::cluster(cluster.urls()).response_timeout(Duration::from_millis(500));
    let nodes = [Node::new(options()), Node::new(options())];
    let id = nodes[0].fails(Duration::from_secs(40));
    assert!(nodes[1].cools(&id).await <= Duration::from_secs(40));
}

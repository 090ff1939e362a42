//! The store behind the keys: asked seldom, once, and never waited for long.

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use ziggurat_auth::{
    Authenticate, Authenticated, CachePolicy, Credential, CustomerRecord, Denied, KeyHash, KnownCustomer,
    VirtualKeys,
};
use ziggurat_core::{PROBE_EVERY, Patience, Reply};

use crate::support::*;

const DEADLINE: Duration = Duration::from_millis(50);

fn hash() -> KeyHash {
    KeyHash::of(KEY.as_bytes())
}

fn begin(keys: &VirtualKeys<Store>, key: &str) -> Reply<Authenticated> {
    keys.authenticate(&Credential::new(key.as_bytes()).expect("is one"))
}

async fn ask(keys: &VirtualKeys<Store>, key: &str) -> Result<bool, Denied> {
    begin(keys, key).wait().await.map(|known| known.is_some())
}

/// With the time that it took.
async fn timed(keys: &VirtualKeys<Store>, key: &str) -> (Result<bool, Denied>, Duration) {
    let began = Instant::now();
    (ask(keys, key).await, began.elapsed())
}

const UNAVAILABLE: Result<bool, Denied> = Err(Denied::unavailable());
const INVALID: Result<bool, Denied> = Err(Denied::Invalid);

#[tokio::test]
async fn a_known_key_is_answered_at_once_for_five_seconds_and_then_asked_for_again() {
    let (store, time) = (Store::with(KEY, record(|_| {})), Manual::default());
    let keys = keys(&store, &time);
    assert!(matches!(begin(&keys, KEY), Reply::Later(_)));
    assert_eq!(ask(&keys, KEY).await, Ok(true));
    time.seconds(5.0);
    assert!(matches!(begin(&keys, KEY), Reply::Ready(Ok(Some(_)))));
    assert_eq!(store.asked(), 1);
    // Revoked by another node.
    store.delete(KEY);
    assert_eq!(ask(&keys, KEY).await, Ok(true));
    time.pass(Duration::from_nanos(1));
    assert_eq!(ask(&keys, KEY).await, INVALID);
    assert_eq!(store.asked(), 2);
    // There is none, for three seconds.
    store.set(KEY, record(|_| {}));
    time.seconds(3.0);
    assert!(matches!(begin(&keys, KEY), Reply::Ready(Err(Denied::Invalid))));
    time.pass(Duration::from_nanos(1));
    assert_eq!(ask(&keys, KEY).await, Ok(true));
    assert_eq!(store.asked(), 3);
}

#[tokio::test]
async fn its_age_counts_from_when_the_store_was_asked() {
    let (store, time) = (Store::with(KEY, record(|_| {})), Manual::default());
    let keys = keys(&store, &time);
    let permits = store.slow();
    let waiting = tokio::spawn(begin(&keys, KEY).wait());
    tokio::task::yield_now().await;
    time.seconds(4.0);
    permits.add_permits(1);
    assert!(waiting.await.expect("ends").is_ok());
    time.seconds(1.0);
    assert!(matches!(begin(&keys, KEY), Reply::Ready(Ok(Some(_)))));
    time.seconds(0.1);
    assert!(matches!(begin(&keys, KEY), Reply::Later(_)));
}

#[tokio::test]
async fn a_stampede_is_one_query() {
    for known in [true, false] {
        let (store, time) = (Store::default(), Manual::default());
        if known {
            store.set(KEY, record(|_| {}));
        }
        let keys = keys(&store, &time);
        let permits = store.slow();
        let all: Vec<_> = (0..1000).map(|_| tokio::spawn(begin(&keys, KEY).wait())).collect();
        tokio::task::yield_now().await;
        permits.add_permits(1);
        for one in all {
            assert_eq!(one.await.expect("ends").is_ok(), known);
        }
        assert_eq!(store.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_leaves_the_asking_to_another() {
    let (store, time) = (Store::with(KEY, record(|_| {})), Manual::default());
    let keys = keys(&store, &time);
    let permits = store.slow();
    let first = tokio::spawn(begin(&keys, KEY).wait());
    tokio::task::yield_now().await;
    let others: Vec<_> = (0..10).map(|_| tokio::spawn(begin(&keys, KEY).wait())).collect();
    tokio::task::yield_now().await;
    assert_eq!(store.asked(), 1);
    first.abort();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(store.asked(), 2);
    permits.add_permits(1);
    for one in others {
        assert!(one.await.expect("ends").is_ok());
    }
    assert_eq!(store.asked(), 2);
}

#[tokio::test]
async fn a_key_that_is_revoked_here_is_refused_at_once() {
    for revoke in [true, false] {
        let (store, time) = (Store::with(KEY, record(|_| {})), Manual::default());
        let keys = keys(&store, &time);
        assert_eq!(ask(&keys, KEY).await, Ok(true));
        store.delete(KEY);
        if revoke {
            keys.revoke(&hash())
        } else {
            keys.forget(&hash())
        }
        assert_eq!(ask(&keys, KEY).await, INVALID);
        assert_eq!(store.asked(), if revoke { 1 } else { 2 });
        // Made again.
        store.set(KEY, record(|_| {}));
        keys.forget(&hash());
        assert_eq!(ask(&keys, KEY).await, Ok(true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_from_before_the_revocation_lets_nobody_in_and_brings_nothing_back() {
    for revoke in [true, false] {
        let (store, time) = (Store::with(KEY, record(|_| {})), Manual::default());
        let keys = keys(&store, &time);
        let permits = store.slow();
        // These have read the old record, and are about to say so.
        let before: Vec<_> = (0..3).map(|_| tokio::spawn(begin(&keys, KEY).wait())).collect();
        tokio::task::yield_now().await;
        store.delete(KEY);
        if revoke {
            keys.revoke(&hash())
        } else {
            keys.forget(&hash())
        }
        let after = tokio::spawn(begin(&keys, KEY).wait());
        tokio::task::yield_now().await;
        permits.add_permits(10);
        for one in before.into_iter().chain([after]) {
            assert_eq!(one.await.expect("ends").err(), Some(Denied::Invalid));
        }
        assert!(matches!(begin(&keys, KEY), Reply::Ready(Err(Denied::Invalid))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_does_not_go_on_because_the_store_went_away() {
    let (store, time) = (Store::with(KEY, record(|_| {})), Manual::default());
    let keys = keys(&store, &time);
    assert_eq!(ask(&keys, KEY).await, Ok(true));
    time.seconds(10.0);
    store.mood(Mood::Frozen);
    let waiting = tokio::spawn(begin(&keys, KEY).wait());
    tokio::task::yield_now().await;
    keys.revoke(&hash());
    assert_eq!(waiting.await.expect("ends").err(), Some(Denied::Invalid));
    assert_eq!(ask(&keys, KEY).await, INVALID);
    assert_eq!(store.asked(), 2);
    // Nor when all is known of it that it changed.
    keys.forget(&hash());
    assert_eq!(ask(&keys, KEY).await, UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_store_keeps_nobody_waiting_and_known_keys_go_on() {
    let (store, time) = (Store::with(KEY, record(|_| {})), Manual::default());
    let keys = keys(&store, &time);
    assert_eq!(ask(&keys, KEY).await, Ok(true));
    store.mood(Mood::Frozen);
    let unknown = "sk-of-nobody-that-is-known";
    assert_eq!(timed(&keys, unknown).await, (UNAVAILABLE, DEADLINE));
    // Still fresh; then asked for, and used as it was.
    assert_eq!(timed(&keys, KEY).await, (Ok(true), Duration::ZERO));
    time.seconds(5.1);
    assert_eq!(timed(&keys, KEY).await, (Ok(true), DEADLINE));
    assert!(keys.is_store_here());
    assert_eq!(timed(&keys, unknown).await, (UNAVAILABLE, DEADLINE));
    // Three times in a row: nobody waits any more, and one caller probes every half second.
    assert!(!keys.is_store_here());
    for _ in 0..10 {
        assert_eq!(timed(&keys, KEY).await, (Ok(true), Duration::ZERO));
        assert_eq!(timed(&keys, unknown).await, (UNAVAILABLE, Duration::ZERO));
    }
    assert_eq!(store.asked(), 4);
    time.pass(PROBE_EVERY);
    assert_eq!(timed(&keys, KEY).await, (Ok(true), DEADLINE));
    assert_eq!(timed(&keys, KEY).await, (Ok(true), Duration::ZERO));
    assert_eq!(store.asked(), 5);
    // The grace ends a minute after the last answer.
    time.seconds(60.0 - 5.1 - 0.5);
    assert_eq!(timed(&keys, KEY).await.0, Ok(true));
    time.seconds(0.001);
    assert_eq!(timed(&keys, KEY).await.0, UNAVAILABLE);
    // It comes back: seen by the next probe, without a restart.
    store.mood(Mood::Answers);
    time.pass(PROBE_EVERY);
    assert_eq!(timed(&keys, KEY).await, (Ok(true), Duration::ZERO));
    assert!(keys.is_store_here());
    assert_eq!(ask(&keys, unknown).await, INVALID);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_deadline_whoever_leaves() {
    let (store, time) = (Store::default(), Manual::default());
    let keys = keys(&store, &time);
    store.mood(Mood::Frozen);
    let leaver = tokio::spawn(begin(&keys, KEY).wait());
    tokio::task::yield_now().await;
    let began = Instant::now();
    let stays = tokio::spawn(begin(&keys, KEY).wait());
    tokio::time::sleep(Duration::from_millis(49)).await;
    leaver.abort();
    assert_eq!(stays.await.expect("ends").err(), Some(Denied::unavailable()));
    assert!(began.elapsed() <= DEADLINE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_place_and_an_answer_are_waited_for_within_one_deadline() {
    let ms = Duration::from_millis;
    // Those before are answered in time, or find that the store is away.
    for answered in [true, false] {
        let (store, time) = (Store::default(), Manual::default());
        let keys = keys(&store, &time);
        let permits = store.slow();
        let name = |at: usize| format!("sk-of-somebody-else-{at}");
        let before: Vec<_> = (0..8).map(|at| tokio::spawn(begin(&keys, &name(at)).wait())).collect();
        tokio::time::sleep(ms(20)).await;
        assert_eq!(store.asked(), 8);
        let last = keys.clone();
        let last = tokio::spawn(async move { timed(&last, KEY).await });
        tokio::time::sleep(ms(20)).await;
        permits.add_permits(if answered { 8 } else { 0 });
        let (answer, took) = last.await.expect("ends");
        assert_eq!(answer, UNAVAILABLE);
        // Nobody asks a store that is known to be away.
        let expected = if answered { (DEADLINE, 9, true) } else { (ms(30), 8, false) };
        assert_eq!((took, store.asked(), keys.is_store_here()), expected);
        for one in before {
            one.await.expect("ends").expect_err("is no key");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_is_charged_to_the_patience_of_its_call_as_long_as_it_took() {
    let ms = Duration::from_millis;
    let (store, model) = (Store::with(KEY, record(|_| {})), Model::default());
    let mut policy = CachePolicy::default();
    policy.deadline = ms(90);
    let keys = VirtualKeys::with_policy(store.clone(), policy, Manual::default().clock());
    let layer = ziggurat_auth::AuthLayer::new(keys);
    let permits = store.slow();
    let asked = async {
        tokio::time::sleep(ms(80)).await;
        permits.add_permits(1);
    };
    let (response, ()) = tokio::join!(support::ask(&layer, &model, keyed(call("m"), KEY)), asked);
    assert_eq!(response.status(), 200);
    assert_eq!(Patience::of(model.last().extensions_mut()).left(ms(50)), ms(20));
}

#[tokio::test]
async fn a_store_that_is_away_is_503_with_a_wait_and_never_401() {
    let (store, time, model) = (Store::default(), Manual::default(), Model::default());
    store.mood(Mood::Away);
    let layer = ziggurat_auth::AuthLayer::new(keys(&store, &time));
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let mut request = keyed(call("m"), KEY);
        *request.uri_mut() = path.parse().expect("is a path");
        let response = support::ask(&layer, &model, request).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(!response.headers().contains_key("www-authenticate"));
    }
    // What cannot be a key is none, whoever is away.
    assert_eq!(support::ask(&layer, &model, keyed(call("m"), "no-key")).await.status(), 401);
    assert_eq!(model.calls(), 0);
}

#[tokio::test]
async fn what_is_known_of_end_users_goes_on_and_nobody_new_comes_in() {
    let (store, time) = (Store::default(), Manual::default());
    let keys = keys(&store, &time);
    let mut blocked = CustomerRecord::default();
    blocked.blocked = true;
    store.set_customer("eve", blocked);
    async fn customer(keys: &VirtualKeys<Store>, id: &str) -> KnownCustomer {
        keys.customer(id).wait().await
    }
    assert_eq!(customer(&keys, "bob").await, Ok(None));
    assert!(customer(&keys, "eve").await.is_ok_and(|known| known.is_some_and(|eve| eve.blocked)));
    store.mood(Mood::Away);
    time.seconds(30.0);
    for _ in 0..5 {
        assert_eq!(customer(&keys, "bob").await, Ok(None));
        assert!(customer(&keys, "eve").await.is_ok_and(|known| known.is_some_and(|eve| eve.blocked)));
        assert_eq!(customer(&keys, "new").await, Err(Denied::unavailable()));
    }
    store.mood(Mood::Answers);
    time.pass(PROBE_EVERY);
    keys.forget_customer("eve");
    store.set_customer("eve", CustomerRecord::default());
    assert!(customer(&keys, "eve").await.is_ok_and(|known| known.is_some_and(|eve| !eve.blocked)));
}

/// What the log is told.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("is sound").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time();
        tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("is sound").clone()).expect("is UTF-8")
    }
}

const ONE: &str = " WARN ziggurat_auth::keys: a look-up in the store of keys failed: who was not known is refused with 503 away=it is a test\n";

#[tokio::test]
async fn a_single_look_up_that_fails_is_told_of_once_a_while() {
    let lines = Lines::default();
    let _guard = lines.listen();
    let (store, time) = (Store::with(KEY, record(|_| {})), Manual::default());
    let keys = keys(&store, &time);
    let mut told = 0;
    for second in 0..25 {
        store.mood(Mood::Away);
        assert_eq!(ask(&keys, "sk-not.known.so.far.0").await, UNAVAILABLE);
        store.mood(Mood::Answers);
        assert_eq!(ask(&keys, KEY).await, Ok(true));
        keys.forget(&hash());
        told += usize::from(second % 10 == 0);
        assert_eq!(lines.text(), ONE.repeat(told), "{second}");
        time.seconds(1.0);
    }
}

#[tokio::test]
async fn the_log_has_one_line_a_change_and_no_key() {
    let lines = Lines::default();
    let _guard = lines.listen();
    let (store, time) = (Store::with(KEY, record(|_| {})), Manual::default());
    let keys = keys(&store, &time);
    for _ in 0..2 {
        store.mood(Mood::Away);
        for _ in 0..20 {
            assert_eq!(ask(&keys, KEY).await, UNAVAILABLE);
            time.pass(PROBE_EVERY);
        }
        store.mood(Mood::Answers);
        assert_eq!(ask(&keys, KEY).await, Ok(true));
        keys.forget(&hash());
    }
    let away = " WARN ziggurat_auth::keys: the store of keys does not answer: known keys go on for a while, others are refused away=it is a test\n";
    let back = " INFO ziggurat_auth::keys: the store of keys answers again\n";
    assert_eq!(lines.text(), format!("{ONE}{away}{back}{ONE}{away}{back}"));
}

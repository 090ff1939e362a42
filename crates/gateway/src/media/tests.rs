//! What is fetched, from servers of the tests' own and never from anywhere else.

use std::{sync::Mutex, task::Waker};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::service_fn;

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\npixels";

/// A server that answers by path, once a connection, and keeps the heads that it was sent.
struct Site {
    addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Site {
    async fn new(pages: &[(&str, Vec<u8>)]) -> Self {
        let pages: Vec<_> = pages.iter().map(|(path, page)| (format!("GET {path} "), page.clone())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("is bound");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        // It ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(char::from(byte));
                }
                let page = pages.iter().find(|(start, _)| head.starts_with(start));
                kept.lock().expect("is sound").push(head);
                // Who has had enough may leave in the middle.
                let _ = stream.write_all(page.map_or(b"", |(_, page)| page)).await;
            }
        });
        Self { addr, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("is sound").clone()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

fn page(head: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{head}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn png() -> Vec<u8> {
    page("content-type: image/png", PNG)
}

fn moved(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

fn settings(private_hosts: &[&str]) -> MediaSettings {
    MediaSettings {
        max_bytes: 100,
        timeout: Duration::from_secs(10),
        hosts: Vec::new(),
        private_hosts: private_hosts.iter().map(|&host| host.to_owned()).collect(),
    }
}

async fn fetch(urls: &[&str]) -> Result<Vec<Fetched>, NotFetched> {
    let fetcher = Fetcher::new(&settings(&["127.0.0.1"])).expect("has a crypto provider");
    fetcher.fetch(once(urls), &Extensions::new()).await
}

fn once(urls: &[&str]) -> Vec<Wanted> {
    urls.iter().map(|&url| Wanted { url: url.to_owned(), times: 1 }).collect()
}

fn refused(index: usize, reason: &'static str) -> Result<Vec<Fetched>, NotFetched> {
    Err(NotFetched::Useless { index, reason: reason.into() })
}

/// Answers for names in turn, and counts how often it was asked.
fn resolver(answers: &[&[SocketAddr]]) -> (Resolver, Arc<Mutex<usize>>) {
    let answers: Arc<[Vec<SocketAddr>]> = answers.iter().map(|addresses| addresses.to_vec()).collect();
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let resolve = service_fn(move |_: Name| {
        let mut count = count.lock().expect("is sound");
        *count += 1;
        let answer = answers.get(*count - 1).expect("is asked no more often").clone();
        async { Ok::<_, BoxError>(answer) }
    });
    (BoxCloneSyncService::new(resolve), asked)
}

#[tokio::test]
async fn what_stands_there_is_fetched_and_nothing_of_the_callers_goes_out() {
    let site =
        Site::new(&[("/a?b=c", png()), ("/d", page("content-type: application/pdf", b"%PDF-1.7"))]).await;
    let fetched = fetch(&[&site.url("/a?b=c#d"), &site.url("/d")]).await;
    let of = |media_type: &str, bytes| Fetched { media_type: media_type.to_owned(), bytes };
    let expected = vec![of("image/png", PNG.into()), of("application/pdf", b"%PDF-1.7"[..].into())];
    assert_eq!(fetched, Ok(expected));
    let version = env!("CARGO_PKG_VERSION");
    let head = format!(
        "GET /a?b=c HTTP/1.1\r\naccept: {ACCEPT}\r\naccept-encoding: identity\r\nuser-agent: ziggurat/{version}\r\nhost: {}\r\n\r\n",
        site.addr
    );
    assert_eq!(site.heads()[0], head);
}

#[tokio::test]
async fn redirects_are_followed_three_times_and_held_against_the_rules() {
    let site = Site::new(&[
        ("/1/a", moved("b?c=d")),
        ("/1/b?c=d", moved("/2#e")),
        ("/2", moved("?f=g")),
        ("/2?f=g", png()),
        ("/0", moved("/1/a")),
        ("/metadata", moved("http://169.254.169.254/latest/meta-data")),
        ("/tls", moved("https://169.254.169.254/latest/meta-data")),
        ("/authority", moved("//user@example.com/")),
        ("/file", moved("file:///etc/passwd")),
        ("/local", moved("https://localhost/")),
    ])
    .await;
    assert_eq!(fetch(&[&site.url("/1/a")]).await.map(|fetched| fetched.len()), Ok(1));
    let cases = [
        ("/0", "it is redirected more than 3 times"),
        ("/metadata", "it is no https URL"),
        ("/tls", "its host is none that anything is fetched from"),
        ("/authority", "it holds a user's name or a password"),
        ("/file", "it is no absolute URL"),
        ("/local", "its host is none that anything is fetched from"),
    ];
    for (path, reason) in cases {
        assert_eq!(fetch(&[&site.url(path)]).await, refused(0, reason), "{path}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_left() {
    let announced = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 101\r\n\r\n".to_vec();
    let chunk = [&b"51\r\n"[..], &[b'.'; 0x51], b"\r\n"].concat();
    let chunked = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n";
    let sixty = page("content-type: image/png", &[PNG, &[b'.'; 46]].concat());
    let site = Site::new(&[
        ("/announced", announced),
        ("/chunked", [chunked, &*chunk, &chunk].concat()),
        ("/60", sixty),
    ])
    .await;
    let reason = "no more than 100 bytes are fetched for one call, each as often as it is named";
    // Of neither comes an end.
    assert_eq!(fetch(&[&site.url("/announced")]).await, refused(0, reason));
    assert_eq!(fetch(&[&site.url("/chunked")]).await, refused(0, reason));
    assert_eq!(fetch(&[&site.url("/60")]).await.map(|fetched| fetched[0].bytes.len()), Ok(60));
    assert_eq!(fetch(&[&site.url("/60"), &site.url("/60")]).await, refused(1, reason));
    // One that is named twice counts twice.
    let fetcher = Fetcher::new(&settings(&["127.0.0.1"])).expect("has a crypto provider");
    let twice = vec![Wanted { url: site.url("/60"), times: 2 }];
    assert_eq!(fetcher.fetch(twice, &Extensions::new()).await, refused(0, reason));
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_turn_may_come_again_and_another_caller_finds_one() {
    let (site, listener) =
        (Site::new(&[("/a", png())]).await, TcpListener::bind("127.0.0.1:0").await.expect("binds"));
    let fetcher = Fetcher::new(&settings(&["127.0.0.1"])).expect("has a crypto provider");
    let of = |key: &str| {
        let mut principal = Principal::default();
        principal.key = Some(key.into());
        let mut call = Extensions::new();
        call.insert(principal);
        call
    };
    let silent = format!("http://{}/", listener.local_addr().expect("is bound"));
    let mut slow: Vec<_> = (0..8).map(|_| fetcher.fetch(once(&[&silent]), &of("a"))).collect();
    for one in &mut slow {
        assert!(one.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let (url, started) = (site.url("/a"), Instant::now());
    assert_eq!(fetcher.fetch(once(&[&url]), &of("a")).await, Err(busy()));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    assert_eq!(fetcher.fetch(once(&[&url]), &of("b")).await.map(|fetched| fetched.len()), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/", listener.local_addr().expect("is bound"));
    let started = Instant::now();
    assert_eq!(fetch(&[&url]).await, refused(0, "it was not fetched in time"));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn what_is_no_image_and_no_pdf_is_left() {
    let site = Site::new(&[
        ("/html", page("content-type: text/html", b"<html>")),
        ("/none", page("x: y", PNG)),
        ("/other", page("content-type: image/gif", PNG)),
        ("/lie", page("content-type: image/png", b"<html>")),
        ("/gzip", page("content-type: image/png\r\ncontent-encoding: gzip", PNG)),
        ("/gone", b"HTTP/1.1 404 Not Found\r\ncontent-type: image/png\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ("/cut", b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 9\r\n\r\n\x89PNG".to_vec()),
    ])
    .await;
    let none = "the type of what stands there is none of image/png, image/jpeg, image/gif, image/webp, application/pdf";
    let cases = [
        ("/html", none),
        ("/none", none),
        ("/other", "what stands there is not image/gif, as is said of it"),
        ("/lie", "what stands there is not image/png, as is said of it"),
        ("/gzip", "what stands there comes compressed"),
        ("/gone", UNREACHABLE),
        ("/cut", UNREACHABLE),
        ("/silent", UNREACHABLE),
    ];
    for (path, reason) in cases {
        assert_eq!(fetch(&[&site.url(path)]).await, refused(0, reason), "{path}");
    }
}

#[tokio::test]
async fn a_name_leads_to_the_address_that_was_held_against_the_rules() {
    let (first, second) = (Site::new(&[("/a", png())]).await, Site::new(&[("/a", png())]).await);
    let (resolver, asked) = resolver(&[&[first.addr], &[second.addr]]);
    let fetcher = Fetcher::with_resolver(&settings(&["images.internal"]), resolver).expect("has TLS");
    // The port is the URL's.
    let url = format!("http://images.internal:{}/a", first.addr.port());
    assert_eq!(fetcher.fetch(once(&[&url]), &Extensions::new()).await.map(|fetched| fetched.len()), Ok(1));
    assert_eq!((*asked.lock().expect("is sound"), first.heads().len(), second.heads().len()), (1, 1, 0));
}

#[tokio::test]
async fn a_name_that_resolves_to_our_own_network_is_not_asked() {
    let site = Site::new(&[("/a", png())]).await;
    let public = SocketAddr::from(([1, 1, 1, 1], 443));
    let (resolver, asked) = resolver(&[&[site.addr], &[public, site.addr]]);
    let fetcher = Fetcher::with_resolver(&settings(&[]), resolver).expect("has TLS");
    for count in [1, 2] {
        let fetched = fetcher.fetch(once(&["https://images.example/a"]), &Extensions::new()).await;
        assert_eq!(fetched, refused(0, UNREACHABLE));
        assert_eq!((*asked.lock().expect("is sound"), site.heads().len()), (count, 0));
    }
}

#[tokio::test]
async fn a_name_is_held_against_the_rules_each_time_it_resolves() {
    let public = SocketAddr::from(([1, 1, 1, 1], 443));
    let own = SocketAddr::from(([169, 254, 169, 254], 443));
    let (resolver, _) = resolver(&[&[public], &[own]]);
    let mut guarded = Guarded { resolver, rules: Arc::new(Rules::new(&settings(&[]))) };
    let name = || "images.example".parse::<Name>().expect("is a name");
    let first = guarded.call(name()).await.map(Iterator::collect::<Vec<_>>);
    assert_eq!(first.ok(), Some(vec![public]));
    let second = guarded.call(name()).await.map(Iterator::collect::<Vec<_>>);
    assert!(second.is_err_and(|error| error.is::<Forbidden>()));
}

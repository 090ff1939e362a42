//! A Redis server of a test's own: on a free port of this machine, in a folder of its own, without persistence.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// A running server; killed when this is dropped, and its folder removed.
///
/// All methods block, for as long as a server takes to start: some 10 ms.
#[derive(Debug)]
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    folder: PathBuf,
    options: Vec<String>,
}

/// Several servers that form a Cluster.
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<RedisServer>,
}

// ===== impl RedisServer =====

impl RedisServer {
    /// Starts a server. `None`, and a line on standard error, where `redis-server` is not installed.
    ///
    /// # Panics
    /// When it does not start; in CI (`CI=true`) also when it is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with further command-line options (`["--maxmemory", "10mb"]`).
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    #[must_use]
    pub fn start_with(options: &[&str]) -> Option<Self> {
        if !is_installed() {
            assert!(env::var("CI").as_deref() != Ok("true"), "redis-server is not installed");
            eprintln!("skipped: redis-server is not installed");
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("ziggurat-redis-{}-{number}", process::id()));
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        // Somebody else may take the port meanwhile.
        for _ in 0..5 {
            let port = free_port();
            let mut server =
                Self { child: None, port, folder: folder.clone(), options: Vec::clone(&options) };
            if server.try_start() {
                return Some(server);
            }
            server.kill();
        }
        panic!("redis-server does not start");
    }

    /// Its address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its address.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// Freezes it: it keeps its connections and answers nothing.
    ///
    /// # Panics
    /// When it is not running.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`RedisServer::stop`].
    ///
    /// # Panics
    /// When it is not running.
    pub fn cont(&self) {
        self.signal("CONT");
    }

    /// Kills it; what it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }

    /// Starts it again on the same port, empty, after [`RedisServer::kill`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let started = (0..20).any(|_| {
            let started = self.try_start();
            if !started {
                self.kill();
                thread::sleep(Duration::from_millis(50));
            }
            started
        });
        assert!(started, "redis-server does not start again on port {}", self.port);
    }

    /// Sends a command and gives the first 64 KiB of the answer, as it came.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).expect("redis answers")
    }

    /// Waits until it answers.
    fn try_start(&mut self) -> bool {
        fs::create_dir_all(&self.folder).expect("a folder for redis can be made");
        let child = Command::new("redis-server")
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--daemonize", "no", "--loglevel", "warning"])
            .args(&self.options)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server can be run"));
        let patience = Instant::now() + Duration::from_secs(20);
        while Instant::now() < patience {
            let child = self.child.as_mut().expect("invariant: it was just started");
            if !matches!(child.try_wait(), Ok(None)) {
                return false;
            }
            // It is this one that answers, and not another on its port.
            let id = format!("process_id:{}\r\n", child.id());
            let answer = self.try_command(&["INFO", "server"]).unwrap_or_default();
            if answer.contains(&id) || answer.starts_with("-NOAUTH") {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn try_command(&self, words: &[&str]) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.addr(), Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        // The server closes after it has answered the second.
        text.push_str("*1\r\n$4\r\nQUIT\r\n");
        stream.write_all(text.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("the server is running");
        let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "the server can be signalled");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        // What is left is in the system's folder for that.
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

// ===== impl RedisCluster =====

impl RedisCluster {
    /// Starts three servers that share the slots. `None` as [`RedisServer::start`].
    ///
    /// # Panics
    /// As [`RedisServer::start`], and when they do not find each other.
    #[must_use]
    pub fn start() -> Option<Self> {
        let server = || {
            let bus = free_port().to_string();
            RedisServer::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus])
        };
        let servers = vec![server()?, server()?, server()?];
        let status = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(servers.iter().map(|server| server.addr().to_string()))
            .arg("--cluster-yes")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "a cluster can be made");
        let patience = Instant::now() + Duration::from_secs(20);
        let is_ready =
            |server: &RedisServer| server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        while !servers.iter().all(is_ready) {
            assert!(Instant::now() < patience, "a cluster becomes ready");
            thread::sleep(Duration::from_millis(20));
        }
        Some(Self { servers })
    }

    /// The addresses of its nodes as URLs.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        self.servers.iter().map(RedisServer::url)
    }

    /// Its nodes.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// Its nodes, to kill and to restart.
    pub fn servers_mut(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }
}

fn is_installed() -> bool {
    let version =
        Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    listener.local_addr().expect("a listener has an address").port()
}

//! Starts the binary, and stops it.

use std::{
    env, fs,
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};
use ziggurat_testkit::{Recordings, Replay};

use crate::{client::Raw, samples};

/// A gateway that runs, until it is dropped.
pub(crate) struct Gateway {
    pub(crate) addr: SocketAddr,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
    _dir: Dir,
}

/// How a process ended, and what it said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A replay upstream, and a config that leads to it.
pub(crate) struct Scene {
    pub(crate) replay: Replay,
    config: String,
}

/// A folder of one test's own, with its config.
pub(crate) struct Dir(PathBuf);

/// What the clients show.
pub(crate) const MASTER_KEY: &str = "sk-master-canary";
/// What only the upstream may see.
pub(crate) const PROVIDER_KEY: &str = "sk-provider-canary";
/// Longer than anything takes that works.
pub(crate) const SOON: Duration = Duration::from_secs(20);

// ===== impl Gateway =====

impl Gateway {
    /// Starts with a config, further arguments, and an environment of just these variables; port 0 unless told otherwise.
    pub(crate) async fn start(config: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let dir = Dir::new(config);
        let mut all = vec!["--config", "config.yaml"];
        all.extend(args);
        Self::run(dir, &all, env).await
    }

    /// Starts with arguments alone.
    pub(crate) async fn bare(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::run(Dir::new(""), args, env).await
    }

    async fn run(dir: Dir, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = command(&dir, args, env).args(["--port", "0"]).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let line = soon(stdout.next_line()).await.unwrap();
        let Some(addr) = line.as_deref().and_then(|line| line.strip_prefix("listening on ")) else {
            let mut said = String::new();
            stderr.read_to_string(&mut said).await.unwrap();
            panic!("not listening but {line:?}: {said}");
        };
        Self { addr: addr.parse().unwrap(), child, stdout, stderr, _dir: dir }
    }

    /// A new connection to it.
    pub(crate) async fn connect(&self) -> Raw {
        Raw::connect(self.addr).await
    }

    /// The rest of what it says at its start, after the address.
    pub(crate) async fn next_line(&mut self) -> Option<String> {
        soon(self.stdout.next_line()).await.unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap();
        let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end, which somebody has asked for.
    pub(crate) async fn ended(mut self) -> Ended {
        let mut stderr = String::new();
        let status: ExitStatus = soon(async {
            self.stderr.read_to_string(&mut stderr).await.unwrap();
            self.child.wait().await.unwrap()
        })
        .await;
        let mut stdout = String::new();
        while let Some(line) = self.stdout.next_line().await.unwrap() {
            stdout += &format!("{line}\n");
        }
        Ended { code: status.code(), stdout, stderr }
    }

    pub(crate) async fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended().await
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id().unwrap())).unwrap().count()
    }

    /// Resident memory, in bytes, now and at its highest.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        (kib("VmRSS:") << 10, kib("VmHWM:") << 10)
    }
}

// ===== impl Scene =====

impl Scene {
    /// Without models yet; the upstream knows the samples.
    pub(crate) async fn new() -> Self {
        Self::with(samples::recordings()).await
    }

    pub(crate) async fn with(recordings: Recordings) -> Self {
        Self { replay: Replay::start(recordings).await.unwrap(), config: "model_list:\n".to_owned() }
    }

    /// Adds a deployment: an alias, `provider/model`, a recording with its faults, and more lines of `litellm_params`. Nothing is tried
    /// again unless these say so.
    pub(crate) fn model(mut self, alias: &str, model: &str, recording: &str, params: &[&str]) -> Self {
        let base = self.replay.url(recording);
        let retries: &[&str] = match params.iter().any(|line| line.starts_with("num_retries")) {
            true => &[],
            false => &["num_retries: 0"],
        };
        self.config += &deployment(alias, model, &base, &[params, retries].concat());
        self
    }

    /// Adds sections of the config.
    pub(crate) fn section(mut self, text: &str) -> Self {
        self.config += text;
        self
    }

    pub(crate) async fn start(&self, args: &[&str]) -> Gateway {
        self.start_with(args, &[]).await
    }

    pub(crate) async fn start_with(&self, args: &[&str], env: &[(&str, &str)]) -> Gateway {
        Gateway::start(&self.config, args, env).await
    }

    /// The requests that have reached the upstream.
    pub(crate) fn exchanges(&self) -> Vec<ziggurat_testkit::Exchange> {
        self.replay.exchanges()
    }

    /// How many requests have reached the upstream.
    pub(crate) fn asked(&self) -> usize {
        self.replay.exchanges().len()
    }
}

/// One entry of `model_list`.
pub(crate) fn deployment(alias: &str, model: &str, base: &str, params: &[&str]) -> String {
    let version = if OWN_PATHS.iter().any(|own| model.starts_with(own)) { "" } else { "/v1" };
    let params: String = params.iter().map(|line| format!("      {line}\n")).collect();
    format!(
        "  - model_name: {alias}\n    litellm_params:\n      model: {model}\n      api_base: {base}{version}\n      \
         api_key: {PROVIDER_KEY}\n{params}"
    )
}

/// The providers whose addresses end ahead of the version, or have none.
const OWN_PATHS: [&str; 7] =
    ["anthropic/", "bedrock/", "cohere/", "gemini/", "huggingface/", "ollama/", "vertex_ai/"];

/// `general_settings` with the master key.
pub(crate) fn guarded() -> String {
    format!("general_settings:\n  master_key: {MASTER_KEY}\n")
}

// ===== impl Dir =====

impl Dir {
    pub(crate) fn new(config: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("gateway-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("config.yaml"), config).unwrap();
        Self(path)
    }

    /// A file in it, with this text.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A folder that stays behind harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary, in a folder, with nothing of this process's environment.
pub(crate) fn command(dir: &Dir, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ziggurat"));
    command.args(args).current_dir(&dir.0).env_clear().envs(env.iter().copied()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary, in a folder with a config, to its own end.
pub(crate) async fn run(config: &str, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let dir = Dir::new(config);
    let output = soon(command(&dir, args, env).output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// How many connections of `wanted` a test may hold, after raising this process's limit, which gateways inherit, if need be. Fewer are
/// said on standard error.
pub(crate) fn room_for(wanted: usize) -> usize {
    if soft_limit() < wanted + SPARE_DESCRIPTORS {
        let limit = format!("--nofile={}:", wanted + SPARE_DESCRIPTORS);
        let pid = std::process::id().to_string();
        // Where it is missing or may not, the limit stands.
        let _ = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).output();
    }
    let soft = soft_limit();
    let count = wanted.min(soft.saturating_sub(SPARE_DESCRIPTORS).max(soft / 2));
    if count < wanted {
        // Not by a macro, whose words nobody sees while the test passes.
        let line =
            format!("ONLY {count} connections instead of {wanted}: no more than {soft} files may be open\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
    }
    count
}

/// How many files and sockets this process may have open.
fn soft_limit() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    // `unlimited` is no number.
    soft.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}

/// Descriptors for all else: what tests beside this one have open.
const SPARE_DESCRIPTORS: usize = 1000;

/// What has to happen, and soon.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move { timeout(SOON, future).await.unwrap_or_else(|_| panic!("has not happened in {SOON:?}: {caller}")) }
}

/// Waits for what gives no event.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + SOON;
        while !holds() {
            assert!(Instant::now() < deadline, "does not come true in {SOON:?}: {caller}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

//! A PostgreSQL server of a test's own, that can be frozen, killed and started again.
//!
//! It runs on a free port of the loopback interface, with its data in a temporary folder; as the user `postgres` where the test runs as
//! root, as the server refuses to be root. It syncs nothing to the disk unless told to.

use std::{
    env, fs, io,
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A server, which ends when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    /// Of the programs.
    bin: PathBuf,
    owner: Option<Owner>,
    dir: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    server: Option<Child>,
}

/// Whom the server runs as.
#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: u32,
    gid: u32,
}

// ===== impl Postgres =====

impl Postgres {
    /// Starts a server that forgets what a crash of the machine would lose. `None`, with a printed line, where PostgreSQL is not
    /// installed.
    ///
    /// # Panics
    /// When it does not start; and where it is not installed, if `CI` is `true`.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&["fsync=off", "full_page_writes=off"])
    }

    /// Starts a server with these settings.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Option<Self> {
        let Some(bin) = find() else {
            let needed = env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!needed, "PostgreSQL is not installed");
            println!("skipped: PostgreSQL is not installed");
            return None;
        };
        Some(Self::make(bin, settings).expect("PostgreSQL starts"))
    }

    fn make(bin: PathBuf, settings: &[&str]) -> io::Result<Self> {
        let owner = owner()?;
        let dir = tempfile::tempdir()?;
        if let Some(Owner { uid, gid }) = owner {
            chown(dir.path(), Some(uid), Some(gid))?;
        }
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut this = Self { bin, owner, dir, port: 0, settings, server: None };
        let data = this.data();
        let made = this
            .command("initdb")
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("--pgdata")
            .arg(data)
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        // Somebody else may take a port between the look and the use.
        let mut failed = None;
        for _ in 0..5 {
            this.port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            match this.launch() {
                Ok(()) => return Ok(this),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| io::Error::other("no port")))
    }

    /// The URL of the database that is there from the start.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes an empty database, and gives its URL.
    ///
    /// # Panics
    /// When the server does not make it.
    #[must_use]
    pub fn create_database(&self, name: &str) -> String {
        let made = self.client("createdb").arg(name).status();
        assert!(made.is_ok_and(|status| status.success()), "the database {name} is made");
        self.url_of(name)
    }

    /// Runs SQL in a database, and gives what it printed, unaligned.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let ran =
            self.client("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]).output();
        let ran = ran.expect("psql runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// How many lines of its log have this in them.
    ///
    /// # Panics
    /// When there is no log.
    #[must_use]
    pub fn logged(&self, what: &str) -> usize {
        let log = fs::read_to_string(self.dir.path().join("log")).expect("a log");
        log.lines().filter(|line| line.contains(what)).count()
    }

    /// The port of the loopback interface that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Freezes it: it takes connections, and answers nothing. Returns when all of it has stopped.
    pub fn freeze(&self) {
        // The first makes no more children once it has stopped.
        for most in [1, usize::MAX] {
            let processes: Vec<u32> = self.processes().into_iter().take(most).collect();
            signal("STOP", &processes);
            let since = Instant::now();
            let stopped = |pid: &u32| parent(*pid).is_none_or(|(_, state)| state == "T");
            while !processes.iter().all(stopped) && since.elapsed() < ENDS_WITHIN {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal("CONT", &self.processes());
    }

    /// Kills all of its processes at once, as a crash does.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// Starts it again after [`Postgres::kill`], on the same port and data, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.launch().expect("PostgreSQL starts again");
    }

    fn launch(&mut self) -> io::Result<()> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for setting in COMMON.iter().copied().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log"))?;
        self.server = Some(command.stdout(log.try_clone()?).stderr(log).spawn()?);
        let since = Instant::now();
        while since.elapsed() < STARTS_WITHIN {
            if self.client("pg_isready").stdout(Stdio::null()).status()?.success() {
                return Ok(());
            }
            let ended = self.server.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.end("KILL");
        Err(io::Error::other(fs::read_to_string(self.dir.path().join("log"))?))
    }

    fn end(&mut self, how: &str) {
        let processes = self.processes();
        let Some(mut server) = self.server.take() else { return };
        if how != "KILL" {
            signal("CONT", &processes);
        }
        match how {
            "KILL" => signal(how, &processes),
            // The server ends its own children.
            how => signal(how, &processes[..1]),
        }
        let since = Instant::now();
        while !matches!(server.try_wait(), Ok(Some(_))) && since.elapsed() < ENDS_WITHIN {
            thread::sleep(Duration::from_millis(10));
        }
        signal("KILL", &processes);
        let _ = server.wait();
        while processes.iter().any(|pid| is_running(*pid)) && since.elapsed() < 2 * ENDS_WITHIN {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The server, first, and all of its children: each is in a session of its own.
    fn processes(&self) -> Vec<u32> {
        let Some(server) = &self.server else { return Vec::new() };
        let mut processes = vec![server.id()];
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_child = |(parent, state): (u32, String)| parent == server.id() && state != "Z";
        processes.extend(all.filter(|pid| parent(*pid).is_some_and(is_child)));
        processes
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn client(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()]);
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(self.dir.path()).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some(Owner { uid, gid }) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // An immediate shutdown gives back what the system keeps for it.
        self.end("QUIT");
    }
}

/// The folder of the newest version's programs.
fn find() -> Option<PathBuf> {
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    let installed = versions.into_iter().rev().map(|(_, bin)| bin);
    let path = env::var_os("PATH").unwrap_or_default();
    let named: Vec<_> = env::split_paths(&path).collect();
    installed
        .chain(named)
        .find(|bin| ["initdb", "postgres"].iter().all(|program| bin.join(program).is_file()))
}

/// The user `postgres` when this is root; else whoever this is.
fn owner() -> io::Result<Option<Owner>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let found = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some(Owner { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    });
    found
        .map(Some)
        .ok_or_else(|| io::Error::other("PostgreSQL refuses to run as root, and there is no user postgres"))
}

fn signal(name: &str, processes: &[u32]) {
    let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
    let kill = format!("kill -{name} {} 2>/dev/null", processes.join(" "));
    let _ = Command::new("sh").args(["-c", &kill]).status();
}

/// The parent of a process, and its state.
fn parent(pid: u32) -> Option<(u32, String)> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name stands in brackets and may be anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.to_owned();
    Some((fields.next()?.parse().ok()?, state))
}

fn is_running(pid: u32) -> bool {
    parent(pid).is_some_and(|(_, state)| state != "Z" && state != "X")
}

const COMMON: [&str; 4] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "autovacuum_naptime=10s",
];

const STARTS_WITHIN: Duration = Duration::from_secs(30);
const ENDS_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_freezes_dies_and_comes_back() {
        let Some(mut server) = Postgres::start() else { return };
        assert_eq!(server.psql("postgres", "CREATE TABLE kept AS SELECT 7 AS n; SELECT n FROM kept"), "7");
        let url = server.create_database("other");
        assert_eq!(url, format!("postgres://postgres@127.0.0.1:{}/other?sslmode=disable", server.port()));

        server.freeze();
        let states = |server: &Postgres| -> Vec<String> {
            server.processes().iter().filter_map(|pid| Some(parent(*pid)?.1)).collect()
        };
        let frozen = states(&server);
        assert!(frozen.len() > 3 && frozen.iter().all(|state| state == "T"), "{frozen:?}");
        server.thaw();
        assert_eq!(server.psql("postgres", "SELECT n FROM kept"), "7");

        let processes = server.processes();
        server.kill();
        assert!(processes.iter().all(|pid| !is_running(*pid)));
        server.restart();
        assert_eq!(server.psql("postgres", "SELECT n FROM kept"), "7");
        let (pid, dir) = (server.processes()[0], server.dir.path().to_owned());
        drop(server);
        assert!(!is_running(pid) && !dir.exists());
    }
}

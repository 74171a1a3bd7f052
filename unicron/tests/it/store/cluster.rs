//! A store under test, with its coordinators: embedded in a folder, or an etcd of the test's own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use unicron::store::{Embedded, Etcd, EtcdSettings, FILE_NAME, Store};

/// Few, so that the log's bound is met; more than most cases append.
pub const KEPT_EVENTS: u64 = 40;

/// What a case runs against.
pub enum Cluster {
    Embedded { folder: TempDir, store: Option<Arc<dyn Store>> },
    Etcd(Server),
}

impl Cluster {
    pub fn embedded() -> Self {
        Self::Embedded { folder: tempfile::tempdir().unwrap(), store: None }
    }

    /// `None`, with a printed line, where etcd isn't installed.
    pub fn etcd() -> Option<Self> {
        Server::start().map(Self::Etcd)
    }

    /// The store as another coordinator sees it; with the embedded one there is only one coordinator.
    pub async fn candidate(&mut self) -> Arc<dyn Store> {
        match self {
            Self::Embedded { folder, store } => {
                if store.is_none() {
                    let opened = Embedded::open(folder.path(), KEPT_EVENTS).await.unwrap();
                    *store = Some(Arc::new(opened));
                }
                Arc::clone(store.as_ref().unwrap())
            }
            Self::Etcd(server) => server.store(),
        }
    }

    /// SIGKILL, and a new start on what is on disk: of the coordinator, where the store is its own.
    pub async fn crash(&mut self) {
        match self {
            // What the file is now is what a kill leaves; the old handle lives on, unheard.
            Self::Embedded { folder, store } => {
                let copy = tempfile::tempdir().unwrap();
                fs::copy(folder.path().join(FILE_NAME), copy.path().join(FILE_NAME)).unwrap();
                *folder = copy;
                *store = None;
            }
            Self::Etcd(server) => {
                server.kill();
                server.restart();
            }
        }
    }
}

/// An etcd of one member.
pub struct Server {
    program: PathBuf,
    folder: TempDir,
    arguments: Vec<String>,
    url: String,
    process: Child,
}

impl Server {
    pub fn start() -> Option<Self> {
        Self::start_with("http", &[])
    }

    /// With these arguments, too, for clients that come by `scheme`.
    pub fn start_with(scheme: &str, arguments: &[String]) -> Option<Self> {
        let program = common::testing::etcd()?;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("{scheme}://127.0.0.1:{}", free_port());
        let peers = format!("http://127.0.0.1:{}", free_port());
        let mut all = vec![
            format!("--data-dir={}", folder.path().join("data").display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            // The shortest lease is one and a half of the time-out: 1 s.
            "--heartbeat-interval=20".to_owned(),
            "--election-timeout=300".to_owned(),
        ];
        all.extend_from_slice(arguments);
        let process = spawn(&program, &all, folder.path());
        Some(Self { program, folder, arguments: all, url, process })
    }

    pub fn settings(&self) -> EtcdSettings {
        let deadline = Duration::from_secs(30);
        EtcdSettings { kept_events: KEPT_EVENTS, deadline, ..EtcdSettings::new(&self.url) }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(Etcd::new(&self.settings()).unwrap())
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.process = spawn(&self.program, &self.arguments, self.folder.path());
    }

    /// `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }
}

impl Drop for Server {
    // What etcd says belongs to a test that fails.
    #[allow(clippy::print_stdout)]
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            println!("the end of etcd's log:");
            println!("{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

fn spawn(program: &Path, arguments: &[String], folder: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(program).args(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

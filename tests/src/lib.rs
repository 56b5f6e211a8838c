//! A harness that starts real nodes, each its own process, on free ports, and talks to them as clients do.
//!
//! The nodes run the `kanon` program of the same build: `make build` makes it before the tests run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends"
)]

pub mod client;
pub mod clinic;
pub mod flight;
#[path = "../../engine/src/auth/testing.rs"]
pub mod issuer;
pub mod peer;
pub mod postgres;
pub mod tools;
pub mod wire;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Client;

/// The first admin of every node of the tests.
pub const ADMIN: (&str, &str) = ("root", "admin's password");
/// An analyst that [`Federation::grant_all`] gives SELECT on everything.
pub const ANALYST: (&str, &str) = ("ana", "ana's password");

/// The program under test.
pub fn kanon() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    // Tests are one folder below it, benchmarks beside it.
    let places = exe.ancestors().skip(1).take(2).map(|folder| folder.join("kanon"));
    let found = places.into_iter().find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("no kanon beside {}: run `make build` first", exe.display()))
}

/// A port that nobody listens on, each time another one. It is below those that the system gives to outgoing connections, so that none of
/// them takes it before it is listened on.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const PORTS: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test programs that run at the same time begin at different places.
    let begin = std::process::id().wrapping_mul(997);
    for _ in 0..PORTS {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + next % PORTS).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port between {FIRST} and {} is free", FIRST + PORTS);
}

/// Sends a signal (`TERM`, `INT`, `HUP`) to a process that this test started.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// What one site of a test is made of.
pub struct SiteSpec {
    /// The node id.
    pub id: &'static str,
    /// Statements that its admin runs, in order. `{dir}` is the node's folder.
    pub setup: Vec<String>,
    /// Files to put into its folder first: name and content.
    pub files: Vec<(String, Vec<u8>)>,
}

/// One running node.
pub struct Site {
    /// The node id.
    pub id: &'static str,
    /// Its folder.
    pub dir: PathBuf,
    /// Where it speaks Postgres, on loopback.
    pub pg_port: u16,
    /// Where it speaks Flight SQL, on loopback.
    pub flight_port: u16,
    /// Its key's fingerprint.
    pub fingerprint: String,
    /// More variables of its process's environment.
    pub environment: Vec<(String, String)>,
    process: Option<Child>,
}

/// Some nodes that pin one another.
pub struct Federation {
    /// The nodes.
    pub sites: Vec<Site>,
    _dir: TempDir,
}

impl Federation {
    /// Makes the nodes, starts them, runs their set-up, and waits until they see one another.
    pub async fn start(specs: Vec<SiteSpec>) -> Federation {
        Federation::configured(specs, "").await
    }

    /// The same, with more lines at the top of their configuration.
    pub async fn configured(specs: Vec<SiteSpec>, more: &str) -> Federation {
        let federation = Federation::set_up(specs, more, true).await;
        federation.wait_for_peers().await;
        federation
    }

    /// Nodes that do not know one another.
    pub async fn strangers(specs: Vec<SiteSpec>) -> Federation {
        Federation::set_up(specs, "", false).await
    }

    async fn set_up(specs: Vec<SiteSpec>, more: &str, pinned: bool) -> Federation {
        let dir = TempDir::new().unwrap();
        let mut sites = Vec::new();
        for spec in &specs {
            sites.push(Site::init(dir.path(), spec));
        }
        let pins: Vec<String> =
            sites.iter().map(|s| format!("127.0.0.1:{}#{}", s.flight_port, s.fingerprint)).collect();
        for (i, site) in sites.iter_mut().enumerate() {
            let others: Vec<&String> =
                pins.iter().enumerate().filter(|(j, _)| pinned && *j != i).map(|(_, p)| p).collect();
            let config = site.dir.join("kanon.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            let text = text.replace("trusted_nodes = []", &format!("trusted_nodes = {others:?}"));
            std::fs::write(config, format!("{more}\n{text}")).unwrap();
            site.spawn();
        }
        let federation = Federation { sites, _dir: dir };
        for (site, spec) in federation.sites.iter().zip(&specs) {
            let admin = site.wait().await;
            for statement in &spec.setup {
                let statement = statement.replace("{dir}", &site.dir.to_string_lossy());
                admin.ask(&statement).await.unwrap_or_else(|e| panic!("{}: {statement}: {e:?}", site.id));
            }
        }
        federation
    }

    /// Waits until files that were written before are old enough for their rows, and plans that read them, to be kept.
    pub async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }

    /// A node by its id.
    pub fn site(&self, id: &str) -> &Site {
        self.sites.iter().find(|s| s.id == id).unwrap()
    }

    /// A node by its id, to stop or start it.
    pub fn site_mut(&mut self, id: &str) -> &mut Site {
        self.sites.iter_mut().find(|s| s.id == id).unwrap()
    }

    /// Waits until every node sees every other.
    pub async fn wait_for_peers(&self) {
        for site in &self.sites {
            let admin = site.wait().await;
            let until = Instant::now() + Duration::from_secs(60);
            loop {
                let answer = admin.ask("SELECT count(*) FROM kanon.nodes WHERE status = 'up'").await.unwrap();
                if answer.rows[0][0].as_deref() == Some(&self.sites.len().to_string()) {
                    break;
                }
                assert!(Instant::now() < until, "{} does not see all nodes: {answer:?}", site.id);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Creates [`ANALYST`] at every node, as `name@peer` for those who come through a peer too, and grants it SELECT on these tables, at
    /// home, at peers and in the federation, once they are offered.
    pub async fn grant_all(&self, tables: &[&str]) {
        for site in &self.sites {
            let admin = site.wait().await;
            admin
                .ask(&format!("CREATE ROLE {} LOGIN PASSWORD '{}'", ANALYST.0, ANALYST.1.replace('\'', "''")))
                .await
                .unwrap();
            admin.ask(&format!("GRANT analyst TO {}", ANALYST.0)).await.unwrap();
            let mut names = vec![ANALYST.0.to_owned()];
            for peer in self.sites.iter().filter(|peer| peer.id != site.id) {
                let name = format!("\"{}@{}\"", ANALYST.0, peer.id);
                admin.ask(&format!("CREATE ROLE {name}")).await.unwrap();
                admin.ask(&format!("GRANT analyst TO {name}")).await.unwrap();
                names.push(name);
            }
            for (table, name) in tables.iter().flat_map(|table| names.iter().map(move |name| (table, name))) {
                admin.ask(&format!("GRANT SELECT ON {table} TO {name}")).await.unwrap();
            }
        }
        for site in &self.sites {
            let admin = site.wait().await;
            let schemas = if self.sites.len() > 1 {
                let peers = self.sites.iter().map(|s| s.id).filter(|id| *id != site.id);
                std::iter::once("federation").chain(peers).collect()
            } else {
                Vec::new()
            };
            for schema in schemas {
                for table in tables {
                    let grant = format!("GRANT SELECT ON {schema}.{table} TO {}", ANALYST.0);
                    let until = Instant::now() + Duration::from_secs(60);
                    while let Err(error) = admin.ask(&grant).await {
                        assert!(Instant::now() < until, "{}: {grant}: {error:?}", site.id);
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        }
    }
}

impl Site {
    fn init(root: &Path, spec: &SiteSpec) -> Site {
        let dir = root.join(spec.id);
        std::fs::create_dir_all(&dir).unwrap();
        for (name, content) in &spec.files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let password = root.join("password");
        std::fs::write(&password, ADMIN.1).unwrap();
        let (pg_port, flight_port) = (free_port(), free_port());
        let output = Command::new(kanon())
            .args(["init", "--node-id", spec.id, "--admin", ADMIN.0])
            .args(["--pg-port", &pg_port.to_string(), "--flight-port", &flight_port.to_string()])
            .arg("--dir")
            .arg(&dir)
            .arg("--password-file")
            .arg(&password)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "kanon init: {text}{}", String::from_utf8_lossy(&output.stderr));
        let fingerprint = text.split_whitespace().find(|w| w.starts_with("sha256:")).unwrap().to_owned();
        Site { id: spec.id, dir, pg_port, flight_port, fingerprint, environment: Vec::new(), process: None }
    }

    /// Starts the node's process.
    pub fn spawn(&mut self) {
        assert!(self.process.is_none(), "{} is running", self.id);
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let process = Command::new(kanon())
            .arg("serve")
            .arg("--config")
            .arg(self.dir.join("kanon.toml"))
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// Kills the node's process, as a crash would.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Asks the node to stop, as an operator would, and waits for its end. Gives its exit status.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        signal(self.pid(), "TERM");
        self.wait_for_end().await
    }

    /// Waits for the end of its process, which was asked to stop.
    pub async fn wait_for_end(&mut self) -> std::process::ExitStatus {
        let mut process = self.process.take().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > until {
                let _ = process.kill();
                panic!("{} does not stop\n{}", self.id, self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Where its log is.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("test.log")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Waits until the node answers its admin.
    pub async fn wait(&self) -> Client {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match self.connect(ADMIN).await {
                Ok(client) => return client,
                Err(error) => {
                    assert!(Instant::now() < until, "{} does not come up: {error}\n{}", self.id, self.log());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Connects over the Postgres protocol.
    pub async fn connect(&self, role: (&str, &str)) -> Result<Client, tokio_postgres::Error> {
        Client::connect(self.pg_port, role.0, role.1).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.id, self.log());
        }
    }
}

//! Who is attacked, by whom, and how it is seen that no harm was done.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use kanon_engine::federation::identity;
use kanon_tests::client::Client;
use kanon_tests::{ANALYST, Federation, Site, SiteSpec};
use serde_json::Value;
use tempfile::TempDir;

/// What the honest coordinator asks, and is answered.
const HONEST: (&str, [&str; 2]) =
    ("SELECT sex, count(*) FROM zurich.people GROUP BY sex ORDER BY 1", ["female|20", "male|40"]);
/// How much more memory the site may hold than before the attacks, in KiB.
const MOST_GROWTH_KIB: u64 = 400 << 10;

fn csv() -> Vec<u8> {
    let rows = (0..60).map(|i| format!("{i},{},{}\n", if i % 3 == 0 { "female" } else { "male" }, 20 + i));
    std::iter::once("id,sex,age\n".to_owned()).chain(rows).collect::<String>().into_bytes()
}

/// `zurich` has the data, `cleveland` is an honest coordinator, and the key of `mallory` is in bad hands.
pub struct World {
    pub nodes: Federation,
    pub hostile: Hostile,
    pub mallory_port: u16,
    honest: Client,
    memory_kib: u64,
    _stranger: TempDir,
}

impl World {
    pub async fn start(more: &str) -> World {
        let password = ANALYST.1.replace('\'', "''");
        let mut setup = vec![
            format!("CREATE ROLE {} LOGIN PASSWORD '{password}'", ANALYST.0),
            "CREATE ROLE \"ana@cleveland\"".to_owned(),
            "CREATE ROLE \"ana@mallory\"".to_owned(),
            "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 100, budget_delta = 0)".to_owned(),
        ];
        for (table, policy) in [
            ("people", "access = 'cohort', unit = 'id', unit_kind = 'person', unit_unique = true, min_cohort = 5"),
            (
                "patients",
                "access = 'private', unit = 'id', unit_kind = 'patient', unit_unique = true, min_cohort = 5, epsilon_per_query = 1, delta_per_query = 1e-8",
            ),
            ("wards", "access = 'open'"),
        ] {
            setup.push(format!("CREATE EXTERNAL TABLE {table} STORED AS CSV LOCATION '{{dir}}/{table}.csv'"));
            setup.push(format!("ALTER TABLE {table} SET ({policy})"));
            for role in ["ana", "\"ana@cleveland\"", "\"ana@mallory\""] {
                setup.push(format!("GRANT SELECT ON {table} TO {role}"));
            }
        }
        for role in ["ana", "\"ana@cleveland\"", "\"ana@mallory\""] {
            setup.push(format!("GRANT analyst TO {role}"));
        }
        let files = ["people", "patients", "wards"].map(|table| (format!("{table}.csv"), csv())).to_vec();
        let coordinator = vec![
            format!("CREATE ROLE {} LOGIN PASSWORD '{password}'", ANALYST.0),
            format!("GRANT analyst TO {}", ANALYST.0),
        ];
        let mut nodes = Federation::configured(
            vec![
                SiteSpec { id: "cleveland", setup: coordinator, files: Vec::new() },
                SiteSpec { id: "zurich", setup, files },
                SiteSpec { id: "mallory", setup: Vec::new(), files: Vec::new() },
            ],
            more,
        )
        .await;
        let admin = nodes.site("cleveland").wait().await;
        let until = Instant::now() + Duration::from_secs(30);
        while let Err(error) = admin.ask("GRANT SELECT ON zurich.people TO ana").await {
            assert!(Instant::now() < until, "{error:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let honest = nodes.site("cleveland").connect(ANALYST).await.unwrap();
        nodes.site_mut("mallory").kill();
        let stranger = TempDir::new().unwrap();
        identity::ensure(stranger.path()).unwrap();
        let (zurich, mallory) = (nodes.site("zurich"), nodes.site("mallory"));
        let hostile = Hostile::start(mallory, zurich, &stranger);
        let mallory_port = mallory.flight_port;
        let mut world = World { nodes, hostile, mallory_port, honest, memory_kib: 0, _stranger: stranger };
        world.is_well("before").await;
        world.memory_kib = world.memory();
        world
    }

    pub fn zurich(&self) -> &Site {
        self.nodes.site("zurich")
    }

    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.zurich().pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The site is the process that it was, answers the honest coordinator as it did, and holds no more memory than it may.
    pub async fn is_well(&self, after: &str) {
        let asked = tokio::time::timeout(Duration::from_secs(20), self.honest.ask(HONEST.0)).await;
        let answer = asked
            .unwrap_or_else(|_| panic!("after {after}: no answer"))
            .unwrap_or_else(|e| panic!("after {after}: {e:?}"));
        assert_eq!(answer.lines(), HONEST.1, "after {after}");
        let grown = self.memory().saturating_sub(self.memory_kib);
        assert!(self.memory_kib == 0 || grown < MOST_GROWTH_KIB, "after {after}: {} MiB more than before", grown >> 10);
        let log = self.zurich().log();
        assert!(!log.contains("panicked"), "after {after}: {log}");
    }

    /// How much memory the site holds beyond what it held before, in MiB.
    pub fn grown_mib(&self) -> u64 {
        self.memory().saturating_sub(self.memory_kib) >> 10
    }

    /// What was spent of the patients' budget.
    pub async fn spent(&self, admin: &Client) -> String {
        let sql = "SELECT coalesce(max(lifetime_epsilon), 0) FROM kanon.budget WHERE scope = 'unit'";
        admin.ask(sql).await.unwrap().lines().concat()
    }
}

/// The process with the key.
pub struct Hostile {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Hostile {
    fn start(mallory: &Site, zurich: &Site, stranger: &TempDir) -> Hostile {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hostile"))
            .arg(&mallory.dir)
            .arg(stranger.path())
            .args([mallory.id, zurich.id, zurich.fingerprint.trim_start_matches("sha256:")])
            .arg(zurich.flight_port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap());
        Hostile { process, to, from }
    }

    /// Tells it what to do, and waits until it is done.
    pub fn does(&mut self, command: &Value) -> Value {
        tokio::task::block_in_place(|| {
            writeln!(self.to, "{command}").unwrap();
            let mut line = String::new();
            self.from.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{command}: {e}: {line:?}"))
        })
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

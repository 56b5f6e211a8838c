//! `kanon demo`, as people meet it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kanon_tests::client::Client;
use kanon_tests::signal;
use tempfile::TempDir;

use crate::{Said, until};

/// A port with thirteen more above it that are free now.
fn base_port() -> u16 {
    let free = |base: u16| {
        let ports = (0..4).flat_map(|i| [base + i, base + 10 + i]);
        ports.map(|port| TcpListener::bind(("127.0.0.1", port))).collect::<Result<Vec<_>, _>>().is_ok()
    };
    (0..200).map(|_| 20_000 + rand::random::<u16>() % 10_000).find(|base| free(*base)).unwrap()
}

fn demo(dir: &Path, base: u16, more: &[&str]) -> Command {
    let mut command = Command::new(kanon_tests::kanon());
    command.args(["demo", "--patients", "500", "--base-port", &base.to_string()]).arg("--dir").arg(dir).args(more);
    command
}

/// The processes whose command line names this folder.
fn processes(dir: &Path) -> Vec<String> {
    let dir = dir.canonicalize().unwrap().display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|p| std::fs::read_to_string(p.path().join("cmdline")).ok());
    lines.filter(|line| line.contains("serve") && line.contains(&dir)).collect()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_comes_up_tells_programs_stops_and_comes_up_again() {
    let dir = TempDir::new().unwrap();
    let base = base_port();
    // A port in use: said at once, and nothing is left behind.
    let busy = TcpListener::bind(("127.0.0.1", base + 2)).unwrap();
    let said: Said = demo(dir.path(), base, &[]).output().unwrap().into();
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.err.contains(&format!("{} is in use", base + 2)) && said.err.contains("--base-port"), "{}", said.err);
    assert!(!said.err.contains("pg_listen"), "the demo's configuration is not for its users: {}", said.err);
    assert_eq!(processes(dir.path()), Vec::<String>::new());
    drop(busy);

    let mut running = Killed(demo(dir.path(), base, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let described = dir.path().join("demo.json");
    let text = until("demo.json", || {
        assert!(running.0.try_wait().unwrap().is_none(), "the demo ended");
        std::fs::read_to_string(&described).ok()
    })
    .await;
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    let nodes = told["nodes"].as_array().unwrap();
    let ids: Vec<&str> = nodes.iter().map(|n| n["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["cleveland", "budapest", "zurich", "long_beach"]);
    for (i, node) in nodes.iter().enumerate() {
        assert_eq!(node["pg"], format!("127.0.0.1:{}", base + i as u16));
        assert_eq!(node["flight"], format!("127.0.0.1:{}", base + 10 + i as u16));
        assert!(told["processes"][ids[i]].as_u64().is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists()));
    }
    for role in told["roles"].as_array().unwrap() {
        let (name, password) = (role["name"].as_str().unwrap(), role["password"].as_str().unwrap());
        let client = Client::connect(base, name, password).await.unwrap();
        let roles = client.ask("SELECT roles FROM kanon.whoami()").await.unwrap().lines().join("");
        assert!(roles.contains(role["role"].as_str().unwrap()), "{name}: {roles}");
    }
    assert_eq!(told["roles"].as_array().unwrap().len(), 3);
    let user = Client::connect(base + 3, "demo_user", "demo_password").await.unwrap();
    let policies = "SELECT table_name, access, min_cohort FROM kanon.policies WHERE site = 'long_beach' ORDER BY 1";
    let policies = user.ask(policies).await.unwrap().lines();
    for policy in ["heart_disease|cohort|10", "patients|private|10", "visits|private|10"] {
        assert!(policies.iter().any(|line| line == policy), "{policies:?}");
    }
    let steward = Client::connect(base + 1, "demo_steward", "steward_password").await.unwrap();
    let kinds = "SELECT table_name, kind FROM kanon.catalogs WHERE schema_name = 'public' ORDER BY 1";
    let kinds = steward.ask(kinds).await.unwrap().lines();
    assert_eq!(kinds, ["heart_disease|csv", "icd10|parquet", "patients|parquet", "visits|parquet"], "budapest");
    assert_eq!(steward.ask("SELECT count(*) FROM heart_disease").await.unwrap_err().code, "42501", "nobody granted it");
    let rows = "SELECT count(*) FROM icd10";
    assert_eq!(user.ask(rows).await.unwrap().lines(), ["50"]);
    let people = "SELECT count(*) FROM federation.patients";
    // With noise of scale 10 at each of the four sites.
    let people: f64 = user.ask(people).await.unwrap().lines()[0].parse().unwrap();
    assert!((people - 2000.0).abs() < 400.0, "{people}");

    signal(running.0.id(), "INT");
    let status = until("the demo's end", || running.0.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(processes(dir.path()), Vec::<String>::new());
    assert!(!described.exists(), "demo.json says that all is up");

    // A second one in the same folder, with its questions.
    let check: Said = demo(dir.path(), base, &["--check"]).output().unwrap().into();
    assert_eq!(check.code, Some(0), "{}{}", check.out, check.err);
    for part in
        ["female |    47", "male   |   313", "496", "4 of 4 sites answered", "all 4 nodes gave the same answers"]
    {
        assert!(check.out.contains(part), "{part}: {}", check.out);
    }
    assert_eq!(processes(dir.path()), Vec::<String>::new());
    // Not just any folder becomes a demo.
    let other = TempDir::new().unwrap();
    std::fs::write(other.path().join("mine"), "").unwrap();
    let said: Said = demo(other.path(), base, &[]).output().unwrap().into();
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("not a demo's folder"), "{}", said.err);
    assert_eq!(other.path().read_dir().unwrap().count(), 1);
}

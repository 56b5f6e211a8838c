//! `kanon demo`: four nodes, each its own process, on real data.

pub(crate) mod data;
mod questions;
mod random;
pub(crate) mod setup;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use kanon_engine::federation::identity;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::DemoArgs;
use crate::client::Client;
use data::HOSPITALS;

/// The file that marks a demo's folder, outside of which the demo's passwords are refused.
pub(crate) const MARKER: &str = "kanon-demo.marker";

/// The demo's roles: name, password, built-in roles.
pub(crate) const ROLES: [(&str, &str, &[&str]); 3] = [
    ("demo_user", "demo_password", &["analyst"]),
    ("demo_steward", "steward_password", &["steward", "auditor"]),
    ("demo_admin", "admin_password", &["admin"]),
];

const START_TIMEOUT: Duration = Duration::from_secs(120);

/// One of the four processes.
struct Running {
    id: &'static str,
    pg_port: u16,
    flight_port: u16,
    process: Child,
    log: PathBuf,
}

/// `kanon demo`.
pub(crate) async fn run(args: DemoArgs) -> Result<()> {
    let began = Instant::now();
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let dir = args.dir.canonicalize()?;
    if dir.read_dir()?.next().is_some() && !dir.join(MARKER).is_file() {
        bail!("{} is not empty and not a demo's folder: choose another with --dir", dir.display());
    }
    std::fs::write(dir.join(MARKER), "A folder of kanon demo. Its passwords are known to everybody.\n")?;
    if args.base_port > 65_500 {
        bail!("--base-port {} leaves no room for the ports above it: at most 65500", args.base_port);
    }
    check_ports(args.base_port)?;
    write_configurations(&dir, args.base_port)?;

    let bar = ProgressBar::new(HOSPITALS.len() as u64 * 2);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
        bar.set_style(style);
    }
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let mut nodes = start(&dir, &args)?;
    let outcome = tokio::select! {
        outcome = operate(&dir, &args, &mut nodes, &bar, began) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
        () = terminated() => Ok(()),
    };
    bar.finish_and_clear();
    stop(&mut nodes).await;
    let _ = std::fs::remove_file(dir.join("demo.json"));
    outcome
}

async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

async fn operate(dir: &Path, args: &DemoArgs, nodes: &mut [Running], bar: &ProgressBar, began: Instant) -> Result<()> {
    for node in nodes.iter_mut() {
        bar.set_message(format!("{} makes its tables and starts", node.id));
        wait_until_up(node).await?;
        bar.inc(1);
    }
    for node in nodes.iter_mut() {
        bar.set_message(format!("{} finds its peers", node.id));
        wait_for_peers(node).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    write_description(dir, nodes)?;
    if args.check {
        let ports: Vec<(&str, u16)> = nodes.iter().map(|n| (n.id, n.pg_port)).collect();
        println!("four nodes up after {:.1} s", began.elapsed().as_secs_f64());
        return questions::check(&ports).await;
    }
    println!("{}", questions::welcome(args.base_port, began.elapsed()));
    // A node that dies is restarted by nobody: the federation says so. The demo goes on until all are gone.
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut alive = 0;
        for node in nodes.iter_mut() {
            match node.process.try_wait()? {
                None => alive += 1,
                Some(status) if !node.log.as_os_str().is_empty() => {
                    eprintln!("{} ended ({status}); its log: {}", node.id, node.log.display());
                    node.log = PathBuf::new();
                }
                Some(_) => {}
            }
        }
        if alive == 0 {
            bail!("all nodes have ended");
        }
    }
}

/// Before anything starts: a node that finds its port taken would say so only in its log.
fn check_ports(base_port: u16) -> Result<()> {
    for port in (0..HOSPITALS.len() as u16).flat_map(|i| [base_port + i, base_port + 10 + i]) {
        if let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            if error.kind() == std::io::ErrorKind::AddrInUse {
                bail!("port {port} is in use by another program: stop it, or choose other ports with --base-port");
            }
            bail!("cannot listen on port {port} ({error}): choose other ports with --base-port");
        }
    }
    Ok(())
}

/// One configuration a node; every node pins the other three.
fn write_configurations(dir: &Path, base_port: u16) -> Result<()> {
    let mut pins = Vec::new();
    for (i, hospital) in HOSPITALS.iter().enumerate() {
        let folder = dir.join(hospital.id);
        std::fs::create_dir_all(&folder)?;
        let identity = identity::ensure(&folder)?;
        pins.push(format!("127.0.0.1:{}#sha256:{}", base_port + 10 + i as u16, identity.fingerprint));
    }
    for (i, hospital) in HOSPITALS.iter().enumerate() {
        let others: Vec<&String> = pins.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, pin)| pin).collect();
        let text = format!(
            "# One node of the demo, written by `kanon demo`.\n\
             node_id = {}\nnode_name = {}\ninstitution = {}\ndir = \".\"\ndemo = true\n\
             pg_listen = \"127.0.0.1:{}\"\nflight_listen = \"127.0.0.1:{}\"\nlog_level = \"info\"\n\
             trusted_nodes = {}\n",
            json!(hospital.id),
            json!(hospital.id),
            json!(hospital.institution),
            base_port + i as u16,
            base_port + 10 + i as u16,
            json!(others),
        );
        std::fs::write(dir.join(hospital.id).join("kanon.toml"), text)?;
    }
    Ok(())
}

fn start(dir: &Path, args: &DemoArgs) -> Result<Vec<Running>> {
    let program = std::env::current_exe()?;
    let mut nodes = Vec::new();
    for (i, hospital) in HOSPITALS.iter().enumerate() {
        let folder = dir.join(hospital.id);
        let log = folder.join("kanon.log");
        let file = std::fs::File::create(&log)?;
        let process = Command::new(&program)
            .arg("serve")
            .arg("--config")
            .arg(folder.join("kanon.toml"))
            .arg("--demo-patients")
            .arg(args.patients.to_string())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a node")?;
        nodes.push(Running {
            id: hospital.id,
            pg_port: args.base_port + i as u16,
            flight_port: args.base_port + 10 + i as u16,
            process,
            log,
        });
    }
    Ok(nodes)
}

async fn connect(node: &Running) -> Result<Client> {
    let [(user, password, _), ..] = ROLES;
    Client::connect("127.0.0.1", node.pg_port, user, password).await
}

fn ended(node: &mut Running) -> Result<()> {
    if let Some(status) = node.process.try_wait()? {
        let log = std::fs::read_to_string(&node.log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(anyhow!("{} ended ({status}):\n{}", node.id, last.join("\n")));
    }
    Ok(())
}

async fn wait_until_up(node: &mut Running) -> Result<()> {
    let began = Instant::now();
    loop {
        ended(node)?;
        match connect(node).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > START_TIMEOUT => {
                return Err(error.context(format!("{} did not come up; its log: {}", node.id, node.log.display())));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn wait_for_peers(node: &mut Running) -> Result<()> {
    let began = Instant::now();
    let client = connect(node).await?;
    loop {
        ended(node)?;
        let (tables, _) = client
            .ask(
                "SELECT count(*) FROM kanon.nodes WHERE status = 'up'; \
                 SELECT count(*) FROM kanon.catalogs WHERE schema_name = 'federation'",
            )
            .await?;
        let number = |i: usize| {
            let cell = tables.get(i).and_then(|t| t.rows.first()).and_then(|r| r.first()).cloned().flatten();
            cell.and_then(|n| n.parse::<usize>().ok()).unwrap_or(0)
        };
        if number(0) == HOSPITALS.len() && number(1) >= setup::TABLES.len() {
            return Ok(());
        }
        if began.elapsed() > START_TIMEOUT {
            bail!("{} did not find its peers; its log: {}", node.id, node.log.display());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Says to programs that all is up: `demo.json`.
fn write_description(dir: &Path, nodes: &[Running]) -> Result<()> {
    let listed: Vec<_> = nodes
        .iter()
        .map(|n| {
            json!({"id": n.id, "pg": format!("127.0.0.1:{}", n.pg_port), "flight": format!("127.0.0.1:{}", n.flight_port)})
        })
        .collect();
    let processes: serde_json::Map<_, _> =
        nodes.iter().filter_map(|n| n.process.id().map(|pid| (n.id.to_owned(), json!(pid)))).collect();
    let roles: Vec<_> = ROLES
        .iter()
        .map(|(name, password, granted)| json!({"name": name, "password": password, "role": granted.first()}))
        .collect();
    let text = serde_json::to_string_pretty(&json!({"nodes": listed, "processes": processes, "roles": roles}))?;
    let partial = dir.join("demo.json.partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(partial, dir.join("demo.json"))?;
    Ok(())
}

/// Asks all to drain, and kills what is left.
async fn stop(nodes: &mut [Running]) {
    for node in nodes.iter() {
        if let Some(pid) = node.process.id() {
            let _ = Command::new("kill").arg("-TERM").arg(pid.to_string()).stderr(Stdio::null()).status().await;
        }
    }
    for node in nodes.iter_mut() {
        if tokio::time::timeout(Duration::from_secs(10), node.process.wait()).await.is_err() {
            let _ = node.process.kill().await;
        }
    }
}

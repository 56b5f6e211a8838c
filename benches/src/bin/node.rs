//! What a node needs while nobody asks, and how soon the demo answers.
//!
//! ```text
//! cargo build --release && cargo run --release -p kanon-benches --bin node
//! KANON_BENCH_ROUNDS=1 … --bin node                                           something quicker
//! ```
//!
//! The idle node is one that was just started and has no tables. The demo is up when `demo.json` is there and the first query of
//! an analyst was answered by all four nodes.

use std::error::Error;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kanon_benches::{median, memory_kb, number};
use kanon_tests::client::Client;
use kanon_tests::{Federation, SiteSpec, kanon};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(300);
const QUERY: &str = "SELECT sex, count(*), avg(age), avg(max_heart_rate) FROM federation.heart_disease WHERE severity > 0 \
                     GROUP BY sex ORDER BY 1";

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Outcome<()> {
    let rounds = number("KANON_BENCH_ROUNDS", 5)?;
    let federation = Federation::start(vec![SiteSpec { id: "cleveland", setup: Vec::new(), files: Vec::new() }]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = memory_kb(federation.site("cleveland").pid(), "VmRSS")?;
    println!("an idle node: {} MB resident (target: at most 100)", idle >> 10);
    drop(federation);

    let (mut up, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let folder = tempfile::tempdir()?;
        let base = free_ports()?;
        let mut demo = Demo::start(folder.path(), base)?;
        let outcome = demo.until_it_answers(folder.path(), base).await;
        let (began, all) = outcome?;
        up.push(began);
        answered.push(all);
        println!("  up after {began:.1?}, all four asked after {all:.1?}");
    }
    println!(
        "the demo, from the start of the program, median of {rounds}: up after {:.1} s, all four have answered after {:.1} s (target: up \
         within 10)",
        median(&mut up).as_secs_f64(),
        median(&mut answered).as_secs_f64(),
    );
    Ok(())
}

/// A port with the demo's others above it free too.
fn free_ports() -> Outcome<u16> {
    for _ in 0..100 {
        let base = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let ports = (0..4).chain(10..14).filter_map(|n| base.checked_add(n));
        if base < 65_000 && ports.into_iter().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(base);
        }
    }
    Err("no free ports".into())
}

struct Demo {
    process: Child,
    began: Instant,
}

impl Demo {
    fn start(dir: &std::path::Path, base: u16) -> Outcome<Demo> {
        let began = Instant::now();
        let process = Command::new(kanon())
            .args(["demo", "--base-port", &base.to_string(), "--dir"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Demo { process, began })
    }

    /// When it said it was up, and when each node had answered the federated query.
    async fn until_it_answers(&mut self, dir: &std::path::Path, base: u16) -> Outcome<(Duration, Duration)> {
        while !dir.join("demo.json").is_file() {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("the demo ended: {status}").into());
            }
            if self.began.elapsed() > PATIENCE {
                return Err("the demo does not come up".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let up = self.began.elapsed();
        for node in 0..4 {
            let client = Client::connect(base + node, "demo_user", "demo_password").await?;
            let answer = client.ask(QUERY).await.map_err(|e| e.message)?;
            if answer.rows.len() != 2 {
                return Err(format!("a node answers {:?}", answer.lines()).into());
            }
        }
        Ok((up, self.began.elapsed()))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It stops its nodes when it is asked to, not when it is killed.
        let _ = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

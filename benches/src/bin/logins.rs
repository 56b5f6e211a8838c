//! Ways in: what it costs a node to let somebody in, beside PostgreSQL 15 where that can be asked the same way.
//!
//! ```text
//! cargo run --release -p kanon-benches --bin logins        500 logins each, in turns
//! KANON_BENCH_ROWS=50 … --bin logins                        something quicker
//! ```
//!
//! Both sides check SCRAM-SHA-256 with 4,096 iterations, which the client computes: a login's time is for the most part the client's.

use std::error::Error;
use std::time::{Duration, Instant};

use arrow::util::display::array_value_to_string;
use futures::StreamExt as _;
use kanon_benches::number;
use kanon_engine::auth::{Scope, ScramVerifier, salted_password};
use kanon_engine::config::Config;
use kanon_engine::node::Node;
use kanon_engine::principal::AuthMethod;
use kanon_engine::session::Session;
use kanon_tests::client::Client;
use kanon_tests::postgres::Postgres;
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Clients that log in at once.
const AT_ONCE: usize = 8;

fn main() -> Outcome<()> {
    let logins: usize = number("KANON_BENCH_ROWS", 500)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(64 << 20).build()?;
    runtime.block_on(async { tokio::spawn(figures(logins)).await.map_err(|e| e.to_string()) })??;
    Ok(())
}

async fn figures(logins: usize) -> Result<(), String> {
    checks(logins * 40).await.map_err(|error| error.to_string())?;
    beside_postgres(logins).await.map_err(|error| error.to_string())
}

/// Tokens and keys, as the listeners ask the node of them.
async fn checks(times: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(Config::new("bench", folder.path().join("node"))).await?;
    let root = Session::open(node.clone(), node.local_admin());
    for sql in ["CREATE ROLE ana LOGIN PASSWORD 'secret'", "GRANT analyst TO ana"] {
        root.execute(&root.prepare(sql, &[]).await?, Vec::new()).await?;
    }
    let made = |what: &'static str, principal| {
        let node = node.clone();
        async move {
            let ana = Session::open(node, principal);
            let answer = ana.execute(&ana.prepare(what, &[]).await?, Vec::new()).await?;
            let batch = answer.rows.ok_or("no rows")?.stream.next().await.ok_or("no row")??;
            Ok::<String, Box<dyn Error>>(array_value_to_string(batch.column(0), 0)?)
        }
    };
    let ana = kanon_engine::auth::load_principal(&node.store, node.site(), "ana", AuthMethod::ScramSha256)?;
    let token = made("SELECT kanon.create_token()", ana.clone()).await?;
    let key = made("SELECT kanon.create_api_key('bench')", ana).await?;
    for (what, shown) in [("a token of the node (EdDSA)", &token), ("an API key", &key)] {
        let began = Instant::now();
        for _ in 0..times {
            node.authenticator.bearer(shown, Scope::Pg).await?;
        }
        let each = began.elapsed().as_secs_f64() * 1e6 / times as f64;
        println!("{what}: {each:.1} us a check (target: under 50)");
    }
    let salt = [7; 16];
    let times = (times / 40).max(10);
    let began = Instant::now();
    for _ in 0..times {
        std::hint::black_box(ScramVerifier::derive("secret", &salt, 4096));
    }
    let each = began.elapsed().as_secs_f64() * 1e3 / times as f64;
    println!("a password that is sent as it is (Flight Basic): {each:.2} ms to derive, on a thread of its own");
    let began = Instant::now();
    for _ in 0..times {
        std::hint::black_box(salted_password("secret", &salt, 4096));
    }
    println!("of that the client computes {:.2} ms in SCRAM", began.elapsed().as_secs_f64() * 1e3 / times as f64);
    node.stop().await;
    Ok(())
}

async fn beside_postgres(logins: usize) -> Outcome<()> {
    let federation = Federation::start(vec![SiteSpec { id: "bench", setup: Vec::new(), files: Vec::new() }]).await;
    let site = federation.sites.first().ok_or("no site")?;
    let admin = site.connect(ADMIN).await?;
    let (name, password) = (ANALYST.0, ANALYST.1.replace('\'', "''"));
    let role = format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'");
    admin.ask(&role).await.map_err(|error| error.message)?;
    let postgres = Postgres::start().await.ok_or("PostgreSQL 15 is not installed")?;
    for clients in [1, AT_ONCE] {
        let (mut here, mut there) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..5 {
            here += took(site.pg_port, clients, logins / 5).await?;
            there += took(postgres.port, clients, logins / 5).await?;
        }
        let rate = |took: Duration| (logins / 5 * 5) as f64 / took.as_secs_f64();
        println!(
            "SCRAM logins, {clients} at once: {:.0} a second, {:.2} ms each; PostgreSQL {:.0}: ratio {:.2} (target: 200 a second, under 15 ms)",
            rate(here),
            1e3 * clients as f64 / rate(here),
            rate(there),
            rate(here) / rate(there)
        );
    }
    Ok(())
}

async fn took(port: u16, clients: usize, logins: usize) -> Outcome<Duration> {
    let began = Instant::now();
    let all = (0..clients).map(|client| async move {
        for _ in 0..logins / clients + usize::from(client < logins % clients) {
            Client::connect(port, ANALYST.0, ANALYST.1).await.map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    });
    for done in futures::future::join_all(all).await {
        done?;
    }
    Ok(began.elapsed())
}

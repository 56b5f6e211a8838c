//! What tools ask of the catalog, beside PostgreSQL 15: `\d` among 10,000 tables, and all of a schema of 1,000.
//!
//! ```text
//! cargo build --release --workspace && cargo run --release -p kanon-benches --bin catalog
//! KANON_BENCH_TABLES=500 KANON_BENCH_ROUNDS=1 … --bin catalog                  something quicker
//! ```
//!
//! The time of `\d` is that of twenty in one psql, less that of a psql that asks nothing, divided by twenty. A sync is what Metabase asks when it is
//! told of a database: its tables, all columns, keys and indexes, and of each table whether it may be read.

use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use kanon_benches::{median, number};
use kanon_tests::postgres::Postgres;
use kanon_tests::tools::psql;
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};

type Outcome<T> = Result<T, Box<dyn Error>>;

const DESCRIBED: usize = 20;

const SYNC: [&str; 4] = [
    "SELECT n.nspname AS schema, c.relname AS name, c.relkind AS type, d.description FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     LEFT JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 \
     WHERE c.relkind IN ('r', 'p', 'v', 'f', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2;",
    "SELECT c.table_schema, c.table_name, c.column_name, c.ordinal_position, c.udt_name, c.is_nullable, c.column_default \
     FROM information_schema.columns c WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' ORDER BY 1, 2, 4;",
    "SELECT tc.table_schema, tc.table_name, kcu.column_name FROM information_schema.table_constraints tc \
     JOIN information_schema.key_column_usage kcu ON tc.constraint_name = kcu.constraint_name \
     WHERE tc.constraint_type = 'PRIMARY KEY' ORDER BY 1, 2, 3;",
    "SELECT i.relname, t.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
     JOIN pg_catalog.pg_class t ON t.oid = x.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
     WHERE n.nspname = 'public' ORDER BY 1;",
];

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> Outcome<()> {
    let rounds = number("KANON_BENCH_ROUNDS", 3)?.max(1);
    let many = number("KANON_BENCH_TABLES", 10_000)?.max(10);
    let some = (many / 10).max(1);
    let postgres = Postgres::start().await.ok_or("PostgreSQL 15 is not here: run scripts/clients")?;
    let csv = b"id,name,born,weight\n1,a,2000-01-01,1.5\n".to_vec();
    let federation = Federation::start(vec![SiteSpec {
        id: "cleveland",
        setup: Vec::new(),
        files: vec![("small.csv".to_owned(), csv)],
    }])
    .await;
    let node = federation.site("cleveland");
    let location = node.dir.join("small.csv");
    let (here, there) = ((node.pg_port, ADMIN), (postgres.port, ANALYST));

    println!("median of {rounds}, in ms; psql asks both in turns");
    println!("{:<44}{:>12}{:>16}{:>8}", "", "kanon", "PostgreSQL 15", "ratio");
    fill(here, there, &location.display().to_string(), 0..some).await?;
    let mut sync: String = SYNC.iter().map(|sql| format!("{sql}\n")).collect();
    for table in 0..some {
        writeln!(sync, "SELECT true FROM public.t{table} WHERE 1 <> 1 LIMIT 0;")?;
    }
    let (ours, theirs) = in_turns(here, there, &sync, rounds).await?;
    line(&format!("a sync of {some} tables (target: at most 5,000)"), ours, theirs);
    fill(here, there, &location.display().to_string(), some..many).await?;
    let nothing = in_turns(here, there, "", rounds).await?;
    let described = "\\d t7\n".repeat(DESCRIBED);
    let all = in_turns(here, there, &described, rounds).await?;
    let one = |all: Duration, nothing: Duration| all.saturating_sub(nothing) / u32::try_from(DESCRIBED).unwrap_or(1);
    line(&format!("\\d t among {many} tables (target: at most 20)"), one(all.0, nothing.0), one(all.1, nothing.1));
    let listed = in_turns(here, there, "\\dt\n", rounds).await?;
    line(&format!("\\dt of {many} tables"), listed.0.saturating_sub(nothing.0), listed.1.saturating_sub(nothing.1));
    Ok(())
}

type Server = (u16, (&'static str, &'static str));

fn line(what: &str, ours: Duration, theirs: Duration) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("{what:<44}{:>12.1}{:>16.1}{:>8.2}", ms(ours), ms(theirs), ms(ours) / ms(theirs).max(1e-6));
}

/// Makes tables of the same four columns at both.
async fn fill(here: Server, there: Server, location: &str, tables: std::ops::Range<usize>) -> Outcome<()> {
    let (mut ours, mut theirs) = (String::new(), String::new());
    for table in tables {
        writeln!(
            ours,
            "CREATE EXTERNAL TABLE t{table} STORED AS CSV LOCATION '{location}';\nALTER TABLE t{table} SET (access = 'open');\nGRANT SELECT ON t{table} TO root;"
        )?;
        writeln!(theirs, "CREATE TABLE t{table} (id int8, name text, born date, weight float8);")?;
    }
    ask(here, &ours).await?;
    ask(there, &theirs).await?;
    Ok(())
}

async fn in_turns(here: Server, there: Server, script: &str, rounds: usize) -> Outcome<(Duration, Duration)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(ask(here, script).await?);
        theirs.push(ask(there, script).await?);
    }
    Ok((median(&mut ours), median(&mut theirs)))
}

async fn ask((port, role): Server, script: &str) -> Outcome<Duration> {
    let began = Instant::now();
    let said = psql(port, role, &["-q", "-v", "ON_ERROR_STOP=1"], script).await;
    if said.ended_well { Ok(began.elapsed()) } else { Err(said.text().into()) }
}

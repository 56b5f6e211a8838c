//! Clients in all languages, each with a script of its own in tests/clients that counts its checks; and docs/clients.md, which says
//! what they find.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kanon_tests::postgres::Postgres;
use kanon_tests::{ANALYST, Site};

use super::world;
use kanon_tests::tools::{Said, file, node_packages, program, python, python_of_pgadmin, python_of_tools, run};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md");

const INTRODUCTION: &str = "# Clients

What real clients find at a node. Each has a script in [tests/clients](../tests/clients) that uses it as its users do: values both ways, in
text and in binary, parameters, transactions, errors, cancelling, cursors, copies, what there is, and what is refused. Those that know
nothing of Kanon pass at PostgreSQL 15 with the same tables, all of their checks; so what fails at a node is a difference of the node.
It is known, below with its reason, or the tests fail; they also fail when a known difference is gone.

The tests compare this page with what they find: `UPDATE_GOLDEN=1 cargo test -p kanon-tests --test clients` writes it anew.

";

pub async fn script(python: &Path, name: &str, arguments: &[&str]) -> Said {
    let script = script_path(name);
    let arguments = [&["-W", "error", script.as_str()], arguments].concat();
    run(python, &arguments, &[("PYTHONDONTWRITEBYTECODE", "1"), ("TZ", "UTC")], "").await
}

fn script_path(name: &str) -> String {
    format!("{}/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Where a script asks.
struct Place {
    pg_port: u16,
    /// At a node only.
    flight: Option<Flight>,
}

struct Flight {
    port: u16,
    authority: String,
}

impl Place {
    fn node(site: &Site) -> Place {
        let authority = site.dir.join("tls.crt").to_string_lossy().into_owned();
        Place { pg_port: site.pg_port, flight: Some(Flight { port: site.flight_port, authority }) }
    }

    fn url(&self) -> String {
        format!("postgresql://{}:{}@127.0.0.1:{}/kanon", ANALYST.0, ANALYST.1.replace(' ', "%20"), self.pg_port)
    }

    fn flight(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}", self.flight.as_ref().map_or(0, |flight| flight.port))
    }
}

/// What a script is given to find the server.
#[derive(Clone, Copy)]
enum Given {
    Dsn,
    Url,
    PortAndRole,
    Flight,
    FlightOverTls,
}

impl Given {
    fn arguments(self, place: &Place) -> Vec<String> {
        let role = [ANALYST.0.to_owned(), ANALYST.1.to_owned()];
        match self {
            Given::Dsn => vec![world::dsn(place.pg_port)],
            Given::Url => vec![place.url()],
            Given::PortAndRole => [vec![place.pg_port.to_string()], role.into()].concat(),
            Given::Flight => [vec![place.flight("grpc", "127.0.0.1")], role.into()].concat(),
            Given::FlightOverTls => {
                let authority = place.flight.as_ref().map(|flight| flight.authority.clone()).unwrap_or_default();
                [vec![place.flight("grpc+tls", "localhost")], role.into(), vec![authority]].concat()
            }
        }
    }
}

/// A client's script and how it is run.
struct Client {
    program: PathBuf,
    before: Vec<String>,
    /// Where Node.js finds packages.
    packages: Option<PathBuf>,
    script: &'static str,
    given: Given,
    /// Whether it is of use at PostgreSQL: it asks for nothing that only a node has.
    at_postgres: bool,
    /// Whether its version is that of the system's package, or of whatever was newest: then the page says the first number only.
    version_differs: bool,
}

impl Client {
    async fn run(&self, place: &Place) -> Said {
        let arguments = [self.before.clone(), vec![script_path(self.script)], self.given.arguments(place)].concat();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let packages =
            self.packages.as_ref().map(|packages| packages.to_string_lossy().into_owned()).unwrap_or_default();
        let env = [("PYTHONDONTWRITEBYTECODE", "1"), ("TZ", "UTC"), ("LC_ALL", "C.UTF-8"), ("NODE_PATH", &packages)];
        run(&self.program, &arguments, &env, "").await
    }
}

/// All clients that are here, and whether these are all.
fn clients() -> (Vec<Client>, bool) {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let strict = text(&["-W", "error"]);
    let mut clients = Vec::new();
    let mut all = true;
    let mut add = |program: Option<&PathBuf>, client: Client| match program {
        Some(program) => clients.push(Client { program: program.clone(), ..client }),
        None => all = false,
    };
    let client = |script, given| Client {
        program: PathBuf::new(),
        before: Vec::new(),
        packages: None,
        script,
        given,
        at_postgres: true,
        version_differs: true,
    };
    let drivers = python();
    for (script, given) in [
        ("psycopg3.py", Given::Dsn),
        ("psycopg2_.py", Given::Dsn),
        ("sqlalchemy2.py", Given::Url),
        ("asyncpg_.py", Given::Url),
        ("pg8000_.py", Given::PortAndRole),
        ("adbc_flight.py", Given::Flight),
        ("adbc_flight.py", Given::FlightOverTls),
    ] {
        let client = Client { before: strict.clone(), at_postgres: false, ..client(script, given) };
        add(drivers.as_ref(), client);
    }
    let java = program("javac").and(file("/usr/share/java/postgresql.jar")).and(program("bash"));
    add(java.as_ref(), client("jdbc/run", Given::PortAndRole));
    let tools = python_of_tools();
    add(tools.as_ref(), Client { before: strict.clone(), ..client("odbc.py", Given::PortAndRole) });
    for script in ["adbc_postgresql.py", "connectorx_.py", "ibis_.py", "pgcli_.py", "dbt_.py"] {
        let client = Client { before: strict.clone(), version_differs: false, ..client(script, Given::PortAndRole) };
        add(tools.as_ref(), client);
    }
    let pgadmin = python_of_pgadmin();
    add(pgadmin.as_ref(), Client { version_differs: false, ..client("pgadmin_.py", Given::PortAndRole) });
    let rscript = program("Rscript");
    add(rscript.as_ref(), Client { before: text(&["--vanilla"]), ..client("rpostgresql.R", Given::PortAndRole) });
    let packages = node_packages().map(|folder| folder.join("node_modules"));
    let node = program("node").filter(|_| packages.is_some());
    for script in ["pg.mjs", "postgresjs.mjs"] {
        // Users put several statements into the queue of a client, which node-postgres says is not for the future.
        let before = text(&["--no-deprecation"]);
        let client = client(script, Given::PortAndRole);
        add(node.as_ref(), Client { before, packages: packages.clone(), version_differs: false, ..client });
    }
    (clients, all)
}

/// What a script found.
#[derive(Debug)]
struct Found {
    client: String,
    version: String,
    checks: u32,
    passed: u32,
    /// Names and reasons.
    known: Vec<(String, String)>,
}

impl Found {
    /// Reads the last line, `client|version|checks|passed|known`, and the lines of the known differences.
    fn read(said: &str) -> Result<Found, String> {
        let last = said.lines().last().unwrap_or_default();
        let parts: Vec<&str> = last.split('|').collect();
        let [client, version, checks, passed, count] = parts[..] else { return Err("no count of checks".to_owned()) };
        let number = |text: &str| text.parse::<u32>().map_err(|error| format!("{text}: {error}"));
        let known: Vec<(String, String)> = said
            .lines()
            .filter_map(|line| line.strip_prefix("known: ")?.split_once(": "))
            .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
            .collect();
        let found = Found {
            client: client.to_owned(),
            version: version.to_owned(),
            checks: number(checks)?,
            passed: number(passed)?,
            known,
        };
        if found.checks == 0 || usize::try_from(number(count)?) != Ok(found.known.len()) {
            return Err(format!("{found:?}"));
        }
        Ok(found)
    }

    fn row(&self) -> String {
        format!("| {} | {} | {} | {} | {} |", self.client, self.version, self.checks, self.passed, self.known.len())
    }

    fn differences(&self) -> String {
        let mut text = format!("### {}\n\n", self.client);
        for (name, reason) in &self.known {
            let _ = writeln!(text, "- `{name}`: {reason}");
        }
        text
    }
}

/// Runs a client at a node, and at the same time at PostgreSQL if there is one.
async fn find(client: &Client, node: &Place, postgres: Option<&Place>) -> Result<Found, String> {
    let beside = async {
        match postgres.filter(|_| client.at_postgres) {
            Some(place) => Some(client.run(place).await),
            None => None,
        }
    };
    let (said, beside) = tokio::join!(client.run(node), beside);
    let text = said.text();
    eprintln!("{}: {}", client.script, text.lines().last().unwrap_or_default());
    let found = Found::read(&text).map_err(|error| format!("=== {}: {error}\n{text}\n", client.script))?;
    if !said.ended_well {
        return Err(format!("=== {}\n{text}\n", client.script));
    }
    if let Some(said) = beside {
        let text = said.text();
        let all = Found::read(&text).is_ok_and(|found| found.passed == found.checks);
        if !said.ended_well || !all {
            return Err(format!("=== {} at PostgreSQL\n{text}\n", client.script));
        }
    }
    Ok(found)
}

fn page(all: &[Found]) -> String {
    let mut text = INTRODUCTION.to_owned();
    text += "| client | version | checks | passed | known differences |\n| --- | --- | --- | --- | --- |\n";
    for found in all {
        text += &format!("{}\n", found.row());
    }
    if all.iter().any(|found| !found.known.is_empty()) {
        text += "\n## Known differences\n";
        for found in all.iter().filter(|found| !found.known.is_empty()) {
            text += &format!("\n{}", found.differences());
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_what_docs_clients_md_says() {
    let (clients, all) = clients();
    let federation = world::start().await;
    let node = Place::node(federation.site("cleveland"));
    let server = Postgres::start().await;
    if let Some(server) = &server {
        world::same_tables(server).await;
    }
    let postgres = server.as_ref().map(|server| Place { pg_port: server.port, flight: None });
    let mut failures = String::new();
    let mut table = Vec::new();
    for client in &clients {
        match find(client, &node, postgres.as_ref()).await {
            Ok(mut found) => {
                if client.version_differs {
                    found.version = format!("{}.x", found.version.split('.').next().unwrap_or_default());
                }
                table.push(found);
            }
            Err(failure) => failures += &failure,
        }
    }
    assert!(failures.is_empty(), "{failures}");
    if all && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PAGE, page(&table)).unwrap();
    }
    let said = std::fs::read_to_string(PAGE).unwrap_or_default();
    if all {
        assert!(
            said == page(&table),
            "docs/clients.md is not what was found; UPDATE_GOLDEN=1 writes it:\n{}",
            page(&table)
        );
    }
    for found in &table {
        assert!(said.contains(&found.row()), "not in docs/clients.md: {}", found.row());
    }
}

//! Programs of the clients: found or skipped, run with a time limit.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The longest a client's script may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// Says that something is not here and so not tested; fails where nothing may be skipped.
pub fn skip(what: &str) {
    assert!(std::env::var("KANON_TESTS_MAY_SKIP").as_deref() != Ok("0"), "{what}, and nothing may be skipped");
    eprintln!("SKIPPED: {what}; run scripts/clients");
}

/// Something that `scripts/clients` puts into its folder, if it is here.
fn got(path: &str, what: &str) -> Option<PathBuf> {
    let found = PathBuf::from(std::env::var_os("HOME")?).join(".cache/kanon").join(path);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("{what} are not here"));
    None
}

/// The Python that has the drivers, if it is here.
pub fn python() -> Option<PathBuf> {
    got("clients/bin/python", "the Python clients")
}

/// The Python that has the clients for data frames, projects and prompts, if it is here.
pub fn python_of_tools() -> Option<PathBuf> {
    got("more-clients/bin/python", "more Python clients")
}

/// The Python that has pgAdmin, if it is here.
pub fn python_of_pgadmin() -> Option<PathBuf> {
    got("pgadmin/bin/python", "pgAdmin")
}

/// The Python that has Superset, if it is here with its metadata.
pub fn python_of_superset() -> Option<PathBuf> {
    got("superset/home/requirements.txt", "Superset")?;
    got("superset/bin/python", "Superset")
}

/// The folder of the clients of Node.js, if it is here.
pub fn node_packages() -> Option<PathBuf> {
    got("node-clients", "the clients of Node.js")
}

/// A file that a package of the system puts there, if it is here.
pub fn file(path: &str) -> Option<PathBuf> {
    let found = PathBuf::from(path);
    if found.is_file() {
        return Some(found);
    }
    skip(&format!("{path} is not here"));
    None
}

/// A program of PostgreSQL 15 or of the system, if it is here.
pub fn program(name: &str) -> Option<PathBuf> {
    let debian = Path::new("/usr/lib/postgresql/15/bin").join(name);
    if debian.is_file() {
        return Some(debian);
    }
    let path = std::env::var_os("PATH")?;
    if let Some(found) = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()) {
        return Some(found);
    }
    skip(&format!("{name} is not here"));
    None
}

/// What a program said, on standard output and standard error as they came, and whether it ended well.
pub struct Said {
    /// All of it.
    pub all: Vec<u8>,
    /// Whether its exit code was 0.
    pub ended_well: bool,
}

impl Said {
    /// The same as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.all).into_owned()
    }
}

/// Runs a program with this input.
pub async fn run(program: &Path, arguments: &[&str], env: &[(&str, &str)], input: &str) -> Said {
    // One pipe for both, so that errors stand where they came.
    let mut child = Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
        .arg(program)
        .args(arguments)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writing = tokio::spawn(async move {
        let _ = stdin.write_all(input.as_bytes()).await;
    });
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("{} does not end", program.display())).unwrap();
    writing.await.unwrap();
    Said { all: output.stdout, ended_well: output.status.success() }
}

/// psql at a port of this machine.
pub async fn psql(port: u16, role: (&str, &str), arguments: &[&str], input: &str) -> Said {
    let psql = program("psql").expect("the caller looked");
    let port = port.to_string();
    let env = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", port.as_str()),
        ("PGDATABASE", "kanon"),
        ("PGUSER", role.0),
        ("PGPASSWORD", role.1),
        ("PGCLIENTENCODING", "UTF8"),
        ("PGSSLMODE", "disable"),
        ("LC_ALL", "C.UTF-8"),
        ("PAGER", ""),
        ("PSQL_PAGER", ""),
    ];
    run(&psql, &[&["-X"], arguments].concat(), &env, input).await
}

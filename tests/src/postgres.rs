//! PostgreSQL 15 itself, for as long as a test runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{ANALYST, free_port};
use tempfile::TempDir;

use crate::tools::{program, psql};

/// A server with a database `kanon` and the role of the analyst.
pub struct Postgres {
    /// Where it listens, on loopback.
    pub port: u16,
    pg_ctl: PathBuf,
    dir: TempDir,
}

/// PostgreSQL refuses to run as root: then it runs as the user that Debian's package made for it.
fn as_user(program: &Path) -> Command {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).current_dir("/").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

impl Postgres {
    /// Starts one; `None` if it is not installed.
    pub async fn start() -> Option<Postgres> {
        let (initdb, pg_ctl) = (program("initdb")?, program("pg_ctl")?);
        program("psql")?;
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        // The package's user must reach the folder.
        succeed(Command::new("chmod").arg("777").arg(dir.path()));
        succeed(
            as_user(&initdb)
                .args(["--auth=trust", "--username=super", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
                .arg("--pgdata")
                .arg(&data),
        );
        let hba = "host all super 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        succeed(
            as_user(Path::new("sh"))
                .args(["-c", "printf '%s' \"$1\" > \"$2\"", "sh", hba])
                .arg(data.join("pg_hba.conf")),
        );
        let port = free_port();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c timezone=UTC -c lc_messages=C"
        );
        succeed(
            as_user(&pg_ctl)
                .args(["start", "--wait", "--silent", "--options", &options])
                .arg("--log")
                .arg(dir.path().join("log"))
                .arg("--pgdata")
                .arg(&data),
        );
        let server = Postgres { port, pg_ctl, dir };
        let statements = format!(
            "CREATE ROLE {0} LOGIN SUPERUSER PASSWORD '{1}';\nCREATE DATABASE kanon OWNER {0};\n",
            ANALYST.0,
            ANALYST.1.replace('\'', "''"),
        );
        let made = psql(port, ("super", ""), &["-d", "postgres", "-v", "ON_ERROR_STOP=1"], &statements).await;
        assert!(made.ended_well, "{}", made.text());
        Some(server)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.dir.path().join("data");
        let _ = as_user(&self.pg_ctl)
            .args(["stop", "--silent", "--mode", "immediate"])
            .arg("--pgdata")
            .arg(&data)
            .current_dir("/")
            .stdin(Stdio::null())
            .status();
        // What another user made there, that user must remove.
        let _ =
            as_user(Path::new("rm")).arg("-rf").arg(&data).arg(self.dir.path().join("log")).current_dir("/").status();
    }
}

//! The README's second page: the commands are read out of it and run as they stand there, but for ports, paths and passwords.

use std::path::Path;
use std::process::{Command, Stdio};

use kanon_tests::{free_port, signal};
use tempfile::TempDir;

use crate::{Said, until};

/// The indented blocks of a section, each as its lines.
fn blocks(readme: &str, section: &str) -> Vec<Vec<String>> {
    let text = readme.split(&format!("\n## {section}")).nth(1).expect("the section").split("\n## ").next().unwrap();
    let mut blocks: Vec<Vec<String>> = vec![Vec::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(code) => blocks.last_mut().unwrap().push(code.to_owned()),
            None if blocks.last().unwrap().is_empty() => {}
            None => blocks.push(Vec::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_page_works_as_it_is_written() {
    if Command::new("psql").arg("--version").stdout(Stdio::null()).status().is_err() {
        assert_ne!(std::env::var("KANON_TESTS_MAY_SKIP").as_deref(), Ok("0"), "psql is missing: run scripts/clients");
        eprintln!("SKIPPED: the README's second page needs psql; scripts/clients installs it");
        return;
    }
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let blocks = blocks(&readme, "Your own data");
    let (commands, statements) = (&blocks[0], &blocks[1]);
    let find = |start: &str| commands.iter().find(|line| line.starts_with(start)).expect(start).clone();

    let dir = TempDir::new().unwrap();
    let program = kanon_tests::kanon();
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let (pg, flight) = (free_port(), free_port());
    let shell = |line: &str, password: &str| {
        let mut command = Command::new("bash");
        command.current_dir(dir.path()).args(["-c", line]).env("PATH", &path).env("PGPASSWORD", password);
        // The ports of the page may be taken on this machine.
        command.env("KANON_PG_LISTEN", format!("127.0.0.1:{pg}"));
        command.env("KANON_FLIGHT_LISTEN", format!("127.0.0.1:{flight}"));
        command
    };
    let init: Said = shell(&find("kanon init"), "").output().unwrap().into();
    assert_eq!(init.code, Some(0), "{}", init.err);
    let password = init.out.lines().find_map(|l| l.strip_prefix("The admin's password, shown only now: ")).unwrap();
    let mut node = shell(&format!("exec {}", find("kanon serve")), "").stderr(Stdio::null()).spawn().unwrap();
    until("the node", || std::net::TcpStream::connect(("127.0.0.1", pg)).ok()).await;

    let rows = (0..100).map(|i| format!("{i},{},{}\n", if i % 4 == 0 { "female" } else { "male" }, i % 90));
    let csv: String = std::iter::once("patient_id,sex,age\n".to_owned()).chain(rows).collect();
    std::fs::write(dir.path().join("patients.csv"), csv).unwrap();
    let psql = find("psql").replace("5433", &pg.to_string());
    let run = |psql: &str, password: &str, sql: &str| -> Said {
        let mut command = shell(&format!("{psql} -X -A -t -v ON_ERROR_STOP=1"), password);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    };
    let statements = statements.join("\n");
    assert!(statements.contains("/data/patients.csv") && statements.contains("'…'"), "{statements}");
    let statements = statements
        .replace("/data/patients.csv", &dir.path().join("patients.csv").display().to_string())
        .replace("'…'", "'ana knows this'");
    let said = run(&psql, password, &statements);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.err.contains("answers nothing until it has a policy"), "{}", said.err);
    let ana = psql.replace("-U root", "-U ana");
    let said = run(&ana, "ana knows this", "SELECT sex, count(*) FROM patients GROUP BY sex ORDER BY 1;");
    assert_eq!((said.code, said.out.as_str()), (Some(0), "female|25\nmale|75\n"), "{}", said.err);
    assert!(said.err.contains("groups of fewer than 10 are withheld"), "{}", said.err);
    let said = run(&ana, "ana knows this", "SELECT * FROM patients;");
    assert_ne!(said.code, Some(0));
    assert!(said.err.contains("ERROR") && said.err.contains("HINT"), "{}", said.err);
    signal(node.id(), "TERM");
    assert_eq!(until("the node's end", || node.try_wait().unwrap()).await.code(), Some(0));
}

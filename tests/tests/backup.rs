//! `kanon backup` and `kanon restore`: what a running node had is there again, for whoever has the key, and gives nothing back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use kanon_tests::clinic::{ANA, Clinic};
use kanon_tests::{Federation, kanon};

fn run(arguments: &[&str], paths: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(kanon());
    command.args(arguments);
    for (name, path) in paths {
        command.arg(name).arg(path);
    }
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn clinic() -> Federation {
    Clinic { budget_epsilon: 10.0, ..Clinic::default() }.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_node_is_restored_with_its_key_alone() {
    let mut federation = clinic().await;
    let site = &federation.sites[0];
    let ana = site.connect(ANA).await.unwrap();
    let first = "SELECT count(*) FROM patients WHERE age > 30";
    let answer = ana.ask(first).await.unwrap().lines();
    let place = tempfile::tempdir().unwrap();
    let (file, key, wrong) = (place.path().join("clinic.kanon"), place.path().join("key"), place.path().join("wrong"));
    std::fs::write(&key, [5; 32]).unwrap();
    std::fs::write(&wrong, "06".repeat(32)).unwrap();
    let config = site.dir.join("kanon.toml");
    // Somebody asks all the while.
    let busy = tokio::spawn(async move {
        for age in 31..40 {
            ana.ask(&format!("SELECT count(*) FROM visits WHERE minutes > {age}")).await.ok();
        }
    });
    let backup = run(&["backup"], &[("--config", &config), ("--to", &file), ("--key-file", &key)]);
    assert!(backup.status.success(), "{}", text(&backup));
    busy.await.unwrap();
    let bytes = std::fs::read(&file).unwrap();
    for secret in ["SQLite format 3", "SCRAM-SHA-256", "PRIVATE KEY", "node_id", "patients"] {
        assert!(!holds(&bytes, secret), "{secret}");
    }
    let again = run(&["backup"], &[("--config", &config), ("--to", &file), ("--key-file", &key)]);
    assert!(!again.status.success() && text(&again).contains("cannot write"), "{}", text(&again));
    let left: Vec<_> = std::fs::read_dir(&site.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".kanon-")), "{left:?}");

    // What a backup that was killed left behind is gone with the next one; what is being written stays.
    let (stale, new) = ("6f2e0f0a-3a55-4f6b-9b0a-0d7f6f1e2a11", "6f2e0f0a-3a55-4f6b-9b0a-0d7f6f1e2a22");
    let folder = |id: &str| site.dir.join(format!(".kanon-{id}"));
    for id in [stale, new] {
        std::fs::create_dir(folder(id)).unwrap();
        std::fs::write(folder(id).join("kanon.db"), "rows").unwrap();
    }
    for path in [folder(stale).join("kanon.db"), folder(stale)] {
        assert!(Command::new("touch").args(["-d", "2 hours ago"]).arg(path).status().unwrap().success());
    }
    let second = place.path().join("second.kanon");
    let backup = run(&["backup"], &[("--config", &config), ("--to", &second), ("--key-file", &key)]);
    assert!(backup.status.success(), "{}", text(&backup));
    assert!(!folder(stale).exists() && folder(new).exists());

    // Not into a node's folder, not with another key, not cut off: and then nothing is written.
    let over = run(&["restore"], &[("--from", &file), ("--dir", &site.dir), ("--key-file", &key)]);
    assert!(!over.status.success() && text(&over).contains("exists"), "{}", text(&over));
    let dir = place.path().join("restored");
    let cut = place.path().join("cut");
    std::fs::write(&cut, &bytes[..bytes.len() - 20]).unwrap();
    for (from, key) in [(&file, &wrong), (&cut, &key)] {
        let output = run(&["restore"], &[("--from", from), ("--dir", &dir), ("--key-file", key)]);
        assert!(!output.status.success(), "{}", text(&output));
        assert!(!dir.exists(), "nothing is written before all was opened");
    }
    let none = run(&["restore"], &[("--from", &file), ("--dir", &dir)]);
    assert_eq!(none.status.code(), Some(2), "{}", text(&none));

    let restored = run(&["restore"], &[("--from", &file), ("--dir", &dir), ("--key-file", &key)]);
    assert!(restored.status.success(), "{}", text(&restored));
    let verified = run(&["audit", "verify"], &[("--config", &dir.join("kanon.toml"))]);
    assert!(verified.status.success(), "{}", text(&verified));
    // It is the node that it was: its keys, roles, budget and answers.
    let site = &mut federation.sites[0];
    site.terminate().await;
    let old = std::mem::replace(&mut site.dir, dir.clone());
    for name in ["node.key", "audit.key", "kanon.toml"] {
        assert_eq!(std::fs::read(old.join(name)).unwrap(), std::fs::read(dir.join(name)).unwrap(), "{name}");
    }
    // What a backup left behind is gone when the node starts, too.
    let left = dir.join(format!(".kanon-{stale}"));
    std::fs::create_dir(&left).unwrap();
    assert!(Command::new("touch").args(["-d", "2 hours ago"]).arg(&left).status().unwrap().success());
    site.spawn();
    site.wait().await;
    assert!(!left.exists());
    let ana = site.connect(ANA).await.unwrap();
    assert_eq!(ana.ask(first).await.unwrap().lines(), answer);
    use std::os::unix::fs::PermissionsExt;
    for name in ["kanon.db", "node.key", "audit.key"] {
        assert_eq!(std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o077, 0, "{name}");
    }
}

#[test]
fn help_shows_it() {
    let output = run(&["--help"], &[]);
    for word in ["backup", "restore", "--key-file"] {
        assert!(text(&output).contains(word), "{word}");
    }
}

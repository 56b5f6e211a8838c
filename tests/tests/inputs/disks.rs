//! Disks that are full, and that may only be read: nothing is answered that cannot be written down, and the node goes on once it can.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kanon_tests::client::Client;
use kanon_tests::tools::skip;
use kanon_tests::{ADMIN, Federation, Site, SiteSpec, kanon};

const COUNT: &str = "SELECT count(*) FROM people";
const OPEN: &str = "SELECT count(*) FROM wards";
const PRIVATE: &str = "SELECT count(*) FROM patients";
/// How long anything may take that must happen.
const SOON: Duration = Duration::from_secs(20);

async fn clinic() -> Federation {
    let csv: String = std::iter::once("id\n".to_owned()).chain((0..60).map(|i| format!("{i}\n"))).collect();
    let mut setup = vec!["CREATE PRIVACY UNIT patient WITH (budget_epsilon = 100, budget_delta = 1e-3)".to_owned()];
    let mut files = Vec::new();
    for (table, policy) in [
        ("wards", "access = 'open'"),
        ("people", "access = 'cohort', unit = 'id', unit_kind = 'person', min_cohort = 5"),
        (
            "patients",
            "access = 'private', unit = 'id', unit_kind = 'patient', unit_unique = true, min_cohort = 5, epsilon_per_query = 1, delta_per_query = 1e-8",
        ),
    ] {
        setup.push(format!("CREATE EXTERNAL TABLE {table} STORED AS CSV LOCATION '{{dir}}/{table}.csv'"));
        setup.push(format!("ALTER TABLE {table} SET ({policy})"));
        files.push((format!("{table}.csv"), csv.clone().into_bytes()));
    }
    Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await
}

/// A node that sees another disk than the test does. The disk is gone with it.
struct Elsewhere(Child);

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The site's folder as a shell prepares it, in mounts of its own: `$0` is the program and `$1` the folder. `None` if this may not be done here.
fn elsewhere(site: &Site, prepare: &str) -> Option<Elsewhere> {
    let allowed = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !allowed {
        skip("disks cannot be mounted here (that needs root)");
        return None;
    }
    let script = format!("set -e; {prepare}; exec \"$0\" serve --config \"$1/kanon.toml\"");
    // Its own words go elsewhere: there must be room for them.
    let log = std::fs::File::create(site.dir.with_extension("log")).unwrap();
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "bash", "-c", &script]).arg(kanon()).arg(&site.dir);
    shell.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Some(Elsewhere(shell.spawn().unwrap()))
}

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.dir.with_extension("log")).unwrap()
}

async fn soon(client: &Client, sql: &str) {
    let until = Instant::now() + SOON;
    while let Err(error) = client.ask(sql).await {
        assert!(Instant::now() < until, "{sql}: {error:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many releases have entries.
async fn entered(client: &Client) -> u64 {
    let sql = "SELECT count(*) FROM kanon.audit_log WHERE action = 'release' AND decision = 'allowed'";
    client.ask(sql).await.unwrap().lines()[0].parse().unwrap()
}

/// Asks until it is refused, as it must be soon: an entry may still fit into what the store had of the disk. Gives how often it was answered.
async fn until_refused(client: &Client, sql: &str) -> u64 {
    let until = Instant::now() + SOON;
    let mut answered = 0;
    loop {
        match client.ask(sql).await {
            Ok(_) => answered += 1,
            Err(error) => {
                assert!(["53100", "58030"].contains(&error.code.as_str()), "{sql}: {error:?}");
                assert!(error.message.contains("store"), "{sql}: {error:?}");
                return answered;
            }
        }
        assert!(Instant::now() < until, "{sql} is answered");
    }
}

/// Nothing is answered that would have to be written down, whoever asks; what need not be is. Gives how many releases were answered before that.
async fn answers_nothing(site: &Site, admin: &Client) -> u64 {
    let mut answered = until_refused(admin, COUNT).await + until_refused(admin, PRIVATE).await;
    let until = Instant::now() + SOON;
    while site.connect(ADMIN).await.is_ok() {
        assert!(Instant::now() < until, "let in");
    }
    until_refused(admin, OPEN).await;
    for n in 5..1_000 {
        let changed = admin.ask(&format!("ALTER TABLE people SET (min_cohort = {n})")).await;
        if changed.is_err_and(|error| ["53100", "58030"].contains(&error.code.as_str())) {
            break;
        }
        assert!(n < 999, "the policy is changed");
    }
    answered += until_refused(admin, COUNT).await;
    assert_eq!(admin.ask("SELECT 41 + 1").await.unwrap().lines(), ["42"]);
    answered
}

/// The node goes on by itself, and all that it answered is in a log that fits.
async fn goes_on(site: &Site, config: &Path, admin: &Client, entries: u64) {
    soon(admin, COUNT).await;
    assert_eq!(entered(admin).await, entries + 1);
    soon(admin, PRIVATE).await;
    soon(admin, OPEN).await;
    assert_eq!(entered(admin).await, entries + 2);
    // What was answered was charged; what was begun while nothing could be kept may have been charged in vain.
    let spent = "SELECT max(lifetime_epsilon) FROM kanon.budget WHERE scope = 'unit'";
    let spent = admin.ask(spent).await.unwrap().lines().concat();
    println!("epsilon {spent} was spent on one question");
    assert!(spent.parse::<f64>().unwrap() >= 1.0, "{spent}");
    site.connect(ADMIN).await.unwrap();
    let output = Command::new(kanon()).args(["audit", "verify", "--config"]).arg(config).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    let mut clinic = clinic().await;
    clinic.sites[0].terminate().await;
    let site = &clinic.sites[0];
    let disk = "cp -a \"$1\" \"$1.copy\"; mount -t tmpfs -o size=24m tmpfs \"$1\"; cp -a \"$1.copy/.\" \"$1\"";
    let Some(mut node) = elsewhere(site, disk) else { return };
    let admin = site.wait().await;
    assert_eq!(admin.ask(COUNT).await.unwrap().lines(), ["60"]);
    // The disk as the node sees it.
    let dir = PathBuf::from(format!("/proc/{}/root{}", node.0.id(), site.dir.display()));
    let mut entries = entered(&admin).await;
    let ballast = dir.join("ballast");
    let filled = std::fs::write(&ballast, vec![0; 24 << 20]).unwrap_err();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
    entries += answers_nothing(site, &admin).await;
    entries += answers_nothing(site, &admin).await;
    std::fs::remove_file(&ballast).unwrap();
    goes_on(site, &dir.join("kanon.toml"), &admin, entries).await;
    assert!(node.0.try_wait().unwrap().is_none(), "it ended");
    assert!(!log(site).contains("panicked"), "{}", log(site));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_may_only_be_read() {
    let mut clinic = clinic().await;
    let site = &clinic.sites[0];
    let admin = site.wait().await;
    assert_eq!(admin.ask(COUNT).await.unwrap().lines(), ["60"]);
    let mut entries = entered(&admin).await;
    // Nothing of the store may be written any more, also through files that are open.
    let files: Vec<PathBuf> = ["kanon.db", "kanon.db-wal"].iter().map(|name| site.dir.join(name)).collect();
    let immutable = Immutable(files);
    if immutable.set("+i") {
        entries += answers_nothing(site, &admin).await;
        assert!(immutable.set("-i"));
        goes_on(site, &site.dir.join("kanon.toml"), &admin, entries).await;
    } else {
        skip("files cannot be made immutable here (chattr +i needs root and ext4)");
    }
    drop(immutable);
    clinic.sites[0].terminate().await;
    // A node that could write nothing down does not start.
    let site = &clinic.sites[0];
    let Some(mut node) = elsewhere(site, "mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$1\"") else { return };
    let until = Instant::now() + SOON;
    let status = loop {
        if let Some(status) = node.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < until, "it starts: {}", log(site));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(!status.success());
    let said = log(site);
    assert!(said.to_lowercase().contains("read-only") && !said.contains("panicked"), "{said}");
    // And with a disk that can be written it is what it was.
    clinic.sites[0].spawn();
    let admin = clinic.sites[0].wait().await;
    soon(&admin, COUNT).await;
}

/// Files that are to be written again whatever happens.
struct Immutable(Vec<PathBuf>);

impl Immutable {
    fn set(&self, attribute: &str) -> bool {
        let mut chattr = Command::new("chattr");
        chattr.arg(attribute).args(&self.0).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = Command::new("chattr").args(["-f", "-i"]).args(&self.0).stderr(Stdio::null()).status();
    }
}

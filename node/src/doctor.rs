//! `kanon doctor`: what works here, what does not, and what to do about it.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use kanon_engine::auth::OidcSettings;
use kanon_engine::config::Config;
use kanon_engine::federation::identity;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::DoctorArgs;

struct Finding {
    what: &'static str,
    ok: bool,
    text: String,
}

/// `kanon doctor`: exit code 1 if anything does not work.
pub(crate) async fn run(args: DoctorArgs) -> Result<()> {
    let findings = examine(&args).await;
    for f in &findings {
        if args.json {
            println!("{}", json!({"check": f.what, "ok": f.ok, "text": f.text}));
        } else {
            println!("{} {}: {}", if f.ok { "ok  " } else { "FAIL" }, f.what, f.text);
        }
    }
    let failed = findings.iter().filter(|f| !f.ok).count();
    if failed > 0 {
        bail!("{failed} of {} checks failed", findings.len());
    }
    Ok(())
}

async fn examine(args: &DoctorArgs) -> Vec<Finding> {
    let mut findings = Vec::new();
    let config = match Config::load(&args.config) {
        Ok(config) => {
            findings.push(Finding {
                what: "configuration",
                ok: true,
                text: format!("{} describes node {}", args.config.display(), config.node_id),
            });
            config
        }
        Err(error) => {
            findings.push(Finding { what: "configuration", ok: false, text: error.to_string() });
            return findings;
        }
    };
    let probe = config.dir.join(".kanon-doctor");
    let writable = std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe));
    findings.push(match writable {
        Ok(()) => Finding { what: "folder", ok: true, text: format!("{} can be written", config.dir.display()) },
        Err(e) => Finding {
            what: "folder",
            ok: false,
            text: format!("{} cannot be written ({e}): make it the node's own", config.dir.display()),
        },
    });
    findings.push(match identity::ensure(&config.dir) {
        Ok(identity) => Finding { what: "identity", ok: true, text: format!("sha256:{}", identity.fingerprint) },
        Err(error) => Finding { what: "identity", ok: false, text: error.to_string() },
    });
    findings.push(certificate(&config));
    findings.extend(client_certificates(&config));
    if let Some(oidc) = &config.oidc {
        findings.push(issuer(oidc).await);
    }
    findings.push(store(&config));
    findings.push(clock(&args.config));
    findings.push(memory(&config));
    for (what, address) in [("postgres port", config.pg_listen), ("flight port", config.flight_listen)] {
        let text = match TcpListener::bind(address).await {
            Ok(_) => Some(format!("{address} is free: the node is not running")),
            Err(_) if TcpStream::connect(address).await.is_ok() => Some(format!("{address} answers")),
            Err(_) => None,
        };
        findings.push(match text {
            Some(text) => Finding { what, ok: true, text },
            None => Finding { what, ok: false, text: format!("{address} can neither be bound nor reached") },
        });
    }
    for peer in &config.trusted_nodes {
        let reached = tokio::time::timeout(Duration::from_secs(3), TcpStream::connect(peer.address())).await;
        findings.push(match reached {
            Ok(Ok(_)) => Finding { what: "peer", ok: true, text: format!("{} answers", peer.address()) },
            _ => Finding {
                what: "peer",
                ok: false,
                text: format!("{} does not answer: is it running, and is the way to it open?", peer.address()),
            },
        });
    }
    findings
}

/// The certificate that clients are shown.
fn certificate(config: &Config) -> Finding {
    let (cert, _) = config.tls_files();
    let what = "certificate";
    match kanon_engine::tls::listener_key(config) {
        Ok(_) => Finding { what, ok: true, text: format!("{} and its key fit", cert.display()) },
        Err(error) => Finding { what, ok: false, text: format!("{}: see tls_cert and tls_key", error.message) },
    }
}

/// The authorities whose certificates clients may log in with, if there are any.
fn client_certificates(config: &Config) -> Option<Finding> {
    let what = "client certificates";
    match kanon_engine::tls::authorities(config).transpose()? {
        Ok((authorities, lists)) => Some(Finding {
            what,
            ok: true,
            text: format!("of {authorities} authorities, with {lists} revocation lists"),
        }),
        Err(error) => {
            Some(Finding { what, ok: false, text: format!("{}: see client_ca and client_crl", error.message) })
        }
    }
}

/// The institution's issuer of tokens.
async fn issuer(settings: &OidcSettings) -> Finding {
    let what = "issuer of tokens";
    match kanon_engine::auth::count_keys(settings).await {
        Ok(0) => Finding { what, ok: false, text: format!("{} lists no key for RS256 or ES256", settings.issuer) },
        Ok(keys) => Finding { what, ok: true, text: format!("{} lists {keys} keys", settings.issuer) },
        Err(error) => Finding { what, ok: false, text: format!("{}: see oidc_issuer", error.message) },
    }
}

/// The store is looked at, and not opened: the node may be running.
fn store(config: &Config) -> Finding {
    let path = config.store_path();
    let shown = path.display();
    let opened = std::fs::File::options().read(true).write(true).open(&path).and_then(|mut file| {
        let mut head = [0; 16];
        file.read_exact(&mut head)?;
        Ok(head)
    });
    let (ok, text) = match opened {
        Ok(head) if &head == b"SQLite format 3\0" => (true, format!("{shown} is a store")),
        Ok(_) => (false, format!("{shown} is not a store of a node: put it back from a backup")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            (false, format!("{shown} is missing: `kanon init` makes a node with a store and a first admin"))
        }
        Err(error) => (false, format!("{shown} cannot be opened ({error}): make it the node's own")),
    };
    Finding { what: "store", ok, text }
}

/// Peers refuse what is dated wrong. A file of the past that is of the future says that this clock goes wrong.
fn clock(config: &Path) -> Finding {
    let written = std::fs::metadata(config).and_then(|m| m.modified());
    let ahead = written.ok().and_then(|written| written.duration_since(SystemTime::now()).ok());
    let (ok, text) = match ahead {
        Some(ahead) if ahead > Duration::from_secs(60) => (
            false,
            format!(
                "it is before the configuration was written, by {} s: set it, for example with NTP",
                ahead.as_secs()
            ),
        ),
        _ => (true, "it is after the configuration was written; peers must agree to within a minute".to_owned()),
    };
    Finding { what: "clock", ok, text }
}

/// Whether what queries may take is there.
fn memory(config: &Config) -> Finding {
    let limit_mb = config.memory_limit_bytes >> 20;
    let each = config.limits.statement_bytes.map(|bytes| format!(", each of them {} MB", bytes >> 20));
    let each = each.unwrap_or_default();
    let total_mb = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kb| kb >> 10)
    });
    let (ok, text) = match total_mb {
        Some(total) if total < limit_mb => {
            (false, format!("queries may take {limit_mb} MB and the machine has {total} MB: lower max_memory_mb"))
        }
        Some(total) => (true, format!("queries may take {limit_mb} MB{each}, of the machine's {total} MB")),
        None => (true, format!("queries may take {limit_mb} MB{each}")),
    };
    Finding { what: "memory", ok, text }
}

//! `kanon doctor`: what works here, what does not, and what to do about it.

use std::time::Duration;

use anyhow::{Result, bail};
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

//! An entrance for fuzzers, of cargo-fuzz and of the tests: a text that anyone may send, through everything that reads it before it is planned.

use std::collections::BTreeSet;
use std::sync::Arc;

use kanon_planner::facts::SiteId;

use crate::auth::{self, CertificateName};
use crate::catalog::Snapshot;
use crate::error::{Error, Result};
use crate::pg_catalog::sessions::NoSessions;
use crate::pg_catalog::{self, Viewer};
use crate::principal::{AuthMethod, Principal};
use crate::statement::{self, Statement};
use crate::system;

/// Splits a text, reads every statement of it and rewrites its queries as a session does. It must be called on a thread with a stack as
/// large as [`statement::on_large_stack`] has. What comes out is the number of statements that could be read.
///
/// # Errors
/// What a client would be told of the first that could not. XX000 for a split that does not stand: a statement of a text is not the same
/// by itself.
pub fn text(data: &[u8]) -> Result<usize> {
    let text = String::from_utf8_lossy(data);
    let pieces = statement::split(&text)?;
    for piece in &pieces {
        if text.get(piece.range.clone()) != Some(piece.text.as_str()) {
            return Err(Error::internal(format!("a statement is not where it stands: {}", piece.text)));
        }
        let again = statement::split(&piece.text)?;
        if again.len() != 1 || again.first().is_none_or(|alone| alone.text != piece.text) {
            return Err(Error::internal(format!("a statement is another by itself: {}", piece.text)));
        }
        read(&piece.text)?;
    }
    Ok(pieces.len())
}

/// Reads a certificate as a client may show it, or the name of one as an admin may write it.
///
/// # Errors
/// What an admin would be told. XX000 for a name that is another once it was written.
pub fn certificate(data: &[u8]) -> Result<()> {
    let names = match auth::holder(data) {
        Some(holder) => holder.names,
        None => vec![CertificateName::parse(&String::from_utf8_lossy(data))?],
    };
    for name in names {
        if !CertificateName::parse(name.as_str()).is_ok_and(|again| again == name) {
            return Err(Error::internal(format!("a name is another once it was written: {name}")));
        }
    }
    Ok(())
}

fn read(text: &str) -> Result<()> {
    let mut query = match statement::parse(text)? {
        Statement::Query(query) => query,
        Statement::Explain(explain) => explain.query,
        Statement::Declare(declare) => declare.query,
        Statement::Copy(copy) => copy.query,
        Statement::Prepare(prepare) => return read(&prepare.text),
        Statement::Refused(error) => return Err(error),
        _ => return Ok(()),
    };
    system::rewrite(&mut query);
    pg_catalog::rewrite(&mut query, &nobody(), &[])?;
    // What errors and subplans do with it.
    let _ = query.to_string();
    Ok(())
}

/// Who sees nothing.
fn nobody() -> Viewer {
    Viewer {
        snapshot: Arc::new(Snapshot::default()),
        visible: Vec::new(),
        views: Vec::new(),
        principal: Principal {
            name: "nobody".to_owned(),
            roles: BTreeSet::new(),
            home_node: SiteId::new("nowhere"),
            auth_method: AuthMethod::ScramSha256,
            credential: None,
            via_peer: None,
            told_roles: BTreeSet::new(),
        },
        node_id: "nowhere".to_owned(),
        roles: Vec::new(),
        setting: Arc::new(|_| None),
        settings: Vec::new(),
        backend_pid: 0,
        sessions: Arc::new(NoSessions),
    }
}

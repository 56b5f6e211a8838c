//! Whoever is in and would not be let in any more is put out: sessions of roles that were dropped or may not log in, of keys and tokens that were revoked or have ended.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use crate::error::Error;
use crate::node::Node;

/// How often sessions are looked at. A change of who may be here holds for open sessions after this at the latest; what they may see changes at once.
const EVERY: Duration = Duration::from_secs(1);
/// How often the age of the keys for tokens is looked at, in rounds: once an hour.
const ROUNDS_BETWEEN_ROTATIONS: u32 = 3_600;
/// How often the institution's issuer of tokens is asked for its keys, in rounds: every five minutes, and at once when the node starts.
const ROUNDS_BETWEEN_ASKS: u32 = 300;

/// Looks at the sessions of a node until it stops.
pub(crate) fn keep(node: &Arc<Node>) {
    let stopping = node.stopping.clone();
    let node = Arc::downgrade(node);
    tokio::spawn(async move {
        let mut round: u32 = 0;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let Some(node) = node.upgrade() else { return };
            node.sessions.end_those(|principal| (!node.authenticator.stands(principal)).then(Error::terminated));
            if round.is_multiple_of(ROUNDS_BETWEEN_ASKS) && node.authenticator.oidc.is_some() {
                let node = Arc::clone(&node);
                tokio::spawn(async move {
                    if let Some(oidc) = &node.authenticator.oidc {
                        oidc.refresh().await;
                    }
                });
            }
            round = round.wrapping_add(1);
            if round.is_multiple_of(ROUNDS_BETWEEN_ROTATIONS)
                && let Err(error) = node.authenticator.token_keys.rotate(Utc::now().timestamp())
            {
                tracing::error!(%error, "the keys for tokens could not be looked after");
            }
        }
    });
}

//! Suspending: a role, a peer, the node. Durable first, then nothing new begins, then what runs is stopped.

use std::sync::Arc;

use crate::error::{Error, Result, Sqlstate};
use crate::federation::not_asked;
use crate::node::Node;
use crate::principal::Principal;
use crate::store::{PeerRules, Suspended, Suspension};

/// What is suspended, or no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Brake {
    /// A role of this node, or one of a peer.
    Role(String),
    /// A peer, by its id, or its place if it never told one.
    Peer(String),
    /// This node.
    Node,
}

impl Node {
    /// Suspends something for `by`, or takes that back. When this returns it is durable, nothing new begins, and what ran was told to stop.
    ///
    /// # Errors
    /// 42704 for what there is not; 55000 for the last admin.
    pub(crate) async fn suspend(self: &Arc<Self>, what: &Brake, suspended: bool, by: &str) -> Result<()> {
        let (of, name, shown) = match what {
            Brake::Role(name) => {
                self.store.check_role(name)?;
                (Suspended::Role, name.clone(), name.clone())
            }
            Brake::Peer(name) => {
                let (fingerprint, shown) = self.federation.named(name)?;
                (Suspended::Peer, fingerprint.to_string(), shown)
            }
            Brake::Node => (Suspended::Node, String::new(), self.config.node_id.clone()),
        };
        let suspension = Suspension { of, name, shown, since: String::new(), by: by.to_owned() };
        self.store.suspend(&suspension, suspended).await?;
        self.catalog.reload().await?;
        self.federation.suspend_as_in(&self.catalog.snapshot());
        self.stop_what_is_halted();
        self.sessions.end_those(|principal| self.refuses(principal));
        Ok(())
    }

    /// Changes what a peer may ask for. When this returns it is durable, and what it may no longer ask was told to stop.
    ///
    /// # Errors
    /// 42704 if no pinned peer is called so; if the store fails.
    pub(crate) async fn alter_peer(self: &Arc<Self>, name: &str, change: impl FnOnce(&mut PeerRules)) -> Result<()> {
        let (key, shown) = self.federation.named(name)?;
        let before = self.store.directory().rules_of_key(&key).tables;
        self.store.alter_peer(&key.to_string(), change).await?;
        // Sessions plan anew.
        self.catalog.reload().await?;
        let is_other = self.store.directory().rules_of_key(&key).tables != before;
        self.sessions.end_those(|principal| {
            let peer = principal.via_peer.as_ref()?;
            let changed = is_other && peer.as_str() == shown;
            let ask_again = || {
                Error::new(Sqlstate::ObjectNotInPrerequisiteState, "what this site answers that node was changed")
                    .hint("Ask again.")
            };
            self.refuses(principal).or_else(|| changed.then(ask_again))
        });
        Ok(())
    }

    /// Closes the protected tables of this node: its store does not know what was spent. That is in the store already.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn close_what_was_lost(&self) -> Result<()> {
        self.catalog.reload().await?;
        self.stop_what_is_halted();
        Ok(())
    }

    /// Counts as spent what the store cannot know: all of every budget, until its window has passed. Then protected tables answer again.
    ///
    /// # Errors
    /// 55000 if nothing is lost.
    pub(crate) async fn write_off(&self) -> Result<()> {
        if !self.ledger.write_off().await? {
            return Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, "there is nothing to write off")
                .hint("kanon.suspensions says whether the node's store is older than what others hold of its log."));
        }
        self.catalog.reload().await
    }

    /// Stops statements over tables from which nothing is answered any more.
    pub(crate) fn stop_what_is_halted(&self) {
        self.sessions.stop_what_is_halted(&self.catalog.snapshot());
    }

    /// Why a principal may not have a session, if it may not: it, or the peer that it comes through, is suspended, or that is no peer any more.
    pub(crate) fn refuses(&self, principal: &Principal) -> Option<Error> {
        let refused = |what: String| {
            Error::new(Sqlstate::InvalidAuthorization, format!("{what} is suspended at this site"))
                .hint("Whoever runs the site decides when it may ask again.")
        };
        let peer = principal.via_peer.as_ref().map(|peer| (peer, self.federation.is_suspended(peer)));
        match peer {
            Some((peer, None)) => {
                Some(Error::new(Sqlstate::InvalidAuthorization, format!("node \"{peer}\" is no peer of this site")))
            }
            Some((peer, Some(false))) if !self.store.directory().rules_of_peer(peer).may_query => Some(not_asked()),
            Some((peer, Some(true))) => Some(refused(format!("node \"{peer}\""))),
            Some(_) if self.store.directory().is_suspended(principal) => {
                Some(refused(format!("role \"{}\"", principal.display())))
            }
            // Clients know the words.
            None if self.store.directory().is_suspended(principal) => Some(Error::terminated()),
            _ => None,
        }
    }
}

//! Inviting, accepting and removing nodes, as admins and operators say it.

use super::Session;
use crate::error::Result;
use crate::statement::steward::be_operator;

impl Session {
    /// `kanon.invite_node(valid_for)`: the token.
    pub(super) async fn invite_node(&self, seconds: i64) -> Result<String> {
        be_operator(&self.principal(), "invite a node")?;
        self.opened_by.be_by_password("invites no nodes")?;
        self.node.invite(seconds, &self.opened_by.name).await
    }

    /// `kanon.accept_invite(invite)`: what came of it.
    pub(super) async fn accept_invite(&self, token: &str) -> Result<String> {
        be_operator(&self.principal(), "accept an invite")?;
        self.opened_by.be_by_password("accepts no invites")?;
        self.node.accept_invite(token, &self.opened_by.name).await
    }

    /// `kanon.remove_node(id)`
    pub(super) async fn remove_node(&self, id: &str) -> Result<()> {
        be_operator(&self.principal(), "remove a node")?;
        self.node.remove_node(id).await
    }
}

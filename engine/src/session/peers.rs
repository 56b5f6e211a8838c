//! Inviting, accepting and removing nodes, as admins and operators say it.

use super::Session;
use crate::error::{Error, Result, Sqlstate};
use crate::principal::{AuthMethod, BuiltinRole};

impl Session {
    /// `kanon.invite_node(valid_for)`: the token.
    pub(super) async fn invite_node(&self, seconds: i64) -> Result<String> {
        self.be_operator("invite a node")?;
        self.be_in_person("invites no nodes")?;
        self.node.invite(seconds, &self.opened_by.name).await
    }

    /// `kanon.accept_invite(invite)`: what came of it.
    pub(super) async fn accept_invite(&self, token: &str) -> Result<String> {
        self.be_operator("accept an invite")?;
        self.be_in_person("accepts no invites")?;
        self.node.accept_invite(token, &self.opened_by.name).await
    }

    /// `kanon.remove_node(id)`
    pub(super) async fn remove_node(&self, id: &str) -> Result<()> {
        self.be_operator("remove a node")?;
        self.node.remove_node(id).await
    }

    fn be_operator(&self, what: &str) -> Result<()> {
        let principal = self.principal();
        if principal.via_peer.is_none() && principal.is(BuiltinRole::Operator) {
            return Ok(());
        }
        Err(Error::new(Sqlstate::InsufficientPrivilege, format!("permission denied to {what}"))
            .hint("Ask an operator or an admin of this node."))
    }

    /// Whoever steals a key or token is not to bring in a node that stays when those have ended.
    fn be_in_person(&self, what: &str) -> Result<()> {
        if matches!(self.opened_by.auth_method, AuthMethod::ApiKey | AuthMethod::Token) {
            return Err(Error::new(
                Sqlstate::InsufficientPrivilege,
                format!("a session that was opened with a key or token {what}"),
            )
            .hint("Log in with a password."));
        }
        Ok(())
    }
}

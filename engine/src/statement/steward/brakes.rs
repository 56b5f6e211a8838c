//! Suspending, budgets and certificates of roles, as admins, operators and stewards say them.

use super::Called;
use super::run::Caller;
use crate::auth::CertificateName;
use crate::brakes::Brake;
use crate::catalog::{boolean, delta, unknown_option};
use crate::error::{Error, Result, Sqlstate};
use crate::ledger::budget_epsilon;
use crate::principal::BuiltinRole;

/// The settings of ALTER ROLE.
const ROLE_SETTINGS: &[&str] = &["kanon.suspended", "kanon.budget_epsilon", "kanon.budget_delta", "kanon.certificate"];
/// The settings of ALTER SYSTEM.
const SYSTEM_SETTINGS: &[&str] = &["kanon.suspended"];
/// The options of ALTER SERVER.
const SERVER_OPTIONS: &[&str] = &["suspended"];

impl Caller<'_> {
    /// ALTER ROLE … SET.
    pub(super) async fn set_role(&self, name: &str, setting: &str, value: Option<&str>) -> Result<()> {
        match setting {
            "kanon.suspended" => {
                self.be_admin("suspend role")?;
                let suspended = value.map_or(Ok(false), |value| boolean(setting, value))?;
                if suspended && self.principal.display() == name {
                    let message = "current user cannot be suspended";
                    return Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, message));
                }
                self.node.suspend(&Brake::Role(name.to_owned()), suspended, &self.principal.name).await
            }
            "kanon.budget_epsilon" => {
                self.be_steward("set the budget of a role")?;
                let epsilon = value.map(|value| budget_epsilon(setting, value)).transpose()?;
                self.node.store.alter_role_budget(name, |budget| budget.epsilon = epsilon).await
            }
            "kanon.budget_delta" => {
                self.be_steward("set the budget of a role")?;
                let delta = value.map(|value| delta(setting, value)).transpose()?;
                self.node.store.alter_role_budget(name, |budget| budget.delta = delta).await
            }
            "kanon.certificate" => {
                self.be_admin("set the certificate of a role")?;
                if value.is_some() && self.principal.credential.is_some() {
                    // Else whoever steals one has a role for good.
                    return Err(Error::new(
                        Sqlstate::InsufficientPrivilege,
                        "a session that was opened with a key, token or certificate sets no certificates",
                    )
                    .hint("Log in with a password."));
                }
                let certificate = value.map(CertificateName::parse).transpose()?;
                self.node.store.alter_role_certificate(name, certificate.as_ref()).await
            }
            other if other.starts_with("kanon.") => Err(unknown_option(other, ROLE_SETTINGS)),
            _ => Err(Error::unsupported("settings of sessions cannot be kept with a role")
                .hint("Roles have kanon.suspended, kanon.budget_epsilon, kanon.budget_delta and kanon.certificate.")),
        }
    }

    /// ALTER SERVER … OPTIONS.
    pub(super) async fn alter_server(&self, name: &str, options: &[(String, Option<String>)]) -> Result<()> {
        self.be_operator("suspend a peer")?;
        let [(option, value)] = options else {
            return Err(Error::new(Sqlstate::SyntaxError, "ALTER SERVER changes one option at a time"));
        };
        if option != "suspended" {
            return Err(unknown_option(option, SERVER_OPTIONS));
        }
        let suspended = value.as_deref().map_or(Ok(false), |value| boolean(option, value))?;
        self.node.suspend(&Brake::Peer(name.to_owned()), suspended, &self.principal.name).await
    }

    /// ALTER SYSTEM SET.
    pub(super) async fn alter_system(&self, setting: &str, value: Option<&str>) -> Result<()> {
        self.be_operator("suspend the node")?;
        if setting != "kanon.suspended" {
            return Err(unknown_option(setting, SYSTEM_SETTINGS));
        }
        let suspended = value.map_or(Ok(false), |value| boolean(setting, value))?;
        self.node.suspend(&Brake::Node, suspended, &self.principal.name).await
    }

    /// CALL.
    pub(super) async fn call(&self, called: Called) -> Result<Vec<String>> {
        match called {
            Called::WriteOff => {
                self.be_steward("write off budgets")?;
                self.node.write_off().await?;
                Ok(vec!["all budgets count as spent until their windows have passed".to_owned()])
            }
            Called::Exclude { kind, unit, excluded } => {
                self.be_steward("leave units out")?;
                let by = &self.principal.name;
                let changed = self.node.catalog.exclude_unit(&kind, &unit, excluded, by).await?;
                Ok(vec![match (changed, excluded) {
                    (true, true) => format!(
                        "protected tables of kind \"{kind}\" are read without this unit from now on; open tables, and what was answered before, are as they were"
                    ),
                    (true, false) => format!("protected tables of kind \"{kind}\" are read with this unit again"),
                    (false, true) => "the unit is left out already".to_owned(),
                    (false, false) => "the unit was not left out".to_owned(),
                }])
            }
        }
    }

    fn be_operator(&self, what: &str) -> Result<()> {
        if self.is(BuiltinRole::Operator) {
            return Ok(());
        }
        Err(Error::new(Sqlstate::InsufficientPrivilege, format!("permission denied to {what}"))
            .hint("Ask an operator or an admin of this node."))
    }
}

//! Suspending, budgets and certificates of roles, as admins, operators and stewards say them.

use std::collections::BTreeSet;

use super::Called;
use super::run::Caller;
use crate::auth::CertificateName;
use crate::brakes::Brake;
use crate::catalog::{boolean, count, delta, parse_text_array, unknown_option};
use crate::error::{Error, Result, Sqlstate};
use crate::ledger::budget_epsilon;
use crate::principal::{BuiltinRole, Principal};

/// The settings of ALTER ROLE.
const ROLE_SETTINGS: &[&str] =
    &["kanon.suspended", "kanon.budget_epsilon", "kanon.budget_delta", "kanon.certificate", "kanon.oidc_subject"];
/// The settings of ALTER SYSTEM.
const SYSTEM_SETTINGS: &[&str] = &["kanon.suspended"];
/// The options of ALTER SERVER.
const SERVER_OPTIONS: &[&str] = &["suspended", "may_query", "tables", "max_statements_per_second", "budget_epsilon"];

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
                if value.is_some() {
                    self.principal.be_by_password("opens no other ways into roles")?;
                }
                let certificate = value.map(CertificateName::parse).transpose()?;
                self.node.store.alter_role_certificate(name, certificate.as_ref()).await
            }
            "kanon.oidc_subject" => {
                self.be_admin("say who a role is at the issuer of tokens")?;
                if value.is_some() {
                    self.principal.be_by_password("opens no other ways into roles")?;
                }
                self.link_identity(name, value).await
            }
            other if other.starts_with("kanon.") => Err(unknown_option(other, ROLE_SETTINGS)),
            _ => Err(Error::unsupported("settings of sessions cannot be kept with a role")
                .hint(format!("Roles have {}.", ROLE_SETTINGS.join(", ")))),
        }
    }

    async fn link_identity(&self, role: &str, subject: Option<&str>) -> Result<()> {
        let Some(oidc) = &self.node.config.oidc else {
            return Err(Error::new(
                Sqlstate::ObjectNotInPrerequisiteState,
                "this node takes no tokens of an issuer: oidc_issuer is not set",
            )
            .hint("Whoever runs the node sets oidc_issuer and oidc_audience in its configuration."));
        };
        if subject.is_some_and(|subject| subject.is_empty() || subject.len() > 255) {
            return Err(Error::new(Sqlstate::InvalidParameterValue, "a subject has 1 to 255 bytes")
                .hint("It is what the issuer's tokens say as \"sub\"."));
        }
        self.node.store.link_identity(role, &oidc.issuer, subject).await
    }

    /// ALTER SERVER … OPTIONS.
    pub(super) async fn alter_server(&self, name: &str, options: &[(String, Option<String>)]) -> Result<()> {
        be_operator(self.principal, "alter a peer")?;
        let [(option, value)] = options else {
            return Err(Error::new(Sqlstate::SyntaxError, "ALTER SERVER changes one option at a time"));
        };
        let value = value.as_deref();
        match option.as_str() {
            "suspended" => {
                let suspended = value.map_or(Ok(false), |value| boolean(option, value))?;
                self.node.suspend(&Brake::Peer(name.to_owned()), suspended, &self.principal.name).await
            }
            "may_query" => {
                let may_query = value.map_or(Ok(true), |value| boolean(option, value))?;
                self.node.alter_peer(name, |rules| rules.may_query = may_query).await
            }
            "tables" => {
                let tables = value.map(tables_of).transpose()?;
                self.node.alter_peer(name, |rules| rules.tables = tables).await
            }
            "max_statements_per_second" => {
                let rate = value.map(|value| count(option, value)).transpose()?;
                self.node.alter_peer(name, |rules| rules.statements_per_second = rate).await
            }
            "budget_epsilon" => {
                let epsilon = value.map(|value| budget_epsilon(option, value)).transpose()?;
                self.node.alter_peer(name, |rules| rules.budget_epsilon = epsilon).await
            }
            other => Err(unknown_option(other, SERVER_OPTIONS)),
        }
    }

    /// ALTER SYSTEM SET.
    pub(super) async fn alter_system(&self, setting: &str, value: Option<&str>) -> Result<()> {
        be_operator(self.principal, "suspend the node")?;
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
                let (changed, unable) = self.node.catalog.exclude_unit(&kind, &unit, excluded, by).await?;
                let mut notices = vec![match (changed, excluded) {
                    (true, true) => format!(
                        "protected tables of kind \"{kind}\" are read without this unit from now on; open tables, and what was answered before, are as they were"
                    ),
                    (true, false) => format!("protected tables of kind \"{kind}\" are read with this unit again"),
                    (false, true) => "the unit is left out already".to_owned(),
                    (false, false) => "the unit was not left out".to_owned(),
                }];
                if excluded && !unable.is_empty() {
                    notices.push(format!(
                        "this is no value of the unit column of {}: nobody is left out there",
                        unable.join(", ")
                    ));
                }
                Ok(notices)
            }
        }
    }
}

/// Whether somebody may do what operators do: never through a peer.
///
/// # Errors
/// 42501 if not.
pub(crate) fn be_operator(principal: &Principal, what: &str) -> Result<()> {
    if principal.via_peer.is_none() && principal.is(BuiltinRole::Operator) {
        return Ok(());
    }
    Err(Error::new(Sqlstate::InsufficientPrivilege, format!("permission denied to {what}"))
        .hint("Ask an operator or an admin of this node."))
}

/// The most tables that a peer can be bounded to by name.
const MOST_TABLES: usize = 1_000;

/// Names of tables of this node: `{patients,visits}`.
fn tables_of(value: &str) -> Result<BTreeSet<String>> {
    let invalid = |message: String| {
        Error::new(Sqlstate::InvalidParameterValue, message)
            .hint("Write names of this node's tables in braces: tables '{patients,visits}'; '{}' for none.")
    };
    let names = parse_text_array(value).map_err(|error| invalid(error.message))?;
    if names.len() > MOST_TABLES {
        return Err(invalid(format!("a peer can be bounded to at most {MOST_TABLES} tables by name")));
    }
    if let Some(name) = names.iter().find(|name| name.is_empty() || name.len() > 63) {
        return Err(invalid(format!("\"{name}\" is not the name of a table")));
    }
    Ok(names.into_iter().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_are_read() {
        assert_eq!(tables_of("{visits, \"Patients\"}").unwrap(), BTreeSet::from(["Patients".into(), "visits".into()]));
        assert!(tables_of("{}").unwrap().is_empty());
        let long = format!("{{{}}}", "a".repeat(64));
        let many = format!("{{{}}}", (0..2_000).map(|i| format!("t{i}")).collect::<Vec<_>>().join(","));
        for bad in ["", "patients", "{a,a}", "{a", "{\"\"}", "{null}", &long, &many] {
            assert_eq!(tables_of(bad).unwrap_err().state, Sqlstate::InvalidParameterValue, "{bad}");
        }
    }
}

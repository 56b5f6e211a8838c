//! Suspending, budgets and certificates of roles, as admins, operators and stewards say them.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use kanon_privacy::budget::Epsilon;

use super::Called;
use super::run::{Caller, Done};
use crate::auth::CertificateName;
use crate::brakes::Brake;
use crate::catalog::{boolean, count, delta, parse_text_array, unknown_option};
use crate::error::{Error, Result, Sqlstate};
use crate::ledger::{PrincipalBudget, budget_epsilon};
use crate::principal::{BuiltinRole, Principal};
use crate::store::PeerRules;

/// What ALTER SERVER says.
pub(super) enum ServerChange {
    /// The peer is suspended, or no longer.
    Suspended(bool),
    /// What it may ask for.
    Rules(RulesChange),
}

/// What is changed of what a peer may ask for: see [`PeerRules`].
pub(super) enum RulesChange {
    MayQuery(bool),
    Tables(Option<BTreeSet<String>>),
    StatementsPerSecond(Option<NonZeroU32>),
    BudgetEpsilon(Option<Epsilon>),
}

impl RulesChange {
    /// What it makes of a peer's rules.
    pub(super) fn of(&self, rules: &PeerRules) -> PeerRules {
        let rules = rules.clone();
        match self {
            RulesChange::MayQuery(may_query) => PeerRules { may_query: *may_query, ..rules },
            RulesChange::Tables(tables) => PeerRules { tables: tables.clone(), ..rules },
            RulesChange::StatementsPerSecond(rate) => PeerRules { statements_per_second: *rate, ..rules },
            RulesChange::BudgetEpsilon(epsilon) => PeerRules { budget_epsilon: *epsilon, ..rules },
        }
    }
}

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
        self.may_set_role(setting, value)?;
        match setting {
            "kanon.suspended" => {
                let suspended = value.map_or(Ok(false), |value| boolean(setting, value))?;
                if suspended && self.principal.display() == name {
                    let message = "current user cannot be suspended";
                    return Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, message));
                }
                self.node.suspend(&Brake::Role(name.to_owned()), suspended, &self.principal.name).await
            }
            "kanon.budget_epsilon" | "kanon.budget_delta" => {
                let store = &self.node.store;
                store.alter_role_budget(name, |budget| self.role_budget(budget, setting, value)).await
            }
            "kanon.certificate" => {
                let certificate = value.map(CertificateName::parse).transpose()?;
                self.node.store.alter_role_certificate(name, certificate.as_ref()).await
            }
            _ => self.link_identity(name, value).await,
        }
    }

    /// Whether the caller may set this of a role.
    ///
    /// # Errors
    /// 42501 if not; 42704 and 0A000 for what roles do not have.
    pub(super) fn may_set_role(&self, setting: &str, value: Option<&str>) -> Result<()> {
        match setting {
            "kanon.suspended" => self.be_admin("suspend role"),
            "kanon.budget_epsilon" | "kanon.budget_delta" => self.be_steward("set the budget of a role"),
            "kanon.certificate" | "kanon.oidc_subject" => {
                self.be_admin("say how a role comes in")?;
                if value.is_some() {
                    self.principal.be_by_password("opens no other ways into roles")?;
                }
                Ok(())
            }
            other if other.starts_with("kanon.") => Err(unknown_option(other, ROLE_SETTINGS)),
            _ => Err(Error::unsupported("settings of sessions cannot be kept with a role")
                .hint(format!("Roles have {}.", ROLE_SETTINGS.join(", ")))),
        }
    }

    /// What a budget of a role is with another `kanon.budget_epsilon` or `kanon.budget_delta`.
    pub(super) fn role_budget(
        &self,
        budget: PrincipalBudget,
        setting: &str,
        value: Option<&str>,
    ) -> Result<PrincipalBudget> {
        Ok(match setting {
            "kanon.budget_epsilon" => {
                PrincipalBudget { epsilon: value.map(|value| budget_epsilon(setting, value)).transpose()?, ..budget }
            }
            _ => PrincipalBudget { delta: value.map(|value| delta(setting, value)).transpose()?, ..budget },
        })
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
        match self.server_change(options)? {
            ServerChange::Suspended(suspended) => {
                self.node.suspend(&Brake::Peer(name.to_owned()), suspended, &self.principal.name).await
            }
            ServerChange::Rules(change) => self.node.alter_peer(name, |rules| *rules = change.of(rules)).await,
        }
    }

    /// What ALTER SERVER says.
    ///
    /// # Errors
    /// 42501 for whoever runs no node, 42601, 42704, 22023 for options that cannot be.
    pub(super) fn server_change(&self, options: &[(String, Option<String>)]) -> Result<ServerChange> {
        be_operator(self.principal, "alter a peer")?;
        let [(option, value)] = options else {
            return Err(Error::new(Sqlstate::SyntaxError, "ALTER SERVER changes one option at a time"));
        };
        let value = value.as_deref();
        Ok(ServerChange::Rules(match option.as_str() {
            "suspended" => {
                return Ok(ServerChange::Suspended(value.map_or(Ok(false), |value| boolean(option, value))?));
            }
            "may_query" => RulesChange::MayQuery(value.map_or(Ok(true), |value| boolean(option, value))?),
            "tables" => RulesChange::Tables(value.map(tables_of).transpose()?),
            "max_statements_per_second" => {
                RulesChange::StatementsPerSecond(value.map(|value| count(option, value)).transpose()?)
            }
            "budget_epsilon" => {
                RulesChange::BudgetEpsilon(value.map(|value| budget_epsilon(option, value)).transpose()?)
            }
            other => return Err(unknown_option(other, SERVER_OPTIONS)),
        }))
    }

    /// ALTER SYSTEM SET.
    pub(super) async fn alter_system(&self, setting: &str, value: Option<&str>) -> Result<()> {
        let suspended = self.system_change(setting, value)?;
        self.node.suspend(&Brake::Node, suspended, &self.principal.name).await
    }

    /// Whether the node is to be suspended, as ALTER SYSTEM says.
    ///
    /// # Errors
    /// 42501 for whoever runs no node, 42704, 22023 for what cannot be.
    pub(super) fn system_change(&self, setting: &str, value: Option<&str>) -> Result<bool> {
        be_operator(self.principal, "suspend the node")?;
        if setting != "kanon.suspended" {
            return Err(unknown_option(setting, SYSTEM_SETTINGS));
        }
        value.map_or(Ok(false), |value| boolean(setting, value))
    }

    /// Does what a function with effects does.
    pub(super) async fn call(&self, called: Called) -> Result<Done> {
        match called {
            Called::Approve { change } => self.approve(&change).await,
            Called::Reject { change } => self.reject(&change).await.map(|()| Done::default()),
            Called::WriteOff => {
                self.be_steward("write off budgets")?;
                self.node.write_off().await?;
                Ok(Done::told(vec!["all budgets count as spent until their windows have passed".to_owned()]))
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
                Ok(Done::told(notices))
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

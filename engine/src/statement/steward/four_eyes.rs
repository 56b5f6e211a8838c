//! Four eyes: what loosens a rule waits until another steward approves it, where the configuration asks for that.
//!
//! ```text
//! statement ─► rights ─► difference ─┬─ nothing looser ──────────────► done
//!                                    └─ looser ─► kanon.pending_changes ─► approve_change by another steward
//!                                                  ─► rights of who proposed it, and the difference, once more ─► done
//! ```
//!
//! What was looked at is what is done: a change is kept as the statement that `kanon.pending_changes` shows, and is not made if what it would change is no longer what was
//! shown. Two pairs of eyes must be two people's: while four eyes are asked for, nobody sets passwords, keys or tokens of stewards and admins but they themselves, their
//! certificates and subjects need approval too, and there stay at least two of them once there were.

use std::sync::Arc;

use chrono::Utc;

use super::run::{Caller, Done};
use super::{Called, StewardStatement};
use crate::audit::text_of_steward;
use crate::auth::load_principal;
use crate::difference::Difference;
use crate::error::{Error, Result, Sqlstate};
use crate::node::Node;
use crate::principal::AuthMethod;
use crate::session::Notice;
use crate::statement::{Act, Argument, Procedure, Statement, on_large_stack, parse};
use crate::store::{PendingChange, RoleDirectory};

/// The least number of stewards and admins that there stay.
const LEAST_STEWARDS: usize = 2;

impl Caller<'_> {
    /// What nobody may do alone and cannot wait either: whoever can come in as another steward has four eyes by himself.
    ///
    /// # Errors
    /// 42501 and 55000, with what to do instead.
    pub(super) fn refuse_alone(&self, statement: &StewardStatement) -> Result<()> {
        let directory = self.node.store.directory();
        let own = self.principal.name.as_str();
        match statement {
            StewardStatement::AlterRole { name, password: Some(_), .. } if name != own => {
                refuse_for_another(self.node, name, "set the password")
            }
            StewardStatement::AlterRole { name, login: Some(false), .. } if decides(self.node, name) => {
                let able = |directory: &RoleDirectory| {
                    let all = directory.all();
                    let has_login = |name: &String| all.get(name).is_some_and(|info| info.has_login);
                    directory.stewards().into_iter().filter(has_login).count()
                };
                let after = directory.with(|all| {
                    if let Some(info) = all.get_mut(name) {
                        info.has_login = false;
                    }
                });
                keep_two(able(directory), able(&after))
            }
            // The first makes the second alone, and is not to be it too.
            StewardStatement::Membership { grant: true, members, .. } if self.is_first(statement) => {
                let all = directory.all();
                let people = members.iter().flat_map(|member| directory.people_of(member));
                let mut strangers = people.filter(|name| {
                    all.get(name).is_some_and(|info| info.has_password && info.password_set_by.as_ref() != Some(name))
                });
                match strangers.find(|name| name != own) {
                    None => Ok(()),
                    Some(name) => Err(alone(format!("somebody else set the password of \"{name}\"")).hint(format!(
                        "Let \"{name}\" set a password of its own first: \\password in psql, or ALTER ROLE \"{name}\" PASSWORD '…'."
                    ))),
                }
            }
            StewardStatement::CreateRole { name, member_of, .. } => {
                match member_of.iter().find(|role| !directory.decides(role).is_empty()) {
                    None => Ok(()),
                    Some(role) => Err(alone(format!("a new role cannot be a member of \"{role}\" at once")).hint(format!(
                        "Create it, let \"{name}\" set a password of its own, then GRANT {role} TO \"{name}\", for another steward to approve."
                    ))),
                }
            }
            StewardStatement::Membership { grant: false, roles, members } => self.keep_two_of(&directory.with(|all| {
                for member in members {
                    if let Some(info) = all.get_mut(member) {
                        info.member_of.retain(|role| !roles.contains(role));
                    }
                }
            })),
            StewardStatement::DropRole { names, .. } => {
                self.keep_two_of(&directory.with(|all| all.retain(|name, _| !names.contains(name))))
            }
            _ => Ok(()),
        }
    }

    fn keep_two_of(&self, after: &RoleDirectory) -> Result<()> {
        keep_two(self.node.store.directory().stewards().len(), after.stewards().len())
    }

    /// Whether a change waits for nobody, because there is nobody else: the first steward of a node makes the second.
    pub(super) fn is_first(&self, statement: &StewardStatement) -> bool {
        let StewardStatement::Membership { grant: true, roles, .. } = statement else { return false };
        roles.iter().all(|role| decides(self.node, role))
            && self.node.store.directory().stewards().len() < LEAST_STEWARDS
    }

    /// Keys and tokens of a role from before it decided over anything end: whoever knew its first password may have made them, in its name too.
    pub(super) async fn end_keys_and_tokens(&self, members: &[String]) -> Result<()> {
        let store = &self.node.store;
        let directory = store.directory();
        for role in members.iter().flat_map(|member| directory.members_of(member)) {
            if directory.decides(&role).is_empty() {
                continue;
            }
            store.revoke_tokens(&role, Utc::now().timestamp()).await?;
            for key in directory.api_keys() {
                if key.role == role {
                    store.remove_api_key(&role, &key.name).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether the caller can propose: what somebody else could come in as would be another pair of eyes.
    fn may_propose(&self) -> Result<()> {
        self.principal.be_in_person("proposes no changes")?;
        if decides(self.node, &self.principal.name) {
            return Ok(());
        }
        Err(alone("this loosens a rule, and is proposed by a steward or an admin".to_owned())
            .hint("Ask one of them to say it.".to_owned()))
    }

    /// Keeps a statement for another steward.
    ///
    /// # Errors
    /// 42501 for whoever cannot propose; 0A000 for a statement that the log would not show as it is; 55000 if too much waits.
    pub(super) async fn propose(&self, statement: &StewardStatement, difference: &Difference) -> Result<Done> {
        let text = text_of_steward(statement);
        let read_again = on_large_stack({
            let text = text.clone();
            move || parse(&text)
        });
        // IF EXISTS was answered already.
        let meant = match statement.clone() {
            StewardStatement::AlterTable { name, changes, .. } => {
                StewardStatement::AlterTable { if_exists: false, name, changes }
            }
            other => other,
        };
        match read_again.await? {
            Ok(Statement::Steward(read)) if read == meant => {}
            _ => {
                return Err(Error::unsupported("this change cannot be kept for another steward to approve")
                    .hint("It has a value that reads like a password or an address with one: write it differently."));
            }
        }
        self.keep(text, difference).await
    }

    /// As [`Caller::propose`], for a function with effects.
    pub(super) async fn propose_call(&self, called: &Called, difference: &Difference) -> Result<Done> {
        let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let text = match called {
            Called::WriteOff => format!("SELECT kanon.{}()", Procedure::WriteOff.name()),
            Called::Exclude { kind, unit, excluded } => {
                let procedure = if *excluded { Procedure::ExcludeUnit } else { Procedure::IncludeUnit };
                format!("SELECT kanon.{}({}, {})", procedure.name(), literal(kind), literal(unit))
            }
            Called::Approve { .. } | Called::Reject { .. } => return Err(Error::internal("it waits for nobody")),
        };
        self.keep(text, difference).await
    }

    async fn keep(&self, statement: String, difference: &Difference) -> Result<Done> {
        self.may_propose()?;
        let change = PendingChange {
            id: 0,
            statement,
            difference: difference.to_string(),
            grounds: difference.grounds(),
            proposed_by: self.principal.name.clone(),
            proposed_at: Utc::now().timestamp(),
        };
        let id = self.node.store.add_pending_change(&change).await?;
        let message = format!(
            "nothing is changed yet: another steward has to approve it, by SELECT kanon.approve_change('{id}'). It would change: {difference}"
        );
        let warning = Notice { message, warning: Some(Sqlstate::Warning) };
        Ok(Done { notices: vec![warning], waits: true })
    }

    /// `kanon.approve_change`.
    ///
    /// # Errors
    /// 42501 for whoever is no steward or proposed it, 42704 if nothing of that number waits, 55000 if it is no longer what was shown or its proposer could no longer make it.
    pub(super) async fn approve(&self, id: &str) -> Result<Done> {
        self.be_steward("approve changes")?;
        self.principal.be_in_person("approves no changes")?;
        let change = pending(self.node, id)?;
        if change.proposed_by == self.principal.name {
            return Err(Error::new(
                Sqlstate::InsufficientPrivilege,
                "a change is approved by somebody else than who proposed it",
            )
            .hint("Ask another steward or admin of this node."));
        }
        let no_longer = |why: &str| {
            Error::new(
                Sqlstate::ObjectNotInPrerequisiteState,
                format!("change {} cannot be made any more: {why}", change.id),
            )
            .hint("Reject it, and propose it anew if it is still wanted.")
        };
        let proposer = load_principal(&self.node.store, self.node.site(), &change.proposed_by, AuthMethod::ScramSha256)
            .ok()
            .filter(|proposer| decides(self.node, &proposer.name))
            .ok_or_else(|| no_longer("who proposed it is no steward or admin who may log in"))?;
        let caller = Caller { node: self.node, principal: &proposer };
        let text = change.statement.clone();
        let done = match on_large_stack(move || parse(&text)).await?? {
            Statement::Steward(statement) => {
                let _one = caller.turn(&statement).await;
                let weighed = caller.weigh(&statement).await.map_err(|error| no_longer(&error.message))?;
                let is_as_shown = weighed.difference.to_string() == change.difference
                    && weighed.difference.grounds() == change.grounds;
                if !is_as_shown {
                    return Err(no_longer("what it would change is no longer what it was"));
                }
                Box::pin(caller.make(statement, weighed.table)).await?
            }
            Statement::Act(act) => {
                let _one = self.node.changing.lock().await;
                let called = called_of(&act).ok_or_else(|| Error::internal("a change that cannot be read"))?;
                caller.called_difference(&called).map_err(|error| no_longer(&error.message))?;
                Box::pin(caller.call(called)).await?
            }
            _ => return Err(Error::internal("a change that cannot be read")),
        };
        self.node.store.remove_pending_change(change.id).await?;
        tracing::info!(principal = %self.principal.display(), change = change.id, "approved");
        Ok(done)
    }

    /// `kanon.reject_change`: by any steward, or by who proposed it.
    ///
    /// # Errors
    /// 42501 for others, 42704 if nothing of that number waits.
    pub(super) async fn reject(&self, id: &str) -> Result<()> {
        let is_own =
            |change: &PendingChange| change.proposed_by == self.principal.name && self.principal.via_peer.is_none();
        match pending(self.node, id) {
            Ok(change) if is_own(&change) => {}
            _ => self.be_steward("reject changes")?,
        }
        self.principal.be_in_person("rejects no changes")?;
        self.node.store.remove_pending_change(pending(self.node, id)?.id).await?;
        Ok(())
    }
}

/// Keys, tokens and passwords of those who decide are their own, where changes need four eyes.
///
/// # Errors
/// 42501 for those of a steward or an admin.
pub(crate) fn refuse_for_another(node: &Node, role: &str, what: &str) -> Result<()> {
    if !node.config.four_eyes || !decides(node, role) {
        return Ok(());
    }
    Err(alone(format!("nobody but \"{role}\" can {what} of this role, which is a steward's or an admin's")).hint(
        "Revoke steward and admin from it first. Granting them again needs another steward's approval.".to_owned(),
    ))
}

/// Whether enough stewards and admins stay.
///
/// # Errors
/// 55000 if not.
fn keep_two(before: usize, after: usize) -> Result<()> {
    if after >= LEAST_STEWARDS.min(before) {
        return Ok(());
    }
    let message = format!("at least {LEAST_STEWARDS} people stay steward or admin where changes need four eyes");
    Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, message)
        .hint("Grant it to somebody else first. ALTER ROLE … SET kanon.suspended = true keeps somebody out at once."))
}

fn decides(node: &Node, role: &str) -> bool {
    !node.store.directory().decides(role).is_empty()
}

fn alone(message: String) -> Error {
    Error::new(Sqlstate::InsufficientPrivilege, format!("{message}: changes need four eyes here"))
}

/// The change of a number that waits.
///
/// # Errors
/// 42704 if none does.
pub(crate) fn pending(node: &Arc<Node>, id: &str) -> Result<PendingChange> {
    let now = Utc::now().timestamp();
    let changes = node.store.directory().pending_changes();
    let found = changes.iter().find(|change| change.id.to_string() == id && now < change.expires_at());
    found.cloned().ok_or_else(|| {
        Error::new(Sqlstate::UndefinedObject, format!("no change \"{}\" waits for approval", id.escape_debug()))
            .hint("kanon.pending_changes lists those that do.")
    })
}

fn called_of(act: &Act) -> Option<Called> {
    let text = |position: usize| match act.arguments.get(position)?.as_ref()? {
        Argument::Constant(text) => text.clone(),
        Argument::Parameter(_) => None,
    };
    Some(match act.procedure {
        Procedure::WriteOff => Called::WriteOff,
        Procedure::IncludeUnit => Called::Exclude { kind: text(0)?, unit: text(1)?, excluded: false },
        _ => return None,
    })
}

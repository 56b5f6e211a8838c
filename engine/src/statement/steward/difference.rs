//! What statements of stewards and admins would change, and whether more is told then than before. Whoever may not make a change is told so here, before anything is done.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::brakes::ServerChange;
use super::run::Caller;
use super::{BudgetChange, Called, Relations, StewardStatement};
use crate::catalog::{ChangedTable, Table, boolean};
use crate::difference::{Difference, both};
use crate::error::Result;
use crate::ledger::{Budget, PrincipalBudget};
use crate::principal::BuiltinRole;
use crate::store::{PeerRules, Suspended, is_rule};

/// A statement that was thought out.
#[derive(Default)]
pub(super) struct Weighed {
    pub(super) difference: Difference,
    /// What ALTER TABLE would make of its table.
    pub(super) table: Option<ChangedTable>,
}

impl Caller<'_> {
    /// What a statement would change.
    ///
    /// # Errors
    /// 42501 without the right to it, and what else is wrong with the statement as far as that can be told without doing it.
    pub(super) async fn weigh(&self, statement: &StewardStatement) -> Result<Weighed> {
        let StewardStatement::AlterTable { if_exists, name, changes } = statement else {
            return Ok(Weighed { difference: self.difference(statement).await?, table: None });
        };
        Ok(match self.altered(*if_exists, name, changes)? {
            Some(changed) => Weighed { difference: self.node.catalog.difference(&changed), table: Some(changed) },
            None => Weighed::default(),
        })
    }

    async fn difference(&self, statement: &StewardStatement) -> Result<Difference> {
        let node = self.node;
        let mut difference = Difference::default();
        match statement {
            StewardStatement::Select { grant, columns, on, grantees } => {
                let tables = self.relations(on)?;
                for grantee in grantees {
                    self.select_difference(&mut difference, *grant, columns, on, &tables, grantee)?;
                }
            }
            StewardStatement::Usage { grant, schemas, grantees } => {
                self.may_grant_usage(schemas)?;
                let what = if *grant { "may" } else { "may not" };
                for (schema, grantee) in schemas.iter().flat_map(|s| grantees.iter().map(move |grantee| (s, grantee))) {
                    node.store.check_grantee(grantee)?;
                    let is_closed = node.catalog.snapshot().closed_schemas.contains_key(schema);
                    let loosens = *grant && is_closed && is_everybody(grantee);
                    difference.add(format!("{grantee:?} {what} use schema {schema:?}"), loosens);
                }
            }
            StewardStatement::Membership { grant, roles, members } => {
                self.be_admin(if *grant { "grant role" } else { "revoke role" })?;
                for (role, member) in roles.iter().flat_map(|role| members.iter().map(move |member| (role, member))) {
                    self.membership_difference(&mut difference, *grant, role, member)?;
                }
            }
            StewardStatement::CreateRole { name, member_of, .. } => {
                self.be_admin("create role")?;
                for role in member_of {
                    let loosens = !node.store.directory().decides(role).is_empty();
                    difference.add(format!("{name:?} becomes a member of {role:?}"), loosens);
                }
            }
            StewardStatement::AlterRole { name, login, password } => {
                self.may_alter_role(name, *login)?;
                self.stands_on_role(&mut difference, name);
                let directory = node.store.directory();
                let known = directory.all();
                if let (Some(is), Some(info)) = (login, known.get(name))
                    && info.has_login != *is
                {
                    let loosens = *is && !directory.decides(name).is_empty();
                    difference.add(both(&format!("login of {name:?}"), Some(info.has_login), Some(*is)), loosens);
                }
                if password.is_some() {
                    difference.add(format!("the password of {name:?}"), false);
                }
            }
            StewardStatement::SetRole { name, setting, value } => {
                self.may_set_role(setting, value.as_deref())?;
                return self.role_setting_difference(name, setting, value.as_deref()).await;
            }
            StewardStatement::AlterServer { name, options } => {
                let change = self.server_change(options)?;
                let (key, shown) = node.federation.named(name)?;
                difference.stands_on(key);
                match change {
                    ServerChange::Rules(change) => {
                        let was = node.store.directory().rules_of_key(&key);
                        rules_difference(&mut difference, &was, &change.of(&was));
                    }
                    ServerChange::Suspended(is) => {
                        let what = format!("node {shown:?}");
                        self.suspended_difference(&mut difference, &what, Suspended::Peer, &key.to_string(), is, true);
                    }
                }
            }
            StewardStatement::AlterSystem { setting, value } => {
                let is = self.system_change(setting, value.as_deref())?;
                self.suspended_difference(&mut difference, "this node", Suspended::Node, "", is, true);
            }
            StewardStatement::CreatePrivacyUnit { kind, options, .. } => {
                self.be_steward("create privacy unit")?;
                if !node.catalog.snapshot().privacy_units.contains_key(kind) {
                    let is = Budget::create(options)?;
                    difference.add(both(&format!("budget of unit kind {kind:?}"), None, Some(is)), true);
                }
            }
            StewardStatement::AlterPrivacyUnit { kind, principal, change } => {
                self.be_steward("alter privacy unit")?;
                let snapshot = node.catalog.snapshot();
                let Some(was) = snapshot.privacy_units.get(kind) else { return Ok(difference) };
                let what = format!("budget of unit kind {kind:?}");
                match principal {
                    None => budget_difference(&mut difference, &what, *was, change.of(*was)?),
                    Some(principal) => {
                        self.stands_on_role(&mut difference, principal);
                        let own = node.store.principal_budget(kind, principal).await?;
                        let what = format!("{what} for {principal:?}");
                        budget_difference(&mut difference, &what, was.of(own), was.of(change.of_principal(own)?));
                    }
                }
            }
            StewardStatement::DropPrivacyUnit { kinds, .. } => {
                self.be_steward("drop privacy unit")?;
                for kind in kinds {
                    if let Some(was) = node.catalog.snapshot().privacy_units.get(kind) {
                        difference.add(both(&format!("budget of unit kind {kind:?}"), Some(*was), None), false);
                    }
                    // What is gone with the kind would not be there if it were made again.
                    for (principal, own) in node.store.principal_budgets(kind).await? {
                        let what = format!("budget of unit kind {kind:?} for {principal:?}");
                        difference.add(format!("{what}: {} → not set", own), own != PrincipalBudget::default());
                    }
                }
            }
            StewardStatement::DropRole { .. } => self.be_admin("drop role")?,
            // Nothing is told for them: a new table has no policy, what is dropped tells nothing, and the rest is about no rule. A table that is changed was weighed.
            StewardStatement::CreateExternalTable(_)
            | StewardStatement::DropTable { .. }
            | StewardStatement::Comment { .. }
            | StewardStatement::AlterTable { .. } => {}
        }
        Ok(difference)
    }

    /// What a function with effects would change. Which unit it is about stands among the literals.
    ///
    /// # Errors
    /// 42501 without the right to it.
    pub(super) fn called_difference(&self, called: &Called) -> Result<Difference> {
        let mut difference = Difference::default();
        match called {
            Called::WriteOff => {
                self.be_steward("write off budgets")?;
                difference.add("protected tables answer again, once budgets have passed".to_owned(), true);
            }
            Called::Exclude { kind, excluded, .. } => {
                self.be_steward("leave units out")?;
                let what = if *excluded { "is left out" } else { "is no longer left out" };
                difference.add(format!("a unit of kind {kind:?} {what}"), !excluded);
            }
            Called::Approve { .. } | Called::Reject { .. } => {}
        }
        Ok(difference)
    }

    /// A grant to whoever is an analyst here, or comes from any peer, or of everything, is more than a grant to somebody.
    fn select_difference(
        &self,
        difference: &mut Difference,
        grant: bool,
        columns: &[String],
        on: &Relations,
        tables: &[Arc<Table>],
        grantee: &str,
    ) -> Result<()> {
        self.node.store.check_grantee(grantee)?;
        let directory = self.node.store.directory();
        // Whoever is in a role has what it is granted.
        let members: Vec<BTreeSet<String>> = match directory.all().contains_key(grantee) {
            true => directory.members_of(grantee).iter().map(|member| directory.memberships(member)).collect(),
            false => Vec::new(),
        };
        let is_everything = grant
            && (matches!(on, Relations::AllInSchemas(_))
                || members
                    .iter()
                    .any(|names| self.reads_everything(names, tables) && !self.reads_everything(names, &[])));
        tables.iter().for_each(|table| difference.stands_on(table.oid));
        self.stands_on_role(difference, grantee);
        let differs = |table: &&Arc<Table>| {
            let may_column =
                |column: &String| table.column_readers.get(column).is_some_and(|readers| readers.contains(grantee));
            match columns {
                [] => table.readers.contains(grantee) != grant,
                columns => columns.iter().any(|column| may_column(column) != grant),
            }
        };
        for table in tables.iter().filter(differs) {
            let name = match columns {
                [] => format!("{}.{}", table.schema_name, table.name),
                columns => format!("{}.{} ({})", table.schema_name, table.name, columns.join(", ")),
            };
            let loosens = grant && is_protected(table) && (is_everybody(grantee) || is_everything);
            let what = if grant { "may" } else { "may not" };
            difference.add(format!("{grantee:?} {what} SELECT from {name}"), loosens);
        }
        Ok(())
    }

    /// Whether whoever goes by these names may ask of every protected table of this node that has a policy, if it could of `more` too. Of a single one that says nothing.
    fn reads_everything(&self, names: &BTreeSet<String>, more: &[Arc<Table>]) -> bool {
        let snapshot = self.node.catalog.snapshot();
        let may = |table: &Arc<Table>| {
            let is_reader = |readers: &BTreeSet<String>| readers.contains("public") || !readers.is_disjoint(names);
            is_reader(&table.readers)
                || table.column_readers.values().any(is_reader)
                || more.iter().any(|of| of.oid == table.oid)
        };
        let rules = |table: &&Arc<Table>| table.schema_name == "public" && table.policy.access.is_some();
        let protected: Vec<_> = snapshot.tables.iter().filter(rules).filter(|table| is_protected(table)).collect();
        protected.len() > 1 && protected.into_iter().all(may)
    }

    /// A role that was dropped and made again is another one.
    fn stands_on_role(&self, difference: &mut Difference, name: &str) {
        difference.stands_on(self.node.store.directory().all().get(name).map_or("-", |role| &role.created_at));
    }

    /// That something is suspended tells nothing; that it is no longer may, unless whoever suspended it takes that back.
    fn suspended_difference(
        &self,
        difference: &mut Difference,
        what: &str,
        of: Suspended,
        name: &str,
        is: bool,
        end_loosens: bool,
    ) {
        let snapshot = self.node.catalog.snapshot();
        let was = snapshot.suspensions.iter().find(|known| known.of == of && known.name == name);
        if was.is_some() != is {
            let of_others = was.is_some_and(|was| was.by != self.principal.name);
            difference
                .add(both(&format!("suspended, {what},"), Some(was.is_some()), Some(is)), of_others && end_loosens);
        }
    }

    fn membership_difference(&self, difference: &mut Difference, grant: bool, role: &str, member: &str) -> Result<()> {
        let directory = self.node.store.directory();
        self.node.store.check_grantable(role)?;
        self.node.store.check_role(member)?;
        let what = if grant { "becomes" } else { "is no longer" };
        self.stands_on_role(difference, member);
        self.stands_on_role(difference, role);
        let (gives, has) = (directory.decides(role), directory.decides(member));
        let decides = grant && !gives.is_subset(&has);
        let gains_everything = |of: &String| {
            let before = directory.memberships(of);
            let after = before.union(&directory.memberships(role)).cloned().collect();
            !self.reads_everything(&before, &[]) && self.reads_everything(&after, &[])
        };
        let loosens = decides || grant && directory.members_of(member).iter().any(gains_everything);
        difference.add(format!("{member:?} {what} a member of {role:?}"), loosens);
        if !decides {
            return Ok(());
        }
        for person in directory.people_of(member) {
            let mut ways = directory.ways_in(&person).join(", ");
            if ways.is_empty() {
                ways = "nothing yet".to_owned();
            }
            difference.add(format!("{person:?}, who comes in with {ways}, would decide what this node tells"), true);
        }
        Ok(())
    }

    async fn role_setting_difference(&self, name: &str, setting: &str, value: Option<&str>) -> Result<Difference> {
        let mut difference = Difference::default();
        let directory = self.node.store.directory();
        self.stands_on_role(&mut difference, name);
        let what = |what: &str| format!("{what} of {name:?}");
        match setting {
            "kanon.budget_epsilon" | "kanon.budget_delta" => {
                let was = self.node.store.role_budget(name).await?;
                let is = self.role_budget(was, setting, value)?;
                let grows = |was: Option<f64>, is: Option<f64>| match (was, is) {
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(was), Some(is)) => is > was,
                };
                let numbers =
                    |budget: PrincipalBudget| (budget.epsilon.map(|e| e.get()), budget.delta.map(|d| d.get()));
                let ((was_e, was_d), (is_e, is_d)) = (numbers(was), numbers(is));
                for (option, was, is) in [("epsilon", was_e, is_e), ("delta", was_d, is_d)] {
                    if was != is {
                        difference.add(both(&what(&format!("budget, {option},")), was, is), grows(was, is));
                    }
                }
            }
            "kanon.certificate" | "kanon.oidc_subject" => {
                // How a steward comes in is no less than who is one.
                let loosens = !directory.decides(name).is_empty();
                let way = if setting == "kanon.certificate" { "certificate" } else { "subject at the issuer" };
                difference.add(format!("{}: {}", what(way), value.unwrap_or("none")), loosens);
            }
            _ => {
                let is = value.map_or(Ok(false), |value| boolean(setting, value))?;
                let decides = !directory.decides(name).is_empty();
                self.suspended_difference(
                    &mut difference,
                    &format!("role {name:?}"),
                    Suspended::Role,
                    name,
                    is,
                    decides,
                );
            }
        }
        Ok(difference)
    }
}

fn is_everybody(grantee: &str) -> bool {
    grantee == "public" || BuiltinRole::parse(grantee).is_some() || is_rule(grantee)
}

fn is_protected(table: &Arc<Table>) -> bool {
    table.schema_name != "public" || table.policy.is_protected()
}

fn budget_difference(difference: &mut Difference, what: &str, was: Budget, is: Budget) {
    if was == is {
        return;
    }
    // A window that is shorter forgets sooner; for life never does.
    let forgets_sooner = match (was.window, is.window) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(was), Some(is)) => is < was,
    };
    let is_more = is.epsilon.get() > was.epsilon.get() || is.delta.get() > was.delta.get() || forgets_sooner;
    difference.add(both(what, Some(was), Some(is)), is_more);
}

fn rules_difference(difference: &mut Difference, was: &PeerRules, is: &PeerRules) {
    fn all<T>(value: Option<T>, shown: impl FnOnce(T) -> String) -> Option<String> {
        value.map(shown)
    }
    if was.may_query != is.may_query {
        difference.add(both("may_query", Some(was.may_query), Some(is.may_query)), is.may_query);
    }
    if was.tables != is.tables {
        let more = match (&was.tables, &is.tables) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(was), Some(is)) => !is.is_subset(was),
        };
        let shown = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(",");
        difference.add(both("tables", all(was.tables.as_ref(), shown), all(is.tables.as_ref(), shown)), more);
    }
    if was.statements_per_second != is.statements_per_second {
        difference.add(both("max_statements_per_second", was.statements_per_second, is.statements_per_second), false);
    }
    if was.budget_epsilon != is.budget_epsilon {
        let number = |rules: &PeerRules| rules.budget_epsilon.map(|epsilon| epsilon.get());
        let more = number(was).is_some_and(|was| number(is).is_none_or(|is| is > was));
        difference.add(both("budget_epsilon", number(was), number(is)), more);
    }
}

impl BudgetChange {
    /// What it makes of a kind's budget.
    fn of(&self, budget: Budget) -> Result<Budget> {
        match self {
            BudgetChange::Set(options) => budget.alter(options),
            BudgetChange::Reset(options) => budget.reset(options),
        }
    }

    /// What it makes of a principal's budget.
    fn of_principal(&self, budget: PrincipalBudget) -> Result<PrincipalBudget> {
        match self {
            BudgetChange::Set(options) => budget.alter(options),
            BudgetChange::Reset(options) => budget.reset(options),
        }
    }
}

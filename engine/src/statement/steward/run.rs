//! Carrying out what stewards and admins say.
//!
//! Rights: a steward of this node, or a table's owner, changes tables, policies and who may SELECT; an admin changes roles, and
//! everybody their own password. Nobody does through a peer. A table that a caller may not see does not exist for it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::sql::sqlparser::ast::{self, ExactNumberInfo, TimezoneInfo};

use super::{
    BudgetChange, Called, ColumnDefinition, ExternalTable, Relations, StewardStatement, TableChange, TableName,
};
use crate::catalog::{self, ChangedTable, Table};
use crate::error::{Error, Result, Sqlstate};
use crate::node::Node;
use crate::principal::{BuiltinRole, Principal};
use crate::session::Notice;

/// What a statement of a steward came to.
#[derive(Debug, Default)]
pub struct Done {
    /// What to tell whoever said it.
    pub notices: Vec<Notice>,
    /// Nothing is changed yet: another steward has to approve it.
    pub waits: bool,
}

impl Done {
    pub(super) fn told(notices: Vec<String>) -> Done {
        Done { notices: notices.into_iter().map(Notice::new).collect(), waits: false }
    }
}

/// Runs a statement for a principal. The change is durable and seen by every session when this returns, unless it waits for another steward.
///
/// # Errors
/// 42501 without the right, 42P01, 42704 and others for what is not there or cannot be.
pub async fn run(node: &Arc<Node>, principal: &Principal, statement: StewardStatement) -> Result<Done> {
    let tag = statement.tag();
    let caller = Caller { node, principal };
    let _one = caller.turn(&statement).await;
    let mut table = None;
    if node.config.four_eyes {
        let weighed = caller.weigh(&statement).await?;
        caller.refuse_alone(&statement)?;
        if weighed.difference.loosens() && !caller.is_first(&statement) {
            return caller.propose(&statement, &weighed.difference).await;
        }
        table = weighed.table;
    }
    let done = caller.make(statement, table).await?;
    tracing::info!(principal = %principal.display(), statement = tag, "changed");
    Ok(done)
}

/// What a statement would change, for the log; nothing if that cannot be told: then it fails.
pub(crate) async fn told_difference(
    node: &Arc<Node>,
    principal: &Principal,
    statement: &StewardStatement,
) -> Option<String> {
    let difference = Caller { node, principal }.weigh(statement).await.ok()?.difference;
    (!difference.is_empty()).then(|| difference.to_string())
}

/// Does what a steward's function with effects does, for a principal.
///
/// # Errors
/// 42501 without the right, and others for what cannot be.
pub async fn call(node: &Arc<Node>, principal: &Principal, called: Called) -> Result<Done> {
    let caller = Caller { node, principal };
    // What is approved takes its turn as a statement; and each is made once.
    let _one = match &called {
        Called::Approve { .. } => Some(node.approving.lock().await),
        Called::Reject { .. } => None,
        Called::WriteOff | Called::Exclude { .. } => Some(node.changing.lock().await),
    };
    let difference = caller.called_difference(&called)?;
    if node.config.four_eyes && difference.loosens() {
        return caller.propose_call(&called, &difference).await;
    }
    let done = caller.call(called).await?;
    tracing::info!(principal = %principal.display(), "changed");
    Ok(done)
}

pub(super) struct Caller<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) principal: &'a Principal,
}

impl Caller<'_> {
    /// The turn of a statement: one change of rules after another, so that what is looked at is what is changed. What may take long, or stops something at once, does
    /// not wait; of tables the store takes no change of what is no longer there.
    pub(super) async fn turn(&self, statement: &StewardStatement) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let is_brake = match statement {
            StewardStatement::AlterTable { .. } | StewardStatement::CreateExternalTable(_) => true,
            StewardStatement::SetRole { setting, value, .. } | StewardStatement::AlterSystem { setting, value } => {
                setting == "kanon.suspended" && value.is_some()
            }
            StewardStatement::AlterServer { options, .. } => {
                options.iter().any(|(name, value)| name == "suspended" && value.is_some())
            }
            _ => false,
        };
        match is_brake {
            true => None,
            false => Some(self.node.changing.lock().await),
        }
    }

    /// Makes the change that a statement says; `table` if it was thought out already.
    pub(super) async fn make(&self, statement: StewardStatement, table: Option<ChangedTable>) -> Result<Done> {
        let (caller, node, principal) = (self, self.node, self.principal);
        let notices = match statement {
            StewardStatement::CreateExternalTable(definition) => caller.create_table(definition).await?,
            StewardStatement::DropTable { if_exists, names } => caller.drop_tables(if_exists, &names).await?,
            StewardStatement::AlterTable { if_exists, name, changes } => {
                let changed = match table {
                    Some(changed) => Some(changed),
                    None => caller.altered(if_exists, &name, &changes)?,
                };
                let notices = match changed {
                    Some(changed) => node.catalog.change_table(changed).await?,
                    None => vec![format!("relation \"{name}\" does not exist, skipping")],
                };
                node.stop_what_is_halted();
                notices
            }
            StewardStatement::Comment { table, column, text } => {
                let own = caller.own_table(&table)?;
                match column {
                    Some(column) => node.catalog.comment_column(&own.name, &column, text).await?,
                    None => node.catalog.comment_table(&own.name, text).await?,
                }
                Vec::new()
            }
            StewardStatement::CreateRole { name, login, password, member_of } => {
                caller.be_admin("create role")?;
                if password.is_some() {
                    principal.be_by_password("sets no passwords")?;
                }
                caller.create_role(&name, login, password.as_ref().map(|p| p.expose()), &member_of).await?;
                Vec::new()
            }
            StewardStatement::AlterRole { name, login, password } => {
                caller.may_alter_role(&name, login)?;
                if let Some(password) = password {
                    principal.be_by_password("sets no passwords")?;
                    let password = password.as_ref().map(|p| p.expose());
                    node.store.alter_role_password(&name, password, &principal.name).await?;
                }
                if let Some(login) = login {
                    node.store.alter_role_login(&name, login).await?;
                }
                Vec::new()
            }
            StewardStatement::SetRole { name, setting, value } => {
                caller.set_role(&name, &setting, value.as_deref()).await?;
                Vec::new()
            }
            StewardStatement::AlterServer { name, options } => {
                caller.alter_server(&name, &options).await?;
                Vec::new()
            }
            StewardStatement::AlterSystem { setting, value } => {
                caller.alter_system(&setting, value.as_deref()).await?;
                Vec::new()
            }
            StewardStatement::DropRole { if_exists, names } => {
                caller.be_admin("drop role")?;
                if names.contains(&principal.name) {
                    return Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, "current user cannot be dropped"));
                }
                let known = node.store.directory().all();
                for name in &names {
                    node.catalog.drop_role(name, if_exists).await?;
                }
                let missing = names.iter().filter(|name| !known.contains_key(*name));
                missing.map(|name| format!("role \"{name}\" does not exist, skipping")).collect()
            }
            StewardStatement::Select { grant, columns, on, grantees } => {
                caller.select(grant, &columns, on, &grantees).await?;
                Vec::new()
            }
            StewardStatement::Usage { grant, schemas, grantees } => {
                caller.may_grant_usage(&schemas)?;
                for schema in &schemas {
                    for grantee in &grantees {
                        node.catalog.set_usage(schema, grantee, grant).await?;
                    }
                }
                Vec::new()
            }
            StewardStatement::Membership { grant, roles, members } => {
                caller.be_admin(if grant { "grant role" } else { "revoke role" })?;
                let decided: Vec<bool> =
                    members.iter().map(|member| !node.store.directory().decides(member).is_empty()).collect();
                for role in &roles {
                    for member in &members {
                        if grant {
                            node.store.grant_role(role, member).await?;
                        } else {
                            node.store.revoke_role(role, member).await?;
                        }
                    }
                }
                if grant && node.config.four_eyes {
                    let new = members.into_iter().zip(decided).filter(|(_, decided)| !decided);
                    let new: Vec<String> = new.map(|(member, _)| member).collect();
                    caller.end_keys_and_tokens(&new).await?;
                }
                Vec::new()
            }
            StewardStatement::CreatePrivacyUnit { if_not_exists, kind, options } => {
                caller.be_steward("create privacy unit")?;
                node.catalog.create_privacy_unit(&kind, if_not_exists, &options).await?
            }
            StewardStatement::AlterPrivacyUnit { kind, principal, change } => {
                caller.be_steward("alter privacy unit")?;
                caller.alter_privacy_unit(&kind, principal.as_deref(), change).await?;
                Vec::new()
            }
            StewardStatement::DropPrivacyUnit { if_exists, kinds } => {
                caller.be_steward("drop privacy unit")?;
                let mut notices = Vec::new();
                for kind in &kinds {
                    notices.extend(node.catalog.drop_privacy_unit(kind, if_exists).await?);
                }
                notices
            }
        };
        Ok(Done::told(notices))
    }

    pub(super) fn is(&self, role: BuiltinRole) -> bool {
        self.principal.via_peer.is_none() && self.principal.is(role)
    }

    pub(super) fn be_admin(&self, what: &str) -> Result<()> {
        if self.is(BuiltinRole::Admin) {
            return Ok(());
        }
        Err(Error::new(Sqlstate::InsufficientPrivilege, format!("permission denied to {what}"))
            .hint("Ask an admin of this node."))
    }

    pub(super) fn be_steward(&self, what: &str) -> Result<()> {
        if self.is(BuiltinRole::Steward) {
            return Ok(());
        }
        Err(Error::new(Sqlstate::InsufficientPrivilege, format!("permission denied to {what}"))
            .hint("Ask a steward of this node."))
    }

    /// An admin changes roles; everybody its own password.
    pub(super) fn may_alter_role(&self, name: &str, login: Option<bool>) -> Result<()> {
        let is_own_password = login.is_none() && self.principal.via_peer.is_none() && self.principal.name == name;
        if is_own_password { Ok(()) } else { self.be_admin("alter role") }
    }

    async fn alter_privacy_unit(&self, kind: &str, principal: Option<&str>, change: BudgetChange) -> Result<()> {
        let catalog = &self.node.catalog;
        match (principal, change) {
            (None, BudgetChange::Set(options)) => catalog.alter_privacy_unit_set(kind, &options).await,
            (None, BudgetChange::Reset(options)) => catalog.alter_privacy_unit_reset(kind, &options).await,
            (Some(role), BudgetChange::Set(options)) => catalog.alter_principal_budget_set(kind, role, &options).await,
            (Some(role), BudgetChange::Reset(options)) => {
                catalog.alter_principal_budget_reset(kind, role, &options).await
            }
        }
    }

    /// A table of this node that the caller may change.
    fn own_table(&self, name: &TableName) -> Result<Arc<Table>> {
        let table = self.visible_table(name)?;
        if table.schema_name != "public" {
            return Err(Error::new(
                Sqlstate::InsufficientPrivilege,
                format!("table \"{name}\" is not this node's to change"),
            )
            .hint("Each site keeps its own tables and policies."));
        }
        self.may_change(&table)?;
        Ok(table)
    }

    /// A steward may change any table and any grants; an owner its own.
    fn may_change(&self, table: &Table) -> Result<()> {
        let owns =
            table.schema_name == "public" && self.principal.via_peer.is_none() && table.owner == self.principal.name;
        if owns || self.is(BuiltinRole::Steward) {
            return Ok(());
        }
        Err(Error::new(Sqlstate::InsufficientPrivilege, format!("must be owner of table {}", table.name))
            .hint("Its steward can do this."))
    }

    /// A table of that name, if the caller may know of it. Stewards know all names: they grant SELECT on tables of peers too.
    fn visible_table(&self, name: &TableName) -> Result<Arc<Table>> {
        let schema = name.schema.as_deref().unwrap_or("public");
        let snapshot = self.node.catalog.snapshot();
        let found = snapshot.table(schema, &name.name).filter(|table| {
            let owns = schema == "public" && table.owner == self.principal.name && self.principal.via_peer.is_none();
            owns || self.is(BuiltinRole::Steward) || snapshot.may_select(self.principal, table)
        });
        found
            .cloned()
            .ok_or_else(|| Error::new(Sqlstate::UndefinedTable, format!("relation \"{name}\" does not exist")))
    }

    async fn create_table(&self, definition: ExternalTable) -> Result<Vec<String>> {
        if !self.is(BuiltinRole::Steward) {
            return Err(Error::new(Sqlstate::InsufficientPrivilege, "permission denied to create table")
                .hint("Stewards register tables."));
        }
        let ExternalTable { name, if_not_exists, columns, format, location, options } = definition;
        if let Some(schema) = name.schema.as_deref().filter(|schema| *schema != "public") {
            return Err(Error::new(Sqlstate::InsufficientPrivilege, format!("permission denied for schema {schema}"))
                .hint("Tables of a node are in schema public."));
        }
        let columns = columns.into_iter().map(column).collect::<Result<_>>()?;
        let definition = catalog::ExternalTable { name: name.name, if_not_exists, format, location, columns, options };
        self.node.catalog.create_external_table(definition, &self.principal.name).await
    }

    async fn drop_tables(&self, if_exists: bool, names: &[TableName]) -> Result<Vec<String>> {
        let mut notices = Vec::new();
        let mut found = Vec::new();
        for name in names {
            match self.own_table(name) {
                Err(error) if if_exists && error.state == Sqlstate::UndefinedTable => {
                    notices.push(format!("table \"{name}\" does not exist, skipping"));
                }
                table => found.push(table?),
            }
        }
        for table in found {
            notices.extend(self.node.catalog.drop_table(&table.name, if_exists).await?);
        }
        Ok(notices)
    }

    /// What ALTER TABLE would make of a table; `None` if there is none and that may be.
    pub(super) fn altered(
        &self,
        if_exists: bool,
        name: &TableName,
        changes: &[TableChange],
    ) -> Result<Option<ChangedTable>> {
        let table = match self.own_table(name) {
            Err(error) if if_exists && error.state == Sqlstate::UndefinedTable => return Ok(None),
            table => table?,
        };
        let [change] = changes else {
            // They could not be made all or none.
            return Err(
                Error::unsupported("ALTER TABLE makes one change at a time").hint("Write a statement for each change.")
            );
        };
        self.node.catalog.changed(&table.name, change).map(Some)
    }

    async fn create_role(&self, name: &str, login: bool, password: Option<&str>, member_of: &[String]) -> Result<()> {
        let store = &self.node.store;
        let known = store.directory().all();
        if let Some(role) =
            member_of.iter().find(|role| BuiltinRole::parse(role).is_none() && !known.contains_key(*role))
        {
            return Err(Error::new(Sqlstate::UndefinedObject, format!("role \"{role}\" does not exist")));
        }
        store.create_role(name, password, login).await?;
        for role in member_of {
            store.grant_role(role, name).await?;
        }
        Ok(())
    }

    async fn select(&self, grant: bool, columns: &[String], on: Relations, grantees: &[String]) -> Result<()> {
        for table in &self.relations(&on)? {
            for grantee in grantees {
                if grant {
                    self.node.catalog.grant_select(&table.schema_name, &table.name, columns, grantee).await?;
                } else {
                    self.node.catalog.revoke_select(&table.schema_name, &table.name, columns, grantee).await?;
                }
            }
        }
        Ok(())
    }

    /// The tables that a grant is on, all of which the caller may grant.
    pub(super) fn relations(&self, on: &Relations) -> Result<Vec<Arc<Table>>> {
        let tables = match on {
            Relations::Tables(names) => {
                names.iter().map(|name| self.visible_table(name)).collect::<Result<Vec<_>>>()?
            }
            Relations::AllInSchemas(schemas) => self.tables_in(schemas)?,
        };
        tables.iter().try_for_each(|table| self.may_change(table))?;
        Ok(tables)
    }

    /// Stewards say who may use a schema.
    pub(super) fn may_grant_usage(&self, schemas: &[String]) -> Result<()> {
        self.be_steward("grant the use of schemas")?;
        let snapshot = self.node.catalog.snapshot();
        for schema in schemas {
            if matches!(schema.as_str(), "pg_catalog" | "information_schema" | "kanon") {
                return Err(Error::unsupported(format!("schema \"{schema}\" is everybody's")));
            }
            let is_known = matches!(schema.as_str(), "public" | "federation")
                || snapshot.tables.iter().any(|table| table.schema_name == *schema)
                || snapshot.closed_schemas.contains_key(schema);
            if !is_known {
                let message = format!("schema \"{schema}\" does not exist");
                return Err(Error::new(Sqlstate::UndefinedSchema, message));
            }
        }
        Ok(())
    }

    fn tables_in(&self, schemas: &[String]) -> Result<Vec<Arc<Table>>> {
        let snapshot = self.node.catalog.snapshot();
        let steward = self.is(BuiltinRole::Steward);
        for schema in schemas {
            let known = matches!(schema.as_str(), "public" | "federation")
                || snapshot.tables.iter().any(|t| t.schema_name == *schema);
            if !known || !steward && schema != "public" {
                return Err(Error::new(Sqlstate::UndefinedSchema, format!("schema \"{schema}\" does not exist")));
            }
        }
        let all = snapshot.tables.iter().filter(|table| schemas.contains(&table.schema_name));
        Ok(all.filter(|table| steward || table.owner == self.principal.name).cloned().collect())
    }
}

fn column(definition: ColumnDefinition) -> Result<catalog::ColumnDefinition> {
    let ColumnDefinition { name, data_type, not_null } = definition;
    let data_type = arrow_type(&data_type)
        .ok_or_else(|| Error::unsupported(format!("type {data_type} of column \"{name}\" is not supported")))?;
    Ok(catalog::ColumnDefinition { name, data_type, nullable: !not_null })
}

/// The types that a table can be declared with.
fn arrow_type(data_type: &ast::DataType) -> Option<DataType> {
    use ast::DataType as Sql;
    let without_zone = |zone: &TimezoneInfo| matches!(zone, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone);
    Some(match data_type {
        Sql::Boolean | Sql::Bool => DataType::Boolean,
        Sql::SmallInt(_) | Sql::Int2(_) => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) => DataType::Int32,
        Sql::BigInt(_) | Sql::Int8(_) => DataType::Int64,
        Sql::Real | Sql::Float4 => DataType::Float32,
        Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 | Sql::Float(_) => DataType::Float64,
        Sql::Text | Sql::String(_) => DataType::Utf8,
        Sql::Varchar(None) | Sql::CharacterVarying(None) | Sql::CharVarying(None) => DataType::Utf8,
        Sql::Bytea => DataType::Binary,
        Sql::Date => DataType::Date32,
        Sql::Time(None, zone) if without_zone(zone) => DataType::Time64(TimeUnit::Microsecond),
        Sql::Timestamp(None, zone) if without_zone(zone) => DataType::Timestamp(TimeUnit::Microsecond, None),
        Sql::Timestamp(None, _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Sql::Numeric(info) | Sql::Decimal(info) | Sql::Dec(info) => {
            let (precision, scale) = match info {
                ExactNumberInfo::None => (38, 10),
                ExactNumberInfo::Precision(precision) => (*precision, 0),
                ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
            };
            let precision = u8::try_from(precision).ok().filter(|p| (1..=38).contains(p))?;
            let scale =
                i8::try_from(scale).ok().filter(|s| *s >= 0 && u8::try_from(*s).is_ok_and(|s| s <= precision))?;
            DataType::Decimal128(precision, scale)
        }
        _ => return None,
    })
}

//! Statements of stewards and admins: tables, policies, roles, grants.

use std::fmt;

use datafusion::sql::sqlparser::ast::DataType;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::{Statement, temporary};
pub use crate::catalog::TableChange;
use crate::error::{Error, Result, Sqlstate};

mod brakes;
mod difference;
mod four_eyes;
mod roles;
mod run;
mod settings;
mod units;

pub(crate) use brakes::be_operator;
pub(crate) use four_eyes::{pending, refuse_for_another};
pub(crate) use run::told_difference;
pub use run::{Done, call, run};

/// A statement that changes what a node offers or who may ask for it.
#[derive(Debug, Clone, PartialEq)]
pub enum StewardStatement {
    /// CREATE EXTERNAL TABLE.
    CreateExternalTable(ExternalTable),
    /// DROP TABLE.
    DropTable {
        /// What is not there is passed over.
        if_exists: bool,
        /// Which.
        names: Vec<TableName>,
    },
    /// ALTER TABLE.
    AlterTable {
        /// A table that is not there is passed over.
        if_exists: bool,
        /// Which.
        name: TableName,
        /// What to change, in order.
        changes: Vec<TableChange>,
    },
    /// COMMENT ON TABLE, COMMENT ON COLUMN.
    Comment {
        /// The table.
        table: TableName,
        /// Its column, if the comment is on one.
        column: Option<String>,
        /// `None`: NULL, no comment.
        text: Option<String>,
    },
    /// CREATE ROLE, CREATE USER.
    CreateRole {
        /// Its name.
        name: String,
        /// May log in.
        login: bool,
        /// What it logs in with.
        password: Option<Password>,
        /// IN ROLE: what it is granted at once.
        member_of: Vec<String>,
    },
    /// ALTER ROLE, ALTER USER.
    AlterRole {
        /// Which.
        name: String,
        /// LOGIN or NOLOGIN, if told.
        login: Option<bool>,
        /// PASSWORD, if told; `Some(None)`: NULL.
        password: Option<Option<Password>>,
    },
    /// ALTER ROLE … SET and RESET of a setting: `kanon.suspended`, `kanon.budget_epsilon`, `kanon.budget_delta`, `kanon.certificate`.
    SetRole {
        /// Which.
        name: String,
        /// Which setting, in lower case.
        setting: String,
        /// `None`: RESET, or DEFAULT.
        value: Option<String>,
    },
    /// ALTER SERVER … OPTIONS, of a peer.
    AlterServer {
        /// The peer.
        name: String,
        /// The options with their values; `None`: DROP.
        options: Vec<(String, Option<String>)>,
    },
    /// ALTER SYSTEM SET and RESET.
    AlterSystem {
        /// Which setting, in lower case.
        setting: String,
        /// `None`: RESET, or DEFAULT.
        value: Option<String>,
    },
    /// DROP ROLE, DROP USER.
    DropRole {
        /// What is not there is passed over.
        if_exists: bool,
        /// Which.
        names: Vec<String>,
    },
    /// GRANT and REVOKE of SELECT.
    Select {
        /// GRANT, not REVOKE.
        grant: bool,
        /// Only these columns; none: the tables.
        columns: Vec<String>,
        /// On what.
        on: Relations,
        /// To or from whom; `public` for everybody.
        grantees: Vec<String>,
    },
    /// GRANT and REVOKE of USAGE ON SCHEMA.
    Usage {
        /// GRANT, not REVOKE.
        grant: bool,
        /// Which schemas.
        schemas: Vec<String>,
        /// To or from whom; `public` for everybody.
        grantees: Vec<String>,
    },
    /// GRANT and REVOKE of roles.
    Membership {
        /// GRANT, not REVOKE.
        grant: bool,
        /// Which roles.
        roles: Vec<String>,
        /// To or from whom.
        members: Vec<String>,
    },
    /// CREATE PRIVACY UNIT.
    CreatePrivacyUnit {
        /// One that is there already stays.
        if_not_exists: bool,
        /// The kind of unit.
        kind: String,
        /// Its budget.
        options: Vec<(String, String)>,
    },
    /// ALTER PRIVACY UNIT.
    AlterPrivacyUnit {
        /// The kind of unit.
        kind: String,
        /// FOR: whose budget; `None`: everybody's together.
        principal: Option<String>,
        /// What to change.
        change: BudgetChange,
    },
    /// DROP PRIVACY UNIT.
    DropPrivacyUnit {
        /// What is not there is passed over.
        if_exists: bool,
        /// Which kinds.
        kinds: Vec<String>,
    },
}

/// What stewards do by functions with effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// `kanon.write_off()`
    WriteOff,
    /// `kanon.exclude_unit(kind, unit)`, or `kanon.include_unit(kind, unit)`
    Exclude {
        /// The kind of unit.
        kind: String,
        /// Which unit, as text.
        unit: String,
        /// Left out, or no longer.
        excluded: bool,
    },
    /// `kanon.approve_change(change)`
    Approve {
        /// Its number.
        change: String,
    },
    /// `kanon.reject_change(change)`
    Reject {
        /// Its number.
        change: String,
    },
}

/// What ALTER PRIVACY UNIT changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetChange {
    /// SET (option = value, …)
    Set(Vec<(String, String)>),
    /// RESET (option, …)
    Reset(Vec<String>),
}

/// A table's name: of this database, with its schema if told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// `None`: `public`.
    pub schema: Option<String>,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// What SELECT is granted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relations {
    /// These tables.
    Tables(Vec<TableName>),
    /// Every table there is now in these schemas.
    AllInSchemas(Vec<String>),
}

/// CREATE EXTERNAL TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct ExternalTable {
    /// Its name.
    pub name: TableName,
    /// A table that is there already stays.
    pub if_not_exists: bool,
    /// Its columns if they are not to be found out.
    pub columns: Vec<ColumnDefinition>,
    /// STORED AS, in lower case.
    pub format: String,
    /// LOCATION: a URL or a path.
    pub location: String,
    /// OPTIONS: names in lower case, values as text.
    pub options: Vec<(String, String)>,
}

/// A column as CREATE EXTERNAL TABLE declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// NOT NULL.
    pub not_null: bool,
}

/// A password: shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself, to make a verifier of.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl StewardStatement {
    /// PostgreSQL's command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            StewardStatement::CreateExternalTable(_) => "CREATE EXTERNAL TABLE",
            StewardStatement::DropTable { .. } => "DROP TABLE",
            StewardStatement::AlterTable { .. } => "ALTER TABLE",
            StewardStatement::Comment { .. } => "COMMENT",
            StewardStatement::CreateRole { .. } => "CREATE ROLE",
            StewardStatement::AlterRole { .. } | StewardStatement::SetRole { .. } => "ALTER ROLE",
            StewardStatement::AlterServer { .. } => "ALTER SERVER",
            StewardStatement::AlterSystem { .. } => "ALTER SYSTEM",
            StewardStatement::DropRole { .. } => "DROP ROLE",
            StewardStatement::Select { grant: true, .. } | StewardStatement::Usage { grant: true, .. } => "GRANT",
            StewardStatement::Select { grant: false, .. } | StewardStatement::Usage { grant: false, .. } => "REVOKE",
            StewardStatement::Membership { grant: true, .. } => "GRANT ROLE",
            StewardStatement::Membership { grant: false, .. } => "REVOKE ROLE",
            StewardStatement::CreatePrivacyUnit { .. } => "CREATE PRIVACY UNIT",
            StewardStatement::AlterPrivacyUnit { .. } => "ALTER PRIVACY UNIT",
            StewardStatement::DropPrivacyUnit { .. } => "DROP PRIVACY UNIT",
        }
    }
}

/// What else PostgreSQL can create, alter and drop, and a node, which only reads, cannot.
const OBJECTS: [&[&str]; 37] = [
    &["table"],
    &["view"],
    &["materialized", "view"],
    &["index"],
    &["schema"],
    &["database"],
    &["sequence"],
    &["type"],
    &["domain"],
    &["function"],
    &["procedure"],
    &["routine"],
    &["aggregate"],
    &["operator"],
    &["cast"],
    &["collation"],
    &["conversion"],
    &["extension"],
    &["trigger"],
    &["event", "trigger"],
    &["rule"],
    &["policy"],
    &["publication"],
    &["subscription"],
    &["statistics"],
    &["tablespace"],
    &["language"],
    &["group"],
    &["access", "method"],
    &["text", "search"],
    &["transform"],
    &["default", "privileges"],
    &["system"],
    &["large", "object"],
    &["owned"],
    &["constraint", "trigger"],
    &["foreign", "data", "wrapper"],
];

/// What will be, but is not yet.
const LATER: [(&[&str], &str); 4] = [
    (&["server"], "foreign servers"),
    (&["user", "mapping"], "user mappings"),
    (&["foreign", "table"], "foreign tables"),
    (&["function"], "user-defined functions"),
];

/// Reads a statement that begins with CREATE, ALTER, DROP, GRANT, REVOKE or COMMENT.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Statement> {
    let verb = reader.name()?;
    let read = match verb.as_str() {
        "create" if reader.take(&["external", "table"]) => external_table(reader),
        "create" if reader.take(&["privacy", "unit"]) => units::create(reader),
        "alter" if reader.take(&["privacy", "unit"]) => units::alter(reader),
        "drop" if reader.take(&["privacy", "unit"]) => units::drop(reader),
        "create" | "alter" if is_role(reader) => {
            reader.keep_secrets();
            let user = reader.name()? == "user";
            if verb == "create" { roles::create_role(reader, user) } else { roles::alter_role(reader) }
        }
        "alter" if reader.take(&["server"]) => settings::server(reader),
        "alter" if reader.take(&["system"]) => settings::system(reader),
        "create" if temporary::is_create(reader) => return temporary::create(reader),
        "drop" if is_role(reader) => {
            reader.advance();
            let if_exists = reader.take(&["if", "exists"]);
            let names = reader.list(Reader::name)?;
            Ok(StewardStatement::DropRole { if_exists, names })
        }
        "drop" if reader.sees("table") || reader.sees_all(&["external", "table"]) => drop_table(reader),
        "alter" if reader.take(&["table"]) => alter_table(reader),
        "comment" => comment(reader),
        "grant" => grant(reader, true),
        "revoke" => grant(reader, false),
        _ => return refused(reader, &verb).map(Statement::Refused),
    };
    match read {
        Ok(statement) => reader.finish(Statement::Steward(statement)),
        Err(error) if error.state == Sqlstate::FeatureNotSupported => Ok(Statement::Refused(error)),
        Err(error) => Err(error),
    }
}

fn is_role(reader: &Reader<'_>) -> bool {
    reader.sees("role") || (reader.sees("user") && !reader.sees_all(&["user", "mapping"]))
}

/// The refusal of CREATE, ALTER or DROP of something else.
fn refused(reader: &mut Reader<'_>, verb: &str) -> Result<Error> {
    let replace = reader.take(&["or", "replace"]);
    while reader
        .take_any(&["temp", "temporary", "global", "local", "unlogged", "unique", "recursive", "trusted"])
        .is_some()
    {}
    if let Some((_, what)) = LATER.iter().find(|(words, _)| reader.sees_all(words)) {
        return Ok(Error::unsupported(format!("{what} are not supported yet")));
    }
    let Some(words) = OBJECTS.iter().find(|words| reader.sees_all(words)) else {
        return Err(reader.syntax_error());
    };
    let tag = format!("{} {}", verb, words.join(" ")).to_uppercase();
    let error = Error::new(Sqlstate::ReadOnlyTransaction, format!("cannot execute {tag} in a read-only transaction"));
    Ok(if tag == "CREATE TABLE" && !replace {
        error.hint(
            "A node reads data where it is: CREATE EXTERNAL TABLE … STORED AS … LOCATION '…'. A table of your session is CREATE TEMP TABLE.",
        )
    } else {
        error
    })
}

pub(super) fn table_name(reader: &mut Reader<'_>) -> Result<TableName> {
    let start = reader.fork();
    table_name_of(reader.dotted_name()?).ok_or_else(|| start.syntax_error())
}

pub(super) fn table_name_of(mut parts: Vec<String>) -> Option<TableName> {
    if parts.len() == 3 && parts.first().is_some_and(|database| database == "kanon") {
        parts.remove(0);
    }
    let name = parts.pop()?;
    let schema = parts.pop();
    parts.is_empty().then_some(TableName { schema, name })
}

fn external_table(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    let if_not_exists = reader.take(&["if", "not", "exists"]);
    let name = table_name(reader)?;
    let columns = if reader.sees_sign(&Token::LParen) { reader.parenthesized(column_definition)? } else { Vec::new() };
    let mut format = None;
    let mut location = None;
    let mut options = Vec::new();
    while !reader.at_end() {
        if reader.take(&["stored", "as"]) {
            format = Some(reader.value()?.to_lowercase());
        } else if reader.take(&["location"]) {
            location = Some(reader.string()?);
        } else if reader.take(&["options"]) {
            options.extend(reader.parenthesized(option)?);
        } else if reader.take(&["with", "header", "row"]) {
            options.push(("header".to_owned(), "true".to_owned()));
        } else if reader.sees("partitioned") || reader.sees_all(&["with", "order"]) {
            return Err(Error::unsupported("PARTITIONED BY and WITH ORDER are not supported"));
        } else {
            return Err(reader.syntax_error());
        }
    }
    let (Some(format), Some(location)) = (format, location) else {
        return Err(Error::new(Sqlstate::SyntaxError, "CREATE EXTERNAL TABLE needs STORED AS and LOCATION")
            .hint("CREATE EXTERNAL TABLE patients STORED AS PARQUET LOCATION '/data/patients.parquet'."));
    };
    Ok(StewardStatement::CreateExternalTable(ExternalTable { name, if_not_exists, columns, format, location, options }))
}

fn column_definition(reader: &mut Reader<'_>) -> Result<ColumnDefinition> {
    let name = reader.name()?;
    let data_type = reader.data_type()?;
    let not_null = reader.take(&["not", "null"]);
    if !not_null {
        reader.take(&["null"]);
    }
    Ok(ColumnDefinition { name, data_type, not_null })
}

/// `name = value`, `name value`, or `name` alone for true. Names may be in quotes and have dots.
fn option(reader: &mut Reader<'_>) -> Result<(String, String)> {
    let name = match reader.string() {
        Ok(name) => name.to_lowercase(),
        Err(_) => reader.dotted_name()?.join("."),
    };
    reader.take_sign(&Token::Eq);
    let alone = reader.sees_sign(&Token::Comma) || reader.sees_sign(&Token::RParen);
    let value = if alone { "true".to_owned() } else { reader.value()? };
    Ok((name, value))
}

fn drop_table(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    reader.take(&["external"]);
    reader.expect(&["table"])?;
    let if_exists = reader.take(&["if", "exists"]);
    let names = reader.list(table_name)?;
    reader.take_any(&["cascade", "restrict"]);
    Ok(StewardStatement::DropTable { if_exists, names })
}

fn alter_table(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    let if_exists = reader.take(&["if", "exists"]);
    reader.take(&["only"]);
    let name = table_name(reader)?;
    let changes = reader.list(table_change)?;
    Ok(StewardStatement::AlterTable { if_exists, name, changes })
}

fn table_change(reader: &mut Reader<'_>) -> Result<TableChange> {
    if reader.sees("set") && reader.peek_after(1).is_some_and(|l| l.token.token == Token::LParen) {
        reader.advance();
        return Ok(TableChange::Set(reader.parenthesized(option)?));
    }
    if reader.take(&["reset"]) {
        return Ok(TableChange::Reset(reader.parenthesized(Reader::name)?));
    }
    if reader.take(&["alter"]) {
        reader.take(&["column"]);
        let column = reader.name()?;
        if reader.sees("set") && reader.peek_after(1).is_some_and(|l| l.token.token == Token::LParen) {
            reader.advance();
            return Ok(TableChange::SetColumn(column, reader.parenthesized(option)?));
        }
        if reader.take(&["reset"]) {
            return Ok(TableChange::ResetColumn(column, reader.parenthesized(Reader::name)?));
        }
        if reader.take_any(&["set", "type", "drop", "add"]).is_none() {
            return Err(reader.syntax_error());
        }
    } else if reader
        .take_any(&["add", "drop", "rename", "owner", "set", "enable", "disable", "validate", "cluster", "inherit"])
        .is_none()
    {
        return Err(reader.syntax_error());
    }
    Err(Error::unsupported("ALTER TABLE changes a table's options and its columns' options only")
        .hint("ALTER TABLE … SET (…), RESET (…), ALTER COLUMN … SET (…), ALTER COLUMN … RESET (…)."))
}

fn comment(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    reader.expect(&["on"])?;
    let on_column = match reader.take_any(&["table", "column"]) {
        Some(what) => what == "column",
        None if reader.peek().is_some_and(|l| l.word().is_some()) => {
            return Err(Error::unsupported("COMMENT ON is supported for tables and columns"));
        }
        None => return Err(reader.syntax_error()),
    };
    let start = reader.fork();
    let mut parts = reader.dotted_name()?;
    let column = if on_column { parts.pop() } else { None };
    let table = table_name_of(parts).ok_or_else(|| start.syntax_error())?;
    reader.expect(&["is"])?;
    let text = if reader.take(&["null"]) { None } else { Some(reader.string()?) };
    Ok(StewardStatement::Comment { table, column, text })
}

fn grant(reader: &mut Reader<'_>, grant: bool) -> Result<StewardStatement> {
    if !grant && (reader.sees_all(&["grant", "option"]) || reader.sees_all(&["admin", "option"])) {
        return Err(Error::unsupported("grant options and admin options are not supported"));
    }
    let start = reader.fork();
    let mut columns = Vec::new();
    let what = reader.list(|reader| {
        let privilege = reader.name()?;
        if reader.sees_sign(&Token::LParen) {
            columns.extend(reader.parenthesized(Reader::name)?);
        }
        Ok(privilege)
    })?;
    if !columns.is_empty() && what.len() > 1 {
        return Err(Error::unsupported("columns are granted in a statement of their own")
            .hint("GRANT SELECT (a, b) ON t TO …."));
    }
    if let [all] = what.as_slice()
        && all == "all"
    {
        reader.take(&["privileges"]);
    }
    let statement = if reader.take(&["on", "schema"]) {
        if !columns.is_empty() || !matches!(what.as_slice(), [one] if one == "usage" || one == "all") {
            return Err(Error::unsupported("schemas have one privilege: USAGE")
                .hint("GRANT USAGE ON SCHEMA federation TO …. Tables are registered by stewards."));
        }
        let schemas = reader.list(Reader::name)?;
        StewardStatement::Usage { grant, schemas, grantees: grantees(reader, grant)? }
    } else if reader.take(&["on"]) {
        if let Some(other) = what.iter().find(|w| !matches!(w.as_str(), "select" | "all")) {
            const PRIVILEGES: [&str; 13] = [
                "insert",
                "update",
                "delete",
                "truncate",
                "references",
                "trigger",
                "usage",
                "create",
                "connect",
                "temporary",
                "temp",
                "execute",
                "maintain",
            ];
            return Err(if PRIVILEGES.contains(&other.as_str()) {
                Error::unsupported(format!("privilege {} is not supported", other.to_uppercase()))
                    .hint("Tables have one privilege: SELECT.")
            } else {
                start.syntax_error()
            });
        }
        let on = relations(reader)?;
        if !columns.is_empty() && matches!(on, Relations::AllInSchemas(_)) {
            return Err(Error::unsupported("columns are granted of tables by name"));
        }
        StewardStatement::Select { grant, columns, on, grantees: grantees(reader, grant)? }
    } else {
        if !columns.is_empty() {
            return Err(start.syntax_error());
        }
        StewardStatement::Membership { grant, roles: what, members: grantees(reader, grant)? }
    };
    if reader.sees("with") || reader.sees("granted") {
        return Err(Error::unsupported("grant options and GRANTED BY are not supported"));
    }
    if !grant {
        reader.take_any(&["cascade", "restrict"]);
    }
    Ok(statement)
}

fn relations(reader: &mut Reader<'_>) -> Result<Relations> {
    if reader.take(&["all", "tables", "in", "schema"]) {
        return Ok(Relations::AllInSchemas(reader.list(Reader::name)?));
    }
    if let Some(kind) = reader.take_any(&[
        "database",
        "sequence",
        "function",
        "foreign",
        "language",
        "tablespace",
        "type",
        "domain",
        "all",
    ]) {
        return Err(Error::unsupported(format!("grants on a {kind} are not supported")).hint("Grant SELECT on tables."));
    }
    reader.take(&["table"]);
    Ok(Relations::Tables(reader.list(table_name)?))
}

fn grantees(reader: &mut Reader<'_>, grant: bool) -> Result<Vec<String>> {
    reader.expect(&[if grant { "to" } else { "from" }])?;
    reader.list(|reader| {
        reader.take(&["group"]);
        if ["current_user", "current_role", "session_user"].iter().any(|word| reader.sees(word)) {
            return Err(Error::unsupported("name the role that is meant"));
        }
        reader.name()
    })
}

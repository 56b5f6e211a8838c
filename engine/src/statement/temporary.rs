//! Statements about temporary tables: CREATE TEMP TABLE, SELECT INTO TEMP, INSERT, DELETE, TRUNCATE.
//!
//! Which table a name means, the session knows: what writes any other than a temporary one is refused there, as all that writes once was here,
//! whatever else it says. So what is wrong with the rest of it is kept until the table is known.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName, ObjectNamePart, Query, SelectInto, SetExpr};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::front::{self, read_only};
use super::reader::{Reader, quoted};
use super::steward::{TableName, table_name, table_name_of};
use super::{Statement, ignored, lexer};
use crate::error::{Error, Result, Sqlstate};

/// The schema by which every session names its own temporary tables.
pub const TEMPORARY_SCHEMA: &str = "pg_temp";

/// A statement about temporary tables.
#[derive(Debug, Clone)]
pub enum Temporary {
    /// CREATE TEMP TABLE with columns.
    Create(Create),
    /// CREATE TEMP TABLE … AS, and SELECT … INTO TEMP.
    CreateAs(CreateAs),
    /// INSERT.
    Insert(Insert),
    /// DELETE.
    Delete(Delete),
    /// TRUNCATE of these.
    Truncate(Vec<TableName>),
    /// UPDATE of it.
    Update(TableName),
}

/// What both kinds of CREATE TEMP TABLE say.
#[derive(Debug, Clone)]
pub struct NewTable {
    /// Its name.
    pub name: TableName,
    /// A table that is there already stays.
    pub if_not_exists: bool,
    /// What COMMIT does with it.
    pub on_commit: OnCommit,
}

/// What COMMIT does with a temporary table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCommit {
    /// Nothing.
    #[default]
    PreserveRows,
    /// Its rows go.
    DeleteRows,
    /// It goes.
    Drop,
}

/// CREATE TEMP TABLE with columns.
#[derive(Debug, Clone)]
pub struct Create {
    /// Its name and how long it stays.
    pub table: NewTable,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Whether PRIMARY KEY or UNIQUE was said, which nothing checks.
    pub has_keys: bool,
}

/// A column as it is declared.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// NOT NULL, or of the primary key.
    pub not_null: bool,
    /// DEFAULT.
    pub default: Option<Expr>,
}

/// CREATE TEMP TABLE … AS.
#[derive(Debug, Clone)]
pub struct CreateAs {
    /// Its name and how long it stays.
    pub table: NewTable,
    /// Names of its columns; those that are not told are the query's.
    pub columns: Vec<String>,
    /// What it holds.
    pub query: Box<Query>,
    /// Not WITH NO DATA.
    pub with_data: bool,
}

/// INSERT.
#[derive(Debug, Clone)]
pub struct Insert {
    /// Into which table.
    pub table: TableName,
    /// What, or what is wrong with it.
    pub rows: Result<Inserted>,
}

/// What is inserted.
#[derive(Debug, Clone)]
pub struct Inserted {
    /// Into which columns; none told: from the first on.
    pub columns: Vec<String>,
    /// The rows; `None`: DEFAULT VALUES.
    pub query: Option<Box<Query>>,
}

/// DELETE.
#[derive(Debug, Clone)]
pub struct Delete {
    /// From which table.
    pub table: TableName,
    /// The rows that stay, or what is wrong with the condition. `None`: all go.
    pub kept: Result<Option<Box<Query>>>,
}

impl Temporary {
    /// PostgreSQL's command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Temporary::Create(_) => "CREATE TABLE",
            Temporary::CreateAs(_) => "SELECT",
            Temporary::Insert(_) => "INSERT",
            Temporary::Delete(_) => "DELETE",
            Temporary::Truncate(_) => "TRUNCATE TABLE",
            Temporary::Update(_) => "UPDATE",
        }
    }

    /// The refusal where a table is no temporary one.
    pub fn refusal(&self) -> Error {
        read_only(match self {
            Temporary::Create(_) | Temporary::CreateAs(_) => "CREATE TABLE",
            other => other.tag(),
        })
    }

    /// The query in it.
    pub fn query(&self) -> Option<&Query> {
        match self {
            Temporary::CreateAs(create) => Some(&create.query),
            Temporary::Insert(insert) => insert.rows.as_ref().ok()?.query.as_deref(),
            Temporary::Delete(delete) => delete.kept.as_ref().ok()?.as_deref(),
            Temporary::Create(_) | Temporary::Truncate(_) | Temporary::Update(_) => None,
        }
    }
}

/// Whether what follows CREATE is a temporary table: by its words, or by its schema.
pub(super) fn is_create(reader: &Reader<'_>) -> bool {
    let at = usize::from(reader.sees("global") || reader.sees("local"));
    let is = |at: usize, word: &str| reader.peek_after(at).is_some_and(|lexeme| lexeme.is(word));
    if (is(at, "temp") || is(at, "temporary")) && is(at + 1, "table") {
        return true;
    }
    let name = if is(1, "if") { 4 } else { 1 };
    let is_dot = reader.peek_after(name + 1).is_some_and(|lexeme| lexeme.token.token == Token::Period);
    is(0, "table") && is(name, TEMPORARY_SCHEMA) && is_dot
}

/// Reads what follows CREATE.
pub(super) fn create(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.take_any(&["global", "local"]);
    reader.take_any(&["temp", "temporary"]);
    reader.expect(&["table"])?;
    let if_not_exists = reader.take(&["if", "not", "exists"]);
    let name = table_name(reader)?;
    let mut names = Vec::new();
    let mut columns = None;
    if reader.sees_sign(&Token::LParen) {
        let is_list =
            reader.peek_after(2).is_some_and(|l| l.token.token == Token::Comma || l.token.token == Token::RParen);
        if is_list {
            names = reader.parenthesized(Reader::name)?;
        } else {
            match definitions(reader) {
                Ok(read) => columns = Some(read),
                Err(error) if error.state == Sqlstate::FeatureNotSupported => return Ok(Statement::Refused(error)),
                Err(error) => return Err(error),
            }
        }
    }
    let mut on_commit = OnCommit::PreserveRows;
    if reader.take(&["on", "commit"]) {
        on_commit = if reader.take(&["drop"]) {
            OnCommit::Drop
        } else if reader.take(&["delete", "rows"]) {
            OnCommit::DeleteRows
        } else {
            reader.expect(&["preserve", "rows"])?;
            OnCommit::PreserveRows
        };
    }
    for word in ["inherits", "partition", "using", "with", "without", "tablespace"] {
        if reader.sees(word) {
            let what = format!("{} of a temporary table is not supported", word.to_uppercase());
            return Ok(Statement::Refused(Error::unsupported(what)));
        }
    }
    let table = NewTable { name, if_not_exists, on_commit };
    if let Some(definitions) = columns {
        let Definitions { columns, has_keys } = definitions;
        return reader.finish(Statement::Temporary(Box::new(Temporary::Create(Create { table, columns, has_keys }))));
    }
    reader.expect(&["as"])?;
    if reader.sees("execute") {
        return Ok(Statement::Refused(Error::unsupported("CREATE TABLE … AS EXECUTE is not supported")));
    }
    let with_data = !reader.drop_last(&["with", "no", "data"]);
    if with_data {
        reader.drop_last(&["with", "data"]);
    }
    Ok(match front::query(reader)? {
        Ok(query) => {
            let create = CreateAs { table, columns: names, query, with_data };
            Statement::Temporary(Box::new(Temporary::CreateAs(create)))
        }
        Err(error) => Statement::Refused(error),
    })
}

struct Definitions {
    columns: Vec<Column>,
    has_keys: bool,
}

/// Columns and constraints in parentheses.
fn definitions(reader: &mut Reader<'_>) -> Result<Definitions> {
    let mut columns: Vec<Column> = Vec::new();
    let mut keys: Vec<String> = Vec::new();
    let mut has_keys = false;
    let unsupported = |what: &str| Error::unsupported(format!("{what} in a temporary table is not supported"));
    reader.parenthesized(|reader| {
        if reader.sees("constraint") {
            reader.advance();
            reader.name()?;
        }
        let is_constraint = |reader: &Reader<'_>| reader.peek_after(1).is_some_and(|l| l.token.token == Token::LParen);
        if reader.take(&["primary", "key"]) {
            has_keys = true;
            keys.extend(reader.parenthesized(Reader::name)?);
            return Ok(());
        }
        if reader.sees("unique") && is_constraint(reader) {
            reader.advance();
            has_keys = true;
            reader.parenthesized(Reader::name)?;
            return Ok(());
        }
        for (word, what) in [("check", "CHECK"), ("exclude", "EXCLUDE")] {
            if reader.sees(word) && is_constraint(reader) {
                return Err(unsupported(what));
            }
        }
        if reader.sees_all(&["foreign", "key"]) {
            return Err(unsupported("FOREIGN KEY"));
        }
        if reader.sees("like") {
            return Err(unsupported("LIKE").hint("CREATE TEMP TABLE … AS SELECT * FROM … WITH NO DATA."));
        }
        let mut column =
            Column { name: reader.name()?, data_type: reader.data_type()?, not_null: false, default: None };
        loop {
            if reader.take(&["null"]) {
                continue;
            }
            if reader.take(&["constraint"]) {
                reader.name()?;
            } else if reader.take(&["not", "null"]) {
                column.not_null = true;
            } else if reader.take(&["default"]) {
                column.default = Some(reader.simple_expression()?);
            } else if reader.take(&["primary", "key"]) {
                (column.not_null, has_keys) = (true, true);
            } else if reader.take(&["unique"]) {
                has_keys = true;
            } else if let Some(word) = reader.take_any(&["check", "references", "generated", "collate"]) {
                return Err(unsupported(&word.to_uppercase()));
            } else {
                break;
            }
        }
        columns.push(column);
        Ok(())
    })?;
    for key in keys {
        let column = columns.iter_mut().find(|column| column.name == key).ok_or_else(|| {
            Error::new(Sqlstate::UndefinedColumn, format!("column \"{key}\" named in key does not exist"))
        })?;
        column.not_null = true;
    }
    Ok(Definitions { columns, has_keys })
}

/// Reads INSERT, UPDATE, DELETE or TRUNCATE; `None` if it cannot even be told of which table.
pub(super) fn write(reader: &mut Reader<'_>, verb: &str) -> Option<Temporary> {
    reader.advance();
    match verb {
        "insert" => {
            reader.expect(&["into"]).ok()?;
            let table = table_name(reader).ok()?;
            let rows = inserted(reader);
            Some(Temporary::Insert(Insert { table, rows }))
        }
        "delete" => {
            reader.expect(&["from"]).ok()?;
            reader.take(&["only"]);
            let table = table_name(reader).ok()?;
            let kept = kept(reader, &table);
            Some(Temporary::Delete(Delete { table, kept }))
        }
        "truncate" => {
            reader.take(&["table"]);
            reader.take(&["only"]);
            let tables = reader
                .list(|reader| {
                    let table = table_name(reader)?;
                    reader.take_sign(&Token::Mul);
                    Ok(table)
                })
                .ok()?;
            if !reader.take(&["restart", "identity"]) {
                reader.take(&["continue", "identity"]);
            }
            reader.take_any(&["cascade", "restrict"]);
            reader.finish(Temporary::Truncate(tables)).ok()
        }
        "update" => {
            reader.take(&["only"]);
            table_name(reader).ok().map(Temporary::Update)
        }
        _ => None,
    }
}

/// What follows the table of INSERT.
fn inserted(reader: &mut Reader<'_>) -> Result<Inserted> {
    if reader.take(&["as"]) {
        reader.name()?;
    }
    let is_query = reader.peek_after(1).is_some_and(|l| {
        l.token.token == Token::LParen || ["select", "with", "values", "table"].iter().any(|word| l.is(word))
    });
    let columns = match reader.sees_sign(&Token::LParen) && !is_query {
        true => reader.parenthesized(Reader::name)?,
        false => Vec::new(),
    };
    if reader.sees("overriding") {
        return Err(Error::unsupported("OVERRIDING is not supported"));
    }
    for (words, what) in [(&["on", "conflict"][..], "ON CONFLICT"), (&["returning"], "RETURNING")] {
        if reader.has_outside_parentheses(words) {
            return Err(Error::unsupported(format!("INSERT … {what} is not supported")));
        }
    }
    if reader.take(&["default", "values"]) {
        return reader.finish(Inserted { columns, query: None });
    }
    let query = front::query(reader)??;
    Ok(Inserted { columns, query: Some(query) })
}

/// What follows the table of DELETE: the query of the rows that stay.
fn kept(reader: &mut Reader<'_>, table: &TableName) -> Result<Option<Box<Query>>> {
    reader.take_sign(&Token::Mul);
    let alias = match reader.at_end() || reader.sees("where") || reader.sees("using") || reader.sees("returning") {
        true => None,
        false => {
            reader.take(&["as"]);
            Some(reader.name()?)
        }
    };
    for (word, what) in [("using", "USING"), ("returning", "RETURNING")] {
        if reader.has_outside_parentheses(&[word]) {
            return Err(Error::unsupported(format!("DELETE … {what} is not supported")));
        }
    }
    if reader.at_end() {
        return Ok(None);
    }
    reader.expect(&["where"])?;
    let condition = reader.expression()?;
    reader.end()?;
    let schema = table.schema.as_ref().map_or_else(String::new, |schema| format!("{}.", quoted(schema)));
    let alias = alias.map_or_else(String::new, |alias| format!(" AS {}", quoted(&alias)));
    let text = format!("SELECT * FROM {schema}{}{alias}", quoted(&table.name));
    let tokens = lexer::lex(&text)?;
    let mut query = Reader::new(&text, &tokens).query()?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.selection = Some(Expr::IsNotTrue(Box::new(Expr::Nested(Box::new(condition)))));
    }
    ignored::prepare(&mut query)?;
    Ok(Some(query))
}

/// Takes INTO TEMP out of a query.
pub(super) fn take_into(query: &mut Query) -> Option<NewTable> {
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let SelectInto { temporary, unlogged, table: _, name } = select.into.as_ref()?;
    let name = named(name)?;
    if *unlogged || !(*temporary || name.schema.as_deref() == Some(TEMPORARY_SCHEMA)) {
        return None;
    }
    select.into = None;
    Some(NewTable { name, if_not_exists: false, on_commit: OnCommit::PreserveRows })
}

fn named(name: &ObjectName) -> Option<TableName> {
    let folded = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    let parts = name.0.iter().map(|part: &ObjectNamePart| part.as_ident().map(folded)).collect::<Option<Vec<_>>>()?;
    table_name_of(parts)
}

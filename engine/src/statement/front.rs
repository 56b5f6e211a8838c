//! Which statement a text is, by its first words, and those that the session itself carries out.

use datafusion::sql::sqlparser::ast::{Expr, Query};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::temporary::{CreateAs, Temporary};
use super::{
    Act, Discard, Explain, ExplainFormat, Modes, Prepare, Set, Settings, Statement, Transaction, copy, cursors,
    ignored, steward, temporary,
};
use crate::error::{Error, Result, Sqlstate};

/// Kinds that write, as PostgreSQL names them in its refusal.
const WRITES: [(&str, &str); 5] = [
    ("insert", "INSERT"),
    ("update", "UPDATE"),
    ("delete", "DELETE"),
    ("merge", "MERGE"),
    ("truncate", "TRUNCATE TABLE"),
];

/// PostgreSQL's kinds that have no place at a node.
const UNSUPPORTED: [&str; 16] = [
    "analyze",
    "checkpoint",
    "cluster",
    "do",
    "import",
    "load",
    "lock",
    "notify",
    "reassign",
    "refresh",
    "reindex",
    "security",
    "vacuum",
    "deny",
    "use",
    "describe",
];

/// Reads a statement.
pub(super) fn statement(mut reader: Reader<'_>) -> Result<Statement> {
    reader.drop_semicolon()?;
    let Some(first) = reader.peek() else { return Ok(Statement::Empty) };
    if first.token.token == Token::LParen {
        return query(&mut reader).map(query_or_refusal);
    }
    let Some(word) = first.word() else { return Err(reader.syntax_error()) };
    let word = word.value.to_ascii_lowercase();
    if let Some((verb, tag)) = WRITES.iter().find(|(name, _)| *name == word) {
        return Ok(match temporary::write(&mut reader, verb) {
            Some(written) => Statement::Temporary(Box::new(written)),
            None => Statement::Refused(read_only(tag)),
        });
    }
    if UNSUPPORTED.contains(&word.as_str()) {
        return Ok(Statement::Refused(Error::unsupported(format!("{} is not supported", word.to_uppercase()))));
    }
    match word.as_str() {
        "select" | "with" | "values" | "table" => query_or_into(&mut reader),
        "explain" => explain(&mut reader),
        "set" => set(&mut reader),
        "show" => show(&mut reader),
        "reset" => reset(&mut reader),
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            transaction(&mut reader)
        }
        "prepare" => prepare(&mut reader),
        "execute" => execute(&mut reader),
        "deallocate" => {
            reader.advance();
            if reader.peek_after(1).is_some() {
                reader.expect(&["prepare"])?;
            }
            let name = if reader.take(&["all"]) { None } else { Some(reader.name()?) };
            reader.finish(Statement::Deallocate(name))
        }
        "declare" => cursors::declare(&mut reader),
        "fetch" | "move" => cursors::fetch(&mut reader),
        "close" => {
            reader.advance();
            let name = if reader.take(&["all"]) { None } else { Some(reader.name()?) };
            reader.finish(Statement::Close(name))
        }
        "discard" => discard(&mut reader),
        "copy" => copy::copy(&mut reader),
        "listen" => {
            reader.advance();
            reader.name()?;
            reader.finish(Statement::Listen)
        }
        "unlisten" => {
            reader.advance();
            if !reader.take_sign(&Token::Mul) {
                reader.name()?;
            }
            reader.finish(Statement::Unlisten)
        }
        "call" => call(&mut reader),
        "create" | "alter" | "drop" | "grant" | "revoke" | "comment" => steward::read(&mut reader),
        _ => Err(reader.syntax_error()),
    }
}

/// PostgreSQL's refusal of what writes.
pub(super) fn read_only(tag: &str) -> Error {
    Error::new(Sqlstate::ReadOnlyTransaction, format!("cannot execute {tag} in a read-only transaction"))
        .hint("Only temporary tables can be written: CREATE TEMP TABLE … AS SELECT ….")
}

/// The rest as a query, or why it is refused.
pub(super) fn query(reader: &mut Reader<'_>) -> Result<Result<Box<Query>>> {
    let only = reader.refuse_only();
    let mut query = reader.query()?;
    Ok(only.and_then(|()| ignored::prepare(&mut query)).map(|()| query))
}

/// The rest as a query, or as what SELECT INTO makes.
fn query_or_into(reader: &mut Reader<'_>) -> Result<Statement> {
    let only = reader.refuse_only();
    let mut query = reader.query()?;
    let into = temporary::take_into(&mut query);
    match Act::of_query(&query) {
        Some(Ok(act)) if into.is_none() => return Ok(Statement::Act(Box::new(act))),
        Some(Err(error)) => return Ok(Statement::Refused(error)),
        _ => {}
    }
    let prepared = only.and_then(|()| ignored::prepare(&mut query));
    Ok(match (prepared, into) {
        (Err(error), _) => Statement::Refused(error),
        (Ok(()), None) => Statement::Query(query),
        (Ok(()), Some(table)) => {
            let create = CreateAs { table, columns: Vec::new(), query, with_data: true };
            Statement::Temporary(Box::new(Temporary::CreateAs(create)))
        }
    })
}

fn query_or_refusal(query: Result<Box<Query>>) -> Statement {
    match query {
        Ok(query) => Statement::Query(query),
        Err(error) => Statement::Refused(error),
    }
}

fn explain(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    let mut analyze = false;
    let mut verbose = false;
    let mut privacy = false;
    let mut format = ExplainFormat::Text;
    let is_options = reader.sees_sign(&Token::LParen)
        && reader.peek_after(1).is_some_and(|l| {
            !matches!(l.keyword(), Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE)
                && l.word().is_some()
        });
    if is_options {
        let options = reader.parenthesized(|r| Ok((r.name()?, option_value(r)?)))?;
        for (name, value) in options {
            let on = || on_or_off(&name, value.as_deref());
            match name.as_str() {
                "analyze" | "analyse" => analyze = on()?,
                "verbose" => verbose = on()?,
                "privacy" => privacy = on()?,
                "format" => {
                    format = match value.as_deref() {
                        Some("text") => ExplainFormat::Text,
                        Some("json") => ExplainFormat::Json,
                        _ => {
                            return Ok(Statement::Refused(Error::unsupported(
                                "EXPLAIN answers in the formats TEXT and JSON",
                            )));
                        }
                    }
                }
                // What these ask for is never shown: costs, times and sizes would tell of the data.
                "costs" | "timing" | "summary" | "settings" | "generic_plan" => {
                    on()?;
                }
                "buffers" | "wal" | "memory" | "serialize" => {
                    if on()? {
                        return Ok(Statement::Refused(Error::unsupported(format!(
                            "EXPLAIN ({}) is not supported",
                            name.to_uppercase()
                        ))));
                    }
                }
                _ => return Err(Error::new(Sqlstate::SyntaxError, format!("unrecognized EXPLAIN option \"{name}\""))),
            }
        }
    } else {
        analyze = reader.take(&["analyze"]) || reader.take(&["analyse"]);
        verbose = reader.take(&["verbose"]);
    }
    let starts = reader.peek().map_or(Keyword::NoKeyword, |l| l.keyword());
    if !reader.sees_sign(&Token::LParen)
        && !matches!(starts, Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE)
    {
        // One inside of another is no statement: that also keeps this from recursing as deep as the text is long.
        if reader.sees("explain") {
            return Err(reader.syntax_error());
        }
        return match statement(reader.fork())? {
            Statement::Refused(error) => Ok(Statement::Refused(error)),
            Statement::Temporary(temporary) => Ok(Statement::Refused(temporary.refusal())),
            _ => Ok(Statement::Refused(Error::unsupported("EXPLAIN is supported for queries only"))),
        };
    }
    Ok(match query(reader)? {
        Ok(query) => Statement::Explain(Explain { privacy, analyze, verbose, format, query }),
        Err(error) => Statement::Refused(error),
    })
}

/// The value of an option, if it has one: words in lower case.
pub(super) fn option_value(reader: &mut Reader<'_>) -> Result<Option<String>> {
    match reader.peek().map(|l| &l.token.token) {
        Some(Token::Comma | Token::RParen) | None => Ok(None),
        Some(_) => reader.value().map(Some),
    }
}

/// The value of an option that is on or off; without a value it is on.
pub(super) fn on_or_off(name: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("true" | "on" | "1") => Ok(true),
        Some("false" | "off" | "0") => Ok(false),
        Some(_) => Err(Error::new(Sqlstate::SyntaxError, format!("{name} requires a Boolean value"))),
    }
}

fn set(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    if reader.take(&["session", "characteristics", "as", "transaction"]) {
        let modes = modes(reader)?;
        return reader.finish(Statement::Transaction(Transaction::Set { modes, session: true }));
    }
    let local = reader.take(&["local"]);
    if !local && !reader.sees_all(&["session", "authorization"]) {
        reader.take(&["session"]);
    }
    if reader.take(&["transaction"]) {
        if reader.sees("snapshot") {
            return Ok(Statement::Refused(Error::unsupported("SET TRANSACTION SNAPSHOT is not supported")));
        }
        let modes = modes(reader)?;
        return reader.finish(Statement::Transaction(Transaction::Set { modes, session: false }));
    }
    if reader.sees("constraints") && reader.peek_after(1).is_some_and(|l| l.word().is_some() && !l.is("to")) {
        return Ok(Statement::Refused(Error::unsupported("SET CONSTRAINTS is not supported")));
    }
    let (name, value) = if reader.take(&["time", "zone"]) {
        let value = if reader.take(&["local"]) || reader.take(&["default"]) {
            None
        } else if reader.take(&["interval"]) {
            let value = reader.string()?;
            reader.take(&["hour", "to", "minute"]);
            Some(vec![value])
        } else {
            Some(vec![reader.value()?])
        };
        ("timezone".to_owned(), value)
    } else if reader.take(&["session", "authorization"]) {
        ("session_authorization".to_owned(), value_or_default(reader)?)
    } else if reader.sees("role") && reader.peek_after(1).is_some_and(|l| l.token.token != Token::Eq && !l.is("to")) {
        reader.advance();
        ("role".to_owned(), value_or_default(reader)?)
    } else if reader.take(&["names"]) {
        let value = if reader.at_end() { None } else { value_or_default(reader)? };
        ("client_encoding".to_owned(), value)
    } else if reader.take(&["schema"]) {
        ("search_path".to_owned(), Some(vec![reader.string()?]))
    } else if reader.take(&["xml", "option"]) {
        ("xmloption".to_owned(), Some(vec![reader.value()?]))
    } else {
        let name = reader.dotted_name()?.join(".").to_lowercase();
        if !reader.take(&["to"]) {
            reader.expect_sign(&Token::Eq)?;
        }
        let value = if reader.take(&["default"]) { None } else { Some(reader.list(Reader::value)?) };
        (name, value)
    };
    reader.end()?;
    if name.starts_with("datafusion.") {
        return Ok(Statement::Refused(Error::unsupported(format!("setting \"{name}\" cannot be changed"))));
    }
    Ok(Statement::Set(Set { name, value, local }))
}

fn value_or_default(reader: &mut Reader<'_>) -> Result<Option<Vec<String>>> {
    if reader.take(&["default"]) { Ok(None) } else { Ok(Some(vec![reader.value()?])) }
}

/// The setting that SHOW and RESET name.
fn setting(reader: &mut Reader<'_>) -> Result<Settings> {
    let name = if reader.take(&["all"]) {
        return reader.finish(Settings::All);
    } else if reader.take(&["time", "zone"]) {
        "timezone".to_owned()
    } else if reader.take(&["transaction", "isolation", "level"]) {
        "transaction_isolation".to_owned()
    } else if reader.take(&["session", "authorization"]) {
        "session_authorization".to_owned()
    } else {
        reader.dotted_name()?.join(".").to_lowercase()
    };
    reader.finish(Settings::One(name))
}

fn show(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    setting(reader).map(Statement::Show)
}

fn reset(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    setting(reader).map(Statement::Reset)
}

fn transaction(reader: &mut Reader<'_>) -> Result<Statement> {
    let verb = reader.name()?;
    let work = |reader: &mut Reader<'_>| reader.take_any(&["work", "transaction"]).is_some();
    if matches!(verb.as_str(), "commit" | "rollback") && reader.sees("prepared") {
        return Ok(Statement::Refused(Error::unsupported("prepared transactions are not supported")));
    }
    let statement = match verb.as_str() {
        "begin" => {
            work(reader);
            Transaction::Begin { modes: modes_if_any(reader)?, start: false }
        }
        "start" => {
            reader.expect(&["transaction"])?;
            Transaction::Begin { modes: modes_if_any(reader)?, start: true }
        }
        "commit" | "end" => {
            work(reader);
            Transaction::Commit { chain: chain(reader)? }
        }
        "savepoint" => Transaction::Savepoint(reader.name()?),
        "release" => {
            if reader.peek_after(1).is_some() {
                reader.expect(&["savepoint"])?;
            }
            Transaction::Release(reader.name()?)
        }
        _ => {
            work(reader);
            if verb == "rollback" && reader.take(&["to"]) {
                if reader.peek_after(1).is_some() {
                    reader.expect(&["savepoint"])?;
                }
                Transaction::RollbackTo(reader.name()?)
            } else {
                Transaction::Rollback { chain: chain(reader)? }
            }
        }
    };
    reader.finish(Statement::Transaction(statement))
}

fn chain(reader: &mut Reader<'_>) -> Result<bool> {
    if !reader.take(&["and"]) {
        return Ok(false);
    }
    let no = reader.take(&["no"]);
    reader.expect(&["chain"])?;
    Ok(!no)
}

fn modes_if_any(reader: &mut Reader<'_>) -> Result<Modes> {
    if reader.at_end() { Ok(Modes::default()) } else { modes(reader) }
}

fn modes(reader: &mut Reader<'_>) -> Result<Modes> {
    let mut modes = Modes::default();
    loop {
        if reader.take(&["isolation", "level"]) {
            modes.isolation = Some(if reader.take(&["serializable"]) {
                "serializable"
            } else if reader.take(&["repeatable", "read"]) {
                "repeatable read"
            } else if reader.take(&["read", "committed"]) {
                "read committed"
            } else {
                reader.expect(&["read", "uncommitted"])?;
                "read uncommitted"
            });
        } else if reader.take(&["read", "only"]) {
            modes.read_only = Some(true);
        } else if reader.take(&["read", "write"]) {
            modes.read_only = Some(false);
        } else if reader.take(&["not", "deferrable"]) {
            modes.deferrable = Some(false);
        } else {
            reader.expect(&["deferrable"])?;
            modes.deferrable = Some(true);
        }
        reader.take_sign(&Token::Comma);
        if reader.at_end() {
            return Ok(modes);
        }
    }
}

fn prepare(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    if reader.sees("transaction") {
        return Ok(Statement::Refused(Error::unsupported("prepared transactions are not supported")));
    }
    let name = reader.name()?;
    let types = if reader.sees_sign(&Token::LParen) { reader.parenthesized(Reader::data_type)? } else { Vec::new() };
    reader.expect(&["as"])?;
    let text = reader.rest().to_owned();
    if reader.sees("prepare") || reader.sees("explain") {
        return Err(reader.syntax_error());
    }
    match statement(reader.fork())? {
        Statement::Query(_) => Ok(Statement::Prepare(Prepare { name, types, text })),
        Statement::Temporary(temporary) if matches!(*temporary, Temporary::Insert(_) | Temporary::Delete(_)) => {
            Ok(Statement::Prepare(Prepare { name, types, text }))
        }
        Statement::Act(_) => Ok(Statement::Refused(
            Error::unsupported("functions with effects cannot be prepared by PREPARE")
                .hint("Call them directly; drivers can bind parameters to the call."),
        )),
        Statement::Refused(error) => Ok(Statement::Refused(error)),
        _ => Err(reader.syntax_error()),
    }
}

fn execute(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    let name = reader.name()?;
    let arguments =
        if reader.sees_sign(&Token::LParen) { reader.parenthesized(Reader::expression)? } else { Vec::new() };
    reader.finish(Statement::Execute { name, arguments })
}

fn discard(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    let what = match reader.take_any(&["all", "plans", "sequences", "temp", "temporary"]) {
        Some("all") => Discard::All,
        Some("plans") => Discard::Plans,
        Some("sequences") => Discard::Sequences,
        Some(_) => Discard::Temp,
        None => return Err(reader.syntax_error()),
    };
    reader.finish(Statement::Discard(what))
}

fn call(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    let start = reader.fork();
    match reader.expression()? {
        Expr::Function(function) => {
            let act = Act::of_call(&function).transpose().map(|act| act.map(Box::new).map(Statement::Act));
            match act {
                Ok(act) => reader.finish(act.unwrap_or_else(|| Statement::Call(Box::new(function)))),
                Err(error) => Ok(Statement::Refused(error)),
            }
        }
        _ => Err(start.syntax_error()),
    }
}

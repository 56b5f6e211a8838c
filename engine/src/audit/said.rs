//! What a statement said, for the log: its text with placeholders for literals, and the literals apart.
//!
//! Texts are written from the parsed statement, never cut out of what a client sent: what was not parsed is not kept, since nobody can tell where in it a
//! password stands. Of that only the length is told: even a digest would let a short password be guessed.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName, Query, Value, ValueWithSpan, VisitMut, VisitorMut};

use super::stewards;
use crate::error::Result;
use crate::federation::invite::PREFIX;
use crate::statement::{Act, Argument, Statement, Temporary, on_large_stack};

/// The longest text of a statement in the log, in bytes: of longer ones the beginning.
const MOST_TEXT: usize = 16 << 10;
/// The most bytes of a statement's literals that are kept.
const MOST_LITERALS: usize = 64 << 10;
/// Statements up to this many bytes of text are looked at where they are; longer ones on a large stack.
const SHORT: usize = 2_048;

/// A statement, and once somebody needs it what the log says of it. Clones of a prepared statement share it.
pub(crate) struct Said {
    statement: Arc<Statement>,
    /// Of the text that was sent.
    bytes: usize,
    /// EXECUTE, if that runs it.
    executed_by: Option<Arc<Statement>>,
    normal: OnceLock<Normal>,
}

/// A statement in the form of the log.
#[derive(Debug, Default)]
pub(crate) struct Normal {
    pub(crate) text: String,
    pub(crate) literals: Vec<String>,
    /// The names of relations in it, with their schemas if they were told.
    pub(crate) relations: Vec<Vec<String>>,
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said(..)")
    }
}

impl Said {
    /// What a statement of so many bytes of text said.
    pub(crate) fn of(statement: &Arc<Statement>, bytes: usize) -> Arc<Said> {
        Arc::new(Said { statement: Arc::clone(statement), bytes, executed_by: None, normal: OnceLock::new() })
    }

    /// What is not a statement: a constant text.
    pub(crate) fn text(text: &str) -> Arc<Said> {
        let normal = OnceLock::from(Normal { text: text.to_owned(), ..Normal::default() });
        Arc::new(Said { statement: Arc::new(Statement::Empty), bytes: 0, executed_by: None, normal })
    }

    /// EXECUTE of a statement: its text is that one's, and its literals are those of both.
    pub(crate) fn run_by(execute: &Arc<Said>, inner: &Arc<Said>) -> Arc<Said> {
        Arc::new(Said {
            statement: Arc::clone(&inner.statement),
            bytes: inner.bytes,
            executed_by: Some(Arc::clone(&execute.statement)),
            normal: OnceLock::new(),
        })
    }

    /// The statement.
    pub(crate) fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Its form in the log, made once.
    ///
    /// # Errors
    /// If no thread can be had.
    pub(crate) async fn normal(self: &Arc<Self>) -> Result<&Normal> {
        if self.normal.get().is_none() {
            if self.bytes <= SHORT {
                let _ = self.normal.set(self.make());
            } else {
                let said = Arc::clone(self);
                on_large_stack(move || drop(said.normal.set(said.make()))).await?;
            }
        }
        Ok(self.normal.get_or_init(Normal::default))
    }
}

impl Said {
    fn make(&self) -> Normal {
        let mut made = normal(&self.statement, self.bytes);
        if let Some(execute) = &self.executed_by {
            made.literals.extend(normal(execute, 0).literals);
        }
        made
    }
}

/// The literals of a statement and of its parameters as they are sealed: a JSON list of texts. `None` if there are none.
pub(crate) fn literals(normal: &Normal, values: &[ScalarValue]) -> Option<String> {
    if normal.literals.is_empty() && values.is_empty() {
        return None;
    }
    let values = values.iter().enumerate().map(|(i, value)| scrubbed(&format!("${} = {value}", i + 1)));
    let mut kept = Vec::new();
    let mut bytes = 0;
    for literal in normal.literals.iter().cloned().chain(values) {
        bytes += literal.len();
        if bytes > MOST_LITERALS {
            kept.push("…".to_owned());
            break;
        }
        kept.push(literal);
    }
    serde_json::to_string(&kept).ok()
}

fn normal(statement: &Statement, bytes: usize) -> Normal {
    let mut found = Found::default();
    let text = match statement {
        Statement::Query(query) => found.query(query),
        Statement::Explain(explain) => {
            format!("EXPLAIN {}{}", if explain.privacy { "(PRIVACY) " } else { "" }, found.query(&explain.query))
        }
        Statement::Copy(copy) => format!("COPY ({}) TO STDOUT", found.query(&copy.query)),
        Statement::Declare(declare) => {
            format!("DECLARE {} CURSOR FOR {}", quoted(&declare.name), found.query(&declare.query))
        }
        Statement::Execute { name, arguments } => {
            let arguments: Vec<String> = arguments.iter().map(|argument| found.expr(argument)).collect();
            format!("EXECUTE {}({})", quoted(name), arguments.join(", "))
        }
        Statement::Temporary(temporary) => found.temporary(temporary),
        Statement::Steward(statement) => stewards::text(statement, &mut found.literals),
        Statement::Act(act) => found.act(act),
        Statement::Refused(_) => format!("(a statement of {bytes} bytes that was not read)"),
        other => other.tag().to_owned(),
    };
    let Found { literals, relations } = found;
    Normal { text: shortened(text), literals: literals.iter().map(|literal| scrubbed(literal)).collect(), relations }
}

fn shortened(mut text: String) -> String {
    if text.len() > MOST_TEXT {
        let whole = text.len();
        let end = (0..=MOST_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push_str(&format!("… ({whole} bytes)"));
    }
    text
}

/// A name, in quotes if it needs them.
pub(super) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// What was found in a statement.
#[derive(Default)]
struct Found {
    literals: Vec<String>,
    relations: Vec<Vec<String>>,
}

impl Found {
    fn query(&mut self, query: &Query) -> String {
        let mut query = query.clone();
        let _ = VisitMut::visit(&mut query, self);
        query.to_string()
    }

    fn expr(&mut self, expr: &Expr) -> String {
        let mut expr = expr.clone();
        let _ = VisitMut::visit(&mut expr, self);
        expr.to_string()
    }

    fn act(&mut self, act: &Act) -> String {
        let (names, _) = act.procedure.arguments();
        let given = names.iter().zip(&act.arguments).filter_map(|(name, given)| Some((name, given.as_ref()?)));
        let arguments: Vec<String> = given
            .map(|(name, given)| match given {
                Argument::Parameter(number) => format!("{name} => ${}", number + 1),
                Argument::Constant(None) => format!("{name} => NULL"),
                Argument::Constant(Some(text)) => {
                    self.literals.push(text.clone());
                    format!("{name} => ?")
                }
            })
            .collect();
        let verb = if act.is_call { "CALL" } else { "SELECT" };
        format!("{verb} kanon.{}({})", act.procedure.name(), arguments.join(", "))
    }

    fn temporary(&mut self, temporary: &Temporary) -> String {
        let name = |table: &crate::statement::steward::TableName| stewards::table(table);
        match temporary {
            Temporary::Create(create) => format!("CREATE TEMPORARY TABLE {}", name(&create.table.name)),
            Temporary::CreateAs(create) => {
                format!("CREATE TEMPORARY TABLE {} AS {}", name(&create.table.name), self.query(&create.query))
            }
            Temporary::Insert(insert) => match insert.rows.as_ref().map(|rows| rows.query.as_deref()) {
                Ok(Some(query)) => format!("INSERT INTO {} {}", name(&insert.table), self.query(query)),
                _ => format!("INSERT INTO {}", name(&insert.table)),
            },
            Temporary::Delete(delete) => match &delete.kept {
                // What is read is what stays.
                Ok(Some(kept)) => format!("DELETE FROM {} (keeping {})", name(&delete.table), self.query(kept)),
                _ => format!("DELETE FROM {}", name(&delete.table)),
            },
            Temporary::Truncate(tables) => {
                format!("TRUNCATE TABLE {}", tables.iter().map(name).collect::<Vec<_>>().join(", "))
            }
            Temporary::Update(table) => format!("UPDATE {}", name(table)),
        }
    }
}

impl VisitorMut for Found {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let names: Option<Vec<String>> = relation
            .0
            .iter()
            .map(|part| {
                let ident = part.as_ident()?;
                Some(if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() })
            })
            .collect();
        self.relations.extend(names);
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        match &value.value {
            // Parameters stay what they are, and NULL tells nothing.
            Value::Placeholder(_) | Value::Null => {}
            literal => {
                self.literals.push(literal.to_string());
                value.value = Value::Placeholder("?".to_owned());
            }
        }
        ControlFlow::Continue(())
    }
}

/// A text without what looks like a password: of `scheme://user:password@host` and of `password=…`; and without invites.
pub(super) fn scrubbed(text: &str) -> String {
    without_invites(&without_assigned(&without_user_info(text)))
}

/// Without what follows the beginning of an invite's token.
fn without_invites(text: &str) -> String {
    let mut parts = text.split(PREFIX);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(PREFIX);
        out.push_str("***");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    }
    out
}

fn without_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let authority = after.find(['/', '?', '#', '\'', '"', ' ', '\n']).unwrap_or(after.len());
        let (authority, behind) = after.split_at_checked(authority).unwrap_or((after, ""));
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str("***@");
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Words before whose `=` or `:` a secret stands.
const SECRET_WORDS: [&str; 8] = ["password", "passwd", "pwd", "secret", "token", "access_key", "api_key", "credential"];

/// Whether what is called so is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_WORDS.iter().any(|word| name.contains(word)) || name.split('_').any(|part| part == "key" || part == "sas")
}

fn without_assigned(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, sign) in lower.match_indices(['=', ':']) {
        if at < done {
            continue;
        }
        let before = lower.get(done..at).unwrap_or_default().trim_end_matches([' ', '"', '\'']);
        if !SECRET_WORDS.iter().any(|word| before.ends_with(word)) {
            continue;
        }
        let value = at + sign.len();
        let skipped = lower.get(value..).map_or(0, |rest| rest.len() - rest.trim_start_matches([' ', '"', '\'']).len());
        let from = value + skipped;
        let length =
            lower.get(from..).map_or(0, |rest| rest.find([' ', '&', ';', '"', '\'', ',', '\n']).unwrap_or(rest.len()));
        out.push_str(text.get(done..from).unwrap_or_default());
        out.push_str("***");
        done = from + length;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::statement::parse;

    fn of(sql: &str) -> Normal {
        normal(&parse(sql).unwrap(), sql.len())
    }

    #[test]
    fn no_literal_stays_in_the_text() {
        for sql in [
            "SELECT 'marked', 47110815, 4711.0815, E'marked', $$marked$$, U&'marked', X'47110815' FROM t",
            "SELECT * FROM t WHERE a = 'marked' AND b IN ('marked', 47110815) OR c LIKE 'marked' ESCAPE 'm'",
            "SELECT a, count(*) FILTER (WHERE b > 47110815) FROM t GROUP BY a HAVING max(c) = 'marked' ORDER BY a LIMIT 47110815 OFFSET 47110815",
            "WITH x AS (SELECT 47110815 AS n) SELECT CASE WHEN n = 47110815 THEN 'marked' ELSE 'marked' END FROM x",
            "SELECT DATE 'marked', INTERVAL 'marked', 'marked'::text, CAST('marked' AS text), a['marked'], b -> 'marked' FROM t",
            "SELECT (SELECT b FROM u WHERE c = 'marked'), EXISTS (SELECT 1 FROM u WHERE c = 'marked') FROM t JOIN v ON v.a = 'marked'",
            "VALUES (1, 'marked'), (47110815, NULL)",
            "SELECT sum(a) OVER (PARTITION BY b ORDER BY c ROWS 47110815 PRECEDING), substring(a FROM 47110815 FOR 47110815), a AT TIME ZONE 'marked' FROM t",
            "SELECT a BETWEEN 47110815 AND 47110815, position('marked' IN a), trim('marked' FROM a), extract(year FROM TIMESTAMP 'marked') FROM t /* marked */ -- marked",
            "SELECT * FROM generate_series(1, 47110815) g",
            "EXPLAIN SELECT 'marked' FROM t",
            "COPY (SELECT 'marked' FROM t) TO STDOUT WITH (FORMAT csv, NULL 'marked')",
            "DECLARE c CURSOR FOR SELECT 'marked' FROM t",
            "EXECUTE q('marked', 47110815)",
            "CREATE TEMP TABLE x AS SELECT 'marked' AS a FROM t",
            "INSERT INTO x VALUES ('marked', 47110815)",
            "DELETE FROM x WHERE a = 'marked'",
            "SET application_name = 'marked'",
            "COMMENT ON TABLE t IS 'marked'",
        ] {
            let said = of(sql);
            assert!(!said.text.contains("marked") && !said.text.contains("47110815"), "{sql}: {}", said.text);
            // And what it was is kept apart, where something is read.
            if !sql.starts_with("SET") {
                assert!(said.literals.iter().any(|l| l.contains("marked") || l.contains("4711")), "{sql}");
            }
        }
        let said = of("SELECT a FROM t WHERE b = $1 AND c IS NULL AND d = 5 -- aside");
        assert_eq!(said.text, "SELECT a FROM t WHERE b = $1 AND c IS NULL AND d = ?");
        assert_eq!((said.literals, said.relations), (vec!["5".to_owned()], vec![vec!["t".to_owned()]]));
    }

    #[test]
    fn what_was_not_read_is_not_kept() {
        let said = of("CREATE EXTENSION marked PASSWORD 'marked'");
        assert_eq!(said.text, "(a statement of 41 bytes that was not read)");
    }

    #[test]
    fn passwords_are_scrubbed() {
        for (text, shown) in [
            ("postgres://ana:hunter2@db/clinic", "postgres://***@db/clinic"),
            (
                "see https://ana:hun@ter2@a.example and http://b.example/x@y",
                "see https://***@a.example and http://b.example/x@y",
            ),
            ("host=db password=hunter2 user=ana", "host=db password=*** user=ana"),
            ("'password = 'hunter2''", "'password = '***''"),
            ("{\"Password\": \"hunter2\", \"n\": 1}", "{\"Password\": \"***\", \"n\": 1}"),
            ("https://a.example/?sig=1&secret=hunter2&x=y", "https://a.example/?sig=1&secret=***&x=y"),
            ("'kanon-invite_eyJ2-_09' and kanon-invite_x.", "'kanon-invite_***' and kanon-invite_***."),
            ("äöü", "äöü"),
            ("10:30", "10:30"),
        ] {
            assert_eq!(scrubbed(text), shown);
        }
        assert!(is_secret("secret_access_key") && is_secret("AWS-Session-Token") && is_secret("account_key"));
        assert!(!is_secret("delimiter") && !is_secret("has_header") && !is_secret("keyboard"));
    }

    #[test]
    fn long_texts_are_cut() {
        let list = (0..20_000).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
        let said = of(&format!("SELECT a FROM t WHERE b IN ({list})"));
        assert!(said.text.len() < MOST_TEXT + 30 && said.text.ends_with(" bytes)"), "{}", said.text.len());
        assert!(literals(&said, &[]).unwrap().len() < 3 * MOST_LITERALS);
        assert!(literals(&of("SELECT a FROM t"), &[]).is_none());
    }
}

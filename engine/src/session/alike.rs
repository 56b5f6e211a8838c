//! Statements that are alike but for the constants that columns are compared with.
//!
//! ```text
//! SELECT name FROM t WHERE id = 7 ─┐                                              ┌─ 7
//! SELECT name FROM t WHERE id = 8 ─┴─► SELECT name FROM t WHERE id = $1, run with ┴─ 8
//! ```
//!
//! Clients that bind no parameters write another text each time. The second of its kind is planned a second time, with its constants taken out, and the plan to execute is
//! kept for all that follow: if it becomes, with the constants put back, the very plan of the statement as it was written. What cannot be run so is planned as it is
//! written, as ever.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;

use super::generic::{values_are_read_alike, with_values};
use super::kept::KeptPlan;
use super::parameters::Parameters;
use super::query::all_are_open;
use super::told::Told;
use super::{Prepared, Session};
use crate::audit::Said;
use crate::error::Result;
use crate::statement::{self, Statement, on_large_stack};

/// The longest text, in bytes, in which constants are looked for.
const MAX_TEXT: usize = 2_048;
/// The most constants that are taken out of a text.
const MAX_CONSTANTS: usize = 16;
/// Kinds of statements that a session remembers.
const MAX_KINDS: usize = 64;

/// Words that may follow a comparison.
const FOLLOWING: [&str; 11] =
    ["and", "or", "order", "group", "having", "limit", "offset", "fetch", "union", "intersect", "except"];

/// A text without its constants, and the constants.
#[derive(Debug, PartialEq)]
pub(super) struct Outline {
    /// With $1, $2, … in their places.
    text: String,
    values: Vec<ScalarValue>,
}

/// The statements of an outline.
struct Kind {
    text: String,
    types: Vec<DataType>,
    known: Known,
}

/// What is known of a kind of statements.
enum Known {
    /// There was one.
    One,
    /// They are planned as they are written.
    AsWritten,
    /// One of them that was prepared, and the plan of all of them.
    Alike(Box<Prepared>, KeptPlan),
}

/// The plan of a statement's kind, and what is its own.
#[derive(Debug, Clone)]
pub(super) struct Alike {
    pub(super) plan: KeptPlan,
    pub(super) values: Arc<[ScalarValue]>,
    /// The statement as it is written, once it had to be planned so.
    pub(super) as_written: Arc<OnceLock<Prepared>>,
}

/// The kinds of statements that a session remembers.
#[derive(Default)]
pub(super) struct Kinds(VecDeque<Kind>);

impl Kinds {
    fn of(&mut self, outline: &Outline) -> Option<&mut Kind> {
        self.0.iter_mut().find(|kind| kind.text == outline.text && kind.types == outline.types())
    }

    fn add(&mut self, outline: Outline) {
        self.0.push_back(Kind { types: outline.types(), text: outline.text, known: Known::One });
        if self.0.len() > MAX_KINDS {
            self.0.pop_front();
        }
    }
}

impl Outline {
    fn types(&self) -> Vec<DataType> {
        self.values.iter().map(ScalarValue::data_type).collect()
    }

    /// Takes out the integers and texts that something is compared with. `None` if there are none, or the text is beyond what is read here: then it is read as ever.
    pub(super) fn of(text: &str) -> Option<Outline> {
        let begins = text.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"));
        if !begins || text.len() > MAX_TEXT || !text.is_ascii() {
            return None;
        }
        let mut outline = Outline { text: String::with_capacity(text.len()), values: Vec::new() };
        let mut rest = text;
        // What the last two tokens were.
        let (mut before, mut last) = (Token::Other, Token::Other);
        while let Some((token, piece, after)) = next(rest)? {
            if token != Token::Space {
                let value = (before == Token::Name && last == Token::Comparison && may_end(after))
                    .then(|| value_of(token, piece))
                    .flatten();
                match value {
                    Some(value) => {
                        outline.values.push(value);
                        outline.text.push_str(&format!("${}", outline.values.len()));
                    }
                    None => outline.text.push_str(piece),
                }
                (before, last) = (last, token);
            } else {
                outline.text.push_str(piece);
            }
            rest = after;
        }
        (1..=MAX_CONSTANTS).contains(&outline.values.len()).then_some(outline)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Space,
    /// A word, or a name in quotes.
    Name,
    Comparison,
    Integer,
    Text,
    Other,
}

/// The first token of a text, and what follows it; outer `None` if it is none that is read here.
#[allow(clippy::type_complexity, reason = "token, text, rest")]
fn next(text: &str) -> Option<Option<(Token, &str, &str)>> {
    let Some(first) = text.bytes().next() else { return Some(None) };
    let length = |of: fn(u8) -> bool| text.bytes().position(|byte| !of(byte)).unwrap_or(text.len());
    let (token, length) = match first {
        b' ' | b'\t' | b'\n' | b'\r' => (Token::Space, length(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))),
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
            let length = length(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            // What follows e, b, x, n or u& at once is another kind of text.
            if text.as_bytes().get(length).is_some_and(|byte| matches!(byte, b'\'' | b'&')) {
                return None;
            }
            (Token::Name, length)
        }
        b'0'..=b'9' => {
            let length = length(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
            let digits = text.get(..length)?;
            let is_small = digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
            (if is_small { Token::Integer } else { Token::Other }, length)
        }
        b'\'' => (Token::Text, text.get(1..)?.find('\'')? + 2),
        b'"' => (Token::Name, text.get(1..)?.find('"')? + 2),
        b'(' | b')' | b',' | b'.' => (Token::Other, 1),
        b'=' | b'<' | b'>' | b'!' => {
            let length = length(|byte| b"=<>!+-*/%&|^~#@?:`".contains(&byte));
            let is_comparison = matches!(text.get(..length)?, "=" | "<" | ">" | "<=" | ">=" | "<>");
            (if is_comparison { Token::Comparison } else { Token::Other }, length)
        }
        b'*' => (Token::Other, 1),
        // Comments, dollar quotes, parameters, escapes, arithmetic, casts and operators of other kinds.
        _ => return None,
    };
    let (piece, after) = text.split_at_checked(length)?;
    // A quote that is doubled goes on.
    if matches!(first, b'\'' | b'"') && (after.starts_with(char::from(first)) || piece.contains('\\')) {
        return None;
    }
    Some(Some((token, piece, after)))
}

/// Whether a comparison may end before this.
fn may_end(text: &str) -> bool {
    let text = text.trim_start();
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    text.is_empty() || text.starts_with(')') || FOLLOWING.iter().any(|following| word.eq_ignore_ascii_case(following))
}

fn value_of(token: Token, piece: &str) -> Option<ScalarValue> {
    match token {
        Token::Integer => piece.parse::<i64>().ok().map(|value| ScalarValue::Int64(Some(value))),
        Token::Text => {
            let text = piece.strip_prefix('\'')?.strip_suffix('\'')?;
            Some(ScalarValue::Utf8(Some(text.to_owned())))
        }
        _ => None,
    }
}

impl Session {
    /// A statement of this outline, if one like it was prepared before and the plan of all of them can be run.
    pub(super) fn known_but_for_constants(&self, text: &str, outline: &Outline) -> Option<Prepared> {
        let (known, plan) = match &self.state().kept.kinds.of(outline)?.known {
            Known::Alike(prepared, plan) => (prepared.as_ref().clone(), plan.clone()),
            Known::One | Known::AsWritten => return None,
        };
        if !plan.is_executable() || !plan.stands(self) {
            return None;
        }
        let alike = Alike { plan, values: outline.values.clone().into(), as_written: Arc::default() };
        Some(Prepared { text: text.to_owned(), alike: Some(alike), runs: Arc::default(), ..known })
    }

    /// Remembers a statement by its outline, and from the second on keeps a plan for all of its kind.
    pub(super) async fn remember_kind(&self, prepared: &Prepared, outline: Outline) {
        let place = {
            let mut state = self.state();
            let kinds = &mut state.kept.kinds;
            let Some(kind) = kinds.of(&outline) else { return kinds.add(outline) };
            let place = match &kind.known {
                Known::One => KeptPlan::of(&outline.text),
                // What it was made with has changed.
                Known::Alike(_, plan) if !plan.is_executable() => plan.clone(),
                Known::AsWritten | Known::Alike(..) => return,
            };
            kind.known = Known::AsWritten;
            place
        };
        let known = match self.plan_kind(prepared, &outline, &place).await {
            Ok(Some(statement)) => {
                let said = Said::of(&statement, outline.text.len());
                let known = Prepared { statement, said, plan: KeptPlan::default(), ..prepared.clone() };
                Known::Alike(Box::new(known), place)
            }
            // A file had just been written.
            Ok(None) if place.is_open_yet() => Known::One,
            _ => return,
        };
        if let Some(kind) = self.state().kept.kinds.of(&outline) {
            kind.known = known;
        }
    }

    /// Makes a plan for all statements of an outline, if there can be one. Answers the statement that they all are, with parameters.
    async fn plan_kind(
        &self,
        prepared: &Prepared,
        outline: &Outline,
        place: &KeptPlan,
    ) -> Result<Option<Arc<Statement>>> {
        let Some((written, schema)) = prepared.plan.analysed() else { return Ok(None) };
        if !all_are_open(&written)? {
            return Ok(None);
        }
        let text = outline.text.clone();
        let statement = Arc::new(on_large_stack(move || statement::parse(&text)).await??);
        let Statement::Query(query) = &*statement else { return Ok(None) };
        let types = outline.types();
        let (mut open, _) = self.plan(query, Parameters::Open(types.clone(), Told::default())).await?;
        let values = ParamValues::from(outline.values.clone());
        let is_alike = open.fails.is_none()
            && values_are_read_alike(&open.plan, &types)?
            && with_values(open.plan.clone(), &values)? == written
            && open.schema() == schema;
        if is_alike {
            place.keep(self, &open);
            open.kept = place.clone();
            self.make_executable(&open, types).await?;
        }
        Ok((is_alike && place.is_executable()).then_some(statement))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{AsArray, RecordBatch};
    use futures::TryStreamExt;

    use super::*;
    use crate::auth::load_principal;
    use crate::config::Config;
    use crate::node::Node;
    use crate::principal::AuthMethod;

    #[test]
    fn constants_are_taken_out_where_something_is_compared_with_them() {
        let taken = |text: &str| Outline::of(text).map(|outline| (outline.text, outline.values));
        let (int, utf8) = (|value: i64| ScalarValue::from(value), |value: &str| ScalarValue::from(value));
        for (text, outline, values) in [
            ("SELECT name FROM small WHERE id = 7", "SELECT name FROM small WHERE id = $1", vec![int(7)]),
            (
                "select a from t where \"B\"<='x' ORDER BY 1",
                "select a from t where \"B\"<=$1 ORDER BY 1",
                vec![utf8("x")],
            ),
            (
                "SELECT * FROM t WHERE (t.a = 1 AND b <> 'it is; -- so') OR c > 3\n LIMIT 10",
                "SELECT * FROM t WHERE (t.a = $1 AND b <> $2) OR c > $3\n LIMIT 10",
                vec![int(1), utf8("it is; -- so"), int(3)],
            ),
            (
                "SELECT '1', 2 FROM t WHERE a=3 AND b IN (4, 5)",
                "SELECT '1', 2 FROM t WHERE a=$1 AND b IN (4, 5)",
                vec![int(3)],
            ),
            ("SELECT x FROM t WHERE a = 1 AND b = 1.5", "SELECT x FROM t WHERE a = $1 AND b = 1.5", vec![int(1)]),
            ("SELECT x FROM t WHERE a = 1 AND 2 = 3", "SELECT x FROM t WHERE a = $1 AND 2 = 3", vec![int(1)]),
        ] {
            assert_eq!(taken(text).unwrap(), (outline.to_owned(), values), "{text}");
        }
        for text in [
            "SELECT 1",
            "SELECT x FROM t WHERE a = 1 -- AND b = 2",
            "SELECT x FROM t WHERE a = 1 /* b */",
            "SELECT x FROM t WHERE a = $1",
            "SELECT x FROM t WHERE a = $$x$$",
            "SELECT x FROM t WHERE a = E'x'",
            "SELECT x FROM t WHERE a = U&'x'",
            "SELECT x FROM t WHERE a = 'it''s'",
            "SELECT x FROM t WHERE a = 'b\\'",
            "SELECT x FROM t WHERE a = 'open",
            "SELECT x FROM t WHERE a = 1::text",
            "SELECT x FROM t WHERE a = 1 + 1",
            "SELECT x FROM t WHERE a = -1",
            "SELECT x FROM t WHERE a = 12345678901",
            "SELECT x FROM t WHERE a = 1e5",
            "SELECT x FROM t WHERE a = 'x' COLLATE \"C\"",
            "SELECT x FROM t WHERE a = 'x' 'y'",
            "SELECT x FROM t WHERE a => 1",
            "SELECT x FROM t WHERE a LIKE 'x'",
            "SELECT x FROM t WHERE 'ä' = 'x'",
            "EXPLAIN SELECT x FROM t WHERE a = 1",
        ] {
            assert_eq!(taken(text), None, "{text}");
        }
    }

    async fn lines(session: &Arc<Session>, prepared: &Prepared) -> Vec<String> {
        let rows = session.execute(prepared, Vec::new()).await.unwrap().rows.unwrap();
        let batches: Vec<RecordBatch> = rows.stream.try_collect().await.unwrap();
        let column =
            |batch: &RecordBatch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect();
        batches.iter().flat_map(|batch| -> Vec<String> { column(batch) }).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_third_of_a_kind_is_only_executed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wards.csv");
        std::fs::write(&file, "ward,name\n1,north\n2,east\n3,south\n4,west\n").unwrap();
        let node = Node::start(Config::new("basel", folder.path().join("node"))).await.unwrap();
        let admin = Session::open(Arc::clone(&node), node.local_admin());
        let run = async |sql: &str| {
            let prepared = admin.prepare(sql, &[]).await.unwrap();
            admin.execute(&prepared, Vec::new()).await.unwrap();
        };
        run(&format!("CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{}'", file.display())).await;
        run("ALTER TABLE wards SET (access = 'open')").await;
        run("CREATE ROLE ada LOGIN").await;
        run("GRANT SELECT ON wards TO ada").await;
        let ada = load_principal(&node.store, node.site(), "ada", AuthMethod::ScramSha256).unwrap();
        let session = Session::open(Arc::clone(&node), ada);
        let settles = || tokio::time::sleep(std::time::Duration::from_millis(1_200));
        settles().await;
        let of = async |ward: u32| {
            session.prepare(&format!("SELECT name FROM wards WHERE ward = {ward}"), &[]).await.unwrap()
        };
        let all = ["north", "east", "south", "west"];
        for (ward, name) in (1..).zip(all) {
            let prepared = of(ward).await;
            assert_eq!(prepared.alike.is_some(), ward > 2, "{ward}");
            assert_eq!(lines(&session, &prepared).await, [name]);
        }
        // One that runs already is not run again: another is planned as it is written.
        let (first, second) = (of(3).await, of(4).await);
        let waiting = session.execute(&first, Vec::new()).await.unwrap();
        assert_eq!(lines(&session, &second).await, ["west"]);
        assert!(second.alike.as_ref().unwrap().as_written.get().is_some());
        drop(waiting);
        let third = of(3).await;
        assert_eq!(lines(&session, &third).await, ["south"]);
        assert!(third.alike.as_ref().unwrap().as_written.get().is_none());
        assert_eq!(lines(&session, &second).await, ["west"]);

        // A file that changes is read anew, and a plan is made of what it holds now.
        for name in ["SOUTH", "South"] {
            std::fs::write(&file, format!("ward,name\n1,north\n2,east\n3,{name}\n4,west\n")).unwrap();
            assert_eq!(lines(&session, &first).await, [name]);
            let again = of(3).await;
            // It may change again within one tick of the clock.
            assert!(again.alike.is_none());
            assert_eq!(lines(&session, &again).await, [name]);
        }
        settles().await;
        for ward in [5, 6] {
            let again = of(ward).await;
            assert_eq!(again.alike.is_some(), ward == 6, "{ward}");
            assert_eq!(lines(&session, &again).await, [""; 0]);
        }

        // Nothing of it is left once the table is no longer open.
        run("ALTER TABLE wards SET (access = 'cohort', unit = 'ward', unit_unique = true, min_cohort = 2)").await;
        let refused = session.execute(&first, Vec::new()).await.err().unwrap();
        assert_eq!(refused.state.code(), "42501", "{refused}");
        for ward in 1..5 {
            let refused = match session.prepare(&format!("SELECT name FROM wards WHERE ward = {ward}"), &[]).await {
                Ok(prepared) => session.execute(&prepared, Vec::new()).await.err().unwrap(),
                Err(refused) => refused,
            };
            assert_eq!(refused.state.code(), "42501", "{refused}");
        }
    }
}

//! Statements: queries over the tables, what surrounds them, and what analysts may not say.

use crate::chance::Chance;
use crate::expressions::{Column, Kind, Maker};
use crate::world::{OPEN, PROTECTED, Table};

/// A statement to send.
#[derive(Debug, Clone)]
pub struct Statement {
    pub text: Vec<u8>,
    /// Values of its parameters.
    pub parameters: Vec<String>,
    /// It asks rows of a protected table: none may come.
    pub forbidden: bool,
}

impl Statement {
    fn of(text: String) -> Statement {
        Statement { text: text.into_bytes(), parameters: Vec::new(), forbidden: false }
    }
}

/// What every session may say, and what no analyst may.
const OTHERS: &[&str] = &[
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "START TRANSACTION READ ONLY",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE a",
    "DISCARD ALL",
    "DISCARD PLANS",
    "SHOW ALL",
    "SHOW TimeZone",
    "SET TimeZone = 'Europe/Zurich'",
    "SET TimeZone = 'nowhere'",
    "RESET ALL",
    "SET search_path = public, kanon",
    "SET nothing = 1",
    "SET application_name = 'x'",
    "SHOW nothing",
    "DEALLOCATE ALL",
    "CLOSE ALL",
    "FETCH 3 FROM c",
    "MOVE 1 IN c",
    "CLOSE c",
    "EXECUTE p",
    "EXECUTE p(1, 'x')",
    "DEALLOCATE p",
    "",
    ";",
    "-- nothing",
    "/* */",
    "LISTEN a",
    "UNLISTEN *",
    "VACUUM",
    "ANALYZE",
    "CHECKPOINT",
    "LOCK TABLE people",
    "SELECT pg_sleep(0.01)",
    "SELECT version()",
    "SELECT current_user, session_user, current_schema()",
    "SELECT * FROM kanon.budget",
    "SELECT * FROM kanon.tables",
    "SELECT * FROM kanon.nodes",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT count(*) FROM information_schema.columns",
    "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'r'",
    "TABLE people",
    "TABLE pg_namespace",
    "VALUES (1, 'a'), (2, NULL)",
    "VALUES (1), ('a')",
    "VALUES (1), (1, 2)",
    "SELECT",
    "SELECT 1 FROM",
    "SELECT * FROM nothing",
    "SELECT nothing FROM people",
    "SELECT nothing(1)",
    "SELECT generate_series(1, 3)",
    "SELECT unnest(ARRAY[1, 2])",
    "CREATE TEMPORARY TABLE tt (a int, b text)",
    "INSERT INTO tt VALUES (1, 'x'), (2, NULL)",
    "SELECT * FROM tt",
    "DROP TABLE tt",
    "CREATE TEMP TABLE tt AS SELECT * FROM people",
    "INSERT INTO tt SELECT id, city FROM people",
    "TRUNCATE tt",
    "EXPLAIN (PRIVACY) SELECT count(*) FROM patients",
    "EXPLAIN SELECT * FROM people",
    "EXPLAIN ANALYZE SELECT count(*) FROM people",
    "EXPLAIN (FORMAT json) SELECT count(*) FROM patients GROUP BY city",
    // May not.
    "ALTER TABLE patients SET (access = 'open')",
    "ALTER TABLE patients SET (min_cohort = 1)",
    "DROP TABLE patients",
    "GRANT admin TO ana",
    "GRANT SELECT ON patients TO PUBLIC",
    "CREATE ROLE x",
    "ALTER ROLE root PASSWORD 'x'",
    "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
    "COPY patients TO STDOUT",
    "COPY patients FROM STDIN",
    "COPY (SELECT * FROM patients) TO STDOUT",
    "COPY (SELECT 1) TO '/tmp/x'",
    "INSERT INTO people VALUES (1)",
    "UPDATE people SET age = 1",
    "DELETE FROM people",
    "CREATE TABLE x (a int)",
    "CREATE VIEW v AS SELECT * FROM patients",
    "SELECT * FROM patients",
    "TABLE labs",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM patients",
    "SELECT pg_read_file('/etc/passwd')",
    "CREATE TEMP TABLE stolen AS SELECT * FROM patients",
    "SELECT row_to_json(p) FROM patients p",
    "SELECT array_agg(name) FROM patients",
    "SELECT string_agg(name, ',') FROM stays",
    "SELECT max(name), min(pid) FROM patients",
    "SELECT name, count(*) FROM patients GROUP BY name",
    "SELECT pid, count(*) FROM stays GROUP BY 1 HAVING count(*) > 0",
    "SELECT (SELECT name FROM patients LIMIT 1)",
    "SELECT * FROM people p, LATERAL (SELECT name FROM patients WHERE pid > p.id LIMIT 1) l",
    "SELECT city FROM people WHERE id IN (SELECT pid FROM patients)",
    "SELECT DISTINCT name FROM patients",
    "SELECT name FROM patients UNION SELECT city FROM people",
    "SELECT count(*) OVER (), name FROM patients",
    "SELECT 1 / (count(*) - 3) FROM patients WHERE name LIKE 'canary%'",
    "SELECT avg(1 / (age - 40)) FROM patients",
    "SELECT CAST(max(name) AS int) FROM patients",
    "SELECT count(*) FROM patients WHERE name::int > 1",
    "SELECT sum(ln(age - 50)) FROM patients",
];

/// The next statement.
pub fn next(chance: &mut Chance) -> Statement {
    let mut statement = match chance.below(100) {
        0..=13 => {
            let text = (*chance.pick(OTHERS)).to_owned();
            Statement::of(text)
        }
        14..=69 => query(chance, OPEN, false),
        _ => {
            let table = chance.pick(PROTECTED);
            query(chance, std::slice::from_ref(table), true)
        }
    };
    match chance.below(100) {
        0..=3 => wrap(&mut statement, "PREPARE p AS ", ""),
        4..=6 => wrap(&mut statement, "DECLARE c CURSOR FOR ", ""),
        7..=8 => wrap(&mut statement, "EXPLAIN ", ""),
        9..=12 => {
            let format = *chance.pick(&["text", "csv", "binary"]);
            wrap(&mut statement, "COPY (", &format!(") TO STDOUT (FORMAT {format})"));
        }
        13 => wrap(&mut statement, "CREATE TEMP TABLE tt AS ", ""),
        14 => wrap(&mut statement, "SELECT count(*) FROM (", ") AS counted"),
        _ => {}
    }
    if chance.percent(20) {
        broken(chance, &mut statement.text);
        // It may now be another question.
        statement.forbidden = false;
    }
    statement
}

fn wrap(statement: &mut Statement, before: &str, after: &str) {
    statement.text = [before.as_bytes(), &statement.text, after.as_bytes()].concat();
    // A count of what may not be seen is another question.
    statement.forbidden &= !before.starts_with("SELECT count") && !before.starts_with("EXPLAIN");
}

/// A query over some of these tables.
fn query(chance: &mut Chance, tables: &[Table], protected: bool) -> Statement {
    let parameters = chance.percent(25).then(Vec::new);
    let mut maker = Maker { chance, columns: Vec::new(), parameters };
    let forbidden = protected && maker.chance.percent(15);
    let text = if forbidden { rows(&mut maker, tables) } else { select(&mut maker, tables, protected, 2) };
    let parameters = maker.parameters.unwrap_or_default();
    // It may have come to read something else.
    let forbidden = forbidden && tables.iter().any(|table| text.contains(table.name));
    Statement { text: text.into_bytes(), parameters, forbidden }
}

/// Rows of a protected table, which nobody may have.
fn rows(maker: &mut Maker<'_>, tables: &[Table]) -> String {
    let from = from(maker, tables, 0);
    let kinds: Vec<Kind> = (0..1 + maker.chance.below(3)).map(|_| *maker.chance.pick(&Kind::ALL)).collect();
    let items: Vec<String> = kinds.into_iter().map(|kind| maker.expression(kind, 2)).collect();
    let column = maker.chance.pick(&maker.columns.clone()).name.clone();
    let condition = maker.expression(Kind::Bool, 2);
    format!("SELECT {column}, {} FROM {from} WHERE {condition}", items.join(", "))
}

fn from(maker: &mut Maker<'_>, tables: &[Table], depth: usize) -> String {
    let mut text = String::new();
    let mut all: Vec<Column> = Vec::new();
    let count = 1 + usize::from(maker.chance.percent(35)) + usize::from(maker.chance.percent(10));
    for number in 0..count {
        let alias = format!("t{}{number}", maker.chance.below(100));
        let (source, columns): (String, Vec<(String, Kind)>) = match maker.chance.below(100) {
            0..=7 if depth > 0 => {
                let outer = std::mem::take(&mut maker.columns);
                let kinds = [Kind::Int, Kind::Text, *maker.chance.pick(&Kind::ALL)];
                let inner = select_of(maker, tables, &kinds, depth - 1);
                maker.columns = outer;
                let columns = kinds.iter().enumerate().map(|(i, kind)| (format!("c{i}"), *kind)).collect();
                (format!("({inner}) AS {alias}(c0, c1, c2)"), columns)
            }
            8..=12 => (
                format!("generate_series(1, {}) AS {alias}(n)", 1 + maker.chance.below(8)),
                vec![("n".to_owned(), Kind::Int)],
            ),
            13..=15 => (
                format!("(VALUES (1, 'a'), (2, NULL)) AS {alias}(v, w)"),
                vec![("v".to_owned(), Kind::Int), ("w".to_owned(), Kind::Text)],
            ),
            _ => {
                let table = maker.chance.pick(tables);
                let columns = table.columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
                (format!("{} AS {alias}", table.name), columns)
            }
        };
        let before = std::mem::take(&mut maker.columns);
        maker.columns = all.clone();
        let mine = columns.into_iter().map(|(name, kind)| Column { name: format!("{alias}.{name}"), kind });
        all.extend(mine);
        maker.columns = all.clone();
        if number == 0 {
            text = source;
        } else {
            let condition = maker.expression(Kind::Bool, 1);
            let ints: Vec<&Column> = all.iter().filter(|column| column.kind == Kind::Int).collect();
            let equal = match (ints.first(), ints.last()) {
                (Some(a), Some(b)) => format!("{} = {}", a.name, b.name),
                _ => condition.clone(),
            };
            text = match maker.chance.below(8) {
                0 => format!("{text} CROSS JOIN {source}"),
                1 => format!("{text} LEFT JOIN {source} ON {equal}"),
                2 => format!("{text} RIGHT JOIN {source} ON {equal} AND {condition}"),
                3 => format!("{text} FULL JOIN {source} ON {equal}"),
                4 => format!("{text} JOIN {source} ON {condition}"),
                5 => format!("{text}, {source}"),
                _ => format!("{text} JOIN {source} ON {equal}"),
            };
        }
        maker.columns = before;
    }
    maker.columns = all;
    text
}

/// A query of any columns.
fn select(maker: &mut Maker<'_>, tables: &[Table], aggregated: bool, depth: usize) -> String {
    let kinds: Vec<Kind> = (0..1 + maker.chance.below(4)).map(|_| *maker.chance.pick(&Kind::ALL)).collect();
    if aggregated { grouped(maker, tables, &kinds, depth) } else { select_of(maker, tables, &kinds, depth) }
}

/// A query of columns of these types.
fn select_of(maker: &mut Maker<'_>, tables: &[Table], kinds: &[Kind], depth: usize) -> String {
    match maker.chance.below(100) {
        0..=29 => grouped(maker, tables, kinds, depth),
        30..=39 if depth > 0 => {
            let operator = *maker.chance.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
            let one = simple(maker, tables, kinds, depth - 1, false);
            let two = simple(maker, tables, kinds, depth - 1, false);
            format!("{one} {operator} {two}{}", tail(maker, kinds.len()))
        }
        40..=46 if depth > 0 => {
            let inner = simple(maker, tables, kinds, depth - 1, false);
            let names: Vec<String> = (0..kinds.len()).map(|i| format!("c{i}")).collect();
            format!("WITH w({0}) AS ({inner}) SELECT {0} FROM w AS a{1}", names.join(", "), tail(maker, kinds.len()))
        }
        _ => simple(maker, tables, kinds, depth, true),
    }
}

fn simple(maker: &mut Maker<'_>, tables: &[Table], kinds: &[Kind], depth: usize, whole: bool) -> String {
    let outer = maker.columns.clone();
    let from = from(maker, tables, depth);
    let windows = maker.chance.percent(15);
    let items: Vec<String> = kinds
        .iter()
        .map(|kind| match windows && maker.chance.percent(50) {
            true => window(maker, *kind),
            false => maker.expression(*kind, 3),
        })
        .collect();
    let distinct = if maker.chance.percent(12) { "DISTINCT " } else { "" };
    let condition =
        if maker.chance.percent(65) { format!(" WHERE {}", maker.expression(Kind::Bool, 3)) } else { String::new() };
    let tail = if whole { tail(maker, kinds.len()) } else { String::new() };
    maker.columns = outer;
    format!("SELECT {distinct}{} FROM {from}{condition}{tail}", items.join(", "))
}

fn window(maker: &mut Maker<'_>, kind: Kind) -> String {
    let template = *maker.chance.pick(kind.templates("window"));
    let call = maker.fill(template, kind, 1);
    let by = maker.expression(Kind::Text, 1);
    let order = maker.expression(Kind::Int, 1);
    let over = match maker.chance.below(5) {
        0 => String::new(),
        1 => format!("PARTITION BY {by}"),
        2 => format!("ORDER BY {order}"),
        3 => format!("PARTITION BY {by} ORDER BY {order} DESC NULLS LAST"),
        _ => format!("ORDER BY {order} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW"),
    };
    format!("{call} OVER ({over})")
}

fn grouped(maker: &mut Maker<'_>, tables: &[Table], kinds: &[Kind], depth: usize) -> String {
    let outer = maker.columns.clone();
    let from = from(maker, tables, depth.min(1));
    let (mut items, mut keys) = (Vec::new(), Vec::new());
    for kind in kinds {
        if maker.chance.percent(35) {
            let key = maker.expression(*kind, 1);
            items.push(key);
            keys.push(items.len().to_string());
        } else {
            let template = *maker.chance.pick(kind.templates("aggregate"));
            items.push(maker.fill(template, *kind, 2));
        }
    }
    let condition =
        if maker.chance.percent(50) { format!(" WHERE {}", maker.expression(Kind::Bool, 2)) } else { String::new() };
    let group = match (keys.is_empty(), maker.chance.below(10)) {
        (true, _) => String::new(),
        (false, 0) => format!(" GROUP BY ROLLUP ({})", keys.join(", ")),
        (false, 1) => format!(" GROUP BY GROUPING SETS (({}), ())", keys.join(", ")),
        (false, _) => format!(" GROUP BY {}", keys.join(", ")),
    };
    let having = if maker.chance.percent(15) {
        format!(" HAVING {}", maker.fill("count(*) > {i}", Kind::Bool, 1))
    } else {
        String::new()
    };
    let tail = tail(maker, items.len());
    maker.columns = outer;
    format!("SELECT {} FROM {from}{condition}{group}{having}{tail}", items.join(", "))
}

fn tail(maker: &mut Maker<'_>, columns: usize) -> String {
    let mut text = String::new();
    if maker.chance.percent(40) {
        let direction = *maker.chance.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
        text += &format!(" ORDER BY {}{direction}", 1 + maker.chance.below(columns + 1));
    }
    if maker.chance.percent(30) {
        text += *maker.chance.pick(&[
            " LIMIT 3",
            " LIMIT 0",
            " OFFSET 2",
            " LIMIT 2 OFFSET 1",
            " LIMIT ALL",
            " FETCH FIRST 2 ROWS ONLY",
            " LIMIT -1",
            " LIMIT 1 + 1",
            " LIMIT NULL",
        ]);
    }
    text
}

/// A text with something wrong in it.
fn broken(chance: &mut Chance, text: &mut Vec<u8>) {
    for _ in 0..1 + chance.below(3) {
        let at = chance.below(text.len() + 1);
        match chance.below(9) {
            0 => text.truncate(at),
            1 if at < text.len() => drop(text.remove(at)),
            2 => text.insert(at, (chance.next() % 256) as u8),
            3 => {
                let signs = [
                    "(", ")", "'", "\"", "--", "/*", "$$", ";", ",", "::", "[", "]", "\\", "E'", "U&'", "$1", "\0",
                    "{", "}", ".", "..", ":", "@", "=>",
                ];
                let sign = *chance.pick(&signs);
                text.splice(at..at, sign.bytes());
            }
            4 => {
                let words = [
                    " SELECT ",
                    " FROM ",
                    " WHERE ",
                    " NULL ",
                    " AS ",
                    " OVER ",
                    " LATERAL ",
                    " UNION ",
                    " CASE ",
                    " END ",
                    " NOT ",
                    " IN ",
                    " ANY ",
                    " ROW ",
                    " INTERVAL ",
                    " DISTINCT ",
                    " ARRAY ",
                    " ON ",
                    " USING ",
                    " COLLATE ",
                    " TABLESAMPLE ",
                    " FOR UPDATE ",
                    " ONLY ",
                    " WITH ORDINALITY ",
                ];
                let word = *chance.pick(&words);
                text.splice(at..at, word.bytes());
            }
            5 => {
                // A word twice, or one gone.
                let words: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
                let number = chance.below(words.len());
                let changed: Vec<&[u8]> = words
                    .iter()
                    .enumerate()
                    .flat_map(|(i, word)| {
                        let times = if i == number { if at.is_multiple_of(2) { 0 } else { 2 } } else { 1 };
                        std::iter::repeat_n(*word, times)
                    })
                    .collect();
                *text = changed.join(&b' ');
            }
            6 => {
                let words: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
                let (a, b) = (chance.below(words.len()), chance.below(words.len()));
                let mut changed = words;
                changed.swap(a, b);
                *text = changed.join(&b' ');
            }
            7 if at < text.len() => text[at] ^= 1 << chance.below(8),
            _ => {
                let numbers =
                    ["99999999999999999999", "1e999", "0x1F", "-0", "1.", ".5", "1_000", "'\\x'", "2147483648"];
                let number = *chance.pick(&numbers);
                text.splice(at..at, number.bytes());
            }
        }
    }
}

//! The statements of Metabase, Superset and Grafana over people: what is answered, with how many rows, and what is refused, with which
//! words; over the simple protocol and the extended one. What they ask of open tables is in tests/tests/conformance/bi.sql.

use kanon_tests::client::{Client, ServerError};
use kanon_tests::{ADMIN, ANALYST};

use super::world;

/// A statement and what is expected of it.
struct Case<'a> {
    sql: String,
    expected: Expected<'a>,
}

enum Expected<'a> {
    /// So many rows, and whether they may cost something.
    Rows { number: usize, free: bool },
    /// A SQLSTATE, and words of the message and the hint.
    Refused { code: &'a str, words: Vec<&'a str> },
}

/// `-- rows N`, `-- free N` or `-- CODE words | words` before each statement.
fn cases(text: &str) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    let is_case = |part: &&str| !part.trim().is_empty() && !part.trim().starts_with("-- note ");
    for part in text.split("\n\n").filter(is_case) {
        let (first, sql) = part.trim().split_once('\n').unwrap_or_else(|| panic!("no statement: {part}"));
        let Some(told) = first.strip_prefix("-- ") else { panic!("nothing is expected of {part}") };
        let (code, rest) = told.split_once(' ').unwrap();
        let expected = match code {
            "rows" | "free" => Expected::Rows { number: rest.parse().unwrap(), free: code == "free" },
            _ => Expected::Refused { code, words: rest.split(" | ").collect() },
        };
        cases.push(Case { sql: sql.to_owned(), expected });
    }
    cases
}

async fn spent(client: &Client) -> String {
    client.ask("SELECT spent_epsilon FROM kanon.budget WHERE scope = 'principal'").await.unwrap().lines().join(",")
}

/// The number of rows over the extended protocol.
async fn extended(client: &Client, sql: &str) -> Result<usize, ServerError> {
    let rows = client.inner.query(sql, &[]).await;
    rows.map(|rows| rows.len()).map_err(|error| error.as_db_error().map(ServerError::from).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_over_people_are_answered_or_refused_usefully() {
    let federation = world::start().await;
    let client = federation.site("cleveland").connect(ANALYST).await.unwrap();
    let mut wrong = Vec::new();
    let mut number = 0;
    for text in [include_str!("previews.sql"), include_str!("values.sql"), include_str!("charts.sql")] {
        for case in cases(text) {
            number += 1;
            let before = spent(&client).await;
            let simple = client.ask(&case.sql).await.map(|answer| answer.rows.len());
            let after = spent(&client).await;
            for found in [simple, extended(&client, &case.sql).await] {
                match (&case.expected, found) {
                    (Expected::Rows { number, .. }, Ok(found)) if found == *number => {}
                    (Expected::Refused { code, words }, Err(error)) => {
                        let told = format!("{} {}", error.message, error.hint.clone().unwrap_or_default());
                        if error.code != *code || !words.iter().all(|word| told.contains(word)) {
                            wrong.push(format!("{}\n    {} {told}", case.sql, error.code));
                        }
                    }
                    (_, found) => wrong.push(format!("{}\n    {found:?}", case.sql)),
                }
            }
            let is_free = !matches!(case.expected, Expected::Rows { free: false, .. });
            if is_free && before != after {
                wrong.push(format!("{}\n    was charged: {before}, then {after}", case.sql));
            }
        }
    }
    assert!(number > 50, "only {number} statements");
    assert!(wrong.is_empty(), "{} of {number} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a domain answers must be the same whoever is in the table.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_domain_do_not_depend_on_people() {
    let federation = world::start().await;
    let site = federation.site("cleveland");
    let client = site.connect(ANALYST).await.unwrap();
    let asked = [
        "SELECT DISTINCT ward FROM stays ORDER BY ward",
        "SELECT ward FROM stays GROUP BY ward",
        "SELECT DISTINCT ward, ward AS again FROM (SELECT * FROM stays) s",
        "SELECT count(*) FROM (SELECT DISTINCT ward FROM stays) w",
        "SELECT DISTINCT sex FROM people WHERE age > 200",
    ];
    let mut before = Vec::new();
    for sql in asked {
        before.push(client.ask(sql).await.unwrap().lines());
    }
    assert_eq!(before[0], ["w0", "w1", "w2", "w9"]);
    // Nobody is left in the tables.
    let admin = site.connect(ADMIN).await.unwrap();
    for (table, header) in [("stays", "pid,sex,age,ward,arrived,cost\n"), ("people", "pid,sex,age,ward,seen,income\n")]
    {
        std::fs::write(site.dir.join(format!("{table}.csv")), header).unwrap();
    }
    for (sql, before) in asked.iter().zip(&before) {
        assert_eq!(client.ask(sql).await.unwrap().lines(), *before, "{sql}");
    }
    // Other keys are those of people.
    assert!(client.ask("SELECT DISTINCT sex FROM stays").await.unwrap().rows.is_empty());
    // A domain is what the steward says now, of a table that answers.
    admin.ask("ALTER TABLE stays ALTER COLUMN ward SET (domain = '{w1}')").await.unwrap();
    assert_eq!(client.ask(asked[0]).await.unwrap().lines(), ["w1"]);
    admin.ask("ALTER TABLE stays SET (suspended = true)").await.unwrap();
    assert_eq!(client.ask(asked[0]).await.unwrap_err().code, "55000");
    admin.ask("ALTER TABLE stays RESET (suspended)").await.unwrap();
    admin.ask(&format!("REVOKE SELECT ON stays FROM {}", ANALYST.0)).await.unwrap();
    // The name is then that of the federation's table, which its site refuses, or of none.
    let code = client.ask(asked[0]).await.unwrap_err().code;
    assert!(["42501", "42P01"].contains(&code.as_str()), "{code}");
}

//! What the demo asks, and what it shows when it is up.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::ROLES;
use crate::client::{Client, render};

/// A question, and what it must be answered with if that follows from the files: numbers with a point are rounded to two places, NULL is a word.
struct Question {
    title: &'static str,
    sql: &'static str,
    answer: &'static [&'static [&'static str]],
    /// Whether there may be too few people for any row.
    may_be_empty: bool,
}

/// Questions that every node must answer alike.
const QUESTIONS: [Question; 12] = [
    Question {
        title: "Men and women with heart disease in four hospitals (fewer than 10 people in a group: withheld)",
        sql: "SELECT sex, count(*), avg(age), avg(max_heart_rate) FROM federation.heart_disease WHERE severity > 0 GROUP BY sex ORDER BY 1",
        answer: &[&["female", "47", "56.11", "138.13"], &["male", "313", "53.82", "129.01"]],
        may_be_empty: false,
    },
    Question {
        title: "By kind of chest pain, most frequent first",
        sql: "SELECT chest_pain, count(*) FROM federation.heart_disease GROUP BY chest_pain ORDER BY 2 DESC",
        answer: &[
            &["asymptomatic", "496"],
            &["non-anginal", "187"],
            &["atypical angina", "156"],
            &["typical angina", "34"],
        ],
        may_be_empty: false,
    },
    Question {
        title: "The same with a total: what a hospital withholds is in the total and in no group",
        sql: "SELECT chest_pain, count(*) FROM federation.heart_disease GROUP BY ROLLUP(chest_pain) ORDER BY grouping(chest_pain), 2 DESC",
        answer: &[
            &["asymptomatic", "496"],
            &["non-anginal", "187"],
            &["atypical angina", "156"],
            &["typical angina", "34"],
            &["NULL", "920"],
        ],
        may_be_empty: false,
    },
    Question {
        title: "Those older than the average, which is released first",
        sql: "SELECT sex, count(*) FROM federation.heart_disease WHERE age > (SELECT avg(age) FROM federation.heart_disease) GROUP BY sex ORDER BY 1",
        answer: &[],
        may_be_empty: false,
    },
    Question {
        title: "By site",
        sql: "SELECT site, count(*), avg(age) FROM federation.heart_disease GROUP BY site ORDER BY 1",
        answer: &[],
        may_be_empty: false,
    },
    Question {
        title: "By age, in decades",
        sql: "SELECT age / 10 * 10 AS decade, count(*), avg(max_heart_rate) FROM federation.heart_disease GROUP BY 1 ORDER BY 1",
        answer: &[],
        may_be_empty: false,
    },
    Question {
        title: "Only large groups, on the released numbers",
        sql: "SELECT chest_pain, count(*) AS n FROM federation.heart_disease GROUP BY chest_pain HAVING count(*) > 150 ORDER BY n DESC",
        answer: &[&["asymptomatic", "496"], &["non-anginal", "187"], &["atypical angina", "156"]],
        may_be_empty: false,
    },
    Question {
        title: "Arithmetic over an answer",
        sql: "WITH by_pain AS (SELECT chest_pain, count(*) AS n FROM federation.heart_disease GROUP BY 1) SELECT chest_pain, n, round(100.0 * n / sum(n) OVER (), 1) AS percent FROM by_pain ORDER BY n DESC",
        answer: &[],
        may_be_empty: false,
    },
    Question {
        title: "With noise: synthetic patients, each of the four sites with its own",
        sql: "SELECT sex, count(*), avg(age), avg(bmi) FROM federation.patients GROUP BY sex ORDER BY 1",
        answer: &[],
        may_be_empty: false,
    },
    Question {
        title: "With noise, by regions that everybody knows: each is answered, whether somebody lives there or not",
        sql: "SELECT region, count(*) FROM federation.patients WHERE smoker GROUP BY region ORDER BY 2 DESC, 1 LIMIT 5",
        answer: &[],
        may_be_empty: false,
    },
    Question {
        title: "A cohort: departments that people with diabetes visit",
        sql: "SELECT department, count(*) AS visits FROM federation.visits WHERE patient_id IN (SELECT patient_id FROM federation.patients WHERE diagnosis LIKE 'E1%') GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5",
        answer: &[],
        may_be_empty: false,
    },
    Question {
        title: "Diagnoses that enough people have (others are never told), joined with an open table",
        sql: "SELECT i.title, p.n FROM (SELECT diagnosis, count(*) AS n FROM federation.patients GROUP BY 1) p JOIN icd10 i ON i.code = p.diagnosis ORDER BY n DESC, 1 LIMIT 5",
        answer: &[],
        may_be_empty: true,
    },
];

/// What must not be answered.
const REFUSED: [&str; 2] =
    ["SELECT * FROM federation.heart_disease", "SELECT min(age) FROM federation.heart_disease WHERE sex = 'female'"];

/// Asks every question at every node and compares the answers.
pub(super) async fn check(nodes: &[(&str, u16)]) -> Result<()> {
    let [(user, password, _), ..] = ROLES;
    let mut clients = Vec::new();
    for (id, port) in nodes {
        clients.push((*id, Client::connect("127.0.0.1", *port, user, password).await?));
    }
    for Question { title, sql, answer, may_be_empty } in QUESTIONS {
        println!("\n-- {title}\n{sql};");
        let mut first = None;
        for (id, client) in &clients {
            let (tables, notices) = client.ask(sql).await.with_context(|| format!("at {id}: {sql}"))?;
            match &first {
                None => {
                    for notice in &notices {
                        println!("NOTICE:  {notice}");
                    }
                    tables.iter().for_each(|t| print!("{}", render(t)));
                    if !may_be_empty && tables.iter().all(|t| t.rows.is_empty()) {
                        bail!("{id} has no rows for: {sql}");
                    }
                    if !answer.is_empty() && !tables.iter().any(|t| agrees(&t.rows, answer)) {
                        bail!("{id} does not answer what the files say, {answer:?}: {sql}");
                    }
                    first = Some((*id, tables));
                }
                Some((other, expected)) if *expected != tables => {
                    bail!("{id} and {other} answer differently: {sql}");
                }
                Some(_) => {}
            }
        }
    }
    for sql in REFUSED {
        println!("\n-- Refused\n{sql};");
        for (id, client) in &clients {
            match client.ask(sql).await {
                Ok(_) => bail!("{id} answered what it must refuse: {sql}"),
                Err(error) if *id == "cleveland" => println!("ERROR:  {error}"),
                Err(_) => {}
            }
        }
    }
    println!("\nall {} nodes gave the same answers", nodes.len());
    Ok(())
}

fn agrees(rows: &[Vec<Option<String>>], expected: &[&[&str]]) -> bool {
    let cell = |found: &Option<String>, expected: &str| match found {
        Some(found) if expected.contains('.') => found.parse::<f64>().is_ok_and(|n| format!("{n:.2}") == expected),
        Some(found) => found == expected,
        None => expected == "NULL",
    };
    rows.len() == expected.len()
        && rows.iter().zip(expected).all(|(row, expected)| {
            row.len() == expected.len() && row.iter().zip(*expected).all(|(found, expected)| cell(found, expected))
        })
}

/// The screen of a demo that is up.
pub(super) fn welcome(base_port: u16, took: Duration) -> String {
    let [(user, password, _), ..] = ROLES;
    let shown: Vec<String> = QUESTIONS.iter().take(3).map(|q| format!("  -- {}\n  {};", q.title, q.sql)).collect();
    format!(
        "\nFour hospitals are up after {:.1} s: cleveland, budapest, zurich, long_beach.\n\n\
         Connect to any of them (ports {base_port} to {}):\n\n  \
         PGPASSWORD={password} psql -h 127.0.0.1 -p {base_port} -U {user} kanon\n\n\
         and ask all four:\n\n{}\n\n\
         What is refused: SELECT * FROM federation.heart_disease;\n\
         Ctrl-C stops all.\n",
        took.as_secs_f64(),
        base_port + 3,
        shown.join("\n\n"),
    )
}

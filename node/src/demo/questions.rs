//! What the demo asks, and what it shows when it is up.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::ROLES;
use crate::client::{Client, render};

/// Questions that every node must answer alike.
const QUESTIONS: [(&str, &str); 5] = [
    (
        "Men and women with heart disease in four hospitals (fewer than 10 people in a group: withheld)",
        "SELECT sex, count(*), avg(age), avg(max_heart_rate) FROM federation.heart_disease WHERE severity > 0 GROUP BY sex ORDER BY 1",
    ),
    (
        "By kind of chest pain, most frequent first",
        "SELECT chest_pain, count(*) FROM federation.heart_disease GROUP BY chest_pain ORDER BY 2 DESC",
    ),
    ("By site", "SELECT site, count(*), avg(age) FROM federation.heart_disease GROUP BY site ORDER BY 1"),
    (
        "A cohort: departments that people with diabetes visit",
        "SELECT department, count(*) AS visits, avg(length_of_stay) FROM federation.visits WHERE patient_id IN (SELECT patient_id FROM federation.patients WHERE diagnosis LIKE 'E1%') GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
    ),
    (
        "Answers joined with an open table",
        "SELECT i.title, p.n FROM (SELECT diagnosis, count(*) AS n FROM federation.patients GROUP BY 1) p JOIN icd10 i ON i.code = p.diagnosis ORDER BY n DESC LIMIT 5",
    ),
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
    for (title, sql) in QUESTIONS {
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
                    if tables.iter().all(|t| t.rows.is_empty()) {
                        bail!("{id} has no rows for: {sql}");
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

/// The screen of a demo that is up.
pub(super) fn welcome(base_port: u16, took: Duration) -> String {
    let [(user, password, _), ..] = ROLES;
    let shown: Vec<String> = QUESTIONS.iter().take(3).map(|(title, sql)| format!("  -- {title}\n  {sql};")).collect();
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

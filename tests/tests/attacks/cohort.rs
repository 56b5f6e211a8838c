//! Attacks on a table with cohort access, which is for analysts who are bound by an agreement.

use kanon_tests::{ANALYST, Site};

use crate::solve;
use crate::world::{PEOPLE, TARGET, cell, is_ill, number};
use crate::{Row, written};

pub async fn one_group(site: &Site) -> Row {
    let client = site.connect(ANALYST).await.unwrap();
    let asked = [
        "SELECT count(*) FROM cohort WHERE town = 'Ems'",
        "SELECT sum(pay) FROM cohort WHERE town = 'Ems'",
        "SELECT count(*) FROM cohort WHERE bed = 17",
        "SELECT count(*) FILTER (WHERE town = 'Ems') FROM cohort",
        "SELECT count(*) FROM cohort GROUP BY town HAVING town = 'Ems'",
    ];
    let mut told = 0;
    for sql in asked {
        told += usize::from(!cell(&client, sql).await.unwrap().is_empty());
    }
    Row::new(
        "one person's group, by a filter, a key, a FILTER",
        "cohort",
        written(asked.len()),
        format!("{told} numbers: withheld, as if nobody were there"),
    )
}

pub async fn errors(site: &Site) -> Row {
    let client = site.connect(ANALYST).await.unwrap();
    let asked = [
        "SELECT count(*) FROM cohort WHERE 1 / CASE WHEN town = 'Ems' THEN 0 ELSE 1 END = 1",
        "SELECT count(*) FROM cohort WHERE CAST(CASE WHEN town = 'Ems' THEN 'x' ELSE '1' END AS bigint) = 1",
        "SELECT count(*) FROM cohort WHERE CASE WHEN town = 'Ems' THEN age * 9223372036854775807 ELSE 1 END > 0",
    ];
    let mut failed = 0;
    for sql in asked {
        failed += usize::from(cell(&client, sql).await.is_err());
    }
    Row::new(
        "error oracle: 1/0, bad casts, overflows on one person's row alone",
        "cohort",
        written(asked.len()),
        format!("{failed} errors"),
    )
}

pub async fn difference(site: &Site) -> Row {
    let client = site.connect(ANALYST).await.unwrap();
    let asked = [
        "SELECT count(*) FROM cohort WHERE ill = 'yes'".to_owned(),
        format!("SELECT count(*) FROM cohort WHERE ill = 'yes' AND bed <> {TARGET}"),
    ];
    let all = number(&client, &asked[0]).await.unwrap();
    let others = number(&client, &asked[1]).await.unwrap();
    let got = if all - others == f64::from(u8::from(is_ill(TARGET))) {
        "**gives way**: whether that person has the trait"
    } else {
        "nothing that is true"
    };
    Row::new(
        "n − 1 difference: those with a trait, and the same without one person",
        "cohort",
        written(asked.len()),
        got,
    )
}

pub async fn reconstruction(site: &Site) -> Row {
    let client = site.connect(ANALYST).await.unwrap();
    // A few more than there are people.
    let asked = PEOPLE + PEOPLE / 8;
    let mut answers = Vec::new();
    for question in 0..asked {
        let (a, b) = solve::subset(question);
        let sql = format!("SELECT count(*) FROM cohort WHERE ill = 'yes' AND {}", solve::condition(a, b));
        answers.push((question, number(&client, &sql).await.unwrap()));
    }
    let guesses = solve::guess(PEOPLE, &answers, 0.0);
    let right = guesses.iter().enumerate().filter(|(i, guess)| is_ill(i + 1) == **guess).count();
    Row::new(
        "linear reconstruction from random subsets",
        "cohort",
        written(asked),
        format!("**gives way**: {right} of {PEOPLE} traits right"),
    )
}

//! Answers that must agree with one another, whatever they are: of a condition, the rows of which it is true, false and unknown are all rows
//! (TLP), and a condition counts the same whether it filters or is only looked at (NoREC). See Rigger and Su, OOPSLA 2020 and ESEC/FSE 2020.

use std::time::Instant;

use kanon_tests::wire::query;

use crate::chance::Chance;
use crate::expressions::{Column, Kind, Maker};
use crate::session::{Problems, Session};
use crate::world::OPEN;

const SOURCES: [&str; 5] = [
    "people AS a",
    "trips AS b",
    "people AS a LEFT JOIN trips AS b ON a.id = b.id",
    "people AS a JOIN trips AS b ON a.id = b.id",
    "people AS a FULL JOIN trips AS b ON a.id = b.id",
];

/// Asks pairs of questions. Gives how many could be compared, and which disagree.
pub async fn compare(port: u16, seed: u64, most: usize, until: Instant) -> (usize, Problems) {
    let mut chance = Chance::new(seed);
    let mut session = Session::connect(port).await;
    let (mut compared, mut problems) = (0, Problems::new());
    for _ in 0..most {
        if Instant::now() >= until {
            break;
        }
        let from = *chance.pick(&SOURCES);
        let columns = OPEN.iter().zip(["a", "b"]).filter(|(_, alias)| from.contains(&format!("AS {alias}")));
        let columns = columns
            .flat_map(|(table, alias)| {
                table.columns.iter().map(move |(name, kind)| Column { name: format!("{alias}.{name}"), kind: *kind })
            })
            .collect();
        let mut maker = Maker { chance: &mut chance, columns, parameters: None };
        let p = maker.expression(Kind::Bool, 3);
        let value = maker.expression(Kind::Text, 1);
        let pairs = [
            (
                "TLP",
                format!("SELECT count(*) FROM {from}"),
                format!(
                    "SELECT (SELECT count(*) FROM {from} WHERE {p}) + (SELECT count(*) FROM {from} WHERE NOT ({p})) + \
                     (SELECT count(*) FROM {from} WHERE ({p}) IS NULL)"
                ),
            ),
            (
                "NoREC",
                format!("SELECT count(*) FROM {from} WHERE {p}"),
                format!(
                    "SELECT COALESCE(sum(CASE WHEN x.p THEN 1 ELSE 0 END), 0) FROM (SELECT ({p}) AS p FROM {from}) AS x"
                ),
            ),
            (
                "TLP of rows",
                format!(
                    "SELECT md5(string_agg(v, '|' ORDER BY v)) FROM (SELECT COALESCE({value}, '∅') AS v FROM {from}) AS x"
                ),
                format!(
                    "SELECT md5(string_agg(v, '|' ORDER BY v)) FROM (SELECT COALESCE({value}, '∅') AS v FROM {from} WHERE {p} UNION ALL \
                     SELECT COALESCE({value}, '∅') FROM {from} WHERE NOT ({p}) UNION ALL SELECT COALESCE({value}, '∅') FROM {from} WHERE ({p}) IS NULL) AS x"
                ),
            ),
        ];
        for (relation, one, two) in pairs {
            // Two statements that are asked for by themselves: an error of one is no answer to compare.
            let mut values = Vec::new();
            for sql in [&one, &two] {
                let Some(heard) = session.exchange(&query(sql)).await else {
                    problems.insert(format!("the connection ended at {sql}"), String::new());
                    session = Session::connect(port).await;
                    break;
                };
                match (heard.error, heard.values.into_iter().next()) {
                    (None, Some(value)) => values.push(value),
                    _ => break,
                }
            }
            if let [a, b] = values.as_slice() {
                compared += 1;
                // 7 and 7.0 are the same number.
                if a != b {
                    problems.insert(format!("{relation}: {a:?} and {b:?}: {one}"), two);
                }
            }
        }
    }
    (compared, problems)
}

//! The attacks of docs/attacks.md, tried on real nodes: the table there is what this test found.
//!
//! A row holds facts: how many attempts were made, and what the attacker got of them. Numbers that are random are not in it; what is said of them
//! is rounded so that it holds in all but one of 10⁵ runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod cohort;
mod peer;
mod private;
mod solve;
mod world;

use std::path::Path;

/// An attack, and what came of it.
pub struct Row {
    /// What is tried.
    attack: &'static str,
    /// Against which access.
    access: &'static str,
    /// How often.
    attempts: String,
    /// What the attacker has in the end.
    got: String,
}

impl Row {
    fn new(attack: &'static str, access: &'static str, attempts: impl Into<String>, got: impl Into<String>) -> Row {
        Row { attack, access, attempts: attempts.into(), got: got.into() }
    }
}

/// A number with commas.
pub fn written(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_attacks_is_what_they_come_to() {
    let federation = world::start().await;
    let beta = federation.site("beta");
    let mut rows = Vec::new();
    rows.push(private::repeats(beta).await);
    rows.push(private::rewordings(beta).await);
    rows.push(private::other_questions(beta).await);
    rows.push(private::many_analysts(beta).await);
    rows.push(private::larger_epsilon(beta).await);
    rows.push(private::second_registration(beta).await);
    rows.push(private::tracker(beta).await);
    rows.push(private::key_of_one(beta).await);
    rows.push(private::errors(beta).await);
    rows.push(private::precision(beta).await);
    rows.push(private::few_large_questions(beta).await);
    rows.push(private::many_small_questions(beta).await);
    rows.push(private::time(beta).await);
    rows.push(peer::rows(&federation).await);
    rows.push(peer::epsilon(&federation).await);
    rows.push(peer::tickets(&federation).await);
    rows.push(cohort::one_group(beta).await);
    rows.push(cohort::errors(beta).await);
    rows.push(cohort::difference(beta).await);
    rows.push(cohort::reconstruction(beta).await);
    let mut table = "| attack | access | attempts | what the attacker got |\n| --- | --- | --- | --- |\n".to_owned();
    for Row { attack, access, attempts, got } in rows {
        table.push_str(&format!("| {attack} | `{access}` | {attempts} | {got} |\n"));
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/attacks.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let (begin, end) = ("<!-- found by tests/tests/attacks -->\n", "<!-- end -->");
    let committed =
        text.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).expect("the table has its marks").0;
    assert!(committed == table, "docs/attacks.md says otherwise. What was found:\n\n{table}");
}

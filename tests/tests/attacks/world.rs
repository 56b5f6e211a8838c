//! What is attacked: 400 people, in a table for each attack, so that none spends another's budget.

use std::fmt::Write as _;

use kanon_tests::client::Client;
use kanon_tests::{ANALYST, Federation, Site, SiteSpec};

/// People, one a bed, from 1 on.
pub const PEOPLE: usize = 400;
/// The person whom the attacker is after. Its town is nobody else's.
pub const TARGET: usize = 17;
/// The budget of a kind of unit, and what a question takes of it.
pub const BUDGET: f64 = 10.0;
/// At most, of a question.
pub const EPSILON: f64 = 0.5;
/// Analysts besides the first one.
pub const OTHERS: [&str; 4] = ["bo", "cy", "di", "ed"];

/// Tables with a budget of [`BUDGET`], each with a unit kind of its own.
const SCARCE: [&str; 9] = ["repeat", "reword", "other", "many", "larger", "second", "tracker", "few", "fine"];
/// Tables whose budget does not matter.
const PLENTY: [&str; 5] = ["town", "error", "float", "time", "peer"];

/// Whether somebody has the trait that the attacker is after: exactly half of all have it, and the target. (Those that are no squares modulo 401.)
pub fn is_ill(bed: usize) -> bool {
    !(1..=PEOPLE).any(|root| root * root % (PEOPLE + 1) == bed)
}

fn people() -> Vec<u8> {
    let mut text = "pid,bed,sex,age,pay,town,ill\n".to_owned();
    for bed in 1..=PEOPLE {
        let town = if bed == TARGET { "Ems" } else { ["Bern", "Chur"][bed % 2] };
        let pay = if bed == TARGET { 0.0 } else { 1000.25 + (bed * 37 % 101) as f64 * 0.125 };
        let ill = if is_ill(bed) { "yes" } else { "no" };
        writeln!(text, "{},{bed},{},{},{pay},{town},{ill}", 9000 + bed, ["f", "m"][bed % 2], 20 + bed % 50).unwrap();
    }
    text.into_bytes()
}

/// Node `beta` has the tables, and node `alpha` none: it coordinates.
pub async fn start() -> Federation {
    let roles = |peer: &str| {
        let mut all: Vec<String> = std::iter::once(ANALYST)
            .chain(OTHERS.map(|name| (name, ANALYST.1)))
            .map(|(name, password)| format!("CREATE ROLE {name} LOGIN PASSWORD '{}'", password.replace('\'', "''")))
            .collect();
        all.push(format!("CREATE ROLE \"{}@{peer}\"", ANALYST.0));
        all
    };
    let mut setup = roles("alpha");
    let mut names: Vec<String> = std::iter::once(ANALYST.0).chain(OTHERS).map(str::to_owned).collect();
    names.push(format!("\"{}@alpha\"", ANALYST.0));
    setup.extend(names.iter().map(|name| format!("GRANT analyst TO {name}")));
    let mut files = Vec::new();
    let tables = SCARCE
        .iter()
        .map(|t| (*t, Some(BUDGET)))
        .chain(PLENTY.iter().map(|t| (*t, Some(1e6))))
        .chain([("cohort", None)]);
    for (table, budget) in tables {
        files.push((format!("{table}.csv"), people()));
        setup.push(format!("CREATE EXTERNAL TABLE {table} STORED AS CSV LOCATION '{{dir}}/{table}.csv'"));
        let unit = format!("unit = 'pid', unit_kind = 'of_{table}', unit_unique = true, min_cohort = 5");
        match budget {
            Some(budget) => {
                // Without a δ all charges add up as they are; selected keys need one.
                let delta = if table == "town" { 0.01 } else { 0.0 };
                setup.push(format!(
                    "CREATE PRIVACY UNIT of_{table} WITH (budget_epsilon = {budget}, budget_delta = {delta})"
                ));
                setup.push(format!(
                    "ALTER TABLE {table} SET (access = 'private', {unit}, epsilon_per_query = {EPSILON}, delta_per_query = 1e-8)"
                ));
                for (column, options) in
                    [("age", "lower = 0, upper = 100"), ("pay", "lower = 0, upper = 2000"), ("sex", "domain = '{f,m}'")]
                {
                    setup.push(format!("ALTER TABLE {table} ALTER COLUMN {column} SET ({options})"));
                }
            }
            None => setup.push(format!("ALTER TABLE {table} SET (access = 'cohort', {unit})")),
        }
        setup.extend(names.iter().map(|name| format!("GRANT SELECT ON {table} TO {name}")));
    }
    Federation::start(vec![
        SiteSpec { id: "alpha", setup: roles("beta"), files: Vec::new() },
        SiteSpec { id: "beta", setup, files },
    ])
    .await
}

/// What all together have spent of a table's budget.
pub async fn spent(site: &Site, table: &str) -> f64 {
    let admin = site.wait().await;
    let sql = format!("SELECT lifetime_epsilon FROM kanon.budget WHERE scope = 'unit' AND unit_kind = 'of_{table}'");
    admin.ask(&sql).await.unwrap().rows[0][0].as_deref().unwrap().parse().unwrap()
}

/// The first cell of an answer, or the SQLSTATE of a refusal.
pub async fn cell(client: &Client, sql: &str) -> Result<String, String> {
    match client.ask(sql).await {
        Ok(answer) => Ok(answer.lines().first().cloned().unwrap_or_default()),
        Err(error) => Err(error.code),
    }
}

/// The same, for a number.
pub async fn number(client: &Client, sql: &str) -> Result<f64, String> {
    Ok(cell(client, sql).await?.parse().unwrap_or_else(|_| panic!("{sql}: no number")))
}

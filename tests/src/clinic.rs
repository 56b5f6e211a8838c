//! One node with private tables of one unit kind: patients, one row each, and their visits.

use std::fmt::Write;

use crate::client::Client;
use crate::{Federation, SiteSpec};

/// The analyst who may ask.
pub const ANA: (&str, &str) = ("ana", "ana's password");
/// The δ of a query.
pub const DELTA_PER_QUERY: f64 = 1e-8;

/// What it has, and what may be spent.
pub struct Clinic {
    /// Patients from 1 on.
    pub patients: usize,
    /// Of the unit kind.
    pub budget_epsilon: f64,
    /// Of a query.
    pub epsilon: f64,
    /// Statements that its admin runs after all others.
    pub more: Vec<String>,
    /// Files besides `patients.csv` and `visits.csv`.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Default for Clinic {
    fn default() -> Clinic {
        Clinic { patients: 400, budget_epsilon: 1e6, epsilon: 1.0, more: Vec::new(), files: Vec::new() }
    }
}

impl Clinic {
    /// Starts it. Its `budget_delta` is 0: what is spent is the sum of every ε charged.
    pub async fn start(self) -> Federation {
        let Clinic { patients, budget_epsilon, epsilon, more, mut files } = self;
        let mut setup = vec![
            format!("CREATE ROLE {} LOGIN PASSWORD '{}'", ANA.0, ANA.1.replace('\'', "''")),
            format!("GRANT analyst TO {}", ANA.0),
            "CREATE EXTERNAL TABLE patients STORED AS CSV LOCATION '{dir}/patients.csv'".into(),
            "CREATE EXTERNAL TABLE visits STORED AS CSV LOCATION '{dir}/visits.csv'".into(),
            format!("CREATE PRIVACY UNIT patient WITH (budget_epsilon = {budget_epsilon}, budget_delta = 0)"),
            format!(
                "ALTER TABLE patients SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 5,
                 epsilon_per_query = {epsilon}, delta_per_query = {DELTA_PER_QUERY})"
            ),
            format!(
                "ALTER TABLE visits SET (access = 'private', unit = 'pid', unit_kind = 'patient', min_cohort = 5,
                 epsilon_per_query = {epsilon}, delta_per_query = {DELTA_PER_QUERY}, max_groups_per_unit = 2, max_rows_per_group = 3)"
            ),
            "ALTER TABLE patients ALTER COLUMN age SET (lower = 0, upper = 100)".into(),
            "ALTER TABLE patients ALTER COLUMN sex SET (domain = '{female,male}')".into(),
            "ALTER TABLE visits ALTER COLUMN minutes SET (lower = 0, upper = 100)".into(),
            format!("GRANT SELECT ON patients TO {}", ANA.0),
            format!("GRANT SELECT ON visits TO {}", ANA.0),
        ];
        setup.extend(more);
        files.extend([
            ("patients.csv".to_owned(), patients_csv(patients)),
            ("visits.csv".to_owned(), visits_csv(patients)),
        ]);
        Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await
    }
}

/// What ana has spent, as `kanon.budget` says.
pub async fn spent(client: &Client) -> f64 {
    let answer = client.ask("SELECT lifetime_epsilon FROM kanon.budget WHERE scope = 'principal'").await.unwrap();
    answer.rows[0][0].as_deref().unwrap().parse().unwrap()
}

/// Each with a sex, an age of 20 to 69, a ward of four and a trait that every third has.
fn patients_csv(n: usize) -> Vec<u8> {
    let mut text = "pid,sex,age,ward,ill\n".to_owned();
    for i in 1..=n {
        let ill = if i % 3 == 0 { "yes" } else { "no" };
        writeln!(text, "{i},{},{},w{},{ill}", ["female", "male"][i % 2], 20 + i % 50, i % 4).unwrap();
    }
    text.into_bytes()
}

/// Patient i has 1 + i modulo 3 of them, in one room.
fn visits_csv(n: usize) -> Vec<u8> {
    let mut text = "vid,pid,room,minutes\n".to_owned();
    let mut vid = 0;
    for i in 1..=n {
        for v in 0..=i % 3 {
            writeln!(text, "{vid},{i},r{},{}", i % 5, 10 + 7 * v + i % 20).unwrap();
            vid += 1;
        }
    }
    text.into_bytes()
}

//! What one node of the demo sets up before it listens: tables, policies, roles. All of it by SQL, as a steward would.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kanon_engine::node::Node;
use kanon_engine::session::Session;

use super::ROLES;
use super::data::{self, HEART_DISEASE, HOSPITALS, Hospital};

/// The demo's tables.
pub(crate) const TABLES: [&str; 4] = ["heart_disease", "patients", "visits", "icd10"];

/// Writes the data and registers it, unless an earlier run did.
pub(crate) async fn run(node: &Arc<Node>, patients: u32) -> Result<()> {
    let id = node.config.node_id.as_str();
    let hospital = data::hospital(id).ok_or_else(|| anyhow!("{id} is not a node of the demo"))?;
    let done = node.config.dir.join("demo-is-set-up");
    if std::fs::read_to_string(&done).is_ok_and(|text| text == patients.to_string()) {
        return Ok(());
    }
    let folder = node.config.dir.join("data");
    std::fs::create_dir_all(&folder)?;
    write_data(hospital, &folder, patients).await?;

    let session = Session::open(Arc::clone(node), node.local_admin());
    for statement in statements(hospital, &folder.to_string_lossy()) {
        run_statement(&session, &statement).await.with_context(|| statement.clone())?;
    }
    for name in TABLES {
        for schema in std::iter::once("federation").chain(HOSPITALS.iter().map(|h| h.id).filter(|other| *other != id)) {
            node.catalog.grant_select_ahead(schema, name, "demo_user").await?;
        }
    }
    std::fs::write(done, patients.to_string())?;
    Ok(())
}

async fn run_statement(session: &Arc<Session>, text: &str) -> Result<()> {
    let prepared = session.prepare(text, &[]).await?;
    session.execute(&prepared, Vec::new()).await?;
    Ok(())
}

async fn write_data(hospital: &Hospital, folder: &std::path::Path, patients: u32) -> Result<()> {
    let site = HOSPITALS.iter().position(|h| h.id == hospital.id).unwrap_or(0);
    let count = patients as usize;
    hospital.write(folder).await?;
    data::write_parquet(&folder.join("icd10.parquet"), &[data::icd10()?])?;
    data::write_parquet(&folder.join("patients.parquet"), &[data::patients(site, count)?])?;
    data::write_parquet(&folder.join("visits.parquet"), &[data::visits(site, count)?])
}

/// The rules of the two tables that are answered with noise.
fn private() -> Vec<String> {
    let list = |values: &[String]| values.join(",");
    let regions: Vec<String> = (0..20).map(data::region).collect();
    let departments: Vec<String> = data::DEPARTMENTS.iter().map(|name| format!("\"{name}\"")).collect();
    let mut all = vec![
        "ALTER TABLE patients SET (access = 'private', unit = 'patient_id', unit_kind = 'patient', unit_unique = true, min_cohort = 10,
         epsilon_per_query = 0.1, delta_per_query = 1e-8, epsilon_per_job = 1)"
            .to_owned(),
        "ALTER TABLE visits SET (access = 'private', unit = 'patient_id', unit_kind = 'patient', min_cohort = 10,
         epsilon_per_query = 0.5, delta_per_query = 1e-8, max_groups_per_unit = 4, max_rows_per_group = 5, max_norm = 20)"
            .to_owned(),
    ];
    let mut set = |table: &str, column: &str, what: String| {
        all.push(format!("ALTER TABLE {table} ALTER COLUMN {column} SET ({what})"));
    };
    set("patients", "age", "lower = 0, upper = 110".into());
    set("patients", "bmi", "lower = 10, upper = 70".into());
    set("patients", "outcome", "lower = 0, upper = 1".into());
    set("patients", "sex", "domain = '{female,male}'".into());
    set("patients", "region", format!("domain = '{{{}}}'", list(&regions)));
    set("visits", "cost", "lower = 0, upper = 20000".into());
    set("visits", "length_of_stay", "lower = 0, upper = 60".into());
    set("visits", "department", format!("domain = '{{{}}}'", list(&departments)));
    all
}

/// The steward's and admin's statements, in order.
fn statements(hospital: &Hospital, folder: &str) -> Vec<String> {
    let mut all = Vec::new();
    for table in TABLES {
        all.push(format!("DROP TABLE IF EXISTS {table}"));
    }
    let options = if hospital.format == "SQLITE" { " OPTIONS ('table' 'heart_disease')" } else { "" };
    // What was spent on people is kept, whatever becomes of the tables.
    all.push("CREATE PRIVACY UNIT IF NOT EXISTS patient WITH (budget_epsilon = 10, budget_delta = 1e-6, budget_window = '30 days')".into());
    all.push(format!(
        "CREATE EXTERNAL TABLE heart_disease STORED AS {} LOCATION '{folder}/{}'{options}",
        hospital.format, hospital.file
    ));
    for table in ["patients", "visits", "icd10"] {
        all.push(format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{folder}/{table}.parquet'"));
    }
    all.push("ALTER TABLE heart_disease SET (access = 'cohort', unit = 'patient_id', unit_kind = 'patient', unit_unique = true, min_cohort = 10)".into());
    for column in ["cholesterol", "resting_bp", "max_heart_rate", "st_depression"] {
        all.push(format!("ALTER TABLE heart_disease ALTER COLUMN {column} SET (role = 'measure')"));
    }
    all.extend(private());
    all.push("ALTER TABLE icd10 SET (access = 'open')".into());
    all.push("COMMENT ON TABLE heart_disease IS 'UCI heart disease study: one row a patient of this hospital'".into());
    for (column, _, about) in HEART_DISEASE {
        all.push(format!("COMMENT ON COLUMN heart_disease.{column} IS '{about}'"));
    }
    all.push("COMMENT ON TABLE patients IS 'synthetic: one row a person'".into());
    all.push("COMMENT ON TABLE visits IS 'synthetic: about five visits a patient, a few have hundreds'".into());
    all.push("COMMENT ON TABLE icd10 IS 'titles and chapters of the diagnoses in patients'".into());
    for (name, password, granted) in ROLES {
        all.push(format!("DROP ROLE IF EXISTS {name}"));
        all.push(format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"));
        all.extend(granted.iter().map(|role| format!("GRANT {role} TO {name}")));
    }
    // The analyst as it comes through each peer: a site grants to `name@peer` what it lets that peer's people ask.
    let peers = HOSPITALS.iter().filter(|h| h.id != hospital.id).map(|h| format!("\"demo_user@{}\"", h.id));
    for name in peers {
        all.push(format!("DROP ROLE IF EXISTS {name}"));
        all.push(format!("CREATE ROLE {name}"));
        all.push(format!("GRANT analyst TO {name}"));
        all.extend(TABLES.iter().map(|table| format!("GRANT SELECT ON {table} TO {name}")));
    }
    all.extend(TABLES.iter().map(|table| format!("GRANT SELECT ON {table} TO demo_user")));
    all
}

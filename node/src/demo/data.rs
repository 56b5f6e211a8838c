//! The demo's tables: the UCI heart disease study, one hospital a node, and synthetic tables that are the same on every run.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::parquet::arrow::ArrowWriter;

use super::random::SplitMix;

/// A hospital of the study and how its node keeps the table.
pub struct Hospital {
    /// The node id.
    pub id: &'static str,
    /// Shown in `kanon.nodes`.
    pub institution: &'static str,
    csv: &'static str,
    /// PARQUET, CSV or SQLITE.
    pub format: &'static str,
    /// The file's name in the node's data folder.
    pub file: &'static str,
}

/// The four nodes of the demo.
pub const HOSPITALS: [Hospital; 4] = [
    Hospital {
        id: "cleveland",
        institution: "Cleveland Clinic Foundation",
        csv: include_str!("../../data/heart_disease/cleveland.csv"),
        format: "PARQUET",
        file: "heart_disease.parquet",
    },
    Hospital {
        id: "budapest",
        institution: "Hungarian Institute of Cardiology, Budapest",
        csv: include_str!("../../data/heart_disease/budapest.csv"),
        format: "CSV",
        file: "heart_disease.csv",
    },
    Hospital {
        id: "zurich",
        institution: "University Hospitals Zurich and Basel",
        csv: include_str!("../../data/heart_disease/zurich.csv"),
        format: "SQLITE",
        file: "heart_disease.db",
    },
    Hospital {
        id: "long_beach",
        institution: "V.A. Medical Center, Long Beach",
        csv: include_str!("../../data/heart_disease/long_beach.csv"),
        format: "PARQUET",
        file: "heart_disease.parquet",
    },
];

/// The columns of `heart_disease`, with what they mean.
pub const HEART_DISEASE: [(&str, DataType, &str); 15] = [
    ("patient_id", DataType::Int64, "the person"),
    ("age", DataType::Int64, "years"),
    ("sex", DataType::Utf8, "female, male"),
    ("chest_pain", DataType::Utf8, "typical angina, atypical angina, non-anginal, asymptomatic"),
    ("resting_bp", DataType::Int64, "resting blood pressure, mm Hg"),
    ("cholesterol", DataType::Int64, "serum cholesterol, mg/dl; 0 at zurich, where it was not taken"),
    ("fasting_sugar_high", DataType::Boolean, "fasting blood sugar over 120 mg/dl"),
    ("resting_ecg", DataType::Utf8, "normal, st-t abnormality, lv hypertrophy"),
    ("max_heart_rate", DataType::Int64, "highest heart rate reached, beats a minute"),
    ("exercise_angina", DataType::Boolean, "angina brought on by exercise"),
    ("st_depression", DataType::Float64, "ST depression by exercise relative to rest, mm"),
    ("st_slope", DataType::Utf8, "upsloping, flat, downsloping"),
    ("major_vessels", DataType::Int64, "major vessels coloured by fluoroscopy, 0 to 3"),
    ("thal", DataType::Utf8, "normal, fixed defect, reversible defect"),
    ("severity", DataType::Int64, "0 (no disease) to 4"),
];

/// The demo's node of an id.
pub fn hospital(id: &str) -> Option<&'static Hospital> {
    HOSPITALS.iter().find(|h| h.id == id)
}

impl Hospital {
    /// The study's rows at this hospital.
    pub fn rows(&self) -> Result<RecordBatch> {
        let fields: Vec<Field> = HEART_DISEASE.iter().map(|(n, t, _)| Field::new(*n, t.clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let mut reader =
            ReaderBuilder::new(schema).with_header(true).with_batch_size(10_000).build(self.csv.as_bytes())?;
        reader.next().ok_or_else(|| anyhow!("the study has no rows for {}", self.id))?.context("reading the study")
    }

    /// Writes the study's rows in this node's format.
    pub async fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(self.file);
        match self.format {
            "CSV" => std::fs::write(&path, self.csv)?,
            "SQLITE" => write_sqlite(&path, &self.rows()?).await?,
            _ => write_parquet(&path, &[self.rows()?])?,
        }
        Ok(())
    }
}

/// Writes batches of one schema to a Parquet file.
pub fn write_parquet(path: &Path, batches: &[RecordBatch]) -> Result<()> {
    let schema = batches.first().ok_or_else(|| anyhow!("nothing to write"))?.schema();
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema, None)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(())
}

async fn write_sqlite(path: &Path, rows: &RecordBatch) -> Result<()> {
    use sqlx::{ConnectOptions, Connection};
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let mut connection =
        sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await?;
    let declared: Vec<String> = rows
        .schema()
        .fields()
        .iter()
        .map(|f| {
            let kind = match f.data_type() {
                DataType::Int64 => "INTEGER",
                DataType::Float64 => "DOUBLE",
                DataType::Boolean => "BOOLEAN",
                _ => "TEXT",
            };
            format!("\"{}\" {kind}", f.name())
        })
        .collect();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE TABLE heart_disease ({})", declared.join(", "))))
        .execute(&mut connection)
        .await?;
    let mut transaction = connection.begin().await?;
    for row in 0..rows.num_rows() {
        let mut values = Vec::with_capacity(rows.num_columns());
        for column in rows.columns() {
            values.push(if column.is_null(row) {
                "NULL".to_owned()
            } else {
                let text = array_value_to_string(column, row)?;
                match column.data_type() {
                    DataType::Utf8 => format!("'{}'", text.replace('\'', "''")),
                    _ => text,
                }
            });
        }
        sqlx::query(sqlx::AssertSqlSafe(format!("INSERT INTO heart_disease VALUES ({})", values.join(", "))))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    Ok(())
}

/// Codes, titles and chapters of the 50 diagnoses, by how common they are among the synthetic patients.
pub const ICD10: [(&str, &str, &str); 50] = [
    ("I10", "Essential (primary) hypertension", "IX"),
    ("E11", "Type 2 diabetes mellitus", "IV"),
    ("J06", "Acute upper respiratory infections of multiple and unspecified sites", "X"),
    ("M54", "Dorsalgia", "XIII"),
    ("E78", "Disorders of lipoprotein metabolism and other lipidaemias", "IV"),
    ("F32", "Depressive episode", "V"),
    ("I25", "Chronic ischaemic heart disease", "IX"),
    ("J45", "Asthma", "X"),
    ("K21", "Gastro-oesophageal reflux disease", "XI"),
    ("F41", "Other anxiety disorders", "V"),
    ("N39", "Other disorders of urinary system", "XIV"),
    ("J44", "Other chronic obstructive pulmonary disease", "X"),
    ("I48", "Atrial fibrillation and flutter", "IX"),
    ("M17", "Gonarthrosis", "XIII"),
    ("E66", "Obesity", "IV"),
    ("I50", "Heart failure", "IX"),
    ("K29", "Gastritis and duodenitis", "XI"),
    ("G43", "Migraine", "VI"),
    ("E03", "Other hypothyroidism", "IV"),
    ("N18", "Chronic kidney disease", "XIV"),
    ("J20", "Acute bronchitis", "X"),
    ("L20", "Atopic dermatitis", "XII"),
    ("M16", "Coxarthrosis", "XIII"),
    ("H25", "Senile cataract", "VII"),
    ("I63", "Cerebral infarction", "IX"),
    ("C50", "Malignant neoplasm of breast", "II"),
    ("J18", "Pneumonia, organism unspecified", "X"),
    ("D50", "Iron deficiency anaemia", "III"),
    ("K57", "Diverticular disease of intestine", "XI"),
    ("I21", "Acute myocardial infarction", "IX"),
    ("C61", "Malignant neoplasm of prostate", "II"),
    ("G47", "Sleep disorders", "VI"),
    ("K80", "Cholelithiasis", "XI"),
    ("M81", "Osteoporosis without pathological fracture", "XIII"),
    ("S52", "Fracture of forearm", "XIX"),
    ("C18", "Malignant neoplasm of colon", "II"),
    ("G40", "Epilepsy", "VI"),
    ("N20", "Calculus of kidney and ureter", "XIV"),
    ("H40", "Glaucoma", "VII"),
    ("C34", "Malignant neoplasm of bronchus and lung", "II"),
    ("K50", "Crohn disease", "XI"),
    ("F20", "Schizophrenia", "V"),
    ("G20", "Parkinson disease", "VI"),
    ("M05", "Seropositive rheumatoid arthritis", "XIII"),
    ("S72", "Fracture of femur", "XIX"),
    ("E10", "Type 1 diabetes mellitus", "IV"),
    ("G35", "Multiple sclerosis", "VI"),
    ("C91", "Lymphoid leukaemia", "II"),
    ("E84", "Cystic fibrosis", "IV"),
    ("G12", "Spinal muscular atrophy and related syndromes", "VI"),
];

/// The departments a visit can be in.
pub const DEPARTMENTS: [&str; 12] = [
    "cardiology",
    "dermatology",
    "emergency",
    "endocrinology",
    "gastroenterology",
    "internal medicine",
    "neurology",
    "oncology",
    "ophthalmology",
    "orthopaedics",
    "psychiatry",
    "surgery",
];

/// The 20 regions of the synthetic patients.
pub fn region(number: usize) -> String {
    format!("region {:02}", number + 1)
}

/// `icd10(code, title, chapter)`: open.
pub fn icd10() -> Result<RecordBatch> {
    let text = |pick: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
        Arc::new(StringArray::from(ICD10.iter().map(pick).collect::<Vec<_>>())) as ArrayRef
    };
    batch(&[("code", text(|d| d.0)), ("title", text(|d| d.1)), ("chapter", text(|d| d.2))])
}

/// `patients` of one site: one row a person, ids from `site · 10,000,000`, the same on every run.
pub fn patients(site: usize, count: usize) -> Result<RecordBatch> {
    let mut r = SplitMix::new(0x7061_7469_656e_7473 ^ site as u64);
    let (mut id, mut age, mut sex, mut regions, mut diagnosis, mut bmi, mut smoker, mut outcome) =
        (vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
    for i in 0..count {
        let years = (r.unit() + r.unit() + r.unit()) / 3.0 * 104.0 + 2.0;
        let smokes = r.unit() < 0.22;
        let mass = (26.0 + 4.6 * (r.unit() + r.unit() + r.unit() + r.unit() - 2.0) * 1.73).clamp(10.0, 70.0);
        // Skewed: the share of the n-th diagnosis falls by a tenth each time.
        let d = (((1.0 - r.unit() * (1.0 - 0.9_f64.powi(50))).ln() / 0.9_f64.ln()) as usize).min(49);
        let risk = 0.02 + 0.0035 * years + if smokes { 0.09 } else { 0.0 } + 0.004 * (mass - 26.0).max(0.0);
        id.push((site as i64 + 1) * 10_000_000 + i as i64);
        age.push((years as i64).min(110));
        sex.push(if r.unit() < 0.51 { "female" } else { "male" });
        regions.push(region(((r.unit() * r.unit()) * 20.0) as usize));
        diagnosis.push(ICD10.get(d).map_or("I10", |d| d.0));
        bmi.push((mass * 10.0).round() / 10.0);
        smoker.push(smokes);
        outcome.push(i64::from(r.unit() < risk));
    }
    batch(&[
        ("patient_id", Arc::new(Int64Array::from(id))),
        ("age", Arc::new(Int64Array::from(age))),
        ("sex", Arc::new(StringArray::from(sex))),
        ("region", Arc::new(StringArray::from(regions))),
        ("diagnosis", Arc::new(StringArray::from(diagnosis))),
        ("bmi", Arc::new(Float64Array::from(bmi))),
        ("smoker", Arc::new(BooleanArray::from(smoker))),
        ("outcome", Arc::new(Int64Array::from(outcome))),
    ])
}

/// `visits` of one site: about five a patient with a heavy tail, the same on every run.
pub fn visits(site: usize, patients: usize) -> Result<RecordBatch> {
    let mut r = SplitMix::new(0x0076_6973_6974_7300 ^ site as u64);
    let (mut id, mut patient, mut date, mut department, mut cost, mut stay) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for p in 0..patients {
        // Pareto with a mean of about five: most people come once to four times, a few hundreds of times.
        let count = (2.2 / (1.0 - r.unit()).powf(1.0 / 1.8)) as usize;
        for _ in 0..count.clamp(1, 500) {
            id.push((site as i64 + 1) * 100_000_000 + id.len() as i64);
            patient.push((site as i64 + 1) * 10_000_000 + p as i64);
            date.push(18_262 + (r.unit() * 1_826.0) as i32); // 2020-01-01 and five years
            department.push(DEPARTMENTS.get((r.unit().powf(1.4) * 12.0) as usize).copied().unwrap_or("surgery"));
            let nights = ((1.0 - r.unit()).ln() * -2.1) as i64;
            cost.push(((80.0 + 640.0 * nights as f64 + 300.0 * -(1.0 - r.unit()).ln()).min(20_000.0) * 100.0) as i128);
            stay.push(nights.min(60));
        }
    }
    batch(&[
        ("visit_id", Arc::new(Int64Array::from(id))),
        ("patient_id", Arc::new(Int64Array::from(patient))),
        ("visit_date", Arc::new(Date32Array::from(date))),
        ("department", Arc::new(StringArray::from(department))),
        ("cost", Arc::new(Decimal128Array::from(cost).with_precision_and_scale(10, 2)?)),
        ("length_of_stay", Arc::new(Int64Array::from(stay))),
    ])
}

fn batch(columns: &[(&str, ArrayRef)]) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new(schema, columns.iter().map(|(_, a)| Arc::clone(a)).collect())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_study_has_its_920_patients() {
        let rows: Vec<usize> = HOSPITALS.iter().map(|h| h.rows().unwrap().num_rows()).collect();
        assert_eq!(rows.iter().sum::<usize>(), 920);
    }

    #[test]
    fn synthetic_tables_are_the_same_on_every_run_and_differ_between_sites() {
        assert_eq!(patients(1, 500).unwrap(), patients(1, 500).unwrap());
        assert_ne!(patients(1, 500).unwrap().column(1), patients(2, 500).unwrap().column(1));
        let visits = visits(0, 20_000).unwrap();
        let mean = visits.num_rows() as f64 / 20_000.0;
        assert!((3.5..6.5).contains(&mean), "{mean} visits a patient");
    }
}

//! Two nodes with tables like the demo's, and one of every type.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use datafusion::parquet::arrow::ArrowWriter;
use kanon_tests::postgres::Postgres;
use kanon_tests::tools::psql;
use kanon_tests::{ANALYST, Federation, SiteSpec};

const ICD10: &str = "code,title
E11,Type 2 diabetes mellitus
I10,Essential hypertension
I20,Angina pectoris
I21,Acute myocardial infarction
J45,Asthma
K21,Gastro-oesophageal reflux disease
";

fn site(id: &'static str, hearts: &str) -> SiteSpec {
    let setup: Vec<String> = [
        "CREATE EXTERNAL TABLE heart_disease STORED AS CSV LOCATION '{dir}/heart_disease.csv'",
        "CREATE EXTERNAL TABLE icd10 STORED AS CSV LOCATION '{dir}/icd10.csv'",
        "ALTER TABLE heart_disease SET (access = 'cohort', unit = 'patient_id', unit_kind = 'patient', unit_unique = true, min_cohort = 10)",
        "ALTER TABLE icd10 SET (access = 'open')",
        "COMMENT ON TABLE icd10 IS 'titles of diagnoses'",
        "COMMENT ON COLUMN heart_disease.age IS 'in years'",
    ]
    .map(str::to_owned)
    .into();
    let files = vec![
        ("heart_disease.csv".to_owned(), hearts.into()),
        ("icd10.csv".to_owned(), ICD10.into()),
        ("kinds.parquet".to_owned(), kinds()),
        ("visits.csv".to_owned(), visits().into()),
    ];
    SiteSpec { id, setup, files }
}

/// Two nodes, `cleveland` and `zurich`. [`ANALYST`] may ask everything, at home and in the federation; `kinds` and `visits` are at
/// cleveland only.
pub async fn start() -> Federation {
    let federation = Federation::start(vec![
        site("cleveland", include_str!("../../../node/data/heart_disease/cleveland.csv")),
        site("zurich", include_str!("../../../node/data/heart_disease/zurich.csv")),
    ])
    .await;
    federation.grant_all(&["heart_disease", "icd10"]).await;
    let admin = federation.site("cleveland").wait().await;
    let dir = federation.site("cleveland").dir.display();
    for statement in [
        format!("CREATE EXTERNAL TABLE kinds STORED AS PARQUET LOCATION '{dir}/kinds.parquet'"),
        format!("CREATE EXTERNAL TABLE visits STORED AS CSV LOCATION '{dir}/visits.csv'"),
        "ALTER TABLE kinds SET (access = 'open')".to_owned(),
        "ALTER TABLE visits SET (access = 'cohort', unit = 'patient_id', unit_kind = 'patient', min_cohort = 10)"
            .to_owned(),
        format!("GRANT SELECT ON kinds TO {}", ANALYST.0),
        format!("GRANT SELECT ON visits TO {}", ANALYST.0),
    ] {
        admin.ask(&statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
    federation
}

/// Makes the tables of cleveland in PostgreSQL, for a role that only reads.
pub async fn same_tables(postgres: &Postgres) {
    let hearts = include_str!("../../../node/data/heart_disease/cleveland.csv");
    let statements = format!(
        "{}\nCREATE TABLE heart_disease (patient_id int8, age int8, sex text, chest_pain text, resting_bp int8, cholesterol int8,
           fasting_sugar_high bool, resting_ecg text, max_heart_rate int8, exercise_angina bool, st_depression float8, st_slope text,
           major_vessels int8, thal text, severity int8);
         CREATE TABLE icd10 (code text, title text);
         CREATE TABLE visits (patient_id int8, department text, cost float8);
         COMMENT ON TABLE icd10 IS 'titles of diagnoses';
         COMMENT ON COLUMN heart_disease.age IS 'in years';
         COPY heart_disease FROM STDIN (FORMAT csv, HEADER);\n{hearts}\\.
         COPY icd10 FROM STDIN (FORMAT csv, HEADER);\n{ICD10}\\.
         COPY visits FROM STDIN (FORMAT csv, HEADER);\n{}\\.
         ALTER ROLE {} SET default_transaction_read_only = on;\n",
        include_str!("../../clients/kinds.sql"),
        visits(),
        ANALYST.0,
    );
    let made = psql(postgres.port, ANALYST, &["-v", "ON_ERROR_STOP=1"], &statements).await;
    assert!(made.ended_well, "{}", made.text());
}

/// A connection string for libpq.
pub fn dsn(port: u16) -> String {
    format!("host=127.0.0.1 port={port} user={} password='{}' dbname=kanon", ANALYST.0, ANALYST.1.replace('\'', "\\'"))
}

fn visits() -> String {
    let mut text = "patient_id,department,cost\n".to_owned();
    for n in 0..600 {
        text += &format!("{},{},{}.50\n", n % 150, ["cardiology", "surgery"][n % 2], n);
    }
    text
}

/// Three rows of every type: ordinary, extreme, NULL.
fn kinds() -> Vec<u8> {
    let lists = |values: [Option<Vec<Option<i32>>>; 3]| ListArray::from_iter_primitive::<Int32Type, _, _>(values);
    let mut texts = ListBuilder::new(StringBuilder::new());
    texts.append_value([Some("a b"), Some("q\"u'o,t\\e"), Some("")]);
    texts.append_value([Some("NULL"), Some("null"), Some("{}")]);
    texts.append_null();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("i2", Arc::new(Int16Array::from(vec![Some(-7), Some(i16::MIN), None]))),
        ("i4", Arc::new(Int32Array::from(vec![Some(70_000), Some(i32::MIN), None]))),
        ("i8", Arc::new(Int64Array::from(vec![Some(1 << 40), Some(i64::MIN), None]))),
        ("f4", Arc::new(Float32Array::from(vec![Some(0.1), Some(f32::MAX), None]))),
        ("f8", Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::MIN_POSITIVE), None]))),
        (
            "n",
            Arc::new(
                Decimal128Array::from(vec![Some(-12_345), Some(9_999_999_999), None])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        ("t", Arc::new(StringArray::from(vec![Some("é ' \\ \t\n"), Some(""), None]))),
        ("b", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff\\"[..]), Some(&b""[..]), None]))),
        ("d", Arc::new(Date32Array::from(vec![Some(19_782), Some(-719_162), None]))),
        ("tm", Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), Some(0), None]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_709_210_701_250_000), Some(-1), None]))),
        (
            "tz",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_709_210_701_250_000), Some(0), None]).with_timezone("UTC"),
            ),
        ),
        ("a4", Arc::new(lists([Some(vec![Some(1), None, Some(3)]), Some(vec![]), None]))),
        ("at", Arc::new(texts.finish())),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    assert_eq!(fields[13].data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

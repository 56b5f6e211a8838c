//! The same queries at real nodes.

use datafusion::arrow::datatypes::DataType;
use kanon_tests::{ANALYST, Federation, SiteSpec};

use crate::compare::{cells, difference, parsed};
use crate::data::{SITES, heart, parquet, visits, wards};
use crate::in_process::whole;
use crate::queries::query;

fn specs() -> Vec<SiteSpec> {
    let table = |name: &str| {
        [
            format!("CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{{dir}}/{name}.parquet'"),
            format!("ALTER TABLE {name} SET (access = 'open')"),
        ]
    };
    let mut specs = Vec::new();
    for (i, id) in SITES.into_iter().enumerate() {
        let mut files =
            vec![("heart.parquet".to_owned(), parquet(&heart(i))), ("visits.parquet".to_owned(), parquet(&visits(i)))];
        let mut setup = [table("heart"), table("visits")].concat();
        if i == 0 {
            files.push(("wards.parquet".to_owned(), parquet(&wards())));
            setup.extend(table("wards"));
        }
        specs.push(SiteSpec { id, setup, files });
    }
    specs
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_aggregates_give_what_one_engine_gives() {
    const QUERIES: u64 = 250;
    let federation = Federation::start(specs()).await;
    federation.grant_all(&["heart", "visits"]).await;
    let coordinator = federation.site(SITES[0]);
    coordinator.wait().await.ask(&format!("GRANT SELECT ON wards TO {}", ANALYST.0)).await.unwrap();
    let client = coordinator.connect(ANALYST).await.unwrap();
    let context = whole();
    let mut failed = Vec::new();
    for number in 0..QUERIES {
        let query = query(number);
        let sql = query.sql.replace("{t}", "federation.");
        let expected = context.sql(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let types: Vec<DataType> = expected.schema().fields().iter().map(|f| f.data_type().clone()).collect();
        let expected = cells(&expected.collect().await.unwrap_or_else(|e| panic!("{sql}: {e}")));
        match client.ask(&sql).await {
            Ok(got) => {
                if let Some(difference) = difference(&expected, &parsed(&got.rows, &types), query.ordered) {
                    failed.push(format!("#{number} {sql}\n{difference}"));
                }
            }
            Err(error) => failed.push(format!("#{number} {sql}\n{error:?}")),
        }
    }
    let many = failed.len();
    assert!(failed.is_empty(), "{many} of {QUERIES} differ\n{}", failed[..many.min(12)].join("\n\n"));
}

//! The answers as they are in truth, and the cohorts behind them: plain queries over the files, without any of our own code.

use datafusion::prelude::{CsvReadOptions, SessionConfig, SessionContext};
use tempfile::TempDir;

use crate::flight::rows_of;

/// Some files as tables.
pub struct Oracle {
    context: SessionContext,
    _dir: TempDir,
}

impl Oracle {
    /// Tables of several sites one after the other: rows of the same table are together.
    pub async fn of(sites: &[Vec<(&'static str, String)>]) -> Oracle {
        let dir = TempDir::new().unwrap();
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        for (table, _) in &sites[0] {
            let folder = dir.path().join(table);
            std::fs::create_dir(&folder).unwrap();
            for (number, site) in sites.iter().enumerate() {
                let (_, text) = site.iter().find(|(name, _)| name == table).unwrap();
                std::fs::write(folder.join(format!("{number}.csv")), text).unwrap();
            }
            let rows = if *table == "regions" { "true" } else { "pid IS NOT NULL" };
            context
                .register_csv(format!("{table}_all"), folder.to_str().unwrap(), CsvReadOptions::new())
                .await
                .unwrap();
            // Rows of nobody count nowhere.
            context
                .sql(&format!("CREATE VIEW {table} AS SELECT * FROM {table}_all WHERE {rows}"))
                .await
                .unwrap()
                .collect()
                .await
                .unwrap();
        }
        Oracle { context, _dir: dir }
    }

    /// The true answer, as text.
    pub async fn answer(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let frame = self.context.sql(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let batches = frame.collect().await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        batches.iter().flat_map(rows_of).collect()
    }

    /// The smallest of the cohorts that a query counts. Nobody is no cohort.
    pub async fn smallest(&self, cohorts: &str) -> usize {
        let rows = self.answer(cohorts).await;
        assert!(!rows.is_empty(), "{cohorts} counts nothing");
        let sizes = rows.iter().map(|r| r[0].as_ref().unwrap().parse::<f64>().unwrap() as usize);
        sizes.filter(|size| *size > 0).min().unwrap_or(usize::MAX)
    }
}

/// Whether every released value is the true one: each row fits a row of the truth, but for what is NULL. Several truths are those of several
/// sites and of all of them: what a site withholds is missing from a sum, so the values of one row may be sums over different sites.
pub fn is_true(released: &[Vec<Option<String>>], truths: &[Vec<Vec<Option<String>>>]) -> bool {
    let same = |a: &Option<String>, b: &Option<String>| match (a, b) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(a), Some(b)) => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
            _ => a == b,
        },
    };
    let fits = |row: &[Option<String>], truth: &[Option<String>]| {
        truth.len() == row.len() && row.iter().zip(truth).all(|(a, b)| same(a, b))
    };
    if let [row] = released
        && truths.iter().all(|truth| truth.len() == 1 && truth[0].len() == row.len())
    {
        return row.iter().enumerate().all(|(i, value)| truths.iter().any(|t| same(value, &t[0][i])));
    }
    released.iter().all(|row| truths.iter().flatten().any(|truth| fits(row, truth)))
}

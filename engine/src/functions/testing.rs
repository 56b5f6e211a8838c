//! Statements planned and run as a session does it, without one: for the tests of functions.

use std::sync::Arc;

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{Error, Result};
use crate::pg_catalog;
use crate::session::context::base_state;

/// The rows of a statement, their values as text and NULL as `-`, or what is said of it: `22007 message`.
pub(crate) async fn answer(sql: &str) -> String {
    match rows(sql).await {
        Ok(rows) => rows.join("\n"),
        Err(error) => format!("{} {}", error.state.code(), error.message),
    }
}

async fn rows(sql: &str) -> Result<Vec<String>> {
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|e| Error::unsupported(e.to_string()))?;
    let Some(Statement::Query(mut query)) = parsed.into_iter().next() else {
        return Err(Error::unsupported("no query"));
    };
    let viewer = pg_catalog::testing::viewer();
    pg_catalog::rewrite(&mut query, &viewer, &[])?;
    let mut state = base_state(Arc::new(RuntimeEnv::default()), 1);
    state.config_mut().options_mut().execution.time_zone = Some("Europe/Zurich".into());
    let of_session = FunctionRegistry::udf(&state, "now")?.inner().with_updated_config(state.config_options());
    if let Some(now) = of_session {
        state.register_udf(Arc::new(now))?;
    }
    pg_catalog::View::of(viewer).put_into(state.config_mut().options_mut());
    let plan = state.statement_to_plan(DfStatement::Statement(Box::new(Statement::Query(query)))).await?;
    let plan = super::arithmetic::as_postgresql(plan)?;
    let (plan, _) = pg_catalog::integers::narrowed(plan)?;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let plan = pg_catalog::datetimes::read(plan)?;
    let frame = SessionContext::new_with_state(state).execute_logical_plan(plan).await?;
    let mut lines = Vec::new();
    for batch in frame.collect().await? {
        let options = FormatOptions::default().with_null("-");
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<Vec<_>, _>>();
        let columns = columns.map_err(Error::internal)?;
        for row in 0..batch.num_rows() {
            let values = columns.iter().map(|column| column.value(row).to_string());
            lines.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(lines)
}

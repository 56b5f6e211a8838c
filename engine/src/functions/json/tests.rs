//! Statements, and what PostgreSQL 15 answered to them: `psql -At -P null=NULL`, in `postgresql.txt`.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as AstStatement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::super::arithmetic;
use crate::error::{Error, Result, Sqlstate};
use crate::pg_catalog::testing::viewer;
use crate::pg_catalog::types::PgType;
use crate::pg_catalog::{datetimes, integers, rewrite};
use crate::session::context::base_state;

async fn answer(sql: &str) -> Result<(Schema, Vec<RecordBatch>)> {
    let mut state = base_state(Default::default(), 1);
    state.config_mut().options_mut().execution.time_zone = Some("UTC".to_owned());
    let Some(AstStatement::Query(mut query)) = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().pop() else {
        panic!("no query: {sql}")
    };
    rewrite(&mut query, &viewer(), &[])?;
    let statement = Statement::Statement(Box::new(AstStatement::Query(query)));
    let plan = state.statement_to_plan(statement).await?;
    let plan = super::as_postgresql(plan)?;
    let plan = arithmetic::as_postgresql(plan)?;
    let (plan, _) = integers::narrowed(plan)?;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let plan = datetimes::read(plan)?;
    let schema = plan.schema().as_arrow().clone();
    let ctx = SessionContext::new_with_state(state);
    Ok((schema, ctx.execute_logical_plan(plan).await?.collect().await?))
}

fn shown(batches: &[RecordBatch]) -> String {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| (column.data_type(), ArrayFormatter::try_new(column.as_ref(), &options).unwrap()))
            .collect();
        for row in 0..batch.num_rows() {
            let shown = columns.iter().map(|(data_type, column)| (data_type, column.value(row).to_string()));
            let values: Vec<String> = shown
                .map(|(data_type, value)| match data_type {
                    // Its first letter.
                    DataType::Boolean if value != "NULL" => value[..1].to_owned(),
                    _ => value,
                })
                .collect();
            rows.push(values.join("|"));
        }
    }
    rows.join("\n")
}

fn told(answered: Result<(Schema, Vec<RecordBatch>)>) -> String {
    match answered {
        Ok((_, batches)) => shown(&batches),
        Err(error) => format!("error {} {}", error.state.code(), error.message),
    }
}

#[tokio::test]
async fn statements_are_answered_as_postgresql_answers_them() {
    let mut wrong = Vec::new();
    for case in include_str!("postgresql.txt").split("\n\n") {
        let (sql, expected) = case.trim_end().split_once("\n----").unwrap();
        let found = told(answer(sql).await);
        if found != expected.trim_start_matches('\n') {
            wrong.push(format!("{sql}\n  -{}\n  +{found}", expected.trim_start_matches('\n')));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn columns_are_described_by_their_types() {
    for (expr, types) in [
        ("'1'::json, '1'::jsonb, NULL::json", "json jsonb json"),
        ("'1'::jsonb::text, '1'::jsonb::int, '1'::json || 'x'", "text int4 text"),
        ("'{}'::json -> 'a', '{}'::jsonb -> 'a', '{}'::jsonb ->> 'a', '{}'::jsonb #> '{a}'", "json jsonb text jsonb"),
        ("json_build_object('a', 1), jsonb_build_array(1), to_json(1), to_jsonb(1)", "json jsonb json jsonb"),
        ("json_agg(1), jsonb_agg(1), json_object_agg('a', 1), jsonb_object_agg('a', 1)", "json jsonb json jsonb"),
        ("coalesce('{}'::jsonb, NULL), CASE WHEN true THEN '{}'::json END, ARRAY[1]", "jsonb json _int4"),
        ("json_array_elements('[]'), json_array_elements_text('[]'), jsonb_array_elements('[]')", "json text jsonb"),
        ("gen_random_uuid(), 'a0eebc999c0b4ef8bb6d6bb9bd380a11'::uuid, json_array_length('[]')", "uuid uuid int4"),
        ("(SELECT '{}'::json), '[]'::jsonb || '[]', '[]'::jsonb - 0, jsonb_pretty('1')", "json jsonb jsonb text"),
    ] {
        let (schema, _) = answer(&format!("SELECT {expr}")).await.unwrap();
        let found: Vec<&str> = schema.fields().iter().map(|field| PgType::of_field(field).name).collect();
        assert_eq!(found.join(" "), types, "{expr}");
    }
    let (schema, _) = answer("SELECT value AS v FROM (SELECT * FROM jsonb_each('{}') LIMIT 1) s").await.unwrap();
    assert_eq!(PgType::of_field(schema.field(0)), PgType::JSONB);
}

#[tokio::test]
async fn what_there_is_not_is_refused_by_name() {
    for sql in [
        "SELECT jsonb_set('{}', '{a}', '1')",
        "SELECT json_each('{}')",
        "SELECT '{}'::jsonb @? '$.a'",
        "SELECT jsonb_path_query('{}', '$.a')",
        "SELECT * FROM json_to_record('{}')",
        "SELECT * FROM (VALUES ('[]'::json)) t(x), json_array_elements(t.x)",
        "SELECT json_agg(DISTINCT x) FROM (VALUES ('1'::jsonb)) t(x)",
    ] {
        let error: Error = answer(sql).await.unwrap_err();
        assert_eq!(error.state, Sqlstate::FeatureNotSupported, "{sql}: {error}");
    }
}

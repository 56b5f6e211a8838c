//! Small open tables that protected tables at sites are joined with are written into the question: their rows go along as VALUES.
//!
//! A site takes them for rows that the asker made up, which may weigh nobody: whoever met which row is a condition of every measure there.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use kanon_planner::facts::{Facts, SiteId};
use kanon_planner::release_unit::ReleaseUnit;

use super::run::Wishes;
use super::scan::Asker;
use crate::catalog::guarded::GuardedTable;
use crate::error::{Error, Result, Sqlstate};
use crate::session::report::SiteStatus;

/// The most rows of one open table (or of a query over some) that are sent along.
const MAX_ROWS: usize = 1_000;
/// The most values.
const MAX_VALUES: usize = 20_000;
/// The most bytes of text values.
const MAX_BYTES: usize = 256 << 10;

/// The unit with its open parts written out, and how sites ended that were asked for their rows. `None` if there are none.
///
/// # Errors
/// 0A000 for more rows than are sent along, or values of a type that cannot be.
pub(super) async fn written_out(
    state: &SessionState,
    facts: &(dyn Facts + Sync),
    unit: &ReleaseUnit,
    wishes: &Wishes,
) -> Result<Option<(ReleaseUnit, Vec<(SiteId, SiteStatus)>)>> {
    let parts = open_parts(facts, unit)?;
    if parts.is_empty() {
        return Ok(None);
    }
    let used = used_columns(&unit.source)?;
    let mut written = Vec::with_capacity(parts.len());
    let mut statuses = Vec::new();
    for part in parts {
        let (batches, more) = rows(state, &part, wishes).await?;
        statuses.extend(more);
        let values = values(&part, &used, &batches, false)?;
        written.push((part, values));
    }
    Ok(Some((with_parts(unit, &written)?, statuses)))
}

/// The unit with NULLs in the place of its open parts' rows, and the names of their tables: for EXPLAIN, which reads nothing.
///
/// # Errors
/// 0A000 for values of a type that cannot be sent along.
pub(super) fn sketched(facts: &dyn Facts, unit: &ReleaseUnit) -> Result<Option<(ReleaseUnit, Vec<String>)>> {
    let parts = open_parts(facts, unit)?;
    if parts.is_empty() {
        return Ok(None);
    }
    let used = used_columns(&unit.source)?;
    let mut names: Vec<String> = parts.iter().flat_map(tables).collect();
    names.sort();
    names.dedup();
    let mut written = Vec::with_capacity(parts.len());
    for part in parts {
        let schema = part.schema().as_arrow();
        let nulls = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let nulls = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), nulls, &options);
        let values = values(&part, &used, &[nulls.map_err(Error::internal)?], true)?;
        written.push((part, values));
    }
    Ok(Some((with_parts(unit, &written)?, names)))
}

/// The largest parts of a protected unit that are open.
fn open_parts(facts: &dyn Facts, unit: &ReleaseUnit) -> Result<Vec<LogicalPlan>> {
    let mut parts: Vec<LogicalPlan> = Vec::new();
    if unit.protection.is_none() {
        return Ok(parts);
    }
    unit.source.apply_with_subqueries(|node| {
        if !is_open(node, facts) {
            return Ok(TreeNodeRecursion::Continue);
        }
        if !parts.contains(node) {
            parts.push(node.clone());
        }
        Ok(TreeNodeRecursion::Jump)
    })?;
    Ok(parts)
}

fn with_parts(unit: &ReleaseUnit, written: &[(LogicalPlan, LogicalPlan)]) -> Result<ReleaseUnit> {
    let source = unit.source.clone().transform_down_with_subqueries(|node| {
        Ok(match written.iter().find(|(part, _)| *part == node) {
            Some((_, values)) => Transformed::new(values.clone(), true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    })?;
    Ok(ReleaseUnit { source: source.data, ..unit.clone() })
}

/// Whether a plan reads open tables of the catalog and nothing else, and is whole in itself.
fn is_open(plan: &LogicalPlan, facts: &dyn Facts) -> bool {
    let (mut tables, mut other) = (false, false);
    let walked = plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                let registered =
                    source_as_provider(&scan.source).is_ok_and(|p| p.downcast_ref::<GuardedTable>().is_some());
                let known = facts.of(scan);
                tables = true;
                other |= !registered || known.protection.is_some() || known.closed.is_some();
            }
            LogicalPlan::Extension(_) | LogicalPlan::Subquery(_) => other = true,
            _ => {}
        }
        other |= node.expressions().iter().any(|e| e.contains_outer());
        Ok(if other { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_ok() && tables && !other
}

/// Names of all columns that any expression speaks of.
fn used_columns(plan: &LogicalPlan) -> Result<HashSet<String>> {
    let mut used = HashSet::new();
    plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            used.extend(expr.column_refs().into_iter().map(|column| column.name.clone()));
        }
        if let LogicalPlan::Subquery(subquery) = node {
            used.extend(subquery.subquery.schema().fields().iter().map(|field| field.name().clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(used)
}

/// The rows of a plan over open tables and answers.
pub(super) async fn rows(
    state: &SessionState,
    part: &LogicalPlan,
    wishes: &Wishes,
) -> Result<(Vec<RecordBatch>, Vec<(SiteId, SiteStatus)>)> {
    let asker = state.config().get_extension::<Asker>().ok_or_else(|| Error::internal("a query without a session"))?;
    let _ = asker.planned();
    let limited = LogicalPlanBuilder::from(part.clone()).limit(0, Some(MAX_ROWS + 1))?.build()?;
    let physical = state.create_physical_plan(&limited).await?;
    let statuses = if wishes.partial { asker.begin().await? } else { Vec::new() };
    let batches: Vec<RecordBatch> = execute_stream(physical, state.task_ctx())?.try_collect().await?;
    if batches.iter().map(RecordBatch::num_rows).sum::<usize>() > MAX_ROWS {
        return Err(too_many(part, &format!("more than {MAX_ROWS} rows")));
    }
    Ok((batches, statuses))
}

/// Rows of a plan as VALUES under the plan's own names. Columns that nothing speaks of are left out; those without a value too, unless
/// the rows are a sketch.
fn values(part: &LogicalPlan, used: &HashSet<String>, batches: &[RecordBatch], sketch: bool) -> Result<LogicalPlan> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut columns = Vec::new();
    let mut cells: Vec<Vec<Expr>> = vec![Vec::new(); rows.max(1)];
    let mut bytes = 0;
    for (index, (qualifier, field)) in part.schema().iter().enumerate() {
        let null = Expr::Literal(ScalarValue::try_from(field.data_type())?, None);
        let column = if used.contains(field.name()) {
            let natural = natural(field.data_type()).ok_or_else(|| {
                let what = format!("a column of type {} (\"{}\")", field.data_type(), field.name());
                too_many(part, &what)
            })?;
            let mut known = Vec::with_capacity(rows);
            for batch in batches {
                let array = batch.columns().get(index).ok_or_else(|| Error::internal("a column is missing"))?;
                for row in 0..batch.num_rows() {
                    known.push(ScalarValue::try_from_array(array, row)?);
                }
            }
            if !sketch && known.iter().all(ScalarValue::is_null) {
                null
            } else {
                let name = format!("column{}", cells.first().map_or(0, Vec::len) + 1);
                for (row, value) in cells.iter_mut().zip(known) {
                    let value = value.cast_to(&natural)?;
                    bytes += value.to_string().len();
                    row.push(Expr::Literal(value, None));
                }
                let column = Expr::Column(Column::new_unqualified(name));
                if natural == *field.data_type() { column } else { cast(column, field.data_type().clone()) }
            }
        } else {
            null
        };
        columns.push(column.alias_qualified(qualifier.cloned(), field.name()));
    }
    if bytes > MAX_BYTES || cells.iter().map(Vec::len).sum::<usize>() > MAX_VALUES {
        return Err(too_many(part, "too much text"));
    }
    for row in &mut cells {
        if row.is_empty() {
            row.push(lit(1_i64));
        }
    }
    let mut made = LogicalPlanBuilder::values(cells)?;
    if rows == 0 {
        made = made.filter(lit(false))?;
    }
    Ok(made.project(columns)?.build()?)
}

/// The type that a literal of a type is written in: its text shows it.
fn natural(data_type: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match data_type {
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => Int64,
        Float32 | Float64 => Float64,
        Boolean => Boolean,
        Utf8 | LargeUtf8 | Utf8View | Date32 | Date64 | Timestamp(..) | Time32(_) | Time64(_) | Decimal128(..) => Utf8,
        _ => return None,
    })
}

/// Names of the tables below a plan.
fn tables(part: &LogicalPlan) -> Vec<String> {
    let mut names = Vec::new();
    let _ = part.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            names.push(format!("\"{}\"", scan.table_name.table()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names
}

fn too_many(part: &LogicalPlan, what: &str) -> Error {
    Error::new(
        Sqlstate::FeatureNotSupported,
        format!("{} has {what}, which cannot be sent along to the sites of a protected table", tables(part).join(", ")),
    )
    .hint("Choose fewer rows and columns of it in an inner query, or join it with the answer of an aggregate.")
}

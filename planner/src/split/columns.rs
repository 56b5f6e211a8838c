//! What the columns of a plan are made of, as far as the column `site` is concerned.

use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::layout::{self, SITE};
use crate::facts::{Facts, Placement};
use crate::refusal::Refusal;

/// Stand-ins for the column `site`, or opaque columns.
pub(super) fn columns_of(plan: &LogicalPlan, facts: &dyn Facts) -> Result<Vec<Expr>, Refusal> {
    Ok(match plan {
        LogicalPlan::Projection(projection) => {
            let columns = columns_of(&projection.input, facts)?;
            projection
                .expr
                .iter()
                .map(|e| match layout::bare(e) {
                    Expr::Column(column) => {
                        at(projection.input.schema(), &columns, column).unwrap_or_else(|_| opaque())
                    }
                    _ => opaque(),
                })
                .collect()
        }
        LogicalPlan::Filter(filter) => columns_of(&filter.input, facts)?,
        LogicalPlan::SubqueryAlias(alias) => columns_of(&alias.input, facts)?,
        LogicalPlan::Sort(sort) => columns_of(&sort.input, facts)?,
        LogicalPlan::Window(window) => {
            let mut columns = columns_of(&window.input, facts)?;
            columns.resize(window.schema.fields().len(), opaque());
            columns
        }
        LogicalPlan::Join(join)
            if matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full) =>
        {
            let (mut left, mut right) = (columns_of(&join.left, facts)?, columns_of(&join.right, facts)?);
            // A missing side has no site.
            if matches!(join.join_type, JoinType::Right | JoinType::Full) {
                left.iter_mut().for_each(|c| *c = opaque());
            }
            if matches!(join.join_type, JoinType::Left | JoinType::Full) {
                right.iter_mut().for_each(|c| *c = opaque());
            }
            left.append(&mut right);
            left
        }
        LogicalPlan::TableScan(scan) => {
            let has_site = matches!(facts.of(scan).placement, Placement::Sites { site_column: true, .. });
            scan.projected_schema
                .fields()
                .iter()
                .map(|f| if has_site && f.name() == "site" { stand_in() } else { opaque() })
                .collect()
        }
        other => vec![opaque(); other.schema().fields().len()],
    })
}

pub(super) fn opaque() -> Expr {
    Expr::Column(Column::from_name("__kanon_any"))
}

pub(super) fn stand_in() -> Expr {
    Expr::Column(Column::from_name(SITE))
}

pub(super) fn at(schema: &DFSchema, columns: &[Expr], column: &Column) -> Result<Expr, Refusal> {
    schema
        .maybe_index_of_column(column)
        .and_then(|index| columns.get(index))
        .cloned()
        .ok_or_else(|| Refusal::unsupported(format!("column {} cannot be written for a site", column.name)))
}

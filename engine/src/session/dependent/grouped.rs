//! Aggregates: of the rows of each value, and of values that have none.

use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlanBuilder, col, lit, when};

use super::join;
use super::rows::{Pushed, Rows, under_names};

impl Rows<'_> {
    pub(super) fn aggregated(&mut self, aggregate: &Aggregate) -> Result<Option<Pushed>> {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Ok(None);
        }
        let Some(inner) = self.push(&aggregate.input)? else { return Ok(None) };
        let groups = self.all_replaced(&aggregate.group_expr, &inner.keys)?;
        let measures = self.all_replaced(&aggregate.aggr_expr, &inner.keys)?;
        let keys = inner.keys.iter().cloned().map(Expr::Column);
        let all = groups.iter().cloned().chain(keys);
        let plan = LogicalPlanBuilder::from(inner.plan).aggregate(all, measures.clone())?.build()?;
        let named = |expr: &Expr| match expr {
            Expr::Column(column) => Expr::Column(column.clone()),
            Expr::Alias(alias) => col(Column::new(alias.relation.clone(), alias.name.clone())),
            other => col(Column::new_unqualified(other.schema_name().to_string())),
        };
        let exprs = groups.iter().chain(&measures).map(named).collect();
        let schema = &aggregate.schema;
        let grouped = under_names(Pushed { plan, keys: inner.keys }, exprs, schema)?;
        if !aggregate.group_expr.is_empty() {
            return Ok(Some(grouped));
        }
        // A value without rows has an answer too.
        let domain = self.domain()?;
        let plan = join(domain.plan, grouped.plan, JoinType::Left, &domain.keys, &grouped.keys, None)?;
        let mut exprs = Vec::with_capacity(measures.len());
        for (measure, column) in measures.iter().zip(schema.columns()) {
            let none = of_no_rows(measure, schema, &column)?;
            let value = col(column);
            exprs.push(match none.is_null() {
                true => value,
                false => when(value.clone().is_null(), lit(none)).otherwise(value)?,
            });
        }
        Ok(Some(under_names(Pushed { plan, keys: domain.keys }, exprs, schema)?))
    }
}

/// The answer of an aggregate of no rows.
fn of_no_rows(measure: &Expr, schema: &DFSchema, column: &Column) -> Result<ScalarValue> {
    let of_type = Expr::Column(column.clone()).get_type(schema)?;
    match measure.clone().unalias_nested().data {
        Expr::AggregateFunction(function) => function.func.default_value(&of_type),
        _ => ScalarValue::try_from(&of_type),
    }
}

//! What goes by the order of rows: of the rows of each value.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, Window, cast, col, lit};

use super::columns;
use super::rows::{Pushed, Rows, aliased, under_names};

impl Rows<'_> {
    /// The first rows of each value.
    pub(super) fn limited(&mut self, input: &LogicalPlan, skip: i64, fetch: Option<i64>) -> Result<Option<Pushed>> {
        let (mut above, mut below) = (Vec::new(), input);
        let (order, rows) = loop {
            below = match below {
                LogicalPlan::Sort(sort) if sort.fetch.is_none() => break (sort.expr.clone(), sort.input.as_ref()),
                LogicalPlan::Sort(_) => return Ok(None),
                // The order may be by columns that are not among these.
                LogicalPlan::Projection(projection) => {
                    above.push(below);
                    projection.input.as_ref()
                }
                LogicalPlan::SubqueryAlias(alias) => {
                    above.push(below);
                    alias.input.as_ref()
                }
                LogicalPlan::Subquery(query) => query.subquery.as_ref(),
                _ => {
                    above.clear();
                    break (Vec::new(), input);
                }
            };
        };
        let Some(inner) = self.push(rows)? else { return Ok(None) };
        let order = order.into_iter().map(|sort| Ok(SortExpr { expr: self.replaced(sort.expr, &inner.keys)?, ..sort }));
        let name = self.config.alias_generator().next("__dependent_row");
        let keys = inner.keys.iter().cloned().map(Expr::Column).collect();
        let number = row_number().partition_by(keys).order_by(order.collect::<Result<_>>()?).build()?;
        let counted = LogicalPlanBuilder::from(inner.plan).window([number.clone()])?;
        let exprs: Vec<Expr> = columns(rows.schema())
            .into_iter()
            .chain(inner.keys.iter().cloned().map(Expr::Column))
            .chain([col(Column::new_unqualified(number.schema_name().to_string())).alias(&name)])
            .collect();
        let place = || cast(col(Column::new_unqualified(name.clone())), DataType::Int64);
        let wanted = place().gt(lit(skip));
        let wanted = match fetch {
            Some(fetch) => wanted.and(place().lt_eq(lit(skip.saturating_add(fetch)))),
            None => wanted,
        };
        let all: Vec<Expr> = columns(rows.schema()).into_iter().chain(inner.keys.iter().cloned().map(col)).collect();
        let plan = counted.project(exprs)?.filter(wanted)?.project(all)?.build()?;
        let mut done = Pushed { plan, keys: inner.keys };
        for node in above.into_iter().rev() {
            done = match node {
                LogicalPlan::Projection(projection) => self.projected(projection, done)?,
                LogicalPlan::SubqueryAlias(alias) => aliased(alias, done)?,
                _ => return Ok(None),
            };
        }
        Ok(Some(done))
    }

    pub(super) fn windowed(&mut self, window: &Window, schema: &DFSchema) -> Result<Option<Pushed>> {
        let Some(inner) = self.push(&window.input)? else { return Ok(None) };
        let mut exprs = Vec::with_capacity(window.window_expr.len());
        for expr in self.all_replaced(&window.window_expr, &inner.keys)? {
            let expr = expr.unalias();
            let Expr::WindowFunction(mut function) = expr else { return Ok(None) };
            function.params.partition_by.extend(inner.keys.iter().cloned().map(Expr::Column));
            exprs.push(Expr::WindowFunction(function));
        }
        let names = exprs.iter().map(|expr| col(Column::new_unqualified(expr.schema_name().to_string())));
        let all: Vec<Expr> = columns(window.input.schema()).into_iter().chain(names).collect();
        let plan = LogicalPlanBuilder::from(inner.plan).window(exprs)?.build()?;
        Ok(Some(under_names(Pushed { plan, keys: inner.keys }, all, schema)?))
    }
}

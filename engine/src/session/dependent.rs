//! Queries that depend on the row around them, computed for all those rows together: `LATERAL`, and queries for a value that are compared otherwise than by `=`.
//!
//! ```text
//! rows of t, and for each of them q(t.a)         rows of t joined with q of D by a
//!   Projection: t.a, (q(t.a))             ─►       Left join: t.a IS NOT DISTINCT FROM d.a
//!     t                                              t
//!                                                    q(d.a), of D: the values of t.a, each once
//! ```
//!
//! q of D is q with D in place of the row: whatever q reads is joined with D, and whatever it groups is grouped by D as well (T. Neumann, A. Kemper, "Unnesting
//! Arbitrary Queries", BTW 2015). What DataFusion joins by itself is left to it; what has no such plan stays as it is, and is refused.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Distinct, EmptyRelation, Expr, ExprFunctionExt, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder,
    Operator, Subquery, Window, binary_expr, cast, col, lit, when,
};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Joins in place of queries that depend on the row around them.
#[derive(Debug, Default)]
pub struct DependentJoins;

impl OptimizerRule for DependentJoins {
    fn name(&self) -> &str {
        "dependent_joins"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Join(join) => match lateral(join, config)? {
                Some(joined) => Ok(Transformed::yes(joined)),
                None => Ok(Transformed::no(plan)),
            },
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Aggregate(_) => values(plan, config),
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// Joins the queries for values in the expressions of a node.
fn values(plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
    let is_dependent = |expr: &Expr| matches!(expr, Expr::ScalarSubquery(query) if !query.outer_ref_columns.is_empty());
    let exprs = plan.expressions();
    if !exprs.iter().any(|expr| expr.exists(|expr| Ok(is_dependent(expr))).unwrap_or(false)) {
        return Ok(Transformed::no(plan));
    }
    let Some(mut input) = plan.inputs().first().copied().cloned() else { return Ok(Transformed::no(plan)) };
    let before = Arc::clone(input.schema());
    let (names, mut changed) = (NamePreserver::new(&plan), false);
    let mut done = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let name = names.save(&expr);
        let rewritten = expr.transform_down(|expr| {
            let Expr::ScalarSubquery(query) = &expr else { return Ok(Transformed::no(expr)) };
            match value(query, &input, config)? {
                Some((joined, value)) => {
                    input = joined;
                    Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(expr)),
            }
        })?;
        changed |= rewritten.transformed;
        done.push(name.restore(rewritten.data));
    }
    if !changed {
        return Ok(Transformed::no(plan));
    }
    let is_filter = matches!(plan, LogicalPlan::Filter(_));
    let plan = plan.with_new_exprs(done, vec![input])?;
    // A filter has the columns of its input.
    let plan = if is_filter { LogicalPlanBuilder::from(plan).project(columns(&before))?.build()? } else { plan };
    Ok(Transformed::yes(plan))
}

/// The input joined with a query for a value, and the value; `None` if that is for DataFusion to do, or cannot be done.
fn value(query: &Subquery, input: &LogicalPlan, config: &dyn OptimizerConfig) -> Result<Option<(LogicalPlan, Expr)>> {
    if query.outer_ref_columns.is_empty() || is_pulled_up(query.subquery.as_ref())? {
        return Ok(None);
    }
    let Some(outer) = outer_columns(query.subquery.as_ref(), input.schema())? else { return Ok(None) };
    let mut rows = Rows { input, outer: &outer, config, whole: false };
    let Some(pushed) = rows.push(query.subquery.as_ref())? else { return Ok(None) };
    let Some(value) = columns(query.subquery.schema()).into_iter().next() else { return Ok(None) };
    let name = config.alias_generator().next("__dependent_value");
    let keys = pushed.keys.clone();
    let exprs = std::iter::once(value.alias(&name)).chain(keys.iter().cloned().map(Expr::Column));
    let right = LogicalPlanBuilder::from(pushed.plan).project(exprs)?.build()?;
    let joined = join(input.clone(), right, JoinType::Left, &outer, &keys, None)?;
    Ok(Some((joined, col(Column::new_unqualified(name)))))
}

/// Whether DataFusion joins a query by its conditions.
fn is_pulled_up(query: &LogicalPlan) -> Result<bool> {
    let mut is_condition = true;
    query.apply(|node| {
        is_condition &= matches!(node, LogicalPlan::Filter(_)) || !node.contains_outer_reference();
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !is_condition {
        return Ok(false);
    }
    let mut pull_up = PullUpCorrelatedExpr::new().with_need_handle_count_bug(true);
    query.clone().rewrite(&mut pull_up)?;
    Ok(pull_up.can_pull_up)
}

/// A join whose right side depends on the left.
fn lateral(join_of: &Join, config: &dyn OptimizerConfig) -> Result<Option<LogicalPlan>> {
    if !matches!(join_of.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(None);
    }
    let (query, alias) = match join_of.right.as_ref() {
        LogicalPlan::Subquery(query) => (query, None),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(query) => (query, Some(alias.alias.clone())),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let plan = match alias {
        Some(alias) => LogicalPlanBuilder::from(query.subquery.as_ref().clone()).alias(alias)?.build()?,
        None => query.subquery.as_ref().clone(),
    };
    let left = join_of.left.as_ref();
    let Some(outer) = outer_columns(&plan, left.schema())? else { return Ok(None) };
    if outer.is_empty() {
        return Ok(None);
    }
    let conditions = join_of.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
    let condition = conditions.chain(join_of.filter.clone()).reduce(Expr::and);
    if join_of.join_type == JoinType::Inner && is_chain(&plan)? {
        // Each row goes through it by itself, with all of its columns.
        let all = left.schema().columns();
        let mut rows = Rows { input: left, outer: &all, config, whole: true };
        let Some(pushed) = rows.push(&plan)? else { return Ok(None) };
        let own = all
            .iter()
            .zip(&pushed.keys)
            .map(|(column, key)| col(key.clone()).alias_qualified(column.relation.clone(), column.name.clone()));
        let exprs: Vec<Expr> = own.chain(columns(plan.schema())).collect();
        let joined = LogicalPlanBuilder::from(pushed.plan).project(exprs)?;
        return match condition {
            Some(condition) => joined.filter(condition)?.build().map(Some),
            None => joined.build().map(Some),
        };
    }
    let mut rows = Rows { input: left, outer: &outer, config, whole: false };
    let Some(pushed) = rows.push(&plan)? else { return Ok(None) };
    let joined = join(left.clone(), pushed.plan, join_of.join_type, &outer, &pushed.keys, condition)?;
    let exprs: Vec<Expr> = columns(left.schema()).into_iter().chain(columns(plan.schema())).collect();
    LogicalPlanBuilder::from(joined).project(exprs)?.build().map(Some)
}

/// A join of rows with what was computed for each of their values.
fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
    outer: &[Column],
    keys: &[Column],
    condition: Option<Expr>,
) -> Result<LogicalPlan> {
    let on = (outer.to_vec(), keys.to_vec());
    LogicalPlanBuilder::from(left).join_detailed(right, join_type, on, condition, NullEquality::NullEqualsNull)?.build()
}

fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// The columns of the rows outside that a query names; `None` if it names others, or has a query inside that names any.
fn outer_columns(query: &LogicalPlan, outside: &DFSchema) -> Result<Option<Vec<Column>>> {
    let (mut seen, mut found, mut is_plain) = (HashSet::new(), Vec::new(), true);
    query.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::OuterReferenceColumn(_, column) => {
                        is_plain &= outside.has_column(column);
                        if seen.insert(column.clone()) {
                            found.push(column.clone());
                        }
                    }
                    Expr::ScalarSubquery(query) => is_plain &= query.outer_ref_columns.is_empty(),
                    Expr::Exists(exists) => is_plain &= exists.subquery.outer_ref_columns.is_empty(),
                    Expr::InSubquery(within) => is_plain &= within.subquery.outer_ref_columns.is_empty(),
                    Expr::SetComparison(set) => is_plain &= set.subquery.outer_ref_columns.is_empty(),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(is_plain.then_some(found))
}

/// Whether a query is computed row by row.
fn is_chain(query: &LogicalPlan) -> Result<bool> {
    let mut is_chain = true;
    query.apply(|node| {
        is_chain &= match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, .. }) => true,
            node => !depends(node)?,
        };
        // What does not depend on the row is read as a whole.
        Ok(if depends(node)? { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Jump })
    })?;
    Ok(is_chain)
}

/// Whether a query names a column of the rows outside.
fn depends(query: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    query.apply(|node| {
        found |= node.contains_outer_reference();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A query with the values of rows outside in it.
struct Pushed {
    plan: LogicalPlan,
    /// Where these values are.
    keys: Vec<Column>,
}

/// The rows outside.
struct Rows<'a> {
    input: &'a LogicalPlan,
    /// Those of their columns that are wanted.
    outer: &'a [Column],
    config: &'a dyn OptimizerConfig,
    /// Whether they are put in as they are, and not each value once.
    whole: bool,
}

impl Rows<'_> {
    /// The values of the rows outside, under names of their own.
    fn domain(&self) -> Result<Pushed> {
        let keys: Vec<Column> = self
            .outer
            .iter()
            .map(|_| Column::new_unqualified(self.config.alias_generator().next("__dependent")))
            .collect();
        let named = self.outer.iter().zip(&keys).map(|(column, key)| col(column.clone()).alias(key.name.clone()));
        let plan = LogicalPlanBuilder::from(self.input.clone()).project(named)?;
        let plan = if self.whole { plan } else { plan.distinct()? };
        Ok(Pushed { plan: plan.build()?, keys })
    }

    /// An expression of the values in place of the columns outside.
    fn replaced(&self, expr: Expr, keys: &[Column]) -> Result<Expr> {
        let done = expr.transform_up(|expr| {
            let Expr::OuterReferenceColumn(_, column) = &expr else { return Ok(Transformed::no(expr)) };
            let place = self.outer.iter().position(|outer| outer == column);
            match place.and_then(|place| keys.get(place)) {
                Some(key) => Ok(Transformed::yes(Expr::Column(key.clone()))),
                None => Ok(Transformed::no(expr)),
            }
        })?;
        Ok(done.data)
    }

    fn all_replaced(&self, exprs: &[Expr], keys: &[Column]) -> Result<Vec<Expr>> {
        exprs.iter().map(|expr| self.replaced(expr.clone(), keys)).collect()
    }

    /// The query for all values together: its columns under the names that they had, and the values. `None` for a shape that is not known.
    fn push(&mut self, plan: &LogicalPlan) -> Result<Option<Pushed>> {
        if !depends(plan)? {
            let domain = self.domain()?;
            if matches!(plan, LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, .. })) {
                return Ok(Some(domain));
            }
            let plan = LogicalPlanBuilder::from(domain.plan).cross_join(plan.clone())?.build()?;
            return Ok(Some(Pushed { plan, keys: domain.keys }));
        }
        Ok(match plan {
            LogicalPlan::Projection(projection) => {
                let Some(inner) = self.push(&projection.input)? else { return Ok(None) };
                let exprs = self.all_replaced(&projection.expr, &inner.keys)?;
                Some(under_names(inner, exprs, plan.schema())?)
            }
            LogicalPlan::Filter(filter) => {
                let Some(inner) = self.push(&filter.input)? else { return Ok(None) };
                let predicate = self.replaced(filter.predicate.clone(), &inner.keys)?;
                let plan = LogicalPlanBuilder::from(inner.plan).filter(predicate)?.build()?;
                Some(Pushed { plan, keys: inner.keys })
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(inner) = self.push(&alias.input)? else { return Ok(None) };
                let keys = inner.keys.iter().map(|key| Column::new(Some(alias.alias.clone()), key.name.clone()));
                let plan = LogicalPlanBuilder::from(inner.plan).alias(alias.alias.clone())?.build()?;
                Some(Pushed { plan, keys: keys.collect() })
            }
            // One that depends on the same rows, in FROM.
            LogicalPlan::Subquery(query) => self.push(&query.subquery)?,
            // An order of rows means nothing here, but for a limit.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.push(&sort.input)?,
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let Some(inner) = self.push(input)? else { return Ok(None) };
                let plan = LogicalPlanBuilder::from(inner.plan).distinct()?.build()?;
                Some(Pushed { plan, keys: inner.keys })
            }
            LogicalPlan::Limit(limit) => {
                let number = |expr: &Option<Box<Expr>>| match expr.as_deref() {
                    None => Some(None),
                    Some(Expr::Literal(ScalarValue::Int64(Some(number)), _)) => Some(Some(*number)),
                    Some(_) => None,
                };
                let (Some(skip), Some(fetch)) = (number(&limit.skip), number(&limit.fetch)) else { return Ok(None) };
                self.limited(&limit.input, skip.unwrap_or(0), fetch)?
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregated(aggregate)?,
            LogicalPlan::Window(window) => self.windowed(window, plan.schema())?,
            LogicalPlan::Unnest(unnest) => {
                let Some(inner) = self.push(&unnest.input)? else { return Ok(None) };
                let plan = LogicalPlanBuilder::from(inner.plan)
                    .unnest_columns_with_options(unnest.exec_columns.clone(), unnest.options.clone())?
                    .build()?;
                Some(Pushed { plan, keys: inner.keys })
            }
            LogicalPlan::Join(join) => self.joined(join)?,
            LogicalPlan::Union(union) => {
                let mut all: Option<(LogicalPlanBuilder, Vec<Column>)> = None;
                for input in &union.inputs {
                    let Some(inner) = self.push(input)? else { return Ok(None) };
                    let keys = match &all {
                        Some((_, keys)) => keys.clone(),
                        None => inner.keys.iter().map(|key| Column::new_unqualified(key.name.clone())).collect(),
                    };
                    let own = input.schema().columns().into_iter().zip(union.schema.columns());
                    let own = own.map(|(column, name)| col(column).alias(name.name));
                    let keyed = inner.keys.iter().zip(&keys).map(|(key, name)| col(key.clone()).alias(&name.name));
                    let exprs: Vec<Expr> = own.chain(keyed).collect();
                    let plan = LogicalPlanBuilder::from(inner.plan).project(exprs)?.build()?;
                    all = Some(match all {
                        Some((before, keys)) => (before.union(plan)?, keys),
                        None => (LogicalPlanBuilder::from(plan), keys),
                    });
                }
                match all {
                    Some((plan, keys)) => {
                        let inner = Pushed { plan: plan.build()?, keys };
                        let exprs = union.schema.columns().into_iter().map(|c| col(Column::new_unqualified(c.name)));
                        let exprs = exprs.collect();
                        Some(under_names(inner, exprs, &union.schema)?)
                    }
                    None => None,
                }
            }
            _ => None,
        })
    }

    /// The first rows of each value.
    fn limited(&mut self, input: &LogicalPlan, skip: i64, fetch: Option<i64>) -> Result<Option<Pushed>> {
        let (order, rows) = match input {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (sort.expr.clone(), sort.input.as_ref()),
            other => (Vec::new(), other),
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
        Ok(Some(Pushed { plan, keys: inner.keys }))
    }

    fn aggregated(&mut self, aggregate: &Aggregate) -> Result<Option<Pushed>> {
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

    fn windowed(&mut self, window: &Window, schema: &DFSchema) -> Result<Option<Pushed>> {
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

    fn joined(&mut self, of: &Join) -> Result<Option<Pushed>> {
        let (left, right) = (depends(&of.left)?, depends(&of.right)?);
        let is_known = match of.join_type {
            JoinType::Inner | JoinType::Left => true,
            JoinType::LeftSemi | JoinType::LeftAnti => !right,
            _ => false,
        };
        if !is_known || of.null_equality == NullEquality::NullEqualsNull || of.null_aware {
            return Ok(None);
        }
        let is_inner = of.join_type == JoinType::Inner;
        let (left, right, mut keys) = match (left, right) {
            (false, true) if is_inner => {
                let Some(pushed) = self.push(&of.right)? else { return Ok(None) };
                (of.left.as_ref().clone(), pushed.plan, vec![pushed.keys])
            }
            (_, false) => {
                let Some(pushed) = self.push(&of.left)? else { return Ok(None) };
                (pushed.plan, of.right.as_ref().clone(), vec![pushed.keys])
            }
            (_, true) => {
                let (Some(a), Some(b)) = (self.push(&of.left)?, self.push(&of.right)?) else { return Ok(None) };
                (a.plan, b.plan, vec![a.keys, b.keys])
            }
        };
        let first = keys.swap_remove(0);
        let same = keys.first().map(|second| first.iter().zip(second)).into_iter().flatten().map(|(a, b)| {
            let (a, b) = (col(a.clone()), col(b.clone()));
            binary_expr(a, Operator::IsNotDistinctFrom, b)
        });
        let mut conditions: Vec<Expr> = same.collect();
        for (a, b) in &of.on {
            conditions.push(self.replaced(a.clone().eq(b.clone()), &first)?);
        }
        if let Some(filter) = &of.filter {
            conditions.push(self.replaced(filter.clone(), &first)?);
        }
        let plan = LogicalPlanBuilder::from(left).join_on(right, of.join_type, conditions)?.build()?;
        Ok(Some(Pushed { plan, keys: first }))
    }
}

/// The answer of an aggregate of no rows.
fn of_no_rows(measure: &Expr, schema: &DFSchema, column: &Column) -> Result<ScalarValue> {
    let of_type = Expr::Column(column.clone()).get_type(schema)?;
    match measure.clone().unalias() {
        Expr::AggregateFunction(function) => function.func.default_value(&of_type),
        _ => ScalarValue::try_from(&of_type),
    }
}

/// Expressions under the names of a schema, and the values.
fn under_names(inner: Pushed, exprs: Vec<Expr>, schema: &DFSchema) -> Result<Pushed> {
    let named = exprs.into_iter().zip(schema.columns()).map(|(expr, name)| match expr {
        Expr::Column(column) if column == name => Expr::Column(column),
        expr => expr.unalias().alias_qualified(name.relation, name.name),
    });
    let exprs: Vec<Expr> = named.chain(inner.keys.iter().cloned().map(Expr::Column)).collect();
    let plan = LogicalPlanBuilder::from(inner.plan).project(exprs)?.build()?;
    Ok(Pushed { plan, keys: inner.keys })
}

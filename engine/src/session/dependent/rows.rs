//! A query for all values of the rows outside together: what reads something is joined with the values, and everything above keeps them.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Distinct, EmptyRelation, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    SubqueryAlias, Union, Values, binary_expr, col,
};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::depends;
use super::recursive::Found;
use super::repeatable::is_repeatable;

/// A query with the values of rows outside in it.
pub(super) struct Pushed {
    pub(super) plan: LogicalPlan,
    /// Where these values are.
    pub(super) keys: Vec<Column>,
}

/// The rows outside.
pub(super) struct Rows<'a> {
    /// What has the columns of them that are wanted.
    input: LogicalPlan,
    /// Those columns.
    outer: &'a [Column],
    pub(super) config: &'a dyn OptimizerConfig,
    /// Whether they are put in as they are, and not each value once.
    whole: bool,
    /// By the recursive queries that are gone through.
    pub(super) found: Vec<Found>,
}

impl<'a> Rows<'a> {
    /// Rows that are read once, with all of their columns.
    pub(super) fn whole(input: &LogicalPlan, all: &'a [Column], config: &'a dyn OptimizerConfig) -> Rows<'a> {
        Rows { input: input.clone(), outer: all, config, whole: true, found: Vec::new() }
    }

    /// The values of rows that the query is joined with afterwards; `None` if they may be other rows then.
    pub(super) fn values(
        input: &LogicalPlan,
        outer: &'a [Column],
        config: &'a dyn OptimizerConfig,
    ) -> Result<Option<Rows<'a>>> {
        let columns = outer.iter().cloned().map(Expr::Column);
        let wanted = LogicalPlanBuilder::from(source(input, outer).clone()).project(columns)?.build()?;
        // What is not wanted may be anything.
        let wanted = OptimizeProjections::new().rewrite(wanted, config)?.data;
        let rows = Rows { input: wanted, outer, config, whole: false, found: Vec::new() };
        Ok(is_repeatable(&rows.input)?.then_some(rows))
    }

    /// The values of the rows outside, under names of their own.
    pub(super) fn domain(&self) -> Result<Pushed> {
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
    pub(super) fn replaced(&self, expr: Expr, keys: &[Column]) -> Result<Expr> {
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

    pub(super) fn all_replaced(&self, exprs: &[Expr], keys: &[Column]) -> Result<Vec<Expr>> {
        exprs.iter().map(|expr| self.replaced(expr.clone(), keys)).collect()
    }

    fn depends(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(depends(plan)? || self.reads_found(plan)?)
    }

    /// The query for all values together: its columns under the names that they had, and the values. `None` for a shape that is not known.
    pub(super) fn push(&mut self, plan: &LogicalPlan) -> Result<Option<Pushed>> {
        if !self.depends(plan)? {
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
                Some(self.projected(projection, inner)?)
            }
            LogicalPlan::Filter(filter) => {
                let Some(inner) = self.push(&filter.input)? else { return Ok(None) };
                let predicate = self.replaced(filter.predicate.clone(), &inner.keys)?;
                let plan = LogicalPlanBuilder::from(inner.plan).filter(predicate)?.build()?;
                Some(Pushed { plan, keys: inner.keys })
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(inner) = self.push(&alias.input)? else { return Ok(None) };
                Some(aliased(alias, inner)?)
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
            LogicalPlan::Values(values) => {
                let rows = one_by_one(values)?;
                self.push(&rows)?
            }
            LogicalPlan::Join(join) => self.joined(join)?,
            LogicalPlan::Union(union) => self.united(union)?,
            LogicalPlan::RecursiveQuery(query) => self.repeated(query)?,
            LogicalPlan::TableScan(scan) => self.scanned(scan)?,
            _ => None,
        })
    }

    pub(super) fn projected(&self, of: &Projection, inner: Pushed) -> Result<Pushed> {
        let exprs = self.all_replaced(&of.expr, &inner.keys)?;
        under_names(inner, exprs, &of.schema)
    }

    fn united(&mut self, union: &Union) -> Result<Option<Pushed>> {
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
        let Some((plan, keys)) = all else { return Ok(None) };
        let inner = Pushed { plan: plan.build()?, keys };
        let exprs = union.schema.columns().into_iter().map(|c| col(Column::new_unqualified(c.name))).collect();
        under_names(inner, exprs, &union.schema).map(Some)
    }

    fn joined(&mut self, of: &Join) -> Result<Option<Pushed>> {
        let (left, right) = (self.depends(&of.left)?, self.depends(&of.right)?);
        let is_known = match of.join_type {
            JoinType::Inner | JoinType::Left => true,
            JoinType::LeftSemi | JoinType::LeftAnti => !right,
            _ => false,
        };
        if !is_known || of.null_aware {
            return Ok(None);
        }
        let equal = match of.null_equality {
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
            NullEquality::NullEqualsNothing => Operator::Eq,
        };
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
            conditions.push(self.replaced(binary_expr(a.clone(), equal, b.clone()), &first)?);
        }
        if let Some(filter) = &of.filter {
            conditions.push(self.replaced(filter.clone(), &first)?);
        }
        let plan = LogicalPlanBuilder::from(left).join_on(right, of.join_type, conditions)?.build()?;
        Ok(Some(Pushed { plan, keys: first }))
    }
}

/// Rows that are written out, each as a query of its own.
fn one_by_one(values: &Values) -> Result<LogicalPlan> {
    let fields = values.schema.fields();
    let mut all: Option<LogicalPlanBuilder> = None;
    for row in &values.values {
        let exprs = row.iter().zip(fields).map(|(expr, field)| {
            let expr = expr.clone().cast_to(field.data_type(), &values.schema)?;
            Ok(expr.alias(field.name()))
        });
        let plan = LogicalPlanBuilder::empty(true).project(exprs.collect::<Result<Vec<_>>>()?)?;
        all = Some(match all {
            Some(before) => before.union(plan.build()?)?,
            None => plan,
        });
    }
    all.unwrap_or_else(|| LogicalPlanBuilder::empty(false)).build()
}

/// What the columns are of, below joins that were made for other queries of the same rows: none of those leaves any of the rows out that has an answer.
fn source<'p>(plan: &'p LogicalPlan, outer: &[Column]) -> &'p LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection)
            if outer.iter().all(|column| projection.expr.iter().any(|expr| expr.try_as_col() == Some(column))) =>
        {
            source(&projection.input, outer)
        }
        LogicalPlan::Join(join)
            if (join.join_type == JoinType::Left
                || join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNull)
                && outer.iter().all(|column| join.left.schema().has_column(column)) =>
        {
            source(&join.left, outer)
        }
        _ => plan,
    }
}

pub(super) fn aliased(alias: &SubqueryAlias, inner: Pushed) -> Result<Pushed> {
    let keys = inner.keys.iter().map(|key| Column::new(Some(alias.alias.clone()), key.name.clone())).collect();
    let plan = LogicalPlanBuilder::from(inner.plan).alias(alias.alias.clone())?.build()?;
    Ok(Pushed { plan, keys })
}

/// Expressions under the names of a schema, and the values.
pub(super) fn under_names(inner: Pushed, exprs: Vec<Expr>, schema: &DFSchema) -> Result<Pushed> {
    let named = exprs.into_iter().zip(schema.columns()).map(|(expr, name)| match expr {
        Expr::Column(column) if column == name => Expr::Column(column),
        expr => expr.unalias().alias_qualified(name.relation, name.name),
    });
    let exprs: Vec<Expr> = named.chain(inner.keys.iter().cloned().map(Expr::Column)).collect();
    let plan = LogicalPlanBuilder::from(inner.plan).project(exprs)?.build()?;
    Ok(Pushed { plan, keys: inner.keys })
}

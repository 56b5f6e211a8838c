//! Integers of the types that PostgreSQL gives them: `1` and `age + 1` are `integer`, `row_number()` is `bigint`.
//!
//! DataFusion reads every whole number as 64 bits, and counts without a sign. What PostgreSQL would say follows from the plan: the columns of an answer that are
//! wider here are cast at its top, where a number that does not fit is out of range, as it is there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, cast, lit};

use super::modifiers::{Origin, said};
use super::types::{METADATA_KEY, PgType};
use crate::functions::arithmetic::inputs_schema;
use crate::functions::series::SERIES;
use crate::functions::whole_numbers::is_checked;

/// The key of a number's metadata that tells that it was bound to a placeholder.
pub const BOUND_KEY: &str = "kanon.bound";

/// What PostgreSQL takes a whole number for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whole {
    /// `integer`, or one that is smaller: in an array, its elements.
    Int4,
    /// `bigint`
    Int8,
}

/// Functions of DataFusion that give a number without a sign or of 64 bits, where PostgreSQL's give an `integer`.
const GIVE_INT4: [&str; 12] = [
    "array_length",
    "cardinality",
    "array_ndims",
    "array_position",
    "array_positions",
    "character_length",
    "octet_length",
    "bit_length",
    "strpos",
    "ascii",
    "regexp_count",
    "regexp_instr",
];
/// Those of which each gives the type of its arguments.
const GIVE_WHAT_THEY_TAKE: [&str; 16] = [
    "abs",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "gcd",
    "lcm",
    "make_array",
    "array_concat",
    "array_append",
    "array_prepend",
    "kanon_array_remove",
    "kanon_array_replace",
    SERIES,
    "array_element",
    "array_slice",
];

/// A query whose answer has PostgreSQL's integers, and a precision only where one was declared; and the columns of tables that it answers.
///
/// # Errors
/// If the plan is no plan.
pub fn narrowed(plan: LogicalPlan) -> Result<(LogicalPlan, Vec<Option<Origin>>)> {
    let plan = named(plan)?;
    let said = said(&plan);
    let origins = said.iter().map(|said| said.origin).collect();
    let whole = columns(&plan, &Known::default());
    let fields = plan.schema().fields().iter().zip(&whole);
    // An array of what a UNION answers may become wider when its parts are made of one type, after this.
    let is_list = |data_type: &DataType| matches!(data_type, DataType::List(_));
    let may_widen = plan.schema().fields().iter().any(|field| is_list(field.data_type())) && has_union(&plan)?;
    let is_list = |data_type: &DataType| may_widen && is_list(data_type);
    let wanted: Vec<Option<DataType>> = fields
        .map(|(field, whole)| {
            let instead = (*whole)?.instead_of(field.data_type());
            instead.or_else(|| is_list(field.data_type()).then(|| field.data_type().clone()))
        })
        .collect();
    let fields = plan.schema().fields().iter().zip(&said);
    let open: Vec<bool> = fields.map(|(field, said)| field.data_type().is_decimal() && !said.is_declared).collect();
    if wanted.iter().all(Option::is_none) && !open.contains(&true) {
        return Ok((plan, origins));
    }
    let numeric = BTreeMap::from([(METADATA_KEY.to_owned(), PgType::NUMERIC.name.to_owned())]);
    let numeric = Some(FieldMetadata::from(numeric));
    let exprs: Vec<Expr> = plan
        .schema()
        .iter()
        .zip(wanted.into_iter().zip(open))
        .map(|((qualifier, field), (wanted, is_open))| {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            match wanted {
                Some(wanted) => cast(column, wanted).alias_qualified(qualifier.cloned(), field.name()),
                None if is_open => {
                    column.alias_qualified_with_metadata(qualifier.cloned(), field.name(), numeric.clone())
                }
                None => column,
            }
        })
        .collect();
    Ok((LogicalPlanBuilder::from(plan).project(exprs)?.build()?, origins))
}

fn has_union(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Union(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A plan with the names of types in place of `pg_typeof(…)`.
fn named(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|plan| {
        let mut known = Known::default();
        for input in plan.inputs() {
            known.add(input, &columns(input, &Known::default()));
        }
        let schema = inputs_schema(&plan);
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|expr| {
                let Expr::ScalarFunction(function) = &expr else { return Ok(Transformed::no(expr)) };
                let (name, Some(of)) = (function.func.name(), function.args.first()) else {
                    return Ok(Transformed::no(expr));
                };
                if name != "pg_typeof" {
                    return Ok(Transformed::no(expr));
                }
                let (_, field) = of.to_field(schema.as_ref())?;
                let narrow = whole(of, &known).and_then(|whole| whole.instead_of(field.data_type()));
                let of_type = narrow.map_or_else(|| PgType::of_field(&field), |narrow| PgType::of(&narrow));
                Ok(Transformed::yes(lit(of_type.plain_name())))
            })?;
            Ok(if done.transformed { done.update_data(|expr| name.restore(expr)) } else { done })
        })
    })?;
    Ok(done.data)
}

impl Whole {
    /// The Arrow type for it where there is another one of whole numbers.
    fn instead_of(self, present: &DataType) -> Option<DataType> {
        match (self, present) {
            (Whole::Int4, DataType::Int64 | DataType::UInt64 | DataType::UInt32) => Some(DataType::Int32),
            (Whole::Int8, DataType::UInt64) => Some(DataType::Int64),
            (_, DataType::List(item)) => {
                let of_items = self.instead_of(item.data_type())?;
                Some(DataType::List(Arc::new(Field::clone(item).with_data_type(of_items))))
            }
            _ => None,
        }
    }

    fn of_type(data_type: &DataType) -> Option<Whole> {
        match data_type {
            DataType::Int8 | DataType::Int16 | DataType::Int32 => Some(Whole::Int4),
            DataType::Int64 => Some(Whole::Int8),
            DataType::List(item) => Whole::of_type(item.data_type()),
            _ => None,
        }
    }
}

/// What each column of a plan is, in a query around which that is known.
fn columns(plan: &LogicalPlan, around: &Known) -> Vec<Option<Whole>> {
    let by_type = || plan.schema().fields().iter().map(|field| Whole::of_type(field.data_type())).collect();
    let found: Vec<Option<Whole>> = match plan {
        LogicalPlan::Projection(projection) => {
            let input = columns(&projection.input, around);
            of_exprs(&projection.expr, &projection.input, &input, around)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let input = columns(&aggregate.input, around);
            of_exprs(aggregate.group_expr.iter().chain(&aggregate.aggr_expr), &aggregate.input, &input, around)
        }
        LogicalPlan::Window(window) => {
            let mut all = columns(&window.input, around);
            all.extend(of_exprs(&window.window_expr, &window.input, &all, around));
            all
        }
        LogicalPlan::Unnest(unnest) => {
            let lists = columns(&unnest.input, around);
            unnest.dependency_indices.iter().map(|place| lists.get(*place).copied().flatten()).collect()
        }
        LogicalPlan::Filter(filter) => columns(&filter.input, around),
        LogicalPlan::Sort(sort) => columns(&sort.input, around),
        LogicalPlan::Limit(limit) => columns(&limit.input, around),
        LogicalPlan::Repartition(repartition) => columns(&repartition.input, around),
        LogicalPlan::SubqueryAlias(alias) => columns(&alias.input, around),
        LogicalPlan::Distinct(distinct) => columns(distinct.input(), around),
        LogicalPlan::Subquery(subquery) => columns(&subquery.subquery, around),
        LogicalPlan::Union(union) => {
            union.inputs.iter().map(|input| columns(input, around)).reduce(|a, b| both_of(&a, &b)).unwrap_or_default()
        }
        LogicalPlan::RecursiveQuery(query) => columns(&query.static_term, around),
        LogicalPlan::Values(values) => {
            let known = around.inside();
            let rows = values.values.iter().map(|row| row.iter().map(|expr| whole(expr, &known)).collect());
            rows.reduce(|a: Vec<_>, b: Vec<_>| both_of(&a, &b)).unwrap_or_default()
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                let left = columns(&join.left, around);
                // LATERAL: the row on the left is around it.
                let right = match is_query(&join.right) {
                    true => {
                        let mut known = around.inside();
                        known.add(&join.left, &left);
                        columns(&join.right, &known)
                    }
                    false => columns(&join.right, around),
                };
                [left, right].concat()
            }
            _ => by_type(),
        },
        _ => by_type(),
    };
    // Whatever has another shape is what its types say.
    if found.len() == plan.schema().fields().len() { found } else { by_type() }
}

fn both_of(a: &[Option<Whole>], b: &[Option<Whole>]) -> Vec<Option<Whole>> {
    a.iter().zip(b).map(|(a, b)| wider(*a, *b)).collect()
}

/// What two numbers together are.
fn wider(a: Option<Whole>, b: Option<Whole>) -> Option<Whole> {
    Some(a?.max(b?))
}

/// Which whole numbers columns are.
#[derive(Debug, Default)]
struct Known {
    here: HashMap<Column, Option<Whole>>,
    /// Those of the rows around a query.
    around: HashMap<Column, Option<Whole>>,
}

impl Known {
    fn add(&mut self, plan: &LogicalPlan, columns: &[Option<Whole>]) {
        let columns = plan.schema().iter().zip(columns);
        self.here
            .extend(columns.map(|((qualifier, field), whole)| (Column::new(qualifier.cloned(), field.name()), *whole)));
    }

    /// What is known where these columns are around, and none is there yet. What was around them is no more: no query names it.
    fn inside(&self) -> Known {
        Known { here: HashMap::new(), around: self.here.clone() }
    }
}

/// Whether a plan is a query that may name the row around it.
fn is_query(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_query(&alias.input),
        _ => false,
    }
}

/// Which whole numbers the columns that a node's expressions name are.
pub struct Wholes(Known);

impl Wholes {
    /// Those of a node's inputs.
    pub fn of(node: &LogicalPlan) -> Wholes {
        let mut known = Known::default();
        for input in node.inputs() {
            known.add(input, &columns(input, &Known::default()));
        }
        Wholes(known)
    }

    /// Whether an expression of 64 bits is a `bigint`, rather than an `integer` that DataFusion reads as one.
    pub fn is_bigint(&self, expr: &Expr) -> bool {
        !matches!(whole(expr, &self.0), Some(Whole::Int4))
    }
}

/// What expressions of an input are whose columns are known.
fn of_exprs<'e>(
    exprs: impl IntoIterator<Item = &'e Expr>,
    input: &LogicalPlan,
    columns: &[Option<Whole>],
    around: &Known,
) -> Vec<Option<Whole>> {
    let (schema, mut known) = (input.schema(), around.inside());
    known.add(input, columns);
    let of = |expr: &Expr| whole(expr, &known).or_else(|| expr.get_type(schema).ok().as_ref().and_then(Whole::of_type));
    exprs.into_iter().map(of).collect()
}

/// Whether an expression is of any type: NULL, and an array of nothing.
fn is_open(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => {
            let of_type = value.data_type();
            of_type.is_null() || matches!(of_type, DataType::List(item) if item.data_type().is_null())
        }
        Expr::ScalarFunction(function) => function.name() == "make_array" && function.args.is_empty(),
        Expr::Cast(cast) => is_open(&cast.expr) && matches!(cast.field.data_type(), DataType::List(_)),
        _ => false,
    }
}

/// What an expression is; `None` if that is for its type to say.
fn whole(expr: &Expr, known: &Known) -> Option<Whole> {
    let all = |exprs: &mut dyn Iterator<Item = &Expr>| {
        let mut typed = exprs.filter(|expr| !is_open(expr));
        // What is of no column is of the type that it has by itself.
        let one = |expr: &Expr| {
            let by_itself = || expr.get_type(&DFSchema::empty()).ok().as_ref().and_then(Whole::of_type);
            whole(expr, known).or_else(by_itself)
        };
        let first = one(typed.next()?);
        typed.fold(first, |all, expr| wider(all, one(expr)))
    };
    match expr {
        Expr::Literal(ScalarValue::Int64(_), Some(metadata)) if metadata.inner().contains_key(BOUND_KEY) => {
            Some(Whole::Int8)
        }
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => {
            Some(if i32::try_from(*number).is_ok() { Whole::Int4 } else { Whole::Int8 })
        }
        Expr::Literal(value, _) => Whole::of_type(&value.data_type()),
        Expr::Column(column) => *known.here.get(column)?,
        Expr::OuterReferenceColumn(field, column) => {
            known.around.get(column).copied().flatten().or_else(|| Whole::of_type(field.data_type()))
        }
        Expr::Alias(alias) => whole(&alias.expr, known),
        Expr::Negative(inner) => whole(inner, known),
        Expr::Cast(cast) => Whole::of_type(cast.field.data_type()),
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::Plus
            | Operator::Minus
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo
            | Operator::BitwiseAnd
            | Operator::BitwiseOr
            | Operator::BitwiseXor => wider(whole(&binary.left, known), whole(&binary.right, known)),
            // Arrays, put together.
            Operator::StringConcat => wider(whole(&binary.left, known), whole(&binary.right, known)),
            Operator::BitwiseShiftLeft | Operator::BitwiseShiftRight => whole(&binary.left, known),
            _ => None,
        },
        Expr::Case(case) => {
            all(&mut case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref()))
        }
        Expr::ScalarSubquery(subquery) => columns(&subquery.subquery, known).first().copied().flatten(),
        Expr::Unnest(unnest) => whole(&unnest.expr, known),
        Expr::ScalarFunction(function) => match function.func.name() {
            name if GIVE_INT4.contains(&name) => Some(Whole::Int4),
            "array_element" | "array_slice" | "array_fill" | "trim_array" => whole(function.args.first()?, known),
            name if GIVE_WHAT_THEY_TAKE.contains(&name) || is_checked(name) => all(&mut function.args.iter()),
            _ => None,
        },
        Expr::AggregateFunction(function) => match function.func.name() {
            "min" | "max" | "array_agg" | "bit_and" | "bit_or" | "bit_xor" | "first_value" | "last_value" | "mode"
            | "percentile_disc" => whole(function.params.args.first()?, known),
            "regr_count" => Some(Whole::Int8),
            _ => None,
        },
        Expr::WindowFunction(function) => match function.fun.name() {
            "ntile" => Some(Whole::Int4),
            "row_number" | "rank" | "dense_rank" => Some(Whole::Int8),
            "lag" | "lead" | "first_value" | "last_value" | "nth_value" | "min" | "max" => {
                whole(function.params.args.first()?, known)
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn types(sql: &str) -> Vec<DataType> {
        let ctx = SessionContext::new();
        ctx.sql("CREATE TABLE t (small INT, large BIGINT, name TEXT)").await.unwrap();
        let plan = ctx.state().create_logical_plan(sql).await.unwrap();
        let (plan, _) = narrowed(plan).unwrap();
        let names: Vec<String> = plan.schema().fields().iter().map(|f| f.name().clone()).collect();
        let batches = ctx.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        if let Some(batch) = batches.first() {
            assert_eq!(names, batch.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>());
        }
        let plan = ctx.state().create_logical_plan(sql).await.unwrap();
        narrowed(plan).unwrap().0.schema().fields().iter().map(|f| f.data_type().clone()).collect()
    }

    #[tokio::test]
    async fn numbers_have_the_types_that_postgresql_gives() {
        use DataType::{Int32, Int64};
        let list = DataType::List(Arc::new(Field::new_list_field(Int32, true)));
        for (sql, expected) in [
            ("SELECT 1, 3000000000, -1, 1 + 1, 7 / 2, 5::bigint", vec![Int32, Int64, Int32, Int32, Int32, Int64]),
            ("SELECT small + 1, large + 1, small * large, abs(small - 2) FROM t", vec![Int32, Int64, Int64, Int32]),
            ("SELECT coalesce(small, 0), nullif(large, 0), greatest(1, NULL, 3) FROM t", vec![Int32, Int64, Int32]),
            (
                "SELECT CASE WHEN small > 1 THEN 1 ELSE 2 END, CASE WHEN name = 'x' THEN large ELSE 0 END FROM t",
                vec![Int32, Int64],
            ),
            ("SELECT a, b FROM (VALUES (1, 3000000000), (2, 1)) AS v(a, b)", vec![Int32, Int64]),
            ("SELECT 1 AS n UNION ALL SELECT large FROM t", vec![Int64]),
            ("SELECT n, count(*), sum(n), max(n) FROM (SELECT 2 AS n) s GROUP BY n", vec![Int32, Int64, Int64, Int32]),
            (
                "SELECT row_number() OVER (ORDER BY small), ntile(2) OVER (ORDER BY small), lag(1) OVER (ORDER BY small) FROM t",
                vec![Int64, Int32, Int32],
            ),
            ("SELECT (SELECT 1), array_length(make_array(1, 2), 1), make_array(1, 2) FROM t", vec![Int32, Int32, list]),
            (
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n",
                vec![Int32],
            ),
        ] {
            assert_eq!(types(sql).await, expected, "{sql}");
        }
    }
}

//! UNION ALL, DISTINCT and windows over rows of people.

use std::sync::Arc;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, Projection, SubqueryAlias, Union, Window, WindowFrameBound, WindowFrameUnits,
};

use super::expr::unreadable;
use super::join::is_condition;
use super::outer::tables;
use super::rows::{
    Base, Bases, Role, Rows, bare, bare_base, key, less_of, refuse_as_condition, refuse_names, strictest, together,
};
use super::{Node, Walk};
use crate::functions;
use crate::refusal::Refusal;

impl Walk<'_> {
    pub(super) fn union(&mut self, union: &Union, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let mut private = Vec::new();
        let mut open = Vec::new();
        for input in &union.inputs {
            match self.node(input)? {
                Node::Private(rows) => private.push(rows),
                Node::Open(o) => open.push(o),
            }
        }
        let Some(first) = private.first() else { return self.outer(plan, open) };
        if !open.is_empty() {
            return Err(Refusal::forbidden(format!("rows of {} cannot be united with open rows", tables(first)))
                .hint("Unite aggregates of the tables."));
        }
        self.union_rows(private).map(Node::Private)
    }

    fn union_rows(&mut self, mut branches: Vec<Rows>) -> Result<Rows, Refusal> {
        let Some(first) = branches.first() else { return Err(Refusal::unsupported("UNION without inputs")) };
        let width = first.defs.len();
        let correlated = first.correlated;
        let (mut protection, mut placement) = (first.protection.clone(), first.placement.clone());
        let private = branches.iter().fold(None, |private, rows| less_of(&private, &rows.private));
        let mut names: Vec<String> = Vec::new();
        for rows in &branches {
            if let (Some(a), Some(b)) = (&protection, &rows.protection) {
                protection = Some(strictest(a, b)?);
            }
            placement = together(&placement, &rows.placement)?;
            if rows.correlated != correlated || rows.defs.len() != width {
                return Err(Refusal::unsupported("this UNION is not supported over a protected table"));
            }
            names.extend(rows.tables.iter().cloned());
        }
        let mut distinct = names.clone();
        distinct.sort();
        distinct.dedup();
        // Rows that were chosen, or come twice, weigh more: which branch a row came by is then a condition of every measure.
        let weighed = distinct.len() != names.len() || branches.iter().any(|r| r.restricted);
        for rows in &mut branches {
            let multiplied = std::mem::take(&mut rows.multiplied);
            rows.implied.extend(multiplied);
        }
        let extra: Vec<usize> = branches.iter().map(|r| r.implied.len()).collect();

        let alias = self.alias('u');
        let mut bases = Bases::new();
        let mut defs = Vec::new();
        for i in 0..width {
            let column = Column::new(Some(alias.as_str()), format!("c{i}"));
            let mut base: Option<Base> = None;
            for rows in &branches {
                let Some(def) = rows.defs.get(i) else { continue };
                let schema = rows.plan.schema();
                let known = bare_base(def, &rows.base, schema).cloned();
                let next = match known {
                    Some(b) if b.role == Role::Unit && bare(def, schema) != rows.unit.as_ref() => {
                        Base { bare: false, ..b }
                    }
                    Some(b) => b,
                    None => {
                        let made = super::join::made_base(def, &rows.base, schema, "");
                        // Even a literal tells the branch; only columns as they stand do not.
                        Base { condition: true, ..made }
                    }
                };
                let gated = !super::rows::gates(def, &rows.base).is_empty();
                let next = Base { condition: next.condition || gated, gates: vec![], ..next };
                base = Some(match base.take() {
                    None => next,
                    Some(b) => unite(b, next)?,
                });
            }
            bases.insert(key(&column), base.unwrap_or_else(|| Base::made(Role::Plain, true, "")));
            defs.push(Expr::Column(column));
        }
        let kinds: Vec<_> = branches
            .iter()
            .map(|r| r.unit.as_ref().and_then(|u| Expr::Column(u.clone()).get_type(r.plan.schema().as_ref()).ok()))
            .collect();
        if kinds.windows(2).any(|pair| pair.first() != pair.last()) {
            return Err(Refusal::unsupported("a UNION of tables whose unit columns differ in type is not supported")
                .hint("Give the unit columns one type."));
        }
        let mut implied = Vec::new();
        let unit = Column::new(Some(alias.as_str()), "unit");
        let mut unit_base = None;
        let mut inputs = Vec::new();
        for (at, rows) in branches.iter_mut().enumerate() {
            let Some(own) = rows.unit.clone() else { return Err(Refusal::unsupported("UNION needs rows of units")) };
            unit_base = unit_base.or_else(|| rows.base.get(&key(&own)).cloned());
            let mut exprs: Vec<Expr> =
                rows.defs.iter().enumerate().map(|(i, d)| d.clone().alias(format!("c{i}"))).collect();
            exprs.push(Expr::Column(own).alias("unit"));
            if weighed {
                exprs.push(Expr::Literal(ScalarValue::Int32(i32::try_from(at).ok()), None).alias("branch"));
            }
            for (branch, count) in extra.iter().enumerate() {
                for i in 0..*count {
                    let name = format!("i{branch}_{i}");
                    let value = match rows.implied.get(i) {
                        // Its value as text, so that one type fits all branches.
                        Some(e) if branch == at => {
                            datafusion::logical_expr::try_cast(e.clone(), datafusion::arrow::datatypes::DataType::Utf8)
                        }
                        _ => Expr::Literal(ScalarValue::Utf8(None), None),
                    };
                    exprs.push(value.alias(name));
                }
            }
            let plan = std::mem::take(&mut rows.plan);
            inputs.push(Arc::new(LogicalPlan::Projection(
                Projection::try_new(exprs, Arc::new(plan)).map_err(|e| unreadable(&e))?,
            )));
        }
        if weighed {
            implied.push(Column::new(Some(alias.as_str()), "branch"));
        }
        for (branch, count) in extra.iter().enumerate() {
            implied.extend((0..*count).map(|i| Column::new(Some(alias.as_str()), format!("i{branch}_{i}"))));
        }
        for column in &implied {
            bases.insert(key(column), Base::made(Role::Plain, true, &column.name));
        }
        bases.insert(key(&unit), unit_base.unwrap_or_else(|| Base::made(Role::Unit, false, "unit")));
        let union = Union::try_new_with_loose_types(inputs).map_err(|e| unreadable(&e))?;
        let plan =
            SubqueryAlias::try_new(Arc::new(LogicalPlan::Union(union)), alias.as_str()).map_err(|e| unreadable(&e))?;
        Ok(Rows {
            plan: LogicalPlan::SubqueryAlias(plan),
            // A unit column of every branch is the unit itself.
            defs: defs
                .into_iter()
                .map(|d| match &d {
                    Expr::Column(c) if bases.get(&key(c)).is_some_and(|b| b.role == Role::Unit && b.bare) => {
                        Expr::Column(unit.clone())
                    }
                    _ => d,
                })
                .collect(),
            base: bases,
            unit: Some(unit),
            protection,
            private,
            one_row: false,
            implied: implied.into_iter().map(Expr::Column).collect(),
            multiplied: vec![],
            tables: names,
            placement,
            correlated,
            restricted: true,
        })
    }

    /// Windows within the rows of a unit.
    pub(super) fn window(&mut self, mut rows: Rows, window: &Window) -> Result<Rows, Refusal> {
        let shown = window.input.schema();
        let mut made = Vec::new();
        let mut columns = Vec::new();
        for expr in &window.window_expr {
            let function = match expr.clone().unalias_nested().data {
                Expr::WindowFunction(f) => *f,
                _ => return Err(Refusal::unsupported("this window is not supported over a protected table")),
            };
            let (function, base) = self.window_function(function, &rows, shown)?;
            let name = self.alias('w');
            made.push(Expr::WindowFunction(Box::new(function)).alias(&name));
            columns.push((Column::new_unqualified(&name), base));
        }
        let plan = std::mem::take(&mut rows.plan);
        rows.plan = LogicalPlan::Window(Window::try_new(made, Arc::new(plan)).map_err(|e| unreadable(&e))?);
        for (column, base) in columns {
            rows.base.insert(key(&column), base);
            rows.defs.push(Expr::Column(column));
        }
        Ok(rows)
    }

    fn window_function(
        &mut self,
        function: WindowFunction,
        rows: &Rows,
        shown: &datafusion::common::DFSchema,
    ) -> Result<(WindowFunction, Base), Refusal> {
        let name = function.fun.name().to_owned();
        let allowed = match &function.fun {
            WindowFunctionDefinition::AggregateUDF(_) => {
                matches!(
                    functions::aggregate(&name),
                    Some(functions::Aggregate::Measure | functions::Aggregate::WithinUnit)
                ) && !name.starts_with("kanon_part_")
            }
            WindowFunctionDefinition::WindowUDF(_) => functions::window(&name),
        };
        if !allowed {
            return Err(Refusal::unsupported(format!(
                "window function {name} cannot be used on the rows of {}",
                tables(rows)
            )));
        }
        let schema = Arc::clone(rows.plan.schema());
        let mut by_unit = false;
        let mut params = function.params.clone();
        for e in &mut params.partition_by {
            let value = self.value(e, rows, shown, false)?;
            if bare(&value, &schema).is_some_and(|c| Some(c) == rows.unit.as_ref()) {
                by_unit = true;
            } else {
                refuse_as_condition(&value, &rows.base, &schema)?;
            }
            *e = value;
        }
        if !by_unit {
            let unit = rows.protection.as_ref().map_or("the unit column", |p| p.unit_column.as_str());
            return Err(Refusal::unsupported(format!(
                "a window over {} must be partitioned by its unit",
                tables(rows)
            ))
            .hint(format!("Add PARTITION BY {unit}, or use the window on the answer of an aggregate.")));
        }
        // NULLs that are jumped over, or filled with a default, and counts of values: whether there is a value.
        let fills = matches!(name.as_str(), "lag" | "lead") && params.args.len() > 2;
        let counts = matches!(name.as_str(), "count" | "regr_count")
            && params.args.iter().any(|a| !matches!(a, Expr::Literal(v, _) if !v.is_null()));
        let mut condition = params.filter.is_some()
            || params.null_treatment == Some(NullTreatment::IgnoreNulls)
            || fills
            || counts
            || matches!(
                name.as_str(),
                "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" | "ntile" | "nth_value"
            );
        let frame = &params.window_frame;
        let offset = |b: &WindowFrameBound| match b {
            WindowFrameBound::Preceding(v) | WindowFrameBound::Following(v) => !v.is_null(),
            WindowFrameBound::CurrentRow => false,
        };
        condition |= frame.units == WindowFrameUnits::Range && (offset(&frame.start_bound) || offset(&frame.end_bound));
        let mut measure = None;
        for e in &mut params.args {
            let value = self.value(e, rows, shown, false)?;
            refuse_names(&value, &rows.base, &schema)?;
            condition |= is_condition(&value, &rows.base, &schema) || is_made(&value, &rows.base, &schema);
            measure =
                measure.or_else(|| super::rows::mentions(&value, &rows.base, &|b| b.role == Role::Measure).cloned());
            *e = value;
        }
        for s in &mut params.order_by {
            let value = self.value(&s.expr, rows, shown, false)?;
            refuse_as_condition(&value, &rows.base, &schema)?;
            condition |= is_condition(&value, &rows.base, &schema);
            s.expr = value;
        }
        if let Some(filter) = &mut params.filter {
            let value = self.value(filter, rows, shown, false)?;
            refuse_as_condition(&value, &rows.base, &schema)?;
            **filter = value;
        }
        let base = match measure {
            Some(b) => Base { condition, ..b.unbounded() },
            None => Base::made(Role::Plain, condition, &name),
        };
        Ok((WindowFunction { fun: function.fun, params }, base))
    }
}

/// Whether conditions come with a value that a window would lose.
fn is_made(value: &Expr, bases: &Bases, schema: &datafusion::common::DFSchema) -> bool {
    !super::rows::gates(value, bases).is_empty() || !crate::arguments::products(value, schema).is_empty()
}

/// What is known of a column that two branches share.
fn unite(a: Base, b: Base) -> Result<Base, Refusal> {
    let role = match (a.role, b.role) {
        (Role::Identifier, _) | (_, Role::Identifier) => Role::Identifier,
        (Role::Unit, Role::Unit) => Role::Unit,
        (Role::Unit, _) => return Err(super::rows::unit_used(&a)),
        (_, Role::Unit) => return Err(super::rows::unit_used(&b)),
        (Role::Measure, _) | (_, Role::Measure) => Role::Measure,
        (Role::Plain, Role::Plain) => Role::Plain,
    };
    let named = if b.role == role && a.role != role { b.clone() } else { a.clone() };
    let range = a.range.or(b.range);
    let domain = if a.domain == b.domain { a.domain.clone() } else { None };
    Ok(Base { role, condition: a.condition || b.condition, bare: a.bare && b.bare, range, domain, ..named })
}

//! Whether a subplan's text, planned again, means what the unit means at a site.
//!
//! Both plans are brought to a normal form in which columns are named by where they come from, so that names, nesting and the order
//! of conditions make no difference, and anything else does.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, JoinType, Result as DfResult, ScalarValue, TableReference, plan_datafusion_err, plan_err,
};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Distinct, Expr, GroupingSet, HigherOrderUDF, LogicalPlan, ScalarUDF, TableScan,
    TableSource, WindowUDF,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{ContextProvider, SqlToRel};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::layout::{self, Layout};
use super::write::literal;
use crate::facts::{Facts, Placement, SiteId};

/// Whether `sql` means at `site` what `source` means there.
pub(super) fn means_the_same(
    source: &LogicalPlan,
    layout: &Layout,
    site: &SiteId,
    sql: &str,
    facts: &dyn Facts,
    state: &SessionState,
) -> bool {
    let Ok(aggregate) = layout::source(source) else { return false };
    let Ok(intended) = intended(aggregate, layout, state) else { return false };
    let mut ours = Normal { scan: &|scan| at_site(scan, site, facts), state, relations: 0, outer: Vec::new() };
    let Ok(mut left) = ours.plan(&intended) else { return false };
    let Ok(plan) = planned_again(source, sql, facts, state) else { return false };
    let mut theirs =
        Normal { scan: &|scan| Ok((full_name(&scan.table_name), None)), state, relations: 0, outer: Vec::new() };
    let Ok(right) = theirs.plan(&plan) else { return false };
    if layout.only_site() {
        left.columns.insert(0, literal(site));
    }
    if layout.bases.is_empty() && left.columns.is_empty() {
        return left.rel == right.rel;
    }
    left.rel == right.rel && left.filters.is_empty() && right.filters.is_empty() && left.columns == right.columns
}

const GROUPING_ID: &str = "grouping id";

/// What a site computes.
fn intended(aggregate: &Aggregate, layout: &Layout, state: &SessionState) -> DfResult<LogicalPlan> {
    let keys: Vec<Expr> = layout.asked_keys().map(|(_, key)| layout::bare(&key.expr).clone()).collect();
    let bases = layout.bases.iter().map(|base| base.expr.clone());
    let over = |group, measures| Aggregate::try_new(Arc::clone(&aggregate.input), group, measures);
    let Some(sets) = layout.asked_sets() else {
        let group = if layout.only_site() { vec![Expr::Literal(ScalarValue::Boolean(Some(true)), None)] } else { keys };
        return over(group, bases.collect()).map(LogicalPlan::Aggregate);
    };
    let sets = sets
        .iter()
        .map(|set| keys.iter().zip(set).filter(|(_, within)| **within).map(|(key, _)| key.clone()).collect())
        .collect();
    let grouping = state.aggregate_functions().get("grouping").cloned();
    let grouping = grouping.ok_or_else(|| plan_datafusion_err!("no function grouping"))?;
    let grouping = Expr::AggregateFunction(AggregateFunction::new_udf(grouping, keys, false, None, vec![], None));
    let measures = std::iter::once(grouping).chain(bases).collect();
    let plan = LogicalPlan::Aggregate(over(vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))], measures)?);
    ResolveGroupingFunction::new().analyze(plan, state.config_options())
}

fn at_site(scan: &TableScan, site: &SiteId, facts: &dyn Facts) -> DfResult<(String, Option<Expr>)> {
    match facts.of(scan).placement {
        Placement::Sites { table, site_column, .. } => Ok((table, site_column.then(|| literal(site)))),
        Placement::Local => plan_err!("not at a site"),
    }
}

fn full_name(name: &TableReference) -> String {
    format!("{}.{}", name.schema().unwrap_or("public"), name.table())
}

struct Form {
    rel: String,
    filters: Vec<Expr>,
    columns: Vec<Expr>,
    sealed: bool,
}

type ScanNames<'a> = &'a dyn Fn(&TableScan) -> DfResult<(String, Option<Expr>)>;

struct Normal<'a> {
    scan: ScanNames<'a>,
    state: &'a SessionState,
    relations: usize,
    outer: Vec<(DFSchema, Vec<Expr>)>,
}

impl Normal<'_> {
    fn next(&mut self) -> String {
        self.relations += 1;
        format!("r{}", self.relations)
    }

    fn fresh(&mut self, rel: String, names: impl IntoIterator<Item = String>) -> Form {
        let id = self.next();
        let columns =
            names.into_iter().map(|n| Expr::Column(Column::new(Some(TableReference::bare(id.as_str())), n))).collect();
        Form { rel: format!("{id}={rel}"), filters: Vec::new(), columns, sealed: false }
    }

    fn closed(form: &Form) -> String {
        if form.filters.is_empty() {
            return form.rel.clone();
        }
        let mut filters: Vec<String> = form.filters.iter().map(|f| format!("{f:?}")).collect();
        filters.sort();
        filters.dedup();
        format!("[{} WHERE {}]", form.rel, filters.join(" & "))
    }

    fn plan(&mut self, plan: &LogicalPlan) -> DfResult<Form> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let (name, site) = (self.scan)(scan)?;
                let id = self.next();
                let columns = scan
                    .projected_schema
                    .fields()
                    .iter()
                    .map(|f| match &site {
                        Some(site) if f.name() == "site" => site.clone(),
                        _ => Expr::Column(Column::new(Some(TableReference::bare(id.as_str())), f.name())),
                    })
                    .collect();
                let mut form = Form { rel: format!("{id}=scan {name:?}"), filters: Vec::new(), columns, sealed: false };
                for filter in &scan.filters {
                    let predicate = self.expr(filter, &scan.projected_schema, &form.columns)?;
                    self.conjuncts(predicate, &mut form.filters);
                }
                Ok(form)
            }
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.plan(&sort.input),
            LogicalPlan::Filter(filter) => {
                let mut form = self.plan(&filter.input)?;
                if form.sealed {
                    form.rel = Self::closed(&form);
                    form.filters.clear();
                    form.sealed = false;
                }
                let predicate = self.expr(&filter.predicate, filter.input.schema(), &form.columns)?;
                self.conjuncts(predicate, &mut form.filters);
                Ok(form)
            }
            LogicalPlan::Projection(projection) => {
                let form = self.plan(&projection.input)?;
                let columns = self.exprs(&projection.expr, projection.input.schema(), &form.columns)?;
                Ok(Form { columns, ..form })
            }
            LogicalPlan::Window(window) => {
                let mut form = self.plan(&window.input)?;
                let more = self.exprs(&window.window_expr, window.input.schema(), &form.columns)?;
                form.columns.extend(more);
                form.sealed = true;
                Ok(form)
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let form = self.plan(input)?;
                let rel = format!("DISTINCT {:?} OF {}", form.columns, Self::closed(&form));
                let names: Vec<String> = (0..form.columns.len()).map(|i| format!("d{i}")).collect();
                Ok(self.fresh(rel, names))
            }
            LogicalPlan::Union(union) => {
                let mut parts = Vec::new();
                for input in &union.inputs {
                    let form = self.plan(input)?;
                    parts.push(format!("{:?} OF {}", form.columns, Self::closed(&form)));
                }
                let names: Vec<String> = (0..union.schema.fields().len()).map(|i| format!("u{i}")).collect();
                Ok(self.fresh(format!("UNION {}", parts.join(" | ")), names))
            }
            LogicalPlan::Values(values) => {
                let nothing = DFSchema::empty();
                let mut rows = Vec::with_capacity(values.values.len());
                for row in &values.values {
                    rows.push(self.exprs(row, &nothing, &[])?);
                }
                let fields = values.schema.fields();
                let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
                Ok(self.fresh(format!("VALUES {types:?} {rows:?}"), fields.iter().map(|field| field.name().clone())))
            }
            LogicalPlan::Join(join) => {
                let (left, right) = (self.plan(&join.left)?, self.plan(&join.right)?);
                let mut columns = left.columns.clone();
                columns.extend(right.columns.iter().cloned());
                let mut on = Vec::new();
                for (l, r) in &join.on {
                    let l = self.expr(l, join.left.schema(), &left.columns)?;
                    let r = self.expr(r, join.right.schema(), &right.columns)?;
                    self.conjuncts(l.eq(r), &mut on);
                }
                if let Some(filter) = &join.filter {
                    let both = join.left.schema().join(join.right.schema())?;
                    let filter = self.expr(filter, &both, &columns)?;
                    self.conjuncts(filter, &mut on);
                }
                if join.join_type == JoinType::Inner {
                    let mut filters = left.filters;
                    filters.extend(right.filters);
                    filters.extend(on);
                    return Ok(Form {
                        rel: format!("({} x {})", left.rel, right.rel),
                        filters,
                        columns,
                        sealed: false,
                    });
                }
                let mut on: Vec<String> = on.iter().map(|e| format!("{e:?}")).collect();
                on.sort();
                let rel = format!("({} {:?} {} ON {on:?})", Self::closed(&left), join.join_type, Self::closed(&right));
                Ok(Form { rel, filters: Vec::new(), columns, sealed: false })
            }
            _ => plan_err!("not a node of a subplan"),
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> DfResult<Form> {
        let input = self.plan(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let (mut keys, mut sets) = (Vec::new(), String::new());
        match aggregate.group_expr.as_slice() {
            [Expr::GroupingSet(GroupingSet::GroupingSets(all))] => {
                let distinct = datafusion::logical_expr::utils::grouping_set_to_exprlist(&aggregate.group_expr)?;
                for key in distinct {
                    keys.push(self.expr(key, schema, &input.columns)?);
                }
                let mut texts = Vec::new();
                for set in all {
                    let mut set: Vec<String> =
                        self.exprs(set, schema, &input.columns)?.iter().map(|e| format!("{e:?}")).collect();
                    set.sort();
                    texts.push(format!("{set:?}"));
                }
                texts.sort();
                sets = texts.join(" ");
            }
            [Expr::GroupingSet(_)] => return plan_err!("grouping sets are written out"),
            plain => {
                for key in plain {
                    keys.push(self.expr(key, schema, &input.columns)?);
                }
            }
        }
        let mut names: Vec<String> = Vec::new();
        let mut group = Vec::new();
        for key in keys.iter().filter(|key| !matches!(key, Expr::Literal(..))) {
            group.push(format!("{key:?}"));
        }
        group.sort();
        let grouped = !aggregate.group_expr.is_empty();
        let rel = format!("AGG grouped={grouped} {group:?} {sets} OF {}", Self::closed(&input));
        let mut literals = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            if matches!(key, Expr::Literal(..)) {
                literals.push((index, key.clone()));
            }
            names.push(format!("key {key:?}"));
        }
        if !sets.is_empty() {
            names.push(GROUPING_ID.to_owned());
        }
        for e in &aggregate.aggr_expr {
            names.push(format!("agg {:?}", self.expr(e, schema, &input.columns)?));
        }
        let mut form = self.fresh(rel, names);
        // A constant key is the constant; the intended plan's stand-in for it has no column.
        for (index, key) in literals.into_iter().rev() {
            if matches!(key, Expr::Literal(ScalarValue::Boolean(Some(true)), _)) {
                form.columns.remove(index);
            } else if let Some(column) = form.columns.get_mut(index) {
                *column = key;
            }
        }
        Ok(form)
    }

    fn conjuncts(&self, predicate: Expr, into: &mut Vec<Expr>) {
        for conjunct in split_conjunction_owned(predicate) {
            if !matches!(self.folded(conjunct.clone()), Expr::Literal(ScalarValue::Boolean(Some(true)), _)) {
                into.push(conjunct);
            }
        }
    }

    fn folded(&self, expr: Expr) -> Expr {
        let depends = expr.exists(|e| Ok(matches!(e, Expr::Column(_)))).unwrap_or(true);
        if depends || expr.is_volatile() {
            return expr;
        }
        let context = SimplifyContext::builder().with_config_options(Arc::clone(self.state.config_options())).build();
        ExprSimplifier::new(context).simplify(expr.clone()).unwrap_or(expr)
    }

    fn exprs(&mut self, exprs: &[Expr], schema: &DFSchema, columns: &[Expr]) -> DfResult<Vec<Expr>> {
        exprs.iter().map(|e| self.expr(e, schema, columns)).collect()
    }

    fn expr(&mut self, expr: &Expr, schema: &DFSchema, columns: &[Expr]) -> DfResult<Expr> {
        let jump = |e| Transformed::new(e, true, TreeNodeRecursion::Jump);
        let named = |schema: &DFSchema, columns: &[Expr], column: &Column| {
            schema.maybe_index_of_column(column).and_then(|i| columns.get(i)).cloned()
        };
        let resolved = expr.clone().transform_down(|e| {
            Ok(match e {
                Expr::Column(column) => {
                    jump(named(schema, columns, &column).ok_or_else(|| plan_datafusion_err!("unknown column"))?)
                }
                Expr::OuterReferenceColumn(_, column) => jump(
                    self.outer
                        .iter()
                        .rev()
                        .find_map(|(schema, columns)| named(schema, columns, &column))
                        .ok_or_else(|| plan_datafusion_err!("unknown outer column"))?,
                ),
                Expr::InSubquery(within) => {
                    let operand = self.expr(&within.expr, schema, columns)?;
                    let form = self.within(&within.subquery.subquery, schema, columns)?;
                    let text = format!("{operand:?} {} {:?} OF {}", within.negated, form.columns, Self::closed(&form));
                    jump(Expr::Column(Column::from_name(text)))
                }
                Expr::Exists(exists) => {
                    let form = self.within(&exists.subquery.subquery, schema, columns)?;
                    jump(Expr::Column(Column::from_name(format!("EXISTS {} {}", exists.negated, Self::closed(&form)))))
                }
                Expr::ScalarSubquery(_) | Expr::SetComparison(_) => return plan_err!("not an expression of a subplan"),
                other => Transformed::no(other),
            })
        })?;
        let plain = resolved.data.transform_up(|e| {
            Ok(match e {
                Expr::Alias(alias) => Transformed::yes(*alias.expr),
                Expr::Literal(value, Some(_)) => Transformed::yes(Expr::Literal(value, None)),
                Expr::Cast(cast) => match cast.expr.as_ref() {
                    Expr::Literal(value, _) => match value.cast_to(cast.field.data_type()) {
                        Ok(value) => Transformed::yes(Expr::Literal(value, None)),
                        Err(_) => Transformed::no(Expr::Cast(cast)),
                    },
                    _ => Transformed::no(Expr::Cast(cast)),
                },
                Expr::Negative(inner) => match inner.as_ref() {
                    Expr::Literal(value, _) => match value.arithmetic_negate() {
                        Ok(value) => Transformed::yes(Expr::Literal(value, None)),
                        Err(_) => Transformed::no(Expr::Negative(inner)),
                    },
                    _ => Transformed::no(Expr::Negative(inner)),
                },
                other => Transformed::no(other),
            })
        })?;
        Ok(plain.data)
    }

    fn within(&mut self, plan: &LogicalPlan, schema: &DFSchema, columns: &[Expr]) -> DfResult<Form> {
        self.outer.push((schema.clone(), columns.to_vec()));
        let form = self.plan(plan);
        self.outer.pop();
        form
    }
}

fn planned_again(source: &LogicalPlan, sql: &str, facts: &dyn Facts, state: &SessionState) -> DfResult<LogicalPlan> {
    let mut tables: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
    source.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Placement::Sites { table, site_column, .. } = facts.of(scan).placement
        {
            let schema = scan.source.schema();
            let fields: Vec<_> =
                schema.fields().iter().filter(|f| !(site_column && f.name() == "site")).map(Arc::clone).collect();
            tables.insert(table, Arc::new(LogicalTableSource::new(Arc::new(Schema::new(fields)))));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|e| plan_datafusion_err!("{e}"))?;
    let Ok([statement]) = <[Statement; 1]>::try_from(statements) else { return plan_err!("not one statement") };
    let context = AtSite { tables, state };
    let options = datafusion::sql::planner::ParserOptions { map_string_types_to_utf8view: false, ..Default::default() };
    let plan = SqlToRel::new_with_options(&context, options).sql_statement_to_plan(statement)?;
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
}

/// The names that a site finds.
struct AtSite<'a> {
    tables: HashMap<String, Arc<dyn TableSource>>,
    state: &'a SessionState,
}

impl ContextProvider for AtSite<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        self.tables.get(&full_name(&name)).cloned().ok_or_else(|| plan_datafusion_err!("no table {name}"))
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }
    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }
    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }
    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }
    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }
    fn udf_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

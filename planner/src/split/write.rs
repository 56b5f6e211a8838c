//! SQL text of a subplan, from the node kinds that the boundary knows.

mod joins;

use std::collections::BTreeSet;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::sqlparser::ast;

use super::columns::{at, opaque, stand_in};
use super::expr::{self, identifier};
use super::layout::{self, Layout};
use crate::facts::{Facts, Placement, SiteId};
use crate::refusal::Refusal;

/// A SELECT under construction.
pub(super) struct Block {
    /// The text after FROM; empty for none.
    from: String,
    /// What must hold, over the names in `from`.
    filters: Vec<Expr>,
    /// The plan's columns, in order, over the names in `from`.
    columns: Vec<Expr>,
    /// Whether columns hold window functions, which no condition may be put beside.
    sealed: bool,
}

/// The text for one site; `None` if a condition on `site` rules it out.
pub(super) fn subplan(
    source: &LogicalPlan,
    layout: &Layout,
    site: &SiteId,
    facts: &dyn Facts,
    state: &SessionState,
    terse: bool,
) -> Result<Option<String>, Refusal> {
    let aggregate = layout::source(source)?;
    let (mut relations, mut used) = (0, BTreeSet::new());
    let _ = source.apply_with_subqueries(|node| {
        relations += usize::from(matches!(node, LogicalPlan::TableScan(_) | LogicalPlan::Values(_)));
        for expr in node.expressions() {
            let _ = expr.apply(|e| {
                if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = e {
                    used.insert(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let mut writer = Writer {
        site,
        facts,
        state,
        terse,
        qualify: relations > 1,
        names: BTreeSet::new(),
        subqueries: Vec::new(),
        outer: Vec::new(),
        nowhere: false,
        used,
    };
    let mut block = writer.block(&aggregate.input)?;
    if block.sealed {
        block = writer.wrapped(block, aggregate.input.schema())?;
    }
    if writer.nowhere {
        return Ok(None);
    }
    let schema = aggregate.input.schema();
    let mut items = Vec::new();
    let mut group = Vec::new();
    for (number, key) in layout.asked_keys() {
        let expr = writer.over(layout::bare(&key.expr).clone(), schema, &block.columns)?;
        let text = writer.text(&expr)?;
        items.push(match &expr {
            Expr::Column(_) => text.clone(),
            _ => format!("{text} AS k{number}"),
        });
        group.push(text);
    }
    if layout.only_site() {
        let text = expr::scalar(&literal(site), &[], terse)?;
        items.push(format!("{text} AS site"));
        group.push(text);
    }
    let mut clause = group.join(", ");
    if let Some(sets) = layout.asked_sets() {
        items.push(format!("grouping({clause}) AS grouping_id"));
        let sets: Vec<String> = sets
            .iter()
            .map(|set| {
                let within: Vec<&str> =
                    set.iter().zip(&group).filter(|(w, _)| **w).map(|(_, text)| text.as_str()).collect();
                format!("({})", within.join(", "))
            })
            .collect();
        clause = format!("GROUPING SETS ({})", sets.join(", "));
    }
    for base in &layout.bases {
        let expr = writer.over(base.expr.clone(), schema, &block.columns)?;
        items.push(format!("{} AS {}", expr::aggregate(&expr, &writer.subqueries, terse)?, base.name));
    }
    if items.is_empty() {
        items.push("count(*) AS m0".into());
    }
    let mut text = writer.select(&items, &block)?;
    if !clause.is_empty() {
        text.push_str(" GROUP BY ");
        text.push_str(&clause);
    }
    Ok(Some(text))
}

pub(super) fn literal(site: &SiteId) -> Expr {
    Expr::Literal(ScalarValue::Utf8(Some(site.as_str().to_owned())), None)
}

/// The name of a table at its sites as it is written: `public` is searched first there.
fn written(table: &str) -> String {
    match table.split_once('.') {
        Some(("public", name)) if !name.starts_with("pg_") => identifier(name),
        Some((schema, name)) => format!("{}.{}", identifier(schema), identifier(name)),
        None => identifier(table),
    }
}

struct Writer<'a> {
    site: &'a SiteId,
    facts: &'a dyn Facts,
    state: &'a SessionState,
    terse: bool,
    qualify: bool,
    names: BTreeSet<String>,
    subqueries: Vec<ast::Expr>,
    /// Columns of the queries around the present one.
    outer: Vec<(DFSchemaRef, Vec<Expr>)>,
    /// A condition that is false for this site was met at the top.
    nowhere: bool,
    /// Names of all columns that the query speaks of.
    used: BTreeSet<String>,
}

impl Writer<'_> {
    fn name(&mut self, wish: &str) -> String {
        let mut name = wish.to_owned();
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{wish}_{number}");
            number += 1;
        }
        name
    }

    fn text(&self, expr: &Expr) -> Result<String, Refusal> {
        expr::scalar(expr, &self.subqueries, self.terse)
    }

    fn column(&self, relation: &str, name: &str) -> Expr {
        if self.qualify {
            Expr::Column(Column::new(Some(datafusion::common::TableReference::bare(relation)), name))
        } else {
            Expr::Column(Column::from_name(name))
        }
    }

    fn select(&self, items: &[String], block: &Block) -> Result<String, Refusal> {
        let mut text = format!("SELECT {}", items.join(", "));
        if !block.from.is_empty() {
            text.push_str(&format!(" FROM {}", block.from));
        }
        if !block.filters.is_empty() {
            let mut conjuncts = Vec::new();
            for filter in &block.filters {
                let conjunct = self.text(filter)?;
                conjuncts.push(match filter {
                    Expr::BinaryExpr(b)
                        if b.op == datafusion::logical_expr::Operator::Or && block.filters.len() > 1 =>
                    {
                        format!("({conjunct})")
                    }
                    _ => conjunct,
                });
            }
            text.push_str(&format!(" WHERE {}", conjuncts.join(" AND ")));
        }
        Ok(text)
    }

    /// The columns of a block under names of their own.
    fn items(&mut self, block: &Block, fields: &[&str]) -> Result<(Vec<String>, Vec<String>), Refusal> {
        let mut items = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (expr, field) in block.columns.iter().zip(fields) {
            let plain = field.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let name = if plain && !names.iter().any(|known| known == field) {
                (*field).to_owned()
            } else {
                format!("c{}", names.len())
            };
            let text = self.text(expr)?;
            let quoted = identifier(&name);
            let same = matches!(expr, Expr::Column(column) if column.name == name);
            items.push(if same { text } else { format!("{text} AS {quoted}") });
            names.push(name);
        }
        if items.is_empty() {
            items.push("1 AS c0".into());
        }
        Ok((items, names))
    }

    /// A block whose FROM is the SELECT of another.
    fn derived(&mut self, text: String, names: Vec<String>) -> Block {
        let alias = self.name("q");
        let columns = names.iter().map(|name| self.column(&alias, name)).collect();
        Block { from: format!("({text}) AS {alias}"), filters: Vec::new(), columns, sealed: false }
    }

    /// The block as a query in FROM, with the columns that anything speaks of.
    fn wrapped(&mut self, block: Block, schema: &DFSchema) -> Result<Block, Refusal> {
        let used: Vec<bool> = schema.fields().iter().map(|field| self.used.contains(field.name())).collect();
        let kept = Block {
            from: block.from.clone(),
            filters: block.filters.clone(),
            columns: block.columns.iter().zip(&used).filter(|(_, used)| **used).map(|(c, _)| c.clone()).collect(),
            sealed: block.sealed,
        };
        let fields: Vec<&str> =
            schema.fields().iter().zip(&used).filter(|(_, used)| **used).map(|(f, _)| f.name().as_str()).collect();
        let (items, names) = self.items(&kept, &fields)?;
        let text = self.select(&items, &kept)?;
        let derived = self.derived(text, names);
        let mut columns = derived.columns.into_iter();
        let columns =
            used.iter().map(|used| if *used { columns.next() } else { None }.unwrap_or_else(opaque)).collect();
        Ok(Block { columns, ..derived })
    }

    fn block(&mut self, plan: &LogicalPlan) -> Result<Block, Refusal> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.block(&alias.input),
            // Nothing above looks at the order of rows.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.block(&sort.input),
            LogicalPlan::Filter(filter) => {
                let mut block = self.block(&filter.input)?;
                if block.sealed {
                    block = self.wrapped(block, filter.input.schema())?;
                }
                let predicate = self.over(filter.predicate.clone(), filter.input.schema(), &block.columns)?;
                self.conjuncts(predicate, &mut block)?;
                Ok(block)
            }
            LogicalPlan::Projection(projection) => {
                let block = self.block(&projection.input)?;
                let mut columns = Vec::new();
                for e in &projection.expr {
                    columns.push(self.over(layout::bare(e).clone(), projection.input.schema(), &block.columns)?);
                }
                Ok(Block { columns, ..block })
            }
            LogicalPlan::Window(window) => {
                let mut block = self.block(&window.input)?;
                if block.sealed {
                    block = self.wrapped(block, window.input.schema())?;
                }
                let mut columns = block.columns.clone();
                for e in &window.window_expr {
                    columns.push(self.over(layout::bare(e).clone(), window.input.schema(), &block.columns)?);
                }
                Ok(Block { columns, sealed: true, ..block })
            }
            LogicalPlan::Aggregate(aggregate) => {
                let mut block = self.block(&aggregate.input)?;
                if block.sealed {
                    block = self.wrapped(block, aggregate.input.schema())?;
                }
                if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
                    return Err(Refusal::unsupported("grouping sets within a federated query cannot be sent to sites"));
                }
                let (mut items, mut names, mut group) = (Vec::new(), Vec::new(), Vec::new());
                for key in &aggregate.group_expr {
                    let expr = self.over(layout::bare(key).clone(), aggregate.input.schema(), &block.columns)?;
                    let text = self.text(&expr)?;
                    let name = format!("c{}", names.len());
                    items.push(format!("{text} AS {name}"));
                    names.push(name);
                    group.push(text);
                }
                for e in &aggregate.aggr_expr {
                    let expr = self.over(layout::bare(e).clone(), aggregate.input.schema(), &block.columns)?;
                    let name = format!("c{}", names.len());
                    items.push(format!("{} AS {name}", expr::aggregate(&expr, &self.subqueries, self.terse)?));
                    names.push(name);
                }
                let mut text = self.select(&items, &block)?;
                if !group.is_empty() {
                    text.push_str(&format!(" GROUP BY {}", group.join(", ")));
                }
                Ok(self.derived(text, names))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let block = self.block(input)?;
                let (items, names) = self.items(&block, &field_names(input.schema()))?;
                let text = self.select(&items, &block)?.replacen("SELECT ", "SELECT DISTINCT ", 1);
                Ok(self.derived(text, names))
            }
            LogicalPlan::Union(union) => {
                let mut texts = Vec::new();
                let mut first = Vec::new();
                // A site is not asked if no branch has anything for it.
                let before = self.nowhere;
                let mut everywhere_false = true;
                for input in &union.inputs {
                    self.nowhere = false;
                    let block = self.block(input)?;
                    everywhere_false &= self.nowhere;
                    let (items, names) = self.items(&block, &field_names(&union.schema))?;
                    texts.push(self.select(&items, &block)?);
                    if first.is_empty() {
                        first = names;
                    }
                }
                self.nowhere = before || everywhere_false;
                Ok(self.derived(texts.join(" UNION ALL "), first))
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Values(values) => {
                let mut rows = Vec::with_capacity(values.values.len());
                for row in &values.values {
                    let cells = row.iter().map(|cell| self.text(cell)).collect::<Result<Vec<_>, _>>()?;
                    rows.push(format!("({})", cells.join(", ")));
                }
                let alias = self.name("v");
                let columns = values.schema.fields().iter().map(|field| self.column(&alias, field.name())).collect();
                let from = format!("(VALUES {}) AS {alias}", rows.join(", "));
                Ok(Block { from, filters: Vec::new(), columns, sealed: false })
            }
            other => Err(Refusal::unsupported(format!("{} cannot be sent to sites", kind(other)))),
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Block, Refusal> {
        let facts = self.facts.of(scan);
        let Placement::Sites { table, site_column, sites } = &facts.placement else {
            return Err(Refusal::unsupported(format!(
                "table \"{}\" is not at the sites that hold the others",
                facts.name
            ))
            .hint("Join federated tables with one another, or join the answer of a federated query with the table."));
        };
        if scan.fetch.is_some() {
            return Err(Refusal::unsupported("LIMIT below a federated aggregate cannot be sent to sites"));
        }
        if !sites.contains(self.site) {
            return Err(Refusal::unsupported(format!("table \"{}\" is not at every site of the query", facts.name)));
        }
        let short = table.rsplit_once('.').map_or(table.as_str(), |(_, name)| name);
        let alias = self.name(short);
        let columns: Vec<Expr> = scan
            .projected_schema
            .fields()
            .iter()
            .map(
                |f| if *site_column && f.name() == "site" { literal(self.site) } else { self.column(&alias, f.name()) },
            )
            .collect();
        let from =
            if alias == short { written(table) } else { format!("{} AS {}", written(table), identifier(&alias)) };
        let mut block = Block { from, filters: Vec::new(), columns, sealed: false };
        for filter in &scan.filters {
            let predicate = self.over(filter.clone(), &scan.projected_schema, &block.columns)?;
            self.conjuncts(predicate, &mut block)?;
        }
        Ok(block)
    }

    /// Adds conditions, without those that hold for this site anyway.
    fn conjuncts(&mut self, predicate: Expr, block: &mut Block) -> Result<(), Refusal> {
        for conjunct in split_conjunction_owned(predicate) {
            match self.constant(&conjunct) {
                Some(true) => {}
                Some(false) => {
                    self.nowhere |= self.outer.is_empty();
                    block.filters.push(conjunct);
                }
                None => block.filters.push(conjunct),
            }
        }
        Ok(())
    }

    /// The value of a condition without columns (a comparison of `site` with constants): NULL is false.
    fn constant(&self, conjunct: &Expr) -> Option<bool> {
        let depends = conjunct
            .exists(|e| {
                Ok(matches!(e, Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::Placeholder(_))
                    || expr::is_subquery(e))
            })
            .unwrap_or(true);
        if depends || conjunct.is_volatile() {
            return None;
        }
        let context =
            SimplifyContext::builder().with_config_options(std::sync::Arc::clone(self.state.config_options())).build();
        let simple = ExprSimplifier::new(context).simplify(conjunct.clone()).ok()?;
        match simple {
            Expr::Literal(ScalarValue::Boolean(value), _) => Some(value.unwrap_or(false)),
            Expr::Literal(value, _) if value.is_null() => Some(false),
            _ => None,
        }
    }

    /// Rewrites an expression over a plan's columns to one over the names in FROM; subqueries become stand-ins for their text.
    fn over(&mut self, expr: Expr, schema: &DFSchema, columns: &[Expr]) -> Result<Expr, Refusal> {
        let mut failure = None;
        let done = expr.transform_down(|e| {
            let replaced = match e {
                Expr::Column(column) => match at(schema, columns, &column) {
                    Ok(found) => Transformed::new(found, true, TreeNodeRecursion::Jump),
                    Err(refusal) => {
                        failure.get_or_insert(refusal);
                        Transformed::no(Expr::Column(column))
                    }
                },
                Expr::OuterReferenceColumn(_, column) => {
                    let found = self.outer.iter().rev().find_map(|(schema, columns)| at(schema, columns, &column).ok());
                    match found {
                        Some(found) => Transformed::new(found, true, TreeNodeRecursion::Jump),
                        None => {
                            failure
                                .get_or_insert(Refusal::unsupported("a correlated subquery cannot be sent to sites"));
                            Transformed::no(stand_in())
                        }
                    }
                }
                Expr::Alias(alias) => Transformed::yes(*alias.expr),
                subquery if expr::is_subquery(&subquery) => match self.subquery(subquery, schema, columns) {
                    Ok(found) => Transformed::new(found, true, TreeNodeRecursion::Jump),
                    Err(refusal) => {
                        failure.get_or_insert(refusal);
                        Transformed::new(stand_in(), true, TreeNodeRecursion::Jump)
                    }
                },
                other => Transformed::no(other),
            };
            Ok(replaced)
        });
        match (failure, done) {
            (Some(refusal), _) => Err(refusal),
            (None, Ok(done)) => Ok(done.data),
            (None, Err(_)) => Err(Refusal::unsupported("an expression cannot be written for a site")),
        }
    }
}

fn field_names(schema: &DFSchema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

fn kind(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => "LIMIT below an aggregate",
        LogicalPlan::EmptyRelation(_) => "a query without a table",
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        LogicalPlan::RecursiveQuery(_) => "a recursive query",
        LogicalPlan::Unnest(_) => "unnest",
        LogicalPlan::Extension(_) => "an answer of another release",
        _ => "a query of this shape",
    }
}

//! Rows of people on their way to an aggregate: an inner plan, and what each column that the query sees is made of.
//!
//! Projections are not kept as nodes. Every column that the analysed plan shows is an expression over the columns of the inner plan
//! (the *base*), so that an aggregate's argument can be read down to the table whatever inner queries and names it went through.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::facts::{Domain, Placement, PrivatePolicy, Protection};
use crate::private::{self, Range};
use crate::refusal::Refusal;
use crate::total::infallible;

/// What a base column may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Anything.
    Plain,
    /// It names the unit of the row, or is NULL (from an outer join).
    Unit,
    /// It may appear nowhere.
    Identifier,
    /// Aggregated, never a condition.
    Measure,
}

/// A column of the inner plan.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub role: Role,
    /// Whether its values were made by something that is not arithmetic (rule 1): then the values are parts.
    pub condition: bool,
    /// Whether it is a column of a table as it stands there.
    pub bare: bool,
    /// Its name for people.
    pub column: String,
    /// Its table's name for people.
    pub table: String,
    /// Conditions of every measure that uses it: what a value within a unit hides, such as whether there was anything to count.
    pub gates: Vec<Expr>,
    /// The bounds that its steward declared, or that follow from them.
    pub range: Range,
    /// The values that its steward declared, of a column as it stands.
    pub domain: Option<Arc<Domain>>,
}

impl Base {
    pub fn made(role: Role, condition: bool, name: &str) -> Base {
        Base {
            role,
            condition,
            bare: false,
            column: name.to_owned(),
            table: String::new(),
            gates: vec![],
            range: Range::ALL,
            domain: None,
        }
    }

    /// The same, with no bounds and values known: it holds others now.
    pub fn unbounded(self) -> Base {
        Base { range: Range::ALL, domain: None, bare: false, ..self }
    }
}

/// The columns of an inner plan, by qualified name.
pub(super) type Bases = HashMap<(Option<String>, String), Base>;

pub(super) fn key(column: &Column) -> (Option<String>, String) {
    (column.relation.as_ref().map(|r| r.to_string()), column.name.clone())
}

/// Rows of units.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    /// The inner plan: total, without rows that have no unit.
    pub plan: LogicalPlan,
    /// One for each column of the analysed plan, over the base.
    pub defs: Vec<Expr>,
    pub base: Bases,
    /// The unit of a row, a base column that is never NULL. `None` for an open side made ready for a join.
    pub unit: Option<Column>,
    pub protection: Option<Protection>,
    /// What the tables with private access among them allow together.
    pub private: Option<PrivatePolicy>,
    pub one_row: bool,
    /// Conditions of every measure: ways in which the query itself multiplies rows.
    pub implied: Vec<Expr>,
    /// Conditions of every measure that are NULL for all rows unless an open table multiplies some: then different for rows that it
    /// multiplies differently.
    pub multiplied: Vec<Expr>,
    pub tables: Vec<String>,
    pub placement: Placement,
    /// Within EXISTS: an equality of the units was found and taken out.
    pub correlated: bool,
    /// Whether rows were chosen or joined (for UNION ALL).
    pub restricted: bool,
}

/// The base column under casts that lose nothing.
pub(super) fn bare<'a>(def: &'a Expr, schema: &DFSchema) -> Option<&'a Column> {
    let mut expr = def;
    loop {
        expr = match expr {
            Expr::Column(c) => return Some(c),
            Expr::Alias(a) => &a.expr,
            Expr::Cast(c) if exact(&c.expr, c.field.data_type(), schema) => &c.expr,
            Expr::TryCast(c) if exact(&c.expr, c.field.data_type(), schema) => &c.expr,
            _ => return None,
        }
    }
}

/// Casts under which equality stays equality: among integers, and among texts.
pub(super) fn exact(inner: &Expr, to: &datafusion::arrow::datatypes::DataType, schema: &DFSchema) -> bool {
    use datafusion::logical_expr::ExprSchemable;
    inner.get_type(schema).is_ok_and(|from| {
        infallible(&from, to) && (from == *to || !to.is_numeric() || from.is_integer() && to.is_integer())
    })
}

/// The position in `shown` of a column that the query names.
pub(super) fn position(shown: &DFSchema, column: &Column) -> Result<usize, Refusal> {
    shown
        .index_of_column(column)
        .map_err(|_| Refusal::unsupported(format!("column \"{}\" cannot be found in its place", column.name)))
}

/// The facts of a base column.
pub(super) fn base<'a>(bases: &'a Bases, column: &Column) -> Option<&'a Base> {
    bases.get(&key(column))
}

/// The base of an expression that is a column under casts.
pub(super) fn bare_base<'a>(def: &Expr, bases: &'a Bases, schema: &DFSchema) -> Option<&'a Base> {
    bare(def, schema).and_then(|c| base(bases, c))
}

/// Whether it is a unit column as it stands.
pub(super) fn is_unit(def: &Expr, bases: &Bases, schema: &DFSchema) -> bool {
    bare_base(def, bases, schema).is_some_and(|b| b.role == Role::Unit)
}

/// The first base column in an expression that a test holds for.
pub(super) fn mentions<'a>(expr: &Expr, bases: &'a Bases, test: &dyn Fn(&Base) -> bool) -> Option<&'a Base> {
    let mut found = None;
    let _ = expr.apply(|e| {
        if let Expr::Column(c) = e
            && let Some(b) = base(bases, c)
            && test(b)
        {
            found = Some(b);
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// The conditions that come with the columns of an expression.
pub(super) fn gates(expr: &Expr, bases: &Bases) -> Vec<Expr> {
    let mut found = Vec::new();
    let _ = expr.apply(|e| {
        if let Expr::Column(c) = e
            && let Some(b) = base(bases, c)
        {
            b.gates.iter().for_each(|gate| crate::conditions::add(&mut found, gate.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Refuses a value that is used: a unit's name, an identifier.
pub(super) fn refuse_names(def: &Expr, bases: &Bases, schema: &DFSchema) -> Result<(), Refusal> {
    match bare_base(def, bases, schema) {
        Some(b) if b.role == Role::Unit => Err(unit_used(b)),
        Some(b) if b.role == Role::Identifier => Err(identifier_used(b)),
        _ => Ok(()),
    }
}

/// Refuses a condition on a column that may only be aggregated, and names.
pub(super) fn refuse_as_condition(def: &Expr, bases: &Bases, schema: &DFSchema) -> Result<(), Refusal> {
    refuse_names(def, bases, schema)?;
    match mentions(def, bases, &|b| b.role == Role::Measure) {
        Some(b) => Err(measure_used(b)),
        None => Ok(()),
    }
}

pub(super) fn unit_used(b: &Base) -> Refusal {
    Refusal::forbidden(format!(
        "column \"{}\" of table \"{}\" names the unit and cannot be used like this",
        b.column, b.table
    ))
    .hint("It may be counted, grouped by within an inner query, and equal the unit column of another protected table.")
}

pub(super) fn identifier_used(b: &Base) -> Refusal {
    Refusal::forbidden(format!("column \"{}\" of table \"{}\" is an identifier and cannot be used", b.column, b.table))
        .hint("Leave the column out.")
}

pub(super) fn measure_used(b: &Base) -> Refusal {
    Refusal::forbidden(format!(
        "column \"{}\" of table \"{}\" may be aggregated only, not be a condition or a key",
        b.column, b.table
    ))
    .hint(format!("Aggregate it, for example avg({}).", b.column))
}

/// The strictest of two protections of one kind of unit.
pub(super) fn strictest(a: &Protection, b: &Protection) -> Result<Protection, Refusal> {
    if a.unit_kind != b.unit_kind {
        return Err(Refusal::unsupported(format!(
            "tables of the unit kinds \"{}\" and \"{}\" cannot be combined",
            a.unit_kind, b.unit_kind
        ))
        .hint("Combine tables of one kind of unit."));
    }
    Ok(Protection {
        access: a.access.max(b.access),
        min_cohort: a.min_cohort.max(b.min_cohort),
        dominance_percent: a.dominance_percent.min(b.dominance_percent),
        unit_unique: a.unit_unique && b.unit_unique,
        ..a.clone()
    })
}

/// What two private policies allow together.
pub(super) fn less_of(a: &Option<PrivatePolicy>, b: &Option<PrivatePolicy>) -> Option<PrivatePolicy> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.stricter(b)),
        (a, b) => a.clone().or_else(|| b.clone()),
    }
}

/// The values that an expression over these columns can have.
pub(super) fn range_of(expr: &Expr, bases: &Bases) -> Range {
    private::range(expr, &|c| base(bases, c).map_or(Range::ALL, |b| b.range))
}

/// Where rows of two tables are computed together.
pub(super) fn together(a: &Placement, b: &Placement) -> Result<Placement, Refusal> {
    match (a, b) {
        (Placement::Local, Placement::Local) => Ok(Placement::Local),
        (Placement::Sites { sites: x, .. }, Placement::Sites { sites: y, .. }) if x == y => Ok(a.clone()),
        _ => Err(Refusal::unsupported("protected tables at different sites cannot be combined")
            .hint("Combine tables that the same sites answer for: tables of one schema.")),
    }
}

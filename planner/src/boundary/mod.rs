//! Draws the boundary through an analysed plan.
//!
//! The walk goes from the leaves up and gives every node one of the properties `Public ⊑ Released ⊑ PrivateRows { unit }`. The lowest
//! Aggregate over private rows whose keys do not include the unit becomes a [`ReleaseUnit`], and in the outer plan a leaf. Private rows
//! at the root are refused. Every plan node and every expression is matched by name: what is not listed is refused.

mod aggregate;
mod expr;
mod histogram;
mod join;
mod known;
mod measure;
mod outer;
mod private;
mod ranks;
mod repeats;
mod rows;
mod scan;
mod sets;
mod shapes;
mod subquery;

use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Projection, SubqueryAlias};

use crate::facts::{Facts, Placement};
use crate::functions::PARTS;
use crate::refusal::Refusal;
use crate::release_unit::{Decision, ReleaseNode, ReleaseUnit};
use rows::Rows;

/// Who asks, as far as plans are concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// A peer asks: it may use the parts of averages and moments (`kanon_part_…`).
    pub peer: bool,
}

/// Decides what of a plan may run, and draws the boundary.
///
/// `plan` is analysed (types coerced) and not yet optimized. Nothing is read and nothing is evaluated but literals.
///
/// # Errors
/// The refusal that the client sees. It depends on the query, the catalog and the policies only.
pub fn decide(plan: LogicalPlan, facts: &dyn Facts, options: &Options) -> Result<Decision, Refusal> {
    let mut walk = Walk {
        facts,
        options: *options,
        next: 0,
        units: vec![],
        scopes: vec![],
        joined: vec![],
        constants: vec![],
        recursive: vec![],
        depth: 0,
    };
    walk.refuse_parts(&plan)?;
    if let Some(unlimited) = unlimited(&plan)
        && let Node::Private(rows) = walk.another().node(&unlimited)?
    {
        // A LIMIT on rows of people is a question for rows.
        return Err(outer::rows_refused(&rows, plan.schema()));
    }
    match walk.node(&plan)? {
        Node::Private(rows) => Err(outer::rows_refused(&rows, plan.schema())),
        Node::Open(open) => {
            let units = walk.units;
            outer::check(&open.plan, facts)?;
            if units.is_empty() {
                Ok(Decision::Open(open.plan))
            } else {
                Ok(Decision::Release { outer: open.plan, units })
            }
        }
    }
}

/// The plan without the LIMITs at its top; `None` if there are none.
fn unlimited(plan: &LogicalPlan) -> Option<LogicalPlan> {
    match plan {
        LogicalPlan::Limit(l) => Some(unlimited(&l.input).unwrap_or_else(|| l.input.as_ref().clone())),
        LogicalPlan::Sort(s) => unlimited(&s.input),
        LogicalPlan::Projection(p) => {
            let input = unlimited(&p.input)?;
            Some(LogicalPlan::Projection(
                Projection::try_new_with_schema(p.expr.clone(), Arc::new(input), Arc::clone(&p.schema)).ok()?,
            ))
        }
        LogicalPlan::SubqueryAlias(a) => {
            let input = unlimited(&a.input)?;
            SubqueryAlias::try_new(Arc::new(input), a.alias.clone()).ok().map(LogicalPlan::SubqueryAlias)
        }
        _ => None,
    }
}

/// What a node of the analysed plan became.
#[allow(clippy::large_enum_variant, reason = "one lives at a time: it is handed up the walk")]
enum Node {
    /// Public or released: rows that may leave.
    Open(Open),
    /// Rows of units.
    Private(Rows),
}

/// A plan whose rows may leave.
struct Open {
    plan: LogicalPlan,
    /// Whether a release is in it.
    released: bool,
    /// Whether the query itself made or multiplied its rows: then it could weigh the rows of people that it is joined with.
    crafted: bool,
    /// Set while it is only filters and projections over open tables at these sites: an aggregate over it can be computed there.
    remote: Option<Remote>,
    /// Whether it refers to rows outside (LATERAL).
    lateral: bool,
}

/// What is known of the rows of an open side of a join.
#[derive(Clone, Copy)]
struct OpenSide {
    is_left: bool,
    /// Whether the query made or multiplied them.
    crafted: bool,
    /// Whether there is one at most, whatever the tables hold.
    single: bool,
}

#[derive(Clone)]
struct Remote {
    placement: Placement,
    tables: Vec<String>,
}

impl Open {
    fn of(plan: LogicalPlan) -> Open {
        Open { plan, released: false, crafted: true, remote: None, lateral: false }
    }
}

/// The rows outside an EXISTS.
struct Scope {
    shown: DFSchemaRef,
    rows: Rows,
}

struct Walk<'a> {
    facts: &'a dyn Facts,
    options: Options,
    /// Number of the next alias.
    next: usize,
    units: Vec<Arc<ReleaseUnit>>,
    /// For each subquery being walked: the rows outside, if it is an EXISTS over rows of units.
    scopes: Vec<Option<Scope>>,
    /// Tables brought in by IN and EXISTS since the last filter began.
    joined: Vec<Rows>,
    /// Scalar subqueries so far: see [`ReleaseUnit::constants`].
    constants: Vec<(Arc<LogicalPlan>, LogicalPlan)>,
    /// Names of the recursive queries being walked.
    recursive: Vec<String>,
    depth: usize,
}

const DEEPEST: usize = 1_000;

impl<'a> Walk<'a> {
    /// A walk of the same facts from the start.
    fn another(&self) -> Walk<'a> {
        Walk {
            facts: self.facts,
            options: self.options,
            next: 0,
            units: vec![],
            scopes: vec![],
            joined: vec![],
            constants: vec![],
            recursive: vec![],
            depth: 0,
        }
    }

    fn alias(&mut self, letter: char) -> String {
        let alias = format!("{letter}{}", self.next);
        self.next += 1;
        alias
    }

    #[recursive::recursive]
    fn node(&mut self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Refusal::unsupported("the query is nested too deeply").hint("Simplify the query."));
        }
        let node = self.node_of(plan);
        self.depth -= 1;
        node
    }

    fn node_of(&mut self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(p) => match self.node(&p.input)? {
                Node::Private(rows) => self.project(rows, p.input.schema(), &p.expr).map(Node::Private),
                Node::Open(open) => self.outer(plan, vec![open]),
            },
            LogicalPlan::Filter(f) => self.filter(plan, f),
            LogicalPlan::SubqueryAlias(a) => match self.node(&a.input)? {
                Node::Private(rows) => Ok(Node::Private(rows)),
                Node::Open(open) => self.outer(plan, vec![open]),
            },
            LogicalPlan::Aggregate(a) => match self.node(&a.input)? {
                Node::Private(rows) => self.aggregate(rows, a, plan),
                Node::Open(open) => self.open_aggregate(open, a, plan),
            },
            LogicalPlan::Distinct(Distinct::All(input)) => match self.node(input)? {
                Node::Private(rows) => self.distinct(rows, plan),
                Node::Open(open) => self.outer(plan, vec![open]),
            },
            LogicalPlan::Distinct(Distinct::On(d)) => match self.node(&d.input)? {
                Node::Private(rows) => Err(Refusal::unsupported(format!(
                    "DISTINCT ON picks single rows of {} and cannot be used on it",
                    outer::tables(&rows)
                ))
                .hint("Use GROUP BY with an aggregate.")),
                Node::Open(open) => self.outer(plan, vec![open]),
            },
            LogicalPlan::Window(w) => match self.node(&w.input)? {
                Node::Private(rows) => self.window(rows, w).map(Node::Private),
                Node::Open(open) => self.outer(plan, vec![open]),
            },
            LogicalPlan::Sort(s) => match self.node(&s.input)? {
                Node::Private(rows) => {
                    if s.fetch.is_some() {
                        return Err(outer::limit_refused(&rows));
                    }
                    // An order of rows below an aggregate means nothing; its expressions are checked and dropped.
                    for e in &s.expr {
                        self.value(&e.expr, &rows, s.input.schema(), false)?;
                    }
                    Ok(Node::Private(rows))
                }
                Node::Open(open) => self.outer(plan, vec![open]),
            },
            LogicalPlan::Limit(l) => match self.node(&l.input)? {
                Node::Private(rows) => Err(outer::limit_refused(&rows)),
                Node::Open(open) => self.outer(plan, vec![open]),
            },
            LogicalPlan::Join(j) => self.join(j, plan),
            LogicalPlan::Union(u) => self.union(u, plan),
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => self.outer(plan, vec![]),
            LogicalPlan::Unnest(u) => match self.node(&u.input)? {
                Node::Private(rows) => {
                    Err(Refusal::unsupported(format!("unnest cannot be used on the rows of {}", outer::tables(&rows))))
                }
                Node::Open(open) => self.outer(plan, vec![open]),
            },
            LogicalPlan::Subquery(s) => {
                self.scopes.push(None);
                let inner = self.node(&s.subquery);
                self.scopes.pop();
                match inner? {
                    Node::Private(rows) => {
                        Err(Refusal::unsupported(format!("LATERAL cannot be used over {}", outer::tables(&rows)))
                            .hint("Join on the unit columns."))
                    }
                    Node::Open(open) => {
                        let node = self.outer(plan, vec![open])?;
                        Ok(match node {
                            Node::Open(mut open) => {
                                open.lateral = !s.outer_ref_columns.is_empty();
                                Node::Open(open)
                            }
                            other => other,
                        })
                    }
                }
            }
            LogicalPlan::RecursiveQuery(r) => {
                self.recursive.push(r.name.clone());
                let first = self.node(&r.static_term);
                let rest = self.node(&r.recursive_term);
                self.recursive.pop();
                match (first?, rest?) {
                    (Node::Open(a), Node::Open(b)) => self.outer(plan, vec![a, b]),
                    (Node::Private(rows), _) | (_, Node::Private(rows)) => Err(Refusal::unsupported(format!(
                        "a recursive query cannot use the rows of {}",
                        outer::tables(&rows)
                    ))),
                }
            }
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => {
                Err(Refusal::unsupported("EXPLAIN cannot be used inside a query"))
            }
            LogicalPlan::Repartition(_) => Err(Refusal::unsupported("DISTRIBUTE BY is not supported")),
            LogicalPlan::Extension(_) => Err(Refusal::unsupported("this kind of plan is not supported")),
            LogicalPlan::Statement(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(Refusal::unsupported("this kind of statement is not supported")),
        }
    }

    fn project(&mut self, mut rows: Rows, shown: &DFSchemaRef, exprs: &[Expr]) -> Result<Rows, Refusal> {
        let mut defs = Vec::with_capacity(exprs.len());
        for e in exprs {
            defs.push(self.value(e, &rows, shown, false)?);
        }
        rows.defs = defs;
        Ok(rows)
    }

    fn filter(&mut self, plan: &LogicalPlan, f: &datafusion::logical_expr::Filter) -> Result<Node, Refusal> {
        if let LogicalPlan::Join(j) = f.input.as_ref()
            && let Some((join, rest)) = join::pushed(j, split_conjunction_owned(f.predicate.clone()))?
            && self.touches_protected(&f.input)
        {
            // FROM a, b WHERE a.unit = b.unit: the equality belongs to the join.
            return match self.join(&join, &LogicalPlan::Join(join.clone()))? {
                Node::Private(rows) => self.keep(rows, f.input.schema(), rest).map(Node::Private),
                Node::Open(open) => self.outer(plan, vec![open]),
            };
        }
        match self.node(&f.input)? {
            Node::Private(rows) => {
                self.keep(rows, f.input.schema(), split_conjunction_owned(f.predicate.clone())).map(Node::Private)
            }
            Node::Open(open) => self.outer(plan, vec![open]),
        }
    }

    /// Whether any scan below, subqueries included, is of a protected table.
    fn touches_protected(&self, plan: &LogicalPlan) -> bool {
        let mut touched = false;
        let _ = plan.apply_with_subqueries(|p| {
            if let LogicalPlan::TableScan(scan) = p
                && !self.is_work_table(scan)
                && self.facts.of(scan).protection.is_some()
            {
                touched = true;
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        touched
    }

    /// The parts of averages are for peers.
    fn refuse_parts(&self, plan: &LogicalPlan) -> Result<(), Refusal> {
        if self.options.peer {
            return Ok(());
        }
        let mut part = None;
        let _ = plan.apply_with_subqueries(|p| {
            p.apply_expressions(|e| {
                e.apply(|e| {
                    let name = match e {
                        Expr::AggregateFunction(f) => f.func.name(),
                        Expr::WindowFunction(w) => w.fun.name(),
                        _ => return Ok(TreeNodeRecursion::Continue),
                    };
                    if PARTS.contains(&name) || name.starts_with("kanon_part_") {
                        part = Some(name.to_owned());
                        return Ok(TreeNodeRecursion::Stop);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        });
        match part {
            Some(name) => Err(Refusal::forbidden(format!("function {name} is for peers"))),
            None => Ok(()),
        }
    }

    fn release(&mut self, unit: ReleaseUnit) -> LogicalPlan {
        let unit = Arc::new(unit);
        self.units.push(Arc::clone(&unit));
        LogicalPlan::Extension(datafusion::logical_expr::Extension {
            node: Arc::new(ReleaseNode { unit, with_intervals: None }),
        })
    }
}

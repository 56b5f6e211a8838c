//! The part of a plan whose answer crosses the boundary, and the leaf that stands for it in the outer plan.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{Column, DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::facts::{Placement, Protection};
use crate::private::Question;

/// What a measure is, as far as its release is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum MeasureKind {
    /// count(*), count(x).
    Count,
    /// count(DISTINCT x), of the unit column too.
    CountDistinct,
    /// sum(x).
    Sum,
    /// avg(x), and the parts of one that go to a peer.
    Avg,
    /// var_*, stddev_*, covar_*, corr, regr_*: need 10 degrees of freedom too.
    Moments,
    /// bool_and, bool_or.
    Bool,
    /// A quantile with its fraction (0 to 1): at least k units on either side.
    Quantile(f64),
    /// min, max: robust ones, of tables with private access alone.
    Extreme,
}

/// One aggregate of a release unit and what must hold before it is released. Expressions are over the release unit's input.
#[derive(Debug, Clone)]
pub struct Measure {
    /// The aggregate itself (its arguments made total, its FILTER included).
    pub aggregate: Expr,
    /// Its kind.
    pub kind: MeasureKind,
    /// True for the rows that count (FILTER holds and every argument is not NULL); `None`: every row counts. At least k units must have one.
    pub present: Option<Expr>,
    /// The conditions of the measure (privacy.md, rule 1): FILTER, every subexpression of an argument that is not plain arithmetic, and
    /// `x IS NULL` unless the kind releases no count of what it leaves out. Their values, NULL too, are parts of the group; each part of
    /// this measure, and of this and any other measure together, holds 0 or at least k units.
    pub conditions: Vec<Expr>,
    /// For sums and averages, and with squares for second moments: the values whose absolute sums a unit are tested for dominance.
    pub dominated: Vec<Expr>,
}

/// An aggregation over rows of people: what a site computes and releases under its rules.
#[derive(Debug, Clone)]
pub struct ReleaseUnit {
    /// Number within the statement, from 0.
    pub id: usize,
    /// The rows: total expressions only, rows without a unit dropped. It carries the unit as the column [`ReleaseUnit::unit`].
    pub input: LogicalPlan,
    /// The unit of each row of `input`. `None` for an open federated aggregate, to which no rule applies.
    pub unit: Option<Column>,
    /// The strictest protection of the tables below (`None`: all open).
    pub protection: Option<Protection>,
    /// Whether each unit has at most one row in `input`, so that rows are units.
    pub one_row_a_unit: bool,
    /// Group keys, as in the Aggregate it stands for (one `Expr::GroupingSet` for ROLLUP, CUBE, GROUPING SETS).
    pub keys: Vec<Expr>,
    /// The aggregates, in the Aggregate's order.
    pub measures: Vec<Measure>,
    /// The Aggregate's own schema, as the outer plan sees it: keys, `__grouping_id` if there are grouping sets, measures.
    pub schema: DFSchemaRef,
    /// For private access: the question with its bounds.
    pub question: Option<Arc<Question>>,
    /// The Aggregate as its author wrote it: analysed, before its expressions were made total and its input was made to carry the unit.
    /// Subplans are written from it.
    pub source: LogicalPlan,
    /// Scalar subqueries that may stand in `source`, each as its author wrote it and as the plan over public tables and earlier answers that
    /// gives its value. Sites are sent the value.
    pub constants: Vec<(Arc<LogicalPlan>, LogicalPlan)>,
    /// Where it is computed. `Sites`: written as one subplan a site and merged.
    pub placement: Placement,
    /// Names of the tables below, for messages and reports.
    pub tables: Vec<String>,
}

/// The leaf that stands for a release unit in the outer plan. Without inputs or expressions: the optimizer can move nothing into it.
#[derive(Clone)]
pub struct ReleaseNode {
    /// What it stands for.
    pub unit: Arc<ReleaseUnit>,
    /// The unit's schema with the ends of intervals behind its columns, if the plan reads them: see [`crate::intervals`].
    pub with_intervals: Option<DFSchemaRef>,
}

impl fmt::Debug for ReleaseNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReleaseNode({})", self.unit.id)
    }
}
impl PartialEq for ReleaseNode {
    fn eq(&self, other: &Self) -> bool {
        self.unit.id == other.unit.id && self.with_intervals.is_some() == other.with_intervals.is_some()
    }
}
impl Eq for ReleaseNode {}
impl PartialOrd for ReleaseNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        let of = |node: &Self| (node.unit.id, node.with_intervals.is_some());
        of(self).partial_cmp(&of(other))
    }
}
impl Hash for ReleaseNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.unit.id.hash(state);
        self.with_intervals.is_some().hash(state);
    }
}

impl UserDefinedLogicalNodeCore for ReleaseNode {
    fn name(&self) -> &str {
        "Release"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![]
    }
    fn schema(&self) -> &DFSchemaRef {
        self.with_intervals.as_ref().unwrap_or(&self.unit.schema)
    }
    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Release #{}: {}", self.unit.id, self.unit.tables.join(", "))
    }
    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}

/// What may happen with a query.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Only open data and answers: the plan may run as it is.
    Open(LogicalPlan),
    /// The units are released first; `outer` reads them through its [`ReleaseNode`] leaves.
    Release {
        /// What runs on released values: no scan of a protected table is in it.
        outer: LogicalPlan,
        /// The release units, by id.
        units: Vec<Arc<ReleaseUnit>>,
    },
}

//! Which release a private question is: the same text for the same question of the same data under the same policy.
//!
//! What cannot be told for sure to be the same is a release of its own: it gets a random name, and is charged each time.

use std::fmt::Write;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::budget::Epsilon;
use sha2::{Digest, Sha256};

use crate::catalog::Catalog;
use crate::catalog::guarded::GuardedTable;
use crate::error::{Error, Result};
use crate::ledger::ReleaseFingerprint;

/// The version of this text: another one makes every release a new one.
const VERSION: &str = "kanon release 1";

/// The canonical text of a release, without its ε.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Canonical {
    text: String,
    is_known: bool,
}

impl Canonical {
    fn unknown() -> Canonical {
        Canonical { text: uuid::Uuid::new_v4().to_string(), is_known: false }
    }

    /// Whether another one may be the same. If not, it is a release of its own.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// The release at ε with these mechanisms.
    pub(super) fn fingerprint(&self, epsilon: Epsilon, mechanisms: &Mechanisms) -> ReleaseFingerprint {
        let mut hasher = Sha256::new();
        hasher.update(self.text.as_bytes());
        hasher.update(epsilon.get().to_bits().to_le_bytes());
        hasher.update(format!("{mechanisms:?}").as_bytes());
        ReleaseFingerprint::from_bytes(hasher.finalize().into())
    }
}

/// The canonical text of a unit's question, of the versions of its tables' data and of their policies.
pub(super) async fn canonical(catalog: &Catalog, unit: &ReleaseUnit) -> Result<Canonical> {
    let mut text = format!("{VERSION}\n");
    let mut tables = Vec::new();
    let known = plan(&unit.input, 0, &mut text, &mut tables).is_some()
        && unit.keys.iter().all(|key| line(key, "key", &mut text).is_some())
        && unit.measures.iter().all(|measure| line(&measure.aggregate, "measure", &mut text).is_some());
    for (oid, policy) in tables {
        match catalog.data_version(oid).await {
            Some(version) if known => {
                let _ = writeln!(text, "table {oid} {version:?} {policy}");
            }
            _ => return Ok(Canonical::unknown()),
        }
    }
    if !known {
        return Ok(Canonical::unknown());
    }
    let question = unit.question.as_ref().ok_or_else(|| Error::internal("a private release without a question"))?;
    let _ = writeln!(text, "rules {:?}", question.rules);
    let _ = writeln!(text, "keys {:?}", question.keys.iter().map(|key| &key.public).collect::<Vec<_>>());
    let _ = writeln!(text, "grids {:?}", question.arguments.iter().map(|a| a.grid).collect::<Vec<_>>());
    let _ = writeln!(text, "schema {:?}", unit.schema.fields().iter().map(|f| f.data_type()).collect::<Vec<_>>());
    Ok(Canonical { text, is_known: true })
}

/// Writes a plan, a node a line; `None` if something in it has no text that tells it from everything else.
fn plan(node: &LogicalPlan, depth: usize, text: &mut String, tables: &mut Vec<(u32, String)>) -> Option<()> {
    let _ = write!(text, "{depth} ");
    match node {
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok()?;
            let table = provider.downcast_ref::<GuardedTable>()?.table();
            if scan.fetch.is_some() || !scan.filters.is_empty() {
                return None;
            }
            let _ = writeln!(text, "scan {}", table.oid);
            tables.push((table.oid, format!("{:?} {:?}", table.policy, table.column_settings)));
        }
        LogicalPlan::Filter(_) => {
            // One filter on another is one with all their conditions.
            let (mut conjuncts, mut below) = (Vec::new(), node);
            while let LogicalPlan::Filter(filter) = below {
                for conjunct in split_conjunction(&filter.predicate) {
                    conjuncts.push(expression(conjunct)?);
                }
                below = filter.input.as_ref();
            }
            conjuncts.sort();
            conjuncts.dedup();
            let _ = writeln!(text, "filter {conjuncts:?}");
            return plan(below, depth + 1, text, tables);
        }
        LogicalPlan::Projection(projection) => {
            let _ = writeln!(text, "project {:?}", expressions(&projection.expr)?);
        }
        LogicalPlan::Aggregate(aggregate) => {
            let _ = writeln!(
                text,
                "aggregate {:?} {:?}",
                expressions(&aggregate.group_expr)?,
                expressions(&aggregate.aggr_expr)?
            );
        }
        LogicalPlan::Window(window) => {
            let _ = writeln!(text, "window {:?}", expressions(&window.window_expr)?);
        }
        LogicalPlan::Join(join) => {
            let on = join.on.iter().map(|(a, b)| Some((expression(a)?, expression(b)?))).collect::<Option<Vec<_>>>()?;
            let filter = join.filter.as_ref().map(expression);
            if filter == Some(None) {
                return None;
            }
            let _ = writeln!(
                text,
                "join {:?} {on:?} {filter:?} {:?} {:?}",
                join.join_type, join.null_equality, join.null_aware
            );
        }
        LogicalPlan::Union(_) => {
            let _ = writeln!(text, "union");
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let _ = writeln!(text, "as {:?}", alias.alias.to_string());
        }
        _ => return None,
    }
    node.inputs().into_iter().try_for_each(|input| plan(input, depth + 1, text, tables))
}

fn line(expr: &Expr, what: &str, text: &mut String) -> Option<()> {
    let written = expression(expr)?;
    let _ = writeln!(text, "{what} {written:?}");
    Some(())
}

fn expressions(exprs: &[Expr]) -> Option<Vec<String>> {
    exprs.iter().map(expression).collect()
}

/// An expression as text; `None` if it holds something that is not written out whole.
fn expression(expr: &Expr) -> Option<String> {
    let mut whole = true;
    let _ = expr.apply(|e| {
        whole &= match e {
            Expr::Literal(value, _) => is_written_out(value),
            Expr::ScalarSubquery(_)
            | Expr::InSubquery(_)
            | Expr::Exists(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Placeholder(_) => false,
            _ => true,
        };
        Ok(if whole { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    whole.then(|| expr.to_string())
}

fn is_written_out(value: &ScalarValue) -> bool {
    let of_type = value.data_type();
    of_type.is_numeric()
        || of_type.is_temporal()
        || of_type.is_null()
        || matches!(
            value,
            ScalarValue::Boolean(_) | ScalarValue::Utf8(_) | ScalarValue::LargeUtf8(_) | ScalarValue::Utf8View(_)
        )
}

//! Which release a private question is: the same text for the same question of the same data under the same policy.
//!
//! What cannot be told for sure to be the same is a release of its own: it gets a random name, and is charged each time.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::budget::Epsilon;
use sha2::{Digest, Sha256};

use super::versions::DataVersions;
use crate::catalog::guarded::GuardedTable;
use crate::error::{Error, Result};
use crate::ledger::ReleaseFingerprint;

/// The version of this text: another one makes every release a new one.
const VERSION: &str = "kanon release 2";

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
pub(super) fn canonical(versions: &DataVersions, unit: &ReleaseUnit) -> Result<Canonical> {
    let mut writer = Writer { text: format!("{VERSION}\n"), ..Writer::default() };
    if writer.unit(unit).is_none() {
        return Ok(Canonical::unknown());
    }
    let Writer { mut text, tables, .. } = writer;
    for (oid, policy) in tables {
        match versions.get(oid) {
            Some(version) => {
                let _ = writeln!(text, "table {oid} {version:?} {policy}");
            }
            None => return Ok(Canonical::unknown()),
        }
    }
    let question = unit.question.as_ref().ok_or_else(|| Error::internal("a private release without a question"))?;
    let _ = writeln!(text, "rules {:?}", question.rules);
    let _ = writeln!(text, "keys {:?}", question.keys.iter().map(|key| &key.public).collect::<Vec<_>>());
    let _ = writeln!(text, "grids {:?}", question.arguments.iter().map(|a| a.grid).collect::<Vec<_>>());
    let _ = writeln!(text, "schema {:?}", unit.schema.fields().iter().map(|f| f.data_type()).collect::<Vec<_>>());
    Ok(Canonical { text, is_known: true })
}

/// Writes plans and expressions. `None`: something in them has no text that tells it from everything else.
#[derive(Default)]
struct Writer {
    text: String,
    /// The tables that are read, with their policies.
    tables: Vec<(u32, String)>,
    /// Names of relations, in the order in which they stand in the plan: which they are depends on what else there is in the statement.
    relations: Vec<String>,
}

impl Writer {
    fn unit(&mut self, unit: &ReleaseUnit) -> Option<()> {
        self.whole(&unit.input)?;
        unit.keys.iter().try_for_each(|key| self.line("key", key))?;
        unit.measures.iter().try_for_each(|measure| self.line("measure", &measure.aggregate))
    }

    fn line(&mut self, what: &str, expr: &Expr) -> Option<()> {
        let written = self.expression(expr)?;
        let _ = writeln!(self.text, "{what} {written:?}");
        Some(())
    }

    /// A plan with all below it.
    fn whole(&mut self, plan: &LogicalPlan) -> Option<()> {
        let walked = plan.apply(|node| {
            if let LogicalPlan::SubqueryAlias(alias) = node {
                self.relations.push(alias.alias.to_string());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        walked.ok()?;
        self.plan(plan, 0)
    }

    /// The name of a relation by its place; its own if it is not of the plan.
    fn relation(&self, name: &str) -> String {
        self.relations
            .iter()
            .position(|known| known == name)
            .map_or_else(|| name.to_owned(), |place| format!("r{place}"))
    }

    /// A plan, a node a line.
    fn plan(&mut self, node: &LogicalPlan, depth: usize) -> Option<()> {
        let line = match node {
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source).ok()?;
                let table = provider.downcast_ref::<GuardedTable>()?.table();
                if scan.fetch.is_some() || !scan.filters.is_empty() {
                    return None;
                }
                let mut policy = format!("{:?} {:?}", table.policy, table.column_settings);
                if let Some(excluded) = &table.excluded {
                    // An answer that counts somebody who has opted out since is not the answer any more.
                    let _ = write!(policy, " without {excluded}");
                }
                self.tables.push((table.oid, policy));
                format!("scan {}", table.oid)
            }
            LogicalPlan::Filter(_) => {
                // One filter on another is one with all their conditions.
                let (mut conjuncts, mut below) = (Vec::new(), node);
                while let LogicalPlan::Filter(filter) = below {
                    for conjunct in split_conjunction(&filter.predicate) {
                        conjuncts.push(self.expression(conjunct)?);
                    }
                    below = filter.input.as_ref();
                }
                conjuncts.sort();
                conjuncts.dedup();
                let _ = writeln!(self.text, "{depth} filter {conjuncts:?}");
                return self.plan(below, depth + 1);
            }
            LogicalPlan::Projection(projection) => format!("project {:?}", self.expressions(&projection.expr)?),
            LogicalPlan::Aggregate(aggregate) => {
                let keys = self.expressions(&aggregate.group_expr)?;
                format!("aggregate {keys:?} {:?}", self.expressions(&aggregate.aggr_expr)?)
            }
            LogicalPlan::Window(window) => format!("window {:?}", self.expressions(&window.window_expr)?),
            LogicalPlan::Join(join) => {
                let mut on = Vec::with_capacity(join.on.len());
                for (a, b) in &join.on {
                    on.push((self.expression(a)?, self.expression(b)?));
                }
                let filter = self.expressions(join.filter.as_slice())?;
                format!("join {:?} {on:?} {filter:?} {:?} {:?}", join.join_type, join.null_equality, join.null_aware)
            }
            LogicalPlan::Union(_) => "union".to_owned(),
            LogicalPlan::SubqueryAlias(alias) => format!("as {:?}", self.relation(&alias.alias.to_string())),
            _ => return None,
        };
        let _ = writeln!(self.text, "{depth} {line}");
        node.inputs().into_iter().try_for_each(|input| self.plan(input, depth + 1))
    }

    fn expressions(&mut self, exprs: &[Expr]) -> Option<Vec<String>> {
        exprs.iter().map(|expr| self.expression(expr)).collect()
    }

    /// An expression, and behind it the plans of its subqueries, in the order in which they stand in it.
    fn expression(&mut self, expr: &Expr) -> Option<String> {
        let mut subqueries = Vec::new();
        let mut whole = true;
        let _ = expr.apply(|e| {
            match e {
                Expr::Literal(value, _) => whole &= is_written_out(value),
                Expr::InSubquery(within) => subqueries.push(Arc::clone(&within.subquery.subquery)),
                Expr::Exists(exists) => subqueries.push(Arc::clone(&exists.subquery.subquery)),
                Expr::ScalarSubquery(_) | Expr::SetComparison(_) | Expr::Placeholder(_) => whole = false,
                _ => {}
            }
            Ok(if whole { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        });
        if !whole {
            return None;
        }
        let named = expr.clone().transform(|mut e| {
            let column = match &mut e {
                Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => column,
                _ => return Ok(Transformed::no(e)),
            };
            if let Some(relation) = &column.relation {
                column.relation = Some(TableReference::bare(self.relation(&relation.to_string())));
            }
            Ok(Transformed::yes(e))
        });
        let mut written = named.ok()?.data.to_string();
        for subquery in subqueries {
            // Its text is the expression's, which may be put in another place.
            let before = std::mem::take(&mut self.text);
            let known = self.whole(&subquery);
            let of_subquery = std::mem::replace(&mut self.text, before);
            known?;
            written.push_str(&of_subquery);
        }
        Some(written)
    }
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

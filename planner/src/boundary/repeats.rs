//! Keys that are said more than once: they are released once, and shown as often as they were said.

use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};

use super::expr::unreadable;
use super::rows::Rows;
use super::{Node, Open, Walk};
use crate::refusal::Refusal;
use crate::release_unit::Measure;

/// Which keys are different.
pub(super) struct Repeats {
    /// The place of the first of each.
    pub(super) firsts: Vec<usize>,
    /// For each key, which of these it is.
    pub(super) places: Vec<usize>,
}

impl Repeats {
    pub(super) fn of(keys: &[Expr]) -> Repeats {
        let (mut firsts, mut places) = (Vec::<usize>::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        for (at, key) in keys.iter().enumerate() {
            let place = firsts.iter().position(|first| keys.get(*first) == Some(key)).unwrap_or(firsts.len());
            if place == firsts.len() {
                firsts.push(at);
            }
            places.push(place);
        }
        Repeats { firsts, places }
    }

    /// Whether some key is said twice.
    pub(super) fn are_some(&self) -> bool {
        self.firsts.len() < self.places.len()
    }

    /// The different ones.
    pub(super) fn different<T: Clone>(&self, keys: &[T]) -> Vec<T> {
        self.firsts.iter().filter_map(|first| keys.get(*first).cloned()).collect()
    }
}

impl Walk<'_> {
    /// Releases different keys, and shows them as `schema` has them: all keys, then measures.
    pub(super) fn release_once(
        &mut self,
        rows: Rows,
        keys: &[Expr],
        repeats: &Repeats,
        measures: Vec<Measure>,
        schema: &DFSchemaRef,
        source: &LogicalPlan,
    ) -> Result<Node, Refusal> {
        let fields: Vec<_> = schema.iter().map(|(relation, field)| (relation.cloned(), Arc::clone(field))).collect();
        let released = [repeats.different(&fields), fields.iter().skip(keys.len()).cloned().collect()].concat();
        let released = DFSchema::new_with_metadata(released, schema.metadata().clone()).map_err(|e| unreadable(&e))?;
        let columns = released.columns();
        let node = self.release_rows(rows, repeats.different(keys), measures, &released.into(), source)?;
        let Node::Open(open) = node else { return Ok(node) };
        let measures = repeats.firsts.len()..columns.len();
        let shown =
            repeats.places.iter().copied().chain(measures).zip(fields).filter_map(|(place, (relation, field))| {
                Some(Expr::Column(columns.get(place)?.clone()).alias_qualified(relation, field.name()))
            });
        let plan = Projection::try_new(shown.collect(), open.plan.into()).map_err(|e| unreadable(&e))?;
        Ok(Node::Open(Open { plan: LogicalPlan::Projection(plan), ..open }))
    }
}

//! Private releases of a statement: charged together before any data is touched, answered from the ledger or computed.
//!
//! ```text
//! units ─► Mechanisms and fingerprint of each (public) ─► Ledger::reserve, all in one transaction ─┬─ answered before: the same numbers
//!                                                                                                   └─ charged: release::private, commit
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::execution::session_state::SessionState;
use kanon_planner::facts::Placement;
use kanon_planner::private::Question;
use kanon_planner::private::accuracy::MeasureNoise;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::budget::{Delta, Epsilon, Rho};

use super::Session;
use super::fingerprint::{self, Canonical};
use crate::error::{Error, Result, Sqlstate};
use crate::ledger::{Cost, Left, ReleaseRequest, Reserved};
use crate::release::{Released, private};

/// A private release as it would run, from public parameters alone: nothing is charged and nothing is read.
pub(super) struct Asked {
    /// The unit's number.
    pub(super) id: usize,
    pub(super) question: Arc<Question>,
    pub(super) mechanisms: Arc<Mechanisms>,
    /// What is asked of the ledger.
    pub(super) request: ReleaseRequest,
}

/// A private release that may run.
pub(super) struct Charged {
    question: Arc<Question>,
    mechanisms: Arc<Mechanisms>,
    reserved: Reserved,
    /// What was charged for it just now.
    pub(super) cost: Option<Cost>,
}

impl Charged {
    /// What is publicly known of the noise in each measure.
    pub(super) fn noise(&self) -> Vec<Option<MeasureNoise>> {
        (0..self.question.aggregates.len()).map(|measure| self.mechanisms.of_measure(&self.question, measure)).collect()
    }
}

impl Session {
    /// The private releases among some units, each with its part of the statement's ε.
    ///
    /// # Errors
    /// 22023 if `kanon.epsilon` is above a policy's; if ε is too small for a question.
    pub(super) async fn asked(&self, units: &[Arc<ReleaseUnit>]) -> Result<Vec<Asked>> {
        let mut private = Vec::new();
        for unit in units {
            if let (Some(question), Some(protection)) = (&unit.question, &unit.protection) {
                private.push((unit, question, protection, fingerprint::canonical(&self.node.catalog, unit).await?));
            }
        }
        let distinct: BTreeSet<&Canonical> = private.iter().map(|(.., canonical)| canonical).collect();
        let mut asked = Vec::new();
        for (unit, question, protection, canonical) in &private {
            let (epsilon, mechanisms) = self.mechanisms(unit, question, distinct.len())?;
            let fingerprint = canonical.fingerprint(epsilon, &mechanisms);
            let cost = cost(&mechanisms)?;
            let request = ReleaseRequest { fingerprint, kind: protection.unit_kind.clone(), cost };
            asked.push(Asked { id: unit.id, question: Arc::clone(question), mechanisms, request });
        }
        Ok(asked)
    }

    /// The mechanisms of one of so many different releases of a statement, and its part of ε.
    ///
    /// # Errors
    /// As [`Session::asked`].
    pub(super) fn mechanisms(
        &self,
        unit: &ReleaseUnit,
        question: &Question,
        releases: usize,
    ) -> Result<(Epsilon, Arc<Mechanisms>)> {
        let wanted = self.setting("kanon.epsilon").and_then(|text| text.parse::<f64>().ok());
        let most = question.rules.epsilon.get();
        let epsilon = wanted.unwrap_or(most);
        if epsilon > most {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("kanon.epsilon is {epsilon}, and {} allows {most} a query", unit.tables.join(", ")),
            )
            .hint(format!("SET kanon.epsilon = {most}, or RESET kanon.epsilon.")));
        }
        // Rounded down: the parts together are not more than the whole.
        let share = if releases > 1 { (epsilon / releases as f64).next_down() } else { epsilon };
        let epsilon =
            Epsilon::try_from(share).map_err(|e| Error::new(Sqlstate::InvalidParameterValue, e.to_string()))?;
        Ok((epsilon, Arc::new(Mechanisms::of(question, epsilon)?)))
    }

    /// Charges the private releases among some units: all or none, each once. By the units' numbers.
    ///
    /// # Errors
    /// 53400 if they do not fit the budget, and as [`Session::asked`].
    pub(super) async fn charge(&self, units: &[Arc<ReleaseUnit>]) -> Result<BTreeMap<usize, Charged>> {
        let asked = self.asked(units).await?;
        if asked.is_empty() {
            return Ok(BTreeMap::new());
        }
        let requests = asked.iter().map(|asked| asked.request.clone()).collect();
        let reserved = self.node.ledger.reserve(&self.principal().display(), requests).await?;
        Ok(asked
            .into_iter()
            .zip(reserved)
            .map(|(Asked { id, question, mechanisms, request }, reserved)| {
                let cost = matches!(reserved, Reserved::Charged(_)).then_some(request.cost);
                (id, Charged { question, mechanisms, reserved, cost })
            })
            .collect())
    }

    /// What is left here of the budgets of the kinds of units that private releases are about.
    pub(super) async fn left(&self, units: &[Arc<ReleaseUnit>]) -> Result<Vec<Left>> {
        let private = units.iter().filter(|unit| unit.question.is_some() && unit.placement == Placement::Local);
        let kinds: BTreeSet<&str> =
            private.filter_map(|unit| unit.protection.as_ref()).map(|p| p.unit_kind.as_str()).collect();
        let principal = self.principal().display();
        let mut left = Vec::new();
        for kind in kinds {
            left.extend(self.node.ledger.left(&principal, kind).await?);
        }
        Ok(left)
    }

    /// The answer that the ledger has, or a new one, which it keeps before anybody sees it.
    pub(super) async fn release_private(
        &self,
        state: &SessionState,
        unit: &ReleaseUnit,
        charged: Charged,
    ) -> Result<Released> {
        let kept = match charged.reserved {
            Reserved::Answered(kept) => kept,
            Reserved::Charged(reservation) => {
                let key = self.node.site_key();
                let released =
                    private::release(state, unit, &charged.question, &charged.mechanisms, key, &reservation).await?;
                reservation.commit(written(released.batch())?, None).await?
            }
        };
        Ok(Released::kept(read(&kept)?))
    }
}

/// A cost as the ledger enters it.
fn cost(mechanisms: &Mechanisms) -> Result<Cost> {
    let (epsilon, delta) = mechanisms.cost.basic();
    let (rho, zcdp_delta) = mechanisms.cost.zcdp();
    let entered = || -> Result<Cost, kanon_privacy::budget::BudgetError> {
        Ok(Cost {
            epsilon: Epsilon::try_from(epsilon)?,
            delta: Delta::try_from(delta)?,
            rho: Rho::try_from(rho)?,
            zcdp_delta: Delta::try_from(zcdp_delta)?,
        })
    };
    entered().map_err(|_| {
        Error::unsupported("an answer of public keys alone is not supported over a table with private access")
            .hint("Add an aggregate, such as count(*).")
    })
}

fn written(batch: &RecordBatch) -> Result<Bytes> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).map_err(Error::internal)?;
    writer.write(batch).map_err(Error::internal)?;
    Ok(writer.into_inner().map_err(Error::internal)?.into())
}

fn read(kept: &Bytes) -> Result<RecordBatch> {
    let reader = StreamReader::try_new(kept.as_ref(), None).map_err(Error::internal)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(Error::internal)?;
    concat_batches(&schema, &batches).map_err(Error::internal)
}

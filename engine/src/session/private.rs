//! Private releases of a statement: charged together before any data is touched, answered from the ledger or computed.
//!
//! ```text
//! units ─► Mechanisms and fingerprint of each (public) ─► Ledger::reserve, all in one transaction ─┬─ answered before: the same numbers
//!                                                                                                   └─ charged: release::private, commit
//! ```
//!
//! While a release is charged and not yet answered, whoever asks for the same waits for it: see [`PrivateReleases::first`].

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
use super::versions::{self, Attempts, DataVersions};
use crate::audit::Trail;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::client::Asked;
use crate::ledger::{Cost, Left, Payer, ReleaseFingerprint, ReleaseRequest, Reserved};
use crate::release::{Released, private};

/// The private releases of a statement, by the units' numbers.
#[derive(Default)]
pub(super) struct PrivateReleases {
    /// Those of this node's tables: charged, or known.
    pub(super) here: BTreeMap<usize, Charged>,
    /// What sites are asked to spend on each of the others. They charge it themselves.
    pub(super) of_sites: BTreeMap<usize, Asked>,
}

impl PrivateReleases {
    /// Units in the order in which they are released: first those that others may be waiting for. So nobody waits for a statement that
    /// waits for somebody else in turn, such as another node.
    pub(super) fn first<'u>(
        &self,
        units: &'u [Arc<ReleaseUnit>],
    ) -> impl Iterator<Item = &'u Arc<ReleaseUnit>> + use<'u> {
        let is_shared = |unit: &&Arc<ReleaseUnit>| self.here.get(&unit.id).is_some_and(|charged| charged.is_shared);
        let (shared, rest): (Vec<_>, Vec<_>) = units.iter().partition(is_shared);
        shared.into_iter().chain(rest)
    }
}

/// A private release of this node's tables as it would run, from public parameters alone: nothing is charged and nothing is read.
pub(super) struct Proposed {
    /// The unit's number.
    pub(super) id: usize,
    pub(super) question: Arc<Question>,
    pub(super) mechanisms: Arc<Mechanisms>,
    versions: DataVersions,
    /// What is asked of the ledger; `None` for what costs nothing: public keys alone.
    pub(super) request: Option<ReleaseRequest>,
    /// Whether others may ask for the same: see [`Charged::is_shared`].
    is_shared: bool,
}

/// A private release that may run.
pub(super) struct Charged {
    question: Arc<Question>,
    mechanisms: Arc<Mechanisms>,
    /// Of the data that it was charged for.
    versions: DataVersions,
    source: Source,
    /// What was charged for it just now.
    pub(super) cost: Option<Cost>,
    /// Whether others may ask for the same, and so wait for it. Then it is a question of its own: no answer to another release is in it.
    is_shared: bool,
}

/// Where the answer comes from.
enum Source {
    /// It costs nothing: public keys alone.
    Free,
    Reserved(Reserved),
    /// From the ledger, once this release, an earlier one of the statement, is done.
    Same(ReleaseFingerprint),
}

/// What is publicly known of the noise in each measure of an answer.
pub(super) type NoiseOfMeasures = Vec<Option<MeasureNoise>>;

impl Session {
    /// The private releases among some units, each with its part of the statement's ε: those of this node's tables, and what sites are asked to
    /// spend on the others.
    ///
    /// # Errors
    /// 22023 if `kanon.epsilon` is above a policy's; if ε is too small for a question.
    pub(super) async fn proposed(&self, units: &[Arc<ReleaseUnit>]) -> Result<(Vec<Proposed>, BTreeMap<usize, Asked>)> {
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for unit in units {
            let (Some(question), Some(protection)) = (&unit.question, &unit.protection) else { continue };
            match unit.placement {
                Placement::Local => {
                    let versions = DataVersions::of(&self.node.catalog, unit).await?;
                    let canonical = fingerprint::canonical(&versions, unit)?;
                    here.push((unit, question, protection, versions, canonical));
                }
                Placement::Sites { .. } => elsewhere.push((unit, question)),
            }
        }
        let distinct: BTreeSet<&Canonical> = here.iter().map(|(.., canonical)| canonical).collect();
        let releases = distinct.len() + elsewhere.len();
        let mut of_sites = BTreeMap::new();
        for (unit, question) in &elsewhere {
            let asked = Asked { epsilon: self.share(unit, question, releases)?, delta: self.delta(question, releases) };
            of_sites.insert(unit.id, asked);
        }
        let mut proposed = Vec::new();
        for (unit, question, protection, versions, canonical) in here {
            let (epsilon, question, mechanisms) = self.mechanisms(unit, question, releases)?;
            let request = if mechanisms.is_free() {
                None
            } else {
                let (fingerprint, cost) = (canonical.fingerprint(epsilon, &mechanisms), cost(&mechanisms)?);
                Some(ReleaseRequest { fingerprint, kind: protection.unit_kind.clone(), cost })
            };
            let is_shared = canonical.is_known();
            proposed.push(Proposed { id: unit.id, question, mechanisms, versions, request, is_shared });
        }
        Ok((proposed, of_sites))
    }

    /// The mechanisms of one of so many different releases of a statement, its part of ε, and the question with the δ that it may spend.
    ///
    /// # Errors
    /// As [`Session::proposed`].
    pub(super) fn mechanisms(
        &self,
        unit: &ReleaseUnit,
        question: &Arc<Question>,
        releases: usize,
    ) -> Result<(Epsilon, Arc<Question>, Arc<Mechanisms>)> {
        let epsilon = self.share(unit, question, releases)?;
        let mut question = Arc::clone(question);
        let delta = self.delta(&question, releases);
        if question.rules.delta > delta {
            Arc::make_mut(&mut question).rules.delta = delta;
        }
        let mechanisms = Arc::new(Mechanisms::of(&question, epsilon)?);
        Ok((epsilon, question, mechanisms))
    }

    /// Charges the private releases among some units that are this node's: all or none, each once. What others may spend is settled too.
    ///
    /// # Errors
    /// 53400 if they do not fit the budget, and as [`Session::proposed`].
    pub(super) async fn charge(&self, units: &[Arc<ReleaseUnit>]) -> Result<PrivateReleases> {
        let (proposed, of_sites) = self.proposed(units).await?;
        let mut requests: Vec<ReleaseRequest> = Vec::new();
        for request in proposed.iter().filter_map(|proposed| proposed.request.as_ref()) {
            if !requests.iter().any(|known| known.fingerprint == request.fingerprint) {
                requests.push(request.clone());
            }
        }
        let mut reserved = BTreeMap::new();
        if !requests.is_empty() {
            let fingerprints: Vec<ReleaseFingerprint> = requests.iter().map(|request| request.fingerprint).collect();
            let all = self.node.ledger.reserve(self.payer(), requests).await?;
            reserved.extend(fingerprints.into_iter().zip(all));
        }
        let here = proposed.into_iter().map(|Proposed { id, question, mechanisms, versions, request, is_shared }| {
            let Some(ReleaseRequest { fingerprint, cost, .. }) = request else {
                let source = Source::Free;
                return (id, Charged { question, mechanisms, versions, source, cost: None, is_shared: false });
            };
            let source = reserved.remove(&fingerprint).map_or(Source::Same(fingerprint), Source::Reserved);
            let cost = matches!(source, Source::Reserved(Reserved::Charged(_))).then_some(cost);
            (id, Charged { question, mechanisms, versions, source, cost, is_shared })
        });
        Ok(PrivateReleases { here: here.collect(), of_sites })
    }

    fn payer(&self) -> Payer {
        let principal = self.principal();
        let rules = principal.via_peer.as_ref().map(|peer| self.node.store.directory().rules_of_peer(peer));
        Payer {
            principal: principal.display(),
            peer: principal.via_peer.as_ref().map(ToString::to_string),
            peer_epsilon: rules.and_then(|rules| rules.budget_epsilon),
        }
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

    /// ε of one of so many releases of a statement: a part of what the session or its coordinator asks for, and at most what the policy allows.
    fn share(&self, unit: &ReleaseUnit, question: &Question, releases: usize) -> Result<Epsilon> {
        let most = question.rules.epsilon.get();
        let wanted = match self.asked {
            // The stricter of ticket and policy.
            Some(asked) => asked.epsilon.get().min(most),
            None => self.setting("kanon.epsilon").and_then(|text| text.parse::<f64>().ok()).unwrap_or(most),
        };
        if wanted > most {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("kanon.epsilon is {wanted}, and {} allows {most} a query", unit.tables.join(", ")),
            )
            .hint(format!("SET kanon.epsilon = {most}, or RESET kanon.epsilon.")));
        }
        // Rounded down: the parts together are not more than the whole.
        let share = if releases > 1 { (wanted / releases as f64).next_down() } else { wanted };
        Epsilon::try_from(share).map_err(|e| Error::new(Sqlstate::InvalidParameterValue, e.to_string()))
    }

    /// δ of one of so many releases of a statement: a part of the stricter of ticket and policy.
    fn delta(&self, question: &Question, releases: usize) -> Delta {
        let whole = match self.asked {
            Some(asked) if asked.delta < question.rules.delta => asked.delta,
            _ => question.rules.delta,
        };
        if releases <= 1 || whole == Delta::ZERO {
            return whole;
        }
        Delta::try_from((whole.get() / releases as f64).next_down()).unwrap_or(Delta::ZERO)
    }

    /// The answer that the ledger has, or a new one, which it keeps before anybody sees it; and the noise in its measures.
    pub(super) async fn release_private(
        &self,
        state: &SessionState,
        unit: &ReleaseUnit,
        charged: Charged,
        trail: &Trail,
    ) -> Result<(Released, NoiseOfMeasures)> {
        let Charged { question, mechanisms, mut versions, source, cost, .. } = charged;
        let kept = match source {
            Source::Free => return Ok((private::of_public_keys(unit, &question)?, Vec::new())),
            Source::Same(fingerprint) => {
                let kept = self.node.ledger.answer(&fingerprint).await?;
                // The one before was of data that changed.
                kept.ok_or_else(|| versions::changed(unit))?
            }
            Source::Reserved(Reserved::Answered(kept)) => kept,
            Source::Reserved(Reserved::Charged(reservation)) => {
                let key = self.node.site_key();
                let (catalog, mut attempts) = (&self.node.catalog, Attempts::default());
                loop {
                    let released = private::release(state, unit, &question, &mechanisms, key, &reservation).await;
                    let is_of_version = versions.are_still_there(catalog, unit).await?;
                    if is_of_version || !unit.one_row_a_unit {
                        let answer = written(released?.batch())?;
                        let entry = self.entry_of_release(trail, unit, cost.as_ref(), &answer);
                        let also = Some(self.node.audit.also(entry).await?);
                        let kept = match is_of_version && attempts.is_first() {
                            true => reservation.commit(answer, also).await?,
                            false => reservation.commit_apart(answer, also).await?,
                        };
                        trail.written();
                        break kept;
                    }
                    attempts.again(unit)?;
                    // It is charged for these, whatever version they are.
                    versions = DataVersions::of(catalog, unit).await?;
                }
            }
        };
        let answer = read(&kept)?;
        let mechanisms = private::mechanisms_of(&answer, &mechanisms)?;
        let noise = (0..question.aggregates.len()).map(|measure| mechanisms.of_measure(&question, measure)).collect();
        Ok((Released::kept(answer), noise))
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
    entered().map_err(Error::internal)
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

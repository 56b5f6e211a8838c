//! Asks the sites of a federated release unit, all at once, and merges what they release.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::collect;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use kanon_planner::facts::{Facts, Placement, SiteId};
use kanon_planner::merge::{MergeError, merge};
use kanon_planner::private::accuracy::companions;
use kanon_planner::private::part_noise::NOISE_KEY;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_planner::split::{Layout, Split, Subplan, rounds, split};

use super::client::{Asked, SiteClient, SiteError, SubplanRequest};
use super::scan::Asker;
use super::{constants, inline, two_rounds};
use crate::error::{Error, Result, Sqlstate};
use crate::node::Node;
use crate::principal::Principal;
use crate::release::Released;
use crate::session::Session;
use crate::session::accuracy::INTERVAL_KEY;
use crate::session::report::SiteStatus;

/// The largest answer of one site to a release unit, in bytes.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// What a session wants of the sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// Whether those that answer are enough.
    pub partial: bool,
    /// With `partial`: fewer than this is an error.
    pub min_sites: usize,
    /// For one site.
    pub timeout: Duration,
    /// Which to ask; `None`: all.
    pub sites: Option<BTreeSet<SiteId>>,
}

impl Wishes {
    /// What a session's settings say.
    pub fn of(session: &Session) -> Wishes {
        let text = |name: &str| session.setting(name).unwrap_or_default();
        let millis = crate::session::settings::parse_duration_ms(&text("kanon.site_timeout")).filter(|ms| *ms > 0);
        let sites = text("kanon.sites");
        let sites = (!sites.trim().eq_ignore_ascii_case("all") && !sites.trim().is_empty())
            .then(|| sites.split(',').map(|s| SiteId::new(s.trim().trim_matches('"'))).collect());
        Wishes {
            partial: text("kanon.on_site_failure") == "partial",
            min_sites: text("kanon.min_sites").parse().unwrap_or(1),
            timeout: Duration::from_millis(millis.unwrap_or(30_000)),
            sites,
        }
    }

    /// Which of a table's sites to ask.
    ///
    /// # Errors
    /// 22023 if `kanon.sites` names none of them.
    pub(crate) fn among(&self, all: &[SiteId], tables: &str) -> Result<Vec<SiteId>> {
        let Some(wanted) = &self.sites else { return Ok(all.to_vec()) };
        let asked: Vec<SiteId> = all.iter().filter(|site| wanted.contains(site)).cloned().collect();
        if asked.is_empty() {
            let message = format!("none of the sites in kanon.sites has {tables}");
            return Err(Error::new(Sqlstate::InvalidParameterValue, message)
                .hint(format!("Sites that have it: {}.", names(all.iter()))));
        }
        Ok(asked)
    }
}

/// Whether enough sites answered, with `kanon.on_site_failure = partial`.
///
/// # Errors
/// 08001, with what the first of the others said.
pub(crate) fn enough(answered: usize, asked: usize, min_sites: usize, first_error: Option<Error>) -> Result<()> {
    let must = min_sites.min(asked).max(1);
    match first_error {
        Some(error) if answered < must => {
            let text = format!("{answered} of {asked} sites answered, and at least {must} must");
            Err(Error::new(Sqlstate::SiteUnreachable, text).detail(format!("{error}.")))
        }
        _ => Ok(()),
    }
}

/// Gives the clients of sites by name.
pub trait Sites: Send + Sync {
    /// The client; `None` if the site is not known (any more).
    fn client(&self, site: &SiteId) -> Option<Arc<dyn SiteClient>>;
}

impl Sites for Arc<Node> {
    fn client(&self, site: &SiteId) -> Option<Arc<dyn SiteClient>> {
        if site == self.site() {
            return Some(Arc::new(Here { node: Arc::clone(self) }));
        }
        self.federation.client(site)
    }
}

/// This node, asked through its own gate like a peer.
struct Here {
    node: Arc<Node>,
}

impl std::fmt::Debug for Here {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Here")
    }
}

#[async_trait]
impl SiteClient for Here {
    fn site(&self) -> &SiteId {
        self.node.site()
    }
    async fn query(&self, request: SubplanRequest) -> Result<SendableRecordBatchStream, SiteError> {
        let session = Session::open_for_subplan(Arc::clone(&self.node), request.principal, request.asked);
        let prepared = session.prepare(&request.sql, &[]).await.map_err(SiteError::Answered)?;
        let answer = session.execute(&prepared, vec![]).await.map_err(SiteError::Answered)?;
        match answer.rows {
            // The session lives as long as its answer is read.
            Some(rows) => {
                let stream = rows.stream.map(move |batch| {
                    let _ = &session;
                    batch
                });
                Ok(Box::pin(RecordBatchStreamAdapter::new(rows.schema, stream)))
            }
            None => Err(SiteError::Answered(Error::internal("a subplan without rows"))),
        }
    }
}

/// Releases a federated unit: each site under its own rules. Dropping the future cancels the sites. `asked` is what each may spend on it
/// where access is private.
///
/// # Errors
/// 0A000 if it cannot be split; with `kanon.on_site_failure = error` a site's error, naming it; with `partial`, 08001 if fewer than
/// `kanon.min_sites` answered.
pub async fn release(
    session: &Arc<Session>,
    state: &SessionState,
    facts: &(dyn Facts + Sync),
    unit: &ReleaseUnit,
    asked: Option<Asked>,
) -> Result<(Released, Vec<(SiteId, SiteStatus)>)> {
    let wishes = Wishes::of(session);
    let (evaluated, before) = constants::evaluated(state, unit, &wishes).await?.unzip();
    let unit = evaluated.as_ref().unwrap_or(unit);
    let (written, more) = inline::written_out(state, facts, unit, &wishes).await?.unzip();
    let unit = written.as_ref().unwrap_or(unit);
    let mut before = before.unwrap_or_default();
    before.extend(more.into_iter().flatten());
    let asking = Asking { sites: &session.node, principal: session.principal(), wishes: wishes.clone(), asked };
    if rounds::are_needed(unit, facts)? {
        let (batch, statuses) = two_rounds::release(&asking, state, facts, unit).await?;
        before.extend(statuses);
        return Ok((Released::merged(batch), before));
    }
    let Split { subplans, layout } = match planned(unit, facts, state, &wishes) {
        Ok(split) => split,
        // Rows of open tables may come here and be aggregated here.
        Err(error) if unit.protection.is_none() && error.state == Sqlstate::FeatureNotSupported => {
            let asker = state.config().get_extension::<Asker>().ok_or(error)?;
            let _ = asker.planned();
            let plan = state.create_physical_plan(&unit.source).await?;
            let asked = if wishes.partial {
                asker.begin().await?
            } else {
                let mut asked: Vec<SiteId> = asker.planned().into_iter().map(|(site, _)| site).collect();
                asked.sort();
                asked.dedup();
                asked.into_iter().map(|site| (site, SiteStatus::Ok)).collect()
            };
            let schema = plan.schema();
            let batches = collect(plan, state.task_ctx()).await?;
            let batch = concat_batches(&schema, &batches).map_err(Error::internal)?;
            return Ok((Released::merged(batch), asked));
        }
        Err(error) => return Err(error),
    };
    let (batch, statuses) = ask(&asking, unit, &layout, subplans).await?;
    before.extend(statuses);
    Ok((Released::merged(batch), before))
}

/// What the sites of a unit would be asked, for EXPLAIN (PRIVACY). `None` if its rows would be read instead.
///
/// # Errors
/// 0A000 if the unit cannot be split.
pub fn subplans(
    session: &Session,
    state: &SessionState,
    facts: &dyn Facts,
    unit: &ReleaseUnit,
) -> Result<Option<Vec<String>>> {
    if unit.placement == Placement::Local {
        return Ok(Some(Vec::new()));
    }
    let mut lines = Vec::new();
    let evaluated = constants::sketched(unit)?;
    if evaluated.is_some() {
        lines.push(format!("Release #{} takes along the values of its scalar subqueries (shown as 0 or '')", unit.id));
    }
    let unit = evaluated.as_ref().unwrap_or(unit);
    let sketched = inline::sketched(facts, unit)?.map(|(unit, tables)| {
        lines.push(format!("Release #{} takes along the rows of {} (shown as NULLs)", unit.id, tables.join(", ")));
        unit
    });
    let wishes = Wishes::of(session);
    let unit = sketched.as_ref().unwrap_or(unit);
    if rounds::are_needed(unit, facts)? {
        lines.extend(two_rounds::lines(unit, facts, state, &wishes)?);
        return Ok(Some(lines));
    }
    match planned(unit, facts, state, &wishes) {
        Ok(split) => {
            let subplan = |part: &Subplan| format!("Release #{} at {}: {}", unit.id, part.site, part.sql);
            lines.extend(split.subplans.iter().map(subplan));
            Ok(Some(lines))
        }
        Err(error) if unit.protection.is_none() && error.state == Sqlstate::FeatureNotSupported => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whom to ask, for whom, and how.
#[derive(Clone)]
pub(crate) struct Asking<'a> {
    /// The sites.
    pub sites: &'a dyn Sites,
    /// Who asks.
    pub principal: Principal,
    /// What the session wants.
    pub wishes: Wishes,
    /// What each site may spend, where access is private.
    pub asked: Option<Asked>,
}

pub(super) fn planned(unit: &ReleaseUnit, facts: &dyn Facts, state: &SessionState, wishes: &Wishes) -> Result<Split> {
    let Placement::Sites { sites: all, .. } = &unit.placement else {
        return Err(Error::internal("a local unit was given to the federation"));
    };
    let asked = wishes.among(all, &unit.tables.join(", "))?;
    Ok(split(unit, &asked, facts, state)?)
}

fn names<'a>(sites: impl Iterator<Item = &'a SiteId>) -> String {
    sites.map(SiteId::as_str).collect::<Vec<_>>().join(", ")
}

/// Asks all sites at once and merges their answers in order of name.
pub(crate) async fn ask(
    asking: &Asking<'_>,
    unit: &ReleaseUnit,
    layout: &Layout,
    subplans: Vec<Subplan>,
) -> Result<(RecordBatch, Vec<(SiteId, SiteStatus)>)> {
    let Asking { sites, principal, wishes, asked } = asking;
    let participants: Vec<SiteId> = subplans.iter().map(|s| s.site.clone()).collect();
    let count = participants.len();
    let questions = subplans.into_iter().map(|subplan| {
        let request = SubplanRequest {
            sql: subplan.sql,
            principal: principal.clone(),
            participants: participants.clone(),
            min_sites: wishes.min_sites,
            asked: *asked,
            timeout: wishes.timeout,
        };
        let client = sites.client(&subplan.site);
        let timeout = wishes.timeout;
        async move {
            let asked = async {
                let client = client.ok_or_else(Failed::not_a_peer)?;
                collected(client.query(request).await.map_err(Failed::Site)?, &subplan.schema).await
            };
            let answer = tokio::time::timeout(timeout, asked).await.unwrap_or(Err(Failed::Timeout));
            (subplan.site, answer)
        }
    });
    // At most as many as there are sites; in whatever order they answer.
    let mut running: futures::stream::FuturesUnordered<_> = questions.collect();
    let mut answers = Vec::new();
    let mut statuses = Vec::new();
    let mut first_error: Option<(SiteId, Error)> = None;
    while let Some((site, answer)) = running.next().await {
        match answer {
            Ok(batch) => {
                let status = if is_empty(&batch, layout) { SiteStatus::NoRelease } else { SiteStatus::Ok };
                statuses.push((site.clone(), status));
                answers.push((site, batch));
            }
            Err(failed) => {
                let (status, error) = failed.told(&site, wishes.timeout);
                tracing::warn!(%site, status = status.as_str(), %failed, "a site did not answer");
                if !wishes.partial {
                    // Dropping the others tells them to stop.
                    return Err(error);
                }
                statuses.push((site.clone(), status));
                if first_error.as_ref().is_none_or(|(first, _)| site < *first) {
                    first_error = Some((site, error));
                }
            }
        }
    }
    enough(answers.len(), count, wishes.min_sites, first_error.map(|(_, error)| error))?;
    statuses.sort_by(|a, b| a.0.cmp(&b.0));
    let batch = merge(unit, layout, answers).map_err(|error| match error {
        MergeError::Overflow => Error::new(Sqlstate::NumericOutOfRange, "value out of range"),
        MergeError::Shape(_) => Error::new(Sqlstate::SystemError, error.to_string()),
        MergeError::Internal(_) => Error::internal(error),
    })?;
    Ok((batch, statuses))
}

/// Nothing was released: no row, or the one row of an aggregate without groups with nothing in it.
fn is_empty(batch: &RecordBatch, layout: &Layout) -> bool {
    batch.num_rows() == 0
        || (layout.protected && layout.keys.is_empty() && batch.columns().iter().all(|c| c.null_count() == c.len()))
}

/// How asking a site failed.
pub(crate) enum Failed {
    /// What it said, or that it said nothing.
    Site(SiteError),
    /// It said nothing in time.
    Timeout,
    /// It said too much.
    TooLarge,
}

/// For the log: what a site says of its own error may hold literals of the query or values of open tables, and stays out of it.
impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Site(SiteError::Answered(error)) => {
                write!(f, "an error of its own, SQLSTATE {}", error.state.code())
            }
            Failed::Site(error) => error.fmt(f),
            Failed::Timeout => f.write_str("out of time"),
            Failed::TooLarge => f.write_str("the answer is too large"),
        }
    }
}

impl Failed {
    /// There is no way to the site.
    pub(crate) fn not_a_peer() -> Failed {
        Failed::Site(SiteError::Unreachable("the site is not a pinned peer".into()))
    }

    /// An error in the middle of an answer.
    pub(crate) fn on_the_way(error: DataFusionError) -> Failed {
        Failed::Site(site_error(error))
    }

    /// How it is reported, and the error that names the site.
    pub(crate) fn told(&self, site: &SiteId, timeout: Duration) -> (SiteStatus, Error) {
        const HINT: &str = "SET kanon.on_site_failure = partial";
        match self {
            Failed::Site(SiteError::Unreachable(_)) => (
                SiteStatus::Unreachable,
                Error::new(Sqlstate::SiteUnreachable, format!("site \"{site}\" did not answer")).hint(HINT),
            ),
            Failed::Site(SiteError::VersionMismatch(_)) => (
                SiteStatus::VersionMismatch,
                Error::new(Sqlstate::SiteUnreachable, format!("site \"{site}\" speaks another version")).hint(HINT),
            ),
            Failed::Timeout => (
                SiteStatus::Timeout,
                Error::new(
                    Sqlstate::SiteUnreachable,
                    format!("site \"{site}\" did not answer within {} ms", timeout.as_millis()),
                )
                .hint(HINT),
            ),
            Failed::TooLarge => (
                SiteStatus::Unreachable,
                Error::new(Sqlstate::OutOfMemory, format!("the answer of site \"{site}\" is too large"))
                    .hint("Ask for fewer groups."),
            ),
            Failed::Site(SiteError::Answered(error)) => {
                let status = match error.state {
                    Sqlstate::BudgetExceeded => SiteStatus::RefusedBudget,
                    Sqlstate::SiteUnreachable | Sqlstate::AdminShutdown => SiteStatus::Unreachable,
                    Sqlstate::QueryCanceled => SiteStatus::Timeout,
                    _ => SiteStatus::RefusedPolicy,
                };
                // What a site does not show to this caller does not exist there: to the caller it is a refusal.
                let state = match error.state {
                    Sqlstate::UndefinedTable | Sqlstate::InvalidAuthorization => Sqlstate::InsufficientPrivilege,
                    other => other,
                };
                let told = Error {
                    state,
                    message: format!("site \"{site}\": {}", error.message),
                    position: None,
                    ..error.clone()
                };
                (status, if told.hint.is_none() { told.hint(HINT) } else { told })
            }
        }
    }
}

async fn collected(mut stream: SendableRecordBatchStream, schema: &SchemaRef) -> Result<RecordBatch, Failed> {
    let picked = Picked::of(&stream.schema(), schema).map_err(Failed::Site)?;
    let mut batches = Vec::new();
    let mut bytes = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| Failed::Site(site_error(error)))?;
        bytes += batch.get_array_memory_size();
        if bytes > MAX_ANSWER_BYTES {
            return Err(Failed::TooLarge);
        }
        batches.push(picked.fitted(&batch).map_err(Failed::Site)?);
    }
    concat_batches(&picked.schema, &batches).map_err(|e| Failed::Site(SiteError::VersionMismatch(e.to_string())))
}

/// The columns that are read of a site's answer: those that were asked for, and behind them the ends of intervals, under the names of
/// [`companions`].
struct Picked {
    /// A site's own widths are widened to these.
    schema: SchemaRef,
    /// Where each is in the answer.
    places: Vec<usize>,
}

impl Picked {
    fn of(theirs: &SchemaRef, asked: &SchemaRef) -> Result<Picked, SiteError> {
        let (mut places, mut fields) = (Vec::new(), Vec::new());
        let (mut end_places, mut ends) = (Vec::new(), Vec::new());
        for (place, field) in theirs.fields().iter().enumerate() {
            let is_end = field.metadata().get(INTERVAL_KEY);
            // An aggregate without measures or keys has a column that was not asked for.
            let Some(wanted) = asked.fields().get(fields.len()).filter(|_| is_end.is_none()) else {
                if let (Some(end), Some(of)) = (is_end, fields.len().checked_sub(1)) {
                    if !field.data_type().is_numeric() {
                        return Err(mismatch());
                    }
                    let [lower, upper] = companions(of);
                    let name = if end == "lower" { lower } else { upper };
                    ends.push(Field::new(name, field.data_type().clone(), true));
                    end_places.push(place);
                } else if !asked.fields().is_empty() {
                    return Err(mismatch());
                }
                continue;
            };
            let noise = field.metadata().get(NOISE_KEY).map(|noise| (NOISE_KEY.to_owned(), noise.clone()));
            fields.push(wanted.as_ref().clone().with_metadata(noise.into_iter().collect()));
            places.push(place);
        }
        if fields.len() != asked.fields().len() {
            return Err(mismatch());
        }
        fields.extend(ends);
        places.extend(end_places);
        Ok(Picked { schema: Arc::new(Schema::new(fields)), places })
    }

    fn fitted(&self, batch: &RecordBatch) -> Result<RecordBatch, SiteError> {
        let columns = self.places.iter().zip(self.schema.fields()).map(|(place, field)| {
            let column = batch.columns().get(*place).ok_or_else(mismatch)?;
            cast(column, field.data_type()).map_err(|_| mismatch())
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(|_| mismatch())
    }
}

fn mismatch() -> SiteError {
    SiteError::VersionMismatch("an answer with other columns".to_owned())
}

/// What an error on the way of an answer says of its site.
fn site_error(error: DataFusionError) -> SiteError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<SiteError>() {
            Ok(site) => *site,
            Err(inner) => match inner.downcast::<Error>() {
                Ok(error) => SiteError::Answered(*error),
                Err(other) => SiteError::Unreachable(other.to_string()),
            },
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => site_error(*inner),
        // This node's own part of an open query.
        other => SiteError::Answered(Error::from(other)),
    }
}

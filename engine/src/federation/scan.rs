//! Rows of open tables at sites: filters, columns and limits are sent to the sites, batches come as they arrive.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session as DataFusionSession, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::{EmptyRecordBatchStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt};
use kanon_planner::facts::SiteId;
use kanon_planner::split::{identifier, predicate_is_plain, predicate_sql};

use super::client::SubplanRequest;
use super::run::{Failed, Sites, Wishes, enough};
use super::tables::SITE_COLUMN;
use crate::error::{Error, Sqlstate};
use crate::node::Node;
use crate::principal::Principal;
use crate::session::report::SiteStatus;

/// Who asks, carried in the state of a statement.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The principal of the session.
    pub principal: Principal,
    /// What its settings say.
    pub wishes: Wishes,
    /// What was planned to be asked for rows.
    planned: Arc<Mutex<Vec<Arc<AtSite>>>>,
}

impl Asker {
    /// For one statement.
    pub fn new(principal: Principal, wishes: Wishes) -> Asker {
        Asker { principal, wishes, planned: Arc::default() }
    }

    /// The questions for rows of the plans made since this was last called: each site and its SQL.
    pub fn planned(&self) -> Vec<(SiteId, String)> {
        self.take().iter().map(|part| (part.site.clone(), part.request.sql.clone())).collect()
    }

    fn take(&self) -> Vec<Arc<AtSite>> {
        std::mem::take(&mut *self.planned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// With `kanon.on_site_failure = partial`: asks all sites for the rows of the plan that was just made, so that those that do not
    /// answer are known before the first row is given. A site that fails later fails the query: some of its rows are out.
    ///
    /// # Errors
    /// 08001 if fewer than `kanon.min_sites` answer.
    pub async fn begin(&self) -> Result<Vec<(SiteId, SiteStatus)>, Error> {
        let parts = self.take();
        if !self.wishes.partial || parts.is_empty() {
            return Ok(Vec::new());
        }
        let asked = parts.iter().map(|part| async move { (part, part.ask().await) });
        let mut ends: BTreeMap<SiteId, Option<(SiteStatus, Error)>> = BTreeMap::new();
        let mut begun = Vec::new();
        for (part, answer) in futures::future::join_all(asked).await {
            let end = ends.entry(part.site.clone()).or_default();
            match answer {
                Ok(stream) => begun.push((part, stream)),
                Err(failed) => {
                    let (status, error) = failed.told(&part.site, part.request.timeout);
                    tracing::warn!(site = %part.site, status = status.as_str(), %failed, "a site did not answer");
                    *end = Some((status, error));
                }
            }
        }
        for part in &parts {
            part.set(Begun::Failed);
        }
        for (part, stream) in begun {
            // A site that failed in one place is left out everywhere.
            if ends.get(&part.site).is_some_and(Option::is_none) {
                part.set(Begun::Rows(stream));
            }
        }
        let first_error = ends.values().flatten().next().map(|(_, error)| error.clone());
        let answered = ends.values().filter(|end| end.is_none()).count();
        enough(answered, ends.len(), self.wishes.min_sites, first_error)?;
        Ok(ends.into_iter().map(|(site, end)| (site, end.map_or(SiteStatus::Ok, |(status, _)| status))).collect())
    }
}

/// A table at one or more sites.
pub struct RemoteTable {
    node: Weak<Node>,
    schema: SchemaRef,
    sites: Vec<SiteId>,
    table: String,
    site_column: bool,
    protected: bool,
}

impl fmt::Debug for RemoteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteTable({})", self.table)
    }
}

impl RemoteTable {
    pub(super) fn new(
        node: &Arc<Node>,
        schema: SchemaRef,
        sites: Vec<SiteId>,
        table: String,
        site_column: bool,
        protected: bool,
    ) -> Self {
        RemoteTable { node: Arc::downgrade(node), schema, sites, table, site_column, protected }
    }

    /// The condition as it is for one site, with the column `site` replaced by its name.
    fn at(&self, filter: &Expr, site: &SiteId) -> Option<Expr> {
        if !self.site_column {
            return Some(filter.clone());
        }
        let name = Expr::Literal(ScalarValue::Utf8(Some(site.as_str().to_owned())), None);
        let replaced = filter.clone().transform(|e| {
            Ok(match &e {
                Expr::Column(column) if column.name == SITE_COLUMN => Transformed::yes(name.clone()),
                _ => Transformed::no(e),
            })
        });
        replaced.ok().map(|r| r.data)
    }

    /// What a condition on `site` alone is for a site, whatever its rows: NULL is false.
    fn constant(&self, filter: &Expr, site: &SiteId, state: &dyn DataFusionSession) -> Option<bool> {
        let at = self.at(filter, site).filter(|at| !at.is_volatile() && at.column_refs().is_empty())?;
        let options = Arc::new(state.config_options().clone());
        let context = SimplifyContext::builder().with_config_options(options).build();
        match ExprSimplifier::new(context).simplify(at) {
            Ok(Expr::Literal(ScalarValue::Boolean(value), _)) => Some(value.unwrap_or(false)),
            _ => None,
        }
    }
}

#[async_trait]
impl TableProvider for RemoteTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn table_type(&self) -> TableType {
        TableType::Base
    }
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        // Other filters stay here too: a site may plan them a little differently.
        Ok(filters
            .iter()
            .map(|f| match predicate_sql(f) {
                // Nothing to misunderstand, and a LIMIT above it can go to the sites too.
                Some(_) if predicate_is_plain(f) => TableProviderFilterPushDown::Exact,
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }
    async fn scan(
        &self,
        state: &dyn DataFusionSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        if self.protected {
            return Err(Error::new(
                Sqlstate::InsufficientPrivilege,
                format!("rows of table {} cannot be read", self.table),
            )
            .into());
        }
        let node = self.node.upgrade().ok_or_else(|| DataFusionError::from(Error::internal("the node is gone")))?;
        let asker = state
            .config()
            .get_extension::<Asker>()
            .ok_or_else(|| DataFusionError::from(Error::internal("a remote scan without a session")))?;
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let mut sites = asker.wishes.among(&self.sites, &self.table).map_err(DataFusionError::from)?;
        sites.retain(|site| !filters.iter().any(|filter| self.constant(filter, site, state) == Some(false)));
        let mut columns: Vec<String> = schema
            .fields()
            .iter()
            .filter(|f| !(self.site_column && f.name() == SITE_COLUMN))
            .map(|f| identifier(f.name()))
            .collect();
        if columns.is_empty() {
            // Rows are counted by a column all the same.
            columns.push("1 AS one".to_owned());
        }
        let table = self.table.strip_prefix("public.").map_or_else(|| self.table.clone(), identifier);
        let mut partitions: Vec<Arc<dyn PartitionStream>> = Vec::new();
        for site in &sites {
            let mut conditions = Vec::new();
            for filter in filters {
                if self.constant(filter, site, state) == Some(true) {
                    continue;
                }
                if let Some(text) = self.at(filter, site).as_ref().and_then(predicate_sql) {
                    conditions.push(format!("({text})"));
                }
            }
            let mut sql = format!("SELECT {} FROM {table}", columns.join(", "));
            if !conditions.is_empty() {
                sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
            }
            if let Some(limit) = limit {
                sql.push_str(&format!(" LIMIT {limit}"));
            }
            let part = Arc::new(AtSite {
                node: Arc::clone(&node),
                site: site.clone(),
                schema: Arc::clone(&schema),
                site_column: self.site_column,
                begun: Mutex::new(Begun::Not),
                request: SubplanRequest {
                    sql,
                    principal: asker.principal.clone(),
                    participants: sites.clone(),
                    min_sites: asker.wishes.min_sites,
                    asked: None,
                    timeout: asker.wishes.timeout,
                },
            });
            asker.planned.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&part));
            partitions.push(part);
        }
        if partitions.is_empty() {
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?))
    }
}

/// One site's rows.
struct AtSite {
    node: Arc<Node>,
    site: SiteId,
    schema: SchemaRef,
    site_column: bool,
    begun: Mutex<Begun>,
    request: SubplanRequest,
}

/// How far a question for rows is before its plan runs.
enum Begun {
    /// It is asked when the plan runs.
    Not,
    /// The site answers.
    Rows(SendableRecordBatchStream),
    /// The site is left out.
    Failed,
}

impl fmt::Debug for AtSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.site, self.request.sql)
    }
}

impl AtSite {
    async fn ask(&self) -> Result<SendableRecordBatchStream, Failed> {
        let client = self.node.client(&self.site).ok_or_else(Failed::not_a_peer)?;
        let asked = tokio::time::timeout(self.request.timeout, client.query(self.request.clone()));
        asked.await.map_err(|_| Failed::Timeout)?.map_err(Failed::Site)
    }

    fn set(&self, begun: Begun) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = begun;
    }

    fn take(&self) -> Begun {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        match *begun {
            Begun::Failed => Begun::Failed,
            _ => std::mem::replace(&mut *begun, Begun::Not),
        }
    }

    /// The rows as the table has them.
    fn rows(&self, stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let (schema, site_column, site) = (Arc::clone(&self.schema), self.site_column, self.site.clone());
        let timeout = self.request.timeout;
        let rows = stream.map(move |batch| match batch {
            Ok(batch) => with_site(&batch, &schema, site_column, &site),
            Err(error) => Err(Failed::on_the_way(error).told(&site, timeout).1.into()),
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

impl PartitionStream for AtSite {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        match self.take() {
            Begun::Rows(stream) => self.rows(stream),
            Begun::Failed => Box::pin(EmptyRecordBatchStream::new(Arc::clone(&self.schema))),
            Begun::Not => {
                let part = AtSite {
                    node: Arc::clone(&self.node),
                    site: self.site.clone(),
                    schema: Arc::clone(&self.schema),
                    site_column: self.site_column,
                    begun: Mutex::new(Begun::Not),
                    request: self.request.clone(),
                };
                let begun = async move {
                    match part.ask().await {
                        Ok(stream) => Ok(part.rows(stream)),
                        Err(failed) => Err(DataFusionError::from(failed.told(&part.site, part.request.timeout).1)),
                    }
                };
                let rows = futures::stream::once(begun).try_flatten();
                Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
            }
        }
    }
}

fn with_site(batch: &RecordBatch, schema: &SchemaRef, site_column: bool, site: &SiteId) -> DfResult<RecordBatch> {
    let mut theirs = batch.columns().iter();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if site_column && field.name() == SITE_COLUMN {
            columns.push(Arc::new(StringArray::from(vec![site.as_str(); batch.num_rows()])));
        } else {
            let column = theirs.next().ok_or_else(|| {
                DataFusionError::from(Error::new(
                    Sqlstate::SystemError,
                    format!("site \"{site}\" answered with other columns"),
                ))
            })?;
            columns.push(cast(column, field.data_type())?);
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

//! Rows of open tables at sites: filters, columns and limits are sent to the sites, batches come as they arrive.

use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session as DataFusionSession, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt};
use kanon_planner::facts::SiteId;
use kanon_planner::split::{identifier, predicate_sql};

use super::client::SubplanRequest;
use super::run::{Sites, Wishes, failed_site, site_error};
use super::tables::SITE_COLUMN;
use crate::error::{Error, Sqlstate};
use crate::node::Node;
use crate::principal::Principal;

/// Who asks, carried in the state of a statement.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The principal of the session.
    pub principal: Principal,
    /// What its settings say.
    pub wishes: Wishes,
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
        // The filter stays here too: a site may plan it a little differently.
        Ok(filters
            .iter()
            .map(|f| match predicate_sql(f) {
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
        let sites: Vec<SiteId> = self
            .sites
            .iter()
            .filter(|s| asker.wishes.sites.as_ref().is_none_or(|wanted| wanted.contains(s)))
            .cloned()
            .collect();
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
            partitions.push(Arc::new(AtSite {
                node: Arc::clone(&node),
                site: site.clone(),
                schema: Arc::clone(&schema),
                site_column: self.site_column,
                asker: Arc::clone(&asker),
                request: SubplanRequest {
                    sql,
                    principal: asker.principal.clone(),
                    participants: sites.clone(),
                    min_sites: asker.wishes.min_sites,
                    timeout: asker.wishes.timeout,
                },
            }));
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
    asker: Arc<Asker>,
    request: SubplanRequest,
}

impl fmt::Debug for AtSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.site, self.request.sql)
    }
}

impl PartitionStream for AtSite {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (node, site, request) = (Arc::clone(&self.node), self.site.clone(), self.request.clone());
        let (schema, site_column, timeout) = (Arc::clone(&self.schema), self.site_column, self.asker.wishes.timeout);
        let begun = async move {
            let client = node.client(&site);
            let asked = async {
                let client = client
                    .ok_or_else(|| super::client::SiteError::Unreachable("the site is not a pinned peer".into()))?;
                client.query(request).await
            };
            let stream = match tokio::time::timeout(timeout, asked).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return Err(DataFusionError::from(failed_site(error, &site, timeout))),
                Err(_) => {
                    let late = super::client::SiteError::Unreachable("out of time".into());
                    return Err(DataFusionError::from(failed_site(late, &site, timeout)));
                }
            };
            Ok(stream.map(move |batch| match batch {
                Ok(batch) => with_site(&batch, &schema, site_column, &site),
                Err(error) => Err(failed_site(site_error(error), &site, timeout).into()),
            }))
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::once(begun).try_flatten()))
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

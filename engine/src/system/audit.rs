//! `kanon.audit_log` and `kanon.audit_verify()`: read from the store page by page while they are read.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;

use super::SystemContext;
use super::views::Columns;
use crate::audit::{AuditLog, Shown, Whose, hex};
use crate::error::{Error, Result, Sqlstate};
use crate::principal::BuiltinRole;

/// The log: all of it for auditors, for stewards what is about tables of this node, and for everybody their own entries.
pub(super) fn log(context: &SystemContext) -> Arc<dyn TableProvider> {
    let (who, is_local) = (context.principal.display(), context.principal.via_peer.is_none());
    let whose = match &context.principal {
        principal if is_local && principal.is(BuiltinRole::Auditor) => Whose::All,
        principal if is_local && principal.is(BuiltinRole::Steward) => Whose::OfTables(who),
        _ => Whose::Own(who),
    };
    let schema = rows(&[]).map(|batch| batch.schema()).unwrap_or_else(|_| Arc::new(Schema::empty()));
    Arc::new(LogView(Pages { log: context.node.audit.clone(), whose, schema }))
}

/// Whether the log is as it was written.
pub(super) fn verify(context: &SystemContext) -> Arc<dyn TableProvider> {
    let roles = [BuiltinRole::Auditor, BuiltinRole::Steward, BuiltinRole::Operator];
    let may = context.principal.via_peer.is_none() && roles.into_iter().any(|role| context.principal.is(role));
    let schema = verdict(&[]).map(|batch| batch.schema()).unwrap_or_else(|_| Arc::new(Schema::empty()));
    Arc::new(VerifyView { log: context.node.audit.clone(), may, schema })
}

fn rows(entries: &[Shown]) -> Result<RecordBatch> {
    let e = || entries.iter().map(|shown| &shown.entry);
    let list = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(", "));
    Columns::default()
        .bigint("seq", e().map(|x| i64::try_from(x.seq).ok()))
        .time("at", e().map(|x| Some(x.at_ms.saturating_mul(1000))))
        .text("principal", e().map(|x| Some(&x.principal).filter(|name| !name.is_empty())))
        .text("home_node", e().map(|x| Some(&x.home_node).filter(|name| !name.is_empty())))
        .text("peer", e().map(|x| x.peer.as_ref()))
        .text("action", e().map(|x| Some(x.action.as_str())))
        .text("object", e().map(|x| list(&x.objects)))
        .text("decision", e().map(|x| Some(x.decision.as_str())))
        .text("rule", e().map(|x| x.rule.as_ref()))
        .double("epsilon", e().map(|x| x.epsilon))
        .text("sites", e().map(|x| list(&x.sites)))
        .text("entry_hash", entries.iter().map(|x| Some(hex(&x.hash))))
        .double("delta", e().map(|x| x.delta))
        .text("statement", e().map(|x| x.statement.as_ref()))
        .text("result_digest", e().map(|x| x.result_digest.map(|digest| hex(&digest))))
        .text("literals", entries.iter().map(|x| x.literals.as_ref()))
        .batch()
}

fn verdict(verdicts: &[crate::audit::verify::Verdict]) -> Result<RecordBatch> {
    let v = || verdicts.iter();
    Columns::default()
        .bool("ok", v().map(|x| Some(x.ok)))
        .bigint("first_bad_seq", v().map(|x| x.first_bad_seq.and_then(|seq| i64::try_from(seq).ok())))
        .text("detail", v().map(|x| Some(&x.detail)))
        .batch()
}

/// The pages of the log that somebody sees.
#[derive(Debug, Clone)]
struct Pages {
    log: AuditLog,
    whose: Whose,
    schema: SchemaRef,
}

impl Pages {
    /// The next page that has something in it, and where it ends.
    async fn next(&self, mut after: i64) -> Result<Option<(RecordBatch, i64)>> {
        let reader = self.log.reader();
        while let (shown, Some(last)) = reader.page(after, &self.whose).await? {
            if !shown.is_empty() {
                return Ok(Some((rows(&shown)?, last)));
            }
            after = last;
        }
        Ok(None)
    }
}

impl PartitionStream for Pages {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let pages = self.clone();
        let batches = stream::try_unfold(0, move |after| {
            let pages = pages.clone();
            async move { pages.next(after).await.map_err(DataFusionError::from) }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

#[derive(Debug)]
struct LogView(Pages);

#[async_trait]
impl TableProvider for LogView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }
    fn table_type(&self) -> TableType {
        TableType::View
    }
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let table = StreamingTable::try_new(Arc::clone(&self.0.schema), vec![Arc::new(self.0.clone())])?;
        table.scan(state, projection, filters, limit).await
    }
}

#[derive(Debug)]
struct VerifyView {
    log: AuditLog,
    may: bool,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for VerifyView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn table_type(&self) -> TableType {
        TableType::View
    }
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        if !self.may {
            let error = Error::new(Sqlstate::InsufficientPrivilege, "permission denied for function audit_verify")
                .hint("Auditors, stewards and operators of this node may check its audit log.");
            return Err(error.into());
        }
        let found = self.log.verify().await?;
        let table = super::views::memory(verdict(&[found])?)?;
        table.scan(state, projection, filters, limit).await
    }
}

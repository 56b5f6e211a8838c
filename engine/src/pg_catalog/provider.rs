//! The system schemas for DataFusion: relations whose rows are made when a plan reads them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::Shared;
use super::defs::{RELATIONS, Relation, relation_or_function};
use super::rows;
use super::values::Rows;
use crate::error::{Error, Sqlstate};

/// `pg_catalog` or `information_schema`.
#[derive(Debug)]
pub(crate) struct SystemSchema {
    name: &'static str,
    shared: Arc<Shared>,
}

impl SystemSchema {
    pub(crate) fn new(name: &'static str, shared: Arc<Shared>) -> Self {
        SystemSchema { name, shared }
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        RELATIONS.iter().filter(|r| r.schema_name == self.name).map(|r| r.name.to_owned()).collect()
    }
    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(relation_or_function(self.name, name).map(|relation| {
            let table: Arc<dyn TableProvider> = Arc::new(SystemTable { relation, shared: Arc::clone(&self.shared) });
            table
        }))
    }
    fn table_exist(&self, name: &str) -> bool {
        relation_or_function(self.name, name).is_some()
    }
}

/// A relation of a system schema.
pub(crate) struct SystemTable {
    relation: &'static Relation,
    shared: Arc<Shared>,
}

impl SystemTable {
    /// Its OID in `pg_class`.
    pub(crate) fn oid(&self) -> u32 {
        self.relation.oid
    }
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemTable({}.{})", self.relation.schema_name, self.relation.name)
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.schema)
    }
    fn table_type(&self) -> TableType {
        TableType::View
    }
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match equals(filter) {
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }
    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(indices) => Arc::new(self.relation.schema.project(indices)?),
            None => Arc::clone(&self.relation.schema),
        };
        if self.relation.name == rows::UNREADABLE {
            let message = format!("permission denied for table {}", rows::UNREADABLE);
            let hint = "pg_roles has all of it but what passwords are checked by.";
            return Err(Error::new(Sqlstate::InsufficientPrivilege, message).hint(hint).into());
        }
        let mut rows = Rows::new(Arc::clone(&schema), Arc::clone(&self.relation.schema));
        rows::write(self.shared.directory(), self.relation, &Wanted::of(filters), &mut rows);
        Ok(MemorySourceConfig::try_new_exec(&[vec![rows.finish()?]], schema, None)?)
    }
}

/// What a query's conditions let through, by column: rows without one of these values need not be made.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    numbers: HashMap<String, BTreeSet<i64>>,
    names: HashMap<String, BTreeSet<String>>,
}

impl Wanted {
    fn of(filters: &[Expr]) -> Wanted {
        let mut wanted = Wanted::default();
        for (column, values) in filters.iter().filter_map(equals) {
            let numbers: Option<BTreeSet<i64>> = values.iter().map(|v| number(v)).collect();
            let names: Option<BTreeSet<String>> =
                values.iter().map(|v| v.try_as_str().flatten().map(str::to_owned)).collect();
            if let Some(numbers) = numbers {
                wanted.numbers.entry(column).or_insert(numbers);
            } else if let Some(names) = names {
                wanted.names.entry(column).or_insert(names);
            }
        }
        wanted
    }
    /// Whether a row with this number in the column can be wanted.
    pub(crate) fn number(&self, column: &str, value: impl Into<i64>) -> bool {
        self.numbers.get(column).is_none_or(|set| set.contains(&value.into()))
    }
    /// Whether a row with this name in the column can be wanted.
    pub(crate) fn name(&self, column: &str, value: &str) -> bool {
        self.names.get(column).is_none_or(|set| set.contains(value))
    }
}

fn number(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int16(v) => v.map(i64::from),
        ScalarValue::Int32(v) => v.map(i64::from),
        ScalarValue::Int64(v) => *v,
        ScalarValue::UInt32(v) => v.map(i64::from),
        _ => None,
    }
}

/// `column = literal` or `column IN (literals)`.
fn equals(filter: &Expr) -> Option<(String, Vec<&ScalarValue>)> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column)) => {
                Some((column.name.clone(), vec![value]))
            }
            _ => None,
        },
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = list.expr.as_ref() else { return None };
            let values: Option<Vec<&ScalarValue>> = list
                .list
                .iter()
                .map(|item| match item {
                    Expr::Literal(value, _) => Some(value),
                    _ => None,
                })
                .collect();
            Some((column.name.clone(), values?))
        }
        _ => None,
    }
}

//! Rows of protected tables without those of units that opted out: below everything else, so that no path reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, UNNAMED_TABLE};
use datafusion::physical_plan::ExecutionPlan;
use sha2::{Digest, Sha256};

use super::part::Part;
use super::{DEFAULT_UNIT_KIND, Policy};
use crate::audit::hex;
use crate::store::{Excluded, Exclusion};

/// The units that are left out of a table with this policy.
pub(super) fn of_policy<'e>(policy: &Policy, excluded: &'e Excluded) -> Option<&'e BTreeMap<String, Exclusion>> {
    let unit = policy.unit.as_ref().filter(|_| policy.is_protected());
    let kind = unit.map(|_| policy.unit_kind.as_deref().unwrap_or(DEFAULT_UNIT_KIND))?;
    excluded.get(kind).filter(|units| !units.is_empty())
}

/// A text that tells one list of units from another, and nothing of who is on it.
pub(super) fn digest(units: &BTreeMap<String, Exclusion>) -> String {
    let mut hasher = Sha256::new();
    for value in units.keys() {
        hasher.update(u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(value.as_bytes());
    }
    hex(&hasher.finalize())
}

/// Reads a table without the rows of some units.
#[derive(Debug)]
pub(super) struct Excluding {
    inner: Arc<dyn TableProvider>,
    unit: String,
    /// In the unit column's type.
    values: Vec<ScalarValue>,
}

impl Excluding {
    /// Of the rows of `inner`. What cannot be a value of the unit column is nobody's.
    pub(super) fn new(inner: Arc<dyn TableProvider>, unit: &str, units: &BTreeMap<String, Exclusion>) -> Excluding {
        let schema = inner.schema();
        let data_type = schema.field_with_name(unit).map_or(DataType::Null, |field| field.data_type().clone());
        let values = units.keys().filter_map(|value| value_of(value, &data_type)).collect();
        Excluding { inner, unit: unit.to_owned(), values }
    }
}

/// Whether a number is written without an exponent and with no more digits after its point than these, but for zeros.
fn has_scale(text: &str, scale: i8) -> bool {
    let fraction = text.trim().split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0'));
    !text.contains(['e', 'E']) && fraction.len() <= usize::try_from(scale).unwrap_or(0)
}

/// A unit in the type of the unit column; `None` for what is none of its values: nothing is rounded to one, which would be another unit.
pub(super) fn value_of(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    let value = match data_type {
        DataType::Utf8 => ScalarValue::Utf8(Some(text.to_owned())),
        DataType::FixedSizeBinary(16) => {
            let id = uuid::Uuid::parse_str(text.trim()).ok()?;
            ScalarValue::FixedSizeBinary(16, Some(id.as_bytes().to_vec()))
        }
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if !has_scale(text, *scale) => return None,
        other => ScalarValue::try_from_string(text.trim().to_owned(), other).ok()?,
    };
    (!value.is_null()).then_some(value)
}

#[async_trait]
impl TableProvider for Excluding {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // What is above filters once more: here it only spares reading.
        let supported = self.inner.supports_filters_pushdown(filters)?;
        let inexact = |supported| match supported {
            TableProviderFilterPushDown::Exact => TableProviderFilterPushDown::Inexact,
            other => other,
        };
        Ok(supported.into_iter().map(inexact).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.inner.schema();
        // Without its column nobody could be left out.
        schema.field_with_name(&self.unit)?;
        if self.values.is_empty() {
            return self.inner.scan(state, projection, filters, limit).await;
        }
        let unit = Expr::Column(Column::new_unqualified(&self.unit));
        let values = self.values.iter().map(|value| Expr::Literal(value.clone(), None)).collect();
        let plan = LogicalPlanBuilder::scan(UNNAMED_TABLE, provider_as_source(Arc::clone(&self.inner)), None)?
            .filter(unit.in_list(values, true))?;
        Part { projection, filters, limit }.of(plan, &schema, state).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_in_the_type_of_their_column() {
        assert_eq!(value_of("4711", &DataType::Int64), Some(ScalarValue::Int64(Some(4711))));
        assert_eq!(value_of("04711", &DataType::Utf8), Some(ScalarValue::Utf8(Some("04711".into()))));
        assert_eq!(value_of("2024-02-29", &DataType::Date32), Some(ScalarValue::Date32(Some(19_782))));
        assert_eq!(value_of("4711", &DataType::Decimal128(20, 0)), Some(ScalarValue::Decimal128(Some(4711), 20, 0)));
        let id = value_of("67e55044-10b1-426f-9247-bb680e5fe0c8", &DataType::FixedSizeBinary(16)).unwrap();
        assert!(matches!(id, ScalarValue::FixedSizeBinary(16, Some(bytes)) if bytes.first() == Some(&0x67)));
        assert_eq!(value_of("4711.0", &DataType::Decimal128(20, 0)), Some(ScalarValue::Decimal128(Some(4711), 20, 0)));
        assert_eq!(value_of("47.5", &DataType::Decimal128(20, 1)), Some(ScalarValue::Decimal128(Some(475), 20, 1)));
        for (text, data_type) in [
            ("nobody", DataType::Int64),
            ("4711.7", DataType::Int64),
            ("4711.0", DataType::Int64),
            ("99999999999999999999", DataType::Int64),
            ("4711.7", DataType::Decimal128(20, 0)),
            ("0.05", DataType::Decimal128(20, 1)),
            ("1e-3", DataType::Decimal128(20, 1)),
            ("2024-02-30", DataType::Date32),
            ("", DataType::Int64),
        ] {
            assert_eq!(value_of(text, &data_type), None, "{text} {data_type}");
        }
    }

    #[test]
    fn lists_are_told_apart() {
        let list = |values: &[&str]| {
            let by = Exclusion { at: String::new(), by: String::new() };
            digest(&values.iter().map(|value| ((*value).to_owned(), by.clone())).collect())
        };
        assert_eq!(list(&["1", "2"]), list(&["2", "1"]));
        assert_ne!(list(&["1", "2"]), list(&["12"]));
        assert_ne!(list(&["1"]), list(&["1", "2"]));
    }
}

//! What a plan tells of the columns of an answer besides their types: whether a number's precision was declared, and which column of which table one is.
//!
//! Both are handed on by what only hands columns on. A number whose precision nobody declared is a plain `numeric`, and what is computed is of no table, as in PostgreSQL.

use std::collections::HashMap;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, JoinType};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};

use super::provider::SystemTable;
use crate::catalog::guarded::GuardedTable;
use crate::functions::series::Series;

/// The keys of a field's metadata that say which column of which table it is: the table's OID, and the column's number.
const TABLE_KEY: &str = "kanon.pg_table";
const NUMBER_KEY: &str = "kanon.pg_column";

/// A column of a table, as `pg_attribute` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// `attrelid`
    pub table: u32,
    /// `attnum`
    pub number: i16,
}

impl Origin {
    /// What a field says of its origin.
    pub fn of_field(field: &Field) -> Option<Origin> {
        let said = |key: &str| field.metadata().get(key);
        Some(Origin { table: said(TABLE_KEY)?.parse().ok()?, number: said(NUMBER_KEY)?.parse().ok()? })
    }

    /// Marks a field with its origin; what it said before is not so any more.
    pub(crate) fn mark(origin: Option<Origin>, field: Field) -> Field {
        let has_none = !field.metadata().contains_key(TABLE_KEY);
        if origin.is_none() && has_none {
            return field;
        }
        let mut metadata = field.metadata().clone();
        match origin {
            Some(origin) => {
                metadata.insert(TABLE_KEY.to_owned(), origin.table.to_string());
                metadata.insert(NUMBER_KEY.to_owned(), origin.number.to_string());
            }
            None => metadata.retain(|key, _| key != TABLE_KEY && key != NUMBER_KEY),
        }
        field.with_metadata(metadata)
    }
}

/// What is said of one column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    /// Whether it is of the type that was declared.
    pub is_declared: bool,
    /// The column of a table that it is.
    pub origin: Option<Origin>,
}

/// What a plan says of each of its columns.
pub fn said(plan: &LogicalPlan) -> Vec<Said> {
    let none = || vec![Said::default(); plan.schema().fields().len()];
    let padded = |mut said: Vec<Said>| {
        said.resize(plan.schema().fields().len(), Said::default());
        said
    };
    let found: Vec<Said> = match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan),
        LogicalPlan::Projection(projection) => of_exprs(&projection.expr, &projection.input),
        LogicalPlan::Aggregate(aggregate) => padded(of_exprs(&aggregate.group_expr, &aggregate.input)),
        LogicalPlan::Window(window) => padded(said(&window.input)),
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Distinct(_) => plan.inputs().first().map(|input| said(input)).unwrap_or_default(),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                [said(&join.left), said(&join.right)].concat()
            }
            _ => none(),
        },
        LogicalPlan::Unnest(unnest) => {
            let of_input = said(&unnest.input);
            let is_whole = |place: &usize| {
                unnest.list_type_columns.iter().all(|(list, _)| list != place)
                    && !unnest.struct_type_columns.contains(place)
            };
            let of = |place: &usize| of_input.get(*place).copied().filter(|_| is_whole(place)).unwrap_or_default();
            unnest.dependency_indices.iter().map(of).collect()
        }
        _ => none(),
    };
    if found.len() == plan.schema().fields().len() { found } else { none() }
}

fn of_scan(scan: &TableScan) -> Vec<Said> {
    let provider = source_as_provider(&scan.source).ok();
    // Its numbers are computed.
    let is_series = provider.as_ref().is_some_and(|provider| provider.downcast_ref::<Series>().is_some());
    let origin = |place: usize| {
        let provider = provider.as_ref()?;
        let (table, number) = match provider.downcast_ref::<GuardedTable>() {
            Some(guarded) => (guarded.table().oid, guarded.number_of(place)?),
            None => (provider.downcast_ref::<SystemTable>()?.oid(), place + 1),
        };
        Some(Origin { table, number: i16::try_from(number).ok()? })
    };
    let places: Vec<usize> = match &scan.projection {
        Some(places) => places.clone(),
        None => (0..scan.projected_schema.fields().len()).collect(),
    };
    places.into_iter().map(|place| Said { is_declared: !is_series, origin: origin(place) }).collect()
}

fn of_exprs(exprs: &[Expr], input: &LogicalPlan) -> Vec<Said> {
    let of_input = said(input);
    let columns = input.schema().columns();
    let places: HashMap<&Column, usize> = columns.iter().enumerate().map(|(place, column)| (column, place)).collect();
    let of_column = |column: &Column| {
        let place = places.get(column).copied().or_else(|| input.schema().maybe_index_of_column(column));
        place.and_then(|place| of_input.get(place).copied()).unwrap_or_default()
    };
    let of = |expr: &Expr| match without_alias(expr) {
        Expr::Cast(cast) => Said {
            is_declared: matches!(cast.field.data_type(), DataType::Decimal128(..) | DataType::Decimal256(..)),
            origin: None,
        },
        Expr::Column(column) => of_column(column),
        _ => Said::default(),
    };
    exprs.iter().map(of).collect()
}

fn without_alias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => without_alias(&alias.expr),
        other => other,
    }
}

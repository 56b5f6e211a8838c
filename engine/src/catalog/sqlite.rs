//! Tables of SQLite databases.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;

use super::source::Source;
use crate::error::{Error, Result};

pub(super) fn provider(_source: &Source, _schema: &SchemaRef, _total: bool) -> Result<Arc<dyn TableProvider>> {
    Err(Error::unsupported("SQLite databases"))
}

pub(super) async fn register(_source: &mut Source, _declared: Option<Schema>) -> Result<Schema> {
    Err(Error::unsupported("SQLite databases"))
}

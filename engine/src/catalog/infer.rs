//! Finds the columns of files.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use object_store::{ObjectMeta, ObjectStore};

use super::source::Source;
use crate::error::{Error, Result};

/// The columns of files.
pub(super) async fn schema(_store: &Arc<dyn ObjectStore>, source: &Source, _files: &[ObjectMeta], _declared: Option<Schema>) -> Result<Schema> {
    Err(Error::unsupported(format!("reading {} files", source.kind.as_str())))
}

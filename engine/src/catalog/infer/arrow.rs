//! The columns of Arrow IPC files, from their footers: two small reads, wherever the file is.
//!
//! DataFusion reads the schema at the head of a remote file, where it takes the padding behind the magic number to be two bytes; writers may pad
//! to 64, and arrow-rs does. Files in the streaming format have no footer and are left to it.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::convert::fb_to_schema;
use datafusion::arrow::ipc::reader::read_footer_length;
use datafusion::arrow::ipc::root_as_footer;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};

const MAGIC: &[u8] = b"ARROW1";
/// The length of the footer and the magic number.
const TRAILER_BYTES: usize = 10;

/// The columns that a file's footer names; `None` if it has no footer.
///
/// # Errors
/// What is wrong with the file, for its steward.
pub(super) async fn schema(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<Option<Schema>, String> {
    let read = |range: std::ops::Range<u64>| async {
        store.get_range(&file.location, range).await.map_err(|error| error.to_string())
    };
    let head = read(0..file.size.min(MAGIC.len() as u64)).await?;
    if head != MAGIC {
        return Ok(None);
    }
    let cut_short = || "The file ends too early.".to_owned();
    let trailer_at = file.size.checked_sub(TRAILER_BYTES as u64).ok_or_else(cut_short)?;
    let trailer: [u8; TRAILER_BYTES] =
        read(trailer_at..file.size).await?.as_ref().try_into().map_err(|_| cut_short())?;
    let length = read_footer_length(trailer).map_err(|error| error.to_string())?;
    let footer_at = trailer_at.checked_sub(length as u64).ok_or_else(cut_short)?;
    let footer = read(footer_at..trailer_at).await?;
    let footer = root_as_footer(&footer).map_err(|error| format!("Its footer cannot be read: {error}"))?;
    let schema = footer.schema().ok_or_else(|| "Its footer has no columns.".to_owned())?;
    Ok(Some(fb_to_schema(schema)))
}

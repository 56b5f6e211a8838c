//! An answer as Flight data: streamed, in batches of our size, with the notices behind the last.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::utils::batches_to_flight_data;
use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::BatchCoalescer;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatchOptions;
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt as _};
use kanon_engine::error::Error;
use kanon_engine::federation::wire::to_status;
use kanon_engine::session::accuracy::KEYS;
use kanon_engine::session::{Answer, Session};
use serde_json::json;
use tonic::Status;

/// Rows in every batch but the last: how rows were cut on their way here is nobody's business.
const BATCH_ROWS: usize = 8192;

/// What `do_get` answers.
pub(crate) type FlightStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send + 'static>>;

/// Columns as clients are told of them: without metadata, which files fill with statistics.
pub(crate) fn public_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> =
        schema.fields().iter().map(|f| f.as_ref().clone().with_metadata(Default::default())).collect();
    Arc::new(Schema::new(fields))
}

/// The columns of an answer: without metadata, but for what the node itself says of their noise.
pub(crate) fn answer_schema(schema: &Schema) -> SchemaRef {
    let said = |field: &Field| -> HashMap<String, String> {
        let said = KEYS.iter().filter_map(|key| Some(((*key).to_owned(), field.metadata().get(*key)?.clone())));
        said.collect()
    };
    let fields: Vec<Field> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_metadata(said(field))).collect();
    Arc::new(Schema::new(fields))
}

/// Streams an answer. The session lives until the stream ends or is dropped, which stops the query.
pub(crate) fn encode(answer: Answer, session: Arc<Session>) -> FlightStream {
    let metadata = metadata(&answer);
    match answer.rows {
        Some(rows) => {
            let schema = answer_schema(&rows.schema);
            let source = Source::new(rows.stream, Arc::clone(&schema), Some(session));
            send(schema, futures::stream::unfold(source, Source::next).boxed(), metadata)
        }
        None => batch(RecordBatch::new_empty(Arc::new(Schema::empty())), metadata),
    }
}

/// Streams one batch.
pub(crate) fn batch(batch: RecordBatch, metadata: Bytes) -> FlightStream {
    send(batch.schema(), futures::stream::once(async { Ok(batch) }).boxed(), metadata)
}

fn metadata(answer: &Answer) -> Bytes {
    let notices: Vec<&str> = answer.notices.iter().map(|n| n.message.as_str()).collect();
    let sites: Vec<_> = answer
        .report
        .iter()
        .flat_map(|report| report.sites())
        .map(|site| {
            json!({
                "site": site.site.as_str(), "status": site.status.as_str(), "rule": site.rule,
                "epsilon": site.epsilon, "delta": site.delta, "cached": site.cached,
                "columns": site.columns_as_json(),
            })
        })
        .collect();
    json!({ "tag": answer.tag, "notices": notices, "sites": sites }).to_string().into()
}

fn send(
    schema: SchemaRef,
    batches: futures::stream::BoxStream<'static, Result<RecordBatch, FlightError>>,
    metadata: Bytes,
) -> FlightStream {
    // The encoder sends nothing for a batch without rows; the metadata of an empty answer needs one all the same.
    let empty = match batches_to_flight_data(&schema, vec![RecordBatch::new_empty(Arc::clone(&schema))]) {
        Ok(messages) => messages.into_iter().skip(1).collect::<Vec<_>>(),
        Err(error) => return Box::pin(futures::stream::once(async { Err(status(FlightError::Arrow(error))) })),
    };
    let data = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_dictionary_handling(DictionaryHandling::Resend)
        .build(batches)
        .map(|item| item.map_err(status));
    let mut seen = 0_usize;
    let mut empty = Some(empty);
    // Behind the columns come the rows, or else the batch without any.
    let data = data
        .map(Some)
        .chain(futures::stream::once(async { None }))
        .map(move |item| match item {
            Some(message) => {
                seen += usize::from(seen < 2);
                vec![message]
            }
            None if seen == 1 => empty.take().unwrap_or_default().into_iter().map(Ok).collect(),
            None => Vec::new(),
        })
        .flat_map(futures::stream::iter);
    // One message is held back, so that the metadata can be put on the last.
    let state = (data.boxed(), None::<FlightData>, Some(metadata));
    Box::pin(futures::stream::unfold(state, |(mut data, mut held, mut metadata)| async move {
        loop {
            match (data.next().await, held.take()) {
                (Some(Ok(next)), None) => held = Some(next),
                (Some(Ok(next)), Some(before)) => return Some((Ok(before), (data, Some(next), metadata))),
                (Some(Err(status)), _) => return Some((Err(status), (futures::stream::empty().boxed(), None, None))),
                (None, Some(mut last)) => {
                    last.app_metadata = metadata.take().unwrap_or_default();
                    return Some((Ok(last), (data, None, None)));
                }
                (None, None) => return None,
            }
        }
    }))
}

fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => to_status(&Error::internal(other)),
    }
}

/// Whether a batch can be sent as it came: of our size, and of values of fixed width alone, of which only those of its rows are sent. A text may lie in a buffer with those
/// of rows that were left out.
fn is_cut_as_sent(batch: &RecordBatch) -> bool {
    batch.num_rows() == BATCH_ROWS && batch.columns().iter().all(|column| column.data_type().is_primitive())
}

/// The batch without what the buffers of its views hold beside its own values: they are sent whole.
fn compacted(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let is_view = |column: &ArrayRef| matches!(column.data_type(), DataType::Utf8View | DataType::BinaryView);
    if !batch.columns().iter().any(is_view) {
        return Ok(batch);
    }
    let own = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    };
    RecordBatch::try_new(batch.schema(), batch.columns().iter().map(own).collect())
}

/// The batches of a query, cut anew.
struct Source {
    rows: Option<SendableRecordBatchStream>,
    schema: SchemaRef,
    out: BatchCoalescer,
    /// Lives as long.
    _session: Option<Arc<Session>>,
}

impl Source {
    fn new(rows: SendableRecordBatchStream, schema: SchemaRef, session: Option<Arc<Session>>) -> Source {
        let out = BatchCoalescer::new(Arc::clone(&schema), BATCH_ROWS);
        Source { rows: Some(rows), schema, out, _session: session }
    }

    async fn next(mut self) -> Option<(Result<RecordBatch, FlightError>, Source)> {
        loop {
            if let Some(batch) = self.out.next_completed_batch() {
                return Some((compacted(batch).map_err(FlightError::Arrow), self));
            }
            let rows = self.rows.as_mut()?;
            let pushed = match rows.next().await {
                Some(Ok(batch)) => match self.rename(&batch) {
                    Ok(batch) if self.out.is_empty() && is_cut_as_sent(&batch) => return Some((Ok(batch), self)),
                    Ok(batch) => self.out.push_batch(batch).map_err(Error::internal),
                    Err(error) => Err(Error::internal(error)),
                },
                Some(Err(error)) => Err(Error::from(error)),
                None => {
                    self.rows = None;
                    self.out.finish_buffered_batch().map_err(Error::internal)
                }
            };
            if let Err(error) = pushed {
                self.rows = None;
                return Some((Err(FlightError::Tonic(Box::new(to_status(&error)))), self));
            }
        }
    }

    fn rename(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringArray, StringViewArray};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::TryStreamExt as _;

    use super::*;

    /// Is not in a row that is sent.
    const OUTSIDE: i64 = 0x5ec2_e75e_c2e7_5ec2;

    #[tokio::test]
    async fn nothing_is_sent_but_the_rows() {
        let rows = i64::try_from(BATCH_ROWS).unwrap();
        let around = |inside: std::ops::Range<i64>| [OUTSIDE].into_iter().chain(inside).chain([OUTSIDE]);
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(around(0..rows)));
        let nulls: ArrayRef = Arc::new(around(0..rows).map(|i| (i % 3 != 0).then_some(i)).collect::<Int64Array>());
        let text =
            |i: i64| if i == OUTSIDE { "a secret of another row".to_owned() } else { format!("row number {i:08}") };
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(around(0..rows).map(text)));
        let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(around(0..rows).map(text)));
        for (columns, is_sent_as_it_came) in
            [(vec![&numbers, &nulls], true), (vec![&numbers, &texts], false), (vec![&views], false)]
        {
            let columns = columns.into_iter().map(|column| column.slice(1, BATCH_ROWS));
            let columns: Vec<(String, ArrayRef)> = columns.enumerate().map(|(i, c)| (format!("c{i}"), c)).collect();
            let batch =
                RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
            assert_eq!(is_cut_as_sent(&batch), is_sent_as_it_came);
            let rows = RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter([Ok(batch.clone())]));
            let source = Source::new(Box::pin(rows), batch.schema(), None);
            let batches = futures::stream::unfold(source, Source::next).boxed();
            let sent: Vec<FlightData> = send(batch.schema(), batches, Bytes::new()).try_collect().await.unwrap();
            let bytes: Vec<u8> = sent.iter().flat_map(|message| message.data_body.iter().copied()).collect();
            assert!(!bytes.windows(8).any(|window| window == OUTSIDE.to_le_bytes()), "{:?}", batch.schema());
            assert!(!bytes.windows(8).any(|window| window == b"a secret"), "{:?}", batch.schema());
            assert!(bytes.windows(8).any(|window| window == 8_000_i64.to_le_bytes() || window == b"00008000"));
        }
    }
}

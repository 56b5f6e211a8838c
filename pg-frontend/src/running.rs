//! Rows on their way from a stream to the socket.

use bytes::BytesMut;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use kanon_engine::error::{Error, Result};
use kanon_engine::pg_catalog::modifiers::Origin;
use kanon_engine::pg_catalog::types::PgType;
use kanon_engine::session::{Answer, Notice, Rows};
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::CommandComplete;

use crate::desk::{CopyLayout, CopyStyle};
use crate::encode::copy::{binary_header, put_copy_header, put_copy_trailer};
use crate::encode::time::Zone;
use crate::encode::{RowEncoder, codes_for};
use crate::error::{put, put_notice};
use crate::wire::{Gone, Writer};

/// What ends a statement besides its own end.
#[derive(Debug)]
pub enum Stop {
    /// The statement fails; the connection goes on.
    Error(Error),
    /// The connection ends, with a reason.
    Fatal(Error),
    /// The client went away.
    Gone,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Stop {
        Stop::Gone
    }
}

/// How far a portal got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All rows are sent.
    Finished,
    /// The client's maximum is reached and there may be more.
    Suspended,
}

/// A statement's answer, partly sent.
pub struct Running {
    /// The command tag, without a count.
    pub tag: String,
    notices: Vec<Notice>,
    parameter_status: Vec<(String, String)>,
    rows: Option<Sending>,
}

struct Sending {
    stream: SendableRecordBatchStream,
    encoder: RowEncoder,
    /// The batch being sent, and its first row not sent.
    batch: Option<(RecordBatch, usize)>,
    /// Set for COPY.
    copy: Option<Copying>,
}

/// A COPY on its way.
struct Copying {
    style: CopyStyle,
    scratch: BytesMut,
    /// What comes before the rows, until it is sent.
    preamble: BytesMut,
    /// What the next message begins with.
    lead: &'static [u8],
}

/// Appends a RowDescription.
pub fn put_row_description(schema: &Schema, codes: &[i16], out: &mut BytesMut) -> Result<()> {
    let formats = codes_for(codes, schema.fields().len())?;
    let fields = schema
        .fields()
        .iter()
        .zip(formats)
        .map(|(field, format)| {
            let pg_type = PgType::of_field(field);
            let name = field.name().replace('\0', "");
            let (table, number) = Origin::of_field(field).map_or((0, 0), |origin| (origin.table, origin.number));
            FieldDescription::new(name, table as i32, number, pg_type.oid, pg_type.len, pg_type.typmod, format)
        })
        .collect();
    put(&RowDescription::new(fields), out)
}

/// Whether two schemas look the same to a client.
fn same_to_clients(a: &Schema, b: &Schema) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields()
            .iter()
            .zip(b.fields())
            .all(|(a, b)| PgType::of(a.data_type()).oid == PgType::of(b.data_type()).oid)
}

/// The schema to answer with: the one described, whose fields carry PostgreSQL's types, if the rows are of it.
pub fn answered_schema(described: Option<&SchemaRef>, rows: &Rows) -> Option<SchemaRef> {
    match described {
        Some(described) if same_to_clients(described, &rows.schema) => Some(described.clone()),
        _ => None,
    }
}

impl Running {
    /// Begins to send an answer whose rows are of `schema`.
    pub fn new(answer: Answer, schema: Option<&Schema>, codes: &[i16], zone: Zone) -> Result<Running> {
        let rows = match (answer.rows, schema) {
            (Some(rows), Some(schema)) => Some(Sending {
                stream: rows.stream,
                encoder: RowEncoder::new(schema, codes, zone)?,
                batch: None,
                copy: None,
            }),
            _ => None,
        };
        Ok(Running { tag: answer.tag, notices: answer.notices, parameter_status: answer.parameter_status, rows })
    }

    /// Begins to send an answer as COPY does.
    pub fn copy(answer: Answer, style: &CopyStyle, zone: Zone) -> Result<Running> {
        let Some(rows) = &answer.rows else { return Err(Error::internal("a COPY without rows")) };
        let schema = rows.schema.clone();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let style = style.clone().for_columns(&names)?;
        let format = if style.layout == CopyLayout::Binary { 1 } else { 0 };
        let mut running = Running::new(answer, Some(&schema), &[format], zone)?;
        let mut preamble = BytesMut::new();
        put(&CopyOutResponse::new(format as i8, names.len() as i16, vec![format; names.len()]), &mut preamble)?;
        put_copy_header(&names, &style, &mut preamble);
        if let Some(sending) = &mut running.rows {
            let lead = binary_header(&style);
            sending.copy = Some(Copying { style, scratch: BytesMut::new(), preamble, lead });
        }
        Ok(running)
    }

    /// Sends rows, at most `max_rows` if that is not 0, waiting for the socket as it must; memory stays bounded by one batch and
    /// the write buffer. Answers how many it sent. Dropping the future loses no row and tears no message.
    pub async fn send(&mut self, writer: &mut Writer, max_rows: u64) -> Result<(u64, Progress), Stop> {
        let mut sent = 0;
        let Some(sending) = &mut self.rows else { return Ok((0, Progress::Finished)) };
        if let Some(copy) = &mut sending.copy {
            writer.buffer.extend_from_slice(&copy.preamble.split());
        }
        loop {
            if max_rows > 0 && sent >= max_rows {
                // As in PostgreSQL: without looking whether there are more.
                return Ok((sent, Progress::Suspended));
            }
            let Some((batch, next)) = &mut sending.batch else {
                match sending.stream.next().await {
                    Some(batch) => sending.batch = Some((batch.map_err(Error::from)?, 0)),
                    None => {
                        if let Some(copy) = &sending.copy {
                            put_copy_trailer(&copy.style, copy.lead, &mut writer.buffer);
                            put(&CopyDone::new(), &mut writer.buffer)?;
                        }
                        self.rows = None;
                        return Ok((sent, Progress::Finished));
                    }
                }
                continue;
            };
            let total = batch.num_rows();
            let bound = sending.encoder.bind(batch)?;
            while *next < total {
                if max_rows > 0 && sent >= max_rows {
                    return Ok((sent, Progress::Suspended));
                }
                match &mut sending.copy {
                    None => bound.put_row(*next, &mut writer.buffer)?,
                    Some(Copying { style, scratch, lead, .. }) => {
                        bound.put_copy_row(*next, style, lead, scratch, &mut writer.buffer)?;
                        *lead = &[];
                    }
                }
                *next += 1;
                sent += 1;
                if writer.is_full() {
                    writer.flush().await?;
                    // A socket that takes everything at once must not keep others from running, nor a cancellation from being
                    // seen.
                    tokio::task::yield_now().await;
                }
            }
            sending.batch = None;
        }
    }

    /// Appends what ends a statement: NOTICEs that the client wants (its setting client_min_messages) and CommandComplete. Gives the
    /// settings that it changed and that clients are told of.
    pub fn complete(self, rows: u64, min_messages: &str, out: &mut BytesMut) -> Result<Vec<(String, String)>> {
        for notice in &self.notices {
            let wanted = match min_messages {
                "error" => false,
                "warning" => notice.warning.is_some(),
                _ => true,
            };
            if wanted {
                put_notice(notice, out)?;
            }
        }
        put(&CommandComplete::new(tag_with_count(self.tag, rows)), out)?;
        Ok(self.parameter_status)
    }
}

fn tag_with_count(tag: String, rows: u64) -> String {
    match tag.as_str() {
        "SELECT" | "FETCH" | "MOVE" | "COPY" => format!("{tag} {rows}"),
        _ => tag,
    }
}
